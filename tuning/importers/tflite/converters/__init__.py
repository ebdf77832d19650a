# SPDX-License-Identifier: Apache-2.0
"""The converter of every operator of `.tflite` files that is taken.

A converter reads an operator through the context and adds layers to its builder. What it cannot take it says by raising
`Refused`.
"""

from __future__ import annotations

from . import elements, look_up, moves, products, reduce, variables
from .common import Converter

CONVERTERS: dict[str, Converter] = {
    **elements.CONVERTERS,
    **moves.CONVERTERS,
    **products.CONVERTERS,
    **reduce.CONVERTERS,
    **variables.CONVERTERS,
}
CONVERTERS |= {
    "ADD": look_up.with_indices(CONVERTERS["ADD"]),
    "CAST": look_up.cast,
    "GATHER": look_up.with_tables(CONVERTERS["GATHER"]),
}
"""Operator -> its converter."""
