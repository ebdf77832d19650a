# SPDX-License-Identifier: Apache-2.0
"""The public operations: validate, allocate, dispatch.

Activations are ``(h, w, c)`` or ``(n, h, w, c)``, int8 is q7 and int16 is q15. Every function computes what the layer
means, modulo 2^32 in the accumulator as the hardware does, and writes each output element exactly once.

Examples
--------
>>> import numpy as np
>>> from cmsisnn_x import ops
>>> ops.relu(np.int8([-3, 0, 5]))
array([0, 0, 5], dtype=int8)
"""

from .activation import relu, sigmoid, softmax, tanh
from .elementwise import multiply, q7_to_q15
from .pooling import avg_pool, max_pool
from .weighted import convolve, depthwise_convolve, fully_connected

__all__ = [
    "avg_pool", "convolve", "depthwise_convolve", "fully_connected", "max_pool", "multiply", "q7_to_q15", "relu",
    "sigmoid", "softmax", "tanh",
]  # fmt: skip
