# SPDX-License-Identifier: Apache-2.0
"""A float ONNX graph as int8 wants it: constants folded, factors and summands in the weights, the batch 1.

What is left gives the same answers as the file, sample by sample.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from ..base.errors import ModelError
from ..importers import onnx_file
from ..importers.integer_graph import Refused
from ..importers.onnx_file import Node, OnnxInput, OnnxNetwork
from ..importers.onnx_prepare import Given
from ..importers.tflite_walk import Operation, refusal
from .graph_affine import Affine
from .graph_nodes import made, with_inputs
from .graph_operators import FOLDED, HELP, TAKEN, takes
from .graph_run import Evaluator, pool_divisor

_SHAPES = ("Flatten", "Reshape", "Squeeze", "Unsqueeze")
_FLOATS = ("float16", "float32", "float64", "bfloat16")


@dataclass(frozen=True, eq=False)
class FloatGraph:
    """Nodes in order of execution.

    Attributes
    ----------
    name : str
        A C identifier.
    network : OnnxNetwork
        Its inputs have a batch of 1; constants are float32 where they are floats.
    shapes : mapping of str to tuple of int
        Of every tensor, for a batch of 1.
    notes : tuple of str
        What was rewritten that a reader of the result has to know.
    """

    name: str
    network: OnnxNetwork
    shapes: Mapping[str, tuple[int, ...]]
    notes: tuple[str, ...]

    @property
    def evaluator(self) -> Evaluator:
        return Evaluator(self.network.nodes, self.network.constants, self.network.opset)


def read_graph(
    source: str | os.PathLike[str] | Any, name: str, is_wide: bool = False, given: Given | None = None
) -> FloatGraph:
    """Read a float graph; `is_wide` is of int16 activations.

    Raises
    ------
    ModelError
        The file cannot be read, is quantised, or holds operators that are not taken: all of them in one message.
    """
    network = onnx_file.read_network(source, given)
    if network.is_quantised:
        found = next(node for node in network.nodes if onnx_file.is_quantised(node.op))
        raise ModelError(
            f"{network.file}: {found}: the network is quantised already: give the float model here, or this one to "
            "cmsisnn-tune"
        )
    first = _Folding(network, is_wide)
    first.run()
    nodes, constants, renamed = first.nodes, first.constants, first.renamed
    outputs = tuple(renamed.get(output, output) for output in network.outputs)
    if lost := [output for output in outputs if output not in first.values]:
        raise ModelError(f"{network.file}: output {lost[0]!r}: expected what depends on an input, got a constant")
    second = Affine(nodes, constants, outputs, first.values)
    second.run()
    inputs = tuple(OnnxInput(item.name, (1, *item.shape[1:]), "float32") for item in network.inputs)
    kept = _needed(second.nodes, second.outputs)
    used = {tensor for node in kept for tensor in node.inputs}
    final = replace(
        network, inputs=inputs, outputs=second.outputs, nodes=tuple(kept),
        constants={key: value for key, value in second.constants.items() if key in used},
    )  # fmt: skip
    sample = {item.name: np.zeros(item.shape, np.float32) for item in inputs}
    values = Evaluator(kept, final.constants, final.opset).run(sample)
    graph = FloatGraph(name, final, {key: value.shape for key, value in values.items()}, tuple(first.notes))
    _require_samples_apart(graph, network)
    return graph


def of_sample(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of one sample; a tensor may have lost the batch."""
    return shape[1:] if shape[:1] == (1,) else shape


def mixed(graph: FloatGraph, whole: int = 2) -> str | None:
    """A tensor in which the first and the last of several samples are not what they are alone; None where all may be
    run together.
    """
    if count := next((name for name, shape in graph.shapes.items() if shape[:1] != (1,)), None):
        return count
    first = next(iter(graph.shapes))
    evaluator, found = graph.evaluator, []
    rng = np.random.default_rng(0)
    inputs = {
        item.name: rng.normal(0, 1, (whole, *item.shape[1:])).astype(np.float32) for item in graph.network.inputs
    }  # fmt: skip
    for part in (slice(0, 1), slice(whole - 1, whole), slice(0, whole)):
        given = {name: value[part] for name, value in inputs.items()}
        try:
            found.append(evaluator.run(given))
        except Exception as problem:  # the reference evaluator raises whatever NumPy does on impossible operands
            if len(found) < 2:
                raise ModelError(f"{graph.network.file}: the float network cannot be evaluated: {problem}") from None
            return first
    *alone, both = found
    for name, shape in graph.shapes.items():
        value = both[name]
        if value.shape != (whole, *shape[1:]) or not all(
            np.allclose(value[part], one[name], 1e-4, 1e-5, equal_nan=True)
            for part, one in zip((slice(0, 1), slice(whole - 1, whole)), alone, strict=True)
        ):
            return name
    return None


def _require_samples_apart(graph: FloatGraph, given: OnnxNetwork) -> None:
    """A fixed batch of several samples is several runs of one, unless the network mixes them."""
    batch = max(item.shape[0] for item in given.inputs)
    if batch == 1:
        return
    if (name := mixed(graph, batch)) is not None:
        maker = next((node for node in given.nodes if name in node.outputs), None)
        raise ModelError(
            f"{graph.network.file}: {maker or f'input {name!r}'}: it takes the {batch} samples of the batch together: "
            "export with a batch of 1"
        )


def _needed(nodes: Sequence[Node], outputs: Sequence[str]) -> list[Node]:
    wanted, kept = set(outputs), []
    for node in reversed(nodes):
        if wanted & set(node.outputs):
            kept.append(node)
            wanted |= set(node.inputs)
    return kept[::-1]


class _Folding:
    """One pass: every tensor's shape is found on a sample of zeros, constants are folded, spellings made one."""

    def __init__(self, network: OnnxNetwork, is_wide: bool) -> None:
        self.network, self.is_wide = network, is_wide
        self.constants = {name: _single(value) for name, value in network.constants.items()}
        self.values: dict[str, np.ndarray] = {}
        self.renamed: dict[str, str] = {}
        self.nodes: list[Node] = []
        self.lost: set[str] = set()
        self.problems: dict[int, str] = {}
        self.notes: list[str] = list(network.notes)
        self.evaluator = Evaluator((), self.constants, network.opset)
        self.place = 0

    def run(self) -> None:
        for item in self.network.inputs:
            self.values[item.name] = np.zeros((1, *item.shape[1:]), np.float32)
        for place, node in enumerate(self.network.nodes):
            self.place = place
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
        if self.problems:
            raise ModelError(self.refusal())

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
        self.constants.update({name: _single(value) for name, value in zip(node.outputs, found, strict=False) if name})

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
        self.constants[name] = _single(np.asarray(value))
        return name

    def known(self, node: Node, place: int) -> np.ndarray | None:
        """Input `place`, if it is there and constant."""
        name = node.inputs[place] if place < len(node.inputs) else ""
        return self.constants.get(name) if name else None

    def alias(self, node: Node) -> bool:
        self.renamed[node.outputs[0]] = node.inputs[0]
        return True

    # ------------------------------------------------------------ spellings

    on_Identity = on_Dropout = alias

    def on_Cast(self, node: Node) -> bool:
        from onnx import TensorProto

        kind = TensorProto.DataType.Name(int(node.attributes["to"])).lower()
        if kind not in ("float", "double", "float16", "bfloat16"):
            raise Refused(f"a Cast to {kind} of what depends on an input")
        return self.alias(node)

    def shape(self, node: Node) -> bool:
        """All that give another shape are Reshape, which keeps the batch."""
        out = self.evaluator.apply(node, self.values)[0]
        given = self.values[node.inputs[0]]
        sizes = list(out.shape)
        if sizes == list(given.shape):
            return self.alias(node)
        if sizes and given.shape and sizes[0] == given.shape[0] == 1:
            sizes[0] = -1
        target = self.constant(np.array(sizes, np.int64), f"{node.outputs[0]}/shape")
        self.emit(made("Reshape", [node.inputs[0], target], node.outputs, node.name))
        return True

    on_Flatten = on_Reshape = on_Squeeze = on_Unsqueeze = shape

    def on_Expand(self, node: Node) -> bool:
        out = self.evaluator.apply(node, self.values)[0]
        if out.shape != self.values[node.inputs[0]].shape:
            raise Refused("a tensor that is repeated; Add, Mul and Concat repeat what they read by themselves")
        return self.alias(node)

    def on_BatchNormalization(self, node: Node) -> bool:
        if node.attributes.get("training_mode"):
            raise Refused("training_mode: expected 0; export after model.eval()")
        return False

    def on_Pad(self, node: Node) -> bool:
        pads = self.known(node, 1) if len(node.inputs) > 1 else node.attributes.get("pads")
        if pads is not None and not np.any(pads):
            return self.alias(node)
        return False

    def on_ReduceSum(self, node: Node) -> bool:
        """The mean, times how many."""
        axes = self.known(node, 1) if len(node.inputs) > 1 else node.attributes.get("axes")
        x, out = self.values[node.inputs[0]], self.evaluator.apply(node, self.values)[0]
        chosen = list(range(x.ndim)) if axes is None else [int(axis) % x.ndim for axis in np.atleast_1d(axes)]
        mean, keep = f"{node.outputs[0]}/mean", node.attributes.get("keepdims")
        keep = 1 if keep is None else int(keep)
        if self.network.opset >= 18:
            inputs = [node.inputs[0], self.constant(np.array(chosen, np.int64), mean)]
            self.emit(made("ReduceMean", inputs, [mean], node.name, keepdims=keep))
        else:
            self.emit(made("ReduceMean", node.inputs[:1], [mean], node.name, axes=chosen, keepdims=keep))
        count = self.constant(np.float32(x.size / out.size), mean)
        self.emit(made("Mul", [mean, count], node.outputs, node.name))
        return True

    def on_AveragePool(self, node: Node) -> bool:
        """Over the whole image, its mean. What counts less in some windows, and is no SAME, is scaled back."""
        x = self.values[node.inputs[0]]
        size = x.shape[2:]
        kernel = tuple(int(k) for k in node.attributes["kernel_shape"])
        out = self.evaluator.apply(node, self.values)[0]
        divisor = pool_divisor(node, size)
        if divisor.size == 1 and divisor.item() == prod(size):
            self.emit(made("GlobalAveragePool", node.inputs, node.outputs, node.name))
            return True
        if problem := takes(node, self.values, self.constants, self.is_wide):
            raise Refused(problem)
        stride = [int(s) for s in node.attributes.get("strides") or [1] * len(size)]
        if (divisor == prod(kernel)).all() and not node.attributes.get("ceil_mode"):
            return False
        before, after = [], []
        for axis in range(len(size)):
            span = (out.shape[2 + axis] - 1) * stride[axis] + kernel[axis] - size[axis]
            start = _before(node, axis, size, kernel, stride)
            before.append(start)
            after.append(max(span - start, 0))
        plain = f"{node.outputs[0]}/counted"
        self.emit(made(
            "AveragePool", node.inputs, [plain], node.name, kernel_shape=kernel, strides=stride,
            pads=[*before, *after], count_include_pad=1,
        ))  # fmt: skip
        factor = self.constant(np.float32(prod(kernel)) / divisor, plain)
        self.emit(made("Mul", [plain, factor], node.outputs, node.name))
        return True

    def on_PRelu(self, node: Node) -> bool:
        """One slope is a LeakyRelu; one for each channel, what is above 0 and a factor for what is below."""
        slopes = self.known(node, 1)
        if slopes is None:
            raise Refused("slopes that are computed")
        if (slopes == slopes.flat[0]).all():
            self.emit(made("LeakyRelu", node.inputs[:1], node.outputs, node.name, alpha=float(slopes.flat[0])))
            return True
        x, out = node.inputs[0], node.outputs[0]
        shape = self.values[x].shape
        flat = np.broadcast_to(slopes, (1, *shape[1:]))
        above, below, scaled = f"{out}/above", f"{out}/below", f"{out}/scaled"
        self.emit(made("Relu", [x], [above], node.name))
        zero = self.constant(np.float32(0), below)
        self.emit(made("Min", [x, zero], [below], node.name))
        per_channel = flat.reshape(1, shape[1], -1)
        is_channel = (per_channel == per_channel[:, :, :1]).all()
        slopes = per_channel[:, :, 0].reshape(-1, *[1] * (len(shape) - 2)) if is_channel else flat
        self.emit(made("Mul", [below, self.constant(slopes, scaled)], [scaled], node.name))
        self.emit(made("Add", [above, scaled], [out], node.name))
        return True

    def on_HardSigmoid(self, node: Node) -> bool:
        """Of int16, where there are no tables: a factor, a summand, a clip."""
        if not self.is_wide:
            return False
        alpha, beta = (node.attributes.get(key) for key in ("alpha", "beta"))
        out = node.outputs[0]
        self.scaled(node, 0.2 if alpha is None else float(alpha), 0.5 if beta is None else float(beta), f"{out}/line")
        limits = [self.constant(np.float32(limit), out) for limit in (0, 1)]
        self.emit(made("Clip", [f"{out}/line", *limits], [out], node.name))
        return True

    def on_HardSwish(self, node: Node) -> bool:
        if not self.is_wide:
            return False
        gate = f"{node.outputs[0]}/gate"
        self.on_HardSigmoid(made("HardSigmoid", node.inputs, [gate], node.name, alpha=1 / 6, beta=0.5))
        self.emit(made("Mul", [node.inputs[0], gate], node.outputs, node.name))
        return True

    def on_Neg(self, node: Node) -> bool:
        if self.is_wide:
            self.scaled(node, -1.0, 0.0, node.outputs[0])
        return self.is_wide

    def on_Mul(self, node: Node) -> bool:
        """Of int16, a number is one for each channel."""
        numbers = [self.constants[name] for name in node.inputs if name in self.constants]
        if not self.is_wide or len(numbers) != 1 or numbers[0].size != 1:
            return False
        value = float(numbers[0].reshape(-1)[0])
        is_swapped = node.inputs[0] in self.constants
        if node.op == "Div" and (is_swapped or not value):
            return False
        scale = {"Mul": value, "Div": 1 / value if value else 0, "Sub": -1.0 if is_swapped else 1.0}.get(node.op, 1.0)
        shift = {"Add": value, "Sub": value if is_swapped else -value}.get(node.op, 0.0)
        source = next(name for name in node.inputs if name not in self.constants)
        if self.values[source].ndim < 2 or numbers[0].ndim > self.values[source].ndim:
            return False
        self.scaled(made(node.op, [source], node.outputs, node.name), scale, shift, node.outputs[0])
        return True

    on_Add = on_Div = on_Sub = on_Mul

    def scaled(self, node: Node, scale: float, shift: float, out: str) -> None:
        """A factor and a summand, as those of each channel."""
        count = self.values[node.inputs[0]].shape[1]
        numbers = (scale, shift, 0.0, 1.0)
        names = [self.constant(np.full(count, number, np.float32), out) for number in numbers]
        self.emit(made("BatchNormalization", [node.inputs[0], *names], [out], node.name, epsilon=0.0))

    def on_LogSoftmax(self, node: Node) -> bool:
        if node.outputs[0] not in self.network.outputs:
            raise Refused("LogSoftmax in the middle: at the end it is taken as a softmax")
        self.notes.append(f"{node.outputs[0]}: LogSoftmax: what comes out are the probabilities, without the logarithm")
        given = node.attributes.get("axis")
        axis = given if given is not None else -1 if self.network.opset >= 13 else 1
        self.emit(made("Softmax", node.inputs, node.outputs, node.name, axis=int(axis)))
        return True

    def on_Gemm(self, node: Node) -> bool:
        """Factors in the constants."""
        weights = self.known(node, 1)
        alpha, beta = (float(1 if (v := node.attributes.get(key)) is None else v) for key in ("alpha", "beta"))
        if weights is None or node.attributes.get("transA"):
            raise Refused("expected constant weights, and a first input that is not transposed")
        weights = alpha * (weights.T if node.attributes.get("transB") else weights)
        inputs = [node.inputs[0], self.constant(weights, f"{node.outputs[0]}/weights")]
        if len(node.inputs) > 2 and node.inputs[2]:
            bias = self.known(node, 2)
            if bias is None or bias.size not in (1, weights.shape[1]):
                raise Refused("expected a constant bias, one number for each output")
            full = beta * np.broadcast_to(bias.reshape(-1), weights.shape[1:])
            inputs.append(self.constant(full, f"{node.outputs[0]}/bias"))
        self.emit(made("Gemm", inputs, node.outputs, node.name))
        return True

    def on_Sum(self, node: Node) -> bool:
        return self.nested(node, "Add")

    def on_Max(self, node: Node) -> bool:
        return self.nested(node, node.op)

    on_Min = on_Max

    def nested(self, node: Node, op: str) -> bool:
        """Of several tensors, pair by pair."""
        if len(node.inputs) == 1:
            return self.alias(node)
        if len(node.inputs) == 2 and node.op == op:
            return False
        current = node.inputs[0]
        for at, name in enumerate(node.inputs[1:], 2):
            out = node.outputs[0] if at == len(node.inputs) else f"{node.outputs[0]}/{at}"
            self.emit(made(op, [current, name], [out], node.name))
            current = out
        return True


def _before(node: Node, axis: int, size: Sequence[int], kernel: Sequence[int], stride: Sequence[int]) -> int:
    from .graph_run import _pads

    return _pads(node, size, kernel, stride)[axis][0]


def _single(value: np.ndarray) -> np.ndarray:
    """float32 in place of other floats."""
    value = np.asarray(value)
    return value.astype(np.float32) if value.dtype.name in _FLOATS else value


def _unknown(node: Node) -> str:
    return "no kernel for it" + (f": {HELP[node.op]}" if node.op in HELP else "")
