# SPDX-License-Identifier: Apache-2.0
"""Factors and summands for each channel of a float graph, in the weights in front of them or behind them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ...importers.onnx.file import Node
from .nodes import made


class Affine:
    """One pass: a factor and summand for each channel goes into the weights in front of it or behind it."""

    def __init__(
        self, nodes: Sequence[Node], constants: Mapping[str, np.ndarray], outputs: Sequence[str],
        values: Mapping[str, np.ndarray],
    ) -> None:  # fmt: skip
        self.given, self.constants, self.outputs = nodes, dict(constants), tuple(outputs)
        self.values = dict(values)
        self.nodes: list[Node] = []
        self.maker: dict[str, int] = {}

    def run(self) -> None:
        self.uses = Counter(name for node in self.given for name in node.inputs)
        self.uses.update(self.outputs)
        for given in self.given:
            if not (self.into_before(given) or self.joined(given)):
                node = self.from_before(given)
                for name in node.outputs:
                    self.maker[name] = len(self.nodes)
                self.nodes.append(node)
        self.nodes = [node for node in self.nodes if node.op != ""]

    def constant(self, value: np.ndarray, hint: str) -> str:
        name = f"{hint}/{len(self.constants)}"
        self.constants[name] = np.asarray(value, np.float32)
        return name

    def before(self, name: str) -> Node | None:
        """What makes a tensor that nobody else reads."""
        if self.uses[name] != 1 or name not in self.maker:
            return None
        return self.nodes[self.maker[name]]

    def affine(self, node: Node) -> tuple[str, np.ndarray, np.ndarray] | None:
        """Tensor, factor and summand, of each channel or one for all."""
        if node.op == "BatchNormalization":
            gamma, beta, mean, var = (self.constants.get(name) for name in node.inputs[1:5])
            if gamma is None or beta is None or mean is None or var is None:
                return None
            epsilon = node.attributes.get("epsilon")
            deviation = np.sqrt(var.astype(np.float64) + (1e-5 if epsilon is None else epsilon))
            scale = gamma / deviation
            return node.inputs[0], scale, beta - mean * scale
        if node.op not in ("Add", "Sub", "Mul", "Div") or len(node.inputs) != 2:
            return None
        a, b = node.inputs
        is_swapped = a in self.constants
        if is_swapped and node.op == "Div":
            return None
        tensor, name = (b, a) if is_swapped else (a, b)
        if name not in self.constants or tensor in self.constants:
            return None
        shape, value = self.values[tensor].shape, self.constants[name].astype(np.float64)
        if value.ndim > len(shape) or (value.size == 1 and not np.isfinite(value).all()):
            return None
        full = (1,) * (len(shape) - value.ndim) + value.shape
        if value.size != 1 and (len(shape) < 2 or value.size != full[1] or full[1] != shape[1]):
            return None
        value = value.reshape(-1)
        one, zero = np.ones_like(value), np.zeros_like(value)
        if node.op == "Div":
            return None if not value.all() else (tensor, 1 / value, zero)
        if node.op == "Mul":
            return tensor, value, zero
        if node.op == "Add":
            return tensor, one, value
        return (tensor, -one, value) if is_swapped else (tensor, one, -value)

    def into_before(self, node: Node) -> bool:
        """Into the layer with weights in front."""
        found = self.affine(node)
        if found is None:
            return self.bias(node)
        tensor, scale, shift = found
        maker = self.before(tensor)
        if maker is None or maker.op not in ("Conv", "Gemm") or maker.inputs[1] not in self.constants:
            return False
        weights = self.constants[maker.inputs[1]].astype(np.float64)
        axis = 0 if maker.op == "Conv" else 1
        count = weights.shape[axis]
        scale, shift = (np.broadcast_to(value, (count,)) for value in (scale, shift))
        bias = self.bias_of(maker, count) * scale + shift
        weights = weights * scale.reshape([-1 if at == axis else 1 for at in range(weights.ndim)])
        self.become(node, maker, weights, bias)
        return True

    def bias_of(self, node: Node, count: int) -> np.ndarray:
        if len(node.inputs) > 2 and node.inputs[2]:
            return np.broadcast_to(self.constants[node.inputs[2]].astype(np.float64).reshape(-1), (count,))
        return np.zeros(count)

    def become(self, node: Node, maker: Node, weights: np.ndarray, bias: np.ndarray) -> None:
        """`maker` with other constants gives what `node` did."""
        out = node.outputs[0]
        inputs = [maker.inputs[0], self.constant(weights, f"{out}/weights"), self.constant(bias, f"{out}/bias")]
        place = self.maker[maker.outputs[0]]
        self.nodes[place] = made(maker.op, inputs, node.outputs, maker.name, **maker.attributes)
        self.maker[out] = place

    def bias(self, node: Node) -> bool:
        """MatMul of a matrix and Add is a Gemm."""
        if node.op != "Add" or not (set(node.inputs) & set(self.constants)):
            return False
        tensor, name = node.inputs if node.inputs[1] in self.constants else node.inputs[::-1]
        maker = self.before(tensor)
        if maker is None or maker.op not in ("MatMul", "Gemm") or maker.inputs[1] not in self.constants:
            return False
        weights, bias = self.constants[maker.inputs[1]], self.constants[name]
        if maker.op != "MatMul" or weights.ndim != 2 or self.values[tensor].ndim != 2 or bias.size != weights.shape[1]:
            return False
        place, out = self.maker[tensor], node.outputs[0]
        inputs = [*maker.inputs[:2], self.constant(bias.reshape(-1), f"{out}/bias")]
        self.nodes[place] = made("Gemm", inputs, node.outputs, maker.name)
        self.maker[out] = place
        return True

    def joined(self, node: Node) -> bool:
        """Two for each channel behind each other are one."""
        found = self.affine(node)
        if found is None or (found[1].size == 1 and node.op != "BatchNormalization"):
            return False
        tensor, scale, shift = found
        maker = self.before(tensor)
        own = None if maker is None else self.affine(maker)
        place = len(self.nodes)
        if own is not None:
            source, first, more = own
            place = self.maker[tensor]
            scale, shift, tensor = scale * first, scale * more + shift, source
        count = self.values[tensor].shape[1]
        arrays = (scale, shift, np.zeros(count), np.ones(count))
        inputs = [tensor, *(self.constant(np.broadcast_to(v, (count,)), node.outputs[0]) for v in arrays)]
        normal = made("BatchNormalization", inputs, node.outputs, node.name, epsilon=0.0)
        if place == len(self.nodes):
            self.nodes.append(normal)
        else:
            self.nodes[place] = normal
        self.maker[node.outputs[0]] = place
        return True

    def from_before(self, node: Node) -> Node:
        """What stands in front of a layer with weights, into it: a summand only where no zeros are padded behind it."""
        if node.op not in ("Conv", "Gemm", "MatMul") or node.inputs[1] not in self.constants:
            return node
        maker = self.before(node.inputs[0])
        found = None if maker is None else self.affine(maker)
        weights = self.constants[node.inputs[1]].astype(np.float64)
        if found is None or maker is None or (node.op == "Conv" and int(node.attributes.get("group") or 1) != 1):
            return node
        tensor, scale, shift = found
        if node.op == "MatMul" and (scale.size > 1 or shift.any() or weights.ndim != 2):
            return node
        has_pads = any(node.attributes.get("pads") or ()) or str(node.attributes.get("auto_pad")).startswith("SAME")
        if shift.any() and node.op == "Conv" and has_pads:
            return node
        axis = 1 if node.op == "Conv" else 0
        shape = [-1 if at == axis else 1 for at in range(weights.ndim)]
        if node.op == "Gemm" and self.values[tensor].ndim != 2:
            return node
        own = weights * (scale.reshape(shape) if scale.size > 1 else scale)
        self.nodes[self.maker[node.inputs[0]]] = replace(maker, op="")
        inputs = [tensor, self.constant(own, f"{node.outputs[0]}/weights"), *node.inputs[2:]]
        if shift.any():
            count = weights.shape[1 - axis]
            others = tuple(at for at in range(weights.ndim) if at != 1 - axis)
            more = (weights * (shift.reshape(shape) if shift.size > 1 else shift)).sum(axis=others)
            inputs[2:] = [self.constant(self.bias_of(node, count) + more, f"{node.outputs[0]}/bias")]
        return made(node.op, inputs, node.outputs, node.name, **node.attributes)
