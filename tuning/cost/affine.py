# SPDX-License-Identifier: Apache-2.0
"""Layers with zero points that multiply weights or slide windows: the kernels of their twins with powers of two, whose
inner loops are the same, and what a multiplier takes more per output.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import prod

import numpy as np

from cmsisnn_x.channels import channels_of
from cmsisnn_x.layers import Layer
from cmsisnn_x.variant import Variant

from ..target import Target
from .ops.affine import more_cycles
from .table import TERMS, Estimates

RECORD_BYTES = 12
"""Of a channel: where its sums start, its multiplier, its shift."""
CODE_BYTES = 60
"""Of the multiplication and the zero point; rough."""


def has_twin(layer: Layer) -> bool:
    """Whether a kernel of powers of two tells what this one costs."""
    return layer.type.is_affine and layer.type.bits == 8 and (layer.row.is_weighted or layer.row.is_windowed)


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


def estimate_affine(
    layer: Layer,
    variants: Sequence[Variant | None],
    target: Target,
    estimate: Callable[[Layer, Sequence[Variant | None], Target], Estimates],
) -> Estimates:
    """The estimates of `layer`: its twin's, `groups` and `samples` times, and the outputs' share of the scheme."""
    found = estimate(twin_of(layer), variants, target)
    terms = found.terms * (layer.groups * layer.samples)
    is_single = layer.row.is_weighted and layer.weights is not None and channels_of(layer).rescale == "single"
    more = more_cycles(target.features, target.timing, is_single=is_single) * (1.0 if layer.row.is_weighted else 0.5)
    terms[:, TERMS.index("requantise")] += round(layer.samples * prod(layer.output_shape) * more)
    records = RECORD_BYTES * layer.output_image[2] if layer.row.is_weighted else 0
    return replace(
        found,
        terms=terms,
        weights_bytes=found.weights_bytes * layer.groups + records,
        code_bytes=found.code_bytes + CODE_BYTES,
        scratch_bytes=_scratch(layer, variants),
    )


def _scratch(layer: Layer, variants: Sequence[Variant | None]) -> np.ndarray:
    """Bytes of scratch, which hold whole windows whatever the groups."""
    from cmsisnn_x.buffers import layer_scratch_bytes

    return np.array([0 if v is None else layer_scratch_bytes(layer, v) for v in variants], np.int64)
