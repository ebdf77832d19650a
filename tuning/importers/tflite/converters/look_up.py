# SPDX-License-Identifier: Apache-2.0
"""Any function of a byte: CAST to int32, ADD of 128, and GATHER from 256 constants, which is a table of one kernel."""

from __future__ import annotations

import numpy as np

from ...integer_graph import Refused
from ..context import Context
from ..file import FileOp
from .common import Converter, require_type

FIRST = 128
"""What makes an index from 0 on of a byte."""


def cast(walk: Context, op: FileOp) -> None:
    x = walk.input(op)
    require_type(x, "int8")
    if walk.file_tensor(op.outputs[0]).type != "INT32":
        raise Refused("expected a CAST of bytes that become indices of GATHER, to INT32")
    walk.indices[op.outputs[0]] = x, 0


def with_indices(converter: Converter) -> Converter:
    """ADD of a number to indices, or of tensors."""

    def convert(walk: Context, op: FileOp) -> None:
        sides = [walk.source(op, place) for place in (0, 1)]
        found = [index for index in sides if index in walk.indices]
        if not found:
            converter(walk, op)
            return
        other = walk.known.get(next((index for index in sides if index not in walk.indices), -1))
        if other is None or other.size != 1 or other.dtype.kind not in "iu":
            raise Refused("expected one whole number that is added to indices")
        item, first = walk.indices[found[0]]
        walk.indices[op.outputs[0]] = item, first + int(other.reshape(-1)[0])

    return convert


def with_tables(converter: Converter) -> Converter:
    """GATHER of constants by a byte, or of a tensor by constants."""

    def convert(walk: Context, op: FileOp) -> None:
        index = walk.source(op, 1)
        if index not in walk.indices:
            converter(walk, op)
            return
        (item, first), out = walk.indices[index], walk.output(op)
        table = walk.constant(op, 0, "table")
        require_type(out, "int8")
        if first != FIRST or table.shape != (1 << 8,) or table.dtype != np.int8 or op.options["batch_dims"]:
            raise Refused(f"expected indices of a byte + {FIRST}, and 256 constants of int8")
        if not walk.quantised(walk.file_tensor(op.inputs[0])).is_scaled_as(out):
            raise Refused("expected constants of the output's scale")
        walk.builder.table(walk.name(op, "look_up"), item, out, np.roll(table, FIRST))
        walk.become(op, out)

    return convert
