# SPDX-License-Identifier: Apache-2.0
"""From bias to accumulator and from accumulator to output: the one definition of rounding and saturation.

An operation is three steps, ``acc = initial(bias)``, ``acc += products`` and ``out = requantize(acc)``; only this file
knows what the first and the last one do, so another quantisation scheme is another pair of functions here.
"""

from ._typedefs cimport q7_or_q15, q7_t, q31_t, uint32_t


# Passed by value: a q7 output is a char to C and may alias any struct that is read through a pointer.
cdef struct Requant:
    int bias_shift      # 0..31
    int out_shift       # 0..31
    q31_t low           # of the outputs: 0 under a fused ReLU
    q31_t high


cdef inline Requant as_struct(requant) except *:
    """A scheme of :mod:`cmsisnn_x.scheme` as the kernels read it."""
    return Requant(requant.bias_shift, requant.out_shift, requant.low, requant.high)


cdef inline q31_t rounding(int shift) noexcept nogil:
    """round(s) = 2^(s-1), and 0 for s = 0 (which C's ``1 << (s - 1)`` leaves undefined)."""
    return <q31_t>((<uint32_t>1 << shift) >> 1)


cdef inline q31_t initial(q31_t bias, Requant requant) noexcept nogil:
    """bias * 2^bias_shift + round(out_shift)  (mod 2^32)"""
    return <q31_t>((<uint32_t>bias << requant.bias_shift) + <uint32_t>rounding(requant.out_shift))


cdef inline q31_t highest(const q7_or_q15 *out) noexcept nogil:
    """2^(N-1) - 1, the largest value of the output type"""
    return 0x7F if q7_or_q15 is q7_t else 0x7FFF


cdef inline void store(q7_or_q15 *out, q31_t value, q31_t low) noexcept nogil:
    """out = clamp(value, low, 2^(N-1) - 1)"""
    cdef q31_t high = highest(out)
    out[0] = <q7_or_q15>(low if value < low else high if value > high else value)


cdef inline void requantize(q7_or_q15 *out, q31_t acc, Requant requant) noexcept nogil:
    """out = clamp(acc >> out_shift, low, high); the shift is arithmetic"""
    cdef q31_t value = acc >> requant.out_shift
    out[0] = <q7_or_q15>(requant.low if value < requant.low else requant.high if value > requant.high else value)
