# SPDX-License-Identifier: Apache-2.0
"""Why kernels differ in the last bit: how each set of them computes an operator, as `cmsisnn_x/ARITHMETIC.md` has it."""

from __future__ import annotations

from collections.abc import Mapping

from ..base.options import Arithmetic
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
_SINGLE = "multiplies in single precision and rounds once, halves to even"
_FACTOR_DOUBLE, _FACTOR_SINGLE = "forms its factors in double precision", "forms its factors in single precision"
_PRODUCTS = {TFLM: _TWICE, REFERENCE: _TWICE, OPTIMISED: _RUY, XNNPACK: _SINGLE}
_FACTORS = {TFLM: _FACTOR_DOUBLE, REFERENCE: _FACTOR_SINGLE, OPTIMISED: _FACTOR_SINGLE, XNNPACK: _SINGLE}
_RESCALED = {TFLM: _TWICE, REFERENCE: _TWICE, OPTIMISED: _RUY, XNNPACK: "rounds once, with a multiplier of its own"}
_CURVE = {
    TFLM: "computes it in fixed point",
    REFERENCE: "looks it up in a table that was made in floating point",
    OPTIMISED: "looks it up in a table that was made in floating point",
    XNNPACK: "looks it up in a table that was made in floating point, from rounded scales",
}
_WAYS: dict[str, Ways] = {
    "CONV_2D": _PRODUCTS,
    "DEPTHWISE_CONV_2D": _PRODUCTS,
    "FULLY_CONNECTED": _PRODUCTS | {REFERENCE: "multiplies in double precision and rounds once"},
    "MUL": _FACTORS,
    "RELU": _FACTORS,
    "RELU_N1_TO_1": _FACTORS,
    "LEAKY_RELU": _FACTORS,
    "RELU6": _FACTORS | {TFLM: "clamps without rescaling"},
    "LOGISTIC": _CURVE,
    "TANH": _CURVE,
    "ADD": _RESCALED,
    "SUB": _RESCALED,
    "QUANTIZE": _RESCALED,
    "MEAN": {
        TFLM: _TWICE,
        REFERENCE: _TWICE,
        OPTIMISED: "rounds the part of the zero points by itself",
        XNNPACK: "divides in single precision",
    },
    "SOFTMAX": {
        TFLM: "takes exponentials and reciprocals in fixed point",
        REFERENCE: "takes exponentials and reciprocals in fixed point",
        OPTIMISED: "takes exponentials from a table in single precision",
        XNNPACK: "takes exponentials from a table in single precision",
    },
}
_INT16: dict[str, Ways] = {
    "FULLY_CONNECTED": {
        TFLM: "cuts the multiplier to 16 bits and rounds once, halves up",
        REFERENCE: "multiplies in double precision and rounds once",
        OPTIMISED: "multiplies in double precision and rounds once",
        XNNPACK: "multiplies in double precision and rounds once",
    },
    "SOFTMAX": {
        TFLM: "makes its tables in single precision",
        REFERENCE: "makes its tables in double precision",
        OPTIMISED: "makes its tables in double precision",
        XNNPACK: "makes its tables in double precision",
    },
}
"""Where int16 tensors are computed otherwise."""


def reason(code: str, element: str, arithmetic: Arithmetic, kernels: str, is_float: bool = False) -> str | None:
    """Why `kernels` may differ from ours in an operator; ``None`` if nothing is known: then they should not.

    Parameters
    ----------
    code : str
        As the schema names it.
    element : str
        Type of the output, as the schema names it.
    arithmetic : Arithmetic
        Whose bytes are ours.
    kernels : str
    is_float : bool
        Whether the operator computes floating-point numbers between integers.

    Examples
    --------
    >>> reason("FULLY_CONNECTED", "INT8", Arithmetic.TFLM, REFERENCE)
    "LiteRT's reference multiplies in double precision and rounds once; a device rounds twice in fixed point, halves away from zero."
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
