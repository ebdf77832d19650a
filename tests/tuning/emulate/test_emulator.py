# SPDX-License-Identifier: Apache-2.0
"""The emulator calls functions as AAPCS does, sets up memory as startup code does, and names what went wrong."""

import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from cmsisnn_x.isa import Isa
from helpers.cores import PLAIN
from helpers.samples import one_in
from tuning.base.errors import MissingToolError, TuningError
from tuning.emulate import EmulationError, Emulator, ToolchainError, find_toolchain
from tuning.target.cores import CORES

pytestmark = pytest.mark.emulated
ARCHIVE = zipfile.ZipFile(Path(__file__).parent / "data" / "pricing.zip")

SOURCE = """
#include <stdint.h>
#include <string.h>
int32_t initialised[4] = {1, 2, 3, 4};
int32_t zeroed[4];
const int32_t constant[2] = {7, 8};
char text[64];
int32_t sum_initialised(void) { return initialised[0] + initialised[3] + zeroed[1]; }
int32_t count(void) { return ++zeroed[0]; }
int32_t weigh(int32_t a, int32_t b, int32_t c, int32_t d, int32_t e, int32_t f, int32_t g)
{ return a + 2 * b + 4 * c + 8 * d + 16 * e + 32 * f + 64 * g; }
uint64_t both(uint32_t a) { return ((uint64_t)a << 32) | ~a; }
int32_t read_at(const volatile int32_t *p) { return *p; }
int32_t read_byte(const volatile int8_t *p) { return *p; }
void write_at(volatile int32_t *p, int32_t v) { *p = v; }
void forever(void) { for (;;) { __asm__ volatile("nop"); } }
void undefined(void) { __asm__ volatile("udf #1"); }
void supervisor(void) { __asm__ volatile("svc #0"); }
void breakpoint(void) { __asm__ volatile("bkpt #0xab"); }
void sleep(void) { __asm__ volatile("wfi"); }
void jump(void (*to)(void)) { to(); }
void deep(int32_t n) { volatile char big[512]; big[0] = (char)n; if (n > 0) { deep(n - 1); } big[1] = 0; }
void fill(char *to, int32_t n) { memset(to, 'x', (size_t)n); memcpy(to + 8, "abcdefg", 7); }
uint32_t pair_of(const uint32_t *p)
{
    uint32_t low, high;
    __asm__ volatile("ldm %2!, {%0, %1}" : "=&l"(low), "=&l"(high), "+l"(p) : : "memory");
    return low ^ high;
}
#if __ARM_ARCH > 6
/* An LDRD that runs only where `condition` is not zero. */
uint32_t sometimes(const uint32_t *p, uint32_t condition)
{
    uint32_t low = 0, high = 0;
    __asm__ volatile("cmp %3, #0\\n\\tittt ne\\n\\taddne %0, %0, #1\\n\\tldrdne %0, %1, [%2]\\n\\taddne %0, %0, #0"
                     : "+&r"(low), "+&r"(high) : "r"(p), "r"(condition) : "cc", "memory");
    return low + high;
}
#endif
"""


@pytest.fixture(scope="module", params=[*PLAIN, "cortex-m55"])
def elf(request, tmp_path_factory):
    """The source above, compiled by whatever is here, for every core."""
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "source.c").write_text(SOURCE)
    find_toolchain().build([folder / "source.c"], folder / "out.elf", request.param, cflags=["-O2", "-fno-builtin"])
    return request.param, folder / "out.elf"


def test_memory_is_as_startup_code_leaves_it(elf):
    core, path = elf
    emulator = Emulator(path, core)
    assert emulator.call("sum_initialised").result == 5
    assert [emulator.call("count").result for _ in range(3)] == [1, 2, 3]
    emulator.reset()
    assert emulator.call("count").result == 1


def test_arguments_beyond_the_fourth_are_on_the_stack(elf):
    core, path = elf
    trace = Emulator(path, core).call("weigh", [1, 2, 3, -4, 5, 6, 7])
    assert trace.result == 1 + 4 + 12 - 32 + 80 + 192 + 448
    assert trace.stack_bytes >= 12


def test_results_of_64_bits(elf):
    core, path = elf
    assert Emulator(path, core).call("both", [0x12345678]).result64 == 0x12345678_EDCBA987


def test_symbols_are_addresses_and_memory_can_be_filled(elf):
    core, path = elf
    emulator = Emulator(path, core)
    emulator.write("initialised", np.array([-5, 0, 0, 9], np.int32))
    assert emulator.call("read_at", ["initialised"]).result == 2**32 - 5
    assert emulator.call("read_at", ["constant"]).result == 7
    emulator.call("fill", ["text", 20])
    assert emulator.read("text")[:21] == b"xxxxxxxxabcdefgxxxxx\0"


def test_traces_are_deterministic(elf):
    core, path = elf
    emulator = Emulator(path, core)
    first = emulator.call("weigh", [1, 2, 3, 4, 5, 6, 7])
    assert emulator.call("weigh", [1, 2, 3, 4, 5, 6, 7]) == first
    assert Emulator(path, core).call("weigh", [1, 2, 3, 4, 5, 6, 7]) == first


def test_totals_are_the_sum_of_blocks_and_of_symbols(elf):
    core, path = elf
    trace = Emulator(path, core).call("fill", ["text", 40])
    assert sum(block.cycles for block in trace.blocks) == trace.cycles == sum(s.cycles for s in trace.symbols)
    assert sum(b.instructions for b in trace.blocks) == trace.instructions == sum(trace.counts.values())
    assert {s.symbol for s in trace.symbols} >= {"fill", "memcpy"}


def test_stack_depth_is_measured(elf):
    core, path = elf
    emulator = Emulator(path, core)
    shallow, deep = (emulator.call("deep", [n]).stack_bytes for n in (0, 10))
    assert shallow >= 512
    assert deep >= 11 * 512


FAULTS = [
    ("read_at", [0x4000_0000], "read of unmapped memory at 0x40000000"),
    ("read_at", [0], "read of unmapped memory at 0x0"),
    ("write_at", [0xE000_ED00, 1], "write to unmapped memory at 0xe000ed00"),
    ("write_at", ["constant", 1], "write to read-only memory"),
    ("undefined", [], "undefined instruction"),
    ("supervisor", [], "supervisor call"),
    ("breakpoint", [], "breakpoint"),
    ("sleep", [], "went to sleep"),
    ("jump", [0x3000_0001], "instruction fetch from unmapped memory at 0x30000000"),
]


@pytest.mark.parametrize(("symbol", "args", "message"), FAULTS, ids=[f"{f[0]}-{i}" for i, f in enumerate(FAULTS)])
def test_faults_name_address_and_function(elf, symbol, args, message):
    core, path = elf
    emulator = Emulator(path, core)
    with pytest.raises(EmulationError, match=message) as caught:
        emulator.call(symbol, args)
    assert str(caught.value).startswith(f"{symbol}: ")
    assert "\n" not in str(caught.value)
    if symbol != "jump":
        assert caught.value.symbol == symbol
        entry = emulator.symbol(symbol)
        assert entry.address <= caught.value.address <= entry.address + entry.size
    with pytest.raises(EmulationError) as again:
        Emulator(path, core).call(symbol, args)
    assert str(again.value) == str(caught.value)
    assert emulator.call("weigh", [1, 0, 0, 0, 0, 0, 0]).result == 1  # a fault does not harm the next call


def test_a_jump_to_an_even_address_is_an_invalid_state(elf):
    core, path = elf
    emulator = Emulator(path, core)
    with pytest.raises(EmulationError, match="jump: "):
        emulator.call("jump", [emulator.symbol("count").address])


def test_a_function_that_does_not_return_spends_its_budget(elf):
    core, path = elf
    with pytest.raises(EmulationError, match=r"forever: did not return within 10000 instructions, at 0x\w+ \(forever"):
        Emulator(path, core).call("forever", budget=10_000)


def test_a_budget_that_suffices_is_not_spent(elf):
    core, path = elf
    emulator = Emulator(path, core)
    needed = emulator.call("fill", ["text", 40]).instructions
    assert emulator.call("fill", ["text", 40], budget=needed).instructions == needed
    with pytest.raises(EmulationError, match="did not return"):
        emulator.call("fill", ["text", 40], budget=needed - 1)


def test_missing_symbols_come_with_a_suggestion(elf):
    core, path = elf
    emulator = Emulator(path, core)
    with pytest.raises(EmulationError, match="no symbol 'weight'; did you mean 'weigh'"):
        emulator.call("weight")
    with pytest.raises(EmulationError, match="'zeroed' is data, not a function"):
        emulator.call("zeroed")


# -- checked access ---------------------------------------------------------------------------------------------------


def test_checked_accesses_stay_inside_objects(elf):
    core, path = elf
    emulator = Emulator(path, core, checked=True)
    buffer = emulator.buffer(16)
    assert emulator.call("read_at", [buffer.address + 12]).result == 0xA5A5A5A5
    with pytest.raises(EmulationError, match=r"read of 4 bytes at .*, 4 bytes past the end of buffer"):
        emulator.call("read_at", [buffer.address + 16])
    with pytest.raises(EmulationError, match="1 bytes before the start of buffer"):
        emulator.call("read_byte", [buffer.address - 1])
    with pytest.raises(EmulationError, match="write of 4 bytes"):
        emulator.call("write_at", [buffer.address + 20, 1])


def test_checked_writes_respect_constants(elf):
    core, path = elf
    emulator = Emulator(path, core, checked=True)
    buffer = emulator.buffer(b"\1\2\3\4", writable=False)
    assert emulator.call("read_at", [buffer]).result == 0x04030201
    with pytest.raises(EmulationError, match="write of 4 bytes to the constant buffer"):
        emulator.call("write_at", [buffer, 0])


def test_unaligned_words_fault_exactly_where_a_core_has_no_unaligned_access(elf):
    core, path = elf
    emulator = Emulator(path, core, checked=True)
    buffer = emulator.buffer(np.arange(8, dtype=np.uint8), offset=1)
    assert buffer.address % 4 == 1
    assert emulator.call("read_byte", [buffer]).result == 0
    if CORES[core].features.unaligned:
        assert emulator.call("read_at", [buffer]).result == 0x03020100
    else:
        with pytest.raises(EmulationError, match=rf"unaligned read of 4 bytes at .* faults on {core}"):
            emulator.call("read_at", [buffer])


def test_unaligned_load_multiple_faults_everywhere(elf):
    core, path = elf
    emulator = Emulator(path, core, checked=True)
    aligned = emulator.buffer(np.array([5, 6], np.uint32))
    assert emulator.call("pair_of", [aligned]).result == 3
    for offset in (1, 2, 3):
        unaligned = emulator.buffer(8, offset=offset)
        with pytest.raises(EmulationError, match=r"unaligned read .* \(pair_of"):
            emulator.call("pair_of", [unaligned])


def test_conditional_accesses_fault_when_they_happen(elf):
    core, path = elf
    if not CORES[core].thumb2:
        return  # has no conditional instructions
    emulator = Emulator(path, core, checked=True)
    aligned, unaligned = emulator.buffer(np.array([5, 6], np.uint32)), emulator.buffer(8, offset=2)
    assert emulator.call("sometimes", [aligned, 1]).result == 11
    assert emulator.call("sometimes", [unaligned, 0]).result == 0
    with pytest.raises(EmulationError, match=r"unaligned read of 4 bytes at .* \(sometimes"):
        emulator.call("sometimes", [unaligned, 1])


def test_an_access_across_the_end_of_an_object_is_found(elf):
    core, path = elf
    if not CORES[core].features.unaligned:
        return  # such an access faults there anyway
    emulator = Emulator(path, core, checked=True)
    buffer = emulator.buffer(16)
    with pytest.raises(EmulationError, match=r"read of 4 bytes at .* 3 bytes past the end"):
        emulator.call("read_at", [buffer.address + 15])


def test_faults_can_be_checked_without_bounds(elf):
    core, path = elf
    emulator = Emulator(path, core, faults=True)
    emulator.write(0x2080_0000, np.array([5, 6, 7], np.uint32))
    assert emulator.call("pair_of", [0x2080_0000]).result == 3
    with pytest.raises(EmulationError, match=r"unaligned read of 4 bytes at 0x20800002, which faults on"):
        emulator.call("pair_of", [0x2080_0002])


def test_a_stack_that_overflows_is_named(elf):
    core, path = elf
    with pytest.raises(EmulationError, match=r"deep: .*the stack is more than 1 MiB deep"):
        Emulator(path, core).call("deep", [1_000_000])


def test_touched_memory_is_counted(elf):
    core, path = elf
    emulator = Emulator(path, core, count_accesses=True)
    buffer = emulator.buffer(40)
    accesses = {a.start: a for a in emulator.call("fill", [buffer, 40]).accesses}
    assert accesses[buffer.address].bytes_written >= 47
    assert accesses[buffer.address].bytes_read == 0


def test_checking_does_not_change_the_price(elf):
    core, path = elf
    plain = Emulator(path, core).call("fill", ["text", 40])
    for options in ({"checked": True}, {"count_accesses": True}):
        checked = Emulator(path, core, **options).call("fill", ["text", 40])
        assert (checked.instructions, checked.cycles, checked.blocks) == (
            plain.instructions,
            plain.cycles,
            plain.blocks,
        )


@pytest.mark.parametrize(
    "name", [name for name in ARCHIVE.namelist() if name.endswith(".elf") and "m0plus" not in name]
)
def test_checking_does_not_change_results(name):
    """Conditional loads, as compilers and assembly write them: a hook inside an IT block must leave no trace."""
    core = name.split("-gcc")[0].split("-clang")[0]
    code = ARCHIVE.read(name)
    for symbol, args in (("branches", ["words", 400]), ("stores", ["bytes", 100]), ("assembly", ["words", 30])):
        plain = Emulator(code, core)
        if symbol in plain.image.symbols:
            expected = plain.call(symbol, args)
            for options in ({"checked": True}, {"count_accesses": True}):
                got = Emulator(code, core, **options).call(symbol, args)
                assert (got.result, got.cycles) == (expected.result, expected.cycles), symbol


# -- ELF files --------------------------------------------------------------------------------------------------------


MEMORIES = """
SECTIONS
{{
  . = {flash}; .text : {{ *(.text*) *(.rodata*) }} .ARM.exidx : {{ *(.ARM.exidx*) }}
  . = {ram}; .data : {{ *(.data*) }} .bss : {{ *(.bss*) *(COMMON) }}
}}
"""


@pytest.mark.parametrize(
    ("flash", "ram"),
    [
        ("0x08000000", "0x24000000"),
        ("0x0F000000", "0x20E80000"),
        ("0x10000000", "0x30000000"),
        ("0x60000000", "0x1FFF0000"),
    ],
)
def test_files_may_lie_where_the_emulator_would_put_its_own(flash, ram, tmp_path):
    (tmp_path / "source.c").write_text(SOURCE)
    (tmp_path / "memory.ld").write_text(MEMORIES.format(flash=flash, ram=ram))
    options = {"cflags": ["-O2", "-fno-builtin"], "script": tmp_path / "memory.ld"}
    find_toolchain().build([tmp_path / "source.c"], tmp_path / "out.elf", "cortex-m7", **options)
    for checked in (False, True):
        emulator = Emulator(tmp_path / "out.elf", "cortex-m7", checked=checked)
        assert emulator.call("sum_initialised").result == 5
        assert emulator.call("weigh", [1, 2, 3, 4, 5, 6, 7]).result == 1 + 4 + 12 + 32 + 80 + 192 + 448
        buffer = emulator.buffer(40)
        emulator.call("fill", [buffer, 40])
        assert emulator.read(buffer)[:16] == b"xxxxxxxxabcdefgx"


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        (20, 0xFFFF_FF00, "beyond the 32-bit address space|more than 256 MiB"),  # p_memsz
        (8, 0xFFFF_FFF0, "beyond the 32-bit address space"),  # p_vaddr
        (20, 0x4000_0000, "more than 256 MiB"),
    ],
)
def test_segments_that_fit_nowhere_are_refused(field, value, message):
    code = bytearray(ARCHIVE.read("cortex-m4-gcc-O3.elf"))
    at = int.from_bytes(code[28:32], "little")  # e_phoff
    while int.from_bytes(code[at : at + 4], "little") != 1:  # PT_LOAD
        at += 32
    code[at + field : at + field + 4] = value.to_bytes(4, "little")
    with pytest.raises(EmulationError, match=message):
        Emulator(bytes(code), "cortex-m4")


def test_a_buffer_that_is_too_large_is_refused():
    emulator = Emulator(ARCHIVE.read("cortex-m4-gcc-O3.elf"), "cortex-m4")
    with pytest.raises(EmulationError, match="no room for a buffer of 134217728 bytes"):
        emulator.buffer(0x0800_0000)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a valid ELF file"),
        (b"not an ELF file at all, but long enough to be looked at", "not a valid ELF file"),
        (
            Path(sys.executable).resolve().read_bytes()[:4096],
            "not a valid ELF file|expected a little-endian 32-bit Arm",
        ),
    ],
)
def test_what_is_no_arm_elf_is_refused(content, message):
    with pytest.raises(EmulationError, match=message):
        Emulator(content, "cortex-m4")


def test_truncated_files_are_refused():
    code = ARCHIVE.read("cortex-m4-gcc-O3.elf")
    for length in range(0, len(code) - 1, 97):
        try:
            Emulator(code[:length], "cortex-m4").call("fibonacci", [3])
        except EmulationError:
            continue
        pytest.fail(f"the first {length} of {len(code)} bytes were accepted")


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(EmulationError, match=r"nothing\.elf: cannot be read: No such file"):
        Emulator(tmp_path / "nothing.elf", "cortex-m4")


def test_an_object_file_is_not_linked(tmp_path):
    (tmp_path / "a.c").write_text("int f(void) { return 1; }\n")
    find_toolchain().compile(tmp_path / "a.c", tmp_path / "a.o", "cortex-m4")
    with pytest.raises(EmulationError, match="expected a linked executable"):
        Emulator(tmp_path / "a.o", "cortex-m4")


def test_a_stripped_file_has_no_symbols():
    code = bytearray(ARCHIVE.read("cortex-m4-gcc-O3.elf"))
    code[48:50] = b"\0\0"  # e_shnum: no sections, as after sstrip
    code[50:52] = b"\0\0"
    with pytest.raises(EmulationError, match="no symbols"):
        Emulator(bytes(code), "cortex-m4")


def test_unknown_cores_are_refused():
    with pytest.raises(EmulationError, match=r"expected a core out of cortex-m0plus, .*, got 'cortex-a53'"):
        Emulator(ARCHIVE.read("cortex-m4-gcc-O3.elf"), "cortex-a53")


# -- toolchain --------------------------------------------------------------------------------------------------------


def test_clang_is_found_where_there_is_no_gcc(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    find_toolchain.cache_clear()
    try:
        assert find_toolchain().kind == "clang"
        with pytest.raises(MissingToolError, match="arm-none-eabi-gcc"):
            find_toolchain("gcc")
    finally:
        find_toolchain.cache_clear()


def test_unknown_flags_are_dropped_and_known_ones_kept(tmp_path):
    toolchain = find_toolchain("clang")
    assert toolchain.usable(["-O2", "-fno-such-thing", "-funroll-loops"], "cortex-m4") == ("-O2", "-funroll-loops")


def test_compiler_errors_are_one_sentence(tmp_path):
    (tmp_path / "bad.c").write_text("int f(void) { return undeclared; }\n")
    with pytest.raises(ToolchainError, match=r"compiling bad\.c for cortex-m4 failed .*undeclared") as caught:
        find_toolchain().build([tmp_path / "bad.c"], tmp_path / "out.elf", "cortex-m4")
    assert isinstance(caught.value, TuningError)


def test_undefined_references_are_linker_errors(tmp_path):
    (tmp_path / "use.c").write_text("int missing_function(void); int f(void) { return missing_function(); }\n")
    with pytest.raises(ToolchainError, match="missing_function"):
        find_toolchain().build([tmp_path / "use.c"], tmp_path / "out.elf", "cortex-m4")


FEATURES = """
int f(void)
{
    int found = 0;
#if defined(__ARM_FEATURE_DSP)
    found |= 1;
#endif
#if defined(__ARM_FEATURE_UNALIGNED)
    found |= 2;
#endif
#if __ARM_ARCH_ISA_THUMB == 2 && __ARM_ARCH_PROFILE == 'M' && defined(__thumb2__)
    found |= 4;
#endif
    return found;
}
"""


@pytest.mark.parametrize("kind", ["gcc", "clang"])
@pytest.mark.parametrize("core", one_in(2, CORES))
def test_a_row_says_of_its_core_what_compilers_say(kind, core, tmp_path):
    try:
        toolchain = find_toolchain(kind)
    except MissingToolError:
        pytest.skip("no arm-none-eabi-gcc on PATH")
    (tmp_path / "features.c").write_text(FEATURES)
    assert toolchain.accepts([], core)
    toolchain.build([tmp_path / "features.c"], tmp_path / "features.elf", core)
    row = CORES[core]
    expected = (row.features.isa >= Isa.DSP) | row.features.unaligned << 1 | row.thumb2 << 2
    assert Emulator(tmp_path / "features.elf", core).call("f").result == expected


ROUTINE = """
.syntax unified
.cpu cortex-m4
.fpu fpv4-sp-d16
.thumb
.global routine
routine:
    push {r4-r11, lr}
    vpush {s16-s19}
    vmov s16, r0
    ldr r1, =table
    ldm r1!, {r2-r5}
    vldm r1, {s17-s19}
    movs r0, #0
again:
    smlad r0, r2, r3, r0
    subs r4, #1
    bne again
    vmov r6, r7, s17, s18
    umlal r0, r5, r6, r7
    vmov r8, s16
    add r0, r8
    vpop {s16-s19}
    pop {r4-r11, pc}
.ltorg
.align 2
table: .word 0x00020003, 0x00050007, 4, 0, 6, 7, 8
"""


def test_bare_assembly_is_called_and_attributed(tmp_path):
    """No .type, no .size, no .thumb_func, a literal pool, registers of the FPU."""
    (tmp_path / "routine.s").write_text(ROUTINE)
    find_toolchain().build([tmp_path / "routine.s"], tmp_path / "out.elf", "cortex-m4", cflags=[])
    trace = Emulator(tmp_path / "out.elf", "cortex-m4", checked=True).call("routine", [100])
    assert trace.result == 4 * (2 * 5 + 3 * 7) + 6 * 7 + 100
    # push 10, vpush 5, vmov, ldr 2, ldm 5, vldm 4, movs; four times smlad subs bne, three of them taken;
    # vmov umlal vmov add; vpop 5, pop 10.
    assert trace.cycles == 10 + 5 + 1 + 2 + 5 + 4 + 1 + 4 * 3 + 3 * 2 + 4 + 5 + 10
    assert trace.stack_bytes == 9 * 4 + 4 * 4
    assert {symbol.symbol for symbol in trace.symbols} <= {"routine", "again"}
