# SPDX-License-Identifier: Apache-2.0
"""Disks that are full or read-only, and runs that meet: a folder is whole or as it was, a record is never lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from helpers.forked import Ended, ForkServer
from tuning.emit import writer
from tuning.measure.records import Records

MODEL = (
    "schema: 1\nname: net\ninput: {shape: [8, 8, 4], dtype: q7}\n"
    "layers:\n  - {name: c, op: conv2d, out_channels: 6, kernel: 3, padding: 1, out_shift: 7}\n"
)


def everything(folder: Path) -> dict[str, bytes | None]:
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in sorted(folder.rglob("*"))}


@pytest.fixture
def model(box: Path) -> Path:
    (box / "m.yaml").write_text(MODEL)
    return box


@pytest.fixture
def folder(server: ForkServer, model: Path) -> Path:
    """An emitted folder."""
    assert server.run("cmsisnn-tune", "m.yaml", "-q", "--target", "cortex-m4", "-o", "out", cwd=model).status == 0
    return model / "out"


@pytest.mark.parametrize("file_bytes", [500, 3_000, 20_000])
def test_a_full_disk_leaves_the_folder_as_it_was(server: ForkServer, folder: Path, file_bytes: int) -> None:
    before = everything(folder.parent)
    for output in ("out", "new/deep"):
        ended = server.run(
            "cmsisnn-tune",
            "m.yaml",
            "-q",
            "--target",
            "cortex-m7",
            "-o",
            output,
            cwd=folder.parent,
            file_bytes=file_bytes,
        )
        assert ended.status == 2
        assert "File too large" in ended.err
        assert ended.err.count("\n") == 1
        assert everything(folder.parent) == before


def test_a_read_only_folder_is_one_message(server: ForkServer, folder: Path) -> None:
    command = ("cmsisnn-tune", "m.yaml", "-q", "--target", "cortex-m7", "-o")
    for place, output in ((folder, "out"), (folder / "cmsisnn_x", "out"), (folder.parent, "new")):
        before = everything(folder.parent)
        place.chmod(0o500)
        try:
            ended = server.run(*command, output, cwd=folder.parent, unprivileged=True)
        finally:
            place.chmod(0o700)
        assert ended.status == 2, place
        assert "Permission denied" in ended.err
        assert ended.err.count("\n") == 1
        assert everything(folder.parent) == before


def test_a_file_where_a_folder_belongs_is_one_message(refuse: Callable[..., Ended], model: Path) -> None:
    (model / "out").mkdir()
    (model / "out" / "cmsisnn_x").write_text("a file")
    refuse("cmsisnn-tune", "m.yaml", "-o", "out", says="cmsisnn_x")


def test_a_folder_where_a_file_belongs_is_one_message(refuse: Callable[..., Ended], model: Path) -> None:
    (model / "out" / "net.c").mkdir(parents=True)
    refuse("cmsisnn-tune", "m.yaml", "-o", "out", says="net.c")


def test_a_cache_that_cannot_be_written_does_not_matter(server: ForkServer, model: Path) -> None:
    (model / "cache").write_text("a file where the folder belongs")
    ended = server.run(
        "cmsisnn-tune", "m.yaml", "-q", "-o", "out", cwd=model, environment={"CMSISNN_X_CACHE": str(model / "cache")}
    )
    assert (ended.status, ended.err) == (0, "")


WRITE = """
import sys
from tuning.emit.writer import write_files
letter, folder = sys.argv[1:]
print("ready", flush=True)
sys.stdin.readline()
for run in range(40):
    write_files({f"{i}.txt": f"{letter}{run}" * 1000 for i in range(12)}, folder)
"""


def test_runs_into_one_folder_do_not_mix(tmp_path: Path) -> None:
    """Whatever is there when nobody is between two renames comes from one run."""
    command = [sys.executable, "-c", WRITE]
    runs = [
        subprocess.Popen(
            [*command, letter, str(tmp_path / "out")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for letter in "AB"
    ]
    for run in runs:
        assert run.stdout.readline() == "ready\n"
    for run in runs:
        run.stdin.write("go\n")
        run.stdin.flush()
    seen = set()
    while any(run.poll() is None for run in runs):
        if not (tmp_path / "out").is_dir():
            continue
        with writer.locked(tmp_path / "out"):
            texts = {path.read_text() for path in (tmp_path / "out").glob("[0-9]*.txt")}
        assert len(texts) <= 1
        seen |= texts
    for run in runs:
        run.communicate()
        assert run.returncode == 0
    assert {text[0] for text in seen} <= {"A", "B"}
    assert len(list((tmp_path / "out").iterdir())) == 12


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_waits_for_the_last_rename(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    def told(*_: object) -> None:
        raise KeyboardInterrupt

    writer.write_files({f"{i}.txt": "old" for i in range(12)}, tmp_path)
    replace, before = Path.replace, signal.signal(number, told)
    monkeypatch.setattr(Path, "replace", lambda a, b: (os.kill(os.getpid(), number), replace(a, b)))
    try:
        with pytest.raises(KeyboardInterrupt):
            writer.write_files({f"{i}.txt": "new" for i in range(12)}, tmp_path)
    finally:
        signal.signal(number, before)
    assert everything(tmp_path) == {f"{i}.txt": b"new" for i in range(12)}


PUT = """
import sys
from tuning.measure.records import Records
with Records(sys.argv[2]) as records:
    for number in range(30):
        records.put({f"{sys.argv[1]}-{number}": {"cycles": number}})
"""


def test_runs_into_one_record_file_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "records.sqlite"
    runs = [subprocess.Popen([sys.executable, "-c", PUT, str(worker), str(path)]) for worker in range(3)]
    assert [run.wait() for run in runs] == [0, 0, 0]
    with Records(path) as records:
        assert len(records) == 90
        assert records.get(["2-29"]) == {"2-29": {"cycles": 29}}


def test_a_plan_names_what_it_was_made_with(folder: Path) -> None:
    """What a folder holds belongs together: the plan's target is the configuration's."""
    plan = json.loads((folder / "plan.json").read_text())
    assert plan["target"] == "cortex-m4"
    assert "cortex-m4" in (folder / "net_config.h").read_text()


@pytest.mark.parametrize(
    ("command", "theirs"),
    [
        ("cmsisnn-tune m.yaml -o .", "README.md"),
        ("cmsisnn-tune m.yaml -o out --score emulate", "out/example/main.c"),
        ("cmsisnn-tune paper-table -o . --score estimate", "CMakeLists.txt"),
        ("cmsisnn-tune calibrate --fetch --target cortex-m4 -o .", "fetch-cortex-m4.json"),
        ("cmsisnn-tune calibrate --target cortex-m4 -o .", "cortex-m4.json"),
        ("cmsisnn-tune calibrate --target stm32l4r5 --from a.csv --plan out", "stm32l4r5-fitted.yaml"),
        ("cmsisnn-tune records export lines.json", "lines.json"),
        ("cmsisnn-quantize net.onnx --calibration data.npz -o net2.yaml", "net2.npz"),
        ("cmsisnn-quantize net.onnx --calibration data.npz -o net2.yaml", "net2_float.npz"),
        ("cmsisnn-quantize net.onnx --calibration data.npz -o net2.tflite", "net2.tflite"),
        ("cmsisnn-quantize net.onnx --calibration data.npz -o n.yaml --save net2.tflite", "net2.tflite"),
    ],
)
def test_no_command_replaces_what_others_wrote(
    model: Path, refuse: Callable[..., Ended], command: str, theirs: str
) -> None:
    (model / theirs).parent.mkdir(parents=True, exist_ok=True)
    (model / "net.onnx").touch()
    (model / theirs).write_text("theirs\n")
    refuse(*command.split(), says=f"{theirs} is not of this tool and would be replaced")


@pytest.mark.parametrize(
    "arguments",
    ["p.yaml", "m.yaml --target p.yaml", "m.yaml --check p.yaml"],
)
def test_a_pipe_is_not_waited_for(model: Path, refuse: Callable[..., Ended], arguments: str) -> None:
    os.mkfifo(model / "p.yaml")
    refuse("cmsisnn-tune", *arguments.split(), says="got a pipe")


def test_a_cluster_without_emulation_is_refused(model: Path, refuse: Callable[..., Ended]) -> None:
    refuse("cmsisnn-tune", "m.yaml", "--dask", "tcp://127.0.0.1:1", says="--dask: goes with --score emulate")


def test_an_interrupted_import_is_an_interruption() -> None:
    # What extension modules make of Ctrl-C while they are imported is no KeyboardInterrupt.
    code = """
import os, signal, tuning.cli.start as start
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where tests run in the background
def imports(*_):
    try:
        os.kill(os.getpid(), signal.SIGINT)
    except KeyboardInterrupt:
        raise ImportError("PyCapsule_Import could not import module") from None
start.import_module = imports
start.tune()
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (130, "", "interrupted\n")
