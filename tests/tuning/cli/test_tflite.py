# SPDX-License-Identifier: Apache-2.0
"""``cmsisnn-tune FILE.tflite``: the options that such a file brings, its name, and what is taken of it."""

from __future__ import annotations

import ctypes
import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from helpers.commands import run_tune
from helpers.folders import WARNINGS, zig
from helpers.tflite_files import O, T, build
from tuning.base.errors import ModelError
from tuning.cli.operations import operation_reasons
from tuning.importers.tflite.reader import Operation
from tuning.load import load_model, own_name
from tuning.plan.file import read_plan_file

SIXTEEN = np.arange(16, dtype=np.int8).reshape(4, 4)


def dense(*more: O) -> bytes:
    """A fully connected layer of four by four, and operators on its output ``y``."""
    tensors = [
        T("x", (1, 4), "INT8", 0.5, 3), T("w", scale=0.25, data=SIXTEEN), T("y", (1, 4), "INT8", 4.0, -7),
        T("z", (1, 4), "INT8", 0.5, 0),
    ]  # fmt: skip
    options = {"fused_activation_function": "NONE"}
    ops = [O("FULLY_CONNECTED", ["x", "w", None], ["y"], options), *more]
    return build(tensors, ops, ["x"], [more[-1].outputs[0] if more else "y"])


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]):
    """Run the command in an empty directory that holds a small file, and one with an operator that nobody has."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dense.tflite").write_bytes(dense())
    (tmp_path / "odd.tflite").write_bytes(dense(O("ARG_MAX", ["y"], ["z"])))
    return partial(run_tune, monkeypatch, capfd)


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("kws_ref_model.tflite", "kws_ref_model"),
        ("my-net.v2.tflite", "my_net_v2"),
        ("2d.tflite", "n2d"),
        ("stdint.tflite", "stdint_net"),
        ("int.tflite", "int_net"),
        ("näh__.tflite", "n_h"),
        ("___.tflite", "n"),
        ("a" * 90 + ".tflite", "a" * 63),
    ],
)
def test_a_network_is_called_after_its_file(file: str, name: str) -> None:
    assert own_name(Path(file)) == name


def test_a_name_of_ones_own_is_that_of_all_symbols(run, tmp_path: Path) -> None:
    assert run("dense.tflite", "--name", "other", "-q").status == 0
    assert (tmp_path / "build" / "other" / "other.h").is_file()
    header = (tmp_path / "build" / "other" / "other.h").read_text(encoding="utf-8")
    assert "other_run(" in header
    assert 'the file\'s "x"' in header
    refused = run("dense.tflite", "--name", "in t")
    assert (refused.status, refused.err.count("\n")) == (2, 1)
    assert "name: expected a C identifier" in refused.err


def test_every_reason_of_an_operator_is_listed_once() -> None:
    uses = [Operation(at, "COS", f"t{at}\x1b", f"reason {at // 2}", ()) for at in range(10)]
    lines = operation_reasons(uses).splitlines()
    assert lines == ["'t0\\x1b': reason 0", "'t2\\x1b': reason 1", "'t4\\x1b': reason 2", "and 2 more reasons"]
    assert operation_reasons([]) == ""


def test_operations_are_listed_with_those_that_are_not_taken(run) -> None:
    listed = run("dense.tflite", "--operations")
    assert listed.status == 0
    assert "FULLY_CONNECTED" in listed.out
    odd = run("odd.tflite", "--operations")
    assert odd.status == 1
    assert "ARG_MAX" in odd.out
    assert "'z': no kernel for it: let the network end in front of it" in " ".join(odd.out.split())
    assert run("cifar10", "--operations").status == 2


def test_operations_as_json_are_nothing_else(run) -> None:
    listed = run("odd.tflite", "--operations", "--json")
    assert (listed.status, listed.err) == (1, "")
    found = json.loads(listed.out)["operations"]
    assert [(one["code"], one["problem"] is None) for one in found] == [("FULLY_CONNECTED", True), ("ARG_MAX", False)]
    assert found[0]["nodes"] == ["fully_connected_0"]


def test_floats_go_in_and_out(run, tmp_path: Path) -> None:
    """As LiteRT rounds: to the nearest, halves away from zero; what lies beyond an end is the end."""
    assert run("dense.tflite", "--float-io", "-q", "-o", "fw").status == 0
    assert read_plan_file(tmp_path / "fw" / "plan.json").content["float_io"] is True
    library = tmp_path / "host.so"
    folder = tmp_path / "fw"
    zig(*WARNINGS, "-O2", "-shared", "-fPIC", "-I", folder, folder / "dense.c", "-o", library)
    made = ctypes.CDLL(str(library))
    ends = np.array([np.nan, np.inf, -np.inf, 1e30], np.float32)
    halves = np.array([0.25, -0.25, np.nextafter(np.float32(0.25), np.float32(0)), -0.75], np.float32)
    for values in (ends, halves, np.arange(-80, 80, 0.0625, np.float32)):
        for x in values.reshape(-1, 4):
            q = np.full(4, 99, np.int8)
            made.dense_quantise_input(ctypes.c_void_p(x.ctypes.data), ctypes.c_void_p(q.ctypes.data))
            steps = np.nan_to_num(x.astype(np.float64) / 0.5, nan=-1e9, posinf=1e9, neginf=-1e9)
            wanted = np.clip(np.sign(steps) * np.floor(np.abs(steps) + 0.5) + 3, -128, 127)
            np.testing.assert_array_equal(q, wanted)
    y, back = np.array([-128, -7, 0, 127], np.int8), np.zeros(4, np.float32)
    made.dense_dequantise_output(ctypes.c_void_p(y.ctypes.data), ctypes.c_void_p(back.ctypes.data))
    np.testing.assert_array_equal(back, (y.astype(np.float32) + 7) * 4)
    refused = run("cifar10", "--float-io", "-o", "no")
    assert refused.status == 2
    assert "--float-io: expected a network with scales and zero points" in refused.err
    assert not (tmp_path / "no").exists()


def test_a_file_with_an_operator_that_nobody_has_is_refused_whole(run, tmp_path: Path) -> None:
    refused = run("odd.tflite")
    assert (refused.status, refused.err.count("\n")) == (2, 1)
    assert "odd.tflite" in refused.err
    assert "ARG_MAX (1x, first 'z')" in refused.err
    assert not (tmp_path / "build").exists()


def test_files_of_other_programs_are_told_where_to_go(run, tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(b"\x08\x08")
    for arguments in (["net.onnx"], ["net.onnx", "--operations"]):
        refused = run(*arguments)
        assert (refused.status, refused.err.count("\n")) == (2, 1)
        assert "net.onnx: expected an ONNX file with a graph" in refused.err
    (tmp_path / "net.h5").write_bytes(b"x")
    for arguments in (["net.h5"], ["net.h5", "--operations"]):
        refused = run(*arguments)
        assert (refused.status, refused.err.count("\n")) == (2, 1)
        assert "got a Keras file; convert it to an int8 .tflite file" in refused.err


def test_a_file_is_known_by_its_first_bytes_too(run, tmp_path: Path) -> None:
    (tmp_path / "dense.lite").write_bytes(dense())
    assert load_model(tmp_path / "dense.lite").arithmetic == "tflm"
    assert run("dense.lite", "--operations").status == 0


def test_the_arithmetic_is_named_and_changes_fully_connected_layers(tmp_path: Path) -> None:
    path = tmp_path / "dense.tflite"
    path.write_bytes(dense())
    device, reference = load_model(path), load_model(path, arithmetic="litert")
    assert (device.arithmetic, reference.arithmetic) == ("tflm", "litert")
    assert device.digest != reference.digest
    x = np.array([[-120, 127, 5, -7]], np.int8)
    acc = SIXTEEN.astype(np.int64) @ (x[0].astype(np.int64) - 3)
    exact = np.sign(acc) * np.floor(np.abs(acc) / 32 + 0.5) - 7  # 0.5 * 0.25 / 4
    assert reference.network().run(x).tolist() == [np.clip(exact, -128, 127).tolist()]
    with pytest.raises(ModelError, match="arithmetic: expected 'tflm' or 'litert', got 'arm'"):
        load_model(path, arithmetic="arm")
    with pytest.raises(ModelError, match="arithmetic: expected a network with zero points"):
        load_model("cifar10", arithmetic="tflm")


def test_without_rewrites_the_bytes_are_the_same(tmp_path: Path) -> None:
    path = tmp_path / "net.tflite"
    path.write_bytes(dense(O("RELU", ["y"], ["z"])))
    whole, plain = load_model(path), load_model(path, rewrites=False)
    assert plain.rewrites == ()
    x = np.random.default_rng(0).integers(-128, 128, (32, 1, 4)).astype(np.int8)
    np.testing.assert_array_equal(whole.network().run(x), plain.network().run(x))


def test_a_softmax_of_floats_between_integers_is_taken(run, tmp_path: Path) -> None:
    """DEQUANTIZE, SOFTMAX, QUANTIZE: what floats of 24 bits give, on the host and from a plan that was read back."""
    tensors = [
        T("x", (5, 10), "INT8", 0.1, 5), T("f", (5, 10), "FLOAT32"), T("p", (5, 10), "FLOAT32"),
        T("y", (5, 10), "INT8", 2**-8, -128),
    ]  # fmt: skip
    ops = [O("DEQUANTIZE", ["x"], ["f"]), O("SOFTMAX", ["f"], ["p"], {"beta": 2.0}), O("QUANTIZE", ["p"], ["y"])]
    path = tmp_path / "soft.tflite"
    path.write_bytes(build(tensors, ops, ["x"], ["y"]))
    model = load_model(path)
    x = np.random.default_rng(1).integers(-128, 128, (40, 5, 10)).astype(np.int8)
    x[1::2] //= 8
    exact = np.exp(np.float64(np.float32(0.1)) * 2 * x)
    share = np.floor(256 * exact / exact.sum(-1, keepdims=True) + 0.5)
    np.testing.assert_array_equal(model.network().run(x), np.minimum(share - 128, 127))
    assert run("soft.tflite", "-q").status == 0
    plan = read_plan_file(tmp_path / "build" / "soft" / "plan.json")
    assert plan.layers()[0][0].scheme == model.layers[0].scheme
    path.write_bytes(build(tensors[:3], ops[:2], ["x"], ["p"]))
    assert "expected integers or their DEQUANTIZE" in run("soft.tflite").err


def test_a_border_of_floats_may_be_transposed_and_reshaped(tmp_path: Path) -> None:
    """Channels first outside, last inside: the integers of the border are moved instead."""
    rng = np.random.default_rng(2)
    weights = rng.integers(-127, 128, (5, 1, 1, 3)).astype(np.int8)
    tensors = [
        T("x", (1, 3, 4, 6), "FLOAT32"), T("perm", data=np.array([0, 2, 3, 1], np.int32)),
        T("back", data=np.array([0, 3, 1, 2], np.int32)), T("flat", data=np.array([1, 120], np.int32)),
        T("xt", (1, 4, 6, 3), "FLOAT32"), T("q", (1, 4, 6, 3), "INT8", 0.1, 3),
        T("w", scale=[0.02] * 5, zero_point=[0] * 5, data=weights), T("y", (1, 4, 6, 5), "INT8", 0.2, -5),
        T("yf", (1, 4, 6, 5), "FLOAT32"), T("yt", (1, 5, 4, 6), "FLOAT32"), T("out", (1, 120), "FLOAT32"),
    ]  # fmt: skip
    conv = O("CONV_2D", ["q", "w", None], ["y"], {"padding": "VALID", "stride_w": 1, "stride_h": 1})
    inner = [O("QUANTIZE", ["xt"], ["q"]), conv, O("DEQUANTIZE", ["y"], ["yf"])]
    outer = [O("TRANSPOSE", ["yf", "back"], ["yt"]), O("RESHAPE", ["yt", "flat"], ["out"])]
    path, plain = tmp_path / "border.tflite", tmp_path / "plain.tflite"
    path.write_bytes(build(tensors, [O("TRANSPOSE", ["x", "perm"], ["xt"]), *inner, *outer], ["x"], ["out"]))
    plain.write_bytes(build(tensors, [conv], ["q"], ["y"]))
    model = load_model(path)
    assert [(port.name, port.shape) for port in (*model.inputs, *model.outputs)] == [
        ("x", (1, 3, 4, 6)), ("out", (1, 120)),
    ]  # fmt: skip
    x = rng.integers(-128, 128, (1, 3, 4, 6)).astype(np.int8)
    inside = load_model(plain).network().run(np.ascontiguousarray(x.transpose(0, 2, 3, 1)))
    np.testing.assert_array_equal(model.network().run(x), inside.transpose(0, 3, 1, 2).reshape(1, 120))


def test_inputs_and_outputs_are_as_the_file_has_them(tmp_path: Path) -> None:
    path = tmp_path / "net.tflite"
    path.write_bytes(dense())
    model = load_model(path)
    (x,), (y,) = model.inputs, model.outputs
    assert (x.name, x.shape, x.dtype, x.scale, x.zero_point) == ("x", (1, 4), np.int8, 0.5, 3)
    assert (y.name, y.shape, y.dtype, y.scale, y.zero_point) == ("y", (1, 4), np.int8, 4.0, -7)
