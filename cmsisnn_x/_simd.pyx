# SPDX-License-Identifier: Apache-2.0
"""The vector kernels of this processor: single layers from plain weights, and whole networks from packed ones.

Callers validate: arrays are C-contiguous, shapes agree, shifts lie in 0..31. A `requant` is a scheme of
:mod:`cmsisnn_x.scheme` for the outputs' type. Every function writes `out` and releases the GIL.
"""

import os

from cpython.buffer cimport (
    PyBUF_C_CONTIGUOUS, PyBUF_FORMAT, PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer,
)
from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint16_t, uint32_t, uintptr_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memset

import numpy as np

from .errors import CmsisnnError


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


# A fully connected layer packs its weights from this many samples on; below, packing costs more than it saves.
cdef Py_ssize_t PACK_SAMPLES = 4


def built():
    """Names of the instruction sets that were built, best first."""
    cdef const char *const *names = simd_built()
    result = []
    while names[0] != NULL:
        result.append(names[0].decode())
        names += 1
    return tuple(result)


def available():
    """Those that this processor runs, best first."""
    return tuple(name for name in built() if simd_find(name.encode()) != NULL)


def chosen():
    """The instruction set in use: the best one, or what ``CMSISNN_X_ISA`` names."""
    return (<const char *>find_isa(None).name).decode()


def describe():
    """One line for ``show_config``: what is in use and what was built."""
    lacking = [name for name in built() if name not in available()]
    missing = f"; not supported by this processor: {', '.join(lacking)}" if lacking else ""
    return f"{chosen()} (built: {', '.join(built())}{missing})"


cdef const simd_isa *_default = NULL


cdef const simd_isa *find_isa(name) except NULL:
    """The table of that name; None takes ``CMSISNN_X_ISA`` as it was at first use, else the best."""
    global _default
    cdef const simd_isa *isa
    if name is None and _default != NULL:
        return _default
    asked = os.environ.get("CMSISNN_X_ISA", "") if name is None else name
    if asked:
        isa = simd_find(asked.encode())
        if isa == NULL:
            where = "CMSISNN_X_ISA" if name is None else "isa"
            why = "is not supported by this processor" if asked in built() else "is not built"
            raise CmsisnnError(f"{where}: expected one of {', '.join(available())}, got: {asked!r}, which {why}")
    else:
        isa = simd_best()
    if name is None:
        _default = isa
    return isa


cdef class Block:
    """Uninitialised memory, aligned for the kernels."""

    cdef void *raw
    cdef char *data

    def __cinit__(self, size_t size):
        self.raw = malloc(size + SIMD_ALIGNMENT)
        if self.raw == NULL:
            raise MemoryError(f"cannot allocate {size} bytes")
        self.data = <char *>((<uintptr_t>self.raw + SIMD_ALIGNMENT) & ~<uintptr_t>(SIMD_ALIGNMENT - 1))

    def __dealloc__(self):
        free(self.raw)


cdef class View:
    """The bytes of a C-contiguous array."""

    cdef Py_buffer buffer
    cdef char *data
    cdef bint held

    def __cinit__(self, array, bint writable=False):
        self.data = NULL
        if array is not None:
            PyObject_GetBuffer(array, &self.buffer, PyBUF_WRITABLE if writable else PyBUF_SIMPLE)
            self.held = True
            self.data = <char *>self.buffer.buf

    def __dealloc__(self):
        if self.held:
            PyBuffer_Release(&self.buffer)


cdef int run_weighted(const simd_weighted *kernel, const simd_geometry *g, View x, View weights, View bias, View out,
                      Py_ssize_t samples, size_t in_bytes, size_t out_bytes) except -1:
    cdef:
        Block packed = Block(kernel.packed_bytes(g))
        Block scratch = Block(kernel.scratch_bytes(g))
        Py_ssize_t n
    with nogil:
        kernel.pack(g, weights.data, bias.data, packed.data)
        for n in range(samples):
            kernel.run(g, packed.data, x.data + n * in_bytes, out.data + n * out_bytes, scratch.data)
    return 0


cdef simd_geometry image_geometry(tuple x, tuple out) except *:
    cdef simd_geometry g
    memset(&g, 0, sizeof(g))
    _, g.in_h, g.in_w, g.in_ch = x
    _, g.out_h, g.out_w, g.out_ch = out
    g.dilation_y = g.dilation_x = 1
    g.weight_bits = 8
    return g


cdef simd_rescaling rescaling(int zero_point, int multiplier, int shift) noexcept:
    return simd_rescaling(zero_point, multiplier, max(shift, 0), max(-shift, 0))


cdef class Scheme:
    """A scheme as kernels take it, with the arrays that it points to."""

    cdef simd_requant requant
    cdef list kept

    def __cinit__(self, scheme, Py_ssize_t channels):
        cdef View multiplier, left, right, real
        memset(&self.requant, 0, sizeof(self.requant))
        self.requant.low, self.requant.high, self.requant.fill = scheme.low, scheme.high, scheme.fill
        if hasattr(scheme, "bias_shift"):
            self.requant.bias_shift, self.requant.out_shift = scheme.bias_shift, scheme.out_shift
            return
        self.requant.kind = SIMD_AFFINE
        self.requant.zero_point = scheme.output_zero_point
        multipliers, shifts = scheme.per_channel(channels)
        multiplier = View(np.array(multipliers, np.int32))
        left = View(np.maximum(shifts, 0).astype(np.int32))
        right = View(np.maximum(np.negative(shifts), 0).astype(np.int32))
        self.requant.multiplier = <const int32_t *>multiplier.data
        self.requant.left = <const int32_t *>left.data
        self.requant.right = <const int32_t *>right.data
        self.kept = [multiplier, left, right]
        if scheme.rounding == "float":
            self.requant.kind = SIMD_AFFINE_FLOAT
            real = View(np.array(np.broadcast_to(np.array(scheme.reals, np.float64), channels)))
            self.requant.real = <const double *>real.data
            self.kept.append(real)


cdef void settle(simd_geometry *g, View weights, View bias, bint depthwise, int groups=1) noexcept:
    """The faster kind of a scheme of zero points, where sums and shifts allow it: of bytes."""
    cdef ptrdiff_t depth = <ptrdiff_t>g.kernel_h * g.kernel_w * (1 if depthwise else g.in_ch // groups)
    if g.requant.kind == SIMD_AFFINE and simd_is_near(&g.requant, <const int8_t *>weights.data,
                                                      <const int32_t *>bias.data, g.out_ch, depth, depthwise):
        g.requant.kind = SIMD_AFFINE_NEAR


cdef class Prepared:
    """A step with packed weights, and what it points to."""

    cdef simd_step step
    cdef list kept

    def __cinit__(self):
        memset(&self.step, 0, sizeof(self.step))
        self.step.samples = 1
        self.kept = []


cdef Prepared prepare(const simd_isa *isa, bint depthwise, bint wide, tuple input_shape, tuple output_shape, kernel, stride,
                      pad, scheme, weights, bias, dilation, int groups):
    """A convolution with its weights packed: on the kernel of the table, on gathered windows, or with 64-bit sums."""
    cdef:
        Prepared result = Prepared()
        simd_step *step = &result.step
        simd_geometry *g = &step.geometry
        Block packed
        View plain = View(weights), biases = View(bias)
        Scheme own = Scheme(scheme, output_shape[2])
    g[0] = image_geometry((1, *input_shape), (1, *output_shape))
    g.kernel_h, g.kernel_w = kernel
    g.stride_y, g.stride_x = stride
    g.pad_top, g.pad_left = pad
    g.dilation_y, g.dilation_x = dilation
    g.requant = own.requant
    g.weight_bits = 8 * weights.dtype.itemsize
    step.wide = wide
    step.weighted = isa.depthwise[wide] if depthwise else isa.convolve[wide]
    if not wide:
        settle(g, plain, biases, depthwise, groups)
    if wide and own.requant.kind != SIMD_POW2:
        step.kind = SIMD_WIDE
        step.of.wide_windows.geometry = g[0]
        step.of.wide_windows.groups = groups
        step.of.wide_windows.depthwise = depthwise
        packed = Block(simd_wide_packed_bytes(&step.of.wide_windows))
        simd_wide_pack(&step.of.wide_windows, <const int8_t *>plain.data, <const int64_t *>biases.data, packed.data)
    elif not depthwise and (groups > 1 or g.dilation_y > 1 or g.dilation_x > 1):
        step.kind = SIMD_GATHERED
        step.of.gathered.kernel = &isa.convolve[wide]
        step.of.gathered.geometry = g[0]
        step.of.gathered.groups = groups
        step.of.gathered.element = 1 + wide
        packed = Block(simd_gathered_packed_bytes(&step.of.gathered))
        simd_gathered_pack(&step.of.gathered, plain.data, biases.data, packed.data)
    else:
        step.kind = SIMD_WEIGHTED
        packed = Block(step.weighted.packed_bytes(g))
        step.weighted.pack(g, plain.data, biases.data, packed.data)
    step.packed = packed.data
    result.kept += [packed, own]
    return result


cdef run_prepared(Prepared prepared, x, out, Py_ssize_t samples):
    cdef:
        View from_ = View(x), to = View(out, True)
        Block scratch = Block(simd_step_scratch_bytes(&prepared.step))
        size_t pitch = x.nbytes // samples
        const void *inputs[1]
    inputs[0] = from_.data
    prepared.step.samples, prepared.step.input_count, prepared.step.in_pitches = samples, 1, &pitch
    prepared.step.out_pitch = out.nbytes // samples
    with nogil:
        simd_step_run(&prepared.step, inputs, to.data, scratch.data)


def convolve(x, weights, bias, out, int stride_y, int stride_x, int pad_top, int pad_left, requant, dilation=(1, 1),
             int groups=1, *, isa=None):
    """Convolution of ``x`` (n, h, w, in_ch) with ``weights`` (out_ch, kh, kw, in_ch) into ``out`` (n, oh, ow, out_ch), int8 or int16."""
    weighted(find_isa(isa), False, x, weights, bias, out, weights.shape[1:3], (stride_y, stride_x), (pad_top, pad_left),
             requant, dilation, groups)


def depthwise_convolve(x, weights, bias, out, int stride_y, int stride_x, int pad_top, int pad_left, requant,
                       dilation=(1, 1), *, isa=None):
    """Depthwise convolution of ``x`` (n, h, w, ch) with ``weights`` (kh, kw, ch) into ``out`` (n, oh, ow, ch), int8 or int16."""
    weighted(find_isa(isa), True, x, weights, bias, out, weights.shape[:2], (stride_y, stride_x), (pad_top, pad_left),
             requant, dilation, 1)


cdef weighted(const simd_isa *isa, bint depthwise, x, weights, bias, out, window, stride, pad, requant, dilation, int groups):
    cdef:
        simd_geometry g
        simd_weighted kernel
        int itemsize = x.dtype.itemsize
        Py_ssize_t samples = x.shape[0]
        Scheme scheme
        View plain, biases
    if not samples or not out.size:
        return
    if not hasattr(requant, "bias_shift") and itemsize == 2 or not depthwise and (groups > 1 or tuple(dilation) != (1, 1)):
        run_prepared(prepare(isa, depthwise, itemsize == 2, x.shape[1:], out.shape[1:], window, stride, pad, requant,
                             weights, bias, dilation, groups), x, out, samples)
        return
    g = image_geometry(x.shape, out.shape)
    scheme = Scheme(requant, g.out_ch)
    g.kernel_h, g.kernel_w = window
    g.stride_y, g.stride_x = stride
    g.pad_top, g.pad_left = pad
    g.dilation_y, g.dilation_x = dilation
    g.requant = scheme.requant
    g.weight_bits = 8 * weights.dtype.itemsize
    kernel = isa.depthwise[itemsize - 1] if depthwise else isa.convolve[itemsize - 1]
    plain, biases = View(weights), View(bias)
    settle(&g, plain, biases, depthwise)
    run_weighted(&kernel, &g, View(x), plain, biases, View(out, True), samples, x.nbytes // samples,
                 out.nbytes // samples)


def fully_connected(x, weights, bias, out, requant, *, isa=None):
    """Matrix product of ``x`` (n, cols) with ``weights`` (rows, cols) into ``out`` (n, rows).

    int8, int16, or int16 activations with int8 weights and bias.
    """
    cdef:
        const simd_isa *table = find_isa(isa)
        simd_geometry g = image_geometry((1, x.shape[0], 1, x.shape[1]), (1, x.shape[0], 1, out.shape[1]))
        int itemsize = x.dtype.itemsize
        Py_ssize_t samples = x.shape[0], n
        View from_, rows, biases, to
        Block wide
        Scheme scheme
    if samples == 0 or out.size == 0:
        return
    if itemsize == 2 and not hasattr(requant, "bias_shift"):
        run_prepared(prepare(table, False, True, (1, samples, x.shape[1]), (1, samples, out.shape[1]), (1, 1), (1, 1),
                             (0, 0), requant, weights, bias, (1, 1), 1), x, out, 1)
        return
    from_, rows, biases, to = View(x), View(weights), View(bias), View(out, True)
    scheme = Scheme(requant, g.out_ch)
    g.kernel_h = g.kernel_w = g.stride_y = g.stride_x = 1
    g.requant = scheme.requant
    g.weight_bits = 8 * weights.dtype.itemsize
    if samples >= PACK_SAMPLES:
        settle(&g, rows, biases, False)
        run_weighted(&table.convolve[itemsize - 1], &g, from_, rows, biases, to, 1, 0, 0)
        return
    wide = Block(g.in_ch * sizeof(int16_t))
    with nogil:
        for n in range(samples):
            table.dot_rows[itemsize - 1](&g, rows.data, biases.data, from_.data + n * g.in_ch * itemsize,
                                         to.data + n * g.out_ch * itemsize, <int16_t *>wide.data)


cdef set_pool(simd_geometry *g, kernel, stride, pad, scheme):
    g.kernel_h, g.kernel_w = kernel
    g.stride_y, g.stride_x = stride
    g.pad_top, g.pad_left = pad
    if scheme is not None:
        g.requant.kind, g.requant.low, g.requant.high = SIMD_AFFINE, scheme.low, scheme.high


cdef pool(const simd_pool *kernels, x, out, kernel, stride, pad, scheme):
    cdef:
        simd_geometry g = image_geometry(x.shape, out.shape)
        const simd_pool *which = &kernels[x.dtype.itemsize - 1]
        Py_ssize_t samples = x.shape[0], n
        size_t in_bytes, out_bytes
        View from_ = View(x), to = View(out, True)
        Block scratch
    set_pool(&g, kernel, stride, pad, scheme)
    if samples == 0 or out.size == 0:
        return
    scratch = Block(which.scratch_bytes(&g))
    in_bytes, out_bytes = x.nbytes // samples, out.nbytes // samples
    with nogil:
        for n in range(samples):
            which.run(&g, from_.data + n * in_bytes, to.data + n * out_bytes, scratch.data)


def max_pool(x, out, kernel, stride, pad, scheme=None, *, isa=None):
    """Maximum of every window of ``x`` (n, h, w, ch) clipped to the image; `kernel`, `stride`, `pad` (top, left) are pairs."""
    pool(find_isa(isa).max_pool, x, out, kernel, stride, pad, scheme)


def avg_pool(x, out, kernel, stride, pad, scheme=None, *, isa=None):
    """Sum over the clipped window / its number of elements: truncated towards zero, or with a `scheme` of zero points
    rounded, halves away from zero."""
    pool(find_isa(isa).avg_pool, x, out, kernel, stride, pad, scheme)


def relu(x, out, *, isa=None):
    """max(x, 0)"""
    cdef:
        const simd_isa *table = find_isa(isa)
        int which = x.dtype.itemsize - 1
        size_t count = x.size
        View from_ = View(x), to = View(out, True)
    with nogil:
        table.relu[which](from_.data, to.data, count)


cdef dict PAIRS = {"add": SIMD_ADD, "multiply": SIMD_MULTIPLY, "maximum": SIMD_MAXIMUM, "minimum": SIMD_MINIMUM}
cdef dict TYPES = {"int8": SIMD_INT8, "uint8": SIMD_UINT8, "int16": SIMD_INT16}


cdef class Pointers:
    """Addresses of the data of arrays, kept alive."""

    cdef void **data
    cdef list views

    def __cinit__(self, arrays, bint writable=False):
        cdef View view
        self.data = <void **>calloc(len(arrays) + 1, sizeof(void *))
        if self.data == NULL:
            raise MemoryError("cannot allocate pointers")
        self.views = []
        for i, array in enumerate(arrays):
            view = View(array, writable)
            self.views.append(view)
            self.data[i] = view.data

    def __dealloc__(self):
        free(self.data)


cdef set_line(simd_pair *p, linear):
    """Factors in two parts, as products of 16 bits take them, where they have so many bits behind the point."""
    cdef:
        int32_t left = linear.left, right = linear.right, mask = (1 << SIMD_LINE_BITS) - 1
    if linear.shift < SIMD_LINE_BITS:
        return
    p.is_line = True
    p.line.high = <int32_t>((<uint32_t>(left >> SIMD_LINE_BITS) & 0xFFFF) | <uint32_t>(right >> SIMD_LINE_BITS) << 16)
    p.line.low = (left & mask) | ((right & mask) << 16)
    p.line.c_high, p.line.c_low = linear.start >> SIMD_LINE_BITS, linear.start & mask
    p.line.shift = linear.shift - SIMD_LINE_BITS
    p.line.lowest, p.line.highest = p.low, p.high


cdef class Executor:
    """The steps of a network, weights packed once, run by one C call.

    Each step is appended by a method that says what it computes, and then placed with :meth:`connect`; :meth:`finish`
    ends the list, and then any number of threads may run it. A step runs `samples` times, on tensors that lie one
    behind the other.
    """

    cdef:
        simd_step *steps
        simd_network network
        const simd_isa *isa
        list kept
        list workspaces

    def __cinit__(self, isa=None):
        self.steps = NULL
        memset(&self.network, 0, sizeof(self.network))
        self.isa = find_isa(isa)
        self.kept = []
        self.workspaces = []

    def __dealloc__(self):
        free(self.steps)

    @property
    def isa_name(self):
        return (<const char *>self.isa.name).decode()

    cdef simd_step *_append(self, int kind, bint wide=False, size_t count=0, size_t samples=1) except NULL:
        cdef:
            size_t number = self.network.step_count
            simd_step *steps = <simd_step *>realloc(self.steps, (number + 1) * sizeof(simd_step))
            simd_step *step
        if steps == NULL:
            raise MemoryError("cannot allocate a step")
        self.steps = steps
        step = &steps[number]
        memset(step, 0, sizeof(simd_step))
        step.kind, step.wide, step.count, step.samples = kind, wide, count, samples
        self.network.steps = steps
        self.network.step_count = number + 1
        return step

    cdef const void *_keep(self, array) except NULL:
        """The data of an array of the caller's, which is copied: later changes do not reach the network."""
        cdef View view = View(np.array(array, order="C"))
        self.kept.append(view)
        return view.data

    def weighted(self, bint depthwise, bint wide, input_shape, output_shape, kernel, stride, pad, requant, weights, bias,
                 dilation=(1, 1), int groups=1, size_t samples=1):
        """A convolution; fully connected is 1x1 on a (1, n, cols) image."""
        cdef Prepared prepared = prepare(self.isa, depthwise, wide, tuple(input_shape), tuple(output_shape), kernel, stride,
                                         pad, requant, weights, bias, dilation, groups)
        self.kept += prepared.kept
        self._append(prepared.step.kind)[0] = prepared.step
        self.steps[self.network.step_count - 1].samples = samples

    def pool(self, bint maximum, bint wide, input_shape, output_shape, kernel, stride, pad, scheme=None, size_t samples=1):
        """A pooling; a `scheme` has zero points."""
        cdef simd_step *step = self._append(SIMD_POOL, wide, 0, samples)
        step.geometry = image_geometry((1, *input_shape), (1, *output_shape))
        set_pool(&step.geometry, kernel, stride, pad, scheme)
        step.pool = self.isa.max_pool[wide] if maximum else self.isa.avg_pool[wide]

    def element_wise(self, str op, bint wide, Py_ssize_t count, table=None, int int_bits=0):
        """relu, softmax or a table look-up (``look_up``, 256 entries) of powers of two."""
        cdef:
            simd_step *step
            const void *data
        if op == "relu":
            self._append(SIMD_RELU, wide, count).relu = self.isa.relu[wide]
        elif op == "softmax":
            self._append(SIMD_SOFTMAX, wide, count)
        else:
            data = self._keep(table)
            step = self._append(SIMD_LOOK_UP, wide, count)
            step.packed = data
            step.int_bits = int_bits

    def pair(self, str op, bint wide, size_t count, size_t period, scheme, size_t samples=1, linear=None):
        """add, multiply, maximum, minimum; the second tensor has `period` elements and is repeated.

        `linear` are the numbers of `affine_linear` that give the same sum of bytes.
        """
        cdef:
            simd_step *step = self._append(SIMD_PAIR, wide, count, samples)
            simd_pair *p = &step.of.pair
        step.pair_of = self.isa.pair[wide]
        step.int_bits = PAIRS[op]
        step.period = period
        p.low, p.high = scheme.low, scheme.high
        if op == "add":
            p.a = rescaling(scheme.left.zero_point, scheme.left.multiplier, scheme.left.shift)
            p.b = rescaling(scheme.right.zero_point, scheme.right.multiplier, scheme.right.shift)
            p.left_shift, p.sign = scheme.left_shift, scheme.sign
        if op == "multiply":
            p.a.zero_point, p.b.zero_point = scheme.left_zero_point, scheme.right_zero_point
        if op in ("add", "multiply"):
            p.out = rescaling(scheme.output_zero_point, scheme.multiplier, scheme.shift)
        if linear is not None:
            set_line(p, linear)

    def look_up(self, size_t count, table):
        """Every byte through a table of 256 entries."""
        cdef:
            const void *data = self._keep(table)
            simd_step *step = self._append(SIMD_LOOK_UP_BYTES, False, count)
        step.packed = data
        step.int_bits = table.dtype.itemsize

    def requantise(self, size_t count, in_dtype, out_dtype, scheme):
        """Every element to another scale."""
        set_requantisation(&self._append(SIMD_REQUANTISE, False, count).of.requantisation, in_dtype, out_dtype, scheme)

    def mean(self, dtype, image, scheme, size_t samples=1):
        """Of (outer, reduced, inner) over the second."""
        cdef simd_mean *p = &self._append(SIMD_MEAN, False, 0, samples).of.mean
        p.outer, p.reduced, p.inner = image
        set_requantisation(&p.scale, dtype, dtype, scheme)

    def softmax_rows(self, size_t rows, size_t cols, scheme):
        """Softmax of every row of int8."""
        cdef:
            Block block = Block(sizeof(simd_softmax))
            simd_softmax *p = <simd_softmax *>block.data
            simd_rescaling r = rescaling(0, scheme.multiplier, scheme.shift)
        p.rows, p.cols, p.bits = rows, cols, scheme.bits
        simd_softmax_table(p.exponentials, r.multiplier, r.left, scheme.diff_min)
        self.kept.append(block)
        self._append(SIMD_SOFTMAX_ROWS).of.softmax = p

    def softmax_wide_rows(self, size_t rows, size_t cols, scheme):
        """Softmax of every row of int16."""
        cdef:
            const void *exponentials = self._keep(scheme.tables[0])
            const void *reciprocals = self._keep(scheme.tables[1])
            simd_wide_softmax *p = &self._append(SIMD_SOFTMAX_WIDE_ROWS).of.wide_softmax
        p.exponentials, p.reciprocals = <const int16_t *>exponentials, <const int16_t *>reciprocals
        p.rows, p.cols, p.scale = rows, cols, rescaling(0, scheme.multiplier, scheme.shift)

    def softmax_real_rows(self, size_t rows, size_t cols, scheme):
        """Softmax of every row of int8, as that of real numbers."""
        cdef:
            const void *exponentials = self._keep(scheme.table)
            simd_real_softmax *p = &self._append(SIMD_SOFTMAX_REAL_ROWS).of.real_softmax
        p.exponentials, p.rows, p.cols, p.zero_point = <const int32_t *>exponentials, rows, cols, scheme.output_zero_point

    def curve(self, size_t count, points, scheme):
        """Sigmoid or tanh of int16."""
        cdef:
            const void *data = self._keep(points)
            simd_curve *p = &self._append(SIMD_CURVE, True, count).of.curve
        p.points = <const uint16_t *>data
        p.multiplier, p.shift, p.is_tanh = scheme.multiplier, scheme.shift, scheme.kind == "tanh"

    def concat(self, size_t rows, size_t samples=1):
        """So many rows of every input side by side."""
        self._append(SIMD_CONCAT, False, 0, samples).of.concat.rows = rows

    def move(self, size_t size, view, size_t out_count, bint scatter, int fill=0, size_t samples=1):
        """The elements of a view, packed one behind the other, or with `scatter` the other way round."""
        cdef:
            simd_view *p = &self._append(SIMD_PAD if scatter else SIMD_COPY, False, 0, samples).of.view
            int axis, missing = SIMD_AXES - len(view.shape)
        p.size, p.out_count, p.fill, p.offset = size, out_count, fill, view.offset
        for axis in range(SIMD_AXES):
            p.shape[axis] = 1 if axis < missing else view.shape[axis - missing]
            p.steps[axis] = 0 if axis < missing else view.steps[axis - missing]

    def resize_nearest(self, size_t size, output_image, table, size_t samples=1):
        """`table`: the offsets of rows and then of columns, in elements of `size` bytes."""
        cdef:
            const void *data = self._keep(table)
            simd_step *step = self._append(SIMD_RESIZE, False, 0, samples)
        step.packed = data
        step.of.resize.out_h, step.of.resize.out_w, channels = output_image
        step.of.resize.size, step.of.resize.bytes = size, size * channels

    def connect(self, inputs, output, in_pitches, size_t out_pitch):
        """Where the tensors of the last step lie.

        `inputs` are pairs: ``("input", number)`` or ``("output", number)`` of the caller's, ``("workspace", offset)``,
        ``("constant", array)``, ``("state", array)``, which is read where it lies; so is `output`. Pitches are the bytes
        of one of its samples.
        """
        cdef:
            simd_step *step = &self.steps[self.network.step_count - 1]
            size_t count = len(inputs), k
            Block slots = Block(count * sizeof(simd_slot)), pitches = Block(count * sizeof(size_t))
        for k in range(count):
            (<simd_slot *>slots.data)[k] = self._slot(inputs[k])
            (<size_t *>pitches.data)[k] = in_pitches[k]
        self.kept += [slots, pitches]
        step.inputs, step.in_pitches = <simd_slot *>slots.data, <size_t *>pitches.data
        step.input_count, step.out_pitch = count, out_pitch
        step.output = self._slot(output)

    cdef simd_slot _slot(self, place) except *:
        cdef:
            simd_slot slot
            View view
        where, at = place
        slot.where, slot.at, slot.constant = PLACES[where], 0, NULL
        if where == "constant":
            slot.constant = self._keep(at)
        elif where == "state":
            view = View(at)
            self.kept.append(view)
            slot.constant = view.data
        else:
            slot.at = at
        return slot

    def remember(self, states):
        """Pairs: where a tensor lies, and the array that takes over its bytes after every sample."""
        cdef:
            Block block = Block(len(states) * sizeof(simd_state))
            simd_state *state = <simd_state *>block.data
            View view
        for place, array in states:
            view = View(array, True)
            self.kept.append(view)
            state.from_, state.to, state.bytes = self._slot(place), view.data, array.nbytes
            state += 1
        self.kept.append(block)
        self.network.states, self.network.state_count = <simd_state *>block.data, len(states)

    def finish(self, in_bytes, out_bytes, size_t tensor_bytes):
        """No further steps: bytes of one sample of the caller's inputs and outputs, and of the tensors between."""
        cdef:
            Block sizes = Block((len(in_bytes) + len(out_bytes)) * sizeof(size_t))
            size_t *size = <size_t *>sizes.data
        for k, value in enumerate((*in_bytes, *out_bytes)):
            size[k] = value
        self.kept.append(sizes)
        self.network.in_bytes, self.network.out_bytes = size, size + len(in_bytes)
        self.network.tensor_bytes = (tensor_bytes + SIMD_ALIGNMENT - 1) // SIMD_ALIGNMENT * SIMD_ALIGNMENT
        simd_network_plan(&self.network)

    cdef Block _workspace(self):
        # Kept between runs; list operations are atomic, so that concurrent runs each get their own.
        try:
            return self.workspaces.pop()
        except IndexError:
            return Block(simd_workspace_bytes(&self.network))

    def run(self, inputs, outputs, Py_ssize_t samples):
        """Run `samples` of the contiguous arrays `inputs` into `outputs` on the calling thread."""
        cdef:
            Pointers from_ = Pointers(inputs), to = Pointers(outputs, True)
            Block workspace = self._workspace()
        with nogil:
            simd_network_run(&self.network, <const void **>from_.data, to.data, 0, samples, workspace.data)
        self.workspaces.append(workspace)

    def share(self, inputs, outputs, Py_ssize_t samples, Counter counter):
        """As :meth:`run`, for several threads that call it with the same `counter`: each sample is run once."""
        cdef:
            Pointers from_ = Pointers(inputs), to = Pointers(outputs, True)
            Block workspace = self._workspace()
        with nogil:
            simd_network_share(&self.network, <const void **>from_.data, to.data, samples, counter.counter, workspace.data)
        self.workspaces.append(workspace)

    def run_step(self, size_t index, inputs, out):
        """Run one step on one sample of the network, tensors given as arrays."""
        cdef:
            Pointers from_ = Pointers(inputs)
            View to = View(out, True)
            Block scratch
        if index >= self.network.step_count:
            raise IndexError(index)
        scratch = Block(simd_step_scratch_bytes(&self.steps[index]))
        with nogil:
            simd_step_run(&self.steps[index], <const void **>from_.data, to.data, scratch.data)


cdef class Call:
    """One sample in one array, by one Python call that does as little as it can: small networks take a microsecond.

    `images` are pairs of legal shapes, of the input and of the output that it gives.
    """

    cdef:
        Executor executor
        tuple images
        object out_dtype, empty
        int code

    def __init__(self, Executor executor, images, in_dtype, out_dtype):
        self.executor, self.images, self.out_dtype, self.empty = executor, tuple(images), out_dtype, np.empty
        self.code = ord(in_dtype.char)

    def run(self, x):
        """The output, or None where `x` is anything else."""
        cdef:
            Py_buffer from_, to
            Block workspace
            const void *inputs[1]
            void *outputs[1]
            tuple image
            object out
        try:
            PyObject_GetBuffer(x, &from_, PyBUF_FORMAT | PyBUF_C_CONTIGUOUS)
        except (BufferError, TypeError, ValueError):
            return None
        try:
            image = self._image(&from_)
            if image is None:
                return None
            out = self.empty(image[1], self.out_dtype)
            PyObject_GetBuffer(out, &to, PyBUF_WRITABLE)
            inputs[0], outputs[0] = from_.buf, to.buf
            try:
                workspace = self.executor._workspace()
                with nogil:
                    simd_network_run(&self.executor.network, inputs, outputs, 0, 1, workspace.data)
                self.executor.workspaces.append(workspace)
            finally:
                PyBuffer_Release(&to)
            return out
        finally:
            PyBuffer_Release(&from_)

    cdef tuple _image(self, Py_buffer *x):
        cdef:
            tuple image, shape
            Py_ssize_t axis
        if x.format == NULL or x.format[0] != self.code or x.format[1] != 0:
            return None
        for image in self.images:
            shape = <tuple>image[0]
            if len(shape) != x.ndim:
                continue
            for axis in range(x.ndim):
                if x.shape[axis] != <Py_ssize_t>shape[axis]:
                    break
            else:
                return image
        return None


cdef dict PLACES = {"input": SIMD_INPUT, "output": SIMD_OUTPUT, "workspace": SIMD_WORKSPACE, "constant": SIMD_CONSTANT,
                    "state": SIMD_CONSTANT}


cdef set_requantisation(simd_requantisation *p, in_dtype, out_dtype, scheme):
    p.in_ = rescaling(scheme.input_zero_point, scheme.multiplier, scheme.shift)
    multiplier, shift = getattr(scheme, "below", None) or (scheme.multiplier, scheme.shift)
    p.below = rescaling(scheme.input_zero_point, multiplier, shift)
    p.zero_point, p.low, p.high = scheme.output_zero_point, scheme.low, scheme.high
    p.in_type, p.out_type = TYPES[str(in_dtype)], TYPES[str(out_dtype)]


cdef class Counter:
    """Hands out samples to threads."""

    cdef simd_counter *counter

    def __cinit__(self):
        self.counter = <simd_counter *>calloc(1, sizeof(simd_counter))
        if self.counter == NULL:
            raise MemoryError("cannot allocate a counter")

    def __dealloc__(self):
        free(self.counter)
