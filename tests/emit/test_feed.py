# SPDX-License-Identifier: Apache-2.0
"""Firmware whose input comes row by row: the same bytes whatever comes how many at a time, again and again."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path
from random import Random

import numpy as np
import pytest

import tuning
from helpers import int8
from helpers.chained import PATTERN, apart, joined
from helpers.drawn_networks import draw
from helpers.folders import WARNINGS
from helpers.networks import NETWORKS
from helpers.plans import tuned_plan
from tuning.base.errors import OptionError
from tuning.emit.names import numbered
from tuning.emulate import Emulator, find_toolchain
from tuning.measure.folder import FolderError, compile_folder, draw_inputs, load
from tuning.model import graph_model

from .test_compile import COMPILERS, qemu, run

pytestmark = pytest.mark.emulated

SAMPLE, FULL = 2, 60


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seed" in metafunc.fixturenames:
        metafunc.parametrize("seed", range(FULL if metafunc.config.getoption("--full") else SAMPLE))


def fed(plan: tuning.Plan, folder: Path, compiler: str, rng: Random) -> None:
    """Feed every sample in random portions, inputs in any order, and compare what is fetched with the host's network;
    every ring lies between guard bytes.
    """
    spread, gaps = apart(plan)
    tuning.emit(spread, folder)
    firmware = load(folder)
    emulator = Emulator(compile_folder(firmware, find_toolchain(compiler)), plan.target, checked=True, memory=False)
    arena, name, count = emulator.symbol(f"{plan.model}_arena"), plan.model, len(plan.inputs)
    feeds = [f"{name}_{word}" for word in numbered("feed", count)]
    rows = _rows(folder, plan)
    for sample in draw_inputs(firmware, 3):
        made = firmware.network.run(sample[0] if count == 1 else sample)
        wanted = made if isinstance(made, tuple) else (made,)
        flat = [one.reshape(size) for one, size in zip(sample, rows, strict=True)]
        emulator.write(arena.address, bytes([PATTERN]) * arena.size)
        emulator.call(f"{name}_start")
        at, is_done, most = [0] * count, 0, max(size for size, _ in rows)
        while not is_done:
            before, moved = list(at), False
            for own in rng.sample(range(count), count):
                is_done, taken = _offer(emulator, feeds[own], flat[own][at[own] :], rng, most, count > 1)
                assert is_done in (0, 1)
                at[own] += taken
                moved = moved or taken > 0
                if is_done:
                    break
            assert is_done or moved or at != before, "nobody's row is taken"
        again = emulator.buffer(~flat[0][:1])
        assert emulator.call(feeds[0], [again, 1]).result == 1  # further rows are passed over
        held = emulator.read(arena.address, arena.size)
        assert all(set(held[start:end]) == {PATTERN} for start, end in gaps)
        for output, function, values in zip(plan.outputs, numbered("output", len(plan.outputs)), wanted, strict=True):
            place = emulator.call(f"{name}_{function}").result
            got = np.frombuffer(emulator.read(place, output.bytes), output.type.dtype)
            np.testing.assert_array_equal(got, np.asarray(values).reshape(-1))


def _offer(
    emulator: Emulator, feed: str, rows: np.ndarray, rng: Random, most: int, is_one_of_several: bool
) -> tuple[int, int]:
    """Whether the output is there, and how many of some more rows were taken: of the only input all."""
    count = min(rng.choice([1, 1, 2, 3, 7, most]), len(rows))
    taken = feed.replace("_feed_", "_taken_")
    before = emulator.call(taken).result if is_one_of_several else 0
    emulator.free_buffers()
    unlike = emulator.buffer(~rows[:1] if len(rows) else bytes(4))
    assert emulator.call(feed, [unlike, rng.choice((0, -1, -most))]).result == 0
    given = emulator.buffer(rows[:count], offset=rng.randrange(4) // rows.itemsize * rows.itemsize)
    is_done = emulator.call(feed, [given, count]).result
    return is_done, emulator.call(taken).result - before if is_one_of_several else count


def _rows(folder: Path, plan: tuning.Plan) -> list[tuple[int, int]]:
    """Rows of every input, and elements of each."""
    text = (folder / f"{plan.model}_config.h").read_text(encoding="utf-8")
    words = [line.split() for line in text.splitlines() if line.startswith("#define")]
    values = {word[1]: word[2] for word in words if len(word) > 2}
    prefixes = [f"{plan.model}_{name}_ROW".upper() for name in numbered("input", len(plan.inputs))]
    return [(int(values[f"{prefix}S"]), int(values[f"{prefix}_SIZE"])) for prefix in prefixes]


def test_rows_in_any_portions_give_the_bytes_of_the_whole_image(seed: int, tmp_path: Path) -> None:
    rng = Random(seed)
    kind, core = ("q7", "q15", "int8", "int8")[seed % 4], ("m4", "m0plus", "m7", "m3", "m33")[seed % 5]
    target = tuning.load_target(f"cortex-{core}")
    model = draw(kind, 7000 + seed)
    while len(model.graph.inputs) > 1:
        model = draw(kind, 7000 + rng.randrange(10_000))
    plan = tuning.tune(model, target, feed="rows")
    assert plan.totals["sram_bytes"] == plan.arena_bytes
    fed(plan, tmp_path, ("gcc", "clang")[seed % 2], rng)


def test_rows_of_several_inputs_in_any_order(seed: int, tmp_path: Path) -> None:
    rng, core = Random(seed), ("m0plus", "m4", "m7", "m33", "m3")[seed % 5]
    objective = ("sram", "latency")[seed // 2 % 2]
    plan = tuning.tune(joined(seed), tuning.load_target(f"cortex-{core}"), feed="rows", objective=objective)
    assert sum(offset is not None for offset in plan.fed_offsets) == 2
    assert plan.totals["sram_bytes"] == plan.arena_bytes
    fed(plan, tmp_path, ("clang", "gcc")[seed % 2], rng)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose inputs come one behind the other, each to a chain of its own layer."""
    b = int8.Builder()
    x, y = b.conv("a", b.input("left", (6, 5, 2)), 4, 3), b.conv("b", b.input("right", (12, 9, 1)), 4, 3, 2)
    graph = b.graph(b.dense("last", b.multiply("joined", x, y), 3))
    plan = tuning.tune(graph_model("pair", graph, "pair.tflite"), tuning.load_target("cortex-m4"), feed="rows")
    assert [len(chain.own) for chain in plan.chains.values()] == [1, 1]
    tuning.emit(plan, made := tmp_path_factory.mktemp("pair"))
    return made


def test_the_folder_says_in_which_order(pair: Path) -> None:
    says = "`input_1` | `PAIR_INPUT_1_ROWS` | `PAIR_INPUT_1_ROW_SIZE` | after all that are needed of input_0;"
    assert says in (pair / "README.md").read_text(encoding="utf-8")
    assert "* input_1, PAIR_INPUT_1_ROWS of PAIR_INPUT_1_ROW_SIZE elements: after" in (pair / "pair.h").read_text()


@qemu
@pytest.mark.parametrize("compiler", COMPILERS)
def test_the_example_feeds_every_input(compiler: str, pair: Path, tmp_path: Path) -> None:
    shutil.copytree(pair, tmp_path, dirs_exist_ok=True)
    readme = (tmp_path / "README.md").read_text(encoding="utf-8")
    commands = re.findall(r"^(?:arm-none-eabi-gcc|python -m ziglang|qemu-system-arm) .*$", readme, re.MULTILINE)
    build = {"gcc": commands[0], "clang": commands[2].replace("python", sys.executable, 1)}[compiler]
    assert run(f"{build} {' '.join(WARNINGS)}", tmp_path) == ""
    assert run(commands[1], tmp_path).splitlines()[-1] == "PASS"


@pytest.mark.parametrize(
    ("offsets", "says"),
    [([0], "feed_offsets: expected"), ([0, 4, 8], "expected 2 places, got 3"), ([None, None], "two and more layers")],
)
def test_a_plan_that_feeds_otherwise_is_refused(offsets: list[int | None], says: str, pair: Path) -> None:
    path = pair / "plan.json"
    text = path.read_text(encoding="utf-8")
    try:
        path.write_text(json.dumps(json.loads(text) | {"feed_offsets": offsets}), encoding="utf-8")
        with pytest.raises(FolderError, match=says):
            load(pair)
    finally:
        path.write_text(text, encoding="utf-8")


def test_inputs_that_nothing_reads_are_refused() -> None:
    b = int8.Builder()
    x, _ = b.input("image", (4, 4, 2)), b.input("unread", (3,))
    model = graph_model("one", b.graph(b.conv("c", x, 2, 1)), "one.tflite")
    with pytest.raises(OptionError, match="some layer reads, got 'unread'"):
        tuning.tune(model, tuning.load_target("cortex-m4"), feed="rows")


def test_a_network_that_takes_no_rows_gets_its_input_whole(tmp_path: Path) -> None:
    layers = NETWORKS["mixed"]
    assert len(layers[0].input_shape) == 1
    fed(tuned_plan("mixed", layers, "cortex-m3", feed="rows"), tmp_path, "gcc", Random(2))


def test_of_an_image_rows_are_kept(tmp_path: Path) -> None:
    target = tuning.load_target("cortex-m4")
    plan = tuning.tune(tuning.load_model("cifar10"), target, feed="rows")
    assert plan.chains[0].feeds == 1
    assert plan.to_dict()["feed"] == "rows"
    assert plan.fed_offsets[0] is not None
    whole = tuning.tune(tuning.load_model("cifar10"), target)
    assert plan.totals["sram_bytes"] < whole.totals["sram_bytes"]
    fed(plan, tmp_path, "gcc", Random(1))


def test_a_schedule_of_more_bytes_than_16_bits_count(tmp_path: Path) -> None:
    """Of samples of sound: a row is one."""
    b = int8.Builder()
    graph = b.graph(b.conv("scaled", b.input("sound", (33_000, 1, 1), "int8"), 1, 1))
    plan = tuning.tune(graph_model("sound", graph, "sound.tflite"), tuning.load_target("cortex-m4"), feed="rows")
    assert 2 * len(plan.chains[0].schedule) > 1 << 16
    fed(plan, tmp_path, "gcc", Random(3))
