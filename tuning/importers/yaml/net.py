# SPDX-License-Identifier: Apache-2.0
"""The tensors and operators of a `.tflite` file in the making, and what the operations of a model file ask of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any, Protocol

import numpy as np

from cmsisnn_x.scheme import TENSOR_TYPES

from ..tflite.build import FileBuilder
from ..tflite.file import FileOp, FileTensor

MOST_BYTES = (1 << 31) - 1
"""Of a tensor."""
SCALE_MISSING = "missing; expected that of the output, which may be left out where the file names no weights"


class Wrong(Exception):
    """What is wrong with a layer: under which of its keys, and the text."""

    def __init__(self, key: str | tuple[str | int, ...], text: str) -> None:
        super().__init__(text)
        self.key = (key,) if isinstance(key, str) else key


@dataclass(frozen=True)
class Value:
    """A tensor that layers read: `shape` with its batch."""

    index: int
    shape: tuple[int, ...]
    type: str
    scale: float
    zero_point: int

    @property
    def numbers(self) -> tuple[float, int]:
        return self.scale, self.zero_point

    @property
    def size(self) -> int:
        return prod(self.shape)

    @property
    def low(self) -> int:
        return TENSOR_TYPES[self.type].low

    @property
    def high(self) -> int:
        return TENSOR_TYPES[self.type].high


class Arrays(Protocol):
    """Where weights come from."""

    is_drawn: bool

    def weights(
        self, layer: Any, shape: tuple[int, ...], axis: int, x: Value, out: Value
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Weights, their scales, bias; output channels lie along `axis`."""

    def constant(self, name: str, shape: tuple[int, ...], type_: str) -> np.ndarray: ...

    def power(self, x: Value) -> float:
        """Mean square of the steps away from the zero point."""


@dataclass
class Net:
    """A file in the making.

    Attributes
    ----------
    lead : int
        Dimensions in front of those that a model file speaks of: its batch of 1, or none.
    arrays : Arrays
    """

    lead: int
    arrays: Arrays
    made: FileBuilder = field(default_factory=FileBuilder)
    layer: Any = None
    """The layer that is being added."""

    @property
    def tensors(self) -> list[FileTensor]:
        return self.made.tensors

    @property
    def ops(self) -> list[FileOp]:
        return self.made.ops

    def own_shape(self, shape: Sequence[int]) -> list[int]:
        """As the model file has it."""
        return list(shape[self.lead :])

    def tensor(
        self, name: str, shape: Sequence[int], type_: str, scale: Any = (), zero_point: int = 0,
        data: np.ndarray | None = None, axis: int = 0,
    ) -> int:  # fmt: skip
        """Its index. Unlike those of `FileBuilder`, constants may be scalars, or take no room."""
        scales = np.atleast_1d(np.asarray(scale, np.float32))
        own = tuple(int(size) for size in shape)
        points = np.full(scales.size, zero_point, np.int64)
        index = len(self.tensors)
        self.tensors.append(FileTensor(index, name, own, own, type_.upper(), scales, points, axis, data))
        return index

    def integers(self, name: str, values: Any) -> int:
        """A constant of int32."""
        array = np.asarray(values, np.int32)
        return self.tensor(f"{self.layer.name}/{name}", array.shape, "int32", data=array)

    def value(
        self, name: str, shape: Sequence[int], type_: str, numbers: tuple[float, int], data: np.ndarray | None = None
    ) -> Value:
        """A tensor with a scale and zero point."""
        scale, zero_point = numbers
        own = tuple(int(size) for size in shape)
        size = prod(own) * TENSOR_TYPES[type_].dtype.itemsize
        if size > MOST_BYTES:
            raise Wrong(
                (), f"expected a tensor of at most {MOST_BYTES} bytes, got {size} for shape {self.own_shape(own)}"
            )
        return Value(self.tensor(name, own, type_, scale, zero_point, data), own, type_, scale, zero_point)

    def out(self, shape: Sequence[int], type_: str, numbers: tuple[float, int], part: int | None = None) -> Value:
        """An output of the layer."""
        return self.value(self.layer.name if part is None else f"{self.layer.name}.{part}", shape, type_, numbers)

    def add(
        self, code: str, inputs: Sequence[int], outputs: Sequence[Value], options: Mapping[str, Any] | None = None,
        suffix: str = "",
    ) -> list[Value]:  # fmt: skip
        """An operator; its outputs."""
        name, variant = self.layer.name + suffix, {} if suffix else getattr(self.layer, "variant", None) or {}
        self.made.op(code, inputs, [value.index for value in outputs], **(options or {}))
        self.ops[-1] = replace(self.ops[-1], name=name, variant=variant)
        return list(outputs)

    def numbers(
        self, type_: str, default: tuple[float, int] | None, drawn: Callable[[], tuple[float, int]] | None = None
    ) -> tuple[float, int]:
        """Scale and zero point of the layer's output: its own, or `default`, or where weights are drawn `drawn`."""
        scale, zero_point = self.layer.scale, self.layer.zero_point
        if scale is None:
            if zero_point is not None:
                raise Wrong("zero_point", "expected a scale beside it, got none")
            if default is not None:
                return default
            if drawn is None or not self.arrays.is_drawn:
                raise Wrong("scale", SCALE_MISSING if drawn is not None else "missing; expected that of the output")
            return drawn()
        return scale, self.zero_point(zero_point or 0, type_)

    def zero_point(self, zero_point: int, type_: str, key: str | tuple[str | int, ...] = "zero_point") -> int:
        own = TENSOR_TYPES[type_]
        if not own.low <= zero_point <= own.high:
            raise Wrong(key, f"expected a number of {type_} ({own.low} to {own.high}), got {zero_point}")
        return zero_point

    def axis(self, axis: int, rank: int, key: str | tuple[str | int, ...] = "axis") -> int:
        """An axis of a tensor of `rank` dimensions with its batch, counted from its front."""
        own = rank - self.lead
        if not -own <= axis < own:
            raise Wrong(key, f"expected an axis of {own} dimensions, got {axis}")
        return axis % own + self.lead


Operation = Callable[[Net, Any, Sequence[Value]], list[Value]]
"""Adds a layer, which reads these tensors; its outputs."""


def image_of(net: Net, x: Value) -> tuple[int, int, int, int]:
    if len(x.shape) != 4:
        raise Wrong("op", f"expected an image [h, w, c], got shape {net.own_shape(x.shape)}")
    return x.shape
