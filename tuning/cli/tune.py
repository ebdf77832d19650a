# SPDX-License-Identifier: Apache-2.0
"""``cmsisnn-tune MODEL``: the main job."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..base.errors import OptionError
from ..base.options import Arithmetic, Compiler, Feed, Objective, Score, StrategyName, Surrogate
from .program import show_version, takes

if TYPE_CHECKING:
    from ..model import Model
    from ..plan import Plan
    from ..target import Target

DEFAULT_TARGET = "cortex-m7"
LONGEST_CLASS = 128
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


@dataclass(frozen=True)
class Options:
    """What the command takes, in the order of its ``--help``."""

    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="Model file (YAML, or a quantised .tflite or .onnx), or the name of a shipped example.",
            show_default=False,
        ),
    ]
    target: Annotated[
        str | None, typer.Option(metavar="NAME|FILE", help="Core or board. Default: the model's, else cortex-m7.")
    ] = None
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="What the network is called in C. Default: after its file.")
    ] = None
    arithmetic: Annotated[
        Arithmetic | None,
        typer.Option(
            help="Of a network with zero points: bytes as TensorFlow Lite Micro computes them on a device (tflm), or "
            "as LiteRT's reference kernels do. Default: the model file's, else tflm.",
            show_default=False,
        ),
    ] = None
    no_rewrites: Annotated[
        bool, typer.Option("--no-rewrites", help="Take a graph with zero points as it is; the bytes are the same.")
    ] = False
    float_io: Annotated[
        bool,
        typer.Option("--float-io", help="Emit functions from floats to inputs, and from outputs to floats, too."),
    ] = False
    classes: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES|FILE", help="Names of the outputs of a classifier, for the example: cat,dog or a file of "
            "lines.",
        ),
    ] = None
    operations: Annotated[
        bool,
        typer.Option("--operations", help="List what a .tflite or .onnx file uses, whether each is taken, and exit."),
    ] = False
    clock: Annotated[
        str | None, typer.Option(metavar="HZ", help="Clock, such as 216M. Default: the board's; a bare core has none.")
    ] = None
    sram: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE", help="SRAM budget: 65536, 64K, 64KiB, 1M. Default: the model's, else the board's."
        ),
    ] = None
    flash: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Flash budget. Default: the model's, else the board's.")
    ] = None
    no_compile: Annotated[
        bool,
        typer.Option("--no-compile", help="Take code sizes from the estimate even where a flash budget binds."),
    ] = False
    objective: Annotated[Objective, typer.Option(help="What to minimise.")] = Objective.LATENCY
    feed: Annotated[
        Feed,
        typer.Option(help="How the input of the firmware comes: as a whole, or row by row, so that it is never whole."),
    ] = Feed.IMAGE
    score: Annotated[Score, typer.Option(help="Analytic model, or compile and emulate the best candidates.")] = (
        Score.ESTIMATE
    )
    strategy: Annotated[StrategyName, typer.Option(help="auto: exhaustive for estimates, bayesian for emulation.")] = (
        StrategyName.AUTO
    )
    trials: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Evaluations per layer at most.", show_default=False)
    ] = None
    surrogate: Annotated[
        Surrogate, typer.Option(help="What bayesian learns with: a Gaussian process or a forest of trees.")
    ] = Surrogate.GP
    compiler: Annotated[
        Compiler | None,
        typer.Option(
            help="Whose code the firmware will be: the plan's flags are for it, and emulation uses it. Default: gcc; "
            "clang on cores with Helium.",
            show_default=False,
        ),
    ] = None
    jobs: Annotated[int, typer.Option(min=1, metavar="N", help="Emulations at a time.")] = 1
    dask: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Emulate on a Dask cluster: its scheduler, such as tcp://host:8786."),
    ] = None
    records: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="What remembers emulations. Default: in the user's cache directory."),
    ] = None
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, metavar="N", help="The same seed gives the same plan.")] = 0
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="DIR", help="Where the firmware goes. Default: build/<model name>."),
    ] = None
    force: Annotated[
        bool, typer.Option("--force", help="Replace files of DIR that others wrote, too.")
    ] = False
    pareto: Annotated[
        bool, typer.Option("--pareto", help="Also list the plans that trade cycles for SRAM and for flash.")
    ] = False
    check: Annotated[
        str | None,
        typer.Option(
            metavar="DATA.npz",
            help="Hold the network against the float network it came from on these samples (x, and labels y if any), "
            "layer by layer, its firmware too. Exit status 1 if a layer breaks: an accumulator wraps, under 10 dB of "
            "signal over error, or (no float network known) over 10 % of outputs saturated.",
        ),
    ] = None
    as_json: Annotated[bool, typer.Option("--json", help="Print the plan as JSON, and nothing else, on stdout.")] = (
        False
    )
    explain: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LAYER",
            help="Also say why this layer got its variant: where its cycles go, what came second, what other knobs "
            "and a larger budget would change; may be repeated. On stderr under --json.",
            show_default=False,
        ),
    ] = None
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print nothing but errors, and what --explain asks for.")
    ] = False
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Also print where each layer's cycles go and what came second.")
    ] = False
    no_color: Annotated[bool, typer.Option("--no-color", help="No colour, whatever the terminal can do.")] = False
    list_targets: Annotated[
        bool,
        typer.Option("--list-targets", callback=_list_targets, is_eager=True, help="List cores and boards, and exit."),
    ] = False
    list_models: Annotated[
        bool,
        typer.Option("--list-models", callback=_list_models, is_eager=True, help="List the shipped models, and exit."),
    ] = False
    version: Annotated[
        bool,
        typer.Option("--version", callback=show_version(PROGRAM), is_eager=True, help="Print the version, and exit."),
    ] = False


@takes(Options)
def tune(options: Options) -> None:
    """Find the fastest CMSIS-NN kernel variant of every layer of MODEL for a Cortex-M, and write the firmware
    that uses them.
    """
    from ..load import load_model
    from ..target import load_target

    if options.operations:
        from .operations import print_operations

        shown = {"as_json": options.as_json, "no_color": options.no_color}
        raise typer.Exit(print_operations(options.model, options.arithmetic, **shown))
    budgets = _budgets(options)
    network = load_model(
        options.model,
        name=options.name,
        arithmetic=options.arithmetic and options.arithmetic.value,
        rewrites=not options.no_rewrites,
    )
    target = load_target(options.target if options.target is not None else network.target or DEFAULT_TARGET)
    if options.output == "":
        raise OptionError("--output: expected a directory, got nothing")
    directory = Path("build") / network.name if options.output is None else Path(options.output)
    if not options.force:
        from ..firmware import check_folder

        check_folder(network.name, directory)  # before the search, which may take minutes
    if options.explain:
        from ..report.explain import check_names

        check_names(options.explain, network.layers)
    if options.check is None:
        plan = _search(options, network, target, budgets)
    else:
        from ..check import check_model, with_firmware

        found = check_model(network, options.check)  # before the search: wrong data are said at once
        plan = _search(options, network, target, budgets)
        plan = replace(plan, check=with_firmware(found, network, options.check, plan))
    if options.float_io:
        plan = _with_float_io(plan)
    if options.classes is not None:
        plan = replace(plan, classes=_class_names(options.classes, prod(plan.outputs[0].shape)))
    write(plan, directory, force=options.force)
    _show(options, plan, directory)
    if plan.check is not None and not plan.check.passed:
        raise typer.Exit(1)


def _class_names(given: str, count: int) -> tuple[str, ...]:
    """The names that ``--classes`` gives, or the lines of its file."""
    path = Path(given)
    try:
        names = path.read_text(encoding="utf-8").splitlines() if path.is_file() else given.split(",")
    except (OSError, UnicodeDecodeError) as problem:
        raise OptionError(f"--classes: {given}: expected a file of lines, got what cannot be read: {problem}") from None
    found = tuple(name.strip() for name in names if name.strip())
    if len(found) != count:
        raise OptionError(f"--classes: expected {count} names, one for each element of the output, got {len(found)}")
    if wrong := [name for name in found if not name.isprintable() or len(name) > LONGEST_CLASS]:
        raise OptionError(
            f"--classes: expected printable names of at most {LONGEST_CLASS} characters, got {wrong[0][:80]!r}"
        )
    return found


def _with_float_io(plan: Plan) -> Plan:
    """The plan with functions from and to floats.

    Raises
    ------
    OptionError
        It does not say what its integers stand for, or a layer has the name of such a function.
    """
    if any(tensor.scale is None or not tensor.type.is_affine for tensor in (*plan.inputs, *plan.outputs)):
        raise OptionError(
            "--float-io: expected a network with scales and zero points, got one of q7 or q15, which takes round(x * "
            "2**fraction)"
        )
    taken = re.compile(r"quantise_input(_\d+)?|dequantise_output(_\d+)?|nearest")
    if named := [item.layer.name for item in plan.layers if taken.fullmatch(item.layer.name)]:
        raise OptionError(f"--float-io: layer {named[0]} has the name of one of its functions; call it another way")
    return replace(plan, float_io=True)


def _budgets(options: Options) -> dict[str, int | None]:
    """The arguments of `tuning.tune` that are written with units."""
    from ..base.units import parse_hertz, parse_size

    def parsed(option: str, text: str | None, parse: Callable[[object], int]) -> int | None:
        if text is None:
            return None
        try:
            return parse(text)
        except ValueError as problem:
            raise OptionError(f"{option}: {problem}") from None

    return {
        "clock_hz": parsed("--clock", options.clock, parse_hertz),
        "sram_bytes": parsed("--sram", options.sram, parse_size),
        "flash_bytes": parsed("--flash", options.flash, parse_size),
    }


def _search(options: Options, network: Model, target: Target, budgets: dict[str, int | None]) -> Plan:
    """The plan, with what a person sees meanwhile."""
    from ..tuner import tune as plan_of
    from . import live

    with live.progress(
        enabled=options.score is Score.EMULATE and not options.as_json,
        no_color=options.no_color,
        verbose=options.verbose,
        quiet=options.quiet,
    ) as report:
        return plan_of(
            network,
            target,
            objective=options.objective.value,
            score=options.score.value,
            strategy=options.strategy.value,
            trials=options.trials,
            surrogate=options.surrogate.value,
            compiler=None if options.compiler is None else options.compiler.value,
            jobs=options.jobs,
            dask=options.dask,
            records=options.records,
            seed=options.seed,
            pareto=options.pareto,
            feed=options.feed.value,
            compiled=not options.no_compile,
            progress=report,
            clock_hz=budgets["clock_hz"],
            sram_bytes=budgets["sram_bytes"],
            flash_bytes=budgets["flash_bytes"],
        )


def _show(options: Options, plan: Plan, directory: Path) -> None:
    """All that is printed of a plan that was written."""
    from . import terminal

    no_color = options.no_color
    if options.as_json:
        sys.stdout.write(plan.to_json())
    elif not options.quiet:
        terminal.print_plan(plan, directory, no_color=no_color, verbose=options.verbose)
        if options.pareto:
            from .pareto import print_pareto

            print_pareto(plan, no_color=no_color)
    if options.explain:
        from ..report.explain import explain as explanation_of
        from .explain import print_explanation

        for name in options.explain:
            print_explanation(explanation_of(plan, name), no_color=no_color, stderr=options.as_json)
    if plan.check is not None:
        from .check import print_check, print_failure

        if not (options.quiet or options.as_json):
            print_check(plan.check, no_color=no_color)
        elif not plan.check.passed:
            print_failure(plan.check)


def write(plan: Plan, directory: Path, *, force: bool = False) -> None:
    """Write the firmware folder."""
    from ..firmware import emit_plan

    if directory.exists() and not directory.is_dir():
        raise OptionError(f"--output: expected a directory, got the file {directory}")
    emit_plan(plan, directory, force=force)
