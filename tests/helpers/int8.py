# SPDX-License-Identifier: Apache-2.0
"""Small graphs with zero points, made by hand: a step of the builder is a node and its tensor."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from cmsisnn_x.affine import (
    Affine,
    AffineClamp,
    AffineMean,
    AffineProduct,
    AffineRescale,
    AffineSoftmax,
    AffineSum,
    quantize_multiplier,
)
from cmsisnn_x.affine.curves import Scheme
from cmsisnn_x.graph import Graph, Node, State, Tensor
from cmsisnn_x.layers import Layer, View
from cmsisnn_x.scheme import TENSOR_TYPES

FULL = (-128, 127)


class Builder:
    """Nodes in the order in which they are asked for; every method gives the name of the tensor that it writes.

    Scales and zero points are drawn from the names, weights too: somebody else's numbers, over their whole range.
    """

    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}
        self.nodes: list[Node] = []
        self.inputs: list[str] = []
        self.states: list[State] = []
        self.initial: dict[str, np.ndarray] = {}

    def input(self, name: str, shape: tuple[int, ...], dtype: str = "int8", **about: Any) -> str:
        self.inputs.append(self._tensor(name, shape, dtype, **about))
        return name

    def constant(self, name: str, shape: tuple[int, ...], dtype: str = "int8") -> str:
        own = TENSOR_TYPES[dtype]
        values = _rng(name).integers(own.low, own.high, shape, own.dtype, endpoint=True)
        return self._tensor(name, shape, dtype, value=values)

    def _tensor(self, name: str, shape: tuple[int, ...], dtype: str, **about: Any) -> str:
        rng = _rng(name)
        about.setdefault("scale", float(np.float32(rng.uniform(0.01, 0.08))))
        about.setdefault("zero_point", 0 if dtype == "int16" else int(rng.integers(-20, 20)))
        self.tensors[name] = Tensor(name, shape, TENSOR_TYPES[dtype], **about)
        return name

    def add_layer(self, layer: Layer, reads: tuple[str, ...], writes: str, **about: Any) -> str:
        """A node of any kind."""
        shape = layer.output_shape if layer.samples == 1 else (layer.samples, *layer.output_shape)
        self._tensor(writes, shape, layer.output_type.name, **about)
        self.nodes.append(Node(layer.name, layer.op, reads, (writes,), layer))
        return writes

    def _layer(self, name: str, op: str, x: str, output: tuple[int, ...], scheme: Scheme | None, **more: Any) -> str:
        source = self.tensors[x]
        shape = more.pop("input_shape", source.shape)
        reads = (x, *more.pop("also", ()))
        about = more.pop("about", {})
        layer = Layer(name, op, source.type.name, shape, output, scheme=scheme, **more)
        return self.add_layer(layer, reads, f"{name}_out", **about)

    def conv(self, name: str, x: str, out: int, kernel: int = 3, stride: int = 1, *, depthwise: bool = False,
             dilation: int = 1, groups: int = 1, per_channel: bool = True) -> str:  # fmt: skip
        """With padding of TensorFlow's kind "same"."""
        source = self.tensors[x]
        height, width, channels = source.shape
        out = channels if depthwise else out
        reach = (kernel - 1) * dilation + 1
        sizes = [-(-size // stride) for size in (height, width)]
        totals = [
            max((size - 1) * stride + reach - whole, 0) for size, whole in zip(sizes, (height, width), strict=True)
        ]
        pads = tuple((total // 2, total - total // 2) for total in totals)
        shape = (kernel, kernel, channels) if depthwise else (out, kernel, kernel, channels // groups)
        wide = source.type.bits == 16
        weights, bias = _weights(name, shape, out, wide)
        return self._layer(
            name, "depthwise_conv2d" if depthwise else "conv2d", x, (*sizes, out),
            self._affine(name, x, out if per_channel else 1, prod(shape) // out),
            kernel=(kernel, kernel), stride=(stride, stride), padding=pads, weights_dtype="int8", weights=weights,
            bias=bias, dilation=(dilation, dilation), groups=groups,
        )  # fmt: skip

    def dense(self, name: str, x: str, out: int, samples: int = 1) -> str:
        source = self.tensors[x]
        count = prod(source.shape) // samples
        weights, bias = _weights(name, (out, count), out, source.type.bits == 16)
        return self._layer(
            name, "fully_connected", x, (out,), self._affine(name, x, 1, count), weights_dtype="int8", weights=weights,
            bias=bias, input_shape=(count,), samples=samples,
        )  # fmt: skip

    def _affine(self, name: str, x: str, channels: int, products: int) -> Affine:
        source, rng = self.tensors[x], _rng(f"{name} scale")
        wide = source.type.bits == 16
        reals = rng.uniform(0.5, 2.0, channels) / (60 * products**0.5 * (256 if wide else 1)) * (200 if wide else 1)
        multiplier, shift = zip(*(quantize_multiplier(float(real)) for real in reals), strict=True)
        zero = 0 if wide else int(rng.integers(-20, 20))
        low, high = TENSOR_TYPES[source.type.name].low, TENSOR_TYPES[source.type.name].high
        return Affine(source.zero_point, zero, multiplier, shift, max(low, zero - 100), high, bits=16 if wide else 8)

    def pool(self, name: str, x: str, kernel: int, stride: int, *, maximum: bool = True) -> str:
        height, width, channels = self.tensors[x].shape
        sizes = tuple((size - kernel) // stride + 1 for size in (height, width))
        own = self.tensors[x].type
        op = "max_pool2d" if maximum else "avg_pool2d"
        return self._layer(
            name, op, x, (*sizes, channels), AffineClamp(own.low, own.high), kernel=(kernel, kernel),
            stride=(stride, stride),
        )  # fmt: skip

    def add(self, name: str, a: str, b: str, *, sign: int = 1) -> str:
        left, right = self.tensors[a], self.tensors[b]
        scheme = AffineSum.of(
            (left.scale or 1, right.scale or 1, 0.1), (left.zero_point, right.zero_point, 3), (-128, 127), sign=sign
        )
        return self._layer(name, "add", a, left.shape, scheme, more_inputs=(right.shape,), also=(b,))

    def multiply(self, name: str, a: str, b: str) -> str:
        left, right = self.tensors[a], self.tensors[b]
        multiplier, shift = quantize_multiplier(0.01)
        scheme = AffineProduct(left.zero_point, right.zero_point, multiplier, shift, -5, *FULL)
        return self._layer(name, "multiply", a, left.shape, scheme, more_inputs=(right.shape,), also=(b,))

    def extreme(self, name: str, a: str, b: str, *, maximum: bool = True) -> str:
        right = self.tensors[b]
        op = "maximum" if maximum else "minimum"
        return self._layer(
            name, op, a, self.tensors[a].shape, AffineClamp(*FULL), more_inputs=(right.shape,), also=(b,)
        )

    def look_up(self, name: str, x: str, output_dtype: str | None = None) -> str:
        own = TENSOR_TYPES[output_dtype or self.tensors[x].type.name]
        table = _rng(name).integers(own.low, own.high, 256, own.dtype, endpoint=True)
        shape = self.tensors[x].shape
        return self._layer(name, "look_up", x, shape, AffineClamp(own.low, own.high), table=table,
                           output_dtype=output_dtype)  # fmt: skip

    def requantise(self, name: str, x: str, output_dtype: str) -> str:
        multiplier, shift = quantize_multiplier(0.004)
        own = TENSOR_TYPES[output_dtype]
        scheme = AffineRescale(self.tensors[x].zero_point, 7, multiplier, shift, own.low, own.high)
        return self._layer(name, "requantise", x, self.tensors[x].shape, scheme, output_dtype=output_dtype)

    def mean(self, name: str, x: str) -> str:
        """Over height and width."""
        height, width, channels = self.tensors[x].shape
        scheme = AffineMean.of(height * width, (0.05, 0.04), (self.tensors[x].zero_point, 4), FULL)
        shape = (1, height * width, channels)
        return self._layer(name, "mean", x, (1, 1, channels), scheme, input_shape=shape)

    def concat(self, name: str, *inputs: str) -> str:
        """Along the last axis."""
        shapes = [(prod(self.tensors[x].shape[:-1]), self.tensors[x].shape[-1]) for x in inputs]
        return self._layer(
            name, "concat", inputs[0], (shapes[0][0], sum(shape[1] for shape in shapes)), AffineClamp(*FULL),
            input_shape=shapes[0], more_inputs=tuple(shapes[1:]), also=inputs[1:],
        )  # fmt: skip

    def copy(self, name: str, x: str, view: View) -> str:
        return self._layer(name, "copy", x, view.shape, AffineClamp(*FULL), view=view)

    def pad(self, name: str, x: str, by: int) -> str:
        """Around an image."""
        height, width, channels = self.tensors[x].shape
        output = (height + 2 * by, width + 2 * by, channels)
        row = output[1] * channels
        view = View((height, width, channels), (row, channels, 1), by * (row + channels))
        return self._layer(name, "pad", x, output, AffineClamp(*FULL, fill=self.tensors[x].zero_point), view=view)

    def resize(self, name: str, x: str, by: int) -> str:
        height, width, channels = self.tensors[x].shape
        rows = [i // by * width * channels for i in range(height * by)]
        columns = [i // by * channels for i in range(width * by)]
        table = np.array([*rows, *columns], np.int32)
        return self._layer(
            name, "resize_nearest", x, (height * by, width * by, channels), AffineClamp(*FULL), table=table
        )

    def softmax(self, name: str, x: str) -> str:
        return self._layer(name, "softmax", x, self.tensors[x].shape, AffineSoftmax.of(0.08))

    def state(self, name: str, shape: tuple[int, ...], *, drawn: bool = False) -> str:
        """A tensor that the network remembers: `remember` says what it becomes."""
        self._tensor(name, shape, "int8")
        values = _rng(name).integers(-128, 127, shape, np.int8, endpoint=True) if drawn else np.full(shape, 5, np.int8)
        self.initial[name] = values
        return name

    def remember(self, name: str, write: str) -> None:
        self.states.append(State(name, write, self.initial[name]))

    def graph(self, *outputs: str) -> Graph:
        made = Graph(self.tensors.values(), self.nodes, self.inputs, outputs, self.states)
        made.verify()
        return made


def _rng(name: str) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(name.encode()))


def _weights(name: str, shape: tuple[int, ...], out: int, wide: bool) -> tuple[np.ndarray, np.ndarray]:
    rng = _rng(f"{name} weights")
    bias = rng.integers(-2000, 2000, out, np.int64 if wide else np.int32)
    return rng.integers(-127, 127, shape, np.int8, endpoint=True), bias


def valid_conv(
    b: Builder, name: str, x: str, out: int, kernel: int, stride: int = 1, *, depthwise: bool = False
) -> str:
    """A convolution without padding of its own."""
    writes = b.conv(name, x, out, kernel, stride, depthwise=depthwise)
    node = b.nodes[-1]
    height, width, _ = b.tensors[x].shape
    sizes = tuple((size - kernel) // stride + 1 for size in (height, width))
    shape = (*sizes, node.layer.output_shape[2])
    far = [(0, (n - 1) * stride + kernel - whole) for n, whole in zip(sizes, (height, width), strict=True)]
    layer = replace(node.layer, output_shape=shape, padding=(far[0], far[1]))
    b.nodes[-1] = replace(node, layer=layer)
    b.tensors[writes] = replace(b.tensors[writes], shape=shape)
    return writes


def killed(b: Builder, channels: list[int], value: int | None = None) -> None:
    """Filters of the last node become zeros; with a bias that gives `value`."""
    node = b.nodes[-1]
    layer, axis = node.layer, node.layer.row.channel_axis
    assert layer.weights is not None
    assert layer.bias is not None
    weights, bias = layer.weights.copy(), layer.bias.copy()
    np.moveaxis(weights, axis, 0)[channels] = 0
    if value is not None:
        every = np.arange(-200_000, 200_000, dtype=np.int64)[:, None].repeat(len(bias), 1)
        made = layer.scheme.apply(every)  # type: ignore[union-attr]
        for channel in channels:
            fits = np.flatnonzero(made[:, channel] == value)
            assert fits.size, "a value in the layer's range"
            bias[channel] = every[fits[len(fits) // 2], 0]
    b.nodes[-1] = replace(node, layer=replace(layer, weights=weights, bias=bias))


# ---------------------------------------------------------------- the graphs that tests share


def chain() -> Graph:
    """Only what has a predecessor and a successor."""
    b = Builder()
    x = b.input("image", (9, 7, 4))
    x = b.conv("conv1", x, 6)
    x = b.pool("pool1", x, 2, 2)
    x = b.conv("dw", x, 0, depthwise=True)
    x = b.conv("conv2", x, 8, 1)
    x = b.look_up("act", x)
    x = b.dense("fc", x, 5)
    return b.graph(b.softmax("prob", x))


def products() -> Graph:
    """What multiplies weights, one after the other: dilated, in groups, pooled."""
    b = Builder()
    x = b.input("image", (11, 8, 4))
    x = b.pool("pool1", b.conv("conv1", x, 8), 2, 2)
    x = b.conv("dw", x, 0, depthwise=True, stride=2)
    x = b.conv("dilated", x, 6, dilation=2)
    x = b.pool("pool2", b.conv("grouped", x, 4, groups=2), 2, 1, maximum=False)
    return b.graph(b.dense("fc", x, 5))


def residual() -> Graph:
    """A block whose input is read twice, and added at its end, over one of its inputs: nobody reads that again."""
    b = Builder()
    x = b.input("image", (6, 6, 4))
    stem = b.conv("stem", x, 8)
    body = b.conv("body2", b.conv("body1", stem, 8), 8)
    x = b.look_up("act", b.add("join", body, stem))
    return b.graph(b.dense("fc", b.mean("mean", x), 3))


def two_inputs() -> Graph:
    b = Builder()
    left, right = b.input("left", (4, 4, 3)), b.input("right", (4, 4, 3))
    return b.graph(b.conv("conv", b.multiply("mul", b.add("difference", left, right, sign=-1), left), 2))


def two_outputs() -> Graph:
    """Of which one is read too, from the caller's memory."""
    b = Builder()
    x = b.conv("trunk", b.input("image", (5, 5, 3)), 4)
    return b.graph(b.dense("head", x, 3), x)


def constants() -> Graph:
    """Operands that are known, of both sides, as long as the other one and shorter."""
    b = Builder()
    x = b.input("image", (4, 4, 4))
    x = b.add("offset", x, b.constant("offsets", (4,)))
    x = b.extreme("floor", x, b.constant("floors", (4, 4, 4)))
    return b.graph(b.add("minus", b.constant("whole", (4, 4, 4)), x, sign=-1))


def batch() -> Graph:
    """A dense layer on several rows, of a length that no word boundary keeps to."""
    b = Builder()
    x = b.dense("first", b.input("rows", (3, 7)), 5, samples=3)
    return b.graph(b.dense("second", x, 4, samples=3))


def states() -> Graph:
    """States that layers write, the initial values of one alike, of the other not; and an output asked for twice."""
    b = Builder()
    x = b.input("row", (6,))
    last, older = b.state("last", (4,)), b.state("older", (4,), drawn=True)
    now = b.dense("mix", b.dense("first", x, 4), 4)
    both = b.dense("second", older, 4)
    b.remember(last, now)
    b.remember(older, b.dense("age", last, 4))
    return b.graph(b.dense("head", last, 3), both, now, both)


def moves() -> Graph:
    """Elements that only move."""
    b = Builder()
    x = b.input("image", (4, 6, 3))
    x = b.pad("pad", x, 1)
    x = b.conv("conv", x, 4)
    y = b.copy("transpose", x, View((8, 6, 4), (4, 32, 1)))
    z = b.copy("flip", y, View((8, 6, 4), (-24, 4, 1), 7 * 24))
    return b.graph(b.resize("grow", b.copy("part", b.concat("cat", y, z, y), View((4, 3, 4), (144, 24, 1), 8)), 2))


def joined() -> Graph:
    """Parts that may be written where they are concatenated: one behind the other, one that was overwritten before; of
    the last, the place is no multiple of a word. What lies between is concatenated again. Most memory is taken before.
    """
    b = Builder()
    x = b.conv("squeeze", b.conv("stem", b.input("image", (6, 6, 4)), 24), 20)
    first = b.mean("first", x)
    wide, slim = b.mean("wide", b.conv("conv1", x, 8)), b.look_up("act", b.mean("slim", b.conv("conv2", x, 4)))
    odd, late = b.mean("odd", b.conv("conv3", x, 3)), b.mean("late", b.conv("conv4", x, 12))
    parts = b.concat("parts", wide, slim, odd, late)
    return b.graph(b.dense("fc", b.concat("all", first, parts), 3))


def types() -> Graph:
    """Bytes without a sign at the border, 16 bits between."""
    b = Builder()
    x = b.look_up("to_int8", b.input("image", (5, 4, 3), "uint8"), "int8")
    x = b.conv("conv", b.look_up("widen", x, "int16"), 4)
    x = b.requantise("narrow", x, "int8")
    return b.graph(b.look_up("to_uint8", x, "uint8"))


GRAPHS: dict[str, Callable[[], Graph]] = {
    made.__name__: made
    for made in (chain, products, residual, two_inputs, two_outputs, constants, batch, states, moves, joined, types)
}
