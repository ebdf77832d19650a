# SPDX-License-Identifier: Apache-2.0
"""The shipped command: what it prints, what it writes, how it ends."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import typer

from cmsisnn_x.errors import DtypeError
from helpers.commands import run_tune
from tuning.cli import program
from tuning.target import list_targets

CONV = "layers:\n  - {name: c, op: conv2d, out_channels: 6, kernel: 3, out_shift: 7}\n  - {name: r, op: relu}\n"
MODEL = f"schema: 1\nname: net\ninput: {{shape: [8, 8, 4], dtype: q7}}\n{CONV}"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]):
    """Run the command in an empty directory that holds a small model."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.yaml").write_text(MODEL, encoding="utf-8")

    return partial(run_tune, monkeypatch, capfd)


def test_what_a_kernel_refuses_is_one_sentence(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No error of the kernels' package reaches a user as a traceback, wherever a command meets it."""
    monkeypatch.setattr("sys.argv", ["command"])
    app = typer.Typer()

    @app.command()
    def command() -> None:
        raise DtypeError("layer 'c': expected weights of type int16, got int8")

    with pytest.raises(SystemExit) as ended:
        program.run(app, "command")
    assert ended.value.code == 2
    assert capsys.readouterr().err == "error: layer 'c': expected weights of type int16, got int8\n"


def test_q7_weights_without_a_kernel_are_refused_before_anything_is_tuned(run, tmp_path: Path) -> None:
    text = MODEL.replace("q7", "q15").replace("out_shift: 7", "out_shift: 7, weights_dtype: q7")
    (tmp_path / "net.yaml").write_text(text, encoding="utf-8")
    ran = run("net.yaml")
    assert (ran.status, ran.out) == (2, "")
    assert ran.err.startswith("error: net.yaml:5: layers[0].weights_dtype: q7 weights with q15 activations")
    assert ran.err.count("\n") == 1


def test_the_main_job(run, tmp_path: Path) -> None:
    ran = run("net.yaml", "--target", "cortex-m4")
    assert (ran.status, ran.err) == (0, "")
    for word in (
        "net on cortex-m4",
        "conv2d",
        "8x8x4 -> 6x6x6",
        "network",
        "SRAM",
        "Flash",
        "cmsisnn-verify build/net",
        "gain",
    ):
        assert word in ran.out
    files = {
        path.relative_to(tmp_path / "build" / "net").as_posix() for path in (tmp_path / "build" / "net").rglob("*")
    }
    assert {
        "net.c",
        "net.h",
        "net_config.h",
        "net_weights.h",
        "plan.json",
        "CMakeLists.txt",
        "report.html",
        "cmsisnn_x/convolve.h",
    } <= files
    assert "\x1b[" not in ran.out


def test_the_table_says_what_the_plan_says(run, tmp_path: Path) -> None:
    ran = run("net.yaml", "--target", "nrf52840dk", "-v")
    plan = json.loads((tmp_path / "build/net/plan.json").read_text(encoding="utf-8"))
    for layer in plan["layers"]:
        line = next(line for line in ran.out.splitlines() if re.match(rf" *{layer['name']} ", line))
        for number in (f"{layer['cycles']:,}", f"{layer['scratch_bytes']:,}", f"{layer['flash_bytes']:,}"):
            assert number in line
    assert f"{plan['totals']['ms']:.3f}" in ran.out
    assert f"{plan['totals']['cycles'] / 1:,.0f}" in ran.out
    assert "262,144 bytes" in ran.out
    assert "Where the cycles go:" in ran.out
    assert "uJ per inference" in ran.out


def test_json_is_the_plan_and_nothing_else(run, tmp_path: Path) -> None:
    ran = run("net.yaml", "--json", "--clock", "216M", "-o", "here")
    assert ran.err == ""
    plan = json.loads(ran.out)
    assert (plan["schema"], plan["target"], plan["clock_hz"]) == ("plan-2", "cortex-m7", 216_000_000)
    assert json.loads((tmp_path / "here/plan.json").read_text(encoding="utf-8")) == plan


def test_quiet_prints_nothing(run) -> None:
    ran = run("net.yaml", "-q")
    assert (ran.status, ran.out, ran.err) == (0, "", "")


def test_running_again_replaces_its_own_files_and_keeps_the_others(run, tmp_path: Path) -> None:
    assert run("net.yaml", "-q", "--target", "cortex-m3").status == 0
    folder = tmp_path / "build/net"
    (folder / "mine.txt").write_text("keep", encoding="utf-8")
    first = (folder / "plan.json").read_text(encoding="utf-8")
    assert run("net.yaml", "-q", "--target", "cortex-m4").status == 0
    assert (folder / "mine.txt").read_text(encoding="utf-8") == "keep"
    assert (folder / "plan.json").read_text(encoding="utf-8") != first
    assert not list(folder.glob(".*"))


def test_lists(run) -> None:
    targets = run("--list-targets")
    assert targets.status == 0
    for name in list_targets():
        assert name in targets.out
    assert "216 MHz" in targets.out
    models = run("--list-models")
    assert "cifar10_cmsis" in models.out
    assert "12,298,240" in models.out
    assert "digits_resnet" in models.out


def test_version(run) -> None:
    from cmsisnn_x import __version__

    assert run("--version").out == f"cmsisnn-tune {__version__}\n"


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("--objective", "fast", "one of 'latency', 'sram', 'flash', 'balanced'"),
        ("--trials", "0", "a number greater than or equal to 1"),
        ("--seed", "1.5", "a valid integer"),
    ],
)
def test_values_that_options_do_not_take(run, option: str, value: str, expected: str) -> None:
    result = run("cifar10", option, value)
    assert (result.status, result.out) == (2, "")
    assert result.err == f"error: {option}: expected {expected}, got {value!r}\n"


def test_help_names_every_option_and_the_subcommands(run) -> None:
    ran = run("--help")
    assert ran.status == 0
    options = """--target --clock --sram --flash --objective --score --strategy --trials --jobs --seed --output -o
        --json -q -v
        --no-color --version --list-targets --list-models compare calibrate check-arm paper-table records
        --install-completion"""
    for word in options.split():
        assert word in ran.out
    assert "cmsisnn-tune [OPTIONS]" in ran.out
    assert "<bool>" not in ran.out  # a flag takes no value
    assert "Usage: cmsisnn-tune compare" in run("compare", "--help").out


def test_completion_is_no_option_of_the_hidden_command(run) -> None:
    assert "No such option" not in run("--show-completion").err  # which shell, if any, is the machine's matter


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["missing.yaml"], "missing.yaml: no such file"),
        (["cifar1O"], "did you mean 'cifar10'?"),
        (["."], "expected a YAML, .tflite or .onnx file, got a directory"),
        (["net.yaml", "--target", "cortexm33"], "did you mean 'cortex-m33'?"),
        (["net.yaml", "--sram", "lots"], "--sram: expected a size such as 65536, 64K, 64KiB or 1M, got 'lots'"),
        (["net.yaml", "--flash", "0"], "--flash: expected"),
        (["net.yaml", "--clock", "fast"], "--clock: expected a frequency"),
        (["net.yaml", "--objective", "speed"], "latency"),
        (["net.yaml", "--trials", "0"], "--trials"),
        (["net.yaml", "--seed", "-1"], "--seed"),
        (["net.yaml", "--sarm", "1K"], "--sram"),
        (["net.yaml", "extra"], "extra"),
        (["net.yaml", "-o", "net.yaml"], "net.yaml"),
        (["compare", "net.yaml", "net.yaml"], "expected a plan.json"),
        (["compare", "none.json", "none.json"], "none.json: no such file"),
        ([], "Usage"),
    ],
)
def test_bad_usage_and_bad_input_end_with_status_2(run, arguments: list[str], expected: str) -> None:
    ran = run(*arguments)
    assert ran.status == 2
    assert expected in ran.err + ran.out


def test_a_bad_model_names_file_line_and_key(run, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text(MODEL.replace("kernel", "kernal"), encoding="utf-8")
    ran = run("bad.yaml")
    assert ran.status == 2
    assert ran.err.startswith("error: bad.yaml:5: layers[0].kernal: unknown key; did you mean 'kernel'?")
    assert not (tmp_path / "build").exists()


def test_a_pin_that_no_kernel_has_names_the_layer(run, tmp_path: Path) -> None:
    (tmp_path / "pin.yaml").write_text(
        MODEL.replace("out_shift: 7}", "out_shift: 7, variant: {block_rows: 1, block_cols: 4}}"), encoding="utf-8"
    )
    ran = run("pin.yaml")
    assert ran.status == 2
    assert "layer 'c': variant" in ran.err


def test_an_impossible_budget_ends_with_status_1_and_says_what_would_fit(run, tmp_path: Path) -> None:
    ran = run("net.yaml", "--sram", "100")
    assert ran.status == 1
    assert "over by" in ran.err
    assert "Layer '" in ran.err
    smallest = re.search(r"--sram (\d+)", ran.err)[1]
    assert not (tmp_path / "build").exists()
    assert run("net.yaml", "-q", "--sram", smallest).status == 0


def test_a_model_called_like_a_subcommand_is_reached_by_its_path(run, tmp_path: Path) -> None:
    (tmp_path / "compare").write_text(MODEL, encoding="utf-8")
    assert run("./compare", "-q").status == 0
    assert run("--seed", "3", "net.yaml", "-q").status == 0  # options may come first


def test_a_board_file_of_ones_own(run, tmp_path: Path) -> None:
    (tmp_path / "boards").mkdir()
    board = tmp_path / "boards/mine.yaml"
    board.write_text("schema: 1\nname: mine\ninherit: cortex-m4\nclock_hz: 48M\nsram_bytes: 32K\n", encoding="utf-8")
    plan = json.loads(run("net.yaml", "--json", "--target", "boards/mine.yaml").out)
    assert (plan["target"], plan["core"], plan["clock_hz"], plan["budget"]["sram"]) == (
        "mine",
        "cortex-m4",
        48_000_000,
        32768,
    )


def test_compare_shows_what_changed(run) -> None:
    run("net.yaml", "-q", "--target", "cortex-m4", "-o", "a")
    run("net.yaml", "-q", "--target", "cortex-m4", "--objective", "flash", "-o", "b")
    ran = run("compare", "a/plan.json", "b/plan.json")
    assert ran.status == 0
    for word in ("A: a/plan.json", "least flash", "what changed", "cycles", "flash_bytes", "%"):
        assert word in ran.out


@pytest.mark.parametrize("strategy", ["random", "bayesian", "exhaustive"])
def test_every_strategy_runs_and_the_seed_decides(run, strategy: str) -> None:
    plans = [run("net.yaml", "--json", "--strategy", strategy, "--trials", "12", "--seed", "4").out for _ in range(2)]
    assert plans[0] == plans[1]
    assert json.loads(plans[0])["strategy"] == strategy


def test_under_bayesian_the_trials_are_scikit_optimizes(run, monkeypatch: pytest.MonkeyPatch) -> None:
    import skopt

    calls = []
    original = skopt.Optimizer.ask
    monkeypatch.setattr(skopt.Optimizer, "ask", lambda self, *a, **k: calls.append(1) or original(self, *a, **k))
    assert run("net.yaml", "-q", "--strategy", "bayesian", "--trials", "10").status == 0
    assert len(calls) >= 8
    calls.clear()
    assert run("net.yaml", "-q", "--strategy", "random", "--trials", "10").status == 0
    assert calls == []


@pytest.mark.full
@pytest.mark.emulated
def test_auto_is_bayesian_under_emulation(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import skopt

    calls = []
    original = skopt.Optimizer.ask
    monkeypatch.setattr(skopt.Optimizer, "ask", lambda self, *a, **k: calls.append(1) or original(self, *a, **k))
    monkeypatch.setenv("CMSISNN_X_CACHE", str(tmp_path / "cache"))
    ran = run("net.yaml", "--target", "cortex-m4", "--score", "emulate", "--trials", "6")
    assert ran.status == 0
    assert calls
    assert "c: 6/6 emulated, best" in ran.err
    assert "emulated cycles" in ran.out
    assert (tmp_path / "cache/records.sqlite").is_file()


def test_emulation_without_the_extra_says_what_to_install(run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    for name in ("ziglang", "unicorn", "capstone", "elftools"):
        monkeypatch.setitem(sys.modules, name, None)
    ran = run("net.yaml", "--score", "emulate")
    assert ran.status == 2
    assert "pip install ziglang unicorn capstone pyelftools" in ran.err


def python(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=True, cwd=folder, env={**os.environ}
    )


def test_help_and_lists_import_nothing_heavy(tmp_path: Path) -> None:
    for option in ("--help", "--list-targets", "--version"):
        code = (
            f"import sys; sys.argv = ['cmsisnn-tune', '{option}']\n"
            "from tuning.cli.main import main\n"
            "try:\n    main()\nexcept SystemExit:\n    pass\n"
            "heavy = {'skopt', 'scipy', 'sklearn', 'unicorn', 'matplotlib', 'joblib'} & set(sys.modules)\n"
            "assert not heavy, heavy\n"
        )
        python("-c", code, folder=tmp_path)


@pytest.mark.full
def test_no_scipy_in_the_main_job(tmp_path: Path) -> None:
    code = (
        "import sys; sys.argv = ['cmsisnn-tune', 'cifar10', '-q']\n"
        "from tuning.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    assert not stop.code\n"
        "assert not {'skopt', 'scipy', 'sklearn', 'unicorn', 'matplotlib'} & set(sys.modules)\n"
    )
    python("-c", code, folder=tmp_path)


def test_names_of_classes_reach_the_example(run, tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("\n".join(f"digit {at}" for at in range(10)) + "\n", encoding="utf-8")
    for given in (str(names), ",".join(f"digit {at}" for at in range(10))):
        assert run("digits", "--classes", given, "-o", str(tmp_path / "out"), "-q").status == 0
        assert '"digit 9",' in (tmp_path / "out" / "example" / "main.c").read_text(encoding="utf-8")
    for given, says in (
        ("a,b", "--classes: expected 10 names, one for each element of the output, got 2"),
        ("a,b,c,d,e,f,g,h,i," + "j" * 200, "--classes: expected printable names of at most 128 characters"),
    ):
        done = run("digits", "--classes", given, "-o", str(tmp_path / "out"))
        assert done.status == 2
        assert says in done.err
