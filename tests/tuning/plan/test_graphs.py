# SPDX-License-Identifier: Apache-2.0
"""Plans of graphs: where tensors lie, what is counted, and that a plan file says all of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import tuning
from cmsisnn_x.affine import Affine
from cmsisnn_x.arena import arrange, lives, lower_bound
from cmsisnn_x.described import described, scheme_from_dict, scheme_to_dict
from cmsisnn_x.steps import Step
from helpers import int8
from tuning.emit.check import EmitError, check_plan
from tuning.model import graph_model
from tuning.plan import Plan
from tuning.plan.file import read_plan_file
from tuning.report.explain import explain
from tuning.search.space import kernel_key

GRAPH = pytest.mark.parametrize("name", int8.GRAPHS)


def plan_of(name: str, core: str = "cortex-m4", **how: object) -> Plan:
    model = graph_model(name, int8.GRAPHS[name](), f"{name}.tflite", rewrites=("nothing",))
    return tuning.tune(model, tuning.load_target(core), **how)


@GRAPH
def test_the_arena_is_no_smaller_than_what_is_alive_and_fits_its_tensors(name: str) -> None:
    plan = plan_of(name)
    scratch = [item.scratch_bytes for item in plan.layers if item.fused_into is None]
    needed = list(lives(plan.graph, plan.steps, scratch).values())
    assert lower_bound(needed) <= plan.arena_bytes <= 1.25 * lower_bound(needed)
    check_plan(plan)
    border = sum(tensor.bytes for tensor in (*plan.inputs, *plan.outputs))
    held = sum(plan.graph.tensors[state.read].bytes for state in plan.graph.states)
    assert plan.totals["sram_bytes"] == plan.arena_bytes + border + held


@GRAPH
def test_terms_add_up_and_every_layer_explains_itself(name: str) -> None:
    plan = plan_of(name, pareto=True)
    for item in plan.layers:
        assert sum(item.terms.values()) == item.cycles
        assert explain(plan, item.layer.name).item is item
    assert plan.totals["cycles"] == sum(item.cycles for item in plan.layers)
    known = sum(tensor.bytes for tensor in plan.constants)
    assert plan.totals["flash_bytes"] == sum(item.flash_bytes for item in plan.layers) + known
    assert plan.pareto
    assert plan.pareto["sram"][-1]["cycles"] == plan.totals["cycles"]


def test_an_addition_overwrites_the_operand_that_nobody_reads_again() -> None:
    plan = plan_of("residual")
    items = {item.layer.name: item for item in plan.layers}
    join = items["join"]
    assert join.output_offset == items["body2"].output_offset == join.input_offsets[0]
    assert join.input_offsets == (items["body2"].output_offset, items["stem"].output_offset)
    assert items["act"].output_offset == join.output_offset  # a table too
    assert {item.output_offset for item in (items["body1"], items["body2"], items["stem"])} != {join.output_offset}


def test_a_concatenation_of_one_row_has_its_inputs_in_place() -> None:
    plan = plan_of("joined")
    items = {item.layer.name: item for item in plan.layers}
    parts, every = items["parts"], items["all"]
    assert parts.output_offset is not None
    assert parts.input_offsets[:3] == tuple(parts.output_offset + inside for inside in (0, 8, 12))
    assert items["slim"].output_offset == items["act"].output_offset
    assert parts.input_offsets[3] != parts.output_offset + 15, "no word begins there"
    assert every.input_offsets == (every.output_offset, parts.output_offset)
    assert parts.output_offset == every.output_offset + 20
    inputs = next(node.inputs for node in plan.graph.nodes if node.name == "parts")
    for name, inside in (("odd", 16), ("late", 24)):  # in the output, elsewhere
        at = parts.output_offset + inside
        own = (at if tensor == f"{name}_out" else old for tensor, old in zip(inputs, parts.input_offsets, strict=True))
        changed = {name: replace(items[name], output_offset=at), "parts": replace(parts, input_offsets=tuple(own))}
        layers = tuple(changed.get(item.layer.name, item) for item in plan.layers)
        with pytest.raises(EmitError, match="apart"):
            check_plan(replace(plan, layers=layers))


def test_what_changes_its_size_overwrites_nothing() -> None:
    """An operand that is repeated, and bytes that become half words."""
    b = int8.Builder()
    x = b.conv("conv", b.input("image", (4, 4, 4)), 4)
    short = b.conv("short", b.input("row", (1, 1, 4)), 4)
    added = b.add("add", x, short)
    graph = b.graph(b.requantise("narrow", b.look_up("wide", added, "int16"), "int8"))
    needed = lives(graph, [Step((node.layer,)) for node in graph.nodes], [0] * len(graph.nodes))
    assert list(needed) == ["conv_out", "short_out", "add_out", "wide_out"]
    assert [life.same_as for life in needed.values()] == [None, None, 0, None]


def test_constants_lie_in_flash_and_states_in_static_memory() -> None:
    plan = plan_of("constants")
    assert [item.input_offsets for item in plan.layers] == [(None, None), (0, None), (None, 0)]
    arena = arrange(plan.graph, plan.steps, [item.scratch_bytes for item in plan.layers])
    assert arena.all_inputs == ((None, None), (0, None), (None, 0))
    remembered = plan_of("states")
    needed = lives(remembered.graph, remembered.steps)
    assert needed["age_out"].last == len(remembered.steps) - 1  # until it is remembered


def test_kernels_with_zero_points_are_alike_if_all_but_their_constants_is() -> None:
    layer = int8.residual().nodes[1].layer
    scheme = layer.scheme
    assert isinstance(scheme, Affine)
    others = {
        "alike": replace(scheme, multiplier=tuple(one - 1 for one in scheme.multiplier)),
        "another zero point": replace(scheme, output_zero_point=scheme.output_zero_point + 1),
        "another range": replace(scheme, high=100),
    }
    keys = {name: kernel_key(Step((replace(layer, name="x", scheme=own),))) for name, own in others.items()}
    own = kernel_key(Step((layer,)))
    assert {name: key == own for name, key in keys.items()} == {
        "alike": True, "another zero point": False, "another range": False,
    }  # fmt: skip
    assert hash(own) == hash(keys["alike"])


@pytest.mark.parametrize("kind", ["affine", "clamp", "sum", "product", "mean", "rescale", "softmax"])
def test_a_scheme_is_what_its_mapping_says(kind: str) -> None:
    found = [
        node.layer.scheme
        for made in int8.GRAPHS.values()
        for node in made().nodes
        if node.layer.scheme is not None and scheme_to_dict(node.layer.scheme)["kind"] == kind
    ]
    assert found
    for scheme in found:
        assert scheme_from_dict(json.loads(json.dumps(scheme_to_dict(scheme)))) == scheme


@GRAPH
def test_a_plan_file_has_the_graph_in_full(name: str, tmp_path: Path) -> None:
    plan = plan_of(name)
    plan.save(tmp_path / "plan.json")
    file = read_plan_file(tmp_path / "plan.json")
    layers = [layer for layer, _ in file.layers()]
    apart = ("weights", "bias", "table", "variant")
    assert [described(layer, apart) for layer in layers] == [described(item.layer, apart) for item in plan.layers]
    assert [variant for _, variant in file.layers()] == [item.variant for item in plan.layers]
    values = {tensor.name: tensor.value for tensor in plan.constants}
    graph = file.graph(layers, {**values, **{state.read: state.initial for state in plan.graph.states}})
    assert graph is not None
    assert (graph.inputs, graph.outputs) == (plan.graph.inputs, plan.graph.outputs)
    assert [(node.inputs, node.outputs) for node in graph.nodes] == [
        (node.inputs, node.outputs) for node in plan.graph.nodes
    ]
    for tensor in (*plan.inputs, *plan.outputs, *plan.constants):
        other = graph.tensors[tensor.name]
        about = ("shape", "type", "scale", "zero_point")
        assert [getattr(other, key) for key in about] == [getattr(tensor, key) for key in about]
        assert tensor.value is None or np.array_equal(tensor.value, np.asarray(other.value))
    for mine, its in zip(plan.graph.states, graph.states, strict=True):
        assert (mine.read, mine.write) == (its.read, its.write)
        assert np.array_equal(mine.initial, its.initial)
    content = json.loads((tmp_path / "plan.json").read_text())
    assert content["arithmetic"] == "tflm"
    assert content["rewrites"] == ["nothing"]


def test_budgets_bind_graphs_too() -> None:
    free = plan_of("residual")
    least = plan_of("residual", objective="sram")
    assert least.totals["sram_bytes"] <= free.totals["sram_bytes"]
    tight = plan_of("residual", sram_bytes=least.totals["sram_bytes"])
    assert tight.totals["sram_bytes"] == least.totals["sram_bytes"]
    with pytest.raises(tuning.InfeasibleError, match="does not fit into"):
        plan_of("residual", sram_bytes=least.totals["sram_bytes"] - 4)
