# SPDX-License-Identifier: Apache-2.0
"""The scheme of zero points and multipliers, as TensorFlow Lite Micro and CMSIS-NN compute it on a device.

A real number is ``scale * (q - zero_point)``. Scales never reach a kernel: their quotients become a multiplier of 31
bits and a shift (:func:`quantize_multiplier`), and what a layer computes with them is an object here. Each has

* `low`, `high`: the range of the output, with a fused activation in it;
* `fill`: what padding holds;
* ``macros()``: its numbers as macros of a layer, without their prefix;
* ``problem``: why no kernel takes these numbers, or None.

The formulas are LiteRT's and TFLM's, in NumPy's int64; kernels in C compute the same.
"""

from __future__ import annotations

from .multipliers import (
    MULTIPLIER_MAX,
    ROUNDINGS,
    SHIFTS,
    activation_range,
    high_multiply,
    kernel_multiplier,
    quantize_multiplier,
    rescale,
    rounding_divide,
)
from .schemes import (
    Affine,
    AffineClamp,
    AffineMean,
    AffineProduct,
    AffineRescale,
    AffineSoftmax,
    AffineSum,
    Requantisation,
    Rescale,
)

__all__ = [
    "MULTIPLIER_MAX",
    "ROUNDINGS",
    "SHIFTS",
    "Affine",
    "AffineClamp",
    "AffineMean",
    "AffineProduct",
    "AffineRescale",
    "AffineSoftmax",
    "AffineSum",
    "Requantisation",
    "Rescale",
    "activation_range",
    "high_multiply",
    "kernel_multiplier",
    "quantize_multiplier",
    "rescale",
    "rounding_divide",
]
