# SPDX-License-Identifier: Apache-2.0
"""``cmsisnn-tune MODEL``: the main job."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..base.errors import OptionError
from ..base.options import Objective, Score, StrategyName, Surrogate
from .program import show_version

if TYPE_CHECKING:
    from ..plan import Plan

DEFAULT_TARGET = "cortex-m7"
PROGRAM = "cmsisnn-tune"


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


def tune(
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
        int | None, typer.Option(min=1, metavar="N", help="Evaluations per layer at most.", show_default=False)
    ] = None,
    surrogate: Annotated[
        Surrogate, typer.Option(help="What bayesian learns with: a Gaussian process or a forest of trees.")
    ] = Surrogate.GP,
    jobs: Annotated[int, typer.Option(min=1, metavar="N", help="Emulations at a time.")] = 1,
    dask: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Emulate on a Dask cluster: its scheduler, such as tcp://host:8786."),
    ] = None,
    records: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="What remembers emulations. Default: in the user's cache directory."),
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, max=2**32 - 1, metavar="N", help="The same seed gives the same plan.")
    ] = 0,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="DIR", help="Where the firmware goes. Default: build/<model name>."),
    ] = None,
    pareto: Annotated[
        bool, typer.Option("--pareto", help="Also list the plans that trade cycles for SRAM and for flash.")
    ] = False,
    check: Annotated[
        str | None,
        typer.Option(
            metavar="DATA.npz",
            help="Hold the network against the float network it came from on these samples (x, and labels y if any), "
            "layer by layer, its firmware too. Exit status 1 if a layer breaks: an accumulator wraps, under 10 dB of "
            "signal over error, or (no float network known) over 10 % of outputs saturated.",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the plan as JSON, and nothing else, on stdout.")
    ] = False,
    explain: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LAYER",
            help="Also say why this layer got its variant: where its cycles go, what came second, what other knobs "
            "and a larger budget would change; may be repeated. On stderr under --json.",
            show_default=False,
        ),
    ] = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print nothing but errors, and what --explain asks for.")
    ] = False,
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
        bool,
        typer.Option("--version", callback=show_version(PROGRAM), is_eager=True, help="Print the version, and exit."),
    ] = False,
) -> None:
    """Find the fastest CMSIS-NN kernel variant of every layer of MODEL for a Cortex-M, and write the firmware
    that uses them.
    """
    from ..base.units import parse_hertz, parse_size
    from ..load import load_model
    from ..target import load_target
    from ..tuner import tune as plan_of

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
    chosen = load_target(network.target or DEFAULT_TARGET if target is None else target)
    if output == "":
        raise OptionError("--output: expected a directory, got nothing")
    directory = Path("build") / network.name if output is None else Path(output)
    if explain:
        from ..report.explain import check_names

        check_names(explain, network.layers)
    found = None
    if check is not None:
        from ..check import check_model

        found = check_model(network, check)  # before the search: wrong data are said at once

    from . import live, terminal

    with live.progress(
        enabled=score is Score.EMULATE and not as_json, no_color=no_color, verbose=verbose, quiet=quiet
    ) as report:
        plan = plan_of(
            network,
            chosen,
            objective=objective.value,
            score=score.value,
            strategy=strategy.value,
            trials=trials,
            surrogate=surrogate.value,
            jobs=jobs,
            dask=dask,
            records=records,
            seed=seed,
            pareto=pareto,
            progress=report,
            **budgets,
        )
    if found is not None:
        from ..check import with_firmware

        assert check is not None
        found = with_firmware(found, network, check, plan)
        plan = replace(plan, check=found)
    write(plan, directory)
    if as_json:
        sys.stdout.write(plan.to_json())
    elif not quiet:
        terminal.print_plan(plan, directory, no_color=no_color, verbose=verbose)
        if pareto:
            from .pareto import print_pareto

            print_pareto(plan, no_color=no_color)
    if explain:
        from ..report.explain import explain as explanation_of
        from .explain import print_explanation

        for name in explain:
            print_explanation(explanation_of(plan, name), no_color=no_color, stderr=as_json)
    if found is not None:
        from .check import print_check, print_failure

        if not (quiet or as_json):
            print_check(found, no_color=no_color)
        elif not found.passed:
            print_failure(found)
        if not found.passed:
            raise typer.Exit(1)


def write(plan: Plan, directory: Path) -> None:
    """Write the firmware folder."""
    from ..firmware import emit_plan

    if directory.exists() and not directory.is_dir():
        raise OptionError(f"--output: expected a directory, got the file {directory}")
    emit_plan(plan, directory)
