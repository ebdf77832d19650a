# SPDX-License-Identifier: Apache-2.0
"""One layer of a network, all shapes and parameters resolved; the model file's keys are its field names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod

import numpy as np

from .op import Op, row_of
from .scheme import TENSOR_TYPES, Pow2, TensorType

NUMPY_DTYPES: dict[str, np.dtype] = {name: item.dtype for name, item in TENSOR_TYPES.items()}


@dataclass(frozen=True, eq=False)
class Layer:
    """A layer of a network.

    `input_shape` and `output_shape` are ``(h, w, c)`` or ``(n,)``; `kernel`, `stride` are ``(y, x)``; `padding` is
    ``((top, bottom), (left, right))`` as it follows from the output size. `dtype` is that of the activations,
    `weights_dtype` that of weights and bias. `weights` and `bias` have the shapes of the Python functions.
    `variant` holds the knobs that the model file pins. Its neighbours are the graph's affair:
    :class:`cmsisnn_x.graph.Graph`.
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

    @property
    def row(self) -> Op:
        """The row of its operation."""
        return row_of(self.op)

    @property
    def python_op(self) -> str:
        return self.row.name

    @property
    def type(self) -> TensorType:
        """Of input and output."""
        return TENSOR_TYPES[self.dtype]

    @property
    def weights_type(self) -> TensorType:
        """Of weights and bias; that of the activations where nothing else is said."""
        return TENSOR_TYPES[self.weights_dtype or self.dtype]

    @property
    def numpy_dtype(self) -> np.dtype:
        return NUMPY_DTYPES[self.dtype]

    @property
    def requant(self) -> Pow2:
        """How accumulators start and become outputs; what the fields of shifts and activation spell."""
        return Pow2.of(self.dtype, self.bias_shift, self.out_shift, self.activation)

    @property
    def input_bytes(self) -> int:
        return prod(self.input_shape) * self.numpy_dtype.itemsize

    @property
    def output_bytes(self) -> int:
        return prod(self.output_shape) * self.numpy_dtype.itemsize

    @property
    def image(self) -> tuple[int, int, int]:
        """Input as ``(h, w, c)``; ``(n,)`` is ``(1, 1, n)``."""
        return image_shape(self.input_shape)

    @property
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


def image_shape(shape: tuple[int, ...]) -> tuple[int, int, int]:
    if len(shape) == 3:
        return shape[0], shape[1], shape[2]
    return 1, 1, prod(shape)
