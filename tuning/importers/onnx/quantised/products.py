# SPDX-License-Identifier: Apache-2.0
"""Operators with weights of quantised ONNX networks: convolutions and products of matrices."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np

from cmsisnn_x._arguments import same_padding

from ...integer_graph import Refused
from ..file import Node
from .items import Constant, Goal, Integers, Item, Stored, Waiting, finite
from .layout import Layout, image_axes
from .walk import Translator, Walk

SYMMETRIC = (
    "expected weights of int8 around 0, got other ones: quantise with weight_type=QuantType.QInt8, or with "
    'extra_options={"WeightSymmetric": True}'
)
_DEAD = 2.0**-10
"""Steps of the bias of a channel without weights, in steps of its output."""


@dataclass(frozen=True, eq=False)
class Weights:
    """int8 weights, `scale` one number or one for each output."""

    values: np.ndarray
    scale: np.ndarray


def weights_of(item: Item, name: str, axis: int) -> Weights:
    """Weights around 0 with a scale for all or for each output, which lie along `axis`."""
    if not isinstance(item, Constant):
        raise Refused(f"its weights {name!r} are computed: a product of two such tensors is not taken")
    found = item.integers
    if found is None:
        raise Refused(f"its weights {name!r} are float: expected quantised ones (QuantizeLinear, DequantizeLinear)")
    if found.values.dtype.kind not in "iu":
        raise Refused(f"its weights {name!r}: expected integers, got {found.values.dtype}")
    if found.scale.size > 1 and found.axis % found.values.ndim != axis % found.values.ndim:
        raise Refused(f"its weights {name!r}: expected a scale for each output (axis {axis}), got axis {found.axis}")
    centred = found.centred
    if centred.min(initial=0) < -128 or centred.max(initial=0) > 127:
        raise Refused(f"its weights {name!r}: {SYMMETRIC}")
    return Weights(centred.astype(np.int8), found.scale.astype(np.float32))


def bias_of(item: Item, name: str, count: int) -> Constant:
    if not isinstance(item, Constant):
        raise Refused(f"its bias {name!r}: expected a constant")
    if item.size not in (1, count):
        raise Refused(f"its bias {name!r}: expected {count} numbers, got {item.size}")
    return item


def bias_steps(bias: Constant, scale: np.ndarray, is_dead: np.ndarray, out: float) -> tuple[np.ndarray, np.ndarray]:
    """A bias in steps of input times weights, and those steps: `scale`, but of channels without weights, where any
    will do, what fits.
    """
    steps = np.broadcast_to(scale, is_dead.shape).copy()
    given = bias.integers
    if given is not None and given.values.dtype == np.int32 and not given.zero_point.any():
        own = np.broadcast_to(given.scale.astype(np.float64).reshape(-1), is_dead.shape)
        if np.allclose(own, steps, rtol=1e-5, atol=0):
            return np.broadcast_to(given.values.reshape(-1), is_dead.shape).astype(np.int64), steps
    real = np.broadcast_to(finite(_exact(bias), "bias").reshape(-1), is_dead.shape)
    steps[is_dead & (np.abs(real) >= 2.0**30 * steps)] = out * _DEAD
    return np.rint(real / steps), steps


def _exact(bias: Constant) -> np.ndarray:
    """float64, in which int32 times a scale is exact enough to be rounded again."""
    found = bias.integers
    if found is None:
        return bias.values
    if found.scale.size > 1:
        found = replace(found, values=found.values.reshape(-1), axis=0)
    return np.asarray(found.centred * found.along(found.scale.astype(np.float64)))


@dataclass(frozen=True, eq=False)
class Product:
    """A layer of products that waits for its output's scale.

    `weights` have an axis `axis` for the outputs, laid out as the `.tflite` operator takes them; `index` is the input.
    """

    walk: Walk
    code: str
    x: Stored
    index: int
    weights: Weights
    axis: int
    bias: Constant | None
    shape: tuple[int, ...]
    layout: Layout
    options: dict[str, Any]
    gain: float = 1.0

    def add(self, goal: Goal) -> Stored:
        walk, name = self.walk, goal.name
        numbers, values = self.x.numbers, self.weights.values
        if goal.numbers.type != numbers.type:
            raise Refused(f"integers of {numbers.type} that become {goal.numbers.type}")
        channels = values.shape[self.axis]
        weight_scale = self.weights.scale.astype(np.float64) * self.gain
        steps = np.float64(np.float32(numbers.scale)) * weight_scale
        inputs = [self.index, -1, -1]
        bias_item = self.bias
        if bias_item is None and self.code != "FULLY_CONNECTED":  # LiteRT refuses convolutions without one
            bias_item = Constant(np.zeros(channels))
        if bias_item is not None:
            others = tuple(axis for axis in range(values.ndim) if axis != self.axis)
            is_dead = np.asarray(values.any(axis=others) == 0)
            bias, own = bias_steps(bias_item, steps, is_dead, goal.numbers.scale)
            if (own != steps).any():
                weight_scale, steps = own / np.float64(np.float32(numbers.scale)), own
            bias = self._limited(bias)
            width = np.int64 if numbers.type == "INT16" else np.int32
            inputs[2] = walk.to.tensor(f"{name}_bias", scale=steps, data=bias.astype(width))
        if weight_scale.size not in (1, channels):
            raise Refused(f"expected 1 or {channels} scales of its weights, got {weight_scale.size}")
        inputs[1] = walk.to.tensor(f"{name}_weights", scale=weight_scale, axis=self.axis, data=values)
        made = walk.stored(name, self.shape, self.layout, goal.numbers)
        walk.op(self.code, inputs, [made.tensor], fused_activation_function=goal.activation, **self.options)
        return made

    def _limited(self, bias: np.ndarray) -> np.ndarray:
        limit = np.iinfo(np.int32)
        if bias.min(initial=0) < limit.min or bias.max(initial=0) > limit.max:
            raise Refused("a bias beyond 32 bits at the scale of input times weights")
        return bias

    def waiting(self, shape: tuple[int, ...]) -> Waiting:
        def with_bias(more: np.ndarray) -> Waiting:
            before = 0.0 if self.bias is None else _exact(self.bias).reshape(-1)
            return replace(self, bias=Constant(np.asarray(before + more.astype(np.float64)))).waiting(shape)

        return self.walk.wait(shape, self.add, with_bias=with_bias)


# ---------------------------------------------------------------- convolutions


@dataclass(frozen=True)
class Windows:
    """Windows over height and width; sequences are of height 1."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    pads: tuple[tuple[int, int], tuple[int, int]]

    def count(self, size: tuple[int, int]) -> tuple[int, int]:
        found = []
        for axis in (0, 1):
            span = (self.kernel[axis] - 1) * self.dilation[axis] + 1
            found.append((size[axis] + sum(self.pads[axis]) - span) // self.stride[axis] + 1)
        if min(found) < 1:
            raise Refused(f"windows of {list(self.kernel)} do not fit an image of {list(size)}")
        return found[0], found[1]

    def trimmed(self, size: tuple[int, int]) -> Windows:
        """Without padding at the end that no window sees."""
        count, pads = self.count(size), []
        for axis in (0, 1):
            span, (before, _) = (self.kernel[axis] - 1) * self.dilation[axis] + 1, self.pads[axis]
            pads.append((before, max((count[axis] - 1) * self.stride[axis] + span - size[axis] - before, 0)))
        return replace(self, pads=(pads[0], pads[1]))

    @property
    def options(self) -> dict[str, int]:
        return {"stride_h": self.stride[0], "stride_w": self.stride[1]}

    def is_same(self, size: tuple[int, int]) -> bool:
        """Whether TensorFlow's SAME puts this padding."""
        for axis in (0, 1):
            span = (self.kernel[axis] - 1) * self.dilation[axis] + 1
            before, total = same_padding(size[axis], span, self.stride[axis])
            if self.pads[axis] != (before, total - before):
                return False
        return True


def windows_of(node: Node, kernel: tuple[int, ...], size: tuple[int, int], is_1d: bool) -> Windows:
    count = 1 if is_1d else 2

    def pair(name: str, values: Any, least: int) -> tuple[int, int]:
        found = [int(value) for value in values]
        if len(found) != count or min(found) < least or max(found) > 65535:
            raise Refused(f"{name}: expected {count} numbers from {least} on, got {found}")
        return (1, found[0]) if is_1d else (found[0], found[1])

    own = pair("kernel_shape", kernel, 1)
    if (said := node.attributes.get("kernel_shape")) is not None and pair("kernel_shape", said, 1) != own:
        raise Refused(f"kernel_shape {list(said)} does not fit weights of {list(kernel)}")
    stride = pair("strides", node.attributes.get("strides") or [1] * count, 1)
    dilation = pair("dilations", node.attributes.get("dilations") or [1] * count, 1)
    auto = node.attributes.get("auto_pad") or "NOTSET"
    pads = [(0, 0), (0, 0)]
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        for axis in (0, 1):
            half, total = same_padding(size[axis], (own[axis] - 1) * dilation[axis] + 1, stride[axis])
            pads[axis] = (half, total - half) if auto == "SAME_UPPER" else (total - half, half)
    elif auto == "NOTSET":
        given = [int(value) for value in node.attributes.get("pads") or [0] * 2 * count]
        if len(given) != 2 * count or min(given) < 0 or max(given) > 65535:
            raise Refused(f"pads: expected {2 * count} numbers from 0 on, got {given}")
        pads = [(0, 0), (given[0], given[1])] if is_1d else [(given[0], given[2]), (given[1], given[3])]
    elif auto != "VALID":
        raise Refused(f"auto_pad: expected SAME_UPPER, SAME_LOWER, VALID or NOTSET, got {auto!r}")
    return Windows(own, stride, dilation, (pads[0], pads[1]))


def framed(walk: Walk, index: int, x: Stored, windows: Windows, fill: int | None = None) -> tuple[int, str]:
    """The image with its padding, and how the operator pads: by itself where TensorFlow's rule puts the same.

    `fill` is what stands in the frame; None is the zero point.
    """
    batch, height, width, channels = walk.file_shape(index)
    if not any(map(sum, windows.pads)):
        return index, "VALID"
    if windows.is_same((height, width)):
        return index, "SAME"
    amounts = [(0, 0), *windows.pads, (0, 0)]
    shape = [size + sum(pair) for size, pair in zip((batch, height, width, channels), amounts, strict=True)]
    made = walk.tensor(walk.to.tensors[index].name, shape, x.numbers)
    inputs = [index, walk.constant(amounts)]
    if fill is not None:
        dtype = np.int16 if x.numbers.type == "INT16" else np.int8
        inputs.append(
            walk.to.tensor("", scale=x.numbers.scale, zero_point=x.numbers.zero_point, data=np.array([fill], dtype))
        )
    walk.op("PAD" if fill is None else "PADV2", inputs, [made])
    return made, "VALID"


def convolution(walk: Walk, node: Node, x: Stored, weights: Weights, bias: Constant | None) -> Waiting:
    index = walk.image(x)
    is_1d = len(x.layout.shape) == 3
    batch, height, width, in_ch = walk.file_shape(index)
    values = weights.values
    if values.ndim > 4:
        raise Refused(f"expected windows of one or two axes, got {values.ndim - 2}")
    if values.ndim != len(x.layout.shape) or 0 in values.shape:
        raise Refused(f"weights of shape {list(values.shape)} do not fit an input of {list(x.layout.shape)}")
    windows = windows_of(node, values.shape[2:], (height, width), is_1d)
    groups, out_ch = int(node.attributes.get("group") or 1), len(values)
    if groups < 1 or values.shape[1] * groups != in_ch or out_ch % groups:
        raise Refused(f"weights of shape {list(values.shape)} in {groups} groups do not fit {in_ch} channels")
    count = windows.count((height, width))
    layout = Layout.of((batch, out_ch, count[1]) if is_1d else (batch, out_ch, *count), image_axes(3 if is_1d else 4))
    values = values.reshape(out_ch, values.shape[1], *windows.kernel).transpose(0, 2, 3, 1)
    index, padding = framed(walk, index, x, windows.trimmed((height, width)))
    dilation = {"dilation_h_factor": windows.dilation[0], "dilation_w_factor": windows.dilation[1]}
    options: dict[str, Any] = {"padding": padding, **windows.options, **dilation}
    code, axis = "CONV_2D", 0
    if groups == in_ch > 1:
        code, axis = "DEPTHWISE_CONV_2D", 3
        values = values.transpose(3, 1, 2, 0)
        options["depth_multiplier"] = out_ch // in_ch
    made = replace(weights, values=np.ascontiguousarray(values))
    return Product(
        walk, code, x, index, made, axis, bias, (batch, *count, out_ch), layout, options
    ).waiting(layout.shape)  # fmt: skip


def _conv(walk: Walk, node: Node) -> Item:
    weights = weights_of(walk.item(node, 1), node.inputs[1], 0)
    bias = bias_of(walk.item(node, 2), node.inputs[2], len(weights.values)) if walk.has(node, 2) else None
    return convolution(walk, node, walk.input(node), weights, bias)


# ---------------------------------------------------------------- products of matrices


def dense(walk: Walk, x: Stored, weights: Weights, bias: Constant | None, gain: float = 1.0) -> Waiting:
    """The last axis of `x` times weights ``(inputs, outputs)``. What was flattened is not moved: the weights are."""
    layout = x.layout
    columns, rows = weights.values.shape
    if not layout.axes or layout.shape[-1] != columns:
        raise Refused(f"weights of shape {[columns, rows]} do not fit an input of {list(layout.shape)}")
    own = layout.factors_of(len(layout.axes) - 1)
    inner = [factor for factor in layout.order if factor in own]
    outer = [factor for factor in layout.order if factor not in own]
    samples = prod(layout.shape[:-1])
    index = walk.ordered(x, (*outer, *inner), (samples, columns))
    values = weights.values.reshape(*layout.axes[-1], rows)
    values = values.transpose(*(factor - own.start for factor in inner), len(inner)).reshape(columns, rows)
    last = () if rows == 1 else (rows,)
    made = Layout((*layout.axes[:-1], last), (*outer, *range(own.start, own.start + len(last))))
    kept = replace(weights, values=np.ascontiguousarray(values.T))
    product = Product(
        walk, "FULLY_CONNECTED", x, index, kept, 0, bias, (samples, rows), made, {"weights_format": "DEFAULT"}, gain
    )
    return product.waiting(made.shape)


def matrix(item: Item, name: str, is_transposed: bool = False) -> Weights:
    """Weights ``(inputs, outputs)``."""
    shape = item.shape if isinstance(item, Constant) else ()
    if isinstance(item, Constant) and len(shape) > 2 and prod(shape[:-2]) == 1 and item.integers is not None:
        found = item.integers
        axis = found.axis % len(shape) - len(shape) + 2
        item = Constant(None, Integers(found.values.reshape(shape[-2:]), found.scale, found.zero_point, axis))
        shape = item.shape
    if isinstance(item, Constant) and len(shape) != 2:
        raise Refused(f"its weights {name!r}: expected a matrix, got shape {list(shape)}")
    found_weights = weights_of(item, name, 0 if is_transposed else 1)
    return replace(found_weights, values=found_weights.values.T) if is_transposed else found_weights


def _matmul(walk: Walk, node: Node) -> Item:
    return dense(walk, walk.input(node), matrix(walk.item(node, 1), node.inputs[1]), None)


def _gemm(walk: Walk, node: Node) -> Item:
    x = walk.input(node)
    if node.attributes.get("transA") or len(x.layout.shape) != 2:
        raise Refused("expected a matrix that is not transposed as its first input")
    weights = matrix(walk.item(node, 1), node.inputs[1], bool(node.attributes.get("transB")))
    alpha, beta = (float(1 if (v := node.attributes.get(name)) is None else v) for name in ("alpha", "beta"))
    if not (np.isfinite([alpha, beta]).all() and alpha > 0):
        raise Refused(f"expected alpha above 0, got {alpha:g}")
    bias = None
    if walk.has(node, 2) and beta:
        bias = bias_of(walk.item(node, 2), node.inputs[2], weights.values.shape[1])
        bias = bias if beta == 1 else Constant(_exact(bias).reshape(-1) * beta)
    return dense(walk, x, weights, bias, alpha)


TRANSLATORS: dict[str, Translator] = {"Conv": _conv, "MatMul": _matmul, "Gemm": _gemm}
