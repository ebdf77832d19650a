# SPDX-License-Identifier: Apache-2.0
"""The public operations: validate, allocate, dispatch.

Activations are ``(h, w, c)`` or ``(n, h, w, c)``, int8 is q7 and int16 is q15. Every function computes what the layer
means, modulo 2^32 in the accumulator as the hardware does, and writes each output element exactly once.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from . import _activation, _simd, _softmax, _support
from . import _arguments as check
from ._tables import activation_table
from .buffers import footprint
from .errors import CmsisnnError, ShapeError
from .op import Case, check_variant
from .scheme import Pow2
from .study import _convolution, _depthwise, _fully_connected
from .variant import Variant

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Sides = int | tuple[int, int]

__all__ = [
    "avg_pool", "convolve", "depthwise_convolve", "fully_connected", "max_pool", "multiply", "q7_to_q15", "relu",
    "sigmoid", "softmax", "tanh",
]  # fmt: skip


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


def _windows(op, nhwc, channels, kernel, stride, padding, ceil_mode, output_size) -> Case:
    """An operation on images with its windows, checked, and its output of `channels` channels."""
    size, step = nhwc.shape[1:3], check.pair("stride", stride, 1)
    first, totals = check.convolution_padding(padding, size, kernel, step)
    sides = check.output_sides(channels, size, kernel, step, first, totals, ceil_mode, output_size)
    return Case(op, check.scheme_type(nhwc), nhwc.shape[1:], 1, channels, kernel, step, first, sides)


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
    case = _windows("convolve", nhwc, ohwi.shape[0], ohwi.shape[1:3], stride, padding, False, output_size)
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
    case = _windows("depthwise_convolve", nhwc, hwc.shape[2], hwc.shape[:2], stride, padding, False, output_size)
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
    case = _windows(op, nhwc, nhwc.shape[3], window, step, padding, round_up, output_size)
    check.check_windows(case.image[:2], window, case.stride, case.padding, case.output)
    shape = (*case.output, nhwc.shape[3])
    result = check.Output(out, shape if image.ndim == 3 else (len(nhwc), *shape), image.dtype, nhwc)
    if len(nhwc):
        getattr(_simd, op)(nhwc, result.array.reshape(-1, *shape), window, case.stride, case.padding)
    return result.finish()


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
