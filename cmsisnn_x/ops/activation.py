# SPDX-License-Identifier: Apache-2.0
"""Activations, softmax among them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import _activation, _simd, _softmax
from .. import _arguments as check
from .._tables import activation_table
from ..errors import CmsisnnError, ShapeError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def relu(x: ArrayLike, out: NDArray | None = None) -> NDArray:
    """Rectified linear unit: max(x, 0) of each element.

    Parameters
    ----------
    x : array of int8 or int16, any shape
    out : array, optional
        Where to put the result; ``out=x`` works in place.

    Returns
    -------
    numpy.ndarray
        Shape and dtype of `x`; `out` if given.

    Raises
    ------
    ValueError
        `x` is neither int8 nor int16, or `out` does not match it.
    """
    return _elementwise(_simd.relu, check.quantized("x", x), (), out)


def sigmoid(x: ArrayLike, int_bits: int, out: NDArray | None = None) -> NDArray:
    """Logistic sigmoid of each element, from a table of 256 entries.

    Parameters
    ----------
    x : array of int8 or int16, any shape
        Fixed-point numbers with `int_bits` integer bits: q7 is x / 2^(7 - int_bits), q15 is x / 2^(15 - int_bits).
    int_bits : int
        0..3.
    out : array, optional
        Where to put the result; ``out=x`` works in place.

    Returns
    -------
    numpy.ndarray
        Shape and dtype of `x`, with no integer bits (127 or 32767 stands for 1); `out` if given.

    Raises
    ------
    ValueError
        `x` is neither int8 nor int16, `int_bits` is not in 0..3, or `out` does not match `x`.

    Notes
    -----
    With ``T(t) = min(floor(f(t / 16) * 2^(N-1) + 1/2), 2^(N-1) - 1)`` for t = -128..127:

    * q7: ``T(x >> (3 - int_bits))``
    * q15: with s = 11 - int_bits, i = x >> s and f = x mod 2^s, ``((2^s - f) * T(i) + f * T(i + 1)) >> s``, where the
      last segment, i = 127, is not interpolated. This is CMSIS-NN 5.8.0; see :mod:`cmsisnn_x.cmsis` for 5.4.0.
    """
    return _look_up("sigmoid", x, int_bits, out)


def tanh(x: ArrayLike, int_bits: int, out: NDArray | None = None) -> NDArray:
    """Hyperbolic tangent of each element, from a table of 256 entries.

    Parameters
    ----------
    x : array of int8 or int16, any shape
        Fixed-point numbers with `int_bits` integer bits: q7 is x / 2^(7 - int_bits), q15 is x / 2^(15 - int_bits).
    int_bits : int
        0..3.
    out : array, optional
        Where to put the result; ``out=x`` works in place.

    Returns
    -------
    numpy.ndarray
        Shape and dtype of `x`, with no integer bits (127 or 32767 stands for 1); `out` if given.

    Raises
    ------
    ValueError
        `x` is neither int8 nor int16, `int_bits` is not in 0..3, or `out` does not match `x`.

    Notes
    -----
    The formula is that of :func:`sigmoid`, with f = tanh.
    """
    return _look_up("tanh", x, int_bits, out)


def _look_up(function, x, int_bits, out):
    array = check.quantized("x", x)
    table = activation_table(function, check.scheme_type(array))
    return _elementwise(
        _activation.look_up, array, (table, check.integer("int_bits", int_bits, 0, 3, CmsisnnError)), out
    )


def _elementwise(kernel, array, arguments, out):
    elements = check.flat(array)
    result = check.Output(out, array.shape, array.dtype, elements, elementwise=True)
    kernel(elements, *arguments, result.array.reshape(-1))
    return result.finish()


def softmax(x: ArrayLike, out: NDArray | None = None) -> NDArray:
    """Softmax to the base 2 over all elements of a sample.

    Parameters
    ----------
    x : array of int8 or int16
        One sample ``(k,)`` or ``(h, w, c)``, or a batch ``(n, k)`` or ``(n, h, w, c)``; 1..32767 elements a sample.
    out : array, optional
        Where to put the result; it may overlap the input.

    Returns
    -------
    numpy.ndarray
        Shape and dtype of `x`, 127 or 32767 standing for 1; `out` if given.

    Raises
    ------
    ValueError
        `x` is neither int8 nor int16, or has a shape or size that is not legal, or `out` does not match it.

    Notes
    -----
    One unit in the last place of the input is one factor of 2. With m = max(x) and e_i = x_i - (m - W)::

        S = SUM over e_i > 0 of 2^(e_i);   y_i = min(floor(2^B / S) >> (K - e_i), 2^(N-1) - 1) where e_i > 0, else 0

    W = 8, B = 20, K = 13 for q7 and W = 16, B = 32, K = 17 for q15.

    Examples
    --------
    >>> import numpy as np
    >>> import cmsisnn_x
    >>> cmsisnn_x.softmax(np.int8([10, 9, 8]))
    array([73, 36, 18], dtype=int8)
    """
    array = check.quantized("x", x)
    vectors = check.samples("x", array)
    if vectors.shape[1] > check.SOFTMAX_MAX:
        raise ShapeError(f"x: expected 1 to {check.SOFTMAX_MAX} elements a sample, got {vectors.shape[1]}")
    result = check.Output(out, array.shape, array.dtype, vectors)
    if vectors.shape[0]:
        _softmax.softmax(vectors, result.array.reshape(vectors.shape))
    return result.finish()
