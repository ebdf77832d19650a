# SPDX-License-Identifier: Apache-2.0
"""Layers with weights: the vector kernel of this machine, or the code path that a variant names."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from .. import _arguments as check
from .. import _simd
from ..buffers import footprint
from ..errors import ShapeError
from ..op import Case, check_variant
from ..scheme import Pow2
from ..study import _convolution, _depthwise, _fully_connected
from ..variant import Variant

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Sides = int | tuple[int, int]


_STUDY: dict[str, Callable[..., None]] = {
    "convolve": _convolution.convolve,
    "depthwise_convolve": _depthwise.depthwise_convolve,
    "fully_connected": _fully_connected.fully_connected,
}
"""The code paths with knobs."""


def _run(variant: Variant | None, case: Case, *arguments) -> None:
    """Run an operation with knobs: the vector kernel of this machine, or the Cython code path that `variant` names."""
    if variant is None:
        getattr(_simd, case.op)(*arguments)
        return
    scratch = np.empty(max(footprint(case, variant) // 2, 1), np.int16)
    knobs = (variant.unroll, variant.block_rows, variant.block_cols, variant.im2col_cols)
    _STUDY[case.op](*arguments, *knobs, scratch)


def _requantisation(dtype: str, bias_shift, out_shift, activation) -> Pow2:
    shifts = check.shift("bias_shift", bias_shift), check.shift("out_shift", out_shift)
    return _pow2(dtype, *shifts, check.one_of("activation", activation, (None, "relu")))


_pow2 = lru_cache(maxsize=256)(Pow2.of)


def convolve(
    x: ArrayLike,
    weights: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    stride: Sides = 1,
    padding: Sides | str = 0,
    bias_shift: int = 0,
    out_shift: int,
    activation: str | None = None,
    output_size: Sides | None = None,
    variant: Variant | None = None,
    out: NDArray | None = None,
) -> NDArray:
    """Convolution of q7 or q15 images.

    Parameters
    ----------
    x : array of int8 or int16, shape (h, w, in_ch) or (n, h, w, in_ch)
        One image or a batch; a batch of 0 gives an empty result.
    weights : array of x's dtype, shape (out_ch, kernel_h, kernel_w, in_ch)
    bias : array of x's dtype, shape (out_ch,), optional
        Zero by default.
    stride : int or (int, int)
        Step along y and x, 1..65535.
    padding : int, (int, int), "same" or "valid"
        Zeros at the top (and bottom) and left (and right). ``"same"`` is TensorFlow's rule: ceil(h / stride) rows,
        with the smaller half of the padding at the top and left.
    bias_shift, out_shift : int
        0..31: left shift of the bias, right shift of the accumulator.
    activation : {None, "relu"}
    output_size : int or (int, int), optional
        Height and width of the output, by default floor((in + 2 padding - kernel) / stride) + 1. What it needs at the
        bottom and right of the image is zero.
    variant : Variant, optional
        The code path to run; every one gives the same bits. By default the fastest on this machine.
    out : array, optional
        Where to put the result; it may overlap the inputs.

    Returns
    -------
    numpy.ndarray
        Shape (out_h, out_w, out_ch) or (n, out_h, out_w, out_ch), dtype of `x`; `out` if given.

    Raises
    ------
    ValueError
        A dtype, shape, shift or variant is not legal; the message names the argument, what it expects and what it got.

    Notes
    -----
    With round(s) = 2^(s-1), and 0 for s = 0::

        acc = bias[o] * 2^bias_shift + round(out_shift) + SUM_{m,n,c} x[y*Sy - Py + m][x*Sx - Px + n][c] * w[o][m][n][c]
        out = clamp(acc >> out_shift, -2^(N-1), 2^(N-1) - 1)

    acc is modulo 2^32 and the shift is arithmetic, as in CMSIS-NN's ``arm_convolve_HWC_*``.

    Examples
    --------
    >>> import numpy as np
    >>> import cmsisnn_x
    >>> image = np.arange(9, dtype=np.int8).reshape(3, 3, 1)
    >>> cmsisnn_x.convolve(image, np.ones((1, 2, 2, 1), np.int8), out_shift=1)[:, :, 0]
    array([[ 4,  6],
           [10, 12]], dtype=int8)
    """
    image = check.quantized("x", x)
    nhwc = check.images("x", image)
    ohwi = check.quantized("weights", weights, image.dtype)
    if ohwi.ndim != 4 or 0 in ohwi.shape or ohwi.shape[3] != nhwc.shape[3]:
        raise ShapeError(
            f"weights: expected a non-empty (out_ch, kernel_h, kernel_w, in_ch={nhwc.shape[3]}), got shape {ohwi.shape}"
        )
    case = check.windows("convolve", nhwc, ohwi.shape[0], ohwi.shape[1:3], stride, padding, False, output_size)
    requant = _requantisation(case.dtype, bias_shift, out_shift, activation)
    return _convolve_like(case, requant, image, nhwc, ohwi, bias, variant, out)


def depthwise_convolve(
    x: ArrayLike,
    weights: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    stride: Sides = 1,
    padding: Sides | str = 0,
    bias_shift: int = 0,
    out_shift: int,
    activation: str | None = None,
    output_size: Sides | None = None,
    variant: Variant | None = None,
    out: NDArray | None = None,
) -> NDArray:
    """Depthwise convolution of q7 or q15 images: every channel has a kernel of its own.

    Parameters
    ----------
    x : array of int8 or int16, shape (h, w, ch) or (n, h, w, ch)
    weights : array of x's dtype, shape (kernel_h, kernel_w, ch)
    bias, stride, padding, bias_shift, out_shift, activation, output_size, variant, out
        As in :func:`convolve`, with ``ch`` output channels.

    Returns
    -------
    numpy.ndarray
        Shape (out_h, out_w, ch) or (n, out_h, out_w, ch), dtype of `x`; `out` if given.

    Raises
    ------
    ValueError
        As in :func:`convolve`.

    Notes
    -----
    As :func:`convolve` with the sum over (m, n) only: ``SUM_{m,n} x[y*Sy - Py + m][x*Sx - Px + n][c] * w[m][n][c]``.
    """
    image = check.quantized("x", x)
    nhwc = check.images("x", image)
    hwc = check.quantized("weights", weights, image.dtype)
    if hwc.ndim != 3 or 0 in hwc.shape or hwc.shape[2] != nhwc.shape[3]:
        raise ShapeError(
            f"weights: expected a non-empty (kernel_h, kernel_w, ch={nhwc.shape[3]}), got shape {hwc.shape}"
        )
    case = check.windows("depthwise_convolve", nhwc, hwc.shape[2], hwc.shape[:2], stride, padding, False, output_size)
    requant = _requantisation(case.dtype, bias_shift, out_shift, activation)
    return _convolve_like(case, requant, image, nhwc, hwc, bias, variant, out)


def _convolve_like(case: Case, requant: Pow2, image, nhwc, weights, bias, variant, out):
    """What the two convolutions share once their weights are checked."""
    weights, biases = check.contiguous(weights), check.bias_or_zero(bias, case.out_channels, weights.dtype)
    path = None if variant is None else check_variant(variant, case.op).on_host()
    shape = (*case.output, case.out_channels)
    result = check.Output(out, shape if image.ndim == 3 else (len(nhwc), *shape), image.dtype, nhwc, weights, biases)
    if len(nhwc):
        _run(
            path, case, nhwc, weights, biases, result.array.reshape(-1, *shape), *case.stride, *case.padding, requant,
        )  # fmt: skip
    return result.finish()


def fully_connected(
    x: ArrayLike,
    weights: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    bias_shift: int = 0,
    out_shift: int,
    activation: str | None = None,
    variant: Variant | None = None,
    out: NDArray | None = None,
) -> NDArray:
    """Fully connected layer: a matrix times each sample.

    Parameters
    ----------
    x : array of int8 or int16
        One sample ``(k,)`` or ``(h, w, c)``, or a batch ``(n, k)`` or ``(n, h, w, c)``; images are flattened.
    weights : array of int8 or int16, shape (rows, k)
        q7 weights go with q7 or q15 activations, q15 weights with q15 activations.
    bias : array of the weights' dtype, shape (rows,), optional
        Zero by default.
    bias_shift, out_shift, activation, variant, out
        As in :func:`convolve`; ``block_cols`` and ``im2col_cols`` of a variant count samples.

    Returns
    -------
    numpy.ndarray
        Shape (rows,) or (n, rows), dtype of `x`; `out` if given.

    Raises
    ------
    ValueError
        As in :func:`convolve`.

    Notes
    -----
    ``out[r] = clamp((bias[r] * 2^bias_shift + round(out_shift) + SUM_k weights[r][k] * x[k]) >> out_shift)``

    Examples
    --------
    >>> import numpy as np
    >>> import cmsisnn_x
    >>> cmsisnn_x.fully_connected(np.int8([1, -2]), np.int8([[100, 0], [3, 10]]), np.int8([1, 0]), out_shift=2)
    array([25, -4], dtype=int8)
    """
    activations = check.quantized("x", x)
    vectors = check.samples("x", activations)
    matrix = check.quantized(
        "weights", weights, *((check.Q7,) if activations.dtype == check.Q7 else (check.Q7, check.Q15))
    )
    if matrix.ndim != 2 or 0 in matrix.shape or matrix.shape[1] != vectors.shape[1]:
        raise ShapeError(f"weights: expected a non-empty (rows, {vectors.shape[1]}), got shape {matrix.shape}")
    matrix = check.contiguous(matrix)
    rows = matrix.shape[0]
    biases = check.bias_or_zero(bias, rows, matrix.dtype)
    count, length = vectors.shape
    case = Case("fully_connected", check.scheme_type(vectors), (1, 1, length), count, rows)
    requant = _requantisation(case.dtype, bias_shift, out_shift, activation)
    path = None if variant is None else check_variant(variant, case.op).on_host()
    shape = (count, rows) if activations.ndim in (2, 4) else (rows,)
    result = check.Output(out, shape, activations.dtype, vectors, matrix, biases)
    if count:
        _run(
            path, case, vectors, matrix, biases, result.array.reshape(count, rows), requant,
        )  # fmt: skip
    return result.finish()
