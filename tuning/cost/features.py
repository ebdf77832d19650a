# SPDX-License-Identifier: Apache-2.0
"""How often each part of a kernel runs: exact counts from the geometry of a layer and the knobs of a variant, no
cycles here.

The kernels are loop nests whose bounds are known, so cycles are linear in these counts as far as the compiler writes
the same code for every shape; what one run of a part costs is a coefficient of the (operation, variant, core).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import prod

import numpy as np

from cmsisnn_x.layers import Layer
from cmsisnn_x.variant import Variant

from .loops import Counts, Knobs
from .ops import convolution, dense, depthwise, pooling
from .ops.pooling import lane_groups

__all__ = ["as_compiled", "count", "lane_groups", "parts_of"]

_PARTS = {
    "conv2d": convolution.CONVOLUTION,
    "depthwise_conv2d": depthwise.DEPTHWISE,
    "fully_connected": dense.DENSE,
    "max_pool2d": pooling.WINDOWED,
    "avg_pool2d": pooling.WINDOWED,
}
_COUNTERS: dict[str, dict[str, Callable[[Layer, Knobs, bool], Counts]]] = {
    "conv2d": {
        "im2col": convolution.im2col,
        "line_buffer": convolution.rows_of_lines,
        "direct": convolution.rows_of_lines,
        "winograd": convolution.winograd,
    },
    "depthwise_conv2d": {"im2col": depthwise.im2col, "line_buffer": depthwise.line_buffer},
    "fully_connected": {"im2col": dense.dense, "direct": dense.dense},
}


def parts_of(op: str) -> dict[str, str]:
    """Part -> term, in the order of the columns of `count`."""
    return _PARTS.get(op, pooling.ELEMENTWISE)


def as_compiled(layer: Layer, variant: Variant | None) -> Variant | None:
    """The variant whose code a layer has: with fewer rows than a block, a fully connected layer has that of a smaller
    block; so has a convolution with fewer pixels than a block's columns, where the compiler knows how many there are.
    """
    if variant is None or variant.inner != "c":
        return variant
    if layer.op == "conv2d" and variant.lowering == "im2col":
        pixels = prod(layer.output_image[:2])
        return replace(variant, block_cols=pixels) if pixels < min(variant.block_cols, 3) else variant
    if layer.op != "fully_connected":
        return variant
    out = layer.output_shape[-1]
    if out >= variant.block_rows or (out == 1 and variant.weight_layout != "plain"):
        return variant
    return replace(variant, block_rows=min(out, 2), block_cols=1, im2col_cols=1)


def count(layer: Layer, variants: Sequence[Variant | None], dsp: bool, unaligned: bool = True) -> np.ndarray:
    """Counts of every part, a row per variant, on a core with or without DSP extension and unaligned access."""
    names = list(parts_of(layer.op))
    table = np.zeros((len(variants), len(names)))
    if layer.op not in ("conv2d", "depthwise_conv2d", "fully_connected"):
        counts = pooling.windowed(layer, unaligned) if layer.op.endswith("_pool2d") else pooling.elementwise(layer)
        for name, value in counts.items():
            table[:, names.index(name)] = value
        return table
    lowering = np.array([v.lowering for v in variants if v is not None])
    kinds = _COUNTERS[layer.op]
    for kind in dict.fromkeys(lowering.tolist()):
        rows = np.flatnonzero(lowering == kind)
        chosen = [as_compiled(layer, variants[i]) for i in rows.tolist()]

        def knob(name: str, chosen: Sequence[Variant | None] = chosen) -> np.ndarray:
            return np.array([getattr(v, name) for v in chosen])

        for name, value in kinds[kind](layer, knob, dsp).items():
            table[rows, names.index(name)] = value
    return table
