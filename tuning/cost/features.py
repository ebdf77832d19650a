# SPDX-License-Identifier: Apache-2.0
"""How often each part of a kernel runs: exact counts from the geometry of a layer and the knobs of a variant, no
cycles here.

Cycles are linear in these counts; what one run of a part costs is a coefficient of the (operation, variant, core).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from cmsisnn_x._variants import Variant
from cmsisnn_x.layers import Layer

TERMS = ("im2col", "multiply_accumulate", "requantise", "loop", "memory")

BLOCKED = {
    "widened": "im2col",  # words of four input elements copied, widened or transformed into a buffer
    "ragged": "im2col",  # input elements that go one by one
    "zeroed": "im2col",  # padding elements written into it
    "segments": "im2col",  # contiguous pieces copied
    "clipped": "im2col",  # pieces that the image's left or right edge cuts
    "transformed": "im2col",  # weights brought into another form at run time
    "steps": "multiply_accumulate",  # passes of the inner loop's body in blocks of block_rows x block_cols
    "tail": "multiply_accumulate",  # single elements that do not fill a pass
    "left_steps": "multiply_accumulate",  # the same in blocks of the rows that do not fill block_rows
    "left_tail": "multiply_accumulate",
    "blocks": "requantise",  # blocks begun, requantised and stored
    "left_blocks": "requantise",
    "turns": "loop",  # turns of the inner loop, `unroll` passes each
    "runs": "loop",  # times the inner loop is entered
    "groups": "loop",  # times the loop over pixel blocks is entered
    "pixels": "loop",
    "rows": "loop",  # output rows
    "calls": "loop",
}
"""Parts of the operations with weights -> the term that they belong to."""

WINDOWED = {
    "taps": "multiply_accumulate",  # in-image elements of windows that are walked one by one x lane groups
    "columns": "multiply_accumulate",  # column elements that neighbouring windows share, each read once x lane groups
    "outputs": "requantise",  # windows x lane groups
    "strips": "loop",  # output rows x lane groups
    "windows": "loop",  # windows that are walked one by one x lane groups
    "rows": "loop",
    "calls": "loop",
}
"""Parts of the pooling operations."""

ELEMENTWISE = {"elements": "multiply_accumulate", "rest": "multiply_accumulate", "calls": "loop"}
"""Parts of relu, sigmoid, tanh and softmax."""


def parts_of(op: str) -> dict[str, str]:
    """Part -> term, in the order of the columns of `count`."""
    if op in ("conv2d", "depthwise_conv2d", "fully_connected"):
        return BLOCKED
    return WINDOWED if op in ("max_pool2d", "avg_pool2d") else ELEMENTWISE


def count(layer: Layer, variants: Sequence[Variant | None], dsp: bool) -> np.ndarray:
    """Counts of every part, a row per variant."""
    if layer.op in ("max_pool2d", "avg_pool2d"):
        return np.repeat(_windowed(layer, dsp)[None], len(variants), axis=0)
    if parts_of(layer.op) is ELEMENTWISE:
        size, lanes = prod(layer.input_shape), 4 // layer.numpy_dtype.itemsize
        return np.repeat(np.array([[size // lanes, size % lanes, 1.0]]), len(variants), axis=0)
    return _blocked(layer, variants, dsp)


def _blocked(layer: Layer, variants: Sequence[Variant | None], dsp: bool) -> np.ndarray:
    def knob(name: str) -> np.ndarray:
        return np.array([getattr(v, name) for v in variants])

    rows, cols, held, unroll = (
        knob(name).astype(np.int64) for name in ("block_rows", "block_cols", "im2col_cols", "unroll")
    )
    lowering = knob("lowering")
    packed = knob("weight_layout") != "plain"
    by_row = (lowering == "line_buffer") | (lowering == "direct")
    tiled = lowering == "winograd"
    depthwise = layer.op == "depthwise_conv2d"
    (_, _, channels), (out_h, out_w, out_ch) = layer.image, layer.output_image
    kernel_h, kernel_w = layer.kernel
    if layer.op == "fully_connected":
        channels, out_ch, out_h, out_w = prod(layer.input_shape), prod(layer.output_shape), 1, 1
    pixels = out_h * out_w

    points = np.where(tiled, knob("tile") + kernel_w - 1, 1)
    tiles = -(-out_w // knob("tile"))
    groups = np.where(tiled, tiles, np.where(by_row, out_h, -(-pixels // held)))
    last = pixels % held
    col_blocks = np.where(by_row, out_h * -(-out_w // cols), pixels // held * (held // cols) + -(-last // cols))
    col_blocks = np.where(tiled, tiles * -(-out_h // cols), col_blocks)
    row_blocks, left = out_ch // rows, out_ch % rows
    left_blocks = np.where(packed | tiled, -(-left // 2), left)
    if depthwise:  # the line buffer takes a word of channels and block_cols output rows at a time
        lanes = 4 // layer.numpy_dtype.itemsize
        row_blocks = np.where(by_row, -(-channels // lanes), row_blocks)
        left_blocks = np.where(by_row, 0, left_blocks)
        col_blocks = np.where(by_row, -(-out_h // cols) * out_w, col_blocks)
        groups = np.where(by_row, -(-out_h // cols), groups)
    blocks, left_all = row_blocks * col_blocks, left_blocks * col_blocks
    transformed = np.where(
        tiled & ~packed, tiles * (row_blocks * rows + 2 * left_blocks) * kernel_h * kernel_w * channels, 0
    )

    if depthwise:
        runs, run, step = np.ones_like(rows), np.full_like(rows, kernel_h * kernel_w), np.ones_like(rows)
    else:
        runs = np.where(tiled, points, np.where(by_row, kernel_h, 1))
        run = np.where(
            tiled,
            kernel_h * channels + kernel_h * channels % 2,
            kernel_h * kernel_w * channels // np.where(by_row, kernel_h, 1),
        )
        narrow = (layer.weights_dtype or layer.dtype) == "q7"
        step = np.where(dsp & narrow & ~packed & ~tiled, 4, 2)
    passes, tail = run // step, run % step
    inner = blocks * runs

    if depthwise and by_row.any():
        # Rows are woven in pairs anew for every block of output rows; channels take `unroll` pixels at a time.
        strips, pairs = -(-out_h // cols), (kernel_h + cols) // 2
        blocks = np.where(by_row, strips * channels * -(-out_w // unroll), blocks)
        touched = np.where(by_row, blocks * ((unroll - 1) * layer.stride[1] + kernel_w), 0)
        inner = np.where(by_row, touched, inner)
        passes = np.where(by_row, pairs, passes)
        groups = np.where(by_row, strips * channels, groups)
    prepared = _prepared(layer, by_row, tiled, tiles, points)
    if depthwise and by_row.any():
        span = (out_w - 1) * layer.stride[1] + kernel_w
        inside = max(min(layer.image[1], span - layer.padding[1][0]), 0)
        woven = strips * row_blocks * pairs
        by_strip = (woven * inside, 0 * woven, woven * (span - inside), woven, 0 * woven)
        prepared = tuple(np.where(by_row, strip, other) for strip, other in zip(by_strip, prepared, strict=True))
    columns = (
        *prepared,
        transformed,
        inner * passes,
        inner * tail,
        left_all * runs * passes,
        left_all * runs * tail,
        blocks,
        left_all,
        inner * (passes // unroll),
        inner,
        groups * (row_blocks + left_blocks),
        np.where(by_row, 0, pixels),
        np.full_like(rows, out_h),
        np.ones_like(rows),
    )
    return np.stack([np.broadcast_to(column, rows.shape) for column in columns], axis=1).astype(float)


def _prepared(
    layer: Layer, by_row: np.ndarray, tiled: np.ndarray, tiles: np.ndarray, points: np.ndarray
) -> tuple[np.ndarray, ...]:
    """How the input reaches the inner product: words, single elements, zeros, pieces and cut pieces; by columns,
    lines or tiles.
    """
    (in_h, in_w, channels), (out_h, out_w, _) = layer.image, layer.output_image
    if layer.op == "fully_connected":
        size = prod(layer.input_shape)
        return tuple(np.full(by_row.shape, value) for value in (size // 4, size % 4, 0, 1, 0))
    (kernel_h, kernel_w), (stride_y, stride_x) = layer.kernel, layer.stride
    (top, _), (left, _) = layer.padding
    in_rows = _inside(in_h, out_h, kernel_h, stride_y, top)
    in_cols = _inside(in_w, out_w, kernel_w, stride_x, left)
    taps = int(in_rows.sum() * in_cols.sum())
    zeros = (out_h * out_w * kernel_h * kernel_w - taps) * channels
    if layer.op == "depthwise_conv2d":  # pixel by pixel
        by_column = (taps * (channels // 4), taps * (channels % 4), zeros, out_h * out_w * kernel_h * kernel_w, 0)
    else:  # kernel row by kernel row
        lengths = in_cols * channels
        rows = int(in_rows.sum())
        cut = rows * int((in_cols < kernel_w).sum())
        by_column = (
            rows * int((lengths // 4).sum()),
            rows * int((lengths % 4).sum()),
            zeros,
            out_h * out_w * kernel_h,
            cut,
        )

    # Lines that a ring of kernel_h rows takes in: rows that some window needs.
    needed = {y * stride_y - top + m for y in range(out_h) for m in range(kernel_h)}
    lines, real = len(needed), sum(0 <= row < in_h for row in needed)
    span = (out_w - 1) * stride_x + kernel_w
    inside = max(min(in_w, span - left), 0) * channels
    by_line = (real * (inside // 4), real * (inside % 4), lines * span * channels - real * inside, lines, 0)

    # Strips of `points` columns and every row that some window needs.
    height = (out_h - 1) * stride_y + kernel_h
    real = sum(0 <= y - top < in_h for y in range(height))
    strips = tiles * real
    reach = np.where(tiled, (tiles - 1) * (points - kernel_w + 1) - left + points, 0)
    cut_tiles = np.minimum(int(left > 0) + (reach > in_w), tiles)
    whole_words = channels % 4 == 0
    by_tile = (
        strips * (channels // 4 * whole_words),
        strips * (channels * (not whole_words)),
        0 * tiles,
        tiles * height,
        cut_tiles * real * channels,
    )
    return tuple(
        np.where(tiled, tile, np.where(by_row, line, column))
        for tile, line, column in zip(by_tile, by_line, by_column, strict=True)
    )


def _inside(size: int, out: int, kernel: int, stride: int, before: int) -> np.ndarray:
    """For every output position along one axis, how many taps lie inside the input."""
    first = np.arange(out) * stride - before
    return np.maximum(np.minimum(first + kernel, size) - np.maximum(first, 0), 0)


def _windowed(layer: Layer, dsp: bool) -> np.ndarray:
    (in_h, in_w, channels), (out_h, out_w, _) = layer.image, layer.output_image
    (kernel_h, kernel_w), (stride_y, stride_x) = layer.kernel, layer.stride
    lanes = 4 // layer.numpy_dtype.itemsize if dsp else 1
    groups = -(-channels // lanes) if channels >= lanes else channels
    in_rows = _inside(in_h, out_h, kernel_h, stride_y, layer.padding[0][0])
    in_cols = _inside(in_w, out_w, kernel_w, stride_x, layer.padding[1][0])
    windows = out_h * out_w * groups
    if kernel_h > 4 or kernel_w > 4:
        return np.array([in_rows.sum() * in_cols.sum() * groups, 0, windows, 0, windows, out_h, 1.0])
    columns = int(in_cols.sum()) - sum(max(int(n) - stride_x, 0) for n in in_cols[1:])
    return np.array([0, in_rows.sum() * columns * groups, windows, out_h * groups, 0, out_h, 1.0])
