# SPDX-License-Identifier: Apache-2.0
"""The seam: an engine of five instructions, written against `Engine` alone, gives the traces that Unicorn gives."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tuning.base.errors import MissingToolError
from tuning.emulate import EmulationError, Emulator, find_toolchain
from tuning.emulate.emulator import ENGINES
from tuning.emulate.engine import Memories, Offence, Outcome, Watch
from tuning.emulate.memory import Region
from tuning.target.cores import CORES, Core

pytestmark = pytest.mark.emulated

SOURCE = """
.syntax unified
.thumb
.global add
.type add, %function
add:
    adds r0, r0, r1
    ldr r2, [sp]
    adds r0, r0, r2
    bx lr
.size add, .-add
.global count
.type count, %function
count:
1:  subs r0, #1
    bne 1b
    bx lr
.size count, .-count
.global undefined
.type undefined, %function
undefined:
    udf #1
.size undefined, .-undefined
.data
.global word
.type word, %object
word: .word 0x01020304
.size word, 4
"""


class Interpreter:
    """Memory in dictionaries, and what `SOURCE` needs of Thumb."""

    def __init__(self, core: Core, watch: Watch, return_address: int) -> None:
        self.watch, self.return_address = watch, return_address
        self.pages: dict[int, bytearray] = {}

    def map(self, start: int, size: int, protection: int) -> None:
        self.pages |= {page: bytearray(0x1000) for page in range(start, start + size, 0x1000)}

    def mark(self, code: Sequence[tuple[int, int]]) -> None:
        assert code

    def read(self, address: int, size: int) -> bytes:
        return bytes(self._page(at)[at & 0xFFF] for at in range(address, address + size))

    def write(self, address: int, data: bytes) -> None:
        for at, value in enumerate(data, address):
            self._page(at)[at & 0xFFF] = value

    def _page(self, address: int) -> bytearray:
        if address & -0x1000 not in self.pages:
            raise EmulationError(f"no memory at {address:#x}", address=address)
        return self.pages[address & -0x1000]

    def run(
        self,
        entry: int,
        arguments: Sequence[int],
        stack: int,
        budget: int,
        *,
        regions: Sequence[Region] = (),
        memories: Memories | None = None,
    ) -> Outcome:
        registers = [*arguments, 0, 0, 0, 0][:4]
        edges: dict[tuple[int | None, int], int] = {}
        sizes: dict[int, int] = {}
        source, block, pc = None, entry, entry
        fault = offence = None
        while budget and fault is None and offence is None and pc != self.return_address:
            code = int.from_bytes(self.read(pc, 2), "little")
            target = pc + 2
            if code & 0xFE00 == 0x1800:  # adds rd, rn, rm
                registers[code & 7] = (registers[code >> 3 & 7] + registers[code >> 6 & 7]) & 0xFFFF_FFFF
            elif code & 0xF800 == 0x9800:  # ldr rd, [sp, #n]
                at = stack + 4 * (code & 0xFF)
                if self.watch.bounds and not any(r.start <= at < r.end for r in regions):
                    offence = Offence("bounds", False, at, 4, pc)
                registers[code >> 8 & 7] = int.from_bytes(self.read(at, 4), "little")
            elif code & 0xF800 == 0x3800:  # subs rd, #n
                registers[code >> 8 & 7] = (registers[code >> 8 & 7] - (code & 0xFF)) & 0xFFFF_FFFF
            elif code >> 8 == 0xD1:  # bne
                offset = (code & 0xFF) - (code & 0x80) * 2
                target = pc + 4 + 2 * offset if registers[0] else pc + 2
            elif code == 0x4770:  # bx lr
                target = self.return_address
            else:
                fault = "undefined instruction (UsageFault)"
                break
            budget -= 1
            if code >> 8 == 0xD1 or code == 0x4770:
                sizes[block] = pc + 2 - block
                edges[source, block] = edges.get((source, block), 0) + 1
                source, block = block, target
            if offence is None:
                pc = target
        found = [(a, b, count) for (a, b), count in edges.items()]
        spent = not budget and pc != self.return_address
        return Outcome(pc, stack, registers[0], registers[1], found, sizes, spent, fault, offence)


@pytest.fixture(params=["cortex-m3", "cortex-m7"])
def pair(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, str]:
    """An ELF file, and its core, which the interpreter runs from now on."""
    (tmp_path / "a.S").write_text(SOURCE)
    find_toolchain().build([tmp_path / "a.S"], tmp_path / "a.elf", request.param)
    return tmp_path / "a.elf", request.param


def use_interpreter(core: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENGINES, "interpreter", Interpreter)
    monkeypatch.setitem(CORES, core, replace(CORES[core], engine="interpreter"))


CALLS = [("add", [1, 2, 3, 4, 5]), ("add", [2**32 - 1, 1, 0, 0, 7, 8]), ("count", [1]), ("count", [57])]


def test_a_second_engine_needs_no_more_than_the_seam(pair: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> None:
    path, core = pair
    expected = [Emulator(path, core).call(*call) for call in CALLS]
    assert [trace.result for trace in expected] == [8, 7, 0, 0]
    use_interpreter(core, monkeypatch)
    emulator = Emulator(path, core)
    assert [emulator.call(*call) for call in CALLS] == expected
    assert emulator.read("word") == bytes([4, 3, 2, 1])
    buffer = emulator.buffer(b"abc", offset=1)
    assert (buffer.address % 4, emulator.read(buffer)) == (1, b"abc")
    emulator.write("word", b"\0\0\0\0")
    emulator.reset()
    assert emulator.read("word") == bytes([4, 3, 2, 1])


def test_what_went_wrong_is_told_alike(pair: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> None:
    path, core = pair

    def said() -> list[str]:
        found = []
        for symbol, args, options in (
            ("undefined", [], {}),
            ("add", [1, 2, 3, 4], {"checked": True}),  # the fifth argument lies beyond the stack
        ):
            with pytest.raises(EmulationError) as caught:
                Emulator(path, core, **options).call(symbol, args)
            found.append(str(caught.value))
        return found

    expected = said()
    assert expected[0].startswith("undefined: undefined instruction (UsageFault), at ")
    assert "read of 4 bytes" in expected[1]
    use_interpreter(core, monkeypatch)
    assert said() == expected
    with pytest.raises(EmulationError, match=r"count: did not return within 10 instructions, at .* \(count"):
        Emulator(path, core).call("count", [50], budget=10)


def test_a_core_without_its_engines_package_says_what_to_install(
    pair: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, core = pair
    monkeypatch.setitem(sys.modules, "unicorn", None)
    said = r"^unicorn is not installed; emulation needs it: pip install ziglang unicorn capstone pyelftools$"
    with pytest.raises(MissingToolError, match=said):
        Emulator(path, core)
    use_interpreter(core, monkeypatch)
    assert Emulator(path, core).call("count", [3]).result == 0
