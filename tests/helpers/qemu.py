# SPDX-License-Identifier: Apache-2.0
"""A second opinion: cases in QEMU's emulation of whole boards, data linked in, the verdict by semihosting.

Each run has an output that is poisoned and scratch of exactly the announced size, both between bytes that may not
change, and a caller that looks at the registers which belong to it, those of vectors too.
"""

from __future__ import annotations

import struct
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from helpers import bands, device
from helpers.bands import BandCase
from helpers.device import INCLUDE, WARNINGS, Case
from tuning.emulate import find_toolchain
from tuning.target.cores import CORES


@dataclass(frozen=True)
class Board:
    """A QEMU machine: its code memory, its data memory and the core flag of the compiler."""

    machine: str
    core: str
    flash: int = 0
    ram: int = 0x20000000
    flash_bytes: int = 0x80000
    ram_bytes: int = 0x80000


BOARDS = tuple(
    Board(core.machine.name, core.name, int(core.machine.flash_origin, 16), int(core.machine.sram_origin, 16))
    if core.features.unaligned
    # A Cortex-M0: it has the instructions of an M0+, and faults at unaligned access as well.
    else Board("microbit", core.name, flash_bytes=0x40000, ram_bytes=0x4000)
    for core in CORES.values()
    if not core.like_gcc  # to QEMU those are one with the core that GCC takes them for
)

SCRIPT = """
ENTRY(reset)
SECTIONS {{
    . = {flash:#x};
    .text : {{ KEEP(*(.vectors)) *(.text*) *(.rodata*) }}
    ASSERT(. <= {flash:#x} + {flash_bytes:#x}, "the image is too large for its board")
    . = {ram:#x};
    .bss (NOLOAD) : {{ *(.bss*) *(COMMON) }}
    /DISCARD/ : {{ *(.ARM.exidx*) *(.ARM.extab*) *(.comment) }}
}}
"""

GUARD_BYTES = 16
AT_ONCE, SHARE = 60, 0.5
"""Cases of an image at most, and what their data may take of its code memory."""

MAIN = """
static int host(int operation, const void *argument)
{
    register int r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

/* SYS_WRITE0 prints the first run that went wrong; SYS_EXIT with ADP_Stopped_ApplicationExit ends with status 0. */
static void verdict(unsigned run, char wrong)
{
    char text[] = "run 00000 .\\n";
    for (int at = 8; at > 3; --at, run /= 10u) {
        text[at] = (char)('0' + run % 10u);
    }
    text[10] = wrong;
    (void)host(4, wrong ? text : "all equal\\n");
    (void)host(0x18, (const void *)(wrong ? 0x20023 : 0x20026));
}

typedef void (*entry)(void);
int checked_call(entry function, const void *const *arguments);
extern const uint32_t runs[];
static const entry entries[] = {ENTRIES};
static uint8_t memory[MEMORY] __attribute__((aligned(8)));

/* Room of `size` bytes, `offset` past a word, between guards. */
static uint8_t *take(uint8_t **free, uint32_t size, uint32_t offset)
{
    uint8_t *const found = *free + GUARD + offset;
    for (uint32_t i = 0; i < size + offset + 2 * GUARD; ++i) {
        (*free)[i] = (uint8_t)(0xc3 ^ i);
    }
    *free += (size + offset + 2 * GUARD + 3) & ~3u;
    return found;
}

static int is_kept(const uint8_t *start, uint32_t size, uint32_t offset)
{
    const uint8_t *const first = start - offset - GUARD;
    for (uint32_t i = 0; i < size + offset + 2 * GUARD; ++i) {
        if ((i < GUARD + offset || i >= GUARD + offset + size) && first[i] != (uint8_t)(0xc3 ^ i)) {
            return 0;
        }
    }
    return 1;
}

static char wrong(const uint32_t **at)
{
    const uint32_t *const head = *at;
    const uint8_t *blocks[4];
    const uint8_t *next = (const uint8_t *)(head + 14);
    for (int i = 0; i < 4; ++i) {  /* input, weights, bias, what is expected: offsets and sizes */
        const uint32_t offset = head[2 * i], size = head[2 * i + 1];
        blocks[i] = next + offset;
        next += (offset + size + 3) & ~3u;
    }
    *at = (const uint32_t *)(const void *)next;
    const uint32_t scratch_bytes = head[8], in_place = head[10], start = head[11], written = head[7];
    const uint32_t offset = in_place ? head[0] : head[6], size = in_place ? head[1] : written;
    uint8_t *free = memory;
    uint8_t *const output = take(&free, size, offset);
    uint8_t *const scratch = take(&free, scratch_bytes, 0);
    for (uint32_t i = 0; i < size; ++i) {
        output[i] = in_place ? blocks[0][i] : (uint8_t)~blocks[3][i];
    }
    const void *const arguments[8] = {
        in_place ? output + start : blocks[0], blocks[1], blocks[2], output, scratch,
        (const void *)(head[12] & 0xffff), (const void *)(head[12] >> 16), (const void *)head[13],
    };
    if (checked_call(entries[head[9]], arguments)) {
        return 'r';
    }
    for (uint32_t i = 0; i < size; ++i) {
        if (output[i] != (i < written ? blocks[3][i] : blocks[0][i])) {
            return 'd';
        }
    }
    return is_kept(output, size, offset) && is_kept(scratch, scratch_bytes, 0) ? 0 : 'g';
}

/* The floating-point unit, whose registers vectors are in, is off at reset. */
__asm__(".syntax unified\\n.text\\n.thumb\\n.global reset\\n.type reset, %function\\n.thumb_func\\nreset:\\n"
        "ldr r0, =0xe000ed88\\nmovs r1, #15\\nlsls r1, r1, #20\\nstr r1, [r0]\\ndsb\\nisb\\n"
        "bl run\\n.ltorg\\n.size reset, .-reset");
void reset(void);
void run(void);
void run(void)
{
    const uint32_t *at = runs;
    for (unsigned number = 0; number < RUNS; ++number) {
        const char how = wrong(&at);
        if (how) {
            verdict(number, how);
        }
    }
    verdict(0, 0);
    for (;;) {
    }
}

__attribute__((section(".vectors"), used)) static void (*const vectors[2])(void) = {(void (*)(void))STACK, reset};
"""
WRONG = {"d": "differs", "g": "wrote outside of its buffers", "r": "a register of the caller changed"}


def caller(vectors: bool) -> str:
    """``int checked_call(function, arguments)`` as assembly: 0 when the function kept what belongs to its caller."""
    vector = [f"vdup.32 q{n}, r{n}" for n in range(4, 8)] if vectors else []
    lanes = [(f"s{4 * n + lane}", n) for n in range(4, 8) for lane in range(4)] if vectors else []
    lines = [
        "push {r4-r7, lr}", "mov r4, r8", "mov r5, r9", "mov r6, r10", "mov r7, r11", "push {r4-r7}",
        *(["vpush {d8-d15}"] if vectors else []), "sub sp, #20", "str r0, [sp, #16]",
        *(f"ldr r0, [r1, #{16 + 4 * n}]\nstr r0, [sp, #{4 * n}]" for n in range(4)),
        *(f"movs r4, #{0x40 + n}\nmov r{n}, r4" for n in range(5, 12)), "movs r4, #0x44", *vector,
        "ldr r0, [r1, #0]", "ldr r2, [r1, #8]", "ldr r3, [r1, #12]", "ldr r1, [r1, #4]",
        "push {r0}", "ldr r0, [sp, #20]", "mov r12, r0", "pop {r0}", "blx r12",
        "movs r0, #0",
        *(f"mov r1, r{n}\nsubs r1, #{0x40 + n}\norrs r0, r1" for n in range(4, 12)),
        *(f"vmov r1, {lane}\nsubs r1, #{0x40 + n}\norrs r0, r1" for lane, n in lanes),
        "add sp, #20", *(["vpop {d8-d15}"] if vectors else []),
        "pop {r4-r7}", "mov r8, r4", "mov r9, r5", "mov r10, r6", "mov r11, r7", "pop {r4-r7, pc}",
    ]  # fmt: skip
    head = [".syntax unified", ".text", ".thumb", ".global checked_call", ".type checked_call, %function"]
    text = "\n".join([*head, ".thumb_func", "checked_call:", *lines, ".size checked_call, .-checked_call"])
    return f"__asm__({_quoted(text)});"


def _quoted(text: str) -> str:
    return "\n".join(f'"{line}\\n"' for line in text.splitlines())


def _words(case: Case, number: int) -> Iterator[tuple[str, bytes, int]]:
    """Of every call of a case: what it is, its data as the program reads them, and the memory that it takes."""
    calls = case.calls if isinstance(case, BandCase) else [None]
    for call in calls:
        third, start, rows = case.third_offset if case.bias else 0, 0, (0, 0, 0)
        blocks = [(case.x.tobytes(), case.input_offset or 0), (case.weights, case.second_offset), (case.bias, third)]
        expected = case.reference.tobytes()
        if call is not None:
            assert isinstance(case, BandCase)
            blocks, expected = case.buffers(call)[:3], case.expected_rows(call)
            rows = call.inside, call.above, call.out
            if case.in_place:
                shared, start = case.shared(call)
                blocks[0] = (shared, case.input_offset or 0)
        blocks.append((expected, case.output_offset or 0))
        head = [word for data, offset in blocks for word in (offset, len(data))]
        head += [case.scratch, number, case.in_place, start, rows[0] | rows[1] << 16, rows[2]]
        padded = [bytes(offset) + content + bytes(-(offset + len(content)) % 4) for content, offset in blocks]
        room = case.scratch + max(len(blocks[0][0]), len(expected)) + 4 * GUARD_BYTES + 16
        yield f"{case}{f': {call}' if call else ''}", struct.pack("<14I", *head) + b"".join(padded), room


def check_in_qemu(cases: Sequence[Case], board: Board, compiler: str, level: str = "-O2") -> None:
    """Build images of cases, or of cases in bands, boot them on the board, and fail unless every output is equal and
    nothing else was written.
    """
    image: list[Case] = []
    size = 0
    for case in cases:
        own = sum(len(data) for _, data, _ in _words(case, 0))
        if image and (len(image) == AT_ONCE or size + own > SHARE * board.flash_bytes):
            _check(image, board, compiler, level)
            image, size = [], 0
        image.append(case)
        size += own
    _check(image, board, compiler, level)


def _check(cases: Sequence[Case], board: Board, compiler: str, level: str) -> None:
    toolchain = find_toolchain(compiler)
    runs = [run for number, case in enumerate(cases) for run in _words(case, number)]
    are_bands = isinstance(cases[0], BandCase)
    text = bands.c_source(cases) if are_bands else device.c_source(cases)  # type: ignore[arg-type]
    values = {
        "ENTRIES": ", ".join(f"(entry)case{number}" for number in range(len(cases))),
        "MEMORY": str(max(room for _, _, room in runs)),
        "GUARD": f"{GUARD_BYTES}u",
        "RUNS": f"{len(runs)}u",
        "STACK": hex(board.ram + board.ram_bytes),
    }
    main = MAIN
    for name, value in values.items():
        main = main.replace(name, value)
    with tempfile.TemporaryDirectory() as folder:
        source, script, image, data = (Path(folder) / name for name in ("main.c", "main.ld", "main.elf", "runs"))
        data.write_bytes(b"".join(content for _, content, _ in runs))
        linked = f'.section .rodata.runs, "a"\n.balign 4\n.global runs\nruns:\n.incbin "{data.as_posix()}"\n.text'
        linked = _quoted(linked.replace('"', '\\"'))
        source.write_text("\n".join([text, f"__asm__({linked});", caller(CORES[board.core].helium), main]))
        script.write_text(SCRIPT.format(flash=board.flash, flash_bytes=board.flash_bytes, ram=board.ram))
        toolchain.build([source], image, board.core, cflags=[*WARNINGS, level], include=[INCLUDE], script=script)
        command = ["qemu-system-arm", "-M", board.machine, "-nographic", "-monitor", "none", "-serial", "none"]
        command += ["-semihosting-config", "enable=on,target=native", "-kernel", str(image)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    said = (done.stdout + done.stderr).strip()
    if said.startswith("run ") and said[4:9].isdigit():
        said = f"{WRONG[said[10]]}: {runs[int(said[4:9])][0]}"
    assert said == "all equal", f"{board.machine}: {said}"
    assert done.returncode == 0
