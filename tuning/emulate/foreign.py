# SPDX-License-Identifier: Apache-2.0
"""C that may be a stranger's: which files it makes a compiler read, and whether its assembly could name more.

The preprocessor says the first (``-MD``). The second is asked of the text that it leaves, where macros are expanded and
strings can be joined: assembly reads files by a directive alone, and nothing that kernels are made of spells one, nor
puts a directive's name together from operands.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

_MARKER = re.compile(r"^[ \t]*#.*$", re.MULTILINE)
_JOIN = re.compile(r'"\s*"')
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]+)|([0-7]{1,3})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8}))")
_OPERAND = r"%[A-Za-z]?(?:\d+|\[\w*\])"
_READS = re.compile(
    r"\b(incbin|include|macro|altmacro|irpc?)\b"
    rf"|(?:\.|{_OPERAND})\w*{_OPERAND}"  # a name made of operands
    rf"|{_OPERAND}[A-Za-z_$.]",
    re.IGNORECASE,
)


def files_read(rules: str) -> list[Path]:
    """The files that a compiler's ``-MD`` names in a rule for make."""
    _, _, names = rules.replace("\\\n", " ").partition(": ")
    found = re.findall(r"(?:\\.|\$\$|\S)+", names)
    return [Path(re.sub(r"\\(.)|\$(\$)", r"\1\2", name)) for name in found]


def outside(paths: Iterable[Path], roots: Iterable[Path]) -> Path | None:
    """The first file, where links lead, that lies below none of the folders; None if all do."""
    known = [root.resolve() for root in roots]
    return next((path for path in map(Path.resolve, paths) if not any(map(path.is_relative_to, known))), None)


def error_place(line: str) -> Path | None:
    """The file that a compiler's message complains of; None of lines that are no error."""
    found = re.match(r"(.+?):\d+:(?:\d+:)? (?:fatal )?error:", line)
    return None if found is None else Path(found[1])


def reading_directive(text: str) -> str | None:
    """What of preprocessed C could be a directive of assembly that reads a file; None if nothing could.

    >>> reading_directive('__asm__(".inc" "bin \\\\"x\\\\"");')
    'incbin'
    """
    plain = _ESCAPE.sub(lambda hit: chr(_code(hit)), _MARKER.sub("", text))
    found = _READS.search(_JOIN.sub("", plain))
    return None if found is None else found[0]


def _code(hit: re.Match[str]) -> int:
    hexadecimal, octal, *longer = hit.groups()
    value = int(octal, 8) if octal else int(hexadecimal or longer[0] or longer[1], 16)
    return value if value < 0x110000 else 0
