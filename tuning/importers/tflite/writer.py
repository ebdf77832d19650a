# SPDX-License-Identifier: Apache-2.0
"""A network in operators of `.tflite` files as the bytes of one, by the tables that the reader has.

What the reader drops is not there to be written: others' metadata, ranges that were calibrated, compressed tensors.
Read back, the file is the same network.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...base.errors import ModelError
from . import schema
from .file import LARGEST_FILE, FileModel, FileOp, FileSignature, FileSubgraph, FileTensor
from .flatbuffer import Child, Children, Choice, Number, Schema, Span, Text, Vector

BUFFER_ALIGNMENT = 16
"""Of constants, as LiteRT maps them where they lie."""


def write(file: FileModel) -> bytes:
    """The bytes of a `.tflite` file.

    Parameters
    ----------
    file : FileModel
        `content` is not looked at.

    Raises
    ------
    ModelError
        The network holds what the tables of the schema do not say how to write.
    """
    return _Writer(file).content()


class _Writer:
    """Tables one at a time, those that others point to first; equal constants are one buffer."""

    def __init__(self, file: FileModel) -> None:
        from flatbuffers import Builder

        self.file = file
        self.to = Builder(1024)
        self.buffers = [self.table(schema.BUFFER)]  # the first is empty by convention
        self.known: dict[bytes, int] = {}
        self.codes: dict[tuple[str, int, str], int] = {}

    def content(self) -> bytes:
        subgraphs = [self.subgraph(subgraph) for subgraph in self.file.subgraphs]
        signatures = [self.signature(signature) for signature in self.file.signatures]
        codes = [self.code(*code) for code in self.codes]
        metadata = self.metadata(self.file.subgraphs[0])
        model = self.table(
            schema.MODEL, version=schema.VERSION, operator_codes=codes, subgraphs=subgraphs,
            description=self.file.description, buffers=self.buffers, metadata=metadata,
            signature_defs=signatures,
        )  # fmt: skip
        self.to.Finish(model, file_identifier=schema.IDENTIFIER)
        return bytes(self.to.Output())

    def error(self, where: object, text: str) -> ModelError:
        return ModelError(f"{self.file.path}: {where}: {text}")

    def subgraph(self, given: FileSubgraph) -> int:
        return self.table(
            schema.SUBGRAPH, tensors=[self.tensor(tensor) for tensor in given.tensors], inputs=given.inputs,
            outputs=given.outputs, operators=[self.op(op) for op in given.ops], name=given.name,
        )  # fmt: skip

    def metadata(self, given: FileSubgraph) -> list[int]:
        """What layers are to be called; other readers leave it alone."""
        if not any(op.name for op in given.ops):
            return []
        buffer = self.content_of("\n".join(op.name for op in given.ops).encode())
        return [self.table(schema.METADATA, name=schema.LAYER_NAMES, buffer=buffer)]

    def tensor(self, given: FileTensor) -> int:
        if given.is_sparse:
            raise self.error(given, "expected dense data, got sparse ones")
        quantization = None
        if given.scale.size or given.zero_point.size or given.axis:
            quantization = self.table(
                schema.QUANTIZATION, scale=given.scale, zero_point=given.zero_point, quantized_dimension=given.axis
            )
        return self.table(
            schema.TENSOR, shape=given.shape, type=_number(schema.TYPES, given.type, "type"),
            buffer=self.buffer(given), name=given.name, quantization=quantization, is_variable=given.is_variable,
            shape_signature=given.signature if given.signature != given.shape else (),
        )  # fmt: skip

    def buffer(self, tensor: FileTensor) -> int:
        if tensor.data is None or not tensor.data.size:
            return 0
        data = np.ascontiguousarray(tensor.data)
        content = data.astype(data.dtype.newbyteorder("<"), copy=False).tobytes()
        if content not in self.known and self.to.Offset() + len(content) > LARGEST_FILE:
            raise self.error(tensor, f"expected a file of at most {LARGEST_FILE:,} bytes, got more")
        return self.content_of(content)

    def content_of(self, content: bytes) -> int:
        """The buffer with these bytes."""
        if content not in self.known:
            self.known[content] = len(self.buffers)
            self.buffers.append(self.table(schema.BUFFER, data=content))
        return self.known[content]

    def op(self, given: FileOp) -> int:
        fields: dict[str, Any] = {}
        if given.code in schema.OPTIONS:
            number, options = schema.OPTIONS[given.code]
            if unknown := given.options.keys() - options.fields.keys():
                raise self.error(given, f"expected options {', '.join(options.fields)}, got {', '.join(unknown)}")
            fields = {"builtin_options_type": number, "builtin_options": self.table(options, **given.options)}
        elif given.code not in schema.WITHOUT_OPTIONS or given.options:
            raise self.error(given, "expected an operator whose options the schema's tables hold, got another")
        key = given.code, given.version, given.custom
        code = self.codes.setdefault(key, len(self.codes))
        return self.table(schema.OPERATOR, opcode_index=code, inputs=given.inputs, outputs=given.outputs, **fields)

    def code(self, code: str, version: int, custom: str) -> int:
        number = _number(schema.OPERATORS, code, "operator")
        # Readers from before there were more than 127 look at the old field alone.
        old = min(number, schema.OPERATORS.index("PLACEHOLDER_FOR_GREATER_OP_CODES"))
        return self.table(
            schema.OPERATOR_CODE, deprecated_builtin_code=old, custom_code=custom, version=version, builtin_code=number
        )

    def signature(self, given: FileSignature) -> int:
        maps = [
            [self.table(schema.TENSOR_MAP, name=name, tensor_index=index) for name, index in items.items()]
            for items in (given.inputs, given.outputs)
        ]
        return self.table(
            schema.SIGNATURE, inputs=maps[0], outputs=maps[1], signature_key=given.key, subgraph_index=given.subgraph
        )

    # ------------------------------------------------------------ flatbuffers

    def table(self, fields: Schema, /, **values: Any) -> int:
        """A table; of `Child` and `Children` the value is where they are. What is empty or the default is absent."""
        placed = [(*fields.fields[name], value) for name, value in values.items()]
        ready = [(slot, kind, self.behind(kind, value)) for slot, kind, value in placed]
        self.to.StartObject(1 + max((slot for slot, _ in fields.fields.values()), default=-1))
        # The widest first: what is written first lies last, and every number is aligned without gaps.
        for slot, kind, value in sorted(ready, key=lambda one: -one[1].width):
            if isinstance(kind, Number):
                self.to.PrependSlot(_flags(kind), slot, value, kind.default)
            elif isinstance(kind, Choice):
                self.to.PrependUint8Slot(slot, kind.names.index(value), 0)
            elif value:
                self.to.PrependUOffsetTRelativeSlot(slot, value, 0)
        return int(self.to.EndObject())

    def behind(self, kind: object, value: Any) -> Any:
        """What a table may hold of a value: where it is, for those that lie outside."""
        if isinstance(kind, Number | Choice | Child) or value is None or not len(value):
            return value if isinstance(kind, Number | Choice | Child) else None
        if isinstance(kind, Text):
            return self.to.CreateString(value)
        if isinstance(kind, Span):
            return self.bytes(value)
        if isinstance(kind, Vector):
            return self.to.CreateNumpyVector(np.asarray(value, np.dtype(kind.dtype)))
        assert isinstance(kind, Children)
        return self.tables(value)

    def bytes(self, content: bytes) -> int:
        self.to.StartVector(1, len(content), BUFFER_ALIGNMENT)
        self.to.head -= len(content)
        self.to.Bytes[self.to.head : self.to.head + len(content)] = content
        return int(self.to.EndVector())

    def tables(self, places: Sequence[int]) -> int:
        self.to.StartVector(4, len(places), 4)
        for place in reversed(places):
            self.to.PrependUOffsetTRelative(place)
        return int(self.to.EndVector())


def _flags(kind: Number) -> Any:
    """The runtime's description of a number."""
    from flatbuffers import number_types

    name = {"b": "Int8", "B": "Uint8", "i": "Int32", "I": "Uint32", "Q": "Uint64", "f": "Float32", "?": "Bool"}
    return getattr(number_types, f"{name[kind.format[-1]]}Flags")


def _number(names: Sequence[str], name: str, kind: str) -> int:
    """Of a type or operator; the reader calls those without a name `type 30`."""
    return names.index(name) if name in names else int(name.removeprefix(f"{kind} "))
