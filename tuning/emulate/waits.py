# SPDX-License-Identifier: Apache-2.0
"""What a board's memories add to the cycles of its core: counted accesses and misses, priced.

The model is simple and declared in the board's file (`tuning.target.MEMORY`). Flash delivers lines; a line that neither
the line buffer nor a cache holds is waited for, and with prefetch the wait for the next line overlaps the execution of
the one before, four bytes per cycle. Stores wait for nothing. The caches are simulated access by access, replace the
line that was used longest ago, and are empty when a call begins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from ..target import Target
from .elf import WRITE, Image
from .memory import STACK_SIZE, Layout

if TYPE_CHECKING:
    from ._memory import BlockCounts

FLASH, SRAM, TCM = range(3)
COUNTED = (
    *("fetched", "fetched_next", "constants", "sram", "unaligned_loads", "unaligned_stores"),
    *("narrow", "pairs", "apart"),
)
OF_ACCESSES = frozenset(
    ("unaligned_load", "unaligned_store", "bank_conflict", "itcm_vector", "gather_pair", "gather_conflict")
)
"""Refinements that are priced by what accesses do."""
KINDS = ("flash", "SRAM", "TCM")
SRAM_START, CODE_END = 0x2000_0000, 0x2000_0000


@dataclass(frozen=True)
class RegionTrace:
    """Data accesses to one kind of memory, and how often it had to be waited for: lines of code, constants, loads."""

    name: str
    reads: int
    writes: int
    bytes_read: int
    bytes_written: int
    misses: int


def watched(target: Target) -> bool:
    """Whether the price needs accesses to be counted."""
    return target.waits or bool(OF_ACCESSES & target.refinements.keys())


def regions(image: Image, layout: Layout, target: Target, buffers: tuple[int, int]) -> list[tuple[int, int, int]]:
    """``(start, end, kind)`` of everything that is mapped: below 0x20000000 flash, unless the file writes to it,
    and SRAM above. What the emulator adds, the stack and its buffers, lies in the TCM of boards that have one.
    """
    found: list[tuple[int, int, int]] = []
    written = [(s.address, s.address + s.size) for s in image.segments if s.flags & WRITE]
    spans = [(start, end) for start, end, _ in layout.mapped] + [buffers]
    cuts = {0, SRAM_START, target.itcm_bytes, SRAM_START + target.dtcm_bytes, *(at for span in written for at in span)}
    own = ((layout.stack - STACK_SIZE, layout.stack), buffers) if target.dtcm_bytes else ()
    cuts |= {at for span in own for at in span}
    for start, end in spans:
        edges = [start, *sorted(cut for cut in cuts if start < cut < end), end]
        for low, high in pairwise(edges):
            if (
                low < target.itcm_bytes
                or SRAM_START <= low < SRAM_START + target.dtcm_bytes
                or any(a <= low < b for a, b in own)
            ):
                kind = TCM
            elif low >= CODE_END or any(a <= low < b for a, b in written):
                kind = SRAM
            else:
                kind = FLASH
            found.append((low, high, kind))
    return sorted(found)


def options(target: Target) -> dict[str, Any]:
    """The caches and lines of a target as `MemoryProbe.start` takes them."""
    line = target.cache_line_bytes or target.flash_line_bytes
    return {
        "line_bytes": target.flash_line_bytes or 4,
        "instruction_cache": (target.instruction_cache_bytes, line, target.instruction_cache_ways),
        "data_cache": (target.flash_cache_bytes, line, target.cache_ways),
        "shared": target.shared_cache,
        "fetches": bool(target.flash_wait_states or target.line_fill_cycles),
        "sram_waits": target.sram_wait_states > 0,
        "sram_cached": target.sram_cached,
    }


def summary(counted: Sequence[tuple[int, int, int, int, int, int, int, int]]) -> tuple[RegionTrace, ...]:
    """Counts of regions, added up by kind of memory."""
    totals = {kind: [0] * 5 for kind in range(len(KINDS))}
    for _, _, kind, *counts in counted:
        totals[kind] = [a + b for a, b in zip(totals[kind], counts, strict=True)]
    return tuple(RegionTrace(KINDS[kind], *values) for kind, values in totals.items() if any(values))


def totals(blocks: Mapping[int, BlockCounts]) -> dict[str, int]:
    """Counts of all blocks by what is counted; empty where nothing was."""
    sums = [sum(column) for column in zip(*(counts[:-1] for counts in blocks.values()), strict=True)]
    return dict(zip(COUNTED, sums, strict=False))


def miss_cycles(target: Target) -> tuple[int, int]:
    """What a read of the flash waits for: after a jump, and for the line that follows the one before."""
    full = target.flash_wait_states + target.line_fill_cycles
    return full, max(0, full - target.flash_line_bytes // 4) if target.flash_prefetch else full


def price(counts: BlockCounts, target: Target, paired: Sequence[int]) -> Mapping[str, int]:
    """Cycles that the memories add to the runs of one block, by cause.

    `paired` are the positions, among the block's accesses, of loads that issue together with the load before.
    """
    fetched, fetched_next, constants, sram, loads, stores, narrow, pairs, apart, banks = counts
    full, following = miss_cycles(target)
    extra = target.refinements
    added = {
        "flash fetch": fetched * full + fetched_next * following,
        "flash data": constants * full,
        "SRAM": sram * target.sram_wait_states,
        "unaligned": loads * extra.get("unaligned_load", 0) + stores * extra.get("unaligned_store", 0),
        "ITCM": narrow * extra.get("itcm_vector", 0),
        "gathers": pairs * extra.get("gather_pair", 0) + apart * extra.get("gather_conflict", 0),
        "bank conflicts": sum(banks.get(at, 0) for at in paired) * extra.get("bank_conflict", 0),
    }
    return {cause: round(cycles) for cause, cycles in added.items() if cycles}
