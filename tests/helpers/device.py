# SPDX-License-Identifier: Apache-2.0
"""Run device kernels in an emulator and on the host, and hold every element against the reference.

A list of :class:`Case` becomes one C file and one ELF per (core, compiler, level). Each case runs with its own buffers:
output poisoned with the complement of what is expected, scratch of exactly the announced size, and a memory check that
refuses accesses outside the case's buffers and accesses that the core cannot make at that address. The same cases also
run on the host under the address and undefined-behaviour sanitizers (:func:`check_on_host`), and a sample of them in a
second emulator with their data compiled in (:mod:`helpers.qemu`).

    machine = compile_cases(cases, "cortex-m4", "gcc", ["-O3"])
    machine.check()          # every case; an AssertionError names case, element, got, expected
    machine.run(0).cycles    # one case, priced
"""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
import tempfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from pathlib import Path

import numpy as np

import cmsisnn_x
from cmsisnn_x.isa import Isa
from cmsisnn_x.layers import NUMPY_DTYPES, Layer
from cmsisnn_x.steps import Step
from cmsisnn_x.variant import Variant
from helpers import affine_layers, reference
from helpers.cores import HELIUM, PLAIN
from tuning.emit.cgen import WHOLE_FUNCTION, array_declare, macros
from tuning.emit.kernel_text import kernel_of
from tuning.emit.weights import activation_table
from tuning.emulate import Buffer, EmulationError, Emulator, Trace, find_toolchain
from tuning.target.cores import CORES

INCLUDE = Path(cmsisnn_x.__file__).parent / "include"
LEVELS = ("-O2", "-O3", "-Os")
WARNINGS = ("-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror")
BUDGET = 50_000_000  # instructions of one case


@dataclass(frozen=True, eq=False)
class Case:
    """One layer run once by one kernel variant.

    `input_offset` and `output_offset` are bytes past a word boundary for a buffer of unknown alignment; None is one
    that the kernel may take to be word aligned. `behind` is the pooling that a variant with `fused_pool` takes in,
    `other` the second operand of ``multiply`` and its like, `third` one more of ``concat``. `macros` are added to the
    layer's (without prefix); `expected` replaces the reference where the kernel computes more than the layer.
    """

    layer: Layer
    variant: Variant | None = None
    input: np.ndarray | None = None
    other: np.ndarray | None = None
    third: np.ndarray | None = None
    input_offset: int | None = None
    output_offset: int | None = None
    in_place: bool = False
    macros: Mapping[str, int] = field(default_factory=dict)
    expected: np.ndarray | None = None
    scratch_bytes: int | None = None
    behind: Layer | None = None

    @property
    def pool(self) -> Layer | None:
        """The pooling layer that the kernel takes in."""
        return Step.of(self.layer, self.variant, self.behind).pool

    @property
    def op(self) -> str:
        return self.layer.python_op

    def __str__(self) -> str:
        layer, p = self.layer, self.pool
        parts = [
            f"{self.op} {layer.dtype}",
            f"{layer.input_shape}->{layer.output_shape}",
            f"kernel {layer.kernel}",
            f"stride {layer.stride}",
            f"padding {layer.padding}",
            affine_layers.about(layer) if layer.type.is_affine else f"shifts {layer.bias_shift},{layer.out_shift}",
            str(self.variant or ""),
            f"fused {p.op} kernel {p.kernel} stride {p.stride} padding {p.padding}->{p.output_shape}" if p else "",
            f"offsets {self.input_offset},{self.output_offset}",
            "in place" if self.in_place else "",
        ]
        return ", ".join(p for p in parts if p)

    @cached_property
    def x(self) -> np.ndarray:
        """The input: given, or drawn over the whole range with the extremes made frequent."""
        if self.input is not None:
            return np.ascontiguousarray(self.input, self.layer.numpy_dtype)
        return draw(self.layer.input_shape, self.layer.dtype, str(self))

    @cached_property
    def reference(self) -> np.ndarray:
        if self.expected is not None:
            return np.ascontiguousarray(self.expected)
        if self.layer.type.is_affine:
            result = affine_layers.expected(self.layer, *(x for x in (self.x, self.other, self.third) if x is not None))
            return result if self.pool is None else affine_layers.expected(self.pool, result)
        if self.other is not None:
            return reference.multiply(self.x, self.other, self.layer.out_shift)
        result = np.ascontiguousarray(reference.layer(self.layer, self.x))
        return result if self.pool is None else np.ascontiguousarray(reference.layer(self.pool, result))

    @cached_property
    def constants(self) -> tuple[np.ndarray, ...]:
        """What the kernel gets besides its input: packed weights and bias, or the other operand of ``multiply``."""
        if self.layer.type.is_affine:
            others = [
                np.ascontiguousarray(x, self.layer.numpy_dtype) for x in (self.other, self.third) if x is not None
            ]
            return *others, *({} if self.op == "concat" else self.operands).values()
        if self.other is not None:
            return (np.ascontiguousarray(self.other, self.layer.numpy_dtype),)
        if self.layer.weights is None:
            return ()
        from cmsisnn_x.packing import pack_device_weights

        assert self.layer.bias is not None, "device kernels always get a bias; give zeros"
        return pack_device_weights(self.layer, self.variant), np.ascontiguousarray(self.layer.bias)

    @cached_property
    def operands(self) -> Mapping[str, np.ndarray]:
        """The constants of a layer with zero points; those of ``concat`` are in the text."""
        return self.layer.row.operands(self.layer, self.variant)

    @property
    def weights(self) -> bytes:
        """Second buffer of the call."""
        return self.constants[0].tobytes() if self.constants else b""

    @property
    def second_offset(self) -> int:
        """Weights start at a word; the other operand of ``multiply`` is one more input."""
        return self.input_offset or 0 if self.other is not None else 0

    @property
    def third_offset(self) -> int:
        """No more than the alignment of an element: a bias is not read in words; records of channels are."""
        if self.third is not None:
            return self.input_offset or 0
        return self.constants[1].itemsize

    @property
    def bias(self) -> bytes:
        """Third buffer of the call."""
        return self.constants[1].tobytes() if len(self.constants) > 1 else b""

    @cached_property
    def scratch(self) -> int:
        if self.scratch_bytes is not None:
            return self.scratch_bytes
        if not self.layer.row.has_knobs:
            return 0
        return Step.of(self.layer, self.variant, self.behind).scratch_bytes


def draw(shape: tuple[int, ...], dtype: str, key: str) -> np.ndarray:
    """Reproducible integers over the full range of a type, one in eight at an extreme or at zero."""
    rng = np.random.default_rng(zlib.crc32(key.encode()))
    info = np.iinfo(NUMPY_DTYPES[dtype])
    values = rng.integers(info.min, info.max, shape, info.dtype, endpoint=True)
    ends = rng.choice(np.array([info.min, info.max, 0, max(info.min, -1)], info.dtype), shape)
    return np.where(rng.random(shape) < 0.125, ends, values)


# ---------------------------------------------------------------- C text


def c_source(cases: Sequence[Case]) -> str:
    """One translation unit: macros and kernel of every case, and an external function ``caseN`` that calls it."""
    aligned = "#define CXN_ALIGNED __attribute__((aligned(4)))"
    lines = ['#include "cmsisnn_x/config.h"', "#include <stdint.h>", aligned, WHOLE_FUNCTION, ""]
    for number, case in enumerate(cases):
        lines += [*_case_source(number, case), ""]
    return "\n".join(lines)


def _case_source(number: int, case: Case) -> list[str]:
    layer, name = case.layer, f"case{number}"
    prefixes = (f"CASE{number}",) if case.pool is None else (f"CASE{number}", f"CASE{number}_POOL")
    kernel = kernel_of(
        Step.of(layer, case.variant, case.behind, in_place=case.in_place and layer.row.is_weighted),
        tuple(case.operands.values()) if layer.type.is_affine else case.constants,
        scratch_bytes=case.scratch,
        input_aligned=case.input_offset is None,
        output_aligned=case.output_offset is None,
    )
    own = {f"{prefixes[0]}_{key}": value for key, value in case.macros.items()}
    lines = [f"/* {case} */", macros(kernel.macros(*prefixes) | own)]
    table = None
    if layer.row.has_table:
        table = f"{name}_table"
        lines.append(array_declare(table, activation_table(case.op, layer.dtype)))
    lines.append(kernel.inclusion(f"{name}_kernel", *prefixes, table=table))
    operands = [f"(const {type_} *){what}" for type_, what in zip(kernel.operands, SLOTS, strict=False)]
    inputs = []
    if case.op == "concat":
        count, operands = len(layer.input_shapes), ["inputs", f"{name}_columns"]
        lines.append(array_declare(operands[1], case.operands["columns"]))
        element = kernel.operands[0].removesuffix(" *const")
        listed = ", ".join(f"(const {element} *){what}" for what in SLOTS[:count])
        inputs = [f"    const {element} *const inputs[{count}] = {{{listed}}};"]
    arguments = "const void *input, const void *weights, const void *bias, void *output, void *scratch"
    return [
        *lines,
        f"void {name}({arguments});",
        f"void {name}({arguments})",
        "{",
        "    (void)weights; (void)bias;",
        *inputs,
        f"    {name}_kernel({', '.join(operands)}, ({kernel.output} *)output, scratch);",
        "}",
    ]


SLOTS = ("input", "weights", "bias")
"""What the arguments before the output are called, whatever they hold."""

TRAMPOLINE = (
    "push {r4-r7, lr}", "mov r4, r8", "mov r5, r9", "mov r6, r10", "mov r7, r11", "push {r4-r7}", "sub sp, #12",
    "str r0, [sp, #8]", "ldr r0, [r1, #16]", "str r0, [sp, #0]",
    *(f"movs r4, #{0x40 + n}\\n\\tmov r{n}, r4" for n in range(5, 12)), "movs r4, #0x44",
    "ldr r0, [r1, #0]", "ldr r2, [r1, #8]", "ldr r3, [r1, #12]", "ldr r1, [r1, #4]",
    "push {r0}", "ldr r0, [sp, #12]", "mov r12, r0", "pop {r0}", "blx r12",
    "movs r0, #0",
    *(f"mov r1, r{n}\\n\\tsubs r1, #{0x40 + n}\\n\\torrs r0, r1" for n in range(4, 12)),
    "add sp, #12", "pop {r4-r7}", "mov r8, r4", "mov r9, r5", "mov r10, r6", "mov r11, r7", "pop {r4-r7, pc}",
)  # fmt: skip
"""``int checked_call(function, arguments)``: 0 when the function kept r4-r11, which belong to the caller."""

DECLARE = (
    ".syntax unified\\n.thumb\\n.global checked_call\\n.type checked_call, %function\\n.thumb_func\\nchecked_call:"
)
SIZE = "\\n.size checked_call, .-checked_call"

CASES_PER_ELF = 150  # a sample is less; one translation unit of the whole product takes a compiler minutes

LIBRARY = frozenset(("memcpy", "memmove", "memset", "_start", "checked_call"))


def compilers() -> list[str]:
    """The compilers that are here: Clang of the ziglang wheel always, GCC when on PATH."""
    return [*(["gcc"] if shutil.which("arm-none-eabi-gcc") else []), "clang"]


@dataclass(frozen=True)
class Build:
    """A core, a compiler and an optimisation level; `index` counts them."""

    core: str
    compiler: str
    level: str
    index: int

    @property
    def dsp(self) -> bool:
        return CORES[self.core].features.isa >= Isa.DSP

    def __str__(self) -> str:
        return f"{self.core}-{self.compiler}{self.level}"


def builds(*, full: bool) -> list[Build]:
    """Every combination of the cores without Helium, or a sample: each compiler meets each level, and each core, but
    for those that are like another one: M3 and M33 have a compiler each.
    """
    tools = compilers()
    if full:
        combinations = list(product(PLAIN, tools, LEVELS))
    else:
        combinations = [
            (core, tool, LEVELS[(i + j) % 3])
            for j, tool in enumerate(tools)
            for i, core in enumerate(PLAIN)
            if len(tools) == 1 or (core, j) not in (("cortex-m3", 0), ("cortex-m33", 1))
        ]
    return [Build(*combination, index) for index, combination in enumerate(combinations)]


def helium_builds(*, full: bool) -> list[Build]:
    """The same of the cores with Helium; the sample has one of them for each compiler. GCC writes the same for all."""
    tools = compilers()
    if full:
        combinations = list(product(HELIUM, tools, LEVELS))
    else:
        combinations = [(HELIUM[1 + j % 2], tool, LEVELS[j % 3]) for j, tool in enumerate(reversed(tools))]
    return [Build(*combination, index) for index, combination in enumerate(combinations)]


def sample(cases: Sequence[Case], build: Build, full: bool, most: int = 12) -> list[Case]:
    """At most `most` of the cases, other ones for each build; all with `full`."""
    if full:
        return list(cases)
    step = -(-len(cases) // most)
    return list(cases[build.index % step :: step])


def assert_kernel(build: Build, cases: Sequence[Case]) -> None:
    """Compile the cases as `build` says, run each, compare every element."""
    for first in range(0, len(cases), CASES_PER_ELF):
        compile_cases(cases[first : first + CASES_PER_ELF], build.core, build.compiler, [build.level]).check()


def compile_cases(cases: Sequence[Case], core: str, compiler: str = "gcc", cflags: Sequence[str] = ("-O3",)) -> Machine:
    """Compile every case into one ELF for `core`; any warning is a failure."""
    toolchain = find_toolchain(compiler)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        assembly = "".join(f"\\n\\t{line}" for line in TRAMPOLINE)
        (root / "cases.c").write_text(f'{c_source(cases)}\n__asm__("{DECLARE}{assembly}{SIZE}");\n')
        flags = [*WARNINGS, *cflags]
        said = toolchain.build([root / "cases.c"], root / "cases.elf", core, cflags=flags, include=[INCLUDE])
        assert not said.strip(), said
        return Machine(list(cases), core, (root / "cases.elf").read_bytes())


# ---------------------------------------------------------------- emulation


class Machine:
    """An emulated core with the cases' code loaded."""

    def __init__(self, cases: list[Case], core: str, elf: bytes) -> None:
        self.cases, self.core = cases, core
        self.emulator = Emulator(elf, core, checked=True)
        own = re.compile(r"case\d+(_\w+)?(\.\w+)*|__aeabi_mem.*|cxn_.*|\$.*")
        functions = {function.name for function in self.emulator.image.functions} - LIBRARY
        helpers = sorted(name for name in functions if not own.fullmatch(name))
        assert not helpers, f"{core}: kernels need more than memcpy and memset: {helpers}"

    def check(self) -> None:
        """Run every case and compare every element; AssertionError at the first that differs."""
        for number in range(len(self.cases)):
            self.run(number)

    def run(self, number: int) -> Trace:
        """Run one case with every memory access checked; return what its call cost."""
        case, emulator = self.cases[number], self.emulator
        where = f"{self.core} {case}"
        for entry in ("checked_call", f"case{number}"):
            emulator.reset()
            buffers = self._place(case)
            arguments = [buffers.get(name, 0) for name in ("input", "weights", "bias", "output", "scratch")]
            try:
                if entry == "checked_call":
                    table = emulator.buffer(
                        struct.pack("<5I", *(emulator.address(a) for a in arguments)), writable=False
                    )
                    trace = emulator.call(entry, [f"case{number}", table], budget=BUDGET)
                    assert trace.result == 0, f"{where}: a register of the caller changed"
                else:
                    trace = emulator.call(entry, arguments, budget=BUDGET)
            except EmulationError as error:
                raise AssertionError(f"{where}: {error}") from error
            output = np.frombuffer(emulator.read(buffers["output"]), case.reference.dtype)
            assert_equal(output, case, self.core)
        return trace

    def _place(self, case: Case) -> dict[str, Buffer]:
        poison = (~case.reference).tobytes()
        place = self.emulator.buffer
        buffers = {"input": place(case.x, offset=case.input_offset or 0, writable=case.in_place)}
        if case.weights:
            buffers["weights"] = place(case.weights, offset=case.second_offset, writable=False)
        if case.bias:
            buffers["bias"] = place(case.bias, offset=case.third_offset, writable=False)
        buffers["output"] = buffers["input"] if case.in_place else place(poison, offset=case.output_offset or 0)
        if case.scratch:
            buffers["scratch"] = place(np.random.default_rng(1).bytes(case.scratch))
        return buffers


def assert_equal(got: np.ndarray, case: Case, where: str) -> None:
    expected = case.reference
    got = got.reshape(expected.shape)
    wrong = np.argwhere(got != expected)
    if len(wrong):
        first = tuple(map(int, wrong[0]))
        raise AssertionError(
            f"{where} {case}: {len(wrong)} of {expected.size} differ, first at {first}: "
            f"got {got[first]}, expected {expected[first]}"
        )


# ---------------------------------------------------------------- host

HOST_MAIN = """
#include <stdio.h>
#include <stdlib.h>
struct block { unsigned char *start, *data; unsigned size; };
static struct block get(void)
{
    struct block b = {0, 0, 0};
    unsigned head[2];
    if (fread(head, sizeof head, 1, stdin) != 1) { exit(2); }
    b.size = head[0];
    b.start = (unsigned char *)malloc(b.size + head[1]);
    b.data = b.size ? b.start + head[1] : 0;
    if (b.size && fread(b.data, b.size, 1, stdin) != 1) { exit(2); }
    return b;
}
typedef void (*entry)(const void *, const void *, const void *, void *, void *);
static const entry entries[] = { ENTRIES };
int main(void)
{
    for (unsigned i = 0; i < sizeof entries / sizeof *entries; ++i) {
        struct block input = get(), weights = get(), bias = get(), output = get(), scratch = get();
        const int in_place = output.size == 0;
        fprintf(stderr, "case%u\\n", i);
        entries[i](input.data, weights.data, bias.data, in_place ? input.data : output.data, scratch.data);
        fwrite(in_place ? input.data : output.data, in_place ? input.size : output.size, 1, stdout);
        free(input.start); free(weights.start); free(bias.start); free(output.start); free(scratch.start);
    }
    return 0;
}
"""


def host_compiler() -> str | None:
    """A C compiler of this machine, the one that built the package's extensions."""
    return next((found for name in ("gcc", "clang", "cc") if (found := shutil.which(name))), None)


SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")


def check_on_host(cases: Sequence[Case], compiler: str, flags: Sequence[str] = SANITIZERS) -> None:
    """Run every case natively, each buffer of exactly its size between red zones, and compare every element."""
    for first in range(0, len(cases), CASES_PER_ELF):
        _check_on_host(cases[first : first + CASES_PER_ELF], compiler, flags)


def _check_on_host(cases: Sequence[Case], compiler: str, flags: Sequence[str]) -> None:
    entries = ", ".join(f"case{number}" for number in range(len(cases)))
    data = b"".join(_host_blocks(case) for case in cases)
    with tempfile.TemporaryDirectory() as folder:
        source, program = Path(folder) / "cases.c", Path(folder) / "cases"
        source.write_text(c_source(cases) + HOST_MAIN.replace("ENTRIES", entries))
        command = [compiler, *WARNINGS, "-O0", *flags, f"-I{INCLUDE}", str(source), "-o", str(program)]
        built = subprocess.run(command, capture_output=True, text=True, check=False)
        assert built.returncode == 0, built.stderr
        assert not built.stderr, built.stderr
        ran = subprocess.run([str(program)], input=data, capture_output=True, check=False)
    report = ran.stderr.decode(errors="replace")
    last = report.split("case")[-1].split("\n")[0]
    assert ran.returncode == 0, f"{cases[int(last)] if last.isdigit() else 'start'}\n{report[-4000:]}"
    at = 0
    for case in cases:
        size = case.reference.nbytes
        assert_equal(np.frombuffer(ran.stdout[at : at + size], case.reference.dtype), case, "host")
        at += size
    assert at == len(ran.stdout)


def _host_blocks(case: Case) -> bytes:
    poison = b"" if case.in_place else (~case.reference).tobytes()
    scratch = np.random.default_rng(1).bytes(case.scratch)
    parts = [
        (case.x.tobytes(), case.input_offset or 0),
        (case.weights, case.second_offset),
        (case.bias, 0),
        (poison, case.output_offset or 0),
        (scratch, 0),
    ]
    return b"".join(struct.pack("<II", len(data), offset) + data for data, offset in parts)
