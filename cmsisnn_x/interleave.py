# SPDX-License-Identifier: Apache-2.0
"""The interleaved weight layouts of CMSIS-NN's ``arm_fully_connected_*_opt`` kernels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from . import _arguments as check
from .errors import DtypeError, ShapeError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, DTypeLike, NDArray

# (weights, activations) -> columns of a group, and the row-major place of (row q, column k) of a group in the stream.
# Weights are taken four rows at a time and then, within these, a group of columns at a time.
_LAYOUTS = {
    ("q7", "q7"): (4, lambda q, k: 8 * (k & 1) + 4 * (q >> 1) + 2 * (k >> 1) + (q & 1)),
    ("q15", "q15"): (2, lambda q, k: 2 * q + k),
    ("q7", "q15"): (2, lambda q, k: 4 * (q >> 1) + 2 * k + (q & 1)),
}


def pack_fully_connected(weights: ArrayLike, x_dtype: DTypeLike | str) -> NDArray:
    """Interleave the weights of a fully connected layer for one of the ``_opt`` kernels.

    Parameters
    ----------
    weights : array of int8 or int16, shape (rows, cols)
    x_dtype : {"q7", "q15"} or NumPy dtype
        Type of the activations, which with that of the weights selects the kernel: ``q7_opt``, ``q15_opt`` or
        ``mat_q7_vec_q15_opt``.

    Returns
    -------
    numpy.ndarray
        The rows * cols weights in the order in which the kernel reads them, 1-D.

    Raises
    ------
    ValueError
        `weights` is not a non-empty matrix, or there is no such kernel.

    Notes
    -----
    Groups of four rows come one after the other; in each, groups of four (q7) or two columns, then the columns left
    over, four rows of a column at a time. The rows left over follow in plain order.

    Examples
    --------
    >>> import numpy as np
    >>> import cmsisnn_x
    >>> cmsisnn_x.pack_fully_connected(np.int8([[0, 1], [10, 11], [20, 21], [30, 31]]), "q15")
    array([ 0, 10,  1, 11, 20, 30, 21, 31], dtype=int8)
    """
    matrix = check.quantized("weights", weights)
    if matrix.ndim != 2 or matrix.size == 0:
        raise ShapeError(f"weights: expected a non-empty (rows, cols), got shape {matrix.shape}")
    packed = np.empty(matrix.size, matrix.dtype)
    rows, cols = matrix.shape
    packed[_positions(rows, cols, matrix.dtype, x_dtype)] = matrix
    return packed


def unpack_fully_connected(packed: ArrayLike, rows: int, cols: int, x_dtype: DTypeLike | str) -> NDArray:
    """Undo :func:`pack_fully_connected`.

    Parameters
    ----------
    packed : array of int8 or int16, rows * cols elements
    rows, cols : int
        Shape of the matrix.
    x_dtype : {"q7", "q15"} or NumPy dtype
        Type of the activations.

    Returns
    -------
    numpy.ndarray
        Shape (rows, cols), dtype of `packed`.

    Raises
    ------
    ValueError
        `packed` has another number of elements, or there is no such kernel.
    """
    stream = check.quantized("packed", packed)
    rows, cols = check.integer("rows", rows, 1, 2**31 - 1), check.integer("cols", cols, 1, 2**31 - 1)
    if stream.size != rows * cols:
        raise ShapeError(f"packed: expected rows * cols = {rows * cols} elements, got {stream.size}")
    return stream.reshape(-1)[_positions(rows, cols, stream.dtype, x_dtype)]


def _positions(rows: int, cols: int, dtype: np.dtype, x_dtype: object) -> np.ndarray:
    """Place of each matrix element in the stream, shape (rows, cols)."""
    key = "q7" if dtype == check.Q7 else "q15", _name(x_dtype)
    if key not in _LAYOUTS:
        raise DtypeError(f"x_dtype: expected 'q15' for int16 weights, got {x_dtype!r}")
    group, place = _LAYOUTS[key]
    r, c = np.indices((rows, cols), sparse=True)
    band, q, k = r // 4, r % 4, c % group
    inside = 4 * band * cols + 4 * group * (c // group) + place(q, k)
    beside = 4 * band * cols + 4 * c + q
    below = r * cols + c
    return np.where(r >= rows // 4 * 4, below, np.where(c >= cols // group * group, beside, inside))


def _name(x_dtype: object) -> str:
    if isinstance(x_dtype, str) and x_dtype in check.DTYPES:
        return x_dtype
    for name, dtype in check.DTYPES.items():
        try:
            if np.dtype(x_dtype) == dtype:  # type: ignore[call-overload]
                return name
        except (TypeError, ValueError, SyntaxError):  # NumPy parses text
            break
    raise DtypeError(f"x_dtype: expected 'q7', 'q15', int8 or int16, got {x_dtype!r}")
