# SPDX-License-Identifier: Apache-2.0
"""The constant arrays of a network: packed weights, biases, and the tables of sigmoid and tanh; and the
model's own arrays, as an archive.
"""

from __future__ import annotations

import io
import math
import zipfile
from typing import TYPE_CHECKING

import numpy as np

from cmsisnn_x.layers import NUMPY_DTYPES, Layer
from cmsisnn_x.variant import Variant

if TYPE_CHECKING:
    from tuning.plan import Plan


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


def activation_table(op: str, dtype: str) -> np.ndarray:
    """The table of a table-driven activation.

    Parameters
    ----------
    op : {"sigmoid", "tanh"}
    dtype : {"q7", "q15"}

    Returns
    -------
    ndarray of int8 or int16, shape (256,)
        Entry t mod 256, t = -128..127, is ``min(floor(f(t / 16) * 2**(N-1) + 1/2), 2**(N-1) - 1)`` with N the bits of
        `dtype`: CMSIS-NN's own four tables.

    Examples
    --------
    >>> activation_table("tanh", "q7")[[0, 1, 127, 128, 255]].tolist()
    [0, 8, 127, -128, -8]
    """
    function = {"sigmoid": lambda x: 1 / (1 + math.exp(-x)), "tanh": math.tanh}[op]
    one = 1 << (8 * NUMPY_DTYPES[dtype].itemsize - 1)
    signed = [*range(128), *range(-128, 0)]
    values = [min(math.floor(function(t / 16) * one + 0.5), one - 1) for t in signed]
    return np.array(values, NUMPY_DTYPES[dtype])


def weights_archive(plan: Plan) -> bytes | None:
    """The model's weights and biases in the order of the Python functions: an npz as model files name it.

    What the packers make of them is compared with these. The same arrays give the same bytes: no compression, no
    time stamps. None where no layer has weights.
    """
    arrays = {
        f"{item.layer.name}/{kind}.npy": array
        for item in plan.layers
        for kind, array in (("weights", item.layer.weights), ("bias", item.layer.bias))
        if array is not None
    }
    if not arrays:
        return None
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            data = io.BytesIO()
            low_byte_first = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
            np.lib.format.write_array(data, low_byte_first, version=(1, 0), allow_pickle=False)
            entry = zipfile.ZipInfo(name)  # of 1980
            entry.create_system, entry.external_attr = 3, 0o644 << 16  # on whatever system it is made
            archive.writestr(entry, data.getvalue())
    return file.getvalue()
