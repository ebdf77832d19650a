# SPDX-License-Identifier: Apache-2.0
"""What tests of emitted folders in hands of others share: which folder, its edits, the commands in this process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tuning.cli import verify
from tuning.emulate.toolchain import Toolchain

NAME = "odd_sizes"
ARCHIVE = f"{NAME}_weights.npz"
EMULATOR_BYTES = 3 << 30
"""Address space, not memory: Unicorn reserves a gigabyte for translated code."""


def edit(made: Path, path: tuple[str | int, ...], value: Any) -> None:
    """Give the plan of a folder another value at `path`."""
    content = json.loads((made / "plan.json").read_text())
    node = content
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    (made / "plan.json").write_text(json.dumps(content))


def run_verify(made: Path, *arguments: str) -> None:
    verify.app([str(made), *arguments], standalone_mode=False)


def run_calibrate(made: Path, box: Path, *arguments: str) -> None:
    from tuning.cli.main import app

    asked = ["--from", str(box / "l.csv"), "--plan", str(made), "--target", "cortex-m4", "-o", str(box / "fitted.yaml")]
    app(["calibrate", *asked, *arguments], standalone_mode=False)


def find_any() -> Toolchain:
    """A compiler that must not be started."""
    return Toolchain("gcc", ("no-such-compiler",), "none")
