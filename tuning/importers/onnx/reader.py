# SPDX-License-Identifier: Apache-2.0
"""ONNX operators -> :class:`FloatNetwork`: channels last, nothing but layers of the model file."""

from __future__ import annotations

import os
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from ...base.errors import ModelError
from ...base.names import identifier, model_name_problem
from ..float_network import FloatNetwork
from .file import Node, read
from .prepare import Given
from .walk import Flow, image_order
from .windows import Windows, representable

Pads = list[tuple[int, int]]


def load_onnx(
    source: str | os.PathLike[str] | Any, name: str | None = None, given: Given | None = None
) -> FloatNetwork:
    """Read a sequential float network from ONNX.

    Parameters
    ----------
    source : path or onnx.ModelProto
    name : str, optional
        Of the network, a C identifier; default: the file's stem.
    given : Given, optional
        Where to cut it, and sizes that it leaves open.

    Returns
    -------
    FloatNetwork

    Raises
    ------
    ModelError
        With the node, its operator and what is supported, or the tensor that is used twice.
    """
    graph = read(source, given)
    if name is None:
        name = identifier(Path(graph.file).stem)
    elif problem := model_name_problem(name):
        raise ModelError(f"name: {problem}")
    return _Operators(graph).network(name)


class _Operators(Windows):
    """Every supported operator is a method ``on_<name>``."""

    # -- operators with weights --------------------------------------------------------------------------------------

    def on_Conv(self, node: Node, flow: Flow) -> Flow:
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
        if group < 1 or len(weights) % group:
            raise self.unsupported(node, f"group {group} does not divide {len(weights)} output channels")
        is_depthwise = group > 1 and group == channels == len(weights)
        if group > 1 and not is_depthwise:
            weights = _ungrouped(weights, group)
            self.notes.append(
                f"{self.label(node)}: {group} groups became one with zeros between them, {group} times the work"
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
        self.sides = (out[0], out[1])
        order = image_order(out[0], out[1], len(bias))
        return Flow(order[:, 0, :] if is_1d else order)

    def on_Gemm(self, node: Node, flow: Flow) -> Flow:
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

    def on_MatMul(self, node: Node, flow: Flow) -> Flow:
        if node.inputs[0] not in self.flows:
            raise self.unsupported(node, "expected the activations first and constant weights second")
        weights = self.constant(node, 1, "weights")
        if weights.ndim != 2:
            raise self.unsupported(node, f"expected weights with two dimensions, got shape {list(weights.shape)}")
        return self.dense(node, flow, weights.T, np.zeros(weights.shape[1]))

    def dense(self, node: Node, flow: Flow, weights: np.ndarray, bias: np.ndarray) -> Flow:
        lead = flow.order.shape[:-1]
        if flow.order.ndim == 2 and prod(lead) != 1:
            return self.dense_over_time(node, flow, weights, bias)
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
        self.sides = None
        return Flow(np.arange(len(bias)).reshape(*lead, -1))

    def dense_over_time(self, node: Node, flow: Flow, weights: np.ndarray, bias: np.ndarray) -> Flow:
        """A dense layer at every step of a sequence is a convolution of one step, channels first as ONNX has it."""
        names = tuple(f"{node.outputs[0]}/{what}" for what in ("weights", "bias"))
        self.constants.update(zip(names, (weights[:, :, None], bias), strict=True))
        convolution = replace(node, op="Conv", inputs=(node.inputs[0], *names), attributes={})
        flow, convolution, back = self.straight(flow.rearranged(np.transpose), convolution)
        made = self.on_Conv(convolution, flow)
        return (made if back is None else made.rearranged(back)).rearranged(np.transpose)

    # -- windows -----------------------------------------------------------------------------------------------------

    def activate(self, node: Node, flow: Flow, op: str, clip: float | None = None) -> Flow:
        flow = self.settle(flow, str(node))
        flow = self.elementwise(node, flow)
        last = self.open_layer
        if op == "relu" and last is not None:
            self.layers[-1] = replace(last, keys={**last.keys, "activation": "relu"}, clip=clip)
        else:
            self.add(node, op, clip=clip)
        return flow

    def on_Relu(self, node: Node, flow: Flow) -> Flow:
        return self.activate(node, flow, "relu")

    def on_Sigmoid(self, node: Node, flow: Flow) -> Flow:
        return self.activate(node, flow, "sigmoid")

    def on_Tanh(self, node: Node, flow: Flow) -> Flow:
        return self.activate(node, flow, "tanh")

    def on_Clip(self, node: Node, flow: Flow) -> Flow:
        low, high = self.limit(node, "min", 1), self.limit(node, "max", 2)
        if low != 0 or (high is not None and not high > 0):
            raise self.unsupported(node, f"expected limits from 0 (ReLU, ReLU6), got {low} to {high}")
        is_open = high is None or high >= np.finfo(np.float32).max
        return self.activate(node, flow, "relu", None if is_open else high)

    def uniform(self, node: Node, flow: Flow) -> float:
        """The constant operand, which must be one number."""
        value, _ = self.operand(node, flow)
        if value.size == 0 or np.ptp(value) != 0:
            raise self.unsupported(node, "expected one number as the other operand")
        return float(value.flat[0])

    def on_Max(self, node: Node, flow: Flow) -> Flow:
        if (low := self.uniform(node, flow)) != 0:
            raise self.unsupported(node, f"expected the maximum with 0 (ReLU), got {low:g}")
        return self.activate(node, flow, "relu")

    def on_Min(self, node: Node, flow: Flow) -> Flow:
        high = self.uniform(node, flow)
        last = self.layers[-1] if self.layers else None
        is_relu = last is not None and (last.op == "relu" or last.keys.get("activation") == "relu")
        if last is None or not is_relu or flow.scale is not None or flow.pads is not None or not high > 0:
            raise self.unsupported(node, f"expected a positive limit behind a ReLU (ReLU6), got {high:g}")
        self.layers[-1] = replace(last, clip=high if last.clip is None else min(high, last.clip))
        return flow

    def limit(self, node: Node, name: str, index: int) -> float | None:
        if self.has(node, index):
            return float(self.constant(node, index, name).reshape(-1)[0])
        value = node.attributes.get(name)
        return None if value is None else float(value)

    def on_Softmax(self, node: Node, flow: Flow) -> Flow:
        rank = flow.order.ndim + 1
        axis = int(node.attributes.get("axis", -1 if self.graph.opset >= 13 else 1))
        axis += rank if axis < 0 else 0
        # Up to opset 12 everything from the axis on is one vector.
        sizes = flow.order.shape[axis - 1 : axis if self.graph.opset >= 13 else None] if 1 <= axis < rank else ()
        if prod(sizes) != flow.order.size:
            raise self.unsupported(node, f"axis {axis} of {[self.batch, *flow.order.shape]}: expected all of a sample")
        return self.activate(node, flow, "softmax")

    def on_LogSoftmax(self, node: Node, flow: Flow) -> Flow:
        """Of the last operator, whose logarithms change no order."""
        if self.graph.output not in node.outputs:
            raise self.unsupported(node, "expected the end of the network, where probabilities do in its place")
        flow = self.on_Softmax(node, flow)
        self.notes.append(
            f"{self.layers[-1].name}: gives the probabilities whose logarithms the float model gives: the same order"
        )
        return flow

    # -- scales and shifts -------------------------------------------------------------------------------------------

    def on_BatchNormalization(self, node: Node, flow: Flow) -> Flow:
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

    def operand(self, node: Node, flow: Flow) -> tuple[np.ndarray, bool]:
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

    def on_Add(self, node: Node, flow: Flow) -> Flow:
        value, _ = self.operand(node, flow)
        return self.affine(node, flow, np.ones(1), value)

    def on_Sub(self, node: Node, flow: Flow) -> Flow:
        value, comes_first = self.operand(node, flow)
        if comes_first:
            return self.affine(node, flow, -np.ones(1), value)
        return self.affine(node, flow, np.ones(1), -value)

    def on_Mul(self, node: Node, flow: Flow) -> Flow:
        value, _ = self.operand(node, flow)
        return self.affine(node, flow, value, np.zeros(1))

    def on_Div(self, node: Node, flow: Flow) -> Flow:
        value, comes_first = self.operand(node, flow)
        if comes_first or (value == 0).any():
            raise self.unsupported(node, "expected a division by constants other than 0")
        return self.affine(node, flow, 1 / value, np.zeros(1))

    # -- shapes ------------------------------------------------------------------------------------------------------

    def on_Pad(self, node: Node, flow: Flow) -> Flow:
        rank = flow.order.ndim + 1
        mode = node.attributes.get("mode", "constant")
        given = self.constant(node, 2, "value") if self.has(node, 2) else np.asarray(node.attributes.get("value", 0))
        if given.size != 1:
            raise self.unsupported(node, f"expected one value, got {given.size}")
        value = float(given.reshape(-1)[0])
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

    def on_Transpose(self, node: Node, flow: Flow) -> Flow:
        rank = flow.order.ndim + 1
        perm = [int(axis) for axis in node.attributes.get("perm", range(rank - 1, -1, -1))]
        if sorted(perm) != list(range(rank)) or perm[0] != 0:
            raise self.unsupported(node, f"perm {perm}: expected the batch to stay first")
        axes = [axis - 1 for axis in perm[1:]]
        pads = None if flow.pads is None else tuple(flow.pads[axis] for axis in axes)
        return replace(flow.rearranged(lambda array: array.transpose(axes)), pads=pads)

    def on_Reshape(self, node: Node, flow: Flow) -> Flow:
        target = self.numbers(node, "shape", 1)
        if target is None:
            raise self.unsupported(node, "expected a constant shape")
        current = [self.batch, *flow.order.shape]
        if not node.attributes.get("allowzero", 0):
            target = [current[k] if size == 0 and k < len(current) else size for k, size in enumerate(target)]
        if target.count(-1) == 1:
            rest = prod(size for size in target if size != -1)
            target = [prod(current) // rest if size == -1 and rest else size for size in target]
        is_last = self.graph.output in node.outputs
        if prod(target) == prod(current) and self.batch == 1 and target[:1] != [1] and is_last:
            return flow.rearranged(lambda array: array.reshape(target))
        if target == [prod(current)] and flow.order.size > 1:
            self.batched.add(node.outputs[0])
            return flow
        if prod(target) != prod(current) or not target or target[0] != self.batch:
            raise self.unsupported(node, f"{current} to {target}: expected the batch to stay first")
        return flow.rearranged(lambda array: array.reshape(target[1:]))

    def on_Gather(self, node: Node, flow: Flow) -> Flow:
        """One that takes every element once; PyTorch's exporter writes strides as such."""
        axis = int(node.attributes.get("axis", 0))
        axis += flow.order.ndim + 1 if axis < 0 else 0
        indices = self.constant(node, 1, "indices").astype(np.int64)
        if node.inputs[0] in self.batched:
            by_sample = indices.reshape(self.batch, -1) if len(indices) == self.batch else indices[None]
            first, steps = by_sample[0], np.arange(len(by_sample)) * flow.order.size
            whole = np.arange(flow.order.size)
            if axis == 0 and np.array_equal(np.sort(first), whole) and (by_sample == first + steps[:, None]).all():
                return flow.rearranged(lambda array: array.ravel()[first].reshape(indices.shape[1:]))
        elif 1 <= axis <= flow.order.ndim and indices.ndim == 1:
            count = flow.order.shape[axis - 1]
            if np.array_equal(np.sort(indices % count), np.arange(count)) and (abs(indices + 0.5) < count).all():
                return flow.rearranged(lambda array: array.take(indices % count, axis - 1))
            last = self.open_layer
            is_column = flow.order.ndim == 1 and np.array_equal(flow.order, np.arange(count)) and flow.scale is None
            if last is not None and last.op == "fully_connected" and is_column and (abs(indices + 0.5) < count).all():
                assert last.weights is not None
                assert last.bias is not None
                rows = last.weights[indices % count], last.bias[indices % count]
                self.layers[-1] = replace(last, weights=rows[0], bias=rows[1])
                return Flow(np.arange(len(indices)))
        raise self.unsupported(
            node, "expected one that takes every element of a sample once; a part of a tensor is not taken"
        )

    def on_Flatten(self, node: Node, flow: Flow) -> Flow:
        rank = flow.order.ndim + 1
        axis = int(node.attributes.get("axis", 1))
        axis += rank if axis < 0 else 0
        if axis < 1 or prod(flow.order.shape[: axis - 1]) != 1:
            raise self.unsupported(
                node, f"axis {axis}: expected the batch on one side and all of a sample on the other"
            )
        return flow.rearranged(lambda array: array.reshape(-1))

    def on_Squeeze(self, node: Node, flow: Flow) -> Flow:
        axes = self.numbers(node, "axes", 1)
        rank, sizes = flow.order.ndim + 1, (self.batch, *flow.order.shape)
        own = [axis + rank if axis < 0 else axis for axis in axes or [k for k in range(rank) if sizes[k] == 1]]
        if 0 in own and self.graph.output in node.outputs and self.batch == 1:
            own.remove(0)  # nobody asks for the batch any more
        if any(not 1 <= axis < rank or sizes[axis] != 1 for axis in own):
            raise self.unsupported(node, f"axes {axes}: expected axes of size 1, not the batch")
        gone = tuple(axis - 1 for axis in own)
        if flow.pads is None:
            return flow.rearranged(lambda array: np.squeeze(array, gone))
        if any(flow.pads[axis] != (0, 0) for axis in gone):
            raise self.unsupported(node, f"axes {axes}: a Pad in front of it makes them larger")
        pads = tuple(pair for axis, pair in enumerate(flow.pads) if axis not in gone)
        return replace(flow.rearranged(lambda array: np.squeeze(array, gone)), pads=pads)

    def on_Unsqueeze(self, node: Node, flow: Flow) -> Flow:
        axes = self.numbers(node, "axes", 1) or []
        rank = flow.order.ndim + 1 + len(axes)
        own = sorted(axis + rank if axis < 0 else axis for axis in axes)
        if not own or len(set(own)) != len(own) or min(own) < 1 or max(own) >= rank:
            raise self.unsupported(node, f"axes {axes}: expected new axes behind the batch")
        new = tuple(axis - 1 for axis in own)
        made = flow.rearranged(lambda array: np.expand_dims(array, new))
        if flow.pads is None:
            return made
        left = iter(flow.pads)
        return replace(made, pads=tuple((0, 0) if axis in new else next(left) for axis in range(made.order.ndim)))

    def on_Identity(self, node: Node, flow: Flow) -> Flow:
        return flow

    def on_Dropout(self, node: Node, flow: Flow) -> Flow:
        if self.has(node, 2) and np.any(self.constants.get(node.inputs[2], np.zeros(1))):
            raise self.unsupported(node, "is in training mode; export the model for inference (model.eval())")
        return flow

    def on_Cast(self, node: Node, flow: Flow) -> Flow:
        from onnx import TensorProto

        kinds = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16)
        if node.attributes.get("to") not in kinds:
            raise self.unsupported(node, "expected a cast between float types")
        return flow


def _ungrouped(weights: np.ndarray, group: int) -> np.ndarray:
    """Weights ``(out, in / group, kh, kw)`` of a grouped convolution as ``(out, in, kh, kw)``, zeros elsewhere."""
    out, part = weights.shape[:2]
    dense = np.zeros((out, part * group, *weights.shape[2:]))
    for k in range(group):
        rows = slice(k * out // group, (k + 1) * out // group)
        dense[rows, k * part : (k + 1) * part] = weights[rows]
    return dense
