# SPDX-License-Identifier: Apache-2.0
"""QuantizeLinear, DequantizeLinear, and the operators of ONNX Runtime's QOperator format, which have their numbers as
inputs.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...integer_graph import Refused
from ..file import Node
from .elements import applied, curve, pair
from .items import Constant, Integers, Item, Numbers, Real, Stored
from .moves import concat
from .products import bias_of, convolution, dense, matrix, weights_of
from .reduce import average, mean, softmax
from .walk import Translator, Walk

DYNAMIC = (
    "its scales are computed while it runs: quantise with quantize_static and calibration data, not quantize_dynamic"
)
_TYPES = {"int8": "INT8", "uint8": "INT8", "int16": "INT16"}


def _scales(values: np.ndarray, name: str) -> np.ndarray:
    found = np.atleast_1d(np.asarray(values, np.float32))
    if found.ndim != 1 or not found.size or not (np.isfinite(found) & (found > 0)).all():
        raise Refused(f"scale {name!r}: expected finite numbers above 0")
    return found


def numbers_of(scale: Item, zero_point: Item | None, name: str, default: str = "uint8") -> Numbers:
    """What integers stand for, by an operator's inputs."""
    if not isinstance(scale, Constant) or not (zero_point is None or isinstance(zero_point, Constant)):
        raise Refused(DYNAMIC)
    scales = _scales(scale.values, name)
    zeros = np.zeros(1, default) if zero_point is None else np.atleast_1d(zero_point.values)
    if scales.size != 1 or zeros.size != 1:
        raise Refused(f"activations of {scales.size} scales: expected one for the tensor")
    if zeros.dtype.name not in _TYPES:
        raise Refused(f"activations of {zeros.dtype}: int8, uint8 and int16 can be taken")
    is_unsigned = zeros.dtype == np.uint8
    zero = int(zeros[0]) - 128 * is_unsigned
    if zeros.dtype == np.int16 and zero:
        raise Refused(f"int16 of zero point {zero}: expected 0 (ActivationSymmetric in extra_options)")
    return Numbers(_TYPES[zeros.dtype.name], float(scales[0]), zero, is_unsigned)


def _optional(walk: Walk, node: Node, place: int) -> Item | None:
    return walk.item(node, place) if walk.has(node, place) else None


def _default(node: Node) -> str:
    kind = int(node.attributes.get("output_dtype") or 0)
    return {0: "uint8", 2: "uint8", 3: "int8", 5: "int16"}.get(kind, f"type {kind}")


def _quantize(walk: Walk, node: Node) -> Item:
    item = walk.item(node)
    if node.attributes.get("block_size"):
        raise Refused("scales of blocks")
    zero = _optional(walk, node, 2)
    if isinstance(item, Constant):
        return _quantised_constant(walk, node, item, zero)
    numbers = numbers_of(walk.item(node, 1), zero, node.inputs[1], _default(node))
    return walk.quantised(item, numbers, node.outputs[0])


def _quantised_constant(walk: Walk, node: Node, item: Constant, zero: Item | None) -> Constant:
    """What QuantizeLinear makes of weights."""
    scales = _scales(walk.known(node, 1, "scale"), node.inputs[1]).astype(np.float64)
    zeros = zero.values if isinstance(zero, Constant) else np.zeros(1, _default(node))
    zeros = np.atleast_1d(zeros)
    given = node.attributes.get("axis")
    axis = walk.axis(1 if given is None else int(given), item) if scales.size > 1 else 0
    empty = Integers(item.values, scales, zeros, axis)
    if scales.size > 1 and scales.size != item.shape[axis]:
        raise Refused(f"expected {item.shape[axis]} scales along axis {axis}, got {scales.size}")
    limits = np.iinfo(zeros.dtype)
    steps = np.rint(item.values.astype(np.float32) / empty.along(scales.astype(np.float32)))
    values = np.clip(steps + empty.along(zeros.astype(np.int64)), limits.min, limits.max)
    return Constant(values.astype(zeros.dtype))


def _dequantize(walk: Walk, node: Node) -> Item:
    item = walk.item(node)
    if node.attributes.get("block_size"):
        raise Refused("scales of blocks")
    if not isinstance(item, Constant):
        numbers = numbers_of(walk.item(node, 1), _optional(walk, node, 2), node.inputs[1], _own_type(walk, item))
        return Real(as_said(walk, item, numbers, node.inputs[0]))
    scales = _scales(walk.known(node, 1, "scale"), node.inputs[1])
    zero = _optional(walk, node, 2)
    values = item.values
    zeros = np.zeros(1, np.int64) if zero is None else np.atleast_1d(walk.known(node, 2, "zero point"))
    if values.dtype.kind not in "iu" and values.dtype.name not in ("int4", "uint4", "int2", "uint2"):
        raise Refused(f"constants of {values.dtype}")
    values = values if values.dtype.kind in "iu" else values.astype(np.int8)
    given = node.attributes.get("axis")
    axis = walk.axis(1 if given is None else int(given), item) if scales.size > 1 else 0
    if scales.size > 1 and scales.size != item.shape[axis]:
        raise Refused(f"expected {item.shape[axis]} scales along axis {axis}, got {scales.size}")
    zeros = zeros.astype(np.int64)
    if zeros.size not in (1, scales.size) or zeros.ndim != 1:
        raise Refused(f"expected {scales.size} zero points, got {zeros.size}")
    if zeros.size != scales.size:
        zeros = np.repeat(zeros, scales.size)
    return Constant(None, Integers(values, scales, zeros, axis))


def _own_type(walk: Walk, item: Item) -> str:
    if isinstance(item, Stored):
        return "int16" if item.numbers.type == "INT16" else "uint8" if item.numbers.is_unsigned else "int8"
    return "uint8"


def as_said(walk: Walk, item: Item, numbers: Numbers, name: str) -> Stored:
    """Integers by what their reader says of them."""
    base = walk.integers(item, name)
    if not base.numbers.is_same(numbers):
        own = f"{base.numbers.type.lower()} {base.numbers.scale:g}, {base.numbers.zero_point}"
        raise Refused(f"its input {name!r} is read as {numbers.scale:g}, {numbers.zero_point}, and written as {own}")
    return base


# ---------------------------------------------------------------- QOperator


def _said(walk: Walk, node: Node, place: int) -> Stored:
    """An input with its scale and zero point behind it."""
    item = walk.item(node, place)
    numbers = numbers_of(
        walk.item(node, place + 1), _optional(walk, node, place + 2), node.inputs[place + 1], _own_type(walk, item)
    )
    return as_said(walk, item, numbers, node.inputs[place])


def _operand(walk: Walk, node: Node, place: int) -> Item:
    """The same, or a constant."""
    return (
        _constant(walk, node, place) if isinstance(walk.item(node, place), Constant) else Real(_said(walk, node, place))
    )


def _constant(walk: Walk, node: Node, place: int, axis: int = 0) -> Constant:
    """Constant integers with their scale and zero point behind them."""
    values = walk.known(node, place, "weights")
    scales = _scales(walk.known(node, place + 1, "scale").reshape(-1), node.inputs[place + 1])
    zero = _optional(walk, node, place + 2)
    zeros = np.zeros(1, values.dtype) if zero is None else walk.known(node, place + 2, "zero point").reshape(-1)
    if zeros.size == 1:
        zeros = np.repeat(zeros, scales.size)
    if values.dtype.kind not in "iu" or zeros.size != scales.size:
        raise Refused(f"its constant {node.inputs[place]!r}: expected integers and as many scales as zero points")
    if scales.size > 1 and (values.ndim <= axis or values.shape[axis] != scales.size):
        raise Refused(f"its constant {node.inputs[place]!r}: {scales.size} scales do not fit {list(values.shape)}")
    return Constant(None, Integers(values, scales, zeros, axis))


def _goal(walk: Walk, node: Node, place: int) -> Numbers:
    zero = _optional(walk, node, place + 1)
    return numbers_of(walk.item(node, place), zero, node.inputs[place])


def _finish(walk: Walk, node: Node, item: Item, place: int) -> Item:
    return walk.quantised(item, _goal(walk, node, place), node.outputs[0])


def _steps(bias: Item, name: str, count: int) -> Constant:
    """A bias in steps of input times weights."""
    found = bias_of(bias, name, count)
    if found.given is None or found.given.dtype != np.int32:
        raise Refused(f"its bias {name!r}: expected int32")
    return found


def _scaled_bias(found: Constant, x: Stored, scale: np.ndarray) -> Constant:
    steps = np.float64(np.float32(x.numbers.scale)) * scale.astype(np.float64)
    values = found.values.reshape(-1)
    if values.size != scale.size and scale.size > 1:
        values = np.repeat(values, scale.size)
    return Constant(None, Integers(values, steps, np.zeros(steps.size, np.int64), 0))


def _conv(walk: Walk, node: Node) -> Item:
    x = _said(walk, node, 0)
    weights = weights_of(_constant(walk, node, 3), node.inputs[3], 0)
    bias = None
    if walk.has(node, 8):
        bias = _scaled_bias(_steps(walk.item(node, 8), node.inputs[8], len(weights.values)), x, weights.scale)
    return _finish(walk, node, convolution(walk, node, x, weights, bias), 6)


def _matmul(walk: Walk, node: Node) -> Item:
    weights = _constant(walk, node, 3, len(walk.known(node, 3, "weights").shape) - 1)
    return _finish(walk, node, dense(walk, _said(walk, node, 0), matrix(weights, node.inputs[3]), None), 6)


def _gemm(walk: Walk, node: Node) -> Item:
    x = _said(walk, node, 0)
    is_transposed = bool(node.attributes.get("transB"))
    alpha = node.attributes.get("alpha")
    if node.attributes.get("transA") or alpha not in (None, 1.0):
        raise Refused("expected transA 0 and alpha 1")
    weights = matrix(_constant(walk, node, 3, 0 if is_transposed else 1), node.inputs[3], is_transposed)
    bias = None
    if walk.has(node, 6):
        bias = _scaled_bias(_steps(walk.item(node, 6), node.inputs[6], weights.values.shape[1]), x, weights.scale)
    if not walk.has(node, 7):
        raise Refused("a float output: expected y_scale")
    return _finish(walk, node, dense(walk, x, weights, bias), 7)


def _pair(op: str) -> Translator:
    def translate(walk: Walk, node: Node) -> Item:
        found = pair(walk, op, _operand(walk, node, 0), _operand(walk, node, 3), (node.inputs[0], node.inputs[3]))
        return _finish(walk, node, found, 6)

    return translate


def _of_one(make: Callable[[Walk, Node, Stored], Item]) -> Translator:
    """Operators of one tensor: x, its numbers, those of the output."""

    def translate(walk: Walk, node: Node) -> Item:
        if node.attributes.get("channels_last"):
            raise Refused("channels_last: expected channels first")
        return _finish(walk, node, make(walk, node, _said(walk, node, 0)), 3)

    return translate


def _function(code: str) -> Callable[[Walk, Node, Stored], Item]:
    def make(walk: Walk, node: Node, x: Stored) -> Item:
        options = {}
        if code == "LEAKY_RELU":
            alpha = node.attributes.get("alpha")
            options = {"alpha": 0.01 if alpha is None else float(alpha)}
        return applied(walk, curve(walk, node, Real(x), node.inputs[0]), code, **options)

    return make


def _global_average(walk: Walk, node: Node, x: Stored) -> Item:
    return mean(walk, x, list(range(2, len(x.layout.shape))), True)


def _reduce_mean(walk: Walk, node: Node, x: Stored) -> Item:
    rank = len(x.layout.shape)
    axes = sorted({walk.axis(int(axis), Real(x)) for axis in node.attributes.get("axes") or range(rank)})
    keep = node.attributes.get("keepdims")
    return mean(walk, x, axes, keep is None or bool(keep))


def _softmax(walk: Walk, node: Node, x: Stored) -> Item:
    given, opset = node.attributes.get("axis"), int(node.attributes.get("opset") or 13)
    rank = len(x.layout.shape)
    first = walk.axis(-1 if given is None else int(given), Real(x))
    return softmax(walk, x, [first] if opset >= 13 else list(range(first, rank)))


def _concat(walk: Walk, node: Node) -> Item:
    places = range(2, len(node.inputs), 3)
    items = [_operand(walk, node, place) for place in places]
    if not items:
        raise Refused("expected inputs, got none")
    names = [node.inputs[place] for place in places]
    return _finish(walk, node, concat(walk, items, names, int(node.attributes.get("axis") or 0)), 0)


def _dynamic(walk: Walk, node: Node) -> Item:
    raise Refused(DYNAMIC)


_CONTRIB: dict[str, Translator] = {
    "QGemm": _gemm,
    "QLinearAdd": _pair("Add"),
    "QLinearAveragePool": _of_one(average),
    "QLinearConcat": _concat,
    "QLinearGlobalAveragePool": _of_one(_global_average),
    "QLinearLeakyRelu": _of_one(_function("LEAKY_RELU")),
    "QLinearMul": _pair("Mul"),
    "QLinearReduceMean": _of_one(_reduce_mean),
    "QLinearSigmoid": _of_one(_function("LOGISTIC")),
    "QLinearSoftmax": _of_one(_softmax),
    "QuantizeLinear": _quantize,
    "DequantizeLinear": _dequantize,
    "DynamicQuantizeMatMul": _dynamic,
    "DynamicQuantizeLSTM": _dynamic,
    "MatMulIntegerToFloat": _dynamic,
}
TRANSLATORS: dict[str, Translator] = {
    "ConvInteger": _dynamic,
    "DequantizeLinear": _dequantize,
    "DynamicQuantizeLinear": _dynamic,
    "MatMulInteger": _dynamic,
    "QLinearConv": _conv,
    "QLinearMatMul": _matmul,
    "QuantizeLinear": _quantize,
    **{f"com.microsoft.{name}": found for name, found in _CONTRIB.items()},
}
