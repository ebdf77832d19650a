# SPDX-License-Identifier: Apache-2.0
"""The plan as one self-contained HTML page: what was chosen, what it costs, and where the memory goes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from tuning.plan import LayerPlan, Plan

if TYPE_CHECKING:
    import jinja2

TEMPLATES = Path(__file__).parent / "templates"
ROW_PIXELS = 30
"""Height of a layer's row in both charts."""


@dataclass(frozen=True)
class Bar:
    """A piece of a stacked bar, in per cent of the chart's width."""

    term: str
    color: int
    left: float
    width: float
    cycles: int


@dataclass(frozen=True)
class Block:
    """A tensor or scratch buffer in the memory map: per cent across, pixels down."""

    label: str
    title: str
    kind: str
    left: float
    width: float
    top: int
    height: int


@dataclass(frozen=True)
class Row:
    """A layer as the tables and charts show it."""

    name: str
    op: str
    shape: str
    variant: str
    cycles: int
    share: float
    macs_per_cycle: float | None
    scratch_bytes: int
    flash_bytes: int
    gain: float | None
    runner_up: tuple[str, str]
    terms: tuple[int, ...]
    bars: tuple[Bar, ...]


def render_report(plan: Plan) -> str:
    """The page; equal plans give equal text.

    Parameters
    ----------
    plan : Plan

    Returns
    -------
    str
        HTML with inline style and SVG: it needs no network and no script.
    """
    terms = term_names(plan)
    longest = max((item.cycles for item in plan.layers), default=0) or 1
    rows = [_row(plan, item, terms, longest) for item in plan.layers]
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            plan=plan,
            cards=_cards(plan),
            terms=[term.replace("_", " ") for term in terms],
            rows=rows,
            blocks=_blocks(plan),
            term_totals=[sum(row.terms[i] for row in rows) for i in range(len(terms))],
            row_pixels=ROW_PIXELS,
            origin=_origin(plan),
        )
    )


def term_names(plan: Plan) -> list[str]:
    """The terms of the estimate in the order of their first appearance, without those that are zero everywhere."""
    names: dict[str, int] = {}
    for item in plan.layers:
        for term, cycles in item.terms.items():
            names[term] = names.get(term, 0) + cycles
    return [term for term, cycles in names.items() if cycles]


def _row(plan: Plan, item: LayerPlan, terms: list[str], longest: int) -> Row:
    layer = item.layer
    bars = []
    left = 0.0
    for color, term in enumerate(terms):
        cycles = item.terms.get(term, 0)
        width = 100 * cycles / longest
        if cycles:
            bars.append(Bar(term.replace("_", " "), color, left, width, cycles))
        left += width
    total = sum(other.cycles for other in plan.layers) or 1
    return Row(
        name=layer.name,
        op=layer.op,
        shape=f"{_shape(layer.input_shape)} → {_shape(layer.output_shape)}",
        variant=str(item.variant) if item.variant else "",
        cycles=item.cycles,
        share=100 * item.cycles / total,
        macs_per_cycle=layer.macs / item.cycles if layer.macs and item.cycles else None,
        scratch_bytes=item.scratch_bytes,
        flash_bytes=item.flash_bytes,
        gain=item.baseline_cycles / item.cycles if item.variant and item.cycles else None,
        runner_up=_runner_up(item),
        terms=tuple(item.terms.get(term, 0) for term in terms),
        bars=tuple(bars),
    )


def _runner_up(item: LayerPlan) -> tuple[str, str]:
    """What the second best variant would cost in addition, and what it does differently."""
    if not item.runner_up or not item.cycles:
        return "", ""
    more = f"{100 * (item.runner_up['cycles'] / item.cycles - 1):+.1f} %"
    knobs = item.runner_up.get("variant") or {}
    chosen = asdict(item.variant) if item.variant else {}
    return more, ", ".join(f"{name} {value}" for name, value in knobs.items() if chosen.get(name) != value)


def _cards(plan: Plan) -> list[tuple[str, str, str]]:
    """Headline figures: (what, value, remark)."""
    totals = plan.totals
    cycles = totals["cycles"]
    baseline = sum(item.baseline_cycles for item in plan.layers)
    remark = ""
    if totals.get("ms") is not None and plan.target.clock_hz:
        remark = f"{totals['ms']:.4g} ms at {plan.target.clock_hz / 1e6:g} MHz"
    cards = [("cycles per run", f"{cycles:,}", remark)]
    if cycles:
        cards.append(("gain over the baseline", f"{baseline / cycles:.2f}x", "2x2 blocks, unroll 1, 2 columns"))
        cards.append(("MAC per cycle", f"{totals['macs'] / cycles:.3f}", f"{totals['macs']:,} MAC"))
    for what, key in (("SRAM", "sram"), ("flash", "flash")):
        used, budget = totals[f"{key}_bytes"], plan.budget.get(key)
        free = f"{100 * used / budget:.0f} % of {budget:,} B" if budget else "no budget"
        cards.append((f"{what} bytes", f"{used:,}", free))
    if totals.get("energy_uj") is not None:
        cards.append(("energy per run", f"{totals['energy_uj']:.4g} µJ", "from the board's supply figures"))
    return cards


def _blocks(plan: Plan) -> list[Block]:
    """Rectangles of the memory map: address to the right, time downwards."""
    whole = plan.arena_bytes or 1
    blocks = []
    for region in plan.regions:
        name, _, kind = region.name.rpartition(".")
        kind = "scratch" if kind == "scratch" else "tensor"
        last = f" to {region.last + 1}" if region.last > region.first else ""
        blocks.append(
            Block(
                label=f"{name} scratch" if kind == "scratch" else name,
                title=f"{region.name}: {region.bytes:,} bytes from {region.offset:,}, layer {region.first + 1}{last}",
                kind=kind,
                left=100 * region.offset / whole,
                width=100 * region.bytes / whole,
                top=region.first * ROW_PIXELS,
                height=(region.last - region.first + 1) * ROW_PIXELS,
            )
        )
    return blocks


def _origin(plan: Plan) -> list[tuple[str, str]]:
    """How the plan came about, for whoever wants to repeat it."""
    lines = [
        ("target", f"{plan.target.name} ({plan.target.core})"),
        ("objective", plan.objective),
        ("score", plan.score),
        ("search", f"{plan.strategy}, {plan.evaluations:,} evaluations, seed {plan.seed}"),
        ("compiler", " ".join([plan.compiler, *plan.cflags])),
    ]
    lines += [(f"version of {name}", version) for name, version in sorted(plan.versions.items())]
    return lines + [(f"digest of the {name}", digest) for name, digest in sorted(plan.digests.items())]


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


@cache
def environment() -> jinja2.Environment:
    import jinja2

    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=True,
    )
