# SPDX-License-Identifier: Apache-2.0
"""The same network as a `.tflite` file and as a model file: the same graph, the same bytes."""

from __future__ import annotations

import importlib
import sys
import zlib
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import tuning
from cmsisnn_x.described import described
from helpers.int8_graph import Interpreter, assert_same_bytes
from helpers.samples import one_in
from helpers.tflite_cases import Case
from helpers.tflite_cases_elements import ELEMENTS
from helpers.tflite_cases_layers import LAYERS
from helpers.tflite_cases_moves import MOVES
from helpers.tflite_cases_networks import NETWORKS
from helpers.yaml_files import rewritten, write
from helpers.yaml_networks import RandomNetwork
from tuning import ModelError
from tuning.emulate import find_toolchain
from tuning.importers.tflite.converters import CONVERTERS
from tuning.importers.tflite.converters.elements import of_floats_alone
from tuning.importers.tflite.file import read
from tuning.importers.yaml.forms import FORMS
from tuning.importers.yaml.operations import OPERATIONS
from tuning.importers.yaml.writer import write_yaml_graph
from tuning.measure import folder
from tuning.model import Model, int8_schema

CASES: dict[str, Case] = {**LAYERS, **ELEMENTS, **MOVES, **NETWORKS}
WITHOUT = {
    "weights that are computed": "(TRANSPOSE): tensor 9 'w' of 5 scales",
    "an output twice": "an output twice",
    "an inner output twice": "an output twice",
    "an input that is two outputs": "an output twice",
    "variables": "(VAR_HANDLE)",
    "variables whose new values are outputs": "(VAR_HANDLE)",
    **{name: "no form for operator" for name in CASES if "island" in name or "in float" in name},
}
"""Files that have no form, and what is said of them."""


def graph_of(model: Model) -> list[tuple[object, ...]]:
    """All of a graph but the names of its tensors."""
    places = {name: f"input {at}" for at, name in enumerate(model.graph.inputs)}
    found: list[tuple[object, ...]] = []
    for node in model.graph.nodes:
        layer = {**described(node.layer, ("weights", "bias", "table")), "name": ""}
        arrays = [node.layer.weights, node.layer.bias, node.layer.table]
        reads = []
        for name in node.inputs:
            value = model.graph.tensors[name].value
            reads.append(places[name] if value is None else value.reshape(-1).tolist())
        found.append((layer, [None if one is None else one.tolist() for one in arrays], reads))
        places |= {name: f"{len(found)} {at}" for at, name in enumerate(node.outputs)}
    found.append(tuple(places[name] for name in model.graph.outputs))
    return found


@pytest.mark.parametrize("name", one_in(6, [name for name in CASES if name not in WITHOUT]))
def test_a_file_written_as_a_model_file_is_the_same_graph(tmp_path: Path, name: str) -> None:
    case = CASES[name]
    path = case.write(tmp_path / "net.tflite")
    again = rewritten(tmp_path, read(path))
    for arithmetic in case.arithmetics:
        for rewrites in (True, False):
            first, second = (
                tuning.load_model(source, arithmetic=arithmetic, rewrites=rewrites) for source in (path, again)
            )
            numbers = [[replace(port, name="", tensor="") for port in model.inputs] for model in (first, second)]
            assert [replace(port, shape=()) for port in numbers[0]] == [replace(port, shape=()) for port in numbers[1]]
            if rewrites:
                assert graph_of(first) == graph_of(second), again.read_text()
                # Copies that requantise are called after their layer.
                if "of other scales" not in name:
                    assert [layer.name for layer in first.layers] == [layer.name for layer in second.layers]
        values = list(case.draw(3).values())
        one, other = (Interpreter(model.graph).run(*values) for model in (first, second))
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a.reshape(-1), b.reshape(-1), strict=True)


@pytest.mark.parametrize("name", WITHOUT)
def test_what_has_no_form_is_named(tmp_path: Path, name: str) -> None:
    path = CASES[name].write(tmp_path / "net.tflite")
    with pytest.raises(ModelError, match="a model file has no form for") as caught:
        write_yaml_graph(read(path), "net")
    assert WITHOUT[name] in str(caught.value)


RANDOM = range(40)


@pytest.mark.parametrize("seed", RANDOM)
def test_random_model_files_compute_what_the_oracle_says(tmp_path: Path, seed: int) -> None:
    made = RandomNetwork(seed, 3 + seed % 8)
    model = tuning.load_model(made.write(tmp_path))
    assert [port.name for port in model.outputs] == made.outputs
    network = model.network()
    for one in (1, 2):
        x = made.draw(one)
        outputs = network.run(x)
        for found, expected in zip(outputs if isinstance(outputs, tuple) else (outputs,), made.expect(x), strict=True):
            np.testing.assert_array_equal(found.reshape(-1), expected.reshape(-1), strict=True)


def test_random_model_files_have_every_kind_of_operation() -> None:
    used = {layer["op"] for seed in RANDOM for layer in RandomNetwork(seed, 3 + seed % 8).layers}
    assert set(OPERATIONS) - used <= {"gather", "quantize", "relu_n1_to_1", "stack", "unstack"}


def test_every_operation_has_a_class_and_stands_in_the_guide() -> None:
    assert set(OPERATIONS) == set(int8_schema.OPS)
    assert set(int8_schema.OTHER_WORDS.values()) <= set(OPERATIONS)
    assert not set(int8_schema.OTHER_WORDS) & set(OPERATIONS)
    guide = (Path(__file__).resolve().parents[4] / "configs" / "models" / "README.md").read_text(encoding="utf-8")
    assert {name for name in OPERATIONS if f"`{name}`" not in guide} == set()


def test_every_operator_but_those_of_floats_and_states_is_written() -> None:
    states = {"ASSIGN_VARIABLE", "CALL_ONCE", "READ_VARIABLE", "VAR_HANDLE"}
    floats = {code for code, converter in CONVERTERS.items() if converter is of_floats_alone}
    assert set(CONVERTERS) - set(FORMS) == states | floats | {"DEQUANTIZE", "DIV"}


@pytest.mark.parametrize("name", ["image_classification", "keyword_spotting"])
def test_networks_of_mlperf_get_the_same_plan(tmp_path: Path, name: str) -> None:
    path = tmp_path / "net.tflite"
    path.write_bytes(getattr(mlperf(), name)())
    target = tuning.load_target("cortex-m4")
    first, second = (
        tuning.tune(tuning.load_model(source), target).to_dict() for source in (path, rewritten(tmp_path, read(path)))
    )
    assert [layer["name"] for layer in first["layers"]] == [layer["name"] for layer in second["layers"]]
    for key in ("cycles", "variant", "input_offset", "output_offset", "flash_bytes"):
        assert [layer[key] for layer in first["layers"]] == [layer[key] for layer in second["layers"]]
    assert first["totals"] == second["totals"]
    assert first["rewrites"] == second["rewrites"]


def mlperf() -> ModuleType:
    """Of the benchmarks, which are no package of ours."""
    root = Path(__file__).resolve().parents[4]
    sys.path.insert(0, str(root / "benchmarks"))
    try:
        return importlib.import_module("benchmarks.mlperf")
    finally:
        sys.path.remove(str(root / "benchmarks"))


NET = """schema: 1
name: net
input: {shape: [9, 8, 3], dtype: int8, scale: 0.03, zero_point: -5}
layers:
  - {name: a, op: conv2d, out_channels: 6, kernel: 3, stride: 2, padding: 1, activation: relu, variant: {unroll: 2}}
  - {name: b, op: conv2d, out_channels: 6, kernel: 1}
  - {name: parts, op: split, inputs: [b], parts: 2}
  - {name: s, op: add, inputs: [parts.0, parts.1]}
  - {name: parts_1, op: concat, inputs: [a, s]}
  - {name: m, op: max_pool2d, kernel: 2}
  - {name: fc, op: fully_connected, out_features: 4}
  - {name: prob, op: softmax}
"""


def test_layers_keep_their_names_and_pins(tmp_path: Path) -> None:
    for rewrites in (True, False):
        model = tuning.load_model(write(tmp_path, NET), rewrites=rewrites)
        names = [layer.name for layer in model.layers]
        assert set(names) >= {"a", "b", "s", "parts_1", "m", "fc", "prob"}
        assert ("a_pad" in names) != rewrites
        assert len({name.lower() for name in names}) == len(names)
        assert next(layer for layer in model.layers if layer.name == "parts_1").op == "concat", "the name is the file's"
        plan = tuning.tune(model, tuning.load_target("cortex-m4"))
        chosen = {item.layer.name: item.variant for item in plan.layers}
        assert chosen["a"] is not None
        assert chosen["a"].unroll == 2
        assert (model.inputs[0].name, model.outputs[0].name) == ("input", "prob")


def test_rewrites_and_the_arithmetic_of_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, NET + "arithmetic: litert\n")
    assert tuning.load_model(path).arithmetic == "litert"
    assert tuning.load_model(path, arithmetic="tflm").arithmetic == "tflm"
    assert tuning.load_model(write(tmp_path, NET), name="other").name == "other"
    plain, short = (tuning.load_model(path, rewrites=rewrites) for rewrites in (False, True))
    assert_same_bytes(plain.graph, short.graph, np.random.default_rng(2))


def test_the_target_and_the_budget_are_the_files(tmp_path: Path) -> None:
    model = tuning.load_model(write(tmp_path, NET + "target: cortex-m3\nbudget: {sram: 64K}\n"))
    assert (model.target, model.budget) == ("cortex-m3", {"sram": 65536, "flash": None})


def test_several_inputs_and_outputs_in_their_order(tmp_path: Path) -> None:
    text = """schema: 1
name: net
inputs: {left: {shape: [4], scale: 0.1}, right: {shape: [4], scale: 0.2, zero_point: 3}}
outputs: [d, left, s]
layers:
  - {name: s, op: add, inputs: [left, right], scale: 0.3}
  - {name: d, op: sub, inputs: [right, left], scale: 0.3, zero_point: 1}
"""
    model = tuning.load_model(write(tmp_path, text))
    assert [(port.name, port.shape, port.scale) for port in model.inputs] == [
        ("left", (1, 4), float(np.float32(0.1))), ("right", (1, 4), float(np.float32(0.2)))
    ]  # fmt: skip
    assert [port.name for port in model.outputs] == ["d", "left", "s"]
    left, right = np.array([10, 20, -30, 40], np.int8), np.array([13, 3, -7, 3], np.int8)
    difference, same, total = model.network().run((left, right))
    assert total.tolist() == [10, 7, -17, 13]
    assert same.tolist() == left.tolist()
    assert difference.tolist() == [4, -6, 4, -12]


@pytest.mark.emulated
def test_firmware_of_a_model_file_is_exact(tmp_path: Path) -> None:
    plan = tuning.tune(tuning.load_model(write(tmp_path, NET)), tuning.load_target("cortex-m4"))
    tuning.emit(plan, tmp_path / "out")
    for layer in ("a", "b", "s", "fc", "prob"):
        assert f"void net_{layer}(" in (tmp_path / "out" / "net.h").read_text()
    firmware = folder.load(tmp_path / "out")
    result = folder.verify(firmware, find_toolchain(), folder.draw_inputs(firmware, 2), target=plan.target)
    assert result.exact, result.mismatches[0]


# ---------------------------------------------------------------- weights


def test_weights_are_drawn_from_names_alone(tmp_path: Path) -> None:
    model = tuning.load_model(write(tmp_path, NET))
    layer = next(layer for layer in model.layers if layer.name == "b")
    assert layer.weights is not None
    rng = np.random.default_rng(zlib.crc32(b"net/b/weights"))
    np.testing.assert_array_equal(layer.weights, rng.integers(-127, 127, (6, 1, 1, 6), endpoint=True))
    assert tuning.load_model(write(tmp_path, NET)).digest == model.digest
    assert tuning.load_model(write(tmp_path, NET), name="other").digest != model.digest


def saturated(model: Model, x: np.ndarray) -> dict[str, float]:
    """The share of outputs at an end of their range; the zeros of a ReLU are none."""
    found = {}
    trace = model.network().trace(x)
    for layer in model.layers:
        values, scheme = trace[layer.name], layer.scheme
        low = getattr(scheme, "low", -128)
        is_relu = low == getattr(scheme, "output_zero_point", None)
        found[layer.name] = float(((values == layer.output_type.high) | ((values == low) & (not is_relu))).mean())
    return found


CHAIN = """schema: 1
name: chain
input: {shape: [12, 12, 4], dtype: DTYPE, scale: 0.01, zero_point: 0}
layers:
  - {name: a, op: conv2d, out_channels: 24, kernel: 3, padding: same, scale: 0.7, zero_point: 0}
  - {name: b, op: depthwise_conv2d, kernel: 3, activation: relu}
  - {name: c, op: add, inputs: [b, b]}
  - {name: d, op: multiply, inputs: [b, c]}
  - {name: e, op: conv2d, out_channels: 16, kernel: 1, activation: relu6}
  - {name: g, op: conv2d, inputs: [e], out_channels: 16, kernel: 3, activation: relu_n1_to_1}
  - {name: h, op: fully_connected, out_features: 40}
"""


@pytest.mark.parametrize("dtype", ["int8", "int16"])
def test_few_outputs_saturate_where_weights_are_drawn(tmp_path: Path, dtype: str) -> None:
    model = tuning.load_model(write(tmp_path, CHAIN.replace("DTYPE", dtype)))
    own = model.inputs[0].dtype
    limits = np.iinfo(own)
    x = np.random.default_rng(9).integers(limits.min, limits.max, (8, 1, 12, 12, 4), own, endpoint=True)
    found = saturated(model, x)
    assert {name: share for name, share in found.items() if share >= 0.1} == {}
    outputs = model.network().trace(x)
    for layer in model.layers:
        assert len(np.unique(outputs[layer.name])) > 20, layer.name


def arrays() -> dict[str, np.ndarray]:
    return {
        "c/weights": np.ones((6, 3, 3, 4), np.int8), "c/weights_scale": np.full(6, 0.1, np.float32),
        "c/bias": np.zeros(6, np.int32),
    }  # fmt: skip


WITH_WEIGHTS = """schema: 1
name: net
input: {shape: [8, 8, 4], dtype: int8, scale: 0.1}
weights: net.npz
layers:
  - {name: c, op: conv2d, out_channels: 6, kernel: 3, scale: 0.5}
"""


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"c/weights": None}, "array 'c/weights' is missing"),
        ({"c/weights_scale": None}, "array 'c/weights_scale' is missing"),
        ({"c/weights": np.ones((6, 3, 3, 4), np.int16)}, "c/weights: expected int8 of shape [6, 3, 3, 4], got int16"),
        ({"c/weights": np.ones((6, 3, 4, 3), np.int8)}, "c/weights: expected int8 of shape [6, 3, 3, 4]"),
        ({"c/weights_scale": np.ones(5, np.float32)}, "c/weights_scale: expected float32 of shape [6], got"),
        ({"c/weights_scale": np.ones(6)}, "c/weights_scale: expected float32 of shape [6], got float64"),
        ({"c/weights_scale": np.full(6, np.nan, np.float32)}, "c/weights_scale: expected finite numbers above 0"),
        ({"c/weights_scale": np.zeros((), np.float32)}, "c/weights_scale: expected finite numbers above 0, got 0.0"),
        ({"c/bias": np.ones(6, np.int64)}, "c/bias: expected int32 of shape [6], got int64"),
        ({"d/weights": np.ones(6, np.int8)}, "no layer takes the array 'd/weights'"),
    ],
)
def test_an_archive_that_does_not_fit(tmp_path: Path, changes: dict[str, np.ndarray | None], expected: str) -> None:
    given = {name: array for name, array in (arrays() | changes).items() if array is not None}
    with pytest.raises(ModelError) as caught:
        tuning.load_model(write(tmp_path, WITH_WEIGHTS, given))
    assert f"net.yaml:4: weights: net.npz: {expected}" in str(caught.value)


@pytest.mark.parametrize("scale", [np.float32(0.1), np.full(1, 0.1, np.float32), np.full(6, 0.1, np.float32)])
def test_scales_of_weights_may_be_one(tmp_path: Path, scale: np.ndarray) -> None:
    given = arrays() | {"c/weights_scale": np.asarray(scale)}
    del given["c/bias"]
    model = tuning.load_model(write(tmp_path, WITH_WEIGHTS, given))
    x = np.full((8, 8, 4), 10, np.int8)
    assert (model.network().run(x) == round(10 * 36 * 0.1 * 0.1 / 0.5)).all()


def test_a_name_in_the_file_of_another_case_keeps_emitted_names_apart(tmp_path: Path) -> None:
    """Copies are called after their layer; macros know no case."""
    text = NET.replace("name: parts_1, op: concat", "name: PARTS_1, op: concat")
    names = [layer.name.lower() for layer in tuning.load_model(write(tmp_path, text), rewrites=False).layers]
    assert len(set(names)) == len(names)
