# SPDX-License-Identifier: Apache-2.0
"""The trained int8 example: it has what real files have, and its bytes and answers are those of other runtimes.

``digits_resnet.npz`` beside this file holds what they gave for the held-out images: ``tflm`` the interpreter of
tflite-micro 0.dev20261023182759, ``litert`` that of ai-edge-litert 2.3.0 with its reference kernels (BUILTIN_REF).
"""

from __future__ import annotations

import importlib.util
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Literal

import numpy as np
import pytest

from cmsisnn_x import Network, _simd
from helpers.arrays import assert_bit_exact
from tuning.importers.tflite.file import read
from tuning.importers.tflite.reader import import_tflite, operations
from tuning.load import load_model
from tuning.model import list_models
from tuning.model.ports import Port

NAME = "digits_resnet"
MODELS = Path(__file__).parents[3] / "configs" / "models"
FILE = MODELS / f"{NAME}.tflite"
RIGHT, SAMPLES = 446, 449
"""Of the held-out images, in float and in int8: 99.33 %."""

Arithmetic = Literal["tflm", "litert"]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("train_digits_resnet", MODELS / "train_digits_resnet.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def labels(script: ModuleType) -> np.ndarray:
    return script.load("digits_test.npz")[1]


@pytest.fixture(scope="module")
def images(script: ModuleType) -> np.ndarray:
    """The held-out images as the network takes them."""
    (port,) = import_tflite(FILE).inputs
    return quantised(script.load("digits_test.npz")[0], port)


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(Path(__file__).with_name(f"{NAME}.npz")) as data:
        return dict(data)


def quantised(pixels: np.ndarray, port: Port) -> np.ndarray:
    assert port.scale is not None
    return np.clip(np.round(pixels / np.float32(port.scale)) + port.zero_point, -128, 127).astype(port.dtype)


def test_it_is_a_shipped_model_under_its_own_name() -> None:
    assert list_models()[NAME].read_bytes() == FILE.read_bytes()
    assert FILE.stat().st_size < 60_000
    model = load_model(NAME)
    assert (model.name, model.dtype, model.macs) == (NAME, "int8", 109_168)
    (pixels,), (probabilities,) = model.inputs, model.outputs
    assert (pixels.shape, probabilities.shape) == ((1, 8, 8, 1), (1, 10))
    assert (pixels.scale, pixels.zero_point) == (pytest.approx(16 / 255), -128)
    assert (probabilities.scale, probabilities.zero_point) == (1 / 256, -128)


def test_it_has_what_real_files_have() -> None:
    graph = read(FILE).subgraphs[0]
    assert Counter(op.code for op in graph.ops) == {
        "CONV_2D": 5, "DEPTHWISE_CONV_2D": 2, "ADD": 3, "MEAN": 1, "FULLY_CONNECTED": 1, "SOFTMAX": 1
    }  # fmt: skip
    weights = [tensor for tensor in graph.tensors if tensor.type == "INT8" and tensor.data is not None]
    assert [tensor.scale.size for tensor in weights] == [tensor.shape[tensor.axis] for tensor in weights]
    assert len(weights) == 8
    zero_points = {int(tensor.zero_point[0]) for tensor in graph.tensors if tensor.type == "INT8"}
    assert len(zero_points) >= 5


@pytest.mark.parametrize("arithmetic", ["tflm", "litert"])
def test_every_operator_is_taken(arithmetic: Arithmetic) -> None:
    assert [operation.problem for operation in operations(FILE, arithmetic)] == [None] * 13


@pytest.mark.parametrize("rewrites", [True, False])
@pytest.mark.parametrize("arithmetic", ["tflm", "litert"])
def test_its_bytes_are_those_of_other_runtimes(
    arithmetic: Arithmetic, rewrites: bool, images: np.ndarray, golden: dict[str, np.ndarray]
) -> None:
    model = load_model(FILE, arithmetic=arithmetic, rewrites=rewrites)
    found = model.network().run(images, threads=2).reshape(SAMPLES, 10)
    assert_bit_exact(found, golden[arithmetic], arithmetic)


def test_every_instruction_set_gives_them(images: np.ndarray, golden: dict[str, np.ndarray]) -> None:
    graph = load_model(FILE).graph
    for isa in _simd.available():
        found = Network(graph, isa=isa).run(images[::8])
        assert_bit_exact(found.reshape(-1, 10), golden["tflm"][::8], isa)


def test_it_answers_as_accurately_as_is_told(images: np.ndarray, labels: np.ndarray) -> None:
    assert len(images) == len(labels) == SAMPLES
    answers = load_model(NAME).network().run(images).reshape(SAMPLES, 10).argmax(axis=1)
    assert int((answers == labels).sum()) == RIGHT


def test_training_sees_no_held_out_image(script: ModuleType) -> None:
    seen, held_out = (script.load(file)[0] for file in ("digits_calibration.npz", "digits_test.npz"))
    assert not {image.tobytes() for image in seen} & {image.tobytes() for image in held_out}
