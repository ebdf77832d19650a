# SPDX-License-Identifier: Apache-2.0
"""Rewrites of a float network that fixed point asks for: each gives the same answers in float."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import ceil, log2
from typing import Any

import numpy as np

from cmsisnn_x.scheme import POW2_TYPES

from ..base.errors import ModelError
from ..importers.float_network import FloatLayer, FloatNetwork, namer

EQUALISING_ROUNDS = 20
LARGEST_FACTOR = 256.0
LONGEST_VECTOR = 256
"""Whose elements a dense layer may scale one by one: weights grow with its square."""
EQUALISED = (
    "channels are equalised: what one layer's output channel was scaled by, the next layer's input channel undoes"
)


def origin(layers: tuple[FloatLayer, ...], index: int) -> int | None:
    """The layer with weights that alone sets the scale of the input of ``layers[index]``, if there is one."""
    for before in range(index - 1, -1, -1):
        if layers[before].row.is_weighted:
            return before
        if not layers[before].row.is_scale_free:
            return None
    return None


def fold_softmax(network: FloatNetwork) -> FloatNetwork:
    """The same network with softmax to the base 2: its input becomes log2(e) times as large.

    The kernels compute ``2**integer``; with 0 fraction bits they then give the probabilities of the original. Where no
    layer with weights sets the scale of a softmax's input, one is put in front of it; of vectors that are too long for
    that the network stays as it is.
    """
    places = [index for index, layer in enumerate(network.layers) if layer.op == "softmax"]
    if not places or network.softmax_base == 2.0:
        return network
    layers, factor = list(network.layers), log2(network.softmax_base)
    names = namer(layer.name for layer in layers)
    shapes = [layer.input_shape for layer in network.geometry("q7")]
    for place in reversed(places):
        start = origin(tuple(layers), place)
        if start is None:
            if (scale := _pointwise(layers[place], shapes[place], factor, 0.0, names)) is None:
                return network
            layers.insert(place, scale)
            continue
        layers[start] = layers[start].scaled(factor)
        for index in range(start + 1, place):
            if (clip := layers[index].clip) is not None:
                layers[index] = replace(layers[index], clip=clip * factor)
    return replace(network, layers=tuple(layers), softmax_base=2.0)


def _pointwise(
    like: FloatLayer, shape: tuple[int, ...], scale: float, shift: float, names: Callable[..., str], **keys: Any
) -> FloatLayer | None:
    """``scale * x + shift`` as a layer beside `like`; None of vectors for which that would be too many weights."""
    count = shape[-1]
    if len(shape) == 3:
        op, weights = "depthwise_conv2d", np.full((1, 1, count), scale)
    elif count <= LONGEST_VECTOR:
        op, weights = "fully_connected", scale * np.eye(count)
    else:
        return None
    name = names(op, f"{like.name}_scale")
    return FloatLayer(name, op, keys, weights, np.full(count, shift), source=like.source)


def clip_limit(dtype: str) -> float:
    """Where a tensor with as many fraction bits as the type has saturates: 127/128 for q7."""
    return 1 - 2.0 ** -(POW2_TYPES[dtype].bits - 1)


def fold_clips(network: FloatNetwork, dtype: str) -> FloatNetwork:
    """Scale every clipped activation (ReLU6) so that its end is the largest number of its format.

    The saturation of the kernels then clips, at no cost; the next layer with weights undoes the scale. Where there is
    none, or the scale cannot be changed, :func:`_turned` clips.

    Raises
    ------
    ModelError
        It cannot either: a vector is too long.
    """
    layers, notes = list(network.layers), list(network.notes)
    names = namer(layer.name for layer in layers)
    limit, index = clip_limit(dtype), -1
    while (index := index + 1) < len(layers):
        layer = layers[index]
        if layer.clip is None or layer.clip == limit:
            continue
        start = index if layer.row.is_weighted else origin(tuple(layers), index)
        end = next((k for k in range(index + 1, len(layers)) if not layers[k].row.is_scale_free), len(layers))
        # A mean of saturated values is not a saturated mean.
        is_averaged = start is not None and any(between.op == "avg_pool2d" for between in layers[start:index])
        if start is None or is_averaged or end == len(layers) or not layers[end].row.is_weighted:
            made = _turned(replace(network, layers=tuple(layers)), index, dtype, names)
            layers[index : index + 1] = made
            notes.append(f"{layer.name}: its end at {layer.clip:g} is that of a ReLU of its own, {made[-1].name}")
            index += 1
            continue
        factor = limit / layer.clip
        for k in range(start, end):
            if k == start:
                layers[k] = layers[k].scaled(factor)
            elif (clip := layers[k].clip) is not None:
                # A later clip of the same tensor at or above this one does nothing.
                layers[k] = replace(layers[k], clip=None if k > index and clip * factor >= limit else clip * factor)
        layers[index] = replace(layers[index], clip=limit)
        after = layers[end]
        assert after.weights is not None
        layers[end] = replace(after, weights=after.weights / factor)
    return replace(network, layers=tuple(layers), notes=tuple(notes))


def _turned(network: FloatNetwork, index: int, dtype: str, names: Callable[..., str]) -> list[FloatLayer]:
    """A clipped activation as two without: ``relu(clip - relu(clip - x))``.

    What saturates in between lies at or below 0 in the end. All scales are powers of two, so that nothing is rounded
    that would not be rounded anyway.
    """
    layer, limit = network.layers[index], clip_limit(dtype)
    assert layer.clip is not None
    shape = network.geometry(dtype)[index].output_shape
    top = 2.0 ** ceil(log2(layer.clip / limit))
    first: FloatLayer | None
    if layer.weights is not None and layer.bias is not None:
        bias = (layer.clip - layer.bias) / top
        first = replace(layer, weights=-layer.weights / top, bias=bias, clip=limit)
    else:
        first = _pointwise(layer, shape, -1 / top, layer.clip / top, names, activation="relu")
        first = first and replace(first, clip=limit)
    second = _pointwise(layer, shape, -top, layer.clip, names, activation="relu")
    if first is None or second is None:
        raise ModelError(
            f"{network.name}: {layer.source or layer.name}: an activation clipped at {layer.clip:g} on {shape[0]} "
            f"numbers that no layer with weights takes: expected --scheme int8, or a plain ReLU in {dtype}"
        )
    return [first, second]


def equalised(network: FloatNetwork) -> FloatNetwork:
    """The same network, channels of neighbouring layers scaled until none has far smaller weights than the others.

    One format serves all channels of a tensor: a channel with small weights has few bits. A positive scale per channel
    passes through relu and pooling, so that what one layer's output channel loses the next layer's input channel gains
    (cross-layer equalisation: Nagel, van Baalen, Blankevoort, Welling, arXiv:1906.04721). Clipped activations keep
    their scales.
    """
    layers = list(network.layers)
    pairs = []
    for index, layer in enumerate(layers):
        start = origin(tuple(layers), index) if layer.row.is_weighted else None
        if start is not None and all(between.clip is None for between in layers[start:index]):
            pairs.append((start, index))
    for _ in range(EQUALISING_ROUNDS):
        for first, second in pairs:
            a, b = layers[first], layers[second]
            assert a.weights is not None
            assert a.bias is not None
            assert b.weights is not None
            channels = len(a.bias)
            factor = balance(np.abs(_by_output(a)).max(axis=1), np.abs(_by_input(b, channels)).max(axis=1))
            shape = [1] * a.weights.ndim
            shape[a.row.channel_axis] = -1
            # A dense layer's columns are in (h, w, c) order.
            repeated = np.tile(factor, b.weights.shape[-1] // channels)
            layers[first] = replace(a, weights=a.weights * factor.reshape(shape), bias=a.bias * factor)
            layers[second] = replace(b, weights=b.weights / repeated)
    return replace(network, layers=tuple(layers))


def balance(by_output: np.ndarray, by_input: np.ndarray) -> np.ndarray:
    """A factor for each channel, by the largest weights that make it and that read it, so that both become alike; 1 for
    channels that nobody makes or reads.
    """
    usable = (by_output > 0) & (by_input > 0)
    factor = np.ones(len(by_output))
    if usable.any():
        factor[usable] = np.sqrt(by_input[usable] / by_output[usable])
        # The scale of the whole tensor is for its format to choose.
        factor[usable] /= np.exp(np.log(factor[usable]).mean())
    return np.clip(factor, 1 / LARGEST_FACTOR, LARGEST_FACTOR)


def _by_output(layer: FloatLayer) -> np.ndarray:
    assert layer.weights is not None
    weights = np.moveaxis(layer.weights, layer.row.channel_axis, 0)
    return weights.reshape(len(weights), -1)


def _by_input(layer: FloatLayer, channels: int) -> np.ndarray:
    """Weights by channel of the input; a dense layer's columns are in (h, w, c) order."""
    assert layer.weights is not None
    return np.moveaxis(layer.weights.reshape(-1, channels), -1, 0)


def fuse_relus(network: FloatNetwork) -> FloatNetwork:
    """The same network, each ReLU behind a layer with weights inside it, also past maximum pools."""
    layers = list(network.layers)
    index = 1
    while index < len(layers):
        start = index - 1
        while start > 0 and layers[start].op == "max_pool2d":
            start -= 1
        if layers[index].op == "relu" and layers[start].row.is_weighted:
            ends = [clip for clip in (layers[start].clip, layers[index].clip) if clip is not None]
            keys = {**layers[start].keys, "activation": "relu"}
            layers[start] = replace(layers[start], keys=keys, clip=min(ends) if ends else None)
            del layers[index]
        else:
            index += 1
    return replace(network, layers=tuple(layers))
