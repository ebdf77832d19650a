# SPDX-License-Identifier: Apache-2.0
"""Accumulators of the operations with weights, exact and without wrap-around: what the 32 bits of the kernels hold.

``bias * 2**bias_shift + round(out_shift) + sum(input * weight)``, before the shift and the clamp. Sums are formed by
matrix products in floating point that the sums of magnitudes show to be exact.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from cmsisnn_x.layers import Layer

LARGEST = 2**31 - 1
"""What a 32-bit accumulator holds: -LARGEST - 1 .. LARGEST."""


def accumulators(layer: Layer, x: np.ndarray) -> np.ndarray:
    """Every accumulator of a layer.

    Parameters
    ----------
    layer : Layer
        A conv2d, depthwise_conv2d or fully_connected.
    x : ndarray of int8 or int16
        Shape ``(n, *input_shape)``.

    Returns
    -------
    ndarray of int64
        Shape ``(n, *output_shape)``.
    """
    assert layer.weights is not None
    kind = np.float32 if reach(layer) < 2**24 else np.float64
    weights: np.ndarray = layer.weights.astype(kind)
    values: np.ndarray = x.reshape(len(x), *layer.image).astype(kind)
    if layer.op == "fully_connected":
        sums = values.reshape(len(x), -1) @ weights.T
    else:
        (top, bottom), (left, right) = layer.padding
        padded = np.pad(values, ((0, 0), (top, max(bottom, 0)), (left, max(right, 0)), (0, 0)))
        out_h, out_w, out_ch = layer.output_image
        windows = sliding_window_view(padded, layer.kernel, axis=(1, 2))
        windows = windows[:, :: layer.stride[0], :: layer.stride[1]][:, :out_h, :out_w]  # (n, h, w, c, kh, kw)
        if layer.op == "conv2d":
            columns = windows.reshape(len(x) * out_h * out_w, -1)
            sums = columns @ weights.transpose(3, 1, 2, 0).reshape(-1, out_ch)
        else:
            sums = np.einsum("nhwcij,ijc->nhwc", windows, weights)
    return sums.reshape(len(x), *layer.output_shape).astype(np.int64) + _constant(layer)


def _constant(layer: Layer) -> np.ndarray:
    rounding = 1 << layer.out_shift >> 1
    bias = np.zeros(layer.output_shape[-1], np.int64) if layer.bias is None else layer.bias.astype(np.int64)
    return (bias << layer.bias_shift) + rounding


def reach(layer: Layer) -> int:
    """No accumulator's magnitude, whatever the input, exceeds this: sums of the weights' magnitudes."""
    assert layer.weights is not None
    axes = {"conv2d": (1, 2, 3), "depthwise_conv2d": (0, 1), "fully_connected": (1,)}[layer.op]
    sums = np.abs(layer.weights.astype(np.int64)).sum(axis=axes)
    largest = -int(np.iinfo(layer.numpy_dtype).min)
    return int((sums * largest + np.abs(_constant(layer))).max())


def wrapped(values: np.ndarray) -> np.ndarray:
    """What the kernels' 32 bits make of them."""
    return (values + 2**31) % 2**32 - 2**31


def requantised(layer: Layer, values: np.ndarray) -> np.ndarray:
    """Accumulators shifted as the kernels do, before the clamp: what does not fit is what saturates."""
    return wrapped(values) >> layer.out_shift
