# SPDX-License-Identifier: Apache-2.0
"""A network with zero points as files: `.tflite`, or a model file with its weights and its float network."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from ...base.errors import OptionError
from ...base.files import npz_bytes, write_atomically
from ...importers.tflite.file import FileModel
from ...importers.yaml.writer import write_yaml_graph
from .scales import Scale
from .twin import Twin


class Result(Protocol):
    """What a file says of a quantised network: the fields of `result.AffineQuantized` that are written."""

    @property
    def twin(self) -> Twin: ...
    @property
    def file(self) -> FileModel: ...
    @property
    def scheme(self) -> str: ...
    @property
    def scales(self) -> tuple[Scale, ...]: ...
    @property
    def samples(self) -> int: ...
    @property
    def accuracy(self) -> dict[str, float]: ...


def save(result: Result, path: str | os.PathLike[str]) -> Path:
    """Write what the ending asks for; a model file, which names the others, last."""
    first = result.scales[0]
    order = f"Input: round(x / {first.scale:.9g}) {first.zero_point:+d}, {result.twin.network.order}."
    lines = heading(result.scheme, result.samples, [order], result.accuracy)
    return save_network(path, result.file, result.twin.network.name, lines, result.twin.stored)


def save_network(
    path: str | os.PathLike[str], file: FileModel, name: str, lines: Sequence[str],
    in_float: Callable[[], Mapping[str, np.ndarray]],
) -> Path:  # fmt: skip
    """The same of operators with their bytes: `lines` are comments of the model file, `in_float` its float network."""
    path = Path(path)
    if path.suffix not in (".tflite", ".yaml", ".yml") or path.is_dir():
        raise OptionError(f"expected a file name ending in .yaml or .tflite, got {str(path)!r}")
    if path.suffix == ".tflite":
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, file.content)
        return path
    weights, beside = path.with_name(f"{path.stem}.npz"), path.with_name(f"{path.stem}_float.npz")
    text, arrays = write_yaml_graph(file, name, weights.name, {"float": beside.name})
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(weights, npz_bytes(arrays))
    write_atomically(beside, npz_bytes(in_float()))
    write_atomically(path, "".join(f"# {line}\n" for line in lines) + text)
    return path


def heading(scheme: str, samples: int, inputs: Sequence[str], accuracy: Mapping[str, float]) -> list[str]:
    """Comments: where the file comes from, what its integers stand for, and how well they do."""
    lines = [f"Quantised by cmsisnn-quantize ({scheme}) on {samples:,} calibration samples.", *inputs]
    if accuracy:
        shares = ", ".join(f"{share:.2%} {kind}" for kind, share in accuracy.items())
        lines.append(f"Accuracy on them: {shares}.")
    return lines
