# SPDX-License-Identifier: Apache-2.0
"""What a plan must fulfil before one line is written. The planner keeps all of it; a plan made by hand may not."""

from __future__ import annotations

import re
from math import prod

from tuning.errors import TuningError
from tuning.plan import LayerPlan, Plan

from .cgen import STANDARD_HEADERS, check_identifier

WORD = 4
RESERVED_LAYERS = ("run", "config", "weights")


class EmitError(TuningError):
    """A plan cannot become C."""


def check_plan(plan: Plan) -> None:
    """Raise `EmitError` unless names are usable and every buffer lies where the kernels expect it."""
    try:
        check_identifier(plan.model, "model name")
        for item in plan.layers:
            check_identifier(item.layer.name, "layer name")
    except ValueError as problem:
        raise EmitError(str(problem)) from None
    if plan.model.lower() in STANDARD_HEADERS:
        raise EmitError(f"model name: {plan.model}.h would hide the system header of that name; choose another name")
    if not plan.layers:
        raise EmitError(f"{plan.model}: expected at least one layer, got none")
    _check_names(plan)
    for flag in plan.cflags:
        if not re.fullmatch(r"-[A-Za-z0-9_=.,+-]+", flag):
            raise EmitError(f"cflags: expected compiler flags of letters, digits and _=.,+-, got {flag!r}")
    last = len(plan.layers) - 1
    for index, item in enumerate(plan.layers):
        _check_ends(item, index == 0, index == last)
        _check_buffers(item, plan.arena_bytes)
        if index < last:
            _check_link(item, plan.layers[index + 1])


def _check_names(plan: Plan) -> None:
    seen: dict[str, str] = {}
    for item in plan.layers:
        name = item.layer.name
        if name.lower() in RESERVED_LAYERS:
            raise EmitError(f"layer name: {plan.model}_{name} is taken by the emitted files; choose another name")
        if name.lower() in seen:
            raise EmitError(f"layer name: {seen[name.lower()]!r} and {name!r} give the same macros; choose another name")
        seen[name.lower()] = name


def _check_ends(item: LayerPlan, is_first: bool, is_last: bool) -> None:
    name = item.layer.name
    for side, offset, is_caller in (("input", item.input_offset, is_first), ("output", item.output_offset, is_last)):
        if is_caller and offset is not None:
            raise EmitError(f"layer {name}: expected {side}_offset None, for the caller's buffer, got {offset}")
        if not is_caller and offset is None:
            raise EmitError(f"layer {name}: expected {side}_offset in the arena, got None, the caller's buffer")


def _check_buffers(item: LayerPlan, arena_bytes: int) -> None:
    name = item.layer.name
    sizes = {
        "input": (item.input_offset, item.layer.input_bytes),
        "output": (item.output_offset, item.layer.output_bytes),
        "scratch": (item.scratch_offset, item.scratch_bytes),
    }
    if item.scratch_bytes and item.scratch_offset is None:
        raise EmitError(f"layer {name}: expected scratch_offset for {item.scratch_bytes} bytes, got None")
    placed = [(what, at, size) for what, (at, size) in sizes.items() if at is not None and size]
    for what, at, size in placed:
        if at % WORD or at < 0 or at + size > arena_bytes:
            raise EmitError(
                f"layer {name}: expected {what}_offset a multiple of {WORD} with {size} bytes in an arena of {arena_bytes}, got {at}"
            )
    for number, (what, at, size) in enumerate(placed):
        for other, other_at, other_size in placed[number + 1 :]:
            overlap = at < other_at + other_size and other_at < at + size
            if overlap and not (what == "input" and other == "output" and is_in_place(item)):
                raise EmitError(
                    f"layer {name}: expected {what} and {other} apart, got {at}..{at + size} and {other_at}..{other_at + other_size}"
                )


def _check_link(item: LayerPlan, following: LayerPlan) -> None:
    name, after = item.layer.name, following.layer.name
    if item.output_offset != following.input_offset:
        raise EmitError(
            f"layer {after}: expected input_offset {item.output_offset}, where {name} writes, got {following.input_offset}"
        )
    if prod(item.layer.output_shape) != prod(following.layer.input_shape):
        raise EmitError(
            f"layer {after}: expected {prod(item.layer.output_shape)} input elements, the output of {name}, "
            f"got {prod(following.layer.input_shape)}"
        )
    if item.layer.dtype != following.layer.dtype:
        raise EmitError(f"layer {after}: expected {item.layer.dtype} as {name} gives, got {following.layer.dtype}")


def is_in_place(item: LayerPlan) -> bool:
    """Whether the plan lets the layer overwrite its input."""
    return item.layer.is_in_place and item.input_offset is not None and item.input_offset == item.output_offset
