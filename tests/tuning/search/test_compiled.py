# SPDX-License-Identifier: Apache-2.0
"""A flash budget that binds: plans are compiled until one fits; else nothing is compiled."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import pytest

import tuning
from tuning.base.errors import InfeasibleError, OptionError
from tuning.cli.terminal import flash_note
from tuning.measure import firmware
from tuning.measure.firmware import Compiled, compile_plan, compiler_of
from tuning.plan import Plan
from tuning.plan.file import read_plan_file
from tuning.search.compiled import ROUNDS

MODEL, TARGET = tuning.load_model("digits"), tuning.load_target("cortex-m4")
OTHER = 240
"""Bytes of a network that are no layer's, as `Stranger` has it."""


def variants(plan: Plan) -> list[object]:
    return [item.variant for item in plan.layers]


class Stranger:
    """A compiler of which nobody knows what it makes: of a kernel from half to twice what is likely."""

    kind, version = "gcc", "a stranger"

    def __init__(self) -> None:
        self.made: list[tuple[Plan, int]] = []

    def __call__(self, plan: Plan, toolchain: object) -> Compiled:
        assert toolchain is self
        code, weights = [], 0
        for item, table in zip(plan.layers, plan.tables, strict=True):
            row = table.variants.index(item.variant)
            share = zlib.crc32(f"{item.layer.name} {item.variant}".encode()) % 1000 / 1000
            code.append(0 if item.fused_into else round(int(table.code_bytes[row]) * 4**share / 2))
            weights += 0 if item.fused_into else int(table.weights_bytes[row])
        self.made.append((plan, weights + sum(code) + OTHER))
        return Compiled(self.made[-1][1], tuple(code))

    def bytes_of(self, plan: Plan) -> int:
        """What it made of a plan's variants."""
        return next(made for one, made in self.made if variants(one) == variants(plan))


@pytest.fixture
def stranger(monkeypatch: pytest.MonkeyPatch) -> Stranger:
    """In the place of all compilers."""
    found = Stranger()
    monkeypatch.setattr(firmware, "compile_plan", found)
    monkeypatch.setattr(firmware, "compiler_of", lambda *_: found)
    return found


def within(budget: int, objective: str) -> tuple[Plan, int]:
    """A plan within a budget, or within the one that a refusal names; and that budget."""
    try:
        return tuning.tune(MODEL, TARGET, flash_bytes=budget, objective=objective), budget
    except InfeasibleError as refused:
        least = refused.smallest["flash"]
    return tuning.tune(MODEL, TARGET, flash_bytes=least, objective=objective), least


def test_nothing_is_compiled_where_no_budget_of_flash_binds(stranger: Stranger) -> None:
    free = tuning.tune(MODEL, TARGET)
    ample = tuning.tune(MODEL, TARGET, flash_bytes=int(free.totals["flash_bytes"] * 1.3))
    assert variants(ample) == variants(free)
    assert ample.flash_compiled_by is None
    tuning.tune(MODEL, TARGET, objective="flash")
    tuning.tune(MODEL, TARGET, sram_bytes=free.totals["sram_bytes"] - 1)
    without = tuning.tune(MODEL, TARGET, flash_bytes=free.totals["flash_bytes"] - 1, compiled=False)
    assert (without.flash_compiled_by, without.is_flash_short) == (None, True)
    assert not stranger.made


@pytest.mark.parametrize(
    ("objective", "budget"),
    [("latency", 6000), ("latency", 12000), ("sram", 7500), ("flash", 5500), ("balanced", 6000)],
)
def test_a_plan_is_what_was_compiled_and_fits(budget: int, objective: str, stranger: Stranger) -> None:
    plan, allowed = within(budget, objective)
    assert allowed >= budget
    made = stranger.bytes_of(plan)
    assert plan.totals["flash_bytes"] == plan.totals["likely_flash_bytes"] == made <= allowed
    assert plan.totals["flash_bytes"] == sum(item.flash_bytes for item in plan.layers) + OTHER
    assert plan.flash_compiled_by == "gcc: a stranger"
    assert len(stranger.made) <= 6 * ROUNDS + 1
    again = tuning.tune(MODEL, TARGET, flash_bytes=allowed, objective=objective)
    assert again.to_json() == plan.to_json()


def test_what_is_seen_of_kernels_leads_to_faster_plans(stranger: Stranger) -> None:
    """The best of what was compiled, and better than the bound by estimate allows."""
    budget = 9000
    plan = tuning.tune(MODEL, TARGET, flash_bytes=budget)
    fitting = [one for one, made in stranger.made if made <= budget]
    assert plan.totals["cycles"] == min(one.totals["cycles"] for one in fitting)
    assert plan.totals["cycles"] < tuning.tune(MODEL, TARGET, flash_bytes=budget, compiled=False).totals["cycles"]


def test_a_plan_of_a_real_compiler_says_so(tmp_path: Path) -> None:
    plan = tuning.tune(MODEL, TARGET, flash_bytes=9000)
    toolchain = compiler_of("cortex-m4", "gcc")
    assert toolchain is not None
    made = compile_plan(plan, toolchain)
    assert plan.totals["flash_bytes"] == made.flash_bytes <= 9000
    assert all((code > 0) == (item.fused_into is None) for code, item in zip(made.code_bytes, plan.layers, strict=True))
    assert plan.flash_compiled_by == f"{toolchain.kind}: {toolchain.version}"
    assert flash_note(plan) == f", as compiled by {plan.flash_compiled_by}"
    path = tmp_path / "plan.json"
    plan.save(path)
    assert read_plan_file(path).content["flash_compiled_by"] == plan.flash_compiled_by
    path.write_text(json.dumps(json.loads(plan.to_json()) | {"flash_compiled_by": "two\nlines"}), encoding="utf-8")
    with pytest.raises(OptionError, match="flash_compiled_by: expected a line"):
        read_plan_file(path)


def test_without_a_compiler_an_estimate_is_called_one(monkeypatch: pytest.MonkeyPatch) -> None:
    from tuning.emulate import toolchain

    monkeypatch.setattr(toolchain.shutil, "which", lambda name: None)
    monkeypatch.setattr(toolchain.util, "find_spec", lambda name: None)
    toolchain.find_toolchain.cache_clear()
    try:
        plan = tuning.tune(MODEL, TARGET, flash_bytes=9000)
    finally:
        toolchain.find_toolchain.cache_clear()
    totals = plan.totals
    assert plan.flash_compiled_by is None
    assert totals["likely_flash_bytes"] < totals["flash_bytes"] <= 9000
    error = f"{(totals['flash_bytes'] / totals['likely_flash_bytes'] - 1) * 100:.0f} %"
    note = flash_note(plan)
    assert "estimated" in note
    assert f"likely {totals['likely_flash_bytes']:,} in all, within {error}" in note
