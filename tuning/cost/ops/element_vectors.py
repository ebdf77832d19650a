# SPDX-License-Identifier: Apache-2.0
"""What works element by element, means and moves in vectors (Helium): how often parts run, as `affine.PARTS`
and `activation.PARTS` name them, and what they cost.
"""

from __future__ import annotations

from math import prod

from cmsisnn_x.affine.curves import AffineRealSoftmax
from cmsisnn_x.layers import Layer

from ..loops import Counts

COPIED_BITS = 40
"""Of a run from which on it is copied in vectors (``CXN_COPY_LEAST``)."""
FOLDED = 256
"""Rows whose bytes are added up in 16 bits."""
MOVES = ("concat", "copy", "pad", "resize_nearest")


def vectors_of(elements: int, bits: int) -> int:
    """Vectors of 16 bytes that hold so many elements, the last of them filled or not."""
    return -(-elements * bits // 128)


def mean_lanes(layer: Layer) -> int:
    """Channels that a mean adds up at once; 1: fewer than a vector has."""
    channels = layer.input_shape[-1]
    return 16 if layer.type.bits == 8 and channels >= 16 else 8 if channels >= 8 else 1


def _mean(layer: Layer) -> Counts:
    channels, lanes = layer.input_shape[-1], mean_lanes(layer)
    rows, means = prod(layer.input_shape) // channels, prod(layer.output_shape) // channels
    blocks = -(-channels // max(lanes, 8))
    folds = -(-(rows // means) // FOLDED) if lanes > 1 and layer.type.bits == 8 else 1
    return {"elements": rows * blocks, "outputs": means * blocks * folds, "runs": means, "calls": 1}


def _softmax(layer: Layer) -> Counts:
    """Of zero points: eight elements a turn, then four, or what is left of them, at once where outputs have 16 bits."""
    columns = layer.input_shape[-1]
    rows, last = prod(layer.input_shape) // columns, 8 if layer.output_type.bits == 16 else 4
    return {"elements": rows * (columns // 8), "outputs": rows * -(-(columns % 8) // last), "runs": rows, "calls": 1}


STRAIGHT = 112
"""Bytes of a pixel up to which resizing writes its vectors out."""


def _pixels(layer: Layer) -> str:
    """How resizing moves pixels (`resize_helium.h`)."""
    size = layer.image[2] * layer.type.bits // 8
    if size in (1, 2, 4):
        return "gathered" if size == 1 else "words"
    return "some" if size < 16 else "vector" if size == 16 else "straight" if size <= STRAIGHT else "long"


def _resized(layer: Layer) -> Counts:
    """Pixels are outputs, in words four of them or one, else vectors; runs are rows."""
    height, width, channels = layer.output_image
    how = _pixels(layer)
    if how in ("gathered", "words"):
        return {"elements": height * (-(-width // 4) if how == "gathered" else width), "runs": height, "calls": 1}
    vectors = height * width * vectors_of(channels, layer.type.bits)
    return {"elements": vectors, "outputs": height * width, "runs": height, "calls": 1}


def _runs(layer: Layer) -> tuple[int, int, int]:
    """Elements of the last axis of what is moved, their step, and how often there are so many."""
    assert layer.view is not None
    axes: list[tuple[int, int]] = []
    for size, step in zip(layer.view.shape, layer.view.steps, strict=True):
        if axes and axes[-1][1] == size * step:
            axes[-1] = (axes[-1][0] * size, step)
        elif size > 1:
            axes.append((size, step))
    run, step = axes[-1] if axes else (1, 1)
    return run, step, prod(layer.view.shape) // run


def copies(layer: Layer) -> bool:
    """Whether runs are moved in vectors; else their elements one by one."""
    if layer.op == "concat":
        return True
    run, step, _ = _runs(layer)
    return step == 1 and run * layer.type.bits >= COPIED_BITS


def _moves(layer: Layer) -> Counts:
    """Runs of more than a vector turn back, which the first time costs more: `outputs`, but for padding."""
    bits, outputs = layer.type.bits, prod(layer.output_shape)
    if layer.op == "resize_nearest":
        return _resized(layer)
    if layer.op == "concat":
        rows = layer.input_shape[0]
        parts = [vectors_of(prod(shape) // rows, bits) for shape in layer.input_shapes]
        longer = sum(part > 1 for part in parts)
        return {"elements": rows * sum(parts), "outputs": rows * longer, "runs": rows * len(parts), "calls": 1}
    run, _, times = _runs(layer)
    each = vectors_of(run, bits) if copies(layer) else run
    counts: Counts = {"elements": times * each, "runs": times, "calls": 1}
    if layer.op == "pad":
        return {**counts, "outputs": outputs // 16 if bits == 8 else outputs}
    return {**counts, "outputs": times * (copies(layer) and each > 1)}


def count(layer: Layer) -> Counts | None:
    """Of means, softmax and moves; None for what is counted by elements on all cores."""
    if layer.op == "mean":
        return _mean(layer)
    if layer.op == "softmax" and layer.type.bits == 8:
        return _softmax(layer)
    return _moves(layer) if layer.op in MOVES else None


def price(layer: Layer) -> dict[str, float] | None:
    """Of what `count` has, by instructions, a cycle each where they alternate; rough."""
    if layer.op == "mean":
        element, output = {16: (5.0, 70.0), 8: (4.0, 40.0), 1: (10.0, 30.0)}[mean_lanes(layer)]
        return {"elements": element, "outputs": output, "runs": 12.0, "calls": 20.0}
    if layer.op == "softmax" and layer.type.bits == 8:
        if is_real(layer):  # a quotient and what is left over
            return {"elements": 50.0, "outputs": 28.0, "runs": 70.0, "calls": 30.0}
        return {"elements": 60.0, "outputs": 40.0, "runs": 120.0, "calls": 30.0}
    if layer.op == "softmax":
        return {"elements": 14.5, "outputs": 0.5, "runs": 120.0, "calls": 30.0}
    if layer.op == "resize_nearest":
        element = {"gathered": 6.0}.get(_pixels(layer), 4.0)
        output = {"gathered": 0.0, "words": 0.0, "long": 11.0}.get(_pixels(layer), 3.0)
        return {"elements": element, "outputs": output, "runs": 10.0, "calls": 30.0}
    if layer.op in MOVES:
        in_vectors, filled = copies(layer), 2.0 if layer.type.bits == 8 else 3.0
        return {"elements": 3.0 if in_vectors else 4.0, "outputs": filled, "runs": 16.0, "calls": 30.0}
    return None


def is_real(layer: Layer) -> bool:
    """Whether a softmax is that of real numbers."""
    return isinstance(layer.scheme, AffineRealSoftmax)


def sizes(layer: Layer) -> str:
    """What chooses other code, for the name of a family."""
    if layer.op == "softmax":
        return " real=1" if is_real(layer) else " out=16" if layer.output_type.bits > layer.type.bits else ""
    if layer.op == "mean":
        return f" lanes={mean_lanes(layer)}"
    if layer.op == "resize_nearest":
        return f" pixels={_pixels(layer)}"
    if layer.op in MOVES:
        return " vectors=1" if copies(layer) else ""
    return ""


def activation(layer: Layer) -> Counts:
    """Of powers of two: vectors of 16 bytes, the last filled or not; of softmax eight elements, and those vectors as
    the rest, over which the largest is sought.
    """
    size, bits = prod(layer.input_shape), layer.numpy_dtype.itemsize * 8
    if layer.op == "softmax":
        return {"elements": -(-size // 8), "rest": vectors_of(size, bits), "calls": 1}
    return {"elements": vectors_of(size, bits), "calls": 1}


def activation_price(layer: Layer) -> dict[str, float]:
    """Of `activation`'s parts; rough."""
    wide = layer.numpy_dtype.itemsize == 2
    element = {"relu": 4.0, "softmax": 20.0}.get(layer.op, 24.0 if wide else 8.0)
    return {"elements": element, "rest": 4.0, "turns": 0.0, "calls": 60.0 if layer.op == "softmax" else 24.0}
