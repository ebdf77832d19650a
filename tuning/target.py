# SPDX-License-Identifier: Apache-2.0
"""Targets: a core with its instruction timing, or a board that inherits one and adds clock, memories and wait states."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

CORES = ("cortex-m0plus", "cortex-m3", "cortex-m4", "cortex-m7", "cortex-m33")


@dataclass(frozen=True)
class Target:
    """A core or a board. A bare core has zero wait states and no clock, memories or energy figures.

    `timing` maps an instruction class to cycles; `sources` maps each number's key to where it comes from.
    """

    name: str
    core: str
    dsp: bool
    fpu: bool
    timing: Mapping[str, float]
    clock_hz: int | None = None
    sram_bytes: int | None = None
    flash_bytes: int | None = None
    flash_wait_states: int = 0
    flash_line_bytes: int = 0
    supply_volts: float | None = None
    run_microamps_per_mhz: float | None = None
    sources: Mapping[str, str] = field(default_factory=dict)
