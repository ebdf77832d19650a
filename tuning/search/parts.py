# SPDX-License-Identifier: Apache-2.0
"""The last layers of a chain as it grows from its end: which choices for them are followed."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import NamedTuple

import numpy as np

from .bands import Choice

KEPT = 24
"""Partial chains that are followed per number of rows."""


class Part(NamedTuple):
    """A choice for the last layers of a chain: bytes of the rings inside, and cycles."""

    bytes: int
    cycles: float
    picked: tuple[Choice, ...]


Grown = tuple[int, float, int, Choice, Part]
"""Bytes and cycles of a part to be, its number, what is in front, and the part behind that."""


def worthwhile(grown: Iterable[tuple[Choice, int, float]]) -> list[tuple[Choice, int, float]]:
    """Of the choices for a layer with rings and cycles of moves those that no other of the same band beats in both
    bytes and cycles, with all of their cycles; the first of those that are alike.
    """
    least: dict[int, float] = {}
    kept = []
    for ring, cycles, at, choice in sorted(
        (ring, choice.cycles + moved, at, choice) for at, (choice, ring, moved) in enumerate(grown)
    ):
        if cycles < least.get(choice.band, float("inf")):
            least[choice.band] = cycles
            kept.append((at, choice, ring, cycles))
    return [(choice, ring, cycles) for _, choice, ring, cycles in sorted(kept)]


def undominated(parts: list[Grown]) -> list[Grown]:
    """Those that no other beats in bytes and cycles, evenly spaced where there are many. Sorts `parts`."""
    kept: list[Grown] = []
    least = float("inf")
    parts.sort()  # no two have the same number, behind bytes and cycles
    for part in parts:
        if part[1] < least:
            least = part[1]
            kept.append(part)
    return kept if len(kept) <= KEPT else [kept[at] for at in _spread(len(kept))]


@cache
def _spread(count: int) -> list[int]:
    """Places of those that are kept of so many."""
    return [int(at) for at in np.unique(np.linspace(0, count - 1, KEPT).astype(int))]
