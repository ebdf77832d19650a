# SPDX-License-Identifier: Apache-2.0
"""Layers with weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .. import _arguments as check
from .. import _simd
from ..errors import ShapeError
from . import _given as given
from ._given import INT8, INT16

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Sides = int | tuple[int, int]


def convolve(
    x: ArrayLike,
    weights: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    multiplier: ArrayLike,
    shift: ArrayLike,
    input_zero_point: int = 0,
    output_zero_point: int = 0,
    activation_min: int | None = None,
    activation_max: int | None = None,
    rounding: str = "double",
    real: ArrayLike | None = None,
    stride: Sides = 1,
    padding: Sides | str = 0,
    dilation: Sides = 1,
    output_size: Sides | None = None,
    out: NDArray | None = None,
) -> NDArray:
    """Convolution, in as many groups as the depth of the weights says.

    Parameters
    ----------
    x : array of int8 or int16, shape (h, w, in_ch) or (n, h, w, in_ch)
    weights : array of int8, shape (out_ch, kernel_h, kernel_w, in_ch / groups)
    bias : array of int32, or of int64 where `x` is int16, shape (out_ch,), optional
        Zero by default.
    multiplier, shift : int, or array of int of shape (out_ch,)
        The factor ``multiplier * 2^(shift - 31)`` of outputs: input scale times weight scale by output scale.
    input_zero_point, output_zero_point : int
        0 where `x` is int16.
    activation_min, activation_max : int, optional
        The range of the output; by default that of its type. See :func:`activation_range`.
    rounding : {"double", "float"}
        In fixed point, or by the product with `real`.
    real : float, or array of float of shape (out_ch,), optional
        The factors themselves, for ``rounding="float"``.
    stride, dilation : int or (int, int)
        Along y and x, 1..65535.
    padding : int, (int, int), "same" or "valid"
        As in :func:`cmsisnn_x.convolve`; it holds the input's zero point.
    output_size : int or (int, int), optional
        Height and width of the output; what it needs at the bottom and right of the image is padding.
    out : array, optional
        Where to put the result; it may overlap the inputs.

    Returns
    -------
    numpy.ndarray
        Shape (out_h, out_w, out_ch) or (n, out_h, out_w, out_ch), dtype of `x`; `out` if given.

    Raises
    ------
    ValueError
        A dtype, shape, multiplier or shift is not legal; the message names the argument, what it expects and got.

    Notes
    -----
    With ``left = max(shift, 0)``, ``right = max(-shift, 0)``, products of int8 modulo 2^32::

        acc = bias[o] + SUM (x - input_zero_point) * w
        v = (acc * 2^left * multiplier + 2^30) >> 31,   then v / 2^right rounded, halves away from zero
        out = clamp(v + output_zero_point, activation_min, activation_max)

    int16 has sums of 64 bits and one rounding: with the multiplier m rounded to 15 bits,
    ``(acc * m + 2^(14 - shift)) >> (15 - shift)``.

    Examples
    --------
    >>> import numpy as np
    >>> from cmsisnn_x import int8
    >>> multiplier, shift = int8.quantize_multiplier(0.5)
    >>> image = np.arange(9, dtype=np.int8).reshape(3, 3, 1)
    >>> weights = np.ones((1, 2, 2, 1), np.int8)
    >>> int8.convolve(image, weights, multiplier=multiplier, shift=shift, input_zero_point=4)[:, :, 0]
    array([[-4, -2],
           [ 2,  4]], dtype=int8)
    """
    image = given.array_of("x", x, INT8, INT16)
    nhwc = check.images("x", image)
    ohwi = given.array_of("weights", weights, INT8)
    channels = nhwc.shape[3]
    if ohwi.ndim != 4 or 0 in ohwi.shape or channels % ohwi.shape[3] or ohwi.shape[0] % (channels // ohwi.shape[3]):
        raise ShapeError(
            "weights: expected a non-empty (out_ch, kernel_h, kernel_w, in_ch / groups) where groups divide "
            f"in_ch={channels} and out_ch, got shape {ohwi.shape}"
        )
    scheme = given.affine_of(
        image.dtype, ohwi.shape[0], input_zero_point, output_zero_point, multiplier, shift,
        (activation_min, activation_max), rounding, real,
    )  # fmt: skip
    groups = channels // ohwi.shape[3]
    return _windowed(
        "convolve", scheme, image, nhwc, ohwi, bias, ohwi.shape[0], ohwi.shape[1:3], stride, padding, dilation,
        output_size, out, groups,
    )  # fmt: skip


def depthwise_convolve(
    x: ArrayLike,
    weights: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    multiplier: ArrayLike,
    shift: ArrayLike,
    input_zero_point: int = 0,
    output_zero_point: int = 0,
    activation_min: int | None = None,
    activation_max: int | None = None,
    rounding: str = "double",
    real: ArrayLike | None = None,
    stride: Sides = 1,
    padding: Sides | str = 0,
    dilation: Sides = 1,
    output_size: Sides | None = None,
    out: NDArray | None = None,
) -> NDArray:
    """Depthwise convolution: every output channel has a kernel of its own, of one input channel.

    Parameters
    ----------
    x : array of int8 or int16, shape (h, w, ch) or (n, h, w, ch)
    weights : array of int8, shape (kernel_h, kernel_w, ch * m)
        Output channel ``c * m + j`` reads input channel c.
    bias, multiplier, shift, input_zero_point, output_zero_point, activation_min, activation_max, rounding, real
        As in :func:`convolve`, with ``ch * m`` output channels.
    stride, padding, dilation, output_size, out
        As in :func:`convolve`.

    Returns
    -------
    numpy.ndarray
        Shape (out_h, out_w, ch * m) or (n, out_h, out_w, ch * m), dtype of `x`; `out` if given.

    Raises
    ------
    ValueError
        As in :func:`convolve`.
    """
    image = given.array_of("x", x, INT8, INT16)
    nhwc = check.images("x", image)
    hwc = given.array_of("weights", weights, INT8)
    channels = nhwc.shape[3]
    if hwc.ndim != 3 or 0 in hwc.shape or hwc.shape[2] % channels:
        raise ShapeError(
            f"weights: expected a non-empty (kernel_h, kernel_w, a multiple of ch={channels}), got shape {hwc.shape}"
        )
    scheme = given.affine_of(
        image.dtype, hwc.shape[2], input_zero_point, output_zero_point, multiplier, shift,
        (activation_min, activation_max), rounding, real,
    )  # fmt: skip
    if hwc.shape[2] == channels:
        return _windowed(
            "depthwise_convolve", scheme, image, nhwc, hwc, bias, channels, hwc.shape[:2], stride, padding, dilation,
            output_size, out,
        )  # fmt: skip
    ohwi = np.ascontiguousarray(np.moveaxis(hwc, 2, 0)[..., np.newaxis])
    return _windowed(
        "convolve", scheme, image, nhwc, ohwi, bias, hwc.shape[2], hwc.shape[:2], stride, padding, dilation,
        output_size, out, channels,
    )  # fmt: skip


def _windowed(
    op, scheme, image, nhwc, weights, bias, channels, kernel, stride, padding, dilation, output_size, out, *groups
):
    """What the two convolutions share once their weights are checked."""
    apart = check.pair("dilation", dilation, 1)
    reach = (kernel[0] - 1) * apart[0] + 1, (kernel[1] - 1) * apart[1] + 1
    case = check.windows(op, nhwc, channels, reach, stride, padding, False, output_size)
    weights, biases = check.contiguous(weights), given.bias_of(bias, image.dtype, channels)
    shape = (*case.output, channels)
    held = (nhwc, weights) if biases is None else (nhwc, weights, biases)
    result = check.Output(out, shape if image.ndim == 3 else (len(nhwc), *shape), image.dtype, *held)
    if len(nhwc):
        getattr(_simd, op)(
            nhwc, weights, biases, result.array.reshape(-1, *shape), *case.stride, *case.padding, scheme, apart, *groups
        )
    return result.finish()


def fully_connected(
    x: ArrayLike,
    weights: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    multiplier: ArrayLike,
    shift: ArrayLike,
    input_zero_point: int = 0,
    output_zero_point: int = 0,
    activation_min: int | None = None,
    activation_max: int | None = None,
    rounding: str = "double",
    real: ArrayLike | None = None,
    out: NDArray | None = None,
) -> NDArray:
    """Fully connected layer: a matrix times each sample.

    Parameters
    ----------
    x : array of int8 or int16
        One sample ``(k,)`` or ``(h, w, c)``, or a batch ``(n, k)`` or ``(n, h, w, c)``; images are flattened.
    weights : array of int8, shape (rows, k)
    bias, multiplier, shift, input_zero_point, output_zero_point, activation_min, activation_max, rounding, real, out
        As in :func:`convolve`, with a channel per row. LiteRT's reference kernels round ``"float"``.

    Returns
    -------
    numpy.ndarray
        Shape (rows,) or (n, rows), dtype of `x`; `out` if given.

    Raises
    ------
    ValueError
        As in :func:`convolve`.
    """
    activations = given.array_of("x", x, INT8, INT16)
    vectors = check.samples("x", activations)
    matrix = given.array_of("weights", weights, INT8)
    if matrix.ndim != 2 or 0 in matrix.shape or matrix.shape[1] != vectors.shape[1]:
        raise ShapeError(f"weights: expected a non-empty (rows, {vectors.shape[1]}), got shape {matrix.shape}")
    rows = matrix.shape[0]
    matrix, biases = check.contiguous(matrix), given.bias_of(bias, activations.dtype, rows)
    scheme = given.affine_of(
        activations.dtype, rows, input_zero_point, output_zero_point, multiplier, shift,
        (activation_min, activation_max), rounding, real,
    )  # fmt: skip
    shape = (len(vectors), rows) if activations.ndim in (2, 4) else (rows,)
    held = (vectors, matrix) if biases is None else (vectors, matrix, biases)
    result = check.Output(out, shape, activations.dtype, *held)
    if len(vectors):
        _simd.fully_connected(vectors, matrix, biases, result.array.reshape(-1, rows), scheme)
    return result.finish()
