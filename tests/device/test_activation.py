# SPDX-License-Identifier: Apache-2.0
"""ReLU and what looks a table up on the device: every value of the input type, in place, any alignment and length."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from cmsisnn_x.op import MODEL_OPS
from helpers.device import Build, Case, assert_kernel, check_on_host, host_compiler, sample
from helpers.layers import make_layer

TABLED = [name for name, row in MODEL_OPS.items() if row.has_table]
OFFSETS = ((None, None), (1, 3), (2, None), (None, 1))
SHAPES = ((1,), (3,), (4,), (3, 5, 7), (64,))


def cases() -> list[Case]:
    found = []
    for dtype, shape, (input_offset, output_offset), in_place in product(("q7", "q15"), SHAPES, OFFSETS, (False, True)):
        if in_place and input_offset != output_offset:
            output_offset = input_offset
        for op, int_bits in (("relu", 0), *((op, len(found) % 4) for op in TABLED)):
            layer = make_layer(op, shape, dtype=dtype, int_bits=int_bits)
            found.append(Case(layer, input_offset=input_offset, output_offset=output_offset, in_place=in_place))
    return found


def whole_range(dtype: str, step: int = 1) -> list[Case]:
    """Every value of the type, or each `step`-th and both ends."""
    info = np.iinfo(np.int8 if dtype == "q7" else np.int16)
    values = np.unique(np.r_[np.arange(info.min, info.max + 1, step), info.max])
    layers = [make_layer("relu", values.shape, dtype=dtype)]
    layers += [make_layer(op, values.shape, dtype=dtype, int_bits=bits) for op in TABLED for bits in range(4)]
    return [Case(layer, input=values) for layer in layers]


def test_activations_equal_the_definition(build: Build, full: bool) -> None:
    assert_kernel(build, sample(cases(), build, full))


def test_activations_over_the_whole_range(build: Build, full: bool) -> None:
    assert_kernel(build, whole_range("q7") + sample(whole_range("q15", 1 if full else 37), build, full, most=3))


@pytest.mark.full
def test_host_build_is_clean_under_sanitizers() -> None:
    check_on_host(cases()[::3] + whole_range("q7") + whole_range("q15"), host_compiler())
