# SPDX-License-Identifier: Apache-2.0
"""Kernels that have no knobs on cores with Helium: the cases of all cores once more, whole and band by band."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from helpers.bands import BandCase, assert_bands
from helpers.device import Build, Case, assert_kernel, sample

from . import (
    test_activation,
    test_bands,
    test_int8_elements,
    test_int8_pool,
    test_multiply,
    test_pool,
    test_softmax,
)

Make = Callable[[], Sequence[Case]]
WHOLE: dict[str, Make] = {
    **test_int8_elements.KINDS,
    "products": test_multiply.cases,
    "activations": test_activation.cases,
    "tables": lambda: test_activation.whole_range("q7"),
    "softmax": lambda: [*test_softmax.cases("q7"), *test_softmax.cases("q15")],
}
for _module, _kinds in ((test_pool, ("q7", "q15")), (test_int8_pool, ("int8", "int16"))):
    for _op in ("max_pool2d", "avg_pool2d"):
        WHOLE[f"{_op} {_kinds}"] = lambda module=_module, op=_op: module.cases(op)
        WHOLE[f"{_op} {_kinds} full"] = lambda module=_module, op=_op, kinds=_kinds: [
            case for kind in kinds for case in module.full_range(op, kind)
        ]


@pytest.mark.emulated
def test_kernels_equal_their_definitions(helium_build: Build, full: bool) -> None:
    found = [case for make in WHOLE.values() for case in sample(make(), helium_build, full, most=2)]
    assert_kernel(helium_build, found)


def bands(rng: np.random.Generator) -> list[BandCase]:
    return [*test_bands.pools(rng), *test_bands.elements(rng)]


@pytest.mark.emulated
def test_bands_equal_the_rows_of_the_whole(helium_build: Build, full: bool) -> None:
    chosen = bands(np.random.default_rng(helium_build.index))
    some = chosen if full else chosen[helium_build.index :: 9]
    for at in range(0, len(some), test_bands.AT_ONCE):
        assert_bands(helium_build, some[at : at + test_bands.AT_ONCE])
