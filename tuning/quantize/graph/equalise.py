# SPDX-License-Identifier: Apache-2.0
"""Cross-layer equalisation of a graph: channels of neighbouring layers scaled until none has far smaller weights."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from math import inf, prod

import numpy as np

from ...importers.onnx.file import Node
from ..rewrites import EQUALISING_ROUNDS, balance
from .float_graph import FloatGraph
from .integers import limits_of

_SCALE_FREE = ("AveragePool", "GlobalAveragePool", "GlobalMaxPool", "LeakyRelu", "MaxPool")
"""A positive factor for each channel passes through."""


@dataclass(frozen=True)
class _Pair:
    """Two layers with weights; each channel of the first is read by `repeats` columns of the second."""

    first: Node
    second: Node
    repeats: int


def equalised(graph: FloatGraph) -> FloatGraph | None:
    """The same network with its channels scaled; None where no two layers are neighbours.

    A channel that is read by nothing but one layer, past Relu and pools, may have any scale: what one layer's output
    channel loses the next layer's input channel gains (Nagel, van Baalen, Blankevoort, Welling, arXiv:1906.04721).
    """
    pairs = _pairs(graph)
    if not pairs:
        return None
    constants = dict(graph.network.constants)
    for _ in range(EQUALISING_ROUNDS):
        for pair in pairs:
            _balance(pair, constants)
    return replace(graph, network=replace(graph.network, constants=constants))


def _pairs(graph: FloatGraph) -> list[_Pair]:
    network = graph.network
    makers = {out: node for node in network.nodes for out in node.outputs}
    uses = Counter(name for node in network.nodes for name in node.inputs)
    uses.update(network.outputs)
    found = []
    for node in network.nodes:
        if node.op not in ("Conv", "Gemm") or uses[node.inputs[1]] != 1:
            continue
        if node.op == "Conv" and int(node.attributes.get("group") or 1) not in (1, graph.shapes[node.inputs[0]][1]):
            continue
        name, flattened = node.inputs[0], 1
        while (maker := makers.get(name)) is not None and uses[name] == 1:
            is_free = maker.op in _SCALE_FREE or (
                maker.op in ("Relu", "Clip", "Max") and limits_of(maker, network.constants) == (0.0, inf)
            )
            if maker.op == "Reshape" and flattened == 1:
                shape = graph.shapes[maker.inputs[0]]
                if graph.shapes[name] != (1, prod(shape)) or shape[0] != 1:
                    break
                flattened = prod(shape[2:])
            elif not is_free:
                break
            name = next(one for one in maker.inputs if one not in network.constants)
        if maker is None or uses[name] != 1 or maker.op not in ("Conv", "Gemm") or uses[maker.inputs[1]] != 1:
            continue
        if len(maker.inputs) > 2 and maker.inputs[2] and uses[maker.inputs[2]] != 1:
            continue
        found.append(_Pair(maker, node, flattened))
    return found


def _balance(pair: _Pair, constants: dict[str, np.ndarray]) -> None:
    a, b = (constants[node.inputs[1]].astype(np.float64) for node in (pair.first, pair.second))
    axis = 0 if pair.first.op == "Conv" else 1
    rows = np.moveaxis(a, axis, 0)
    channels = len(rows)
    is_depthwise = pair.second.op == "Conv" and int(pair.second.attributes.get("group") or 1) != 1
    columns = b if is_depthwise or pair.second.op == "Gemm" else np.moveaxis(b, 1, 0)
    repeats = len(columns) // channels
    if repeats * channels != len(columns) or (not is_depthwise and repeats != pair.repeats):
        return
    largest = (np.abs(side.reshape(channels, -1)).max(axis=1) for side in (rows, columns))
    factor = balance(*largest)
    constants[pair.first.inputs[1]] = (a * _along(factor, a.ndim, axis)).astype(np.float32)
    if len(pair.first.inputs) > 2 and pair.first.inputs[2]:
        bias = constants[pair.first.inputs[2]].reshape(-1)
        constants[pair.first.inputs[2]] = (np.broadcast_to(bias, (channels,)) * factor).astype(np.float32)
    where = 0 if is_depthwise or pair.second.op == "Gemm" else 1
    constants[pair.second.inputs[1]] = (b / _along(np.repeat(factor, repeats), b.ndim, where)).astype(np.float32)


def _along(values: np.ndarray, rank: int, axis: int) -> np.ndarray:
    return values.reshape([-1 if at == axis else 1 for at in range(rank)])
