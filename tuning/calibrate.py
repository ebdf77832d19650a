# SPDX-License-Identifier: Apache-2.0
"""Fit what the analytic model cannot know, the cycles of each part of each compiled kernel, on emulated runs of
a grid of layers.

A family of kernels is all knobs but the number of im2col columns. Fits are non-negative least squares on relative
errors, drawn weakly towards what is known beforehand so that parts which a grid hardly exercises keep a sensible
cost. The error that is published is measured on layers of other shapes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cmsisnn_x._variants import BASELINE, BLOCKED_OPS, Variant
from cmsisnn_x.layers import Layer

from .cost import features, fitted, mix
from .cost.fitted import Coefficients
from .drawn import draw_layer
from .measure import Bench
from .model import window_axis
from .space import search_space
from .target import Target

PULL = 1e-3
"""Weight of the instruction mix: small against a relative error of a few per cent on any one layer."""
PULL_TO_GROUP = 3e-3
"""Weight of what a family's relatives have in common."""
LAYERS_PER_FAMILY = 4
LAYERS_PER_ERROR = 1


def make_layer(
    name: str,
    op: str,
    dtype: str,
    shape: tuple[int, ...],
    out: int = 0,
    kernel: tuple[int, int] = (1, 1),
    stride: tuple[int, int] = (1, 1),
    padding: int | str = 0,
    ceil_mode: bool = False,
) -> Layer:
    """A layer with drawn weights; `out` is its number of output channels or rows."""
    weighted = op in ("conv2d", "depthwise_conv2d", "fully_connected")
    common: dict[str, Any] = {
        "name": name,
        "op": op,
        "dtype": dtype,
        "input_shape": shape,
        "weights_dtype": dtype if weighted else None,
    }
    if op == "fully_connected":
        layer = Layer(**common, output_shape=(out,), out_shift=8)
    elif op.endswith("2d"):
        axes = [window_axis(shape[i], kernel[i], stride[i], padding, ceil_mode) for i in (0, 1)]
        output = (axes[0][0], axes[1][0], out if op == "conv2d" else shape[2])
        layer = Layer(
            **common,
            output_shape=output,
            kernel=kernel,
            stride=stride,
            padding=(axes[0][1], axes[1][1]),
            ceil_mode=ceil_mode,
            out_shift=8 if weighted else 0,
        )
    else:
        layer = Layer(**common, output_shape=shape, int_bits=2 if op in ("sigmoid", "tanh") else 0)
    return draw_layer("calibrate", layer) if weighted else layer


_CONVOLUTIONS = (
    ((8, 8, 4), 8, (3, 3), (1, 1), 1),
    ((6, 6, 16), 16, (3, 3), (1, 1), 1),
    ((10, 10, 3), 8, (5, 5), (1, 1), 2),
    ((5, 7, 8), 12, (1, 1), (1, 1), 0),
    ((8, 8, 32), 16, (1, 1), (1, 1), 0),
    ((12, 12, 8), 8, (3, 3), (2, 2), 1),
    ((6, 7, 5), 13, (3, 3), (1, 1), 1),
    ((4, 4, 64), 32, (3, 3), (1, 1), 1),
    ((9, 9, 6), 10, (5, 5), (1, 1), 0),
    ((16, 16, 3), 16, (3, 3), (1, 1), 1),
    ((8, 8, 32), 8, (5, 5), (1, 1), 2),
    ((7, 9, 24), 6, (3, 3), (1, 1), 0),
    ((9, 11, 4), 6, (7, 7), (1, 1), 3),
    ((24, 24, 3), 32, (5, 5), (1, 1), 2),
)
_DEPTHWISE: tuple[tuple[Any, ...], ...] = (
    ((8, 8, 8), (3, 3), (1, 1), 1),
    ((6, 6, 32), (3, 3), (1, 1), 1),
    ((10, 10, 3), (5, 5), (1, 1), 2),
    ((12, 12, 16), (3, 3), (2, 2), 1),
    ((7, 9, 5), (3, 3), (1, 1), 1),
    ((5, 5, 64), (3, 3), (1, 1), 1),
    ((9, 9, 12), (5, 5), (1, 1), 0),
    ((12, 6, 24), (3, 1), (1, 1), 0),
    ((6, 6, 10), (2, 2), (2, 2), 0),
    ((10, 12, 7), (3, 3), (2, 2), 0),
    ((16, 16, 4), (3, 3), (1, 1), 1),
    ((4, 6, 40), (3, 5), (1, 1), "same"),
    ((14, 14, 1), (3, 3), (1, 1), 1),
    ((9, 9, 13), (7, 7), (1, 1), 3),
)
_POOLS = (
    ((16, 16, 8), (3, 3), (2, 2), 0, True),
    ((8, 8, 32), (2, 2), (2, 2), 0, False),
    ((20, 16, 8), (2, 2), (2, 2), 0, False),
    ((6, 10, 20), (2, 2), (2, 2), 0, True),
    ((9, 9, 5), (3, 3), (2, 2), 1, False),
    ((6, 6, 16), (6, 6), (6, 6), 0, False),
    ((12, 10, 4), (2, 3), (1, 1), 1, False),
    ((10, 10, 12), (3, 3), (1, 1), 0, False),
    ((8, 8, 64), (3, 3), (2, 2), 0, True),
    ((5, 5, 40), (5, 5), (1, 1), 0, False),
    ((14, 14, 3), (2, 2), (2, 2), 0, False),
    ((7, 7, 24), (7, 7), (1, 1), 0, False),
    ((12, 12, 6), (4, 4), (3, 3), 1, True),
    ((20, 20, 16), (3, 3), (2, 2), 0, True),
)
_DENSE = ((64, 10), (256, 10), (128, 16), (33, 7), (512, 5), (100, 30), (17, 13), (1024, 4), (48, 64), (200, 3))
_VECTORS = (16, 64, 257, 1024, 4096, 10, 3)


def grid(dtypes: Sequence[str] = ("q7", "q15")) -> list[Layer]:
    """The layers that coefficients are fitted on."""
    layers = []
    for dtype in dtypes:
        layers += [
            make_layer(f"conv{i}", "conv2d", dtype, s, out, k, stride, p)
            for i, (s, out, k, stride, p) in enumerate(_CONVOLUTIONS)
        ]
        layers += [
            make_layer(f"dw{i}", "depthwise_conv2d", dtype, s, 0, k, stride, p)
            for i, (s, k, stride, p) in enumerate(_DEPTHWISE)
        ]
        layers += [make_layer(f"fc{i}", "fully_connected", dtype, (n,), out) for i, (n, out) in enumerate(_DENSE)]
        for op in ("max_pool2d", "avg_pool2d"):
            layers += [
                make_layer(f"{op}{i}", op, dtype, s, 0, k, stride, p, c)
                for i, (s, k, stride, p, c) in enumerate(_POOLS)
            ]
        for op in ("relu", "sigmoid", "tanh", "softmax"):
            layers += [make_layer(f"{op}{n}", op, dtype, (n,)) for n in _VECTORS]
    return layers


def unseen(dtypes: Sequence[str] = ("q7", "q15")) -> list[Layer]:
    """Layers of other shapes, never fitted: what the published errors are measured on. The paper's network is
    among them.
    """
    layers = []
    for dtype in dtypes:
        layers += [
            make_layer("paper1", "conv2d", dtype, (32, 32, 3), 32, (5, 5), (1, 1), 2),
            make_layer("paper2", "conv2d", dtype, (16, 16, 32), 32, (5, 5), (1, 1), 2),
            make_layer("paper3", "conv2d", dtype, (8, 8, 32), 64, (5, 5), (1, 1), 2),
            make_layer("odd", "conv2d", dtype, (11, 10, 7), 9, (3, 3), (1, 1), "same"),
            make_layer("pointwise", "conv2d", dtype, (7, 7, 48), 20),
            make_layer("stem", "conv2d", dtype, (20, 20, 3), 12, (3, 3), (2, 2), "same"),
            make_layer("square", "conv2d", dtype, (6, 6, 32), 32, (3, 3), (1, 1), "same"),
            make_layer("valid", "conv2d", dtype, (12, 12, 10), 6, (5, 5)),
            make_layer("depthwise", "depthwise_conv2d", dtype, (16, 16, 32), 0, (3, 3), (1, 1), 1),
            make_layer("depthwise2", "depthwise_conv2d", dtype, (13, 13, 20), 0, (3, 3), (2, 2), "same"),
            make_layer("depthwise3", "depthwise_conv2d", dtype, (8, 8, 6), 0, (5, 5), (1, 1), "same"),
            make_layer("paper_fc", "fully_connected", dtype, (1024,), 10),
            make_layer("fc", "fully_connected", dtype, (75,), 21),
            *(
                make_layer(f"pool{i}", op, dtype, (32 >> i, 32 >> i, 32), 0, (3, 3), (2, 2), 0, True)
                for i in (0, 1)
                for op in ("max_pool2d", "avg_pool2d")
            ),
            *(
                make_layer(f"odd_{op}", op, dtype, (11, 13, 10), 0, (2, 2), (2, 2), 0)
                for op in ("max_pool2d", "avg_pool2d")
            ),
            *(make_layer(f"vector_{op}", op, dtype, (500,)) for op in ("relu", "sigmoid", "tanh", "softmax")),
        ]
    return layers


@dataclass(frozen=True)
class Sample:
    """One emulated run."""

    layer: Layer
    variant: Variant | None
    cycles: int
    code_bytes: int
    stack_bytes: int = 0


Report = Callable[[str], None]


def calibrate(
    target: Target,
    cflags: Sequence[str],
    *,
    bench: Bench,
    layers: Sequence[Layer] | None = None,
    held_out: Sequence[Layer] | None = None,
    report: Report = lambda text: None,
) -> Coefficients:
    """Emulate layers on a core, fit, and measure the error on layers of other shapes.

    Parameters
    ----------
    target : Target
        A bare core.
    cflags : sequence of str
    bench : Bench
    layers, held_out : sequence of Layer, optional
        Default: `grid` and `unseen`.
    report : callable
        Called with a line of text per layer.
    """
    samples = _emulate(bench, target, list(layers or grid()), LAYERS_PER_FAMILY, report)
    families, groups = fit(samples, target)
    code = {name: int(np.median([sample.code_bytes for sample in found])) for name, found in samples.items()}
    stack = {name: max(sample.stack_bytes for sample in found) for name, found in samples.items()}
    errors = _errors(families, _emulate(bench, target, list(held_out or unseen()), LAYERS_PER_ERROR, report), target)
    return Coefficients(target.core, bench.toolchain.version, tuple(cflags), families, groups, code, stack, errors)


def _emulate(
    bench: Bench, target: Target, layers: Sequence[Layer], per_family: int, report: Report
) -> dict[str, list[Sample]]:
    """Every family on up to `per_family` of the layers that it can run, spread over them."""
    members: dict[str, dict[int, list[Variant | None]]] = {}
    for number, layer in enumerate(layers):
        space: Iterable[Variant | None] = search_space(layer, target) if layer.python_op in BLOCKED_OPS else [None]
        for variant in space:
            if variant is None or variant.im2col_cols <= 4 * variant.block_cols:
                members.setdefault(fitted.family(layer, variant), {}).setdefault(number, []).append(variant)
    chosen: dict[int, list[Variant | None]] = {}
    for position, found in enumerate(members.values()):
        numbers = sorted(found)
        first = found[numbers[0]][0]
        # Loops that are hardly unrolled are hardly ever chosen: half the effort is enough.
        effort = (
            per_family
            if first is None or first.unroll >= 4 or first.host_knobs() == BASELINE.host_knobs()
            else max(per_family // 2, 1)
        )
        count = len(numbers) if first is None else min(effort, len(numbers))
        for at in range(count):
            number = numbers[(position + at * len(numbers) // count) % len(numbers)]
            # The number of im2col columns rotates with the layer: it belongs to no family.
            chosen.setdefault(number, []).append(found[number][(number + position) % len(found[number])])
    samples: dict[str, list[Sample]] = {}
    for number, variants in sorted(chosen.items()):
        layer = layers[number]
        results = bench.measure(layer, variants)
        broken = [item.problem for item in results if item.problem]
        report(
            f"{target.core} {layer.dtype} {layer.name}: {len(results)} kernels"
            + (f", {len(broken)} failed: {broken[0]}" if broken else "")
        )
        for variant, item in zip(variants, results, strict=True):
            if not item.problem:
                samples.setdefault(fitted.family(layer, variant), []).append(
                    Sample(layer, variant, item.cycles, item.code_bytes, item.stack_bytes)
                )
    return samples


def fit(
    samples: Mapping[str, Sequence[Sample]], target: Target
) -> tuple[dict[str, tuple[float, ...]], dict[str, tuple[float, ...]]]:
    """Coefficients of every family, and of every group of them the factors on the instruction mix.

    Families that differ in blocking and unrolling alone are first fitted together, as corrections of the instruction
    mix that they share; each is then fitted by itself, drawn towards that.
    """
    members: dict[str, list[str]] = {}
    for name in samples:
        members.setdefault(fitted.group(name), []).append(name)
    families, groups = {}, {}
    for group, names in members.items():
        prior = {name: _prior(samples[name][0], target) for name in names}
        together = [sample for name in names for sample in samples[name]]
        shared = _ratios(together, np.array([prior[name] for name in names for _ in samples[name]]), target, PULL)
        # No part is free: a ratio of zero would keep a family's own fit from ever finding it.
        shared = np.maximum(shared, 0.05)
        groups[group] = tuple(float(f"{value:.4g}") for value in shared)
        for name in names:
            start = prior[name] * shared
            own = start * _ratios(samples[name], np.array([start] * len(samples[name])), target, PULL_TO_GROUP)
            families[name] = tuple(float(f"{value:.5g}") for value in own)
    return families, groups


def _prior(sample: Sample, target: Target) -> np.ndarray:
    return np.array(mix.price(sample.layer, sample.variant, target.dsp, target.timing))


def _ratios(samples: Sequence[Sample], prior: np.ndarray, target: Target, pull: float) -> np.ndarray:
    """Non-negative factors on each part's prior that make the relative errors small; `pull` holds them near one."""
    from scipy.optimize import nnls

    counts = np.concatenate([features.count(s.layer, [s.variant], target.dsp) for s in samples])
    cycles = np.array([s.cycles for s in samples], float)
    hold = np.sqrt(pull) * np.eye(prior.shape[1])
    matrix = np.concatenate([counts * prior / cycles[:, None], hold])
    return nnls(matrix, np.concatenate([np.ones(len(cycles)), hold.sum(axis=1)]))[0]


def _errors(
    families: Mapping[str, tuple[float, ...]], seen: Mapping[str, Sequence[Sample]], target: Target
) -> dict[str, dict[str, float]]:
    """Relative errors per operation, and the regret of trusting the estimate: its first choice against the
    fastest one seen.
    """
    runs: dict[str, dict[tuple[str, str], list[tuple[float, float]]]] = {}
    for name, found in seen.items():
        for sample in found:
            if name in families:
                counts = features.count(sample.layer, [sample.variant], target.dsp)[0]
                pair = (float(counts @ np.array(families[name])), float(sample.cycles))
                runs.setdefault(sample.layer.op, {}).setdefault((sample.layer.name, sample.layer.dtype), []).append(
                    pair
                )
    result = {}
    for op, layers in runs.items():
        errors = [abs(estimated / actual - 1) for pairs in layers.values() for estimated, actual in pairs]
        regrets = [min(pairs)[1] / min(actual for _, actual in pairs) - 1 for pairs in layers.values()]
        figures = {
            "median": np.median(errors),
            "p90": np.quantile(errors, 0.9),
            "worst": max(errors),
            "worst_regret": max(regrets),
        }
        result[op] = {**{key: round(float(value), 4) for key, value in figures.items()}, "runs": len(errors)}
    return result


def write_coefficients(found: Coefficients, folder: Path) -> Path:
    """Write one core's coefficients file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{found.core}.json"
    path.write_text(fitted.to_json(found), encoding="utf-8", newline="\n")
    return path
