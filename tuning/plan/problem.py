# SPDX-License-Identifier: Apache-2.0
"""The knapsack that `planner` solves: what may be chosen for every layer, and what a choice costs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from cmsisnn_x.arena import Life, aligned, live_bytes, lives, place, size_of
from cmsisnn_x.chain import Chain
from cmsisnn_x.graph import Graph
from cmsisnn_x.layers import Layer
from cmsisnn_x.steps import Step, steps_of

T = TypeVar("T")


@dataclass(frozen=True)
class Options:
    """What may be chosen for one layer: a row per variant. `kernels` tells which rows of which layers share
    their code; `fused` marks the rows that run the next layer too, and cost all that it takes; `in_place` those that
    write over what they read, which has the size of what they write.
    """

    layer: Layer
    cycles: np.ndarray
    scratch_bytes: np.ndarray
    weights_bytes: np.ndarray
    code_bytes: np.ndarray
    kernels: tuple[Hashable, ...]
    fused: np.ndarray | None = None
    in_place: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.cycles)

    @property
    def flash_bytes(self) -> np.ndarray:
        return self.weights_bytes + self.code_bytes


def _with_pooling(item: Options, pool: Options) -> Options:
    """A convolution's rows with what its pooling costs added where they do not take it in."""
    if len(pool) != 1:
        raise ValueError(f"{pool.layer.name}: expected a single row, got {len(pool)}")
    apart = ~np.asarray(item.fused, bool)
    return replace(
        item,
        cycles=item.cycles + apart * int(pool.cycles[0]),
        weights_bytes=item.weights_bytes + apart * int(pool.flash_bytes[0]),
    )


def _aligned(sizes: np.ndarray) -> np.ndarray:
    return np.array([aligned(int(size)) for size in sizes], np.int64)


def _looks(item: Options) -> Hashable:
    columns = (item.cycles, item.weights_bytes, item.code_bytes)
    return (item.kernels, *(np.asarray(column, np.int64).tobytes() for column in columns))


@dataclass(frozen=True)
class Choice:
    """A row per layer, and what the network then costs."""

    rows: tuple[int, ...]
    cycles: int
    sram_bytes: int
    flash_bytes: int


class Problem:
    """The knapsack: the options of every item, and the sums and maxima over them. An item is a layer, or a convolution
    with the pooling that some of its rows take in.

    Parameters
    ----------
    options : sequence of Options
        One per layer. Behind one with `fused` rows comes a layer with a single row and a kernel that is its own.
    other_flash_bytes : int
        On top of constants that layers read as tensors.
    graph : Graph, optional
        Of these layers, in this order. Default: each takes its predecessor's output.
    chains : mapping, optional
        Layers that run band by band, by the index of the first: their rows are those of such kernels, alike in how many
        rows a call can make, so that rings are the same for all.
    fed : bool
        Whether inputs come row by row and outputs are fetched: nothing is the caller's then.
    never_whole : collection of str
        Inputs of which rows will be kept apart, whichever chains there are.
    """

    def __init__(
        self,
        options: Sequence[Options],
        other_flash_bytes: int = 0,
        graph: Graph | None = None,
        chains: Mapping[int, Chain] | None = None,
        *,
        fed: bool = False,
        never_whole: Collection[str] = (),
    ) -> None:
        layers = [item.layer for item in options]
        self.graph = graph if graph is not None else Graph.chain(layers)
        self.fed, self.never_whole = fed, frozenset(never_whole)
        callers = () if fed else (*self.graph.inputs, *self.graph.outputs)
        outside = (*callers, *(state.read for state in self.graph.states))
        self.caller_bytes = sum(self.graph.tensors[name].bytes for name in outside)
        constants = sum(tensor.bytes for tensor in self.graph.tensors.values() if tensor.value is not None)
        self.constant_bytes = constants
        self.other_flash_bytes = other_flash_bytes + constants
        self.layers = tuple(layers)
        self.chains = dict(chains or {})
        self.given = tuple(options)
        self.alone: list[np.ndarray] = []  # SRAM of each layer's rows, where it takes in no pooling
        can_fuse = [item.fused is not None and bool(item.fused.any()) for item in options]
        apart, together = self._live_bytes([False] * len(layers)), self._live_bytes(can_fuse)
        items: list[Options] = []
        self.sram: list[np.ndarray] = []
        self.first: list[int] = []  # index of each item's first layer
        for item, alive in zip(options, apart, strict=True):
            need = self.caller_bytes + alive + self._scratch(len(self.alone), item)
            if item.in_place is not None:
                need = need - item.in_place * aligned(item.layer.output_bytes)
            self.alone.append(need)
        at = 0
        while at < len(options):
            item, need, scratch = options[at], self.alone[at], self._scratch(at, options[at])
            if item.fused is not None and can_fuse[at]:
                pool = options[at + 1]
                need = np.maximum(need, self.caller_bytes + apart[at + 1] + _aligned(pool.scratch_bytes)[0])
                # Both tensors of the pair, without the one between them.
                need = np.where(item.fused, self.caller_bytes + together[at] + scratch, need)
                item = _with_pooling(item, pool)
            items.append(item)
            self.sram.append(need)
            self.first.append(at)
            at += 1 + can_fuse[at]
        self.options = tuple(items)
        counts: dict[Hashable, int] = {}
        for item in self.options:
            for kernel in set(item.kernels):
                counts[kernel] = counts.get(kernel, 0) + 1
        self.shared = {kernel for kernel, count in counts.items() if count > 1}
        self.code_share = [item.code_bytes / [counts[kernel] for kernel in item.kernels] for item in self.options]
        seen: dict[Hashable, int] = {}
        # For each item the first one that is equal to it in everything that choosing looks at.
        self.twin = [seen.setdefault(_looks(item), i) for i, item in enumerate(self.options)]

    def _live_bytes(self, fused: Sequence[bool]) -> list[int]:
        """Per layer the bytes of tensors that are alive during its step, those that are `fused` with the next one; with
        the rings of a chain.
        """
        steps = steps_of(self.layers, fused, chains=self.chains)
        alive = live_bytes(list(self._lives(steps, [0] * len(steps)).values()), len(steps))
        # What a chain makes is alive already.
        rings = [0 if step.chain is None else step.chain.bytes_with(0) - step.chain.held_bytes for step in steps]
        return [own + more for step, own, more in zip(steps, alive, rings, strict=True) for _ in step.layers]

    def _lives(self, steps: Sequence[Step], scratch: Sequence[int]) -> dict[str | int, Life]:
        return lives(self.graph, steps, scratch, fed=self.fed, never_whole=self.never_whole)

    def _scratch(self, at: int, item: Options) -> np.ndarray:
        """Scratch of a layer's rows, beside what is alive: where a chain's rings share their memory with it none."""
        shared = any(chain.room and first <= at < first + len(chain.own) for first, chain in self.chains.items())
        return np.zeros_like(item.scratch_bytes) if shared else _aligned(item.scratch_bytes)

    def alive_beside(self, first: int, end: int, fed: Sequence[str] = ()) -> int:
        """Bytes of tensors that are alive while the layers from `first` to before `end` run as a chain, its rings and
        scratch apart; rows of the inputs `fed` come to it.
        """
        layers = self.layers
        chain = Step(layers[first:end], chain=Chain((), (), (), tuple(fed)))
        steps = [*(Step((one,)) for one in layers[:first]), chain, *(Step((one,)) for one in layers[end:])]
        return live_bytes(list(self._lives(steps, [0] * len(steps)).values()), len(steps))[first]

    def fastest_alone(self, at: int, sram: int) -> float | None:
        """Cycles of the fastest row of a layer by itself within `sram` bytes; None where it has none."""
        item, need = self.given[at], self.alone[at]
        usable = need <= sram
        if item.fused is not None:
            usable = usable & ~np.asarray(item.fused, bool)
        return float(item.cycles[usable].min()) if usable.any() else None

    def choice_of_layers(self, rows: Sequence[int]) -> Choice:
        """Price a choice of a row per layer."""
        return self.choice([rows[at] for at in self.first])

    def layer_rows(self, rows: Sequence[T], single: T) -> list[T]:
        """What belongs to each item as what belongs to each layer: `single` to a pooling layer inside an item."""
        found = [single] * len(self.layers)
        for at, row in zip(self.first, rows, strict=True):
            found[at] = row
        return found

    def placed_bytes(self, choice: Choice) -> int:
        """SRAM of a choice with every tensor and scratch at its place; `choice.sram_bytes` or, in graphs, more."""
        picked = list(zip(self.given, choice.rows, strict=True))
        fused, in_place = (
            [marks is not None and bool(marks[row]) for marks, row in marked]
            for marked in ([(item.fused, row) for item, row in picked], [(item.in_place, row) for item, row in picked])
        )
        steps = steps_of(self.layers, fused, in_place=in_place, chains=self.chains)
        at, scratch = 0, []
        for step in steps:
            own = [int(item.scratch_bytes[row]) for item, row in picked[at : at + len(step.layers)]]
            scratch.append(step.scratch_for(own))
            at += len(step.layers)
        needed = list(self._lives(steps, scratch).values())
        return self.caller_bytes + size_of(needed, place(needed))

    def choice(self, rows: Sequence[int]) -> Choice:
        """Price a choice of a row per item."""
        picked = list(zip(self.options, rows, strict=True))
        code = {item.kernels[row]: int(item.code_bytes[row]) for item, row in picked}
        flash = self.other_flash_bytes + sum(code.values()) + sum(int(item.weights_bytes[row]) for item, row in picked)
        sram = max(int(need[row]) for need, row in zip(self.sram, rows, strict=True))
        return Choice(
            tuple(map(int, self.layer_rows(rows, 0))), sum(int(item.cycles[row]) for item, row in picked), sram, flash
        )

    def levels(self) -> list[int]:
        """Every value that the network's SRAM can take, ascending."""
        floor = self.smallest_sram()
        return sorted({int(value) for need in self.sram for value in need if value >= floor})

    def smallest_sram(self) -> int:
        return max(int(need.min()) for need in self.sram)

    def allowed(self, sram: int | None) -> list[np.ndarray] | None:
        """Rows of each item that stay within `sram`; ``None`` if some item has none."""
        rows = [np.flatnonzero(need <= sram) if sram is not None else np.arange(len(need)) for need in self.sram]
        return rows if all(len(found) for found in rows) else None

    def best(self, weigh: Callable[[Options], np.ndarray], sram: int | None) -> Choice | None:
        """Per item the row of least weight, then cycles, then flash, then scratch."""
        allowed = self.allowed(sram)
        if allowed is None:
            return None
        rows = []
        for item, found in zip(self.options, allowed, strict=True):
            order = np.lexsort(
                (found, item.scratch_bytes[found], item.flash_bytes[found], item.cycles[found], weigh(item)[found])
            )
            rows.append(int(found[order[0]]))
        return self.choice(rows)

    def fastest(self, sram: int | None, flash: int | None) -> Choice | None:
        """Fewest cycles inside both budgets."""
        choice = self.best(lambda item: item.cycles, sram)
        if choice is None or flash is None or choice.flash_bytes <= flash:
            return choice
        return self.solve(sram, flash)

    def smallest(self, sram: int | None) -> Choice | None:
        """Least flash inside the SRAM budget, then fewest cycles."""
        if not self.shared:
            return self.best(lambda item: item.flash_bytes, sram)
        least = self.solve(sram, None, of_cycle=0.0, of_byte=1.0)
        return least and self.solve(sram, least.flash_bytes)

    def cheapest(self, sram: int | None, flash: int | None, price: float) -> Choice | None:
        """Least cycles + `price` x bytes of flash inside both budgets."""
        if not self.shared:
            choice = self.best(lambda item: item.cycles + price * item.flash_bytes, sram)
            if choice is None or flash is None or choice.flash_bytes <= flash:
                return choice
        return self.solve(sram, flash, of_byte=price)

    def solve(self, sram: int | None, flash: int | None, of_cycle: float = 1.0, of_byte: float = 0.0) -> Choice | None:
        """The mixed-integer programme: one row per item, code paid once per kernel; least of what both cost."""
        from scipy.optimize import Bounds, LinearConstraint, milp
        from scipy.sparse import coo_array

        allowed = self.allowed(sram)
        if allowed is None:
            return None
        # Items that are equal in everything are one column per row, which counts how many of them take it.
        groups: dict[Hashable, list[int]] = {}
        rows_of = worth_trying(self, allowed)
        for i, rows in enumerate(rows_of):
            groups.setdefault((self.twin[i], tuple(rows)), []).append(i)
        alike = list(groups.values())
        columns = [(g, row) for g, members in enumerate(alike) for row in rows_of[members[0]]]
        paid_once = {self.options[alike[g][0]].kernels[row] for g, row in columns} & self.shared
        shared = sorted(paid_once, key=repr)
        position = {kernel: len(columns) + at for at, kernel in enumerate(shared)}
        cycles, size = np.zeros(len(columns) + len(shared)), np.zeros(len(columns) + len(shared))
        most = np.ones(len(size))
        entries: list[tuple[int, int, float]] = []
        low, high = [float(len(members)) for members in alike], [float(len(members)) for members in alike]
        for at, (g, row) in enumerate(columns):
            item, count = self.options[alike[g][0]], len(alike[g])
            entries.append((g, at, 1.0))
            cycles[at], size[at], most[at] = item.cycles[row], item.weights_bytes[row], count
            if (kernel := item.kernels[row]) in position:
                size[position[kernel]] = item.code_bytes[row]
                entries += [(len(low), at, 1.0), (len(low), position[kernel], -float(count))]
                low.append(-np.inf)
                high.append(0.0)
            else:
                size[at] += item.code_bytes[row]
        if flash is not None:
            entries += [(len(low), at, float(value)) for at, value in enumerate(size) if value]
            low.append(-np.inf)
            high.append(float(flash - self.other_flash_bytes))
        where, which, values = zip(*entries, strict=True)
        matrix = coo_array((values, (where, which)), shape=(len(low), len(size))).tocsr()
        objective = of_cycle * cycles + of_byte * size
        result = milp(
            objective / max(objective.max(), 1.0),
            integrality=np.ones(len(size)),
            bounds=Bounds(0, most),
            constraints=LinearConstraint(matrix, low, high),
            options={"mip_rel_gap": 0.0},
        )
        if result.x is None:
            return None
        picked = [0] * len(self.options)
        free = [iter(members) for members in alike]
        for at, (g, row) in enumerate(columns):
            for _ in range(round(result.x[at])):
                picked[next(free[g])] = row
        return self.choice(picked)


def worth_trying(problem: Problem, allowed: Sequence[np.ndarray]) -> list[list[int]]:
    """Rows that can be part of an optimal plan.

    A kernel that one layer has to itself is dropped for another of that layer that costs no more cycles and no more
    flash. A kernel that several layers could share is dropped for one that costs no more cycles, weights and code in
    every one of them: it can take its place in all layers at once.
    """
    columns: dict[Hashable, dict[int, tuple[int, int, int, int]]] = {}
    for i, (item, found) in enumerate(zip(problem.options, allowed, strict=True)):
        for row in found.tolist():
            figures = (int(item.cycles[row]), int(item.weights_bytes[row]), int(item.code_bytes[row]), row)
            columns.setdefault(item.kernels[row], {})[i] = figures
    kept: list[list[int]] = []
    for item, found in zip(problem.options, allowed, strict=True):
        order = sorted(found.tolist(), key=lambda row: (item.cycles[row], item.flash_bytes[row], row))
        rows: list[int] = []
        least = np.inf
        better: list[dict[int, tuple[int, int, int, int]]] = []
        for row in order:
            if item.kernels[row] not in problem.shared:
                if item.flash_bytes[row] < least:
                    rows.append(row)
                    least = item.flash_bytes[row]
                continue
            mine = columns[item.kernels[row]]
            if not any(_replaces(other, mine) for other in better):
                rows.append(row)
                better.append(mine)
                least = min(least, item.flash_bytes[row])
        kept.append(rows)
    return kept


def _replaces(other: dict[int, tuple[int, int, int, int]], mine: dict[int, tuple[int, int, int, int]]) -> bool:
    return all(
        i in other and all(a <= b for a, b in zip(other[i][:3], figures[:3], strict=True))
        for i, figures in mine.items()
    )
