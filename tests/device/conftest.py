# SPDX-License-Identifier: Apache-2.0
"""A test that takes a ``build`` runs for a sample of cores, compilers and levels, each core once; with ``--rest``
for some more, with ``--full`` for all. The cores with Helium are a ``helium_build``.
"""

from __future__ import annotations

from typing import Any

import pytest

from helpers.device import Build, builds, compilers, helium_builds

LATER = ("cortex-m0plus-clang", "cortex-m4-clang", "cortex-m7-gcc")
"""Where both compilers are there a core has one by default, and the other one as what `full` marks."""


def as_parameter(build: Build) -> Any:
    later = len(compilers()) > 1 and str(build).startswith(LATER)
    return pytest.param(build, marks=pytest.mark.full if later else (), id=str(build))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "build" in metafunc.fixturenames:
        chosen = builds(full=metafunc.config.getoption("--full"))
        metafunc.parametrize("build", [as_parameter(build) for build in chosen])
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
