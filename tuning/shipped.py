# SPDX-License-Identifier: Apache-2.0
"""The models and targets that are installed with the package."""

from __future__ import annotations

from importlib import resources
from pathlib import Path


def folder(kind: str) -> dict[str, Path]:
    """``{name: file}`` of the shipped ``"models"`` or ``"targets"``, sorted by name."""
    root = resources.files("tuning") / "configs" / kind
    if not root.is_dir():  # a source tree that is imported without being installed
        root = Path(__file__).resolve().parents[1] / "configs" / kind
    files = [Path(str(item)) for item in root.iterdir() if item.name.endswith(".yaml")]
    return {path.stem: path for path in sorted(files)}
