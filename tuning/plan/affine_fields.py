# SPDX-License-Identifier: Apache-2.0
"""What a plan file says of layers with zero points: schemes, views and shapes, checked before a kernel runs by them."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from dataclasses import fields, replace
from math import prod
from typing import Any

from cmsisnn_x.affine import MULTIPLIER_MAX, ROUNDINGS, SHIFTS, Affine, AffineClamp, AffineMean
from cmsisnn_x.affine.curves import Scheme
from cmsisnn_x.checks import reach
from cmsisnn_x.described import KINDS, scheme_from_dict
from cmsisnn_x.layers import Layer, View

from .values import Expected, between, one_of, real, several

MAX_ELEMENTS = 1 << 27
MAX_CHANNELS = 1 << 24

_ELEMENT = between(-32768, 32767)
_MULTIPLIER = between(0, MULTIPLIER_MAX)
_SHIFT = between(*SHIFTS)


def _is_factor(value: Any) -> bool:
    """A multiplier, negative where a leaky ReLU falls, and a shift."""
    multiplier = between(-MULTIPLIER_MAX, MULTIPLIER_MAX)
    return isinstance(value, list) and len(value) == 2 and multiplier[1](value[0]) and _SHIFT[1](value[1])


_SCHEMES: dict[str, Expected] = {
    "input_zero_point": _ELEMENT,
    "output_zero_point": _ELEMENT,
    "left_zero_point": _ELEMENT,
    "right_zero_point": _ELEMENT,
    "zero_point": _ELEMENT,
    "low": _ELEMENT,
    "high": _ELEMENT,
    "fill": _ELEMENT,
    "multiplier": _MULTIPLIER,
    "shift": _SHIFT,
    "rounding": one_of(*ROUNDINGS),
    "reals": several(0, MAX_CHANNELS, "factors", real(0, 2.0**31)),
    "bits": one_of(8, 16),
    "sign": one_of(-1, 1),
    "left_shift": one_of(15, 20),
    "count": between(1, MAX_ELEMENTS),
    "columns": between(1, MAX_ELEMENTS),
    "scale": real(0, 2.0**31),
    "diff_min": between(-(2**31), 0),
    "function": one_of("sigmoid", "tanh"),
    "arithmetic": one_of("tflm", "litert"),
    "below": ("None, or a multiplier and a shift", lambda value: value is None or _is_factor(value)),
}
"""The numbers of schemes, by name."""
_OF_KIND: dict[str, dict[str, Expected]] = {
    "affine": {
        "multiplier": several(1, MAX_CHANNELS, "a list", _MULTIPLIER),
        "shift": several(1, MAX_CHANNELS, "a list", _SHIFT),
    },
    "softmax": {"shift": between(SHIFTS[0], SHIFTS[1] + 1)},
}
"""Numbers that a kind of scheme has in a form of its own."""

_KIND_OF = {
    "conv2d": "affine", "depthwise_conv2d": "affine", "fully_connected": "affine", "add": "sum", "multiply": "product",
    "mean": "mean", "requantise": "rescale", "softmax": "softmax", "sigmoid": "curve", "tanh": "curve",
}  # fmt: skip
"""What an operation computes with; all others clamp, or do nothing to their elements."""
_MAY_LACK = ("look_up", "concat", "copy", "resize_nearest")
_PAIRS = ("add", "multiply", "maximum", "minimum")
_WIDENS = ("look_up", "requantise", "softmax")
"""Operations whose output may be of another type."""


def affine_fields(layer: Layer, entry: Mapping[str, Any]) -> Layer:
    """`layer` with the scheme and the view of its entry.

    Raises
    ------
    ValueError
        ``key: expected ..., got ...``
    """
    return replace(layer, scheme=_scheme(layer, entry.get("scheme")), view=_view(entry.get("view")))


def _scheme(layer: Layer, content: Any) -> Scheme | None:
    op = layer.op
    kinds: tuple[str, ...] = (_KIND_OF.get(op, "clamp"),)
    if op == "softmax":
        kinds = ("softmax16",) if layer.type.bits == 16 else ("softmax", "real_softmax")
    if content is None and op in _MAY_LACK:
        return None
    found = content.get("kind") if isinstance(content, dict) else content
    if found not in kinds:
        expected = " or ".join(map(repr, kinds))
        raise ValueError(f"scheme: expected one of kind {expected}, got {reprlib.repr(found)}")
    for name, problem in _number_problems(content, found, KINDS[found]):
        raise ValueError(f"scheme.{name}: {problem}")
    return scheme_from_dict(content)


def _number_problems(content: Mapping[str, Any], kind: str, made: type[Any]) -> list[tuple[str, str]]:
    """Name and problem of numbers that are missing, unknown or wrong."""
    names = [{"kind": "function"}.get(item.name, item.name) for item in fields(made)]
    problems = [(str(name)[:40], "unknown") for name in content if name not in (*names, "kind")]
    for name in names:
        if name not in content:
            problems.append((name, "missing"))
        elif name in ("left", "right"):
            part = content[name]
            if not isinstance(part, dict) or set(part) != {"zero_point", "multiplier", "shift"}:
                problems.append((name, f"expected zero_point, multiplier and shift, got {reprlib.repr(part)}"))
                continue
            wrong = [key for key, value in part.items() if not _SCHEMES[key][1](value)]
            problems += [(f"{name}.{key}", f"expected {_SCHEMES[key][0]}, got {part[key]!r:.40}") for key in wrong]
        else:
            expected, fits = _OF_KIND.get(kind, {}).get(name, _SCHEMES[name])
            if not fits(content[name]):
                problems.append((name, f"expected {expected}, got {reprlib.repr(content[name])}"))
    return problems


def _view(content: Any) -> View | None:
    if content is None:
        return None
    steps = several(1, 6, "one to six numbers", between(-MAX_ELEMENTS, MAX_ELEMENTS))
    shape = several(1, 6, "one to six sizes", between(1, MAX_ELEMENTS))
    known = {"shape": shape, "steps": steps, "offset": between(0, MAX_ELEMENTS)}
    if not isinstance(content, dict) or set(content) != set(known):
        raise ValueError(f"view: expected shape, steps and offset, got {reprlib.repr(content)}")
    for key, (expected, fits) in known.items():
        if not fits(content[key]):
            raise ValueError(f"view.{key}: expected {expected}, got {reprlib.repr(content[key])}")
    if len(content["shape"]) != len(content["steps"]):
        raise ValueError(f"view: expected as many steps as sizes, got {reprlib.repr(content)}")
    return View(tuple(content["shape"]), tuple(content["steps"]), content["offset"])


def affine_problem(layer: Layer) -> str | None:
    """What in a layer with zero points does not go together; None if nothing."""
    row, own, out = layer.row, layer.type, layer.output_type
    types = (layer.dtype, layer.weights_dtype) if row.is_weighted else (layer.dtype,)
    if types not in row.types:
        legal = " or ".join(" x ".join(one) for one in row.types)
        return f"dtype: expected {legal}, got {' x '.join(map(str, types))}"
    if out != own and layer.op not in _WIDENS:
        return f"output_dtype: expected {own.name}, that of the input, got {out.name}"
    if (layer.bias_shift, layer.out_shift, layer.activation) != (0, 0, None):
        return "out_shift: expected 0 and no activation beside a scheme"
    if layer.dilation != (1, 1) and layer.op not in ("conv2d", "depthwise_conv2d"):
        return f"dilation: expected (1, 1), got {layer.dilation}"
    return _groups_problem(layer) or _scheme_problem(layer) or _shapes_problem(layer)


def _groups_problem(layer: Layer) -> str | None:
    groups = layer.groups
    if groups == 1:
        return None
    channels = (layer.image[2], layer.output_image[2])
    if layer.op != "conv2d" or any(count % groups for count in channels):
        return f"groups: expected a divisor of the channels {channels} of a convolution, got {groups}"
    return None


def _scheme_problem(layer: Layer) -> str | None:
    scheme, out = layer.scheme, layer.output_type
    if scheme is None:
        return None
    if problem := scheme.problem:
        return f"scheme: {problem}"
    if not out.low <= scheme.low <= scheme.high <= out.high:
        return f"scheme: expected low and high within {out.low}..{out.high}, got {scheme.low} and {scheme.high}"
    if isinstance(scheme, Affine):
        channels = layer.output_image[2]
        if len(scheme.multiplier) not in (1, channels):
            return f"scheme.multiplier: expected 1 or {channels}, one for every channel, got {len(scheme.multiplier)}"
        if scheme.reals and len(scheme.reals) != len(scheme.multiplier):
            return f"scheme.reals: expected {len(scheme.multiplier)}, as many as multipliers, got {len(scheme.reals)}"
        if scheme.bits != layer.type.bits:
            return f"scheme.bits: expected {layer.type.bits}, those of the input, got {scheme.bits}"
    if isinstance(scheme, AffineClamp) and not out.low <= scheme.fill <= out.high:
        return f"scheme.fill: expected an element in {out.low}..{out.high}, got {scheme.fill}"
    if isinstance(scheme, AffineMean) and scheme.count != layer.image[1]:
        return f"scheme.count: expected {layer.image[1]}, the elements of a mean, got {scheme.count}"
    return None


def _shapes_problem(layer: Layer) -> str | None:
    op, shape, output = layer.op, layer.input_shape, layer.output_shape
    size, out = prod(shape), prod(output)
    if op == "concat":
        return _concat_problem(layer)
    if len(layer.more_inputs) != (op in _PAIRS):
        return f"more_inputs: expected {int(op in _PAIRS)}, got {len(layer.more_inputs)}"
    if op in _PAIRS and size % prod(layer.more_inputs[0]):
        return f"more_inputs: expected a part of {size} elements, got {prod(layer.more_inputs[0])}"
    if op in (*_PAIRS, "look_up", "requantise", "softmax", "sigmoid", "tanh") and size != out:
        return f"output_shape: expected {size} elements, as the input has, got {out}"
    if op == "mean" and (len(shape) != 3 or out != shape[0] * shape[2]):
        return f"output_shape: expected the outer and inner size of (outer, reduced, inner), got {shape} -> {output}"
    if op in ("max_pool2d", "avg_pool2d") and layer.image[2] != layer.output_image[2]:
        return f"output_shape: expected {layer.image[2]} channels, got {layer.output_image[2]}"
    if op == "resize_nearest" and (len(shape) != 3 or len(output) != 3 or shape[2] != output[2]):
        return f"output_shape: expected an image of as many channels as the input's, got {shape} -> {output}"
    return _view_problem(layer)


def _concat_problem(layer: Layer) -> str | None:
    shapes = layer.input_shapes
    fits = all(len(shape) == 2 and shape[0] == layer.input_shape[0] for shape in shapes)
    if not fits or prod(layer.output_shape) != sum(map(prod, shapes)):
        return f"more_inputs: expected (outer, inner) of one outer size, got {reprlib.repr(shapes)}"
    return None


def _view_problem(layer: Layer) -> str | None:
    """All elements of a view lie inside the tensor that it addresses, and they are as many as the other one has."""
    view, kinds = layer.view, ("copy", "pad")
    if (view is not None) != (layer.op in kinds):
        return f"view: expected {'one' if layer.op in kinds else 'none'}, got {view}"
    if view is None:
        return None
    addressed, other = prod(layer.input_shape), prod(layer.output_shape)
    if layer.op == "pad":
        addressed, other = other, addressed
    if prod(view.shape) != other:
        return f"view.shape: expected {other} elements, got {prod(view.shape)}"
    least, most = reach(view)
    if least < 0 or most >= addressed:
        return f"view: expected elements 0..{addressed - 1}, got {least}..{most}"
    return None


def table_problem(layer: Layer) -> str | None:
    """What is wrong with the values of a table: offsets whose elements lie outside the input."""
    if layer.op != "resize_nearest" or layer.table is None:
        return None
    rows, columns = layer.table[: layer.output_image[0]], layer.table[layer.output_image[0] :]
    least, most = int(rows.min()) + int(columns.min()), int(rows.max()) + int(columns.max()) + layer.image[2]
    if least < 0 or most > prod(layer.input_shape):
        return f"table: expected offsets of elements 0..{prod(layer.input_shape) - 1}, got {least}..{most - 1}"
    return None
