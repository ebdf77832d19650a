# SPDX-License-Identifier: Apache-2.0
"""Cycles over memory: every plan that no other plan beats, and what some bytes more or less are worth.

SRAM takes few values (a level is set by the neediest layer), so the planner is asked once per level. Flash is a sum,
with code paid once per distinct kernel; its frontier comes from adding layer after layer to the set of partial plans
and dropping, each time, those that another one with the same kernels at hand beats in both cycles and flash. What is
left at the end is exact, each point and all points.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Hashable, Sequence

import numpy as np

from ..base.options import BYTES, Memory
from .plan import Frontiers, Point
from .problem import Choice, Problem, worth_trying

STEP = 4096
"""Bytes of the question "what do 4 KB more buy?"."""
MOST = 400_000
"""Partial plans that are followed at a time; a network that has more is refused by `flash_frontier`."""


class Stair(Point):
    """A point of a frontier in a table, with what it buys over the row before; None in the first."""

    more_bytes: int | None
    saved_cycles: int | None
    saved_per_kib: float | None


def pareto(
    problem: Problem, sram: int | None = None, flash: int | None = None, over_sram: Sequence[Choice] | None = None
) -> Frontiers:
    """The frontiers of a network as plan.json has them.

    Parameters
    ----------
    problem : Problem
    sram, flash : int, optional
        Budgets, in bytes. Each frontier runs over all values of its own memory and keeps to the budget of the other.
    over_sram : sequence of Choice, optional
        The frontier over SRAM. Default: that of `problem`.

    Returns
    -------
    Frontiers
        ``{"sram": points, "flash": points}``, a point being ``{"sram_bytes", "flash_bytes", "cycles"}``; ascending in
        bytes, descending in cycles, so that the last point is the fastest plan. Empty where the budgets leave nothing.
    """
    return {
        "sram": [point_of(choice) for choice in over_sram or sram_frontier(problem, flash)],
        "flash": [point_of(choice) for choice in flash_frontier(problem, sram) or _sampled(problem, sram)],
    }


def point_of(choice: Choice) -> Point:
    return {"sram_bytes": choice.sram_bytes, "flash_bytes": choice.flash_bytes, "cycles": choice.cycles}


def sram_frontier(problem: Problem, flash: int | None = None) -> list[Choice]:
    """The fastest choice for every SRAM budget: ascending SRAM, descending cycles.

    Parameters
    ----------
    problem : Problem
    flash : int, optional
        Flash budget that every point keeps to.
    """
    found: list[Choice] = []
    for level in reversed(problem.levels()):
        if found and level >= found[-1].sram_bytes:
            continue
        choice = problem.fastest(level, flash)
        if choice is None:
            break
        while found and found[-1].cycles == choice.cycles:  # as fast in less
            found.pop()
        found.append(choice)
    return found[::-1]


def flash_frontier(problem: Problem, sram: int | None = None) -> list[Choice] | None:
    """The fastest choice for every flash budget: ascending flash, descending cycles.

    Parameters
    ----------
    problem : Problem
    sram : int, optional
        SRAM budget that every point keeps to.

    Returns
    -------
    list of Choice or None
        ``None`` where there are more than `MOST` partial plans to follow; empty where nothing fits into `sram`.
    """
    allowed = problem.allowed(sram)
    if allowed is None:
        return []
    rows_of = worth_trying(problem, allowed)
    last = {kernel: i for i, item in enumerate(problem.options) for kernel in set(item.kernels) & problem.shared}
    code_of = {
        kernel: int(item.code_bytes[row])
        for item in problem.options
        for row, kernel in enumerate(item.kernels)
        if kernel in problem.shared
    }
    # Kernels at hand that a later layer could use -> partial plans: columns cycles, flash, then a row per layer so far.
    states: dict[frozenset[Hashable], np.ndarray] = {frozenset(): np.zeros((1, 2), np.int64)}
    for at, (item, rows) in enumerate(zip(problem.options, rows_of, strict=True)):
        after: dict[frozenset[Hashable], list[np.ndarray]] = {}
        for at_hand, partial in states.items():
            parts: dict[frozenset[Hashable], list[int]] = {}
            for row in rows:
                kernel = item.kernels[row]
                kept = at_hand | {kernel} if kernel in problem.shared else at_hand
                parts.setdefault(frozenset(k for k in kept if last[k] > at), []).append(row)
            for kept, group in parts.items():
                code = [0 if item.kernels[row] in at_hand else int(item.code_bytes[row]) for row in group]
                flash = item.weights_bytes[group] + np.array(code, np.int64)
                grown = np.repeat(partial, len(group), axis=0)
                grown[:, 0] += np.tile(item.cycles[group], len(partial))
                grown[:, 1] += np.tile(flash, len(partial))
                after.setdefault(kept, []).append(np.column_stack([grown, np.tile(group, len(partial))]))
        states = {kept: _undominated(np.concatenate(parts)) for kept, parts in after.items()}
        if len(states) > 1:
            states = _undominated_across(states, code_of)
        if sum(map(len, states.values())) > MOST:
            return None
    (final,) = states.values()
    return [problem.choice(plan) for plan in final[::-1, 2:].tolist()]


def _undominated_across(
    states: dict[frozenset[Hashable], np.ndarray], code_of: dict[Hashable, int]
) -> dict[frozenset[Hashable], np.ndarray]:
    """Partial plans that none with other kernels beats, even if it had to buy all that it lacks."""
    kernels = sorted({kernel for at_hand in states for kernel in at_hand}, key=repr)
    code = np.array([code_of[kernel] for kernel in kernels], float)
    sets = list(states)
    has = np.array([[kernel in at_hand for kernel in kernels] for at_hand in sets], float)
    lacks = (has * code) @ (1 - has).T  # [i, j]: bytes of code that i has at hand and j has not
    owner = np.repeat(np.arange(len(sets)), [len(states[at_hand]) for at_hand in sets])
    plans = np.concatenate([states[at_hand] for at_hand in sets])
    kept: list[int] = []
    flash, owners = np.empty(len(plans)), np.empty(len(plans), int)
    for at in np.lexsort((-(has @ code)[owner], plans[:, 1], plans[:, 0])):
        count = len(kept)
        if not np.any(flash[:count] + lacks[owner[at], owners[:count]] <= plans[at, 1]):
            flash[count], owners[count] = plans[at, 1], owner[at]
            kept.append(int(at))
    survivors = np.array(kept)
    return {at_hand: plans[rows] for i, at_hand in enumerate(sets) if len(rows := survivors[owner[survivors] == i])}


def _undominated(plans: np.ndarray) -> np.ndarray:
    """Of equally equipped partial plans those that no other beats: ascending cycles, descending flash."""
    plans = plans[np.lexsort((plans[:, 1], plans[:, 0]))]
    least = np.minimum.accumulate(plans[:, 1])
    return plans[np.concatenate([[True], plans[1:, 1] < least[:-1]])]


def _sampled(problem: Problem, sram: int | None, count: int = 48) -> list[Choice]:
    """Points of a frontier too large to be followed: the exact optimum of evenly spaced flash budgets."""
    smallest, fastest = problem.smallest(sram), problem.fastest(sram, None)
    if smallest is None or fastest is None:
        return []
    budgets = np.linspace(smallest.flash_bytes, fastest.flash_bytes, count).astype(np.int64)
    choices = {c.flash_bytes: c for budget in budgets if (c := problem.fastest(sram, int(budget))) is not None}
    found: list[Choice] = []
    for choice in (choices[size] for size in sorted(choices)):
        if not found or choice.cycles < found[-1].cycles:
            found.append(choice)
    return found


def cycles_within(points: Sequence[Point], memory: Memory, size: int) -> int | None:
    """Cycles of the fastest point within `size` bytes of `memory`; ``None`` where nothing fits.

    Parameters
    ----------
    points : sequence of Point
        One frontier of `pareto`.
    memory : {"sram", "flash"}
    size : int
        Bytes.
    """
    at = bisect_right([point[BYTES[memory]] for point in points], size)
    return points[at - 1]["cycles"] if at else None


def steps(points: Sequence[Point], memory: Memory, most: int = 16) -> list[Stair]:
    """The points as rows of a table, each with what it buys over the row before.

    Parameters
    ----------
    points : sequence of Point
        One frontier of `pareto`.
    memory : {"sram", "flash"}
    most : int
        Rows at most: of a longer frontier the best points within evenly spaced budgets, as many bytes apart as a power
        of two.

    Returns
    -------
    list of Stair
        The points, with ``more_bytes``, ``saved_cycles`` and ``saved_per_kib``; ``None`` in the first.
    """
    key = BYTES[memory]
    shown = list(points)
    step = 16
    while len(shown) > most:
        best = {(point[key] - points[0][key]) // -step: point for point in points}  # the last below each line stays
        shown = list(best.values())
        if shown[-1] is not points[-1]:
            shown.append(points[-1])
        step *= 2
    found: list[Stair] = []
    for before, point in zip([None, *shown], shown, strict=False):
        more = None if before is None else point[key] - before[key]
        saved = None if before is None else before["cycles"] - point["cycles"]
        per_kib = None if more is None or saved is None else round(saved / more * 1024, 1)
        found.append({**point, "more_bytes": more, "saved_cycles": saved, "saved_per_kib": per_kib})
    return found
