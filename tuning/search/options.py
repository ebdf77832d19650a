# SPDX-License-Identifier: Apache-2.0
"""A network's layers, with the variants of each, as the planner weighs them against each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from cmsisnn_x.chain import Chain
from cmsisnn_x.graph import Graph

from ..cost import Estimates
from ..plan.problem import Options, Problem
from .space import Place


def network_options(place: Place, table: Estimates) -> Options:
    """A layer's variants as the planner weighs them against those of other layers."""
    steps = [place.step(variant) for variant in table.variants]
    kernels = tuple(map(place.kernel_of, steps))
    fused = np.array([step.pool is not None for step in steps])
    in_place = np.array([step.in_place for step in steps])
    sizes = (table.scratch_bytes, table.weights_bytes, table.code_bytes)
    return Options(place.layer, table.cycles, *sizes, kernels, fused, in_place)


def network_problem(
    graph: Graph,
    where: Sequence[Place],
    tables: Sequence[Estimates],
    chains: Mapping[int, Chain] | None = None,
    given: Mapping[int, Options] | None = None,
    *,
    fed: bool = False,
    other: int = 0,
) -> Problem:
    """The knapsack of a network; `given` has options that are known, by the index of their layer, and `other` bytes of
    flash are no layer's.
    """
    known, layers = given or {}, enumerate(zip(where, tables, strict=True))
    options = [known.get(at) or network_options(place, table) for at, (place, table) in layers]
    return Problem(options, other, graph, chains, fed=fed)
