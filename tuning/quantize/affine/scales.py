# SPDX-License-Identifier: Apache-2.0
"""Scales and zero points: an integer stands for ``scale * (integer - zero_point)``; and the ranges they come from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

TYPES = {"int8": "int8", "int16x8": "int16"}
"""Scheme -> type of its activations; weights are int8, symmetric, one scale per output channel."""
RANGES = ("mse", "minmax", "percentile")
PERCENTILE = 99.99
"""Of the values, that ``percentile`` keeps at each end."""
LEAST_SCALE = 2.0**-100
_TAILS = (1e-5, 1e-4, 1e-3)
_SHRUNK = (0.95, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5)
"""What ``mse`` tries besides the whole range: shares of values beyond each end, and parts of the range."""


@dataclass(frozen=True)
class Scale:
    """How the integers of a tensor stand for numbers.

    Attributes
    ----------
    type : {"int8", "int16"}
    scale : float
        One that float32 holds.
    zero_point : int
        The integer that stands for 0; 0 in int16.
    """

    type: str
    scale: float
    zero_point: int

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(self.type)

    @property
    def low(self) -> float:
        """What the lowest integer stands for."""
        return (np.iinfo(self.type).min - self.zero_point) * self.scale

    @property
    def high(self) -> float:
        return (np.iinfo(self.type).max - self.zero_point) * self.scale

    def quantize(self, values: np.ndarray) -> np.ndarray:
        """The nearest integers, halves away from zero as LiteRT's QUANTIZE has it."""
        info = np.iinfo(self.type)
        scaled = np.asarray(values, np.float64) / self.scale
        rounded = np.copysign(np.floor(np.abs(scaled) + 0.5), scaled) + self.zero_point
        return np.clip(rounded, info.min, info.max).astype(self.type)

    def dequantize(self, integers: np.ndarray) -> np.ndarray:
        return (integers.astype(np.float64) - self.zero_point) * self.scale

    def beyond(self, values: np.ndarray) -> np.ndarray:
        """Which values have no integer."""
        half = self.scale / 2
        return (values > self.high + half) | (values < self.low - half)


FIXED = {
    "softmax": {"int8": Scale("int8", 2.0**-8, -128), "int16": Scale("int16", 2.0**-15, 0)},
    "sigmoid": {"int8": Scale("int8", 2.0**-8, -128), "int16": Scale("int16", 2.0**-15, 0)},
    "tanh": {"int8": Scale("int8", 2.0**-7, 0), "int16": Scale("int16", 2.0**-15, 0)},
}
"""Operations whose output has the scale that LiteRT demands."""


def spanning(low: float, high: float, type_: str) -> Scale:
    """The finest scale whose integers reach from `low` to `high`; 0 is always among them.

    >>> spanning(-1.0, 1.55, "int8")
    Scale(type='int8', scale=0.009999999776482582, zero_point=-28)
    """
    low, high = min(float(low), 0.0), max(float(high), 0.0)
    if low == high:
        high = 1.0
    if type_ == "int16":
        return Scale(type_, _single(max(-low, high) / 32767), 0)
    scale = _single((high - low) / 255)
    return Scale(type_, scale, int(np.clip(np.floor(-128 - low / scale + 0.5), -128, 127)))


def _single(scale: float) -> float:
    return float(np.float32(max(scale, LEAST_SCALE)))


def ranges_of(values: np.ndarray, low: float, high: float, method: str) -> list[tuple[float, float]]:
    """Ranges to choose from for a tensor.

    Parameters
    ----------
    values : ndarray
        What it holds on some samples.
    low, high : float
        The least and the largest that it holds on all.
    method : {"mse", "minmax", "percentile"}
    """
    if method == "minmax":
        return [(low, high)]
    if method == "percentile":
        return [_tails(values, 1 - PERCENTILE / 100)]
    cut = [_tails(values, share) for share in _TAILS]
    return list(dict.fromkeys([(low, high), *cut, *((low * part, high * part) for part in _SHRUNK)]))


def _tails(values: np.ndarray, share: float) -> tuple[float, float]:
    low, high = np.quantile(values, [share, 1 - share])
    return float(low), float(high)
