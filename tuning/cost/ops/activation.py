# SPDX-License-Identifier: Apache-2.0
"""Element by element: relu, sigmoid, tanh, and the three passes of softmax."""

from __future__ import annotations

from math import prod

import numpy as np

from cmsisnn_x.isa import Features, Isa
from cmsisnn_x.layers import Layer
from cmsisnn_x.variant import Variant

from ..instructions import Cycles
from ..loops import Counts, loop_turns, without_knobs
from ..op_cost import OpCost, Timing, Variants
from . import element_vectors

PARTS = {
    "elements": "multiply_accumulate",  # words of relu, else elements
    "rest": "multiply_accumulate",  # elements that fill no word
    "turns": "loop",
    "calls": "loop",
}


def _elements(layer: Layer) -> Counts:
    size, lanes = prod(layer.input_shape), 4 // layer.numpy_dtype.itemsize
    if layer.op == "relu":
        return {"elements": size // lanes, "rest": size % lanes, "turns": loop_turns(size // lanes, 8), "calls": 1}
    return {"elements": size, "turns": loop_turns(size, 2 if layer.op == "softmax" else 4), "calls": 1}


def count(layer: Layer, variants: Variants, features: Features) -> np.ndarray:
    found = element_vectors.activation(layer) if features.isa >= Isa.HELIUM else _elements(layer)
    return without_knobs(found, variants, PARTS)


def price(layer: Layer, variant: Variant | None, features: Features, timing: Timing) -> dict[str, float]:
    """A prior for a fit, no more: instructions that the C source asks for, counted by hand; rough where it says so."""
    if features.isa >= Isa.HELIUM:
        return element_vectors.activation_price(layer)
    one = Cycles.of(timing, features)
    alu, load, store = one.alu, one.load, one.store
    # What lies between a load and a store: a maximum; an index and a table; a maximum, a power and a shift, and loads
    # for each but one.
    between = {"softmax": 16 * alu + 2 * load, "relu": 2 * alu}.get(layer.op, 3 * alu + load)
    each = between + load + store
    return {
        "elements": each,
        "rest": each + one.branch,  # in a loop of its own
        "turns": one.turn,
        "calls": 30 * alu,  # registers saved and restored, constants; rough
    }


ACTIVATION = OpCost(PARTS, count, price)
"""Of relu, sigmoid, tanh and softmax."""
