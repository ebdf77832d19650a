# SPDX-License-Identifier: Apache-2.0
"""What a calibration emulates: of every layer the kernels that a plan would choose among, by the estimate as it is.

A family that hardly ever is near the fastest is emulated where it comes closest; how it would do elsewhere is nobody's
concern. So most of a calibration's time goes where plans are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from cmsisnn_x.isa import Isa
from cmsisnn_x.layers import Layer
from cmsisnn_x.steps import Step
from cmsisnn_x.variant import Variant

from ..cost import estimate_space, fitted
from ..measure.bench import Bench, Measurement
from ..search.space import search_space
from ..target import Target

NEARBY = 1.35
"""Times the estimate of the fastest up to which kernels are emulated on a layer that is fitted."""
PER_LAYER = 4
"""Of them at most so many."""
OF_MORE = 2
"""The same of layers beside those whose runs are kept (`kept`)."""
LEAST_RUNS = 2
"""Of each family that some layer has, wherever it comes closest; on cores with vectors, beside which most families of C
are no choice, of none: relatives tell what those take.
"""
BESIDE_VECTORS = 2
"""Each how many-th layer such cores run the fastest kernel in C on, whatever vectors take: the instruction mix gives
half of what the compiler's code takes there, and where vectors do badly that was what plans took.
"""
OTHERWISE = 6
"""Each how many-th layer such cores run the fastest family with its slowest knobs on too: so parts that else grow
together come apart.
"""
FAVOURITES = 2
"""First choices of the estimate that are emulated on layers that were not fitted."""
Report = Callable[[str], None]


@dataclass(frozen=True)
class Sample:
    """One emulated run."""

    layer: Layer
    variant: Variant | None
    cycles: int
    code_bytes: int
    stack_bytes: int = 0
    pool: Layer | None = None


Plan = list[tuple[Layer, list[Variant | None]]]


def variants_of(layer: Layer, target: Target) -> tuple[Variant | None, ...]:
    return search_space(layer, target).variants if layer.row.has_knobs else (None,)


def to_fit(layers: Sequence[Layer], target: Target, *, beside_kept: bool = False) -> Plan:
    """Layers with the variants that are emulated on them; fewer where runs of others are kept."""
    per_layer = OF_MORE if beside_kept else PER_LAYER
    chosen: list[list[Variant | None]] = []
    runs: dict[str, int] = {}
    closest: dict[str, list[tuple[float, int, Variant | None]]] = {}
    for number, layer in enumerate(layers):
        space = variants_of(layer, target)
        if space == (None,):
            chosen.append([None])
            continue
        cycles = estimate_space(layer, space, target).cycles
        names = fitted.families(layer, space, target.features)
        best: dict[str, int] = {}
        for at in np.argsort(cycles, kind="stable").tolist():  # the fastest number of im2col columns of each family
            best.setdefault(names[at], at)
        near = [name for name, at in best.items() if cycles[at] <= NEARBY * cycles.min()]
        # The first choice, and of the others those that were seen least.
        picked = [*near[:1], *sorted(near[1:], key=lambda name: runs.get(name, 0))[: per_layer - 1]]
        if target.features.isa >= Isa.HELIUM:
            beside = int(number % BESIDE_VECTORS == 0)
            picked += [name for name in best if fitted.VECTORS not in name and name not in picked][:beside]
        chosen.append([space[best[name]] for name in picked])
        if target.features.isa >= Isa.HELIUM and number % OTHERWISE == 0:
            slowest = max((at for at, name in enumerate(names) if name == near[0]), key=lambda at: cycles[at])
            chosen[-1] += [space[slowest]] if slowest != best[near[0]] else []
        for name in picked:
            runs[name] = runs.get(name, 0) + 1
        for name, at in best.items():
            if name not in picked:
                closest.setdefault(name, []).append((cycles[at] / cycles.min(), number, space[at]))
    least = 0 if beside_kept or target.features.isa >= Isa.HELIUM else LEAST_RUNS
    for name, found in closest.items():
        for _, number, variant in sorted(found, key=lambda item: item[:2])[: max(least - runs.get(name, 0), 0)]:
            chosen[number].append(variant)
    return list(zip(layers, chosen, strict=True))


def to_judge(layers: Sequence[Layer], target: Target, estimated: Callable[..., np.ndarray]) -> Plan:
    """Layers with the first choices of ``estimated(layer, variants)``, one of each family."""
    plan: Plan = []
    for layer in layers:
        space = variants_of(layer, target)
        names = fitted.families(layer, space, target.features)
        first: dict[str, int] = {}
        for at in np.argsort(estimated(layer, space), kind="stable").tolist():
            first.setdefault(names[at], at)
        plan.append((layer, [space[at] for at in list(first.values())[:FAVOURITES]]))
    return plan


def emulate(bench: Bench, plan: Iterable[tuple[Layer, Sequence[Variant | None]]], report: Report) -> list[Sample]:
    """The runs of a plan, failures apart."""
    samples: list[Sample] = []
    for layer, variants in plan:
        results: list[Measurement] = bench.measure([Step((layer,), variant) for variant in variants])
        broken = [item.problem for item in results if item.problem]
        report(
            f"{bench.target.core} {layer.op} {layer.dtype} {layer.name}: {len(results)} kernels"
            + (f", {len(broken)} failed: {broken[0]}" if broken else "")
        )
        samples += [
            Sample(layer, variant, item.cycles, item.code_bytes, item.stack_bytes)
            for variant, item in zip(variants, results, strict=True)
            if not item.problem
        ]
    return samples


def emulate_pairs(bench: Bench, pairs: Iterable[tuple[Layer, Layer]], report: Report) -> list[Sample]:
    """Convolutions with the pooling behind them, as the estimate's first choices take it in."""
    samples: list[Sample] = []
    for layer, pool in pairs:
        space = [variant for variant in search_space(layer, bench.target, pool).variants if variant.fused_pool]
        if not space:
            continue
        cycles = estimate_space(layer, space, bench.target, pool).cycles
        picked = [space[at] for at in np.argsort(cycles, kind="stable")[:FAVOURITES].tolist()]
        results = bench.measure([Step.of(layer, variant, pool) for variant in picked])
        report(f"{bench.target.core} {layer.dtype} {layer.name} and {pool.op}: {len(results)} kernels")
        samples += [
            Sample(layer, variant, item.cycles, item.code_bytes, item.stack_bytes, pool)
            for variant, item in zip(picked, results, strict=True)
            if not item.problem
        ]
    return samples
