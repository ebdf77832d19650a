# SPDX-License-Identifier: Apache-2.0
"""Firmware whose input comes row by row: the same bytes whatever comes how many at a time, again and again."""

from __future__ import annotations

from pathlib import Path
from random import Random

import numpy as np
import pytest

import tuning
from helpers import int8
from helpers.drawn_networks import draw
from helpers.networks import NETWORKS
from helpers.plans import tuned_plan
from tuning.emulate import Emulator, find_toolchain
from tuning.measure.folder import Firmware, compile_folder, draw_inputs, load
from tuning.model import graph_model

pytestmark = pytest.mark.emulated

SAMPLE, FULL = 2, 60


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seed" in metafunc.fixturenames:
        metafunc.parametrize("seed", range(FULL if metafunc.config.getoption("--full") else SAMPLE))


def fed(plan: tuning.Plan, folder: Path, compiler: str, rng: Random) -> None:
    """Feed every sample in random portions, and compare what is fetched with the host's network."""
    tuning.emit(plan, folder)
    firmware = load(folder)
    emulator = Emulator(compile_folder(firmware, find_toolchain(compiler)), plan.target, checked=True, memory=False)
    rows, row = _rows(firmware, folder)
    tensor, name = plan.outputs[0], plan.model
    for (sample,) in draw_inputs(firmware, 3):
        wanted = np.asarray(firmware.network.run(sample))
        flat = sample.reshape(rows, row)
        emulator.call(f"{name}_start")
        at, is_done = 0, 0
        while at < rows:
            count = min(rng.choice([1, 1, 2, 3, 7, rows]), rows - at)
            emulator.free_buffers()
            assert emulator.call(f"{name}_feed", [emulator.buffer(~flat[:1]), rng.choice((0, -1, -rows))]).result == 0
            given = emulator.buffer(flat[at : at + count], offset=rng.randrange(4) // flat.itemsize * flat.itemsize)
            is_done = emulator.call(f"{name}_feed", [given, count]).result
            assert is_done in (0, 1)
            at += count
        assert is_done == 1
        again = emulator.buffer(~flat[:1])
        assert emulator.call(f"{name}_feed", [again, 1]).result == 1  # further rows are passed over
        place = emulator.call(f"{name}_output").result
        got = np.frombuffer(emulator.read(place, tensor.bytes), tensor.type.dtype)
        np.testing.assert_array_equal(got, wanted.reshape(-1))


def _rows(firmware: Firmware, folder: Path) -> tuple[int, int]:
    text = (folder / f"{firmware.model}_config.h").read_text(encoding="utf-8")
    words = [line.split() for line in text.splitlines() if line.startswith("#define")]
    values = {word[1]: word[2] for word in words if len(word) > 2}
    prefix = f"{firmware.model.upper()}_INPUT_ROW"
    return int(values[f"{prefix}S"]), int(values[f"{prefix}_SIZE"])


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


def test_a_network_that_takes_no_rows_gets_its_input_whole(tmp_path: Path) -> None:
    layers = NETWORKS["mixed"]
    assert len(layers[0].input_shape) == 1
    fed(tuned_plan("mixed", layers, "cortex-m3", feed="rows"), tmp_path, "gcc", Random(2))


def test_of_an_image_rows_are_kept(tmp_path: Path) -> None:
    target = tuning.load_target("cortex-m4")
    plan = tuning.tune(tuning.load_model("cifar10"), target, feed="rows")
    assert plan.chains[0].feeds == 1
    assert plan.to_dict()["feed"] == "rows"
    assert plan.fed_offset is not None
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
