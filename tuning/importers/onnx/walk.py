# SPDX-License-Identifier: Apache-2.0
"""Following an ONNX graph from its input to its output: constants, positions, and what no layer has taken up yet.

ONNX rearranges tensors with Reshape, Flatten, Transpose and Squeeze; the network made of it never does. Each ONNX
tensor is therefore followed as an array of positions (`Flow.order`): which element of the network's current
channels-last tensor is the ONNX element at this index. Rearranging an ONNX tensor rearranges its positions; a dense
layer permutes its columns by them; a convolution only has to check that they are those of channels-first images.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np

from ...base.errors import ModelError, TuningError
from ..float_network import FloatLayer, FloatNetwork, namer
from .branches import branch_error
from .file import FOLDABLE, Node, OnnxGraph, fold

SUPPORTED = (
    "Conv (1-D, 2-D, depthwise, grouped), Gemm, MatMul, MaxPool, AveragePool, GlobalAveragePool, GlobalMaxPool, "
    "ReduceMean and ReduceMax over the image, Relu, Clip from 0, Max and Min as ReLU6, Sigmoid, Tanh, Softmax, "
    "LogSoftmax at the end, BatchNormalization, Add, Sub, Mul and Div with constants, Pad, Flatten, Reshape, "
    "Transpose, Squeeze, Unsqueeze, Gather of everything, Identity, Dropout, Cast; of ai.onnx.ml Scaler, "
    "LinearClassifier, LinearRegressor, ZipMap"
)

TAKE_PADS = (
    "Conv", "MaxPool", "AveragePool", "Pad", "Transpose", "Squeeze", "Unsqueeze", "Identity", "Dropout", "Cast",
)  # fmt: skip
"""Operators that know what to do with zeros that wait in front of them."""
IMAGES = ("Conv", "MaxPool", "AveragePool")
"""Operators that look at an image in two directions."""


@dataclass(frozen=True, eq=False)
class Flow:
    """The activation tensor under way.

    Attributes
    ----------
    order : ndarray of int
        In the ONNX tensor's shape without the batch: position of each element in the network's tensor.
    scale, shift : ndarray or None
        The ONNX value is ``scale * element + shift``, in the shape of `order`: what no layer has taken up yet.
    pads : list of (before, after) or None
        Zeros around the tensor, by axis of `order`, that no layer has taken up yet.
    """

    order: np.ndarray
    scale: np.ndarray | None = None
    shift: np.ndarray | None = None
    pads: tuple[tuple[int, int], ...] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        pads = self.pads or ((0, 0),) * self.order.ndim
        return tuple(size + sum(pad) for size, pad in zip(self.order.shape, pads, strict=True))

    def rearranged(self, change: Callable[[np.ndarray], np.ndarray]) -> Flow:
        scale = None if self.scale is None else change(self.scale)
        return Flow(change(self.order), scale, None if self.shift is None else change(self.shift))


def image_order(height: int, width: int, channels: int) -> np.ndarray:
    """Positions of a channels-first image."""
    return np.arange(height * width * channels).reshape(height, width, channels).transpose(2, 0, 1)


class Walk:
    """One pass over the nodes, from the input to the output."""

    def __init__(self, graph: OnnxGraph) -> None:
        self.graph = graph
        self.batch = graph.shape[0]
        self.layers: list[FloatLayer] = []
        self.names = namer()
        self.notes: list[str] = list(graph.notes)
        self.input_shape: tuple[int, ...] | None = None
        self.input_layout = "NHWC"
        self.sides: tuple[int, int] | None = None
        """Height and width of the network's tensor, if that is an image."""
        self.batched: set[str] = set()
        """Tensors in which the batch is one axis with the sample's elements."""
        self.constants: dict[str, np.ndarray] = dict(graph.constants)
        self.flows: dict[str, Flow] = {graph.input: Flow(np.arange(prod(graph.shape[1:])).reshape(graph.shape[1:]))}

    # -- the pass ----------------------------------------------------------------------------------------------------

    def network(self, name: str) -> FloatNetwork:
        self.check_single_use(self.graph.input)
        self.check_operators()
        for node in self.graph.nodes:
            self.visit(node)
        flow = self.flows.get(self.graph.output)
        if flow is None:
            raise self.error(f"output {self.graph.output!r} does not depend on the input")
        flow = self.settle(flow, f"output {self.graph.output!r}")
        if not self.layers or self.input_shape is None:
            raise self.error("expected at least one layer, got none")
        return FloatNetwork(
            name,
            self.input_shape,
            tuple(self.layers),
            self.input_layout,
            self.layout(flow.order, f"output {self.graph.output!r}"),
            notes=tuple(self.notes),
            declared_shape=self.declared_shape(),
        )

    def declared_shape(self) -> tuple[int, ...] | None:
        """The file's own shape of a sample, where that of the network does not tell it."""
        own, shape = self.graph.shape[1:], self.input_shape or ()
        known = (shape[2], *shape[:2]) if self.input_layout == "NCHW" and len(shape) == 3 else shape
        return None if tuple(own) == tuple(known) else tuple(int(size) for size in own)

    def error(self, text: str) -> ModelError:
        return ModelError(f"{self.graph.file}: {text}")

    def unsupported(self, node: Node, why: str) -> ModelError:
        return self.error(f"{node}: {why}")

    def check_operators(self) -> None:
        """All operators that nobody knows are named before anything that stands in front of them."""
        carried = {self.graph.input}
        unknown: dict[str, list[Node]] = {}
        for node in self.graph.nodes:
            if node.op != "Shape" and carried.intersection(node.inputs):
                carried.update(node.outputs)
                if not hasattr(self, f"on_{node.op}"):
                    unknown.setdefault(node.op, []).append(node)
        if unknown:
            (first, *_), *others = unknown.values()
            more = "".join(f", nor is {nodes[0]}" for nodes in others)
            raise self.unsupported(first, f"the operator is not supported{more}. Supported: {SUPPORTED}")

    def check_single_use(self, tensor: str) -> None:
        takers = self.graph.uses.get(tensor, ())
        if len(takers) + (tensor == self.graph.output) > 1:
            raise branch_error(self.graph, tensor, takers)

    def visit(self, node: Node) -> None:
        carried = [name for name in node.inputs if name in self.flows]
        if node.op == "Shape" and carried:
            shape = np.array([self.batch, *self.flows[carried[0]].shape], np.int64)
            start, end = node.attributes.get("start", 0), node.attributes.get("end")
            self.constants[node.outputs[0]] = shape[start:end]
            return
        if not carried:
            self.fold(node)
            return
        handler: Callable[[Node, Flow], Flow] = getattr(self, f"on_{node.op}")
        if len(carried) > 1:
            raise self.unsupported(
                node, f"takes two tensors that depend on the input ({carried[0]!r}, {carried[1]!r}); expected one"
            )
        if len(node.outputs) > 1 and any(
            name and (name in self.graph.uses or name == self.graph.output) for name in node.outputs[1:]
        ):
            raise self.unsupported(node, "only its first output is supported, but another one is used")
        if carried[0] in self.batched and node.op != "Gather":
            raise self.unsupported(
                node, "its input has the batch and the sample in one axis; in PyTorch, export the model in "
                "memory_format=torch.contiguous_format, with x.mean((2, 3)) for the average, or with dynamo=False"
            )  # fmt: skip
        try:
            flow = self.flows[carried[0]]
            if flow.pads is not None and node.op not in TAKE_PADS:
                flow = self.settle(flow, str(node))
            if node.op in IMAGES:
                flow, node, back = self.straight(flow, node)
                result = handler(node, flow) if back is None else handler(node, flow).rearranged(back)
            else:
                result = handler(node, flow)
        except TuningError:
            raise
        except (TypeError, ValueError, IndexError, OverflowError) as problem:
            # Attributes may have any type and inputs may be missing: nothing checks a file before this.
            raise self.unsupported(node, f"its inputs and attributes are no valid {node.op}: {problem}") from None
        self.flows[node.outputs[0]] = result
        self.check_single_use(node.outputs[0])

    def fold(self, node: Node) -> None:
        inputs: list[np.ndarray | None] = []
        for name in node.inputs:
            if name and name not in self.constants:
                raise self.unsupported(node, f"its input {name!r} is made by nothing")
            inputs.append(self.constants[name] if name else None)
        if node.op == "Shape" and inputs and inputs[0] is not None:
            start, end = node.attributes.get("start", 0), node.attributes.get("end")
            found = [np.array(inputs[0].shape, np.int64)[start:end]]
        elif node.op in FOLDABLE:
            found = fold(self.graph, node, inputs)
        else:
            raise self.unsupported(node, f"the operator is not supported on constants. Supported: {SUPPORTED}")
        self.constants.update(zip(node.outputs, found, strict=False))

    # -- constants and attributes ------------------------------------------------------------------------------------

    def constant(self, node: Node, index: int, what: str) -> np.ndarray:
        """Input `index` as float64."""
        name = node.inputs[index] if index < len(node.inputs) else ""
        if name not in self.constants:
            raise self.unsupported(node, f"{what} must be constant, got {name!r}")
        value = self.constants[name]
        try:
            value = value.astype(np.float64)
        except (TypeError, ValueError):
            raise self.unsupported(node, f"{what}: expected numbers, got {value.dtype}") from None
        if not np.isfinite(value).all():
            raise self.unsupported(node, f"{what}: expected finite numbers, got NaN or infinity in {name!r}")
        return value

    def has(self, node: Node, index: int) -> bool:
        return index < len(node.inputs) and node.inputs[index] != ""

    def numbers(self, node: Node, attribute: str, index: int) -> list[int] | None:
        """A list that newer operator sets take as an input and older ones as an attribute."""
        if self.has(node, index):
            return [int(value) for value in np.atleast_1d(self.constant(node, index, attribute))]
        return node.numbers(attribute)

    # -- layers ------------------------------------------------------------------------------------------------------

    def add(self, node: Node, op: str, keys: dict[str, Any] | None = None, **arrays: Any) -> None:
        self.layers.append(FloatLayer(self.names(op, node.name), op, keys or {}, source=self.label(node), **arrays))

    @staticmethod
    def label(node: Node) -> str:
        return f"{node.op} {node.name}" if node.name else f"{node.op} -> {node.outputs[0]}"

    @property
    def open_layer(self) -> FloatLayer | None:
        """The layer just made, if it has weights and no activation yet."""
        last = self.layers[-1] if self.layers else None
        return last if last and last.weights is not None and "activation" not in last.keys else None

    def begin(self, shape: tuple[int, ...], origin: np.ndarray, what: str) -> None:
        """The first layer settles how the network's input lies: `origin` are the ONNX input's positions in it."""
        self.input_shape = shape
        self.sides = (shape[0], shape[1]) if len(shape) == 3 else None
        self.input_layout = self.layout(origin, what, -1)

    def layout(self, order: np.ndarray, what: str, source: int = 0) -> str:
        if (found := self.layout_of(order, source)) is None:
            raise self.error(f"{what} is neither channels first nor channels last: its elements would have to be moved")
        return found

    @staticmethod
    def layout_of(order: np.ndarray, source: int = 0) -> str | None:
        """How positions lie, which are channels first if axis `source` would have to go to the other end."""
        if np.array_equal(order.ravel(), np.arange(order.size)):
            return "NHWC"
        moved = np.moveaxis(order, source, -1 - source) if order.ndim in (2, 3) else order
        return "NCHW" if np.array_equal(moved.ravel(), np.arange(order.size)) else None

    def image(self, node: Node, flow: Flow) -> tuple[Flow, tuple[int, int, int]]:
        """The flow as a channels-first image ``(c, h, w)`` whose elements lie as the network's do, and (h, w, c)."""
        order = flow.order
        if order.ndim == 2:  # 1-D: channels, length
            pads = None if flow.pads is None else (flow.pads[0], (0, 0), flow.pads[1])
            flow = replace(flow.rearranged(lambda array: array[:, None, :]), pads=pads)
            order = flow.order
        if order.ndim != 3:
            raise self.unsupported(
                node, f"expected an image [batch, channels, height, width], got {order.ndim + 1} dimensions"
            )
        channels, height, width = order.shape
        if self.input_shape is None:
            self.begin((height, width, channels), order.transpose(1, 2, 0), "the input")
            flow = replace(flow, order=image_order(height, width, channels))
        elif self.layers and self.layers[-1].op == "fully_connected":
            raise self.unsupported(node, "a vector (of a dense layer) cannot become an image again")
        elif not self.lies(order):
            raise self.unsupported(
                node, "its input is not the previous layer's image: a rearrangement in between would move elements"
            )
        return flow, (height, width, channels)

    def lies(self, order: np.ndarray) -> bool:
        """Whether an image lies as the network's tensor does; before there is one, as an input may."""
        channels, height, width = order.shape
        if self.input_shape is None:
            return self.layout_of(order.transpose(1, 2, 0), -1) is not None
        return (height, width) == self.sides and np.array_equal(order, image_order(height, width, channels))

    def straight(self, flow: Flow, node: Node) -> tuple[Flow, Node, Callable[[np.ndarray], np.ndarray] | None]:
        """An image that lies across the network's, its height there the width, turned; the operator with it, and how
        what it gives is turned back. A sequence has no height, and lies across where the network's tensor is a column.
        """
        is_1d = flow.order.ndim == 2

        def image(array: np.ndarray) -> np.ndarray:
            return array[:, None, :] if is_1d else array

        if flow.order.ndim not in (2, 3) or self.lies(image(flow.order)):
            return flow, node, None
        if not self.lies(image(flow.order).transpose(0, 2, 1)):
            return flow, node, None
        pads = flow.pads and (flow.pads[0], flow.pads[-1], (0, 0) if is_1d else flow.pads[1])
        turned = replace(flow.rearranged(lambda array: image(array).transpose(0, 2, 1)), pads=pads)

        def back(array: np.ndarray) -> np.ndarray:
            array = array.transpose(0, 2, 1)
            return array[:, 0, :] if is_1d else array

        return turned, self.turned(node, is_1d), back

    def turned(self, node: Node, is_1d: bool) -> Node:
        """An operator of images for one whose height is the width; of sequences for a column."""
        attributes, inputs = dict(node.attributes), list(node.inputs)
        for key, neutral in (("kernel_shape", 1), ("strides", 1), ("dilations", 1), ("pads", 0)):
            if (values := attributes.get(key)) is not None:
                if is_1d:
                    values = [number for value in values for number in (value, neutral)]
                half = len(values) // 2
                pairs = [values] if key != "pads" else [values[:half], values[half:]]
                attributes[key] = [n for pair in pairs for n in (pair if is_1d else reversed(pair))]
        if node.op == "Conv":
            weights = self.constant(node, 1, "weights")
            inputs[1] = f"{inputs[1]}/turned"
            self.constants[inputs[1]] = weights[..., None] if is_1d else weights.swapaxes(-1, -2)
        return replace(node, attributes=attributes, inputs=tuple(inputs))

    def elementwise(self, node: Node, flow: Flow) -> Flow:
        """An element-wise first layer takes the input as it lies; an image, if that is what a later operator takes."""
        if self.input_shape is None:
            rest = self.graph.nodes[self.graph.nodes.index(node) :]
            places = [at for at, one in enumerate(rest) if one.op in IMAGES]
            is_image = bool(places) and all(one.op != "Transpose" for one in rest[: places[0]])
            if is_image and flow.order.ndim in (2, 3):
                image, _ = self.image(node, flow)
                order = image.order if flow.order.ndim == 3 else image.order[:, 0, :]
                return replace(flow, order=order)
            self.begin((flow.order.size,), np.arange(flow.order.size), "the input")
        return flow

    # -- what waits to be taken up -----------------------------------------------------------------------------------

    def settle(self, flow: Flow, what: str) -> Flow:
        """A flow on which nothing waits: a scale and shift, or zeros around it, become a depthwise convolution."""
        node = Node("BatchNormalization", "", (), (what,), {}, None)
        if flow.scale is not None and flow.shift is not None:
            channels = self.per_channel(flow)
            if channels is None or flow.order.ndim != 3 or (self.layers and self.layers[-1].op == "fully_connected"):
                raise self.error(
                    f"{what}: a multiplication, addition or batch normalisation in front of it cannot be folded into a "
                    "layer: expected one per channel, next to a convolution or a dense layer"
                )
            scale, shift = channels
            pads = flow.pads
            image, _, back = self.straight(replace(flow, pads=None), node)
            image, _ = self.image(node, image)
            self.add(node, "depthwise_conv2d", {}, weights=scale.reshape(1, 1, -1), bias=shift)
            self.notes.append(f"{self.layers[-1].name}: a scale per channel that no neighbour could take up")
            flow = Flow(image.order if back is None else back(image.order), pads=pads)
        return flow if flow.pads is None else self.framed(replace(node, op="Pad"), flow, what)

    def framed(self, node: Node, flow: Flow, what: str) -> Flow:
        """A flow whose zeros around it are there."""
        raise NotImplementedError

    def per_channel(self, flow: Flow) -> tuple[np.ndarray, np.ndarray] | None:
        """Scale and shift by channel, where they do not depend on the place."""
        assert flow.scale is not None
        assert flow.shift is not None
        result = []
        for values in (flow.scale, flow.shift):
            by_channel = values.reshape(len(values), -1)
            if not (by_channel == by_channel[:, :1]).all():
                return None
            result.append(by_channel[:, 0])
        return result[0], result[1]

    def affine(self, node: Node, flow: Flow, scale: np.ndarray, shift: np.ndarray) -> Flow:
        """``scale * value + shift``, folded into the layer before if that is open, else kept for the one after."""
        scale, shift = (np.broadcast_to(values, flow.order.shape) for values in (scale, shift))
        last = self.open_layer
        if flow.scale is None and last is not None and last.weights is not None and last.bias is not None:
            order = np.argsort(flow.order.ravel())
            channels = len(last.bias)
            by_place = [values.ravel()[order].reshape(-1, channels) for values in (scale, shift)]
            if all((values == values[:1]).all() for values in by_place):
                factor, offset = (values[0] for values in by_place)
                shape = [1] * last.weights.ndim
                shape[last.row.channel_axis] = -1
                weights = last.weights * factor.reshape(shape)
                self.layers[-1] = replace(last, weights=weights, bias=last.bias * factor + offset)
                return flow
        if flow.scale is not None and flow.shift is not None:
            scale, shift = scale * flow.scale, scale * flow.shift + shift
        return replace(flow, scale=np.array(scale), shift=np.array(shift))
