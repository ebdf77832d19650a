# SPDX-License-Identifier: Apache-2.0
"""A measurement of a board: read out of a serial log, and the memories that explain it recovered."""

from dataclasses import replace
from pathlib import Path

import pytest

import tuning
from cmsisnn_x import Variant
from helpers.commands import run_forked
from helpers.plans import age_folder, chain, make_plan
from helpers.samples import one_in
from tuning.calibrate.board import MOST_WAITS, BoardError, fit, price_elf, price_folder, read_csv, target_text
from tuning.emulate import Emulator
from tuning.target import Target, load_target

pytestmark = pytest.mark.emulated
LAYERS = chain(
    (8, 8, 3),
    "q7",
    {"op": "conv2d", "out": 8, "kernel": 3, "pad": 1, "out_shift": 9},
    {"op": "max_pool2d", "kernel": 2, "stride": 2},
    {"op": "conv2d", "out": 12, "kernel": 3, "pad": 1, "out_shift": 9},
    {"op": "relu"},
    {"op": "fully_connected", "out": 10, "out_shift": 9},
)
NAMES = [layer.name for layer in LAYERS]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Firmware for a Cortex-M4."""
    path = tmp_path_factory.mktemp("net")
    tuning.emit(make_plan("net", LAYERS), path)
    return path


def synthetic(**memory) -> Target:
    """A board that no file describes."""
    known = {"inherit": "cortex-m4", "name": "mine", "instruction_cache_bytes": 512, "cache_line_bytes": 16}
    return replace(load_target("cortex-m4"), **known, **memory)


def measure(folder: Path, target: Target, path: Path) -> Path:
    """What the emitted example would print on this board, in a serial log."""
    steps, _ = price_folder(folder, target)
    cycles = {item.step.name: item.trace.cycles for item in steps}
    rows = "".join(f"[00:00:01.2{i}] {name},{cycles.get(name, 0)}\r\n" for i, name in enumerate(NAMES))
    path.write_text(f"boot v1.2, clock 80 MHz\r\n\x00\xff>12 -3 4\r\nPASS\r\nlayer,cycles\r\n{rows}bye, 3\r\n")
    return path


TRUTHS = [
    {"flash_wait_states": 4, "flash_line_bytes": 16},
    {"flash_wait_states": 6, "flash_line_bytes": 8, "flash_prefetch": True},
    {"flash_wait_states": 3, "flash_line_bytes": 16, "sram_wait_states": 1},
    {"flash_wait_states": 2, "flash_line_bytes": 16, "refinements": {"unaligned_load": 2.0}},
]


@pytest.mark.parametrize("truth", one_in(6, TRUTHS), ids=[" ".join(f"{k}={v}" for k, v in t.items()) for t in TRUTHS])
def test_the_memories_of_a_synthetic_board_are_recovered(truth, folder, tmp_path):
    csv = measure(folder, synthetic(**truth), tmp_path / "board.csv")
    found = fit(folder, csv, synthetic())
    assert found.error(found.after) < 0.002 < found.error(found.before)
    assert found.after == found.measured
    for name, value in truth.items():
        assert getattr(found.target, name) == value
    assert not found.target.sram_wait_states or "sram_wait_states" in truth


def test_a_board_of_which_nothing_is_known_starts_from_its_core(folder, tmp_path):
    core = load_target("cortex-m4")
    truth = replace(core, name="mine", inherit="cortex-m4", flash_wait_states=3, flash_line_bytes=16)
    csv = measure(folder, truth, tmp_path / "board.csv")
    found = fit(folder, csv, core)
    assert found.changes == {"flash_wait_states": 3, "flash_line_bytes": 16}
    (tmp_path / "fitted.yaml").write_text(target_text(found, "cortex-m4", csv))
    assert not load_target(tmp_path / "fitted.yaml").is_core


def test_what_a_board_file_says_right_is_left_alone(folder, tmp_path):
    board = load_target("nucleo-l4r5zi")
    found = fit(folder, measure(folder, board, tmp_path / "board.csv"), board)
    assert found.changes == {}
    assert found.before == found.after == found.measured


def test_the_fitted_file_inherits_and_loads(folder, tmp_path):
    truth = replace(load_target("nucleo-l4r5zi"), flash_wait_states=7)
    csv = measure(folder, truth, tmp_path / "board.csv")
    found = fit(folder, csv, load_target("nucleo-l4r5zi"))
    assert found.changes == {"flash_wait_states": 7}
    (tmp_path / "fitted.yaml").write_text(target_text(found, "nucleo-l4r5zi", csv))
    loaded = load_target(tmp_path / "fitted.yaml")
    assert (loaded.flash_wait_states, loaded.core) == (7, "cortex-m4")
    assert loaded.sources["flash_wait_states"].startswith("fitted: ")


def test_the_command_writes_the_target_and_shows_the_errors(folder, tmp_path):
    truth = synthetic(flash_wait_states=5, flash_line_bytes=16)
    measure(folder, truth, tmp_path / "board.csv")
    mine = "schema: 1\nname: mine\ninherit: cortex-m4\ninstruction_cache_bytes: 512\ncache_line_bytes: 16\n"
    (tmp_path / "mine.yaml").write_text(mine)
    command = ["cmsisnn-tune", "calibrate", "--from", "board.csv", "--plan", str(folder)]
    done = run_forked(*command, "--target", "mine.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert load_target(tmp_path / "mine-fitted.yaml").flash_wait_states == 5
    rows = {line.split()[0]: line.split() for line in done.stdout.splitlines() if line.strip()}
    assert rows["network"][-1] in ("+0.0%", "-0.0%")
    assert float(rows["network"][3].rstrip("%")) < -5
    assert set(NAMES) <= set(rows)
    done = run_forked(*command, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "one --target" in done.stderr


def test_a_folder_of_the_version_before_takes_its_model(tmp_path):
    model = "schema: 1\nname: net\ninput: {shape: [9, 9, 3]}\nlayers:\n"
    model += "  - {name: c, op: conv2d, out_channels: 6, kernel: 3, out_shift: 7}\n  - {name: r, op: relu}\n"
    (tmp_path / "net.yaml").write_text(model)
    board = load_target("nucleo-l4r5zi")
    tuning.emit(tuning.tune(tuning.load_model(tmp_path / "net.yaml"), board), tmp_path / "fw")
    steps, _ = price_folder(tmp_path / "fw", board)
    rows = "".join(f"{item.step.name},{item.trace.cycles}\n" for item in steps)
    (tmp_path / "board.csv").write_text(f"layer,cycles\n{rows}")
    age_folder(tmp_path / "fw")
    asked = ["--from", "board.csv", "--plan", "fw", "--target", "nucleo-l4r5zi"]
    command = ["cmsisnn-tune", "calibrate", *asked]
    done = run_forked(*command, cwd=tmp_path)
    assert done.returncode == 2
    assert "an older version wrote this folder" in done.stderr
    command += ["--model", "net.yaml"]
    done = run_forked(*command, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "nothing to change" in done.stdout


def test_a_pooling_that_its_convolution_takes_in_is_measured_with_it(tmp_path):
    layers = chain(
        (8, 8, 4),
        "q7",
        {"op": "conv2d", "out": 8, "kernel": 3, "pad": 1, "out_shift": 9, "name": "conv1"},
        {"op": "max_pool2d", "kernel": 2, "stride": 2, "name": "pool1"},
        {"op": "fully_connected", "out": 10, "out_shift": 9, "name": "fc1"},
    )
    one = Variant(4, 2, 2, 2, "line_buffer", "interleaved", fused_pool=True)
    tuning.emit(make_plan("net", layers, variant={"conv1": one}), tmp_path / "net")
    board = load_target("nucleo-l4r5zi")
    steps, network = price_folder(tmp_path / "net", board)
    assert [item.step.name for item in steps] == ["conv1", "fc1"]
    assert sum(item.trace.cycles for item in steps) < network.cycles
    rows = {item.step.name: item.trace.cycles for item in steps} | {"pool1": 0}
    (tmp_path / "board.csv").write_text("layer,cycles\n" + "".join(f"{n},{c}\n" for n, c in rows.items()))
    found = fit(tmp_path / "net", tmp_path / "board.csv", board)
    assert (found.layers, found.changes) == (("conv1", "fc1"), {})


GOOD = "layer,cycles\na,1\nb,20\n"
BAD = {
    "empty": ("", ":1: expected a line 'layer,cycles'"),
    "no header": ("a,1\nb,2\n", ":1: expected a line 'layer,cycles' before the first layer, got 'a,1'"),
    "missing layer": ("noise\nlayer,cycles\na,1\n", ":2: the run that begins here has no line for layer 'b'"),
    "other layer": ("layer,cycles\na,1\nconv9,2\n", ":3: layer 'conv9' is not in the folder, which has a, b"),
    "no number": ("layer,cycles\na,1\nb,abc\n", ":3: cycles of b: expected a count of at most 32 bits, got 'abc'"),
    "negative": ("layer,cycles\na,-1\nb,2\n", ":2: cycles of a: expected a count of at most 32 bits, got '-1'"),
    "too large": ("layer,cycles\na,4294967296\nb,2\n", ":2: cycles of a: expected a count"),
    "fraction": ("layer,cycles\na,1.5\nb,2\n", ":2: cycles of a: expected a count of at most 32 bits, got '1.5'"),
    "twice": ("layer,cycles\na,1\na,2\n", ":3: layer 'a' comes twice in one run"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_log_is_one_sentence_with_file_and_line(case, tmp_path):
    text, message = BAD[case]
    (tmp_path / "board.csv").write_text(text)
    with pytest.raises(BoardError) as caught:
        read_csv(tmp_path / "board.csv", ["a", "b"])
    assert str(caught.value).startswith(f"{tmp_path / 'board.csv'}{message}")
    assert "\n" not in str(caught.value)


def test_logs_may_hold_noise_and_several_runs(tmp_path):
    path = tmp_path / "board.csv"
    path.write_bytes(
        b"\xff\x00 hello, 12\n" + GOOD.encode() + b"layer,cycles\r\n> a, 3 \r\ntemperature, 23\r\n[1.5] b;4\r\n"
    )
    assert read_csv(path, ["a", "b"]) == {"a": 3, "b": 4}
    with pytest.raises(BoardError, match=r"none\.csv: cannot be read"):
        read_csv(tmp_path / "none.csv", ["a"])


def test_a_stopped_counter_and_another_core_are_named(folder, tmp_path):
    (tmp_path / "board.csv").write_text("layer,cycles\n" + "".join(f"{name},0\n" for name in NAMES))
    with pytest.raises(BoardError, match=r"board\.csv:2: layer '\w+' took 0 cycles: was the counter started"):
        fit(folder, tmp_path / "board.csv", synthetic())
    with pytest.raises(BoardError, match="expected firmware for cortex-m7, the core of nucleo-f746zg, got cortex-m4"):
        fit(folder, tmp_path / "board.csv", load_target("nucleo-f746zg"))


@pytest.mark.parametrize("count", [1, 2**32 - 1])
def test_a_measurement_that_nothing_explains_is_refused(folder, tmp_path, count):
    (tmp_path / "board.csv").write_text("layer,cycles\n" + "".join(f"{name},{count}\n" for name in NAMES))
    with pytest.raises(BoardError, match="no memories explain this measurement"):
        fit(folder, tmp_path / "board.csv", synthetic())


def test_no_more_is_fitted_than_a_target_file_may_say(folder, tmp_path):
    csv = measure(folder, synthetic(refinements={"unaligned_load": 150.0}), tmp_path / "board.csv")
    found = fit(folder, csv, synthetic())
    assert found.target.refinements["unaligned_load"] == MOST_WAITS
    (tmp_path / "fitted.yaml").write_text(target_text(found, "cortex-m4", csv))
    assert load_target(tmp_path / "fitted.yaml").refinements == found.target.refinements


def test_folders_and_elf_files_are_priced_for_boards(folder):
    board = load_target("nucleo-l4r5zi")
    steps, network = price_folder(folder, board)
    core, alone = price_folder(folder, "cortex-m4")
    assert [s.step.name for s in steps] == [s.step.name for s in core] == NAMES
    assert all(s.trace.core_cycles == c.trace.cycles for s, c in zip(steps, core, strict=True))
    assert network.cycles > network.core_cycles == alone.cycles
    from tuning.emulate import find_toolchain
    from tuning.measure.folder import compile_folder, load

    code = compile_folder(load(folder), find_toolchain())
    args = [0x2080_0000, 0x2080_1000]
    assert price_elf(code, "net_run", args, board) == Emulator(code, board).call("net_run", args)
