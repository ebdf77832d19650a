# SPDX-License-Identifier: Apache-2.0
"""What a device kernel reads besides tensors: weights in its layout, records of channels, tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from .affine import Affine, AffineSum
from .layers import Layer
from .packing import pack_device_weights
from .variant import Variant

Operands = Callable[[Layer, "Variant | None"], Mapping[str, np.ndarray]]


def operands_of(layer: Layer, variant: Variant | None) -> dict[str, np.ndarray]:
    """The constant operands of a layer's kernel by name, in the order of its arguments.

    Parameters
    ----------
    layer : Layer
        With its arrays.
    variant : Variant or None

    Raises
    ------
    ValueError
        Weights are missing.
    """
    if layer.row.is_weighted and layer.weights is None:
        raise ValueError(f"layer {layer.name}: expected weights to emit, got none")
    if layer.type.is_affine:
        made: Operands | None = getattr(layer.row, "operands", None)
        return dict(made(layer, variant)) if made is not None else _affine(layer, variant)
    if layer.weights is None:
        return {}
    plain = layer.bias if layer.bias is not None else np.zeros(layer.output_shape[-1], layer.weights_type.dtype)
    return {"weights": pack_device_weights(layer, variant), "bias": np.ascontiguousarray(plain)}


def _affine(layer: Layer, variant: Variant | None) -> dict[str, np.ndarray]:
    scheme = layer.scheme
    if isinstance(scheme, Affine) and layer.weights is not None:
        weights = layer.weights if layer.op != "depthwise_conv2d" else np.moveaxis(layer.weights, -1, 0)
        start = scheme.start(layer.bias, weights)
        records = np.stack([start.astype(np.int32), *scheme.per_channel(len(start))], axis=1)
        return {"weights": pack_device_weights(layer, variant), "channels": records}
    if isinstance(scheme, AffineSum) and layer.type.bits == 8:
        return dict(zip(("left", "right"), scheme.tables, strict=True))
    return {} if layer.table is None else {"table": layer.table}
