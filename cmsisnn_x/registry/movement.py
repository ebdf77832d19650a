# SPDX-License-Identifier: Apache-2.0
"""What moves elements and computes nothing: rows of concatenation, padding, strided copies and resizing."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np

from ..layers import Layer
from ..op import Op, Shape
from ..variant import Variant
from ._shared import AFFINE_ANY, same_shape

VIEW_AXES = 6


def _size(layer: Layer) -> int:
    return layer.type.dtype.itemsize


def _concat(executor: Any, layer: Layer, constants: Mapping[str, np.ndarray]) -> None:
    """Inputs are ``(outer, inner)``, of one outer size: rows lie side by side in the output."""
    executor.concat(layer.input_shape[0], layer.samples)


def _copy(executor: Any, layer: Layer, constants: Mapping[str, np.ndarray]) -> None:
    executor.move(_size(layer), layer.view, prod(layer.output_shape), False, 0, layer.samples)


def _pad(executor: Any, layer: Layer, constants: Mapping[str, np.ndarray]) -> None:
    executor.move(_size(layer), layer.view, prod(layer.output_shape), True, layer.requant.fill, layer.samples)


def _offsets(layer: Layer) -> dict[str, Shape]:
    return {"table": (layer.output_image[0] + layer.output_image[1],)}


def _resize(executor: Any, layer: Layer, constants: Mapping[str, np.ndarray]) -> None:
    executor.resize_nearest(_size(layer), layer.output_image, constants["table"], layer.samples)


def _rows(layer: Layer) -> dict[str, int | str]:
    return {"ROWS": layer.input_shape[0], "INPUTS": len(layer.input_shapes)}


def _columns(layer: Layer, variant: Variant | None) -> dict[str, np.ndarray]:
    return {"columns": np.array([shape[1] for shape in layer.input_shapes], np.int32)}


def _view(layer: Layer) -> dict[str, int | str]:
    """The view with as few and as long axes as it takes."""
    assert layer.view is not None
    axes: list[tuple[int, int]] = []
    for size, step in zip(layer.view.shape, layer.view.steps, strict=True):
        if size == 1:
            continue
        if axes and axes[-1][1] == size * step:
            axes[-1] = (axes[-1][0] * size, step)
        else:
            axes.append((size, step))
    axes = [(1, 0)] * (VIEW_AXES - len(axes)) + axes
    found: dict[str, int | str] = {"VIEW_OFFSET": layer.view.offset}
    for at, (size, step) in enumerate(axes):
        found |= {f"VIEW_SHAPE_{at}": size, f"VIEW_STEP_{at}": step}
    return found


def _offset_table(layer: Layer, variant: Variant | None) -> dict[str, np.ndarray]:
    assert layer.table is not None
    return {"table": layer.table}


CONCAT = Op(
    "concat", "concat", roles=("inputs",), types=AFFINE_ANY, infer=same_shape, macros=_rows, operands=_columns,
    append=_concat, is_joined=True,
)  # fmt: skip
COPY = Op("copy", "copy", roles=("x",), types=AFFINE_ANY, infer=same_shape, macros=_view, append=_copy)
"""Elements of `Layer.view`, one by one: transposition, slices, parts of a split, repetition."""
PAD = Op("pad", "pad", roles=("x",), types=AFFINE_ANY, infer=same_shape, macros=_view, append=_pad)
"""The other way round: `Layer.view` says where the input's elements lie in the output, which is filled before."""
RESIZE_NEAREST = Op(
    "resize_nearest", "resize_nearest", roles=("x", "table"), types=AFFINE_ANY, infer=same_shape, constants=_offsets,
    operands=_offset_table, append=_resize,
)  # fmt: skip
"""`table`: for every output row and then for every output column the offset of its source, in elements, int32."""
