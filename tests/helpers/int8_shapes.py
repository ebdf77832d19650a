# SPDX-License-Identifier: Apache-2.0
"""Slow oracle of what only moves numbers: pad, concatenation, transpose, strided slice, split, nearest neighbour.

See `int8_oracle`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from helpers.int8_oracle import round_half_away


def pad(x: np.ndarray, paddings: Sequence[Sequence[int]], *, output_zero_point: int) -> np.ndarray:
    """(before, after) of each axis filled with the zero point of the output."""
    return padv2(x, paddings, constant=output_zero_point)


def padv2(x: np.ndarray, paddings: Sequence[Sequence[int]], *, constant: int) -> np.ndarray:
    """(before, after) of each axis filled with `constant`."""
    return np.pad(x, [(int(before), int(after)) for before, after in paddings], constant_values=constant)


def concatenation(inputs: Sequence[np.ndarray], *, axis: int) -> np.ndarray:
    """Side by side; all scales and zero points are equal."""
    return np.concatenate(inputs, axis=axis)


def transpose(x: np.ndarray, perm: Sequence[int]) -> np.ndarray:
    """Axis i of the output is axis perm[i] of the input."""
    return np.ascontiguousarray(np.transpose(x, [int(p) for p in perm]))


def strided_slice(
    x: np.ndarray,
    begin: Sequence[int],
    end: Sequence[int],
    strides: Sequence[int],
    *,
    begin_mask: int = 0,
    end_mask: int = 0,
    shrink_axis_mask: int = 0,
) -> np.ndarray:
    """x[begin : end : stride] of each axis; bit i of a mask leaves that end of axis i open, or takes `begin` alone,
    which is the first element where both say so.
    """
    index: list[slice | int] = []
    for axis, (first, last, step) in enumerate(zip(begin, end, strides, strict=True)):
        bit = 1 << axis
        if shrink_axis_mask & bit:
            index.append(0 if begin_mask & bit else int(first))
        else:
            index.append(
                slice(None if begin_mask & bit else int(first), None if end_mask & bit else int(last), int(step))
            )
    return np.asarray(x[tuple(index)], order="C")


def split(x: np.ndarray, parts: int, *, axis: int) -> list[np.ndarray]:
    """`parts` equal pieces along `axis`."""
    return [np.ascontiguousarray(piece) for piece in np.split(x, parts, axis=axis)]


def nearest_source(size: int, out: int, align_corners: bool = False, half_pixel_centers: bool = False) -> np.ndarray:
    """Which of `size` pixels each of `out` reads, in float32.

    min(f((i + offset) * scale), size - 1): scale = size / out, floored; of aligned corners (size - 1) / (out - 1), rha.
    """
    corners = align_corners and out > 1
    scale = np.float32(size - 1) / np.float32(out - 1) if corners else np.float32(size) / np.float32(out)
    at = (np.arange(out).astype(np.float32) + np.float32(0.5 if half_pixel_centers else 0.0)) * scale
    source = round_half_away(at) if align_corners else np.floor(at).astype(np.int64)
    return np.clip(source, 0, size - 1)


def resize_nearest_neighbor(
    x: np.ndarray, size: tuple[int, int], *, align_corners: bool = False, half_pixel_centers: bool = False
) -> np.ndarray:
    """NHWC to `size` (height, width); the integers are copied."""
    rows = nearest_source(x.shape[1], size[0], align_corners, half_pixel_centers)
    columns = nearest_source(x.shape[2], size[1], align_corners, half_pixel_centers)
    return np.ascontiguousarray(x[:, rows][:, :, columns])
