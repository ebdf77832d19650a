# SPDX-License-Identifier: Apache-2.0
"""Fit what the analytic model cannot know, the cycles of each part of each compiled kernel, on emulated runs of a grid of layers.

Every family of kernels (all knobs but the number of im2col columns) is fitted by itself: non-negative least squares on relative
errors, drawn weakly towards the instruction mix so that parts which the grid hardly exercises keep a sensible cost. The error that
is published is measured on layers of other shapes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cmsisnn_x._variants import BLOCKED_OPS, Variant
from cmsisnn_x.layers import Layer

from .cost import features, fitted, mix
from .cost.fitted import Coefficients
from .measure import Bench
from .model import _draw, window_axis
from .space import search_space
from .target import Target

PULL = 1e-3
"""Weight of the prior: small against a relative error of a few per cent on any one layer."""


def make_layer(
    name: str, op: str, dtype: str, shape: tuple[int, ...], out: int = 0, kernel: tuple[int, int] = (1, 1),
    stride: tuple[int, int] = (1, 1), padding: int | str = 0, ceil_mode: bool = False,
) -> Layer:  # fmt: skip
    """A layer with drawn weights; `out` is its number of output channels or rows."""
    weighted = op in ("conv2d", "depthwise_conv2d", "fully_connected")
    common = {"name": name, "op": op, "dtype": dtype, "input_shape": shape, "weights_dtype": dtype if weighted else None}
    if op == "fully_connected":
        layer = Layer(**common, output_shape=(out,), out_shift=8)  # type: ignore[arg-type]
    elif op.endswith("2d"):
        axes = [window_axis(shape[i], kernel[i], stride[i], padding, ceil_mode) for i in (0, 1)]
        output = (axes[0][0], axes[1][0], out if op == "conv2d" else shape[2])
        layer = Layer(
            **common, output_shape=output, kernel=kernel, stride=stride, padding=(axes[0][1], axes[1][1]), ceil_mode=ceil_mode,  # type: ignore[arg-type]
            out_shift=8 if weighted else 0,
        )  # fmt: skip
    else:
        layer = Layer(**common, output_shape=shape, int_bits=2 if op in ("sigmoid", "tanh") else 0)  # type: ignore[arg-type]
    return _draw("calibrate", layer) if weighted else layer


_CONVOLUTIONS = (
    ((8, 8, 4), 8, (3, 3), (1, 1), 1), ((6, 6, 16), 16, (3, 3), (1, 1), 1), ((10, 10, 3), 8, (5, 5), (1, 1), 2), ((5, 7, 8), 12, (1, 1), (1, 1), 0),
    ((8, 8, 32), 16, (1, 1), (1, 1), 0), ((12, 12, 8), 8, (3, 3), (2, 2), 1), ((6, 7, 5), 13, (3, 3), (1, 1), 1), ((4, 4, 64), 32, (3, 3), (1, 1), 1),
    ((9, 9, 6), 10, (5, 5), (1, 1), 0), ((16, 16, 3), 16, (3, 3), (1, 1), 1), ((8, 8, 32), 8, (5, 5), (1, 1), 2), ((7, 9, 24), 6, (3, 3), (1, 1), 0),
    ((8, 8, 12), 16, (3, 1), (1, 1), 0), ((6, 6, 10), 14, (2, 2), (2, 2), 0), ((12, 12, 16), 24, (5, 5), (1, 1), 2), ((9, 11, 2), 6, (7, 7), (1, 1), 3),
    ((16, 8, 8), 7, (5, 5), (1, 1), 0), ((6, 12, 20), 12, (1, 5), (1, 1), 0), ((8, 16, 40), 5, (3, 3), (1, 1), 1), ((14, 14, 1), 8, (5, 5), (1, 1), 2),
    ((10, 10, 9), 6, (7, 7), (1, 1), 3), ((24, 24, 3), 32, (5, 5), (1, 1), 2),
)  # fmt: skip
_DEPTHWISE = (
    ((8, 8, 8), (3, 3), (1, 1), 1), ((6, 6, 32), (3, 3), (1, 1), 1), ((10, 10, 3), (5, 5), (1, 1), 2), ((12, 12, 16), (3, 3), (2, 2), 1),
    ((7, 9, 5), (3, 3), (1, 1), 1), ((5, 5, 64), (3, 3), (1, 1), 1), ((9, 9, 12), (5, 5), (1, 1), 0), ((12, 6, 24), (3, 1), (1, 1), 0),
    ((6, 6, 10), (2, 2), (2, 2), 0), ((10, 12, 7), (3, 3), (2, 2), 0), ((16, 16, 4), (3, 3), (1, 1), 1), ((4, 6, 40), (3, 5), (1, 1), "same"),
    ((14, 14, 1), (3, 3), (1, 1), 1), ((9, 9, 13), (7, 7), (1, 1), 3),
)  # fmt: skip
_POOLS = (
    ((16, 16, 8), (3, 3), (2, 2), 0, True), ((8, 8, 32), (2, 2), (2, 2), 0, False), ((9, 9, 5), (3, 3), (2, 2), 1, False), ((6, 6, 16), (6, 6), (6, 6), 0, False),
    ((12, 10, 4), (2, 3), (1, 1), 1, False), ((10, 10, 12), (3, 3), (1, 1), 0, False), ((8, 8, 64), (3, 3), (2, 2), 0, True), ((5, 5, 40), (5, 5), (1, 1), 0, False),
    ((14, 14, 3), (2, 2), (2, 2), 0, False), ((7, 7, 24), (7, 7), (1, 1), 0, False), ((12, 12, 6), (4, 4), (3, 3), 1, True), ((20, 20, 16), (3, 3), (2, 2), 0, True),
)  # fmt: skip
_DENSE = ((64, 10), (256, 10), (128, 16), (33, 7), (512, 5), (100, 30), (17, 13), (1024, 4), (48, 64), (200, 3))
_VECTORS = (16, 64, 257, 1024, 4096, 10, 3)


def grid(dtypes: Sequence[str] = ("q7", "q15")) -> list[Layer]:
    """The layers that coefficients are fitted on."""
    layers = []
    for dtype in dtypes:
        layers += [make_layer(f"conv{i}", "conv2d", dtype, s, out, k, stride, p) for i, (s, out, k, stride, p) in enumerate(_CONVOLUTIONS)]
        layers += [make_layer(f"dw{i}", "depthwise_conv2d", dtype, s, 0, k, stride, p) for i, (s, k, stride, p) in enumerate(_DEPTHWISE)]
        layers += [make_layer(f"fc{i}", "fully_connected", dtype, (n,), out) for i, (n, out) in enumerate(_DENSE)]
        for op in ("max_pool2d", "avg_pool2d"):
            layers += [make_layer(f"{op}{i}", op, dtype, s, 0, k, stride, p, c) for i, (s, k, stride, p, c) in enumerate(_POOLS)]
        for op in ("relu", "sigmoid", "tanh", "softmax"):
            layers += [make_layer(f"{op}{n}", op, dtype, (n,)) for n in _VECTORS]
    return layers


def unseen(dtypes: Sequence[str] = ("q7", "q15")) -> list[Layer]:
    """Layers of other shapes, never fitted: what the published errors are measured on. The paper's network is among them."""
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
            *(make_layer(f"pool{i}", op, dtype, (32 >> i, 32 >> i, 32), 0, (3, 3), (2, 2), 0, True) for i in (0, 1) for op in ("max_pool2d", "avg_pool2d")),
            *(make_layer(f"odd_{op}", op, dtype, (11, 13, 10), 0, (2, 2), (2, 2), 0) for op in ("max_pool2d", "avg_pool2d")),
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


def calibrate(
    target: Target, cflags: Sequence[str], *, bench: Bench, dtypes: Sequence[str] = ("q7", "q15"), report: Callable[[str], None] = lambda text: None
) -> Coefficients:
    """Emulate the grid on a core, fit, and measure the error on unseen layers.

    Parameters
    ----------
    target : Target
        A bare core.
    cflags : sequence of str
    bench : Bench
    report : callable
        Called with a line of text per layer.
    """
    samples: dict[str, list[Sample]] = {}
    for number, layer in enumerate(grid(dtypes)):
        for name, sample in _emulate(bench, layer, target, _one_per_family(layer, target, number), report):
            samples.setdefault(name, []).append(sample)
    families = {name: _fit(found, target) for name, found in samples.items()}
    code = {name: int(np.median([sample.code_bytes for sample in found])) for name, found in samples.items()}
    result = Coefficients(target.core, bench.toolchain.version, tuple(cflags), families, code)
    errors = _errors(bench, target, result, unseen(dtypes), report)
    return Coefficients(target.core, result.compiler, result.cflags, families, code, errors)


def _one_per_family(layer: Layer, target: Target, number: int) -> list[Variant | None]:
    """A variant of every family, the number of im2col columns rotating from layer to layer."""
    if layer.python_op not in BLOCKED_OPS:
        return [None]
    members: dict[str, list[Variant]] = {}
    for variant in search_space(layer, target):
        if variant.im2col_cols <= 4 * variant.block_cols:
            members.setdefault(fitted.family(layer, variant), []).append(variant)
    return [found[number % len(found)] for found in members.values()]


def _emulate(
    bench: Bench, layer: Layer, target: Target, variants: Sequence[Variant | None], report: Callable[[str], None]
) -> Iterable[tuple[str, Sample]]:
    results = bench.measure(layer, variants)
    broken = [item.problem for item in results if item.problem]
    report(f"{target.core} {layer.dtype} {layer.name}: {len(results)} kernels" + (f", {len(broken)} failed: {broken[0]}" if broken else ""))
    for variant, item in zip(variants, results, strict=True):
        if not item.problem:
            yield fitted.family(layer, variant), Sample(layer, variant, item.cycles, item.code_bytes)


def _fit(samples: Sequence[Sample], target: Target) -> tuple[float, ...]:
    from scipy.optimize import nnls

    prior = np.array(mix.price(samples[0].layer, samples[0].variant, target.dsp, target.timing))
    counts = np.concatenate([features.count(s.layer, [s.variant], target.dsp) for s in samples])
    cycles = np.array([s.cycles for s in samples], float)
    # Unknowns are ratios to the prior; the rows below hold them near one.
    pull = np.sqrt(PULL) * np.eye(len(prior))
    matrix = np.concatenate([counts * prior / cycles[:, None], pull])
    ratios, _ = nnls(matrix, np.concatenate([np.ones(len(cycles)), pull.sum(axis=1)]))
    return tuple(float(f"{value:.5g}") for value in ratios * prior)


def _errors(
    bench: Bench, target: Target, found: Coefficients, layers: Sequence[Layer], report: Callable[[str], None]
) -> dict[str, dict[str, float]]:
    """Relative errors per operation, and the regret of trusting the estimate: its first choice against the fastest one seen."""
    errors: dict[str, list[float]] = {}
    regrets: dict[str, list[float]] = {}
    for number, layer in enumerate(layers):
        variants = _one_per_family(layer, target, number)
        estimated, actual = [], []
        for name, sample in _emulate(bench, layer, target, variants, report):
            if name in found.families:
                counts = features.count(layer, [sample.variant], target.dsp)[0]
                estimated.append(float(counts @ np.array(found.families[name])))
                actual.append(float(sample.cycles))
        if actual:
            errors.setdefault(layer.op, []).extend(abs(e / a - 1) for e, a in zip(estimated, actual, strict=True))
            regrets.setdefault(layer.op, []).append(actual[int(np.argmin(estimated))] / min(actual) - 1)
    return {
        op: {
            "median": round(float(np.median(values)), 4),
            "p90": round(float(np.quantile(values, 0.9)), 4),
            "worst": round(max(values), 4),
            "worst_regret": round(max(regrets[op]), 4),
            "runs": len(values),
        }
        for op, values in errors.items()
    }


def write_coefficients(found: Coefficients, folder: Path) -> Path:
    """Write one core's coefficients file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{found.core}.json"
    path.write_text(fitted.to_json(found), encoding="utf-8", newline="\n")
    return path
