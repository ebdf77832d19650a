# SPDX-License-Identifier: Apache-2.0
"""What convolutions share of their counts, and the counts of im2col into columns that share words."""

from __future__ import annotations

import numpy as np

from cmsisnn_x.isa import Features
from cmsisnn_x.layers import Layer

from ..loops import Counts, Knobs, loop_turns, taps_inside

SEGMENT = 64
"""Elements of packed columns whose sums share words."""


def written_turns(passes: np.ndarray, unroll: np.ndarray) -> np.ndarray:
    """Turns of a loop in assembly: a single one is no loop, nor are two of sixteen pairs."""
    turns = passes // unroll
    return np.where(turns > np.where(unroll == 16, 2, 1), turns, 0)


def split_rows(layer: Layer, knob: Knobs, paired: np.ndarray | bool) -> tuple[np.ndarray, np.ndarray]:
    rows, out = knob("block_rows"), layer.output_image[2]
    left = out % rows
    return out // rows, np.where((knob("weight_layout") != "plain") | paired, -(-left // 2), left)


def in_blocks(knob: Knobs, products: Counts, whole: np.ndarray, left: np.ndarray, columns: np.ndarray) -> Counts:
    """`products` of a block, in `columns` blocks of columns x `whole` and `left` blocks of rows.

    Packed rows are left over in pairs: blocks of two rows do them with the same code.
    """
    one, other, every = whole * columns, left * columns, (whole + left) * columns
    same = (knob("block_rows") == 2) & ((knob("weight_layout") != "plain") | (knob("lowering") == "winograd"))
    main, rest = np.where(same, every, one), np.where(same, 0, other)
    return {
        "steps": products["steps"] * main,
        "straight_steps": products["straight_steps"] * main,
        "singles": products["singles"] * main,
        "turns": products["turns"] * main,
        "left_steps": products["steps"] * rest,
        "left_straight_steps": products["straight_steps"] * rest,
        "left_singles": products["singles"] * rest,
        "left_turns": products["turns"] * rest,
        "loops": products["loops"] * every,
        "runs": products["runs"] * every,
        "blocks": one,
        "left_blocks": other,
    }


def count_packed(layer: Layer, knob: Knobs, features: Features) -> Counts:
    """im2col into packed columns: three windows at a time, element by element, padding like the rest."""
    (in_h, in_w, channels), (out_h, out_w, out_ch) = layer.image, layer.output_image
    (kernel_h, kernel_w), (stride_y, stride_x) = layer.kernel, layer.stride
    (top, _), (left, _) = layer.padding
    unroll, cols, pixels = knob("unroll"), knob("block_cols"), out_h * out_w
    groups = -(-pixels // 3)
    column = kernel_h * kernel_w * channels
    column += column % 2
    segments = -(-column // SEGMENT)
    last = column - (segments - 1) * SEGMENT
    turns = [written_turns(np.full(unroll.shape, run // 2), unroll) for run in (SEGMENT, last)]
    written = last // 2 * (turns[1] == 0)
    products = {
        "steps": (segments - 1) * (SEGMENT // 2) + last // 2 - written,
        "straight_steps": written,
        "singles": 0 * unroll,
        "turns": (segments - 1) * turns[0] + turns[1],
        "loops": segments - 1 + (turns[1] > 0),
        "runs": segments + 0 * unroll,
    }
    # Kernel rows of three windows that go tap by tap, as the image cuts one of them at its left or right.
    first = np.minimum(np.arange(groups) * 3, pixels - 3)[:, None] + np.arange(3)
    begin = first % out_w * stride_x - left
    cut_window = (begin < 0) | (begin > in_w - kernel_w)
    rows = (first // out_w * stride_y - top)[:, :, None] + np.arange(kernel_h)
    cut = int((((rows >= 0) & (rows < in_h)) & cut_window[:, :, None]).any(axis=1).sum())
    row_blocks, left_blocks = split_rows(layer, knob, False)
    return {
        **in_blocks(knob, products, row_blocks, left_blocks, groups + 0 * unroll),
        "ragged": groups * (kernel_h * kernel_w * channels),
        "segments": groups * kernel_h - cut,
        "cuts": cut * kernel_w,
        "pixels": groups * cols,
        "stores": groups * cols * out_ch,
        "fills": groups,
        "rows": groups,
        "calls": 1,
    }


def count_paired(layer: Layer, knob: Knobs, features: Features) -> Counts:
    """im2col into paired columns: kernel rows of two windows at a time. What is left over are two columns, for the last
    one or two pixels; all outputs of a block are stored, those of pixels that there are not beside the others.
    """
    (in_h, in_w, channels), (out_h, out_w, out_ch) = layer.image, layer.output_image
    (kernel_h, kernel_w), (stride_y, stride_x) = layer.kernel, layer.stride
    (top, _), (left, _) = layer.padding
    pixels, held, run = out_h * out_w, knob("im2col_cols"), kernel_w * channels
    passes = np.full(held.shape, kernel_h * run // 2)
    turns = written_turns(passes, 2 * knob("unroll"))
    products = {
        "steps": passes * (turns > 0),
        "straight_steps": passes * (turns == 0),
        "singles": 0 * passes,
        "turns": turns,
        "loops": turns > 0,
        "runs": 1 + 0 * passes,
    }
    fills, last = -(-pixels // held), pixels % held
    row_blocks, few = out_ch // 2, int(pixels % 4 in (1, 2))
    columns, left_blocks = -(-pixels // 4) - few, few * row_blocks
    pairs = -(-pixels // 2)
    in_rows, in_cols = (
        taps_inside(in_h, out_h, kernel_h, stride_y, top),
        taps_inside(in_w, out_w, kernel_w, stride_x, left),
    )
    cut = int(in_rows.sum()) * int((in_cols < kernel_w).sum())
    # Rows of one word are shifted into place.
    is_shifted = run == 4 and in_w >= kernel_w and bool((in_cols > 0).all())
    return {
        **in_blocks(knob, products, np.full(held.shape, row_blocks), 0 * passes, columns + 0 * passes),
        "left_steps": passes * left_blocks,
        "left_turns": passes // 4 * left_blocks,
        "left_blocks": left_blocks,
        "words": pairs * kernel_h * run // 4,
        "cut_ragged": 0 if is_shifted else cut * run,
        "segments": pairs * kernel_h,
        "cuts": 0 if is_shifted else cut,
        "outside": int((kernel_h - in_rows).sum()) * out_w,
        "copy_turns": pairs * kernel_h * loop_turns(run // 4, 4),
        "pixels": pixels,
        "stores": (columns * 4 + few * 2) * out_ch,
        "groups": (fills + (last > 4) * (last % 4 > 0)) * row_blocks,
        "partial": last % 4 > 0,
        "fills": fills,
        "calls": 1,
    }
