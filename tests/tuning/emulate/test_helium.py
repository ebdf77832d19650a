# SPDX-License-Identifier: Apache-2.0
"""Programs with Helium: results equal to NumPy's, cycles to the rules', and what cannot run is refused by name."""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tuning.base.errors import MissingToolError
from tuning.emulate import EmulationError, Emulator, Toolchain, ToolchainError, find_toolchain
from tuning.emulate.elf import load
from tuning.emulate.mve_instructions import decode
from tuning.emulate.mve_rules import KINDS
from tuning.emulate.pipeline import PIPELINES
from tuning.target import load_target

DATA = Path(__file__).parent / "data"
ARCHIVE = zipfile.ZipFile(DATA / "helium.zip")
EXPECTED = json.loads(ARCHIVE.read("expected.json"))
CORES = ("cortex-m52", "cortex-m55", "cortex-m85")
COUNT = 256


@pytest.mark.parametrize("core", ["cortex-m55", "cortex-m85"])
@pytest.mark.parametrize("name", EXPECTED)
def test_programs_cost_what_the_rules_say(name: str, core: str) -> None:
    emulator = Emulator(ARCHIVE.read(name), core)
    for expected in EXPECTED[name][core]:
        trace = emulator.call(expected["function"], expected["args"])
        got = {"instructions": trace.instructions, "cycles": trace.cycles, "counts": dict(trace.counts)}
        assert got == {key: expected[key] for key in got}, expected["function"]


def test_every_class_of_the_rules_is_covered() -> None:
    calls = [call for cores in EXPECTED.values() for found in cores.values() for call in found]
    counted = {kind for call in calls for kind in call["counts"]}
    assert counted >= set(KINDS) - {"vfp"}


class Data:
    """What `fill` of helium.c leaves."""

    def __init__(self) -> None:
        x, values = 12345, []
        for _ in range(COUNT):
            x = (x * 1664525 + 1013904223) & 0xFFFF_FFFF
            values.append(x)
        words = np.array(values, np.uint32)
        self.a8, self.b8 = (words >> 24).astype(np.int8), (words >> 16).astype(np.int8)
        self.a16, self.b16 = (words >> 8).astype(np.int16), (words >> 13).astype(np.int16)
        self.a32, self.index = words.astype(np.int32) >> 9, (words >> 20).astype(np.uint8)


def requantise(x: np.ndarray) -> np.ndarray:
    product = x.astype(np.int64) * 1518500250
    high = (2 * product + (1 << 31)) >> 32
    rounded = high + np.where(high < 0, -1, 0)
    return np.clip(((rounded + 16) >> 5) - 3, -128, 127).astype(np.int8)


def wide(a: int, by: int) -> int:
    x = (a << (by & 31)) & (1 << 64) - 1
    signed = x - (1 << 64) if x >> 63 else x
    return (signed >> (by & 15)) ^ ((x >> 7) >> 20) ^ (a + 1 if a > 100 else ~a)


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("name", EXPECTED)
def test_results_are_those_of_numpy(name: str, core: str) -> None:
    emulator, data = Emulator(ARCHIVE.read(name), core, checked=True), Data()
    a, b, a16, b16 = (x.astype(np.int64) for x in (data.a8, data.b8, data.a16, data.b16))

    def run(function: str, *args: int) -> int:
        return emulator.call(function, args).result

    def out(symbol: str, dtype: type, count: int) -> np.ndarray:
        return np.frombuffer(emulator.read(symbol), dtype)[:count]

    run("fill")
    for n in (0, 1, 16, 77, 256):
        assert run("dot8", n) == int((a[:n] * b[:n]).sum() + 7) & 0xFFFF_FFFF
    total = int((a16[:130] * b16[:130]).sum()) - 3
    assert emulator.call("dot16", [130]).result64 == total & (1 << 64) - 1
    starts = np.arange(0, 256 - 63, 16)
    sums = [sum(int((a[i + 16 * k : i + 16 * k + 16] * b[i : i + 16]).sum()) for i in starts) + k for k in range(4)]
    assert run("rows", 256) == (sums[0] ^ sums[1] << 1 ^ sums[2] << 2 ^ sums[3] << 3) & 0xFFFF_FFFF
    run("requantise", 203)
    assert np.array_equal(out("out8", np.int8, 203), requantise(data.a32[:203]))
    assert not out("out8", np.int8, 204)[203]
    run("gather", 205)
    assert np.array_equal(out("out8", np.int8, 205), data.a8[data.index[:205]])
    run("scatter", 128)
    assert np.array_equal(out("out32", np.int32, 128), a[:128] ** 2)
    run("interleave", 256)
    found = out("out8", np.int8, 4 * COUNT).reshape(-1, 16, 4)
    for block, got in enumerate(found):
        start = 16 * block if 16 * block < COUNT - 32 else 0
        even, odd = a[start : start + 32 : 2], a[start + 1 : start + 32 : 2]
        wanted = np.stack([odd, -even, np.minimum(abs(odd), 127), (even + odd) >> 1], 1).astype(np.int8)
        assert np.array_equal(got, wanted), block
    run("choose", 200, 300)
    chosen = (a16[:200] <= b16[:200]) & (a16[:200] > 300)
    picked = np.where(chosen, a16[:200], b16[:200] + 5)
    assert np.array_equal(out("out16", np.int16, 200), picked.astype(np.int16))
    assert run("extremes", 256) == int(a.max() * 1000 + a.min()) & 0xFFFF_FFFF
    for value, by in ((-1234567, 21), (99, 3), (101, 31), (-1, 0)):
        assert run("wide", value, by) == wide(value, by) & 0xFFFF_FFFF
    for n in (61, 16, 1):
        moved = -(-n // 16) * 16
        assert run("loops", n) == int((a[:n] * b[:n]).sum() + 7 * (n + 2 * -(-n // 8)) + moved) & 0xFFFF_FFFF
    assert run("loops", 0) == 16  # DLSTP runs a round in which nothing is active, WLS and WLSTP skip


def build(folder: Path, assembly: str, core: str = "cortex-m55") -> Path:
    """Functions of assembly, linked."""
    source, elf = folder / "code.s", folder / "code.elf"
    lines = [".syntax unified", ".thumb", ".text"]
    for line in assembly.strip().splitlines():
        name = line.strip().removesuffix(":")
        starts = line.strip().endswith(":") and not name.isdigit()
        lines += [f".balign 4\n.global {name}\n.type {name}, %function\n.thumb_func\n{name}:"] if starts else [line]
    source.write_text("\n".join(lines) + "\n")
    find_toolchain("clang").build([source], elf, core, cflags=["-O1"])
    return elf


FAULTS = {
    "float": ("vadd.f32 q0, q1, q2\nbx lr", (), r"'vadd' is floating point of Helium, .* not emulated, at .*\(float\)"),
    "scalar_float": (".inst.w 0xee300a20\nbx lr", (), r"'ee30 0a20' is floating point, which is not emulated"),
    "control": ("vmsr fpscr, r0\nbx lr", (), r"'vmsr fpscr, r0' is the control of floating point"),
    "unknown": (".inst.w 0xffffffff\nbx lr", (), "'ffff ffff' is no instruction that is known"),
    "secure": ("vscclrm {s0-s3, vpr}\nbx lr", (), r"'ec9f 0a04' is .*no"),
    "unaligned": ("vldrh.16 q0, [r0]\nbx lr", (0x20000001,), "unaligned read of 2 bytes at 0x20000001, which faults"),
    "unaligned_gather": ("vdup.32 q1, r0\nvldrw.u32 q0, [q1]\nbx lr", (0x20000002,), "unaligned read of 4 bytes"),
    "unmapped": ("vldrb.8 q0, [r0]\nbx lr", (0x10000000,), r"read of unmapped memory at 0x10000000 \(1 bytes\)"),
    "unmapped_store": ("vstrw.32 q0, [r0]\nbx lr", (0x10000000,), r"write to unmapped memory at 0x10000000"),
    "read_only": ("adr r0, read_only\nvstrb.8 q0, [r0]\nbx lr", (), "write to read-only memory"),
    "wrong_loop": ("dlstp.8 lr, r0\n1:\nle lr, 1b\nbx lr", (40,), "LE in a loop with a predicated tail"),
    "data": ("b.w 1f\n.p2align 2\n.word 0xbf00bf00\n1:\nbx lr", (), None),
}


@pytest.mark.emulated
@pytest.mark.parametrize("name", FAULTS)
def test_what_cannot_run_is_refused(name: str, tmp_path: Path) -> None:
    text, args, expected = FAULTS[name]
    emulator = Emulator(build(tmp_path, f"{name}:\n{text}"), "cortex-m55")
    if expected is None:
        emulator.call(name, args)
        return
    with pytest.raises(EmulationError, match=expected) as caught:
        emulator.call(name, args)
    assert caught.value.symbol == name


BOUNDS = """
read:
vldrb.8 q0, [r0]
bx lr
write:
vstrb.8 q0, [r0]
bx lr
tail:
vctp.8 r1
vpst
vldrbt.u8 q0, [r0]
bx lr
offsets:
vidup.u8 q1, r2, #8
vldrb.u8 q0, [r0, q1]
bx lr
pair:
vld20.8 {q0, q1}, [r0]
vld21.8 {q0, q1}, [r0]
bx lr
save:
vpush {d8-d15}
vpop {d8-d15}
bx lr
"""


@pytest.mark.emulated
def test_vector_accesses_stay_in_bounds(tmp_path: Path) -> None:
    emulator = Emulator(build(tmp_path, BOUNDS), "cortex-m85", checked=True, count_accesses=True)
    buffer = emulator.buffer(32, offset=1)
    last = buffer.address + 16
    assert emulator.call("read", [last]).accesses[0].bytes_read == 16
    with pytest.raises(EmulationError, match="1 bytes past the end of buffer"):
        emulator.call("read", [last + 1])
    constant = emulator.buffer(bytes(16), writable=False)
    with pytest.raises(EmulationError, match="write of 16 bytes to the constant buffer"):
        emulator.call("write", [constant])
    assert emulator.call("tail", [last + 5, 11]).result == last + 5
    with pytest.raises(EmulationError, match=r"read of 1 byte at .*, 1 bytes past the end of buffer"):
        emulator.call("tail", [last + 6, 11])
    with pytest.raises(EmulationError, match="past the end of buffer"):
        emulator.call("offsets", [buffer])
    assert emulator.call("pair", [buffer]).accesses[0].bytes_read == 32
    with pytest.raises(EmulationError, match="past the end of buffer"):
        emulator.call("pair", [buffer.address + 1])
    assert emulator.call("save").stack_bytes == 64


FLAGS = """
plain_again:
push {r4, lr}
vdup.8 q0, r0
dlstp.8 lr, r1
vaddv.u8 r0, q0
lctp
vaddv.u8 r2, q0
add r0, r0, r2, lsl #16
pop {r4, pc}
stack:
sub sp, #32
vdup.16 q0, r0
vstrh.16 q0, [sp, #16]
vldr s0, [sp, #20]
vldr s1, here
vmov r0, r1, s0, s1
add sp, #32
bx lr
.p2align 2
here: .word 0x89abcdef
flags:
push {r4, lr}
subs r0, r0, #1
dls lr, r1
1:
le lr, 1b
mrs r0, apsr
pop {r4, pc}
conditional:
vmov s0, r0
vmov s1, r1
cmp r0, r1
it gt
vmovgt s0, r1
vmov r0, s0
bx lr
"""


@pytest.mark.emulated
def test_loops_leave_the_flags_alone_and_what_is_relative_to_registers_is_found(tmp_path: Path) -> None:
    emulator = Emulator(build(tmp_path, FLAGS), "cortex-m55", faults=True)
    assert emulator.call("plain_again", [3, 5]).result == 15 | 48 << 16
    assert emulator.call("stack", [0x1234]).result64 == 0x89ABCDEF_12341234
    for rounds in (1, 2, 5):
        assert emulator.call("flags", [1, rounds]).result >> 28 == 0b0110
        assert emulator.call("flags", [0, rounds]).result >> 28 == 0b1000
        assert emulator.call("flags", [9, rounds]).result >> 28 == 0b0010
    assert emulator.call("conditional", [7, 5]).result == 5
    assert emulator.call("conditional", [4, 5]).result == 4


# Arm's loop of arm_nn_mat_mult_nt_t_s8, which it says takes 10 cycles on an M55: Arm-Examples/Helium-Optimization.
ARM_LOOP = """
arm:
push {r4-r11, lr}
mov r5, r0
mov r7, r0
dls lr, r3
.p2align 2
1:
vldrb.8 q0, [r0], #16
vldrb.8 q1, [r1], #16
vmladava.s8 r4, q0, q1
vldrb.8 q2, [r2], #16
vmladava.s8 r6, q0, q2
vldrb.8 q3, [r5], #16
vmladava.s8 r8, q0, q3
vldrb.8 q4, [r7], #16
vmladava.s8 r10, q0, q4
le lr, 1b
pop {r4-r11, pc}
"""


@pytest.mark.emulated
@pytest.mark.parametrize(("core", "cycles"), [("cortex-m55", 10), ("cortex-m85", 10), ("cortex-m52", 20)])
def test_arms_loop_takes_the_cycles_that_arm_says(core: str, cycles: int, tmp_path: Path) -> None:
    elf = build(tmp_path, ARM_LOOP, core)
    emulator = Emulator(elf, core)
    buffer = emulator.buffer(16 * 300)
    few, many = (emulator.call("arm", [buffer, buffer, buffer, rounds]).cycles for rounds in (50, 250))
    assert many - few == 200 * cycles


@pytest.mark.emulated
def test_the_price_does_not_depend_on_where_code_is_linked(tmp_path: Path) -> None:
    """Unicorn ends a block at every page of 1 KiB."""
    found = set()
    for pad in range(960, 1032, 8):
        folder = tmp_path / str(pad)
        folder.mkdir()
        emulator = Emulator(build(folder, f"pad:\n.rept {pad // 2}\nnop\n.endr\n{ARM_LOOP}"), "cortex-m55")
        buffer = emulator.buffer(16 * 40)
        trace = emulator.call("arm", [buffer, buffer, buffer, 30])
        found.add((trace.instructions, trace.cycles, len(trace.blocks)))
    assert len(found) == 1


BOARD = """
schema: 1
name: a_board
inherit: cortex-m55
flash_wait_states: 5
flash_line_bytes: 32
sram_wait_states: 2
"""


@pytest.mark.parametrize("name", EXPECTED)
def test_a_board_adds_what_its_memories_cost(name: str, tmp_path: Path) -> None:
    """Vector loads are loads; what of a block lies on a further page of Unicorn's belongs to it."""
    path = tmp_path / "board.yaml"
    path.write_text(BOARD)
    board, core = (Emulator(ARCHIVE.read(name), which) for which in (load_target(path), "cortex-m55"))
    for function, args, loads in (("fill", [], 0), ("rows", [256], 13 * 5), ("gather", [205], 205 + 13)):
        on_board, bare = board.call(function, args), core.call(function, args)
        assert on_board.core_cycles == bare.cycles
        assert sum(on_board.added.values()) == on_board.cycles - bare.cycles
        assert on_board.added["flash fetch"] > 0
        sram = next(region for region in on_board.regions if region.name == "SRAM")
        if loads:
            assert loads <= sram.reads <= loads + 16
            assert on_board.added["SRAM"] == 2 * sram.misses == 2 * sram.reads


def test_code_without_mapping_symbols_is_refused(tmp_path: Path) -> None:
    """Literals would be taken for instructions."""
    stripped = tmp_path / "stripped.elf"
    data = ARCHIVE.read("clang-O2.elf")
    stripped.write_bytes(data.replace(b"\0$t\0", b"\0_t\0").replace(b"\0$t.", b"\0_t."))
    assert Emulator(stripped, "cortex-m33") is not None
    with pytest.raises(EmulationError, match=r"no mapping symbols"):
        Emulator(stripped, "cortex-m55")


@pytest.mark.emulated
def test_constants_behind_code_are_no_code(tmp_path: Path) -> None:
    """Clang marks no section of constants as data, which a linker script may put behind functions."""
    source, script, elf = (tmp_path / f"constants.{suffix}" for suffix in ("c", "ld", "elf"))
    # Of these words, VMLADAV would be run by the interpreter if it stood in code.
    source.write_text(
        "extern const unsigned table[4];\n"
        "unsigned first(void) { return ((const volatile unsigned *)table)[1]; }\n"
        "const unsigned table[4] = {1U, 0x0e02eef0U, 3U, 4U};\n"
    )
    script.write_text("SECTIONS { .text 0x8000 : { *(.text .text.* .rodata .rodata.*) } }\n")
    find_toolchain("clang").build([source], elf, "cortex-m55", cflags=["-O1"], script=script)
    emulator = Emulator(elf, "cortex-m55")
    table = emulator.symbol("table").address
    assert all(not start <= table < end for start, end in load(elf).code)
    assert emulator.call("first").result == 0x0E02EEF0


def test_memory_shows_the_code_as_it_is_linked() -> None:
    """What Unicorn sees in the place of the interpreter's instructions shows nowhere."""
    emulator = Emulator(ARCHIVE.read("clang-O2.elf"), "cortex-m55")
    symbol = emulator.symbol("dot8")
    before = emulator.read(symbol.address, symbol.size)
    emulator.call("dot8", [77])
    assert emulator.read(symbol.address, symbol.size) == before
    first = emulator.call("dot8", [77]).cycles
    emulator.reset()
    assert emulator.call("dot8", [77]).cycles == first


CODE_AS_DATA = """
.section .data.code, "awx"
scalar:
adr r0, scalar
str r0, [r0, #12]
bx lr
vector:
adr r0, vector
vstrb.8 q0, [r0]
bx lr
look:
vmov s0, r0
adr r0, look
ldr r1, [r0]
bx lr
vector_look:
adr r0, vector_look
vldrb.8 q0, [r0, #4]
bx lr
literal:
vmov s0, r0
ldr r0, =0x12345678
itt ne
ldrne r0, =0x87654321
addne r0, #1
vmov r1, s0
bx lr
.ltorg
"""


@pytest.mark.emulated
def test_code_is_neither_written_nor_read_as_data(tmp_path: Path) -> None:
    emulator = Emulator(build(tmp_path, f"there:\nbx lr\n{CODE_AS_DATA}"), "cortex-m55", faults=True)
    with pytest.raises(EmulationError, match=r"scalar: write to code at 0x2\w+ \(4 bytes\)"):
        emulator.call("scalar")
    with pytest.raises(EmulationError, match=r"vector: write to code at 0x2\w+ \(16 bytes\)"):
        emulator.call("vector")
    with pytest.raises(EmulationError, match=r"look: read of code as data at 0x2\w+ \(4 bytes\)"):
        emulator.call("look")
    with pytest.raises(EmulationError, match=r"vector_look: read of code as data at 0x2\w+ \(16 bytes\)"):
        emulator.call("vector_look")
    assert emulator.call("literal").result == 0x87654322


def test_what_has_no_price_is_named() -> None:
    with pytest.raises(EmulationError, match=r"no price for the instruction 'vadd' at 0x1000: floating point"):
        decode(bytes.fromhex("02ef440d"), 0x1000, PIPELINES["cortex-m55"])  # type: ignore[arg-type]
    with pytest.raises(EmulationError, match=r"no price for the instruction 'svc"):
        decode(bytes.fromhex("00df"), 0x1000, PIPELINES["cortex-m55"])  # type: ignore[arg-type]


def test_a_compiler_without_helium_is_told_what_it_lacks() -> None:
    """A program that refuses everything, as an old compiler does what it does not know."""
    old = Toolchain("gcc", (sys.executable, "-c", "raise SystemExit(1)"), "gcc 9.2.1")
    said = r"cortex-m55: expected a compiler with Helium, .* -mcpu=cortex-m55 .*: GCC 10 or newer, got gcc 9.2.1"
    with pytest.raises(ToolchainError, match=said):
        old.compile(DATA / "helium.c", DATA / "helium.o", "cortex-m55")
    old.require("cortex-m33")


@pytest.mark.emulated
@pytest.mark.parametrize("core", CORES)
def test_every_compiler_has_a_name_for_the_core(core: str, tmp_path: Path) -> None:
    for kind in ("gcc", "clang"):
        try:
            toolchain = find_toolchain(kind)
        except MissingToolError:
            continue
        toolchain.build([DATA / "helium.c"], tmp_path / "helium.elf", core, cflags=["-O1", "-ffreestanding"])
        assert Emulator(tmp_path / "helium.elf", core).call("wide", [99, 3]).result == wide(99, 3) & 0xFFFF_FFFF
