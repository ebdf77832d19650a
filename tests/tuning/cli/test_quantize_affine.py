# SPDX-License-Identifier: Apache-2.0
"""``cmsisnn-quantize`` to zero points, and to whichever scheme is good enough."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

import tuning
from helpers.commands import require_refused
from helpers.onnx_models import model, node, save
from tuning.importers.tflite.file import read
from tuning.quantize import load_onnx
from tuning.quantize.affine.scales import TYPES

SCHEMES = pytest.mark.parametrize("scheme", TYPES)
INPUT = (12, 11, 2)


def rng_of(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def samples(count: int = 64, shape: tuple[int, ...] = INPUT, seed: int = 5) -> np.ndarray:
    return rng_of(seed).normal(0.3, 1, (count, *shape)).astype(np.float32)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    rng = rng_of(4)
    weights = {
        "w": rng.normal(0, 0.4, (4, 2, 3, 3)).astype(np.float32),
        "b": rng.normal(0, 0.1, 4).astype(np.float32),
        "fc": rng.normal(0, 0.2, (64, 3)).astype(np.float32),
    }
    nodes = [
        node("Conv", ["x", "w", "b"], ["a"]),
        node("Relu", ["a"], ["b1"]),
        node("MaxPool", ["b1"], ["c"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Flatten", ["c"], ["d"]),
        node("Gemm", ["d", "fc"], ["y"]),
    ]
    save(model(nodes, weights, ("n", 2, 10, 10)), tmp_path / "my-net.onnx")
    np.savez(tmp_path / "data.npz", x=samples(60, (2, 10, 10)), y=rng.integers(0, 3, 60))
    return tmp_path


def quantize(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tuning.cli.quantize", "my-net.onnx", "--calibration", "data.npz", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


def test_the_command_writes_a_model_file_of_int8(files: Path) -> None:
    """Which is the default."""
    ran = quantize(files)
    assert ran.returncode == 0, ran.stderr
    assert "Written: my_net.yaml, my_net.npz and my_net_float.npz." in ran.stdout
    loaded = tuning.load_model(files / "my_net.yaml")
    assert (loaded.name, loaded.inputs[0].dtype) == ("my_net", np.int8)
    text = (files / "my_net.yaml").read_text(encoding="utf-8")
    assert text.startswith("# Quantised by cmsisnn-quantize (int8) on 60 calibration samples.\n# Input: round(x / 0.")
    assert "(the float model takes channels first)" in text
    ran = quantize(files, "-o", "data.yaml")
    assert ran.returncode == 2
    assert "data.npz would overwrite data.npz" in ran.stderr


@SCHEMES
def test_the_command_writes_a_tflite_file(files: Path, scheme: str) -> None:
    ran = quantize(files, "--scheme", scheme, "--test", "data.npz", "-o", "out/net.tflite")
    assert ran.returncode == 0, ran.stderr
    for text in ("SNR dB", "On data.npz, 60 samples: accuracy", f"{scheme}; same", "Written: out/net.tflite.",
                 "cmsisnn-tune out/net.tflite"):  # fmt: skip
        assert text in ran.stdout
    assert [item.name for item in (files / "out").iterdir()] == ["net.tflite"]
    assert read(files / "out" / "net.tflite").description == "cmsisnn-quantize"
    loaded = tuning.load_model(files / "out" / "net.tflite")
    assert loaded.inputs[0].shape == (1, 10, 10, 2)
    ran = quantize(files, "--json", "-o", "net.tflite")
    content = json.loads(ran.stdout)
    assert content["scheme"] == "int8"
    assert set(content["accuracy"]) == {"float", "int8"}
    assert [layer["op"] for layer in content["layers"]] == ["conv2d", "max_pool2d", "fully_connected"]


@pytest.mark.parametrize("scheme", ["int8", "q7"])
def test_a_model_is_cut_at_a_tensor_and_open_sizes_are_given(files: Path, scheme: str) -> None:
    proto = onnx.load(files / "my-net.onnx")
    for dim in proto.graph.input[0].type.tensor_type.shape.dim[2:]:
        dim.dim_param = "side"
    save(proto, files / "my-net.onnx")
    assert "or say --shape x=1,..." in quantize(files).stderr
    ran = quantize(files, "--shape", "x=1,2,10,10", "-o", "c", "-o", "cut.yaml", "--scheme", scheme)
    assert ran.returncode == 0, ran.stderr
    loaded = tuning.load_model(files / "cut.yaml")
    assert [layer.op for layer in loaded.layers] == ["conv2d", "max_pool2d"]
    api = tuning.quantize(files / "my-net.onnx", files / "data.npz", scheme, output="c", shapes={"x": (1, 2, 10, 10)})
    assert [layer.weights is None for layer in api.model.layers] == [False, True]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--scheme", "q7", "-o", "a.tflite"], "--output: expected a file name ending in .yaml for q7, got 'a.tflite'"),
        (["-o", "a.onnx"], "--output: expected a file name ending in .yaml or .tflite, or a tensor that"),
        (["-o", "a.yaml", "-o", "b.yaml"], "--output: expected one file, got a.yaml, b.yaml"),
        (["-o", "a", "--output", "b"], "--output: expected one tensor, got a, b"),
        (["--shape", "x"], "--shape: expected an input and its sizes, such as x=1,3,96,96, got 'x'"),
        (["--shape", "x=1,0"], "--shape: expected an input and its sizes"),
        (["--shape", "z=1,2"], "--shape: expected an input of"),
        (["--scheme", "q7", "--dtype", "q15"], "--dtype: the older name of --scheme: expected nothing beside"),
        (["--scheme", "int8", "-o", "a.tflite", "--method", "max"], "--method: expected nothing with int8, got max"),
        (["--scheme", "q7", "--ranges", "mse"], "--ranges: expected nothing with q7, got mse"),
        (["--scheme", "int8", "-o", "a.tflite", "--name", "class"], "C or C++ keyword"),
        (["--scheme", "q7", "--save", "a.tflite"], "--save: expected int8 or int16x8, got q7"),
        (["--scheme", "int8", "-o", "a.tflite", "--save", "b.yaml"], "--save: expected a file name ending in .tflite"),
        (["--target", "cortex-m4"], "--target: expected nothing with int8, got cortex-m4; it is one of --scheme auto"),
        (["--scheme", "auto", "--target", "cortex-m9"], "cortex-m9"),
        (["--scheme", "auto", "-o", "a.tflite", "--method", "max"], "--method: expected nothing with auto, got max"),
    ],
)
def test_bad_calls_end_in_one_sentence(files: Path, arguments: list[str], says: str) -> None:
    require_refused(files, lambda: quantize(files, *arguments), says)


def test_the_cheapest_scheme_that_keeps_the_accuracy_is_taken(files: Path) -> None:
    ran = quantize(files, "--scheme", "auto", "--max-drop", "100", "--target", "cortex-m4", "--json", "-o", "a.tflite")
    assert ran.returncode == 0, ran.stderr
    content = json.loads(ran.stdout)
    rows = content["schemes"]
    assert [row["scheme"] for row in rows] == ["int8", "int16x8"]
    cheapest = min(rows, key=lambda row: row["cycles"])
    assert cheapest["taken"]
    assert sum(row["taken"] for row in rows) == 1
    assert content["scheme"] == cheapest["scheme"]
    for row in rows:
        result = tuning.quantize(files / "my-net.onnx", files / "data.npz", row["scheme"], name="a")
        plan = tuning.tune(result.model, tuning.load_target("cortex-m4"))
        assert [plan.totals[key] for key in ("cycles", "flash_bytes", "sram_bytes")] == [
            row["cycles"], row["flash_bytes"], row["sram_bytes"],
        ]  # fmt: skip
        assert row["share"] == result.accuracy[row["scheme"]]
        assert row["drop"] == pytest.approx(100 * (result.accuracy["float"] - row["share"]))
    loaded = tuning.load_model(files / "a.tflite")
    assert loaded.inputs[0].dtype == {"int8": np.int8, "int16x8": np.int16}[content["scheme"]]


@pytest.mark.emulated
def test_accuracy_in_float_of_every_scheme_and_of_its_firmware_is_one_table(files: Path) -> None:
    ran = quantize(files, "--scheme", "auto", "--max-drop", "100", "--target", "cortex-m4", "--firmware", "--json")
    assert ran.returncode == 0, ran.stderr
    for row in json.loads(ran.stdout)["schemes"]:
        found = row["firmware"]
        assert (found["samples"], found["equal"]) == (60, 60), row
        assert found["accuracy"] == found["python_accuracy"] == row["share"]
    ran = quantize(files, "--scheme", "auto", "--max-drop", "100", "--firmware", "-o", "a.tflite")
    assert re.search(r"scheme +accuracy +firmware +drop", ran.stdout)
    assert re.search(r"float +\d+\.\d\d% +- +-", ran.stdout)
    assert re.search(r"int8 +(\d+\.\d\d%) +\1", ran.stdout)
    assert "Firmware: emulated on the first 60 samples." in ran.stdout
    said = quantize(files, "--firmware").stderr
    assert "--firmware: expected nothing with int8; cmsisnn-tune my_net.yaml --check" in said


def test_no_scheme_within_the_drop_is_an_answer(files: Path) -> None:
    """Labels that only the float network meets, by chance as it were."""
    network = load_onnx(files / "my-net.onnx")
    x = samples(3000, (2, 10, 10), seed=8)
    result = tuning.quantize(network, x[:60], "int8")
    answers = result.twin.output(result.twin.channels_last(x)).argmax(axis=1)
    lost = answers != result.outputs(result.twin.channels_last(x)).argmax(axis=1)
    assert lost.any()
    keep = np.flatnonzero(lost)[:1]
    np.savez(files / "hard.npz", x=x[keep], y=answers[keep])
    before = {item.name for item in files.iterdir()}
    ran = quantize(
        files, "--scheme", "auto", "--test", "hard.npz", "-o", "a.tflite", "--max-drop", "0", "--ranges", "mse"
    )
    if ran.returncode == 0:  # int16x8 is right where int8 is not
        assert [row.split()[-1] for row in ran.stdout.splitlines() if row.startswith(" int")] == ["much", "taken"]
        return
    assert ran.returncode == 1
    assert ran.stderr.startswith("error: --max-drop: no scheme stays within 0 percent")
    assert {item.name for item in files.iterdir()} == before


def test_save_writes_the_same_file(files: Path) -> None:
    ran = quantize(files, "--scheme", "int8", "-o", "a.tflite", "--save", "out/b.tflite", "--name", "net")
    assert ran.returncode == 0, ran.stderr
    assert "Written: a.tflite, and out/b.tflite." in ran.stdout
    assert (files / "a.tflite").read_bytes() == (files / "out" / "b.tflite").read_bytes()
