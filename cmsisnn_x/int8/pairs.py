# SPDX-License-Identifier: Apache-2.0
"""Two tensors, element by element."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _arguments as check
from ..affine import AffineClamp, AffineProduct, AffineSum
from ..errors import ShapeError
from . import _given as given
from ._given import INT8, INT16

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def add(
    a: ArrayLike,
    b: ArrayLike,
    *,
    input_scales: tuple[float, float],
    output_scale: float,
    input_zero_points: tuple[int, int] = (0, 0),
    output_zero_point: int = 0,
    activation_min: int | None = None,
    activation_max: int | None = None,
) -> NDArray:
    """Sum of two arrays, which broadcast as NumPy's do.

    Parameters
    ----------
    a, b : arrays of int8 or int16
        Of one dtype.
    input_scales, input_zero_points : pairs
        Of `a` and of `b`.
    output_scale : float
    output_zero_point : int
    activation_min, activation_max
        As in :func:`convolve`.

    Returns
    -------
    numpy.ndarray
        dtype of `a`.

    Raises
    ------
    ValueError
        An argument is not legal.

    Notes
    -----
    Both are brought to twice the larger scale, shifted 20 bits to the left (15 for int16), added, and brought to the
    output's: see :class:`cmsisnn_x.affine.AffineSum`.
    """
    limits = (activation_min, activation_max)
    return _sum(a, b, 1, input_scales, output_scale, input_zero_points, output_zero_point, limits)


def subtract(
    a: ArrayLike,
    b: ArrayLike,
    *,
    input_scales: tuple[float, float],
    output_scale: float,
    input_zero_points: tuple[int, int] = (0, 0),
    output_zero_point: int = 0,
    activation_min: int | None = None,
    activation_max: int | None = None,
) -> NDArray:
    """Difference of two arrays: :func:`add` with the second one's sign turned.

    Parameters
    ----------
    a, b, input_scales, output_scale, input_zero_points, output_zero_point, activation_min, activation_max
        As in :func:`add`.

    Returns
    -------
    numpy.ndarray
        dtype of `a`.

    Raises
    ------
    ValueError
        As in :func:`add`.
    """
    limits = (activation_min, activation_max)
    return _sum(a, b, -1, input_scales, output_scale, input_zero_points, output_zero_point, limits)


def _sum(a, b, sign, input_scales, output_scale, input_zero_points, output_zero_point, limits):
    left, right = given.two_arrays(a, b)
    scales = (
        *(given.scale_of("input_scales", one) for one in input_scales),
        given.scale_of("output_scale", output_scale),
    )
    points = given.pair_of_points(left.dtype, input_zero_points, output_zero_point)
    name = "int8" if left.dtype == INT8 else "int16"
    scheme = AffineSum.of(scales, points, given.limits(left.dtype, limits), sign=sign, dtype=name)
    return _pairwise("add", left, right, scheme)


def multiply(
    a: ArrayLike,
    b: ArrayLike,
    *,
    multiplier: int,
    shift: int,
    input_zero_points: tuple[int, int] = (0, 0),
    output_zero_point: int = 0,
    activation_min: int | None = None,
    activation_max: int | None = None,
) -> NDArray:
    """Product of two arrays, which broadcast as NumPy's do.

    Parameters
    ----------
    a, b : arrays of int8 or int16
        Of one dtype.
    multiplier, shift : int
        The factor of outputs, ``scale of a * scale of b / output scale``.
    input_zero_points : (int, int)
        Of `a` and of `b`.
    output_zero_point : int
    activation_min, activation_max
        As in :func:`convolve`.

    Returns
    -------
    numpy.ndarray
        dtype of `a`.

    Raises
    ------
    ValueError
        An argument is not legal.
    """
    left, right = given.two_arrays(a, b)
    points = given.pair_of_points(left.dtype, input_zero_points, output_zero_point)
    numbers = given.one_factor(multiplier, shift)
    limits = given.limits(left.dtype, (activation_min, activation_max))
    return _pairwise("multiply", left, right, AffineProduct(points[0], points[1], *numbers, points[2], *limits))


def maximum(a: ArrayLike, b: ArrayLike) -> NDArray:
    """The larger of two, element by element; all scales and zero points are equal.

    Parameters
    ----------
    a, b : arrays of int8 or int16
        Of one dtype; they broadcast as NumPy's do.

    Returns
    -------
    numpy.ndarray
        dtype of `a`.

    Raises
    ------
    ValueError
        An argument is not legal.
    """
    left, right = given.two_arrays(a, b)
    return _pairwise("maximum", left, right, AffineClamp(*given.limits(left.dtype, (None, None))))


def minimum(a: ArrayLike, b: ArrayLike) -> NDArray:
    """The smaller of two, element by element; all scales and zero points are equal.

    Parameters
    ----------
    a, b
        As in :func:`maximum`.

    Returns
    -------
    numpy.ndarray
        dtype of `a`.

    Raises
    ------
    ValueError
        As in :func:`maximum`.
    """
    left, right = given.two_arrays(a, b)
    return _pairwise("minimum", left, right, AffineClamp(*given.limits(left.dtype, (None, None))))


def _pairwise(op: str, left: np.ndarray, right: np.ndarray, scheme: Any) -> np.ndarray:
    try:
        shape = np.broadcast_shapes(left.shape, right.shape)
    except ValueError:
        expected = f"a shape that broadcasts with that of a, {left.shape}"
        raise ShapeError(f"b: expected {expected}, got {right.shape}") from None
    result = np.empty(shape, left.dtype)
    a, b = check.contiguous(np.broadcast_to(left, shape)), right
    # The second one is repeated by the kernel where only leading axes are missing or 1.
    if right.shape[-1:] and shape[len(shape) - right.ndim :] != right.shape:
        b = np.broadcast_to(right, shape)
    b = check.contiguous(b)
    if a.size:
        given.run_once(lambda step: step.pair(op, a.dtype == INT16, a.size, b.size, scheme), (a, b), result)
    return result
