# SPDX-License-Identifier: Apache-2.0
"""Layers for device tests, and what a layer means: a slow NumPy oracle in int64 that shares no code with any kernel."""

from __future__ import annotations

import math
import zlib

import numpy as np

from cmsisnn_x.layers import NUMPY_DTYPES, Layer

BITS = {"q7": 8, "q15": 16}


def make_layer(
    op: str,
    input_shape: tuple[int, ...],
    *,
    dtype: str = "q7",
    out_channels: int | None = None,
    kernel: int | tuple[int, int] = 1,
    stride: int | tuple[int, int] = 1,
    padding: int | tuple[int, int] = 0,
    ceil_mode: bool = False,
    output_size: tuple[int, int] | None = None,
    weights_dtype: str | None = None,
    bias_shift: int = 0,
    out_shift: int = 0,
    activation: str | None = None,
    int_bits: int = 0,
    extreme: bool = False,
) -> Layer:
    """A layer with drawn weights and bias; `extreme` draws them from the ends of their range only."""
    kernel, stride, padding = _pair(kernel), _pair(stride), _pair(padding)
    weights_dtype = weights_dtype or dtype
    name = f"{op}{dtype}{weights_dtype}{input_shape}{out_channels}{kernel}{stride}{padding}{extreme}"
    if op in ("conv2d", "depthwise_conv2d", "max_pool2d", "avg_pool2d"):
        size = [
            _output_size(i, k, s, p, ceil_mode) for i, k, s, p in zip(input_shape[:2], kernel, stride, padding, strict=True)
        ] if output_size is None else output_size  # fmt: skip
        channels = out_channels if op == "conv2d" else input_shape[2]
        output_shape: tuple[int, ...] = (*size, channels)
        after = [
            max((o - 1) * s + k - i - p, 0) for o, s, k, i, p in zip(size, stride, kernel, input_shape[:2], padding, strict=True)
        ]
        pads = ((padding[0], after[0]), (padding[1], after[1]))
    else:
        pads = ((0, 0), (0, 0))
        output_shape = (out_channels,) if op == "fully_connected" else input_shape
    shapes = {
        "conv2d": (out_channels, *kernel, input_shape[-1]),
        "depthwise_conv2d": (*kernel, input_shape[-1]),
        "fully_connected": (out_channels, math.prod(input_shape)),
    }
    weights = bias = None
    if op in shapes:
        rng = np.random.default_rng(zlib.crc32(name.encode()))
        info = np.iinfo(NUMPY_DTYPES[weights_dtype])

        def drawn(shape: tuple[int, ...]) -> np.ndarray:
            if extreme:
                return rng.choice(np.array([info.min, info.max], info.dtype), shape)
            return rng.integers(info.min, info.max, shape, info.dtype, endpoint=True)

        weights, bias = drawn(shapes[op]), drawn((output_shape[-1],))
    return Layer(
        name="layer", op=op, dtype=dtype, input_shape=input_shape, output_shape=output_shape, kernel=kernel, stride=stride, padding=pads,
        ceil_mode=ceil_mode, bias_shift=bias_shift, out_shift=out_shift, activation=activation, weights_dtype=weights_dtype if op in shapes else None,
        int_bits=int_bits, weights=weights, bias=bias,
    )  # fmt: skip


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return value if isinstance(value, tuple) else (value, value)


def _output_size(size: int, kernel: int, stride: int, padding: int, ceil_mode: bool) -> int:
    """Windows of one axis; under `ceil_mode` the last may be clipped but starts inside the image or its near padding."""
    steps = size + 2 * padding - kernel
    if not ceil_mode:
        return steps // stride + 1
    count = -(-steps // stride) + 1
    return count - 1 if (count - 1) * stride >= size + padding else count


def meaning(layer: Layer, x: np.ndarray, other: np.ndarray | None = None) -> np.ndarray:
    """Output of a layer by its definition."""
    return _MEANINGS[layer.op](layer, x.astype(np.int64), other).astype(layer.numpy_dtype).reshape(layer.output_shape)


def requantise(acc: np.ndarray, layer: Layer) -> np.ndarray:
    """clamp((acc + bias * 2^bias_shift + round) >> out_shift), the sum modulo 2^32."""
    acc = acc + (layer.bias.astype(np.int64) << layer.bias_shift) + ((1 << layer.out_shift) >> 1)
    return activate(clamp(((acc + 2**31) % 2**32 - 2**31) >> layer.out_shift, layer), layer)


def clamp(value: np.ndarray, layer: Layer) -> np.ndarray:
    limit = 1 << (BITS[layer.dtype] - 1)
    return np.clip(value, -limit, limit - 1)


def activate(value: np.ndarray, layer: Layer) -> np.ndarray:
    return np.maximum(value, 0) if layer.activation == "relu" else value


def _windows(layer: Layer, x: np.ndarray):
    """Per output pixel: its index, the window clipped to the image, and the slice of the kernel that lies inside."""
    (height, width, _), (top, left) = x.shape, (layer.padding[0][0], layer.padding[1][0])
    for y, column in np.ndindex(*layer.output_shape[:2]):
        y0, x0 = y * layer.stride[0] - top, column * layer.stride[1] - left
        y1, x1 = min(y0 + layer.kernel[0], height), min(x0 + layer.kernel[1], width)
        ky, kx = max(-y0, 0), max(-x0, 0)
        inside = (slice(ky, max(y1 - y0, ky)), slice(kx, max(x1 - x0, kx)))
        yield (y, column), x[max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)], inside


def _convolution(layer: Layer, x: np.ndarray, other: object) -> np.ndarray:
    acc = np.zeros(layer.output_shape, np.int64)
    weights = layer.weights.astype(np.int64)
    for at, window, (ky, kx) in _windows(layer, x):
        acc[at] = np.einsum("yxc,oyxc->o", window, weights[:, ky, kx])
    return requantise(acc, layer)


def _depthwise(layer: Layer, x: np.ndarray, other: object) -> np.ndarray:
    acc = np.zeros(layer.output_shape, np.int64)
    weights = layer.weights.astype(np.int64)
    for at, window, (ky, kx) in _windows(layer, x):
        acc[at] = (window * weights[ky, kx]).sum((0, 1))
    return requantise(acc, layer)


def _fully_connected(layer: Layer, x: np.ndarray, other: object) -> np.ndarray:
    return requantise(layer.weights.astype(np.int64) @ x.reshape(-1), layer)


def _max_pool(layer: Layer, x: np.ndarray, other: object) -> np.ndarray:
    out = np.zeros(layer.output_shape, np.int64)
    for at, window, _ in _windows(layer, x):
        out[at] = window.max((0, 1))
    return out


def _avg_pool(layer: Layer, x: np.ndarray, other: object) -> np.ndarray:
    out = np.zeros(layer.output_shape, np.int64)
    for at, window, _ in _windows(layer, x):
        total = window.sum((0, 1))
        out[at] = np.sign(total) * (np.abs(total) // (window.shape[0] * window.shape[1]))
    return out


def activation_table(op: str, dtype: str) -> np.ndarray:
    """T(t) for t = 0..255 taken as a two's-complement byte: f(t / 16) to `dtype`, rounded half up, saturated."""
    scale = 1 << (BITS[dtype] - 1)
    table = []
    for index in range(256):
        value = ((index + 128) % 256 - 128) / 16
        f = math.tanh(value) if op == "tanh" else 1 / (1 + math.exp(-value))
        table.append(min(math.floor(f * scale + 0.5), scale - 1))
    return np.array(table, NUMPY_DTYPES[dtype])


def _table_lookup(layer: Layer, x: np.ndarray, other: object) -> np.ndarray:
    table = activation_table(layer.op, layer.dtype).astype(np.int64)
    if layer.dtype == "q7":
        return table[(x >> (3 - layer.int_bits)) & 255]
    shift = 11 - layer.int_bits
    index, fraction = x >> shift, x & ((1 << shift) - 1)
    low, high = table[index & 255], table[np.minimum(index + 1, 127) & 255]
    return ((1 << shift) * low + fraction * (high - low)) >> shift


def _softmax(layer: Layer, x: np.ndarray, other: object) -> np.ndarray:
    width, numerator, k = (8, 2**20, 13) if layer.dtype == "q7" else (16, 2**32, 17)
    e = x - (x.max() - width)
    live = e > 0
    total = int((2 ** e[live]).sum())
    return np.where(live, clamp((numerator // total) >> np.where(live, k - e, 0), layer), 0)


def _multiply(layer: Layer, x: np.ndarray, other: np.ndarray) -> np.ndarray:
    acc = x * other.astype(np.int64) + ((1 << layer.out_shift) >> 1)
    return clamp(((acc + 2**31) % 2**32 - 2**31) >> layer.out_shift, layer)


_MEANINGS = {
    "conv2d": _convolution, "depthwise_conv2d": _depthwise, "fully_connected": _fully_connected, "max_pool2d": _max_pool,
    "avg_pool2d": _avg_pool, "relu": lambda layer, x, other: np.maximum(x, 0), "sigmoid": _table_lookup, "tanh": _table_lookup,
    "softmax": _softmax, "multiply": _multiply,
}  # fmt: skip
