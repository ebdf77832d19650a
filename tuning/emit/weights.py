# SPDX-License-Identifier: Apache-2.0
"""The constant arrays of a network: packed weights, biases, and the tables of sigmoid and tanh."""

from __future__ import annotations

import numpy as np

from cmsisnn_x._tables import activation_table
from cmsisnn_x.layers import NUMPY_DTYPES, Layer
from cmsisnn_x.variant import Variant

__all__ = ["activation_table", "bias", "packed_weights"]


def packed_weights(layer: Layer, variant: Variant | None) -> np.ndarray:
    """The weights of `layer` in the layout that the kernel of `variant` reads."""
    from cmsisnn_x.packing import pack_device_weights

    if layer.weights is None:
        raise ValueError(f"layer {layer.name}: expected weights to emit, got none")
    return pack_device_weights(layer, variant)


def bias(layer: Layer) -> np.ndarray:
    """The bias of `layer`, zeros where it has none: kernels always read one."""
    if layer.bias is not None:
        return layer.bias
    return np.zeros(layer.output_shape[-1], NUMPY_DTYPES[layer.weights_dtype or layer.dtype])
