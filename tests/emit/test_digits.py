# SPDX-License-Identifier: Apache-2.0
"""The trained example, from its ONNX file to firmware: as accurate in q7 as in float, and bit for bit."""

from __future__ import annotations

import ctypes
import importlib.util
from pathlib import Path

import numpy as np
import pytest

import tuning
from helpers.folders import WARNINGS, emulator, zig
from helpers.onnx_models import reference
from helpers.samples import one_in
from tuning.quantize import evaluate, load_data, load_reference

MODELS = Path(__file__).parents[2] / "configs" / "models"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("train_digits", MODELS / "train_digits.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def model():
    return tuning.load_model(MODELS / "digits.yaml")


@pytest.fixture(scope="module")
def held_out():
    return load_data(MODELS / "digits_test.npz")


@pytest.fixture(scope="module")
def quantized():
    return tuning.quantize(MODELS / "digits.onnx", MODELS / "digits_calibration.npz", name="digits")


def test_committed_data_are_the_scripts_split(script, held_out) -> None:
    images, labels, test_images, test_labels = script.split()
    calibration = load_data(MODELS / "digits_calibration.npz")
    for data, x, y in ((calibration, images, labels), (held_out, test_images, test_labels)):
        assert np.array_equal(data.x[:, 0, :, :, None], x)
        assert np.array_equal(data.y, y)


def test_the_onnx_file_is_the_scripts_network(script, held_out) -> None:
    """Channels first, raw pixels and a dense layer in (c, h, w) order give what the script's own forward pass gives."""
    import onnx
    from onnx import numpy_helper

    proto = onnx.load(MODELS / "digits.onnx")
    stored = {item.name: numpy_helper.to_array(item) for item in proto.graph.initializer}
    weights = {name: stored[name] for name in stored if name.endswith("/bias")}
    for name in ("conv1", "conv2"):
        weights[f"{name}/weights"] = stored[f"{name}/weights"].transpose(0, 2, 3, 1)
    weights["fc/weights"] = stored["fc/weights"].reshape(10, 16, 2, 2).transpose(0, 2, 3, 1).reshape(10, 64)
    images = held_out.x[:, 0, :, :, None]
    logits = script.forward(weights, script.to_float(images))["fc"]
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    assert np.abs(reference(proto, held_out.x) - powers / powers.sum(axis=1, keepdims=True)).max() < 1e-5
    assert script.accuracy(logits, held_out.y) >= 0.97
    assert script.onnx_model(weights).graph == proto.graph


def test_the_committed_model_is_what_the_quantiser_makes_of_the_onnx_file(quantized, model, tmp_path: Path) -> None:
    path = quantized.save(tmp_path / "digits.yaml")
    assert path.read_text(encoding="utf-8") == (MODELS / "digits.yaml").read_text(encoding="utf-8")
    for made, committed in zip(tuning.load_model(path).layers, model.layers, strict=True):
        assert (made.weights is None) == (committed.weights is None)
        if made.weights is not None:
            assert np.array_equal(made.weights, committed.weights)
            # A bias takes up a mean in floating point, whose last bit depends on the machine.
            assert np.abs(made.bias.astype(int) - committed.bias.astype(int)).max() <= 1


def test_q7_is_within_half_a_point_of_float(quantized, model, held_out) -> None:
    assert len(held_out) >= 400
    found = evaluate(quantized, held_out)
    assert found["accuracy"]["float"] >= 0.97
    assert found["accuracy"]["q7"] >= found["accuracy"]["float"] - 0.005
    answers = np.asarray(model.network().run(load_reference(model).quantize(held_out.x))).argmax(axis=1)
    assert (answers == held_out.y).mean() == pytest.approx(found["accuracy"]["q7"], abs=0.003)


def test_pixels_are_exact_in_q7(model) -> None:
    network = load_reference(model)
    pixels = np.arange(64).reshape(1, 1, 8, 8) % 17
    assert np.array_equal(network.quantize(pixels)[0, :, :, 0] / 2.0**network.input_fraction, pixels[0, 0])


def test_the_tutorials_c_function_classifies_pixels(model, held_out, tmp_path: Path) -> None:
    """The C block of the tutorial, compiled against the emitted folder, takes pixels and gives the labels."""
    plan = tuning.tune(model, tuning.load_target("cortex-m4"))
    tuning.emit(plan, tmp_path)
    text = (MODELS / "README.md").read_text(encoding="utf-8")
    (tmp_path / "user.c").write_text(text.split("```c\n")[1].split("```")[0], encoding="utf-8")
    library = tmp_path / "user.so"
    sources = [tmp_path / "user.c", tmp_path / "digits.c"]
    zig(*WARNINGS, "-O1", "-shared", "-fPIC", "-I", tmp_path, *sources, "-o", library)
    classify = ctypes.CDLL(str(library)).classify
    answers = [classify(np.ascontiguousarray(x, np.uint8).ctypes.data_as(ctypes.c_void_p)) for x in held_out.x]
    expected = np.asarray(model.network().run(load_reference(model).quantize(held_out.x))).argmax(axis=1)
    assert np.array_equal(answers, expected)
    assert (expected == held_out.y).mean() > 0.97


@pytest.mark.emulated
@pytest.mark.parametrize(("core", "count"), one_in(2, [("cortex-m4", 60), ("cortex-m0plus", 12), ("cortex-m7", 12)]))
def test_tuned_firmware_answers_as_the_python_kernels_do(core: str, count: int, model, held_out, tmp_path) -> None:
    chosen = load_reference(model).quantize(held_out.x[:count])
    plan = tuning.tune(model, tuning.load_target(core))
    tuning.emit(plan, tmp_path)
    machine = emulator(plan, tmp_path, core)
    source, target = machine.buffer(chosen[0], writable=False), machine.buffer(10)
    expected = np.asarray(model.network().run(chosen))
    answers = np.empty_like(expected)
    for number, image in enumerate(chosen):
        machine.write(source, image)
        machine.write(target, ~expected[number])
        machine.call("digits_run", [source, target])
        answers[number] = np.frombuffer(machine.read(target), np.int8)
    assert np.array_equal(answers, expected)
    assert (answers.argmax(axis=1) == held_out.y[:count]).mean() >= 0.9
    assert len({int(answer) for answer in answers.argmax(axis=1)}) >= 5
