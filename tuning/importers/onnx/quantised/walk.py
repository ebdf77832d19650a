# SPDX-License-Identifier: Apache-2.0
"""From a quantised ONNX network to operators of `.tflite` files: the state of one translation, and what the
translators of its operators ask.

Between DequantizeLinear and QuantizeLinear an operator stands in float, but what is meant is one of integers. So a
result waits until QuantizeLinear says its scale (`Waiting`), and only then becomes an operator. Every value knows how
it is stored (`layout`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import replace
from math import inf, isinf, prod
from typing import Any

import numpy as np

from ...integer_graph import Refused
from ...tflite.build import FileBuilder
from ..file import Node, OnnxNetwork
from .items import Constant, Curve, Goal, Item, Numbers, Real, Stored, Waiting, shape_of
from .layout import Layout, image_axes

MOST_ELEMENTS = 1 << 28
"""Of a tensor: well above what a microcontroller holds."""
ACTIVATIONS = {(0.0, inf): "RELU", (0.0, 6.0): "RELU6", (-1.0, 1.0): "RELU_N1_TO_1"}
FUSED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "ADD", "SUB", "MUL")


class Walk:
    """What is known while the nodes are read one after the other; translators read and write it."""

    def __init__(self, network: OnnxNetwork) -> None:
        self.network = network
        self.to = FileBuilder()
        self.items: dict[str, Item | None] = {}
        """By the file's names; None where a node was not taken."""
        self.node = -1
        """The node that is being read, by its place; operators are added for it."""
        self.origin: list[int] = []
        """Of each operator, the node that it is for."""
        self.reshapes: dict[tuple[int, tuple[int, ...]], int] = {}
        self.transposes: dict[tuple[int, tuple[int, ...], tuple[int, ...]], int] = {}
        self.in_integers = False
        """Whether another scale, and a clamp, are operators of integers; else floats between, which round once."""
        self.floats: dict[int, int] = {}
        """Tensors of integers, and the floats that DEQUANTIZE makes of them."""

    # ------------------------------------------------------------ tensors and operators

    def op(self, code: str, inputs: Sequence[int], outputs: Sequence[int], **options: Any) -> None:
        self.to.op(code, inputs, outputs, **options)
        self.origin.append(self.node)

    @contextmanager
    def on_behalf_of(self, node: int) -> Any:
        """Operators that are added meanwhile are those of another node."""
        before, self.node = self.node, node
        try:
            yield
        finally:
            self.node = before

    def tensor(self, name: str, shape: Sequence[int], numbers: Numbers) -> int:
        if prod(shape) > MOST_ELEMENTS:
            raise Refused(f"expected at most {MOST_ELEMENTS:,} elements of a tensor, got {list(shape)}")
        if min(shape, default=1) < 1:
            raise Refused(f"expected sizes above 0, got {list(shape)}")
        return self.to.tensor(name, shape, numbers.type, np.float32(numbers.scale), numbers.zero_point)

    def constant(self, values: Any, dtype: Any = np.int32) -> int:
        return self.to.tensor("", data=np.asarray(values, dtype))

    def stored(self, name: str, shape: Sequence[int], layout: Layout, numbers: Numbers) -> Stored:
        return Stored(self.tensor(name, shape, numbers), layout, numbers)

    def file_shape(self, index: int) -> tuple[int, ...]:
        return self.to.tensors[index].shape

    # ------------------------------------------------------------ arrangement

    def shaped(self, index: int, shape: Sequence[int]) -> int:
        """The tensor in another shape, which moves nothing."""
        key = (index, tuple(shape))
        if self.file_shape(index) == key[1]:
            return index
        if key not in self.reshapes and (data := self.to.tensors[index].data) is not None:
            self.reshapes[key] = self._like(index, shape, data.reshape(shape))
        elif key not in self.reshapes:
            made = self._like(index, shape)
            self.op("RESHAPE", [index, self.constant(key[1])], [made], new_shape=key[1])
            self.reshapes[key] = made
        return self.reshapes[key]

    def _like(self, index: int, shape: Sequence[int], data: np.ndarray | None = None) -> int:
        old = self.to.tensors[index]
        return self.to.tensor(old.name, shape, old.type, old.scale, old.zero_point, data=data)

    def ordered(self, value: Stored, order: Sequence[int], shape: Sequence[int]) -> int:
        """The elements in this order of their factors, which may cost a transposition."""
        index, layout = value.tensor, value.layout
        if tuple(order) != layout.order:
            permutation = tuple(layout.order.index(factor) for factor in order)
            key = (index, layout.stored, permutation)
            if key not in self.transposes:
                given = self.shaped(index, layout.stored)
                data = self.to.tensors[given].data
                moved = None if data is None else data.transpose(permutation)
                made = self._like(index, [layout.stored[at] for at in permutation], moved)
                if moved is None:
                    self.op("TRANSPOSE", [given, self.constant(permutation)], [made])
                self.transposes[key] = made
            index = self.transposes[key]
        return self.shaped(index, shape)

    def by_axes(self, value: Stored, axes: Sequence[int]) -> int:
        """Whole axes in this order, as the axes of a tensor."""
        shape = value.layout.shape
        return self.ordered(value, value.layout.by_axes(axes), [shape[axis] for axis in axes])

    def plain(self, value: Stored) -> Stored:
        """As ONNX has it."""
        shape = value.layout.shape
        return replace(value, tensor=self.by_axes(value, range(len(shape))), layout=Layout.of(shape))

    def whole_axes(self, value: Stored) -> tuple[Stored, tuple[int, ...]]:
        """The value with whole axes, in any order, and that order."""
        axes = value.layout.axes_order()
        if axes is None:
            value, axes = self.plain(value), tuple(range(len(value.layout.axes)))
        shape = value.layout.shape
        return replace(value, tensor=self.by_axes(value, axes), layout=Layout.of(shape, axes)), axes

    def image(self, value: Stored) -> int:
        """A batch of images, channels last; sequences are of height 1."""
        shape = value.layout.shape
        if len(shape) not in (3, 4):
            raise Refused(f"expected an image [batch, channels, height, width] or a sequence, got shape {list(shape)}")
        axes = image_axes(len(shape))
        own = [shape[axis] for axis in axes]
        if len(own) == 3:
            own.insert(1, 1)
        return self.ordered(value, value.layout.by_axes(axes), own)

    def reshaped(self, value: Stored, shape: Sequence[int]) -> Stored:
        layout = value.layout.reshaped(shape)
        if layout is None:
            value = self.plain(value)
            layout = Layout.of(shape)
        return replace(value, layout=layout)

    # ------------------------------------------------------------ numbers

    def real(self, base: Stored) -> int:
        """The floats that integers stand for."""
        if base.tensor not in self.floats:
            made = self.to.tensor(self.to.tensors[base.tensor].name, self.file_shape(base.tensor), "FLOAT32")
            self.op("DEQUANTIZE", [base.tensor], [made])
            self.floats[base.tensor] = made
        return self.floats[base.tensor]

    def requantised(self, base: Stored, numbers: Numbers, name: str) -> Stored:
        """The same at another scale: rounded once, as floats between would be."""
        if base.numbers.is_same(numbers):
            return replace(base, numbers=numbers)
        made = self.stored(name, self.file_shape(base.tensor), base.layout, numbers)
        is_wide = self.in_integers or "INT16" in (base.numbers.type, numbers.type)
        self.op("QUANTIZE", [base.tensor if is_wide else self.real(base)], [made.tensor])
        return made

    def clamped(self, base: Stored, low: float, high: float) -> Stored:
        """Between two numbers, at the scale that it has."""
        numbers, (lowest, highest) = base.numbers, base.numbers.limits
        if numbers.quantise(low) == lowest and numbers.quantise(high) == highest:
            return base
        made = self.stored(self.to.tensors[base.tensor].name, self.file_shape(base.tensor), base.layout, numbers)
        if numbers.type == "INT16" and (low, high) in ACTIVATIONS:
            self.op(ACTIVATIONS[low, high], [base.tensor], [made.tensor])
            return made
        if numbers.type == "INT16" or self.in_integers:
            return self._between(base, low, high, made)
        current = self.real(base)
        for code, limit in (("MAXIMUM", low), ("MINIMUM", high)):
            if not isinf(limit):
                following = self.to.tensor("", self.file_shape(base.tensor), "FLOAT32")
                self.op(code, [current, self.constant([limit], np.float32)], [following])
                current = following
        self.op("QUANTIZE", [current], [made.tensor])
        return made

    def _between(self, base: Stored, low: float, high: float, made: Stored) -> Stored:
        """Integers between two others."""
        numbers, current = base.numbers, base.tensor
        limits = [(code, limit) for code, limit in (("MAXIMUM", low), ("MINIMUM", high)) if not isinf(limit)]
        for at, (code, limit) in enumerate(limits, 1):
            end = np.array([numbers.quantise(limit)], np.int16 if numbers.type == "INT16" else np.int8)
            constant = self.to.tensor("", scale=numbers.scale, zero_point=numbers.zero_point, data=end)
            following = made.tensor
            if at < len(limits):
                following = self.tensor(self.to.tensors[base.tensor].name, self.file_shape(base.tensor), numbers)
            self.op(code, [current, constant], [following])
            current = following
        return made

    def quantised(self, item: Item, numbers: Numbers, name: str) -> Stored:
        """What QuantizeLinear makes of floats."""
        if isinstance(item, Real):
            return self.requantised(item.base, numbers, name)
        if isinstance(item, Waiting):
            return self._finished(item, numbers, name)
        if isinstance(item, Curve):
            made = self.stored(name, self.file_shape(item.tensor), item.layout, numbers)
            self.op("QUANTIZE", [item.tensor], [made.tensor])
            return made
        raise Refused("expected floats")

    def signed(self, value: Stored, numbers: Numbers) -> Stored:
        """int8 in place of uint8."""
        if self.to.tensors[value.tensor].type != "UINT8":
            return replace(value, numbers=numbers)
        name = self.to.tensors[value.tensor].name
        made = self.stored(name, self.file_shape(value.tensor), value.layout, numbers)
        self.op("QUANTIZE", [value.tensor], [made.tensor])
        return made

    def rounded(self, item: Curve, name: str) -> Stored:
        """A function that the file leaves in float, in 8 bits over all that it can be."""
        if item.fixed is not None:
            return self.quantised(item, item.fixed, name)
        low, high = min(float(item.values.min()), 0.0), max(float(item.values.max()), 0.0)
        if not (np.isfinite([low, high]).all() and low < high):
            raise Refused(f"its input {name!r} is a float function without a range")
        scale = float(np.float32((high - low) / 255))
        return self.quantised(item, Numbers("INT8", scale, int(np.rint(-128 - low / scale))), name)

    def _finished(self, item: Waiting, numbers: Numbers, name: str) -> Stored:
        key = (numbers, item.low, item.high)
        if key not in item.made:
            with self.on_behalf_of(item.node):
                activation = ACTIVATIONS.get((item.low, item.high), "NONE")
                before = len(self.to.ops)
                value = item.make(Goal(numbers, name, activation))
                fused = any(
                    op.options.get("fused_activation_function", "NONE") != "NONE" for op in self.to.ops[before:]
                )
                if not fused and (item.low, item.high) != (-inf, inf):
                    value = self.clamped(value, item.low, item.high)
            for move in item.then:
                value = move(value)
            item.made[key] = value
        return item.made[key]

    # ------------------------------------------------------------ inputs of a node

    def has(self, node: Node, place: int) -> bool:
        return place < len(node.inputs) and node.inputs[place] != ""

    def item(self, node: Node, place: int = 0) -> Item:
        if not self.has(node, place):
            raise Refused(f"expected an input {place}, got none")
        name = node.inputs[place]
        found = self.items.get(name)
        if found is None:
            raise Refused(f"its input {name!r} is made by nothing")
        return found

    def known(self, node: Node, place: int, what: str) -> np.ndarray:
        """Values of a constant input."""
        found = self.item(node, place)
        if not isinstance(found, Constant):
            raise Refused(f"{what}: expected a constant, got {node.inputs[place]!r}, which is computed")
        return found.values

    def integers(self, item: Item, name: str) -> Stored:
        """The integers behind an input, which must stand for it and nothing else."""
        if isinstance(item, Real):
            return item.base
        if isinstance(item, Stored):
            return item
        if isinstance(item, Curve):
            return self.rounded(item, name)
        if isinstance(item, Waiting) and item.default is not None:
            return self.quantised(item, item.default, name)
        if isinstance(item, Constant):
            raise Refused(f"its input {name!r} is a constant")
        raise Refused(
            f"its input {name!r} is float: expected QuantizeLinear and DequantizeLinear in front of it "
            "(quantize_static with QuantFormat.QDQ puts them there, but around some: Sub, Max, Min)"
        )

    def input(self, node: Node, place: int = 0) -> Stored:
        return self.integers(self.item(node, place), node.inputs[place])

    def numbers(self, node: Node, attribute: str, place: int) -> list[int] | None:
        """A list that newer operator sets take as an input and older ones as an attribute."""
        if self.has(node, place):
            return [int(value) for value in np.atleast_1d(self.known(node, place, attribute))]
        return node.numbers(attribute)

    def wait(self, shape: Sequence[int], make: Callable[[Goal], Stored], **more: Any) -> Waiting:
        return Waiting(self.node, tuple(shape), make, **more)

    def axis(self, axis: int, item: Item) -> int:
        rank = len(shape_of(item))
        if not -rank <= axis < rank:
            raise Refused(f"expected an axis of {rank}, got {axis}")
        return axis % rank


Translator = Callable[[Walk, Node], Item | list[Item]]
