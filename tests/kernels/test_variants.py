# SPDX-License-Identifier: Apache-2.0
"""The registry of host variants and the scratch memory that each needs."""

from itertools import product

import numpy as np
import pytest

import cmsisnn_x
from cmsisnn_x import BASELINE, Variant, scratch_bytes, variants
from cmsisnn_x.buffers import layer_scratch_bytes
from cmsisnn_x.layers import Layer
from cmsisnn_x.op import OPS as REGISTERED
from cmsisnn_x.scheme import Pow2
from cmsisnn_x.study import _convolution

OPS = ("convolve", "depthwise_convolve", "fully_connected")
BLOCKS = {(1, 1), (1, 2), (2, 1), (2, 2), (2, 4), (4, 2)}


@pytest.mark.parametrize("dtype", ["q7", "q15"])
@pytest.mark.parametrize("op", OPS)
def test_every_legal_value_is_registered_once(op, dtype):
    registered = variants(op, dtype)
    expected = {
        Variant(unroll, rows, cols, im2col_cols)
        for unroll, (rows, cols), im2col_cols in product((1, 2, 4, 8), BLOCKS, range(1, 17))
        if im2col_cols % cols == 0
    }
    assert len(registered) == len(expected)
    assert set(registered) == expected
    assert BASELINE in registered


@pytest.mark.parametrize("op", [row.name for row in REGISTERED.values() if row.is_pow2 and not row.has_knobs])
def test_operations_without_knobs_have_no_variants_and_no_scratch(op):
    assert variants(op, "q7") == ()
    assert scratch_bytes(op, "q7", input_shape=(8, 8, 4), kernel=2, stride=2) == 0


@pytest.mark.parametrize(
    ("op", "dtype", "arguments", "expected"),
    [
        ("convolve", "q7", {"input_shape": (32, 32, 3), "kernel": 5, "padding": 2}, 2 * 76 * 2),
        ("convolve", "q15", {"input_shape": (32, 32, 3), "kernel": 5, "padding": "same"}, 2 * 76 * 2),
        ("convolve", "q7", {"input_shape": (4, 9, 9, 4), "kernel": (1, 3), "variant": Variant(1, 2, 4, 8)}, 8 * 12 * 2),
        ("depthwise_convolve", "q7", {"input_shape": (9, 9, 5), "kernel": 3, "variant": Variant(1, 1, 1, 1)}, 46 * 2),
        ("fully_connected", "q7", {"input_shape": (1023,)}, 1024 * 2),
        ("fully_connected", "q7", {"input_shape": (3, 1023)}, 2 * 1024 * 2),
        ("fully_connected", "q7", {"input_shape": (4, 4, 64)}, 1024 * 2),
        ("fully_connected", "q15", {"input_shape": (1023,)}, 0),
    ],
)
def test_scratch_is_the_columns_that_the_variant_holds(op, dtype, arguments, expected):
    assert scratch_bytes(op, dtype, out_channels=8, **arguments) == expected


def test_a_layer_and_its_shape_give_the_same_scratch():
    layer = Layer("c", "conv2d", "q7", (9, 8, 3), (9, 8, 4), kernel=(3, 5), padding=((1, 1), (2, 2)))
    for variant in variants("convolve", "q7")[::17]:
        expected = scratch_bytes(
            "convolve", "q7", input_shape=(9, 8, 3), out_channels=4, kernel=(3, 5), padding=(1, 2), variant=variant
        )
        assert layer_scratch_bytes(layer, variant) == expected > 0


@pytest.mark.parametrize("variant", variants("convolve", "q7")[::23])
def test_a_kernel_stays_inside_its_scratch_and_uses_all_of_it(variant):
    x, weights = np.ones((1, 5, 5, 3), np.int8), np.ones((3, 3, 3, 3), np.int8)
    count = scratch_bytes("convolve", "q7", input_shape=(5, 5, 3), out_channels=3, kernel=3, variant=variant) // 2
    memory = np.full(count + 32, 0x5B5B, np.int16)
    out = np.empty((1, 5, 5, 3), np.int8)
    knobs = variant.unroll, variant.block_rows, variant.block_cols, variant.im2col_cols
    requant = Pow2.of("q7", 0, 4)
    _convolution.convolve(x, weights, np.zeros(3, np.int8), out, 1, 1, 1, 1, requant, *knobs, memory[16:-16])
    assert (memory[:16] == 0x5B5B).all()
    assert (memory[-16:] == 0x5B5B).all()
    assert (memory[16:-16] != 0x5B5B).all()


def test_str_shows_only_the_device_knobs_that_are_set():
    assert str(Variant(1, 2, 2, 4)) == "2x2 unroll 1 cols 4"
    assert str(Variant(lowering="direct", inner="asm")) == "2x2 unroll 4 cols 2 direct asm"


def test_variants_are_values():
    assert Variant() == cmsisnn_x.Variant(unroll=4)
    assert len({Variant(), Variant(4, 2, 2, 2), Variant(1)}) == 2
    assert Variant(lowering="direct").on_host() == Variant()
