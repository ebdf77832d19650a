# SPDX-License-Identifier: Apache-2.0
"""What a strategy is, and the loop that drives one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from ..base.errors import OptionError
from ..base.options import STRATEGIES
from .space import SearchSpace


class Strategy(Protocol):
    """Proposes indices into a space and is told their scores (lower is better)."""

    def ask(self, count: int) -> list[int]:
        """Up to `count` indices that were never asked before; empty when there is nothing left to try."""
        ...

    def tell(self, index: int, score: float) -> None:
        """Report the score of an index, whoever proposed it."""
        ...


def make_strategy(
    name: str, space: SearchSpace, seed: int, prior: Sequence[float] | None = None, surrogate: str = "gp"
) -> Strategy:
    """The strategy called `name` over `space`.

    Parameters
    ----------
    name : {"exhaustive", "bayesian", "random"}
    space : SearchSpace
    seed : int
        The same seed gives the same proposals.
    prior : sequence of float, optional
        Estimated score of every variant. A strategy that learns fits what the estimate gets wrong.
    surrogate : {"gp", "forest"}
        What ``"bayesian"`` learns with: a Gaussian process, or extremely randomised trees.
    """
    if name == "exhaustive":
        from .exhaustive import Exhaustive

        return Exhaustive(space, prior)
    if name == "random":
        from .random_search import RandomSearch

        return RandomSearch(space, seed)
    if name == "bayesian":
        from .bayesian import Bayesian

        return Bayesian(space, seed, prior, surrogate)
    raise OptionError(f"--strategy: expected one of {', '.join(STRATEGIES)}, got {name!r}")


def run(
    strategy: Strategy,
    evaluate: Callable[[list[int]], Sequence[float]],
    trials: int,
    batch: int = 1,
    first: Sequence[int] = (),
) -> dict[int, float]:
    """Evaluate `first`, then what `strategy` proposes, up to `trials` in all.

    Returns
    -------
    dict
        Index -> score of everything evaluated, in order. A score of infinity is a failure.
    """
    scores: dict[int, float] = {}

    def consider(indices: Sequence[int]) -> None:
        for index, score in zip(indices, evaluate(list(indices)), strict=True):
            scores[index] = score
            strategy.tell(index, score)

    start = list(dict.fromkeys(first))[:trials]
    for at in range(0, len(start), batch):
        consider(start[at : at + batch])
    while len(scores) < trials:
        proposals = [index for index in strategy.ask(min(batch, trials - len(scores))) if index not in scores]
        if not proposals:
            break
        consider(proposals)
    return scores
