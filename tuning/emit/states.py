# SPDX-License-Identifier: Apache-2.0
"""What a network remembers between runs: a static buffer for each state, and what brings it up to date."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import numpy as np

from cmsisnn_x.graph import Graph

from .arguments import element


@dataclass(frozen=True, eq=False)
class Held:
    """A state as C sees it.

    Attributes
    ----------
    name, element, size : str, str, int
        The buffer, the type of its elements, and how many there are.
    initial : str
        The array that it begins with; empty where all elements are `value`.
    value : int
    source : str
        Where a run leaves what the next one is to find.
    """

    name: str
    element: str
    size: int
    initial: str
    value: int
    source: str


def held_states(
    graph: Graph, names: dict[str, str], array: Callable[[str, str, np.ndarray], str], source: Callable[[str], str]
) -> tuple[Held, ...]:
    """The states of a network.

    Parameters
    ----------
    graph : Graph
    names : dict
        The buffer of every state, by the tensor that is read.
    array : callable
        ``array(name, comment, values)`` makes a constant array; its name.
    source : callable
        The expression for a tensor that a run leaves.
    """
    found = []
    for state in graph.states:
        tensor, name = graph.tensors[state.read], names[state.read]
        values = np.ascontiguousarray(state.initial, tensor.type.dtype).reshape(-1)
        is_plain = bool((values == values[0]).all())
        initial = "" if is_plain else array(f"{name}_initial", "what is remembered before the first run", values)
        own = element(tensor.type)
        found.append(Held(name, own, prod(tensor.shape), initial, int(values[0]), source(state.write)))
    return tuple(found)
