# SPDX-License-Identifier: Apache-2.0
"""What a Cortex-M can do, as far as kernels differ by it. Nothing that chooses a kernel asks for a core's name."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Isa(IntEnum):
    """Instruction sets, ascending, each with all below it: ``features.isa >= Isa.DSP``.

    Attributes
    ----------
    SCALAR
        Thumb without parallel arithmetic: Cortex-M0+, M3.
    DSP
        SMLAD and its like: Cortex-M4, M7, and M33 with the extension.
    HELIUM
        Integer vectors of 128 bits (MVE): Cortex-M52, M55, M85.
    """

    SCALAR = 0
    DSP = 1
    HELIUM = 2


@dataclass(frozen=True)
class Features:
    """What kernels, their search and their prices know of a core.

    Attributes
    ----------
    isa : Isa
    unaligned : bool
        Whether words and half words may be read at any address.
    schedule : str or None
        What assembly is scheduled for, to be the fastest there: ``"v6m"`` (twelve low registers in use), ``"v7m"``
        (scalar, single issue), ``"single"`` or ``"dual"`` issue with the DSP extension, ``"helium"`` (vectors, and no
        assembly without). None: take all schedules, which are right everywhere that they build.
    """

    isa: Isa
    unaligned: bool = True
    schedule: str | None = None
