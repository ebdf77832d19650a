# SPDX-License-Identifier: Apache-2.0
"""Kernels with zero points: every instruction set that this processor runs gives the bits of the oracle."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cmsisnn_x import _simd
from cmsisnn_x.affine import Affine, rescale
from helpers.affine_cases import AffineCase, affine_cases, fixed_affine_case
from helpers.arrays import assert_bit_exact, assert_untouched, guarded
from helpers.simd_cases import OPS


def check(case: AffineCase) -> None:
    for isa in _simd.available():
        out, memory = guarded(case.expected.shape, case.expected.dtype)
        case.run(_simd, out, isa)
        assert_bit_exact(out, case.expected, f"{isa} {case.op}")
        assert_untouched(memory)


MANY = settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


@pytest.mark.parametrize("op", OPS)
@MANY
@given(data=st.data())
def test_every_instruction_set_equals_the_oracle(op: str, data: st.DataObject) -> None:
    check(data.draw(affine_cases(op)))


@pytest.mark.parametrize("op", OPS)
@MANY
@given(data=st.data())
def test_wide_activations_equal_the_oracle(op: str, data: st.DataObject) -> None:
    """int16 with int8 weights and sums of 64 bits."""
    check(data.draw(affine_cases(op, wide=True)))


@MANY
@given(data=st.data())
def test_factors_equal_the_oracle(data: st.DataObject) -> None:
    """LiteRT's fully connected layers multiply in double precision."""
    check(data.draw(affine_cases("fully_connected", wide=data.draw(st.booleans()), rounding="float")))


@pytest.mark.parametrize("out_ch", [15, 16, 17, 33, 48])
@pytest.mark.parametrize("out_w", [1, 5, 8, 13, 16, 17, 31, 33])
def test_tile_edges(out_ch: int, out_w: int) -> None:
    check(fixed_affine_case("convolve", (3, out_w, 5), out_ch, (3, 3), (1, 1), (1, 1), (3, out_w)))


@pytest.mark.parametrize("op", ["convolve", "depthwise_convolve"])
@pytest.mark.parametrize("fill", ["random", "lowest", "highest"])
def test_images_larger_than_a_strip(op: str, fill: str) -> None:
    out_ch = 70 if op == "depthwise_convolve" else 3
    check(fixed_affine_case(op, (131, 41, 70), out_ch, (3, 2), (2, 1), (1, 1), (65, 41), fill))


@pytest.mark.parametrize("isa", _simd.available())
@pytest.mark.parametrize("left", range(0, 31, 3))
def test_accumulators_of_32_bits_are_rescaled_exactly(isa: str, left: int) -> None:
    """The bias alone is the accumulator: extremes, halves of every shift to the right, and shifts to the left that
    wrap.
    """
    rng = np.random.default_rng(left)
    edges = np.array([-(2**31), -(2**31) + 1, -1, 0, 1, 2**31 - 1, 2**30, -(2**30)])
    halves = np.array([sign * (2 * odd + 1) << n for sign in (1, -1) for odd in range(3) for n in range(29)])
    bias = np.concatenate([edges, halves, rng.integers(-(2**31), 2**31, 400)])
    count = len(bias) // 16 * 16 + 16
    bias = np.resize(bias, count).astype(np.int32)
    multiplier = rng.choice(np.array([2**30, 2**31 - 1, 0, 1, 1518500250]), count)
    shift = np.where(rng.random(count) < 0.5, left, -rng.integers(0, 31, count, endpoint=True))
    low, high = -128, 127
    x, weights = np.zeros((1, 1, 1, 1), np.int8), np.zeros((count, 1, 1, 1), np.int8)
    for point in (-128, 0, 127):
        scheme = Affine(3, point, tuple(multiplier.tolist()), tuple(shift.tolist()), low, high)
        expected = np.clip(rescale(bias.astype(np.int64), multiplier, shift) + point, low, high).astype(np.int8)
        out, memory = guarded((1, 1, 1, count), np.int8)
        _simd.convolve(x, weights, bias, out, 1, 1, 0, 0, scheme, isa=isa)
        assert_bit_exact(out[0, 0, 0], expected, isa)
        assert_untouched(memory)
        _simd.depthwise_convolve(
            np.zeros((1, 1, 1, count), np.int8), np.zeros((1, 1, count), np.int8), bias, out, 1, 1, 0, 0, scheme,
            isa=isa,
        )  # fmt: skip
        assert_bit_exact(out[0, 0, 0], expected, f"{isa} depthwise")


@pytest.mark.parametrize("isa", _simd.available())
@pytest.mark.parametrize("point", [-128, -1, 0, 127])
def test_accumulators_below_2_to_the_30_are_rescaled_exactly(isa: str, point: int) -> None:
    """Shifts of 1 to 22 bits to the right: the kernels then take another way, and any other channel ends it."""
    rng = np.random.default_rng(point + 128)
    most = 2**30 - 1
    halves = np.array([sign * (2 * odd + 1) << n for sign in (1, -1) for odd in range(3) for n in range(28)])
    near = np.array([sign * most - sign * back for sign in (1, -1) for back in range(8)])
    bias = np.concatenate([near, np.arange(-40, 40), halves, rng.integers(-most, most, 336)]).astype(np.int32)
    count = len(bias)
    assert count % 16 == 8
    multiplier = rng.choice(np.array([2**30, 2**31 - 1, 0, 1, 1518500250]), count)
    shift = -np.resize(np.arange(1, 23), count)
    expected = np.clip(rescale(bias.astype(np.int64), multiplier, shift) + point, -100, 127).astype(np.int8)
    x, weights = np.zeros((1, 1, 1, 1), np.int8), np.zeros((count, 1, 1, 1), np.int8)
    for other in (None, (most + 1, 2**31 - 1, -22), (5, 2**30, 0), (5, 2**30, -23)):
        numbers = np.stack([bias, multiplier, shift])
        if other is not None:
            numbers[:, 7] = other
            expected[7] = np.clip(int(rescale(*(np.array(n) for n in other))) + point, -100, 127)
        scheme = Affine(3, point, tuple(numbers[1].tolist()), tuple(numbers[2].tolist()), -100, 127)
        out, memory = guarded((1, 1, 1, count), np.int8)
        _simd.convolve(x, weights, numbers[0].astype(np.int32), out, 1, 1, 0, 0, scheme, isa=isa)
        assert_bit_exact(out[0, 0, 0], expected, f"{isa} {other}")
        assert_untouched(memory)
        images, taps = np.zeros((1, 1, 1, count), np.int8), np.zeros((1, 1, count), np.int8)
        _simd.depthwise_convolve(images, taps, numbers[0].astype(np.int32), out, 1, 1, 0, 0, scheme, isa=isa)
        assert_bit_exact(out[0, 0, 0], expected, f"{isa} depthwise {other}")


@pytest.mark.parametrize("isa", _simd.available())
@pytest.mark.parametrize("dtype", [np.int8, np.int16])
def test_averages_round_halves_away_from_zero(isa: str, dtype: type) -> None:
    """Every sum of seven elements, and of eight, that a quotient in single precision could round wrongly."""
    info = np.iinfo(dtype)
    last = np.arange(info.min, info.max + 1, dtype=dtype)
    for count in (7, 8):
        for rest in (0, 1, -1, info.min, info.max):
            x = np.full((1, 1, count, last.size), rest, dtype)
            x[0, 0, count - 1] = last
            sums = x.astype(np.int64).sum(axis=2)[0]
            out = np.zeros((1, 1, 1, last.size), dtype)
            scheme = Affine(0, 0, (0,), (0,), int(info.min), int(info.max))
            _simd.avg_pool(x, out, (1, count), (1, 1), (0, 0), scheme, isa=isa)
            expected = np.sign(sums) * ((abs(sums) + count // 2) // count)
            assert_bit_exact(out[0, 0], expected.astype(dtype), isa)
