# SPDX-License-Identifier: Apache-2.0
"""Weights of convolutions in the order in which kernels in vectors read them (`convolve_helium.h`).

Output channels come in blocks of eight; what is left over in one more, of four if there are no more. A block makes two
channels at a time, whose weights alternate by 16 bytes: those of a window column by column, ``[kernel_w][kernel_h]
[in_ch]``, and zeros up to whole vectors.
"""

from __future__ import annotations

import numpy as np

BLOCK = (0, 2, 4, 6, 1, 3, 5, 7)
"""Channels of a block in the order of their records: the even ones are narrowed to the lower halves of lanes."""
PAIRS, FEW_PAIRS = ((0, 4), (2, 6), (1, 5), (3, 7)), ((0, 2), (1, 3))
"""Those that are made together."""
VECTOR = 16
"""Bytes, of activations."""
MOST_VECTORS = 63
"""Of 16-bit activations by 8-bit weights whose products add up in 32 bits."""


def parts_of(vectors: int, *, is_wide: bool) -> int:
    """Parts of equal length that a window of so many vectors goes in."""
    return -(-vectors // MOST_VECTORS) if is_wide else 1


def pack_lanes(weights: np.ndarray, bits: int) -> np.ndarray:
    """The weights ``(out_ch, kernel_h, kernel_w, in_ch)`` of a convolution, for activations of `bits` bits.

    8-bit weights beside 16-bit activations come in parts, each as a window of its own, filled up with zeros.

    Returns
    -------
    ndarray of their type, 1-D
    """
    rows = weights.transpose(0, 2, 1, 3).reshape(len(weights), -1)
    width = 8 * VECTOR // bits
    vectors = -(-rows.shape[1] // width)
    parts = parts_of(vectors, is_wide=bits > 8 * weights.itemsize)
    length = -(-vectors // parts)
    filled = np.pad(rows, ((0, 0), (0, parts * length * width - rows.shape[1])))
    windows = filled.reshape(len(rows), parts, length, width)
    blocks = []
    for first in range(0, len(rows), len(BLOCK)):
        block = windows[first : first + len(BLOCK)]
        pairs = PAIRS if len(block) > 4 else FEW_PAIRS
        block = np.pad(block, ((0, 2 * len(pairs) - len(block)), (0, 0), (0, 0), (0, 0)))
        blocks += [block[list(pair), part].transpose(1, 0, 2).reshape(-1) for part in range(parts) for pair in pairs]
    return np.concatenate(blocks)


def lane_order(channels: int) -> list[int]:
    """The order of the records of so many channels; numbers that are none are filled up."""
    order: list[int] = []
    for first in range(0, channels, len(BLOCK)):
        order += [first + at for at in (BLOCK if channels - first > 4 else range(4))]
    return order
