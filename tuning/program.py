# SPDX-License-Identifier: Apache-2.0
"""What the package's programs have in common: how they end, and ``--version``."""

from __future__ import annotations

import sys
from collections.abc import Callable

import typer

from .errors import TuningError


def run(app: typer.Typer, name: str) -> None:
    """Run a program: user errors end as one message and status 1 or 2."""
    try:
        app(prog_name=name)
    except TuningError as problem:
        print(f"error: {problem}", file=sys.stderr)
        raise SystemExit(problem.exit_status) from None
    except OSError as problem:
        print(f"error: {problem.filename or ''}: {problem.strerror or problem}", file=sys.stderr)
        raise SystemExit(2) from None


def show_version(name: str) -> Callable[[bool], None]:
    """The callback of a program's ``--version``."""

    def show(value: bool) -> None:
        if value:
            from cmsisnn_x import __version__

            print(f"{name} {__version__}")
            raise typer.Exit

    return show
