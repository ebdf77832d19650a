# SPDX-License-Identifier: Apache-2.0
"""Cases of operators that work element by element, of borders of float and of islands of float inside."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import erf, sqrt
from typing import Any

import numpy as np

from helpers import int8_oracle as oracle
from helpers import int8_tables as tables
from helpers.int8_oracle import Arithmetic
from helpers.tflite_cases import EVERY, TYPES, Case, Values, among, between, q, rng_of, scale
from helpers.tflite_files import O, T

Curve = Callable[..., np.ndarray]
BOTH: tuple[Arithmetic, ...] = ("tflm", "litert")


def pair(
    code: str, name: str, a: Sequence[int] = (1, 3, 4, 5), b: Sequence[int] | None = None, *, activation: str = "NONE",
    dtype: str = "INT8", constant: str = "", own: tuple[float, float, float] | None = None, alike: bool = False,
    twice: bool = False, **options: Any,
) -> Case:  # fmt: skip
    """`constant` names the operand that is one; `twice` makes both the same tensor."""
    shapes = {"a": tuple(a), "b": tuple(a if b is None else b)}
    out_shape = np.broadcast_shapes(*shapes.values())
    items = {key: replace(q(f"{code} {name} {key}", shape, dtype), name=key) for key, shape in shapes.items()}
    out = replace(q(f"{code} {name} y", out_shape, dtype), name="y")
    if own:
        items = {key: replace(item, scale=s) for (key, item), s in zip(items.items(), own, strict=False)}
        out = replace(out, scale=own[2])
    if alike:
        items = {key: replace(item, scale=out.scale, zero_point=out.zero_point) for key, item in items.items()}
    given = TYPES[dtype]
    if constant:
        low, high = np.iinfo(given).min, np.iinfo(given).max
        values = rng_of(name).integers(low, high, shapes[constant], given, endpoint=True)
        items[constant] = replace(items[constant], data=values)

    def expect(values: Values, arithmetic: Arithmetic) -> np.ndarray:
        known = {key: item.data for key, item in items.items() if isinstance(item.data, np.ndarray)}
        x, y = (known.get(key, values.get(key)) for key in ("a", "a" if twice else "b"))
        assert isinstance(x, np.ndarray)
        assert isinstance(y, np.ndarray)
        if code in ("MAXIMUM", "MINIMUM"):
            return oracle.maximum(x, y) if code == "MAXIMUM" else oracle.minimum(x, y)
        numbers = among(items["a"], items["a" if twice else "b"], out, activation)
        if code == "MUL":
            return oracle.mul(x, y, arithmetic=arithmetic, **numbers)
        return (oracle.add if code == "ADD" else oracle.sub)(x, y, arithmetic=arithmetic, **numbers)

    if code in ("ADD", "SUB"):
        options.setdefault("pot_scale_int16", False)
    if code in ("ADD", "SUB", "MUL"):
        options["fused_activation_function"] = activation
    names = ["a", "a"] if twice else ["a", "b"]
    inputs = [key for key in dict.fromkeys(names) if key != constant]
    tensors = [*(items[key] for key in dict.fromkeys(names)), out]
    return Case(tensors, [O(code, names, ["y"], options)], inputs, ["y"], expect)


def curve(
    code: str, function: Curve, name: str = "", *, out: tuple[float, int] | None = None, dtype: str = "INT8",
    own: float | None = None, zero_point: int | None = None, arithmetics: tuple[Arithmetic, ...] = BOTH, **options: Any,
) -> Case:  # fmt: skip
    """A function of every byte, or of many numbers of 16 bits; `function` takes the input and both scales."""
    x = replace(q(f"{code} {name} x", (1, 256) if dtype == "INT8" else (2, 400), dtype), name="x")
    x = replace(x, scale=own or x.scale, zero_point=x.zero_point if zero_point is None else zero_point)
    y = replace(q(f"{code} {name} y", x.shape, dtype), name="y")
    if out:
        y = replace(y, scale=out[0], zero_point=out[1])

    def expect(values: Values, arithmetic: Arithmetic) -> np.ndarray:
        return function(values["x"], x, y, arithmetic)

    values = {"x": EVERY} if dtype == "INT8" else {}
    return Case([x, y], [O(code, ["x"], ["y"], options)], ["x"], ["y"], expect, (), arithmetics, values)


def rescaling(function: Curve) -> Curve:
    return lambda v, x, y, arithmetic: function(v, arithmetic=arithmetic, **between(x, y))


def fixed(function: Curve) -> Curve:
    def run(v: np.ndarray, x: T, y: T, arithmetic: Arithmetic) -> np.ndarray:
        return function(v, input_scale=scale(x), input_zero_point=int(x.zero_point), arithmetic=arithmetic)

    return run


def leaky(alpha: float) -> Curve:
    def run(v: np.ndarray, x: T, y: T, arithmetic: Arithmetic) -> np.ndarray:
        return tables.leaky_relu(v, alpha=alpha, arithmetic=arithmetic, **between(x, y))

    return run


def hard_swish(v: np.ndarray, x: T, y: T, arithmetic: Arithmetic) -> np.ndarray:
    return tables.hard_swish(v, **between(x, y))


def requantize(name: str, x: str, y: str, *, same: bool = False, **fields: Any) -> Case:
    """QUANTIZE of integers."""
    source = replace(q(f"{name} x", (4, 64), x), name="x")
    out = replace(q(f"{name} y", (4, 64), y), name="y", **fields)
    if same:
        out = replace(out, scale=source.scale, zero_point=source.zero_point)

    def expect(values: Values, arithmetic: Arithmetic) -> np.ndarray:
        return tables.quantize(values["x"], output_dtype=TYPES[y], **between(source, out))

    values = {"x": EVERY.reshape(4, 64)} if x == "INT8" else {}
    if x == "UINT8":
        values = {"x": np.arange(256, dtype=np.uint8).reshape(4, 64)}
    return Case([source, out], [O("QUANTIZE", ["x"], ["y"])], ["x"], ["y"], expect, values=values)


# ---------------------------------------------------------------- float between DEQUANTIZE and QUANTIZE


def _elu(v: np.ndarray) -> np.ndarray:
    return np.where(v < 0, np.expm1(v.astype(np.float64)).astype(np.float32), v)


def _exp(v: np.ndarray) -> np.ndarray:
    return np.exp(v.astype(np.float64)).astype(np.float32)


def _gelu(v: np.ndarray) -> np.ndarray:
    x = v.astype(np.float64)
    return (x * (0.5 + np.vectorize(erf)(x / sqrt(2)) / 2)).astype(np.float32)


def _log(v: np.ndarray) -> np.ndarray:
    return np.log(v.astype(np.float64)).astype(np.float32)


ISLANDS: Mapping[str, tuple[Callable[[np.ndarray], np.ndarray], dict[str, Any]]] = {
    "ABS": (np.abs, {}),
    "CEIL": (np.ceil, {}),
    "COS": (lambda v: np.cos(v.astype(np.float64)).astype(np.float32), {}),
    "ELU": (_elu, {}),
    "EXP": (_exp, {}),
    "FLOOR": (np.floor, {}),
    "GELU": (_gelu, {"approximate": False}),
    "HARD_SWISH": (lambda v: v * np.minimum(np.maximum(v + np.float32(3), 0), 6) / np.float32(6), {}),
    "LEAKY_RELU": (lambda v: np.where(v > 0, v, v * np.float32(0.1)), {"alpha": 0.1}),
    "LOG": (_log, {}),
    "LOGISTIC": (tables.sigmoid, {}),
    "NEG": (np.negative, {}),
    "RELU": (lambda v: np.where(v > 0, v, np.float32(0)), {}),
    "RELU6": (lambda v: np.minimum(np.where(v > 0, v, np.float32(0)), np.float32(6)), {}),
    "RELU_N1_TO_1": (lambda v: np.maximum(np.minimum(v, np.float32(1)), np.float32(-1)), {}),
    "ROUND": (np.rint, {}),
    "SIN": (lambda v: np.sin(v.astype(np.float64)).astype(np.float32), {}),
    "SQRT": (np.sqrt, {}),
    "SQUARE": (lambda v: v * v, {}),
    "TANH": (tables.hyperbolic_tangent, {}),
}


def island(codes: Sequence[str], x: str = "INT8", y: str = "INT8") -> Case:
    """DEQUANTIZE, functions in float32, QUANTIZE: every byte."""
    name = f"island {codes} {x} {y}"
    source = replace(q(f"{name} x", (1, 256), x), name="x")
    if "SQRT" in codes:
        source = replace(source, zero_point=np.iinfo(TYPES[x]).min)  # no number is below 0
    out = replace(q(f"{name} y", (1, 256), y), name="y")
    floats = [T(f"f{number}", (1, 256), "FLOAT32") for number in range(len(codes) + 1)]
    ops = [O("DEQUANTIZE", ["x"], ["f0"])]
    for number, code in enumerate(codes):
        ops.append(O(code, [f"f{number}"], [f"f{number + 1}"], ISLANDS[code][1]))
    ops.append(O("QUANTIZE", [f"f{len(codes)}"], ["y"]))

    def expect(values: Values, arithmetic: Arithmetic) -> np.ndarray:
        v = tables.dequantize(values["x"], input_scale=scale(source), input_zero_point=int(source.zero_point))
        for code in codes:
            v = ISLANDS[code][0](v).astype(np.float32)
        return tables.quantize(
            v, output_scale=scale(out), output_zero_point=int(out.zero_point), output_dtype=TYPES[y]
        )  # fmt: skip

    every = EVERY if x == "INT8" else np.arange(256, dtype=np.uint8).reshape(1, 256)
    return Case([source, *floats, out], ops, ["x"], ["y"], expect, values={"x": every}, nodes=("look_up",))


PAIRS: Mapping[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "ADD": np.add,
    "DIV": np.divide,
    "MAXIMUM": np.maximum,
    "MINIMUM": np.minimum,
    "MUL": np.multiply,
    "SUB": np.subtract,
}


def island_of_pairs(code: str, number: float | None = None, activation: str = "NONE") -> Case:
    """A float function of the tensor and its sigmoid, or of it and a number; clamped, where the operator says so."""
    source, out = (replace(q(f"pairs {code} {name}", (1, 256)), name=name) for name in "xy")
    floats = [T(f"f{at}", (1, 256), "FLOAT32") for at in range(3)]
    constant = T("c", (1,), "FLOAT32", data=np.array([number or 0.0], np.float32))
    options = {} if code in ("MAXIMUM", "MINIMUM") else {"fused_activation_function": activation}
    ops = [O("DEQUANTIZE", ["x"], ["f0"]), O("LOGISTIC", ["f0"], ["f1"]),
           O(code, ["f0", "f1" if number is None else "c"], ["f2"], options), O("QUANTIZE", ["f2"], ["y"])]  # fmt: skip

    def expect(values: Values, arithmetic: Arithmetic) -> np.ndarray:
        v = tables.dequantize(values["x"], input_scale=scale(source), input_zero_point=int(source.zero_point))
        v = PAIRS[code](v, tables.sigmoid(v).astype(np.float32) if number is None else np.float32(number))
        v = np.where(v > 0, v, np.float32(0)) if activation == "RELU" else v
        return tables.quantize(
            v.astype(np.float32), output_scale=scale(out), output_zero_point=int(out.zero_point), output_dtype=np.int8
        )  # fmt: skip

    return Case([source, *floats, constant, out], ops, ["x"], ["y"], expect, values={"x": EVERY}, nodes=("look_up",))


def look_up(*, first: int = 128, swapped: bool = False) -> Case:
    """256 constants, one for each byte."""
    source, out = (replace(q(f"look up {name}", (1, 256)), name=name) for name in "xy")
    values = np.random.default_rng(3).integers(-128, 128, 256).astype(np.int8)
    table = T("table", scale=out.scale, zero_point=out.zero_point, data=values)
    index = [T(name, (1, 256), "INT32") for name in ("byte", "index")]
    sides = ["first", "byte"] if swapped else ["byte", "first"]
    ops = [O("CAST", ["x"], ["byte"], {"in_data_type": "INT8", "out_data_type": "INT32"}),
           O("ADD", sides, ["index"]), O("GATHER", ["table", "index"], ["y"])]  # fmt: skip

    def expect(at: Values, arithmetic: Arithmetic) -> np.ndarray:
        return values[at["x"].astype(np.int64) + 128]

    tensors = [source, *index, T("first", data=np.array([first], np.int32)), table, out]
    return Case(tensors, ops, ["x"], ["y"], expect, values={"x": EVERY}, nodes=("look_up",))


RELUS = {"RELU": tables.relu, "RELU6": tables.relu6, "RELU_N1_TO_1": tables.relu_n1_to_1}
ELEMENTS: dict[str, Case] = {
    **{
        f"{code} {text}": pair(code, text, **fields)
        for code in ("ADD", "SUB", "MUL")
        for text, fields in {
            "alike": {}, "relu": {"activation": "RELU"}, "relu6": {"activation": "RELU6"},
            "relu_n1_to_1": {"activation": "RELU_N1_TO_1"}, "int16": {"dtype": "INT16"},
            "of far scales": {"own": (0.5, 0.0005, 0.3)}, "that saturate": {"own": (0.5, 0.4, 0.01)},
            "powers of two": {"own": (0.25, 0.5, 0.125)},
            "of a tensor with itself": {"twice": True},
        }.items()
    },
    **{
        f"{code} broadcast {text}": pair(code, text, *shapes, **fields)
        for code in ("ADD", "SUB", "MUL", "MAXIMUM", "MINIMUM")
        for text, shapes, fields in (
            ("channels", ((1, 3, 4, 5), (5,)), {}), ("channels first", ((5,), (1, 3, 4, 5)), {}),
            ("a number", ((1, 3, 4, 5), ()), {}), ("a number first", ((1,), (1, 3, 4, 5)), {}),
            ("rows", ((1, 3, 4, 5), (1, 3, 1, 1)), {}), ("rows first", ((1, 3, 1, 1), (1, 3, 4, 5)), {}),
            ("both", ((1, 3, 1, 5), (1, 1, 4, 5)), {}), ("crosswise", ((3, 1), (1, 4)), {}),
            ("the batch", ((2, 3, 4), (1, 3, 4)), {}), ("columns", ((2, 3, 4), (2, 3, 1)), {}),
            ("a constant", ((1, 3, 4, 5), (5,)), {"constant": "b"}),
            ("a constant first", ((5,), (1, 3, 4, 5)), {"constant": "a"}),
            ("a whole constant", ((1, 3, 4, 5),), {"constant": "b"}),
            ("a whole constant first", ((1, 3, 4, 5),), {"constant": "a"}),
            ("a constant of rows", ((1, 3, 4, 5), (1, 3, 1, 1)), {"constant": "b"}),
            ("a constant of rows first", ((1, 3, 1, 1), (1, 3, 4, 5)), {"constant": "a"}),
            ("a longer constant", ((5,), (2, 3, 5)), {"constant": "b"}),
        )
    },
    "MUL int16 broadcast": pair("MUL", "wide", (2, 3, 4), (4,), dtype="INT16"),
    "SUB int16 broadcast first": pair("SUB", "wide", (4,), (2, 3, 4), dtype="INT16"),
    "MAXIMUM": pair("MAXIMUM", "alike", alike=True),
    "MINIMUM": pair("MINIMUM", "alike", alike=True),
    "MAXIMUM int16": pair("MAXIMUM", "wide", dtype="INT16", alike=True),
    "MINIMUM of other scales": pair("MINIMUM", "apart"),
    **{code: curve(code, rescaling(function)) for code, function in RELUS.items()},
    **{
        f"{code} of powers of two": curve(code, rescaling(function), own=0.5, out=(0.125, 3))
        for code, function in RELUS.items()
    },
    "RELU int16": curve("RELU", rescaling(tables.relu), "wide", dtype="INT16"),
    "RELU6 int16": curve("RELU6", rescaling(tables.relu6), "wide", dtype="INT16", own=0.001, out=(0.001, 0)),
    **{
        f"LOGISTIC scale {own}": curve("LOGISTIC", fixed(tables.logistic), str(own), out=(2.0**-8, -128), own=own)
        for own in (1e-3, 0.05, 0.25, 3.0, 8.0, 100.0)
    },
    **{
        f"TANH scale {own}": curve("TANH", fixed(tables.tanh), str(own), out=(2.0**-7, 0), own=own)
        for own in (1e-3, 0.05, 0.25, 3.0, 8.0, 100.0)
    },
    "LOGISTIC at its least zero point": curve(
        "LOGISTIC", fixed(tables.logistic), "least", out=(2.0**-8, -128), zero_point=-128
    ),
    "TANH at its most zero point": curve("TANH", fixed(tables.tanh), "most", out=(2.0**-7, 0), zero_point=127),
    "LOGISTIC int16": curve("LOGISTIC", fixed(tables.logistic), dtype="INT16", out=(2.0**-15, 0), own=3e-4),
    "TANH int16": curve("TANH", fixed(tables.tanh), dtype="INT16", out=(2.0**-15, 0), own=3e-4),
    **{
        f"LEAKY_RELU {alpha}": curve("LEAKY_RELU", leaky(alpha), str(alpha), alpha=alpha)
        for alpha in (0.1, 0.0, -0.3, 1.5)
    },
    "LEAKY_RELU int16": curve("LEAKY_RELU", leaky(0.2), "wide", dtype="INT16", alpha=0.2),
    **{f"HARD_SWISH scale {own}": curve("HARD_SWISH", hard_swish, str(own), own=own) for own in (1e-3, 0.04, 0.5)},
    "a table": look_up(),
    "a table, sides exchanged": look_up(swapped=True),
    "QUANTIZE int8 to int8": requantize("8 8", "INT8", "INT8"),
    "QUANTIZE to the same": requantize("same", "INT8", "INT8", same=True),
    "QUANTIZE by powers of two": requantize("pow2", "INT8", "INT8", scale=0.25, zero_point=1),
    "QUANTIZE uint8 to int8": requantize("u8 8", "UINT8", "INT8"),
    "QUANTIZE int8 to uint8": requantize("8 u8", "INT8", "UINT8"),
    "QUANTIZE int8 to int16": requantize("8 16", "INT8", "INT16", scale=1e-3),
    "QUANTIZE int16 to int8": requantize("16 8", "INT16", "INT8", scale=9.0),
    "QUANTIZE int16 to int16": requantize("16 16", "INT16", "INT16", scale=0.1),
    **{f"{code} in float": island([code]) for code in ISLANDS if code != "LOG"},
    "LOG in float": island(["LOGISTIC", "LOG"]),
    **{f"{code} in float": island_of_pairs(code) for code in PAIRS},
    **{f"{code} of a number in float": island_of_pairs(code, 1.75) for code in PAIRS},
    "MUL in float, clamped": island_of_pairs("MUL", None, "RELU"),
    "an island of two functions": island(["LEAKY_RELU", "TANH"]),
    "an island without functions": island([]),
    "an island from uint8 to int16": island(["SQUARE"], "UINT8", "INT16"),
    "an island from int8 to uint8": island(["EXP"], "INT8", "UINT8"),
}  # fmt: skip
