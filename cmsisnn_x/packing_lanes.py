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
"""Bytes."""


def pack_lanes(weights: np.ndarray) -> np.ndarray:
    """The weights ``(out_ch, kernel_h, kernel_w, in_ch)`` of a convolution.

    Returns
    -------
    ndarray of their type, 1-D
    """
    rows = weights.transpose(0, 2, 1, 3).reshape(len(weights), -1)
    width = VECTOR // weights.itemsize
    vectors = np.pad(rows, ((0, 0), (0, -rows.shape[1] % width))).reshape(len(rows), -1, width)
    blocks = []
    for first in range(0, len(rows), len(BLOCK)):
        block = vectors[first : first + len(BLOCK)]
        pairs = PAIRS if len(block) > 4 else FEW_PAIRS
        block = np.pad(block, ((0, 2 * len(pairs) - len(block)), (0, 0), (0, 0)))
        blocks += [block[list(pair)].transpose(1, 0, 2).reshape(-1) for pair in pairs]
    return np.concatenate(blocks)


def lane_order(channels: int) -> list[int]:
    """The order of the records of so many channels; numbers that are none are filled up."""
    order: list[int] = []
    for first in range(0, channels, len(BLOCK)):
        order += [first + at for at in (BLOCK if channels - first > 4 else range(4))]
    return order
