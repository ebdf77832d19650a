# SPDX-License-Identifier: Apache-2.0
"""Single Armv8.1-M instructions from drawn states, as a program that our interpreter and QEMU run alike."""

from __future__ import annotations

import hashlib
import random
import struct
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tuning.emulate import Emulator, find_toolchain, mve_decode
from tuning.emulate.mve_operation import NONE, Decoded, Operation

WORDS = 49  # of a state: Q0-Q7, VPR, FPSCR, APSR, R0-R12, LR
WINDOW_WORDS = 64
CASE_WORDS = WORDS + WINDOW_WORDS
VPR, FPSCR, APSR, REGISTERS = 32, 33, 34, 35
WINDOW = 0x2000_0100
STATE = 0x2000_0000
# Loops change how the loop of the program runs.
LEFT_OUT = frozenset({"le", "letp", "wls", "wlstp", "dlstp", "lctp"})

_MEMORY = frozenset({"VLDR", "VGATHER", "VLDN", "VLDM", "VLDRP"})

DRIVER = """
#include <stdint.h>
extern void run_one(const void *);
extern const uint32_t snippets[][4];
extern const uint32_t inputs[];
extern uint32_t outputs[];
#define WORDS {words}
void run_all(void);
void run_all(void)
{{
    volatile uint32_t *state = (volatile uint32_t *)0x{state:08x};
    volatile uint32_t *window = (volatile uint32_t *)0x{window:08x};
    for (int k = 0; k < {count}; k++) {{
        const uint32_t *in = inputs + k * {case_words};
        for (int j = 0; j < {words}; j++) state[j] = in[j];
        for (int j = 0; j < {window_words}; j++) window[j] = in[{words} + j];
        run_one(snippets[k]);
        for (int j = 0; j < {words}; j++) outputs[k * {case_words} + j] = state[j];
        for (int j = 0; j < {window_words}; j++) outputs[k * {case_words} + {words} + j] = window[j];
    }}
}}
"""

ASSEMBLY = """
.syntax unified
.thumb
.text
.global run_one
.type run_one, %function
.thumb_func
run_one:
    push {{r4-r11, lr}}
    vpush {{d8-d15}}
    orr r0, r0, #1
    push {{r0}}
    movw r0, #{low}
    movt r0, #{high}
    {loads}
    ldr r1, [r0, #128]
    ldr r2, [r0, #132]
    ldr r3, [r0, #136]
    vmsr fpscr_nzcvqc, r2
    msr apsr_nzcvq, r3
    vmsr vpr, r1
    add r0, r0, #140
    ldr lr, [r0, #52]
    ldmia r0, {{r0-r12}}
    pop {{pc}}
.size run_one, .-run_one
.type epilogue, %function
.thumb_func
epilogue:
    push {{r0-r12, lr}}
    movw r0, #{low}
    movt r0, #{high}
    mrs r1, apsr
    str r1, [r0, #136]
    vmrs r1, fpscr_nzcvqc
    str r1, [r0, #132]
    vmrs r1, vpr
    str r1, [r0, #128]
    mov r1, #0
    vmsr vpr, r1
    {stores}
    add r0, r0, #140
    pop {{r2-r8}}
    stmia r0!, {{r2-r8}}
    pop {{r2-r8}}
    stmia r0!, {{r2-r8}}
    vpop {{d8-d15}}
    pop {{r4-r11, pc}}
.size epilogue, .-epilogue
.global snippets
.type snippets, %function
.balign 4
.thumb_func
snippets:
{snippets}
.size snippets, .-snippets
.section .rodata
.balign 4
.global inputs
inputs:
.incbin "{inputs}"
.bss
.balign 4
.global outputs
.type outputs, %object
outputs: .space {bytes}
.size outputs, {bytes}
"""

BOOT = """
#include <stdint.h>
void run_all(void);
extern uint32_t outputs[];
static int host(int operation, const void *argument)
{
    register int r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}
void reset(void);
void reset(void)
{
    *(volatile uint32_t *)0xE000ED88 |= 0xFu << 20; /* CPACR: the FPU and Helium */
    __asm__ volatile("dsb\\n\\tisb");
    run_all();
    const uint32_t open[3] = {(uint32_t)":tt", 4, 3};
    const uint32_t write[3] = {(uint32_t)host(1, open), (uint32_t)outputs, BYTES};
    host(5, write);
    host(0x18, (const void *)0x20026);
    for (;;) { }
}
__attribute__((section(".vectors"), used)) static void (*const vectors[2])(void) = {(void (*)(void))STACK, reset};
"""


@dataclass(frozen=True)
class Case:
    """Up to three instructions and a state to run them from: `CASE_WORDS` words."""

    codes: tuple[int, ...]
    text: str
    state: np.ndarray


def encodings(draw: random.Random, each: int, tries: int = 400) -> Iterator[tuple[int, Decoded]]:
    """Encodings that are run, `each` of every row of the tables."""
    for form in mve_decode.FORMS:
        found = 0
        wanted = 8 * each if form.op == "immediate" else each  # one row has all kinds of them
        for _ in range(tries):
            code = form.value | (draw.getrandbits(32) & ~form.mask & 0xFFFF_FFFF)
            decoded = mve_decode._decode(code)
            operation = decoded.operation
            if operation is None or decoded.mnemonic in LEFT_OUT:
                continue
            if operation.op in _MEMORY and operation.rn in (13, 15):
                continue
            yield code, decoded
            found += 1
            if found == wanted:
                break


def _number(draw: random.Random) -> int:
    """A word: any, a small one, one at the ends of a range, bytes that are."""
    edges = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 0x8000_8000)
    match draw.randrange(4):
        case 0:
            return draw.choice(edges)
        case 1:
            return draw.randrange(-40, 40) & 0xFFFF_FFFF
        case 2:
            return int.from_bytes(bytes(draw.choice((0, 1, 0x7F, 0x80, 0xFF, draw.randrange(256))) for _ in range(4)))
    return draw.getrandbits(32)


def case(draw: random.Random, codes: Sequence[int]) -> Case:
    """A state in which the instructions reach nothing but the window."""
    decoded = [mve_decode._decode(code) for code in codes]
    operations = [item.operation for item in decoded if item.operation is not None]
    words = [_number(draw) for _ in range(CASE_WORDS)]
    masks = 0 if draw.random() < 0.4 else draw.getrandbits(8) << 16
    if draw.random() < 0.3:  # as a program has them
        masks = draw.randrange(16) * 0x110000
    if any(operation.op in ("VPT", "VPST", "VLDN") for operation in operations):
        masks = 0  # UNPREDICTABLE in a VPT block
    words[VPR] = draw.getrandbits(16) | masks
    words[FPSCR] = draw.getrandbits(5) << 27
    words[APSR] = draw.getrandbits(5) << 27
    for operation in operations:
        if operation.op in _MEMORY:
            _into_window(draw, operation, words)
    return Case(tuple(codes), "; ".join(item.text for item in decoded), np.array(words, np.uint32))


def _into_window(draw: random.Random, operation: Operation, words: list[int]) -> None:
    """Let the addresses of a load or store lie in the window."""
    align = min(1 << operation.memory, 4) if operation.op in ("VLDR", "VGATHER") else 4
    middle = WINDOW + 128 + align * draw.randrange(-2, 3)
    base = REGISTERS + min(operation.rn, 13)
    if operation.op == "VGATHER":
        lanes = bytearray()
        for _ in range(16 >> operation.size):
            place = draw.randrange(0, 64 >> operation.lane)
            place = place if operation.lane else place & -align
            if operation.rn == NONE:
                place += (middle & -8) - operation.immediate
            high = draw.getrandbits(32) << 32 if operation.size == 3 else 0
            lanes += (place | high).to_bytes(1 << operation.size, "little")
        words[4 * operation.qm : 4 * operation.qm + 4] = struct.unpack("<4I", lanes)
        if operation.rn != NONE:
            words[base] = (middle - 64) & -8
    elif operation.op == "VLDM":
        # Up to 128 bytes: from the window's start, or to its end.
        is_pushed = operation.immediate < 0 and operation.writeback
        words[base] = WINDOW + 248 if is_pushed else WINDOW + 4 * draw.randrange(8)
        words[base] -= 0 if operation.writeback else operation.immediate
    else:
        words[base] = middle - (0 if operation.post or operation.op == "VLDN" else operation.immediate)


def write_program(cases: Sequence[Case], folder: Path) -> Path:
    """The program, linked: `run_all` runs the cases from `inputs` to `outputs`, `reset` does so on a board."""
    blob, driver, assembly, boot = (folder / name for name in ("inputs.bin", "driver.c", "cases.s", "boot.c"))
    script, elf = folder / "board.ld", folder / "cases.elf"
    blob.write_bytes(b"".join(item.state.astype("<u4").tobytes() for item in cases))
    sizes = {"words": WORDS, "window_words": WINDOW_WORDS, "case_words": CASE_WORDS, "count": len(cases)}
    driver.write_text(DRIVER.format(**sizes, state=STATE, window=WINDOW))
    lines = []
    for item in cases:
        codes = [f".inst.w 0x{code:08x}" for code in item.codes] + ["nop.w"] * (3 - len(item.codes))
        lines.append("\n".join([*codes, "b.w epilogue"]))
    assembly.write_text(
        ASSEMBLY.format(
            low=STATE & 0xFFFF,
            high=STATE >> 16,
            loads="\n    ".join(f"vldrw.32 q{n}, [r0, #{16 * n}]" for n in range(8)),
            stores="\n    ".join(f"vstrw.32 q{n}, [r0, #{16 * n}]" for n in range(8)),
            snippets="\n".join(lines),
            inputs=blob,
            bytes=4 * CASE_WORDS * len(cases),
        )
    )
    boot.write_text(BOOT.replace("BYTES", str(4 * CASE_WORDS * len(cases))).replace("STACK", "0x2007f000"))
    script.write_text(SCRIPT)
    find_toolchain("clang").build([driver, assembly, boot], elf, "cortex-m55", cflags=["-O1"], script=script)
    return elf


def _states(data: bytes) -> np.ndarray:
    states = np.frombuffer(data, "<u4").reshape(-1, CASE_WORDS).copy()
    states[:, VPR] &= 0xFF_FFFF  # QEMU 7.2 keeps the bits above, which are zero
    return states


def run_here(elf: Path) -> np.ndarray:
    """The states after the cases, by our interpreter."""
    emulator = Emulator(elf, "cortex-m55")
    emulator.call("run_all")
    return _states(emulator.read("outputs"))


def run_in_qemu(elf: Path) -> np.ndarray:
    """The states after the cases, by QEMU's Cortex-M55."""
    command = ["qemu-system-arm", "-M", "mps3-an547", "-nographic", "-monitor", "none", "-serial", "none"]
    command += ["-semihosting-config", "enable=on,target=native", "-kernel", str(elf)]
    done = subprocess.run(command, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr.decode()[:300]
    return _states(done.stdout)


def difference(case: Case, ours: np.ndarray, theirs: np.ndarray) -> str:
    """Where two states after a case differ, in words; empty where they do not."""
    names = [f"q{n // 4}[{n % 4}]" for n in range(32)] + ["vpr", "fpscr", "apsr"]
    names += [f"r{n}" for n in range(13)] + ["lr"] + [f"window[{n}]" for n in range(WINDOW_WORDS)]
    found = [f"{names[n]} {ours[n]:08x}, not {theirs[n]:08x}" for n in np.flatnonzero(ours != theirs)[:4]]
    return f"{case.text}: {'; '.join(found)}" if found else ""


def digest(state: np.ndarray) -> str:
    """What is recorded of a state."""
    return hashlib.sha256(state.astype("<u4").tobytes()).hexdigest()[:12]


def sequences(draw: random.Random, count: int) -> list[Case]:
    """VPT blocks of two vector instructions."""
    pool = [(code, item.operation) for code, item in encodings(draw, 6) if item.operation and "#48" not in item.text]
    first = [code for code, operation in pool if operation.op in ("VPT", "VPST")]
    left_out = _MEMORY | {"VPT", "VPST", "CSEL", "SHIFT32", "SHIFT64", "CLRM", "VMRS"}
    others = [code for code, operation in pool if operation.op not in left_out]
    return [case(draw, [draw.choice(first), draw.choice(others), draw.choice(others)]) for _ in range(count)]


def loops(draw: random.Random, count: int) -> list[Case]:
    """A vector instruction in a loop of each kind: counted or with a predicated tail, begun by DLS or WLS."""
    left_out = _MEMORY | {"VPT", "VPST", "CSEL", "SHIFT32", "SHIFT64", "CLRM", "VMRS"}
    pool = [
        code
        for code, item in encodings(draw, 6)
        if item.operation and item.operation.op not in left_out and "lr" not in item.writes
    ]
    found = []
    for _ in range(count):
        register, size, tail = draw.randrange(13), draw.randrange(4), draw.random() < 0.8
        begin = 0xF000_0000 | (size if tail else 4) << 20 | register << 16 | draw.choice((0xE001, 0xC005))
        made = case(draw, [begin, draw.choice(pool), 0xF01F_C005 if tail else 0xF00F_C005])
        made.state[REGISTERS + register] = draw.randrange(40) if begin & 0x2000 == 0 or tail else draw.randrange(1, 40)
        found.append(made)
    return found


SCRIPT = """
ENTRY(reset)
SECTIONS {
    . = 0x0;
    .text : { KEEP(*(.vectors)) *(.text*) }
    . = 0x60000000;
    .rodata : { *(.rodata*) }
    . = 0x61000000;
    .bss (NOLOAD) : { *(.bss*) *(COMMON) }
    /DISCARD/ : { *(.ARM.exidx*) *(.ARM.extab*) *(.comment) }
}
"""
