# SPDX-License-Identifier: Apache-2.0
"""From a `.tflite` file to a graph of layers: operators in their order, each by its converter in `tflite_ops`.

A float border goes: QUANTIZE of an input and DEQUANTIZE of an output leave the integers behind them. So do operators
whose result is known before anything runs (arithmetic of shapes), and those that nobody reads. Whatever is not taken is
collected, and refused in one message.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cmsisnn_x.graph import Graph, State
from cmsisnn_x.layers import View
from cmsisnn_x.scheme import AFFINE_TYPES

from ..base.errors import ModelError
from ..base.units import shape_text
from ..model.ports import Port
from .integer_graph import ARITHMETICS, GraphBuilder, Quantised, Refused
from .tflite_file import FileModel, FileOp, FileSubgraph, FileTensor, read
from .tflite_fold import FOLDED, fold

_TYPES = {name.upper(): name for name in AFFINE_TYPES}
_MOST_NODES = 10_000


@dataclass(frozen=True)
class Operation:
    """What became of one operator of a file.

    Attributes
    ----------
    index : int
        Its place in the file.
    code : str
        As the schema names it.
    tensor : str
        The file's name of what it writes.
    problem : str or None
        Why it is not taken.
    nodes : tuple of str
        The layers that it became; none where it was folded, removed, or is a border.
    """

    index: int
    code: str
    tensor: str
    problem: str | None
    nodes: tuple[str, ...]


@dataclass(frozen=True)
class Imported:
    """A file as a graph.

    Attributes
    ----------
    graph : Graph
    inputs, outputs : tuple of Port
        In the file's order.
    operations : tuple of Operation
    file : FileModel
        What was read.
    tensors : mapping of int to str
        Tensor of the file's first subgraph -> the tensor of the graph that has its numbers, in whatever shape.
    """

    graph: Graph
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    operations: tuple[Operation, ...]
    file: FileModel
    tensors: Mapping[int, str]


def import_tflite(path: str | os.PathLike[str], arithmetic: str = "tflm") -> Imported:
    """Read a quantised `.tflite` file.

    Parameters
    ----------
    path : path
    arithmetic : {"tflm", "litert"}
        Whose bytes the network gives.

    Raises
    ------
    ModelError
        The file is damaged, or holds what is not taken: all of it in one message.
    """
    walk = Walk(path, arithmetic)
    operations = walk.run()
    if refused := [operation for operation in operations if operation.problem]:
        raise ModelError(refusal(Path(path), refused))
    return walk.imported(operations)


def operations(path: str | os.PathLike[str], arithmetic: str = "tflm") -> tuple[Operation, ...]:
    """Every operator of a file, with the reason where it is not taken."""
    return Walk(path, arithmetic).run()


def refusal(path: Path, refused: Sequence[Operation]) -> str:
    """One message for all that is not taken: operator, how often, the first tensor, why."""
    kinds: dict[tuple[str, str], list[Operation]] = {}
    for operation in refused:
        kinds.setdefault((operation.code, operation.problem or ""), []).append(operation)
    parts = [
        f"{code} ({len(found)}x, first {found[0].tensor!r}): {problem}" for (code, problem), found in kinds.items()
    ]
    return f"{path}: expected operators that this version takes, got others: {'; '.join(parts)}"


class Walk:
    """The state of one import; converters read and write it."""

    def __init__(self, path: str | os.PathLike[str], arithmetic: str) -> None:
        if arithmetic not in ARITHMETICS:
            raise ModelError(f"arithmetic: expected {' or '.join(map(repr, ARITHMETICS))}, got {arithmetic!r}")
        self.path = Path(path)
        self.file = read(path)
        self.subgraph: FileSubgraph = self.file.subgraphs[0]
        self.builder = GraphBuilder(arithmetic)
        self.arithmetic = arithmetic
        self.known = {tensor.index: tensor.data for tensor in self.subgraph.tensors if tensor.data is not None}
        """Values of tensors that do not depend on the inputs."""
        self.items: dict[int, Quantised] = {}
        """What stands for a tensor in the graph."""
        self.floats: dict[int, Curve] = {}
        """Float tensors that are a function of an integer one."""
        self.border: dict[int, int] = {}
        """Float inputs of the network, and the integers that QUANTIZE makes of them."""
        self.handles: dict[int, str] = {}
        """Tensors that stand for a variable, and its name."""
        self.reads: dict[str, Quantised] = {}
        self.writes: dict[str, State] = {}
        if len(self.subgraph.ops) > _MOST_NODES:
            raise ModelError(f"{path}: expected at most {_MOST_NODES} operators, got {len(self.subgraph.ops)}")

    # ------------------------------------------------------------ the walk

    def run(self) -> tuple[Operation, ...]:
        from .tflite_ops import CONVERTERS

        live = self._live()
        found = []
        for op in self.subgraph.ops:
            before = len(self.builder.nodes)
            problem = None
            if op.index in live:
                try:
                    self._convert(op, CONVERTERS)
                except Refused as reason:
                    problem = str(reason)
            made = tuple(node.name for node in self.builder.nodes[before:])
            out = next((index for index in op.outputs if index >= 0), None)
            name = "" if out is None else self.subgraph.tensors[out].name
            found.append(Operation(op.index, op.custom or op.code, name, problem, made))
        return tuple(found)

    def _convert(self, op: FileOp, converters: Mapping[str, object]) -> None:
        converter = converters.get(op.code)
        if op.code in FOLDED and all(index in self.known or index < 0 for index in self._reads_values_of(op)):
            fold(self, op)
        elif converter is None:
            raise Refused("no kernel for it")
        else:
            converter(self, op)  # type: ignore[operator]

    def _reads_values_of(self, op: FileOp) -> tuple[int, ...]:
        return () if op.code == "SHAPE" else op.inputs

    def _live(self) -> set[int]:
        """Operators that the outputs depend on, or that remember something."""
        wanted, live = set(self.subgraph.outputs), set()
        for op in reversed(self.subgraph.ops):
            if wanted & set(op.outputs) or op.code in ("ASSIGN_VARIABLE", "CALL_ONCE"):
                live.add(op.index)
                wanted |= set(op.inputs)
        return live

    # ------------------------------------------------------------ what converters ask

    def name(self, op: FileOp, kind: str) -> str:
        """Of a layer that an operator becomes."""
        return f"{kind}_{op.index}"

    def file_tensor(self, index: int) -> FileTensor:
        return self.subgraph.tensors[index]

    def constant(self, op: FileOp, place: int, what: str) -> np.ndarray:
        """A constant input of an operator."""
        index = op.inputs[place] if place < len(op.inputs) else -1
        if index < 0 or index not in self.known:
            raise Refused(f"{what} that is not constant")
        return self.known[index]

    def optional(self, op: FileOp, place: int) -> np.ndarray | None:
        index = op.inputs[place] if place < len(op.inputs) else -1
        return None if index < 0 else self.constant(op, place, f"input {place}")

    def numbers(self, op: FileOp, place: int, what: str) -> tuple[int, ...]:
        """A constant input of whole numbers, as a tuple."""
        values = np.atleast_1d(self.constant(op, place, what))
        if values.dtype.kind not in "iu" or values.ndim > 2 or values.size > 64:
            raise Refused(f"{what}: expected a few whole numbers, got {values.dtype} of shape {values.shape}")
        return tuple(int(value) for value in values.reshape(-1))

    def input(self, op: FileOp, place: int = 0) -> Quantised:
        """A tensor that an operator reads, as the graph has it."""
        index = op.inputs[place] if place < len(op.inputs) else -1
        if index < 0:
            raise Refused(f"expected an input {place}, got none")
        if index not in self.items:
            self.items[index] = self._quantised(self.file_tensor(index))
        return self.items[index]

    def output(self, op: FileOp, place: int = 0) -> Quantised:
        """A tensor that an operator writes."""
        return self._quantised(self.file_tensor(op.outputs[place]))

    def become(self, op: FileOp, item: Quantised, place: int = 0) -> None:
        """Say what stands for an output of an operator from now on, in the shape that the file gives it."""
        index = op.outputs[place]
        self.items[index] = replace(item, shape=self.shape(self.file_tensor(index)))

    def shape(self, tensor: FileTensor) -> tuple[int, ...]:
        """The file's shape; what may change is 1."""
        if any(size < 1 for size in tensor.shape):
            raise Refused(f"{tensor}: expected sizes of at least 1, got shape {shape_text(tensor.shape)}")
        return tensor.shape

    def _quantised(self, tensor: FileTensor) -> Quantised:
        if tensor.type not in _TYPES:
            raise Refused(f"{tensor}: expected integers of 8 or 16 bits, got {tensor.type}")
        if problem := tensor.problem:
            raise Refused(f"{tensor}: {problem}")
        if tensor.scale.size != 1:
            got = f"{tensor.scale.size} scales" if tensor.scale.size else "a tensor without scale"
            raise Refused(f"{tensor}: expected one scale, got {got}")
        value = self.known.get(tensor.index)
        return Quantised(
            f"t{tensor.index}", self.shape(tensor), _TYPES[tensor.type], float(tensor.scale[0]),
            int(tensor.zero_point[0]), value,
        )  # fmt: skip

    # ------------------------------------------------------------ the result

    def imported(self, operations: tuple[Operation, ...]) -> Imported:
        inputs = tuple(self._port(index, self.border.get(index, index)) for index in self.subgraph.inputs)
        given = {state.write for state in self.writes.values()}
        outputs = tuple(self._output(index, given) for index in self.subgraph.outputs)
        states = tuple(self.writes.values())
        graph = self.builder.graph([p.tensor for p in inputs], [p.tensor for p in outputs], states)
        graph.verify()
        if not graph.nodes:
            raise ModelError(f"{self.path}: expected a network that computes something, got none")
        tensors = {index: item.name for index, item in self.items.items() if item.value is None}
        return Imported(graph, inputs, outputs, operations, self.file, tensors)

    def _port(self, index: int, inner: int) -> Port:
        tensor = self.file_tensor(index)
        try:
            item = self.items.get(inner) or self._quantised(self.file_tensor(inner))
        except Refused as reason:
            raise ModelError(f"{self.path}: input {tensor.name!r}: {reason}") from None
        self.builder.tensor(item)
        own = AFFINE_TYPES[item.type].dtype
        return Port(tensor.name, item.name, self.shape(tensor), own, item.scale, item.zero_point)

    def _output(self, index: int, given: set[str]) -> Port:
        """`given`: tensors that are outputs already; an output is a buffer of its own."""
        tensor = self.file_tensor(index)
        if index in self.floats and self.floats[index].is_border:
            item = self.floats[index].item
        elif index in self.items:
            item = self.items[index]
        else:
            raise ModelError(f"{self.path}: output {tensor.name!r}: expected integers or their DEQUANTIZE")
        if item.value is not None:
            raise ModelError(f"{self.path}: output {tensor.name!r}: expected what depends on an input, got a constant")
        item = self._written(item, f"output_{index}", given)
        given.add(item.name)
        own = AFFINE_TYPES[item.type].dtype
        return Port(tensor.name, item.name, self.shape(tensor), own, item.scale, item.zero_point)

    def _written(self, item: Quantised, name: str, given: Container[str] = ()) -> Quantised:
        """`item` as a tensor that a node writes, and that is not `given`: a copy where it is not."""
        if item.name not in given and any(item.name in node.outputs for node in self.builder.nodes):
            return item
        copied = replace(item, name=f"{item.name}_{name}")
        self.builder.copy(name, item, copied, View((item.size,), (1,)))
        return copied

    # ------------------------------------------------------------ variables

    def _initial(self) -> dict[str, np.ndarray]:
        """Variable -> what the subgraph that runs once assigns to it."""
        found: dict[str, np.ndarray] = {}
        once = [op.options["init_subgraph_index"] for op in self.subgraph.ops if op.code == "CALL_ONCE"]
        for number in once:
            if not 0 < number < len(self.file.subgraphs):
                raise Refused(f"CALL_ONCE: expected another subgraph of the file, got {number}")
            other = self.file.subgraphs[number]
            handles: dict[int, str] = {}
            for op in other.ops:
                if op.code == "VAR_HANDLE":
                    handles[op.outputs[0]] = str(op.options["shared_name"])
                elif op.code == "ASSIGN_VARIABLE" and other.tensors[op.inputs[1]].data is not None:
                    found[handles[op.inputs[0]]] = other.tensors[op.inputs[1]].data
                else:
                    raise Refused(f"{op.code} in the subgraph that runs once: expected constants to be assigned")
        return found

    def read_variable(self, op: FileOp) -> None:
        """What a variable held when the run began."""
        name = self.handles.get(op.inputs[0])
        if name is None or name in self.writes:
            raise Refused("expected a variable of the file that is read before it is assigned")
        item = self._quantised(self.file_tensor(op.outputs[0]))
        held = self.reads.setdefault(name, replace(item, name=f"state_{len(self.reads)}", value=None))
        if not held.is_scaled_as(item) or held.size != item.size:
            raise Refused("a variable that is read in two ways")
        self.builder.tensor(held)
        self.become(op, held)

    def assign_variable(self, op: FileOp) -> None:
        name, item = self.handles.get(op.inputs[0]), self.input(op, 1)
        held = self.reads.get(name or "")
        if held is None or name in self.writes or not held.is_scaled_as(item) or held.size != item.size:
            raise Refused("expected a variable that was read before, with the same scale, and is assigned once")
        initial = self._initial().get(str(name))
        if initial is None or initial.size != held.size or initial.dtype != AFFINE_TYPES[held.type].dtype:
            raise Refused("expected a variable that CALL_ONCE fills with constants")
        written = self._written(item, f"state_{op.index}", {other.write for other in self.writes.values()})
        self.writes[str(name)] = State(held.name, written.name, np.ascontiguousarray(initial).reshape(-1))


@dataclass(frozen=True)
class Curve:
    """A float tensor that is a function of an integer one, byte by byte.

    Attributes
    ----------
    item : Quantised
        The integers.
    values : numpy.ndarray
        float32, for the bytes 0..255 of `item`.
    is_border : bool
        Whether it is nothing but their DEQUANTIZE.
    """

    item: Quantised
    values: np.ndarray
    is_border: bool


def counted(found: Sequence[Operation]) -> list[tuple[str, int, int]]:
    """Operator, how often, and how often it is not taken; in alphabetic order."""
    total = Counter(operation.code for operation in found)
    refused = Counter(operation.code for operation in found if operation.problem)
    return [(code, total[code], refused[code]) for code in sorted(total)]
