# SPDX-License-Identifier: Apache-2.0
"""Instruction mixes: how often each part of a kernel runs, and what one run of it costs on a target."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from cmsisnn_x._variants import Variant
from cmsisnn_x.layers import NUMPY_DTYPES, Layer

from ..target import Target


def terms(layer: Layer, variants: Sequence[Variant | None], target: Target) -> np.ndarray:
    """Cycles, a row per variant, a column per term (im2col, multiply_accumulate, requantise, loop, memory)."""
    width = target.timing["issue_width"]
    branch = target.timing["branch"] + target.timing["branch_taken"]
    load, alu, store = target.timing["load_next"], target.timing["alu"], target.timing["store"]
    mac = target.timing["multiply_accumulate"] if target.dsp else target.timing["multiply"] + target.timing["alu"]
    out = np.zeros((len(variants), 5))
    size = prod(layer.output_shape)
    if variants[0] is None:
        per = {"max_pool2d": 3.0, "avg_pool2d": 5.0, "relu": 1.5, "softmax": 12.0, "sigmoid": 6.0, "tanh": 6.0}[layer.op]
        out[:, 1] = size * prod(layer.kernel) * per / width
        out[:, 3] = size * branch / 4
        return out
    unroll = np.array([v.unroll for v in variants], float)
    rows = np.array([v.block_rows for v in variants], float)
    cols = np.array([v.block_cols for v in variants], float)
    held = np.array([v.im2col_cols for v in variants], float)
    channels = layer.output_shape[-1]
    depth = layer.macs / size
    pixels = size / channels
    lanes = 2.0 if target.dsp else 1.0
    if layer.op == "fully_connected":
        pixels, channels = 1.0, size
    if layer.op == "depthwise_conv2d":
        rows, cols, channels, pixels = rows * 0 + 1, cols * 0 + 1, 1, size
    blocks = np.ceil(channels / rows) * np.ceil(pixels / cols)
    steps = depth / lanes
    widen = (load + 2 * alu) / 4 * lanes
    pressure = np.maximum(rows * cols + rows + cols - 9, 0) * load
    step = rows * cols * mac + rows * (widen + load / lanes) + cols * load + pressure
    out[:, 1] = blocks * steps * step / width
    out[:, 3] = blocks * steps / unroll * (alu + branch) / width + blocks * 8 * alu / width
    out[:, 2] = blocks * rows * cols * (3 * alu + store + 2 * load) / width
    if layer.op == "conv2d":
        out[:, 0] = pixels * depth * (load + 2 * alu + store) / 4 / width + pixels * layer.kernel[0] * 12 / width + pixels / held * 20
    return out


def scratch(layer: Layer, variants: Sequence[Variant | None]) -> np.ndarray:
    depth = layer.kernel[0] * layer.kernel[1] * layer.image[2]
    if layer.op != "conv2d":
        return np.zeros(len(variants), np.int64)
    return np.array([v.im2col_cols * (depth + depth % 2) * 2 for v in variants], np.int64)


def weights(layer: Layer, variants: Sequence[Variant | None]) -> np.ndarray:
    if layer.weights is None or layer.bias is None:
        return np.zeros(len(variants), np.int64)
    item = NUMPY_DTYPES[layer.weights_dtype or layer.dtype].itemsize
    plain = layer.weights.size * item
    return np.array([plain * (2 if v.weight_layout == "widened" and item == 1 else 1) + layer.bias.size * item for v in variants], np.int64)


def code(layer: Layer, variants: Sequence[Variant | None], target: Target) -> np.ndarray:
    return np.array([400 if v is None else 500 + 40 * v.unroll * v.block_rows * v.block_cols for v in variants], np.int64)
