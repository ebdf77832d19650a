# SPDX-License-Identifier: Apache-2.0
"""Depthwise device kernels: every registered variant around every group of channels, pair of rows and border."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from cmsisnn_x.op import device_variant_problem, device_variants
from cmsisnn_x.packing import pack_device_weights
from cmsisnn_x.variant import Variant, replace
from helpers.affine_layers import weighted
from helpers.device import Build, Case, assert_kernel, check_on_host, compile_cases, compilers, host_compiler, sample
from helpers.layers import features, make_layer
from helpers.samples import one_in
from tuning.target.cores import CORES

OFFSETS = (None, 1, 2, 3)
SHAPES = (
    ((5, 6, 3), 3, {"padding": 1, "out_shift": 7}),
    ((6, 9, 4), 3, {"padding": 1, "out_shift": 6, "activation": "relu"}),
    ((7, 5, 8), 3, {"stride": 2, "padding": 1, "out_shift": 8, "bias_shift": 31}),
    ((6, 7, 2), 5, {"padding": 2, "out_shift": 0}),
    ((5, 5, 7), 1, {"out_shift": 31}),
    ((6, 6, 9), (2, 3), {"stride": (2, 3), "out_shift": 5}),
    ((1, 1, 5), 3, {"padding": 1, "out_shift": 5}),
    ((8, 4, 6), (4, 2), {"padding": (1, 0), "out_shift": 7}),
    ((6, 8, 4), 3, {"stride": 2, "output_size": (3, 4), "out_shift": 6}),
    ((9, 10, 12), (7, 3), {"padding": (3, 1), "out_shift": 8}),
)


def cases(*, dsp: bool, extreme: bool = False, first: int = 0, shapes: int = 2) -> list[Case]:
    """Every registered variant, each with the next `shapes` of those that it can run; with another `first`, others."""
    found, turn = [], first
    for dtype, shift in (("q7", 0), ("q15", 8)):
        layers = [
            make_layer(
                "depthwise_conv2d",
                shape,
                dtype=dtype,
                kernel=kernel,
                extreme=extreme,
                **(options | {"out_shift": min(options["out_shift"] + shift, 31)}),
            )
            for shape, kernel, options in SHAPES
        ]
        registered = device_variants("depthwise_convolve", dtype, features(dsp=dsp))
        for variant in sorted(registered, key=lambda v: (v.lowering, v)):
            legal = [layer for layer in layers if device_variant_problem(layer, variant, features(dsp=dsp)) is None]
            for _ in range(shapes):
                turn += 1
                layer = legal[turn % len(legal)]
                x = np.full(layer.input_shape, np.iinfo(layer.numpy_dtype).min) if extreme else None
                found.append(
                    Case(layer, variant, input=x, input_offset=OFFSETS[turn % 4], output_offset=OFFSETS[turn // 4 % 4])
                )
    return found


def some(build: Build, full: bool, *, extreme: bool = False) -> list[Case]:
    """The product takes every variant in every build, and for each build the next of the shapes."""
    turn = {"first": build.index, "shapes": 1} if full else {}
    return cases(dsp=build.dsp, extreme=extreme, **turn)


@pytest.mark.emulated
@pytest.mark.parametrize("lowering", ["im2col", "line_buffer", pytest.param("direct", marks=pytest.mark.dsp(True))])
def test_every_variant_equals_the_definition(build: Build, full: bool, lowering: str) -> None:
    chosen = [case for case in some(build, full) if case.variant.lowering == lowering]
    assert_kernel(build, sample(chosen, build, full, most=6))


@pytest.mark.dsp(True)
@pytest.mark.emulated
def test_windows_too_long_to_be_written_out(build: Build, full: bool) -> None:
    """Rows of windows whose ends some of the neighbouring outputs do not have, beside a loop over what all have."""
    found = []
    for shape, kernel, stride in (((1, 27, 4), (1, 15), 1), ((4, 40, 3), (3, 18), 1), ((5, 33, 5), (2, 14), 2)):
        layer = make_layer(
            "depthwise_conv2d", shape, kernel=kernel, stride=stride, padding=(0, 3), out_shift=9, extreme=shape[0] == 1
        )
        for unroll, cols in ((4, 1), (2, 2), (4, 2)):
            variant = Variant(unroll, 1, cols, cols, lowering="line_buffer", weight_layout="widened")
            if device_variant_problem(layer, variant, features(dsp=True)) is None:
                found.append(Case(layer, variant, input_offset=1))
    assert len(found) == 5
    assert_kernel(build, sample(found, build, full, most=3))


@pytest.mark.emulated
def test_sums_at_the_ends_of_their_range(build: Build, full: bool) -> None:
    assert_kernel(build, sample(some(build, full, extreme=True), build, full, most=6))


@pytest.mark.dsp(True)
@pytest.mark.emulated
def test_rows_of_every_width_in_assembly(build: Build, full: bool) -> None:
    """Blocks of one to four columns, at both strides, of both schemes; whole and partial groups of channels, odd and
    even heights. Not every layer with zero points has outputs that assembly makes: others run in C.
    """
    found = []
    for turn, (width, stride) in enumerate(product((*range(1, 10), 13), (1, 2))):
        inner = "asm" if turn % 2 else "asm_dual"
        variant = Variant(4, 1, 3 - stride, 3 - stride, "line_buffer", "widened", inner=inner)
        shape = (stride * (3 + turn % 2), stride * width - turn % stride, (4, 5, 11)[turn % 3])
        options = {"kernel": 3, "stride": stride, "padding": 1}
        shift, activation = (0, 7, 9)[turn % 3], (None, "relu")[turn // 3 % 2]
        kind = "common" if turn % 5 == 4 else "relu"
        pow2 = make_layer("depthwise_conv2d", shape, out_shift=shift, activation=activation, **options)
        line = weighted("depthwise_conv2d", shape, kind=kind, zero=(turn - 9, -128), **options)
        offsets = {"input_offset": OFFSETS[turn % 4], "output_offset": OFFSETS[turn // 4 % 4]}
        found += [Case(layer, variant, **offsets) for layer in (pow2, line)]
    assert_kernel(build, sample(found, build, full, most=10))


@pytest.mark.dsp(True)
@pytest.mark.emulated
def test_windows_that_are_read_from_the_input(build: Build, full: bool) -> None:
    """Every width of a row, from one that is padding on both sides to several turns of the loop; strides, padding above
    and below, on the left and on the right; pixels wider than a step of an address; factors that C makes outputs of.
    """
    found = []
    for turn, (width, stride) in enumerate(product((*range(1, 12), 14, 17), (1, 2, (1, 2), (2, 1)))):
        variant = Variant(4, 1, 1, 1, "direct", "widened", inner="asm" if turn % 2 else "asm_dual")
        padding = ((1, 1), (0, 1), (1, 0), (0, 0))[turn // 2 % 4]
        stride_y, stride_x = stride if isinstance(stride, tuple) else (stride, stride)
        over = padding[1], turn // 3 % 2
        image = (3 + turn % 4, max((width - 1) * stride_x + 3 - sum(over), 1), (1, 3, 4, 7)[turn % 4])
        if width > 14 or turn == 4:
            image = (2, image[1], 260)
        size = ((image[0] + padding[0] + (turn % 3 > 0) - 3) // stride_y + 1, width)
        options = {"kernel": 3, "stride": stride, "padding": padding, "output_size": size}
        shift, activation = (0, 7, 9)[turn % 3], (None, "relu")[turn // 3 % 2]
        pow2 = make_layer("depthwise_conv2d", image, out_shift=shift, activation=activation, **options)
        kind = ("relu", "halves", "common", "relu", "clamped")[turn % 5]
        line = weighted("depthwise_conv2d", image, kind=kind, zero=((turn - 9, 0)[turn % 7 == 3], -128), **options)
        offsets = {"input_offset": OFFSETS[turn % 4], "output_offset": OFFSETS[turn // 4 % 4]}
        found += [Case(layer, variant, **offsets) for layer in (pow2, line)]
    found = [case for case in found if device_variant_problem(case.layer, case.variant, features(dsp=True)) is None]
    assert len(found) > 80
    assert_kernel(build, sample(found, build, full, most=20))


@pytest.mark.full
def test_host_build_is_clean_under_sanitizers(full: bool) -> None:
    chosen = cases(dsp=True) + [case for case in cases(dsp=False) if case.variant.lowering == "line_buffer"]
    check_on_host(chosen if full else chosen[::17], host_compiler())


def test_two_output_rows_need_an_odd_kernel_at_stride_one() -> None:
    pair = Variant(2, 1, 2, 2, "line_buffer", "widened")
    layer = make_layer("depthwise_conv2d", (6, 6, 4), kernel=(2, 3), out_shift=5)
    assert "block_cols 2 needs" in device_variant_problem(layer, pair, features(dsp=True))
    assert device_variant_problem(layer, Variant(2, 1, 1, 1, "line_buffer", "widened"), features(dsp=True)) is None


def test_words_pair_neighbouring_rows() -> None:
    """Kernel column 0 of channel 0, three rows a b c: {a b} {b c} for two output rows, {a b} {c 0} for one."""
    layer = make_layer("depthwise_conv2d", (6, 6, 4), kernel=3, out_shift=5)
    a, b, c = layer.weights[:, 0, 0].tolist()
    assert pack_device_weights(layer, Variant(2, 1, 2, 2, "line_buffer", "widened"))[:4].tolist() == [a, b, b, c]
    assert pack_device_weights(layer, Variant(2, 1, 1, 1, "line_buffer", "widened"))[:4].tolist() == [a, b, c, 0]


def test_words_pair_neighbouring_channels() -> None:
    """All taps of channels 0 and 1, then of channel 2 beside zeros."""
    layer = make_layer("depthwise_conv2d", (6, 6, 3), kernel=(1, 2), out_shift=5)
    (a, b, c), (d, e, f) = layer.weights[0].tolist()
    packed = pack_device_weights(layer, Variant(4, 2, 2, 2, "line_buffer", "widened"))
    assert packed.tolist() == [a, b, d, e, c, 0, f, 0]


def test_words_of_windows_that_are_read_from_the_input() -> None:
    """Channel 0: the first two rows, column by column, then the last row beside zero."""
    layer = make_layer("depthwise_conv2d", (6, 6, 4), kernel=3, out_shift=5)
    (a, b, c), (d, e, f), (g, h, i) = layer.weights[..., 0].tolist()
    packed = pack_device_weights(layer, Variant(4, 1, 1, 1, "direct", "widened", inner="asm"))
    assert packed[:10].tolist() == [a, d, b, e, c, f, g, h, i, 0]
    assert len(packed) == 40


def test_windows_that_are_read_from_the_input_stay_near_it() -> None:
    direct = Variant(4, 1, 1, 1, "direct", "widened", inner="asm")
    for shape, options, fits in (
        ((6, 6, 4), {}, True), ((6, 6, 4), {"stride": (3, 2)}, True), ((6, 6, 4), {"stride": (1, 3)}, False),
        ((6, 6, 4), {"kernel": 5}, False), ((6, 6, 4), {"padding": 2}, False), ((1, 6, 4), {}, False),
        ((2, 1, 4), {}, True), ((6, 20, 102), {}, True), ((6, 20, 103), {}, False),
    ):  # fmt: skip
        layer = make_layer("depthwise_conv2d", shape, out_shift=5, **{"kernel": 3, "padding": 1, **options})
        problem = device_variant_problem(layer, direct, features(dsp=True))
        assert (problem is None) == fits, (shape, options, problem)
        assert fits or "lowering 'direct' takes 3x3" in problem


def test_assembly_of_rows_is_of_three_by_three() -> None:
    rows, single = (Variant(4, 1, cols, cols, "line_buffer", "widened", inner="asm") for cols in (2, 1))
    for shape, options, variant, fits in (
        ((6, 6, 4), {}, rows, True), ((6, 6, 4), {"stride": 2}, single, True), ((6, 6, 4), {}, single, False),
        ((6, 6, 4), {"kernel": 5}, rows, False), ((6, 200, 20), {}, rows, True), ((6, 205, 20), {}, rows, False),
    ):  # fmt: skip
        layer = make_layer("depthwise_conv2d", shape, out_shift=5, **{"kernel": 3, "padding": 1, **options})
        problem = device_variant_problem(layer, variant, features(dsp=True))
        assert (problem is None) == fits, (shape, options)
        assert fits or "assembly in blocks of" in problem or "block_cols 2 needs" in problem


def test_assembly_of_lines_is_written_out() -> None:
    lines = Variant(4, 2, 2, 2, "line_buffer", "widened")
    high = make_layer("depthwise_conv2d", (9, 6, 4), kernel=(8, 3), out_shift=5)
    assert device_variant_problem(high, lines, features(dsp=False)) is None
    assert "up to 7x7, got (8, 3)" in device_variant_problem(high, replace(lines, inner="asm"), features(dsp=False))


@pytest.mark.emulated
@pytest.mark.parametrize(("core", "level"), one_in(2, [("cortex-m3", "-O2"), ("cortex-m0plus", "-Os")]))
def test_lines_of_every_kernel_size(core: str, level: str, full: bool) -> None:
    """Each width and height has assembly of its own; the last pixel of an odd row is alone."""
    chosen = []
    for dtype in ("q7", "q15"):
        registered = device_variants("depthwise_convolve", dtype, CORES[core].features)
        for size in range(1, 9):
            for kernel, stride in (((size, 9 - size), (1, 2)), ((9 - size, size), (2, 1))):
                options = {"kernel": kernel, "stride": stride, "padding": (0, 1) if size > 3 else 0, "out_shift": 9}
                layer = make_layer("depthwise_conv2d", (10, 9 + size, 2 + size), dtype=dtype, **options)
                chosen += [
                    Case(layer, v)
                    for v in registered
                    if v.lowering == "line_buffer" and device_variant_problem(layer, v, features(dsp=False)) is None
                ]
    for part, compiler in enumerate(compilers()):
        compile_cases(chosen if full else chosen[part :: 2 * len(compilers())], core, compiler, [level]).check()
