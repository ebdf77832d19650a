# SPDX-License-Identifier: Apache-2.0
"""What the cost model knows of one operation: a row of `ops.OPS`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cmsisnn_x.isa import Features
from cmsisnn_x.layers import Layer
from cmsisnn_x.variant import Variant

Variants = Sequence[Variant | None]
Timing = Mapping[str, float]
"""A target's `timing`."""


@dataclass(frozen=True)
class Effort:
    """On how many layers of a grid calibration runs a family of kernels.

    Attributes
    ----------
    often, sometimes, hardly : int
        Layers, of families that often are the fastest, that sometimes are, and that hardly ever are.
    rank : callable
        ``rank(variant, features)``: which of the three, by its name.

    Notes
    -----
    With fewer, first choices went to kernels in C that were known too little, and a premium on these had to keep them
    out; with these numbers such a premium changes none of 20 plans (ten networks, M0+ and M4).
    """

    often: int
    sometimes: int
    hardly: int
    rank: Callable[[Variant, Features], str]

    def layers(self, variant: Variant, features: Features) -> int:
        return {"often": self.often, "sometimes": self.sometimes, "hardly": self.hardly}[self.rank(variant, features)]


def _as_it_is(layer: Layer, variant: Variant | None) -> Variant | None:
    return variant


def _no_sizes(layer: Layer, variant: Variant | None, features: Features) -> str:
    return ""


@dataclass(frozen=True)
class OpCost:
    """Cycles of an operation are the sum over its parts of how often each runs times what one run costs.

    Attributes
    ----------
    parts : mapping of str to str
        Part -> the term of `table.TERMS` that it belongs to, in the order of all columns and coefficients.
    count : callable
        ``count(layer, variants, features)``: how often each part runs, exactly, a row per variant.
    price : callable
        ``price(layer, variant, features, timing)``: part -> cycles of one run by the instruction mix, a price per part
        and no other. The prior of a fit, and the answer where nothing was fitted.
    as_compiled : callable
        ``as_compiled(layer, variant)``: the variant whose code the layer has, where the compiler sees that it needs no
        more.
    sizes : callable
        ``sizes(layer, variant, features)``: sizes of the layer that choose other code, for the name of a family.
    not_in_packing : tuple of str
        Knobs that leave the packed weights as long as they are, besides those that change no bytes anywhere.
    effort : Effort or None
        None: the one kernel of the operation runs on all layers.
    """

    parts: Mapping[str, str]
    count: Callable[[Layer, Variants, Features], np.ndarray]
    price: Callable[[Layer, Variant | None, Features, Timing], dict[str, float]]
    as_compiled: Callable[[Layer, Variant | None], Variant | None] = _as_it_is
    sizes: Callable[[Layer, Variant | None, Features], str] = _no_sizes
    not_in_packing: tuple[str, ...] = ("im2col_cols",)
    effort: Effort | None = None
