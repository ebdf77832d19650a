# SPDX-License-Identifier: Apache-2.0
"""Why a graph is no sequence: the tensor that is used twice, and the function that it is used twice for."""

from __future__ import annotations

from collections import Counter

from ...base.errors import ModelError
from .file import Node, OnnxGraph

_NAMES = (
    ("Softplus", "Mish"), ("Erf", "a GELU"), ("Tanh", "a GELU"), ("HardSigmoid", "a hard-swish"),
    ("Clip", "a hard-swish"), ("Sigmoid", "a SiLU"),
)  # fmt: skip
"""By an operator that only one of them has, in this order."""
_ELEMENTWISE = frozenset(
    ("Add", "Clip", "Div", "Erf", "Exp", "HardSigmoid", "Max", "Min", "Mul", "Neg", "Pow", "Relu", "Sigmoid",
     "Softplus", "Sub", "Tanh")
)  # fmt: skip


def branch_error(graph: OnnxGraph, tensor: str, takers: tuple[Node, ...]) -> ModelError:
    """Tensor `tensor` is used more than once."""
    names = [str(node) for node, _ in Counter(takers).items()]
    if tensor == graph.output:
        names.append("the graph's output")
    text = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
    if len(names) == 1:
        text += ", twice"
    if (function := function_of(graph, tensor)) is not None:
        text += f", which together are {function}: q7 and q15 have no kernel for it"
        return ModelError(f"{graph.file}: tensor {tensor!r} is used by {text}; expected a ReLU there")
    return ModelError(
        f"{graph.file}: tensor {tensor!r} is used by {text}: networks of q7 and q15 must be sequential (no residual "
        "connections, concatenations or second outputs)"
    )


def function_of(graph: OnnxGraph, tensor: str) -> str | None:
    """What a tensor is used twice for, if that is a function of each of its numbers: its name."""
    carried = {graph.input}
    for node in graph.nodes:
        if node.op != "Shape" and carried.intersection(node.inputs):
            carried.update(node.outputs)
    ops: set[str] = set()
    border = {tensor}
    # Operators in order, until all that came of the tensor is one tensor again.
    for node in graph.nodes:
        own = [name for name in node.inputs if name in carried]
        if not border.intersection(own):
            continue
        if not border.issuperset(own) or tensor == graph.output or node.op not in _ELEMENTWISE:
            return None
        ops.add(node.op)
        border = {name for name in (*border, node.outputs[0]) if _is_used_behind(graph, name, node)}
        if len(border) == 1 and tensor not in border and node.op in ("Mul", "Div"):
            return next((name for op, name in _NAMES if op in ops), None)
    return None


def _is_used_behind(graph: OnnxGraph, name: str, node: Node) -> bool:
    at = graph.nodes.index(node)
    return name == graph.output or any(name in one.inputs for one in graph.nodes[at + 1 :])
