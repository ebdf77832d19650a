# SPDX-License-Identifier: Apache-2.0
"""A network as a graph: tensors, the nodes that make and read them, in an order in which they can run.

Who stands next to whom is asked here and nowhere else: a :class:`~cmsisnn_x.layers.Layer` knows its own shapes and
constants, not its neighbours.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import prod

import numpy as np

from .errors import CmsisnnError, DtypeError, ShapeError
from .layers import Layer
from .scheme import TensorType

WORD = 4
"""Bytes: what kernels read and write at a time where they can."""


@dataclass(frozen=True, eq=False)
class Tensor:
    """What one node writes and others read, or the network's input, or with a `value` a constant.

    `scale` and `zero_point` say what its integers stand for, where the file says so; no kernel asks.
    """

    name: str
    shape: tuple[int, ...]
    type: TensorType
    value: np.ndarray | None = field(default=None, repr=False)
    scale: float | None = None
    zero_point: int = 0

    @property
    def bytes(self) -> int:
        return prod(self.shape) * self.type.dtype.itemsize


@dataclass(frozen=True, eq=False)
class Node:
    """One operation between tensors, which it names; `layer` has its shapes and parameters resolved."""

    name: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    layer: Layer = field(repr=False)


@dataclass(frozen=True, eq=False)
class State:
    """What a network remembers between runs: `read` is a tensor that holds it, as an input does, and after every run
    takes over the values of the tensor `write`; before the first it holds `initial`.
    """

    read: str
    write: str
    initial: np.ndarray = field(repr=False)


class Graph:
    """Nodes in order of execution, and the tensors between them.

    Parameters
    ----------
    tensors : iterable of Tensor
        All that nodes read and write.
    nodes : iterable of Node
        In order of execution.
    inputs, outputs : sequence of str
        Tensors that the caller gives and gets: their memory is the caller's.
    states : sequence of State
        Their tensors are no inputs and outputs: their memory is the network's own.

    Notes
    -----
    Nothing is checked until :meth:`verify`.
    """

    def __init__(
        self,
        tensors: Iterable[Tensor],
        nodes: Iterable[Node],
        inputs: Sequence[str],
        outputs: Sequence[str],
        states: Sequence[State] = (),
    ) -> None:
        self._given = tuple(tensors)
        self.tensors = {tensor.name: tensor for tensor in self._given}
        self.nodes = tuple(nodes)
        self.inputs, self.outputs, self.states = tuple(inputs), tuple(outputs), tuple(states)
        self._place = {node.name: at for at, node in enumerate(self.nodes)}
        self._producer = {name: node for node in self.nodes for name in node.outputs}
        self._readers: dict[str, list[Node]] = {}
        for node in self.nodes:
            for name in dict.fromkeys(node.inputs):
                self._readers.setdefault(name, []).append(node)

    @classmethod
    def chain(cls, layers: Sequence[Layer]) -> Graph:
        """The graph of a sequential network: every layer takes its predecessor's output.

        Nodes are called as their layers, tensors as the layers that write them, with a mark where that name is taken.
        The first layer may have several inputs: they are the network's.
        """
        taken: set[str] = set()
        names = [_unused(layer.name, taken) for layer in layers]
        given = [shape for layer in layers[:1] for shape in layer.input_shapes]
        sources = tuple(_unused(f"input{number + 1 if number else ''}", taken) for number in range(len(given)))
        tensors = [
            Tensor(name, _of_samples(shape, layers[0].samples), layers[0].type)
            for name, shape in zip(sources, given, strict=True)
        ]
        nodes: list[Node] = []
        for layer, name in zip(layers, names, strict=True):
            reads = (tensors[-1].name,) if nodes else sources
            nodes.append(Node(name, layer.op, reads, (name,), layer))
            tensors.append(Tensor(name, _of_samples(layer.output_shape, layer.samples), layer.output_type))
        return cls(tensors, nodes, sources, names[-1:])

    def producer(self, tensor: str) -> Node | None:
        """The node that writes a tensor; None for inputs of the network and constants."""
        return self._producer.get(tensor)

    def readers(self, tensor: str) -> tuple[Node, ...]:
        """The nodes that read a tensor, in order of execution."""
        return tuple(self._readers.get(tensor, ()))

    def sole_reader(self, node: Node) -> Node | None:
        """The node that alone reads what `node` writes; None where there are several, or where the caller does."""
        (tensor, *others) = node.outputs
        readers = self._readers.get(tensor, ())
        return readers[0] if not others and len(readers) == 1 and tensor not in self.outputs else None

    def index(self, node: Node) -> int:
        """When a node runs: 0 for the first."""
        return self._place[node.name]

    def layer(self, node: Node) -> Layer:
        """A node with its shapes and parameters resolved, as kernels see it."""
        return node.layer

    def is_callers(self, tensor: str) -> bool:
        """Whether a tensor lies in memory of the caller: an input or an output of the network."""
        return tensor in self.inputs or tensor in self.outputs

    def reads_input(self, node: Node) -> bool:
        """Whether a node reads memory of the caller."""
        return any(map(self.is_callers, node.inputs))

    def writes_output(self, node: Node) -> bool:
        """Whether a node writes memory of the caller."""
        return any(map(self.is_callers, node.outputs))

    def aligned(self, node: Node) -> tuple[bool, bool]:
        """Whether what a node reads, and what it writes, starts at word boundaries: inside the arena, every sample."""
        layer = node.layer
        size, out = layer.type.dtype.itemsize, layer.output_type.dtype.itemsize
        apart = layer.samples > 1
        inputs = not apart or all(prod(shape) * size % WORD == 0 for shape in layer.input_shapes)
        output = not apart or prod(layer.output_shape) * out % WORD == 0
        return inputs and not self.reads_input(node), output and not self.writes_output(node)

    def verify(self) -> None:
        """Check that everything is defined once, known, written before it is read, and of the size that is expected.

        Raises
        ------
        CmsisnnError
            It is not; the message names the node or the tensor.
        """
        _require_once("tensor", [tensor.name for tensor in self._given])
        _require_once("node", [node.name for node in self.nodes])
        constants = [tensor.name for tensor in self._given if tensor.value is not None]
        held = [state.read for state in self.states]
        given = [*self.inputs, *constants, *held]
        _require_once("tensor", [*given, *(name for node in self.nodes for name in node.outputs)])
        for name in (*self.inputs, *self.outputs, *held, *(state.write for state in self.states)):
            if name not in self.tensors:
                raise CmsisnnError(f"graph: expected inputs and outputs among its tensors, got {name!r}")
        defined = set(given)
        for node in self.nodes:
            for name in (*node.inputs, *node.outputs):
                if name not in self.tensors:
                    raise CmsisnnError(f"layer {node.name!r}: expected tensors of the graph, got {name!r}")
            if late := [name for name in node.inputs if name not in defined]:
                raise CmsisnnError(f"layer {node.name!r}: expected inputs that are written before, got {late[0]!r}")
            self.check(node)
            defined.update(node.outputs)
        wanted = (*self.outputs, *(state.write for state in self.states))
        if missing := [name for name in wanted if name not in defined]:
            raise CmsisnnError(f"graph: expected outputs that a node writes, got {missing[0]!r}")

    def check(self, node: Node) -> None:
        """Check that the tensors around a node are of its layer's shapes, flattened or not, and of its dtype."""
        layer = node.layer
        if len(node.inputs) != len(layer.input_shapes):
            expected = f"{len(layer.input_shapes)} inputs"
            raise ShapeError(f"layer {layer.name!r}: expected {expected}, got {len(node.inputs)}")
        for name, shape in zip(node.inputs, layer.input_shapes, strict=True):
            self._check_side(node, self.tensors[name], "input", shape, layer.type)
        for name in node.outputs:
            self._check_side(node, self.tensors[name], "output", layer.output_shape, layer.output_type)

    def _check_side(self, node: Node, tensor: Tensor, side: str, shape: tuple[int, ...], own: TensorType) -> None:
        producer = self._producer.get(tensor.name) if side == "input" else None
        whose = f"the output of {producer.layer.name!r}" if producer else f"that of tensor {tensor.name!r}"
        if prod(tensor.shape) != node.layer.samples * prod(shape):
            expected = f"{side} shape {tensor.shape}, {whose}"
            raise ShapeError(f"layer {node.layer.name!r}: expected {expected}, got {shape}")
        if tensor.type != own:
            whose = f"that of {producer.layer.name!r}" if producer else whose
            expected = f"dtype {tensor.type.name}, {whose}"
            raise DtypeError(f"layer {node.layer.name!r}: expected {expected}, got {own.name}")


def in_order(graph: Graph, nodes: Sequence[Node]) -> Graph:
    """The same graph with its nodes in another order."""
    return Graph(graph.tensors.values(), nodes, graph.inputs, graph.outputs, graph.states)


def _of_samples(shape: tuple[int, ...], samples: int) -> tuple[int, ...]:
    return shape if samples == 1 else (samples, *shape)


def _unused(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "'"
    taken.add(name)
    return name


def _require_once(what: str, names: Sequence[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise CmsisnnError(f"graph: expected every {what} to be defined once, got {name!r} twice")
        seen.add(name)
