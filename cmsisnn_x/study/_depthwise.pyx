# SPDX-License-Identifier: Apache-2.0
"""Depthwise convolution: partial im2col as in a convolution, then one sum over the taps for every channel."""

from ._im2col cimport Geometry, column_stride, fill_columns
from ._matmul cimport Blocking, depthwise
from .._requantize cimport Requant, as_struct
from .._typedefs cimport q7_or_q15, q15_t


def depthwise_convolve(
    const q7_or_q15[:, :, :, ::1] x,
    const q7_or_q15[:, :, ::1] weights,
    const q7_or_q15[::1] bias,
    q7_or_q15[:, :, :, ::1] out,
    Py_ssize_t stride_y, Py_ssize_t stride_x, Py_ssize_t pad_top, Py_ssize_t pad_left,
    requant,
    int unroll, int block_rows, int block_cols, int im2col_cols,
    q15_t[::1] scratch,
):
    """out[y][x][c] = requantize( bias[c], SUM_{m,n} in[y*Sy - Py + m][x*Sx - Px + n][c] * w[m][n][c] )

    Arguments are checked by :mod:`cmsisnn_x.ops`; `scratch` holds `im2col_cols` columns.
    """
    cdef:
        Geometry g = Geometry(
            x.shape[1], x.shape[2], x.shape[3], out.shape[1], out.shape[2], weights.shape[0], weights.shape[1],
            stride_y, stride_x, pad_top, pad_left)
        Blocking blocking = Blocking(unroll, block_rows, block_cols, im2col_cols)
        Requant scheme = as_struct(requant)
        Py_ssize_t taps = g.kernel_h * g.kernel_w
        Py_ssize_t pixels = g.out_h * g.out_w, sample, first, count
        const q7_or_q15 *image
        q7_or_q15 *result
    with nogil:
        for sample in range(x.shape[0]):
            image = &x[sample, 0, 0, 0]
            result = &out[sample, 0, 0, 0]
            first = 0
            while first < pixels:
                count = min(<Py_ssize_t>im2col_cols, pixels - first)
                fill_columns(image, &g, first, count, &scratch[0])
                depthwise(&weights[0, 0, 0], &bias[0], g.in_ch, taps, &scratch[0], count,
                          column_stride(taps * g.in_ch), result + first * g.in_ch, blocking, scheme)
                first += count
