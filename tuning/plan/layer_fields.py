# SPDX-License-Identifier: Apache-2.0
"""Layers of a plan file: what a kernel takes for granted is checked here before a kernel gets it."""

from __future__ import annotations

import reprlib
from collections.abc import Iterator, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from cmsisnn_x.errors import CmsisnnError
from cmsisnn_x.layers import NUMPY_DTYPES, Layer
from cmsisnn_x.op import MODEL_OPS, NETWORK_OPS, check_variant
from cmsisnn_x.scheme import AFFINE_TYPES
from cmsisnn_x.variant import Variant

from .affine_fields import affine_fields, affine_problem
from .plan import ARRAYS
from .values import Expected, between, one_of, several

MAX_DIMENSION = 65535
EMULATED_TENSOR_BYTES = 1 << 27
"""Of one tensor: the emulator has no room for more."""

ARRAYS_BYTES = 1 << 29
"""Of all weights and biases: the architecture's code region, as for model files."""

MAX_BYTES = 1 << 31
"""Of all tensors of a network together: the Python kernels keep every layer's output."""

_SHAPE = several(1, 3, "one to three sizes", between(1, MAX_DIMENSION))
_ANY_SHAPE = several(1, 6, "one to six sizes", between(1, EMULATED_TENSOR_BYTES))
_PAIR = several(2, 2, "two numbers", between(1, MAX_DIMENSION))
_FIELDS: dict[str, Expected] = {
    "op": one_of(*NETWORK_OPS),
    "dtype": one_of(*NUMPY_DTYPES),
    "weights_dtype": one_of(None, *NUMPY_DTYPES),
    "input_shape": _SHAPE,
    "output_shape": _SHAPE,
    "kernel": _PAIR,
    "stride": _PAIR,
    "padding": several(2, 2, "two pairs", several(2, 2, "two numbers", between(-MAX_DIMENSION, MAX_DIMENSION))),
    "bias_shift": between(0, 31),
    "out_shift": between(0, 31),
    "activation": one_of(None, "relu"),
    "int_bits": between(0, 3),
    "ceil_mode": ("true or false", lambda value: type(value) is bool),
}
"""What the kernels of a layer take for granted: what is expected, and whether a value is that."""
_WITH_ZERO_POINTS = {"input_shape": _ANY_SHAPE, "output_shape": _ANY_SHAPE}
_LATER: dict[str, Expected] = {
    "dilation": _PAIR,
    "groups": between(1, MAX_DIMENSION),
    "samples": between(1, MAX_DIMENSION),
    "more_inputs": several(0, 255, "up to 255 shapes", _ANY_SHAPE),
    "output_dtype": one_of(None, *AFFINE_TYPES),
}
"""What plans say of layers with zero points alone, where it is not the default."""

_COUNT: Expected = ("a count", lambda value: type(value) is int and value >= 0)
_SINCE_2 = ("ceil_mode",)


def misfits(entry: Mapping[str, Any]) -> Iterator[str]:
    """What of a layer is there and cannot be so; figures that a schema knows are left to it."""
    is_affine = entry.get("dtype") in tuple(AFFINE_TYPES)
    known = {**_FIELDS, **(_WITH_ZERO_POINTS if is_affine else {}), "cycles": _COUNT}
    for key in (*_LATER, "scheme", "table", "view"):
        if key in entry and not is_affine:
            yield f"{key}: expected none, with dtype {reprlib.repr(entry.get('dtype'))}, got {reprlib.repr(entry[key])}"
    for key, (expected, fits) in {**known, **(_LATER if is_affine else {})}.items():
        if key in entry and not fits(entry[key]):
            yield f"{key}: expected {expected}, got {reprlib.repr(entry[key])}"


def read_layer(entry: Mapping[str, Any]) -> tuple[Layer, Variant | None]:
    """A layer of a plan without its arrays, and its variant. What stands in it passed `plan_problem`.

    Raises
    ------
    ValueError
        ``key: expected ..., got ...``
    """
    for key in _FIELDS:
        if key not in entry and key not in _SINCE_2:
            raise ValueError(f"{key}: missing")
    known = {key: _as_tuple(entry[key]) for key in (*_FIELDS, *_LATER) if key in entry}
    pins = entry.get("pins", {})
    layer = Layer(name=entry["name"], variant=pins, **known)
    if layer.type.is_affine:
        layer = affine_fields(layer, entry)
    elif layer.op not in MODEL_OPS:
        raise ValueError(f"op: expected one of {', '.join(map(repr, MODEL_OPS))}, got {layer.op!r}")
    sizes = [("input_shape", shape, layer.type) for shape in layer.input_shapes]
    for key, shape, own in (*sizes, ("output_shape", layer.output_shape, layer.output_type)):
        if (size := layer.samples * prod(shape) * own.dtype.itemsize) > EMULATED_TENSOR_BYTES:
            raise ValueError(f"{key}: expected at most {EMULATED_TENSOR_BYTES} bytes, got {size}")
    if layer.row.is_windowed:
        _check_windows(layer)
    if layer.type.is_affine and (problem := affine_problem(layer)):
        raise ValueError(problem)
    _check_arrays(layer, entry)
    if any(entry["variant"].get(key) != value for key, value in pins.items()):
        raise ValueError(f"pins: expected knobs of the variant, got {reprlib.repr(pins)}")
    return layer, _read_variant(entry["variant"], layer.python_op)


def _as_tuple(value: Any) -> Any:
    return tuple(map(_as_tuple, value)) if isinstance(value, list) else value


def _check_arrays(layer: Layer, entry: Mapping[str, Any]) -> None:
    """The digests of a layer's arrays are of arrays that the layer takes; plan-1 has none."""
    wanted = array_types(layer)
    for kind in (*ARRAYS, "table"):
        found = entry.get(kind)
        if found is None and (kind not in entry or kind == "bias" or kind not in wanted) and kind != "table":
            continue
        if found is None and kind == "table" and "table" not in wanted:
            continue
        got = "none" if found is None else f"{found['dtype']} of shape {reprlib.repr(found['shape'])}"
        dtype, shape = wanted.get(kind, ("", ()))
        expected = f"{dtype} of shape {list(shape)}" if shape else "none"
        if got != expected:
            raise ValueError(f"{kind}: expected {expected}, got {got}")


def array_types(layer: Layer) -> dict[str, tuple[str, tuple[int, ...]]]:
    """The constants that a layer takes: name -> NumPy type and shape."""
    types = {
        "weights": layer.weights_type.dtype.name,
        "bias": layer.bias_dtype.name,
        "table": "int32" if layer.op == "resize_nearest" else layer.output_type.dtype.name,
    }
    return {role: (types[role], shape) for role, shape in layer.row.constants(layer).items() if shape}


def _check_windows(layer: Layer) -> None:
    for axis, key in enumerate(("height", "width")):
        first, stride = layer.padding[axis][0], layer.stride[axis]
        reach = (layer.kernel[axis] - 1) * layer.dilation[axis] + 1
        if not 0 <= first < reach:
            raise ValueError(f"padding: expected less than the kernel's {key}, {reach}, got {first}")
        if (layer.output_image[axis] - 1) * stride - first >= layer.image[axis]:
            most = (layer.image[axis] - 1 + first) // stride + 1
            raise ValueError(f"output_shape: expected a {key} of at most {most}, got {layer.output_image[axis]}")


def _read_variant(knobs: Mapping[str, Any], op: str) -> Variant | None:
    if not knobs:
        return None
    try:
        return check_variant(Variant(**knobs), op)
    except TypeError:
        legal = ", ".join(vars(Variant()))
        raise ValueError(f"variant: expected knobs out of {legal}, got {reprlib.repr(dict(knobs))}") from None
    except CmsisnnError as problem:
        raise ValueError(str(problem)) from None


def layers_problem(layers: Sequence[Layer]) -> str | None:
    """What is wrong with the layers of a plan together."""
    tensors = sum(layer.output_bytes for layer in layers)
    if tensors > MAX_BYTES:
        return f"layers: expected tensors of at most {MAX_BYTES} bytes together, got {tensors}"
    types = (one for layer in layers for one in array_types(layer).values())
    arrays = sum(prod(shape) * np.dtype(dtype).itemsize for dtype, shape in types)
    if arrays > ARRAYS_BYTES:
        return f"layers: expected weights of at most {ARRAYS_BYTES} bytes together, got {arrays}"
    return None
