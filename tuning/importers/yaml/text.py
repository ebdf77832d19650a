# SPDX-License-Identifier: Apache-2.0
"""The text of a model file with zero points in the making: layers, names, and the arrays of its archive."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ...base.names import LONGEST, layer_name_problem, name_problem
from ...base.yaml_file import scalar
from ...model.int8_schema import DTYPES
from ..integer_graph import Refused
from ..tflite.file import FileModel, FileOp, FileTensor

Fields = dict[str, Any]


class NeedsBatch(Exception):
    """Something happens to the first dimension, or it is not a batch of 1."""


class Writer:
    def __init__(
        self, file: FileModel, name: str, lead: int, archive: str | None = None, extra: Mapping[str, str] | None = None
    ) -> None:
        self.graph, self.name, self.lead = file.subgraphs[0], name, lead
        self.archive, self.extra = archive or f"{name}.npz", extra or {}
        self.tensors = self.graph.tensors
        self.refs: dict[int, str] = {}
        """Tensor -> what layers call it."""
        self.floats: dict[int, int] = {}
        """Tensors of floats -> the integers behind them."""
        self.bytes: dict[int, int] = {}
        """Tensors of int32 -> the bytes that they are, or are an index of."""
        self.layers: list[Fields] = []
        self.constants: dict[str, Fields] = {}
        self.inputs: dict[str, Fields] = {}
        self.arrays: dict[str, np.ndarray] = {}
        self.taken: dict[str, str] = {}

    # ------------------------------------------------------------ the file

    def text(self, forms: Mapping[str, Form]) -> tuple[str, dict[str, np.ndarray]]:
        makers = {index: op for op in self.graph.ops for index in op.outputs}
        live = self.live(makers)
        alias = self.borders(live)
        sources = [alias.get(index, index) for index in self.graph.inputs]
        for index in sources:
            tensor = self.tensors[index]
            name = "input" if len(sources) == 1 else self.unused(tensor.name, "input")
            self.refs[index] = name
            self.taken[name.lower()] = name
            self.inputs[name] = {"shape": self.own(self.shape(tensor)), **self.numbers(tensor)}
        for op in live:
            if op.code == "QUANTIZE" and op.inputs[0] in alias:
                self.refs[op.outputs[0]] = self.refs[alias[op.inputs[0]]]
                continue
            if op.code == "DEQUANTIZE":  # whoever reads the floats but a RESHAPE is refused
                self.floats[op.outputs[0]] = op.inputs[0]
                continue
            if op.code not in forms:
                raise Refused(f"{op}")
            try:
                forms[op.code](self, op)
            except Refused as problem:
                raise Refused(f"{op}: {problem}") from None
        outputs = [self.output(index) for index in self.graph.outputs]
        if len(set(outputs)) < len(outputs):
            raise Refused("a tensor that is an output twice")
        if not self.layers:
            raise Refused("a network that computes nothing")
        return self.yaml(outputs), self.arrays

    def live(self, makers: Mapping[int, FileOp]) -> list[FileOp]:
        """Operators that the outputs depend on, in order; what only computes shapes is none."""
        found: dict[int, FileOp] = {}
        todo = list(self.graph.outputs)
        while todo:
            op = makers.get(todo.pop())
            if op is not None and op.index not in found:
                found[op.index] = op
                todo += op.inputs[:1] if op.code in ("RESHAPE", "SQUEEZE", "EXPAND_DIMS") else op.inputs
        return [found[index] for index in sorted(found)]

    def borders(self, live: Iterable[FileOp]) -> dict[int, int]:
        """Float inputs of the network -> the integers that QUANTIZE makes of them."""
        found: dict[int, int] = {}
        for op in live:
            source = op.inputs[0] if op.inputs else -1
            if op.code == "QUANTIZE" and source in self.graph.inputs and self.tensors[source].type == "FLOAT32":
                made = self.tensors[op.outputs[0]]
                first = self.tensors[found.setdefault(source, made.index)]
                if self.numbers(made) != self.numbers(first):
                    raise Refused(f"{op}: an input that is quantised in two ways")
        return found

    def output(self, index: int) -> str:
        """Of floats the integers behind them, in the shape of the floats."""
        inner = self.floats.get(index, index)
        shape = self.shape(self.tensors[index])
        if shape == self.shape(self.tensors[inner]):
            return self.ref(inner)
        return self.layer(self.unused("", f"reshape_{index}"), "reshape", [self.ref(inner)], {"shape": self.own(shape)})

    def yaml(self, outputs: Sequence[str]) -> str:
        lines = ["schema: 1", f"name: {_word(self.name)}"]
        if len(self.inputs) == 1:
            lines.append(f"input: {_flow(next(iter(self.inputs.values())))}")
        else:
            lines += ["inputs:", *(f"  {_word(name)}: {_flow(fields)}" for name, fields in self.inputs.items())]
        if self.arrays:
            lines.append(f"weights: {_word(self.archive)}")
        lines += [f"{key}: {_word(text)}" for key, text in self.extra.items()]
        if not self.lead:
            lines.append("explicit_batch: true")
        if list(outputs) != [self.layers[-1]["name"]]:
            lines.append(f"outputs: {_flow(list(outputs))}")
        if self.constants:
            lines += ["constants:", *(f"  {_word(name)}: {_flow(fields)}" for name, fields in self.constants.items())]
        lines += ["layers:", *(f"  - {_flow(fields)}" for fields in self.layers)]
        return "\n".join(lines) + "\n"

    # ------------------------------------------------------------ tensors

    def shape(self, tensor: FileTensor) -> tuple[int, ...]:
        if any(size < 1 for size in tensor.shape):
            raise Refused(f"{tensor} of shape {tensor.shape}")
        return tensor.shape

    def own(self, shape: Sequence[int]) -> list[int]:
        """A shape as the model file has it."""
        if self.lead and (len(shape) < 2 or shape[0] != 1):
            raise NeedsBatch
        return list(shape[self.lead :])

    def numbers(self, tensor: FileTensor) -> Fields:
        if tensor.type.lower() not in DTYPES:
            raise Refused(f"{tensor} of {tensor.type}")
        if problem := tensor.problem:
            raise Refused(f"{tensor}: {problem}")
        if tensor.scale.size != 1:
            raise Refused(f"{tensor} of {tensor.scale.size} scales")
        fields: Fields = {"dtype": tensor.type.lower(), "scale": np.float32(tensor.scale[0])}
        return fields | ({"zero_point": int(tensor.zero_point[0])} if tensor.zero_point[0] else {})

    def scaled(self, out: FileTensor, default: tuple[float, int] | None) -> Fields:
        """Scale and zero point of an output, where they are not what they would be."""
        fields = self.numbers(out)
        if default == (float(out.scale[0]), int(out.zero_point[0])):
            return {}
        return {key: fields[key] for key in ("scale", "zero_point") if key in fields}

    def known(self, op: FileOp, place: int) -> np.ndarray:
        """A constant operand."""
        index = op.inputs[place] if place < len(op.inputs) else -1
        data = self.tensors[index].data if index >= 0 else None
        if data is None and index >= 0 and 0 in self.tensors[index].shape:
            return np.empty(0, np.int32)
        if data is None or self.tensors[index].is_sparse:
            raise Refused(f"an operand {place} that is no constant")
        return data

    def ref(self, index: int) -> str:
        if index not in self.refs:
            raise Refused(f"{self.tensors[index]}, which no layer makes")
        return self.refs[index]

    def operand(self, op: FileOp, place: int, has_batch: bool = False) -> str:
        """A tensor that an operator reads; a constant among those of the file."""
        index = op.inputs[place]
        tensor = self.tensors[index]
        if tensor.data is None:
            return self.ref(index)
        name = self.unused(tensor.name, f"constant_{index}")
        self.taken[name.lower()] = name
        self.constants[name] = {
            "shape": self.own(tensor.shape) if has_batch else list(tensor.shape), **self.numbers(tensor),
        }  # fmt: skip
        self.arrays[f"{name}/value"] = tensor.data.reshape(self.constants[name]["shape"])
        return name

    def source(self, op: FileOp) -> FileTensor:
        tensor = self.tensors[op.inputs[0]]
        self.own(self.shape(tensor))
        return tensor

    def unused(self, name: str, otherwise: str) -> str:
        """An identifier like `name` that nothing else is called."""
        own = re.sub(r"_+", "_", re.sub(r"[^A-Za-z0-9]+", "_", name)).strip("_")[: LONGEST - 5]
        own = own if not name_problem(own) else otherwise
        unique, count = own, 1
        while layer_name_problem(unique, self.taken):
            count += 1
            unique = f"{own}_{count}"
        return unique

    # ------------------------------------------------------------ layers

    def add(
        self, op: FileOp, kind: str, word: str, inputs: Sequence[str], fields: Fields, outputs: Sequence[int]
    ) -> None:
        """A layer called as its operator, or by `word` and its place."""
        self.layer(self.unused(op.name, f"{word}_{op.index}"), kind, inputs, fields)
        name = self.layers[-1]["name"]
        for part, index in enumerate(outputs):
            self.own(self.shape(self.tensors[index]))
            self.refs[index] = f"{name}.{part}" if len(outputs) > 1 else name

    def layer(self, name: str, kind: str, inputs: Sequence[str], fields: Fields) -> str:
        before = self.layers[-1]["name"] if self.layers else "input" if len(self.inputs) == 1 else ""
        named = {} if list(inputs) == [before] else {"inputs": list(inputs)}
        self.layers.append({"name": name, "op": kind, **named, **fields})
        self.taken[name.lower()] = name
        return name

    def axis(self, axis: int, rank: int) -> int:
        if not -rank <= axis < rank:
            raise Refused(f"axis {axis} of {rank}")
        if axis % rank < self.lead:
            raise NeedsBatch
        return axis % rank - self.lead


def numbers_of(tensor: FileTensor) -> tuple[float, int]:
    if not tensor.scale.size or not tensor.zero_point.size:
        raise Refused(f"{tensor}, which has no scale")
    return float(tensor.scale[0]), int(tensor.zero_point[0])


def _word(text: str) -> str:
    if scalar(text) == text and re.fullmatch(r"[\w.]+", text, re.ASCII):
        return text
    return "'" + text.replace("'", "''") + "'"


def _flow(value: Any) -> str:
    """YAML on one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_word(key)}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return _word(value) if isinstance(value, str) else str(value)


Form = Callable[[Writer, FileOp], None]
"""Writes an operator as a layer, or several."""
