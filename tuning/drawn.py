# SPDX-License-Identifier: Apache-2.0
"""Weights for networks that come without: the same on every machine, and with outputs that rarely saturate."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import replace
from math import isqrt, prod

import numpy as np

from cmsisnn_x.layers import NUMPY_DTYPES, Layer

CHUNK = 1 << 20


def draw_arrays(model: str, layers: list[Layer]) -> tuple[Layer, ...]:
    """Layers with weights and biases drawn from generators that only the model's and layer's names seed.

    Activations are taken to be no stronger than a uniform draw over their whole range. Weights then get the variance
    with which outputs have a standard deviation of a quarter of full scale: under one per cent saturate, and after tanh
    or max pooling, which push activations outwards, still fewer than ten.
    """
    return tuple(draw_layer(model, layer) if layer.weights_dtype else layer for layer in layers)


def draw_layer(model: str, layer: Layer) -> Layer:
    """`layer` with the weights and bias that it has in `model`; see :func:`draw_arrays`."""
    weights_dtype = NUMPY_DTYPES[layer.weights_dtype or layer.dtype]
    full_scale = 2.0 ** (8 * layer.numpy_dtype.itemsize - 1)
    limit = np.iinfo(weights_dtype).max
    shape = layer.weights_shape
    fan_in = prod(shape[:-1]) if layer.op == "depthwise_conv2d" else prod(shape[1:])
    # A 32-bit accumulator must not wrap either.
    accumulator = min(full_scale / 4 * 2.0**layer.out_shift, 2.0**31 / 8)
    variance = (accumulator / (full_scale / 3**0.5)) ** 2 / fan_in
    weights = _integers(_generator(model, layer, "weights"), shape, variance, limit, weights_dtype)
    bias_limit = min(int(accumulator / 2 / 2.0**layer.bias_shift), limit)
    bias = (
        _generator(model, layer, "bias")
        .integers(-bias_limit, bias_limit, layer.bias_shape, endpoint=True)
        .astype(weights_dtype)
    )
    return replace(layer, weights=frozen(weights), bias=frozen(bias))


def _generator(model: str, layer: Layer, kind: str) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(f"{model}/{layer.name}/{kind}".encode()))


def _integers(
    rng: np.random.Generator, shape: tuple[int, ...], variance: float, limit: int, dtype: np.dtype
) -> np.ndarray:
    """Integers of mean zero and at most `variance`: uniform over -r..r, or few non-zero ones where even r = 1 is
    too strong.
    """
    reach = min((isqrt(int(4 * 3 * variance) + 1) - 1) // 2, limit)  # r (r + 1) / 3 <= variance

    def uniform(count: int) -> np.ndarray:
        return rng.integers(-reach, reach, count, endpoint=True)

    def sparse(count: int) -> np.ndarray:
        draw = rng.random(count)
        return (draw < variance / 2).astype(np.int8) - (draw > 1 - variance / 2)

    # The generators give 64-bit numbers: drawn in pieces, which changes no number, they need not all be there at once.
    values = np.empty(prod(shape), dtype)
    some: Callable[[int], np.ndarray] = uniform if reach >= 1 else sparse
    for start in range(0, len(values), CHUNK):
        piece = values[start : start + CHUNK]
        piece[...] = some(len(piece))
    return values.reshape(shape)


def frozen(array: np.ndarray) -> np.ndarray:
    """`array` in C order, read-only."""
    array = np.ascontiguousarray(array)
    array.flags.writeable = False
    return array
