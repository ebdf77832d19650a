# SPDX-License-Identifier: Apache-2.0
"""Functions of one tensor, element by element, and softmax."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from .. import _arguments as check
from ..affine import AffineRescale, AffineSoftmax
from ..affine import tables as affine_tables
from ..affine.curves import AffineCurve, AffineSoftmax16, sigmoid_points
from ..affine.tables import Numbers
from ..errors import CmsisnnError, ShapeError
from ..scheme import TENSOR_TYPES
from . import _given as given
from ._given import ARITHMETICS, INT8, INT16, UINT8

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def requantise(
    x: ArrayLike,
    *,
    multiplier: int,
    shift: int,
    input_zero_point: int = 0,
    output_zero_point: int = 0,
    dtype: str = "int8",
    activation_min: int | None = None,
    activation_max: int | None = None,
) -> NDArray:
    """The same numbers at another scale, as QUANTIZE of integers gives them.

    Parameters
    ----------
    x : array of int8, uint8 or int16
    multiplier, shift : int
        The factor, input scale by output scale.
    input_zero_point, output_zero_point : int
    dtype : {"int8", "uint8", "int16"}
        Of the output.
    activation_min, activation_max
        As in :func:`convolve`.

    Returns
    -------
    numpy.ndarray
        Shape of `x`.

    Raises
    ------
    ValueError
        An argument is not legal.
    """
    array = check.contiguous(given.array_of("x", x, INT8, UINT8, INT16))
    check.one_of("dtype", dtype, ("int8", "uint8", "int16"))
    result = np.empty(array.shape, TENSOR_TYPES[dtype].dtype)
    points = given.zero_points(array.dtype, result.dtype, input_zero_point, output_zero_point)
    limits = given.limits(result.dtype, (activation_min, activation_max))
    scheme = AffineRescale(points[0], points[1], *given.one_factor(multiplier, shift), *limits)
    given.run_once(lambda step: step.requantise(array.size, array.dtype, result.dtype, scheme), (array,), result)
    return result


def softmax(
    x: ArrayLike, *, input_scale: float, beta: float = 1.0, dtype: str | None = None, arithmetic: str = "tflm"
) -> NDArray:
    """Softmax over the last axis.

    Parameters
    ----------
    x : array of int8 or int16
    input_scale : float
    beta : float
        What exponents are multiplied by.
    dtype : {"int8", "int16"}, optional
        Of the output, by default that of `x`, which int16 must keep. int8 has the scale 2^-8 and the zero point -128;
        int16 has 2^-16 and -32768 from int8, 2^-15 and 0 from int16.
    arithmetic : {"tflm", "litert"}

    Returns
    -------
    numpy.ndarray
        Shape of `x`.

    Raises
    ------
    ValueError
        An argument is not legal.
    """
    array = check.contiguous(given.array_of("x", x, INT8, INT16))
    own = str(array.dtype)
    check.one_of("arithmetic", arithmetic, ARITHMETICS)
    name = check.one_of("dtype", own if dtype is None else dtype, ("int8", "int16") if own == "int8" else ("int16",))
    if array.ndim == 0 or not 1 <= array.shape[-1] <= check.SOFTMAX_COLUMNS_MAX:
        raise ShapeError(f"x: expected 1 to {check.SOFTMAX_COLUMNS_MAX} elements a row, got shape {array.shape}")
    result = np.empty(array.shape, TENSOR_TYPES[str(name)].dtype)
    rows, cols = array.size // array.shape[-1], array.shape[-1]
    scale, slope = given.scale_of("input_scale", input_scale), given.scale_of("beta", beta)
    if own == "int16":
        wide = AffineSoftmax16.of(scale, slope, arithmetic)
        given.run_once(lambda step: step.softmax_wide_rows(rows, cols, wide), (array,), result)
        return result
    scheme = AffineSoftmax.of(scale, slope, 8 * result.dtype.itemsize)
    if scheme.shift < 0:
        raise CmsisnnError(f"input_scale: expected beta * input_scale of at least 2^-26, got {scale * slope:g}")
    given.run_once(lambda step: step.softmax_rows(rows, cols, scheme), (array,), result)
    return result


def sigmoid(x: ArrayLike, *, input_scale: float, input_zero_point: int = 0, arithmetic: str = "tflm") -> NDArray:
    """Logistic sigmoid, element by element.

    Parameters
    ----------
    x : array of int8 or int16
    input_scale : float
    input_zero_point : int
    arithmetic : {"tflm", "litert"}

    Returns
    -------
    numpy.ndarray
        Shape and dtype of `x`; int8 has the scale 2^-8 and the zero point -128, int16 has 2^-15 and 0.

    Raises
    ------
    ValueError
        An argument is not legal.
    """
    return _curve("sigmoid", affine_tables.sigmoid, (2.0**-8, -128), x, input_scale, input_zero_point, arithmetic)


def tanh(x: ArrayLike, *, input_scale: float, input_zero_point: int = 0, arithmetic: str = "tflm") -> NDArray:
    """Hyperbolic tangent, element by element.

    Parameters
    ----------
    x, input_scale, input_zero_point, arithmetic
        As in :func:`sigmoid`.

    Returns
    -------
    numpy.ndarray
        Shape and dtype of `x`; int8 has the scale 2^-7, int16 has 2^-15, both the zero point 0.

    Raises
    ------
    ValueError
        As in :func:`sigmoid`.
    """
    return _curve("tanh", affine_tables.tanh, (2.0**-7, 0), x, input_scale, input_zero_point, arithmetic)


def _curve(kind, table_of: Callable[..., np.ndarray], output, x, input_scale, input_zero_point, arithmetic):
    array = given.array_of("x", x, INT8, INT16)
    scale = given.scale_of("input_scale", input_scale)
    check.one_of("arithmetic", arithmetic, ARITHMETICS)
    (point,) = given.zero_points(array.dtype, INT8, input_zero_point)
    if array.dtype == INT8:
        return _through(array, table_of(Numbers("int8", scale, point), Numbers("int8", *output), arithmetic))
    array = check.contiguous(array)
    result = np.empty(array.shape, INT16)
    scheme = AffineCurve.of(kind, scale)
    given.run_once(lambda step: step.curve(array.size, sigmoid_points(), scheme), (array,), result)
    return result


def relu(
    x: ArrayLike,
    *,
    input_scale: float,
    output_scale: float,
    input_zero_point: int = 0,
    output_zero_point: int = 0,
    activation: str = "relu",
    arithmetic: str = "tflm",
) -> NDArray:
    """A rectifier of its own, at another scale.

    Parameters
    ----------
    x : array of int8
    input_scale, output_scale : float
    input_zero_point, output_zero_point : int
    activation : {"relu", "relu6", "relu_n1_to_1"}
    arithmetic : {"tflm", "litert"}
        TFLM's relu6 clamps the integers as they are, whatever the output's scale.

    Returns
    -------
    numpy.ndarray
        int8, shape of `x`.

    Raises
    ------
    ValueError
        An argument is not legal.
    """
    check.one_of("activation", activation, ("relu", "relu6", "relu_n1_to_1"))
    check.one_of("arithmetic", arithmetic, ARITHMETICS)
    array, numbers = _bytes(x, input_scale, output_scale, input_zero_point, output_zero_point)
    return _through(array, affine_tables.relu(numbers[0], numbers[1], activation, arithmetic))


def leaky_relu(
    x: ArrayLike,
    alpha: float,
    *,
    input_scale: float,
    output_scale: float,
    input_zero_point: int = 0,
    output_zero_point: int = 0,
    arithmetic: str = "tflm",
) -> NDArray:
    """Numbers below zero times `alpha`, at another scale.

    Parameters
    ----------
    x : array of int8
    alpha : float
    input_scale, output_scale : float
    input_zero_point, output_zero_point : int
    arithmetic : {"tflm", "litert"}

    Returns
    -------
    numpy.ndarray
        int8, shape of `x`.

    Raises
    ------
    ValueError
        An argument is not legal.
    """
    check.one_of("arithmetic", arithmetic, ARITHMETICS)
    array, numbers = _bytes(x, input_scale, output_scale, input_zero_point, output_zero_point)
    if not np.isfinite(alpha):
        raise CmsisnnError(f"alpha: expected a finite number, got {alpha!r}")
    return _through(array, affine_tables.leaky_relu(numbers[0], numbers[1], float(alpha), arithmetic))


def hard_swish(
    x: ArrayLike,
    *,
    input_scale: float,
    output_scale: float,
    input_zero_point: int = 0,
    output_zero_point: int = 0,
) -> NDArray:
    """``x * relu6(x + 3) / 6``, at another scale.

    Parameters
    ----------
    x : array of int8
    input_scale, output_scale : float
    input_zero_point, output_zero_point : int

    Returns
    -------
    numpy.ndarray
        int8, shape of `x`.

    Raises
    ------
    ValueError
        An argument is not legal.
    """
    array, numbers = _bytes(x, input_scale, output_scale, input_zero_point, output_zero_point)
    return _through(array, affine_tables.hard_swish(numbers[0], numbers[1]))


def _bytes(x, input_scale, output_scale, input_zero_point, output_zero_point):
    array = given.array_of("x", x, INT8)
    points = given.zero_points(INT8, INT8, input_zero_point, output_zero_point)
    scales = given.scale_of("input_scale", input_scale), given.scale_of("output_scale", output_scale)
    return array, [Numbers("int8", scale, point) for scale, point in zip(scales, points, strict=True)]


def _through(array: np.ndarray, table: np.ndarray) -> np.ndarray:
    array = check.contiguous(array)
    result = np.empty(array.shape, table.dtype)
    given.run_once(lambda step: step.look_up(array.size, table), (array,), result)
    return result
