# SPDX-License-Identifier: Apache-2.0
"""Every recorded call of Arm's 5.4.0 kernels gives the recorded result, under both profiles."""

import os
from pathlib import Path

import numpy as np
import pytest

from cmsisnn_x import cmsis
from cmsisnn_x.cmsis._prototypes import PROTOTYPES, SCRATCH
from helpers import golden

FOLDER = Path(os.environ.get("CMSISNN_X_GOLDEN") or golden.COMMITTED)
CASES = [case for path in sorted(FOLDER.glob("*.npz")) for case in golden.load(path)]
POISONS = {"dsp": 37, "scalar": -91}


def test_every_function_but_the_matrix_kernels_is_recorded():
    assert {case.function for case in CASES} == {name for name in PROTOTYPES if "mat_mult" not in name}


@pytest.mark.parametrize("profile", ["dsp", "scalar"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_recorded_call(case: golden.Case, profile: str):
    case.check(getattr(cmsis, case.function), profile, POISONS[profile])


@pytest.mark.parametrize("case", {case.function: case for case in CASES}.values(), ids=lambda case: case.function)
def test_prototypes_are_those_of_the_record(case: golden.Case):
    arrays = {
        a["name"]: (a["role"], np.dtype(a["dtype"])) for a in case.arguments if a["role"] not in ("scalar", "scratch")
    }
    assert {name: (array.role, array.dtype) for name, array in PROTOTYPES[case.function].items()} == arrays
    assert {a["name"] for a in case.arguments if a["role"] == "scratch"} <= set(SCRATCH)


class TestReader:
    """The reader itself: a wrong result, a write behind the output and a changed input are all found."""

    @pytest.fixture
    def case(self) -> golden.Case:
        return next(
            case for case in golden.load(golden.COMMITTED / "arm_softmax_q7.npz") if case.expected("dsp").size > 1
        )

    def test_both_file_forms_give_the_same_cases(self, case, tmp_path):
        long = {f"0/{name}": value for name, value in case.arrays.items()} | {
            f"0/{n}": v for n, v in case.scalars.items()
        }
        meta = f'{{"function": "{case.function}", "n_cases": 1, "arguments": {list(case.arguments)}}}'.replace("'", '"')
        np.savez(tmp_path / "long.npz", **long, **{"0/tag": case.tag, "0/status": case.status, "meta": meta})
        golden.save(tmp_path / "short.npz", case.function, case.arguments, [case])
        for name in ("long.npz", "short.npz"):
            (read,) = golden.load(tmp_path / name)
            assert (read.function, read.tag, read.status, read.scalars) == (
                case.function,
                case.tag,
                case.status,
                case.scalars,
            )
            assert read.arguments == case.arguments
            assert {k: v.tobytes() for k, v in read.arrays.items()} == {k: v.tobytes() for k, v in case.arrays.items()}

    def test_a_function_that_writes_nothing_fails(self, case):
        with pytest.raises(AssertionError):
            case.check(lambda *args, profile: None, "dsp", 37)

    @pytest.mark.parametrize(("array", "index"), [("p_out", 0), ("p_out", -1), ("vec_in", 0)])
    def test_a_wrong_value_fails(self, case, array, index):
        def wrong(vec_in, dim_vec, p_out, *, profile):
            cmsis.arm_softmax_q7(vec_in, dim_vec, p_out)
            {"vec_in": vec_in, "p_out": p_out}[array][index] ^= 1

        with pytest.raises(AssertionError):
            case.check(wrong, "dsp", 37)

    def test_a_wrong_status_fails(self, case):
        def wrong(*args, profile):
            cmsis.arm_softmax_q7(*args)
            return -3

        with pytest.raises(AssertionError):
            case.check(wrong, "dsp", 37)
