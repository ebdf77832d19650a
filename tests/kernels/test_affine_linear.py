# SPDX-License-Identifier: Apache-2.0
"""Sums of bytes by one shift: every pair of bytes gives what the formula gives, or there are no such numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmsisnn_x.affine import AffineSum, Rescale
from cmsisnn_x.affine.linear import FACTOR_BITS, NOT_LINEAR, Linear, linear_of
from cmsisnn_x.layers import Layer

EVERY = np.arange(-128, 128)
ZEROS = st.integers(-128, 127)
SCALES = st.floats(2.0**-10, 4.0, width=32)


def computed(linear: Linear, scheme: AffineSum) -> np.ndarray:
    """What a core computes with 32 bits."""
    total = linear.left * EVERY[:, None] + linear.right * EVERY[None, :] + linear.start
    assert np.abs(total).max() < 2**31
    assert max(abs(linear.left), abs(linear.right)) < 2**FACTOR_BITS
    assert abs(linear.start) < 2**31
    assert 1 <= linear.shift <= 30
    return np.clip(total >> linear.shift, scheme.low, scheme.high)


@given(st.tuples(SCALES, SCALES, SCALES), st.tuples(ZEROS, ZEROS, ZEROS), ZEROS, ZEROS, st.sampled_from((1, -1)))
def test_numbers_that_are_found_are_right(
    scales: tuple[float, float, float], zeros: tuple[int, int, int], one: int, other: int, sign: int
) -> None:
    scheme = AffineSum.of(scales, zeros, (min(one, other), max(one, other)), sign=sign)
    linear = linear_of(scheme)
    if linear is not NOT_LINEAR:
        expected = scheme.apply(EVERY[:, None], EVERY[None, :])
        assert np.array_equal(computed(linear, scheme), expected)


def test_nearly_all_real_scales_have_some() -> None:
    rng = np.random.default_rng(5)
    found = 0
    for _ in range(60):
        a, b = np.exp(rng.uniform(-4, 1, 2))
        scales = [np.float32(x) for x in (a, b, (a + b) * np.exp(rng.uniform(-1.5, 0.5)))]
        zeros = [int(x) for x in rng.integers(-128, 128, 3)]
        found += linear_of(AffineSum.of(scales, zeros, (-128, 127))) is not NOT_LINEAR
    assert found >= 57


NONE = {
    "many ties": AffineSum.of([np.float32(x) for x in (0.15, 0.2, 0.3)], (1, 2, 3), (-128, 127)),
    "a factor of nothing": AffineSum(Rescale(0, 0, 0), Rescale(0, 0, 0), 1, 20, 2**30, -19, 0, -128, 127),
    "one value": AffineSum.of((0.3, 0.2, 0.5), (0, 0, 0), (5, 5)),
    "factors of 2^40": AffineSum(Rescale(0, 2**30, 9), Rescale(0, 2**30, 9), 1, 20, 2**30, 11, 0, -128, 127),
}


@pytest.mark.parametrize("name", NONE)
def test_others_say_so(name: str) -> None:
    assert linear_of(NONE[name]) is NOT_LINEAR


def test_slopes_may_part_ties_as_the_formula_does() -> None:
    """Away from zero on both sides: a factor a little too large is right of zero above and left of it below."""
    scheme = AffineSum.of((0.25, 0.25, 0.5), (0, 0, 0), (-128, 127))
    assert np.array_equal(computed(linear_of(scheme), scheme), scheme.apply(EVERY[:, None], EVERY[None, :]))


def test_macros_of_16_bits_have_none() -> None:
    for dtype, is_found in (("int8", True), ("int16", False)):
        scheme = AffineSum.of((0.3, 0.21, 0.47), (0, 0, 0), (-128, 127), dtype=dtype)
        layer = Layer("a", "add", dtype, (4,), (4,), scheme=scheme, more_inputs=((4,),))
        macros = layer.row.macros(layer)
        assert (macros["LINEAR_SHIFT"] != 0) is is_found
