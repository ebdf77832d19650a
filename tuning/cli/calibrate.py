# SPDX-License-Identifier: Apache-2.0
"""``cmsisnn-tune calibrate``: the cost model fitted anew."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..base.errors import OptionError
from ..base.options import Compiler

if TYPE_CHECKING:
    from ..emulate.toolchain import Kind


def calibrate(
    target: Annotated[
        list[str] | None, typer.Option(metavar="CORE", help="Core to calibrate; may be repeated. Default: all.")
    ] = None,
    dtype: Annotated[
        list[str] | None, typer.Option(metavar="q7|q15|int8", help="Types to calibrate; may be repeated. Default: all.")
    ] = None,
    op: Annotated[
        list[str] | None,
        typer.Option(metavar="OP", help="Operations to calibrate, conv2d ..; may be repeated. Default: all."),
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
            help="With --from: what compiled it. Default: the plan's where it is installed, else the other.",
            show_default=False,
        ),
    ] = None,
    fetch: Annotated[
        bool,
        typer.Option("--fetch", help="Only observe how much code loops run through, for boards with small caches."),
    ] = False,
    keep: Annotated[
        bool,
        typer.Option("--keep", help="Runs that the coefficients keep are not emulated again: layers without any are."),
    ] = False,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL.yaml",
            help="With --from: the model of a folder that an earlier version wrote, without its weights.",
            show_default=False,
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace files that others wrote, too.")] = False,
) -> None:
    """Fit the cost model anew: compile and emulate layers under the kernels that plans choose among, and write each
    core's coefficients. Of other types and operations than those named, what is known stays.

    Measurements are kept in the user's cache directory: what did not change is not emulated again.
    """
    if not force:
        _check_output(measured is not None, fetch, target, output)
    if fetch:
        if any((measured, plan, compiler, model, dtype, op, keep)) or not target:
            raise OptionError("--fetch: goes with --target and -o only, and needs --target")
        _fetch(target, output)
        return
    if measured is not None or plan is not None:
        _board(measured, plan, target or [], (dtype, op, keep), output, compiler, model)
        return
    if compiler is not None or model is not None:
        raise OptionError(f"{'--model' if compiler is None else '--compiler'}: goes with --from only")
    from contextlib import closing

    from ..base.cflags import cflags_of
    from ..calibrate import sets
    from ..calibrate.fit import calibrate as fit
    from ..calibrate.fit import write_coefficients
    from ..cost.fitted import coefficients
    from ..measure.bench import BATCH, Bench
    from ..measure.records import Records
    from ..target import load_target
    from ..target.cores import CORES

    cores, dtypes, chosen_ops = target or list(CORES), dtype or list(sets.TYPES), op or list(sets.OPERATIONS)
    legal_values = ((cores, CORES, "--target"), (dtypes, sets.TYPES, "--dtype"), (chosen_ops, sets.OPERATIONS, "--op"))
    for given, legal, option in legal_values:
        if wrong := [name for name in given if name not in legal]:
            raise OptionError(f"{option}: expected one of {', '.join(legal)}, got {wrong[0]!r}")
    with closing(Records()) as records:
        for core in cores:
            chosen, cflags = load_target(core), cflags_of(CORES[core].compiler)
            which, vectors = (dtypes, chosen_ops), CORES[core].helium
            benches = [
                Bench(load_target(name), cflags, records=records, batch=BATCH)
                for name in (core, CORES[core].alike)
                if name
            ]
            found = fit(
                chosen,
                cflags,
                bench=benches[0],
                layers=sets.to_fit(*which, vectors=vectors),
                held_out=sets.held_out(*which, vectors=vectors),
                held_out_pairs=sets.held_out_pairs(*which, vectors=vectors),
                before=coefficients(core) if dtype or op or keep else None,
                keep=keep,
                alike=benches[1] if len(benches) > 1 else None,
                report=lambda text: print(text, file=sys.stderr),
            )
            print(f"{write_coefficients(found, output)}: {len(found.families)} kernels, {found.compiler}")
            for layers, errors in found.errors.items():
                for kind, error in errors.items():
                    print(f"  {layers}: {kind}: {_figures(error)}")


def _fitted_file(target: str, output: Path) -> Path:
    return Path(f"{Path(target).stem}-fitted.yaml") if output == Path("coefficients") else output


def _check_output(is_board: bool, is_fetch: bool, targets: list[str] | None, output: Path) -> None:
    from ..base.files import check_replaced, is_of_others
    from ..target.cores import CORES

    names = targets or list(CORES)
    prefix = "fetch-" if is_fetch else ""
    written = [_fitted_file(names[0], output)] if is_board else [output / f"{prefix}{name}.json" for name in names]
    check_replaced("--output", filter(is_of_others, written))


def _fetch(cores: list[str], output: Path) -> None:
    """``cmsisnn-tune calibrate --fetch``: the loops of kernels in code."""
    from ..base.cflags import cflags_of
    from ..calibrate.fetch import observe, write
    from ..target import load_target
    from ..target.cores import CORES

    if wrong := [name for name in cores if name not in CORES]:
        raise OptionError(f"--target: expected one of {', '.join(CORES)}, got {wrong[0]!r}")
    for core in cores:
        cflags = cflags_of(CORES[core].compiler)
        found = observe(load_target(core), cflags, report=lambda text: print(text, file=sys.stderr))
        print(f"{write(found, output)}: {len(found.families)} kernels, {found.compiler}")


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
    parts: tuple[list[str] | None, list[str] | None, bool],
    output: Path,
    compiler: Compiler | None,
    model: str | None,
) -> None:
    if measured is None or plan is None or len(targets) != 1:
        raise OptionError("--from FILE.csv goes with --plan DIR, the folder that ran, and one --target, the board")
    for option, given in zip(("--dtype", "--op", "--keep"), parts, strict=True):
        if given:
            raise OptionError(f"{option}: does not go with --from: the folder knows its own")
    output = _fitted_file(targets[0], output)
    _calibrate_board(measured, plan, targets[0], output, None if compiler is None else compiler.value, model)


def _calibrate_board(
    csv: Path, plan: Path, target: str, output: Path, compiler: Kind | None, model: str | None
) -> None:
    """``cmsisnn-tune calibrate --from``: fit, write the target file, print the errors before and after."""
    from ..base.console import console, make_table
    from ..base.files import write_atomically
    from ..calibrate.board import BoardError, fit, target_text
    from ..target import find_target, list_targets, load_target

    given = load_target(target)
    found = fit(plan, csv, given, compiler=compiler, model=model)
    path = find_target(target)
    if output.resolve() == path.resolve():
        raise BoardError(f"{output}: is the target itself; choose another file for the fitted one")
    inherit = target if target in list_targets() else os.path.relpath(path, output.parent)
    output.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(output, target_text(found, inherit, csv))
    load_target(output)

    out = console()
    numbers = ("measured", "before", "error before", "after", "error after")
    table = make_table("layer", *numbers, right=numbers)
    for name, real, before, after in zip(found.layers, found.measured, found.before, found.after, strict=True):
        table.add_row(
            name, f"{real:,}", f"{before:,}", f"{before / real - 1:+.1%}", f"{after:,}", f"{after / real - 1:+.1%}"
        )
    totals = [sum(values) for values in (found.measured, found.before, found.after)]
    table.add_section()
    table.add_row(
        "network",
        f"{totals[0]:,}",
        f"{totals[1]:,}",
        f"{totals[1] / totals[0] - 1:+.1%}",
        f"{totals[2]:,}",
        f"{totals[2] / totals[0] - 1:+.1%}",
        style="bold",
    )
    out.print(table)
    changes = ", ".join(f"{name} {value}" for name, value in found.changes.items()) or "nothing to change"
    out.print(f"{output}: {changes}")
