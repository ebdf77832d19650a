# SPDX-License-Identifier: Apache-2.0
"""Accumulators of the operations with weights, exact and without wrap-around: what the 32 bits of the kernels hold.

The start that the scheme gives, plus ``sum(input * weight)``, before the shift and the clamp. Sums are formed by
matrix products in floating point that the sums of magnitudes show to be exact.
"""

from __future__ import annotations

from math import prod

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from cmsisnn_x.layers import Layer
from cmsisnn_x.scheme import Pow2

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
    sums = SUMS[layer.python_op](layer, values, weights)
    return sums.reshape(len(x), *layer.output_shape).astype(np.int64) + _pow2(layer).start(_bias(layer))


def _convolve(layer: Layer, values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    columns = _windows(layer, values).reshape(len(values) * prod(layer.output_image[:2]), -1)
    return columns @ weights.transpose(3, 1, 2, 0).reshape(-1, layer.output_image[2])


def _depthwise_convolve(layer: Layer, values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return np.einsum("nhwcij,ijc->nhwc", _windows(layer, values), weights)


def _fully_connected(layer: Layer, values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return values.reshape(len(values), -1) @ weights.T


SUMS = {
    "convolve": _convolve,
    "depthwise_convolve": _depthwise_convolve,
    "fully_connected": _fully_connected,
}
"""Operation -> sums of products of images ``(n, h, w, c)``."""


def _windows(layer: Layer, values: np.ndarray) -> np.ndarray:
    """Of every output pixel: ``(n, h, w, c, kernel_h, kernel_w)``."""
    (top, bottom), (left, right) = layer.padding
    padded = np.pad(values, ((0, 0), (top, max(bottom, 0)), (left, max(right, 0)), (0, 0)))
    out_h, out_w, _ = layer.output_image
    windows = sliding_window_view(padded, layer.kernel, axis=(1, 2))
    return windows[:, :: layer.stride[0], :: layer.stride[1]][:, :out_h, :out_w]


def _pow2(layer: Layer) -> Pow2:
    """The scheme of a layer, which is one of powers of two: others are turned away before."""
    assert isinstance(layer.requant, Pow2)
    return layer.requant


def _bias(layer: Layer) -> np.ndarray:
    return np.zeros(layer.output_shape[-1], np.int64) if layer.bias is None else layer.bias


def reach(layer: Layer) -> int:
    """No accumulator's magnitude, whatever the input, exceeds this: sums of the weights' magnitudes."""
    assert layer.weights is not None
    magnitudes = np.abs(np.moveaxis(layer.weights.astype(np.int64), layer.row.channel_axis, 0))
    sums = magnitudes.reshape(len(magnitudes), -1).sum(axis=1)
    largest = -int(np.iinfo(layer.numpy_dtype).min)
    return int((sums * largest + np.abs(_pow2(layer).start(_bias(layer)))).max())


def requantised(layer: Layer, values: np.ndarray) -> np.ndarray:
    """Accumulators shifted as the kernels do, before the clamp: what does not fit is what saturates."""
    return _pow2(layer).shifted(values)
