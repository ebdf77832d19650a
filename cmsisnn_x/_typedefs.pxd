# SPDX-License-Identifier: Apache-2.0
"""The only place where element types are named: CMSIS's own words for fixed-point numbers and their NumPy twins."""

from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint32_t

ctypedef int8_t q7_t        # numpy.int8
ctypedef int16_t q15_t      # numpy.int16
ctypedef int32_t q31_t      # accumulators, modulo 2^32
ctypedef int64_t q63_t      # sums of a pooling window, which may hold more than 2^16 elements

ctypedef fused q7_or_q15:
    q7_t
    q15_t
