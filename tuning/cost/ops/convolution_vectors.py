# SPDX-License-Identifier: Apache-2.0
"""Convolutions in vectors (Helium): how often parts run, by the names of `convolution.PARTS`, and what they cost."""

from __future__ import annotations

from dataclasses import replace
from math import prod

from cmsisnn_x.isa import Features
from cmsisnn_x.layers import Layer
from cmsisnn_x.variant import Variant

from ..loops import Counts, Knobs, taps_inside

MOST_WRITTEN, MOST_WORDS, FEW_WRITTEN = 15, 20, 2
"""Vectors of a window that a kernel which is unrolled writes out, in strips of whole words, and that any does."""


def vectors_of(layer: Layer) -> int:
    """Vectors of 16 bytes that hold a window."""
    return -(-prod(layer.kernel) * layer.image[2] * layer.type.bits // 128)


def as_compiled(layer: Layer, variant: Variant) -> Variant:
    """Long windows are loops, short ones are written out."""
    vectors, step = vectors_of(layer), layer.stride[1] * layer.kernel[0] * layer.image[2] * layer.type.bits // 8
    most = MOST_WORDS if variant.lowering == "line_buffer" and step % 4 == 0 else MOST_WRITTEN
    unroll = 1 if vectors > most else 8 if vectors <= FEW_WRITTEN else variant.unroll
    return replace(variant, unroll=unroll)


def count(layer: Layer, knob: Knobs, features: Features) -> Counts:
    """A step is a vector of two pixels and two channels, a block eight channels of two pixels, and a group a block of
    channels of all pixels of a row. Channels that fill no block are finished in C, up to four of them as `partial`,
    more as `left_blocks`; in loops their steps are like any other. Of windows of one vector nothing goes on beside
    their products: `runs` and `flushes` are blocks and groups of such. Words are whole vectors that are woven into a
    strip, ragged ones the last of a pixel; of few channels copy turns scatter several pixels. Cut ones are of rows of
    padding, segments rows of a strip.
    """
    (_in_h, in_w, channels), (out_h, out_w, out_ch) = layer.image, layer.output_image
    (kernel_h, kernel_w), (stride_y, stride_x) = layer.kernel, layer.stride
    (top, _), (left, _) = layer.padding
    vectors, size = vectors_of(layer), layer.type.bits // 8
    blocks, rest = divmod(out_ch, 8)
    loops = (knob("unroll") == 1).astype(int) * (vectors > FEW_WRITTEN)
    direct = knob("lowering")[0] == "direct"
    joined = direct and (stride_y, stride_x) == (1, 1) and (kernel_w, out_w) == (1, in_w)
    at_once = 2 if not direct and out_w % 2 and out_w < 16 and out_h > 1 else 1
    rows = 1 if joined else -(-out_h // at_once)
    width = out_h * out_w if joined else out_w * at_once
    pairs = rows * -(-width // 2)
    left_passes = 0 if not rest else 2 if rest <= 4 else 4  # over the window, of two channels each
    counts: Counts = {
        "steps": pairs * (4 * blocks + left_passes) * vectors * loops,
        "straight_steps": blocks * pairs * 4 * vectors * (1 - loops),
        "turns": pairs * (4 * blocks + left_passes) * loops,
        "blocks": blocks * pairs,
        "runs": blocks * pairs * (vectors == 1),
        "left_steps": pairs * left_passes * vectors * (1 - loops),
        "left_blocks": (rest > 4) * pairs,
        "partial": (0 < rest <= 4) * pairs,
        "groups": blocks * rows,
        "flushes": blocks * rows * (vectors == 1),
        "rows": rows,
        "calls": 1,
    }
    if direct:
        return counts
    run, column = channels * size, kernel_h * channels * size
    span = (out_w - 1) * stride_x + kernel_w
    inside = max(min(in_w, span - left), 0)
    real = int(taps_inside(layer.image[0], out_h, kernel_h, stride_y, top).sum())
    outside = out_h * kernel_h - real
    strip = (out_w - 1) * stride_x * column + 16 * vectors
    counts |= {
        "segments": real,
        "outside": outside,
        "zero_lines": (left > 0 or span - left > in_w) * at_once * strip // 16,
    }
    if run <= 8 and 15 // run * column + 15 % run <= 255:
        turns = -(-inside // (16 // run))
        return {**counts, "copy_turns": real * turns, "cut_ragged": outside * turns}
    return {
        **counts,
        "words": real * inside * (run // 16),
        "ragged": real * inside * (run % 16 > 0),
        "cut_words": outside * inside * -(-run // 16),
    }


def price() -> dict[str, float]:
    """Of what is counted: vector instructions, a cycle each where they alternate; rough."""
    return {
        "steps": 8.0,
        "straight_steps": 8.0,
        "turns": 9.0,
        "left_steps": 8.0,
        "blocks": 30.0,
        "runs": 4.0,
        "left_blocks": 70.0,
        "partial": 46.0,
        "groups": 28.0,
        "flushes": 8.0,
        "rows": 24.0,
        "words": 3.5,
        "ragged": 6.0,
        "copy_turns": 7.5,
        "cut_words": 3.0,
        "cut_ragged": 4.0,
        "segments": 16.0,
        "outside": 24.0,
        "zero_lines": 2.0,
        "calls": 60.0,
    }
