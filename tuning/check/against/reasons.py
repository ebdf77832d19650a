# SPDX-License-Identifier: Apache-2.0
"""Why kernels differ in the last bit: how each set of them computes an operator; see `cmsisnn_x/ARITHMETIC.md`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...base.options import Arithmetic
from .packages import OPTIMISED, REFERENCE, TFLM, XNNPACK

Ways = Mapping[str, str]

OWN = {Arithmetic.TFLM: TFLM, Arithmetic.LITERT: REFERENCE}
"""The kernels whose bytes an arithmetic gives."""

_SAID = {
    TFLM: "a device",
    REFERENCE: "LiteRT's reference",
    OPTIMISED: "LiteRT optimised",
    XNNPACK: "XNNPACK",
}
_TWICE = "rounds twice in fixed point, halves away from zero"
_RUY = "rounds twice in fixed point, the second time halves up"
_DOUBLE = "multiplies in double precision and rounds once"
_SINGLE = "multiplies in single precision and rounds once, halves to even"
_SHORT = "rounds once, with shorter multipliers"
_FACTOR_DOUBLE, _FACTOR_SINGLE = "forms its factors in double precision", "forms its factors in single precision"
_FIXED_TABLE, _FLOAT_TABLE = "computes it in fixed point", "has a table that was made in floating point"
_EXPONENTIALS, _LOOKED_UP = "takes exponentials in fixed point", "takes exponentials from a table in single precision"
_PRODUCTS = {TFLM: _TWICE, REFERENCE: _TWICE, OPTIMISED: _RUY, XNNPACK: _SINGLE}
_FACTORS = {TFLM: _FACTOR_DOUBLE, REFERENCE: _FACTOR_SINGLE, OPTIMISED: _FACTOR_SINGLE, XNNPACK: _FACTOR_SINGLE}
_SUMS = {TFLM: _TWICE, REFERENCE: _TWICE, OPTIMISED: "rounds otherwise in its vector instructions", XNNPACK: _SHORT}
_CURVE = {
    TFLM: _FIXED_TABLE,
    REFERENCE: _FLOAT_TABLE,
    OPTIMISED: f"{_FLOAT_TABLE} by other functions",
    XNNPACK: f"{_FLOAT_TABLE} by functions of its own",
}
_WAYS: dict[str, Ways] = {
    "CONV_2D": _PRODUCTS,
    "DEPTHWISE_CONV_2D": _PRODUCTS,
    "FULLY_CONNECTED": _PRODUCTS | {REFERENCE: _DOUBLE, OPTIMISED: f"forms its factor in single precision and {_RUY}"},
    "MUL": _FACTORS | {XNNPACK: _SINGLE},
    "RELU": _FACTORS,
    "RELU_N1_TO_1": _FACTORS,
    "RELU6": _FACTORS | {TFLM: "clamps without rescaling"},
    "LEAKY_RELU": _FACTORS | {XNNPACK: _SHORT},
    "LOGISTIC": _CURVE,
    "TANH": _CURVE,
    "ADD": _SUMS,
    "SUB": _SUMS,
    "QUANTIZE": _SUMS,
    "MEAN": _SUMS | {OPTIMISED: "rounds the part of the zero points by itself", XNNPACK: _SINGLE},
    "SOFTMAX": {TFLM: _EXPONENTIALS, REFERENCE: _EXPONENTIALS, OPTIMISED: _LOOKED_UP, XNNPACK: _LOOKED_UP},
}
_INT16: dict[str, Ways] = {
    "FULLY_CONNECTED": {
        TFLM: "cuts the multiplier to 16 bits and rounds once, halves up",
        **dict.fromkeys((REFERENCE, OPTIMISED, XNNPACK), _DOUBLE),
    },
    "SOFTMAX": {
        TFLM: "makes its tables in single precision",
        **dict.fromkeys((REFERENCE, OPTIMISED, XNNPACK), "makes its tables in double precision"),
    },
}
"""Where int16 numbers are taken otherwise."""


def reason(code: str, element: str, arithmetic: Arithmetic, kernels: str, is_float: bool = False) -> str | None:
    """Why `kernels` may differ from ours in an operator; ``None`` if nothing is known: then they should not.

    Parameters
    ----------
    code : str
        As the schema names it.
    element : str
        Type of what it reads, as the schema names it.
    arithmetic : Arithmetic
        Whose bytes are ours.
    kernels : str
    is_float : bool
        Whether the operator computes floating-point numbers between integers.

    Examples
    --------
    >>> reason("MUL", "INT8", Arithmetic.TFLM, REFERENCE)
    "LiteRT's reference forms its factors in single precision; a device forms its factors in double precision."
    >>> reason("RESHAPE", "INT8", Arithmetic.TFLM, REFERENCE)
    """
    if is_float:
        return "Floating-point functions differ in the last bit between libraries."
    ways = _INT16.get(code) if element == "INT16" else None
    ways = ways or _WAYS.get(code)
    own = OWN[arithmetic]
    if ways is None or ways[kernels] == ways[own]:
        return None
    theirs = f"{_SAID[kernels]} {ways[kernels]}; {_SAID[own]} {ways[own]}."
    return theirs[0].upper() + theirs[1:]


_FIXED_POINT = (
    "ONNX multiplies by float scales and rounds once, halves to even; a device multiplies in fixed point and rounds "
    "twice, halves away from zero. Float biases are rounded to steps of the products."
)
_BY_INPUT = (
    "ONNX rounds an average's halves to even, a device away from zero, and at its input's scale before its output's."
)
_HALVES = "ONNX rounds halves to even; a table of .tflite files has them away from zero."
_AT_256 = "A softmax is computed in fixed point at a scale of 1/256, and rounded to the file's scale then."
_ONNX_WAYS = {
    "Softmax": _AT_256,
    **dict.fromkeys(("AveragePool", "GlobalAveragePool", "ReduceMean"), _BY_INPUT),
    **dict.fromkeys(("Conv", "Gemm", "MatMul", "Add", "Sub", "Mul", "BatchNormalization", "Concat"), _FIXED_POINT),
}
_EXACT = ("Cast", "Flatten", "Gather", "Identity", "MaxPool", "GlobalMaxPool", "Pad", "Reshape", "Slice", "Split",
          "Squeeze", "Transpose", "Unsqueeze", "DepthToSpace", "SpaceToDepth", "Resize", "Upsample")  # fmt: skip
"""Operators that move integers: between others they are no reason."""


def onnx_reason(operators: Sequence[str]) -> str | None:
    """Why ONNX Runtime may differ from ours between two tensors of integers; ``None`` if nothing is known.

    Examples
    --------
    >>> onnx_reason(["com.microsoft.QLinearSoftmax"])
    "A softmax is computed in fixed point at a scale of 1/256, and rounded to the file's scale then."
    >>> onnx_reason(["Reshape"])
    """
    names = [operator.rpartition(".")[2].replace("QLinear", "").replace("QGemm", "Gemm") for operator in operators]
    ways = [_ONNX_WAYS.get(name, _HALVES) for name in names if name not in _EXACT]
    return " ".join(dict.fromkeys(ways)) or None
