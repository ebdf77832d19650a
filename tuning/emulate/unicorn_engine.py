# SPDX-License-Identifier: Apache-2.0
"""Unicorn as the engine: QEMU's translator, with hooks in C that count and check."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any, NamedTuple

from ..target.cores import Core
from . import elf, memory
from .engine import Memories, Offence, Outcome, Watch
from .errors import EmulationError, missing_extra
from .memory import Region

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


class UnicornEngine:
    """A core in Unicorn; see `Engine`. The Cortex-M7's FPU has single precision only."""

    joins_blocks = False
    """Whether only a branch ends a block, not the end of a page of Unicorn's."""

    def __init__(self, core: Core, watch: Watch, return_address: int) -> None:
        try:
            import unicorn
            from unicorn import arm_const
        except ImportError:
            raise missing_extra("unicorn is not installed") from None
        self._unicorn, self._registers = unicorn, arm_const
        self._core, self._watch, self._return_address = core, watch, return_address
        self._engine = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS)
        self._engine.ctl_set_cpu_model(getattr(arm_const, f"UC_CPU_ARM_{core.engine_cpu}"))
        self._mapped: list[tuple[int, int]] = []
        self._fault: str | None = None
        self._add_probes()

    # -- memory ------------------------------------------------------------------------------------------------------

    def map(self, start: int, size: int, protection: int) -> None:
        unicorn = self._unicorn
        protections = {
            memory.READ: unicorn.UC_PROT_READ,
            elf.WRITE: unicorn.UC_PROT_WRITE,
            elf.EXECUTE: unicorn.UC_PROT_EXEC,
        }
        self._map(start, size, sum(value for flag, value in protections.items() if protection & flag))
        if self._mapped and self._mapped[-1][1] == start:
            self._mapped[-1] = (self._mapped[-1][0], start + size)
        else:
            self._mapped.append((start, start + size))

    def _map(self, start: int, size: int, protection: int) -> None:
        self._engine.mem_map(start, size, protection)

    def mark(self, code: Sequence[tuple[int, int]]) -> None:
        """Nothing: Unicorn reads instructions where it comes to them."""

    def read(self, address: int, size: int) -> bytes:
        try:
            return bytes(self._engine.mem_read(address, size))
        except self._unicorn.UcError:
            raise EmulationError(f"no memory for {size} bytes at {address:#x}", address=address) from None

    def write(self, address: int, data: bytes) -> None:
        try:
            self._engine.mem_write(address, data)
        except self._unicorn.UcError:
            raise EmulationError(f"no memory for {len(data)} bytes at {address:#x}", address=address) from None

    # -- probes ------------------------------------------------------------------------------------------------------

    def _add_probes(self) -> None:
        from . import _blocks, _guards

        unicorn, arm_const = self._unicorn, self._registers
        library = _library()
        mem_read, reg_read, reg_write, emu_stop = (
            _address(function)
            for function in (library.uc_mem_read, library.uc_reg_read, library.uc_reg_write, library.uc_emu_stop)
        )
        self._blocks = _blocks.BlockProbe(mem_read, emu_stop, joins=self.joins_blocks)
        self._hook(unicorn.UC_HOOK_BLOCK, self._blocks)
        pc, xpsr = arm_const.UC_ARM_REG_PC, arm_const.UC_ARM_REG_XPSR
        if self._watch.memories:
            from . import _memory

            current = self._blocks.current if self.joins_blocks else 0
            self._memory = _memory.MemoryProbe(reg_read, reg_write, xpsr, self._core.thumb2, current)
            for kind, callback in (
                (unicorn.UC_HOOK_BLOCK, self._memory.block_callback),
                (_ACCESS, self._memory.access_callback),
            ):
                self._hook(kind, _Callback(callback, self._memory.user_data))
        if self._watch.alignment:
            numbers = [getattr(arm_const, f"UC_ARM_REG_R{n}") for n in range(13)]
            numbers += [arm_const.UC_ARM_REG_SP, arm_const.UC_ARM_REG_LR, pc]
            strict = not self._core.features.unaligned
            self._alignment = _guards.AlignmentProbe(mem_read, reg_read, emu_stop, numbers, xpsr, strict)
            self._hook(unicorn.UC_HOOK_CODE, self._alignment)
        if self._watch.bounds:
            self._accesses = _guards.AccessProbe(reg_read, reg_write, emu_stop, pc, xpsr)
            # Code that is translated while no hook of this kind exists would never call a later one.
            self._hook(_ACCESS, self._accesses, self._return_address, self._return_address)
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

    def _watch_regions(self, regions: Sequence[Region]) -> None:
        """Let the access probe see what lies outside `regions`, or at their very ends, or is read only."""
        if list(regions) == self._watched:
            return
        for handle in self._watches:
            _library().uc_hook_del(self._engine._uch, handle)
        self._watched, self._watches = list(regions), []
        if self._watch.sizes:
            self._watches.append(self._hook(_ACCESS, self._accesses))
            return
        spans = [(_ACCESS, start, end) for start, end in memory.gaps(self._mapped, regions)]
        # An access that begins inside may end outside.
        spans += [(_ACCESS, max(region.start, region.end - 7), region.end) for region in regions]
        spans += [(_STORE, region.start, region.end) for region in regions if not region.writable]
        self._watches = [self._hook(kind, self._accesses, start, end - 1) for kind, start, end in spans]

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
        self._set_registers(arguments, stack)
        self._fault = None
        self._blocks.start(budget)
        if memories is not None:
            self._memory.start(memories.spans, **memories.options, warm=memories.warm)
        if self._watch.alignment:
            self._alignment.start()
        if self._watch.bounds:
            self._accesses.start([(region.start, region.end, region.writable) for region in regions])
            self._watch_regions(regions)
        try:
            self._engine.emu_start(entry | 1, self._return_address)
        except self._unicorn.UcError as error:
            self._fault = self._fault or _reason(self._unicorn, error)
        return self._outcome()

    def _set_registers(self, arguments: Sequence[int], stack: int) -> None:
        write, registers = self._engine.reg_write, self._registers
        # A register that the call does not set must not carry over from the call before.
        for index in range(13):
            value = arguments[index] if index < len(arguments) else 0
            write(getattr(registers, f"UC_ARM_REG_R{index}"), value)
        write(registers.UC_ARM_REG_SP, stack)
        write(registers.UC_ARM_REG_LR, self._return_address | 1)
        write(registers.UC_ARM_REG_XPSR, 1 << 24)
        if self._core.fpu:
            write(registers.UC_ARM_REG_FPEXC, 1 << 30)

    def _outcome(self) -> Outcome:
        read, registers = self._engine.reg_read, self._registers
        pc = read(registers.UC_ARM_REG_PC) & ~1
        fault, exhausted = self._fault, self._blocks.exhausted
        if fault is None and exhausted:
            # The engine stops between blocks: name the code, not the block that would have come next.
            pc = self._blocks.last_block or pc
        elif fault is None and self._blocks.full:
            fault = "runs through more distinct basic blocks than can be counted"
        offence = self._accesses.offence if self._watch.bounds else None
        if offence is None and self._watch.alignment:
            offence = self._alignment.offence
        return Outcome(
            pc=pc,
            sp=read(registers.UC_ARM_REG_SP),
            r0=read(registers.UC_ARM_REG_R0),
            r1=read(registers.UC_ARM_REG_R1),
            edges=self._blocks.edges(),
            sizes=self._blocks.sizes(),
            exhausted=exhausted,
            fault=fault,
            offence=None if offence is None else Offence(*offence),
            touched=self._accesses.touched() if self._watch.sizes else (),
            counted=self._memory.blocks() if self._watch.memories else {},
            memories=self._memory.regions() if self._watch.memories else (),
            reuse=self._memory.reuse() if self._watch.memories else (),
        )

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


def _reason(unicorn: Any, error: Exception) -> str:
    if getattr(error, "errno", None) == unicorn.UC_ERR_INSN_INVALID:
        return "undefined instruction (UsageFault)"
    return str(error)
