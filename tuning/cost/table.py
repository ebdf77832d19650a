# SPDX-License-Identifier: Apache-2.0
"""What variants cost, as the search and the planner see it: a row per variant, a column per quantity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cmsisnn_x.variant import Variant

TERMS = ("im2col", "multiply_accumulate", "requantise", "loop", "memory")
"""The causes that the cycles of an estimate are told apart by."""


@dataclass(frozen=True)
class Estimate:
    """What one layer costs under one variant. The terms add up to the cycles."""

    cycles: int
    terms: dict[str, int]
    scratch_bytes: int
    flash_bytes: int
    emulated_cycles: int | None = None
    stack_bytes: int | None = None

    @property
    def bottleneck(self) -> str:
        return max(self.terms, key=lambda name: self.terms[name])


@dataclass(frozen=True)
class Estimates:
    """A column per quantity, a row per variant of a space. `emulated_cycles`, where given, replace the sum of
    the terms; `code_spread` is the standard deviation of `code_bytes`, in bytes, where these are an estimate.
    """

    variants: tuple[Variant | None, ...]
    terms: np.ndarray
    scratch_bytes: np.ndarray
    weights_bytes: np.ndarray
    code_bytes: np.ndarray
    code_spread: np.ndarray
    emulated_cycles: np.ndarray | None = None
    stack_bytes: tuple[int | None, ...] = ()

    @property
    def cycles(self) -> np.ndarray:
        """Integers, so that sums over layers are exact."""
        return self.terms.sum(axis=1) if self.emulated_cycles is None else self.emulated_cycles

    def __len__(self) -> int:
        return len(self.variants)

    def take(self, rows: Sequence[int]) -> Estimates:
        """Some of the rows."""
        at = np.asarray(rows, int)
        columns = (self.terms, self.scratch_bytes, self.weights_bytes, self.code_bytes, self.code_spread)
        emulated = None if self.emulated_cycles is None else self.emulated_cycles[at]
        stack = tuple(self.stack_bytes[i] for i in rows)
        terms, scratch, weights, code, spread = (column[at] for column in columns)
        return Estimates(tuple(self.variants[i] for i in rows), terms, scratch, weights, code, spread, emulated, stack)

    def _terms(self, index: int) -> list[int]:
        """The terms of a row; where cycles were emulated, the estimate's shares of them."""
        terms = self.terms[index]
        total = int(self.cycles[index])
        if self.emulated_cycles is None or not terms.sum():
            return [int(value) for value in terms]
        shares = [int(value) * total // int(terms.sum()) for value in terms]
        shares[int(np.argmax(shares))] += total - sum(shares)
        return shares

    def __getitem__(self, index: int) -> Estimate:
        terms = dict(zip(TERMS, self._terms(index), strict=True))
        flash = int(self.weights_bytes[index] + self.code_bytes[index])
        emulated = None if self.emulated_cycles is None else int(self.emulated_cycles[index])
        return Estimate(
            int(self.cycles[index]), terms, int(self.scratch_bytes[index]), flash, emulated, self.stack_bytes[index]
        )
