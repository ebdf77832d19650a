# SPDX-License-Identifier: Apache-2.0
"""Types of tensors, and quantisation schemes: how an accumulator starts, how it becomes an output, what padding holds.

Both are objects. What asks it never looks at shifts: kernels get its macros and channel records, the search its
headroom, tests its arithmetic. Today there is one, of powers of two.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class TensorType:
    """What the elements of a tensor are.

    Attributes
    ----------
    name : str
        As model files spell it.
    dtype : numpy.dtype
    fill : int
        The integer that stands for zero: what padding holds.
    """

    name: str
    dtype: np.dtype
    fill: int = 0

    @property
    def bits(self) -> int:
        return 8 * self.dtype.itemsize

    @property
    def low(self) -> int:
        """The least integer."""
        return -(1 << self.bits - 1)

    @property
    def high(self) -> int:
        """The largest integer."""
        return (1 << self.bits - 1) - 1


TENSOR_TYPES = {
    item.name: item for item in (TensorType("q7", np.dtype(np.int8)), TensorType("q15", np.dtype(np.int16)))
}  # fmt: skip
"""The types that model files name."""
SHIFT_MAX = 31
"""Of bias and accumulator, which have 32 bits."""


def wrapped(values: np.ndarray) -> np.ndarray:
    """What 32 bits make of sums: modulo 2^32, signed; int64."""
    return np.asarray(values).astype(np.int64).astype(np.int32).astype(np.int64)


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
    """What padding holds: the `TensorType.fill` of every tensor of this scheme."""

    @classmethod
    def of(cls, dtype: str, bias_shift: int, out_shift: int, activation: str | None = None) -> Pow2:
        """The scheme of a layer with outputs of `dtype`."""
        own = TENSOR_TYPES[dtype]
        return cls(bias_shift, out_shift, 0 if activation == "relu" else own.low, own.high)

    @property
    def problem(self) -> str | None:
        """Why no kernel takes these numbers; None where they are legal."""
        shifts = (self.bias_shift, self.out_shift)
        if all(0 <= shift <= SHIFT_MAX for shift in shifts):
            return None
        return f"expected bias_shift and out_shift in 0..{SHIFT_MAX}, got {shifts}"

    @property
    def rounding(self) -> int:
        """round(out_shift), which every accumulator starts with."""
        return 1 << self.out_shift >> 1

    def start(self, bias: np.ndarray) -> np.ndarray:
        """Accumulators before the first product: ``bias * 2^bias_shift + round(out_shift)``, int64, not wrapped."""
        return (np.asarray(bias).astype(np.int64) << self.bias_shift) + self.rounding

    def shifted(self, acc: np.ndarray) -> np.ndarray:
        """Finished accumulators before the clamp, as the kernels' 32 bits give them: what then lies outside the range
        saturates; int64.
        """
        return wrapped(acc) >> self.out_shift

    def apply(self, acc: np.ndarray) -> np.ndarray:
        """Outputs of finished accumulators, which wrap around at 32 bits as the hardware's do; int64."""
        return np.clip(self.shifted(acc), self.low, self.high)

    def reach(self, bias: np.ndarray, least: np.ndarray, most: np.ndarray) -> int:
        """Largest magnitude that an accumulator can have, where sums of products lie within `least` .. `most` of their
        channel, or are still empty. From 2^31 on it may wrap.
        """
        start = self.start(bias)
        return int(max(np.abs(start + most).max(), np.abs(start + least).max(), np.abs(start).max()))

    def records(self, bias: np.ndarray) -> np.ndarray:
        """What a device kernel reads per output channel: here the bias as it is."""
        return np.ascontiguousarray(bias)

    def macros(self) -> Mapping[str, int]:
        """The scheme as macros of a layer, without their prefix."""
        return {
            "BIAS_SHIFT": self.bias_shift, "OUT_SHIFT": self.out_shift, "OUT_MIN": self.low, "OUT_MAX": self.high
        }  # fmt: skip
