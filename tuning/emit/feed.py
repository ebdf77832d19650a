# SPDX-License-Identifier: Apache-2.0
"""Firmware whose inputs come row by row: what begins a run, takes rows of each input, and gives the outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

from cmsisnn_x.graph import Tensor
from tuning.plan import Plan

from .arguments import Call, element
from .assertions import input_sides
from .chains import ChainText
from .names import Names, feed_functions, numbered


@dataclass(frozen=True)
class Fetched:
    """An output: the function that says where it lies, the type of its elements, and that place in C."""

    function: str
    name: str
    element: str
    place: str


@dataclass(frozen=True)
class FedInput:
    """An input that comes row by row.

    Attributes
    ----------
    index : int
        Of the input.
    name, element : str
        As the network's function calls it, and the type of its elements.
    feed, taken, take : str
        The functions that take rows, say how many were taken, and put rows where they belong; an input that is the only
        one takes all of them.
    rows, row : str
        The macros that count its rows, and the elements of one.
    place : str
        Where they lie in C.
    ring : str
        The macro that counts the rows that there is room for; empty where all lie there.
    link, stage : int
        Of the chain that takes the rows, and the stage of a run in which it runs.
    order : str
        When rows are taken, in words.
    """

    index: int
    name: str
    element: str
    feed: str
    taken: str
    take: str
    rows: str
    row: str
    place: str
    ring: str
    link: int
    stage: int
    order: str


@dataclass(frozen=True)
class Stage:
    """A part of a run that goes on without further rows: what it waits for, as C, `chain`, the layer whose chain takes
    the rows, or None, the calls behind that, and the function that begins the chain of the next stage.
    """

    waits: str
    chain: int | None
    calls: tuple[Call, ...]
    begins: str = ""


@dataclass(frozen=True)
class FeedText:
    """What takes rows.

    Attributes
    ----------
    start, go : str
        The functions that begin a run, and that go on with it as far as it goes.
    state : str
        The structure that remembers how far a run is.
    links : int
        The most members of a chain that takes rows; 0 where there is none.
    inputs, stages, outputs
    stage_of : mapping
        Chain that takes rows, by the index of its first layer, to its stage.
    """

    start: str
    go: str
    state: str
    links: int
    inputs: tuple[FedInput, ...]
    stages: tuple[Stage, ...]
    outputs: tuple[Fetched, ...]
    stage_of: Mapping[int, int]

    @property
    def has_rings(self) -> bool:
        """Whether some input is never whole."""
        return any(own.ring for own in self.inputs)


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


def feed_prefixes(plan: Plan) -> list[str]:
    """The prefix of the macros of each input."""
    return [f"{plan.model}_{name}".upper() for name in numbered("input", len(plan.inputs))]


def feed_macros(plan: Plan) -> dict[str, int | str]:
    """The macros that count rows."""
    found: dict[str, int | str] = {}
    links = {name: (chain, at) for chain in plan.chains.values() for at, name in enumerate(chain.fed)}
    for prefix, tensor, offset in zip(feed_prefixes(plan), plan.inputs, plan.fed_offsets, strict=True):
        rows, row = tensor_rows(tensor)
        if tensor.name in links:
            chain, at = links[tensor.name]
            rows = chain.links[at].windows.output_height
            row = prod(tensor.shape) // rows
        found |= {f"{prefix}_ROWS": rows, f"{prefix}_ROW_SIZE": row}
        if offset is not None and tensor.name in links:
            ring = chain.rings[at]
            found |= {f"{prefix}_RING_OFFSET": offset, f"{prefix}_RING_ROWS": ring.rows if ring else 0}
    return found


def feed_text(
    plan: Plan,
    names: Names,
    state: str,
    chains: Mapping[int, ChainText],
    calls: Sequence[Call],
    place: Callable[..., str],
    source: Callable[[str], str],
) -> FeedText:
    """What takes the rows of a plan whose inputs come so.

    Parameters
    ----------
    plan : Plan
    names : Names
    state : str
    chains : mapping
        By the index of the first layer.
    calls : sequence of Call
        Of the steps.
    place : callable
        ``place(tensor, macro)``: the memory of a tensor at the offset that a macro says.
    source : callable
        Where a tensor lies when all layers have run.
    """
    graph, name = plan.graph, plan.model
    start, *functions = feed_functions(name, len(plan.inputs), len(graph.outputs))
    count = len(plan.inputs)
    feeds, taken, outputs = functions[:count], functions[count : len(functions) - len(graph.outputs)], graph.outputs
    prefixes, stages = feed_prefixes(plan), _stages(plan, state, chains, calls)
    stage_of = {stage.chain: at for at, stage in enumerate(stages) if stage.chain is not None}
    links = {
        fed: (at, stage_of[first]) for first, chain in plan.chains.items() for at, fed in enumerate(chain.fed)
    }  # fmt: skip
    inputs = []
    for at, (tensor, prefix, own) in enumerate(zip(plan.inputs, prefixes, numbered("input", count), strict=True)):
        link, stage = links.get(tensor.name, (0, 0))
        by_rows = tensor.name in links
        where = f"{prefix}_RING_OFFSET" if by_rows else whole_offset(plan, tensor.name)
        inputs.append(
            FedInput(
                at, own, element(tensor.type), feeds[at], taken[at] if taken else "", names.new(f"{name}_take_{own}"),
                f"{prefix}_ROWS", f"{prefix}_ROW_SIZE", place(tensor.name, where),
                f"{prefix}_RING_ROWS" if by_rows else "", link, stage, "",
            )
        )  # fmt: skip
    fetched = tuple(
        Fetched(function, tensor, element(graph.tensors[tensor].type), source(tensor))
        for function, tensor in zip(functions[-len(outputs) :], outputs, strict=True)
    )
    most = max((len(plan.chains[first].links) for first in stage_of), default=0)
    ordered = tuple(_in_words(plan, inputs))
    return FeedText(start, names.new(f"{name}_go"), state, most, ordered, tuple(stages), fetched, stage_of)


def whole_offset(plan: Plan, tensor: str) -> str:
    """The macro of the place of an input that lies there as a whole: that of a layer which reads it."""
    node = plan.graph.readers(tensor)[0]
    side = input_sides(node)[node.inputs.index(tensor)]
    return f"{plan.model}_{node.name}".upper() + f"_{side}_OFFSET"


def _stages(plan: Plan, state: str, chains: Mapping[int, ChainText], calls: Sequence[Call]) -> list[Stage]:
    """A run as far as it goes without further rows, part by part."""
    whole = {name for name, offset in zip(plan.graph.inputs, plan.fed_offsets, strict=True) if offset is None}
    numbers, prefixes = {name: at for at, name in enumerate(plan.graph.inputs)}, feed_prefixes(plan)
    found: list[Stage] = []
    own: list[Call] = []
    first: int | None = None
    there: set[str] = set()
    waits, at = "", 0

    def end(begins: str = "") -> None:
        if waits or first is not None or own:
            found.append(Stage(waits, first, tuple(own), begins))

    for step, call in zip(plan.steps, calls, strict=True):
        nodes = plan.graph.nodes[at : at + len(step.layers)]
        missing = {name for node in nodes for name in node.inputs} & whole - there
        if step.chain is not None and step.chain.fed:
            end(chains[at].begin)
            waits, first, own = f"{chains[at].some}({chains[at].some_arguments})", at, []
        else:
            if missing:
                end()
                terms = [
                    f"{state}.taken[{numbers[name]}] == {prefixes[numbers[name]]}_ROWS"
                    for name in sorted(missing, key=lambda name: numbers[name])
                ]
                waits, first, own = " && ".join(terms), None, []
                there |= missing
            own.append(call)
        at += len(step.layers)
    end()
    return found


def _in_words(plan: Plan, inputs: Sequence[FedInput]) -> list[FedInput]:
    """The inputs, with when their rows are taken."""
    found = []
    for own in inputs:
        beside = [one.name for one in inputs if one.ring and own.ring and one.stage == own.stage and one is not own]
        before = [one.name for one in inputs if one.ring and own.ring and one.stage < own.stage]
        if not own.ring:
            order = "at any time, all of them"
        else:
            parts = [f"as rows of {' and '.join(beside)} come"] if beside else []
            parts += [f"after all that are needed of {' and '.join(before)}"] if before else []
            order = ", ".join(parts) or "at any time"
            order += f"; {own.ring} of them have room at a time"
        found.append(replace(own, order=order))
    return found
