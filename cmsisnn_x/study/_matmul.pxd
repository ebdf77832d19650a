# SPDX-License-Identifier: Apache-2.0
from .._requantize cimport Requant
from .._typedefs cimport q7_or_q15, q7_t, q15_t, q31_t

cdef enum:
    LANES = 64      # channels that a depthwise block accumulates at a time


cdef struct Blocking:
    int unroll          # 1, 2, 4, 8
    int rows            # rows x cols: 1x1, 1x2, 2x1, 2x2, 2x4, 4x2
    int cols
    int im2col_cols


# A dense block adds rows x cols inner products of `depth` terms to acc[row * cols + col].
ctypedef void (*dense_q7)(
    const q7_t *weights, const q15_t *columns, Py_ssize_t stride, Py_ssize_t depth, q31_t *acc
) noexcept nogil
ctypedef void (*dense_q15)(
    const q15_t *weights, const q15_t *columns, Py_ssize_t stride, Py_ssize_t depth, q31_t *acc
) noexcept nogil
# A depthwise block adds, for `lanes` <= LANES channels, cols sums of `taps` terms to acc[col * LANES + lane].
ctypedef void (*depthwise_q7)(
    const q7_t *weights, const q15_t *columns, Py_ssize_t stride, Py_ssize_t channels, Py_ssize_t lanes,
    Py_ssize_t taps, q31_t *acc
) noexcept nogil
ctypedef void (*depthwise_q15)(
    const q15_t *weights, const q15_t *columns, Py_ssize_t stride, Py_ssize_t channels, Py_ssize_t lanes,
    Py_ssize_t taps, q31_t *acc
) noexcept nogil

cdef dense_q7 find_dense_q7(int unroll, int rows, int cols) noexcept nogil
cdef dense_q15 find_dense_q15(int unroll, int rows, int cols) noexcept nogil
cdef depthwise_q7 find_depthwise_q7(int unroll, int rows, int cols) noexcept nogil
cdef depthwise_q15 find_depthwise_q15(int unroll, int rows, int cols) noexcept nogil

ctypedef fused out_t:
    q7_t
    q15_t

cdef void matmul(
    const q7_or_q15 *weights, const q7_or_q15 *bias, Py_ssize_t out_ch, Py_ssize_t depth,
    const q15_t *columns, Py_ssize_t count, Py_ssize_t stride,
    out_t *out, Blocking blocking, Requant requant
) noexcept nogil
cdef void depthwise(
    const q7_or_q15 *weights, const q7_or_q15 *bias, Py_ssize_t channels, Py_ssize_t taps,
    const q15_t *columns, Py_ssize_t count, Py_ssize_t stride,
    q7_or_q15 *out, Blocking blocking, Requant requant
) noexcept nogil
