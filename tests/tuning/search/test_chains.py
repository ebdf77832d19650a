# SPDX-License-Identifier: Apache-2.0
"""Where chains are planned, what they gain, and that nothing changes where SRAM is not short."""

from __future__ import annotations

import re
from itertools import pairwise

import numpy as np
import pytest

import tuning
from cmsisnn_x.bands import banded, least_rows
from helpers import int8
from helpers.chained import drawn
from tuning.base.errors import InfeasibleError
from tuning.cost import estimate_space
from tuning.cost.estimate import estimate_rows
from tuning.model import graph_model
from tuning.report.explain import chains_gain, explain
from tuning.search.space import search_space

CORES = ("cortex-m4", "cortex-m0plus")


def wide(pairs: int = 3) -> tuning.Model:
    """A network that is large where it begins: each pair is a depthwise and a pointwise convolution."""
    b = int8.Builder()
    x = b.conv("stem", b.input("image", (32, 32, 3)), 8, 3, 2)
    for at in range(pairs):
        x = b.conv(f"rows{at}", x, 0, 3, 2 if at == 1 else 1, depthwise=True)
        x = b.conv(f"mix{at}", x, 16, 1)
    return graph_model("wide", b.graph(b.dense("last", b.pool("shrink", x, 8, 8), 4)), "wide.tflite")


@pytest.fixture(scope="module", params=CORES)
def plans(request: pytest.FixtureRequest) -> tuple[tuning.Plan, tuning.Plan]:
    """The fastest plan, and that of the least SRAM."""
    target = tuning.load_target(request.param)
    return tuning.tune(wide(), target), tuning.tune(wide(), target, objective="sram")


def test_without_a_budget_nothing_is_chained(plans: tuple[tuning.Plan, tuning.Plan]) -> None:
    fast, small = plans
    assert not fast.chains
    assert all(step.kind != "chain" for step in fast.steps)
    again = tuning.tune(wide(), fast.target, sram_bytes=fast.totals["sram_bytes"])
    assert not again.chains
    assert again.layers == fast.layers or again.totals == fast.totals
    assert small.chains
    assert small.totals["sram_bytes"] < 0.6 * fast.totals["sram_bytes"]
    assert small.totals["cycles"] >= fast.totals["cycles"]


def test_a_byte_less_than_the_least_is_refused_and_the_least_named(plans: tuple[tuning.Plan, tuning.Plan]) -> None:
    _, small = plans
    least = small.totals["sram_bytes"]
    assert tuning.tune(wide(), small.target, sram_bytes=least).totals["sram_bytes"] == least
    with pytest.raises(InfeasibleError, match="even where layers run a few rows at a time") as refused:
        tuning.tune(wide(), small.target, sram_bytes=least - 1)
    assert f"The smallest budget that works is --sram {least} " in str(refused.value)


def test_budgets_are_kept_and_less_sram_is_never_faster(plans: tuple[tuning.Plan, tuning.Plan]) -> None:
    fast, small = plans
    low, high = small.totals["sram_bytes"], fast.totals["sram_bytes"]
    cycles = []
    for budget in np.linspace(low, high, 6).astype(int):
        plan = tuning.tune(wide(), fast.target, sram_bytes=int(budget))
        assert plan.totals["sram_bytes"] <= budget
        cycles.append(plan.totals["cycles"])
    assert cycles[-1] == fast.totals["cycles"]
    assert all(after <= 1.02 * before for before, after in pairwise(cycles))


def test_plans_are_the_same_every_time(plans: tuple[tuning.Plan, tuning.Plan]) -> None:
    _, small = plans
    assert tuning.tune(wide(), small.target, objective="sram").to_json() == small.to_json()


@pytest.mark.full
def test_the_frontier_has_the_least_and_the_fastest(plans: tuple[tuning.Plan, tuning.Plan]) -> None:
    fast, small = plans
    found = tuning.tune(wide(), fast.target, pareto=True).pareto
    assert found is not None
    sizes = [point["sram_bytes"] for point in found["sram"]]
    assert sizes[0] == small.totals["sram_bytes"]
    assert found["sram"][-1]["cycles"] == fast.totals["cycles"]
    assert sizes == sorted(set(sizes))


def test_the_papers_network_runs_in_its_bar() -> None:
    """Tiles in both directions, in place, pooled as they come, beside what is made: for little more than without."""
    target = tuning.load_target("cortex-m4")
    fast = tuning.tune(tuning.load_model("cifar10"), target)
    small = tuning.tune(tuning.load_model("cifar10"), target, sram_bytes=16400)
    assert small.totals["sram_bytes"] <= 16400
    assert small.totals["cycles"] < 1.06 * fast.totals["cycles"]
    links = [link for chain in small.chains.values() for link in chain.links]
    assert {link.layer.name for link in links if link.open_rows} == {"pool1", "pool2", "pool3"}
    assert [link.layer.name for link in links if link.in_place] == ["conv2"]


def test_explain_says_what_runs_as_one(plans: tuple[tuning.Plan, tuning.Plan]) -> None:
    fast, small = plans
    first, chain = next(iter(small.chains.items()))
    inside = small.layers[first + 1].layer.name
    said = explain(small, inside).chain
    names = [link.layer.name for link in chain.links]
    assert re.match(rf"{names[0]} to {names[-1]} run as one chain of bands of .* rows?, with [\d,]+ bytes of r", said)
    outside = next(item.layer.name for item in small.layers if not item.band)
    assert explain(small, outside).chain == ""
    less = fast.totals["sram_bytes"] - small.totals["sram_bytes"]
    assert chains_gain(small).startswith(f"{less / 1024:.1f} KiB less for ")


@pytest.mark.parametrize("seed", [0, 2, 6, 9])
def test_costs_of_a_run_are_kept_between_numbers_of_rows(seed: int) -> None:
    """What is known of two rows is right for four: the estimate is the same as anew."""
    target = tuning.load_target("cortex-m4")
    for layer in drawn(seed).layers:
        if not layer.row.is_windowed or layer.output_image[0] < 4:
            continue
        variants = [v for v in search_space(layer, target).variants or (None,) if least_rows(layer, v) is not None]
        if not variants:
            continue
        whole, known = estimate_space(layer, variants, target), {}
        for rows in (2, 4):
            own = banded(layer, rows)
            assert np.array_equal(estimate_rows(own, whole, target, known), estimate_rows(own, whole, target))
        assert known


@pytest.mark.full
def test_search_takes_time_by_layers(plans: tuple[tuning.Plan, tuning.Plan]) -> None:
    """Counted, not clocked: layers of which bands are priced, whatever the number of segments."""
    from tuning.search import bands

    counts, before = [], bands.estimate_rows
    try:
        for pairs in (2, 4, 8):
            calls = [0]

            def counted(*given: object, calls: list[int] = calls) -> np.ndarray:
                calls[0] += 1
                return before(*given)

            bands.estimate_rows = counted
            tuning.tune(wide(pairs), plans[0].target, sram_bytes=plans[1].totals["sram_bytes"] + 2000)
            counts.append(calls[0])
    finally:
        bands.estimate_rows = before
    assert counts[2] - counts[1] <= 2.2 * (counts[1] - counts[0]) + 8
