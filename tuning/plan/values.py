# SPDX-License-Identifier: Apache-2.0
"""What values of a plan file may be: for each kind, the words for it, and whether a value is of it."""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite
from typing import Any

Expected = tuple[str, Callable[[Any], bool]]


def between(low: int, high: int) -> Expected:
    def fits(value: Any) -> bool:
        return type(value) is int and low <= value <= high

    return f"an integer in {low}..{high}", fits


def one_of(*legal: str | int | None) -> Expected:
    return "one of " + ", ".join(map(repr, legal)), lambda value: any(
        type(value) is type(item) and value == item for item in legal
    )


def several(least: int, most: int, what: str, item: Expected) -> Expected:
    expected, fits_one = item

    def fits(value: Any) -> bool:
        return isinstance(value, list) and least <= len(value) <= most and all(map(fits_one, value))

    return f"{what}, each {expected}", fits


def real(low: float, high: float) -> Expected:
    def fits(value: Any) -> bool:
        return type(value) in (int, float) and isfinite(value) and low <= value <= high

    return f"a number in {low:g}..{high:g}", fits
