# SPDX-License-Identifier: Apache-2.0
"""The arena: where the tensors and the scratch of a network lie, with lifetimes.

What needs memory is a `Life`: bytes from one step to another. Lives that are alive at the same time lie apart, unless
one lies inside the other: what an element-wise layer overwrites, a reshaped tensor, a part of a concatenation. Such a
group of aliases is placed as one block, alive from its first use to its last.

No arena can be smaller than the largest sum of blocks that are alive at once, the `lower_bound`. What `place` reaches:

- A chain meets it exactly. A layer needs its input, its output and its scratch at the same time, so the tensors lie
  alternately at the two ends, the scratch between them.
- Up to `EXACT` blocks the arena is the smallest there is.
- Beyond, the problem is NP-hard: a search from several orders ends at the bound or after its tries. Nothing is promised
  then; how far it stayed from the bound is ``size_of(lives, offsets) - lower_bound(lives)``.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from random import Random

from .blocks import Block, Life, blocks_of, highest, lowest
from .buffers import ALIGNMENT, aligned
from .chained import input_name
from .errors import CmsisnnError
from .graph import Graph, Node
from .layers import Layer
from .steps import Step, steps_of

EXACT = 8
"""Blocks up to which `place` goes through all arrangements that could be better."""


@dataclass(frozen=True)
class Region:
    """Bytes ``offset .. offset + bytes`` of the arena, in use from layer `first` to layer `last` (indices,
    inclusive).
    """

    name: str
    offset: int
    bytes: int
    first: int
    last: int


@dataclass(frozen=True)
class Arena:
    """A placed arena. Offsets are per layer; ``None`` marks the caller's buffers, constants, and a layer without
    scratch. `input_offsets` are those of the first inputs, `all_inputs` those of all.
    """

    bytes: int
    input_offsets: tuple[int | None, ...]
    output_offsets: tuple[int | None, ...]
    scratch_offsets: tuple[int | None, ...]
    regions: tuple[Region, ...]
    all_inputs: tuple[tuple[int | None, ...], ...] = field(default=(), compare=False)
    least: int = field(default=0, compare=False)
    """Bytes that are alive at once at most: no arena is smaller."""


def lives(
    graph: Graph,
    steps: Sequence[Step],
    scratch: Sequence[int] | None = None,
    *,
    fed: bool = False,
    never_whole: Collection[str] = (),
) -> dict[str | int, Life]:
    """What needs a place while a network runs.

    Parameters
    ----------
    graph : Graph
    steps : sequence of Step
        The nodes of the graph in order, some of them together.
    scratch : sequence of int, optional
        Bytes of scratch per step. Default: what the steps say.
    fed : bool
        Whether inputs come row by row and outputs are fetched: both lie in the arena then, inputs of which a chain
        keeps rows apart.
    never_whole : collection of str
        Such inputs of steps that are not known to be chains yet.

    Returns
    -------
    dict
        Tensors by name and then scratch by the index of its step, those that need bytes of the arena. Inputs and
        outputs of the network are the caller's, and a tensor inside a step is never stored. A step that is the
        last to read an input whose memory its operation may take writes there; what a concatenation is the last to
        read is written into it, unless more bytes were alive at once then, scratch apart.
    """
    step_of: dict[str, int] = {}
    nodes = iter(graph.nodes)
    for at, step in enumerate(steps):
        step_of |= {next(nodes).name: at for _ in step.layers}
    found: dict[str | int, Life] = {}
    position: dict[str, int] = {}
    kept = {state.write for state in graph.states}  # until the end, when they become what is remembered
    kept |= set(graph.outputs) if fed else set()
    by_rows = {*never_whole, *(name for step in steps if step.chain for name in step.chain.fed)}
    for name in (one for one in graph.inputs if fed and one not in by_rows):
        position[name] = len(found)
        last = len(steps) - 1 if name in kept else _last_use(graph, step_of, name)
        found[name] = Life(graph.tensors[name].bytes, 0, last)
    for node in graph.nodes:
        at = step_of[node.name]
        for name in node.outputs:
            readers = [step_of[reader.name] for reader in graph.readers(name)]
            last = len(steps) - 1 if name in kept else max([at, *readers])
            if (name in graph.outputs and not fed) or (readers and max(readers) == at and name not in kept):
                continue
            step = steps[at]
            # In a chain others may still need rows of what its last layer reads.
            given = [] if step.chain else _over(graph, node, step.in_place and step.lead is node.layer)
            dead = (x for x in given if x in position and x not in kept)
            over = next((x for x in dead if _last_use(graph, step_of, x) == at), None)
            same_as = None if over is None else position[over]
            position[name] = len(found)
            found[name] = Life(graph.tensors[name].bytes, at, last, same_as=same_as)
    held = {node.outputs[0] for node in graph.nodes if _holds_output(steps[step_of[node.name]])}
    _join(graph, found, position, kept | held, step_of)
    needs = scratch if scratch is not None else [step.scratch_bytes for step in steps]
    for at, need in enumerate(needs):
        if need:
            found[at] = Life(need, at, at, shrinks=_holds_output(steps[at]))
    where = {key: index for index, key in enumerate(found)}
    for node in graph.nodes:
        at, name = step_of[node.name], node.outputs[0]
        if at in found and name in found and _holds_output(steps[at]):
            found[name] = replace(found[name], same_as=where[at])
    return found


def _holds_output(step: Step) -> bool:
    """Whether what a step makes lies at the start of its scratch."""
    return step.chain is not None and step.chain.holds_output


def _over(graph: Graph, node: Node, is_overwritten: bool) -> list[str]:
    """The inputs whose memory the output of a node may take: elements go one by one, each of the same size, or its
    kernel copies what it needs before.
    """
    if is_overwritten:
        return [node.inputs[0]]
    given = [index for index in node.layer.row.in_place if index < len(node.inputs)]
    return [node.inputs[index] for index in given if node.layer.place_inside(index) is not None]


def is_last_use(graph: Graph, node: Node) -> bool:
    """Whether the first input of a node lies in the arena, nobody reads it later, and the output lies there too."""
    name, (output, *_) = node.inputs[0], node.outputs
    given = graph.producer(name) is None or name in graph.outputs or output in graph.outputs
    return not given and name not in {state.write for state in graph.states} and graph.readers(name)[-1] is node


def _join(
    graph: Graph, found: dict[str | int, Life], position: dict[str, int], kept: set[str], step_of: dict[str, int]
) -> None:
    """Inputs of concatenations go where they are copied to."""
    names = list(position)
    for node in graph.nodes:
        output = node.outputs[0]
        if not node.layer.row.is_joined or output not in position:
            continue
        for index, name in enumerate(node.inputs):
            inside = node.layer.place_inside(index)
            if inside is None or inside % ALIGNMENT or name not in position or name in kept:
                continue
            if node.inputs.count(name) > 1 or _last_use(graph, step_of, name) > step_of[node.name]:
                continue
            root = name
            while (outer := found[root].same_as) is not None and found[root].inside == 0:
                root = names[outer]
            # What overwrote another tensor takes it along, if that has its size.
            if found[root].same_as is not None or found[root].size != found[name].size:
                continue
            before = list(found.values())
            joined = replace(found[root], same_as=position[output], inside=inside)
            if lower_bound([joined if life is found[root] else life for life in before]) <= lower_bound(before):
                found[root] = joined


def _last_use(graph: Graph, step_of: dict[str, int], tensor: str) -> int:
    return max(step_of[reader.name] for reader in graph.readers(tensor))


def live_bytes(lives: Sequence[Life], count: int) -> list[int]:
    """Bytes that are alive during each of `count` steps."""
    total = [0] * count
    for block in blocks_of(lives)[0]:
        for at in range(block.first, block.last + 1):
            total[at] += block.size if block.left < 0 or at == block.first else block.left
    return total


def lower_bound(lives: Sequence[Life]) -> int:
    """Bytes below which no arena can go: the largest set of blocks that is alive at once."""
    return max(live_bytes(lives, 1 + max((life.last for life in lives), default=0)))


def size_of(lives: Sequence[Life], offsets: Sequence[int]) -> int:
    """Bytes of an arena with every life at its offset."""
    return max((aligned(at + life.size) for at, life in zip(offsets, lives, strict=True)), default=0)


def place(lives: Sequence[Life], *, at_most: int | None = None, tries: int = 500, seed: int = 0) -> list[int]:
    """Give every life a place.

    Parameters
    ----------
    lives : sequence of Life
    at_most : int, optional
        Bytes that the arena may take.
    tries : int
        Orders that are tried where neither the two ends nor all arrangements of a few blocks decide.
    seed : int
        The same seed gives the same places.

    Returns
    -------
    list of int
        An offset per life; the module says how small the arena is then.

    Raises
    ------
    CmsisnnError
        It was not possible within `at_most`, or aliases go in a circle.
    """
    blocks, where = blocks_of(lives)
    bound = lower_bound(lives)
    if at_most is not None and bound > at_most:
        raise CmsisnnError(f"arena: expected at most {at_most} bytes, got {bound} that are alive at once")
    found = _two_ended(blocks, bound) or _searched(blocks, bound, tries, seed)
    size = _extent(blocks, found)
    if at_most is not None and size > at_most:
        raise CmsisnnError(f"arena: expected at most {at_most} bytes, got {size} as placed")
    return [found[block] + inside for block, inside in where]


def _extent(blocks: Sequence[Block], offsets: Sequence[int]) -> int:
    return max((at + block.size for at, block in zip(offsets, blocks, strict=True)), default=0)


def _two_ended(blocks: Sequence[Block], top: int) -> list[int] | None:
    """Alternately as low and as high as possible, then what is needed for a single step, scratch, as low as possible;
    None if that does not fit below `top`. Of a chain it always does.
    """
    placed: dict[int, int] = {}
    long = [i for i, block in enumerate(blocks) if block.last > block.first]
    for turn, i in enumerate(long):
        placed[i] = highest(blocks[i], blocks, placed, top) if turn % 2 else lowest(blocks[i], blocks, placed)
    for i, block in enumerate(blocks):
        if block.last == block.first:
            placed[i] = lowest(block, blocks, placed)
    offsets = [placed[i] for i in range(len(blocks))]
    return offsets if _extent(blocks, offsets) <= top else None


def _in_order(order: Sequence[int], blocks: Sequence[Block]) -> dict[int, int]:
    """Every block as low as possible, one after the other."""
    placed: dict[int, int] = {}
    for i in order:
        placed[i] = lowest(blocks[i], blocks, placed)
    return placed


def _searched(blocks: Sequence[Block], bound: int, tries: int, seed: int) -> list[int]:
    """Orders in which blocks are placed as low as possible: some order gives the smallest arena.

    A few blocks: all orders, those apart that cannot be better. Many: at first by time, by size and by the bytes that
    are alive beside them, then hill climbing: what ends at the top is placed earlier, before something that it meets.
    """
    beside = [sum(other.size for other in blocks if other.meets(block)) for block in blocks]
    numbers = range(len(blocks))
    starts = [
        list(numbers),
        sorted(numbers, key=lambda i: (-blocks[i].size, i)),
        sorted(numbers, key=lambda i: (-beside[i], -blocks[i].size, i)),
        sorted(numbers, key=lambda i: (blocks[i].first - blocks[i].last, -blocks[i].size, i)),
    ]

    def sized(order: list[int]) -> tuple[int, list[int], dict[int, int]]:
        placed = _in_order(order, blocks)
        return max((at + blocks[i].size for i, at in placed.items()), default=0), order, placed

    best = min((sized(order) for order in starts), key=lambda item: item[0])
    if len(blocks) <= EXACT:
        return _smallest(blocks, best[2], best[0], bound)
    random, current = Random(seed), best
    for _ in range(tries):
        if best[0] == bound:
            break
        order, placed = list(current[1]), current[2]
        top = random.choice([i for i, at in placed.items() if at + blocks[i].size == current[0]])
        earlier = [i for i in order[: order.index(top)] if blocks[i].meets(blocks[top])]
        moved, before = top, random.choice(earlier or order)
        if random.random() < 0.3:  # what keeps it there may itself lie badly
            moved, before = random.choice(order), random.choice(order)
        if moved != before:
            order.remove(moved)
            order.insert(order.index(before), moved)
        now = sized(order)
        if now[0] <= current[0]:
            current = now
        best = min(best, current, key=lambda item: item[0])
    return [best[2][i] for i in numbers]


def _smallest(blocks: Sequence[Block], known: dict[int, int], size: int, bound: int) -> list[int]:
    """The smallest arena there is, by branch and bound from an arrangement of `size` bytes.

    Push every block of an arrangement down as far as it goes, again and again: in the end, in the order of their
    offsets, each lies at the lowest place that those before it leave. So orders with ascending offsets are enough.
    """
    best, found = size, known

    def extend(placed: dict[int, int], at_least: int, top: int) -> None:
        nonlocal best, found
        if len(placed) == len(blocks):
            best, found = top, dict(placed)
            return
        for i, block in enumerate(blocks):
            if i in placed:
                continue
            at = lowest(block, blocks, placed)
            if at >= at_least and max(top, at + block.size) < best and best > bound:
                extend({**placed, i: at}, at, max(top, at + block.size))

    if best > bound:
        extend({}, 0, 0)
    return [found[i] for i in range(len(blocks))]


def plan_arena(layers: Sequence[Layer], scratch: Sequence[int], fused: Sequence[bool] = ()) -> Arena:
    """Place every tensor and scratch buffer of a sequential network.

    Parameters
    ----------
    layers : sequence of Layer
        In order of execution; the first input and the last output are the caller's.
    scratch : sequence of int
        Scratch bytes of each layer.
    fused : sequence of bool, optional
        Which layers take in the layer behind them: the tensor between the two has no place, and the scratch of the
        second does not count.

    Returns
    -------
    Arena
        Of exactly `lower_bound` bytes.
    """
    steps = steps_of(layers, fused)
    first, own = 0, []
    for step in steps:
        own.append(scratch[first])
        first += len(step.layers)
    return arrange(Graph.chain(layers), steps, own)


def arrange(graph: Graph, steps: Sequence[Step], scratch: Sequence[int], *, fed: bool = False) -> Arena:
    """Place every tensor and scratch buffer of a network; see `lives` and `place`.

    Parameters
    ----------
    graph : Graph
    steps : sequence of Step
        Its nodes in order, some of them together.
    scratch : sequence of int
        Bytes of scratch per step.
    fed : bool
        As `lives` takes it.
    """
    ends = [0]  # of each step: the index of the layer behind it
    for step in steps:
        ends.append(ends[-1] + len(step.layers))
    needed = lives(graph, steps, scratch, fed=fed)
    items = list(needed.values())
    offsets = place(items)
    at = dict(zip(needed, offsets, strict=True))
    inputs = [tuple(map(at.get, node.inputs)) for node in graph.nodes]
    outputs = [at.get(node.outputs[0]) for node in graph.nodes]
    buffers: list[int | None] = [None] * len(graph.nodes)
    for number in range(len(steps)):
        buffers[ends[number]] = at.get(number)
    spans: dict[int, tuple[int, int]] = {}
    for index, life in enumerate(items):
        root, begin = index, life.first
        while (outer := items[root].same_as) is not None:
            if items[outer].shrinks:  # what is left of that, from the step behind on
                begin = max(begin, items[outer].last + 1)
                break
            root = outer
        first, last = spans.get(root, (begin, life.last))
        spans[root] = min(first, begin), max(last, life.last)
    regions = [
        Region(name, offset + inside, size, ends[spans[index][0]], ends[spans[index][1] + 1] - 1)
        for index, (key, life, offset) in enumerate(zip(needed, items, offsets, strict=True))
        if index in spans
        for name, inside, size in _parts(key, life, steps[life.first], graph)
    ]
    regions.sort(key=lambda region: (region.first, region.offset))
    return Arena(
        size_of(items, offsets), tuple(own[0] for own in inputs), tuple(outputs), tuple(buffers), tuple(regions),
        tuple(inputs), lower_bound(items),
    )  # fmt: skip


def _parts(key: str | int, life: Life, step: Step, graph: Graph) -> list[tuple[str, int, int]]:
    """What lies in a life: name, offset from its start, bytes."""
    if not isinstance(key, int):
        return [(f"{step.last.name}.output" if key not in graph.inputs else input_name(graph, key), 0, life.size)]
    if step.chain is None:
        return [(f"{step.name}.scratch", 0, life.size)]
    if step.chain.room:
        return [(f"{step.name}.rings", 0, step.chain.room)]
    links = zip(step.chain.links, step.chain.rings, strict=True)
    rings = [(f"{link.layer.name}.ring", ring.offset, ring.bytes) for link, ring in links if ring is not None]
    scratch = (f"{step.name}.scratch", step.chain.ring_bytes, step.chain.scratch_bytes)
    return [*rings, *([scratch] if step.chain.scratch_bytes else [])]
