# SPDX-License-Identifier: Apache-2.0
"""Frontiers: every point that no other plan beats and no other point, held against all plans there are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise, product
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tuning
from cmsisnn_x.layers import Layer
from helpers.commands import run_forked
from tuning.cli.pareto import worth
from tuning.load import load_model
from tuning.plan import Plan
from tuning.plan.frontier import STEP, cycles_within, flash_frontier, pareto, steps
from tuning.plan.planner import choose
from tuning.plan.problem import Choice, Options, Problem
from tuning.schemas import published
from tuning.target import load_target


@st.composite
def networks(draw: st.DrawFn) -> Problem:
    """Small networks in which memory can be traded for cycles, some layers sharing their kernels."""
    options = []
    for index in range(draw(st.integers(1, 5))):
        layer = Layer(f"l{index}", "softmax", "q7", (8 * draw(st.integers(1, 4)),), (8,))
        count = draw(st.integers(1, 4))
        cycles, scratch, weights, code = (
            np.array(draw(st.lists(st.integers(0, 40), min_size=count, max_size=count))) for _ in range(4)
        )
        shared = draw(st.booleans())
        kernels = tuple(f"shared{row}" if shared else f"{index}-{row}" for row in range(count))
        code = np.array([5 * (row + 1) for row in range(count)]) if shared else code
        options.append(Options(layer, cycles + 1, 4 * scratch, weights, code + 1, kernels))
    return Problem(options)


def every_choice(problem: Problem) -> Iterator[Choice]:
    return (problem.choice(rows) for rows in product(*(range(len(item)) for item in problem.options)))


def between(values: list[int], at: int) -> int:
    """A budget from just too small (0) to generous (100)."""
    return min(values) - 1 + (max(values) - min(values) + 2) * at // 100


def by_brute_force(choices: list[Choice], memory: str) -> list[tuple[int, int]]:
    """``(bytes, cycles)`` of every choice that no other one beats."""
    found: list[tuple[int, int]] = []
    for size, cycles in sorted((getattr(c, f"{memory}_bytes"), c.cycles) for c in choices):
        if not found or cycles < found[-1][1]:
            found.append((size, cycles))
    return found


@settings(max_examples=120, deadline=None)
@given(networks(), st.integers(0, 100), st.integers(0, 100))
def test_both_frontiers_are_what_brute_force_finds(problem: Problem, sram_at: int, flash_at: int) -> None:
    choices = list(every_choice(problem))
    sram = between([c.sram_bytes for c in choices], sram_at)
    flash = between([c.flash_bytes for c in choices], flash_at)
    found = pareto(problem, sram, flash)
    in_flash = [c for c in choices if c.flash_bytes <= flash]
    in_sram = [c for c in choices if c.sram_bytes <= sram]
    assert [(p["sram_bytes"], p["cycles"]) for p in found["sram"]] == by_brute_force(in_flash, "sram")
    assert [(p["flash_bytes"], p["cycles"]) for p in found["flash"]] == by_brute_force(in_sram, "flash")
    assert all(p["flash_bytes"] <= flash for p in found["sram"])
    assert all(p["sram_bytes"] <= sram for p in found["flash"])


@settings(max_examples=120, deadline=None)
@given(networks(), st.integers(0, 100), st.integers(0, 100))
def test_balanced_is_optimal_under_every_budget(problem: Problem, sram_at: int, flash_at: int) -> None:
    choices = list(every_choice(problem))
    sram = between([c.sram_bytes for c in choices], sram_at)
    flash = between([c.flash_bytes for c in choices], flash_at)
    products = [
        c.cycles * c.sram_bytes * c.flash_bytes for c in choices if c.sram_bytes <= sram and c.flash_bytes <= flash
    ]
    if products:
        choice = choose(problem, "balanced", sram, flash)
        assert choice.sram_bytes <= sram
        assert choice.flash_bytes <= flash
        assert choice.cycles * choice.sram_bytes * choice.flash_bytes == min(products)


def ladder(name: str, cycles: list[int], flash: list[int], scratch: list[int] | None = None) -> Options:
    layer = Layer(name, "softmax", "q7", (4,), (4,))
    kernels = tuple(f"{name}{row}" for row in range(len(cycles)))
    none = np.zeros(len(cycles), np.int64)
    return Options(layer, np.array(cycles), np.array(scratch or none), np.array(flash), none, kernels)


def test_where_budgets_bind_greedy_layers_lose() -> None:
    """Whoever shrinks the layer with the best ratio first, again and again, ends up slower than the plan."""
    problem = Problem(
        [
            ladder("a", [100, 109, 190], [60, 50, 20]),
            ladder("b", [100, 150], [60, 20]),
            ladder("c", [100, 117], [50, 40]),
        ]
    )
    budget = 130
    rows = [0, 0, 0]
    while problem.choice(rows).flash_bytes > budget:
        ratios = {}
        for at, item in enumerate(problem.options):
            for row in range(rows[at] + 1, len(item)):
                slower = item.cycles[row] - item.cycles[rows[at]]
                ratios[slower / (item.flash_bytes[rows[at]] - item.flash_bytes[row])] = (at, row)
        at, row = ratios[min(ratios)]
        rows[at] = row
    greedy, exact = problem.choice(rows), choose(problem, "latency", None, budget)
    assert exact.flash_bytes <= budget
    assert (greedy.cycles, exact.cycles) == (359, 350)


def test_a_network_of_many_equal_layers_is_followed_to_its_end() -> None:
    """Thirty layers that share thirty kernels: 2e44 plans."""
    count = 30
    layers = [Layer(f"l{i}", "softmax", "q7", (16,), (16,)) for i in range(count)]
    cycles, code = np.array([400 - 7 * i for i in range(count)]), np.array([40 + 9 * i for i in range(count)])
    none, kernels = np.zeros(count, np.int64), tuple(f"k{i}" for i in range(count))
    problem = Problem([Options(layer, cycles, none, none, code, kernels) for layer in layers])
    found = flash_frontier(problem)
    assert found is not None
    # Code is paid once and all layers gain alike: every layer takes the same kernel.
    assert [(c.flash_bytes, c.cycles) for c in found] == [(40 + 9 * i, count * (400 - 7 * i)) for i in range(count)]


def test_a_frontier_too_large_to_follow_is_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = Problem([ladder(f"l{i}", [90 - 7 * i, 50, 20 + i], [10, 30 + i, 77]) for i in range(4)])
    every = {(c.flash_bytes, c.cycles) for c in flash_frontier(problem) or []}
    monkeypatch.setattr("tuning.plan.frontier.MOST", 5)
    assert flash_frontier(problem) is None
    sampled = [(p["flash_bytes"], p["cycles"]) for p in pareto(problem)["flash"]]
    assert len(sampled) > 5
    assert set(sampled) <= every


# ---------------------------------------------------------------- whole plans


@pytest.fixture(scope="module")
def plan() -> Plan:
    return tuning.tune(load_model("cifar10"), load_target("cortex-m4"), pareto=True)


@pytest.mark.full
def test_any_budget_is_answered_from_the_frontier(plan: Plan) -> None:
    """By estimates, as the frontier is."""
    assert plan.pareto is not None
    assert len(plan.pareto["flash"]) > 50
    jsonschema.validate(json.loads(plan.to_json()), published("plan-2"))
    model, target = load_model("cifar10"), load_target("cortex-m4")
    for memory, option in (("sram", "sram_bytes"), ("flash", "flash_bytes")):
        points = plan.pareto[memory]
        sizes = [point[option] for point in points]
        assert sizes == sorted(set(sizes))
        assert points[-1]["cycles"] == plan.totals["cycles"]
        for size in {sizes[0], sizes[-1], sizes[len(sizes) // 2], sizes[len(sizes) // 3] + 100}:
            tuned, known = (
                tuning.tune(model, target, **{option: size}, compiled=False).totals["cycles"],
                cycles_within(points, memory, size),
            )
            assert known is not None
            assert tuned == known or (memory == "sram" and tuned < known)  # chains between two points of the ladder
        assert cycles_within(points, memory, sizes[0] - 1) is None
        with pytest.raises(tuning.InfeasibleError):
            tuning.tune(model, target, **{option: sizes[0] - 1}, compiled=False)


def test_steps_are_points_and_say_what_they_buy(plan: Plan) -> None:
    assert plan.pareto is not None
    points = plan.pareto["flash"]
    shown = steps(points, "flash", most=10)
    assert 4 <= len(shown) <= 11
    assert (shown[0]["saved_cycles"], shown[-1]["cycles"]) == (None, points[-1]["cycles"])
    for before, after in pairwise(shown):
        assert {key: after[key] for key in points[0]} in points
        assert after["more_bytes"] == after["flash_bytes"] - before["flash_bytes"] > 0
        assert after["saved_cycles"] == before["cycles"] - after["cycles"] > 0
    assert [{key: step[key] for key in points[0]} for step in steps(points[:5], "flash")] == points[:5]


def test_four_kilobytes_have_a_price(plan: Plan) -> None:
    assert plan.pareto is not None
    points = plan.pareto["flash"]
    size = plan.totals["flash_bytes"]
    less = cycles_within(points, "flash", size - STEP)
    assert less is not None
    assert f"4 KiB less cost {less - plan.totals['cycles']:,} cycles" in worth(plan, "flash")
    assert "save nothing: no plan is faster" in worth(plan, "flash")
    tight = tuning.tune(
        load_model("cifar10"), load_target("cortex-m4"), pareto=True, flash_bytes=points[0]["flash_bytes"],
        compiled=False,
    )  # fmt: skip
    more = cycles_within(points, "flash", points[0]["flash_bytes"] + STEP)
    assert more is not None
    assert f"save {tight.totals['cycles'] - more:,} cycles" in worth(tight, "flash")
    assert "4 KiB less are too little for any plan" in worth(tight, "flash")


def test_the_command_line_lists_both_frontiers(tmp_path: Path) -> None:
    done = run_forked("cmsisnn-tune", "digits", "--target", "cortex-m4", "--pareto", "-o", "o", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Cycles over SRAM" in done.stdout
    assert "Cycles over flash" in done.stdout
    assert done.stdout.count("<- this plan") == 2
    assert set(json.loads((tmp_path / "o" / "plan.json").read_text())["pareto"]) == {"sram", "flash"}


# ---------------------------------------------------------------- when nothing fits


def refusal(path: Path, layers: str, **budgets: int) -> tuning.InfeasibleError:
    path.write_text(f"schema: 1\nname: net\ninput: {{shape: [8, 8, 8]}}\nlayers:\n{layers}", encoding="utf-8")
    with pytest.raises(tuning.InfeasibleError) as caught:
        tuning.tune(load_model(path), load_target("cortex-m4"), compiled=False, **budgets)
    return caught.value


CONV = "  - {name: c1, op: conv2d, out_channels: 40, kernel: 3, out_shift: 8}\n"
DENSE = "  - {name: f1, op: fully_connected, out_features: 50, out_shift: 9}\n"


@pytest.mark.parametrize(
    ("layers", "budgets", "layer", "third"),
    [
        (CONV, {"flash_bytes": 2000}, "c1", "a smaller kernel there, or depthwise_conv2d"),
        (DENSE, {"flash_bytes": 2000}, "f1", "pooling before it"),
        (CONV + DENSE, {"sram_bytes": 900}, "c1", "pooling, or a stride of 2, before it"),
        (
            CONV.replace("out_shift: 8", "out_shift: 8, variant: {unroll: 8, lowering: im2col}") + DENSE,
            {"sram_bytes": 900}, "c1", "removing the pins of its variant",
        ),
    ],
)  # fmt: skip
def test_a_refusal_names_the_layer_the_budget_and_three_things_to_try(
    layers: str, budgets: dict[str, int], layer: str, third: str, tmp_path: Path
) -> None:
    error = refusal(tmp_path / "net.yaml", layers, **budgets)
    assert f"Layer '{layer}' decides" in str(error)
    attempts = str(error).split("Try: ")[1].split("; ")
    assert len(attempts) == 3
    assert third in attempts[2]
    ((memory, smallest),) = error.smallest.items()
    assert attempts[0] == f"--{memory} {smallest}"
    model, target = load_model(tmp_path / "net.yaml"), load_target("cortex-m4")
    # What it names works, and nothing less.
    tuning.tune(model, target, compiled=False, **{f"{memory}_bytes": smallest})
    with pytest.raises(tuning.InfeasibleError):
        tuning.tune(model, target, compiled=False, **{f"{memory}_bytes": smallest - 1})


def test_a_refusal_over_both_memories_names_both_budgets(tmp_path: Path) -> None:
    error = refusal(tmp_path / "net.yaml", CONV + DENSE, sram_bytes=900, flash_bytes=2000)
    assert set(error.smallest) == {"sram", "flash"}
    assert f"--flash {error.smallest['flash']}" in str(error)
    plan = tuning.tune(
        load_model(tmp_path / "net.yaml"), load_target("cortex-m4"), compiled=False,
        sram_bytes=error.smallest["sram"], flash_bytes=error.smallest["flash"],
    )  # fmt: skip
    assert plan.totals["sram_bytes"] == error.smallest["sram"]
    with pytest.raises(tuning.InfeasibleError):
        tuning.tune(
            load_model(tmp_path / "net.yaml"), load_target("cortex-m4"), compiled=False,
            sram_bytes=error.smallest["sram"], flash_bytes=error.smallest["flash"] - 1,
        )  # fmt: skip


def test_more_sram_is_suggested_only_where_it_helps() -> None:
    """Rows: small code with much scratch, large code with none."""
    trade = Problem([ladder("a", [10, 20], [50, 20], [4, 400]), ladder("b", [10], [30])])
    with pytest.raises(tuning.InfeasibleError, match=r"(?s)over by 20 .*\(without the SRAM budget 50 .*; --sram 412, "):
        choose(trade, "latency", 100, 60)
    rigid = Problem([ladder("a", [10], [50], [4]), ladder("b", [10], [30])])
    with pytest.raises(tuning.InfeasibleError, match=r"over by 20 bytes\. Layer") as caught:
        choose(rigid, "latency", 100, 60)
    assert "--sram" not in str(caught.value)
