# SPDX-License-Identifier: Apache-2.0
"""Estimates of one variant, and of a whole space at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from cmsisnn_x._variants import Variant
from cmsisnn_x.layers import NUMPY_DTYPES, Layer

from ..target import Target
from . import mix

TERMS = ("im2col", "multiply_accumulate", "requantise", "loop", "memory")


@dataclass(frozen=True)
class Estimate:
    """What one layer costs under one variant. The terms add up to the cycles."""

    cycles: int
    terms: dict[str, int]
    scratch_bytes: int
    flash_bytes: int
    emulated_cycles: int | None = None

    @property
    def bottleneck(self) -> str:
        return max(self.terms, key=lambda name: self.terms[name])


@dataclass(frozen=True)
class Estimates:
    """A column per quantity, a row per variant of a space."""

    variants: tuple[Variant | None, ...]
    terms: np.ndarray
    scratch_bytes: np.ndarray
    weights_bytes: np.ndarray
    code_bytes: np.ndarray

    @property
    def cycles(self) -> np.ndarray:
        """Integers, so that sums over layers are exact."""
        return self.terms.sum(axis=1)

    def __len__(self) -> int:
        return len(self.variants)

    def take(self, rows: Sequence[int]) -> Estimates:
        """Some of the rows."""
        at = np.asarray(rows, int)
        columns = (self.terms, self.scratch_bytes, self.weights_bytes, self.code_bytes)
        return Estimates(tuple(self.variants[i] for i in rows), *(column[at] for column in columns))

    def __getitem__(self, index: int) -> Estimate:
        terms = {name: int(value) for name, value in zip(TERMS, self.terms[index], strict=True)}
        flash = int(self.weights_bytes[index] + self.code_bytes[index])
        return Estimate(sum(terms.values()), terms, int(self.scratch_bytes[index]), flash)


def estimate(layer: Layer, variant: Variant | None, target: Target) -> Estimate:
    """Estimate one variant.

    Parameters
    ----------
    layer : Layer
    variant : Variant or None
        ``None`` for operations with a single kernel.
    target : Target
    """
    return estimate_space(layer, (variant,), target)[0]


def estimate_space(layer: Layer, variants: Sequence[Variant | None], target: Target) -> Estimates:
    """Estimate many variants of one layer at once; an empty sequence stands for the single kernel of an operation without knobs."""
    chosen: tuple[Variant | None, ...] = tuple(variants) or (None,)
    terms = np.rint(mix.terms(layer, chosen, target)).astype(np.int64)
    return Estimates(chosen, terms, mix.scratch(layer, chosen), mix.weights(layer, chosen), mix.code(layer, chosen, target))


def plain_weights_bytes(layer: Layer) -> int:
    """Weights and bias as the model has them."""
    if layer.weights is None or layer.bias is None:
        return 0
    return (prod(layer.weights.shape) + prod(layer.bias.shape)) * NUMPY_DTYPES[layer.weights_dtype or layer.dtype].itemsize
