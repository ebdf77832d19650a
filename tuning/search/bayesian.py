# SPDX-License-Identifier: Apache-2.0
"""scikit-optimize over a search space, with a surrogate that learns what the estimate gets wrong."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from skopt import Optimizer
from skopt.learning import ExtraTreesRegressor
from skopt.space import Integer, Space
from sklearn.base import BaseEstimator, RegressorMixin

from ..errors import OptionError
from ..space import SearchSpace

SAMPLES = 300
"""Points that the acquisition function looks at: about the size of a layer's space."""


class Residual(RegressorMixin, BaseEstimator):
    """A forest over the logarithm of (score / prior), to which the prior is added back.

    Parameters
    ----------
    prior : dict
        Point (tuple of int) -> logarithm of the estimated score; points that are not in it have none.
    random_state : int
    """

    def __init__(self, prior: dict[tuple[int, ...], float] | None = None, random_state: int = 0) -> None:
        self.prior = prior
        self.random_state = random_state

    def _prior(self, points: np.ndarray) -> np.ndarray:
        known = self.prior or {}
        missing = max(known.values(), default=0.0)
        return np.array([known.get(tuple(int(value) for value in np.rint(point)), missing) for point in points])

    def fit(self, points: Any, scores: Any) -> Residual:
        points = np.asarray(points, float)
        self.forest_ = ExtraTreesRegressor(n_estimators=60, min_samples_leaf=1, random_state=self.random_state, min_variance=1e-6)
        self.forest_.fit(points, np.asarray(scores, float) - self._prior(points))
        return self

    def predict(self, points: Any, return_std: bool = False) -> Any:
        points = np.asarray(points, float)
        if not return_std:
            return self.forest_.predict(points) + self._prior(points)
        mean, deviation = self.forest_.predict(points, return_std=True)
        return mean + self._prior(points), deviation


class Bayesian:
    """Ask/tell on :class:`skopt.Optimizer`.

    Points are positions in the values of each dimension; `space_constraint` leaves the points that some kernel has. The optimizer
    may propose what it has seen before, and NumPy integers: proposals are remembered and converted, and where it has nothing new the
    surrogate's best unseen variant takes its place.
    """

    def __init__(self, space: SearchSpace, seed: int, prior: Sequence[float] | None = None) -> None:
        if not len(space):
            raise OptionError(f"--strategy bayesian: the space of layer {space.layer.name!r} is empty")
        self.space = space
        self._values = list(space.dimensions.values())
        self._scores: dict[int, float] = {}
        self._points = [self._position(index) for index in range(len(space))]
        self._index = {point: index for index, point in enumerate(self._points)}
        known = None if prior is None else {point: math.log(max(value, 1.0)) for point, value in zip(self._points, prior, strict=True)}
        self._optimizer: Optimizer | None = None
        if self._values:
            dimensions = [Integer(0, len(values) - 1, name=name) for name, values in space.dimensions.items()]
            self._optimizer = Optimizer(
                Space(dimensions, constraint=self._is_legal),
                base_estimator=Residual(known, random_state=seed),
                n_initial_points=1,
                acq_func="LCB",
                acq_func_kwargs={"kappa": 1.0},
                acq_optimizer="sampling",
                acq_optimizer_kwargs={"n_points": SAMPLES},
                random_state=seed,
            )

    def _position(self, index: int) -> tuple[int, ...]:
        return tuple(values.index(value) for values, value in zip(self._values, self.space.point(index), strict=True))

    def _is_legal(self, point: Sequence[Any]) -> bool:
        return tuple(int(value) for value in point) in self._index

    def ask(self, count: int) -> list[int]:
        found: list[int] = []
        if self._optimizer is None:
            return [] if self._scores else [0]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns when it proposes a point again; such points are dropped here
            proposals = self._optimizer.ask(n_points=count, strategy="cl_min") if count > 1 else [self._optimizer.ask()]
        for point in proposals:
            index = self._index[tuple(int(value) for value in point)]
            if index not in self._scores and index not in found:
                found.append(index)
        for index in self._ranked():
            if len(found) >= count:
                break
            if index not in self._scores and index not in found:
                found.append(index)
        return found

    def _ranked(self) -> list[int]:
        """Every index, the surrogate's favourite first."""
        assert self._optimizer is not None
        if not self._optimizer.models:
            return list(range(len(self._points)))
        predicted = self._optimizer.models[-1].predict(np.array(self._points, float))
        return [int(index) for index in np.argsort(predicted, kind="stable")]

    def tell(self, index: int, score: float) -> None:
        finite = [value for value in self._scores.values() if math.isfinite(value)]
        self._scores[index] = score
        if self._optimizer is None:
            return
        # A failure counts as twice the worst that worked: the forest needs a number.
        value = score if math.isfinite(score) else 2 * max(finite, default=1e12)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._optimizer.tell(list(self._points[index]), math.log(max(value, 1.0)))
