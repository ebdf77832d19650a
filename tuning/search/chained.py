# SPDX-License-Identifier: Apache-2.0
"""The best choice of a network, with chains where they pay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial

from cmsisnn_x.chain import WAYS, Chain
from cmsisnn_x.graph import Graph

from ..base.errors import InfeasibleError
from ..base.units import show_size
from ..cost import Estimates
from ..cost.chains import banded_scratch, estimate_chained, with_rows_fed
from ..plan.frontier import point_of, sram_frontier
from ..plan.infeasible import infeasible
from ..plan.plan import Point, Totals
from ..plan.planner import choose_placed
from ..plan.problem import Choice, Problem
from ..target import Target
from .bands import row_kind
from .chains import CLOSE, FREE, ChainSearch, Segment
from .options import network_problem
from .space import Place, places

CONSTANT_BYTES = 180
"""Of the function that walks a schedule, beside two bytes for each of its entries."""
TRIES = 6
"""How often a path is looked for that stays below a budget as built."""
SHARES = (1.0, 0.8, 0.65, 0.5, 0.4, 0.3)
"""Of the SRAM that a plan without chains takes beside the caller's: where one that balances all is looked for."""
BUILT = 120
"""Chains whose rings share their memory that are built at most, to see whether they fit: with 40, a budget a little
larger than another was given a plan of half its speed.
"""
FITTING = 3
"""Of those that fit, the first ones that are planned: as placed they may change their order."""
LADDER = (0.04, 0.1, 0.17, 0.25, 0.35, 0.5, 0.7)
"""Between the least SRAM and that of the fastest plan: where points of a frontier are looked for."""


@dataclass(frozen=True)
class Network:
    """A network as the planner sees it: the place and the estimates of each layer, some of them in chains."""

    graph: Graph
    where: tuple[Place, ...]
    tables: tuple[Estimates, ...]
    problem: Problem
    target: Target
    chains: Mapping[int, Chain] = field(default_factory=dict)

    @classmethod
    def of(
        cls, graph: Graph, where: Sequence[Place], tables: Sequence[Estimates], target: Target, *, fed: bool = False
    ) -> Network:
        """A network without chains."""
        return cls(graph, tuple(where), tuple(tables), network_problem(graph, where, tables, fed=fed), target)

    @cached_property
    def search(self) -> ChainSearch:
        """For its chains."""
        return ChainSearch(self.graph, self.tables, self.problem, self.target)


Found = tuple[Network, Choice]
"""A network, and the choice in it."""


def choose_chained(network: Network, objective: str, sram: int | None, flash: int | None) -> Found:
    """The best choice for an objective inside the budgets, and the network that it is one of: the same, or with chains.

    Chains cost cycles and flash: they are looked at where SRAM is short of what the fastest plan takes, or is what
    counts.

    Raises
    ------
    InfeasibleError
        Nothing fits the budgets, with chains or without.
    """
    plain, refused = None, None
    if not (network.problem.fed and network.search.must_chain):
        try:
            plain = choose_placed(network.problem, objective, sram, flash)
        except InfeasibleError as error:
            refused = error
    if plain is not None and not _may_gain(network.problem, objective, sram, plain):
        return network, plain
    found = [(network, plain)] if plain is not None else []
    least = None
    if network.search.segments:
        for level in _levels(network, objective, sram, plain):
            own = _within(network, level, flash)
            found += [own] if own is not None and (sram is None or own[1].sram_bytes <= sram) else []
        if objective == "latency" and sram is not None:
            own = _sharing(network, sram, flash)
            found += [own] if own is not None else []
        if objective == "sram" or not found:
            least = _least(network, flash)
            found += [least] if least is not None and (sram is None or least[1].sram_bytes <= sram) else []
    if not found:
        raise _too_little(network, sram, least) or refused or infeasible(network.problem, sram, flash)
    return min(found, key=lambda one: worth_of(objective, point_of(one[1])))


def _may_gain(problem: Problem, objective: str, sram: int | None, plain: Choice) -> bool:
    """Whether chains could be better than the best choice without."""
    if objective in ("sram", "balanced"):
        return True
    fastest = problem.best(lambda item: item.cycles, None)
    return objective == "latency" and sram is not None and fastest is not None and plain.cycles > fastest.cycles


def worth_of(objective: str, found: Point | Totals) -> tuple[float, ...]:
    """What an objective weighs: less is better."""
    cycles, sram, flash = found["cycles"], found["sram_bytes"], found["flash_bytes"]
    return {
        "latency": (cycles, sram),
        "flash": (flash, cycles),
        "sram": (sram, cycles),
        "balanced": (float(cycles) * sram * flash,),
    }[objective]


def _levels(network: Network, objective: str, sram: int | None, plain: Choice | None) -> list[int]:
    """The SRAM within which paths are looked for."""
    if objective == "sram":
        return []
    if objective != "balanced":
        return [FREE if sram is None else sram]
    top = sram if sram is not None else plain.sram_bytes if plain is not None else network.problem.smallest_sram()
    caller = network.problem.caller_bytes
    return [int(caller + (top - caller) * share) for share in SHARES]


def _within(network: Network, sram: int, flash: int | None) -> Found | None:
    """The fastest choice within `sram` bytes with the chains of the cheapest path within them, or within less where the
    rings of that as built take more.
    """
    level = sram
    for _ in range(TRIES):
        path = network.search.chains(level)
        if not path or (chains := network.search.build(path)) is None:
            return None
        own = with_chains(network, chains)
        try:
            return own, choose_placed(own.problem, "latency", sram, flash)
        except InfeasibleError:
            over = own.problem.smallest_sram() - sram
            if over <= 0:
                return None
            level -= over
    return None


def _sharing(network: Network, sram: int, flash: int | None) -> Found | None:
    """A choice within `sram` bytes with a chain whose rings share their memory: the fastest that is found to fit."""
    found: list[Found] = []
    for segments in _shared(network, sram, lean=False):
        room = network.search.room(segments[0], sram)
        chains = network.search.build_sharing(segments, room, 1) if room > 0 else None
        if _placed(network, chains, "latency", sram, flash) is None:
            continue
        chains = network.search.build_sharing(segments, room, WAYS)
        if (own := _placed(network, chains, "latency", sram, flash)) is not None:
            found.append(own)
        if len(found) == FITTING:
            break
    return min(found, key=lambda one: worth_of("latency", point_of(one[1])), default=None)


def _least_sharing(network: Network, sram: int, flash: int | None) -> Found | None:
    """Of the same chains the choice that takes the least SRAM, within `sram` bytes."""
    found: Found | None = None
    best: list[Segment] = []
    for segments in _shared(network, sram, lean=True):
        chains = network.search.build_sharing(segments, 0, 1)
        most = sram if found is None else found[1].sram_bytes - 1
        if chains is None or chains[segments[0][0]].room > network.search.room(segments[0], most):
            continue
        if (own := _placed(network, chains, "sram", most, flash)) is not None:
            found, best = own, segments
    if found is None:
        return None
    return _placed(network, network.search.build_sharing(best, 0, WAYS), "sram", found[1].sram_bytes, flash) or found


def _shared(network: Network, sram: int, *, lean: bool) -> list[list[Segment]]:
    """Chains that may fit into `sram` bytes where rings of the first share memory, as no rows that are fed do."""
    return [] if network.problem.fed else [found for _, found in network.search.sharing(sram, lean=lean)[:BUILT]]


def _placed(
    network: Network, chains: Mapping[int, Chain] | None, objective: str, sram: int, flash: int | None
) -> Found | None:
    if chains is None:
        return None
    own = with_chains(network, chains)
    try:
        return own, choose_placed(own.problem, objective, sram, flash)
    except InfeasibleError:
        return None


def _least(network: Network, flash: int | None) -> Found | None:
    """The choice with chains that takes the least SRAM: none is found within a byte less."""
    found: Found | None = None
    # From the rule's least on, which rings as built may exceed; from what a plan without chains takes, if they do.
    for level in (network.search.least() + CLOSE, network.problem.smallest_sram() - 1):
        while found is None or found[1].sram_bytes > level:
            own = _within(network, level, flash)
            if own is None:
                break
            choice = choose_placed(own[0].problem, "sram", level, flash)
            found, level = (own[0], choice), choice.sram_bytes - 1
        if found is not None:
            break
    level = (found[1].sram_bytes if found is not None else network.problem.smallest_sram()) - 1
    while (own := _least_sharing(network, level, flash)) is not None:
        found, level = own, own[1].sram_bytes - 1
    return found


def _too_little(network: Network, sram: int | None, least: Found | None) -> InfeasibleError | None:
    """Why nothing fits where chains fit into more SRAM; None if they do not."""
    if sram is None or least is None or (floor := least[1].sram_bytes) <= sram:
        return None
    chain, items = least[0], least[0].problem.options
    worst = max(range(len(items)), key=lambda at: int(chain.problem.sram[at].min()))
    size = network.problem.caller_bytes
    callers = f"; {size:,} bytes are the network's own input and output" if size else ""
    return InfeasibleError(
        f"does not fit into {show_size(sram)} of SRAM: over by {floor - sram:,} bytes, even where layers run a few "
        f"rows at a time. Layer {items[worst].layer.name!r} decides{callers}.\n"
        f"The smallest budget that works is --sram {floor} ({show_size(floor)}).\n"
        f"Try: --sram {floor}; fewer channels or a smaller image at {items[worst].layer.name!r}; pooling, or a stride "
        "of 2, before it",
        {"sram": floor},
    )


def sram_points(network: Network, flash: int | None) -> list[Choice]:
    """The fastest choices for SRAM budgets, with chains where they pay: ascending SRAM, descending cycles."""
    points = [] if network.problem.fed and network.search.must_chain else sram_frontier(network.problem, flash)
    if network.search.segments and (least := _least(network, flash)) is not None:
        points.append(least[1])
        low, high = least[1].sram_bytes, max(point.sram_bytes for point in points)
        for share in LADDER:
            level = int(low + (high - low) * share)
            points += [own[1] for way in (_within, _sharing) if (own := way(network, level, flash)) is not None]
    kept: list[Choice] = []
    for point in sorted(points, key=lambda point: (point.sram_bytes, point.cycles)):
        if not kept or point.cycles < kept[-1].cycles:
            kept.append(point)
    return kept


def with_chains(network: Network, chains: Mapping[int, Chain]) -> Network:
    """The network with some of its layers in chains: of each the variants that make as many rows at a time as those
    which the chain was built with.
    """
    graph, target = network.graph, network.target
    where, tables = list(places(graph, target.features, chains)), list(network.tables)
    for at, place in enumerate(network.where):
        if not where[at].band and where[at].follower == place.follower:
            where[at] = place
        elif not where[at].band:  # whose pooling is in a chain now
            tables[at] = network.search.alone[at]
    for first, chain in chains.items():
        moves: list[list[int]] = [[] for _ in chain.links]
        for at, _, kept in chain.moves():
            moves[at].append(kept * chain.links[at].row_bytes)
        fed_moves, moves = moves[: chain.feeds], moves[chain.feeds :]
        for at, link in enumerate(chain.own):
            whole = network.search.alone[first + at]
            row = network.search.row(first + at, link.layer)
            kind = row_kind(link.layer, link.variant)
            alike = row.of_kind[kind]
            if chain.room:  # which has no room for more
                needs = banded_scratch(link.layer, whole, link.band)
                alike = [row for row in alike if needs[row] <= link.scratch_bytes]
            calls = chain.calls[chain.feeds + at]
            price = partial(row.call, kind, tuple(alike))
            table = estimate_chained(
                link.layer, whole.take(alike), price, calls, link.band, len(moves[at]), sum(moves[at])
            )
            for feed, own_moves in zip(chain.links, fed_moves, strict=False) if at == 0 else ():
                table = with_rows_fed(table, feed, sum(own_moves))
            if link is chain.links[-1]:
                more = CONSTANT_BYTES + (6 if chain.room else 2) * len(chain.schedule)
                table = replace(table, weights_bytes=table.weights_bytes + more)
            tables[first + at] = table
    given = {
        at: options
        for at, (options, place, table) in enumerate(
            zip(network.problem.given, network.where, network.tables, strict=True)
        )
        if place is where[at] and table is tables[at]
    }
    problem = network_problem(graph, where, tables, chains, given, fed=network.problem.fed)
    return Network(graph, tuple(where), tuple(tables), problem, target, chains)
