# SPDX-License-Identifier: Apache-2.0
"""Types of tensors, and the scheme of powers of two: how an accumulator starts, how it becomes an output, what padding
holds.

Schemes are objects. What asks one never looks at shifts: kernels get its macros and channel records, the search its
headroom, tests its arithmetic. The other one, of zero points and multipliers, is in :mod:`cmsisnn_x.affine`.
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
    twin : str
        The type of powers of two whose kernels multiply these elements; itself where it is one.
    """

    name: str
    dtype: np.dtype
    twin: str

    @property
    def bits(self) -> int:
        return 8 * self.dtype.itemsize

    @property
    def low(self) -> int:
        """The least integer."""
        return int(np.iinfo(self.dtype).min)

    @property
    def high(self) -> int:
        """The largest integer."""
        return int(np.iinfo(self.dtype).max)

    @property
    def is_affine(self) -> bool:
        """Whether its numbers are ``scale * (q - zero_point)``, not q times a power of two."""
        return self.twin != self.name


def _types(*rows: tuple[str, type, str]) -> dict[str, TensorType]:
    return {name: TensorType(name, np.dtype(dtype), twin) for name, dtype, twin in rows}


POW2_TYPES = _types(("q7", np.int8, "q7"), ("q15", np.int16, "q15"))
"""Numbers times a power of two."""
AFFINE_TYPES = _types(("int8", np.int8, "q7"), ("uint8", np.uint8, "q7"), ("int16", np.int16, "q15"))
"""LiteRT's: numbers with a scale and a zero point, which the tensor has. uint8 is met at the border of a network."""
TENSOR_TYPES = {**POW2_TYPES, **AFFINE_TYPES}
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
    """What padding holds: the integer that stands for zero."""

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
