# SPDX-License-Identifier: Apache-2.0
"""Which search strategy finds the fastest kernel in the fewest emulations? Replayed from recorded evaluations.

    python benchmarks/search_replay.py                # replay: a table of regrets, no compiler, no emulator
    python benchmarks/search_replay.py record         # compile and emulate every variant again; takes half an hour

Regret is (best found / best there is) - 1 of emulated cycles, median over the seeds. `data/search_replay.npz` holds,
for each layer on each core, every variant with its emulated and its estimated cycles.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from cmsisnn_x import Variant
from cmsisnn_x.layers import Layer
from cmsisnn_x.steps import Step
from tuning.search import make_strategy, run
from tuning.search.space import SearchSpace

DATA = Path(__file__).parent / "data" / "search_replay.npz"
CORES = ("cortex-m4", "cortex-m7")
SEEDS = 21
BUDGETS = (4, 8, 16, 32)
BATCH = 4
STRATEGIES = {
    "random": "uniform without replacement: the null",
    "ranking": "the estimate's ranking, nothing learned",
    "forest": "half the estimate's favourites, half proposals of the forest",
    "gp": "half the estimate's favourites, half proposals of the Gaussian process",
}
PRIORS = {
    "fitted": "the estimate as `calibrate` fitted it to this core",
    "unfitted": "the estimate from the instruction mix alone, as for kernels that were never fitted",
    "none": "no estimate: the learners start from random variants",
}
CASES = tuple(
    (strategy, prior)
    for strategy in STRATEGIES
    for prior in PRIORS
    if not (strategy == "random" and prior != "none") and not (strategy == "ranking" and prior == "none")
)


def layers() -> list[Layer]:
    """Small layers of every kind that has a space: what takes long is the number of variants, not the layer."""
    sys.path.insert(0, str(Path(__file__).parent))
    from benchmarks.paper import convolution, dense, depthwise

    return [
        convolution("first5x5", 12, 3, 16, 5),
        convolution("conv5x5", 8, 16, 16, 5),
        convolution("conv3x3", 10, 8, 16, 3),
        convolution("conv1x1", 10, 16, 24, 1),
        depthwise("depthwise3x3", 12, 16, 3),
        dense("dense", (4, 4, 24), 12),
    ]


@dataclass(frozen=True)
class Table:
    """Every variant of one layer on one core."""

    name: str
    space: SearchSpace
    cycles: np.ndarray
    estimates: dict[str, np.ndarray]

    def regret(self, strategy: str, prior_name: str, seed: int, most: int) -> float:
        """Regret after `most` evaluations."""
        most = min(most, len(self.cycles))
        prior = None
        order = [int(i) for i in np.random.default_rng(seed).permutation(len(self.cycles))]
        if prior_name != "none":
            prior = [float(value) for value in self.estimates[prior_name]]
            order = [int(i) for i in np.argsort(prior, kind="stable")]
        scores = [float(value) for value in self.cycles]

        def evaluate(indices: list[int]) -> list[float]:
            return [scores[i] for i in indices]

        if strategy in ("random", "ranking"):
            kind = "random" if strategy == "random" else "exhaustive"
            found = run(make_strategy(kind, self.space, seed, prior), evaluate, most, BATCH)
        else:
            learner = make_strategy("bayesian", self.space, seed, prior, strategy)
            found = run(learner, evaluate, most, BATCH, order[: max(most // 2, 1)])
        return min(found.values()) / float(self.cycles.min()) - 1


@cache
def tables() -> dict[str, Table]:
    """The recorded tables, by ``"layer on core"``."""
    found = {}
    knobs = [field.name for field in fields(Variant)]
    with np.load(DATA, allow_pickle=False) as data:
        for name in data["names"].tolist():
            columns = {knob: data[f"{name}/{knob}"].tolist() for knob in knobs if f"{name}/{knob}" in data}
            rows = zip(*columns.values(), strict=True)
            variants = tuple(Variant(**dict(zip(columns, row, strict=True))) for row in rows)
            layer = next(layer for layer in layers() if layer.name == name.split(" ")[0])
            estimates = {prior: data[f"{name}/{prior}"] for prior in PRIORS if prior != "none"}
            found[name] = Table(name, SearchSpace(layer, variants), data[f"{name}/cycles"], estimates)
    return found


def record(path: Path) -> None:
    """Emulate every variant. Those of one core and layer share executables: their order is what counts here."""
    from tuning.base.cflags import CFLAGS
    from tuning.cost import estimate_space, fitted
    from tuning.measure.bench import Bench
    from tuning.measure.records import Records
    from tuning.search.space import search_space
    from tuning.target import load_target

    columns: dict[str, Any] = {}
    names = []
    with Records() as records:
        for core in CORES:
            target = load_target(core)
            bench = Bench(target, CFLAGS, records=records, batch=8)
            for layer in layers():
                space = search_space(layer, target)
                results = bench.measure([Step((layer,), variant) for variant in space.variants])
                good = [i for i, item in enumerate(results) if item.failure is None]
                name = f"{layer.name} on {core}"
                names.append(name)
                print(f"{name}: {len(good)} of {len(results)} variants", flush=True)
                for field in fields(Variant):
                    values = [getattr(space.variants[i], field.name) for i in good]
                    if any(value != field.default for value in values):
                        columns[f"{name}/{field.name}"] = np.array(values)
                columns[f"{name}/cycles"] = np.array([results[i].cycles for i in good], np.int32)
                for prior, coefficients in (("fitted", fitted.coefficients), ("unfitted", fitted.Coefficients)):
                    with mock.patch.object(fitted, "coefficients", coefficients):
                        estimates = estimate_space(layer, space.variants, target)
                    columns[f"{name}/{prior}"] = estimates.cycles[good].astype(np.int32)
    path.parent.mkdir(exist_ok=True)
    np.savez_compressed(path, names=np.array(names), **columns)
    print(f"{path}: {path.stat().st_size / 1024:.0f} KiB")


def medians(strategy: str, prior: str, seeds: int, budgets: Sequence[int] = BUDGETS) -> dict[str, list[float]]:
    """Median regret at each budget, by table. A budget is a run of its own: half of it goes to the favourites."""
    count = 1 if strategy == "ranking" else seeds
    return {
        name: [
            float(np.median([table.regret(strategy, prior, seed, most) for seed in range(count)])) for most in budgets
        ]
        for name, table in tables().items()
    }


def replay(seeds: int, strategies: Sequence[str]) -> None:
    """Print all regrets, then what they amount to."""
    print(f"regret in per cent after so many evaluations, median of {seeds} seeds")
    print(f"{'strategy':10}{'estimate':10}{'layer on core':28}" + "".join(f"{budget:>9}" for budget in BUDGETS))
    overall = {}
    for strategy, prior in CASES:
        if strategy in strategies:
            found = overall[strategy, prior] = medians(strategy, prior, seeds)
            for name, values in found.items():
                print(
                    f"{strategy:10}{prior:10}{name:28}" + "".join(f"{value * 100:9.2f}" for value in values), flush=True
                )
    for title, function in (("median of all", np.median), ("mean of all", np.mean), ("worst of all", np.max)):
        for (strategy, prior), found in overall.items():
            values = function(np.array(list(found.values())), axis=0)
            print(f"{strategy:10}{prior:10}{title:28}" + "".join(f"{value * 100:9.2f}" for value in values))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=("replay", "record"), default="replay")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--strategy", action="append", choices=tuple(STRATEGIES), help="default: all")
    options = parser.parse_args()
    if options.what == "record":
        record(DATA)
    else:
        replay(options.seeds, options.strategy or tuple(STRATEGIES))


if __name__ == "__main__":
    main()
