# SPDX-License-Identifier: Apache-2.0
"""Kernels on bands of rows: every lowering, any geometry, nothing read or written outside the rows of a call."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from cmsisnn_x.affine import AffineClamp, AffineMean, AffineProduct, AffineRescale, AffineSum, quantize_multiplier
from cmsisnn_x.bands import banded, least_rows, row_step
from cmsisnn_x.buffers import layer_scratch_bytes
from cmsisnn_x.layers import Layer
from cmsisnn_x.op import MODEL_OPS, OPS, device_variant_problem, device_variants
from cmsisnn_x.variant import BASELINE, Variant
from cmsisnn_x.windows import Windows
from helpers.affine_layers import pooling, weighted
from helpers.affine_random import affine_case
from helpers.bands import BandCase, assert_bands, c_source, check_bands_on_host, counts_of, is_possible
from helpers.device import INCLUDE, Build, draw, host_compiler
from helpers.layers import features, make_layer

OFFSETS = (None, None, 1, 2, 3)
TABLED = [name for name, row in MODEL_OPS.items() if row.has_table]
KINDS = {
    "im2col": lambda v: v.lowering == "im2col" and v.column_layout not in ("packed", "paired"),
    "paired columns": lambda v: v.column_layout == "paired",
    "packed columns": lambda v: v.column_layout == "packed",
    "lines": lambda v: v.lowering == "line_buffer",
    "direct": lambda v: v.lowering == "direct",
    "winograd": lambda v: v.lowering == "winograd",
    "two-dimensional winograd": lambda v: v.lowering == "winograd_2d",
    "depthwise direct": lambda v: v.lowering == "direct",
    "depthwise columns": lambda v: v.lowering == "im2col",
    "depthwise lines": lambda v: v.lowering == "line_buffer" and v.block_rows == 2,
    "depthwise rows": lambda v: v.lowering == "line_buffer" and v.block_rows == 1,
}
"""Of variants: what each kernel is in a file of its own."""
OP_OF = {kind: "depthwise_conv2d" if kind.startswith("depthwise") else "conv2d" for kind in KINDS}
POW2_SHAPES = (
    ((9, 7, 4), 3, 1, 1), ((8, 8, 8), 1, 1, 0), ((11, 6, 3), 3, 2, 1), ((7, 5, 6), (3, 5), (1, 2), (1, 2)),
    ((10, 9, 4), 5, 1, 2),
    ((13, 4, 5), (4, 2), 3, (2, 0)), ((6, 11, 12), 3, 1, 0), ((12, 8, 16), 2, 2, 0), ((5, 1, 7), (3, 1), 1, (1, 0)),
    ((8, 12, 4), 3, (2, 1), (1, 1)), ((16, 4, 2), 7, 1, 3), ((9, 9, 1), 3, 3, 2), ((7, 10, 8), (1, 3), 1, (0, 1)),
)  # fmt: skip
"""Image, kernel, stride, padding."""
TILES = Variant(8, 4, 2, 2, "winograd_2d", "widened", inner="asm", tile=4)
ALONG = Variant(8, 2, 4, 4, "winograd", "widened", inner="asm", tile=4)
PACKED = Variant(8, 2, 3, 3, "im2col", "interleaved", "packed", "asm")
PAIRS = Variant(4, 1, 2, 2, "line_buffer", "widened")
SAMPLE, FULL = 1, 40
"""Layers of a kind for each core, compiler and level."""
AT_ONCE = 12  # of one translation unit: compilers take long over a large one


def band_case(layer: Layer, variant: Variant | None, rng: np.random.Generator, **options: object) -> BandCase | None:
    """A band height and calls for a layer, some of the height that wastes nothing; None where there is none."""
    least, height = least_rows(layer, variant), layer.output_image[0]
    if least is None or height < least:
        return None
    able = [band for band in range(least, min(height, least + 6) + 1) if is_possible(height, least, band)]
    step = row_step(layer, variant)
    if step in able and rng.random() < 0.3:
        able = [step]
    band = int(rng.choice(able))
    counts = counts_of(height, least, band, rng)
    offsets = {name: OFFSETS[rng.integers(len(OFFSETS))] for name in ("input_offset", "output_offset")}
    return BandCase(layer, variant, band=band, counts=counts, **(offsets | options))


def drawn_affine(seed: int, kind: str, *, dsp: bool) -> BandCase:
    rng = np.random.default_rng([seed, 1])
    turn = seed
    while True:
        found = affine_case(
            turn, OP_OF[kind], lambda variant: KINDS[kind](variant) and not variant.fused_pool, dsp=dsp
        )
        case = band_case(found.layer, found.variant, rng, input=found.input)
        if case is not None and len(case.counts) > 1:
            return case
        turn += 100_003


def drawn_pow2(seed: int, kind: str, dtype: str, *, dsp: bool) -> BandCase:
    rng = np.random.default_rng([seed, 2])
    op = OP_OF[kind]
    wanted = [
        v for v in device_variants("convolve" if op == "conv2d" else "depthwise_convolve", dtype, features(dsp=dsp))
        if KINDS[kind](v) and not v.fused_pool
    ]
    while True:
        shape, kernel, stride, padding = POW2_SHAPES[rng.integers(len(POW2_SHAPES))]
        own = {"out_channels": int(rng.integers(1, 10))} if op == "conv2d" else {}
        shift = 8 if dtype == "q7" else 16
        layer = make_layer(
            op, shape, dtype=dtype, kernel=kernel, stride=stride, padding=padding, out_shift=shift,
            activation=(None, "relu")[rng.integers(2)], **own,
        )  # fmt: skip
        variant = wanted[rng.integers(len(wanted))]
        if device_variant_problem(layer, variant, features(dsp=dsp)) is None:
            case = band_case(layer, variant, rng)
            if case is not None and len(case.counts) > 1:
                return case


def drawn_in_place(seed: int, kind: str, *, dsp: bool) -> BandCase:
    """A layer that writes over the rows that its windows begin with; pairs of rows in pairs."""
    turn = seed
    while True:
        found = affine_case(turn, "depthwise_conv2d", KINDS[kind], dsp=dsp)
        layer, variant, rng = found.layer, found.variant, np.random.default_rng([turn, 3])
        assert variant is not None
        height, step = layer.output_image[0], row_step(layer, variant)
        if layer.row.overwrites_rows(layer, variant, step) and height % step == 0 and height > step:
            band = step * int(rng.integers(1, height // step, endpoint=True))
            counts = tuple(step * count for count in counts_of(height // step, 1, band // step, rng))
            return BandCase(layer, variant, input=found.input, in_place=True, band=band, counts=counts)
        turn += 100_003


def kinds_of(dtype: str, *, dsp: bool) -> list[str]:
    """The kinds of which a core has variants."""
    ops = {"conv2d": "convolve", "depthwise_conv2d": "depthwise_convolve"}
    return [
        kind
        for kind, choose in KINDS.items()
        if any(choose(v) and not v.fused_pool for v in device_variants(ops[OP_OF[kind]], dtype, features(dsp=dsp)))
    ]


def some_kinds(dtype: str, build: Build, full: bool) -> list[str]:
    """Every other kind for each build, the others for the next; all with `full`."""
    kinds = kinds_of(dtype, dsp=build.dsp)
    return kinds if full else kinds[build.index % 2 :: 2]


@pytest.mark.emulated
def test_random_layers_with_zero_points(build: Build, full: bool) -> None:
    first, count = build.index * FULL, FULL if full else SAMPLE
    seeds = range(first, first + count)
    chosen = [drawn_affine(seed, kind, dsp=build.dsp) for kind in some_kinds("int8", build, full) for seed in seeds]
    for at in range(0, len(chosen), AT_ONCE):
        assert_bands(build, chosen[at : at + AT_ONCE])


@pytest.mark.dsp(True)
@pytest.mark.emulated
@pytest.mark.parametrize("kind", ["depthwise rows", "depthwise direct"])
def test_rows_that_are_overwritten_were_read_before(build: Build, full: bool, kind: str) -> None:
    first, count = build.index * FULL, FULL if full else 2 * SAMPLE
    assert_bands(build, [drawn_in_place(seed, kind, dsp=True) for seed in range(first, first + count)])


def tiles_in_place(seed: int) -> BandCase:
    """Tiles along both axes over the rows that they were made from, of any padding, with any rows left over."""
    rng = np.random.default_rng([seed, 4])
    kernel = (3, 3, 5)[rng.integers(3)]
    above, left, below = (int(size) for size in rng.integers(0, kernel, 3))
    shape = (int(rng.integers(kernel, 20)), int(rng.integers(kernel, 22)), int(rng.choice([4, 8, 12, 16])))
    layer = make_layer(
        "conv2d", shape, kernel=kernel, padding=(above, left), out_channels=shape[2], out_shift=8,
        output_size=(shape[0] + above + below - kernel + 1, shape[1]), activation=(None, "relu")[rng.integers(2)],
    )  # fmt: skip
    variant = Variant(int(rng.choice([4, 8])), 4, 2, 2, "winograd_2d", "widened", inner="asm", tile=4)
    height, band = layer.output_image[0], int(rng.integers(1, row_step(layer, variant), endpoint=True))
    counts = counts_of(height, 1, min(band, height), rng)
    return BandCase(layer, variant, in_place=True, band=min(band, height), counts=counts)


@pytest.mark.dsp(True)
@pytest.mark.emulated
def test_tiles_that_are_overwritten_were_read_before(build: Build, full: bool) -> None:
    first, count = build.index * FULL, FULL if full else 3 * SAMPLE
    assert_bands(build, [tiles_in_place(seed) for seed in range(first, first + count)])


@pytest.mark.emulated
@pytest.mark.parametrize("dtype", ["q7", "q15"])
def test_random_layers_of_powers_of_two(build: Build, full: bool, dtype: str) -> None:
    first, count = build.index * FULL, FULL if full else SAMPLE
    chosen = [
        drawn_pow2(seed, kind, dtype, dsp=build.dsp)
        for kind in some_kinds(dtype, build, full)
        for seed in range(first, first + count)
    ]
    for at in range(0, len(chosen), AT_ONCE):
        assert_bands(build, chosen[at : at + AT_ONCE])


def odd_windows(rng: np.random.Generator) -> list[BandCase]:
    """Dilation, groups, and accumulators of 64 bits."""
    found = []
    for op, dilation, groups, wide in (
        ("conv2d", (2, 1), 1, False), ("conv2d", (1, 2), 2, False), ("conv2d", (1, 1), 4, False),
        ("conv2d", (3, 2), 1, True), ("conv2d", (1, 1), 2, True), ("depthwise_conv2d", (2, 2), 1, False),
        ("depthwise_conv2d", (1, 1), 1, True), ("depthwise_conv2d", (3, 1), 1, True),
    ):  # fmt: skip
        own = {"out_channels": 8} if op == "conv2d" else {}
        for stride, padding in ((1, 1), (2, 0)):
            size = tuple((n + 2 * (padding - d) - 1) // stride + 1 for n, d in zip((11, 9), dilation, strict=True))
            layer = weighted(
                op, (11, 9, 8), kernel=3, stride=stride, padding=padding, dilation=dilation, groups=groups, wide=wide,
                output_size=size, **own,
            )  # fmt: skip
            case = band_case(layer, BASELINE, rng)
            assert case is not None
            found.append(case)
    return found


def pools(rng: np.random.Generator) -> list[BandCase]:
    """Windows clipped at every side, beyond the far edge by `ceil_mode`, and above 4."""
    found = []
    geometry = (
        ((9, 7, 5), 3, 2, 1, True), ((8, 8, 8), 2, 2, 0, False), ((10, 6, 4), (3, 2), (1, 2), (2, 0), True),
        ((11, 5, 3), 5, 2, 2, False), ((7, 9, 6), (4, 3), (3, 1), (1, 1), True), ((6, 4, 12), 1, 2, 0, False),
        ((13, 3, 7), (2, 3), (3, 3), (1, 0), True),
    )  # fmt: skip
    for op, (shape, kernel, stride, padding, ceil_mode) in product(("max_pool2d", "avg_pool2d"), geometry):
        options = {"kernel": kernel, "stride": stride, "padding": padding, "ceil_mode": ceil_mode}
        layers = [make_layer(op, shape, dtype=dtype, **options) for dtype in ("q7", "q15")]
        layers += [
            pooling(op, shape, dtype="int8", limits=(-90, 100), **options),
            pooling(op, shape, dtype="int16", **options),
        ]
        cases = [band_case(layer, None, rng) for layer in layers]
        assert all(cases)
        found += cases
    return found


def open_pools(rng: np.random.Generator) -> list[BandCase]:
    """The largest of windows whose rows are taken as they come, two calls or three for each."""
    found = []
    geometry = (
        ((9, 7, 5), 3, 2, 1, True), ((8, 8, 32), 3, 2, 0, True), ((10, 6, 4), (4, 2), (3, 1), (2, 0), False),
        ((13, 5, 3), 5, 2, 1, False), ((7, 5, 20), (3, 5), (2, 2), (0, 2), True),
    )  # fmt: skip
    for shape, kernel, stride, padding, ceil_mode in geometry:
        options = {"kernel": kernel, "stride": stride, "padding": padding, "ceil_mode": ceil_mode}
        layers = [make_layer("max_pool2d", shape, dtype=dtype, **options) for dtype in ("q7", "q15")]
        layers.append(pooling("max_pool2d", shape, dtype="int8", limits=(-90, 100), **options))
        for layer in layers:
            assert layer.row.takes_rows_as_they_come(layer), layer
            found.append(band_case(layer, None, rng, open_rows=Windows.of(layer).open_rows))
    assert all(found)
    return [case for case in found if case is not None]


def elements(rng: np.random.Generator) -> list[BandCase]:
    """Element by element, of images and of flat tensors in rows."""
    found: list[BandCase | None] = []
    shape = (9, 3, 5)
    for dtype, op in product(("q7", "q15"), ("relu", *TABLED, "multiply")):
        layer = make_layer(op, shape, dtype=dtype, int_bits=3 if op in TABLED else 0, out_shift=5)
        if op == "multiply":
            layer = replace(layer, more_inputs=(shape,))
        found.append(band_case(layer, None, rng, **({"other": draw(shape, dtype, op)} if op == "multiply" else {})))
    for dtype in ("int8", "int16"):
        full = (-128, 127) if dtype == "int8" else (-32768, 32767)
        zero = (-7, 9, 3) if dtype == "int8" else (0, 0, 0)
        multiplier, shift = quantize_multiplier(0.003 if dtype == "int8" else 0.00003)
        schemes = {
            "add": AffineSum.of((0.05, 0.02, 0.07), zero, full, dtype=dtype),
            "multiply": AffineProduct(zero[0], zero[1], multiplier, shift, zero[2], *full),
            "maximum": AffineClamp(*full),
            "minimum": AffineClamp(*full),
        }
        for (op, scheme), other in product(schemes.items(), (shape, (5,), (3, 5), (1,))):
            layer = Layer(op, op, dtype, shape, shape, scheme=scheme, more_inputs=(other,))
            found.append(band_case(layer, None, rng, other=draw(other, dtype, f"{op}{other}")))
        for wide in ((7, 4, 8), (5, 1, 23)):  # turns of the assembly, and what is left of them
            layer = Layer("wide", "add", dtype, wide, wide, scheme=schemes["add"], more_inputs=(wide,))
            found.append(band_case(layer, None, rng, other=draw(wide, dtype, f"wide{wide}")))
        other_type = "int16" if dtype == "int8" else "int8"
        low, high = (-128, 127) if other_type == "int8" else (-32768, 32767)
        zeros = (-90, 0) if dtype == "int8" else (0, -90)
        rescale = AffineRescale(*zeros, *quantize_multiplier(0.4), low, high)
        layer = Layer("scale", "requantise", dtype, shape, shape, scheme=rescale, output_dtype=other_type)
        found.append(band_case(layer, None, rng))
    table = np.random.default_rng(7).integers(-128, 127, 256, np.int8, endpoint=True)
    layer = Layer("table", "look_up", "int8", shape, shape, scheme=AffineClamp(-128, 127), table=table)
    found.append(band_case(layer, None, rng))
    assert all(found)
    return [case for case in found if case is not None]


@pytest.mark.emulated
def test_pools_elements_and_odd_windows(build: Build, full: bool) -> None:
    rng = np.random.default_rng(build.index)
    chosen = [*odd_windows(rng), *pools(rng), *elements(rng), *open_pools(rng)]
    some = chosen if full else chosen[build.index :: 11]
    for at in range(0, len(some), AT_ONCE):
        assert_bands(build, some[at : at + AT_ONCE])


@pytest.mark.full
def test_host_build_is_clean_under_sanitizers(full: bool) -> None:
    rng = np.random.default_rng(3)
    chosen = [*odd_windows(rng), *pools(rng), *elements(rng), *open_pools(rng)][:: 1 if full else 4]
    for dsp in (True, False):
        for seed in range(FULL if full else 1):
            cases = [drawn_affine(seed, kind, dsp=dsp) for kind in kinds_of("int8", dsp=dsp)]
            for dtype in ("q7", "q15"):
                cases += [drawn_pow2(seed, kind, dtype, dsp=dsp) for kind in kinds_of(dtype, dsp=dsp)]
            chosen += [case for case in cases if case.variant is None or case.variant.inner == "c"]
    check_bands_on_host(chosen, host_compiler())


@pytest.mark.parametrize("kind", KINDS)
def test_scratch_is_that_of_the_band(kind: str) -> None:
    """What a band takes depends on its rows alone, and is no more than what the image takes."""
    dsp = kind not in ("packed columns", "direct", "depthwise lines")
    for seed in range(20):
        case = drawn_affine(seed, kind, dsp=dsp)
        assert case.variant is not None
        whole = layer_scratch_bytes(case.layer, case.variant)
        assert case.scratch <= whole
        height = case.layer.output_image[0]
        assert layer_scratch_bytes(banded(case.layer, height), case.variant) == whole


def test_which_operations_work_on_bands() -> None:
    never = {"fully_connected", "softmax", "mean", "pad", "concat", "resize_nearest", "copy"}
    layer = make_layer("max_pool2d", (4, 4, 4), kernel=2, stride=2)
    assert {name for name, row in OPS.items() if row.least_rows(layer, None) is None} == never
    whole = make_layer("avg_pool2d", (4, 4, 4), kernel=4)
    assert (least_rows(whole, None), whole.row.sums_rows(whole)) == (1, True)  # rows of the input, added up
    assert least_rows(make_layer("max_pool2d", (4, 4, 4), kernel=4), None) is None
    assert least_rows(make_layer("avg_pool2d", (5, 4, 4), kernel=4, stride=4), None) is None
    assert least_rows(replace(layer, samples=2), None) is None


def test_the_fewest_rows_of_a_call() -> None:
    layer = make_layer("conv2d", (8, 8, 4), kernel=3, padding=1, out_channels=4)
    assert least_rows(layer, ALONG) == row_step(layer, ALONG) == 4
    both = Variant(8, 2, 4, 4, "winograd_2d", "widened", inner="asm", tile=4)
    assert (least_rows(layer, both), row_step(layer, both)) == (1, 4)
    assert least_rows(layer, PACKED) == 1
    narrow = make_layer("conv2d", (8, 2, 4), kernel=3, padding=1, out_channels=4)
    assert (least_rows(narrow, PACKED), row_step(narrow, PACKED)) == (2, 1)
    channels = make_layer("depthwise_conv2d", (8, 8, 4), kernel=3, padding=1)
    assert least_rows(channels, PAIRS) == row_step(channels, PAIRS) == 2
    assert least_rows(channels, BASELINE) == row_step(channels, BASELINE) == 1
    assert least_rows(layer, replace(BASELINE, fused_pool=True)) is None


def test_rows_that_grow_stay_apart() -> None:
    """A lower image of longer rows is smaller, and its rows would still reach those that are to be read."""
    wider = make_layer("depthwise_conv2d", (8, 6, 4), kernel=3, padding=(0, 2))
    assert wider.output_image == (6, 8, 4)
    assert not wider.row.overwrites_rows(wider, PAIRS, 2)
    assert wider.row.overwrites_rows(make_layer("depthwise_conv2d", (8, 6, 4), kernel=3, padding=1), PAIRS, 2)


@pytest.mark.parametrize(
    ("op", "shape", "variant", "band", "more", "why"),
    [
        ("conv2d", (8, 8, 4), BASELINE, -1, {}, "BAND: legal values"),
        ("conv2d", (8, 8, 4), BASELINE, 2, {"IN_PLACE": 1}, "IN_PLACE: together with BAND with CXN_LOWERING_WIN"),
        ("conv2d", (8, 8, 4), TILES, 5, {"IN_PLACE": 1}, "needs BAND of a tile's rows at most"),
        ("conv2d", (8, 8, 8), TILES, 4, {"IN_PLACE": 1}, "rows of outputs as long as those of inputs"),
        ("conv2d", (8, 8, 4), TILES, 0, {"IN_PLACE": 1}, "IN_PLACE: 1 needs an output of the input's size, and"),
        ("conv2d", (8, 8, 4), TILES, 4, {"OUT_CH": 6}, "of 4x2 and OUT_CH in fours"),
        ("conv2d", (8, 8, 4), replace(TILES, inner="asm_dual"), 4, {}, "_ASM 4x2 ones of tiles over widened weights"),
        ("depthwise_conv2d", (8, 8, 4), BASELINE, 2, {"IN_PLACE": 1}, "IN_PLACE: 1 with BAND needs"),
        ("conv2d", (8, 8, 4), BASELINE, 2, {"FUSED_POOL": 1}, "BAND: not together with"),
        ("conv2d", (8, 8, 4), ALONG, 3, {}, "and BAND where there is one"),
        ("conv2d", (8, 2, 4), PACKED, 1, {}, "needs three output pixels"),
        ("depthwise_conv2d", (8, 8, 4), PAIRS, 1, {}, "OUT_H and BAND of at least 2"),
        ("depthwise_conv2d", (8, 8, 4), PAIRS, 3, {"IN_PLACE": 1}, "needs an even BAND and OUT_H"),
        ("depthwise_conv2d", (9, 8, 4), PAIRS, 4, {"IN_PLACE": 1}, "needs an even BAND and OUT_H"),
        ("maximum", (8, 3, 4), None, 2, {"PERIOD": 24}, "PERIOD: legal values in a band"),
        ("avg_pool2d", (8, 8, 4), None, 2, {"OUT_H": 1}, "made in bands of the input where its window has all of"),
        ("avg_pool2d", (8, 8, 4), None, 2, {"OPEN_ROWS": 1}, "OPEN_ROWS: legal value with BAND, of the largest"),
        ("max_pool2d", (8, 8, 4), None, 2, {"OPEN_ROWS": 3}, "OPEN_ROWS: legal value with BAND, of the largest"),
        ("max_pool2d", (8, 8, 4), None, 2, {"OPEN_ROWS": 1, "STRIDE_Y": 2, "PAD_TOP": 2}, "PAD_TOP has to be below"),
        ("mean", (2, 8, 4), None, 1, {}, "BAND: legal with OUT_H 1"),
        ("mean", (1, 8, 4), None, 1, {"COUNT": 7}, "legal value is IN_W, with BAND IN_H x IN_W"),
    ],
)
def test_headers_refuse_what_no_call_can_do(
    tmp_path: Path, op: str, shape: tuple[int, int, int], variant: Variant | None, band: int, more: dict, why: str
) -> None:
    if op == "maximum":
        layer = Layer("layer", op, "int8", shape, shape, scheme=AffineClamp(-128, 127), more_inputs=(shape,))
        given = {"other": draw(shape, "int8", op)}
    elif op == "mean":
        scheme = AffineMean.of(shape[1], (0.05, 0.04), (3, 4), (-128, 127))
        layer, given = Layer("layer", op, "int8", shape, (shape[0], 1, shape[2]), scheme=scheme), {}
    else:
        own = {"out_channels": 4} if op == "conv2d" else {}
        layer, given = make_layer(op, shape, kernel=3, padding=1, out_shift=7, **own), {}
    case = BandCase(layer, variant, band=band, macros=more, scratch_bytes=2**16, **given)
    (tmp_path / "a.c").write_text(c_source([case]))
    done = subprocess.run(
        [host_compiler(), "-std=c99", "-fsyntax-only", f"-I{INCLUDE}", str(tmp_path / "a.c")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode
    assert why in done.stderr
