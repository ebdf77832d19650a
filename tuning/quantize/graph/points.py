# SPDX-License-Identifier: Apache-2.0
"""Where a float graph becomes integers: the tensors that get a scale, and those that share one.

Between two such tensors lies one step of the integer network: a layer with the Relu or Clip behind it; any function of
one number, however many operators spell it, which is a table; or nothing but moves, whose integers keep their scale.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...importers.onnx.file import Node, OnnxNetwork
from .float_graph import FloatGraph
from .operators import COMMUTING, MOVES, PAIRS, UNARY

SHARING = 2.0
"""What Concat, Max, Min and AveragePool read has the scale of what they give where neither would be finer by more."""
_NATIVE = {"Sigmoid": "sigmoid", "Tanh": "tanh", "Softmax": "softmax"}


@dataclass(frozen=True, eq=False)
class Points:
    """Which tensors have integers.

    Attributes
    ----------
    names : tuple of str
        In order of execution, the inputs first.
    root : mapping of str to str
        Tensors that are a function of one number -> the tensor with integers that they are a function of.
    clipped : mapping of str to str
        What a Relu or Clip gives that belongs to the layer in front -> that layer's own result.
    group : mapping of str to str
        Of every tensor whose integers share a scale, the same name.
    fixed : mapping of str to str
        Groups whose scale the operation demands, by its name in `scales.FIXED`.
    fills : mapping of str to float
        Groups, and a number that a Pad puts beside their values.
    """

    names: tuple[str, ...]
    root: Mapping[str, str]
    clipped: Mapping[str, str]
    group: Mapping[str, str]
    fixed: Mapping[str, str]
    fills: Mapping[str, tuple[float, ...]]

    def members(self, group: str) -> list[str]:
        return [name for name in self.names if self.group[name] == group]


class _Groups:
    def __init__(self) -> None:
        self.parent: dict[str, str] = {}

    def find(self, name: str) -> str:
        while self.parent.setdefault(name, name) != name:
            name = self.parent[name]
        return name

    def join(self, a: str, b: str) -> None:
        self.parent[self.find(b)] = self.find(a)


def place(graph: FloatGraph, is_wide: bool, ranges: Mapping[str, tuple[float, float]] | None = None) -> Points:
    """Choose the tensors; `ranges` of those that are known decide what Concat shares."""
    network = graph.network
    readers: dict[str, list[Node]] = {}
    for node in network.nodes:
        for name in dict.fromkeys(node.inputs):
            readers.setdefault(name, []).append(node)
    variable = {item.name for item in network.inputs}
    outputs = set(network.outputs)
    biased = {name for name in graph.shapes if _is_biased(name, readers, outputs, network)}
    root: dict[str, str] = {}
    clipped: dict[str, str] = {}
    moved: set[str] = set()
    steps: set[str] = set()
    """What is made by a step of its own, or moved behind one."""
    for node in network.nodes:
        given = [name for name in dict.fromkeys(node.inputs) if name in variable]
        variable.update(node.outputs)
        out = node.outputs[0]
        if node.op in MOVES:
            moved.update(node.outputs)
            if given[0] in steps and node.op in COMMUTING:
                steps.add(out)
            continue
        is_own = given[0] in steps and _is_alone(given[0], readers, outputs, network.nodes)
        if is_own and is_clip(node, network.constants):
            clipped[out] = given[0]
            steps.add(out)
            continue
        roots = {root.get(name, name) for name in given}
        is_curve = is_function(node, given, graph) and len(roots) == 1 and not (is_wide and node.op in PAIRS)
        if is_curve and not biased & set(given):
            root[out] = given[0] if is_wide else roots.pop()
        else:
            steps.add(out)
    return _chosen(graph, ranges, readers, root, clipped, moved, biased)


def _is_alone(name: str, readers: Mapping[str, list[Node]], outputs: set[str], nodes: Iterable[Node]) -> bool:
    """Whether a tensor, and those that are moved to it, have one reader each."""
    maker = {out: node for node in nodes for out in node.outputs}
    while True:
        if name in outputs or len(readers.get(name, ())) != 1:
            return False
        node = maker.get(name)
        if node is None or node.op not in COMMUTING:
            return node is not None
        name = node.inputs[0]


def _chosen(
    graph: FloatGraph, ranges: Mapping[str, tuple[float, float]] | None, readers: Mapping[str, list[Node]],
    root: dict[str, str], clipped: dict[str, str], moved: set[str], biased: set[str],
) -> Points:  # fmt: skip
    network = graph.network
    outputs = set(network.outputs)
    hidden = _hidden(network.nodes, clipped)
    names = [item.name for item in network.inputs]
    groups = _Groups()
    fixed: dict[str, str] = {}
    fills: dict[str, tuple[float, ...]] = {}
    for node in network.nodes:
        for out in node.outputs:
            if not out or out in moved or out in hidden or out in biased:
                continue
            if out in root and not (out in outputs or any(_leaves(out, one, root) for one in readers.get(out, ()))):
                continue
            names.append(out)
    points = set(names)
    for node in network.nodes:
        given = [name for name in node.inputs if name in graph.shapes and name not in network.constants]
        if node.op in MOVES:
            for out in node.outputs:
                groups.join(given[0], out)
        elif node.outputs[0] in clipped:
            groups.join(node.outputs[0], given[0])
    for node in network.nodes:
        kind = _NATIVE.get(node.op)
        out = node.outputs[0]
        if kind and out in points and (node.op == "Softmax" or root.get(out) == node.inputs[0]):
            fixed[groups.find(out)] = kind
    for node in network.nodes:
        is_step = node.outputs[0] in points and node.outputs[0] not in root
        if is_step and node.op in ("AveragePool", "Concat", "Max", "Min") and ranges is not None:
            _share(groups, node, [name for name in node.inputs if name not in network.constants], fixed, ranges, names)
    for node in network.nodes:
        if node.op == "Pad":
            value = pad_value(node, network.constants)
            if value:
                key = groups.find(node.outputs[0])
                fills[key] = (*fills.get(key, ()), value)
    own = {groups.find(name): kind for name, kind in fixed.items()}
    group = {name: groups.find(name) for name in graph.shapes if name not in network.constants}
    return Points(tuple(names), root, clipped, group, own, {groups.find(key): value for key, value in fills.items()})


def _hidden(nodes: Sequence[Node], clipped: Mapping[str, str]) -> set[str]:
    """Results in front of a clip of theirs."""
    maker = {out: node for node in nodes for out in node.outputs}
    found = set()
    for name in clipped.values():
        while True:
            found.add(name)
            node = maker[name]
            if node.op not in COMMUTING:
                break
            name = node.inputs[0]
    return found


def _is_biased(name: str, readers: Mapping[str, list[Node]], outputs: set[str], network: OnnxNetwork) -> bool:
    """Whether a product of matrices has its bias added behind it."""
    found, constants, nodes = readers.get(name, ()), network.constants, network.nodes
    if name in outputs or len(found) != 1 or found[0].op != "Add":
        return False
    maker = next((node for node in nodes if name in node.outputs), None)
    others = [one for one in found[0].inputs if one != name]
    if maker is None or maker.op != "MatMul" or len(others) != 1 or others[0] not in constants:
        return False
    bias, weights = constants[others[0]], constants.get(maker.inputs[1])
    return weights is not None and bias.size == weights.shape[-1] and (bias.ndim == 0 or bias.shape[-1] == bias.size)


def _leaves(name: str, reader: Node, root: Mapping[str, str]) -> bool:
    """Whether a reader needs the integers of a function rather than go on with it."""
    out = reader.outputs[0]
    return not (out in root and root[out] == root[name])


def _share(
    groups: _Groups, node: Node, given: Sequence[str], fixed: Mapping[str, str],
    ranges: Mapping[str, tuple[float, float]], names: Sequence[str],
) -> None:  # fmt: skip
    """One scale for what is joined, where none of the parts loses by it."""
    out = node.outputs[0]
    demanded = {groups.find(name) for name in fixed}

    def span(name: str) -> float:
        key = groups.find(name)
        found = [ranges[one] for one in names if groups.find(one) == key and one in ranges]
        return max((max(high, 0.0) - min(low, 0.0) for low, high in found), default=0.0)

    whole = span(out)
    for name in given:
        if demanded & {groups.find(name), groups.find(out)} or whole <= 0:
            continue
        least = min(span(name), whole)
        if least * SHARING >= max(span(name), whole):
            groups.join(out, name)


def is_clip(node: Node, constants: Mapping[str, np.ndarray]) -> bool:
    """Relu, Clip, and Max or Min with a number."""
    if node.op in ("Relu", "Clip"):
        return all(name in constants for name in node.inputs[1:] if name)
    return node.op in ("Max", "Min") and any(name in constants and constants[name].size == 1 for name in node.inputs)


def is_function(node: Node, given: Sequence[str], graph: FloatGraph) -> bool:
    """Whether a node is a function of one number, of each element of what it reads."""
    constants = graph.network.constants
    if node.op in UNARY:
        return all(name in constants for name in node.inputs[1:] if name)
    if node.op not in PAIRS:
        return False
    shape = graph.shapes[node.outputs[0]]
    numbers = [constants[name] for name in node.inputs if name in constants]
    if any(value.size != 1 or not np.isfinite(value).all() for value in numbers):
        return False
    return all(graph.shapes[name] == shape for name in given)


def pad_value(node: Node, constants: Mapping[str, np.ndarray]) -> float:
    if len(node.inputs) > 2 and node.inputs[2]:
        value = constants.get(node.inputs[2])
        return 0.0 if value is None or not value.size else float(value.reshape(-1)[0])
    return float(node.attributes.get("value") or 0)

