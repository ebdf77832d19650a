# SPDX-License-Identifier: Apache-2.0
"""The command ``cmsisnn-quantize``."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tuning
from helpers.commands import run_forked
from helpers.float_layers import RNG, START, draw, samples
from helpers.onnx_models import model, node, save
from tuning.quantize import load_data, load_reference


@pytest.fixture(autouse=True)
def _same_numbers_in_any_order() -> None:
    RNG.bit_generator.state = START


@pytest.fixture
def files(tmp_path: Path) -> Path:
    weights = {"w": draw(4, 2, 3, 3), "fc": draw(100, 3, scale=0.3)}
    nodes = [
        node("Conv", ["x", "w"], ["a"], pads=[1, 1, 1, 1]),
        node("Relu", ["a"], ["b"]),
        node("MaxPool", ["b"], ["c"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Flatten", ["c"], ["d"]),
        node("Gemm", ["d", "fc"], ["y"]),
    ]
    save(model(nodes, weights, ("n", 2, 10, 10)), tmp_path / "my-net.onnx")
    x = samples(60, (2, 10, 10))
    y = RNG.integers(0, 3, 60)
    np.savez(tmp_path / "data.npz", x=x, y=y)
    return tmp_path


def quantize(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run_forked("cmsisnn-quantize", *arguments, cwd=folder)


def test_the_command_and_the_network_it_writes(files: Path) -> None:
    ran = quantize(files, "my-net.onnx", "--calibration", "data.npz", "--test", "data.npz", "--scheme", "q7")
    assert ran.returncode == 0, ran.stderr
    for text in ("bias_shift", "SNR dB", "Q0.7", "On data.npz, 60 samples: accuracy", "cmsisnn-tune my_net.yaml"):
        assert text in ran.stdout
    loaded = tuning.load_model(files / "my_net.yaml")
    assert loaded.name == "my_net"
    data = load_data(files / "data.npz")
    reference = load_reference(loaded)
    assert reference.input_layout == "NCHW"
    integers = loaded.network().run(reference.quantize(data.x))
    *_, (layer, wanted) = reference.tensors(data.x)
    error = reference.dequantize(layer.name, integers) - wanted
    assert np.square(error).sum() < np.square(wanted).sum() / 100
    ran = quantize(files, "my-net.onnx", "--calibration", "data.npz", "--json", "-o", "b.yaml", "--dtype", "q15")
    content = json.loads(ran.stdout)
    assert content["dtype"] == "q15"
    assert set(content["accuracy"]) == {"float", "q15"}
    assert [layer["op"] for layer in content["layers"]] == ["conv2d", "max_pool2d", "fully_connected"]


def test_running_again_replaces_its_own_files_alone(files: Path) -> None:
    command = ("my-net.onnx", "--calibration", "data.npz", "--dtype", "q15", "-q", "-o", "b.yaml")
    (files / "b_float.npz").write_text("theirs")
    assert quantize(files, *command).returncode == 2
    assert not (files / "b.yaml").exists()
    assert quantize(files, *command, "--force").returncode == 0
    assert quantize(files, *command).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["none.onnx", "--calibration", "data.npz"], "none.onnx: no such file"),
        (["my-net.onnx", "--calibration", "none.npz"], "none.npz: no such file"),
        (["data.npz", "--calibration", "data.npz", "-o", "c.yaml"], "expected an ONNX file"),
        (["my-net.onnx", "--calibration", "my-net.onnx", "-o", "c.yaml"], "cannot be read"),
        (["my-net.onnx", "--calibration", "data.npz", "-o", "data.yaml"], "data.npz would overwrite data.npz"),
        (["my-net.onnx", "--calibration", "data.npz", "-o", "c.npz"], "expected a file name ending in .yaml"),
        (["my-net.onnx", "--calibration", "data.npz", "--name", "class"], "C or C++ keyword"),
    ],
)
def test_bad_calls_end_in_one_sentence(files: Path, arguments: list[str], says: str) -> None:
    before = {item.name: item.read_bytes() for item in files.iterdir()}
    ran = quantize(files, *arguments)
    assert ran.returncode == 2
    assert ran.stderr.startswith("error: ")
    assert says in ran.stderr
    assert ran.stderr.count("\n") == 1
    assert ran.stdout == ""
    assert {item.name: item.read_bytes() for item in files.iterdir()} == before


def test_without_the_package_onnx_one_is_told_which(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(tuning.MissingToolError, match=r"the package onnx: pip install onnx$"):
        tuning.quantize(files / "my-net.onnx", files / "data.npz")


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys, tuning.cli.quantize as c\n"
        "try: c.app(['--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'onnx', 'pydantic', 'scipy', 'yaml'} & set(sys.modules)), file=sys.stderr)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert ran.stderr.strip() == "[]"


def test_schemes_are_compared_by_the_variance_that_they_explain(tmp_path: Path) -> None:
    weights = {"w": draw(6, 2)}
    x = samples(100, (6,))
    save(model([node("MatMul", ["x", "w"], ["y"])], weights, ("n", 6)), tmp_path / "net.onnx")
    np.savez(tmp_path / "data.npz", x=x, y=x @ weights["w"] + 0.1 * draw(100, 2))
    ran = quantize(tmp_path, "net.onnx", "--calibration", "data.npz", "--scheme", "auto")
    assert ran.returncode == 0, ran.stderr
    assert re.search(r"scheme +R2 +drop", ran.stdout)
    assert "R2 on 100 samples of data.npz" in ran.stdout
    assert re.search(r"int8 +99\.\d\d%", ran.stdout)
