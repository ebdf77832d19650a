# SPDX-License-Identifier: Apache-2.0
"""What layers compute with zero points and multipliers, an object for each kind of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Protocol

import numpy as np

from ..scheme import wrapped
from .multipliers import (
    MULTIPLIER_MAX,
    ROUNDINGS,
    SHIFTS,
    quantize_multiplier,
    rescale,
)


class Requantisation(Protocol):
    """What every scheme object says of itself; `cmsisnn_x.scheme.Pow2` does too."""

    @property
    def low(self) -> int: ...
    @property
    def high(self) -> int: ...
    @property
    def fill(self) -> int: ...
    @property
    def problem(self) -> str | None: ...
    def macros(self) -> Mapping[str, int]: ...


@dataclass(frozen=True)
class Rescale:
    """One input of an element-wise operation: ``rescale((x - zero_point) << left_shift, multiplier, shift)``."""

    zero_point: int
    multiplier: int
    shift: int

    def apply(self, x: np.ndarray, left_shift: int) -> np.ndarray:
        return rescale((np.asarray(x, np.int64) - self.zero_point) << left_shift, self.multiplier, self.shift)


@dataclass(frozen=True)
class Affine:
    """Sums of products: convolutions and fully connected layers::

        acc = bias + SUM (x - input_zero_point) * w                              modulo 2^32
        out = clamp(rescale(acc, multiplier, shift) + output_zero_point, low, high)

    With 16-bit activations the accumulator has 64 bits and one rounding, see :meth:`apply`.

    Attributes
    ----------
    input_zero_point, output_zero_point : int
    multiplier, shift : tuple of int
        As :func:`quantize_multiplier` gives them: one per output channel, or one for all.
    low, high : int
        The range of the output.
    rounding : {"double", "float"}
    reals : tuple of float
        With ``"float"`` the factors themselves.
    bits : {8, 16}
        Of the activations.
    """

    input_zero_point: int
    output_zero_point: int
    multiplier: tuple[int, ...]
    shift: tuple[int, ...]
    low: int
    high: int
    rounding: str = "double"
    reals: tuple[float, ...] = ()
    bits: int = 8

    @property
    def fill(self) -> int:
        return self.input_zero_point

    @property
    def problem(self) -> str | None:
        """Why no kernel takes these numbers; None where they are legal."""
        if len(self.multiplier) != len(self.shift):
            return f"expected as many shifts as multipliers, {len(self.multiplier)}, got {len(self.shift)}"
        if any(not 0 <= one <= MULTIPLIER_MAX for one in self.multiplier):
            return f"expected multipliers in 0..{MULTIPLIER_MAX}"
        if any(not SHIFTS[0] <= one <= SHIFTS[1] for one in self.shift):
            return f"expected shifts in {SHIFTS[0]}..{SHIFTS[1]}"
        if self.bits == 16 and self.rounding == "double" and any(one > 14 for one in self.shift):
            return "expected shifts of at most 14 with 16-bit activations"
        if any(not 0 <= one < 2**20 for one in self.reals):
            return "expected factors in 0..2^20"
        if self.rounding not in ROUNDINGS or (self.rounding == "float") != bool(self.reals):
            return f"expected rounding 'double', or 'float' with its factors, got {self.rounding!r}"
        return None

    def per_channel(self, channels: int) -> tuple[np.ndarray, np.ndarray]:
        """Multipliers and shifts, int32, as many as channels."""
        multiplier, shift = np.array(self.multiplier, np.int32), np.array(self.shift, np.int32)
        return np.broadcast_to(multiplier, channels), np.broadcast_to(shift, channels)

    def start(self, bias: np.ndarray | None, weights: np.ndarray) -> np.ndarray:
        """Accumulators before the first product of raw inputs, where every window is full: the zero point is in them.

        Parameters
        ----------
        bias : array of int, shape (channels,), or None
        weights : array of int8, shape (channels, ...)

        Returns
        -------
        numpy.ndarray
            int64, not wrapped: ``bias - input_zero_point * SUM w``.
        """
        sums = weights.reshape(len(weights), -1).astype(np.int64).sum(1)
        return (0 if bias is None else np.asarray(bias, np.int64)) - self.input_zero_point * sums

    def apply(self, acc: np.ndarray) -> np.ndarray:
        """Outputs of finished accumulators, channels last; int64.

        16 bits, where ``q`` is the multiplier rounded to 15 bits::

            out = clamp((acc * q + 2^(14 - shift)) >> (15 - shift), low, high)
        """
        multiplier, shift = np.array(self.multiplier, np.int64), np.array(self.shift, np.int64)
        if self.rounding == "float":
            scaled = np.asarray(acc, np.float64) * np.array(self.reals)
            whole = np.floor(np.abs(scaled))
            rounded = np.copysign(whole + (np.abs(scaled) - whole >= 0.5), scaled)
            # What 32 bits do not hold is -2^31 on x86.
            held = np.where((rounded >= -(2**31)) & (rounded < 2**31), rounded, -(2**31)).astype(np.int64)
            return np.clip(wrapped(held + self.output_zero_point), self.low, self.high)
        if self.bits == 16:
            short = np.minimum((multiplier + 2**15) >> 16, 2**15 - 1)
            scaled = (np.asarray(acc, np.int64) * short + (np.int64(1) << (14 - shift))) >> (15 - shift)
            return np.clip(wrapped(scaled), self.low, self.high)
        return np.clip(rescale(acc, multiplier, shift) + self.output_zero_point, self.low, self.high)

    def reach(self, bias: np.ndarray | None, weights: np.ndarray) -> int:
        """Largest magnitude that an accumulator of raw inputs can have, before, after and between its products."""
        low, high = -(1 << self.bits - 1), (1 << self.bits - 1) - 1
        flat = weights.reshape(len(weights), -1).astype(np.int64)
        up = np.maximum(flat, 0).sum(1)
        down = np.minimum(flat, 0).sum(1)
        start = self.start(bias, weights)
        most, least = start + up * high + down * low, start + up * low + down * high
        return int(max(np.abs(most).max(), np.abs(least).max(), np.abs(start).max()))

    def macros(self) -> Mapping[str, int]:
        """What is the same for every channel; the others are records: :mod:`cmsisnn_x.channels`."""
        return {
            "INPUT_ZERO_POINT": self.input_zero_point, "OUTPUT_ZERO_POINT": self.output_zero_point,
            "OUT_MIN": self.low, "OUT_MAX": self.high,
        }  # fmt: skip


@dataclass(frozen=True)
class AffineClamp:
    """The integers as they are, clamped: pooling, maximum and minimum, and what only moves elements."""

    low: int
    high: int
    fill: int = 0
    problem: ClassVar[None] = None

    def macros(self) -> Mapping[str, int]:
        return {"OUT_MIN": self.low, "OUT_MAX": self.high, "FILL": self.fill}


@dataclass(frozen=True)
class AffineSum:
    """Sum or difference of two tensors, element by element::

        out = clamp(rescale(left(a) + sign * right(b), multiplier, shift) + output_zero_point, low, high)

    `left_shift` is 20 for int8 and 15 for int16.
    """

    left: Rescale
    right: Rescale
    sign: int
    left_shift: int
    multiplier: int
    shift: int
    output_zero_point: int
    low: int
    high: int
    fill: ClassVar[int] = 0
    problem: ClassVar[None] = None

    @classmethod
    def of(
        cls,
        scales: Sequence[float],
        zero_points: Sequence[int],
        limits: tuple[int, int],
        *,
        sign: int = 1,
        dtype: str = "int8",
    ) -> AffineSum:
        """From scales (float32) and zero points of ``(a, b, out)`` and the range of the output."""
        left_shift = 20 if dtype == "int8" else 15
        a, b, out = map(float, scales)
        twice = 2 * max(a, b)
        left, right = (
            Rescale(zero_point, *quantize_multiplier(scale / twice))
            for scale, zero_point in zip((a, b), zero_points, strict=False)
        )
        multiplier, shift = quantize_multiplier(twice / (2**left_shift * out))
        return cls(left, right, sign, left_shift, multiplier, shift, zero_points[2], *limits)

    def apply(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        total = wrapped(self.left.apply(a, self.left_shift) + self.sign * self.right.apply(b, self.left_shift))
        return np.clip(rescale(total, self.multiplier, self.shift) + self.output_zero_point, self.low, self.high)

    @cached_property
    def tables(self) -> tuple[np.ndarray, np.ndarray]:
        """Both inputs rescaled, for every byte ``t`` (0..127, -128..-1) that they can be; the sign is in the second."""
        every = np.arange(256, dtype=np.uint8).view(np.int8)
        left, right = (one.apply(every, self.left_shift).astype(np.int32) for one in (self.left, self.right))
        return left, np.int32(self.sign) * right

    def macros(self) -> Mapping[str, int]:
        return {
            "LEFT_ZERO_POINT": self.left.zero_point, "LEFT_MULTIPLIER": self.left.multiplier,
            "LEFT_EXPONENT": self.left.shift, "RIGHT_ZERO_POINT": self.right.zero_point,
            "RIGHT_MULTIPLIER": self.right.multiplier, "RIGHT_EXPONENT": self.right.shift, "SIGN": self.sign,
            "LEFT_SHIFT": self.left_shift, "MULTIPLIER": self.multiplier, "EXPONENT": self.shift,
            "OUTPUT_ZERO_POINT": self.output_zero_point, "OUT_MIN": self.low, "OUT_MAX": self.high,
        }  # fmt: skip


@dataclass(frozen=True)
class AffineProduct:
    """Product of two tensors, element by element::

    out = clamp(rescale((a - left_zero_point) * (b - right_zero_point), multiplier, shift) + output_zero_point)
    """

    left_zero_point: int
    right_zero_point: int
    multiplier: int
    shift: int
    output_zero_point: int
    low: int
    high: int
    fill: ClassVar[int] = 0
    problem: ClassVar[None] = None

    def apply(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        product = (np.asarray(a, np.int64) - self.left_zero_point) * (np.asarray(b, np.int64) - self.right_zero_point)
        return np.clip(rescale(product, self.multiplier, self.shift) + self.output_zero_point, self.low, self.high)

    def macros(self) -> Mapping[str, int]:
        return {
            "LEFT_ZERO_POINT": self.left_zero_point, "RIGHT_ZERO_POINT": self.right_zero_point,
            "MULTIPLIER": self.multiplier, "EXPONENT": self.shift, "OUTPUT_ZERO_POINT": self.output_zero_point,
            "OUT_MIN": self.low, "OUT_MAX": self.high,
        }  # fmt: skip


@dataclass(frozen=True)
class AffineMean:
    """Mean over `count` elements::

        out = clamp(rescale(SUM x - count * input_zero_point, multiplier, shift) + output_zero_point, low, high)

    The division is in the multiplier.
    """

    input_zero_point: int
    output_zero_point: int
    multiplier: int
    shift: int
    count: int
    low: int
    high: int
    fill: ClassVar[int] = 0
    problem: ClassVar[None] = None

    @classmethod
    def of(cls, count: int, scales: Sequence[float], zero_points: Sequence[int], limits: tuple[int, int]) -> AffineMean:
        """From scales and zero points of ``(x, out)``: the multiplier is divided by the count, as far as it can be
        shifted to the left before.
        """
        multiplier, shift = quantize_multiplier(float(scales[0]) / float(scales[1]))
        more = min(count.bit_length() - 1, 32, 31 + shift)
        return cls(zero_points[0], zero_points[1], (multiplier << more) // count, shift - more, count, *limits)

    def apply(self, sums: np.ndarray) -> np.ndarray:
        """Outputs of sums of `count` raw elements; int64."""
        acc = wrapped(np.asarray(sums, np.int64) - self.count * self.input_zero_point)
        return np.clip(rescale(acc, self.multiplier, self.shift) + self.output_zero_point, self.low, self.high)

    def macros(self) -> Mapping[str, int]:
        return {
            "INPUT_ZERO_POINT": self.input_zero_point, "OUTPUT_ZERO_POINT": self.output_zero_point,
            "MULTIPLIER": self.multiplier, "EXPONENT": self.shift, "COUNT": self.count,
            "OUT_MIN": self.low, "OUT_MAX": self.high,
        }  # fmt: skip


@dataclass(frozen=True)
class AffineRescale:
    """Element by element to another scale, where a table would be too long: int16 in::

    out = clamp(rescale(x - input_zero_point, multiplier, shift) + output_zero_point, low, high)

    Below the zero point the factor is that of `below`, a multiplier and a shift, where there is one: a leaky ReLU.
    """

    input_zero_point: int
    output_zero_point: int
    multiplier: int
    shift: int
    low: int
    high: int
    below: tuple[int, int] | None = None
    fill: ClassVar[int] = 0
    problem: ClassVar[None] = None

    def apply(self, x: np.ndarray) -> np.ndarray:
        steps = np.asarray(x, np.int64) - self.input_zero_point
        scaled = rescale(steps, self.multiplier, self.shift)
        if self.below is not None:
            scaled = np.where(steps < 0, rescale(steps, *self.below), scaled)
        return np.clip(scaled + self.output_zero_point, self.low, self.high)

    def macros(self) -> Mapping[str, int]:
        multiplier, shift = self.below or (self.multiplier, self.shift)
        return {
            "INPUT_ZERO_POINT": self.input_zero_point, "OUTPUT_ZERO_POINT": self.output_zero_point,
            "MULTIPLIER": self.multiplier, "EXPONENT": self.shift, "BELOW_MULTIPLIER": multiplier,
            "BELOW_EXPONENT": shift, "OUT_MIN": self.low, "OUT_MAX": self.high,
        }  # fmt: skip


@dataclass(frozen=True)
class AffineSoftmax:
    """Softmax of rows of int8, fixed point as gemmlowp has it; the output is ``2^-bits`` a step, from its least on.

    Attributes
    ----------
    multiplier, shift : int
        Of ``beta * scale * 2^26``, at most 2^31 - 1: an element's distance from the maximum in Q5.26.
    diff_min : int
        Elements that lie further below the maximum do not count.
    bits : {8, 16}
        Of the output.
    """

    multiplier: int
    shift: int
    diff_min: int
    bits: int = 8
    fill: ClassVar[int] = 0
    problem: ClassVar[None] = None

    @classmethod
    def of(cls, scale: float, beta: float = 1.0, bits: int = 8) -> AffineSoftmax:
        """From the input's scale."""
        real = min(float(beta) * float(scale) * 2**26, float(MULTIPLIER_MAX))
        multiplier, shift = quantize_multiplier(real)
        return cls(multiplier, shift, -int(31 * 2**26 // 2**shift), bits)

    @property
    def low(self) -> int:
        return -(1 << self.bits - 1)

    @property
    def high(self) -> int:
        return (1 << self.bits - 1) - 1

    def macros(self) -> Mapping[str, int]:
        return {"MULTIPLIER": self.multiplier, "EXPONENT": self.shift, "DIFF_MIN": self.diff_min, "OUT_BITS": self.bits}
