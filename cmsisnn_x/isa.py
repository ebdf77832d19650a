# SPDX-License-Identifier: Apache-2.0
"""What instructions a Cortex-M has, as far as kernels differ by it: a ladder, each step with all of those below."""

from __future__ import annotations

from enum import IntEnum


class Isa(IntEnum):
    """Instruction sets, ascending: ``core.isa >= Isa.DSP`` asks for a feature, never a core's name.

    Attributes
    ----------
    SCALAR
        Thumb without parallel arithmetic: Cortex-M0+, M3.
    DSP
        SMLAD and its like: Cortex-M4, M7, and M33 with the extension.
    """

    SCALAR = 0
    DSP = 1
