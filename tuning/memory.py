# SPDX-License-Identifier: Apache-2.0
"""The arena: where the tensors and the scratch of a sequential network lie, with lifetimes.

A layer needs its input, its output and its scratch at the same time and nothing else is alive, so no arena can be
smaller than the largest such sum. Placing tensors alternately at the two ends reaches that bound: the one a layer
reads lies at one end, the one it writes at the other, its scratch between them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cmsisnn_x.layers import Layer

ALIGNMENT = 4
"""Bytes: the kernels read and write the arena in words."""


@dataclass(frozen=True)
class Region:
    """Bytes ``offset .. offset + bytes`` of the arena, in use from layer `first` to layer `last` (indices,
    inclusive).
    """

    name: str
    offset: int
    bytes: int
    first: int
    last: int


@dataclass(frozen=True)
class Arena:
    """A placed arena. Offsets are per layer; ``None`` marks the caller's input and output, and a layer without
    scratch.
    """

    bytes: int
    input_offsets: tuple[int | None, ...]
    output_offsets: tuple[int | None, ...]
    scratch_offsets: tuple[int | None, ...]
    regions: tuple[Region, ...]


def aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def live_bytes(layers: Sequence[Layer]) -> list[int]:
    """Arena bytes of the tensors, scratch apart, that are alive while each layer runs."""
    sizes = _tensor_bytes(layers)
    return [
        before + (0 if shared else after)
        for before, after, shared in zip(sizes, sizes[1:], _in_place(layers), strict=False)
    ]


def lower_bound(layers: Sequence[Layer], scratch: Sequence[int]) -> int:
    """Bytes below which no arena of this network can go: the largest set of buffers that is alive at once."""
    return max(live + aligned(need) for live, need in zip(live_bytes(layers), scratch, strict=True))


def plan_arena(layers: Sequence[Layer], scratch: Sequence[int]) -> Arena:
    """Place every tensor and scratch buffer.

    Parameters
    ----------
    layers : sequence of Layer
        In order of execution; the first input and the last output are the caller's.
    scratch : sequence of int
        Scratch bytes of each layer.

    Returns
    -------
    Arena
        Of exactly `lower_bound` bytes.
    """
    total = lower_bound(layers, scratch)
    sizes, in_place = _tensor_bytes(layers), _in_place(layers)
    offsets: list[int | None] = [None] * len(sizes)
    at_bottom = True
    for index in range(1, len(layers)):
        if in_place[index - 1]:
            offsets[index] = offsets[index - 1]
        else:
            offsets[index] = 0 if at_bottom else total - sizes[index]
            at_bottom = not at_bottom
    scratch_offsets: list[int | None] = []
    for index, need in enumerate(scratch):
        ends = [offsets[i] + sizes[i] for i in (index, index + 1) if offsets[i] == 0]
        scratch_offsets.append((ends[0] if ends else 0) if need else None)
    regions = [
        Region(f"{layers[index].name}.scratch", offset, need, index, index)
        for index, (offset, need) in enumerate(zip(scratch_offsets, scratch, strict=True))
        if offset is not None
    ]
    first = 0
    for index in range(1, len(layers)):
        first = first if in_place[index - 1] else index - 1
        if not in_place[index]:
            regions.append(
                Region(f"{layers[first].name}.output", offsets[index], layers[first].output_bytes, first, index)
            )
    regions.sort(key=lambda region: (region.first, region.offset))
    return Arena(total, tuple(offsets[:-1]), tuple(offsets[1:]), tuple(scratch_offsets), tuple(regions))


def _tensor_bytes(layers: Sequence[Layer]) -> list[int]:
    """Arena bytes of each tensor; 0 for the caller's first and last."""
    return [0, *(aligned(layer.output_bytes) for layer in layers[:-1]), 0]


def _in_place(layers: Sequence[Layer]) -> list[bool]:
    """Whether each layer overwrites its input: element-wise ones whose input and output both lie in the arena."""
    return [layer.is_in_place and 0 < index < len(layers) - 1 for index, layer in enumerate(layers)]
