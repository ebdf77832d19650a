# SPDX-License-Identifier: Apache-2.0
"""Max and average pooling: clipped windows under ``"scalar"``, two passes inside the input buffer under ``"dsp"``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import _cmsis
from ..errors import DomainError
from ._call import Call
from ._prototypes import Profile, documented

Int8 = NDArray[np.int8]
Scratch = NDArray[Any] | None


def _refuse_outside(call: Call) -> None:
    """Refuse what makes the dsp code read or write beyond a row or the image."""
    size, kernel, padding, stride, out = (
        call[n] for n in ("dim_im_in", "dim_kernel", "padding", "stride", "dim_im_out")
    )
    safe = "use profile='scalar' or cmsisnn_x.max_pool and avg_pool"
    if out > size:
        raise DomainError(
            f"{call.function}: the dsp kernel pools inside the input and needs dim_im_out <= dim_im_in, "
            f"got {out} > {size}; {safe}"
        )
    if out and kernel <= padding:
        raise DomainError(
            f"{call.function}: no window may lie wholly outside the image, but the first ends at {kernel - padding}: "
            f"needs dim_kernel > padding, got {kernel} <= {padding}; {safe}"
        )
    last = (out - 1) * stride - padding
    if out and last >= size:
        raise DomainError(
            f"{call.function}: no window may lie wholly outside the image, but the last starts at {last} of {size}: "
            f"needs (dim_im_out - 1) * stride - padding < dim_im_in; {safe}"
        )


_REFUSED = 'an output larger than the input, or a window wholly outside the image, under ``"dsp"``'


def _pool(function: str, arguments: Mapping[str, Any], *, average: bool) -> None:
    call = Call(function, arguments)
    if call.dsp:
        _refuse_outside(call)
    call.check_sizes()
    geometry = tuple(call[n] for n in ("dim_im_in", "ch_im_in", "dim_kernel", "padding", "stride", "dim_im_out"))
    # A copy, not an empty array: rows of 65536 bytes and more are not written to their end.
    out = call.read("Im_out").copy()
    image = call.read("Im_in")
    if not call.dsp:
        _cmsis.pool_clipped(image, out, average, *geometry)
    else:
        image = image.copy()
        if average:
            sums = np.empty(call["dim_im_out"] * call["ch_im_in"], np.int16)
            _cmsis.avg_pool_in_place(image, out, sums, *geometry)
        else:
            _cmsis.max_pool_in_place(image, out, *geometry)
        call.write("Im_in", image)
    call.write("Im_out", out)


@documented(refused=_REFUSED)
def arm_maxpool_q7_HWC(
    Im_in: Int8,
    dim_im_in: int,
    ch_im_in: int,
    dim_kernel: int,
    padding: int,
    stride: int,
    dim_im_out: int,
    bufferA: Scratch,
    Im_out: Int8,
    *,
    profile: Profile = "dsp",
) -> None:
    """Max pooling of a square q7 image.

    Under ``"dsp"`` `Im_in` is overwritten as on the core, by the first of two passes: each row is pooled inside
    itself, then the rows are pooled into `Im_out`. The passes compare whole groups of four bytes only, so that the
    last ``ch_im_in % 4`` channels keep the first column of their window, and the last ``dim_im_out * ch_im_in % 4``
    bytes of a row the first row. With ``padding >= stride`` a window reads columns that are already pooled. Under
    ``"scalar"`` the result is the maximum of the window clipped to the image (127 where nothing is left of it) and
    `Im_in` is unchanged.
    """
    _pool("arm_maxpool_q7_HWC", locals(), average=False)


@documented(refused=_REFUSED)
def arm_avepool_q7_HWC(
    Im_in: Int8,
    dim_im_in: int,
    ch_im_in: int,
    dim_kernel: int,
    padding: int,
    stride: int,
    dim_im_out: int,
    bufferA: Scratch,
    Im_out: Int8,
    *,
    profile: Profile = "dsp",
) -> None:
    """Average pooling of a square q7 image; padding is not counted.

    Under ``"scalar"`` the sum of the window clipped to the image is divided by its pixels, truncating towards zero (0
    where nothing is left of it, as the core divides by zero). Under ``"dsp"`` `Im_in` is overwritten as on the core,
    by the first of two passes: the average along each row, inside the row, then the average of those along the
    columns; both truncate. With ``padding >= stride`` a window reads columns that are already averaged. Sums of more
    than 256 terms saturate at 16 bits in whole groups of four elements and wrap in the rest.
    """
    _pool("arm_avepool_q7_HWC", locals(), average=True)
