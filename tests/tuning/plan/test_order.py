# SPDX-License-Identifier: Apache-2.0
"""The order of a graph: branches that leave less alive run first, and what comes out is the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import tuning
from cmsisnn_x import Network
from cmsisnn_x.arena import live_bytes, lives
from cmsisnn_x.graph import Graph
from cmsisnn_x.steps import Step
from helpers.int8 import GRAPHS, Builder
from tuning.model import graph_model
from tuning.plan.order import leanest_order


def shortcut() -> Graph:
    """A residual block whose projection comes last, as converters write it: its input waits for it all the while."""
    b = Builder()
    x = b.conv("stem", b.input("x", (16, 16, 4)), 16)
    y = b.conv("second", b.conv("first", x, 8, stride=2), 8)
    return b.graph(b.add("sum", y, b.conv("projection", x, 8, kernel=1, stride=2)))


def alive(graph: Graph) -> list[int]:
    found = list(lives(graph, [Step((node.layer,)) for node in graph.nodes]).values())
    return live_bytes(found, len(graph.nodes))


def test_a_projection_runs_before_what_it_is_added_to() -> None:
    graph = shortcut()
    other = leanest_order(graph)
    assert other is not None
    assert [node.name for node in graph.nodes] == ["stem", "first", "second", "projection", "sum"]
    assert [node.name for node in other.nodes] == ["stem", "first", "projection", "second", "sum"]
    assert sum(alive(other)) < sum(alive(graph))
    other.verify()
    assert leanest_order(other) is None


def test_another_order_is_no_other_network() -> None:
    graph = shortcut()
    other = leanest_order(graph)
    assert other is not None
    x = np.random.default_rng(1).integers(-128, 127, (5, 16, 16, 4), np.int8, endpoint=True)
    np.testing.assert_array_equal(Network(graph).run(x), Network(other).run(x))


def test_graphs_of_one_order_keep_it() -> None:
    assert leanest_order(GRAPHS["chain"]()) is None


def test_a_plan_that_is_short_of_sram_takes_the_order(tmp_path: Path) -> None:
    model = graph_model("net", shortcut(), "net.tflite")
    target = tuning.load_target("cortex-m4")
    free = tuning.tune(model, target)
    assert [item.layer.name for item in free.layers] == [layer.name for layer in model.layers]
    least = tuning.tune(model, target, objective="sram")
    assert least.totals["sram_bytes"] < free.totals["sram_bytes"]
    tuning.emit(least, tmp_path)
