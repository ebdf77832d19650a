# SPDX-License-Identifier: Apache-2.0
"""One variant per layer for the whole network, inside the budgets, exactly.

SRAM couples layers by a maximum: the arena is as large as the neediest layer makes it (:mod:`tuning.memory`), so a
level for the arena is a limit on every layer's scratch. Flash couples them by a sum: weights, and code once per
distinct kernel. Under an arena level each objective is therefore a multiple-choice knapsack; it is solved per layer
when no flash budget binds, and by SciPy's mixed-integer solver when one does.

A convolution that can take in the pooling behind it makes one stage with it, with a row for every way to run the two:
one after the other, or as one kernel, under which the tensor between them needs no memory.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cmsisnn_x.arena import aligned, live_bytes
from cmsisnn_x.layers import Layer

from ..base.errors import InfeasibleError
from ..base.options import OBJECTIVES
from ..base.units import show_size

ADDRESSABLE_BYTES = 1 << 29
"""The SRAM region of the architecture's memory map."""


@dataclass(frozen=True)
class Options:
    """What may be chosen for one layer: a row per variant. `kernels` tells which rows of which layers share
    their code; `fused` marks the rows that run the next layer too, and cost all that it takes.
    """

    layer: Layer
    cycles: np.ndarray
    scratch_bytes: np.ndarray
    weights_bytes: np.ndarray
    code_bytes: np.ndarray
    kernels: tuple[Hashable, ...]
    fused: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.cycles)

    @property
    def flash_bytes(self) -> np.ndarray:
        return self.weights_bytes + self.code_bytes


def _stage(item: Options, pool: Options) -> Options:
    """A convolution's rows with what its pooling costs added where they do not take it in."""
    if len(pool) != 1:
        raise ValueError(f"{pool.layer.name}: expected a single row, got {len(pool)}")
    apart = ~np.asarray(item.fused, bool)
    return replace(
        item,
        cycles=item.cycles + apart * int(pool.cycles[0]),
        weights_bytes=item.weights_bytes + apart * int(pool.flash_bytes[0]),
    )


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


class Network:
    """The options of every stage, and the sums and maxima over them. A stage is a layer, or a convolution with the
    pooling that some of its rows take in.

    Parameters
    ----------
    options : sequence of Options
        One per layer. Behind one with `fused` rows comes a layer with a single row and a kernel that is its own.
    other_flash_bytes : int
    """

    def __init__(self, options: Sequence[Options], other_flash_bytes: int = 0) -> None:
        layers = [item.layer for item in options]
        self.caller_bytes = layers[0].input_bytes + layers[-1].output_bytes
        self.other_flash_bytes = other_flash_bytes
        self.layer_count = len(layers)
        live = live_bytes(layers)
        needs = [
            self.caller_bytes + alive + np.array([aligned(int(s)) for s in item.scratch_bytes], np.int64)
            for alive, item in zip(live, options, strict=True)
        ]
        stages: list[Options] = []
        self.sram: list[np.ndarray] = []
        self.first: list[int] = []  # index of each stage's first layer
        at = 0
        while at < len(options):
            item, need, width = options[at], needs[at], 1
            if item.fused is not None and item.fused.any():
                pool, width = options[at + 1], 2
                # Both tensors of the pair, without the one between them.
                pair = live[at] - aligned(item.layer.output_bytes) + live[at + 1] - aligned(item.layer.output_bytes)
                alone = np.maximum(need, needs[at + 1][0])
                need = np.where(item.fused, need - live[at] + pair, alone)
                item = _stage(item, pool)
            stages.append(item)
            self.sram.append(need)
            self.first.append(at)
            at += width
        self.options = tuple(stages)
        counts: dict[Hashable, int] = {}
        for item in self.options:
            for kernel in set(item.kernels):
                counts[kernel] = counts.get(kernel, 0) + 1
        self.shared = {kernel for kernel, count in counts.items() if count > 1}
        self.code_share = [item.code_bytes / [counts[kernel] for kernel in item.kernels] for item in self.options]
        seen: dict[Hashable, int] = {}
        # For each stage the first one that is equal to it in everything that choosing looks at.
        self.twin = [seen.setdefault(_looks(item), i) for i, item in enumerate(self.options)]

    def choice_of_layers(self, rows: Sequence[int]) -> Choice:
        """Price a choice of a row per layer."""
        return self.choice([rows[at] for at in self.first])

    def layer_rows(self, rows: Sequence[Any], single: Any = 0) -> list[Any]:
        """A row per stage as a row per layer: the only one, `single`, of a pooling layer that belongs to a stage."""
        found = [single] * self.layer_count
        for at, row in zip(self.first, rows, strict=True):
            found[at] = row
        return found

    def choice(self, rows: Sequence[int]) -> Choice:
        """Price a choice of a row per stage."""
        picked = list(zip(self.options, rows, strict=True))
        code = {item.kernels[row]: int(item.code_bytes[row]) for item, row in picked}
        flash = self.other_flash_bytes + sum(code.values()) + sum(int(item.weights_bytes[row]) for item, row in picked)
        sram = max(int(need[row]) for need, row in zip(self.sram, rows, strict=True))
        return Choice(
            tuple(map(int, self.layer_rows(rows))), sum(int(item.cycles[row]) for item, row in picked), sram, flash
        )

    def levels(self) -> list[int]:
        """Every value that the network's SRAM can take, ascending."""
        floor = self.smallest_sram()
        return sorted({int(value) for need in self.sram for value in need if value >= floor})

    def smallest_sram(self) -> int:
        return max(int(need.min()) for need in self.sram)

    def allowed(self, sram: int | None) -> list[np.ndarray] | None:
        """Rows of each stage that stay within `sram`; ``None`` if some stage has none."""
        rows = [np.flatnonzero(need <= sram) if sram is not None else np.arange(len(need)) for need in self.sram]
        return rows if all(len(found) for found in rows) else None

    def best(self, weigh: Callable[[Options], np.ndarray], sram: int | None) -> Choice | None:
        """Per stage the row of least weight, then cycles, then flash, then scratch."""
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
        """The mixed-integer programme: one row per stage, code paid once per kernel; least of what both cost."""
        from scipy.optimize import Bounds, LinearConstraint, milp
        from scipy.sparse import coo_array

        allowed = self.allowed(sram)
        if allowed is None:
            return None
        # Layers that are equal in everything are one column per row, which counts how many of them take it.
        groups: dict[Hashable, list[int]] = {}
        rows_of = worth_trying(self, allowed)
        for i, rows in enumerate(rows_of):
            groups.setdefault((self.twin[i], tuple(rows)), []).append(i)
        stages = list(groups.values())
        columns = [(g, row) for g, members in enumerate(stages) for row in rows_of[members[0]]]
        paid_once = {self.options[stages[g][0]].kernels[row] for g, row in columns} & self.shared
        shared = sorted(paid_once, key=repr)
        position = {kernel: len(columns) + at for at, kernel in enumerate(shared)}
        cycles, size = np.zeros(len(columns) + len(shared)), np.zeros(len(columns) + len(shared))
        most = np.ones(len(size))
        entries: list[tuple[int, int, float]] = []
        low, high = [float(len(members)) for members in stages], [float(len(members)) for members in stages]
        for at, (g, row) in enumerate(columns):
            item, count = self.options[stages[g][0]], len(stages[g])
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
        free = [iter(members) for members in stages]
        for at, (g, row) in enumerate(columns):
            for _ in range(round(result.x[at])):
                picked[next(free[g])] = row
        return self.choice(picked)


def worth_trying(network: Network, allowed: Sequence[np.ndarray]) -> list[list[int]]:
    """Rows that can be part of an optimal plan.

    A kernel that one layer has to itself is dropped for another of that layer that costs no more cycles and no more
    flash. A kernel that several layers could share is dropped for one that costs no more cycles, weights and code in
    every one of them: it can take its place in all layers at once.
    """
    columns: dict[Hashable, dict[int, tuple[int, int, int, int]]] = {}
    for i, (item, found) in enumerate(zip(network.options, allowed, strict=True)):
        for row in found.tolist():
            figures = (int(item.cycles[row]), int(item.weights_bytes[row]), int(item.code_bytes[row]), row)
            columns.setdefault(item.kernels[row], {})[i] = figures
    kept: list[list[int]] = []
    for item, found in zip(network.options, allowed, strict=True):
        order = sorted(found.tolist(), key=lambda row: (item.cycles[row], item.flash_bytes[row], row))
        rows: list[int] = []
        least = np.inf
        better: list[dict[int, tuple[int, int, int, int]]] = []
        for row in order:
            if item.kernels[row] not in network.shared:
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


def choose(network: Network, objective: str, sram: int | None = None, flash: int | None = None) -> Choice:
    """The best choice for an objective inside the budgets.

    Raises
    ------
    InfeasibleError
        Nothing fits: by how many bytes, which layer decides, what would fit, what to try.
    """
    if (floor := network.smallest_sram()) > ADDRESSABLE_BYTES:
        raise InfeasibleError(
            f"does not fit: it needs {floor:,} bytes of SRAM, more than the {ADDRESSABLE_BYTES >> 20} MiB that a "
            "Cortex-M has addresses for.\nTry: fewer channels or a smaller image"
        )
    if objective not in OBJECTIVES:
        raise ValueError(f"objective: expected one of {', '.join(OBJECTIVES)}, got {objective!r}")
    choice = None
    if objective == "flash":
        choice = network.smallest(sram)
    elif fastest := network.fastest(sram, flash):
        if objective == "latency":
            choice = fastest
        elif objective == "sram":
            choice = _least_sram(network, fastest, flash)
        else:
            choice = _balanced(network, fastest, sram, flash)
    if choice is None or (flash is not None and choice.flash_bytes > flash):
        raise _infeasible(network, sram, flash)
    return choice


def _least_sram(network: Network, fastest: Choice, flash: int | None) -> Choice:
    """The fastest choice of the least arena level that some choice fits into: the more SRAM, the more choices."""
    levels = [level for level in network.levels() if level <= fastest.sram_bytes]
    found, low, high = fastest, 0, len(levels) - 1
    while low < high:
        middle = (low + high) // 2
        if (choice := network.fastest(levels[middle], flash)) is not None:
            found, high = choice, middle
        else:
            low = middle + 1
    return found


def _balanced(network: Network, best: Choice, sram: int | None, flash: int | None) -> Choice:
    """Least cycles x SRAM x flash: the geometric mean, to a constant; `best` is the fastest choice.

    At a given SRAM the product falls towards the convex hull of all (cycles, flash), and along an edge of the hull it
    is least at an end: the optimum is a corner, the best choice for some price of a byte in cycles. Corners are found
    by asking for the price at which two known ones are worth the same, as long as one between them could be better.
    """

    def product(choice: Choice) -> tuple[float, int]:
        return float(choice.cycles) * choice.sram_bytes * choice.flash_bytes, choice.cycles

    levels = [level for level in network.levels() if sram is None or level <= sram]
    steepest = best.cycles / max(best.flash_bytes, 1)
    prices = np.concatenate(([0.0], steepest * np.exp2(np.linspace(-4, 4, 33))))
    bounds = sorted((level * _least_product(network, level, prices), level) for level in levels)
    for bound, level in bounds:
        if bound > product(best)[0]:
            break  # neither this level nor those behind it can be better
        fastest = network.fastest(level, flash)
        if fastest is None:
            continue
        smallest = network.smallest(level)
        assert smallest is not None  # something fits
        best = min(best, fastest, smallest, key=product)
        # Corners a and b, and the prices at which they are best: no choice lies below the two lines of that price.
        edges = [(fastest, 0.0, smallest, np.inf)]
        while edges:
            a, price_a, b, price_b = edges.pop()
            if a.flash_bytes <= b.flash_bytes or level * _below(a, price_a, b, price_b) > product(best)[0]:
                continue
            price = (b.cycles - a.cycles) / (a.flash_bytes - b.flash_bytes)
            found = network.cheapest(level, flash, price)
            # A gain of less than a millionth is the solver's rounding, not another corner.
            if found is None or _worth(found, price) > _worth(a, price) * (1 - 1e-6):
                continue
            best = min(best, found, key=product)
            edges += [(a, price_a, found, price), (found, price, b, price_b)]
    return best


def _least_product(network: Network, level: int, prices: np.ndarray) -> float:
    """A bound from below on cycles x flash within an arena level.

    At each price of a byte, ascending from 0, no choice is worth less than the sum of what each stage is worth by
    itself, the code of a kernel shared out among all stages that have it. No choice lies below any of these lines, and
    along a line the product is least at an end.
    """
    worth, smallest = prices * network.other_flash_bytes, float(network.other_flash_bytes)
    allowed = network.allowed(level)
    assert allowed is not None
    for item, rows, share in zip(network.options, allowed, network.code_share, strict=True):
        size = item.weights_bytes[rows] + share[rows]
        worth += (item.cycles[rows] + prices[:, np.newaxis] * size).min(axis=1)
        smallest += float(size.min())
    flash = np.append(np.diff(worth) / np.diff(prices), smallest)
    return float((flash * (worth - prices * flash)).min())


def _worth(choice: Choice, price: float) -> float:
    return choice.cycles + price * choice.flash_bytes


def _below(a: Choice, price_a: float, b: Choice, price_b: float) -> float:
    """Cycles x flash where the line through `a` of one price meets that through `b` of a higher one."""
    flash = float(b.flash_bytes)
    if np.isfinite(price_b):
        flash = (_worth(b, price_b) - _worth(a, price_a)) / (price_b - price_a)
    return (_worth(a, price_a) - price_a * flash) * flash


def _infeasible(network: Network, sram: int | None, flash: int | None) -> InfeasibleError:
    """Explain why nothing fits."""
    floor = network.smallest_sram()
    if sram is not None and floor > sram:
        worst = max(range(len(network.sram)), key=lambda i: int(network.sram[i].min()))
        layer = network.options[worst].layer
        scratch = int(network.options[worst].scratch_bytes[int(network.sram[worst].argmin())])
        tensors = floor - scratch - network.caller_bytes
        smallest = {"sram": floor}
        too = ""
        if flash is not None and (least := network.smallest(floor)) is not None and least.flash_bytes > flash:
            smallest["flash"] = least.flash_bytes
            too = f" It needs --flash {least.flash_bytes} ({show_size(least.flash_bytes)}) too, with that."
        return InfeasibleError(
            f"does not fit into {show_size(sram)} of SRAM: over by {floor - sram:,} bytes. Layer {layer.name!r} "
            f"decides: "
            f"{max(tensors, 0):,} bytes of tensors in the arena, at least {scratch:,} bytes of scratch, and "
            f"{network.caller_bytes:,} bytes of the "
            f"network's own input and output.\n"
            f"The smallest budget that works is --sram {floor} ({show_size(floor)}).{too}\n"
            f"Try: --sram {floor}; fewer channels or a smaller image at {layer.name!r}; "
            + ("removing the pins of its variant" if layer.variant else "pooling, or a stride of 2, before it"),
            smallest,
        )
    least = network.smallest(sram)
    assert flash is not None
    assert least is not None
    rows = [least.rows[at] for at in network.first]
    sizes = [int(item.weights_bytes[row]) for item, row in zip(network.options, rows, strict=True)]
    worst = int(np.argmax(sizes))
    layer = network.options[worst].layer
    free = network.smallest(None)
    assert free is not None
    without, third = "", _lighter_weights(layer)
    if sram is not None and free.flash_bytes < least.flash_bytes:
        level = next(
            level
            for level in network.levels()
            if (found := network.smallest(level)) is not None and found.flash_bytes <= max(flash, free.flash_bytes)
        )
        third = f"--sram {level}, under which smaller kernels are legal"
        if free.flash_bytes <= flash:
            without = f" (without the SRAM budget {free.flash_bytes:,} bytes would do)"
    return InfeasibleError(
        f"does not fit into {show_size(flash)} of flash: over by {least.flash_bytes - flash:,} "
        f"bytes{without}. Layer {layer.name!r} decides: its "
        f"weights take {sizes[worst]:,} of at least {least.flash_bytes:,} bytes.\n"
        f"The smallest budget that works is --flash {least.flash_bytes} ({show_size(least.flash_bytes)}).\n"
        f"Try: --flash {least.flash_bytes}; fewer outputs or inputs at {layer.name!r}; {third}",
        {"flash": least.flash_bytes},
    )


def _lighter_weights(layer: Layer) -> str:
    """What makes the weights of a layer smaller, its channels apart."""
    if layer.variant:
        return "removing the pins of its variant"
    if layer.weights_dtype == "q15":
        return "q7 instead of q15, which halves them"
    if layer.op == "fully_connected":
        return "pooling before it, which shrinks its input"
    if layer.op == "conv2d" and max(layer.kernel) > 1:
        return "a smaller kernel there, or depthwise_conv2d and a 1x1 conv2d instead"
    return "fewer layers: the rest is code, which every kind of layer brings"
