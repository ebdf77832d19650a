# SPDX-License-Identifier: Apache-2.0
"""``cmsisnn-tune MODEL --operations``: what a file uses, and whether each of it is taken."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from ..base.console import console, make_table
from ..base.options import Arithmetic

if TYPE_CHECKING:
    from ..importers.tflite.reader import Operation

MOST_REASONS = 3
"""Of an operator, that the table has lines for."""


def print_operations(source: str, arithmetic: Arithmetic | None, *, as_json: bool, no_color: bool) -> int:
    """Print a line per operator; the exit status: 1 if some are not taken."""
    from ..load import operations

    found = operations(source, arithmetic.value if arithmetic else "tflm")
    if as_json:
        print(json.dumps({"operations": [asdict(use) for use in found]}, indent=1))
        return 1 if any(use.problem for use in found) else 0
    numbers = ("count", "taken")
    table = make_table("operator", *numbers, "becomes", "why not", right=numbers)
    for code, uses in _by_code(found).items():
        refused = [use for use in uses if use.problem]
        kinds = sorted({_kind(node) for use in uses for node in use.nodes})
        table.add_row(code, str(len(uses)), str(len(uses) - len(refused)), ", ".join(kinds), operation_reasons(refused))
    console(no_color).print(table)
    return 1 if any(use.problem for use in found) else 0


def operation_reasons(refused: Sequence[Operation]) -> str:
    """Why operators of a kind are not taken: each reason once, with the first tensor that has it."""
    from ..importers.tflite.file import quoted

    first: dict[str, str] = {}
    for use in refused:
        first.setdefault(use.problem or "", use.tensor)
    lines = [f"{quoted(tensor)}: {problem}" for problem, tensor in first.items()]
    more = len(lines) - MOST_REASONS
    return "\n".join([*lines[:MOST_REASONS], *([f"and {more} more reasons"] if more > 0 else [])])


def _by_code(found: Sequence[Operation]) -> dict[str, list[Operation]]:
    result: dict[str, list[Operation]] = {}
    for operation in sorted(found, key=lambda one: one.code):
        result.setdefault(operation.code, []).append(operation)
    return result


def _kind(node: str) -> str:
    """A layer's name without the numbers of its operator and output."""
    return re.sub(r"(_\d+)+$", "", node)
