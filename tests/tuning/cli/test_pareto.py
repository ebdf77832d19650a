# SPDX-License-Identifier: Apache-2.0
"""Frontiers as the terminal shows them."""

from __future__ import annotations

from dataclasses import replace

import pytest

import tuning
from tuning.cli.pareto import print_pareto
from tuning.load import load_model
from tuning.target import load_target

pytestmark = pytest.mark.emulated
MODEL, TARGET, TRIALS_HERE = "digits", "cortex-m7", 4


def test_frontiers_say_why_a_plan_is_not_on_them(capsys: pytest.CaptureFixture[str]) -> None:
    plan = tuning.tune(load_model(MODEL), load_target(TARGET), pareto=True)
    slower = replace(plan, totals=plan.totals | {"cycles": plan.totals["cycles"] + 1})
    print_pareto(plan, no_color=True)
    assert "<- this plan" in (said := capsys.readouterr().out)
    assert "none of them" not in said
    print_pareto(slower, no_color=True)
    assert "This plan is none of them" in capsys.readouterr().out
