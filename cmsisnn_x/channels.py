# SPDX-License-Identifier: Apache-2.0
"""What a device kernel with zero points gets of each output channel: where its accumulators start, and the factor that
makes outputs of them; and how much those factors have in common, which decides how fast they can be applied.

Where every accumulator that a channel can have gives the same output, any numbers that do so will do: those of
channels without weights, and of channels too weak to leave their zero point, are chosen so that the others stay fast.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import frexp
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np

from .affine import Affine, rescale
from .errors import CmsisnnError
from .scheme import Pow2, wrapped
from .single_rounding import single_line

if TYPE_CHECKING:
    from .layers import Layer

MOST_RIGHT, LARGEST = 23, 2**29
"""Most bits that the fast way shifts, and the largest accumulator that it takes."""
HALF = 2**30
"""The least multiplier that the fast way takes: that of a factor which is a power of two."""
RECORDS = {
    "single": "cxn_single_channel",
    "right": "cxn_affine_channel",
    "far": "cxn_affine_channel",
    "any": "cxn_affine_channel",
    "real": "cxn_real_channel",
    "wide": "cxn_wide_channel",
    "wide_real": "cxn_wide_real_channel",
}


@dataclass(frozen=True, eq=False)
class Channels:
    """Records of all output channels of a layer.

    Attributes
    ----------
    rescale : {"single", "right", "far", "any", "real", "wide", "wide_real"}
        How a kernel makes outputs of accumulators, the macro `RESCALE` in lower case.
    records : ndarray of int32, shape (channels, words)
    shift : int or None
        What is shifted for every channel, the macro `RESCALE_SHIFT`, where records do not say.
    """

    rescale: str
    records: np.ndarray
    shift: int | None = None

    @property
    def record_type(self) -> str:
        """Its name in C."""
        return RECORDS[self.rescale]

    def in_fours(self, order: Sequence[int] | None = None) -> np.ndarray:
        """Records as vectors read them: those of four channels word by word, zeros where there are no more, and what is
        shifted as the exponent that it is (`helium_finish.h`). An array of as many records.

        Parameters
        ----------
        order : sequence of int, optional
            The channels, a multiple of four; those beyond the last are zeros. Default: all in order.
        """
        records = self.records.copy()
        if self.rescale in ("right", "far"):
            records[:, 2] = -records[:, 2] - 1
        count, words = records.shape
        chosen = list(range(-(-count // 4) * 4) if order is None else order)
        filled = np.pad(records, ((0, max(chosen) + 1 - count), (0, 0)))[chosen]
        return np.ascontiguousarray(filled.reshape(-1, 4, words).transpose(0, 2, 1)).reshape(-1, words)


_FOUND: WeakKeyDictionary[Layer, Channels] = WeakKeyDictionary()
_PART_OF: WeakKeyDictionary[Layer, Layer] = WeakKeyDictionary()


def have_channels_of(part: Layer, layer: Layer) -> Layer:
    """`part`, some rows of `layer`: it has the constants of that."""
    _PART_OF[part] = _PART_OF.get(layer, layer)
    return part


def channels_of(layer: Layer) -> Channels:
    """The records of a layer with weights and a scheme of zero points."""
    found = _FOUND.get(layer)
    if found is None:
        whole = _PART_OF.get(layer)
        found = _FOUND[layer] = _channels(layer) if whole is None else channels_of(whole)
    return found


def start_of(layer: Layer) -> np.ndarray:
    """Where the 32-bit accumulators of a layer with weights start, int64; where it has no bias, as for zeros."""
    scheme = layer.requant
    if not isinstance(scheme, Pow2):
        return channels_of(layer).records[:, 0].astype(np.int64)
    return scheme.start(layer.bias if layer.bias is not None else np.zeros(layer.output_shape[-1], np.int8))


def farthest_start(layer: Layer) -> int:
    """No accumulator starts farther from zero; with powers of two, whatever the bias is. 0 for layers without arrays
    otherwise.
    """
    scheme = layer.requant
    if isinstance(scheme, Pow2):
        return int(np.abs(scheme.start(np.array([-128, 127]))).max())
    return 0 if layer.weights is None else int(np.abs(start_of(layer)).max())


def _channels(layer: Layer) -> Channels:
    scheme, weights = layer.scheme, layer.weights
    assert isinstance(scheme, Affine)
    assert weights is not None
    flat = np.moveaxis(weights, layer.row.channel_axis, 0).reshape(weights.shape[layer.row.channel_axis], -1)
    flat = flat.astype(np.int64)
    start = scheme.start(layer.bias, flat)
    if scheme.rounding == "float":
        return _real(scheme, start, np.abs(start) + np.abs(flat).sum(1) * -layer.type.low)
    if scheme.bits == 16:
        return _wide(scheme, start)
    low, high = layer.type.low, layer.type.high
    up, down = np.maximum(flat, 0).sum(1), np.minimum(flat, 0).sum(1)
    reach = np.stack([start + up * low + down * high, start + up * high + down * low])
    return _narrow(scheme, start, reach, np.asarray(~flat.any(1)))


def _narrow(scheme: Affine, start: np.ndarray, reach: np.ndarray, is_constant: np.ndarray) -> Channels:
    """`reach`: the least and the largest accumulator of each channel."""
    multiplier, shift = (array.astype(np.int64) for array in scheme.per_channel(len(start)))
    constant = np.clip(rescale(start, multiplier, shift) + scheme.output_zero_point, scheme.low, scheme.high)
    # Eight times the distance from the zero point, halved and divided by four.
    start = np.where(is_constant, 8 * (constant - scheme.output_zero_point), start)
    reach = np.where(is_constant, start, reach)
    largest = np.maximum(np.abs(start), np.abs(reach).max(0))
    # Halved once and shifted by the most bits, accumulators below 2^23 - 2 leave nothing.
    weakest = np.where(multiplier == 0, 2**23, np.int64(1) << np.maximum(-shift - 1, 0))
    is_weak = ~is_constant & ((multiplier == 0) | (shift < -MOST_RIGHT)) & (largest < np.minimum(weakest, 2**23 - 2))
    multiplier = np.where(is_constant | is_weak, HALF, multiplier)
    shift = np.where(is_constant, -2, np.where(is_weak, -MOST_RIGHT, shift))
    is_right = (multiplier >= HALF) & (shift >= -MOST_RIGHT) & (shift <= -1) & (largest <= LARGEST)
    if not is_right.all():
        return Channels("any", _words(start, multiplier, shift))
    line = single_line(multiplier, -shift, scheme.output_zero_point, (scheme.low, scheme.high), reach)
    if line is None or (largest + np.abs(line.more) > LARGEST).any():
        return Channels("far" if (shift <= -2).all() else "right", _words(start, multiplier, -shift - 1))
    return Channels("single", _words(start + line.more, line.factor, line.offset), line.shift)


def _wide(scheme: Affine, start: np.ndarray) -> Channels:
    multiplier, shift = (array.astype(np.int64) for array in scheme.per_channel(len(start)))
    short = np.minimum((multiplier + 2**15) >> 16, 2**15 - 1)
    return Channels("wide", _words(start, start >> 32, short, 15 - shift))


def _real(scheme: Affine, start: np.ndarray, largest: np.ndarray) -> Channels:
    """`largest`: what no accumulator of a channel exceeds."""
    is_wide = scheme.bits == 16
    most = 2**16 if is_wide else 2**8
    # Up to 2^37 and more, which no layer comes near, some factors have no mantissa that is right for all.
    reaches = [1 << max(31, int(one).bit_length()) if is_wide else 2**31 for one in largest]
    reals = np.broadcast_to(scheme.reals, len(start))
    factors = [_exact_factor(float(real), most, reach) for real, reach in zip(reals, reaches, strict=True)]
    mantissa, shift = (np.array(column, np.int64) for column in zip(*factors, strict=True))
    if is_wide:
        return Channels("wide_real", _words(start, start >> 32, mantissa >> 32, mantissa, shift))
    return Channels("real", _words(start, mantissa >> 32, mantissa, shift))


@lru_cache(maxsize=4096)
def _exact_factor(real: float, most: int = 2**8, reach: int = 2**31) -> tuple[int, int]:
    """A mantissa and a shift: ``(|acc| * mantissa + 2^(shift - 1)) >> shift`` is what rounding the product of `real`
    and an accumulator up to `reach` in double precision gives, as far as an output can lie from its zero point, `most`.

    The product in double precision is rounded itself: where that makes halves of what was just less, the mantissa is a
    little more than that of `real`.
    """
    fraction, exponent = frexp(real)
    mantissa, shift = int(fraction * 2**53), 53 - exponent
    if shift > 95:
        return 0, 95
    halves = [(2 * k - 1) << (shift - 1) for k in range(1, most + 1)]
    least = [-(-half // mantissa) if mantissa else 2 * reach for half in halves]
    reached = [at - (float(at - 1) * real >= k + 0.5) for k, at in enumerate(least)]
    pairs = [(half, at) for half, at in zip(halves, reached, strict=True) if at <= reach]
    factor = max([mantissa, *(-(-half // at) for half, at in pairs)])
    if not all((at - 1) * factor < half <= at * factor for half, at in pairs):
        raise CmsisnnError(
            f"expected a factor whose products in double precision some integer rounds alike for accumulators up to "
            f"{reach}, got {real!r}: take smaller weights, or arithmetic 'tflm'"
        )
    return factor, shift


def _words(*columns: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.stack([wrapped(column) for column in columns], axis=1).astype(np.int32))
