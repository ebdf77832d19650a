# SPDX-License-Identifier: Apache-2.0
"""The int8 oracle on numbers worked out by hand, and its curves against the functions that they stand for."""

import numpy as np
import pytest

from helpers import int8_oracle, int8_shapes, int8_tables

EVERY = np.arange(-128, 128).astype(np.int8)
WIDE = np.arange(-32768, 32768, 7).astype(np.int16)
PLAIN = {"input_zero_point": 0, "output_zero_point": 0}


def mbqm(x, real):
    return int(int8_oracle.multiply_by_quantized_multiplier(x, *int8_oracle.quantize_multiplier(real)))


@pytest.mark.parametrize(
    ("real", "q", "e"),
    [
        (0.25, 2**30, -1),
        (0.5, 2**30, 0),
        (1.0, 2**30, 1),
        (3.0, 3 * 2**29, 2),
        (1.0 - 2.0**-31, 2**31 - 1, 0),
        (1.0 - 2.0**-33, 2**30, 1),  # rounds to 2^31, which does not fit
        (2.0**-32, 2**30, -31),
        (2.0**-33, 0, 0),
        (0.0, 0, 0),
    ],
)
def test_multiplier_and_shift(real, q, e):
    assert [int(v) for v in int8_oracle.quantize_multiplier(real)] == [q, e]


@pytest.mark.parametrize(
    ("x", "real", "double", "once"),
    [
        (1, 0.25, 1, 0),  # two roundings: 0.25 to 0.5, and 0.5 to 1
        (-1, 0.25, 0, 0),
        (-2, 0.25, -1, -1),
        (2, 0.25, 1, 1),
        (-6, 0.25, -2, -2),
        (-3, 0.5, -1, -2),  # e = 0: one rounding, half up
        (63, 2.0**-7, 1, 0),
    ],
)
def test_requantisation_rounds_twice(x, real, double, once):
    assert mbqm(x, real) == double
    assert int(int8_oracle.round_half_away(x * real)) == once


def test_requantisation_wraps_what_it_shifts_out():
    assert mbqm(2**30, 4.0) == 0
    assert mbqm(2**30 - 1, 2.0) == -2  # 2^32 - 4 as a signed number, halved
    assert mbqm(2**31 + 6, 0.5) == -(2**30) + 3


def test_int64_accumulators_are_rounded_once_by_fifteen_bits():
    def one(x, real):
        return int(int8_oracle.multiply_by_quantized_multiplier_64(x, *int8_oracle.quantize_multiplier(real)))

    assert [one(x, 0.25) for x in (1, 2, -2, -6, 2**40)] == [0, 1, 0, -1, 0]  # 2^38 wraps
    # q16 of the greatest multiplier below 1 is 2^15 - 1, not 2^15.
    assert one(2**15, 1.0 - 2.0**-31) == 2**15 - 1


def test_activations_clamp_on_the_integers_of_the_output():
    assert int8_oracle.activation_range(None, 0.1, 5) == (-128, 127)
    assert int8_oracle.activation_range("RELU", 0.1, 5) == (5, 127)
    assert int8_oracle.activation_range("RELU6", 0.1, 5) == (5, 65)
    assert int8_oracle.activation_range("RELU6", 0.01, 5) == (5, 127)
    assert int8_oracle.activation_range("RELU_N1_TO_1", 0.1, -125) == (-128, -115)
    assert int8_oracle.activation_range("RELU6", 0.001, 0, np.int16) == (0, 6000)


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "dilation", "expected"),
    [(7, 3, 1, 1, (7, (1, 1))), (8, 3, 2, 1, (4, (0, 1))), (9, 3, 3, 2, (3, (1, 1))), (9, 1, 3, 1, (3, (0, 0)))],
)
def test_same_padding_puts_the_odd_pixel_after(size, kernel, stride, dilation, expected):
    assert int8_oracle.same_padding(size, kernel, stride, dilation) == expected


def test_convolution_pads_with_the_zero_point():
    x = np.array([[3, 4], [5, 6]], np.int8).reshape(1, 2, 2, 1)
    ones = np.ones((1, 3, 3, 1), np.int8)
    q, e = int8_oracle.quantize_multiplier(0.5)
    out = int8_oracle.conv2d(x, ones, np.int32([1]), input_zero_point=3, output_zero_point=10, multiplier=q, shift=e)
    # (0 + 1 + 2 + 3 + 1) * 0.5 = 3.5, half up
    assert out.ravel().tolist() == [14] * 4
    deep = int8_oracle.depthwise_conv2d(
        x, np.array([1, -1], np.int8).reshape(1, 1, 1, 2), None, input_zero_point=3, output_zero_point=0,
        multiplier=[2**30, 2**30], shift=[1, 1],
    )  # fmt: skip
    assert deep.reshape(4, 2).tolist() == [[0, 0], [1, -1], [2, -2], [3, -3]]


def test_groups_read_their_own_channels():
    x = np.array([1, 2, 10, 20], np.int8).reshape(1, 1, 1, 4)
    weights = np.array([[1, 1], [1, -1], [1, 1], [-1, 1]], np.int8).reshape(4, 1, 1, 2)
    out = int8_oracle.conv2d(x, weights, None, **PLAIN, multiplier=2**30, shift=1)
    assert out.ravel().tolist() == [3, -1, 30, 10]


def test_fully_connected_differs_between_the_two_arithmetics():
    x, weights = np.array([[1], [-3], [4]], np.int8), np.array([[1]], np.int8)
    results = {
        name: int8_oracle.fully_connected(x, weights, None, **PLAIN, effective_scale=0.25, arithmetic=name)
        for name in ("tflm", "litert")
    }
    assert results["tflm"].ravel().tolist() == [1, -1, 1]
    assert results["litert"].ravel().tolist() == [0, -1, 1]


def test_wide_fully_connected_follows_the_type_of_its_bias():
    x, weights = np.array([[1]], np.int16), np.array([[1]], np.int8)
    results = [
        int8_oracle.fully_connected(x, weights, np.zeros(1, kind), **PLAIN, effective_scale=0.25).item()
        for kind in (np.int32, np.int64)
    ]
    assert results == [1, 0]


def test_element_by_element():
    scales = {"input1_scale": 1.0, "input2_scale": 0.5, "output_scale": 1.0}
    points = {"input1_zero_point": 1, "input2_zero_point": -2, "output_zero_point": 3}
    a, b = np.array([1, 5, 127], np.int8), np.array([0, 0, 127], np.int8)
    assert int8_oracle.add(a, b, **scales, **points).tolist() == [4, 8, 127]
    assert int8_oracle.sub(a, b, **scales, **points).tolist() == [2, 6, 65]  # 126 - 64.5, half away, + 3
    assert int8_oracle.mul(a, b, **scales, **points).tolist() == [3, 7, 127]
    assert int8_oracle.maximum(a, b).tolist() == [1, 5, 127]
    assert int8_oracle.minimum(a, b).tolist() == [0, 0, 127]


def test_pools_count_the_pixels_inside_and_round_half_away():
    x = np.array([1, 2, -1, -2, 5], np.int8).reshape(1, 1, 5, 1)
    pool = {"kernel": (1, 2), "stride": (1, 2), "padding": "SAME"}
    assert int8_oracle.average_pool2d(x, **pool).ravel().tolist() == [2, -2, 5]
    assert int8_oracle.max_pool2d(x, **pool).ravel().tolist() == [2, -1, 5]
    low = np.full((1, 1, 3, 1), -128, np.int8)
    assert int8_oracle.max_pool2d(low, **pool).ravel().tolist() == [-128, -128]


def test_mean_divides_its_multiplier():
    def one(x, real):
        points = {"input_zero_point": 1, "output_zero_point": -1}
        return int8_oracle.mean(np.int8([x]), axis=[-1], input_scale=real, output_scale=1.0, **points).tolist()

    assert one([3, 3, 4], 1.0) == [[1]]  # 7 / 3 - 1
    assert one([4, 5, 4], 0.75) == [[2]]  # 2.5 rounded half away, - 1
    assert one([4, 1], 0.25) == [[0]]  # 3 * 0.125 = 0.375 rounded twice: 1.5 to 2, 0.5 to 1
    assert one([3, 1], 0.25) == [[-1]]  # 2 * 0.125


def test_softmax_of_equal_elements():
    def one(columns, **more):
        return int8_tables.softmax(np.zeros((1, columns), np.int8), input_scale=0.1, **more)[0, 0]

    assert [one(n) for n in (1, 2, 4, 256)] == [127, 0, -64, -127]
    assert one(2, output_dtype=np.int16) == 0
    assert int8_tables.softmax(np.zeros((1, 2), np.int16), input_scale=0.1)[0, 0] == 16384


@pytest.mark.parametrize("arithmetic", ["tflm", "litert"])
@pytest.mark.parametrize(("scale", "zero_point"), [(0.05, 0), (0.1, -128), (2.0**-4, 127), (1e-3, 5)])
def test_curves_are_within_a_step_of_the_function(arithmetic, scale, zero_point):
    real = np.float32(scale) * (EVERY.astype(np.float64) - zero_point)
    given = {"input_scale": scale, "input_zero_point": zero_point}
    logistic = int8_tables.logistic(EVERY, **given, arithmetic=arithmetic)
    tanh = int8_tables.tanh(EVERY, **given, arithmetic=arithmetic)
    assert np.abs(logistic - np.clip(256 / (1 + np.exp(-real)) - 128, -128, 127)).max() <= 0.51
    assert np.abs(tanh - np.clip(128 * np.tanh(real), -128, 127)).max() <= 0.51


@pytest.mark.parametrize("scale", [2.0**-12, 1e-4, 3e-3])
def test_wide_curves_are_close_to_the_function(scale):
    real = np.float32(scale) * WIDE.astype(np.float64)
    assert np.abs(int8_tables.logistic(WIDE, input_scale=scale) - 32768 / (1 + np.exp(-real))).max() < 3
    assert np.abs(int8_tables.tanh(WIDE, input_scale=scale) - 32768 * np.tanh(real)).max() < 6


def test_device_curves_differ_from_the_float_table_where_a_scale_is_a_power_of_two():
    given = {"input_scale": 2.0**-7, "input_zero_point": 36}
    tflm, litert = (int8_tables.logistic(EVERY, **given, arithmetic=name) for name in ("tflm", "litert"))
    # 256 / (1 + exp(-+1/128)) is 128 -+ half a step.
    assert tflm[162:167].tolist() == [-1, -1, 0, 1, 1]
    assert litert[162:167].tolist() == [-1, 0, 0, 0, 1]
    assert (tflm != litert).sum() == 2
    coarse = int8_tables.logistic(EVERY, input_scale=8.0, input_zero_point=0)
    assert (coarse[127], coarse[128], coarse[129]) == (-128, -128, 127)  # sigmoid(0) at the lower limit


def test_hard_swish_and_the_relus():
    x = EVERY.astype(np.float64)
    swish = int8_tables.hard_swish(EVERY, input_scale=0.05, output_scale=0.05, **PLAIN)
    assert np.abs(swish - np.clip(x * np.clip(0.05 * x + 3, 0, 6) / 6, -128, 127)).max() <= 1
    rescaled = {"input_scale": 0.1, "output_scale": 0.05, "input_zero_point": 2, "output_zero_point": -8}
    probe = np.array([-128, 1, 2, 3, 60, 127], np.int8)
    assert int8_tables.relu(probe, **rescaled).tolist() == [-8, -8, -8, -6, 108, 127]
    assert int8_tables.relu6(probe, **rescaled, arithmetic="litert").tolist() == [-8, -8, -8, -6, 108, 112]
    assert int8_tables.relu6(probe, **rescaled).tolist() == [2, 2, 2, 3, 60, 62]  # not rescaled
    assert int8_tables.relu_n1_to_1(probe, **rescaled).tolist() == [-28, -10, -8, -6, 12, 12]
    assert int8_tables.leaky_relu(probe, alpha=0.25, **rescaled).tolist() == [-73, -8, -8, -6, 108, 127]


def test_quantize_between_types():
    x = np.array([-128, 0, 127], np.int8)
    given = {"input_scale": 0.5, "input_zero_point": 0, "output_scale": 0.5}
    assert int8_tables.quantize(x, **given, output_zero_point=128, output_dtype=np.uint8).tolist() == [0, 128, 255]
    assert int8_tables.quantize(
        x, input_scale=0.5, output_scale=0.125, output_zero_point=0, output_dtype=np.int16
    ).tolist() == [-512, 0, 508]
    steps = np.array([-0.75, -0.25, 0.25, 0.75, 1e6], np.float32)
    assert int8_tables.quantize(steps, output_scale=0.5, output_zero_point=1).tolist() == [-1, 0, 2, 3, 127]
    assert int8_tables.dequantize(x, input_scale=0.5, input_zero_point=-1).tolist() == [-63.5, 0.5, 64.0]


def test_what_only_moves_numbers():
    x = np.arange(6).astype(np.int8).reshape(2, 3)
    assert int8_shapes.pad(x, [(0, 1), (1, 0)], output_zero_point=-5).tolist() == [
        [-5, 0, 1, 2],
        [-5, 3, 4, 5],
        [-5, -5, -5, -5],
    ]
    assert int8_shapes.concatenation([x, x[:, :1]], axis=1).tolist() == [[0, 1, 2, 0], [3, 4, 5, 3]]
    assert int8_shapes.transpose(x, (1, 0)).tolist() == [[0, 3], [1, 4], [2, 5]]
    assert int8_shapes.strided_slice(x, (0, 2), (2, 0), (1, -1), end_mask=2).tolist() == [[2, 1, 0], [5, 4, 3]]
    assert int8_shapes.strided_slice(x, (1, 0), (2, 3), (1, 2), shrink_axis_mask=1).tolist() == [3, 5]
    assert [part.tolist() for part in int8_shapes.split(x, 3, axis=1)] == [[[0], [3]], [[1], [4]], [[2], [5]]]


@pytest.mark.parametrize(
    ("size", "out", "options", "expected"),
    [
        (3, 5, {}, [0, 0, 1, 1, 2]),
        (3, 5, {"align_corners": True}, [0, 1, 1, 2, 2]),
        (3, 5, {"half_pixel_centers": True}, [0, 0, 1, 2, 2]),
        (4, 1, {"align_corners": True}, [0]),
    ],
)
def test_nearest_pixels(size, out, options, expected):
    assert int8_shapes.nearest_source(size, out, **options).tolist() == expected
