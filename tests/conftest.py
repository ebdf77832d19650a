# SPDX-License-Identifier: Apache-2.0
"""Options shared by every test: ``--full`` runs the whole product where the default runs a pairwise sample."""

import os

import pytest
from hypothesis import HealthCheck, settings

# Subprocesses import what is installed, not the sources in the current directory.
os.environ["PYTHONSAFEPATH"] = "1"

# A machine that is busy with something else is no finding.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="run every combination, not a sample")


@pytest.fixture(scope="session")
def full(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--full"))
