# SPDX-License-Identifier: Apache-2.0
"""Activations: the rows of ReLU, and of sigmoid and tanh, which look up a table."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np

from .._tables import activation_table
from ..affine.curves import sigmoid_points
from ..layers import Layer
from ..op import Op, Shape
from ..variant import Variant
from ._shared import ALIKE, any_rows, same_shape


def _relu(executor: Any, layer: Layer, constants: Mapping[str, np.ndarray]) -> None:
    executor.element_wise("relu", layer.type.bits == 16, prod(layer.input_shape))


def _look_up(executor: Any, layer: Layer, constants: Mapping[str, np.ndarray]) -> None:
    if layer.scheme is not None:
        executor.curve(layer.samples * prod(layer.input_shape), sigmoid_points(), layer.scheme)
        return
    table = activation_table(layer.op, layer.dtype)
    executor.element_wise("look_up", layer.type.bits == 16, prod(layer.input_shape), table, layer.int_bits)


def _points(layer: Layer, variant: Variant | None) -> dict[str, np.ndarray]:
    """Of a curve with a scale: unsigned, as bits."""
    return {"points": sigmoid_points().view(np.int16)}


def _infer(shape: Shape, attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {"output_shape": shape, "int_bits": attributes["int_bits"]}


RELU = Op(
    "relu",
    "relu",
    roles=("x",),
    types=ALIKE,
    infer=same_shape,
    in_place=(0,),
    is_scale_free=True,
    is_nonnegative=True,
    least_rows=any_rows,
    append=_relu,
)
SIGMOID, TANH = (
    Op(
        name,
        name,
        roles=("x",),
        types=(*ALIKE, ("int16",)),
        attributes=("int_bits",),
        infer=_infer,
        in_place=(0,),
        is_nonnegative=is_nonnegative,
        operands=_points,
        least_rows=any_rows,
        append=_look_up,
    )
    for name, is_nonnegative in (("sigmoid", True), ("tanh", False))
)
