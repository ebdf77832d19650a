# SPDX-License-Identifier: Apache-2.0
"""The shipped commands, inside the test's process or in one forked off: what they printed and how they ended."""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from helpers.forked import GIB, ForkServer
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


@cache
def _server() -> ForkServer:
    started = ForkServer()
    atexit.register(started.close)
    return started


def run_forked(command: str, *arguments: object, cwd: Path | None = None) -> CompletedProcess[str]:
    """A command in a process of its own, without the time that imports take."""
    words = [str(word) for word in arguments]
    environment = {**os.environ, "COLUMNS": "200"}
    ended = _server().run(command, *words, cwd=cwd or Path.cwd(), memory=64 * GIB, environment=environment)
    return CompletedProcess([command, *words], ended.status, ended.out, ended.err)
