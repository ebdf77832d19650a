# SPDX-License-Identifier: Apache-2.0
"""The command line: which command an argument list means, messages and exit status. Every step is a function of
:mod:`tuning` that a notebook can call too.
"""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

from .calibrate import calibrate
from .check_arm import check_arm
from .compare import compare
from .paper_table import paper_table
from .program import Command, run
from .records import app as records
from .tune import PROGRAM, tune


class _DefaultToTune(TyperGroup):
    """A first argument that is no sub-command belongs to the hidden command `tune`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or args[0] not in {*self.commands, "--install-completion", "--show-completion"} - {"tune"}:
            args = ["tune", *args]
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        # An empty name keeps the hidden command's out of the usage line.
        return ("" if name == "tune" else name), command, rest


class _Tune(Command):
    def get_usage(self, ctx: Any) -> str:
        return super().get_usage(ctx).replace(f"{PROGRAM}  ", f"{PROGRAM} ")


_ALSO = """Other commands, each with --help:

cmsisnn-tune calibrate: fit the cost model anew, or a board file to the cycles that a board printed.

cmsisnn-tune check-arm MODEL: which of Arm's own kernels would be right for its layers.

cmsisnn-tune compare A/plan.json B/plan.json: what differs between two plans.

cmsisnn-tune paper-table: the results of the CMSIS-NN paper, made anew.

cmsisnn-tune records: what was emulated so far.

cmsisnn-tune --install-completion: completion in this shell.

A model file called like one of them is written ./compare. Exit status: 0 done, 1 it ran and the answer is no
(does not fit), 2 bad usage or bad input."""


app = typer.Typer(
    cls=_DefaultToTune,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)


app.command(
    name="tune",
    cls=_Tune,
    hidden=True,
    no_args_is_help=True,
    epilog=_ALSO,
)(tune)
for command in (calibrate, check_arm, compare, paper_table):
    app.command(cls=Command)(command)
app.add_typer(records, name="records")


def main() -> None:
    """Entry point of ``cmsisnn-tune``."""
    run(app, PROGRAM)
