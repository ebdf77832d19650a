# SPDX-License-Identifier: Apache-2.0
"""What a plan must fulfil before one line is written. The planner keeps all of it; a plan made by hand may not."""

from __future__ import annotations

from math import prod

from cmsisnn_x.arena import ALIGNMENT
from tuning.base.cflags import cflags_problem
from tuning.base.errors import TuningError
from tuning.base.names import layer_name_problem, model_name_problem
from tuning.plan import LayerPlan, Plan


class EmitError(TuningError):
    """A plan cannot become C."""


def _error(where: str, expected: str, got: object) -> EmitError:
    return EmitError(f"{where}: expected {expected}, got {got}")


def check_plan(plan: Plan) -> None:
    """Raise `EmitError` unless names are usable and every buffer lies where the kernels expect it."""
    if problem := model_name_problem(plan.model):
        raise EmitError(f"model name: {problem}")
    if not plan.layers:
        raise _error(plan.model, "at least one layer", "none")
    _check_names(plan)
    if problem := cflags_problem(plan.cflags):
        raise EmitError(f"cflags: {problem}")
    graph = plan.graph
    for node, item in zip(graph.nodes, plan.layers, strict=True):
        reader = graph.sole_reader(node)
        following = None if reader is None else plan.layers[graph.index(reader)]
        _check_fusion(item, following)
        _check_ends(item, graph.reads_input(node), graph.writes_output(node))
        _check_buffers(item, following, plan.arena_bytes)
        if following is not None:
            _check_link(item, following)
    if plan.layers[0].fused_into is not None:
        raise _error(
            f"layer {plan.layers[0].layer.name}: fused_into", "None in the first layer", plan.layers[0].fused_into
        )


def _check_names(plan: Plan) -> None:
    seen: dict[str, str] = {}
    for item in plan.layers:
        name = item.layer.name
        if problem := layer_name_problem(name, seen):
            raise EmitError(f"layer name: {problem}")
        seen[name.lower()] = name


def _check_fusion(item: LayerPlan, following: LayerPlan | None) -> None:
    name, taken = item.layer.name, following.fused_into if following is not None else None
    if not item.takes_in_next:
        if following is not None and taken is not None:
            expected = f"None, as the variant of {name} has no fused_pool"
            raise _error(f"layer {following.layer.name}: fused_into", expected, taken)
        return
    if item.layer.op != "conv2d" or following is None or following.layer.op not in ("max_pool2d", "avg_pool2d"):
        raise _error(f"layer {name}: variant.fused_pool", "a pooling layer right behind a convolution", "another")
    if taken != name:
        raise _error(f"layer {following.layer.name}: fused_into", f"{name!r}, whose kernel runs it", taken)


def _check_ends(item: LayerPlan, is_first: bool, is_last: bool) -> None:
    name = item.layer.name
    nowhere = {"input": item.fused_into is not None, "output": item.takes_in_next}
    for side, offset, is_caller in (("input", item.input_offset, is_first), ("output", item.output_offset, is_last)):
        if nowhere[side]:
            if offset is not None:
                raise _error(f"layer {name}: {side}_offset", "None, for a tensor that is never stored", offset)
            continue
        if is_caller and offset is not None:
            raise _error(f"layer {name}: {side}_offset", "None, for the caller's buffer", offset)
        if not is_caller and offset is None:
            raise _error(f"layer {name}: {side}_offset", "a place in the arena", "None, the caller's buffer")


def _check_buffers(item: LayerPlan, following: LayerPlan | None, arena_bytes: int) -> None:
    name = item.layer.name
    end = following if item.takes_in_next and following is not None else item
    sizes = {
        "input": (item.input_offset, item.layer.input_bytes),
        "output": (end.output_offset, end.layer.output_bytes),
        "scratch": (item.scratch_offset, item.scratch_bytes),
    }
    if item.scratch_bytes and item.scratch_offset is None:
        raise _error(f"layer {name}: scratch_offset", f"a place for {item.scratch_bytes} bytes", None)
    placed = [(what, at, size) for what, (at, size) in sizes.items() if at is not None and size]
    for what, at, size in placed:
        if at % ALIGNMENT or at < 0 or at + size > arena_bytes:
            place = f"{size} bytes at a multiple of {ALIGNMENT} inside an arena of {arena_bytes}"
            raise _error(f"layer {name}: {what}_offset", place, at)
    for number, (what, at, size) in enumerate(placed):
        for other, other_at, other_size in placed[number + 1 :]:
            overlap = at < other_at + other_size and other_at < at + size
            if overlap and not (what == "input" and other == "output" and is_in_place(item)):
                got = f"{at}..{at + size} and {other_at}..{other_at + other_size}"
                raise _error(f"layer {name}", f"{what} and {other} apart", got)


def _check_link(item: LayerPlan, following: LayerPlan) -> None:
    name, after = item.layer.name, following.layer.name
    if item.output_offset != following.input_offset:
        place = f"{item.output_offset}, where {name} writes"
        raise _error(f"layer {after}: input_offset", place, following.input_offset)
    if prod(item.layer.output_shape) != prod(following.layer.input_shape):
        size = f"{prod(item.layer.output_shape)} elements, the output of {name}"
        raise _error(f"layer {after}: input_shape", size, prod(following.layer.input_shape))
    if item.layer.dtype != following.layer.dtype:
        raise _error(f"layer {after}: dtype", f"{item.layer.dtype}, which {name} gives", following.layer.dtype)


def is_in_place(item: LayerPlan) -> bool:
    """Whether the plan lets the layer overwrite its input."""
    return item.layer.is_in_place and item.input_offset is not None and item.input_offset == item.output_offset
