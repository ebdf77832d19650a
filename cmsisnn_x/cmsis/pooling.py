# SPDX-License-Identifier: Apache-2.0
"""Max and average pooling: clipped windows under ``"scalar"``, two passes inside the input buffer under ``"dsp"``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import _cmsis, ops
from ..errors import DomainError
from ._call import Call
from ._geometry import Pool
from ._prototypes import Profile, documented
from ._rules import RULES

Int8 = NDArray[np.int8]
Scratch = NDArray[Any] | None


_REFUSED = 'an output larger than the input, or a window wholly outside the image, under ``"dsp"``'


def _pool(function: str, arguments: Mapping[str, Any], *, average: bool) -> None:
    call = Call(function, arguments)
    g = Pool.of(call.numbers)
    if call.dsp and (problem := RULES[function].unsafe(call.numbers)):
        raise DomainError(f"{function}: {problem}")
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
