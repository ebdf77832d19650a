# SPDX-License-Identifier: Apache-2.0
"""Support functions: element-wise product and widening."""

from ._requantize cimport highest, rounding, store
from ._typedefs cimport q7_or_q15, q7_t, q15_t, q31_t, uint32_t


def multiply(const q7_or_q15[::1] a, const q7_or_q15[::1] b, int out_shift, q7_or_q15[::1] out):
    """out = clamp( (a * b + round(out_shift)) >> out_shift ), the sum modulo 2^32"""
    cdef Py_ssize_t i
    cdef q31_t product
    with nogil:
        for i in range(a.shape[0]):
            product = <q31_t>(<uint32_t>(<q31_t>a[i] * b[i]) + <uint32_t>rounding(out_shift))
            store(&out[i], product >> out_shift, -highest(&out[i]) - 1)


def q7_to_q15(const q7_t[::1] x, q15_t[::1] out, bint reorder):
    """out[i] = x[i], without scaling; reordered, each full group of four becomes x0 x2 x1 x3"""
    cdef Py_ssize_t i, grouped = x.shape[0] & ~3 if reorder else 0
    with nogil:
        for i in range(0, grouped, 4):
            out[i] = x[i]
            out[i + 1] = x[i + 2]
            out[i + 2] = x[i + 1]
            out[i + 3] = x[i + 3]
        for i in range(grouped, x.shape[0]):
            out[i] = x[i]
