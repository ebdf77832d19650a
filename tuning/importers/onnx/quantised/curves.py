# SPDX-License-Identifier: Apache-2.0
"""Functions of one number in quantised ONNX networks, written in float functions that `.tflite` files have."""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt

from ...integer_graph import Refused
from ..file import Node
from .elements import applied, attribute, combined, curve, unary, with_number
from .items import Curve, Item, finite
from .walk import Translator, Walk

SELU_ALPHA, SELU_GAMMA = 1.67326319217681884765625, 1.05070102214813232421875


def _of_curve(function: Callable[[Walk, Node, Curve], Curve]) -> Translator:
    def translate(walk: Walk, node: Node) -> Item:
        return function(walk, node, curve(walk, node, walk.item(node), node.inputs[0]))

    return translate


def _both(walk: Walk, one: Curve, code: str, other: Curve) -> Curve:
    """Two functions of one tensor."""
    return combined(walk, one, code, other.tensor, other.values)


def _exponential(walk: Walk, x: Curve, alpha: float, inner: float = 1.0) -> Curve:
    """``max(x, 0) + alpha * (exp(min(x, 0) / inner) - 1)``."""
    below = with_number(walk, x, "MINIMUM", 0)
    below = below if inner == 1 else with_number(walk, below, "DIV", inner)
    below = with_number(walk, with_number(walk, applied(walk, below, "EXP"), "SUB", 1), "MUL", alpha)
    return _both(walk, with_number(walk, x, "MAXIMUM", 0), "ADD", below)


def _elu(walk: Walk, node: Node, x: Curve) -> Curve:
    alpha = attribute(node, "alpha", 1)
    return applied(walk, x, "ELU") if alpha == 1 else _exponential(walk, x, alpha)


def _celu(walk: Walk, node: Node, x: Curve) -> Curve:
    alpha = attribute(node, "alpha", 1)
    if alpha == 0:
        raise Refused("alpha: expected another number than 0")
    return _exponential(walk, x, alpha, alpha)


def _selu(walk: Walk, node: Node, x: Curve) -> Curve:
    made = _exponential(walk, x, attribute(node, "alpha", SELU_ALPHA))
    return with_number(walk, made, "MUL", attribute(node, "gamma", SELU_GAMMA))


def _softplus(walk: Walk, node: Node, x: Curve) -> Curve:
    """``max(x, 0) + log(1 + exp(-|x|))``, which never overflows."""
    tail = applied(walk, applied(walk, applied(walk, x, "ABS"), "NEG"), "EXP")
    tail = applied(walk, with_number(walk, tail, "ADD", 1), "LOG")
    return _both(walk, with_number(walk, x, "MAXIMUM", 0), "ADD", tail)


def _mish(walk: Walk, node: Node, x: Curve) -> Curve:
    return _both(walk, x, "MUL", applied(walk, _softplus(walk, node, x), "TANH"))


def _softsign(walk: Walk, node: Node, x: Curve) -> Curve:
    return _both(walk, x, "DIV", with_number(walk, applied(walk, x, "ABS"), "ADD", 1))


def _swish(walk: Walk, node: Node, x: Curve) -> Curve:
    alpha = attribute(node, "alpha", 1)
    inner = x if alpha == 1 else with_number(walk, x, "MUL", alpha)
    return _both(walk, x, "MUL", applied(walk, inner, "LOGISTIC"))


def _gelu(walk: Walk, node: Node, x: Curve) -> Curve:
    kind = node.attributes.get("approximate") or "none"
    if kind not in ("none", "tanh"):
        raise Refused(f"approximate: expected 'none' or 'tanh', got {kind!r}")
    return applied(walk, x, "GELU", approximate=kind == "tanh")


def _erf(walk: Walk, node: Node, x: Curve) -> Curve:
    """`.tflite` files have no ERF. With ``y = sqrt(2) x``, ``GELU(y) = y / 2 * (1 + erf(x))``; so that 0 can be divided
    by, it is moved by less than float32 tells of any other number.
    """
    y = with_number(walk, with_number(walk, x, "MUL", sqrt(2)), "ADD", 1e-30)
    twice = with_number(walk, applied(walk, y, "GELU", approximate=False), "MUL", 2)
    return with_number(walk, _both(walk, twice, "DIV", y), "SUB", 1)


def _power(walk: Walk, node: Node, x: Curve) -> Curve:
    exponents = finite(walk.known(node, 1, "exponent"), "exponent").reshape(-1)
    number = float(exponents[0]) if exponents.size == 1 else None
    if number == 0.5:
        return applied(walk, x, "SQRT")
    if number not in (1, 2, 3):
        raise Refused("expected one exponent of 0.5, 1, 2 or 3")
    if number == 1:
        return x
    square = applied(walk, x, "SQUARE")
    return square if number == 2 else _both(walk, square, "MUL", x)


TRANSLATORS: dict[str, Translator] = {
    "Ceil": unary("CEIL"),
    "Celu": _of_curve(_celu),
    "Cos": unary("COS"),
    "Elu": _of_curve(_elu),
    "Erf": _of_curve(_erf),
    "Floor": unary("FLOOR"),
    "Gelu": _of_curve(_gelu),
    "Log": unary("LOG"),
    "Mish": _of_curve(_mish),
    "Pow": _of_curve(_power),
    "Round": unary("ROUND"),
    "Selu": _of_curve(_selu),
    "Sin": unary("SIN"),
    "Softplus": _of_curve(_softplus),
    "Softsign": _of_curve(_softsign),
    "Sqrt": unary("SQRT"),
    "Swish": _of_curve(_swish),
}
