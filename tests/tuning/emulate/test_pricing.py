# SPDX-License-Identifier: Apache-2.0
"""Instructions and cycles equal those of the published pricing rules, to the cycle."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from cmsisnn_x.isa import Isa
from helpers.cores import PLAIN
from tuning.emulate import EmulationError, Emulator
from tuning.emulate.instructions import CLASSES, Instruction, classify, decode, is_known, is_missing
from tuning.emulate.pipeline import PIPELINES, DualIssue, SingleIssue
from tuning.target.cores import CORES

DATA = Path(__file__).parent / "data"
ARCHIVE = zipfile.ZipFile(DATA / "pricing.zip")
EXPECTED = json.loads(ARCHIVE.read("expected.json"))


def core_of(name: str) -> str:
    return next(core for core in PIPELINES if name.startswith(f"{core}-"))


@pytest.mark.parametrize("name", EXPECTED)
def test_compiled_code_costs_what_the_rules_say(name):
    emulator = Emulator(ARCHIVE.read(name), core_of(name))
    for function, expected in EXPECTED[name].items():
        trace = emulator.call(function, expected["args"])
        got = {"instructions": trace.instructions, "cycles": trace.cycles, "counts": dict(trace.counts)}
        assert got == {key: expected[key] for key in got}, f"{name} {function}"
        emulator.reset()


def test_every_core_and_both_compilers_are_covered():
    assert {core_of(name) for name in EXPECTED} == set(PLAIN)
    assert all(any(kind in name for name in EXPECTED) for kind in ("-gcc-O3", "-gcc-Os", "-clang-O2"))
    assert all(len(functions) >= 6 for functions in EXPECTED.values())
    counted = {kind for functions in EXPECTED.values() for result in functions.values() for kind in result["counts"]}
    assert counted == set(CLASSES)


@pytest.mark.full
def test_the_reference_pricer_agrees_when_it_is_at_hand(tmp_path):
    script = os.environ.get("CMSISNN_X_REFEREE")
    if not script:
        pytest.skip("set CMSISNN_X_REFEREE to a reference pricer script to compare with it directly")
    for name, functions in EXPECTED.items():
        elf = tmp_path / name
        elf.write_bytes(ARCHIVE.read(name))
        number = core_of(name).removeprefix("cortex-m").removesuffix("plus")
        for function in ("branches", "dot_q7", "assembly", "floating"):
            if function in functions:
                args = functions[function]["args"]
                command = [sys.executable, script, str(elf), number, function, *map(str, args)]
                said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
                trace = Emulator(elf, core_of(name)).call(function, args)
                assert said.startswith(f"{function}: {trace.instructions} instructions, {trace.cycles} cycles,"), name


def make(*mnemonics: str, registers: bool = False) -> list[Instruction]:
    """Instructions that depend on nothing, or each on the register that the one before wrote."""
    return [
        Instruction(
            address=2 * i,
            text=text,
            mnemonic=(mnemonic := text.split()[0]),
            kind=classify(mnemonic),
            words=int(text.split("*")[1]) if "*" in text else 1,
            reads=(i,) if registers else (),
            writes=(i + 1,),
            accumulator=None,
            is_extension=mnemonic in ("sxtb16", "ssat"),
        )
        for i, text in enumerate(mnemonics)
    ]


@pytest.mark.parametrize(
    ("code", "m0plus", "m3", "m4"),
    [
        (["add"], 1, 1, 1),
        (["ldr"], 2, 2, 2),
        (["ldr", "ldr", "ldr"], 4, 4, 4),
        (["str", "ldr"], 2, 2, 2),
        (["ldr", "add", "ldr"], 5, 5, 5),
        (["ldm *4", "ldr"], 7, 7, 7),
        (["strd *2"], 3, 3, 3),
        (["sdiv"], 7, 7, 7),
        (["mul"], 1, 1, 1),
        (["mla"], 1, 2, 1),
        (["it", "addne"], 2, 2, 2),
    ],
)
def test_single_issue_prices(code, m0plus, m3, m4):
    got = [PIPELINES[core].block_cycles(make(*code)) for core in ("cortex-m0plus", "cortex-m3", "cortex-m4")]
    assert got == [m0plus, m3, m4]
    assert PIPELINES["cortex-m33"].block_cycles(make(*code)) == m4


@pytest.mark.parametrize(
    ("code", "cycles"),
    [
        (["add", "add"], 1),
        (["ldr", "ldr"], 1),
        (["str", "str"], 2),
        (["smlad", "smlad"], 2),
        (["smlad", "ldr"], 1),
        (["smlad", "str"], 2),
        (["sxtb16", "add"], 1),
        (["add", "sxtb16"], 2),
        (["ldm *5"], 3),
        (["ldm *4", "add"], 3),
        (["sdiv", "add"], 7),
    ],
)
def test_dual_issue_pairs(code, cycles):
    assert DualIssue().block_cycles(make(*code)) == cycles


def test_dual_issue_waits_for_results():
    model = DualIssue()
    assert model.block_cycles(make("add", "add", registers=True)) == 2
    assert model.block_cycles(make("ldr", "add", registers=True)) == 3
    assert model.block_cycles(make("mul", "add", registers=True)) == 3


@pytest.mark.parametrize(
    "code",
    [
        "01f30702",  # ssat r2, #8, r1
        "81f30702",  # usat r2, #7, r1
        "c3ea0142",  # pkhbt r2, r3, r1, lsl #16
        "c2ea6142",  # pkhtb r2, r2, r1, asr #17
        "21fa83f2",  # sxtab16 r2, r1, r3
        "31fa83f2",  # uxtab16 r2, r1, r3
        "c3fb0312",  # smlal r1, r2, r3, r3
        "e3fb6312",  # umaal r1, r2, r3, r3
    ],
)
def test_operands_that_the_disassembler_leaves_out_are_waited_for(code):
    """Each behind ``ldr r1, [r0]``, whose result it takes."""
    block = decode(bytes.fromhex("0168" + code), 0)
    assert DualIssue().block_cycles(block) == 3, block[1].text


def test_accumulate_chains_cost_one_cycle_each():
    smlad = bytes.fromhex("21fb0200 21fb0200 21fb0200".replace(" ", ""))  # smlad r0, r1, r2, r0, three times
    block = decode(smlad, 0)
    assert [item.mnemonic for item in block] == ["smlad"] * 3
    assert block[0].accumulator is not None
    assert DualIssue().block_cycles(block) == 3


def test_pairing_carries_over_a_block_edge():
    model, block = DualIssue(), make("add")
    assert model.edge_cycles(None, block) == 1
    assert model.edge_cycles(block, block) == 0
    assert SingleIssue().edge_cycles(block, block) == 1


def test_branch_outcomes():
    assert SingleIssue().branch_cycles(not_taken=10, taken=3) == 6
    assert DualIssue().branch_cycles(not_taken=10, taken=3) == 18
    assert DualIssue().branch_cycles(not_taken=2, taken=300) == 12


@pytest.mark.parametrize(
    ("mnemonic", "kind"),
    [
        ("ldr", "ld"), ("ldrsbne", "ld"), ("ldrd", "ldm"), ("pop", "ldm"), ("vldmia", "ldm"), ("vldr", "ld"),
        ("strd", "stm"), ("push", "stm"), ("strh", "st"), ("bic", "alu"), ("bics", "alu"), ("bfi", "alu"), ("b", "br"),
        ("beq", "br"), ("bl", "br"), ("bx", "br"), ("cbz", "br"), ("tbb", "br"), ("itte", "it"), ("muls", "mul"),
        ("smlald", "mul"), ("umull", "mul"), ("vmul", "alu"), ("sdiv", "div"), ("udiv", "div"), ("sxtb16", "alu"),
        ("usad8", "alu"),
    ],
)  # fmt: skip
def test_classes(mnemonic, kind):
    assert is_known(mnemonic)
    assert classify(mnemonic) == kind


@pytest.mark.parametrize("mnemonic", ["vmladava", "frobnicate", "vld1", "wls", "letp", "csel"])
def test_instructions_without_a_price_are_unknown(mnemonic):
    assert not is_known(mnemonic)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("00bf 00eee10f", "0x10002"),  # nop, then an MVE instruction
        ("00bf ffffffff", "0x10002"),
        ("00bf 00de", "no price for the instruction 'udf #0' at 0x10002"),
    ],
)
def test_code_without_a_price_is_an_error_with_its_address(code, message):
    with pytest.raises(EmulationError, match=message) as caught:
        decode(bytes.fromhex(code.replace(" ", "")), 0x10000)
    assert caught.value.address == 0x10002


EVERY_KIND = {"cortex-m4": (172, 265), "cortex-m7": (178, 178), "cortex-m33": (178, 271)}  # by the referee's rules


@pytest.mark.parametrize("core", EVERY_KIND)
def test_every_kind_of_instruction_has_a_price(core, tmp_path):
    from tuning.emulate import find_toolchain

    source, elf = DATA / "instructions.S", tmp_path / "all.elf"
    defines = ["V5"] if core != "cortex-m4" else []
    find_toolchain().build([source], elf, core, cflags=[], defines=defines)
    trace = Emulator(elf, core).call("all")
    assert (trace.instructions, trace.cycles) == EVERY_KIND[core]


MISSING = {  # an instruction -> its bytes, how it is shown, and whether a core has it
    "wide": ("c0f3c000", "ubfx", lambda core: core.thumb2),
    "conditional": ("08bf", "it eq", lambda core: core.thumb2),
    "parallel": ("21fb0200", "smlad", lambda core: core.features.isa >= Isa.DSP),
    "long": ("e1fb6200", "umaal", lambda core: core.features.isa >= Isa.DSP),
    "saturating": ("81fa82f0", "qadd", lambda core: core.features.isa >= Isa.DSP),
}


@pytest.mark.parametrize("kind", MISSING)
@pytest.mark.parametrize("core", CORES)
def test_instructions_are_errors_exactly_where_a_core_has_them_not(core, kind, tmp_path):
    from tuning.emulate import find_toolchain

    code, text, has = MISSING[kind]
    halves = [code[i : i + 4] for i in range(0, len(code), 4)]
    words = ", ".join(f"0x{half[2:]}{half[:2]}" for half in halves)
    lines = [".syntax unified", ".thumb", ".global f", ".type f, %function", "f:", "nop", f".inst.n {words}"]
    source = tmp_path / "a.S"
    source.write_text("\n".join([*lines, "nop", "bx lr", ".size f, .-f"]) + "\n")
    find_toolchain().build([source], tmp_path / "a.elf", core)
    emulator = Emulator(tmp_path / "a.elf", core)
    if has(CORES[core]):
        assert emulator.call("f").instructions == 4
    else:
        with pytest.raises(EmulationError, match=f"{core} has no instruction '{text}.*', at 0x10002 in f"):
            emulator.call("f")
    Emulator(tmp_path / "a.elf", "cortex-m4").call("f")


@pytest.mark.parametrize("core", CORES.values(), ids=list(CORES))
def test_an_instruction_is_missing_exactly_without_its_feature(core):
    assert not is_missing("add", 2, core)
    assert not is_missing("bl", 4, core)
    for mnemonic, size in (("cbz", 2), ("ite", 2), ("ldrd", 4), ("sdiv", 4), ("movw", 4)):
        assert is_missing(mnemonic, size, core) == (not core.thumb2), mnemonic
    for mnemonic in ("smlad", "smladne", "sxtb16", "umaal", "pkhbt", "ssub8"):
        assert is_missing(mnemonic, 4, core) == (core.features.isa < Isa.DSP), mnemonic
    for mnemonic in ("vadd", "vldmia", "vmovne"):
        assert is_missing(mnemonic, 4, core) == (not core.fpu), mnemonic


FLOATING = """
.syntax unified
.thumb
.global f
.type f, %function
f:
    .inst.w 0xee301a00  @ vadd.f32 s2, s0, s0
    bx lr
.size f, .-f
"""


@pytest.mark.parametrize("core", CORES.values(), ids=list(CORES))
def test_the_fpu_is_on_exactly_where_a_core_can_have_one(core, tmp_path):
    from tuning.emulate import find_toolchain

    (tmp_path / "a.S").write_text(FLOATING)
    find_toolchain().build([tmp_path / "a.S"], tmp_path / "a.elf", "cortex-m4")
    emulator = Emulator(tmp_path / "a.elf", core.name)
    if core.fpu and not core.helium:
        assert emulator.call("f").instructions == 2
    else:
        refused = "is floating point, which is not emulated"
        with pytest.raises(EmulationError, match=rf"FPU|undefined instruction|has no instruction|{refused}"):
            emulator.call("f")
