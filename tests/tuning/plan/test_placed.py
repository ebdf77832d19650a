# SPDX-License-Identifier: Apache-2.0
"""Choices for graphs with branches: by what is alive at once first, then by where it lies."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmsisnn_x.arena import lives, lower_bound
from cmsisnn_x.graph import Graph, Node, Tensor
from cmsisnn_x.layers import Layer
from cmsisnn_x.scheme import TENSOR_TYPES
from cmsisnn_x.steps import Step
from tuning.base.errors import InfeasibleError
from tuning.plan.planner import choose, choose_placed
from tuning.plan.problem import Choice, Options, Problem

ENDS = 8
"""Bytes of the network's own input and output."""

Q7 = TENSOR_TYPES["q7"]


TIGHT = (8, 4, 4, 4, 8)
"""Bytes of A to E with which, under 8 bytes of scratch at both ends, 16 are alive all the time; the smallest arena has
20.
"""
WIDE = (20, 8, 12, 12, 12)


def branching(sizes: Sequence[int]) -> Graph:
    """x -> n0 -> A, which n1 splits into B and C; n2: B -> D; n3: C, D -> E; n4: E -> y."""
    shapes = {"x": 4, **dict(zip("ABCDE", sizes, strict=True)), "y": 4}
    ends = [("x", "A"), ("A", "BC"), ("B", "D"), ("CD", "E"), ("E", "y")]
    nodes = []
    for at, (reads, writes) in enumerate(ends):
        layer = Layer(f"n{at}", "softmax", "q7", (shapes[reads[0]],), (shapes[writes[0]],))
        nodes.append(Node(layer.name, layer.op, tuple(reads), tuple(writes), layer))
    return Graph([Tensor(name, (size,), Q7) for name, size in shapes.items()], nodes, ("x",), ("y",))


def problem(sizes: Sequence[int], **rows: list[tuple[int, int, int]]) -> Problem:
    """`rows` of a node: (cycles, scratch, flash). The others have one row, with 8 bytes of scratch at both ends."""
    graph = branching(sizes)
    options = []
    for node in graph.nodes:
        own = rows.get(node.name, [(10, 8 if node.name in ("n0", "n4") else 0, 0)])
        cycles, scratch, flash = (np.array(column) for column in zip(*own, strict=True))
        kernels = tuple(f"{node.name}-{row}" for row in range(len(own)))
        options.append(Options(node.layer, cycles, scratch, flash, np.zeros(len(own), np.int64), kernels))
    return Problem(options, graph=graph)


def test_levels_are_lower_bounds_of_the_graph() -> None:
    found = problem(TIGHT)
    choice = choose(found, "latency", ENDS + 16)
    assert (choice.rows, choice.sram_bytes) == ((0, 0, 0, 0, 0), ENDS + 16)
    assert found.placed_bytes(choice) == ENDS + 20
    needed = lives(found.graph, [Step((node.layer,)) for node in found.graph.nodes], [8, 0, 0, 0, 8])
    assert lower_bound(list(needed.values())) == 16


def test_where_no_level_is_left_less_scratch_elsewhere_makes_room() -> None:
    found = problem(TIGHT, n4=[(10, 8, 0), (20, 4, 0)])
    assert choose_placed(found, "latency") == Choice((0, 0, 0, 0, 0), 50, ENDS + 20, 0)
    assert choose_placed(found, "latency", ENDS + 20) == Choice((0, 0, 0, 0, 0), 50, ENDS + 20, 0)
    for budget in (ENDS + 16, ENDS + 19):
        assert choose_placed(found, "latency", budget) == Choice((0, 0, 0, 0, 1), 60, ENDS + 16, 0)


def test_what_does_not_fit_as_placed_is_chosen_again_within_the_next_level() -> None:
    low, middle = [(10, 16, 0), (12, 12, 0), (30, 0, 0)], [(10, 12, 0), (12, 8, 0), (30, 0, 0)]
    found = problem(WIDE, n0=[(10, 12, 0)], n1=[(10, 4, 0)], n2=low, n3=middle, n4=[(10, 16, 0)])
    fastest = choose(found, "latency", ENDS + 48)
    assert (fastest.rows, fastest.sram_bytes) == ((0, 0, 0, 0, 0), ENDS + 48)
    assert found.placed_bytes(fastest) == ENDS + 52
    assert choose_placed(found, "latency", ENDS + 48) == Choice((0, 0, 1, 1, 0), 54, ENDS + 44, 0)
    assert choose_placed(found, "latency", ENDS + 52).rows == fastest.rows


def test_what_fits_in_no_way_that_was_tried_says_how_much_it_takes() -> None:
    found = problem(TIGHT)
    with pytest.raises(InfeasibleError, match="over by 8 bytes") as caught:
        choose_placed(found, "latency", ENDS + 8)
    assert caught.value.smallest == {"sram": ENDS + 16}  # by what is alive at once
    with pytest.raises(InfeasibleError, match=r"24 bytes are alive at once, and the smallest arena .* makes it 28"):
        choose_placed(found, "latency", ENDS + 16)


def test_less_scratch_must_fit_the_flash_too() -> None:
    found = problem(TIGHT, n4=[(10, 8, 0), (20, 4, 100)])
    assert choose_placed(found, "latency", ENDS + 16, 100).rows == (0, 0, 0, 0, 1)
    with pytest.raises(InfeasibleError, match="makes it 28"):
        choose_placed(found, "latency", ENDS + 16, 99)


ROWS = st.lists(st.tuples(st.integers(1, 9), st.integers(0, 20)), min_size=1, max_size=3)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([TIGHT, WIDE]), st.lists(ROWS, min_size=5, max_size=5), st.integers(0, 24))
def test_a_placed_choice_keeps_to_its_budget(
    sizes: tuple[int, ...], rows: list[list[tuple[int, int]]], more: int
) -> None:
    found = problem(sizes, **{f"n{at}": [(*row, 0) for row in options] for at, options in enumerate(rows)})
    budget = found.smallest_sram() + more
    every = [found.choice(picked) for picked in product(*(range(len(options)) for options in rows))]
    fits = [choice for choice in every if found.placed_bytes(choice) <= budget]
    try:
        choice = choose_placed(found, "latency", budget)
    except InfeasibleError:
        leanest = found.best(lambda item: item.scratch_bytes, budget)
        assert leanest not in fits
        return
    assert choice.sram_bytes == found.placed_bytes(choice) <= budget
    assert choice.cycles >= min(choice.cycles for choice in fits)
