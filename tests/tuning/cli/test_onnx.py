# SPDX-License-Identifier: Apache-2.0
"""``cmsisnn-tune FILE.onnx``: from a quantised ONNX file to firmware that gives the host's bytes, and what is said."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import tuning
from helpers.commands import run_tune
from helpers.onnx_quantised import Net
from tuning.emulate.toolchain import find_toolchain
from tuning.measure import folder
from tuning.plan.file import read_plan_file


def network(dtype: str = "int8") -> tuple[Net, str]:
    """A residual network whose image is of three channels, flattened channels first in front of its dense layer."""
    net = Net((1, 3, 6, 5), dtype)
    x = net.q(net.node("Conv", net.q("x", 0.02, 3), net.weights((4, 3, 3, 3)), net.bias(4), pads=[1] * 4), 0.05, 2)
    y = net.q(net.node("Conv", x, net.weights((4, 1, 3, 3)), pads=[1] * 4, group=4), 0.04)
    y = net.q(net.node("Relu", net.node("Add", x, y)), 0.06, -128)
    y = net.q(net.node("HardSwish", net.node("AveragePool", y, kernel_shape=[2, 2], strides=[2, 2])), 0.05)
    y = net.q(net.node("Gemm", net.node("Flatten", y), net.weights((24, 5), 1)), 0.1)
    return net, net.q(net.node("Softmax", y), 1 / 255, -128)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]):
    monkeypatch.chdir(tmp_path)
    net, y = network()
    net.save(tmp_path / "net.onnx", y)
    return partial(run_tune, monkeypatch, capfd)


def test_the_order_of_an_image_is_said_wherever_a_user_looks(run, tmp_path: Path) -> None:
    ran = run("net.onnx", "--target", "cortex-m4")
    assert ran.status == 0
    assert "Input: channels last, 1x6x5x3; the file has them first." in ran.out
    made = tmp_path / "build" / "net"
    assert '[1][6][5][3], in order; not changed; the file\'s "x", channels last here' in (made / "net.h").read_text()
    plan = json.loads((made / "plan.json").read_text())
    assert plan["inputs"][0]["channels_last"] is True
    assert "channels_last" not in plan["outputs"][0]
    read_plan_file(made / "plan.json")
    (port,) = tuning.load_model("net.onnx").inputs
    assert (port.shape, port.is_channels_last) == ((1, 6, 5, 3), True)


def test_operations_are_listed_as_the_file_has_them(run) -> None:
    listed = run("net.onnx", "--operations")
    assert listed.status == 0
    rows = {line.split()[0]: line.split()[1:] for line in listed.out.splitlines() if len(line.split()) > 2}
    assert rows["Conv"] == ["2", "2", "conv2d,", "depthwise_conv2d"]
    assert rows["Gemm"] == ["1", "1", "fully_connected"]
    assert rows["HardSwish"][:2] == ["1", "1"]


def test_the_folder_holds_the_network_as_a_tflite_file_that_gives_the_same_bytes(run, tmp_path: Path) -> None:
    assert run("net.onnx", "--target", "cortex-m4").status == 0
    model, twin = tuning.load_model("net.onnx"), tuning.load_model("build/net/net.tflite")
    rng = np.random.default_rng(4)
    for _ in range(5):
        x = rng.integers(-128, 128, (1, 6, 5, 3)).astype(np.int8)
        assert np.array_equal(model.network().run(x), twin.network().run(x))


@pytest.mark.emulated
@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_firmware_gives_the_bytes_of_the_host(tmp_path: Path, dtype: str) -> None:
    net, y = network(dtype)
    model = tuning.load_model(net.save(tmp_path / "net.onnx", y))
    tuning.emit(tuning.tune(model, tuning.load_target("cortex-m4")), tmp_path / "out")
    firmware = folder.load(tmp_path / "out")
    assert folder.verify(firmware, find_toolchain(), folder.draw_inputs(firmware, 2)).exact
