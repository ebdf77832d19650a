# SPDX-License-Identifier: Apache-2.0
"""The arena: where the tensors and the scratch of a sequential network lie, with lifetimes.

A layer needs its input, its output and its scratch at the same time and nothing else is alive, so no arena can be
smaller than the largest such sum. Placing tensors alternately at the two ends reaches that bound: the one a layer
reads lies at one end, the one it writes at the other, its scratch between them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

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


def lower_bound(layers: Sequence[Layer], scratch: Sequence[int], fused: Sequence[bool] = ()) -> int:
    """Bytes below which no arena of this network can go: the largest set of buffers that is alive at once. `fused`
    as in `plan_arena`.
    """
    steps = _steps(layers, fused)
    return max(
        live + aligned(scratch[step.first])
        for live, step in zip(live_bytes([s.layer for s in steps]), steps, strict=True)
    )


@dataclass(frozen=True)
class _Step:
    """What runs as one: a layer, or a convolution with the pooling that it takes in, as a layer with its input and the
    pooling's output.
    """

    layer: Layer
    first: int
    last: int


def _steps(layers: Sequence[Layer], fused: Sequence[bool]) -> list[_Step]:
    found, index = [], 0
    while index < len(layers):
        layer, last = layers[index], index
        if fused and fused[index]:
            last += 1
            layer = replace(layer, output_shape=layers[last].output_shape)
        found.append(_Step(layer, index, last))
        index = last + 1
    return found


def plan_arena(layers: Sequence[Layer], scratch: Sequence[int], fused: Sequence[bool] = ()) -> Arena:
    """Place every tensor and scratch buffer.

    Parameters
    ----------
    layers : sequence of Layer
        In order of execution; the first input and the last output are the caller's.
    scratch : sequence of int
        Scratch bytes of each layer.
    fused : sequence of bool, optional
        Which layers take in the layer behind them: the tensor between the two has no place, and the scratch of the
        second does not count.

    Returns
    -------
    Arena
        Of exactly `lower_bound` bytes.
    """
    steps = _steps(layers, fused)
    placed = _place([step.layer for step in steps], [scratch[step.first] for step in steps])
    inputs: list[int | None] = [None] * len(layers)
    outputs, buffers = list(inputs), list(inputs)
    for at, step in enumerate(steps):
        inputs[step.first], buffers[step.first] = placed.input_offsets[at], placed.scratch_offsets[at]
        outputs[step.last] = placed.output_offsets[at]
    regions = []
    for region in placed.regions:
        step, (_, _, what) = steps[region.first], region.name.rpartition(".")
        name = layers[step.first if what == "scratch" else step.last].name
        last = steps[region.last].last
        regions.append(Region(f"{name}.{what}", region.offset, region.bytes, step.first, last))
    return Arena(placed.bytes, tuple(inputs), tuple(outputs), tuple(buffers), tuple(regions))


def _place(layers: Sequence[Layer], scratch: Sequence[int]) -> Arena:
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
        ends = [sizes[i] for i in (index, index + 1) if offsets[i] == 0]
        scratch_offsets.append((ends[0] if ends else 0) if need else None)
    regions = [
        Region(f"{layers[index].name}.scratch", offset, need, index, index)
        for index, (offset, need) in enumerate(zip(scratch_offsets, scratch, strict=True))
        if offset is not None
    ]
    first = 0
    for index in range(1, len(layers)):
        first = first if in_place[index - 1] else index - 1
        if not in_place[index] and (at := offsets[index]) is not None:
            regions.append(Region(f"{layers[first].name}.output", at, layers[first].output_bytes, first, index))
    regions.sort(key=lambda region: (region.first, region.offset))
    return Arena(total, tuple(offsets[:-1]), tuple(offsets[1:]), tuple(scratch_offsets), tuple(regions))


def _tensor_bytes(layers: Sequence[Layer]) -> list[int]:
    """Arena bytes of each tensor; 0 for the caller's first and last."""
    return [0, *(aligned(layer.output_bytes) for layer in layers[:-1]), 0]


def _in_place(layers: Sequence[Layer]) -> list[bool]:
    """Whether each layer overwrites its input: element-wise ones whose input and output both lie in the arena."""
    return [layer.is_in_place and 0 < index < len(layers) - 1 for index, layer in enumerate(layers)]
