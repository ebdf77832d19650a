# SPDX-License-Identifier: Apache-2.0
"""The order in which a graph takes the least memory: branches may run one before the other."""

from __future__ import annotations

from cmsisnn_x.graph import Graph, in_order

MOST_STATES = 4000
"""Sets of nodes that have run, at a time: a graph with more keeps its order."""


def leanest_order(graph: Graph) -> Graph | None:
    """The same graph in the order of least memory; None where that is its own, or there are too many to look at.

    Least is the sum over all nodes of the square of what is alive while they run: what weighs is where much is alive,
    and of orders with the same peak that with less beside it, where scratch finds room.
    """
    nodes = graph.nodes
    producer = {name: at for at, node in enumerate(nodes) for name in node.outputs}
    needs = [frozenset(producer[name] for name in node.inputs if name in producer) for node in nodes]
    kept = {*graph.outputs, *(state.write for state in graph.states)}
    readers = {name: frozenset(graph.index(node) for node in graph.readers(name)) for name in producer}
    sizes = {name: graph.tensors[name].bytes for name in producer if name not in graph.outputs}

    def alive(done: frozenset[int], at: int) -> int:
        """While node `at` runs behind `done`."""
        now = done | {at}
        held = (name for name in sizes if producer[name] in now)
        return sum(sizes[name] for name in held if readers[name] - done or producer[name] == at or name in kept)

    found: dict[frozenset[int], tuple[int, tuple[int, ...]]] = {frozenset(): (0, ())}
    for _ in nodes:
        after: dict[frozenset[int], tuple[int, tuple[int, ...]]] = {}
        for done, (cost, order) in found.items():
            for at in range(len(nodes)):
                if at in done or not needs[at] <= done:
                    continue
                one = cost + alive(done, at) ** 2, (*order, at)
                key = done | {at}
                if key not in after or one < after[key]:
                    after[key] = one
        if len(after) > MOST_STATES:
            return None
        found = after
    ((_, order),) = found.values()
    if order == tuple(range(len(nodes))):
        return None
    return in_order(graph, [nodes[at] for at in order])
