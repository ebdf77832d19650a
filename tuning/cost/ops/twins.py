# SPDX-License-Identifier: Apache-2.0
"""Layers with zero points that multiply weights or slide windows: their loops are those of their twins with powers of
two, which count them; what ends an output is their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

import numpy as np

from cmsisnn_x.channels import channels_of
from cmsisnn_x.isa import Features, Isa
from cmsisnn_x.layers import Layer
from cmsisnn_x.variant import Variant

from ..instructions import Cycles
from ..op_cost import OpCost, Timing, Variants
from .affine import more_cycles

CUT_INSTRUCTIONS = 6
"""Of an output that is cut to less than its type holds, where one instruction saturates else: compared twice."""
RECORD_BYTES = 12
"""Of a channel: where its sums start, its multiplier, its shift."""
EPILOGUES: dict[str, dict[str, float]] = {
    "convolve": {"stores": 1},
    "depthwise_convolve": {"stores": 1},
    "fully_connected": {"pair_blocks": 2, "last_blocks": 1},  # and a block's rows in `blocks`
    "max_pool": {"outputs": 0.5, "windows": 0.5},
    "avg_pool": {"averages": 0.5},
}
"""Of every kernel the parts that end outputs, and how many multipliers one run applies."""


def has_twin(layer: Layer) -> bool:
    """Whether a kernel of powers of two runs the same loops."""
    return layer.type.is_affine and layer.type.bits == 8 and (layer.row.is_weighted or layer.row.is_windowed)


@lru_cache(maxsize=64)
def twin_of(layer: Layer) -> Layer:
    """The layer with powers of two that runs the same loops, one of `groups`, without a bias."""
    height, width, channels = layer.input_shape if layer.groups > 1 else (0, 0, 0)
    weights, shapes = layer.weights, (layer.input_shape, layer.output_shape)
    if layer.groups > 1:
        out = layer.output_shape[2] // layer.groups
        shapes = ((height, width, channels // layer.groups), (*layer.output_shape[:2], out))
        weights = None if weights is None else weights[:out]
    padding = layer.padding
    if layer.dilation != (1, 1):  # less of it lies under a kernel whose taps lie side by side
        (top, bottom), (left, right) = padding
        padding = ((min(top, layer.kernel[0] - 1), bottom), (min(left, layer.kernel[1] - 1), right))
    return replace(
        layer, dtype=layer.type.twin, weights_dtype=layer.type.twin if layer.row.is_weighted else None, scheme=None,
        input_shape=shapes[0], output_shape=shapes[1], padding=padding, weights=weights, bias=None, groups=1,
        dilation=(1, 1), samples=1,
    )  # fmt: skip


def is_single(layer: Layer) -> bool:
    """Whether every output is rounded once."""
    return layer.row.is_weighted and layer.weights is not None and channels_of(layer).rescale == "single"


@lru_cache(maxsize=64)
def _ends(layer: Layer) -> str:
    """How outputs are made, for the name of a family: rounded once, cut to less than their type holds."""
    return f"{' rescale=single' if is_single(layer) else ''}{' cut=1' if _is_cut(layer) else ''}"


@lru_cache(maxsize=64)
def _of_vectors(layer: Layer) -> str:
    """Of vectors: factors of any size, whose outputs are made apart."""
    known = layer.weights is not None and channels_of(layer).rescale in ("single", "right", "far")
    return "" if known or layer.weights is None else " rescale=any"


@lru_cache(maxsize=64)
def _of_coupled(layer: Layer) -> str:
    """Of coupled weights: where assembly makes the outputs, with one record for all channels or one for each."""
    if layer.weights is None:
        return ""
    channels = channels_of(layer)
    is_uniform = bool((channels.records[:, 1:] == channels.records[0, 1:]).all())
    if _is_cut(layer) or channels.rescale not in ("single", "far") or not (is_uniform or channels.rescale == "single"):
        return " rescale=each"
    return f" rescale={channels.rescale}{'_uniform' if is_uniform else ''}"


def is_twins_code(layer: Layer) -> bool:
    """Whether the compiled kernel is the twin's own: the largest of bytes, all of which fit."""
    return has_twin(layer) and layer.python_op == "max_pool" and not _is_cut(layer)


def _is_cut(layer: Layer) -> bool:
    scheme = layer.scheme
    return scheme is not None and (scheme.low, scheme.high) != (layer.type.low, layer.type.high)


def twinned(op: OpCost, epilogue: Mapping[str, float]) -> OpCost:
    """The cost of an operation with zero points by that of its twin `op`, `groups` and `samples` times."""

    def count(layer: Layer, variants: Variants, features: Features) -> np.ndarray:
        return op.count(twin_of(layer), variants, features) * (layer.groups * layer.samples)

    def price(layer: Layer, variant: Variant | None, features: Features, timing: Timing) -> dict[str, float]:
        twin = op.price(twin_of(layer), variant, features, timing)
        by_four = layer.op == "conv2d" and variant is not None and variant.block_cols == 4
        more = more_cycles(features, timing, is_single=is_single(layer), by_four=by_four)
        if _is_cut(layer) and features.isa >= Isa.DSP:
            more += CUT_INSTRUCTIONS * Cycles.of(timing, features).alu
        ends = dict(epilogue)
        if is_twins_code(layer):
            ends = {}
        if "pair_blocks" in ends:
            compiled = op.as_compiled(twin_of(layer), variant)
            ends["blocks"] = compiled.block_rows if compiled is not None else 1
        return {name: cycles + more * ends.get(name, 0) for name, cycles in twin.items()}

    def as_compiled(layer: Layer, variant: Variant | None) -> Variant | None:
        return op.as_compiled(twin_of(layer), variant)

    def sizes(layer: Layer, variant: Variant | None, features: Features) -> str:
        if variant is not None and variant.weight_layout == "coupled":
            return op.sizes(twin_of(layer), variant, features) + _of_coupled(layer)
        ends = _ends(layer) + (_of_vectors(layer) if variant is not None and variant.inner == "helium" else "")
        return op.sizes(twin_of(layer), variant, features) + ends

    return OpCost(op.parts, count, price, as_compiled, sizes, op.not_in_packing, op.effort)
