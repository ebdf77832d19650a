# SPDX-License-Identifier: Apache-2.0
"""Random files that remember, run after run: the oracle, the host, firmware, and TensorFlow Lite Micro."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tuning
from helpers.tflite_cases import Case
from helpers.tflite_cases_states import stateful
from tuning.check.against.packages import Piece
from tuning.emulate import find_toolchain
from tuning.measure import folder

RUNS = 5
SAMPLE, FULL = 40, 2000
EMULATED = ("cortex-m4", "cortex-m0plus")


def frames(seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.integers(-128, 127, (1, 4), np.int8, endpoint=True) for _ in range(RUNS)]


def expected(case: Case, given: list[np.ndarray]) -> list[list[np.ndarray]]:
    run = case.start("tflm")
    return [run({"x": x}) for x in given]


def assert_same(made: object, wanted: list[np.ndarray], where: str) -> None:
    for one, other in zip(made if isinstance(made, tuple) else (made,), wanted, strict=True):
        np.testing.assert_array_equal(np.asarray(one).reshape(-1), other.reshape(-1), strict=True, err_msg=where)


def test_a_network_remembers_and_forgets_as_the_file_says(tmp_path: Path, full: bool) -> None:
    for seed in range(FULL if full else SAMPLE):
        case, given = stateful(seed), frames(seed)
        path, wanted = case.write(tmp_path / "m.tflite"), expected(case, given)
        for rewrites in (True, False):
            network = tuning.load_model(path, rewrites=rewrites).network()
            for turn in range(2):
                for run, (x, outputs) in enumerate(zip(given, wanted, strict=True)):
                    assert_same(network.run(x), outputs, f"seed {seed}, rewrites {rewrites}, turn {turn}, run {run}")
                network.reset()


@pytest.mark.emulated
@pytest.mark.parametrize("core", EMULATED)
def test_firmware_does_too(tmp_path: Path, core: str, full: bool) -> None:
    for seed in range(EMULATED.index(core), 100 if full else 4, 2):
        model = tuning.load_model(stateful(seed).write(tmp_path / "m.tflite"))
        directory = tmp_path / f"{core}{seed}"
        tuning.emit(tuning.tune(model, tuning.load_target(core)), directory)
        found = folder.verify(folder.load(directory), find_toolchain(), frames(seed))
        assert found.exact, (seed, found.mismatches[0])


def test_the_package_does_too(full: bool) -> None:
    pytest.importorskip("tflite_micro", reason='tflite_micro comes with the extra: pip install ".[against]"')
    from tuning.base.options import Arithmetic
    from tuning.check.against.packages import runner

    package = runner(Arithmetic.TFLM)
    for seed in range(FULL if full else SAMPLE):
        case, given = stateful(seed), frames(seed)
        if len({op.options["shared_name"] for op in case.ops if op.code == "VAR_HANDLE" and op.options}) < len(
            case.held
        ):
            continue  # the package makes room for as many variables as there are names, whatever their containers
        piece = Piece(case.content(), len(case.outputs), 1 << 12)
        for made, wanted in zip(package.run(package.kernels[0], piece, [[x] for x in given]), expected(case, given),
                                strict=True):  # fmt: skip
            assert_same(tuple(made), wanted, f"seed {seed}")
