# SPDX-License-Identifier: Apache-2.0
"""Runs that coefficients keep: of each layer and family what one run of its parts was fitted to cost, times what that
left over. So coefficients are fitted anew, or on more layers, without emulating everything again; it holds as long as
kernels and counts are what they were, and gives no runs of layers that the sets have no more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from cmsisnn_x.layers import Layer
from cmsisnn_x.variant import Variant

from ..cost import estimate_space, fitted, ops
from ..cost.fitted import Coefficients
from ..cost.neighbours import Neighbours, place
from ..target import Target
from .runs import Sample, variants_of

Left = Mapping[tuple[str, int], float]
"""What was left over, by family and number of the layer's place."""


def kept(found: Coefficients, layers: Sequence[Layer], target: Target) -> tuple[list[Sample], list[Layer]]:
    """The runs that `found` keeps of `layers`, and the layers that it keeps none of.

    Of a family the variant with the fastest number of im2col columns stands for the one that ran, as it was chosen so.
    """
    left, code = _left(found.neighbours), _left(found.code)
    places = {op: _numbers(known) for op, known in found.neighbours.places.items()}
    code_places = {op: _numbers(known) for op, known in found.code.places.items()}
    samples: list[Sample] = []
    others = []
    for layer in layers:
        at = places.get(layer.op, {}).get(place(layer), -1)
        code_at = code_places.get(layer.op, {}).get(place(layer), -1)
        named = _names(layer, target)
        own = [name for name in named if (name, at) in left and name in found.families]
        if not own:
            others.append(layer)
        for name in own:
            variant = named[name]
            counts = ops.count(layer, [variant], target.features)[0]
            cycles = float(counts @ np.array(found.families[name])) * float(np.exp(left[name, at]))
            size = found.sizes.get(name)
            known = size is not None and (name, code_at) in code
            code_bytes = round(size.code * float(np.exp(code[name, code_at]))) if size and known else 0
            samples.append(Sample(layer, variant, max(round(cycles), 1), code_bytes, size.most_stack if size else 0))
    return samples, others


def _names(layer: Layer, target: Target) -> dict[str, Variant | None]:
    space = variants_of(layer, target)
    names = fitted.families(layer, space, target.features)
    if space == (None,):
        return {names[0]: None}
    found: dict[str, Variant | None] = {}
    for at in np.argsort(estimate_space(layer, space, target).cycles, kind="stable").tolist():
        found.setdefault(names[at], space[at])
    return found


def _left(known: Neighbours) -> Left:
    return {
        (name, at): value / 1000
        for name, flat in known.left.items()
        for at, value in zip(flat[::2], flat[1::2], strict=True)
    }


def _numbers(known: Sequence[tuple[float, ...]]) -> dict[tuple[float, ...], int]:
    return {each: at for at, each in enumerate(known)}
