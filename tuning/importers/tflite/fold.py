# SPDX-License-Identifier: Apache-2.0
"""Operators whose result is known before anything runs: arithmetic of shapes, and what exporters leave of it."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from ..integer_graph import Refused
from .context import MOST_ELEMENTS, Context
from .converters.moves import strided_index
from .file import FileOp, FileTensor

Arrays = list[np.ndarray]


def can_fold(walk: Context, op: FileOp) -> bool:
    """Whether an operator's result is known. Of numbers that are quantised only moves are computed here."""
    if op.code not in FOLDED:
        return False
    if op.code == "SHAPE":
        return True
    given = [index for index in op.inputs if index >= 0]
    if not given or any(index not in walk.known for index in given):
        return False
    out = walk.file_tensor(op.outputs[0])
    if not out.scale.size:
        return True
    parts = given if op.code in ("CONCATENATION", "PACK") else given[:1]
    return op.code in MOVES and all(_is_scaled_as(walk.file_tensor(index), out) for index in parts)


def _is_scaled_as(tensor: FileTensor, other: FileTensor) -> bool:
    """Whether integers may be moved from one to the other; weights in pieces have their scales at the end alone."""
    one = tensor.scale.size == other.scale.size == 1
    return not one or bool(tensor.scale[0] == other.scale[0] and (tensor.zero_point == other.zero_point).all())


def fold(walk: Context, op: FileOp) -> None:
    """Compute the outputs of an operator whose inputs are known."""
    if op.code == "SHAPE":
        shape = walk.shape(walk.file_tensor(walk.source(op)))
        _remember(walk, op.outputs[0], np.array(shape, np.int64))
        return
    inputs = [walk.known[index] for index in op.inputs if index >= 0]
    if op.options.get("fused_activation_function", "NONE") != "NONE":
        raise Refused("constants with a fused activation")
    try:
        walk.folded += sum(array.size for array in inputs) + _elements(op, inputs)
        if walk.folded > MOST_ELEMENTS:
            raise Refused("constants that are too large to be folded")
        result = FOLDED[op.code](op.options, inputs)
    except (ValueError, IndexError, TypeError, ArithmeticError) as problem:
        raise Refused(f"constants that do not fit together: {problem}") from None
    for index, value in zip(op.outputs, result, strict=False):
        _remember(walk, index, value)


def _remember(walk: Context, index: int, value: np.ndarray) -> None:
    """The value of a tensor, in the type that the file gives it."""
    expected = walk.file_tensor(index)
    if expected.dtype is not None and value.dtype != expected.dtype:
        value = value.astype(expected.dtype)
    if expected.scale.size and value.shape != walk.shape(expected):
        raise Refused(f"constants that give {value.shape}, the file has {expected.shape}")
    walk.known[index] = value


def _elements(op: FileOp, inputs: Arrays) -> int:
    """Of the result, before it is there."""
    if op.code == "FILL":
        return prod(int(size) for size in inputs[0].reshape(-1))
    if op.code == "RANGE":
        first, last, step = (float(inputs[at].reshape(-1)[0]) for at in range(3))
        return int(abs((last - first) / step)) + 1
    if op.code == "GATHER":
        return inputs[0].size * inputs[1].size
    if op.code == "UNPACK" and inputs[0].shape[int(op.options["axis"])] != len(op.outputs):
        raise ValueError(f"{len(op.outputs)} outputs of {inputs[0].shape}")
    if op.code in ELEMENTS:
        return prod(np.broadcast_shapes(*(one.shape for one in inputs)))
    return sum(one.size for one in inputs)


def _slice(options: Any, inputs: Arrays) -> Arrays:
    begin, size = (tuple(int(value) for value in inputs[at].reshape(-1)) for at in (1, 2))
    ends = [None if count < 0 else at + count for at, count in zip(begin, size, strict=True)]
    return [inputs[0][tuple(slice(at, end) for at, end in zip(begin, ends, strict=True))]]


def _strided_slice(options: Any, inputs: Arrays) -> Arrays:
    begin, end, step = (tuple(map(int, inputs[at].reshape(-1))) for at in (1, 2, 3))
    index = strided_index(options, inputs[0].shape, begin, end, step)
    return [np.asarray(inputs[0][index])]


def _reduce(function: Callable[..., Any]) -> Callable[[Any, Arrays], Arrays]:
    def reduced(options: Any, inputs: Arrays) -> Arrays:
        axes = tuple(int(axis) for axis in inputs[1].reshape(-1))
        return [np.asarray(function(inputs[0], axis=axes, keepdims=bool(options["keep_dims"])))]

    return reduced


def _element(function: Callable[..., Any]) -> Callable[[Any, Arrays], Arrays]:
    return lambda options, inputs: [np.asarray(function(*inputs[:2]))]


def _gather(options: Any, inputs: Arrays) -> Arrays:
    values, at = inputs[0], inputs[1].astype(np.int64)
    if options["batch_dims"] or (at < 0).any():
        raise ValueError("expected indices from 0 on, without batches")
    return [np.take(values, at, int(options["axis"]))]


def _quotient(options: Any, inputs: Arrays) -> Arrays:
    if not np.all(inputs[1]):
        raise ValueError("a division by 0")
    return [np.asarray(np.floor_divide(inputs[0], inputs[1]))]


def _reshape(options: Any, inputs: Arrays) -> Arrays:
    sizes = inputs[1].reshape(-1) if len(inputs) > 1 else options["new_shape"]
    return [inputs[0].reshape([int(size) for size in sizes])]


def _squeeze(options: Any, inputs: Arrays) -> Arrays:
    axes = tuple(int(axis) for axis in options["squeeze_dims"])
    return [np.squeeze(inputs[0], axes or None)]


FOLDED: dict[str, Callable[[Any, Arrays], Arrays]] = {
    "SHAPE": lambda options, inputs: inputs,
    "PACK": lambda options, inputs: [np.stack(inputs, int(options["axis"]))],
    "UNPACK": lambda options, inputs: [np.asarray(part) for part in np.moveaxis(inputs[0], int(options["axis"]), 0)],
    "CONCATENATION": lambda options, inputs: [np.concatenate(inputs, int(options["axis"]))],
    "STRIDED_SLICE": _strided_slice,
    "SLICE": _slice,
    "GATHER": _gather,
    "RESHAPE": _reshape,
    "SQUEEZE": _squeeze,
    "EXPAND_DIMS": lambda options, inputs: [np.expand_dims(inputs[0], int(inputs[1].reshape(-1)[0]))],
    "TRANSPOSE": lambda options, inputs: [np.transpose(inputs[0], [int(axis) for axis in inputs[1].reshape(-1)])],
    "CAST": lambda options, inputs: inputs[:1],
    "ADD": _element(np.add),
    "SUB": _element(np.subtract),
    "MUL": _element(np.multiply),
    "FLOOR_DIV": _quotient,
    "MAXIMUM": _element(np.maximum),
    "MINIMUM": _element(np.minimum),
    "REDUCE_PROD": _reduce(np.prod),
    "SUM": _reduce(np.sum),
    "FILL": lambda options, inputs: [np.full([int(size) for size in inputs[0].reshape(-1)], inputs[1].reshape(-1)[0])],
    "RANGE": lambda options, inputs: [np.arange(*(one.reshape(-1)[0] for one in inputs[:3]))],
}
"""Operator -> its result."""
ELEMENTS = ("ADD", "SUB", "MUL", "FLOOR_DIV", "MAXIMUM", "MINIMUM")
MOVES = (
    "PACK", "UNPACK", "CONCATENATION", "STRIDED_SLICE", "SLICE", "GATHER", "RESHAPE", "SQUEEZE", "EXPAND_DIMS",
    "TRANSPOSE",
)  # fmt: skip
