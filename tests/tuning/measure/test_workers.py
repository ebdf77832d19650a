# SPDX-License-Identifier: Apache-2.0
"""Evaluations on many workers: the same plan whoever works, and nothing that was finished is ever lost, whatever is
killed.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import pytest

import tuning
from cmsisnn_x.steps import Step
from tuning.base.errors import OptionError
from tuning.cli.pareto import print_pareto
from tuning.cli.records import _is_stale as is_stale
from tuning.emulate import find_toolchain
from tuning.measure import firmware as whole
from tuning.measure import folder
from tuning.measure.bench import Bench, Measurement
from tuning.measure.records import Records
from tuning.measure.workers import LOST, Task, Workers
from tuning.model import load_model
from tuning.plan.problem import Problem
from tuning.schemas import published
from tuning.schemas.check import first_problem
from tuning.search.space import places, search_space
from tuning.target import load_target
from tuning.tuner import CFLAGS, _better, network_options

pytestmark = pytest.mark.emulated
MODEL, TARGET, TRIALS_HERE = "digits", "cortex-m7", 4
COMMAND = [sys.executable, "-m", "tuning", MODEL, "--target", TARGET, "--score", "emulate"]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """The plan that one process makes, and its records."""
    records = tmp_path_factory.mktemp("alone") / "records.sqlite"
    model, target = load_model(MODEL), load_target(TARGET)
    plan = tuning.tune(model, target, score="emulate", trials=TRIALS_HERE, records=records)
    return plan.to_json(), records


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
    process = subprocess.Popen(command, cwd=folder, text=True, start_new_session=True, env=environment, **pipes)
    deadline = time.monotonic() + 120
    while (known := count(records)) < after:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    (os.kill if number == signal.SIGTERM else os.killpg)(process.pid, number)
    _, said = process.communicate(timeout=120)  # workers hold these pipes too: they have ended
    assert number == signal.SIGKILL or not list(temporary.iterdir())
    return process.returncode, known, said


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

    # Interrupted from the keyboard it ends well, with the best so far.
    before = count(records)
    status, known, said = stop([*COMMAND, *options], records, tmp_path, signal.SIGINT, before + 2)
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


# ---------------------------------------------------------------- what is emulated


@pytest.mark.parametrize(
    "options", [{}, {"objective": "balanced"}, {"flash_bytes": 12_000}, {"strategy": "random"}, {"surrogate": "forest"}]
)
def test_the_emulated_plan_contains_the_estimates_plan(
    options: dict[str, object], alone: tuple[str, Path], tmp_path: Path
) -> None:
    """By construction it is never slower than that: the estimate's choice of every layer is emulated, and first."""
    model, target = load_model(MODEL), load_target(TARGET)
    if "flash_bytes" in options:
        sizes = [tuning.tune(model, target, objective=name).totals["flash_bytes"] for name in ("flash", "latency")]
        options = {"flash_bytes": sum(sizes) // 2}
    estimated = tuning.tune(model, target, **{k: v for k, v in options.items() if k not in ("strategy", "surrogate")})
    events: list[dict[str, object]] = []
    plan = tuning.tune(model, target, score="emulate", trials=2, records=alone[1], progress=events.append, **options)
    where = places(plan.graph)
    problem = Problem([network_options(place, t) for place, t in zip(where, plan.tables, strict=True)])
    rows = []
    for guess, table in zip(estimated.layers, plan.tables, strict=True):
        assert guess.variant in table.variants
        rows.append(table.variants.index(guess.variant))
    assert plan.cycles_are == "emulated"
    choice = problem.choice_of_layers(rows)
    budget = options.get("flash_bytes")
    if options.get("objective") == "balanced":
        sizes = ("cycles", "sram_bytes", "flash_bytes")
        assert prod(plan.totals[key] for key in sizes) <= choice.cycles * choice.sram_bytes * choice.flash_bytes
    elif budget is None or choice.flash_bytes <= budget:  # kernels may be larger than estimated
        assert plan.totals["cycles"] <= choice.cycles


def test_the_whole_firmware_is_what_verify_says_and_is_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, target, records = load_model(MODEL), load_target(TARGET), tmp_path / "records.sqlite"
    plans = [tuning.tune(model, target, objective=name) for name in ("latency", "flash")]
    found = whole.compare(plans, records)
    tuning.emit(plans[0], tmp_path / "o")
    firmware = folder.load(tmp_path / "o")
    told = folder.verify(firmware, find_toolchain(), folder.draw_inputs(firmware, 1), target=target)
    assert (found[0].cycles, found[0].instructions) == (told.trace.cycles, told.trace.instructions)
    assert found[0].cycles != found[1].cycles
    monkeypatch.setattr("tuning.measure.firmware._emulate", None)
    assert whole.compare(plans, records) == found

    with Records(records) as store:
        lines = [json.dumps(record.to_dict()) for record in store]
    assert len(lines) == 2
    assert not [problem for line in lines if (problem := first_problem(published("record-1"), json.loads(line)))]
    with Records(tmp_path / "other.sqlite") as store:
        assert store.take_in(lines, "lines") == (2, 0)
        assert not any(is_stale(record) for record in store)
    monkeypatch.setattr("tuning.measure.firmware._writers_digest", lambda: "another emitter")
    with Records(records) as store:
        assert all(is_stale(record) for record in store)


def test_firmware_that_fails_is_a_failure_with_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = tuning.tune(load_model(MODEL), load_target(TARGET))
    broken = replace(plan, cflags=(*plan.cflags, "-include", "nowhere.h"))
    (found,) = whole.compare([broken], tmp_path / "records.sqlite")
    assert (found.failure, found.is_final) == ("compile error", True)
    assert "nowhere.h" in (found.problem or "")


@pytest.mark.parametrize(
    ("objective", "mine", "its", "kept"),
    [
        ("latency", (100, None), (99, None), "its"),
        ("latency", (99, None), (99, None), "mine"),
        ("latency", (0, "fault"), (99, None), "its"),
        ("latency", (100, None), (0, "fault"), "mine"),
        ("latency", (0, "fault"), (0, "fault"), "mine"),
        ("flash", (100, None), (99, None), "mine"),  # it takes less flash
        ("balanced", (1_000_000, None), (1, None), "its"),
    ],
)
def test_the_better_firmware_is_kept(
    objective: str,
    mine: tuple[int, str | None],
    its: tuple[int, str | None],
    kept: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plan = tuning.tune(load_model(MODEL), load_target(TARGET), objective=objective)
    larger = replace(plan, totals=plan.totals | {"flash_bytes": plan.totals["flash_bytes"] + 4})
    found = [Measurement(cycles=cycles, failure=failure) for cycles, failure in (mine, its)]
    monkeypatch.setattr("tuning.measure.firmware.compare", lambda plans, records: found)
    events: list[dict[str, Any]] = []
    assert _better(plan, larger, None, events.append) is (plan if kept == "mine" else larger)
    assert len(events) == (kept == "its")


def test_an_interrupt_of_the_last_step_keeps_the_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    plan = tuning.tune(load_model(MODEL), load_target(TARGET))
    monkeypatch.setattr("tuning.measure.firmware.compare", interrupted)
    events: list[dict[str, Any]] = []
    assert _better(plan, replace(plan, seed=1), None, events.append) is plan
    assert "Interrupted" in events[0]["message"]


def test_frontiers_say_why_a_plan_is_not_on_them(capsys: pytest.CaptureFixture[str]) -> None:
    plan = tuning.tune(load_model(MODEL), load_target(TARGET), pareto=True)
    slower = replace(plan, totals=plan.totals | {"cycles": plan.totals["cycles"] + 1})
    print_pareto(plan, no_color=True)
    assert "<- this plan" in (said := capsys.readouterr().out)
    assert "none of them" not in said
    print_pareto(slower, no_color=True)
    assert "This plan is none of them" in capsys.readouterr().out


def test_candidates_stay_within_the_sram_budget(alone: tuple[str, Path]) -> None:
    model, target = load_model(MODEL), load_target(TARGET)
    tight = tuning.tune(model, target, objective="sram")
    sram = tight.totals["sram_bytes"]
    plan = tuning.tune(model, target, score="emulate", trials=2, sram_bytes=sram, records=alone[1])
    assert plan.totals["sram_bytes"] <= sram
    with pytest.raises(tuning.InfeasibleError):  # before anything is compiled
        tuning.tune(model, target, score="emulate", sram_bytes=sram - 1, records="/nonexistent/records.sqlite")


def test_frontiers_are_made_of_emulated_cycles(alone: tuple[str, Path]) -> None:
    """What the estimate's frontier uses is emulated with the rest, so that small plans are among the points."""
    model, target = load_model(MODEL), load_target(TARGET)
    guess = tuning.tune(model, target, pareto=True)
    plan = tuning.tune(model, target, score="emulate", trials=TRIALS_HERE, pareto=True, records=alone[1])
    assert plan.pareto is not None
    assert guess.pareto is not None
    assert plan.cycles_are == "emulated"
    for memory in ("sram", "flash"):
        assert plan.pareto[memory][-1]["cycles"] == plan.totals["cycles"]
        assert len(plan.pareto[memory]) > 1
    small = plan.pareto["sram"][0]
    assert small["sram_bytes"] < plan.totals["sram_bytes"]
    tight = tuning.tune(
        model, target, score="emulate", trials=TRIALS_HERE, sram_bytes=small["sram_bytes"], records=alone[1]
    )
    assert tight.totals["cycles"] <= small["cycles"]
    assert tight.totals["sram_bytes"] <= small["sram_bytes"]
