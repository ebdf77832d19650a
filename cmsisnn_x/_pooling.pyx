# SPDX-License-Identifier: Apache-2.0
"""Pooling: one walk over the windows, clipped to the image, and two ways to reduce them."""

from libc.string cimport memcpy

from ._typedefs cimport q7_or_q15, q31_t

cdef enum:
    LANES = 64      # channels that the average accumulates at a time


cdef struct Window:
    Py_ssize_t top, bottom, left, right     # rows top .. bottom-1, columns left .. right-1 of the image


cdef void maximum(
    const q7_or_q15 *image, Py_ssize_t width, Py_ssize_t channels, const Window *w, q7_or_q15 *out
) noexcept nogil:
    """out[c] = max over the window of image[y][x][c]"""
    cdef Py_ssize_t y, x, c
    cdef const q7_or_q15 *pixel
    memcpy(out, image + (w.top * width + w.left) * channels, channels * sizeof(q7_or_q15))
    for y in range(w.top, w.bottom):
        for x in range(w.left, w.right):
            pixel = image + (y * width + x) * channels
            for c in range(channels):
                out[c] = pixel[c] if pixel[c] > out[c] else out[c]


cdef void average(
    const q7_or_q15 *image, Py_ssize_t width, Py_ssize_t channels, const Window *w, q7_or_q15 *out
) noexcept nogil:
    """out[c] = SUM over the window of image[y][x][c] / number of its pixels, truncated once towards zero"""
    cdef:
        q31_t sums[LANES]
        double totals[LANES]
        double count = (w.bottom - w.top) * (w.right - w.left)
        Py_ssize_t first = 0, lanes, pending, y, x, c
        const q7_or_q15 *pixel
    while first < channels:
        lanes = min(<Py_ssize_t>LANES, channels - first)
        pending = 0
        for c in range(lanes):
            totals[c] = 0
            sums[c] = 0
        for y in range(w.top, w.bottom):
            # 2^16 elements fit 32 bits, and so does a row of them; a double holds exactly what exceeds that.
            if pending + w.right - w.left > 65536:
                for c in range(lanes):
                    totals[c] += sums[c]
                    sums[c] = 0
                pending = 0
            pending += w.right - w.left
            for x in range(w.left, w.right):
                pixel = image + (y * width + x) * channels + first
                for c in range(lanes):
                    sums[c] += pixel[c]
        for c in range(lanes):
            # A quotient that is no integer is at least 1 / count from one, far more than the division's rounding;
            # unlike an integer division, this one is vectorised.
            out[first + c] = <q7_or_q15><q31_t>((totals[c] + sums[c]) / count)
        first += lanes


def pool(
    const q7_or_q15[:, :, :, ::1] x,
    q7_or_q15[:, :, :, ::1] out,
    bint is_max,
    Py_ssize_t kernel_h, Py_ssize_t kernel_w,
    Py_ssize_t stride_y, Py_ssize_t stride_x, Py_ssize_t pad_top, Py_ssize_t pad_left,
):
    """out[i][j] = reduction of rows max(0, i*Sy - Py) .. min(h, i*Sy - Py + Ky) - 1, and columns alike.

    Arguments are checked by :mod:`cmsisnn_x.ops`; no window is empty.
    """
    cdef:
        Py_ssize_t height = x.shape[1], width = x.shape[2], channels = x.shape[3], sample, i, j, y, left
        const q7_or_q15 *image
        Window w
    with nogil:
        for sample in range(x.shape[0]):
            image = &x[sample, 0, 0, 0]
            for i in range(out.shape[1]):
                y = i * stride_y - pad_top
                w.top, w.bottom = max(y, 0), min(height, y + kernel_h)
                for j in range(out.shape[2]):
                    left = j * stride_x - pad_left
                    w.left, w.right = max(left, 0), min(width, left + kernel_w)
                    if is_max:
                        maximum(image, width, channels, &w, &out[sample, i, j, 0])
                    else:
                        average(image, width, channels, &w, &out[sample, i, j, 0])
