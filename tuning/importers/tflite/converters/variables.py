# SPDX-License-Identifier: Apache-2.0
"""Variables: what a network remembers from one run to the next. A subgraph that runs once says what they hold first."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cmsisnn_x.graph import State
from cmsisnn_x.scheme import AFFINE_TYPES

from ...integer_graph import Refused
from ..context import Context
from ..file import FileOp
from .common import Converter


def _handle(walk: Context, op: FileOp) -> None:
    walk.handles[op.outputs[0]] = variable(op)


def variable(op: FileOp) -> str:
    """The variable that a handle is of: those of different containers are different."""
    container, name = str(op.options["container"] or ""), str(op.options["shared_name"])
    return f"{container}/{name}" if container else name


def _call_once(walk: Context, op: FileOp) -> None:
    """Its subgraph is read where a variable is assigned."""
    if walk.reads:
        raise Refused("expected one before every READ_VARIABLE: the first run would read what nothing filled")


def _initial(walk: Context) -> dict[str, np.ndarray]:
    """Variable -> what the subgraph that runs once assigns to it."""
    if walk.initial is not None:
        return walk.initial
    found: dict[str, np.ndarray] = {}
    once = [op.options["init_subgraph_index"] for op in walk.subgraph.ops if op.code == "CALL_ONCE"]
    for number in once:
        if not 0 < number < len(walk.file.subgraphs):
            raise Refused(f"CALL_ONCE: expected another subgraph of the file, got {number}")
        other = walk.file.subgraphs[number]
        handles: dict[int, str] = {}
        for op in other.ops:
            given = other.tensors[op.inputs[1]].data if len(op.inputs) == 2 and op.inputs[1] >= 0 else None
            if op.code == "VAR_HANDLE" and op.outputs:
                handles[op.outputs[0]] = variable(op)
            elif op.code == "ASSIGN_VARIABLE" and given is not None and op.inputs[0] in handles:
                found[handles[op.inputs[0]]] = given
            else:
                raise Refused(f"{op.code} in the subgraph that runs once: expected constants to be assigned")
    walk.initial = found
    return found


def _read_variable(walk: Context, op: FileOp) -> None:
    """What the run assigned to a variable last, else what it held when the run began."""
    name = walk.handles.get(walk.source(op))
    if name is None:
        raise Refused("expected a variable of the file")
    item = walk.quantised(walk.file_tensor(op.outputs[0]))
    if name in walk.assigned:
        held = walk.assigned[name]
    else:
        held = walk.reads.setdefault(name, replace(item, name=f"state_{len(walk.reads)}", value=None))
    if not held.is_scaled_as(item) or held.size != item.size:
        raise Refused("expected a variable that is read as it was assigned, or read before, with the same scale")
    walk.builder.tensor(held)
    walk.become(op, held)


def _assign_variable(walk: Context, op: FileOp) -> None:
    """The last one of a run is what the next run begins with, if that reads it."""
    name, item = walk.handles.get(walk.source(op)), walk.input(op, 1)
    if name is None:
        raise Refused("expected a variable of the file")
    walk.assigned[name] = item
    held = walk.reads.get(name)
    if held is None:
        return
    if not held.is_scaled_as(item) or held.size != item.size:
        raise Refused("expected a variable that was read before with the same scale")
    initial = _initial(walk).get(name)
    if initial is None or initial.size != held.size or initial.dtype != AFFINE_TYPES[held.type].dtype:
        raise Refused("expected a variable that CALL_ONCE fills with constants")
    written = walk.written(item, f"state_{op.index}")
    walk.given.add(written.name)
    walk.writes[name] = State(held.name, written.name, np.ascontiguousarray(initial).reshape(-1))


CONVERTERS: dict[str, Converter] = {
    "ASSIGN_VARIABLE": _assign_variable,
    "CALL_ONCE": _call_once,
    "READ_VARIABLE": _read_variable,
    "VAR_HANDLE": _handle,
}
