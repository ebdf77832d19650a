# SPDX-License-Identifier: Apache-2.0
"""A test that takes a ``build`` runs for a sample of cores, compilers and levels; with ``--full`` for all. The cores
with Helium are a ``helium_build``.
"""

from __future__ import annotations

import pytest

from helpers.device import builds, helium_builds


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "build" in metafunc.fixturenames:
        chosen = builds(full=metafunc.config.getoption("--full"))
        metafunc.parametrize("build", chosen, ids=str)
    if "helium_build" in metafunc.fixturenames:
        chosen = helium_builds(full=metafunc.config.getoption("--full"))
        metafunc.parametrize("helium_build", chosen, ids=str)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What `dsp` marks runs in the builds of cores that have such kernels alone."""
    kept, others = [], []
    for item in items:
        mark = item.get_closest_marker("dsp")
        fits = mark is None or item.callspec.params["build"].dsp == mark.args[0]  # type: ignore[attr-defined]
        (kept if fits else others).append(item)
    if others:
        config.hook.pytest_deselected(items=others)
        items[:] = kept
