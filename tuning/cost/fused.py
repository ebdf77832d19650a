# SPDX-License-Identifier: Apache-2.0
"""Convolutions that take in the pooling behind them: what both cost, and the band of lines between them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from cmsisnn_x.isa import Isa
from cmsisnn_x.layers import Layer
from cmsisnn_x.registry.vectors import rows_at_once
from cmsisnn_x.steps import Step
from cmsisnn_x.variant import Variant

from ..target import Target
from .table import TERMS, Estimates

CODE_BYTES = 170
"""Of the band's walk, beside the two kernels' own code: the median of emulated pairs on four cores, 26 to 280."""
CODE_SPREAD, WRITTEN_OUT = 70.0, 0.2
"""Of the walk in bytes, and of both kernels as a share: other loops are written out where one calls the other."""
STACK_BYTES = 44
"""Of the band and the call that pools, on top of both kernels' own."""
INSTRUCTIONS_PER_TURN = 40
"""Of the call that ends a turn: the windows that it completes, the lines that move."""

MORE_OF_VECTORS, INSTRUCTIONS_PER_COPY = 30, 40
"""The same beside vectors, whose registers are saved there, and of the call that moves a line: where rows are short
both are a tenth of what emulated pairs take.
"""


def estimate_fused(
    steps: Sequence[Step],
    target: Target,
    estimate: Callable[[Layer, Sequence[Variant | None], Target], Estimates],
) -> Estimates:
    """The estimates of variants of a convolution of which some take in its pooling: the same kernels one after the
    other, and the band.

    Lines, with Winograd tiles, that no window needs are not computed; lines that windows share are moved once per turn
    of the band.
    """
    layer, variants = steps[0].lead, [step.variant for step in steps]
    fused = np.array([step.pool is not None for step in steps])
    pooling = next(step.pool for step in steps if step.pool is not None)
    alone = estimate(layer, [v and replace(v, fused_pool=False) for v in variants], target)
    pool = estimate(pooling, (), target)
    behind = _by_row(pooling, target, estimate) if target.features.isa >= Isa.HELIUM else pool.terms[0]
    terms = alone.terms.astype(float)
    scratch = alone.scratch_bytes.copy()
    timing, loop = target.timing, TERMS.index("loop")
    word = (timing["load_next"] + timing["store"] + timing["alu"]) / timing["issue_width"]
    for at in np.flatnonzero(fused).tolist():
        variant = variants[at]
        assert variant is not None
        turns, lines, moved_words = band_work(steps[at])
        # A tile that ends beyond the image costs as much as any other.
        terms[at] *= turns / _tiles(layer, variant) if variant.lowering == "winograd" else lines / layer.output_image[0]
        if variant.inner == "helium":  # strips are woven row by row anyway
            terms[at, [name != "im2col" for name in TERMS]] *= _pairs_by_row(layer, variant)
        terms[at, TERMS.index("multiply_accumulate")] *= _blocks_by_row(layer, variant)
        terms[at] += behind
        instructions = turns * INSTRUCTIONS_PER_TURN
        if variant.inner == "helium":
            moved_lines = moved_words * 4 // (layer.output_bytes // layer.output_image[0])
            instructions += turns * MORE_OF_VECTORS + moved_lines * INSTRUCTIONS_PER_COPY
        terms[at, loop] += moved_words * word + instructions * timing["alu"] / timing["issue_width"]
        scratch[at] = steps[at].scratch_bytes
    below = pool.stack_bytes[0]
    stacks = tuple(
        own if own is None or not is_fused else None if below is None else own + below + STACK_BYTES
        for own, is_fused in zip(alone.stack_bytes, fused, strict=True)
    )
    code = alone.code_bytes + fused * (int(pool.code_bytes[0]) + CODE_BYTES)
    unsure = CODE_SPREAD + WRITTEN_OUT * code
    return replace(
        alone,
        variants=tuple(variants),
        terms=np.rint(terms).astype(np.int64),
        scratch_bytes=scratch,
        code_bytes=code,
        code_spread=np.hypot(alone.code_spread, fused * np.hypot(pool.code_spread[0], unsure)),
        stack_bytes=stacks,
    )


def _blocks_by_row(layer: Layer, variant: Variant) -> float:
    """How many more blocks of columns there are where an im2col buffer ends with every output row.

    In C the compiler makes up for them: it knows how many columns the last block has.
    """
    if variant.lowering != "im2col" or variant.inner == "c":
        return 1.0
    height, width, _ = layer.output_image
    held, cols = variant.im2col_cols, variant.block_cols

    def blocks(pixels: int) -> int:
        return pixels // held * (held // cols) + -(-(pixels % held) // cols)

    return height * blocks(width) / blocks(height * width)


def _by_row(
    pool: Layer, target: Target, estimate: Callable[[Layer, Sequence[Variant | None], Target], Estimates]
) -> np.ndarray:
    """The terms of a pooling that goes row by row. An image of one column goes as one row elsewhere: what it takes by
    rows follows from wider ones, whose cost grows by the same with each column.
    """
    (height, width, channels), (out_height, _, _) = pool.image, pool.output_image
    if width != 1 or pool.kernel[1] != 1 or pool.padding[1] != (0, 0):
        return estimate(pool, (), target).terms[0].astype(float)
    two, three = (
        estimate(
            replace(
                pool,
                input_shape=(height, columns, channels),
                output_shape=(out_height, columns, channels),
                stride=(pool.stride[0], 1),
            ),
            (),
            target,
        ).terms[0]
        for columns in (2, 3)
    )
    return np.maximum(2.0 * two - three, 0)


def _pairs_by_row(layer: Layer, variant: Variant) -> float:
    """How many more pairs of pixels there are in vectors where every row is by itself: without a band those of an odd
    number may lie below each other, or rows behind each other.
    """
    height, width, _ = layer.output_image
    alone = replace(variant, fused_pool=False)
    at_once = rows_at_once(layer, alone)
    is_joined = variant.lowering == "direct" and layer.stride == (1, 1) and width == layer.image[1]
    pairs = -(-height * width // 2) if is_joined else -(-height // at_once) * -(-width * at_once // 2)
    return height * -(-width // 2) / pairs


def _tiles(layer: Layer, variant: Variant) -> int:
    return -(-layer.output_image[1] // variant.tile)


def band_work(step: Step) -> tuple[int, int, int]:
    """Turns made, lines computed, and words moved inside the band of a step that takes a pooling in; as
    convolve_band.h does it.
    """
    layer, variant, pool = step.lead, step.variant, step.pool
    assert pool is not None
    assert variant is not None
    across = int(variant.lowering == "winograd")
    made = variant.tile if across else 1
    count, pooled = layer.output_image[across], pool.output_image[across]
    kernel, stride, padding = pool.kernel[across], pool.stride[across], pool.padding[across][0]
    line_words = layer.output_bytes // count // 4
    turns = lines = moved = windows = needed = 0
    for start in range(0, count, made):
        if start + made <= needed:
            continue
        done = min(start + made, count)
        turns, lines, before = turns + 1, lines + done - start, needed
        while windows < pooled and min(windows * stride - padding + kernel, count) <= done:
            windows += 1
        needed = max(windows * stride - padding, 0) if windows < pooled else count + made
        if needed != before:
            moved += max(done - needed, 0) * line_words
    return turns, lines, moved
