# SPDX-License-Identifier: Apache-2.0
"""The arena: nothing that is alive at the same time overlaps, and no byte more than the lower bound."""

from __future__ import annotations

from itertools import combinations
from math import prod

from hypothesis import given
from hypothesis import strategies as st

from cmsisnn_x.arena import ALIGNMENT, aligned, lower_bound, plan_arena
from cmsisnn_x.layers import Layer
from tuning.model import list_models, load_model


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


@given(networks())
def test_live_buffers_never_overlap_and_the_bound_is_met(case: tuple[list[Layer], list[int]]) -> None:
    layers, scratch = case
    arena = plan_arena(layers, scratch)
    last = len(layers) - 1
    assert arena.bytes == lower_bound(layers, scratch)
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
        layers = load_model(name).layers
        scratch = [1000 + 8 * i for i in range(len(layers))]
        assert plan_arena(layers, scratch).bytes == lower_bound(layers, scratch)


def test_relu_works_in_place_inside_the_arena_only() -> None:
    layers = [Layer(f"r{i}", "relu", "q7", (8,), (8,)) for i in range(4)]
    arena = plan_arena(layers, [0, 0, 0, 0])
    assert arena.bytes == 8
    assert arena.output_offsets == (0, 0, 0, None)
