# SPDX-License-Identifier: Apache-2.0
"""Some operators of a `.tflite` file as a file of their own.

The file is changed where it lies: the list of operators is shortened, the lists of inputs and outputs are written anew
behind its end. Constants and options are the bytes that they were, and nothing that this tool does not know is lost.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from ...base.errors import ModelError
from . import schema
from .flatbuffer import Flatbuffer, Table


def cut(content: bytes, ops: Sequence[int], inputs: Sequence[int], outputs: Sequence[int]) -> bytes:
    """The file whose first subgraph runs `ops` alone.

    Parameters
    ----------
    content : bytes
        A file that `file.read` took.
    ops : sequence of int
        Operators of the first subgraph, in ascending order.
    inputs, outputs : sequence of int
        Its tensors.
    """
    file = Flatbuffer(content, "")
    model = file.table(file.target(0, ""), schema.MODEL)
    graph = file.table(model["subgraphs"][0], schema.SUBGRAPH)
    changed = bytearray(content)
    start, _ = file.vector(_place(graph, "operators"), 4, "operators")
    struct.pack_into("<I", changed, start - 4, len(ops))
    for place, op in enumerate(ops):
        # Offsets count from where they stand, which is not behind where they stood.
        target = file.target(start + 4 * op, "operators")
        struct.pack_into("<I", changed, start + 4 * place, target - (start + 4 * place))
    _append(changed, _place(graph, "inputs"), inputs)
    _append(changed, _place(graph, "outputs"), outputs)
    if (place_of_names := model.place("signature_defs")) is not None:
        _append(changed, place_of_names, ())
    return bytes(changed)


def _place(table: Table, name: str) -> int:
    at = table.place(name)
    if at is None:
        raise ModelError(f"{name}: expected some in the file's first subgraph, got none")
    return at


def _append(content: bytearray, place: int, numbers: Sequence[int]) -> None:
    """Write a vector at the end, and where it is at `place`."""
    content.extend(bytes(-len(content) % 4))
    struct.pack_into("<I", content, place, len(content) - place)
    content.extend(struct.pack(f"<I{len(numbers)}i", len(numbers), *numbers))
