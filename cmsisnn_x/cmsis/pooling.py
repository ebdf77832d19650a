# SPDX-License-Identifier: Apache-2.0
"""Max and average pooling: clipped windows under ``"scalar"``, two passes inside the input buffer under ``"dsp"``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import _cmsis, ops
from ..errors import DomainError
from ._call import Call
from ._prototypes import Profile, documented

Int8 = NDArray[np.int8]
Scratch = NDArray[Any] | None


class _Geometry(NamedTuple):
    """The scalar arguments in Arm's order."""

    size: int
    channels: int
    kernel: int
    padding: int
    stride: int
    out: int

    @property
    def last(self) -> int:
        """Where the last window begins."""
        return (self.out - 1) * self.stride - self.padding

    def has_empty_window(self) -> bool:
        return self.out > 0 and (self.kernel <= self.padding or self.last >= self.size)

    def has_zero(self) -> bool:
        return 0 in (self.size, self.channels, self.kernel, self.stride, self.out)


def _refuse_outside(function: str, g: _Geometry) -> None:
    """Refuse what makes the dsp code read or write beyond a row or the image."""
    safe = "use profile='scalar' or cmsisnn_x.max_pool and avg_pool"
    if g.out > g.size:
        raise DomainError(
            f"{function}: the dsp kernel pools inside the input and needs dim_im_out <= dim_im_in, "
            f"got {g.out} > {g.size}; {safe}"
        )
    if g.has_empty_window():
        if g.kernel <= g.padding:
            which = (
                f"the first ends at {g.kernel - g.padding}: needs dim_kernel > padding, got {g.kernel} <= {g.padding}"
            )
        else:
            which = f"the last starts at {g.last} of {g.size}: needs (dim_im_out - 1) * stride - padding < dim_im_in"
        raise DomainError(f"{function}: no window may lie wholly outside the image, but {which}; {safe}")


_REFUSED = 'an output larger than the input, or a window wholly outside the image, under ``"dsp"``'


def _pool(function: str, arguments: Mapping[str, Any], *, average: bool) -> None:
    call = Call(function, arguments)
    g = _Geometry(*(call[n] for n in ("dim_im_in", "ch_im_in", "dim_kernel", "padding", "stride", "dim_im_out")))
    if call.dsp:
        _refuse_outside(function, g)
    call.check_sizes()
    image = call.read("Im_in")
    # A copy, not an empty array: the dsp average leaves the end of rows of 65536 bytes and more unwritten.
    out = call.read("Im_out").copy()
    if call.dsp:
        image = image.copy()
        if average:
            _cmsis.avg_pool_in_place(image, out, np.empty(g.out * g.channels, np.int16), *g)
        else:
            _cmsis.max_pool_in_place(image, out, *g)
        call.write("Im_in", image)
    elif g.has_empty_window() or g.has_zero():
        _cmsis.pool_clipped(image, out, average, *g)
    else:
        operation = ops.avg_pool if average else ops.max_pool
        operation(
            image.reshape(g.size, g.size, g.channels),
            g.kernel,
            stride=g.stride,
            padding=g.padding,
            output_size=g.out,
            out=out.reshape(g.out, g.out, g.channels),
        )
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
