# SPDX-License-Identifier: Apache-2.0
"""Calibration and test data: files, shapes, layouts, and what they are worth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tuning
from helpers.float_layers import RNG, draw, run_float, samples
from helpers.onnx_models import model, node
from tuning import OptionError
from tuning.check import check_model
from tuning.quantize import evaluate, load_data
from tuning.quantize.data import channels_last, make_data


def test_data_files(tmp_path: Path) -> None:
    x, y = samples(6, (4,)), np.arange(6) % 3
    np.savez(tmp_path / "a.npz", x=x, y=y)
    np.savez(tmp_path / "b.npz", inputs=x.astype(np.float64), labels=np.eye(3)[y])
    np.savez(tmp_path / "c.npz", x)
    np.save(tmp_path / "d.npy", (x * 10).astype(np.int16))
    assert np.array_equal(load_data(tmp_path / "a.npz").x, load_data(tmp_path / "b.npz").x)
    assert np.array_equal(load_data(tmp_path / "b.npz").y, y)
    assert load_data(tmp_path / "c.npz").y is None
    assert load_data(tmp_path / "d.npy").x.dtype == np.float32

    def message(**arrays: np.ndarray) -> str:
        np.savez(tmp_path / "bad.npz", **arrays)
        with pytest.raises(OptionError) as caught:
            load_data(tmp_path / "bad.npz")
        return str(caught.value)

    assert "under the key 'x' or 'inputs', got: images, z" in message(images=x, z=y)
    assert "got both" in message(x=x, inputs=x)
    assert "NaN or infinity in sample 2" in message(x=np.where(np.arange(6)[:, None] == 2, np.nan, x))
    assert "expected samples along the first axis" in message(x=np.zeros(3))
    assert "expected samples" in message(x=np.zeros((0, 4)))
    assert "expected numbers" in message(x=np.array([["a"]]))
    assert "expected 6 class numbers" in message(x=x, y=y[:5])
    assert "finite numbers" in message(x=x, y=y * np.nan)
    assert "cannot be read" in message(x=np.array([[None]]))
    (tmp_path / "bad.npz").write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(OptionError, match="cannot be read"):
        load_data(tmp_path / "bad.npz")
    with pytest.raises(OptionError, match="no such file"):
        load_data(tmp_path / "none.npz")


def test_data_in_the_wrong_layout_is_told_how_to_turn() -> None:
    weights = {"w": draw(4, 3, 3, 3)}
    proto = model([node("Conv", ["x", "w"], ["y"])], weights, ("n", 3, 12, 10))
    with pytest.raises(OptionError, match=r"expected shape \(n, 3, 12, 10\) .*x.transpose\(0, 3, 1, 2\)"):
        tuning.quantize(proto, np.zeros((5, 12, 10, 3)), name="net")
    with pytest.raises(OptionError, match=r"x\[None\]"):
        tuning.quantize(proto, np.zeros((3, 12, 10)), name="net")


@pytest.mark.parametrize("scheme", ["q7", "int8"])
def test_calibration_data_that_tell_nothing_are_said(scheme: str) -> None:
    layers = [{"op": "fully_connected", "weights": np.eye(4), "bias": np.zeros(4)}]
    rng = np.random.default_rng(0)
    for x, note in (
        (np.zeros((50, 4)), "every calibration input is 0"),
        (rng.normal(size=(1, 4)), "one sample of calibration data"),
        (rng.normal(size=(9, 4)), "9 samples of calibration data"),
    ):
        assert any(one.startswith(note) for one in tuning.quantize(layers, x, scheme).notes), note
    assert not any("calibration data" in one for one in tuning.quantize(layers, rng.normal(size=(10, 4)), scheme).notes)


def test_flat_data_are_taken_for_an_image() -> None:
    """In the order of the float model, which may have its channels first."""
    x = np.random.default_rng(0).normal(size=(6, 4, 3, 2))
    given = x.transpose(0, 3, 1, 2).reshape(6, -1)
    np.testing.assert_array_equal(channels_last(given, (4, 3, 2), "NCHW"), x)
    with pytest.raises(OptionError, match="expected shape"):
        channels_last(given[:, :-1], (4, 3, 2), "NCHW")


@pytest.mark.parametrize("scheme", ["q7", "q15", "int8"])
def test_a_dense_layer_takes_the_input_in_the_order_that_the_file_states(tmp_path: Path, scheme: str) -> None:
    """Mul, Flatten, MatMul: elements lie as the float model has them, channels first, and that is what is said."""
    weights = {"m": np.linspace(0.5, 2, 3)[:, None, None], "w": draw(60, 7)}
    nodes = [node("Mul", ["x", "m"], ["a"]), node("Flatten", ["a"], ["b"]), node("MatMul", ["b", "w"], ["y"])]
    x = samples(50, (3, 4, 5))
    path = tuning.quantize(model(nodes, weights, (1, 3, 4, 5)), x, scheme, name="net").save(tmp_path / "net.yaml")
    assert "in the order in which the float model takes them" in path.read_text(encoding="utf-8").splitlines()[1]
    loaded = tuning.load_model(path)
    port, out = loaded.inputs[0], loaded.outputs[0]
    integers = np.clip(np.floor(x.reshape(50, 60) / port.scale + 0.5) + port.zero_point, *_ends(port.dtype))
    made = (loaded.network().run(integers.astype(port.dtype)).astype(float) - out.zero_point) * out.scale
    wanted = (x * weights["m"]).reshape(50, 60) @ weights["w"]
    assert np.abs(made - wanted).max() < 0.1 * np.abs(wanted).max()


def _ends(dtype: np.dtype) -> tuple[int, int]:
    return np.iinfo(dtype).min, np.iinfo(dtype).max


@pytest.mark.parametrize("scheme", ["q7", "q15", "int8", "int16x8"])
@pytest.mark.parametrize("count", [1, 3])
def test_numbers_that_the_output_should_be_are_an_error_measure(scheme: str, count: int) -> None:
    layers = [{"op": "fully_connected", "weights": draw(count, 6), "bias": draw(count)}]
    x = samples(80, (6,))
    exact = run_float(layers, x, (6,))[-1]
    y = exact + RNG.normal(0, 0.1, exact.shape)
    for wished in (y, 1000 * np.round(np.abs(y))) if count == 1 else (y,):
        result = tuning.quantize(layers, (x, wished), scheme)
        assert result.accuracy == {}
        errors = result.errors["output"]
        assert errors["float"] == pytest.approx(float(np.sqrt(np.square(exact - wished).mean())), rel=1e-5)
        assert errors[scheme] == pytest.approx(errors["float"], rel={"q7": 0.5, "int8": 0.2}.get(scheme, 0.05))
        assert evaluate(result, make_data(x, wished))["errors"] == result.errors
        assert "error of output (root mean square)" in str(result)
    with pytest.raises(OptionError, match=f"y: expected {count} numbers a sample, got 2"):
        tuning.quantize(layers, (x, np.stack([y[:, 0]] * 2, 1)), scheme)
    softmax = [{"op": "fully_connected", "weights": draw(4, 6)}, {"op": "softmax"}]
    with pytest.raises(OptionError, match=r"expected class numbers, .* as the network ends in a softmax"):
        tuning.quantize(softmax, (x, draw(80, 4)), scheme)


@pytest.mark.parametrize("scheme", ["q7", "int8", "q15"])
def test_input_numbers_of_unlike_spread_are_said(scheme: str) -> None:
    """What a StandardScaler inside the model is for cannot help integers that have one scale."""
    layers = [{"op": "fully_connected", "weights": draw(3, 4) / np.array([1, 0.002, 1, 1])}]
    x = samples(200, (4,)) * np.array([1, 0.002, 1, 0], np.float32)
    notes = [note for note in tuning.quantize(layers, x, scheme).notes if "spread by less" in note]
    if scheme == "q15":
        assert notes == []
    else:
        (note,) = notes
        assert note.startswith("1 of 4 input numbers spread by less than the step of the integers, ")
        assert ": number 1 by 0.00" in note
    alike = tuning.quantize(layers, samples(200, (4,)), scheme)
    assert not any("spread by less" in note for note in alike.notes)


@pytest.mark.parametrize("scheme", ["q7", "int8"])
def test_data_in_the_shape_that_the_file_declares_are_taken(tmp_path: Path, scheme: str) -> None:
    """Whatever is made of it in front of the first layer."""
    weights = {"shape": np.array([0, 2, 6, 5], np.int64), "w": draw(4, 2, 3, 3)}
    nodes = [node("Reshape", ["x", "shape"], ["a"]), node("Conv", ["a", "w"], ["y"])]
    proto = model(nodes, weights, ("n", 10, 6))
    x = samples(30, (10, 6))
    result = tuning.quantize(proto, x, scheme, name="net")
    same = tuning.quantize(proto, x.reshape(30, 2, 6, 5), scheme, name="net")
    assert result.model.digest == same.model.digest
    loaded = tuning.load_model(result.save(tmp_path / "net.yaml"))
    found = check_model(loaded, x)
    assert found.passed
    assert found.tensors == check_model(loaded, x.reshape(30, 2, 6, 5)).tensors
    with pytest.raises(OptionError, match="as the float model takes it"):
        tuning.quantize(proto, x.reshape(30, 6, 10), scheme)
