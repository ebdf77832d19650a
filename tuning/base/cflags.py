# SPDX-License-Identifier: Apache-2.0
"""The compiler flags that a plan may carry.

A plan.json comes with a folder, and a folder may come from anybody: a compiler that is handed the flags of a stranger
runs the programs and writes the files that they name. So the flags of a plan, made here or read, are entries of one
table, letter for letter. A user's own flags never travel in a plan.
"""

from __future__ import annotations

import reprlib
from typing import Any

CFLAGS = ("-std=c99", "-O3", "-fno-schedule-insns", "-ffunction-sections", "-fdata-sections")
"""GCC's first scheduling pass hoists loads above the accumulation and spills the accumulators: off."""

CLANG_CFLAGS = ("-std=c99", "-O3", "-fomit-frame-pointer", "-ffunction-sections", "-fdata-sections")
"""Zig's keeps the frame pointer, a register that kernels want, unless told not to."""

KNOWN_CFLAGS = (
    *CFLAGS,
    *(flag for flag in CLANG_CFLAGS if flag not in CFLAGS),
    *("-std=c11", "-O2", "-Os"),  # of plans that are made by hand
    *("-Oz", "-fno-unroll-loops"),  # what Clang may want in the place of GCC's
)
"""Every flag that this tool writes into a plan, or wrote under an earlier schema, for any compiler.

None takes an argument, names a file or starts a program, and none may: what is added here is handed to the compiler
for folders of strangers.
"""


def cflags_of(compiler: str) -> tuple[str, ...]:
    """The flags of plans for ``"gcc"`` or ``"clang"``."""
    return CLANG_CFLAGS if compiler == "clang" else CFLAGS


MOST = 64
"""Flags of one plan: far above any."""


def cflags_problem(flags: Any) -> str | None:
    """What is wrong with the flags of a plan; ``None`` if nothing.

    >>> cflags_problem("-O3")
    "expected a list of compiler flags, got '-O3'"
    """
    if not isinstance(flags, list | tuple):
        return f"expected a list of compiler flags, got {reprlib.repr(flags)}"
    if len(flags) > MOST:
        return f"expected at most {MOST} compiler flags, got {len(flags)}"
    unknown = [flag for flag in flags if not isinstance(flag, str) or flag not in KNOWN_CFLAGS]
    if unknown:
        return f"expected flags out of {', '.join(KNOWN_CFLAGS)}, got {', '.join(map(reprlib.repr, unknown))}"
    return None
