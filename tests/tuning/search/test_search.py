# SPDX-License-Identifier: Apache-2.0
"""Strategies: they propose what exists, each point once, the same for the same seed; and the learning one learns."""

from __future__ import annotations

import importlib.util
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from helpers.samples import one_in
from tuning import OptionError
from tuning.load import load_model
from tuning.search import Strategy, make_strategy, run
from tuning.search.space import SearchSpace, search_space
from tuning.target import load_target

STRATEGIES = ("exhaustive", "random", "bayesian")
SURROGATES = ("gp", "forest")


@pytest.fixture(scope="module")
def space() -> SearchSpace:
    return search_space(load_model("cifar10").layers[2], load_target("cortex-m4"))


def truth(space: SearchSpace) -> np.ndarray:
    """Scores of a made-up kernel: smooth in the knobs, with one lowering that surprises."""
    scores = [
        1e6 * (1 + 0.3 * (v.unroll - 4) ** 2 / 16 + 0.5 / (v.block_rows * v.block_cols) + 0.01 * v.im2col_cols)
        for v in space
    ]
    return np.array(
        [score * (0.5 if v.lowering == "line_buffer" else 1.0) for v, score in zip(space, scores, strict=True)]
    )


def drive(
    strategy: Strategy, scores: np.ndarray, trials: int, batch: int = 4, first: Sequence[int] = ()
) -> dict[int, float]:
    return run(strategy, lambda indices: [float(scores[i]) for i in indices], trials, batch, first)


@pytest.mark.parametrize("name", STRATEGIES)
def test_proposals_are_new_legal_and_plain_integers(space: SearchSpace, name: str) -> None:
    strategy = make_strategy(name, space, 1, list(truth(space)))
    seen: list[int] = []
    for _ in range(5):
        proposals = strategy.ask(4)
        assert len(proposals) == 4
        for index in proposals:
            assert type(index) is int
            assert 0 <= index < len(space)
            strategy.tell(index, float(index))
        seen += proposals
    assert len(set(seen)) == len(seen)


@pytest.mark.parametrize("name", STRATEGIES)
def test_the_same_seed_gives_the_same_proposals(space: SearchSpace, name: str) -> None:
    scores = truth(space)
    runs = [list(drive(make_strategy(name, space, 7), scores, 20)) for _ in range(2)]
    assert runs[0] == runs[1]
    assert len(runs[0]) == 20


def test_another_seed_gives_other_random_proposals(space: SearchSpace) -> None:
    assert make_strategy("random", space, 1).ask(10) != make_strategy("random", space, 2).ask(10)


@pytest.mark.parametrize("name", STRATEGIES)
def test_everything_is_tried_in_the_end_and_then_nothing(name: str) -> None:
    layer = load_model("cifar10").layers[6]
    small = search_space(layer, load_target("cortex-m3"))
    scores = np.arange(len(small), dtype=float) + 1
    strategy = make_strategy(name, small, 0)
    found = drive(strategy, scores, 10 * len(small))
    assert sorted(found) == list(range(len(small)))
    assert strategy.ask(3) == []


def test_exhaustive_follows_the_prior(space: SearchSpace) -> None:
    prior = list(truth(space))
    first = make_strategy("exhaustive", space, 0, prior).ask(5)
    assert [prior[i] for i in first] == sorted(prior)[:5]


@pytest.mark.parametrize("surrogate", one_in(2, SURROGATES))
def test_bayesian_finds_what_the_estimate_missed(space: SearchSpace, surrogate: str) -> None:
    """The estimate does not know that one lowering is twice as fast: the residual model needs a few points for it."""
    scores = truth(space)
    prior = np.where([v.lowering == "line_buffer" for v in space], 2 * scores, scores)
    order = [int(i) for i in np.argsort(prior)]
    medians = {}
    for name in ("bayesian", "random"):
        best = []
        for seed in range(3):
            first = order[:3] if name == "bayesian" else []
            found = drive(make_strategy(name, space, seed, list(prior), surrogate), scores, 24, 4, first)
            best.append(min(found.values()) / scores.min() - 1)
        medians[name] = float(np.median(best))
    assert medians["bayesian"] <= medians["random"]
    assert medians["bayesian"] < 0.10


@pytest.mark.parametrize("surrogate", SURROGATES)
def test_bayesian_survives_failures(space: SearchSpace, surrogate: str) -> None:
    strategy = make_strategy("bayesian", space, 0, list(truth(space)), surrogate)
    for round_ in range(4):
        for index in strategy.ask(3):
            strategy.tell(index, math.inf if round_ < 3 else 100.0)
    assert len(strategy.ask(3)) == 3


def test_bayesian_asks_scikit_optimize(space: SearchSpace, monkeypatch: pytest.MonkeyPatch) -> None:
    import skopt

    asked: list[list[int]] = []
    original = skopt.Optimizer.ask

    def ask(self: object, *args: object, **kwargs: object) -> list[int]:
        asked.append(original(self, *args, **kwargs))
        return asked[-1]

    monkeypatch.setattr(skopt.Optimizer, "ask", ask)
    strategy = make_strategy("bayesian", space, 3, list(truth(space)))
    proposed = list(drive(strategy, truth(space), 12))
    points = [
        [values.index(value) for values, value in zip(space.dimensions.values(), space.point(i), strict=True)]
        for i in proposed
    ]
    assert len(asked) == 3
    assert sum([int(value) for value in point] in points for point in asked) >= 2


def test_scikit_optimize_proposes_legal_points_only(space: SearchSpace) -> None:
    from tuning.search.bayesian import Bayesian

    strategy = Bayesian(space, 0)
    constraint = strategy._optimizer.space.constraint
    for point in strategy._optimizer.space.rvs(200, random_state=1):
        assert constraint(point)


def test_unknown_strategies_and_empty_spaces_are_refused(space: SearchSpace) -> None:
    with pytest.raises(OptionError, match="expected one of"):
        make_strategy("genetic", space, 0)
    with pytest.raises(OptionError, match="empty"):
        make_strategy("bayesian", SearchSpace(space.layer, ()), 0)


def test_a_run_stops_at_its_trials_and_counts_the_first_ones(space: SearchSpace) -> None:
    scores = truth(space)
    found = drive(make_strategy("random", space, 0), scores, 7, 4, first=[5, 5, 9])
    assert list(found)[:2] == [5, 9]
    assert len(found) == 7


# ---------------------------------------------------------------- recorded evaluations


@pytest.fixture(scope="module")
def replay() -> ModuleType:
    path = Path(__file__).parents[3] / "benchmarks" / "search_replay.py"
    spec = importlib.util.spec_from_file_location("search_replay", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_the_recorded_tables_are_whole_spaces(replay: ModuleType) -> None:
    tables = replay.tables()
    assert len({name.split(" on ")[0] for name in tables}) >= 5
    assert len({name.split(" on ")[1] for name in tables}) >= 2
    for table in tables.values():
        assert len(set(table.space.variants)) == len(table.cycles) == len(table.estimates["fitted"]) >= 30
    assert replay.DATA.stat().st_size < 200_000


def test_the_default_beats_random_on_recorded_evaluations(replay: ModuleType) -> None:
    """At an equal budget, even without an estimate; `python benchmarks/search_replay.py` has all figures."""
    table = replay.tables()["conv5x5 on cortex-m4"]
    blind, random, informed = (
        float(np.median([table.regret(strategy, prior, seed, 16) for seed in range(5)]))
        for strategy, prior in (("gp", "none"), ("random", "none"), ("gp", "unfitted"))
    )
    assert informed <= 0.01
    assert blind < 0.2 * random
