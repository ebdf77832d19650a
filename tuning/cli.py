# SPDX-License-Identifier: Apache-2.0
"""The command line: parsing, messages and exit status. Every step is a function of :mod:`tuning` that a notebook
can call too.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from .choices import Objective, Score, StrategyName
from .errors import OptionError, TuningError

if TYPE_CHECKING:
    from .plan import Plan

DEFAULT_TARGET = "cortex-m7"
PROGRAM = "cmsisnn-tune"


class _DefaultToTune(TyperGroup):
    """A first argument that is no sub-command belongs to the hidden command `tune`."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:
        if not args or args[0] not in self.commands or args[0] == "tune":
            args = ["tune", *args]
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: typer.Context, args: list[str]) -> tuple[str | None, Any, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        # An empty name keeps the hidden command's out of the usage line.
        return ("" if name == "tune" else name), command, rest


class _Tune(TyperCommand):
    def get_usage(self, ctx: typer.Context) -> str:
        return super().get_usage(ctx).replace(f"{PROGRAM}  ", f"{PROGRAM} ")


app = typer.Typer(
    cls=_DefaultToTune,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)


def main() -> None:
    """Entry point of ``cmsisnn-tune``: user errors end as one message and status 1 or 2."""
    try:
        app(prog_name=PROGRAM)
    except TuningError as problem:
        print(f"error: {problem}", file=sys.stderr)
        raise SystemExit(problem.exit_status) from None
    except OSError as problem:
        print(f"error: {problem.filename or ''}: {problem.strerror or problem}", file=sys.stderr)
        raise SystemExit(2) from None


def _show_version(value: bool) -> None:
    if value:
        from cmsisnn_x import __version__

        print(f"{PROGRAM} {__version__}")
        raise typer.Exit


def _list_targets(value: bool) -> None:
    if value:
        from . import terminal

        terminal.print_targets()
        raise typer.Exit


def _list_models(value: bool) -> None:
    if value:
        from . import terminal

        terminal.print_models()
        raise typer.Exit


@app.command(
    name="tune",
    cls=_Tune,
    hidden=True,
    no_args_is_help=True,
    epilog="Also: cmsisnn-tune compare PLAN_A.json PLAN_B.json, cmsisnn-tune calibrate. A model file called "
    "like a sub-command is written ./compare. "
    "Exit status: 0 done, 1 it ran and the answer is no (does not fit), 2 bad usage or bad input.",
)
def tune_command(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="Model file (YAML), or the name of a shipped example.", show_default=False
        ),
    ],
    target: Annotated[
        str | None, typer.Option(metavar="NAME|FILE", help="Core or board. Default: the model's, else cortex-m7.")
    ] = None,
    clock: Annotated[
        str | None, typer.Option(metavar="HZ", help="Clock, such as 216M. Default: the board's; a bare core has none.")
    ] = None,
    sram: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE", help="SRAM budget: 65536, 64K, 64KiB, 1M. Default: the model's, else the board's."
        ),
    ] = None,
    flash: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Flash budget. Default: the model's, else the board's.")
    ] = None,
    objective: Annotated[Objective, typer.Option(help="What to minimise.")] = Objective.LATENCY,
    score: Annotated[
        Score, typer.Option(help="Analytic model, or compile and emulate the best candidates.")
    ] = Score.ESTIMATE,
    strategy: Annotated[
        StrategyName, typer.Option(help="auto: exhaustive for estimates, bayesian for emulation.")
    ] = StrategyName.AUTO,
    trials: Annotated[
        int | None, typer.Option(min=1, help="Evaluations per layer at most.", show_default=False)
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Emulations at a time.")] = 1,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="The same seed gives the same plan.")] = 0,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="DIR", help="Where the firmware goes. Default: build/<model name>."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the plan as JSON, and nothing else, on stdout.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Also print where each layer's cycles go and what came second.")
    ] = False,
    no_color: Annotated[bool, typer.Option("--no-color", help="No colour, whatever the terminal can do.")] = False,
    list_targets: Annotated[
        bool,
        typer.Option("--list-targets", callback=_list_targets, is_eager=True, help="List cores and boards, and exit."),
    ] = False,
    list_models: Annotated[
        bool,
        typer.Option("--list-models", callback=_list_models, is_eager=True, help="List the shipped models, and exit."),
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version, and exit.")
    ] = False,
) -> None:
    """Find the fastest CMSIS-NN kernel variant of every layer of MODEL for a Cortex-M, and write the firmware
    that uses them.
    """
    from .model import load_model
    from .target import load_target
    from .tuner import tune
    from .units import parse_hertz, parse_size

    def parsed(option: str, text: str | None, parse: Any) -> int | None:
        if text is None:
            return None
        try:
            return parse(text)
        except ValueError as problem:
            raise OptionError(f"{option}: {problem}") from None

    budgets = {
        "clock_hz": parsed("--clock", clock, parse_hertz),
        "sram_bytes": parsed("--sram", sram, parse_size),
        "flash_bytes": parsed("--flash", flash, parse_size),
    }
    network = load_model(model)
    chosen = load_target(target or network.target or DEFAULT_TARGET)
    directory = Path(output) if output else Path("build") / network.name

    from . import terminal

    with terminal.progress(
        enabled=score is Score.EMULATE and not (quiet or as_json), no_color=no_color, verbose=verbose
    ) as report:
        plan = tune(
            network,
            chosen,
            objective=objective.value,
            score=score.value,
            strategy=strategy.value,
            trials=trials,
            jobs=jobs,
            seed=seed,
            progress=report,
            **budgets,
        )
    write(plan, directory)
    if as_json:
        sys.stdout.write(plan.to_json())
    elif not quiet:
        terminal.print_plan(plan, directory, no_color=no_color, verbose=verbose)


def write(plan: Plan, directory: Path) -> None:
    """Write the firmware folder."""
    import tuning

    if directory.exists() and not directory.is_dir():
        raise OptionError(f"--output: expected a directory, got the file {directory}")
    tuning.emit(plan, directory)


@app.command()
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
) -> None:
    """Fit the cost model anew: compile and emulate a grid of layers under every kernel, and write each core's
    coefficients.

    Measurements are kept in the user's cache directory: what did not change is not emulated again.
    """
    from contextlib import closing

    from .calibrate import calibrate as fit
    from .calibrate import grid, unseen, write_coefficients
    from .choices import CORES
    from .measure import BATCH, Bench
    from .record import Records
    from .target import load_target
    from .tuner import CFLAGS

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


@app.command()
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
    from . import terminal
    from .plan import read_plan_file

    terminal.print_comparison(plan_a, read_plan_file(plan_a), plan_b, read_plan_file(plan_b), no_color=no_color)
