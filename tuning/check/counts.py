# SPDX-License-Identifier: Apache-2.0
"""What a check counts per tensor, batch after batch, and when a layer counts as broken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import log2, log10
from typing import TYPE_CHECKING

import numpy as np

from cmsisnn_x.layers import Layer
from cmsisnn_x.scheme import wrapped

from .accumulators import LARGEST, accumulators, reach, requantised

if TYPE_CHECKING:
    from ..quantize.fixed_point.reference import Reference

LEAST_SNR_DB = 10.0
"""Below it, more than a tenth of a layer's output power is error: the layer breaks."""
MOST_SATURATED = 0.10
"""Without a float network to tell what it costs, a layer of which more than this share saturates breaks."""
FLAT = 128
"""A sigmoid or tanh that is nearer to its end than this part of its range changes no more."""
SIGMOID, TANH = (2.0**-8, -128), (2.0**-7, 0)
"""Scale and zero point that LiteRT demands of them, by which a table of int8 tells what it is."""


@dataclass(frozen=True)
class TensorCheck:
    """What one tensor looked like over all samples: the network's input, or a layer's output.

    Attributes
    ----------
    name, op : str
        `op` is ``"input"`` for the input.
    bits : int
        Of one element.
    fraction : int or None
        Fraction bits; ``None`` where no float network tells.
    minimum, maximum : int
        Smallest and largest integer.
    quartiles : tuple of float
        log2 of the magnitudes of the elements other than 0 at a quarter, a half and three quarters of them.
    saturated : int
        Elements that the clamp changed; of a fused ReLU, or of a ReLU6 that ends where the range ends, those that the
        activation does not explain.
    elements : int
    overflows : int
        Accumulators that did not fit into 32 bits.
    headroom_bits : float or None
        By how many bits the largest accumulator could have grown before it had wrapped; ``None`` without weights.
    sure_bits : float or None
        The same for the worst input that there can be: from 0 up, no input makes it wrap.
    snr_db : float or None
        Signal-to-noise ratio of the fixed-point network at this layer; None where there is nothing to compare with,
        or no error at all (then `max_error` is 0).
    own_snr_db : float or None
        The same of this layer alone, fed with what the fixed-point network feeds it.
    max_error : float or None
        Largest difference, in units of the float network.
    weights_fraction, bias_fraction : int or None
        Fraction bits of the layer's weights and bias, where a float network tells.
    scale, zero_point : float and int, or None
        What the integers stand for, where there are zero points.
    ends : tuple of str, or None
        Of a graph, the last tensors that this one has a part in; None where each tensor has a part in all later ones.
    """

    name: str
    op: str
    bits: int
    fraction: int | None
    minimum: int
    maximum: int
    quartiles: tuple[float, float, float]
    saturated: int
    elements: int
    overflows: int = 0
    headroom_bits: float | None = None
    sure_bits: float | None = None
    snr_db: float | None = None
    own_snr_db: float | None = None
    max_error: float | None = None
    weights_fraction: int | None = None
    bias_fraction: int | None = None
    scale: float | None = None
    zero_point: int | None = None
    ends: tuple[str, ...] | None = None

    @property
    def largest(self) -> int:
        """Largest magnitude."""
        return max(-self.minimum, self.maximum)

    @property
    def format(self) -> str | None:
        """The Q format, such as ``Q1.6``; scale and zero point, where there are any."""
        from ..quantize.fixed_point.formats import spell

        if self.scale is not None:
            return f"{self.scale:.4g} {self.zero_point:+d}"
        return None if self.fraction is None else spell(self.fraction, self.bits)

    @property
    def problem(self) -> str | None:
        """Why the layer breaks; ``None`` if it does not."""
        if self.overflows:
            one = self.overflows == 1
            return f"{self.overflows:,} accumulator{' exceeds' if one else 's exceed'} 32 bits and wrap{'s' * one}"
        if self.snr_db is not None and self.snr_db < LEAST_SNR_DB:
            hint = "; see that the data are scaled as the float network takes them" if self.op == "input" else ""
            return f"a signal-to-noise ratio of {self.snr_db:.1f} dB, below {LEAST_SNR_DB:g}{hint}"
        share = self.saturated / self.elements
        if self.max_error is None and share > MOST_SATURATED:
            return f"{100 * share:.1f} % of its outputs saturate"
        return None

    def is_flat_beyond(self, before: TensorCheck) -> bool:
        """Whether this is a sigmoid or tanh of `before` that changes no more where `before` saturates."""
        middle, half = 0.0, float(1 << (self.bits - 1))
        if self.op == "sigmoid" or (self.op == "look_up" and (self.scale, self.zero_point) == SIGMOID):
            middle = half / 2 if self.op == "sigmoid" else 0.0
        elif self.op != "tanh" and not (self.op == "look_up" and (self.scale, self.zero_point) == TANH):
            return False
        reach = half - middle - 2 * half / FLAT
        ends = 1 << (before.bits - 1)
        return (before.maximum < ends - 1 or self.maximum >= middle + reach) and (
            before.minimum > -ends or self.minimum <= middle - reach
        )


class Noise:
    """Sums of squares of a signal and of an error."""

    def __init__(self) -> None:
        self.signal = self.noise = self.worst = 0.0

    def add(self, wanted: np.ndarray, got: np.ndarray) -> None:
        wanted = wanted.astype(np.float64).ravel()
        error = got.astype(np.float64).ravel() - wanted
        self.signal += float(wanted @ wanted)
        self.noise += float(error @ error)
        self.worst = max(self.worst, float(np.abs(error).max(initial=0)))

    @property
    def decibels(self) -> float | None:
        if not self.noise:
            return None
        return 10 * log10(self.signal / self.noise) if self.signal else -99.0


class Errors:
    """Root mean square errors of both networks, where `targets` say what their outputs should be."""

    def __init__(self, targets: np.ndarray | None) -> None:
        self.targets = targets
        self.sums: list[float | None] = [None, None]

    def add(self, in_float: np.ndarray | None, fixed: np.ndarray, start: int, stop: int) -> None:
        if self.targets is None:
            return
        wanted = self.targets[start:stop]
        for at, values in enumerate((in_float, fixed)):
            if values is not None:
                own = np.square(values.reshape(wanted.shape) - wanted, dtype=np.float64).sum()
                self.sums[at] = (self.sums[at] or 0.0) + float(own)

    def root(self, at: int) -> float | None:
        total = self.sums[at]
        return None if total is None or self.targets is None else (total / self.targets.size) ** 0.5

    @property
    def of_float(self) -> float | None:
        return self.root(0)

    @property
    def of_fixed(self) -> float | None:
        return self.root(1)


class Counts:
    """Everything that is counted, batch after batch."""

    def __init__(self, layers: Sequence[Layer], reference: Reference | None) -> None:
        self.layers, self.reference = layers, reference
        names = ["", *(layer.name for layer in layers)]
        dtype = layers[0].numpy_dtype
        self.bits = dtype.itemsize * 8
        self.histograms = {name: np.zeros(1 << self.bits, np.int64) for name in names}
        self.saturated = dict.fromkeys(names, 0)
        self.overflows = dict.fromkeys(names, 0)
        self.peaks = dict.fromkeys(names, 0)
        self.noise = {name: Noise() for name in names}
        self.own = {name: Noise() for name in names}

    def input(self, integers: np.ndarray, x: np.ndarray) -> None:
        self._count("", integers)
        if self.reference is not None:
            scaled = np.floor(np.ldexp(x.astype(np.float64), self.reference.input_fraction) + 0.5)
            self.saturated[""] += int((scaled != integers).sum())
            self.noise[""].add(x, np.ldexp(integers.astype(np.float64), -self.reference.input_fraction))

    def layer(self, layer: Layer, source: np.ndarray, output: np.ndarray, wanted: np.ndarray | None) -> None:
        self._count(layer.name, output)
        if layer.weights is not None:
            sums = accumulators(layer, source)
            self.peaks[layer.name] = max(self.peaks[layer.name], int(sums.max()), ~int(sums.min()))
            self.overflows[layer.name] += int((sums != wrapped(sums)).sum())
            self.saturated[layer.name] += self._clamped(layer, requantised(layer, sums))
        if wanted is not None and self._comparable(layer):
            assert self.reference is not None
            got = self.reference.dequantize(layer.name, output)
            self.noise[layer.name].add(wanted, got)
            self.own[layer.name].add(self._alone(layer, source), got)

    def _count(self, name: str, values: np.ndarray) -> None:
        self.histograms[name] += np.bincount(
            values.ravel().astype(np.int32) + (1 << (self.bits - 1)), minlength=1 << self.bits
        )

    def _clamped(self, layer: Layer, shifted: np.ndarray) -> int:
        info = np.iinfo(layer.numpy_dtype)
        clip = None if self.reference is None else self.reference.arrays.get(f"{layer.name}/clip")
        above = int((shifted > info.max).sum())
        if clip is not None and self.reference is not None:
            ends = np.floor(np.ldexp(float(clip), self.reference.fractions[layer.name]) + 0.5)
            above = 0 if ends >= info.max else above
        is_rectified = layer.requant.low > info.min
        return above + (0 if is_rectified else int((shifted < info.min).sum()))

    def _comparable(self, layer: Layer) -> bool:
        """CMSIS-NN's softmax is 2 ** integer, whatever an integer stands for: its values are no probabilities, unless
        they were made to be.
        """
        if layer.op != "softmax":
            return True
        assert self.reference is not None
        return self.reference.softmax_base == 2 and self._fraction_before(layer.name) == 0

    def _fraction_before(self, name: str) -> int:
        assert self.reference is not None
        index = [layer.name for layer in self.layers].index(name)
        if index == 0:
            return self.reference.input_fraction
        return self.reference.fractions[self.layers[index - 1].name]

    def _alone(self, layer: Layer, source: np.ndarray) -> np.ndarray:
        """The float layer, fed with what the fixed-point layer was fed."""
        from ..quantize import forward

        assert self.reference is not None
        x = np.ldexp(source.astype(np.float64), -self._fraction_before(layer.name)).astype(np.float32)
        ((_, output),) = forward.run([layer], self.reference.arrays, x, self.reference.softmax_base)
        return output

    def result(self) -> tuple[TensorCheck, ...]:
        first = self._tensor("", "input", self.reference.input_fraction if self.reference else None)
        rest = [
            self._tensor(layer.name, layer.op, self.reference.fractions[layer.name] if self.reference else None, layer)
            for layer in self.layers
        ]
        return replace(first, name="input"), *rest

    def _tensor(self, name: str, op: str, fraction: int | None, layer: Layer | None = None) -> TensorCheck:
        histogram = self.histograms[name]
        present = np.flatnonzero(histogram) - (1 << (self.bits - 1))
        headroom = sure = None
        if layer is not None and layer.weights is not None:
            headroom, sure = spare(self.peaks[name]), spare(reach(layer))
        compared = self.reference is not None and (layer is None or self._comparable(layer))
        noise, own = self.noise[name], self.own[name]
        return TensorCheck(
            name=name,
            op=op,
            bits=self.bits,
            fraction=fraction,
            minimum=int(present[0]),
            maximum=int(present[-1]),
            quartiles=quartiles(histogram),
            saturated=self.saturated[name],
            elements=int(histogram.sum()),
            overflows=self.overflows[name],
            headroom_bits=headroom,
            sure_bits=sure,
            snr_db=rounded(noise.decibels) if compared else None,
            own_snr_db=rounded(own.decibels) if compared and layer is not None else None,
            max_error=significant(noise.worst) if compared else None,
            weights_fraction=self.reference.weights_fractions.get(name) if self.reference else None,
            bias_fraction=self.reference.bias_fractions.get(name) if self.reference else None,
        )


def spare(peak: int) -> float:
    """Bits between a magnitude and the end of 32; negative beyond it."""
    return round(log2((LARGEST + 1) / max(peak, 1)), 2)


def quartiles(histogram: np.ndarray) -> tuple[float, float, float]:
    half = len(histogram) // 2
    magnitudes = np.zeros(half + 1, np.int64)
    magnitudes[:half] += histogram[half:]
    magnitudes[1:] += histogram[half - 1 :: -1][:half]
    magnitudes[0] = 0
    total = int(magnitudes.sum())
    if not total:
        return 0.0, 0.0, 0.0
    sums = np.cumsum(magnitudes)
    low, middle, high = (log2(int(np.searchsorted(sums, (total - 1) * q // 4 + 1))) for q in (1, 2, 3))
    return low, middle, high


def rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)


def significant(value: float) -> float:
    return float(f"{value:.6g}")
