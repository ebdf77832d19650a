# SPDX-License-Identifier: Apache-2.0
"""One multiplication and one shift in place of the two roundings of a device (`affine.rescale`), where that is proven.

A floor of a floor is a floor, so that both roundings are one with an addend, but for what accumulators below zero lose:
halves go away from zero. Where a ReLU cuts those off, outputs are steps of a line::

    out = clamp((((acc + more) * factor >> 32) + offset) >> shift)

with a `factor` below 2^31 and one `shift` for all channels of a layer, no operand then but part of the instruction that
saturates. Both ways only go up, so that they are equal for every accumulator if they are around each of the at most 255
at which the output changes. `offset` alone is too coarse for that: multiples of `factor`, that is whole accumulators,
modulo 2^32 move the line by fractions of one.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

SHIFTS = (4, 3, 2, 1, 5, 6, 7, 8)
"""In the order of preference: layers that share it can share a kernel."""
NEIGHBOURS = (0, 1, -1, 2, -2, 3, -3, 4, -4)
"""How far from the rounded factor others are tried."""
FARTHEST = 2**20
"""The most that is added to an accumulator."""
_FAR = np.int64(2**62)
_NOWHERE = np.int64(2**31)
"""No accumulator, and small enough for what it is multiplied by."""


class Line(NamedTuple):
    """Of each channel `more`, `factor` and `offset`, int64; the shift of the layer."""

    more: np.ndarray
    factor: np.ndarray
    offset: np.ndarray
    shift: int


def single_line(
    multiplier: np.ndarray, exponent: np.ndarray, zero_point: int, limits: tuple[int, int], reach: np.ndarray
) -> Line | None:
    """The line that gives the outputs of two roundings, ``rescale(acc, multiplier, -exponent) + zero_point``.

    Parameters
    ----------
    multiplier, exponent : ndarray of int64, shape (channels,)
        Multipliers from 2^30 on, exponents 1 .. 23.
    zero_point : int
    limits : (int, int)
        The range of the output, of 8 bits.
    reach : ndarray of int64, shape (2, channels)
        Least and largest accumulator, within 2^29.

    Returns
    -------
    Line or None
        None where there is none, as for outputs below the zero point.
    """
    low, high = limits
    if low < zero_point:
        return None
    steps = np.arange(low + 1, high + 1, dtype=np.int64)
    halves = ((steps - zero_point) << exponent[:, None]) - (np.int64(1) << (exponent[:, None] - 1))
    # The least accumulator at which an output is at least its step: (acc * multiplier + 2^30) >> 31 >= halves.
    at = -((2**30 - (halves << 31)) // multiplier[:, None])
    least, most = reach[:, :, None]
    is_reached = (at > least) & (at <= most)
    floor = low + (at <= least).sum(1)
    # Beyond what is reached a line must not go up, though it would a little farther on: both ends count as well.
    up = np.where(at <= most, np.maximum(at, least), _NOWHERE)
    down = np.where(at > least, np.minimum(at - 1, most), _NOWHERE)
    for shift in SHIFTS:
        power = shift + 1 - exponent
        rounded = np.where(
            power >= 0, multiplier << np.maximum(power, 0), ((multiplier >> np.maximum(-power - 1, 0)) + 1) >> 1
        )
        if (rounded[is_reached.any(1)] < 2**31 - len(NEIGHBOURS)).all():
            line = _line(steps << (32 + shift), up, down, is_reached.any(1), rounded, floor, shift)
            if line is not None:
                return line
    return None


def _line(
    heights: np.ndarray,
    up: np.ndarray,
    down: np.ndarray,
    is_reached: np.ndarray,
    rounded: np.ndarray,
    floor: np.ndarray,
    shift: int,
) -> Line | None:
    """A line as high as one of `heights` at accumulator `up` and not yet at `down`, with a factor near `rounded`.

    Where no step is reached, the output is `floor`.
    """
    more, factor, offset = np.zeros_like(rounded), np.zeros_like(rounded), floor << shift
    left = np.flatnonzero(is_reached)
    for neighbour in NEIGHBOURS:
        if len(left) == 0:
            break
        factors = rounded[left] + neighbour
        rises, stays = (heights - at[left] * factors[:, None] for at in (up, down))
        first = np.where(up[left] != _NOWHERE, rises, -_FAR).max(1)
        last = np.where(down[left] != _NOWHERE, stays, _FAR).min(1) - 1
        is_open = np.zeros(len(left), bool)
        for i, channel in enumerate(left):
            start, end, step = int(first[i]), int(last[i]), int(factors[i])
            moved = _least_move(step, start, end) if start <= end and step > 0 else None
            is_open[i] = moved is None
            if moved is not None:
                above = (moved * step - start) % 2**32
                more[channel], factor[channel], offset[channel] = moved, step, (start + above - moved * step) >> 32
        left = left[is_open]
    return None if len(left) else Line(more, factor, offset, shift)


def _least_move(step: int, start: int, end: int) -> int | None:
    """The integer of least magnitude whose multiple of `step` lies in ``start..end`` modulo 2^32, if it is not far."""
    if end - start >= 2**32 - 1:
        return 0
    low, high = start % 2**32, end % 2**32
    if low > high:
        return 0
    up, down = _first_multiple(step, 2**32, low, high), _first_multiple(-step % 2**32, 2**32, low, high)
    found = [move for move in (up, None if down is None else -down) if move is not None and abs(move) <= FARTHEST]
    return min(found, key=abs, default=None)


def _first_multiple(step: int, modulus: int, low: int, high: int) -> int | None:
    """The least ``i >= 0`` with ``low <= i * step mod modulus <= high``, ``0 <= low <= high < modulus``: Euclid."""
    if low == 0:
        return 0
    if step == 0:
        return None
    if 2 * step > modulus:  # halves the modulus at every call
        return _first_multiple(modulus - step, modulus, modulus - high, modulus - low)
    first = -(-low // step)
    if first * step <= high:
        return first
    wraps = _first_multiple(-modulus % step, step, low % step, high % step)
    return None if wraps is None else -(-(low + modulus * wraps) // step)
