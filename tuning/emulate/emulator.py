# SPDX-License-Identifier: Apache-2.0
"""Call a function of a Cortex-M ELF file as the procedure call standard (AAPCS) does, on the engine of its core."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import numpy as np

from ..target import Target
from ..target.cores import CORES, Core
from . import elf, memory, mve_instructions, waits
from .elf import Image, Symbol
from .engine import Engine, Memories, Outcome, Watch
from .errors import EmulationError, Failure
from .helium_engine import HeliumEngine
from .instructions import Instruction, decode, is_missing
from .memory import Region
from .mve_rules import HeliumIssue
from .pipeline import pipeline_of
from .trace import Access, Pricer, Trace
from .unicorn_engine import UnicornEngine

ENGINES: dict[str, Callable[[Core, Watch, int], Engine]] = {"unicorn": UnicornEngine, "helium": HeliumEngine}
"""What a core's row may name as its `engine`."""

DEFAULT_BUDGET = 500_000_000
"""Instructions after which a call counts as one that does not return."""

PAINT = 0xA5
PAINTED = 0x1_0000  # bytes of stack whose use is measured


@dataclass(frozen=True)
class Buffer:
    """Memory that the caller of `Emulator.buffer` owns."""

    address: int
    size: int


class Emulator:
    """One core with an ELF file in its memory.

    The stack is set up, the FPU is on where the core has one, ``.data`` is initialised and ``.bss`` is zero. Memory
    keeps its contents between calls, as on a board; `reset` starts afresh. The segments of the file, 16 MiB of SRAM at
    0x20000000 and what `buffer` hands out exist; touching anything else is an error. The Cortex-M7's FPU has single
    precision only, as Unicorn's.

    Parameters
    ----------
    source : path or bytes
        Executable ELF file with symbols.
    target : Target or str
        A target, or the name of a core.
    faults : bool
        Check the alignment of every access as the core does: LDM, STM, LDRD, STRD and the FPU's, and everything on a
        core without unaligned access. Takes about twice as long. Unicorn splits long blocks elsewhere then, which can
        move the price by a few cycles: take prices from an emulator that checks nothing.
    checked : bool
        Also check bounds: every access must lie inside an object of the file, the stack or a `buffer`, and constants
        are not written to.
    count_accesses : bool
        Also count the bytes that are read and written in each object; takes about forty times as long.
    memory : bool
        Price the memories and refinements that a board declares; without, it costs what its core costs. Counting the
        accesses takes about five times as long, and is done only for boards whose memories or alignment cost something.

    Raises
    ------
    EmulationError
        The file is no executable for a Cortex-M or has no symbols, or no such core.
    MissingToolError
        The ``firmware`` extra is not installed.
    """

    def __init__(
        self,
        source: str | Path | bytes,
        target: Target | str,
        *,
        faults: bool = False,
        checked: bool = False,
        count_accesses: bool = False,
        memory: bool = True,
    ) -> None:
        self.target_name, self.core = (target, target) if isinstance(target, str) else (target.name, target.core)
        core = CORES.get(self.core)
        if core is None:
            raise EmulationError(f"target: expected a core out of {', '.join(CORES)}, got {self.core!r}")
        self.image: Image = elf.load(source)
        self.checked = checked or count_accesses
        self.faults = faults or self.checked
        self.count_accesses = count_accesses
        board = target if memory and isinstance(target, Target) and not target.is_core else None
        self._board = board if board is not None and waits.watched(board) else None
        self._core = core
        self._pricer = Pricer(pipeline_of(board or self.core), self._decode, self.image.name_of, board)
        self._open()
        self.reset()

    # -- memory ------------------------------------------------------------------------------------------------------

    def _open(self) -> None:
        """The engine, with everything mapped but the buffers."""
        self._layout = memory.layout(self.image)
        watch = Watch(self.faults, self.checked, self.count_accesses, self._board is not None)
        self._engine = ENGINES[self._core.engine](self._core, watch, self._layout.return_page)
        for start, end, protection in self._layout.mapped:
            self._engine.map(start, end - start, protection)
        self._buffers_end = self._buffers_mapped = self._layout.buffers
        self._buffers: list[tuple[int, int, bool]] = []
        self._called = False

    def reset(self) -> None:
        """Load the file again, zero ``.bss``, and give back every buffer. The rest of SRAM keeps its contents."""
        for segment in self.image.segments:
            self._engine.write(segment.address, segment.data + bytes(segment.size - len(segment.data)))
            if segment.load_address != segment.address and segment.data:
                self._engine.write(segment.load_address, segment.data)
        self._engine.mark(self.image.code)
        self.free_buffers()

    def free_buffers(self) -> None:
        """Give back every buffer that `buffer` handed out."""
        self._buffers_end = self._layout.buffers
        self._buffers.clear()

    def buffer(
        self,
        content: int | bytes | np.ndarray,
        *,
        align: int = 4,
        offset: int = 0,
        writable: bool = True,
        poison: int = 0xA5,
    ) -> Buffer:
        """Memory for a tensor, with a guard zone on both sides.

        Parameters
        ----------
        content : int, bytes or ndarray
            Size in bytes, or what to put there.
        align, offset : int
            The address is a multiple of `align`, plus `offset`: ``align=4, offset=1`` is an odd address.
        writable : bool
            Whether a checked emulator lets the code write to it.
        poison : int
            Byte that a buffer given by its size is filled with.
        """
        data = bytes([poison]) * content if isinstance(content, int) else _to_bytes(content)
        address = -(-(self._buffers_end + memory.GUARD) // align) * align + offset
        end = address + len(data) + memory.GUARD
        if end > self._layout.buffers + memory.BUFFERS_SIZE:
            raise EmulationError(
                f"no room for a buffer of {len(data)} bytes: all of them take {memory.BUFFERS_SIZE >> 20} MiB"
            )
        if end > self._buffers_mapped:
            size = -(-(end - self._buffers_mapped) // 0x10_0000) * 0x10_0000
            self._engine.map(self._buffers_mapped, size, memory.READ | elf.WRITE | elf.EXECUTE)
            self._buffers_mapped += size
        self._buffers_end = end
        self._engine.write(address, data)
        self._buffers.append((address, address + len(data), writable))
        return Buffer(address, len(data))

    def write(self, where: str | int | Buffer, content: bytes | np.ndarray) -> None:
        """Put bytes, or an array's bytes, at a symbol, an address or a buffer."""
        data = _to_bytes(content)
        if isinstance(where, str):
            symbol = self.symbol(where)
            if symbol.size and len(data) > symbol.size:
                raise EmulationError(f"{where}: expected at most {symbol.size} bytes, got {len(data)}")
        elif isinstance(where, Buffer) and len(data) > where.size:
            raise EmulationError(f"buffer at {where.address:#x}: expected at most {where.size} bytes, got {len(data)}")
        self._engine.write(self.address(where), data)

    def read(self, where: str | int | Buffer, size: int | None = None) -> bytes:
        """Bytes at a symbol, an address or a buffer; by default the whole symbol or buffer."""
        if size is None:
            size = where.size if isinstance(where, Buffer) else self.symbol(str(where)).size
        return self._engine.read(self.address(where), size)

    def symbol(self, name: str) -> Symbol:
        """Look a symbol up.

        Raises
        ------
        EmulationError
            No such symbol; the message offers the closest one.
        """
        try:
            return self.image.symbols[name]
        except KeyError:
            close = get_close_matches(name, self.image.symbols, 1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise EmulationError(f"{self.image.name}: no symbol {name!r}{hint}") from None

    def address(self, where: str | int | Buffer) -> int:
        """Address of a symbol (functions with their Thumb bit) or buffer; an int is one already."""
        if isinstance(where, Buffer):
            return where.address
        if isinstance(where, str):
            symbol = self.symbol(where)
            return symbol.address | (symbol.kind == "code")
        return where & 0xFFFF_FFFF

    # -- running -----------------------------------------------------------------------------------------------------

    def call(
        self,
        symbol: str,
        args: Sequence[int | str | Buffer] = (),
        *,
        budget: int = DEFAULT_BUDGET,
        warm: bool = False,
    ) -> Trace:
        """Call a function and wait for its return.

        Parameters
        ----------
        symbol : str
            Function of the file.
        args : sequence of int, str or Buffer
            32-bit words as AAPCS passes them: four in r0-r3, the rest on the stack. A name or buffer is its address.
        budget : int
            Instructions after which the call is given up.
        warm : bool
            Begin with a board's caches as the last call left them, not empty.

        Returns
        -------
        Trace

        Raises
        ------
        EmulationError
            No such function, a fault, a broken memory rule, or the budget is spent; with address and function.
        """
        entry = self.symbol(symbol)
        if entry.kind != "code":
            raise EmulationError(f"{self.image.name}: {symbol!r} is data, not a function")
        words = [self.address(arg) for arg in args]
        top = self._enter(words[4:])
        regions = self._regions() if self.checked else []
        ran = self._engine.run(entry.address, words[:4], top, budget, regions=regions, memories=self._memories(warm))
        self._check(ran, symbol, budget)
        tally = self._pricer.price(ran.edges, ran.sizes, ran.counted)
        touched = zip(ran.touched, regions, strict=True) if self.count_accesses else ()
        return Trace(
            symbol=symbol,
            target=self.target_name,
            instructions=tally.instructions,
            cycles=tally.cycles,
            counts=tally.counts,
            blocks=tally.blocks,
            symbols=tally.symbols,
            result=ran.r0,
            result64=ran.r0 | ran.r1 << 32,
            stack_bytes=self._stack_used(),
            accesses=tuple(Access(s, e, region.name, r, w) for (s, e, r, w), region in touched if r or w),
            added=tally.added,
            regions=waits.summary(ran.memories),
            counted=waits.totals(ran.counted),
            reuse=tuple(ran.reuse),
        )

    def disassemble(self, address: int, size: int) -> tuple[Instruction, ...]:
        """The instructions of a block of a trace."""
        return self._pricer.block(address, size)

    def _decode(self, address: int, size: int) -> tuple[Instruction, ...]:
        try:
            block = self._read_block(address, size)
            if missing := next((i for i in block if is_missing(i.mnemonic, i.size, self._core)), None):
                raise EmulationError(
                    f"{self.core} has no instruction '{missing.text}', at {missing.address:#x}", address=missing.address
                )
            return block
        except EmulationError as error:
            at = error.address or address
            name = self.image.name_of(at)
            raise EmulationError(f"{error} in {name}", address=at, symbol=name) from None

    def _read_block(self, address: int, size: int) -> tuple[Instruction, ...]:
        code = self._engine.read(address, size)
        rules = pipeline_of(self.core)
        if isinstance(rules, HeliumIssue):
            return mve_instructions.decode(code, address, rules)
        return decode(code, address)

    def _memories(self, warm: bool) -> Memories | None:
        if self._board is None:
            return None
        spans = waits.regions(self.image, self._layout, self._board, (self._layout.buffers, self._buffers_mapped))
        warm, self._called = warm and self._called, True
        return Memories(spans, waits.options(self._board), warm)

    def _enter(self, spilled: Sequence[int]) -> int:
        """Paint the stack and put the arguments on it that no register takes; return the stack pointer's start."""
        self._engine.write(self._layout.stack - PAINTED, bytes([PAINT]) * PAINTED)
        pointer = self._layout.stack - 8 * ((len(spilled) + 1) // 2)
        if spilled:
            self._engine.write(pointer, struct.pack(f"<{len(spilled)}I", *spilled))
        return pointer

    def _stack_used(self) -> int:
        painted = np.frombuffer(self._engine.read(self._layout.stack - PAINTED, PAINTED), np.uint8)
        used = np.flatnonzero(painted != PAINT)
        return int(PAINTED - used[0]) if used.size else 0

    def _regions(self) -> list[Region]:
        return memory.regions(self.image, self._layout.stack, self._buffers)

    def _check(self, ran: Outcome, symbol: str, budget: int) -> None:
        pc, message = ran.pc, ran.fault
        failure: Failure = "fault"
        if ran.offence is not None:
            rule, is_write, address, size, pc = ran.offence
            message = memory.explain(rule, is_write, address, size, self._regions(), self.core)
        elif message is None and ran.exhausted:
            message, failure = f"did not return within {budget} instructions", "timeout"
        elif message is None and pc != self._layout.return_page:
            message = "the core went to sleep (WFI or WFE) and no interrupt can wake it"
        if message is not None:
            if ran.sp < self._layout.stack - memory.STACK_SIZE:
                message += f" (the stack is more than {memory.STACK_SIZE >> 20} MiB deep)"
            place, name = self.image.place(pc), self.image.name_of(pc)
            raise EmulationError(f"{symbol}: {message}, at {place}", address=pc, symbol=name, failure=failure)


def _to_bytes(content: bytes | np.ndarray) -> bytes:
    if not isinstance(content, np.ndarray | np.generic):
        return bytes(content)
    return np.ascontiguousarray(content).astype(content.dtype.newbyteorder("<"), copy=False).tobytes()
