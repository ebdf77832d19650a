# SPDX-License-Identifier: Apache-2.0
"""One evaluation, and a line of an exported file, which may be a stranger's: what of it cannot be is refused."""

from __future__ import annotations

import hashlib
import json
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from ..base.errors import OptionError
from ..base.units import LONGEST_LINE, line_problem
from ..schemas import published
from ..schemas.check import first_problem

LINE_SCHEMA = "record-1"


@dataclass(frozen=True)
class Record:
    """One evaluation.

    Attributes
    ----------
    key : str
        SHA-256 of `about`.
    created : str
        When, in ISO 8601 and UTC.
    about : dict
        Everything that the result depends on: digests of kernel sources and of layer parameters, variant, target,
        compiler, flags. Empty for entries whose key is not derived from it.
    content : dict
        The result, or the failure.
    """

    key: str
    created: str
    about: dict[str, Any]
    content: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """A line of an exported file."""
        return {"schema": LINE_SCHEMA, "key": self.key, "created": self.created, "about": self.about} | {
            "result": self.content
        }


def key_of(about: Mapping[str, Any]) -> str:
    """The key of an evaluation: a digest of what it is about."""
    return hashlib.sha256(json.dumps(about, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


FIELDS: dict[str, type | tuple[type, ...]] = {"key": str, "created": str, "about": dict, "result": dict}
RESULT: dict[str, type | tuple[type, ...]] = {
    "cycles": int,
    "instructions": int,
    "code_bytes": int,
    "stack_bytes": int,
    "failure": (str, type(None)),
    "problem": (str, type(None)),
}


def parse_line(line: str, where: str) -> Record:
    """A line of an exported file.

    Raises
    ------
    OptionError
        It is none.
    """
    try:
        item = json.loads(line)
    except (ValueError, RecursionError) as problem:
        raise OptionError(f"{where}: expected a line of JSON, got {line.strip()[:40]!r} ({problem})") from None
    if not isinstance(item, dict) or item.get("schema") != LINE_SCHEMA:
        found = item.get("schema") if isinstance(item, dict) else type(item).__name__
        raise OptionError(f"{where}: expected a record with schema {LINE_SCHEMA!r}, got {reprlib.repr(found)}")
    _check_fields(item, {"schema": str} | FIELDS, where, "")
    _check_fields(item["result"], RESULT, where, "result.")
    if item["key"] != key_of(item["about"]):
        got = reprlib.repr(item["key"])
        raise OptionError(f"{where}: key: expected the digest of `about`, {key_of(item['about'])}, got {got}")
    if wrong := first_problem(_schema(), item) or about_problem(item["about"]):
        raise OptionError(f"{where}: {wrong}")
    if len((item["result"]["problem"] or "").splitlines()) > 1:
        got = reprlib.repr(item["result"]["problem"])
        raise OptionError(f"{where}: result.problem: expected one line, got {got}")
    try:
        datetime.fromisoformat(item["created"])
    except ValueError:
        raise OptionError(f"{where}: created: expected a date in ISO 8601, got {item['created'][:40]!r}") from None
    return Record(item["key"], item["created"], item["about"], item["result"])


def _check_fields(item: Mapping[str, Any], fields: Mapping[str, Any], where: str, prefix: str) -> None:
    if problem := _fields_problem(item, fields, prefix):
        raise OptionError(f"{where}: {problem}")


def _fields_problem(item: Mapping[str, Any], fields: Mapping[str, Any], prefix: str) -> str | None:
    for name, kind in fields.items():
        if name not in item:
            return f"{prefix}{name} is missing"
        value = item[name]
        is_count = not isinstance(value, int) or 0 <= value < 2**63
        if not isinstance(value, kind) or isinstance(value, bool) or not is_count:
            return f"{prefix}{name}: got {reprlib.repr(value)}, which cannot be"
    if unknown := sorted(item.keys() - fields.keys()):
        name = unknown[0] if unknown[0].isprintable() else repr(unknown[0])
        return f"{prefix}{name[:LONGEST_LINE]}: unknown; expected {', '.join(fields)}"
    return None


def result_problem(content: Mapping[str, Any]) -> str | None:
    """What of a record's result cannot be; ``None`` if nothing."""
    return _fields_problem(content, RESULT, "result.")


@cache
def _schema() -> dict[str, Any]:
    return published(LINE_SCHEMA)


LONGEST_NAME = 100
"""Of an operation: a kernel's header is called so."""


def about_problem(about: Mapping[str, Any]) -> str | None:
    """What of a record's `about` cannot be: it is printed, and names the headers of kernels; ``None`` if nothing."""
    for key in ("op", "core", "compiler"):
        if problem := line_problem(about.get(key)):
            return f"about.{key}: {problem}"
    layer = about.get("layer")
    if not isinstance(layer, dict):
        return f"about.layer: expected an object, got {reprlib.repr(layer)}"
    pool, kernels = layer.get("pool"), layer.get("kernels", [])
    if not isinstance(pool, dict | None):
        return f"about.layer.pool: expected an object, got {reprlib.repr(pool)}"
    named = {"about.op": [about["op"]], "about.layer.kernels": kernels}
    named["about.layer.pool.op"] = [pool.get("op")] if pool else []
    for key, names in named.items():
        if not isinstance(names, list) or not all(map(_is_operation, names)):
            return f"{key}: expected names of operations, got {reprlib.repr(names)}"
    return None


def _is_operation(name: Any) -> bool:
    return isinstance(name, str) and name.isidentifier() and len(name) <= LONGEST_NAME
