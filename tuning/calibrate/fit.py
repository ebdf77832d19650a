# SPDX-License-Identifier: Apache-2.0
"""Fit what the analytic model cannot know, the cycles of each part of each compiled kernel, on emulated runs of
a grid of layers.

A family of kernels is all knobs but the number of im2col columns. Counts are exact, costs are fitted in relative
error, and every fit is drawn towards the next wider one: the instruction mix, all kernels of an operation, those that
bring the input to the products in the same way, those of one group, the family itself. So parts that grow together
share what they cost, and a part that a grid hardly exercises keeps a sensible one. Kernels in C follow the counts less
closely than those in assembly, as the compiler spills registers in one shape and not in the next: each group has its
own noise, and a run that is far off weighs less. The error that is published is measured on layers of other shapes.
What the fit leaves over on a layer corrects the estimates of others that are alike (`cost.neighbours`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from cmsisnn_x.isa import Isa
from cmsisnn_x.layers import Layer
from cmsisnn_x.steps import Step
from cmsisnn_x.variant import Variant

from ..cost import estimate_space, fitted, is_guess, ops
from ..cost.fitted import Coefficients, Sizes
from ..cost.neighbours import Neighbours
from ..measure.bench import Bench
from ..target import Target
from .grid import confirm, grid, make_layer, unseen
from .kept import kept
from .runs import Report, Sample, emulate, emulate_pairs, to_fit, to_judge

__all__ = ["Sample", "calibrate", "confirm", "fit", "grid", "judge", "make_layer", "unseen", "write_coefficients"]

SPREAD = {"kind": 0.6, "lowering": 0.8, "group": 0.3, "family": 0.4}
"""How far factors lie from those of the next wider fit, as a standard deviation; the widest from the mix."""
ENOUGH = 10
"""Runs of a family at which its spread holds: it grows with the square root of their number; of a group up to it."""
LEAST = 0.1
"""What such a factor is at least: no part is free. With half, which kept parts apart that a wider fit had made nearly
free, assembly of Cortex-M0+ on layers kept out was 1.2 % dearer than estimated in the mean, now 0.1 %.
"""
MOST = 20.0
"""Times what all of a kind have that factors of groups and families are at most: where all layers of a group are small,
a part that runs once in each takes all that they cost, and is far too dear on large ones. With three, parts that are
dear in some kernels alone, runs that edges cut, were too cheap there.
"""
NOISE, LEAST_NOISE = 0.05, 0.005
"""Relative error that a fit takes for granted: at first, and of the best groups."""
OUTLIER = 2.0
"""Times the noise from which on a run weighs less."""
ROUNDS = 3
ENOUGH_SIZES = 16
"""Runs of a family from which on the spread of its code and its deepest stack are known by themselves."""
NEAR = 1.25
"""Variants that take up to so many times the cycles of the fastest: those that a plan chooses among."""
BOUND, FEW, LEAST_BOUND, LEAST_OF_PRODUCTS = 0.97, 4.0, 0.05, 0.10
"""A printed bound is this quantile of the errors of such variants on held-out layers, times one and so much by the
square root of their number, and at least so much, with weights more, as a few short layers are always written out
otherwise: set by one half of them, it holds for 97 % of the other.
"""
FEW_OF_WINDOWS = 7.0
"""The same of pools and depthwise convolutions, whose windows are of more kinds than a set has layers: with four, one
layer in fourteen of thirty networks that nothing was fitted on lay outside.
"""


OF_DATA = {"softmax q7": 0.4, "softmax q15": 0.4, "softmax int8": 0.75}
"""What data do to cycles, as much as drawn and equal elements differ on the core where they differ most: how many are
near the largest cannot be known of a network.
"""


def calibrate(
    target: Target,
    cflags: Sequence[str],
    *,
    bench: Bench,
    layers: Sequence[Layer] | None = None,
    held_out: Mapping[str, Sequence[Layer]] | None = None,
    held_out_pairs: Sequence[tuple[Layer, Layer]] = (),
    alike: Bench | None = None,
    before: Coefficients | None = None,
    keep: bool = False,
    report: Report = lambda text: None,
) -> Coefficients:
    """Emulate layers on a core, fit, and measure the error on layers of other shapes.

    Parameters
    ----------
    target : Target
        A bare core.
    cflags : sequence of str
    bench : Bench
    layers : sequence of Layer, optional
        Default: `grid`.
    held_out : mapping of str to sequence of Layer, optional
        Sets of layers to judge by. Default: `unseen` and `confirm`.
    held_out_pairs : sequence of (Layer, Layer)
        Convolutions with the pooling behind them, to judge what both cost as one.
    alike : Bench, optional
        Of the core that `Core.alike` names: its runs stand for this core's. The errors are this core's own.
    before : Coefficients, optional
        What is kept of operations and types that no layer here has, and of families that no run is of.
    keep : bool
        Whether runs that `before` keeps stand for those of their layers, and others alone are emulated.
    report : callable
        Called with a line of text per layer.
    """
    chosen = list(layers or grid())
    fitted_on = alike or bench
    samples: list[Sample] = []
    if keep and before is not None:
        samples, chosen = kept(before, chosen, target)
    samples += emulate(fitted_on, to_fit(chosen, fitted_on.target, beside_kept=keep), report)
    found = coefficients(samples, target, bench.toolchain.version, cflags, before)
    if before is not None:
        found = found.over(before)
    sets = held_out if held_out is not None else {"unseen": unseen(), "confirm": confirm()}

    def estimated(layer: Layer, variants: Sequence[Variant | None]) -> np.ndarray:
        return _estimated(found, layer, variants, target)

    judged = {name: emulate(bench, to_judge(each, target, estimated), report) for name, each in sets.items()}
    judged = {name: runs for name, runs in judged.items() if runs}
    errors = {name: judge(found, target, runs) for name, runs in judged.items()}
    together = [run for runs in judged.values() for run in runs] + emulate_pairs(bench, held_out_pairs, report)
    errors["held out"] = judge(found, target, together)
    judged_before = {} if before is None else before.errors
    merged = {
        name: {**judged_before.get(name, {}), **errors.get(name, {})} for name in {**judged_before, **errors}
    }
    return replace(found, errors=merged)


# ---------------------------------------------------------------- the fit


def coefficients(
    samples: Sequence[Sample],
    target: Target,
    compiler: str = "",
    cflags: Sequence[str] = (),
    before: Coefficients | None = None,
) -> Coefficients:
    """Everything that samples of one core tell; errors are left open. Of twins without a sample `before` tells."""
    families, groups = fit(samples, target, before)
    left = ((s.layer, _family(s.layer, s.variant, target), s) for s in samples)
    neighbours = Neighbours.of((layer, name, s.cycles / _cycles(families[name], s, target)) for layer, name, s in left)
    of_family: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        of_family[_family(sample.layer, sample.variant, target)].append(sample)
    sizes, code = _sizes([sample for sample in samples if sample.code_bytes], target)
    residuals = {}
    for name, found in of_family.items():
        wrong = np.array([abs(_cycles(families[name], s, target) / s.cycles - 1) for s in found])
        residuals[name] = (round(float(np.median(wrong)), 4), round(float(wrong.max()), 4), len(found))
    return Coefficients(
        target.core,
        compiler,
        tuple(cflags),
        families,
        groups,
        sizes,
        residuals,
        neighbours=neighbours,
        code=code,
    )


def _sizes(samples: Sequence[Sample], target: Target) -> tuple[dict[str, Sizes], Neighbours]:
    """Bytes of families and of their groups. How long the code of a family is differs by shape, as the compiler writes
    short loops out: what near shapes tell corrects the median, each sample's without itself, and what is left over then
    is the spread.
    """
    found: dict[str, list[int]] = defaultdict(list)
    names = [_family(sample.layer, sample.variant, target) for sample in samples]
    for at, name in enumerate(names):
        for each in (name, *fitted.ancestors(name)):
            found[each].append(at)
    logs = np.log([sample.code_bytes for sample in samples])
    stack = np.array([sample.stack_bytes for sample in samples])
    centre = {name: float(np.median(logs[rows])) for name, rows in found.items()}
    left = logs - np.array([centre[name] for name in names])
    ratios = np.exp(left).tolist()
    near = Neighbours.of((s.layer, name, ratio) for s, name, ratio in zip(samples, names, ratios, strict=True))
    rest = left - np.array([near.without(s.layer, name) for s, name in zip(samples, names, strict=True)])
    sizes: dict[str, Sizes] = {}
    for name in sorted(found, key=lambda name: -len(found[name])):  # groups come before what is in them
        rows = found[name]
        spread, deepest = float(np.sqrt(np.mean(rest[rows] ** 2))), int(stack[rows].max())
        above = next((sizes[each] for each in fitted.ancestors(name) if each in sizes and each != name), None)
        if above is not None and len(rows) < ENOUGH_SIZES:
            share = len(rows) / ENOUGH_SIZES
            spread = share * spread + (1 - share) * above.spread
            deepest = max(deepest, round(above.most_stack * (1 - share)))
        sizes[name] = Sizes(round(float(np.exp(centre[name]))), round(spread, 3), deepest)
    return sizes, near


def fit(
    samples: Sequence[Sample], target: Target, stored: Coefficients | None = None
) -> tuple[dict[str, tuple[float, ...]], dict[str, tuple[float, ...]]]:
    """Coefficients of every family, and of every group of them the factors on the instruction mix.

    From the widest group to the family, factors that make the relative errors small are sought near those of the wider
    one; then noise and weights are taken from what is left over, and all is done again.
    """
    of_kind: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        of_kind[fitted.ancestors(_family(sample.layer, sample.variant, target))[-1]].append(sample)
    families: dict[str, tuple[float, ...]] = {}
    groups: dict[str, tuple[float, ...]] = {}
    # Kernels with zero points start from what was fitted for their twins.
    for _, each in sorted(of_kind.items(), key=lambda item: item[1][0].layer.type.is_affine):
        _fit_kind(each, target, families, groups, stored or Coefficients(target.core))
    return families, groups


def _fit_kind(
    samples: Sequence[Sample],
    target: Target,
    families: dict[str, tuple[float, ...]],
    groups: dict[str, tuple[float, ...]],
    stored: Coefficients,
) -> None:
    """Fit the samples of one operation and its types."""
    cycles = np.array([s.cycles for s in samples], float)
    before = Coefficients(target.core, families={**stored.families, **families}, groups={**stored.groups, **groups})
    prices = np.array([fitted.prior(s.layer, s.variant, before, target.features, target.timing) for s in samples])
    shares = np.concatenate([_count(s, target) for s in samples]) * prices / cycles[:, None]
    names = [_family(s.layer, s.variant, target) for s in samples]
    lines = [(*fitted.ancestors(name)[::-1], name) for name in names]
    fastest: dict[tuple[Any, ...], float] = {}
    keys = [(s.layer.name, s.layer.input_shape, s.layer.kernel) for s in samples]
    for key, value in zip(keys, cycles, strict=True):
        fastest[key] = min(fastest.get(key, np.inf), value)
    # What is far from the fastest is never chosen.
    weights = np.sqrt([max(fastest[key] / value, 0.1) for key, value in zip(keys, cycles, strict=True)])
    # One kernel for all shapes follows its counts from the start, and so does assembly of vectors.
    noise = np.full(len(samples), NOISE if len(set(names)) > 1 else LEAST_NOISE)
    if target.features.isa >= Isa.HELIUM and samples[0].layer.row.is_windowed:
        noise[[s.variant is None or s.variant.inner == "helium" for s in samples]] = LEAST_NOISE
    trust = np.ones(len(samples))
    known: dict[str, np.ndarray] = {}
    for _ in range(ROUNDS if len(samples) > 200 else 3 * ROUNDS):
        factors = np.ones_like(shares)
        for level, step in enumerate(SPREAD):
            for name, at in _rows([line[level] for line in lines]).items():
                # The compiler's code for one family is its own, most of all on cores without assembly.
                known_by = float(np.sqrt(len(at) / ENOUGH))
                spread = SPREAD[step] * (known_by if step == "family" else min(known_by, 1.0))
                ratio = _ratios(shares[at] * factors[at], weights[at] * trust[at] / noise[at], spread, LEAST)
                factors[at] *= ratio
                if step == "kind":
                    most = MOST * factors
                factors[at] = np.minimum(factors[at], most[at])
                known[name] = factors[at[0]]
        wrong = np.abs((shares * factors).sum(axis=1) - 1)
        for at in _rows([line[2] for line in lines]).values():
            noise[at] = max(2 * float(np.median(wrong[at])), LEAST_NOISE)
        trust = np.minimum(1, np.sqrt(OUTLIER * noise / np.maximum(wrong, 1e-9)))
    for row, name in enumerate(names):
        families[name] = tuple(float(f"{value:.4g}") for value in prices[row] * known[name])
        for group in lines[row][:-1]:
            groups[group] = tuple(float(f"{value:.4g}") for value in known[group])


def _rows(names: Sequence[str]) -> dict[str, np.ndarray]:
    found: dict[str, list[int]] = defaultdict(list)
    for row, name in enumerate(names):
        found[name].append(row)
    return {name: np.array(rows) for name, rows in found.items()}


def _ratios(shares: np.ndarray, weights: np.ndarray, spread: float, least: float) -> np.ndarray:
    """Factors of at least `least`, drawn towards one, that bring the sum of every row of shares near one."""
    from scipy.optimize import nnls

    parts = shares.shape[1]
    matrix = np.concatenate([shares * weights[:, None], np.eye(parts) / spread])
    wanted = np.concatenate([weights, np.full(parts, 1 / spread)])
    return least + nnls(matrix, wanted - matrix.sum(axis=1) * least, maxiter=100 * parts)[0]


def _family(layer: Layer, variant: Variant | None, target: Target) -> str:
    return fitted.family(layer, variant, target.features)


def _count(sample: Sample, target: Target) -> np.ndarray:
    return ops.count(sample.layer, [sample.variant], target.features)


def _cycles(cost: Sequence[float], sample: Sample, target: Target) -> float:
    return float(_count(sample, target)[0] @ np.array(cost))


# ---------------------------------------------------------------- how good it is


def _estimated(
    found: Coefficients, layer: Layer, variants: Sequence[Variant | None], target: Target, pool: Layer | None = None
) -> np.ndarray:
    """Cycles that these coefficients give."""
    return estimate_space(layer, variants, target, pool, found).cycles.astype(float)


def judge(found: Coefficients, target: Target, samples: Sequence[Sample]) -> dict[str, dict[str, float]]:
    """How far estimates are from emulated runs, per operation and types.

    Returns
    -------
    dict
        ``"conv2d q7"`` -> ``median``, ``p90``, ``worst`` relative error over all runs; ``near_...`` over the variants
        that take up to a quarter more than the fastest that was emulated; ``choice_...`` over the estimate's first
        choice of each layer, and ``regret_...``: what that choice takes beyond the fastest; ``bound``: what is
        printed as the worst; ``runs`` and ``layers``. Convolutions that take in their pooling are a kind of their own,
        ``fused``; what is a guess is left out.
    """
    kinds: dict[str, dict[tuple[Any, ...], list[Sample]]] = {}
    for sample in samples:
        layer = sample.layer
        if is_guess(layer):
            continue
        kind = f"{layer.op} {layer.dtype}"
        if layer.weights_dtype not in (None, layer.dtype):
            kind += f" {layer.weights_dtype}"
        if sample.pool is not None:
            kind += " fused"
        key = (layer.name, layer.input_shape, layer.kernel)
        kinds.setdefault(kind, {}).setdefault(key, []).append(sample)
    figures = {kind: _judge_kind(found, target, list(layers.values())) for kind, layers in kinds.items()}
    if target.features.isa < Isa.HELIUM:  # vectors take what is not near along
        for kind, known in figures.items():
            known["bound"] = max(known["bound"], OF_DATA.get(kind, 0.0))
    return figures


def _judge_kind(found: Coefficients, target: Target, layers: Sequence[Sequence[Sample]]) -> dict[str, float]:
    every, near, choices, regrets = [], [], [], []
    for samples in layers:
        first = samples[0]
        estimated = _estimated(found, first.layer, [s.variant for s in samples], target, first.pool)
        cycles = np.array([s.cycles for s in samples], float)
        wrong = np.abs(estimated / cycles - 1)
        # Of equals the one with the least scratch, as the planner does.
        scratch = [Step.of(s.layer, s.variant, s.pool).scratch_bytes for s in samples]
        choice = int(np.lexsort((scratch, np.rint(estimated)))[0])
        every += wrong.tolist()
        # Kernels in C beside vectors are kept out by their estimate: convolutions, and those that nothing is known of.
        known = found.families if first.layer.op == "depthwise_conv2d" else ()
        knows = target.features.isa < Isa.HELIUM or first.layer.op not in ("conv2d", "depthwise_conv2d")
        names = [_family(s.layer, s.variant, target) for s in samples]
        is_chosen = np.array([knows or name in known or fitted.VECTORS in name for name in names])
        is_chosen[choice] = True
        near += wrong[(cycles <= NEAR * cycles.min()) & is_chosen].tolist()
        choices.append(wrong[choice])
        regrets.append(cycles[choice] / cycles.min() - 1)
    figures: dict[str, float] = {"median": np.median(every), "p90": np.quantile(every, 0.9), "worst": max(every)}
    for name, values in (("near", near), ("choice", choices), ("regret", regrets)):
        figures |= {f"{name}_median": np.median(values), f"{name}_worst": max(values)}
    alike = layers[0][0].layer
    least = LEAST_OF_PRODUCTS if alike.row.is_weighted else LEAST_BOUND
    few = FEW_OF_WINDOWS if alike.row.is_windowed and alike.op != "conv2d" else FEW
    figures["bound"] = max(np.ceil(100 * (1 + few / len(layers) ** 0.5) * np.quantile(near, BOUND)) / 100, least)
    rounded = {name: round(float(value), 4) for name, value in figures.items()}
    return {**rounded, "layers": len(layers), "runs": len(every)}


def write_coefficients(found: Coefficients, folder: Path) -> Path:
    """Write one core's coefficients file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{found.core}.json"
    path.write_text(fitted.to_json(found), encoding="utf-8", newline="\n")
    return path
