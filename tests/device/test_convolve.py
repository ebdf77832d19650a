# SPDX-License-Identifier: Apache-2.0
"""Convolution device kernels: every registered variant around every block, tile and border, and extreme sums."""

from __future__ import annotations

import subprocess
from itertools import groupby, product

import numpy as np
import pytest

from cmsisnn_x.layers import Layer
from cmsisnn_x.op import device_variant_problem, device_variants
from cmsisnn_x.packing import pack_device_weights, winograd_transform
from cmsisnn_x.variant import Variant, replace
from helpers.device import (
    INCLUDE,
    Build,
    Case,
    assert_kernel,
    c_source,
    check_on_host,
    compile_cases,
    compilers,
    host_compiler,
    sample,
)
from helpers.layers import features, make_layer
from helpers.samples import one_in
from tuning.target.cores import CORES

OFFSETS = (None, 1, 2, 3)


def convolution(shape: tuple[int, int, int], out_channels: int, kernel, dtype: str = "q7", **options: object) -> Layer:
    return make_layer("conv2d", shape, dtype=dtype, out_channels=out_channels, kernel=kernel, **options)


# Odd channels, odd sizes, one pixel, strides, windows past the far edge ("same" at stride 2), more padding than image,
# rows left over.
SHAPES = (
    ((5, 6, 3), 5, 3, {"padding": 1, "out_shift": 7}),
    ((8, 8, 8), 4, 5, {"padding": 2, "out_shift": 9, "activation": "relu"}),
    ((7, 5, 4), 6, 3, {"stride": 2, "padding": 1, "out_shift": 8, "bias_shift": 31}),
    ((1, 1, 5), 3, 3, {"padding": 1, "out_shift": 6}),
    ((6, 9, 2), 3, 7, {"padding": 3, "out_shift": 0}),
    ((9, 7, 8), 7, 1, {"out_shift": 31}),
    ((6, 6, 6), 2, (2, 3), {"stride": (2, 3), "out_shift": 5, "activation": "relu"}),
    ((6, 8, 4), 5, 3, {"stride": 2, "output_size": (3, 4), "out_shift": 9}),
    ((4, 5, 16), 1, (3, 5), {"padding": (1, 2), "out_shift": 10}),
    ((5, 9, 12), 8, (1, 3), {"out_shift": 8}),
    ((10, 6, 4), 6, (5, 3), {"stride": (2, 1), "padding": (4, 1), "out_shift": 9}),
    ((6, 13, 12), 5, 3, {"padding": (1, 2), "out_shift": 8}),
    ((7, 9, 8), 3, 5, {"padding": (1, 2), "out_shift": 9}),
    ((13, 6, 1), 6, (5, 4), {"stride": 2, "padding": (2, 1), "out_shift": 7}),
    ((3, 7, 12), 10, 1, {"out_shift": 8, "activation": "relu"}),
)


def family(variant: Variant) -> tuple[object, ...]:
    return variant.lowering, variant.weight_layout, variant.column_layout, variant.inner, variant.tile


def cases(dtype: str, *, dsp: bool, first: int = 0, shapes: int = 2) -> list[Case]:
    """Every registered variant, each with the next `shapes` of those that it can run and alignments of its own turn;
    with another `first`, others.
    """
    found, turn = [], first
    shift = 8 if dtype == "q15" else 0
    layers = [convolution(*s[:3], dtype, **(s[3] | {"out_shift": min(s[3]["out_shift"] + shift, 31)})) for s in SHAPES]
    registered = device_variants("convolve", dtype, features(dsp=dsp))
    unfused = [v for v in registered if not v.fused_pool]  # those: test_fused_pool
    for variant in sorted(unfused, key=lambda v: (family(v), v)):
        legal = [layer for layer in layers if device_variant_problem(layer, variant, features(dsp=dsp)) is None]
        assert legal, f"no test shape for {variant}"
        for _ in range(min(shapes, len(legal))):
            turn += 1
            found.append(
                Case(
                    legal[turn % len(legal)],
                    variant,
                    input_offset=OFFSETS[turn % 4],
                    output_offset=OFFSETS[turn // 4 % 4],
                )
            )
    return found


def some_of_each_family(chosen: list[Case], build: Build) -> list[Case]:
    """Every other family for each build, the others for the next; a case of each."""
    groups = [list(members) for _, members in groupby(chosen, key=lambda case: family(case.variant))]
    return [case for members in groups[build.index % 2 :: 2] for case in sample(members, build, full=False, most=1)]


@pytest.mark.emulated
@pytest.mark.parametrize("dtype", ["q7", "q15"])
def test_every_variant_equals_the_definition(build: Build, full: bool, dtype: str) -> None:
    """The product takes every variant in every build, and for each build the next of the shapes."""
    if full:
        chosen = cases(dtype, dsp=build.dsp, first=build.index, shapes=1)
    else:
        chosen = some_of_each_family(cases(dtype, dsp=build.dsp), build)
    assert_kernel(build, chosen)


@pytest.mark.emulated
def test_sums_at_the_ends_of_their_range(build: Build, full: bool) -> None:
    """Products of -128 and -128 add up, Winograd's transforms reach their largest values."""
    found = []
    for shape, out_channels, kernel, padding in (((4, 8, 8), 2, 3, 1), ((5, 8, 4), 3, 5, 2), ((4, 4, 2), 2, 7, 3)):
        for out_shift in (0, 14):
            layer = convolution(shape, out_channels, kernel, padding=padding, out_shift=out_shift, extreme=True)
            layer.weights[0] = -128
            patterns = (np.full(shape, -128), np.where(np.indices(shape)[1] % 2, 127, -128))
            for variant in device_variants("convolve", "q7", features(dsp=build.dsp)):
                if (
                    variant.unroll == 4
                    and variant.im2col_cols <= 4
                    and device_variant_problem(layer, variant, features(dsp=build.dsp)) is None
                ):
                    found += [Case(layer, variant, input=pattern) for pattern in patterns]
    assert_kernel(build, sample(found, build, full, most=5))


@pytest.mark.emulated
@pytest.mark.parametrize("core", ["cortex-m3", "cortex-m0plus"])
def test_packed_columns_hold_the_largest_sums(full: bool, core: str) -> None:
    """Segments of 64 elements, whole and not, of products that all have the largest magnitude, of either sign."""
    found = []
    for channels in (63, 64, 66, 130):
        shape = (2, 4, channels)
        for weight, rest in ((-128, -128), (127, -128), (-128, 127)):
            layer = convolution(shape, 3, 1, out_shift=15)
            layer.weights[:] = rest
            layer.weights[0] = weight
            columns = np.arange(4)[None, :, None]
            patterns = [np.full(shape, value) for value in (-128, 127)]
            patterns += [np.broadcast_to(np.where(columns % 3 == at, 127, -128), shape) for at in range(3)]
            variants = device_variants("convolve", "q7", CORES[core].features)
            packed = [variant for variant in variants if variant.column_layout == "packed"]
            found += [Case(layer, variant, input=pattern) for variant in packed for pattern in patterns]
    assert found
    for compiler in compilers():
        compile_cases(found if full else found[::7], core, compiler, ["-O2", "-O3", "-Os"] if full else ["-O3"]).check()


@pytest.mark.emulated
def test_paired_columns_hold_the_largest_sums(full: bool) -> None:
    """Words of two columns reach the ends of 16 bits, accumulators come near 2^23; one to three pixels left."""
    found, core = [], "cortex-m4"
    registered = device_variants("convolve", "q7", CORES[core].features)
    paired = [variant for variant in registered if variant.column_layout == "paired"]
    for channels, pixels in product((4, 68, 508), (1, 5, 6, 11)):
        shape = (1, pixels, channels)
        across = np.arange(pixels)[None, :, None]
        layer = convolution(shape, 2, 1, out_shift=15, bias_shift=5)
        layer.weights[0], layer.weights[1] = -128, np.where(np.arange(channels) % 3, 127, -128)
        layer.bias[:] = -128, 127
        patterns = [np.broadcast_to(np.where(across % 2 == odd, 127, -128), shape) for odd in (0, 1)]
        patterns += [np.full(shape, -128), np.full(shape, 127)]
        assert all(device_variant_problem(layer, v, CORES[core].features) is None for v in paired)
        found += [Case(layer, variant, input=pattern) for variant in paired for pattern in patterns]
    for compiler in compilers():
        levels = ["-O2", "-O3", "-Os"] if full else ["-O3"]
        compile_cases(found if full else found[::61], core, compiler, levels).check()


@pytest.mark.emulated
def test_q15_accumulators_wrap(build: Build, full: bool) -> None:
    layer = convolution((4, 4, 4), 4, 3, "q15", padding=1, out_shift=31, bias_shift=31, extreme=True)
    found = [
        Case(layer, variant, input=np.full((4, 4, 4), -32768))
        for variant in device_variants("convolve", "q15", features(dsp=build.dsp))
        if device_variant_problem(layer, variant, features(dsp=build.dsp)) is None
    ]
    assert_kernel(build, sample(found, build, full, most=3))


@pytest.mark.emulated
@pytest.mark.parametrize("dtype", ["q7", "q15"])
@pytest.mark.parametrize(
    ("core", "level"),
    one_in(2, [("cortex-m4", "-O2"), ("cortex-m7", "-Os"), ("cortex-m0plus", "-Os"), ("cortex-m3", "-O2")]),
)
def test_runs_of_assembly_loop_and_leave_pairs_and_one_over(core: str, level: str, dtype: str, full: bool) -> None:
    """Runs below, at and beyond a loop of the assembly blocks, even and odd, in the schedule of each core; without
    --full one for each variant, the next for the next.
    """
    runs = (1, 2, 3, 5, 6, 11, 16, 18, 21, 22, 32, 66)
    layers = [convolution((4, 4, channels), 3, (2, 3), dtype, padding=(0, 1), out_shift=11) for channels in runs]
    registered = device_variants("convolve", dtype, CORES[core].features)
    assembly = [v for v in registered if v.inner != "c" and v.im2col_cols <= 4 and not v.fused_pool]
    found = []
    for turn, variant in enumerate(assembly):
        legal = [layer for layer in layers if device_variant_problem(layer, variant, CORES[core].features) is None]
        chosen = legal[turn % 3 :: 3] if full else legal[5 * turn % max(len(legal), 1) :][:1]
        found += [Case(layer, variant) for layer in chosen]
    for part, compiler in enumerate(compilers()):  # without --full each compiles a part of them
        compile_cases(found if full else found[part :: len(compilers())], core, compiler, [level]).check()


@pytest.mark.full
def test_host_build_is_clean_under_sanitizers(full: bool) -> None:
    """On other compilers' targets assembly is C, its packed weights and columns included."""
    chosen = [case for dtype in ("q7", "q15") for dsp in (True, False) for case in cases(dtype, dsp=dsp)]
    check_on_host(chosen if full else chosen[::61], host_compiler())


def test_the_header_compiles_as_cplusplus(tmp_path) -> None:
    source = tmp_path / "cases.cpp"
    source.write_text(c_source(cases("q7", dsp=True)[::29] + cases("q15", dsp=True)[::61]))
    flags = [
        "-std=c++17",
        "-Wall",
        "-Wextra",
        "-Wconversion",
        "-Wshadow",
        "-Werror",
        "-fsyntax-only",
        "-I",
        str(INCLUDE),
    ]
    done = subprocess.run(
        [host_compiler().replace("gcc", "g++"), *flags, str(source)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("macro", "value", "message"),
    [
        ("UNROLL", 3, "UNROLL: legal values are 1, 2, 4 and 8"),
        ("BLOCK_COLS", 3, "BLOCK_ROWS x BLOCK_COLS: legal values are"),
        ("IM2COL_COLS", 3, "IM2COL_COLS: legal values are"),
        ("LOWERING", 9, "LOWERING: legal values are"),
        ("WEIGHT_LAYOUT", 9, "WEIGHT_LAYOUT: legal values are"),
        ("COLUMN_LAYOUT", 2, "COLUMN_LAYOUT: .* needs .* an even IN_CH"),
        ("INNER", 2, "INNER: .* legal here: CXN_INNER_C"),
        ("INNER", 5, "INNER: CXN_INNER_HELIUM and CXN_WEIGHT_LAYOUT_LANES go together"),
        ("WEIGHT_LAYOUT", 4, "INNER: CXN_INNER_HELIUM and CXN_WEIGHT_LAYOUT_LANES go together"),
        ("TILE", 2, "TILE: legal value is 1"),
        ("FUSED_POOL", 2, "FUSED_POOL: legal values are 0 and 1"),
        ("OUT_SHIFT", 32, "OUT_SHIFT: legal values are 0..31"),
        ("LOWERING", 3, "LOWERING: CXN_LOWERING_DIRECT needs windows inside the image"),
        ("LOWERING", 4, "TILE: legal values with CXN_LOWERING_WINOGRAD"),
        ("LOWERING", 5, "TILE: legal value with CXN_LOWERING_WINOGRAD_2D is 4"),
    ],
)
def test_an_impossible_macro_stops_with_the_legal_values(tmp_path, macro: str, value: int, message: str) -> None:
    import re

    case = Case(convolution((5, 6, 3), 5, 3, padding=1, out_shift=7), Variant(), macros={macro: value})
    source = tmp_path / "case.c"
    # The harness appends the macro to the layer's own.
    source.write_text(c_source([case]))
    done = subprocess.run(
        [host_compiler(), "-std=c99", "-w", "-fsyntax-only", "-I", str(INCLUDE), str(source)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert re.search(f"#error.*{message}", done.stderr), done.stderr


def test_scratch_of_the_wrong_size_does_not_compile(tmp_path) -> None:
    layer = convolution((8, 8, 4), 4, 3, padding=1, out_shift=7)
    for variant in (Variant(), Variant(4, 2, 2, 2, "line_buffer"), Variant(4, 2, 4, 4, "winograd", "widened", tile=2),
                    Variant(4, 2, 4, 4, "winograd_2d", "widened", tile=4)):
        exact = Case(layer, variant)
        short = Case(layer, variant, scratch_bytes=exact.scratch - 1)
        for case, accepted in ((exact, True), (short, False)):
            source = tmp_path / "case.c"
            source.write_text(c_source([case]))
            done = subprocess.run(
                [host_compiler(), "-std=c99", "-fsyntax-only", "-I", str(INCLUDE), str(source)],
                capture_output=True,
                check=False,
            )
            assert (done.returncode == 0) is accepted, f"{variant}: {done.stderr.decode()}"


def test_the_baseline_is_legal_everywhere() -> None:
    for shape, out_channels, kernel, options in SHAPES:
        for dsp in (False, True):
            assert (
                device_variant_problem(
                    convolution(shape, out_channels, kernel, **options), Variant(1, 2, 2, 2), features(dsp=dsp)
                )
                is None
            )


@pytest.mark.parametrize(
    ("variant", "reason"),
    [
        (
            Variant(4, 2, 4, 4, column_layout="interleaved", weight_layout="interleaved", inner="asm"),
            "even number of input channels",
        ),
        (Variant(4, 2, 4, 4, "line_buffer"), "at least block_cols=4 wide"),
        (Variant(4, 2, 2, 2, "winograd", "widened", tile=4), "needs stride 1 along x"),
        (Variant(4, 2, 4, 4, "winograd_2d", "widened", inner="asm", tile=4), "needs 3x3 or 5x5 kernels at stride 1"),
        (Variant(4, 4, 4, 4), "is registered as"),
    ],
)
def test_an_illegal_variant_is_refused_with_its_reason(variant: Variant, reason: str) -> None:
    layer = convolution((6, 6, 3), 4, 3, stride=2, out_shift=7)
    assert reason in device_variant_problem(layer, variant, features(dsp=True))


@pytest.mark.parametrize(("tile", "kernel_w"), [(2, 3), (2, 5), (4, 3), (4, 5), (2, 7)])
def test_winograd_matrix_is_toom_cook_at_its_points(tile: int, kernel_w: int) -> None:
    """Each row is a multiple of the powers of its point, the last one of the highest power alone."""
    matrix = winograd_transform(tile, kernel_w)
    points = [0, 1, -1, 2, -2, 0.5, -0.5][: len(matrix) - 1]
    for row, point in zip(matrix, points, strict=False):
        powers = np.array([float(point) ** k for k in range(kernel_w)])
        assert np.array_equal(row * powers[np.argmax(powers != 0)], row[np.argmax(powers != 0)] * powers)
    assert np.count_nonzero(matrix[-1]) == 1
    assert matrix[-1][-1] != 0


def test_packed_rows_keep_every_weight() -> None:
    layer = convolution((5, 5, 3), 5, 3, padding=1, out_shift=7)
    for variant in (
        Variant(4, 2, 2, 2, weight_layout="interleaved"),
        Variant(4, 4, 2, 2, weight_layout="widened"),
        Variant(4, 2, 2, 2, "line_buffer", "interleaved"),
    ):
        packed = pack_device_weights(layer, variant)
        assert sorted(packed[packed != 0]) == sorted(layer.weights[layer.weights != 0])
    assert pack_device_weights(layer, replace(Variant(), block_rows=1)).tolist() == layer.weights.reshape(-1).tolist()
