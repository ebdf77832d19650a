# SPDX-License-Identifier: Apache-2.0
"""Chains: whatever strides, padding, skips and bands, a call finds the rows that it reads where it looks for them."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import numpy as np
import pytest

from cmsisnn_x.chain import MOST_LINKS, Chain, Link, build
from cmsisnn_x.chained import as_they_come, in_place
from cmsisnn_x.errors import CmsisnnError
from cmsisnn_x.layers import Layer
from cmsisnn_x.variant import Variant

ROWS = Variant(lowering="line_buffer", weight_layout="widened", block_rows=1, block_cols=1)


def layer(
    op: str, name: str, height: int, width: int, channels: int, kernel: int = 1, stride: int = 1, above: int = 0
) -> Layer:
    """A layer over rows that pads above by `above`, and below for as many output rows as there are strides."""
    out = (height - 1) // stride + 1
    below = max((out - 1) * stride - above + kernel - height, 0)
    wide = (width - 1) // stride + 1
    return Layer(
        name, op, "q7", (height, width, channels), (out, wide, channels), (kernel, 1), (stride, stride),
        ((above, below), (0, 0)),
    )  # fmt: skip


def drawn(seed: int, *, branches: bool = False) -> list[Link]:
    """A random chain: windows of all kinds, and sums with what was made earlier."""
    rng = Random(seed)
    height, width = rng.randint(5, 40), rng.choice([4, 8])
    links: list[Link] = []
    shape = (height, width, 4)
    for at in range(rng.randint(2, 8)):
        source = None if at == 0 else at - 1
        alike = [i for i, link in enumerate(links[:-1]) if link.layer.output_shape == shape]
        if alike and rng.random() < 0.4:
            own = Layer(f"l{at}", "add", "int8", shape, shape, more_inputs=(shape,))
            links.append(Link(own, None, (source, rng.choice(alike)), rng.randint(1, 6)))
            continue
        op = rng.choice(["conv2d", "depthwise_conv2d", "depthwise_conv2d", "max_pool2d"])
        if branches and source and rng.random() < 0.4:  # beside what reads the same rows
            source = rng.randrange(source)
            shape = links[source].layer.output_shape
        kernel = rng.choice([1, 1, 2, 3, 3, 5])
        stride = rng.choice([1, 1, 1, 2, 3])
        own = layer(op, f"l{at}", *shape, min(kernel, shape[0]), stride, rng.randrange(min(kernel, shape[0])))
        least = rng.choice([1, 1, 2]) if own.output_shape[0] > 4 else 1
        step = rng.choice([least, least, 1, 4 if least == 1 else least])
        band = min(rng.choice([3, 4, 6, 8]) if least == 2 or step == 4 else rng.randint(1, 6), own.output_shape[0])
        links.append(Link(own, ROWS if op != "max_pool2d" else None, (source,), band, least, step))
        shape = own.output_shape
    return links


def walk(chain: Chain) -> None:
    """Run the schedule over a memory that knows of every byte which tensor and row it belongs to."""
    count = len(chain.links)
    memory = np.full((chain.ring_bytes, 2), -1)
    done, first = [0] * count, list(chain.first_rows)
    place: list[tuple[int, int]] = [(0, 0)] * count  # of what was written in place: from where, and from which row
    written = [np.zeros(link.windows.output_height, int) for link in chain.links]

    def where(at: int, row: int) -> slice:
        link, ring = chain.links[at], chain.rings[at]
        if ring is None:
            start, begin = place[at]
            return slice(start + (row - begin) * link.row_bytes, start + (row - begin + 1) * link.row_bytes)
        slot = row - first[at]
        assert 0 <= slot < ring.rows, f"row {row} of {link.layer.name} in a ring of {ring.rows} from {first[at]} on"
        start = ring.offset + slot * link.row_bytes
        return slice(start, start + link.row_bytes)

    for at, rows in chain.schedule:
        if at >= count:
            at -= count
            ring, link = chain.rings[at], chain.links[at]
            assert ring is not None
            own = memory[ring.offset : ring.offset + ring.bytes]
            kept = (done[at] - first[at] - rows) * link.row_bytes
            assert kept >= 0
            own[:kept] = own[rows * link.row_bytes :][:kept].copy()
            own[kept:] = -1
            first[at] += rows
            continue
        link = chain.links[at]
        assert link.least <= rows <= link.band
        begin, end = link.windows.first(done[at]), link.windows.end(done[at] + rows)
        for source in link.sources:
            if source is not None:
                for row in range(begin, end):
                    assert (memory[where(source, row)] == (source, row)).all(), (link.layer.name, source, row)
        if link.in_place:
            source = link.sources[0]
            assert source is not None
            ring = chain.rings[source]
            assert ring is not None
            slot = link.windows.top(done[at]) - first[source]
            assert slot >= 0
            place[at] = ring.offset + slot * chain.links[source].row_bytes, done[at]
        for row in range(done[at], done[at] + rows):
            written[at][row] += 1
            if at < count - 1:
                memory[where(at, row)] = (at, row)
        done[at] += rows
    needed = [end == link.windows.output_height for end, link in zip(done, chain.links, strict=True)]
    assert needed[-1]
    assert all((rows <= 1).all() for rows in written), "a row was made twice"


@pytest.mark.parametrize("seed", range(300))
def test_calls_find_their_rows(seed: int) -> None:
    walk(build(in_place(drawn(seed))))


def windows_of(link: Link, row: int) -> set[int]:
    """The rows that a row of an output comes from."""
    own = link.windows
    return set(range(max(own.top(row), 0), min(own.top(row) + own.kernel, own.height)))


def walk_shared(chain: Chain) -> None:
    """The same where rings share their memory, whose end each call's scratch overwrites."""
    count = len(chain.links)
    memory = np.full((chain.room, 2), -1)
    done, first, base = [0] * count, list(chain.first_rows), [0] * count
    last = [0] * count  # the row that the last call of each began with
    got: dict[tuple[int, int], set[int]] = {}  # rows of the input that each row got

    def where(at: int, row: int) -> slice:
        link = chain.links[at]
        start = base[at] + (row - first[at]) * link.row_bytes
        if link.in_place:
            source, top = link.sources[0], link.windows.top(last[at])
            start = base[source] + (top - first[source]) * chain.links[source].row_bytes
            start += (row - last[at]) * link.row_bytes
        assert 0 <= start <= chain.room - link.row_bytes, f"row {row} of {link.layer.name} lies outside"
        return slice(start, start + link.row_bytes)

    for (at, rows), place in zip(chain.schedule, chain.places, strict=True):
        if at >= count:
            at -= count
            size = chain.links[at].row_bytes
            start, kept = base[at] + rows * size, (done[at] - first[at] - rows) * size
            assert kept >= 0
            assert place % 4 == 0
            memory[place : place + kept] = memory[start : start + kept].copy()
            first[at], base[at] = first[at] + rows, place
            continue
        link = chain.links[at]
        assert link.least <= rows <= link.band
        begin, end = link.windows.first(done[at]), link.windows.end(done[at] + rows)
        memory[chain.scratch_place(link.scratch_bytes) :] = -1
        for source in link.sources:
            for row in range(begin, end) if source is not None else ():
                assert (memory[where(source, row)] == (source, row)).all(), (link.layer.name, source, row)
                maker = chain.links[source]
                assert got[source, row] == windows_of(maker, row), (link.layer.name, source, row)
        last[at] = done[at]
        for row in range(max(done[at] - link.open_rows, 0), done[at] + rows):
            got.setdefault((at, row), set()).update(windows_of(link, row) & set(range(begin, end)))
            if at < count - 1 or chain.holds_output:
                if row < done[at]:
                    assert (memory[where(at, row)] == (at, row)).all(), (link.layer.name, row)
                memory[where(at, row)] = (at, row)
        done[at] += rows
    height = chain.links[-1].windows.output_height
    for row in range(height) if chain.holds_output else ():
        assert (memory[where(count - 1, row)] == (count - 1, row)).all(), row
    assert all(got[count - 1, row] == windows_of(chain.links[-1], row) for row in range(height))
    assert done[-1] == chain.links[-1].windows.output_height


@pytest.mark.parametrize("seed", range(300))
@pytest.mark.parametrize("more", [0, 1000])
def test_rings_share_memory(seed: int, more: int) -> None:
    links = drawn(seed, branches=seed % 2 > 0)
    links = in_place(as_they_come(links) if seed % 4 > 1 else links)
    holds = seed % 3 > 0
    least = build(links, room=0, holds_output=holds)
    walk_shared(build(links, room=least.room + more, holds_output=holds) if more else least)
    if holds:
        assert least.room <= build(links, room=0).room + least.held_bytes
        return
    plain = build(links)
    assert least.room <= plain.bytes_with(plain.scratch_bytes) or seed % 2


def test_some_drawn_chains_write_in_place() -> None:
    found = sum(any(link.in_place for link in in_place(drawn(seed))) for seed in range(300))
    assert found > 15


def test_a_ring_holds_one_window_of_its_reader() -> None:
    conv = layer("conv2d", "conv", 24, 24, 8, 3, 1, 1)
    pool = layer("max_pool2d", "pool", 24, 24, 8, 3, 2, 0)
    chain = build([Link(conv, ROWS, (None,), 4), Link(pool, None, (0,), 2)])
    assert chain.rings[0] is not None
    assert chain.rings[0].rows == (2 - 1) * 2 + 3
    assert chain.calls[1] == {2: 6}
    assert sum(rows * times for rows, times in chain.calls[0].items()) == 24


def test_a_band_of_less_than_a_kernel_makes_is_refused() -> None:
    conv = layer("conv2d", "conv", 25, 24, 8, 3, 1, 1)
    pool = layer("max_pool2d", "pool", 25, 24, 8, 3, 2, 0)
    links = [Link(conv, ROWS, (None,), 2, least=2, step=2), Link(pool, None, (0,), 2)]
    with pytest.raises(CmsisnnError, match="layer 'conv': expected bands of at least 3 rows"):
        build(links)
    build([replace(links[0], band=3), links[1]])


@pytest.mark.parametrize(
    ("height", "band", "least", "step"), [(10, 5, 4, 4), (8, 4, 3, 1), (12, 6, 4, 1), (3, 7, 4, 4), (10, 4, 4, 4)]
)
def test_no_call_makes_less_than_a_kernel_can(height: int, band: int, least: int, step: int) -> None:
    """Bands that divide the height are no help where calls make less than the band."""
    conv, pool = layer("conv2d", "conv", height, 8, 8, 3, 1, 1), layer("max_pool2d", "pool", height, 8, 8, 2)
    with pytest.raises(CmsisnnError, match=f"bands of at least {2 * least - 1} rows"):
        build([Link(conv, ROWS, (None,), band, least, step), Link(pool, None, (0,), 3)])


@pytest.mark.parametrize(("height", "band", "over"), [(24, 4, True), (24, 3, False), (25, 7, False), (25, 4, False)])
def test_pairs_of_rows_are_written_in_place_in_pairs(height: int, band: int, over: bool) -> None:
    """A last row by itself would be made together with the one above it, whose input is gone."""
    wide = layer("conv2d", "wide", height, 8, 4)
    rows = replace(layer("depthwise_conv2d", "rows", height, 8, 4, 3, 1, 1), padding=((1, 1), (0, 0)))
    after = layer("conv2d", "after", height, 8, 4)
    links = [Link(wide, ROWS, (None,), 2), Link(rows, ROWS, (0,), band, 2, 2), Link(after, ROWS, (1,), 4)]
    chain = build(in_place(links))
    assert chain.links[1].in_place == over
    if over:
        assert all(rows % 2 == 0 for rows in chain.calls[1])


def test_a_chain_is_no_longer_than_a_byte_counts() -> None:
    links = [Link(layer("max_pool2d", f"l{at}", 5, 4, 4), None, (at - 1 if at else None,), 1) for at in range(200)]
    schedule = build(links[:MOST_LINKS]).schedule
    assert max(at for at, _ in schedule) < 256
    with pytest.raises(CmsisnnError, match="expected at most 127 layers from here on, got 200"):
        build(links)
