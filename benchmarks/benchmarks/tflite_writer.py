# SPDX-License-Identifier: Apache-2.0
"""`.tflite` files of int8, written by the tables that the reader has: no other package is needed."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tuning.importers import tflite_schema as schema
from tuning.importers.flatbuffer import Child, Children, Choice, Number, Schema, Span, Text, Vector

OPERATOR_VERSIONS = {"RESHAPE": 1, "ADD": 2}
"""The others' is 3."""
BUFFER_ALIGNMENT = 16

Fields = Mapping[str, Any]
Placed = tuple[Schema, Fields]
"""A table: its fields by name."""


def flatbuffer(root: Placed, identifier: bytes) -> bytes:
    """What a table points to comes behind it, as offsets have no sign."""
    content = bytearray(8)
    content[4:8] = identifier
    struct.pack_into("<I", content, 0, _table(content, *root))
    return bytes(content)


def _pad(content: bytearray, alignment: int, ahead: int = 0) -> int:
    """The end, once what comes `ahead` bytes behind it is aligned."""
    content += bytes(-(len(content) + ahead) % alignment)
    return len(content)


def _table(content: bytearray, fields: Schema, values: Fields) -> int:
    kinds = {name: fields.fields[name] for name in values}
    offsets = [0] * (1 + max((slot for slot, _ in kinds.values()), default=-1))
    size = 4
    # The widest first, so that every number is aligned.
    for slot, kind in sorted(kinds.values(), key=lambda one: -one[1].width):
        offsets[slot] = size
        size += kind.width
    slots = struct.pack(f"<{len(offsets)}H", *offsets)
    start = _pad(content, 4, 4 + len(slots))
    content += struct.pack("<HH", 4 + len(slots), size) + slots
    table = len(content)
    content += struct.pack("<i", table - start) + bytes(size - 4)
    for name, value in values.items():
        slot, kind = kinds[name]
        place = table + offsets[slot]
        if isinstance(kind, Number):
            struct.pack_into(kind.format, content, place, value)
        elif isinstance(kind, Choice):
            content[place] = kind.names.index(value)
        else:
            struct.pack_into("<I", content, place, _behind(content, kind, value) - place)
    return table


def _behind(content: bytearray, kind: object, value: Any) -> int:
    if isinstance(kind, Child):
        return _table(content, *value)
    if isinstance(kind, Children):
        start = _pad(content, 4)
        content += struct.pack("<I", len(value)) + bytes(4 * len(value))
        for place, child in zip(range(start + 4, len(content), 4), value, strict=True):
            struct.pack_into("<I", content, place, _table(content, *child) - place)
        return start
    if isinstance(kind, Text):
        value = value.encode()
    assert isinstance(kind, Text | Span | Vector)
    elements = np.asarray(value, kind.dtype) if isinstance(kind, Vector) else value
    alignment = elements.itemsize if isinstance(kind, Vector) else BUFFER_ALIGNMENT
    start = _pad(content, max(alignment, 4), 4)
    content += struct.pack("<I", len(elements)) + bytes(elements) + bytes(1)
    return start


class Writer:
    """One subgraph, tensor by tensor and operator by operator."""

    def __init__(self) -> None:
        self.tensors: list[Placed] = []
        self.operators: list[Placed] = []
        self.codes: list[str] = []
        self.buffers: list[Placed] = [(schema.BUFFER, {})]

    def tensor(self, name: str, shape: Sequence[int], scales: Sequence[float] = (), zero: int = 0, *, axis: int = 0,
               data: np.ndarray | None = None) -> int:  # fmt: skip
        """int8, or of the type of `data`."""
        quantization = {"scale": scales, "zero_point": [zero] * len(scales), "quantized_dimension": axis}
        kind = "int8" if data is None else data.dtype.name
        fields = {"shape": shape, "type": schema.TYPES.index(kind.upper()), "name": name, "buffer": 0,
                  "quantization": (schema.QUANTIZATION, quantization)}  # fmt: skip
        if data is not None:
            fields["buffer"] = len(self.buffers)
            self.buffers.append((schema.BUFFER, {"data": data.tobytes()}))
        self.tensors.append((schema.TENSOR, fields))
        return len(self.tensors) - 1

    def operator(self, code: str, inputs: Sequence[int], output: int, **fields: object) -> None:
        """`fields` are those of its options."""
        number, options = schema.OPTIONS[code]
        self.codes += [] if code in self.codes else [code]
        self.operators.append((schema.OPERATOR, {
            "opcode_index": self.codes.index(code), "inputs": inputs, "outputs": [output],
            "builtin_options_type": number, "builtin_options": (options, fields),
        }))  # fmt: skip

    def file(self, inputs: Sequence[int], outputs: Sequence[int]) -> bytes:
        codes: list[Placed] = [
            (schema.OPERATOR_CODE, {
                "deprecated_builtin_code": schema.OPERATORS.index(code), "builtin_code": schema.OPERATORS.index(code),
                "version": OPERATOR_VERSIONS.get(code, 3),
            })
            for code in self.codes
        ]  # fmt: skip
        graph = {"tensors": self.tensors, "inputs": inputs, "outputs": outputs, "operators": self.operators}
        model = {"version": schema.VERSION, "operator_codes": codes, "subgraphs": [(schema.SUBGRAPH, graph)],
                 "buffers": self.buffers}  # fmt: skip
        return flatbuffer((schema.MODEL, model), schema.IDENTIFIER)
