# SPDX-License-Identifier: Apache-2.0
"""Operators whose result is known before anything runs: arithmetic of shapes, and what exporters leave of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from .integer_graph import Refused

if TYPE_CHECKING:
    from .tflite_file import FileOp
    from .tflite_walk import Walk

MOST_ELEMENTS = 1 << 24
"""Of a folded constant."""
Arrays = list[np.ndarray]


def fold(walk: Walk, op: FileOp) -> None:
    """Compute the outputs of an operator whose inputs are known."""
    if op.code == "SHAPE":
        shape = walk.shape(walk.file_tensor(op.inputs[0]))
        walk.known[op.outputs[0]] = np.array(shape, np.int32)
        return
    inputs = [walk.known[index] for index in op.inputs if index >= 0]
    if sum(array.size for array in inputs) > MOST_ELEMENTS:
        raise Refused("constants that are too large to be folded")
    try:
        result = FOLDED[op.code](op.options, inputs)
    except (ValueError, IndexError, TypeError) as problem:
        raise Refused(f"constants that do not fit together: {problem}") from None
    for index, value in zip(op.outputs, result, strict=False):
        expected = walk.file_tensor(index)
        if expected.dtype is not None and value.dtype != expected.dtype:
            value = value.astype(expected.dtype)
        walk.known[index] = value


def _slice(options: Any, inputs: Arrays) -> Arrays:
    begin, size = (tuple(int(value) for value in one.reshape(-1)) for one in inputs[1:3])
    ends = [None if count < 0 else at + count for at, count in zip(begin, size, strict=True)]
    return [inputs[0][tuple(slice(at, end) for at, end in zip(begin, ends, strict=True))]]


def _strided_slice(options: Any, inputs: Arrays) -> Arrays:
    from .tflite_moves import strided_index

    index = strided_index(options, inputs[0].shape, *(tuple(map(int, one.reshape(-1))) for one in inputs[1:4]))
    return [np.asarray(inputs[0][index])]


def _reduce(function: Callable[..., Any]) -> Callable[[Any, Arrays], Arrays]:
    def reduced(options: Any, inputs: Arrays) -> Arrays:
        axes = tuple(int(axis) for axis in inputs[1].reshape(-1))
        return [np.asarray(function(inputs[0], axis=axes, keepdims=bool(options["keep_dims"])))]

    return reduced


def _element(function: Callable[..., Any]) -> Callable[[Any, Arrays], Arrays]:
    return lambda options, inputs: [np.asarray(function(*inputs))]


FOLDED: dict[str, Callable[[Any, Arrays], Arrays]] = {
    "SHAPE": lambda options, inputs: inputs,
    "PACK": lambda options, inputs: [np.stack(inputs, int(options["axis"]))],
    "UNPACK": lambda options, inputs: [np.asarray(part) for part in np.moveaxis(inputs[0], int(options["axis"]), 0)],
    "CONCATENATION": lambda options, inputs: [np.concatenate(inputs, int(options["axis"]))],
    "STRIDED_SLICE": _strided_slice,
    "SLICE": _slice,
    "GATHER": lambda options, inputs: [np.take(inputs[0], inputs[1].astype(np.int64), int(options["axis"]))],
    "RESHAPE": lambda options, inputs: [inputs[0].reshape([int(size) for size in inputs[1].reshape(-1)])],
    "SQUEEZE": lambda options, inputs: [np.squeeze(inputs[0])],
    "EXPAND_DIMS": lambda options, inputs: [np.expand_dims(inputs[0], int(inputs[1].reshape(-1)[0]))],
    "TRANSPOSE": lambda options, inputs: [np.transpose(inputs[0], [int(axis) for axis in inputs[1].reshape(-1)])],
    "CAST": lambda options, inputs: inputs[:1],
    "ADD": _element(np.add),
    "SUB": _element(np.subtract),
    "MUL": _element(np.multiply),
    "FLOOR_DIV": _element(np.floor_divide),
    "MAXIMUM": _element(np.maximum),
    "MINIMUM": _element(np.minimum),
    "REDUCE_PROD": _reduce(np.prod),
    "SUM": _reduce(np.sum),
    "FILL": lambda options, inputs: [np.full([int(size) for size in inputs[0].reshape(-1)], inputs[1].reshape(-1)[0])],
    "RANGE": lambda options, inputs: [np.arange(*(one.reshape(-1)[0] for one in inputs[:3]))],
}
"""Operator -> its result. Of numbers that are quantised nothing is folded but what moves them."""
MOVES = (
    "PACK",
    "UNPACK",
    "CONCATENATION",
    "STRIDED_SLICE",
    "SLICE",
    "GATHER",
    "RESHAPE",
    "SQUEEZE",
    "EXPAND_DIMS",
    "TRANSPOSE",
)
