# SPDX-License-Identifier: Apache-2.0
"""Real numbers as multipliers of 31 bits and shifts, and what kernels make of them."""

from __future__ import annotations

from math import frexp

import numpy as np

from ..errors import CmsisnnError
from ..scheme import TENSOR_TYPES, wrapped

MULTIPLIER_MAX = 2**31 - 1
SHIFTS = (-31, 30)
"""Least and largest shift of a multiplier; positive is to the left."""
ROUNDINGS = ("double", "float")
"""How an accumulator becomes an output: in fixed point with two roundings, or as LiteRT's fully connected layers do,
by a product of double precision.
"""


def quantize_multiplier(real: float) -> tuple[int, int]:
    """A factor as a multiplier and a shift: ``real = multiplier * 2^(shift - 31)``, nearly.

    Parameters
    ----------
    real : float
        0 or more, finite.

    Returns
    -------
    (int, int)
        The multiplier, 2^30 .. 2^31 - 1 (0 for factors below 2^-32), and the shift, positive to the left.

    Raises
    ------
    CmsisnnError
        `real` is negative, infinite or no number.

    Examples
    --------
    >>> quantize_multiplier(0.25)
    (1073741824, -1)
    """
    if not 0 <= real < float("inf"):
        raise CmsisnnError(f"real: expected a finite factor of at least 0, got {real!r}")
    fraction, shift = frexp(real)
    multiplier = int(fraction * 2**31 + 0.5)
    if multiplier == 2**31:
        multiplier, shift = 2**30, shift + 1
    return (multiplier, shift) if multiplier and shift >= -31 else (0, 0)


def kernel_multiplier(real: float) -> tuple[int, int]:
    """As :func:`quantize_multiplier`, of a factor that is not too large for kernels: a `CmsisnnError` where it is."""
    multiplier, shift = quantize_multiplier(real)
    if shift > SHIFTS[1]:
        raise CmsisnnError(f"real: expected a factor below 2^{SHIFTS[1]}, got {real:g}")
    return multiplier, shift


def high_multiply(a: np.ndarray, b: np.ndarray | int) -> np.ndarray:
    """H of the documentation: ``(a b + 2^30) >> 31``, and 2^31 - 1 for both at -2^31; int64."""
    return np.minimum((np.asarray(a, np.int64) * b + 2**30) >> 31, MULTIPLIER_MAX)


def rounding_divide(x: np.ndarray, exponent: np.ndarray | int) -> np.ndarray:
    """D of the documentation: ``x / 2^exponent``, halves away from zero; int64."""
    x, exponent = np.asarray(x, np.int64), np.asarray(exponent, np.int64)
    mask = (np.int64(1) << exponent) - 1
    return (x >> exponent) + ((x & mask) > (mask >> 1) + (x < 0))


def rescale(x: np.ndarray, multiplier: np.ndarray | int, shift: np.ndarray | int) -> np.ndarray:
    """``x * multiplier * 2^(shift - 31)`` with two roundings, as kernels do it in 32 bits; int64."""
    left, right = np.maximum(shift, 0), np.maximum(np.negative(shift), 0)
    return rounding_divide(high_multiply(wrapped(np.asarray(x, np.int64) << left), multiplier), right)


def activation_range(activation: str | None, dtype: str, scale: float, zero_point: int) -> tuple[int, int]:
    """The integers that a fused activation leaves of an output.

    Parameters
    ----------
    activation : {None, "relu", "relu6", "relu_n1_to_1"}
    dtype : str
        Of the output: int8, uint8 or int16.
    scale : float
        Of the output, float32 in the file.
    zero_point : int

    Returns
    -------
    (int, int)
        Least and largest.

    Raises
    ------
    CmsisnnError
        The scale is so small that a limit does not fit 32 bits.
    """
    own = TENSOR_TYPES[dtype]

    def at(real: float) -> int:
        quotient = real / float(np.float32(scale))
        if abs(quotient) >= 2**31:
            raise CmsisnnError(f"scale: expected one at which {real} is less than 2^31 steps, got {scale:g}")
        quotient = float(np.float32(real) / np.float32(scale))
        return zero_point + int(np.floor(abs(quotient) + 0.5)) * (1 if quotient >= 0 else -1)

    low, high = own.low, own.high
    if activation in ("relu", "relu6"):
        low = zero_point
    if activation == "relu6":
        high = at(6)
    if activation == "relu_n1_to_1":
        low, high = at(-1), at(1)
    return max(own.low, low), min(own.high, high)
