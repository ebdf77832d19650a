# SPDX-License-Identifier: Apache-2.0
"""One pass over the nodes of a float ONNX graph: constants are folded, and every tensor's shape is found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ...base.errors import ModelError
from ...importers.integer_graph import Refused
from ...importers.onnx import file as onnx_file
from ...importers.onnx.file import Node, OnnxNetwork
from ...importers.tflite.reader import Operation, refusal
from .evaluator import Evaluator
from .nodes import with_inputs
from .operators import FOLDED, HELP, TAKEN, takes

_FLOATS = ("float16", "float32", "float64", "bfloat16")


class Folding:
    """One pass: every tensor's shape is found on a sample of zeros, constants are folded, spellings made one."""

    def __init__(self, network: OnnxNetwork, is_wide: bool) -> None:
        self.network, self.is_wide = network, is_wide
        self.constants = {name: single(value) for name, value in network.constants.items()}
        self.values: dict[str, np.ndarray] = {}
        self.renamed: dict[str, str] = {}
        self.nodes: list[Node] = []
        self.lost: set[str] = set()
        self.problems: dict[int, str] = {}
        self.notes: list[str] = list(network.notes)
        self.evaluator = Evaluator((), self.constants, network.opset)

    def run(self) -> None:
        for item in self.network.inputs:
            self.values[item.name] = np.zeros((1, *item.shape[1:]), np.float32)
        for place, node in enumerate(self.network.nodes):
            own = with_inputs(node, [self.renamed.get(name, name) for name in node.inputs])
            try:
                with np.errstate(all="ignore"):
                    self.visit(own)
            except Refused as reason:
                self.problems[place] = str(reason)
            except ModelError as problem:
                self.problems[place] = str(problem).partition(f"{own}: ")[2] or str(problem)
            except (TypeError, ValueError, IndexError, KeyError, AttributeError, ArithmeticError) as problem:
                # Attributes may have any type and inputs any shape: nothing checks a file before this.
                self.problems[place] = f"its inputs and attributes are no valid {node.op}: {problem}"
            done = {*self.values, *self.constants, *self.renamed}
            self.lost |= {name for name in node.outputs if name and name not in done}

    def refusal(self) -> str:
        """All obstacles; operators that nobody knows before anything that stands in front of them."""

        def rank(at: int) -> tuple[bool, int]:
            return self.network.nodes[at].op in TAKEN, at

        rows = []
        for at in sorted(self.problems, key=rank):
            node = self.network.nodes[at]
            rows.append(Operation(at, node.op, node.name or node.outputs[0], self.problems[at], ()))
        return refusal(Path(self.network.file), rows)

    def visit(self, node: Node) -> None:
        names = [name for name in node.inputs if name]
        if any(name in self.lost for name in names):
            if node.op not in TAKEN and node.op not in FOLDED:
                raise Refused(_unknown(node))
            return  # the reason is that of the node before
        if missing := [name for name in names if name not in self.values and name not in self.constants]:
            raise Refused(f"its input {missing[0]!r} is made by nothing")
        if node.op == "Shape" and names[0] in self.values:
            shape = np.array(self.values[names[0]].shape, np.int64)
            start, end = node.attributes.get("start") or 0, node.attributes.get("end")
            self.constants[node.outputs[0]] = shape[start:end]
            return
        if all(name in self.constants for name in names):
            self.fold(node)
            return
        if node.op not in TAKEN:
            raise Refused(_unknown(node))
        rule: Callable[[Node], bool | None] | None = getattr(self, f"on_{node.op}", None)
        if rule is None or not rule(node):
            self.emit(node)

    def fold(self, node: Node) -> None:
        given = [self.constants[name] if name else None for name in node.inputs]
        if node.op == "Shape" and given and given[0] is not None:
            found = [np.array(given[0].shape, np.int64)[node.attributes.get("start") or 0 : node.attributes.get("end")]]
        elif node.op in onnx_file.FOLDABLE or node.op in FOLDED:
            found = onnx_file.fold(self.network, node, given)
        else:
            raise Refused("an operator of constants; simplify the file first")
        self.constants.update({name: single(value) for name, value in zip(node.outputs, found, strict=False) if name})

    # ------------------------------------------------------------ what every rule needs

    def emit(self, node: Node) -> None:
        """A node of the result."""
        if problem := takes(node, self.values, self.constants, self.is_wide):
            raise Refused(problem)
        try:
            found = self.evaluator.apply(node, self.values)
        except Exception as problem:  # the reference evaluator raises whatever NumPy does on impossible operands
            raise Refused(f"it cannot be evaluated: {problem}") from None
        for name, value in zip(node.outputs, found, strict=False):
            if not value.size:
                raise Refused(f"its output {name!r} has no elements")
            self.values[name] = value
        self.nodes.append(node)

    def constant(self, value: Any, hint: str) -> str:
        name = f"{hint}/{len(self.constants)}"
        self.constants[name] = single(np.asarray(value))
        return name

    def known(self, node: Node, place: int) -> np.ndarray | None:
        """Input `place`, if it is there and constant."""
        name = node.inputs[place] if place < len(node.inputs) else ""
        return self.constants.get(name) if name else None

    def alias(self, node: Node) -> bool:
        self.renamed[node.outputs[0]] = node.inputs[0]
        return True


def single(value: np.ndarray) -> np.ndarray:
    """float32 in place of other floats."""
    value = np.asarray(value)
    return value.astype(np.float32) if value.dtype.name in _FLOATS else value


def _unknown(node: Node) -> str:
    return "no kernel for it" + (f": {HELP[node.op]}" if node.op in HELP else "")
