# SPDX-License-Identifier: Apache-2.0
"""``cmsisnn-tune check-arm``: which of Arm's own kernels would be right."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..base.errors import OptionError

if TYPE_CHECKING:
    from rich.console import Console

    from ..arm.calls import Call
    from ..arm.kernels import Judged, LayerCheck
    from ..plan import Plan
    from ..target import Target

INDENT = 13
STYLES = {"legal": "green", "may fault": "yellow", "unknown": "yellow"}


def check_arm(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL", help="Model file (YAML), or the name of a shipped example.", show_default=False
        ),
    ] = None,
    call: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CALL",
            help='A call, such as "arm_relu_q7(size=64)" or "arm_relu_q7(buffer, 8*8)"; may be repeated.',
            show_default=False,
        ),
    ] = None,
    source: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE.c",
            help="C or C++ file whose calls are judged; its #defines count, and may be repeated for headers.",
            show_default=False,
        ),
    ] = None,
    target: Annotated[
        str | None, typer.Option(metavar="NAME|FILE", help="Core or board. Default: the model's, else cortex-m7.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on stdout.")] = False,
    no_color: Annotated[bool, typer.Option("--no-color", help="No colour, whatever the terminal can do.")] = False,
) -> None:
    """Say which of the 31 functions of CMSIS-NN 5.4.0 would be right for the layers of MODEL, for calls, or for those
    in C files: legal, refused (-3), silently wrong, or outside their arrays; and which kernel this package uses.

    Exit status: 0 every layer has a legal kernel, every call is legal; 1 not so; 2 bad usage or bad input.
    """
    from ..arm.calls import parse_call, read_sources
    from ..target import load_target
    from .tune import DEFAULT_TARGET

    if model is None and not call and not source:
        raise OptionError(
            "check-arm: expected a MODEL, --call or --source; `cmsisnn-tune check-arm --help` has examples"
        )
    network = None
    if model is not None:
        from ..load import load_model

        network = load_model(model)
    chosen = load_target(target or (network.target if network else None) or DEFAULT_TARGET)
    calls = [parse_call(text) for text in call or ()] + (read_sources(source) if source else [])

    from ..arm.kernels import check_model

    layers = check_model(network, chosen) if network else ()
    judged = [(item, _judge(item, chosen)) for item in calls]
    plan = None
    if network is not None:
        from ..tuner import tune

        plan = tune(network, chosen)
    if as_json:
        json.dump(_to_dict(chosen, layers, judged, plan), sys.stdout, indent=2)
        print()
    else:
        _print(chosen, layers, judged, plan, no_color)
    if not _all_legal(layers, judged):
        raise SystemExit(1)


def _judge(call: Call, target: Target) -> Judged | None:
    from ..arm.kernels import judge

    return None if call.problem else judge(call.function, call.numbers, target)


def _all_legal(layers: tuple[LayerCheck, ...], calls: list[tuple[Call, Judged | None]]) -> bool:
    return all(item.best for item in layers) and all(found and found.verdict == "legal" for _, found in calls)


def _to_dict(
    target: Target, layers: tuple[LayerCheck, ...], calls: list[tuple[Call, Judged | None]], plan: Plan | None
) -> dict[str, Any]:
    from ..arm.kernels import profile_of

    emitted = [item.variant for item in plan.layers] if plan else []
    return {
        "schema": "arm-kernels-1",
        "target": target.name,
        "profile": profile_of(target),
        "legal": _all_legal(layers, calls),
        "layers": [
            {
                "name": item.layer.name,
                "op": item.layer.op,
                "best": item.best.function if item.best else None,
                "kernels": [kernel.to_dict() for kernel in item.kernels],
                "activation": item.activation.to_dict() if item.activation else None,
                "emitted": str(variant) if variant else None,
            }
            for item, variant in zip(layers, emitted, strict=True)
        ],
        "calls": [
            {"where": call.where}
            | (
                found.to_dict()
                if found
                else {"function": call.function, "verdict": "unknown", "reasons": [call.problem]}
            )
            for call, found in calls
        ],
    }


def _print(
    target: Target,
    layers: tuple[LayerCheck, ...],
    calls: list[tuple[Call, Judged | None]],
    plan: Plan | None,
    no_color: bool,
) -> None:
    from ..arm.kernels import VERDICTS, profile_of
    from ..base.console import console
    from ..base.units import shape_text

    out = console(no_color)
    code = "with" if profile_of(target) == "dsp" else "without"
    out.print(f"CMSIS-NN 5.4.0 on {target.name}: Arm's code {code} the DSP extension (profile {profile_of(target)!r})")
    used: set[str] = set()
    for item, planned in zip(layers, plan.layers if plan else (), strict=True):
        layer = item.layer
        shape = f"{shape_text(layer.input_shape)} -> {shape_text(layer.output_shape)}"
        out.print(f"\n{layer.name}: {layer.op} {shape} {layer.dtype}", style="bold")
        rows = [(kernel.function, kernel) for kernel in item.kernels]
        if item.activation:
            rows.append((f"then {item.activation.function}", item.activation))
        for name, kernel in rows:
            used.add(kernel.verdict)
            _print_row(out, kernel.verdict, name, _said(kernel))
        if not rows:
            weights = f" with {layer.weights_dtype} weights" if layer.weights_dtype not in (None, layer.dtype) else ""
            out.print(f"  Arm has no kernel for {layer.op} on {layer.dtype}{weights}.")
        out.print(f"  here       {planned.variant or f'the one {layer.op} kernel'}")
    if calls:
        out.print("")
    for call, found in calls:
        place = "" if call.where == "--call" else f"{call.where}: "
        if found is None:
            used.add("unknown")
            _print_row(out, "unknown", place + call.function, str(call.problem))
        else:
            used.add(found.verdict)
            _print_row(out, found.verdict, place + found.function, _said(found))
    out.print("")
    for name, meaning in VERDICTS.items():
        if name in used:
            out.print(f"{name + ':':<11}{meaning}")
    if without := [item.layer.name for item in layers if item.best is None]:
        out.print(f"Arm has no kernel that is right for {', '.join(without)}.", style="bold")


def _said(kernel: Judged) -> str:
    """Reasons; of a kernel that can be used, also the scratch memory that it needs and its conditions."""
    said = list(kernel.reasons)
    if kernel.verdict in ("legal", "may fault"):
        if kernel.scratch_bytes:
            said.append(f"{kernel.scratch_bytes:,} bytes of scratch")
        said += kernel.notes
    return "; ".join(said)


def _print_row(out: Console, verdict: str, name: str, said: str) -> None:
    """The verdict, the function, and what there is to say, indented as it wraps."""
    import textwrap

    from rich.text import Text

    indent = " " * INDENT
    lines = textwrap.wrap(f"{name}: {said}" if said else name, max(out.width - INDENT, 30), break_on_hyphens=False)
    first = Text(f"  {verdict:<{INDENT - 2}}", style=STYLES.get(verdict, "red"))
    first.append(lines[0], style="default")
    out.print(first)
    for line in lines[1:]:
        out.print(indent + line)
