# SPDX-License-Identifier: Apache-2.0
"""Emitted folders: compiled for the host and called through ctypes, or compiled for a core and emulated."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from cmsisnn_x.layers import NUMPY_DTYPES
from tuning.plan import Plan

WARNINGS = ("-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror")


def zig(*arguments: object, language: str = "cc") -> subprocess.CompletedProcess[str]:
    """Run Clang of the ziglang wheel; a failure is an AssertionError with what it said."""
    command = [sys.executable, "-m", "ziglang", language, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stderr}"
    return done


def host_run(plan: Plan, folder: Path) -> Callable[[np.ndarray, int], np.ndarray]:
    """``<model>_run`` of the folder, compiled for this machine and called through ctypes."""
    library = folder / "host.so"
    zig(*WARNINGS, "-O2", "-shared", "-fPIC", "-I", folder, folder / f"{plan.model}.c", "-o", library)
    function = getattr(ctypes.CDLL(str(library)), f"{plan.model}_run")
    function.restype = None
    last = plan.layers[-1].layer

    def run(x: np.ndarray, offset: int) -> np.ndarray:
        source = _at_offset(x, offset)
        target = _at_offset(~np.zeros(last.output_shape, NUMPY_DTYPES[plan.dtype]), offset)
        before = source.copy()
        function(ctypes.c_void_p(source.ctypes.data), ctypes.c_void_p(target.ctypes.data))
        assert np.array_equal(source, before), "the caller's input changed"
        return target.copy()

    return run


SANITIZED_MAIN = """
#include <stdio.h>
#include <stdlib.h>
#include "{model}.h"
/* Inputs from stdin, outputs to stdout; both in blocks of exactly their size, {offset} bytes past a word boundary. */
int main(void)
{{
    char *input = (char *)malloc(sizeof(*(({element} *)0)) * {prefix}_INPUT_SIZE + {offset}) + {offset};
    char *output = (char *)malloc(sizeof(*(({element} *)0)) * {prefix}_OUTPUT_SIZE + {offset}) + {offset};
    while (fread(input, sizeof({element}), {prefix}_INPUT_SIZE, stdin) == {prefix}_INPUT_SIZE) {{
        {model}_run(({element} *)(void *)input, ({element} *)(void *)output);
        fwrite(output, sizeof({element}), {prefix}_OUTPUT_SIZE, stdout);
    }}
    return 0;
}}
"""


def sanitized_run(plan: Plan, folder: Path, inputs: Sequence[np.ndarray], offset: int) -> np.ndarray:
    """Outputs of the folder's network in a program of its own that stops at undefined behaviour."""
    element = {"q7": "int8_t", "q15": "int16_t"}[plan.dtype]
    main = folder / f"sanitized{offset}.c"
    main.write_text(SANITIZED_MAIN.format(model=plan.model, prefix=plan.model.upper(), element=element, offset=offset))
    program = folder / f"sanitized{offset}"
    sanitize = ("-g", "-fsanitize=undefined", "-fsanitize-trap=undefined", "-fno-sanitize-recover=all")
    zig("-std=c99", "-O0", *sanitize, "-I", folder, main, folder / f"{plan.model}.c", "-o", program)
    stacked = np.stack(inputs)
    done = subprocess.run([program], input=stacked.tobytes(), capture_output=True, check=False)
    assert done.returncode == 0, f"{plan.model} at offset {offset}: stopped by signal {-done.returncode}"
    shape = plan.layers[-1].layer.output_shape
    return np.frombuffer(done.stdout, stacked.dtype).reshape(len(inputs), *shape)


def _at_offset(values: np.ndarray, offset: int) -> np.ndarray:
    """A copy whose first byte lies `offset` bytes past a word boundary, with 64 bytes around it."""
    raw = np.zeros(values.nbytes + 136, np.uint8)
    start = 64 + (-(raw.ctypes.data + 64)) % 4 + offset
    view = raw[start : start + values.nbytes].view(values.dtype).reshape(values.shape)
    view[...] = values
    return view


def emulator(plan: Plan, folder: Path, core: str, kind: str | None = "clang", flags: Sequence[str] = ()):
    """The folder's network on an emulated core whose every memory access is checked."""
    from tuning.emulate import Emulator, find_toolchain

    toolchain = find_toolchain(kind)
    elf = folder / f"{core}-{kind}.elf"
    said = toolchain.build(
        [folder / f"{plan.model}.c"], elf, core, cflags=[*WARNINGS, *(flags or plan.cflags)], include=[folder]
    )
    assert not said, said
    return Emulator(elf, core, checked=True)


def emulated_run(plan: Plan, machine, x: np.ndarray, offset: int = 0) -> np.ndarray:
    """Call ``<model>_run`` with both buffers `offset` bytes past a word boundary, the output poisoned."""
    machine.reset()
    last = plan.layers[-1].layer
    source = machine.buffer(x, offset=offset, writable=False)
    target = machine.buffer(last.output_bytes, offset=offset)
    machine.call(f"{plan.model}_run", [source, target])
    assert machine.read(source) == x.tobytes(), "the caller's input changed"
    return np.frombuffer(machine.read(target), NUMPY_DTYPES[plan.dtype]).reshape(last.output_shape)


def assert_same(got: np.ndarray, expected: np.ndarray, where: object) -> None:
    """Equal element for element, or an AssertionError with the first that differs."""
    assert got.shape == expected.shape, f"{where}: shape {got.shape}, expected {expected.shape}"
    wrong = np.argwhere(got != expected)
    if len(wrong):
        at = tuple(map(int, wrong[0]))
        first = f"first {at}: {got[at]}, expected {expected[at]}"
        raise AssertionError(f"{where}: {len(wrong)} of {expected.size} differ, {first}")
