# SPDX-License-Identifier: Apache-2.0
"""Which layers run as chains, and in bands of how many rows: what a network that is short of SRAM gives for it.

A network within a budget is a path: from layer to layer, each step one layer by itself, or a chain. What a step costs
does not depend on the others, as SRAM is a maximum: the cheapest path is found layer by layer. What a chain costs is
the same question once more: bands from the last layer to the first, where a layer never makes more rows at a time than
the one behind it asks for.

That counts rings by rule; the chains of the path are then built, and what they need is what the planner sees.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from functools import cached_property

import numpy as np

from cmsisnn_x.bands import least_rows
from cmsisnn_x.buffers import ALIGNMENT, aligned
from cmsisnn_x.chain import WAYS, Chain
from cmsisnn_x.chained import chain_of, fed_inputs, in_chain
from cmsisnn_x.errors import CmsisnnError
from cmsisnn_x.graph import Graph, Node
from cmsisnn_x.layers import Layer

from ..cost import Estimates
from ..cost.chains import MOVE_CYCLES, MOVE_CYCLES_PER_BYTE
from ..plan.problem import Problem
from ..target import Target
from .bands import Choice, InBands
from .parts import Grown, Part, undominated, worthwhile

LONGEST = 20
"""Layers of a chain at most."""
CAPS = 12
"""Levels of scratch that are tried."""
FREE = 1 << 40
"""No budget."""
STRETCHES = (5.0, 4.0, 3.2, 2.6, 2.2, 1.9, 1.6, 1.4, 1.2)
"""What rings take by rule where they share their memory, times what it is: such are tried."""
CLOSE = 128
"""Bytes to which the least SRAM is looked for."""
Segment = tuple[int, int, tuple[Choice, ...]]
"""A chain of a path: its first layer, the one behind its last, and how each runs."""
_Steps = dict[int, list[tuple[int, float, tuple[Choice, ...] | None]]]
"""By where they end: first layer, cycles, and how the layers of a chain run."""


class ChainSearch:
    """The chains of a network under SRAM budgets.

    Parameters
    ----------
    graph : Graph
    tables : sequence of Estimates
        Of the layers by themselves.
    problem : Problem
        Without chains.
    target : Target
    """

    def __init__(self, graph: Graph, tables: Sequence[Estimates], problem: Problem, target: Target) -> None:
        self.graph = graph
        self.alone = tuple(
            table.take([at for at, v in enumerate(table.variants) if v is None or not v.fused_pool])
            for table in tables
        )
        self.target = target
        self._rows: dict[tuple[str, int], InBands] = {}
        self._beside: dict[tuple[int, int], int] = {}
        self._ways: dict[int, _Steps] = {}
        self._others: dict[tuple[Segment, ...], dict[int, Chain] | None] = {}
        self._inputs: dict[tuple[int, int], tuple[str, ...]] = {}
        self.problem = problem
        if self.by_rows:
            self.problem = Problem(problem.given, graph=graph, fed=True, never_whole=self.by_rows)

    @cached_property
    def segments(self) -> dict[tuple[int, int], list[tuple[Layer, tuple[int | None, ...]]]]:
        """Ranges of nodes that can be a chain."""
        found = {}
        nodes = self.graph.nodes
        can = [self._can_chain(node) for node in nodes]
        for first in range(len(nodes)):
            for end in range(first + 1, min(len(nodes), first + LONGEST) + 1):
                if not can[end - 1]:
                    break
                least = 1 if self._fed(first, end) else 2
                if end - first >= least and (layers := in_chain(self.graph, nodes[first:end])) is not None:
                    found[first, end] = layers
        return found

    def _fed(self, first: int, end: int) -> tuple[str, ...]:
        """The inputs that come row by row to a chain of these layers."""
        if not self.problem.fed:
            return ()
        if (first, end) not in self._inputs:
            self._inputs[first, end] = fed_inputs(self.graph, self.graph.nodes[first:end])
        return self._inputs[first, end]

    @cached_property
    def by_rows(self) -> frozenset[str]:
        """The inputs that are never whole: they come row by row, and some chains can take all of them so."""
        if not self.problem.fed:
            return frozenset()
        found = frozenset(name for segment in self.segments for name in self._fed(*segment))
        reached = [True] + [False] * len(self.graph.nodes)
        for end in range(1, len(reached)):
            ways = [(end - 1, ()), *((first, self._fed(first, end)) for first, last in self.segments if last == end)]
            reached[end] = any(
                reached[first] and found.isdisjoint(self._read(first, end) - {*fed}) for first, fed in ways
            )
        return found if reached[-1] else frozenset()

    def _read(self, first: int, end: int) -> frozenset[str]:
        return frozenset(name for node in self.graph.nodes[first:end] for name in node.inputs)

    def _may_run(self, first: int, end: int, fed: Collection[str] = ()) -> bool:
        """Whether the inputs that are never whole come row by row to these layers where they read them."""
        return self.by_rows.isdisjoint(self._read(first, end) - {*fed})

    @property
    def must_chain(self) -> bool:
        """Whether some layers run as a chain in any case: an input comes row by row, and they can take it so."""
        return bool(self.by_rows)

    def _can_chain(self, node: Node) -> bool:
        table = self.alone[self.graph.index(node)]
        return any(least_rows(node.layer, variant) is not None for variant in table.variants)

    def _alive(self, first: int, end: int) -> int:
        """Bytes beside rings and scratch of a segment: the caller's, and what is alive while it runs."""
        if (first, end) not in self._beside:
            alive = self.problem.alive_beside(first, end, self._fed(first, end))
            self._beside[first, end] = self.problem.caller_bytes + alive
        return self._beside[first, end]

    def sharing(self, sram: int, *, lean: bool) -> list[tuple[float, list[Segment]]]:
        """Chains from the first layers on, where images are large, whose rings by rule take more than the memory that
        they share, and the others of the cheapest path within `sram` bytes from there on; with the cycles of the
        network, ascending. Where `lean` each layer takes the least memory that is nearly as fast; else also where that
        lets it write in place alone, and the fastest.
        """
        first = min((first for first, _ in self.segments), default=0)
        ends = sorted(end for start, end in self.segments if start == first)
        count = len(self.graph.nodes)
        steps = self._steps(sram)
        before = np.array([0.0] + [np.inf] * count)  # of the layers up to each
        for end in range(1, first + 1):
            before[end] = min((before[at] + own for at, own, picked in steps[end] if picked is None), default=np.inf)
        behind = np.array([np.inf] * count + [0.0])  # and from each on
        way: list[list[Segment]] = [[] for _ in range(count + 1)]
        for end in range(count, first, -1):
            for at, own, picked in steps[end]:
                if behind[end] + own < behind[at]:
                    behind[at] = behind[end] + own
                    way[at] = way[end] if picked is None else [(at, end, picked), *way[end]]
        found: dict[tuple[int, tuple[Choice, ...]], tuple[float, list[Segment]]] = {}
        for stretch in STRETCHES:
            for end in ends:
                if not np.isfinite(before[first] + behind[end]):
                    continue
                part = self._parts(end, sram, stretch, only=first).get(first)
                if part is None:
                    continue
                layers = self.segments[first, end]
                rows = [self.row(first + at, layer) for at, (layer, _) in enumerate(layers)]
                least = tuple(row.leaner(one) for row, one in zip(rows, part.picked, strict=True))
                over = tuple(one if one.overwrites else two for one, two in zip(least, part.picked, strict=True))
                for picked in dict.fromkeys((least,) if lean else (least, over, part.picked)):
                    more = sum(one.cycles - two.cycles for one, two in zip(picked, part.picked, strict=True))
                    cycles = before[first] + part.cycles + more + behind[end]
                    found.setdefault((end, picked), (cycles, [(first, end, picked), *way[end]]))
        return sorted(found.values(), key=lambda item: item[0])

    def chains(self, sram: int) -> list[Segment] | None:
        """The chains of the cheapest path within `sram` bytes; None where there is no path."""
        count = len(self.graph.nodes)
        cost: list[float] = [0.0] + [np.inf] * count
        back: list[tuple[int, tuple[Choice, ...] | None]] = [(0, None)] * (count + 1)
        for end, steps in self._steps(sram).items():
            for first, own, picked in steps:
                if cost[first] + own < cost[end]:
                    cost[end], back[end] = cost[first] + own, (first, picked)
        if cost[count] == np.inf:
            return None
        found: list[Segment] = []
        at = count
        while at:
            first, picked = back[at]
            if picked is not None:
                found.append((first, at, picked))
            at = first
        return found[::-1]

    def _steps(self, sram: int) -> _Steps:
        """Of paths within `sram` bytes."""
        if sram not in self._ways:
            self._ways[sram] = self._steps_within(sram)
        return self._ways[sram]

    def _steps_within(self, sram: int) -> _Steps:
        count = len(self.graph.nodes)
        singles = self._singles(sram)
        needy = self._needy(sram)
        parts = {
            end: self._parts(end, sram)
            for end in range(1, count + 1)
            if any(last == end and needy[first:end].any() for first, last in self.segments)
        }
        found: _Steps = {}
        for end in range(1, count + 1):
            own = [(first, cycles, None) for first, cycles in singles.get(end, ()) if self._may_run(first, end)]
            found[end] = own + [
                (first, part.cycles, part.picked)
                for first, part in parts.get(end, {}).items()
                if needy[first:end].any() and self._may_run(first, end, self._fed(first, end))
            ]
        return found

    def _singles(self, sram: int) -> dict[int, list[tuple[int, float]]]:
        """By where they end the steps without a chain: their first layer and their cycles."""
        found: dict[int, list[tuple[int, float]]] = {}
        items = list(zip(self.problem.first, self.problem.options, self.problem.sram, strict=True))
        ends = [*self.problem.first[1:], len(self.graph.nodes)]
        for (first, item, need), end in zip(items, ends, strict=True):
            within = need <= sram
            if within.any():
                found.setdefault(end, []).append((first, float(item.cycles[within].min())))
            if end - first == 2:  # a pooling that can be taken in: each by itself too
                for at in (first, first + 1):
                    cycles = self.problem.fastest_alone(at, sram)
                    if cycles is not None:
                        found.setdefault(at + 1, []).append((at, cycles))
        return found

    def _needy(self, sram: int) -> np.ndarray:
        """Which layers pay for the budget where they run by themselves, or cannot: a chain without one of them would
        only wait for rows.
        """
        found = np.zeros(len(self.graph.nodes), bool)
        for at in range(len(found)):
            if not self._may_run(at, at + 1):
                found[at] = True
                continue
            within, free = self.problem.fastest_alone(at, sram), self.problem.fastest_alone(at, FREE)
            found[at] = within is None or within != free
        return found

    def row(self, index: int, layer: Layer) -> InBands:
        """What the variants of a layer cost over rows."""
        key = (layer.name, layer.output_image[0])
        if key not in self._rows:
            self._rows[key] = InBands(layer, self.alone[index], self.target)
        return self._rows[key]

    def _parts(self, end: int, sram: int, stretch: float = 1.0, *, only: int | None = None) -> dict[int, Part]:
        """By first layer the cheapest chain before `end` within `sram` bytes, rings counted by rule. Rings and scratch
        may take `stretch` times what there is for them. `only`: of one first layer.
        """
        firsts = [first for first, last in self.segments if last == end and only in (None, first)]
        if not firsts:
            return {}
        layers = self.segments[min(firsts), end]
        own = {at: self.row(at, layer) for at, (layer, _) in enumerate(layers, end - len(layers))}
        rows = {at: row.as_they_come() for at, row in own.items()} if stretch > 1 else own
        rooms = {first: int((sram - self._alive(first, end)) * stretch) for first in firsts}
        found: dict[int, Part] = {}
        for cap in self._caps(rows, max(rooms.values())):
            for first, part in self._within(end, rows, cap, {at: room - cap for at, room in rooms.items()}):
                if first not in found or part.cycles < found[first].cycles:
                    found[first] = part
        return found

    def _caps(self, rows: Mapping[int, InBands], room: int) -> list[int]:
        """Levels of scratch, from the least with which some chain can run."""
        least = max(rows[at].least_scratch for at in sorted(rows)[-2:])
        sizes = {size for row in rows.values() for size in row.levels}
        levels = sorted(size for size in sizes if least <= size <= room)
        return [levels[at] for at in np.unique(np.linspace(0, len(levels) - 1, CAPS).astype(int))] if levels else []

    def _within(
        self, end: int, rows: Mapping[int, InBands], cap: int, rooms: Mapping[int, int]
    ) -> Iterator[tuple[int, Part]]:
        """First layer and the cheapest chain from there to before `end` with kernels whose scratch is at most `cap`,
        and rings of at most its bytes of `rooms`.
        """
        # Of what is left to choose, by the rows that the layer in front is asked for at a time.
        parts: dict[int, list[Part]] = {0: [Part(0, 0.0, ())]}
        most = max(rooms.values())
        for at in range(end - 1, min(rows) - 1, -1):
            row = rows[at]
            readers = self._readers(at) if at < end - 1 else []
            if any(reader >= end for reader in readers):
                return
            parts = self._longer(parts, at, row, rows, readers, row.choices(cap), most)
            if not parts:
                return
            if at in rooms:
                # The first of a chain has no rows of a ring to write over.
                own = aligned(row.row_bytes) if at < end - 1 else 0
                fed = self._fed(at, end)
                fits = [
                    part
                    for held in parts.values()
                    for part in held
                    if part.bytes
                    + self._fed_bytes(at, fed, part, rows)
                    + (not fed and part.picked[0].overwrites) * part.picked[0].band * own
                    <= rooms[at]
                ]
                if fits:
                    yield at, min(fits, key=lambda part: (part.cycles, part.bytes))

    def _longer(
        self,
        parts: Mapping[int, Sequence[Part]],
        at: int,
        row: InBands,
        rows: Mapping[int, InBands],
        readers: Sequence[int],
        choices: Sequence[Choice],
        most: int,
    ) -> dict[int, list[Part]]:
        """Parts with a choice for the layer in front of them, with rings of at most `most` bytes, by its band."""
        after: dict[int, list[Grown]] = defaultdict(list)
        grown: dict[Hashable, list[tuple[Choice, int, float]]] = {}
        count = 0
        for band, held in parts.items():
            for part in held:
                size, cycles, picked = part
                # Of a single reader its band says all, and whether it takes row by row.
                key = (band, not picked or picked[0].least == picked[0].step == 1)
                if key not in grown or len(readers) > 1:
                    grown[key] = worthwhile(self._grown(part, at, row, rows, readers, choices))
                for choice, ring, more in grown[key]:
                    if size + ring <= most:
                        after[choice.band].append((size + ring, cycles + more, count, choice, part))
                        count += 1
        return {
            band: [
                Part(size, cycles, (choice, *part.picked)) for size, cycles, _, choice, part in undominated(found)
            ]
            for band, found in after.items()
        }

    def _fed_bytes(self, first: int, fed: Sequence[str], part: Part, rows: Mapping[int, InBands]) -> int:
        """Of the rings of inputs that come row by row."""
        found = 0
        for name in fed:
            readers = [self.graph.index(node) for node in self.graph.readers(name)]
            window = 0
            for reader in readers:
                own = rows[reader].windows
                window = max(window, (part.picked[reader - first].band - 1) * own.stride + own.kernel)
            if len(readers) > 1:
                window += self._lag(first - 1, readers, rows, part.picked)
            one = rows[readers[0]]
            found += aligned(min(window, one.windows.height) * one.input_row_bytes)
        return found

    def _grown(
        self,
        part: Part,
        at: int,
        row: InBands,
        rows: Mapping[int, InBands],
        readers: Sequence[int],
        choices: Sequence[Choice],
    ) -> Iterator[tuple[Choice, int, float]]:
        """The choices for the layer in front of a part, the ring that each asks for, and the cycles of moves in it."""
        if not readers:
            yield from ((choice, row.sum_bytes, 0.0) for choice in choices)
            return
        height = row.windows.output_height
        asked = window = 0
        for reader in readers:
            band, own = part.picked[reader - at - 1].band, rows[reader].windows
            asked = max(asked, band * own.stride)
            window = max(window, own.span(band))
        if len(readers) > 1:
            window += self._lag(at, readers, rows, part.picked)
        window += row.windows.open_rows * row.windows.as_they_come
        by_one = part.picked[0].least == part.picked[0].step == 1
        may_overwrite = by_one and self._is_between(at, readers, rows)
        for choice in choices:
            if choice.band > max(asked, choice.least, choice.step):
                continue
            if choice.overwrites and may_overwrite and choice.step % rows[readers[0]].windows.stride == 0:
                yield choice, 0, 0.0
                continue
            ring = min(window + choice.step - 1, height)
            moved = MOVE_CYCLES + MOVE_CYCLES_PER_BYTE * max(ring - choice.band, 0) * row.row_bytes
            yield choice, aligned(ring * row.row_bytes), moved * height / choice.band

    def _readers(self, at: int) -> list[int]:
        return [self.graph.index(node) for node in self.graph.readers(self.graph.nodes[at].outputs[0])]

    def _is_between(self, at: int, readers: Sequence[int], rows: Mapping[int, InBands]) -> bool:
        """Whether a layer alone reads what the one before it makes, and is read row by row by the one behind it."""
        nodes = self.graph.nodes
        producer = self.graph.producer(nodes[at].inputs[0])
        if list(readers) != [at + 1] or producer is None or len(self.graph.readers(nodes[at].inputs[0])) > 1:
            return False
        own = rows[at + 1].windows
        if own.as_they_come:
            return own.takes_each_once
        return own.kernel == own.stride == 1 and own.above == 0 and len(nodes[at + 1].inputs) == 1

    def _lag(
        self, at: int, readers: Sequence[int], rows: Mapping[int, InBands], picked: Sequence[Choice]
    ) -> int:
        """Rows by which the readers of a tensor are apart: the first is that far ahead of the last, as what lies
        between them needs rows of its own.
        """
        ahead = 0
        for reader in readers:
            way, total = reader, 0
            while way - at <= len(picked):
                behind = self._readers(way)
                if not behind or behind[0] - at > len(picked):
                    break
                way = behind[0]
                own = rows[way].windows
                total += own.kernel - 1 - own.above + picked[way - at - 1].band - 1
                if way in readers:
                    break
            ahead = max(ahead, total)
        return ahead

    def least(self) -> int:
        """About the least SRAM within which some path goes."""
        low, high = self.problem.caller_bytes, self.problem.smallest_sram()
        while high - low > CLOSE:
            middle = (low + high) // 2
            low, high = (low, middle) if self.chains(middle) is not None else (middle, high)
        return high

    def room(self, segment: Segment, sram: int) -> int:
        """Bytes that its rings, scratch and what it makes, if that is no caller's, may take together within `sram`
        bytes.
        """
        first, end, _ = segment
        node = self.graph.nodes[end - 1]
        held = not (self.graph.is_callers(node.outputs[0]) or node.layer.row.sums_rows(node.layer))
        room = sram - self._alive(first, end) + held * aligned(node.layer.output_bytes)
        return room // ALIGNMENT * ALIGNMENT

    def build_sharing(self, path: Sequence[Segment], room: int, ways: int) -> dict[int, Chain] | None:
        """The same where the rings of the first alone share their memory."""
        chains, rest = self.build(path[:1], room, ways=ways), tuple(path[1:])
        if rest not in self._others:
            self._others[rest] = self.build(rest)
        others = self._others[rest]
        return None if chains is None or others is None else chains | others

    def build(self, path: Sequence[Segment], room: int | None = None, *, ways: int = WAYS) -> dict[int, Chain] | None:
        """The chains of a path, by the index of their first layer; None where one cannot be built. With `room` rings
        share it with scratch; 0: as little as can be. `ways` as `placed` has them: where
        rows lie changes nothing of what fits.
        """
        found: dict[int, Chain] = {}
        for first, end, picked in path:
            variants = [self.alone[first + at].variants[choice.row] for at, choice in enumerate(picked)]
            try:
                found[first] = chain_of(
                    self.graph,
                    self.graph.nodes[first:end],
                    variants,
                    [choice.band for choice in picked],
                    fed=self._fed(first, end),
                    room=room,
                    ways=ways,
                )
            except CmsisnnError:  # bands that some height has no calls for, or rings that do not fit
                return None
        return found
