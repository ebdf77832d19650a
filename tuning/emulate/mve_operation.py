# SPDX-License-Identifier: Apache-2.0
"""What a decoded instruction of Armv8.1-M is, and the row of bits that it is read by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

NONE, ZERO = 0xFF, 15  # no register; ZR in the place of a register
CONDITIONS = ["eq", "ne", "cs", "cc", "mi", "pl", "vs", "vc", "hi", "ls", "ge", "lt", "gt", "le", "al"]
GENERAL = (*(f"r{n}" for n in range(13)), "sp", "lr", "pc")
SIZES = {8: 0, 16: 1, 32: 2, 64: 3}
"""Bits of an element -> log2 of its bytes."""


class Operation(NamedTuple):
    """What the interpreter runs; `_mve` says what the fields mean for an operation."""

    op: str
    size: int = 0
    signed: bool = False
    qd: int = 0
    qn: int = 0
    qm: int = 0
    rd: int = NONE
    rn: int = NONE
    rm: int = NONE
    memory: int = 0
    lane: int = 0
    amount: int = 0
    condition: int = 0
    saturate: int = 0
    top: bool = False
    accumulate: bool = False
    exchange: bool = False
    subtract: bool = False
    round: bool = False
    store: bool = False
    tail: bool = False
    writeback: bool = False
    post: bool = False
    immediate: int = 0


@dataclass(frozen=True)
class Decoded:
    """An instruction.

    Attributes
    ----------
    mnemonic, text : str
        Without suffixes; as an assembler takes it.
    operation : Operation or None
        None where it is refused, for `reason`.
    reads, writes : tuple of str
        ``r0``, ``q0``, ``s0``, ``vpr``.
    target : int or None
        Where a loop instruction may jump to.
    """

    mnemonic: str
    text: str
    operation: Operation | None = None
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    target: int | None = None
    type: str = ""
    reason: str = ""


class Refused(Exception):
    """The row does not fit after all."""


@dataclass(frozen=True)
class Form:
    mask: int
    value: int
    fields: dict[str, tuple[int, ...]]
    mnemonic: str
    types: tuple[str, ...]
    operands: tuple[str, ...]
    op: str
    flags: tuple[str, ...]

    def matches(self, code: int) -> bool:
        return code & self.mask == self.value

    def values(self, code: int) -> dict[str, int]:
        found = {}
        for letter, places in self.fields.items():
            value = 0
            for place in places:
                value = value << 1 | code >> place & 1
            found[letter] = value
        return found


def general(number: int, *, zero: bool = False) -> str:
    if number == ZERO and zero:
        return "zr"
    if number in (13, 15):
        raise Refused
    return GENERAL[number]
