# SPDX-License-Identifier: Apache-2.0
"""Depthwise convolution: its row, its device kernels, what they ask of a layer, and their scratch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from math import prod
from typing import Any

import numpy as np

from ..affine import Affine
from ..channels import channels_of
from ..isa import Isa
from ..layers import Layer
from ..op import Case, Op, Shape
from ..packing import STORES_REACH, Words, pack_depthwise, pack_device_weights, words_of, words_of_rows
from ..variant import BASELINE, BLOCKS, Family, Variant
from ._shared import (
    AFFINE_WEIGHTS,
    SCHEDULES,
    SINGLE,
    WEIGHTS_ALIKE,
    append_windows,
    columns,
    cores_of,
    nothing,
    round_up_even,
    scratch_of,
    starts_inside,
    window_macros,
    windows,
)


def _families() -> Iterator[Family]:
    for dtype, layout in (("q7", "widened"), ("q15", "interleaved")):
        row = partial(Family, dtype, (1, 2, 4))
        yield row(BLOCKS, "any shape on any core: the paper's knobs, the least flash", im2col_cols=(1, 2, 4))
        yield row(
            ((1, 1), (1, 2)), "M4, M7 and M33: 1x2 at stride 1 with an odd kernel height, 1x1 otherwise",
            lowering="line_buffer", weight_layout=layout, least=Isa.DSP,
        )  # fmt: skip
        yield Family(
            dtype, (2, 4), ((1, 1), (1, 2)), f"instruction caches of 1 KB, lines up to 16 wide, on {cores_of(SINGLE)}",
            lowering="line_buffer", weight_layout=layout, inner="c_rolled", least=Isa.DSP, schedules=SINGLE,
        )  # fmt: skip
        lines = partial(
            Family, dtype, (4,), ((2, 2),), lowering="line_buffer", weight_layout=layout, most=Isa.SCALAR
        )  # fmt: skip
        yield lines("M3, kernels not 3 wide; kernels higher or wider than 7 on M0+")
        yield replace(lines("M3, kernels 3 wide", inner="asm", schedules=("v7m",)), blocks=((2, 4),))
        yield lines("M0+", inner="asm", schedules=("v6m",))
    for inner, schedules in SCHEDULES:
        yield Family(
            "q7", (4,), ((1, 1), (1, 2)), f"3x3 on {cores_of(schedules)}: 1x2 at stride 1, 1x1 at stride 2",
            lowering="line_buffer", weight_layout="widened", inner=inner, least=Isa.DSP, schedules=schedules,
        )  # fmt: skip
        yield Family(
            "q7", (4,), ((1, 1),), f"3x3 on {cores_of(schedules)}: without scratch",
            lowering="direct", weight_layout="widened", inner=inner, least=Isa.DSP, schedules=schedules,
        )  # fmt: skip
    for dtype in ("q7", "q15"):
        yield Family(
            dtype, (1, 4, 8), ((1, 1),), "Helium: more rows at a time for narrow images, fewer for little scratch",
            lowering="line_buffer", weight_layout="lanes", inner="helium", least=Isa.HELIUM,
        )  # fmt: skip


def _plain_windows(layer: Layer, variant: Variant) -> str | None:
    """Dilated windows need `lowering: im2col`."""
    if layer.dilation == (1, 1) or variant.lowering == "im2col":
        return None
    return f"dilated windows need lowering 'im2col', got {variant.lowering!r} with dilation {layer.dilation}"


def _wide_accumulator(layer: Layer, variant: Variant) -> str | None:
    """int16 activations need the baseline or `inner: helium`, whose accumulators have 64 bits."""
    if layer.dtype != "int16" or variant == BASELINE or variant.inner == "helium":
        return None
    return f"int16 activations need the variant {BASELINE} or inner 'helium', got {variant}"


def _in_words(layer: Layer, variant: Variant) -> str | None:
    """`inner: helium` takes windows of 32 words, four rows of a column or two of 16 bits; strides along x of 7 words,
    15 of 16 bits; 2047 channels in windows up to 3x3 at stride 1, 1023 in others, 511 of 16 bits; factors of 31 bits.
    """
    if variant.inner != "helium":
        return None
    words = words_of(layer)
    is_real = layer.dtype == "int8" and isinstance(layer.scheme, Affine) and layer.scheme.rounding == "float"
    if words.line is not None and not is_real:
        return None
    group = (2 if words.is_paired else 4) * (4 // words.rows)
    channels, stride, most = layer.output_image[2], words.planes * layer.stride[1], 31 // words.rows
    if words.window <= 32 and stride <= most and group * channels <= STORES_REACH and not is_real:
        return None
    return (
        f"inner 'helium' takes windows of up to 32 words, strides of up to {most}, {STORES_REACH // group} channels "
        f"and factors of 31 bits; got {words.window}, {stride}, {channels}" + " and 53 bits" * is_real
    )


def _small_kernel(layer: Layer, variant: Variant) -> str | None:
    """`inner: asm` takes kernels up to 7x7."""
    if variant.inner != "asm" or variant.block_rows == 1 or max(layer.kernel) <= 7:
        return None
    return f"inner 'asm' takes kernels up to 7x7, got {layer.kernel}"


def _three_wide(layer: Layer, variant: Variant) -> str | None:
    """`lowering: line_buffer` in blocks of 2x4 needs a kernel 3 wide at stride 1 or 2 along x, and four pixels within
    reach of a load's 12-bit offset.
    """
    if variant.lowering != "line_buffer" or variant.block_cols != 4:
        return None
    width, stride_x = layer.kernel[1], layer.stride[1]
    if width == 3 and stride_x <= 2 and (3 * stride_x + 2) * round_up_even(layer.image[2]) * 2 <= 4095:
        return None
    got = f"width {width}, stride {stride_x}, {layer.image[2]} channels"
    return f"block_cols 4 needs kernels 3 wide at stride 1 or 2 and few enough channels; got {got}"


def _three_by_three(layer: Layer, variant: Variant) -> str | None:
    """`lowering: line_buffer` with `inner: asm` or `asm_dual` in blocks of one channel takes kernels of 3x3, with
    stride 1 along x in blocks of 1x2 and 2 in blocks of 1x1, and rows of outputs that stores reach.
    """
    is_woven = variant.lowering == "line_buffer" and variant.inner in ("asm", "asm_dual")
    if not is_woven or variant.block_rows != 1:
        return None
    cols, (_, width, channels) = variant.block_cols, layer.output_image
    if layer.kernel == (3, 3) and layer.stride[1] == 3 - cols and ((cols - 1) * width + 4) * channels <= STORES_REACH:
        return None
    return (
        f"assembly in blocks of 1x{cols} takes 3x3 with stride {3 - cols} along x and rows of up to {STORES_REACH} "
        f"bytes, got {layer.kernel} with stride {layer.stride[1]} and {width} x {channels} outputs"
    )


def _pairs_of_rows(layer: Layer, variant: Variant) -> str | None:
    """`lowering: line_buffer` in blocks of 1x2 needs stride 1 along y, an odd kernel height from 3 on and two output
    rows.
    """
    if variant.lowering != "line_buffer" or (variant.block_rows, variant.block_cols) != (1, 2):
        return None
    kernel_h, stride_y, out_h = layer.kernel[0], layer.stride[0], layer.output_image[0]
    if stride_y == 1 and kernel_h % 2 == 1 and kernel_h != 1 and out_h >= 2:
        return None
    got = f"stride {stride_y}, height {kernel_h}, {out_h} rows"
    return f"block_cols 2 needs stride 1 along y, an odd kernel height from 3 on and two output rows; got {got}"


def _windows_in_reach(layer: Layer, variant: Variant) -> str | None:
    """`lowering: direct` takes 3x3 with stride 1 or 2 along x, windows that reach over the image by one row and column
    at most, and rows of the input of which an offset of 12 bits reaches the third.
    """
    if variant.lowering != "direct":
        return None
    (height, width, channels), outputs = layer.image, layer.output_image
    over = [
        max(before, (count - 1) * stride + size - before - side)
        for before, count, stride, size, side in zip(
            (pads[0] for pads in layer.padding), outputs[:2], layer.stride, layer.kernel, (height, width), strict=True
        )
    ]
    in_reach = 2 * width * channels <= STORES_REACH
    if layer.kernel == (3, 3) and layer.stride[1] <= 2 and max(over) <= 1 and height >= 2 and in_reach:
        return None
    return (
        f"lowering 'direct' takes 3x3 with stride 1 or 2 along x, windows that reach over the image by one row and "
        f"column at most, two rows or more and rows of up to {STORES_REACH // 2} bytes; got {layer.kernel} with stride "
        f"{layer.stride[1]}, {max(over)} over and {height} rows of {width} x {channels}"
    )


def _overwrites(layer: Layer, variant: Variant) -> bool:
    """Lines are widened once. Rows are woven in pairs: two of them are left over and read again where a single one is
    computed at a time; an odd last one, of windows of three, is taken from the pairs. With Helium as many rows are kept
    as padding is high, of those that a visit of a channel writes.
    """
    if variant.lowering != "line_buffer" or not starts_inside(layer):
        return False
    if variant.inner == "helium":
        words = words_of(layer)
        return words.line == 1 or layer.padding[0][0] <= visit_of(layer.output_image[0], words, variant)
    if variant.block_rows == 2:
        return True
    is_even = layer.output_image[0] % 2 == 0
    return variant.block_cols == 2 and (is_even or (layer.kernel[0] == 3 and layer.padding[0][0] == 1))


def _least_rows(layer: Layer, variant: Variant | None) -> int:
    knobs = variant or BASELINE
    return 2 if knobs.lowering == "line_buffer" and (knobs.block_rows, knobs.block_cols) == (1, 2) else 1


def _row_step(layer: Layer, variant: Variant | None) -> int:
    is_helium = variant is not None and variant.inner == "helium"
    return 2 if is_helium and words_of(layer).is_paired else _least_rows(layer, variant)


def _overwrites_rows(layer: Layer, variant: Variant | None, band: int) -> bool:
    """Four channels of all rows that an output row needs are woven before it is written, and later ones begin below, if
    it is no longer than a row of the input; or channel by channel a row reads each byte once, no later than an output
    comes there.
    """
    if variant is None or layer.output_type != layer.type or layer.output_image[1] > layer.image[1]:
        return False
    return variant.lowering == "direct" or (variant.lowering == "line_buffer" and variant.block_rows == 1)


def _line_buffer(case: Case, variant: Variant) -> int:
    """Lines as wide as the windows of an output row reach: of all channels, an even number, or, with the DSP extension,
    pairs of rows of one word of channels.
    """
    if variant.inner == "helium":
        return _words(case, variant)
    group = 4 if case.dtype == "q7" else 2
    span = (case.output[1] - 1) * case.stride[1] + case.kernel[1]
    if variant.block_rows == 2:
        return case.kernel[0] * span * round_up_even(case.image[2]) * 2
    return group * span * ((case.kernel[0] + variant.block_cols) // 2) * 4


def visit_of(rows: int, words: Words, variant: Variant) -> int:
    """Output rows that a visit of a channel makes."""
    if words.line is not None:
        return min(4 * variant.unroll, rows)
    high = 2 if words.is_paired else 1
    return min(variant.unroll, -(-rows // high)) * high


def _words(case: Case, variant: Variant) -> int:
    """Words of four rows that a visit of up to 16 channels takes, places of outputs, and rows that outputs may take the
    place of, as high as padding.
    """
    words = words_of(case)
    if words.line == 0:
        return _line(case, words, variant)
    if words.line == 1:  # or a band of one row, whose kernel is that of the whole image
        return max(_line(case, words, variant), _rows(case, words_of_rows(case), variant))
    return _rows(case, words, variant)


def _rows(case: Case, words: Words, variant: Variant) -> int:
    (height, width, channels), (out_h, out_w) = case.image, case.output
    lanes = min(channels, 16) if words.planes == 1 and words.rows == 4 else 4 * words.rows
    if words.is_paired:
        columns = max(out_w, 2) + 2
    else:
        columns = (out_w - 1) * case.stride[1] + -(-words.window // words.planes)
    pitch = columns * words.planes * lanes * 4 + (64 if lanes < 4 * words.rows else 0)
    rows = visit_of(out_h, words, variant) // (2 if words.is_paired else 1)
    inside = max(min(width, (out_w - 1) * case.stride[1] + case.kernel[1] - case.padding[1]), 0)
    turns = inside if lanes == 4 * words.rows else -(-inside * channels // 16)
    is_twice = words.is_paired and out_h % 2 and case.padding[0] < visit_of(out_h, words, variant)
    kept = (case.padding[0] + is_twice) * turns * 16 if (height, width) == case.output else 0
    ahead = 4 if words.is_paired else 3 * case.stride[1] * words.planes + words.window
    return 96 + rows * pitch + ahead * lanes * 4 + kept


def _line(case: Case, words: Words, variant: Variant) -> int:
    """The same along one column or row: the words of whole groups of four outputs, each with those of 16 bytes."""
    axis, channels = words.line, case.image[2]
    assert axis is not None
    is_flat = words.rows == 4 and channels < 16
    visit = visit_of(case.output[0], words, variant) if axis == 0 else case.output[1]
    pixels = (-(-visit // 4) * 4 - 1) * case.stride[axis] + 3 * words.rows + 1
    kept = case.padding[0] if axis == 0 and case.image[0] == case.output[0] else 0
    return 96 + pixels * 4 * (channels if is_flat else 4 * words.rows) + 64 * is_flat + 16 * kept


FOOTPRINTS = {"im2col": columns, "line_buffer": _line_buffer, "direct": nothing}


def _infer(shape: Shape, attributes: Mapping[str, Any]) -> dict[str, Any]:
    return windows("depthwise_conv2d", shape, attributes)


def _constants(layer: Layer) -> dict[str, Shape]:
    return {"weights": (*layer.kernel, layer.image[2]), "bias": (layer.output_image[2],)}


def _operands(layer: Layer, variant: Variant | None) -> dict[str, np.ndarray]:
    """Records as they are: also with Helium a channel comes by itself."""
    return {"weights": pack_device_weights(layer, variant), "channels": channels_of(layer).records}


def _macs(layer: Layer) -> int:
    return layer.samples * prod(layer.output_shape) * prod(layer.kernel)


DEPTHWISE_CONVOLVE = Op(
    "depthwise_convolve",
    "depthwise_conv2d",
    roles=("x", "weights", "bias"),
    types=(*WEIGHTS_ALIKE, *AFFINE_WEIGHTS),
    attributes=("kernel", "stride", "padding"),
    infer=_infer,
    constants=_constants,
    channel_axis=-1,
    macs=_macs,
    device_families=_families,
    constraints=(
        _plain_windows,
        _wide_accumulator,
        _in_words,
        _small_kernel,
        _three_wide,
        _three_by_three,
        _pairs_of_rows,
        _windows_in_reach,
    ),
    overwrites=_overwrites,
    scratch=partial(scratch_of, FOOTPRINTS),
    macros=window_macros,
    operands=_operands,
    pack=pack_depthwise,
    least_rows=_least_rows,
    row_step=_row_step,
    overwrites_rows=_overwrites_rows,
    append=partial(append_windows, depthwise=True),
)
