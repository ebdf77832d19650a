# SPDX-License-Identifier: Apache-2.0
"""``cmsisnn-tune calibrate``: the cost model fitted anew."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from ..choices import Compiler
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
    compiler: Annotated[
        Compiler | None,
        typer.Option(
            help="With --from: what compiled it. Default: arm-none-eabi-gcc when on PATH, else Clang.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Fit the cost model anew: compile and emulate a grid of layers under every kernel, and write each core's
    coefficients.

    Measurements are kept in the user's cache directory: what did not change is not emulated again.
    """
    if measured is not None or plan is not None:
        _board(measured, plan, target or [], dtype, output, compiler)
        return
    if compiler is not None:
        raise OptionError("--compiler: goes with --from only")
    from contextlib import closing

    from ..calibrate import ALIKE, confirm, grid, unseen, write_coefficients
    from ..calibrate import calibrate as fit
    from ..cflags import CFLAGS
    from ..choices import CORES
    from ..measure import BATCH, Bench
    from ..record import Records
    from ..target import load_target

    cores, dtypes = target or list(CORES), dtype or ["q7", "q15"]
    for given, legal, option in ((cores, CORES, "--target"), (dtypes, ("q7", "q15"), "--dtype")):
        if wrong := [name for name in given if name not in legal]:
            raise OptionError(f"{option}: expected one of {', '.join(legal)}, got {wrong[0]!r}")
    with closing(Records()) as records:
        for core in cores:
            chosen = load_target(core)
            benches = [
                Bench(load_target(name), CFLAGS, records=records, batch=BATCH)
                for name in (core, ALIKE.get(core))
                if name
            ]
            found = fit(
                chosen,
                CFLAGS,
                bench=benches[0],
                layers=grid(dtypes),
                held_out={"unseen": unseen(dtypes), "confirm": confirm(dtypes)},
                alike=benches[1] if len(benches) > 1 else None,
                report=lambda text: print(text, file=sys.stderr),
            )
            print(f"{write_coefficients(found, output)}: {len(found.families)} kernels, {found.compiler}")
            for layers, errors in found.errors.items():
                for kind, error in errors.items():
                    print(f"  {layers}: {kind}: {_figures(error)}")


def _figures(error: Mapping[str, float]) -> str:
    def pair(name: str) -> str:
        return f"{error[f'{name}median']:.1%} (worst {error[f'{name}worst']:.1%})"

    return (
        f"error {pair('')} over {error['runs']} runs, near the fastest {pair('near_')}, "
        f"first choice {pair('choice_')}, regret {pair('regret_')}"
    )


def _board(
    measured: Path | None,
    plan: Path | None,
    targets: list[str],
    dtype: list[str] | None,
    output: Path,
    compiler: Compiler | None,
) -> None:
    from ..board import calibrate_board

    if measured is None or plan is None or len(targets) != 1:
        raise OptionError("--from FILE.csv goes with --plan DIR, the folder that ran, and one --target, the board")
    if dtype:
        raise OptionError("--dtype: does not go with --from: the folder knows its type")
    if output == Path("coefficients"):
        output = Path(f"{Path(targets[0]).stem}-fitted.yaml")
    calibrate_board(measured, plan, targets[0], output, compiler=None if compiler is None else compiler.value)
