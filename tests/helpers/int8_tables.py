# SPDX-License-Identifier: Apache-2.0
"""Slow oracle of the curves: softmax, logistic, tanh, hard swish, the relus, quantize and dequantize.

See `int8_oracle`, whose arithmetic and names these are.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from helpers.int8_oracle import (
    Arithmetic,
    activation_range,
    clamp,
    divide_by_pot,
    high_mul,
    limits,
    multiply_by_quantized_multiplier,
    quantize_multiplier,
    round_half_away,
)

# exp(-2^k) in Q0.31 for k = -2..4: what a bit of the argument multiplies its exponential by.
EXP_BITS = (1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242)
EXP_MINUS_EIGHTH = 1895147668
ONE_THIRD = 715827883
LUT_STEPS = 512
SIGMOID_STEPS = 256


# ------------------------------------------------------------------------------------------------------- softmax


def exp_on_negative_values(a: ArrayLike, integer_bits: int = 5) -> np.ndarray:
    """exp(a), a <= 0 in Q5.26 (or Q4.27), in Q0.31: a cubic around -1/8 on the last quarter, then a factor per bit."""
    a = np.asarray(a, np.int64)
    quarter_bit = 29 - integer_bits
    last_quarter = a % 2**quarter_bit - 2**quarter_bit
    rest = last_quarter - a
    x = (last_quarter << integer_bits) + 2**28
    x2 = high_mul(x, x)
    y = high_mul(divide_by_pot(high_mul(x2, x2), 2) + high_mul(x2, x), ONE_THIRD) + x2
    result = EXP_MINUS_EIGHTH + high_mul(EXP_MINUS_EIGHTH, x + divide_by_pot(y, 1))
    for bit, factor in enumerate(EXP_BITS[: integer_bits + 2], quarter_bit):
        result = np.where(rest >> bit & 1, high_mul(result, factor), result)
    return np.where(a == 0, 2**31 - 1, result)


def _saturate32(x: np.ndarray) -> np.ndarray:
    return np.clip(x, -(2**31), 2**31 - 1)


def _newton(a: ArrayLike) -> np.ndarray:
    """2 / (1 + a) for a in Q0.31, [0, 1), in Q2.29: three Newton steps on half the denominator."""
    twice = np.asarray(a, np.int64) + 2**31 - 1
    half = (twice + 1) // 2
    x = 1515870810 + high_mul(half, -1010580540)
    for _ in range(3):
        x = x + _saturate32(4 * high_mul(x, 2**29 - high_mul(half, x)))
    return x


def one_over_one_plus(a: ArrayLike) -> np.ndarray:
    """1 / (1 + a) for a in Q0.31, [0, 1), in Q0.31."""
    return _saturate32(2 * _newton(a))


def one_minus_over_one_plus(a: ArrayLike) -> np.ndarray:
    """(1 - a) / (1 + a) for a in Q0.31, [0, 1), in Q0.31."""
    return _saturate32(4 * (_newton(a) - 2**29))


def leading_zeros(x: ArrayLike) -> np.ndarray:
    """Zeros before the first one of a positive 32-bit number."""
    return 32 - np.frexp(np.asarray(x, np.float64))[1].astype(np.int64)


def softmax(
    x: np.ndarray,
    *,
    input_scale: float,
    beta: float = 1.0,
    output_dtype: object = None,
    arithmetic: Arithmetic = "tflm",
) -> np.ndarray:
    """Softmax of the last axis. Fixed point from int8, two tables from int16 (`softmax_int16`).

    The output is int8 (2^-8, -128); int16 from int8 (2^-16, -32768); int16 from int16 (2^-15, 0).
    """
    if x.dtype == np.int16:
        return softmax_int16(x, input_scale=input_scale, beta=beta, arithmetic=arithmetic)
    dtype = np.dtype(np.int8 if output_dtype is None else output_dtype)  # type: ignore[call-overload]
    real = float(np.float32(beta)) * float(np.float32(input_scale)) * 2.0**26
    m, s = quantize_multiplier(min(real, 2.0**31 - 1.0))
    lowest = -(31 * 2**26 // 2 ** int(s))
    d = x.astype(np.int64) - x.astype(np.int64).max(axis=-1, keepdims=True)
    counts = d >= lowest
    exps = exp_on_negative_values(high_mul(np.where(counts, d, 0) << s, m))
    total = np.where(counts, divide_by_pot(exps, 12), 0).sum(axis=-1, keepdims=True)
    headroom = leading_zeros(total)
    reciprocal = one_over_one_plus((total << headroom) - 2**31)
    bits = dtype.itemsize * 8
    scaled = divide_by_pot(high_mul(reciprocal, exps), 12 - headroom + 31 - bits)
    least = limits(dtype)[0]
    return np.where(counts, clamp(scaled + least, dtype), least).astype(dtype)


def interpolation_table(
    curve: Callable[[np.ndarray], np.ndarray], least: float, greatest: float, arithmetic: Arithmetic = "tflm"
) -> np.ndarray:
    """513 Q0.15 entries of `curve` on [least, greatest], each moved by half the error of its chord at the middle.

    tflm in float32, litert in double.
    """
    kind = np.float32 if arithmetic == "tflm" else np.float64

    def real(v: ArrayLike) -> np.ndarray:
        return np.asarray(v, kind)

    def scaled(points: np.ndarray) -> np.ndarray:
        return real(curve(points.astype(np.float64))) * real(2**15)

    step = real(greatest - least) / real(LUT_STEPS)
    at = real(least) + real(np.arange(LUT_STEPS + 1)) * step
    sample = round_half_away(scaled(at))
    chord = round_half_away((scaled(at)[1:] + real(sample[:-1])) / real(2))
    middle = round_half_away(scaled(at[:-1] + step / real(2)))
    bias = round_half_away((chord - middle) / 2.0)
    return np.clip(np.append(sample[:-1] - bias, sample[-1]), -(2**15), 2**15 - 1)


def look_up(table: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Entry 256 + (x >> 7) and (slope * (x & 127) + 64) >> 7 of the way to the next one."""
    index = 256 + (x >> 7)
    base = table[index]
    return base + (((table[index + 1] - base) * (x & 127) + 64) >> 7)


def softmax_real(x: np.ndarray, scale: float, output_zero_point: int) -> np.ndarray:
    """Softmax of real numbers between int8, the output in steps of 2^-8."""
    below = x.astype(np.int64) - x.max(axis=-1, keepdims=True).astype(np.int64)
    real = np.exp(scale * below)
    share = round_half_away(256 * real / real.sum(axis=-1, keepdims=True))
    return np.clip(share + output_zero_point, -128, 127).astype(np.int8)


def softmax_int16(
    x: np.ndarray, *, input_scale: float, beta: float = 1.0, arithmetic: Arithmetic = "tflm"
) -> np.ndarray:
    """E = exp table at min(MBQM(x - max; beta*s_in*65535/10) + 32767, ..); out = E / SUM E by a table of 1/(1 + x)."""
    kind = np.float64 if arithmetic == "tflm" else np.float32
    real = float(kind(np.float32(input_scale)) * kind(np.float32(beta))) / (10.0 / 65535.0)
    return softmax_int16_of(x, *quantize_multiplier(real), arithmetic)


def softmax_int16_of(x: np.ndarray, multiplier: ArrayLike, shift: ArrayLike, arithmetic: Arithmetic) -> np.ndarray:
    """`softmax_int16` from its factor."""
    exp_table = interpolation_table(np.exp, -10.0, 0.0, arithmetic)
    reciprocal_table = interpolation_table(lambda v: 1.0 / (1.0 + v), 0.0, 1.0, arithmetic)
    d = x.astype(np.int64) - x.astype(np.int64).max(axis=-1, keepdims=True)
    scaled = multiply_by_quantized_multiplier(d, multiplier, shift)
    exps = look_up(exp_table, np.clip(scaled + 2**15 - 1, -(2**15), 2**15 - 1))
    total = exps.sum(axis=-1, keepdims=True)
    headroom = leading_zeros(total)
    one_to_two = ((total << (headroom - 1)) + 2**13) >> 14
    reciprocal = look_up(reciprocal_table, np.clip(one_to_two - 2**15 - 2**16, -(2**15), 2**15 - 1))
    right = 31 - headroom
    return np.clip((exps * reciprocal + (np.int64(1) << (right - 1))) >> right, 0, 2**15 - 1).astype(np.int16)


# ------------------------------------------------------------------------------------------------ logistic, tanh


def sigmoid(v: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-v)), each step in float32."""
    one = np.float32(1)
    return one / (one + np.exp(np.minimum(-v.astype(np.float64), 88.0)).astype(np.float32))


def hyperbolic_tangent(v: np.ndarray) -> np.ndarray:
    """tanh, rounded once to float32."""
    return np.tanh(v.astype(np.float64)).astype(np.float32)


def _curve_float(
    x: np.ndarray, curve: Callable[[np.ndarray], np.ndarray], scale: float, zero_point: int, out: tuple[float, int]
) -> np.ndarray:
    """clamp(rha(f(s_in * (q - z_in)) / s_out) + z_out), each step in float32."""
    real = np.float32(scale) * (x.astype(np.int64) - zero_point).astype(np.float32)
    return clamp(round_half_away(curve(real) * np.float32(1.0 / out[0])) + out[1], x.dtype)


def _curve_argument_q4(x: np.ndarray, input_scale: float, input_zero_point: int) -> tuple[np.ndarray, np.ndarray]:
    """Where the curve is at a limit, -1 or 1 and else 0; and s_in * (q - z_in) in Q4.27, MBQM by (m, e) of s_in * 2^27.

    The limits are from |q - z_in| = [15 * 2^27 / 2^e] on. Of a scale of 8 or more that is 0, and z_in counts as below.
    """
    d = x.astype(np.int64) - input_zero_point
    m, e = quantize_multiplier(float(np.float32(input_scale)) * 2.0**27)
    radius = 15 * 2**27 // 2 ** int(e)
    outside = np.where(d <= -radius, -1, np.where(d >= radius, 1, 0))
    return outside, multiply_by_quantized_multiplier(np.where(outside == 0, d, 0), m, e)


def _sigmoid_table() -> np.ndarray:
    """Sigmoid at i / 24 in 0.16 unsigned, raised by half of what its chord to i + 1 lacks at the middle; the last 1."""

    def exact(i: np.ndarray) -> np.ndarray:
        return 65536.0 / (1.0 + np.exp(-i / 24.0))

    i = np.arange(SIGMOID_STEPS, dtype=np.float64)
    lacking = exact(i + 0.5) - (exact(i) + exact(i + 1)) / 2
    table = round_half_away(exact(i) + lacking / 2)
    table[-1] = 65535
    return table


def curve_multiplier(input_scale: float) -> tuple[int, int]:
    """(multiplier, right shift) of int16 logistic and tanh: 3 * 4096 * s_in * 2^shift in 16384..32767, truncated."""
    real = float(np.float32(input_scale)) * 4096.0 * 3.0
    shift = 0
    while real <= 32767.0 / 2.0 and shift <= 30:
        real, shift = 2.0 * real, shift + 1
    return int(real), shift


def _curve_argument(x: np.ndarray, input_scale: float) -> np.ndarray:
    multiplier, shift = curve_multiplier(input_scale)
    return (x.astype(np.int64) * multiplier + (2**shift >> 1)) >> shift


def _interpolate(magnitude: np.ndarray, bits: int, saturated: int) -> np.ndarray:
    table = _sigmoid_table()
    index = magnitude >> bits
    first = table[np.minimum(index, SIGMOID_STEPS - 2)]
    second = table[np.minimum(index, SIGMOID_STEPS - 2) + 1]
    inner = (first << bits) + (magnitude & (2**bits - 1)) * (second - first)
    return np.where(index >= SIGMOID_STEPS - 1, saturated, inner)


def logistic_of_steps(argument: np.ndarray) -> np.ndarray:
    """int16 from the argument in steps of the table, 2^9 from one point to the next."""
    result = _interpolate(np.abs(argument), 9, 0x7FFF << 10)
    return (np.where(argument >= 0, result + 2**9, 2**25 - result + 2**9 - 1) >> 10).astype(np.int16)


def tanh_of_steps(argument: np.ndarray) -> np.ndarray:
    """As `logistic_of_steps`, 2^8 from one point to the next."""
    result = _interpolate(np.abs(argument), 8, 0xFFFF << 8)
    half, bias = 2**23, 2**7
    return (np.where(argument >= 0, result - half + bias, half - result + bias - 1) >> 8).astype(np.int16)


def logistic(
    x: np.ndarray, *, input_scale: float, input_zero_point: int = 0, arithmetic: Arithmetic = "tflm"
) -> np.ndarray:
    """int8: output (2^-8, -128); fixed point, D(f, 23) - 128, litert in float32.

    int16: output (2^-15, 0), straight lines between 256 points of the sigmoid.
    """
    if x.dtype == np.int16:
        return logistic_of_steps(_curve_argument(x, input_scale))
    if arithmetic == "litert":
        return _curve_float(x, sigmoid, input_scale, input_zero_point, (2.0**-8, -128))

    outside, a = _curve_argument_q4(x, input_scale, input_zero_point)
    positive = one_over_one_plus(exp_on_negative_values(-np.abs(a), 4))
    value = np.where(a == 0, 2**30, np.where(a > 0, positive, 2**31 - 1 - positive))
    return clamp(np.where(outside == 0, divide_by_pot(value, 23) - 128, 1000 * outside), np.int8)


def tanh(
    x: np.ndarray, *, input_scale: float, input_zero_point: int = 0, arithmetic: Arithmetic = "tflm"
) -> np.ndarray:
    """int8: output (2^-7, 0); fixed point, D(f, 24), litert in float32.

    int16: output (2^-15, 0), 2 * sigmoid(2x) - 1 on the table of `logistic`.
    """
    if x.dtype == np.int16:
        return tanh_of_steps(_curve_argument(x, input_scale))
    if arithmetic == "litert":
        return _curve_float(x, hyperbolic_tangent, input_scale, input_zero_point, (2.0**-7, 0))

    outside, a = _curve_argument_q4(x, input_scale, input_zero_point)
    positive = one_minus_over_one_plus(exp_on_negative_values(-np.abs(a), 5))
    return clamp(np.where(outside == 0, divide_by_pot(np.sign(a) * positive, 24), 1000 * outside), np.int8)


# ------------------------------------------------------------------------------------------------------- rescaling


def quantize(
    x: np.ndarray,
    *,
    output_scale: float,
    output_zero_point: int,
    output_dtype: object = np.int8,
    input_scale: float = 1.0,
    input_zero_point: int = 0,
) -> np.ndarray:
    """Float: clamp(rha(float32(x / s)) + z). Integers: clamp(MBQM(x - z_in; s_in / s_out) + z_out), any two types."""
    if x.dtype == np.float32:
        steps = round_half_away(x / np.float32(output_scale))
        return clamp(steps + output_zero_point, output_dtype)
    real = float(np.float32(input_scale)) / float(np.float32(output_scale))
    scaled = multiply_by_quantized_multiplier(x.astype(np.int64) - input_zero_point, *quantize_multiplier(real))
    return clamp(scaled + output_zero_point, output_dtype)


def dequantize(x: np.ndarray, *, input_scale: float, input_zero_point: int) -> np.ndarray:
    """float32(s * (q - z)), the product rounded once."""
    steps = x.astype(np.int64) - input_zero_point
    return (np.float64(np.float32(input_scale)) * steps.astype(np.float64)).astype(np.float32)


def _rescaled_activation(
    x: np.ndarray,
    activation: str,
    input_scale: float,
    input_zero_point: int,
    output_scale: float,
    output_zero_point: int,
    arithmetic: Arithmetic,
) -> np.ndarray:
    kind = np.float64 if arithmetic == "tflm" else np.float32
    real = kind(np.float32(input_scale)) / kind(np.float32(output_scale))
    scaled = multiply_by_quantized_multiplier(x.astype(np.int64) - input_zero_point, *quantize_multiplier(real))
    low, high = activation_range(activation, output_scale, output_zero_point, x.dtype)
    return clamp(scaled + output_zero_point, x.dtype, low, high)


def relu(
    x: np.ndarray,
    *,
    input_scale: float,
    input_zero_point: int,
    output_scale: float,
    output_zero_point: int,
    arithmetic: Arithmetic = "tflm",
) -> np.ndarray:
    """RELU alone: clamp(MBQM(x - z_in; s_in / s_out) + z_out) from z_out on; the quotient in double, litert float32."""
    return _rescaled_activation(x, "RELU", input_scale, input_zero_point, output_scale, output_zero_point, arithmetic)


def relu6(
    x: np.ndarray,
    *,
    input_scale: float,
    input_zero_point: int,
    output_scale: float,
    output_zero_point: int,
    arithmetic: Arithmetic = "tflm",
) -> np.ndarray:
    """RELU6 alone. tflm clamps the raw integers to [z_in, z_in + rha(6 / s_in)] and does not rescale."""
    if arithmetic == "tflm":
        return clamp(x, x.dtype, *activation_range("RELU6", input_scale, input_zero_point, x.dtype))
    return _rescaled_activation(x, "RELU6", input_scale, input_zero_point, output_scale, output_zero_point, arithmetic)


def relu_n1_to_1(
    x: np.ndarray,
    *,
    input_scale: float,
    input_zero_point: int,
    output_scale: float,
    output_zero_point: int,
    arithmetic: Arithmetic = "litert",
) -> np.ndarray:
    """RELU_N1_TO_1 alone, rescaled as RELU; TFLM does not have it."""
    return _rescaled_activation(
        x, "RELU_N1_TO_1", input_scale, input_zero_point, output_scale, output_zero_point, arithmetic
    )


def leaky_relu(
    x: np.ndarray,
    *,
    alpha: float,
    input_scale: float,
    input_zero_point: int,
    output_scale: float,
    output_zero_point: int,
    arithmetic: Arithmetic = "tflm",
) -> np.ndarray:
    """clamp(MBQM(x - z_in; s_in / s_out, or alpha * s_in / s_out below z_in) + z_out)."""
    kind = np.float64 if arithmetic == "tflm" else np.float32
    s_in, s_out = kind(np.float32(input_scale)), kind(np.float32(output_scale))
    steps = x.astype(np.int64) - input_zero_point
    positive = multiply_by_quantized_multiplier(steps, *quantize_multiplier(s_in / s_out))
    slope = s_in * kind(np.float32(alpha)) / s_out
    q, e = quantize_multiplier(abs(slope))
    negative = multiply_by_quantized_multiplier(steps, np.where(slope < 0, -q, q), e)
    return clamp(np.where(steps >= 0, positive, negative) + output_zero_point, x.dtype)


def _high_mul_16(a: ArrayLike, b: ArrayLike) -> np.ndarray:
    """(a*b + 2^14) >> 15; a = b = -2^15 gives 2^15 - 1."""
    return np.minimum((np.asarray(a, np.int64) * np.asarray(b, np.int64) + 2**14) >> 15, 2**15 - 1)


def _multiplier_16(real: float) -> tuple[int, int]:
    """`quantize_multiplier`, its q in 16 bits: min((q + 2^15) >> 16, 2^15 - 1)."""
    q, e = quantize_multiplier(real)
    return min((int(q) + 2**15) >> 16, 2**15 - 1), int(e)


def hard_swish(
    x: np.ndarray,
    *,
    input_scale: float,
    input_zero_point: int,
    output_scale: float,
    output_zero_point: int,
) -> np.ndarray:
    """x * relu6(x + 3) / 6 in 16 bits.

    v = 128 * (x - z_in) has scale s_in / 128; g = relu6(v + 3) / 6 in Q0.15 by the multiplier of s_in/128 * 2^15/3,
    saturated; out = clamp(D(trunc(g * H16(v, qo) / 2^15), -eo) + z_out), (qo, eo) of s_in / (128 * s_out).
    """
    hires = np.float32(input_scale) * np.float32(1.0 / 128.0)
    value = (x.astype(np.int64) - input_zero_point) << 7
    q_out, e_out = _multiplier_16(float(np.float32(hires / np.float32(output_scale))))
    q_relu, e_relu = _multiplier_16(float(np.float32(hires / np.float32(3.0 / 32768.0))))
    gate = value
    if e_relu > 0:
        gate = np.clip(gate << (e_relu - 1), -(2**15), 2**15 - 1)
    gate = _high_mul_16(gate, q_relu)
    if e_relu > 0:
        gate = np.clip(gate << 1, -(2**15), 2**15 - 1)
    if e_relu < 0:
        gate = divide_by_pot(gate, -e_relu)
    gate = (gate + 2**15) >> 1
    product = gate * _high_mul_16(value, q_out)
    truncated = np.sign(product) * (np.abs(product) >> 15)
    return clamp(divide_by_pot(truncated, max(-e_out, 0)) + output_zero_point, x.dtype)
