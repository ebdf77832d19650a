# SPDX-License-Identifier: Apache-2.0
"""A sample of the parameters of a test; the others are marked as what ``--full`` runs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def one_in(step: int, values: Iterable[Any]) -> list[Any]:
    """Every `step`-th of the values of one parameter, the others with ``--full``."""
    return [pytest.param(value, marks=pytest.mark.full) if at % step else value for at, value in enumerate(values)]
