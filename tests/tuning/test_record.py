# SPDX-License-Identifier: Apache-2.0
"""Records: kept, shared, and never in the way."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tuning.measure import Bench
from tuning.model import load_model
from tuning.record import Records, default_path
from tuning.space import search_space
from tuning.target import load_target
from tuning.tuner import CFLAGS


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
    variants = search_space(layer, target).variants[:2]
    with Records(tmp_path / "records.sqlite") as records:
        bench = Bench(target, CFLAGS, records=records)
        first = bench.measure(layer, variants)
        assert (bench.emulated, len(records)) == (2, 2)
    with Records(tmp_path / "records.sqlite") as records:
        again = Bench(target, CFLAGS, records=records)
        assert again.measure(layer, variants) == first
        assert again.emulated == 0
        assert again.measure(layer, variants, (False, False))
        assert again.emulated == 2  # another alignment is another measurement
