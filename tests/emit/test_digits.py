# SPDX-License-Identifier: Apache-2.0
"""The trained example on real images: as accurate in q7 as in float, and firmware and Python kernels agree."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import tuning
from helpers.folders import emulator

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
def float_weights() -> dict[str, np.ndarray]:
    with np.load(MODELS / "digits_float.npz", allow_pickle=False) as stored:
        return dict(stored)


@pytest.fixture(scope="module")
def model():
    return tuning.load_model(MODELS / "digits.yaml")


def test_committed_arrays_and_shifts_come_from_the_float_weights(script, float_weights, model) -> None:
    images, *_ = script.split()
    arrays, shifts = script.quantise(float_weights, images)
    with np.load(MODELS / "digits.npz", allow_pickle=False) as stored:
        assert set(stored) == set(arrays)
        for name, values in arrays.items():
            assert np.array_equal(stored[name], values), name
    weighted = [layer for layer in model.layers if layer.weights is not None]
    assert {x.name: {"bias_shift": x.bias_shift, "out_shift": x.out_shift} for x in weighted} == shifts


def test_q7_is_within_a_point_of_float(script, float_weights, model) -> None:
    _, _, images, labels = script.split()
    assert len(images) >= 400
    in_float = script.accuracy(script.forward(float_weights, script.to_float(images))["fc"], labels)
    outputs = np.asarray(model.network().run(script.to_q7(images)))
    in_q7 = script.accuracy(outputs, labels)
    assert in_float >= 0.97
    assert in_q7 >= in_float - 0.01


def test_pixels_are_exact_in_q7(script) -> None:
    pixels = np.arange(17)
    assert np.array_equal(script.to_q7(pixels) / 2**script.INPUT_FRACTION, script.to_float(pixels))


@pytest.mark.emulated
@pytest.mark.parametrize(("core", "count"), [("cortex-m4", 60), ("cortex-m0plus", 12), ("cortex-m7", 12)])
def test_tuned_firmware_answers_as_the_python_kernels_do(core: str, count: int, script, model, tmp_path) -> None:
    _, _, images, _ = script.split()
    chosen = script.to_q7(images[:count])
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
    assert len({int(answer) for answer in answers.argmax(axis=1)}) >= 5
