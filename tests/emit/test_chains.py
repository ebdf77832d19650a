# SPDX-License-Identifier: Apache-2.0
"""Chains as firmware: the same bytes as layer by layer, in rings that nothing else is touched around."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from random import Random
from unittest import mock

import pytest

import tuning
from helpers import int8
from helpers.chained import any_chains, drawn, ran_exactly, whole
from helpers.cores import HELIUM, PLAIN
from helpers.drawn_networks import KINDS, draw
from helpers.folders import WARNINGS, zig
from tuning.emit.check import EmitError, check_plan
from tuning.emulate import find_toolchain
from tuning.measure.folder import draw_inputs, load, verify
from tuning.model import graph_model
from tuning.plan import Plan
from tuning.search import chained

from .test_compile import COMPILERS, compile_for

FULL, SAMPLE = 32, 1
"""Networks per core and compiler."""
DTYPES = ("int8", "int16", "uint8", "q7", "q15")
"""Of the border."""
BUILDS = [(core, compiler) for core in PLAIN for compiler in COMPILERS]
OTHERS = [build for turn, build in enumerate(BUILDS) if len(COMPILERS) > 1 and turn % 4 in (0, 3)]
BUILDS += zip(HELIUM[1:], COMPILERS, strict=False)


def separable(dtype: str = "int8") -> tuning.Model:
    """Two convolutions, a skip over two others, and an output of another type at the border."""
    b = int8.Builder()
    x = b.input("image", (21, 9, 3), dtype)
    kept = x = b.conv("stem", b.look_up("sign", x, "int8") if dtype == "uint8" else x, 8, 3, 2)
    x = b.conv("rows", x, 0, 3, depthwise=True)
    x = b.conv("mix", x, 8, 1)
    x = b.add("join", x, kept) if dtype != "int16" else x
    x = b.pool("halve", x, 3, 2)
    x = b.conv("wide", x, 12, 1)
    if dtype == "uint8":
        x = b.look_up("back", x, "uint8")
    return graph_model("separable", b.graph(x), "separable.tflite")


@pytest.fixture(scope="module")
def plan() -> Plan:
    """Each ring has a place of its own."""
    with mock.patch.object(chained, "_shared", return_value=[]):
        found = tuning.tune(separable(), tuning.load_target("cortex-m4"), objective="sram")
    assert found.chains
    return found


@pytest.fixture(scope="module")
def shared(plan: Plan) -> Plan:
    """Rings share their memory with scratch."""
    found = tuning.tune(separable(), plan.target, objective="sram")
    assert [chain.room > 0 for chain in found.chains.values()] == [True]
    assert found.totals["sram_bytes"] < plan.totals["sram_bytes"]
    return found


@pytest.fixture(scope="module")
def emitted(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("separable")
    tuning.emit(plan, made)
    return made


# -- bytes -------------------------------------------------------------------------------------------------------------


@pytest.mark.emulated
@pytest.mark.parametrize(
    ("core", "compiler"),
    # By default one compiler for each core: the next has the other one.
    [pytest.param(*build, marks=[pytest.mark.full] if build in OTHERS else []) for build in BUILDS],
)
def test_any_bands_of_any_kernels_are_exact(core: str, compiler: str, full: bool, tmp_path: Path) -> None:
    """Whatever the planner would choose; every ring and all scratch between guard bytes, every access checked."""
    at, done = BUILDS.index((core, compiler)), 0
    for turn in range(1000):
        found = any_chains(drawn(seed := turn * len(BUILDS) + at), core, seed)
        if found is None:
            continue
        wrong = list(ran_exactly(found, tmp_path / str(seed), find_toolchain(compiler)))
        assert not wrong, f"network {seed}: {wrong}"
        done += 1
        if done == (FULL if full else SAMPLE):
            break


@pytest.mark.emulated
@pytest.mark.parametrize(("kind", "dtype"), [(0, "int8"), (1, "int16"), (2, "int8")])
def test_rows_are_added_up_as_they_come(kind: int, dtype: str, tmp_path: Path) -> None:
    """Of an average of the whole image, or a mean, sums alone are in memory."""
    b = int8.Builder()
    image = b.input("image", (13, 5, 3), dtype)
    rows = b.conv("rows", b.conv("stem", image, 7, 3), 0, 3, depthwise=True)
    model = graph_model("whole", b.graph(b.dense("last", whole(b, "whole", rows, kind), 3)), "whole.tflite")
    least = tuning.tune(model, tuning.load_target("cortex-m4"), objective="sram")
    assert least.chains[0].links[-1].sums
    assert least.totals["sram_bytes"] < sum(b.tensors[name].bytes for name in (image, rows))
    assert list(ran_exactly(least, tmp_path, find_toolchain(COMPILERS[kind % len(COMPILERS)]), samples=1)) == []


@pytest.mark.emulated
def test_operands_that_come_in_every_row_are_read_inside(tmp_path: Path) -> None:
    """A factor per channel that the caller gives, constants per row, and an image that is known."""
    b = int8.Builder()
    gain, x = b.input("gain", (8,)), b.conv("stem", b.input("image", (11, 6, 3)), 8, 3)
    x = b.conv("rows", b.multiply("scaled", x, gain), 0, 3, depthwise=True)
    x = b.add("known", b.add("biased", x, b.constant("bias", (6, 8))), b.constant("mask", (11, 6, 8)))
    model = graph_model("repeated", b.graph(b.conv("mix", x, 4, 1)), "repeated.tflite")
    plan = tuning.tune(model, tuning.load_target("cortex-m4"), objective="sram")
    assert [len(chain.own) for chain in plan.chains.values()] == [6]
    assert list(ran_exactly(plan, tmp_path, find_toolchain("clang"), samples=1)) == []


@pytest.mark.emulated
def test_plans_within_random_budgets_are_exact(full: bool, tmp_path: Path) -> None:
    done = 0
    for seed in range(1000):
        core, compiler = PLAIN[seed % len(PLAIN)], COMPILERS[seed // 2 % len(COMPILERS)]
        model, target = draw(KINDS[seed % 3], seed), tuning.load_target(core)
        least = tuning.tune(model, target, objective="sram")
        most = tuning.tune(model, target).totals["sram_bytes"]
        floor = least.totals["sram_bytes"]
        found = [least, tuning.tune(model, target, sram_bytes=Random(seed).randint(floor, max(floor, most)))]
        for at, plan in enumerate(one for one in found if one.chains):
            tuning.emit(plan, folder := tmp_path / f"{seed}_{at}")
            firmware = load(folder)
            result = verify(firmware, find_toolchain(compiler), draw_inputs(firmware, 1))
            assert result.exact, (seed, result.mismatches)
            stack = plan.totals["stack_bytes"]
            assert stack is None or result.trace.stack_bytes <= stack
            done += 1
        if done >= (40 if full else 3):
            break


# -- C -----------------------------------------------------------------------------------------------------------------


@pytest.mark.full
@pytest.mark.emulated
@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_c99_without_a_warning(dtype: str, compiler: str, full: bool, tmp_path: Path) -> None:
    turn = (DTYPES.index(dtype) + COMPILERS.index(compiler)) % 2
    for core in PLAIN if full else ("cortex-m0plus", "cortex-m7")[turn:][:1]:
        model = draw(dtype, 2) if dtype in ("q7", "q15") else separable(dtype)
        plan = any_chains(model, core, 3)
        assert plan is not None
        tuning.emit(plan, tmp_path / core)
        for level in ("-O0", "-O2", "-O3", "-Os") if full else ("-O0", "-Os")[DTYPES.index(dtype) // 2 % 2 :][:1]:
            flags = (*WARNINGS, level, "-DCXN_NO_OPTIMIZE_WARNING", "-I", tmp_path / core)
            source = tmp_path / core / f"{plan.model}.c"
            assert compile_for(core, compiler, *flags, "-c", source, "-o", tmp_path / "o") == ""


def test_headers_in_cplusplus(emitted: Path, tmp_path: Path) -> None:
    header = (emitted / "separable.h").read_text()
    found = re.search(r"void (\w+)\(const int8_t \*input, int8_t \*output\); /\* \w+ to \w+ \*/", header)
    assert found is not None
    (tmp_path / "use.cpp").write_text(
        f'#include "separable.h"\nvoid use(const int8_t *x, int8_t *y) {{ separable_run(x, y); {found[1]}(x, y); }}\n'
    )
    flags = ("-Wall", "-Wextra", "-Wconversion", "-Wold-style-cast", "-Werror", "-pedantic", "-std=c++98")
    zig(*flags, "-I", emitted, "-c", tmp_path / "use.cpp", "-o", tmp_path / "use.o", language="c++")


def edits(plan: Plan) -> dict[str, tuple[str, int, str]]:
    """Macros edited by hand: which, its value, and what the compiler then says."""
    inside = [item for item in plan.layers if item.ring_rows]
    first, last = inside[0], inside[-1]
    p, q = (f"SEPARABLE_{item.layer.name.upper()}" for item in (first, last))
    name = first.layer.name
    return {
        "a ring outside the arena": (f"{q}_RING_OFFSET", plan.arena_bytes, "ring_lies_in_the_arena"),
        "a ring off a word boundary": (f"{p}_RING_OFFSET", first.ring_offset + 1, f"{name}_ring_lies_in_the_arena"),
        "a ring over another": (f"{q}_RING_OFFSET", first.ring_offset, f"_ends_before_{q.lower()}_ring"),
        "a ring of too few rows": (f"{p}_RING_ROWS", first.ring_rows - 1, f"{name}_ring_has_room_for_what_is_read"),
        "a ring of many rows": (f"{p}_RING_ROWS", 1000, f"{name}_ring_lies_in_the_arena"),
        "calls of more rows than there are": (f"{p}_BAND", first.band - 1, "BAND|as_many_rows_as_its_calls_ask_for"),
        "an arena without room": ("SEPARABLE_ARENA_BYTES", 16, "lies_in_the_arena"),
    }


@pytest.mark.parametrize("case", range(7))
def test_macros_edited_by_hand_stop_the_build(case: int, plan: Plan, emitted: Path, tmp_path: Path) -> None:
    macro, value, says = list(edits(plan).values())[case]
    for path in emitted.glob("*.[ch]"):
        text = path.read_text()
        if path.name == "separable_config.h":
            text, count = re.subn(rf"(#define {macro} +)\d+", rf"\g<1>{value}", text)
            assert count == 1
        (tmp_path / path.name).write_text(text)
    with pytest.raises(AssertionError, match=says):
        zig("-std=c99", "-fsyntax-only", "-I", tmp_path, "-I", emitted, tmp_path / "separable.c")


@pytest.mark.parametrize("case", range(5))
def test_macros_of_shared_rings_edited_by_hand_stop_the_build(case: int, shared: Plan, tmp_path: Path) -> None:
    inside = [item for item in shared.layers if item.ring_rows]
    first, last = inside[0], inside[-1]
    start, room = first.ring_offset, shared.chains[0].room
    needy = next(item for item in shared.layers if item.band and item.scratch_bytes)
    macro, value, says = (
        (f"{last.layer.name}_RING_OFFSET", start + 4, "shares_the_memory_of_rings"),
        (f"{first.layer.name}_RING_OFFSET", start + 4, "lie_in_the_arena|shares_the_memory"),
        (f"{needy.layer.name}_SCRATCH_OFFSET", start, f"{needy.layer.name}_scratch_ends_behind_rings"),
        (f"{first.layer.name}_BAND", first.band - 1, "BAND|as_many_rows_as_its_calls_ask_for"),
        ("ARENA_BYTES", start + room - 4, "lie_in_the_arena"),
    )[case]
    tuning.emit(shared, tmp_path)
    config = tmp_path / "separable_config.h"
    text, count = re.subn(rf"(#define SEPARABLE_{macro.upper()} +)\d+", rf"\g<1>{value}", config.read_text())
    assert count == 1
    config.write_text(text)
    with pytest.raises(AssertionError, match=says):
        zig("-std=c99", "-fsyntax-only", "-I", tmp_path, tmp_path / "separable.c")


def test_shared_rings_of_other_places_are_refused(shared: Plan) -> None:
    check_plan(shared)
    at = next(index for index, item in enumerate(shared.layers) if item.band and item.scratch_bytes)
    start, room = shared.layers[0].ring_offset, shared.chains[0].room
    for index, more, says in (
        (1, {"ring_offset": start + 4}, "as rings share their memory"),
        (0, {"ring_offset": None}, "ring_offset: expected a place in the arena"),
        (at, {"scratch_offset": start}, "at the end of the rings"),
    ):
        layers = list(shared.layers)
        layers[index] = replace(layers[index], **more)
        with pytest.raises(EmitError, match=says):
            check_plan(replace(shared, layers=tuple(layers)))
    chain = replace(shared.chains[0], room=room + 4096)
    with pytest.raises(EmitError, match=r"the rings from|at the end of the rings"):
        check_plan(replace(shared, chains={0: chain}))


# -- folders -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["plan", "shared"])
def test_a_folder_is_read_back(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    plan = request.getfixturevalue(name)
    tuning.emit(plan, emitted := tmp_path / name)
    firmware = load(emitted)
    for first, chain in plan.chains.items():
        own = firmware.chains[first]
        assert (own.room, own.schedule, own.places) == (chain.room, chain.schedule, chain.places)
        assert own.rings == chain.rings
        assert [link.variant for link in own.links] == [link.variant for link in chain.links]
        assert [link.in_place for link in own.links] == [link.in_place for link in chain.links]
    steps = json.loads((emitted / "plan.json").read_text())["steps"]
    assert [step["kind"] for step in steps].count("chain") == len(plan.chains)


@pytest.mark.emulated
def test_a_chain_that_makes_other_bytes_is_found(plan: Plan, emitted: Path, tmp_path: Path) -> None:
    """Its layers by themselves are right, so that nothing but the walk is wrong: a row goes where another belongs."""
    tuning.emit(plan, tmp_path)
    source = tmp_path / "separable.c"
    text, count = re.subn(r"output \+ end_(\d+) \*", r"output + (end_\1 ^ (end_\1 == 1)) *", source.read_text())
    assert count
    source.write_text(text)
    firmware = load(tmp_path)
    result = verify(firmware, find_toolchain("clang"), draw_inputs(firmware, 1))
    assert not result.exact
    assert "as a chain" in result.mismatches[0].what
