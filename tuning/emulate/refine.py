# SPDX-License-Identifier: Apache-2.0
"""What a core does beyond the fixed rules, as boards declare it (`tuning.target.REFINEMENTS`): found in the
instructions of a block and the last one before it, without looking at data.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from .instructions import Instruction
from .pipeline import Block

CAUSES = {
    "address_hazard": "address hazards",
    "load_after_store": "load after store",
    "store_after_load": "store after load",
    "store_register_offset": "store with register offset",
    "writeback_chain": "writeback chains",
    "it_folded": "folded IT",
    "branch_target": "branch targets",
    "store_buffer": "store buffer",
}
"""Refinement -> the cause under which a trace lists its cycles."""
_SAVES = ("store_after_load", "it_folded")
_WIDE = 4
"""Bytes of a 32-bit instruction; the core fetches as many at a time, from a multiple of them."""
_NARROW_STORES = ("strb", "strh")


def find(previous: Block | None, block: Block, *, taken: bool) -> Counter[str]:
    """How often each refinement applies when `block` runs after `previous`, by a taken branch or by falling into it."""
    found: Counter[str] = Counter()
    if taken and block and block[0].size == _WIDE and block[0].address % _WIDE:
        found["branch_target"] += 1
    before = previous[-1] if previous else None
    for item in block:
        if before is not None:
            _neighbours(before, item, found)
        elif item.kind == "st" and item.register_offset:
            found["store_register_offset"] += 1
        before = item
    return found


def _neighbours(before: Instruction, item: Instruction, found: Counter[str]) -> None:
    memory = item.kind in ("ld", "st", "ldm", "stm")
    if memory and before.kind not in ("ld", "ldm") and set(item.address_registers) & set(before.writes):
        # The result of a load is late for everything, and priced as such by the load.
        found["address_hazard"] += 1
    if item.kind == "ld" and before.kind == "st":
        found["load_after_store"] += 1
    if item.kind == "st":
        if item.register_offset:
            found["store_register_offset"] += 1
        elif before.kind == "ld":
            found["store_after_load"] += 1
        if before.mnemonic in _NARROW_STORES and item.mnemonic in _NARROW_STORES:
            found["store_buffer"] += 1
    if item.writeback and before.writeback and set(item.address_registers) & set(before.address_registers):
        found["writeback_chain"] += 1
    if item.kind == "it" and before.size == 2 and before.kind not in ("ldm", "stm"):
        found["it_folded"] += 1


def price(found: Mapping[str, int], refinements: Mapping[str, float]) -> dict[str, float]:
    """Cycles by cause; those that are saved are negative."""
    return {
        CAUSES[name]: count * refinements[name] * (-1 if name in _SAVES else 1)
        for name, count in found.items()
        if name in refinements
    }


def access_positions(block: Block) -> list[tuple[int, int, Instruction]] | None:
    """``(first, words, instruction)`` of a block's accesses in their order, ``None`` where some are conditional."""
    positions: list[tuple[int, int, Instruction]] = []
    at = 0
    conditional = 0
    for item in block:
        if item.kind == "it":
            conditional = len(item.mnemonic) - 1
            continue
        if item.kind in ("ld", "st", "ldm", "stm"):
            if conditional:
                return None
            positions.append((at, item.words, item))
            at += item.words
        conditional = max(0, conditional - 1)
    return positions
