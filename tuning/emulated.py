# SPDX-License-Identifier: Apache-2.0
"""``--score emulate``: the estimate ranks a layer's variants, the best and what the strategy proposes are
compiled and emulated.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cmsisnn_x._variants import Variant

from .cost import Estimates, estimate
from .errors import TuningError
from .measure import Bench, Measurement
from .record import Records
from .search import make_strategy, run
from .space import SearchSpace, baseline_of
from .target import Target

TRIALS = 16
"""Emulations per layer: half go to the estimate's favourites, half to the strategy's proposals."""
BATCH = 4
"""Variants that the strategy proposes at a time: always as many, so that the number of workers cannot change a plan."""


@dataclass(frozen=True)
class Emulated:
    """A layer's variants that were emulated, and what the baseline took."""

    table: Estimates
    baseline_cycles: int


def search_emulated(
    spaces: Sequence[SearchSpace],
    estimates: Sequence[Estimates],
    target: Target,
    cflags: Sequence[str],
    strategy: str,
    trials: int | None,
    jobs: int,
    seed: int,
    progress: Callable[[dict[str, Any]], None] | None,
) -> list[Emulated]:
    """Emulate candidates of every layer.

    An interrupt (Ctrl-C) ends the search with what was emulated so far; layers that were not reached keep their
    estimates.

    Raises
    ------
    MissingToolError
        No compiler or no emulator: what to install.
    TuningError
        No candidate of some layer could be emulated.
    """
    with closing(Records()) as records:
        bench = Bench(target, cflags, records=records)
        done: list[Emulated] = []
        try:
            for at, (space, table) in enumerate(zip(spaces, estimates, strict=True)):
                aligned = (at > 0, at < len(spaces) - 1)
                done.append(_search(bench, space, table, aligned, strategy, trials or TRIALS, jobs, seed, progress))
        except KeyboardInterrupt:
            if progress:
                progress(
                    {
                        "interrupted": True,
                        "layer": spaces[len(done)].layer.name,
                        "done": len(done),
                        "layers": len(spaces),
                    }
                )
            for space, table in list(zip(spaces, estimates, strict=True))[len(done) :]:
                baseline = baseline_of(space)
                done.append(
                    Emulated(
                        table, estimate(space.layer, baseline, target).cycles if baseline else int(table.cycles[0])
                    )
                )
    return done


def _search(
    bench: Bench,
    space: SearchSpace,
    table: Estimates,
    aligned: tuple[bool, bool],
    strategy: str,
    trials: int,
    jobs: int,
    seed: int,
    progress: Callable[[dict[str, Any]], None] | None,
) -> Emulated:
    layer = space.layer
    results: dict[int, Measurement] = {}
    total = min(trials, len(table))

    def evaluate(indices: list[int]) -> list[float]:
        measured = _measure(bench, space, [table.variants[i] for i in indices], aligned, jobs)
        scores = []
        for index, item in zip(indices, measured, strict=True):
            results[index] = item
            scores.append(math.inf if item.problem else float(item.cycles))
        if progress:
            good = [item.cycles for item in results.values() if not item.problem]
            progress({"layer": layer.name, "trial": len(results), "trials": total, "best": min(good, default=None)})
        return scores

    baseline = baseline_of(space)
    if not space.variants:
        evaluate([0])
    else:
        order = [int(i) for i in np.lexsort((np.arange(len(table)), table.scratch_bytes, table.cycles))]
        first = order[: max(total // 2, 1)] if strategy == "bayesian" else []
        run(make_strategy(strategy, space, seed, table.cycles), evaluate, total, BATCH, first)
    good = sorted(index for index, item in results.items() if not item.problem)
    if not good:
        raise TuningError(
            f"layer {layer.name!r}: none of {len(results)} candidates could be emulated; the first: "
            f"{next(iter(results.values())).problem}"
        )
    taken = table.take(good)
    waits = taken.terms[:, -1]
    code = np.array([results[i].code_bytes or int(table.code_bytes[i]) for i in good], np.int64)
    cycles = np.array([results[i].cycles for i in good], np.int64) + waits
    fitted = replace(
        taken, emulated_cycles=cycles, code_bytes=code, stack_bytes=tuple(results[i].stack_bytes for i in good)
    )
    if baseline is None:
        return Emulated(fitted, int(cycles[0]))
    reference = bench.measure(layer, [baseline], aligned)[0]
    return Emulated(fitted, estimate(layer, baseline, bench.target).cycles if reference.problem else reference.cycles)


def _measure(
    bench: Bench, space: SearchSpace, variants: list[Variant | None], aligned: tuple[bool, bool], jobs: int
) -> list[Measurement]:
    """Measure, on several processes if asked: each compiles and emulates a part of the batch."""
    if jobs == 1 or len(variants) == 1:
        return bench.measure(space.layer, variants, aligned)
    from joblib import Parallel, delayed

    parts = [variants[at::jobs] for at in range(min(jobs, len(variants)))]
    found = Parallel(n_jobs=jobs)(
        delayed(_work)(bench.target, bench.cflags, space.layer, part, aligned) for part in parts
    )
    results: list[Measurement] = [Measurement()] * len(variants)
    for at, part in enumerate(found):
        results[at::jobs] = part
    return results


def _work(
    target: Target, cflags: tuple[str, ...], layer: Any, variants: list[Variant | None], aligned: tuple[bool, bool]
) -> list[Measurement]:
    with closing(Records()) as records:
        return Bench(target, cflags, records=records).measure(layer, variants, aligned)
