# SPDX-License-Identifier: Apache-2.0
"""The vector kernels of this processor, for single layers from plain weights.

Callers validate: arrays are C-contiguous, shapes agree, shifts lie in 0..31. A `requant` is a scheme of
:mod:`cmsisnn_x.scheme` for the outputs' type. Every function writes `out` and releases the GIL.
"""

import os

from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uintptr_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

import numpy as np

from .errors import CmsisnnError


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

    def __cinit__(self, size_t size):
        self.raw = malloc(size + SIMD_ALIGNMENT)
        if self.raw == NULL:
            raise MemoryError(f"cannot allocate {size} bytes")
        self.data = <char *>((<uintptr_t>self.raw + SIMD_ALIGNMENT) & ~<uintptr_t>(SIMD_ALIGNMENT - 1))

    def __dealloc__(self):
        free(self.raw)


cdef class View:
    """The bytes of a C-contiguous array."""

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
