# SPDX-License-Identifier: Apache-2.0
"""The part of JSON Schema that the published schemas use, so that reading a file needs no further package."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Callable, Iterator
from typing import Any

_TYPES: dict[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "integer": lambda value: (
        (isinstance(value, int) and not isinstance(value, bool)) or (isinstance(value, float) and value.is_integer())
    ),
}


def first_problem(schema: dict[str, Any], value: Any) -> str | None:
    """``key: expected ..., got ...`` of the first place where `value` leaves `schema`; ``None`` if nowhere.

    Keys that the schema does not know are no problem: a later version may have written them.

    >>> first_problem({"type": "object", "required": ["name"]}, {})
    'name: missing'
    >>> first_problem({"items": {"type": "integer", "minimum": 0}}, [1, -1])
    '[1]: expected at least 0, got -1'
    """
    return next(_problems(schema, value, "", schema), None)


def _problems(schema: dict[str, Any], value: Any, at: str, root: dict[str, Any]) -> Iterator[str]:
    while "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rpartition("/")[2]]

    def wrong(expected: object) -> str:
        return f"{at.lstrip('.') or 'the file'}: expected {expected}, got {reprlib.repr(value)}"

    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(_TYPES[kind](value) for kind in kinds):
        yield wrong(" or ".join(kinds))
        return
    if "const" in schema and value != schema["const"]:
        yield wrong(repr(schema["const"]))
    if "enum" in schema and value not in schema["enum"]:
        yield wrong("one of " + ", ".join(map(str, schema["enum"])))
    if isinstance(value, str) and not re.search(schema.get("pattern", ""), value):
        yield wrong(f"text like {schema['pattern']}")
    if _TYPES["number"](value):
        low, above, high = (schema.get(key) for key in ("minimum", "exclusiveMinimum", "maximum"))
        # Negated, so that NaN fails them too.
        if low is not None and not value >= low:
            yield wrong(f"at least {low}")
        if above is not None and not value > above:
            yield wrong(f"more than {above}")
        if high is not None and not value <= high:
            yield wrong(f"at most {high}")
    if isinstance(value, list):
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
            yield wrong(f"{schema.get('minItems', 0)} or more items")
        for index, item in enumerate(value):
            yield from _problems(schema.get("items", {}), item, f"{at}[{index}]", root)
    if isinstance(value, dict):
        for name in schema.get("required", ()):
            if name not in value:
                yield f"{at}.{name}: missing".lstrip(".")
        known, others = schema.get("properties", {}), schema.get("additionalProperties")
        for name, item in value.items():
            inner = known.get(name, others if isinstance(others, dict) else {})
            yield from _problems(inner, item, f"{at}.{name if _is_short(name) else reprlib.repr(name)}", root)


def _is_short(name: str) -> bool:
    """Whether a key can stand in a message as it is."""
    return name.isprintable() and len(name) <= 100
