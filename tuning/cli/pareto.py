# SPDX-License-Identifier: Apache-2.0
"""What ``cmsisnn-tune MODEL --pareto`` prints below the plan."""

from __future__ import annotations

from typing import Final, Literal

from ..base.console import console, make_table
from ..base.options import BYTES, MEMORIES, Memory
from ..base.units import show_size
from ..plan import Plan, Point
from ..plan.frontier import STEP, cycles_within, steps

OTHER: Final[dict[Memory, Memory]] = {"sram": "flash", "flash": "sram"}


def print_pareto(plan: Plan, *, no_color: bool = False) -> None:
    """Both frontiers, the plan's own place on them, and what 4 KiB more or less would do."""
    if plan.pareto is None:
        return
    out = console(no_color)
    for memory, name in MEMORIES.items():
        points = plan.pareto[memory]
        own, others = BYTES[memory], OTHER[memory]
        other, within = MEMORIES[others], plan.budget[others]
        limit = f" within {show_size(within)} of {other}" if within else ""
        out.print(f"\nCycles over {name}{limit}: every plan that no other one beats ({len(points):,})")
        numbers = (
            f"{name} bytes",
            f"{plan.cycles_are} cycles",
            *(("ms",) if plan.target.clock_hz else ()),
            f"{other} bytes",
            "more bytes",
            "save",
            "per KiB",
        )
        table = make_table(*numbers, "", right=numbers, spare=("more bytes",))
        shown = steps(points, memory)
        for step in shown:
            ms = plan.target.milliseconds(step["cycles"])
            saved = step["saved_cycles"]
            table.add_row(
                f"{step[own]:,}",
                f"{step['cycles']:,}",
                *(() if ms is None else (f"{ms:.3f}",)),
                f"{step[BYTES[others]]:,}",
                "" if saved is None else f"{step['more_bytes']:,}",
                "" if saved is None else f"{saved:,}",
                "" if saved is None else f"{step['saved_per_kib']:,.0f}",
                "<- this plan" if _is(step, plan) else "",
            )
        out.print(table)
        if len(shown) < len(points):
            out.print(f"{len(shown)} of {len(points):,} points are shown; plan.json has all of them.")
        fastest = cycles_within(points, memory, plan.totals[own])
        if plan.objective == "latency" and fastest is not None and fastest < plan.totals["cycles"]:
            # See `tuning.measure.firmware`.
            out.print(
                f"This plan is none of them: its layers alone add up to {plan.totals['cycles']:,} cycles, but its "
                "whole firmware is faster."
            )
        out.print(worth(plan, memory))


def _is(point: Point, plan: Plan) -> bool:
    keys: tuple[Literal["cycles", "sram_bytes", "flash_bytes"], ...] = ("cycles", "sram_bytes", "flash_bytes")
    return all(point[key] == plan.totals[key] for key in keys)


def worth(plan: Plan, memory: Memory) -> str:
    """One sentence: what `STEP` bytes more, and less, than the plan has would do to the fastest plan."""
    name, points, own = MEMORIES[memory], plan.pareto[memory] if plan.pareto else [], BYTES[memory]
    if not points:
        return f"No plan fits into the {name} that there is."
    used, budget = plan.totals[own], plan.budget[memory]
    binds = budget is not None and budget < points[-1][own]
    size, have = (budget, "the budget of") if binds and budget else (used, "this plan's")
    here, more, less = (cycles_within(points, memory, size + change) for change in (0, STEP, -STEP))
    assert here is not None
    assert more is not None
    buys = f"save {here - more:,} cycles ({(here - more) / here * 100:.1f} %)" if more < here else "save nothing"
    if more == here == points[-1]["cycles"]:
        buys += ": no plan is faster"
    elif more == here:
        after = next(point for point in points if point["cycles"] < here)
        buys += f": the next step, at {after[own]:,} bytes, saves {here - after['cycles']:,} cycles"
    costs = "are too little for any plan"
    if less is not None:
        costs = f"cost {less - here:,} cycles ({(less - here) / here * 100:.1f} %)" if less > here else "cost nothing"
    step = show_size(STEP)
    return f"{step} of {name} more than {have} {size:,} bytes {buys}. {step} less {costs}."
