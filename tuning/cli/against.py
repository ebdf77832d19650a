# SPDX-License-Identifier: Apache-2.0
"""``cmsisnn-verify DIR --against litert|tflm|onnxruntime``: a network against the packages that run it too."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..base.console import console, make_table
from ..base.options import Package

if TYPE_CHECKING:
    from ..check.against.comparison import Comparison, Difference, OperatorResult

_LONGEST_NAME = 32


def print_comparison(
    directory: Path, package: Package, model: str | None, samples: int | None, *, as_json: bool, no_color: bool
) -> int:
    """Compare and print; the exit status: 1 if something differs."""
    from ..check.against.packages import runner
    from ..check.against.tflite import DEFAULT_SAMPLES, compare, origin

    samples = samples or DEFAULT_SAMPLES
    if package is Package.ONNXRUNTIME:
        from ..check.against.onnx import compare_onnx, onnx_origin

        found = onnx_origin(directory, model)
        result = compare_onnx(found.path, runner(package), arithmetic=found.arithmetic, samples=samples)
    else:
        found = origin(directory, model)
        result = compare(found.path, runner(package), arithmetic=found.arithmetic, samples=samples)
    if as_json:
        print(json.dumps(result.as_dict()))
    else:
        _print(result, console(no_color))
    return 0 if result.exact else 1


def _print(result: Comparison, out: Any) -> None:
    inputs = f"{result.samples} input{'s' if result.samples != 1 else ''}"
    out.print(
        f"{result.path.name}, arithmetic {result.arithmetic}, against {result.package} {result.version} on {inputs}; "
        "every operator on this tool's own tensors"
    )
    table = make_table("#", "operator", "writes", *result.kernels, "", right=result.kernels)
    for op in result.operators:
        table.add_row(str(op.index), op.kind, _end(op.tensor), *_cells(op.results, result), _note(op))
    table.add_section()
    problems = "; ".join(_problems(result.network))
    table.add_row("", "network", "", *_cells(result.network, result), problems, style="bold")
    out.print(table)
    findings = result.findings()
    if findings:
        numbers = ("operators", "elements", "at most")
        why = make_table("differs", "in", *numbers, "why", right=numbers)
        for item in findings:
            counts = f"{item.operators} of {item.of_operators}", f"{item.differing:,} of {item.size:,}", f"{item.most}"
            why.add_row(item.kind, item.kernels, *counts, item.why or _UNKNOWN)
        out.print(why)
    out.print(_verdict(result, inputs))


def _verdict(result: Comparison, inputs: str) -> str:
    if not result.exact:
        kinds = dict.fromkeys(item.kind for item in result.findings())
        carried = max(item.most for item in result.network.values())
        network = f"the network's outputs by {carried} at most" if carried else "the network's outputs are equal"
        return f"DIFFERENT: {', '.join(kinds) or 'no operator by itself'}; {network}."
    unrun = [*result.unrun, *(["network"] if any(item.problem for item in result.network.values()) else [])]
    if unrun:
        return f"What ran gives {result.package}'s bytes on {inputs}; {len(unrun)} of the above did not run everywhere."
    ran = sum(bool(op.results) for op in result.operators)
    return f"{ran} operators and the network give {result.package}'s bytes on {inputs}."


_UNKNOWN = "They should be equal: please report it."


def _cells(results: Mapping[str, Difference], whole: Comparison) -> list[str]:
    return [_cell(results[kernels]) if kernels in results else "-" for kernels in whole.kernels]


def _cell(result: Difference) -> str:
    if result.problem:
        return "not run"
    return f"{result.differing:,} of {result.size:,} by {result.most}" if result.differing else "equal"


def _note(op: OperatorResult) -> str:
    return op.skipped or "; ".join(_problems(op.results))


def _problems(results: Mapping[str, Difference]) -> list[str]:
    return [f"{kernels}: {result.problem}" for kernels, result in results.items() if result.problem]


def _end(name: str) -> str:
    """The end of a name, which says more than what all names begin with."""
    return name if len(name) <= _LONGEST_NAME else f"...{name[3 - _LONGEST_NAME :]}"
