# SPDX-License-Identifier: Apache-2.0
"""Calibration and test data: inputs as the float model takes them, and labels where there are any."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from ..base.damaged import DAMAGED
from ..base.errors import OptionError, TuningError
from ..base.files import is_pipe

INPUT_KEYS = ("x", "inputs")
LABEL_KEYS = ("y", "labels")
LAYOUTS = ("NHWC", "NCHW")
"""Of a float model's input and output."""


@dataclass(frozen=True, eq=False)
class Data:
    """Samples for a float model.

    Attributes
    ----------
    x : ndarray of float32
        Shape ``(n, ...)``, in the layout that the float model takes.
    y : ndarray of int64 or None
        Class numbers, shape ``(n,)``.
    name : str
        What messages call them.
    targets : ndarray of float64 or None
        Numbers that the output should be, shape ``(n, ...)``, where `y` are no classes.
    """

    x: np.ndarray
    y: np.ndarray | None = None
    name: str = "data"
    targets: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.x)


def load_data(path: str | os.PathLike[str]) -> Data:
    """Read an ``.npz`` with `x` (or `inputs`) and optionally `y` (or `labels`), or an ``.npy`` with inputs alone.

    Raises
    ------
    OptionError
        No such file, not such a file, no inputs in it, NaN or infinity among them, or labels that do not fit.
    """
    path = Path(path)
    with archive(path, "x and optionally y") as stored:
        x, y = _read(stored, path.name)
    return make_data(x, y, path.name)


@contextmanager
def archive(path: Path, expected: str) -> Iterator[Any]:
    """What NumPy finds in a file, an archive or one array; `expected` is what should be in it.

    Raises
    ------
    OptionError
        No such file, or one that cannot be read, at once or array by array.
    """
    if is_pipe(path):
        raise OptionError(f"{path}: expected an .npz with {expected}, got a pipe")
    try:
        with open(path, "rb") as stream:
            yield np.load(stream, allow_pickle=False)
    except FileNotFoundError:
        raise OptionError(f"{path}: no such file") from None
    except TuningError:
        raise
    except MemoryError:
        raise OptionError(f"{path}: the arrays in it do not fit into memory") from None
    except DAMAGED as problem:
        raise OptionError(
            f"{path}: expected an .npz with {expected}, got a file that cannot be read: {problem}"
        ) from None


def _read(stored: Any, name: str) -> tuple[np.ndarray, np.ndarray | None]:
    if isinstance(stored, np.ndarray):
        return stored, None
    inputs = _pick(stored.files, INPUT_KEYS, name)
    labels = _pick(stored.files, LABEL_KEYS, name)
    if inputs is None:
        if len(stored.files) != 1:
            names = ", ".join(stored.files) or "nothing"
            raise OptionError(f"{name}: expected the inputs under the key 'x' or 'inputs', got: {names}")
        inputs = stored.files[0]
    return stored[inputs], None if labels is None else stored[labels]


def as_data(data: Data | np.ndarray | tuple[np.ndarray, np.ndarray]) -> Data:
    """:class:`Data` of whatever a caller may give."""
    if isinstance(data, Data):
        return data
    return make_data(*data) if isinstance(data, tuple) else make_data(data)


def make_data(x: np.ndarray, y: np.ndarray | None = None, name: str = "calibration") -> Data:
    """Checked :class:`Data` from arrays; `name` is what messages call them."""
    x = np.asarray(x)
    if x.dtype == bool or x.dtype.kind not in "iuf":
        raise OptionError(f"{name}: x: expected numbers, got {x.dtype}")
    if x.ndim < 2 or x.size == 0:
        raise OptionError(f"{name}: x: expected samples along the first axis, shape (n, ...), got shape {x.shape}")
    x = x.astype(np.float32)
    if not np.isfinite(x).all():
        sample = int(np.argwhere(~np.isfinite(x))[0][0])
        raise OptionError(f"{name}: x: expected finite numbers, got NaN or infinity in sample {sample}")
    if y is None:
        return Data(x, None, name)
    given = np.asarray(y)
    if given.dtype.kind in "iufb" and given.shape[:1] == (len(x),) and not _are_classes(given):
        if not np.isfinite(given).all():
            raise OptionError(f"{name}: y: expected finite numbers, got NaN or infinity")
        return Data(x, None, name, given.astype(np.float64).reshape(len(x), -1))
    return Data(x, _labels(given, len(x), name), name)


FEW = 10
"""Samples that are too few to know ranges by."""


def doubts(x: np.ndarray) -> list[str]:
    """What makes ranges that are found on calibration inputs worth little."""
    found = []
    if x.min() == x.max():
        found.append(f"every calibration input is {x.flat[0]:g}: nothing is known of the ranges of real ones")
    elif len(x) < FEW:
        count = "one sample" if len(x) == 1 else f"{len(x)} samples"
        found.append(f"{count} of calibration data: other inputs may saturate; take some hundred")
    return found


def spreads(x: np.ndarray, step: float) -> list[str]:
    """Numbers of a vector that integers hardly tell apart: one scale serves all, whatever each one's spread is."""
    if x.ndim != 2 or x.shape[1] < 2:
        return []
    spread = x.astype(np.float64).std(axis=0)
    lost = np.flatnonzero((spread > 0) & (spread < step))
    if not lost.size:
        return []
    return [
        f"{lost.size} of {len(spread)} input numbers spread by less than the step of the integers, {step:.3g}: number "
        f"{lost[0]} by {spread[lost[0]]:.3g}; scale them alike in front of the network (a StandardScaler of its own), "
        "or take 16 bits"
    ]


def settled(data: Data, outputs: int, op: str, name: str) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Classes, or numbers, that a network with so many outputs, `op` its last operation, is judged by.

    Raises
    ------
    OptionError
        Numbers where there are classes, or too few or many of them.
    """
    y, targets = data.y, data.targets
    if y is not None and outputs == 1 and op not in ("sigmoid", "softmax") and y.max(initial=0) > 1:
        return None, y.astype(np.float64)[:, None]
    if targets is not None and op == "softmax":
        raise OptionError(
            f"{name}: y: expected class numbers, one per sample, or one-hot rows, as the network ends in a softmax, "
            "got values that are no class numbers"
        )
    if targets is not None and targets.shape[1] != outputs:
        raise OptionError(f"{name}: y: expected {outputs} numbers a sample, got {targets.shape[1]}")
    return y, targets


def channels_last(
    x: np.ndarray, input_shape: tuple[int, ...], layout: str, name: str = "data",
    declared: tuple[int, ...] | None = None,
) -> np.ndarray:  # fmt: skip
    """Samples of a float model in `layout`, or in the shape that it declares -> ``(n, *input_shape)``; `name` is what a
    message calls them.
    """
    source = input_shape
    if layout == "NCHW" and len(input_shape) == 3:
        source = (input_shape[2], *input_shape[:2])
    if declared is not None and x.shape[1:] == declared:
        x = x.reshape(len(x), *source)
    is_flat = (len(input_shape) == 1 or x.ndim == 2) and prod(x.shape[1:]) == prod(input_shape)
    if not is_flat and [size for size in x.shape[1:] if size != 1] != [size for size in source if size != 1]:
        hint = ""
        if len(source) == 3 and x.shape[1:] == (*source[1:], source[0]):
            hint = "; transpose the data with x.transpose(0, 3, 1, 2)"
        elif len(source) == 3 and x.shape[1:] == (source[2], *source[:2]):
            hint = "; transpose the data with x.transpose(0, 2, 3, 1)"
        elif x.shape == source:
            hint = "; a single sample needs a first axis of its own: x[None]"
        shape = ", ".join(map(str, source))
        raise OptionError(f"{name}: x: expected shape (n, {shape}) as the float model takes it, got {x.shape}{hint}")
    x = x.reshape(len(x), *source)
    if source is not input_shape:
        x = x.transpose(0, 2, 3, 1)
    return np.ascontiguousarray(x)


def declared_of(content: Mapping[str, np.ndarray]) -> tuple[int, ...] | None:
    """`declared_shape` of a float file; older ones have none."""
    found = content.get("declared_shape")
    return None if found is None else tuple(int(size) for size in np.asarray(found).reshape(-1)[:8])


def _are_classes(y: np.ndarray) -> bool:
    if y.ndim == 2 and y.shape[1] > 1:
        return bool(((y == 0) | (y == 1)).all() and (y.sum(axis=1) == 1).all())
    return bool(y.size == len(y) and np.array_equal(y, np.floor(y)) and (y >= 0).all())


def _labels(y: np.ndarray, count: int, name: str) -> np.ndarray:
    expected = f"expected {count} class numbers, one per sample, or one-hot rows"
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    elif y.ndim == 2 and ((y == 0) | (y == 1)).all() and (y.sum(axis=1) == 1).all():
        y = y.argmax(axis=1)
    if y.ndim != 1 or len(y) != count:
        raise OptionError(f"{name}: y: {expected}, got shape {y.shape}")
    if y.dtype.kind not in "iufb" or not np.array_equal(y, np.floor(y)) or (y < 0).any():
        raise OptionError(f"{name}: y: {expected}, got values that are no class numbers ({y.dtype})")
    return y.astype(np.int64)


def _pick(found: list[str], keys: tuple[str, str], name: str) -> str | None:
    present = [key for key in keys if key in found]
    if len(present) > 1:
        raise OptionError(f"{name}: expected one of {' and '.join(map(repr, keys))}, got both")
    return present[0] if present else None
