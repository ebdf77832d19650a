# SPDX-License-Identifier: Apache-2.0
"""Operations with zero points that multiply no weights, and 16-bit activations by 8-bit weights: simple priors.

Each number is what a kernel needs on paper: loads and stores, and instructions between them. Nothing was fitted yet.
"""

from __future__ import annotations

from math import prod

import numpy as np

from cmsisnn_x.affine import AffineSum
from cmsisnn_x.affine.linear import NOT_LINEAR, linear_of
from cmsisnn_x.isa import Features, Isa
from cmsisnn_x.layers import Layer
from cmsisnn_x.variant import Variant

from ..instructions import Cycles
from ..loops import Counts, without_knobs
from ..op_cost import OpCost, Timing, Variants
from . import element_vectors

PARTS = {
    "elements": "multiply_accumulate",  # read and combined
    "outputs": "requantise",  # brought into their range and stored
    "runs": "loop",  # rows of a softmax, of a copy, of a concatenation; times that a shorter operand begins anew
    "calls": "loop",
}

MORE_INSTRUCTIONS = {"dsp": 6, "v7m": 10, "v6m": 30}
"""Of a multiplier and a zero point, on top of a shift: a long multiplication where there is one, else four."""
SINGLE_INSTRUCTIONS = {"dsp": 2, "v7m": 4, "v6m": 20}
"""The same where two roundings are one, and the shift is what powers of two shift too."""
MORE_BY_FOUR = 4
"""The same where assembly of the DSP extension finishes four outputs of a channel side by side."""
SHIFT_INSTRUCTIONS = 4
"""Of a shift, its rounding and a saturation."""
VECTORS = {
    "add": (3.0, 3.4), "multiply": (2.0, 2.0), "maximum": (0.25, 0.15), "minimum": (0.25, 0.15),
    "look_up": (0.25, 0.12), "requantise": (1.5, 2.5),
}  # fmt: skip
"""Of cores with Helium: cycles of an element that is read and combined, and of an output."""
LINEAR_VECTORS = (1.1, 0.7)
"""The same of a sum by two products and a shift."""
WIDE_PRODUCT = 0.3
"""Cycles of a product of 16 bits by 8 in a fully connected layer there."""
RECIPROCAL = 250
"""Instructions of a fixed-point reciprocal besides its high products, and of the zeros before a sum; rough."""


def kind_of(features: Features) -> str:
    """How a core multiplies 32 by 32 bits: ``"dsp"``, ``"v7m"``, or ``"v6m"`` in four parts."""
    if features.isa >= Isa.DSP:
        return "dsp"
    return "v7m" if features.unaligned else "v6m"


def more_cycles(features: Features, timing: Timing, *, is_single: bool = False, by_four: bool = False) -> float:
    """Of an output with a multiplier, on top of what one with a shift takes; `is_single`: rounded once; `by_four`: of
    a block of four columns.
    """
    kind = kind_of(features)
    instructions = (SINGLE_INSTRUCTIONS if is_single else MORE_INSTRUCTIONS)[kind]
    if by_four and kind == "dsp" and not is_single:
        instructions = MORE_BY_FOUR
    return instructions * Cycles.of(timing, features).alu


def _count(layer: Layer) -> Counts:
    size, out, op = prod(layer.input_shape), prod(layer.output_shape), layer.op
    counts: Counts = {"elements": out, "outputs": out, "runs": 1, "calls": 1}
    if layer.more_inputs and op != "concat":
        counts["runs"] = size // prod(layer.more_inputs[0])
    elif op == "softmax":
        counts["runs"] = prod(layer.input_shape[:-1])
    elif op == "concat":
        counts["runs"] = layer.input_shape[0] * len(layer.input_shapes)
    elif op == "mean":
        counts["elements"], counts["runs"] = size, out
    elif layer.view is not None:
        counts["elements"], counts["runs"] = prod(layer.view.shape), prod(layer.view.shape[:-1])
    elif op == "resize_nearest":
        counts["runs"] = layer.output_image[0] * layer.output_image[1]
    elif layer.row.is_weighted:
        counts["elements"] = layer.macs // layer.samples
    return {name: layer.samples * value for name, value in counts.items()}


def count(layer: Layer, variants: Variants, features: Features) -> np.ndarray:
    if features.isa >= Isa.HELIUM and (found := element_vectors.count(layer)) is not None:
        found = {name: layer.samples * value for name, value in found.items()}
        return without_knobs(found, variants, PARTS)
    return without_knobs(_count(layer), variants, PARTS)


def price(layer: Layer, variant: Variant | None, features: Features, timing: Timing) -> dict[str, float]:
    """A rough prior."""
    if features.isa >= Isa.HELIUM and (found := element_vectors.price(layer)) is not None:
        return dict.fromkeys(PARTS, 0.0) | found
    one = Cycles.of(timing, features)
    alu, load, store = one.alu, one.load, one.store
    more = more_cycles(features, timing)
    requantised = SHIFT_INSTRUCTIONS * alu + more + store
    clamped, stored = 2 * alu + store, store
    high = more + alu  # a high product
    element, output = {
        "add": (2 * load + 4 * alu + more, requantised),  # both brought to one scale
        "multiply": (2 * load + alu + one.mac, more + store),
        "maximum": (2 * load + 2 * alu, clamped),
        "minimum": (2 * load + 2 * alu, clamped),
        "look_up": (2 * load + alu, stored),
        "requantise": (load + alu, requantised),
        "mean": (load + alu, requantised),
        "softmax": (4 * load + 8 * alu, 10 * alu + high + store),  # exponentials are a table
        "sigmoid": (3 * load + 14 * alu + 2 * one.mac, clamped),  # between two points of a table
        "tanh": (3 * load + 14 * alu + 2 * one.mac, clamped),
        "concat": (load / 2, store / 2),  # by words where they fit
        "copy": (load + 2 * alu, stored),
        "pad": (load + 2 * alu, stored + alu),
        "resize_nearest": (load + alu, stored),
    }.get(layer.op, (2 * load + 2 * one.mac + alu, requantised + 2 * more))  # sums of 64 bits
    if variant is not None and variant.inner == "helium" and layer.op == "fully_connected":
        # Eight products beside a load of weights; outputs in vectors, where factors let them.
        return {"elements": WIDE_PRODUCT, "outputs": 15.0, "runs": 0.0, "calls": 100 * alu}
    if variant is not None and variant.inner == "helium":
        element = 0.25
    elif features.isa >= Isa.HELIUM and layer.op in VECTORS:
        element, output = VECTORS[layer.op]
        return {"elements": element, "outputs": output, "runs": 12 * alu + one.branch, "calls": 30 * alu}
    return {
        "elements": element + one.turn / 4,
        "outputs": output,
        "runs": 12 * alu + one.branch + (RECIPROCAL * alu + 9 * high) * (layer.op == "softmax"),
        "calls": 30 * alu,  # registers saved and restored, constants
    }


def sum_price(layer: Layer, variant: Variant | None, features: Features, timing: Timing) -> dict[str, float]:
    """A sum of bytes: two products, a shift and a saturation where factors do (`cmsisnn_x.affine.linear`)."""
    found = price(layer, variant, features, timing)
    scheme = layer.scheme
    assert isinstance(scheme, AffineSum)
    if layer.type.bits != 8 or linear_of(scheme) is NOT_LINEAR:
        return found
    if features.isa >= Isa.HELIUM:
        element, output = LINEAR_VECTORS
        return {**found, "elements": element, "outputs": output}
    one, kind = Cycles.of(timing, features), kind_of(features)
    alu, store, load = one.alu, one.store, one.load
    if kind == "dsp":  # four bytes a load; the dual issue waits for products
        element, output = load / 2 + one.first_load / 4 + alu + 2 * one.mac, alu + store + (0.5 if alu < 1 else 0)
    elif kind == "v7m":
        element, output = 2 * load + one.first_load / 2 + 2 * one.mac, alu + store
    else:
        element, output = 2 * (load + one.first_load) + 2 * one.mac, 7 * alu + store + one.first_load
    if (scheme.low, scheme.high) != (layer.type.low, layer.type.high):  # compared in C
        output += 4 * alu
    return {**found, "elements": element + (alu + one.branch) / (4 if kind == "v6m" else 8), "outputs": output}


def _sizes(layer: Layer, variant: Variant | None, features: Features) -> str:
    return element_vectors.sizes(layer) if features.isa >= Isa.HELIUM else ""


PRIOR = OpCost(PARTS, count, price, sizes=_sizes)
SUM = OpCost(PARTS, count, sum_price)
AFFINE = {"add": SUM} | dict.fromkeys(
    (
        "multiply", "maximum", "minimum", "look_up", "requantise", "mean", "softmax", "concat", "copy", "pad",
        "resize_nearest", "sigmoid", "tanh",
    ),
    PRIOR,
)  # fmt: skip
"""Name of the Python function -> its cost with zero points; what multiplies weights or slides windows costs what its
twin does, and more: `twins`.
"""
