# SPDX-License-Identifier: Apache-2.0
"""Softmax to the base 2, in which one unit in the last place of the input is a factor of 2."""

from ._requantize cimport store
from ._typedefs cimport q7_or_q15, q7_t, q31_t, q63_t


def softmax(const q7_or_q15[:, ::1] x, q7_or_q15[:, ::1] out):
    """m = max(x), e_i = x_i - (m - W), live where e_i > 0; S = SUM_live 2^(e_i)

    out_i = min( floor(2^B / S) >> (K - e_i), 2^(N-1) - 1 ) if live, else 0

    with W = 8, B = 20, K = 13 for q7 and W = 16, B = 32, K = 17 for q15; one sample per row, at most 32767 long.
    """
    cdef:
        int window = 8 if q7_or_q15 is q7_t else 16
        int numerator = 20 if q7_or_q15 is q7_t else 32
        int scale = 13 if q7_or_q15 is q7_t else 17
        Py_ssize_t sample, i, length = x.shape[1]
        q31_t base, quotient
        q63_t total
    with nogil:
        for sample in range(x.shape[0]):
            base = x[sample, 0]
            for i in range(length):
                base = max(base, <q31_t>x[sample, i])
            base -= window
            total = 0
            for i in range(length):
                if x[sample, i] > base:
                    total += <q63_t>1 << (x[sample, i] - base)
            # At least 2^W is summed, so the quotient has at most 12 (q7) or 16 (q15) bits.
            quotient = <q31_t>((<q63_t>1 << numerator) // total)
            for i in range(length):
                if x[sample, i] > base:
                    store(&out[sample, i], quotient >> (scale - (x[sample, i] - base)), 0)
                else:
                    out[sample, i] = 0
