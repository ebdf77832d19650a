# SPDX-License-Identifier: Apache-2.0
"""How the elements of an ONNX tensor lie in memory.

ONNX keeps images channels first, kernels take them channels last, and exporters write Reshape, Flatten and Transpose
between. A `Layout` says in which order the elements of a tensor are stored, so that those operators move nothing: what
reads the tensor asks for the order that it needs, and a dense layer permutes its weights instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod


def image_axes(rank: int) -> tuple[int, ...]:
    """Axes of a channels-first tensor in channels-last order.

    Examples
    --------
    >>> image_axes(4)
    (0, 2, 3, 1)
    """
    return (0, *range(2, rank), 1) if rank > 2 else tuple(range(rank))


@dataclass(frozen=True)
class Layout:
    """The order of a tensor's elements.

    Attributes
    ----------
    axes : tuple of tuple of int
        For each axis of the ONNX tensor the sizes that make it up, outermost first: an axis that was flattened from
        three has three. Sizes of 1 are left out. Numbered through, these are the tensor's factors.
    order : tuple of int
        The factors as they are stored, outermost first.

    Examples
    --------
    An image of 8 channels of 5x5, stored channels last, then flattened:

    >>> image = Layout.of((1, 8, 5, 5), (0, 2, 3, 1))
    >>> image.reshaped((1, 200))
    Layout(axes=((), (8, 5, 5)), order=(1, 2, 0))
    """

    axes: tuple[tuple[int, ...], ...]
    order: tuple[int, ...]

    @classmethod
    def of(cls, shape: Sequence[int], axes_order: Sequence[int] | None = None) -> Layout:
        """Whole axes in some order; by default as ONNX has them."""
        axes = tuple((size,) if size != 1 else () for size in shape)
        plain = cls(axes, tuple(range(sum(map(len, axes)))))
        return plain if axes_order is None else cls(axes, plain.by_axes(axes_order))

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(map(prod, self.axes))

    @property
    def sizes(self) -> tuple[int, ...]:
        return tuple(size for axis in self.axes for size in axis)

    @property
    def stored(self) -> tuple[int, ...]:
        """Sizes of the factors as they are stored."""
        sizes = self.sizes
        return tuple(sizes[factor] for factor in self.order)

    def factors_of(self, axis: int) -> range:
        start = sum(map(len, self.axes[:axis]))
        return range(start, start + len(self.axes[axis]))

    def by_axes(self, axes_order: Sequence[int]) -> tuple[int, ...]:
        """The order in which whole axes would be stored one in the other."""
        return tuple(factor for axis in axes_order for factor in self.factors_of(axis))

    def axes_order(self) -> tuple[int, ...] | None:
        """The axes as they are stored, where each is stored as a whole; those of 1 where channels last puts them."""
        rank = len(self.axes)
        for known in (image_axes(rank), tuple(range(rank))):
            if self.by_axes(known) == self.order:
                return known
        owner = [axis for axis in range(rank) for _ in self.axes[axis]]
        found = list(dict.fromkeys(owner[factor] for factor in self.order))
        found = [axis for axis in range(rank) if not self.axes[axis]] + found
        return tuple(found) if self.by_axes(found) == self.order else None

    def transposed(self, permutation: Sequence[int]) -> Layout:
        """The same elements under exchanged axes."""
        new_number = {old: new for new, old in enumerate(self.by_axes(permutation))}
        return Layout(tuple(self.axes[axis] for axis in permutation), tuple(new_number[old] for old in self.order))

    def reshaped(self, shape: Sequence[int]) -> Layout | None:
        """The same elements in another shape; None where the new axes cut across what is stored together."""
        runs, stored = self._runs()
        sizes: dict[int, int] = dict(enumerate(runs))
        left, axes = list(sizes), []
        for size in shape:
            taken: list[int] = []
            while size > 1:
                if not left:
                    return None
                run = left[0]
                if size % sizes[run] == 0:
                    size //= sizes[run]
                    taken.append(left.pop(0))
                elif sizes[run] % size == 0:
                    rest = len(sizes)
                    sizes[run], sizes[rest] = size, sizes[run] // size
                    left[0] = rest
                    stored.insert(stored.index(run) + 1, rest)
                    taken.append(run)
                    size = 1
                else:
                    return None
            axes.append(taken)
        if left:
            return None
        number = {run: at for at, run in enumerate(run for axis in axes for run in axis)}
        return Layout(tuple(tuple(sizes[run] for run in axis) for axis in axes), tuple(number[run] for run in stored))

    def _runs(self) -> tuple[list[int], list[int]]:
        """Factors joined with the next one where that is stored right behind: their sizes, and the stored order."""
        sizes, starts = self.sizes, []
        for at, factor in enumerate(self.order):
            if at == 0 or factor != self.order[at - 1] + 1:
                starts.append(factor)
        heads = sorted(starts)
        ends = [*heads[1:], len(sizes)][: len(heads)]
        joined = [prod(sizes[start:end]) for start, end in zip(heads, ends, strict=True)]
        return joined, [heads.index(start) for start in starts]

    def split(self, axes: Sequence[Sequence[int]]) -> Layout:
        """The same with axes made of more factors; those that it has are products of neighbours of `axes`."""
        flat = [size for axis in axes for size in axis]
        parts, at = [], 0
        for size in self.sizes:
            start, product = at, 1
            while product < size:
                product, at = product * flat[at], at + 1
            parts.append(range(start, at))
        order = tuple(new for old in self.order for new in parts[old])
        return Layout(tuple(map(tuple, axes)), order)

    def without(self, axes: Sequence[int], keep: bool) -> Layout:
        """After a reduction of some axes, which are 1 from then on or gone."""
        gone = {factor for axis in axes for factor in self.factors_of(axis)}
        kept = [factor for factor in range(len(self.order)) if factor not in gone]
        number = {old: new for new, old in enumerate(kept)}
        left = [() if at in axes else axis for at, axis in enumerate(self.axes) if keep or at not in axes]
        return Layout(tuple(left), tuple(number[factor] for factor in self.order if factor in number))


def common_axes(a: Layout, b: Layout) -> tuple[tuple[int, ...], ...] | None:
    """Factors for each axis of a result of two tensors of one rank, one of which may be 1 along an axis; None where
    their factors do not divide each other.
    """
    found = []
    for one, other in zip(a.axes, b.axes, strict=True):
        if not one or not other:
            found.append(one or other)
            continue
        if prod(one) != prod(other):
            raise ValueError(f"shapes {a.shape} and {b.shape} do not fit together")
        bounds = sorted({prod(axis[:at]) for axis in (one, other) for at in range(len(axis) + 1)})
        if any(after % before for before, after in pairwise(bounds)):
            return None
        found.append(tuple(after // before for before, after in pairwise(bounds)))
    return tuple(found)
