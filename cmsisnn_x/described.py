# SPDX-License-Identifier: Apache-2.0
"""Layers, schemes and views as plain data: what plan files, digests and records say of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, fields
from typing import Any

from .affine import (
    Affine,
    AffineClamp,
    AffineMean,
    AffineProduct,
    AffineRescale,
    AffineSoftmax,
    AffineSum,
    Rescale,
)
from .affine.curves import AffineCurve, AffineRealSoftmax, AffineSoftmax16, Scheme
from .layers import Layer, View

KINDS: dict[str, type[Any]] = {
    "affine": Affine,
    "clamp": AffineClamp,
    "curve": AffineCurve,
    "sum": AffineSum,
    "product": AffineProduct,
    "mean": AffineMean,
    "rescale": AffineRescale,
    "real_softmax": AffineRealSoftmax,
    "softmax": AffineSoftmax,
    "softmax16": AffineSoftmax16,
}
"""The schemes with zero points, by what files call them."""
_NAMES = {made: name for name, made in KINDS.items()}

LATER = ("scheme", "dilation", "groups", "samples", "more_inputs", "output_dtype", "table", "view")
"""Fields that only layers of graphs with zero points need: where they have their default, nothing is said of them. So
what was written before there were such layers stays as it was.
"""
_DEFAULTS = {item.name: item.default for item in fields(Layer) if item.name in LATER}


def described(layer: Layer, without: Collection[str] = ()) -> dict[str, Any]:
    """The fields of a layer by name, in their order, scheme and view as mappings; arrays stay what they are."""
    found: dict[str, Any] = {}
    for item in fields(layer):
        value = getattr(layer, item.name)
        if item.name in without or (item.name in LATER and value is _DEFAULTS[item.name]):
            continue
        if item.name in LATER and item.name != "table" and value == _DEFAULTS[item.name]:
            continue
        found[item.name] = scheme_to_dict(value) if item.name == "scheme" else value
        if isinstance(value, View):
            found[item.name] = asdict(value)
    return found


def scheme_to_dict(scheme: Scheme) -> dict[str, Any]:
    """All numbers of a scheme, and as ``kind`` which it is; the kind of a curve is its ``function``."""
    numbers = asdict(scheme)
    if isinstance(scheme, AffineCurve):
        numbers["function"] = numbers.pop("kind")
    return {"kind": _NAMES[type(scheme)], **numbers}


def scheme_from_dict(content: Mapping[str, Any]) -> Scheme:
    """The inverse of `scheme_to_dict`; the caller has checked kind, names and types."""
    numbers = {name: _as_tuple(value) for name, value in content.items() if name != "kind"}
    for name in ("left", "right"):
        if isinstance(numbers.get(name), Mapping):
            numbers[name] = Rescale(**numbers[name])
    if "function" in numbers:
        numbers["kind"] = numbers.pop("function")
    made: Scheme = KINDS[content["kind"]](**numbers)
    return made


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
