# SPDX-License-Identifier: Apache-2.0
"""Operations on tensors with zero points, bit for bit what TensorFlow Lite Micro, CMSIS-NN and LiteRT compute.

A real number is ``scale * (q - zero_point)``. Activations are int8, or int16 with zero points 0; weights are int8 with
zero point 0, one scale for all or one per output channel. Shapes are those of the functions of the same names in
:mod:`cmsisnn_x`. What a layer computes with scales is a multiplier and a shift, as :func:`quantize_multiplier` gives
them; functions that have nothing else to do with scales take the scales themselves.

Wherever `arithmetic` is a parameter, ``"tflm"`` is what a microcontroller computes and ``"litert"`` what LiteRT's
reference kernels do.
"""

from ..affine import activation_range, quantize_multiplier
from .elements import hard_swish, leaky_relu, relu, requantise, sigmoid, softmax, tanh
from .pairs import add, maximum, minimum, multiply, subtract
from .reductions import avg_pool, max_pool, mean
from .weighted import convolve, depthwise_convolve, fully_connected

__all__ = [
    "activation_range", "add", "avg_pool", "convolve", "depthwise_convolve", "fully_connected", "hard_swish",
    "leaky_relu", "max_pool", "maximum", "mean", "minimum", "multiply", "quantize_multiplier", "relu", "requantise",
    "sigmoid", "softmax", "subtract", "tanh",
]  # fmt: skip
