# SPDX-License-Identifier: Apache-2.0
"""Model files with zero points, written beside their weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tuning.importers.tflite.file import FileModel
from tuning.importers.yaml.writer import write_yaml_graph


def write(folder: Path, text: str, arrays: Mapping[str, np.ndarray] | None = None, name: str = "net") -> Path:
    """A model file of this text, and its archive."""
    path = folder / f"{name}.yaml"
    path.write_text(text, encoding="utf-8")
    if arrays:
        np.savez(folder / f"{name}.npz", **arrays)  # type: ignore[arg-type]
    return path


def rewritten(folder: Path, file: FileModel, name: str = "net") -> Path:
    """The network of another file as a model file."""
    text, arrays = write_yaml_graph(file, name)
    return write(folder, text, arrays, name)
