# SPDX-License-Identifier: Apache-2.0
"""Cycles, scratch and flash of a layer under a variant, from its instruction mix and the target's timing: no
compiler, no I/O.
"""

from .base import Estimate, Estimates, estimate, estimate_space, expected_error, has_unaligned
from .features import TERMS

__all__ = ["TERMS", "Estimate", "Estimates", "estimate", "estimate_space", "expected_error", "has_unaligned"]
