# SPDX-License-Identifier: Apache-2.0
"""fully_connected against the oracle, in every registered variant, and the interleaved weight layouts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cmsisnn_x
from cmsisnn_x import pack_fully_connected, unpack_fully_connected, variants
from helpers import reference, strategies
from helpers.arrays import assert_bit_exact, assert_untouched, guarded, random_array

KINDS = [("q7", "q7"), ("q15", "q15"), ("q15", "q7")]


@settings(max_examples=200)
@given(data=st.data())
def test_any_shape_and_any_variant_equals_the_oracle(data):
    case = data.draw(strategies.fully_connecteds())
    variant = data.draw(strategies.variant_of("fully_connected", case.dtype))
    out, memory = guarded(case.expected.shape, case.expected.dtype)
    result = cmsisnn_x.fully_connected(case.x, case.weights, case.bias, **case.arguments, variant=variant, out=out)
    assert result is out
    assert_bit_exact(out, case.expected, str(variant))
    assert_untouched(memory)


@pytest.mark.parametrize("kind", KINDS)
def test_every_variant_meets_its_left_over_rows_samples_and_columns(kind):
    rng = np.random.default_rng(11)
    dtype, weights_dtype = kind
    x = random_array(rng, (7, 37), strategies.DTYPES[dtype])
    weights = random_array(rng, (5, 37), strategies.DTYPES[weights_dtype])
    bias = random_array(rng, (5,), weights.dtype)
    shift = {("q7", "q7"): 9, ("q15", "q15"): 18, ("q15", "q7"): 10}[kind]
    expected = np.stack([reference.fully_connected(row, weights, bias, bias_shift=3, out_shift=shift) for row in x])
    assert len(np.unique(expected)) > 20
    for variant in (None, *variants("fully_connected", dtype)):
        result = cmsisnn_x.fully_connected(x, weights, bias, bias_shift=3, out_shift=shift, variant=variant)
        assert_bit_exact(result, expected, str(variant))


def test_q15_sums_wrap():
    x = np.full(6, -32768, np.int16)
    weights = np.full((1, 6), -32768, np.int16)
    # 6 * 2^30 = 2^32 + 2^31, which is -2^31.
    for variant in (None, *variants("fully_connected", "q15")[::9]):
        assert cmsisnn_x.fully_connected(x, weights, out_shift=16, variant=variant).tolist() == [-32768]
        assert cmsisnn_x.fully_connected(x[:4], weights[:, :4], out_shift=16, variant=variant).tolist() == [0]


# The streams of the layouts' definition: entry "rc" is row r, column c.
STREAMS = {
    ("q7", "q7"): "00 10 02 12 20 30 22 32 01 11 03 13 21 31 23 33 04 14 24 34 40 41 42 43 44",
    ("q15", "q15"): "00 01 10 11 20 21 30 31 02 03 12 13 22 23 32 33 04 14 24 34 40 41 42 43 44",
    ("q15", "q7"): "00 10 01 11 20 30 21 31 02 12 03 13 22 32 23 33 04 14 24 34 40 41 42 43 44",
}


@pytest.mark.parametrize("kind", KINDS)
def test_layout_is_the_one_that_arm_documents(kind):
    x_dtype, weights_dtype = kind
    matrix = np.add.outer(10 * np.arange(5), np.arange(5)).astype(strategies.DTYPES[weights_dtype])
    packed = pack_fully_connected(matrix, x_dtype)
    assert packed.dtype == matrix.dtype
    assert packed.tolist() == [int(entry) for entry in STREAMS[kind].split()]


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60)
@given(rows=st.integers(1, 21), cols=st.integers(1, 40), seed=strategies.seeds)
def test_unpack_undoes_pack(kind, rows, cols, seed):
    x_dtype, weights_dtype = kind
    matrix = random_array(np.random.default_rng(seed), (rows, cols), strategies.DTYPES[weights_dtype])
    packed = pack_fully_connected(matrix, strategies.DTYPES[x_dtype])
    assert sorted(packed.tolist()) == sorted(matrix.reshape(-1).tolist())
    assert_bit_exact(unpack_fully_connected(packed, rows, cols, x_dtype), matrix)
