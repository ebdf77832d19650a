# SPDX-License-Identifier: Apache-2.0
"""The CMSIS-NN paper's network and single layers of its kind, seeded. Append only: results are compared over time."""

from __future__ import annotations

import zlib
from dataclasses import replace
from math import prod

import numpy as np

from cmsisnn_x.affine import Affine, AffineClamp, quantize_multiplier
from cmsisnn_x.layers import NUMPY_DTYPES, Layer


def draw(name: str, shape: tuple[int, ...], dtype: str, limit: int | None = None) -> np.ndarray:
    """Seeded integers in -limit..limit-1, the whole range by default."""
    limit = limit or 1 << (NUMPY_DTYPES[dtype].itemsize * 8 - 1)
    generator = np.random.default_rng(zlib.crc32(name.encode()))
    return generator.integers(-limit, limit, shape, dtype=NUMPY_DTYPES[dtype])


def convolution(name: str, size: int, in_ch: int, out_ch: int, kernel: int, dtype: str = "q7") -> Layer:
    """A "same" convolution with stride 1 and relu."""
    pad = (kernel // 2, kernel // 2)
    depth = kernel * kernel * in_ch
    return Layer(
        name, "conv2d", dtype, (size, size, in_ch), (size, size, out_ch), (kernel, kernel), (1, 1), (pad, pad),
        out_shift=7 + depth.bit_length() // 2 + (6 if dtype == "q15" else 0),
        activation="relu", weights_dtype=dtype,
        weights=draw(f"{name}/weights", (out_ch, kernel, kernel, in_ch), dtype),
        bias=draw(f"{name}/bias", (out_ch,), dtype),
    )  # fmt: skip


def depthwise(name: str, size: int, channels: int, kernel: int, dtype: str = "q7") -> Layer:
    """A "same" depthwise convolution with stride 1."""
    pad = (kernel // 2, kernel // 2)
    return Layer(
        name, "depthwise_conv2d", dtype, (size, size, channels), (size, size, channels), (kernel, kernel), (1, 1),
        (pad, pad), out_shift=9 if dtype == "q7" else 15, activation="relu", weights_dtype=dtype,
        weights=draw(f"{name}/weights", (kernel, kernel, channels), dtype),
        bias=draw(f"{name}/bias", (channels,), dtype),
    )  # fmt: skip


def max_pool(name: str, size: int, channels: int, dtype: str = "q7", op: str = "max_pool2d") -> Layer:
    """3x3 with stride 2, rounded up."""
    return Layer(name, op, dtype, (size, size, channels), (size // 2, size // 2, channels), (3, 3), (2, 2),
                 ((0, 1), (0, 1)), ceil_mode=True)  # fmt: skip


def dense(name: str, shape: tuple[int, ...], rows: int, dtype: str = "q7") -> Layer:
    """Fully connected."""
    cols = int(np.prod(shape))
    return Layer(
        name, "fully_connected", dtype, shape, (rows,), out_shift=12 if dtype == "q7" else 20, weights_dtype=dtype,
        weights=draw(f"{name}/weights", (rows, cols), dtype), bias=draw(f"{name}/bias", (rows,), dtype),
    )  # fmt: skip


def paper_network(dtype: str = "q7") -> list[Layer]:
    """arXiv 1801.06601: 12.3 million multiply-accumulates."""
    return [
        convolution("conv1", 32, 3, 32, 5, dtype),
        max_pool("pool1", 32, 32, dtype),
        convolution("conv2", 16, 32, 32, 5, dtype),
        max_pool("pool2", 16, 32, dtype),
        convolution("conv3", 8, 32, 64, 5, dtype),
        max_pool("pool3", 8, 64, dtype),
        dense("fc1", (4, 4, 64), 10, dtype),
        Layer("prob", "softmax", dtype, (10,), (10,)),
    ]


def macs(layers: list[Layer]) -> int:
    return sum(layer.macs for layer in layers)


def exact(layer: Layer, x: np.ndarray) -> np.ndarray:
    """What a layer means, in 64-bit integers by NumPy; every operation of the paper's network."""
    x = x.reshape(layer.input_shape).astype(np.int64)
    limit = 1 << (layer.numpy_dtype.itemsize * 8 - 1)
    if layer.op == "softmax":
        base, bits, scale = (8, 20, 13) if limit == 128 else (16, 32, 17)
        exponents = x - (x.max() - base)
        live = exponents > 0
        quotient = (1 << bits) // int((1 << exponents[live]).sum())
        out = np.where(live, quotient >> np.where(live, scale - exponents, 0), 0)
        return np.minimum(out, limit - 1).astype(layer.numpy_dtype)
    if layer.op == "fully_connected":
        total = layer.weights.astype(np.int64) @ x.reshape(-1)
    else:
        lowest = -limit if layer.op == "max_pool2d" else 0
        image = np.pad(x, (*layer.padding, (0, 0)), constant_values=lowest)
        windows = np.lib.stride_tricks.sliding_window_view(image, layer.kernel, axis=(0, 1))
        windows = windows[:: layer.stride[0], :: layer.stride[1]]
        if layer.op == "max_pool2d":
            return windows.max(axis=(3, 4)).astype(layer.numpy_dtype)
        subscripts = "yxcij,ijc->yxc" if layer.op == "depthwise_conv2d" else "yxcij,oijc->yxo"
        total = np.einsum(subscripts, windows, layer.weights.astype(np.int64), optimize=True)
    total = total + (layer.bias.astype(np.int64) << layer.bias_shift) + (1 << layer.out_shift >> 1)
    total = (total + 2**31) % 2**32 - 2**31 >> layer.out_shift
    return np.clip(total, 0 if layer.activation == "relu" else -limit, limit - 1).astype(layer.numpy_dtype)


def with_zero_points(layer: Layer) -> Layer:
    """The same q7 weights in a layer of int8, with a factor per channel."""
    channels = layer.output_shape[-1]
    generator = np.random.default_rng(zlib.crc32(f"{layer.name}/factors".encode()))
    products = layer.macs // prod(layer.output_shape)
    factors = generator.uniform(0.5, 2.0, channels) / (60 * products**0.5)
    multiplier, shift = zip(*(quantize_multiplier(float(factor)) for factor in factors), strict=True)
    return replace(
        layer, dtype="int8", weights_dtype="int8", activation=None,
        bias=draw("bias", (channels,), "q7").astype(np.int32),
        scheme=Affine(-7, 3, multiplier, shift, -128, 127),
    )  # fmt: skip


def trained(layer: Layer) -> Layer:
    """A layer of int8 with weights as training leaves them, normal and within -127..127, and ReLU in the zero point."""
    layer = with_zero_points(layer)
    assert isinstance(layer.scheme, Affine)
    assert layer.weights is not None
    drawn = np.random.default_rng(zlib.crc32(f"{layer.name}/trained".encode())).normal(0, 36, layer.weights.shape)
    multiplier, shift = layer.scheme.multiplier, layer.scheme.shift
    return replace(
        layer, weights=np.clip(np.rint(drawn), -127, 127).astype(np.int8),
        scheme=Affine(-7, -128, multiplier, shift, -128, 127),
    )  # fmt: skip


def of_bytes(layer: Layer) -> Layer:
    """A pooling of int8."""
    return replace(layer, dtype="int8", scheme=AffineClamp(-128, 127))


LAYERS = {
    "conv1 5x5 3->32, 32x32": convolution("conv1", 32, 3, 32, 5),
    "conv2 5x5 32->32, 16x16": convolution("conv2", 16, 32, 32, 5),
    "conv3 5x5 32->64, 8x8": convolution("conv3", 8, 32, 64, 5),
    "3x3 64->64, 8x8": convolution("conv64", 8, 64, 64, 3),
    "3x3 3->16, 32x32": convolution("resnet1", 32, 3, 16, 3),
    "3x3 16->16, 32x32": convolution("resnet2", 32, 16, 16, 3),
    "3x3 1->8, 28x28": convolution("grey", 28, 1, 8, 3),
    "1x1 8->16, 48x48": convolution("pointwise8", 48, 8, 16, 1),
    "1x1 32->32, 16x16": convolution("pointwise", 16, 32, 32, 1),
    "1x1 256->256, 7x7": convolution("pointwise256", 7, 256, 256, 1),
    "depthwise 3x3, 16x16x32": depthwise("depthwise", 16, 32, 3),
    "depthwise 3x3, 48x48x8": depthwise("depthwise8", 48, 8, 3),
    "depthwise 5x5, 25x25x64": depthwise("depthwise25", 25, 64, 5),
    "depthwise 3x3, 48x48x64": depthwise("depthwise48", 48, 64, 3),
    "FC 1024->10": dense("fc1", (4, 4, 64), 10),
    "FC 640->128": dense("fc128", (640,), 128),
    "FC 1024->512": dense("fc512", (1024,), 512),
}
POOLS = {
    "max pool 3x3 s2, 32x32x32": max_pool("pool", 32, 32),
    "avg pool 3x3 s2, 32x32x32": max_pool("pool", 32, 32, op="avg_pool2d"),
}
