# SPDX-License-Identifier: Apache-2.0
"""Weights of a fully connected layer in the order in which its device kernel reads them.

Columns are filled up with zeros to a multiple of four; a step of the kernel takes four of them as two pairs ``(a, b)``:
columns ``(0, 2), (1, 3)`` for q7 activations, as SXTB16 splits a word, and ``(0, 1), (2, 3)`` for q15. Rows come in
blocks of `block_rows`, those left over in blocks of two, then one. Per block and step:

* 16 bits (q15, or q7 with ``"widened"``): a word ``row[a0] row[a1]`` per row of the block, then a word
  ``row[b0] row[b1]`` per row;
* 8 bits, ``"interleaved"``, one row: the word whose SXTB16 is the pair a and whose SXTB16 with ROR #8 the pair b;
* 8 bits, ``"interleaved"``, two or four rows: for each two rows ``(p, q)`` a word of pair a, then for each a word of
  pair b:

  - q15 activations: ``p[0] q[0] p[1] q[1]``, split by SXTB16 and SXTB16 with ROR #8;
  - q7 activations: ``q[0]+128 p[0] q[1]+128 p[1]``: as halves ``256 p + (q + 128)``, which one SMLAD multiplies without
    any splitting; a second one on the low bytes separates the two rows (``include/cmsisnn_x/fully_connected.h``).

``"coupled"``, of 8 bits: blocks of five rows, the last one from the fifth row from the end on, so that rows may come
twice. Per block five words, where the accumulators start; then per step, row by row, two halves
``256 row[1] + row[0], 256 row[3] + row[2]``. Behind the last block five words of zeros
(``include/cmsisnn_x/detail/fully_connected_coupled.h``).

``"lanes"``, for Helium: columns, filled up with zeros to vectors of 16 activations of 8 bits, or 8 of 16, go in parts
of up to seven vectors; part after part, row after row, the columns of the part.
"""

from __future__ import annotations

import numpy as np

from .channels import start_of
from .layers import Layer
from .scheme import wrapped
from .variant import Variant

MOST_VECTORS = 7
"""Of the input, in a part: one of eight registers is for the weights."""
COUPLED_ROWS = 5
"""Of a block: with their accumulators and weights, the input and its address, fourteen registers are taken."""
PAIRS = {"q7": [0, 2, 1, 3], "q15": [0, 1, 2, 3]}


def row_blocks(rows: int, block_rows: int) -> list[int]:
    """Heights of the blocks in which the rows are taken.

    Examples
    --------
    >>> row_blocks(11, 4), row_blocks(3, 2), row_blocks(2, 1)
    ([4, 4, 2, 1], [2, 1], [1, 1])
    """
    blocks: list[int] = []
    for height in (4, 2, 1):
        if height <= block_rows:
            blocks += [height] * ((rows - sum(blocks)) // height)
    return blocks


def pack_dense(layer: Layer, variant: Variant) -> np.ndarray:
    """The weights of a fully connected `layer` as the kernel of `variant` reads them.

    Parameters
    ----------
    layer : Layer
        With weights of shape (rows, columns).
    variant : Variant
        Its `weight_layout` is ``"interleaved"``, ``"widened"``, ``"lanes"`` or ``"coupled"``.

    Returns
    -------
    ndarray of int8 or int16, 1-D
        int16 where the layout widens q7 weights. To be emitted at a word boundary.
    """
    assert layer.weights is not None
    rows, columns = layer.weights.shape
    if variant.weight_layout == "lanes":
        return _pack_lanes(layer.weights, 128 // layer.type.bits)
    if variant.weight_layout == "coupled":
        return _pack_coupled(layer)
    steps = -(-columns // 4)
    weights = np.pad(layer.weights, ((0, 0), (0, 4 * steps - columns))).reshape(rows, steps, 4)[
        ..., PAIRS[layer.type.twin]
    ]
    weights = weights.reshape(rows, steps, 2, 2)  # row, step, pair, element of the pair
    if variant.weight_layout == "widened":
        weights = weights.astype(np.int16)
    packed, first = [], 0
    for height in row_blocks(rows, variant.block_rows):
        block = weights[first : first + height]
        packed.append(_pack_block(block, layer.type.twin) if block.dtype == np.int8 else block.transpose(1, 2, 0, 3))
        first += height
    return np.concatenate([part.reshape(-1) for part in packed])


def coupled_blocks(rows: int) -> list[int]:
    """The first row of each block of coupled weights.

    Examples
    --------
    >>> coupled_blocks(12), coupled_blocks(10)
    ([0, 5, 7], [0, 5])
    """
    return [min(first, rows - COUPLED_ROWS) for first in range(0, rows, COUPLED_ROWS)]


def couples(weights: np.ndarray) -> np.ndarray:
    """Two columns of a row as one integer: 256 times the second and the first.

    Parameters
    ----------
    weights : ndarray of int8, shape (rows, columns)

    Returns
    -------
    ndarray of int32, shape (rows, columns / 2), rounded up to an even number
    """
    columns = weights.shape[1]
    filled = np.pad(weights, ((0, 0), (0, -columns % 4))).astype(np.int32)
    return 256 * filled[:, 1::2] + filled[:, ::2]


def coupled_starts(layer: Layer) -> np.ndarray:
    """Where the accumulators of coupled weights start, 2^8 times what they stand for.

    Returns
    -------
    ndarray of int64, shape (rows,)
        Every second element of the input has 127 taken away.
    """
    assert layer.weights is not None
    return (start_of(layer) + 127 * layer.weights[:, 1::2].astype(np.int64).sum(1)) << 8


def _pack_coupled(layer: Layer) -> np.ndarray:
    assert layer.weights is not None
    words = couples(layer.weights).astype("<i2").view("<i4")  # row, step
    starts = wrapped(coupled_starts(layer)).astype("<i4")
    packed = []
    for first in coupled_blocks(len(words)):
        rows = slice(first, first + COUPLED_ROWS)
        packed += [starts[rows], words[rows].T.reshape(-1)]
    return np.concatenate([*packed, np.zeros(COUPLED_ROWS, "<i4")]).view(np.int8)


def parts_of(vectors: int) -> list[int]:
    """How many vectors each part has.

    Examples
    --------
    >>> parts_of(40), parts_of(7), parts_of(8)
    ([7, 7, 7, 7, 6, 6], [7], [4, 4])
    """
    parts = -(-vectors // MOST_VECTORS)
    return [vectors // parts + (part < vectors % parts) for part in range(parts)]


def _pack_lanes(weights: np.ndarray, lanes: int) -> np.ndarray:
    columns = weights.shape[1]
    vectors = -(-columns // lanes)
    filled = np.pad(weights, ((0, 0), (0, vectors * lanes - columns)))
    ends = np.cumsum(parts_of(vectors))[:-1] * lanes
    return np.concatenate([part.reshape(-1) for part in np.split(filled, ends, axis=1)])


def _pack_block(block: np.ndarray, dtype: str) -> np.ndarray:
    if len(block) == 1:
        return block[0].transpose(0, 2, 1)  # step, element, pair: bytes a0 b0 a1 b1
    high, low = block[0::2], block[1::2]
    if dtype == "q7":
        # Adding 128 modulo 256 turns the signed byte q into the unsigned byte q + 128.
        high, low = (low.astype(np.int16) + 128).astype(np.uint8).view(np.int8), high
    return np.stack([high, low], axis=-1).transpose(1, 2, 0, 3, 4)  # step, pair, two rows, element, row
