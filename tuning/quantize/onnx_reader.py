# SPDX-License-Identifier: Apache-2.0
"""ONNX operators -> :class:`FloatNetwork`: channels last, nothing but layers of the model file.

ONNX rearranges tensors with Reshape, Flatten, Transpose and Squeeze; the network here never does. Each ONNX tensor is
therefore followed as an array of positions (`_Flow.order`): which element of the network's current channels-last
tensor is the ONNX element at this index. Rearranging an ONNX tensor rearranges its positions; a dense layer permutes
its columns by them; a convolution only has to check that they are those of channels-first images.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ModelError
from ..model import window_axis
from ..names import model_name_problem
from . import onnx_file
from .network import FloatLayer, FloatNetwork, namer
from .onnx_file import Node, OnnxGraph

SUPPORTED = (
    "Conv (1-D, 2-D, depthwise), Gemm, MatMul, MaxPool, AveragePool, GlobalAveragePool, GlobalMaxPool, ReduceMean and "
    "ReduceMax over the image, Relu, Clip from 0, Sigmoid, Tanh, Softmax, BatchNormalization, Add, Sub, Mul and Div "
    "with constants, Pad, Flatten, Reshape, Transpose, Squeeze, Unsqueeze, Identity, Dropout, Cast"
)

Pads = list[tuple[int, int]]


def load_onnx(source: str | os.PathLike[str] | Any, name: str | None = None) -> FloatNetwork:
    """Read a sequential float network from ONNX.

    Parameters
    ----------
    source : path or onnx.ModelProto
    name : str, optional
        Of the network, a C identifier; default: the file's stem.

    Returns
    -------
    FloatNetwork

    Raises
    ------
    ModelError
        With the node, its operator and what is supported, or the tensor that is used twice.
    """
    graph = onnx_file.read(source)
    if name is None:
        name = identifier(Path(graph.file).stem)
    elif problem := model_name_problem(name):
        raise ModelError(f"name: {problem}")
    return _Walk(graph).network(name)


def identifier(text: str) -> str:
    """A C identifier like `text`.

    >>> identifier("my-net.v2"), identifier("2d"), identifier("-")
    ('my_net_v2', 'n2d', 'model')
    """
    made = "".join(letter if letter.isalnum() and letter.isascii() else "_" for letter in text)
    made = "_".join(part for part in made.split("_") if part)[:60] or "model"
    made = f"n{made}" if made[0].isdigit() else made
    return next(name for name in (made, f"{made}_", "model") if not model_name_problem(name))


@dataclass(frozen=True, eq=False)
class _Flow:
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

    def rearranged(self, change: Callable[[np.ndarray], np.ndarray]) -> _Flow:
        scale = None if self.scale is None else change(self.scale)
        return _Flow(change(self.order), scale, None if self.shift is None else change(self.shift))


def _image_order(height: int, width: int, channels: int) -> np.ndarray:
    """Positions of a channels-first image."""
    return np.arange(height * width * channels).reshape(height, width, channels).transpose(2, 0, 1)


class _Walk:
    """One pass over the nodes, from the input to the output."""

    def __init__(self, graph: OnnxGraph) -> None:
        self.graph = graph
        self.batch = graph.shape[0]
        self.layers: list[FloatLayer] = []
        self.names = namer()
        self.notes: list[str] = []
        self.input_shape: tuple[int, ...] | None = None
        self.input_layout = "NHWC"
        self.constants: dict[str, np.ndarray] = dict(graph.constants)
        self.flows: dict[str, _Flow] = {graph.input: _Flow(np.arange(prod(graph.shape[1:])).reshape(graph.shape[1:]))}

    # -- the pass ----------------------------------------------------------------------------------------------------

    def network(self, name: str) -> FloatNetwork:
        self.check_single_use(self.graph.input)
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
        )

    def error(self, text: str) -> ModelError:
        return ModelError(f"{self.graph.file}: {text}")

    def unsupported(self, node: Node, why: str) -> ModelError:
        return self.error(f"{node}: {why}")

    def check_single_use(self, tensor: str) -> None:
        takers = self.graph.uses.get(tensor, ())
        if len(takers) + (tensor == self.graph.output) > 1:
            raise onnx_file.branch_error(self.graph, tensor, takers)

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
        handler: Callable[[Node, _Flow], _Flow] | None = getattr(self, f"on_{node.op}", None)
        if handler is None:
            raise self.unsupported(node, f"the operator is not supported. Supported: {SUPPORTED}")
        if len(carried) > 1:
            raise self.unsupported(
                node, f"takes two tensors that depend on the input ({carried[0]!r}, {carried[1]!r}); expected one"
            )
        if len(node.outputs) > 1 and any(
            name and (name in self.graph.uses or name == self.graph.output) for name in node.outputs[1:]
        ):
            raise self.unsupported(node, "only its first output is supported, but another one is used")
        self.flows[node.outputs[0]] = handler(node, self.flows[carried[0]])
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
        elif node.op in onnx_file.FOLDABLE:
            found = onnx_file.fold(self.graph, node, inputs)
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
        value = node.attributes.get(attribute)
        if value is None:
            return None
        return [int(item) for item in value] if isinstance(value, list | tuple) else [int(value)]

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
        self.input_layout = self.layout(np.argsort(origin.ravel()).reshape(self.graph.shape[1:]), what)

    def layout(self, order: np.ndarray, what: str) -> str:
        if np.array_equal(order.ravel(), np.arange(order.size)):
            return "NHWC"
        if order.ndim in (2, 3) and np.array_equal(np.moveaxis(order, 0, -1).ravel(), np.arange(order.size)):
            return "NCHW"
        raise self.error(f"{what} is neither channels first nor channels last: its elements would have to be moved")

    def image(self, node: Node, flow: _Flow) -> tuple[_Flow, tuple[int, int, int]]:
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
            flow = replace(flow, order=_image_order(height, width, channels))
        elif not np.array_equal(order, _image_order(height, width, channels)):
            raise self.unsupported(
                node, "its input is not the previous layer's image: a rearrangement in between would move elements"
            )
        if self.layers and self.layers[-1].op == "fully_connected":
            raise self.unsupported(node, "a vector (of a dense layer) cannot become an image again")
        return flow, (height, width, channels)

    def elementwise(self, flow: _Flow) -> None:
        """An element-wise first layer takes the input as it lies."""
        if self.input_shape is None:
            shape = self.graph.shape[1:]
            self.input_shape = shape if len(shape) == 3 else (prod(shape),)
            if len(shape) == 3 and shape[0] in (1, 3) and shape[2] not in (1, 3):
                channels, height, width = shape
                raise self.error(
                    f"the first layer is element-wise on an input of {list(shape)}: expected a convolution, a pool or "
                    f"a dense layer first, which tells whether it is {height}x{width} with {channels} channels"
                )

    # -- what waits to be taken up -----------------------------------------------------------------------------------

    def settle(self, flow: _Flow, what: str) -> _Flow:
        """A flow on which nothing waits: a scale and shift become a depthwise 1x1 convolution."""
        if flow.pads is not None:
            raise self.error(f"{what}: a Pad in front of it is supported before Conv only (MaxPool: after a ReLU)")
        if flow.scale is None or flow.shift is None:
            return flow
        channels = self.per_channel(flow)
        if channels is None or flow.order.ndim != 3 or (self.layers and self.layers[-1].op == "fully_connected"):
            raise self.error(
                f"{what}: a multiplication, addition or batch normalisation in front of it cannot be folded into a "
                "layer: expected one per channel, next to a convolution or a dense layer"
            )
        scale, shift = channels
        node = Node("BatchNormalization", "", (), (what,), {}, None)
        flow, _ = self.image(node, flow)
        self.add(node, "depthwise_conv2d", {}, weights=scale.reshape(1, 1, -1), bias=shift)
        self.notes.append(f"{self.layers[-1].name}: a scale per channel that no neighbour could take up")
        return _Flow(flow.order)

    def per_channel(self, flow: _Flow) -> tuple[np.ndarray, np.ndarray] | None:
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

    def affine(self, node: Node, flow: _Flow, scale: np.ndarray, shift: np.ndarray) -> _Flow:
        """``scale * value + shift``, folded into the layer before if that is open, else kept for the one after."""
        if flow.pads is not None:
            raise self.unsupported(node, "between Pad and its convolution; put it before the Pad")
        scale, shift = (np.broadcast_to(values, flow.order.shape) for values in (scale, shift))
        last = self.open_layer
        if flow.scale is None and last is not None and last.weights is not None and last.bias is not None:
            order = np.argsort(flow.order.ravel())
            channels = len(last.bias)
            by_place = [values.ravel()[order].reshape(-1, channels) for values in (scale, shift)]
            if all((values == values[:1]).all() for values in by_place):
                factor, offset = (values[0] for values in by_place)
                shape = (-1,) if last.op == "depthwise_conv2d" else (-1, *(1,) * (last.weights.ndim - 1))
                weights = last.weights * factor.reshape(shape)
                self.layers[-1] = replace(last, weights=weights, bias=last.bias * factor + offset)
                return flow
        if flow.scale is not None and flow.shift is not None:
            scale, shift = scale * flow.scale, scale * flow.shift + shift
        return replace(flow, scale=np.array(scale), shift=np.array(shift))

    # -- operators with weights --------------------------------------------------------------------------------------

    def on_Conv(self, node: Node, flow: _Flow) -> _Flow:
        flow, (height, width, channels) = self.image(node, flow)
        weights = self.constant(node, 1, "weights")
        is_1d = weights.ndim == 3
        if is_1d:
            weights = weights[:, :, None, :]
        if weights.ndim != 4 or weights.size == 0:
            raise self.unsupported(node, f"expected 1-D or 2-D weights, got shape {list(weights.shape)}")
        bias = self.constant(node, 2, "bias").ravel() if self.has(node, 2) else np.zeros(len(weights))
        group = int(node.attributes.get("group", 1))
        if len(bias) != len(weights) or weights.shape[1] * group != channels:
            raise self.unsupported(
                node, f"weights {list(weights.shape)} and group {group} do not fit {channels} input channels"
            )
        is_depthwise = group > 1
        if is_depthwise and not group == channels == len(weights):
            raise self.unsupported(
                node,
                f"group {group} with {channels} input and {len(weights)} output channels; expected group 1, or one "
                "filter for each channel (depthwise)",
            )
        kernel = (int(weights.shape[2]), int(weights.shape[3]))
        stride, pads = self.windows(node, kernel, (height, width), is_1d)
        assert flow.order.ndim == 3
        if flow.pads is not None:
            if flow.pads[0] != (0, 0):
                raise self.unsupported(node, "a Pad in front of it adds channels")
            extra = flow.pads[1:]
            pads = [(a + c, b + d) for (a, b), (c, d) in zip(pads, extra, strict=True)]
        # Channels last: (out_ch, kh, kw, in_ch), or (kh, kw, ch).
        weights = weights[:, 0].transpose(1, 2, 0) if is_depthwise else weights.transpose(0, 2, 3, 1)
        if flow.scale is not None:
            waiting = self.per_channel(flow)
            if waiting is None or (np.any(waiting[1]) and any(sum(pad) for pad in pads)):
                flow = replace(self.settle(replace(flow, pads=None), str(node)), pads=None)
            else:
                scale, shift = waiting
                bias = bias + (weights * shift).sum(axis=(0, 1) if is_depthwise else (1, 2, 3))
                weights = weights * scale
        size = (height, width)
        out = [(size[k] + sum(pads[k]) - kernel[k]) // stride[k] + 1 for k in (0, 1)]
        if min(out) < 1:
            raise self.unsupported(node, f"kernel {list(kernel)} is larger than the padded input {list(size)}")
        padding, widened = representable(size, kernel, stride, pads, out)
        if any(sum(pair) for pair in widened):
            border = [*widened, (0, 0)] if is_depthwise else [(0, 0), *widened, (0, 0)]
            weights = np.pad(weights, border)
        keys = {"stride": list(stride), "padding": padding}
        self.add(node, "depthwise_conv2d" if is_depthwise else "conv2d", keys, weights=weights, bias=bias)
        if any(sum(pair) for pair in widened):
            larger = [kernel[k] + sum(widened[k]) for k in (0, 1)]
            self.notes.append(f"{self.layers[-1].name}: padding {pads} became zeros in a larger kernel {larger}")
        order = _image_order(out[0], out[1], len(bias))
        return _Flow(order[:, 0, :] if is_1d else order)

    def on_Gemm(self, node: Node, flow: _Flow) -> _Flow:
        if node.attributes.get("transA", 0):
            raise self.unsupported(node, "transA is not supported: the batch must come first")
        if node.inputs[0] not in self.flows:
            raise self.unsupported(node, "expected the activations first and constant weights second")
        weights = self.constant(node, 1, "weights") * float(node.attributes.get("alpha", 1.0))
        if weights.ndim != 2:
            raise self.unsupported(node, f"expected weights with two dimensions, got shape {list(weights.shape)}")
        if not node.attributes.get("transB", 0):
            weights = weights.T
        bias = np.zeros(len(weights))
        if self.has(node, 2):
            offset = self.constant(node, 2, "bias") * float(node.attributes.get("beta", 1.0))
            if offset.ndim > 2 or (offset.ndim == 2 and offset.shape[0] != 1) or offset.size not in (1, len(weights)):
                raise self.unsupported(node, f"expected a bias of {len(weights)} numbers, got {list(offset.shape)}")
            bias = bias + offset.ravel()
        return self.dense(node, flow, weights, bias)

    def on_MatMul(self, node: Node, flow: _Flow) -> _Flow:
        if node.inputs[0] not in self.flows:
            raise self.unsupported(node, "expected the activations first and constant weights second")
        weights = self.constant(node, 1, "weights")
        if weights.ndim != 2:
            raise self.unsupported(node, f"expected weights with two dimensions, got shape {list(weights.shape)}")
        return self.dense(node, flow, weights.T, np.zeros(weights.shape[1]))

    def dense(self, node: Node, flow: _Flow, weights: np.ndarray, bias: np.ndarray) -> _Flow:
        if flow.pads is not None:
            flow = self.settle(flow, str(node))
        lead = flow.order.shape[:-1]
        if prod(lead) != 1:
            raise self.unsupported(
                node, f"expected one vector per sample, got {list(flow.order.shape)}; flatten in front of it"
            )
        if flow.order.size != weights.shape[1] or weights.size == 0:
            raise self.unsupported(node, f"weights take {weights.shape[1]} numbers, the input has {flow.order.size}")
        order = flow.order.ravel()
        if self.input_shape is None:
            self.begin((order.size,), np.arange(order.size), "the input")
        if flow.scale is not None and flow.shift is not None:
            bias = bias + weights @ flow.shift.ravel()
            weights = weights * flow.scale.ravel()
        columns = np.empty_like(weights)
        columns[:, order] = weights
        self.add(node, "fully_connected", {}, weights=columns, bias=bias)
        return _Flow(np.arange(len(bias)).reshape(*lead, -1))

    # -- windows -----------------------------------------------------------------------------------------------------

    def windows(
        self, node: Node, kernel: tuple[int, int], size: tuple[int, int], is_1d: bool, count: int = 0
    ) -> tuple[tuple[int, int], Pads]:
        """Stride, and padding before and after, of both axes."""

        def pair(name: str, default: int) -> tuple[int, int]:
            values = [int(value) for value in node.attributes.get(name, [default] * (1 if is_1d else 2))]
            if len(values) != (1 if is_1d else 2) or min(values) < 1:
                raise self.unsupported(node, f"{name}: expected {1 if is_1d else 2} positive numbers, got {values}")
            return (1, values[0]) if is_1d else (values[0], values[1])

        stride = pair("strides", 1)
        if pair("dilations", 1) != (1, 1):
            raise self.unsupported(node, "dilations other than 1 are not supported")
        if (shape := node.attributes.get("kernel_shape")) is not None:
            wanted = (1, *shape) if is_1d else tuple(shape)
            if wanted != kernel:
                raise self.unsupported(node, f"kernel_shape {list(shape)} does not fit the weights {list(kernel)}")
        auto = node.attributes.get("auto_pad", "NOTSET")
        if auto in ("SAME_UPPER", "SAME_LOWER"):
            pads = []
            for k in (0, 1):
                total = max((-(-size[k] // stride[k]) - 1) * stride[k] + kernel[k] - size[k], 0)
                half = total // 2
                pads.append((half, total - half) if auto == "SAME_UPPER" else (total - half, half))
            return stride, pads
        if auto == "VALID":
            return stride, [(0, 0), (0, 0)]
        if auto != "NOTSET":
            raise self.unsupported(node, f"auto_pad: expected SAME_UPPER, SAME_LOWER, VALID or NOTSET, got {auto!r}")
        values = [int(value) for value in node.attributes.get("pads", [0] * (2 if is_1d else 4))]
        if len(values) != (2 if is_1d else 4) or min(values) < 0:
            raise self.unsupported(node, f"pads: expected {2 if is_1d else 4} numbers of at least 0, got {values}")
        if is_1d:
            return stride, [(0, 0), (values[0], values[1])]
        return stride, [(values[0], values[2]), (values[1], values[3])]

    def pool(self, node: Node, flow: _Flow, op: str) -> _Flow:
        is_1d = flow.order.ndim == 2
        flow, (height, width, channels) = self.image(node, flow)
        shape = node.attributes.get("kernel_shape")
        if not shape or len(shape) != (1 if is_1d else 2) or min(shape) < 1:
            raise self.unsupported(node, f"kernel_shape: expected one or two positive numbers, got {shape}")
        kernel = (1, int(shape[0])) if is_1d else (int(shape[0]), int(shape[1]))
        stride, pads = self.windows(node, kernel, (height, width), is_1d)
        if flow.pads is not None:
            last = self.layers[-1] if self.layers else None
            if op != "max_pool2d" or last is None or not (last.op == "relu" or last.keys.get("activation") == "relu"):
                flow = self.settle(flow, str(node))
            assert flow.pads is not None
            # Behind a ReLU nothing is below the zeros of the border: they change no maximum.
            pads = [(a + c, b + d) for (a, b), (c, d) in zip(pads, flow.pads[1:], strict=True)]
            flow = replace(flow, pads=None)
        is_ceil = bool(node.attributes.get("ceil_mode", 0))
        if op == "avg_pool2d" and node.attributes.get("count_include_pad", 0) and any(sum(pad) for pad in pads):
            return self.average_with_padding(node, flow, kernel, stride, pads, is_ceil, is_1d)
        flow = self.past_pool(flow, op, str(node))
        size, out = (height, width), []
        for k in (0, 1):
            span = size[k] + sum(pads[k]) - kernel[k]
            if span < 0 or pads[k][0] >= kernel[k]:
                raise self.unsupported(node, f"windows of {list(kernel)} do not fit the input {list(size)}")
            count = (-(-span // stride[k]) if is_ceil else span // stride[k]) + 1
            # A last window that would start in the padding is dropped.
            out.append(count - 1 if (count - 1) * stride[k] >= size[k] + pads[k][0] else count)
        keys = self.pool_keys(size, kernel, stride, pads, out)
        if keys is None:
            raise self.unsupported(
                node, f"pads {pads} are not supported for pooling: expected equal ones on both sides, or SAME_UPPER"
            )
        self.add(node, op, {"kernel": list(kernel), "stride": list(stride), **keys})
        order = _image_order(out[0], out[1], channels)
        scale, shift = (
            None if values is None else np.broadcast_to(values[:, :1, :1], order.shape)
            for values in (flow.scale, flow.shift)
        )
        if is_1d:
            order = order[:, 0, :]
            scale, shift = (None if values is None else values[:, 0, :] for values in (scale, shift))
        return _Flow(order, scale, shift)

    @staticmethod
    def pool_keys(
        size: tuple[int, int], kernel: tuple[int, int], stride: tuple[int, int], pads: Pads, out: list[int]
    ) -> dict[str, Any] | None:
        """Keys of the model file that give these windows: only the start and the number of windows matter."""
        for padding, is_ceil in (
            ([pads[0][0], pads[1][0]], False),
            ([pads[0][0], pads[1][0]], True),
            ("same", False),
        ):
            try:
                found = [
                    window_axis(size[k], kernel[k], stride[k], padding if padding == "same" else padding[k], is_ceil)
                    for k in (0, 1)
                ]
            except ValueError:
                continue
            if all(count == out[k] and before == pads[k][0] for k, (count, (before, _)) in enumerate(found)):
                return {"padding": padding, "ceil_mode": is_ceil}
        return None

    def past_pool(self, flow: _Flow, op: str, what: str) -> _Flow:
        """A scale and shift by channel may wait until after a pool; a maximum only keeps positive scales."""
        if flow.scale is None:
            return flow
        waiting = self.per_channel(flow)
        if waiting is None or (op == "max_pool2d" and (waiting[0] <= 0).any()):
            return self.settle(flow, what)
        return flow

    def average_with_padding(
        self,
        node: Node,
        flow: _Flow,
        kernel: tuple[int, int],
        stride: tuple[int, int],
        pads: Pads,
        is_ceil: bool,
        is_1d: bool,
    ) -> _Flow:
        if is_ceil:
            raise self.unsupported(node, "count_include_pad together with ceil_mode is not supported")
        channels = flow.order.shape[0]
        weights = np.full((channels, 1, *kernel), 1 / prod(kernel))
        if is_1d:
            weights = weights[:, :, 0]
            flow = flow.rearranged(lambda array: array[:, 0, :])
        name = f"{node.name or node.outputs[0]}/weights"
        self.constants[name] = weights
        pairs = [pads[1]] if is_1d else pads
        attributes = {
            "group": channels,
            "strides": [stride[1]] if is_1d else list(stride),
            "pads": [pair[0] for pair in pairs] + [pair[1] for pair in pairs],
        }
        result = self.on_Conv(
            Node("AveragePool", node.name, (node.inputs[0], name), node.outputs, attributes, None), flow
        )
        self.notes.append(f"{self.layers[-1].name}: an average that counts the padding became a depthwise convolution")
        return result

    def on_MaxPool(self, node: Node, flow: _Flow) -> _Flow:
        return self.pool(node, flow, "max_pool2d")

    def on_AveragePool(self, node: Node, flow: _Flow) -> _Flow:
        return self.pool(node, flow, "avg_pool2d")

    def on_GlobalAveragePool(self, node: Node, flow: _Flow) -> _Flow:
        return self.over_image(node, flow, "avg_pool2d", tuple(range(1, flow.order.ndim)), True)

    def on_GlobalMaxPool(self, node: Node, flow: _Flow) -> _Flow:
        return self.over_image(node, flow, "max_pool2d", tuple(range(1, flow.order.ndim)), True)

    def on_ReduceMean(self, node: Node, flow: _Flow) -> _Flow:
        return self.reduce(node, flow, "avg_pool2d")

    def on_ReduceMax(self, node: Node, flow: _Flow) -> _Flow:
        return self.reduce(node, flow, "max_pool2d")

    def reduce(self, node: Node, flow: _Flow, op: str) -> _Flow:
        axes = self.numbers(node, "axes", 1)
        rank = flow.order.ndim
        if axes is None:
            raise self.unsupported(node, "expected axes: those of the image")
        own = tuple(sorted({axis + rank if axis < 0 else axis - 1 for axis in axes}))
        if len(own) != rank - 1 or rank not in (2, 3) or min(own) < 0 or max(own) >= rank:
            raise self.unsupported(node, f"axes {axes}: expected those of the image, all but batch and channels")
        return self.over_image(node, flow, op, own, bool(node.attributes.get("keepdims", 1)))

    def over_image(self, node: Node, flow: _Flow, op: str, axes: tuple[int, ...], keep: bool) -> _Flow:
        if flow.pads is not None:
            flow = self.settle(flow, str(node))
        rank = flow.order.ndim
        if rank not in (2, 3):
            raise self.unsupported(node, f"expected an image, got {rank + 1} dimensions")
        channel = next(axis for axis in range(rank) if axis not in axes)
        flow = flow.rearranged(lambda array: np.moveaxis(array, channel, 0))
        flow, (height, width, channels) = self.image(node, flow)
        flow = self.past_pool(flow, op, str(node))
        self.add(node, op, {"kernel": [height, width], "stride": [height, width]})
        shape = [channels if axis == channel else 1 for axis in range(rank)] if keep else [channels]
        scale, shift = (
            None if values is None else values[:, 0, 0].reshape(shape) for values in (flow.scale, flow.shift)
        )
        return _Flow(np.arange(channels).reshape(shape), scale, shift)

    # -- activations -------------------------------------------------------------------------------------------------

    def activate(self, node: Node, flow: _Flow, op: str, clip: float | None = None) -> _Flow:
        flow = self.settle(flow, str(node))
        self.elementwise(flow)
        last = self.open_layer
        if op == "relu" and last is not None:
            self.layers[-1] = replace(last, keys={**last.keys, "activation": "relu"}, clip=clip)
        else:
            self.add(node, op, clip=clip)
        return flow

    def on_Relu(self, node: Node, flow: _Flow) -> _Flow:
        return self.activate(node, flow, "relu")

    def on_Sigmoid(self, node: Node, flow: _Flow) -> _Flow:
        return self.activate(node, flow, "sigmoid")

    def on_Tanh(self, node: Node, flow: _Flow) -> _Flow:
        return self.activate(node, flow, "tanh")

    def on_Clip(self, node: Node, flow: _Flow) -> _Flow:
        low, high = self.limit(node, "min", 1), self.limit(node, "max", 2)
        if low != 0 or (high is not None and not high > 0):
            raise self.unsupported(node, f"expected limits from 0 (ReLU, ReLU6), got {low} to {high}")
        is_open = high is None or high >= np.finfo(np.float32).max
        return self.activate(node, flow, "relu", None if is_open else high)

    def limit(self, node: Node, name: str, index: int) -> float | None:
        if self.has(node, index):
            return float(self.constant(node, index, name).reshape(-1)[0])
        value = node.attributes.get(name)
        return None if value is None else float(value)

    def on_Softmax(self, node: Node, flow: _Flow) -> _Flow:
        rank = flow.order.ndim + 1
        axis = int(node.attributes.get("axis", -1 if self.graph.opset >= 13 else 1))
        axis += rank if axis < 0 else 0
        # Up to opset 12 everything from the axis on is one vector.
        sizes = flow.order.shape[axis - 1 : axis if self.graph.opset >= 13 else None] if 1 <= axis < rank else ()
        if prod(sizes) != flow.order.size:
            raise self.unsupported(node, f"axis {axis} of {[self.batch, *flow.order.shape]}: expected all of a sample")
        return self.activate(node, flow, "softmax")

    # -- scales and shifts -------------------------------------------------------------------------------------------

    def on_BatchNormalization(self, node: Node, flow: _Flow) -> _Flow:
        if node.attributes.get("training_mode", 0):
            raise self.unsupported(node, "is in training mode; export the model for inference (model.eval())")
        gamma, beta, mean, variance = (self.constant(node, index, "parameters").ravel() for index in range(1, 5))
        if {len(values) for values in (gamma, beta, mean, variance)} != {flow.order.shape[0]}:
            raise self.unsupported(node, f"expected parameters for {flow.order.shape[0]} channels, got {len(gamma)}")
        scale = gamma / np.sqrt(variance + float(node.attributes.get("epsilon", 1e-5)))
        if not np.isfinite(scale).all():
            raise self.unsupported(node, "expected positive variances")
        shape = (-1, *(1,) * (flow.order.ndim - 1))
        return self.affine(node, flow, scale.reshape(shape), (beta - mean * scale).reshape(shape))

    def operand(self, node: Node, flow: _Flow) -> tuple[np.ndarray, bool]:
        """The constant of a two-sided operator without the batch, and whether it comes first."""
        comes_first = node.inputs[0] not in self.flows
        value = self.constant(node, 0 if comes_first else 1, "the other operand")
        rank = flow.order.ndim
        if value.ndim == rank + 1 and value.shape[0] == 1:
            value = value[0]
        try:
            if value.ndim > rank:
                raise ValueError
            return np.broadcast_to(value, flow.order.shape), comes_first
        except ValueError:
            raise self.unsupported(
                node, f"a constant of shape {list(value.shape)} does not fit {[self.batch, *flow.order.shape]}"
            ) from None

    def on_Add(self, node: Node, flow: _Flow) -> _Flow:
        value, _ = self.operand(node, flow)
        return self.affine(node, flow, np.ones(1), value)

    def on_Sub(self, node: Node, flow: _Flow) -> _Flow:
        value, comes_first = self.operand(node, flow)
        if comes_first:
            return self.affine(node, flow, -np.ones(1), value)
        return self.affine(node, flow, np.ones(1), -value)

    def on_Mul(self, node: Node, flow: _Flow) -> _Flow:
        value, _ = self.operand(node, flow)
        return self.affine(node, flow, value, np.zeros(1))

    def on_Div(self, node: Node, flow: _Flow) -> _Flow:
        value, comes_first = self.operand(node, flow)
        if comes_first or (value == 0).any():
            raise self.unsupported(node, "expected a division by constants other than 0")
        return self.affine(node, flow, 1 / value, np.zeros(1))

    # -- shapes ------------------------------------------------------------------------------------------------------

    def on_Pad(self, node: Node, flow: _Flow) -> _Flow:
        rank = flow.order.ndim + 1
        mode = node.attributes.get("mode", "constant")
        value = float(self.constant(node, 2, "value")) if self.has(node, 2) else float(node.attributes.get("value", 0))
        if mode != "constant" or value != 0:
            raise self.unsupported(node, f"expected zeros around the image, got mode {mode!r} and value {value:g}")
        amounts = self.numbers(node, "pads", 1) or []
        axes = self.numbers(node, "axes", 3) or list(range(rank))
        if len(amounts) != 2 * len(axes):
            raise self.unsupported(node, f"expected two pads for each of {len(axes)} axes, got {len(amounts)}")
        pads = [(0, 0)] * rank
        for k, axis in enumerate(axes):
            if not -rank <= axis < rank:
                raise self.unsupported(node, f"axis {axis} does not exist")
            pads[axis] = (amounts[k], amounts[k + len(axes)])
        if pads[0] != (0, 0) or min(min(pair) for pair in pads) < 0:
            raise self.unsupported(node, f"expected pads of at least 0, none on the batch, got {amounts}")
        before = flow.pads or ((0, 0),) * (rank - 1)
        both = tuple((a + c, b + d) for (a, b), (c, d) in zip(before, pads[1:], strict=True))
        return replace(flow, pads=both if any(sum(pair) for pair in both) else None)

    def rearrange(self, node: Node, flow: _Flow, change: Callable[[np.ndarray], np.ndarray]) -> _Flow:
        if flow.pads is not None:
            raise self.unsupported(node, "between Pad and its convolution")
        return flow.rearranged(change)

    def on_Transpose(self, node: Node, flow: _Flow) -> _Flow:
        rank = flow.order.ndim + 1
        perm = [int(axis) for axis in node.attributes.get("perm", range(rank - 1, -1, -1))]
        if sorted(perm) != list(range(rank)) or perm[0] != 0:
            raise self.unsupported(node, f"perm {perm}: expected the batch to stay first")
        axes = [axis - 1 for axis in perm[1:]]
        pads = None if flow.pads is None else tuple(flow.pads[axis] for axis in axes)
        return replace(flow.rearranged(lambda array: array.transpose(axes)), pads=pads)

    def on_Reshape(self, node: Node, flow: _Flow) -> _Flow:
        target = self.numbers(node, "shape", 1)
        if target is None:
            raise self.unsupported(node, "expected a constant shape")
        current = [self.batch, *flow.order.shape]
        if not node.attributes.get("allowzero", 0):
            target = [current[k] if size == 0 and k < len(current) else size for k, size in enumerate(target)]
        if target.count(-1) == 1:
            rest = prod(size for size in target if size != -1)
            target = [prod(current) // rest if size == -1 and rest else size for size in target]
        if prod(target) != prod(current) or not target or target[0] != self.batch or len(target) < 2:
            raise self.unsupported(node, f"{current} to {target}: expected the batch to stay first")
        return self.rearrange(node, flow, lambda array: array.reshape(target[1:]))

    def on_Flatten(self, node: Node, flow: _Flow) -> _Flow:
        rank = flow.order.ndim + 1
        axis = int(node.attributes.get("axis", 1))
        axis += rank if axis < 0 else 0
        if axis < 1 or prod(flow.order.shape[: axis - 1]) != 1:
            raise self.unsupported(
                node, f"axis {axis}: expected the batch on one side and all of a sample on the other"
            )
        return self.rearrange(node, flow, lambda array: array.reshape(-1))

    def on_Squeeze(self, node: Node, flow: _Flow) -> _Flow:
        axes = self.numbers(node, "axes", 1)
        rank = flow.order.ndim + 1
        own = [axis + rank if axis < 0 else axis for axis in axes or []]
        if (
            not own
            or any(not 1 <= axis < rank or flow.order.shape[axis - 1] != 1 for axis in own)
            or len(own) == rank - 1
        ):
            raise self.unsupported(node, f"axes {axes}: expected axes of size 1, not the batch, and one to remain")
        return self.rearrange(node, flow, lambda array: np.squeeze(array, tuple(axis - 1 for axis in own)))

    def on_Unsqueeze(self, node: Node, flow: _Flow) -> _Flow:
        axes = self.numbers(node, "axes", 1) or []
        rank = flow.order.ndim + 1 + len(axes)
        own = sorted(axis + rank if axis < 0 else axis for axis in axes)
        if not own or len(set(own)) != len(own) or min(own) < 1 or max(own) >= rank:
            raise self.unsupported(node, f"axes {axes}: expected new axes behind the batch")
        return self.rearrange(node, flow, lambda array: np.expand_dims(array, tuple(axis - 1 for axis in own)))

    def on_Identity(self, node: Node, flow: _Flow) -> _Flow:
        return flow

    def on_Dropout(self, node: Node, flow: _Flow) -> _Flow:
        if self.has(node, 2) and np.any(self.constants.get(node.inputs[2], np.zeros(1))):
            raise self.unsupported(node, "is in training mode; export the model for inference (model.eval())")
        return flow

    def on_Cast(self, node: Node, flow: _Flow) -> _Flow:
        from onnx import TensorProto

        kinds = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16)
        if node.attributes.get("to") not in kinds:
            raise self.unsupported(node, "expected a cast between float types")
        return flow


def representable(
    size: tuple[int, int], kernel: tuple[int, int], stride: tuple[int, int], pads: Pads, out: list[int]
) -> tuple[Any, Pads]:
    """`padding` of the model file, and the zeros to put around the kernel, that give these windows.

    A model file has equal padding on both sides, or TensorFlow's ``same``; other pads become equal ones by zeros at
    the kernel's near edge (which move the window back) or far edge.
    """
    widened: Pads = []
    padding = []
    for k in (0, 1):
        (before, after), near, far = pads[k], 0, 0
        if not _gives(size[k], kernel[k], stride[k], before, out[k], before):
            near, far = max(after - before, 0), max(before - after, 0)
            while before + near >= kernel[k] + near + far:
                near, far = near + 1, far + 1
        widened.append((near, far))
        padding.append(before + near)
    if any(sum(pair) for pair in widened) and all(
        _gives(size[k], kernel[k], stride[k], "same", out[k], pads[k][0]) for k in (0, 1)
    ):
        return "same", [(0, 0), (0, 0)]
    return padding, widened


def _gives(size: int, kernel: int, stride: int, padding: int | str, out: int, before: int) -> bool:
    try:
        count, (start, _) = window_axis(size, kernel, stride, padding, False)
    except ValueError:
        return False
    return count == out and start == before
