# SPDX-License-Identifier: Apache-2.0
"""Softmax: its row."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np

from .._arguments import SOFTMAX_MAX
from ..affine import MULTIPLIER_MAX, AffineSoftmax, high_multiply
from ..affine.curves import AffineRealSoftmax, AffineSoftmax16
from ..affine.tables import exponential
from ..errors import GeometryError
from ..layers import Layer
from ..op import Op, Shape
from ..variant import Variant
from ._shared import AFFINE_ALIKE, ALIKE


def _infer(shape: Shape, attributes: Mapping[str, Any]) -> dict[str, Any]:
    if prod(shape) > SOFTMAX_MAX:
        raise GeometryError(
            f"softmax takes at most {SOFTMAX_MAX} elements, its input has shape {list(shape)}; pool before it"
        )
    return {"output_shape": shape}


def _append(executor: Any, layer: Layer, constants: Mapping[str, np.ndarray]) -> None:
    if layer.scheme is None:
        executor.element_wise("softmax", layer.type.bits == 16, prod(layer.input_shape))
        return
    kinds = {AffineSoftmax: executor.softmax_rows, AffineSoftmax16: executor.softmax_wide_rows}
    append = kinds.get(type(layer.scheme), executor.softmax_real_rows)
    append(layer.samples * prod(layer.input_shape[:-1]), layer.input_shape[-1], layer.scheme)


def _macros(layer: Layer) -> dict[str, int | str]:
    size: dict[str, int | str] = {"ROWS": prod(layer.input_shape[:-1]), "COLS": layer.input_shape[-1]}
    size["IS_REAL"] = int(isinstance(layer.scheme, AffineRealSoftmax))
    return size | {"TABLE": len(_table(layer))} if isinstance(layer.scheme, AffineSoftmax) else size


def _operands(layer: Layer, variant: Variant | None) -> dict[str, np.ndarray]:
    if isinstance(layer.scheme, AffineRealSoftmax):
        return {"table": layer.scheme.table}
    if isinstance(layer.scheme, AffineSoftmax16):
        return dict(zip(("exponentials", "reciprocals"), layer.scheme.tables, strict=True))
    return {"table": _table(layer)}


def _table(layer: Layer) -> np.ndarray:
    """exp of every distance below the maximum that counts, 0, 1, .., in Q0.31; int32. The others are 0."""
    scheme = layer.scheme
    assert isinstance(scheme, AffineSoftmax)
    distance = np.arange(256, dtype=np.int64)
    scaled = high_multiply(-np.minimum(distance << max(scheme.shift, 0), MULTIPLIER_MAX), scheme.multiplier)
    values = np.where(-distance >= scheme.diff_min, exponential(scaled, 5), 0)
    return values[: int(np.flatnonzero(values)[-1]) + 1].astype(np.int32)


SOFTMAX = Op(
    "softmax",
    "softmax",
    roles=("x",),
    types=(*ALIKE, *AFFINE_ALIKE),
    infer=_infer,
    most_elements=SOFTMAX_MAX,
    is_nonnegative=True,
    macros=_macros,
    operands=_operands,
    append=_append,
)
