# SPDX-License-Identifier: Apache-2.0
"""FlatBuffers of strangers: every offset and length is proven to lie inside the file before it is followed.

The format's own runtime trusts what it reads (a negative offset counts from the end, a length is looped over), so the
walk is done here. Where a field lies comes from a `Schema`. Offsets may share tables and texts as often as they like:
what is read in all has a limit, so that no file takes long.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from ...base.errors import ModelError

MOST_TABLES = 1 << 16
"""Read from a file: far above a network for a microcontroller, and about a second."""
MOST_BYTES = 1 << 24
"""Of vectors and texts, without the weights."""


class Kind(Protocol):
    """What a field holds: its bytes in the table, and its value; `at` is ``None`` where the table lacks the field."""

    @property
    def width(self) -> int: ...

    def read(self, file: Flatbuffer, at: int | None, where: str) -> Any: ...


@dataclass(frozen=True)
class Number:
    """A scalar, as :mod:`struct` spells it."""

    format: str
    default: float = 0

    @property
    def width(self) -> int:
        return struct.calcsize(self.format)

    def read(self, file: Flatbuffer, at: int | None, where: str) -> Any:
        value = self.default if at is None else struct.unpack_from(self.format, file.content, at)[0]
        return bool(value) if self.format == BOOL.format else value


@dataclass(frozen=True)
class Choice:
    """A byte that stands for one of `names`."""

    names: Sequence[str]
    width: int = 1

    def read(self, file: Flatbuffer, at: int | None, where: str) -> str:
        number = 0 if at is None else file.content[at]
        if number >= len(self.names):
            raise file.error(where, f"expected one of {', '.join(self.names)}, got number {number}")
        return self.names[number]


@dataclass(frozen=True)
class Vector:
    """An array of a type that NumPy spells so; absent is empty."""

    dtype: str
    width: int = 4

    def read(self, file: Flatbuffer, at: int | None, where: str) -> np.ndarray:
        stored = np.dtype(self.dtype)
        native = stored.newbyteorder("=")
        if at is None:
            return np.empty(0, native)
        start, count = file.vector(at, stored.itemsize, where)
        file.spend(count * stored.itemsize, where)
        return np.frombuffer(file.content, stored, count, start).astype(native)


@dataclass(frozen=True)
class Text:
    """UTF-8; absent is ``""``."""

    width: int = 4

    def read(self, file: Flatbuffer, at: int | None, where: str) -> str:
        if at is None:
            return ""
        start, count = file.vector(at, 1, where)
        file.spend(count, where)
        return file.content[start : start + count].decode(errors="replace")


@dataclass(frozen=True)
class Span:
    """A vector of bytes, as (start, length) in the file."""

    width: int = 4

    def read(self, file: Flatbuffer, at: int | None, where: str) -> tuple[int, int]:
        return (0, 0) if at is None else file.vector(at, 1, where)


@dataclass(frozen=True)
class Child:
    """Where another table is, for `Flatbuffer.table`; absent is ``None``."""

    width: int = 4

    def read(self, file: Flatbuffer, at: int | None, where: str) -> int | None:
        return None if at is None else file.target(at, where)


@dataclass(frozen=True)
class Children:
    """Where the tables of a vector are."""

    width: int = 4

    def read(self, file: Flatbuffer, at: int | None, where: str) -> list[int]:
        if at is None:
            return []
        start, count = file.vector(at, 4, where)
        file.spend(4 * count, where)
        offsets = np.frombuffer(file.content, "<u4", count, start).astype(np.int64)
        found: list[int] = (start + 4 * np.arange(count) + offsets).tolist()
        return found


INT8, UINT8, INT32, UINT32, UINT64 = (Number(f"<{letter}") for letter in "bBiIQ")
FLOAT, BOOL = Number("<f"), Number("<?")


class Schema:
    """The fields of a table in their order, which is where they lie; ``None`` for those that nobody reads."""

    def __init__(self, **fields: Kind | None) -> None:
        self.fields = {name: (slot, kind) for slot, (name, kind) in enumerate(fields.items()) if kind is not None}


class Flatbuffer:
    """The bytes of a file. Every method raises `ModelError` for what would lie outside."""

    def __init__(self, content: bytes, name: str) -> None:
        self.content, self.name = content, name
        self._tables, self._bytes = MOST_TABLES, MOST_BYTES

    def error(self, where: str, text: str) -> ModelError:
        return ModelError(": ".join(filter(None, (self.name, where, text))))

    def table(self, at: int, schema: Schema, where: str = "") -> Table:
        """The table at byte `at`; errors in it say `where`."""
        self._tables -= 1
        if self._tables < 0:
            raise self.error(where, f"expected at most {MOST_TABLES:,} tables, got more: no such network is that large")
        self.inside(at, 4, where, "a table")
        fields = at - struct.unpack_from("<i", self.content, at)[0]
        self.inside(fields, 4, where, "a table's list of fields")
        length, size = struct.unpack_from("<HH", self.content, fields)
        if length < 4 or size < 4:
            raise self.error(where, f"expected a table at byte {at}, got {length} bytes of fields and {size} of values")
        self.inside(fields, length, where, "a table's list of fields")
        self.inside(at, size, where, "a table")
        return Table(self, at, size, fields, length, schema, where)

    def absent(self, schema: Schema) -> Table:
        """A table without any of its fields, which are their defaults."""
        return Table(self, 0, 0, 0, 0, schema, "")

    def target(self, at: int, where: str) -> int:
        """Where the offset at byte `at` points to."""
        self.inside(at, 4, where, "an offset")
        return at + int(struct.unpack_from("<I", self.content, at)[0])

    def vector(self, at: int, width: int, where: str) -> tuple[int, int]:
        """Start and number of the elements, of `width` bytes each, that the offset at byte `at` points to."""
        at = self.target(at, where)
        self.inside(at, 4, where, "a vector")
        count = int(struct.unpack_from("<I", self.content, at)[0])
        self.inside(at + 4, count * width, where, "a vector")
        return at + 4, count

    def spend(self, size: int, where: str) -> None:
        """Count `size` bytes of what may be read in all."""
        self._bytes -= size
        if self._bytes < 0:
            text = f"expected at most {MOST_BYTES:,} bytes without the weights, got more: no such network is that large"
            raise self.error(where, text)

    def inside(self, at: int, size: int, where: str, what: str) -> None:
        """Refuse `what`, of `size` bytes at byte `at`, unless the file has them."""
        if at < 0 or at + size > len(self.content):
            total = f"{len(self.content):,} bytes"
            why = "the file is cut off, or damaged" if at >= 0 else "the file is damaged"
            raise self.error(where, f"expected {what} inside the file of {total}, got {size:,} bytes at {at:,}: {why}")


@dataclass(frozen=True, eq=False)
class Table:
    """One table: its fields by name, with the defaults of the schema."""

    file: Flatbuffer
    at: int
    size: int
    fields: int
    length: int
    schema: Schema
    where: str

    def __getitem__(self, name: str) -> Any:
        slot, kind = self.schema.fields[name]
        where = f"{self.where}: {name}" if self.where else name
        return kind.read(self.file, self._place(slot, kind.width, where), where)

    def items(self) -> Iterator[tuple[str, Any]]:
        """All fields, vectors as tuples."""
        for name in self.schema.fields:
            value = self[name]
            yield name, tuple(value.tolist()) if isinstance(value, np.ndarray) else value

    def place(self, name: str) -> int | None:
        """Where a field lies in the file; ``None`` if the table lacks it."""
        slot, kind = self.schema.fields[name]
        return self._place(slot, kind.width, self.where)

    def called(self, where: str) -> Table:
        """The same table, whose errors say `where`."""
        return replace(self, where=where)

    def error(self, text: str) -> ModelError:
        return self.file.error(self.where, text)

    def _place(self, slot: int, width: int, where: str) -> int | None:
        entry = 4 + 2 * slot
        if entry + 2 > self.length:
            return None
        offset = int(struct.unpack_from("<H", self.file.content, self.fields + entry)[0])
        if offset == 0:
            return None
        if offset < 4 or offset + width > self.size:
            text = f"expected {width} bytes inside a table of {self.size}, got them at {offset}"
            raise self.file.error(where, text)
        return self.at + offset
