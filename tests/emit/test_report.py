# SPDX-License-Identifier: Apache-2.0
"""report.html: one self-contained, well-formed page that says what the plan says."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from cmsisnn_x import Variant
from helpers.networks import NETWORKS
from helpers.plans import make_plan, with_layer
from tuning.report import render_report

VOID = {"meta", "rect", "link", "br", "img"}


class Page(HTMLParser):
    """Text, attributes and balance of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.fixture
def plan():
    made = make_plan("separable", NETWORKS["separable"])
    runner_up = {"variant": {"unroll": 8, "block_rows": 1, "block_cols": 1, "im2col_cols": 1}, "cycles": 1250}
    return with_layer(made, 0, runner_up=runner_up)


def test_page_is_balanced_and_needs_nothing_else(plan) -> None:
    text = render_report(plan)
    page = Page(text)
    assert page.open == []
    assert not {"script", "link", "img", "iframe"} & {tag for tag, _ in page.elements}
    assert not re.search(r"https?://|@import|url\(", text)
    assert "prefers-color-scheme: dark" in text
    assert any(tag == "meta" and attributes.get("name") == "viewport" for tag, attributes in page.elements)


def test_page_says_what_the_plan_says(plan) -> None:
    said = " ".join(Page(render_report(plan)).text)
    for item in plan.layers:
        assert item.layer.name in said
        assert f"{item.cycles:,}" in said
        assert f"{item.scratch_bytes:,}" in said
    assert str(Variant()) in said
    assert f"{plan.totals['cycles']:,}" in said
    assert "2.50x" in said  # the hand-made plan's gain over the baseline
    assert "+25.0 % unroll 8, block_rows 1, block_cols 1, im2col_cols 1" in said
    assert f"{plan.layers[0].layer.macs / plan.layers[0].cycles:.3f}" in said


def test_bars_are_to_scale(plan) -> None:
    bars = [a for tag, a in Page(render_report(plan)).elements if tag == "rect" and "var(--c" in str(a.get("fill"))]
    widths = [float(str(bar["width"]).rstrip("%")) for bar in bars]
    # Two terms a layer, 30 % and 70 % of it; the last of seven layers is the longest.
    expected = [share * (i + 1) / 7 for i in range(7) for share in (30, 70)]
    assert widths == pytest.approx(expected, abs=1e-3)


def test_memory_map_shows_every_region_inside_the_arena(plan) -> None:
    elements = Page(render_report(plan)).elements
    blocks = [a for tag, a in elements if tag == "svg" and "y" in a]
    assert len(blocks) == len(plan.regions)
    for block, region in zip(blocks, plan.regions, strict=True):
        left, width = (float(str(block[key]).rstrip("%")) for key in ("x", "width"))
        assert left + width <= 100.001
        assert left == pytest.approx(100 * region.offset / plan.arena_bytes, abs=1e-3)
        assert int(str(block["height"])) == 30 * (region.last - region.first + 1)


def test_a_network_without_arena_and_a_board_with_everything() -> None:
    bare = make_plan("net", NETWORKS["only_relu"])
    assert "Memory over time" not in render_report(bare)
    board = replace(
        bare,
        target=replace(bare.target, clock_hz=216_000_000),
        totals={**bare.totals, "ms": 1.25, "energy_uj": 31.5},
        budget={"sram": 1000, "flash": 2000},
    )
    said = " ".join(Page(render_report(board)).text)
    assert "1.25 ms at 216 MHz" in said
    assert "31.5 µJ" in said
    assert "21 % of 1,000 B" in said


def test_text_is_escaped(plan) -> None:
    hostile = '<script>alert("1")</script>'
    text = render_report(replace(plan, target=replace(plan.target, name=hostile), digests={hostile: hostile}))
    assert hostile not in text
    assert "&lt;script&gt;" in text
