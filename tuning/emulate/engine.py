# SPDX-License-Identifier: Apache-2.0
"""The seam between an emulated call and what runs it: an engine has memory, runs code from one address to another, and
says what it saw.

Above lies everything that no engine knows of: ELF files, the calling convention, buffers, what faults mean, prices
(`emulator`). An engine is opened for one core; the core's row names it (`tuning.target.cores`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from .memory import Region

if TYPE_CHECKING:
    from ._memory import BlockCounts

Edges = Sequence[tuple[int | None, int, int]]
"""``(source or None, address, count)``: how often a basic block was entered from which."""


@dataclass(frozen=True)
class Watch:
    """What an engine looks at beside the edges of basic blocks; what it need not look at costs no time.

    Attributes
    ----------
    alignment : bool
        Stop at accesses that the core faults on for their address alone.
    bounds : bool
        Stop at accesses that are in no region of the run, and at writes to those that are not writable.
    sizes : bool
        Count the bytes that are read and written in each region.
    memories : bool
        Count what the prices of a board's memories are multiplied with (`waits`).
    """

    alignment: bool = False
    bounds: bool = False
    sizes: bool = False
    memories: bool = False


@dataclass(frozen=True)
class Memories:
    """A board's memories during a run: `spans` are ``(start, end, kind)``, `options` their caches and lines as `waits`
    puts them. When `warm`, caches are as the run before left them, not empty.
    """

    spans: Sequence[tuple[int, int, int]]
    options: Mapping[str, Any]
    warm: bool


class Offence(NamedTuple):
    """An access that broke a rule, ``"alignment"``, ``"bounds"`` or ``"read-only"``, by the instruction at `pc`."""

    rule: str
    is_write: bool
    address: int
    size: int
    pc: int


@dataclass(frozen=True)
class Outcome:
    """What a run did.

    Attributes
    ----------
    pc, sp, r0, r1 : int
        The registers at its end. `pc` is the return address, or else lies where the run stopped.
    edges : Edges
    sizes : mapping of int to int
        Address of every block in `edges` -> its bytes.
    exhausted : bool
        Whether the budget was spent.
    fault : str or None
        Half a sentence on what stopped the run, where neither the budget nor an offence did.
    offence : Offence or None
        The first access that was watched for.
    touched : sequence
        ``(start, end, bytes read, bytes written)`` of each region (`Watch.sizes`).
    counted : mapping
        Address of a block -> what its runs waited for; `memories` is the same by span (`Watch.memories`).
    reuse : sequence of int
        Hits of a fully associative instruction cache: `Trace.reuse`.
    """

    pc: int
    sp: int
    r0: int
    r1: int
    edges: Edges
    sizes: Mapping[int, int]
    exhausted: bool = False
    fault: str | None = None
    offence: Offence | None = None
    touched: Sequence[tuple[int, int, int, int]] = ()
    counted: Mapping[int, BlockCounts] = field(default_factory=dict)
    memories: Sequence[tuple[int, int, int, int, int, int, int, int]] = ()
    reuse: Sequence[int] = ()


class Engine(Protocol):
    """One core and its memory. Made from a `Core`, a `Watch`, and the address that runs return to, in a mapped page of
    its own.
    """

    def map(self, start: int, size: int, protection: int) -> None:
        """Let whole pages of memory exist, zero; `protection` sums `memory.READ`, `elf.WRITE` and `elf.EXECUTE`."""

    def mark(self, code: Sequence[tuple[int, int]]) -> None:
        """Where instructions are in memory, ``(start, end)``, as mapping symbols say; before the first run. None are
        given where the file has no such symbols.
        """

    def read(self, address: int, size: int) -> bytes:
        """Bytes of memory; EmulationError where some are not mapped."""
        ...

    def write(self, address: int, data: bytes) -> None:
        """Put bytes into memory, whatever its protection; EmulationError where some of it is not mapped."""

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
        """Run from `entry` until the return address, a fault, or `budget` instructions.

        `arguments` are r0 to r3 and `stack` is SP; LR holds the return address, every other register is zero, and the
        FPU of a core that has one is on. `regions` are what is watched (ascending, disjoint), `memories` what is
        counted.
        """
        ...
