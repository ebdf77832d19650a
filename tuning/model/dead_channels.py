# SPDX-License-Identifier: Apache-2.0
"""Channels that are the same whatever comes in, and networks without them.

Training drives whole filters to zero. What they give is the bias, requantised: a constant, which every reader can have
in its own bias, so that neither the filter nor what reads its output runs over it. A channel goes only where that is
exact: no padding beside it (or padding of that very constant), and only layers that multiply it or take it through
channel by channel.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from cmsisnn_x.affine import Affine
from cmsisnn_x.graph import Graph, Node, Tensor
from cmsisnn_x.layers import Layer
from cmsisnn_x.scheme import wrapped

WORD = 4
"""Channels come in words of so many: a few dead ones stay where that fills the last word."""


def without_dead_channels(graph: Graph, rebuilt: Callable[..., Graph]) -> Graph:
    """The same outputs from fewer channels; the very same graph where there are none to spare."""
    folded, channels = _folded(graph)
    keep = {name: np.zeros(count, bool) for name, count in channels.items()}
    _agree(graph, folded, keep)
    while [name for name, kept in keep.items() if _fill_words(kept)]:
        _agree(graph, folded, keep)
    keep = {name: kept for name, kept in keep.items() if not kept.all()}
    if not keep:
        return graph
    nodes = [replace(node, layer=_cut(folded[node.name], node, keep)) for node in graph.nodes]
    tensors = {name: _smaller(graph.tensors[name], int(kept.sum())) for name, kept in keep.items()}
    return rebuilt(graph, nodes, tensors)


def _folded(graph: Graph) -> tuple[dict[str, Layer], dict[str, int]]:
    """Layers whose bias holds what constant channels contribute and whose weights for these are zero, by node; and the
    channels of the tensors that could lose some.
    """
    layers: dict[str, Layer] = {}
    constants: dict[str, np.ndarray] = {}  # of every channel, or not a number
    for node in graph.nodes:
        layer = layers[node.name] = node.layer
        if layer.dtype != "int8" or len(node.inputs) != 1 or layer.scheme is None:
            continue
        given = constants.get(node.inputs[0])
        if given is not None and not _counts(layer, len(given)):
            given = None
        if layer.op == "conv2d" and layer.groups == 1:
            layers[node.name], constants[node.outputs[0]] = _convolution(layer, given)
        elif layer.op == "depthwise_conv2d" and given is not None:
            constants[node.outputs[0]] = _depthwise(layer, given)
        elif layer.op in ("max_pool2d", "avg_pool2d") and given is not None:
            constants[node.outputs[0]] = np.clip(given, layer.scheme.low, layer.scheme.high)
        elif layer.op == "fully_connected" and given is not None:
            layers[node.name] = _dense(layer, given)
    return layers, {name: len(values) for name, values in constants.items()}


def _counts(layer: Layer, channels: int) -> bool:
    """Whether a layer sees a tensor in as many channels as its writer: between them it may have been reshaped."""
    if layer.op == "fully_connected":
        return layer.input_shape[-1] % channels == 0
    return layer.input_shape[-1] == channels


def _has_frame(layer: Layer) -> bool:
    """Whether some window reaches over the image."""
    for axis in (0, 1):
        first = layer.padding[axis][0]
        last = (layer.output_shape[axis] - 1) * layer.stride[axis] + (layer.kernel[axis] - 1) * layer.dilation[axis]
        if first > 0 or last - first >= layer.input_shape[axis]:
            return True
    return False


def _foldable(layer: Layer, given: np.ndarray | None) -> np.ndarray:
    """The input channels that are constants and can be taken into the bias."""
    channels = layer.input_shape[2]
    if given is None:
        return np.zeros(channels, bool)
    known = np.isfinite(given)
    return known & (given == layer.requant.fill) if _has_frame(layer) else known


def _with_bias(layer: Layer, more: np.ndarray) -> np.ndarray:
    bias = np.zeros(len(more), np.int64) if layer.bias is None else layer.bias.astype(np.int64)
    return wrapped(bias + more).astype(np.int32)


def _convolution(layer: Layer, given: np.ndarray | None) -> tuple[Layer, np.ndarray]:
    scheme, weights = layer.scheme, layer.weights
    assert isinstance(scheme, Affine)
    assert weights is not None
    gone = _foldable(layer, given)
    if gone.any():
        assert given is not None
        steps = given[gone].astype(np.int64) - scheme.input_zero_point
        more = weights[..., gone].astype(np.int64).sum((1, 2)) @ steps
        left = weights.copy()
        left[..., gone] = 0
        layer = replace(layer, weights=left, bias=_with_bias(layer, more))
        weights = left
    channels = layer.output_shape[2]
    bias = np.zeros(channels, np.int64) if layer.bias is None else layer.bias.astype(np.int64)
    dead = ~weights.reshape(channels, -1).any(1)
    return layer, np.where(dead, scheme.apply(bias), np.nan)


def _depthwise(layer: Layer, given: np.ndarray) -> np.ndarray:
    """What is constant stays so, and what meets nothing but zeros becomes it."""
    scheme, weights = layer.scheme, layer.weights
    assert isinstance(scheme, Affine)
    assert weights is not None
    known = _foldable(layer, given)
    dead = ~weights.any((0, 1))
    steps = np.where(known, given, scheme.input_zero_point).astype(np.int64) - scheme.input_zero_point
    acc = weights.astype(np.int64).sum((0, 1)) * steps
    if layer.bias is not None:
        acc = acc + layer.bias
    return np.where(known | dead, scheme.apply(acc), np.nan)


def _dense(layer: Layer, given: np.ndarray) -> Layer:
    scheme, weights = layer.scheme, layer.weights
    assert isinstance(scheme, Affine)
    assert weights is not None
    gone = np.isfinite(given)
    if not gone.any() or layer.samples != 1:
        return layer
    columns = np.tile(gone, weights.shape[1] // len(given))
    steps = np.tile(np.where(gone, given, 0), weights.shape[1] // len(given))[columns].astype(np.int64)
    more = weights[:, columns].astype(np.int64) @ (steps - scheme.input_zero_point)
    left = weights.copy()
    left[:, columns] = 0
    return replace(layer, weights=left, bias=_with_bias(layer, more))


def _fill_words(kept: np.ndarray) -> bool:
    """Let as many others stay as fill the last word; whether there were some."""
    count = int(kept.sum())
    wanted = min(max(-(-count // WORD) * WORD, 1), len(kept))
    kept[np.flatnonzero(~kept)[: wanted - count]] = True
    return wanted > count


def _agree(graph: Graph, folded: dict[str, Layer], keep: dict[str, np.ndarray]) -> None:
    """Let channels stay that somebody needs, until all that touch a tensor agree."""
    changed = True
    while changed:
        changed = False
        for name in list(keep):
            wanted = keep[name] | _needed(graph, folded, keep, name)
            if (wanted != keep[name]).any():
                keep[name], changed = wanted, True


def _needed(graph: Graph, folded: dict[str, Layer], keep: dict[str, np.ndarray], name: str) -> np.ndarray:
    """The channels of a tensor that its writer or one of its readers cannot do without."""
    own = keep[name]
    everything, nothing = np.ones(len(own), bool), np.zeros(len(own), bool)
    held = {name for state in graph.states for name in (state.read, state.write)}
    producer = graph.producer(name)
    if producer is None or name in graph.outputs or name in held:
        return everything
    needed = nothing
    if producer.op != "conv2d":  # it has the channels of its input
        needed = needed | keep.get(producer.inputs[0], everything)
    for reader in graph.readers(name):
        layer = folded[reader.name]
        if layer.dtype != "int8" or len(reader.inputs) != 1 or not _counts(layer, len(own)):
            return everything
        if layer.op == "conv2d" and layer.groups == 1:
            assert layer.weights is not None
            needed = needed | layer.weights.any((0, 1, 2))
        elif layer.op in ("depthwise_conv2d", "max_pool2d", "avg_pool2d"):
            needed = needed | keep.get(reader.outputs[0], everything)
        elif layer.op == "fully_connected" and layer.weights is not None and layer.samples == 1:
            needed = needed | layer.weights.reshape(len(layer.weights), -1, len(own)).any((0, 1))
        else:
            return everything
    return needed


def _cut(layer: Layer, node: Node, keep: dict[str, np.ndarray]) -> Layer:
    """A layer over the channels that are left."""
    into, out = keep.get(node.inputs[0]), keep.get(node.outputs[0])
    if into is not None:
        layer = replace(layer, **_fewer_inputs(layer, into))
    if out is not None:
        layer = replace(layer, **_fewer_outputs(layer, out))
    return layer


def _fewer_inputs(layer: Layer, kept: np.ndarray) -> dict[str, Any]:
    count = int(kept.sum())
    if layer.op == "fully_connected":
        assert layer.weights is not None
        columns = np.tile(kept, layer.weights.shape[1] // len(kept))
        return {"input_shape": (int(columns.sum()),), "weights": np.ascontiguousarray(layer.weights[:, columns])}
    shape: dict[str, Any] = {"input_shape": (*layer.input_shape[:2], count)}
    if layer.op == "conv2d":
        assert layer.weights is not None
        shape["weights"] = np.ascontiguousarray(layer.weights[..., kept])
    return shape


def _fewer_outputs(layer: Layer, kept: np.ndarray) -> dict[str, Any]:
    fields: dict[str, Any] = {"output_shape": (*layer.output_shape[:2], int(kept.sum()))}
    if layer.weights is None:
        return fields
    axis = layer.row.channel_axis
    fields["weights"] = np.ascontiguousarray(np.compress(kept, layer.weights, axis))
    if layer.bias is not None:
        fields["bias"] = layer.bias[kept]
    scheme = layer.scheme
    if isinstance(scheme, Affine) and len(scheme.multiplier) > 1:
        places = np.flatnonzero(kept)
        fields["scheme"] = replace(
            scheme, multiplier=tuple(scheme.multiplier[at] for at in places),
            shift=tuple(scheme.shift[at] for at in places),
            reals=tuple(scheme.reals[at] for at in places) if scheme.reals else (),
        )  # fmt: skip
    return fields


def _smaller(tensor: Tensor, count: int) -> Tensor:
    return replace(tensor, shape=(*tensor.shape[:-1], count))
