# SPDX-License-Identifier: Apache-2.0
"""How much slower than the best kernel is what a search finds? Replayed from recorded evaluations."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np

_SCRIPT = Path(__file__).resolve().parents[1] / "search_replay.py"


def _replay():
    spec = importlib.util.spec_from_file_location("search_replay", _SCRIPT)
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


class Search:
    """Median regret over 21 seeds after 8 evaluations, mean over six layers on two cores."""

    params = (("random", "forest", "gp"), ("unfitted", "none"))
    param_names = ("strategy", "estimate")
    timeout = 1800
    number = 1
    EVALUATIONS = 8

    def track_regret(self, strategy: str, prior: str) -> float:
        """Per cent above the fastest variant there is; without an estimate the learners start from random variants."""
        replay = _replay()
        if strategy == "random":
            prior = "none"
        found = replay.medians(strategy, prior, replay.SEEDS, (self.EVALUATIONS,))
        return float(np.mean(list(found.values())) * 100)

    track_regret.unit = "%"
