# SPDX-License-Identifier: Apache-2.0
"""Everything, most promising first: the default where an evaluation costs nothing, and the oracle for the others."""

from __future__ import annotations

from collections.abc import Sequence

from .space import SearchSpace


class Exhaustive:
    """Every index once, in the order of the prior."""

    def __init__(self, space: SearchSpace, prior: Sequence[float] | None = None) -> None:
        order = range(len(space))
        self._left = iter(sorted(order, key=lambda i: prior[i]) if prior is not None else order)
        self._told: set[int] = set()

    def ask(self, count: int) -> list[int]:
        found: list[int] = []
        for index in self._left:
            if index not in self._told:
                found.append(index)
            if len(found) == count:
                break
        return found

    def tell(self, index: int, score: float) -> None:
        self._told.add(index)
