# SPDX-License-Identifier: Apache-2.0
"""What errors say to install is what the extras have."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from tuning.base.errors import EXTRAS, install

PYPROJECT = Path(__file__).resolve().parents[3] / "pyproject.toml"


@pytest.mark.parametrize("extra", EXTRAS)
def test_the_packages_of_an_extra_are_those_of_the_project(extra: str) -> None:
    asked = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]["optional-dependencies"][extra]
    # A least version is the newest's matter; a version that must be that one is said.
    assert EXTRAS[extra] == tuple(re.sub("[<>].*", "", item.partition(";")[0]) for item in asked)
    assert all(re.fullmatch(r"[a-z-]+(==[\w.]+)?", package) for package in EXTRAS[extra])
    assert install(extra) == f"pip install {' '.join(EXTRAS[extra])}"
