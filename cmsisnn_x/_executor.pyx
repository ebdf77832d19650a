# SPDX-License-Identifier: Apache-2.0
"""Whole networks on the vector kernels of this processor, from packed weights, by one C call.

Callers validate: arrays are C-contiguous, and shapes agree. A `scheme` is one of :mod:`cmsisnn_x.scheme`. Runs release
the GIL.
"""

from cpython.buffer cimport (
    PyBUF_C_CONTIGUOUS, PyBUF_FORMAT, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer,
)
from libc.stdint cimport int16_t, int32_t, uint16_t, uint32_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memset

from ._simd cimport (
    SIMD_ADD, SIMD_ALIGNMENT, SIMD_AXES, SIMD_CONCAT, SIMD_CONSTANT, SIMD_COPY, SIMD_CURVE, SIMD_INPUT, SIMD_INT16,
    SIMD_INT8, SIMD_LINE_BITS, SIMD_LOOK_UP, SIMD_LOOK_UP_BYTES, SIMD_MAXIMUM, SIMD_MEAN, SIMD_MINIMUM, SIMD_MULTIPLY,
    SIMD_OUTPUT, SIMD_PAD, SIMD_PAIR, SIMD_POOL, SIMD_RELU, SIMD_REQUANTISE, SIMD_RESIZE, SIMD_SOFTMAX,
    SIMD_SOFTMAX_REAL_ROWS, SIMD_SOFTMAX_ROWS, SIMD_SOFTMAX_WIDE_ROWS, SIMD_UINT8, SIMD_WORKSPACE, simd_counter,
    simd_curve, simd_isa, simd_mean, simd_network, simd_network_plan, simd_network_run, simd_network_share, simd_pair,
    simd_real_softmax, simd_requantisation, simd_rescaling, simd_slot, simd_softmax, simd_softmax_table, simd_state,
    simd_step, simd_step_run, simd_step_scratch_bytes, simd_view, simd_wide_softmax, simd_workspace_bytes, Block,
    Prepared, View, find_isa, image_geometry, prepare, rescaling, set_pool,
)

import numpy as np


cdef dict PAIRS = {"add": SIMD_ADD, "multiply": SIMD_MULTIPLY, "maximum": SIMD_MAXIMUM, "minimum": SIMD_MINIMUM}
cdef dict TYPES = {"int8": SIMD_INT8, "uint8": SIMD_UINT8, "int16": SIMD_INT16}
cdef dict PLACES = {"input": SIMD_INPUT, "output": SIMD_OUTPUT, "workspace": SIMD_WORKSPACE, "constant": SIMD_CONSTANT,
                    "state": SIMD_CONSTANT}


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

        `linear` are the numbers of `affine.linear` that give the same sum of bytes.
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
