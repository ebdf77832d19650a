# SPDX-License-Identifier: Apache-2.0
"""Evaluations on many workers: the same plan whoever works, and nothing that was finished is ever lost, whatever is
killed.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import tuning
from cmsisnn_x.steps import Step
from tuning.base.cflags import CFLAGS
from tuning.base.errors import OptionError
from tuning.load import load_model
from tuning.measure.bench import Bench, Measurement
from tuning.measure.records import Records
from tuning.measure.workers import LOST, Task, Workers
from tuning.search.space import search_space
from tuning.target import load_target

# A pool that is ended while its thread hands out work may leave that thread without the piece that it was about to hand
# out (joblib's loky: a KeyError in a thread that ends then); pytest would book it on whichever test runs next.
ENDED = "ignore:Exception in thread ExecutorManagerThread:pytest.PytestUnhandledThreadExceptionWarning"
pytestmark = [pytest.mark.emulated, pytest.mark.filterwarnings(ENDED)]
MODEL, TARGET, TRIALS_HERE = "digits", "cortex-m7", 4
COMMAND = [sys.executable, "-m", "tuning", MODEL, "--target", TARGET, "--score", "emulate"]


def contents(path: Path) -> dict[str, object]:
    with Records(path) as records:
        return {record.key: record.content for record in records}


def subjects(path: Path) -> dict[str, dict[str, Any]]:
    with Records(path) as records:
        return {record.key: record.about for record in records}


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="processes are killed with SIGKILL")
def test_two_workers_one_of_them_killed_make_the_same_plan(alone: tuple[str, Path], tmp_path: Path) -> None:
    from joblib.externals.loky import reusable_executor

    events: list[dict[str, object]] = []

    def kill_one(event: dict[str, object]) -> None:
        if not events:
            os.kill(next(iter(reusable_executor._executor._processes)), signal.SIGKILL)
        events.append(event)

    model, target = load_model(MODEL), load_target(TARGET)
    options = {"score": "emulate", "trials": TRIALS_HERE, "jobs": 2, "records": tmp_path / "records.sqlite"}
    plan = tuning.tune(model, target, progress=kill_one, **options)
    assert plan.to_json() == alone[0]
    assert contents(tmp_path / "records.sqlite") == contents(alone[1])


def test_a_task_that_kills_every_worker_costs_itself_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stub for the processes: they break on one task, and take everything with them that is not done yet."""
    layer, target = load_model(MODEL).layers[0], load_target(TARGET)
    variants = search_space(layer, target).variants[:5]
    bench = Bench(target, CFLAGS)
    workers = Workers(bench, jobs=2)
    poison = bench.key(Step((layer,), variants[2]), (True, True))
    ran: list[str] = []

    def run(tasks: dict[str, Task]) -> Iterator[tuple[str, Measurement]]:
        for key in tasks:
            if key == poison:
                raise BrokenProcessPool
            ran.append(key)
            yield key, Measurement(cycles=7)

    monkeypatch.setattr(workers, "_run", run)
    found = workers.evaluate([Task(Step((layer,), variant), (True, True)) for variant in variants])
    assert [item.cycles for item in found] == [7, 7, 0, 7, 7]
    assert (found[2].problem, found[2].is_final) == (LOST, False)
    assert len(ran) == len(set(ran)) == 4


def test_a_worker_with_another_compiler_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, target = load_model(MODEL).layers[0], load_target(TARGET)
    monkeypatch.setattr(Bench, "fingerprint", lambda self, op: ("gcc 1.0", "k", "t"))
    tasks = [Task(Step((layer,), variant), (True, True)) for variant in search_space(layer, target).variants[:2]]
    with pytest.raises(tuning.TuningError, match=r"its compiler differ.*expected 'gcc 1.0'.*install the same"):
        Workers(Bench(target, CFLAGS), jobs=2).evaluate(tasks)


DASK = """
import os, signal, sys
import tuning
from distributed import LocalCluster

def main():
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50) as cluster:
        victims = [worker.pid for worker in cluster.workers.values()]
        events = []
        def kill_one(event):
            if len(events) == 2:
                os.kill(victims[0], signal.SIGKILL)
            events.append(event)
        model, target = tuning.load_model(sys.argv[1]), tuning.load_target(sys.argv[2])
        plan = tuning.tune(model, target, score="emulate", trials=int(sys.argv[3]), dask=cluster.scheduler_address,
                           records=sys.argv[4], progress=kill_one)
    sys.stdout.write(plan.to_json())

if __name__ == "__main__":
    main()
"""


@pytest.mark.full
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="processes are killed with SIGKILL")
def test_a_dask_cluster_that_loses_a_worker_makes_the_same_plan(alone: tuple[str, Path], tmp_path: Path) -> None:
    script = tmp_path / "cluster.py"
    script.write_text(DASK, encoding="utf-8")
    command = [sys.executable, str(script), MODEL, TARGET, str(TRIALS_HERE), str(tmp_path / "records.sqlite")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == alone[0]
    assert contents(tmp_path / "records.sqlite") == contents(alone[1])


def test_a_scheduler_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tuning.measure.workers.CONNECT_SECONDS", 0.2)
    for address in ("tcp://127.0.0.1:9", "tcp://127.0.0.1:99999", "nonsense", ""):
        with pytest.raises(OptionError, match="--dask: expected the address of a running scheduler"):
            Workers(Bench(load_target(TARGET), CFLAGS), dask=address).__enter__()


# ---------------------------------------------------------------- processes that are stopped


def count(path: Path) -> int:
    """Evaluations in a file that another process is writing."""
    try:
        database = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)
        try:
            return int(database.execute("SELECT COUNT(*) FROM evaluation").fetchone()[0])
        finally:
            database.close()
    except sqlite3.OperationalError:
        return 0


def stop(command: list[str], records: Path, folder: Path, number: int, after: int) -> tuple[int, int, str]:
    """Start, wait for so many evaluations, send a signal; ``(status, evaluations when it was sent, stderr)``.

    SIGTERM goes to the first process only, as by ``kill``. Temporary files and processes must all be gone afterwards.
    """
    temporary = folder / f"tmp{number}"
    temporary.mkdir()
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    environment = {**os.environ, "TMPDIR": str(temporary)}
    # Whoever runs the tests in the background may have SIGINT ignored, which a child would inherit.
    heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    process = subprocess.Popen(
        command, cwd=folder, text=True, start_new_session=True, env=environment, preexec_fn=heed, **pipes
    )
    deadline = time.monotonic() + 120
    while (known := count(records)) < after:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    (os.kill if number == signal.SIGTERM else os.killpg)(process.pid, number)
    _, said = process.communicate(timeout=120)  # workers hold these pipes too: they have ended
    assert number == signal.SIGKILL or not list(temporary.iterdir())
    return process.returncode, known, said


@pytest.mark.full
@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX")
def test_killed_runs_lose_nothing_and_the_next_goes_on(alone: tuple[str, Path], tmp_path: Path) -> None:
    records, folder = tmp_path / "records.sqlite", tmp_path / "o"
    options = ["--records", str(records), "--trials", str(TRIALS_HERE), "-o", str(folder)]
    status, known, _ = stop([*COMMAND, *options, "--jobs", "2"], records, tmp_path, signal.SIGKILL, 3)
    assert status == -signal.SIGKILL
    assert count(records) >= known >= 3
    assert not (folder / "plan.json").exists()

    # Ended it leaves nothing.
    before = count(records)
    status, known, said = stop([*COMMAND, *options, "--jobs", "2"], records, tmp_path, signal.SIGTERM, before + 1)
    assert status == 128 + signal.SIGTERM
    assert said.endswith("ended by SIGTERM\n")
    assert "Traceback" not in said
    assert count(records) >= known
    assert not (folder / "plan.json").exists()

    # Interrupted from the keyboard it ends well, with the best so far. From empty records: on a busy machine the runs
    # above may have left nothing to interrupt.
    records = tmp_path / "others.sqlite"
    options[1] = str(records)
    status, known, said = stop([*COMMAND, *options], records, tmp_path, signal.SIGINT, 2)
    assert status == 0, said
    assert "Interrupted after" in said
    assert (folder / "plan.json").exists()
    assert count(records) >= known

    before = count(records)
    events: list[dict[str, object]] = []
    plan = tuning.tune(
        load_model(MODEL), load_target(TARGET), score="emulate", trials=TRIALS_HERE, records=records,
        progress=events.append,
    )  # fmt: skip
    last = [event for event in events if "done" in event][-1]
    assert last["known"] == before
    networks = {key for key, about in subjects(records).items() if about["op"] == "network"}
    assert count(records) == last["done"] + len(networks)
    assert plan.to_json() == alone[0]


@pytest.mark.full
def test_what_is_known_needs_neither_compiler_runs_nor_scikit_optimize(alone: tuple[str, Path], tmp_path: Path) -> None:
    code = (
        "import sys, tuning\n"
        "from tuning.measure.bench import Bench\n"
        "Bench.measure_one = None\n"
        "plan = tuning.tune(tuning.load_model(sys.argv[1]), tuning.load_target(sys.argv[2]), score='emulate',\n"
        "                   trials=int(sys.argv[3]), records=sys.argv[4])\n"
        "assert not {'skopt', 'sklearn', 'unicorn', 'joblib'} & set(sys.modules)\n"
        "sys.stdout.write(plan.to_json())\n"
    )
    command = [sys.executable, "-c", code, MODEL, TARGET, str(TRIALS_HERE), str(alone[1])]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == alone[0]
