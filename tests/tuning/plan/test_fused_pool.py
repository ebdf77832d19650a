# SPDX-License-Identifier: Apache-2.0
"""Pooling fused into the convolution before it, as the search, the estimate and the planner see it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations, product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tuning
from cmsisnn_x import Variant, scratch_bytes
from cmsisnn_x.arena import aligned, lives, lower_bound, plan_arena
from cmsisnn_x.errors import VariantError
from cmsisnn_x.graph import Graph
from cmsisnn_x.layers import Layer
from cmsisnn_x.steps import Step, steps_of
from helpers.layers import make_layer
from helpers.networks import conv, dense, pool
from helpers.plans import chain
from tuning.base.cflags import CFLAGS
from tuning.base.errors import InfeasibleError, ModelError
from tuning.cost import estimate, estimate_space
from tuning.cost.fused import band_work
from tuning.measure.bench import Bench
from tuning.plan.planner import choose
from tuning.plan.problem import Options, Problem
from tuning.search.space import places, search_space

# ---------------------------------------------------------------- the planner against brute force


@st.composite
def networks(draw: st.DrawFn) -> list[Options]:
    """Convolutions, some with a pooling behind them that some of their rows take in, and layers that share kernels."""
    options: list[Options] = []
    for index in range(draw(st.integers(1, 3))):
        has_pool = draw(st.booleans())
        channels, between, after = (8 * draw(st.integers(1, 4)) for _ in range(3))
        size = options[-1].layer.output_shape if options else (channels,)
        op = "conv2d" if has_pool else "softmax"
        layer = Layer(f"l{index}", op, "q7", size, (between,) if has_pool else (after,))
        count = draw(st.integers(1, 4))
        column = st.lists(st.integers(0, 40), min_size=count, max_size=count)
        shared = draw(st.booleans())
        kernels = tuple(f"shared{row}" if shared else f"{index}-{row}" for row in range(count))
        code = np.array([3 * (row + 1) for row in range(count)]) if shared else np.array(draw(column))
        figures = (np.array(draw(column)) + 1, 4 * np.array(draw(column)), np.array(draw(column)), code)
        fused = np.array(draw(st.lists(st.booleans(), min_size=count, max_size=count))) & has_pool
        kernels = tuple(
            f"{index}-fused{row}" if own else name for row, (name, own) in enumerate(zip(kernels, fused, strict=True))
        )
        options.append(Options(layer, *figures, kernels, fused))
        if has_pool:
            behind = Layer(f"p{index}", "max_pool2d", "q7", (between,), (after,))
            one = [np.array([draw(st.integers(0, 40))]) for _ in range(4)]
            options.append(Options(behind, *one, (f"pool{index}",)))
    return options


def price(options: Sequence[Options], rows: Sequence[int]) -> tuple[int, int, int]:
    """Cycles, SRAM and flash of a row per layer, from the definitions; a pooling that is taken in costs nothing."""
    fused = [bool(item.fused is not None and item.fused[row]) for item, row in zip(options, rows, strict=True)]
    layers = [item.layer for item in options]
    scratch = [int(item.scratch_bytes[row]) for item, row in zip(options, rows, strict=True)]
    runs = [i for i in range(len(options)) if not (i and fused[i - 1])]
    code = {options[i].kernels[rows[i]]: int(options[i].code_bytes[rows[i]]) for i in runs}
    flash = sum(code.values()) + sum(int(options[i].weights_bytes[rows[i]]) for i in runs)
    ends = layers[0].input_bytes + layers[-1].output_bytes
    cycles = sum(int(options[i].cycles[rows[i]]) for i in runs)
    return cycles, ends + plan_arena(layers, scratch, fused).bytes, flash


@settings(max_examples=75, deadline=None)
@given(networks(), st.sampled_from(["latency", "sram", "flash"]), st.integers(0, 100), st.integers(0, 100))
def test_every_objective_is_optimal_over_all_ways_to_fuse(
    options: list[Options], objective: str, sram_at: int, flash_at: int
) -> None:
    problem = Problem(options)
    found = [price(options, rows) for rows in product(*(range(len(item)) for item in options))]
    srams, flashes = sorted({c[1] for c in found}), sorted({c[2] for c in found})
    sram = srams[0] - 1 + (srams[-1] - srams[0] + 2) * sram_at // 100
    flash = flashes[0] - 1 + (flashes[-1] - flashes[0] + 2) * flash_at // 100
    feasible = [c for c in found if c[1] <= sram and c[2] <= flash]
    if not feasible:
        with pytest.raises(InfeasibleError):
            choose(problem, objective, sram, flash)
        return
    choice = choose(problem, objective, sram, flash)
    assert len(choice.rows) == len(options)
    assert (choice.cycles, choice.sram_bytes, choice.flash_bytes) == price(options, choice.rows)
    assert choice == problem.choice_of_layers(choice.rows)
    assert choice.sram_bytes == problem.placed_bytes(choice)
    column = {"latency": 0, "sram": 1, "flash": 2}[objective]
    best = min(c[column] for c in feasible)
    assert price(options, choice.rows)[column] == best
    assert choice.cycles == min(c[0] for c in feasible if c[column] == best)


@settings(max_examples=60, deadline=None)
@given(networks())
def test_the_product_is_least_over_all_ways_to_fuse(options: list[Options]) -> None:
    best = min(np.prod(price(options, rows), dtype=float) for rows in product(*(range(len(o)) for o in options)))
    choice = choose(Problem(options), "balanced")
    assert float(choice.cycles) * choice.sram_bytes * choice.flash_bytes == pytest.approx(best)


def test_a_fused_layer_needs_a_single_row_behind_it() -> None:
    layer = Layer("c", "conv2d", "q7", (4,), (4,))
    two = np.array([1, 2])
    with pytest.raises(ValueError, match="p: expected a single row, got 2"):
        Problem(
            [
                Options(layer, two, two, two, two, ("a", "b"), np.array([False, True])),
                Options(replace(layer, name="p"), two, two, two, two, ("c", "d")),
            ]
        )


# ---------------------------------------------------------------- the arena


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 60), st.integers(1, 60), st.integers(0, 50)), min_size=1))
def test_no_place_for_the_tensor_inside_a_pair(drawn: list[tuple[bool, int, int, int]]) -> None:
    layers: list[Layer] = []
    scratch, fused = [], []
    size = 13
    for is_pair, out, after, need in drawn:
        layers.append(Layer(f"l{len(layers)}", "softmax", "q7", (size,), (out,)))
        scratch.append(need)
        fused.append(is_pair)
        size = out
        if is_pair:
            layers.append(Layer(f"l{len(layers)}", "softmax", "q7", (out,), (after,)))
            scratch.append(999)
            fused.append(False)
            size = after
    arena = plan_arena(layers, scratch, fused)
    steps = steps_of(layers, fused)
    needs = [need for need, taken_in in zip(scratch, [False, *fused], strict=False) if not taken_in]
    assert arena.bytes == lower_bound(list(lives(Graph.chain(layers), steps, needs).values()))
    biggest = 0
    for index, layer in enumerate(layers):
        if index and fused[index - 1]:
            assert arena.input_offsets[index] is arena.scratch_offsets[index] is None
            continue
        last = index + fused[index]
        if fused[index]:
            assert arena.output_offsets[index] is None
        live = [
            (arena.input_offsets[index], layer.input_bytes if index else 0),
            (arena.scratch_offsets[index], scratch[index]),
            (arena.output_offsets[last], layers[last].output_bytes if last < len(layers) - 1 else 0),
        ]
        for at, bytes_ in live:
            assert (at is None) == (bytes_ == 0)
        placed = [(at, bytes_) for at, bytes_ in live if at is not None]
        for (a, a_size), (b, b_size) in combinations(placed, 2):
            assert a + a_size <= b or b + b_size <= a
        assert all(at % 4 == 0 and at + bytes_ <= arena.bytes for at, bytes_ in placed)
        biggest = max(biggest, sum(aligned(bytes_) for _, bytes_ in placed))
    assert arena.bytes == biggest
    for a, b in combinations(arena.regions, 2):
        if a.first <= b.last and b.first <= a.last:
            assert a.offset + a.bytes <= b.offset or b.offset + b.bytes <= a.offset, (a, b)
    never = {f"{layer.name}.output" for layer, own in zip(layers, fused, strict=True) if own}
    assert not never & {region.name for region in arena.regions}


# ---------------------------------------------------------------- scratch: the band


@settings(deadline=None)
@given(
    st.integers(1, 30), st.integers(1, 7), st.integers(1, 6), st.integers(0, 6), st.booleans(),
    st.sampled_from([(1, "line_buffer"), (2, "winograd"), (4, "winograd")]),
)  # fmt: skip
def test_the_band_holds_what_the_walk_needs(
    size: int, kernel: int, stride: int, padding: int, ceil_mode: bool, how: tuple[int, str]
) -> None:
    """The walk of convolve_band.h, line by line, against the closed form; large images need all of it."""
    tile, lowering = how
    padding = min(padding, kernel - 1)
    if size + 2 * padding < kernel:
        return
    shape = (size, size, 2)
    layer = make_layer("conv2d", shape, out_channels=3, kernel=3, padding=1, out_shift=8)
    after = make_layer(
        "max_pool2d", layer.output_shape, kernel=kernel, stride=stride, padding=padding, ceil_mode=ceil_mode
    )
    count = after.output_shape[0]
    variant = Variant(4, 2, 4, 4, lowering, "widened", tile=tile if lowering == "winograd" else 1, fused_pool=True)
    alone = replace(variant, fused_pool=False)
    pair = Step.of(layer, variant, after)
    band = (pair.scratch_bytes - Step.of(layer, alone).scratch_bytes) // (size * 3)
    most, first, windows, steps = 0, 0, 0, 0
    for start in range(0, size, tile):
        needed = max(windows * stride - padding, 0) if windows < count else size + tile
        if start + tile <= needed:
            continue
        if start >= needed - needed % tile and first < needed:
            first = min(needed, start)
        done = min(start + tile, size)
        steps += 1
        most = max(most, done - first)
        while windows < count and min(windows * stride - padding + kernel, size) <= done:
            windows += 1
        if windows < count:
            low = max(windows * stride - padding, 0)
            first = low if low < done else low - low % tile
    assert windows == count
    assert most <= band <= size
    assert band_work(pair)[0] == steps
    if size >= 3 * (kernel + stride * tile):
        assert most == band


def test_scratch_of_a_fused_variant_needs_to_know_the_pooling() -> None:
    with pytest.raises(
        VariantError, match=r"variant\.fused_pool: expected a convolution with a pooling layer behind it"
    ):
        scratch_bytes("convolve", "q7", input_shape=(8, 8, 2), out_channels=4, variant=Variant(fused_pool=True))


# ---------------------------------------------------------------- the space


def test_only_a_convolution_with_a_pooling_right_behind_it_has_fused_variants() -> None:
    layers = chain(
        (12, 12, 3), "q7", conv(8, 3, pad=1), {"op": "relu"}, pool("max", 2), conv(8, 3), pool("avg", 2), dense(4)
    )
    target = tuning.load_target("cortex-m4")
    where = places(Graph.chain(layers), target.features)
    fused = [any(v.fused_pool for v in search_space(place.layer, target, place.follower)) for place in where]
    assert fused == [False, False, False, True, False, False]


def test_a_pooling_whose_kernel_runs_twice_stays_apart() -> None:
    twice = chain((8, 8, 4), "q7", *[conv(4, 3, pad=1), pool("max", 3, pad=1)] * 2, conv(4, 3), pool("max", 2))
    where = places(Graph.chain(twice), tuning.load_target("cortex-m4").features)
    assert [place.follower is not None for place in where] == [False] * 4 + [True, False]


def test_the_model_file_can_ask_for_it_and_refuse_it() -> None:
    model, target = tuning.load_model("cifar10"), tuning.load_target("cortex-m4")

    def with_pin(value: bool, at: int = 0) -> tuning.Model:
        layers = [
            replace(layer, variant={"fused_pool": value} if i == at else {}) for i, layer in enumerate(model.layers)
        ]
        return replace(model, layers=tuple(layers))

    asked = tuning.tune(with_pin(True), target)
    assert asked.layers[0].variant.fused_pool
    assert asked.layers[1].fused_into == "conv1"
    assert tuning.tune(with_pin(False), target, objective="sram").layers[0].variant.fused_pool is False
    dense_at = next(i for i, layer in enumerate(model.layers) if layer.op == "fully_connected")
    with pytest.raises(ModelError, match=r"variant\.fused_pool: no kernel of fully_connected"):
        tuning.tune(with_pin(True, dense_at), target)


# ---------------------------------------------------------------- the plan


@pytest.mark.parametrize("core", ["cortex-m4", "cortex-m33"])
def test_a_fused_plan_adds_up(core: str) -> None:
    model, target = tuning.load_model("cifar10"), tuning.load_target(core)
    free, small = tuning.tune(model, target), tuning.tune(model, target, sram_bytes=26_634)
    assert small.totals["sram_bytes"] < 0.65 * free.totals["sram_bytes"]
    conv1, pool1 = small.layers[:2]
    assert (conv1.variant.fused_pool, pool1.fused_into) == (True, "conv1")
    assert conv1.output_offset is pool1.input_offset is pool1.scratch_offset is None
    assert (pool1.cycles, pool1.flash_bytes, pool1.scratch_bytes, sum(pool1.terms.values())) == (0, 0, 0, 0)
    assert sum(conv1.terms.values()) == conv1.cycles
    assert small.totals["cycles"] == sum(item.cycles for item in small.layers)
    assert small.totals["flash_bytes"] == sum(item.flash_bytes for item in small.layers)
    assert small.baseline_cycles == free.baseline_cycles
    assert not {"conv1.output"} & {region.name for region in small.regions}
    written = small.to_dict()
    assert written["layers"][0]["variant"]["fused_pool"] is True
    assert [item["fused_into"] for item in written["layers"][:2]] == [None, "conv1"]
    runner_up = small.layers[0].runner_up
    assert runner_up["cycles"] > 0.5 * min(free.layers[0].cycles, small.layers[0].cycles)


# ---------------------------------------------------------------- the estimate


def pair(dtype: str = "q7") -> tuple[Layer, Layer]:
    return chain((17, 17, 8), dtype, conv(16, 3, pad=1, out_shift=9), pool("max", 3, stride=2))


@pytest.mark.parametrize("core", ["cortex-m0plus", "cortex-m3", "cortex-m4", "cortex-m7", "cortex-m33"])
def test_the_estimate_is_that_of_both_and_a_little(core: str) -> None:
    (layer, behind), target = pair(), tuning.load_target(core)
    fused = [v for v in search_space(layer, target, behind) if v.fused_pool]
    table = estimate_space(layer, fused, target, behind)
    after = estimate(behind, None, target)
    for row, variant in enumerate(fused):
        alone = estimate(layer, replace(variant, fused_pool=False), target)
        # 17 columns are four blocks of four and one more: an im2col buffer ends with every row of the band.
        most = 1.2 if variant.lowering == "im2col" else 1.06
        assert 1 <= table.cycles[row] / (alone.cycles + after.cycles) < most
        assert table[row] == estimate(layer, variant, target, behind)
        assert table[row].flash_bytes > alone.flash_bytes


@pytest.mark.emulated
@pytest.mark.parametrize("core", ["cortex-m0plus", "cortex-m3", "cortex-m4", "cortex-m7"])
def test_the_pair_emulates_close_to_its_parts(core: str) -> None:
    """What the estimate says of fusing alone: within 10 % of emulation, kernels' own errors apart."""
    (layer, behind), target = pair(), tuning.load_target(core)
    bench = Bench(target, CFLAGS)
    able = [v for v in search_space(layer, target, behind) if v.fused_pool]
    chosen = [v for v in able if v.inner != "c"][:1] or able[:1]
    (apart,) = bench.measure([Step((behind,))])
    for variant in chosen:
        unfused = replace(variant, fused_pool=False)
        fused, alone = bench.measure([Step.of(layer, own, behind) for own in (variant, unfused)])
        assert (fused.problem, alone.problem) == (None, None)  # the Python kernels' bytes
        predicted = estimate(layer, variant, target, behind).cycles / (
            estimate(layer, unfused, target).cycles + estimate(behind, None, target).cycles
        )
        assert fused.cycles / (alone.cycles + apart.cycles) == pytest.approx(predicted, rel=0.1)


def test_measurements_of_a_pair_depend_on_its_pooling() -> None:
    layer, behind = pair()
    bench = Bench(tuning.load_target("cortex-m4"), CFLAGS)
    variant = Variant(8, 2, 2, 2, fused_pool=True)
    other = replace(behind, op="avg_pool2d")
    both = [bench.key(Step.of(layer, variant, after), (True, True)) for after in (behind, other)]
    assert both[0] != both[1]
    unfused = replace(variant, fused_pool=False)
    alone = {bench.key(Step.of(layer, unfused, after), (True, True)) for after in (behind, other, None)}
    assert len(alone) == 1


def test_lines_that_no_window_needs_cost_nothing() -> None:
    """A pooling that steps over every other row: the fused kernel computes half of them, and is the fastest."""
    sparse = chain((24, 24, 4), "q7", conv(8, 3, pad=1, out_shift=9), pool("max", 1, stride=2), dense(4))
    layer, target = sparse[0], tuning.load_target("cortex-m4")
    variant = Variant(8, 2, 4, 4, "line_buffer", "interleaved", inner="asm", fused_pool=True)
    assert band_work(Step.of(layer, variant, sparse[1])) == (12, 12, 0)
    alone = estimate(layer, replace(variant, fused_pool=False), target)
    assert estimate(layer, variant, target, sparse[1]).cycles < 0.6 * alone.cycles
    model = tuning.Model("net", "q7", (24, 24, 4), sparse, {"sram": None, "flash": None}, None, "0", Path("net.yaml"))
    plan = tuning.tune(model, target)
    free = tuning.tune(replace(model, layers=(replace(sparse[0], variant={"fused_pool": False}), *sparse[1:])), target)
    assert plan.layers[0].variant.fused_pool
    assert plan.totals["cycles"] < free.totals["cycles"]
