# SPDX-License-Identifier: Apache-2.0
"""What a tensor of a quantised ONNX network may be while the network is read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import inf

import numpy as np

from ...integer_graph import Refused
from .layout import Layout


@dataclass(frozen=True)
class Numbers:
    """A type of integers, and what they stand for: ``scale * (q - zero_point)``.

    `is_unsigned`: the file has bytes from 0 on, and a zero point 128 higher; inside a network they are int8.
    """

    type: str
    scale: float
    zero_point: int
    is_unsigned: bool = False

    @property
    def limits(self) -> tuple[int, int]:
        bits = 16 if self.type == "INT16" else 8
        return -(1 << bits - 1), (1 << bits - 1) - 1

    def is_same(self, other: Numbers) -> bool:
        return (self.type, self.scale, self.zero_point) == (other.type, other.scale, other.zero_point)

    def quantise(self, value: float) -> int:
        """A real number as an integer, within the limits."""
        low, high = self.limits
        steps = float(np.rint(np.float32(value) / np.float32(self.scale))) if np.isfinite(value) else value
        return int(min(max(steps + self.zero_point, low), high))


@dataclass(frozen=True)
class Stored:
    """A tensor of the network in the making: its index there, how its elements lie, what its integers stand for."""

    tensor: int
    layout: Layout
    numbers: Numbers


@dataclass(frozen=True)
class Real:
    """What DequantizeLinear makes of integers: floats that stand for them and nothing else."""

    base: Stored


@dataclass(frozen=True, eq=False)
class Curve:
    """Floats that are a function of integers, byte by byte.

    `tensor` is their index, `layout` how they lie, `values` what they are for the least to the largest integer.
    """

    base: Stored
    tensor: int
    layout: Layout
    values: np.ndarray
    fixed: Numbers | None = None
    """What their last function gives in `.tflite` files."""


@dataclass(frozen=True)
class Goal:
    """What a result is to be: its numbers and what it is called."""

    numbers: Numbers
    name: str
    activation: str = "NONE"


@dataclass(frozen=True, eq=False)
class Waiting:
    """The result of an operator that QuantizeLinear has yet to give a scale.

    Attributes
    ----------
    node : int
        Which node it is of; -1 for a float input of the network.
    shape : tuple of int
        Behind `then`.
    make : callable
        Adds the operator.
    low, high : float
        What a Relu or Clip behind it leaves.
    then : tuple of callable
        Moves behind it, in this order; exact on integers as on floats.
    with_bias : callable or None
        The same with a constant for each channel added.
    default : Numbers or None
        Its numbers where the file says none.
    """

    node: int
    shape: tuple[int, ...]
    make: Callable[[Goal], Stored]
    low: float = -inf
    high: float = inf
    then: tuple[Callable[[Stored], Stored], ...] = ()
    with_bias: Callable[[np.ndarray], Waiting] | None = None
    default: Numbers | None = None
    made: dict[tuple[Numbers, float, float], Stored] = field(default_factory=dict)

    def clipped(self, low: float, high: float) -> Waiting:
        clip = [float(np.clip(value, low, high)) for value in (self.low, self.high)]
        return replace(self, low=clip[0], high=clip[1], with_bias=None, made={})

    def moved(self, shape: tuple[int, ...], move: Callable[[Stored], Stored]) -> Waiting:
        return replace(self, shape=shape, then=(*self.then, move), with_bias=None, made={})


@dataclass(frozen=True, eq=False)
class Integers:
    """Constants of a quantised tensor: ``scale * (values - zero_point)`` along `axis`."""

    values: np.ndarray
    scale: np.ndarray
    zero_point: np.ndarray
    axis: int

    def along(self, numbers: np.ndarray) -> np.ndarray:
        if numbers.size == 1:
            return numbers.reshape(())
        return numbers.reshape([-1 if axis == self.axis else 1 for axis in range(self.values.ndim)])

    @property
    def centred(self) -> np.ndarray:
        """Without the zero point."""
        return self.values.astype(np.int64) - self.along(self.zero_point.astype(np.int64))

    @property
    def real(self) -> np.ndarray:
        return (self.centred * self.along(self.scale.astype(np.float64))).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Constant:
    """A tensor whose values are known; `integers` where they are those of a quantised one."""

    given: np.ndarray | None
    integers: Integers | None = None

    @property
    def values(self) -> np.ndarray:
        if self.given is not None:
            return self.given
        assert self.integers is not None
        return self.integers.real

    @property
    def shape(self) -> tuple[int, ...]:
        return self.given.shape if self.given is not None else self.integers.values.shape if self.integers else ()

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))


Item = Stored | Real | Curve | Waiting | Constant


def shape_of(item: Item) -> tuple[int, ...]:
    if isinstance(item, Waiting | Constant):
        return item.shape
    return item.base.layout.shape if isinstance(item, Real) else item.layout.shape


def finite(values: np.ndarray, what: str) -> np.ndarray:
    """float64 constants."""
    try:
        found = values.astype(np.float64)
    except (TypeError, ValueError):
        raise Refused(f"{what}: expected numbers, got {values.dtype}") from None
    if not np.isfinite(found).all():
        raise Refused(f"{what}: expected finite numbers, got NaN or infinity")
    return found
