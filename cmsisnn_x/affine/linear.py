# SPDX-License-Identifier: Apache-2.0
"""Sums of two bytes by two products and a shift, instead of three multiplications with two roundings each.

There are 65,536 pairs of bytes: whether two factors, a start and a shift give the very output for each is looked at,
not derived. Of real scales about 99 of 100 do. Where ties are common, as with scales that are small multiples of each
other, none may: device and host compute as the formula says then.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import floor, log2

import numpy as np

from .schemes import AffineSum

FACTOR_BITS = 23
"""Of a factor, without its sign: cores with DSP put another 8 behind it."""
SHIFTS = 3
"""From the largest that 32 bits hold on: with fewer bits behind the point, rounded factors are further off."""
_REACH = 4
_STEPS = sorted(
    ((i, j) for i in range(-2, 3) for j in range(-2, 3)), key=lambda step: (abs(step[0]) + abs(step[1]), step)
)
"""From the rounded factors to those that are tried."""


@dataclass(frozen=True)
class Linear:
    """``out = clamp((left * a + right * b + start) >> shift, low, high)`` for all bytes, within 32 bits."""

    left: int
    right: int
    start: int
    shift: int

    def macros(self) -> dict[str, int]:
        return {
            "LINEAR_SHIFT": self.shift, "LEFT_FACTOR": self.left, "RIGHT_FACTOR": self.right, "START": self.start
        }  # fmt: skip


NOT_LINEAR = Linear(0, 0, 0, 0)
"""What a layer says that has no such numbers."""


@lru_cache(maxsize=1024)
def linear_of(scheme: AffineSum) -> Linear:
    """The numbers that give every output of a sum of int8, or `NOT_LINEAR`.

    For each pair of factors next to the real ones, the outputs bound the start from either side. Only pairs of bytes
    that come near a bound with the first factors can be one with the others.
    """
    every = np.arange(-128, 128)
    a, b = np.repeat(every, 256), np.tile(every, 256)
    out = np.asarray(scheme.apply(every[:, None], every[None, :]), np.int64).reshape(-1)
    factor = scheme.multiplier * 2.0 ** (scheme.shift + scheme.left_shift - 62)
    left = factor * scheme.left.multiplier * 2.0**scheme.left.shift
    right = scheme.sign * factor * scheme.right.multiplier * 2.0**scheme.right.shift
    offset = scheme.output_zero_point - left * scheme.left.zero_point - right * scheme.right.zero_point
    corners = [(x, y) for x in (-128, 127) for y in (-128, 127)]
    most, steepest = max(abs(left * x + right * y + offset) for x, y in corners) + 1, max(abs(left), abs(right))
    if not 2.0**-20 < steepest < 2.0**20 or most > 2.0**20:
        return NOT_LINEAR
    largest = min(floor(31 - log2(most)), floor(FACTOR_BITS - log2(steepest)), 30)
    above, below = np.flatnonzero(out > scheme.low), np.flatnonzero(out < scheme.high)
    if not above.size or not below.size:
        return NOT_LINEAR
    for shift in range(largest, max(largest - SHIFTS, 0), -1):
        first, second = round(left * 2**shift), round(right * 2**shift)
        sums = first * a + second * b
        lows, highs = (out[above] << shift) - sums[above], ((out[below] + 1) << shift) - sums[below] - 1
        near = 2 * 128 * _REACH
        at_low, at_high = lows >= lows.max() - near, highs <= highs.min() + near
        lows, highs, low_at, high_at = lows[at_low], highs[at_high], above[at_low], below[at_high]
        for i, j in _STEPS:
            low = int((lows - i * a[low_at] - j * b[low_at]).max())
            high = int((highs - i * a[high_at] - j * b[high_at]).min())
            start, ends = (low + high) // 2, [(first + i) * x + (second + j) * y for x, y in corners]
            fits = max(abs(first + i), abs(second + j)) < 2**FACTOR_BITS
            if low <= high and fits and max(abs(start), *(abs(end + start) for end in ends)) < 2**31:
                return Linear(first + i, second + j, start, shift)
    return NOT_LINEAR
