# SPDX-License-Identifier: Apache-2.0
"""``cmsisnn-quantize`` of graphs: from an ONNX file to firmware, and what is said on the way."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from helpers.commands import Ran, run_program, run_tune
from helpers.onnx_float import CASES, FloatNet
from tuning.cli.quantize import main
from tuning.emulate.toolchain import find_toolchain
from tuning.measure import folder

Run = Callable[..., Ran]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.chdir(tmp_path)

    def ran(program: str, *arguments: str) -> Ran:
        if program == "tune":
            return run_tune(monkeypatch, capfd, *arguments)
        return run_program(monkeypatch, capfd, main, "cmsisnn-quantize", *arguments)

    return ran


def written(name: str, count: int = 40) -> tuple[FloatNet, str]:
    """The file and its data, with what the float network answers as labels of the first output."""
    shapes, build = CASES[name]
    net = FloatNet(*shapes)
    outputs = build(net)
    proto = net.model(*((outputs,) if isinstance(outputs, str) else outputs))
    stem = name.replace(" ", "_")
    onnx.save(proto, f"{stem}.onnx")
    x = net.draw(count)
    first = ReferenceEvaluator(proto).run(None, x)[0]
    np.savez(f"{stem}_data.npz", **x, y=first.reshape(count, -1).argmax(axis=1) if first.ndim == 2 else first)
    return net, stem


def test_two_inputs_all_the_way_to_firmware(run: Run, tmp_path: Path) -> None:
    written("two inputs")
    data = ("--calibration", "two_inputs_data.npz", "--test", "two_inputs_data.npz")
    ran = run("quantize", "two_inputs.onnx", *data, "-o", "two.yaml", "--save", "two.tflite")
    assert ran.status == 0
    assert "input x0 6x5x2 int8" in ran.out
    assert "input x1 5 int8" in ran.out
    assert "accuracy 100.00% float" in ran.out
    assert "Written: two.yaml, two.npz and two_float.npz, and two.tflite." in ran.out
    told = run("tune", "two.yaml", "--target", "cortex-m4", "--check", "two_inputs_data.npz")
    assert told.status == 0
    assert "No layer breaks on 40 samples" in told.out
    emulated = "Emulated firmware equals the Python kernels bit for bit on 40 of 40 samples" in told.out
    assert emulated or "The firmware was not emulated" in told.out
    check = json.loads((tmp_path / "build" / "two" / "plan.json").read_text())["check"]
    assert [tensor["op"] for tensor in check["tensors"]][:2] == ["input", "input"]
    assert (tmp_path / "build" / "two" / "report.html").stat().st_size > 1000
    firmware = folder.load(tmp_path / "build" / "two")
    assert folder.verify(firmware, find_toolchain(), folder.draw_inputs(firmware, 2)).exact


def test_json_of_a_graph_has_its_inputs_and_tensors(run: Run) -> None:
    written("two outputs")
    ran = run("quantize", "two_outputs.onnx", "--calibration", "two_outputs_data.npz", "--json", "-o", "two.tflite")
    content = json.loads(ran.out)
    assert content["scheme"] == "int8"
    assert [item["name"] for item in content["inputs"]] == ["x"]
    assert {row["tensor"] for row in content["layers"]} >= {"t5", "t10", "t13"}
    assert content["accuracy"]["float"] == 1.0


def test_auto_says_why_powers_of_two_are_out(run: Run) -> None:
    written("residual")
    ran = run("quantize", "residual.onnx", "--calibration", "residual_data.npz", "--scheme", "auto", "-o", "r.yaml")
    assert ran.status == 0
    words = " ".join(ran.out.split())
    for scheme in ("q7", "q15"):
        assert f"- {scheme} is refused: residual.onnx: tensor" in words
    assert "must be sequential" in words
    assert "--scheme int8 takes this network" in words
    assert " R2 " in words


def test_a_scheme_of_powers_of_two_names_the_node_and_what_takes_it(run: Run) -> None:
    written("residual")
    ran = run("quantize", "residual.onnx", "--calibration", "residual_data.npz", "--scheme", "q7")
    assert ran.status == 2
    assert "is used by node 'Conv_" in ran.err
    assert "--scheme int8 takes this network" in ran.err


def test_data_without_an_input_are_refused_by_name(run: Run) -> None:
    written("two inputs")
    np.savez("half.npz", x0=np.zeros((3, 2, 6, 5)))
    ran = run("quantize", "two_inputs.onnx", "--calibration", "half.npz", "-o", "t.yaml")
    assert (ran.status, ran.out) == (2, "")
    assert "half.npz: expected an array for each input, also 'x1', got: x0" in ran.err


def test_windows_of_three_axes_are_called_so(run: Run) -> None:
    net = FloatNet((2, 5, 6, 7))
    onnx.save(net.model(net.node("Conv", "x", net.constant(np.ones((3, 2, 3, 3, 3))))), "net.onnx")
    np.savez("x.npz", x=net.draw(4)["x"])
    ran = run("quantize", "net.onnx", "--calibration", "x.npz")
    assert ran.status == 2
    assert "expected windows of one or two axes, got 3" in ran.err


def test_what_stands_behind_an_operator_that_is_not_taken_is_no_obstacle_of_its_own(run: Run) -> None:
    """A part without elements is refused; its other part would have been split again."""
    net = FloatNet((4, 8, 8))
    parts = net.node("Split", net.conv("x", 4, 4), net.constant(np.array([4, 0])), axis=1, outputs=2)
    halves = net.node("Split", parts[0], net.constant(np.array([2, 2])), axis=1, outputs=2)
    onnx.save(net.model(net.node("Concat", net.node("Add", *halves), parts[1], axis=1)), "net.onnx")
    np.savez("x.npz", x=net.draw(4)["x"])
    ran = run("quantize", "net.onnx", "--calibration", "x.npz")
    assert ran.status == 2
    assert "Split (1x, first " in ran.err
    assert "has no elements" in ran.err


def test_a_network_that_no_scheme_takes_names_all_that_is_in_the_way(run: Run) -> None:
    net = FloatNet((4, 8, 8))
    y = net.node("InstanceNormalization", net.conv("x", 4, 4), net.constant(np.ones(4)), net.constant(np.zeros(4)))
    z = net.node("TopK", net.node("Flatten", net.node("LRN", y, size=3)), net.constant(np.array([3])), outputs=2)
    onnx.save(net.model(z[0]), "net.onnx")
    np.savez("x.npz", x=net.draw(4)["x"])
    ran = run("quantize", "net.onnx", "--calibration", "x.npz")
    assert ran.status == 2
    for part in ("InstanceNormalization (1x", "LRN (1x", "TopK (1x", "BatchNormalization is taken", "firmware's own"):
        assert part in ran.err
