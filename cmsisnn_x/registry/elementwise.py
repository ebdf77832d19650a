# SPDX-License-Identifier: Apache-2.0
"""Element by element: rows of sums, products, maxima and minima of two tensors, of tables and of rescaling.

The second tensor of a pair may be shorter: it is repeated then, as often as it takes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import Any

import numpy as np

from ..affine import AffineSum
from ..affine.linear import NOT_LINEAR, Linear, linear_of
from ..layers import Layer
from ..op import Op, Shape
from ..variant import Variant
from ._shared import AFFINE_ALIKE, ALIKE, any_rows, same_shape

LINEAR_ELEMENTS = 1024
"""From which on a sum on the host is worth a look at all pairs of bytes."""


def _pair(kind: str) -> Callable[[Any, Layer, Mapping[str, np.ndarray]], None]:
    def append(executor: Any, layer: Layer, constants: Mapping[str, np.ndarray]) -> None:
        sizes = [prod(shape) for shape in layer.input_shapes]
        linear = _linear(layer) if kind == "add" and layer.samples * sizes[0] >= LINEAR_ELEMENTS else NOT_LINEAR
        about = (layer.type.bits == 16, *sizes, layer.scheme, layer.samples)
        executor.pair(kind, *about, None if linear is NOT_LINEAR else linear)

    return append


def _period(layer: Layer) -> dict[str, int | str]:
    return {"PERIOD": prod(layer.more_inputs[0])}


def _linear(layer: Layer) -> Linear:
    assert isinstance(layer.scheme, AffineSum)
    return linear_of(layer.scheme) if layer.type.bits == 8 else NOT_LINEAR


def _sum(layer: Layer) -> dict[str, int | str]:
    return {**_period(layer), **_linear(layer).macros()}


def _byte_table(layer: Layer, variant: Variant | None) -> dict[str, np.ndarray]:
    """As the kernel reads it: bytes without a sign are bytes."""
    assert layer.table is not None
    return {"table": layer.table.view(f"int{layer.output_type.bits}")}


def _table(layer: Layer) -> dict[str, Shape]:
    return {"table": (256,)}


def _look_up(executor: Any, layer: Layer, constants: Mapping[str, np.ndarray]) -> None:
    executor.look_up(layer.samples * prod(layer.input_shape), constants["table"])


def _requantise(executor: Any, layer: Layer, constants: Mapping[str, np.ndarray]) -> None:
    count, types = layer.samples * prod(layer.input_shape), (layer.type.dtype, layer.output_type.dtype)
    executor.requantise(count, *types, layer.scheme)


MULTIPLY = Op(
    "multiply", "multiply", roles=("a", "b"), types=(*ALIKE, *AFFINE_ALIKE), infer=same_shape, in_place=(0, 1),
    macros=_period, least_rows=any_rows, append=_pair("multiply"),
)  # fmt: skip
ADD = Op(
    "add", "add", roles=("a", "b"), types=AFFINE_ALIKE, infer=same_shape, in_place=(0, 1), macros=_sum,
    least_rows=any_rows, append=_pair("add"),
)  # fmt: skip
"""Difference too: the sign is the scheme's."""
MAXIMUM, MINIMUM = (
    Op(
        name,
        name,
        roles=("a", "b"),
        types=AFFINE_ALIKE,
        infer=same_shape,
        in_place=(0, 1),
        macros=_period,
        least_rows=any_rows,
        append=_pair(name),
    )
    for name in ("maximum", "minimum")
)
LOOK_UP = Op(
    "look_up", "look_up", roles=("x", "table"), types=(("int8",), ("uint8",)), infer=same_shape, in_place=(0,),
    constants=_table, operands=_byte_table, least_rows=any_rows, append=_look_up,
)  # fmt: skip
"""Any function of a byte: logistic, tanh, hard swish, a ReLU or rescaling of its own."""
REQUANTISE = Op(
    "requantise", "requantise", roles=("x",), types=(("int8",), ("int16",)), infer=same_shape, in_place=(0,),
    least_rows=any_rows, append=_requantise,
)  # fmt: skip
"""To another scale where one of the two has 16 bits."""
