# SPDX-License-Identifier: Apache-2.0
"""One layer of a network, all shapes and parameters resolved; the model file's keys are its field names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import prod

import numpy as np

from .affine.curves import Scheme
from .op import Op, row_of
from .scheme import TENSOR_TYPES, Pow2, TensorType

NUMPY_DTYPES: dict[str, np.dtype] = {name: item.dtype for name, item in TENSOR_TYPES.items()}


@dataclass(frozen=True)
class View:
    """Elements of an input in the order of the output, which is of `shape`: element ``(i, j, ..)`` of it is element
    ``offset + i * steps[0] + j * steps[1] + ..`` of the input. Steps may be 0 or negative; there are at most six axes.
    """

    shape: tuple[int, ...]
    steps: tuple[int, ...]
    offset: int = 0


@dataclass(frozen=True, eq=False)
class Layer:
    """A layer of a network.

    `input_shape` and `output_shape` are ``(h, w, c)`` or ``(n,)``; `kernel`, `stride` are ``(y, x)``; `padding` is
    ``((top, bottom), (left, right))`` as it follows from the output size. `dtype` is that of the activations,
    `weights_dtype` that of weights and bias. `weights` and `bias` have the shapes of the Python functions.
    `variant` holds the knobs that the model file pins. Its neighbours are the graph's affair:
    :class:`cmsisnn_x.graph.Graph`.

    Of a layer with zero points, `scheme` says what it computes with them; shifts and activation are not used then. The
    kernel runs `samples` times, on inputs and outputs one behind the other. `more_inputs` are the shapes of the inputs
    behind the first, `output_dtype` the type of the output where it is another. `table` is what a look-up takes, and
    `view` says which elements are moved.
    """

    name: str
    op: str
    dtype: str
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[tuple[int, int], tuple[int, int]] = ((0, 0), (0, 0))
    ceil_mode: bool = False
    bias_shift: int = 0
    out_shift: int = 0
    activation: str | None = None
    weights_dtype: str | None = None
    int_bits: int = 0
    weights: np.ndarray | None = field(default=None, repr=False)
    bias: np.ndarray | None = field(default=None, repr=False)
    variant: Mapping[str, object] = field(default_factory=dict)
    scheme: Scheme | None = None
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    samples: int = 1
    more_inputs: tuple[tuple[int, ...], ...] = ()
    output_dtype: str | None = None
    table: np.ndarray | None = field(default=None, repr=False)
    view: View | None = None

    @property
    def row(self) -> Op:
        """The row of its operation."""
        return row_of(self.op)

    @property
    def python_op(self) -> str:
        return self.row.name

    @property
    def type(self) -> TensorType:
        """Of the inputs, and of the output where nothing else is said."""
        return TENSOR_TYPES[self.dtype]

    @property
    def output_type(self) -> TensorType:
        return TENSOR_TYPES[self.output_dtype or self.dtype]

    @property
    def bias_dtype(self) -> np.dtype:
        """That of the weights, or of the accumulator where there are zero points."""
        if not self.type.is_affine:
            return self.weights_type.dtype
        return np.dtype(np.int32 if self.type.bits == 8 else np.int64)

    @property
    def weights_type(self) -> TensorType:
        """Of weights and bias; that of the activations where nothing else is said."""
        return TENSOR_TYPES[self.weights_dtype or self.dtype]

    @property
    def numpy_dtype(self) -> np.dtype:
        return NUMPY_DTYPES[self.dtype]

    @property
    def requant(self) -> Pow2 | Scheme:
        """How accumulators start and become outputs: `scheme`, or what the fields of shifts and activation spell."""
        if self.scheme is not None:
            return self.scheme
        return Pow2.of(self.dtype, self.bias_shift, self.out_shift, self.activation)

    @property
    def input_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Of all inputs, of one sample."""
        return (self.input_shape, *self.more_inputs)

    @property
    def input_bytes(self) -> int:
        """Of the first input, all samples."""
        return self.samples * prod(self.input_shape) * self.numpy_dtype.itemsize

    @property
    def output_bytes(self) -> int:
        return self.samples * prod(self.output_shape) * self.output_type.dtype.itemsize

    @cached_property
    def image(self) -> tuple[int, int, int]:
        """Input as ``(h, w, c)``; ``(n,)`` is ``(1, 1, n)``."""
        return image_shape(self.input_shape)

    @cached_property
    def output_image(self) -> tuple[int, int, int]:
        return image_shape(self.output_shape)

    @property
    def weights_shape(self) -> tuple[int, ...]:
        """Of the weights that the layer takes; ``()`` for operations without."""
        return self.row.constants(self).get("weights", ())

    @property
    def bias_shape(self) -> tuple[int, ...]:
        """Of the bias that the layer takes; ``()`` for operations without."""
        return self.row.constants(self).get("bias", ())

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one inference; 0 for operations without weights."""
        return self.row.macs(self)

    @property
    def is_in_place(self) -> bool:
        """Whether the output may overwrite the input: element-wise operations."""
        return bool(self.row.in_place)

    def place_inside(self, index: int) -> int | None:
        """Where input `index` may lie in the memory of the output, in bytes from its start; None: nowhere.

        What goes element by element overwrites an input of its size; a part of a concatenation may be where it goes.
        """
        if self.output_type.bits != self.type.bits or not (self.row.in_place or self.row.is_joined):
            return None
        sizes = [self.samples * prod(shape) * self.type.bits // 8 for shape in self.input_shapes]
        if self.row.is_joined and self.samples * self.input_shape[0] == 1:
            return sum(sizes[:index])
        return 0 if index in self.row.in_place and sizes[index] == self.output_bytes else None


def image_shape(shape: tuple[int, ...]) -> tuple[int, int, int]:
    if len(shape) == 3:
        return shape[0], shape[1], shape[2]
    return 1, 1, prod(shape)
