# SPDX-License-Identifier: Apache-2.0
"""A quantised file as a graph of layers: what readers of files build it with, whichever format they read.

Readers know scales, zero points and shapes; here they become schemes, layers and nodes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import numpy as np

from cmsisnn_x.affine import Affine, AffineClamp, AffineSum, activation_range, kernel_multiplier
from cmsisnn_x.checks import check_layer
from cmsisnn_x.errors import CmsisnnError
from cmsisnn_x.graph import Graph, Node, State, Tensor
from cmsisnn_x.layers import Layer, View
from cmsisnn_x.scheme import TENSOR_TYPES

from ..base.names import LONGEST

ARITHMETICS = ("tflm", "litert")
"""Which program's bytes: TensorFlow Lite Micro's on a device, or LiteRT's reference kernels'."""
MOST_BYTES = 1 << 28
"""Of all constants of a graph: files may use the same weights any number of times."""


class Refused(Exception):
    """Why a node of a file is not taken; readers collect these into one `ModelError`."""


@dataclass(frozen=True)
class Quantised:
    """A tensor of a file as layers see it."""

    name: str
    shape: tuple[int, ...]
    type: str
    scale: float
    zero_point: int
    value: np.ndarray | None = field(default=None, repr=False, compare=False)

    @property
    def size(self) -> int:
        return prod(self.shape)

    @property
    def limits(self) -> tuple[int, int]:
        own = TENSOR_TYPES[self.type]
        return own.low, own.high

    def is_scaled_as(self, other: Quantised) -> bool:
        """Whether its integers stand for the same numbers."""
        return (self.type, self.scale, self.zero_point) == (other.type, other.scale, other.zero_point)


class GraphBuilder:
    """Collects tensors and nodes in order of execution.

    Parameters
    ----------
    arithmetic : {"tflm", "litert"}
    reserved : iterable of str
        Names of layers that the file gives: no other layer gets them.
    """

    def __init__(self, arithmetic: str, reserved: Iterable[str] = ()) -> None:
        self.arithmetic = arithmetic
        self.reserved = {name.lower() for name in reserved}
        self.own = ""
        """What the file calls the layer that is being added."""
        self.variant: Mapping[str, object] = {}
        """Knobs that the file pins in it."""
        self.tensors: dict[str, Tensor] = {}
        self.nodes: list[Node] = []
        self.names: set[str] = set()
        self.written: set[str] = set()
        """Tensors that a node writes."""
        self.bytes = 0
        """Of constants, those that are used twice counted twice."""

    def tensor(self, item: Quantised) -> str:
        """Make a tensor known; its name."""
        if item.name not in self.tensors:
            own = TENSOR_TYPES[item.type]
            if item.value is not None:
                self.require_room(item.value.nbytes)
            value = None if item.value is None else np.asarray(item.value, own.dtype, order="C")
            self.tensors[item.name] = Tensor(item.name, item.shape, own, value, item.scale, item.zero_point)
        return item.name

    def add(self, name: str, op: str, inputs: Sequence[Quantised], output: Quantised, **fields: Any) -> Quantised:
        """Add a node; shapes of one sample are in `fields`, or those of the tensors.

        The name is made unique by a number behind it.
        """
        fields.setdefault("input_shape", inputs[0].shape or (1,))
        fields.setdefault("output_shape", output.shape or (1,))
        if output.type != inputs[0].type:
            fields["output_dtype"] = output.type
        unique = self._unique(name)
        layer = Layer(unique, op, inputs[0].type, **fields)
        self.require_room(sum(one.nbytes for one in (layer.weights, layer.bias, layer.table) if one is not None))
        try:
            check_layer(layer)
        except CmsisnnError as problem:
            raise Refused(str(problem).removeprefix(f"layer {unique!r}: ")) from None
        names = tuple(self.tensor(item) for item in inputs)
        self.nodes.append(Node(unique, op, names, (self.tensor(output),), layer))
        self.names.add(unique)
        self.written.add(output.name)
        return output

    def _unique(self, name: str) -> str:
        """`name`, or one like it that no other layer has; names of the file are left to their layers."""
        if self.own and name != self.own:
            name = re.sub("_+", "_", name)
            name = name if len(name) <= LONGEST else f"{name[: LONGEST // 2]}_{name[LONGEST // 2 + 2 :][-20:]}"
        unique, count = name, 1
        while unique in self.names or (unique != self.own and unique.lower() in self.reserved):
            count += 1
            unique = f"{name}_{count}"
        return unique

    def require_room(self, more: int) -> None:
        """Count bytes of constants."""
        self.bytes += more
        if self.bytes > MOST_BYTES:
            raise Refused(f"expected at most {MOST_BYTES:,} bytes of constants in all")

    def graph(self, inputs: Sequence[str], outputs: Sequence[str], states: Sequence[State] = ()) -> Graph:
        """What was collected, without nodes that nobody reads."""
        wanted = {*outputs, *(state.write for state in states)}
        kept: list[Node] = []
        for node in reversed(self.nodes):
            if wanted & set(node.outputs):
                kept.append(node)
                wanted |= set(node.inputs)
        wanted |= set(inputs)
        tensors = [tensor for tensor in self.tensors.values() if tensor.name in wanted]
        return Graph(tensors, reversed(kept), inputs, outputs, states)

    # ------------------------------------------------------------ layers

    def weighted(
        self,
        name: str,
        op: str,
        x: Quantised,
        weights: np.ndarray,
        weight_scales: np.ndarray,
        bias: np.ndarray | None,
        output: Quantised,
        activation: str | None,
        **fields: Any,
    ) -> None:
        """A layer of products: `weights` as the layer takes them, scales one per output channel or one for all."""
        if len(weight_scales) > 1 and (weight_scales == weight_scales[0]).all():
            weight_scales = weight_scales[:1]
        factors = [float(x.scale) * float(scale) / float(output.scale) for scale in weight_scales]
        pairs = [kernel_multiplier(factor) for factor in factors]
        low, high = activation_range(activation, output.type, output.scale, output.zero_point)
        exact = op == "fully_connected" and self.arithmetic == "litert"
        scheme = Affine(
            x.zero_point, output.zero_point, tuple(q for q, _ in pairs), tuple(e for _, e in pairs), low, high,
            "float" if exact else "double", tuple(factors) if exact else (), 8 * TENSOR_TYPES[x.type].dtype.itemsize,
        )  # fmt: skip
        self.add(
            name, op, [x], output, scheme=scheme, weights=weights, bias=bias, weights_dtype="int8",
            variant=dict(self.variant), **fields,
        )  # fmt: skip

    def table(self, name: str, x: Quantised, output: Quantised, values: np.ndarray) -> None:
        """A function of a byte: `values` for the bytes 0..255 as they are."""
        size = (x.size,)
        own = np.ascontiguousarray(values, TENSOR_TYPES[output.type].dtype)
        self.add(
            name, "look_up", [x], output, input_shape=size, output_shape=size, table=own,
            scheme=AffineClamp(*output.limits),
        )  # fmt: skip

    def copy(self, name: str, x: Quantised, output: Quantised, view: View) -> None:
        """Elements of `x` in another order."""
        self.add(
            name, "copy", [x], output, input_shape=(x.size,), output_shape=(output.size,), view=simplify(view),
            scheme=AffineClamp(*output.limits),
        )  # fmt: skip

    def broadcast(self, name: str, x: Quantised, shape: tuple[int, ...]) -> Quantised:
        """`x` as one that may stand beside a tensor of `shape`: as it is where it repeats itself, else spread out."""
        own = (1,) * (len(shape) - len(x.shape)) + x.shape
        at = next((axis for axis, size in enumerate(own) if size != 1), len(own))
        if own[at:] == shape[at:]:
            return x
        spread = Quantised(f"{name}_{x.name}", shape, x.type, x.scale, x.zero_point)
        strides = strides_of(own)
        steps = tuple(0 if size == 1 else step for size, step in zip(own, strides, strict=True))
        if x.value is not None:
            return replace(spread, value=self._repeated(x.value.reshape(own), shape))
        self.copy(f"{name}_spread", x, spread, View(shape, steps))
        return spread

    def _repeated(self, value: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """A constant spread over `shape`."""
        self.require_room(prod(shape) * value.itemsize)
        return np.ascontiguousarray(np.broadcast_to(value, shape))

    def _whole(self, name: str, x: Quantised, output: Quantised) -> Quantised:
        """`x`, which repeats itself, as often as makes it as long as the output."""
        if x.size == output.size:
            return x
        full = Quantised(f"{name}_{x.name}_whole", output.shape, x.type, x.scale, x.zero_point)
        repeats = output.size // x.size
        if x.value is not None:
            return replace(full, value=self._repeated(x.value.reshape(-1), (repeats, x.size)).reshape(output.shape))
        self.copy(f"{name}_whole", x, full, View((repeats, x.size), (0, 1)))
        return full

    def pair(self, name: str, op: str, a: Quantised, b: Quantised, output: Quantised, scheme: Any) -> None:
        """An operation of two tensors; the first is whole, the second may repeat itself."""
        if a.value is not None and b.value is not None:
            raise Refused("both inputs are constants")
        a, b = (self.broadcast(name, item, output.shape) for item in (a, b))
        is_difference = isinstance(scheme, AffineSum) and scheme.sign < 0
        if a.size < output.size and b.size == output.size and not is_difference:
            a, b, scheme = b, a, swapped(scheme)
        a = self._whole(name, a, output)
        self.add(
            name, op, [a, b], output, input_shape=(a.size,), more_inputs=((b.size,),), output_shape=(output.size,),
            scheme=scheme,
        )  # fmt: skip


def swapped(scheme: Any) -> Any:
    """The scheme of the same operation with its inputs exchanged."""
    if hasattr(scheme, "left"):
        return replace(scheme, left=scheme.right, right=scheme.left)
    if hasattr(scheme, "left_zero_point"):
        return replace(
            scheme, left_zero_point=scheme.right_zero_point, right_zero_point=scheme.left_zero_point
        )  # fmt: skip
    return scheme


def strides_of(shape: Sequence[int]) -> tuple[int, ...]:
    """Elements from one index of an axis to the next."""
    return tuple(prod(shape[axis + 1 :]) for axis in range(len(shape)))


def simplify(view: View) -> View:
    """The same elements over as few axes as there can be: axes of one element go, neighbours that continue join."""
    shape: list[int] = []
    steps: list[int] = []
    for size, step in zip(view.shape, view.steps, strict=True):
        if size == 1:
            continue
        if shape and steps[-1] == step * size:
            shape[-1], steps[-1] = shape[-1] * size, step
        else:
            shape.append(size)
            steps.append(step)
    return View(tuple(shape) or (1,), tuple(steps) or (1,), view.offset)


def is_identity(view: View, size: int) -> bool:
    """Whether a copy of an input of `size` elements changes nothing."""
    own = simplify(view)
    return own.offset == 0 and own.shape == (size,) and (own.steps == (1,) or size == 1)
