# SPDX-License-Identifier: Apache-2.0
"""A test that takes a ``build`` runs for a sample of cores, compilers and levels; with ``--full`` for all."""

from __future__ import annotations

import pytest

from helpers.device import builds


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "build" in metafunc.fixturenames:
        chosen = builds(full=metafunc.config.getoption("--full"))
        metafunc.parametrize("build", chosen, ids=str)
