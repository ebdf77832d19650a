# SPDX-License-Identifier: Apache-2.0
"""The five networks of MLPerf Tiny by their published dimensions, as `.tflite` files with weights drawn at random.

Append only: results are compared over time.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tuning.importers.tflite.build import FileBuilder
from tuning.importers.tflite.writer import write

SCALE = 0.05


@dataclass(frozen=True)
class Value:
    """A tensor of the file; `scale` and `zero` are its quantisation."""

    index: int
    shape: tuple[int, ...]
    zero: int
    scale: float = SCALE


class Network:
    """A file in the making; convolutions are followed by ReLU where nothing else is said."""

    def __init__(self, name: str, shape: tuple[int, ...]) -> None:
        self.name, self.file, self.count = name, FileBuilder(), 0
        self.input = self.value((1, *shape), 3)

    def value(self, shape: tuple[int, ...], zero: int, scale: float = SCALE) -> Value:
        self.count += 1
        return Value(self.file.tensor(f"t{self.count}", shape, "INT8", scale, zero), shape, zero, scale)

    def weights(self, x: Value, shape: tuple[int, ...], axis: int, channels: int) -> list[int]:
        """Normal, the largest along `axis` 127, -1 of all, and a bias; factors that keep activations in their range."""
        rng = np.random.default_rng(zlib.crc32(f"{self.name}/{self.count}".encode()))
        drawn = rng.normal(size=shape)
        others = tuple(at for at in range(len(shape)) if at != axis)
        integers = np.rint(drawn / np.abs(drawn).max(axis=others, keepdims=True) * 127).astype(np.int8)
        products = np.prod(shape) / channels
        scales = rng.uniform(0.7, 1.4, channels if axis >= 0 else 1) / (35 * products**0.5)
        name = f"w{self.count}"
        data = self.file.tensor(name, scale=scales, axis=max(axis, 0), data=integers)
        bias = rng.integers(-2000, 2000, channels, dtype=np.int32)
        return [data, self.file.tensor(f"{name}_bias", scale=scales * x.scale, data=bias)]

    def convolution(self, x: Value, out_ch: int, kernel: tuple[int, int], stride: int = 1, *, relu: bool = True,
                    depthwise: bool = False, same: bool = True) -> Value:  # fmt: skip
        _, height, width, in_ch = x.shape
        padded = (0, 0) if same else (kernel[0] - 1, kernel[1] - 1)
        size = [-(-(n - p) // stride) for n, p in zip((height, width), padded, strict=True)]
        out = self.value((1, size[0], size[1], out_ch), -128 if relu else 5)
        shape = (1, *kernel, in_ch) if depthwise else (out_ch, *kernel, in_ch)
        fields = {"padding": "SAME" if same else "VALID", "stride_h": stride, "stride_w": stride,
                  "fused_activation_function": "RELU" if relu else "NONE"}  # fmt: skip
        if depthwise:
            fields["depth_multiplier"] = 1
        inputs = [x.index, *self.weights(x, shape, 3 if depthwise else 0, out_ch)]
        self.file.op("DEPTHWISE_CONV_2D" if depthwise else "CONV_2D", inputs, [out.index], **fields)
        return out

    def separable(self, x: Value, out_ch: int, kernel: tuple[int, int] = (3, 3), stride: int = 1, *,
                  same: bool = True) -> Value:  # fmt: skip
        x = self.convolution(x, x.shape[3], kernel, stride, depthwise=True, same=same)
        return self.convolution(x, out_ch, (1, 1))

    def dense(self, x: Value, rows: int, *, relu: bool = False) -> Value:
        cols = int(np.prod(x.shape))
        out = self.value((1, rows), -128 if relu else 5)
        if len(x.shape) > 2:
            flat = self.value((1, cols), x.zero, x.scale)
            shape = self.file.tensor(f"shape{self.count}", data=np.array([1, cols], np.int32))
            self.file.op("RESHAPE", [x.index, shape], [flat.index], new_shape=(1, cols))
            x = flat
        inputs = [x.index, *self.weights(x, (rows, cols), -1, rows)]
        activation = "RELU" if relu else "NONE"
        self.file.op("FULLY_CONNECTED", inputs, [out.index], fused_activation_function=activation)
        return out

    def add(self, a: Value, b: Value) -> Value:
        out = self.value(a.shape, -128, 1.4 * SCALE)
        self.file.op("ADD", [a.index, b.index], [out.index], fused_activation_function="RELU")
        return out

    def average(self, x: Value) -> Value:
        _, height, width, channels = x.shape
        out = self.value((1, 1, 1, channels), x.zero, x.scale)
        self.file.op("AVERAGE_POOL_2D", [x.index], [out.index], padding="VALID", stride_h=height,
                             stride_w=width, filter_height=height, filter_width=width)  # fmt: skip
        return out

    def softmax(self, x: Value) -> Value:
        out = self.value(x.shape, -128, 1 / 256)
        self.file.op("SOFTMAX", [x.index], [out.index], beta=1.0)
        return out

    def content(self, x: Value) -> bytes:
        return write(self.file.file(Path(f"{self.name}.tflite"), [self.input.index], [x.index]))


def image_classification() -> bytes:
    """ResNet-8 on 32x32x3."""
    net = Network("resnet8", (32, 32, 3))
    x = net.convolution(net.input, 16, (3, 3))
    for out_ch, stride in ((16, 1), (32, 2), (64, 2)):
        y = net.convolution(x, out_ch, (3, 3), stride)
        y = net.convolution(y, out_ch, (3, 3), relu=False)
        x = net.add(x if stride == 1 else net.convolution(x, out_ch, (1, 1), stride, relu=False), y)
    return net.content(net.softmax(net.dense(net.average(x), 10)))


def keyword_spotting() -> bytes:
    """DS-CNN on 49x10."""
    net = Network("ds_cnn", (49, 10, 1))
    x = net.convolution(net.input, 64, (10, 4), 2)
    for _ in range(4):
        x = net.separable(x, 64)
    return net.content(net.softmax(net.dense(net.average(x), 12)))


def person_detection() -> bytes:
    """MobileNet v1 of width 0.25 on 96x96x3."""
    net = Network("mobilenet", (96, 96, 3))
    x = net.convolution(net.input, 8, (3, 3), 2)
    for out_ch, stride in ((16, 1), (32, 2), (32, 1), (64, 2), (64, 1), (128, 2), *[(128, 1)] * 5, (256, 2), (256, 1)):
        x = net.separable(x, out_ch, stride=stride)
    return net.content(net.softmax(net.dense(net.average(x), 2)))


def anomaly_detection() -> bytes:
    """An autoencoder of ten dense layers on 640 values."""
    net = Network("autoencoder", (640,))
    x = net.input
    for rows in (128, 128, 128, 128, 8, 128, 128, 128, 128):
        x = net.dense(x, rows, relu=True)
    return net.content(net.dense(x, 640))


def streaming_wake_word() -> bytes:
    """A 1-D DS-CNN on 30 frames of 40 features."""
    net = Network("wake_word", (30, 1, 40))
    x = net.input
    for out_ch, taps in ((128, 3), (128, 5), (128, 10), (32, 15)):
        x = net.separable(x, out_ch, (taps, 1), same=False)
    return net.content(net.softmax(net.dense(x, 3)))


NETWORKS: dict[str, Callable[[], bytes]] = {
    network.__name__: network
    for network in (image_classification, keyword_spotting, person_detection, anomaly_detection, streaming_wake_word)
}
