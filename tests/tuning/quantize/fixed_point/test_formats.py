# SPDX-License-Identifier: Apache-2.0
"""Formats: the finest that saturates nothing, and integers of them."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tuning.quantize.fixed_point.formats import fitting_fraction, spell, to_integers


@settings(deadline=None, max_examples=200)
@given(st.lists(st.floats(-1e6, 1e6, allow_subnormal=False), min_size=1, max_size=6), st.sampled_from([8, 16]))
def test_the_fitting_format_is_the_finest_that_saturates_nothing(values: list[float], bits: int) -> None:
    array = np.array(values)
    fraction = fitting_fraction(array, bits)
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1

    def integers(f: int) -> list[float]:
        return [float(np.floor(np.ldexp(value, f) + 0.5)) for value in array]

    assert all(low <= value <= high for value in integers(fraction))
    if array.any() and fraction < 40:
        assert any(not low <= value <= high for value in integers(fraction + 1))
    assert np.array_equal(to_integers(array, fraction, np.dtype(f"int{bits}")), integers(fraction))


def test_integers_round_half_up_and_saturate() -> None:
    values = np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 200, -200]) / 4
    assert to_integers(values, 2, np.dtype(np.int8)).tolist() == [-2, -1, 0, 1, 2, 3, 127, -128]
    assert [spell(7, 8), spell(0, 8), spell(9, 8), spell(-1, 8)] == ["Q0.7", "Q7.0", "Q-2.9", "Q8.-1"]
