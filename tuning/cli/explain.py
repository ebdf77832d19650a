# SPDX-License-Identifier: Apache-2.0
"""``cmsisnn-tune MODEL --explain LAYER``: an explanation as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..base.console import console, make_table
from ..base.options import MEMORIES
from ..base.units import shape_text
from ..report.explain import Candidate, Explanation, chains_gain, error_bar, words
from .terminal import NARROW

if TYPE_CHECKING:
    from rich.console import Console


def print_explanation(found: Explanation, *, no_color: bool = False, stderr: bool = False) -> None:
    """Where the cycles go, what came second, the neighbours, and what a larger budget would buy."""
    out = console(no_color, stderr=stderr)
    _print_head(out, found)
    if found.item.fused_into:
        out.print(f"It runs inside {found.item.fused_into}, whose cycles are those of both.")
        return
    if found.chain:
        gain = chains_gain(found.plan)
        out.print(f"{found.chain}{f': {gain}' if gain else ''}.")
    _print_terms(out, found)
    if found.chosen is None:
        out.print(f"{found.item.layer.op} has a single kernel: there is nothing to choose.")
        return
    if found.pool:
        both = f"{found.item.layer.name} and {found.pool}"
        out.print(f"\nSome variants also run {found.pool}: from here on, all figures are those of {both} together.")
    _print_runner_up(out, found)
    _print_neighbours(out, found)
    _print_budgets(out, found)


def _print_head(out: Console, found: Explanation) -> None:
    layer, item = found.item.layer, found.item
    window = "x".join(map(str, layer.kernel)) if layer.kernel != (1, 1) else ""
    macs = f", {layer.macs:,} MAC" if layer.macs else ""
    shape = f"{shape_text(layer.input_shape)} -> {shape_text(layer.output_shape)}"
    out.print(f"\n{layer.name}: {layer.op} {window}{' ' if window else ''}{shape} {layer.dtype}{macs}", style="bold")
    known = error_bar(found.plan, item)
    bar = f" (median error {max(known[0] * 100, 1):.0f} %, worst {known[1] * 100:.0f} %)" if known else ""
    speed = f", {layer.macs / item.cycles:.3f} MAC/cycle" if layer.macs and item.cycles else ""
    variant = f"{item.variant}: " if item.variant else ""
    bar += f", {found.pool} included" if item.takes_in_next else ""
    out.print(f"{variant}{item.cycles:,} cycles {found.cycles_are}{bar}{speed}")


def _print_terms(out: Console, found: Explanation) -> None:
    table = make_table("term", "cycles", "share", "per MAC", "what it is", right=("cycles", "share", "per MAC"))
    for term in found.terms:
        per_mac = "-" if term.per_mac is None else f"{term.per_mac:.3f}"
        table.add_row(
            term.name, f"{term.cycles:,}", f"{term.share * 100:.1f} %", per_mac, words(term.name, found.item.layer)
        )
    out.print(table)
    if found.cycles_are == "emulated":
        out.print("The emulated cycles are split as the estimate splits its own.")
    out.print(bottleneck_text(found))


def bottleneck_text(found: Explanation) -> str:
    """The bottleneck in words, and how far the product is from what the core's multiplier can do."""
    if not found.terms:
        return "It takes no cycles of its own."
    top = found.bottleneck
    text = f"Bottleneck: {words(top.name, found.item.layer)}, {top.share * 100:.0f} % of the cycles."
    inner = next((term for term in found.terms if term.name == "multiply_accumulate"), None)
    if found.limit is None or inner is None or inner.per_mac is None:
        return text
    limit = found.limit
    text += f" The multiplier alone takes {limit.per_mac:.3f} cycles/MAC ({limit.why});"
    if inner.per_mac <= limit.per_mac:
        return text + " by this estimate the inner product is at that limit."
    rest = (1 - limit.per_mac / inner.per_mac) * inner.share
    return (
        f"{text} the inner product takes {inner.per_mac:.3f}: loads, unpacking and loop ends are "
        f"{rest * 100:.0f} % of the layer."
    )


def _print_runner_up(out: Console, found: Explanation) -> None:
    other = found.runner_up
    looked = f"{found.considered:,} of {found.legal:,} legal variants"
    if other is None:
        out.print(f"\nNo other variant {'fits' if found.considered > 1 else 'was tried'} ({looked} looked at).")
        return
    title = "Fastest that fits" if other.change < 0 else "Runner-up"
    chosen = found.chosen
    assert chosen is not None
    out.print(f"\n{title}: {other.variant} ({looked} looked at)", style="bold")
    out.print(lost_text(found))
    numbers = ("chosen", "fastest" if other.change < 0 else "runner-up", "difference")
    table = make_table("term", *numbers, right=numbers)
    for name, cycles in chosen.terms.items():
        theirs = other.terms.get(name, 0)
        if cycles or theirs:
            table.add_row(name, f"{cycles:,}", f"{theirs:,}", f"{theirs - cycles:+,}")
    table.add_section()
    for name, mine, theirs in (
        ("cycles", chosen.cycles, other.cycles),
        ("scratch bytes", chosen.scratch_bytes, other.scratch_bytes),
        ("flash bytes", chosen.flash_bytes, other.flash_bytes),
    ):
        table.add_row(name, f"{mine:,}", f"{theirs:,}", f"{theirs - mine:+,}")
    out.print(table)


def lost_text(found: Explanation) -> str:
    """Why the runner-up lost, in one sentence."""
    other, chosen, plan = found.runner_up, found.chosen, found.plan
    assert other is not None
    assert chosen is not None
    more = {
        "SRAM": other.sram_total - plan.totals["sram_bytes"],
        "flash": other.flash_total - plan.totals["flash_bytes"],
    }
    if other.change < 0:
        costs = " and ".join(f"{size:+,} bytes of {name}" for name, size in more.items() if size > 0)
        if plan.objective == "latency":
            return (
                f"It is {-other.change * 100:.1f} % faster alone, but the whole firmware, in which code and arrays lie "
                "elsewhere, is not: there the estimate's choice was faster."
            )
        wants = f"the objective is least {plan.objective}" if plan.objective != "balanced" else "the objective balances"
        return f"It is {-other.change * 100:.1f} % faster, but {wants}: it would cost the network {costs or 'nothing'}."
    if other.cycles == chosen.cycles:
        costs = " and ".join(f"{size:+,} bytes of {name}" for name, size in more.items() if size > 0)
        return f"It is as fast; it lost by {costs}." if costs else "It is as fast and costs the same: either will do."
    gaps = {name: other.terms.get(name, 0) - cycles for name, cycles in chosen.terms.items()}
    worse = sorted((name for name in gaps if gaps[name] > 0), key=lambda name: -gaps[name])[:2]
    better = min(gaps, key=lambda name: gaps[name])
    text = f"It lost by {other.change * 100:.1f} %: {', '.join(f'{gaps[name]:+,} cycles in {name}' for name in worse)}"
    return text + (f", against {gaps[better]:+,} in {better}." if gaps[better] < 0 else ".")


def _print_neighbours(out: Console, found: Explanation) -> None:
    if not found.neighbours:
        return
    out.print("\nOne knob changed", style="bold")
    numbers = ("cycles", "change", "scratch", "flash") if out.width >= NARROW else ("cycles", "change", "flash")
    table = make_table("knob", "value", *numbers, "with it", right=numbers)
    before = ""
    for item in found.neighbours:
        candidate = item.candidate
        knob, before = (item.knob if item.knob != before else ""), item.knob
        notes = ", ".join(f"{name}: {value}" for name, value in item.also.items())
        over = _over_text(candidate)
        row = {
            "cycles": _cycles(found, candidate),
            "change": f"{candidate.change * 100:+.1f} %",
            "scratch": f"{candidate.scratch_bytes:,}",
            "flash": f"{candidate.flash_bytes:,}",
        }
        also = "; ".join(part for part in (notes, over) if part)
        table.add_row(knob, item.value, *(row[name] for name in numbers), also)
    out.print(table)
    if any(found.cycles_are == "emulated" and not item.candidate.emulated for item in found.neighbours):
        out.print("~ was not emulated: the estimate, scaled by what emulation found for the chosen variant.")


def _print_budgets(out: Console, found: Explanation) -> None:
    budget = {name: size for name in MEMORIES if (size := found.plan.budget[name]) is not None}
    if found.unlocked:
        out.print("\nWhat a larger budget would buy", style="bold")
        table = make_table("cycles", "change", "needs", "with", right=("cycles", "change"))
        for item in found.unlocked:
            needs = " and ".join(f"--{name} {budget[name] + more} ({more:,} more)" for name, more in item.over.items())
            changes = ", ".join(f"{name}: {value}" for name, value in item.changes.items())
            table.add_row(_cycles(found, item), f"{item.change * 100:+.1f} %", needs, changes)
        out.print(table)
        out.print("The other layers as they are: with a larger budget they may change as well.")
    elif found.passed_over is None:
        limits = " and ".join(f"{name.upper() if name == 'sram' else name} budget" for name in budget)
        none = f"the {limits} excludes none" if len(budget) == 1 else f"{limits} exclude none"
        out.print(f"\nNo variant that was looked at is faster{f': {none}' if budget else ', with or without budgets'}.")


def _cycles(found: Explanation, candidate: Candidate) -> str:
    mark = "~" if found.cycles_are == "emulated" and not candidate.emulated else ""
    return f"{mark}{candidate.cycles:,}"


def _over_text(candidate: Candidate) -> str:
    names: dict[str, Any] = {"sram": "SRAM", "flash": "flash"}
    return ", ".join(f"{names[name]} over by {more:,}" for name, more in candidate.over.items())
