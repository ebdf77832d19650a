# SPDX-License-Identifier: Apache-2.0
"""What ``cmsisnn-quantize`` prints."""

from __future__ import annotations

from math import isinf, isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..terminal import console, make_table
from .formats import BITS, spell

if TYPE_CHECKING:
    from rich.console import Console

    from .quantizer import Score
    from .result import LayerReport, Quantized


def print_result(result: Quantized, written: Path, tests: dict[str, dict[str, Any]], *, no_color: bool = False) -> None:
    """The table per layer, what was rewritten, accuracy, the files and what to do next."""
    out = console(no_color)
    _print_table(out, result)
    for name, found in tests.items():
        out.print(f"On {name}, {found['samples']:,} samples: {_shares(found['accuracy'], found['agreement'])}.")
    folder = f"{written.parent}/" if str(written.parent) != "." else ""
    out.print(f"\nWritten: {written}, {folder}{written.stem}.npz and {folder}{written.stem}_float.npz.")
    out.print(f"Next: `cmsisnn-tune {written}` chooses the fastest kernels and emits the firmware folder.")


def _print_table(out: Console, result: Quantized) -> None:
    bits = BITS[result.dtype]
    reference = result.reference
    shape = "x".join(map(str, result.network.input_shape))
    out.print(
        f"{result.network.name}: input {shape} {result.dtype}, {spell(reference.input_fraction, bits)}: "
        f"round(x * 2**{reference.input_fraction}), channels last"
    )
    numbers = ("bias_shift", "out_shift", "SNR dB", "saturated")
    table = make_table("layer", "op", "in", "weights", "bias", "out", *numbers, right=numbers)
    for row in result.report:
        table.add_row(
            row.name,
            row.op,
            *(_format(value, bits) for value in _fractions(row)),
            _number(row.bias_shift),
            _number(row.out_shift),
            decibels(row.snr_db),
            "-" if row.saturated is None else f"{row.saturated:.2%}",
        )
    out.print(table)
    out.print(
        "SNR is the integer layer's output against the float one's, errors of all layers before included; saturated: "
        "float outputs beyond the format."
    )
    for note in result.notes:
        out.print(f"- {note}")
    samples = f"{result.samples:,} calibration sample{'s' if result.samples != 1 else ''}"
    out.print(f"On {samples}: {_shares(result.accuracy, result.agreement)}.")


def _fractions(row: LayerReport) -> tuple[int | None, ...]:
    return row.input_fraction, row.weights_fraction, row.bias_fraction, row.output_fraction


def _format(fraction: int | None, bits: int) -> str:
    return "-" if fraction is None else spell(fraction, bits)


def _number(value: int | None) -> str:
    return "-" if value is None else str(value)


def decibels(value: float) -> str:
    """A ratio in dB; "exact" where there is no error, "-" where there is no signal."""
    if isinf(value) or isnan(value):
        return "exact" if value > 0 else "-"
    return f"{value:.1f}"


def _shares(accuracy: dict[str, float], agreement: float | None) -> str:
    parts = [f"accuracy {', '.join(f'{share:.2%} {kind}' for kind, share in accuracy.items())}"] if accuracy else []
    if agreement is not None:
        parts.append(f"same answer as float on {agreement:.2%}")
    return "; ".join(parts) or "no labels, so no accuracy"


def show_score(score: Score) -> str:
    share, ratio = score
    return f"{share:.2%} right, {decibels(ratio)} dB" if share else f"{decibels(ratio)} dB"


def as_text(result: Quantized) -> str:
    """The table as text."""
    out = console(no_color=True)
    with out.capture() as captured:
        _print_table(out, result)
    return captured.get().rstrip()


def as_dict(result: Quantized, written: Path, tests: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What ``--json`` prints; an infinite ratio is null."""
    layers = []
    for row in result.report:
        content = dict(vars(row))
        content["snr_db"] = None if isinf(row.snr_db) or isnan(row.snr_db) else row.snr_db
        layers.append(content)
    return {
        "model": str(written),
        "name": result.network.name,
        "dtype": result.dtype,
        "input_fraction": result.reference.input_fraction,
        "samples": result.samples,
        "accuracy": result.accuracy,
        "agreement": result.agreement,
        "tests": tests,
        "notes": list(result.notes),
        "layers": layers,
    }
