# SPDX-License-Identifier: Apache-2.0
"""--against: pieces of a file are what they were in it, differences are found where they are made, and said why."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import tuning
from helpers.tables import TablePackage, refuses
from helpers.tflite_files import G, O, T, build, examples
from tuning.base.errors import OptionError
from tuning.base.options import Arithmetic
from tuning.check.against import packages
from tuning.check.against.comparison import Comparison
from tuning.check.against.packages import OPTIMISED, REFERENCE, TFLM, XNNPACK, PackageError
from tuning.check.against.reasons import _INT16, _WAYS, OWN, reason
from tuning.check.against.tflite import compare, draw_inputs, origin
from tuning.cli.verify import app
from tuning.importers.tflite.cut import cut
from tuning.importers.tflite.file import FileModel, read
from tuning.importers.tflite.reader import import_tflite
from tuning.measure.workers import OwnProcess

RNG = np.random.default_rng(5)
SAMPLES = 4
BORDER, CONV, RESHAPE, DENSE, CURVE, OUT = 0, 1, 5, 6, 9, 10
"""Places of operators in `network`."""


def network(curved: bool = True) -> bytes:
    """Float borders, a shape that is computed; `curved`: an operator that nobody reads, a float function between
    integers.
    """
    tensors = [
        T("x", (1, 4, 4, 2), "FLOAT32"),
        T("q", (1, 4, 4, 2), scale=0.5, zero_point=-3),
        T("cw", data=RNG.integers(-127, 128, (3, 2, 2, 2), np.int8), scale=[0.5, 0.25, 0.01]),
        T("cb", data=RNG.integers(-99, 99, 3, np.int32), scale=[0.25, 0.125, 0.005]),
        T("c", (1, 3, 3, 3), scale=9.0, zero_point=4),
        T("shape", (4,), "INT32"),
        T("zero", data=np.array([0], np.int32)),
        T("one", data=np.array([1], np.int32)),
        T("batch", (), "INT32"),
        T("rest", data=np.array(27, np.int32)),
        T("flat shape", (2,), "INT32"),
        T("flat", (1, 27), scale=9.0, zero_point=4),
        T("dw", data=RNG.integers(-127, 128, (5, 27), np.int8), scale=0.01),
        T("d", (1, 5), scale=2.0, zero_point=7),
        T("unread", (1, 5), scale=2.0, zero_point=7),
        T("df", (1, 5), "FLOAT32"),
        T("sf", (1, 5), "FLOAT32"),
        T("s", (1, 5), scale=1 / 256, zero_point=-128),
        T("y", (1, 5), "FLOAT32"),
    ]
    window = {"padding": "VALID", "stride_w": 1, "stride_h": 1}
    ops = [
        O("QUANTIZE", ["x"], ["q"]),
        O("CONV_2D", ["q", "cw", "cb"], ["c"], window),
        O("SHAPE", ["c"], ["shape"], {"out_type": "INT32"}),
        O("STRIDED_SLICE", ["shape", "zero", "one", "one"], ["batch"], {"shrink_axis_mask": 1}),
        O("PACK", ["batch", "rest"], ["flat shape"], {"values_count": 2}),
        O("RESHAPE", ["c", "flat shape"], ["flat"]),
        O("FULLY_CONNECTED", ["flat", "dw", None], ["d"]),
        O("MAXIMUM", ["d", "d"], ["unread"]),
        O("DEQUANTIZE", ["d"], ["df"]),
        O("LOGISTIC", ["df"], ["sf"]),
        O("QUANTIZE", ["sf"], ["s"]),
        O("DEQUANTIZE", ["s"], ["y"]),
    ]
    if not curved:
        ops = [*ops[: DENSE + 1], O("DEQUANTIZE", ["d"], ["y"])]
    return build(tensors, ops, ["x"], ["y"], signatures={"serve": 0})


def table_of(path: Path, arithmetic: str = "tflm", samples: int = SAMPLES) -> dict[int, np.ndarray]:
    """What every tensor of `network` holds, worked out beside the code under test."""
    model = tuning.load_model(path, arithmetic=arithmetic, rewrites=False)
    (x,) = draw_inputs(model.graph, samples)
    found = {1: x}
    trace = model.network().trace(x)
    found |= {int(node.outputs[0][1:]): trace[node.name] for node in model.graph.nodes}
    tensors = read(path).subgraphs[0].tensors
    found = {index: value.reshape(samples, *tensors[index].shape) for index, value in found.items()}
    found[11] = found[4].reshape(samples, 1, 27)
    last = (17, 1 / 256, -128) if 17 in found else (13, 2.0, 7)
    for index, (inner, scale, zero_point) in {0: (1, 0.5, -3), 18: last}.items():
        found[index] = (scale * (found[inner].astype(np.int32) - zero_point)).astype(np.float32)
    return found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "net.tflite"
    file.write_bytes(network())
    return file


def off_by(step: int, code: str, count: int = 1) -> Callable[[list[str], int, np.ndarray], np.ndarray]:
    """Kernels that are wrong in the first `count` elements of the pieces that end in an operator."""

    def change(codes: list[str], index: int, numbers: np.ndarray) -> np.ndarray:
        if codes[-1] == code and len(codes) < 10:
            numbers = numbers.copy()
            flat = numbers.reshape(-1)
            flat[:count] = np.where(flat[:count] < 100, flat[:count] + step, flat[:count] - step)
        return numbers

    return change


def compared(path: Path, **changed: Any) -> Comparison:
    return compare(path, TablePackage(table_of(path), changed), samples=SAMPLES)


# ---------------------------------------------------------------- pieces of a file


def described(model: FileModel) -> list[Any]:
    return [
        (t.name, t.shape, t.type, t.scale.tolist(), t.zero_point.tolist(), None if t.data is None else t.data.tobytes())
        for t in model.subgraphs[0].tensors
    ]


@pytest.mark.parametrize("name", ["convolution", "outside", "state", "network"])
def test_a_piece_is_what_it_was_in_the_file(tmp_path: Path, name: str) -> None:
    content = {**examples(), "network": network()}[name]
    file, piece = tmp_path / "file.tflite", tmp_path / "piece.tflite"
    file.write_bytes(content)
    whole = read(file)
    for op in whole.subgraphs[0].ops:
        inputs = [index for index in op.inputs if index >= 0]
        piece.write_bytes(cut(content, [op.index], inputs, op.outputs))
        found = read(piece)
        (only,) = found.subgraphs[0].ops
        assert (only.code, only.version, only.custom) == (op.code, op.version, op.custom)
        assert (only.inputs, only.outputs, only.options) == (op.inputs, op.outputs, op.options)
        assert found.subgraphs[0].inputs == tuple(inputs)
        assert found.subgraphs[0].outputs == op.outputs
        assert found.signatures == ()
        assert described(found) == described(whole)
        assert len(found.subgraphs) == len(whole.subgraphs)


def test_several_operators_keep_their_order(tmp_path: Path) -> None:
    piece = tmp_path / "piece.tflite"
    piece.write_bytes(cut(network(), [2, 4, 8], [1], [18]))
    assert [op.code for op in read(piece).subgraphs[0].ops] == ["SHAPE", "PACK", "DEQUANTIZE"]


# ---------------------------------------------------------------- the comparison


def test_a_package_that_agrees_is_exact_and_ran_all_that_can_run(path: Path) -> None:
    package = TablePackage(table_of(path))
    result = compare(path, package, samples=SAMPLES)
    assert result.exact
    assert result.findings() == ()
    ran = {op.index: op.kind for op in result.operators if op.results}
    assert ran == {
        CONV: "CONV_2D",
        RESHAPE: "SHAPE + STRIDED_SLICE + PACK + RESHAPE",
        DENSE: "FULLY_CONNECTED",
        OUT: "DEQUANTIZE + LOGISTIC + QUANTIZE",
    }
    skipped = {op.index: op.skipped for op in result.operators if op.skipped}
    assert {index: str(why).split()[0] for index, why in skipped.items()} == {
        BORDER: "a", 2: "known", 3: "known", 4: "known", 7: "known", 8: "floating-point", CURVE: "floating-point",
        OUT + 1: "floating-point",
    }  # fmt: skip
    # A file of twelve operators is the whole one: once per set of kernels, as it is.
    assert [len(piece.ops) for piece in package.pieces].count(12) == 3
    assert result.network[REFERENCE].size == SAMPLES * 5


def test_a_difference_is_found_where_it_is_made(path: Path) -> None:
    result = compared(path, reference=off_by(1, "FULLY_CONNECTED", 3), XNNPACK=off_by(2, "CONV_2D"))
    assert not result.exact
    dense, conv = sorted(result.findings(), key=lambda item: item.kernels)[::-1]
    assert (dense.kind, dense.kernels, dense.operators, dense.of_operators) == ("FULLY_CONNECTED", REFERENCE, 1, 1)
    assert (dense.differing, dense.size, dense.most) == (3, SAMPLES * 5, 1)
    assert dense.why is not None
    assert "double precision" in dense.why
    assert (conv.kind, conv.kernels, conv.differing, conv.most) == ("CONV_2D", XNNPACK, 1, 2)
    assert not any(found.differing for found in result.network.values())
    assert [op.index for op in result.operators if any(found.differing for found in op.results.values())] == [1, 6]


def test_differences_of_the_network_count_too(path: Path) -> None:
    def change(codes: list[str], index: int, numbers: np.ndarray) -> np.ndarray:
        return numbers + np.float32(3 / 256) * np.where(numbers < 0.5, 1, -1) * (len(codes) == 12)

    result = compared(path, optimised=change)
    assert not result.exact
    assert result.findings() == ()
    found = result.network[OPTIMISED]
    assert (found.differing, found.size, found.most) == (SAMPLES * 5, SAMPLES * 5, 3)


def test_what_nobody_can_explain_is_to_be_reported(path: Path) -> None:
    (finding,) = compared(path, reference=off_by(1, "RESHAPE")).findings()
    assert finding.why is None


def test_an_operator_that_does_not_run_is_no_difference(path: Path) -> None:
    def change(codes: list[str], index: int, numbers: np.ndarray) -> np.ndarray:
        return refuses(codes, index, numbers) if codes[-1] == "CONV_2D" else numbers

    result = compared(path, optimised=change)
    assert result.exact
    (op,) = result.unrun
    assert op.results[OPTIMISED].problem == "this operator is not known"
    assert op.results[REFERENCE].problem is None
    with pytest.raises(PackageError, match="runs nothing of it: this operator is not known"):
        compared(path, reference=refuses, optimised=refuses, XNNPACK=refuses)


def test_numbers_of_another_type_are_no_answer(path: Path) -> None:
    result = compared(path, optimised=lambda codes, index, numbers: numbers.astype(np.int16))
    assert {str(op.results[OPTIMISED].problem) for op in result.unrun} >= {
        "expected int8 of shape (1, 5), got int16 of shape (1, 5)"
    }


def test_inputs_have_both_ends_and_are_reproducible(path: Path) -> None:
    graph = import_tflite(path).graph
    (drawn,) = draw_inputs(graph, 5)
    assert np.unique(drawn[1]).tolist() == [-128]
    assert np.unique(drawn[2]).tolist() == [127]
    assert all(np.unique(drawn[sample]).size > 10 for sample in (0, 3, 4))
    np.testing.assert_array_equal(drawn, draw_inputs(graph, 5)[0])
    assert draw_inputs(graph, 1)[0].shape == (1, 1, 4, 4, 2)


def test_what_is_remembered_is_what_the_run_before_left(tmp_path: Path) -> None:
    handle = {"container": "", "shared_name": "state"}
    tensors = [
        T("x", (1, 3), scale=0.5), T("s", (), "RESOURCE"), T("v", (1, 3), scale=0.5), T("y", (1, 3), scale=0.5)
    ]  # fmt: skip
    ops = [
        O("CALL_ONCE", options={"init_subgraph_index": 1}),
        O("VAR_HANDLE", [], ["s"], handle),
        O("READ_VARIABLE", ["s"], ["v"]),
        O("MAXIMUM", ["x", "v"], ["y"]),
        O("ASSIGN_VARIABLE", ["s", "y"]),
    ]
    zero = [T("s", (), "RESOURCE"), T("zero", data=np.full((1, 3), -100, np.int8))]
    once = G(zero, [O("VAR_HANDLE", [], ["s"], handle), O("ASSIGN_VARIABLE", ["s", "zero"])], name="NoOp")
    path = tmp_path / "state.tflite"
    path.write_bytes(build(tensors, ops, ["x"], ["y"], subgraphs=[once]))
    (x,) = draw_inputs(import_tflite(path).graph, SAMPLES)
    y = np.maximum.accumulate(np.maximum(x, -100), axis=0)
    before = np.concatenate([np.full((1, 1, 3), -100, np.int8), y[:-1]])
    package = TablePackage({0: x, 2: before, 3: y})
    result = compare(path, package, samples=SAMPLES)
    assert result.exact
    assert [op.kind for op in result.operators if op.results] == ["MAXIMUM"]


# ---------------------------------------------------------------- why


def test_a_reason_names_both_sides_and_only_where_they_differ() -> None:
    for ways, element in ((_WAYS, "INT8"), (_INT16, "INT16")):
        for code in ways:
            assert set(ways[code]) == {TFLM, REFERENCE, OPTIMISED, XNNPACK}
            for arithmetic in Arithmetic:
                assert reason(code, element, arithmetic, OWN[arithmetic]) is None
                for kernels in ways[code]:
                    said = reason(code, element, arithmetic, kernels)
                    assert said is None or re.fullmatch(r"[A-Z].*; .*\.", said)


def test_reference_and_device_differ_where_the_arithmetic_says_so() -> None:
    differ = {code for code in _WAYS if reason(code, "INT8", Arithmetic.TFLM, REFERENCE)}
    assert differ == {
        "FULLY_CONNECTED", "MUL", "RELU", "RELU6", "RELU_N1_TO_1", "LEAKY_RELU", "LOGISTIC", "TANH"
    }  # fmt: skip


# ---------------------------------------------------------------- folders and the command


@pytest.fixture
def folder(path: Path, tmp_path: Path) -> Path:
    path.write_bytes(network(curved=False))
    plan = tuning.tune(tuning.load_model(path), tuning.load_target("cortex-m4"))
    tuning.emit(plan, tmp_path / "out")
    return tmp_path / "out"


def test_a_folder_holds_the_file_and_its_digest(folder: Path, path: Path, tmp_path: Path) -> None:
    assert (folder / "net.tflite").read_bytes() == path.read_bytes()
    path.unlink()
    found = origin(folder)
    assert (found.path, found.arithmetic) == (folder / "net.tflite", "tflm")
    assert "net.tflite" in (folder / "README.md").read_text()
    plan = tuning.tune(tuning.load_model("digits"), tuning.load_target("cortex-m4"))
    assert plan.source is None
    tuning.emit(plan, tmp_path / "digits")
    assert not list((tmp_path / "digits").glob("*.tflite"))
    assert ".tflite" not in (tmp_path / "digits" / "README.md").read_text()
    with pytest.raises(OptionError, match=r"expected the firmware of a \.tflite file, got that of another model"):
        origin(tmp_path / "digits")


def test_another_file_than_the_folders_is_refused(folder: Path, path: Path, tmp_path: Path) -> None:
    assert origin(folder, str(path)).path == path
    copy = folder / "net.tflite"
    other = bytearray(copy.read_bytes())
    other.append(0)
    (tmp_path / "other.tflite").write_bytes(other)
    with pytest.raises(OptionError, match=r"expected the file that plan\.json was written for, got another one"):
        origin(folder, str(tmp_path / "other.tflite"))
    copy.write_bytes(b"not a model")
    with pytest.raises(tuning.ModelError, match=r"expected a \.tflite file"):
        origin(folder)
    copy.unlink()
    with pytest.raises(OptionError, match="no such file; it is a copy of the model"):
        origin(folder)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"arithmetic": "exact"}, "arithmetic: expected tflm or litert, got 'exact'"),
        ({"arithmetic": ["tflm"]}, "arithmetic: expected tflm or litert"),
        ({"model": "../net"}, "model: "),
        ({"model": 3}, "model: expected a name"),
        ({"digests": []}, "expected the firmware of a .tflite file"),
        ({"digests": {"source": 0}}, "expected the file that plan.json was written for"),
    ],
)
def test_a_plan_that_says_nonsense_is_refused(folder: Path, change: dict[str, object], says: str) -> None:
    plan = json.loads((folder / "plan.json").read_text())
    (folder / "plan.json").write_text(json.dumps(plan | change))
    with pytest.raises(OptionError, match=re.escape(says)):
        origin(folder)


@pytest.mark.parametrize("text", ["", "[]", "{", "\udcff"])
def test_what_is_no_plan_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(OptionError, match=r"no plan\.json"):
        origin(tmp_path)
    (tmp_path / "plan.json").write_bytes(os.fsencode(text))
    with pytest.raises(OptionError, match=r"cannot be read|of a \.tflite file"):
        origin(tmp_path)


@pytest.fixture
def verify(folder: Path, path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    def run(*arguments: str, **changed: Any) -> Any:
        package = TablePackage(table_of(path, samples=5), changed)
        monkeypatch.setattr(packages, "runner", lambda which: package)
        return CliRunner(env={"COLUMNS": "200"}).invoke(app, [str(folder), "--against", "litert", *arguments])

    return run


def test_the_command_says_equal_and_ends_with_0(verify: Callable[..., Any]) -> None:
    done = verify()
    assert done.exit_code == 0, done.output
    assert "3 operators and the network give Fake's bytes on 5 inputs." in done.stdout
    assert "a border: the network takes the integers behind it" in done.stdout


def test_the_command_says_what_differs_and_why_and_ends_with_1(verify: Callable[..., Any]) -> None:
    done = verify(reference=off_by(1, "FULLY_CONNECTED"), optimised=off_by(4, "RESHAPE"))
    assert done.exit_code == 1
    assert "1 of 25 by 1" in done.stdout
    text = " ".join(done.stdout.split())
    assert "LiteRT's reference multiplies in double precision" in text
    assert "please report it" in text
    assert (
        "DIFFERENT: SHAPE + STRIDED_SLICE + PACK + RESHAPE, FULLY_CONNECTED; the network's outputs are equal." in text
    )


def test_the_command_says_what_did_not_run(verify: Callable[..., Any]) -> None:
    done = verify(optimised=refuses)
    assert done.exit_code == 0
    assert "optimised: this operator is not known" in " ".join(done.stdout.split())
    assert "What ran gives Fake's bytes on 5 inputs; 4 of the above did not run everywhere." in done.stdout


def test_the_command_gives_json(verify: Callable[..., Any]) -> None:
    done = verify("--json", reference=off_by(1, "FULLY_CONNECTED"))
    assert done.exit_code == 1
    found = json.loads(done.stdout)
    assert (found["package"], found["exact"], found["samples"]) == ("Fake", False, 5)
    assert found["operators"][DENSE]["results"]["reference"]["differing"] == 1
    assert found["differences"][0]["kind"] == "FULLY_CONNECTED"


@pytest.mark.parametrize("option", [["--compiler", "clang"], ["--target", "cortex-m7"], ["--input", "x.npy"]])
def test_options_of_firmware_are_refused(verify: Callable[..., Any], option: list[str]) -> None:
    done = verify(*option)
    assert isinstance(done.exception, OptionError)
    assert str(done.exception) == f"{option[0]}: goes with a run of the firmware only"


@pytest.mark.parametrize(("package", "module"), [("litert", "ai_edge_litert"), ("tflm", "tflite_micro")])
def test_a_package_that_is_missing_is_said_with_what_to_type(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str, module: str
) -> None:
    (tmp_path / f"{module}.py").write_text("")  # which the package's process finds first
    monkeypatch.syspath_prepend(tmp_path)
    done = CliRunner().invoke(app, [str(folder), "--against", package])
    assert isinstance(done.exception, tuning.TuningError)
    assert done.exception.exit_status == 2
    needed = {"litert": "ai-edge-litert", "tflm": "tflite-micro==0.dev20261023182759"}[package]
    assert str(done.exception).endswith(f" is not installed: pip install {needed}")


def test_what_native_code_prints_is_the_reason_and_not_on_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    def ran() -> Any:
        os.write(2, b"INFO: created\nERROR: no kernel for it\n")
        raise RuntimeError("failed")

    with pytest.raises(PackageError, match=r"^no kernel for it$"):
        packages._run(ran)
    os.write(2, b"afterwards\n")
    assert capfd.readouterr().err == "afterwards\n"


# ---------------------------------------------------------------- the packages themselves, where they are installed


@pytest.mark.parametrize(
    ("package", "module"), [(Arithmetic.LITERT, "ai_edge_litert"), (Arithmetic.TFLM, "tflite_micro")]
)
def test_the_kernels_that_define_an_arithmetic_give_its_bytes(path: Path, package: Arithmetic, module: str) -> None:
    pytest.importorskip(module, reason=f'{module} comes with the extra: pip install ".[against]"')
    result = compare(path, packages.runner(package), arithmetic=package, samples=20)
    own = OWN[package]
    for op in result.operators:
        if op.results:
            assert (op.results[own].problem, op.results[own].differing) == (None, 0), op.kind
    assert (result.network[own].problem, result.network[own].differing) == (None, 0)
    assert result.unrun == ()


def test_a_package_that_ends_its_process_is_an_answer() -> None:
    apart = packages.Apart.__new__(packages.Apart)  # without a package
    apart._process = OwnProcess()
    for _ in range(2):
        with pytest.raises(packages.PackageError, match="it ends its own process"):
            apart._call(os._exit, 3)
    assert apart._call(os.getpid) != os.getpid()
