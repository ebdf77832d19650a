# SPDX-License-Identifier: Apache-2.0
"""Plans compared by their whole firmware, which is remembered, and fails with a reason."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import tuning
from tuning.cli.records import _is_stale as is_stale
from tuning.emulate import find_toolchain
from tuning.load import load_model
from tuning.measure import firmware as whole
from tuning.measure import folder
from tuning.measure.bench import Measurement
from tuning.measure.records import Records
from tuning.schemas import published
from tuning.schemas.check import first_problem
from tuning.target import load_target
from tuning.tuner import _better

pytestmark = pytest.mark.emulated
MODEL, TARGET, TRIALS_HERE = "digits", "cortex-m7", 4


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
