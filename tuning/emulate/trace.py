# SPDX-License-Identifier: Apache-2.0
"""What a call did: instructions, cycles, and where they went."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .instructions import Instruction
from .pipeline import Pipeline

Edges = Sequence[tuple[int | None, int, int]]


@dataclass(frozen=True)
class BlockTrace:
    """A basic block: straight-line code that was entered at `address` `count` times.

    `instructions` and `cycles` are those of all its runs. The cycles of a branch belong to the block that ends with it.
    """

    address: int
    size: int
    symbol: str
    count: int
    instructions: int
    cycles: int


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

    def as_dict(self) -> dict[str, Any]:
        """The trace as ``cmsisnn-verify --json`` prints it."""
        return {
            "symbol": self.symbol,
            "target": self.target,
            "instructions": self.instructions,
            "cycles": self.cycles,
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


class Pricer:
    """Prices edge counts; blocks and edges that were seen before are looked up.

    Parameters
    ----------
    pipeline : Pipeline
    decode : callable
        ``(address, size) -> tuple of Instruction``.
    name_of : callable
        Address -> name of the function that holds it.
    """

    def __init__(
        self, pipeline: Pipeline, decode: Callable[[int, int], tuple[Instruction, ...]], name_of: Callable[[int], str]
    ) -> None:
        self._pipeline = pipeline
        self._decode = decode
        self._name_of = name_of
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

    def price(self, edges: Edges, sizes: Mapping[int, int]) -> Tally:
        """Sum edge counts, ``(source or None, address, count)``, of blocks with the given sizes in bytes."""
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
        )
