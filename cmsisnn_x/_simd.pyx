# SPDX-License-Identifier: Apache-2.0
"""The vector kernels of this processor: single layers from plain weights, and whole networks from packed ones.

Callers validate: arrays are C-contiguous, shapes agree, shifts lie in 0..31. A `requant` is a scheme of
:mod:`cmsisnn_x.scheme` for the outputs' type. Every function writes `out` and releases the GIL.
"""

import os

from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int16_t, int32_t, uintptr_t
from libc.stdlib cimport calloc, free, malloc, realloc

from .errors import CmsisnnError


cdef extern from "simd.h" nogil:
    ctypedef struct simd_requant:
        int32_t bias_shift, out_shift, low, high, fill

    ctypedef struct simd_geometry:
        int32_t in_h, in_w, in_ch, out_h, out_w, out_ch
        int32_t kernel_h, kernel_w, stride_y, stride_x, pad_top, pad_left
        simd_requant requant
        int32_t weight_bits

    ctypedef struct simd_weighted:
        size_t (*packed_bytes)(const simd_geometry *) noexcept nogil
        void (*pack)(const simd_geometry *, const void *, const void *, void *) noexcept nogil
        size_t (*scratch_bytes)(const simd_geometry *) noexcept nogil
        void (*run)(const simd_geometry *, const void *, const void *, void *, void *) noexcept nogil

    ctypedef struct simd_pool:
        size_t (*scratch_bytes)(const simd_geometry *) noexcept nogil
        void (*run)(const simd_geometry *, const void *, void *, void *) noexcept nogil

    ctypedef struct simd_isa:
        const char *name
        simd_weighted convolve[2]
        simd_weighted depthwise[2]
        void (*dot_rows[2])(const simd_geometry *, const void *, const void *, const void *, void *, int16_t *) noexcept nogil
        simd_pool max_pool[2]
        simd_pool avg_pool[2]
        void (*relu[2])(const void *, void *, size_t) noexcept nogil

    int SIMD_ALIGNMENT
    const char *const *simd_built() noexcept nogil
    const simd_isa *simd_find(const char *) noexcept nogil
    const simd_isa *simd_best() noexcept nogil


cdef extern from "network.h" nogil:
    int SIMD_WEIGHTED, SIMD_POOL, SIMD_RELU, SIMD_LOOK_UP, SIMD_SOFTMAX

    ctypedef struct simd_step:
        int kind, wide
        simd_geometry geometry
        simd_weighted weighted
        simd_pool pool
        void (*relu)(const void *, void *, size_t) noexcept nogil
        const void *packed
        int int_bits
        size_t in_count, out_count

    ctypedef struct simd_network:
        const simd_step *steps
        size_t step_count, in_bytes, out_bytes, buffer_bytes, scratch_bytes

    ctypedef struct simd_counter:
        ptrdiff_t next

    void simd_network_plan(simd_network *) noexcept nogil
    size_t simd_workspace_bytes(const simd_network *) noexcept nogil
    size_t simd_step_scratch_bytes(const simd_step *) noexcept nogil
    void simd_step_run(const simd_step *, const void *, void *, void *) noexcept nogil
    void simd_network_run(const simd_network *, const void *, void *, ptrdiff_t, ptrdiff_t, void *) noexcept nogil
    void simd_network_share(const simd_network *, const void *, void *, ptrdiff_t, simd_counter *, void *) noexcept nogil


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
    _, g.in_h, g.in_w, g.in_ch = x
    _, g.out_h, g.out_w, g.out_ch = out
    g.requant = simd_requant(0, 0, 0, 0, 0)
    g.weight_bits = 8
    return g


cdef simd_requant as_struct(requant) except *:
    return simd_requant(requant.bias_shift, requant.out_shift, requant.low, requant.high, requant.fill)


def convolve(x, weights, bias, out, int stride_y, int stride_x, int pad_top, int pad_left, requant, *, isa=None):
    """Convolution of ``x`` (n, h, w, in_ch) with ``weights`` (out_ch, kh, kw, in_ch) into ``out`` (n, oh, ow, out_ch), int8 or int16."""
    weighted(find_isa(isa).convolve, x, weights, bias, out, weights.shape[1:3], (stride_y, stride_x), (pad_top, pad_left),
             requant)


def depthwise_convolve(x, weights, bias, out, int stride_y, int stride_x, int pad_top, int pad_left, requant, *, isa=None):
    """Depthwise convolution of ``x`` (n, h, w, ch) with ``weights`` (kh, kw, ch) into ``out`` (n, oh, ow, ch), int8 or int16."""
    weighted(find_isa(isa).depthwise, x, weights, bias, out, weights.shape[:2], (stride_y, stride_x), (pad_top, pad_left),
             requant)


cdef weighted(const simd_weighted *kernels, x, weights, bias, out, kernel, stride, pad, requant):
    cdef:
        simd_geometry g = image_geometry(x.shape, out.shape)
        int itemsize = x.dtype.itemsize
        Py_ssize_t samples = x.shape[0]
    g.kernel_h, g.kernel_w = kernel
    g.stride_y, g.stride_x = stride
    g.pad_top, g.pad_left = pad
    g.requant = as_struct(requant)
    g.weight_bits = 8 * weights.dtype.itemsize
    if samples and out.size:
        run_weighted(&kernels[itemsize - 1], &g, View(x), View(weights), View(bias), View(out, True), samples,
                     x.nbytes // samples, out.nbytes // samples)


def fully_connected(x, weights, bias, out, requant, *, isa=None):
    """Matrix product of ``x`` (n, cols) with ``weights`` (rows, cols) into ``out`` (n, rows).

    int8, int16, or int16 activations with int8 weights and bias.
    """
    cdef:
        const simd_isa *table = find_isa(isa)
        simd_geometry g = image_geometry((1, x.shape[0], 1, x.shape[1]), (1, x.shape[0], 1, out.shape[1]))
        int itemsize = x.dtype.itemsize
        Py_ssize_t samples = x.shape[0], n
        View from_ = View(x), rows = View(weights), biases = View(bias), to = View(out, True)
        Block wide
    g.kernel_h = g.kernel_w = g.stride_y = g.stride_x = 1
    g.pad_top = g.pad_left = 0
    g.requant = as_struct(requant)
    g.weight_bits = 8 * weights.dtype.itemsize
    if samples == 0 or out.size == 0:
        return
    if samples >= PACK_SAMPLES:
        run_weighted(&table.convolve[itemsize - 1], &g, from_, rows, biases, to, 1, 0, 0)
        return
    wide = Block(g.in_ch * sizeof(int16_t))
    with nogil:
        for n in range(samples):
            table.dot_rows[itemsize - 1](&g, rows.data, biases.data, from_.data + n * g.in_ch * itemsize,
                                         to.data + n * g.out_ch * itemsize, <int16_t *>wide.data)


cdef pool(const simd_pool *kernels, x, out, kernel, stride, pad):
    cdef:
        simd_geometry g = image_geometry(x.shape, out.shape)
        const simd_pool *which = &kernels[x.dtype.itemsize - 1]
        Py_ssize_t samples = x.shape[0], n
        size_t in_bytes, out_bytes
        View from_ = View(x), to = View(out, True)
        Block scratch
    g.kernel_h, g.kernel_w = kernel
    g.stride_y, g.stride_x = stride
    g.pad_top, g.pad_left = pad
    if samples == 0 or out.size == 0:
        return
    scratch = Block(which.scratch_bytes(&g))
    in_bytes, out_bytes = x.nbytes // samples, out.nbytes // samples
    with nogil:
        for n in range(samples):
            which.run(&g, from_.data + n * in_bytes, to.data + n * out_bytes, scratch.data)


def max_pool(x, out, kernel, stride, pad, *, isa=None):
    """Maximum of every window of ``x`` (n, h, w, ch) clipped to the image; `kernel`, `stride`, `pad` (top, left) are pairs."""
    pool(find_isa(isa).max_pool, x, out, kernel, stride, pad)


def avg_pool(x, out, kernel, stride, pad, *, isa=None):
    """Sum over the clipped window / its number of elements, truncated towards zero."""
    pool(find_isa(isa).avg_pool, x, out, kernel, stride, pad)


def relu(x, out, *, isa=None):
    """max(x, 0)"""
    cdef:
        const simd_isa *table = find_isa(isa)
        int which = x.dtype.itemsize - 1
        size_t count = x.size
        View from_ = View(x), to = View(out, True)
    with nogil:
        table.relu[which](from_.data, to.data, count)


cdef class Executor:
    """Layers in sequence, weights packed once, run by one C call.

    Steps are appended with :meth:`weighted`, :meth:`pool` and :meth:`element_wise`; then any number of threads may run it.
    """

    cdef:
        simd_step *steps
        simd_network network
        const simd_isa *isa
        list kept
        list workspaces

    def __cinit__(self, isa=None):
        self.steps = NULL
        self.network.step_count = 0
        self.isa = find_isa(isa)
        self.kept = []
        self.workspaces = []

    def __dealloc__(self):
        free(self.steps)

    @property
    def isa_name(self):
        return (<const char *>self.isa.name).decode()

    cdef simd_step *_append(self, int kind, bint wide, Py_ssize_t in_count, Py_ssize_t out_count) except NULL:
        cdef:
            size_t count = self.network.step_count
            simd_step *steps = <simd_step *>realloc(self.steps, (count + 1) * sizeof(simd_step))
            simd_step *step
        if steps == NULL:
            raise MemoryError("cannot allocate a step")
        self.steps = steps
        step = &steps[count]
        step.kind, step.wide, step.in_count, step.out_count = kind, wide, in_count, out_count
        step.packed = NULL
        step.int_bits = 0
        self.network.steps = steps
        self.network.step_count = count + 1
        return step

    def weighted(self, bint depthwise, bint wide, input_shape, output_shape, kernel, stride, pad, requant, weights, bias):
        """Append a convolution; fully connected is 1x1 on a (1, 1, cols) image."""
        cdef:
            simd_geometry g = image_geometry((1, *input_shape), (1, *output_shape))
            const simd_weighted *which
            simd_step *step
            Block packed
            View plain = View(weights), biases = View(bias)
        g.kernel_h, g.kernel_w = kernel
        g.stride_y, g.stride_x = stride
        g.pad_top, g.pad_left = pad
        g.requant = as_struct(requant)
        g.weight_bits = 8 * weights.dtype.itemsize
        which = &self.isa.depthwise[wide] if depthwise else &self.isa.convolve[wide]
        packed = Block(which.packed_bytes(&g))
        which.pack(&g, plain.data, biases.data, packed.data)
        self.kept.append(packed)
        step = self._append(SIMD_WEIGHTED, wide, <Py_ssize_t>g.in_h * g.in_w * g.in_ch, <Py_ssize_t>g.out_h * g.out_w * g.out_ch)
        step.geometry = g
        step.weighted = which[0]
        step.packed = packed.data

    def pool(self, bint maximum, bint wide, input_shape, output_shape, kernel, stride, pad):
        """Append a pooling."""
        cdef:
            simd_geometry g = image_geometry((1, *input_shape), (1, *output_shape))
            simd_step *step
        g.kernel_h, g.kernel_w = kernel
        g.stride_y, g.stride_x = stride
        g.pad_top, g.pad_left = pad
        step = self._append(SIMD_POOL, wide, <Py_ssize_t>g.in_h * g.in_w * g.in_ch, <Py_ssize_t>g.out_h * g.out_w * g.out_ch)
        step.geometry = g
        step.pool = self.isa.max_pool[wide] if maximum else self.isa.avg_pool[wide]

    def element_wise(self, str op, bint wide, Py_ssize_t count, table=None, int int_bits=0):
        """Append relu, softmax or a table look-up (``look_up``, 256 entries that are kept alive here)."""
        cdef simd_step *step
        cdef View view
        if op == "relu":
            self._append(SIMD_RELU, wide, count, count).relu = self.isa.relu[wide]
        elif op == "softmax":
            self._append(SIMD_SOFTMAX, wide, count, count)
        else:
            view = View(table)
            self.kept.append(view)
            step = self._append(SIMD_LOOK_UP, wide, count, count)
            step.packed = view.data
            step.int_bits = int_bits

    def finish(self):
        """No further steps: buffers are planned."""
        simd_network_plan(&self.network)

    cdef Block _workspace(self):
        # Kept between runs; list operations are atomic, so that concurrent runs each get their own.
        try:
            return self.workspaces.pop()
        except IndexError:
            return Block(simd_workspace_bytes(&self.network))

    def run(self, x, out, Py_ssize_t samples):
        """Run `samples` of the contiguous array `x` into `out` on the calling thread."""
        cdef:
            View from_ = View(x), to = View(out, True)
            Block workspace = self._workspace()
        with nogil:
            simd_network_run(&self.network, from_.data, to.data, 0, samples, workspace.data)
        self.workspaces.append(workspace)

    def share(self, x, out, Py_ssize_t samples, Counter counter):
        """As :meth:`run`, for several threads that call it with the same `counter`: each sample is run once."""
        cdef:
            View from_ = View(x), to = View(out, True)
            Block workspace = self._workspace()
        with nogil:
            simd_network_share(&self.network, from_.data, to.data, samples, counter.counter, workspace.data)
        self.workspaces.append(workspace)

    def run_step(self, size_t index, x, out):
        """Run one step on one sample."""
        cdef:
            View from_ = View(x), to = View(out, True)
            Block scratch
        if index >= self.network.step_count:
            raise IndexError(index)
        scratch = Block(simd_step_scratch_bytes(&self.steps[index]))
        with nogil:
            simd_step_run(&self.steps[index], from_.data, to.data, scratch.data)


cdef class Counter:
    """Hands out samples to threads."""

    cdef simd_counter *counter

    def __cinit__(self):
        self.counter = <simd_counter *>calloc(1, sizeof(simd_counter))
        if self.counter == NULL:
            raise MemoryError("cannot allocate a counter")

    def __dealloc__(self):
        free(self.counter)
