# SPDX-License-Identifier: Apache-2.0
"""A second opinion: cases in QEMU's emulation of whole boards, data compiled in, the verdict by semihosting."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from helpers.device import INCLUDE, WARNINGS, Case, c_source
from tuning.emulate import find_toolchain
from tuning.target.cores import CORES


@dataclass(frozen=True)
class Board:
    """A QEMU machine: its code memory, its data memory and the core flag of the compiler."""

    machine: str
    core: str
    flash: int = 0
    ram: int = 0x20000000
    ram_bytes: int = 0x100000


BOARDS = tuple(
    Board(core.machine.name, core.name, int(core.machine.flash_origin, 16), int(core.machine.sram_origin, 16))
    if core.features.unaligned
    # A Cortex-M0: it has the instructions of an M0+, and faults at unaligned access as well.
    else Board("microbit", core.name, ram_bytes=0x4000)
    for core in CORES.values()
    if not core.like_gcc  # to QEMU those are one with the core that GCC takes them for
)

SCRIPT = """
ENTRY(reset)
SECTIONS {{
    . = {flash:#x};
    .text : {{ KEEP(*(.vectors)) *(.text*) *(.rodata*) }}
    . = {ram:#x};
    .bss (NOLOAD) : {{ *(.bss*) *(COMMON) }}
    /DISCARD/ : {{ *(.ARM.exidx*) *(.ARM.extab*) *(.comment) }}
}}
"""

MAIN = """
static int host(int operation, const void *argument)
{
    register int r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

/* SYS_WRITE0 prints the first wrong case; SYS_EXIT with ADP_Stopped_ApplicationExit ends with status 0. */
static void verdict(int wrong)
{
    char text[] = "case 000\\n";
    text[5] = (char)('0' + wrong / 100 % 10);
    text[6] = (char)('0' + wrong / 10 % 10);
    text[7] = (char)('0' + wrong % 10);
    (void)host(4, wrong < 0 ? "all equal\\n" : text);
    (void)host(0x18, (const void *)(wrong < 0 ? 0x20026 : 0x20023));
}

static int differs(const uint8_t *a, const uint8_t *b, unsigned size)
{
    while (size--) {
        if (*a++ != *b++) {
            return 1;
        }
    }
    return 0;
}

/* The floating-point unit, whose registers vectors are in, is off at reset. */
__asm__(".syntax unified\\n.text\\n.thumb\\n.global reset\\n.type reset, %function\\n.thumb_func\\nreset:\\n"
        "ldr r0, =0xe000ed88\\nmovs r1, #15\\nlsls r1, r1, #20\\nstr r1, [r0]\\ndsb\\nisb\\n"
        "bl run\\n.ltorg\\n.size reset, .-reset");
void reset(void);
void run(void);
void run(void)
{
    int wrong = -1;
CALLS
    verdict(wrong);
    for (;;) {
    }
}

__attribute__((section(".vectors"), used)) static void (*const vectors[2])(void) = {(void (*)(void))STACK, reset};
"""


def program(cases: Sequence[Case], board: Board) -> str:
    """C text of a firmware image that runs the cases and says whether every output is as expected."""
    arrays, calls = [], []
    for number, case in enumerate(cases):
        assert not case.in_place
        contents = {
            "input": (case.x.tobytes(), case.input_offset or 0),
            "weights": (case.weights, case.second_offset),
            "bias": (case.bias, 0),
            "expected": (case.reference.tobytes(), 0),
        }
        for name, (data, offset) in contents.items():
            text = ", ".join(map(str, bytes(offset) + (data or b"\0")))
            arrays.append(f"static const uint8_t data{number}_{name}[] __attribute__((aligned(4))) = {{{text}}};")
        size = case.reference.nbytes
        output_offset = case.output_offset or 0
        sizes = {"output": size + output_offset, "scratch": max(case.scratch, 4)}
        arrays += [f"static uint8_t data{number}_{n}[{b}] __attribute__((aligned(4)));" for n, b in sizes.items()]
        arguments = [f"data{number}_{name} + {contents[name][1]}" for name in ("input", "weights", "bias")]
        arguments += [f"data{number}_output + {output_offset}", f"data{number}_scratch"]
        equal = f"differs(data{number}_output + {output_offset}, data{number}_expected, {size})"
        calls += [
            f"    case{number}({', '.join(arguments)});",
            f"    if (wrong < 0 && {equal}) {{ wrong = {number}; }}",
        ]
    stack = hex(board.ram + board.ram_bytes)
    return "\n".join([c_source(cases), *arrays, MAIN.replace("CALLS", "\n".join(calls)).replace("STACK", stack)])


def check_in_qemu(cases: Sequence[Case], board: Board, compiler: str, level: str = "-O2") -> None:
    """Build the image, boot it on the board, and fail unless every output is equal."""
    toolchain = find_toolchain(compiler)
    with tempfile.TemporaryDirectory() as folder:
        source, script, image = (Path(folder) / name for name in ("main.c", "main.ld", "main.elf"))
        source.write_text(program(cases, board))
        script.write_text(SCRIPT.format(flash=board.flash, ram=board.ram))
        toolchain.build([source], image, board.core, cflags=[*WARNINGS, level], include=[INCLUDE], script=script)
        command = ["qemu-system-arm", "-M", board.machine, "-nographic", "-monitor", "none", "-serial", "none"]
        command += ["-semihosting-config", "enable=on,target=native", "-kernel", str(image)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    said = (done.stdout + done.stderr).strip()
    if said.startswith("case ") and said[5:8].isdigit():
        said = f"differs: {cases[int(said[5:8])]}"
    assert said == "all equal", f"{board.machine}: {said}"
    assert done.returncode == 0
