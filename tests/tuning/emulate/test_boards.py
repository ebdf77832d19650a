# SPDX-License-Identifier: Apache-2.0
"""Boards: what they add to their core is counted access by access, named, and priced as their file declares."""

from dataclasses import replace
from pathlib import Path
from zipfile import ZipFile

import pytest

from tuning.emulate import Emulator, find_toolchain
from tuning.emulate.instructions import decode
from tuning.emulate.pipeline import PIPELINES, pipeline_of
from tuning.emulate.refine import find
from tuning.target import REFINEMENTS, Target, list_targets, load_target
from tuning.target.cores import CORES

pytestmark = pytest.mark.emulated
ARCHIVE, VECTORS = (ZipFile(Path(__file__).parent / "data" / name) for name in ("pricing.zip", "helium.zip"))

# Functions whose accesses can be counted by hand; constants are in flash, the others in SRAM.
SOURCE = """
    .syntax unified
    .thumb
    .text
    .macro function name
    .balign 64
    .global \\name
    .type \\name, %function
\\name:
    .endm
    .macro end name
    .size \\name, . - \\name
    .endm

function words          @ r0 words from r1
1:  ldr r2, [r1], #4
    subs r0, #1
    bne 1b
    bx lr
end words
function stores         @ r0 words to r1
1:  str r2, [r1], #4
    subs r0, #1
    bne 1b
    bx lr
end stores
function long           @ 1 KiB of code, r0 times
1:  .rept 256
    mov.w r3, r3
    .endr
    subs r0, #1
    bne.w 1b
    bx lr
end long
function pairs          @ two loads of one cycle, r0 times, r1 and r2 apart
1:  ldr r3, [r1]
    ldr r12, [r2]
    subs.w r0, #1
    bne 1b
    bx lr
end pairs
    .section .rodata
    .balign 64
    .global constants
    .type constants, %object
constants: .space 4096
    .size constants, 4096
    .bss
    .balign 64
    .global data
    .type data, %object
data: .space 4096
    .size data, 4096
"""


@pytest.fixture(scope="module")
def elf(tmp_path_factory):
    folder = tmp_path_factory.mktemp("boards")
    (folder / "source.S").write_text(SOURCE)
    find_toolchain().build([folder / "source.S"], folder / "out.elf", "cortex-m4")
    return folder / "out.elf"


def board(core: str = "cortex-m4", **memory) -> Target:
    return replace(load_target(core), name="board", inherit=core, **memory)


def added(elf, target, symbol, *args, warm=False):
    emulator = Emulator(elf, target)
    trace = emulator.call(symbol, args)
    if warm:
        trace = emulator.call(symbol, args, warm=True)
    assert trace.core_cycles == Emulator(elf, target.core).call(symbol, args).cycles
    assert trace.cycles == trace.core_cycles + sum(trace.added.values())
    assert sum(block.cycles for block in trace.blocks) == trace.cycles == sum(s.cycles for s in trace.symbols)
    return trace.added


def test_a_board_without_waits_costs_what_its_core_costs(elf):
    assert added(elf, board(flash_line_bytes=16), "words", 64, "constants") == {}


@pytest.mark.parametrize(("line", "wait"), [(8, 5), (16, 2), (32, 7)])
def test_a_line_of_constants_is_waited_for_once(elf, line, wait):
    target = board(flash_wait_states=wait, flash_line_bytes=line, instruction_cache_bytes=4096)
    assert added(elf, target, "words", 256, "constants")["flash data"] == 1024 // line * wait
    assert "flash data" not in added(elf, target, "words", 256, "data")


def test_a_cache_serves_what_it_holds(elf):
    slow = {"flash_wait_states": 5, "flash_line_bytes": 16, "instruction_cache_bytes": 4096}
    for size, again in ((2048, 0), (512, 64 * 5)):
        target = board(**slow, flash_cache_bytes=size)
        assert added(elf, target, "words", 256, "constants")["flash data"] == 64 * 5
        assert added(elf, target, "words", 256, "constants", warm=True).get("flash data", 0) == again


def test_code_that_does_not_fit_is_fetched_again(elf):
    # 1 KiB and two instructions, in lines of 16 bytes.
    lines, wait = 1024 // 16 + 1, 4
    for size, rounds in ((2048, 1), (512, 10), (0, 10)):
        target = board(flash_wait_states=wait, flash_line_bytes=16, instruction_cache_bytes=size)
        assert added(elf, target, "long", 10)["flash fetch"] == lines * rounds * wait


def test_prefetch_hides_what_runs_meanwhile(elf):
    target = board(flash_wait_states=5, flash_line_bytes=8, flash_prefetch=True)
    lines = 1024 // 8
    # A line of two instructions hides two cycles of its successor's five; the jump back waits for all of them.
    assert added(elf, target, "long", 10)["flash fetch"] == 10 * (5 + lines * 3)


def test_instructions_and_constants_may_share_a_cache(elf):
    target = board(flash_wait_states=9, flash_line_bytes=8, instruction_cache_bytes=2048, shared_cache=True)
    assert added(elf, target, "words", 64, "constants")["flash data"] == 256 // 8 * 9
    assert "flash data" not in added(elf, target, "words", 64, "constants", warm=True)
    assert added(elf, target, "words", 1024, "constants", warm=True)["flash data"] == 4096 // 8 * 9


def test_loads_of_sram_wait_and_stores_do_not(elf):
    target = board(sram_wait_states=3)
    assert added(elf, target, "words", 50, "data") == {"SRAM": 150}
    assert added(elf, target, "stores", 50, "data") == {}
    assert added(elf, replace(target, dtcm_bytes=1 << 16), "words", 50, "data") == {}
    cached = replace(target, sram_cached=True, flash_cache_bytes=1024, cache_line_bytes=32)
    assert added(elf, cached, "words", 64, "data") == {"SRAM": 256 // 32 * 3}


def test_accesses_are_counted_by_region(elf):
    emulator = Emulator(elf, board(flash_wait_states=1, flash_line_bytes=4, dtcm_bytes=1024))
    found = {r.name: r for r in emulator.call("words", [300, "constants"]).regions}
    assert (found["flash"].reads, found["flash"].bytes_read, found["flash"].writes) == (300, 1200, 0)
    found = {r.name: r for r in emulator.call("stores", [300, "data"]).regions}
    assert (found["TCM"].writes, found["TCM"].bytes_written) == (256, 1024)
    assert (found["SRAM"].writes, found["SRAM"].bytes_written) == (44, 176)


def test_unaligned_accesses_cost_what_the_board_says(elf):
    target = board(refinements={"unaligned_load": 2.0, "unaligned_store": 3.0})
    start = Emulator(elf, "cortex-m4").address("data")
    assert added(elf, target, "words", 10, start) == {}
    assert added(elf, target, "words", 10, start + 2) == {"unaligned": 20}
    assert added(elf, target, "stores", 10, start + 1) == {"unaligned": 30}


def test_loads_of_one_bank_do_not_issue_together(elf):
    target = board("cortex-m7", refinements={"bank_conflict": 1.0})
    start = Emulator(elf, "cortex-m7").address("data")
    assert added(elf, target, "pairs", 20, start, start + 4) == {}
    assert added(elf, target, "pairs", 20, start, start + 8) == {"bank conflicts": 20}


VECTORS_TEXT = """
.syntax unified
.thumb
.global load, gather, scatter, constants, near, spread, data
.type load, %function
load: vldrb.u8 q0, [r0]
vldrb.u16 q0, [r0]
bx lr
.size load, .-load
.type gather, %function
gather: vldrb.u8 q1, [r1]
vldrb.u8 q0, [r0, q1]
bx lr
.size gather, .-gather
.type scatter, %function
scatter: vldrb.u16 q1, [r1]
vstrb.u16 q1, [r0, q1]
bx lr
.size scatter, .-scatter
.section .rodata
.balign 16
constants: .zero 256
near: .byte 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
spread: .byte 0, 16, 32, 48, 64, 80, 96, 112, 128, 144, 160, 176, 192, 208, 224, 240
.bss
.balign 16
data: .zero 256
"""


def test_vectors_pay_for_a_narrow_itcm_and_elements_for_the_banks_of_the_dtcm(tmp_path):
    """Two elements a cycle, of other banks or of one word; outside the DTCM one. Of the ITCM 16 bytes and 8."""
    (tmp_path / "a.S").write_text(VECTORS_TEXT)
    find_toolchain("clang").build([tmp_path / "a.S"], tmp_path / "a.elf", "cortex-m55")
    elf, target = (tmp_path / "a.elf").read_bytes(), load_target("mps3-an547")
    assert added(elf, target, "load", "constants") == {"ITCM": 3}
    assert added(elf, target, "load", "data") == {}
    bare = replace(target, refinements={name: 1.0 for name in target.refinements if name != "itcm_vector"})
    assert added(elf, bare, "gather", "data", "near") == {"gathers": 6}
    assert added(elf, bare, "gather", "data", "spread") == {"gathers": 6 + 8}
    assert added(elf, bare, "gather", "constants", "near") == {"gathers": 6 + 8}
    assert added(elf, bare, "scatter", "data", "near") == {"gathers": 2}
    assert added(elf, bare, "scatter", "data", "spread") == {"gathers": 2 + 4}
    assert added(elf, load_target("cortex-m55"), "gather", "data", "spread") == {}


# What github.com/jnk0le/random found on an STM32F407, as instructions: (code, refinement).
HAZARDS = [
    ("add r1, r2, r3; ldr r0, [r1]", {"address_hazard": 1}),
    ("add r1, r2, r3; ldr r0, [r4, r1]", {"address_hazard": 1}),
    ("add r1, r2, r3; nop; ldr r0, [r1]", {}),
    ("ldr r1, [r2]; ldr r0, [r1]", {}),
    ("str r0, [r1]; ldr r2, [r3]", {"load_after_store": 1}),
    ("ldr r2, [r3]; str r0, [r1]", {"store_after_load": 1}),
    ("str r0, [r1, r2]", {"store_register_offset": 1}),
    ("ldr r0, [r1], #4; ldr r2, [r1], #4", {"writeback_chain": 1}),
    ("ldr r0, [r1], #4; ldr r2, [r3], #4", {}),
    ("adds r0, #1; it eq; moveq r1, #0", {"it_folded": 1}),
    ("add.w r0, r0, #1; it eq; moveq r1, #0", {}),
    ("strb r0, [r1]; strb r2, [r1, #1]", {"store_buffer": 1}),
]


@pytest.mark.parametrize(("code", "expected"), HAZARDS, ids=[code for code, _ in HAZARDS])
def test_hazards_are_found_in_the_instructions(code, expected, tmp_path):
    (tmp_path / "a.S").write_text(
        ".syntax unified\n.thumb\n.global f\n.type f,%function\nf: " + code.replace("; ", "\n") + "\n.size f,.-f\n"
    )
    find_toolchain().build([tmp_path / "a.S"], tmp_path / "a.elf", "cortex-m4")
    emulator = Emulator(tmp_path / "a.elf", "cortex-m4")
    symbol = emulator.symbol("f")
    block = decode(emulator.read(symbol.address, symbol.size), symbol.address)
    assert find(None, block, taken=False) == expected


def test_a_jump_to_a_wide_instruction_in_the_middle_of_a_word():
    wide = bytes.fromhex("4ff00000")  # mov.w r0, #0
    assert find(None, decode(wide, 2), taken=True) == {"branch_target": 1}
    assert find(None, decode(wide, 2), taken=False) == find(None, decode(wide, 4), taken=True) == {}


def test_every_refinement_of_a_board_is_one_that_is_priced():
    used = {name for target in list_targets() for name in load_target(target).refinements}
    assert used == set(REFINEMENTS)


def test_boards_may_have_other_timing_than_their_core():
    assert pipeline_of("cortex-m33") is PIPELINES["cortex-m33"] is pipeline_of(load_target("cortex-m33"))
    assert pipeline_of(load_target("stm32f4-discovery")) is PIPELINES["cortex-m4"]
    assert pipeline_of(load_target("rp2350")).branch_cycles(1, 5) == 5
    add_load_load = decode(bytes.fromhex("0a44 0868 0968".replace(" ", "")), 0)
    assert PIPELINES["cortex-m0plus"].block_cycles(add_load_load) == 4
    assert pipeline_of(load_target("rp2040")).block_cycles(add_load_load) == 5


@pytest.mark.parametrize("name", sorted(set(list_targets()) - {n for n in list_targets() if n.startswith("cortex")}))
def test_every_board_prices_compiled_code_and_always_the_same(name):
    target = load_target(name)
    if CORES[target.core].helium:
        code, call = VECTORS.read("clang-O2.elf"), ("dot8", [256])
    else:
        code, call = ARCHIVE.read(f"{target.core}-gcc-O3.elf"), ("dot_q7", ["bytes", 256])
    emulator = Emulator(code, target)
    first = emulator.call(*call)
    assert emulator.call(*call) == first == Emulator(code, target).call(*call)
    assert first.result == Emulator(code, target.core).call(*call).result


def test_counting_leaves_conditional_code_alone():
    """A hook inside an IT block must leave no trace."""
    code = ARCHIVE.read("cortex-m4-gcc-O3.elf")
    target = load_target("nucleo-l4r5zi")
    for symbol, args in (("branches", ["words", 400]), ("stores", ["bytes", 100]), ("assembly", ["words", 30])):
        plain, counted = Emulator(code, "cortex-m4").call(symbol, args), Emulator(code, target).call(symbol, args)
        assert (counted.result, counted.instructions, counted.core_cycles) == (
            plain.result,
            plain.instructions,
            plain.cycles,
        )


def test_a_networks_accesses_are_those_that_the_checked_emulator_counts(elf):
    target = board(flash_wait_states=1, flash_line_bytes=4)
    counted = Emulator(elf, "cortex-m4", count_accesses=True).call("words", [100, "constants"])
    regions = {r.name: r for r in Emulator(elf, target).call("words", [100, "constants"]).regions}
    assert sum(a.bytes_read for a in counted.accesses) == regions["flash"].bytes_read == 400


@pytest.mark.parametrize("size", [128, 512, 960, 1024, 1032, 2048])
def test_one_run_tells_the_misses_of_all_smaller_caches(elf, size):
    slow = {"flash_wait_states": 1, "flash_line_bytes": 8}
    for symbol, args in (("long", (5,)), ("words", (64, "data")), ("pairs", (20, 0x2000_0000, 0x2000_0000))):
        seen = Emulator(elf, board(**slow, instruction_cache_bytes=4096)).call(symbol, args)
        small = Emulator(elf, board(**slow, instruction_cache_bytes=size)).call(symbol, args)
        misses, missed = (sum(trace.counted[name] for name in ("fetched", "fetched_next")) for trace in (seen, small))
        assert missed == misses + sum(seen.reuse[size // 8 :])


def test_caches_with_sets_tell_nothing_of_other_sizes(elf):
    target = board(flash_wait_states=1, flash_line_bytes=8, instruction_cache_bytes=1024, instruction_cache_ways=2)
    assert Emulator(elf, target).call("long", (3,)).reuse == ()
