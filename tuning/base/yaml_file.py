# SPDX-License-Identifier: Apache-2.0
"""YAML as plain values plus the line of every key, and nothing that a configuration file does not need.

Scalars follow YAML 1.2's core schema (``no`` and ``010`` are text), so that a layer may be called `on`. Tags,
anchors and aliases are refused: they could only construct objects or blow up in memory.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from .errors import TuningError
from .files import is_pipe

MAX_FILE_BYTES = 1 << 20
MAX_DEPTH = 20

Key = tuple[str | int, ...]

_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NAMED = {
    "": None,
    "~": None,
    "null": None,
    "Null": None,
    "NULL": None,
    "true": True,
    "True": True,
    "TRUE": True,
    "false": False,
    "False": False,
    "FALSE": False,
}


@dataclass(frozen=True)
class Document:
    """A parsed file: `data`, and `lines[path]`, the 1-based line of the key or item at that path."""

    name: str
    data: Any
    lines: dict[Key, int]

    def where(self, key: Key) -> str:
        """``file:line`` of `key`, or of the nearest enclosing one; the name alone where there are no lines."""
        if not self.lines:
            return self.name
        while key and key not in self.lines:
            key = key[:-1]
        return f"{self.name}:{self.lines.get(key, 1)}"

    def message(self, key: Key, text: str) -> str:
        """``file:line: key: text``."""
        spelled = spell(key)
        return f"{self.where(key)}: {spelled + ': ' if spelled else ''}{text}"


def spell(key: Key) -> str:
    """A path as people write it.

    >>> spell(("layers", 2, "kernel"))
    'layers[2].kernel'
    """
    text = ""
    for part in key:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def suggest(word: object, known: Iterable[str]) -> str:
    """A clause that names the closest known word, or all of them.

    >>> suggest("kernal", ["kernel", "stride"])
    "did you mean 'kernel'?"
    >>> suggest("xyz", ["kernel", "stride"])
    'expected one of: kernel, stride'
    """
    known = sorted(known)
    if isinstance(word, str) and (close := difflib.get_close_matches(word.lower(), known, n=1)):
        return f"did you mean '{close[0]}'?"
    return f"expected one of: {', '.join(known)}"


def read(path: Path, error: type[TuningError], name: str | None = None) -> Document:
    """Parse the file at `path`.

    Raises
    ------
    TuningError
        Of class `error`: no such file, not UTF-8, not YAML, duplicate keys, tags, aliases, too deep or too large.
    """
    shown = name or str(path)
    if is_pipe(path):
        raise error(f"{shown}: expected a YAML file, got a pipe")
    try:
        with path.open("rb") as stream:
            raw = stream.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        raise error(f"{shown}: no such file") from None
    except IsADirectoryError:
        raise error(f"{shown}: expected a YAML file, got a directory") from None
    except (OSError, ValueError) as problem:
        why = getattr(problem, "strerror", None) or problem
        raise error(f"{shown}: cannot be read: {why}") from None
    if len(raw) > MAX_FILE_BYTES:
        raise error(f"{shown}: expected a YAML file of at most {MAX_FILE_BYTES} bytes, got a larger one")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        line = raw.count(b"\n", 0, problem.start) + 1
        raise error(f"{shown}:{line}: expected UTF-8 text, got byte 0x{raw[problem.start]:02x}") from None
    return parse(text, shown, error)


def parse(text: str, name: str, error: type[TuningError]) -> Document:
    """Parse `text`; `name` stands for the file in messages."""
    lines: dict[Key, int] = {}

    def stop(mark: yaml.Mark | None, problem: str) -> TuningError:
        return error(f"{name}:{mark.line + 1 if mark else 1}: {problem}")

    def check_text(node: yaml.ScalarNode) -> None:
        # A lone surrogate can be escaped in YAML, but neither printed nor written to any file.
        if any("\ud800" <= c <= "\udfff" for c in node.value):
            raise stop(node.start_mark, f"expected text, got {node.value!r}")

    def value(node: yaml.Node, path: Key) -> Any:
        lines.setdefault(path, node.start_mark.line + 1)
        if len(path) > MAX_DEPTH:
            raise stop(node.start_mark, f"nested more than {MAX_DEPTH} levels deep")
        if isinstance(node, yaml.ScalarNode):
            check_text(node)
            return scalar(node.value) if node.style is None else node.value
        if isinstance(node, yaml.SequenceNode):
            return [value(item, (*path, index)) for index, item in enumerate(node.value)]
        result: dict[str, Any] = {}
        for key_node, item in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise stop(key_node.start_mark, "expected a plain key, got a list or a mapping")
            check_text(key_node)
            key = key_node.value
            if key in result:
                first = lines[(*path, key)]
                raise stop(key_node.start_mark, f"{spell((*path, key))}: given twice, first in line {first}; keep one")
            lines[(*path, key)] = key_node.start_mark.line + 1
            result[key] = value(item, (*path, key))
        return result

    try:
        node = _Composer(text, stop).get_single_node()
        data = None if node is None else value(node, ())
    except yaml.MarkedYAMLError as problem:
        what = " ".join(part for part in (problem.context, problem.problem) if part)
        raise stop(problem.problem_mark or problem.context_mark, f"not valid YAML: {what}") from None
    except yaml.YAMLError as problem:
        position = getattr(problem, "position", 0)
        line = text.count("\n", 0, position if isinstance(position, int) else 0) + 1
        raise error(f"{name}:{line}: not a text file: {str(problem).splitlines()[0]}") from None
    except RecursionError:
        raise error(f"{name}: nested more than {MAX_DEPTH} levels deep") from None
    return Document(name, data, lines)


def scalar(text: str) -> Any:
    """The value of a plain scalar under YAML 1.2's core schema.

    >>> [scalar(text) for text in ("12", "0x10", "1.5", "true", "no", "64K", "~")]
    [12, 16, 1.5, True, 'no', '64K', None]
    """
    if text in _NAMED:
        return _NAMED[text]
    if _INT.fullmatch(text) and len(text) < 40:
        return int(text, 0) if text[:2] in ("0x", "0o") else int(text)
    if _FLOAT.fullmatch(text) and len(text) < 40:
        return float(text)
    return text


class _Composer(yaml.SafeLoader):
    """Nodes without aliases and tags."""

    def __init__(self, text: str, stop: Any) -> None:
        super().__init__(text)
        self._stop = stop
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise self._stop(event.start_mark, "anchors and aliases are not supported; write the value out")
        if getattr(event, "tag", None) is not None:
            raise self._stop(event.start_mark, f"tag {event.tag!r} is not supported; remove it")
        if self._depth > MAX_DEPTH:
            raise self._stop(event.start_mark, f"nested more than {MAX_DEPTH} levels deep")
        self._depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1
