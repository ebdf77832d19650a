# SPDX-License-Identifier: Apache-2.0
"""Instruction caches in the estimate: a loop that fits costs nothing, one that does not is fetched at every turn."""

from dataclasses import replace

import numpy as np
import pytest

from cmsisnn_x.variant import Variant
from tuning.calibrate.fetch import HELD_BYTES, LINE_BYTES, layers, loop_bytes
from tuning.calibrate.grid import make_layer
from tuning.cost import estimate_space, fetch, ops
from tuning.cost.fetch import Nests
from tuning.search.space import search_space
from tuning.target import load_target

BOARD = load_target("nucleo-l4r5zi")
ROLLED = Variant(2, 1, 2, 2, "line_buffer", "widened", inner="c_rolled")
WRITTEN_OUT = replace(ROLLED, inner="c")
DEPTHWISE = make_layer("dw", "depthwise_conv2d", "q7", (25, 5, 64), 0, (3, 3), (1, 1), 1)


def bytes_of(sizes: dict[str, fetch.Size], capacity: float, monkeypatch: pytest.MonkeyPatch) -> float:
    name = fetch.family(DEPTHWISE, ROLLED, BOARD.features, "q7")
    monkeypatch.setattr(fetch, "nests", lambda core: Nests(core, families={name: sizes}))
    counts = ops.count(DEPTHWISE, [ROLLED], BOARD.features)
    found = fetch.fetched_bytes(DEPTHWISE, [ROLLED], counts, capacity, "cortex-m4", BOARD.features)
    return float(found[0])


def test_a_nest_is_fetched_from_the_loop_on_that_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """By hand: 13 strips of 16 groups of four channels, three blocks each."""
    sizes = {"blocks": (300.0, 0.0, 0.0), "channels": (700.0, 0.0, 0.0), "fills": (1300.0, 0.0, 0.0)}
    groups, channels, blocks = 13 * 16, 13 * 64, 13 * 64 * 3
    assert bytes_of(sizes, 2000, monkeypatch) == 0
    assert bytes_of(sizes, 1000, monkeypatch) == groups * 1300
    assert bytes_of(sizes, 500, monkeypatch) == groups * (1300 - 700) + channels * 700
    inner = blocks * 300 + channels * 400
    assert bytes_of(sizes, 100, monkeypatch) == groups * (1300 - 700) + inner


def test_sizes_grow_with_what_is_written_out(monkeypatch: pytest.MonkeyPatch) -> None:
    assert bytes_of({"fills": (100.0, 0.0, 0.0)}, 150, monkeypatch) == 0
    # A turn of the rolled loop, and the column that is left over: two.
    assert bytes_of({"fills": (100.0, 50.0, 0.0)}, 150, monkeypatch) == 13 * 16 * 200


def test_larger_caches_miss_less(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {"blocks": (400.0, 9.0, 0.0), "channels": (750.0, 0.0, 0.0), "fills": (900.0, 0.0, 0.0)}
    found = [bytes_of(sizes, capacity, monkeypatch) for capacity in range(0, 1500, 50)]
    assert found == sorted(found, reverse=True)
    assert found[0] > found[-1] == 0


def test_the_size_of_a_loop_shows_in_what_smaller_caches_miss() -> None:
    """80 lines, 50 times, around 20 lines, 1,000 times; then the whole of it under one cache that holds it."""
    reuse = np.zeros(HELD_BYTES // LINE_BYTES, int)
    reuse[19] = 20 * (1000 - 50)
    reuse[79] = 80 * (50 - 1)
    found = loop_bytes(reuse, {"blocks": np.array([1000]), "fills": np.array([50])})
    assert found == {"blocks": 20 * LINE_BYTES, "fills": 80 * LINE_BYTES}


def test_boards_with_a_small_cache_get_loops_that_are_not_written_out() -> None:
    """The rolled loops are slower on the core, and faster where the others are fetched again and again."""
    layer = next(item for item in layers(["int8"]) if item.name == "dw1")
    space = search_space(layer, BOARD).variants
    assert {ROLLED, WRITTEN_OUT} <= set(space)
    alone, there = (estimate_space(layer, space, target) for target in (load_target("cortex-m4"), BOARD))
    rolled, written = space.index(ROLLED), space.index(WRITTEN_OUT)
    assert alone.cycles[rolled] > alone.cycles[written]
    assert there.cycles[rolled] < 0.9 * there.cycles[written]
    wide = replace(BOARD, instruction_cache_bytes=4096)
    assert estimate_space(layer, space, wide).cycles[rolled] > estimate_space(layer, space, wide).cycles[written]


def test_every_kernel_in_assembly_of_the_board_is_known() -> None:
    """What a plan chooses; kernels that hardly ever are, blocks of four rows for chains among them, have the rougher
    rule.
    """
    known = fetch.nests(BOARD.core).families
    for layer in layers(["int8"]):
        if layer.op != "conv2d":
            continue
        for variant in search_space(layer, BOARD).variants:
            is_known = fetch.family(layer, variant, BOARD.features, "int8") in known
            assert variant.inner == "c" or variant.block_rows == 4 or is_known


def test_what_is_stored_reads_as_it_was_written() -> None:
    found = fetch.nests(BOARD.core)
    assert found.families
    assert fetch.from_json(fetch.to_json(found)) == found
    with pytest.raises(ValueError, match="schema"):
        fetch.from_json("{}")
