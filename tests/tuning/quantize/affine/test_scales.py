# SPDX-License-Identifier: Apache-2.0
"""Scales, zero points, and weights with a scale for each output channel."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuning.importers.float_network import from_layers
from tuning.quantize.affine.operators import integer_weights
from tuning.quantize.affine.scales import Scale, ranges_of, spanning


def rng_of(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


@settings(deadline=None, max_examples=300)
@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.sampled_from(["int8", "int16"]))
def test_a_scale_reaches_both_ends_and_zero_is_exact(one: float, other: float, type_: str) -> None:
    low, high = min(one, other), max(one, other)
    scale = spanning(low, high, type_)
    assert scale.scale == np.float32(scale.scale)
    assert scale.dequantize(scale.quantize(np.zeros(1)))[0] == 0
    values = np.linspace(low, high, 50)
    error = np.abs(scale.dequantize(scale.quantize(values)) - values).max()
    # The zero point is rounded too: at an end there may be half a step more.
    assert error <= scale.scale * 1.001 + 1e-30
    if type_ == "int16":
        assert scale.zero_point == 0


def test_halves_are_rounded_away_from_zero() -> None:
    scale = Scale("int8", 0.5, 3)
    found = scale.quantize(np.array([0.25, -0.25, 0.75, 1e9, -1e9, 0.2]))
    assert found.tolist() == [4, 2, 5, 127, -128, 3]


def test_ranges_by_method() -> None:
    values = rng_of(1).normal(0, 1, 100_000)
    low, high = float(values.min()), float(values.max())
    assert ranges_of(values, low, high, "minmax") == [(low, high)]
    ((below, above),) = ranges_of(values, low, high, "percentile")
    assert 5 <= (values < below).sum() <= 15
    assert 5 <= (values > above).sum() <= 15
    tried = ranges_of(values, low, high, "mse")
    assert tried[0] == (low, high)
    assert len(tried) > 8


def dense(weights: np.ndarray) -> Any:
    made = from_layers([{"op": "fully_connected", "name": "fc", "weights": weights}])
    return made.geometry("q7")[0]


@pytest.mark.parametrize("bias", [0.0, 3.0, 1e7, -1e12])
@pytest.mark.parametrize("type_", ["int8", "int16"])
def test_weights_are_symmetric_and_sums_fit(bias: float, type_: str) -> None:
    weights = rng_of(2).normal(0, 1, (4, 30))
    weights[1] *= 1e-6
    weights[2] = 0
    x = Scale(type_, 0.01, 5 if type_ == "int8" else 0)
    found = integer_weights(dense(weights), weights, np.full(4, bias), x)
    assert found.values.min() >= -127
    assert found.values[2].any() == False  # noqa: E712
    reach = np.abs(found.values.astype(np.int64)).sum(axis=1) * 255 + np.abs(found.bias.astype(np.int64))
    if type_ == "int8":
        assert reach.max() < 2**31
    real = found.bias * found.bias_scales.astype(np.float64)
    assert np.allclose(real, bias, rtol=1e-6, atol=float(found.bias_scales.max()))
    assert np.allclose(found.bias_scales, np.float32(x.scale) * found.scales)
    error = np.abs(found.real(dense(weights)) - weights).max(axis=1)
    assert (error <= found.scales * 0.51).all()
    if bias == 0:
        assert np.abs(found.values[[0, 1, 3]]).max(axis=1).tolist() == [127] * 3
        assert found.coarse == 0
