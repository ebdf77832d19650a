# SPDX-License-Identifier: Apache-2.0
"""Curves of int16: sigmoid and tanh between 256 points, and softmax between 513, as LiteRT and TFLM compute them.

Zero points are 0, outputs are in steps of 2^-15. A table of every number, as bytes have it, would be 128 KiB.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import ClassVar

import numpy as np

from .multipliers import quantize_multiplier, rescale
from .schemes import Affine, AffineClamp, AffineMean, AffineProduct, AffineRescale, AffineSoftmax, AffineSum

SIGMOID_POINTS = 256
SOFTMAX_POINTS = 513


def _halves_up(x: np.ndarray) -> np.ndarray:
    """Rounded, halves away from zero."""
    return np.sign(x) * np.floor(np.abs(x) + 0.5)


@lru_cache(maxsize=1)
def sigmoid_points() -> np.ndarray:
    """``65536 / (1 + exp(-i / 24))``, uint16, raised by half of what the line to the next point lacks in the middle."""
    at = np.arange(SIGMOID_POINTS, dtype=np.float64)

    def curve(i: np.ndarray) -> np.ndarray:
        return 65536 / (1 + np.exp(-i / 24))

    points = _halves_up(curve(at) + (curve(at + 0.5) - (curve(at) + curve(at + 1)) / 2) / 2)
    points[-1] = 65535
    return points.astype(np.uint16)


@lru_cache(maxsize=4)
def softmax_points(arithmetic: str) -> tuple[np.ndarray, np.ndarray]:
    """``exp`` on [-10, 0] and ``1 / (1 + v)`` on [0, 1], times 2^15, int16; TFLM makes them in float32, LiteRT in
    double.
    """
    kind: type = np.float32 if arithmetic == "tflm" else np.float64

    def exponential(v: np.ndarray) -> np.ndarray:
        return np.exp(v.astype(np.float64)).astype(kind)

    def reciprocal(v: np.ndarray) -> np.ndarray:
        return (kind(1) / (kind(1) + v)).astype(kind)

    return _points(exponential, -10.0, 0.0, kind), _points(reciprocal, 0.0, 1.0, kind)


def _points(curve: Callable[[np.ndarray], np.ndarray], least: float, most: float, kind: type) -> np.ndarray:
    step, half = kind((most - least) / (SOFTMAX_POINTS - 1)), kind((most - least) / (SOFTMAX_POINTS - 1) / 2)
    at = (kind(least) + np.arange(SOFTMAX_POINTS - 1).astype(kind) * step).astype(kind)
    scaled = kind(2**15)
    here = _halves_up(curve(at) * scaled)
    between = _halves_up((curve((at + step).astype(kind)) * scaled + here) / kind(2))
    middle = _halves_up(curve((at + half).astype(kind)) * scaled)
    points = np.append(
        here - _halves_up((between - middle) / kind(2)), _halves_up(curve(np.array([most], kind)) * scaled)
    )
    return np.clip(points, -(2**15), 2**15 - 1).astype(np.int16)


def between_points(points: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The line between the points around ``256 + x / 128``; int64."""
    at, own = 256 + (x >> 7), points.astype(np.int64)
    return own[at] + (((own[at + 1] - own[at]) * (x & 127) + 64) >> 7)


@dataclass(frozen=True)
class AffineCurve:
    """Sigmoid or tanh of int16; `multiplier` (15 bits) and `shift` (to the right) take the input to steps of the table.

    ::

        a = (x * multiplier + round(shift)) >> shift,   bits = 9 for sigmoid, 8 for tanh
        u = |a| >> bits,   r = (T[u] << bits) + (|a| mod 2^bits) * (T[u + 1] - T[u]);   at its limit from u = 255 on
    """

    kind: str
    multiplier: int
    shift: int
    fill: ClassVar[int] = 0
    low: ClassVar[int] = -(2**15)
    high: ClassVar[int] = 2**15 - 1
    problem: ClassVar[None] = None

    @classmethod
    def of(cls, kind: str, scale: float) -> AffineCurve:
        """From the input's scale."""
        real, shift = float(scale) * 4096 * 3, 0
        while real <= 32767 / 2 and shift <= 30:
            real, shift = 2 * real, shift + 1
        return cls(kind, int(real), shift)

    def apply(self, x: np.ndarray) -> np.ndarray:
        points = sigmoid_points().astype(np.int64)
        a = (np.asarray(x, np.int64) * self.multiplier + (1 << self.shift >> 1)) >> self.shift
        bits, limit = (9, 0x7FFF << 10) if self.kind == "sigmoid" else (8, 0xFFFF << 8)
        at = np.abs(a) >> bits
        first, second = points[np.minimum(at, SIGMOID_POINTS - 2)], points[np.minimum(at, SIGMOID_POINTS - 2) + 1]
        line = (first << bits) + (np.abs(a) & (1 << bits) - 1) * (second - first)
        r = np.where(at >= SIGMOID_POINTS - 1, limit, line)
        if self.kind == "sigmoid":
            return np.where(a >= 0, r + 2**9, 2**25 - r + 2**9 - 1) >> 10
        return np.where(a >= 0, r - 2**23 + 2**7, 2**23 - r + 2**7 - 1) >> 8

    def macros(self) -> Mapping[str, int]:
        bits = 9 if self.kind == "sigmoid" else 8
        return {"MULTIPLIER": self.multiplier, "EXPONENT": self.shift, "CURVE_BITS": bits}


@dataclass(frozen=True)
class AffineSoftmax16:
    """Softmax of rows of int16: exponentials and the reciprocal of their sum between points of two tables."""

    multiplier: int
    shift: int
    arithmetic: str = field(default="tflm")
    fill: ClassVar[int] = 0
    low: ClassVar[int] = 0
    high: ClassVar[int] = 2**15 - 1
    problem: ClassVar[None] = None

    @classmethod
    def of(cls, scale: float, beta: float, arithmetic: str) -> AffineSoftmax16:
        """From the input's scale."""
        kind = np.float64 if arithmetic == "tflm" else np.float32
        return cls(*quantize_multiplier(float(kind(scale) * kind(beta)) * 65535 / 10), arithmetic)

    @property
    def tables(self) -> tuple[np.ndarray, np.ndarray]:
        return softmax_points(self.arithmetic)

    def apply(self, x: np.ndarray) -> np.ndarray:
        """Of rows, the last axis; int64."""
        exponentials, reciprocals = self.tables
        below = np.asarray(x, np.int64) - np.max(x, -1, keepdims=True)
        scaled = rescale(below, self.multiplier, self.shift)
        each = between_points(exponentials, np.clip(scaled + 2**15 - 1, -(2**15), 2**15 - 1))
        total = each.sum(-1, keepdims=True)
        zeros = 32 - np.frexp(total.astype(np.float64))[1].astype(np.int64)
        to_two = ((total << zeros - 1) + 2**13) >> 14
        inverse = between_points(reciprocals, np.clip(to_two - 2**15 - 2**16, -(2**15), 2**15 - 1))
        return np.clip((each * inverse + (np.int64(1) << 30 - zeros)) >> (31 - zeros), 0, self.high)

    def macros(self) -> Mapping[str, int]:
        return {"MULTIPLIER": self.multiplier, "EXPONENT": self.shift}


@dataclass(frozen=True)
class AffineRealSoftmax:
    """Softmax of floats between DEQUANTIZE and QUANTIZE, of rows of int8; the output is in steps of 2^-8::

        E = table[max - x],   out = clamp(floor(256 E / SUM E + 1/2) + output_zero_point)

    The exponentials of all distances are rounded to as many bits as a sum of `columns` leaves, 23 at most: what floats
    of 24 bits give, up to numbers that lie as near to a half as they can tell.

    Attributes
    ----------
    scale : float
        Of the input, times beta.
    columns : int
        Elements of a row.
    output_zero_point : int
    """

    scale: float
    columns: int
    output_zero_point: int
    fill: ClassVar[int] = 0
    low: ClassVar[int] = -128
    high: ClassVar[int] = 127
    problem: ClassVar[None] = None

    @property
    def table(self) -> np.ndarray:
        """Exponentials of 0, -1, .. -255 steps below the maximum, int32."""
        bits = min(23, 31 - (self.columns - 1).bit_length())
        return np.floor(np.exp(-self.scale * np.arange(256)) * 2.0**bits + 0.5).astype(np.int32)

    def apply(self, x: np.ndarray) -> np.ndarray:
        """Of rows, the last axis; int64."""
        each = self.table.astype(np.int64)[np.max(x, -1, keepdims=True).astype(np.int64) - x]
        total = each.sum(-1, keepdims=True)
        return np.clip((256 * each + total // 2) // total + self.output_zero_point, self.low, self.high)

    def macros(self) -> Mapping[str, int]:
        return {"OUTPUT_ZERO_POINT": self.output_zero_point}


Scheme = (
    Affine
    | AffineClamp
    | AffineCurve
    | AffineMean
    | AffineProduct
    | AffineRealSoftmax
    | AffineRescale
    | AffineSoftmax
    | AffineSoftmax16
    | AffineSum
)
"""What `Layer.scheme` may hold."""
