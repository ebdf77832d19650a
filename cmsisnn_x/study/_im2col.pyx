# SPDX-License-Identifier: Apache-2.0
"""Partial im2col: the receptive fields of a few neighbouring output pixels, widened to q15, one behind the other.

For a 2x2 kernel on an image ``1 2 3 / 4 5 6 / 7 8 9`` without padding, two columns at a time::

    1st call   1 2 4 5 . 2 3 5 6        2nd call   4 5 7 8 . 5 6 8 9

Each number stands for one pixel's channels. Columns run through the image in raster order, so a pair may straddle two
output rows, and every column starts on an even element: word aligned on a device.
"""

from libc.string cimport memcpy, memset

from .._typedefs cimport q7_or_q15, q7_t, q15_t


cdef Py_ssize_t column_stride(Py_ssize_t depth) noexcept nogil:
    """Elements from one column to the next: the depth rounded up to an even count."""
    return depth + (depth & 1)


cdef void widen(const q7_or_q15 *source, q15_t *target, Py_ssize_t count) noexcept nogil:
    """target[i] = source[i]"""
    cdef Py_ssize_t i
    if q7_or_q15 is q7_t:
        for i in range(count):
            target[i] = source[i]
    else:
        memcpy(target, source, count * sizeof(q15_t))


cdef void fill_columns(
    const q7_or_q15 *image, const Geometry *g, Py_ssize_t first, Py_ssize_t count, q15_t *columns
) noexcept nogil:
    """columns[j][m][n][c] = image[y*Sy - Py + m][x*Sx - Px + n][c], zero outside, for output pixels first .. first+count-1"""
    cdef:
        Py_ssize_t row_elements = g.kernel_w * g.in_ch
        Py_ssize_t depth = g.kernel_h * row_elements
        Py_ssize_t stride = column_stride(depth)
        Py_ssize_t pixel, m, y, x, left, right
        q15_t *row
    for pixel in range(first, first + count):
        row = columns
        x = (pixel % g.out_w) * g.stride_x - g.pad_left
        # Columns of the kernel that lie inside the image: left .. right-1, the same in each of its rows.
        left = min(max(-x, 0), g.kernel_w)
        right = max(min(g.in_w - x, g.kernel_w), left)
        for m in range(g.kernel_h):
            y = (pixel // g.out_w) * g.stride_y - g.pad_top + m
            if y < 0 or y >= g.in_h or left == right:
                memset(row, 0, row_elements * sizeof(q15_t))
            else:
                memset(row, 0, left * g.in_ch * sizeof(q15_t))
                widen(image + (y * g.in_w + x + left) * g.in_ch, row + left * g.in_ch, (right - left) * g.in_ch)
                memset(row + right * g.in_ch, 0, (g.kernel_w - right) * g.in_ch * sizeof(q15_t))
            row += row_elements
        if stride > depth:
            row[0] = 0
        columns += stride
