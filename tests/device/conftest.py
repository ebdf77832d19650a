# SPDX-License-Identifier: Apache-2.0
"""Every test that asks for a ``build`` runs once per core, compiler and optimisation level: a sample by default, the product with ``--full``."""

from __future__ import annotations

import pytest

from helpers.device import builds


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "build" in metafunc.fixturenames:
        chosen = builds(full=metafunc.config.getoption("--full"))
        metafunc.parametrize("build", chosen, ids=str)
