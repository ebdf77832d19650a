# SPDX-License-Identifier: Apache-2.0
"""Every operator of `.tflite` files that is taken computes, as a graph, what the oracle makes of the file."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from helpers.int8_graph import assert_same_bytes, runners
from helpers.tflite_cases import Case
from helpers.tflite_cases_elements import ELEMENTS
from helpers.tflite_cases_layers import LAYERS
from helpers.tflite_cases_moves import MOVES
from helpers.tflite_cases_networks import NETWORKS
from tuning.importers.tflite.converters import CONVERTERS
from tuning.importers.tflite.converters.elements import FLOAT_CURVES, of_floats_alone
from tuning.importers.tflite.reader import import_tflite
from tuning.model.rewrites import rewritten

CASES: dict[str, Case] = {**LAYERS, **ELEMENTS, **MOVES, **NETWORKS}


@pytest.mark.parametrize("name", CASES)
def test_a_file_computes_what_the_oracle_says(tmp_path: Path, name: str) -> None:
    case = CASES[name]
    path = case.write(tmp_path / "m.tflite")
    for arithmetic in case.arithmetics:
        found = import_tflite(path, arithmetic)
        for ports, names in ((found.inputs, case.inputs), (found.outputs, case.outputs)):
            assert [port.name for port in ports] == list(names)
            assert [port.shape for port in ports] == [tuple(case.tensor(name).shape or ()) for name in names]
        if case.nodes is not None:
            assert tuple(node.op for node in found.graph.nodes) == case.nodes
        ready, run = runners(found.graph), case.start(arithmetic)
        for seed in (1, 2):
            values = case.draw(seed)
            expected = run(values)
            for kind, runner in ready.items():
                made = runner.run(*(values[port] for port in case.inputs))
                for one, other in zip(made, expected, strict=True):
                    np.testing.assert_array_equal(one.reshape(-1), other.reshape(-1), strict=True, err_msg=kind)
        assert_same_bytes(found.graph, rewritten(found.graph)[0], np.random.default_rng(1))


def test_every_operator_has_a_case() -> None:
    """Of floats between DEQUANTIZE and QUANTIZE, and of integers where those are taken too."""
    used, of_integers = set(), set()
    for case in CASES.values():
        floats = {tensor.name for tensor in case.tensors if tensor.dtype == "FLOAT32"}
        used |= {op.code for op in case.ops}
        of_integers |= {op.code for op in case.ops if not floats & set(op.inputs)}
    assert used >= CONVERTERS.keys()
    assert of_integers >= {code for code in FLOAT_CURVES if CONVERTERS[code] is not of_floats_alone}


def test_every_operator_is_in_the_guide() -> None:
    guide = (Path(__file__).resolve().parents[4] / "configs" / "models" / "TFLITE.md").read_text(encoding="utf-8")
    named = set(re.findall(r"[A-Z][A-Z0-9_]+", guide))
    assert {code for code, convert in CONVERTERS.items() if convert is not of_floats_alone} <= named
