# SPDX-License-Identifier: Apache-2.0
"""The sets of layers of a calibration, by type and operation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from cmsisnn_x.layers import Layer

from . import grid
from .drawn import COUNTS, affine_of, drawn, pairs

FITTED, UNSEEN, CONFIRMED = 1, 2, 3
"""Seeds of what is drawn: to fit, to judge a fit, and to judge by when all else was settled."""
SHARE = 3.5
"""How many layers are drawn to fit, by the numbers of a set."""
HELD_OUT = 0.35
"""How many layers a set to judge by has, by the same numbers."""
SOME = 3
"""Each how many-th layer of the grid is fitted with zero points too."""
VECTORS = 8
"""Each how many-th layer of all sets cores with Helium take: a vector kernel is one text, whatever the compiler, and
follows its counts closely.
"""
TYPES = ("q7", "q15", "int8")
OPERATIONS = tuple(COUNTS)


def to_fit(dtypes: Sequence[str] = TYPES, ops: Sequence[str] = OPERATIONS, every: int = 1) -> list[Layer]:
    """The layers that coefficients are fitted on, or each `every`-th of them."""
    twins: list[Layer] = []
    if "int8" in dtypes:
        weighted = [layer for layer in grid.grid(("q7",)) if layer.row.is_weighted]
        large = [layer for layer in weighted if layer.name.startswith(grid.LARGE)]
        twins = [affine_of(layer) for layer in (*weighted[::SOME], *large)]
    return _of([*grid.grid(_pow2(dtypes)), *drawn(FITTED, dtypes, SHARE), *twins], ops)[::every]


def held_out(
    dtypes: Sequence[str] = TYPES, ops: Sequence[str] = OPERATIONS, every: int = 1
) -> dict[str, list[Layer]]:
    """Sets that coefficients are judged by, without the few layers that were drawn for the fit too."""
    powers = _pow2(dtypes)
    known = {shapes_of(layer) for layer in to_fit(dtypes, ops)}
    sets = {
        "unseen": grid.unseen(powers),
        "confirm": grid.confirm(powers),
        "drawn": [*drawn(UNSEEN, dtypes, HELD_OUT), *drawn(CONFIRMED, dtypes, HELD_OUT)],
    }
    apart = {name: [one for one in _of(layers, ops) if shapes_of(one) not in known] for name, layers in sets.items()}
    return {name: layers[::every] for name, layers in apart.items()}


def shapes_of(layer: Layer) -> tuple[Any, ...]:
    """What tells a layer apart from others of its operation and types."""
    window = (layer.kernel, layer.stride, layer.padding)
    return (layer.op, layer.dtype, layer.weights_dtype, layer.input_shapes, layer.output_shape, window)


def held_out_pairs(
    dtypes: Sequence[str] = TYPES, ops: Sequence[str] = OPERATIONS, every: int = 1
) -> list[tuple[Layer, Layer]]:
    """Convolutions with a pooling behind them, to judge what both take as one."""
    return list(pairs(UNSEEN, dtypes, 16))[::every] if "conv2d" in ops else []


def _pow2(dtypes: Sequence[str]) -> list[str]:
    return [dtype for dtype in dtypes if dtype in grid.DTYPES]


def _of(layers: Iterable[Layer], ops: Sequence[str]) -> list[Layer]:
    return [layer for layer in layers if layer.op in ops]
