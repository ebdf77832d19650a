# SPDX-License-Identifier: Apache-2.0
"""The shipped commands: what they printed and how they ended, inside the test's process or in their own."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess

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


def require_refused(folder: Path, run: Callable[[], CompletedProcess[str]], says: str) -> None:
    """A call that ends in one sentence, and leaves the folder as it was."""
    before = {item.name: item.read_bytes() for item in folder.iterdir()}
    ran = run()
    assert ran.returncode == 2
    assert ran.stderr.startswith("error: ")
    assert says in ran.stderr
    assert ran.stderr.count("\n") == 1
    assert ran.stdout == ""
    assert {item.name: item.read_bytes() for item in folder.iterdir()} == before
