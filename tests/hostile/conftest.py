# SPDX-License-Identifier: Apache-2.0
"""A box to run the commands in, and what every refusal has in common."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import tuning
from helpers.forked import GIB, Ended, ForkServer
from helpers.networks import NETWORKS
from helpers.plans import make_plan
from helpers.strangers import NAME
from tuning.emulate import toolchain

if sys.platform != "linux":
    collect_ignore_glob = ["test_*.py"]  # limits and forks as Linux has them


@pytest.fixture(scope="session")
def server() -> Iterator[ForkServer]:
    started = ForkServer()
    yield started
    started.close()


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


@pytest.fixture
def box(tmp_path: Path) -> Path:
    """A working directory, inside a folder that nothing may be written to."""
    work = tmp_path / "work"
    work.mkdir()
    (tmp_path / "keep.txt").write_text("keep")
    return work


@pytest.fixture
def data(box: Path) -> Path:
    """Calibration data of images of four channels."""
    np.savez(box / "data.npz", x=np.random.default_rng(0).random((8, 4, 8, 8), np.float32))
    return box / "data.npz"


@pytest.fixture
def refuse(server: ForkServer, box: Path) -> Callable[..., Ended]:
    """Run a command that must end with one clear message: status 2 or 1, no traceback, nothing written, little time
    and memory.
    """

    def run(command: str, *arguments: str | Path, says: str = "", memory: int = GIB, status: tuple[int, ...] = (2,)):
        before = contents(box.parent)
        environment = {"CMSISNN_X_CACHE": str(box.parent / "cache"), "HOME": str(box.parent)}
        ended = server.run(command, *arguments, cwd=box, memory=memory, environment=environment)
        assert ended.status in status, (ended.status, ended.err[-2000:])
        assert "Traceback" not in ended.err
        assert says in ended.err, ended.err
        assert ended.err.strip()
        assert ended.out == ""
        assert all(c == "\n" or c.isprintable() for c in ended.err), repr(ended.err)
        assert ended.err.count("\n") <= 12
        assert ended.seconds < 5
        assert ended.peak_bytes < GIB
        after = contents(box.parent)
        assert {name: data for name, data in after.items() if not name.startswith("cache/")} == before
        return ended

    return run


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as it was emitted."""
    made = tmp_path_factory.mktemp("strangers") / "fw"
    tuning.emit(replace(make_plan(NAME, NETWORKS[NAME]), evaluations=1), made)
    return made


@pytest.fixture
def fw(original: Path, box: Path) -> Path:
    """A copy of it in the box, and a log of no layers."""
    shutil.copytree(original, box / "fw")
    (box / "l.csv").write_text("layer,cycles\n")
    return box / "fw"


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """No program is started."""

    def started(*arguments: object, **_: object) -> None:
        raise AssertionError(f"a program was started: {arguments}")

    monkeypatch.setattr(subprocess, "Popen", started)
    monkeypatch.setattr(toolchain, "_run", started)
