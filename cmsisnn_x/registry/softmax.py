# SPDX-License-Identifier: Apache-2.0
"""Softmax: its row."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np

from .._arguments import SOFTMAX_MAX
from ..errors import GeometryError
from ..layers import Layer
from ..op import Op, Shape
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


SOFTMAX = Op(
    "softmax",
    "softmax",
    roles=("x",),
    types=(*ALIKE, *AFFINE_ALIKE),
    infer=_infer,
    most_elements=SOFTMAX_MAX,
    is_nonnegative=True,
    append=_append,
)
