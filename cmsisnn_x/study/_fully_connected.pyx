# SPDX-License-Identifier: Apache-2.0
"""Fully connected layer: the samples of a batch are the columns of the blocked matrix product."""

from ._im2col cimport column_stride, widen
from ._matmul cimport Blocking, matmul, out_t
from .._requantize cimport Requant, as_struct
from .._typedefs cimport q7_or_q15, q7_t, q15_t


def fully_connected(
    const out_t[:, ::1] x,
    const q7_or_q15[:, ::1] weights,
    const q7_or_q15[::1] bias,
    out_t[:, ::1] out,
    requant,
    int unroll, int block_rows, int block_cols, int im2col_cols,
    q15_t[::1] scratch,
):
    """out[s][r] = requantize( bias[r], SUM_k weights[r][k] * x[s][k] )

    Arguments are checked by :mod:`cmsisnn_x.ops`. `scratch` holds the samples that are widened to q15 at a time; q15
    samples are read where they are and need none.
    """
    cdef:
        Blocking blocking = Blocking(unroll, block_rows, block_cols, im2col_cols)
        Requant scheme = as_struct(requant)
        Py_ssize_t samples = x.shape[0], depth = x.shape[1], rows = weights.shape[0]
        Py_ssize_t stride = column_stride(depth), first = 0, count, j
    if out_t is q7_t and q7_or_q15 is q15_t:
        raise TypeError("q15 weights need q15 activations")
    else:
        with nogil:
            while first < samples:
                count = min(<Py_ssize_t>im2col_cols, samples - first)
                if out_t is q7_t:
                    for j in range(count):
                        widen(&x[first + j, 0], &scratch[j * stride], depth)
                    matmul(&weights[0, 0], &bias[0], rows, depth, &scratch[0], count, stride,
                           &out[first, 0], blocking, scheme)
                else:
                    matmul(&weights[0, 0], &bias[0], rows, depth, &x[first, 0], count, depth,
                           &out[first, 0], blocking, scheme)
                first += count
