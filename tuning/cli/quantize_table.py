# SPDX-License-Identifier: Apache-2.0
"""What ``cmsisnn-quantize`` prints."""

from __future__ import annotations

from math import isinf, isnan
from pathlib import Path
from typing import Any

from ..base.console import console
from ..quantize.result import Quantized, print_table, shares


def print_result(result: Quantized, written: Path, tests: dict[str, dict[str, Any]], *, no_color: bool = False) -> None:
    """The table per layer, what was rewritten, accuracy, the files and what to do next."""
    out = console(no_color)
    print_table(out, result)
    for name, found in tests.items():
        out.print(f"On {name}, {found['samples']:,} samples: {shares(found['accuracy'], found['agreement'])}.")
    folder = f"{written.parent}/" if str(written.parent) != "." else ""
    out.print(f"\nWritten: {written}, {folder}{written.stem}.npz and {folder}{written.stem}_float.npz.")
    out.print(f"Next: `cmsisnn-tune {written}` chooses the fastest kernels and emits the firmware folder.")


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
