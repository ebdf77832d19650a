# SPDX-License-Identifier: Apache-2.0
"""convolve and depthwise_convolve against the oracle, in every registered variant."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cmsisnn_x
from cmsisnn_x import variants
from helpers import reference, strategies
from helpers.arrays import assert_bit_exact, assert_untouched, guarded, random_array

OPS = ("convolve", "depthwise_convolve")
DTYPES = ("q7", "q15")


def run(op, case, **more):
    return getattr(cmsisnn_x, op)(case.x, case.weights, case.bias, **case.arguments, **more)


@pytest.mark.parametrize("op", OPS)
@settings(max_examples=200)
@given(data=st.data())
def test_any_geometry_and_any_variant_equals_the_oracle(op, data):
    case = data.draw(strategies.convolutions(op))
    out, memory = guarded(case.expected.shape, case.expected.dtype)
    variant = data.draw(strategies.variant_of(op, case.dtype))
    assert run(op, case, variant=variant, out=out) is out
    assert_bit_exact(out, case.expected, str(variant))
    assert_untouched(memory)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", OPS)
@settings(max_examples=5)
@given(data=st.data())
def test_every_registered_variant_gives_the_same_bits(op, dtype, data):
    case = data.draw(strategies.convolutions(op, dtype))
    for variant in (None, *variants(op, dtype)):
        assert_bit_exact(run(op, case, variant=variant), case.expected, str(variant))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", OPS)
def test_every_variant_meets_its_left_over_channels_pixels_columns_and_taps(op, dtype):
    # 7 channels, 15 pixels and 3 * 3 taps (times 5 channels) divide by none of the knobs above 1, 3 and 5.
    rng = np.random.default_rng(7)
    channels = 7 if op == "depthwise_convolve" else 5
    x = random_array(rng, (5, 3, channels), strategies.DTYPES[dtype])
    weights = random_array(rng, (3, 3, 7) if op == "depthwise_convolve" else (7, 3, 3, 5), x.dtype)
    bias = random_array(rng, (7,), x.dtype)
    shift = 9 if dtype == "q7" else 18
    expected = getattr(reference, op)(
        x, weights, bias, stride=(1, 1), first=(1, 1), size=(5, 3), bias_shift=4, out_shift=shift
    )
    assert len(np.unique(expected)) > 20
    for variant in (None, *variants(op, dtype)):
        result = getattr(cmsisnn_x, op)(x, weights, bias, padding=1, bias_shift=4, out_shift=shift, variant=variant)
        assert_bit_exact(result, expected, str(variant))


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_accumulator_wraps_modulo_2_to_the_32(op, dtype):
    # 127 << 31 and -1 << 31 leave the 32 bits from the bias alone; lowest * lowest adds up beyond them for q15.
    lowest = np.iinfo(strategies.DTYPES[dtype]).min
    x = np.full((3, 3, 2), lowest, strategies.DTYPES[dtype])
    weights = np.full((3, 3, 2) if op == "depthwise_convolve" else (2, 3, 3, 2), lowest, x.dtype)
    bias = np.array([127, -1], x.dtype)
    for bias_shift, out_shift in ((31, 31), (31, 30), (30, 0), (24, 31), (0, 31)):
        expected = getattr(reference, op)(
            x, weights, bias, stride=(1, 1), first=(1, 1), size=(3, 3), bias_shift=bias_shift, out_shift=out_shift
        )
        for variant in (None, *variants(op, dtype)[::7]):
            result = getattr(cmsisnn_x, op)(
                x, weights, bias, padding=1, bias_shift=bias_shift, out_shift=out_shift, variant=variant
            )
            assert_bit_exact(result, expected, f"{variant} shifts {bias_shift} {out_shift}")


@pytest.mark.parametrize("in_ch", [1, 3, 5, 127])
@pytest.mark.parametrize("kernel", [(1, 1), (1, 3), (5, 5)])
def test_awkward_channel_counts(in_ch, kernel):
    rng = np.random.default_rng(in_ch)
    x = random_array(rng, (6, 5, in_ch), np.int8)
    weights = random_array(rng, (127 if in_ch == 5 else 3, *kernel, in_ch), np.int8)
    expected = reference.convolve(x, weights, None, stride=(2, 1), first=(0, 1), size=(2, 4), bias_shift=0, out_shift=8)
    for variant in (None, *variants("convolve", "q7")[::11]):
        result = cmsisnn_x.convolve(
            x, weights, stride=(2, 1), padding=(0, 1), output_size=(2, 4), out_shift=8, variant=variant
        )
        assert_bit_exact(result, expected, str(variant))


def test_out_shift_zero_does_not_round():
    one = np.ones((1, 1, 1), np.int8)
    assert cmsisnn_x.convolve(one, one[np.newaxis], out_shift=0).item() == 1


def test_rounding_is_half_up_and_the_shift_floors():
    x = np.int8([[[-5]], [[5]], [[-6]], [[6]]])
    result = cmsisnn_x.convolve(x, np.ones((1, 1, 1, 1), np.int8), out_shift=1)
    assert result.reshape(-1).tolist() == [-2, 3, -3, 3]


@pytest.mark.parametrize("op", OPS)
def test_a_batch_is_its_samples_one_by_one(op):
    rng = np.random.default_rng(3)
    x = random_array(rng, (4, 6, 7, 3), np.int8)
    weights = random_array(rng, (3, 3, 3) if op == "depthwise_convolve" else (4, 3, 3, 3), np.int8)
    function = getattr(cmsisnn_x, op)
    for variant in (None, *variants(op, "q7")[::13]):
        batch = function(x, weights, padding="same", stride=2, out_shift=7, variant=variant)
        single = [function(image, weights, padding="same", stride=2, out_shift=7, variant=variant) for image in x]
        assert_bit_exact(batch, np.stack(single), str(variant))


def test_same_padding_puts_the_smaller_half_at_the_top_and_left():
    # 4 pixels, kernel 3, stride 2: one row of zeros in total, at the bottom.
    x = np.arange(1, 17, dtype=np.int8).reshape(4, 4, 1)
    weights = np.zeros((1, 3, 3, 1), np.int8)
    weights[0, 0, 0, 0] = 1
    result = cmsisnn_x.convolve(x, weights, padding="same", stride=2, out_shift=0)
    assert result[:, :, 0].tolist() == [[1, 3], [9, 11]]


def test_device_only_knobs_do_not_change_the_result():
    rng = np.random.default_rng(5)
    x, weights = random_array(rng, (5, 5, 3), np.int8), random_array(rng, (2, 3, 3, 3), np.int8)
    plain = cmsisnn_x.convolve(x, weights, out_shift=7)
    device = cmsisnn_x.Variant(
        lowering="line_buffer", weight_layout="widened", column_layout="interleaved", inner="asm"
    )
    assert_bit_exact(cmsisnn_x.convolve(x, weights, out_shift=7, variant=device), plain)
