# SPDX-License-Identifier: Apache-2.0
"""Slow models of Arm's 5.4.0 kernels in plain Python integers, written from their description."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pixels = dict[tuple[int, int, int], int]


def wrap(value: int, bits: int) -> int:
    """`value` modulo 2**bits, signed."""
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def lsl(value: int, count: int) -> int:
    """Logical shift left of a 32-bit register by the low byte of another."""
    return wrap(value << (count % 256), 32) if count % 256 < 32 else 0


def asr(value: int, count: int) -> int:
    """Arithmetic shift right of a 32-bit register by the low byte of another."""
    return value >> (count % 256) if count % 256 < 32 else (-1 if value < 0 else 0)


def clamp(value: int, bits: int) -> int:
    return max(-(1 << (bits - 1)), min((1 << (bits - 1)) - 1, value))


def requantize(bias: int, products: int, bias_shift: int, out_shift: int, bits: int) -> int:
    return clamp(asr(wrap(lsl(bias, bias_shift) + lsl(1, out_shift - 1) + products, 32), out_shift), bits)


def convolve(
    x, weights, bias, *, stride, padding, bias_shift, out_shift, output_size, signed_char=False
) -> NDArray[Any]:
    """Convolution of an (h, w, c) image, one tap at a time; `signed_char` keeps coordinates in a signed byte."""
    height, width, channels = x.shape
    outputs, kernel_h, kernel_w, _ = weights.shape
    pixels, taps, biases = x.tolist(), weights.tolist(), bias.tolist()
    bits = 8 * x.dtype.itemsize
    out = np.empty((*output_size, outputs), x.dtype)
    for y, x_, o in np.ndindex(out.shape):
        total = 0
        for m, n in np.ndindex(kernel_h, kernel_w):
            row, col = y * stride[0] + m - padding[0], x_ * stride[1] + n - padding[1]
            if signed_char:
                row, col = wrap(row, 8), wrap(col, 8)
            if 0 <= row < height and 0 <= col < width:
                total += sum(pixels[row][col][c] * taps[o][m][n][c] for c in range(channels))
        out[y, x_, o] = requantize(biases[o], total, bias_shift, out_shift, bits)
    return out


def pool_in_place(image: NDArray[np.int8], kernel: int, padding: int, stride: int, out_size: int, *, average: bool):
    """The dsp pooling: ``(output, image afterwards)``; every pixel access is spelled out."""
    size, _, channels = image.shape
    p: Pixels = {index: int(value) for index, value in np.ndenumerate(image)}
    for y in range(size):
        for x in range(out_size):
            start, end = x * stride - padding, min(x * stride - padding + kernel, size)
            start = x if start < 0 else start
            columns = [start, *range(start + 1, end)]
            if not average:
                # The target, where it lies in its own window behind the first column, is overwritten before it is read.
                columns = [q for i, q in enumerate(columns) if i == 0 or q != x]
            values = [_reduce([p[y, q, c] for q in columns], c < channels // 4 * 4, average) for c in range(channels)]
            for c in range(channels):
                p[y, x, c] = values[c]
    out = np.empty((out_size, out_size, channels), np.int8)
    whole = out_size * channels // 4 * 4
    for y in range(out_size):
        start, end = max(y * stride - padding, 0), min(y * stride - padding + kernel, size)
        for x, c in np.ndindex(out_size, channels):
            grouped = x * channels + c < whole
            out[y, x, c] = _reduce([p[q, x, c] for q in range(start, end)], grouped, average)
    after = np.array([p[index] for index in np.ndindex(image.shape)], np.int8).reshape(image.shape)
    return out, after


def _reduce(values: list[int], grouped: bool, average: bool) -> int:
    """Outside the groups of four, a maximum keeps the first value and a sum wraps instead of saturating."""
    if not average:
        return max(values) if grouped else values[0]
    total = values[0]
    for value in values[1:]:
        total = clamp(total + value, 16) if grouped else wrap(total + value, 16)
    return math.trunc(total / len(values))


def pool_clipped(
    image: NDArray[Any], kernel: int, padding: int, stride: int, out_size: int, *, average: bool
) -> NDArray[Any]:
    """The scalar pooling: windows clipped to the image; of an empty one 127 (-129 in a byte) or 0."""
    size, _, channels = image.shape
    out = np.empty((out_size, out_size, channels), image.dtype)
    for y, x, c in np.ndindex(out.shape):
        rows = [r for r in range(y * stride - padding, y * stride - padding + kernel) if 0 <= r < size]
        cols = [r for r in range(x * stride - padding, x * stride - padding + kernel) if 0 <= r < size]
        values = [int(image[row, col, c]) for row in rows for col in cols]
        if average:
            out[y, x, c] = math.trunc(sum(values) / len(values)) if values else 0
        else:
            out[y, x, c] = max(values) if values else wrap(-129, 8)
    return out
