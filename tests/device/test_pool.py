# SPDX-License-Identifier: Apache-2.0
"""Pooling device kernels: any kernel, stride, padding, clipping, channel count and alignment."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from helpers.device import Build, Case, assert_kernel, check_on_host, host_compiler, sample
from helpers.layers import make_layer

OFFSETS = ((None, None), (1, 3), (2, None), (None, 1))
# (input, kernel, stride, padding, ceil_mode): sliding windows that share 0 to 3 columns, clipped ones, kernels above 4,
# windows over the whole image, and images smaller than the kernel.
GEOMETRIES = (
    ((8, 8, 4), 3, 2, 0, True),
    ((7, 5, 8), 3, 2, 1, False),
    ((6, 6, 3), 2, 2, 0, False),
    ((9, 7, 5), 3, 1, 1, False),
    ((6, 9, 4), 4, 1, 0, False),
    ((5, 5, 1), (4, 3), (3, 1), 1, True),
    ((8, 8, 6), 5, 3, 2, True),
    ((4, 4, 12), 4, 4, 0, False),
    ((7, 9, 7), (1, 4), (1, 2), 0, True),
    ((3, 3, 4), 5, 2, 2, False),
    ((5, 6, 2), 1, 2, 0, False),
    ((16, 17, 4), (16, 17), 1, 0, False),
    ((6, 7, 9), (2, 3), (1, 3), (1, 0), True),
    ((7, 8, 4), 4, 2, 1, True),
    ((5, 9, 8), 3, 4, 2, True),
    ((6, 10, 4), 4, 1, 3, False),
)


def cases(op: str) -> list[Case]:
    found = []
    for dtype, (shape, kernel, stride, padding, ceil_mode), offsets in product(("q7", "q15"), GEOMETRIES, OFFSETS):
        layer = make_layer(op, shape, dtype=dtype, kernel=kernel, stride=stride, padding=padding, ceil_mode=ceil_mode)
        found.append(Case(layer, input_offset=offsets[0], output_offset=offsets[1]))
    return found


def as_wide_as_the_image(op: str) -> list[Case]:
    """Windows of several rows whose pixels lie side by side, 0 to 3 of them behind the first and those taken by four;
    some with output rows to share, and rows of three on both sides of what compilers write out.
    """
    shapes = (
        ((5, 5, 4), 5),
        ((6, 5, 7), 6),
        ((7, 5, 3), 7),
        ((8, 5, 6), 8),
        ((11, 6, 8), 3),
        ((13, 3, 5), 13),
        ((12, 3, 4), 12),
        ((19, 2, 4), 18),
    )
    layers = [
        make_layer(op, shape, dtype=dtype, kernel=(rows, shape[1]), stride=(2, 1), padding=0)
        for dtype in ("q7", "q15")
        for shape, rows in shapes
    ]
    return [Case(layer, input_offset=at, output_offset=at) for layer in layers for at in (None, 3)]


def full_range(op: str, dtype: str) -> list[Case]:
    """Windows of equal extremes: sums at the end of 16 bits (256 elements of -128) and beyond it."""
    found = []
    for kernel in ((16, 16), (16, 17), (2, 2)):
        layer = make_layer(op, (16, 17, 4), dtype=dtype, kernel=kernel, stride=kernel, padding=0)
        info = np.iinfo(layer.numpy_dtype)
        found += [Case(layer, input=np.full((16, 17, 4), value)) for value in (info.min, info.max)]
    return found


def test_pooling_equals_the_definition(build: Build, full: bool) -> None:
    chosen = []
    for op in ("max_pool2d", "avg_pool2d"):
        chosen += sample(cases(op), build, full, most=10)
        chosen += sample(as_wide_as_the_image(op), build, full, most=6)
        chosen += sample(full_range(op, "q7") + full_range(op, "q15"), build, full, most=2)
    assert_kernel(build, chosen)


@pytest.mark.parametrize("count", [*range(1, 65), 127, 128, 200, 255, 256])
def test_average_by_multiplication_is_exact(count: int) -> None:
    """The formula of avg_pool.h over every sum that `count` q7 elements can have."""
    scale = (2**23 + count - 1) // count
    sums = np.arange(-128 * count, 127 * count + 1, dtype=np.int64)
    got = (sums * scale + np.where(sums < 0, 2**23 - 1, 0)) >> 23
    assert np.abs(sums * scale).max() + 2**23 < 2**31
    assert (got == np.sign(sums) * (np.abs(sums) // count)).all()


@pytest.mark.parametrize("op", ["max_pool2d", "avg_pool2d"])
@pytest.mark.full
def test_host_build_is_clean_under_sanitizers(op: str, full: bool) -> None:
    chosen = cases(op) if full else cases(op)[::5]
    check_on_host([*chosen, *full_range(op, "q7"), *full_range(op, "q15")], host_compiler())
