# SPDX-License-Identifier: Apache-2.0
"""The converter of every operator of `.tflite` files that is taken.

A converter reads an operator through the context and adds layers to its builder. What it cannot take it says by raising
`Refused`.
"""

from __future__ import annotations

from . import tflite_elements, tflite_look_up, tflite_moves, tflite_products, tflite_reduce, tflite_variables
from .tflite_common import Converter

CONVERTERS: dict[str, Converter] = {
    **tflite_elements.CONVERTERS,
    **tflite_moves.CONVERTERS,
    **tflite_products.CONVERTERS,
    **tflite_reduce.CONVERTERS,
    **tflite_variables.CONVERTERS,
}
CONVERTERS |= {
    "ADD": tflite_look_up.with_indices(CONVERTERS["ADD"]),
    "CAST": tflite_look_up.cast,
    "GATHER": tflite_look_up.with_tables(CONVERTERS["GATHER"]),
}
"""Operator -> its converter."""
