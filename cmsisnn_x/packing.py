# SPDX-License-Identifier: Apache-2.0
"""Weights in the order in which a device kernel reads them, packed offline so that firmware never does.

A row is one output channel, a run the part of its window that is contiguous in every column: the whole window for
im2col, one kernel row for the line-buffer and direct lowerings. Runs are filled up with zeros to an even length. Rows come in
blocks of `block_rows`; the rows left over come in pairs, the second of the last pair zero if need be. Within a block, per run, per pair of
elements ``(k, k+1)``:

* 16 bits (q15, or q7 with ``weight_layout="widened"``): ``r0k0 r0k1  r1k0 r1k1 ...``, one word per row for SMLAD;
* 8 bits (``"interleaved"``): ``r0k0 r1k0 r0k1 r1k1  r2k0 r3k0 r2k1 r3k1``, one word per two rows: SXTB16 gives the first row, SXTB16 with ROR #8
  the second.

``"plain"`` is the order of the Python functions, untouched.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ._variants import Variant
from .layers import Layer


def pack_device_weights(layer: Layer, variant: Variant | None) -> np.ndarray:
    """The weights of `layer` as the device kernel of `variant` reads them.

    Parameters
    ----------
    layer : Layer
        A layer with weights.
    variant : Variant or None
        None: the plain layout.

    Returns
    -------
    ndarray of int8 or int16, 1-D
        int16 where the layout widens q7 weights. To be emitted at a word boundary.
    """
    if layer.weights is None:
        raise ValueError(f"layer {layer.name}: expected weights, got None; {layer.op} has nothing to pack")
    if variant is None or (variant.weight_layout == "plain" and variant.lowering != "winograd"):
        return np.ascontiguousarray(layer.weights).reshape(-1)
    return PACKERS[layer.python_op](layer, variant)


def _convolve(layer: Layer, variant: Variant) -> np.ndarray:
    weights = layer.weights
    assert weights is not None
    rows = weights.shape[0]
    runs = weights.reshape(rows, 1 if variant.lowering == "im2col" else weights.shape[1], -1)
    if variant.weight_layout == "widened":
        runs = runs.astype(np.int16)
    return pack_rows(runs, variant.block_rows)


def pack_rows(runs: np.ndarray, block_rows: int) -> np.ndarray:
    """Rows in blocks, pairs of elements in the order of use.

    Parameters
    ----------
    runs : ndarray of int8 or int16, shape (rows, runs, elements)
    block_rows : {1, 2, 4}

    Returns
    -------
    ndarray, 1-D
    """
    runs = np.pad(runs, ((0, 0), (0, 0), (0, runs.shape[2] % 2)))
    whole = runs.shape[0] // block_rows * block_rows
    left = runs[whole:]
    left = np.pad(left, ((0, left.shape[0] % 2), (0, 0), (0, 0)))
    return np.concatenate([_pack_blocks(runs[:whole], block_rows), _pack_blocks(left, 2)])


def _pack_blocks(runs: np.ndarray, block_rows: int) -> np.ndarray:
    rows, count, length = runs.shape
    blocks = runs.reshape(rows // block_rows, block_rows, count, length // 2, 2)
    if runs.dtype == np.int16:
        return blocks.transpose(0, 2, 3, 1, 4).reshape(-1)  # block, run, pair, row, k
    by_two = blocks.reshape(rows // block_rows, block_rows // 2, 2, count, length // 2, 2)
    return by_two.transpose(0, 3, 4, 1, 5, 2).reshape(-1)  # block, run, pair, pair of rows, k, row of the pair


PACKERS: dict[str, Callable[[Layer, Variant], np.ndarray]] = {"convolve": _convolve}
"""Operation -> packer of its layouts other than the plain one."""
