# SPDX-License-Identifier: Apache-2.0
"""SVG drawn by hand: elements, widths of text, and round numbers for axes. Everything that goes in is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from math import ceil, floor, log10

SIZE = 13
"""Pixels of ordinary text in a figure."""
SMALL = 12

# Widths in thousandths of the font size, of a wide sans-serif (DejaVu Sans): other fonts take no more.
_NARROW = dict.fromkeys("ijl|'", 290) | dict.fromkeys("frt.,:;()[]!/ -I", 400)
_WIDE = dict.fromkeys("mwMW%@→", 960) | dict.fromkeys("ABCDEFGHJKLNOPQRSTUVXYZ+=<>±x·", 770)


def text_width(text: str, size: float = SIZE) -> float:
    """Pixels that `text` takes at most, in the fonts that the page asks for."""
    return sum(_NARROW.get(c) or _WIDE.get(c) or 640 for c in text) * size / 1000


def fit(text: str, width: float, size: float = SIZE) -> str:
    """`text`, with an ellipsis for its middle where it is wider than `width` pixels: names differ at their ends."""
    if text_width(text, size) <= width:
        return text
    kept = len(text) - 1
    while kept and text_width(_cut(text, kept), size) > width:
        kept -= 1
    return _cut(text, kept)


def _cut(text: str, kept: int) -> str:
    return f"{text[: kept - kept // 2]}…{text[len(text) - kept // 2 :]}"


def number(value: float) -> str:
    """A coordinate, with two decimals at most."""
    return f"{value:.2f}".rstrip("0").rstrip(".") or "0"


def short(value: float) -> str:
    """A number for an axis: ``0``, ``250``, ``1.5 K``, ``2 M``."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("K", 1e3)):
        if abs(value) >= size:
            return f"{value / size:.4g} {unit}"
    return f"{value:.4g}"


def short_bytes(value: float) -> str:
    """Bytes for an axis: ``512``, ``1.5 KiB``, ``2 MiB``."""
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if abs(value) >= size:
            return f"{value / size:.4g} {unit}"
    return f"{value:.4g}"


def ticks(top: float, most: int = 6, *, bottom: float = 0, binary: bool = False) -> list[float]:
    """Round numbers from `bottom` to `top`: 1, 2 or 5 times a power of ten (of two for `binary`), at most `most`."""
    span = top - bottom
    if not span > 0:
        return [bottom]
    if binary:
        step = 1.0
        while span / step > most - 1:
            step *= 2
    else:
        step = 10.0 ** floor(log10(span / most)) if most else span
        step = next(step * factor for factor in (1, 2, 5, 10, 20) if span / (step * factor) <= most - 1)
    first = ceil(bottom / step - 1e-9)
    return [i * step for i in range(first, floor(top / step + 1e-9) + 1)]


class Canvas:
    """One figure. `name` makes the ids of its title and description, which must be unique in the page.

    Classes are those of the page's style sheet, so that colours follow the reader's scheme. Text is placed by its
    baseline; every label's box is known beforehand through `text_width`.
    """

    def __init__(self, name: str, width: float, height: float, title: str, description: str) -> None:
        self.name, self.width, self.height = name, width, height
        self.title, self.description = title, description
        self._parts: list[str] = []

    def rect(self, x: float, y: float, width: float, height: float, kind: str, tip: str = "", **more: object) -> None:
        self._shape("rect", {"x": x, "y": y, "width": width, "height": height, **more}, kind, tip)

    def line(self, x1: float, y1: float, x2: float, y2: float, kind: str, tip: str = "") -> None:
        self._shape("line", {"x1": x1, "y1": y1, "x2": x2, "y2": y2}, kind, tip)

    def circle(self, x: float, y: float, radius: float, kind: str, tip: str = "") -> None:
        self._shape("circle", {"cx": x, "cy": y, "r": radius}, kind, tip)

    def path(self, points: Sequence[tuple[float, float]], kind: str, tip: str = "") -> None:
        """Straight lines through `points`."""
        steps = " ".join(f"{'L' if i else 'M'}{number(x)} {number(y)}" for i, (x, y) in enumerate(points))
        self._shape("path", {"d": steps}, kind, tip)

    def text(
        self, x: float, y: float, text: str, kind: str = "", *, anchor: str = "start", size: float = SIZE,
        upward: bool = False,
    ) -> None:  # fmt: skip
        """`text` from `x`, to `x` (anchor ``"end"``) or around it (``"middle"``); `upward` turns it about (x, y)."""
        more: dict[str, object] = {"x": x, "y": y, "font-size": size}
        if anchor != "start":
            more["text-anchor"] = anchor
        if upward:
            more["transform"] = f"rotate(-90 {number(x)} {number(y)})"
        self._parts.append(f"<text{_attributes(more, kind)}>{escape(text)}</text>")

    def _shape(self, tag: str, values: dict[str, object], kind: str, tip: str) -> None:
        start = f"<{tag}{_attributes(values, kind)}"
        self._parts.append(f"{start}><title>{escape(tip)}</title></{tag}>" if tip else f"{start}/>")

    def __str__(self) -> str:
        size = f"{number(self.width)} {number(self.height)}"
        return "\n".join(
            (
                f'<svg viewBox="0 0 {size}" width="{number(self.width)}" height="{number(self.height)}" role="img" '
                f'aria-labelledby="{self.name}-title {self.name}-desc">',
                f'<title id="{self.name}-title">{escape(self.title)}</title>',
                f'<desc id="{self.name}-desc">{escape(self.description)}</desc>',
                *self._parts,
                "</svg>",
            )
        )


def _attributes(values: dict[str, object], kind: str) -> str:
    if kind:
        values = {"class": kind, **values}
    return "".join(
        f' {name}="{number(value) if isinstance(value, int | float) else escape(str(value))}"'
        for name, value in values.items()
    )
