# SPDX-License-Identifier: Apache-2.0
"""Whose code a plan is for: that of the core's compiler, or of the one that ``--compiler`` names."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path

import pytest

import tuning
from helpers.commands import run_tune
from tuning.base.cflags import CFLAGS, CLANG_CFLAGS
from tuning.base.errors import MissingToolError
from tuning.cli.verify import main
from tuning.emulate import find_toolchain, prefer_toolchain, toolchain, toolchain_of
from tuning.measure.folder import draw_inputs, load, verify
from tuning.report.explain import network_error_bar

MODEL = """
schema: 1
name: net
input: {shape: [8, 8, 4], dtype: q7}
layers:
  - {name: c, op: conv2d, out_channels: 6, kernel: 3, out_shift: 7}
  - {name: d, op: depthwise_conv2d, kernel: 3, padding: 1, out_shift: 6}
  - {name: f, op: fully_connected, out_features: 5, out_shift: 8}
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.yaml").write_text(MODEL, encoding="utf-8")
    return partial(run_tune, monkeypatch, capfd)


@pytest.mark.parametrize(
    ("core", "asked", "compiler", "cflags"),
    [
        ("cortex-m4", None, "gcc", CFLAGS),
        ("cortex-m4", "clang", "clang", CLANG_CFLAGS),
        ("cortex-m55", None, "clang", CLANG_CFLAGS),
        ("cortex-m85", "gcc", "gcc", CFLAGS),
    ],
)
def test_a_plan_is_for_a_compiler(run, core: str, asked: str | None, compiler: str, cflags: tuple[str, ...]) -> None:
    ran = run("net.yaml", "--target", core, *(["--compiler", asked] if asked else []))
    assert (ran.status, ran.err) == (0, "")
    content = json.loads(Path("build/net/plan.json").read_text())
    assert (content["compiler"], tuple(content["cflags"])) == (compiler, cflags)
    firmware = load(Path("build/net"))
    assert (firmware.compiler, firmware.cflags) == (compiler, cflags)
    readme = Path("build/net/README.md").read_text()
    assert " ".join(cflags) in readme
    assert ("-mfloat-abi=hard" in readme) == (core != "cortex-m4")
    if core == "cortex-m4":
        assert ("Error not known: estimates are of code by gcc" in ran.out) == (asked == "clang")


def test_the_error_of_an_estimate_is_that_of_code_by_the_same_compiler(tmp_path: Path) -> None:
    (tmp_path / "net.yaml").write_text(MODEL, encoding="utf-8")
    model, target = tuning.load_model(tmp_path / "net.yaml"), tuning.load_target("cortex-m4")
    assert network_error_bar(tuning.tune(model, target)) is not None
    assert network_error_bar(tuning.tune(model, target, compiler="clang")) is None


def test_the_compiler_of_a_core_is_preferred_and_one_that_is_named_is_needed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert toolchain_of("cortex-m55").kind == prefer_toolchain("clang").kind == "clang"
    if shutil.which("arm-none-eabi-gcc"):
        assert toolchain_of("cortex-m4").kind == "gcc"
        assert toolchain_of("cortex-m55", "gcc").kind == "gcc"
    find_toolchain.cache_clear()
    try:
        monkeypatch.setenv("PATH", str(tmp_path))
        assert toolchain_of("cortex-m4").kind == "clang"
        (tmp_path / "net.yaml").write_text(MODEL, encoding="utf-8")
        model, target = tuning.load_model(tmp_path / "net.yaml"), tuning.load_target("cortex-m55")
        with pytest.raises(MissingToolError, match=r"^arm-none-eabi-gcc is not installed"):
            tuning.tune(model, target, score="emulate", compiler="gcc", records=tmp_path / "records")
        monkeypatch.setattr(toolchain.util, "find_spec", lambda name: None)
        find_toolchain.cache_clear()
        for asked in ("clang", None):  # not other code than the plan says
            with pytest.raises(MissingToolError, match=r"^the ziglang package is not .*: pip install ziglang "):
                tuning.tune(model, target, score="emulate", compiler=asked, records=tmp_path / "records")
        with pytest.raises(MissingToolError, match=r"^neither arm-none-eabi-gcc nor the ziglang package"):
            toolchain_of("cortex-m55")
        monkeypatch.setattr(toolchain.shutil, "which", lambda name: "/usr/bin/arm-none-eabi-gcc")
        with pytest.raises(MissingToolError, match=r"^the ziglang package.*, or take --compiler gcc$"):
            tuning.tune(model, target, score="emulate", records=tmp_path / "records")
    finally:
        find_toolchain.cache_clear()


def test_vectors_are_not_verified_on_a_core_without(run, monkeypatch: pytest.MonkeyPatch, capfd) -> None:
    assert run("net.yaml", "--target", "cortex-m55").status == 0
    monkeypatch.setattr("sys.argv", ["cmsisnn-verify", "build/net", "--target", "nucleo-f746zg"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert capfd.readouterr().err == (
        "error: --target: the plan is for cortex-m55, with 3 of 3 layers in vectors (c ..): expected cortex-m52, "
        "cortex-m55, cortex-m85 or a board with one of them, got cortex-m7; run cmsisnn-tune for cortex-m7\n"
    )


def test_an_unknown_compiler_is_refused(run) -> None:
    assert "'gcc', 'clang'" in run("net.yaml", "--compiler", "icc").err


@pytest.mark.emulated
@pytest.mark.parametrize(("core", "compiler"), [("cortex-m55", None), ("cortex-m85", "gcc")])
def test_cores_with_helium_are_tuned_emulated_and_verified(core: str, compiler: str | None, tmp_path: Path) -> None:
    if compiler == "gcc" and not shutil.which("arm-none-eabi-gcc"):
        pytest.skip("arm-none-eabi-gcc is not installed")
    first = MODEL[: MODEL.index("  - {name: d")]
    (tmp_path / "net.yaml").write_text(first, encoding="utf-8")
    model, target = tuning.load_model(tmp_path / "net.yaml"), tuning.load_target(core)
    options = {"score": "emulate", "trials": 1, "records": tmp_path / "records", "pareto": True}
    plan = tuning.tune(model, target, compiler=compiler, **options)
    assert plan.compiler == compiler or (compiler is None and plan.compiler == "clang")
    tuning.emit(plan, tmp_path / "net")
    firmware = load(tmp_path / "net")
    used = prefer_toolchain(firmware.compiler)
    assert used.kind == plan.compiler
    result = verify(firmware, used, draw_inputs(firmware, 1), target=target)
    assert result.exact, result.mismatches
    # Each layer was emulated beside nothing else; in the firmware it takes a few cycles more or less.
    assert result.trace.cycles == pytest.approx(plan.totals["cycles"], rel=0.05)
