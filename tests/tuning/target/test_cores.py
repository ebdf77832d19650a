# SPDX-License-Identifier: Apache-2.0
"""The table of cores: every row is complete, and agrees with the targets and with what uses it."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import cast

import pytest

import tuning.target
from cmsisnn_x.isa import Isa
from tuning.emulate.emulator import ENGINES
from tuning.emulate.pipeline import MODELS, PIPELINES, SingleIssue
from tuning.target import list_targets, load_target
from tuning.target.cores import CORES, Core

ROWS = pytest.mark.parametrize("core", CORES.values(), ids=list(CORES))


def test_names_are_keys_and_what_users_may_say() -> None:
    assert [core.name for core in CORES.values()] == list(CORES) == list(tuning.target.CORES)


@ROWS
def test_a_row_is_complete(core: Core) -> None:
    assert core.zig_cpu
    assert core.engine_cpu
    assert core.machine.name
    assert int(core.machine.flash_origin, 16) < int(core.machine.sram_origin, 16)
    assert core.features.schedule
    assert core.engine in ENGINES
    assert core.pipeline in MODELS
    known = {field.name for field in fields(PIPELINES[core.name])}
    assert set(core.pipeline_cycles) <= known
    for name, cycles in core.pipeline_cycles.items():
        assert getattr(PIPELINES[core.name], name) == cycles


@ROWS
def test_a_core_ships_its_timing_and_its_target_agrees(core: Core) -> None:
    target = load_target(core.name)
    assert target.is_core
    assert target.core == core.name
    assert target.dsp == (core.features.isa >= Isa.DSP)
    assert target.features == core.features


@pytest.mark.parametrize("name", sorted(list_targets()))
def test_no_target_has_more_than_its_core_can(name: str) -> None:
    target = load_target(name)
    core = CORES[target.core]
    assert target.features.isa <= core.features.isa
    assert target.fpu <= core.fpu


@ROWS
def test_issue_width_is_the_pipelines(core: Core) -> None:
    assert (load_target(core.name).timing["issue_width"] == 1) == isinstance(PIPELINES[core.name], SingleIssue)


@ROWS
def test_cores_that_are_alike_run_and_cost_alike(core: Core) -> None:
    if core.alike is None:
        return
    other = CORES[core.alike]
    assert other.alike is None
    assert core.features == other.features
    assert PIPELINES[core.name] == PIPELINES[other.name]


def test_a_target_without_dsp_is_scalar_and_its_core_alone_has_more(monkeypatch: pytest.MonkeyPatch) -> None:
    target = load_target("cortex-m33")
    assert replace(target, dsp=False).features.isa == Isa.SCALAR
    higher = cast(Isa, max(Isa) + 1)  # a rung that is not there yet
    row = CORES["cortex-m33"]
    monkeypatch.setitem(CORES, "cortex-m33", replace(row, features=replace(row.features, isa=higher)))
    assert target.features.isa == higher
    assert replace(target, dsp=False).features.isa == Isa.SCALAR
    assert target.features.unaligned == row.features.unaligned
