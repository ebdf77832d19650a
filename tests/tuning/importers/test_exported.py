# SPDX-License-Identifier: Apache-2.0
"""Files as exporters wrote them, in `exported`: our integers against what the framework gave, which lies beside them.

``benchmarks/exporters/export.py --small`` made them: PyTorch (both exporters), Keras, tf2onnx, skl2onnx, ONNX Runtime's
quantize_static, ai-edge-quantizer.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tuning

FOLDER = Path(__file__).parent / "exported"
FILES = sorted(path for path in FOLDER.iterdir() if path.suffix in (".onnx", ".tflite"))
DECIBELS = 25.0
"""Of int8 against float: less is an error of the reader, and no noise."""

@pytest.fixture(scope="module")
def compare() -> Any:
    """Of the benchmarks, which are no package."""
    folder = str(Path(__file__).parents[3] / "benchmarks" / "exporters")
    sys.path.insert(0, folder)
    try:
        return importlib.import_module("compare")
    finally:
        sys.path.remove(folder)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_an_exported_file_gives_what_its_framework_gives(path: Path, compare: Any, tmp_path: Path) -> None:
    stored = dict(np.load(path.with_suffix(".npz")))
    is_quantised = path.name.split(".")[1] in compare.QUANTISED
    if not is_quantised:
        quantised = tuning.quantize(path, stored["c0"], "int8", name="network")
        path = quantised.save(tmp_path / "network.yaml")
    found = compare.judged(path, stored, is_quantised)
    assert not found.is_wrong, found
    if is_quantised:
        # A step at most; LiteRT's reference kernels are met exactly.
        assert int(found.text.split()[0]) <= (0 if path.suffix == ".tflite" else 1), found
    else:
        assert int(found.text.split()[0]) >= DECIBELS, found


def test_every_exporter_has_a_file(compare: Any) -> None:
    assert {path.name.split(".")[1] for path in FILES} == set(compare.COLUMNS)


def test_the_comparison_sees_a_wrong_order(compare: Any) -> None:
    """Inputs turned around give other outputs, whose figures say so."""
    for path in FILES:
        stored = dict(np.load(path.with_suffix(".npz")))
        if path.name.split(".")[1] in compare.QUANTISED:
            stored["x0"] = stored["x0"][..., ::-1]
            assert compare.judged(path, stored, True).is_wrong, path.name
