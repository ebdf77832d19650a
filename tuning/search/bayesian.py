# SPDX-License-Identifier: Apache-2.0
"""scikit-optimize over a search space, with a surrogate that learns what the estimate gets wrong."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils import check_random_state
from skopt import Optimizer
from skopt.acquisition import gaussian_lcb
from skopt.learning import ExtraTreesRegressor, GaussianProcessRegressor
from skopt.learning.gaussian_process.kernels import ConstantKernel, Matern
from skopt.space import Integer, Space

from ..base.errors import OptionError
from .space import SearchSpace

SAMPLES = 300
"""Points that the acquisition function looks at: about the size of a layer's space."""


class Residual(RegressorMixin, BaseEstimator):
    """A surrogate of the logarithm of (score / prior), to which the prior is added back.

    Parameters
    ----------
    prior : dict
        Point (tuple of int) -> logarithm of the estimated score; points that are not in it have none.
    kind : {"gp", "forest"}
        A Gaussian process with a Matérn kernel, or extremely randomised trees.
    values : sequence of tuple
        The values of each dimension: those that are no numbers have no order, and become one column each.
    random_state : int
    """

    def __init__(
        self,
        prior: dict[tuple[int, ...], float] | None = None,
        kind: str = "gp",
        values: Sequence[tuple[Any, ...]] = (),
        random_state: int = 0,
    ) -> None:
        self.prior = prior
        self.kind = kind
        self.values = values
        self.random_state = random_state

    def _prior(self, points: np.ndarray) -> np.ndarray:
        known = self.prior or {}
        missing = max(known.values(), default=0.0)
        return np.array([known.get(tuple(int(value) for value in np.rint(point)), missing) for point in points])

    def _features(self, points: np.ndarray) -> np.ndarray:
        columns = []
        for at, values in enumerate(self.values):
            if all(isinstance(value, int | float) for value in values):
                columns.append(points[:, at, None] / max(len(values) - 1, 1))
            else:
                columns.append(np.rint(points[:, at, None]) == np.arange(len(values)))
        return np.hstack(columns).astype(float) if columns else points

    def fit(self, points: Any, scores: Any) -> Residual:
        points = np.asarray(points, float)
        if self.kind == "gp":
            self.model_ = GaussianProcessRegressor(
                kernel=ConstantKernel(0.05, (1e-4, 10.0)) * Matern(1.0, (0.1, 10.0), nu=2.5),
                alpha=1e-4,
                n_restarts_optimizer=1,
                random_state=self.random_state,
            )
        else:
            self.model_ = ExtraTreesRegressor(
                n_estimators=60, min_samples_leaf=1, random_state=self.random_state, min_variance=1e-6
            )
        self.model_.fit(self._features(points), np.asarray(scores, float) - self._prior(points))
        return self

    def predict(self, points: Any, return_std: bool = False) -> Any:
        points = np.asarray(points, float)
        if not return_std:
            return self.model_.predict(self._features(points)) + self._prior(points)
        mean, deviation = self.model_.predict(self._features(points), return_std=True)
        return mean + self._prior(points), deviation


class _Legal(Space):
    """A space that draws its samples from the legal points: with constraints that leave one point in fifty,
    rejection is slow.
    """

    def __init__(
        self, dimensions: Sequence[Integer], points: Sequence[tuple[int, ...]], constraint: Callable[[Any], bool]
    ) -> None:
        super().__init__(dimensions, constraint=constraint)
        self._points = points

    def rvs(self, n_samples: int = 1, random_state: Any = None) -> list[list[int]]:
        rng = check_random_state(random_state)
        return [list(self._points[at]) for at in rng.randint(len(self._points), size=n_samples)]


class Bayesian:
    """Ask/tell on :class:`skopt.Optimizer`.

    Points are positions in the values of each dimension; `space_constraint` leaves the points that some kernel has.
    The optimizer may propose what it has seen before, and NumPy integers: proposals are remembered and converted.
    The rest of a batch, and what takes the place of a repeated proposal, are the unseen points that its acquisition
    function likes best.
    """

    KAPPA = 1.0

    def __init__(
        self, space: SearchSpace, seed: int, prior: Sequence[float] | None = None, surrogate: str = "gp"
    ) -> None:
        if not len(space):
            raise OptionError(f"--strategy bayesian: the space of layer {space.layer.name!r} is empty")
        self.space = space
        self._values = list(space.dimensions.values())
        self._scores: dict[int, float] = {}
        self._untold: list[int] = []
        self._points = [self._position(index) for index in range(len(space))]
        self._index = {point: index for index, point in enumerate(self._points)}
        known = (
            None
            if prior is None
            else {point: math.log(max(value, 1.0)) for point, value in zip(self._points, prior, strict=True)}
        )
        self._order = (
            [int(i) for i in np.argsort(prior, kind="stable")] if prior is not None else list(range(len(space)))
        )
        self._optimizer: Optimizer | None = None
        if self._values:
            dimensions = [Integer(0, len(values) - 1, name=name) for name, values in space.dimensions.items()]
            self._optimizer = Optimizer(
                dimensions,
                base_estimator=Residual(known, surrogate, tuple(self._values), random_state=seed),
                n_initial_points=1,
                acq_func="LCB",
                acq_func_kwargs={"kappa": self.KAPPA},
                acq_optimizer="sampling",
                acq_optimizer_kwargs={"n_points": SAMPLES},
                random_state=seed,
                space_constraint=self._is_legal,
            )
            self._optimizer.space = _Legal(dimensions, self._points, self._is_legal)

    def _position(self, index: int) -> tuple[int, ...]:
        return tuple(values.index(value) for values, value in zip(self._values, self.space.point(index), strict=True))

    def _is_legal(self, point: Sequence[Any]) -> bool:
        return tuple(int(value) for value in point) in self._index

    def ask(self, count: int) -> list[int]:
        self._learn()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns when it proposes a point again; such points are dropped here
            proposal = self._optimizer.ask() if self._optimizer else ()
        first = self._index.get(tuple(int(value) for value in proposal))
        candidates = ([] if first is None else [first]) + self._ranked()
        return list(dict.fromkeys(index for index in candidates if index not in self._scores))[:count]

    def _ranked(self) -> list[int]:
        """Every index, the acquisition function's favourite first; before anything is known, the prior's."""
        if self._optimizer is None or not self._optimizer.models:
            return self._order
        values = gaussian_lcb(np.array(self._points, float), self._optimizer.models[-1], kappa=self.KAPPA)
        return [int(index) for index in np.argsort(values, kind="stable")]

    def tell(self, index: int, score: float) -> None:
        self._scores[index] = score
        self._untold.append(index)

    def _learn(self) -> None:
        """Hand the optimizer what was told since, all at once: it fits its surrogate every time."""
        if not self._untold or self._optimizer is None:
            return
        # A failure counts as twice the worst that worked: the forest needs a number.
        worst = max((score for score in self._scores.values() if math.isfinite(score)), default=1e12)
        values = [math.log(max(min(self._scores[index], 2 * worst), 1.0)) for index in self._untold]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._optimizer.tell([list(self._points[index]) for index in self._untold], values)
        self._untold.clear()
