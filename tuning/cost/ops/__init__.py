# SPDX-License-Identifier: Apache-2.0
"""What the cost model knows of each operation, a module per family: its parts, how often each runs, what one run costs.

Counts are exact, from the geometry of a layer and the knobs of a variant; prices are the instruction mix, a prior for
the fit of `fitted`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from cmsisnn_x.isa import Features
from cmsisnn_x.layers import Layer
from cmsisnn_x.variant import Variant

from ..op_cost import OpCost, Timing, Variants
from .activation import ACTIVATION
from .affine import AFFINE, PRIOR
from .convolution import CONVOLVE
from .dense import FULLY_CONNECTED
from .depthwise import DEPTHWISE_CONVOLVE
from .pooling import POOL
from .twins import EPILOGUES, has_twin, is_twins_code, twin_of, twinned

__all__ = [
    "AFFINE", "OPS", "as_compiled", "cost_of", "count", "has_twin", "is_twins_code", "parts_of", "price", "twin_of",
]  # fmt: skip

OPS: dict[str, OpCost] = {
    "convolve": CONVOLVE,
    "depthwise_convolve": DEPTHWISE_CONVOLVE,
    "fully_connected": FULLY_CONNECTED,
    "max_pool": POOL,
    "avg_pool": POOL,
    "relu": ACTIVATION,
    "sigmoid": ACTIVATION,
    "tanh": ACTIVATION,
    "softmax": ACTIVATION,
}
"""Name of the Python function -> its cost."""
TWINS = {name: twinned(OPS[name], epilogue) for name, epilogue in EPILOGUES.items()}
"""The same with zero points, of what has a twin."""

ALWAYS_POSITIVE = 0.25
"""Cycles that the cheapest part costs, so that every price is positive."""


def cost_of(layer: Layer) -> OpCost:
    """What the cost model knows of a layer's operation on its types."""
    if has_twin(layer):
        return TWINS[layer.python_op]
    if layer.type.is_affine:
        return AFFINE.get(layer.python_op, PRIOR)
    return OPS[layer.python_op]


def parts_of(layer: Layer) -> Mapping[str, str]:
    """Part -> term, in the order of the columns of `count`."""
    return cost_of(layer).parts


def as_compiled(layer: Layer, variant: Variant | None) -> Variant | None:
    """The variant whose code a layer has."""
    return cost_of(layer).as_compiled(layer, variant)


def count(layer: Layer, variants: Variants, features: Features) -> np.ndarray:
    """How often each part of a layer's kernel runs, a row per variant, a column per part."""
    return cost_of(layer).count(layer, variants, features)


def price(layer: Layer, variant: Variant | None, features: Features, timing: Timing) -> np.ndarray:
    """Cycles of one run of each part by the instruction mix, in the order of the columns of `count`."""
    op = cost_of(layer)
    costs = op.price(layer, variant, features, timing)
    return np.maximum([costs[name] for name in op.parts], ALWAYS_POSITIVE)
