# SPDX-License-Identifier: Apache-2.0
"""Networks that run a few rows at a time: the least SRAM, and the cycles that a budget costs."""

from __future__ import annotations

import tempfile
from pathlib import Path

from .bench_int8 import load

BUDGETS = {"image_classification": 26_000, "keyword_spotting": 10_500, "person_detection": 44_000}
"""Bytes, the caller's input and output included."""
TARGET = "cortex-m4"


class Chains:
    params = tuple(BUDGETS)
    param_names = ("network",)
    timeout = 600

    def setup(self, network: str) -> None:
        import tuning

        self.model, self.target = load(network), tuning.load_target(TARGET)

    def track_least_sram(self, network: str) -> int:
        import tuning

        return tuning.tune(self.model, self.target, objective="sram").totals["sram_bytes"]

    track_least_sram.unit = "bytes"

    def time_tune(self, network: str) -> None:
        import tuning

        tuning.tune(self.model, self.target, sram_bytes=BUDGETS[network])

    def track_slowdown(self, network: str) -> float:
        """Emulated cycles within the budget, against those without one."""
        import tuning
        from tuning.emulate import find_toolchain
        from tuning.measure import folder

        cycles = []
        for budget in (BUDGETS[network], None):
            with tempfile.TemporaryDirectory() as name:
                tuning.emit(tuning.tune(self.model, self.target, sram_bytes=budget), name)
                firmware = folder.load(Path(name))
                result = folder.verify(firmware, find_toolchain(), folder.draw_inputs(firmware, 1))
            if not result.exact:
                return float("nan")
            cycles.append(result.trace.cycles)
        return 100 * (cycles[0] / cycles[1] - 1)

    track_slowdown.unit = "%"
