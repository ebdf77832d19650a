# SPDX-License-Identifier: Apache-2.0
"""A float graph with a scale for every point, as a quantised ONNX network in memory, and as operators of `.tflite`
files: the reader of quantised ONNX files does the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from pathlib import Path
from types import MappingProxyType

import numpy as np

from ...importers.float_network import namer
from ...importers.integer_graph import Refused
from ...importers.onnx.file import Node, OnnxNetwork
from ...importers.onnx.quantised.items import Goal, Item, Stored
from ...importers.onnx.quantised.reader import STANDS_FOR, Translated, layer_of_output, translate
from ...importers.onnx.quantised.walk import Walk
from ...importers.tflite.file import FileModel, FileTensor
from ..affine.operators import Weights, integer_channels
from ..affine.scales import FIXED, Scale, spanning
from .float_graph import FloatGraph
from .operators import WEIGHTED
from .points import Points

INT, REAL = "/int", "/float"
FUNCTION = "cmsisnn_x.Function"


@dataclass(frozen=True, eq=False)
class Function:
    """A function of one number.

    `code` and `options` are those of the operator of `.tflite` files that computes it, if there is one; `limits` those
    of a Relu or Clip.
    """

    values: Callable[[np.ndarray], np.ndarray]
    code: str = ""
    options: Mapping[str, object] = field(default_factory=dict)
    limits: tuple[float, float] | None = None


def translated(
    graph: FloatGraph, points: Points, scales: Mapping[str, Scale], biases: Mapping[str, np.ndarray], path: Path,
    description: str,
) -> Translated:  # fmt: skip
    """The integer network; `scales` by group, `biases` by the output of layers with weights, in place of the file's."""
    found = translate(_Writer(graph, points, scales, biases).network(), path, {FUNCTION: _function}, description)
    last = frozenset(name.removesuffix(REAL) for name in found.channels_last)
    return replace(found, file=_named(found), channels_last=last)


class _Writer:
    """QuantizeLinear and DequantizeLinear at every point."""

    def __init__(
        self, graph: FloatGraph, points: Points, scales: Mapping[str, Scale], biases: Mapping[str, np.ndarray]
    ) -> None:
        self.graph, self.points, self.scales, self.biases = graph, points, scales, biases
        self.constants: dict[str, np.ndarray] = {}
        self.nodes: list[Node] = []
        self.own = set(points.names)
        self.evaluator = graph.evaluator

    def network(self) -> OnnxNetwork:
        network = self.graph.network
        inputs = {item.name for item in network.inputs}
        for name in inputs:
            self.point(name, name)
        for node in network.nodes:
            out = node.outputs[0]
            if out in self.points.root:
                if out in self.own:
                    self.function(node)
                continue
            self.step(node)
        return replace(
            network, nodes=tuple(self.nodes), constants=network.constants | self.constants,
            outputs=tuple(self.real(name) for name in network.outputs),
        )  # fmt: skip

    def real(self, name: str) -> str:
        """The floats that a tensor's integers stand for."""
        return name + REAL if name in self.own else name

    def scale_of(self, name: str) -> Scale:
        return self.scales[self.points.group[name]]

    def constant(self, value: np.ndarray, hint: str) -> str:
        name = f"{hint}/{len(self.constants)}/integers"
        self.constants[name] = np.asarray(value)
        return name

    def node(self, op: str, inputs: tuple[str, ...], output: str, name: str = "", **attributes: object) -> None:
        self.nodes.append(Node(op, name, inputs, (output,), attributes, None))

    def point(self, raw: str, name: str, node: Node | None = None) -> None:
        scale = self.scale_of(name)
        numbers = self.numbers(scale, name)
        called, own = ("", {}) if node is None else (node.name, {STANDS_FOR: node.op})
        self.node("QuantizeLinear", (raw, *numbers), name + INT, called, **own)
        self.node("DequantizeLinear", (name + INT, *numbers), name + REAL, called, **own)

    def numbers(self, scale: Scale, hint: str) -> tuple[str, str]:
        return (
            self.constant(np.array(scale.scale, np.float32), hint),
            self.constant(np.array(scale.zero_point, scale.dtype), hint),
        )  # fmt: skip

    def step(self, node: Node) -> None:
        """A node with the integers of what it reads."""
        outputs = [name + "/raw" if name in self.own else name for name in node.outputs]
        inputs = [self.real(name) if name not in self.graph.network.constants else name for name in node.inputs]
        if node.op in WEIGHTED:
            inputs = self.weighted(node, inputs)
        elif node.op in ("Add", "Sub", "Mul", "Max", "Min", "Concat"):
            inputs = [self.operand(node, name) if name in self.graph.network.constants else name for name in inputs]
        self.nodes.append(replace(node, inputs=tuple(inputs), outputs=tuple(outputs)))
        for name in node.outputs:
            if name in self.own:
                self.point(name + "/raw", name, node)

    def weights(self, node: Node) -> Weights:
        return weights_of(self.graph, node, self.scale_of(node.inputs[0]), self.biases)

    def weighted(self, node: Node, inputs: list[str]) -> list[str]:
        found = self.weights(node)
        axis = channel_axis(node, found.values.ndim)
        numbers = [
            self.constant(found.values, node.outputs[0]), self.constant(found.scales, node.outputs[0]),
            self.constant(np.zeros(found.scales.size, np.int8), node.outputs[0]),
        ]  # fmt: skip
        made = f"{node.outputs[0]}/weights/real"
        self.node("DequantizeLinear", tuple(numbers), made, axis=axis)
        inputs[1] = made
        bias = self.biases.get(node.outputs[0])
        if bias is not None:
            inputs[2:] = [self.constant(np.asarray(bias, np.float32), node.outputs[0])]
        return inputs

    def operand(self, node: Node, name: str) -> str:
        """A constant beside a tensor: a number for each channel stays float, others become integers."""
        value = self.graph.network.constants[name]
        is_bias = any(one not in self.own and one in self.graph.shapes for one in node.inputs if one != name)
        if node.op == "Add" and is_bias and not self._is_moved(node, name):
            return name
        kind = next(iter(self.scales.values())).type
        scale = constant_scale(value, kind)
        if node.op in ("Max", "Min", "Concat"):
            scale = self.scale_of(node.outputs[0])
        numbers = self.numbers(scale, name)
        made = f"{name}/{len(self.constants)}/real"
        self.node("DequantizeLinear", (self.constant(scale.quantize(value), name), *numbers), made)
        return made

    def _is_moved(self, node: Node, name: str) -> bool:
        """Whether what stands beside a constant is a point's integers, moved."""
        other = next(one for one in node.inputs if one != name)
        maker = next(one for one in self.graph.network.nodes if other in one.outputs)
        return maker.op != "MatMul"

    def function(self, node: Node) -> None:
        """All operators between a tensor and what is a function of it, as one."""
        out = node.outputs[0]
        base = self.points.root[out]
        cone = cone_of(self.graph, self.points, out)
        rank = len(self.graph.shapes[base])
        evaluator = self.evaluator

        def values(x: np.ndarray) -> np.ndarray:
            shaped = x.reshape(-1, *[1] * (rank - 1))
            return np.asarray(evaluator.run({base: shaped}, cone)[out], np.float32).reshape(-1)

        is_one = len(cone) == 1
        code, options = native(node) if is_one else ("", {})
        limits = limits_of(node, self.graph.network.constants) if is_one else None
        function = Function(values, code, options, limits)
        self.node(FUNCTION, (self.real(base),), out + "/raw", node.name, function=function, stands_for=node.op)
        self.point(out + "/raw", out, node)


def cone_of(graph: FloatGraph, points: Points, out: str) -> list[Node]:
    """The nodes between a tensor and what it is a function of."""
    base, wanted, kept = points.root[out], {out}, []
    for node in reversed(graph.network.nodes):
        if wanted & set(node.outputs):
            kept.append(node)
            wanted |= {name for name in node.inputs if name != base}
    return kept[::-1]


def native(node: Node) -> tuple[str, dict[str, object]]:
    """The operator of `.tflite` files that is one of ONNX."""
    if node.op == "LeakyRelu":
        alpha = node.attributes.get("alpha")
        return "LEAKY_RELU", {"alpha": 0.01 if alpha is None else float(alpha)}
    return {"HardSwish": "HARD_SWISH", "Relu": "RELU", "Sigmoid": "LOGISTIC", "Tanh": "TANH"}.get(node.op, ""), {}


def limits_of(node: Node, constants: Mapping[str, np.ndarray]) -> tuple[float, float] | None:
    """What a Relu or Clip leaves."""
    if node.op == "Relu":
        return 0.0, inf
    if node.op == "Clip":
        found = [-inf, inf]
        for place, name in ((0, "min"), (1, "max")):
            value = node.attributes.get(name)
            if len(node.inputs) > 1 + place and node.inputs[1 + place]:
                value = constants[node.inputs[1 + place]].reshape(-1)[0]
            found[place] = found[place] if value is None else float(value)
        return found[0], found[1]
    if node.op in ("Max", "Min"):
        numbers = [float(constants[name].reshape(-1)[0]) for name in node.inputs if name in constants]
        return None if not numbers else (numbers[0], inf) if node.op == "Max" else (-inf, numbers[0])
    return None


def channel_axis(node: Node, rank: int) -> int:
    """The axis of the weights that the outputs lie along."""
    return 0 if node.op == "Conv" else rank - 1


def weights_of(graph: FloatGraph, node: Node, x: Scale, biases: Mapping[str, np.ndarray]) -> Weights:
    """Integer weights and bias of a layer."""
    weights = graph.network.constants[node.inputs[1]]
    axis = channel_axis(node, weights.ndim)
    return integer_channels(weights, bias_of(graph, node, biases), x, axis)


def bias_of(graph: FloatGraph, node: Node, biases: Mapping[str, np.ndarray]) -> np.ndarray:
    weights = graph.network.constants[node.inputs[1]]
    count = weights.shape[channel_axis(node, weights.ndim)]
    if node.outputs[0] in biases:
        return biases[node.outputs[0]]
    if len(node.inputs) > 2 and node.inputs[2]:
        return np.broadcast_to(graph.network.constants[node.inputs[2]].reshape(-1), (count,))
    return np.zeros(count)


def constant_scale(value: np.ndarray, kind: str) -> Scale:
    """Of a constant: exact where few whole steps say it, such as the factors of an average."""
    magnitudes = np.unique(np.abs(value))
    magnitudes = magnitudes[magnitudes > 0]
    if 0 < magnitudes.size <= 16:
        largest = float(magnitudes.max())
        for steps in range(1, 128):
            ratio = magnitudes.astype(np.float64) / largest * steps
            if np.abs(ratio - np.rint(ratio)).max() < 1e-5:
                return Scale(kind, float(np.float32(largest / steps)), 0)
    return spanning(float(value.min()), float(value.max()), kind)


# ---------------------------------------------------------------- functions as operators


def _function(walk: Walk, node: Node) -> Item:
    function: Function = node.attributes["function"]
    base = walk.input(node)

    def make(goal: Goal) -> Stored:
        shape = walk.file_shape(base.tensor)
        kind = base.numbers.type
        fixed = FIXED.get({"LOGISTIC": "sigmoid", "TANH": "tanh"}.get(function.code, ""))
        scale = None if fixed is None else fixed["int16" if kind == "INT16" else "int8"]
        is_native = function.code != "" and (
            scale is None or (scale.scale, scale.zero_point) == (goal.numbers.scale, goal.numbers.zero_point)
        )
        if is_native and not (kind == "INT16" and function.code == "HARD_SWISH"):
            made = walk.stored(goal.name, shape, base.layout, goal.numbers)
            walk.op(function.code, [base.tensor], [made.tensor], **function.options)
            return made
        if kind == "INT16":
            if function.limits is None:
                raise Refused("a function of int16: Relu, Clip, LeakyRelu, Sigmoid and Tanh can be taken; or int8")
            return walk.requantised(walk.clamped(base, *function.limits), goal.numbers, goal.name)
        return look_up(walk, base, goal, function)

    return walk.wait(base.layout.shape, make)


def look_up(walk: Walk, base: Stored, goal: Goal, function: Function) -> Stored:
    """256 constants: the byte as an index from 0 on, and GATHER."""
    x, out = (Scale("int8", numbers.scale, numbers.zero_point) for numbers in (base.numbers, goal.numbers))
    with np.errstate(all="ignore"):
        values = function.values(x.dequantize(np.arange(-128, 128)).astype(np.float32))
    values = np.where(np.isnan(values), 0, np.clip(values, out.low, out.high))
    shape = walk.file_shape(base.tensor)
    table = walk.to.tensor(
        f"{goal.name}_table", scale=goal.numbers.scale, zero_point=goal.numbers.zero_point, data=out.quantize(values)
    )
    made = walk.stored(goal.name, shape, base.layout, goal.numbers)
    whole, index = (walk.to.tensor(f"{goal.name}_{what}", shape, "INT32") for what in ("byte", "index"))
    walk.op("CAST", [base.tensor], [whole], in_data_type="INT8", out_data_type="INT32")
    walk.op("ADD", [whole, walk.constant([128])], [index])
    walk.op("GATHER", [table, index], [made.tensor], axis=0, batch_dims=0)
    return made


# ---------------------------------------------------------------- the file

LAYERS = {
    "AVERAGE_POOL_2D": "avg_pool2d", "GATHER": "look_up", "CONV_2D": "conv2d", "DEPTHWISE_CONV_2D": "depthwise_conv2d",
    "LOGISTIC": "sigmoid", "MAX_POOL_2D": "max_pool2d", "MUL": "multiply",
}  # fmt: skip
"""What model files call them, where that is not the same in small letters."""
_UNNAMED = ("CAST", "RESHAPE")
_MAIN = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
"""What a node is called after, of several operators."""


def _called(tensors: Sequence[FileTensor], places: Mapping[str, int]) -> Mapping[str, int]:
    return MappingProxyType({tensors[at].name: at for at in places.values()})


def _named(found: Translated) -> FileModel:
    """Tensors as the float file calls them, and layers by their nodes."""
    file, names = found.file, namer()
    graph = file.subgraphs[0]
    tensors = tuple(replace(one, name=one.name.removesuffix(INT).removesuffix(REAL)) for one in graph.tensors)
    ops = []
    main = {node: op.index for op, node in zip(graph.ops, found.origin, strict=True) if op.code not in _UNNAMED}
    main |= {node: op.index for op, node in zip(graph.ops, found.origin, strict=True) if op.code in _MAIN}
    for op, node in zip(graph.ops, found.origin, strict=True):
        is_index = graph.tensors[op.outputs[0]].type == "INT32"
        called = found.nodes[node].name if node >= 0 and main.get(node) == op.index else ""
        kind = LAYERS.get(op.code, op.code.lower())
        if op.name:
            op = replace(op, name=layer_of_output(tensors[op.outputs[0]].name))
        ops.append(op if op.code in _UNNAMED or is_index else replace(op, name=names(kind, called)))
    outside = tuple(
        replace(one, inputs=_called(tensors, one.inputs), outputs=_called(tensors, one.outputs))
        for one in file.signatures
    )
    return replace(file, subgraphs=(replace(graph, tensors=tensors, ops=tuple(ops)),), signatures=outside)
