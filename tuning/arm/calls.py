# SPDX-License-Identifier: Apache-2.0
"""Calls of CMSIS-NN functions as C code has them: found in source text, their scalar arguments evaluated."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cmsisnn_x import cmsis

from ..base import yaml_file
from ..base.errors import OptionError
from ..base.files import read_bytes

LARGEST_SOURCE = 1 << 22
"""Bytes of a C file; weights in headers are long."""
_NAMES = tuple(name for name in cmsis.__all__ if name.startswith("arm_"))
_ENUM = {"ARM_SIGMOID": cmsis.ARM_SIGMOID, "ARM_TANH": cmsis.ARM_TANH}
_COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)
_DEFINE = re.compile(r"^[ \t]*#[ \t]*define[ \t]+(\w+)[ \t]+(\S[^\n]*)", re.MULTILINE)
_CALL = re.compile(rf"\b({'|'.join(sorted(_NAMES, key=len, reverse=True))})\s*\(")
_SUFFIX = re.compile(r"\b(0[xX][0-9a-fA-F]+|\d+)[uUlL]+\b")
_CAST = re.compile(r"\(\s*(?:const\s+)?(?:unsigned|int|long|short|char|size_t|u?int\d+_t|q7_t|q15_t)\s*\)")
# A prototype or definition: types before the names.
_DECLARED = re.compile(r"^\s*(?:const\s+)?(?:u?int\d+_t|q7_t|q15_t|q31_t|arm_\w+_type)\b\s*(?:\*|\w)")
_OPERATORS: Mapping[type[ast.AST], Callable[..., int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.LShift: operator.lshift,
    ast.RShift: operator.rshift,
    ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_,
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
}


@dataclass(frozen=True)
class Call:
    """A call: where it stands, and its scalar arguments, or why they are not known."""

    where: str
    function: str
    numbers: Mapping[str, int]
    problem: str | None = None


def parse_call(text: str) -> Call:
    """Read one call, with Arm's argument names or in C's order.

    Parameters
    ----------
    text : str
        ``"arm_relu_q7(size=64)"``: every scalar argument by name; or ``"arm_relu_q7(buffer, 64)"``: all arguments in
        order, where arrays may be anything.

    Raises
    ------
    OptionError
        Not a call of one of the 31 functions, or an argument that is missing, unknown or no integer.

    Examples
    --------
    >>> parse_call("arm_relu_q7(buffer, 8*8*32)").numbers
    {'size': 2048}
    """
    match = re.match(r"\s*(\w+)\s*\((.*)\)\s*;?\s*$", text, re.DOTALL)
    if not match:
        raise OptionError(f"--call: expected FUNCTION(ARGUMENT, ...), got {text!r}")
    name, inside = match[1], match[2]
    if name not in _NAMES:
        raise OptionError(f"--call: no CMSIS-NN 5.4.0 function is called {name!r}; {yaml_file.suggest(name, _NAMES)}")
    call = _read(name, inside, "--call", {})
    if call.problem:
        raise OptionError(f"--call: {name}: {call.problem}")
    return call


def read_sources(paths: Sequence[Path]) -> list[Call]:
    """Every call of a CMSIS-NN function in C or C++ files, in order; ``#define`` of integers count in all of them.

    Raises
    ------
    OptionError
        A file cannot be read, or there is no call in any of them.
    """
    texts = {}
    for path in paths:
        try:
            texts[path] = _COMMENT.sub(_blank, read_bytes(path, LARGEST_SOURCE).decode("utf-8", errors="replace"))
        except (OSError, ValueError) as problem:
            raise OptionError(f"--source: {path}: {getattr(problem, 'strerror', None) or problem}") from None
    defines = {name: value for text in texts.values() for name, value in _DEFINE.findall(text.replace("\\\n", "  "))}
    found = [call for path, text in texts.items() for call in _calls(path, text, defines)]
    if not found:
        names = ", ".join(str(path) for path in paths)
        raise OptionError(f"--source: {names}: no call of a CMSIS-NN 5.4.0 function")
    return found


def _blank(match: re.Match[str]) -> str:
    """A comment's place: its line breaks keep the line numbers right."""
    return "\n" * match[0].count("\n") or " "


def _calls(path: Path, text: str, defines: Mapping[str, str]) -> Iterator[Call]:
    for match in _CALL.finditer(text):
        inside = _balanced(text, match.end())
        if inside is None or _DECLARED.match(inside):
            continue
        line = text.count("\n", 0, match.start()) + 1
        yield _read(match[1], inside, f"{path}:{line}", defines)


def _balanced(text: str, start: int) -> str | None:
    depth = 1
    for at in range(start, len(text)):
        depth += {"(": 1, ")": -1}.get(text[at], 0)
        if not depth:
            return text[start:at]
    return None


def _split(text: str) -> list[str]:
    """The arguments: text between commas outside brackets."""
    parts, depth, start = [], 0, 0
    for at, char in enumerate(text):
        depth += {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}.get(char, 0)
        if char == "," and not depth:
            parts.append(text[start:at].strip())
            start = at + 1
    last = text[start:].strip()
    return [*parts, last] if last or parts else []


def _read(function: str, inside: str, where: str, defines: Mapping[str, str]) -> Call:
    names, scalars = cmsis.argument_names(function), cmsis.scalar_names(function)
    given = _split(inside)
    named = [re.match(r"(\w+)\s*=(?!=)\s*(.+)$", part, re.DOTALL) for part in given]
    texts: dict[str, str] = {}
    if given and all(named):
        for match in named:
            assert match is not None
            if match[1] not in names:
                return Call(
                    where, function, {}, f"no argument is called {match[1]!r}; {yaml_file.suggest(match[1], names)}"
                )
            if match[1] in texts:
                return Call(where, function, {}, f"{match[1]}: given twice")
            texts[match[1]] = match[2]
        if missing := [name for name in scalars if name not in texts]:
            return Call(where, function, {}, f"{', '.join(missing)}: missing")
    elif any(named):
        return Call(where, function, {}, "expected every argument by name, or all in order without names")
    elif len(given) != len(names):
        return Call(where, function, {}, f"expected {len(names)} arguments ({', '.join(names)}), got {len(given)}")
    else:
        texts = dict(zip(names, given, strict=True))
    numbers = {}
    for name in scalars:
        try:
            numbers[name] = evaluate(texts[name], defines)
        except ValueError as problem:
            return Call(where, function, {}, f"{name}: {problem}")
    return Call(where, function, numbers)


def evaluate(text: str, defines: Mapping[str, str], seen: tuple[str, ...] = ()) -> int:
    """An integer constant expression of C.

    Raises
    ------
    ValueError
        It is none: what stands in the way.

    Examples
    --------
    >>> evaluate("(uint16_t)(SIDE * SIDE / 2u)", {"SIDE": "0x10"})
    128
    """
    plain = _SUFFIX.sub(r"\1", _CAST.sub("", text)).replace("/", "//").strip()
    try:
        tree = ast.parse(plain, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ValueError(f"expected an integer, got {text.strip()!r}") from None

    def value(node: ast.AST) -> int:
        if isinstance(node, ast.Constant) and type(node.value) is int:
            return node.value
        if isinstance(node, ast.Name):
            if node.id in _ENUM:
                return _ENUM[node.id]
            if node.id in seen:
                raise ValueError(f"{node.id} is defined by itself")
            if node.id not in defines:
                raise ValueError(f"{node.id} is no integer, and no #define that was given says what it is")
            return evaluate(defines[node.id], defines, (*seen, node.id))
        if isinstance(node, ast.BinOp | ast.UnaryOp) and (operate := _OPERATORS.get(type(node.op))):
            sides = [node.left, node.right] if isinstance(node, ast.BinOp) else [node.operand]
            values = [value(side) for side in sides]
            if isinstance(node.op, ast.LShift | ast.RShift) and not 0 <= values[1] < 64:
                raise ValueError(f"a shift by {values[1]}")
            try:
                return operate(*values)
            except ZeroDivisionError:
                raise ValueError("a division by zero") from None
        raise ValueError(f"expected an integer, got {text.strip()!r}")

    try:
        return value(tree)
    except RecursionError:
        raise ValueError(f"too many operators in {text.strip()[:40]!r}...") from None
