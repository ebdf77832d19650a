# SPDX-License-Identifier: Apache-2.0
"""The plan as one self-contained HTML page: what was chosen and why, what it costs, where the memory goes.

facts.py     per layer: the values that tables and figures show
ranges.py    how much of their integers' range the tensors use
words.py     the summary in sentences
svg.py       elements, widths of text, round numbers for axes
figures.py   values -> SVG, each for a wide page and for a phone; graph_figure.py: networks that are no chain
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from tuning.base.options import MEMORIES
from tuning.check import LEAST_SNR_DB
from tuning.check.result import HEAD, check_rows, check_words
from tuning.plan import Plan
from tuning.plan.frontier import steps

from . import figures
from .facts import AIMS, core_limit, load_limit, rows_of, term_color, term_names
from .graph_figure import graph_figure
from .ranges import ranges_of
from .words import cards, findings, origin

if TYPE_CHECKING:
    import jinja2

    from .svg import Canvas

TEMPLATES = Path(__file__).parent / "templates"
WIDE, HALF, PHONE = 1080, 524, 340
"""Pixels that the figures are drawn for: the page's width, half of it, a phone's."""

MOST_BESIDE = 10
"""Layers up to which bars and roofline stand side by side."""


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
    rows = rows_of(plan)
    terms = term_names(plan)
    roof, loads = core_limit(plan), load_limit(plan)
    ranges = ranges_of(plan)
    check = plan.check
    weighted = sum(row.rate is not None for row in rows)
    beside = HALF if weighted <= MOST_BESIDE else WIDE
    frontiers = {memory: plan.pareto[memory] for memory in MEMORIES} if plan.pareto else {}
    knobs = any(row.has_knobs for row in rows)

    def sized(draw: Callable[[int], Canvas | None], wide: int = WIDE) -> tuple[str, str] | None:
        drawn = [draw(width) for width in (wide, PHONE)]
        return None if drawn[0] is None else (str(drawn[0]), str(drawn[1]))

    drawn = {
        "cycles": sized(lambda w: figures.cycles_figure(rows, terms, w, plan.cycles_are)),
        "gain": sized(lambda w: figures.gain_figure(rows, w)) if knobs else None,
        "rate": sized(lambda w: figures.rate_figure(rows, roof, w), beside) if plan.totals["macs"] else None,
        "roofline": sized(lambda w: figures.roofline_figure(rows, roof, loads, w), beside),
        "graph": sized(lambda w: graph_figure(plan, rows, w)),
        "memory": sized(lambda w: figures.memory_figure(plan, rows, w)) if plan.arena_bytes else None,
        "sram": sized(lambda w: figures.pareto_figure(plan, "sram", w), HALF),
        "flash": sized(lambda w: figures.pareto_figure(plan, "flash", w), HALF),
        "snr": sized(lambda w: figures.snr_figure(check, w)) if check else None,
        "ranges": sized(lambda w: figures.ranges_figure(ranges, w)) if ranges else None,
    }
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            plan=plan,
            rows=rows,
            terms=terms,
            colors=[term_color(term, terms) for term in terms],
            term_totals=[sum(row.terms.get(term, 0) for row in rows) for term in terms],
            ranges=ranges,
            frontiers={memory: steps(points, memory, figures.MOST_POINTS) for memory, points in frontiers.items()},
            figures=drawn,
            cards=cards(plan),
            findings=findings(plan, rows),
            origin=origin(plan),
            beside=beside == HALF,
            aim=AIMS.get(plan.objective, plan.objective),
            core_limit=roof,
            load_limit=loads,
            check_head=HEAD,
            check_rows=[(tensor, row) for tensor, row in zip(check.tensors, check_rows(check), strict=True)]
            if check
            else [],
            check_words=check_words(check) if check else [],
            least_snr=LEAST_SNR_DB,
        )
    )


@cache
def environment() -> jinja2.Environment:
    from ..base import templates

    made = templates.environment(TEMPLATES, escapes=True)
    made.filters["n"] = lambda value: f"{value:,}"
    return made
