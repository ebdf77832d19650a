# SPDX-License-Identifier: Apache-2.0
"""--check: what is counted is what happens, the layer that breaks is named, bad data are refused in one sentence."""

from __future__ import annotations

import json
from dataclasses import replace
from html.parser import HTMLParser
from math import e, inf, log10
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from typer.testing import CliRunner

import tuning
from cmsisnn_x import Network
from cmsisnn_x.layers import Layer
from cmsisnn_x.scheme import wrapped
from helpers.networks import NETWORKS, inputs
from helpers.plans import make_plan
from tuning import check as check_module
from tuning.base.errors import MissingToolError, ModelError, OptionError
from tuning.check import Check, TensorCheck, check_model, jobs, with_firmware
from tuning.check.accumulators import accumulators, reach, requantised
from tuning.check.result import check_words
from tuning.cli.main import app
from tuning.quantize import evaluate, load_data
from tuning.schemas import published

WEIGHTED = ("conv2d", "depthwise_conv2d", "fully_connected")

# ---------------------------------------------------------------- models made by hand


def to_q7(values: np.ndarray, fraction: int) -> np.ndarray:
    return np.clip(np.floor(np.asarray(values, float) * 2.0**fraction + 0.5), -128, 127).astype(np.int8)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def write_model(
    folder: Path, layers: list[str], arrays: dict, floats: dict | None = None, shape=(4,), dtype="q7"
) -> Path:
    """``net.yaml`` with the given layer lines, its weights, and its float file if there is to be one."""
    np.savez(folder / "net.npz", **arrays)
    lines = ["schema: 1", "name: net", f"input: {{shape: {list(shape)}, dtype: {dtype}}}", "weights: net.npz"]
    if floats is not None:
        common = {"input_layout": "NHWC", "output_layout": "NHWC", "softmax_base": np.float64(e)}
        np.savez(folder / "net_float.npz", **(common | floats))
        lines.append("float: net_float.npz")
    path = folder / "net.yaml"
    path.write_text("\n".join([*lines, "layers:", *(f"  - {line}" for line in layers)]) + "\n", encoding="utf-8")
    return path


def two_dense(
    folder: Path, rng: np.random.Generator, *, shift: int = 0, softmax: bool = False, **floats: object
) -> Path:
    """4 -> 6 -> 3 with 6, 5 and 4 fraction bits; `shift` spoils the second layer's out_shift."""
    a, b = rng.uniform(-0.9, 0.9, (6, 4)), rng.uniform(-0.5, 0.5, (3, 6))
    bias_a, bias_b = rng.uniform(-0.5, 0.5, 6), rng.uniform(-0.5, 0.5, 3)
    arrays = {"one/weights": to_q7(a, 7), "one/bias": to_q7(bias_a, 7)}
    arrays |= {"two/weights": to_q7(b, 7), "two/bias": to_q7(bias_b, 7)}
    layers = [
        "{name: one, op: fully_connected, out_features: 6, bias_shift: 6, out_shift: 8, activation: relu}",
        f"{{name: two, op: fully_connected, out_features: 3, bias_shift: 5, out_shift: {8 + shift}}}",
    ]
    given = {"input_fraction": 6, "one/fraction": 5, "two/fraction": 4}
    for name, weights, bias in (("one", a, bias_a), ("two", b, bias_b)):
        given |= {f"{name}/weights": weights.astype(np.float32), f"{name}/bias": bias.astype(np.float32)}
        given |= {f"{name}/weights_fraction": 7, f"{name}/bias_fraction": 7}
    if softmax:
        layers.append("{name: prob, op: softmax}")
        given["prob/fraction"] = 7
    return write_model(folder, layers, arrays, given | floats)


def tensor(found: Check, name: str) -> TensorCheck:
    return next(t for t in found.tensors if t.name == name)


def decibels(wanted: np.ndarray, got: np.ndarray) -> float:
    return round(10 * log10(float((wanted**2).sum() / ((wanted - got) ** 2).sum())), 2)


# ---------------------------------------------------------------- accumulators


@pytest.mark.parametrize("name", [name for name, layers in NETWORKS.items() if any(la.op in WEIGHTED for la in layers)])
def test_accumulators_lead_to_the_kernels_outputs(name: str) -> None:
    """Shifted and clamped, they are what the kernels give, wrapped ones included; none exceeds the bound."""
    layers = NETWORKS[name]
    source = np.stack(inputs(layers, 4))
    trace = Network(layers).trace(source)
    for layer in layers:
        if layer.op in WEIGHTED:
            sums = accumulators(layer, source)
            assert sums.dtype == np.int64
            assert int(np.abs(sums).max()) <= reach(layer)
            info = np.iinfo(layer.numpy_dtype)
            got = np.clip(requantised(layer, sums), info.min, info.max)
            got = np.maximum(got, 0) if layer.activation == "relu" else got
            assert np.array_equal(got, trace[layer.name])
        source = trace[layer.name]


def test_accumulators_beyond_float_are_exact() -> None:
    """2**24 is where float32 ends, 2**31 where the kernels' 32 bits end."""
    for columns, expected in ((1, 2**30), (4, 2**32), (1000, 1000 * 2**30)):
        weights, bias = np.full((1, columns), -(2**15), np.int16), np.array([1], np.int16)
        layer = Layer("x", "fully_connected", "q15", (columns,), (1,), weights_dtype="q15", weights=weights, bias=bias)
        x = np.full((1, columns), -(2**15), np.int16)
        assert accumulators(layer, x).item() == expected + 1
        assert reach(layer) == expected + 1
        assert wrapped(accumulators(layer, x)).item() == (expected + 1 + 2**31) % 2**32 - 2**31


def test_sums_of_odd_numbers_are_exact(rng: np.random.Generator) -> None:
    weights = (rng.integers(-(2**14), 2**14, (5, 900)) * 2 + 1).astype(np.int16)
    x = (rng.integers(-(2**14), 2**14, (7, 900)) * 2 + 1).astype(np.int16)
    bias = np.zeros(5, np.int16)
    layer = Layer("x", "fully_connected", "q15", (900,), (5,), weights_dtype="q15", weights=weights, bias=bias)
    assert np.array_equal(accumulators(layer, x), x.astype(np.int64) @ weights.astype(np.int64).T)


def test_bound_is_reached_by_the_worst_input() -> None:
    weights = np.array([[3, -7, 127], [1, 1, 1]], np.int8)
    layer = Layer(
        "x", "fully_connected", "q7", (3,), (2,), bias_shift=3, out_shift=4, weights_dtype="q7", weights=weights,
        bias=np.array([5, -1], np.int8),
    )  # fmt: skip
    worst = np.array([[-128, -128, -128]], np.int8) * np.sign(weights[0])
    sums = accumulators(layer, worst.astype(np.int8))
    assert int(np.abs(sums).max()) <= reach(layer) == 128 * 137 + 5 * 8 + 8


# ---------------------------------------------------------------- float against fixed


def test_signal_to_noise_and_errors(tmp_path: Path, rng: np.random.Generator) -> None:
    path = two_dense(tmp_path, rng)
    model = tuning.load_model(path)
    x = rng.uniform(-1.9, 1.9, (50, 4)).astype(np.float32)
    found = check_model(model, x)
    floats = np.load(tmp_path / "net_float.npz")
    source = to_q7(x, 6)
    trace = Network(model.layers).trace(source)
    one = np.maximum(x @ floats["one/weights"].T + floats["one/bias"], 0)
    two = one @ floats["two/weights"].T + floats["two/bias"]
    fixed_one, fixed_two = trace["one"] / 2**5, trace["two"] / 2**4
    assert tensor(found, "input").snr_db == decibels(x.astype(float), source / 2**6)
    assert tensor(found, "one").snr_db == tensor(found, "one").snr_db == decibels(one.astype(float), fixed_one)
    assert tensor(found, "two").snr_db == decibels(two.astype(float), fixed_two)
    alone = fixed_one @ floats["two/weights"].T.astype(float) + floats["two/bias"]
    assert tensor(found, "two").own_snr_db == pytest.approx(decibels(alone, fixed_two), abs=0.011)
    assert tensor(found, "two").max_error == pytest.approx(float(np.abs(two - fixed_two).max()), rel=1e-5)
    assert found.has_reference
    assert found.samples == 50
    assert (tensor(found, "one").format, tensor(found, "input").format) == ("Q2.5", "Q1.6")
    assert (tensor(found, "two").weights_fraction, tensor(found, "two").bias_fraction) == (7, 7)
    for layer in model.layers:
        t, values = tensor(found, layer.name), trace[layer.name]
        assert (t.minimum, t.maximum, t.elements) == (values.min(), values.max(), values.size)
        ordered = np.sort(np.abs(values[values != 0].astype(int)))
        assert [2**q for q in t.quartiles] == pytest.approx([ordered[(len(ordered) - 1) * k // 4] for k in (1, 2, 3)])
        peak = int(np.abs(accumulators(layer, source)).max())
        assert t.headroom_bits == pytest.approx(31 - np.log2(peak), abs=0.01)
        assert t.sure_bits == pytest.approx(31 - np.log2(reach(layer)), abs=0.01)
        assert t.sure_bits <= t.headroom_bits
        source = values
    assert found.first_break is None
    assert found.passed


def test_the_first_layer_that_breaks_is_named(tmp_path: Path, rng: np.random.Generator) -> None:
    """A shift that is off by one makes outputs twice too small: half the signal is error."""
    found = check_model(tuning.load_model(two_dense(tmp_path, rng, shift=1)), rng.uniform(-1, 1, (40, 4)))
    assert found.first_break is tensor(found, "two")
    assert 5 < tensor(found, "two").snr_db < 7
    assert "signal-to-noise ratio of" in found.first_break.problem
    assert tensor(found, "one").problem is None
    assert not found.passed
    assert found.to_dict()["first_break"]["name"] == "two"


@pytest.mark.parametrize("scheme", ["q7", "q15", "int8"])
@pytest.mark.parametrize("curve", ["sigmoid", "tanh"])
@pytest.mark.parametrize("is_last", [True, False])
def test_noise_that_does_not_come_out_breaks_nothing(tmp_path: Path, curve: str, scheme: str, is_last: bool) -> None:
    """Saturated values in front of a sigmoid or tanh, of which 8 bits keep a tenth of the power, if that."""
    rng = np.random.default_rng(3)
    layers = [{"op": "fully_connected", "name": "fc", "weights": rng.normal(0, 20, (6, 8)), "bias": np.zeros(6)}]
    layers.append({"op": curve, "name": "curve"})
    if not is_last:
        layers.append({"op": "fully_connected", "name": "last", "weights": rng.normal(0, 0.5, (3, 6))})
    x = rng.normal(0, 1, (100, 8)).astype(np.float32)
    result = tuning.quantize(layers, x, scheme, name="net")
    found = check_model(tuning.load_model(result.save(tmp_path / "net.yaml")), x)
    assert found.passed
    assert found.first_break is None
    if scheme != "int8":
        assert tensor(found, "fc").snr_db < 10 < tensor(found, "curve").snr_db
        assert found.harmless == (tensor(found, "fc"),)
        assert any("fc: a signal-to-noise ratio of" in sentence for sentence in check_words(found))


def test_noise_in_front_of_what_breaks_is_not_named(tmp_path: Path, rng: np.random.Generator) -> None:
    ratios = {"a": 3.0, "b": 20.0, "c": 5.0, "d": 4.0}
    found = check_model(tuning.load_model(two_dense(tmp_path, rng)), rng.uniform(-1, 1, (9, 4)))
    tensors = tuple(replace(found.tensors[-1], name=name, snr_db=ratio) for name, ratio in ratios.items())
    broken = replace(found, tensors=tensors)
    assert [one.name for one in broken.harmless] == ["a"]
    assert [one.name for one in broken.breaking] == ["c", "d"]
    wraps = replace(broken, tensors=(replace(tensors[0], overflows=1), *tensors[1:2]))
    assert wraps.first_break.name == "a"


@pytest.mark.parametrize(("op", "is_flat"), [("sigmoid, int_bits: 3", True), ("sigmoid, int_bits: 0", False)])
def test_saturation_in_front_of_a_flat_end_breaks_nothing(tmp_path: Path, op: str, is_flat: bool) -> None:
    line = "{name: one, op: fully_connected, out_features: 2, out_shift: 0}"
    path = write_model(tmp_path, [line, f"{{name: two, op: {op}}}"], {"one/weights": np.full((2, 4), 127, np.int8)})
    found = check_model(tuning.load_model(path), np.array([[100, 1, 1, 1], [-100, 1, 1, 1]]))
    assert tensor(found, "one").saturated == 4
    assert found.passed is is_flat


def test_data_of_another_scale_are_noticed_at_the_input(tmp_path: Path, rng: np.random.Generator) -> None:
    found = check_model(tuning.load_model(two_dense(tmp_path, rng)), rng.uniform(0, 255, (20, 4)))
    assert found.first_break is tensor(found, "input")
    assert found.first_break.problem.endswith("; see that the data are scaled as the float network takes them")


def test_check_is_a_module_and_a_verb(tmp_path: Path, rng: np.random.Generator) -> None:
    model, x = tuning.load_model(two_dense(tmp_path, rng)), rng.uniform(-1, 1, (5, 4))
    assert tuning.check(model, x) == check_model(model, x)
    assert tuning.check is check_module
    assert "check" in dir(tuning)


def test_batches_do_not_change_the_result(tmp_path: Path, rng: np.random.Generator, monkeypatch) -> None:
    model = tuning.load_model(two_dense(tmp_path, rng))
    x = rng.uniform(-1, 1, (17, 4))
    whole = check_model(model, x)
    monkeypatch.setattr(jobs, "BATCH_BYTES", 2000)
    sizes = [stop - start for start, stop in jobs._batches(model.layers, 17)]
    assert len(sizes) > 2
    assert sum(sizes) == 17
    assert check_model(model, x) == whole


def test_saturation_counts_what_the_clamp_changed(tmp_path: Path) -> None:
    """ReLU's lower end is no saturation; a ReLU6 that ends where the range ends is none either."""
    line = "{name: one, op: fully_connected, out_features: 4, bias_shift: 0, out_shift: 0"
    arrays = {"one/weights": np.diag([1, 2, -2, 1]).astype(np.int8)}
    x = np.array([[127, 100, 100, -128], [127, 63, 64, 5]])
    plain = check_model(tuning.load_model(write_model(tmp_path, [line + "}"], arrays)), x)
    assert tensor(plain, "one").saturated == 2  # 200 and -200
    relu = write_model(tmp_path, [line + ", activation: relu}"], arrays)
    assert tensor(check_model(tuning.load_model(relu), x), "one").saturated == 1
    floats = {"one/weights": np.diag([1, 2, -2, 1]).astype(np.float32), "one/bias": np.zeros(4, np.float32)}
    floats |= {"one/fraction": 4, "one/weights_fraction": 0, "one/bias_fraction": 0, "input_fraction": 4}
    clip = write_model(tmp_path, [line + ", activation: relu}"], arrays, floats | {"one/clip": np.float32(127 / 16)})
    assert tensor(check_model(tuning.load_model(clip), x / 16), "one").saturated == 0
    later = write_model(tmp_path, [line + ", activation: relu}"], arrays, floats | {"one/clip": np.float32(6)})
    assert tensor(check_model(tuning.load_model(later), x / 16), "one").saturated == 1
    beyond = check_model(tuning.load_model(later), np.array([[8.0, 0, 0, 0], [-9, -8.01, 7.9, 7.97]]))
    assert tensor(beyond, "input").saturated == 3  # -8.01 is -128 after rounding


def test_an_accumulator_that_wraps_is_counted_and_breaks_the_layer(tmp_path: Path) -> None:
    arrays = {"one/weights": np.full((2, 3), 32767, np.int16), "one/bias": np.zeros(2, np.int16)}
    arrays["one/weights"][1] = 1
    line = "{name: one, op: fully_connected, out_features: 2, out_shift: 15}"
    model = tuning.load_model(write_model(tmp_path, [line], arrays, shape=(3,), dtype="q15"))
    found = check_model(model, np.array([[32767] * 3, [1, 1, 1]]))
    one = tensor(found, "one")
    assert one.overflows == 1
    assert one.headroom_bits == pytest.approx(31 - np.log2(3 * 32767**2 + 2**14), abs=0.01)
    assert one.headroom_bits < 0
    assert found.first_break is one
    assert one.problem == "1 accumulator exceeds 32 bits and wraps"


def test_softmax_is_compared_only_where_it_means_the_same(tmp_path: Path, rng: np.random.Generator) -> None:
    x = rng.uniform(-1, 1, (20, 4))
    found = check_model(tuning.load_model(two_dense(tmp_path, rng, softmax=True)), x)
    assert (tensor(found, "prob").snr_db, tensor(found, "prob").max_error) == (None, None)
    same = {"softmax_base": np.float64(2), "two/fraction": 0}
    found = check_model(tuning.load_model(two_dense(tmp_path, rng, softmax=True, **same)), x)
    assert tensor(found, "prob").snr_db is not None


# ---------------------------------------------------------------- accuracy and firmware


def test_accuracies(tmp_path: Path, rng: np.random.Generator) -> None:
    path = two_dense(tmp_path, rng, softmax=True)
    model = tuning.load_model(path)
    x = rng.uniform(-1.9, 1.9, (64, 4))
    floats = np.load(tmp_path / "net_float.npz")
    logits = (
        np.maximum(x @ floats["one/weights"].T + floats["one/bias"], 0) @ floats["two/weights"].T + floats["two/bias"]
    )
    labels = rng.integers(0, 3, 64)
    np.savez(tmp_path / "data.npz", x=x, y=labels)
    found = check_model(model, tmp_path / "data.npz")
    assert found.data == "data.npz"
    assert found.float_accuracy == (logits.argmax(axis=1) == labels).mean()
    outputs = Network(model.layers).run(to_q7(x.astype(np.float32), 6))
    assert found.fixed_accuracy == (outputs.argmax(axis=1) == labels).mean()
    np.savez(tmp_path / "data.npz", x=x, y=labels + 1)
    with pytest.raises(OptionError, match=r"data\.npz: y: expected classes in 0\.\.2, got 3"):
        check_model(model, tmp_path / "data.npz")


@pytest.mark.parametrize("scheme", ["q7", "int8"])
def test_errors_of_numbers(tmp_path: Path, rng: np.random.Generator, scheme: str) -> None:
    layers = [{"op": "fully_connected", "weights": rng.normal(0, 1, (2, 4))}]
    x = rng.normal(0, 1, (50, 4)).astype(np.float32)
    y = x @ layers[0]["weights"].T + rng.normal(0, 0.3, (50, 2))
    result = tuning.quantize(layers, (x, y), scheme, name="net")
    model = tuning.load_model(result.save(tmp_path / "net.yaml"))
    np.savez(tmp_path / "data.npz", x=x, y=y)
    found = check_model(model, tmp_path / "data.npz")
    assert found.float_error == pytest.approx(result.errors["output"]["float"])
    assert found.fixed_error == pytest.approx(result.errors["output"][scheme])
    assert (found.float_accuracy, found.fixed_accuracy) == (None, None)


@pytest.mark.emulated
def test_emulated_firmware_is_held_against_the_kernels(tmp_path: Path, rng: np.random.Generator, monkeypatch) -> None:
    monkeypatch.setattr(jobs, "EMULATED_SAMPLES", 100)
    model = tuning.load_model(two_dense(tmp_path, rng))
    plan = tuning.tune(model, tuning.load_target("cortex-m4"))
    x, y = rng.uniform(-1.9, 1.9, (130, 4)), rng.integers(0, 3, 130)
    np.savez(tmp_path / "data.npz", x=x, y=y)
    found = check_model(model, tmp_path / "data.npz", plan)
    assert found.emulated is not None
    assert (found.emulated.samples, found.emulated.equal) == (100, 100)
    right = Network(model.layers).run(to_q7(x.astype(np.float32), 6))[:100].argmax(axis=1) == y[:100]
    assert found.emulated.accuracy == found.emulated.python_accuracy == right.mean()
    other = replace(model, layers=(model.layers[0], replace(model.layers[1], out_shift=9)))
    differs = with_firmware(found, other, tmp_path / "data.npz", plan)
    assert differs.emulated is not None
    assert differs.emulated.equal < 100
    assert not differs.passed


def test_without_an_emulator_the_rest_is_checked(tmp_path: Path, rng: np.random.Generator, monkeypatch) -> None:
    def missing(*_: object) -> None:
        raise MissingToolError("no compiler here")

    monkeypatch.setattr(jobs, "emulate", missing)
    model = tuning.load_model(two_dense(tmp_path, rng))
    found = check_model(model, rng.uniform(-1, 1, (5, 4)), tuning.tune(model, tuning.load_target("cortex-m4")))
    assert found.emulated is None
    assert found.not_emulated == "no compiler here"
    assert found.passed
    assert "The firmware was not emulated: no compiler here" in found._repr_html_()


# ---------------------------------------------------------------- without a float network


def test_without_a_float_network_the_data_are_the_networks_integers(tmp_path: Path) -> None:
    model = tuning.load_model("cifar10")
    x = np.random.default_rng(0).integers(-128, 128, (3, 32, 32, 3))
    found = check_model(model, x)
    assert not found.has_reference
    assert found.float_accuracy is None
    assert all(t.snr_db is None and t.max_error is None and t.fraction is None for t in found.tensors)
    trace = Network(model.layers).trace(x.astype(np.int8))
    assert [(t.minimum, t.maximum) for t in found.tensors[1:]] == [(v.min(), v.max()) for v in trace.values()]
    assert found.passed  # drawn weights saturate fewer than one in ten
    with pytest.raises(
        OptionError, match=r"cifar10\.yaml names no float network.*whole numbers in -128\.\.127, got 128"
    ):
        check_model(model, x + 1)
    with pytest.raises(OptionError, match=r"whole numbers.*got 0\.5"):
        check_model(model, np.full((1, 32, 32, 3), 0.5))


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_of_every_kind_can_be_checked(name: str) -> None:
    layers = NETWORKS[name]
    nothing = {"sram": None, "flash": None}
    model = tuning.Model(
        name, layers[0].dtype, layers[0].input_shape, layers, nothing, None, "0" * 64, Path("net.yaml")
    )
    x = np.stack(inputs(layers, 5))
    found = check_model(model, x)
    trace = Network(layers).trace(x)
    assert [t.name for t in found.tensors] == ["input", *trace]
    assert [(t.minimum, t.maximum) for t in found.tensors[1:]] == [(v.min(), v.max()) for v in trace.values()]
    for t, layer in zip(found.tensors[1:], layers, strict=True):
        assert (t.headroom_bits is None) == (layer.op not in WEIGHTED)
        assert t.saturated <= t.elements
    jsonschema.validate(json.loads(json.dumps(found.to_dict())), published("plan-2")["properties"]["check"] | {"$defs": published("plan-2")["$defs"]})  # noqa: E501  # fmt: skip
    assert found._repr_html_()


def test_many_saturated_outputs_break_a_layer_of_which_nothing_else_is_known(tmp_path: Path) -> None:
    line = "{name: one, op: fully_connected, out_features: 4, out_shift: 0}"
    arrays = {"one/weights": (2 * np.eye(4)).astype(np.int8)}
    found = check_model(tuning.load_model(write_model(tmp_path, [line], arrays)), np.array([[100, 1, 1, 1]]))
    assert found.first_break is not None
    assert found.first_break.problem == "25.0 % of its outputs saturate"


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((3, 5)), r"expected shape \(n, 4\)"),
        (np.zeros(4), "shape"),
        (np.array([["a"] * 4]), "expected numbers"),
        (np.full((1, 4), np.nan), "NaN"),
        (np.full((1, 4), inf), "infinity"),
        (np.zeros((0, 4)), "expected samples"),
    ],
)
def test_arrays_that_are_no_data(tmp_path: Path, rng: np.random.Generator, x: np.ndarray, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        check_model(tuning.load_model(two_dense(tmp_path, rng)), x)


def test_data_of_another_shape_are_named(tmp_path: Path, rng: np.random.Generator) -> None:
    np.savez(tmp_path / "other.npz", x=np.zeros((3, 5)))
    message = r"other\.npz: x: expected shape \(n, 4\)"
    with pytest.raises(OptionError, match=message):
        check_model(tuning.load_model(two_dense(tmp_path, rng)), tmp_path / "other.npz")
    result = tuning.quantize([{"op": "fully_connected", "weights": np.ones((2, 4))}], rng.normal(size=(9, 4)))
    with pytest.raises(OptionError, match=message):
        evaluate(result, load_data(tmp_path / "other.npz"))
    with pytest.raises(OptionError, match=message):
        tuning.quantize([{"op": "fully_connected", "weights": np.ones((2, 4))}], tmp_path / "other.npz")


def test_a_float_file_of_another_model(tmp_path: Path, rng: np.random.Generator) -> None:
    path = two_dense(tmp_path, rng)
    content = dict(np.load(tmp_path / "net_float.npz"))
    del content["two/fraction"]
    np.savez(tmp_path / "net_float.npz", **content)
    with pytest.raises(ModelError, match="two/fraction"):
        check_model(tuning.load_model(path), np.zeros((1, 4)))


# ---------------------------------------------------------------- the command line


def run(*arguments: object):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_command_prints_the_table_and_stores_the_check(tmp_path: Path, rng: np.random.Generator) -> None:
    path = two_dense(tmp_path, rng)
    np.savez(tmp_path / "data.npz", inputs=rng.uniform(-1.9, 1.9, (30, 4)), labels=rng.integers(0, 3, 30))
    done = run(path, "--check", tmp_path / "data.npz", "-o", tmp_path / "out")
    assert done.exit_code == 0, done.output
    found = check_model(tuning.load_model(path), tmp_path / "data.npz")
    for t in found.tensors:
        (line,) = [line for line in done.output.splitlines() if line.strip().startswith(f"{t.name} ") and "Q" in line]
        assert f"{t.snr_db:.1f}" in line.split()
        assert f"{t.minimum}..{t.maximum}" in line
    assert "No layer breaks on 30 samples of data.npz." in done.output
    assert "Emulated firmware equals the Python kernels bit for bit on 30 of 30 samples." in done.output
    content = json.loads((tmp_path / "out" / "plan.json").read_text(encoding="utf-8"))
    jsonschema.validate(content, published("plan-2"))
    assert content["check"]["tensors"] == json.loads(json.dumps(found.to_dict()))["tensors"]
    assert "Float against fixed point" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    as_json = run(path, "--check", tmp_path / "data.npz", "-o", tmp_path / "out", "--json")
    assert json.loads(as_json.stdout) == content


def test_command_says_which_layer_breaks_with_status_1(tmp_path: Path, rng: np.random.Generator) -> None:
    path = two_dense(tmp_path, rng, shift=2)
    np.savez(tmp_path / "data.npz", x=rng.uniform(-1, 1, (10, 4)))
    done = run(path, "--check", tmp_path / "data.npz", "-o", tmp_path / "out")
    assert done.exit_code == 1
    assert "two is the first layer that breaks: a signal-to-noise ratio of" in done.output
    assert (tmp_path / "out" / "report.html").exists()
    for option in ("-q", "--json"):
        done = run(path, "--check", tmp_path / "data.npz", "-o", tmp_path / "out", option)
        assert done.exit_code == 1
        assert "error: data.npz: layer 'two' breaks: a signal-to-noise ratio of" in done.stderr
        assert not done.stdout if option == "-q" else json.loads(done.stdout)
    done = run(path, "--check", "", "-o", tmp_path / "out")
    assert isinstance(done.exception, OptionError)


@pytest.mark.parametrize("kind", ["missing", "text", "empty", "pickle", "keys", "shape", "folder"])
def test_command_refuses_bad_data_before_it_searches(tmp_path: Path, rng: np.random.Generator, kind: str) -> None:
    data = tmp_path / "data.npz"
    if kind == "text":
        data.write_text("x", encoding="utf-8")
    elif kind == "empty":
        data.touch()
    elif kind == "pickle":
        np.savez(data, x=np.array([{}, {}]))
    elif kind == "keys":
        np.savez(data, a=np.zeros((2, 4)), b=np.zeros(2))
    elif kind == "shape":
        np.savez(data, x=np.zeros((2, 5)))
    elif kind == "folder":
        data.mkdir()
    done = run(two_dense(tmp_path, rng), "--check", data, "-o", tmp_path / "out")
    assert isinstance(done.exception, tuning.TuningError), done.output
    assert done.exception.exit_status == 2
    assert "data" in str(done.exception)
    assert "expected" in str(done.exception) or "no such file" in str(done.exception)
    assert len(str(done.exception)) < 400
    assert not (tmp_path / "out").exists()


# ---------------------------------------------------------------- notebooks


class _Table(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.rows: list[list[str]] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data


def test_notebooks_show_plans_and_checks_as_tables(tmp_path: Path, rng: np.random.Generator) -> None:
    plan = make_plan("net", NETWORKS["separable"])
    rows = _Table(plan._repr_html_()).rows
    assert len({len(row) for row in rows}) == 1
    assert [row[0] for row in rows[1:-1]] == [item.layer.name for item in plan.layers]
    assert [row[3] for row in rows[1:-1]] == [f"{item.cycles:,}" for item in plan.layers]
    assert rows[-1][3] == f"{plan.totals['cycles']:,}"
    hostile = replace(plan, model="<b>&")
    assert "<b>" not in hostile._repr_html_()
    assert "&lt;b&gt;&amp;" in hostile._repr_html_()
    found = check_model(tuning.load_model(two_dense(tmp_path, rng)), rng.uniform(-1, 1, (9, 4)))
    rows = _Table(found._repr_html_()).rows
    assert [row[0] for row in rows[1:]] == ["input", "one", "two"]
    assert rows[2][8] == f"{tensor(found, 'one').snr_db:.1f}"
