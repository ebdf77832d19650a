# SPDX-License-Identifier: Apache-2.0
"""A plan.json of anybody: what of it reaches a compiler, a path, a kernel or a terminal is checked before it does.

`read_plan_file` is what every reader calls: `cmsisnn-tune compare` for the figures, `tuning.measure.folder` for the
layers that it compiles and runs. Each problem is one line, ``key: expected ..., got ...``; what was got is shown as
Python would, cut.
"""

from __future__ import annotations

import os
import reprlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import Any

from cmsisnn_x.errors import CmsisnnError
from cmsisnn_x.layers import NUMPY_DTYPES, Layer
from cmsisnn_x.op import MODEL_OPS, check_variant
from cmsisnn_x.variant import Variant

from ..base.cflags import cflags_problem
from ..base.errors import OptionError
from ..base.files import read_json
from ..base.names import layer_name_problem, model_name_problem
from ..base.units import line_problem
from ..schemas import published
from ..schemas.check import first_problem
from .plan import ARRAYS, SCHEMA

SCHEMAS = (SCHEMA, "plan-1")
"""What is read; the first is what is written."""

LARGEST = 2**63
"""No figure of a plan comes near it; sums and ratios of what is smaller are numbers too."""

MAX_DIMENSION = 65535
EMULATED_TENSOR_BYTES = 1 << 27
"""Of one tensor: the emulator has no room for more."""

ARRAYS_BYTES = 1 << 29
"""Of all weights and biases: the architecture's code region, as for model files."""

MAX_BYTES = 1 << 31
"""Of all tensors of a network together: the Python kernels keep every layer's output."""

_LINES = ("dtype", "target", "core", "compiler", "objective", "score", "strategy")


@dataclass(frozen=True)
class PlanFile:
    """What a plan.json says.

    Attributes
    ----------
    path : str
        For messages.
    content : mapping
        All of it, fit to be shown.
    """

    path: str
    content: Mapping[str, Any]

    @property
    def has_digests(self) -> bool:
        """Whether it says which weights it was made for: plan-1 does not."""
        return self.content["schema"] == SCHEMA

    @property
    def fused_into(self) -> tuple[str | None, ...]:
        """For every layer that another one's kernel runs, that one's name."""
        return tuple(entry.get("fused_into") for entry in self.content["layers"])

    def layers(self) -> tuple[tuple[Layer, Variant | None], ...]:
        """The layers without their arrays, fit for a kernel, and their variants.

        Raises
        ------
        OptionError
            A layer that no kernel runs, or tensors that no memory holds.
        """
        read = []
        for entry in self.content["layers"]:
            try:
                read.append(read_layer(entry))
            except ValueError as wrong:
                raise OptionError(f"{self.path}: layer {entry['name']}: {wrong}") from None
        if problem := layers_problem([layer for layer, _ in read]):
            raise OptionError(f"{self.path}: {problem}")
        return tuple(read)


def read_plan_file(path: str | os.PathLike[str]) -> PlanFile:
    """Read a plan.json of this version or an earlier one.

    Raises
    ------
    OptionError
        No such file, not a plan, or one with names, texts, flags or numbers that this tool does not write.
    """
    try:
        content = read_json(path)
    except FileNotFoundError:
        raise OptionError(f"{path}: no such file") from None
    except (OSError, ValueError) as failed:
        why = getattr(failed, "strerror", None) or failed
        raise OptionError(f"{path}: cannot be read: expected a plan.json, got {why}") from None
    found = content.get("schema") if isinstance(content, dict) else type(content).__name__
    if found not in SCHEMAS or not isinstance(content, dict):
        expected = " or ".join(map(repr, SCHEMAS))
        raise OptionError(f"{path}: expected a plan.json, schema {expected}, got {reprlib.repr(found)}")
    schema = published(str(found))
    if missing := [key for key in schema["required"] if key not in content]:
        raise OptionError(f"{path}: not a plan that this version can read: {missing[0]}: missing")
    # The schema comes last: the others say more.
    if problem := plan_problem(content) or first_problem(schema, content) or _steps_problem(content):
        raise OptionError(f"{path}: {problem}")
    return PlanFile(os.fspath(path), content)


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
    if not layers:
        yield "layers: expected at least one, got none"
    seen: dict[str, str] = {}
    for index, entry in enumerate(layers):
        name = entry.get("name")
        yield from _named(f"layers[{index}].name", name, lambda text: layer_name_problem(text, seen))
        seen[name.lower()] = name
        yield from (f"layer {name}: {problem}" for problem in (*_texts(entry), *_misfits(entry)))
    for before, entry in pairwise([{"name": None}, *layers]):
        into = entry.get("fused_into")
        if into is not None and (into != before["name"] or before.get("fused_into") is not None):
            expected = f"the layer before it, {before['name']!r}" if before["name"] else "none, as it comes first"
            if before.get("fused_into") is not None:
                expected = f"none, as {before['name']!r} is run by another"
            yield f"layer {entry['name']}: fused_into: expected {expected}, got {reprlib.repr(into)}"


def _steps_problem(plan: Mapping[str, Any]) -> str | None:
    """What is wrong with the steps of a plan whose layers are right."""
    expected: list[dict[str, Any]] = []
    for entry in plan["layers"]:
        if (into := entry.get("fused_into")) is None:
            expected.append({"layers": [entry["name"]], "kind": "layer"})
        else:
            expected[-1] = {"layers": [into, entry["name"]], "kind": "fused_pool"}
    if plan.get("steps", expected) == expected:
        return None
    return f"steps: expected those that fused_into of the layers gives, got {reprlib.repr(plan['steps'])}"


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
    for which in ("variant", "pins") if "pins" in entry else ("variant",):
        knobs = entry.get(which)
        if not isinstance(knobs, dict):
            yield f"{which}: expected an object, got {reprlib.repr(knobs)}"
            return
        for key, value in knobs.items():
            if problem := line_problem(key):
                yield f"{which}: a knob's name: {problem}"
            if isinstance(value, str) and (problem := line_problem(value)):
                yield f"{which}.{key}: {problem}"
            elif not isinstance(value, str | int | float):
                yield f"{which}.{key}: expected a number or a text, got {reprlib.repr(value)}"


def _misfits(entry: Mapping[str, Any]) -> Iterator[str]:
    """What of a layer is there and cannot be so; figures that a schema knows are left to it."""
    for key, (expected, fits) in {**_FIELDS, "cycles": _COUNT}.items():
        if key in entry and not fits(entry[key]):
            yield f"{key}: expected {expected}, got {reprlib.repr(entry[key])}"


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
    "ceil_mode": ("true or false", lambda value: type(value) is bool),
}
"""What the kernels of a layer take for granted: what is expected, and whether a value is that."""

_COUNT: tuple[str, Any] = ("a count", lambda value: type(value) is int and value >= 0)
_SINCE_2 = ("ceil_mode",)


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
    known = {key: _as_tuple(entry[key]) for key in _FIELDS if key in entry}
    pins = entry.get("pins", {})
    layer = Layer(name=entry["name"], variant=pins, **known)
    for key, shape in (("input_shape", layer.input_shape), ("output_shape", layer.output_shape)):
        if (size := prod(shape) * layer.numpy_dtype.itemsize) > EMULATED_TENSOR_BYTES:
            raise ValueError(f"{key}: expected at most {EMULATED_TENSOR_BYTES} bytes, got {size}")
    if layer.row.is_windowed:
        _check_windows(layer)
    _check_arrays(layer, entry)
    if any(entry["variant"].get(key) != value for key, value in pins.items()):
        raise ValueError(f"pins: expected knobs of the variant, got {reprlib.repr(pins)}")
    return layer, _read_variant(entry["variant"], layer.python_op)


def _as_tuple(value: Any) -> Any:
    return tuple(map(_as_tuple, value)) if isinstance(value, list) else value


def _check_arrays(layer: Layer, entry: Mapping[str, Any]) -> None:
    """The digests of a layer's arrays are of arrays that the layer takes; plan-1 has none."""
    dtype = layer.weights_type.dtype.name
    for kind, shape in zip(ARRAYS, (layer.weights_shape, layer.bias_shape), strict=True):
        found = entry.get(kind)
        if found is None and (kind not in entry or kind == "bias" or not shape):
            continue
        got = "none" if found is None else f"{found['dtype']} of shape {reprlib.repr(found['shape'])}"
        expected = f"{dtype} of shape {list(shape)}" if shape else "none"
        if got != expected:
            raise ValueError(f"{kind}: expected {expected}, got {got}")


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
    tensors = sum(layer.output_bytes for layer in layers)
    if tensors > MAX_BYTES:
        return f"layers: expected tensors of at most {MAX_BYTES} bytes together, got {tensors}"
    shapes = ((layer, shape) for layer in layers for shape in layer.row.constants(layer).values())
    arrays = sum(prod(shape) * layer.weights_type.dtype.itemsize for layer, shape in shapes)
    if arrays > ARRAYS_BYTES:
        return f"layers: expected weights of at most {ARRAYS_BYTES} bytes together, got {arrays}"
    return None
