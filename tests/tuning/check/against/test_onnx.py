# SPDX-License-Identifier: Apache-2.0
"""--against onnxruntime: tensors of integers from our own in front of them, and the whole file; differences and why."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator
from typer.testing import CliRunner

import tuning
from helpers.onnx_quantised import Net
from tuning.base.errors import OptionError
from tuning.base.options import Package
from tuning.check.against.onnx import compare_onnx, onnx_origin
from tuning.check.against.packages import ONNX_RUNTIME, PackageError, Piece, Samples, runner
from tuning.check.against.reasons import onnx_reason
from tuning.cli.verify import app

EXPORTED = Path(__file__).parents[2] / "importers" / "exported"
SAMPLES = 4
EXTRA = 'onnxruntime comes with the extra: pip install ".[against]"'


class Reference:
    """ONNX's own evaluator in the place of ONNX Runtime. `change` is what it gives in place of one tensor's numbers."""

    name, version, kernels = ONNX_RUNTIME, "1.0", (ONNX_RUNTIME,)

    def __init__(self, change: Callable[[str, np.ndarray], np.ndarray] = lambda name, numbers: numbers) -> None:
        self.change, self.pieces = change, 0

    def run(self, kernels: str, piece: Piece, samples: Samples) -> Samples:
        self.pieces += 1
        proto = onnx.load_from_string(piece.content)
        names = [item.name for item in proto.graph.input]
        wanted = [item.name for item in proto.graph.output]
        evaluator = ReferenceEvaluator(proto)
        found = [evaluator.run(None, dict(zip(names, sample, strict=True))) for sample in samples]
        return [[self.change(name, one) for name, one in zip(wanted, row, strict=True)] for row in found]


def network(path: Path, dtype: str = "int8") -> Path:
    """A convolution, a pool, a flattened image in front of a dense layer, and one that turns its input around."""
    net = Net((1, 3, 6, 5), dtype)
    x = net.q("x", 0.02, 3)
    y = net.q(net.node("Relu", net.node("Conv", x, net.weights((4, 3, 3, 3)), net.bias(4), pads=[1] * 4)), 0.04, -128)
    y = net.q(net.node("MaxPool", y, kernel_shape=[2, 2], strides=[2, 2]), 0.04, -128)
    y = net.q(net.node("Transpose", y, perm=[0, 1, 3, 2]), 0.04, -128)
    y = net.node("Reshape", y, net.constant(np.array([1, -1])))
    return net.save(path, net.q(net.node("MatMul", y, net.weights((24, 5), 1)), 0.3))


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_a_network_is_met_by_the_definition_of_onnx(tmp_path: Path, dtype: str) -> None:
    package = Reference()
    found = compare_onnx(network(tmp_path / "net.onnx", dtype), package, samples=SAMPLES)
    kinds = {op.kind: op for op in found.operators}
    assert list(kinds) == ["QuantizeLinear", "Conv + Relu", "MaxPool", "Transpose", "Reshape + MatMul"]
    border = kinds.pop("QuantizeLinear")
    assert border.skipped is not None
    assert "border" in border.skipped
    assert package.pieces == len(kinds) + 1
    for op in kinds.values():
        assert op.results[ONNX_RUNTIME].most <= (0 if op.kind in ("MaxPool", "Transpose") else 1), op
        assert op.results[ONNX_RUNTIME].differing <= 0.02 * op.results[ONNX_RUNTIME].size, op
    assert found.network[ONNX_RUNTIME].problem is None
    assert found.network[ONNX_RUNTIME].most <= 1


def test_a_difference_stays_where_it_is_made(tmp_path: Path) -> None:
    """What the pool gives is changed: nothing behind it is, and the message says that it should be equal."""
    path = network(tmp_path / "net.onnx")
    pool = next(node for node in onnx.load(path).graph.node if node.op_type == "MaxPool").output[0]
    quantised = next(node for node in onnx.load(path).graph.node if pool in node.input).output[0]
    before = compare_onnx(path, Reference(), samples=SAMPLES)

    def change(name: str, numbers: np.ndarray) -> np.ndarray:
        if name == quantised:
            numbers = numbers.copy()
            numbers.ravel()[:2] ^= 4
        return numbers

    after = compare_onnx(path, Reference(change), samples=SAMPLES)
    changed = [one.kind for one, other in zip(after.operators, before.operators, strict=True) if one != other]
    assert changed == ["MaxPool"]
    (finding,) = (one for one in after.findings() if one.kind == "MaxPool")
    assert (finding.differing, finding.most, finding.why) == (2 * SAMPLES, 4, None)
    assert not after.exact


def test_reasons_are_those_of_the_operators() -> None:
    assert "twice" in (onnx_reason(["Reshape", "MatMul"]) or "")
    assert "1/256" in (onnx_reason(["Softmax"]) or "")
    assert "halves to even" in (onnx_reason(["Mul", "Sigmoid"]) or "")
    assert onnx_reason(["Transpose", "MaxPool"]) is None


def test_what_the_package_refuses_is_said(tmp_path: Path) -> None:
    class Refusing(Reference):
        def run(self, kernels: str, piece: Piece, samples: Samples) -> Samples:
            raise PackageError("no such kernel")

    with pytest.raises(PackageError, match="runs nothing of it: no such kernel"):
        compare_onnx(network(tmp_path / "net.onnx"), Refusing(), samples=SAMPLES)


def _folder(path: Path, directory: Path) -> Path:
    tuning.emit(tuning.tune(tuning.load_model(path), tuning.load_target("cortex-m4")), directory)
    return directory


def test_the_file_is_that_of_the_folder(tmp_path: Path) -> None:
    path = network(tmp_path / "net.onnx")
    folder = _folder(path, tmp_path / "build")
    renamed = Path(shutil.copy(path, tmp_path / "other name.onnx"))
    assert onnx_origin(folder, str(renamed)).path == renamed
    with pytest.raises(OptionError, match=r"expected --model FILE\.onnx"):
        onnx_origin(folder, None)
    with pytest.raises(OptionError, match="another one"):
        onnx_origin(folder, str(EXPORTED / "small_cnn.qdq_int8.onnx"))


@pytest.mark.parametrize(
    "name", ["small_cnn.qdq_int8", "small_residual.qoperator_uint8", "small_keras.qdq_int8", "small_residual.qdq_uint8"]
)
def test_files_of_the_quantiser_against_the_package_itself(name: str) -> None:
    pytest.importorskip("onnxruntime", reason=EXTRA)
    found = compare_onnx(EXPORTED / f"{name}.onnx", runner(Package.ONNXRUNTIME), samples=SAMPLES)
    results = [op.results[ONNX_RUNTIME] for op in found.operators if op.results] + [found.network[ONNX_RUNTIME]]
    assert len(results) >= 5
    assert all(result.problem is None and result.most <= 1 for result in results)
    assert all(finding.why for finding in found.findings())


def test_the_command(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason=EXTRA)
    path = network(tmp_path / "net.onnx")
    folder = _folder(path, tmp_path / "build")
    words: list[Any] = [str(folder), "--against", "onnxruntime", "--model", str(path), "--samples", "3"]
    ran = CliRunner().invoke(app, [*words, "--json"])
    content = json.loads(ran.stdout)
    assert ran.exit_code == (0 if content["exact"] else 1)
    assert (content["package"], content["samples"]) == ("ONNX Runtime", 3)
    text = CliRunner().invoke(app, words).stdout
    assert "against ONNX Runtime" in text
    assert "Reshape + MatMul" in text
