# SPDX-License-Identifier: Apache-2.0
"""Small functions from values to C text. Whole files are templates; this is what the templates cannot say well."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

from tuning.base.names import KEYWORDS

NUMBERS_PER_LINE = {1: 16, 2: 12, 4: 8}
"""By bytes of an element: no line gets longer than 100 characters."""
_BYTES = [str(number) for number in (*range(128), *range(-128, 0))]  # a negative index counts from the end
C_TYPES = {
    np.dtype(np.int8): "int8_t",
    np.dtype(np.uint8): "uint8_t",
    np.dtype(np.int16): "int16_t",
    np.dtype(np.int32): "int32_t",
}


def check_identifier(name: object, what: str = "name", longest: int | None = None) -> str:
    """Return `name` if it can be a C and C++ identifier.

    Parameters
    ----------
    name : object
        What the model or the plan calls the thing.
    what : str
        How the message calls it.
    longest : int, optional
        Most characters allowed. Names made of several are longer than C promises to tell apart; GCC and Clang do.

    Raises
    ------
    ValueError
        Not a string, not an ASCII identifier, too long, or a keyword.

    Examples
    --------
    >>> check_identifier("conv1")
    'conv1'
    >>> check_identifier("class", "layer name")
    Traceback (most recent call last):
    ...
    ValueError: layer name: expected a C identifier, got the keyword 'class'; choose another name
    """
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise ValueError(f"{what}: expected a C identifier (letters, digits and _, no digit first), got {name!r}")
    if longest is not None and len(name) > longest:
        raise ValueError(f"{what}: expected at most {longest} characters, got {len(name)} in {name!r}")
    if name in KEYWORDS:
        raise ValueError(f"{what}: expected a C identifier, got the keyword {name!r}; choose another name")
    return name


def string_text(text: str) -> str:
    """A string literal of the UTF-8 bytes of `text`; what is not plain is written in octal, three digits as no more.

    Examples
    --------
    >>> print(string_text('cat "a"'), string_text("blé?"))
    "cat \\042a\\042" "bl\\303\\251\\077"
    """
    plain = (chr(byte) if 32 <= byte < 127 and chr(byte) not in '"\\?%' else f"\\{byte:03o}" for byte in text.encode())
    return f'"{"".join(plain)}"'


def macro(name: str, value: int | str) -> str:
    """One object-like macro; a negative number is put in parentheses so that it stays one operand.

    Examples
    --------
    >>> macro("NET_CONV1_IN_H", 32)
    '#define NET_CONV1_IN_H 32'
    >>> macro("NET_OFFSET", -1)
    '#define NET_OFFSET (-1)'
    """
    text = f"({value})" if isinstance(value, int) and value < 0 else value
    return f"#define {check_identifier(name, 'macro')} {text}"


def macros(values: Mapping[str, int | str], notes: Mapping[str, str] | None = None) -> str:
    """The macros of a mapping, in its order, values in one column; `notes`, fit for a comment, stand behind some.

    Examples
    --------
    >>> print(macros({"A_IN_H": 8, "A_STRIDE_X": 2}, {"A_IN_H": "rows"}))
    #define A_IN_H     8 /* rows */
    #define A_STRIDE_X 2
    """
    width = max(map(len, values), default=0)
    lines = []
    for name, value in values.items():
        head, _, text = macro(name, value).rpartition(f"{name} ")
        note = f" /* {notes[name]} */" if notes and name in notes else ""
        lines.append(f"{head}{name:<{width}} {text}{note}")
    return "\n".join(lines)


def numbers(values: np.ndarray) -> str:
    """The elements of an integer array in C order, separated by commas, a fixed count a line.

    Examples
    --------
    >>> numbers(np.array([[1, -2], [3, 4]], np.int8))
    '    1, -2, 3, 4'
    """
    numbers = values.ravel().tolist()
    # Megabytes of weights are 256 different texts.
    texts = [_BYTES[number] for number in numbers] if values.dtype == np.int8 else list(map(str, numbers))
    count = NUMBERS_PER_LINE[values.dtype.itemsize]
    return ",\n".join("    " + ", ".join(texts[i : i + count]) for i in range(0, len(texts), count))


def array_declare(name: str, values: np.ndarray, record: str | None = None) -> str:
    """A constant, word-aligned array with static storage.

    Parameters
    ----------
    name : str
        A C identifier.
    values : ndarray of int8, uint8, int16 or int32
        At least one element; emitted in C order.
    record : str, optional
        The type of its elements, if they are structures: `values` has a row for each then.

    Examples
    --------
    >>> print(array_declare("net_bias", np.array([1, -128], np.int8)))
    static const int8_t net_bias[2] CXN_ALIGNED = {
        1, -128
    };
    """
    if values.dtype not in C_TYPES or values.size == 0:
        got = f"{values.dtype} of shape {values.shape}"
        raise ValueError(f"{name}: expected a non-empty int8, uint8, int16 or int32 array, got {got}")
    if record is not None:
        rows = ",\n".join("    {" + ", ".join(map(str, row)) + "}" for row in values.tolist())
        head = f"static const {record} {check_identifier(name, 'array')}[{len(values)}] CXN_ALIGNED"
        return f"{head} = {{\n{rows}\n}};"
    head = f"static const {C_TYPES[values.dtype]} {check_identifier(name, 'array')}[{values.size}] CXN_ALIGNED"
    return f"{head} = {{\n{numbers(values)}\n}};"


WHOLE_FUNCTION = """\
#if defined(__GNUC__) && !defined(__clang__)
#define CXN_WHOLE __attribute__((noinline, noclone))
#elif defined(__GNUC__)
#define CXN_WHOLE __attribute__((noinline, used))
#else
#define CXN_WHOLE
#endif"""
"""Inlined, a kernel keeps the addresses of its constants in registers, at the price of its sums; its cycles would also
depend on what else is in the file.
"""


def kernel_declare(name: str, operands: Sequence[str], output: str, *, is_banded: bool = False) -> str:
    """The kernel that a template header is about to define, which stays a function of its own.

    Parameters
    ----------
    name : str
        A C identifier.
    operands : sequence of str
        What the parameters before the output point to: inputs, weights, records of channels.
    output : str
        Type of its elements.
    is_banded : bool
        Whether a call says which rows it has.

    Examples
    --------
    >>> kernel_declare("net_pool_kernel", ["int8_t"], "int8_t")
    'CXN_WHOLE static void net_pool_kernel(const int8_t *, int8_t *, void *);'
    """
    pointers = ", ".join(f"const {type_} *" for type_ in operands)
    rows = ", cxn_rows" if is_banded else ""
    return f"CXN_WHOLE static void {check_identifier(name)}({pointers}, {output} *, void *{rows});"


def comment_text(text: object) -> str:
    """`text` as it may stand inside a C, CMake or shell comment: one line, printable ASCII, unable to end the comment.

    Examples
    --------
    >>> comment_text("board */ int x; //")
    'board * / int x; / /'
    >>> comment_text("two" + chr(10) + "lines ??/")
    'two lines ? ?/'
    """
    line = "".join(c if " " <= c <= "~" else " " for c in str(text)).replace("\\", "/")
    for pair in ("*/", "/*", "//", "??"):
        while pair in line:
            line = line.replace(pair, f"{pair[0]} {pair[1]}")
    return line


def plain_text(text: object) -> str:
    """`text` as it may stand in Markdown and in comments of any language: one line without any markup.

    Examples
    --------
    >>> plain_text("my-board (rev. 2) <b>`")
    'my-board (rev. 2) _b__'
    """
    return re.sub(r"[^A-Za-z0-9 ().,+-]", "_", str(text))
