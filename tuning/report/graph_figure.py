# SPDX-License-Identifier: Apache-2.0
"""The network as a drawing, where it is no chain: layers from top to bottom, tensors as lines beside each other."""

from __future__ import annotations

from collections.abc import Sequence

from cmsisnn_x.graph import Graph, Node
from tuning.plan import Plan

from .facts import Row
from .svg import SMALL, Canvas, fit, text_width

STEP, LANE = 26.0, 18.0
"""Pixels from one layer to the next, and between lines side by side."""


def is_chain(graph: Graph) -> bool:
    """Whether every layer takes one tensor, its predecessor's output, and nothing else leaves the network."""
    before = [*graph.inputs, *(node.outputs[0] for node in graph.nodes)]
    links = all(_reads(graph, node) == [name] for name, node in zip(before, graph.nodes, strict=False))
    return links and len(graph.inputs) == 1 and list(graph.outputs) == before[-1:] and not graph.states


def graph_figure(plan: Plan, rows: Sequence[Row], width: int) -> Canvas | None:
    """Layers in order of execution; None for chains, which the tables show."""
    graph = plan.graph
    if is_chain(graph):
        return None
    sources = [*graph.inputs, *(state.read for state in graph.states)]
    lanes, count = _lanes(graph, sources)
    first = len(sources)  # rows above the layers: what comes in
    at = {name: row for row, name in enumerate(sources)} | {
        node.outputs[0]: first + row for row, node in enumerate(graph.nodes)
    }
    left, height = 12.0, STEP * (first + len(graph.nodes)) + 8
    room = width - left - LANE * count
    joined = sum(len(_reads(graph, node)) > 1 for node in graph.nodes)
    canvas = Canvas(
        f"graph-{width}", width, height, "The network",
        f"{len(graph.nodes)} layers, {joined} of them with several inputs; {len(graph.inputs)} inputs and "
        f"{len(graph.outputs)} outputs of the network.",
    )  # fmt: skip

    def x(tensor: str) -> float:
        return left + LANE * lanes[tensor]

    def y(tensor: str) -> float:
        return STEP * at[tensor] + STEP / 2

    for tensor in at:
        for reader in graph.readers(tensor):
            to = reader.outputs[0]
            # Down its own lane, and over to the reader at the end.
            turn = y(to) - STEP * 0.6 if lanes[tensor] != lanes[to] else y(to)
            canvas.line(x(tensor), y(tensor), x(tensor), turn, "edge")
            if turn != y(to):
                canvas.line(x(tensor), turn, x(to), y(to), "edge")
    for name in sources:
        given = graph.tensors[name]
        about = f"{' x '.join(map(str, given.shape))} {given.type.name}"
        what = "input" if name in graph.inputs else "state"
        canvas.rect(x(name) - 4, y(name) - 4, 8, 8, "region scratch", f"{name}: {about}")
        label = name if name.startswith(what) else f"{what} {name}"
        canvas.text(left + LANE * count, y(name) + 4, fit(label, room, SMALL), "soft", size=SMALL)
    for start, chain in plan.chains.items():
        last = start + len(chain.own) - 1
        tip = f"{rows[start].name} to {rows[last].name}: a chain, a few rows at a time"
        canvas.line(4, STEP * (first + start) + 4, 4, STEP * (first + last + 1) - 4, "chain", tip)
    for node, row in zip(graph.nodes, rows, strict=True):
        name = node.outputs[0]
        tip = f"{row.name}: {row.op} {row.shape}, {row.cycles:,} cycles"
        tip += f", {row.band} row{'s' * (row.band > 1)} at a time" if row.band else ""
        canvas.circle(x(name), y(name), 5, "dot", tip)
        end = " · output" if name in graph.outputs else ""
        end += "".join(f" · next {state.read}" for state in graph.states if state.write == name)
        label = fit(f"{row.name}{end}", room, SMALL)
        canvas.text(left + LANE * count, y(name) + 4, label, "ink", size=SMALL)
        beside = text_width(label, SMALL) + 12
        about = f"{row.op} {row.shape}"
        if text_width(about, SMALL) <= room - beside:
            canvas.text(left + LANE * count + beside, y(name) + 4, about, "soft", size=SMALL)
    return canvas


def _reads(graph: Graph, node: Node) -> list[str]:
    """The inputs of a node that are no constants."""
    return [name for name in node.inputs if graph.tensors[name].value is None]


def _lanes(graph: Graph, sources: Sequence[str]) -> tuple[dict[str, int], int]:
    """A lane for every tensor, its own from where it is made to where it is read last; and how many there are."""
    last = {name: max((graph.index(node) for node in graph.readers(name)), default=-1) for name in graph.tensors}
    busy: dict[int, str] = {}
    found: dict[str, int] = {}
    for name in sources:
        found[name] = len(busy)
        busy[len(busy)] = name
    most = len(busy)
    for at, node in enumerate(graph.nodes):
        free = [lane for lane, name in busy.items() if last[name] <= at]
        mine = [found[name] for name in _reads(graph, node) if found.get(name) in free]
        for lane in free:
            del busy[lane]
        lane = min(mine) if mine else next(lane for lane in range(len(busy) + 1) if lane not in busy)
        found[node.outputs[0]] = lane
        busy[lane] = node.outputs[0]
        most = max(most, lane + 1)
    return found, most
