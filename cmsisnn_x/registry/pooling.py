# SPDX-License-Identifier: Apache-2.0
"""Pooling: the rows of maximum and average."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from math import prod
from typing import Any

import numpy as np

from ..layers import Layer
from ..op import Op, Shape
from ..variant import Variant
from ._shared import AFFINE_ALIKE, ALIKE, windows

LARGEST_WINDOW = 65535
"""Of an average of 16 bits, which is summed in 32."""


def _infer(op: str, shape: Shape, attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {**windows(op, shape, attributes), "ceil_mode": attributes["ceil_mode"]}


def _problem(layer: Layer) -> str | None:
    seen = prod(map(min, layer.kernel, layer.image[:2]))
    if layer.op != "avg_pool2d" or layer.type.bits == 8 or seen <= LARGEST_WINDOW:
        return None
    return f"expected a window of at most {LARGEST_WINDOW} elements of 16 bits, whose sum fits 32 bits, got {seen}"


def _is_whole(layer: Layer) -> bool:
    """Whether there is one window, with all of the image in it."""
    sizes = zip(layer.kernel, layer.padding, layer.image[:2], strict=True)
    return layer.output_image[:2] == (1, 1) and all(kernel - pad[0] >= size for kernel, pad, size in sizes)


def _averages_rows(layer: Layer) -> bool:
    return layer.op == "avg_pool2d" and _is_whole(layer)


def _least_rows(layer: Layer, variant: Variant | None) -> int | None:
    return None if layer.output_image[0] == 1 and not _averages_rows(layer) else 1


def _takes_rows_as_they_come(layer: Layer) -> bool:
    """The largest of a window are those of its rows. A row that begins with padding could be one that was begun where
    that is as high as a step.
    """
    kernel, stride = layer.kernel[0], layer.stride[0]
    return layer.op == "max_pool2d" and 1 < stride < kernel and layer.padding[0][0] < stride < layer.image[0]


def _append(executor: Any, layer: Layer, constants: Mapping[str, np.ndarray], *, maximum: bool) -> None:
    pad = (layer.padding[0][0], layer.padding[1][0])
    executor.pool(
        maximum, layer.type.bits == 16, layer.image, layer.output_image, layer.kernel, layer.stride, pad, layer.scheme,
        layer.samples,
    )  # fmt: skip


MAX_POOL, AVG_POOL = (
    Op(
        name,
        f"{name}2d",
        roles=("x",),
        types=(*ALIKE, *AFFINE_ALIKE),
        attributes=("kernel", "stride", "padding", "ceil_mode", "output_size"),
        infer=partial(_infer, f"{name}2d"),
        problem=_problem,
        is_scale_free=True,
        least_rows=_least_rows,
        sums_rows=_averages_rows,
        takes_rows_as_they_come=_takes_rows_as_they_come,
        append=partial(_append, maximum=maximum),
    )
    for name, maximum in (("max_pool", True), ("avg_pool", False))
)
