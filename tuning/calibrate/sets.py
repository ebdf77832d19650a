# SPDX-License-Identifier: Apache-2.0
"""The sets of layers of a calibration, by type and operation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from cmsisnn_x.layers import Layer

from . import grid
from .drawn import (
    COUNTS,
    affine_of,
    drawn,
    long_windows,
    other_softmaxes,
    pairs,
    resizes,
    rounded_twice,
    short_rows,
)
from .vectors import of_vectors

FITTED, UNSEEN, CONFIRMED = 1, 2, 3
"""Seeds of what is drawn: to fit, to judge a fit, and to judge by when all else was settled."""
SHARE = 3.5
"""How many layers are drawn to fit, by the numbers of a set."""
SHORT_ROWS = 120
"""How many convolutions of short windows are fitted, of each type."""
LONG_WINDOWS = 40
"""How many pools of long windows are fitted, of each type; a quarter as many judge."""
HELD_OUT = 0.35
"""How many layers a set to judge by has, by the same numbers."""
SOME = 3
"""Each how many-th layer of the grid is fitted with zero points too."""
OF_VECTORS = {
    "conv2d": 8, "depthwise_conv2d": 2, "fully_connected": 6, "max_pool2d": 6, "avg_pool2d": 6, "mean": 2, "softmax": 6,
    "add": 4, "maximum": 3, "minimum": 3, "concat": 2, "copy": 1, "pad": 4, "resize_nearest": 1,
}  # fmt: skip
"""Each how many-th layer of an operation and type cores with Helium are fitted on, and of those that they are judged by
twice as many: a vector kernel is one text, whatever the compiler, and follows its counts closely.
"""
OF_OTHER_VECTORS = 4
"""The same of all other operations."""
TWICE = 3
"""Each how many-th depthwise layer along one axis is fitted with two roundings too."""
TYPES = ("q7", "q15", "int8")
OPERATIONS = tuple(COUNTS)


def to_fit(
    dtypes: Sequence[str] = TYPES, ops: Sequence[str] = OPERATIONS, *, vectors: bool = False
) -> list[Layer]:
    """The layers that coefficients are fitted on, or those of them that cores with vectors take."""
    twins: list[Layer] = []
    if "int8" in dtypes:
        weighted = [layer for layer in grid.grid(("q7",)) if layer.row.is_weighted]
        large = [layer for layer in weighted if layer.name.startswith(grid.LARGE)]
        twins = [affine_of(layer) for layer in (*weighted[::SOME], *large)]
    short = short_rows(FITTED, dtypes, SHORT_ROWS) if "conv2d" in ops else ()
    found = _of([*grid.grid(_pow2(dtypes)), *drawn(FITTED, dtypes, SHARE), *short, *twins], ops)
    if not vectors:
        return [*found, *long_windows(FITTED, dtypes, ops, LONG_WINDOWS)]
    more = of_vectors(_pow2(dtypes))
    if "int8" in dtypes:
        twins = [affine_of(layer) for layer in of_vectors(("q7",))]
        twice = [rounded_twice(layer) for layer in twins if layer.row.is_weighted]
        more += [*twins, *twice[::TWICE], *other_softmaxes((3, 10, 37, 128, 600))]
        more += resizes((1, 2, 4, 12, 16, 33, 48, 60, 80, 112, 130, 200))
    return [*_some(found, 1), *_of(more, ops)]


def held_out(
    dtypes: Sequence[str] = TYPES, ops: Sequence[str] = OPERATIONS, *, vectors: bool = False
) -> dict[str, list[Layer]]:
    """Sets that coefficients are judged by, without the few layers that were drawn for the fit too."""
    powers = _pow2(dtypes)
    known = {shapes_of(layer) for layer in to_fit(dtypes, ops)}
    sets = {
        "unseen": grid.unseen(powers),
        "confirm": grid.confirm(powers),
        "drawn": [*drawn(UNSEEN, dtypes, HELD_OUT), *drawn(CONFIRMED, dtypes, HELD_OUT)],
    }
    if not vectors:
        sets["drawn"] += long_windows(UNSEEN, dtypes, ops, LONG_WINDOWS // 4)
    apart = {name: [one for one in _of(layers, ops) if shapes_of(one) not in known] for name, layers in sets.items()}
    return {name: _some(layers, 2) if vectors else layers for name, layers in apart.items()}


def shapes_of(layer: Layer) -> tuple[Any, ...]:
    """What tells a layer apart from others of its operation and types."""
    window = (layer.kernel, layer.stride, layer.padding)
    return (layer.op, layer.dtype, layer.weights_dtype, layer.input_shapes, layer.output_shape, window)


def held_out_pairs(
    dtypes: Sequence[str] = TYPES, ops: Sequence[str] = OPERATIONS, *, vectors: bool = False
) -> list[tuple[Layer, Layer]]:
    """Convolutions with a pooling behind them, to judge what both take as one."""
    found = list(pairs(UNSEEN, dtypes, 16)) if "conv2d" in ops else []
    return found[:: OF_VECTORS["conv2d"]] if vectors else found


def _some(layers: Sequence[Layer], times: int) -> list[Layer]:
    """Of each operation and type as `OF_VECTORS` says, `times` as many."""
    seen: Counter[tuple[str, str, str | None]] = Counter()
    found = []
    for layer in layers:
        every = max(OF_VECTORS.get(layer.op, OF_OTHER_VECTORS) // times, 1)
        kind = layer.op, layer.dtype, layer.weights_dtype
        if seen[kind] % every == 0:
            found.append(layer)
        seen[kind] += 1
    return found


def _pow2(dtypes: Sequence[str]) -> list[str]:
    return [dtype for dtype in dtypes if dtype in grid.DTYPES]


def _of(layers: Iterable[Layer], ops: Sequence[str]) -> list[Layer]:
    return [layer for layer in layers if layer.op in ops]
