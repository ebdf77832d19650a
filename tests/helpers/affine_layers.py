# SPDX-License-Identifier: Apache-2.0
"""Layers with zero points for device tests, and what they give: definitions of `int8_oracle` and its like."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from cmsisnn_x.affine import Affine, AffineClamp, quantize_multiplier
from cmsisnn_x.affine.curves import AffineRealSoftmax, AffineSoftmax16
from cmsisnn_x.layers import Layer
from cmsisnn_x.scheme import TENSOR_TYPES

from . import int8_oracle as oracle
from . import int8_tables as tables
from .int8_graph import OPS
from .layers import make_layer

KINDS = ("common", "wide", "halves", "left", "weak", "clamped", "relu")
"""Factors: such as networks have; some without a shift to the right; powers of two, which meet exact halves; above 1;
channels without weights, without a factor, with the least one; a range cut at both ends; cut at the zero point.
"""


def weighted(
    op: str, shape: tuple[int, ...], *, kind: str = "common", zero: tuple[int, int] | None = None, **options: object
) -> Layer:
    """A convolution or fully connected layer of int8, with one factor per channel.

    `kind` is one of `KINDS`, `zero` the zero points of input and output.
    """
    groups, dilation, wide = (
        options.pop(name, default) for name, default in (("groups", 1), ("dilation", (1, 1)), ("wide", False))
    )
    layer = make_layer(op, shape, dtype="q15" if wide else "q7", weights_dtype="q7", **options)
    assert layer.weights is not None
    rng = np.random.default_rng(zlib.crc32(f"{layer.name}{kind}{zero}{shape}{options}".encode()))
    weights, count = layer.weights, layer.output_shape[-1]
    if groups > 1:
        weights = np.ascontiguousarray(weights[..., : weights.shape[3] // groups])
    products = weights.size // count
    reals = rng.uniform(0.3, 2.0, count) / (60 * products**0.5) / (256 if wide else 1)
    bias = rng.integers(-3000, 3000, count)
    if kind == "wide":
        reals[::2] = rng.uniform(0.5, 0.99, reals[::2].shape)
    if kind == "halves":
        reals = 2.0 ** -rng.integers(1, 12, count)
    if kind == "left":
        reals = rng.choice(np.array([1.0, 1.5, 3.7, 0.25, 200.5, 2.0**20]), count)
    if kind == "left16":
        reals = np.full(count, 40.0)
    if kind == "weak":
        reals = rng.choice(np.array([0.0, 1e-9, 2.0**-32, 1e-7, reals[0]]), count)
        channels = weights if op != "depthwise_conv2d" else np.moveaxis(weights, -1, 0)
        channels[::3] = 0
        bias[::2] = rng.integers(-(2**31), 2**31 - 1, bias[::2].shape)
    if zero is None:
        zero = (
            (0, 0) if wide else (int(rng.choice([-128, 127, 0, -1, 5, -77])), int(rng.choice([-128, 127, 0, 3, -60])))
        )
    own = TENSOR_TYPES["int16" if wide else "int8"]
    low, high = (own.low + 40, own.high - 30) if kind == "clamped" else (own.low, own.high)
    if kind == "relu":
        low = zero[1]
    multiplier, shift = zip(*map(quantize_multiplier, reals.tolist()), strict=True)
    scheme = Affine(*zero, multiplier, shift, low, high, bits=own.bits)
    return replace(
        layer,
        dtype=own.name,
        weights_dtype="int8",
        weights=weights,
        bias=bias.astype(np.int64 if wide else np.int32),
        scheme=scheme,
        groups=groups,
        dilation=dilation,
        padding=_reached(layer, dilation),
    )


def _reached(layer: Layer, dilation: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Padding as far as the windows reach; its first half is given."""
    (top, _), (left, _) = layer.padding
    axes = zip(layer.output_image[:2], layer.image[:2], layer.kernel, layer.stride, (top, left), dilation, strict=True)
    first, second = ((p, max((o - 1) * s + (k - 1) * d + 1 - i - p, 0)) for o, i, k, s, p, d in axes)
    return first, second


def pooling(
    op: str, shape: tuple[int, ...], *, dtype: str = "int8", limits: tuple[int, int] | None = None, **options: object
) -> Layer:
    """A pooling layer, of the whole range or clamped."""
    own = TENSOR_TYPES[dtype]
    layer = make_layer(op, shape, dtype=own.twin, **options)
    return replace(layer, dtype=dtype, scheme=AffineClamp(*(limits or (own.low, own.high))))


def about(layer: Layer) -> str:
    """A scheme in a line."""
    return str(layer.scheme)[:160]


def _dense(layer: Layer, x: np.ndarray) -> np.ndarray:
    scheme = layer.scheme
    acc = (x.reshape(-1).astype(np.int64) - scheme.input_zero_point) @ layer.weights.astype(np.int64).T
    if scheme.rounding == "float":
        total = acc + layer.bias.astype(np.int64)
        total = total if scheme.bits == 16 else oracle.wrap32(total)
        scaled = oracle.round_half_away(total.astype(np.float64) * np.array(scheme.reals))
        # As LiteRT on the processors that it is held against: what 32 bits do not hold is -2^31, and sums wrap.
        whole = np.where(np.abs(scaled + 0.5) > 2**31, -(2.0**31), scaled).astype(np.int64)
        shifted = oracle.wrap32(whole + scheme.output_zero_point)
        return oracle.clamp(shifted, x.dtype, scheme.low, scheme.high)
    return oracle.requantize(
        acc,
        layer.bias,
        np.array(scheme.multiplier),
        np.array(scheme.shift),
        scheme.output_zero_point,
        scheme.low,
        scheme.high,
        x.dtype,
    )


def _softmax(layer: Layer, x: np.ndarray) -> np.ndarray:
    scheme = layer.scheme
    if isinstance(scheme, AffineSoftmax16):
        return tables.softmax_int16_of(x.reshape(-1, x.shape[-1]), scheme.multiplier, scheme.shift, scheme.arithmetic)
    if isinstance(scheme, AffineRealSoftmax):
        return tables.softmax_real(x.reshape(-1, x.shape[-1]), scheme.scale, scheme.output_zero_point)
    dtype = {8: np.int8, 16: np.int16}[layer.scheme.bits]
    return tables.softmax(x.reshape(-1, x.shape[-1]), input_scale=SOFTMAX_SCALES[layer.name], output_dtype=dtype)


SOFTMAX_SCALES: dict[str, float] = {}
"""The scale of each softmax layer that was made, by its name: the scheme keeps no scale."""


EXPECTED: dict[str, Callable[..., np.ndarray]] = {"fully_connected": _dense, "softmax": _softmax}
"""By more than the numbers of a scheme, or written apart; all others are as `int8_graph` has them."""


def expected(layer: Layer, *inputs: np.ndarray) -> np.ndarray:
    """What a layer makes of its inputs, one sample of each."""
    if layer.op in EXPECTED:
        shaped = [x.reshape(shape) for x, shape in zip(inputs, layer.input_shapes, strict=True)]
        made = EXPECTED[layer.op](layer, *shaped)
    else:
        made = OPS[layer.op](layer, [x.reshape(-1) for x in inputs])
    return np.ascontiguousarray(made.reshape(layer.output_shape))
