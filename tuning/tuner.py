# SPDX-License-Identifier: Apache-2.0
"""From a model and a target to a plan: spaces, estimates, search, the whole network."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import cmsisnn_x
from cmsisnn_x.arena import Arena, arrange
from cmsisnn_x.chain import Chain
from cmsisnn_x.steps import steps_of

from .base.cflags import CFLAGS
from .base.errors import OptionError, TargetError
from .base.options import FEEDS, OBJECTIVES, SCORES, STRATEGIES, SURROGATES
from .cost import Estimate, Estimates, estimate, estimate_space
from .cost.chains import CODE_BYTES as ROWS_CODE_BYTES
from .model import Model
from .plan import LayerPlan, Plan, RunnerUp, Totals
from .plan.frontier import pareto as frontiers
from .plan.frontier import point_of
from .plan.plan import source_digest
from .plan.problem import Choice, Problem
from .search.chained import Network, choose_chained, sram_points
from .search.events import Progress
from .search.options import network_problem
from .search.space import Place, SearchSpace, baseline_of, places, search_space
from .target import CORES, Target


def tune(
    model: Model,
    target: Target,
    *,
    objective: str = "latency",
    score: str = "estimate",
    strategy: str = "auto",
    trials: int | None = None,
    surrogate: str = "gp",
    jobs: int = 1,
    dask: str | None = None,
    records: str | os.PathLike[str] | None = None,
    seed: int = 0,
    sram_bytes: int | None = None,
    flash_bytes: int | None = None,
    clock_hz: int | None = None,
    pareto: bool = False,
    feed: str = "image",
    progress: Progress | None = None,
) -> Plan:
    """Choose the best variant of every layer.

    Parameters
    ----------
    model : Model
    target : Target
    objective : {"latency", "sram", "flash", "balanced"}
    score : {"estimate", "emulate"}
        What a variant's cycles are: the analytic model's word, or instructions executed and priced one by one. The
        firmware of an emulated plan is never slower, emulated as a whole, than that of the estimate's plan.
    strategy : {"auto", "exhaustive", "bayesian", "random"}
        ``"auto"`` is exhaustive for estimates and Bayesian for emulation.
    trials : int, optional
        Evaluations per layer at most. Default: all of them for estimates, 16 for emulation.
    surrogate : {"gp", "forest"}
        What the Bayesian strategy learns with.
    jobs : int
        Emulations at a time on this machine.
    dask : str, optional
        Address of a Dask scheduler whose workers emulate instead.
    records : path, optional
        File that remembers emulations. Default: in the user's cache directory.
    seed : int
        The same seed gives the same plan.
    sram_bytes, flash_bytes : int, optional
        Budgets. Default: the model's, else the board's, else none.
    clock_hz : int, optional
        Default: the board's. A bare core has none, and then milliseconds are unknown.
    feed : {"image", "rows"}
        How the input of the firmware comes: as a whole, or row by row as a camera or a microphone gives it, and then it
        is never whole: the SRAM is that of the rows which are needed at a time.
    pareto : bool
        Also compute the frontiers of cycles over SRAM and over flash: `Plan.pareto`.
    progress : callable, optional
        Called with a dict after every emulation: ``layer``, ``trial`` of ``trials``, ``best`` cycles so far with the
        ``estimate`` and the ``variant`` they belong to, ``failures``; ``done`` evaluations of all layers, of them
        ``known`` before, of at most ``expected``; ``seconds_left``. Other dicts hold a ``message``, or ``interrupted``;
        :mod:`tuning.search.events` has all keys.

    Returns
    -------
    Plan

    Raises
    ------
    InfeasibleError
        No choice fits the budgets.
    ModelError
        Pinned knobs leave a layer without a kernel.
    OptionError
        An argument has a value that cannot be used.
    MissingToolError
        ``score="emulate"`` needs the extra `firmware`.

    Examples
    --------
    >>> import tuning
    >>> plan = tuning.tune(tuning.load_model("cifar10"), tuning.load_target("cortex-m4"), flash_bytes=128 * 1024)
    >>> plan.totals["sram_bytes"]
    44042
    """
    _check("--objective", objective, OBJECTIVES)
    _check("--score", score, SCORES)
    _check("--strategy", strategy, STRATEGIES)
    _check("--surrogate", surrogate, SURROGATES)
    _check("--feed", feed, FEEDS)
    fed = feed == "rows"
    if fed and len(model.graph.inputs) != 1:
        raise OptionError(f"--feed rows: expected a network of one input, got one of {len(model.graph.inputs)}")
    if trials is not None and trials < 1:
        raise OptionError(f"--trials: expected at least 1, got {trials}")
    if jobs < 1:
        raise OptionError(f"--jobs: expected at least 1, got {jobs}")
    if target.core not in CORES:
        raise TargetError(
            f"{target.name}: nothing is tuned for {target.core} yet, which has no kernels and no estimates; its "
            f"firmware is run and priced by: cmsisnn-verify --elf FILE --call SYMBOL --target {target.name}"
        )
    for name, value in (("sram_bytes", sram_bytes), ("flash_bytes", flash_bytes), ("clock_hz", clock_hz)):
        if value is not None and value < 1:
            raise OptionError(f"{name}: expected at least 1, got {value}")
    target = target.at(clock_hz)
    sram = sram_bytes or model.budget["sram"] or target.sram_bytes
    flash = flash_bytes or model.budget["flash"] or target.flash_bytes
    chosen_strategy = strategy if strategy != "auto" else "exhaustive" if score == "estimate" else "bayesian"

    where = places(model.graph, target.features)
    spaces = [search_space(place.layer, target, place.follower) for place in where]
    likely = [
        estimate_space(place.layer, space.variants, target, place.follower)
        for place, space in zip(where, spaces, strict=True)
    ]
    estimates = [_longest_code(table, len(likely)) for table in likely]
    found = None
    if score == "emulate":
        from .search.layerwise import Request, search_emulated

        request = Request(
            objective=objective,
            sram_bytes=sram,
            flash_bytes=flash,
            pareto=pareto,
            strategy=chosen_strategy,
            surrogate=surrogate,
            trials=trials,
            jobs=jobs,
            dask=dask,
            records=None if records is None else Path(records),
            seed=seed,
        )
        problem = network_problem(model.graph, where, estimates, fed=fed)
        first = choose_chained(Network(model.graph, where, tuple(estimates), problem, target), objective, sram, flash)
        if not first[0].chains:
            found = search_emulated(where, spaces, estimates, problem, target, CFLAGS, request, progress)
            tables = [item.table for item in found.layers]
            baselines = [item.baseline_cycles for item in found.layers]
    if found is None:
        tables = [
            _estimated(space, table, chosen_strategy, trials, seed)
            for space, table in zip(spaces, estimates, strict=True)
        ]
        baselines = [_baseline_cycles(space, table, target) for space, table in zip(spaces, tables, strict=True)]
    problem = network_problem(model.graph, where, tables, fed=fed)
    plain = Network(model.graph, where, tuple(tables), problem, target)
    network, choice = choose_chained(plain, objective, sram, flash)
    fastest = plain.problem.fastest(None, flash) if network.chains else None
    points = frontiers(problem, sram, flash, sram_points(plain, flash)) if pareto else None
    chains, where, tables, problem = network.chains, network.where, list(network.tables), network.problem

    def plan_of(choice: Choice) -> Plan:
        return _plan(
            model,
            target,
            where,
            tables,
            baselines,
            problem,
            choice,
            likely,
            chains,
            objective=objective,
            score=score,
            strategy=chosen_strategy,
            seed=seed,
            budget={"sram": sram, "flash": flash},
            pareto=points,
            fed=fed,
            unchained=None if fastest is None else point_of(fastest),
        )

    plan = plan_of(choice)
    if score == "emulate" and chains:
        return _emulated(plan)  # which variants are in chains the estimate says, not a search
    if found is not None and found.is_complete:
        variants = [table.variants[row] for table, row in zip(estimates, found.estimated.rows, strict=True)]
        other = _choice_of(problem, tables, variants)
        if other is not None and other.rows != choice.rows and (flash is None or other.flash_bytes <= flash):
            return _better(plan, plan_of(other), request.records, progress)
    return plan


def _emulated(plan: Plan) -> Plan:
    """The plan with the cycles of its layers as emulated in its firmware."""
    from .measure.firmware import emulated_layers

    cycles = emulated_layers(plan)
    layers = tuple(
        replace(item, cycles=own, emulated_cycles=own, terms=_shares(item.terms, own))
        for item, own in zip(plan.layers, cycles, strict=True)
    )
    total = sum(cycles)
    totals: Totals = {
        **plan.totals,
        "cycles": total,
        "ms": _rounded(plan.target.milliseconds(total), 4),
        "energy_uj": _rounded(plan.target.energy_uj(total), 3),
    }
    return replace(plan, layers=layers, totals=totals)


def _shares(terms: Mapping[str, int], total: int) -> dict[str, int]:
    """An estimate's terms as shares of `total`."""
    whole = sum(terms.values())
    found = {name: cycles * total // whole if whole else 0 for name, cycles in terms.items()}
    largest = max(terms, key=lambda name: terms[name])
    found[largest] += total - sum(found.values())
    return found


def _choice_of(problem: Problem, tables: Sequence[Estimates], variants: Sequence[Any]) -> Choice | None:
    """The choice of these variants; None where one of them could not be emulated."""
    if any(variant not in table.variants for table, variant in zip(tables, variants, strict=True)):
        return None
    return problem.choice_of_layers(
        [table.variants.index(variant) for table, variant in zip(tables, variants, strict=True)]
    )


def _better(plan: Plan, other: Plan, records: Path | None, progress: Progress | None) -> Plan:
    """`plan`, or the estimate's if that is better when the whole network runs."""
    from .measure.firmware import compare

    try:
        mine, its = compare([plan, other], records)
    except KeyboardInterrupt:
        if progress is not None:
            progress({"message": "Interrupted before whole firmware was compared: what the layers take alone decides."})
        return plan

    def worth(plan: Plan, cycles: int) -> tuple[float, ...]:
        sram, flash = plan.totals["sram_bytes"], plan.totals["flash_bytes"]
        return {
            "latency": (cycles,),
            "sram": (sram, cycles),
            "flash": (flash, cycles),
            "balanced": (float(cycles) * sram * flash,),
        }[plan.objective]

    if its.failure is not None or (mine.failure is None and worth(plan, mine.cycles) <= worth(other, its.cycles)):
        return plan
    if progress is not None:
        why = "fails" if mine.failure else f"takes {mine.cycles:,} cycles as a whole"
        progress(
            {
                "message": f"The firmware of the variants that are best alone {why}, that of the estimate's "
                f"{its.cycles:,}: the estimate's are kept."
            }
        )
    return other


def _check(option: str, value: str, legal: Sequence[str]) -> None:
    if value not in legal:
        raise OptionError(f"{option}: expected one of {', '.join(legal)}, got {value!r}")


def _estimated(space: SearchSpace, table: Estimates, strategy: str, trials: int | None, seed: int) -> Estimates:
    """The part of the space that the strategy looks at; estimates cost nothing, so by default that is all of it."""
    if not space.variants or (strategy == "exhaustive" and trials is None):
        return table
    from .search import make_strategy, run

    cycles = table.cycles
    scores = run(
        make_strategy(strategy, space, seed),
        lambda indices: [float(cycles[i]) for i in indices],
        min(trials or 40, len(space)),
    )
    return table.take(sorted(scores))


def _baseline_cycles(space: SearchSpace, table: Estimates, target: Target) -> int:
    baseline = baseline_of(space)
    return estimate(space.layer, baseline, target).cycles if baseline else int(table.cycles[0])


def _plan(
    model: Model,
    target: Target,
    where: Sequence[Place],
    tables: Sequence[Estimates],
    baselines: Sequence[int],
    problem: Problem,
    choice: Choice,
    likely: Sequence[Estimates],
    chains: Mapping[int, Chain],
    **how: Any,
) -> Plan:
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
    chains = {first: chain.of(variants[first : first + len(chain.own)]) for first, chain in chains.items()}
    steps = steps_of(model.layers, fused, variants, in_place, chains)
    at, scratch = 0, []
    for step in steps:
        own = [item.scratch_bytes for item in chosen[at : at + len(step.layers)]]
        scratch.append(own[0] if step.chain is None else step.chain.ring_bytes + max(own))
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
        "ms": _rounded(target.milliseconds(choice.cycles), 4),
        "energy_uj": _rounded(target.energy_uj(choice.cycles), 3),
        "macs": model.macs,
        "sram_bytes": arena.bytes + problem.caller_bytes,
        "arena_bytes": arena.bytes,
        "scratch_bytes": max(item.scratch_bytes for item in chosen),
        "flash_bytes": choice.flash_bytes,
        "likely_flash_bytes": choice.flash_bytes - _longer_code(where, tables, likely, choice),
        "stack_bytes": _stack_bytes(chosen, into, where),
    }
    return Plan(
        model=model.name,
        dtype=model.dtype,
        target=target,
        layers=tuple(layers),
        compiler="gcc",
        cflags=CFLAGS,
        arena_bytes=arena.bytes,
        totals=totals,
        digests={"model": model.digest, "target": target.digest, **source_digest(model.source)},
        evaluations=sum(len(table) for table in tables),
        regions=arena.regions,
        tables=tuple(tables),
        versions={"cmsisnn_x": cmsisnn_x.__version__, "numpy": np.__version__},
        chains=chains,
        fed_offset=_fed_offset(chains, arena) if problem.fed else None,
        wiring=model.wiring,
        arithmetic=model.arithmetic,
        rewrites=model.rewrites,
        source=model.source,
        source_names=model.source_names,
        channels_last=model.channels_last,
        fractions=model.fractions,
        **how,
    )


def _fed_offset(chains: Mapping[int, Chain], arena: Arena) -> int | None:
    """Where the rows of the input lie that comes row by row; None where it lies there as a whole."""
    if 0 not in chains or not chains[0].feeds:
        return None
    ring, place = chains[0].rings[0], arena.scratch_offsets[0]
    assert ring is not None
    return (0 if place is None else place) + ring.offset


def _in_chain(item: LayerPlan, chain: Chain, at: int, place: int | None) -> LayerPlan:
    """A layer of a chain, whose rings lie at `place`, and the scratch of all its layers behind them."""
    link, ring = chain.own[at], chain.own_rings[at]
    start = 0 if place is None else place
    return replace(
        item,
        band=link.band,
        ring_rows=0 if ring is None else ring.rows,
        ring_offset=None if ring is None else start + ring.offset,
        scratch_offset=start + chain.ring_bytes if item.scratch_bytes else None,
    )


CODE_DEVIATIONS = 4.0
"""Standard deviations of the code of a whole network beyond which no more than 3 % should lie."""


def _longest_code(table: Estimates, layers: int) -> Estimates:
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


def _stack_bytes(chosen: Sequence[Estimate], into: Sequence[str | None], where: Sequence[Place]) -> int | None:
    """The deepest call, and the one around it; None where that of a kernel is not known."""
    around = [CHAIN_STACK_BYTES if place.band else 0 for place in where]
    stacks = [
        None if item.stack_bytes is None else item.stack_bytes + more
        for item, taken, more in zip(chosen, into, around, strict=True)
        if taken is None
    ]
    known = [stack for stack in stacks if stack is not None]
    return max(known) + RUN_STACK_BYTES if len(known) == len(stacks) else None


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
    cycles = [int(table.cycles[i]) + next_cycles * (holds[row] - holds[i]) for i in range(len(table))]
    best = min(others, key=lambda i: (cycles[i], i))
    item, variant = table[best], table.variants[best]
    return {
        "variant": None if variant is None else {**variant.host_knobs(), **variant.device_knobs()},
        "cycles": cycles[best],
        "scratch_bytes": item.scratch_bytes,
        "flash_bytes": item.flash_bytes,
    }


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
