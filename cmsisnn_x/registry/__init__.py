# SPDX-License-Identifier: Apache-2.0
"""The rows of all operations, in the order in which they are listed: importing this fills the tables of `op`.

Adding an operation is a row here, and its entry in every table that is keyed by operation;
``tests/kernels/test_registry.py`` names those that lack it.
"""

from ..op import register
from .activation import RELU, SIGMOID, TANH
from .convolution import CONVOLVE
from .dense import FULLY_CONNECTED
from .depthwise import DEPTHWISE_CONVOLVE
from .elementwise import ADD, LOOK_UP, MAXIMUM, MINIMUM, MULTIPLY, REQUANTISE
from .mean import MEAN
from .movement import CONCAT, COPY, PAD, RESIZE_NEAREST
from .pooling import AVG_POOL, MAX_POOL
from .softmax import SOFTMAX

register(
    CONVOLVE, DEPTHWISE_CONVOLVE, FULLY_CONNECTED, MAX_POOL, AVG_POOL, RELU, SIGMOID, TANH, SOFTMAX, MULTIPLY,
    ADD, MAXIMUM, MINIMUM, LOOK_UP, REQUANTISE, MEAN, CONCAT, COPY, PAD, RESIZE_NEAREST,
)  # fmt: skip
