# SPDX-License-Identifier: Apache-2.0
"""Counts that several operations share: turns of unrolled loops, lanes, padding."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from cmsisnn_x.layers import Layer

Counts = dict[str, np.ndarray | int | float]
Knobs = Callable[[str], np.ndarray]


def loop_turns(passes: np.ndarray | int, unroll: np.ndarray | int) -> np.ndarray:
    """Turns of a loop with a constant number of passes that the compiler was asked to unroll.

    GCC writes up to ``unroll + 1`` passes out, leaves up to ``2 * unroll`` in a loop of single passes, and peels what
    does not fill a turn of the others.
    """
    passes, unroll = np.asarray(passes), np.asarray(unroll)
    return np.where(passes <= unroll + 1, 0, np.where(passes <= 2 * unroll, passes, passes // unroll))


def lane_count(layer: Layer, dsp: bool) -> int:
    return 2 if dsp and layer.dtype == "q15" else 4


def copy_turns(layer: Layer, size: int, dsp: bool) -> np.ndarray:
    """Turns of the loop that copies a run of `size` elements."""
    if not dsp:
        return loop_turns(size, 4)
    return loop_turns(size // 4, 2) if layer.dtype == "q7" else np.asarray(size // 2 * (size // 2 > 8))


def zero_runs(size: np.ndarray | int, times: np.ndarray | int = 1) -> Counts:
    """Of `times` runs of `size` zero bytes each."""
    return {"zero_lines": np.sum(size // 16 * times), "zero_bytes": np.sum(size % 16 * times)}


def taps_inside(size: int, out: int, kernel: int, stride: int, before: int) -> np.ndarray:
    """For every output position along one axis, how many taps lie inside the input."""
    first = np.arange(out) * stride - before
    return np.maximum(np.minimum(first + kernel, size) - np.maximum(first, 0), 0)


def lines_needed(layer: Layer) -> list[int]:
    """Rows of the padded input that some window needs, each once."""
    out_h, kernel_h, stride = layer.output_image[0], layer.kernel[0], layer.stride[0]
    first = range(-layer.padding[0][0], out_h * stride - layer.padding[0][0], stride)
    return sorted({y + m for y in first for m in range(kernel_h)})
