# SPDX-License-Identifier: Apache-2.0
"""From a `.tflite` file to a graph of layers: operators in their order, each by its converter in `converters`.

A float border goes: QUANTIZE of an input and DEQUANTIZE of an output leave the integers behind them. So do operators
whose result is known before anything runs (arithmetic of shapes), and those that nobody reads. Whatever is not taken is
collected, and refused in one message.
"""

from __future__ import annotations

import os
import shlex
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path

import numpy as np

from cmsisnn_x.errors import CmsisnnError
from cmsisnn_x.graph import Graph
from cmsisnn_x.scheme import AFFINE_TYPES

from ...base.errors import ModelError
from ...model.ports import Port
from ..integer_graph import Refused
from .context import TYPES, Context
from .converters import CONVERTERS
from .converters.variables import variable
from .file import FileModel, FileOp, quoted, read
from .fold import can_fold, fold

_FLOATS = ("FLOAT16", "FLOAT32", "FLOAT64", "BFLOAT16")
_MOST_KINDS = 12
"""Of problems, that one message tells."""


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
    return import_operators(read(path), arithmetic)


def import_operators(
    file: FileModel, arithmetic: str = "tflm", told: Callable[[Sequence[Operation]], str] | None = None
) -> Imported:
    """The same of a network that is written down in operators of `.tflite` files, whichever file it came in.

    Parameters
    ----------
    file : FileModel
        `path` is what messages name.
    arithmetic : {"tflm", "litert"}
    told : callable, optional
        The message for operators that are not taken, where that of `.tflite` files would not do.

    Raises
    ------
    ModelError
        The network holds what is not taken: all of it in one message.
    """
    walk = Walk(file, arithmetic)
    if problem := float_problem(file):
        raise ModelError(f"{file.path}: {problem}")
    operations = walk.run()
    if refused := [operation for operation in operations if operation.problem]:
        raise ModelError(told(refused) if told else refusal(file.path, refused))
    return walk.imported(operations)


def operations(path: str | os.PathLike[str], arithmetic: str = "tflm") -> tuple[Operation, ...]:
    """Every operator of a file, with the reason where it is not taken.

    Raises
    ------
    ModelError
        The file is damaged; or all operators are taken, and something else is not.
    """
    return operations_of(read(path), arithmetic)


def operations_of(file: FileModel, arithmetic: str = "tflm") -> tuple[Operation, ...]:
    """The same of a network that is written down in operators of `.tflite` files, whichever file it came in."""
    walk = Walk(file, arithmetic)
    found = walk.run()
    if not any(one.problem for one in found) and float_problem(file) is None:
        walk.imported(found)
    return found


def float_problem(file: FileModel) -> str | None:
    """What to do with a network of floats; None for others."""
    graph = file.subgraphs[0]
    used = {index for op in graph.ops for index in (*op.inputs, *op.outputs) if index >= 0}
    types = {graph.tensors[index].type for index in used if graph.tensors[index].data is None}
    if not types & set(_FLOATS) or types & set(TYPES):
        return None
    name = shlex.quote(f"{file.path.stem}.onnx")
    line = f"cmsisnn-quantize {name} --calibration data.npz"
    return (
        "expected a quantised network, got one of floats; quantise it to int8 in the program that it comes from, or "
        f"export it as ONNX and type {line}"
    )


def refusal(path: Path, refused: Sequence[Operation]) -> str:
    """One message for all that is not taken: operator, how often, the first tensor, why."""
    refused = [one for one in refused if one.problem != BEHIND] or refused
    kinds: dict[tuple[str, str], list[Operation]] = {}
    for operation in refused:
        kinds.setdefault((operation.code, operation.problem or ""), []).append(operation)
    parts = [
        f"{code} ({len(found)}x, first {quoted(found[0].tensor)}): {problem}"
        for (code, problem), found in list(kinds.items())[:_MOST_KINDS]
    ]
    if len(kinds) > _MOST_KINDS:
        parts.append(f"and {len(kinds) - _MOST_KINDS} more kinds; --operations lists what the file uses")
    return f"{path}: expected operators that this version takes, got others: {'; '.join(parts)}"


_OUTSIDE = "let the network end in front of it, and do it in the firmware's own code"
HELP = {
    "ARG_MAX": _OUTSIDE,
    "ARG_MIN": _OUTSIDE,
    "BATCH_MATMUL": "of a constant, a dense layer becomes FULLY_CONNECTED",
    "BIDIRECTIONAL_SEQUENCE_LSTM": "streaming networks of convolutions are taken, with their states",
    "DIV": "by a constant, multiply by its reciprocal",
    "L2_NORMALIZATION": _OUTSIDE,
    "LOG_SOFTMAX": "SOFTMAX has the same order",
    "NON_MAX_SUPPRESSION_V4": _OUTSIDE,
    "NON_MAX_SUPPRESSION_V5": _OUTSIDE,
    "PRELU": "LEAKY_RELU has one slope for all channels",
    "RESIZE_BILINEAR": "RESIZE_NEAREST_NEIGHBOR is taken",
    "TOPK_V2": _OUTSIDE,
    "TRANSPOSE_CONV": "RESIZE_NEAREST_NEIGHBOR and CONV_2D are taken",
    "UNIDIRECTIONAL_SEQUENCE_LSTM": "streaming networks of convolutions are taken, with their states",
    "UNIDIRECTIONAL_SEQUENCE_RNN": "streaming networks of convolutions are taken, with their states",
    "WHILE": "let the converter unroll it: unroll=True in Keras",
}
"""What would help where an operator has no kernel."""
BEHIND = "it reads floats that are not taken"
_WITHOUT_OUTPUT = ("ASSIGN_VARIABLE", "CALL_ONCE")


class Walk(Context):
    """Operators one after the other, and what becomes of the file."""

    def run(self) -> tuple[Operation, ...]:
        live = self._live()
        found = []
        floats: set[int] = set()
        """What operators that are not taken would have written."""
        for op in self.subgraph.ops:
            before = len(self.builder.nodes)
            problem = None
            if op.index in live:
                try:
                    with np.errstate(all="ignore"):
                        self._convert(op)
                except (Refused, CmsisnnError) as reason:
                    problem = BEHIND if floats.intersection(op.inputs) else str(reason)
                    floats.update(index for index in op.outputs if self.file_tensor(index).type in _FLOATS)
            made = tuple(node.name for node in self.builder.nodes[before:])
            out = next((index for index in op.outputs if index >= 0), None)
            name = "" if out is None else self.subgraph.tensors[out].name
            found.append(Operation(op.index, quoted(op.custom) if op.custom else op.code, name, problem, made))
        return tuple(found)

    def _convert(self, op: FileOp) -> None:
        converter = CONVERTERS.get(op.code)
        self.builder.own, self.builder.variant = op.name, op.variant
        if not op.outputs and op.code not in _WITHOUT_OUTPUT:
            raise Refused("expected an output, got none")
        if can_fold(self, op):
            fold(self, op)
        elif converter is None:
            raise Refused("no kernel for it" + (f": {HELP[op.code]}" if op.code in HELP else ""))
        else:
            converter(self, op)

    def _live(self) -> set[int]:
        """Operators that the outputs depend on, also by what is remembered."""
        handles = {op.outputs[0]: variable(op) for op in self.subgraph.ops if op.code == "VAR_HANDLE" and op.outputs}
        makers: dict[int | str, list[FileOp]] = {}
        """Of a tensor, or of a variable."""
        todo = []
        for op in self.subgraph.ops:
            for index in op.outputs:
                makers.setdefault(index, []).append(op)
            if op.code == "ASSIGN_VARIABLE" and op.inputs and op.inputs[0] in handles:
                makers.setdefault(handles[op.inputs[0]], []).append(op)
            elif op.code in _WITHOUT_OUTPUT:
                todo.append(op)
        todo += [op for index in dict.fromkeys(self.subgraph.outputs) for op in makers.pop(index, ())]
        for op in todo:
            needed: list[int | str] = [*op.inputs]
            if op.code == "READ_VARIABLE" and op.inputs:
                needed.append(handles.get(op.inputs[0], ""))
            todo += [maker for one in needed for maker in makers.pop(one, ())]
        return {op.index for op in todo}

    # ------------------------------------------------------------ the result

    def imported(self, operations: tuple[Operation, ...]) -> Imported:
        inputs = tuple(self._port(index, self.border.get(index, index)) for index in self.subgraph.inputs)
        outputs = tuple(self._output(index, place) for place, index in enumerate(self.subgraph.outputs))
        states = tuple(self.writes.values())
        if kept := [name for name in self.reads if name not in self.writes]:
            raise ModelError(f"{self.path}: variable {quoted(kept[0])}: expected one that is assigned, got none")
        try:
            graph = self.builder.graph([p.tensor for p in inputs], [p.tensor for p in outputs], states)
            graph.verify()
        except CmsisnnError as problem:
            raise ModelError(f"{self.path}: {problem}") from None
        if not inputs or not outputs:
            raise ModelError(f"{self.path}: expected a network with inputs and outputs, got none")
        if not graph.nodes:
            raise ModelError(f"{self.path}: expected a network that computes something, got none")
        tensors = {index: item.name for index, item in self.items.items() if item.value is None}
        return Imported(graph, inputs, outputs, operations, self.file, tensors)

    def _port(self, index: int, inner: int) -> Port:
        tensor = self.file_tensor(index)
        try:
            item = self.items.get(inner) or self.quantised(self.file_tensor(inner))
            if item.value is not None:
                raise Refused("expected what the caller gives, got a constant")
            self.builder.tensor(item)
            shape = self.shape(tensor)
            if prod(shape) != item.size:
                raise Refused(f"expected {prod(shape)} elements as of its shape, got {item.size}")
        except Refused as reason:
            raise ModelError(f"{self.path}: input {quoted(tensor.name)}: {reason}") from None
        own = AFFINE_TYPES[item.type].dtype
        return Port(tensor.name, item.name, shape, own, item.scale, item.zero_point)

    def _output(self, index: int, place: int) -> Port:
        """An output is a buffer of its own."""
        tensor = self.file_tensor(index)
        if index in self.floats and self.floats[index].is_border:
            item = self.floats[index].item
        elif index in self.items:
            item = self.items[index]
        else:
            expected = "expected integers or their DEQUANTIZE"
            if tensor.type in _FLOATS:
                maker = next((op.code for op in self.subgraph.ops if index in op.outputs), "an input")
                expected += f", got floats of {maker}: let the converter quantise what it gives, or end in front of it"
            if index in self.subgraph.inputs:
                expected = "expected what the network computes, got its input"
            if index in self.known:
                expected = "expected what depends on an input, got a constant"
            raise ModelError(f"{self.path}: output {quoted(tensor.name)}: {expected}")
        try:
            if item.value is not None:
                raise Refused("expected what depends on an input, got a constant")
            shape = self.shape(tensor)
            if prod(shape) != item.size:
                raise Refused(f"expected {prod(shape)} elements as of its shape, got {item.size}")
            item = self.written(item, f"output_{place}")
            # Floats behind DEQUANTIZE may have been reshaped: the caller gets the file's shape.
            self.builder.tensors[item.name] = replace(self.builder.tensors[item.name], shape=shape)
        except Refused as reason:
            raise ModelError(f"{self.path}: output {quoted(tensor.name)}: {reason}") from None
        self.given.add(item.name)
        own = AFFINE_TYPES[item.type].dtype
        return Port(tensor.name, item.name, shape, own, item.scale, item.zero_point)


def counted(found: Sequence[Operation]) -> list[tuple[str, int, int]]:
    """Operator, how often, and how often it is not taken; in alphabetic order."""
    total = Counter(operation.code for operation in found)
    refused = Counter(operation.code for operation in found if operation.problem)
    return [(code, total[code], refused[code]) for code in sorted(total)]
