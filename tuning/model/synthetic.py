# SPDX-License-Identifier: Apache-2.0
"""Weights for networks that come without: the same on every machine, and with outputs that rarely saturate."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import isqrt, prod

import numpy as np

from cmsisnn_x import Network
from cmsisnn_x.errors import CmsisnnError
from cmsisnn_x.layers import Layer

CHUNK = 1 << 20
SAMPLES = 4
"""Inputs on which the strength of activations is measured."""

MOST_MACS, MOST_BYTES = 1 << 27, 1 << 22
"""Of a network, and of any of its tensors: beyond, activations are taken to be as strong as can be."""


def draw_arrays(model: str, layers: list[Layer], reads: Sequence[int] | None = None) -> tuple[Layer, ...]:
    """Layers with weights and biases drawn from generators that only the model's and layer's names seed.

    The network's input is taken to be a uniform draw over the whole range, and what it makes of such inputs is
    computed layer by layer. Weights get the variance with which a layer's outputs have a standard deviation of a
    quarter of full scale, if its shift allows: under one per cent saturate, and after tanh or max pooling, which push
    activations outwards, still fewer than ten; and a deep network still tells its inputs apart at its end. `reads` says
    which layer each of them reads, -1 for the network's input; by default the one before.
    """
    first, drawn = layers[0], list(layers)
    sources = range(-1, len(layers) - 1) if reads is None else reads
    last = max((at for at, layer in enumerate(layers) if layer.weights_dtype), default=-1)
    small = max(max(layer.input_bytes, layer.output_bytes) for layer in layers) <= MOST_BYTES
    info = np.iinfo(first.numpy_dtype)
    signals: dict[int, np.ndarray | None] = {-1: None}
    if small and sum(layer.macs for layer in layers) <= MOST_MACS:
        shape = (SAMPLES, *first.input_shape)
        signals[-1] = np.random.default_rng(0).integers(info.min, info.max, shape, info.dtype, endpoint=True)
    for at, layer in enumerate(layers[: last + 1]):
        signal = signals[sources[at]]
        if layer.weights_dtype:
            drawn[at] = _draw(model, layer, _power(signal) if sources[at] >= 0 and signal is not None else 0.0)
        signals[at] = None if signal is None else _outputs(drawn[at], signal)
        if reads is None:
            signals.pop(at - 1)
    return tuple(drawn)


def _outputs(layer: Layer, signal: np.ndarray) -> np.ndarray | None:
    try:
        return Network((layer,)).run(signal)
    except CmsisnnError:  # a softmax that is too long, say: refused where it is to run
        return None


def _power(signal: np.ndarray) -> float:
    """Mean square; sums of integers are the same on every machine."""
    wide = signal.astype(np.int64).ravel()
    return float(np.dot(wide, wide)) / wide.size


def _draw(model: str, layer: Layer, power: float) -> Layer:
    """`layer` with the weights and bias that it has in `model` where its inputs have this mean square; 0: unknown."""
    weights_dtype = layer.weights_type.dtype
    full_scale = 2.0 ** (8 * layer.numpy_dtype.itemsize - 1)
    limit = np.iinfo(weights_dtype).max
    shape = layer.weights_shape
    fan_in = prod(shape) // shape[layer.row.channel_axis]
    wanted, uniform = full_scale / 4 * 2.0**layer.out_shift, full_scale**2 / 3
    # A 32-bit accumulator must not wrap either, whatever comes in.
    variance = min(wanted**2 / (power or uniform), (2.0**31 / 8) ** 2 / uniform) / fan_in
    accumulator = min(wanted, 2.0**31 / 8)
    weights = _integers(generator(model, layer.name, "weights"), shape, variance, limit, weights_dtype)
    bias_limit = min(int(accumulator / 4 / 2.0**layer.bias_shift), limit)
    bias = (
        generator(model, layer.name, "bias")
        .integers(-bias_limit, bias_limit, layer.bias_shape, endpoint=True)
        .astype(weights_dtype)
    )
    return replace(layer, weights=frozen(weights), bias=frozen(bias))


def generator(model: str, layer: str, kind: str) -> np.random.Generator:
    """Of the array `kind` of a layer."""
    return np.random.default_rng(zlib.crc32(f"{model}/{layer}/{kind}".encode()))


def drawn_integers(rng: np.random.Generator, shape: tuple[int, ...], limit: int, dtype: np.dtype) -> np.ndarray:
    """Integers in -limit..limit, each as likely."""
    return _integers(rng, shape, limit * (limit + 1) / 3, limit, dtype)


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
    array = np.asarray(array, order="C")
    array.flags.writeable = False
    return array
