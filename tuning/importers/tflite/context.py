# SPDX-License-Identifier: Apache-2.0
"""The state of one import of a `.tflite` file, and what the converters of its operators ask."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from cmsisnn_x.graph import State
from cmsisnn_x.layers import View
from cmsisnn_x.scheme import AFFINE_TYPES

from ...base.errors import ModelError
from ...base.units import shape_text
from ..integer_graph import ARITHMETICS, GraphBuilder, Quantised, Refused
from .file import FileModel, FileOp, FileSubgraph, FileTensor

MOST_ELEMENTS = 1 << 24
"""Of all constants that are folded, and of what they are folded from."""
TYPES = {name.upper(): name for name in AFFINE_TYPES}
_MOST_NODES = 10_000


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


@dataclass(frozen=True)
class Probabilities:
    """A float tensor that is the softmax of the floats that integers stand for."""

    item: Quantised
    beta: float


@dataclass(frozen=True)
class MovedInput:
    """A float tensor whose elements are those of an input of the network, in another order.

    Attributes
    ----------
    source : int
        The input.
    moves : tuple of (str, View, tuple of int)
        Name, view and resulting shape of every copy on the way.
    """

    source: int
    moves: tuple[tuple[str, View, tuple[int, ...]], ...] = ()


class Context:
    """What is known of a file while its operators are read one after the other; converters read and write it."""

    def __init__(self, file: FileModel, arithmetic: str) -> None:
        if arithmetic not in ARITHMETICS:
            raise ModelError(f"arithmetic: expected {' or '.join(map(repr, ARITHMETICS))}, got {arithmetic!r}")
        self.path = file.path
        self.file = file
        self.subgraph: FileSubgraph = file.subgraphs[0]
        self.builder = GraphBuilder(arithmetic, [op.name for op in self.subgraph.ops if op.name])
        self.arithmetic = arithmetic
        self.known = {
            tensor.index: tensor.data
            for tensor in self.subgraph.tensors
            if tensor.data is not None and tensor.dtype is not None and not tensor.is_sparse
        }
        """Values of tensors that do not depend on the inputs."""
        made = {*self.subgraph.inputs, *(index for op in self.subgraph.ops for index in op.outputs)}
        for tensor in self.subgraph.tensors:  # without elements there are no data
            if tensor.index not in made and 0 in tensor.shape and tensor.dtype is not None:
                self.known[tensor.index] = np.empty(tensor.shape, tensor.dtype)
        self.items: dict[int, Quantised] = {}
        """What stands for a tensor in the graph."""
        self.floats: dict[int, Curve] = {}
        """Float tensors that are a function of an integer one."""
        self.softmaxes: dict[int, Probabilities] = {}
        """Float tensors that are a softmax of an integer one."""
        self.indices: dict[int, tuple[Quantised, int]] = {}
        """Tensors of int32 that are bytes with a number added, and these."""
        self.moved: dict[int, MovedInput] = {}
        """Float tensors that are a float input of the network, moved."""
        self.border: dict[int, int] = {}
        """Float inputs of the network, and the integers that QUANTIZE makes of them."""
        self.handles: dict[int, str] = {}
        """Tensors that stand for a variable, and its name."""
        self.reads: dict[str, Quantised] = {}
        self.assigned: dict[str, Quantised] = {}
        """What the operators so far left in a variable."""
        self.writes: dict[str, State] = {}
        self.initial: dict[str, np.ndarray] | None = None
        self.given: set[str] = set()
        """Tensors that are outputs or variables."""
        self.folded = 0
        """Elements of constants that were computed."""
        if len(self.subgraph.ops) > _MOST_NODES:
            raise ModelError(f"{self.path}: expected at most {_MOST_NODES} operators, got {len(self.subgraph.ops)}")

    def name(self, op: FileOp, kind: str) -> str:
        """Of a layer that an operator becomes."""
        return op.name or f"{kind}_{op.index}"

    def file_tensor(self, index: int) -> FileTensor:
        return self.subgraph.tensors[index]

    def constant(self, op: FileOp, place: int, what: str) -> np.ndarray:
        """A constant input of an operator."""
        index = op.inputs[place] if place < len(op.inputs) else -1
        if index >= 0 and (tensor := self.file_tensor(index)).is_sparse:
            raise Refused(f"{tensor}: {tensor.problem}")
        if index >= 0 and tensor.data is not None and tensor.dtype is None:
            raise Refused(f"{what}: expected integers of 8 bits or more, or floats of 16 or more, got {tensor.type}")
        if index not in self.known:
            raise Refused(f"{what}: expected a constant, got " + ("what is computed" if index >= 0 else "none"))
        return self.known[index]

    def source(self, op: FileOp, place: int = 0) -> int:
        """The file's index of an input that has to be there."""
        index = op.inputs[place] if place < len(op.inputs) else -1
        if index < 0:
            raise Refused(f"expected an input {place}, got none")
        return index

    def optional(self, op: FileOp, place: int) -> np.ndarray | None:
        index = op.inputs[place] if place < len(op.inputs) else -1
        return None if index < 0 else self.constant(op, place, f"input {place}")

    def numbers(self, op: FileOp, place: int, what: str) -> tuple[int, ...]:
        """A constant input of whole numbers, as a tuple."""
        values = np.atleast_1d(self.constant(op, place, what))
        if values.dtype.kind not in "iu" or values.ndim > 2 or values.size > 64:
            raise Refused(f"{what}: expected a few whole numbers, got {values.dtype} of shape {values.shape}")
        return tuple(int(value) for value in values.reshape(-1))

    def number(self, op: FileOp, place: int, what: str) -> int:
        """A constant input of one whole number."""
        values = self.numbers(op, place, what)
        if len(values) != 1:
            raise Refused(f"{what}: expected one number, got {len(values)}")
        return values[0]

    def input(self, op: FileOp, place: int = 0) -> Quantised:
        """A tensor that an operator reads, as the graph has it."""
        index = self.source(op, place)
        if index not in self.items:
            self.items[index] = self.quantised(self.file_tensor(index))
        return self.items[index]

    def output(self, op: FileOp, place: int = 0) -> Quantised:
        """A tensor that an operator writes."""
        return self.quantised(self.file_tensor(op.outputs[place]))

    def become(self, op: FileOp, item: Quantised, place: int = 0) -> None:
        """Say what stands for an output of an operator from now on, in the shape that the file gives it."""
        index = op.outputs[place]
        self.items[index] = replace(item, shape=self.shape(self.file_tensor(index)))

    def shape(self, tensor: FileTensor) -> tuple[int, ...]:
        """The file's shape; what may change is 1."""
        if any(size < 1 for size in tensor.shape):
            raise Refused(f"{tensor}: expected sizes of at least 1, got shape {shape_text(tensor.shape)}")
        return tensor.shape

    def quantised(self, tensor: FileTensor) -> Quantised:
        if tensor.type not in TYPES:
            raise Refused(f"{tensor}: expected integers of 8 or 16 bits, got {tensor.type}")
        if problem := tensor.problem:
            raise Refused(f"{tensor}: {problem}")
        if tensor.scale.size != 1:
            got = f"{tensor.scale.size} scales" if tensor.scale.size else "a tensor without scale"
            raise Refused(f"{tensor}: expected one scale, got {got}")
        value = self.known.get(tensor.index)
        return Quantised(
            f"t{tensor.index}", self.shape(tensor), TYPES[tensor.type], float(tensor.scale[0]),
            int(tensor.zero_point[0]), value,
        )  # fmt: skip

    def written(self, item: Quantised, name: str) -> Quantised:
        """`item` as a tensor that a node writes, and that is not given away: a copy where it is not."""
        if item.name not in self.given and item.name in self.builder.written:
            return item
        copied = replace(item, name=f"{item.name}_{name}")
        self.builder.copy(name, item, copied, View((item.size,), (1,)))
        return copied
