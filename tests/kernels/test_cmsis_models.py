# SPDX-License-Identifier: Apache-2.0
"""Arm's quirks against slow models in plain Python: pooling in place, signed-char coordinates, shift counts, tables."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cmsisnn_x import cmsis
from helpers import arm

SEED = st.integers(0, 2**32 - 1)


def draw(seed: int, shape, dtype=np.int8) -> np.ndarray:
    """Random values of the whole range, a third of them at its ends."""
    rng = np.random.default_rng(seed)
    limits = np.iinfo(dtype)
    values = rng.integers(limits.min, limits.max + 1, shape)
    ends = rng.choice([limits.min, limits.max], shape)
    return np.where(rng.random(shape) < 0.33, ends, values).astype(dtype)


@st.composite
def pools(draw_from):
    """Geometry that the dsp code accepts: out <= in, no empty window; paddings at and above the stride included."""
    size, kernel, stride = (draw_from(st.integers(1, high)) for high in (9, 6, 4))
    padding = draw_from(st.integers(0, kernel - 1))
    out = draw_from(st.integers(1, min(size, (size - 1 + padding) // stride + 1)))
    return size, draw_from(st.integers(1, 9)), kernel, padding, stride, out


class TestPooling:
    @given(pools(), SEED, st.booleans())
    def test_dsp_works_in_place(self, geometry, seed, average):
        size, channels, kernel, padding, stride, out_size = geometry
        image = draw(seed, (size, size, channels))
        expected, after = arm.pool_in_place(image, kernel, padding, stride, out_size, average=average)
        function = cmsis.arm_avepool_q7_HWC if average else cmsis.arm_maxpool_q7_HWC
        data, out = image.ravel().copy(), np.full(expected.size + 3, 99, np.int8)
        assert function(data, size, channels, kernel, padding, stride, out_size, None, out) is None
        assert out[:-3].tolist() == expected.ravel().tolist()
        assert out[-3:].tolist() == [99] * 3
        assert data.tolist() == after.ravel().tolist()

    @given(pools(), SEED, st.booleans())
    def test_scalar_clips_windows_and_leaves_the_input(self, geometry, seed, average):
        size, channels, kernel, padding, stride, out_size = geometry
        image = draw(seed, (size, size, channels))
        out = np.full((out_size, out_size, channels), 99, np.int8)
        function = cmsis.arm_avepool_q7_HWC if average else cmsis.arm_maxpool_q7_HWC
        data = image.ravel().copy()
        data.flags.writeable = False
        function(data, size, channels, kernel, padding, stride, out_size, None, out, profile="scalar")
        assert out.tolist() == arm.pool_clipped(image, kernel, padding, stride, out_size, average=average).tolist()

    @pytest.mark.parametrize(("function", "empty"), [("arm_maxpool_q7_HWC", 127), ("arm_avepool_q7_HWC", 0)])
    def test_scalar_window_outside_the_image(self, function, empty):
        out = np.full(9, 99, np.int8)
        getattr(cmsis, function)(np.full(1, -5, np.int8), 1, 1, 1, 1, 1, 3, None, out, profile="scalar")
        assert out.tolist() == [empty] * 4 + [-5] + [empty] * 4

    def test_dsp_average_saturates_groups_of_four_and_wraps_the_tail(self):
        image, out = np.full(300 * 300 * 5, 127, np.int8), np.full(5, 99, np.int8)
        cmsis.arm_avepool_q7_HWC(image, 300, 5, 300, 0, 1, 1, None, out)
        assert out.tolist() == [32767 // 300] * 4 + [-((65536 - 300 * 127) // 300)]

    def test_dsp_row_length_is_16_bits(self):
        channels = 32768
        image = np.zeros((2, 2, channels), np.int8)
        image[1] = 50
        for function, first in ((cmsis.arm_maxpool_q7_HWC, 0), (cmsis.arm_avepool_q7_HWC, 99)):
            out = np.full((2, 2, channels), 99, np.int8)
            function(image.copy(), 2, channels, 2, 0, 1, 2, None, out)
            assert np.unique(out[0]).tolist() == [first]

    def test_model_of_a_worked_example(self):
        row = np.array([[1], [5], [3]], np.int8)
        image = np.repeat(np.stack([row, row, row]), 4, axis=2)
        out, after = arm.pool_in_place(image, 3, 1, 1, 3, average=False)
        assert after[0, :, 0].tolist() == [5, 5, 5]
        assert out[:, :, 0].tolist() == [[5, 5, 5]] * 3


def call_convolution(function, x, weights, bias, geometry, shifts, *, profile, square):
    """Call one of Arm's convolutions on (h, w, c) arrays; geometry is ((kernel, padding, stride, out) of y, of x)."""
    (kernel_y, padding_y, stride_y, out_y), (kernel_x, padding_x, stride_x, out_x) = geometry
    height, width, in_ch = x.shape
    out_ch = weights.shape[0] if weights.ndim == 4 else in_ch
    out = np.full((out_y, out_x, out_ch), 77, x.dtype)
    if square:
        before, middle, after = (width, in_ch), (kernel_x, padding_x, stride_x), (out_x,)
    else:
        before = (width, height, in_ch)
        middle, after = (kernel_x, kernel_y, padding_x, padding_y, stride_x, stride_y), (out_x, out_y)
    flat = [array.ravel() for array in (x, weights, bias)]
    status = getattr(cmsis, function)(
        flat[0],
        *before,
        flat[1],
        out_ch,
        *middle,
        flat[2],
        *shifts,
        out.reshape(-1),
        *after,
        None,
        None,
        profile=profile,
    )
    assert status == 0
    return out


SIGNED_CHAR = {
    "arm_convolve_HWC_q7_basic": (1, 1, True),
    "arm_convolve_HWC_q7_basic_nonsquare": (1, 1, False),
    "arm_convolve_HWC_q7_fast": (4, 2, True),
    "arm_convolve_HWC_q7_RGB": (3, 1, True),
    "arm_convolve_HWC_q15_basic": (1, 1, True),
    "arm_convolve_HWC_q15_fast": (2, 2, True),
    "arm_convolve_HWC_q15_fast_nonsquare": (2, 2, False),
}
INT_COORDINATES = {
    "arm_convolve_HWC_q7_fast_nonsquare": (4, 2, False),
    "arm_convolve_1x1_HWC_q7_fast_nonsquare": (4, 2, False),
    "arm_depthwise_separable_conv_HWC_q7": (2, 2, True),
    "arm_depthwise_separable_conv_HWC_q7_nonsquare": (2, 2, False),
}


class TestSignedCharCoordinates:
    # size, kernel, padding, stride, out: sides of 128 and more, coordinates from 256 on, padding beyond 128.
    @pytest.mark.parametrize(
        "axis", [(129, 3, 1, 64, 3), (140, 2, 0, 19, 8), (270, 2, 0, 66, 4), (140, 1, 130, 20, 12), (20, 3, 0, 129, 4)]
    )
    @pytest.mark.parametrize("function", SIGNED_CHAR)
    def test_scalar_wraps_coordinates(self, function, axis):
        in_ch, out_ch, square = SIGNED_CHAR[function]
        dtype = np.int16 if "q15" in function else np.int8
        size, *rest = axis
        height = size if square else 3
        geometry = (rest if square else (1, 0, 1, 2), rest)
        x, weights = draw(1, (height, size, in_ch), dtype), draw(2, (out_ch, geometry[0][0], rest[0], in_ch), dtype)
        bias = draw(3, out_ch, dtype)
        out = call_convolution(function, x, weights, bias, geometry, (2, 9), profile="scalar", square=square)
        padding, stride, output_size = ((geometry[0][i], geometry[1][i]) for i in (1, 2, 3))
        keys = {"stride": stride, "padding": padding, "bias_shift": 2, "out_shift": 9, "output_size": output_size}
        expected = arm.convolve(x, weights, bias, **keys, signed_char=True)
        assert out.tolist() == expected.tolist()
        assert expected.tolist() != arm.convolve(x, weights, bias, **keys).tolist()

    @pytest.mark.parametrize("function", INT_COORDINATES)
    def test_others_take_large_images(self, function):
        in_ch, out_ch, square = INT_COORDINATES[function]
        depthwise = "depthwise" in function
        kernel, size = (1, 140) if "1x1" in function else (3, 140)
        stride = 1 if "1x1" in function else 68
        out = (size - kernel) // stride + 1
        axis = (kernel, 0, stride, out)
        x = draw(1, (size, size, in_ch))
        weights = draw(2, (kernel, kernel, in_ch) if depthwise else (out_ch, kernel, kernel, in_ch))
        bias = draw(3, out_ch)
        results = [
            call_convolution(function, x, weights, bias, (axis, axis), (1, 8), profile=profile, square=square)
            for profile in ("dsp", "scalar")
        ]
        assert results[0].tolist() == results[1].tolist()
        last = x[(out - 1) * stride :][:kernel, (out - 1) * stride :][:, :kernel]
        one = weights[..., 0] if depthwise else weights[0]
        operand = last[..., 0] if depthwise else last
        total = int((operand.astype(int) * one).sum())
        assert results[0][-1, -1, 0] == arm.requantize(int(bias[0]), total, 1, 8, 8)


class TestShiftCounts:
    """Counts of 32 and more take the low byte of the register, as on the core."""

    COUNTS = (0, 1, 31, 32, 33, 255, 256, 257, 300, 65535)

    @pytest.mark.parametrize("out_shift", COUNTS)
    @pytest.mark.parametrize("bias_shift", COUNTS)
    @pytest.mark.parametrize(
        "function", ["arm_convolve_HWC_q7_basic", "arm_depthwise_separable_conv_HWC_q7", "arm_fully_connected_q7_opt"]
    )
    def test_weights(self, function, bias_shift, out_shift):
        x, weights, bias = np.int8([90, -70]), np.int8([100, 0, 0, 100]), np.int8([-3, 5])
        out = np.full(2, 77, np.int8)
        expected = [arm.requantize(b, p, bias_shift, out_shift, 8) for b, p in ((-3, 9000), (5, -7000))]
        if "fully" in function:
            getattr(cmsis, function)(x, weights, 2, 2, bias_shift, out_shift, bias, out, None)
        else:
            taps = weights[[0, 3]] if "depthwise" in function else weights
            getattr(cmsis, function)(x, 1, 2, taps, 2, 1, 0, 1, bias, bias_shift, out_shift, out, 1, None, None)
        assert out.tolist() == expected

    @pytest.mark.parametrize("out_shift", COUNTS)
    @pytest.mark.parametrize("bits", [8, 16])
    def test_multiply(self, bits, out_shift):
        dtype, low = (np.int8, -128) if bits == 8 else (np.int16, -32768)
        a, b = np.array([low, low, -1, 3, 0], dtype), np.array([low, -low - 1, 1, 5, 9], dtype)
        out = np.full(5, 77, dtype)
        getattr(cmsis, f"arm_nn_mult_q{bits - 1}")(a, b, out, out_shift, 5)
        products = (int(p) * int(q) for p, q in zip(a, b, strict=True))
        assert out.tolist() == [arm.requantize(0, product, 0, out_shift, bits) for product in products]


def table(function: int, bits: int) -> list[int]:
    """Arm's 256 entries, from their formula."""
    f = math.tanh if function else lambda v: 1 / (1 + math.exp(-v))
    one = 1 << (bits - 1)
    return [min(math.floor(f((t if t < 128 else t - 256) / 16) * one + 0.5), one - 1) for t in range(256)]


class TestActivations:
    @pytest.mark.parametrize("type_", [0, 1, 2, -1])
    @pytest.mark.parametrize("int_width", [0, 1, 2, 3, 4, 200, 259])
    def test_q7(self, int_width, type_):
        data = np.arange(-128, 128, dtype=np.int8)
        cmsis.arm_nn_activations_direct_q7(data, 256, int_width, type_)
        entries = table(0 if type_ == 0 else 1, 8)
        assert data.tolist() == [entries[arm.asr(x, 3 - int_width) % 256] for x in range(-128, 128)]

    @pytest.mark.parametrize("type_", [0, 1, 7])
    @pytest.mark.parametrize("int_width", [0, 1, 2, 3, 6, 11, 12, 300])
    def test_q15_clamps_the_entry(self, int_width, type_):
        inputs = sorted({*range(-32768, 32768, 97), *range(-3, 4), *range(127 * 256 - 2, 32768), -32768})
        data = np.array([*inputs, 55], np.int16)
        cmsis.arm_nn_activations_direct_q15(data, len(inputs), int_width, type_)
        entries, shift = table(0 if type_ == 0 else 1, 16), 11 - int_width
        mask = arm.asr(0x7FF, int_width)
        expected = []
        for x in inputs:
            i, f = arm.asr(x, shift), x & mask
            low, high = (entries[max(0, min(255, j))] for j in (i, i + 1))
            expected.append(arm.wrap(arm.asr((mask + 1 - f) * low + f * high, shift), 16))
        assert data.tolist() == [*expected, 55]

    def test_q15_defects_by_hand(self):
        data = np.array([-1, -32768, 32767, 32767], np.int16)
        cmsis.arm_nn_activations_direct_q15(data[:3], 3, 3, cmsis.ARM_SIGMOID)
        cmsis.arm_nn_activations_direct_q15(data[3:], 1, 3, cmsis.ARM_TANH)
        assert data.tolist() == [16384, 16384, 138, -32513]

    @given(
        hnp.arrays(np.int16, st.integers(0, 40), elements=st.integers(-12, 12)), st.sampled_from([np.int8, np.int16])
    )
    def test_softmax(self, near, dtype):
        x = near.astype(dtype)
        bits, window, numerator, scale = (8, 8, 20, 13) if dtype == np.int8 else (16, 16, 32, 17)
        out = np.full(x.size + 1, 77, dtype)
        getattr(cmsis, f"arm_softmax_q{bits - 1}")(x, x.size, out)
        values = x.tolist()
        base = max(values, default=0) - window
        total = sum(2 ** (v - base) for v in values if v > base)
        expected = [clamped(2**numerator // total >> (scale - (v - base)), bits) if v > base else 0 for v in values]
        assert out.tolist() == [*expected, 77]

    @pytest.mark.parametrize("name", ["arm_softmax_q7", "arm_softmax_q15"])
    def test_softmax_longest(self, name):
        dtype = np.int8 if name.endswith("q7") else np.int16
        x, out = np.zeros(32767, dtype), np.full(32767, 77, dtype)
        getattr(cmsis, name)(x, 32767, out)
        one = 2**20 // (32767 * 2**8) >> 5 if dtype == np.int8 else 2**32 // (32767 * 2**16) >> 1
        assert np.unique(out).tolist() == [one]


def clamped(value: int, bits: int) -> int:
    return min(value, 2 ** (bits - 1) - 1)


class TestMatrixKernels:
    @given(st.integers(0, 7), st.integers(0, 13), st.integers(0, 31), st.integers(0, 31), SEED)
    def test_plain(self, rows, depth, bias_shift, out_shift, seed):
        self.check("arm_nn_mat_mult_kernel_q7_q15", rows, depth, bias_shift, out_shift, seed)

    @given(st.integers(0, 3), st.integers(0, 13), st.integers(0, 31), st.integers(0, 31), SEED)
    def test_reordered(self, pairs, depth, bias_shift, out_shift, seed):
        self.check("arm_nn_mat_mult_kernel_q7_q15_reordered", 2 * pairs, depth, bias_shift, out_shift, seed)

    @staticmethod
    def check(name, rows, depth, bias_shift, out_shift, seed):
        weights, bias = draw(seed, (rows, depth)), draw(seed + 1, rows)
        columns = draw(seed + 2, (2, depth), np.int16)
        stored = columns.copy()
        if name.endswith("reordered"):
            for start in range(0, depth - 3, 4):
                stored[:, start : start + 4] = columns[:, [start, start + 2, start + 1, start + 3]]
        out = np.full(2 * rows + 4, 77, np.int8)
        rest = getattr(cmsis, name)(weights.ravel(), stored.ravel(), rows, depth, bias_shift, out_shift, bias, out)
        expected = [
            arm.requantize(
                int(bias[r]),
                int(columns[k].astype(object) @ weights[r].astype(object)) if depth else 0,
                bias_shift,
                out_shift,
                8,
            )
            for k in range(2)
            for r in range(rows)
        ]
        assert out.tolist() == [*expected, 77, 77, 77, 77]
        rest[0] = 11
        assert out[2 * rows] == 11
        assert rest.size == 4

    @pytest.mark.parametrize("name", ["arm_nn_mat_mult_kernel_q7_q15", "arm_nn_mat_mult_kernel_q7_q15_reordered"])
    def test_scalar_does_nothing(self, name):
        out = np.full(6, 77, np.int8)
        arguments = np.ones(6, np.int8), np.ones(4, np.int16), 3, 2, 0, 0, np.ones(3, np.int8), out
        assert getattr(cmsis, name)(*arguments, profile="scalar") is None
        assert out.tolist() == [77] * 6

    def test_reordered_takes_what_the_widening_function_makes(self):
        pixels, weights, bias = draw(1, 2 * 12), draw(2, 4 * 12), draw(3, 4)
        results = []
        for suffix in ("", "_reordered"):
            columns, out = np.empty(24, np.int16), np.full(8, 77, np.int8)
            getattr(cmsis, f"arm_q7_to_q15{suffix}_no_shift")(pixels, columns, 24)
            getattr(cmsis, f"arm_nn_mat_mult_kernel_q7_q15{suffix}")(weights, columns, 4, 12, 3, 9, bias, out)
            results.append(out.tolist())
        assert results[0] == results[1]


@given(hnp.arrays(np.int8, st.integers(0, 23)))
def test_widening(x):
    plain, reordered = np.full(x.size + 1, 77, np.int16), np.full(x.size + 1, 77, np.int16)
    cmsis.arm_q7_to_q15_no_shift(x, plain, x.size)
    cmsis.arm_q7_to_q15_reordered_no_shift(x, reordered, x.size)
    values = x.tolist()
    order = [i if i >= x.size // 4 * 4 else i // 4 * 4 + (0, 2, 1, 3)[i % 4] for i in range(x.size)]
    assert plain.tolist() == [*values, 77]
    assert reordered.tolist() == [*(values[i] for i in order), 77]


@pytest.mark.parametrize("profile", ["dsp", "scalar"])
def test_relu_leaves_what_lies_behind(profile):
    for name, dtype in (("arm_relu_q7", np.int8), ("arm_relu_q15", np.int16)):
        data = np.array([-1, np.iinfo(dtype).min, 0, 5, -7], dtype)
        assert getattr(cmsis, name)(data, 4, profile=profile) is None
        assert data.tolist() == [0, 0, 0, 5, -7]
