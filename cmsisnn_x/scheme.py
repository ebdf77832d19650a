# SPDX-License-Identifier: Apache-2.0
"""Quantisation schemes: how an accumulator starts, how it becomes an output, and what padding holds.

A scheme is an object. What asks it never looks at shifts: kernels get its macros and channel records, the search its
headroom, tests its arithmetic. Today there is one, of powers of two.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

HIGHEST = {"q7": 127, "q15": 32767}
"""Largest number of each type."""


@dataclass(frozen=True)
class Pow2:
    """Powers of two, as CMSIS-NN's q7 and q15 kernels::

        acc = bias * 2^bias_shift + round(out_shift) + SUM        modulo 2^32, round(s) = 2^(s-1), and 0 for s = 0
        out = clamp(acc >> out_shift, low, high)

    Attributes
    ----------
    bias_shift, out_shift : int
        0..31.
    low, high : int
        The range of the output: that of its type, and from 0 on under a fused ReLU.
    """

    bias_shift: int
    out_shift: int
    low: int
    high: int

    fill = 0
    """What padding holds: the integer that stands for zero."""

    @classmethod
    def of(cls, dtype: str, bias_shift: int, out_shift: int, activation: str | None = None) -> Pow2:
        """The scheme of a layer with outputs of `dtype`."""
        high = HIGHEST[dtype]
        return cls(bias_shift, out_shift, 0 if activation == "relu" else -high - 1, high)

    @property
    def rounding(self) -> int:
        """round(out_shift), which every accumulator starts with."""
        return 1 << self.out_shift >> 1

    def start(self, bias: np.ndarray) -> np.ndarray:
        """Accumulators before the first product: ``bias * 2^bias_shift + round(out_shift)``, int64, not wrapped."""
        return (np.asarray(bias).astype(np.int64) << self.bias_shift) + self.rounding

    def apply(self, acc: np.ndarray) -> np.ndarray:
        """Outputs of finished accumulators, which wrap around at 32 bits as the hardware's do; int64."""
        wrapped = np.asarray(acc).astype(np.int64).astype(np.int32).astype(np.int64)
        return np.clip(wrapped >> self.out_shift, self.low, self.high)

    def records(self, bias: np.ndarray) -> np.ndarray:
        """What a device kernel reads per output channel: here the bias as it is."""
        return np.ascontiguousarray(bias)

    def macros(self) -> Mapping[str, int]:
        """The scheme as macros of a layer, without their prefix."""
        return {
            "BIAS_SHIFT": self.bias_shift, "OUT_SHIFT": self.out_shift, "OUT_MIN": self.low, "OUT_MAX": self.high
        }  # fmt: skip
