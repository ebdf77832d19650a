# SPDX-License-Identifier: Apache-2.0
"""Checks a parsed model file, and says what is wrong with it to the person who wrote that line."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from cmsisnn_x.scheme import SHIFT_MAX

from ..base import yaml_file
from ..base.errors import ModelError
from . import int8_schema, schema
from .schema_fields import Budget, describe

MISSING = ("missing", "union_tag_not_found")
_BRANCH = re.compile(r"(constrained|list|literal|int|function)\b.*[-\[]|int$")


@dataclass(frozen=True, eq=False)
class _Form:
    """One of the two kinds of model files."""

    file: type[BaseModel]
    ops: Mapping[str, type[BaseModel]]
    inner: Mapping[str, type[BaseModel]]
    """Mappings of the file by their first key."""
    other_words: Mapping[str, str]
    """What others call an operation."""

    def unknown(self, tag: object) -> str:
        known = self.other_words.get(str(tag).lower())
        if str(tag) not in self.ops and str(tag) in int8_schema.OPS:
            return "networks of q7 and q15 cannot have it, those of int8 can (input: {dtype: int8})"
        return f"did you mean '{known}'?" if known else yaml_file.suggest(tag, self.ops)


_POW2 = _Form(schema.ModelFile, schema.OPS, {"input": schema.Input, "budget": Budget}, {})
_INT8 = _Form(
    int8_schema.Int8File,
    int8_schema.OPS,
    {"input": int8_schema.Numbers, "budget": Budget},
    int8_schema.OTHER_WORDS,
)


def check_model_file(document: yaml_file.Document) -> schema.ModelFile:
    """The document as a `ModelFile`; the first problem, in file order, as a `ModelError`."""
    checked = _checked(document, _POW2)
    assert isinstance(checked, schema.ModelFile)
    return checked


def check_int8_file(document: yaml_file.Document) -> int8_schema.Int8File:
    """The same of a file with zero points."""
    checked = _checked(document, _INT8)
    assert isinstance(checked, int8_schema.Int8File)
    return checked


def _checked(document: yaml_file.Document, form: _Form) -> BaseModel:
    if not isinstance(document.data, dict):
        raise ModelError(
            document.message(
                (), f"expected a mapping with schema, name, input and layers, got {describe(document.data)}"
            )
        )
    try:
        return form.file.model_validate(document.data)
    except ValidationError as problem:
        errors = problem.errors(include_url=False, include_context=True)
    # A missing key is often a misspelt one, which says more; otherwise the order of the file.
    first = min(errors, key=lambda error: (error["type"] in MISSING, _line(document, _key(error, form)[0])))
    key, text = _explain(first, form)
    more = len(errors) - 1
    tail = f" (and {more} more problem{'s' if more > 1 else ''})" if more else ""
    raise ModelError(document.message(key, text + tail))


def _line(document: yaml_file.Document, key: yaml_file.Key) -> int:
    while key and key not in document.lines:
        key = key[:-1]
    return document.lines.get(key, 1)


def _key(error: Mapping[str, Any], form: _Form) -> tuple[yaml_file.Key, str | None]:
    """Where a pydantic error lies in the file, and the operation of that layer."""
    key: yaml_file.Key = tuple(error["loc"])
    if len(key) > 2 and key[0] == "layers" and key[2] in form.ops:  # pydantic puts the union's tag into the path
        key, op = (*key[:2], *key[3:]), str(key[2])
    else:
        op = None
    if error["type"] != "extra_forbidden":  # nor is a branch of a union a key
        key = tuple(part for part in key if isinstance(part, int) or not _BRANCH.match(part))
    return key, op


def _explain(error: Mapping[str, Any], form: _Form) -> tuple[yaml_file.Key, str]:
    """Where a pydantic error lies in the file, and what it means to the person who wrote that line."""
    key, op = _key(error, form)
    kind, got, context = error["type"], error.get("input"), error.get("ctx", {})
    if kind == "extra_forbidden":
        name = str(key[-1])
        known = _keys(key[:-1], op, form)
        elsewhere = [other for other, cls in form.ops.items() if name in cls.model_fields]
        if op and elsewhere:
            some = ", ".join(elsewhere) if len(elsewhere) < 6 else f"{', '.join(elsewhere[:4])} and others"
            return key, f"{op} has no such key ({some} do); remove it"
        return key, f"unknown key; {yaml_file.suggest(name, known)}"
    if kind == "missing":
        return key, f"missing; {_EXPECTED.get(str(key[-1]), 'give it a value')}"
    if kind == "union_tag_invalid":
        tag = got.get("op") if isinstance(got, dict) else got
        return (*key, "op"), f"unknown operation {describe(tag)}; {form.unknown(tag)}"
    if kind == "union_tag_not_found":
        return (*key, "op"), f"missing; expected one of: {', '.join(form.ops)}"
    if kind in ("int_type", "int_parsing", "int_from_float"):
        return key, f"expected an integer, got {describe(got)}"
    if kind in ("greater_than_equal", "less_than_equal"):
        field = form.ops[op].model_fields.get(str(key[-1])) if op else None
        bounds = {type(m).__name__: m for m in (field.metadata if field else [])}
        low, high = getattr(bounds.get("Ge"), "ge", None), getattr(bounds.get("Le"), "le", None)
        words = {"ge": "of at least", "le": "of at most"}
        wanted = f"in {low}..{high}" if low is not None else " ".join(f"{words[k]} {v}" for k, v in context.items())
        return key, f"expected an integer {wanted}, got {describe(got)}"
    if kind == "string_type":
        quote = f"; write it in quotes: '{got}'" if isinstance(got, int | float | bool) else ""
        return key, f"expected text, got {describe(got)}{quote}"
    if kind == "bool_type":
        return key, f"expected true or false, got {describe(got)}"
    if kind == "literal_error":
        if key == ("schema",):
            return key, f"expected 1, got {describe(got)}; this version reads schema 1 only"
        wanted = str(context.get("expected", "")).replace("'", "").replace(" or ", ", ")
        if key == ("input", "dtype"):
            wanted = ", ".join(("q7", "q15", *int8_schema.DTYPES))
        return key, f"expected one of: {wanted}; got {describe(got)}"
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        return key, f"expected a mapping, got {describe(got)}"
    if kind == "list_type":
        return key, f"expected a list, got {describe(got)}"
    if kind in ("too_short", "too_long"):
        what = "layer" if key == ("layers",) else "item"
        if kind == "too_short" and context.get("min_length") == 1:
            return key, f"expected at least one {what}, got none"
        bound = f"at least {context['min_length']}" if kind == "too_short" else f"at most {context['max_length']}"
        return key, f"expected {bound} {what}s, got {context.get('actual_length')}"
    if kind in ("float_type", "finite_number", "greater_than"):
        above = f" above {context['gt']:g}" if "gt" in context else ""
        return key, f"expected a finite number{above}, got {describe(got)}"
    return key, str(error["msg"])


_EXPECTED = {
    "schema": "write 'schema: 1'",
    "name": "expected a C identifier",
    "input": "expected for example {shape: [32, 32, 3], dtype: q7}",
    "layers": "expected a list of layers",
    "kernel": "expected an integer or [y, x]",
    "out_shift": f"expected an integer in 0..{SHIFT_MAX}",
    "int_bits": "expected an integer in 0..3",
    "out_channels": "expected an integer",
    "out_features": "expected an integer",
    "shape": "expected [h, w, c] or [n]",
    "alpha": "expected the factor below 0, such as 0.1",
    "axes": "expected axes, such as [0, 1]",
    "paddings": "expected [before, after] of every axis",
    "perm": "expected the axes in their new order",
    "size": "expected [height, width]",
    "indices": "expected indices of the axis",
}


def _keys(parent: yaml_file.Key, op: str | None, form: _Form) -> list[str]:
    cls = form.file if not parent else form.inner.get(str(parent[0]), form.file)
    if op:
        cls = form.ops[op]
    elif len(parent) > 1 and parent[0] in ("inputs", "constants"):
        cls = int8_schema.Numbers
    return [field.alias or name for name, field in cls.model_fields.items()]
