# SPDX-License-Identifier: Apache-2.0
"""Files with reference outputs, of TensorFlow Lite Micro and of LiteRT's reference kernels, where there is a folder.

Set ``CMSISNN_X_TFLITE`` to a folder with ``golden/ops`` (``NAME.tflite`` and ``NAME.npz``: ``s0_in0``, ``s0_ref``,
``s0_dev``), ``golden/networks`` (``NAME.npz``: ``inputs``, ``ref_op00``, ``dev_op00``), ``models`` and ``real``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest

from helpers import int8_tables as tables
from helpers.int8_graph import Interpreter, assert_same_bytes, runners
from tuning.importers.tflite.reader import Imported, import_tflite
from tuning.model.ports import Port
from tuning.model.rewrites import rewritten

ARITHMETICS = {"tflm": "dev", "litert": "ref"}
ROOT = os.environ.get("CMSISNN_X_TFLITE", "")
MOST_MACS = 3_000_000
"""Of networks that the slow oracle runs."""


def found(pattern: str) -> list[Path]:
    return sorted(Path(ROOT).glob(pattern)) if ROOT else []


def needs_folder() -> None:
    if not ROOT:
        pytest.skip("set CMSISNN_X_TFLITE to a folder with .tflite files and what they give")


def given(x: np.ndarray, port: Port) -> np.ndarray:
    """What the caller of a float network gives ours: integers."""
    if x.dtype != np.float32:
        return x
    return tables.quantize(x, output_scale=port.scale or 1, output_zero_point=port.zero_point, output_dtype=port.dtype)


def got(made: np.ndarray, wanted: np.ndarray, port: Port) -> np.ndarray:
    if wanted.dtype != np.float32:
        return made
    return tables.dequantize(made, input_scale=port.scale or 1, input_zero_point=port.zero_point)


@pytest.mark.parametrize("path", found("golden/ops/*.tflite") or [None], ids=lambda path: path.stem if path else "none")
@pytest.mark.parametrize("arithmetic", ARITHMETICS)
def test_operators(path: Path | None, arithmetic: str) -> None:
    needs_folder()
    assert path is not None
    model = import_tflite(path, arithmetic)
    with np.load(path.with_suffix(".npz")) as golden:
        for graph in (model.graph, rewritten(model.graph)[0]):
            for kind, runner in runners(graph).items():
                for sample in ("s0", "s1"):
                    xs = [given(golden[f"{sample}_in{at}"], port) for at, port in enumerate(model.inputs)]
                    wanted = golden[f"{sample}_{ARITHMETICS[arithmetic]}"]
                    (made,) = runner.run(*xs)
                    made = got(made, wanted, model.outputs[0])
                    np.testing.assert_array_equal(made.reshape(-1), wanted.reshape(-1), strict=True, err_msg=kind)


def tensors(model: Imported, golden: Mapping[str, np.ndarray], key: str) -> Iterator[tuple[str, np.ndarray]]:
    """The tensor of the graph, and what is known of it, of every operator of a file."""
    for operation in model.operations:
        name = model.tensors.get(model.file.subgraphs[0].ops[operation.index].outputs[0])
        place = f"op{operation.index:02d}"
        if name is not None and name in model.graph.tensors:
            yield name, golden[f"{key}_{place}" if f"{key}_{place}" in golden else f"ref_{place}"]


@pytest.mark.parametrize("path", found("models/*.tflite") or [None], ids=lambda path: path.stem if path else "none")
@pytest.mark.parametrize("arithmetic", ARITHMETICS)
def test_networks(path: Path | None, arithmetic: str) -> None:
    """Every tensor of a sample by the oracle; the outputs of all on the host, before and after rewriting."""
    needs_folder()
    assert path is not None
    model = import_tflite(path, arithmetic)
    with np.load(path.parents[1] / "golden" / "networks" / f"{path.stem}.npz") as data:
        golden = dict(data)
    wanted = dict(tensors(model, golden, ARITHMETICS[arithmetic]))
    assert len(wanted) > 3
    small = sum(node.layer.macs for node in model.graph.nodes) < MOST_MACS
    if small:
        interpreter = Interpreter(model.graph)
        interpreter.run(golden["inputs"][0])
        for name, values in wanted.items():
            np.testing.assert_array_equal(
                interpreter.values[name].reshape(-1), values[0].reshape(-1), strict=True, err_msg=name
            )
    for graph in (model.graph, rewritten(model.graph)[0]):
        host = runners(graph)["network"]
        for sample, x in enumerate(golden["inputs"]):
            for made, name in zip(host.run(x), graph.outputs, strict=True):
                expected = wanted[name][sample]
                np.testing.assert_array_equal(made.reshape(-1), expected.reshape(-1), strict=True, err_msg=name)


@pytest.mark.parametrize("path", found("real/*.tflite") or [None], ids=lambda path: path.stem if path else "none")
def test_files_that_people_ship(path: Path | None) -> None:
    """They are taken, and rewriting them changes no byte: by the oracle where they are small, on the host otherwise."""
    needs_folder()
    assert path is not None
    model = import_tflite(path)
    after, _ = rewritten(model.graph)
    rng = np.random.default_rng(0)
    if sum(node.layer.macs for node in model.graph.nodes) < MOST_MACS:
        assert_same_bytes(model.graph, after, rng, runs=1)
    xs = [rng.integers(-128, 127, port.shape, np.int8, endpoint=True).astype(port.dtype) for port in model.inputs]
    first, second = (runners(graph)["network"].run(*xs) for graph in (model.graph, after))
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.reshape(-1), other.reshape(-1), strict=True)
