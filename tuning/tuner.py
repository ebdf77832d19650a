# SPDX-License-Identifier: Apache-2.0
"""From a model and a target to a plan: spaces, estimates, search, the whole network."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cmsisnn_x.layers import Layer

from .base.cflags import cflags_of
from .base.errors import InfeasibleError, OptionError
from .base.options import COMPILERS, FEEDS, OBJECTIVES, SCORES, STRATEGIES, SURROGATES, Kind
from .cost import Estimates, estimate, estimate_space
from .model import Model
from .plan import Plan, Totals
from .plan.frontier import pareto as frontiers
from .plan.frontier import point_of
from .plan.order import leanest_order
from .plan.problem import Choice, Problem
from .search.chained import Found, Network, choose_chained, sram_points, worth_of
from .search.events import Progress
from .search.plan_of import longest_code, rounded
from .search.plan_of import plan_of as assembled
from .search.space import Place, SearchSpace, baseline_of, places, search_space
from .target import Target
from .target.cores import CORES

if TYPE_CHECKING:
    from .search.compiled import FlashSearch


SURE = 0.8
"""Of a flash budget: a plan that is estimated to take more is compiled, as its code may be longer by a quarter."""


def tune(
    model: Model,
    target: Target,
    *,
    objective: str = "latency",
    score: str = "estimate",
    strategy: str = "auto",
    trials: int | None = None,
    surrogate: str = "gp",
    compiler: Kind | None = None,
    jobs: int = 1,
    dask: str | None = None,
    records: str | os.PathLike[str] | None = None,
    seed: int = 0,
    sram_bytes: int | None = None,
    flash_bytes: int | None = None,
    clock_hz: int | None = None,
    pareto: bool = False,
    feed: str = "image",
    compiled: bool = True,
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
    compiler : {"gcc", "clang"}, optional
        Whose code the firmware will be: the plan's flags are for it, and emulation uses it. Default: that of the core,
        which emulation does without where only the other is installed.
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
    compiled : bool
        Where a flash budget binds, or may, compile plans until the object keeps to it: its bytes are the plan's
        (`Plan.flash_compiled_by`). Otherwise, and where no compiler is installed, code is as long as it may be by
        estimate.
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
    if compiler is not None:
        _check("--compiler", compiler, COMPILERS)
    # What is emulated is code by the compiler that the plan names; where that is GCC by default, pip alone will do.
    needed = compiler or CORES[target.core].compiler
    if score == "emulate" and (compiler or needed == "clang"):
        from .emulate import find_toolchain

        find_toolchain(needed)
    fed = feed == "rows"
    if fed and (unread := [name for name in model.graph.inputs if not model.graph.readers(name)]):
        raise OptionError(f"--feed rows: expected inputs that some layer reads, got {unread[0]!r}")
    if trials is not None and trials < 1:
        raise OptionError(f"--trials: expected at least 1, got {trials}")
    if dask is not None and score != "emulate":
        raise OptionError(f"--dask: goes with --score emulate, got --score {score}, which emulates nothing")
    if jobs < 1:
        raise OptionError(f"--jobs: expected at least 1, got {jobs}")
    for name, value in (("sram_bytes", sram_bytes), ("flash_bytes", flash_bytes), ("clock_hz", clock_hz)):
        if value is not None and value < 1:
            raise OptionError(f"{name}: expected at least 1, got {value}")
    options: dict[str, Any] = {
        "objective": objective, "score": score, "strategy": strategy, "trials": trials, "surrogate": surrogate,
        "compiler": compiler, "jobs": jobs, "dask": dask, "records": records, "seed": seed, "sram_bytes": sram_bytes,
        "flash_bytes": flash_bytes, "clock_hz": clock_hz, "pareto": pareto, "fed": fed, "progress": progress,
        "compiled": compiled,
    }  # fmt: skip
    is_short = objective in ("sram", "balanced") or bool(sram_bytes or model.budget["sram"] or target.sram_bytes)
    graph = leanest_order(model.graph) if is_short and model.wiring is not None else None
    if graph is None:
        return _tune(model, target, **options)
    other = replace(model, layers=tuple(node.layer for node in graph.nodes), wiring=graph)
    # Which order, the estimate says.
    try:
        better, plan = _leaner(model, other, target, options)
    except InfeasibleError:
        return _tune(other, target, **options)  # unless what a compiler makes is shorter
    is_done = score == "estimate" and not pareto and not (compiled and plan.is_flash_short)
    return plan if is_done else _tune(better, target, **options)


def _leaner(model: Model, other: Model, target: Target, options: Mapping[str, Any]) -> tuple[Model, Plan]:
    """Of a network in two orders the one with the better plan, and that by estimate."""
    quick = {**options, "score": "estimate", "pareto": False, "progress": None, "known": {}, "compiled": False}
    try:
        given = _tune(model, target, **quick)
    except InfeasibleError:
        return other, _tune(other, target, **quick)
    tables = zip(given.layers, given.tables, strict=True)
    apart = [(item, table) for item, table in tables if item.fused_into is None and not item.takes_in_next]
    is_free = not given.chains and all(item.cycles <= int(table.cycles.min()) for item, table in apart)
    if given.objective in ("latency", "flash") and is_free:
        return model, given
    try:
        its = _tune(other, target, **quick)
    except InfeasibleError:
        return model, given
    worth = [worth_of(given.objective, plan.totals) for plan in (given, its)]
    return (model, given) if worth[0] <= worth[1] else (other, its)


def _tune(
    model: Model,
    target: Target,
    *,
    objective: str,
    score: str,
    strategy: str,
    trials: int | None,
    surrogate: str,
    compiler: Kind | None,
    jobs: int,
    dask: str | None,
    records: str | os.PathLike[str] | None,
    seed: int,
    sram_bytes: int | None,
    flash_bytes: int | None,
    clock_hz: int | None,
    pareto: bool,
    fed: bool,
    compiled: bool,
    progress: Progress | None,
    known: dict[tuple[Layer, Layer | None, bool], tuple[SearchSpace, Estimates]] | None = None,
) -> Plan:
    """A plan of the network with its layers in the order that they have. `known` has what the same layers, with those
    that they may take in, can be and cost, and takes in others.
    """
    target = target.at(clock_hz)
    code_of = compiler or CORES[target.core].compiler
    cflags = cflags_of(code_of)
    sram = sram_bytes or model.budget["sram"] or target.sram_bytes
    flash = flash_bytes or model.budget["flash"] or target.flash_bytes
    chosen_strategy = strategy if strategy != "auto" else "exhaustive" if score == "estimate" else "bayesian"

    where = places(model.graph, target.features)
    known = {} if known is None else known
    for place in where:
        if (key := place.cost_key) not in known:
            space, aligned = search_space(place.layer, target, place.follower), place.inside[0]
            found_here = estimate_space(place.layer, space.variants, target, place.follower, aligned=aligned)
            known[key] = space, found_here
    spaces = [known[place.cost_key][0] for place in where]
    likely = [known[place.cost_key][1] for place in where]
    estimates = [longest_code(table, len(likely)) for table in likely]
    plain = Network.of(model.graph, where, estimates, target, fed=fed)
    free = _whatever_flash(plain, objective, sram, flash)
    is_short, toolchain = flash is not None and free[1].flash_bytes > SURE * flash, None
    if is_short and compiled:
        from .measure.firmware import compile_plan, compiler_of

        toolchain = compiler_of(target.core, code_of, compiler)
        estimates = estimates if toolchain is None else likely
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
            compiler=compiler,
            jobs=jobs,
            dask=dask,
            records=None if records is None else Path(records),
            seed=seed,
        )
        plain = plain if toolchain is None else Network.of(model.graph, where, estimates, target, fed=fed)
        first = choose_chained(plain, objective, sram, flash) if is_short else free
        if not first[0].chains:
            found = search_emulated(where, spaces, estimates, plain.problem, target, cflags, request, progress)
            tables = [item.table for item in found.layers]
            baselines = [item.baseline_cycles for item in found.layers]
    if found is None:
        # Of chains the estimate says all.
        how, looks = (chosen_strategy, trials) if score == "estimate" else ("exhaustive", None)
        tables = [
            _estimated(space, table, how, looks, seed)
            for space, table in zip(spaces, estimates, strict=True)
        ]
        seen = zip(spaces, tables, where, strict=True)
        baselines = [_baseline_cycles(space, table, target, place) for space, table, place in seen]
    is_as_estimated = all(table is own for table, own in zip(tables, plain.tables, strict=True))
    plain = plain if is_as_estimated else Network.of(model.graph, where, tables, target, fed=fed)
    made = partial(
        assembled,
        model,
        baselines=baselines,
        likely=likely,
        compiler=code_of,
        cflags=cflags,
        objective=objective,
        score=score,
        strategy=chosen_strategy,
        seed=seed,
        budget={"sram": sram, "flash": flash},
        fed=fed,
        is_flash_short=is_short,
    )
    flash_search: FlashSearch | None = None
    if toolchain is not None and flash is not None:
        from .search.compiled import FlashSearch

        flash_search = FlashSearch(plain, lambda *of: compile_plan(made(*of), toolchain), objective, sram, flash)
        network, choice = flash_search.best()
        plain = plain if network.chains else network
        made = partial(made, flash_compiled_by=f"{toolchain.kind}: {toolchain.version}")
    elif is_as_estimated and not is_short:
        network, choice = free
    else:
        network, choice = choose_chained(plain, objective, sram, flash)
    fastest = plain.problem.fastest(None, flash) if network.chains else None
    # What chains cost is estimated: they are no points beside emulated ones.
    over_sram = sram_points(plain, flash) if pareto and found is None else None
    points = frontiers(plain.problem, sram, flash, over_sram) if pareto else None
    made = partial(made, pareto=points, unchained=None if fastest is None else point_of(fastest))
    plan = made(network, choice)
    if score == "emulate" and network.chains:
        return _emulated(plan)  # which variants are in chains the estimate says, not a search
    if found is not None and found.is_complete:
        variants = [table.variants[row] for table, row in zip(estimates, found.estimated.rows, strict=True)]
        other = _choice_of(network.problem, network.tables, variants)
        if other is not None and flash_search is not None:
            other = flash_search.as_compiled(other)
        if other is not None and other.rows != choice.rows and (flash is None or other.flash_bytes <= flash):
            return _better(plan, made(network, other), request.records, progress)
    return plan


def _whatever_flash(network: Network, objective: str, sram: int | None, flash: int | None) -> Found:
    """The best choice that keeps to the SRAM budget."""
    try:
        return choose_chained(network, objective, sram, None)
    except InfeasibleError:
        choose_chained(network, objective, sram, flash)  # which says what flash it takes, too
        raise


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
        "ms": rounded(plan.target.milliseconds(total), 4),
        "energy_uj": rounded(plan.target.energy_uj(total), 3),
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


def _baseline_cycles(space: SearchSpace, table: Estimates, target: Target, place: Place) -> int:
    baseline = baseline_of(space)
    if not baseline:
        return int(table.cycles[0])
    return estimate(space.layer, baseline, target, aligned=place.inside[0]).cycles
