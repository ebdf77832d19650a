# SPDX-License-Identifier: Apache-2.0
"""max_pool and avg_pool against the oracle."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cmsisnn_x
from cmsisnn_x.errors import ShapeError
from helpers import reference, strategies
from helpers.arrays import assert_bit_exact, assert_untouched, guarded, random_array


@pytest.mark.parametrize("reduce", ["max", "avg"])
@settings(max_examples=200)
@given(data=st.data())
def test_any_geometry_equals_the_oracle(reduce, data):
    g = data.draw(strategies.geometries(pooling=True))
    element = strategies.DTYPES[data.draw(strategies.dtypes)]
    x = data.draw(strategies.tensors((g.height, g.width, data.draw(strategies.channels)), element))
    expected = reference.pool(x, reduce, kernel=g.kernel, stride=g.stride, first=g.first, size=g.size)
    out, memory = guarded(expected.shape, expected.dtype)
    assert getattr(cmsisnn_x, f"{reduce}_pool")(x, g.kernel, **g.arguments, out=out) is out
    assert_bit_exact(out, expected)
    assert_untouched(memory)


def test_average_truncates_once_towards_zero():
    # Two truncations would give trunc((trunc(-3 / 2) + trunc(-4 / 2)) / 2) = -1, rounding down -2.
    x = np.int8([[-1, -2], [-1, -3]])[:, :, np.newaxis]
    assert cmsisnn_x.avg_pool(x, 2).item() == -1
    assert cmsisnn_x.avg_pool(-x, 2).item() == 1


def test_average_counts_only_pixels_of_the_image():
    x = np.full((2, 2, 1), 10, np.int8)
    assert (cmsisnn_x.avg_pool(x, 3, stride=1, padding=1) == 10).all()


def test_padding_never_wins_a_maximum():
    x = np.full((3, 3, 5), -128, np.int8)
    assert (cmsisnn_x.max_pool(x, 3, stride=1, padding=1) == -128).all()


def test_sum_of_a_large_window_does_not_overflow():
    x = np.full((300, 300, 1), -32768, np.int16)
    assert cmsisnn_x.avg_pool(x, 300).item() == -32768


@pytest.mark.parametrize(
    ("side", "kernel", "stride", "padding", "expected"),
    [
        (32, 3, 2, 0, 16),
        (8, 3, 2, 0, 4),
        (5, 2, 2, 0, 3),
        (4, 2, 2, 1, 3),
        (3, 2, 2, 1, 2),
        (2, 3, 2, 0, 1),
        (4, 1, 3, 0, 2),
    ],
)
def test_ceil_mode_sizes(side, kernel, stride, padding, expected):
    # 3 + 2 - 2 = 3 rows of room and stride 2 round up to 3 windows, but the third would start at 3 + 1 = in + padding.
    x = np.zeros((side, side, 1), np.int8)
    out = cmsisnn_x.max_pool(x, kernel, stride=stride, padding=padding, ceil_mode=True)
    assert out.shape == (expected, expected, 1)


def test_stride_defaults_to_the_kernel():
    assert cmsisnn_x.max_pool(np.zeros((6, 9, 2), np.int8), (2, 3)).shape == (3, 3, 2)


@pytest.mark.parametrize("arguments", [{"kernel": 2, "padding": 2}, {"kernel": 2, "output_size": 4}, {"kernel": 6}])
def test_a_window_without_pixels_is_refused(arguments):
    with pytest.raises(ShapeError):
        cmsisnn_x.max_pool(np.zeros((5, 5, 1), np.int8), **arguments)


def test_a_batch_is_its_samples_one_by_one():
    x = random_array(np.random.default_rng(2), (3, 7, 6, 5), np.int16)
    for function in (cmsisnn_x.max_pool, cmsisnn_x.avg_pool):
        batch = function(x, 3, stride=2, ceil_mode=True)
        assert_bit_exact(batch, np.stack([function(image, 3, stride=2, ceil_mode=True) for image in x]))
