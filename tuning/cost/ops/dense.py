# SPDX-License-Identifier: Apache-2.0
"""Parts of a fully connected layer, and how often each runs."""

from __future__ import annotations

from math import prod

import numpy as np

from cmsisnn_x.layers import Layer

from ..loops import Counts, Knobs, loop_turns

DENSE = {
    "words": "im2col",  # steps of the input widened
    "ragged": "im2col",
    "excess": "im2col",  # steps of the input summed for the weights' offset
    "steps": "multiply_accumulate",
    "pair_steps": "multiply_accumulate",  # the same in the two rows left over by blocks of four
    "last_steps": "multiply_accumulate",  # in the row left over
    "singles": "multiply_accumulate",
    "blocks": "requantise",
    "pair_blocks": "requantise",
    "last_blocks": "requantise",
    "turns": "loop",
    "pair_turns": "loop",
    "last_turns": "loop",
    "rest": "loop",  # steps behind the unrolled loop
    "cuts": "loop",  # times that sums are folded before they overflow
    "calls": "loop",
}
"""Parts of a fully connected layer."""


def dense(layer: Layer, knob: Knobs, dsp: bool) -> Counts:
    size, out = prod(layer.input_shape), prod(layer.output_shape)
    rows, unroll = knob("block_rows"), knob("unroll")
    plain, narrow = knob("weight_layout") == "plain", (layer.weights_dtype or layer.dtype) == "q7"
    widened = (knob("lowering") == "im2col") & (layer.dtype == "q7")
    fours, twos = np.where(rows == 4, out // 4, 0), np.where(rows > 1, out % np.where(rows == 4, 4, out + 1) // 2, 0)
    ones = out - 4 * fours - 2 * twos
    blocks, pairs, last = np.where(rows == 4, fours, twos), np.where(rows == 4, twos, 0), ones
    blocks, last = np.where(rows == 1, ones, blocks), np.where(rows == 1, 0, last)
    paired = (knob("weight_layout") == "interleaved") & (layer.dtype == "q7") & narrow & (rows > 1) & (out > 1)
    scalar = plain & (not dsp)
    if scalar.any():  # elements, not steps of four
        passes, rest, tail = np.full_like(rows, size), np.zeros_like(rows), np.zeros_like(rows)
        turns = loop_turns(passes, unroll)
    else:
        steps = size // 4
        turns = steps // unroll
        rest = steps % unroll
        passes = steps + ((size % 4 > 0) & ~plain)
        tail = np.where(plain, size % 4, size % 4 > 0)
    cuts = np.where(paired, np.maximum(-(-(size // 4 // unroll * unroll) // 120), 1), 0)
    every = blocks + pairs + last
    return {
        "words": np.where(widened, size // 4, 0),
        "ragged": np.where(widened & scalar, size % 4, 0),
        "excess": np.where(paired, size // 4 + size % 4, 0),
        "steps": blocks * passes,
        "pair_steps": pairs * passes,
        "last_steps": last * passes,
        "singles": (blocks * np.where(plain, rows, 1) + pairs * np.where(plain, 2, 1) + last) * tail,
        "blocks": blocks,
        "pair_blocks": pairs,
        "last_blocks": last,
        "turns": blocks * turns,
        "pair_turns": pairs * turns,
        "last_turns": last * turns,
        "rest": every * rest,
        "cuts": (blocks + pairs) * cuts,
        "calls": 1,
    }
