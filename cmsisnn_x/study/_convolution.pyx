# SPDX-License-Identifier: Apache-2.0
"""Convolution: partial im2col, then the blocked matrix product, until every output pixel is done; no arithmetic of its own."""

from ._im2col cimport Geometry, column_stride, fill_columns
from ._matmul cimport Blocking, matmul
from .._requantize cimport Requant, as_struct
from .._typedefs cimport q7_or_q15, q15_t


def convolve(
    const q7_or_q15[:, :, :, ::1] x,
    const q7_or_q15[:, :, :, ::1] weights,
    const q7_or_q15[::1] bias,
    q7_or_q15[:, :, :, ::1] out,
    Py_ssize_t stride_y, Py_ssize_t stride_x, Py_ssize_t pad_top, Py_ssize_t pad_left,
    requant,
    int unroll, int block_rows, int block_cols, int im2col_cols,
    q15_t[::1] scratch,
):
    """out[y][x][o] = requantize( bias[o], SUM_{m,n,c} in[y*Sy - Py + m][x*Sx - Px + n][c] * w[o][m][n][c] )

    Arguments are checked by :mod:`cmsisnn_x.ops`; `scratch` holds `im2col_cols` columns.
    """
    cdef:
        Geometry g = Geometry(
            x.shape[1], x.shape[2], x.shape[3], out.shape[1], out.shape[2], weights.shape[1], weights.shape[2],
            stride_y, stride_x, pad_top, pad_left)
        Blocking blocking = Blocking(unroll, block_rows, block_cols, im2col_cols)
        Requant scheme = as_struct(requant)
        Py_ssize_t out_ch = weights.shape[0], depth = g.kernel_h * g.kernel_w * g.in_ch
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
                matmul(&weights[0, 0, 0, 0], &bias[0], out_ch, depth, &scratch[0], count, column_stride(depth),
                       result + first * out_ch, blocking, scheme)
                first += count
