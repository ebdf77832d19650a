# SPDX-License-Identifier: Apache-2.0
"""Slow oracle of int8 and 16x8 inference, NumPy int64, written from the formulas; shares no code with any kernel.

Arithmetic, convolutions, fully connected, element by element, pools, mean; `int8_tables` has the curves and
`int8_shapes` what only moves bytes. Tensors are NHWC with a batch, parameters are named as in LiteRT. Scales are the
float32 numbers of the file. `arithmetic` says whose bytes are meant: "tflm", TensorFlow Lite Micro, what a device
computes; or "litert", LiteRT's reference kernels. Functions without it have one answer in both.

An int16 input means 16x8: int16 activations, zero points 0, int8 weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

Arithmetic = Literal["tflm", "litert"]
Pair = tuple[int, int]
Padding = Literal["SAME", "VALID"] | tuple[Pair, Pair]

FLOAT_STEPS = 2.0**31


# ---------------------------------------------------------------------------------------------------- arithmetic


def wrap32(x: ArrayLike) -> np.ndarray:
    """Modulo 2^32, signed."""
    return (np.asarray(x, np.int64) + 2**31) % 2**32 - 2**31


def round_half_away(x: ArrayLike) -> np.ndarray:
    """The nearest integer as int64, halves away from zero; beyond 2^62 the result is that bound."""
    x = np.asarray(x)
    magnitude = np.floor(np.abs(x))
    magnitude = magnitude + (np.abs(x) - magnitude >= 0.5)
    return np.minimum(magnitude, 2.0**62).astype(np.int64) * np.sign(x).astype(np.int64)


def limits(dtype: object) -> Pair:
    """Least and greatest number of an integer type."""
    info = np.iinfo(np.dtype(dtype))  # type: ignore[call-overload]
    return int(info.min), int(info.max)


def clamp(
    x: np.ndarray, dtype: object, activation_min: int | None = None, activation_max: int | None = None
) -> np.ndarray:
    """`x` within the range of the fused activation, or of the type where there is none."""
    low, high = limits(dtype)
    low = low if activation_min is None else activation_min
    high = high if activation_max is None else activation_max
    return np.minimum(np.maximum(x, low), high).astype(dtype)


def quantize_multiplier(real: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """(q, e) with real ~ q * 2^(e-31): real = f * 2^e, f in [0.5, 1), q = rha(f * 2^31); q = 2^31 becomes 2^30, e + 1.

    Both are 0 where real is 0 or e < -31.
    """
    fraction, exponent = np.frexp(np.asarray(real, np.float64))
    q = round_half_away(fraction * FLOAT_STEPS)
    shift = exponent.astype(np.int64)
    full = q == 2**31
    q, shift = np.where(full, 2**30, q), np.where(full, shift + 1, shift)
    nothing = (shift < -31) | (q == 0)
    return np.where(nothing, 0, q), np.where(nothing, 0, shift)


def high_mul(a: ArrayLike, b: ArrayLike) -> np.ndarray:
    """H(a, b) = (a*b + 2^30) >> 31; a = b = -2^31 gives 2^31 - 1."""
    product = np.asarray(a, np.int64) * np.asarray(b, np.int64)
    return np.minimum((product + 2**30) >> 31, 2**31 - 1)


def divide_by_pot(x: ArrayLike, exponent: ArrayLike) -> np.ndarray:
    """D(x, n) = (x >> n) + ((x & m) > (m >> 1) + (x < 0)), m = 2^n - 1: divide by 2^n, half away from zero."""
    x = np.asarray(x, np.int64)
    n = np.asarray(exponent, np.int64)
    mask = (np.int64(1) << n) - 1
    return (x >> n) + ((x & mask) > (mask >> 1) + (x < 0))


def multiply_by_quantized_multiplier(x: ArrayLike, multiplier: ArrayLike, shift: ArrayLike) -> np.ndarray:
    """MBQM(x; q, e) = D(H(wrap32(x * 2^max(e, 0)), q), max(-e, 0)): two roundings, the arithmetic of a device."""
    e = np.asarray(shift, np.int64)
    left = wrap32(wrap32(x) << np.maximum(e, 0))
    return divide_by_pot(high_mul(left, multiplier), np.maximum(-e, 0))


def multiply_by_quantized_multiplier_64(x: ArrayLike, multiplier: ArrayLike, shift: ArrayLike) -> np.ndarray:
    """Of an int64 accumulator: q16 = min((q + 2^15) >> 16, 2^15 - 1), then (x*q16 + 2^(14-e)) >> (15 - e)."""
    q16 = np.minimum((np.asarray(multiplier, np.int64) + 2**15) >> 16, 2**15 - 1)
    e = np.asarray(shift, np.int64)
    return wrap32((np.asarray(x, np.int64) * q16 + (np.int64(1) << (14 - e))) >> (15 - e))


def effective_scale(input_scale: float, weight_scale: ArrayLike, output_scale: float) -> np.ndarray:
    """r = s_in * s_w[c] / s_out in double, of convolutions and fully connected layers."""
    product = np.float64(np.float32(input_scale)) * np.asarray(weight_scale, np.float32).astype(np.float64)
    return product / np.float64(np.float32(output_scale))


def activation_range(
    activation: str | None, output_scale: float, output_zero_point: int, dtype: object = np.int8
) -> Pair:
    """Clamps of a fused activation (NONE, RELU, RELU6, RELU_N1_TO_1) on the integers of the output."""

    def quantized(real: float) -> int:
        return output_zero_point + int(round_half_away(np.float32(real) / np.float32(output_scale)))

    low, high = limits(dtype)
    if activation in ("RELU", "RELU6"):
        low = max(low, output_zero_point)
    if activation == "RELU6":
        high = min(high, quantized(6.0))
    if activation == "RELU_N1_TO_1":
        low, high = max(low, quantized(-1.0)), min(high, quantized(1.0))
    return low, high


# ------------------------------------------------------------------------------------------------- linear layers


def same_padding(size: int, kernel: int, stride: int, dilation: int = 1) -> tuple[int, Pair]:
    """(output size, (before, after)) of SAME padding; the odd pixel goes after."""
    out = -(-size // stride)
    total = max((out - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
    return out, (total // 2, total - total // 2)


def window_geometry(size: Pair, kernel: Pair, stride: Pair, dilation: Pair, padding: Padding) -> tuple[Pair, Pair]:
    """Size of the output and the padding before it, per axis; explicit padding is ((top, bottom), (left, right))."""
    sizes, before = [], []
    for axis in range(2):
        reach = (kernel[axis] - 1) * dilation[axis] + 1
        if padding == "SAME":
            out, (first, _) = same_padding(size[axis], kernel[axis], stride[axis], dilation[axis])
        else:
            first, last = (0, 0) if padding == "VALID" else padding[axis]
            out = (size[axis] + first + last - reach) // stride[axis] + 1
        sizes.append(out)
        before.append(first)
    return (sizes[0], sizes[1]), (before[0], before[1])


def taps(x: np.ndarray, kernel: Pair, stride: Pair, dilation: Pair, padding: Padding, outside: int = 0) -> np.ndarray:
    """What each output pixel sees: (kernel_h, kernel_w, batch, out_h, out_w, channels), `outside` beyond the image."""
    (out_h, out_w), (top, left) = window_geometry((x.shape[1], x.shape[2]), kernel, stride, dilation, padding)
    rows = np.arange(out_h) * stride[0] - top + np.arange(kernel[0])[:, None] * dilation[0]
    columns = np.arange(out_w) * stride[1] - left + np.arange(kernel[1])[:, None] * dilation[1]
    row_ok, column_ok = (rows >= 0) & (rows < x.shape[1]), (columns >= 0) & (columns < x.shape[2])
    rows, columns = np.clip(rows, 0, x.shape[1] - 1), np.clip(columns, 0, x.shape[2] - 1)
    seen = np.stack([np.stack([x[:, r][:, :, c] for c in columns]) for r in rows])
    inside = (row_ok[:, None, :, None] & column_ok[None, :, None, :])[:, :, None, :, :, None]
    return np.where(inside, seen, outside)


def requantize(
    accumulator: np.ndarray,
    bias: np.ndarray | None,
    multiplier: ArrayLike,
    shift: ArrayLike,
    output_zero_point: int,
    activation_min: int | None,
    activation_max: int | None,
    dtype: object,
) -> np.ndarray:
    """clamp(MBQM(acc + bias; q, e) + z_out). 16x8 has 64 bits and one rounding unless its bias is int32.

    `multiplier`, `shift` and `bias` vary along the last axis. A 16x8 layer without a bias in a file that says
    ``quantized_bias_type: INT32`` has an int32 bias of zeros.
    """
    total = accumulator if bias is None else accumulator + np.asarray(bias).astype(np.int64)
    wide = np.dtype(dtype) == np.int16 and (bias is None or bias.dtype == np.int64)  # type: ignore[call-overload]
    rescale = multiply_by_quantized_multiplier_64 if wide else multiply_by_quantized_multiplier
    return clamp(rescale(total, multiplier, shift) + output_zero_point, dtype, activation_min, activation_max)


def conv2d(
    x: np.ndarray,
    weights: np.ndarray,
    bias: np.ndarray | None,
    *,
    input_zero_point: int,
    output_zero_point: int,
    multiplier: ArrayLike,
    shift: ArrayLike,
    stride: Pair = (1, 1),
    dilation: Pair = (1, 1),
    padding: Padding = "SAME",
    activation_min: int | None = None,
    activation_max: int | None = None,
) -> np.ndarray:
    """acc = bias[o] + SUM (x - z_in) * w[o][i][j][c] over the pixels inside; out = clamp(MBQM(acc) + z_out).

    `weights` are [out][kernel_h][kernel_w][in / groups]; the depth of a filter tells the number of groups.
    """
    out_channels, kernel_h, kernel_w, depth = weights.shape
    groups = x.shape[3] // depth
    seen = taps(x.astype(np.int64) - input_zero_point, (kernel_h, kernel_w), stride, dilation, padding)
    seen = seen.reshape(*seen.shape[:5], groups, depth)
    filters = weights.astype(np.int64).reshape(groups, out_channels // groups, kernel_h, kernel_w, depth)
    acc = np.einsum("ijbyxgc,goijc->byxgo", seen, filters, optimize=True)
    acc = acc.reshape(*acc.shape[:3], out_channels)
    return requantize(acc, bias, multiplier, shift, output_zero_point, activation_min, activation_max, x.dtype)


def depthwise_conv2d(
    x: np.ndarray,
    weights: np.ndarray,
    bias: np.ndarray | None,
    *,
    input_zero_point: int,
    output_zero_point: int,
    multiplier: ArrayLike,
    shift: ArrayLike,
    stride: Pair = (1, 1),
    dilation: Pair = (1, 1),
    padding: Padding = "SAME",
    activation_min: int | None = None,
    activation_max: int | None = None,
) -> np.ndarray:
    """As `conv2d`, `weights` [1][kernel_h][kernel_w][in * m]; output channel c*m + j reads input channel c.

    16x8 has an int64 bias only: given an int32 one TFLM reads past its end, and LiteRT refuses it.
    """
    assert x.dtype != np.int16 or bias is None or bias.dtype == np.int64
    _, kernel_h, kernel_w, out_channels = weights.shape
    channels = x.shape[3]
    seen = taps(x.astype(np.int64) - input_zero_point, (kernel_h, kernel_w), stride, dilation, padding)
    filters = weights.astype(np.int64).reshape(kernel_h, kernel_w, channels, out_channels // channels)
    acc = np.einsum("ijbyxc,ijcm->byxcm", seen, filters, optimize=True)
    acc = acc.reshape(*acc.shape[:3], out_channels)
    return requantize(acc, bias, multiplier, shift, output_zero_point, activation_min, activation_max, x.dtype)


def fully_connected(
    x: np.ndarray,
    weights: np.ndarray,
    bias: np.ndarray | None,
    *,
    input_zero_point: int,
    output_zero_point: int,
    effective_scale: ArrayLike,
    activation_min: int | None = None,
    activation_max: int | None = None,
    arithmetic: Arithmetic = "tflm",
) -> np.ndarray:
    """acc = bias[o] + SUM (x - z_in) * w[o][c], `x` seen as [size / depth][depth], `weights` [units][depth].

    tflm: clamp(MBQM(acc; q, e) + z_out). litert: clamp(rha(double(acc) * r) + z_out), with r not rounded to (q, e);
    what does not fit 32 bits is -2^31, as x86 converts it, and the sum with z_out wraps.
    """
    rows = x.astype(np.int64).reshape(-1, weights.shape[1]) - input_zero_point
    acc = rows @ weights.astype(np.int64).T
    if arithmetic == "litert":
        total = acc if bias is None else acc + bias.astype(np.int64)
        wide = x.dtype == np.int16 and (bias is None or bias.dtype == np.int64)
        total = total if wide else wrap32(total)
        scaled = round_half_away(total.astype(np.float64) * np.asarray(effective_scale, np.float64))
        scaled = np.where(wrap32(scaled) == scaled, scaled, -(2**31))
        return clamp(wrap32(scaled + output_zero_point), x.dtype, activation_min, activation_max)
    multiplier, shift = quantize_multiplier(effective_scale)
    return requantize(acc, bias, multiplier, shift, output_zero_point, activation_min, activation_max, x.dtype)


# ---------------------------------------------------------------------------------------------- element by element


def add(
    a: np.ndarray,
    b: np.ndarray,
    *,
    input1_scale: float,
    input1_zero_point: int,
    input2_scale: float,
    input2_zero_point: int,
    output_scale: float,
    output_zero_point: int,
    activation_min: int | None = None,
    activation_max: int | None = None,
    pot_scale_int16: bool = False,
    arithmetic: Arithmetic = "tflm",
    sign: int = 1,
) -> np.ndarray:
    """clamp(MBQM(A + B; twice / (2^n s_out)) + z_out), A = MBQM((a - z1) << n; s1 / twice), B likewise.

    twice = 2*max(s1, s2), n = 20, or 15 of int16. Inputs broadcast. litert with `pot_scale_int16` and int16 scales that
    are powers of two: D(a, log2(s_out / s1)) + D(b, log2(s_out / s2)), saturated; one of the two is not shifted.
    """
    s1, s2, s_out = (float(np.float32(s)) for s in (input1_scale, input2_scale, output_scale))
    wide = a.dtype == np.int16
    first, second = a.astype(np.int64) - input1_zero_point, b.astype(np.int64) - input2_zero_point
    if wide and pot_scale_int16 and arithmetic == "litert" and all(np.frexp(s)[0] == 0.5 for s in (s1, s2, s_out)):
        first = divide_by_pot(first, int(np.log2(s_out / s1)))
        second = divide_by_pot(second, int(np.log2(s_out / s2)))
        return clamp(first + sign * second, a.dtype, activation_min, activation_max)
    twice, bits = 2.0 * max(s1, s2), 15 if wide else 20
    first = multiply_by_quantized_multiplier(first << bits, *quantize_multiplier(s1 / twice))
    second = multiply_by_quantized_multiplier(second << bits, *quantize_multiplier(s2 / twice))
    total = multiply_by_quantized_multiplier(first + sign * second, *quantize_multiplier(twice / (2.0**bits * s_out)))
    return clamp(total + output_zero_point, a.dtype, activation_min, activation_max)


def sub(a: np.ndarray, b: np.ndarray, **parameters: Any) -> np.ndarray:
    """`add` with A - B."""
    return add(a, b, sign=-1, **parameters)


def mul(
    a: np.ndarray,
    b: np.ndarray,
    *,
    input1_scale: float,
    input1_zero_point: int,
    input2_scale: float,
    input2_zero_point: int,
    output_scale: float,
    output_zero_point: int,
    activation_min: int | None = None,
    activation_max: int | None = None,
    arithmetic: Arithmetic = "tflm",
) -> np.ndarray:
    """clamp(MBQM((a - z1) * (b - z2); q, e) + z_out), (q, e) of s1 * s2 / s_out: in double, litert in float32."""
    kind = np.float64 if arithmetic == "tflm" else np.float32
    s1, s2, s_out = (kind(np.float32(s)) for s in (input1_scale, input2_scale, output_scale))
    product = (a.astype(np.int64) - input1_zero_point) * (b.astype(np.int64) - input2_zero_point)
    scaled = multiply_by_quantized_multiplier(product, *quantize_multiplier(s1 * s2 / s_out))
    return clamp(scaled + output_zero_point, a.dtype, activation_min, activation_max)


def maximum(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The greater integer; scales and zero points are equal."""
    return np.maximum(a, b)


def minimum(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The lesser integer; scales and zero points are equal."""
    return np.minimum(a, b)


# ---------------------------------------------------------------------------------------------------- reductions


def _pool(
    x: np.ndarray, kernel: Pair, stride: Pair, padding: Padding, outside: int, reduce: Callable[..., np.ndarray]
) -> np.ndarray:
    return reduce(taps(x.astype(np.int64), kernel, stride, (1, 1), padding, outside), axis=(0, 1))


def average_pool2d(
    x: np.ndarray,
    *,
    kernel: Pair,
    stride: Pair,
    padding: Padding = "VALID",
    activation_min: int | None = None,
    activation_max: int | None = None,
) -> np.ndarray:
    """S / n, half away from zero, of the n pixels inside; raw integers, without zero points."""
    total = _pool(x, kernel, stride, padding, 0, np.sum)
    count = _pool(np.ones_like(x), kernel, stride, padding, 0, np.sum)
    average = np.sign(total) * ((np.abs(total) + count // 2) // count)
    return clamp(average, x.dtype, activation_min, activation_max)


def max_pool2d(
    x: np.ndarray,
    *,
    kernel: Pair,
    stride: Pair,
    padding: Padding = "VALID",
    activation_min: int | None = None,
    activation_max: int | None = None,
) -> np.ndarray:
    """The greatest pixel inside, clamped."""
    return clamp(_pool(x, kernel, stride, padding, limits(x.dtype)[0], np.max), x.dtype, activation_min, activation_max)


def mean(
    x: np.ndarray,
    *,
    axis: Sequence[int],
    keep_dims: bool = True,
    input_scale: float,
    input_zero_point: int,
    output_scale: float,
    output_zero_point: int,
) -> np.ndarray:
    """clamp(MBQM(SUM x - n*z_in; q', e') + z_out) of n numbers: the multiplier is divided by n, truncated.

    (q, e) of s_in / s_out; k = min([log2 n], 32, 31 + e), q' = trunc(q * 2^k / n), e' = e - k.
    """
    axes = tuple(sorted({a % x.ndim for a in axis}))
    count = int(np.prod([x.shape[a] for a in axes], dtype=np.int64))
    q, e = quantize_multiplier(float(np.float32(input_scale)) / float(np.float32(output_scale)))
    k = min(count.bit_length() - 1, 32, 31 + int(e))
    total = x.astype(np.int64).sum(axis=axes, keepdims=keep_dims) - count * input_zero_point
    scaled = multiply_by_quantized_multiplier(total, int(q) * 2**k // count, int(e) - k)
    return clamp(scaled + output_zero_point, x.dtype)
