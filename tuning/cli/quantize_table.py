# SPDX-License-Identifier: Apache-2.0
"""What ``cmsisnn-quantize`` prints."""

from __future__ import annotations

from math import isinf, isnan
from pathlib import Path
from typing import Any

from ..base.console import console
from ..quantize.affine.result import AffineQuantized, print_affine_table
from ..quantize.fixed_point.result import Quantized, print_table
from ..quantize.graph.result import GraphQuantized, print_graph_table
from ..quantize.scores import shares, show_errors

Result = Quantized | AffineQuantized | GraphQuantized


def print_result(
    result: Result, written: Path, tests: dict[str, dict[str, Any]], *, saved: Path | None, no_color: bool
) -> None:
    """The table per layer, what was rewritten, accuracy, the files and what to do next."""
    out = console(no_color)
    if isinstance(result, Quantized):
        print_table(out, result)
    elif isinstance(result, GraphQuantized):
        print_graph_table(out, result)
    else:
        print_affine_table(out, result)
    for name, found in tests.items():
        told = shares(found["accuracy"], found["agreement"])
        if found.get("errors"):
            told = show_errors(found["errors"]) + (f"; {told}" if found["accuracy"] else "")
        out.print(f"On {name}, {found['samples']:,} samples: {told}.")
    folder = f"{written.parent}/" if str(written.parent) != "." else ""
    beside = f", {folder}{written.stem}.npz and {folder}{written.stem}_float.npz" if written.suffix != ".tflite" else ""
    also = "" if saved is None else f", and {saved}"
    out.print(f"\nWritten: {written}{beside}{also}.")
    out.print(f"Next: `cmsisnn-tune {written}` chooses the fastest kernels and emits the firmware folder.")


def as_dict(result: Result, written: Path, tests: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What ``--json`` prints; an infinite ratio is null."""
    layers = []
    for row in result.report:
        content = dict(vars(row))
        content["snr_db"] = None if isinf(row.snr_db) or isnan(row.snr_db) else row.snr_db
        layers.append(content)
    if isinstance(result, Quantized):
        first: dict[str, Any] = {"dtype": result.dtype, "input_fraction": result.reference.input_fraction}
    elif isinstance(result, GraphQuantized):
        ports = [
            {"name": port.name, "scale": port.scale, "zero_point": port.zero_point, "shape": list(port.shape)}
            for port in result.model.inputs
        ]
        first = {"inputs": ports}
    else:
        first = {"input_scale": result.scales[0].scale, "input_zero_point": result.scales[0].zero_point}
    return {
        "model": str(written),
        "name": result.name if isinstance(result, GraphQuantized) else result.network.name,
        "scheme": result.scheme,
        **first,
        "samples": result.samples,
        "accuracy": result.accuracy,
        "agreement": result.agreement,
        "errors": result.errors,
        "tests": tests,
        "notes": list(result.notes),
        "layers": layers,
    }
