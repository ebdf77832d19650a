# SPDX-License-Identifier: Apache-2.0
"""The arena: nothing that is alive at the same time overlaps; chains take no byte more than the lower bound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations, permutations
from math import prod

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmsisnn_x.arena import (
    ALIGNMENT,
    EXACT,
    Arena,
    Life,
    Region,
    aligned,
    arrange,
    live_bytes,
    lives,
    lower_bound,
    place,
    plan_arena,
    size_of,
)  # fmt: skip
from cmsisnn_x.errors import CmsisnnError
from cmsisnn_x.graph import Graph, Node, Tensor
from cmsisnn_x.layers import Layer
from cmsisnn_x.scheme import TENSOR_TYPES
from cmsisnn_x.steps import Step, steps_of
from tuning.load import load_model
from tuning.model import list_models

# ---------------------------------------------------------------- chains

Q7 = TENSOR_TYPES["q7"]


@st.composite
def networks(draw: st.DrawFn) -> tuple[list[Layer], list[int]]:
    size = draw(st.integers(1, 60))
    layers = []
    for index in range(draw(st.integers(1, 9))):
        op = draw(st.sampled_from(["relu", "tanh", "softmax", "fully_connected"]))
        out = draw(st.integers(1, 60)) if op == "fully_connected" else size
        layers.append(Layer(f"l{index}", op, draw(st.just("q7")), (size,), (out,)))
        size = out
    return layers, [draw(st.integers(0, 50)) for _ in layers]


def of_chain(layers: Sequence[Layer], scratch: Sequence[int], fused: Sequence[bool] = ()) -> list[Life]:
    steps = steps_of(layers, fused)
    first = [list(layers).index(step.lead) for step in steps]
    return list(lives(Graph.chain(layers), steps, [scratch[at] for at in first]).values())


@given(networks())
def test_live_buffers_never_overlap_and_the_bound_is_met(case: tuple[list[Layer], list[int]]) -> None:
    layers, scratch = case
    arena = plan_arena(layers, scratch)
    last = len(layers) - 1
    assert arena.bytes == lower_bound(of_chain(layers, scratch))
    assert arena.input_offsets[0] is None
    assert arena.output_offsets[last] is None
    biggest = 0
    for index, layer in enumerate(layers):
        live = []
        if index:
            assert arena.input_offsets[index] == arena.output_offsets[index - 1]
            live.append((arena.input_offsets[index], prod(layer.input_shape)))
        in_place = layer.is_in_place and 0 < index < last
        if index < last:
            if in_place:
                assert arena.output_offsets[index] == arena.input_offsets[index]
            else:
                live.append((arena.output_offsets[index], prod(layer.output_shape)))
        assert (arena.scratch_offsets[index] is None) == (scratch[index] == 0)
        if scratch[index]:
            live.append((arena.scratch_offsets[index], scratch[index]))
        for offset, size in live:
            assert offset % ALIGNMENT == 0
            assert 0 <= offset <= offset + size <= arena.bytes
        for (a, a_size), (b, b_size) in combinations(live, 2):
            assert a + a_size <= b or b + b_size <= a
        biggest = max(biggest, sum(aligned(size) for _, size in live))
    assert arena.bytes == biggest  # no plan of any kind can be smaller


@given(networks())
def test_the_memory_map_tells_the_same_story(case: tuple[list[Layer], list[int]]) -> None:
    layers, scratch = case
    arena = plan_arena(layers, scratch)
    for a, b in combinations(arena.regions, 2):
        if a.first <= b.last and b.first <= a.last:
            assert a.offset + a.bytes <= b.offset or b.offset + b.bytes <= a.offset, (a, b)
    named = {region.name for region in arena.regions}
    assert {f"{layer.name}.scratch" for layer, need in zip(layers, scratch, strict=True) if need} <= named


def test_every_example_model_meets_its_lower_bound() -> None:
    for name in list_models():
        graph = load_model(name).graph
        steps = steps_of([node.layer for node in graph.nodes])
        scratch = [1000 + 8 * i for i in range(len(steps))]
        assert arrange(graph, steps, scratch).bytes == lower_bound(list(lives(graph, steps, scratch).values()))


def test_relu_works_in_place_inside_the_arena_only() -> None:
    layers = [Layer(f"r{i}", "relu", "q7", (8,), (8,)) for i in range(4)]
    arena = plan_arena(layers, [0, 0, 0, 0])
    assert arena.bytes == 8
    assert arena.output_offsets == (0, 0, 0, None)


# ---------------------------------------------------------------- chains, against the two-ended rule by itself


def two_ended(layers: Sequence[Layer], scratch: Sequence[int], fused: Sequence[bool]) -> Arena:
    """Of a chain, by the rule alone: tensors alternately at the two ends, the scratch behind the one at the bottom."""
    steps: list[tuple[Layer, int, int]] = []
    index = 0
    while index < len(layers):
        last = index + bool(fused and fused[index])
        steps.append((replace(layers[index], output_shape=layers[last].output_shape), index, last))
        index = last + 1
    needs = [scratch[first] for _, first, _ in steps]
    sizes = [0, *(aligned(layer.output_bytes) for layer, _, _ in steps[:-1]), 0]
    in_place = [layer.is_in_place and 0 < at < len(steps) - 1 for at, (layer, _, _) in enumerate(steps)]
    total = max(
        before + (0 if shared else after) + aligned(need)
        for before, after, shared, need in zip(sizes, sizes[1:], in_place, needs, strict=False)
    )
    offsets: list[int | None] = [None] * len(sizes)
    at_bottom = True
    for at in range(1, len(steps)):
        if in_place[at - 1]:
            offsets[at] = offsets[at - 1]
        else:
            offsets[at] = 0 if at_bottom else total - sizes[at]
            at_bottom = not at_bottom
    places: list[int | None] = []
    for at, need in enumerate(needs):
        ends = [sizes[i] for i in (at, at + 1) if offsets[i] == 0]
        places.append((ends[0] if ends else 0) if need else None)
    inputs: list[int | None] = [None] * len(layers)
    outputs, buffers = list(inputs), list(inputs)
    regions = []
    for at, (_, first, last) in enumerate(steps):
        inputs[first], buffers[first], outputs[last] = offsets[at], places[at], offsets[at + 1]
        if (place_ := places[at]) is not None:
            regions.append((at, place_, Region(f"{layers[first].name}.scratch", place_, needs[at], first, last)))
    since = 0
    for at in range(1, len(steps)):
        since = since if in_place[at - 1] else at - 1
        if not in_place[at] and (offset := offsets[at]) is not None:
            name, size = layers[steps[since][2]].name, steps[since][0].output_bytes
            regions.append((since, offset, Region(f"{name}.output", offset, size, steps[since][1], steps[at][2])))
    regions.sort(key=lambda item: item[:2])
    return Arena(total, tuple(inputs), tuple(outputs), tuple(buffers), tuple(region for *_, region in regions))


@st.composite
def fused_networks(draw: st.DrawFn) -> tuple[list[Layer], list[int], list[bool]]:
    """Chains in which some layers that are not element-wise run the next one too."""
    layers, scratch = draw(networks())
    fused: list[bool] = []
    for index, layer in enumerate(layers):
        can = index + 1 < len(layers) and not layer.is_in_place and not (fused and fused[-1])
        fused.append(can and draw(st.booleans()))
    return layers, scratch, fused


@settings(max_examples=300)
@given(fused_networks())
def test_a_chain_lies_where_the_two_ended_rule_puts_it(case: tuple[list[Layer], list[int], list[bool]]) -> None:
    expected = two_ended(*case)
    assert plan_arena(*case) == expected
    needed = of_chain(*case)
    assert size_of(needed, place(needed)) == lower_bound(needed) == expected.bytes
    assert place(needed, at_most=expected.bytes) == place(needed)
    if expected.bytes:
        with pytest.raises(CmsisnnError, match=f"expected at most {expected.bytes - 4} bytes, got {expected.bytes}"):
            place(needed, at_most=expected.bytes - 4)


# ---------------------------------------------------------------- graphs


@st.composite
def graphs(draw: st.DrawFn) -> tuple[Graph, list[Step], list[int]]:
    """Nodes that read one or two earlier tensors of the same size; the last one's output is the network's."""
    size = draw(st.integers(1, 40))
    tensors, nodes = [Tensor("input", (size,), Q7)], []
    for index in range(draw(st.integers(1, 9))):
        op = draw(st.sampled_from(["relu", "softmax", "multiply", "fully_connected"]))
        first = draw(st.sampled_from(tensors[-3:]))
        out = (draw(st.integers(1, 40)),) if op == "fully_connected" else first.shape
        more = (first.shape,) if op == "multiply" else ()
        layer = Layer(f"n{index}", op, "q7", first.shape, out, more_inputs=more)
        alike = [t.name for t in tensors if t.shape == first.shape]
        inputs = (first.name, draw(st.sampled_from(alike))) if op == "multiply" else (first.name,)
        nodes.append(Node(layer.name, op, inputs, (layer.name,), layer))
        tensors.append(Tensor(layer.name, out, Q7))
    graph = Graph(tensors, nodes, ("input",), (tensors[-1].name,))
    graph.verify()
    steps = [Step((node.layer,)) for node in nodes]
    return graph, steps, [draw(st.sampled_from([0, 0, 7, 24])) for _ in steps]


def assert_apart(needed: Sequence[Life], offsets: Sequence[int]) -> None:
    """What is alive at the same time lies apart, unless one lies inside the other."""

    def root(index: int) -> int:
        outer = needed[index].same_as
        return index if outer is None else root(outer)

    for (i, a), (j, b) in combinations(enumerate(needed), 2):
        if a.first <= b.last and b.first <= a.last and root(i) != root(j):
            assert offsets[i] + a.size <= offsets[j] or offsets[j] + b.size <= offsets[i], (a, b)
    for life, at in zip(needed, offsets, strict=True):
        assert at >= 0
        assert at % life.align == 0
        if life.same_as is not None:
            assert at == offsets[life.same_as] + life.inside


@settings(max_examples=200, deadline=None)
@given(graphs())
def test_graphs_are_placed_and_stay_at_or_above_the_bound(case: tuple[Graph, list[Step], list[int]]) -> None:
    graph, steps, scratch = case
    found = lives(graph, steps, scratch)
    needed = list(found.values())
    offsets = place(needed, tries=20)
    assert_apart(needed, offsets)
    assert size_of(needed, offsets) >= lower_bound(needed)
    at = dict(zip(found, offsets, strict=True))
    for index, node in enumerate(graph.nodes):
        own = at.get(node.outputs[0])
        assert (own is None) == (node.outputs[0] in graph.outputs)
        for name in node.inputs:
            still_read = any(graph.index(reader) > index for reader in graph.readers(name))
            if own is not None and own == at.get(name) and still_read:
                assert not node.layer.is_in_place, "what is read later is never overwritten"


@st.composite
def any_lives(draw: st.DrawFn, most: int) -> list[Life]:
    found: list[Life] = []
    for index in range(draw(st.integers(1, most))):
        first = draw(st.integers(0, 8))
        outer = draw(st.none() | st.integers(0, index - 1)) if index else None
        inside = 4 * draw(st.integers(0, 2)) if outer is not None else 0
        align = draw(st.sampled_from([4, 4, 8])) if outer is None else 4
        found.append(Life(draw(st.integers(1, 30)), first, first + draw(st.integers(0, 4)), align, outer, inside))
    return found


@settings(max_examples=150, deadline=None)
@given(any_lives(16), st.integers(0, 3))
def test_any_lives_are_placed_apart_and_the_same_seed_gives_the_same(needed: list[Life], seed: int) -> None:
    offsets = place(needed, tries=30, seed=seed)
    assert offsets == place(needed, tries=30, seed=seed)
    assert_apart(needed, offsets)
    size, bound = size_of(needed, offsets), lower_bound(needed)
    assert bound == max(live_bytes(needed, 13)) <= size
    assert place(needed, at_most=size, tries=30, seed=seed) == offsets
    with pytest.raises(CmsisnnError, match=f"arena: expected at most {size - 4} bytes"):
        place(needed, at_most=size - 4, tries=30, seed=seed)


@st.composite
def shrinking_lives(draw: st.DrawFn) -> list[Life]:
    """Some of one step of which a part is left, as of a chain that holds what it makes."""
    found = draw(any_lives(6))
    for _ in range(draw(st.integers(1, 3))):
        size, at = draw(st.integers(1, 40)), draw(st.integers(0, 8))
        left = Life(draw(st.integers(1, size)), at, at + draw(st.integers(1, 3)), same_as=len(found))
        found += [Life(size, at, at, shrinks=True), left]
    return found


@settings(max_examples=150, deadline=None)
@given(shrinking_lives())
def test_behind_its_step_a_life_that_shrinks_leaves_room(needed: list[Life]) -> None:
    offsets = place(needed, tries=30)
    assert_apart(needed, offsets)
    bound = lower_bound(needed)
    assert bound <= size_of(needed, offsets)
    # Never less than what lies apart, nor more than without shrinking.
    alone = [replace(life, same_as=None) for life in needed if not life.shrinks and life.inside == 0]
    assert bound <= lower_bound([replace(life, shrinks=False) for life in needed])
    assert all(bound >= aligned(life.size) for life in alone)


def test_what_is_left_of_a_life_is_all_that_is_in_the_way() -> None:
    """Twenty bytes, of which four stay, then sixteen more: in place of what is gone."""
    needed = [Life(20, 0, 0, shrinks=True), Life(4, 0, 2, same_as=0), Life(16, 1, 2)]
    offsets = place(needed)
    assert (lower_bound(needed), size_of(needed, offsets)) == (20, 20)
    assert offsets == [0, 0, 4]


@settings(max_examples=80, deadline=None)
@given(any_lives(6))
def test_a_few_lives_take_the_smallest_arena_there_is(needed: list[Life]) -> None:
    """Against all orders in which each lies as low as possible: some order of every problem gives its optimum."""
    apart = [replace(life, same_as=None, inside=0) for life in needed]

    def lowest(order: Sequence[int]) -> int:
        placed: dict[int, int] = {}
        for i in order:
            life, at = apart[i], 0
            beside = [j for j in placed if apart[j].first <= life.last and life.first <= apart[j].last]
            while any(at < placed[j] + aligned(apart[j].size) and placed[j] < at + aligned(life.size) for j in beside):
                at += life.align
            placed[i] = at
        return max(placed[i] + aligned(apart[i].size) for i in placed)

    best = min(map(lowest, permutations(range(len(apart)))))
    assert size_of(apart, place(apart)) == best >= lower_bound(apart)


def test_an_arena_above_the_bound_is_said_to_be() -> None:
    """Never more than 16 bytes are alive here, and yet they do not fit into 16: the smallest arena has 20."""
    needed = [
        Life(8, 0, 0), Life(8, 0, 1), Life(4, 1, 2), Life(4, 2, 2), Life(4, 1, 3), Life(4, 2, 3), Life(8, 3, 4),
        Life(8, 4, 4),
    ]  # fmt: skip
    assert len(needed) <= EXACT
    offsets = place(needed, at_most=20)
    assert (lower_bound(needed), size_of(needed, offsets)) == (16, 20)
    with pytest.raises(CmsisnnError, match="arena: expected at most 16 bytes, got 20 as placed"):
        place(needed, at_most=16)


def test_aliases_share_a_block_and_parts_lie_side_by_side() -> None:
    """A reshape (3 is 2), and a concatenation: its parts are written into their places in it."""
    needed = [Life(8, 0, 2, same_as=2), Life(12, 1, 2, same_as=2, inside=8), Life(20, 2, 3), Life(20, 3, 4, same_as=2)]
    needed.append(Life(16, 0, 4))
    offsets = place(needed)
    assert_apart(needed, offsets)
    assert offsets[1] - offsets[0] == 8
    assert offsets[2] == offsets[3] == offsets[0]
    assert size_of(needed, offsets) == lower_bound(needed) == 36


def test_aliases_in_a_circle_are_refused() -> None:
    with pytest.raises(CmsisnnError, match="expected same_as to end at another life"):
        place([Life(4, 0, 1, same_as=1), Life(4, 0, 1, same_as=0)])
    with pytest.raises(CmsisnnError, match="expected same_as to end at another life"):
        place([Life(4, 0, 1, same_as=7)])
    with pytest.raises(CmsisnnError, match="expected a multiple of its alignment"):
        place([Life(8, 0, 1), Life(4, 0, 1, same_as=0, inside=2)])


def test_a_residual_branch_is_alive_until_it_is_read() -> None:
    layer = {
        name: Layer(name, op, "q7", (16,), (16,)) for name, op in (("a", "softmax"), ("b", "relu"), ("c", "multiply"))
    }
    layer["c"] = replace(layer["c"], more_inputs=((16,),))
    last = Layer("d", "softmax", "q7", (16,), (16,))
    nodes = [
        Node("a", "softmax", ("x",), ("a",), layer["a"]),
        Node("b", "relu", ("a",), ("b",), layer["b"]),
        Node("c", "multiply", ("a", "b"), ("c",), layer["c"]),
        Node("d", "softmax", ("c",), ("d",), last),
    ]
    graph = Graph([Tensor(name, (16,), Q7) for name in "xabcd"], nodes, ("x",), ("d",))
    graph.verify()
    found = lives(graph, [Step((node.layer,)) for node in nodes])
    assert {name: (life.first, life.last, life.same_as) for name, life in found.items()} == {
        "a": (0, 2, None),
        "b": (1, 2, None),  # a is read again: nothing overwrites it
        "c": (2, 3, 0),  # the last to read a writes where a lay
    }
    assert size_of(list(found.values()), place(list(found.values()))) == 32
