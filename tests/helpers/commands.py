# SPDX-License-Identifier: Apache-2.0
"""The shipped command inside the test's process: what it printed and how it ended."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tuning.cli.main import main


@dataclass(frozen=True)
class Ran:
    status: int
    out: str
    err: str


def run_tune(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], *arguments: str) -> Ran:
    """``cmsisnn-tune ARGUMENTS``; a traceback fails the test."""
    return run_program(monkeypatch, capfd, main, "cmsisnn-tune", *arguments)


def run_program(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], entry: Callable[[], object], *words: str
) -> Ran:
    """A command by its entry point: its name, then its arguments; a traceback fails the test."""
    monkeypatch.setattr(sys, "argv", [*words])
    capfd.readouterr()
    status = 0
    try:
        entry()
    except SystemExit as stop:
        status = int(stop.code or 0)
    out, err = capfd.readouterr()
    assert "Traceback" not in out + err
    return Ran(status, out, err)
