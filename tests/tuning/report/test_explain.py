# SPDX-License-Identifier: Apache-2.0
"""--explain: every figure that it gives is what the cost model and the planner say."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

import tuning
from cmsisnn_x import Variant
from cmsisnn_x.layers import Layer
from helpers.commands import run_tune
from tuning.base.console import _Terminal, least_width, make_table
from tuning.base.errors import OptionError
from tuning.cli.explain import bottleneck_text, lost_text, print_explanation
from tuning.cli.terminal import print_plan
from tuning.cost import TERMS, Estimate, estimate, expected_error
from tuning.cost.fitted import Coefficients
from tuning.plan import Plan
from tuning.report.explain import error_bar, explain, knobs_of, multiplier_limit, network_error_bar
from tuning.search.space import places


@cache
def tuned(target: str = "cortex-m4", objective: str = "latency", sram: int | None = None, flash: int | None = None):
    model = tuning.load_model("cifar10")
    budgets = {"sram_bytes": sram, "flash_bytes": flash}
    return tuning.tune(model, tuning.load_target(target), objective=objective, compiled=False, **budgets)


def layer_named(plan: Plan, name: str):
    return next(item for item in plan.layers if item.layer.name == name)


def estimate_row(plan: Plan, layer: Layer, variant: Variant | None) -> Estimate:
    """The estimate of a variant where the layer stands."""
    place = next(place for place in places(plan.graph, plan.target.features) if place.layer is layer)
    return estimate(layer, variant, plan.target, place.follower)


@pytest.mark.parametrize("name", ["conv1", "pool1", "fc1", "prob"])
def test_terms_are_the_plans_and_add_up(name: str) -> None:
    plan = tuned()
    found = explain(plan, name)
    item = layer_named(plan, name)
    assert {term.name: term.cycles for term in found.terms} == {k: v for k, v in item.terms.items() if v}
    assert sum(term.cycles for term in found.terms) == item.cycles
    assert sum(term.share for term in found.terms) == pytest.approx(1)
    assert found.bottleneck.cycles == max(item.terms.values())
    if item.layer.macs:
        assert sum(term.per_mac or 0 for term in found.terms) == pytest.approx(item.cycles / item.layer.macs)
    else:
        assert {term.per_mac for term in found.terms} == {None}


def test_the_runner_up_is_the_plans_and_its_loss_is_accounted_for() -> None:
    plan = tuned()
    found = explain(plan, "conv2")
    other, item = found.runner_up, layer_named(plan, "conv2")
    assert other is not None
    assert item.runner_up is not None
    chosen = found.chosen
    assert chosen is not None
    assert other.cycles - chosen.cycles == item.runner_up["cycles"] - item.cycles
    assert sum(other.terms.values()) == other.cycles
    assert sum(chosen.terms.values()) == chosen.cycles
    assert other.change == pytest.approx(other.cycles / chosen.cycles - 1)
    largest = max(TERMS, key=lambda name: other.terms[name] - chosen.terms[name])
    assert f"cycles in {largest}" in lost_text(found)
    assert f"by {other.change * 100:.1f} %" in lost_text(found)


@pytest.mark.parametrize(("target", "name"), [("cortex-m4", "conv1"), ("cortex-m7", "fc1"), ("cortex-m0plus", "conv2")])
def test_neighbours_cost_what_the_model_says_and_name_every_change(target: str, name: str) -> None:
    plan = tuned(target)
    found = explain(plan, name)
    chosen = found.item.variant
    assert chosen is not None
    assert {item.knob for item in found.neighbours} >= {"block", "unroll"}
    for item in found.neighbours:
        candidate = item.candidate
        said = estimate_row(plan, found.item.layer, candidate.variant)
        pool = layer_named(plan, found.pool).cycles if found.pool and not candidate.variant.fused_pool else 0
        assert (candidate.cycles - pool, candidate.scratch_bytes) == (said.cycles, said.scratch_bytes)
        assert candidate.change >= 0  # without budgets nothing is faster than the choice
        assert item.value == str(knobs_of(candidate.variant)[item.knob]) != str(knobs_of(chosen).get(item.knob))
        mine = knobs_of(chosen) | item.also | {item.knob: knobs_of(candidate.variant)[item.knob]}
        # Columns to hold come and go with the lowering, and may follow the block.
        for knob, value in knobs_of(candidate.variant).items():
            assert mine.get(knob, value) == value or knob == "im2col_cols"


@pytest.mark.parametrize(
    ("sram", "flash"), [(None, 128 << 10), pytest.param(40 << 10, 96 << 10, marks=pytest.mark.full)]
)
def test_a_budget_of_the_size_that_it_names_gives_what_it_promises(sram: int | None, flash: int) -> None:
    plan = tuned(flash=flash, sram=sram and max(sram, tuned(objective="sram").totals["sram_bytes"]))
    for name in ("conv1", "conv2", "conv3"):
        found = explain(plan, name)
        for item in found.unlocked:
            assert item.change < 0
            assert item.over
            budget = {key: (plan.budget[key] or 0) + more for key, more in item.over.items()}
            assert budget.get("flash", item.flash_total) == item.flash_total
            richer = tuned(
                sram=budget.get("sram", plan.budget["sram"]), flash=budget.get("flash", plan.budget["flash"])
            )
            assert found.chosen is not None
            saved = found.chosen.cycles - item.cycles
            assert saved > 0
            assert richer.totals["cycles"] <= plan.totals["cycles"] - saved
            assert richer.totals["flash_bytes"] <= budget.get("flash", flash)


def test_without_budgets_nothing_is_locked_and_with_them_something_is() -> None:
    assert all(explain(tuned(), name).unlocked == () for name in ("conv1", "conv2", "conv3"))
    tight = tuned(flash=128 << 10)
    assert any(explain(tight, name).unlocked for name in ("conv1", "conv2", "conv3"))


def test_another_objective_says_what_it_passed_over() -> None:
    plan = tuned(objective="flash")
    found = explain(plan, "conv2")
    assert found.passed_over is not None
    assert found.passed_over.change < 0
    assert "the objective is least flash: it would cost the network +" in lost_text(found)


@pytest.mark.parametrize(
    ("target", "name", "per_mac"),
    [("cortex-m4", "fc1", 0.5), ("cortex-m7", "fc1", 0.5), ("cortex-m3", "fc1", 2.0), ("cortex-m0plus", "fc1", 2.0)],
)
def test_the_limit_is_the_multipliers(target: str, name: str, per_mac: float) -> None:
    item = layer_named(tuned(target), name)
    limit = multiplier_limit(item.layer, item.variant, tuning.load_target(target))
    assert limit is not None
    assert limit.per_mac == per_mac


def test_winograd_lowers_the_limit_by_its_products() -> None:
    item = layer_named(tuned(), "conv2")
    assert item.variant is not None
    tiled = replace(item.variant, lowering="winograd", tile=4)
    limit = multiplier_limit(item.layer, tiled, tuning.load_target("cortex-m4"))
    assert limit is not None
    assert limit.per_mac == pytest.approx(0.5 * 8 / 20)
    assert "0.40 products per MAC" in bottleneck_text(replace(explain(tuned(), "conv2"), limit=limit))
    both = multiplier_limit(item.layer, replace(tiled, lowering="winograd_2d"), tuning.load_target("cortex-m4"))
    assert both is not None
    assert both.per_mac == pytest.approx(0.5 * 56 / 200)


def test_a_vector_of_products_takes_as_long_as_it_keeps_the_multiplier() -> None:
    item = layer_named(tuned("cortex-m55"), "conv2")
    assert item.variant is not None
    for core, per_mac in (("cortex-m55", 2 / 16), ("cortex-m85", 2 / 16), ("cortex-m52", 4 / 16)):
        for inner, expected in (("helium", per_mac), ("c", 0.5)):
            limit = multiplier_limit(item.layer, replace(item.variant, inner=inner), tuning.load_target(core))
            assert limit is not None
            assert limit.per_mac == expected


def test_packed_columns_lower_the_limit_by_a_third() -> None:
    item = layer_named(tuned(), "conv2")
    assert item.variant is not None
    packed = replace(item.variant, column_layout="packed", block_cols=3, im2col_cols=3)
    limit = multiplier_limit(item.layer, packed, tuning.load_target("cortex-m3"))
    assert limit is not None
    assert limit.per_mac == pytest.approx(2 * 2 / 3)


def test_an_operation_without_knobs_has_its_terms_and_no_choice(capsys: pytest.CaptureFixture[str]) -> None:
    found = explain(tuned(), "pool1")
    assert (found.runner_up, found.neighbours, found.unlocked, found.limit) == (None, (), (), None)
    print_explanation(found)
    out = capsys.readouterr().out
    assert "max_pool2d has a single kernel" in out
    assert "multiplies" not in out


def test_emulated_candidates_keep_their_cycles_and_the_others_are_scaled(capsys: pytest.CaptureFixture[str]) -> None:
    plan = tuned()
    index = [item.layer.name for item in plan.layers].index("conv2")
    table, item = plan.tables[index], plan.layers[index]
    fastest = [int(row) for row in np.argsort(table.cycles, kind="stable")]
    rows = [row for row in fastest if not getattr(table.variants[row], "fused_pool", False)][:3]
    seen = table.take(rows)
    cycles = np.array([2 * item.cycles, 2 * item.cycles + 10, 3 * item.cycles])
    seen = replace(seen, emulated_cycles=cycles)
    layers = list(plan.layers)
    layers[index] = replace(item, cycles=int(cycles[0]), emulated_cycles=int(cycles[0]), terms=seen[0].terms)
    tables = [*plan.tables[:index], seen, *plan.tables[index + 1 :]]
    found = explain(replace(plan, layers=tuple(layers), tables=tuple(tables), score="emulate"), "conv2")
    assert found.cycles_are == "emulated"
    assert (found.considered, found.legal) == (3, len(table))
    assert found.runner_up is not None
    assert found.chosen is not None
    assert (found.runner_up.cycles - found.chosen.cycles, found.runner_up.emulated) == (10, True)
    others = [item.candidate for item in found.neighbours if not item.candidate.emulated]
    assert others
    for candidate in others:
        if not candidate.variant.fused_pool:
            said = 2 * estimate(item.layer, candidate.variant, plan.target).cycles
            assert candidate.cycles - found.chosen.cycles == pytest.approx(said - 2 * item.cycles, abs=1)
    print_explanation(found)
    out = capsys.readouterr().out
    assert f"~{others[0].cycles:,}" in out
    assert "~ was not emulated" in out


def test_a_pooling_that_a_convolution_runs_is_compared_with_both_layers(capsys: pytest.CaptureFixture[str]) -> None:
    plan = tuned(sram=26_634)
    names = [item.layer.name for item in plan.layers if item.fused_into]
    assert names  # least SRAM keeps the tensor between the two out of the arena
    pool = layer_named(plan, names[0])
    assert pool.fused_into is not None
    found = explain(plan, pool.fused_into)
    apart = layer_named(tuned(), pool.layer.name)
    assert found.pool == pool.layer.name
    assert found.chosen is not None
    assert found.chosen.cycles == found.item.cycles
    others = [item.candidate for item in found.neighbours if not item.candidate.variant.fused_pool]
    assert others
    for candidate in others:
        table = plan.tables[plan.layers.index(found.item)]
        said = table[table.variants.index(candidate.variant)]
        assert candidate.cycles == said.cycles + apart.cycles
        assert candidate.flash_bytes == said.flash_bytes + apart.flash_bytes
        assert sum(candidate.terms.values()) == candidate.cycles
    print_explanation(explain(plan, pool.layer.name))
    print_explanation(found)
    out = capsys.readouterr().out
    assert f"It runs inside {pool.fused_into}, whose cycles are those of both." in out
    assert f"{pool.layer.name} included" in out


def test_a_plan_without_its_search_cannot_be_explained() -> None:
    with pytest.raises(ValueError, match="made in this process"):
        explain(replace(tuned(), tables=()), "conv1")


def test_an_unknown_layer_is_named_with_a_suggestion() -> None:
    with pytest.raises(OptionError, match="no layer is called 'con2'; did you mean 'conv2'"):
        explain(tuned(), "con2")


def test_the_networks_error_is_the_layers_weighed_by_their_cycles() -> None:
    plan = tuned()
    bars = [(error_bar(plan, item), item.cycles) for item in plan.layers]
    assert all(bar is not None and bar[0] <= bar[1] for bar, _ in bars)
    for at in (0, 1):
        expected = sum(bar[at] * cycles for bar, cycles in bars if bar) / plan.totals["cycles"]
        found = network_error_bar(plan)
        assert found is not None
        assert found[at] == pytest.approx(expected)


def test_emulated_layers_have_no_error_and_unknown_ones_hide_the_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = tuned()
    emulated = replace(plan, layers=tuple(replace(item, emulated_cycles=item.cycles) for item in plan.layers))
    assert network_error_bar(emulated) is None
    assert all(error_bar(emulated, item) is None for item in emulated.layers)
    bars = network_error_bar(plan)
    least = min((item for item in plan.layers if item.cycles), key=lambda item: item.cycles)
    with monkeypatch.context() as patched:
        # What takes less than a hundredth counts as wholly wrong.
        patched.setattr(
            "tuning.report.explain.error_bar", lambda plan, item: None if item is least else error_bar(plan, item)
        )
        assert least.cycles < 0.01 * plan.totals["cycles"]
        found = network_error_bar(plan)
        assert bars is not None
        assert found is not None
        assert bars < found < (bars[0] + 0.01, bars[1] + 0.01)
    monkeypatch.setattr("tuning.report.explain.expected_error", lambda *layer: None)
    assert network_error_bar(plan) is None


def test_errors_are_per_type_and_unknown_where_nothing_was_fitted(monkeypatch: pytest.MonkeyPatch) -> None:
    def errors(**found: dict[str, float]) -> Coefficients:
        families = {"conv2d q7 q7 unroll=1": (1.0,), "relu q7 -": (1.0,)}
        return Coefficients(
            "cortex-m4", families=families, errors={"held out": {k.replace("_on_", " "): v for k, v in found.items()}}
        )

    core = tuning.load_target("cortex-m4")
    monkeypatch.setattr(
        "tuning.cost.fitted.coefficients", lambda name: errors(conv2d_on_q7={"near_median": 0.1, "bound": 0.3})
    )
    assert expected_error("conv2d", core, "q7") == (0.1, 0.3)
    assert expected_error("conv2d", core, "q15") is None
    assert expected_error("relu", core, "q7") is None
    both = errors(
        conv2d_on_q7={"near_median": 0.1, "bound": 0.3}, conv2d_on_q15={"near_median": 0.2, "bound": 0.5}
    )
    monkeypatch.setattr("tuning.cost.fitted.coefficients", lambda name: both)
    assert expected_error("conv2d", core, "q15") == (0.2, 0.5)
    assert expected_error("conv2d", core, "q7") == (0.1, 0.3)


def test_the_table_says_where_no_error_is_known(monkeypatch, capsys: pytest.CaptureFixture[str], tmp_path) -> None:
    print_plan(tuned(), tmp_path)
    assert "not known" not in capsys.readouterr().out
    known = expected_error
    monkeypatch.setattr(
        "tuning.report.explain.expected_error", lambda op, *rest: None if op == "softmax" else known(op, *rest)
    )
    print_plan(tuned(), tmp_path)
    out = capsys.readouterr().out
    assert "Error not known: nothing like it" in out
    assert "Error is the median difference" in out
    monkeypatch.setattr("tuning.report.explain.expected_error", lambda *rest: None)
    print_plan(tuned(), tmp_path)
    assert "Error is the median" not in capsys.readouterr().out


@pytest.mark.parametrize("width", [30, 80, 120])
def test_no_table_cuts_a_number(width: int) -> None:
    table = make_table("layer", "variant", "cycles", "flash", right=("cycles", "flash"))
    table.add_row("convolution", "2x4 unroll 8 interleaved", "123,456,789", "1,234,567")
    out = _Terminal(file=io.StringIO(), width=width)
    out.print(table)
    text = out.file.getvalue()  # type: ignore[attr-defined]
    assert "123,456,789" in text
    assert "1,234,567" in text
    assert out.width == width
    assert max(map(len, text.splitlines())) <= max(width, least_width(table))


@pytest.mark.parametrize(
    ("width", "kept"), [(60, "layer op cycles"), (45, "layer cycles"), (200, "layer op cycles path")]
)
def test_what_a_table_can_spare_goes_before_it_breaks(width: int, kept: str) -> None:
    table = make_table("layer", "op", "cycles", "path", right=("cycles",), spare=["path", "op"])
    table.add_row("a_long_name_of_a_layer", "depthwise_conv2d", "123,456,789", "/a/path/that/does/not/fit/beside/it")
    table.add_section()
    table.add_row("network", "", "123,456,789", "", style="bold")
    out = _Terminal(file=io.StringIO(), width=width)
    out.print(table)
    lines = [line for line in out.file.getvalue().splitlines() if line.strip()]  # type: ignore[attr-defined]
    assert lines[0].split() == kept.split()
    assert max(map(len, lines)) <= width
    assert len(lines) == 4  # a head, a rule, a line for each row: nothing wraps
    assert len(table.columns) == 4


@pytest.mark.parametrize("arguments", [[], ["-q"], ["--json"]])
def test_the_option(monkeypatch, capfd, tmp_path, arguments: list[str]) -> None:
    monkeypatch.chdir(tmp_path)
    ran = run_tune(monkeypatch, capfd, "digits", "--explain", "conv2", "--explain", "fc", *arguments)
    said = ran.err if arguments == ["--json"] else ran.out
    assert ran.status == 0
    for words in ("conv2: conv2d 3x3", "Bottleneck:", "Runner-up:", "One knob changed", "fc: fully_connected"):
        assert words in said
    if arguments == ["--json"]:
        assert json.loads(ran.out)["schema"] == "plan-2"
    else:
        assert ran.err == ""
        assert ("network" in ran.out.split("conv2: conv2d")[0]) == (arguments == [])


def test_a_wrong_layer_ends_with_status_2_before_anything_is_written(monkeypatch, capfd, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    ran = run_tune(monkeypatch, capfd, "digits", "--explain", "conv9")
    assert (ran.status, ran.out) == (2, "")
    assert "--explain: no layer is called 'conv9'; did you mean 'conv" in ran.err
    assert not (tmp_path / "build").exists()


def test_energy_needs_both_figures_of_a_board(monkeypatch, capfd, tmp_path) -> None:
    """uJ = cycles x V x uA/MHz x 1e-6, whatever the clock; unknown without one of them."""
    monkeypatch.chdir(tmp_path)
    head = "schema: 1\nname: mine\ninherit: cortex-m4\nclock_hz: 80M\n"
    both = "supply_volts: 1.8\nrun_microamps_per_mhz: {value: 100, source: datasheet}\n"
    for text, known in ((head + both, True), (head + "supply_volts: 1.8\n", False), (head, False)):
        (tmp_path / "mine.yaml").write_text(text, encoding="utf-8")
        for clock in ([], ["--clock", "20M"]):
            ran = run_tune(monkeypatch, capfd, "digits", "--target", "mine.yaml", "--json", *clock)
            totals = json.loads(ran.out)["totals"]
            expected = round(totals["cycles"] * 1.8 * 100 * 1e-6, 3) if known else None
            assert totals["energy_uj"] == expected
        shown = run_tune(monkeypatch, capfd, "digits", "--target", "mine.yaml").out
        assert ("uJ per inference: cycles x the datasheet's typical run-mode current" in shown) == known
        head = next(line for line in shown.splitlines() if line.split()[:2] == ["layer", "op"])
        assert ("uJ" in head.split()) == known
        if known:
            assert f" {totals['energy_uj']:,.1f} " in next(line for line in shown.splitlines() if " network " in line)
