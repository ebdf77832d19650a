# SPDX-License-Identifier: Apache-2.0
"""Operators that work element by element, and float islands between DEQUANTIZE and QUANTIZE."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from math import erfc, frexp

import numpy as np

from cmsisnn_x.affine import (
    AffineClamp,
    AffineProduct,
    AffineRescale,
    AffineSum,
    activation_range,
    kernel_multiplier,
)
from cmsisnn_x.affine import tables as affine_tables
from cmsisnn_x.affine.curves import AffineCurve
from cmsisnn_x.affine.tables import Numbers, single
from cmsisnn_x.scheme import TENSOR_TYPES

from ...integer_graph import Quantised, Refused
from ..context import MOST_ELEMENTS, Context, Curve, MovedInput
from ..file import FileOp
from .common import (
    Converter,
    activation_of,
    limits_of,
    numbers_of,
    require_type,
    require_zero,
)
from .reduce import quantise_probabilities

# ---------------------------------------------------------------- element by element


def _sum(sign: int) -> Converter:
    def convert(walk: Context, op: FileOp) -> None:
        a, b, out = walk.input(op), walk.input(op, 1), walk.output(op)
        require_type(a, "int8", "int16")
        require_type(b, a.type)
        require_type(out, a.type)
        _check_broadcast(a, b, out)
        if a.type == "int16" and walk.arithmetic == "litert" and _shifts_in_litert(op, a, b, out):
            raise Refused("LiteRT adds int16 of power-of-two scales in shifts of its own (pot_scale_int16)")
        if a.type == "int16":
            require_zero(a, b, out)
        scheme = AffineSum.of(
            (a.scale, b.scale, out.scale), (a.zero_point, b.zero_point, out.zero_point), limits_of(op, out),
            sign=sign, dtype=a.type,
        )  # fmt: skip
        least = 2 * max(a.scale, b.scale) / 2**scheme.left_shift
        if out.scale <= least:
            raise Refused(f"expected an output scale above {least:g}, where TFLM and LiteRT abort, got {out.scale:g}")
        walk.builder.pair(walk.name(op, "add" if sign > 0 else "sub"), "add", a, b, out, scheme)
        walk.become(op, out)

    return convert


def _shifts_in_litert(op: FileOp, *items: Quantised) -> bool:
    return bool(op.options["pot_scale_int16"]) and all(frexp(item.scale)[0] == 0.5 for item in items)


def _check_broadcast(a: Quantised, b: Quantised, out: Quantised) -> None:
    try:
        shape = np.broadcast_shapes(a.shape, b.shape)
    except ValueError:
        shape = ()
    if shape != out.shape:
        raise Refused(f"shapes {a.shape} and {b.shape} do not give {out.shape}")


def _product(walk: Context, op: FileOp) -> None:
    a, b, out = walk.input(op), walk.input(op, 1), walk.output(op)
    require_type(a, "int8", "int16")
    require_type(b, a.type)
    require_type(out, a.type)
    _check_broadcast(a, b, out)
    if a.type == "int16":
        require_zero(a, b, out)
    kind = np.float64 if walk.arithmetic == "tflm" else np.float32
    factor = kernel_multiplier(float(kind(a.scale) * kind(b.scale) / kind(out.scale)))
    scheme = AffineProduct(a.zero_point, b.zero_point, *factor, out.zero_point, *limits_of(op, out))
    walk.builder.pair(walk.name(op, "multiply"), "multiply", a, b, out, scheme)
    walk.become(op, out)


def _extremum(kind: str) -> Converter:
    def convert(walk: Context, op: FileOp) -> None:
        a, b, out = walk.input(op), walk.input(op, 1), walk.output(op)
        require_type(a, "int8", "int16")
        require_type(b, a.type)
        require_type(out, a.type)
        _check_broadcast(a, b, out)  # scales are not compared: TFLM and LiteRT take the integers as they are
        walk.builder.pair(walk.name(op, kind), kind, a, b, out, AffineClamp(*out.limits))
        walk.become(op, out)

    return convert


Table = Callable[[Context, FileOp, Numbers, Numbers], np.ndarray]


def _table(kind: str, values: Table, fixed: tuple[float, int] | None = None) -> Converter:
    """A function of a byte; `fixed` is the output's scale and zero point where the operator knows but one."""

    def convert(walk: Context, op: FileOp) -> None:
        x, out = walk.input(op), walk.output(op)
        if x.type == "int16" and kind in WIDE:
            require_type(out, "int16")
            _wide(walk, op, kind, x, out)
            walk.become(op, out)
            return
        require_type(x, "int8")
        require_type(out, "int8")
        if fixed and (out.scale, out.zero_point) != fixed:
            raise Refused(f"expected an output of {fixed[0]:g}, {fixed[1]}, got {out.scale:g}, {out.zero_point}")
        walk.builder.table(walk.name(op, kind), x, out, values(walk, op, numbers_of(x), numbers_of(out)))
        walk.become(op, out)

    return convert


WIDE = ("leaky_relu", "relu", "relu6", "sigmoid", "tanh")
"""Functions that TFLM has of int16 too."""


def _wide(walk: Context, op: FileOp, kind: str, x: Quantised, out: Quantised) -> None:
    """A function of int16: too many numbers for a table."""
    size = (x.size,)
    if kind in ("sigmoid", "tanh"):
        require_zero(x)
        if (out.scale, out.zero_point) != (2.0**-15, 0):
            raise Refused(f"expected an output of 2^-15, 0, got {out.scale:g}, {out.zero_point}")
        if x.scale * 12288 >= 32768:
            raise Refused(f"expected an input scale below {32768 / 12288:.4g}, got {x.scale:g}")
        curve = AffineCurve.of(kind, x.scale)
        walk.builder.add(walk.name(op, kind), kind, [x], out, input_shape=size, output_shape=size, scheme=curve)
        return
    floats = np.float64 if walk.arithmetic == "tflm" else np.float32
    ratio = float(floats(x.scale) / floats(out.scale))
    below, zero_point, limits = None, out.zero_point, out.limits
    if kind == "leaky_relu":
        slope = float(floats(x.scale) * floats(np.float32(op.options["alpha"])) / floats(out.scale))
        multiplier, shift = kernel_multiplier(abs(slope))
        below = (-multiplier if slope < 0 else multiplier, shift)
    elif kind == "relu6" and walk.arithmetic == "tflm":
        ratio, zero_point = 1.0, x.zero_point
        limits = activation_range(kind, x.type, x.scale, x.zero_point)
    else:
        limits = activation_range(kind, out.type, out.scale, out.zero_point)
    scheme = AffineRescale(x.zero_point, zero_point, *kernel_multiplier(ratio), *limits, below)
    walk.builder.add(
        walk.name(op, kind), "requantise", [x], out, input_shape=size, output_shape=size, scheme=scheme
    )  # fmt: skip


def _relu(name: str, walk: Context, op: FileOp, x: Numbers, out: Numbers) -> np.ndarray:
    return affine_tables.relu(x, out, name, walk.arithmetic)


def _quantise_moved(walk: Context, moved: MovedInput, out: Quantised) -> None:
    """QUANTIZE of a float input that was moved before: the integers of the input are moved."""
    source = moved.source
    if source not in walk.border:
        shape = walk.shape(walk.file_tensor(source))
        walk.items[source] = Quantised(f"t{source}", shape, out.type, out.scale, out.zero_point)
        walk.border[source] = source
    x = walk.items[walk.border[source]]
    if not x.is_scaled_as(out):
        raise Refused("an input that is quantised in two ways")
    for at, (name, view, shape) in enumerate(moved.moves, 1):
        item = replace(out, name=f"{out.name}_move{at}", shape=shape) if at < len(moved.moves) else out
        walk.builder.copy(name, x, item, view)
        x = item


def _requantise(walk: Context, op: FileOp) -> None:
    """QUANTIZE of integers, or of what is a function of integers, or of a float input of the network."""
    index = walk.source(op)
    out = walk.output(op)
    if index in walk.softmaxes:
        quantise_probabilities(walk, op, walk.softmaxes[index], out)
    elif index in walk.floats:
        curve = walk.floats[index]
        numbers = numbers_of(out)
        if not curve.values.size:
            raise Refused(f"floats of {curve.item.type} that are quantised again: 8 bits can be taken")
        steps = curve.values / np.float32(out.scale)
        if not np.isfinite(steps).all():  # which C leaves open
            raise Refused("a function that gives no finite number of some input")
        rounded = np.clip(np.sign(steps) * np.floor(np.abs(steps) + np.float32(0.5)), -(2**30), 2**30)
        walk.builder.table(walk.name(op, "look_up"), curve.item, out, numbers.clamp(rounded.astype(np.int64)))
    elif index in walk.moved:
        _quantise_moved(walk, walk.moved[index], out)
    elif walk.file_tensor(index).type == "FLOAT32":
        if index not in walk.subgraph.inputs:
            raise Refused("a float tensor that is no function of a single integer one")
        if index in walk.border:
            first = walk.items[walk.border[index]]
            if not first.is_scaled_as(out):
                raise Refused("an input that is quantised in two ways")
            out = first
        walk.border.setdefault(index, op.outputs[0])
    else:
        x = walk.input(op)
        if TENSOR_TYPES[x.type].bits == 8:
            walk.builder.table(
                walk.name(op, "quantize"), x, out, affine_tables.rescaled(numbers_of(x), numbers_of(out))
            )  # fmt: skip
        else:
            if out.type == "uint8":
                raise Refused("int16 to uint8, which TFLM and LiteRT lack: expected int8 or int16 behind int16")
            factor = kernel_multiplier(x.scale / out.scale)
            scheme = AffineRescale(x.zero_point, out.zero_point, *factor, *out.limits)
            walk.builder.add(
                walk.name(op, "quantize"), "requantise", [x], out, input_shape=(x.size,), output_shape=(out.size,),
                scheme=scheme,
            )  # fmt: skip
    walk.become(op, out)


# ---------------------------------------------------------------- float borders and islands


def _dequantize(walk: Context, op: FileOp) -> None:
    x = walk.input(op)
    if x.value is not None:
        if x.size > MOST_ELEMENTS:
            raise Refused("constants that are too large to be folded")
        walk.known[op.outputs[0]] = (np.float32(x.scale) * (x.value.astype(np.int64) - x.zero_point)).astype(np.float32)
        return
    if TENSOR_TYPES[x.type].bits == 16:
        values = np.empty(0, np.float32)
    else:
        values = (np.float64(x.scale) * numbers_of(x).every).astype(np.float32)
    walk.floats[op.outputs[0]] = Curve(x, values, True)


def _gelu(op: FileOp, v: np.ndarray) -> np.ndarray:
    """``v`` times the share of a normal distribution below it, or the approximation by a hyperbolic tangent."""
    x = v.astype(np.float64)
    if op.options["approximate"]:
        share = np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)) / 2 + 0.5
    else:
        share = np.array([erfc(number) / 2 for number in (-x / np.sqrt(2)).ravel()]).reshape(x.shape)
    return (x * share).astype(np.float32)


FLOAT_CURVES: dict[str, Callable[[FileOp, np.ndarray], np.ndarray]] = {
    "ABS": lambda op, v: np.abs(v),
    "CEIL": lambda op, v: np.ceil(v),
    "COS": lambda op, v: single(np.cos, v),
    "ELU": lambda op, v: np.where(v < 0, single(np.expm1, v), v),
    "EXP": lambda op, v: single(np.exp, v),
    "FLOOR": lambda op, v: np.floor(v),
    "GELU": _gelu,
    "HARD_SWISH": lambda op, v: v * np.clip(v + np.float32(3), 0, 6) / np.float32(6),
    "LEAKY_RELU": lambda op, v: np.where(v > 0, v, v * np.float32(op.options["alpha"])),
    "LOG": lambda op, v: single(np.log, v),
    "LOGISTIC": lambda op, v: 1 / (1 + single(np.exp, -v)),
    "NEG": lambda op, v: -v,
    "RELU": lambda op, v: np.maximum(v, 0),
    "RELU6": lambda op, v: np.clip(v, 0, 6),
    "RELU_N1_TO_1": lambda op, v: np.clip(v, -1, 1),
    "ROUND": lambda op, v: np.rint(v),
    "SIN": lambda op, v: single(np.sin, v),
    "SQRT": lambda op, v: np.sqrt(v),
    "SQUARE": lambda op, v: v * v,
    "TANH": lambda op, v: single(np.tanh, v),
}
"""Float functions of one number, in float32."""


def follow_curve(walk: Context, op: FileOp) -> bool:
    """Whether an operator is a function of a float tensor that is one of integers; then it is followed."""
    if walk.source(op) not in walk.floats:
        return False
    before = walk.floats[walk.source(op)]
    if op.code not in FLOAT_CURVES or not before.values.size:
        raise Refused("float numbers between DEQUANTIZE and QUANTIZE: a function of one tensor of 8 bits can be taken")
    values = FLOAT_CURVES[op.code](op, before.values).astype(np.float32)
    walk.floats[op.outputs[0]] = Curve(before.item, values, False)
    return True


FLOAT_PAIRS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "ADD": np.add,
    "DIV": np.divide,
    "MAXIMUM": np.maximum,
    "MINIMUM": np.minimum,
    "MUL": np.multiply,
    "SUB": np.subtract,
}
"""Float functions of two numbers."""


def follow_pair(walk: Context, op: FileOp) -> bool:
    """The same of two float tensors that are functions of one integer tensor, or of one and a constant number."""
    sides = [walk.source(op, place) for place in (0, 1)]
    curves = [walk.floats[index] for index in sides if index in walk.floats]
    if not curves:
        return False
    first = curves[0]
    values = []
    for index in sides:
        constant = walk.known.get(index)
        if index in walk.floats and walk.floats[index].item == first.item and walk.floats[index].values.size:
            values.append(walk.floats[index].values)
        elif constant is not None and constant.dtype == np.float32 and constant.size == 1:
            values.append(constant.reshape(1))
        else:
            raise Refused("floats of two tensors: a function of one tensor of 8 bits, and of numbers, can be taken")
    shapes = {walk.shape(walk.file_tensor(index)) for index in sides if index in walk.floats}
    if shapes != {walk.shape(walk.file_tensor(op.outputs[0]))}:
        raise Refused("floats of two shapes")
    found = FLOAT_PAIRS[op.code](*values).astype(np.float32)
    activation = activation_of(op)
    if activation is not None:
        found = FLOAT_CURVES[activation.upper()](op, found)
    walk.floats[op.outputs[0]] = Curve(first.item, found, False)
    return True


def with_pairs(converter: Converter) -> Converter:
    def convert(walk: Context, op: FileOp) -> None:
        if not follow_pair(walk, op):
            converter(walk, op)

    return convert


def _quotient(walk: Context, op: FileOp) -> None:
    raise Refused("no kernel for it but between DEQUANTIZE and QUANTIZE")


def with_curves(converter: Converter) -> Converter:
    def convert(walk: Context, op: FileOp) -> None:
        if not follow_curve(walk, op):
            converter(walk, op)

    return convert


@with_curves
def of_floats_alone(walk: Context, op: FileOp) -> None:
    x = walk.input(op)
    raise Refused(f"expected floats between DEQUANTIZE and QUANTIZE, got {x.type}")


def _of_bytes(kind: str, values: Callable[..., np.ndarray], fixed: tuple[float, int] | None = None) -> Converter:
    return with_curves(_table(kind, values, fixed))


CONVERTERS: dict[str, Converter] = dict.fromkeys(FLOAT_CURVES, of_floats_alone) | {
    "ADD": with_pairs(_sum(1)),
    "DEQUANTIZE": _dequantize,
    "DIV": with_pairs(_quotient),
    "HARD_SWISH": _of_bytes("hard_swish", lambda walk, op, x, out: affine_tables.hard_swish(x, out)),
    "LEAKY_RELU": _of_bytes(
        "leaky_relu",
        lambda walk, op, x, out: affine_tables.leaky_relu(x, out, op.options["alpha"], walk.arithmetic),
    ),
    "LOGISTIC": _of_bytes(
        "sigmoid", lambda walk, op, x, out: affine_tables.sigmoid(x, out, walk.arithmetic), (2.0**-8, -128)
    ),
    "MAXIMUM": with_pairs(_extremum("maximum")),
    "MINIMUM": with_pairs(_extremum("minimum")),
    "MUL": with_pairs(_product),
    "QUANTIZE": _requantise,
    "SUB": with_pairs(_sum(-1)),
    "TANH": _of_bytes("tanh", lambda walk, op, x, out: affine_tables.tanh(x, out, walk.arithmetic), (2.0**-7, 0)),
} | {
    code: _of_bytes(name, partial(_relu, name))
    for code, name in (("RELU", "relu"), ("RELU6", "relu6"), ("RELU_N1_TO_1", "relu_n1_to_1"))
}  # fmt: skip
