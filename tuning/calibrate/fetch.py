# SPDX-License-Identifier: Apache-2.0
"""The code that loops run through, observed: how much an instruction cache must hold for each kernel.

A run under a large cache tells, line by line, how many others were fetched since: what all smaller caches would have
missed. A loop of `n` turns that does not fit into a cache misses more than it holds at every turn; the smallest cache
under which it misses less has the size of the loop.
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from cmsisnn_x.affine import Affine
from cmsisnn_x.layers import Layer
from cmsisnn_x.steps import Step
from cmsisnn_x.variant import Variant

from ..base.files import write_atomically
from ..cost import fetch, ops
from ..cost.fetch import Nests, Size
from ..cost.ops import OPS
from ..emulate import toolchain_of
from ..measure.bench import BATCH
from ..measure.layers import evaluate_many
from ..search.space import search_space
from ..target import Target
from .grid import Convolution, Depthwise, make_layer

LINE_BYTES = 8
HELD_BYTES = 8192
"""Of the cache that is observed: no loop of a kernel has as much code."""
MISSED = 0.5
"""Of the lines that a cache has room for, the share that a turn misses where the loop does not fit; half, as some paths
through a loop are seldom taken.
"""
DRAWN = 0.05
"""How much the bytes of a pass or of single elements are drawn to zero, against one layer's say."""
DTYPES = ("q7", "q15", "int8", "int8 single")

# Whole turns of unrolled loops, and passes left over; outputs that fill blocks, and such that do not.
_CONVOLUTIONS: tuple[Convolution, ...] = (
    ((9, 9, 32), 24, (1, 1), (1, 1), 0),
    ((7, 8, 60), 20, (1, 1), (1, 1), 0),
    ((6, 6, 20), 20, (1, 1), (1, 1), 0),
    ((20, 18, 3), 8, (3, 3), (2, 2), "same"),
    ((9, 9, 16), 12, (3, 3), (1, 1), 1),
    ((21, 10, 1), 24, (10, 4), (2, 2), "same"),
    ((12, 11, 3), 8, (5, 5), (1, 1), 2),
    ((8, 8, 64), 12, (3, 3), (1, 1), 1),
    ((8, 9, 28), 8, (3, 3), (1, 1), 1),
)
_DEPTHWISE: tuple[Depthwise, ...] = (
    ((12, 12, 16), (3, 3), (1, 1), 1),
    ((20, 5, 24), (3, 3), (1, 1), 1),
    ((6, 6, 20), (3, 3), (1, 1), 1),
    ((12, 12, 12), (3, 3), (2, 2), "same"),
    ((12, 24, 8), (3, 3), (1, 1), 1),
    ((14, 24, 8), (3, 3), (2, 2), "same"),
    ((9, 10, 12), (5, 5), (1, 1), 2),
    ((12, 12, 8), (5, 5), (2, 2), 2),
)
_DENSE = ((64, 12), (64, 14), (130, 20), (130, 22), (256, 9), (256, 11))
"""Each second one with a factor for each channel."""


def layers(dtypes: Sequence[str] = DTYPES) -> Iterator[Layer]:
    """What the loops are observed on."""
    for dtype in dtypes:
        own = dtype if dtype in ("q7", "q15") else "q7"
        made = [
            make_layer(f"conv{i}", "conv2d", own, shape, out, kernel, stride, padding)
            for i, (shape, out, kernel, stride, padding) in enumerate(_CONVOLUTIONS)
        ]
        made += [
            make_layer(f"dw{i}", "depthwise_conv2d", own, shape, 0, kernel, stride, padding)
            for i, (shape, kernel, stride, padding) in enumerate(_DEPTHWISE)
        ]
        made += [make_layer(f"fc{i}", "fully_connected", own, (size,), out) for i, (size, out) in enumerate(_DENSE)]
        yield from made if own == dtype else (_with_zero_points(layer, "single" in dtype) for layer in made)


def _with_zero_points(layer: Layer, is_single: bool) -> Layer:
    """The layer in the arithmetic of ``.tflite`` files, with multipliers of the common case; with a ReLU, whose outputs
    are of a single rounding, or without.
    """
    channels = layer.output_shape[-1]
    factors = 1 if layer.op == "fully_connected" and channels % 4 in (0, 1) else channels
    rng = np.random.default_rng(zlib.crc32(layer.name.encode()))
    multipliers = tuple(int(value) for value in rng.integers(1 << 30, 1 << 31, factors))
    scheme = Affine(3, -128 if is_single else -4, multipliers, (-8,) * factors, -128, 127)
    bias = rng.integers(-500, 500, channels, np.int32)
    return replace(layer, dtype="int8", weights_dtype="int8", scheme=scheme, bias=bias, bias_shift=0, out_shift=0)


def observe(
    target: Target,
    cflags: Sequence[str],
    *,
    chosen: Sequence[Layer] | None = None,
    report: Callable[[str], None] = lambda text: None,
) -> Nests:
    """Emulate every family on the layers that it runs, and find the sizes of its loops.

    Parameters
    ----------
    target : Target
        A bare core.
    cflags : sequence of str
    chosen : sequence of Layer, optional
        Default: `layers`.
    report : callable
        Called with a line of text per layer.
    """
    board = replace(
        target, name=f"{target.name}-fetch", inherit=target.name, flash_wait_states=1, flash_line_bytes=LINE_BYTES,
        instruction_cache_bytes=HELD_BYTES,
    )  # fmt: skip
    seen: dict[str, dict[str, list[tuple[np.ndarray, float]]]] = defaultdict(lambda: defaultdict(list))
    for number, layer in enumerate(chosen if chosen is not None else layers()):
        types = fetch.types_of(layer)
        steps = [Step((layer,), variant) for variant in _one_of_each(layer, target, number)]
        for at in range(0, len(steps), BATCH):
            part = steps[at : at + BATCH]
            for step, result in zip(part, evaluate_many(part, board, cflags), strict=True):
                name = fetch.family(layer, step.variant, target.features, types)
                counts = ops.count(layer, [step.variant], target.features)
                about = fetch.features_of(layer, [step.variant], counts)[0]
                for level, size in loop_bytes(result.reuse, fetch.turns(layer, counts)).items():
                    seen[name][level].append((about, size))
        report(f"{target.core} {types} {layer.name}: {len(steps)} kernels")
    families = {name: {level: _line(found) for level, found in levels.items()} for name, levels in seen.items()}
    return Nests(target.core, toolchain_of(target.core).version, tuple(cflags), families)


def _one_of_each(layer: Layer, target: Target, number: int) -> list[Variant]:
    """A variant of each family that may be the fastest; `im2col_cols`, which belongs to none, rotates."""
    of_family: dict[str, list[Variant]] = defaultdict(list)
    effort = OPS[layer.python_op].effort
    for variant in search_space(layer, target).variants:
        if effort is None or effort.rank(variant, target.features) == "hardly":
            continue
        of_family[fetch.family(layer, variant, target.features, fetch.types_of(layer))].append(variant)
    return [found[number % len(found)] for found in of_family.values()]


def loop_bytes(reuse: Sequence[int], turns: dict[str, np.ndarray]) -> dict[str, float]:
    """Sizes of the loops that turn so often, by level.

    Parameters
    ----------
    reuse : sequence of int
        `Trace.reuse` of a run, lines of `LINE_BYTES`.
    turns : dict
        Level -> its turns, of one variant; from the innermost.
    """
    # missed[n]: by a cache of n lines, besides what no cache has yet
    missed = np.cumsum(np.asarray(reuse)[::-1])[::-1]
    lines = np.arange(len(missed))
    found, least = {}, 0
    for level, values in turns.items():
        fits = missed / values[0] <= MISSED * lines
        fits[:least] = False
        least = int(np.argmax(fits))
        found[level] = float(least * LINE_BYTES)
    return found


def _line(found: Sequence[tuple[np.ndarray, float]]) -> Size:
    """The size that all layers have, and what it grows by: no less than nothing."""
    from scipy.optimize import nnls

    rows, sizes = np.array([row for row, _ in found]), np.array([size for _, size in found])
    draw = np.diag([0.0, *(DRAWN * np.maximum(np.abs(rows[:, 1:]).max(axis=0), 1))])
    solution, _ = nnls(np.concatenate([rows, draw]), np.concatenate([sizes, np.zeros(len(draw))]))
    first, passed, single = (round(float(value), 1) for value in solution)
    return first, passed, single


def write(found: Nests, folder: Path) -> Path:
    """Write a core's file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"fetch-{found.core}.json"
    write_atomically(path, fetch.to_json(found))
    return path
