# SPDX-License-Identifier: Apache-2.0
"""Plans: exact choices under budgets, held against brute force, and a plan.json that keeps to its schema."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import fields
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tuning
from cmsisnn_x.arena import lives, lower_bound
from cmsisnn_x.described import LATER
from cmsisnn_x.layers import Layer
from helpers.cores import PLAIN
from tuning import InfeasibleError, ModelError, OptionError, Plan
from tuning.load import load_model
from tuning.plan import LayerPlan
from tuning.plan.file import read_plan_file
from tuning.plan.plan import ARRAYS, array_digest
from tuning.plan.planner import choose
from tuning.plan.problem import Choice, Options, Problem
from tuning.schemas import model_schema, published, text
from tuning.schemas.check import first_problem
from tuning.target import load_target

OBJECTIVES = ("latency", "sram", "flash", "balanced")


@pytest.fixture(scope="module")
def plan() -> Plan:
    return tuning.tune(load_model("cifar10"), load_target("cortex-m4"))


# ---------------------------------------------------------------- the planner against brute force


@st.composite
def networks(draw: st.DrawFn) -> Problem:
    """Small networks with every kind of trade, and layers that share kernels."""
    options = []
    for index in range(draw(st.integers(1, 4))):
        layer = Layer(f"l{index}", "softmax", "q7", (8 * draw(st.integers(1, 4)),), (8,))
        count = draw(st.integers(1, 4))
        column = st.lists(st.integers(0, 40), min_size=count, max_size=count)
        cycles = np.array(draw(column)) + 1
        shared = draw(st.booleans())
        kernels = tuple(f"shared{row}" if shared else f"{index}-{row}" for row in range(count))
        code = np.array([3 * (row + 1) for row in range(count)]) if shared else np.array(draw(column))
        options.append(Options(layer, cycles, 4 * np.array(draw(column)), np.array(draw(column)), code, kernels))
    return Problem(options)


def every_choice(problem: Problem) -> Iterator[Choice]:
    return (problem.choice(rows) for rows in product(*(range(len(item)) for item in problem.options)))


def measure(choice: Choice, objective: str) -> float:
    if objective == "balanced":
        return float(choice.cycles) * choice.sram_bytes * max(choice.flash_bytes, 1)
    return {"latency": choice.cycles, "sram": choice.sram_bytes, "flash": choice.flash_bytes}[objective]


@settings(max_examples=120, deadline=None)
@given(networks(), st.sampled_from(["latency", "sram", "flash"]), st.integers(0, 100), st.integers(0, 100))
def test_every_objective_is_optimal_under_every_budget(
    problem: Problem, objective: str, sram_at: int, flash_at: int
) -> None:
    found = list(every_choice(problem))
    srams, flashes = sorted({c.sram_bytes for c in found}), sorted({c.flash_bytes for c in found})
    # Budgets from just too small to generous.
    sram = srams[0] - 1 + (srams[-1] - srams[0] + 2) * sram_at // 100
    flash = flashes[0] - 1 + (flashes[-1] - flashes[0] + 2) * flash_at // 100
    feasible = [c for c in found if c.sram_bytes <= sram and c.flash_bytes <= flash]
    if not feasible:
        with pytest.raises(InfeasibleError):
            choose(problem, objective, sram, flash)
        return
    choice = choose(problem, objective, sram, flash)
    assert choice == problem.choice(choice.rows)
    assert choice.sram_bytes <= sram
    assert choice.flash_bytes <= flash
    best = min(measure(c, objective) for c in feasible)
    assert measure(choice, objective) == best
    if objective != "latency":
        assert choice.cycles == min(c.cycles for c in feasible if measure(c, objective) == best)


@settings(max_examples=60, deadline=None)
@given(networks())
def test_balanced_minimises_the_product_where_kernels_are_not_shared(problem: Problem) -> None:
    if problem.shared:
        return
    best = min(measure(c, "balanced") for c in every_choice(problem))
    assert measure(choose(problem, "balanced"), "balanced") == pytest.approx(best)


def test_budgets_make_the_exact_plan_better_than_greedy_choices() -> None:
    """Greedy shrinks layer after layer until the flash fits; the exact plan knows which layer pays best."""

    def layer(name: str, cycles: list[int], flash: list[int]) -> Options:
        zeros = np.zeros(len(cycles), np.int64)
        kernels = tuple(f"{name}{row}" for row in range(len(cycles)))
        return Options(
            Layer(name, "softmax", "q7", (4,), (4,)), np.array(cycles), zeros, np.array(flash), zeros, kernels
        )

    problem = Problem(
        [layer("a", [100, 190], [60, 20]), layer("b", [100, 120], [60, 20]), layer("c", [100, 150], [50, 40])]
    )
    greedy = problem.choice([1, 0, 0])  # the first layer shrinks first, and that is enough
    choice = choose(problem, "latency", None, 130)
    assert greedy.flash_bytes <= 130
    assert choice.rows == (0, 1, 0)
    assert choice.cycles == 320 < greedy.cycles


@cache
def totals_by_objective() -> dict[str, dict[str, Any]]:
    model, target = load_model("cifar10"), load_target("cortex-m4")
    return {name: tuning.tune(model, target, objective=name).totals for name in OBJECTIVES}


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_each_objective_is_the_best_at_what_it_minimises(objective: str) -> None:
    plans = totals_by_objective()
    key = {"latency": "cycles", "sram": "sram_bytes", "flash": "flash_bytes"}.get(objective)
    if key:
        assert plans[objective][key] == min(p[key] for p in plans.values())
    else:
        goods = [p["cycles"] * p["sram_bytes"] * p["flash_bytes"] for p in plans.values()]
        assert goods[OBJECTIVES.index("balanced")] == min(goods)


@pytest.mark.full
def test_scipy_is_imported_only_when_flash_binds(tmp_path: Path) -> None:
    import subprocess
    import sys

    code = (
        "import sys, tuning\n"
        "model, target = tuning.load_model('cifar10'), tuning.load_target('cortex-m4')\n"
        "free = tuning.tune(model, target, sram_bytes=60000)\n"
        "assert not {'scipy', 'skopt', 'sklearn', 'matplotlib', 'unicorn'} & set(sys.modules), sys.modules.keys()\n"
        "tight = tuning.tune(model, target, flash_bytes=free.totals['flash_bytes'] - 1, compiled=False)\n"
        "assert tight.totals['flash_bytes'] < free.totals['flash_bytes']\n"
        "assert tight.totals['cycles'] >= free.totals['cycles']\n"
        "assert 'scipy.optimize' in sys.modules and 'skopt' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)


# ---------------------------------------------------------------- whole plans


@pytest.mark.parametrize("core", PLAIN)
def test_a_plan_adds_up(core: str) -> None:
    plan = tuning.tune(load_model("cifar10"), load_target(core))
    totals = plan.totals
    assert totals["cycles"] == sum(item.cycles for item in plan.layers)
    assert totals["macs"] == 12_298_240
    assert totals["arena_bytes"] == plan.arena_bytes
    assert totals["arena_bytes"] == lower_bound(list(lives(plan.graph, plan.steps).values()))
    assert totals["sram_bytes"] == totals["arena_bytes"] + 32 * 32 * 3 + 10
    assert totals["scratch_bytes"] == max(item.scratch_bytes for item in plan.layers)
    assert totals["flash_bytes"] <= sum(item.flash_bytes for item in plan.layers)
    assert (totals["ms"], plan.target.clock_hz) == (None, None)
    assert plan.layers[0].input_offset is None
    assert plan.layers[-1].output_offset is None
    for item in plan.layers:
        assert sum(item.terms.values()) == item.cycles
        if item.variant:
            assert item.cycles <= item.baseline_cycles
            assert item.runner_up["cycles"] >= item.cycles


def test_plan_json_keeps_to_its_schema(plan: Plan, tmp_path: Path) -> None:
    schema = published("plan-2")
    jsonschema.Draft202012Validator.check_schema(schema)
    content = json.loads(plan.to_json())
    jsonschema.validate(content, schema)
    board = tuning.tune(load_model("cifar10"), load_target("nrf52840dk"), objective="balanced")
    jsonschema.validate(board.to_dict(), schema)
    assert board.totals["ms"] > 0
    assert board.totals["energy_uj"] > 0
    for key in ("schema", "cflags", "totals", "layers"):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({name: value for name, value in content.items() if name != key}, schema)
    plan.save(tmp_path / "plan.json")
    assert read_plan_file(tmp_path / "plan.json").content == content
    assert [path.name for path in tmp_path.iterdir()] == ["plan.json"]


def test_the_schema_knows_every_key_that_is_written_and_no_other(plan: Plan) -> None:
    """So that a field of a plan, of a layer's plan or of a layer cannot be forgotten in it."""
    schema, content = published("plan-2"), plan.to_dict()
    of_graphs = {"arithmetic", "rewrites", "inputs", "outputs", "constants", "states", "float_io"}
    of_graphs |= {"feed", "feed_offset", "feed_offsets"}
    assert set(content) | {"pareto", "check", "fractions", "classes"} | of_graphs == set(schema["properties"])
    layer = schema["$defs"]["layer"]
    assert [set(entry) for entry in content["layers"]] == [set(layer["required"])] * len(plan.layers)
    others = {*LATER, *OF_CHAINS, "inputs", "outputs", "input_offsets"}
    assert set(layer["required"]) | others == set(layer["properties"])
    own = {item.name for kind in (Layer, LayerPlan) for item in fields(kind)} - {"layer"}
    assert own | {"macs", "pins", "inputs", "outputs"} == set(layer["properties"])


def test_plan_2_says_all_that_plan_1_says_where_it_was() -> None:
    before, now = published("plan-1"), published("plan-2")
    parts = [(before["properties"]["check"], now["properties"]["check"])]
    parts += [(before["$defs"][name], now["$defs"][name]) for name in before["$defs"]]
    for old, new in ((before, now), *parts):
        assert set(old.get("required", ())) <= set(new.get("required", ()))
        for name, item in old.get("properties", {}).items():
            assert {**new["properties"][name], **RELAXED.get(name, {})} == item, name


OF_CHAINS = ("band", "ring_rows", "ring_offset")
RELAXED = {
    "schema": {"const": "plan-1"},
    "evaluations": {"minimum": 1},
    "dtype": {"enum": ["q7", "q15"]},
    "weights_dtype": {"enum": ["q7", "q15", None]},
    "check": {"properties": published("plan-1")["properties"]["check"]["properties"]},
}


@pytest.mark.parametrize("model", ["cifar10", "mobilenet_v1_025"])
def test_a_plan_file_has_the_layers_in_full(model: str, tmp_path: Path) -> None:
    made = tuning.tune(load_model(model), load_target("cortex-m4"))
    made.save(tmp_path / "plan.json")
    found = read_plan_file(tmp_path / "plan.json")
    digests = [{kind: entry[kind] for kind in ARRAYS} for entry in found.content["layers"]]
    for item, (layer, variant), known in zip(made.layers, found.layers(), digests, strict=True):
        assert variant == item.variant
        for name in (field.name for field in fields(Layer)):
            if name in ARRAYS:
                array = getattr(item.layer, name)
                assert known[name] == (None if array is None else array_digest(array))
            else:
                assert getattr(layer, name) == getattr(item.layer, name), name
    assert [name for step in found.content["steps"] for name in step["layers"]] == [i.layer.name for i in made.layers]
    fused = [step["layers"] for step in found.content["steps"] if step["kind"] == "fused_pool"]
    assert fused == [[i.fused_into, i.layer.name] for i in made.layers if i.fused_into]


def test_digests_are_of_the_elements_whatever_the_machine() -> None:
    array = np.array([[1, -2, 300]], np.int16)
    known = {"dtype": "int16", "shape": [1, 3], "sha256": hashlib.sha256(b"\1\0\xfe\xff\x2c\1").hexdigest()}
    assert array_digest(array) == array_digest(array.astype(">i2").astype(">i2")) | {"dtype": "int16"} == known
    assert array_digest(np.asfortranarray(array)) == known


def test_plans_of_the_version_before_are_read() -> None:
    """As 0.1.0 wrote it."""
    old = read_plan_file(Path(__file__).with_name("digits-plan-1.json"))
    jsonschema.validate(old.content, published("plan-1"))
    model = load_model("digits")
    assert not old.has_digests
    for (layer, _), own in zip(old.layers(), model.layers, strict=True):
        for name in (item.name for item in fields(Layer)):
            if name not in ARRAYS:
                assert getattr(layer, name) == getattr(own, name), name


def test_the_published_model_schema_is_in_step_with_the_code() -> None:
    """After a change: ``python -m tuning.schemas``."""
    assert text(published("model-1")) == text(json.loads(text(model_schema())))


@pytest.mark.full
def test_shipped_models_keep_to_the_published_schema() -> None:
    import yaml

    from tuning.model import list_models

    schema = published("model-1")
    jsonschema.Draft202012Validator.check_schema(schema)
    paths = [path for path in list_models().values() if path.suffix == ".yaml"]
    assert len(paths) >= 10
    for path in paths:
        jsonschema.validate(yaml.safe_load(path.read_text(encoding="utf-8")), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"schema": 1, "name": "x", "input": {"shape": [1, 1]}, "layers": []}, schema)


def test_the_same_inputs_give_the_same_text(plan: Plan) -> None:
    for strategy in ("auto", "random", "bayesian"):
        runs = {
            tuning.tune(load_model("digits"), load_target("cortex-m7"), strategy=strategy, seed=5, trials=8).to_json()
            for _ in range(2)
        }
        assert len(runs) == 1
    assert tuning.tune(load_model("cifar10"), load_target("cortex-m4")).to_json() == plan.to_json()


def test_budgets_come_from_the_caller_then_the_model_then_the_board(tmp_path: Path) -> None:
    path = tmp_path / "net.yaml"
    layers = "layers:\n  - {name: c, op: conv2d, out_channels: 6, kernel: 3, out_shift: 7}\n"
    path.write_text(
        f"schema: 1\nname: net\ninput: {{shape: [8, 8, 4]}}\nbudget: {{sram: 2K, flash: 32K}}\n{layers}",
        encoding="utf-8",
    )
    model, board = load_model(path), load_target("nrf52840dk")
    assert tuning.tune(model, board).budget == {"sram": 2048, "flash": 32768}
    assert tuning.tune(model, board, sram_bytes=4096).budget == {"sram": 4096, "flash": 32768}
    assert tuning.tune(load_model("cifar10"), board).budget == {"sram": board.sram_bytes, "flash": board.flash_bytes}
    assert tuning.tune(load_model("cifar10"), load_target("cortex-m4")).budget == {"sram": None, "flash": None}


@pytest.mark.parametrize("kind", ["sram", pytest.param("flash", marks=pytest.mark.full)])
def test_the_smallest_budget_that_is_named_works_and_one_byte_less_does_not(kind: str) -> None:
    model, target = load_model("cifar10"), load_target("cortex-m4")
    with pytest.raises(InfeasibleError) as caught:
        tuning.tune(model, target, **{f"{kind}_bytes": 4000})
    smallest = caught.value.smallest[kind]
    message = str(caught.value)
    assert f"over by {smallest - 4000:,} bytes" in message
    assert f"--{kind} {smallest}" in message
    assert "Layer '" in message
    assert message.count(";") >= 2  # three things to try
    assert tuning.tune(model, target, **{f"{kind}_bytes": smallest}).totals[f"{kind}_bytes"] == smallest
    with pytest.raises(InfeasibleError):
        tuning.tune(model, target, **{f"{kind}_bytes": smallest - 1})


def test_flash_that_only_the_sram_budget_makes_too_small_is_said() -> None:
    zeros = np.zeros(2, np.int64)
    one = Options(
        Layer("a", "softmax", "q7", (4,), (4,)),
        np.array([1, 2]),
        np.array([100, 0]),
        np.array([10, 50]),
        zeros,
        ("x", "y"),
    )
    with pytest.raises(InfeasibleError, match="without the SRAM budget 10 bytes would do"):
        choose(Problem([one]), "latency", 20, 20)


def test_tight_budgets_bind_and_generous_ones_do_not(plan: Plan) -> None:
    model, target = load_model("cifar10"), load_target("cortex-m4")
    flash = plan.totals["flash_bytes"] * 3 // 4
    tight = tuning.tune(model, target, flash_bytes=flash, sram_bytes=48 << 10, compiled=False)
    assert tight.totals["flash_bytes"] <= flash
    assert tight.totals["sram_bytes"] <= 48 << 10
    assert tight.totals["cycles"] > plan.totals["cycles"]
    generous = tuning.tune(model, target, flash_bytes=10 << 20, sram_bytes=10 << 20)
    assert [item.variant for item in generous.layers] == [item.variant for item in plan.layers]


def test_pins_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "net.yaml"
    pins = "{unroll: 2, block_rows: 1, lowering: im2col}"
    line = f"{{name: c, op: conv2d, out_channels: 6, kernel: 3, out_shift: 7, variant: {pins}}}"
    path.write_text(f"schema: 1\nname: net\ninput: {{shape: [8, 8, 4]}}\nlayers:\n  - {line}\n", encoding="utf-8")
    item = tuning.tune(load_model(path), load_target("cortex-m4")).layers[0]
    assert (item.variant.unroll, item.variant.block_rows, item.variant.lowering) == (2, 1, "im2col")
    path.write_text(path.read_text(encoding="utf-8").replace("im2col}", "direct}"), encoding="utf-8")
    with pytest.raises(ModelError, match="layer 'c': variant"):
        tuning.tune(load_model(path), load_target("cortex-m4"))


@pytest.mark.parametrize(
    "options", [{"objective": "speed"}, {"score": "guess"}, {"strategy": "genetic"}, {"trials": 0}, {"jobs": 0}]
)
def test_wrong_options_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(OptionError, match="expected"):
        tuning.tune(load_model("digits"), load_target("cortex-m4"), **options)


def test_a_clock_gives_a_core_its_milliseconds() -> None:
    plan = tuning.tune(load_model("digits"), load_target("cortex-m7"), clock_hz=216_000_000)
    assert plan.totals["ms"] == pytest.approx(plan.totals["cycles"] / 216_000, abs=1e-4)


def test_emit_is_a_package_and_a_verb() -> None:
    import tuning.emit
    from tuning import emit
    from tuning.emit import emit_plan

    assert callable(tuning.emit)
    assert emit is tuning.emit
    assert emit.emit_plan is emit_plan


@pytest.mark.full
@pytest.mark.emulated
def test_emulated_scores_are_never_slower_than_the_estimates_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tuning.base.cflags import CFLAGS
    from tuning.measure.bench import Bench

    monkeypatch.setenv("CMSISNN_X_CACHE", str(tmp_path))
    model, target = load_model("digits"), load_target("cortex-m4")
    estimated = tuning.tune(model, target)
    events: list[dict[str, object]] = []
    emulated = tuning.tune(model, target, score="emulate", trials=6, progress=events.append)
    jsonschema.validate(emulated.to_dict(), published("plan-2"))
    assert emulated.strategy == "bayesian"
    assert emulated.cycles_are == "emulated"
    bench = Bench(target, CFLAGS)
    last = len(estimated.steps) - 1
    truth = [bench.measure([step], (at > 0, at < last))[0].cycles for at, step in enumerate(estimated.steps)]
    assert emulated.totals["cycles"] <= sum(truth)
    for item in emulated.layers:
        assert item.emulated_cycles == item.cycles == sum(item.terms.values())
    assert {event["layer"] for event in events if "layer" in event} == {layer.name for layer in model.layers}
    again = tuning.tune(model, target, score="emulate", trials=6)
    assert again.to_json() == emulated.to_json()


@pytest.mark.emulated
def test_an_interrupt_keeps_what_was_emulated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CMSISNN_X_CACHE", str(tmp_path))
    model, target = load_model("digits"), load_target("cortex-m4")
    events: list[dict[str, object]] = []

    def stop(event: dict[str, object]) -> None:
        events.append(event)
        if event.get("layer") == model.layers[1].name:
            raise KeyboardInterrupt

    plan = tuning.tune(model, target, score="emulate", trials=2, progress=stop)
    assert plan.layers[0].emulated_cycles is not None
    assert [item.emulated_cycles for item in plan.layers[2:]] == [None] * (len(plan.layers) - 2)
    assert events[-1]["interrupted"]
    assert plan.cycles_are == "partly emulated"


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_reading_a_plan_finds_what_json_schema_finds(plan: Plan, data: st.DataObject) -> None:
    content = json.loads(plan.to_json())
    node: Any = content
    path: list[Any] = []
    while isinstance(node, dict | list) and node and (not path or data.draw(st.booleans())):
        parent, key = node, data.draw(st.sampled_from(sorted(node) if isinstance(node, dict) else range(len(node))))
        path.append(key)
        node = node[key]
    if data.draw(st.booleans()):
        del parent[key]
    else:
        parent[key] = data.draw(st.sampled_from([None, -1, 0.5, 10**30, "x", "q7", [], {}, [1], True]))
    schema = published("plan-2")
    problem = first_problem(schema, content)
    assert (problem is None) == jsonschema.Draft202012Validator(schema).is_valid(content), (path, problem)
