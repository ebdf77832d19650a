# SPDX-License-Identifier: Apache-2.0
"""Parts of the pooling operations, and of those that go element by element, and how often each runs."""

from __future__ import annotations

from math import prod

import numpy as np

from cmsisnn_x.layers import Layer

from ..loops import Counts, loop_turns, taps_inside

WINDOWED = {
    "elements": "multiply_accumulate",  # loads in columns that neighbouring windows share
    "columns": "multiply_accumulate",  # such columns
    "joins": "multiply_accumulate",  # columns put together
    "taps": "multiply_accumulate",  # in-image elements of windows that are walked one by one
    "outputs": "requantise",  # windows x lane groups that slide
    "edges": "requantise",  # of them, clipped at the left or right
    "windows": "requantise",  # windows x lane groups that are walked
    "averages": "requantise",  # sums divided
    "lines": "loop",  # rows of walked windows
    "turns": "loop",  # turns of the loop over windows that slide; averages of single channels GCC does not unroll
    "strips": "loop",  # output rows x lane groups
    "singles": "loop",  # windows walked, whatever their channels
    "clipped": "loop",  # output rows whose windows are clipped at the top or bottom
    "rows": "loop",
    "calls": "loop",
}
"""Parts of the pooling operations, each in lane groups of channels."""

ELEMENTWISE = {
    "elements": "multiply_accumulate",  # words of relu, else elements
    "rest": "multiply_accumulate",  # elements that fill no word
    "turns": "loop",
    "calls": "loop",
}
"""Parts of relu, sigmoid, tanh and softmax."""


def windowed(layer: Layer, unaligned: bool) -> Counts:
    (in_h, in_w, channels), (out_h, out_w, _) = layer.image, layer.output_image
    (kernel_h, kernel_w), (stride_y, stride_x) = layer.kernel, layer.stride
    before = layer.padding[1][0]
    groups = lane_groups(layer, unaligned)
    in_rows = taps_inside(in_h, out_h, kernel_h, stride_y, layer.padding[0][0])
    in_cols = taps_inside(in_w, out_w, kernel_w, stride_x, before)
    counts: Counts = {"rows": out_h, "calls": 1}
    low = (before + stride_x - 1) // stride_x
    high = min((in_w + before - kernel_w) // stride_x + 1, out_w) if in_w + before >= kernel_w else 0
    slides = kernel_h <= 4 and kernel_w <= 4 and high > low
    walked = in_cols
    if slides:
        # One clipped window on each side slides along; those further out are walked.
        left, right = int(low > 0), int(out_w > high)
        overlap = max(kernel_w - stride_x, 0)
        left_columns = kernel_w - before + (low - 1) * stride_x if left else 0
        right_columns = max(in_w + before - high * stride_x - overlap, 0) if right else 0
        columns = left_columns + overlap + (high - low) * (kernel_w - overlap) + right_columns
        walked = np.concatenate([in_cols[: low - left], in_cols[high + right :]])
        joins = (high - low) * (kernel_w - 1) + max(left_columns - 1, 0) + right * max(right_columns, 0)
        counts |= {
            "elements": int(in_rows.sum()) * columns * groups,
            "columns": out_h * columns * groups,
            "joins": out_h * joins * groups,
            "outputs": out_h * (high - low + left + right) * groups,
            "edges": out_h * (left + right) * groups,
            "turns": out_h * groups * loop_turns(high - low, 2) * (layer.op == "max_pool2d" or groups < channels),
            "strips": out_h * groups,
            "clipped": int((in_rows != kernel_h).sum()),
        }
    if layer.op == "avg_pool2d":
        lanes = 1 if groups == layer.image[2] else 4 // layer.numpy_dtype.itemsize
        counts["averages"] = out_h * out_w * groups * lanes
    counts |= {
        "taps": int(in_rows.sum() * walked.sum()) * groups,
        "windows": out_h * len(walked) * groups,
        "lines": int(in_rows.sum()) * len(walked) * groups,
        "singles": out_h * len(walked),
    }
    return counts


def lane_groups(layer: Layer, unaligned: bool) -> int:
    """Groups of channels that a pooling kernel takes at once: words where it can read them, else single channels."""
    channels, lanes = layer.image[2], 4 // layer.numpy_dtype.itemsize
    if layer.op == "avg_pool2d" and (
        layer.dtype == "q15" or min(layer.kernel[0], layer.image[0]) * min(layer.kernel[1], layer.image[1]) > 256
    ):
        return channels
    if channels < lanes or (not unaligned and channels % lanes):
        return channels
    return -(-channels // lanes)


def elementwise(layer: Layer) -> Counts:
    size, lanes = prod(layer.input_shape), 4 // layer.numpy_dtype.itemsize
    if layer.op == "relu":
        return {"elements": size // lanes, "rest": size % lanes, "turns": loop_turns(size // lanes, 8), "calls": 1}
    return {"elements": size, "turns": loop_turns(size, 2 if layer.op == "softmax" else 4), "calls": 1}
