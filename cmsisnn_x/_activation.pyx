# SPDX-License-Identifier: Apache-2.0
"""Activations from a table; `out` may be the input."""

from ._typedefs cimport q7_or_q15, q7_t, q15_t, q31_t


def look_up(const q7_or_q15[::1] x, const q7_or_q15[::1] table, int int_bits, q7_or_q15[::1] out):
    """q7:  out = T[x >> (3 - int_bits)]
    q15: with s = 11 - int_bits, i = x >> s, f = x mod 2^s:  out = ((2^s - f) * T[i] + f * T[i + 1]) >> s

    T has 256 entries and is indexed by a byte, so that -1 is entry 255. The segment from 127 would interpolate towards
    f(-8) and is not interpolated.
    """
    cdef:
        Py_ssize_t k
        int shift = 3 - int_bits if q7_or_q15 is q7_t else 11 - int_bits
        q31_t i, f, here, next_
    with nogil:
        for k in range(x.shape[0]):
            i = x[k] >> shift
            here = table[i & 0xFF]
            if q7_or_q15 is q15_t:
                f = x[k] & ((1 << shift) - 1)
                next_ = here if i == 127 else table[(i + 1) & 0xFF]
                here = (((1 << shift) - f) * here + f * next_) >> shift
            out[k] = <q7_or_q15>here
