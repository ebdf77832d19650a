# SPDX-License-Identifier: Apache-2.0
"""Samples for a graph: an array for each input, and for outputs what they should be."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from ...base.errors import OptionError
from ..data import INPUT_KEYS, LABEL_KEYS, Data, archive
from .float_graph import of_sample

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, eq=False)
class Samples:
    """What a float graph is run on.

    Attributes
    ----------
    inputs : mapping of str to ndarray
        float32, shape ``(n, ...)`` as the float model takes them.
    targets : mapping of str to ndarray
        By output: class numbers, int64 of shape ``(n,)``, or float32 in the output's shape.
    name : str
        What messages call them.
    """

    inputs: Mapping[str, np.ndarray]
    targets: Mapping[str, np.ndarray]
    name: str = "data"

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))

    @property
    def y(self) -> np.ndarray | None:
        """Class numbers of the first output that has some."""
        return next((target for target in self.targets.values() if target.dtype.kind == "i"), None)

    def part(self, chosen: Any) -> dict[str, np.ndarray]:
        return {name: value[chosen] for name, value in self.inputs.items()}


def load_samples(path: str | os.PathLike[str], inputs: Shapes, outputs: Shapes) -> Samples:
    """Read an ``.npz``: of a single input `x` (or `inputs`, or its name), of several one array by each name; `y` (or
    `labels`) is what the first output should be, an output's name what that one should be.

    Raises
    ------
    OptionError
        No such file, or arrays that do not fit.
    """
    path = Path(path)
    with archive(path, "an array for each input") as stored:
        content = {"x": stored} if isinstance(stored, np.ndarray) else {key: stored[key] for key in stored.files}
    return make_samples(content, inputs, outputs, path.name)


def as_samples(data: Any, inputs: Shapes, outputs: Shapes, name: str = "calibration") -> Samples:
    """Samples of whatever a caller may give."""
    if isinstance(data, Samples):
        return data
    if isinstance(data, str | os.PathLike):
        return load_samples(data, inputs, outputs)
    if isinstance(data, Data):
        content = {"x": data.x} | ({} if data.y is None else {"y": data.y})
        return make_samples(content, inputs, outputs, data.name)
    if isinstance(data, tuple):
        return make_samples(dict(zip(("x", "y"), data, strict=True)), inputs, outputs, name)
    return make_samples(data if isinstance(data, Mapping) else {"x": data}, inputs, outputs, name)


def make_samples(content: Mapping[str, Any], inputs: Shapes, outputs: Shapes, name: str = "calibration") -> Samples:
    """Checked samples."""
    arrays = dict(content)
    if len(inputs) == 1:
        (only,) = inputs
        keys = [key for key in (*INPUT_KEYS, only) if key in arrays]
        if len(set(keys)) > 1 and only not in INPUT_KEYS:
            raise OptionError(f"{name}: expected one of {' and '.join(map(repr, keys))}, got both")
        if not keys and len(arrays) == 1:
            keys = list(arrays)
        if not keys:
            names = ", ".join(arrays) or "nothing"
            raise OptionError(f"{name}: expected the inputs under the key 'x', 'inputs' or {only!r}, got: {names}")
        found = {only: arrays.pop(keys[0])}
    else:
        if missing := [one for one in inputs if one not in arrays]:
            names = ", ".join(arrays) or "nothing"
            raise OptionError(f"{name}: expected an array for each input, also {missing[0]!r}, got: {names}")
        found = {one: arrays.pop(one) for one in inputs}
    given = {one: _input(value, inputs[one], one, name, len(inputs) == 1) for one, value in found.items()}
    counts = {one: len(value) for one, value in given.items()}
    if len(set(counts.values())) > 1:
        raise OptionError(f"{name}: expected as many samples of each input, got {counts}")
    count = next(iter(counts.values()))
    targets = {}
    keys = [key for key in LABEL_KEYS if key in arrays and key not in outputs]
    if len(keys) > 1:
        raise OptionError(f"{name}: expected one of {' and '.join(map(repr, keys))}, got both")
    wanted = {one: one for one in outputs if one in arrays} | dict.fromkeys(keys, next(iter(outputs)))
    for key, output in wanted.items():
        targets[output] = _target(np.asarray(arrays[key]), outputs[output], count, key, name)
    return Samples(given, targets, name)


def _input(value: Any, shape: tuple[int, ...], key: str, name: str, is_only: bool) -> np.ndarray:
    value, key = np.asarray(value), "x" if is_only else key
    if value.dtype == bool or value.dtype.kind not in "iuf":
        raise OptionError(f"{name}: {key}: expected numbers, got {value.dtype}")
    if value.ndim < 2 or not value.size:
        raise OptionError(
            f"{name}: {key}: expected samples along the first axis, shape (n, ...), got shape {value.shape}"
        )
    own = shape[1:]
    is_flat = value.ndim == 2 and value.shape[1] == prod(own)
    if not is_flat and [size for size in value.shape[1:] if size != 1] != [size for size in own if size != 1]:
        hint = "; a single sample needs a first axis of its own: x[None]" if value.shape == own else ""
        if len(own) == 3 and value.shape[1:] == (*own[1:], own[0]):
            hint = "; transpose the data with x.transpose(0, 3, 1, 2)"
        elif len(own) == 3 and value.shape[1:] == (own[2], *own[:2]):
            hint = "; transpose the data with x.transpose(0, 2, 3, 1)"
        sizes = ", ".join(map(str, own))
        expected = f"expected shape (n, {sizes}) as the float model takes it"
        raise OptionError(f"{name}: {key}: {expected}, got {value.shape}{hint}")
    value = np.ascontiguousarray(value.astype(np.float32).reshape(len(value), *own))
    if not np.isfinite(value).all():
        sample = int(np.argwhere(~np.isfinite(value))[0][0])
        raise OptionError(f"{name}: {key}: expected finite numbers, got NaN or infinity in sample {sample}")
    return value


def _target(value: np.ndarray, shape: tuple[int, ...], count: int, key: str, name: str) -> np.ndarray:
    """Class numbers, or floats that the output should be."""
    size = prod(of_sample(shape))
    if value.ndim and len(value) != count:
        raise OptionError(f"{name}: {key}: expected {count} of them, one for each sample, got shape {value.shape}")
    if value.dtype.kind not in "iufb" or not value.ndim or not np.isfinite(value).all():
        raise OptionError(f"{name}: {key}: expected finite numbers, got {value.dtype} of shape {value.shape}")
    is_whole = value.dtype.kind in "iub" or bool(np.array_equal(value, np.floor(value)))
    flat = value.reshape(count, -1)
    is_one_hot = ((flat == 0) | (flat == 1)).all() and (flat.sum(axis=1) == 1).all()
    if is_whole and is_one_hot and flat.shape[1] == size > 1:
        return flat.argmax(axis=1).astype(np.int64)
    if is_whole and flat.shape[1] == 1 and (size > 1 or ((flat == 0) | (flat == 1)).all()):
        if flat.min() < 0 or flat.max() >= max(size, 2):
            raise OptionError(
                f"{name}: {key}: expected class numbers below {max(size, 2)}, as the network has {size} outputs, got "
                f"{int(flat.min() if flat.min() < 0 else flat.max())}"
            )
        return flat[:, 0].astype(np.int64)
    if flat.shape[1] != size:
        raise OptionError(
            f"{name}: {key}: expected class numbers, or {size} numbers for each sample as the output has, got shape "
            f"{value.shape}"
        )
    return flat.astype(np.float32)
