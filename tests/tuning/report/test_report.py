# SPDX-License-Identifier: Apache-2.0
"""report.html: one self-contained, well-formed page that says what the plan says, legibly."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import combinations, pairwise
from pathlib import Path
from unittest import mock
from xml.etree import ElementTree

import numpy as np
import pytest

import tuning
from cmsisnn_x import Variant
from helpers import int8
from helpers.browser import PROGRAM, Browser
from helpers.networks import NETWORKS, conv, dense, pool
from helpers.plans import chain, make_plan, with_layer
from tuning.check import Check, EmulatedCheck, TensorCheck
from tuning.firmware import render
from tuning.model import graph_model
from tuning.report import render_report
from tuning.report.facts import rows_of
from tuning.report.svg import fit, short, short_bytes, text_width, ticks
from tuning.search import chained
from tuning.target import load_target

VOID = {"meta", "link", "br", "img"}
STYLE = Path(render_report.__code__.co_filename).parent / "templates" / "style.css"


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


def figures(text: str) -> dict[str, ElementTree.Element]:
    """Every figure of a page by the name in its ids, read as XML."""
    found = {}
    for part in re.findall(r"<svg .*?</svg>", text, re.DOTALL):
        svg = ElementTree.fromstring(part)
        title = svg.find("title")
        assert title is not None
        found[title.attrib["id"].removesuffix("-title")] = svg
    return found


def shapes(svg: ElementTree.Element, tag: str, kind: str) -> list[ElementTree.Element]:
    return [e for e in svg.iter(tag) if kind in e.attrib.get("class", "").split()]


def numbers(element: ElementTree.Element, *names: str) -> list[float]:
    return [float(element.attrib[name]) for name in names]


def label_boxes(svg: ElementTree.Element) -> list[tuple[str, tuple[float, float, float, float]]]:
    """Text and box (left, top, right, bottom) of every label, by the widths that the figures reckon with."""
    boxes = []
    for e in svg.iter("text"):
        (x, y), size = numbers(e, "x", "y"), float(e.attrib["font-size"])
        width = text_width(e.text or "", size)
        left = {"start": x, "middle": x - width / 2, "end": x - width}[e.attrib.get("text-anchor", "start")]
        box = (left, y - 0.75 * size, left + width, y + 0.2 * size)
        if "transform" in e.attrib:  # a quarter turn about (x, y): rightwards becomes upwards
            box = (x - 0.75 * size, y - (left + width - x), x + 0.2 * size, y - (left - x))
        boxes.append((e.text or "", box))
    return boxes


RUNNER_UP = {
    "variant": {"unroll": 8, "block_rows": 1, "block_cols": 1, "im2col_cols": 1},
    "cycles": 1250,
    "scratch_bytes": 64,
    "flash_bytes": 12,
}
PARETO = {
    "sram": [{"sram_bytes": 900 + 600 * i, "flash_bytes": 5000, "cycles": 40000 - 12000 * i} for i in range(2)],
    "flash": [{"sram_bytes": 1500, "flash_bytes": 4000 + 10 * i, "cycles": 50000 - 400 * i} for i in range(55)],
}  # fmt: skip


@pytest.fixture
def plan():
    made = make_plan("separable", NETWORKS["separable"])
    made = replace(made, target=load_target("cortex-m4"), pareto=PARETO, budget={"sram": 1600, "flash": None})
    return with_layer(made, 0, runner_up=RUNNER_UP)


def checked(plan, at_layer=0, **changes):
    """`plan` with a check of all its tensors; `changes` are those of one layer."""
    common = {
        "bits": 8,
        "fraction": 5,
        "minimum": -100,
        "maximum": 90,
        "quartiles": (2.0, 3.0, 4.5),
        "elements": 10_000,
    }
    tensors = [TensorCheck("input", "input", saturated=0, snr_db=44.0, max_error=0.01, **common)]
    for at, item in enumerate(plan.layers):
        more = {"saturated": 7 * at, "snr_db": 40.0 - 3 * at, "own_snr_db": 41.5, "max_error": 0.125 * at}
        more |= {"headroom_bits": 12.3, "sure_bits": 8.8, "weights_fraction": 7, "bias_fraction": 6}
        more |= changes if at == at_layer else {}
        tensors.append(TensorCheck(item.layer.name, item.layer.op, **(common | more)))
    found = Check("data.npz", 123, "q7", True, tuple(tensors), 0.98, 0.975, EmulatedCheck(20, 20, 1.0, 1.0))
    return replace(plan, check=found)


def deep_plan():
    """More layers than fit side by side, and the longest names that there are."""
    specs = [conv(4, 3, pad=1, activation="relu", name=f"{'a' * 57}_{at:02d}") for at in range(39)]
    made = make_plan("n" * 63, chain((9, 9, 3), "q7", *specs, pool("max", 2), dense(3), {"op": "softmax"}))
    return replace(made, target=load_target("cortex-m7"))


PLANS = {name: lambda layers=layers, name=name: make_plan(name, layers) for name, layers in NETWORKS.items()}
PLANS["deep"] = deep_plan


# ---------------------------------------------------------------- form


def test_page_is_balanced_and_needs_nothing_else(plan) -> None:
    text = render_report(checked(plan))
    page = Page(text)
    assert page.open == []
    assert not {"script", "link", "img", "iframe", "object"} & {tag for tag, _ in page.elements}
    assert not re.search(r"https?://|@import|url\(|\bon\w+=", text)
    assert "prefers-color-scheme: dark" in text
    assert any(tag == "meta" and attributes.get("name") == "viewport" for tag, attributes in page.elements)
    assert text == render_report(checked(plan))


@pytest.mark.parametrize("name", PLANS)
def test_figures_are_legible(name: str) -> None:
    """Every figure is XML with a title and a description; no label covers another or leaves its figure."""
    text = render_report(PLANS[name]())
    assert Page(text).open == []
    found = figures(text)
    ids = re.findall(r' id="([^"]+)"', text)
    assert len(ids) == len(set(ids)) == 2 * len(found)
    for key, svg in found.items():
        for part in svg.attrib["aria-labelledby"].split():
            assert part in ids
        assert len(svg.findtext("desc") or "") > 10
        *_, width, height = map(float, svg.attrib["viewBox"].split())
        boxes = label_boxes(svg)
        assert boxes, key
        for label, (left, top, right, bottom) in boxes:
            assert left >= -1, (key, label)
            assert top >= -1, (key, label)
            assert right <= width + 1, (key, label)
            assert bottom <= height + 1, (key, label)
        for (one, a), (two, b) in combinations(boxes, 2):
            assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1], (key, one, two)


def test_every_figure_has_a_table(plan) -> None:
    page = render_report(checked(plan))
    sections = re.findall(r"<section>.*?</section>", page, re.DOTALL)
    assert len([s for s in sections if "<svg" in s]) == 7
    for section in sections:
        assert "<svg" not in section or "<table>" in section


def colors(scheme: int) -> dict[str, tuple[float, float, float]]:
    """The style sheet's colours, light (0) or dark (1), as linear light."""
    blocks = re.findall(r":root \{(.*?)\}", STYLE.read_text(encoding="utf-8"), re.DOTALL)
    found = {}
    for name, value in re.findall(r"--([\w-]+): #(\w{6})", blocks[scheme]):
        parts = [int(value[i : i + 2], 16) / 255 for i in (0, 2, 4)]
        found[name] = tuple(p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return found


def contrast(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    low, high = sorted(float(np.dot(c, (0.2126, 0.7152, 0.0722))) for c in (a, b))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", [0, 1])
def test_text_and_marks_stand_out(scheme: int) -> None:
    """WCAG AA: 4.5 for text, 3 for what a figure is read by."""
    color = colors(scheme)
    assert color.keys() == colors(0).keys()
    for text, ground in [("ink", "page"), ("ink", "card"), ("soft", "page"), ("soft", "card"), ("link", "card")]:
        assert contrast(color[text], color[ground]) >= 4.5, (text, ground)
    for text, ground in [("ink", "tensor"), ("ink", "scratch"), ("alarm", "card"), ("good", "card")]:
        assert contrast(color[text], color[ground]) >= 4.5, (text, ground)
    for mark in ("c0", "c1", "c2", "c3", "c4", "tensor-edge", "scratch-edge"):
        assert contrast(color[mark], color["card"]) >= 3, mark


# Machado, Oliveira and Fernandes 2009, severity 1, on linear light: protanopia, deuteranopia, tritanopia.
BLINDNESS = (
    ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
)


def lab(rgb: np.ndarray) -> np.ndarray:
    to_xyz = np.array(((0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505)))
    x, y, z = np.cbrt(np.clip(to_xyz @ np.clip(rgb, 0, 1) / (0.9505, 1, 1.089), 1e-6, None))
    return np.array((116 * y - 16, 500 * (x - y), 200 * (y - z)))


@pytest.mark.parametrize("scheme", [0, 1])
def test_the_terms_colours_differ_for_the_colour_blind(scheme: int) -> None:
    color = [colors(scheme)[f"c{i}"] for i in range(5)]
    for matrix in (np.eye(3), *map(np.array, BLINDNESS)):
        seen = [lab(matrix @ c) for c in color]
        assert min(float(np.linalg.norm(a - b)) for a, b in combinations(seen, 2)) >= 15


# ---------------------------------------------------------------- content


def test_page_says_what_the_plan_says(plan) -> None:
    said = " ".join(Page(render_report(plan)).text)
    for item in plan.layers:
        assert item.layer.name in said
        assert f"{item.cycles:,}" in said
        assert f"{item.scratch_bytes:,}" in said
    assert str(Variant()) in said
    assert f"{plan.totals['cycles']:,}" in said
    assert "2.50x" in said  # the hand-made plan's gain over the baseline
    assert f"{plan.baseline_cycles:,} cycles" in said
    assert "+25.0 %: unroll 8, block_rows 1, block_cols 1, im2col_cols 1" in said
    more = RUNNER_UP["scratch_bytes"] - plan.layers[0].scratch_bytes
    assert f"250 cycles faster; the other takes {more:+,} B scratch" in said
    assert f"{plan.layers[0].layer.macs / plan.layers[0].cycles:.3f}" in said
    for region in plan.regions:
        assert f"{region.offset:,}" in said
    for points in PARETO.values():
        for point in points:
            assert f"{point['cycles']:,}" in said


def test_a_faster_runner_up_is_explained(plan) -> None:
    slower = with_layer(plan, 0, runner_up={**RUNNER_UP, "cycles": 900})
    assert "100 cycles faster would be possible" in render_report(slower)
    assert "over the budget" in render_report(slower)
    free = replace(slower, budget={"sram": None, "flash": None}, objective="flash")
    assert "the objective is least flash" in render_report(free)


@pytest.mark.parametrize("width", [1080, 340])
def test_bars_are_to_scale(plan, width: int) -> None:
    svg = figures(render_report(plan))[f"cycles-{width}"]
    bars = [numbers(e, "x", "width") for e in shapes(svg, "rect", "term")]
    tips = [e.findtext("title") or "" for e in shapes(svg, "rect", "term")]
    assert len(bars) == 2 * len(plan.layers)
    unit = bars[-1][1] / plan.layers[-1].terms["multiply_accumulate"]
    for at, item in enumerate(plan.layers):
        (start, first), (middle, second) = bars[2 * at : 2 * at + 2]
        assert start == bars[0][0]
        assert middle == pytest.approx(start + first, abs=0.011)
        assert first == pytest.approx(unit * item.terms["im2col"], abs=0.02)
        assert second == pytest.approx(unit * item.terms["multiply_accumulate"], abs=0.02)
        assert tips[2 * at] == f"{item.layer.name}, im2col: {item.terms['im2col']:,} cycles"


def test_error_bars_are_those_of_the_model(plan) -> None:
    from tuning.report.explain import error_bar

    svg = figures(render_report(plan))["cycles-1080"]
    whiskers = [e for e in shapes(svg, "line", "whisker") if e.find("title") is not None]
    known = {item.layer.name: error_bar(plan, item) for item in plan.layers}
    scale = [numbers(e, "x", "width") for e in shapes(svg, "rect", "term")][-1][1] / plan.layers[-1].terms["multiply_accumulate"]  # noqa: E501  # fmt: skip
    assert whiskers
    for whisker in whiskers:
        name = (whisker.findtext("title") or "").partition(":")[0]
        (item,) = [item for item in plan.layers if item.layer.name == name]
        low, high = numbers(whisker, "x1", "x2")
        assert high - low == pytest.approx(2 * known[name][0] * item.cycles * scale, abs=0.05)
    emulated = plan
    for at, item in enumerate(plan.layers):
        emulated = with_layer(emulated, at, emulated_cycles=item.cycles)
    assert not shapes(figures(render_report(emulated))["cycles-1080"], "line", "whisker")
    assert "Cycles are emulated" in render_report(emulated)


@pytest.mark.parametrize("factor", [1, 1000])
def test_bounds_of_the_estimate_differ_whatever_the_network_costs(plan, factor: int) -> None:
    for at, item in enumerate(plan.layers):
        terms = {name: part * factor for name, part in item.terms.items()}
        plan = with_layer(plan, at, cycles=item.cycles * factor, terms=terms)
    plan = replace(plan, totals={**plan.totals, "cycles": plan.totals["cycles"] * factor})
    found = re.search(r"would lie between (.+?) and (.+?)\. Hardly", " ".join(Page(render_report(plan)).text))
    assert found
    low, high = (float(text.split()[0]) * {"K": 1e3, "M": 1e6}[text.split()[1]] for text in found.groups())
    assert low < plan.totals["cycles"] < high


@pytest.mark.parametrize("width", [1080, 340])
def test_memory_map_is_to_scale(plan, width: int) -> None:
    svg = figures(render_report(plan))[f"memory-{width}"]
    blocks = [(*numbers(e, "x", "y", "width", "height"), e) for e in shapes(svg, "rect", "region")]
    edges = sorted(numbers(e, "y1")[0] for e in shapes(svg, "line", "edge"))
    per_byte = (edges[1] - edges[0]) / plan.arena_bytes
    assert len(blocks) == len(plan.regions)
    starts = sorted({x for x, *_ in blocks})
    assert len(starts) == len({region.first for region in plan.regions})
    for (_, y, wide, _, element), region in zip(blocks, plan.regions, strict=True):
        assert y == pytest.approx(edges[1] - (region.offset + region.bytes) * per_byte, abs=0.02)
        assert y >= edges[0] - 0.02
        kind = "scratch" if region.name.endswith(".scratch") else "tensor"
        assert kind in element.attrib["class"].split()
        column = (wide + 2) / (region.last - region.first + 1)
        assert column == pytest.approx(
            (blocks[0][2] + 2) / (plan.regions[0].last - plan.regions[0].first + 1), abs=0.02
        )


def test_speed_is_shown_against_the_core(plan) -> None:
    text = render_report(plan)
    assert "The core's multiplier does 2 a cycle" in text
    svg = figures(text)["rate-524"]
    (roof,) = shapes(svg, "line", "roof")
    bars = shapes(svg, "rect", "c1")
    left = numbers(bars[0], "x")[0]
    unit = (numbers(roof, "x1")[0] - left) / 2
    weighted = [item for item in plan.layers if item.layer.macs]
    for bar, item in zip(bars, weighted, strict=True):
        assert numbers(bar, "width")[0] == pytest.approx(unit * item.layer.macs / item.cycles, abs=0.03)
    assert len(shapes(figures(text)["roofline-524"], "circle", "dot")) == len(weighted)
    slow = replace(plan, target=load_target("cortex-m0plus"))
    assert "The core's multiplier does 0.5 a cycle" in render_report(slow)


@pytest.mark.parametrize("width", [1080, 340])
def test_gains_are_to_scale(plan, width: int) -> None:
    svg = figures(render_report(plan))[f"gain-{width}"]
    before, after = shapes(svg, "rect", "before"), shapes(svg, "rect", "c1")
    tuned = [item for item in plan.layers if item.variant]
    unit = numbers(before[-1], "width")[0] / tuned[-1].baseline_cycles
    for was, now, item in zip(before, after, tuned, strict=True):
        assert numbers(was, "width")[0] == pytest.approx(unit * item.baseline_cycles, abs=0.02)
        assert numbers(now, "width")[0] == pytest.approx(unit * item.cycles, abs=0.02)


def test_frontiers_and_the_chosen_plan(plan) -> None:
    found = figures(render_report(plan))
    for memory in ("sram", "flash"):
        svg = found[f"pareto-{memory}-524"]
        assert len(shapes(svg, "circle", "frontier")) == len(PARETO[memory])
        (mark,) = shapes(svg, "circle", "chosen")
        assert f"{plan.totals['cycles']:,} cycles" in (mark.findtext("title") or "")
    assert shapes(found["pareto-sram-524"], "line", "budget")
    assert "pareto-sram-524" not in figures(render_report(replace(plan, pareto=None)))
    many = [{"sram_bytes": 9, "flash_bytes": 4000 + i, "cycles": 90_000 - i} for i in range(1500)]
    long = render_report(replace(plan, pareto={"sram": PARETO["sram"], "flash": many}))
    assert "of 1,500 points; plan.json has all of them" in long
    assert len(long) < 2 * len(render_report(plan))
    (line,) = shapes(figures(long)["pareto-flash-524"], "path", "frontier")
    assert len(line.attrib["d"]) < 30_000


def test_ranges_of_the_weights(plan) -> None:
    svg = figures(render_report(plan))["ranges-1080"]
    said = svg.findtext("desc") or ""
    for item in plan.layers:
        if item.layer.weights is not None:
            largest = int(np.abs(item.layer.weights.astype(int)).max())
            assert f"{item.layer.name} weights: largest magnitude {largest}, {np.log2(largest):.1f} of 7 bits" in said
            assert f"{item.layer.name} output" not in said
    track, box = shapes(svg, "rect", "track")[0], shapes(svg, "rect", "c1")[0]
    left, whole = numbers(track, "x", "width")
    magnitudes = np.sort(np.abs(plan.layers[0].layer.weights[plan.layers[0].layer.weights != 0].astype(int)))
    low, high = (np.log2(magnitudes[(len(magnitudes) - 1) * q // 4]) / 7 * whole + left for q in (1, 3))
    start, wide = numbers(box, "x", "width")
    assert (start, start + wide) == pytest.approx((low, high), abs=0.02)
    with_data = figures(render_report(checked(plan)))["ranges-1080"]
    assert "input: largest magnitude 100, 6.6 of 7 bits" in (with_data.findtext("desc") or "")
    assert "±100 · Q2.5" in [e.text for e in with_data.iter("text")]


def test_a_check_is_shown_with_the_layer_that_breaks(plan) -> None:
    good = render_report(checked(plan))
    assert "No layer breaks on 123 samples of data.npz" in good
    assert "float 98.00 %, q7 97.50 %" in good
    assert "20 of 20 samples" in good
    name = plan.layers[0].layer.name
    bad = render_report(checked(plan, overflows=3))
    assert f"{name} is the first layer that breaks: 3 accumulators exceed 32 bits and wrap" in bad
    last = len(plan.layers) - 1
    svg = figures(render_report(checked(plan, last, snr_db=4.5)))["snr-1080"]
    (red,) = shapes(svg, "rect", "c0")
    assert red.findtext("title") == f"{plan.layers[last].layer.name}: 4.5 dB up to here"
    lost = render_report(checked(plan, snr_db=4.5))
    assert f"{name}: a signal-to-noise ratio of 4.5 dB, below 10, which does not come out" in lost
    assert shapes(figures(lost)["snr-1080"], "rect", "c0") == []
    assert "Float against fixed point" not in render_report(plan)


def test_a_network_without_arena_and_a_board_with_everything() -> None:
    bare = make_plan("net", NETWORKS["only_relu"])
    assert "Memory over time" not in render_report(bare)
    assert "Against the core" not in render_report(bare)
    board = replace(
        bare,
        target=replace(bare.target, clock_hz=216_000_000),
        totals={**bare.totals, "ms": 1.25, "energy_uj": 31.5},
        budget={"sram": 1000, "flash": 2000},
    )
    said = " ".join(Page(render_report(board)).text)
    assert "1.25 ms" in said
    assert "at 216 MHz" in said
    assert "31.5 µJ" in said
    assert "21 % of 1,000 B" in said


def test_text_is_escaped(plan) -> None:
    hostile = '<script>alert("1")</script>&'
    odd = with_layer(plan, 0, layer=replace(plan.layers[0].layer, name=hostile))
    regions = tuple(replace(region, name=f"{hostile}.output") for region in plan.regions)
    text = render_report(
        replace(
            odd, model=hostile, target=replace(plan.target, name=hostile), digests={hostile: hostile}, regions=regions
        )
    )
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert figures(text)  # still XML
    assert hostile in " ".join(Page(text).text)


# ---------------------------------------------------------------- pieces


@pytest.mark.parametrize("top", [0, 1, 3, 7.5, 99, 1_639_438, 2**31])
@pytest.mark.parametrize("most", [2, 4, 9])
def test_ticks_are_few_round_and_inside(top: float, most: int) -> None:
    marks = ticks(top, most)
    assert 1 <= len(marks) <= most
    assert marks[0] == 0
    assert marks[-1] <= top
    steps = {round(b - a, 9) for a, b in pairwise(marks)}
    assert len(steps) <= 1
    assert all(f"{step:e}"[0] in "125" for step in steps)
    assert all(mark % 1024 == 0 for mark in ticks(40_960, 6, binary=True))


def test_numbers_and_labels_are_shortened() -> None:
    assert [short(v) for v in (0, 999, 1500, 2_000_000)] == ["0", "999", "1.5 K", "2 M"]
    assert [short_bytes(v) for v in (0, 512, 1536, 40_960, 3 << 20)] == ["0", "512", "1.5 KiB", "40 KiB", "3 MiB"]
    assert fit("conv1", 200) == "conv1"
    cut = fit("a_very_long_name_of_a_layer", 80)
    assert text_width(cut) <= 80
    assert "a_very_long_name_of_a_layer".startswith(cut.partition("…")[0])
    assert "a_very_long_name_of_a_layer".endswith(cut.partition("…")[2])
    assert fit("abc", 1) == "…"


# ---------------------------------------------------------------- in a browser

OVERLAPS = """(() => {
  const found = [];
  for (const svg of document.querySelectorAll('svg')) {
    if (!svg.getClientRects().length) continue;
    const frame = svg.getBoundingClientRect();
    const labels = [...svg.querySelectorAll('text')].map(e => [e.textContent, e.getBoundingClientRect()]);
    labels.forEach(([text, a], i) => {
      if (a.left < frame.left - 2 || a.right > frame.right + 2) found.push('outside: ' + text);
      labels.slice(0, i).forEach(([other, b]) => {
        if (a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 5 && b.top < a.bottom - 5)
          found.push(text + ' over ' + other);
      });
    });
  }
  return found;
})()"""


@pytest.mark.skipif(PROGRAM is None, reason="no Chromium on PATH: the page's look is only checked by its numbers")
def test_page_fits_a_laptop_and_a_phone(plan, tmp_path: Path) -> None:
    """Nothing scrolls sideways but what is meant to, labels as they are set do not touch, and nothing is loaded."""
    pages = {"common": checked(plan), "deep": deep_plan()}
    for name, made in pages.items():
        (tmp_path / f"{name}.html").write_text(render_report(made), encoding="utf-8")
    with Browser() as browser:
        for name in pages:
            for width, dark in ((1280, False), (390, True)):
                browser.open(tmp_path / f"{name}.html", width, dark=dark)
                assert browser.evaluate("document.documentElement.scrollWidth") <= width
                assert browser.evaluate("innerWidth") == width
                assert browser.evaluate("[...document.querySelectorAll('svg')].filter(s => s.getClientRects().length).length") >= 5  # noqa: E501  # fmt: skip
                assert browser.evaluate(OVERLAPS) == []
                hidden = "(s => s.scrollWidth - s.clientWidth)(document.querySelector('.stacked').parentElement)"
                assert browser.evaluate(hidden) == 0 or width > 390
                ground = browser.evaluate("getComputedStyle(document.body).backgroundColor")
                assert ground == ("rgb(17, 21, 27)" if dark else "rgb(245, 246, 248)")
                asked = [
                    e["params"]["request"]["url"] for e in browser.events if e["method"] == "Network.requestWillBeSent"
                ]
                assert all(url.startswith("file:") for url in asked)
                assert not [e for e in browser.events if e["method"] == "Runtime.exceptionThrown"]


def test_chains_are_shown_and_explained() -> None:
    b = int8.Builder()
    kept = b.conv("stem", b.input("image", (32, 32, 3)), 8, 3, 2)
    x = b.add("join", b.conv("mix", b.conv("rows", kept, 0, 3, depthwise=True), 8, 1), kept)
    model = graph_model("chained", b.graph(b.dense("last", b.pool("shrink", x, 8, 8), 4)), "chained.tflite")
    target = tuning.load_target("cortex-m4")
    shared = tuning.tune(model, target, objective="sram")
    assert [chain.room > 0 for chain in shared.chains.values()] == [True]
    page = render_report(shared)
    said = r"stem\.rings: [\d,]+ bytes from [\d,]+ on, during [^<]+: shared with scratch: stem at most \d+ of \d+ rows"
    assert re.search(said, page)
    with mock.patch.object(chained, "_shared", return_value=[]):
        plan = tuning.tune(model, target, objective="sram")
    assert plan.chains
    rows = rows_of(plan)
    page = render_report(plan)
    rings = [region.name for region in plan.regions if region.name.endswith(".ring")]
    assert rings
    for name in rings:
        assert f">{name}</td>" in page
        assert re.search(rf"{name}: [\d,]+ bytes from [\d,]+ on, during [^<]+: \d+ of \d+ rows, those that", page)
    if any(len([o for o in chain.links if at in o.sources]) > 1 for chain in plan.chains.values() for at in range(9)):
        assert "(a skip: it waits for the last of them)" in page
    for item, row in zip(plan.layers, rows, strict=True):
        assert row.reason.startswith("in a chain: ") == bool(item.band)
        assert row.band == item.band
    first, chain = next(iter(plan.chains.items()))
    assert f"{rows[first].name} to {rows[first + len(chain.own) - 1].name}: a chain, a few rows at a time" in page
    assert "and no row is made twice" in page
    assert "in the arena" in render(plan)["README.md"].split("run a few rows at a time", 1)[1]
    fast = render_report(tuning.tune(model, plan.target))
    assert "in a chain" not in fast
    assert 'class="ring"' not in fast
