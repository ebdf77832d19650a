# SPDX-License-Identifier: Apache-2.0
"""The interpreter of Helium and its decoder: every row of the tables against an assembler and QEMU's Cortex-M55.

What QEMU says of drawn cases is recorded in data/mve.txt, by ``python -P tests/tuning/emulate/test_mve.py`` with tests
on the path; where QEMU is installed, others are compared directly.
"""

from __future__ import annotations

import random
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from helpers import mve
from helpers.mve import Case
from helpers.samples import one_in
from tuning.emulate import find_toolchain, mve_decode
from tuning.emulate._mve import OPERATIONS
from tuning.emulate.elf import load

RECORD = Path(__file__).parent / "data" / "mve.txt"
SEED = 20
EACH, BLOCKS = 4, 300
# QEMU 7.2 has the 48-bit shifts wrong at the ends of their range, as its commit "Fix 48-bit saturating shifts" says.
WRONG_IN_QEMU = "#48"
qemu = pytest.mark.skipif(shutil.which("qemu-system-arm") is None, reason="qemu-system-arm is not installed")
pytestmark = pytest.mark.emulated


def drawn(seed: int, each: int, blocks: int) -> list[Case]:
    draw = random.Random(seed)
    found = [mve.case(draw, [code]) for code, item in mve.encodings(draw, each) if WRONG_IN_QEMU not in item.text]
    return found + mve.sequences(draw, blocks) + mve.loops(draw, blocks)


def written(case: Case) -> str:
    return " ".join(f"{code:08x}" for code in case.codes)


def test_the_interpreter_does_what_qemu_was_seen_to_do(tmp_path: Path) -> None:
    cases = drawn(SEED, EACH, BLOCKS)
    recorded = [line.rpartition(" ") for line in RECORD.read_text().splitlines()]
    assert [written(case) for case in cases] == [codes for codes, _, _ in recorded]
    states = mve.run_here(mve.write_program(cases, tmp_path))
    found = zip(cases, states, recorded, strict=True)
    assert not [case.text for case, state, (_, _, digest) in found if mve.digest(state) != digest]


@qemu
@pytest.mark.parametrize("seed", one_in(2, range(2)))
def test_the_interpreter_does_what_qemu_does(seed: int, full: bool, tmp_path: Path) -> None:
    cases = drawn(seed, 12 if full else 4, 4000 if full else 400)
    elf = mve.write_program(cases, tmp_path)
    ours, theirs = mve.run_here(elf), mve.run_in_qemu(elf)
    found = [mve.difference(*item) for item in zip(cases, ours, theirs, strict=True)]
    assert not [text for text in found if text]


def test_every_operation_is_drawn() -> None:
    draw = random.Random(SEED)
    seen = {item.operation.op for _, item in mve.encodings(draw, EACH) if item.operation}
    assert seen == set(OPERATIONS) - {"REFUSED", "WLS", "LE", "LCTP"}


SATURATING = {
    # amount, value -> result and whether it saturates
    "sqrshrl r0, r1, #48, r2": [
        ((4, 0x1234_5678_9ABC), 0x0123_4567_89AC, False),
        ((-8, 0x7F_FFFF_FFFF), 0x7FFF_FFFF_FF00, False),
        ((-9, 0x7F_FFFF_FFFF), 0x7FFF_FFFF_FFFF, True),
        ((-20, -(1 << 40)), -(1 << 47), True),
        ((50, 1 << 62), 1 << 12, False),
        ((0, 1 << 50), (1 << 47) - 1, True),
    ],
    "uqrshll r0, r1, #48, r2": [
        ((4, 0x1234), 0x12340, False),
        ((8, 0xFF_FFFF_FFFF), 0xFFFF_FFFF_FF00, False),
        ((9, 0xFF_FFFF_FFFF), 0xFFFF_FFFF_FFFF, True),
        ((-50, 3 << 60), 3 << 10, False),
        ((-64, 1 << 63), 1, False),
    ],
}


@pytest.mark.parametrize("text", SATURATING)
def test_shifts_to_48_bits(text: str, tmp_path: Path) -> None:
    """By the architecture's pseudocode, as QEMU is no help."""
    draw = random.Random(1)
    code = assemble([text], tmp_path)[0]
    cases = []
    for (amount, value), _, _ in SATURATING[text]:
        item = mve.case(draw, [code])
        words = (value, value >> 32, amount)
        item.state[mve.REGISTERS : mve.REGISTERS + 3] = [word & 0xFFFF_FFFF for word in words]
        item.state[mve.APSR] = 0
        cases.append(item)
    states = mve.run_here(mve.write_program(cases, tmp_path))
    for state, (given, result, saturates) in zip(states, SATURATING[text], strict=True):
        found = int(state[mve.REGISTERS]) | int(state[mve.REGISTERS + 1]) << 32
        assert (found, bool(state[mve.APSR] >> 27 & 1)) == (result & (1 << 64) - 1, saturates), given


def assemble(lines: Sequence[str], folder: Path) -> list[int]:
    """Encodings of long instructions, by Clang."""
    source, elf = folder / "text.s", folder / "text.elf"
    source.write_text("\n".join([".syntax unified", ".thumb", ".text", "code:", *lines, ""]))
    find_toolchain("clang").build([source], elf, "cortex-m85", cflags=["-O1"])
    image = load(elf)
    start, _ = image.code[0]
    segment = next(s for s in image.segments if s.address <= start < s.address + s.size)
    data = segment.data[start - segment.address :]
    halves = [int.from_bytes(data[at : at + 2], "little") for at in range(0, 4 * len(lines), 2)]
    return [first << 16 | second for first, second in zip(halves[::2], halves[1::2], strict=True)]


def test_an_assembler_makes_of_the_text_what_was_decoded(tmp_path: Path) -> None:
    pairs = [(code, item) for code, item in mve.encodings(random.Random(3), 25) if item.mnemonic[:3] != "vpt"]
    pairs = [(code, item) for code, item in pairs if item.mnemonic[:4] != "vpst"]  # blocks that must be followed
    codes = assemble([item.text for _, item in pairs], tmp_path)
    # The sign of a product's lower half is none; nor is an immediate of zero at any place.
    same = {"vmla", "vmlas"}
    wrong = [
        (item.text, f"{code:08x}", f"{made:08x}")
        for (code, item), made in zip(pairs, codes, strict=True)
        if code != made and item.mnemonic not in same and not item.text.endswith("#0x0")
    ]
    assert not wrong
    assert len(pairs) > 5000


def test_blocks_and_loops_are_read_as_they_are_written(tmp_path: Path) -> None:
    lines = ["vpste", "vaddt.i8 q0, q1, q2", "vsube.i8 q0, q1, q2", "vpttee.s16 gt, q1, r2", "vaddt.i8 q0, q1, q2"]
    lines += ["vaddt.i8 q0, q1, q2", "vadde.i8 q0, q1, q2", "vadde.i8 q0, q1, q2"]
    lines += ["1: wlstp.16 lr, r3, 2f", "letp lr, 1b", "le lr, 1b", "le 1b", "2: wls lr, r1, 3f", "3: nop.w"]
    codes = assemble(lines, tmp_path)
    found = [mve_decode.decode(code >> 16, code & 0xFFFF, 4 * at) for at, code in enumerate(codes[:-1])]
    assert [found[0].text, found[3].text] == ["vpste", "vpttee.s16 gt, q1, r2"]
    assert [item.text for item in found[8:]] == [
        "wlstp.16 lr, r3, 0x30", "letp lr, 0x20", "le lr, 0x20", "le 0x20", "wls lr, r1, 0x34",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (0xEF020D44, "floating point of Helium"),
        (0xEE300A20, "floating point, which is not emulated"),
        (0xEE310F02, "floating point of Helium"),
        (0xFFFFFFFF, "no instruction that is known"),
        (0xEE418F40, "no instruction that is known"),  # a vector behind the eighth
        (0xFC900E00, "no instruction that is known"),  # a gather into its own offsets is UNPREDICTABLE
        (0xEEF13A10, "the control of floating point"),
        (0xFB61F203, "pointer authentication"),  # PACG, which reads as SMMLS
        (0xFB512F03, "pointer authentication"),  # AUTG: SMMUL
        (0xFB512F13, "pointer authentication"),  # BXAUT: SMMULR
    ],
)
def test_what_is_not_run_says_why(code: int, reason: str) -> None:
    assert mve_decode.is_ours(code >> 16, code & 0xFFFF)
    decoded = mve_decode.decode(code >> 16, code & 0xFFFF, 0)
    assert decoded.operation is None
    assert reason in decoded.reason


def record() -> None:
    cases = drawn(SEED, EACH, BLOCKS)
    with tempfile.TemporaryDirectory() as folder:
        states = mve.run_in_qemu(mve.write_program(cases, Path(folder)))
    RECORD.write_text(
        "".join(f"{written(case)} {mve.digest(state)}\n" for case, state in zip(cases, states, strict=True))
    )


if __name__ == "__main__":
    sys.exit(record())
