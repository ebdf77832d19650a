# SPDX-License-Identifier: Apache-2.0
"""The float network, one NumPy expression per layer: what fixed point is held against."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import e, log, prod

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from cmsisnn_x.layers import Layer

CHUNK_BYTES = 32 << 20
"""Working memory of one step; batches are cut so that a layer's columns fit."""


def run(
    layers: Sequence[Layer], arrays: Mapping[str, np.ndarray], x: np.ndarray, softmax_base: float = e
) -> Iterator[tuple[Layer, np.ndarray]]:
    """Every layer with its float output.

    Parameters
    ----------
    layers : sequence of Layer
        Geometry; their integer arrays are not looked at.
    arrays : mapping
        ``<layer>/weights``, ``<layer>/bias`` and, where the activation ends, ``<layer>/clip``.
    x : ndarray
        Shape ``(n, *input_shape)``, channels last.
    softmax_base : float
        ``softmax(x) = base**x / sum(base**x)``.

    Yields
    ------
    Layer, ndarray of float32
        Shape ``(n, *output_shape)``.
    """
    x = np.asarray(x, np.float32)
    for layer in layers:
        # Whoever looks at the values sees the infinities; a warning per operation would add nothing.
        with np.errstate(over="ignore", invalid="ignore"):
            x = np.concatenate([_layer(layer, arrays, part, softmax_base) for part in _parts(layer, x)])
        yield layer, x


def _parts(layer: Layer, x: np.ndarray) -> Iterator[np.ndarray]:
    taps = layer.kernel[0] * layer.kernel[1] if layer.op == "conv2d" else 1
    positions = prod(layer.output_image[:2]) if layer.op == "conv2d" else 1
    per_sample = 4 * max(prod(layer.input_shape), positions * taps * layer.image[2], prod(layer.output_shape))
    step = max(1, CHUNK_BYTES // per_sample)
    for start in range(0, max(len(x), 1), step):
        yield x[start : start + step]


def _layer(layer: Layer, arrays: Mapping[str, np.ndarray], x: np.ndarray, softmax_base: float) -> np.ndarray:
    out = OPS[layer.op](layer, x, arrays, softmax_base).reshape(len(x), *layer.output_shape)
    if layer.activation == "relu":
        out = np.maximum(out, 0)
    if (clip := arrays.get(f"{layer.name}/clip")) is not None:
        out = np.minimum(out, clip)
    return out.astype(np.float32, copy=False)


def _weights(layer: Layer, arrays: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    weights = np.asarray(arrays[f"{layer.name}/weights"], np.float32)
    return weights, np.asarray(arrays[f"{layer.name}/bias"], np.float32)


def _padded(layer: Layer, x: np.ndarray, value: float) -> np.ndarray:
    """The image with its border; padding after the last window that is used is cut off."""
    x = x.reshape(len(x), *layer.image)
    (top, bottom), (left, right) = layer.padding
    width = ((0, 0), (top, max(bottom, 0)), (left, max(right, 0)), (0, 0))
    return np.pad(x, width, constant_values=value)


def _taps(layer: Layer, image: np.ndarray) -> Iterator[tuple[int, int, np.ndarray]]:
    """For every element of the window: its place, and the pixels that it meets, ``(n, out_h, out_w, c)``."""
    out_h, out_w, _ = layer.output_image
    (step_y, step_x) = layer.stride
    for i in range(layer.kernel[0]):
        for j in range(layer.kernel[1]):
            rows = slice(i, i + (out_h - 1) * step_y + 1, step_y)
            columns = slice(j, j + (out_w - 1) * step_x + 1, step_x)
            yield i, j, image[:, rows, columns]


def _conv2d(layer: Layer, x: np.ndarray, arrays: Mapping[str, np.ndarray], _: float) -> np.ndarray:
    weights, bias = _weights(layer, arrays)
    out_h, out_w, out_ch = layer.output_image
    windows = sliding_window_view(_padded(layer, x, 0), layer.kernel, axis=(1, 2))
    windows = windows[:, :: layer.stride[0], :: layer.stride[1]][:, :out_h, :out_w]
    columns = windows.reshape(len(x) * out_h * out_w, -1)
    return columns @ weights.transpose(3, 1, 2, 0).reshape(-1, out_ch) + bias


def _depthwise_conv2d(layer: Layer, x: np.ndarray, arrays: Mapping[str, np.ndarray], _: float) -> np.ndarray:
    weights, bias = _weights(layer, arrays)
    total: np.ndarray | float = 0.0
    for i, j, pixels in _taps(layer, _padded(layer, x, 0)):
        total = total + pixels * weights[i, j]
    return total + bias


def _fully_connected(layer: Layer, x: np.ndarray, arrays: Mapping[str, np.ndarray], _: float) -> np.ndarray:
    weights, bias = _weights(layer, arrays)
    return x.reshape(len(x), -1) @ weights.T + bias


def _max_pool2d(layer: Layer, x: np.ndarray, *_: object) -> np.ndarray:
    result = None
    for _i, _j, pixels in _taps(layer, _padded(layer, x, -np.inf)):
        result = pixels if result is None else np.maximum(result, pixels)
    assert result is not None
    return result


def _avg_pool2d(layer: Layer, x: np.ndarray, *_: object) -> np.ndarray:
    inside = _padded(layer, np.ones((1, *layer.input_shape), np.float32), 0)
    total: np.ndarray | float = 0.0
    count: np.ndarray | float = 0.0
    for _i, _j, pixels in _taps(layer, _padded(layer, x, 0)):
        total = total + pixels
    for _i, _j, pixels in _taps(layer, inside):
        count = count + pixels
    return np.asarray(total / count)


def _relu(layer: Layer, x: np.ndarray, *_: object) -> np.ndarray:
    return np.maximum(x, 0)


def _sigmoid(layer: Layer, x: np.ndarray, *_: object) -> np.ndarray:
    return 0.5 * (1 + np.tanh(0.5 * x))


def _tanh(layer: Layer, x: np.ndarray, *_: object) -> np.ndarray:
    return np.tanh(x)


def _softmax(layer: Layer, x: np.ndarray, arrays: Mapping[str, np.ndarray], base: float) -> np.ndarray:
    flat = x.reshape(len(x), -1).astype(np.float64) * log(base)
    powers = np.exp(flat - flat.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


OPS: dict[str, Callable[..., np.ndarray]] = {
    "conv2d": _conv2d,
    "depthwise_conv2d": _depthwise_conv2d,
    "fully_connected": _fully_connected,
    "max_pool2d": _max_pool2d,
    "avg_pool2d": _avg_pool2d,
    "relu": _relu,
    "sigmoid": _sigmoid,
    "tanh": _tanh,
    "softmax": _softmax,
}
"""By their names in model files."""
