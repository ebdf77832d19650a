# SPDX-License-Identifier: Apache-2.0
"""A plan.json of anybody: what of it reaches a compiler, a path, a kernel or a terminal is checked before it does.

Two readers share this: `tuning.plan.read_plan_file`, which compares figures, and `tuning.measure.folder`, which
compiles and runs. Each problem is one line, ``key: expected ..., got ...``; what was got is shown as Python would, cut.
"""

from __future__ import annotations

import reprlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from math import prod
from typing import Any

from cmsisnn_x.errors import CmsisnnError
from cmsisnn_x.layers import NUMPY_DTYPES, Layer
from cmsisnn_x.op import MODEL_OPS, check_variant
from cmsisnn_x.variant import Variant

from ..base.cflags import cflags_problem
from ..base.names import layer_name_problem, model_name_problem
from ..base.units import line_problem

LARGEST = 2**63
"""No figure of a plan comes near it; sums and ratios of what is smaller are numbers too."""

MAX_DIMENSION = 65535
MAX_TENSOR_BYTES = 1 << 27
"""Of one tensor: the emulator has no room for more."""

MAX_BYTES = 1 << 31
"""Of all tensors of a network together: the Python kernels keep every layer's output."""

_LINES = ("dtype", "target", "core", "compiler", "objective", "score", "strategy")
_WINDOWED = ("conv2d", "depthwise_conv2d", "max_pool2d", "avg_pool2d")


def plan_problem(plan: Mapping[str, Any]) -> str | None:
    """The first thing that is wrong with names, texts, flags or numbers of a plan; ``None`` if nothing."""
    return next(_problems(plan), None)


def _problems(plan: Mapping[str, Any]) -> Iterator[str]:
    yield from _numbers(plan)
    yield from _named("model", plan.get("model"), model_name_problem)
    for key in _LINES:
        if key in plan and (problem := line_problem(plan[key])):
            yield f"{key}: {problem}"
    if problem := cflags_problem(plan.get("cflags")):
        yield f"cflags: {problem}"
    layers = plan.get("layers")
    if not isinstance(layers, list) or not all(isinstance(entry, dict) for entry in layers):
        yield f"layers: expected a list of layers, got {reprlib.repr(layers)}"
        return
    seen: dict[str, str] = {}
    for index, entry in enumerate(layers):
        name = entry.get("name")
        yield from _named(f"layers[{index}].name", name, lambda text: layer_name_problem(text, seen))
        seen[name.lower()] = name
        yield from (f"layer {name}: {problem}" for problem in _texts(entry))
    for before, entry in pairwise([{"name": None}, *layers]):
        into = entry.get("fused_into")
        if into is not None and into != before["name"]:
            expected = f"the layer before it, {before['name']!r}" if before["name"] else "none, as it comes first"
            yield f"layer {entry['name']}: fused_into: expected {expected}, got {reprlib.repr(into)}"


def _numbers(node: Any) -> Iterator[str]:
    """Numbers that no figure can be; what is nested too deep was no JSON that can be read."""
    todo = [node]
    while todo:
        item = todo.pop()
        if isinstance(item, dict):
            todo += item.values()
        elif isinstance(item, list):
            todo += item
        elif isinstance(item, int | float) and not abs(item) < LARGEST:
            yield f"the file: expected numbers below 2**63, got {reprlib.repr(item)}"


def _named(where: str, name: Any, problem_of: Any) -> Iterator[str]:
    if problem := line_problem(name) or problem_of(name):
        yield f"{where}: {problem}"


def _texts(entry: Mapping[str, Any]) -> Iterator[str]:
    """What of a layer is printed though it may be anything."""
    if "op" in entry and (problem := line_problem(entry["op"])):
        yield f"op: {problem}"
    variant = entry.get("variant")
    if not isinstance(variant, dict):
        yield f"variant: expected an object, got {reprlib.repr(variant)}"
        return
    for key, value in variant.items():
        if problem := line_problem(key):
            yield f"variant: a knob's name: {problem}"
        if isinstance(value, str) and (problem := line_problem(value)):
            yield f"variant.{key}: {problem}"
        elif not isinstance(value, str | int | float):
            yield f"variant.{key}: expected a number or a text, got {reprlib.repr(value)}"


# -- layers that run ---------------------------------------------------------------------------------------------------


def _between(low: int, high: int) -> tuple[str, Any]:
    def fits(value: Any) -> bool:
        return type(value) is int and low <= value <= high

    return f"an integer in {low}..{high}", fits


def _one_of(*legal: str | None) -> tuple[str, Any]:
    return "one of " + ", ".join(map(repr, legal)), lambda value: any(value == item for item in legal)


def _several(least: int, most: int, what: str, item: tuple[str, Any]) -> tuple[str, Any]:
    expected, fits_one = item

    def fits(value: Any) -> bool:
        return isinstance(value, list) and least <= len(value) <= most and all(map(fits_one, value))

    return f"{what}, each {expected}", fits


_SHAPE = _several(1, 3, "one to three sizes", _between(1, MAX_DIMENSION))
_PAIR = _several(2, 2, "two numbers", _between(1, MAX_DIMENSION))
_FIELDS: dict[str, tuple[str, Any]] = {
    "op": _one_of(*MODEL_OPS),
    "dtype": _one_of(*NUMPY_DTYPES),
    "weights_dtype": _one_of(None, *NUMPY_DTYPES),
    "input_shape": _SHAPE,
    "output_shape": _SHAPE,
    "kernel": _PAIR,
    "stride": _PAIR,
    "padding": _several(2, 2, "two pairs", _several(2, 2, "two numbers", _between(-MAX_DIMENSION, MAX_DIMENSION))),
    "bias_shift": _between(0, 31),
    "out_shift": _between(0, 31),
    "activation": _one_of(None, "relu"),
    "int_bits": _between(0, 3),
}
"""What the kernels of a layer take for granted: what is expected, and whether a value is that."""


def read_layer(entry: Mapping[str, Any]) -> tuple[Layer, Variant | None]:
    """A layer of a plan without its weights, and its variant. The names in it are those that `plan_problem` passed.

    Raises
    ------
    ValueError
        ``key: expected ..., got ...``
    """
    for key, (expected, fits) in _FIELDS.items():
        if key not in entry:
            raise ValueError(f"{key}: missing")
        if not fits(entry[key]):
            raise ValueError(f"{key}: expected {expected}, got {reprlib.repr(entry[key])}")
    (top, bottom), (left, right) = entry["padding"]
    layer = Layer(
        name=entry["name"],
        op=entry["op"],
        dtype=entry["dtype"],
        input_shape=tuple(entry["input_shape"]),
        output_shape=tuple(entry["output_shape"]),
        kernel=(entry["kernel"][0], entry["kernel"][1]),
        stride=(entry["stride"][0], entry["stride"][1]),
        padding=((top, bottom), (left, right)),
        bias_shift=entry["bias_shift"],
        out_shift=entry["out_shift"],
        activation=entry["activation"],
        weights_dtype=entry["weights_dtype"],
        int_bits=entry["int_bits"],
    )
    cycles = entry.get("cycles")
    if cycles is not None and not (type(cycles) is int and cycles >= 0):
        raise ValueError(f"cycles: expected a count, got {reprlib.repr(cycles)}")
    for key, shape in (("input_shape", layer.input_shape), ("output_shape", layer.output_shape)):
        if (size := prod(shape) * layer.numpy_dtype.itemsize) > MAX_TENSOR_BYTES:
            raise ValueError(f"{key}: expected at most {MAX_TENSOR_BYTES} bytes, got {size}")
    if layer.op in _WINDOWED:
        _check_windows(layer)
    return layer, _read_variant(entry["variant"], layer.python_op)


def _check_windows(layer: Layer) -> None:
    for axis, key in enumerate(("height", "width")):
        first, stride = layer.padding[axis][0], layer.stride[axis]
        if not 0 <= first < layer.kernel[axis]:
            raise ValueError(f"padding: expected less than the kernel's {key}, {layer.kernel[axis]}, got {first}")
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
    total = sum(layer.output_bytes for layer in layers)
    return f"layers: expected tensors of at most {MAX_BYTES} bytes together, got {total}" if total > MAX_BYTES else None
