# SPDX-License-Identifier: Apache-2.0
"""Files are replaced one by one by atomic rename, ours only, plan.json last."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

import tuning
from helpers.networks import NETWORKS
from helpers.plans import make_plan
from tuning.base.errors import OptionError
from tuning.emit import emit_plan, render, writer


def test_running_again_replaces_ours_and_leaves_the_rest(tmp_path: Path) -> None:
    plan = make_plan("net", NETWORKS["only_relu"])
    theirs = {tmp_path / "main.c": "int main(void) { return 0; }\n", tmp_path / "cmsisnn_x" / "mine.h": "/* mine */\n"}
    (tmp_path / "cmsisnn_x").mkdir()
    for path, text in theirs.items():
        path.write_text(text)
    written = emit_plan(plan, tmp_path / ".")
    assert written[-1].name == "plan.json"
    (tmp_path / "net.c").write_text("#error edited\n")
    (tmp_path / "net_config.h").unlink()
    assert tuning.emit(plan, str(tmp_path)) == written
    for path, text in {**{tmp_path / name: text for name, text in render(plan).items()}, **theirs}.items():
        assert path.read_text(encoding="utf-8") == text, path
    assert len([p for p in tmp_path.rglob("*") if p.is_file()]) == len(written) + len(theirs)


@pytest.mark.parametrize("name", ["README.md", "example/main.c", "net.h", "plan.json", "cmsisnn_x/relu.h"])
def test_a_file_that_others_wrote_is_not_replaced(tmp_path: Path, name: str) -> None:
    plan = make_plan("net", NETWORKS["only_relu"])
    theirs = tmp_path / name
    theirs.parent.mkdir(exist_ok=True)
    theirs.write_text("theirs\n")
    with pytest.raises(OptionError, match=f"--output: {theirs} is not of this tool.* --force"):
        emit_plan(plan, tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [theirs]
    tuning.emit(plan, tmp_path, force=True)
    assert theirs.read_text(encoding="utf-8") == render(plan)[name]


def test_what_stands_there_already_is_no_reason_to_refuse(tmp_path: Path) -> None:
    plan = make_plan("net", NETWORKS["only_relu"])
    emit_plan(plan, tmp_path)
    (tmp_path / "plan.json").unlink()  # as after a run that was killed
    assert emit_plan(plan, tmp_path)


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = make_plan("net", NETWORKS["only_relu"])
    emit_plan(plan, tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    def full_disk(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full_disk)
    with pytest.raises(OSError, match="No space left"):
        emit_plan(make_plan("net", NETWORKS["only_relu"], core="cortex-m7"), tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_bad_plan_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected at least one layer"):
        emit_plan(replace(make_plan("net", NETWORKS["only_relu"]), layers=()), tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.skipif(os.name != "posix", reason="sends SIGKILL")
def test_a_killed_run_leaves_whole_files(tmp_path: Path) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from tuning.emit.writer import write_files\n"
        "files = {f'{i}.txt': f'{i}\\n' * 200_000 for i in range(8)}\n"
        "print('ready', flush=True)\n"
        "while True: write_files(files, sys.argv[2])"
    )
    folder = tmp_path / "out"
    process = subprocess.Popen([sys.executable, "-c", code, Path(__file__).parents[2], folder], stdout=subprocess.PIPE)
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == b"ready\n"
        time.sleep(0.3)
        process.send_signal(signal.SIGKILL)
        process.wait()
    whole = [path for path in folder.iterdir() if path.suffix == ".txt"]
    assert whole
    for path in whole:
        assert path.read_text() == f"{path.stem}\n" * 200_000, path.name
    for leftover in folder.glob(".*.partial"):
        os.utime(leftover, (0, 0))
    writer.write_files({f"{i}.txt": "" for i in range(8)}, folder)
    assert sorted(path.name for path in folder.iterdir()) == [f"{i}.txt" for i in range(8)]


def test_links_out_of_the_folder_are_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "main.c").write_text("theirs")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "example").symlink_to(tmp_path / "theirs")
    with pytest.raises(OptionError, match=r"out/example: expected a folder of .*, got a link to .*theirs"):
        writer.write_files({"a.c": "ours", "example/main.c": "ours"}, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["example"]
    assert (tmp_path / "theirs" / "main.c").read_text() == "theirs"
