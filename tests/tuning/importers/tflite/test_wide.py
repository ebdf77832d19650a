# SPDX-License-Identifier: Apache-2.0
"""Sums and products that 32 bits do not hold: the bytes of LiteRT and of TensorFlow Lite Micro all the same.

``beyond_32_bits.npz`` beside this file holds what the packages gave, ai-edge-litert 2.3.0 with its reference kernels
and tflite-micro 0.dev20261023182759; ``cd tests && python -m helpers.tflite_cases_wide`` writes it anew.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from helpers import int8_oracle as oracle
from helpers.int8_graph import runners
from helpers.int8_oracle import Arithmetic
from helpers.tflite_cases import Case
from helpers.tflite_cases_wide import LONG, LONG_BIASES, PAIRS, SEEDS, WIDE, given, package_outputs, stored
from tuning.importers.tflite.reader import import_tflite
from tuning.model.rewrites import rewritten

MODULES: dict[Arithmetic, str] = {"tflm": "tflite_micro", "litert": "ai_edge_litert"}
CASE = pytest.mark.parametrize(("name", "arithmetic"), PAIRS)


@pytest.fixture(scope="module")
def known() -> dict[str, np.ndarray]:
    return dict(stored())


def expected(case: Case, arithmetic: Arithmetic) -> np.ndarray:
    run = case.start(arithmetic)
    return np.stack([run(case.draw(seed))[0].reshape(-1) for seed in SEEDS])


@CASE
def test_files_give_the_bytes_of_the_packages(
    tmp_path: Path, name: str, arithmetic: Arithmetic, known: dict[str, np.ndarray]
) -> None:
    """By the oracle's numbers of the file, and by every kind of host kernel, rewritten and not."""
    wanted = known[f"{name}/{arithmetic}"]
    np.testing.assert_array_equal(expected(WIDE[name], arithmetic), wanted, strict=True)
    graph = import_tflite(WIDE[name].write(tmp_path / "m.tflite"), arithmetic).graph
    for one in (graph, rewritten(graph)[0]):
        for kind, runner in runners(one).items():
            made = [runner.run(*given(WIDE[name], seed))[0].reshape(-1) for seed in SEEDS]
            np.testing.assert_array_equal(np.stack(made), wanted, strict=True, err_msg=kind)


@CASE
def test_the_bits_beyond_32_do_matter(name: str, arithmetic: Arithmetic, monkeypatch: pytest.MonkeyPatch) -> None:
    """More bits, and fewer where there are 64, would give other numbers, or the case says nothing."""
    true = expected(WIDE[name], arithmetic)
    if name in LONG:
        other = LONG[name](oracle.wrap32(LONG_BIASES))
    else:
        other = WIDE[name]
        monkeypatch.setattr(oracle, "wrap32", lambda x: np.asarray(x, np.int64))
    assert (expected(other, arithmetic) != true).any()


@pytest.mark.full
@pytest.mark.parametrize("arithmetic", MODULES)
def test_the_packages_still_give_what_is_stored(arithmetic: Arithmetic, known: dict[str, np.ndarray]) -> None:
    pytest.importorskip(
        MODULES[arithmetic], reason=f'{MODULES[arithmetic]} comes with the extra: pip install ".[against]"'
    )
    for name in (name for name, own in PAIRS if own == arithmetic):
        made = package_outputs(WIDE[name], arithmetic)
        np.testing.assert_array_equal(made, known[f"{name}/{arithmetic}"], strict=True, err_msg=name)
