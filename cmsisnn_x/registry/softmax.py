# SPDX-License-Identifier: Apache-2.0
"""Softmax: its row."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np

from .._arguments import SOFTMAX_MAX
from ..affine import AffineSoftmax
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
    append = executor.softmax_wide_rows if layer.type.bits == 16 else executor.softmax_rows
    append(layer.samples * prod(layer.input_shape[:-1]), layer.input_shape[-1], layer.scheme)


def _macros(layer: Layer) -> dict[str, int | str]:
    return {"ROWS": prod(layer.input_shape[:-1]), "COLS": layer.input_shape[-1], "TABLE": len(_scheme(layer).table)}


def _operands(layer: Layer, variant: Variant | None) -> dict[str, np.ndarray]:
    return {"table": _scheme(layer).table}


def _scheme(layer: Layer) -> AffineSoftmax:
    assert isinstance(layer.scheme, AffineSoftmax)
    return layer.scheme


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
