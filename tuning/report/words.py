# SPDX-License-Identifier: Apache-2.0
"""The report in sentences: headline figures, what stands out, and how the plan came about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tuning.base.options import BYTES, MEMORIES
from tuning.plan import Plan
from tuning.report.explain import chain_text, chains_gain, network_error_bar

from .facts import Row

TERM_WORDS = {
    "im2col": "bringing the input into place",
    "multiply_accumulate": "the inner product, multiplies and their loads",
    "requantise": "starting, rounding and storing outputs",
    "loop": "loops and calls",
    "memory": "waiting for flash",
}


@dataclass(frozen=True)
class Card:
    """A headline figure; `used` is the share of a budget in per cent, where there is one."""

    what: str
    value: str
    remark: str
    used: float | None = None


def cards(plan: Plan) -> list[Card]:
    """Headline figures."""
    totals = plan.totals
    cycles = totals["cycles"]
    bar = network_error_bar(plan)
    remark = f"± {100 * bar[0]:.0f} % (median error)" if bar else plan.cycles_are
    found = [Card(f"cycles per run, {plan.cycles_are}", f"{cycles:,}", remark)]
    if totals.get("ms") is not None and plan.target.clock_hz:
        found.append(Card("time per run", f"{totals['ms']:.4g} ms", f"at {plan.target.clock_hz / 1e6:g} MHz"))
    if cycles and plan.baseline_cycles:
        found.append(Card("gain", f"{plan.baseline_cycles / cycles:.2f}x", "over the paper's configuration"))
    if cycles and totals["macs"]:
        found.append(Card("MAC per cycle", f"{totals['macs'] / cycles:.2f}", f"{totals['macs']:,} MAC"))
    for memory, what in MEMORIES.items():
        used, budget = totals[BYTES[memory]], plan.budget[memory]
        free = f"{100 * used / budget:.0f} % of {budget:,} B" if budget else "no budget"
        found.append(Card(f"{what} bytes", f"{used:,}", free, 100 * used / budget if budget else None))
    if totals.get("energy_uj") is not None:
        found.append(Card("energy per run", f"{totals['energy_uj']:.4g} µJ", "published run current"))
    return found


def findings(plan: Plan, rows: Sequence[Row]) -> list[str]:
    """What a reader should know before looking at a figure."""
    said = []
    cycles = plan.totals["cycles"]
    if cycles:
        ranked = sorted(rows, key=lambda row: -row.cycles)
        first = ranked[0]
        terms: dict[str, int] = {}
        for row in rows:
            for term, part in row.terms.items():
                terms[term] = terms.get(term, 0) + part
        top = max(terms, key=lambda term: terms[term])
        name = TERM_WORDS.get(top, top.replace("_", " "))
        said.append(
            f"{first.name} takes {first.share:.0f} % of the cycles. Of all cycles, {100 * terms[top] / cycles:.0f} % "
            f"are {name}."
        )
    if cycles and plan.baseline_cycles > cycles and any(row.has_knobs for row in rows):
        said.append(
            f"With the paper's configuration in every layer (2x2 blocks, unroll 1, two im2col columns) the same "
            f"kernels would take {plan.baseline_cycles:,} cycles: {plan.baseline_cycles / cycles:.2f} times as many."
        )
    if plan.arena_bytes:
        live = [sum(r.bytes for r in plan.regions if r.first <= row.index <= r.last) for row in rows]
        at = max(range(len(rows)), key=lambda index: live[index])
        outside = plan.totals["sram_bytes"] - plan.arena_bytes - plan.state_bytes
        states = f", what is remembered between runs {plan.state_bytes:,}" if plan.state_bytes else ""
        parts = ", ".join(f"{r.name.replace('.', ' ')} {r.bytes:,}" for r in plan.regions if r.first <= at <= r.last)
        said.append(
            f"{rows[at].name} decides the arena of {plan.arena_bytes:,} bytes ({parts}). The caller's input and output "
            f"take {outside:,} more{states}."
        )
    if plan.chains:
        texts = "; ".join(chain_text(plan, first) for first in plan.chains)
        gain = f" {gains[0].upper()}{gains[1:]}." if (gains := chains_gain(plan)) else ""
        said.append(
            f"{texts}. Each of these layers makes a few rows, which the next one takes before more are made: of the "
            f"tensors between them only the rows that are still needed lie in memory, in a ring, and no row is made "
            f"twice.{gain}"
        )
    bar = network_error_bar(plan)
    if bar:
        low, high = cycles * (1 - bar[0]), cycles * (1 + bar[0])
        said.append(
            f"Cycles are estimated: if every layer erred to one side by its median error, the sum would lie between "
            f"{_about(low)} and {_about(high)}. Hardly any layer that was held out was more than "
            f"{100 * max(row.worst or 0 for row in rows):.0f} % off; emulated cycles have no such error."
        )
    elif plan.cycles_are == "emulated":
        said.append("Cycles are emulated: instructions counted under emulation and priced by the target's rules.")
    return said


def _about(cycles: float) -> str:
    """Cycles to two decimals of the unit: ``6.57 K``, ``1.25 M``."""
    unit, size = ("M", 1e6) if cycles >= 1e6 else ("K", 1e3)
    return f"{cycles / size:.2f} {unit}" if cycles >= 1e3 else f"{cycles:.0f}"


def origin(plan: Plan) -> list[tuple[str, str]]:
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
