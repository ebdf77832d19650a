# SPDX-License-Identifier: Apache-2.0
"""Convolutions in vectors: windows of every number of them, written out and in loops, blocks of channels whole and
not, one row of pixels and two, every scheme; over their input, on bands of rows.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from cmsisnn_x import Variant
from cmsisnn_x.layers import Layer
from cmsisnn_x.op import device_variant_problem
from cmsisnn_x.packing_lanes import lane_order, pack_lanes
from cmsisnn_x.steps import place_inside
from helpers.affine_layers import KINDS, pooling, weighted
from helpers.bands import BandCase, assert_bands, counts_of
from helpers.cores import FEATURES, helium_variants
from helpers.device import INCLUDE, Build, Case, assert_kernel, c_source, sample
from helpers.layers import make_layer
from tuning.emulate import ToolchainError, find_toolchain

OFFSETS = (None, 1, 2, 3)
SHAPES = (
    ((5, 6, 3), 8, 3, {"padding": 1}),
    ((4, 6, 16), 16, 3, {"padding": 1}),
    ((7, 5, 4), 12, 3, {"stride": 2, "padding": 1}),
    ((6, 5, 64), 8, 1, {}),
    ((4, 3, 16), 24, 1, {}),
    ((5, 4, 32), 8, 1, {"stride": 2}),
    ((13, 10, 1), 16, (10, 4), {"stride": 2, "padding": (4, 1)}),
    ((4, 4, 32), 9, 3, {"padding": 1}),
    ((3, 5, 9), 11, 1, {}),
    ((1, 1, 40), 8, 1, {}),
    ((6, 9, 2), 3, 7, {"padding": 3}),
    ((5, 17, 12), 8, (1, 3), {"padding": (0, 1)}),
    ((6, 8, 4), 13, 3, {"stride": 2, "output_size": (3, 4)}),
    ((5, 5, 17), 10, (2, 3), {"stride": (2, 3)}),
    ((2, 3, 128), 130, 1, {}),
    ((3, 3, 20), 6, 3, {"padding": 2}),
    ((10, 6, 4), 1, (5, 3), {"stride": (2, 1), "padding": (4, 1)}),
    ((3, 4, 160), 8, 3, {"padding": 1}),
    ((2, 7, 100), 4, 1, {}),
    ((4, 3, 48), 40, (1, 2), {}),
    ((9, 31, 1), 8, 9, {"padding": 4}),
)
WIDE = ("int16 common", "int16 left16", "int16 weak", "int16 clamped")
SCHEMES = ("q7", "q7 relu", "q15", "q15 relu", *KINDS, *WIDE)


def layer_of(at: int, scheme: str) -> Layer:
    shape, out_channels, kernel, options = SHAPES[at]
    options = {"out_channels": out_channels, "kernel": kernel, **options}
    if scheme in KINDS:
        return weighted("conv2d", shape, kind=scheme, **options)
    if scheme in WIDE:
        return weighted("conv2d", shape, kind=scheme.split()[1], wide=True, **options)
    dtype, relu = scheme.split()[0], "relu" if scheme.endswith("relu") else None
    shifts = {"out_shift": (0, 5, 9, 12, 16, 20, 31)[(at + len(scheme)) % 7], "bias_shift": (0, 6, 31)[at % 3]}
    return make_layer("conv2d", shape, dtype=dtype, activation=relu, **shifts, **options)


def cases() -> list[Case]:
    """Every shape in every scheme that it meets by turns, in every kernel that can run it."""
    found: list[Case] = []
    for turn, (at, scheme) in enumerate(product(range(len(SHAPES)), SCHEMES)):
        layer = layer_of(at, scheme)
        for variant in helium_variants("convolve", layer.type.twin):
            if device_variant_problem(layer, variant, FEATURES) is None:
                offsets = {"input_offset": OFFSETS[turn % 4], "output_offset": OFFSETS[turn // 4 % 4]}
                found.append(Case(layer, variant, **offsets))
    return found


@pytest.mark.emulated
def test_vectors_equal_the_definition(helium_build: Build, full: bool) -> None:
    """The product takes every case in every third build."""
    found = cases()
    assert_kernel(helium_build, found[helium_build.index % 3 :: 3] if full else sample(found, helium_build, full, 10))


def alone(dtype: str) -> list[Variant]:
    """The kernels without a pooling."""
    return [variant for variant in helium_variants("convolve", dtype) if not variant.fused_pool]


def fused() -> list[Case]:
    """Every shape with poolings behind it by turns: clipped windows, windows that overlap or leave gaps, one of all."""
    found: list[Case] = []
    for turn, (at, scheme) in enumerate(product(range(len(SHAPES)), ("q7", "q15 relu", *KINDS))):
        layer = layer_of(at, scheme)
        (height, width, _), op = layer.output_image, ("max_pool2d", "avg_pool2d")[turn % 2]
        windows = ((2, 2, 0), (3, 2, 1), (3, 1, 0), ((height, width), 1, 0), ((1, 2), (2, 3), 0))[turn % 5]
        options = dict(zip(("kernel", "stride", "padding"), windows, strict=True), ceil_mode=turn % 3 == 1)
        if min(height, width) < 3 and turn % 5 != 3:
            continue
        if scheme in KINDS:
            behind = pooling(op, layer.output_shape, limits=(None, (-50, 100))[turn // 2 % 2], **options)
        else:
            behind = make_layer(op, layer.output_shape, dtype=layer.dtype, **options)
        for variant in helium_variants("convolve", layer.type.twin):
            if variant.fused_pool and device_variant_problem(layer, variant, FEATURES, behind) is None:
                offsets = {"input_offset": OFFSETS[turn % 4], "output_offset": OFFSETS[turn // 4 % 4]}
                found.append(Case(layer, variant, behind=behind, **offsets))
    return found


@pytest.mark.emulated
def test_pooling_behind_it_is_taken_in(helium_build: Build, full: bool) -> None:
    assert_kernel(helium_build, sample(fused(), helium_build, full, 5))


def test_wide_accumulators_take_no_pooling_in() -> None:
    layer = layer_of(1, "int16 common")
    behind = make_layer("max_pool2d", layer.output_shape, dtype="int16", kernel=2, stride=2)
    for variant in helium_variants("convolve", "q15"):
        if variant.fused_pool:
            assert "without fused_pool" in (device_variant_problem(layer, variant, FEATURES, behind) or "")


def ends() -> list[Case]:
    """Of 8 bits products of -128 and -128; of 16 sums that wrap."""
    found = []
    for dtype, least in (("q7", -128), ("q15", -32768)):
        for out_shift, bias_shift in ((0, 0), (14, 31), (31, 5)):
            shifts = {"out_shift": out_shift, "bias_shift": bias_shift, "extreme": True}
            layer = make_layer("conv2d", (3, 4, 16), dtype=dtype, out_channels=9, kernel=3, padding=1, **shifts)
            assert layer.weights is not None
            layer.weights[:2] = least
            x = np.full((3, 4, 16), least)
            found += [Case(layer, v, input=x) for v in alone(dtype) if v.lowering != "direct"]
    return found


@pytest.mark.emulated
def test_sums_at_the_ends_of_their_range(helium_build: Build, full: bool) -> None:
    found = ends()
    assert_kernel(helium_build, found if full else found[helium_build.index % 2 :: 2])


def in_place() -> list[Case]:
    """Products of one pixel in every kernel that writes over its input; none other does."""
    found = []
    for scheme, (h, w, c) in product(("q7", "q15", "relu", "left"), ((5, 4, 8), (4, 5, 24), (3, 1, 13))):
        options = {"out_channels": c, "kernel": 1}
        layer = (
            weighted("conv2d", (h, w, c), kind=scheme, **options)
            if scheme in KINDS
            else make_layer("conv2d", (h, w, c), dtype=scheme, out_shift=7, **options)
        )
        for variant in alone(layer.type.twin):
            if variant.lowering == "line_buffer":
                assert place_inside(layer, variant, 0) == 0
                found.append(Case(layer, variant, in_place=True))
            else:
                assert device_variant_problem(layer, variant, FEATURES) or place_inside(layer, variant, 0) is None
    return found


@pytest.mark.emulated
def test_what_is_overwritten_was_read_before(helium_build: Build, full: bool) -> None:
    wider = make_layer("conv2d", (4, 4, 8), out_channels=8, kernel=3, padding=1, out_shift=7)
    assert not any(wider.row.overwrites(wider, variant) for variant in helium_variants("convolve", "q7"))
    assert_kernel(helium_build, sample(in_place(), helium_build, full, most=4))


def bands() -> list[BandCase]:
    """Bands of any rows."""
    found = []
    for turn, (at, scheme) in enumerate(product(range(len(SHAPES)), ("q7", "q15", "relu", "left"))):
        layer, rng = layer_of(at, scheme), np.random.default_rng(turn)
        height = layer.output_image[0]
        for variant in helium_variants("convolve", layer.type.twin):
            if height > 1 and device_variant_problem(layer, variant, FEATURES) is None:
                band = int(rng.integers(1, min(height, 5)))
                counts = counts_of(height, 1, band, rng)
                offsets = {"input_offset": OFFSETS[turn % 4], "output_offset": OFFSETS[turn // 4 % 4]}
                found.append(BandCase(layer, variant, band=band, counts=counts, **offsets))
    return found


@pytest.mark.emulated
def test_bands_equal_the_rows_of_the_whole(helium_build: Build, full: bool) -> None:
    chosen = sample(bands(), helium_build, full, most=5)
    for first in range(0, len(chosen), 12):
        assert_bands(helium_build, chosen[first : first + 12])


@pytest.mark.parametrize(
    ("macro", "value", "message"),
    [
        ("LOWERING", 1, "LOWERING: CXN_LOWERING_LINE_BUFFER and _DIRECT are in vectors"),
        ("LOWERING", 3, "LOWERING: CXN_LOWERING_DIRECT needs KERNEL_H 1"),
        ("BLOCK_COLS", 1, "INNER: CXN_INNER_HELIUM needs CXN_WEIGHT_LAYOUT_LANES, 2x2 blocks"),
        ("COLUMN_LAYOUT", 3, "INNER: CXN_INNER_HELIUM needs CXN_WEIGHT_LAYOUT_LANES, 2x2 blocks"),
        ("WEIGHT_BITS", 16, "WEIGHT_BITS: legal value with CXN_INNER_HELIUM is IN_BITS"),
        ("SCRATCH_BYTES", 1, "helium_scratch"),
    ],
)
def test_what_vectors_cannot_do_does_not_compile(tmp_path: Path, macro: str, value: int, message: str) -> None:
    layer, variant = layer_of(0, "q7"), helium_variants("convolve", "q7")[0]
    source = tmp_path / "case.c"
    source.write_text(c_source([Case(layer, variant, macros={macro: value})]))
    with pytest.raises(ToolchainError, match=message):
        find_toolchain("clang").compile(source, tmp_path / "case.o", "cortex-m55", cflags=["-O1"], include=[INCLUDE])


def test_channels_go_in_blocks_and_windows_by_columns() -> None:
    """Ten channels: a block of eight, two in a block of four; a window of 18 is two vectors."""
    weights = np.arange(10 * 18, dtype=np.int16).reshape(10, 3, 2, 3)
    packed = pack_lanes(weights.astype(np.int8), 8).reshape(12, 2, 16)
    assert packed.size == 12 * 32
    rows = weights.transpose(0, 2, 1, 3).reshape(10, 18)
    columns = np.pad(rows, ((0, 2), (0, 14))).astype(np.int8).reshape(12, 2, 16)
    pairs = packed.reshape(6, 2, 2, 16)  # pair, vector, channel
    for pair, (first, second) in enumerate(((0, 4), (2, 6), (1, 5), (3, 7), (8, 10), (9, 11))):
        assert np.array_equal(pairs[pair, :, 0], columns[first])
        assert np.array_equal(pairs[pair, :, 1], columns[second])
    wide = pack_lanes(np.ones((8, 3, 3, 64), np.int8), 16)  # 72 vectors of 8 products in two parts
    assert wide.shape == (8 * 576,)
    assert lane_order(10) == [0, 2, 4, 6, 1, 3, 5, 7, 8, 9, 10, 11]
    assert lane_order(5) == [0, 2, 4, 6, 1, 3, 5, 7]


def test_direct_needs_whole_vectors_and_no_padding() -> None:
    (direct,) = {v.lowering: v for v in alone("q7") if v.lowering == "direct"}.values()
    fits = make_layer("conv2d", (4, 4, 16), out_channels=8, kernel=1, out_shift=7)
    assert device_variant_problem(fits, direct, FEATURES) is None
    for layer in (
        make_layer("conv2d", (4, 4, 8), out_channels=8, kernel=1, out_shift=7),
        make_layer("conv2d", (4, 4, 16), out_channels=8, kernel=(2, 1), out_shift=7),
        make_layer("conv2d", (4, 4, 16), out_channels=8, kernel=1, padding=1, out_shift=7),
        replace(fits, dilation=(2, 2)),
    ):
        assert device_variant_problem(layer, direct, FEATURES) is not None
