# SPDX-License-Identifier: Apache-2.0
"""Run a function of a Cortex-M ELF file, as the procedure call standard (AAPCS) calls it."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..target import CORES, Target
from . import elf, memory, waits
from .elf import Image, Symbol
from .errors import EmulationError, Failure, missing_extra
from .instructions import Instruction, decode, is_missing
from .memory import Region
from .pipeline import pipeline_of
from .trace import Access, Pricer, Trace

DEFAULT_BUDGET = 500_000_000
"""Instructions after which a call counts as one that does not return."""

PAINT = 0xA5
PAINTED = 0x1_0000  # bytes of stack whose use is measured
# Exceptions as Unicorn's interrupt hook numbers them.
EXCEPTIONS = {
    1: "undefined instruction (UsageFault)",
    2: "supervisor call (SVC): no operating system is emulated",
    3: "instruction fetch that the memory protection forbids",
    4: "data access that the memory protection forbids (MemManage fault)",
    7: "breakpoint (BKPT): semihosting is not emulated",
    8: "exception return outside a handler",
    17: "FPU instruction while the FPU is absent or disabled (UsageFault NOCP)",
    18: "invalid processor state, such as a branch to an even address (UsageFault INVSTATE)",
}


# Unicorn's UC_HOOK_MEM_READ and UC_HOOK_MEM_WRITE, the sum of which is both.
_STORE = 1 << 11
_ACCESS = 1 << 10 | _STORE


class _Callback(NamedTuple):
    """One of several callbacks of a probe."""

    callback: int
    user_data: int


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
        Check the alignment of every access as the core does: anything on an M0+; LDM, STM, LDRD, STRD and the FPU's on
        the others. Takes about twice as long. Unicorn splits long blocks elsewhere then, which can move the price
        by a few cycles: take prices from an emulator that checks nothing.
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
        if self.core not in CORES:
            raise EmulationError(f"target: expected a core out of {', '.join(CORES)}, got {self.core!r}")
        self.image: Image = elf.load(source)
        self.checked = checked or count_accesses
        self.faults = faults or self.checked
        self.count_accesses = count_accesses
        board = target if memory and isinstance(target, Target) and not target.is_core else None
        self._board = board if board is not None and waits.watched(board) else None
        self._pricer = Pricer(pipeline_of(board or self.core), self._decode, self.image.name_of, board)
        self._open()
        self._map()
        self._add_probes()
        self.reset()

    # -- memory ------------------------------------------------------------------------------------------------------

    def _open(self) -> None:
        try:
            import unicorn
            from unicorn import arm_const
        except ImportError:
            raise missing_extra("unicorn") from None
        self._unicorn, self._registers = unicorn, arm_const
        models = {
            "cortex-m0plus": arm_const.UC_CPU_ARM_CORTEX_M0,
            "cortex-m3": arm_const.UC_CPU_ARM_CORTEX_M3,
            "cortex-m4": arm_const.UC_CPU_ARM_CORTEX_M4,
            "cortex-m7": arm_const.UC_CPU_ARM_CORTEX_M7,
            "cortex-m33": arm_const.UC_CPU_ARM_CORTEX_M33,
        }
        self._engine = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS)
        self._engine.ctl_set_cpu_model(models[self.core])

    def _add_probes(self) -> None:
        from . import _blocks, _guards

        unicorn, arm_const = self._unicorn, self._registers
        library = _library()
        mem_read, reg_read, reg_write, emu_stop = (
            _address(function)
            for function in (library.uc_mem_read, library.uc_reg_read, library.uc_reg_write, library.uc_emu_stop)
        )
        self._blocks = _blocks.BlockProbe(mem_read, emu_stop)
        self._hook(unicorn.UC_HOOK_BLOCK, self._blocks)
        pc, xpsr = arm_const.UC_ARM_REG_PC, arm_const.UC_ARM_REG_XPSR
        self._called = False
        if self._board is not None:
            from . import _memory

            self._memory = _memory.MemoryProbe(
                reg_read, reg_write, arm_const.UC_ARM_REG_XPSR, self.core != "cortex-m0plus"
            )
            for kind, callback in (
                (unicorn.UC_HOOK_BLOCK, self._memory.block_callback),
                (_ACCESS, self._memory.access_callback),
            ):
                self._hook(kind, _Callback(callback, self._memory.user_data))
        if self.faults:
            numbers = [getattr(arm_const, f"UC_ARM_REG_R{n}") for n in range(13)]
            numbers += [arm_const.UC_ARM_REG_SP, arm_const.UC_ARM_REG_LR, pc]
            strict = self.core == "cortex-m0plus"
            self._alignment = _guards.AlignmentProbe(mem_read, reg_read, emu_stop, numbers, xpsr, strict)
            self._hook(unicorn.UC_HOOK_CODE, self._alignment)
        if self.checked:
            self._accesses = _guards.AccessProbe(reg_read, reg_write, emu_stop, pc, xpsr)
            # Code that is translated while no hook of this kind exists would never call a later one.
            self._hook(_ACCESS, self._accesses, self._layout.return_page, self._layout.return_page)
            self._watched: list[Region] = []
            self._watches: list[int] = []
        self._engine.hook_add(unicorn.UC_HOOK_INTR, self._on_exception)
        self._engine.hook_add(unicorn.UC_HOOK_MEM_INVALID, self._on_bad_access)

    def _hook(self, kind: int, probe: Any, first: int = 1, last: int = 0) -> int:
        """Let a probe's callback see the addresses `first` to `last`; by default all."""
        handle = ctypes.c_size_t()
        status = _library().uc_hook_add(
            self._engine._uch,
            ctypes.byref(handle),
            kind,
            ctypes.c_void_p(probe.callback),
            ctypes.c_void_p(probe.user_data),
            ctypes.c_uint64(first),
            ctypes.c_uint64(last),
        )
        if status:
            raise EmulationError(f"Unicorn refused a hook (error {status})")
        return handle.value

    def _watch(self, regions: list[Region]) -> None:
        """Let the access probe see what lies outside `regions`, or at their very ends, or is read only."""
        if regions == self._watched:
            return
        for handle in self._watches:
            _library().uc_hook_del(self._engine._uch, handle)
        self._watched, self._watches = regions, []
        if self.count_accesses:
            self._watches.append(self._hook(_ACCESS, self._accesses))
            return
        mapped = [(start, end) for start, end, _ in self._layout.mapped]
        mapped.append((self._layout.buffers, self._buffers_mapped))
        spans = [(_ACCESS, start, end) for start, end in memory.gaps(mapped, regions)]
        # An access that begins inside may end outside.
        spans += [(_ACCESS, max(region.start, region.end - 7), region.end) for region in regions]
        spans += [(_STORE, region.start, region.end) for region in regions if not region.writable]
        self._watches = [self._hook(kind, self._accesses, start, end - 1) for kind, start, end in spans]

    def _map(self) -> None:
        unicorn = self._unicorn
        protections = {
            memory.READ: unicorn.UC_PROT_READ,
            elf.WRITE: unicorn.UC_PROT_WRITE,
            elf.EXECUTE: unicorn.UC_PROT_EXEC,
        }
        self._layout = memory.layout(self.image)
        for start, end, flags in self._layout.mapped:
            self._engine.mem_map(start, end - start, sum(value for flag, value in protections.items() if flags & flag))
        self._buffers_end = self._buffers_mapped = self._layout.buffers
        self._buffers: list[tuple[int, int, bool]] = []

    def reset(self) -> None:
        """Load the file again, zero ``.bss``, and give back every buffer. The rest of SRAM keeps its contents."""
        for segment in self.image.segments:
            self._engine.mem_write(segment.address, segment.data + bytes(segment.size - len(segment.data)))
            if segment.load_address != segment.address and segment.data:
                self._engine.mem_write(segment.load_address, segment.data)
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
            self._engine.mem_map(self._buffers_mapped, size)
            self._buffers_mapped += size
        self._buffers_end = end
        self._engine.mem_write(address, data)
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
        address = self.address(where)
        try:
            self._engine.mem_write(address, data)
        except self._unicorn.UcError:
            raise EmulationError(f"no memory for {len(data)} bytes at {address:#x}", address=address) from None

    def read(self, where: str | int | Buffer, size: int | None = None) -> bytes:
        """Bytes at a symbol, an address or a buffer; by default the whole symbol or buffer."""
        if size is None:
            size = where.size if isinstance(where, Buffer) else self.symbol(str(where)).size
        address = self.address(where)
        try:
            return bytes(self._engine.mem_read(address, size))
        except self._unicorn.UcError:
            raise EmulationError(f"no memory for {size} bytes at {address:#x}", address=address) from None

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
        self._fault: str | None = None
        top = self._enter([self.address(arg) for arg in args])
        self._blocks.start(budget)
        if self._board is not None:
            mapped = (self._layout.buffers, self._buffers_mapped)
            spans = waits.regions(self.image, self._layout, self._board, mapped)
            self._memory.start(spans, **waits.options(self._board), warm=warm and self._called)
            self._called = True
        if self.faults:
            self._alignment.start()
        if self.checked:
            regions = self._regions()
            self._accesses.start([(region.start, region.end, region.writable) for region in regions])
            self._watch(regions)
        try:
            self._engine.emu_start(entry.address | 1, self._layout.return_page)
        except self._unicorn.UcError as error:
            self._fault = self._fault or _reason(self._unicorn, error)
        self._check_outcome(symbol, budget)
        counted = self._memory.blocks() if self._board is not None else None
        tally = self._pricer.price(self._blocks.edges(), self._blocks.sizes(), counted)
        low, high = (self._engine.reg_read(r) for r in (self._registers.UC_ARM_REG_R0, self._registers.UC_ARM_REG_R1))
        accesses: tuple[Access, ...] = ()
        if self.count_accesses:
            touched = zip(self._accesses.touched(), regions, strict=True)
            accesses = tuple(Access(s, e, region.name, r, w) for (s, e, r, w), region in touched if r or w)
        return Trace(
            symbol=symbol,
            target=self.target_name,
            instructions=tally.instructions,
            cycles=tally.cycles,
            counts=tally.counts,
            blocks=tally.blocks,
            symbols=tally.symbols,
            result=low,
            result64=low | high << 32,
            stack_bytes=self._stack_used(top),
            accesses=accesses,
            added=tally.added,
            regions=waits.summary(self._memory.regions()) if self._board is not None else (),
            counted=waits.totals(counted or {}),
        )

    def disassemble(self, address: int, size: int) -> tuple[Instruction, ...]:
        """The instructions of a block of a trace."""
        return self._pricer.block(address, size)

    def _decode(self, address: int, size: int) -> tuple[Instruction, ...]:
        try:
            block = decode(bytes(self._engine.mem_read(address, size)), address)
            if missing := next((i for i in block if is_missing(i.mnemonic, i.size, self.core)), None):
                raise EmulationError(
                    f"{self.core} has no instruction '{missing.text}', at {missing.address:#x}", address=missing.address
                )
            return block
        except EmulationError as error:
            at = error.address or address
            name = self.image.name_of(at)
            raise EmulationError(f"{error} in {name}", address=at, symbol=name) from None

    def _enter(self, words: list[int]) -> int:
        """Set the registers and the stack of a call; return the stack pointer's start."""
        write = self._engine.reg_write
        registers = self._registers
        self._engine.mem_write(self._layout.stack - PAINTED, bytes([PAINT]) * PAINTED)
        spilled = words[4:]
        pointer = self._layout.stack - 8 * ((len(spilled) + 1) // 2)
        if spilled:
            self._engine.mem_write(pointer, struct.pack(f"<{len(spilled)}I", *spilled))
        # A register that the call does not set must not carry over from the call before.
        for index in range(13):
            write(getattr(registers, f"UC_ARM_REG_R{index}"), words[index] if index < min(len(words), 4) else 0)
        write(registers.UC_ARM_REG_SP, pointer)
        write(registers.UC_ARM_REG_LR, self._layout.return_page | 1)
        write(registers.UC_ARM_REG_XPSR, 1 << 24)
        if self.core in ("cortex-m4", "cortex-m7", "cortex-m33"):
            write(registers.UC_ARM_REG_FPEXC, 1 << 30)
        return pointer

    def _stack_used(self, top: int) -> int:
        painted = np.frombuffer(self._engine.mem_read(self._layout.stack - PAINTED, PAINTED), np.uint8)
        used = np.flatnonzero(painted != PAINT)
        return int(PAINTED - used[0]) if used.size else 0

    def _regions(self) -> list[Region]:
        return memory.regions(self.image, self._layout.stack, self._buffers)

    def _on_exception(self, engine: Any, number: int, data: Any) -> None:
        self._fault = EXCEPTIONS.get(number, f"exception {number}")
        engine.emu_stop()

    def _on_bad_access(self, engine: Any, kind: int, address: int, size: int, value: int, data: Any) -> bool:
        unicorn = self._unicorn
        verb = {
            unicorn.UC_MEM_READ_UNMAPPED: "read of unmapped memory",
            unicorn.UC_MEM_WRITE_UNMAPPED: "write to unmapped memory",
            unicorn.UC_MEM_FETCH_UNMAPPED: "instruction fetch from unmapped memory",
            unicorn.UC_MEM_READ_PROT: "read of protected memory",
            unicorn.UC_MEM_WRITE_PROT: "write to read-only memory",
            unicorn.UC_MEM_FETCH_PROT: "instruction fetch from protected memory",
        }[kind]
        self._fault = f"{verb} at {address:#x} ({size} bytes)"
        return False

    def _check_outcome(self, symbol: str, budget: int) -> None:
        pc = self._engine.reg_read(self._registers.UC_ARM_REG_PC) & ~1
        message: str | None = None
        failure: Failure = "fault"
        offence = self._accesses.offence if self.checked else None
        if offence is None and self.faults:
            offence = self._alignment.offence
        if offence is not None:
            rule, is_write, address, size, pc = offence
            message = memory.explain(rule, is_write, address, size, self._regions(), self.core)
        elif self._fault is not None:
            message = self._fault
        elif self._blocks.exhausted:
            # The engine stops between blocks: name the code, not the block that would have come next.
            pc = self._blocks.last_block or pc
            message, failure = f"did not return within {budget} instructions", "timeout"
        elif self._blocks.full:
            message = "runs through more distinct basic blocks than can be counted"
        elif pc != self._layout.return_page:
            message = "the core went to sleep (WFI or WFE) and no interrupt can wake it"
        if message is not None:
            if self._engine.reg_read(self._registers.UC_ARM_REG_SP) < self._layout.stack - memory.STACK_SIZE:
                message += f" (the stack is more than {memory.STACK_SIZE >> 20} MiB deep)"
            place, name = self.image.place(pc), self.image.name_of(pc)
            raise EmulationError(f"{symbol}: {message}, at {place}", address=pc, symbol=name, failure=failure)


def _address(function: Any) -> int:
    address = ctypes.cast(function, ctypes.c_void_p).value
    assert address is not None
    return address


def _library() -> Any:
    """Unicorn's C functions: hooks in C cannot be added through its Python classes."""
    try:
        from unicorn.unicorn_py3 import unicorn as binding

        return binding.uclib
    except (ImportError, AttributeError):
        import unicorn

        raise EmulationError(f"unicorn: expected version 2.1, got {unicorn.__version__}") from None


def _to_bytes(content: bytes | np.ndarray) -> bytes:
    if not isinstance(content, np.ndarray):
        return bytes(content)
    return np.ascontiguousarray(content).astype(content.dtype.newbyteorder("<"), copy=False).tobytes()


def _reason(unicorn: Any, error: Exception) -> str:
    if getattr(error, "errno", None) == unicorn.UC_ERR_INSN_INVALID:
        return "undefined instruction (UsageFault)"
    return str(error)
