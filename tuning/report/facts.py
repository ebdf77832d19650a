# SPDX-License-Identifier: Apache-2.0
"""What the report says about each layer, as plain values: tables and figures show the same ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import prod
from typing import Any

from cmsisnn_x.layers import Layer
from tuning.base.units import shape_text
from tuning.cost import TERMS
from tuning.plan import LayerPlan, Plan
from tuning.report.explain import error_bar, multiplier_limit
from tuning.target.cores import CORES

AIMS = {
    "latency": "fewest cycles",
    "sram": "least SRAM",
    "flash": "least flash",
    "balanced": "least product of cycles, SRAM and flash",
}


@dataclass(frozen=True)
class Row:
    """A layer. `error` is the median relative error of the estimate, `limit` the MAC per cycle that the multiplier
    alone would allow, `intensity` MAC per byte of input, output and weights; ``None`` where they mean nothing.
    """

    index: int
    name: str
    op: str
    shape: str
    variant: str
    has_knobs: bool
    cycles: int
    share: float
    error: float | None
    worst: float | None
    baseline: int
    gain: float | None
    macs: int
    rate: float | None
    limit: float | None
    intensity: float | None
    scratch_bytes: int
    flash_bytes: int
    terms: Mapping[str, int]
    runner_up: str
    reason: str
    fused_into: str | None
    band: int = 0


def rows_of(plan: Plan) -> list[Row]:
    """One row per layer, in order of execution."""
    total = sum(item.cycles for item in plan.layers) or 1
    return [_row(plan, index, item, total) for index, item in enumerate(plan.layers)]


def term_names(plan: Plan) -> list[str]:
    """The terms of the estimate that are not zero everywhere, those of the cost model first and in its order."""
    found: dict[str, int] = dict.fromkeys(TERMS, 0)
    for item in plan.layers:
        for term, cycles in item.terms.items():
            found[term] = found.get(term, 0) + cycles
    return [term for term, cycles in found.items() if cycles]


def term_color(term: str, others: Sequence[str]) -> int:
    """Number of the term's colour: the same in every report for the cost model's own terms."""
    return TERMS.index(term) if term in TERMS else len(TERMS) + list(others).index(term) % 3


def _row(plan: Plan, index: int, item: LayerPlan, total: int) -> Row:
    layer = item.layer
    bar = error_bar(plan, item)
    return Row(
        index=index,
        name=layer.name,
        op=layer.op,
        shape=f"{shape_text(layer.input_shape)} → {shape_text(layer.output_shape)}",
        variant=str(item.variant) if item.variant else "",
        has_knobs=item.variant is not None,
        cycles=item.cycles,
        share=100 * item.cycles / total,
        error=bar[0] if bar else None,
        worst=bar[1] if bar else None,
        baseline=item.baseline_cycles,
        gain=item.baseline_cycles / item.cycles if item.variant and item.cycles else None,
        macs=layer.macs,
        rate=layer.macs / item.cycles if layer.macs and item.cycles else None,
        limit=_limit(plan, item),
        intensity=layer.macs / _bytes_touched(layer) if layer.macs else None,
        scratch_bytes=item.scratch_bytes,
        flash_bytes=item.flash_bytes,
        terms=item.terms,
        runner_up=_runner_up(item),
        reason=_reason(plan, item),
        fused_into=item.fused_into,
        band=item.band,
    )


def rings_of(plan: Plan) -> dict[str, str]:
    """What each ring of a chain holds, in words, by the name of its region."""
    found = {}
    for chain in plan.chains.values():
        for at, (link, ring) in enumerate(zip(chain.links, chain.rings, strict=True)):
            if ring is None:
                continue
            readers = [other.layer.name for other in chain.links if at in other.sources]
            skips = " (a skip: it waits for the last of them)" if len(readers) > 1 else ""
            height = link.layer.output_image[0]
            said = f"{ring.rows} of {height} rows, those that {' and '.join(readers)} still need{skips}"
            if not chain.room:
                found[f"{link.layer.name}.ring"] = said
                continue
            name, said = f"{chain.own[0].layer.name}.rings", f"{link.layer.name} at most {said}"
            found[name] = f"{found[name]}; {said}" if name in found else f"shared with scratch: {said}"
    return found


def _limit(plan: Plan, item: LayerPlan) -> float | None:
    if not plan.target.timing or not item.layer.macs:
        return None
    found = multiplier_limit(item.layer, item.variant, plan.target)
    return 1 / found.per_mac if found else None


def core_limit(plan: Plan) -> float | None:
    """MAC per cycle of the core's multiplier on the plain sum of products; ``None`` where the timing is not known."""
    if not plan.target.timing:
        return None
    plain = Layer("limit", "fully_connected", "q7", (1,), (1,))
    found = multiplier_limit(plain, None, plan.target)
    return 1 / found.per_mac if found else None


def load_limit(plan: Plan) -> float | None:
    """Bytes per cycle that the core loads at best, a word or a vector at a time."""
    timing, vector = plan.target.timing, CORES[plan.target.core].vector_cycles
    if not timing:
        return None
    if vector:
        return 16 / vector
    return 4 * min(timing["issue_width"], 1) / timing["load_next"]


def _bytes_touched(layer: Layer) -> int:
    """Bytes that must move even if each is touched once: input, output, weights, bias."""
    size = layer.weights_type.dtype.itemsize
    weights = sum(prod(array.shape) for array in (layer.weights, layer.bias) if array is not None)
    return layer.input_bytes + layer.output_bytes + weights * size


def _changes(item: LayerPlan) -> str:
    knobs = (item.runner_up["variant"] if item.runner_up else None) or {}
    chosen = asdict(item.variant) if item.variant else {}
    return ", ".join(_spell(name, value) for name, value in knobs.items() if chosen.get(name) != value)


def _spell(knob: str, value: Any) -> str:
    if isinstance(value, bool):
        return knob if value else f"no {knob}"
    return f"{knob} {value}"


def _runner_up(item: LayerPlan) -> str:
    """What the fastest other variant would cost in addition, and what it does differently."""
    if not item.runner_up or not item.cycles:
        return ""
    changes = _changes(item)
    return f"{100 * (item.runner_up['cycles'] / item.cycles - 1):+.1f} %" + (f": {changes}" if changes else "")


def _reason(plan: Plan, item: LayerPlan) -> str:
    """Why the chosen variant and not the runner-up, in one sentence."""
    if item.band:
        count = f"{item.band} row{'s' * (item.band > 1)} at a time"
        return f"in a chain: {count}; {_reason(plan, replace(item, band=0))}"
    if item.fused_into:
        return f"runs inside {item.fused_into}"
    if item.variant is None:
        return "the operation has a single kernel"
    if not item.runner_up:
        return "no other variant was looked at"
    other, knobs = item.runner_up, item.runner_up["variant"] or {}
    cycles = other["cycles"] - item.cycles
    scratch = other["scratch_bytes"] - item.scratch_bytes
    flash = other["flash_bytes"] - item.flash_bytes
    between = 0
    if item.variant.fused_pool != knobs.get("fused_pool", item.variant.fused_pool):
        # The tensor between convolution and pooling exists only where they are apart.
        between = item.layer.output_bytes if item.variant.fused_pool else -item.layer.output_bytes
    parts = ((scratch, "scratch"), (between, "tensor"), (flash, "flash"))
    price = ", ".join(f"{size:+,} B {what}" for size, what in parts if size) or "the same memory"
    if cycles < 0:
        because = (
            "over the budget"
            if any(plan.budget.values())
            else f"the objective is {AIMS.get(plan.objective, plan.objective)}"
        )
        return f"{-cycles:,} cycles faster would be possible with {price}: {because}"
    if cycles == 0:
        return f"equally fast; the other takes {price}"
    return f"{cycles:,} cycles faster; the other takes {price}"
