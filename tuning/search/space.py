# SPDX-License-Identifier: Apache-2.0
"""Search spaces: per layer, every device variant that its operation, its shape, the core and the model file's
pins allow.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import numpy as np

from cmsisnn_x.layers import Layer, with_pools
from cmsisnn_x.op import device_variant_problem, device_variants
from cmsisnn_x.variant import Variant

from ..base.errors import ModelError
from ..target import Target

DIMENSIONS = tuple(field.name for field in fields(Variant))
"""The names of the search dimensions: the fields of `Variant`, nothing renamed."""


@dataclass(frozen=True)
class SearchSpace:
    """The legal variants of one layer on one core, in a fixed order; empty for operations with a single kernel."""

    layer: Layer
    variants: tuple[Variant, ...]

    def __len__(self) -> int:
        return len(self.variants)

    def __iter__(self) -> Iterator[Variant]:
        return iter(self.variants)

    @cached_property
    def dimensions(self) -> dict[str, tuple[Any, ...]]:
        """Every dimension with more than one value, and those values in ascending order."""
        values = {name: tuple(sorted({getattr(v, name) for v in self.variants})) for name in DIMENSIONS}
        return {name: found for name, found in values.items() if len(found) > 1}

    @cached_property
    def _index(self) -> dict[tuple[Any, ...], int]:
        return {tuple(getattr(v, name) for name in self.dimensions): i for i, v in enumerate(self.variants)}

    def find(self, point: Sequence[Any]) -> int | None:
        """Index of the variant at `point` (one value per entry of `dimensions`); ``None`` where the constraints
        leave no variant.
        """
        return self._index.get(tuple(_plain(value) for value in point))

    def point(self, index: int) -> list[Any]:
        """The inverse of `find`."""
        return [getattr(self.variants[index], name) for name in self.dimensions]


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def search_space(layer: Layer, target: Target) -> SearchSpace:
    """The variants of `layer` on `target`, pins applied.

    Raises
    ------
    ModelError
        The pins leave nothing.
    """
    if not layer.row.has_knobs:
        return SearchSpace(layer, ())
    legal = tuple(
        v
        for v in device_variants(layer.python_op, layer.dtype, target.features)
        if device_problem(layer, v, target) is None
    )
    pinned = tuple(v for v in legal if all(getattr(v, name) == value for name, value in layer.variant.items()))
    if not pinned:
        raise ModelError(f"layer {layer.name!r}: {_explain_pins(layer, legal, target)}")
    return SearchSpace(layer, pinned)


def _explain_pins(layer: Layer, legal: tuple[Variant, ...], target: Target) -> str:
    for name, value in layer.variant.items():
        possible = sorted({getattr(v, name) for v in legal})
        if value not in possible:
            shown = ", ".join(str(item) for item in possible)
            return (
                f"variant.{name}: no kernel of {layer.op} on {target.core} has {value!r} for this layer; expected one "
                f"of: {shown}"
            )
    pins = ", ".join(f"{name}: {value}" for name, value in layer.variant.items())
    return f"variant: no kernel of {layer.op} on {target.core} has {{{pins}}} together; remove one of these pins"


def with_own_pools(layers: Sequence[Layer]) -> tuple[Layer, ...]:
    """The layers of a network, each convolution with the pooling behind it that it can take in.

    A pooling whose compiled kernel another layer runs too stays apart: the planner pays for shared code once, which
    holds for whole layers only.
    """
    keys = [kernel_key(layer, None, ends(None, at, len(layers))) for at, layer in enumerate(layers)]
    return tuple(
        layer if layer.pool is None or keys.count(keys[at + 1]) == 1 else replace(layer, pool=None)
        for at, layer in enumerate(with_pools(layers))
    )


def baseline_of(space: SearchSpace) -> Variant | None:
    """The variant that gains are quoted against."""
    return space.layer.row.baseline if space.variants else None


def device_problem(layer: Layer, variant: Variant, target: Target) -> str | None:
    return device_variant_problem(layer, variant, target.features)


def ends(variant: Variant | None, index: int, count: int) -> tuple[bool, bool]:
    """Whether input and output of layer `index` lie in the arena, at word boundaries: the network's own may not. With
    a fused pooling the output is that of the next layer.
    """
    return index > 0, index + (variant is not None and variant.fused_pool) < count - 1


def kernel_key(layer: Layer, variant: Variant | None, aligned: tuple[bool, bool] = (True, True)) -> Hashable:
    """Equal for layers that run the same compiled kernel: everything about them but their weights and their name
    is the same. `aligned` says whether input and output start at word boundaries, which kernels make use of.
    """
    geometry = (
        layer.op,
        layer.dtype,
        layer.weights_dtype,
        layer.input_shape,
        layer.output_shape,
        layer.kernel,
        layer.stride,
        layer.padding,
    )
    pool = kernel_key(layer.pool, None) if layer.pool is not None and variant is not None and variant.fused_pool else ()
    return (*geometry, layer.bias_shift, layer.out_shift, layer.activation, layer.int_bits, variant, pool, aligned)


def scratch_bytes(layer: Layer, variant: Variant | None) -> int:
    """Scratch of one layer under one variant: the same function that sizes the host's and the firmware's buffers."""
    from cmsisnn_x.buffers import layer_scratch_bytes

    return layer_scratch_bytes(layer, variant) if variant is not None else 0
