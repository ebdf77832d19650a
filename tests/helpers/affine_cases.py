# SPDX-License-Identifier: Apache-2.0
"""Calls of the vector kernels with zero points, and what the oracle says, around the sizes of their tiles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from cmsisnn_x.affine import Affine, AffineClamp
from helpers import int8_oracle as oracle
from helpers.simd_cases import OPS, SIZES
from helpers.strategies import filled, seeds, tensors

Scheme = Affine | AffineClamp
REALS = (2.0**-1, 2.0**-7, 2.0**-12, 0.75, 1.0, 0.999999, 1.5, 200.5, 2.0**20, 1e-7, 2.0**-32, 0.0, 3.7e-3, 0.0123)
"""Powers of two meet exact halves; factors above 1 shift to the left, and far to the left wrap."""


KINDS = ("pow2", "any", "near", "float")
"""How simd.h numbers the ends of sums."""


@dataclass
class AffineCase:
    """A call of a function of ``_simd``; `weights` is None for pooling."""

    op: str
    x: np.ndarray
    weights: np.ndarray | None
    bias: np.ndarray | None
    kernel: tuple[int, int]
    stride: tuple[int, int]
    first: tuple[int, int]
    scheme: Scheme
    expected: np.ndarray
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    def run(self, simd, out: np.ndarray, isa: str) -> None:
        if self.weights is None:
            getattr(simd, self.op)(self.x, out, self.kernel, self.stride, self.first, self.scheme, isa=isa)
        elif self.op == "fully_connected":
            simd.fully_connected(self.x, self.weights, self.bias, out, self.scheme, isa=isa)
        else:
            more = (self.dilation,) if self.op == "depthwise_convolve" else (self.dilation, self.groups)
            getattr(simd, self.op)(
                self.x, self.weights, self.bias, out, *self.stride, *self.first, self.scheme, *more, isa=isa
            )

    @property
    def is_near(self) -> bool:
        """Whether no sum reaches 2^30, and every shift goes 1 to 22 bits to the right."""
        if self.weights is None or not isinstance(self.scheme, Affine):
            return False
        channels = np.moveaxis(self.weights, -1 if self.op == "depthwise_convolve" else 0, 0)
        reach = 255 * np.abs(channels.reshape(len(channels), -1).astype(np.int64)).sum(1)
        reach += 0 if self.bias is None else np.abs(self.bias.astype(np.int64))
        return -22 <= min(self.scheme.shift) <= max(self.scheme.shift) <= -1 and int(reach.max()) < 2**30

    def message(self) -> bytes:
        """The case as simd_main.c reads it: one sample of int8, one group; dilation of depthwise convolutions only."""
        shapes = (self.x.shape[1:], self.expected.shape[1:])
        if self.op == "fully_connected":
            shapes = ((1, 1, self.x.shape[1]), (1, 1, self.expected.shape[1]))
        kind = KINDS.index(
            "float" if getattr(self.scheme, "rounding", "") == "float" else "near" if self.is_near else "any"
        )
        zero_point = self.scheme.output_zero_point if isinstance(self.scheme, Affine) else 0
        numbers = (OPS.index(self.op), 0, *shapes[0], *shapes[1], *self.kernel, *self.stride, *self.first,
                   *self.dilation, 8, 0, 0, self.scheme.low, self.scheme.high, self.scheme.fill, kind,
                   zero_point)  # fmt: skip
        arrays = [self.x]
        if self.weights is not None:
            assert isinstance(self.scheme, Affine)
            channels = shapes[1][2]
            multiplier, shift = self.scheme.per_channel(channels)
            arrays += [self.weights, np.zeros(channels, np.int32) if self.bias is None else self.bias, multiplier]
            arrays += [np.maximum(shift, 0), np.maximum(-shift, 0)]
            if KINDS[kind] == "float":
                arrays.append(np.array(np.broadcast_to(self.scheme.reals, channels), np.float64))
        return np.array(numbers, np.int32).tobytes() + b"".join(array.tobytes() for array in arrays)


zero_points = st.one_of(st.sampled_from((-128, 127, 0, -1, 1)), st.integers(-128, 127))


@st.composite
def schemes(draw, channels: int, wide: bool = False, rounding: str = "double") -> Affine:
    """Any that kernels take: per tensor or per channel, with extremes."""
    count = draw(st.sampled_from((1, channels)))
    rng = np.random.default_rng(draw(seeds))
    reals = rng.choice(np.array(REALS), count) if draw(st.booleans()) else rng.uniform(0.0005, 0.02, count)
    if wide:
        reals = reals / 256
    pairs = [tuple(int(part) for part in oracle.quantize_multiplier(real)) for real in reals]
    if draw(st.integers(0, 4)) == 0 and not wide:
        # Numbers that no factor of a file gives: the kernels take them all the same.
        pairs = [(int(rng.integers(0, 2**31 - 1, endpoint=True)), int(rng.integers(-31, 30, endpoint=True)))
                 for _ in range(count)]  # fmt: skip
    if wide:
        pairs = [(multiplier, min(shift, 14)) for multiplier, shift in pairs]
    low, high = (-(2**15), 2**15 - 1) if wide else (-128, 127)
    if draw(st.booleans()):
        low, high = low // draw(st.sampled_from((2, 16))), high // draw(st.sampled_from((1, 3)))
    points = (0, 0) if wide else (draw(zero_points), draw(zero_points))
    multiplier, shift = (tuple(part) for part in zip(*pairs, strict=True))
    own = tuple(reals.tolist()) if rounding == "float" else ()
    return Affine(*points, multiplier, shift, low, high, rounding, own, 16 if wide else 8)


@st.composite
def biases(draw, channels: int, wide: bool = False) -> np.ndarray | None:
    kind = draw(st.sampled_from(("none", "small", "extreme")))
    rng = np.random.default_rng(draw(seeds))
    if kind == "none":
        return None
    reach = 3000 if kind == "small" else 2**31 - 1
    return rng.integers(-reach, reach, channels, np.int64 if wide else np.int32, endpoint=True)


@st.composite
def affine_cases(draw, op: str | None = None, wide: bool = False, rounding: str = "double", plain: bool = False):
    """Any call; `plain` ones are what simd_main.c takes."""
    op = op or draw(st.sampled_from(OPS))
    element = np.int16 if wide else np.int8
    batch = 1 if plain else draw(st.integers(1, 2))
    long, few = st.sampled_from(SIZES), st.integers(1, 6)
    if op == "fully_connected":
        batch = 1 if plain else draw(st.sampled_from((1, 2, 4, 9)))
        x, rows = draw(tensors((batch, draw(long)), element)), draw(long)
        weights = draw(tensors((rows, x.shape[1]), np.int8))
        bias, scheme = draw(biases(rows, wide)), draw(schemes(rows, wide, rounding))
        return AffineCase(op, x, weights, bias, (1, 1), (1, 1), (0, 0), scheme, _dense(x, weights, bias, scheme))
    long_axis = draw(st.sampled_from(("width", "in_ch", "out_ch")))
    in_h, in_w = draw(few), draw(long if long_axis == "width" else few)
    kernel, stride = ((draw(st.integers(1, most)), draw(st.integers(1, most))) for most in (4, 3))
    pooling = op.endswith("pool")
    dilation = (1, 1)
    if not pooling and draw(st.booleans()) and not (plain and op == "convolve"):
        dilation = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    first = tuple(draw(st.integers(0, k - 1 if pooling else k + 1)) for k in reach)
    beyond = 0 if pooling else 2
    last = [(n - 1 + p) // s + 1 + beyond for n, p, s in zip((in_h, in_w), first, stride, strict=True)]
    size = tuple(draw(st.integers(1, min(n, 70))) for n in last)
    groups = draw(st.sampled_from((1, 1, 2, 3))) if op == "convolve" and not plain else 1
    in_ch = groups * draw(long if long_axis == "in_ch" else few)
    x = draw(tensors((batch, in_h, in_w, in_ch), element))
    geometry = {"kernel": kernel, "stride": stride, "first": first}
    if pooling:
        own = np.iinfo(element)
        scheme = AffineClamp(
            int(own.min) // draw(st.sampled_from((1, 4))), int(own.max) // draw(st.sampled_from((1, 4)))
        )
        return AffineCase(op, x, None, None, **geometry, scheme=scheme, expected=_pool(op, x, size, geometry, scheme))
    out_ch = in_ch if op == "depthwise_convolve" else groups * draw(long if long_axis == "out_ch" else few)
    shape = (*kernel, in_ch) if op == "depthwise_convolve" else (out_ch, *kernel, in_ch // groups)
    weights, bias, scheme = (
        draw(tensors(shape, np.int8)),
        draw(biases(out_ch, wide)),
        draw(schemes(out_ch, wide, rounding)),
    )
    expected = _convolution(op, x, weights, bias, size, geometry, dilation, scheme)
    return AffineCase(
        op, x, weights, bias, **geometry, scheme=scheme, expected=expected, dilation=dilation, groups=groups
    )


def fixed_affine_case(op: str, shape, out_ch: int, kernel, stride, first, size, fill: str = "random") -> AffineCase:
    """A case of given sizes on one image."""
    rng = np.random.default_rng(0)
    x = filled(fill, rng, (1, *shape), np.int8)
    taps = (*kernel, shape[2])
    weights = filled(fill, rng, taps if op == "depthwise_convolve" else (out_ch, *taps), np.int8)
    reals = rng.uniform(0.5, 2.0, out_ch) / (60 * np.prod(weights.shape[1:]) ** 0.5)
    pairs = [tuple(int(part) for part in oracle.quantize_multiplier(real)) for real in reals]
    scheme = Affine(-77, 5, *(tuple(part) for part in zip(*pairs, strict=True)), -128, 127)
    bias = rng.integers(-3000, 3000, out_ch, np.int32)
    geometry = {"kernel": kernel, "stride": stride, "first": first}
    expected = _convolution(op, x, weights, bias, size, geometry, (1, 1), scheme)
    return AffineCase(op, x, weights, bias, **geometry, scheme=scheme, expected=expected)


def _numbers(scheme: Affine) -> dict:
    return {
        "input_zero_point": scheme.input_zero_point, "output_zero_point": scheme.output_zero_point,
        "activation_min": scheme.low, "activation_max": scheme.high,
    }  # fmt: skip


def _around(x, size, kernel, stride, first, dilation) -> tuple:
    """Padding of both sides, enough for `size` windows; there may be room for more, which are cut off."""
    return tuple(
        (p, max((n - 1) * s + (k - 1) * d + 1 - whole - p, 0))
        for n, s, k, d, whole, p in zip(size, stride, kernel, dilation, x.shape[1:3], first, strict=True)
    )


def _convolution(op, x, weights, bias, size, geometry, dilation, scheme) -> np.ndarray:
    kernel, stride, first = geometry["kernel"], geometry["stride"], geometry["first"]
    options = {"stride": stride, "dilation": dilation, "padding": _around(x, size, kernel, stride, first, dilation)}
    if op == "depthwise_convolve":
        kind, filters = oracle.depthwise_conv2d, weights[np.newaxis]
    else:
        kind, filters = oracle.conv2d, weights
    out = kind(x, filters, bias, multiplier=scheme.multiplier, shift=scheme.shift, **_numbers(scheme), **options)
    return np.ascontiguousarray(out[:, : size[0], : size[1]])


def _dense(x, weights, bias, scheme: Affine) -> np.ndarray:
    if scheme.rounding == "float":
        return oracle.fully_connected(
            x, weights, bias, effective_scale=np.array(scheme.reals), arithmetic="litert", **_numbers(scheme)
        )
    acc = (x.astype(np.int64) - scheme.input_zero_point) @ weights.astype(np.int64).T
    return oracle.requantize(
        acc, bias, np.array(scheme.multiplier), np.array(scheme.shift), scheme.output_zero_point, scheme.low,
        scheme.high, x.dtype,
    )  # fmt: skip


def _pool(op, x, size, geometry, scheme) -> np.ndarray:
    kernel, stride, first = geometry["kernel"], geometry["stride"], geometry["first"]
    kind = oracle.max_pool2d if op == "max_pool" else oracle.average_pool2d
    padding = _around(x, size, kernel, stride, first, (1, 1))
    out = kind(x, kernel=kernel, stride=stride, padding=padding, activation_min=scheme.low, activation_max=scheme.high)
    return np.ascontiguousarray(out[:, : size[0], : size[1]])
