# SPDX-License-Identifier: Apache-2.0
"""The package as users get it: every documented example runs, and no file is missing from what is installed."""

import doctest
import importlib
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "cmsisnn_x"
FILES = sorted(path.relative_to(SOURCE).as_posix() for path in SOURCE.rglob("*.py*") if path.suffix in (".py", ".pyi"))
BUILD_TIME = ("_build/",)
"""Folders of scripts that only the build runs."""


@pytest.mark.parametrize(
    "module",
    [
        "._tables",
        ".buffers",
        ".cmsis",
        ".cmsis._check",
        ".int8.reductions",
        ".int8.weighted",
        ".interleave",
        ".network",
        ".ops",
        ".ops.activation",
        ".ops.pooling",
        ".ops.weighted",
    ],
)
def test_examples(module):
    failed, attempted = doctest.testmod(importlib.import_module(f"cmsisnn_x{module}"))
    assert failed == 0
    assert attempted > 0


def test_every_file_is_installed():
    meson = (SOURCE / "meson.build").read_text()
    assert [name for name in FILES if not name.startswith(BUILD_TIME) and f"'{name}'" not in meson] == []


def test_every_extension_has_a_stub():
    kernels = {path.name.split(".")[0] for path in SOURCE.rglob("*.pyx*")}
    assert kernels == {Path(name).stem for name in FILES if name.endswith(".pyi")}
