# SPDX-License-Identifier: Apache-2.0
"""``cmsisnn-tune compare``: two plans side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def compare(
    plan_a: Annotated[
        Path, typer.Argument(metavar="PLAN_A.json", help="plan.json of the first run.", show_default=False)
    ],
    plan_b: Annotated[
        Path, typer.Argument(metavar="PLAN_B.json", help="plan.json of the second run.", show_default=False)
    ],
    no_color: Annotated[bool, typer.Option("--no-color", help="No colour, whatever the terminal can do.")] = False,
) -> None:
    """Show, layer by layer, what differs between two plans of one network."""
    from ..plan.file import read_plan_file
    from . import terminal

    terminal.print_comparison(read_plan_file(plan_a), read_plan_file(plan_b), no_color=no_color)
