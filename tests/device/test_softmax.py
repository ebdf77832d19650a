# SPDX-License-Identifier: Apache-2.0
"""Softmax on the device: lone maxima, ties, sums that divide the numerator exactly, any length and alignment."""

from __future__ import annotations

import re

import numpy as np
import pytest

from cmsisnn_x._arguments import SOFTMAX_MAX
from helpers.device import INCLUDE, Build, Case, assert_kernel, check_on_host, host_compiler, sample
from helpers.layers import make_layer


def softmax(values: np.ndarray, dtype: str, **options: object) -> Case:
    return Case(make_layer("softmax", values.shape, dtype=dtype), input=values, **options)


def cases(dtype: str) -> list[Case]:
    info = np.iinfo(np.int8 if dtype == "q7" else np.int16)
    width = 8 if dtype == "q7" else 16
    lone = np.full(9, info.min)
    lone[3] = info.max
    found = [
        softmax(lone, dtype),
        softmax(np.full(1, info.min), dtype),
        softmax(np.arange(info.max - width - 1, info.max + 1), dtype),
        softmax(np.arange(info.min, info.min + width + 3)[::-1], dtype),
        # Equal elements: 2^k of them make S a power of two, where the q15 quotient of 2^32 - 1 falls one short.
        *(softmax(np.full(count, 5), dtype) for count in (2, 3, 64, 255, 256)),
    ]
    for shape, (input_offset, output_offset) in (
        ((10,), (None, None)),
        ((10,), (1, 3)),
        ((3, 5, 7), (2, None)),
        ((33,), (None, 1)),
    ):
        layer = make_layer("softmax", shape, dtype=dtype)
        near = np.random.default_rng(len(found)).integers(-width, width, shape)
        found.append(Case(layer, input=near, input_offset=input_offset, output_offset=output_offset))
        found.append(Case(layer, input_offset=input_offset, output_offset=output_offset))
    return found


def test_softmax_equals_the_definition(build: Build, full: bool) -> None:
    assert_kernel(build, sample(cases("q7") + cases("q15"), build, full))


def test_the_header_takes_what_networks_may_have_and_says_so() -> None:
    """One limit for users, in Python; the header's own is that of its arithmetic: the sum of 2^16 per element."""
    text = (INCLUDE / "cmsisnn_x" / "softmax.h").read_text(encoding="utf-8")
    assert f"at most {SOFTMAX_MAX} elements" in text
    found = re.search(r"#if CXN_GET\(IN_H\) > (\d+) /", text)
    assert found
    most = int(found[1])
    assert most >= SOFTMAX_MAX
    assert most * 2**16 < 2**32 <= (most + 1) * 2**16


@pytest.mark.parametrize("dtype", ["q7", "q15"])
@pytest.mark.full
def test_host_build_is_clean_under_sanitizers(dtype: str) -> None:
    many = softmax(np.random.default_rng(0).integers(-3, 3, 40000), dtype)
    check_on_host([*cases(dtype), many], host_compiler())
