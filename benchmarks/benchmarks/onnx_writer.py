# SPDX-License-Identifier: Apache-2.0
"""A graph of q7 or int8 layers as ONNX with unsigned activations, ONNX Runtime's fast path."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from cmsisnn_x.affine import Affine, AffineSoftmax, AffineSum
from cmsisnn_x.graph import Graph
from cmsisnn_x.layers import Layer

OFFSET = 128
"""Of an unsigned activation from the signed one."""


class OnnxWriter:
    """`zeros` of tensors are those of their unsigned values; a ReLU of powers of two is the range above zero."""

    def __init__(self, graph: Graph) -> None:
        from onnx import TensorProto, checker, helper, numpy_helper

        self.helper, self.constants, self.nodes, self.zeros = helper, {}, [], {graph.inputs[0]: OFFSET}
        (source,), (result,) = graph.inputs, graph.outputs
        for node in graph.nodes:
            layer = node.layer
            if isinstance(layer.scheme, Affine | AffineSum) and (layer.scheme.low, layer.scheme.high) != (-128, 127):
                raise NotImplementedError("a range that is not that of bytes")
            write = getattr(self, layer.op, None)
            if write is None:
                raise NotImplementedError(f"no operator for {layer.op}")
            write(layer, node.outputs[0], *node.inputs)
        first = graph.nodes[0].layer
        shape = (1, *np.roll(first.image, 1)) if len(first.input_shape) == 3 else (1, prod(first.input_shape))
        self.is_image = len(shape) == 4
        self.offset = OFFSET if first.dtype == "int8" else self.zeros[result]
        tensors = [numpy_helper.from_array(np.asarray(array), name) for name, array in self.constants.items()]
        axes = ["n", "c"] if graph.nodes[-1].layer.op in ("fully_connected", "softmax") else ["n", "c", "h", "w"]
        values = [helper.make_tensor_value_info(source, TensorProto.UINT8, [int(n) for n in shape]),
                  helper.make_tensor_value_info(result, TensorProto.UINT8, axes)]  # fmt: skip
        made = helper.make_graph(self.nodes, "peer", values[:1], values[1:], tensors)
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
        self.model = helper.make_model(made, opset_imports=opsets, ir_version=9)
        checker.check_model(self.model)

    def unsigned(self, x: np.ndarray) -> np.ndarray:
        """The input as the model takes it."""
        moved = (x.astype(np.int16) + OFFSET).astype(np.uint8)
        if not self.is_image:
            return moved.reshape(1, -1)
        return np.ascontiguousarray(moved.reshape(x.shape[-3:]).transpose(2, 0, 1)[None])

    def signed(self, y: np.ndarray) -> np.ndarray:
        """An output of the model as ours are."""
        y = y[0].transpose(1, 2, 0) if y.ndim == 4 else y
        return np.minimum(y.astype(np.int16) - self.offset, 127)

    def constant(self, name: str, value: Any) -> str:
        self.constants[name] = value
        return name

    def scale(self, value: float) -> str:
        return self.constant(f"scale{value!r}", np.float32(value))

    def zero_point(self, value: int) -> str:
        return self.constant(f"zero{value}", np.uint8(value))

    def node(self, op: str, inputs: list[str], out: str, **attributes: Any) -> None:
        domain = "" if op in ("QLinearConv", "MaxPool", "Reshape") else "com.microsoft"
        self.nodes.append(self.helper.make_node(op, inputs, [out], domain=domain, **attributes))

    def weighted(self, layer: Layer, out: str, x: str) -> tuple[list[str], list[str], str]:
        """Scales and zero points of input and output, and the factors of the weights."""
        scheme = layer.scheme
        channels = layer.output_shape[-1]
        if isinstance(scheme, Affine):
            factors = [one * 2.0 ** (shift - 31) for one, shift in zip(*scheme.per_channel(channels), strict=True)]
            points = scheme.input_zero_point + OFFSET, scheme.output_zero_point + OFFSET
        else:
            factors, points = [2.0**-layer.out_shift] * channels, (self.zeros[x], 0 if layer.activation else OFFSET)
        self.zeros[out] = points[1]
        if layer.bias is not None:
            self.constant(f"{out}_b", layer.bias.astype(np.int32) << layer.bias_shift)
        read, written = ([self.scale(1.0), self.zero_point(point)] for point in points)
        return read, written, self.constant(f"{out}_s", np.array(factors, np.float32))

    def conv2d(self, layer: Layer, out: str, x: str) -> None:
        depthwise = layer.op == "depthwise_conv2d"
        read, written, factors = self.weighted(layer, out, x)
        weights = layer.weights.transpose(2, 0, 1)[:, None] if depthwise else layer.weights.transpose(0, 3, 1, 2)
        inputs = [x, *read, self.constant(f"{out}_w", np.ascontiguousarray(weights)), factors,
                  self.constant(f"{out}_z", np.zeros(len(weights), np.int8)), *written]  # fmt: skip
        inputs += [f"{out}_b"] if layer.bias is not None else []
        self.node("QLinearConv", inputs, out, pads=_pads(layer), strides=layer.stride,
                  group=len(weights) if depthwise else 1)  # fmt: skip

    depthwise_conv2d = conv2d

    def fully_connected(self, layer: Layer, out: str, x: str) -> None:
        read, written, factors = self.weighted(layer, out, x)
        rows, shape = len(layer.weights), layer.input_shape
        # The other order of an image's elements goes into the weights.
        weights = layer.weights.reshape(rows, *shape)
        weights = weights.transpose(0, 3, 1, 2) if len(shape) == 3 else weights
        self.node("Reshape", [x, self.constant("flat", np.array([1, -1]))], f"{out}_flat")
        inputs = [f"{out}_flat", *read, self.constant(f"{out}_w", np.ascontiguousarray(weights.reshape(rows, -1).T)),
                  factors, self.constant(f"{out}_z", np.zeros(rows, np.int8)),
                  f"{out}_b" if layer.bias is not None else "", *written]  # fmt: skip
        self.node("QGemm", inputs, out)

    def max_pool2d(self, layer: Layer, out: str, x: str) -> None:
        self.zeros[out] = self.zeros[x]
        self.node("MaxPool", [x], out, **_windows(layer))

    def avg_pool2d(self, layer: Layer, out: str, x: str) -> None:
        self.zeros[out] = self.zeros[x]
        same = [self.scale(1.0), self.zero_point(self.zeros[x])]
        self.node("QLinearAveragePool", [x, *same, *same], out, count_include_pad=0, **_windows(layer))

    def add(self, layer: Layer, out: str, a: str, b: str) -> None:
        scheme = layer.scheme
        assert isinstance(scheme, AffineSum)
        self.zeros[out] = scheme.output_zero_point + OFFSET
        operands = [
            part
            for name, one in ((a, scheme.left), (b, scheme.right))
            for part in (
                name, self.scale(one.multiplier * 2.0 ** (one.shift - 31)), self.zero_point(one.zero_point + OFFSET),
            )
        ]  # fmt: skip
        written = 2.0 ** (31 - scheme.shift - scheme.left_shift) / scheme.multiplier
        self.node("QLinearAdd", [*operands, self.scale(written), self.zero_point(self.zeros[out])], out)

    def softmax(self, layer: Layer, out: str, x: str) -> None:
        if not isinstance(layer.scheme, AffineSoftmax):
            raise NotImplementedError("no softmax of powers of two")
        self.zeros[out] = OFFSET  # ours is the least of signed bytes
        scale = layer.scheme.multiplier * 2.0 ** (layer.scheme.shift - 31 - 26)
        inputs = [x, self.scale(scale), self.zero_point(self.zeros[x]), self.scale(1 / 256), self.zero_point(0)]
        self.node("QLinearSoftmax", inputs, out, axis=-1, opset=13)


def _pads(layer: Layer) -> list[int]:
    """What strides leave over at the far ends is cut off anyway."""
    (top, bottom), (left, right) = layer.padding
    return [top, left, max(bottom, 0), max(right, 0)]


def _windows(layer: Layer) -> dict[str, Any]:
    return {"kernel_shape": layer.kernel, "strides": layer.stride, "pads": _pads(layer)}
