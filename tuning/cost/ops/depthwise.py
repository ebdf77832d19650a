# SPDX-License-Identifier: Apache-2.0
"""Depthwise convolutions: their parts, how often each runs under each lowering, and what one run costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from cmsisnn_x.isa import Features, Isa
from cmsisnn_x.layers import Layer
from cmsisnn_x.packing import Words, words_of
from cmsisnn_x.variant import Variant

from ..instructions import Cycles, block_ends, element, is_plain
from ..loops import Counts, Knobs, by_lowering, copy_turns, lane_count, lines_needed, loop_turns, taps_inside, zero_runs
from ..op_cost import Effort, OpCost, Timing, Variants

PARTS = {
    "words": "im2col",  # word groups of input elements copied or woven
    "ragged": "im2col",
    "zero_lines": "im2col",
    "zero_bytes": "im2col",
    "segments": "im2col",  # taps copied, or pairs of rows woven
    "copy_turns": "im2col",  # turns of the loops that copy taps
    "outside": "im2col",  # taps, or rows of pairs, outside the image
    "pixels": "im2col",
    "taps": "multiply_accumulate",  # words of weights read ahead
    "reloads": "multiply_accumulate",  # words of weights read again in every block, where its loop is not written out
    "loads": "multiply_accumulate",  # words of input read, or kernel rows begun
    "steps": "multiply_accumulate",  # taps of a block, or multiplications, of pairs or in strips
    "left_steps": "multiply_accumulate",
    "left_loads": "multiply_accumulate",
    "blocks": "requantise",
    "left_blocks": "requantise",
    "stores": "requantise",
    "turns": "loop",
    "left_turns": "loop",
    "channels": "loop",  # channels begun
    "groups": "loop",  # times that a loop over blocks is entered
    "partial": "loop",  # blocks that reach over, or turns that are entered in their midst
    "flushes": "loop",  # or loops of steps, which are left
    "fills": "loop",
    "rows": "loop",
    "calls": "loop",
}

WRITTEN_OUT = 260
"""Loads and products up to which GCC writes a row of depthwise blocks out, of up to 16 blocks; found by trying widths:
behind it the taps no longer stay in registers.
"""


def _im2col(layer: Layer, knob: Knobs, features: Features) -> Counts:
    (in_h, in_w, channels), (out_h, out_w, _) = layer.image, layer.output_image
    (kernel_h, kernel_w), (stride_y, stride_x) = layer.kernel, layer.stride
    in_rows = taps_inside(in_h, out_h, kernel_h, stride_y, layer.padding[0][0])
    in_cols = taps_inside(in_w, out_w, kernel_w, stride_x, layer.padding[1][0])
    pixels, taps = out_h * out_w, kernel_h * kernel_w
    inside = int(in_rows.sum() * in_cols.sum())
    outside, lanes = pixels * taps - inside, lane_count(layer, features)
    cols, held, rows, unroll = knob("block_cols"), knob("im2col_cols"), knob("block_rows"), knob("unroll")
    groups = -(-pixels // held)
    last = pixels % held
    columns = pixels // held * (held // cols) + -(-last // cols)
    blocks, left = channels // rows * columns, channels % rows * columns
    turns = loop_turns(np.full_like(unroll, taps), unroll)
    return {
        "words": inside * (channels // lanes),
        "ragged": inside * (channels % lanes),
        **zero_runs(channels * 2, outside),
        "segments": inside,
        "copy_turns": inside * copy_turns(layer, channels, features),
        "outside": outside,
        "pixels": pixels,
        "steps": blocks * taps,
        "left_steps": left * taps,
        "blocks": blocks,
        "left_blocks": left,
        "stores": pixels * channels,
        "turns": blocks * turns,
        "left_turns": left * turns,
        "groups": columns,
        "partial": (last % cols > 0) * (channels // rows + channels % rows),
        "flushes": np.minimum(groups, pixels - groups),
        "fills": groups,
        "rows": out_h,
        "calls": 1,
    }


def _lines(layer: Layer, knob: Knobs, features: Features) -> Counts:
    """Blocks of two channels x two pixels, or strips of one channel, from lines that are copied once."""
    (in_h, in_w, channels), (out_h, out_w, _) = layer.image, layer.output_image
    (kernel_h, kernel_w), (_stride_y, stride_x) = layer.kernel, layer.stride
    left = layer.padding[1][0]
    needed = lines_needed(layer)
    real = sum(0 <= y < in_h for y in needed)
    span = (out_w - 1) * stride_x + kernel_w
    inside = max(min(in_w, span - left), 0)
    even = channels + channels % 2
    copied, runs = (inside * channels, 1) if channels == even else (channels, inside)
    padding = [
        zero_runs(span * even * 2, len(needed) - real),
        zero_runs(left * even * 2, real),
        zero_runs((span - left - inside) * even * 2, real),
    ]
    pairs = channels // 2 + channels % 2
    blocks, singles = out_h * (out_w // 2) * pairs, out_h * (out_w % 2) * pairs
    turns = loop_turns(np.full_like(knob("unroll"), kernel_w), knob("unroll")) * (knob("inner") == "c")
    in_strips = knob("block_cols") == 4
    lines, strips = out_h * channels, -(-out_w // 4)
    # Of a kernel row a strip takes its weights, and the pixels that any of its outputs sees.
    loads = lines * kernel_h * (strips * (2 * kernel_w - stride_x) + out_w * stride_x)
    return {
        "words": copied // 4 * runs * real,
        "ragged": copied % 4 * runs * real,
        "copy_turns": real * runs * copy_turns(layer, copied, features),
        "segments": real * runs,
        "outside": len(needed) - real,
        "zero_lines": sum(item["zero_lines"] for item in padding),
        "zero_bytes": sum(item["zero_bytes"] for item in padding),
        "steps": np.where(in_strips, lines * out_w, blocks) * kernel_h * kernel_w,
        "left_steps": np.where(in_strips, 0, singles) * kernel_h * kernel_w,
        "loads": np.where(in_strips, loads, (blocks + singles) * kernel_h),
        "turns": np.where(in_strips, 0, (blocks + singles) * kernel_h * turns),
        "blocks": np.where(in_strips, lines * strips, blocks),
        "left_blocks": np.where(in_strips, 0, singles),
        "stores": out_h * out_w * channels,
        "groups": np.where(in_strips, lines, out_h * pairs),
        "fills": out_h,
        "rows": out_h,
        "calls": 1,
    }


def _line_buffer(layer: Layer, knob: Knobs, features: Features) -> Counts:
    if features.isa < Isa.DSP:
        return _lines(layer, knob, features)
    (in_h, in_w, channels), (out_h, out_w, _) = layer.image, layer.output_image
    (kernel_h, kernel_w), stride_x, left = layer.kernel, layer.stride[1], layer.padding[1][0]
    cols, unroll = knob("block_cols"), knob("unroll")
    group = 4 if layer.dtype == "q7" else 2
    span = (out_w - 1) * stride_x + kernel_w
    inside = max(min(in_w, span - left), 0)
    pairs = (kernel_h + cols) // 2
    words = np.where(cols == 2, kernel_h - 1, pairs)
    strips = -(-out_h // cols)
    whole, rest = channels // group, channels % group
    asm = np.isin(knob("inner"), ("asm", "asm_dual"))
    # Blocks of `unroll` columns and single ones; in assembly as few as it takes, as wide as each other.
    blocks = np.where(asm, -(-out_w // unroll), out_w // unroll)
    left_blocks = np.where(asm, 0, out_w % unroll)
    columns = strips * channels
    per_row = np.array([2 if each == 2 else 1 for each in cols])
    loads, products = ((unroll - 1) * stride_x + kernel_w) * pairs, unroll * kernel_w * pairs * per_row
    long = ((loads + products) * blocks > WRITTEN_OUT) | (blocks > 16)
    rolled = (blocks > 1) & (long | (knob("inner") == "c_rolled")) & ~asm
    row_loads = np.where(asm, ((out_w - blocks) * stride_x + blocks * kernel_w) * pairs, blocks * loads)
    row_products = np.where(asm, out_w * kernel_w * pairs * per_row, blocks * products)
    reloads = np.where(asm | rolled, blocks, 0) * kernel_w * words
    # Pairs that are woven, and those whose rows both lie outside, or one of them.
    woven, outside = np.zeros_like(cols), np.zeros_like(cols)
    for at, each in enumerate(cols):
        rows = _woven_rows(layer, int(each), int(pairs[at]))
        woven[at], outside[at] = len(rows), sum(not (y >= 0 and y + 1 < in_h) for y in rows)
    return {
        "words": woven * inside * whole,
        "ragged": woven * inside * rest,
        "zero_lines": group * span * pairs * 4 // 16,
        "segments": woven * (whole + (rest > 0)),
        "outside": outside * (whole + (rest > 0)),
        "taps": columns * np.where(asm, 0, kernel_w * words),
        "loads": columns * row_loads,
        "steps": columns * row_products,
        "left_loads": columns * left_blocks * kernel_w * pairs,
        "left_steps": columns * left_blocks * kernel_w * pairs * per_row,
        "blocks": columns * blocks,
        "left_blocks": columns * left_blocks,
        "stores": columns * out_w * cols,
        "turns": columns * np.where(rolled, blocks, 0),
        "reloads": columns * reloads,
        "channels": columns,
        "groups": columns * rolled,
        "fills": strips * (whole + (rest > 0)),
        "rows": whole + (rest > 0),
        "calls": 1,
    }


def _direct(layer: Layer, knob: Knobs, features: Features) -> Counts:
    """Rows of channels, of windows of three input rows or, at the border, of two; steps are outputs."""
    (in_h, in_w, channels), (out_h, out_w, _) = layer.image, layer.output_image
    (stride_y, stride_x), ((top, _), (left, _)) = layer.stride, layer.padding
    border = (top > 0) + ((out_h - 1) * stride_y + 3 - top > in_h)
    right = max((out_w - 1) * stride_x + 3 - left - in_w, 0)
    inner, rows = max(out_h - border, 0) * channels, out_h * channels
    columns = (out_w - 1) * stride_x + 3 - left - right
    # Steps of a row, up to six written out, of more three or four a turn; in the dual order one comes behind them.
    dual = knob("inner") == "asm_dual"
    steps = out_w - right if stride_x == 1 else out_w - 1
    looped = steps - (dual & (steps > 0) & ((stride_x == 1) | (right > 0)))
    turn = np.where(dual & (stride_x == 1), 3, 4)
    turns = np.where(looped <= 6, 0, -(-looped // turn))
    return {
        "loads": inner * columns * 3 + (rows - inner) * columns * 2,
        "left_loads": rows * (columns + out_w) * (channels > 255),  # addresses that an addition moves on
        "steps": inner * out_w,
        "left_steps": (rows - inner) * out_w,
        "blocks": inner,
        "left_blocks": rows - inner,
        "stores": rows * out_w,
        "turns": rows * turns,
        "partial": rows * (turns * turn > looped) * (turns > 0),
        "flushes": rows * (turns > 0),
        "groups": rows,
        "rows": out_h,
        "calls": 1,
    }


def _woven_rows(layer: Layer, cols: int, pairs: int) -> list[int]:
    """The first row of every pair of rows that a group of channels weaves, as `depthwise_rows.h` keeps its ring."""
    (stride_y, _), (top, _), out_h = layer.stride, layer.padding[0], layer.output_image[0]
    new = 1 if cols == 2 else min(stride_y // 2, pairs) if stride_y % 2 == 0 else pairs
    rows, held = [], 0
    for y in range(0, out_h, cols):
        if cols == 2 and y == out_h - 1:
            y, held = y - 1, 0
        rows += [y * stride_y - top + 2 * i for i in range(held, pairs)]
        held = pairs - new
    return rows


def _visits(rows: int, high: int, most: int) -> list[tuple[int, int]]:
    """Of each visit of a channel its first row, and how often it makes `high` rows: at most `most` times. The last of
    an odd number comes with the one before, if that is not the first of all.
    """
    found, y = [], 0
    while y < rows:
        y -= high == 2 and y > 0 and (rows - y) % 2 and rows - y < 2 * most
        found.append((y, max(min((rows - y) // high, most), 1)))
        y += max(found[-1][1] * high if rows - y >= high else 1, 1)
    return found


def _vectors(layer: Layer, knob: Knobs, features: Features) -> Counts:
    """Of Helium: vectors woven into words, then groups of four outputs of a channel. Steps are vectors of products,
    those that begin a visit of a channel too, reloads vectors of weights that no register holds, and partial groups
    whose addresses take two; flushes finish the last pixels of two pairs of rows together. Segments are rows, or planes
    of them, that are woven from inside the image, outside those of which some lie beyond it, runs of padding
    `zero_bytes`, and its vectors `zero_lines`.
    """
    (_, in_w, channels), (out_h, out_w, _) = layer.image, layer.output_image
    stride_x, words = layer.stride[1], words_of(layer)
    if words.line is not None:
        return _along_a_line(layer, knob, words, words.line)
    span = (out_w - 1) * stride_x + layer.kernel[1]
    left = layer.padding[1][0]
    inside = max(min(in_w, span - left), 0)
    lanes = 4 * words.rows
    is_flat = words.planes == 1 and channels < lanes == 16
    strips, turns = -(-channels // lanes), -(-inside * channels // 16) if is_flat else inside
    is_wide = layer.dtype == "int16"
    high, wide = (2, 2) if words.is_paired else (1, 1 if is_wide else 4)
    groups = -(-out_w // wide)
    is_written_out = groups <= (4 if words.is_paired else 3)
    pixel = words.planes * 4 * (channels if is_flat else lanes)
    is_far = not words.is_paired and 3 * stride_x * pixel > 508
    each = [_visits(out_h, high, int(most)) for most in knob("unroll")]
    rows = np.array([sum(times for _, times in own) for own in each])
    visits = np.array([len(own) for own in each])
    clipped = np.array([_clipped_rows(layer, own, high) for own in each])
    # Of three or five pixels, two pairs of rows take a group less together.
    twice = np.array([sum(pairs // 2 for _, pairs in own) for own in each])
    single = np.array([sum(pairs > 1 and pairs % 2 for _, pairs in own) for own in each])
    is_double = words.is_paired and out_w in (3, 5) and channels <= 511
    blocks = (rows * groups - twice * is_double) * channels
    begun = (visits + single * is_double) * channels
    margins = rows * strips if is_flat else np.minimum(knob("unroll"), -(-out_h // high))
    sides = (left, span - inside - left)
    vectors = words.window * wide // (2 if words.is_paired else 4)
    return {
        "words": rows * strips * words.planes * turns,
        "segments": (rows - clipped) * strips * words.planes * (inside > 0),
        "outside": clipped * strips * words.planes * (inside > 0),
        "zero_bytes": margins * sum(side > 0 for side in sides),
        "zero_lines": margins * sum(side * pixel // 16 for side in sides),
        "steps": (blocks + begun * (not is_wide)) * vectors,
        "reloads": (blocks + begun) * (words.window // 4) * (words.window > 4 and not is_wide),
        "partial": blocks * is_far,
        "blocks": blocks,
        "channels": begun,
        "turns": rows * channels * (not is_written_out),
        "flushes": twice * is_double * channels,
        "rows": rows * strips,
        "fills": visits * strips,
        "calls": 1,
    }


def _along_a_line(layer: Layer, knob: Knobs, words: Words, axis: int) -> Counts:
    """The same along one column or row: a step is a load and a product, those of the last group of a visit too. Pixels
    are woven with those that follow them, at the ends and where the image was overwritten one by one (`outside`).
    """
    channels, size, out = layer.image[2], layer.image[axis], layer.output_image[axis]
    stride, before, lanes = layer.stride[axis], layer.padding[axis][0], 4 * words.rows
    is_flat = lanes == 16 and channels < lanes
    strips, ahead = -(-channels // lanes), (words.planes - 1) * words.rows + 1
    woven, single, runs, groups, visits = (np.zeros_like(knob("unroll")) for _ in range(5))
    for at, unroll in enumerate(knob("unroll")):
        most = min(4 * int(unroll), out) if axis == 0 else out
        for first in range(0, out, most):
            count = min(most, out - first)
            start = first * stride - before
            end = start + (count - 1) * stride + ahead
            inside = max(min(end, size - words.rows + 1) - max(start, 0), 0)
            woven[at] += -(-inside * channels // 16) if is_flat else inside
            single[at] += end - start - inside
            runs[at] += inside > 0
            groups[at] += -(-count // 4)
            visits[at] += 1
    is_wide = layer.dtype == "int16"
    return {
        "words": strips * woven,
        "segments": strips * runs,
        "outside": strips * single,
        "steps": channels * (out if is_wide else 4 * groups),
        "blocks": channels * (out if is_wide else groups),
        "channels": channels * visits,
        "fills": strips * visits,
        "rows": strips,
        "calls": 1,
    }


def _clipped_rows(layer: Layer, visits: Sequence[tuple[int, int]], high: int) -> int:
    """Of all visits, how often a row, or `high` of them, sees some that are outside the image."""
    found = 0
    for first, times in visits:
        for y in range(first, first + times * high, high):
            top = y * layer.stride[0] - layer.padding[0][0]
            seen = layer.kernel[0] + (high == 2 and y + 1 < layer.output_image[0])
            found += top < 0 or top + seen > layer.image[0]
    return found


COUNTERS = {"im2col": _im2col, "line_buffer": _line_buffer, "direct": _direct, "line_buffer in vectors": _vectors}


def count(layer: Layer, variants: Variants, features: Features) -> np.ndarray:
    return by_lowering(layer, variants, features, PARTS, COUNTERS)


def price(layer: Layer, variant: Variant | None, features: Features, timing: Timing) -> dict[str, float]:
    """A prior for a fit, no more: instructions that the C source asks for, counted by hand; rough where it says so."""
    assert variant is not None
    one = Cycles.of(timing, features)
    if variant.inner == "helium":
        # A store of four words for every load; products, and the instructions between them, one a cycle.
        is_wide, is_paired = layer.dtype == "int16", words_of(layer).is_paired
        return dict.fromkeys(PARTS, 0.0) | {
            "words": 16.0, "segments": 20.0, "outside": 50.0, "zero_bytes": 12.0, "zero_lines": 4.0,
            "steps": 3.5 if is_wide else 1.25 if is_paired else 2.0, "reloads": 1.0, "partial": 2.0,
            "blocks": 24.0 if is_wide else 12.0, "flushes": 10.0, "channels": 50.0, "turns": 6.0, "rows": 12.0,
            "fills": 30.0, "calls": 100 * one.alu,
        }  # fmt: skip
    alu, store, load, branch = one.alu, one.store, one.load, one.branch
    woven = variant.lowering == "line_buffer" and features.isa >= Isa.DSP
    left = 1 if is_plain(variant) else 2
    costs = {
        "words": load + 4 * alu + 2 * store,  # a word widened, as in a convolution
        "ragged": load + alu + store + branch / 2,  # one element, in a loop that is written out in half of the cases
        "zero_lines": 4 * store + 2 * alu + branch,  # memset: four words a turn
        "zero_bytes": store / 2 + branch / 4,  # memset: words before bytes
        "segments": 12 * alu + branch,  # addresses of a tap or of a pair of rows; rough
        "copy_turns": one.turn,
        "outside": one.call,  # a memset
        "pixels": 16 * alu + branch,  # where the window lies; rough
        "taps": load + alu,  # and an address
        "reloads": load,
        "loads": load,
        "steps": element(variant, variant.block_rows, variant.block_cols, one),  # a tap of every channel and pixel
        "left_steps": element(variant, left, variant.block_cols, one),
        "left_loads": load,
        "blocks": block_ends(variant.block_rows, variant.block_cols, one),
        "left_blocks": block_ends(left, variant.block_cols, one),
        "stores": 2 * alu + store,  # shift, saturate, store
        "turns": one.turn,
        "left_turns": one.turn,
        "channels": 12 * alu + branch,  # a bias, addresses; rough
        "groups": 6 * alu + branch,  # a loop entered; rough
        "partial": 4 * alu + branch,  # how far a block reaches over; rough
        "flushes": 2 * alu + branch,  # a branch the other way
        "fills": 8 * alu + branch,  # counters and addresses of a group or a row; rough
        "rows": 12 * alu + branch,  # a turn of the outer loop; rough
        "calls": 30 * alu,  # registers saved and restored, constants; rough
    }
    if variant.lowering == "line_buffer" and variant.block_cols == 4:
        costs |= {"steps": one.mac, "loads": load + one.first_load / 3, "blocks": 8 * alu + branch}
    if variant.lowering == "direct":
        costs |= _of_direct(one)
    if woven:
        costs |= {
            "words": 2 * load + 6 * alu + 4 * store + branch,  # `weave`: of two rows two PKH, four SXTB16, four stores
            "ragged": 2 * load + alu + store + branch,  # the same of one channel, in a loop
            "steps": one.mac,  # a product of pairs
            "left_steps": one.mac,
            # All of it is written out: accumulators set, addresses, in assembly constants too; rough.
            "blocks": (10 if variant.inner in ("asm", "asm_dual") else 4) * alu,
            "left_blocks": 4 * alu,
        }
    return costs


def _of_direct(one: Cycles) -> dict[str, float]:
    """Of windows that are read from the input: an output with three products, and what three rows take more; rough."""
    return {
        "loads": one.load,
        "left_loads": one.alu,
        "stores": 3 * one.mac + 4 * one.alu + one.first_load + one.store,
        "steps": 2 * one.mac,
        "left_steps": 0.5 * one.alu,
        "blocks": 12 * one.load + 6 * one.mac,  # weights, a record, columns that begin outputs
        "left_blocks": 12 * one.load + 6 * one.mac + 8 * one.alu,
        "partial": one.branch,  # a turn that is entered in its midst
        "groups": 8 * one.alu + one.branch,
    }


def _as_compiled(layer: Layer, variant: Variant | None) -> Variant | None:
    """Loops that are kept rolled cost what they cost where they are long, and visits of a channel what they cost
    whatever their rows: counts tell the one from the other.
    """
    if variant is None or variant.inner not in ("c_rolled", "helium"):
        return variant
    return replace(variant, inner="c") if variant.inner == "c_rolled" else replace(variant, unroll=1)


def _sizes(layer: Layer, variant: Variant | None, features: Features) -> str:
    """Windows, which are unrolled; images of one column, whose loops over pixels turn once; of Clang's code in C, for
    cores with Helium, windows of which it writes no loop over rows out. Of vectors, how they are gone through: counts
    tell the rest.
    """
    if variant is not None and variant.inner == "helium":
        words = words_of(layer)
        return " windows=" + ("pairs" if words.is_paired else "rows" if words.line is None else "line")
    windows = f" kernel={layer.kernel[0]}x{layer.kernel[1]} stride={layer.stride[0]}x{layer.stride[1]}"
    tall = features.isa >= Isa.HELIUM and variant is not None and variant.inner == "c" and layer.kernel[0] > 4
    return windows + (" width=1" if layer.output_image[1] == 1 else "") + (" tall=1" if tall else "")


def _rank(variant: Variant, features: Features) -> str:
    if features.isa < Isa.DSP:
        return "sometimes"
    return "hardly" if variant.lowering == "im2col" else "often"


DEPTHWISE_CONVOLVE = OpCost(PARTS, count, price, _as_compiled, _sizes, effort=Effort(40, 30, 10, _rank))
