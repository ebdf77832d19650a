# SPDX-License-Identifier: Apache-2.0
"""The models and targets that are installed with the package."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

SUFFIXES = {"models": (".yaml", ".tflite"), "targets": (".yaml",)}
"""Of the files that have a name to be asked for by; what lies beside them belongs to them."""


def folder(kind: str) -> dict[str, Path]:
    """``{name: file}`` of the shipped ``"models"`` or ``"targets"``, sorted by name."""
    package = Path(__file__).resolve().parents[1]
    # Installed they are part of the package; an editable install runs from the checkout, where they lie beside it.
    root = package / "configs" / kind if (package / "configs").is_dir() else package.parent / "configs" / kind
    return by_name(path for path in root.iterdir() if path.suffix in SUFFIXES[kind])


def by_name(paths: Iterable[Path]) -> dict[str, Path]:
    """``{name: file}``, sorted.

    Raises
    ------
    ValueError
        Two files have one name.
    """
    found: dict[str, Path] = {}
    for path in sorted(paths, key=lambda path: (path.stem, path.name)):
        if other := found.get(path.stem):
            raise ValueError(f"{path.stem}: expected one file of this name, got {other.name} and {path.name}")
        found[path.stem] = path
    return found
