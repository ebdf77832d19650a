# SPDX-License-Identifier: Apache-2.0
"""Fully connected layers: their parts, how often each runs, and what one run costs."""

from __future__ import annotations

from dataclasses import replace
from math import prod

import numpy as np

from cmsisnn_x.isa import Features, Isa
from cmsisnn_x.layers import Layer
from cmsisnn_x.packing_dense import COUPLED_ROWS, parts_of
from cmsisnn_x.variant import Variant

from ..instructions import Cycles, inner_pass, is_narrow
from ..loops import Counts, Knobs, by_lowering, loop_turns
from ..op_cost import Effort, OpCost, Timing, Variants

PARTS = {
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


def _rows(layer: Layer, knob: Knobs, features: Features) -> Counts:
    size, out = prod(layer.input_shape), prod(layer.output_shape)
    rows, unroll = knob("block_rows"), knob("unroll")
    plain, narrow = knob("weight_layout") == "plain", is_narrow(layer)
    widened = (knob("lowering") == "im2col") & (layer.dtype == "q7")
    fours, twos = np.where(rows == 4, out // 4, 0), np.where(rows > 1, out % np.where(rows == 4, 4, out + 1) // 2, 0)
    ones = out - 4 * fours - 2 * twos
    blocks, pairs, last = np.where(rows == 4, fours, twos), np.where(rows == 4, twos, 0), ones
    blocks, last = np.where(rows == 1, ones, blocks), np.where(rows == 1, 0, last)
    paired = (knob("weight_layout") == "interleaved") & (layer.dtype == "q7") & narrow & (rows > 1) & (out > 1)
    scalar = plain & (features.isa < Isa.DSP)
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


def _coupled(layer: Layer, knob: Knobs, features: Features) -> Counts:
    """Of coupled weights: blocks of five rows, the last of which may do some again; turns of twice `unroll` steps,
    where there are two or more.
    """
    size, out = prod(layer.input_shape), prod(layer.output_shape)
    steps, blocks = -(-size // 4), -(-out // COUPLED_ROWS)
    turns = steps // (2 * knob("unroll"))
    return {
        "words": size // 4,
        "ragged": size % 4,
        "steps": blocks * steps,
        "blocks": blocks,
        "turns": blocks * np.where(turns > 1, turns, 0),
        "calls": 1,
    }


def _vectors(layer: Layer, knob: Knobs, features: Features) -> Counts:
    """Of Helium: the input's vectors are loaded once, a part of them at a time, and all rows pass each part. Outputs
    are made eight at a time, then four, and those left over.
    """
    size, out = prod(layer.input_shape), prod(layer.output_shape)
    vectors = -(-size * layer.type.bits // 128)
    parts = len(parts_of(vectors))
    return {
        "words": vectors,
        "steps": out * vectors,
        "rest": out,  # a sum stored
        "turns": out * (parts - 1),  # and read again for the next part
        "cuts": parts,
        "blocks": out // 8,
        "pair_blocks": out % 8 // 4,
        "last_blocks": out % 4 > 0,
        "calls": 1,
    }


def count(layer: Layer, variants: Variants, features: Features) -> np.ndarray:
    compiled = [as_compiled(layer, variant) for variant in variants]
    counters = {"im2col": _rows, "direct": _rows, "coupled": _coupled, "direct in vectors": _vectors}
    return by_lowering(layer, compiled, features, PARTS, counters)


def price(layer: Layer, variant: Variant | None, features: Features, timing: Timing) -> dict[str, float]:
    """A prior for a fit, no more: instructions that the C source asks for, counted by hand; rough where it says so.

    Passes are priced as a convolution's, of two elements; where they take four, packed weights twice. Plain weights are
    not: elements of cores without the DSP extension come out twice too dear, passes of plain q15 at half.
    """
    variant = as_compiled(layer, variant)
    assert variant is not None
    one = Cycles.of(timing, features)
    alu, store, load, branch = one.alu, one.store, one.load, one.branch
    if variant.inner == "helium":
        return dict.fromkeys(PARTS, 0.0) | {
            "words": 2.0, "steps": 2.0, "rest": store, "turns": load, "cuts": 16.0, "blocks": 28.0,
            "pair_blocks": 20.0, "last_blocks": 24.0, "calls": 30 * alu,
        }  # fmt: skip
    if variant.weight_layout == "coupled":
        # A word per row and two of the input, SXTB16 and two SMLAD per row: the dual issue holds the rest beside those.
        step = COUPLED_ROWS * (one.load + alu + 2 * one.mac) + 2 * one.load + one.first_load
        block = COUPLED_ROWS * (3 * alu + store) + 8 * load + 10 * alu + 2 * branch
        return dict.fromkeys(PARTS, 0.0) | {
            "words": load + 6 * alu + 2 * store + branch / 4, "ragged": load + 2 * alu + branch,
            "steps": step if features.schedule != "dual" else (17 * COUPLED_ROWS + 3) / 8, "blocks": block,
            "turns": one.turn + load, "calls": 40 * alu,
        }  # fmt: skip
    rows = variant.block_rows
    packed = features.isa >= Isa.DSP and variant.weight_layout != "plain"
    four, two, last = (
        inner_pass(layer, variant, height, 1, features, one) * (2 if packed else 1) for height in (rows, 2, 1)
    )
    if packed:
        four, two = four + 2 * alu, two + 2 * alu  # the input's pairs, of 8 bits, extracted for all rows; rough
    row = 6 * alu + load + store  # its bias, the sum shifted and saturated
    return {
        "words": 2 * load + 2 * alu + 2 * store,  # SXTB16 twice
        "ragged": load + store + branch,
        "excess": load + 2 * alu + branch / 4,  # EOR, USADA8, a loop of four
        "steps": four,
        "pair_steps": two,
        "last_steps": last,
        "singles": 2 * load + one.mac + 2 * alu,
        "blocks": rows * row + 10 * alu + branch,  # 10: addresses, and the loop over blocks; rough
        "pair_blocks": 2 * row + 10 * alu + branch,
        "last_blocks": row + 10 * alu + branch,
        "turns": one.turn,
        "pair_turns": one.turn,
        "last_turns": one.turn,
        "rest": one.turn,  # a turn of a loop that is not unrolled, around a step
        "cuts": 4 * rows * alu + branch,  # per row a subtraction, a shift, an addition, and a zero
        "calls": 30 * alu,  # registers saved and restored, constants; rough
    }


def as_compiled(layer: Layer, variant: Variant | None) -> Variant | None:
    """With fewer rows than a block, the code of a smaller block."""
    if variant is None or variant.inner != "c":
        return variant
    out = layer.output_shape[-1]
    if out >= variant.block_rows or (out == 1 and variant.weight_layout != "plain"):
        return variant
    return replace(variant, block_rows=min(out, 2), block_cols=1, im2col_cols=1)


def _rank(variant: Variant, features: Features) -> str:
    if variant.inner != "c" or (variant.unroll >= 4 and variant.block_rows == 4):
        return "often"
    return "sometimes" if variant.block_rows > 1 or features.isa < Isa.DSP else "hardly"


NOT_IN_PACKING = ("im2col_cols", "block_cols")
FULLY_CONNECTED = OpCost(
    PARTS, count, price, as_compiled, not_in_packing=NOT_IN_PACKING, effort=Effort(30, 30, 20, _rank)
)
