# SPDX-License-Identifier: Apache-2.0
"""Layers of a float network as operators of `.tflite` files, given the scale of every tensor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import log, prod
from pathlib import Path
from typing import Any

import numpy as np

from cmsisnn_x.layers import Layer

from ...importers.tflite.build import FileBuilder
from ...importers.tflite.file import FileModel
from .scales import LEAST_SCALE, Scale

INPUT = "input"
WEIGHT_MAX = 127
LARGEST_SUM = {"int8": 2.0**31 - 1, "int16": 2.0**38}
"""What a sum of products and bias may reach: the 32 bits of int8; beside int16, 64 bits of which LiteRT uses fewer."""
_LARGEST_INPUT = {"int8": 255, "int16": 32768}
_CODES = {
    "conv2d": "CONV_2D",
    "depthwise_conv2d": "DEPTHWISE_CONV_2D",
    "fully_connected": "FULLY_CONNECTED",
    "max_pool2d": "MAX_POOL_2D",
    "avg_pool2d": "AVERAGE_POOL_2D",
    "sigmoid": "LOGISTIC",
    "tanh": "TANH",
    "softmax": "SOFTMAX",
}


@dataclass(frozen=True, eq=False)
class Weights:
    """Weights and bias of a layer in integers, a scale for each output channel.

    `coarse` counts the channels whose weights are coarser than they could be: else bias or sums would not fit.
    """

    values: np.ndarray
    scales: np.ndarray
    bias: np.ndarray
    bias_scales: np.ndarray
    coarse: int

    def real(self, layer: Layer) -> np.ndarray:
        """What the integer weights stand for."""
        return self.values * _along(layer, self.scales, self.values.ndim)


def integer_weights(layer: Layer, weights: np.ndarray, bias: np.ndarray, x: Scale) -> Weights:
    """Symmetric int8, -127 .. 127, the bias in steps of input scale times weight scale."""
    return integer_channels(weights, bias, x, layer.row.channel_axis)


def integer_channels(weights: np.ndarray, bias: np.ndarray, x: Scale, axis: int) -> Weights:
    """The same of weights whose outputs lie along `axis`."""
    rows = np.moveaxis(np.asarray(weights, np.float64), axis, 0).reshape(len(bias), -1)
    bias = np.asarray(bias, np.float64)
    finest = np.abs(rows).max(axis=1) / WEIGHT_MAX
    # A channel without weights has any scale: its neighbours', so that its bias has steps like theirs.
    finest[finest == 0] = finest.max() or 1 / (_LARGEST_INPUT[x.type] * x.scale)
    reach = np.abs(rows).sum(axis=1) * _LARGEST_INPUT[x.type] + np.abs(bias) / x.scale
    needed = reach / (0.99 * LARGEST_SUM[x.type])
    scales = np.maximum(np.maximum(finest, needed), LEAST_SCALE / x.scale).astype(np.float32)
    along = scales.reshape([-1 if at == axis % weights.ndim else 1 for at in range(weights.ndim)])
    values = np.clip(np.rint(np.asarray(weights, np.float64) / along), -WEIGHT_MAX, WEIGHT_MAX).astype(np.int8)
    bias_scales = np.float32(x.scale) * scales
    whole = np.rint(bias / bias_scales.astype(np.float64))
    wide = np.int32 if x.type == "int8" else np.int64
    return Weights(values, scales, whole.astype(wide), bias_scales, int((needed > finest).sum()))


def _along(layer: Layer, scales: np.ndarray, rank: int) -> np.ndarray:
    """Scales in the shape in which they meet weights of `rank` axes."""
    shape = [1] * rank
    shape[layer.row.channel_axis] = -1
    return np.asarray(scales, np.float64).reshape(shape)


class Operators:
    """The layers of a network, any stretch of them as a file.

    Parameters
    ----------
    layers : sequence of Layer
        Their geometry.
    arrays : mapping
        ``<layer>/weights``, ``<layer>/bias`` and ``<layer>/clip``.
    softmax_base : float
    """

    def __init__(self, layers: Sequence[Layer], arrays: Mapping[str, np.ndarray], softmax_base: float) -> None:
        self.layers, self.arrays, self.softmax_base = layers, arrays, softmax_base

    def file(
        self, scales: Sequence[Scale], biases: Mapping[str, np.ndarray], start: int = 0, stop: int | None = None, *,
        path: Path = Path("network.tflite"), description: str = "",
    ) -> FileModel:  # fmt: skip
        """Layers `start` to `stop`; ``scales[i]`` is that of what enters layer `i`."""
        stretch = self.layers[start:stop]
        writer = _Writer(self, scales[start], biases)
        first = writer.made.tensor(INPUT, (1, *stretch[0].input_shape), *writer.numbers(scales[start]))
        here = first
        for index, layer in enumerate(stretch, start):
            here = writer.layer(layer, here, scales[index], scales[index + 1])
        return writer.made.file(path, [first], [here], description)

    def clip(self, layer: Layer) -> float | None:
        found = self.arrays.get(f"{layer.name}/clip")
        return None if found is None else float(found)


class _Writer:
    def __init__(self, network: Operators, first: Scale, biases: Mapping[str, np.ndarray]) -> None:
        self.network, self.biases = network, biases
        self.made = FileBuilder()

    @staticmethod
    def numbers(scale: Scale) -> tuple[str, float, int]:
        return scale.type.upper(), scale.scale, scale.zero_point

    def layer(self, layer: Layer, x: int, before: Scale, after: Scale) -> int:
        if layer.row.is_weighted:
            return self.weighted(layer, x, before, after)
        if layer.row.is_windowed:
            return self.pool(layer, x, before)
        out = (1, *layer.output_shape)
        if layer.op == "relu":
            # TFLM's RELU6 changes no scale: what it cuts off, the end of the range does.
            return self.op("RELU", layer.name, [x], out, after)
        if layer.op != "softmax":
            return self.op(_CODES[layer.op], layer.name, [x], out, after)
        beta = log(self.network.softmax_base)
        flat = (1, prod(layer.output_shape))
        if out == flat:
            return self.op("SOFTMAX", layer.name, [x], out, after, beta=beta)
        # Over all elements, where LiteRT's is over the last axis.
        x = self.reshaped(f"{layer.name}/flat", x, flat, before)
        x = self.op("SOFTMAX", f"{layer.name}/probabilities", [x], flat, after, beta=beta)
        return self.reshaped(layer.name, x, out, after)

    def op(
        self, code: str, name: str, inputs: Sequence[int], shape: Sequence[int], after: Scale, **options: Any
    ) -> int:
        out = self.made.tensor(name, shape, *self.numbers(after))
        self.made.op(code, inputs, [out], name=name if "/" not in name else "", **options)
        return out

    def reshaped(self, name: str, x: int, shape: tuple[int, ...], scale: Scale) -> int:
        sizes = self.made.tensor(f"{name}/shape", data=np.array(shape, np.int32))
        return self.op("RESHAPE", name, [x, sizes], shape, scale, new_shape=shape)

    def weighted(self, layer: Layer, x: int, before: Scale, after: Scale) -> int:
        weights = self.network.arrays[f"{layer.name}/weights"]
        found = integer_weights(layer, weights, self.biases[f"{layer.name}/bias"], before)
        values, axis = found.values, 0
        options: dict[str, Any] = {"fused_activation_function": self.activation(layer)}
        if layer.op == "fully_connected":
            if len(layer.input_shape) > 1:
                x = self.reshaped(f"{layer.name}/flat", x, (1, prod(layer.input_shape)), before)
        else:
            if layer.op == "depthwise_conv2d":
                values, axis = values[None], 3
                options["depth_multiplier"] = 1
            x, windows = self.windows(layer, x, before)
            options |= windows
        w = self.made.tensor(f"{layer.name}/weights", scale=found.scales, axis=axis, data=values)
        b = self.made.tensor(f"{layer.name}/bias", scale=found.bias_scales, data=found.bias)
        return self.op(_CODES[layer.op], layer.name, [x, w, b], (1, *layer.output_shape), after, **options)

    def activation(self, layer: Layer) -> str:
        """An end that no fused activation has is that of the output's range, where integers saturate."""
        if layer.activation is None:
            return "NONE"
        return "RELU6" if self.network.clip(layer) == 6 else "RELU"

    def pool(self, layer: Layer, x: int, scale: Scale) -> int:
        if layer.op == "avg_pool2d" and not any(_is(layer, padding) for padding in ("VALID", "SAME")):
            return self.clipped_average(layer, x, scale)
        x, options = self.windows(layer, x, scale)
        options |= {"filter_height": layer.kernel[0], "filter_width": layer.kernel[1]}
        return self.op(_CODES[layer.op], layer.name, [x], (1, *layer.output_shape), scale, **options)

    def clipped_average(self, layer: Layer, x: int, scale: Scale) -> int:
        """Windows over the edge, which no padding gives: those of one size are averaged alone, and put together."""
        rows, columns = (_runs(layer, axis) for axis in (0, 1))
        bands = []
        for i, row in enumerate(rows):
            band = f"{layer.name}/{i}" if len(rows) > 1 else layer.name
            pieces = []
            for k, column in enumerate(columns):
                piece = f"{band}/{k}" if len(columns) > 1 else band
                pieces.append(self.average_of(layer, x, scale, piece, row, column))
            bands.append(self.joined(band, pieces, 2, scale))
        return self.joined(layer.name, bands, 1, scale)

    def average_of(self, layer: Layer, x: int, scale: Scale, name: str, row: _Run, column: _Run) -> int:
        """The windows in which two runs meet."""
        channels = layer.image[2]
        corners = (0, row.start, column.start, 0), (1, row.stop, column.stop, channels), (1, 1, 1, 1)
        given = [np.array(one, np.int32) for one in corners]
        places = [self.made.tensor(f"{name}/{which}", data=one) for which, one in enumerate(given)]
        shape = (1, row.stop - row.start, column.stop - column.start, channels)
        x = self.op("STRIDED_SLICE", f"{name}/image", [x, *places], shape, scale)
        options = {"filter_height": row.size, "filter_width": column.size, "padding": "VALID"}
        options |= {"stride_h": layer.stride[0], "stride_w": layer.stride[1]}
        return self.op("AVERAGE_POOL_2D", name, [x], (1, row.count, column.count, channels), scale, **options)

    def joined(self, name: str, parts: Sequence[int], axis: int, scale: Scale) -> int:
        if len(parts) == 1:
            return parts[0]
        shape = list(self.made.tensors[parts[0]].shape)
        shape[axis] = sum(self.made.tensors[part].shape[axis] for part in parts)
        return self.op("CONCATENATION", name, parts, shape, scale, axis=axis)

    def windows(self, layer: Layer, x: int, scale: Scale) -> tuple[int, dict[str, Any]]:
        """Strides and padding; what neither SAME nor VALID says is padded before."""
        options: dict[str, Any] = {"stride_h": layer.stride[0], "stride_w": layer.stride[1]}
        for padding in ("VALID", "SAME"):
            if _is(layer, padding):
                return x, {**options, "padding": padding}
        (top, bottom), (left, right) = ((before, max(after, 0)) for before, after in layer.padding)
        height, width, channels = layer.image
        amounts = np.array([[0, 0], [top, bottom], [left, right], [0, 0]], np.int32)
        inputs = [x, self.made.tensor(f"{layer.name}/padding", data=amounts)]
        shape = (1, top + height + bottom, left + width + right, channels)
        if layer.op == "max_pool2d":
            lowest = np.array([np.iinfo(scale.type).min], scale.type)
            _, *numbers = self.numbers(scale)
            inputs.append(self.made.tensor(f"{layer.name}/lowest", (), scale.type, *numbers, data=lowest))
        code = "PADV2" if layer.op == "max_pool2d" else "PAD"
        return self.op(code, f"{layer.name}/padded", inputs, shape, scale), {**options, "padding": "VALID"}


@dataclass(frozen=True)
class _Run:
    """Windows along an axis that are next to each other and as large: `count` from `start`, `size` long each."""

    start: int
    size: int
    count: int
    stride: int

    @property
    def stop(self) -> int:
        return self.start + (self.count - 1) * self.stride + self.size


def _runs(layer: Layer, axis: int) -> list[_Run]:
    """Windows of a layer along an axis, cut off at the edges."""
    runs: list[_Run] = []
    stride, before, image = layer.stride[axis], layer.padding[axis][0], layer.image[axis]
    for at in range(layer.output_image[axis]):
        first = at * stride - before
        start, stop = max(first, 0), min(first + layer.kernel[axis], image)
        last = runs[-1] if runs else None
        if last and last.size == stop - start and last.start + last.count * stride == start:
            runs[-1] = replace(last, count=last.count + 1)
        else:
            runs.append(_Run(start, stop - start, 1, stride))
    return runs


def _is(layer: Layer, padding: str) -> bool:
    return all(_gives(layer, axis, padding) for axis in (0, 1))


def _gives(layer: Layer, axis: int, padding: str) -> bool:
    """Whether LiteRT's padding gives the windows of a layer along an axis."""
    size, kernel, stride = layer.image[axis], layer.kernel[axis], layer.stride[axis]
    count, before = layer.output_image[axis], layer.padding[axis][0]
    if padding == "VALID":
        return before == 0 and count == (size - kernel) // stride + 1
    total = (count - 1) * stride + kernel - size
    return count == -(-size // stride) and before == max(total, 0) // 2
