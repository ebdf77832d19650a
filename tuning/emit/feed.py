# SPDX-License-Identifier: Apache-2.0
"""Firmware whose input comes row by row: what begins a run, takes rows, and gives the output."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from cmsisnn_x.graph import Graph, Tensor
from tuning.plan import Plan

from .arguments import element
from .names import feed_functions


@dataclass(frozen=True)
class Fetched:
    """An output: the function that says where it lies, the type of its elements, and that place in C."""

    function: str
    name: str
    element: str
    place: str


@dataclass(frozen=True)
class FeedText:
    """What takes rows.

    Attributes
    ----------
    start, feed : str
        The functions.
    element : str
        Of the input.
    rows, row : str
        The macros that count the rows, and the elements of one.
    state : str
        The structure that remembers how far a run is.
    links, first_rows : int, tuple of (int, int)
        Members of the chain that takes the rows, and those that begin with another row than 0; 0 where the input is
        collected as a whole at `whole`.
    some : str
        The function that goes on with that chain, and where its output goes.
    outputs : tuple of Fetched
    """

    start: str
    feed: str
    element: str
    rows: str
    row: str
    state: str
    links: int
    first_rows: tuple[tuple[int, int], ...]
    some: str
    to: str
    whole: str
    outputs: tuple[Fetched, ...]


def tensor_rows(tensor: Tensor) -> tuple[int, int]:
    """Rows of an input, and elements of each: along its first axis that is longer than 1.

    Examples
    --------
    >>> from cmsisnn_x.scheme import TENSOR_TYPES
    >>> tensor_rows(Tensor("x", (1, 96, 64, 3), TENSOR_TYPES["int8"]))
    (96, 192)
    """
    rows = next((size for size in tensor.shape if size > 1), 1)
    return rows, prod(tensor.shape) // rows


def feed_macros(plan: Plan, prefix: str) -> dict[str, int | str]:
    """The macros that count rows."""
    rows, row = input_rows(plan)
    found: dict[str, int | str] = {f"{prefix}_INPUT_ROWS": rows, f"{prefix}_INPUT_ROW_SIZE": row}
    if plan.fed_offset is not None:
        ring = plan.chains[0].rings[0]
        found |= {f"{prefix}_INPUT_RING_OFFSET": plan.fed_offset, f"{prefix}_INPUT_RING_ROWS": ring.rows if ring else 0}
    return found


def input_rows(plan: Plan) -> tuple[int, int]:
    """Rows of the network's input as they are fed, and elements of each."""
    chain = plan.chains.get(0)
    tensor = plan.inputs[0]
    if chain is None or not chain.feeds:
        return tensor_rows(tensor)
    rows = chain.links[0].windows.output_height
    return rows, prod(tensor.shape) // rows


def fetched(plan: Plan, graph: Graph, places: dict[str, str]) -> tuple[Fetched, ...]:
    """The outputs, by what tensor lies where."""
    functions = feed_functions(plan.model, len(graph.outputs))[2:]
    tensors = [graph.tensors[name] for name in graph.outputs]
    return tuple(
        Fetched(function, tensor.name, element(tensor.type), places[tensor.name])
        for function, tensor in zip(functions, tensors, strict=True)
    )
