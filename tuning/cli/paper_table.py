# SPDX-License-Identifier: Apache-2.0
"""``cmsisnn-tune paper-table``: the CMSIS-NN paper's results, made anew."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..base.errors import OptionError
from ..base.options import Score

if TYPE_CHECKING:
    from rich.table import Table

    from ..paper.table import PaperTable


def paper_table(
    target: Annotated[str, typer.Option(metavar="NAME|FILE", help="Core or board.")] = "cortex-m7",
    clock: Annotated[
        str | None, typer.Option(metavar="HZ", help="Default: the board's; 216M, the paper's, for a bare core.")
    ] = None,
    score: Annotated[
        Score, typer.Option(help="Emulated cycles, or the cost model's; plain loops are known by emulation only.")
    ] = Score.EMULATE,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR",
            help="Write the tuned firmware there, with the table in its report.",
            show_default=False,
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace files of DIR that others wrote, too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on stdout.")] = False,
    no_color: Annotated[bool, typer.Option("--no-color", help="No colour, whatever the terminal can do.")] = False,
) -> None:
    """The results table of the CMSIS-NN paper (arXiv:1801.06601) on its network: plain loops, the paper's
    configuration, and the tuned plan, beside the paper's own figures.
    """
    from ..base.console import working
    from ..base.units import parse_hertz
    from ..paper.table import paper_table as make
    from ..target import load_target
    from .tune import write

    chosen = load_target(target)
    if clock is not None:
        try:
            chosen = chosen.at(parse_hertz(clock))
        except ValueError as problem:
            raise OptionError(f"--clock: {problem}") from None
    with working(f"the network in three ways, {score.value}d", no_color=no_color):
        made = make(chosen, score=score.value)
    if output is not None:
        write(replace(made.plan, paper=made), output, force=force)
    if as_json:
        json.dump(made.to_dict(), sys.stdout, indent=2)
        print()
    else:
        _print(made, no_color)


def _print(made: PaperTable, no_color: bool) -> None:
    from ..base.console import console

    out = console(no_color)
    assert made.target.clock_hz is not None
    out.print(
        f"The CMSIS-NN paper's network ({made.plan.totals['macs'] / 1e6:.1f} million MAC) on {made.target.name} at "
        f"{made.target.clock_hz / 1e6:g} MHz"
    )
    out.print(_table(made))
    out.print(made.headline)
    for text in made.differences:
        out.print(f"- {text}")


def _table(made: PaperTable) -> Table:
    from ..base.console import make_table

    energy = any(cost.energy_uj is not None for column in made.columns for cost in column.rows.values())
    numbers = ("cycles", "ms", "ratio", *(("uJ",) if energy else ()), "paper ms", "its ratio")
    table = make_table(f"{made.columns[-1].cycles_are} cycles", *numbers, right=numbers)
    papers_plain = made.columns[0].rows
    for column in made.columns:
        table.add_row(column.name, style="bold")
        for name, cost in column.rows.items():
            single = name not in _TOP
            base = papers_plain[name].paper_ms if name in papers_plain else None
            fused = name == "convolution" and column.fused
            table.add_row(
                f"  {'  ' if single else ''}{name}{' + ReLU' if fused else ''}",
                "-" if cost.cycles is None else f"{cost.cycles:,}",
                "-" if cost.ms is None else f"{cost.ms:.2f}",
                "-" if cost.ratio is None else f"{cost.ratio:.1f}x",
                *(("-" if cost.energy_uj is None else f"{cost.energy_uj:,.0f}",) if energy else ()),
                "-" if cost.paper_ms is None else f"{cost.paper_ms:g}",
                f"{base / cost.paper_ms:.1f}x" if base and cost.paper_ms else "-",
            )
        table.add_section()
    return table


_TOP = ("convolution", "pooling", "ReLU", "fully connected", "softmax", "total")
