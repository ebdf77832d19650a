# SPDX-License-Identifier: Apache-2.0
"""Convolutions that write over what they read: where the plan lets them, and what that saves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import tuning
from cmsisnn_x.arena import arrange
from cmsisnn_x.graph import Graph
from cmsisnn_x.steps import Step, place_inside
from helpers.drawn_networks import KINDS, draw
from helpers.int8 import Builder
from tuning.emit.check import EmitError, check_plan
from tuning.emit.project import project
from tuning.model import graph_model
from tuning.plan import Plan


def overwritten(plan: Plan) -> set[str]:
    return {step.name for step in plan.steps if step.in_place}


def depthwise_separable(*, has_skip: bool = False) -> Graph:
    b = Builder()
    x = b.conv("stem", b.input("image", (8, 8, 3)), 8, 3)
    inner = b.conv("dw", x, 0, 3, depthwise=True)
    y = b.conv("pw", inner, 8, 1)
    return b.graph(b.dense("fc", b.add("skip", y, x) if has_skip else y, 4))


def plan_of(graph: Graph, core: str = "cortex-m4", **how: object) -> Plan:
    return tuning.tune(graph_model("net", graph, Path("net.tflite")), tuning.load_target(core), **how)


def test_a_separable_network_needs_one_image() -> None:
    """Two of 8,000 bytes else: the depthwise layer and the one behind it leave what they write where they read."""
    plan = tuning.tune(tuning.load_model("ds_cnn_s"), tuning.load_target("cortex-m4"), sram_bytes=9_526)
    assert overwritten(plan) == {f"{kind}{at}" for kind in ("dw", "pw") for at in range(1, 5)}
    image, scratch = 25 * 5 * 64, max(item.scratch_bytes for item in plan.layers)
    assert plan.totals["arena_bytes"] == image + scratch
    assert {item.output_offset for item in plan.layers[:9]} == {plan.layers[0].output_offset}


def test_what_is_needed_later_is_not_overwritten() -> None:
    assert overwritten(plan_of(depthwise_separable())) == {"dw", "pw"}
    plan = plan_of(depthwise_separable(has_skip=True))
    items = {item.layer.name: item for item in plan.layers}
    assert overwritten(plan) == {"pw"}
    assert items["dw"].output_offset != items["stem"].output_offset


def test_the_callers_memory_is_not_overwritten() -> None:
    b = Builder()
    x = b.conv("first", b.input("image", (6, 6, 8)), 0, 3, depthwise=True)
    assert not overwritten(plan_of(b.graph(b.conv("last", x, 8, 1))))


def test_kernels_that_would_take_longer_stay_apart() -> None:
    """Without the DSP extension compilers make slower code of C whose stores may change what is read."""
    plans = {core: plan_of(depthwise_separable(), core) for core in ("cortex-m0plus", "cortex-m3", "cortex-m33")}
    for core, plan in plans.items():
        for item in plan.layers[1:3]:
            may = core == "cortex-m33" or item.variant.inner != "c"
            assert (item.layer.name in overwritten(plan)) == (may and place_inside(item.layer, item.variant, 0) == 0)


def test_the_macro_is_there_where_offsets_are_equal() -> None:
    plan = plan_of(depthwise_separable())
    for text, item in zip(project(plan).layers, plan.layers, strict=True):
        prefix = f"NET_{item.layer.name.upper()}"
        assert (f"{prefix}_IN_PLACE" in text.macros) == (item.layer.name in overwritten(plan))
        assert text.can_be_in_place == (item.layer.name in overwritten(plan))


def test_a_plan_that_overwrites_where_the_kernel_reads_again_is_refused() -> None:
    plan = plan_of(depthwise_separable())
    at = next(index for index, item in enumerate(plan.layers) if item.layer.name == "dw")
    rows = replace(plan.layers[at].variant, block_cols=1, im2col_cols=1)
    layers = [*plan.layers]
    layers[at] = replace(layers[at], variant=rows)
    with pytest.raises(EmitError, match="layer dw: expected input and output apart"):
        check_plan(replace(plan, layers=tuple(layers)))


@pytest.mark.parametrize("core", ["cortex-m4", "cortex-m0plus"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_was_planned_for_is_what_lies_in_the_arena(core: str, kind: str) -> None:
    found = 0
    for seed in range(12):
        plan = tuning.tune(draw(kind, 900 + seed), tuning.load_target(core))
        check_plan(plan)
        found += len(overwritten(plan))
        apart = [Step(step.layers, step.variant) for step in plan.steps]
        scratch = [item.scratch_bytes for item in plan.layers if item.fused_into is None]
        assert plan.arena_bytes <= arrange(plan.graph, apart, scratch).bytes
    # The fastest depthwise kernel of 8 bits and powers of two reads windows again.
    assert found or core == "cortex-m0plus" or kind == "q7"


def test_a_budget_is_met_by_what_is_overwritten() -> None:
    model, target = tuning.load_model("ds_cnn_s"), tuning.load_target("cortex-m4")
    fastest, small = tuning.tune(model, target).totals, tuning.tune(model, target, sram_bytes=9_410).totals
    assert small["sram_bytes"] == 9_410 < fastest["sram_bytes"]
    # Below the fastest there is one with as much scratch, whose layers write over what they read too.
    between = tuning.tune(model, target, sram_bytes=fastest["sram_bytes"] - 1).totals
    assert between["sram_bytes"] == 9_782
    assert fastest["cycles"] < between["cycles"] < small["cycles"] < 1.02 * fastest["cycles"]
    assert 8_502 <= tuning.tune(model, target, sram_bytes=9_409).totals["sram_bytes"] <= 9_409
