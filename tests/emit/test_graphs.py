# SPDX-License-Identifier: Apache-2.0
"""Firmware of graphs: one pointer per tensor, every type as it is, and the Python kernels' bytes in every tensor."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import tuning
from cmsisnn_x.graph import Graph, State
from helpers import int8
from helpers.cores import PLAIN
from helpers.folders import WARNINGS
from helpers.plans import with_layer
from helpers.samples import one_in
from tuning.emit import EmitError
from tuning.emit.project import project
from tuning.emit.text import sources
from tuning.emit.weights import weights_archive
from tuning.emulate import find_toolchain
from tuning.firmware import render
from tuning.measure import folder
from tuning.measure.layers import evaluate
from tuning.model import graph_model
from tuning.plan import Plan
from tuning.plan.file import plan_problem, read_plan_file
from tuning.plan.graph_fields import graph_problem
from tuning.report import render_report
from tuning.schemas import published
from tuning.schemas.check import first_problem

from .test_compile import COMPILERS, compile_for

GRAPH = pytest.mark.parametrize("name", int8.GRAPHS)


def plan_of(name: str, core: str = "cortex-m4") -> Plan:
    model = graph_model(name, int8.GRAPHS[name](), f"{name}.tflite")
    return tuning.tune(model, tuning.load_target(core))


@pytest.fixture(scope="module")
def plans() -> dict[str, Plan]:
    return {name: plan_of(name) for name in int8.GRAPHS}


def test_functions_take_a_pointer_for_every_tensor(plans: dict[str, Plan]) -> None:
    declared = {
        "chain": "chain_run(const int8_t *input, int8_t *output)",
        "two_inputs": "two_inputs_run(const int8_t *input_0, const int8_t *input_1, int8_t *output)",
        "two_outputs": "two_outputs_run(const int8_t *input, int8_t *output_0, int8_t *output_1)",
        "types": "types_run(const uint8_t *input, uint8_t *output)",
    }
    for name, text in declared.items():
        assert f"void {text};" in sources(project(plans[name]))[f"{name}.h"]
    header = sources(project(plans["types"]))["types.h"]
    assert "void types_widen(const int8_t *input, int16_t *output);" in header
    joins = sources(project(plans["residual"]))["residual.h"]
    assert "void residual_join(const int8_t *input_0, const int8_t *input_1, int8_t *output); /* in place */" in joins


def test_what_integers_stand_for_is_in_the_header(plans: dict[str, Plan]) -> None:
    plan = plans["two_outputs"]
    config = sources(project(plan))["two_outputs_config.h"]
    for prefix, tensor in (("INPUT", plan.inputs[0]), ("OUTPUT_0", plan.outputs[0]), ("OUTPUT_1", plan.outputs[1])):
        found = re.search(rf"#define TWO_OUTPUTS_{prefix}_SCALE +(\S+)f\n", config)
        assert found is not None
        assert np.float32(found[1]) == np.float32(tensor.scale)
        assert re.search(rf"#define TWO_OUTPUTS_{prefix}_ZERO_POINT +\(?{tensor.zero_point}\)?\n", config)
    assert re.search(r'#define TWO_OUTPUTS_ARITHMETIC +"tflm"\n', config)


def test_names_of_the_file_stand_beside_pointers_and_scales(plans: dict[str, Plan]) -> None:
    plan = replace(plans["two_outputs"], source_names=(("in:0",), ("boxes", "")))
    texts = sources(project(plan))
    assert re.search(r'\n \* input .*; not changed; the file\'s "in:0"\n', texts["two_outputs.h"])
    assert re.search(r'\n \* output_0 .*; the file\'s "boxes"\n', texts["two_outputs.h"])
    assert re.search(r"\n \* output_1 .*; must not overlap the others\n", texts["two_outputs.h"])
    assert re.search(r'#define TWO_OUTPUTS_OUTPUT_0_SCALE +\S+f /\* "boxes" \*/\n', texts["two_outputs_config.h"])
    assert '; the file\'s "in:0" */' in render(plan)["README.md"]
    content = plan.to_dict()
    assert [one.get("source_name") for one in (*content["inputs"], *content["outputs"])] == ["in:0", "boxes", None]
    assert first_problem(published("plan-2"), content) is None
    assert texts == sources(project(replace(plan)))


@pytest.mark.parametrize("compiler", COMPILERS)
def test_names_of_a_file_end_no_comment(compiler: str, plans: dict[str, Plan], tmp_path: Path) -> None:
    nasty = ('*/ #error "a" /*', "??/\n#error b\\\n#error c\r", "\u2028\x1b[31m \ud800 /" + "*/" * 3000)
    plan = replace(plans["two_outputs"], source_names=((nasty[0],), nasty[1:]))
    content = plan.to_dict()
    assert plan_problem(content) is graph_problem(content) is first_problem(published("plan-2"), content) is None
    (tmp_path / "plan.json").write_text(plan.to_json(), encoding="utf-8")
    read_plan_file(tmp_path / "plan.json")
    tuning.emit(plan, tmp_path / "fw")
    for file in ("two_outputs.h", "two_outputs_config.h", "README.md"):
        assert (tmp_path / "fw" / file).read_text(encoding="ascii").replace("\n", "").isprintable()
    flags = (*WARNINGS, "-Wcomment", "-trigraphs", "-O1", "-I", tmp_path / "fw")
    assert compile_for("cortex-m4", compiler, *flags, "-c", tmp_path / "fw/two_outputs.c", "-o", tmp_path / "o") == ""


@pytest.mark.parametrize("compiler", COMPILERS)
def test_an_input_that_nothing_reads_is_no_warning(compiler: str, tmp_path: Path) -> None:
    b = int8.Builder()
    x = b.input("image", (4,))
    b.input("spare", (3,))
    model = graph_model("spare", b.graph(b.look_up("table", x)), "spare.tflite")
    texts = sources(project(tuning.tune(model, tuning.load_target("cortex-m4"))))
    assert "(void)input_1;" in texts["spare.c"]
    assert "(void)input_0;" not in texts["spare.c"]
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    flags = (*WARNINGS, "-O1", "-I", tmp_path)
    assert compile_for("cortex-m4", compiler, *flags, "-c", tmp_path / "spare.c", "-o", tmp_path / "o") == ""


def test_a_constant_is_an_array_and_no_parameter(plans: dict[str, Plan]) -> None:
    texts = sources(project(plans["constants"]))
    assert "void constants_offset(const int8_t *input_0, int8_t *output);" in texts["constants.h"].replace(
        " /* in place */", ""
    )
    assert "constants_offset_kernel(input_0, constants_offset_input_1, " in texts["constants.c"]
    assert "static const int8_t constants_offset_input_1[4] CXN_ALIGNED" in texts["constants_weights.h"]


def test_samples_are_a_loop_and_not_word_aligned(plans: dict[str, Plan]) -> None:
    texts = sources(project(plans["batch"]))
    assert "for (int32_t sample = 0; sample < 3; sample++) {" in texts["batch.c"]
    assert "batch_first_kernel(input + sample * 7, " in texts["batch.c"]
    assert re.search(r"#define BATCH_SECOND_INPUT_ALIGNED +0\n", texts["batch_config.h"])


def test_what_is_remembered_has_the_shape_of_its_tensor_in_the_folder(plans: dict[str, Plan]) -> None:
    """Importers give it in another one: in files it has that of the tensor, else a folder cannot be read back."""
    plan = plans["states"]
    graph = plan.graph
    other = [State(one.read, one.write, one.initial.reshape(1, -1)) for one in graph.states]
    same = replace(plan, wiring=Graph(graph.tensors.values(), graph.nodes, graph.inputs, graph.outputs, other))
    assert weights_archive(same) == weights_archive(plan)
    assert same.to_json() == plan.to_json()
    readme = render(plan)["README.md"]
    assert "`states_reset()` makes it forget" in readme
    assert f"| states: what it remembers between runs | {plan.state_bytes} |" in readme


def test_what_is_remembered_can_be_forgotten(plans: dict[str, Plan]) -> None:
    texts = sources(project(plans["states"]))
    assert "void states_reset(void);" in texts["states.h"]
    assert "CXN_MEMCPY(states_state_0, output_2, sizeof states_state_0);" in texts["states.c"]
    assert "CXN_MEMCPY(output_3, output_1, 4);" in texts["states.c"]
    plain = sources(project(plans["chain"]))
    assert "reset" not in plain["chain.h"]
    assert "CXN_MEMCPY" not in plain["chain.c"]
    graph = plans["states"].graph
    nodes = [replace(node, layer=replace(node.layer, name="reset") if node.name == "mix" else node.layer)
             for node in graph.nodes]  # fmt: skip
    broken = type(graph)(graph.tensors.values(), nodes, graph.inputs, graph.outputs, graph.states)
    items = [replace(item, layer=node.layer) for item, node in zip(plans["states"].layers, nodes, strict=True)]
    with pytest.raises(EmitError, match="'reset' is the function that forgets"):
        project(replace(plans["states"], layers=tuple(items), wiring=broken))


WRONG = {
    "an input elsewhere": (3, {"input_offset": 288, "input_offsets": (288, 4)}, "input_offset: expected 0, where stem"),
    "an output over what is alive": (2, {"output_offset": 0}, "expected"),
    "a place for the caller's": (0, {"input_offset": 0}, "expected None, for the caller's buffer, got 0"),
    "one place for two inputs": (3, {"input_offsets": ()}, "input_offsets: expected 2 places, got 1"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_plan_whose_tensors_do_not_meet_is_refused(case: str, plans: dict[str, Plan]) -> None:
    index, changes, says = WRONG[case]
    plan = plans["residual"]
    if changes.get("input_offsets"):
        first = plan.layers[index].input_offsets[0]
        changes = {"input_offset": first, "input_offsets": (first, 4)}
    with pytest.raises(EmitError, match=re.escape(says)):
        project(with_layer(plan, index, **changes))


def test_another_graph_is_refused(plans: dict[str, Plan]) -> None:
    with pytest.raises(EmitError, match="a graph of the layers of the plan"):
        project(replace(plans["residual"], wiring=int8.residual()))


@GRAPH
def test_the_same_plan_gives_the_same_text(name: str, plans: dict[str, Plan]) -> None:
    texts = render(plans[name])
    assert texts == render(plans[name])
    assert json.loads(texts["plan.json"])["inputs"][0]["name"] == plans[name].graph.inputs[0]


def test_the_report_draws_what_is_no_chain(plans: dict[str, Plan]) -> None:
    for name, plan in plans.items():
        assert ("<h2>The network</h2>" in render_report(plan)) == (
            name not in ("chain", "products", "constants", "batch", "types")
        )


@pytest.mark.emulated
@pytest.mark.parametrize("compiler", one_in(2, COMPILERS))
@GRAPH
def test_c99_without_a_warning(name: str, compiler: str, plans: dict[str, Plan], tmp_path: Path) -> None:
    core = PLAIN[list(int8.GRAPHS).index(name) % 2]
    tuning.emit(plans[name] if core == "cortex-m4" else plan_of(name, core), tmp_path)
    flags = (*WARNINGS, "-O2", "-I", tmp_path)
    assert compile_for(core, compiler, *flags, "-c", tmp_path / f"{name}.c", "-o", tmp_path / "o") == ""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Graphs on cores: every eighth pair, with ``--rest`` every fourth, with ``--full`` all of them."""
    if {"name", "core"} <= set(metafunc.fixturenames):
        step = 1 if metafunc.config.getoption("--full") else 4
        every = [(name, core) for name in int8.GRAPHS for core in PLAIN]
        metafunc.parametrize(("name", "core"), one_in(1 if step == 1 else 2, every[::step]))


@pytest.mark.emulated
def test_every_tensor_has_the_python_kernels_bytes(name: str, core: str, tmp_path: Path) -> None:
    tuning.emit(plan_of(name, core), tmp_path)
    firmware = folder.load(tmp_path)
    found = folder.verify(firmware, find_toolchain(), folder.draw_inputs(firmware, 2))
    assert found.exact, found.mismatches[0]
    assert [layer.name for layer in found.layers] == [node.name for node in firmware.graph.nodes]


@pytest.mark.emulated
def test_a_wrong_constant_is_found(tmp_path: Path, plans: dict[str, Plan]) -> None:
    """The comparison cannot pass by not looking."""
    tuning.emit(plans["constants"], tmp_path)
    path = tmp_path / "constants_weights.h"
    text = path.read_text()
    at = text.index("constants_offset_input_1")
    number = re.compile(r"-?\d+").search(text, text.index("{", at))
    assert number is not None
    path.write_text(f"{text[: number.start()]}{(int(number[0]) + 60) % 100}{text[number.end() :]}")
    firmware = folder.load(tmp_path)
    found = folder.verify(firmware, find_toolchain(), folder.draw_inputs(firmware, 1))
    assert found.mismatches[0].what == "layer offset"


@pytest.mark.emulated
@pytest.mark.parametrize("layer", ["join", "mean", "act"])
def test_layers_of_graphs_are_measured_alone(layer: str, plans: dict[str, Plan]) -> None:
    step = next(step for step in plans["residual"].steps if step.name == layer)
    found = evaluate(step, "cortex-m4")
    assert found.cycles > 0
    assert len(found.output) == step.last.output_bytes
