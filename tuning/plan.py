# SPDX-License-Identifier: Apache-2.0
"""The plan: one variant per layer, where its tensors live, and what that costs. It is all that emission sees."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from cmsisnn_x._variants import Variant
from cmsisnn_x.layers import Layer

from .target import Target


@dataclass(frozen=True)
class LayerPlan:
    """One layer of a plan. Offsets are bytes into the arena, ``None`` for the caller's buffers; `variant` is ``None`` for operations without knobs."""

    layer: Layer
    variant: Variant | None
    cycles: int
    terms: dict[str, int]
    baseline_cycles: int
    scratch_bytes: int
    flash_bytes: int
    input_offset: int | None
    output_offset: int | None
    scratch_offset: int | None
    runner_up: dict[str, Any] | None


@dataclass(frozen=True)
class Plan:
    """The best configuration of a network on a target, ready to emit."""

    model: str
    dtype: str
    target: Target
    layers: tuple[LayerPlan, ...]
    objective: str
    score: str
    seed: int
    compiler: str
    cflags: tuple[str, ...]
    arena_bytes: int
    totals: dict[str, Any]
    budget: dict[str, int | None]
    digests: dict[str, str] = field(default_factory=dict)
