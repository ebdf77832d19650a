# SPDX-License-Identifier: Apache-2.0
"""The emulated search: what it emulates, inside which budgets, and what its frontiers are made of."""

from __future__ import annotations

import shutil
from math import prod
from pathlib import Path

import pytest

import tuning
from helpers.samples import one_in
from tuning.load import load_model
from tuning.plan.problem import Problem
from tuning.search.options import network_options
from tuning.search.space import places
from tuning.target import load_target

pytestmark = pytest.mark.emulated
MODEL, TARGET, TRIALS_HERE = "digits", "cortex-m7", 6


@pytest.fixture
def records(alone: tuple[str, Path], tmp_path: Path) -> Path:
    """What that search emulated, for searches that add to it: other tests count on it as it is."""
    return Path(shutil.copy(alone[1], tmp_path / "records.sqlite"))


@pytest.mark.parametrize(
    "options",
    one_in(
        2, [{}, {"objective": "balanced"}, {"flash_bytes": 12_000}, {"strategy": "random"}, {"surrogate": "forest"}]
    ),
)
def test_the_emulated_plan_contains_the_estimates_plan(
    options: dict[str, object], records: Path
) -> None:
    """By construction it is never slower than that: the estimate's choice of every layer is emulated, and first."""
    model, target = load_model(MODEL), load_target(TARGET)
    if "flash_bytes" in options:
        sizes = [tuning.tune(model, target, objective=name).totals["flash_bytes"] for name in ("flash", "latency")]
        options = {"flash_bytes": sum(sizes) // 2}
    estimated = tuning.tune(model, target, **{k: v for k, v in options.items() if k not in ("strategy", "surrogate")})
    events: list[dict[str, object]] = []
    plan = tuning.tune(model, target, score="emulate", trials=2, records=records, progress=events.append, **options)
    where = places(plan.graph, plan.target.features)
    problem = Problem([network_options(place, t) for place, t in zip(where, plan.tables, strict=True)])
    rows = []
    for guess, table in zip(estimated.layers, plan.tables, strict=True):
        assert guess.variant in table.variants
        rows.append(table.variants.index(guess.variant))
    assert plan.cycles_are == "emulated"
    choice = problem.choice_of_layers(rows)
    budget = options.get("flash_bytes")
    if options.get("objective") == "balanced":
        sizes = ("cycles", "sram_bytes", "flash_bytes")
        assert prod(plan.totals[key] for key in sizes) <= choice.cycles * choice.sram_bytes * choice.flash_bytes
    elif budget is None or choice.flash_bytes <= budget:  # kernels may be larger than estimated
        assert plan.totals["cycles"] <= choice.cycles


def test_candidates_stay_within_the_sram_budget(records: Path) -> None:
    model, target = load_model(MODEL), load_target(TARGET)
    tight = tuning.tune(model, target, objective="sram")
    sram = tight.totals["sram_bytes"]
    plan = tuning.tune(model, target, score="emulate", trials=2, sram_bytes=sram, records=records)
    assert plan.totals["sram_bytes"] <= sram
    with pytest.raises(tuning.InfeasibleError):  # before anything is compiled
        tuning.tune(model, target, score="emulate", sram_bytes=sram - 1, records="/nonexistent/records.sqlite")


@pytest.mark.full
def test_frontiers_are_made_of_emulated_cycles(records: Path) -> None:
    """What the estimate's frontier uses is emulated with the rest, so that small plans are among the points."""
    model, target = load_model(MODEL), load_target(TARGET)
    guess = tuning.tune(model, target, pareto=True)
    plan = tuning.tune(model, target, score="emulate", trials=TRIALS_HERE, pareto=True, records=records)
    assert plan.pareto is not None
    assert guess.pareto is not None
    assert plan.cycles_are == "emulated"
    for memory in ("sram", "flash"):
        assert plan.pareto[memory][-1]["cycles"] == plan.totals["cycles"]
        assert len(plan.pareto[memory]) > 1
    small = plan.pareto["sram"][0]
    assert small["sram_bytes"] < plan.totals["sram_bytes"]
    tight = tuning.tune(
        model, target, score="emulate", trials=TRIALS_HERE, sram_bytes=small["sram_bytes"], records=records
    )
    assert tight.totals["cycles"] <= small["cycles"]
    assert tight.totals["sram_bytes"] <= small["sram_bytes"]
