# SPDX-License-Identifier: Apache-2.0
"""The tests' own tools: with a comparison that finds nothing, or a wrong oracle, every other test would pass."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import reference, strategies
from helpers.arrays import assert_bit_exact, assert_untouched, guarded, poisoned


def test_assert_bit_exact_reports_the_first_mismatch_and_the_count():
    expected = np.zeros((2, 3), np.int8)
    actual = expected.copy()
    assert_bit_exact(actual, expected)
    actual[0, 2], actual[1, 1] = 7, -1
    with pytest.raises(AssertionError, match=r"layer: 2 of 6 elements differ, first at \(0, 2\): got 7, expected 0"):
        assert_bit_exact(actual, expected, "layer")


@pytest.mark.parametrize("actual", [np.zeros((2, 3), np.int16), np.zeros((3, 2), np.int8), np.zeros(6, np.int8)])
def test_assert_bit_exact_looks_at_dtype_and_shape(actual):
    with pytest.raises(AssertionError, match=r"dtype|shape"):
        assert_bit_exact(actual, np.zeros((2, 3), np.int8))


@pytest.mark.parametrize("shape", [(), (3,), (2, 0), (2, 3)])
@pytest.mark.parametrize("dtype", [np.int8, np.int16])
def test_poison_is_0x5b_in_every_byte(shape, dtype):
    array = poisoned(shape, dtype)
    assert array.shape == shape
    assert set(array.tobytes()) <= {0x5B}


@pytest.mark.parametrize("index", [63, -64])
def test_guarded_notices_a_write_beside_the_array(index):
    array, memory = guarded((4, 5), np.int16)
    array[...] = 0
    assert_untouched(memory)
    memory[index] = 1
    with pytest.raises(AssertionError, match="overwritten"):
        assert_untouched(memory)


def test_oracle_rounds_half_up_wraps_and_saturates():
    def one(acc, shift, dtype=np.int8, **more):
        return reference.requantize(np.array([acc]), None, 0, shift, dtype, **more).item()

    assert [one(v, 1) for v in (-5, 5, -4, 4)] == [-2, 3, -2, 2]
    assert [one(v, 0) for v in (127, 128, -128, -129)] == [127, 127, -128, -128]
    assert one(-5, 0, relu=True) == 0
    assert one(2**31, 31) == -1  # wraps to -2^31, and rounding adds 2^30
    assert one(2**32 + 3, 0) == 3
    assert one(40000, 0, np.int16) == 32767


def test_oracle_on_numbers_worked_out_by_hand():
    x = np.arange(1, 10, dtype=np.int8).reshape(3, 3, 1)
    ones = np.ones((1, 2, 2, 1), np.int8)
    where = {"stride": (2, 2), "first": (1, 1), "size": (2, 2), "bias_shift": 1, "out_shift": 0}
    assert reference.convolve(x, ones, np.int8([10]), **where)[:, :, 0].tolist() == [[21, 25], [31, 48]]
    assert reference.depthwise_convolve(x, ones[0], np.int8([10]), **where)[:, :, 0].tolist() == [[21, 25], [31, 48]]
    window = {"kernel": (2, 2), "stride": (2, 2), "first": (0, 0), "size": (2, 2)}
    assert reference.pool(x, "max", **window)[:, :, 0].tolist() == [[5, 6], [8, 9]]
    assert reference.pool(-x, "avg", **window)[:, :, 0].tolist() == [[-3, -4], [-7, -9]]
    assert reference.softmax(np.int8([10, 9, 8])).tolist() == [73, 36, 18]
    assert reference.padding_same(4, 3, 2) == (0, 2)
    assert reference.padding_same(5, 3, 2) == (1, 3)


@settings(max_examples=300)
@given(data=st.data())
def test_geometries_are_consistent(data):
    pooling = data.draw(st.booleans())
    g = data.draw(strategies.geometries(pooling=pooling))
    assert min(*g.size, *g.kernel, *g.stride) >= 1
    for n, k, s, p, o in zip((g.height, g.width), g.kernel, g.stride, g.first, g.size, strict=True):
        if pooling:
            assert all(max(i * s - p, 0) < min(i * s - p + k, n) for i in range(o))


def test_geometries_reach_the_cases_that_matter():
    """Hypothesis draws each of these within a few hundred examples."""
    seen = set()

    @settings(max_examples=300, database=None, derandomize=True)
    @given(g=strategies.geometries(), shift=strategies.shifts, channels=strategies.channels)
    def draw(g, shift, channels):
        seen.update(
            name
            for name, holds in {
                "one pixel": (g.height, g.width) == (1, 1),
                "stride 3": 3 in g.stride,
                "asymmetric padding": g.first[0] != g.first[1],
                "padding beyond the kernel": g.first[0] > g.kernel[0],
                "same": g.arguments.get("padding") == "same",
                "past the image": "output_size" in g.arguments
                and (g.size[0] - 1) * g.stride[0] - g.first[0] >= g.height,
                "shift 0": shift == 0,
                "shift 31": shift == 31,
                "127 channels": channels == 127,
            }.items()
            if holds
        )

    draw()
    assert len(seen) == 9, seen
