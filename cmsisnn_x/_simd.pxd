# SPDX-License-Identifier: Apache-2.0
"""What `simd/` declares, and what single layers and networks share: memory, views of arrays, layers with packed weights."""

from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint16_t


cdef extern from "simd.h" nogil:
    int SIMD_POW2, SIMD_AFFINE, SIMD_AFFINE_NEAR, SIMD_AFFINE_FLOAT
    int SIMD_ADD, SIMD_MULTIPLY, SIMD_MAXIMUM, SIMD_MINIMUM

    ctypedef struct simd_requant:
        int32_t bias_shift, out_shift, low, high, fill, kind, zero_point
        const int32_t *multiplier
        const int32_t *left
        const int32_t *right
        const double *real

    ctypedef struct simd_geometry:
        int32_t in_h, in_w, in_ch, out_h, out_w, out_ch
        int32_t kernel_h, kernel_w, stride_y, stride_x, pad_top, pad_left, dilation_y, dilation_x
        int32_t weight_bits
        simd_requant requant

    ctypedef struct simd_weighted:
        size_t (*packed_bytes)(const simd_geometry *) noexcept nogil
        void (*pack)(const simd_geometry *, const void *, const void *, void *) noexcept nogil
        size_t (*scratch_bytes)(const simd_geometry *) noexcept nogil
        void (*run)(const simd_geometry *, const void *, const void *, void *, void *) noexcept nogil

    ctypedef struct simd_pool:
        size_t (*scratch_bytes)(const simd_geometry *) noexcept nogil
        void (*run)(const simd_geometry *, const void *, void *, void *) noexcept nogil

    ctypedef struct simd_rescaling:
        int32_t zero_point, multiplier, left, right

    ctypedef struct simd_line:
        int32_t high, low, c_high, c_low, shift, lowest, highest

    ctypedef struct simd_pair:
        simd_rescaling a, b, out
        int32_t left_shift, sign, low, high, is_line
        simd_line line

    ctypedef struct simd_isa:
        const char *name
        simd_weighted convolve[2]
        simd_weighted depthwise[2]
        void (*dot_rows[2])(const simd_geometry *, const void *, const void *, const void *, void *, int16_t *) noexcept nogil
        simd_pool max_pool[2]
        simd_pool avg_pool[2]
        void (*relu[2])(const void *, void *, size_t) noexcept nogil
        void (*pair[2])(int, const simd_pair *, const void *, const void *, void *, size_t, size_t) noexcept nogil

    int SIMD_ALIGNMENT
    int SIMD_LINE_BITS
    const char *const *simd_built() noexcept nogil
    const simd_isa *simd_find(const char *) noexcept nogil
    const simd_isa *simd_best() noexcept nogil


cdef extern from "affine.h" nogil:
    int SIMD_INT8, SIMD_UINT8, SIMD_INT16, SIMD_AXES

    ctypedef struct simd_requantisation:
        simd_rescaling in_ "in"
        simd_rescaling below
        int32_t zero_point, low, high
        int in_type, out_type

    ctypedef struct simd_mean:
        simd_requantisation scale
        size_t outer, reduced, inner

    ctypedef struct simd_softmax:
        int32_t exponentials[256]
        size_t rows, cols
        int bits

    ctypedef struct simd_real_softmax:
        const int32_t *exponentials
        size_t rows, cols
        int32_t zero_point

    ctypedef struct simd_wide_softmax:
        const int16_t *exponentials
        const int16_t *reciprocals
        simd_rescaling scale
        size_t rows, cols

    ctypedef struct simd_curve:
        const uint16_t *points
        int32_t multiplier, shift, is_tanh

    ctypedef struct simd_view:
        ptrdiff_t shape[6]
        ptrdiff_t steps[6]
        ptrdiff_t offset
        size_t size, out_count
        int32_t fill

    int simd_is_near(const simd_requant *, const int8_t *, const int32_t *, ptrdiff_t, ptrdiff_t, int) noexcept nogil
    void simd_softmax_table(int32_t *, int32_t, int32_t, int32_t) noexcept nogil


cdef extern from "windows.h" nogil:
    ctypedef struct simd_gathered:
        const simd_weighted *kernel
        simd_geometry geometry
        int32_t groups, element

    ctypedef struct simd_wide:
        simd_geometry geometry
        int32_t groups
        int depthwise

    size_t simd_gathered_packed_bytes(const simd_gathered *) noexcept nogil
    void simd_gathered_pack(const simd_gathered *, const void *, const void *, void *) noexcept nogil
    size_t simd_wide_packed_bytes(const simd_wide *) noexcept nogil
    void simd_wide_pack(const simd_wide *, const int8_t *, const int64_t *, void *) noexcept nogil


cdef extern from "network.h" nogil:
    int SIMD_WEIGHTED, SIMD_GATHERED, SIMD_WIDE, SIMD_POOL, SIMD_RELU, SIMD_LOOK_UP, SIMD_LOOK_UP_BYTES, SIMD_SOFTMAX
    int SIMD_SOFTMAX_ROWS, SIMD_SOFTMAX_WIDE_ROWS, SIMD_SOFTMAX_REAL_ROWS, SIMD_CURVE, SIMD_PAIR, SIMD_REQUANTISE, SIMD_MEAN, SIMD_CONCAT, SIMD_COPY, SIMD_PAD, SIMD_RESIZE
    int SIMD_INPUT, SIMD_OUTPUT, SIMD_WORKSPACE, SIMD_CONSTANT

    ctypedef struct simd_slot:
        int where
        size_t at
        const void *constant

    ctypedef struct simd_concat:
        size_t rows

    ctypedef struct simd_resize:
        size_t out_h, out_w, bytes, size

    ctypedef union simd_step_of:
        simd_gathered gathered
        simd_wide wide_windows
        simd_pair pair
        simd_requantisation requantisation
        simd_mean mean
        const simd_softmax *softmax
        simd_wide_softmax wide_softmax
        simd_real_softmax real_softmax
        simd_curve curve
        simd_view view
        simd_concat concat
        simd_resize resize

    ctypedef struct simd_step:
        int kind, wide
        simd_slot output
        const simd_slot *inputs
        size_t input_count, samples, out_pitch
        const size_t *in_pitches
        simd_geometry geometry
        simd_weighted weighted
        simd_pool pool
        void (*relu)(const void *, void *, size_t) noexcept nogil
        void (*pair_of)(int, const simd_pair *, const void *, const void *, void *, size_t, size_t) noexcept nogil
        const void *packed
        int int_bits
        size_t count, period
        simd_step_of of

    ctypedef struct simd_state:
        simd_slot from_ "from"
        void *to
        size_t bytes

    ctypedef struct simd_network:
        const simd_step *steps
        size_t step_count
        const simd_state *states
        size_t state_count
        const size_t *in_bytes
        const size_t *out_bytes
        size_t tensor_bytes, scratch_bytes, most_inputs

    ctypedef struct simd_counter:
        ptrdiff_t next

    void simd_network_plan(simd_network *) noexcept nogil
    size_t simd_workspace_bytes(const simd_network *) noexcept nogil
    size_t simd_step_scratch_bytes(const simd_step *) noexcept nogil
    void simd_step_run(const simd_step *, const void **, void *, void *) noexcept nogil
    void simd_network_run(const simd_network *, const void *const *, void *const *, ptrdiff_t, ptrdiff_t, void *) noexcept nogil
    void simd_network_share(const simd_network *, const void *const *, void *const *, ptrdiff_t, simd_counter *, void *) noexcept nogil


cdef class Block:
    cdef void *raw
    cdef char *data


cdef class View:
    cdef Py_buffer buffer
    cdef char *data
    cdef bint held


cdef class Scheme:
    cdef simd_requant requant
    cdef list kept


cdef class Prepared:
    cdef simd_step step
    cdef list kept


cdef const simd_isa *find_isa(name) except NULL
cdef simd_geometry image_geometry(tuple x, tuple out) except *
cdef simd_rescaling rescaling(int zero_point, int multiplier, int shift) noexcept
cdef Prepared prepare(const simd_isa *isa, bint depthwise, bint wide, tuple input_shape, tuple output_shape, kernel, stride,
                      pad, scheme, weights, bias, dilation, int groups)
cdef set_pool(simd_geometry *g, kernel, stride, pad, scheme)
