# SPDX-License-Identifier: Apache-2.0
"""``cmsisnn-tune calibrate``: the cost model fitted anew."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ..errors import OptionError


def calibrate(
    target: Annotated[
        list[str] | None, typer.Option(metavar="CORE", help="Core to calibrate; may be repeated. Default: all.")
    ] = None,
    dtype: Annotated[
        list[str] | None, typer.Option(metavar="q7|q15", help="Types to calibrate; may be repeated. Default: both.")
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Where the coefficient files go.")
    ] = Path("coefficients"),
    measured: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="FILE.csv",
            help="Fit a board's memories to the cycles that its firmware printed: --target is the board, -o the file "
            "to write (default: TARGET-fitted.yaml).",
            show_default=False,
        ),
    ] = None,
    plan: Annotated[
        Path | None,
        typer.Option("--plan", metavar="DIR", help="With --from: the folder that ran.", show_default=False),
    ] = None,
) -> None:
    """Fit the cost model anew: compile and emulate a grid of layers under every kernel, and write each core's
    coefficients.

    Measurements are kept in the user's cache directory: what did not change is not emulated again.
    """
    if measured is not None or plan is not None:
        _board(measured, plan, target or [], dtype, output)
        return
    from contextlib import closing

    from ..calibrate import calibrate as fit
    from ..calibrate import grid, unseen, write_coefficients
    from ..choices import CORES
    from ..measure import BATCH, Bench
    from ..record import Records
    from ..target import load_target
    from ..tuner import CFLAGS

    cores, dtypes = target or list(CORES), dtype or ["q7", "q15"]
    for given, legal, option in ((cores, CORES, "--target"), (dtypes, ("q7", "q15"), "--dtype")):
        if wrong := [name for name in given if name not in legal]:
            raise OptionError(f"{option}: expected one of {', '.join(legal)}, got {wrong[0]!r}")
    with closing(Records()) as records:
        for core in cores:
            chosen = load_target(core)
            bench = Bench(chosen, CFLAGS, records=records, batch=BATCH)
            found = fit(
                chosen,
                CFLAGS,
                bench=bench,
                layers=grid(dtypes),
                held_out=unseen(dtypes),
                report=lambda text: print(text, file=sys.stderr),
            )
            print(f"{write_coefficients(found, output)}: {len(found.families)} kernels, {found.compiler}")
            for op, error in found.errors.items():
                median, worst, regret = (f"{error[name] * 100:.1f} %" for name in ("median", "worst", "worst_regret"))
                print(f"  {op}: error {median}, worst {worst}, regret {regret} ({error['runs']} runs on unseen layers)")


def _board(
    measured: Path | None, plan: Path | None, targets: list[str], dtype: list[str] | None, output: Path
) -> None:
    from ..board import calibrate_board

    if measured is None or plan is None or len(targets) != 1:
        raise OptionError("--from FILE.csv goes with --plan DIR, the folder that ran, and one --target, the board")
    if dtype:
        raise OptionError("--dtype: does not go with --from: the folder knows its type")
    if output == Path("coefficients"):
        output = Path(f"{Path(targets[0]).stem}-fitted.yaml")
    calibrate_board(measured, plan, targets[0], output)
