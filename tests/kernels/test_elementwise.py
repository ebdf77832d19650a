# SPDX-License-Identifier: Apache-2.0
"""relu, sigmoid, tanh, softmax, multiply and q7_to_q15 against the oracle; exhaustive where that is cheap."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cmsisnn_x
from cmsisnn_x._tables import activation_table
from cmsisnn_x.errors import ShapeError
from cmsisnn_x.op import OPS
from helpers import reference, strategies
from helpers.arrays import assert_bit_exact, random_array

TABLED = [name for name, row in OPS.items() if row.has_table]
EVERY = {dtype: np.arange(np.iinfo(t).min, np.iinfo(t).max + 1).astype(t) for dtype, t in strategies.DTYPES.items()}


@pytest.mark.parametrize("dtype", ["q7", "q15"])
def test_relu_of_every_value(dtype):
    assert_bit_exact(cmsisnn_x.relu(EVERY[dtype]), reference.relu(EVERY[dtype]))


@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (5,), (2, 3), (2, 3, 4), (1, 2, 3, 4, 5)])
def test_relu_takes_any_shape_and_works_in_place(shape):
    x = random_array(np.random.default_rng(1), shape, np.int8)
    x = np.asarray(x, np.int8)
    expected = reference.relu(x)
    assert cmsisnn_x.relu(x, out=x) is x
    assert_bit_exact(x, expected)


@pytest.mark.parametrize("int_bits", [0, 1, 2, 3])
@pytest.mark.parametrize("function", TABLED)
def test_every_q7_activation(function, int_bits):
    x = EVERY["q7"]
    assert_bit_exact(getattr(cmsisnn_x, function)(x, int_bits), reference.activation(x, function, int_bits))


@pytest.mark.parametrize("int_bits", [0, 1, 2, 3])
@pytest.mark.parametrize("function", TABLED)
def test_q15_activations_with_both_ends_and_every_segment(function, int_bits, full):
    step = 1 << (11 - int_bits)
    x = EVERY["q15"]
    if not full:
        edges = x[(x % step <= 1) | (x % step == step - 1)]
        x = np.concatenate([edges, x[::37], x[-400:], x[:400], x[32768 - 200 : 32768 + 200]])
    assert_bit_exact(getattr(cmsisnn_x, function)(x, int_bits), reference.activation(x, function, int_bits))


def test_q15_activations_follow_the_curve_at_both_ends():
    # Where release 5.4.0 gives 0.5 for every negative argument, and falls to 0 beyond 7.9.
    assert cmsisnn_x.sigmoid(np.int16([-32768, -4096, 0, 32767]), 3).tolist() == [11, 8813, 16384, 32756]
    assert cmsisnn_x.tanh(np.int16([-32768, 0, 32767]), 3).tolist() == [-32768, 0, 32767]


def test_tables_hold_the_entries_that_arm_publishes():
    # The first and last of each half of sigmoidTable_q7 and tanhTable_q7.
    assert activation_table("sigmoid", "q7")[[0, 1, 2, 127, 128, 255]].tolist() == [64, 66, 68, 127, 0, 62]
    assert activation_table("tanh", "q7")[[0, 1, 2, 127, 128, 255]].tolist() == [0, 8, 16, 127, -128, -8]


@settings(max_examples=300)
@given(data=st.data())
def test_softmax_equals_exact_integers(data):
    element = strategies.DTYPES[data.draw(strategies.dtypes)]
    shape = data.draw(st.sampled_from(((1,), (10,), (300,), (2, 3, 4))))
    x = data.draw(strategies.tensors(shape, element))
    assert_bit_exact(cmsisnn_x.softmax(x), reference.softmax(x))


@pytest.mark.parametrize("dtype", ["q7", "q15"])
@pytest.mark.parametrize("shape", [(3, 10), (3, 2, 2, 5), (0, 4)])
def test_softmax_of_a_batch_works_sample_by_sample(dtype, shape):
    x = np.random.default_rng(4).integers(-9, 9, shape).astype(strategies.DTYPES[dtype])
    expected = np.array([reference.softmax(sample) for sample in x], x.dtype).reshape(shape)
    assert_bit_exact(cmsisnn_x.softmax(x), expected)


@pytest.mark.parametrize("dtype", ["q7", "q15"])
def test_softmax_up_to_the_longest_sample(dtype):
    x = np.full(32767, np.iinfo(strategies.DTYPES[dtype]).max, strategies.DTYPES[dtype])
    assert_bit_exact(cmsisnn_x.softmax(x), reference.softmax(x))
    with pytest.raises(ShapeError, match="32767"):
        cmsisnn_x.softmax(np.zeros(32768, np.int8))


@settings(max_examples=200)
@given(data=st.data())
def test_multiply_equals_the_oracle(data):
    element = strategies.DTYPES[data.draw(strategies.dtypes)]
    a, b = (data.draw(strategies.tensors((3, 17), element)) for _ in "ab")
    shift = data.draw(strategies.shifts)
    assert_bit_exact(cmsisnn_x.multiply(a, b, out_shift=shift), reference.multiply(a, b, shift))


def test_multiply_wraps_only_where_the_sum_leaves_32_bits():
    lowest = np.int16([-32768])
    assert cmsisnn_x.multiply(lowest, lowest, out_shift=31).tolist() == [-1]
    assert cmsisnn_x.multiply(lowest, lowest, out_shift=0).tolist() == [32767]


def test_q7_to_q15_widens_without_scaling():
    assert_bit_exact(cmsisnn_x.q7_to_q15(EVERY["q7"]), EVERY["q7"].astype(np.int16))


@pytest.mark.parametrize("count", [0, 1, 3, 4, 7, 8, 11])
def test_q7_to_q15_reorders_full_groups_of_four(count):
    x = np.arange(count, dtype=np.int8)
    expected = [i // 4 * 4 + (0, 2, 1, 3)[i % 4] if i < count // 4 * 4 else i for i in range(count)]
    assert cmsisnn_x.q7_to_q15(x, reorder=True).tolist() == expected
