# SPDX-License-Identifier: Apache-2.0
"""Uniform without replacement: the null strategy that every other one must beat."""

from __future__ import annotations

import numpy as np

from .space import SearchSpace


class RandomSearch:
    """A seeded permutation of the space."""

    def __init__(self, space: SearchSpace, seed: int) -> None:
        self._left = [int(index) for index in np.random.default_rng(seed).permutation(len(space))][::-1]
        self._told: set[int] = set()

    def ask(self, count: int) -> list[int]:
        found: list[int] = []
        while self._left and len(found) < count:
            if (index := self._left.pop()) not in self._told:
                found.append(index)
        return found

    def tell(self, index: int, score: float) -> None:
        self._told.add(index)
