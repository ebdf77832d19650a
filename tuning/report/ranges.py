# SPDX-License-Identifier: Apache-2.0
"""How much of their integers' range the tensors use: of weights always, of activations where data were given."""

from __future__ import annotations

from dataclasses import dataclass
from math import log2

import numpy as np

from cmsisnn_x.layers import Layer
from tuning.plan import Plan


@dataclass(frozen=True)
class Range:
    """Magnitudes of a tensor on a scale of bits: `used` is log2 of the largest, `quartiles` of the non-zero ones.

    `text` is what a row says at its end: the Q format where it is known, else the bits in use.
    """

    name: str
    kind: str
    bits: int
    largest: int
    used: float
    quartiles: tuple[float, float, float]
    text: str


def weight_ranges(plan: Plan) -> list[Range]:
    """Weights and biases of every layer that has them."""
    found = []
    for item in plan.layers:
        for kind in ("weights", "bias"):
            array = getattr(item.layer, kind)
            if array is not None and array.size:
                found.append(range_of(f"{item.layer.name} {kind}", kind, array))
    return found


def range_of(name: str, kind: str, values: np.ndarray) -> Range:
    """The range of one integer array."""
    bits = values.dtype.itemsize * 8
    magnitudes = np.abs(values.astype(np.int32).ravel())
    largest = int(magnitudes.max(initial=0))
    nonzero = magnitudes[magnitudes > 0]
    quartiles = (0.0, 0.0, 0.0)
    if nonzero.size:
        # By rank, so that no platform's interpolation decides a digit.
        ordered = np.sort(nonzero)
        low, middle, high = (log2(int(ordered[(len(ordered) - 1) * q // 4])) for q in (1, 2, 3))
        quartiles = (low, middle, high)
    used = log2(largest) if largest else 0.0
    return Range(name, kind, bits, largest, min(used, bits - 1), quartiles, f"±{largest:,}")


def has_drawn_weights(layers: tuple[Layer, ...]) -> bool:
    """Whether nothing can be said of ranges: no layer has weights."""
    return all(layer.weights is None for layer in layers)
