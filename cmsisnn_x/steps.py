# SPDX-License-Identifier: Apache-2.0
"""Steps: what one call runs. A layer, a convolution with the pooling that its kernel takes in, or a chain of layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .buffers import layer_scratch_bytes
from .chain import Chain
from .errors import VariantError
from .graph import Graph, Node
from .layers import Layer
from .variant import Variant


@dataclass(frozen=True, eq=False)
class Step:
    """Layers that one call runs, the first with `variant`, which is None for operations with a single kernel.

    Under a variant with `fused_pool` they are a convolution and the pooling that reads its output. With a `chain` they
    run band by band, each with the variant that it has there.
    """

    layers: tuple[Layer, ...]
    variant: Variant | None = None
    in_place: bool = False
    """Whether a kernel with weights writes its output over its input."""
    chain: Chain | None = None

    @classmethod
    def of(
        cls, layer: Layer, variant: Variant | None, follower: Layer | None = None, *, in_place: bool = False
    ) -> Step:
        """What `variant` makes of a layer: a step of its own, or with `fused_pool` one with its `follower`."""
        if variant is None or not variant.fused_pool:
            return cls((layer,), variant, in_place)
        if follower is None:
            raise VariantError("variant.fused_pool: expected a convolution with a pooling layer behind it, got none")
        return cls((layer, follower), variant)

    @property
    def lead(self) -> Layer:
        """The layer whose kernel it is."""
        return self.layers[0]

    @property
    def last(self) -> Layer:
        """The layer whose output it writes."""
        return self.layers[-1]

    @property
    def pool(self) -> Layer | None:
        """The pooling that the convolution takes in."""
        return self.layers[1] if len(self.layers) > 1 and self.chain is None else None

    def scratch_for(self, needed: Sequence[int]) -> int:
        """Scratch while it runs, from what its layers need: those of a chain share the most, beside their rings."""
        return needed[0] if self.chain is None else self.chain.bytes_with(max(needed))

    @property
    def name(self) -> str:
        return self.lead.name

    @property
    def kind(self) -> str:
        """``"layer"``, ``"fused_pool"`` or ``"chain"``."""
        return "chain" if self.chain else "layer" if self.pool is None else "fused_pool"

    @property
    def header(self) -> str:
        """The public header of its kernel, without ``.h``: ``"convolve"``, ``"convolve_max_pool"``."""
        return "_".join(layer.python_op for layer in self.layers)

    @property
    def input_shape(self) -> tuple[int, ...]:
        return self.lead.input_shape

    @property
    def output_shape(self) -> tuple[int, ...]:
        return self.last.output_shape

    @property
    def scratch_bytes(self) -> int:
        """Scratch of the kernel, the lines between convolution and pooling included; of a chain with its rings."""
        if self.chain is not None:
            return self.chain.bytes_with(self.chain.scratch_bytes)
        return 0 if self.variant is None else layer_scratch_bytes(self.lead, self.variant, self.pool)


def pooling_behind(graph: Graph, node: Node) -> Node | None:
    """The pooling that a convolution's kernel may take in: it runs next, and nobody else reads what lies between."""
    after = graph.sole_reader(node) if node.op == "conv2d" else None
    if after is None or after.op not in ("max_pool2d", "avg_pool2d") or graph.index(after) != graph.index(node) + 1:
        return None
    fits = after.layer.dtype == node.layer.dtype and after.layer.input_shape == node.layer.output_shape
    return after if fits and after.layer.samples == node.layer.samples == 1 else None


def place_inside(layer: Layer, variant: Variant | None, index: int) -> int | None:
    """Where input `index` may lie in the memory of the output of a layer that runs under `variant`, in bytes from its
    start; None: nowhere. As `Layer.place_inside`, and over all of it where a kernel with weights permits that.
    """
    if variant is not None and index == 0 and layer.image == layer.output_image and layer.type == layer.output_type:
        return 0 if layer.row.overwrites(layer, variant) else None
    return layer.place_inside(index)


def steps_of(
    layers: Sequence[Layer],
    fused: Sequence[bool] = (),
    variants: Sequence[Variant | None] = (),
    in_place: Sequence[bool] = (),
    chains: Mapping[int, Chain] | None = None,
) -> tuple[Step, ...]:
    """Layers in order of execution as steps: each that is `fused` runs the next one too, and `chains` has those that
    run band by band, by the index of their first layer.
    """
    found: list[Step] = []
    at = 0
    while at < len(layers):
        if chains and at in chains:
            chain = chains[at]
            found.append(Step(tuple(layers[at : at + len(chain.own)]), chain=chain))
            at += len(chain.own)
            continue
        width = 2 if fused and fused[at] else 1
        found.append(
            Step(tuple(layers[at : at + width]), variants[at] if variants else None, bool(in_place) and in_place[at])
        )
        at += width
    return tuple(found)
