# SPDX-License-Identifier: Apache-2.0
"""The float graph beside a quantised one: what its integers approximate, tensor by tensor; and its file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from ...base.errors import ModelError
from ...importers.onnx.file import Node, OnnxNetwork, from_bytes
from ...importers.onnx.quantised.layout import Layout
from .float_graph import FloatGraph, mixed, of_sample
from .observe import chunks

KEY = "onnx"
"""Of the archive: the bytes of an ONNX file."""


@dataclass(frozen=True)
class Tensor:
    """A tensor that has integers: what ONNX calls it, the layer that gives it ("" of an input), and how it lies."""

    name: str
    layer: str
    axes: tuple[tuple[int, ...], ...]
    order: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of a sample, as ONNX has it."""
        return of_sample(tuple(map(prod, self.axes)))

    def stored(self, values: np.ndarray) -> np.ndarray:
        """ONNX's elements ``(n, ...)`` as the integers lie, flat."""
        sizes = [size for axis in self.axes for size in axis]
        shaped = values.reshape(len(values), *sizes)
        return shaped.transpose(0, *(1 + factor for factor in self.order)).reshape(len(values), -1)

    def restored(self, values: np.ndarray) -> np.ndarray:
        """The other way round, in ONNX's shape."""
        layout = Layout(self.axes, self.order)
        shaped = values.reshape(len(values), *layout.stored)
        back = np.argsort(self.order)
        return shaped.transpose(0, *(1 + int(at) for at in back)).reshape(len(values), *self.shape)


@dataclass(frozen=True, eq=False)
class GraphTwin:
    """A float graph, and which of its tensors the integer one has.

    Attributes
    ----------
    graph : FloatGraph
    tensors : tuple of Tensor
        In order of execution.
    channels_last : tuple of str
        Inputs and outputs that the integer network has channels last.
    """

    graph: FloatGraph
    tensors: tuple[Tensor, ...]
    channels_last: tuple[str, ...]

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """All tensors."""
        parts: dict[str, list[np.ndarray]] = {}
        wanted = {tensor.name for tensor in self.tensors} | set(self.graph.network.outputs)
        for _, values in chunks(self.graph, inputs):
            for name in wanted:
                parts.setdefault(name, []).append(values[name])
        return {name: np.concatenate(found) for name, found in parts.items()}

    def alone(self, name: str, values: Mapping[str, np.ndarray]) -> np.ndarray | None:
        """A tensor by what its neighbours in front are said to be; None where one of these is not known."""
        nodes, needed = self._between(name)
        if not needed <= set(values):
            return None
        given = {one: np.asarray(values[one], np.float32) for one in needed}
        count = len(next(iter(given.values())))
        evaluator, shapes = self.graph.evaluator, self.graph.shapes
        if mixed(self.graph) is None:
            return evaluator.run(given, nodes)[name].reshape(count, -1)
        rows = [
            evaluator.run({one: value[at].reshape(shapes[one]) for one, value in given.items()}, nodes)[name]
            for at in range(count)
        ]
        return np.stack(rows).reshape(count, -1)

    def _between(self, name: str) -> tuple[list[Node], set[str]]:
        """The nodes between a tensor and those in front of it that have integers, and these."""
        known = {tensor.name for tensor in self.tensors} - {name}
        wanted, needed, kept = {name}, set(), []
        for node in reversed(self.graph.network.nodes):
            if wanted & set(node.outputs):
                kept.append(node)
                for one in node.inputs:
                    if one in known:
                        needed.add(one)
                    elif one:
                        wanted.add(one)
        return kept[::-1], needed

    @property
    def inputs(self) -> tuple[str, ...]:
        return tuple(item.name for item in self.graph.network.inputs)

    def stored(self) -> dict[str, np.ndarray]:
        """What ``<name>_float.npz`` holds."""
        rows = [[one.name, one.layer, one.axes, one.order] for one in self.tensors]
        return {
            KEY: np.frombuffer(_bytes(self.graph), np.uint8),
            "tensors": np.array(json.dumps(rows)),
            "channels_last": np.array(json.dumps(self.channels_last)),
        }


def _bytes(graph: FloatGraph) -> bytes:
    from onnx import TensorProto, helper, numpy_helper

    network = graph.network
    inputs = [helper.make_tensor_value_info(item.name, TensorProto.FLOAT, item.shape) for item in network.inputs]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, graph.shapes[name]) for name in network.outputs]
    stored = [numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in network.constants.items()]
    proto = helper.make_graph([node.proto for node in network.nodes], graph.name, inputs, outputs, stored)
    made = helper.make_model(proto, opset_imports=[helper.make_opsetid("", network.opset)], ir_version=8)
    return bytes(made.SerializeToString(deterministic=True))


def twin_of(content: Mapping[str, np.ndarray], name: str) -> GraphTwin:
    """A twin from what its archive holds."""
    network: OnnxNetwork = from_bytes(content[KEY].astype(np.uint8).tobytes(), name)
    rows: Sequence[Any] = json.loads(str(content["tensors"]))
    tensors = tuple(
        Tensor(str(row[0]), str(row[1]), tuple(tuple(map(int, axis)) for axis in row[2]), tuple(map(int, row[3])))
        for row in rows
    )
    graph = FloatGraph(name, network, {}, ())
    zeros = {item.name: np.zeros(item.shape, np.float32) for item in network.inputs}
    try:
        shapes = {key: value.shape for key, value in graph.evaluator.run(zeros).items()}
    except Exception as problem:  # the reference evaluator raises whatever NumPy does on impossible operands
        raise ModelError(f"expected a float network that can be evaluated: {problem}") from None
    for tensor in tensors:
        sizes = [size for axis in tensor.axes for size in axis]
        if prod(shapes[tensor.name]) != prod(sizes) or sorted(tensor.order) != list(range(len(sizes))):
            raise ValueError(f"tensor {tensor.name!r} does not lie as it says")
    last = tuple(map(str, json.loads(str(content["channels_last"]))))
    return GraphTwin(FloatGraph(name, network, shapes, ()), tensors, last)
