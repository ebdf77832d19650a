# SPDX-License-Identifier: Apache-2.0
"""Fixed-point formats: an integer with `f` fraction bits stands for ``integer / 2**f``."""

from __future__ import annotations

from math import floor, frexp, ldexp

import numpy as np

from cmsisnn_x.scheme import POW2_TYPES

BITS = {name: item.bits for name, item in POW2_TYPES.items()}
LARGEST_FRACTION = 40
"""Beyond it a tensor is zero for every practical purpose; shifts end at 31 anyway."""


def to_integers(values: np.ndarray, fraction: int, dtype: np.dtype) -> np.ndarray:
    """``clamp(floor(values * 2**fraction + 1/2))``, the rounding of the kernels."""
    info = np.iinfo(dtype)
    scaled = np.floor(np.ldexp(np.asarray(values, np.float64), fraction) + 0.5)
    return np.clip(scaled, info.min, info.max).astype(dtype)


def fitting_fraction(values: np.ndarray, bits: int) -> int:
    """The most fraction bits with which no element of `values` saturates.

    >>> fitting_fraction(np.array([0.9, -1.0]), 8)
    7
    >>> fitting_fraction(np.array([0.9, 1.0]), 8)
    6
    """
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
    peak = max(-low, high)
    if peak == 0:
        return bits - 1
    fraction = min(bits - frexp(peak)[1], LARGEST_FRACTION)
    top = 2 ** (bits - 1)
    while floor(ldexp(high, fraction) + 0.5) > top - 1 or floor(ldexp(low, fraction) + 0.5) < -top:
        fraction -= 1
    return fraction


def spell(fraction: int, bits: int) -> str:
    """A format as Arm writes it: Qm.n with m integer bits, the sign not counted.

    >>> spell(6, 8), spell(9, 8), spell(12, 16)
    ('Q1.6', 'Q-2.9', 'Q3.12')
    """
    return f"Q{bits - 1 - fraction}.{fraction}"
