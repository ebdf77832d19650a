# SPDX-License-Identifier: Apache-2.0
"""Layers that run a few rows at a time: a call is priced as a layer of those rows; what lies between calls is added."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from cmsisnn_x.bands import banded
from cmsisnn_x.chain import Link
from cmsisnn_x.layers import Layer

from .estimate import scratch_of
from .table import TERMS, Estimates

CALL_CYCLES = 60
"""Of a call beside its kernel: the entry of the schedule, which rows it has, arguments."""
MOVE_CYCLES, MOVE_CYCLES_PER_BYTE = 40, 0.7
"""Of rows that are moved to the front of a ring: four words in 11 or 12 cycles."""
CODE_BYTES = 96
"""Of the function that makes some rows, and its part of the chain's."""


def estimate_chained(
    layer: Layer,
    whole: Estimates,
    price: Callable[[int], np.ndarray],
    calls: Mapping[int, int],
    band: int,
    moves: int = 0,
    moved_bytes: int = 0,
) -> Estimates:
    """The estimates of a layer in a chain, from `whole`, those of the layer by itself.

    Parameters
    ----------
    layer : Layer
        Over rows.
    whole : Estimates
    price : callable
        Rows -> cycles by cause of a call that makes so many, as `estimate_rows` has them.
    calls : mapping
        Rows -> how many calls make so many.
    band : int
        The most of them.
    moves, moved_bytes : int
        Of rows in the ring of its output: how often, and how many bytes.
    """
    terms = np.zeros(whole.terms.shape)
    for rows, count in calls.items():
        terms += count * price(rows)
    terms[:, TERMS.index("loop")] += CALL_CYCLES * sum(calls.values()) + MOVE_CYCLES * moves
    terms[:, TERMS.index("memory")] += MOVE_CYCLES_PER_BYTE * moved_bytes
    return replace(
        whole,
        emulated_cycles=None,
        terms=np.rint(terms).astype(np.int64),
        scratch_bytes=banded_scratch(layer, whole, band),
        code_bytes=whole.code_bytes + CODE_BYTES,
    )


def with_rows_fed(table: Estimates, feed: Link, moved_bytes: int) -> Estimates:
    """The estimates of the first layer of a chain, with what the rows of its input cost that come one by one."""
    terms = table.terms.copy()
    height = feed.windows.output_height
    terms[:, TERMS.index("loop")] += CALL_CYCLES * height
    moved = moved_bytes + height * feed.row_bytes
    terms[:, TERMS.index("memory")] += int(MOVE_CYCLES_PER_BYTE * moved)
    return replace(table, terms=terms)


def banded_scratch(layer: Layer, whole: Estimates, band: int) -> np.ndarray:
    """Scratch of each variant in bands of so many rows."""
    return scratch_of(banded(layer, band), whole.variants)
