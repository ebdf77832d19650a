# SPDX-License-Identifier: Apache-2.0
"""Flash of an object file: what a function needs, and what nobody calls."""

from __future__ import annotations

from pathlib import Path

import pytest

from tuning.emulate import EmulationError, find_toolchain
from tuning.emulate.footprint import footprint

FLAGS = ("-std=c99", "-O2", "-ffunction-sections", "-fdata-sections")
SOURCE = """
static int buffer[100];
const int table[8] = {3, 1, 4, 1, 5, 9, 2, 6};
const int other[16] = {2, 7, 1, 8};
__attribute__((noinline)) static int deep(int i) { return table[i & 7]; }
int unused(int i) { return other[i & 15]; }
int run(int i) { buffer[i] = deep(i); return buffer[i] + deep(i + 1); }
"""


def test_what_a_function_reaches_counts(tmp_path: Path) -> None:
    source, output = tmp_path / "net.c", tmp_path / "net.o"
    source.write_text(SOURCE)
    find_toolchain().compile(source, output, "cortex-m4", cflags=FLAGS)
    every, less = (footprint(output.read_bytes(), name) for name in ("run", "unused"))
    assert every.object_bytes == less.object_bytes
    assert every.object_bytes < 400  # zeroed memory is no flash
    assert 32 < every.linked_bytes < every.object_bytes
    assert 64 < less.linked_bytes < 100
    assert every.linked_bytes + less.linked_bytes == every.object_bytes
    with pytest.raises(EmulationError, match="no function 'main'"):
        footprint(output.read_bytes(), "main")
