# SPDX-License-Identifier: Apache-2.0
"""Checks that the functions of this package share, and the run of a single step."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import _arguments as check
from .._executor import Executor
from ..affine import MULTIPLIER_MAX, ROUNDINGS, SHIFTS, Affine
from ..errors import CmsisnnError, DtypeError, ShapeError, ShiftError
from ..scheme import TENSOR_TYPES

INT8, UINT8, INT16 = (TENSOR_TYPES[name].dtype for name in ("int8", "uint8", "int16"))
ARITHMETICS = ("tflm", "litert")
CHANNELS_TEXT = "an integer, or one per output channel"


def array_of(name: str, value: object, *dtypes: np.dtype) -> np.ndarray:
    legal = " or ".join(map(str, dtypes))
    try:
        array = np.asarray(value)
    except Exception as error:
        raise DtypeError(f"{name}: expected an array of {legal}, got {reprlib.repr(value)}") from error
    if array.dtype not in dtypes:
        raise DtypeError(f"{name}: expected dtype {legal}, got {array.dtype}")
    return array


def two_arrays(a: object, b: object) -> tuple[np.ndarray, np.ndarray]:
    left = array_of("a", a, INT8, INT16)
    return left, array_of("b", b, left.dtype)


def bias_of(value: object, dtype: np.dtype, channels: int) -> np.ndarray | None:
    if value is None:
        return None
    own = np.dtype(np.int32 if dtype == INT8 else np.int64)
    return check.sized("bias", array_of("bias", value, own), (channels,), "(output channels,)")


def scale_of(name: str, value: object) -> float:
    if not isinstance(value, int | float | np.number) or not 0 < float(value) < float("inf"):
        raise CmsisnnError(f"{name}: expected a positive number, got {reprlib.repr(value)}")
    return float(np.float32(value))


def limits(dtype: np.dtype, given: tuple[int | None, int | None]) -> tuple[int, int]:
    own = TENSOR_TYPES[str(dtype)]
    low, high = (
        end if one is None else check.integer(name, one, own.low, own.high, CmsisnnError)
        for name, one, end in zip(("activation_min", "activation_max"), given, (own.low, own.high), strict=True)
    )
    if low > high:
        raise CmsisnnError(f"activation_min: expected at most activation_max, {high}, got {low}")
    return low, high


def zero_points(source: np.dtype, result: np.dtype, *given: int) -> tuple[int, ...]:
    """Of the input, and of the output if it is given; those of int16 are 0."""
    found = []
    for name, dtype, value in zip(("input_zero_point", "output_zero_point"), (source, result), given, strict=False):
        own = TENSOR_TYPES[str(dtype)]
        low, high = (0, 0) if dtype == INT16 else (own.low, own.high)
        found.append(check.integer(name, value, low, high, CmsisnnError))
    return tuple(found)


def pair_of_points(dtype: np.dtype, inputs: tuple[int, int], output: int) -> tuple[int, int, int]:
    left, right = inputs
    first, last = zero_points(dtype, dtype, left, output)
    return first, zero_points(dtype, dtype, right)[0], last


def one_factor(multiplier: object, shift: object) -> tuple[int, int]:
    return (
        check.integer("multiplier", multiplier, 0, MULTIPLIER_MAX, CmsisnnError),
        check.integer("shift", shift, *SHIFTS, ShiftError),
    )


def per_channel(name: str, value: object, low: int, high: int, channels: int) -> tuple[int, ...]:
    array = np.asarray(value)
    if array.dtype.kind not in "iu" or array.shape not in ((), (1,), (channels,)):
        raise ShapeError(f"{name}: expected {CHANNELS_TEXT}, {channels}, got {reprlib.repr(value)}")
    if array.size and not low <= int(array.min()) <= int(array.max()) <= high:
        raise ShiftError(f"{name}: expected {low}..{high}, got {reprlib.repr(value)}")
    return tuple(array.reshape(-1).tolist())


def affine_of(dtype, channels, input_zero_point, output_zero_point, multiplier, shift, ends, rounding, real) -> Affine:
    points = zero_points(dtype, dtype, input_zero_point, output_zero_point)
    bits = 8 * dtype.itemsize
    multipliers = per_channel("multiplier", multiplier, 0, MULTIPLIER_MAX, channels)
    # 15 - shift is what 16 bits shift by.
    shifts = per_channel("shift", shift, SHIFTS[0], 14 if bits == 16 else SHIFTS[1], channels)
    longest = max(len(multipliers), len(shifts))
    multipliers, shifts = (one * longest if len(one) == 1 else one for one in (multipliers, shifts))
    check.one_of("rounding", rounding, ROUNDINGS)
    reals: tuple[float, ...] = ()
    if (rounding == "float") != (real is not None):
        raise CmsisnnError(f"real: expected factors where rounding is 'float', and there only, got {real!r}")
    if real is not None:
        array = np.asarray(real, np.float64)
        if array.shape not in ((), (1,), (channels,)) or not np.isfinite(array).all() or (array < 0).any():
            raise CmsisnnError(f"real: expected a factor, or one per output channel, got {reprlib.repr(real)}")
        reals = tuple(array.reshape(-1).tolist())
    return Affine(points[0], points[1], multipliers, shifts, *limits(dtype, ends), rounding, reals, bits)


def run_once(append: Callable[[Any], None], inputs: Sequence[np.ndarray], result: np.ndarray) -> None:
    """Run a network of one step."""
    executor = Executor()
    append(executor)
    places = [("input", number) for number in range(len(inputs))]
    sizes = [array.nbytes for array in inputs]
    executor.connect(places, ("output", 0), sizes, result.nbytes)
    executor.finish(sizes, [result.nbytes], 0)
    executor.run(inputs, [result], 1)
