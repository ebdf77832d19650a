# SPDX-License-Identifier: Apache-2.0
"""Options shared by every test: ``--full`` runs the whole product where the default runs a pairwise sample, and what
``full`` marks; ``--rest`` runs the latter, by sample.
"""

from __future__ import annotations

import os
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# Subprocesses import what is installed, not the sources in the current directory.
os.environ["PYTHONSAFEPATH"] = "1"

# A machine that is busy with something else is no finding.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="run every combination, not a sample")
    parser.addoption("--rest", action="store_true", help="run what `full` marks too; with -m full that alone")


@pytest.fixture(scope="session")
def full(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--full"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--full") and not config.getoption("--rest"):
        for item in items:
            if item.get_closest_marker("full"):
                item.add_marker(pytest.mark.skip(reason="takes long: pytest --full runs it"))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Neighbours run in one process, which makes what they share once; whoever is done takes of the others' tests."""
    if config.getvalue("dist") != "load":
        return None
    from xdist.scheduler import WorkStealingScheduling

    return WorkStealingScheduling(config, log)
