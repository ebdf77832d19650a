# SPDX-License-Identifier: Apache-2.0
from .._typedefs cimport q7_or_q15, q15_t


cdef struct Geometry:
    Py_ssize_t in_h, in_w, in_ch
    Py_ssize_t out_h, out_w
    Py_ssize_t kernel_h, kernel_w
    Py_ssize_t stride_y, stride_x
    Py_ssize_t pad_top, pad_left


cdef Py_ssize_t column_stride(Py_ssize_t depth) noexcept nogil
cdef void widen(const q7_or_q15 *source, q15_t *target, Py_ssize_t count) noexcept nogil
cdef void fill_columns(
    const q7_or_q15 *image, const Geometry *g, Py_ssize_t first, Py_ssize_t count, q15_t *columns
) noexcept nogil
