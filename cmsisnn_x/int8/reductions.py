# SPDX-License-Identifier: Apache-2.0
"""Pooling, and means over axes."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from .. import _arguments as check
from .. import _simd
from ..affine import AffineClamp, AffineMean
from ..errors import ShapeError
from . import _given as given
from ._given import INT8, INT16

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Sides = int | tuple[int, int]


def max_pool(
    x: ArrayLike,
    kernel: Sides,
    *,
    stride: Sides | None = None,
    padding: Sides | str = 0,
    activation_min: int | None = None,
    activation_max: int | None = None,
    output_size: Sides | None = None,
    out: NDArray | None = None,
) -> NDArray:
    """Maximum over windows, clipped to the image; scales of input and output are equal.

    Parameters
    ----------
    x : array of int8 or int16, shape (h, w, c) or (n, h, w, c)
    kernel, stride, padding, output_size, out
        As in :func:`cmsisnn_x.max_pool`.
    activation_min, activation_max
        As in :func:`convolve`.

    Returns
    -------
    numpy.ndarray
        Shape (out_h, out_w, c) or (n, out_h, out_w, c), dtype of `x`; `out` if given.

    Raises
    ------
    ValueError
        An argument is not legal, or a window would hold no pixel of the image.
    """
    return _pool("max_pool", x, kernel, stride, padding, (activation_min, activation_max), output_size, out)


def avg_pool(
    x: ArrayLike,
    kernel: Sides,
    *,
    stride: Sides | None = None,
    padding: Sides | str = 0,
    activation_min: int | None = None,
    activation_max: int | None = None,
    output_size: Sides | None = None,
    out: NDArray | None = None,
) -> NDArray:
    """Average over windows, clipped to the image; scales of input and output are equal.

    Parameters
    ----------
    x, kernel, stride, padding, activation_min, activation_max, output_size, out
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
    Each output is the sum of the integers inside, whatever their zero point, divided by their number, rounded, halves
    away from 0.

    Examples
    --------
    >>> import numpy as np
    >>> from cmsisnn_x import int8
    >>> int8.avg_pool(np.int8([[[-1], [-2]], [[-2], [-1]]]), 2)
    array([[[-2]]], dtype=int8)
    """
    return _pool("avg_pool", x, kernel, stride, padding, (activation_min, activation_max), output_size, out)


def _pool(op, x, kernel, stride, padding, limits, output_size, out):
    image = given.array_of("x", x, INT8, INT16)
    nhwc = check.images("x", image)
    window = check.pair("kernel", kernel, 1)
    step = window if stride is None else stride
    case = check.windows(op, nhwc, nhwc.shape[3], window, step, padding, False, output_size)
    check.check_windows(case.image[:2], window, case.stride, case.padding, case.output)
    shape = (*case.output, nhwc.shape[3])
    result = check.Output(out, shape if image.ndim == 3 else (len(nhwc), *shape), image.dtype, nhwc)
    scheme = AffineClamp(*given.limits(image.dtype, limits))
    if len(nhwc):
        getattr(_simd, op)(nhwc, result.array.reshape(-1, *shape), window, case.stride, case.padding, scheme)
    return result.finish()


def mean(
    x: ArrayLike,
    axis: int | Sequence[int],
    *,
    input_scale: float,
    output_scale: float,
    input_zero_point: int = 0,
    output_zero_point: int = 0,
    keepdims: bool = False,
) -> NDArray:
    """Mean over axes, at another scale.

    Parameters
    ----------
    x : array of int8 or int16
    axis : int or sequence of int
    input_scale, output_scale : float
        float32 in a file.
    input_zero_point, output_zero_point : int
    keepdims : bool
        Whether the axes stay, of size 1.

    Returns
    -------
    numpy.ndarray
        dtype of `x`.

    Raises
    ------
    ValueError
        An argument is not legal.

    Notes
    -----
    The division is in the multiplier, which is truncated: see :meth:`cmsisnn_x.affine.AffineMean.of`.
    """
    array = given.array_of("x", x, INT8, INT16)
    asked = (axis,) if isinstance(axis, int | np.integer) else tuple(axis)
    axes = {check.integer("axis", one, -array.ndim, array.ndim - 1) % array.ndim for one in asked}
    if not axes or array.size == 0:
        raise ShapeError(f"axis: expected one or more of a non-empty array of shape {array.shape}, got {asked}")
    kept = [one for one in range(array.ndim) if one not in axes]
    count = prod(array.shape[one] for one in axes)
    scales = given.scale_of("input_scale", input_scale), given.scale_of("output_scale", output_scale)
    points = given.zero_points(array.dtype, array.dtype, input_zero_point, output_zero_point)
    scheme = AffineMean.of(count, scales, points, given.limits(array.dtype, (None, None)))
    rows = check.contiguous(array.transpose(*kept, *sorted(axes)).reshape(-1, count, 1))
    shape = [1 if one in axes else size for one, size in enumerate(array.shape) if keepdims or one not in axes]
    outputs = np.empty(len(rows), array.dtype)
    given.run_once(lambda step: step.mean(array.dtype, rows.shape, scheme), (rows,), outputs)
    return outputs.reshape(shape)
