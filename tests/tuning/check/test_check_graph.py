# SPDX-License-Identifier: Apache-2.0
"""--check of graphs, against the float graph beside the model file."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from onnx.reference import ReferenceEvaluator

import tuning
from helpers.onnx_float import CASES, FloatNet
from tuning import ModelError, OptionError
from tuning.check import with_firmware
from tuning.quantize import GraphQuantized
from tuning.quantize.scores import signal_to_noise
from tuning.quantize.source import FloatSource
from tuning.schemas import published


def quantised(name: str, count: int = 24, scheme: str = "int8") -> tuple[FloatNet, GraphQuantized]:
    shapes, build = CASES[name]
    net = FloatNet(*shapes)
    outputs = build(net)
    proto = net.model(*((outputs,) if isinstance(outputs, str) else outputs))
    found = tuning.quantize(FloatSource(proto, "net").network(scheme, as_graph=True), net.draw(count), scheme)
    assert isinstance(found, GraphQuantized)
    return net, found


@pytest.mark.parametrize("name", ["residual", "two inputs", "two outputs", "SiLU", "branches of several sizes",
                                  "squeeze and excite", "sequences", "dense over time", "channels shuffled",
                                  "AveragePool, not counted"])  # fmt: skip
def test_every_tensor_is_held_against_its_float_twin(tmp_path: Path, name: str) -> None:
    net, result = quantised(name)
    model = tuning.load_model(result.save(tmp_path / "net.yaml"))
    x = net.draw(12)
    found = tuning.check(model, x)
    assert found.has_reference
    assert found.passed
    inputs = [item.name for item in found.tensors[: len(net.inputs)]]
    assert inputs == (["input"] if len(net.inputs) == 1 else list(net.inputs))
    shown = {item.name: item for item in found.tensors}
    values = result.graph.evaluator.run(x)
    integers = result.runnable.run(x)
    for row in result.report:
        item = shown[row.name]
        assert item.snr_db is not None or item.max_error == 0
        assert item.snr_db is None or item.snr_db > 24
        assert item.own_snr_db is None or item.own_snr_db > 30
        if row.tensor in integers:
            wanted = round(signal_to_noise(values[row.tensor], integers[row.tensor]), 1)
            assert item.snr_db == pytest.approx(wanted, abs=0.11)


def test_int16_is_checked_too(tmp_path: Path) -> None:
    net, result = quantised("residual", scheme="int16x8")
    found = tuning.check(tuning.load_model(result.save(tmp_path / "net.yaml")), net.draw(8))
    assert found.dtype == "int16"
    assert found.passed


def test_the_first_layer_that_breaks_is_named_though_another_branch_is_clean(tmp_path: Path) -> None:
    """Weights of one branch are spoiled: what the other branch gives is no excuse."""
    net, result = quantised("two outputs")
    path = result.save(tmp_path / "net.yaml")
    with np.load(tmp_path / "net.npz") as stored:
        arrays = dict(stored)
    spoiled = result.report[-1].name
    arrays[f"{spoiled}/weights"] = -arrays[f"{spoiled}/weights"]
    np.savez(tmp_path / "net.npz", **arrays)
    found = tuning.check(tuning.load_model(path), net.draw(8))
    assert found.first_break is not None
    assert found.first_break.name == spoiled
    assert not found.passed


def test_labels_and_numbers_are_judged_and_the_firmware_runs(tmp_path: Path) -> None:
    net, result = quantised("two inputs")
    model = tuning.load_model(result.save(tmp_path / "net.yaml"))
    x = net.draw(6)
    wanted = result.graph.evaluator.run(x)[result.graph.network.outputs[0]]
    labels = tuning.check(model, {**x, "y": wanted.argmax(axis=1)})
    assert (labels.float_accuracy, labels.fixed_accuracy) == (1.0, 1.0)
    numbers = tuning.check(model, {**x, "y": wanted + 1})
    assert numbers.float_error == pytest.approx(1, abs=1e-5)
    assert numbers.fixed_error == pytest.approx(1, abs=0.1)
    assert numbers.float_accuracy is None
    plan = tuning.tune(model, tuning.load_target("cortex-m4"))
    whole = with_firmware(labels, model, {**x, "y": wanted.argmax(axis=1)}, plan)
    if whole.emulated is None:
        assert whole.not_emulated
    else:
        assert (whole.emulated.equal, whole.emulated.accuracy) == (6, 1.0)
    jsonschema.validate(json.loads(replace(plan, check=whole).to_json()), published("plan-2"))


def test_a_float_graph_of_another_model_is_refused(tmp_path: Path) -> None:
    net, result = quantised("residual")
    path = result.save(tmp_path / "net.yaml")
    _, other = quantised("SiLU")
    other.save(tmp_path / "other.yaml")
    (tmp_path / "net_float.npz").write_bytes((tmp_path / "other_float.npz").read_bytes())
    with pytest.raises(ModelError, match="quantise the model again"):
        tuning.check(tuning.load_model(path), net.draw(4))


def test_data_of_a_graph_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    _, result = quantised("two inputs")
    model = tuning.load_model(result.save(tmp_path / "net.yaml"))
    np.savez(tmp_path / "d.npz", x0=np.zeros((2, 2, 6, 5)))
    with pytest.raises(OptionError, match=r"d\.npz: expected an array for each input, also 'x1'"):
        tuning.check(model, tmp_path / "d.npz")


def test_the_float_file_is_an_onnx_network(tmp_path: Path) -> None:
    """What is stored gives what the original gives."""
    import onnx

    net, result = quantised("squeeze and excite, hard")
    result.save(tmp_path / "net.yaml")
    with np.load(tmp_path / "net_float.npz") as stored:
        proto = onnx.load_model_from_string(stored["onnx"].tobytes())
    x = {name: value[:1] for name, value in net.draw(1).items()}
    shapes, build = CASES["squeeze and excite, hard"]
    again = FloatNet(*shapes)
    wanted = ReferenceEvaluator(again.model(str(build(again)))).run(None, x)[0]
    np.testing.assert_allclose(ReferenceEvaluator(proto).run(None, x)[0], wanted, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("onnx", np.frombuffer(b"\x08\x08:\x03abc", np.uint8)),
        ("onnx", np.zeros(3)),
        ("tensors", np.array("[[1]]")),
        ("tensors", np.array('[["x", "", [[]], [9]]]')),
        ("channels_last", np.array("{")),
    ],
)
def test_a_damaged_float_file_is_refused(tmp_path: Path, key: str, value: np.ndarray) -> None:
    net, result = quantised("residual")
    path = result.save(tmp_path / "net.yaml")
    with np.load(tmp_path / "net_float.npz") as stored:
        arrays = dict(stored)
    np.savez(tmp_path / "net_float.npz", **(arrays | {key: value}))
    with pytest.raises(ModelError, match=r"net_float\.npz: "):
        tuning.check(tuning.load_model(path), net.draw(2))
