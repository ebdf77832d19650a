# SPDX-License-Identifier: Apache-2.0
"""What the variants of a layer cost in bands: of the many those that a chain chooses among."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from cmsisnn_x.bands import banded, least_rows, row_step
from cmsisnn_x.buffers import ALIGNMENT, aligned
from cmsisnn_x.chain import Link, has_calls
from cmsisnn_x.layers import Layer
from cmsisnn_x.variant import Variant
from cmsisnn_x.windows import Windows

from ..cost import Estimates
from ..cost.chains import CALL_CYCLES, banded_scratch
from ..cost.estimate import estimate_rows
from ..target import Target

BANDS = (1, 2, 4, 6, 8)
"""Rows at a time that are tried."""
PRICED = (1, 2, 4, 8)
"""Those that are estimated; what lies between is taken to do so in cycles too."""
WORTH = 0.003
"""The share of a layer's cycles for which another level of scratch is tried."""
NEARLY = 1.1
"""Times the cycles of a choice that another may take which needs less memory, where rings share it: as much as tiles in
blocks of four rows are estimated too dear; with 1.04 ResNet-8 in 26,000 bytes was 8 % slower.
"""
BEATEN = 1.25
"""Times the cycles of another variant from which on one is not tried in bands."""


@dataclass(frozen=True)
class Choice:
    """How a layer may run in a chain: `band` rows at a time of a kernel that makes `step`, at least `least`."""

    band: int
    step: int
    least: int
    scratch: int
    cycles: int
    row: int
    overwrites: bool = False


RowKind = tuple[int | None, int, bool]


def row_kind(layer: Layer, variant: Variant | None) -> RowKind:
    """How many rows a kernel makes at least and at a time, and whether it may write them over what it has read: rings
    and schedule depend on nothing else.
    """
    step = row_step(layer, variant)
    return least_rows(layer, variant), step, variant is not None and layer.row.overwrites_rows(layer, variant, step)


class InBands:
    """A layer over rows, and what its variants cost in bands."""

    def __init__(self, layer: Layer, whole: Estimates, target: Target) -> None:
        self.layer, self.target = layer, target
        self._given = whole
        self.known: dict[str, np.ndarray] = {}  # what one run of a family's parts costs
        self.windows = Windows.of(layer)
        self._choices: dict[int, list[Choice]] = {}
        self._calls: dict[tuple[int, RowKind], np.ndarray] = {}
        self.row_bytes = layer.output_bytes // layer.output_image[0]
        self.sum_bytes = aligned(Link(layer, None, (), 1).sum_bytes)
        self.input_row_bytes = layer.input_bytes // layer.image[0]

    def as_they_come(self) -> InBands:
        """The layer where it takes rows as they come, if it can."""
        if not self.layer.row.takes_rows_as_they_come(self.layer):
            return self
        own = copy(self)
        own.windows = replace(self.windows, as_they_come=True)
        return own

    @cached_property
    def of_kind(self) -> dict[RowKind, list[int]]:
        """Which variants of the layer by itself make rows alike."""
        kinds: dict[RowKind, list[int]] = {}
        for at, variant in enumerate(self._given.variants):
            kinds.setdefault(row_kind(self.layer, variant), []).append(at)
        return kinds

    def call(self, kind: RowKind, variants: Sequence[int], rows: int) -> np.ndarray:
        """Cycles by cause of a call that makes so many rows, of some variants of a kind, as of `estimate_rows`."""
        own = self.of_kind[kind]
        if (rows, kind) not in self._calls:
            given = self._given.take(own)
            self._calls[rows, kind] = estimate_rows(banded(self.layer, rows), given, self.target, self.known)
        return self._calls[rows, kind][np.searchsorted(own, variants)]

    @cached_property
    def _in_question(self) -> list[int]:
        """Variants but those that another, alike in how many rows it makes, beats by far on the whole image, with no
        more scratch there nor for a single row.
        """
        given = self._given
        sizes = [given.scratch_bytes, banded_scratch(self.layer, given, 1)]
        found: list[int] = []
        for rows in (rows for kind, rows in self.of_kind.items() if kind[0] is not None):
            cycles, one, whole = given.cycles[rows], sizes[1][rows], sizes[0][rows]
            for at, row in enumerate(rows):
                better = (cycles * BEATEN < cycles[at]) & (one <= one[at]) & (whole <= whole[at])
                if not better.any():
                    found.append(row)
        return sorted(found)

    @cached_property
    def whole(self) -> Estimates:
        """Those of the layer by itself."""
        return self._given.take(self._in_question)

    @cached_property
    def _kinds(self) -> dict[tuple[int, int], list[int]]:
        """The variants that make alike many rows: by least and step."""
        found: dict[tuple[int, int], list[int]] = {}
        for at, variant in enumerate(self.whole.variants):
            least = least_rows(self.layer, variant)
            if least is not None:
                found.setdefault((least, row_step(self.layer, variant)), []).append(at)
        return found

    @cached_property
    def _priced(self) -> dict[int, np.ndarray]:
        """Cycles of a call per variant, for some numbers of rows."""
        height = self.windows.output_height
        counts = {rows for rows in PRICED if rows <= height} | ({height} if height < PRICED[-1] else set())
        return {
            rows: estimate_rows(banded(self.layer, rows), self.whole, self.target, self.known).sum(axis=1)
            for rows in sorted(counts)
        }

    @cached_property
    def by_band(self) -> list[tuple[int, int, int, np.ndarray, np.ndarray, list[int]]]:
        """Band, step and least of kernels, scratch and cycles of each variant, and which variants these are."""
        found = []
        height = self.windows.output_height
        for band in BANDS:
            usable = [
                (least, step, rows)
                for (least, step), rows in self._kinds.items()
                if band <= height and band % step == 0 and has_calls(height, band, least)
            ]
            if not usable:
                continue
            calls = height / band
            if band in self._priced:
                cycles = self._priced[band] * calls
            else:
                below, above = max(r for r in self._priced if r < band), min(r for r in self._priced if r > band)
                share = (band - below) / (above - below)
                cycles = (self._priced[below] * (1 - share) + self._priced[above] * share) * calls
            scratch = banded_scratch(self.layer, self.whole, band)
            scratch = -(-scratch // ALIGNMENT) * ALIGNMENT
            cycles = cycles + CALL_CYCLES * -(-height // band)
            found += [(band, step, least, scratch[rows], cycles[rows], rows) for least, step, rows in usable]
        return found

    @cached_property
    def least_scratch(self) -> int:
        return min((int(scratch.min()) for _, _, _, scratch, _, _ in self.by_band), default=1 << 30)

    @cached_property
    def levels(self) -> set[int]:
        """Scratch from which on some band takes fewer cycles, by what is worth a look."""
        found = set()
        for _, _, _, scratch, cycles, _ in self.by_band:
            best = np.inf
            for at in np.lexsort((cycles, scratch)):
                if cycles[at] < best * (1 - WORTH):
                    best = cycles[at]
                    found.add(int(scratch[at]))
        return found

    @cached_property
    def _sizes(self) -> list[int]:
        """What scratch there is, ascending."""
        return sorted({int(size) for _, _, _, scratch, _, _ in self.by_band for size in scratch})

    def choices(self, cap: int) -> list[Choice]:
        """Of each band and kind of kernel the fastest with scratch of at most `cap`, but for those that another with
        fewer rows to wait for beats.
        """
        level = bisect_right(self._sizes, cap)
        if level not in self._choices:
            self._choices[level] = self._chosen(cap)
        return self._choices[level]

    def leaner(self, choice: Choice) -> Choice:
        """The same band for nearly the same cycles: in place if that can be, else by the fewest rows in a step and the
        least scratch.
        """
        found = [
            self._choice(band, step, least, int(scratch[at]), int(cycles[at]), rows[at])
            for band, step, least, scratch, cycles, rows in self.by_band
            if band == choice.band and step <= choice.step and least <= choice.least
            for at in np.flatnonzero(cycles <= choice.cycles * NEARLY).tolist()
        ]
        return min(
            found, key=lambda one: (not one.overwrites, one.step, one.scratch, one.cycles), default=choice
        )

    def _choice(self, band: int, step: int, least: int, scratch: int, cycles: int, at: int) -> Choice:
        """A variant of those in question, in bands."""
        variant = self.whole.variants[at]
        over = variant is not None and self.layer.row.overwrites_rows(self.layer, variant, band)
        over = over and self.windows.output_height % step == 0
        return Choice(band, step, least, scratch, cycles, self._in_question[at], over)

    def _chosen(self, cap: int) -> list[Choice]:
        found: list[Choice] = []
        for band, step, least, scratch, cycles, rows in self.by_band:
            within = np.flatnonzero(scratch <= cap)
            if within.size:
                at = within[np.argmin(cycles[within])]
                found.append(self._choice(band, step, least, int(scratch[at]), int(cycles[at]), rows[at]))
        return [
            one
            for one in found
            if not any(o.band <= one.band and o.step <= one.step and o.cycles < one.cycles for o in found)
        ]
