# SPDX-License-Identifier: Apache-2.0
"""From a choice to a plan: where everything lies, what each layer costs, and the sums."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

import cmsisnn_x
from cmsisnn_x.arena import Arena, arrange
from cmsisnn_x.chain import Chain
from cmsisnn_x.graph import Graph
from cmsisnn_x.steps import steps_of

from ..cost import Estimate, Estimates, fitted_compiler
from ..cost.chains import CODE_BYTES as ROWS_CODE_BYTES
from ..model import Model
from ..plan import LayerPlan, Plan, RunnerUp, Totals
from ..plan.plan import source_digest
from ..plan.problem import Choice
from .chained import Network
from .space import Place


def plan_of(
    model: Model,
    network: Network,
    choice: Choice,
    *,
    baselines: Sequence[int],
    likely: Sequence[Estimates],
    **how: Any,
) -> Plan:
    """The plan of a choice in the network of a model; `likely` has code without a margin."""
    where, tables, problem, target = network.where, network.tables, network.problem, network.target
    chosen = [table[row] for table, row in zip(tables, choice.rows, strict=True)]
    variants = [table.variants[row] for table, row in zip(tables, choice.rows, strict=True)]
    fused = [place.step(variant).pool is not None for place, variant in zip(where, variants, strict=True)]
    into = [where[at - 1].layer.name if at and fused[at - 1] else None for at in range(len(where))]
    baselines = list(baselines)
    for at in (at for at, own in enumerate(fused) if own):
        # The pair's figures are the convolution's.
        baselines[at] += baselines[at + 1]
        baselines[at + 1] = 0
    chosen = [item if name is None else _taken_in(item) for item, name in zip(chosen, into, strict=True)]
    in_place = [place.is_overwritten(variant) for place, variant in zip(where, variants, strict=True)]
    own_chains = network.chains.items()
    chains = {first: chain.of(variants[first : first + len(chain.own)]) for first, chain in own_chains}
    steps = steps_of(model.layers, fused, variants, in_place, chains)
    at, scratch = 0, []
    for step in steps:
        own = [item.scratch_bytes for item in chosen[at : at + len(step.layers)]]
        scratch.append(step.scratch_for(own))
        at += len(step.layers)
    arena = arrange(model.graph, steps, scratch, fed=problem.fed)
    links = {first + at: (first, chain, at) for first, chain in chains.items() for at in range(len(chain.own))}
    layers = []
    for index, (place, table, row, item) in enumerate(zip(where, tables, choice.rows, chosen, strict=True)):
        layers.append(
            LayerPlan(
                layer=place.layer,
                variant=table.variants[row],
                cycles=item.cycles,
                terms=item.terms,
                baseline_cycles=baselines[index],
                scratch_bytes=item.scratch_bytes,
                flash_bytes=item.flash_bytes,
                input_offset=arena.input_offsets[index],
                output_offset=arena.output_offsets[index],
                scratch_offset=arena.scratch_offsets[index],
                runner_up=_runner_up(table, row, 0 if place.follower is None else int(tables[index + 1].cycles[0])),
                emulated_cycles=item.emulated_cycles,
                fused_into=into[index],
                input_offsets=offsets if len(offsets := arena.all_inputs[index]) > 1 else (),
            )
        )
        if index in links:
            first, chain, at = links[index]
            layers[-1] = _in_chain(layers[-1], chain, at, arena.scratch_offsets[first])
    totals: Totals = {
        "cycles": choice.cycles,
        "ms": rounded(target.milliseconds(choice.cycles), 4),
        "energy_uj": rounded(target.energy_uj(choice.cycles), 3),
        "macs": model.macs,
        "sram_bytes": arena.bytes + problem.caller_bytes,
        "arena_bytes": arena.bytes,
        "scratch_bytes": max(item.scratch_bytes for item in chosen),
        "flash_bytes": choice.flash_bytes,
        "likely_flash_bytes": choice.flash_bytes - _longer_code(where, tables, likely, choice),
        "stack_bytes": _stack_bytes(chosen, into, where, how["compiler"] == fitted_compiler(target)),
    }
    return Plan(
        model=model.name,
        dtype=model.dtype,
        target=target,
        layers=tuple(layers),
        arena_bytes=arena.bytes,
        arena_least=arena.least,
        totals=totals,
        digests={"model": model.digest, "target": target.digest, **source_digest(model.source)},
        evaluations=sum(len(table) for table in tables),
        regions=arena.regions,
        tables=tuple(tables),
        versions={"cmsisnn_x": cmsisnn_x.__version__, "numpy": np.__version__},
        chains=chains,
        fed_offsets=_fed_offsets(model.graph, chains, arena) if problem.fed else (),
        wiring=model.wiring,
        arithmetic=model.arithmetic,
        rewrites=model.rewrites,
        source=model.source,
        source_names=model.source_names,
        channels_last=model.channels_last,
        fractions=model.fractions,
        **how,
    )


def _fed_offsets(graph: Graph, chains: Mapping[int, Chain], arena: Arena) -> tuple[int | None, ...]:
    """Where the rows of each input lie that comes row by row; None for those that lie there as a whole."""
    found: dict[str, int] = {}
    for first, chain in chains.items():
        for name, ring in zip(chain.fed, chain.rings, strict=False):
            assert ring is not None
            found[name] = (arena.scratch_offsets[first] or 0) + ring.offset
    return tuple(found.get(name) for name in graph.inputs)


def _in_chain(item: LayerPlan, chain: Chain, at: int, place: int | None) -> LayerPlan:
    """A layer of a chain, whose rings lie at `place`, and the scratch of all its layers behind them."""
    link, ring = chain.own[at], chain.own_rings[at]
    start = 0 if place is None else place
    return replace(
        item,
        band=link.band,
        ring_rows=0 if ring is None else ring.rows,
        ring_offset=None if ring is None else start + ring.offset,
        scratch_offset=start + chain.scratch_place(item.scratch_bytes) if item.scratch_bytes else None,
    )


CODE_DEVIATIONS = 4.0
"""Standard deviations of the code of a whole network beyond which no more than 3 % should lie."""


def longest_code(table: Estimates, layers: int) -> Estimates:
    """The table with code as long as the compiler may make it: the deviations of `layers` kernels partly cancel."""
    longest = table.code_bytes + CODE_DEVIATIONS * table.code_spread / layers**0.5
    return replace(table, code_bytes=np.ceil(longest).astype(np.int64))


def _longer_code(
    where: Sequence[Place], tables: Sequence[Estimates], likely: Sequence[Estimates], choice: Choice
) -> int:
    """Bytes by which the code that was planned for is longer than it is likely to be, shared kernels once."""
    longer: dict[Hashable, int] = {}
    taken = False
    for place, table, own, row in zip(where, tables, likely, choice.rows, strict=True):
        variant = table.variants[row]
        step = place.step(variant)
        if not taken and table.code_spread[row]:
            code = int(own.code_bytes[own.variants.index(variant)])
            longer[place.kernel(variant)] = int(table.code_bytes[row]) - code - (ROWS_CODE_BYTES if place.band else 0)
        taken = step.pool is not None
    return sum(longer.values())


RUN_STACK_BYTES = 24
"""Of ``<model>_run`` around its calls: the registers that it saves."""


CHAIN_STACK_BYTES = 160
"""Of the functions around a kernel in a chain: which rows there are, arguments."""


OTHER_COMPILER_STACK = 1.5
"""Times the stack of a kernel that it may need as another compiler makes it than the one whose code was seen: GCC's of
C kernels on a Cortex-M85 was 1.43 times the deepest of Clang's.
"""


def _stack_bytes(
    chosen: Sequence[Estimate], into: Sequence[str | None], where: Sequence[Place], is_alike: bool
) -> int | None:
    """The deepest call, and the one around it; None where that of a kernel is not known. `is_alike`: whether the plan
    is for the compiler whose code estimates come from.
    """
    stacks = []
    for item, taken, place in zip(chosen, into, where, strict=True):
        if taken is not None:
            continue
        if item.stack_bytes is None:
            return None
        own = item.stack_bytes
        if not is_alike and item.emulated_cycles is None:
            own = -(-int(own * OTHER_COMPILER_STACK) // 8) * 8
        stacks.append(own + (CHAIN_STACK_BYTES if place.band else 0))
    return max(stacks) + RUN_STACK_BYTES


def _taken_in(item: Estimate) -> Estimate:
    """A pooling layer that the convolution before it runs: it costs nothing of its own."""
    emulated = None if item.emulated_cycles is None else 0
    return replace(
        item, cycles=0, terms=dict.fromkeys(item.terms, 0), scratch_bytes=0, flash_bytes=0, emulated_cycles=emulated
    )


def _runner_up(table: Estimates, row: int, next_cycles: int) -> RunnerUp | None:
    """The fastest other variant, and what it would have cost. `next_cycles` are those of the pooling that rows may take
    in: they are added to all rows where the chosen one contains them, taken off where it does not.
    """
    others = [i for i in range(len(table)) if i != row]
    if not others:
        return None
    holds = [variant is not None and variant.fused_pool for variant in table.variants]
    own = table.cycles.tolist()
    cycles = [own[i] + next_cycles * (holds[row] - holds[i]) for i in range(len(table))]
    best = min(others, key=lambda i: (cycles[i], i))
    item, variant = table[best], table.variants[best]
    return {
        "variant": None if variant is None else {**variant.host_knobs(), **variant.device_knobs()},
        "cycles": cycles[best],
        "scratch_bytes": item.scratch_bytes,
        "flash_bytes": item.flash_bytes,
    }


def rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
