# SPDX-License-Identifier: Apache-2.0
"""Products and wider types, element by element."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .. import _arguments as check
from .. import _support
from ..errors import CmsisnnError, ShapeError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def multiply(a: ArrayLike, b: ArrayLike, *, out_shift: int, out: NDArray | None = None) -> NDArray:
    """Product of two arrays, element by element, shifted and saturated.

    Parameters
    ----------
    a, b : arrays of int8 or int16, any shape
        Both of the same dtype and shape.
    out_shift : int
        0..31.
    out : array, optional
        Where to put the result; it may be `a` or `b`.

    Returns
    -------
    numpy.ndarray
        ``clamp((a * b + round(out_shift)) >> out_shift)``, shape and dtype of `a`; `out` if given.

    Raises
    ------
    ValueError
        Dtypes or shapes do not match, or `out_shift` is not in 0..31.

    Notes
    -----
    The sum is modulo 2^32, which shows in one case: int16, ``out_shift=31``, -32768 * -32768 gives -1.
    """
    left = check.quantized("a", a)
    right = check.quantized("b", b, left.dtype)
    if right.shape != left.shape:
        raise ShapeError(f"b: expected shape {left.shape} = that of a, got {right.shape}")
    out_shift = check.shift("out_shift", out_shift)
    lefts, rights = check.flat(left), check.flat(right)
    result = check.Output(out, left.shape, left.dtype, lefts, rights, elementwise=True)
    _support.multiply(lefts, rights, out_shift, result.array.reshape(-1))
    return result.finish()


def q7_to_q15(x: ArrayLike, *, reorder: bool = False) -> NDArray:
    """Widen q7 to q15 without scaling.

    Parameters
    ----------
    x : array of int8, any shape
    reorder : bool
        Store each full group of four elements, in C order, as 0, 2, 1, 3: what a Cortex-M's SXTB16 yields. The last
        1..3 elements stay in order.

    Returns
    -------
    numpy.ndarray
        int16, shape of `x`.

    Raises
    ------
    ValueError
        `x` is not int8.
    """
    array = check.quantized("x", x, check.Q7)
    is_reordered = check.integer("reorder", reorder, 0, 1, CmsisnnError) == 1
    out = np.empty(array.shape, np.int16)
    _support.q7_to_q15(check.flat(array), out.reshape(-1), is_reordered)
    return out
