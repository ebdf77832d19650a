# SPDX-License-Identifier: Apache-2.0
"""What Arm's release 5.4.0 does beyond what a layer means: signed-char coordinates, pooling inside the input buffer."""

from libc.string cimport memmove

from ._typedefs cimport q7_or_q15, q7_t, q15_t, q31_t, q63_t, uint32_t

ctypedef fused weight_t:    # beside q7_or_q15, so that the types of activations and weights vary independently
    q7_t
    q15_t


cdef inline Py_ssize_t coordinate(Py_ssize_t position, bint signed_char) noexcept nogil:
    return <q7_t> position if signed_char else position


def accumulate(
    const q7_or_q15[::1] x, const weight_t[::1] weights, const q31_t[::1] start, q31_t[::1] acc,
    Py_ssize_t in_h, Py_ssize_t in_w, Py_ssize_t in_ch, Py_ssize_t out_ch, Py_ssize_t kernel_h, Py_ssize_t kernel_w,
    Py_ssize_t padding_y, Py_ssize_t padding_x, Py_ssize_t stride_y, Py_ssize_t stride_x,
    Py_ssize_t out_h, Py_ssize_t out_w, bint signed_char,
):
    """acc[y, x, o] = start[o] + sum(x[stride * (y, x) - padding + (m, n), c] * weights[o, m, n, c])  modulo 2^32"""
    cdef Py_ssize_t y, x_, o, m, n, c, row, col
    cdef const q7_or_q15 *pixel
    cdef const weight_t *tap
    cdef uint32_t total
    if in_ch == 0 or acc.shape[0] == 0 or x.shape[0] == 0 or weights.shape[0] == 0:
        for y in range(acc.shape[0]):
            acc[y] = start[y % out_ch]
        return
    with nogil:
        for y in range(out_h):
            for x_ in range(out_w):
                for o in range(out_ch):
                    total = <uint32_t> start[o]
                    for m in range(kernel_h):
                        row = coordinate(stride_y * y + m - padding_y, signed_char)
                        if row < 0 or row >= in_h:
                            continue
                        for n in range(kernel_w):
                            col = coordinate(stride_x * x_ + n - padding_x, signed_char)
                            if col < 0 or col >= in_w:
                                continue
                            pixel = &x[(row * in_w + col) * in_ch]
                            tap = &weights[((o * kernel_h + m) * kernel_w + n) * in_ch]
                            for c in range(in_ch):
                                total += <uint32_t> (<q31_t> pixel[c] * <q31_t> tap[c])
                    acc[(y * out_w + x_) * out_ch + o] = <q31_t> total


def accumulate_depthwise(
    const q7_t[::1] x, const q7_t[::1] weights, const q31_t[::1] start, q31_t[::1] acc,
    Py_ssize_t in_h, Py_ssize_t in_w, Py_ssize_t channels, Py_ssize_t kernel_h, Py_ssize_t kernel_w,
    Py_ssize_t padding_y, Py_ssize_t padding_x, Py_ssize_t stride_y, Py_ssize_t stride_x,
    Py_ssize_t out_h, Py_ssize_t out_w,
):
    """acc[y, x, c] = start[c] + sum(x[stride * (y, x) - padding + (m, n), c] * weights[m, n, c])  modulo 2^32"""
    cdef Py_ssize_t y, x_, m, n, c, row, col
    cdef const q7_t *pixel
    cdef const q7_t *tap
    cdef q31_t *total
    if acc.shape[0] == 0:
        return
    with nogil:
        for y in range(out_h):
            for x_ in range(out_w):
                total = &acc[(y * out_w + x_) * channels]
                for c in range(channels):
                    total[c] = start[c]
                for m in range(kernel_h):
                    row = stride_y * y + m - padding_y
                    if row < 0 or row >= in_h:
                        continue
                    for n in range(kernel_w):
                        col = stride_x * x_ + n - padding_x
                        if col < 0 or col >= in_w:
                            continue
                        pixel = &x[(row * in_w + col) * channels]
                        tap = &weights[(m * kernel_w + n) * channels]
                        for c in range(channels):
                            total[c] = <q31_t> (<uint32_t> total[c] + <uint32_t> (<q31_t> pixel[c] * <q31_t> tap[c]))


cdef inline void keep_larger(q7_t *base, const q7_t *other, Py_ssize_t length) noexcept nogil:
    """base = max(base, other) on whole groups of four bytes: the comparison has no tail"""
    cdef Py_ssize_t i
    for i in range(length & ~3):
        if other[i] > base[i]:
            base[i] = other[i]


cdef inline q15_t saturate16(int value) noexcept nogil:
    return <q15_t> (32767 if value > 32767 else -32768 if value < -32768 else value)


cdef inline void add(q15_t *total, const q7_t *other, Py_ssize_t length) noexcept nogil:
    """total += other, in int16: QADD16 saturates whole groups of four, the tail wraps"""
    cdef Py_ssize_t i
    for i in range(length & ~3):
        total[i] = saturate16(<int> total[i] + other[i])
    for i in range(length & ~3, length):
        total[i] = <q15_t> (<int> total[i] + other[i])


cdef inline Py_ssize_t clip_last(Py_ssize_t last, Py_ssize_t size) noexcept nogil:
    return size if last > size else last


def max_pool_in_place(
    q7_t[::1] image, q7_t[::1] out, Py_ssize_t size, Py_ssize_t channels, Py_ssize_t kernel, Py_ssize_t padding,
    Py_ssize_t stride, Py_ssize_t out_size,
):
    """Pool along x inside `image`, then along y into `out`; a window that starts left of the row starts at its target pixel."""
    cdef Py_ssize_t y, x, first, last, q, length = out_size * channels, pitch = size * channels
    cdef q7_t *row
    cdef q7_t *target
    if length == 0:
        return
    with nogil:
        for y in range(size):
            row = &image[y * pitch]
            for x in range(out_size):
                first = x * stride - padding
                last = clip_last(first + kernel, size)
                if first < 0:
                    first = x
                target = row + x * channels
                memmove(target, row + first * channels, channels)
                for q in range(first + 1, last):
                    keep_larger(target, row + q * channels, channels)
        for y in range(out_size):
            first = y * stride - padding
            last = clip_last(first + kernel, size)
            if first < 0:
                first = 0
            target = &out[y * length]
            memmove(target, &image[first * pitch], length)
            for q in range(first + 1, last):
                keep_larger(target, &image[q * pitch], length & 0xFFFF)  # the length is passed as uint16_t


def avg_pool_in_place(
    q7_t[::1] image, q7_t[::1] out, q15_t[::1] buffer, Py_ssize_t size, Py_ssize_t channels, Py_ssize_t kernel,
    Py_ssize_t padding, Py_ssize_t stride, Py_ssize_t out_size,
):
    """Average along x inside `image`, then along y into `out`, truncating both times; `buffer` holds out_size * channels sums."""
    cdef Py_ssize_t y, x, first, last, q, i, length = out_size * channels, pitch = size * channels
    cdef int count
    cdef q7_t *row
    cdef q7_t *target
    cdef q15_t *total
    if length == 0:
        return
    total = &buffer[0]
    with nogil:
        for y in range(size):
            row = &image[y * pitch]
            for x in range(out_size):
                first = x * stride - padding
                last = clip_last(first + kernel, size)
                if first < 0:
                    first = x
                target = row + x * channels
                for i in range(channels):
                    total[i] = row[first * channels + i]
                count = 1
                for q in range(first + 1, last):
                    add(total, row + q * channels, channels)
                    count += 1
                for i in range(channels):
                    target[i] = <q7_t> (total[i] / count)
        for y in range(out_size):
            first = y * stride - padding
            last = clip_last(first + kernel, size)
            if first < 0:
                first = 0
            target = &out[y * length]
            for i in range(length):
                total[i] = image[first * pitch + i]
            count = 1
            for q in range(first + 1, last):
                add(total, &image[q * pitch], length & 0xFFFF)  # the length is passed as uint16_t
                count += 1
            for i in range(length & 0xFFFF):
                target[i] = <q7_t> (total[i] / count)


def pool_clipped(
    const q7_t[::1] image, q7_t[::1] out, bint average, Py_ssize_t size, Py_ssize_t channels, Py_ssize_t kernel,
    Py_ssize_t padding, Py_ssize_t stride, Py_ssize_t out_size,
):
    """Pool windows clipped to the image; of an empty window the maximum is -129 stored as a byte, the average 0 (SDIV by zero)."""
    cdef Py_ssize_t y, x, c, top, left, bottom, right, m, n, count
    cdef q63_t total
    cdef int value, largest
    with nogil:
        for y in range(out_size):
            top = y * stride - padding
            bottom = clip_last(top + kernel, size)
            top = 0 if top < 0 else top
            for x in range(out_size):
                left = x * stride - padding
                right = clip_last(left + kernel, size)
                left = 0 if left < 0 else left
                for c in range(channels):
                    total = 0
                    count = 0
                    largest = -129
                    for m in range(top, bottom):
                        for n in range(left, right):
                            value = image[(m * size + n) * channels + c]
                            total += value
                            count += 1
                            if value > largest:
                                largest = value
                    if average:
                        out[(y * out_size + x) * channels + c] = <q7_t> (total / count if count else 0)
                    else:
                        out[(y * out_size + x) * channels + c] = <q7_t> largest
