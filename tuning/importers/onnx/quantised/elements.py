# SPDX-License-Identifier: Apache-2.0
"""Operators of quantised ONNX networks that work element by element."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import inf, prod

import numpy as np

from ...integer_graph import Refused
from ...tflite.converters.elements import FLOAT_CURVES, FLOAT_PAIRS
from ..file import Node
from .items import Constant, Curve, Goal, Item, Numbers, Real, Stored, Waiting, finite, shape_of
from .layout import Layout, common_axes, image_axes
from .products import Product, Weights
from .walk import Translator, Walk

# ---------------------------------------------------------------- functions of one number


def curve(walk: Walk, node: Node, item: Item, name: str) -> Curve:
    """Floats that are a function of the bytes of one tensor."""
    if isinstance(item, Curve):
        return item
    base = walk.integers(item, name)
    if base.numbers.type == "INT16":
        raise Refused("a function of int16: 8 bits can be taken")
    low, high = base.numbers.limits
    steps = np.arange(low, high + 1) - base.numbers.zero_point
    return Curve(base, walk.real(base), base.layout, (np.float64(base.numbers.scale) * steps).astype(np.float32))


def applied(walk: Walk, item: Curve, code: str, **options: object) -> Curve:
    """A function of a curve."""
    made = walk.to.tensor("", walk.file_shape(item.tensor), "FLOAT32")
    walk.op(code, [item.tensor], [made], **options)
    values = FLOAT_CURVES[code](walk.to.ops[-1], item.values)
    return replace(item, tensor=made, values=values, fixed=FIXED[code]["INT8"] if code in FIXED else None)


def combined(walk: Walk, item: Curve, code: str, other: int, values: np.ndarray) -> Curve:
    """A function of a curve and of other floats."""
    made = walk.to.tensor("", walk.file_shape(item.tensor), "FLOAT32")
    walk.op(code, [item.tensor, other], [made])
    return replace(item, tensor=made, values=FLOAT_PAIRS[code](item.values, values), fixed=None)


def with_number(walk: Walk, item: Curve, code: str, number: float) -> Curve:
    found = np.array([number], np.float32)
    return combined(walk, item, code, walk.constant(found, np.float32), found)


def unary(code: str) -> Callable[[Walk, Node], Item]:
    def translate(walk: Walk, node: Node) -> Item:
        return applied(walk, curve(walk, node, walk.item(node), node.inputs[0]), code)

    return translate


def attribute(node: Node, name: str, default: float) -> float:
    value = node.attributes.get(name)
    found = float(default if value is None else value)
    if not np.isfinite(found):
        raise Refused(f"{name}: expected a finite number, got {found}")
    return found


def _leaky_relu(walk: Walk, node: Node) -> Item:
    return leaky(walk, node, attribute(node, "alpha", 0.01))


def leaky(walk: Walk, node: Node, alpha: float) -> Item:
    item = walk.item(node)
    if isinstance(item, Real) and item.base.numbers.type == "INT16":
        base = item.base

        def make(goal: Goal) -> Stored:
            made = walk.stored(goal.name, walk.file_shape(base.tensor), base.layout, goal.numbers)
            walk.op("LEAKY_RELU", [base.tensor], [made.tensor], alpha=alpha)
            return made

        return walk.wait(base.layout.shape, make)
    return applied(walk, curve(walk, node, item, node.inputs[0]), "LEAKY_RELU", alpha=alpha)


def _prelu(walk: Walk, node: Node) -> Item:
    slopes = finite(walk.known(node, 1, "slope"), "slope").reshape(-1)
    if not slopes.size or (slopes != slopes[0]).any():
        raise Refused("slopes that differ by channel: one for all can be taken")
    return leaky(walk, node, float(slopes[0]))


def _hard_sigmoid(walk: Walk, node: Node) -> Item:
    item = curve(walk, node, walk.item(node), node.inputs[0])
    item = with_number(walk, item, "MUL", attribute(node, "alpha", 0.2))
    item = with_number(walk, item, "ADD", attribute(node, "beta", 0.5))
    return with_number(walk, with_number(walk, item, "MAXIMUM", 0), "MINIMUM", 1)


FIXED = {"LOGISTIC": {"INT8": Numbers("INT8", 2.0**-8, -128), "INT16": Numbers("INT16", 2.0**-15, 0)},
         "TANH": {"INT8": Numbers("INT8", 2.0**-7, 0), "INT16": Numbers("INT16", 2.0**-15, 0)}}  # fmt: skip
"""The one scale that these functions of `.tflite` files give."""


def _squashing(code: str) -> Translator:
    def translate(walk: Walk, node: Node) -> Item:
        item = walk.item(node)
        if not (isinstance(item, Real) and item.base.numbers.type == "INT16"):
            return unary(code)(walk, node)
        base = item.base

        def make(goal: Goal) -> Stored:
            made = walk.stored(goal.name, walk.file_shape(base.tensor), base.layout, FIXED[code]["INT16"])
            walk.op(code, [base.tensor], [made.tensor])
            return walk.requantised(made, goal.numbers, goal.name)

        return walk.wait(base.layout.shape, make, default=FIXED[code]["INT16"])

    return translate


# ---------------------------------------------------------------- clamps


def clip(walk: Walk, node: Node, item: Item, name: str, low: float, high: float) -> Item:
    if np.isnan([low, high]).any():
        raise Refused("expected numbers as limits, got NaN")
    if low > high:
        raise Refused(f"expected a lower limit below the upper one, got {low:g} and {high:g}")
    if isinstance(item, Waiting):
        return item.clipped(low, high)
    if isinstance(item, Real) and ((low, high) == (0, inf) or item.base.numbers.type == "INT16"):
        # Exact at the scale that it has; what is moved behind it stays integers.
        return Real(walk.clamped(item.base, low, high))
    found = curve(walk, node, item, name)
    for code, limit in (("MAXIMUM", low), ("MINIMUM", high)):
        if np.isfinite(limit):
            found = with_number(walk, found, code, limit)
    return found


def _relu(walk: Walk, node: Node) -> Item:
    return clip(walk, node, walk.item(node), node.inputs[0], 0, inf)


def _clip(walk: Walk, node: Node) -> Item:
    limits = []
    for place, name, default in ((1, "min", -inf), (2, "max", inf)):
        value = node.attributes.get(name)
        limit = default if value is None else float(value)
        if walk.has(node, place):
            values = walk.known(node, place, name).reshape(-1)
            if values.size != 1:
                raise Refused(f"{name}: expected one number, got {values.size}")
            limit = float(values[0])
        limits.append(inf * np.sign(limit) if abs(limit) > 3e38 else limit)
    return clip(walk, node, walk.item(node), node.inputs[0], *limits)


# ---------------------------------------------------------------- of two tensors


CODES = {"Add": "ADD", "Sub": "SUB", "Mul": "MUL", "Div": "DIV", "Max": "MAXIMUM", "Min": "MINIMUM"}


def _number(item: Item) -> float | None:
    """The one number that a constant is."""
    if not isinstance(item, Constant) or item.size != 1:
        return None
    return float(finite(item.values, "constant").reshape(-1)[0])


def _pair(walk: Walk, node: Node) -> Item:
    if len(node.inputs) != 2:
        raise Refused(f"expected two inputs, got {len(node.inputs)}")
    a, b = walk.item(node), walk.item(node, 1)
    number = _number(b)
    if node.op in ("Max", "Min") and (number is not None or _number(a) is not None):
        limit = float(number if number is not None else _number(a) or 0.0)
        other, name = (a, node.inputs[0]) if number is not None else (b, node.inputs[1])
        return clip(walk, node, other, name, *((limit, inf) if node.op == "Max" else (-inf, limit)))
    for one, other in ((a, b), (b, a)):
        if node.op == "Add" and isinstance(one, Waiting) and isinstance(other, Constant):
            return _with_bias(one, other)
    found = _curves(walk, node, a, b)
    if found is not None:
        return found
    affine = _per_channel(walk, node, a, b)
    if affine is not None:
        return affine
    return pair(walk, node.op, a, b, (node.inputs[0], node.inputs[1]))


def _with_bias(item: Waiting, bias: Constant) -> Item:
    """A constant for each channel that is added to a product."""
    rank, channels = len(item.shape), item.shape[-1] if item.shape else 1
    shape = (1,) * (rank - len(bias.shape)) + bias.shape
    if item.with_bias is None or rank < 2 or prod(shape[:-1]) != 1 or shape[-1] not in (1, channels):
        raise Refused("a constant that is added to a result that is not quantised: a bias of MatMul can be taken")
    return item.with_bias(finite(bias.values, "bias").reshape(-1))


def _curves(walk: Walk, node: Node, a: Item, b: Item) -> Item | None:
    """A function of a byte: of one tensor and a number, or of the same tensor on both sides."""
    for one, other, is_swapped in ((a, b, False), (b, a, True)):
        number = _number(other)
        if number is None or not isinstance(one, Real | Curve):
            continue
        if isinstance(one, Real) and one.base.numbers.type == "INT16":
            return None
        item = curve(walk, node, one, node.inputs[is_swapped])
        shape = shape_of(other)
        if len(shape) > len(shape_of(one)):
            return None
        if node.op == "Div" and not is_swapped:
            if number == 0:
                raise Refused("a division by 0")
            return with_number(walk, item, "DIV", number)
        if node.op == "Sub" and is_swapped:
            return with_number(walk, applied(walk, item, "NEG"), "ADD", number)
        if node.op == "Div":
            raise Refused("a number divided by a tensor")
        return with_number(walk, item, CODES[node.op], number)
    both = (a, b)
    if not any(isinstance(item, Curve) for item in both) or not all(isinstance(item, Real | Curve) for item in both):
        return None
    one, other = (curve(walk, node, item, name) for item, name in zip(both, node.inputs, strict=True))
    if one.base.tensor != other.base.tensor or one.layout != other.layout:
        return None
    return combined(walk, one, CODES[node.op], other.tensor, other.values)


def _per_channel(walk: Walk, node: Node, a: Item, b: Item) -> Item | None:
    """A float constant for each channel of an image, wherever its axis is: a depthwise convolution of one element."""
    if not isinstance(b, Constant) and node.op in ("Add", "Mul"):
        a, b = b, a
    if not (isinstance(a, Real) and isinstance(b, Constant)) or node.op in ("Max", "Min"):
        return None
    rank, shape = len(shape_of(a)), b.shape
    shape = (1,) * (rank - len(shape)) + shape
    axis = next((axis for axis in range(1, rank) if len(shape) == rank and b.size == shape[axis] > 1), 1)
    is_channel = rank > 1 and len(shape) == rank and b.size == shape[axis] == shape_of(a)[axis]
    if not is_channel or (b.integers is not None and node.op != "Div"):
        return None
    values = finite(b.values, "constant").reshape(-1)
    nothing, ones = np.zeros_like(values), np.ones_like(values)
    if node.op == "Div" and not values.all():
        raise Refused("a division by 0")
    scale, shift = {
        "Add": lambda: (ones, values), "Sub": lambda: (ones, -values), "Mul": lambda: (values, nothing),
        "Div": lambda: (1 / values, nothing),
    }[node.op]()  # fmt: skip
    return scaled(walk, a.base, scale, shift, axis)


def scaled(walk: Walk, x: Stored, scale: np.ndarray, shift: np.ndarray, axis: int = 1) -> Waiting:
    """A factor and a summand for each channel."""
    rank, channels = len(x.layout.shape), x.layout.shape[axis]
    axes = (*(other for other in range(rank) if other != axis), axis)
    pixels = prod(x.layout.shape) // channels
    index = walk.ordered(x, x.layout.by_axes(axes), (1, 1, pixels, channels))
    values = np.where(scale < 0, -127, np.where(scale > 0, 127, 0)).astype(np.int8)
    weights = Weights(values.reshape(1, 1, 1, -1), np.where(scale == 0, 1, np.abs(scale) / 127))
    options = {
        "padding": "VALID", "stride_h": 1, "stride_w": 1, "dilation_h_factor": 1, "dilation_w_factor": 1,
        "depth_multiplier": 1,
    }  # fmt: skip
    layout = Layout.of(x.layout.shape, axes)
    product = Product(
        walk, "DEPTHWISE_CONV_2D", x, index, weights, 3, Constant(shift), (1, 1, pixels, channels), layout, options
    )
    return product.waiting(layout.shape)


def _batch_normalization(walk: Walk, node: Node) -> Item:
    names = ("scale", "B", "mean", "var")
    gamma, beta, mean, var = (finite(walk.known(node, 1 + at, name), name) for at, name in enumerate(names))
    x = walk.input(node)
    channels = x.layout.shape[1] if len(x.layout.shape) > 1 else 0
    if any(values.shape != (channels,) for values in (gamma, beta, mean, var)):
        raise Refused(f"expected {channels} numbers of each kind")
    deviation = np.sqrt(var + attribute(node, "epsilon", 1e-5))
    if not (np.isfinite(deviation).all() and deviation.all()):
        raise Refused("var: expected numbers above 0")
    return scaled(walk, x, gamma / deviation, beta - mean * gamma / deviation)


def pair(walk: Walk, op: str, a: Item, b: Item, names: tuple[str, str]) -> Waiting:
    """An operator of two tensors, one of which may be repeated or constant."""
    if op not in CODES or op == "Div":
        raise Refused("no kernel for it")
    items = [operand(walk, item, name) for item, name in zip((a, b), names, strict=True)]
    rank = max(len(item.layout.shape) for item in items)
    left, right = (_of_rank(item, rank) for item in items)
    axes = common_axes(left.layout, right.layout)
    if axes is None:
        left, right = walk.plain(left), walk.plain(right)
        axes = common_axes(left.layout, right.layout)
        assert axes is not None
    own = [_factors(item.layout, axes) for item in (left, right)]
    layout = _order(axes, [(item.layout, found) for item, found in zip((left, right), own, strict=True)])
    # The batch of 1 stays in front, where it costs no RESHAPE.
    lead = [1] if layout.order and layout.axes and not layout.axes[0] else []
    indices = []
    for item, factors in zip((left, right), own, strict=True):
        present = [factor for factor in layout.order if factor in factors]
        finer = item.layout.split([axes[at] if sizes else () for at, sizes in enumerate(item.layout.axes)])
        shape = [*lead, *(layout.sizes[factor] if factor in factors else 1 for factor in layout.order)] or [1]
        index = walk.ordered(replace(item, layout=finer), [factors.index(factor) for factor in present], shape)
        indices.append(index)
    whole = (*lead, *layout.stored) or (1,)

    def make(goal: Goal) -> Stored:
        given = list(indices)
        if op in ("Max", "Min"):  # which compare integers
            given = [
                walk.requantised(Stored(index, layout, item.numbers), goal.numbers, goal.name).tensor
                for index, item in zip(indices, (left, right), strict=True)
            ]
        made = walk.stored(goal.name, whole, layout, goal.numbers)
        options = {} if op in ("Max", "Min") else {"fused_activation_function": goal.activation}
        walk.op(CODES[op], given, [made.tensor], **options)
        return made

    return walk.wait(layout.shape, make)


def operand(walk: Walk, item: Item, name: str) -> Stored:
    """Integers, constants of one scale too."""
    if not isinstance(item, Constant):
        return walk.integers(item, name)
    found = item.integers
    if found is None:
        raise Refused(f"its constant {name!r} is float: expected a quantised one (QuantizeLinear, DequantizeLinear)")
    if found.scale.size != 1:
        raise Refused(f"its constant {name!r}: expected one scale, got {found.scale.size}")
    zero_point, values = int(found.zero_point.reshape(-1)[0]), found.values.astype(np.int64)
    if found.values.dtype in (np.uint8, np.uint16):
        half = 1 << 8 * found.values.dtype.itemsize - 1
        zero_point, values = zero_point - half, values - half
    numbers = Numbers(
        "INT16" if found.values.dtype.itemsize == 2 else "INT8", float(found.scale.reshape(-1)[0]), zero_point
    )
    if found.values.dtype.itemsize > 2 or found.values.dtype.kind not in "iu":
        raise Refused(f"its constant {name!r}: expected 8 or 16 bits, got {found.values.dtype}")
    dtype = np.int16 if numbers.type == "INT16" else np.int8
    index = walk.to.tensor(name, scale=numbers.scale, zero_point=zero_point, data=values.astype(dtype))
    return Stored(index, Layout.of(found.values.shape), numbers)


def _of_rank(item: Stored, rank: int) -> Stored:
    more = rank - len(item.layout.axes)
    return replace(item, layout=Layout(((),) * more + item.layout.axes, item.layout.order))


def _factors(layout: Layout, axes: tuple[tuple[int, ...], ...]) -> list[int]:
    """Which factors of a result a tensor has."""
    found, start = [], 0
    for own, sizes in zip(layout.axes, axes, strict=True):
        found += list(range(start, start + len(sizes))) if own else []
        start += len(sizes)
    return found


def _order(axes: tuple[tuple[int, ...], ...], sides: list[tuple[Layout, list[int]]]) -> Layout:
    """How a result is stored: as the side that has all of its factors, else channels last."""
    count = sum(map(len, axes))
    for layout, factors in sides:
        if len(factors) == count:
            return layout.split(axes)
    plain = Layout(axes, tuple(range(count)))
    return Layout(axes, plain.by_axes(image_axes(len(axes))))


TRANSLATORS: dict[str, Translator] = {
    **dict.fromkeys(CODES, _pair),
    "Abs": unary("ABS"),
    "BatchNormalization": _batch_normalization,
    "Clip": _clip,
    "Exp": unary("EXP"),
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": unary("HARD_SWISH"),
    "LeakyRelu": _leaky_relu,
    "Neg": unary("NEG"),
    "PRelu": _prelu,
    "Relu": _relu,
    "Sigmoid": _squashing("LOGISTIC"),
    "Tanh": _squashing("TANH"),
}
