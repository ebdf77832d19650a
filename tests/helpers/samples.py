# SPDX-License-Identifier: Apache-2.0
"""A sample of the parameters of a test; the others are marked as what ``--full`` runs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def one_in(step: int, values: Iterable[Any]) -> list[Any]:
    """Every `step`-th of the values of a parameter, or of tuples of several, the others with ``--full``."""
    made = [value if isinstance(value, tuple) else (value,) for value in values]
    return [pytest.param(*value, marks=[pytest.mark.full] if at % step else []) for at, value in enumerate(made)]
