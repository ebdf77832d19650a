# SPDX-License-Identifier: Apache-2.0
"""Cycles, scratch and flash of a layer under a variant, from its instruction mix and the target's timing: no
compiler, no I/O.
"""

from .estimate import estimate, estimate_space, expected_error, fitted_compiler, is_guess
from .table import TERMS, Estimate, Estimates

__all__ = [
    "TERMS",
    "Estimate",
    "Estimates",
    "estimate",
    "estimate_space",
    "expected_error",
    "fitted_compiler",
    "is_guess",
]
