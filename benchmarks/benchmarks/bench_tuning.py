# SPDX-License-Identifier: Apache-2.0
"""What the tuner promises for the paper's network, and how long it takes to say so."""

from __future__ import annotations


class Cifar10:
    params = ("cortex-m4", "cortex-m7")
    param_names = ("target",)

    def setup(self, target: str) -> None:
        import tuning

        self.model, self.target = tuning.load_model("cifar10"), tuning.load_target(target)

    def track_cycles(self, target: str) -> float:
        """Estimated cycles of one inference with the chosen variants."""
        import tuning

        return tuning.tune(self.model, self.target).totals["cycles"]

    track_cycles.unit = "cycles"

    def time_tune(self, target: str) -> None:
        import tuning

        tuning.tune(self.model, self.target)
