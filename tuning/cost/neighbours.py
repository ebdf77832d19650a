# SPDX-License-Identifier: Apache-2.0
"""What a fit left over on emulated layers near to one: compilers spill, or keep weights in registers, in one shape and
not in the next, and shapes that are alike fare alike.

The mean of the logarithms of emulated by estimated cycles of one family of kernels, weighted by a Gaussian kernel over
sizes on a logarithmic scale (Nadaraya-Watson), with `PRIOR` runs on which nothing is left over.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import log2

import numpy as np

from cmsisnn_x.layers import Layer

SCALE = 0.3
"""Squared distance at which a run weighs a third."""
PRIOR = 0.4
WRITTEN_OUT = 100
"""Products of an output row and channel up to which GCC writes them all out; found by trying widths."""
OPERATIONS = ("conv2d",)
"""Where the nearest layers tell: first choices of depthwise and fully connected kernels become no better by them."""


def place(layer: Layer) -> tuple[float, ...]:
    """Coordinates of a convolution: what decides about loops, registers and edges weighs most."""
    (_, _, channels), (_, out_w, out_ch) = layer.image, layer.output_image
    kernel_h, kernel_w = layer.kernel
    found = (
        log2(kernel_w * channels),
        0.7 * log2(kernel_h),
        0.7 * log2(channels),
        0.5 * log2(out_w),
        0.3 * log2(out_ch),
        channels % 2,
        0.7 * (channels % 4 == 0),
        1.0 * (layer.stride[1] > 1),
        0.5 * (out_ch % 2),
        0.3 * (out_w % 2),
        0.3 * (channels & (channels - 1) == 0),
        kernel_h * kernel_w * channels * out_w <= WRITTEN_OUT,
    )
    return tuple(round(float(value), 3) for value in found)


@dataclass(frozen=True)
class Neighbours:
    """Emulated layers by their coordinates, and what a fit left over on them.

    Attributes
    ----------
    places : tuple
        `place` of every layer.
    left : mapping
        Family -> index of a layer, thousandths of the logarithm left over on it, index, thousandths, ...
    """

    places: tuple[tuple[float, ...], ...] = ()
    left: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, runs: Iterable[tuple[Layer, str, float]]) -> Neighbours:
        """From runs: a layer, a family, emulated by estimated cycles. Several of a family on a layer are averaged."""
        places: dict[tuple[float, ...], int] = {}
        found: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
        for layer, family, ratio in runs:
            if layer.op in OPERATIONS:
                index = places.setdefault(place(layer), len(places))
                found[family][index].append(1000 * float(np.log(ratio)))
        left = {
            family: tuple(item for at in sorted(rows) for item in (at, round(float(np.mean(rows[at])))))
            for family, rows in found.items()
        }
        return cls(tuple(places), left)

    @cached_property
    def _tables(self) -> tuple[np.ndarray, dict[str, int], np.ndarray, np.ndarray]:
        """Coordinates; the row of each family; what was left over, and where there was a run, layer by layer."""
        rows = {family: row for row, family in enumerate(self.left)}
        values = np.zeros((len(rows) + 1, len(self.places)))
        present = np.zeros_like(values)
        for family, flat in self.left.items():
            at = list(flat[::2])
            values[rows[family], at] = np.array(flat[1::2]) / 1000
            present[rows[family], at] = 1
        return np.array(self.places), rows, values, present

    def factors(self, layer: Layer, families: Sequence[str]) -> np.ndarray:
        """Factors on the cycles that were fitted for `families`; 1 where no layer near was emulated."""
        if layer.op not in OPERATIONS or not self.places:
            return np.ones(len(families))
        places, rows, values, present = self._tables
        weights = np.exp(-((places - place(layer)) ** 2).sum(axis=1) / SCALE)
        at = [rows.get(family, len(rows)) for family in families]
        mean = (values @ weights) / (PRIOR + present @ weights)
        return np.exp(mean[at])
