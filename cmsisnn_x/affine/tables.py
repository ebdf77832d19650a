# SPDX-License-Identifier: Apache-2.0
"""Functions of one number as tables: every byte that an input can be, and what an operation makes of it.

All are indexed by the byte as it lies in memory: for int8 the numbers 0..127 and then -128..-1. With `arithmetic`
``"tflm"`` they hold what TensorFlow Lite Micro computes, with ``"litert"`` what LiteRT's reference kernels do; the
formulas are in the documentation of the arithmetic, ``docs`` of the repository's README.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..scheme import TENSOR_TYPES
from .multipliers import (
    activation_range,
    high_multiply,
    kernel_multiplier,
    quantize_multiplier,
    rescale,
    rounding_divide,
)

ONE = 2**31 - 1
"""1 in Q0.31."""
EXPONENTIALS = (1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242)
"""exp(-2^k) for k = -2 .. 4, in Q0.31."""


@dataclass(frozen=True)
class Numbers:
    """What the integers of a tensor stand for: ``scale * (q - zero_point)``; `type` is int8, uint8 or int16."""

    type: str
    scale: float
    zero_point: int

    @property
    def every(self) -> np.ndarray:
        """All bytes, less the zero point; int64."""
        return np.arange(256, dtype=np.uint8).view(TENSOR_TYPES[self.type].dtype).astype(np.int64) - self.zero_point

    def clamp(self, values: np.ndarray, low: int | None = None, high: int | None = None) -> np.ndarray:
        """`values` plus the zero point, in the range of the type or a narrower one, as an array of the type."""
        own = TENSOR_TYPES[self.type]
        least, most = own.low if low is None else low, own.high if high is None else high
        return np.clip(values + self.zero_point, least, most).astype(own.dtype)


def _factor(arithmetic: str, *terms: float) -> float:
    """The first number times the others but the last, divided by that: in double, or step by step in float32."""
    kind = np.float64 if arithmetic == "tflm" else np.float32
    result = kind(terms[0])
    for term in terms[1:-1]:
        result = result * kind(term)
    return float(result / kind(terms[-1]))


def rescaled(x: Numbers, out: Numbers) -> np.ndarray:
    """The same number at another scale: QUANTIZE of integers."""
    return out.clamp(rescale(x.every, *kernel_multiplier(_factor("tflm", x.scale, out.scale))))


def relu(x: Numbers, out: Numbers, activation: str, arithmetic: str) -> np.ndarray:
    """RELU, RELU6 and RELU_N1_TO_1 alone. TFLM's RELU6 clamps the integers as they are, whatever the output's scale."""
    if activation == "relu6" and arithmetic == "tflm":
        low, high = activation_range(activation, x.type, x.scale, x.zero_point)
        return x.clamp(x.every, low, high)
    limits = activation_range(activation, out.type, out.scale, out.zero_point)
    return out.clamp(rescale(x.every, *kernel_multiplier(_factor(arithmetic, x.scale, out.scale))), *limits)


def leaky_relu(x: Numbers, out: Numbers, alpha: float, arithmetic: str) -> np.ndarray:
    """Below zero times `alpha`, each side with a multiplier of its own."""
    above = rescale(x.every, *kernel_multiplier(_factor(arithmetic, x.scale, out.scale)))
    slope = _factor(arithmetic, x.scale, float(np.float32(alpha)), out.scale)
    multiplier, shift = kernel_multiplier(abs(slope))
    below = rescale(x.every, -multiplier if slope < 0 else multiplier, shift)
    return out.clamp(np.where(x.every >= 0, above, below))


def hard_swish(x: Numbers, out: Numbers) -> np.ndarray:
    """``x * relu6(x + 3) / 6`` in 16 bits: the input times 128 beside a gate in Q0.15."""
    fine = np.float32(x.scale) * np.float32(1 / 128)
    value = x.every << 7
    (factor, exponent), (slope, left) = (
        _short(float(np.float32(fine / unit))) for unit in (np.float32(out.scale), np.float32(3 / 32768))
    )
    gate = value
    if left > 0:  # the last doubling comes behind the product
        gate = np.clip(gate << left - 1, -(2**15), 2**15 - 1)
    gate = _high_multiply_16(gate, slope)
    gate = np.clip(gate << 1, -(2**15), 2**15 - 1) if left > 0 else rounding_divide(gate, -left)
    product = ((gate + 2**15) >> 1) * _high_multiply_16(value, factor)
    whole = np.sign(product) * (np.abs(product) >> 15)
    return out.clamp(rounding_divide(whole, max(-exponent, 0)))


def _short(real: float) -> tuple[int, int]:
    """A multiplier of 15 bits, and its shift."""
    multiplier, shift = kernel_multiplier(real)
    return min((multiplier + 2**15) >> 16, 2**15 - 1), shift


def _high_multiply_16(a: np.ndarray, b: int) -> np.ndarray:
    return np.minimum((a * b + 2**14) >> 15, 2**15 - 1)


# ---------------------------------------------------------------- curves


def sigmoid(x: Numbers, out: Numbers, arithmetic: str) -> np.ndarray:
    """LOGISTIC: the output's scale is 2^-8 and its zero point -128."""
    if arithmetic == "litert":
        return _rounded(1 / (1 + single(np.exp, -_reals(x))), out)
    argument, beyond = _argument(x)
    upper = reciprocal(exponential(-np.abs(argument), 4))
    value = np.where(argument == 0, 2**30, np.where(argument > 0, upper, ONE - upper))
    return _limited(out.clamp(rounding_divide(value, 23)), beyond)


def tanh(x: Numbers, out: Numbers, arithmetic: str) -> np.ndarray:
    """TANH: the output's scale is 2^-7 and its zero point 0."""
    if arithmetic == "litert":
        return _rounded(single(np.tanh, _reals(x)), out)
    argument, beyond = _argument(x)
    upper = _newton(exponential(-np.abs(argument), 5)) - 2**29
    value = np.sign(argument) * np.minimum(upper << 2, ONE)
    return _limited(out.clamp(rounding_divide(value, 24)), beyond)


def single(function: np.ufunc, values: np.ndarray) -> np.ndarray:
    """A function of float32 numbers, rounded once, as the C library has it; NumPy's own is off by a bit at times."""
    with np.errstate(over="ignore"):
        return function(values.astype(np.float64)).astype(np.float32)


def _reals(x: Numbers) -> np.ndarray:
    return np.float32(x.scale) * x.every.astype(np.float32)


def _rounded(real: np.ndarray, out: Numbers) -> np.ndarray:
    """Halves away from zero; every step in float32."""
    steps = real.astype(np.float32) * np.float32(1 / out.scale)
    return out.clamp((np.sign(steps) * np.floor(np.abs(steps) + np.float32(0.5))).astype(np.int64))


def _argument(x: Numbers) -> tuple[np.ndarray, np.ndarray]:
    """The number in Q4.27, and -1 or 1 where it lies so far out that the curve is at its limit; from a scale of 8 on
    the zero point itself lies below.
    """
    multiplier, shift = quantize_multiplier(float(x.scale) * 2**27)
    radius = 15 * 2**27 // 2**shift if shift >= 0 else 256
    beyond = np.where(np.abs(x.every) >= radius, np.where(x.every > 0, 1, -1), 0)
    return rescale(np.where(beyond == 0, x.every, 0), multiplier, shift), beyond


def _limited(values: np.ndarray, beyond: np.ndarray) -> np.ndarray:
    low, high = np.iinfo(values.dtype).min, np.iinfo(values.dtype).max
    return np.where(beyond == 0, values, np.where(beyond < 0, low, high)).astype(values.dtype)


def exponential(a: np.ndarray, integer_bits: int) -> np.ndarray:
    """exp(a) in Q0.31 for a <= 0 with so many integer bits: a polynomial near zero, then the factors of its bits."""
    fraction = 31 - integer_bits
    quarter = 1 << fraction - 2
    near = (a & quarter - 1) - quarter
    x = (near << integer_bits) + 2**28
    square = high_multiply(x, x)
    cube, fourth = high_multiply(square, x), high_multiply(square, square)
    tail = high_multiply(rounding_divide(fourth, 2) + cube, 715827883) + square
    result = 1895147668 + high_multiply(x + rounding_divide(tail, 1), 1895147668)
    rest = near - a
    for exponent, factor in zip(range(-2, 5), EXPONENTIALS, strict=True):
        if exponent < integer_bits:
            result = np.where(rest >> fraction + exponent & 1, high_multiply(result, factor), result)
    return np.where(a == 0, ONE, result)


def _newton(a: np.ndarray) -> np.ndarray:
    """2 / (1 + a) in Q2.29 for 0 <= a <= 1 in Q0.31: three steps from a line."""
    half = (a + ONE + 1) >> 1
    x = 1515870810 + high_multiply(half, -1010580540)
    for _ in range(3):
        x = x + np.clip(high_multiply(x, 2**29 - high_multiply(half, x)) << 2, -(2**31), ONE)
    return x


def reciprocal(a: np.ndarray) -> np.ndarray:
    """1 / (1 + a) in Q0.31 for 0 <= a <= 1 in Q0.31."""
    return np.minimum(_newton(a) << 1, ONE)
