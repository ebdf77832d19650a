# SPDX-License-Identifier: Apache-2.0
"""Convolutions: their parts, how often each runs under each lowering, and what one run costs."""

from __future__ import annotations

from dataclasses import replace
from math import prod

import numpy as np

from cmsisnn_x.isa import Features, Isa
from cmsisnn_x.layers import Layer
from cmsisnn_x.variant import WINOGRAD, Variant

from ..instructions import Cycles, block_ends, element, inner_pass, is_narrow, is_plain
from ..loops import Counts, Knobs, by_lowering, copy_turns, lane_count, lines_needed, loop_turns, taps_inside, zero_runs
from ..op_cost import Effort, OpCost, Timing, Variants
from . import convolution_vectors
from .columns import count_packed, count_paired, in_blocks, split_rows, written_turns

PARTS = {
    "words": "im2col",  # word groups of input elements copied, widened or transformed, whole runs of them
    "ragged": "im2col",  # elements of such runs that go one by one
    "inside_ragged": "im2col",  # the same in Winograd's tiles, where none lies over an edge
    "cut_words": "im2col",  # the same in runs that the image's left or right edge cuts
    "cut_ragged": "im2col",
    "zero_lines": "im2col",  # 16 bytes of padding
    "zero_bytes": "im2col",  # bytes of padding beyond those
    "segments": "im2col",  # runs copied: kernel rows of a window, input rows, rows of a strip
    "cuts": "im2col",  # runs that an edge cuts
    "outside": "im2col",  # runs that lie outside the image
    "copy_turns": "im2col",  # turns of the loops that copy runs
    "pixels": "im2col",  # windows begun
    "transformed": "im2col",  # word groups of weights brought into another form at run time
    "packs": "im2col",  # rows of weights that are
    "steps": "multiply_accumulate",  # passes of the inner loop's body in blocks of block_rows x block_cols
    "straight_steps": "multiply_accumulate",  # the same where all of them are written out, without a loop
    "singles": "multiply_accumulate",  # elements that do not fill a pass
    "left_steps": "multiply_accumulate",  # the same in blocks of the rows that do not fill block_rows
    "left_straight_steps": "multiply_accumulate",
    "left_singles": "multiply_accumulate",
    "blocks": "requantise",  # blocks begun and finished
    "left_blocks": "requantise",
    "stores": "requantise",  # outputs requantised and stored
    "turns": "loop",  # turns of the inner loop, `unroll` passes each
    "left_turns": "loop",
    "loops": "loop",  # times the inner loop is entered and left
    "runs": "loop",  # runs begun, with a loop or without
    "groups": "loop",  # times the loop over the pixels of a group of columns is entered, once per block of rows
    "partial": "loop",  # blocks that reach over the end of their group
    "flushes": "loop",  # pixels at which the rarer of "the columns are full" and "they are not" happens
    "fills": "loop",  # groups of columns, output rows, or tiles
    "rows": "loop",  # output rows
    "calls": "loop",
}


def _products(layer: Layer, knob: Knobs, features: Features, run: np.ndarray | int, runs: np.ndarray | int) -> Counts:
    """The inner products of one block, times 1: `run` elements, `runs` times."""
    unroll, packed, c = knob("unroll"), knob("weight_layout") != "plain", knob("inner") == "c"
    tiled = (knob("lowering") == "winograd") | (knob("lowering") == "winograd_2d")
    narrow = is_narrow(layer)
    wide = (knob("lowering") != "direct") | (layer.dtype == "q15")
    run = np.broadcast_to(run, unroll.shape)
    step = np.where((features.isa >= Isa.DSP) & narrow & wide & ~packed & ~tiled, 4, 2)
    passes = run // step
    # Assembly takes two pairs a step, but for that of the M0+, which is two columns wide.
    ahead = (knob("inner") == "asm_dual").astype(int)
    written = written_turns(passes - ahead, np.where(knob("block_cols") == 4, 2 * unroll, unroll))
    turns = np.where(c, loop_turns(passes, unroll), written)
    straight = turns == 0
    return {
        "steps": runs * passes * ~straight,
        "straight_steps": runs * passes * straight,
        "singles": runs * (run % step),
        "turns": runs * turns,
        "loops": runs * (turns > 0),
        "runs": runs + 0 * unroll,
    }


def _im2col(layer: Layer, knob: Knobs, features: Features) -> Counts:
    (in_h, in_w, channels), (out_h, out_w, out_ch) = layer.image, layer.output_image
    (kernel_h, kernel_w), (stride_y, stride_x) = layer.kernel, layer.stride
    (top, _), (left, _) = layer.padding
    pixels, cols, held = out_h * out_w, knob("block_cols"), knob("im2col_cols")
    run, taps, lanes = kernel_w * channels, kernel_h * kernel_w * channels, lane_count(layer, features)

    in_rows = taps_inside(in_h, out_h, kernel_h, stride_y, top)
    in_cols = taps_inside(in_w, out_w, kernel_w, stride_x, left)
    inside, outside = int(in_rows.sum()), int((kernel_h - in_rows).sum())
    whole = in_cols == kernel_w
    cut = in_cols[~whole] * channels
    padding = [zero_runs(run * 2, outside * out_w), zero_runs((kernel_w - in_cols[~whole]) * channels * 2, inside)]
    # Interleaved columns take words where channels fill them, else pairs, element by element.
    woven = knob("column_layout") == "interleaved"
    whole_words = features.isa >= Isa.DSP and layer.dtype == "q7" and channels % 4 == 0

    def copied(size: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        plain = int((size // lanes).sum()), int((size % lanes).sum())
        paired = (int((size // 4).sum()), 0) if whole_words else (0, int((size // 2).sum()))
        return np.where(woven, paired[0], plain[0]), np.where(woven, paired[1], plain[1])

    words, ragged = copied(np.array(run))
    cut_words, cut_ragged = copied(cut)
    groups = -(-pixels // held)
    last = pixels % held
    columns = pixels // held * (held // cols) + -(-last // cols)
    row_blocks, left_blocks = split_rows(layer, knob, False)
    packed = knob("weight_layout") != "plain"
    products = _products(layer, knob, features, np.where(packed, taps + taps % 2, taps), 1)
    return {
        **in_blocks(knob, products, row_blocks, left_blocks, columns),
        "words": words * inside * int(whole.sum()),
        "ragged": ragged * inside * int(whole.sum()),
        "cut_words": cut_words * inside,
        "cut_ragged": cut_ragged * inside,
        "zero_lines": sum(item["zero_lines"] for item in padding),
        "zero_bytes": sum(item["zero_bytes"] for item in padding),
        "segments": inside * int(whole.sum()),
        "copy_turns": inside * int(whole.sum()) * np.where(woven, 0, copy_turns(layer, run, features)),
        "cuts": inside * int((~whole).sum()),
        "outside": outside * out_w,
        "pixels": pixels,
        "stores": pixels * out_ch,
        "groups": groups * (row_blocks + left_blocks),
        "partial": (last % cols > 0) * (row_blocks + left_blocks),
        "flushes": np.minimum(groups, pixels - groups),
        "fills": groups,
        "rows": out_h,
        "calls": 1,
    }


def _lines(layer: Layer, knob: Knobs, features: Features) -> Counts:
    (in_h, in_w, channels), (out_h, out_w, out_ch) = layer.image, layer.output_image
    (kernel_h, kernel_w), (_stride_y, stride_x) = layer.kernel, layer.stride
    (_top, _), (left, _) = layer.padding
    cols = knob("block_cols")
    columns = out_h * -(-out_w // cols)
    row_blocks, left_blocks = split_rows(layer, knob, False)
    counts = {
        **in_blocks(
            knob, _products(layer, knob, features, kernel_w * channels, kernel_h), row_blocks, left_blocks, columns
        ),
        "stores": columns * cols * out_ch,
        "groups": out_h * (row_blocks + left_blocks),
        "partial": out_h * (out_w % cols > 0) * (row_blocks + left_blocks),
        "fills": out_h,
        "rows": out_h,
        "calls": 1,
    }
    if knob("lowering")[0] == "direct":
        return counts
    # Lines that a ring of kernel_h rows takes in: rows that some window needs.
    lines = list(lines_needed(layer))
    real = sum(0 <= y < in_h for y in lines)
    span, lanes = (out_w - 1) * stride_x + kernel_w, lane_count(layer, features)
    inside = max(min(in_w, span - left), 0)
    right = span - left - inside
    padding = [
        zero_runs((span * channels + span * channels % 2) * 2, len(lines) - real),
        zero_runs(left * channels * 2, real),
        zero_runs(right * channels * 2, real),
    ]
    return counts | {
        "words": inside * channels // lanes * real,
        "ragged": inside * channels % lanes * real,
        "segments": real,
        "copy_turns": real * copy_turns(layer, inside * channels, features),
        "cuts": real * ((left > 0) + (right > 0)),
        "outside": len(lines) - real,
        "zero_lines": sum(item["zero_lines"] for item in padding),
        "zero_bytes": sum(item["zero_bytes"] for item in padding),
    }


def _winograd(layer: Layer, knob: Knobs, features: Features) -> Counts:
    (in_h, in_w, channels), (out_h, out_w, out_ch) = layer.image, layer.output_image
    (kernel_h, kernel_w), stride_y = layer.kernel, layer.stride[0]
    (top, _), (left, _) = layer.padding
    tile, cols = knob("tile"), knob("block_cols")
    points, tiles = tile + kernel_w - 1, -(-out_w // tile)
    row_blocks, left_blocks = split_rows(layer, knob, True)
    columns = tiles * -(-out_h // cols)
    run = kernel_h * channels
    height = (out_h - 1) * stride_y + kernel_h
    real = sum(0 <= y - top < in_h for y in range(height))
    strips = tiles * real
    # Tiles that begin left of the image or end right of it.
    starts = np.arange(int(tiles.max()))[:, None] * tile - left
    cut = (((starts < 0) | (starts > in_w - points)) & (np.arange(int(tiles.max()))[:, None] < tiles)).sum(axis=0)
    whole_words, never_cut = channels % 4 == 0, cut == 0
    groups = channels // 4 if whole_words else channels
    padding = zero_runs(channels * 2, (height - real))
    plain = knob("weight_layout") == "plain"
    rows = knob("block_rows")
    packed_rows = plain * tiles * (row_blocks * rows + 2 * left_blocks)
    return {
        **in_blocks(knob, _products(layer, knob, features, run + run % 2, points), row_blocks, left_blocks, columns),
        "words": (strips - cut * real) * groups * whole_words,
        "ragged": (strips - cut * real) * groups * (not whole_words) * ~never_cut,
        "inside_ragged": strips * groups * (not whole_words) * never_cut,
        ("cut_words" if whole_words else "cut_ragged"): cut * real * groups,
        "segments": strips,
        "cuts": cut * real,
        "outside": tiles * (height - real),
        "zero_lines": padding["zero_lines"] * points,
        "zero_bytes": padding["zero_bytes"] * points,
        "transformed": packed_rows * kernel_h * groups,
        "packs": packed_rows * kernel_h,
        "stores": tiles * -(-out_h // cols) * cols * out_ch,
        "groups": tiles * (row_blocks + left_blocks),
        "partial": tiles * (out_h % cols > 0) * (row_blocks + left_blocks),
        "fills": tiles,
        "rows": tiles * height,
        "calls": 1,
    }


def _winograd_2d(layer: Layer, knob: Knobs, features: Features) -> Counts:
    """A row is one of a word group of inputs along x, a word one of a tile along y, a segment one of a tile's pixels in
    a row, a group the outputs of a tile in one channel.
    """
    (out_h, out_w, out_ch), channels, kernel = layer.output_image, layer.image[2], layer.kernel[0]
    high = 4 if kernel == 3 else 2
    tall, wide = -(-out_h // high), -(-out_w // 4)
    tiles, cols = tall * wide, knob("block_cols")
    columns = -(-tiles // cols)
    # Tiles below each other share rows, where one block holds them.
    shares = np.array([_stacks(tall, tiles, int(c)) for c in cols])
    rows = tiles * high + shares * (kernel - 1)
    row_blocks, left_blocks = split_rows(layer, knob, True)
    products = _products(layer, knob, features, channels, 36 if kernel == 3 else 56)
    if kernel == 5:  # in blocks of eight two points along y at a time, but for one
        both, alone = _products(layer, knob, features, 2 * channels, 24), _products(layer, knob, features, channels, 8)
        added = knob("block_rows") * cols == 8
        products = {part: np.where(added, both[part] + alone[part], own) for part, own in products.items()}
    return {
        **in_blocks(knob, products, row_blocks, left_blocks, columns),
        "words": tiles * channels // 4,
        "rows": rows * (channels // 4),
        "segments": rows,
        "stores": out_h * out_w * out_ch,
        "groups": tiles * out_ch,
        "fills": columns,
        "calls": 1,
    }


def _stacks(tall: int, tiles: int, cols: int) -> int:
    """Runs of tiles below each other in blocks of `cols`, of columns of `tall` each."""
    starts = {*range(0, tiles, cols), *range(0, tiles, tall)}
    return len(starts)


_LOWERINGS = {
    "im2col": _im2col,
    "packed": count_packed,
    "paired": count_paired,
    "line_buffer": _lines,
    "direct": _lines,
    "winograd": _winograd,
    "winograd_2d": _winograd_2d,
    **dict.fromkeys(("line_buffer in vectors", "direct in vectors"), convolution_vectors.count),
}


def count(layer: Layer, variants: Variants, features: Features) -> np.ndarray:
    compiled = [as_compiled(layer, variant) for variant in variants]
    return by_lowering(layer, compiled, features, PARTS, _LOWERINGS)


def price(layer: Layer, variant: Variant | None, features: Features, timing: Timing) -> dict[str, float]:
    """A prior for a fit, no more: instructions that the C source asks for, counted by hand; rough where it says so."""
    variant = as_compiled(layer, variant)
    assert variant is not None
    if variant.inner == "helium":
        return dict.fromkeys(PARTS, 0.0) | convolution_vectors.price()
    one = Cycles.of(timing, features)
    alu, store, load, branch = one.alu, one.store, one.load, one.branch
    rows, cols, tile = variant.block_rows, variant.block_cols, variant.tile
    tiled = tile > 1
    left = 1 if is_plain(variant) else 2  # rows that are left over go one by one, packed ones in pairs
    is_paired = variant.column_layout == "paired"
    left_cols = 2 if is_paired else cols
    step = inner_pass(layer, variant, rows, cols, features, one)
    left_step = inner_pass(layer, variant, left, left_cols, features, one)
    # Additions of a tile's input transform, of one element of all its points; rough: they differ by the kernel's width.
    per_tile = 4 * tile + 24
    ragged = per_tile / 2 * (load + alu + store) if tiled else load + alu + store + branch / 2
    words = per_tile * (load + 2 * alu + store) if tiled else load + 4 * alu + 2 * store
    if is_paired:
        words += load + 3 * alu  # of two columns: eight elements
    blocks, runs, groups, segments = block_ends(rows, cols, one), 4 * alu, 6 * alu + branch, 12 * alu + branch
    rows_of_words = 12 * alu + branch
    if variant.lowering == "winograd_2d":
        # Transforms of pairs, additions between loads and stores: two of a row, which widen; two of each column of a
        # tile, which part the pairs; the outputs' from the points along y, and from those of their rows along x.
        wide, points, sums, added = (6, 6, 6, 10) if layer.kernel[1] == 3 else (8, 7, 7, 8)
        if wide == 8 and rows * cols == 8:
            sums = added = 4
        rows_of_words = 2 * wide * (2 * load + 5 * alu + store)
        if wide == 8 and variant.inner == "asm" and features.isa >= Isa.DSP:  # nothing is kept on the stack
            rows_of_words = 2 * (8 * (load + alu + 2 * store) + 32 * alu)
        words = 2 * wide * (6 * load + 12 * alu + points * (2 * alu + store))
        groups = wide * (sums * load + added * alu + 2 * store) + 4 * (wide * load + 16 * alu) + 6 * alu + branch
        segments = wide * (6 * alu + store)
        runs += rows * cols * (alu + store)
    elif tiled:
        # The output transform takes sums from memory; and each point's products leave theirs there.
        blocks += (tile + cols) * rows * cols * (alu + load)
        runs += rows * cols * (alu + store)
    return {
        "words": words,  # a word loaded, two SXTB16 and two PKH, two words stored; or a group of elements transformed
        "ragged": ragged,  # one element, in a loop that is written out in half of the cases; rough
        "inside_ragged": ragged,
        "cut_words": words + branch / 2,  # in a loop of no constant length, unrolled by two
        "cut_ragged": ragged + branch / 2,
        "zero_lines": 4 * store + 2 * alu + branch,  # memset: four words a turn
        "zero_bytes": store / 2 + branch / 4,  # memset: words before bytes
        "segments": segments,  # addresses and bounds of a run; rough
        # A run between two memsets; in tiles every column is tested instead, which is not priced apart.
        "cuts": 10 * alu + 2 * one.call if not tiled else 10 * alu,
        "outside": one.call,  # a memset
        "copy_turns": one.turn,
        "pixels": 16 * alu + branch,  # where the window lies, and what of it the image clips; rough
        "transformed": per_tile * (load + 2 * alu + store),  # weights, as much as the same number of inputs; rough
        "packs": 12 * alu + branch,  # as `segments`; rough
        "steps": step,
        "straight_steps": step,
        "singles": element(variant, rows, cols, one),
        "left_steps": left_step,
        "left_straight_steps": left_step,
        "left_singles": element(variant, left, cols, one),
        "blocks": blocks,
        "left_blocks": block_ends(left, left_cols, one),
        # Shift, saturate, store; in tiles the output transform and the inverse of its factor too, rough.
        "stores": 6 * alu + store + 2 * alu if tiled else 2 * alu + store,
        "turns": one.turn,
        "left_turns": one.turn,
        "loops": 3 * alu + branch,  # a counter set, the last branch not taken
        "runs": runs,  # addresses of weights and columns
        "groups": groups,  # the loop over the pixels of a group entered; rough
        "partial": 4 * alu + branch,  # how far a block reaches over; rough
        "flushes": 2 * alu + branch,  # a branch the other way
        "fills": 8 * alu + branch,  # counters and addresses of a group, a row or a tile; rough
        "rows": rows_of_words,  # a turn of the outer loop; rough
        "calls": 30 * alu,  # registers saved and restored, constants; rough
    }


def as_compiled(layer: Layer, variant: Variant | None) -> Variant | None:
    """With fewer pixels than a block's columns the compiler knows how many there are: the code of a smaller block."""
    if variant is not None and variant.inner == "helium":
        return convolution_vectors.as_compiled(layer, variant)
    if variant is None or variant.inner != "c" or variant.lowering != "im2col":
        return variant
    pixels = prod(layer.output_image[:2])
    return replace(variant, block_cols=pixels) if pixels < min(variant.block_cols, 3) else variant


def _sizes(layer: Layer, variant: Variant | None, features: Features) -> str:
    """The width of a Winograd kernel."""
    return f" kernel_w={layer.kernel[1]}" if variant is not None and variant.lowering in WINOGRAD else ""


def _rank(variant: Variant, features: Features) -> str:
    if variant.inner != "c":
        return "often"
    if features.isa < Isa.DSP:
        # Twelve registers: large blocks in C spill.
        small = variant.block_rows * variant.block_cols <= 2 or (variant.block_rows == 4 and variant.unroll < 8)
        return "sometimes" if small else "hardly"
    # C wins where assembly has little to do, few channels or short windows, and then by large blocks.
    packed = variant.weight_layout != "plain"
    blocked = min(variant.block_rows, variant.block_cols) >= 2 and (packed or variant.unroll >= 4)
    return "sometimes" if blocked else "hardly"


NOT_IN_PACKING = ("im2col_cols", "block_cols")
CONVOLVE = OpCost(PARTS, count, price, as_compiled, _sizes, NOT_IN_PACKING, Effort(100, 100, 20, _rank))
