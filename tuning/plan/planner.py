# SPDX-License-Identifier: Apache-2.0
"""One variant per layer for the whole network, inside the budgets.

SRAM couples layers by a maximum: the arena is as large as the neediest layer makes it (:mod:`cmsisnn_x.arena`), so a
level for the arena is a limit on every layer's scratch. Flash couples them by a sum: weights, and code once per
distinct kernel. Under an arena level each objective is therefore a multiple-choice knapsack; it is solved per layer
when no flash budget binds, and by SciPy's mixed-integer solver when one does.

A convolution that can take in the pooling behind it makes one item of the knapsack with it, with a row for every way
to run the two: as two steps, or as one, under which the tensor between them needs no memory.

Choices are exact for chains, whose arena is as large as its lower bound, the bytes that are alive at once. The arena
of a graph with branches may come out larger; levels are lower bounds then, and `choose_placed` goes on to the next
level where a choice does not fit as placed.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..base.errors import InfeasibleError
from ..base.options import OBJECTIVES
from ..base.units import show_size
from .infeasible import infeasible
from .problem import Choice, Problem

ADDRESSABLE_BYTES = 1 << 29
"""The SRAM region of the architecture's memory map."""


def choose(problem: Problem, objective: str, sram: int | None = None, flash: int | None = None) -> Choice:
    """The best choice for an objective inside the budgets.

    Raises
    ------
    InfeasibleError
        Nothing fits: by how many bytes, which layer decides, what would fit, what to try.
    """
    if (floor := problem.smallest_sram()) > ADDRESSABLE_BYTES:
        raise InfeasibleError(
            f"does not fit: it needs {floor:,} bytes of SRAM, more than the {ADDRESSABLE_BYTES >> 20} MiB that a "
            "Cortex-M has addresses for.\nTry: fewer channels or a smaller image"
        )
    if objective not in OBJECTIVES:
        raise ValueError(f"objective: expected one of {', '.join(OBJECTIVES)}, got {objective!r}")
    choice = None
    if objective == "flash":
        choice = problem.smallest(sram)
    elif fastest := problem.fastest(sram, flash):
        if objective == "latency":
            choice = fastest
        elif objective == "sram":
            choice = _least_sram(problem, fastest, flash)
        else:
            choice = _balanced(problem, fastest, sram, flash)
    if choice is None or (flash is not None and choice.flash_bytes > flash):
        raise infeasible(problem, sram, flash)
    return choice


def choose_placed(problem: Problem, objective: str, sram: int | None = None, flash: int | None = None) -> Choice:
    """The choice of `choose` whose arena, as placed, keeps to the SRAM budget; its `sram_bytes` are the placed ones.

    For chains that is the choice of `choose`. Where the arena of a graph comes out larger than the budget, the best
    choice of the next lower level is tried, and so on; at last the one with the least scratch in every layer.

    Raises
    ------
    InfeasibleError
        Nothing fits, or nothing that was tried as placed.
    """
    choice = choose(problem, objective, sram, flash)
    least = placed = problem.placed_bytes(choice)
    leanest = None
    while sram is not None and placed > sram:
        if choice is leanest:
            raise InfeasibleError(
                f"does not fit into {show_size(sram)} of SRAM: {choice.sram_bytes:,} bytes are alive at once, and the "
                f"smallest arena that was found makes it {least:,}.\nTry: --sram {least}",
                {"sram": least},
            )
        try:
            choice = choose(problem, objective, choice.sram_bytes - 1, flash)
        except InfeasibleError:  # no lower level: what is left is less scratch where it is not the most
            leanest = problem.best(lambda item: item.scratch_bytes, sram)
            if leanest is None or (flash is not None and leanest.flash_bytes > flash):
                leanest = choice
            choice = leanest
        placed = problem.placed_bytes(choice)
        least = min(least, placed)
    return replace(choice, sram_bytes=placed)


def _least_sram(problem: Problem, fastest: Choice, flash: int | None) -> Choice:
    """The fastest choice of the least arena level that some choice fits into: the more SRAM, the more choices."""
    levels = [level for level in problem.levels() if level <= fastest.sram_bytes]
    found, low, high = fastest, 0, len(levels) - 1
    while low < high:
        middle = (low + high) // 2
        if (choice := problem.fastest(levels[middle], flash)) is not None:
            found, high = choice, middle
        else:
            low = middle + 1
    return found


def _balanced(problem: Problem, best: Choice, sram: int | None, flash: int | None) -> Choice:
    """Least cycles x SRAM x flash: the geometric mean, to a constant; `best` is the fastest choice.

    At a given SRAM the product falls towards the convex hull of all (cycles, flash), and along an edge of the hull it
    is least at an end: the optimum is a corner, the best choice for some price of a byte in cycles. Corners are found
    by asking for the price at which two known ones are worth the same, as long as one between them could be better.
    """

    def product(choice: Choice) -> tuple[float, int]:
        return float(choice.cycles) * choice.sram_bytes * choice.flash_bytes, choice.cycles

    levels = [level for level in problem.levels() if sram is None or level <= sram]
    steepest = best.cycles / max(best.flash_bytes, 1)
    prices = np.concatenate(([0.0], steepest * np.exp2(np.linspace(-4, 4, 33))))
    bounds = sorted((level * _least_product(problem, level, prices), level) for level in levels)
    for bound, level in bounds:
        if bound > product(best)[0]:
            break  # neither this level nor those behind it can be better
        fastest = problem.fastest(level, flash)
        if fastest is None:
            continue
        smallest = problem.smallest(level)
        assert smallest is not None  # something fits
        best = min(best, fastest, smallest, key=product)
        # Corners a and b, and the prices at which they are best: no choice lies below the two lines of that price.
        edges = [(fastest, 0.0, smallest, np.inf)]
        while edges:
            a, price_a, b, price_b = edges.pop()
            if a.flash_bytes <= b.flash_bytes or level * _below(a, price_a, b, price_b) > product(best)[0]:
                continue
            price = (b.cycles - a.cycles) / (a.flash_bytes - b.flash_bytes)
            found = problem.cheapest(level, flash, price)
            # A gain of less than a millionth is the solver's rounding, not another corner.
            if found is None or _worth(found, price) > _worth(a, price) * (1 - 1e-6):
                continue
            best = min(best, found, key=product)
            edges += [(a, price_a, found, price), (found, price, b, price_b)]
    return best


def _least_product(problem: Problem, level: int, prices: np.ndarray) -> float:
    """A bound from below on cycles x flash within an arena level.

    At each price of a byte, ascending from 0, no choice is worth less than the sum of what each item is worth by
    itself, the code of a kernel shared out among all items that have it. No choice lies below any of these lines, and
    along a line the product is least at an end.
    """
    worth, smallest = prices * problem.other_flash_bytes, float(problem.other_flash_bytes)
    allowed = problem.allowed(level)
    assert allowed is not None
    for item, rows, share in zip(problem.options, allowed, problem.code_share, strict=True):
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
