# SPDX-License-Identifier: Apache-2.0
"""The converter of every operator of `.tflite` files that is taken.

A converter reads an operator through the walk and adds layers to its builder. What it cannot take it says by raising
`Refused`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import tflite_elements, tflite_moves, tflite_products, tflite_reduce
from .tflite_common import Converter

if TYPE_CHECKING:
    from .tflite_file import FileOp
    from .tflite_walk import Walk


def _handle(walk: Walk, op: FileOp) -> None:
    walk.handles[op.outputs[0]] = str(op.options["shared_name"])  # a walk has asked for an output


def _read_variable(walk: Walk, op: FileOp) -> None:
    walk.read_variable(op)


def _assign_variable(walk: Walk, op: FileOp) -> None:
    walk.assign_variable(op)


def _call_once(walk: Walk, op: FileOp) -> None:
    """Its subgraph is read where a variable is assigned."""


CONVERTERS: dict[str, Converter] = {
    **tflite_elements.CONVERTERS,
    **tflite_moves.CONVERTERS,
    **tflite_products.CONVERTERS,
    **tflite_reduce.CONVERTERS,
    "ASSIGN_VARIABLE": _assign_variable,
    "CALL_ONCE": _call_once,
    "READ_VARIABLE": _read_variable,
    "VAR_HANDLE": _handle,
}
"""Operator -> its converter."""
