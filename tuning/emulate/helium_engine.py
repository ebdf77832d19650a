# SPDX-License-Identifier: Apache-2.0
"""Unicorn with an interpreter of its own for what it does not know of Armv8.1-M: `_mve`."""

from __future__ import annotations

import ctypes
import mmap
import struct
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from ..target.cores import Core
from . import mve_decode
from .engine import Memories, Offence, Outcome, Watch
from .errors import EmulationError
from .memory import Region
from .mve_operation import Decoded
from .unicorn_engine import _ACCESS, UnicornEngine, _address, _Callback, _library

ALWAYS = 14  # the condition of what no IT block touches
_NOP = struct.pack("<HH", 0xF3AF, 0x8000)
# Code that lies no further apart is hooked as one: data between functions, and their literals.
_NEAR = 1 << 14


@dataclass
class _Code:
    """A stretch of memory with instructions in it: as linked, and as Unicorn runs it. `starts` has a byte for each
    halfword that begins an instruction.
    """

    start: int
    linked: bytes
    run: bytearray
    starts: bytearray
    interpreted: dict[int, Decoded] = field(default_factory=dict)
    conditions: dict[int, int] = field(default_factory=dict)

    @property
    def end(self) -> int:
        return self.start + len(self.linked)


def sweep(code: bytes, address: int) -> Iterator[tuple[int, int, int | None, int]]:
    """Instructions in bytes that are nothing but instructions: address, first and second halfword (None: a short one),
    and the condition that an IT block puts on it.
    """
    at = 0
    conditions: list[int] = []
    while at + 2 <= len(code):
        (first,) = struct.unpack_from("<H", code, at)
        second = struct.unpack_from("<H", code, at + 2)[0] if first >= 0xE800 and at + 4 <= len(code) else None
        yield address + at, first, second, conditions.pop(0) if conditions else ALWAYS
        if first >> 8 == 0xBF and first & 15:
            length = 4 - ((first & 15) & -(first & 15)).bit_length() + 1
            base, mask = first >> 4 & 15, first & 15
            conditions = [base, *(base & 14 | mask >> 3 - k & 1 for k in range(length - 1))]
        at += 2 if second is None else 4


def branch_if_zero(address: int, target: int) -> bytes:
    """BEQ.W from one address to another."""
    distance = target - address - 4
    assert -(1 << 20) <= distance < 1 << 20
    first = 0xF000 | (distance >> 20 & 1) << 10 | distance >> 12 & 0x3F
    second = 0x8000 | (distance >> 18 & 1) << 13 | (distance >> 19 & 1) << 11 | distance >> 1 & 0x7FF
    return struct.pack("<HH", first, second)


class HeliumEngine(UnicornEngine):
    """A core of Armv8.1-M with integer Helium; see `Engine`. What is not known is refused by name where it is reached.

    Needs mapping symbols, as literals would be taken for instructions without; runs nothing that they do not call code.
    Code that reads instructions as data, or writes them, is stopped: always where it does so by vectors, else where
    alignment is watched, as looking triples the time of a run that checks nothing.
    """

    joins_blocks = True

    def __init__(self, core: Core, watch: Watch, return_address: int) -> None:
        self._spans: list[tuple[int, int, bool, int]] = []
        self._keep: list[object] = []
        super().__init__(core, watch, return_address)
        from . import _mve

        library, registers = _library(), self._registers
        numbers = [getattr(registers, f"UC_ARM_REG_R{n}") for n in range(13)]
        numbers += [registers.UC_ARM_REG_SP, registers.UC_ARM_REG_LR]
        self._interpreter = _mve.Interpreter(
            _address(library.uc_reg_read),
            _address(library.uc_reg_write),
            _address(library.uc_emu_stop),
            numbers,
            registers.UC_ARM_REG_PC,
            registers.UC_ARM_REG_XPSR,
        )
        watchers = []
        if watch.bounds:
            watchers.append((self._accesses.direct, self._accesses.user_data))
        if watch.memories:
            watchers.append((self._memory.direct, self._memory.user_data))
        self._interpreter.watch(watchers)
        self._marked: tuple[tuple[int, int], ...] = ()
        self._code: list[_Code] = []
        self._hooks: list[int] = []
        self._is_patched = False

    # -- memory ------------------------------------------------------------------------------------------------------

    def _map(self, start: int, size: int, protection: int) -> None:
        """Memory that the interpreter sees too."""
        memory = mmap.mmap(-1, size)
        host = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        status = _library().uc_mem_map_ptr(
            self._engine._uch,
            ctypes.c_uint64(start),
            ctypes.c_size_t(size),
            ctypes.c_uint32(protection),
            ctypes.c_void_p(host),
        )
        if status:
            raise EmulationError(f"Unicorn refused {size} bytes of memory at {start:#x} (error {status})")
        self._keep.append(memory)
        self._spans.append((start, start + size, bool(protection & self._unicorn.UC_PROT_WRITE), host))
        if hasattr(self, "_interpreter"):
            self._interpreter.memory(self._spans)

    def mark(self, code: Sequence[tuple[int, int]]) -> None:
        if not code:
            raise EmulationError(
                "no mapping symbols ($t, $d), without which the code of this core cannot be run: do not strip"
            )
        self._marked = tuple(code)

    def read(self, address: int, size: int) -> bytes:
        data = super().read(address, size)
        for code in self._code if self._is_patched else ():
            low, high = max(address, code.start), min(address + size, code.end)
            if low < high:
                linked = code.linked[low - code.start : high - code.start]
                data = data[: low - address] + linked + data[high - address :]
        return data

    def write(self, address: int, data: bytes) -> None:
        if self._is_patched and any(code.start < address + len(data) and address < code.end for code in self._code):
            for code in self._code:
                super().write(code.start, code.linked)
            self._is_patched = False
        super().write(address, data)

    def _patch(self) -> None:
        """Let Unicorn see what it can run in the place of the interpreter's instructions."""
        stretches: list[tuple[int, int]] = []
        for start, end in self._marked:
            if stretches and start - stretches[-1][1] < _NEAR:
                stretches[-1] = (stretches[-1][0], end)
            else:
                stretches.append((start, end))
        content = [(start, super(HeliumEngine, self).read(start, end - start)) for start, end in stretches]
        if content != [(code.start, code.linked) for code in self._code]:
            self._translate(content)
        for code in self._code:
            if code.interpreted:
                super().write(code.start, bytes(code.run))
        self._is_patched = True

    def _translate(self, content: Sequence[tuple[int, bytes]]) -> None:
        for handle in self._hooks:
            _library().uc_hook_del(self._engine._uch, handle)
        self._hooks = []
        self._code = [_Code(start, data, bytearray(data), bytearray(len(data) // 2 + 1)) for start, data in content]
        self._interpreter.memory(self._spans)
        self._interpreter.code(self._marked)
        for code in self._code:
            for start, end in self._marked:
                if code.start <= start < code.end:
                    self._decode(code, start, end)
            if code.interpreted:
                section = self._interpreter.section(code.start, len(code.linked))
                self._keep.append(section)
                for address, decoded in code.interpreted.items():
                    self._interpreter.add(section, address, decoded.operation, code.conditions[address])
                self._hooks.append(self._hook(self._unicorn.UC_HOOK_CODE, section, code.start, code.end - 1))
                if self._watch.alignment:
                    accesses = _Callback(section.access_callback, section.user_data)
                    self._hooks.append(self._hook(_ACCESS, accesses, code.start, code.end - 1))

    def _decode(self, code: _Code, start: int, end: int) -> None:
        for address, first, second, condition in sweep(code.linked[start - code.start : end - code.start], start):
            at = address - code.start
            code.starts[at // 2] = 1
            if second is None or not mve_decode.is_ours(first, second):
                continue
            decoded = mve_decode.decode(first, second, address)
            target = decoded.target
            if target is not None and not code.start <= target < code.end:
                decoded = replace(decoded, operation=None, target=None, reason="a loop that leaves its code")
                target = None
            code.interpreted[address], code.conditions[address] = decoded, condition
            code.run[at : at + 4] = _NOP if target is None else branch_if_zero(address, target)

    # -- running -----------------------------------------------------------------------------------------------------

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
        if not self._is_patched:
            self._patch()
        self._interpreter.start()
        outcome = super().run(entry, arguments, stack, budget, regions=regions, memories=memories)
        if outcome.offence is None and (fault := self._interpreter.fault) is not None:
            return self._stopped(outcome, *fault)
        if outcome.offence is None and outcome.fault is None and (stray := self._stray(outcome)) is not None:
            return replace(outcome, pc=stray, fault="executes what no mapping symbol calls code")
        return outcome

    def _stopped(self, outcome: Outcome, kind: str, pc: int, is_write: bool, address: int, size: int) -> Outcome:
        """What an instruction of the interpreter could not do."""
        if kind == "alignment":
            return replace(outcome, pc=pc, fault=None, offence=Offence("alignment", is_write, address, size, pc))
        if kind == "unknown":
            decoded = next(code.interpreted[pc] for code in self._code if pc in code.interpreted)
            text = f"the instruction '{decoded.text}' is {decoded.reason}"
        elif kind == "loop":
            text = "LE in a loop with a predicated tail (UsageFault INVSTATE)"
        else:
            verb = {
                "unmapped": "write to unmapped memory" if is_write else "read of unmapped memory",
                "protected": "write to read-only memory",
                "code": "write to code",
                "code read": "read of code as data",
            }
            text = f"{verb[kind]} at {address:#x} ({size} bytes)"
        return replace(outcome, pc=pc, fault=text, exhausted=False)

    def _stray(self, outcome: Outcome) -> int | None:
        """A block that ran, but is not marked as code, or begins within an instruction."""
        starts = [start for start, _ in self._marked]
        for address, size in outcome.sizes.items():
            at = bisect_right(starts, address) - 1
            code = next((code for code in self._code if code.start <= address < code.end), None)
            if address == self._return_address:
                continue
            if code is None or at < 0 or address + size > self._marked[at][1]:
                return address
            if not code.starts[(address - code.start) // 2]:
                return address
        return None
