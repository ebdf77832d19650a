# SPDX-License-Identifier: Apache-2.0
"""Tensors of a plan file: the graph that they make of its layers."""

from __future__ import annotations

import reprlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from cmsisnn_x.errors import CmsisnnError
from cmsisnn_x.graph import Graph, Node, State, Tensor
from cmsisnn_x.layers import Layer
from cmsisnn_x.scheme import TENSOR_TYPES

from ..base.units import line_problem
from .values import Expected, between, one_of, real, several

ARITHMETICS = ("tflm", "litert")
MAX_TENSORS = 1 << 16
_SIDES = ("inputs", "outputs", "constants")
_TENSOR: dict[str, Expected] = {
    "shape": several(0, 6, "up to six sizes", between(1, 1 << 27)),
    "dtype": one_of(*TENSOR_TYPES),
    "zero_point": between(-32768, 32767),
}
_SCALE = real(0, float(np.finfo(np.float32).max))


def graph_problem(plan: Mapping[str, Any]) -> str | None:
    """The first thing that is wrong with the tensors of a plan; None if nothing, or where it names none."""
    return next(_problems(plan), None)


def _problems(plan: Mapping[str, Any]) -> Iterator[str]:
    if "arithmetic" in plan and plan["arithmetic"] not in ARITHMETICS:
        expected = " or ".join(map(repr, ARITHMETICS))
        yield f"arithmetic: expected {expected}, got {reprlib.repr(plan['arithmetic'])}"
    rewrites = plan.get("rewrites", [])
    if not isinstance(rewrites, list) or any(line_problem(one) for one in rewrites):
        yield f"rewrites: expected lines of printable text, got {reprlib.repr(rewrites)}"
    named = [key for key in _SIDES if key in plan]
    if not named:
        return
    for key in (*_SIDES, *(["states"] if "states" in plan else [])):
        tensors = plan.get(key)
        if not isinstance(tensors, list) or len(tensors) > MAX_TENSORS or not all(isinstance(t, dict) for t in tensors):
            yield f"{key}: expected a list of tensors, got {reprlib.repr(tensors)}"
            return
        for at, tensor in enumerate(tensors):
            yield from (f"{key}[{at}].{problem}" for problem in _tensor_problems(tensor))
            if "source_name" in tensor and (problem := line_problem(tensor["source_name"])):
                yield f"{key}[{at}].source_name: {problem}"
            if not isinstance(tensor.get("channels_last", True), bool):
                yield f"{key}[{at}].channels_last: expected true or false, got {reprlib.repr(tensor['channels_last'])}"
    for at, state in enumerate(plan.get("states", [])):
        if problem := line_problem(state.get("write")):
            yield f"states[{at}].write: {problem}"
    for key in ("inputs", "outputs"):
        if not plan[key]:
            yield f"{key}: expected at least one, got none"
    for entry in plan["layers"]:
        for key in ("inputs", "outputs"):
            names = entry.get(key)
            most = MAX_TENSORS if key == "inputs" else 1
            if not isinstance(names, list) or not 1 <= len(names) <= most or any(map(line_problem, names)):
                yield f"layer {entry['name']}: {key}: expected names of tensors, got {reprlib.repr(names)}"


def _tensor_problems(tensor: Mapping[str, Any]) -> Iterator[str]:
    if problem := line_problem(tensor.get("name")):
        yield f"name: {problem}"
    for key, (expected, fits) in _TENSOR.items():
        if not fits(tensor.get(key)):
            yield f"{key}: expected {expected}, got {reprlib.repr(tensor.get(key))}"
    scale = tensor.get("scale")
    if scale is not None and not (_SCALE[1](scale) and scale > 0):
        yield f"scale: expected {_SCALE[0]}, got {reprlib.repr(scale)}"


def read_graph(plan: Mapping[str, Any], layers: Sequence[Layer], values: Mapping[str, np.ndarray]) -> Graph | None:
    """The graph of a plan that passed `graph_problem`; None where it names no tensors.

    Raises
    ------
    ValueError
        It is none of these layers.
    """
    if "inputs" not in plan:
        return None
    tensors: dict[str, Tensor] = {}
    for key in (*_SIDES, "states"):
        for entry in plan.get(key, []):
            tensor = _tensor(entry, values) if key == "constants" else _tensor(entry)
            if (other := tensors.get(tensor.name)) is not None:
                if key != "outputs" or (other.shape, other.type) != (tensor.shape, tensor.type):
                    raise ValueError(f"{key}: expected tensors of different names, got {tensor.name!r} twice")
                continue
            if prod(tensor.shape) > 1 << 27:
                raise ValueError(f"{key}: expected at most {1 << 27} elements, got {tensor.shape}")
            tensors[tensor.name] = tensor
    nodes = []
    for entry, layer in zip(plan["layers"], layers, strict=True):
        (output,) = entry["outputs"]
        if output not in tensors:
            shape = layer.output_shape if layer.samples == 1 else (layer.samples, *layer.output_shape)
            tensors[output] = Tensor(output, shape, layer.output_type)
        nodes.append(Node(layer.name, layer.op, tuple(entry["inputs"]), (output,), layer))
    names = {key: [entry["name"] for entry in plan[key]] for key in _SIDES}
    states = [
        State(entry["name"], entry["write"], _value(tensors[entry["name"]], values)) for entry in plan.get("states", [])
    ]
    graph = Graph(tensors.values(), nodes, names["inputs"], names["outputs"], states)
    try:
        graph.verify()
    except CmsisnnError as problem:
        raise ValueError(str(problem)) from None
    return graph


def _tensor(entry: Mapping[str, Any], values: Mapping[str, np.ndarray] | None = None) -> Tensor:
    own, shape = TENSOR_TYPES[entry["dtype"]], tuple(entry["shape"])
    made = Tensor(entry["name"], shape, own, None, entry.get("scale"), entry["zero_point"])
    return made if values is None else replace(made, value=_value(made, values))


def _value(tensor: Tensor, values: Mapping[str, np.ndarray]) -> np.ndarray:
    return values.get(tensor.name, np.broadcast_to(np.zeros((), tensor.type.dtype), tensor.shape))
