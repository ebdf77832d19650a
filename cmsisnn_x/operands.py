# SPDX-License-Identifier: Apache-2.0
"""What a device kernel reads besides tensors: weights in its layout, records of channels, tables."""

from __future__ import annotations

import numpy as np

from .layers import Layer
from .packing import pack_device_weights
from .variant import Variant


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
        return dict(layer.row.operands(layer, variant))
    if layer.weights is None:
        return {}
    plain = layer.bias if layer.bias is not None else np.zeros(layer.output_shape[-1], layer.weights_type.dtype)
    return {"weights": pack_device_weights(layer, variant), "bias": np.ascontiguousarray(plain)}
