# SPDX-License-Identifier: Apache-2.0
"""The models and targets that are installed with the package."""

from __future__ import annotations

from pathlib import Path


def folder(kind: str) -> dict[str, Path]:
    """``{name: file}`` of the shipped ``"models"`` or ``"targets"``, sorted by name."""
    package = Path(__file__).resolve().parents[1]
    # Installed they are part of the package; an editable install runs from the checkout, where they lie beside it.
    root = package / "configs" / kind if (package / "configs").is_dir() else package.parent / "configs" / kind
    return {path.stem: path for path in sorted(root.glob("*.yaml"))}
