# SPDX-License-Identifier: Apache-2.0
"""The checks that every function shares, and the arithmetic of shifts and saturation on an Arm core."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from operator import index
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import CmsisnnError, DtypeError, ShapeError
from ._prototypes import PROTOTYPES, SCRATCH
from ._rules import C_RANGES

ARM_MATH_SUCCESS = 0
ARM_MATH_SIZE_MISMATCH = -3


class Call:
    """The arguments of one call, checked one by one; :meth:`check_sizes` then checks them against each other.

    The two steps are apart because Arm's functions return a size mismatch before they touch any array.

    Parameters
    ----------
    function : str
        A key of :data:`PROTOTYPES`.
    arguments : mapping
        Every argument by Arm's name, and `profile`.
    """

    def __init__(self, function: str, arguments: Mapping[str, Any]) -> None:
        self.function = function
        self.prototype = PROTOTYPES[function]
        self.numbers: dict[str, int] = {}
        self.arrays: dict[str, NDArray[Any]] = {}
        profile = arguments["profile"]
        if not (isinstance(profile, str) and profile in ("dsp", "scalar")):
            raise CmsisnnError(f"{function}: profile: expected 'dsp' or 'scalar', got {profile!r}")
        self.dsp = profile == "dsp"
        for name, value in arguments.items():
            if name in self.prototype:
                self.arrays[name] = self._array(name, value)
            elif name in SCRATCH:
                if not (value is None or isinstance(value, np.ndarray)):
                    raise DtypeError(f"{function}: {name}: expected an array or None, got {value!r}")
            elif name != "profile":
                self.numbers[name] = self._number(name, value)

    def __getitem__(self, name: str) -> int:
        return self.numbers[name]

    def _number(self, name: str, value: object) -> int:
        low, high, c_type = C_RANGES.get(name, (0, 65535, "uint16_t"))
        try:
            if isinstance(value, bool):
                raise TypeError
            number = index(value)  # type: ignore[arg-type]
        except TypeError:
            raise CmsisnnError(f"{self.function}: {name}: expected an int, got {value!r}") from None
        if not low <= number <= high:
            raise CmsisnnError(f"{self.function}: {name}: expected {low}..{high} ({c_type} in C), got {number}")
        return number

    def _array(self, name: str, value: object) -> NDArray[Any]:
        expected = self.prototype[name]
        if not isinstance(value, np.ndarray):
            raise DtypeError(
                f"{self.function}: {name}: expected a NumPy {expected.dtype} array, got {type(value).__name__}"
            )
        if value.dtype != expected.dtype:
            raise DtypeError(f"{self.function}: {name}: expected {expected.dtype} elements, got {value.dtype}")
        if expected.role == "output" and not value.flags.writeable:
            raise CmsisnnError(f"{self.function}: {name}: expected a writable array, got a read-only one; pass a copy")
        return value

    def has_legal_shifts(self) -> bool:
        """Whether both shifts lie in 0..31, beyond which the meaning of a layer is undefined and the core's is not."""
        return max(self.numbers["bias_shift"], self.numbers["out_shift"]) <= 31

    def needed(self, name: str) -> int:
        """Number of elements that the dimensions of the call require of an array."""
        return prod(self.numbers[size] if isinstance(size, str) else size for size in self.prototype[name].shape)

    def check_sizes(self) -> None:
        """Raise `ShapeError` for an array that is too small; a larger one is fine, as in C."""
        for name, array in self.arrays.items():
            needed = self.needed(name)
            if array.size < needed:
                terms = " x ".join(
                    f"{size}={self.numbers[size]}" if isinstance(size, str) else str(size)
                    for size in self.prototype[name].shape
                )
                raise ShapeError(
                    f"{self.function}: {name}: expected at least {needed} elements ({terms}), got {array.size}"
                )

    def read(self, name: str) -> NDArray[Any]:
        """The elements that the call uses, flat and contiguous; a view where possible."""
        return np.require(self.arrays[name], requirements=("C", "ALIGNED")).reshape(-1)[: self.needed(name)]

    def write(self, name: str, values: NDArray[Any]) -> None:
        """Store the first elements of an array and leave the rest alone."""
        array = self.arrays[name]
        if not array.flags.writeable:
            raise CmsisnnError(
                f"{self.function}: {name}: is overwritten, expected a writable array, got a read-only one; pass a copy"
            )
        # Assigning through `flat` reaches every layout, and is an order of magnitude slower.
        target = array.reshape(-1) if array.flags.c_contiguous else array.flat
        target[: values.size] = values


def left_shift(values: NDArray[Any] | int, count: int) -> NDArray[np.int32]:
    """LSL by register: the low byte of the count counts, 32 and more shift everything out."""
    count &= 255
    wide = np.asarray(values, dtype=np.int64) << count if count < 32 else np.zeros_like(values, dtype=np.int64)
    return wide.astype(np.uint32).view(np.int32)


def right_shift(values: NDArray[np.int32] | np.int32, count: int) -> NDArray[np.int32]:
    """ASR by register: the low byte of the count counts, 32 and more leave the sign."""
    shifted: NDArray[np.int32] = np.asarray(values) >> np.int32(min(count & 255, 31))
    return shifted


def rounding(out_shift: int) -> NDArray[np.int32]:
    """NN_ROUND of 5.4.0, 1 << (out_shift - 1); LSL by -1 = 255 gives 0."""
    return left_shift(1, out_shift - 1)


def start_values(bias: NDArray[Any], bias_shift: int, out_shift: int) -> NDArray[np.int32]:
    """(bias << bias_shift) + round(out_shift)  modulo 2^32"""
    start: NDArray[np.int32] = left_shift(bias, bias_shift) + rounding(out_shift)
    return start


def saturate(values: NDArray[np.int32], dtype: np.dtype[Any]) -> NDArray[Any]:
    """SSAT to the width of `dtype`"""
    limits = np.iinfo(dtype)
    return np.clip(values, limits.min, limits.max).astype(dtype)
