# SPDX-License-Identifier: Apache-2.0
"""Records: kept, shared, and never in the way."""

from __future__ import annotations

import io
import json
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path

import jsonschema
import pytest

from cmsisnn_x import Variant
from cmsisnn_x.steps import Step
from tuning import OptionError
from tuning.base.cflags import CFLAGS
from tuning.emulate import EmulationError, ToolchainError, toolchain
from tuning.load import load_model
from tuning.measure.bench import Bench, kernel_digest, tools_digest
from tuning.measure.layers import Evaluation
from tuning.measure.record import Record, key_of
from tuning.measure.records import Records, default_path
from tuning.schemas import published
from tuning.search.space import search_space
from tuning.target import load_target


def test_what_was_put_is_found_again(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "records.sqlite"
    with Records(path) as records:
        records.put({"a": {"cycles": 1}, "b": {"problem": "no"}})
    with Records(path) as records:
        assert records.get(["a", "c", "b"]) == {"a": {"cycles": 1}, "b": {"problem": "no"}}
        records.put({"a": {"cycles": 2}})
        assert records.get(["a"]) == {"a": {"cycles": 2}}
        assert len(records) == 2


def test_writers_do_not_lose_each_others_entries(tmp_path: Path) -> None:
    path = tmp_path / "records.sqlite"

    def write(worker: int) -> None:
        with Records(path) as records:
            for number in range(20):
                records.put({f"{worker}-{number}": {"cycles": number}})

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    with Records(path) as records:
        assert len(records) == 80


def test_a_corrupt_file_is_set_aside_with_a_message(tmp_path: Path) -> None:
    content = b"this is no database at all" * 100
    path = tmp_path / "records.sqlite"
    path.write_bytes(content)
    with Records(path) as records:
        assert "set aside as records.unreadable" in records.message
        records.put({"a": {"cycles": 1}})
        assert records.get(["a"]) == {"a": {"cycles": 1}}
    assert (tmp_path / "records.unreadable").read_bytes() == content


def test_what_sqlite_quotes_of_a_damaged_file_is_printable(tmp_path: Path) -> None:
    path = tmp_path / "records.sqlite"
    with Records(path) as records:
        records.put({"a": {"cycles": 1}})
    content = path.read_bytes()
    assert content.count(b"asked (") == 1
    path.write_bytes(content.replace(b"asked (", b"asked\x0b("))
    with Records(path) as records:
        assert "set aside" in records.message
        assert records.message.isprintable()


def make_file(path: Path, version: int) -> None:
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE evaluation (key TEXT PRIMARY KEY, content TEXT NOT NULL)")
    database.execute(f"PRAGMA user_version={version}")
    database.commit()
    database.close()


def test_a_file_of_an_older_version_is_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "records.sqlite"
    for aside in ("records.unreadable", "records.unreadable-2"):  # the second does not overwrite the first
        make_file(path, 1)
        with Records(path) as records:
            assert "it has format 1" in records.message
            assert f"set aside as {aside}" in records.message
            assert len(records) == 0
        assert (tmp_path / aside).exists()
        path.unlink()


def test_a_file_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "records.sqlite"
    make_file(path, 99)
    before = path.read_bytes()
    with Records(path) as records:
        assert "newer version of cmsisnn-x (format 99); left alone" in records.message
        records.put({"a": {"cycles": 1}})
        assert records.get(["a"]) == {"a": {"cycles": 1}}
    assert path.read_bytes() == before
    assert [item.name for item in tmp_path.iterdir()] == [path.name]


def test_where_nothing_can_be_written_memory_does(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with Records(tmp_path / "file" / "records.sqlite") as records:
        assert "cannot be kept" in records.message
        records.put({"a": {"cycles": 1}})
        assert records.get(["a"]) == {"a": {"cycles": 1}}


def test_the_cache_directory_can_be_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CMSISNN_X_CACHE", str(tmp_path))
    assert default_path() == tmp_path / "records.sqlite"


@pytest.mark.emulated
def test_a_bench_emulates_once_and_then_reads_its_records(tmp_path: Path) -> None:
    """An empty store is false as a container; it must be filled all the same."""
    layer, target = load_model("digits").layers[0], load_target("cortex-m4")
    steps = [Step((layer,), variant) for variant in search_space(layer, target).variants[:2]]
    with Records(tmp_path / "records.sqlite") as records:
        bench = Bench(target, CFLAGS, records=records)
        first = bench.measure(steps)
        assert (bench.emulated, len(records)) == (2, 2)
    with Records(tmp_path / "records.sqlite") as records:
        again = Bench(target, CFLAGS, records=records)
        assert again.measure(steps) == first
        assert again.emulated == 0
        assert again.measure(steps, (False, False))
        assert again.emulated == 2  # another alignment is another measurement


# ---------------------------------------------------------------- what every evaluation is about


def entry(number: int) -> tuple[str, dict[str, object], dict[str, object]]:
    """``(key, about, result)`` that keep to the published schema."""
    digest = f"{number:064x}"
    about = {
        "op": "convolve", "kernels": digest, "tools": digest, "layer": {"name": f"c{number}"}, "parameters": digest,
        "variant": {"unroll": 4}, "aligned": [True, False], "core": "cortex-m4", "target": digest,
        "compiler": "gcc 12", "cflags": ["-O3"],
    }  # fmt: skip
    result = dict.fromkeys(("cycles", "instructions", "code_bytes", "stack_bytes"), number)
    return key_of(about), about, {**result, "failure": None, "problem": None}


def fill(records: Records, numbers: range) -> None:
    for number in numbers:
        key, about, result = entry(number)
        records.put({key: result}, {key: about})


@pytest.mark.emulated
def test_an_evaluation_says_what_it_is_about(tmp_path: Path) -> None:
    layer, target = load_model("digits").layers[0], load_target("cortex-m4")
    variant = search_space(layer, target).variants[0]
    with Records(tmp_path / "records.sqlite") as records:
        bench = Bench(target, CFLAGS, records=records)
        bench.measure([Step((layer,), variant)], (False, True))
        lines = io.StringIO()
        assert records.export(lines) == 1
        key = bench.key(Step((layer,), variant), (False, True))
    line = json.loads(lines.getvalue())
    jsonschema.validate(line, published("record-1"))
    assert line["key"] == key == key_of(line["about"])
    assert line["about"]["variant"] == asdict(variant)
    assert line["about"]["cflags"] == list(CFLAGS)
    step = Step((layer,), variant)
    changed = (
        bench.key(Step((replace(layer, out_shift=layer.out_shift + 1),), variant), (False, True)),
        bench.key(Step((replace(layer, weights=layer.weights + 1),), variant), (False, True)),
        bench.key(Step((layer,), replace(variant, unroll=8)), (False, True)),
        bench.key(step, (True, True)),
        Bench(target, (*CFLAGS, "-g")).key(step, (False, True)),
        Bench(load_target("cortex-m3"), CFLAGS).key(step, (False, True)),
    )
    assert len({key, *changed}) == 7
    # Memory sizes and the clock cannot change cycles.
    assert Bench(replace(target, sram_bytes=1, clock_hz=1), CFLAGS).key(step, (False, True)) == key


@pytest.mark.emulated
@pytest.mark.parametrize(
    ("fake", "failure", "problem"),
    [
        (ToolchainError("candidates.c: #error no such knob"), "compile error", "no such knob"),
        (EmulationError("read of unmapped memory, at 0x10"), "fault", "unmapped"),
        (EmulationError("did not return within 500 instructions", failure="timeout"), "timeout", "within 500"),
        (b"\x7f", "wrong output", r"element \[0, 0, 0\] of the output: expected -?\d+, got 127; \d+ of \d+ differ"),
    ],
)
def test_failures_are_records_too(
    fake: object, failure: str, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer, target = load_model("digits").layers[0], load_target("cortex-m4")
    calls: list[int] = []

    def evaluate_many(steps: list[Step], *_: object, **__: object) -> list[Evaluation]:
        calls.append(len(steps))
        if isinstance(fake, Exception):
            raise fake
        return [Evaluation(step, 1, 1, 1, 1, fake * step.last.output_bytes) for step in steps]

    monkeypatch.setattr("tuning.measure.layers.evaluate_many", evaluate_many)
    for _ in range(2):
        with Records(tmp_path / "records.sqlite") as records:
            found = Bench(target, CFLAGS, records=records).measure([Step((layer,), Variant())])[0]
            assert found.failure == failure
            assert re.search(problem, found.problem)
            assert found.is_final
            jsonschema.validate(next(iter(records)).to_dict(), published("record-1"))
    assert calls == [1]  # the second run knew


@pytest.mark.emulated
@pytest.mark.parametrize(
    ("status", "said"),
    [
        (1, "/tmp/x.s: error: No space left on device"),
        (1, "cc1: error: out of memory allocating 65536 bytes"),
        (1, "gcc: fatal error: Killed signal terminated program cc1"),
        (1, ""),
        (-9, "x.c: warning: slow"),
    ],
)
def test_what_the_machine_is_to_blame_for_is_tried_again(
    status: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = toolchain._run

    def compiler(command: list[str]) -> subprocess.CompletedProcess[str]:
        failing = any(part.endswith("candidate0.c") for part in command)
        return subprocess.CompletedProcess(command, status, "", said) if failing else run(command)

    monkeypatch.setattr(toolchain, "_run", compiler)
    with Records(tmp_path / "records.sqlite") as records:
        bench = Bench(load_target("cortex-m4"), CFLAGS, records=records)
        assert bench.measure([Step((load_model("digits").layers[0],), Variant())])[0].failure == "compile error"
        assert len(records) == 0


# ---------------------------------------------------------------- accidents


def test_a_page_that_was_damaged_later_is_noticed_when_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "records.sqlite"
    with Records(path) as records:
        fill(records, range(200))
    raw = bytearray(path.read_bytes())
    raw[4096:] = b"\xa5" * (len(raw) - 4096)
    path.write_bytes(raw)
    with Records(path) as records:
        assert records.get([entry(3)[0]]) == {}
        assert "set aside as records.unreadable" in records.message
        fill(records, range(2))
        assert len(records) == 2
    assert (tmp_path / "records.unreadable").exists()


LIMITED = """
import resource, sys
sys.path.insert(0, sys.argv[2])
from tuning.measure.records import Records
from test_records import entry

with Records(sys.argv[1]) as records:
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    for number in range(60):
        key, about, result = entry(number)
        records.put({key: result}, {key: about})
    assert len(records.get([entry(number)[0] for number in range(60)])) == 60
    print(records.message)
"""


@pytest.mark.skipif(os.name == "nt", reason="file sizes are limited by POSIX's setrlimit")
def test_a_full_disk_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file system says no in the midst of a run; the next run finds everything."""
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    path = tmp_path / "records.sqlite"
    command = [sys.executable, "-c", LIMITED, str(path), str(Path(__file__).parent)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "cannot be written" in done.stdout
    assert "are kept in" in done.stdout
    assert len(list((tmp_path / "tmp").iterdir())) == 1
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    with Records(path) as records:
        assert records.message is None
        assert {item.key for item in records} == {entry(number)[0] for number in range(60)}
    assert list((tmp_path / "tmp").iterdir()) == []


WRITER = """
import sys
sys.path.insert(0, sys.argv[2])
from tuning.measure.records import Records
from test_records import fill

with Records(sys.argv[1]) as records:
    print("open", flush=True)
    sys.stdin.readline()
    fill(records, range(int(sys.argv[3]), int(sys.argv[3]) + 40))
    assert records.message is None, records.message
"""


def test_processes_write_at_the_same_time(tmp_path: Path) -> None:
    path = tmp_path / "records.sqlite"
    here = str(Path(__file__).parent)
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), here, str(40 * at)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for at in range(3)
    ]
    for writer in writers:
        assert writer.stdout.readline().strip() == b"open"
    for writer in writers:
        writer.stdin.write(b"\n")
        writer.stdin.flush()
    for writer in writers:
        writer.communicate()
        assert writer.returncode == 0
    with Records(path) as records:
        assert len(records) == 120


# ---------------------------------------------------------------- cmsisnn-tune records


def command(*arguments: str, cwd: Path, text: str | None = None) -> subprocess.CompletedProcess[str]:
    if text is None:
        from helpers.commands import run_forked  # not for the processes that import this module from its folder

        return run_forked("cmsisnn-tune", "records", *arguments, cwd=cwd)
    words = [sys.executable, "-m", "tuning", "records", *arguments]
    return subprocess.run(words, capture_output=True, text=True, cwd=cwd, input=text, check=False)


def test_records_travel_as_lines(tmp_path: Path) -> None:
    with Records(tmp_path / "a.sqlite") as records:
        fill(records, range(5))
    assert "5 evaluations written" in command("export", "x.jsonl", "--records", "a.sqlite", cwd=tmp_path).stdout
    lines = (tmp_path / "x.jsonl").read_text(encoding="utf-8")
    for line in lines.splitlines():
        jsonschema.validate(json.loads(line), published("record-1"))
    assert command("export", "-", "--records", "a.sqlite", cwd=tmp_path).stdout == lines
    with Records(tmp_path / "b.sqlite") as records:
        fill(records, range(3, 7))
    added = command("import", "x.jsonl", "--records", "b.sqlite", cwd=tmp_path)
    assert "3 evaluations added" in added.stdout
    assert "2 were known" in added.stdout
    with Records(tmp_path / "b.sqlite") as records:
        assert {item.key for item in records} == {entry(number)[0] for number in range(7)}
    added = command("import", "-", "--records", "new.sqlite", cwd=tmp_path, text=lines)
    assert "5 evaluations added" in added.stdout


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda item: {**item, "key": "0" * 64}, "key: expected the digest of `about`"),
        (lambda item: {**item, "schema": "record-9"}, "expected a record with schema 'record-1', got 'record-9'"),
        (lambda item: {k: v for k, v in item.items() if k != "result"}, "result is missing"),
        (lambda item: {**item, "result": {**item["result"], "cycles": -1}}, "result.cycles: got -1"),
        (lambda item: {**item, "result": {**item["result"], "cycles": "7"}}, "result.cycles: got '7'"),
        (lambda item: {**item, "extra": 1}, "extra: unknown"),
        (lambda item: {**item, "created": "today"}, "created: expected a date"),
        (lambda item: [item], "expected a record with schema 'record-1', got 'list'"),
        (lambda item: "no json", "expected a record"),
    ],
)
def test_bad_lines_are_refused_and_nothing_is_taken(change: Callable, message: str, tmp_path: Path) -> None:
    key, about, result = entry(1)
    good = Record(key, "2026-01-01T00:00:00+00:00", about, result).to_dict()
    with Records(tmp_path / "records.sqlite") as records:
        with pytest.raises(OptionError, match=rf"x\.jsonl:2: .*{re.escape(message)}"):
            records.take_in([json.dumps(good), json.dumps(change(good))], "x.jsonl")
        assert len(records) == 0
        with pytest.raises(OptionError, match=r"x\.jsonl:1: expected a line of JSON"):
            records.take_in(["{"], "x.jsonl")


def test_stale_records_are_counted_and_pruned(tmp_path: Path) -> None:
    _, about, result = entry(1)
    about |= {"op": "max_pool", "kernels": kernel_digest("max_pool"), "tools": tools_digest()}
    failed = {**about, "variant": None}
    with Records(tmp_path / "r.sqlite") as records:
        fill(records, range(3))  # of kernels that there never were
        records.put({key_of(about): result}, {key_of(about): about})
        problem = {**result, "failure": "wrong output", "problem": "element [0]: expected 1, got 2"}
        records.put({key_of(failed): problem}, {key_of(failed): failed})
    listed = command("list", "--records", "r.sqlite", cwd=tmp_path)
    assert re.search(r"cortex-m4 +convolve +gcc 12 +3 +0 +3 ", listed.stdout)
    assert re.search(r"cortex-m4 +max_pool +gcc 12 +2 +1 +0 ", listed.stdout)
    listed = command("list", "--failures", "--records", "r.sqlite", cwd=tmp_path)
    assert "wrong output" in listed.stdout
    assert "expected 1, got 2" in listed.stdout
    for options, said, left in (
        (["--dry-run"], "3 of 5 evaluations would be deleted", 5),
        ([], "3 of 5 evaluations deleted, 2 stay", 2),
        (["--failures"], "1 of 2 evaluations deleted", 1),
        (["--older-than", "1"], "0 of 1 evaluations deleted", 1),
        (["--all"], "1 of 1 evaluations deleted", 0),
    ):
        assert said in command("prune", *options, "--records", "r.sqlite", cwd=tmp_path).stdout
        with Records(tmp_path / "r.sqlite") as records:
            assert len(records) == left


def test_a_record_file_that_is_not_there_is_an_error_not_a_new_file(tmp_path: Path) -> None:
    for verb in (["list"], ["export", "x"], ["prune"]):
        done = command(*verb, "--records", "none.sqlite", cwd=tmp_path)
        assert done.returncode == 2
        assert "none.sqlite: no such record file" in done.stderr
    done = command("import", "none.jsonl", "--records", "none.sqlite", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (2, "error: none.jsonl: no such file\n")
    assert list(tmp_path.iterdir()) == []
