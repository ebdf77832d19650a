# SPDX-License-Identifier: Apache-2.0
"""Plans and object code are those that are committed, in a compact form: see :mod:`helpers.object_code`.

A change that is to have no effect leaves all of it alone. One that is meant to have one: run
``python -P tests/helpers/object_code.py`` and read the difference.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.object_code import cases, compiler_version, object_form, plan_form, plan_of, stored
from helpers.samples import one_in

AGAIN = "if that is meant, run python -P tests/helpers/object_code.py and read the difference"
COMPILERS = ("gcc", "clang")
SAMPLE = (
    "autoencoder cortex-m33", "cifar10 cortex-m0plus", "cifar10 cortex-m4 sram_bytes=26634", "cifar10_cmsis cortex-m3",
    "digits cortex-m7", "ds_cnn_s cortex-m4", "lenet5 rp2350", "q15 cortex-m0plus",
    "q15 cortex-m4 objective=sram", "odd cortex-m3 objective=sram",
)  # fmt: skip
"""Whose objects are compiled with ``--rest``, every other one by default: together, every header of a network's
kernels, and every core.
"""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    full = metafunc.config.getoption("--full")
    every = [*stored()["cases"]]
    if "planned" in metafunc.fixturenames:
        metafunc.parametrize("planned", every if full else one_in(2, dict.fromkeys([*SAMPLE, *every[::8]])))
    if "compiled" in metafunc.fixturenames:
        metafunc.parametrize("compiled", every if full else one_in(2, SAMPLE))


def test_every_case_is_committed_and_none_else() -> None:
    assert list(stored()["cases"]) == list(cases()), AGAIN


def test_plan_is_the_committed_one(planned: str) -> None:
    found, expected = plan_form(plan_of(planned)), stored()["cases"][planned][0]
    assert found == expected, f"{planned}: cycles, SRAM, flash, choices, figures or places changed; {AGAIN}"


@pytest.mark.emulated
@pytest.mark.parametrize("compiler", COMPILERS)
def test_object_code_is_the_committed_one(compiler: str, compiled: str, tmp_path: Path) -> None:
    version, known = compiler_version(compiler), stored()["compilers"][compiler]
    if version != known:
        here = f"here is {version}" if version else "there is none here"
        pytest.skip(f"digests are of {known}, {here}; python -P tests/helpers/object_code.py writes those of this one")
    found = object_form(plan_of(compiled), compiler, tmp_path)
    expected = stored()["cases"][compiled][1 + COMPILERS.index(compiler)]
    assert found == expected, f"{compiled}: bytes of code, of data or their content changed; {AGAIN}"
