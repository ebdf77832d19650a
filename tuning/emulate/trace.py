# SPDX-License-Identifier: Apache-2.0
"""What a call did: instructions, cycles, and where they went."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from . import refine, waits
from .engine import Edges
from .instructions import Instruction
from .pipeline import DualIssue, Pipeline
from .waits import RegionTrace

if TYPE_CHECKING:
    from ..target import Target
    from ._memory import BlockCounts


@dataclass(frozen=True)
class BlockTrace:
    """A basic block: straight-line code that was entered at `address` `count` times.

    `instructions` and `cycles` are those of all its runs. The cycles of a branch belong to the block that ends with it.
    `added` are those of the cycles that a board adds to its core, by cause.
    """

    address: int
    size: int
    symbol: str
    count: int
    instructions: int
    cycles: int
    added: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class SymbolTrace:
    """A function's own instructions and cycles, callees left out."""

    symbol: str
    instructions: int
    cycles: int


@dataclass(frozen=True)
class Access:
    """Bytes read and written in one declared memory region (`checked` emulators only)."""

    start: int
    end: int
    name: str
    bytes_read: int
    bytes_written: int


@dataclass(frozen=True)
class Trace:
    """One call of a function.

    Attributes
    ----------
    symbol, target : str
        Function that was called, and the core or board whose rules priced it.
    instructions, cycles : int
    counts : dict of str to int
        Instructions by class: alu, mul, ld, st, ldm, stm, div, br, it.
    blocks : tuple of BlockTrace
        By address.
    symbols : tuple of SymbolTrace
        By cycles, the most first.
    result : int
        r0 on return, unsigned; `result64` has r1 as its upper half.
    stack_bytes : int
        Deepest use of the stack, arguments on it included; measured by what was overwritten.
    accesses : tuple of Access
    added : dict of str to int
        Cycles that the board adds to its core, by cause; they are part of `cycles`. Empty for a bare core. What a board
        saves is negative.
    regions : tuple of RegionTrace
        Data accesses and misses by kind of memory, where the target's memories are slower than its core.
    counted : dict of str to int
        What the prices of memories are multiplied with: lines of flash `fetched` after a jump and `fetched_next` to the
        one before, `constants` and `sram` waited for, `unaligned_loads` and `unaligned_stores`; of vectors eight bytes
        each that are `narrow`, read from the ITCM, and `pairs` of elements of gathers and scatters, from the third of
        each on, and all those that are `apart`, which no memory serves in one cycle.
    reuse : tuple of int
        Hits of an instruction cache that is fully associative, by how many other lines were fetched since the line was:
        ``reuse[n]`` would be misses of a cache of `n` lines. So one run tells the misses of all smaller caches.
    """

    symbol: str
    target: str
    instructions: int
    cycles: int
    counts: Mapping[str, int]
    blocks: tuple[BlockTrace, ...]
    symbols: tuple[SymbolTrace, ...]
    result: int = 0
    result64: int = 0
    stack_bytes: int = 0
    accesses: tuple[Access, ...] = ()
    added: Mapping[str, int] = field(default_factory=dict)
    regions: tuple[RegionTrace, ...] = ()
    counted: Mapping[str, int] = field(default_factory=dict)
    reuse: tuple[int, ...] = ()

    @property
    def core_cycles(self) -> int:
        """The cycles without what the board adds."""
        return self.cycles - sum(self.added.values())

    def as_dict(self) -> dict[str, Any]:
        """The trace as ``cmsisnn-verify --json`` prints it."""
        return {
            "symbol": self.symbol,
            "target": self.target,
            "instructions": self.instructions,
            "cycles": self.cycles,
            "core_cycles": self.core_cycles,
            "added": dict(self.added),
            "regions": [asdict(region) for region in self.regions],
            "classes": dict(self.counts),
            "result": self.result,
            "stack_bytes": self.stack_bytes,
            "symbols": [{"symbol": s.symbol, "instructions": s.instructions, "cycles": s.cycles} for s in self.symbols],
            "blocks": [
                {
                    "address": b.address,
                    "size": b.size,
                    "symbol": b.symbol,
                    "count": b.count,
                    "instructions": b.instructions,
                    "cycles": b.cycles,
                }
                for b in self.blocks
            ],
        }


@dataclass(frozen=True)
class Tally:
    """Edge counts, priced."""

    instructions: int
    cycles: int
    counts: Mapping[str, int]
    blocks: tuple[BlockTrace, ...]
    symbols: tuple[SymbolTrace, ...]
    added: Mapping[str, int]


class Pricer:
    """Prices edge counts; blocks and edges that were seen before are looked up.

    Parameters
    ----------
    pipeline : Pipeline
    decode : callable
        ``(address, size) -> tuple of Instruction``.
    name_of : callable
        Address -> name of the function that holds it.
    board : Target, optional
        Whose refinements and memories are priced too.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        decode: Callable[[int, int], tuple[Instruction, ...]],
        name_of: Callable[[int], str],
        board: Target | None = None,
    ) -> None:
        self._pipeline = pipeline
        self._decode = decode
        self._name_of = name_of
        self._board = board
        self._blocks: dict[tuple[int, int], tuple[Instruction, ...]] = {}
        self._edges: dict[tuple[int, int, int, int] | tuple[int, int], int] = {}

    def block(self, address: int, size: int) -> tuple[Instruction, ...]:
        key = (address, size)
        if key not in self._blocks:
            self._blocks[key] = self._decode(address, size)
        return self._blocks[key]

    def _edge(self, source: int | None, address: int, sizes: Mapping[int, int]) -> int:
        block = self.block(address, sizes[address])
        if source is None:
            return self._pipeline.edge_cycles(None, block)
        key = (source, sizes[source], address, sizes[address])
        if key not in self._edges:
            self._edges[key] = self._pipeline.edge_cycles(self.block(source, sizes[source]), block)
        return self._edges[key]

    def _added(
        self, edges: Edges, sizes: Mapping[int, int], memory: Mapping[int, BlockCounts]
    ) -> defaultdict[int, Counter[str]]:
        """What the board adds to each block, by cause."""
        board = self._board
        found: defaultdict[int, Counter[str]] = defaultdict(Counter)
        if board is None:
            return found
        for source, address, count in edges if board.refinements else ():
            block = self.block(address, sizes[address])
            previous = None if source is None else self.block(source, sizes[source])
            taken = source is not None and address != source + sizes[source]
            for cause, cycles in refine.price(refine.find(previous, block, taken=taken), board.refinements).items():
                found[address][cause] += round(cycles * count)
        for address, counts in memory.items():
            found[address].update(waits.price(counts, board, self._paired(address, sizes[address], bool(counts[-1]))))
        return found

    def _paired(self, address: int, size: int, wanted: bool) -> list[int]:
        """Positions among a block's accesses of loads that issue together with the load before."""
        if not wanted or not isinstance(self._pipeline, DualIssue):
            return []
        block = self.block(address, size)
        positions = refine.access_positions(block)
        if positions is None:
            return []
        together = {id(item) for item, paired in zip(block, self._pipeline.paired_loads(block), strict=True) if paired}
        return [at for at, _, item in positions if id(item) in together]

    def price(self, edges: Edges, sizes: Mapping[int, int], memory: Mapping[int, BlockCounts] | None = None) -> Tally:
        """Sum edge counts, ``(source or None, address, count)``, of blocks with the given sizes in bytes, and what the
        memory probe counted for each block.
        """
        runs: Counter[int] = Counter()
        cycles: Counter[int] = Counter()
        outcomes: defaultdict[int, list[int]] = defaultdict(lambda: [0, 0])
        for source, address, count in edges:
            runs[address] += count
            cycles[address] += self._edge(source, address, sizes) * count
            if source is not None and any(item.ends_block for item in self.block(source, sizes[source])):
                outcomes[source][address != source + sizes[source]] += count
        for address, (not_taken, taken) in outcomes.items():
            cycles[address] += self._pipeline.branch_cycles(not_taken, taken)

        extra = self._added(edges, sizes, memory or {})
        for address, causes in extra.items():
            cycles[address] += sum(causes.values())
        added: Counter[str] = Counter()
        for causes in extra.values():
            added.update(causes)

        counts: Counter[str] = Counter()
        blocks = []
        by_symbol: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0])
        for address in sorted(runs):
            block = self.block(address, sizes[address])
            for item in block:
                counts[item.kind] += runs[address]
            traced = BlockTrace(
                address,
                sizes[address],
                self._name_of(address),
                runs[address],
                len(block) * runs[address],
                cycles[address],
                dict(extra[address]) if address in extra else {},
            )
            blocks.append(traced)
            by_symbol[traced.symbol][0] += traced.instructions
            by_symbol[traced.symbol][1] += traced.cycles
        symbols = tuple(
            SymbolTrace(name, *totals)
            for name, totals in sorted(by_symbol.items(), key=lambda item: (-item[1][1], item[0]))
        )
        return Tally(
            sum(b.instructions for b in blocks),
            sum(b.cycles for b in blocks),
            dict(sorted(counts.items())),
            tuple(blocks),
            symbols,
            {
                cause: cycles
                for cause, cycles in sorted(added.items(), key=lambda item: (-abs(item[1]), item[0]))
                if cycles
            },
        )
