# SPDX-License-Identifier: Apache-2.0
"""Weights in the order in which a device kernel reads them, packed offline so that firmware never does.

A row is one output channel, a run the part of its window that is contiguous in every column: the whole window for
im2col, one kernel row for the line-buffer and direct lowerings. Runs are filled up with zeros to an even length. Rows
come in blocks of `block_rows`; the rows left over come in pairs, the second of the last pair zero if need be. Within a
block, per run, per pair of elements ``(k, k+1)``:

* 16 bits (q15, or q7 with ``weight_layout="widened"``): ``r0k0 r0k1  r1k0 r1k1 ...``, one word per row for SMLAD;
* 8 bits (``"interleaved"``): ``r0k0 r1k0 r0k1 r1k1  r2k0 r3k0 r2k1 r3k1``, a word per two rows: SXTB16 gives the first
  row, SXTB16 with ROR #8 the second.

``column_layout="paired"``: four elements in the order 0, 2, 1, 3; every block begins with four words, where the
accumulators of its rows start (:func:`paired_starts`).

``lowering="winograd"``, ``"widened"``: the same 16-bit order over transformed kernels, one run per point
(:func:`winograd_weights`); ``"winograd_2d"`` likewise (:func:`winograd_2d_weights`).

``"lanes"``: vectors of 16 bytes (`packing_lanes`). ``"plain"`` is the order of the Python functions, untouched.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .channels import start_of
from .layers import Layer
from .op import Case
from .packing_lanes import pack_lanes
from .scheme import wrapped
from .variant import Variant


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
    if variant is None or variant.weight_layout == "plain":
        return np.ascontiguousarray(layer.weights).reshape(-1)
    pack = layer.row.pack
    assert pack is not None
    return pack(layer, variant)


def packing_knobs(layer: Layer, variant: Variant | None) -> tuple[str, ...]:
    """The knobs that the order of `pack_device_weights` hangs on: with others the kernel would read other weights."""
    if layer.weights is None or variant is None:
        return ()
    if variant.weight_layout in ("plain", "lanes"):
        return ("weight_layout",)
    own = ("block_cols",) if layer.op == "depthwise_conv2d" or variant.lowering == "winograd_2d" else ()
    return ("weight_layout", "column_layout", "lowering", "tile", "block_rows", *own)


def packs_starts(variant: Variant | None) -> bool:
    """Whether packed weights say where accumulators start: they belong to the shifts that they were packed for."""
    return variant is not None and (variant.column_layout == "paired" or variant.weight_layout == "coupled")


def pack_convolution(layer: Layer, variant: Variant) -> np.ndarray:
    """Runs, or transformed kernels, in blocks of rows."""
    weights = layer.weights
    assert weights is not None
    rows = weights.shape[0]
    if variant.weight_layout == "lanes":
        return pack_lanes(weights, layer.type.bits)
    if variant.lowering == "winograd":
        return pack_rows(winograd_weights(weights, variant.tile), variant.block_rows)
    if variant.lowering == "winograd_2d":
        added = weights.shape[1] == 5 and variant.block_rows * variant.block_cols == 8
        return pack_rows(winograd_2d_weights(weights, added=added), variant.block_rows)
    if variant.column_layout == "paired":
        return _pack_paired(layer, variant)
    runs = weights.reshape(rows, 1 if variant.lowering == "im2col" else weights.shape[1], -1)
    if variant.weight_layout == "widened":
        runs = runs.astype(np.int16)
    return pack_rows(runs, variant.block_rows)


def _pack_paired(layer: Layer, variant: Variant) -> np.ndarray:
    weights = layer.weights
    assert weights is not None
    runs = _as_paired(weights.reshape(len(weights), -1), weights[0].size).reshape(len(weights), 1, -1)
    dtype = np.dtype(np.int16 if variant.weight_layout == "widened" else np.int8)
    packed = pack_rows(runs.astype(dtype), 2).reshape(len(runs) // 2, -1)
    starts = paired_starts(layer).reshape(len(packed), -1).view(dtype)
    return np.concatenate([starts, packed], axis=1).reshape(-1)


def paired_starts(layer: Layer) -> np.ndarray:
    """Where the accumulators of paired columns start.

    Parameters
    ----------
    layer : Layer
        A convolution.

    Returns
    -------
    ndarray of int32, shape (out_ch, 2)
        For the even column, whose elements have 128 added, and for the word of both, the odd one times 2^8. Both are
        what 32 bits make of them.
    """
    assert layer.weights is not None
    start, weights = start_of(layer), layer.weights.astype(np.int64)
    even = start - 128 * weights.reshape(len(weights), -1).sum(1)
    return np.stack([wrapped(even), wrapped(even + (start << 8))], axis=1).astype(np.int32)


def winograd_transform(tile: int, kernel_w: int) -> np.ndarray:
    """The matrix G that takes a kernel row to its values at the points, scaled to integers.

    Parameters
    ----------
    tile : int
        Output columns of a tile.
    kernel_w : int
        ``n = tile + kernel_w - 1`` must be 4, 6 or 8: the points are 0, 1, -1, then 2, -2, then 1/2, -1/2, and
        infinity.

    Returns
    -------
    ndarray of int64, shape (n, kernel_w)
        ``scale * a_i^k / prod_{l != i} (a_i - a_l)``, divided by what the kernel's integer input transform has too much
        (scale 2, 24, 360); the rows of 1/2 and -1/2 carry a further power of two that its output transform takes off.
    """
    n = tile + kernel_w - 1
    k = np.arange(kernel_w)
    sign = (-1) ** k
    first, last = (k == 0).astype(int), (k == kernel_w - 1).astype(int)
    if n == 4:
        rows = [-2 * first, k**0, sign, 2 * last]
    elif n == 6:
        rows = [6 * first, -4 * k**0, -4 * sign, 2**k, sign * 2**k, 24 * last]
    elif n == 8:
        rows = [-90 * first, -20 * k**0, -20 * sign, 2**k, sign * 2**k, 2 ** k[::-1], sign * 2 ** k[::-1], 90 * last]
    else:
        raise ValueError(f"tile + kernel_w - 1: expected 4, 6 or 8, got {tile} + {kernel_w} - 1")
    return np.array(rows, np.int64)


def winograd_weights(weights: np.ndarray, tile: int) -> np.ndarray:
    """Kernels in the Winograd domain, one run per point.

    Parameters
    ----------
    weights : ndarray of int8, shape (out_ch, kernel_h, kernel_w, in_ch)
    tile : {2, 4}

    Returns
    -------
    ndarray of int16, shape (out_ch, n, kernel_h * in_ch)
        Channels in the order of the kernel's columns: 0, 2, 1, 3 within every four if `in_ch` is a multiple of four.
    """
    rows, _, kernel_w, channels = weights.shape
    u = np.einsum("ik,omkc->oimc", winograd_transform(tile, kernel_w), weights.astype(np.int64))
    return _as_paired(u, channels).astype(np.int16).reshape(rows, u.shape[1], -1)


def winograd_2d_weights(weights: np.ndarray, *, added: bool = False) -> np.ndarray:
    """Kernels in the Winograd domain of both directions, one run per point.

    Parameters
    ----------
    weights : ndarray of int8, shape (out_ch, k, k, in_ch)
        k is 3 or 5, `in_ch` a multiple of four.
    added : bool
        Of a 5x5 kernel: whether points along y that only occur in a sum follow each other.

    Returns
    -------
    ndarray of int16, shape (out_ch, 36 or 56, in_ch)
        Points row by row. Along x those of `winograd_transform` for tiles of 4, some without a power of two that the
        device's output transform makes up for: the products of both directions have to fit 16 bits. Along y the same
        where k is 3; else rows 0 to 2 at four points, then 3 and 4 at three. With `added` point by point along x those
        of a, b and c of the device kernel, then point 2 of each. Channels as in `winograd_weights`.
    """
    rows, _, kernel, channels = weights.shape
    along_x = winograd_transform(4, kernel)
    if kernel == 3:
        along_x[-1] //= 4
        along_y = along_x
    else:
        along_x //= np.array([2, 4, 4, 1, 1, 1, 1, 2])[:, None]
        along_y = np.zeros((7, 5), np.int64)
        along_y[:4, :3] = winograd_transform(2, 3)
        along_y[4:, 3:] = 2 * np.array([[1, 0], [1, 1], [0, 1]])
    u = np.einsum("im,jn,omnc->oijc", along_y, along_x, weights.astype(np.int64))
    if added:
        first = u[:, [0, 4, 3, 6, 1, 5]].transpose(0, 2, 1, 3).reshape(rows, -1, channels)
        u = np.concatenate([first, u[:, 2]], axis=1)
    return _as_paired(u, channels).astype(np.int16).reshape(rows, -1, channels)


def _as_paired(u: np.ndarray, channels: int) -> np.ndarray:
    """Channels, the last axis, in the order in which words of four bytes give pairs."""
    return u.reshape(*u.shape[:-1], channels // 4, 4)[..., [0, 2, 1, 3]] if channels % 4 == 0 else u


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


class Words(NamedTuple):
    """How Helium takes the windows of a depthwise layer (`depthwise_helium.h`): by words, which are rows of a column.

    Attributes
    ----------
    is_paired : bool
        Whether two by two outputs are made from four words, which windows up to 3x3 at stride 1 are.
    rows : int
        Of a word: four, or two of 16 bits.
    planes : int
        Words of a column.
    window : int
        Words that are multiplied for an output, a multiple of four.
    line : int or None
        The axis of images of one column (0) or row (1), whose words are pixels that follow each other along it.
    """

    is_paired: bool
    rows: int
    planes: int
    window: int
    line: int | None = None


STORES_REACH = 4095
"""Bytes from an address to the last output that a store reaches."""


def words_of(shape: Layer | Case) -> Words:
    rows = 2 if shape.dtype in ("q15", "int16") else 4
    if (line := _line_of(shape, rows)) is not None:
        return Words(False, rows, -(-shape.kernel[line] // rows), 4, line)
    return words_of_rows(shape)


def words_of_rows(shape: Layer | Case) -> Words:
    """The same of images of several rows and columns."""
    (height, width), stride = shape.kernel, shape.stride
    rows = 2 if shape.dtype in ("q15", "int16") else 4
    if max(height, width) <= 3 and stride == (1, 1) and rows == 4:
        return Words(True, rows, 1, 4)
    planes = -(-height // rows)
    return Words(False, rows, planes, -(-width * planes // 4) * 4)


def _line_of(shape: Layer | Case, rows: int) -> int | None:
    """The axis of a line whose windows are sixteen bytes at most; strides and channels as addresses reach."""
    if isinstance(shape, Layer):
        output, padding = shape.output_image[:2], (shape.padding[0][0], shape.padding[1][0])
    else:
        output, padding = shape.output, shape.padding
    for axis, across in ((0, 1), (1, 0)):
        flat = shape.image[across], output[across], shape.kernel[across], padding[across]
        in_reach = shape.stride[axis] <= 31 // rows and 4 * (4 // rows) * shape.image[2] <= STORES_REACH
        if flat == (1, 1, 1, 0) and shape.kernel[axis] <= 4 * rows and in_reach:
            return axis
    return None


def _depthwise_lanes(layer: Layer) -> np.ndarray:
    assert layer.weights is not None
    words = words_of(layer)
    height, _, channels = layer.weights.shape
    weights = layer.weights if words.rows == 4 else layer.weights.astype(np.int16)
    if words.line == 1:
        weights, height = weights.transpose(1, 0, 2), weights.shape[1]
    padded = np.pad(weights, ((0, words.rows * words.planes - height), (0, 0), (0, 0))).transpose(2, 1, 0)
    flat = padded.reshape(channels, -1)  # channel, column, row
    if words.is_paired:
        return np.pad(np.pad(flat, ((0, 0), (4, 12 - flat.shape[1]))).reshape(-1), (0, 4))
    return np.pad(flat, ((0, 0), (0, words.rows * words.window - flat.shape[1]))).reshape(-1)


def pack_depthwise(layer: Layer, variant: Variant) -> np.ndarray:
    """Words of two vertically neighbouring taps, ``[channel][kernel column][word]`` (`depthwise_rows.h`), or of two
    channels, ``[pair of channels][tap][2]`` (`depthwise_lines.h`); of rows 0 and 1 by column, then row 2, for windows
    that are read from the input (`depthwise_direct.h`); bytes of four rows, ``[channel][kernel column][word][4]``,
    or of pixels that follow each other (`depthwise_helium.h`).
    """
    weights = layer.weights
    assert weights is not None
    if variant.weight_layout == "lanes":
        return _depthwise_lanes(layer)
    if variant.block_rows == 2:
        taps = weights.reshape(-1, weights.shape[2]).astype(np.int16)
        taps = np.pad(taps, ((0, 0), (0, taps.shape[1] % 2)))
        return taps.reshape(taps.shape[0], -1, 2).transpose(1, 0, 2).reshape(-1)
    by_channel = weights.transpose(2, 1, 0).astype(np.int16)  # channel, kernel column, kernel row
    if variant.lowering == "direct":
        last = np.pad(by_channel[..., 2], ((0, 0), (0, 1)))
        return np.concatenate([by_channel[..., :2].reshape(len(last), -1), last], axis=1).reshape(-1)
    if variant.block_cols == 2:
        words = np.concatenate([by_channel[..., :-1], by_channel[..., 1:]], axis=2)
    else:
        words = np.pad(by_channel, ((0, 0), (0, 0), (0, by_channel.shape[2] % 2)))
    return words.reshape(-1)
