# SPDX-License-Identifier: Apache-2.0
"""``--score emulate``: the estimate ranks a layer's variants; the best, and what the strategy proposes, are compiled
and emulated.

The variants of the plan that the estimate alone would make come first, so that the emulated plan is never slower than
that one. Then come the estimate's favourites, then rounds of proposals, for all layers at once: the surrogate learns
by how much the estimate is wrong. At last the whole firmware of both plans is compared: see `tuning.measure.firmware`.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from importlib.metadata import version
from pathlib import Path

import numpy as np

from cmsisnn_x.variant import Variant

from ..base.errors import TuningError
from ..base.options import Kind
from ..cost import Estimates, estimate
from ..cost.estimate import CALL_BYTES
from ..measure.bench import Bench, Measurement
from ..measure.record import key_of
from ..measure.records import Records
from ..measure.workers import Task, Workers
from ..plan.frontier import flash_frontier, sram_frontier
from ..plan.planner import choose
from ..plan.problem import Choice, Options, Problem
from ..target import Target
from . import make_strategy
from .base import Strategy
from .events import Progress
from .space import Place, SearchSpace, baseline_of

TRIALS = 16
"""Emulations per layer: half go to the estimate's favourites, half to the strategy's proposals."""
BATCH = 4
"""Variants that the strategy proposes at a time: always as many, so that the number of workers cannot change a plan."""
RESERVE = 16
"""Further emulations of a layer of which none has worked."""


@dataclass(frozen=True)
class Request:
    """How to search: what the command line asks for."""

    objective: str = "latency"
    sram_bytes: int | None = None
    flash_bytes: int | None = None
    pareto: bool = False
    strategy: str = "bayesian"
    surrogate: str = "gp"
    trials: int | None = None
    compiler: Kind | None = None
    jobs: int = 1
    dask: str | None = None
    records: Path | None = None
    seed: int = 0


@dataclass(frozen=True)
class Emulated:
    """A layer's variants that were emulated, and what the baseline took."""

    table: Estimates
    baseline_cycles: int


@dataclass(frozen=True)
class Finding:
    """What a search found: per layer, and the plan that the estimate alone would make. `is_complete` unless it was
    interrupted.
    """

    layers: list[Emulated]
    estimated: Choice
    is_complete: bool


def search_emulated(
    where: Sequence[Place],
    spaces: Sequence[SearchSpace],
    estimates: Sequence[Estimates],
    problem: Problem,
    target: Target,
    cflags: Sequence[str],
    request: Request,
    progress: Progress | None = None,
) -> Finding:
    """Emulate candidates of every layer.

    An interrupt (Ctrl-C) ends the search with what was emulated so far; layers that were not reached keep their
    estimates.

    Parameters
    ----------
    where, spaces, estimates : sequence
        One per layer.
    problem : Problem
        The estimates as the planner weighs them.
    target : Target
    cflags : sequence of str
    request : Request
    progress : callable, optional
        Called with a dict after every evaluation, see `tuning.tuner.tune`.

    Raises
    ------
    InfeasibleError
        Not even by the estimates does anything fit.
    MissingToolError
        No compiler, no emulator or no Dask: what to install.
    TuningError
        No candidate of some layer could be emulated.
    """
    choice = choose(problem, request.objective, request.sram_bytes, request.flash_bytes)
    wanted = _first_candidates(problem, choice, request)
    items: list[Options | None] = list(problem.options)
    options = problem.layer_rows(items, None)
    price = _price_of_flash(problem, choice, request)
    with closing(Records(request.records)) as records:
        searches = [
            _LayerSearch(place, space, table, weighed, rows, must, price, request, records)
            for place, space, table, weighed, rows, must in zip(
                where, spaces, estimates, options, _legal(problem, choice, request), wanted, strict=True
            )
        ]
        bench = Bench(target, cflags, request.compiler, records)
        report = _Report(searches, records, progress)
        try:
            with Workers(bench, request.jobs, request.dask) as workers:
                report.workers = workers.count
                while tasks := [pair for search in _in_turn(searches) for pair in search]:
                    _round(workers, tasks, report)
        except KeyboardInterrupt:
            report.interrupted()
        report.message()
    return Finding([search.finish(target) for search in searches], choice, not report.was_interrupted)


def _in_turn(searches: Sequence[_LayerSearch]) -> list[list[tuple[_LayerSearch, int | None]]]:
    """What every layer wants evaluated next: the first of each, then the second..."""
    asked = [search.next() for search in searches]
    depth = max(map(len, asked), default=0)
    return [
        [(search, indices[at]) for search, indices in zip(searches, asked, strict=True) if at < len(indices)]
        for at in range(depth)
    ]


def _round(workers: Workers, tasks: list[tuple[_LayerSearch, int | None]], report: _Report) -> None:
    """Evaluate what the layers asked for; their strategies hear of it in the order in which they asked."""
    report.expect(tasks)

    def seen(at: int, result: Measurement, known: bool) -> None:
        search, index = tasks[at]
        search.results[index] = result
        report.show(search, known)

    workers.evaluate([search.task(index) for search, index in tasks], seen)


@dataclass(eq=False)
class _LayerSearch:
    """One layer on its way: what was evaluated, what comes next. Index ``None`` stands for the baseline."""

    place: Place
    space: SearchSpace
    table: Estimates
    weighed: Options | None
    """Its rows with what the pooling behind it costs where they do not take it in; None for such a pooling."""
    rows: list[int]
    must: list[int]
    price: float
    request: Request
    records: Records
    results: dict[int | None, Measurement] = field(default_factory=dict)
    strategy: Strategy | None = None
    started: bool = False
    rounds: list[tuple[int, list[int]]] = field(default_factory=list)
    live: int = 0
    told: int = 0

    def __post_init__(self) -> None:
        self.baseline = baseline_of(self.space)
        self.total = min(max(self.request.trials or TRIALS + len(self.must) - 1, 1), len(self.rows))
        own = self.table.cycles + self.price * (self.table.weights_bytes + self.table.code_bytes)
        both = own if self.weighed is None else self.weighed.cycles + self.price * self.weighed.flash_bytes
        self.prior, self.further = both, both - own

    @property
    def name(self) -> str:
        return self.space.layer.name

    @property
    def good(self) -> list[int]:
        """Rows that were emulated."""
        return sorted(i for i, item in self.results.items() if i is not None and item.failure is None)

    def task(self, index: int | None) -> Task:
        variant = self._variant(index)
        return Task(self.place.step(variant), self.place.aligned(variant))

    def _variant(self, index: int | None) -> Variant | None:
        return self.baseline if index is None else self.table.variants[index]

    def next(self) -> list[int | None]:
        """What to evaluate now; at first the rows of the estimate's plan, the baseline and the favourites."""
        done = sum(index is not None for index in self.results)
        if not self.started:
            self.started = True
            if not self.space.variants:
                return [0]  # a single kernel
            small = self.request.strategy == "exhaustive" or len(self.rows) <= self.total
            count = self.total if small else max(self.total // 2, 1)
            order = sorted(self.rows, key=lambda i: (self.prior[i], self.table.scratch_bytes[i], i))
            favourites = [] if self.request.strategy == "random" else order
            first = list(dict.fromkeys([*self.must, *favourites]))
            first = first[: max(count, min(len(self.must), self.total))]
            self.rounds.append((0, first))
            return [first[0], None, *first[1:]]
        if done >= self.total and not self.good and done < min(self.total + RESERVE, len(self.rows)):
            self.total = min(done + BATCH, len(self.rows))  # nothing works yet: look further
        if done >= self.total or not self.space.variants or self.request.strategy == "exhaustive":
            return []
        count = min(BATCH, self.total - done)
        key = self._state(count)
        asked = self.records.recall(key)
        if asked is None:
            asked = self._ask(count)
            self.records.note(key, asked)
        self.rounds.append((count, [row for row in (self.rows[i] for i in asked) if row not in self.results]))
        return list(self.rounds[-1][1])

    def _ask(self, count: int) -> list[int]:
        """Ask the strategy, after it has lived through the rounds that were recalled without it."""
        if self.strategy is None:
            part = SearchSpace(self.space.layer, tuple(self.space.variants[i] for i in self.rows))
            prior = [float(self.prior[i]) for i in self.rows]
            self.strategy = make_strategy(self.request.strategy, part, self.request.seed, prior, self.request.surrogate)
        while self.told < len(self.rounds):
            past, rows = self.rounds[self.told]
            if past and self.told != self.live:
                self.strategy.ask(past)
            self._tell(rows)
            self.told += 1
        self.live = len(self.rounds)
        return self.strategy.ask(count)

    def _tell(self, rows: Iterable[int]) -> None:
        assert self.strategy is not None
        for row in rows:
            self.strategy.tell(self.rows.index(row), self._score(row))

    def _state(self, count: int) -> str:
        """Digest of everything that the next proposals depend on."""
        told = sorted((row, self._score(row)) for row in self.results if row is not None)
        return key_of(
            {
                "strategy": [self.request.strategy, self.request.surrogate, self.request.seed, count, _versions()],
                "variants": [asdict(self.space.variants[i]) for i in self.rows],
                "prior": [float(self.prior[i]) for i in self.rows],
                "told": [[row, repr(score)] for row, score in told],
                "rounds": [list(rows) for _, rows in self.rounds],
            }
        )

    def _score(self, index: int) -> float:
        item = self.results[index]
        if item.failure is not None:
            return math.inf
        code = item.code_bytes or int(self.table.code_bytes[index])
        own = item.cycles + self.price * (int(self.table.weights_bytes[index]) + code)
        return float(own + self.further[index])

    def finish(self, target: Target) -> Emulated:
        """The layer's table with emulated cycles and sizes; all estimates where nothing was emulated."""
        reference = self.results.get(None)
        baseline = reference.cycles if reference and reference.failure is None else None
        if baseline is None and self.baseline is not None:
            baseline = estimate(self.space.layer, self.baseline, target).cycles
        rows = self.good
        if not rows:
            tried = [item for index, item in self.results.items() if index is not None]
            if tried and len(tried) >= self.total:
                raise TuningError(
                    f"layer {self.name!r}: none of {len(tried)} candidates could be emulated; the first: "
                    f"{tried[0].failure}: {tried[0].problem}"
                )
            return Emulated(self.table.take(self.rows), int(self.table.cycles[0]) if baseline is None else baseline)
        taken = self.table.take(rows)
        found = [self.results[i] for i in rows]
        cycles = np.array([item.cycles for item in found], np.int64)
        code = [
            item.code_bytes + CALL_BYTES + MORE_CODE if item.code_bytes else int(self.table.code_bytes[i])
            for i, item in zip(rows, found, strict=True)
        ]
        emulated = replace(
            taken,
            emulated_cycles=cycles,
            code_bytes=np.array(code, np.int64),
            code_spread=np.zeros(len(code)),
            stack_bytes=tuple(item.stack_bytes + MORE_STACK for item in found),
        )
        return Emulated(emulated, int(cycles[0]) if baseline is None else baseline)


MORE_CODE, MORE_STACK = 8, 16
"""Bytes that a kernel may take more beside others than alone: literals, registers that a call saves."""


@cache
def _versions() -> list[str]:
    """Of what makes proposals."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return [version("scikit-optimize"), version("scikit-learn"), version("numpy"), digest.hexdigest()]


# -- what comes first --------------------------------------------------------------------------------------------------


def _legal(problem: Problem, choice: Choice, request: Request) -> list[list[int]]:
    """Rows that a plan could use: within the SRAM budget, or, where SRAM is what counts, within the least there is."""
    sram = choice.sram_bytes if request.objective == "sram" and not request.pareto else request.sram_bytes
    allowed = problem.allowed(sram)
    assert allowed is not None  # `choice` is within
    return problem.layer_rows([rows.tolist() for rows in allowed], [0])


def _first_candidates(problem: Problem, choice: Choice, request: Request) -> list[list[int]]:
    """Per layer the rows of the estimate's plan, then those of plans that matter as much.

    With a flash budget the smallest plan is among them: kernels may turn out larger than estimated. A frontier is made
    of what its points use.
    """
    plans = [choice]
    if request.flash_bytes is not None and (least := problem.smallest(request.sram_bytes)) is not None:
        plans.append(least)
    if request.pareto:
        plans += sram_frontier(problem, request.flash_bytes)[::-1]
        plans += (flash_frontier(problem, request.sram_bytes) or [])[::-1]
    return [list(dict.fromkeys(plan.rows[at] for plan in plans)) for at in range(len(choice.rows))]


def _price_of_flash(problem: Problem, choice: Choice, request: Request) -> float:
    """Cycles that a byte of flash is worth to the objective, near the estimate's plan."""
    if request.objective == "balanced":
        return choice.cycles / max(choice.flash_bytes, 1)
    if request.objective == "flash":
        return float(choice.cycles)
    fastest = problem.fastest(request.sram_bytes, None)
    if request.flash_bytes is None or fastest is None or fastest.flash_bytes <= request.flash_bytes:
        return 0.0
    points = flash_frontier(problem, request.sram_bytes) or [choice, fastest]
    near = [p for p in points if abs(p.flash_bytes - choice.flash_bytes) <= 0.05 * choice.flash_bytes]
    ends = (near[0], near[-1]) if len(near) > 1 else (choice, fastest)
    return max((ends[0].cycles - ends[1].cycles) / max(ends[1].flash_bytes - ends[0].flash_bytes, 1), 0.0)


# -- what a person sees ------------------------------------------------------------------------------------------------


class _Report:
    """Tells `progress` about every evaluation."""

    def __init__(self, searches: list[_LayerSearch], records: Records, progress: Progress | None) -> None:
        self.searches, self.records, self.progress = searches, records, progress
        self.workers = 1
        self.done = self.fresh = 0
        self.expected = 0
        self.started = time.monotonic()
        self.said: str | None = None
        self.was_interrupted = False
        self.message()

    def expect(self, tasks: Sequence[tuple[_LayerSearch, int | None]]) -> None:
        """A round begins: what it and later ones will evaluate, at most."""
        rows = Counter(id(search) for search, index in tasks if index is not None)
        later = sum(
            max(search.total - sum(i is not None for i in search.results) - rows[id(search)], 0)
            for search in self.searches
            if search.space.variants
        )
        self.expected = self.done + len(tasks) + later

    def show(self, search: _LayerSearch, known: bool) -> None:
        self.done += 1
        self.fresh += not known
        self.message()
        if self.progress is None:
            return
        good = search.good
        best = min(good, key=lambda i: search.results[i].cycles, default=None)
        spent = time.monotonic() - self.started
        left = max(self.expected - self.done, 0)
        self.progress(
            {
                "layer": search.name,
                "index": self.searches.index(search),
                "trial": min(sum(i is not None for i in search.results), search.total),
                "trials": search.total,
                "best": None if best is None else search.results[best].cycles,
                "estimate": None if best is None else int(search.table.cycles[best]),
                "variant": None if best is None else str(search.table.variants[best] or "-"),
                "failures": sum(item.failure is not None for item in search.results.values()),
                "done": self.done,
                "expected": max(self.expected, self.done),
                "known": self.done - self.fresh,
                "seconds_left": None if not self.fresh else spent / self.fresh * left,
            }
        )

    def message(self) -> None:
        """Say once what the records have to say."""
        if self.progress is not None and self.records.message not in (None, self.said):
            self.said = self.records.message
            self.progress({"message": self.said})

    def interrupted(self) -> None:
        self.was_interrupted = True
        if self.progress is None:
            return
        self.progress(
            {
                "interrupted": True,
                "done": self.done,
                "expected": max(self.expected, self.done),
                "estimated_layers": [search.name for search in self.searches if not search.good],
            }
        )
