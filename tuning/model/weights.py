# SPDX-License-Identifier: Apache-2.0
"""Weights from an npz archive, without trusting it: sizes, shapes and types are checked before anything is read."""

from __future__ import annotations

import stat
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np

from cmsisnn_x.layers import NUMPY_DTYPES, Layer

from ..base.damaged import DAMAGED
from ..base.yaml_file import suggest
from .synthetic import frozen

HEADER_BYTES = 1 << 16
"""More than the header of an .npy, or an archive's entry for it, ever takes."""


class WeightsError(ValueError):
    """What is wrong with the archive; the caller knows who asked for it."""


def read_weights(path: Path, layers: Sequence[Layer]) -> tuple[Layer, ...]:
    """`layers` with the weights and biases of the archive at `path`.

    Parameters
    ----------
    path : pathlib.Path
        An npz file that holds ``<layer>/weights`` of every layer that has some, and may hold ``<layer>/bias``;
        a missing bias is zero.
    layers : sequence of Layer

    Raises
    ------
    WeightsError
        The file cannot be read, an array is missing, unknown, or of another shape or type. Nothing is unpickled.
    """
    expected = {
        f"{layer.name}/{kind}": (_shape(layer, kind), NUMPY_DTYPES[str(layer.weights_dtype)])
        for layer in layers
        for kind in _kinds(layer)
    }
    arrays = read_arrays(path, expected)
    return tuple(_with_arrays(layer, arrays) for layer in layers)


def read_arrays(path: Path, expected: Mapping[str, tuple[Any, ...]]) -> dict[str, np.ndarray]:
    """The arrays of the archive at `path`, of those that are expected: name -> shape and type, and then other shapes
    that will do.

    Raises
    ------
    WeightsError
        The file cannot be read, an array is unknown, or of another shape or type. Nothing is unpickled.
    """
    allowed = sum(_bytes(*one[:2]) * 16 + HEADER_BYTES for one in expected.values()) + HEADER_BYTES
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise WeightsError("expected an npz archive, got something that is no regular file")
        if found.st_size > allowed:
            raise WeightsError(f"expected at most {allowed} bytes for these layers, got a file of {found.st_size}")
        with zipfile.ZipFile(path) as archive:
            members: dict[str, zipfile.ZipInfo] = {}
            for info in archive.infolist():
                name = info.filename.removesuffix(".npy")
                if name not in expected:
                    raise WeightsError(f"no layer takes the array {name!r}; {suggest(name, expected)}")
                if name in members:
                    raise WeightsError(f"{name}: expected one array of that name, got two")
                members[name] = info
            return {name: _read_array(archive, info, name, *expected[name]) for name, info in members.items()}
    except FileNotFoundError:
        raise WeightsError("no such file; the path is relative to the model file") from None
    except WeightsError:
        raise
    except DAMAGED as problem:
        raise WeightsError(f"expected an npz archive of integer arrays, got {_damage(problem)}") from None


def _damage(problem: Exception) -> str:
    why = getattr(problem, "strerror", None) or (str(problem) or type(problem).__name__).splitlines()[0]
    return f"data that cannot be read: {why}"


def _kinds(layer: Layer) -> tuple[str, ...]:
    return ("weights", "bias") if layer.weights_dtype else ()


def _shape(layer: Layer, kind: str) -> tuple[int, ...]:
    return layer.weights_shape if kind == "weights" else layer.bias_shape


def _bytes(shape: tuple[int, ...], dtype: np.dtype) -> int:
    return prod(shape) * dtype.itemsize


def _read_array(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str, shape: tuple[int, ...], dtype: np.dtype,
    *others: tuple[int, ...],
) -> np.ndarray:  # fmt: skip
    wanted = f"{name}: expected {dtype} of shape {list(shape)}"
    with archive.open(info) as stream:
        try:
            found_shape, is_fortran, found_dtype = _read_header(stream)
        except (*DAMAGED, MemoryError) as problem:
            raise WeightsError(f"{wanted}, got {_damage(problem)}") from None
        shape = found_shape if found_shape in others else shape
        if found_shape != shape or found_dtype.newbyteorder("=") != dtype:
            raise WeightsError(f"{wanted}, got {found_dtype} of shape {list(found_shape)}")
        size = _bytes(shape, dtype)
        data = stream.read(size)
        # Reading to the end is what makes zipfile compare the checksum.
        if len(data) != size or stream.read(1):
            raise WeightsError(f"{wanted}, got {'more' if len(data) == size else 'fewer'} than its {size} bytes")
    array = np.frombuffer(data, found_dtype).reshape(shape, order="F" if is_fortran else "C")
    return frozen(array.astype(dtype, copy=False))


def _read_header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = np.lib.format.read_magic(stream)
    with warnings.catch_warnings(action="ignore"):  # a header as Python 2 wrote it
        if version == (1, 0):
            return np.lib.format.read_array_header_1_0(stream)
        if version == (2, 0):
            return np.lib.format.read_array_header_2_0(stream)
    raise ValueError(f"npy version {version[0]}.{version[1]}; expected 1.0 or 2.0")


def _with_arrays(layer: Layer, arrays: dict[str, np.ndarray]) -> Layer:
    if not layer.weights_dtype:
        return layer
    name = f"{layer.name}/weights"
    if name not in arrays:
        raise WeightsError(f"array {name!r} is missing; it holds: {', '.join(sorted(arrays)) or 'nothing'}")
    bias = arrays.get(f"{layer.name}/bias")
    if bias is None:
        bias = frozen(np.zeros(layer.bias_shape, NUMPY_DTYPES[layer.weights_dtype]))
    return replace(layer, weights=arrays[name], bias=bias)
