# SPDX-License-Identifier: Apache-2.0
"""What a fit left over on emulated layers near to one: compilers spill, or keep weights in registers, in one shape and
not in the next, and shapes that are alike fare alike.

The mean of the logarithms of emulated by estimated cycles of one family of kernels, weighted by a Gaussian kernel over
sizes on a logarithmic scale (Nadaraya-Watson), with some runs on which nothing is left over. How far a run tells, and
how many those are, is the `Reach` of an operation.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from math import log2, prod
from typing import NamedTuple

import numpy as np

from cmsisnn_x.layers import Layer

MOST = 0.5
"""Of a mean logarithm: nothing is corrected further, whatever lies near."""
RELATED = 0.3
"""What a run of another family of the same group weighs: what differs in blocking and unrolling alone is alike."""
WRITTEN_OUT = 100
"""Products of an output row and channel up to which GCC writes them all out; found by trying widths."""
Place = tuple[float, ...]


class Reach(NamedTuple):
    """How far runs tell: `scale` is the squared distance at which one weighs a third, `prior` the number of runs on
    which nothing is left over.

    The best of a few, by layers whose runs were kept out. Gaussian processes were no better over the same coordinates;
    over more of them 5 % of the error better, and not worth ten times the code.
    """

    scale: float = 0.3
    prior: float = 0.4


def _of_convolution(layer: Layer) -> Iterable[float]:
    (_, _, channels), (_, out_w, out_ch) = layer.image, layer.output_image
    kernel_h, kernel_w = layer.kernel
    return (
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
        *_lines(layer),
    )


def _lines(layer: Layer) -> Iterable[float]:
    """Images of one row, or of one column: loops that turn once are none."""
    (in_h, in_w, _), (out_h, out_w, _) = layer.image, layer.output_image
    return 0.4 * (in_h == 1), 0.4 * (in_w == 1), 0.4 * (out_h == 1), 0.4 * (out_w == 1)


def _of_windows(layer: Layer) -> Iterable[float]:
    """Depthwise convolutions and pools."""
    channels, (out_h, out_w, _) = layer.image[2], layer.output_image
    clipped = any(before or after for before, after in layer.padding)
    return (
        0.7 * log2(channels),
        log2(layer.kernel[0]),
        log2(layer.kernel[1]),
        0.5 * log2(out_w),
        0.3 * log2(out_h),
        0.5 * (channels % 2),
        0.7 * (channels % 4 == 0),
        0.7 * (layer.stride[1] > 1),
        0.3 * (layer.stride[0] > 1),
        0.5 * clipped,
        *_lines(layer),
    )


def _of_rows(layer: Layer) -> Iterable[float]:
    """Fully connected layers."""
    size, out = prod(layer.input_shape), prod(layer.output_shape)
    return 0.7 * log2(size), 0.7 * log2(out), 0.5 * (size % 4 == 0), 0.5 * (size % 2), 0.4 * (out % 4), 0.5 * (out == 1)


def _of_sums(layer: Layer) -> Iterable[float]:
    """Means over rows."""
    channels = layer.output_shape[-1]
    rows = prod(layer.input_shape) // channels
    return log2(rows), 0.5 * log2(channels), 0.5 * (rows % 2), 0.5 * (channels % 4 == 0)


def _of_elements(layer: Layer) -> Iterable[float]:
    size, channels = prod(layer.output_shape), layer.output_shape[-1]
    return 1.5 * log2(size), 0.5 * (size % 4 == 0), 0.5 * (channels % 4 == 0), 0.3 * log2(channels)


_PLACES: dict[str, Callable[[Layer], Iterable[float]]] = {
    "conv2d": _of_convolution,
    "depthwise_conv2d": _of_windows,
    "max_pool2d": _of_windows,
    "avg_pool2d": _of_windows,
    "fully_connected": _of_rows,
    "mean": _of_sums,
}


@cache
def group_of(family: str) -> str:
    """What families have in common that differ in blocking, unrolling and windows alone."""
    return re.sub(r" (unroll|block_rows|block_cols|kernel|stride)=\w+", "", family)


def place(layer: Layer) -> Place:
    """Coordinates of a layer among those of its operation: what decides about loops and registers weighs most."""
    return tuple(round(float(value), 3) for value in _PLACES.get(layer.op, _of_elements)(layer))


@dataclass(frozen=True)
class Neighbours:
    """Layers by their coordinates, and what a fit of cycles, or of bytes of code, left over on them.

    Attributes
    ----------
    places : mapping
        Operation -> `place` of every layer.
    left : mapping
        Family -> index of a layer, thousandths of the logarithm left over on it, index, thousandths, ...
    reach : mapping
        Operation -> how far its runs tell, where it is not what `Reach` has.
    """

    places: Mapping[str, tuple[Place, ...]] = field(default_factory=dict)
    left: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    reach: Mapping[str, Reach] = field(default_factory=dict)

    @classmethod
    def of(cls, runs: Iterable[tuple[Layer, str, float]]) -> Neighbours:
        """From runs: a layer, a family, found by estimated. Several of a family on a layer are averaged."""
        places: dict[str, dict[Place, int]] = defaultdict(dict)
        found: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
        for layer, family, ratio in runs:
            known = places[layer.op]
            index = known.setdefault(place(layer), len(known))
            found[family][index].append(1000 * float(np.log(ratio)))
        left = {
            family: tuple(item for at in sorted(rows) for item in (at, round(float(np.mean(rows[at])))))
            for family, rows in found.items()
        }
        return cls({op: tuple(known) for op, known in places.items()}, left)

    def over(self, before: Neighbours) -> Neighbours:
        """These, and of `before` those of families that none is of here."""
        places = {op: dict.fromkeys(known) for op, known in self.places.items()}
        for op, known in before.places.items():
            places.setdefault(op, {}).update(dict.fromkeys(known))
        index = {op: {place: at for at, place in enumerate(known)} for op, known in places.items()}
        left = dict(self.left)
        for family, flat in before.left.items():
            op = family.split(" ", 1)[0]
            if family not in left:
                moved = [index[op][before.places[op][at]] for at in flat[::2]]
                left[family] = tuple(item for pair in zip(moved, flat[1::2], strict=True) for item in pair)
        return Neighbours({op: tuple(known) for op, known in places.items()}, left, before.reach)

    @cached_property
    def _tables(self) -> dict[str, _Table]:
        return {op: self._table_of(op, places) for op, places in self.places.items()}

    def _table_of(self, op: str, places: Sequence[Place]) -> _Table:
        names = [family for family in self.left if family.split(" ", 1)[0] == op]
        groups = {group: row for row, group in enumerate(dict.fromkeys(map(group_of, names)))}
        flat = [np.array(self.left[name]).reshape(-1, 2) for name in names]
        layers, thousandths = np.concatenate([*flat, np.zeros((0, 2), np.int64)]).astype(np.int64).T
        counts = [len(own) for own in flat]
        rows = {name: row for row, name in enumerate(names)}
        of_family = np.repeat(np.arange(len(names)), counts)
        of_group = np.repeat([groups[group_of(name)] for name in names], counts).astype(np.int64)
        return _Table(np.array(places), rows, groups, layers, thousandths / 1000, of_family, of_group)

    def factors(self, layer: Layer, families: Sequence[str]) -> np.ndarray:
        """Factors on what was fitted for `families`; 1 where no layer near was seen."""
        if layer.op not in self.places:
            return np.ones(len(families))
        table, reach = self._tables[layer.op], self.reach.get(layer.op, Reach())
        weights = np.exp(-((table.places - place(layer)) ** 2).sum(axis=1) / reach.scale)
        return np.exp(table.mean(families, weights, reach.prior))

    def without(self, layer: Layer, family: str) -> float:
        """The logarithm of the factor on `family` that all layers but `layer` itself tell."""
        table, reach = self._tables[layer.op], self.reach.get(layer.op, Reach())
        weights = np.exp(-((table.places - (own := place(layer))) ** 2).sum(axis=1) / reach.scale)
        weights[(table.places == own).all(axis=1)] = 0
        return float(table.mean([family], weights, reach.prior)[0])


class _Table(NamedTuple):
    """Of an operation the coordinates of layers; numbers of families and of groups; and of each run its layer, what was
    left over, its family and its group.
    """

    places: np.ndarray
    rows: Mapping[str, int]
    groups: Mapping[str, int]
    layers: np.ndarray
    left: np.ndarray
    of_family: np.ndarray
    of_group: np.ndarray

    def mean(self, families: Sequence[str], weights: np.ndarray, prior: float) -> np.ndarray:
        """Of what was left over, by weights of layers: a family's own runs, and those of its group for less."""
        # One more of each stands for what was not seen.
        at = [self.rows.get(family, len(self.rows)) for family in families]
        near = [self.groups.get(group_of(family), len(self.groups)) for family in families]
        weight = weights[self.layers]
        value = weight * self.left
        own, runs = (np.bincount(self.of_family, of, len(self.rows) + 1)[at] for of in (value, weight))
        all_values, all_runs = (np.bincount(self.of_group, of, len(self.groups) + 1)[near] for of in (value, weight))
        own, runs = own + RELATED * (all_values - own), runs + RELATED * (all_runs - runs)
        return np.clip(own / (prior + runs), -MOST, MOST)
