# SPDX-License-Identifier: Apache-2.0
"""From fraction bits to layers in integers, and what has to give way where a format cannot be had."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from cmsisnn_x.layers import NUMPY_DTYPES, Layer
from cmsisnn_x.scheme import Pow2

from ...base.errors import OptionError
from ..observe import Observed
from ..rewrites import clip_limit
from .formats import LARGEST_FRACTION, fitting_fraction, to_integers

ACCUMULATOR_MAX = 2**31 - 1
NEGATIVE_OUT_SHIFT = "fewer fraction bits in outputs, else out_shift would be negative"
NEGATIVE_BIAS_SHIFT = "fewer fraction bits in biases, else bias_shift would be negative"
TIGHT_ACCUMULATOR = "fewer fraction bits in weights, so that no input can overflow the 32-bit accumulator"


class OutOfRangeError(OptionError):
    """A layer cannot give the format that what follows it asks for."""


@dataclass
class Formats:
    """The fraction bits that are free: the input's, and weights' and output's of every layer with weights."""

    input: int
    weights: dict[int, int]
    output: dict[int, int]

    def copy(self) -> Formats:
        return Formats(self.input, dict(self.weights), dict(self.output))


@dataclass(frozen=True, eq=False)
class Fixed:
    """A layer in integers, with its formats and what had to give way."""

    layer: Layer
    input: int
    output: int
    weights: int | None = None
    bias: int | None = None
    gave_way: dict[str, str] = field(default_factory=dict)


class FixedPoint:
    """The layers of a float network in integers, given formats. `biases` may be corrected in between."""

    def __init__(self, seen: Observed) -> None:
        self.seen, self.layers, self.dtype, self.bits = seen, seen.layers, seen.dtype, seen.bits
        self.biases = {key: value for key, value in seen.arrays.items() if key.endswith("/bias")}
        self.weighted = [index for index, layer in enumerate(self.layers) if layer.row.is_weighted]
        self.bounds = {index: self.bound(index) for index in (-1, *self.weighted)}

    def bound(self, index: int) -> tuple[int, int]:
        """Least and most fraction bits of the output of ``layers[index]`` (-1: of the input)."""
        least, most = -1024, LARGEST_FRACTION  # the exponents of floating point
        after = index
        while True:
            if after >= 0 and self.seen.network.layers[after].clip == clip_limit(self.dtype):
                least = self.bits - 1
            after += 1
            if after == len(self.layers) or not self.layers[after].row.is_scale_free:
                break
        if after < len(self.layers) and self.layers[after].row.has_table:
            # The tables cover 0 to 3 integer bits; beyond them both functions are flat.
            least, most = self.bits - 4, self.bits - 1
        return least, most

    def fits(self) -> Formats:
        """The formats in which no calibration value saturates."""
        fraction = self.within(-1, fitting_fraction(self.seen.x, self.bits))
        formats = Formats(fraction, {}, {})
        for index in self.weighted:
            formats.weights[index] = fitting_fraction(self.seen.arrays[f"{self.layers[index].name}/weights"], self.bits)
            formats.output[index] = self.within(index, fitting_fraction(self.seen.ranges[index], self.bits))
        return formats

    def within(self, index: int, fraction: int) -> int:
        low, high = self.bounds[index]
        return min(max(fraction, low), high)

    def fix(
        self, formats: Formats, start: int = 0, stop: int | None = None, fraction: int | None = None
    ) -> list[Fixed]:
        """Layers `start` to `stop` in integers; `fraction` is the format of what enters them."""
        fixed = []
        fraction = formats.input if fraction is None else fraction
        for index in range(start, len(self.layers) if stop is None else stop):
            layer = self.layers[index]
            if layer.row.is_weighted:
                item = self.fix_weighted(index, fraction, formats.weights[index], formats.output[index])
            elif layer.row.is_scale_free:
                item = Fixed(layer, fraction, fraction)
            else:
                int_bits = self.bits - 1 - fraction if layer.row.has_table else 0
                item = Fixed(replace(layer, int_bits=int_bits), fraction, self.bits - 1)
            fixed.append(item)
            fraction = item.output
        return fixed

    def fix_weighted(self, index: int, fx: int, fw: int, fy: int) -> Fixed:
        """One layer; formats give way where a shift would be negative or the accumulator could overflow."""
        layer = self.layers[index]
        dtype = NUMPY_DTYPES[self.dtype]
        weights, bias = self.seen.arrays[f"{layer.name}/weights"], self.biases[f"{layer.name}/bias"]
        asked_w, asked_y = fw, fy
        fw = min(fw, fy + 31 - fx)
        reach = self.input_reach(index)
        while True:
            fb = min(fitting_fraction(bias, self.bits), fx + fw)
            fb = max(fb, fx + fw - 31)
            integers, offsets = to_integers(weights, fw, dtype), to_integers(bias, fb, dtype)
            out_shift = max(fx + fw - fy, 0)
            requant = Pow2.of(self.dtype, fx + fw - fb, out_shift)
            if worst_accumulator(layer, integers, offsets, requant, reach) <= ACCUMULATOR_MAX:
                break
            fw -= 1
        fy = min(fy, fx + fw)
        if fy < self.bounds[index][0]:
            raise OutOfRangeError(
                f"{layer.name}: its output needs {self.bounds[index][0]} fraction bits, but its input and weights have "
                f"only {fx} and {fw} in {self.dtype}: their values are too large; scale the data or use q15"
            )
        gave_way = {}
        if fw < asked_w:
            gave_way[TIGHT_ACCUMULATOR] = f"{layer.name} {fw} instead of {asked_w}"
        if fy < asked_y:
            gave_way[NEGATIVE_OUT_SHIFT] = f"{layer.name} {fy} instead of {asked_y}"
        if bias.any() and fb < (wished := fitting_fraction(bias, self.bits)):
            gave_way[NEGATIVE_BIAS_SHIFT] = f"{layer.name} {fb} instead of {wished}"
        fixed = replace(layer, weights=integers, bias=offsets, bias_shift=fx + fw - fb, out_shift=fx + fw - fy)
        return Fixed(fixed, fx, fy, fw, fb, gave_way)

    def input_reach(self, index: int) -> tuple[int, int]:
        """Least and largest integer that can enter a layer, whatever the data."""
        low, high = -(2 ** (self.bits - 1)), 2 ** (self.bits - 1) - 1
        for before in reversed(self.layers[:index]):
            if before.row.is_nonnegative or before.requant.low == 0:
                return 0, high
            if not before.row.is_scale_free:
                break
        return low, high


def worst_accumulator(
    layer: Layer, weights: np.ndarray, bias: np.ndarray, requant: Pow2, reach: tuple[int, int]
) -> int:
    """Largest magnitude that the 32-bit accumulator can reach with inputs in `reach`, at any point of the sum."""
    by_channel = np.moveaxis(weights.astype(np.int64), layer.row.channel_axis, 0).reshape(len(bias), -1)
    positive, negative = np.maximum(by_channel, 0).sum(axis=1), np.minimum(by_channel, 0).sum(axis=1)
    low, high = reach
    # Padding puts zeros anywhere, so that any part of the products may be missing.
    most = positive * max(high, 0) + negative * min(low, 0)
    least = positive * min(low, 0) + negative * max(high, 0)
    return requant.reach(bias, least, most)
