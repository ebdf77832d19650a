# SPDX-License-Identifier: Apache-2.0
"""One rounding in place of two: for every accumulator that a channel can have, the same output."""

from __future__ import annotations

import numpy as np
import pytest

from cmsisnn_x.affine import quantize_multiplier, rescale
from cmsisnn_x.channels import LARGEST, channels_of
from cmsisnn_x.single_rounding import FARTHEST, Line, _first_multiple, _least_move, single_line
from helpers.affine_layers import weighted


def line_of(
    reals: list[float], zero_point: int, limits: tuple[int, int], reach: np.ndarray
) -> tuple[Line | None, tuple[np.ndarray, np.ndarray]]:
    multiplier, shift = (np.array(column, np.int64) for column in zip(*map(quantize_multiplier, reals), strict=True))
    return single_line(multiplier, -shift, zero_point, limits, reach), (multiplier, shift)


def outputs(line: Line, channel: int, acc: np.ndarray, limits: tuple[int, int]) -> np.ndarray:
    moved = acc + line.more[channel]
    assert np.abs(moved).max() <= LARGEST
    return np.clip(((moved * line.factor[channel] >> 32) + line.offset[channel]) >> line.shift, *limits)


@pytest.mark.parametrize(
    ("zero_point", "limits"),
    [(-128, (-128, 127)), (-128, (-128, 60)), (-5, (-5, 127)), (3, (10, 90)), (127, (127, 127))],
)
@pytest.mark.parametrize("spread", [1.01, 8, 200])
def test_every_accumulator_gives_the_same(zero_point: int, limits: tuple[int, int], spread: float) -> None:
    rng = np.random.default_rng([abs(zero_point), int(spread)])
    found = 0
    for strongest in (0.02, 0.003, 0.0007):
        reals = [strongest, *(strongest / rng.uniform(1, spread, 3)).tolist(), 2.0**-9]
        reach = np.stack([-rng.integers(1, 200_000, 5), rng.integers(1, 200_000, 5)])
        reach[:, 1] = (7, 7)
        line, (multiplier, shift) = line_of(reals, zero_point, limits, reach)
        if line is None:
            continue
        found += 1
        assert 0 <= line.factor.min() <= line.factor.max() < 2**31
        assert np.abs(line.more).max() <= FARTHEST
        for channel, (least, most) in enumerate(reach.T):
            acc = np.arange(least, most + 1)
            expected = np.clip(rescale(acc, multiplier[channel], shift[channel]) + zero_point, *limits)
            assert np.array_equal(outputs(line, channel, acc, limits), expected), reals[channel]
    assert found == 3


def test_the_least_and_the_largest_accumulator_give_the_same_too() -> None:
    """Where they lie right beside one at which the output changes, which no accumulator then reaches."""
    rng = np.random.default_rng(5)
    found = 0
    for _ in range(3000):
        real, zero_point = float(2.0 ** rng.uniform(-10, -1)), int(rng.integers(-128, 127))
        multiplier, shift = quantize_multiplier(real)
        beside = int((rng.integers(0, 127 - zero_point, endpoint=True) - 0.5) / real)
        least = beside + int(rng.integers(-2, 3)) - int(rng.integers(0, 2)) * int(rng.integers(0, 2000))
        most = max(beside + int(rng.integers(-2, 3)), least)
        line, _ = line_of([real], zero_point, (zero_point, 127), np.array([[least], [most]]))
        acc = np.arange(least, most + 1)
        if line is not None:
            found += 1
            expected = np.clip(rescale(acc, multiplier, shift) + zero_point, zero_point, 127)
            assert np.array_equal(outputs(line, 0, acc, (zero_point, 127)), expected), (real, zero_point, least, most)
    assert found > 2500


def test_outputs_below_the_zero_point_round_twice() -> None:
    line, _ = line_of([0.003], -5, (-128, 127), np.array([[-90_000], [90_000]]))
    assert line is None


def test_factors_too_far_apart_round_twice() -> None:
    line, _ = line_of([0.4, 2.0**-21 * 1.3], -128, (-128, 127), np.array([[-100, -(2**28)], [90_000, 2**28]]))
    assert line is None


def test_layers_with_a_relu_have_records_of_one_rounding() -> None:
    """As their outputs at the ends of the reach say, too; a layer without ReLU has not."""
    layer = weighted("depthwise_conv2d", (9, 9, 12), kernel=3, kind="relu", zero=(-128, -128))
    channels = channels_of(layer)
    assert (channels.rescale, channels.record_type) == ("single", "cxn_single_channel")
    assert channels.shift is not None
    assert channels_of(layer) is channels
    plain = weighted("depthwise_conv2d", (9, 9, 12), kernel=3, zero=(-128, 3))
    assert (channels_of(plain).rescale, channels_of(plain).shift) == ("far", None)


def test_channels_without_weights_are_constants() -> None:
    layer = weighted("conv2d", (5, 5, 3), out_channels=6, kernel=3, kind="relu", zero=(7, -128))
    layer.weights[2] = 0
    layer.bias[2] = 40_000
    channels = channels_of(layer)
    _, factor, offset = channels.records[2].tolist()
    own = layer.scheme
    constant = rescale(np.int64(40_000), own.multiplier[2], own.shift[2]) + own.output_zero_point
    assert (channels.rescale, factor) == ("single", 0)
    assert offset >> channels.shift == np.clip(constant, own.low, own.high)


def test_the_first_multiple_in_a_range() -> None:
    rng = np.random.default_rng(1)
    for modulus in rng.integers(2, 300, 2000).tolist():
        step, (low, high) = int(rng.integers(modulus)), sorted(rng.integers(0, modulus, 2).tolist())
        found = next((i for i in range(modulus) if low <= i * step % modulus <= high), None)
        assert _first_multiple(step, modulus, low, high) == found, (step, modulus, low, high)


def test_the_least_move_may_be_either_way() -> None:
    step = 2**31 - 2**20 - 1
    for wanted in (5, -5, 0, 300_000, -300_000):
        assert _least_move(step, wanted * step, wanted * step) == wanted
    assert _least_move(2**20, 17, 20) is None
    assert _least_move(3, -1, 1) == 0
