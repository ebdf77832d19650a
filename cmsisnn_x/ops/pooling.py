# SPDX-License-Identifier: Apache-2.0
"""Pooling: maximum and average over windows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import _arguments as check
from .. import _simd
from ..errors import CmsisnnError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Sides = int | tuple[int, int]


def max_pool(
    x: ArrayLike,
    kernel: Sides,
    *,
    stride: Sides | None = None,
    padding: Sides | str = 0,
    ceil_mode: bool = False,
    output_size: Sides | None = None,
    out: NDArray | None = None,
) -> NDArray:
    """Maximum over windows, clipped to the image.

    Parameters
    ----------
    x : array of int8 or int16, shape (h, w, c) or (n, h, w, c)
    kernel : int or (int, int)
        Height and width of a window.
    stride : int or (int, int), optional
        The kernel by default.
    padding : int, (int, int), "same" or "valid"
        Rows and columns by which the first windows lie outside the image.
    ceil_mode : bool
        Round the output size up instead of down; a last window that would start outside the padded image is dropped.
    output_size : int or (int, int), optional
        Overrides the size that follows from the above.
    out : array, optional
        Where to put the result; it may overlap the input.

    Returns
    -------
    numpy.ndarray
        Shape (out_h, out_w, c) or (n, out_h, out_w, c), dtype of `x`; `out` if given.

    Raises
    ------
    ValueError
        An argument is not legal, or a window would hold no pixel of the image.

    Examples
    --------
    >>> import numpy as np
    >>> import cmsisnn_x
    >>> cmsisnn_x.max_pool(np.arange(25, dtype=np.int8).reshape(5, 5, 1), 2, ceil_mode=True)[:, :, 0]
    array([[ 6,  8,  9],
           [16, 18, 19],
           [21, 23, 24]], dtype=int8)
    """
    return _pool("max_pool", x, kernel, stride, padding, ceil_mode, output_size, out)


def avg_pool(
    x: ArrayLike,
    kernel: Sides,
    *,
    stride: Sides | None = None,
    padding: Sides | str = 0,
    ceil_mode: bool = False,
    output_size: Sides | None = None,
    out: NDArray | None = None,
) -> NDArray:
    """Average over windows, clipped to the image.

    Parameters
    ----------
    x, kernel, stride, padding, ceil_mode, output_size, out
        As in :func:`max_pool`.

    Returns
    -------
    numpy.ndarray
        As of :func:`max_pool`.

    Raises
    ------
    ValueError
        As in :func:`max_pool`.

    Notes
    -----
    Each output is the sum over the window's pixels inside the image, divided by their number, truncated once towards
    zero. CMSIS-NN 5.4.0 with the DSP extension truncates twice; see :func:`cmsisnn_x.cmsis.arm_avepool_q7_HWC`.

    Examples
    --------
    >>> import numpy as np
    >>> import cmsisnn_x
    >>> cmsisnn_x.avg_pool(np.int8([[[-1], [-2]], [[-2], [-2]]]), 2)
    array([[[-1]]], dtype=int8)
    """
    return _pool("avg_pool", x, kernel, stride, padding, ceil_mode, output_size, out)


def _pool(op, x, kernel, stride, padding, ceil_mode, output_size, out):
    image = check.quantized("x", x)
    nhwc = check.images("x", image)
    window = check.pair("kernel", kernel, 1)
    round_up = check.integer("ceil_mode", ceil_mode, 0, 1, CmsisnnError) == 1
    step = window if stride is None else stride
    case = check.windows(op, nhwc, nhwc.shape[3], window, step, padding, round_up, output_size)
    check.check_windows(case.image[:2], window, case.stride, case.padding, case.output)
    shape = (*case.output, nhwc.shape[3])
    result = check.Output(out, shape if image.ndim == 3 else (len(nhwc), *shape), image.dtype, nhwc)
    if len(nhwc):
        getattr(_simd, op)(nhwc, result.array.reshape(-1, *shape), window, case.stride, case.padding)
    return result.finish()
