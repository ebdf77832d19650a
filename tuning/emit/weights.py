# SPDX-License-Identifier: Apache-2.0
"""The constant arrays of a network: packed weights, biases, and the tables of sigmoid and tanh; and the
model's own arrays, as an archive.
"""

from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING

import numpy as np

from cmsisnn_x._tables import activation_table
from cmsisnn_x.channels import channels_of
from cmsisnn_x.layers import Layer
from cmsisnn_x.scheme import Pow2
from cmsisnn_x.variant import Variant

if TYPE_CHECKING:
    from tuning.plan import Plan

__all__ = ["activation_table", "bias", "packed_weights", "weights_archive"]


def packed_weights(layer: Layer, variant: Variant | None) -> np.ndarray:
    """The weights of `layer` in the layout that the kernel of `variant` reads."""
    from cmsisnn_x.packing import pack_device_weights

    if layer.weights is None:
        raise ValueError(f"layer {layer.name}: expected weights to emit, got none")
    return pack_device_weights(layer, variant)


def bias(layer: Layer) -> np.ndarray:
    """The channel records of `layer`, its bias as its scheme has kernels read it; zeros where it has none."""
    if layer.type.is_affine:
        return channels_of(layer).records
    assert isinstance(layer.requant, Pow2)
    plain = layer.bias if layer.bias is not None else np.zeros(layer.output_shape[-1], layer.weights_type.dtype)
    return layer.requant.records(plain)


def weights_archive(plan: Plan) -> bytes | None:
    """The model's weights and biases in the order of the Python functions: an npz as model files name it.

    What the packers make of them is compared with these. The same arrays give the same bytes: no compression, no
    time stamps. None where no layer has weights.
    """
    arrays = {
        f"{item.layer.name}/{kind}.npy": array
        for item in plan.layers
        for kind, array in (("weights", item.layer.weights), ("bias", item.layer.bias), ("table", item.layer.table))
        if array is not None
    }
    for at, tensor in enumerate(plan.constants):
        assert tensor.value is not None
        arrays[f"constants/{at}.npy"] = tensor.value
    for at, state in enumerate(plan.graph.states):
        arrays[f"states/{at}.npy"] = state.initial.reshape(plan.graph.tensors[state.read].shape)
    if not arrays:
        return None
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            data = io.BytesIO()
            low_byte_first = np.asarray(array, array.dtype.newbyteorder("<"), order="C")  # a scalar stays one
            np.lib.format.write_array(data, low_byte_first, version=(1, 0), allow_pickle=False)
            entry = zipfile.ZipInfo(name)  # of 1980
            entry.create_system, entry.external_attr = 3, 0o644 << 16  # on whatever system it is made
            archive.writestr(entry, data.getvalue())
    return file.getvalue()
