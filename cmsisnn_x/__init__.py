# SPDX-License-Identifier: Apache-2.0
"""CMSIS-NN's kernels for Python: fast, and bit for bit what a Cortex-M computes.

Overview
--------
Functions of this module are of q7 (int8 arrays) and q15 (int16); :mod:`cmsisnn_x.int8` has those of tensors with zero
points, as ``.tflite`` files have them. Images are ``(h, w, c)`` or ``(n, h, w, c)``. The scheme of q7 and q15 is powers
of two: a layer multiplies and adds in 32 bits that wrap, shifts right and saturates. Nothing is rounded before the end,
so the order of additions never shows, and every kernel variant, on the host or on a device, gives the same bytes.

What flows where
----------------
::

    x  int8|int16 (n, h, w, c)        weights  (out_ch, kh, kw, c)            bias (out_ch,)
        |                                 |                                       |
        |   ops/: check, allocate, choose the code path --------------------------+
        |                                 |                                       |
        |  variant=None                   |  variant=Variant(unroll, block_rows, block_cols, im2col_cols)
        |                                 |                                       |
        +---> _simd                       +---> _convolution, _depthwise, _fully_connected
        |     packed weights,                     |
        |     AVX-512 VNNI, AVX2,                 |  im2col_cols output pixels at a time:
        |     NEON or portable C                  |
        |         |                         _im2col       receptive fields, widened to q15, zeros outside the image
        |         |                               |
        |         |                         _matmul       block_rows x block_cols inner products, unrolled; 32-bit sums
        |         |                               |
        |         |                         _requantize   (bias << bias_shift) + round + sum, >> out_shift, saturate
        |         |                               |
        |         +-------------> out <-----------+
        |
        +---> _activation, _softmax, _support ---> out

    registry/     one row per operation: all that differs by it; op.py holds the table, variant.py the knobs
    layers.py     a layer with all shapes resolved        network.py  a network, weights packed once, on _executor
    scheme.py     the arithmetic of powers of two         buffers.py  scratch bytes: host, search and firmware
    int8/         zero points and multipliers, as LiteRT and TFLM have them; its arithmetic is in affine/
    cmsis/        Arm's 31 functions of release 5.4.0, quirks included
    include/      the same kernels as C headers for firmware, configured by macros

The `variant` path exists to be studied and searched: each knob is a different piece of code;
``variants(op, dtype)`` lists them. The paper's configuration is ``BASELINE``: 2x2 blocks, unroll 1, two columns.
"""

# ruff: noqa: E402  (where the rest is imported from is settled first)
from typing import TYPE_CHECKING, Any

from ._checkout import use_installed

use_installed(__name__, __path__)

from . import int8
from . import registry as registry  # fills the tables that all others ask
from ._config import get_include, show_config
from ._version import __version__ as __version__
from .buffers import scratch_bytes
from .interleave import pack_fully_connected, unpack_fully_connected
from .network import Network
from .op import variants
from .ops import (
    avg_pool,
    convolve,
    depthwise_convolve,
    fully_connected,
    max_pool,
    multiply,
    q7_to_q15,
    relu,
    sigmoid,
    softmax,
    tanh,
)
from .variant import BASELINE, Variant

if TYPE_CHECKING:
    from . import cmsis

__all__ = [
    "BASELINE",
    "Network",
    "Variant",
    "avg_pool",
    "cmsis",
    "convolve",
    "depthwise_convolve",
    "fully_connected",
    "get_include",
    "int8",
    "max_pool",
    "multiply",
    "pack_fully_connected",
    "q7_to_q15",
    "relu",
    "scratch_bytes",
    "show_config",
    "sigmoid",
    "softmax",
    "tanh",
    "unpack_fully_connected",
    "variants",
]


def __getattr__(name: str) -> Any:
    """Arm's functions are imported when they are asked for: tuning does without."""
    if name == "cmsis":
        from importlib import import_module

        return import_module(".cmsis", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__", "errors", "layers"]
