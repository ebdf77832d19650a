# SPDX-License-Identifier: Apache-2.0
"""Sizes, frequencies and text as people read and write them."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Sequence

LARGEST = 2.0**40
LONGEST_LINE = 1000
"""Characters of a stranger's text that is printed."""
_SIZE = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*(|b|k|kb|kib|m|mb|mib)\s*", re.IGNORECASE)
_HERTZ = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*(|k|m|g)(?:hz)?\s*", re.IGNORECASE)


def parse_size(value: object) -> int:
    """Bytes: an integer, or text with a K or M suffix (1024 and 1024 x 1024).

    >>> [parse_size(text) for text in (65536, "64K", "64KiB", "1M", "1.5K")]
    [65536, 65536, 65536, 1048576, 1536]
    """
    if isinstance(value, int) and not isinstance(value, bool):
        size = float(value) if abs(value) < 2**53 else LARGEST
    elif isinstance(value, str) and (match := _SIZE.fullmatch(value)):
        factor = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20}[match[2].lower()[:1]]
        size = float(match[1]) * factor
    else:
        raise ValueError(f"expected a size such as 65536, 64K, 64KiB or 1M, got {reprlib.repr(value)}")
    if not 0 < size < LARGEST or size != int(size):
        raise ValueError(f"expected a whole number of bytes, at least 1 and below 1T, got {reprlib.repr(value)}")
    return int(size)


def parse_hertz(value: object) -> int:
    """Hertz: an integer, or text with a k, M or G suffix (powers of ten).

    >>> [parse_hertz(text) for text in ("216M", "216MHz", 1000, "32.768k")]
    [216000000, 216000000, 1000, 32768]
    """
    if isinstance(value, int) and not isinstance(value, bool):
        hertz = float(value) if abs(value) < 2**53 else LARGEST
    elif isinstance(value, str) and (match := _HERTZ.fullmatch(value)):
        hertz = float(match[1]) * {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}[match[2].lower()]
    else:
        raise ValueError(f"expected a frequency such as 216M or 48MHz, got {reprlib.repr(value)}")
    if not 0.5 < hertz < 1e12 - 0.5:
        raise ValueError(f"expected a frequency of at least 1 Hz and below 1 THz, got {reprlib.repr(value)}")
    return round(hertz)


def show_size(size: int) -> str:
    """Bytes, or KiB: with a decimal unless they are whole.

    >>> show_size(512), show_size(65536), show_size(43321), show_size(8233)
    ('512 B', '64 KiB', '42.3 KiB', '8.0 KiB')
    """
    if size < 1024:
        return f"{size} B"
    return f"{size // 1024} KiB" if size % 1024 == 0 else f"{size / 1024:.1f} KiB"


def shape_text(shape: Sequence[int]) -> str:
    """A shape for people.

    Examples
    --------
    >>> shape_text((32, 32, 3))
    '32x32x3'
    """
    return "x".join(map(str, shape))


def printable(text: str) -> str:
    """`text` without the characters that would command a terminal.

    >>> printable("red: " + chr(27) + "[31m")
    'red: \\\\x1b[31m'
    """
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


def one_line(text: str) -> str:
    """A stranger's text as `line_problem` lets it pass: escaped where it would not print, and cut.

    >>> one_line("two" + chr(10) + "lines")
    'two\\\\nlines'
    """
    cut = text[: LONGEST_LINE + 1]
    said = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in cut)
    return said if len(said) <= LONGEST_LINE else f"{said[: LONGEST_LINE - 3]}..."


def line_problem(value: object) -> str | None:
    """What is wrong with a text that is printed: it must not command a terminal, or begin a line of its own.

    >>> line_problem("nucleo-f746zg"), line_problem("two" + chr(10) + "lines")
    (None, "expected a line of printable text, got 'two\\\\nlines'")
    """
    if isinstance(value, str) and value and value.isprintable() and len(value) <= LONGEST_LINE:
        return None
    return f"expected a line of printable text, got {reprlib.repr(value)}"
