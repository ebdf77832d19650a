# SPDX-License-Identifier: Apache-2.0
"""`.tflite` files as plain data: subgraphs, tensors with their constants, operators with their options.

Only the structure is checked: that everything lies inside the file, that indices exist, and that constants have the
size of their tensor. What a tensor's numbers are worth is `FileTensor.problem`, for those that somebody uses: real
files hold tensors that nobody does.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from ...base.errors import ModelError
from ...base.files import read_bytes
from ...base.names import layer_name_problem
from ...base.units import shape_text
from . import schema
from .flatbuffer import Flatbuffer, Table

LARGEST_FILE = 1 << 28
MOST_ELEMENTS = 1 << 31
"""Of a tensor: no byte of a microcontroller lies beyond."""
MOST_DIMENSIONS = 32
"""NumPy before 2.0 has no more."""
_LONGEST_NAME = 100
_FIRST = "subgraph 0"


@dataclass(frozen=True, eq=False)
class FileTensor:
    """A tensor of a file.

    Attributes
    ----------
    index : int
        Its place in the subgraph.
    name : str
        As the file spells it, whatever that is.
    shape, signature : tuple of int
        The sizes, and the same with -1 for those that may change.
    type : str
        ``INT8``, ``FLOAT32``, ...; ``type 30`` if the schema has no name for it.
    scale, zero_point : np.ndarray
        float32 and int64; empty if the tensor is not quantised, more than one if it is per channel.
    axis : int
        The dimension that `scale` runs along.
    data : np.ndarray or None
        The constant, read-only. Flat bytes if NumPy has no such type or the tensor is sparse.
    is_variable, is_sparse : bool
        Keeps its value from one run to the next; `data` is compressed.
    """

    index: int
    name: str
    shape: tuple[int, ...]
    signature: tuple[int, ...]
    type: str
    scale: np.ndarray
    zero_point: np.ndarray
    axis: int
    data: np.ndarray | None
    is_variable: bool = False
    is_sparse: bool = False

    def __str__(self) -> str:
        return f"tensor {self.index} {quoted(self.name)}"

    @property
    def dtype(self) -> np.dtype | None:
        """The type as NumPy has it; ``None`` if it has not."""
        return _dtype(self.type)

    @property
    def problem(self) -> str | None:
        """What is wrong with its numbers; ``None`` if nothing is.

        The axis of a bias is not to be trusted: ``replace(bias, axis=0).problem``.
        """
        if self.is_sparse:
            return "expected dense data, got sparse ones"
        if 0 in self.shape:
            return f"shape: expected sizes above 0, got {_sizes(self.shape)}"
        if not self.scale.size:
            return None
        if self.scale.size != self.zero_point.size:
            return f"zero_point: expected {self.scale.size} numbers as of scales, got {self.zero_point.size}"
        bad = self.scale[~(np.isfinite(self.scale) & (self.scale > 0))]
        if bad.size:
            return f"scale: expected finite numbers above 0, got {bad[0]}"
        if self.dtype is not None and self.dtype.kind in "iu":
            low, high = np.iinfo(self.dtype).min, np.iinfo(self.dtype).max
            for zero_point in self.zero_point.tolist():
                if not low <= zero_point <= high:
                    return f"zero_point: expected a number of {self.type} ({low} to {high}), got {zero_point}"
        if self.scale.size > 1:
            if not 0 <= self.axis < len(self.shape):
                return f"quantized_dimension: expected a dimension of {_sizes(self.shape)}, got {self.axis}"
            if self.scale.size != self.shape[self.axis]:
                return (
                    f"scale: expected 1 number, or {self.shape[self.axis]} as dimension {self.axis} of "
                    f"{_sizes(self.shape)} has, got {self.scale.size}"
                )
        return None


@dataclass(frozen=True, eq=False)
class FileOp:
    """An operator of a file.

    Attributes
    ----------
    index : int
        Its place in the subgraph, which is when it runs.
    code : str
        ``CONV_2D``, ...; ``CUSTOM`` with the name in `custom`; ``operator 300`` if the schema has no name for it.
    version : int
        Of the operator.
    inputs, outputs : tuple of int
        Tensors; -1 for an optional input that is not there.
    options : mapping of str to object
        By the schema's names, with its defaults: numbers, texts, tuples. Empty for operators that are not in
        `schema.OPTIONS`.
    name : str
        What the layer is to be called that it becomes; of `.tflite` files, those that `writer` wrote say so.
    variant : mapping of str to object
        Knobs of that layer that the tuner must not change.
    """

    index: int
    code: str
    version: int
    custom: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Mapping[str, Any]
    name: str = ""
    variant: Mapping[str, object] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"operator {self.index} ({_code_text(self.code, self.custom)})"


@dataclass(frozen=True, eq=False)
class FileSubgraph:
    """Tensors, and the operators that run on them in this order."""

    name: str
    tensors: tuple[FileTensor, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    ops: tuple[FileOp, ...]


@dataclass(frozen=True, eq=False)
class FileSignature:
    """What the inputs and outputs of a subgraph are called outside: names to tensors."""

    key: str
    subgraph: int
    inputs: Mapping[str, int]
    outputs: Mapping[str, int]


@dataclass(frozen=True, eq=False)
class FileModel:
    """A file, and its bytes; its first subgraph is the network."""

    path: Path
    description: str
    subgraphs: tuple[FileSubgraph, ...]
    signatures: tuple[FileSignature, ...] = ()
    content: bytes = field(default=b"", repr=False)


def read(path: str | os.PathLike[str]) -> FileModel:
    """What a file holds; its constants are views of the bytes that were read.

    Raises
    ------
    ModelError
        The file cannot be read, is no `.tflite` file, or is damaged: where, what was expected, what was found.
    """
    path = Path(path)
    return parse(_load(path), path)


def parse(content: bytes, path: Path) -> FileModel:
    """The same of bytes; `path` is what messages name."""
    return _Reader(content, path).model()


def _load(path: Path) -> bytes:
    if not os.path.exists(path):
        raise ModelError(f"{path}: no such file")
    if not os.path.isfile(path):
        got = "a folder" if path.is_dir() else "something that is no regular file"
        raise ModelError(f"{path}: expected a .tflite file, got {got}")
    if (size := path.stat().st_size) > LARGEST_FILE:
        raise ModelError(f"{path}: expected at most {LARGEST_FILE:,} bytes, got {size:,}")
    try:
        content = read_bytes(path, size)
    except OSError as problem:
        raise ModelError(f"{path}: cannot be read: {problem.strerror}") from None
    except MemoryError:
        raise ModelError(f"{path}: does not fit into memory") from None
    if content[4:8] != schema.IDENTIFIER:
        got = f"{content[4:8]!r}" if len(content) >= 8 else f"{len(content)} bytes"
        if content.startswith(b"version https://git-lfs"):
            got = "the pointer that Git LFS leaves; run git lfs pull"
        raise ModelError(f"{path}: expected a .tflite file, which has {schema.IDENTIFIER!r} at byte 4, got {got}")
    return content


def _sizes(shape: tuple[int, ...]) -> str:
    return shape_text(shape) or "a scalar"


def quoted(name: str) -> str:
    """A name as it may stand in a message: printable and not too long."""
    said = repr(name[:_LONGEST_NAME])
    return said if name[_LONGEST_NAME:] == "" and len(said) <= _LONGEST_NAME else f"{said[:_LONGEST_NAME]}...{said[-1]}"


def _dtype(type_: str) -> np.dtype | None:
    if type_ in schema.PACKED or type_ not in schema.TYPES:
        return None
    return np.dtype(type_.lower())


def _code_text(code: str, custom: str) -> str:
    return f"{code} {quoted(custom)}" if custom else code


def _named(names: tuple[str, ...] | list[str], number: int, kind: str) -> str:
    return names[number] if 0 <= number < len(names) else f"{kind} {number}"


class _Reader:
    def __init__(self, content: bytes, path: Path) -> None:
        self.content, self.path = content, path
        self.file = Flatbuffer(content, str(path))
        self.copied = 0

    def model(self) -> FileModel:
        table = self.file.table(self.file.target(0, ""), schema.MODEL)
        if table["version"] != schema.VERSION:
            raise table.error(f"version: expected {schema.VERSION}, got {table['version']}")
        self.buffers: list[int] = table["buffers"]
        self.spans: dict[int, tuple[int, int]] = {}
        self.codes = [
            self.code(self.file.table(at, schema.OPERATOR_CODE, f"operator code {index}"))
            for index, at in enumerate(table["operator_codes"])
        ]
        self.names = self.layer_names(table["metadata"])
        places = table["subgraphs"]
        if not places:
            raise table.error("subgraphs: expected one or more, got none")
        subgraphs = tuple(
            self.subgraph(self.file.table(at, schema.SUBGRAPH, f"subgraph {index}")) for index, at in enumerate(places)
        )
        signatures = tuple(
            self.signature(self.file.table(at, schema.SIGNATURE, f"signature {index}"), subgraphs)
            for index, at in enumerate(table["signature_defs"])
        )
        return FileModel(self.path, table["description"], subgraphs, signatures, self.content)

    def layer_names(self, places: list[int]) -> list[str]:
        """What metadata of ours say; nothing where another program has changed the file since."""
        for index, at in enumerate(places):
            entry = self.file.table(at, schema.METADATA, f"metadata {index}")
            if entry["name"] == schema.LAYER_NAMES and entry["buffer"] < len(self.buffers):
                start, size = self.span(entry["buffer"])
                names = self.content[start : start + size].decode(errors="replace").split("\n")
                used: dict[str, str] = {}
                for name in filter(None, names):
                    if layer_name_problem(name, used):
                        return []
                    used[name.lower()] = name
                return names
        return []

    def code(self, table: Table) -> tuple[str, int, str]:
        """Name, version, and name of a custom operator."""
        # Numbers above 127 are in the newer field alone; older files lack it.
        number = max(table["deprecated_builtin_code"], table["builtin_code"])
        if number < 0:
            raise table.error(f"builtin_code: expected an operator, got {number}")
        return _named(schema.OPERATORS, number, "operator"), table["version"], table["custom_code"]

    def subgraph(self, table: Table) -> FileSubgraph:
        tensors = tuple(
            self.tensor(self.file.table(at, schema.TENSOR, f"{table.where}, tensor {index}"), index)
            for index, at in enumerate(table["tensors"])
        )
        ops = tuple(
            self.op(self.file.table(at, schema.OPERATOR, f"{table.where}, operator {index}"), index, len(tensors))
            for index, at in enumerate(table["operators"])
        )
        if self.names and table.where == _FIRST and len(self.names) == len(ops):
            ops = tuple(replace(op, name=name) for op, name in zip(ops, self.names, strict=True))
        inputs, outputs = (self.indices(table, name, len(tensors)) for name in ("inputs", "outputs"))
        return FileSubgraph(table["name"], tensors, inputs, outputs, ops)

    def indices(self, table: Table, name: str, count: int, lowest: int = 0) -> tuple[int, ...]:
        found = table[name]
        if found.size and not lowest <= found.min() <= found.max() < count:
            bad = found[(found < lowest) | (found >= count)][0]
            raise table.error(f"{name}: expected indices of {count} tensors, got {bad}")
        return tuple(found.tolist())

    def tensor(self, table: Table, index: int) -> FileTensor:
        name = table["name"]
        table = table.called(f"{table.where} {quoted(name)}")
        shape, signature = (self.sizes(table, key) for key in ("shape", "shape_signature"))
        if any(size < 0 for size in shape) or prod(shape) > MOST_ELEMENTS:
            raise table.error(
                f"shape: expected sizes from 0 with a product up to {MOST_ELEMENTS:,}, got {_sizes(shape)}"
            )
        if signature and len(signature) != len(shape):
            raise table.error(f"shape_signature: expected {len(shape)} sizes, got {_sizes(signature)}")
        type_ = _named(schema.TYPES, table["type"], "type")
        sparse = table["sparsity"] is not None
        scale, zero_point, axis = np.empty(0, np.float32), np.empty(0, np.int64), 0
        if (at := table["quantization"]) is not None:
            given = self.file.table(at, schema.QUANTIZATION, f"{table.where}: quantization")
            scale, zero_point, axis = given["scale"], given["zero_point"], given["quantized_dimension"]
        return FileTensor(
            index,
            name,
            shape,
            signature or shape,
            type_,
            scale,
            zero_point,
            axis,
            self.data(table, shape, None if sparse else _dtype(type_)),
            table["is_variable"],
            sparse,
        )

    def sizes(self, table: Table, name: str) -> tuple[int, ...]:
        found = table[name]
        if len(found) > MOST_DIMENSIONS:
            raise table.error(f"{name}: expected at most {MOST_DIMENSIONS} dimensions, got {len(found)}")
        return tuple(found.tolist())

    def data(self, table: Table, shape: tuple[int, ...], dtype: np.dtype | None) -> np.ndarray | None:
        number = table["buffer"]
        if number >= max(len(self.buffers), 1):
            raise table.error(f"buffer: expected one of {len(self.buffers)} buffers, got {number}")
        start, size = self.span(number)
        if not size:
            return None
        if dtype is None:
            return np.frombuffer(self.content, np.uint8, size, start)
        if size != prod(shape) * dtype.itemsize:
            raise table.error(
                f"data: expected {prod(shape) * dtype.itemsize:,} bytes for {_sizes(shape)} of {dtype}, got {size:,}"
            )
        found = np.frombuffer(self.content, dtype.newbyteorder("<"), prod(shape), start).reshape(shape)
        if not found.flags.aligned or not found.dtype.isnative or dtype.kind == "b":
            # Many tensors may share a buffer.
            self.copied += size
            if self.copied > 2 * len(self.content):
                raise table.error(
                    "data: expected buffers at multiples of their elements' size, got too many that are not"
                )
            found = np.asarray(found.view(np.uint8) != 0) if dtype.kind == "b" else found.astype(dtype)
            found.flags.writeable = False
        return found

    def span(self, number: int) -> tuple[int, int]:
        """Where the bytes of a buffer are."""
        if number not in self.spans:
            if not self.buffers:
                return 0, 0
            table = self.file.table(self.buffers[number], schema.BUFFER, f"buffer {number}")
            start, size = table["data"]
            # Beyond 2 GiB, offsets from the file's start; 0 and 1 say that there is nothing.
            if not size and table["offset"] > 1:
                start, size = table["offset"], table["size"]
                self.file.inside(start, size, table.where, "data")
            self.spans[number] = start, size
        return self.spans[number]

    def op(self, table: Table, index: int, count: int) -> FileOp:
        number = table["opcode_index"]
        if number >= len(self.codes):
            raise table.error(f"opcode_index: expected one of {len(self.codes)} operator codes, got {number}")
        code, version, custom = self.codes[number]
        table = table.called(f"{table.where} ({_code_text(code, custom)})")
        inputs, outputs = self.indices(table, "inputs", count, -1), self.indices(table, "outputs", count)
        return FileOp(index, code, version, custom, inputs, outputs, self.options(table, code))

    def options(self, table: Table, code: str) -> Mapping[str, Any]:
        if code not in schema.OPTIONS:
            return MappingProxyType({})
        number, fields = schema.OPTIONS[code]
        at, given = table["builtin_options"], table["builtin_options_type"]
        if at is None or given == 0:
            return MappingProxyType(dict(self.file.absent(fields).items()))
        if given != number:
            raise table.error(f"builtin_options_type: expected {number} or 0, got {given}")
        return MappingProxyType(dict(self.file.table(at, fields, f"{table.where}: options").items()))

    def signature(self, table: Table, subgraphs: tuple[FileSubgraph, ...]) -> FileSignature:
        number = table["subgraph_index"]
        if number >= len(subgraphs):
            raise table.error(f"subgraph_index: expected one of {len(subgraphs)} subgraphs, got {number}")
        count = len(subgraphs[number].tensors)
        inputs, outputs = (self.tensor_map(table, name, count) for name in ("inputs", "outputs"))
        return FileSignature(table["signature_key"], number, inputs, outputs)

    def tensor_map(self, table: Table, name: str, count: int) -> Mapping[str, int]:
        found = {}
        for at in table[name]:
            entry = self.file.table(at, schema.TENSOR_MAP, f"{table.where}: {name}")
            if entry["tensor_index"] >= count:
                raise entry.error(f"tensor_index: expected an index of {count} tensors, got {entry['tensor_index']}")
            found[entry["name"]] = entry["tensor_index"]
        return MappingProxyType(found)
