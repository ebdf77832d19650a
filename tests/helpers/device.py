# SPDX-License-Identifier: Apache-2.0
"""Run device kernels in an emulator and on the host, and hold every element against the reference.

A list of :class:`Case` becomes one C file and one ELF per (core, compiler, level). Each case runs with its own buffers: output poisoned with
the complement of what is expected, scratch of exactly the announced size, guard bytes on both sides of every buffer, and a
memory check that refuses accesses outside the case's buffers and accesses that the core cannot make at that address.

    machine = build(cases, "cortex-m4", "gcc", "-O3")
    machine.check()                       # every case; raises AssertionError that names case, element, got, expected
    machine.cycles(0)                     # cycles of one case by the emulator's pricing
"""

from __future__ import annotations

import shutil
import struct
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

import cmsisnn_x
from cmsisnn_x._variants import BLOCKED_OPS, Variant
from cmsisnn_x.layers import PYTHON_OPS, Layer
from helpers.layers import activation_table, meaning
from tuning.emit.macros import layer_macros

INCLUDE = Path(cmsisnn_x.__file__).parent / "include"
CORES = ("cortex-m0plus", "cortex-m3", "cortex-m4", "cortex-m7", "cortex-m33")
LEVELS = ("-O2", "-O3", "-Os")
WARNINGS = ("-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror")
C_TYPES = {"q7": "int8_t", "q15": "int16_t"}


@dataclass(frozen=True, eq=False)
class Case:
    """One layer run once by one kernel variant.

    `input_offset` and `output_offset` are bytes past a word boundary for a buffer of unknown alignment; None is a buffer
    that the kernel may take to be word aligned. `other` is the second operand of ``multiply``. `macros` are added
    to the layer's (without prefix); `expected` replaces the reference where the kernel computes more than the layer.
    """

    layer: Layer
    variant: Variant | None = None
    input: np.ndarray | None = None
    other: np.ndarray | None = None
    input_offset: int | None = None
    output_offset: int | None = None
    in_place: bool = False
    macros: Mapping[str, int] = field(default_factory=dict)
    expected: np.ndarray | None = None
    scratch_bytes: int | None = None

    @property
    def op(self) -> str:
        return PYTHON_OPS.get(self.layer.op, self.layer.op)

    def __str__(self) -> str:
        layer = self.layer
        parts = [
            f"{self.op} {layer.dtype}", f"{layer.input_shape}->{layer.output_shape}", f"kernel {layer.kernel}", f"stride {layer.stride}",
            f"padding {layer.padding}", f"shifts {layer.bias_shift},{layer.out_shift}", str(self.variant or ""),
            f"offsets {self.input_offset},{self.output_offset}", "in place" if self.in_place else "",
        ]  # fmt: skip
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
        return np.ascontiguousarray(meaning(self.layer, self.x, self.other))

    @cached_property
    def weights(self) -> bytes:
        """Second buffer of the call: packed weights, or the other operand of ``multiply``."""
        if self.other is not None:
            return np.ascontiguousarray(self.other, self.layer.numpy_dtype).tobytes()
        if self.layer.weights is None:
            return b""
        from cmsisnn_x.packing import pack_device_weights

        return pack_device_weights(self.layer, self.variant).tobytes()

    @cached_property
    def bias(self) -> bytes:
        if self.layer.weights is None:
            return b""
        assert self.layer.bias is not None, "device kernels always get a bias; give zeros"
        return np.ascontiguousarray(self.layer.bias).tobytes()

    @cached_property
    def scratch(self) -> int:
        if self.scratch_bytes is not None:
            return self.scratch_bytes
        if self.op not in BLOCKED_OPS:
            return 0
        from cmsisnn_x.buffers import layer_scratch_bytes

        return layer_scratch_bytes(self.layer, self.variant)


def draw(shape: tuple[int, ...], dtype: str, key: str) -> np.ndarray:
    """Reproducible integers over the full range of a type, one in eight at an extreme or at zero."""
    rng = np.random.default_rng(zlib.crc32(key.encode()))
    info = np.iinfo(np.int8 if dtype == "q7" else np.int16)
    values = rng.integers(info.min, info.max, shape, info.dtype, endpoint=True)
    return np.where(rng.random(shape) < 0.125, rng.choice(np.array([info.min, info.max, 0, -1], info.dtype), shape), values)


# ---------------------------------------------------------------- C text


def c_source(cases: Sequence[Case]) -> str:
    """One translation unit: the macros and the kernel of every case, and an external function ``caseN`` that calls it."""
    lines = ['#include "cmsisnn_x/config.h"', "#include <stdint.h>", ""]
    for number, case in enumerate(cases):
        lines += [*_case_source(number, case), ""]
    return "\n".join(lines)


def _case_source(number: int, case: Case) -> list[str]:
    layer, prefix, name = case.layer, f"CASE{number}", f"case{number}"
    macros = layer_macros(
        layer, case.variant, prefix, scratch_bytes=case.scratch, input_aligned=case.input_offset is None, output_aligned=case.output_offset is None
    )
    macros |= {f"{prefix}_{key}": value for key, value in case.macros.items()}
    lines = [f"/* {case} */", *(f"#define {key} {value}" for key, value in macros.items())]
    if case.op in ("sigmoid", "tanh"):
        table = ", ".join(map(str, activation_table(case.op, layer.dtype)))
        lines += [f"static const {C_TYPES[layer.dtype]} {name}_table[256] = {{{table}}};", f"#define CXN_TABLE {name}_table"]
    lines += [f"#define CXN_LAYER {prefix}", f"#define CXN_KERNEL {name}_kernel", f'#include "cmsisnn_x/{case.op}.h"']
    element, weight = C_TYPES[layer.dtype], C_TYPES[layer.weights_dtype or layer.dtype]
    call = [f"(const {element} *)input"]
    if case.op in BLOCKED_OPS:
        packed = "int16_t" if _is_widened(case) else weight
        call += [f"(const {packed} *)weights", f"(const {weight} *)bias"]
    elif case.op == "multiply":
        call += [f"(const {element} *)weights"]
    call += [f"({element} *)output", "scratch"]
    arguments = "const void *input, const void *weights, const void *bias, void *output, void *scratch"
    return [
        *lines,
        f"void {name}({arguments});",
        f"void {name}({arguments})",
        "{",
        "    (void)weights; (void)bias;",
        f"    {name}_kernel({', '.join(call)});",
        "}",
    ]


def _is_widened(case: Case) -> bool:
    return case.variant is not None and case.variant.weight_layout == "widened"


RUNTIME = """
#include <stddef.h>
void *memcpy(void *to, const void *from, size_t n)
{ volatile char *t = (volatile char *)to; const char *f = (const char *)from; while (n--) *t++ = *f++; return to; }
void *memset(void *to, int value, size_t n)
{ volatile char *t = (volatile char *)to; while (n--) *t++ = (char)value; return to; }
void __aeabi_memcpy(void *to, const void *from, size_t n) { memcpy(to, from, n); }
void __aeabi_memcpy4(void *to, const void *from, size_t n) { memcpy(to, from, n); }
void __aeabi_memcpy8(void *to, const void *from, size_t n) { memcpy(to, from, n); }
void __aeabi_memset(void *to, size_t n, int value) { memset(to, value, n); }
void __aeabi_memset4(void *to, size_t n, int value) { memset(to, value, n); }
void __aeabi_memset8(void *to, size_t n, int value) { memset(to, value, n); }
void __aeabi_memclr(void *to, size_t n) { memset(to, 0, n); }
void __aeabi_memclr4(void *to, size_t n) { memset(to, 0, n); }
void __aeabi_memclr8(void *to, size_t n) { memset(to, 0, n); }
"""
"""All that a kernel may need from outside: anything else, libgcc included, is an undefined symbol at link time."""


LINKER_SCRIPT = """
ENTRY(case0)
SECTIONS {
    .text 0x10000 : { *(.text*) *(.rodata*) }
    /DISCARD/ : { *(.ARM.exidx*) *(.ARM.extab*) *(.comment) }
}
"""
"""Kernels own no variables, so a data section would be an orphan the check refuses to read."""


def compilers() -> list[str]:
    """The compilers that are here: Clang of the ziglang wheel always, GCC when on PATH."""
    return [*(["gcc"] if shutil.which("arm-none-eabi-gcc") else []), "clang"]


def compiler_command(core: str, compiler: str) -> list[str]:
    if compiler == "gcc":
        return ["arm-none-eabi-gcc", f"-mcpu={core}", "-mthumb"]
    cpu = core.replace("-", "_")
    return [sys.executable, "-m", "ziglang", "cc", "-target", "thumb-freestanding-eabi", f"-mcpu={cpu}", "-fno-sanitize=all"]


def run_tool(command: Sequence[object]) -> subprocess.CompletedProcess[bytes]:
    done = subprocess.run([str(part) for part in command], capture_output=True, check=False)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stderr.decode()}"
    return done


def build(cases: Sequence[Case], core: str, compiler: str = "gcc", level: str = "-O3", flags: Sequence[str] = ()) -> Machine:
    """Compile every case into one ELF for `core`; any warning is a failure."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "cases.c").write_text(c_source(cases))
        (root / "runtime.c").write_text(RUNTIME)
        tool = compiler_command(core, compiler)
        quiet = ["-fno-builtin"]
        run_tool([*tool, *WARNINGS, level, *flags, "-ffunction-sections", "-I", INCLUDE, "-c", root / "cases.c", "-o", root / "cases.o"])
        run_tool([*tool, "-std=c99", "-O1", *quiet, "-c", root / "runtime.c", "-o", root / "runtime.o"])
        (root / "cases.ld").write_text(LINKER_SCRIPT)
        link = ["-nostdlib", "-static", "-T", root / "cases.ld"]
        run_tool([*tool, *link, root / "cases.o", root / "runtime.o", "-o", root / "cases.elf"])
        return Machine(list(cases), core, (root / "cases.elf").read_bytes())


# ---------------------------------------------------------------- emulation

RAM, STACK_TOP, STACK_BYTES, RETURN = 0x20100000, 0x20F00000, 0x4000, 0x0F000000
GUARD, GUARD_BYTE = 64, 0xA5


class Machine:
    """An emulated core with the cases' code loaded."""

    def __init__(self, cases: list[Case], core: str, elf: bytes) -> None:
        self.cases, self.core, self.elf = cases, core, elf

    def check(self, numbers: Sequence[int] | None = None) -> None:
        """Run the cases (all by default) and compare every element; AssertionError at the first that differs."""
        for number in range(len(self.cases)) if numbers is None else numbers:
            self.run(number)

    def run(self, number: int) -> None:
        """Run one case with every memory access checked."""
        import unicorn
        from unicorn import arm_const as arm

        case = self.cases[number]
        uc, symbols, code = self._boot()
        buffers = self._place(case)
        for buffer in buffers.values():
            uc.mem_write(buffer.address - GUARD, bytes([GUARD_BYTE]) * (len(buffer.data) + 2 * GUARD))
            if buffer.data:
                uc.mem_write(buffer.address, buffer.data)
        readable = sorted([*((b.address, b.end) for b in buffers.values()), *code, (STACK_TOP - STACK_BYTES, STACK_TOP)])
        writable = [(buffers[n].address, buffers[n].end) for n in ("output", "scratch")] + [(STACK_TOP - STACK_BYTES, STACK_TOP)]
        problems: list[str] = []

        def on_access(engine, access, address, size, value, user):  # the engine calls this for every load and store
            is_write = access == unicorn.UC_MEM_WRITE
            allowed = any(low <= address and address + size <= high for low, high in (writable if is_write else readable))
            if not allowed or address % size:
                at = engine.reg_read(arm.UC_ARM_REG_PC)
                verb = f"{'write' if is_write else 'read'} of {size} at {address:#x} {_where(buffers, address)}, pc {at:#x}"
                if not allowed:
                    problems.append(f"{verb}: outside the case's buffers")
                elif self.core == "cortex-m0plus" or _needs_alignment(bytes(engine.mem_read(at, 4))):
                    problems.append(f"{verb}: unaligned")
                if len(problems) > 8:
                    engine.emu_stop()

        uc.hook_add(unicorn.UC_HOOK_MEM_READ | unicorn.UC_HOOK_MEM_WRITE, on_access)
        saved = self._call(uc, symbols[f"case{number}"], buffers)
        assert not problems, f"{self.core} {case}: " + "; ".join(problems)
        assert uc.reg_read(arm.UC_ARM_REG_PC) & ~1 == RETURN, f"{self.core} {case}: did not return"
        for register, value in saved.items():
            assert uc.reg_read(register) == value, f"{self.core} {case}: a callee-saved register changed"
        for name, buffer in buffers.items():
            for address in (buffer.address - GUARD, buffer.end):
                assert bytes(uc.mem_read(address, GUARD)) == bytes([GUARD_BYTE]) * GUARD, f"{self.core} {case}: guard bytes of {name} changed"
            if name not in ("output", "scratch") and not case.in_place and buffer.data:
                assert bytes(uc.mem_read(buffer.address, len(buffer.data))) == buffer.data, f"{self.core} {case}: {name} changed"
        output = buffers["output"]
        assert_equal(np.frombuffer(uc.mem_read(output.address, len(output.data)), case.reference.dtype), case, self.core)

    def _boot(self):
        import io

        import unicorn
        from elftools.elf.elffile import ELFFile
        from unicorn import arm_const as arm

        models = {
            "cortex-m0plus": arm.UC_CPU_ARM_CORTEX_M0, "cortex-m3": arm.UC_CPU_ARM_CORTEX_M3, "cortex-m4": arm.UC_CPU_ARM_CORTEX_M4,
            "cortex-m7": arm.UC_CPU_ARM_CORTEX_M7, "cortex-m33": arm.UC_CPU_ARM_CORTEX_M33,
        }  # fmt: skip
        uc = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS)
        uc.ctl_set_cpu_model(models[self.core])
        uc.mem_map(0, 0x0F000000)
        uc.mem_map(RETURN, 0x1000)
        uc.mem_map(0x20000000, 0x1000000)
        file = ELFFile(io.BytesIO(self.elf))
        code = []
        for segment in file.iter_segments():
            if segment["p_type"] == "PT_LOAD" and segment["p_filesz"]:
                uc.mem_write(segment["p_vaddr"], segment.data())
                code.append((segment["p_vaddr"], segment["p_vaddr"] + segment["p_memsz"]))
        symbols = {s.name: s["st_value"] for s in file.get_section_by_name(".symtab").iter_symbols() if s.name}
        return uc, symbols, code

    @staticmethod
    def _place(case: Case) -> dict[str, Buffer]:
        poison = (~case.reference).tobytes()
        rng = np.random.default_rng(1)
        contents = {
            "input": (case.x.tobytes(), case.input_offset or 0), "weights": (case.weights, 0),
            "bias": (case.bias, case.layer.weights.dtype.itemsize if case.layer.weights is not None else 0),
            "output": (poison, case.output_offset or 0), "scratch": (rng.bytes(case.scratch), 0),
        }  # fmt: skip
        address, buffers = RAM, {}
        for name, (data, offset) in contents.items():
            address = (address + GUARD + 7) // 8 * 8 + offset
            buffers[name] = Buffer(address, data)
            address += len(data) + GUARD
        if case.in_place:
            buffers["output"] = buffers["input"]
        return buffers

    @staticmethod
    def _call(uc, function: int, buffers: Mapping[str, Buffer], budget: int = 200_000_000) -> dict[int, int]:
        from unicorn import arm_const as arm

        scratch = buffers["scratch"].address if buffers["scratch"].data else 0
        uc.mem_write(STACK_TOP - 8, struct.pack("<II", scratch, 0))
        saved = {getattr(arm, f"UC_ARM_REG_R{n}"): 0x5A5A0000 + n for n in range(4, 12)} | {arm.UC_ARM_REG_SP: STACK_TOP - 8}
        passed = (arm.UC_ARM_REG_R0, arm.UC_ARM_REG_R1, arm.UC_ARM_REG_R2, arm.UC_ARM_REG_R3)
        arguments = zip(passed, (buffers[n].address for n in ("input", "weights", "bias", "output")), strict=True)
        for register, value in [*saved.items(), *arguments, (arm.UC_ARM_REG_LR, RETURN | 1)]:
            uc.reg_write(register, value)
        uc.emu_start(function | 1, RETURN, count=budget)
        return saved


@dataclass(frozen=True)
class Buffer:
    address: int
    data: bytes

    @property
    def end(self) -> int:
        return self.address + len(self.data)


def _where(buffers: Mapping[str, Buffer], address: int) -> str:
    name, buffer = min(buffers.items(), key=lambda item: max(item[1].address - address, address - item[1].end))
    return f"({name}{address - buffer.address:+d} of {len(buffer.data)})"


def _needs_alignment(code: bytes) -> bool:
    """Whether the Thumb instruction is one that faults at an unaligned address on every core: LDM, STM, LDRD, STRD, PUSH, POP, VLDR, VLDM."""
    first, _ = struct.unpack("<HH", code)
    if first < 0xE800:
        return first >> 12 == 0xC or first >> 9 in (0xB4 >> 1, 0xBC >> 1)
    is_multiple = first & 0xFE00 == 0xE800
    is_vector = first & 0xFE00 == 0xEC00
    return is_multiple or is_vector


def assert_equal(got: np.ndarray, case: Case, where: str) -> None:
    expected = case.reference
    got = got.reshape(expected.shape)
    wrong = np.argwhere(got != expected)
    if len(wrong):
        first = tuple(map(int, wrong[0]))
        raise AssertionError(f"{where} {case}: {len(wrong)} of {expected.size} differ, first at {first}: got {got[first]}, expected {expected[first]}")
