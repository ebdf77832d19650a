# SPDX-License-Identifier: Apache-2.0
"""What a board's memories add to the estimate of a layer: the declared model that the emulator runs access by access,
here from the geometry alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from cmsisnn_x.isa import Features, Isa
from cmsisnn_x.layers import Layer
from cmsisnn_x.variant import Variant

from ..target import Target
from . import fetch
from .ops import parts_of

RUNS_PER_BLOCK = {"c": 0.33, "asm": 0.65}
"""Share of a blocked kernel's code that runs for every block, the way around its special cases left out; found in
emulation on the paper's network. What does not fit into the instruction cache is read from the flash each time.
"""
LITERALS = 16
"""Bytes of a cache of constants that a kernel's own, between its instructions, take from those of a block of rows."""
CROWDED = 0.85
"""Share of an instruction cache that such code may fill before its lines begin to drive each other out."""
VECTORS_OF_A_STEP = {"conv2d": 2, "fully_connected": 1}
"""Of weights, in kernels in vectors."""
IN_ONE_BANK = 0.25
"""Share of pairs of elements, wherever they lie."""


def _gathered(layer: Layer, scattered: np.ndarray, target: Target) -> np.ndarray | float:
    """What elements cost that lie apart: entries of tables, which are constants; pixels of few channels."""
    more, apart = (target.refinements.get(name, 0.0) for name in ("gather_pair", "gather_conflict"))
    if layer.op == "conv2d":
        return scattered * (6 * more + 8 * IN_ONE_BANK * apart)
    size, wide = prod(layer.output_shape), layer.type.bits == 16
    vectors = size / 16 if layer.op == "look_up" or layer.row.has_table else 0.0
    if layer.op == "softmax" and layer.type.is_affine:
        return size / 2 * apart
    if wide:  # two of eight elements each
        return 2 * vectors * 2 * (2 * more + 4 * apart)
    return vectors * (6 * more + 8 * apart)


def added_cycles(
    layer: Layer,
    variants: Sequence[Variant | None],
    counts: np.ndarray,
    weights_bytes: np.ndarray,
    code_bytes: np.ndarray,
    target: Target,
) -> np.ndarray:
    """Cycles that wait states and unaligned accesses add, one number per variant.

    Parameters
    ----------
    layer : Layer
    variants : sequence of Variant or None
    counts : ndarray, shape (variants, parts)
        As `ops.count` gives them.
    weights_bytes, code_bytes : ndarray
        Of each variant, as emitted.
    target : Target

    Notes
    -----
    Activations, columns and stack are taken to lie in the fastest memory. Weights are read once per block of outputs;
    what a cache holds (all of them, or those of one block of rows) is waited for once, or once per group of columns.
    """
    if target.is_core:
        return np.zeros(len(variants))
    names = list(parts_of(layer))

    def part(name: str) -> np.ndarray:
        return counts[:, names.index(name)] if name in names else np.zeros(len(variants))

    line = target.cache_line_bytes or target.flash_line_bytes or 4
    miss = target.flash_wait_states + target.line_fill_cycles
    following = max(0, miss - target.flash_line_bytes // 4) if target.flash_prefetch else miss
    blocks = part("blocks") + part("left_blocks")
    code = np.asarray(code_bytes, float)

    again = code * np.array([RUNS_PER_BLOCK["c" if v is None or v.inner == "c" else "asm"] for v in variants])
    over = np.maximum(0, again - CROWDED * target.instruction_cache_bytes)
    anew = np.minimum(again, 3 * over) * blocks
    if not target.shared_cache:
        # Sets that fill up before others take their share of a cache.
        capacity = target.instruction_cache_bytes * (CROWDED if target.instruction_cache_ways else 1.0)
        seen = fetch.fetched_bytes(layer, variants, counts, capacity, target.core, target.features)
        anew = np.where(np.isnan(seen), anew, seen)
    added = (code + anew) / line * following
    if layer.weights is not None and miss:
        weights = np.asarray(weights_bytes, float)
        rows = np.array([v.block_rows if v else 1 for v in variants])
        row_blocks = np.maximum(1, -(-layer.output_shape[-1] // rows))
        held = np.maximum(0, target.instruction_cache_bytes - code) if target.shared_cache else target.flash_cache_bytes
        groups = np.maximum(1, part("groups") / row_blocks)
        of_block = weights / row_blocks + LITERALS
        passes = np.where(weights <= held, 1, np.where(of_block <= held, groups, blocks / row_blocks))
        # Without a cache, rows that are read in turns drive each other's line out of the only buffer.
        plain = np.array([v is None or v.weight_layout == "plain" for v in variants]) & (rows > 1) & (held == 0)
        added += passes * weights / np.where(plain, 4, line) * miss
    steps = part("steps") + part("straight_steps")
    added += _unaligned(layer, variants, steps, target.features) * target.refinements.get("unaligned_load", 0)
    if target.features.isa < Isa.HELIUM:
        return added
    if target.itcm_bytes and target.itcm_bytes >= (target.flash_bytes or 0) and layer.op in VECTORS_OF_A_STEP:
        loaded = (steps + part("left_steps")) * VECTORS_OF_A_STEP[layer.op]
        in_vectors = np.array([v is not None and v.inner == "helium" for v in variants])
        added += in_vectors * loaded * 2 * target.refinements.get("itcm_vector", 0)
    return added + _gathered(layer, part("copy_turns") + part("cut_ragged"), target)


def _unaligned(layer: Layer, variants: Sequence[Variant | None], steps: np.ndarray, features: Features) -> np.ndarray:
    """Loads across a word boundary: of columns that start at any halfword, for an odd channel count, and of rows of
    plain q7 weights that start at any byte.
    """
    loads = np.zeros(len(variants))
    if layer.op not in ("conv2d", "fully_connected") or layer.weights is None:
        return loads
    length = layer.weights[0].size
    crossing = {0: 0.0, 2: 0.5}.get(length % 4, 0.75)
    for at, v in enumerate(variants):
        if v is None:
            continue
        if v.lowering in ("winograd", "line_buffer") and layer.image[2] % 2:
            loads[at] += steps[at] * v.block_cols / 2
        if (
            features.isa >= Isa.DSP
            and v.weight_layout == "plain"
            and v.lowering != "winograd"
            and (layer.weights_dtype or layer.dtype) in ("q7", "int8")
        ):
            loads[at] += steps[at] * v.block_rows * crossing
    return loads
