# SPDX-License-Identifier: Apache-2.0
"""The report's figures: values in, SVG out. Each is drawn for a width; the page shows the one that fits."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor, log2, log10

from tuning.base.options import BYTES, MEMORIES, Memory
from tuning.check import LEAST_SNR_DB, Check
from tuning.plan import Plan

from .facts import Row, rings_of, term_color
from .ranges import Range
from .svg import SIZE, SMALL, Canvas, fit, short, short_bytes, text_width, ticks

PHONE = 560
"""Figures narrower than this put a row's label above its bar instead of beside it."""
MOST_POINTS = 120
"""Points of a frontier up to which each has a mark and a row."""


class _Bars:
    """Horizontal bars, a row per layer, with a common axis at the bottom."""

    def __init__(
        self, name: str, width: int, rows: Sequence[tuple[str, str]], top: float, title: str, description: str,
        *, bar: int = 16,
    ) -> None:  # fmt: skip
        self.stacked = width < PHONE
        self.step = bar + 30 if self.stacked else bar + 12
        self.bar = bar
        labels = max((text_width(label) for label, _ in rows), default=0)
        values = max((text_width(value, SMALL) for _, value in rows), default=0)
        self.left = 2 if self.stacked else min(labels, 200) + 14
        self.right = width - (6 if self.stacked else values + 16)
        self.top = top or 1.0
        self.bottom = 6 + self.step * len(rows)
        self.canvas = Canvas(name, width, self.bottom + 24, title, description)
        self.rows = rows

    def x(self, value: float) -> float:
        return self.left + (self.right - self.left) * value / self.top

    def axis(self, unit: str = "", values: Sequence[float] | None = None) -> None:
        most = 4 if self.stacked else 9
        marks = ticks(self.top, most) if values is None else values
        for at, value in enumerate(marks):
            x = self.x(value)
            self.canvas.line(x, 2, x, self.bottom, "grid")
            text = short(value) + (unit if at == len(marks) - 1 else "")
            anchor, left = "middle", x
            half = text_width(text, SMALL) / 2
            if x - half < 0:
                anchor, left = "start", 0
            elif x + half > self.canvas.width:
                anchor, left = "end", self.canvas.width
            self.canvas.text(left, self.bottom + 17, text, "soft", anchor=anchor, size=SMALL)

    def labels(self) -> None:
        for at, (label, value) in enumerate(self.rows):
            y = self.y(at)
            if self.stacked:
                room = self.canvas.width - text_width(value, SMALL) - 14
                self.canvas.text(self.left, y - 6, fit(label, room), "ink")
                self.canvas.text(self.canvas.width - 2, y - 6, value, "soft", anchor="end", size=SMALL)
            else:
                middle = y + self.bar / 2 + SIZE * 0.36
                self.canvas.text(self.left - 10, middle, fit(label, 200), "ink", anchor="end")
                self.canvas.text(self.canvas.width - 2, middle, value, "soft", anchor="end", size=SMALL)

    def y(self, at: int) -> float:
        return 6 + self.step * at + (23 if self.stacked else 6)


def cycles_figure(rows: Sequence[Row], terms: Sequence[str], width: int, cycles_are: str) -> Canvas:
    """Cycles of each layer, stacked by term, with the median error of the estimate as a whisker."""
    top = max((row.cycles * (1 + (row.error or 0)) for row in rows), default=0)
    labelled = [
        (row.name, f"in {row.fused_into}" if row.fused_into else f"{row.cycles:,} · {row.share:.1f} %") for row in rows
    ]
    longest = max(rows, key=lambda row: row.cycles)
    figure = _Bars(
        f"cycles-{width}", width, labelled, top, "Cycles by layer, stacked by term",
        f"{len(rows)} layers; {longest.name} takes most, {longest.cycles:,} cycles {cycles_are}.",
    )  # fmt: skip
    figure.axis(" cycles")
    canvas = figure.canvas
    for at, row in enumerate(rows):
        left, y = 0, figure.y(at)
        for term in terms:
            cycles = row.terms.get(term, 0)
            if not cycles:
                continue
            tip = f"{row.name}, {term.replace('_', ' ')}: {cycles:,} cycles"
            start, end = figure.x(left), figure.x(left + cycles)
            canvas.rect(start, y, end - start, figure.bar, f"term c{term_color(term, terms)}", tip)
            left += cycles
        if row.error and row.cycles:
            low, high = figure.x(row.cycles * (1 - row.error)), figure.x(row.cycles * (1 + row.error))
            if high - low >= 3:
                middle, tip = y + figure.bar / 2, f"{row.name}: median error of the estimate {100 * row.error:.0f} %"
                canvas.line(low, middle, high, middle, "halo")
                canvas.line(low, middle, high, middle, "whisker", tip)
                for x in (low, high):
                    canvas.line(x, middle - 5, x, middle + 5, "halo")
                    canvas.line(x, middle - 4, x, middle + 4, "whisker")
    figure.labels()
    return canvas


def gain_figure(rows: Sequence[Row], width: int) -> Canvas:
    """Cycles of the layers that have knobs: with the paper's configuration, and as chosen."""
    shown = [row for row in rows if row.has_knobs]
    top = max((max(row.baseline, row.cycles) for row in shown), default=0)
    figure = _Bars(
        f"gain-{width}", width, [(row.name, f"{row.gain:.2f}x" if row.gain else "") for row in shown], top,
        "Cycles with the paper's configuration and as chosen",
        "; ".join(f"{row.name}: {row.baseline:,} and {row.cycles:,} cycles" for row in shown) + ".",
        bar=14,
    )  # fmt: skip
    figure.axis(" cycles")
    for at, row in enumerate(shown):
        y = figure.y(at)
        before = f"{row.name}: {row.baseline:,} cycles with the paper's configuration"
        figure.canvas.rect(figure.left, y, figure.x(row.baseline) - figure.left, figure.bar, "before", before)
        after = f"{row.name}: {row.cycles:,} cycles as chosen"
        figure.canvas.rect(figure.left, y + 3, figure.x(row.cycles) - figure.left, figure.bar - 6, "c1", after)
    figure.labels()
    return figure.canvas


def rate_figure(rows: Sequence[Row], core_limit: float | None, width: int) -> Canvas:
    """MAC per cycle of each layer against what the multiplier alone would allow."""
    shown = [row for row in rows if row.rate is not None]
    top = max([row.rate or 0 for row in shown] + [row.limit or 0 for row in shown] + [core_limit or 0]) * 1.02
    labelled = [
        (row.name, f"{row.rate:.2f}" + (f" · {100 * (row.rate or 0) / row.limit:.0f} %" if row.limit else ""))
        for row in shown
    ]
    figure = _Bars(
        f"rate-{width}", width, labelled, top, "MAC per cycle by layer, against the multiplier's limit",
        "; ".join(f"{row.name}: {row.rate:.3f}" for row in shown) + " MAC per cycle.",
        bar=14,
    )  # fmt: skip
    figure.axis(" MAC/cycle")
    canvas = figure.canvas
    if core_limit:
        x = figure.x(core_limit)
        canvas.line(x, 2, x, figure.bottom, "roof", f"the core's multiplier: {core_limit:g} MAC per cycle")
    for at, row in enumerate(shown):
        y = figure.y(at)
        tip = f"{row.name}: {row.rate:.3f} MAC per cycle"
        canvas.rect(figure.left, y, figure.x(row.rate or 0) - figure.left, figure.bar, "c1", tip)
        if row.limit:
            x = figure.x(row.limit)
            why = f"{row.name}: the multiplier alone would allow {row.limit:.2f} MAC per cycle"
            canvas.line(x, y - 3, x, y + figure.bar + 3, "limit", why)
    figure.labels()
    return canvas


def _decades(low: float, high: float) -> tuple[float, float]:
    return 10.0 ** floor(log10(low)), 10.0 ** ceil(log10(high))


def roofline_figure(
    rows: Sequence[Row], core_limit: float | None, load_limit: float | None, width: int
) -> Canvas | None:
    """MAC per cycle over MAC per byte, both logarithmic, under the roof of one load per byte and the multiplier."""
    shown = [row for row in rows if row.rate and row.intensity]
    if not shown or not core_limit or not load_limit:
        return None
    low_x, high_x = _decades(min(r.intensity or 1 for r in shown) / 1.5, max(r.intensity or 1 for r in shown) * 1.5)
    rates = [row.rate or 1 for row in shown]
    low_y, high_y = min(*rates, core_limit) / 1.6, max(*rates, core_limit) * 2
    height = 266
    levels = [2.0**power for power in range(ceil(log2(low_y)), floor(log2(high_y)) + 1)]
    left = max(text_width(f"{level:.3g}", SMALL) for level in levels) + 18
    right, top, bottom = width - 12.0, 30.0, height - 44.0

    def x(value: float) -> float:
        return left + (right - left) * log10(value / low_x) / log10(high_x / low_x)

    def y(value: float) -> float:
        return bottom - (bottom - top) * log10(value / low_y) / log10(high_y / low_y)

    canvas = Canvas(
        f"roofline-{width}", width, height, "Roofline: MAC per cycle over MAC per byte",
        f"Roof: {load_limit:g} bytes loaded and {core_limit:g} MAC per cycle. "
        + "; ".join(f"{r.name}: {r.intensity:.1f} MAC per byte, {r.rate:.2f} MAC per cycle" for r in shown) + ".",
    )  # fmt: skip
    power = round(log10(low_x))
    while 10.0**power <= high_x * 1.001:
        at = x(10.0**power)
        canvas.line(at, top, at, bottom, "grid")
        anchor = "end" if at > right - 8 else "middle"
        canvas.text(at, bottom + 17, short(10.0**power), "soft", anchor=anchor, size=SMALL)
        power += 1
    canvas.text((left + right) / 2, height - 6, "MAC per byte of input, output and weights", "soft", anchor="middle", size=SMALL)  # fmt: skip # noqa: E501
    canvas.text(0, 14, "MAC per cycle", "soft", size=SMALL)
    room = 0.0
    for level in levels:
        canvas.line(left, y(level), right, y(level), "grid")
        if not room or room - y(level) >= 18:
            canvas.text(left - 8, y(level) + 4, f"{level:.3g}", "soft", anchor="end", size=SMALL)
            room = y(level)
    knee = core_limit / load_limit
    first = max(low_x, low_y / load_limit)
    roof = [(x(first), y(first * load_limit)), (x(knee), y(core_limit))] if knee > first else [(left, y(core_limit))]
    canvas.path([*roof, (right, y(core_limit))], "roof line")
    taken: list[tuple[float, float, float, float]] = []
    for row in shown:  # no name over a point
        px, py = x(row.intensity or 1), y(row.rate or 1)
        taken.append((px - 6, py - 6, px + 6, py + 6))
    for row in sorted(shown, key=lambda row: -row.cycles):
        px, py = x(row.intensity or 1), y(row.rate or 1)
        tip = f"{row.name}: {row.intensity:.1f} MAC per byte, {row.rate:.3f} MAC per cycle"
        canvas.circle(px, py, 5, "dot", tip)
        size = text_width(row.name, SMALL)
        for anchor, tx, ty in (
            ("start", px + 9, py + 4), ("end", px - 9, py + 4), ("middle", px, py - 10), ("middle", px, py + 19),
            ("start", px + 9, py - 8), ("start", px + 9, py + 17), ("end", px - 9, py - 8), ("end", px - 9, py + 17),
        ):  # fmt: skip
            start = {"start": tx, "end": tx - size, "middle": tx - size / 2}[anchor]
            box = (start, ty - 11, start + size, ty + 3)
            if box[0] < left or box[2] > right or box[1] < 0 or box[3] > bottom:
                continue
            if all(box[2] <= b[0] or b[2] <= box[0] or box[3] <= b[1] or b[3] <= box[1] for b in taken):
                taken.append(box)
                canvas.text(tx, ty, row.name, "ink", anchor=anchor, size=SMALL)
                break
    return canvas


def memory_figure(plan: Plan, rows: Sequence[Row], width: int) -> Canvas:
    """The arena while each layer runs: layers to the right, addresses upwards."""
    names = [row.name for row in rows]
    upright = max(text_width(name, SMALL) for name in names)
    arena = plan.arena_bytes or 1
    marks = ticks(arena, 6, binary=True)
    left = max(text_width(short_bytes(mark), SMALL) for mark in [*marks, arena]) + 16
    column = max((width - left - 4) / len(names), 24.0)
    level = upright + 8 <= column
    plot = 220.0 if width < PHONE else 280.0
    bottom = 10.0 + plot
    total = left + column * len(names) + 4
    peak = max(range(len(rows)), key=lambda at: _live(plan, at))
    canvas = Canvas(
        f"memory-{width}", total, bottom + (24 if level else min(upright, 140) + 16), "Arena over time",
        f"{plan.arena_bytes:,} bytes, most of them in use while {names[peak]} runs: "
        + "; ".join(f"{r.name} {r.bytes:,} bytes at {r.offset:,}" for r in plan.regions) + ".",
    )  # fmt: skip

    rings = rings_of(plan)

    def y(address: float) -> float:
        return bottom - plot * address / arena

    for mark in [*(mark for mark in marks if y(mark) - y(arena) > 16 or mark == 0), arena]:
        canvas.line(left, y(mark), total - 4, y(mark), "edge" if mark in (0, arena) else "grid")
        canvas.text(left - 8, y(mark) + 4, short_bytes(mark), "soft", anchor="end", size=SMALL)
    for region in plan.regions:
        layer, _, kind = region.name.rpartition(".")
        kind = kind if kind in ("scratch", "ring") else "tensor"
        x, wide = left + column * region.first, column * (region.last - region.first + 1)
        high = plot * region.bytes / arena
        span = names[region.first] + (f" to {names[region.last]}" if region.last > region.first else "")
        tip = f"{region.name}: {region.bytes:,} bytes from {region.offset:,} on, during {span}"
        tip += f": {rings[region.name]}" if region.name in rings else ""
        canvas.rect(x + 1, y(region.offset + region.bytes), wide - 2, max(high - 1, 1), f"region {kind}", tip, rx=2)
        text = f"{layer} {kind}" if kind != "tensor" else layer
        middle, center = x + wide / 2, y(region.offset + region.bytes / 2)
        lines = [text, f"{region.bytes:,} B"]
        if kind == "scratch":
            lines[0] = "scratch" if text_width(text, SMALL) > wide - 10 else text
        elif kind == "ring" and text_width(text, SMALL) > wide - 10:
            lines[0] = layer
        if all(text_width(line, SMALL) <= wide - 8 for line in lines) and high >= 34:
            canvas.text(middle, center - 3, lines[0], "on", anchor="middle", size=SMALL)
            canvas.text(middle, center + 13, lines[1], "on", anchor="middle", size=SMALL)
        elif text_width(lines[0], SMALL) <= wide - 8 and high >= 16:
            canvas.text(middle, center + 4, lines[0], "on", anchor="middle", size=SMALL)
    for at, name in enumerate(names):
        x = left + column * (at + 0.5)
        kind = "soft" if rows[at].fused_into else "ink"
        if level:
            canvas.text(x, bottom + 17, name, kind, anchor="middle", size=SMALL)
        else:
            canvas.text(x + 4, bottom + 8, fit(name, 140, SMALL), kind, anchor="end", size=SMALL, upward=True)
    return canvas


def _live(plan: Plan, at: int) -> int:
    return sum(region.bytes for region in plan.regions if region.first <= at <= region.last)


def pareto_figure(plan: Plan, memory: Memory, width: int) -> Canvas | None:
    """Cycles of the best plan for every budget of one memory, and where the chosen plan lies."""
    points = plan.pareto[memory] if plan.pareto else []
    if len(points) < 2:
        return None
    key, label = BYTES[memory], MEMORIES[memory]
    chosen = (plan.totals[key], plan.totals["cycles"])
    budget = plan.budget[memory]
    sizes = [point[key] for point in points] + [chosen[0]]
    cycles = [point["cycles"] for point in points] + [chosen[1]]
    low_x: float = min(sizes)
    high_x: float = max(sizes)
    if budget and budget <= 1.25 * high_x:
        high_x = max(high_x, budget)
    margin = (high_x - low_x) * 0.06 or 1
    low_x, high_x = max(low_x - margin, 0), high_x + margin
    high_y = max(cycles) * 1.08
    height = 260
    marks = ticks(high_y, 6)
    left = max(text_width(short(mark), SMALL) for mark in marks) + 14
    right, top, bottom = width - 14.0, 12.0, height - 44.0

    def x(value: float) -> float:
        return left + (right - left) * (value - low_x) / (high_x - low_x)

    def y(value: float) -> float:
        return bottom - (bottom - top) * value / high_y

    canvas = Canvas(
        f"pareto-{memory}-{width}", width, height, f"Cycles of the best plan over bytes of {label}",
        f"{len(points)} plans that no other beats, from {points[0][key]:,} bytes and {points[0]['cycles']:,} cycles to "
        f"{points[-1][key]:,} bytes and {points[-1]['cycles']:,} cycles. "
        f"Chosen: {chosen[0]:,} bytes, {chosen[1]:,} cycles.",
    )  # fmt: skip
    for mark in marks:
        canvas.line(left, y(mark), right, y(mark), "grid")
        canvas.text(left - 8, y(mark) + 4, short(mark), "soft", anchor="end", size=SMALL)
    for mark in ticks(high_x, 5, bottom=low_x, binary=True):
        canvas.line(x(mark), top, x(mark), bottom, "grid")
        half = text_width(short_bytes(mark), SMALL) / 2
        if left <= x(mark) and x(mark) + half <= width:
            canvas.text(x(mark), bottom + 17, short_bytes(mark), "soft", anchor="middle", size=SMALL)
    canvas.text((left + right) / 2, height - 6, f"{label} bytes", "soft", anchor="middle", size=SMALL)
    if budget and low_x <= budget <= high_x:
        canvas.line(x(budget), top, x(budget), bottom, "budget", f"budget: {budget:,} bytes")
    steps: list[tuple[float, float]] = []
    for point in points:
        at = (x(point[key]), y(point["cycles"]))
        if steps and point is not points[-1] and max(abs(at[0] - steps[-1][0]), abs(at[1] - steps[-1][1])) < 0.75:
            continue  # less than a pixel from the point before
        if steps:
            steps.append((at[0], steps[-1][1]))
        steps.append(at)
    steps.append((right, steps[-1][1]))
    canvas.path(steps, "frontier line")
    for point in points if len(points) <= MOST_POINTS else ():
        tip = f"{point[key]:,} bytes: {point['cycles']:,} cycles"
        canvas.circle(x(point[key]), y(point["cycles"]), 2.5 if len(points) > 40 else 3.5, "frontier", tip)
    px, py = x(chosen[0]), y(chosen[1])
    canvas.circle(px, py, 7, "chosen", f"chosen: {chosen[0]:,} bytes, {chosen[1]:,} cycles")
    # Nothing lies below a frontier, and left of a point it only rises.
    canvas.text(px + 4, min(py + 22, bottom - 4), "chosen", "ink", anchor="end", size=SMALL)
    return canvas


def ranges_figure(ranges: Sequence[Range], width: int) -> Canvas:
    """How much of its integers' range each tensor uses: quartiles and maximum of the magnitude, on a scale of bits."""
    bits = max(r.bits for r in ranges)
    figure = _Bars(
        f"ranges-{width}", width, [(r.name, r.text) for r in ranges], bits - 1,
        "Range that each tensor uses, in bits of magnitude",
        "; ".join(f"{r.name}: largest magnitude {r.largest}, {r.used:.1f} of {r.bits - 1} bits" for r in ranges) + ".",
        bar=12,
    )  # fmt: skip
    figure.axis(" bit", [*range(0, bits, 1 if bits <= 8 else 3)])
    canvas = figure.canvas
    for at, r in enumerate(ranges):
        y = figure.y(at)
        canvas.rect(figure.left, y, figure.x(r.bits - 1) - figure.left, figure.bar, "track")
        low, middle, high = (figure.x(value) for value in r.quartiles)
        end = figure.x(r.used)
        tip = f"{r.name}: largest magnitude {r.largest} of {1 << (r.bits - 1)}; " + r.text
        canvas.rect(figure.left, y + 4, end - figure.left, figure.bar - 8, "span", tip)
        canvas.rect(low, y + 1, max(high - low, 1.5), figure.bar - 2, "c1" if r.kind != "activations" else "c3", tip)
        canvas.line(middle, y + 1, middle, y + figure.bar - 1, "median")
        canvas.line(end, y, end, y + figure.bar, "limit")
    figure.labels()
    return canvas


def snr_figure(check: Check, width: int) -> Canvas | None:
    """Signal-to-noise ratio at each layer, of the network up to it, and of the layer alone as a mark."""
    shown, breaking = [tensor for tensor in check.tensors if tensor.snr_db is not None], check.breaking
    if not shown:
        return None
    top = max([tensor.snr_db or 0 for tensor in shown] + [tensor.own_snr_db or 0 for tensor in shown] + [LEAST_SNR_DB])
    figure = _Bars(
        f"snr-{width}", width, [(t.name, f"{t.snr_db:.1f} dB") for t in shown], top * 1.02,
        "Signal-to-noise ratio by layer",
        "; ".join(f"{t.name}: {t.snr_db:.1f} dB" for t in shown) + ".",
        bar=14,
    )  # fmt: skip
    figure.axis(" dB")
    canvas = figure.canvas
    for at, t in enumerate(shown):
        y, value = figure.y(at), max(t.snr_db or 0, 0)
        tip = f"{t.name}: {t.snr_db:.1f} dB up to here"
        canvas.rect(figure.left, y, figure.x(value) - figure.left, figure.bar, "c0" if t in breaking else "c1", tip)
        if t.own_snr_db is not None:
            x = figure.x(max(t.own_snr_db, 0))
            canvas.line(x, y - 3, x, y + figure.bar + 3, "limit", f"{t.name}: {t.own_snr_db:.1f} dB alone")
    x = figure.x(LEAST_SNR_DB)
    canvas.line(x, 2, x, figure.bottom, "roof", f"below {LEAST_SNR_DB:g} dB a layer counts as broken")
    figure.labels()
    return canvas
