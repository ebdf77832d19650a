# SPDX-License-Identifier: Apache-2.0
"""The sets of layers of a calibration, by type and operation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cmsisnn_x.layers import Layer

from . import grid
from .drawn import COUNTS, drawn, pairs

FITTED, UNSEEN, CONFIRMED = 1, 2, 3
"""Seeds of the drawn parts. What is fitted, what a fit is judged by, and what was drawn when all else was settled."""
TYPES = ("q7", "q15", "int8")
OPERATIONS = tuple(COUNTS)


def to_fit(dtypes: Sequence[str] = TYPES, ops: Sequence[str] = OPERATIONS) -> list[Layer]:
    """The layers that coefficients are fitted on."""
    return _of([*grid.grid(_pow2(dtypes)), *drawn(FITTED, dtypes)], ops)


def held_out(dtypes: Sequence[str] = TYPES, ops: Sequence[str] = OPERATIONS) -> dict[str, list[Layer]]:
    """Sets that coefficients are judged by."""
    powers = _pow2(dtypes)
    return {
        "unseen": _of([*grid.unseen(powers), *drawn(UNSEEN, dtypes, 0.35)], ops),
        "confirm": _of([*grid.confirm(powers), *drawn(CONFIRMED, dtypes, 0.35)], ops),
    }


def held_out_pairs(dtypes: Sequence[str] = TYPES, ops: Sequence[str] = OPERATIONS) -> list[tuple[Layer, Layer]]:
    """Convolutions with a pooling behind them, to judge what both take as one."""
    return list(pairs(UNSEEN, dtypes, 16)) if "conv2d" in ops else []


def _pow2(dtypes: Sequence[str]) -> list[str]:
    return [dtype for dtype in dtypes if dtype in grid.DTYPES]


def _of(layers: Iterable[Layer], ops: Sequence[str]) -> list[Layer]:
    return [layer for layer in layers if layer.op in ops]
