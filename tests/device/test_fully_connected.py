# SPDX-License-Identifier: Apache-2.0
"""Fully connected device kernels: every registered variant, shapes around every block and cut, extreme weights."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from cmsisnn_x.op import device_variant_problem, device_variants
from cmsisnn_x.packing import pack_device_weights
from cmsisnn_x.packing_dense import row_blocks
from cmsisnn_x.variant import Variant
from helpers.affine_layers import KINDS, weighted
from helpers.cores import helium_variants
from helpers.device import (
    INCLUDE,
    Build,
    Case,
    assert_kernel,
    c_source,
    check_on_host,
    compilers,
    host_compiler,
    sample,
)
from helpers.layers import features, make_layer
from tuning.emulate import ToolchainError, find_toolchain

# 511 columns are the most that one cut of a paired row may hold; 480 = 4 x 120 is a cut without rest.
SHAPES = ((1, 1), (2, 3), (4, 4), (5, 6), (7, 33), (11, 30), (3, 65), (6, 511), (4, 513), (2, 480), (4, 1000))
TYPES = (("q7", "q7"), ("q15", "q15"), ("q15", "q7"))


def fully_connected(rows: int, columns: int, dtype: str = "q7", weights_dtype: str | None = None, **options: object):
    return make_layer(
        "fully_connected", (columns,), dtype=dtype, weights_dtype=weights_dtype, out_channels=rows, **options
    )


def cases(*, dsp: bool, turns: int = 1) -> list[Case]:
    """Every variant of every type, each with `turns` shapes and alignments of its own."""
    found = []
    for (dtype, weights_dtype), turn in product(TYPES, range(turns)):
        for number, variant in enumerate(device_variants("fully_connected", dtype, features(dsp=dsp)), turn * 3):
            rows, columns = SHAPES[number % len(SHAPES)]
            layer = fully_connected(
                rows, columns, dtype, weights_dtype, bias_shift=number % 5, out_shift=(number * 7) % 14,
                activation="relu" if number % 3 == 0 else None,
            )  # fmt: skip
            if device_variant_problem(layer, variant, features(dsp=dsp)) is None:
                offsets = (None, 1, 2, 3)[number % 4], (None, 3)[number % 2]
                found.append(Case(layer, variant, input_offset=offsets[0], output_offset=offsets[1]))
    return found


def extremes(*, dsp: bool) -> list[Case]:
    """Sums at the end of what the separation of paired rows can hold, and accumulators that wrap."""
    found = []
    for variant in device_variants("fully_connected", "q7", features(dsp=dsp)):
        if variant.unroll in (1, 8) and variant.weight_layout == "interleaved":
            for columns in (508, 511, 512, 2044):
                layer = fully_connected(4, columns, extreme=True, out_shift=14)
                found += [Case(layer, variant, input=np.full(columns, value)) for value in (-128, 127)]
    layer = fully_connected(3, 64, "q15", extreme=True, out_shift=31, bias_shift=31)
    found += [
        Case(layer, v, input=np.full(64, -32768))
        for v in device_variants("fully_connected", "q15", features(dsp=dsp))[::5]
    ]
    return found


FAR = (4e3, 9e4, 3.0, 1e-9, 2.0**19, 0.0, 0.0123456789, 2.0**-7)
"""Factors of LiteRT's products of double precision."""


def vectors() -> list[Case]:
    """Helium: parts of 1 to 7 vectors, the last of them filled or not, even and odd rows, blocks of 4 and 8 rows; every
    scheme.
    """
    found = []
    shapes = ((1, 1), (2, 16), (3, 17), (4, 40), (5, 64), (8, 80), (9, 100), (12, 112), (7, 113), (10, 240), (6, 300))
    kinds = (*TYPES, *KINDS, "real", "int16", "int16 real")
    for turn, ((rows, columns), kind) in enumerate(product(shapes, kinds)):
        if isinstance(kind, tuple):
            layer = fully_connected(
                rows, columns, *kind, bias_shift=turn % 5, out_shift=turn % 14, extreme=turn % 9 == 0,
                activation="relu" if turn % 2 else None,
            )  # fmt: skip
        else:
            name, is_wide = kind if kind in KINDS else "common", kind.startswith("int16")
            layer = weighted("fully_connected", (columns,), kind=name, out_channels=rows, wide=is_wide)
            if kind.endswith("real"):
                reals = FAR[-rows:] if rows < len(FAR) else (0.00123,)
                scheme = replace(layer.scheme, rounding="float", reals=reals, multiplier=(0,), shift=(0,))
                layer = replace(layer, scheme=scheme)
        (variant,) = helium_variants("fully_connected", layer.type.twin)
        found.append(Case(layer, variant, input_offset=(None, 1, 2, 3)[turn % 4], output_offset=(None, 3)[turn % 2]))
    return [*found, *long_sums()]


def long_sums() -> list[Case]:
    """Of 16 bits: as many products as 32 bits hold whatever they are, and more, all of them the largest."""
    (variant,) = helium_variants("fully_connected", "q15")
    found = []
    for at, (columns, kind) in enumerate(product((504, 505, 1100), ("common", "halves", "weak", "left16"))):
        layer = weighted("fully_connected", (columns,), kind=kind, out_channels=6, wide=True)
        assert layer.weights is not None
        weights = layer.weights.copy()
        weights[1:4] = np.array([[127], [-128], [1]])
        x = np.full(columns, (32767, -32768)[at % 2], np.int16)
        found.append(Case(replace(layer, weights=weights), variant, input=x))
        found.append(Case(layer, variant, output_offset=(None, 3)[at % 2]))
    return found


@pytest.mark.emulated
def test_vectors_equal_the_definition(helium_build: Build, full: bool) -> None:
    assert_kernel(helium_build, sample(vectors(), helium_build, full, most=16))


@pytest.mark.emulated
@pytest.mark.parametrize("compiler", compilers())
def test_vectors_need_no_optimisation(compiler: str) -> None:
    """Of int16 sums take two registers each: the most that the assembly asks for."""
    found = [case for case in vectors() if case.layer.dtype == "int16"]
    assert_kernel(Build("cortex-m55", compiler, "-O0", 0), found[::6])


@pytest.mark.parametrize(
    ("macro", "value", "message"),
    [
        ("SCRATCH_BYTES", 32, "helium_scratch"),
        ("TILE", 2, "TILE: legal values with CXN_INNER_HELIUM"),
        *((knob, 2, "UNROLL, BLOCK_ROWS, BLOCK_COLS: legal") for knob in ("UNROLL", "BLOCK_ROWS", "BLOCK_COLS")),
    ],
)
def test_vectors_take_their_knobs_and_scratch_alone(tmp_path: Path, macro: str, value: int, message: str) -> None:
    layer, source = fully_connected(5, 20), tmp_path / "case.c"
    (variant,) = helium_variants("fully_connected", "q7")
    source.write_text(c_source([Case(layer, variant, macros={macro: value})]))
    with pytest.raises(ToolchainError, match=message):
        find_toolchain("clang").compile(source, tmp_path / "case.o", "cortex-m55", cflags=["-O1"], include=[INCLUDE])


def test_columns_go_in_parts_of_vectors() -> None:
    """Two parts of four vectors each; of a part row after row, zeros behind the last column."""
    layer = fully_connected(2, 125)
    (variant,) = helium_variants("fully_connected", "q7")
    packed = pack_device_weights(layer, variant).reshape(2, 2, 64)
    filled = np.pad(layer.weights, ((0, 0), (0, 3)))
    assert np.array_equal(packed[0], filled[:, :64])
    assert np.array_equal(packed[1], filled[:, 64:])


def test_every_variant_equals_the_definition(build: Build, full: bool) -> None:
    assert_kernel(build, sample(cases(dsp=build.dsp, turns=4 if full else 1), build, full, most=14))


def test_sums_at_the_limit_of_the_paired_rows(build: Build, full: bool) -> None:
    assert_kernel(build, sample(extremes(dsp=build.dsp), build, full, most=4))


def test_an_image_is_flattened(build: Build) -> None:
    layer = make_layer("fully_connected", (3, 4, 5), out_channels=4, out_shift=6)
    assert_kernel(build, [Case(layer, Variant(4, 4, 2, 2, lowering="direct"))])


@pytest.mark.full
def test_host_build_is_clean_under_sanitizers(full: bool) -> None:
    compiler = host_compiler()
    chosen = cases(dsp=True) + extremes(dsp=True)
    check_on_host(chosen if full else chosen[::12], compiler)


@pytest.mark.parametrize(
    ("rows", "block_rows", "expected"), [(10, 4, [4, 4, 2]), (7, 4, [4, 2, 1]), (5, 2, [2, 2, 1]), (2, 1, [1, 1])]
)
def test_rows_left_over_go_in_smaller_blocks(rows: int, block_rows: int, expected: list[int]) -> None:
    assert row_blocks(rows, block_rows) == expected


@pytest.mark.parametrize("dtype", ["q7", "q15"])
def test_paired_rows_are_packed_as_documented(dtype: str) -> None:
    layer = fully_connected(2, 4, dtype, "q7")
    layer.weights[:] = [[1, 2, 3, 4], [-5, -6, -7, -8]]
    packed = pack_device_weights(layer, Variant(1, 2, 1, 1, lowering="direct", weight_layout="interleaved"))
    if dtype == "q7":
        halves = packed.view(np.int16)
        assert halves.tolist() == [256 * p + q + 128 for p, q in ((1, -5), (3, -7), (2, -6), (4, -8))]
    else:
        assert packed.tolist() == [1, -5, 2, -6, 3, -7, 4, -8]
