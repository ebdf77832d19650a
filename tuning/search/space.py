# SPDX-License-Identifier: Apache-2.0
"""Search spaces: per layer, every device variant that its operation, its shape, the core and the model file's
pins allow.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property, lru_cache
from operator import attrgetter
from typing import Any

import numpy as np

from cmsisnn_x.arena import is_last_use
from cmsisnn_x.chain import Chain
from cmsisnn_x.chained import aligned_rows
from cmsisnn_x.graph import Graph
from cmsisnn_x.isa import Features, Isa
from cmsisnn_x.layers import Layer
from cmsisnn_x.op import device_variant_problem, device_variants
from cmsisnn_x.steps import Step, place_inside, pooling_behind
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


def search_space(layer: Layer, target: Target, follower: Layer | None = None) -> SearchSpace:
    """The variants of `layer` on `target`, pins applied; with `fused_pool` where there is a `follower` to take in.

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
        if device_problem(layer, v, target, follower) is None
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


@dataclass(frozen=True)
class Place:
    """A layer where it stands in a network.

    Attributes
    ----------
    layer : Layer
    follower : Layer or None
        The pooling that variants with `fused_pool` take in.
    inside : (bool, bool)
        Whether what the layer reads, and what it or its follower writes, lies in the arena, at word boundaries: the
        network's own input and output may not.
    may_overwrite : bool
        Whether what the layer reads lies in the arena, and nobody needs it later.
    has_dsp : bool
        Whether the core has the DSP extension.
    band : int
        Of a layer in a chain: rows that a call makes at most; 0 for all others.
    """

    layer: Layer
    follower: Layer | None = None
    inside: tuple[bool, bool] = (True, True)
    may_overwrite: bool = False
    has_dsp: bool = False
    band: int = 0

    @property
    def cost_key(self) -> tuple[Layer, Layer | None, bool]:
        """Equal for layers whose estimates are: an input of the network may start anywhere."""
        return self.layer, self.follower, self.inside[0]

    def step(self, variant: Variant | None) -> Step:
        """What one call runs under a variant."""
        return Step.of(self.layer, variant, self.follower, in_place=self.is_overwritten(variant))

    def is_overwritten(self, variant: Variant | None) -> bool:
        """Whether a kernel with weights writes over what it reads: where it can, and it costs nothing. Compilers keep
        less in registers where stores may change what is read: nothing on cores with the DSP extension, nor in
        assembly; on the others kernels in C took up to half as many cycles more.
        """
        if not self.may_overwrite or variant is None or not (self.has_dsp or variant.inner != "c"):
            return False
        return place_inside(self.layer, variant, 0) == 0

    def aligned(self, variant: Variant | None) -> tuple[bool, bool]:
        """Whether input and output of that call start at word boundaries."""
        between = self.follower is not None and (variant is None or not variant.fused_pool)
        return self.inside[0], between or self.inside[1]

    def kernel(self, variant: Variant | None) -> Hashable:
        """Equal for variants, of this layer or others, that run the same compiled kernel."""
        return self.kernel_of(self.step(variant))

    def kernel_of(self, step: Step) -> Hashable:
        """The same of a step that is known."""
        key = kernel_key(step, self.aligned(step.variant))
        return (key, self.band) if self.band else key


def places(graph: Graph, features: Features, chains: Mapping[int, Chain] | None = None) -> tuple[Place, ...]:
    """The layers of a network on a core, each convolution with the pooling behind it that it can take in.

    A pooling whose compiled kernel another layer runs too stays apart: the planner pays for shared code once, which
    holds for whole layers only. So do layers of `chains`, by the index of the first, and a pooling in one.
    """
    alone = {node.name: graph.aligned(node) for node in graph.nodes}
    keys = {node.name: kernel_key(Step((node.layer,)), alone[node.name]) for node in graph.nodes}
    found = []
    has_dsp = features.isa >= Isa.DSP
    for node in graph.nodes:
        after = pooling_behind(graph, node)
        if after is not None and list(keys.values()).count(keys[after.name]) > 1:
            after = None
        last = node if after is None else after
        inside = alone[node.name][0], alone[last.name][1]
        over = node.layer.row.is_weighted and is_last_use(graph, node)
        found.append(Place(node.layer, None if after is None else after.layer, inside, over, has_dsp))
    for first, chain in (chains or {}).items():
        if first:
            before = graph.nodes[first - 1]
            found[first - 1] = replace(found[first - 1], follower=None, inside=graph.aligned(before))
        for at, link in enumerate(chain.own, first):
            own = graph.nodes[at]
            found[at] = Place(own.layer, inside=aligned_rows(graph, own, link), band=link.band)
    return tuple(found)


def baseline_of(space: SearchSpace) -> Variant | None:
    """The variant that gains are quoted against."""
    return space.layer.row.baseline if space.variants else None


def device_problem(layer: Layer, variant: Variant, target: Target, follower: Layer | None = None) -> str | None:
    return device_variant_problem(layer, variant, target.features, follower)


_APART = ("name", "weights", "bias", "table", "variant", "ceil_mode", "scheme")
_OF_THE_KERNEL = attrgetter(*(field.name for field in fields(Layer) if field.name not in _APART))
"""All of a layer but what its kernel does not depend on: its name, its constants, its pins, and how its output came
to have its size. A new field counts until it is named here: that may cost time, and never mixes kernels up. Of a scheme
with zero points it depends on the macros: multipliers of channels are constants.
"""


def kernel_key(step: Step, aligned: tuple[bool, bool] = (True, True)) -> Hashable:
    """Equal for steps that run the same compiled kernel. `aligned` says whether input and output start at word
    boundaries, which kernels make use of.
    """
    own = (*map(_OF_THE_KERNEL, step.layers), step.variant, step.in_place, aligned)
    return (*own, *map(_macros, step.layers)) if step.lead.type.is_affine else own


@lru_cache(maxsize=256)
def _macros(layer: Layer) -> Hashable:
    """What a kernel with zero points is made of besides geometry."""
    scheme = {} if layer.scheme is None else layer.scheme.macros()
    return (*scheme.items(), *layer.row.macros(layer).items())
