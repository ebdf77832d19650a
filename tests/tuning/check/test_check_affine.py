# SPDX-License-Identifier: Apache-2.0
"""--check of networks with zero points: against the float network that they came from, or alone."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import jsonschema
import numpy as np
import pytest

import tuning
from helpers.tflite_files import O, T, build
from tuning import OptionError
from tuning.check import Check, TensorCheck
from tuning.importers.float_network import from_layers
from tuning.quantize import AffineQuantized, load_data, quantize_affine
from tuning.schemas import published

MODELS = Path(__file__).resolve().parents[3] / "configs" / "models"
SCHEMES = pytest.mark.parametrize("scheme", ["int8", "int16x8"])
SHAPE = (6, 6, 2)


def samples(count: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.2, 1, (count, *SHAPE)).astype(np.float32)


@cache
def quantised(scheme: str) -> AffineQuantized:
    rng = np.random.default_rng(7)
    layers = [
        {"op": "conv2d", "name": "first", "weights": rng.normal(0, 0.4, (5, 3, 3, 2)), "bias": rng.normal(0, 1, 5),
         "padding": 1, "stride": 2, "activation": "relu"},
        {"op": "fully_connected", "name": "second", "weights": rng.normal(0, 0.3, (4, 45))},
        {"op": "softmax", "name": "prob"},
    ]  # fmt: skip
    return quantize_affine(from_layers(layers, SHAPE), samples(200), scheme=scheme)


def tensor(check: Check, name: str) -> TensorCheck:
    return next(item for item in check.tensors if item.name == name)


def decibels(wanted: np.ndarray, got: np.ndarray) -> float:
    return 10 * np.log10(np.square(wanted).sum() / np.square(got - wanted).sum())


@SCHEMES
def test_every_layer_is_held_against_its_float_twin(tmp_path: Path, scheme: str) -> None:
    result = quantised(scheme)
    model = tuning.load_model(result.save(tmp_path / "net.yaml"))
    x = samples(50, 2)
    wanted = {layer.name: out.reshape(50, -1).astype(np.float64) for layer, out in result.twin.tensors(x)}
    found = tuning.check(model, tuning.quantize.Data(x, wanted["prob"].argmax(axis=1)))
    assert [item.name for item in found.tensors] == ["input", "first", "second", "prob"]
    assert found.passed
    assert (found.has_reference, found.dtype, found.float_accuracy) == (True, model.dtype, 1.0)
    outputs = result.outputs(x).reshape(50, -1)
    assert found.fixed_accuracy == (outputs.argmax(axis=1) == wanted["prob"].argmax(axis=1)).mean()
    assert tensor(found, "prob").snr_db == pytest.approx(decibels(wanted["prob"], outputs), abs=0.01)
    assert tensor(found, "prob").max_error == pytest.approx(np.abs(outputs - wanted["prob"]).max(), rel=1e-5)
    # The sums of the dense layer, by the file's own numbers.
    first = tensor(found, "first")
    assert (first.scale, first.zero_point) == (result.scales[1].scale, result.scales[1].zero_point)
    file = result.file.subgraphs[0]
    dense = next(op for op in file.ops if op.code == "FULLY_CONNECTED")
    weights, bias = (file.tensors[index].data.astype(np.int64) for index in dense.inputs[1:])
    reach = (np.abs(weights).sum(axis=1) * max(127 - first.zero_point, first.zero_point + 128) + np.abs(bias)).max()
    if scheme == "int8":
        assert tensor(found, "second").sure_bits == pytest.approx(31 - np.log2(reach), abs=0.01)
        assert tensor(found, "second").headroom_bits >= tensor(found, "second").sure_bits
    content = tuning.tune(model, tuning.load_target("cortex-m4")).to_dict() | {"check": found.to_dict()}
    jsonschema.validate(content, published("plan-2"))


def test_what_lies_beyond_the_range_is_counted(tmp_path: Path) -> None:
    result = quantised("int8")
    model = tuning.load_model(result.save(tmp_path / "net.yaml"))
    x = 30 * samples(20, 3)
    found = tuning.check(model, x)
    first = result.scales[0]
    assert tensor(found, "input").saturated == (np.rint(x / first.scale) + first.zero_point > 127).sum() + (
        np.rint(x / first.scale) + first.zero_point < -128
    ).sum()
    assert tensor(found, "second").saturated > 0


def test_the_first_layer_that_breaks_is_named(tmp_path: Path) -> None:
    model = tuning.load_model(quantised("int8").save(tmp_path / "net.yaml"))
    with np.load(tmp_path / "net_float.npz") as stored:
        arrays = dict(stored)
    arrays["second/weights"] = -arrays["second/weights"]
    np.savez(tmp_path / "net_float.npz", **arrays)
    found = tuning.check(model, samples(50, 2))
    assert found.first_break is not None
    assert found.first_break.name == "second"
    assert not found.passed
    assert "dB, below 10" in str(found.first_break.problem)


def test_a_file_alone_has_ranges_and_accuracy() -> None:
    """Of any network: its own integers are made of the data by the input's scale."""
    model = tuning.load_model("digits_resnet")
    data = load_data(MODELS / "digits_test.npz")
    found = tuning.check(model, data)
    assert (found.has_reference, found.float_accuracy) == (False, None)
    assert found.fixed_accuracy == pytest.approx(0.9933, abs=1e-4)
    assert [item.name for item in found.tensors][1] == "conv2d_0"
    assert found.passed


@pytest.mark.emulated
@SCHEMES
def test_firmware_is_checked_too(tmp_path: Path, scheme: str) -> None:
    model = tuning.load_model(quantised(scheme).save(tmp_path / "net.yaml"))
    plan = tuning.tune(model, tuning.load_target("cortex-m4"))
    found = tuning.check(model, samples(6, 2), plan)
    assert found.emulated is not None
    assert (found.emulated.samples, found.emulated.equal) == (6, 6)


def test_several_inputs_are_refused(tmp_path: Path) -> None:
    scales = {"scale": 0.5}
    pair = [T("a", (1, 4), **scales), T("b", (1, 4), **scales), T("y", (1, 4), **scales)]
    path = tmp_path / "m.tflite"
    path.write_bytes(build(pair, [O("ADD", ["a", "b"], ["y"])], ["a", "b"], ["y"]))
    with pytest.raises(OptionError, match="--check: expected a network of one input and one output"):
        tuning.check(tuning.load_model(path), np.zeros((1, 4)))


def test_a_float_file_that_is_none_is_refused(tmp_path: Path) -> None:
    path = quantised("int8").save(tmp_path / "net.yaml")
    model, other = tuning.load_model(path), tmp_path / "net_float.npz"
    with np.load(other) as stored:
        arrays = dict(stored)
    for changed in ({"layers": np.array("[]")}, {"layers": np.array("{")}, {"layers": np.array('[{"op": "conv2d"}]')},
                    {"input_layout": np.array("XYZ")}, {"softmax_base": np.array(0.0)},
                    {"input_shape": np.array([9, 9, 9])}, {"layers": np.array("7")}):  # fmt: skip
        np.savez(other, **arrays | changed)
        with pytest.raises(tuning.ModelError, match=r"net_float\.npz: "):
            tuning.check(model, samples(2))
    rows = json.loads(str(arrays["layers"]))
    for name in ("other", "second"):
        rows[0]["name"] = name
        arrays |= {f"{name}/{kind}": arrays[f"first/{kind}"] for kind in ("weights", "bias")}
        np.savez(other, **arrays | {"layers": np.array(json.dumps(rows[:1]))})
        with pytest.raises(tuning.ModelError, match=f"{name}: expected a tensor of the model's"):
            tuning.check(model, samples(2))
    other.unlink()
    with pytest.raises(tuning.ModelError, match="no such file; it is named by 'float'"):
        tuning.check(model, samples(2))
