# SPDX-License-Identifier: Apache-2.0
"""Counts are what the kernels do: each loop nest of the C source walked here, slowly, its parts counted on the way.

Turns of loops are left out: they are what compilers make of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import chain
from math import prod

import pytest

from cmsisnn_x import Variant
from cmsisnn_x.isa import Features, Isa
from cmsisnn_x.layers import Layer
from helpers.samples import one_in
from tuning.calibrate.grid import grid
from tuning.cost import ops
from tuning.cost.ops.activation import ACTIVATION
from tuning.search.space import search_space
from tuning.target import load_target

LAYERS = grid()
DSP = Features(Isa.DSP)
CORES = ("cortex-m0plus", "cortex-m3", "cortex-m4")
"""One of each set of features; the M7 has assembly of its own, of which the M4's stands for all counts."""


class Seen(Counter[str]):
    """Part -> how often it was met."""

    def memset(self, elements: int, times: int = 1) -> None:
        """Of 16-bit elements."""
        self["zero_lines"] += times * (2 * elements // 16)
        self["zero_bytes"] += times * (2 * elements % 16)

    def widen(self, layer: Layer, features: Features, elements: int, kind: str = "") -> None:
        """element.h: q7 by words of four, q15 by two; single elements, four a turn, without the DSP extension."""
        lanes = 2 if features.isa >= Isa.DSP and layer.dtype == "q15" else 4
        self[f"{kind}words"] += elements // lanes
        self[f"{kind}ragged"] += elements % lanes


def counted(layer: Layer, variant: Variant | None, features: Features) -> dict[str, float]:
    return dict(zip(ops.parts_of(layer), ops.count(layer, [variant], features)[0].tolist(), strict=True))


def whole_and_left(total: int, rows: int, pairs: bool) -> Iterator[tuple[str, int]]:
    """Blocks of rows as convolve_block.h takes them: the name of its kind, and its rows."""
    done = 0
    while done + rows <= total:
        yield "blocks", rows
        done += rows
    while done < total:
        yield "left_blocks", min(2 if pairs else 1, total - done)
        done += 2 if pairs else 1


def is_narrow(layer: Layer) -> bool:
    return (layer.weights_dtype or layer.dtype) == "q7"


# ---------------------------------------------------------------- convolutions


def brute_force(layer: Layer, variant: Variant) -> dict[str, int]:
    """What the im2col convolution does, counted by doing it."""
    (in_h, in_w, channels), (out_h, out_w, out_ch) = layer.image, layer.output_image
    seen = dict.fromkeys(
        ("taps", "zeroed", "segments", "cuts", "outside", "blocks", "left_blocks", "groups", "fills"), 0
    )
    filled = 0
    for y in range(out_h):
        for x in range(out_w):
            top, left = y * layer.stride[0] - layer.padding[0][0], x * layer.stride[1] - layer.padding[1][0]
            for row in range(top, top + layer.kernel[0]):
                inside = (
                    sum(0 <= column < in_w for column in range(left, left + layer.kernel[1])) if 0 <= row < in_h else 0
                )
                kind = "outside" if not 0 <= row < in_h else "segments" if inside == layer.kernel[1] else "cuts"
                seen[kind] += 1
                seen["taps"] += inside * channels
                seen["zeroed"] += (layer.kernel[1] - inside) * channels
            filled += 1
            if filled == variant.im2col_cols or (y, x) == (out_h - 1, out_w - 1):
                columns = -(-filled // variant.block_cols)
                whole, rest = divmod(out_ch, variant.block_rows)
                left_blocks = rest if variant.weight_layout == "plain" else -(-rest // 2)
                seen["blocks"] += whole * columns
                seen["left_blocks"] += left_blocks * columns
                seen["groups"] += whole + left_blocks
                seen["fills"] += 1
                filled = 0
    return seen


@pytest.mark.parametrize(
    "layer", [layer for layer in LAYERS if layer.op == "conv2d" and layer.dtype == "q7"], ids=lambda layer: layer.name
)
def test_counts_of_im2col_are_what_the_kernel_does(layer: Layer) -> None:
    columns = [v for v in search_space(layer, load_target("cortex-m4")) if v.lowering == "im2col"]
    chosen = [v for v in columns if v.column_layout != "paired"][::13]
    names = list(ops.parts_of(layer))
    for variant, counts in zip(chosen, ops.count(layer, chosen, DSP), strict=True):
        counted = dict(zip(names, counts, strict=True))
        expected = brute_force(layer, variant)
        # Interleaved columns that words do not fill take pairs.
        woven = variant.column_layout == "interleaved" and layer.image[2] % 4
        copied = sum(4 * counted[f"{kind}words"] for kind in ("", "cut_"))
        copied += sum((2 if woven else 1) * counted[f"{kind}ragged"] for kind in ("", "cut_"))
        assert copied == expected.pop("taps")
        assert 16 * counted["zero_lines"] + counted["zero_bytes"] == 2 * expected.pop("zeroed")
        for name, count in expected.items():
            assert counted[name] == count, (name, variant)


def _dot(seen: Seen, layer: Layer, variant: Variant, features: Features, run: int) -> None:
    """dot_block.h over one run; blocks of any kind together, as `passes` and `ends`."""
    wide = variant.lowering != "direct" or layer.dtype == "q15"
    plain = variant.weight_layout == "plain" and variant.lowering != "winograd"
    step = 4 if features.isa >= Isa.DSP and is_narrow(layer) and wide and plain else 2
    while run >= step:
        seen["passes"] += 1
        run -= step
    seen["ends"] += run
    seen["runs"] += 1


def packed(layer: Layer, variant: Variant, features: Features) -> Seen:
    """convolve_packed.h: three windows at a time, kernel rows that the image cuts tap by tap."""
    (in_h, in_w, channels), (out_h, out_w, out_ch) = layer.image, layer.output_image
    (kernel_h, kernel_w), (top, _), (left, _) = layer.kernel, *layer.padding
    column = kernel_h * kernel_w * channels
    seen, pixel = Seen(calls=1), 0
    while pixel < out_h * out_w:
        pixel = min(pixel, out_h * out_w - 3)
        places = [divmod(pixel + at, out_w) for at in range(3)]
        for m in range(kernel_h):
            cut = False
            for y, x in places:
                begin = x * layer.stride[1] - left
                inside = 0 <= y * layer.stride[0] - top + m < in_h
                cut |= inside and not 0 <= begin <= in_w - kernel_w
            seen["cuts" if cut else "segments"] += kernel_w if cut else 1
        seen["ragged"] += column
        seen["pixels"] += 3
        seen["fills"] += 1
        for kind, rows in whole_and_left(out_ch, 2, pairs=True):
            seen[kind] += 1
            run = column + column % 2
            while run:
                _dot(seen, layer, variant, features, min(run, 64))
                run -= min(run, 64)
            seen["stores"] += rows * 3
        pixel += 3
    return seen


def paired(layer: Layer, variant: Variant, features: Features) -> Seen:
    """convolve_paired.h: two windows at a time, the last perhaps with itself; the last pixels by themselves."""
    (in_h, in_w, channels), (out_h, out_w, out_ch) = layer.image, layer.output_image
    (kernel_h, kernel_w), (top, _), (left, _) = layer.kernel, *layer.padding
    pixels, held, run = out_h * out_w, variant.im2col_cols, kernel_w * channels
    seen = Seen(calls=1, pixels=pixels)
    lefts = [x * layer.stride[1] - left for x in range(out_w)]
    in_words = run == 4 and in_w >= kernel_w and all(-kernel_w < begin < in_w for begin in lefts)
    for y in range(out_h):
        for begin in lefts:
            for m in range(kernel_h):
                inside = 0 <= y * layer.stride[0] - top + m < in_h
                seen["outside"] += not inside
                seen["cuts"] += inside and not in_words and not 0 <= begin <= in_w - kernel_w
    seen["cut_ragged"] = seen["cuts"] * run
    for pixel in range(0, pixels, held):
        count = min(held, pixels - pixel)
        seen["fills"] += 1
        for _ in range(0, count, 2):
            seen["segments"] += kernel_h
            seen["words"] += kernel_h * run // 4
        for blocks, kind in ((count // 4, ""), (int(count % 4 > 0), "left_" if count % 4 in (1, 2) else "")):
            seen["groups"] += out_ch // 2 * (blocks > 0)
            for _ in range(blocks * (out_ch // 2)):
                seen[f"{kind}blocks"] += 1
                _dot(seen, layer, variant, features, kernel_h * run)
                seen["runs"] -= kind == "left_"
                seen["stores"] += 4 if kind else 8
        seen["partial"] += count % 4 > 0
    return seen


def lines(layer: Layer, variant: Variant, features: Features) -> Seen:
    """convolve_rows.h: a ring of lines, or the input itself."""
    (in_h, in_w, channels), (out_h, out_w, out_ch) = layer.image, layer.output_image
    (kernel_h, kernel_w), (stride_y, stride_x) = layer.kernel, layer.stride
    (top, _), (left, _) = layer.padding
    span, seen, next_row = (out_w - 1) * stride_x + kernel_w, Seen(calls=1), -top
    for y in range(out_h):
        seen["rows"] += 1
        seen["fills"] += 1
        first = y * stride_y - top
        while variant.lowering == "line_buffer" and next_row < first + kernel_h:
            if next_row >= first and not 0 <= next_row < in_h:
                seen["outside"] += 1
                seen.memset(span * channels + span * channels % 2)
            elif next_row >= first:
                inside = sum(0 <= x < in_w for x in range(-left, span - left))
                seen["segments"] += 1
                seen.widen(layer, features, inside * channels)
                for padding in (left, span - left - inside):
                    seen["cuts"] += padding > 0
                    seen.memset(padding * channels)
            next_row += 1
        for kind, rows in whole_and_left(out_ch, variant.block_rows, variant.weight_layout != "plain"):
            seen["groups"] += 1
            x = 0
            while x < out_w:
                if x > out_w - variant.block_cols:  # the last block moves left
                    seen["partial"] += 1
                    x = out_w - variant.block_cols
                seen[kind] += 1
                for _ in range(kernel_h):
                    _dot(seen, layer, variant, features, kernel_w * channels)
                seen["stores"] += rows * variant.block_cols
                x += variant.block_cols
    return seen


def winograd(layer: Layer, variant: Variant, features: Features) -> Seen:
    """convolve_winograd.h: a strip of tiles, transformed, then all its products."""
    (in_h, in_w, channels), (out_h, out_w, out_ch) = layer.image, layer.output_image
    (kernel_h, kernel_w), (top, _), (left, _) = layer.kernel, *layer.padding
    points, height = variant.tile + kernel_w - 1, (out_h - 1) * layer.stride[0] + kernel_h
    groups = range(0, channels, 4 if channels % 4 == 0 else 1)
    seen = Seen(calls=1)
    for x in range(0, out_w, variant.tile):
        seen["fills"] += 1
        for row in range(height):
            seen["rows"] += 1
            if 0 <= row - top < in_h:
                clipped = x - left < 0 or x - left > in_w - points
                seen["segments"] += 1
                seen["cuts"] += clipped
                for _ in groups:
                    seen["clipped groups" if clipped else "whole groups"] += 1
            else:
                seen["outside"] += 1
                if x == 0:
                    seen.memset(channels, points)
        for kind, rows in whole_and_left(out_ch, variant.block_rows, pairs=True):
            if variant.weight_layout == "plain":
                for _ in range((variant.block_rows if kind == "blocks" else 2) * kernel_h):
                    seen["packs"] += 1
                    seen["transformed"] += len(groups)
            seen["groups"] += 1
            y = 0
            while y < out_h:
                if y > out_h - variant.block_cols:
                    seen["partial"] += 1
                    y = out_h - variant.block_cols
                seen[kind] += 1
                for _ in range(points):
                    run = kernel_h * channels
                    _dot(seen, layer, variant, features, run + run % 2)
                seen["stores"] += rows * variant.block_cols
                y += variant.block_cols
    return seen


def winograd_2d(layer: Layer, variant: Variant, features: Features) -> Seen:
    """convolve_winograd_2d.h: the tiles of a block, transformed, then all their products and outputs."""
    (out_h, out_w, out_ch), channels, kernel = layer.output_image, layer.image[2], layer.kernel[0]
    high, runs = (4, [channels] * 36) if kernel == 3 else (2, [channels] * 56)
    if kernel == 5 and variant.block_rows * variant.block_cols == 8:
        runs = [2 * channels] * 24 + [channels] * 8
    tiles = [(y, x) for x in range(0, out_w, 4) for y in range(0, out_h, high)]
    seen = Seen(calls=1)
    for first in range(0, len(tiles), variant.block_cols):
        block = tiles[first : first + variant.block_cols]
        seen["fills"] += 1
        for at, (y, x) in enumerate(block):
            below = at > 0 and block[at - 1] == (y - high, x)
            fresh = high if below else high + kernel - 1
            seen["segments"] += fresh
            seen["rows"] += fresh * channels // 4
            seen["words"] += channels // 4
        for kind, rows in whole_and_left(out_ch, variant.block_rows, pairs=True):
            seen[kind] += 1
            for run in runs:
                _dot(seen, layer, variant, features, run)
            for y, x in block:
                seen["groups"] += rows
                seen["stores"] += rows * min(high, out_h - y) * min(4, out_w - x)
    return seen


def _check_convolution(layer: Layer, variant: Variant, features: Features, expected: Seen) -> None:
    found = counted(layer, variant, features)
    passes = [f"{left}{straight}steps" for left in ("", "left_") for straight in ("", "straight_")]
    assert sum(found[part] for part in passes) == expected.pop("passes", 0), variant
    assert found["singles"] + found["left_singles"] == expected.pop("ends", 0), variant
    for part, count in expected.items():
        assert found[part] == count, (part, variant)


def _spread(kind: Callable[[Variant], bool], op: str, core: str, every: int) -> Iterator[tuple[Layer, Variant]]:
    """Some variants of all layers of an operation, others for each."""
    target = load_target(core)
    for number, layer in enumerate(layer for layer in LAYERS if layer.op == op and layer.macs < 60_000):
        chosen = [v for v in search_space(layer, target) if kind(v)]
        yield from ((layer, variant) for variant in chosen[number % every :: every])


@pytest.mark.parametrize("core", one_in(2, CORES))
def test_counts_of_lines_are_what_the_kernel_does(core: str) -> None:
    features, met = load_target(core).features, 0
    for layer, variant in _spread(lambda v: v.lowering in ("line_buffer", "direct"), "conv2d", core, 23):
        _check_convolution(layer, variant, features, lines(layer, variant, features))
        met += 1
    assert met > 100


@pytest.mark.parametrize("core", ["cortex-m3", "cortex-m0plus"])
def test_counts_of_packed_columns_are_what_the_kernel_does(core: str) -> None:
    features, met = load_target(core).features, 0
    for layer, variant in _spread(lambda v: v.column_layout == "packed", "conv2d", core, 1):
        _check_convolution(layer, variant, features, packed(layer, variant, features))
        met += 1
    assert met > 20


def test_counts_of_paired_columns_are_what_the_kernel_does() -> None:
    features, met = load_target("cortex-m4").features, 0
    for layer, variant in _spread(lambda v: v.column_layout == "paired", "conv2d", "cortex-m4", 1):
        _check_convolution(layer, variant, features, paired(layer, variant, features))
        met += 1
    assert met > 100


@pytest.mark.parametrize("core", one_in(2, CORES))
def test_counts_of_winograd_are_what_the_kernel_does(core: str) -> None:
    features, met = load_target(core).features, 0
    for layer, variant in _spread(lambda v: v.lowering == "winograd", "conv2d", core, 5):
        expected = winograd(layer, variant, features)
        found = counted(layer, variant, features)
        clipped, whole = expected.pop("clipped groups", 0), expected.pop("whole groups", 0)
        assert found["cut_words"] + found["cut_ragged"] == clipped
        assert found["words"] + found["ragged"] + found["inside_ragged"] == whole
        _check_convolution(layer, variant, features, expected)
        met += 1
    assert met > 20


@pytest.mark.parametrize("core", one_in(2, CORES))
def test_counts_of_winograd_in_both_directions_are_what_the_kernel_does(core: str) -> None:
    features, met = load_target(core).features, 0
    for layer, variant in _spread(lambda v: v.lowering == "winograd_2d", "conv2d", core, 1):
        _check_convolution(layer, variant, features, winograd_2d(layer, variant, features))
        met += 1
    assert met > 8


# ---------------------------------------------------------------- depthwise convolutions


def depthwise_im2col(layer: Layer, variant: Variant, features: Features) -> Seen:
    """depthwise_im2col.h."""
    (in_h, in_w, channels), (out_h, out_w, _) = layer.image, layer.output_image
    (kernel_h, kernel_w), (stride_y, stride_x) = layer.kernel, layer.stride
    (top, _), (left, _) = layer.padding
    seen, filled = Seen(calls=1), 0
    for y in range(out_h):
        seen["rows"] += 1
        for x in range(out_w):
            seen["pixels"] += 1
            for row in range(y * stride_y - top, y * stride_y - top + kernel_h):
                for column in range(x * stride_x - left, x * stride_x - left + kernel_w):
                    if 0 <= row < in_h and 0 <= column < in_w:
                        seen["segments"] += 1
                        seen.widen(layer, features, channels)
                    else:
                        seen["outside"] += 1
                        seen.memset(channels)
            filled += 1
            if filled < variant.im2col_cols and (y, x) != (out_h - 1, out_w - 1):
                seen["not yet"] += 1
                continue
            seen["fills"] += 1
            for pixel in range(0, filled, variant.block_cols):
                seen["groups"] += 1
                for kind, rows in whole_and_left(channels, variant.block_rows, pairs=False):
                    seen[kind] += 1
                    seen["partial"] += filled - pixel < variant.block_cols
                    seen["steps" if kind == "blocks" else "left_steps"] += kernel_h * kernel_w
                    seen["stores"] += rows * min(variant.block_cols, filled - pixel)
            filled = 0
    seen["flushes"] = min(seen["fills"], seen.pop("not yet", 0))
    return seen


def depthwise_lines(layer: Layer, variant: Variant, features: Features) -> Seen:
    """depthwise_lines.h: pairs of channels, pairs of pixels, or strips of one channel, from a ring of lines."""
    (in_h, in_w, channels), (out_h, out_w, _) = layer.image, layer.output_image
    (kernel_h, kernel_w), (stride_y, stride_x) = layer.kernel, layer.stride
    (top, _), (left, _) = layer.padding
    even, span = channels + channels % 2, (out_w - 1) * stride_x + kernel_w
    seen, next_row = Seen(calls=1), -top
    for y in range(out_h):
        seen["rows"] += 1
        seen["fills"] += 1
        first = y * stride_y - top
        while next_row < first + kernel_h:
            if next_row >= first and not 0 <= next_row < in_h:
                seen["outside"] += 1
                seen.memset(span * even)
            elif next_row >= first:
                inside = sum(0 <= x < in_w for x in range(-left, span - left))
                seen.memset(left * even)
                for elements in [inside * channels] if channels == even else [channels] * inside:
                    seen["segments"] += 1
                    seen.widen(layer, features, elements)
                seen.memset((span - left - inside) * even)
            next_row += 1
        for _ in range(channels if variant.block_cols == 4 else 0):
            seen["groups"] += 1
            seen["stores"] += out_w
            count = -(-out_w // 4)
            for strip in range(count):
                pixels = out_w // count + (strip < out_w % count)
                seen["blocks"] += 1
                for _ in range(kernel_h):
                    seen["loads"] += kernel_w + len({p * stride_x + n for p in range(pixels) for n in range(kernel_w)})
                    seen["steps"] += pixels * kernel_w
        for channel in range(0, channels if variant.block_cols == 2 else 0, 2):
            seen["groups"] += 1
            for x in range(0, out_w, 2):
                pixels = min(2, out_w - x)
                seen["blocks" if pixels == 2 else "left_blocks"] += 1
                seen["loads"] += kernel_h
                seen["steps" if pixels == 2 else "left_steps"] += kernel_h * kernel_w
                seen["stores"] += pixels * min(2, channels - channel)
    return seen


def depthwise_rows(layer: Layer, variant: Variant, features: Features) -> Seen:
    """depthwise_rows.h: pairs of rows of a word of channels, woven."""
    (in_h, in_w, channels), (out_h, out_w, _) = layer.image, layer.output_image
    (kernel_h, kernel_w), (stride_y, stride_x) = layer.kernel, layer.stride
    (top, _), (left, _) = layer.padding
    group, cols, unroll = 4 if layer.dtype == "q7" else 2, variant.block_cols, variant.unroll
    span, pairs = (out_w - 1) * stride_x + kernel_w, (kernel_h + cols) // 2
    words = kernel_h - 1 if cols == 2 else pairs
    inside = sum(0 <= x < in_w for x in range(-left, span - left))
    seen = Seen(calls=1, zero_lines=group * span * pairs * 4 // 16)
    asm = variant.inner in ("asm", "asm_dual")
    blocks = -(-out_w // unroll)
    widths = [out_w // blocks + (i < out_w % blocks) for i in range(blocks)] if asm else [unroll] * (out_w // unroll)
    lone = [] if asm else [1] * (out_w % unroll)
    for first in range(0, channels, group):
        seen["rows"] += 1
        taken = min(group, channels - first)
        ring: list[int] = []
        for y in range(0, out_h, cols):
            top_row = min(y, out_h - cols) * stride_y - top
            window = [top_row + 2 * pair for pair in range(pairs)]
            # What is kept lies in the window from its first pair on: the last rows of an odd number do not.
            ring = ring if y + cols <= out_h else []
            seen["fills"] += 1
            for row in window:
                if row in ring:
                    continue
                seen["segments"] += 1
                seen["outside"] += not (0 <= row < in_h and 0 <= row + 1 < in_h)
                seen["words" if taken == group else "ragged"] += inside * (1 if taken == group else taken)
            ring = window
            for _ in range(taken):
                seen["channels"] += 1
                seen["reloads" if asm else "taps"] += kernel_w * words * (blocks if asm else 1)
                for pixels, kind in [*((width, "") for width in widths), *((1, "left_") for _ in lone)]:
                    seen[f"{kind}blocks"] += 1
                    for column in range((pixels - 1) * stride_x + kernel_w):
                        seen[f"{kind}loads"] += pairs
                        used = sum(0 <= column - u * stride_x < kernel_w for u in range(pixels))
                        seen[f"{kind}steps"] += pairs * used * cols
                    seen["stores"] += pixels * cols
    return seen


@pytest.mark.parametrize("core", one_in(2, CORES))
def test_counts_of_depthwise_convolutions_are_what_the_kernels_do(core: str) -> None:
    features, met = load_target(core).features, Counter[str]()
    few = _spread(lambda v: v.lowering == "line_buffer", "depthwise_conv2d", core, 2)
    many = _spread(lambda v: v.lowering == "im2col", "depthwise_conv2d", core, 17)
    for layer, variant in chain(few, many):
        walk = depthwise_im2col
        if variant.lowering == "line_buffer":
            walk = depthwise_lines if variant.block_rows == 2 else depthwise_rows
        found = counted(layer, variant, features)
        for part, count in walk(layer, variant, features).items():
            assert found[part] == count, (part, layer.name, variant)
        met[walk.__name__] += 1
    assert set(met) == {"depthwise_im2col", "depthwise_rows" if features.isa >= Isa.DSP else "depthwise_lines"}
    assert min(met.values()) > 10


# ---------------------------------------------------------------- fully connected


def dense(layer: Layer, variant: Variant, features: Features) -> Seen:
    """fully_connected.h."""
    size, out, unroll = prod(layer.input_shape), prod(layer.output_shape), variant.unroll
    plain = variant.weight_layout == "plain"
    paired = variant.weight_layout == "interleaved" and layer.dtype == "q7" and is_narrow(layer)
    paired = paired and variant.block_rows > 1 and out > 1
    by_element = plain and features.isa < Isa.DSP
    steps, tail = divmod(size, 4)
    seen = Seen(calls=1)
    if variant.weight_layout == "coupled":
        return coupled(size, out, 2 * unroll)
    if paired:
        seen["excess"] += steps + tail
    if variant.lowering == "im2col" and layer.dtype == "q7":
        seen["words"] += steps
        seen["ragged"] += tail if by_element else 0
    row = 0
    while row < out:
        rows = next(rows for rows in (4, 2, 1) if rows <= variant.block_rows and row + rows <= out)
        kind = "" if rows == variant.block_rows else "pair_" if rows == 2 else "last_"
        seen[f"{kind}blocks"] += 1
        row += rows
        if by_element:
            seen[f"{kind}steps"] += size
            continue
        left = steps // unroll * unroll
        while True:
            taken = min(left, 120) if paired and rows > 1 else left
            seen[f"{kind}steps"] += taken
            seen[f"{kind}turns"] += taken // unroll
            left -= taken
            seen["cuts"] += paired and rows > 1
            if left == 0:
                break
        seen[f"{kind}steps"] += steps % unroll
        seen["rest"] += steps % unroll
        if tail and plain:
            seen["singles"] += rows * tail
        elif tail:
            seen[f"{kind}steps"] += 1
            seen["singles"] += 1  # the elements of the last step, put together once per block
    return seen


def coupled(size: int, out: int, turn: int) -> Seen:
    """fully_connected_coupled.h: `turn` steps in one of the loop."""
    seen = Seen(calls=1, words=size // 4, ragged=size % 4)
    row = 0
    while row < out:
        seen["blocks"] += 1
        row += 5
        steps = -(-size // 4)
        seen["steps"] += steps
        seen["turns"] += steps // turn if steps >= 2 * turn else 0
    return seen


@pytest.mark.parametrize("core", one_in(2, CORES))
def test_counts_of_fully_connected_layers_are_what_the_kernel_does(core: str) -> None:
    features, met = load_target(core).features, 0
    for layer, variant in _spread(lambda v: True, "fully_connected", core, 5):
        if ops.as_compiled(layer, variant) != variant:
            continue  # another variant's code
        found = counted(layer, variant, features)
        for part, count in dense(layer, variant, features).items():
            assert found[part] == count, (part, layer.name, variant)
        met += 1
    assert met > 100


# ---------------------------------------------------------------- pooling and activations


def pool(layer: Layer, features: Features) -> Seen:
    """pool.h: windows of up to 4x4 slide, with one that is clipped at either end; all others are walked, those as wide
    as the image by four elements a turn.
    """
    (in_h, in_w, channels), (out_h, out_w, _) = layer.image, layer.output_image
    (kernel_h, kernel_w), (stride_y, stride_x) = layer.kernel, layer.stride
    (top, _), (left, _) = layer.padding
    lanes = 4 // layer.numpy_dtype.itemsize
    packed = layer.op == "max_pool2d" or (layer.dtype == "q7" and min(kernel_h, in_h) * min(kernel_w, in_w) <= 256)
    words = packed and (features.unaligned or channels % lanes == 0) and channels >= lanes
    groups = len(range(0, channels, lanes)) if words else channels

    def columns(x: int) -> list[int]:
        return [c for c in range(x * stride_x - left, x * stride_x - left + kernel_w) if 0 <= c < in_w]

    whole = [x for x in range(out_w) if len(columns(x)) == kernel_w]
    sliding = whole if kernel_h <= 4 and kernel_w <= 4 else []
    edges = [x for x in (sliding[0] - 1, sliding[-1] + 1) if 0 <= x < out_w] if sliding else []
    in_turns = not sliding and kernel_w == in_w > 3 and kernel_h > 1 and (out_h - 1) * stride_y + kernel_h <= in_h
    seen = Seen(calls=1)
    for y in range(out_h):
        seen["rows"] += 1
        rows = [r for r in range(y * stride_y - top, y * stride_y - top + kernel_h) if 0 <= r < in_h]
        seen["clipped"] += bool(sliding) and len(rows) < kernel_h
        for x in range(out_w):
            seen["singles"] += x not in (*sliding, *edges)
        for _ in range(groups):
            seen["strips"] += bool(sliding)
            known: list[int] = []  # columns in registers
            for x in range(out_w):
                seen["averages"] += (layer.op == "avg_pool2d") * (lanes if words else 1)
                if x in (*sliding, *edges):
                    seen["outputs"] += 1
                    seen["edges"] += x in edges
                    # The window on the left keeps nothing: its columns are read again.
                    fresh = [c for c in columns(x) if c not in known]
                    known = columns(x) if x in sliding else []
                    seen["columns"] += len(fresh)
                    seen["elements"] += len(rows) * len(fresh)
                    # On the right the model counts the columns that are read there: fits were made with it.
                    right = x in edges and x > sliding[-1]
                    seen["joins"] += len(fresh) if right else len(columns(x)) - 1
                elif in_turns and len(whole) == out_w and top == 0:
                    seen["windows"] += 1
                    seen["taps"] += (kernel_h * kernel_w - 1) % 4
                    seen["elements"] += (kernel_h * kernel_w - 1) // 4 * 4
                else:
                    seen["windows"] += 1
                    seen["lines"] += len(rows)
                    seen["taps"] += len(rows) * len(columns(x))
    return seen


@pytest.mark.parametrize("core", one_in(2, CORES))
@pytest.mark.parametrize("op", ["max_pool2d", "avg_pool2d"])
def test_counts_of_poolings_are_what_the_kernels_do(op: str, core: str) -> None:
    features = load_target(core).features
    for layer in [layer for layer in LAYERS if layer.op == op]:
        found = counted(layer, None, features)
        for part, count in pool(layer, features).items():
            assert found[part] == count, (part, layer)


def test_counts_of_activations_are_elements_and_words_of_relu() -> None:
    for layer in [layer for layer in LAYERS if ops.cost_of(layer) is ACTIVATION]:
        found, size = counted(layer, None, DSP), prod(layer.input_shape)
        lanes = (4 if layer.dtype == "q7" else 2) if layer.op == "relu" else 1
        assert found["elements"] * lanes + found["rest"] == size
        assert found["rest"] < lanes
        assert found["calls"] == 1


def test_every_operation_of_the_grid_is_walked_here() -> None:
    walked = {"convolve", "depthwise_convolve", "fully_connected", "max_pool", "avg_pool"}
    assert {layer.python_op for layer in LAYERS if ops.cost_of(layer) is not ACTIVATION} == walked
