# SPDX-License-Identifier: Apache-2.0
"""Chains: layers that run a few rows at a time, so that the images between them never lie in memory as a whole.

Each tensor inside a chain is a ring: the rows that some reader still needs, one behind the other, moved to the front
where there is no more room behind them. Nothing is computed twice. Which layer makes how many rows when is decided
here, once: the `schedule` is a table that the firmware walks.

A layer runs when the one behind it lacks rows, and makes as many as that lacks, at most its band: so a ring holds one
window of its reader's band and no more, whatever strides and padding do to where windows begin.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod

from .bands import banded
from .buffers import ALIGNMENT, aligned, layer_scratch_bytes
from .errors import CmsisnnError
from .graph import Tensor
from .layers import Layer
from .shared_rings import Call, Move, least_bytes, placed
from .variant import Variant
from .windows import FEED, Windows

MOST_ROWS = 255
"""Of one call: a byte of the schedule."""
MOST_LINKS = 127
"""Of a chain: each, and the move in its ring, is a byte of the schedule."""
WAYS = 8
"""To lay rows where rings share their memory that are followed: more moved no fewer bytes in what was tried."""
MOST_ROOM = 4 * 65535
"""Of rings that share their memory: a place in it is two bytes of the schedule, in words."""


@dataclass(frozen=True)
class Ring:
    """Rows of a tensor inside a chain: `rows` of them have room, from `offset` on in the memory of the chain."""

    rows: int
    row_bytes: int
    offset: int = 0

    @property
    def bytes(self) -> int:
        return self.rows * self.row_bytes


@dataclass(frozen=True, eq=False)
class Link:
    """A layer of a chain.

    Attributes
    ----------
    layer : Layer
        Over rows: of an element-wise layer, ``(h, 1, n / h)``.
    variant : Variant or None
    sources : tuple of (int or None)
        Per input the link whose output it is; None for a tensor that lies outside of the chain as a whole.
    band : int
        Rows that a call makes at most.
    least : int
        And at least.
    step : int
        Rows that it makes without waste: it makes multiples of them while there are enough.
    in_place : bool
        Whether its rows go over rows of its input that nobody needs any more: output row y over input row
        ``y * stride - above``. The link that reads them has taken all rows of a call before the next.
    open_rows : int
        Rows of its output that it made and are not finished before the next are: it takes rows of its input as they
        come, and none of them once more. 0: those that it makes are.
    """

    layer: Layer
    variant: Variant | None
    sources: tuple[int | None, ...]
    band: int
    least: int = 1
    step: int = 1
    in_place: bool = False
    open_rows: int = 0

    @classmethod
    def feed(cls, tensor: Tensor, height: int, name: str = "input") -> Link:
        """What makes the rows of an input that comes row by row: the caller."""
        shape = (height, 1, prod(tensor.shape) // height)
        return cls(Layer(name, FEED, tensor.type.name, shape, shape), None, (), 1)

    @property
    def is_feed(self) -> bool:
        """Whether the caller makes its rows."""
        return self.layer.op == FEED

    @cached_property
    def windows(self) -> Windows:
        own = Windows.of(self.layer)
        return replace(own, as_they_come=True) if self.open_rows else own

    def finished(self, done: int) -> int:
        """Rows of its output that are what they will be, of `done`."""
        return done if done == self.windows.output_height else max(done - self.open_rows, 0)

    def made_for(self, rows: int) -> int:
        """Rows that it has to make before so many are finished."""
        return min(rows + self.open_rows, self.windows.output_height) if rows else 0

    @property
    def row_bytes(self) -> int:
        """Of its output."""
        return self.layer.output_bytes // self.layer.output_image[0]

    def input_row_bytes(self, index: int) -> int:
        return prod(self.layer.input_shapes[index]) * self.layer.type.bits // 8 // self.layer.image[0]

    @cached_property
    def of_band(self) -> Layer:
        """What one call computes, as a layer."""
        return banded(self.layer, self.band)

    @property
    def sums(self) -> bool:
        """Whether it adds up all rows of its input, for a single row of output."""
        return not self.is_feed and self.layer.row.sums_rows(self.layer)

    @property
    def sum_bytes(self) -> int:
        """Of these sums."""
        return self.row_bytes * (32 // self.layer.output_type.bits) if self.sums else 0

    @property
    def scratch_bytes(self) -> int:
        return 0 if self.variant is None else layer_scratch_bytes(self.of_band, self.variant)

    def count(self, done: int, wanted: int) -> int:
        """Rows of the call behind `done` rows, where `wanted` are missing."""
        left = self.windows.output_height - done
        steps = -(-max(wanted, self.least) // self.step) * self.step
        most = self.band // self.step * self.step or self.band
        rows = min(max(min(steps, most), self.least), left)
        if 0 < left - rows < self.least:
            rows = left if left <= self.band else left - self.least
        return rows


@dataclass(frozen=True, eq=False)
class Chain:
    """Layers that run band by band, in the order of their nodes; the last makes what the chain makes.

    Attributes
    ----------
    links : tuple of Link
        Where the caller feeds rows, each input of which he does comes first.
    rings : tuple of (Ring or None)
        Of the output of each; None for the last, and for those that write in place. The last has one where it adds rows
        up: its sums, of 32 bits.
    schedule : tuple of (int, int)
        ``(link, rows)``: a call; ``(links + link, rows)``: so many rows of its output's ring are dropped, and those
        behind them moved to its front.
    fed : tuple of str
        The network's inputs whose rows the caller feeds, in the order of their links.
    room : int
        Bytes that rings and scratch share, which lies at their end; 0: each ring has a place of its own, scratch behind
        them.
    holds_output : bool
        Whether with `room` what it makes lies there too, at its start, and grows.
    places : tuple of int
        With `room` per entry of the schedule where in it the rows that are moved go, else empty.
    """

    links: tuple[Link, ...]
    rings: tuple[Ring | None, ...]
    schedule: tuple[tuple[int, int], ...]
    fed: tuple[str, ...] = ()
    room: int = 0
    places: tuple[int, ...] = ()
    holds_output: bool = False

    @property
    def feeds(self) -> int:
        """Links in front of those of layers."""
        return len(self.fed)

    @property
    def own(self) -> tuple[Link, ...]:
        """The links of layers, in the order of their nodes."""
        return self.links[self.feeds :]

    @property
    def own_rings(self) -> tuple[Ring | None, ...]:
        """The rings of their outputs."""
        return self.rings[self.feeds :]

    @property
    def ring_bytes(self) -> int:
        """Of all rings, each from a word boundary on."""
        return sum(aligned(ring.bytes) for ring in self.rings if ring is not None)

    @property
    def scratch_bytes(self) -> int:
        """Of the neediest layer: they run one after the other."""
        return max(link.scratch_bytes for link in self.links)

    @property
    def held_bytes(self) -> int:
        """Of what it makes, where that lies in the room."""
        return aligned(self.links[-1].layer.output_bytes) if self.holds_output else 0

    def bytes_with(self, scratch: int) -> int:
        """What the chain takes where its layers need at most so much scratch."""
        return self.room or self.ring_bytes + scratch

    def scratch_place(self, scratch: int) -> int:
        """Where in that the scratch of a layer lies that needs so much."""
        return self.room - aligned(scratch) if self.room else self.ring_bytes

    def of(self, variants: Sequence[Variant | None]) -> Chain:
        """The same chain with other variants, which make as many rows at a time."""
        own = (replace(link, variant=variant) for link, variant in zip(self.own, variants, strict=True))
        return replace(self, links=(*self.links[: self.feeds], *own))

    @cached_property
    def calls(self) -> tuple[Counter[int], ...]:
        """Per link how many calls make how many rows."""
        found: list[Counter[int]] = [Counter() for _ in self.links]
        for at, rows in self.schedule:
            if at < len(self.links):
                found[at][rows] += 1
        return tuple(found)

    @cached_property
    def first_rows(self) -> tuple[int, ...]:
        """Per link the row of its output that lies first in its ring in the beginning: 0, or less where padding is
        overwritten.
        """
        readers = readers_of(self.links)
        return tuple(_needed(self.links, readers, [0] * len(self.links), at) for at in range(len(self.links)))

    @cached_property
    def moved_bytes(self) -> tuple[int, ...]:
        """Per link the bytes that are moved inside the ring of its output."""
        found = [0] * len(self.links)
        for at, _, kept in self.moves():
            ring = self.rings[at]
            assert ring is not None
            found[at] += kept * ring.row_bytes
        return tuple(found)

    def moves(self) -> list[tuple[int, int, int]]:
        """Link, rows dropped from its ring, and rows that are then moved."""
        count, found = len(self.links), []
        first, end = list(self.first_rows), [0] * count
        for at, rows in self.schedule:
            if at < count:
                end[at] += rows
            else:
                first[at - count] += rows
                found.append((at - count, rows, end[at - count] - first[at - count]))
        return found


def has_calls(height: int, band: int, least: int) -> bool:
    """Whether calls of at least `least` and at most `band` rows make `height` rows, however many each is asked for:
    what is left over has to suffice for a call too, unless all calls make the same.
    """
    if not 1 <= least <= band <= MOST_ROWS:
        return False
    return (band >= 2 * least - 1 and height >= least) or (band == least and height % band == 0)


def build(
    links: Sequence[Link],
    fed: Sequence[str] = (),
    room: int | None = None,
    *,
    holds_output: bool = False,
    ways: int = WAYS,
) -> Chain:
    """The chain of these layers: when each runs, and how large its ring is. The first links make the rows of the inputs
    `fed`. With `room` rings and scratch share so many bytes, with `holds_output` what the chain makes too; 0: as few as
    can be. `ways` as `placed` has them.

    Raises
    ------
    CmsisnnError
        A layer cannot make its rows in calls of at least `least` and at most `band`, there are too many layers, too
        little room, or rings share theirs though rows are fed.
    """
    if len(links) > MOST_LINKS:
        raise CmsisnnError(
            f"chain: layer {links[0].layer.name!r}: expected at most {MOST_LINKS} layers from here on, got {len(links)}"
        )
    for link in links:
        if not has_calls(link.windows.output_height, link.band, link.least):
            raise CmsisnnError(
                f"chain: layer {link.layer.name!r}: expected bands of at least {2 * link.least - 1} rows and at most "
                f"{MOST_ROWS}, got {link.band}"
            )
    if room is not None and fed:
        name = links[0].layer.name
        raise CmsisnnError(f"chain: layer {name!r}: expected rings of their own where rows are fed, got room {room}")
    if room is not None:
        return _sharing(links, room, holds_output and not links[-1].sums, ways)
    calls, most = _calls(links)
    rings: list[Ring | None] = []
    offset = 0
    for rows, link in zip(most, links, strict=True):
        count = link.sum_bytes // link.row_bytes if link is links[-1] else 0 if link.in_place else rows
        rings.append(Ring(count, link.row_bytes, offset) if count else None)
        offset += aligned(count * link.row_bytes)
    return Chain(tuple(links), tuple(rings), tuple(_with_moves(links, calls, most)), tuple(fed))


def _sharing(links: Sequence[Link], room: int, holds_output: bool, ways: int) -> Chain:
    """A chain whose rings and scratch share their memory, as sums do of rows that are added up."""
    count, sums = len(links), aligned(links[-1].sum_bytes)
    scratch = [link.scratch_bytes for link in links]
    row_bytes = [0 if link is links[-1] or link.in_place else link.row_bytes for link in links]
    output = links[-1].row_bytes if holds_output else 0
    waiting: frozenset[int] = frozenset()
    calls, most = _calls(links, waiting)
    steps = _with_held(links, calls)
    least, neediest = least_bytes(steps, row_bytes, scratch, sums, output)
    while neediest not in waiting:  # what it reads may wait for it better than it for that
        calls_then, most_then = _calls(links, waiting | {neediest})
        steps_then = _with_held(links, calls_then)
        least_then, neediest_then = least_bytes(steps_then, row_bytes, scratch, sums, output)
        if least_then >= least:
            break
        waiting |= {neediest}
        most, steps, least, neediest = most_then, steps_then, least_then, neediest_then
    if not least <= (room or least) <= MOST_ROOM or room % ALIGNMENT:
        legal = f"a multiple of {ALIGNMENT} from {least} to {MOST_ROOM} bytes"
        raise CmsisnnError(f"chain: layer {links[0].layer.name!r}: expected rings and scratch in {legal}, got {room}")
    schedule, places = [], []
    for step in placed(steps, row_bytes, scratch, room or least, sums, output, ways=ways):
        schedule.append((count + step.link, step.dropped) if isinstance(step, Move) else step)
        places.append(step.place if isinstance(step, Move) else 0)
    rings = [Ring(rows, size) if size else None for rows, size in zip(most, row_bytes, strict=True)]
    if sums:
        rings[-1] = Ring(links[-1].sum_bytes // links[-1].row_bytes, links[-1].row_bytes)
    made = room or least
    return Chain(tuple(links), tuple(rings), tuple(schedule), (), made, tuple(places), holds_output)


def _with_held(links: Sequence[Link], calls: Sequence[tuple[int, int]]) -> list[Call]:
    """Calls with the first row of each ring that has to stay."""
    readers, count = readers_of(links), len(links)
    done, last, found = [0] * count, [0] * count, []
    held = [_held_from(links, readers, done, last, link) for link in range(count)]
    # What a call of a link may let go: its own rows, those that it reads, and those that it reads through another that
    # wrote over them.
    touched = [{at, *(source for source in link.sources if source is not None)} for at, link in enumerate(links)]
    touched = [own.union(*(touched[one] for one in own if links[one].in_place)) for own in touched]
    for at, rows in calls:
        found.append((at, rows, tuple(held)))
        last[at] = done[at]
        done[at] += rows
        for link in touched[at]:
            held[link] = _held_from(links, readers, done, last, link)
    return found


def _held_from(
    links: Sequence[Link], readers: Sequence[Sequence[int]], done: Sequence[int], last: Sequence[int], at: int
) -> int:
    """The first row that has to stay in the ring of a link: its own, or where rows lie that the last call of another
    wrote over it.
    """
    own = _needed(links, readers, done, at)
    for reader in readers[at]:
        link = links[reader]
        if link.in_place and (unread := _needed(links, readers, done, reader)) < done[reader]:
            behind = (unread - last[reader]) * link.row_bytes // links[at].row_bytes
            own = min(own, link.windows.top(last[reader]) + behind)
    return own if done[at] == 0 else min(own, done[at])


def readers_of(links: Sequence[Link]) -> list[list[int]]:
    """Per link the links that read its output."""
    found: list[list[int]] = [[] for _ in links]
    for at, link in enumerate(links):
        for source in dict.fromkeys(link.sources):
            if source is not None:
                found[source].append(at)
    return found


def _needed(links: Sequence[Link], readers: Sequence[Sequence[int]], done: Sequence[int], at: int) -> int:
    """The first row of the output of a link that a call to come reads; of one that is overwritten, or would if it were
    not padding.
    """
    found = []
    for reader in readers[at]:
        own = links[reader].windows
        over = links[reader].in_place and done[reader] < own.output_height
        found.append(own.top(done[reader]) if over else own.first(done[reader]))
    if links[at].open_rows:
        found.append(links[at].finished(done[at]))
    return min(found, default=0)


def _thin(links: Sequence[Link], readers: Sequence[Sequence[int]]) -> list[int]:
    """Links beside others that read the same rows, and make less of them, row by row: a skip that they are on is
    shorter where they run as soon as they can.
    """
    found = []
    for at, link in enumerate(links[:-1]):
        source = link.sources[0] if len(link.sources) == 1 else None
        if source is None or len(readers[source]) < 2 or link.in_place or links[source].in_place:
            continue
        own, by_row = link.windows, link.least == link.step == 1
        if by_row and own.kernel <= own.stride and link.row_bytes < own.stride * links[source].row_bytes:
            found.append(at)
    return found


def _calls(
    links: Sequence[Link], waiting: frozenset[int] | None = None
) -> tuple[list[tuple[int, int]], list[int]]:
    """The calls in order, and per link the most rows of its output that are held at a time.

    Where rings share their memory `waiting` has the links whose last call but one waits for all rows that they read:
    then what makes these holds nothing any more. Thin links run there as soon as they can.
    """
    readers = readers_of(links)
    thin = [] if waiting is None else _thin(links, readers)
    done, most = [0] * len(links), [0] * len(links)
    calls: list[tuple[int, int]] = []

    def make(at: int, upto: int) -> None:
        link = links[at]
        over = next((source for source in link.sources if source is not None and links[source].in_place), None)
        while done[at] < upto:
            rows = link.count(done[at], upto - done[at])
            if over is not None:  # all rows that lie there, before others come to lie there
                if done[over] == link.windows.end(done[at]):
                    lacking = link.windows.end(done[at] + rows) - done[over]
                    make(over, done[over] + links[over].count(done[over], lacking))
                rows = min(rows, link.windows.rows(done[over]) - done[at])
            before, reading = done[at], done[at] + rows
            # What was written in place is read before the next call writes there.
            if waiting and at in waiting and over is None and link.windows.output_height - reading <= link.band:
                reading = link.windows.output_height
            for source in link.sources:
                if source is not None:
                    make(source, links[source].made_for(link.windows.end(reading)))
            if link.open_rows and link.least == 1 and over is None:  # all that is there, which then goes
                (source,) = link.sources
                there = link.windows.height if source is None else links[source].finished(done[source])
                rows = min(max(rows, link.windows.rows(there) - done[at]), link.band)
            if done[at] != before:  # it ran as soon as it could
                continue
            run(at, rows)
            for early in thin:
                own, source = links[early].windows, links[early].sources[0]
                assert source is not None
                while done[early] < own.output_height and own.end(done[early] + 1) <= links[
                    source
                ].finished(done[source]):
                    run(early, 1)

    def run(at: int, rows: int) -> None:
        calls.append((at, rows))
        kept = min(_needed(links, readers, done, at), done[at])
        done[at] += rows
        most[at] = max(most[at], done[at] - kept)

    make(len(links) - 1, links[-1].windows.output_height)
    return calls, most


def _with_moves(
    links: Sequence[Link], calls: Sequence[tuple[int, int]], most: Sequence[int]
) -> list[tuple[int, int]]:
    """The calls, and where a ring has no room for what comes the move that makes some."""
    readers, count = readers_of(links), len(links)
    done = [0] * count
    first = [_needed(links, readers, done, at) for at in range(count)]
    found: list[tuple[int, int]] = []
    for at, rows in calls:
        if at < count - 1 and not links[at].in_place and done[at] + rows - first[at] > most[at]:
            dropped = min(_needed(links, readers, done, at), done[at]) - first[at]
            first[at] += dropped
            while dropped > 0:
                found.append((count + at, min(dropped, MOST_ROWS)))
                dropped -= MOST_ROWS
        found.append((at, rows))
        done[at] += rows
    return found
