# SPDX-License-Identifier: Apache-2.0
"""What of an ONNX file is read: sizes that it leaves open, the tensor at which it is cut, scikit-learn's operators.

skl2onnx writes scalers and linear models as operators of ``ai.onnx.ml``, and labels beside the probabilities. Both
become what every reader knows: the operators those of ONNX itself, the outputs the probabilities alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

import numpy as np

from ...base.errors import ModelError, OptionError

ML = "ai.onnx.ml"
OPSET = 17
"""Of what is written here, where a file names no opset of ONNX itself."""
_POST = {"NONE": None, "SOFTMAX": "Softmax", "LOGISTIC": "Sigmoid"}
_LABELS = ("ArgMax", "ArrayFeatureExtractor", "LabelEncoder", "LinearClassifier")
"""Operators whose first output is a class."""


@dataclass(frozen=True)
class Given:
    """What a user says of a file.

    Attributes
    ----------
    output : str or None
        The tensor that is to be the one output.
    shapes : mapping of str to tuple of int
        Of inputs whose sizes are open.
    """

    output: str | None = None
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


def prepared(proto: Any, file: str, given: Given) -> tuple[Any, tuple[str, ...]]:
    """A copy of a model with what is given, and what was changed beyond that.

    Raises
    ------
    ModelError, OptionError
        The model has no such tensor or input, or the sizes are not its own.
    """
    import onnx

    made = onnx.ModelProto()
    made.CopyFrom(proto)
    for name, shape in given.shapes.items():
        _resize(made.graph, file, name, shape)
    if given.output is not None:
        _cut(made.graph, file, given.output)
    notes: list[str] = []
    if any(node.domain == ML for node in made.graph.node):
        notes += _Plain(made, file).run()
    _without_labels(made.graph, notes)
    return made, tuple(notes)


def _resize(graph: Any, file: str, name: str, shape: tuple[int, ...]) -> None:
    stored = {tensor.name for tensor in graph.initializer}
    inputs = {item.name: item for item in graph.input if item.name not in stored}
    if name not in inputs:
        raise OptionError(f"--shape: expected an input of {file}, {_listed(inputs)}, got {name!r}")
    kind = inputs[name].type.tensor_type
    sizes = [str(dim.dim_value or dim.dim_param or "?") for dim in kind.shape.dim]
    own = [dim.dim_value for dim in kind.shape.dim]
    fits = not kind.HasField("shape") or (
        len(own) == len(shape) and all(a in (0, b) for a, b in zip(own, shape, strict=True))
    )
    if not fits:
        raise OptionError(f"--shape: {name}: expected sizes for [{', '.join(sizes)}], got {', '.join(map(str, shape))}")
    del kind.shape.dim[:]
    for size in shape:
        kind.shape.dim.add().dim_value = size


def _cut(graph: Any, file: str, name: str) -> None:
    made = {output for node in graph.node for output in node.output if output}
    if name not in made:
        near = get_close_matches(name, sorted(made), 3) or [item.name for item in graph.output]
        raise OptionError(
            f"--output: expected a file name ending in .yaml or .tflite, or a tensor that {file} computes, such as "
            f"{_listed(near)}, got {name!r}"
        )
    found = next((item for item in graph.output if item.name == name), None)
    kept = [found] if found is not None else []
    copies = [type(item)() for item in kept]
    for copy, item in zip(copies, kept, strict=True):
        copy.CopyFrom(item)
    del graph.output[:]
    graph.output.extend(copies)
    if not copies:
        graph.output.add().name = name


def _listed(names: Iterable[str]) -> str:
    return " or ".join(repr(name) for name in names) or "none"


def _without_labels(graph: Any, notes: list[str]) -> None:
    """Beside numbers, classes are left out: their place is that of the largest number."""
    from onnx import TensorProto

    if len(graph.output) < 2:
        return
    labels = (TensorProto.INT64, TensorProto.INT32, TensorProto.STRING)
    kept = [item for item in graph.output if item.type.tensor_type.elem_type not in labels]
    if len(kept) != 1:
        return
    lost = [item.name for item in graph.output if item.name != kept[0].name]
    _cut(graph, "", kept[0].name)
    notes.append(f"{kept[0].name}: the one output; {', '.join(lost)}, the class, is the place of its largest number")


class _Plain:
    """The operators of ``ai.onnx.ml`` in a model as ONNX's own."""

    def __init__(self, proto: Any, file: str) -> None:
        self.proto, self.graph, self.file = proto, proto.graph, file
        self.nodes: list[Any] = []
        self.notes: list[str] = []
        self.count = 0

    def run(self) -> list[str]:
        if not any(item.domain in ("", "ai.onnx") for item in self.proto.opset_import):
            item = self.proto.opset_import.add()
            item.domain, item.version = "", OPSET
        for node in self.graph.node:
            change = getattr(self, f"on_{node.op_type}", None) if node.domain == ML else None
            if change is None:
                self.nodes.append(node)
                continue
            attributes = {item.name: _value(item) for item in node.attribute}
            try:
                change(node, attributes)
            except (KeyError, ValueError, IndexError, TypeError) as problem:
                where = node.name or (node.output[0] if node.output else "")
                text = f"its inputs and attributes are no valid {ML}.{node.op_type}: {problem}"
                raise ModelError(f"{self.file}: node {where!r} ({ML}.{node.op_type}): {text}") from None
        self.as_sigmoids()
        self.as_one_class()
        made = [type(node)() for node in self.nodes]
        for copy, node in zip(made, self.nodes, strict=True):
            copy.CopyFrom(node)
        del self.graph.node[:]
        self.graph.node.extend(made)
        return self.notes

    # ------------------------------------------------------------ parts

    def constant(self, value: np.ndarray) -> str:
        from onnx import numpy_helper

        self.count += 1
        name = f"{ML}/{self.count}"
        self.graph.initializer.append(numpy_helper.from_array(np.asarray(value, np.float32), name))
        return name

    def add(self, op: str, inputs: list[str], output: str, name: str, **attributes: Any) -> None:
        from onnx import helper

        self.nodes.append(helper.make_node(op, inputs, [output], name=name, **attributes))

    def linear(self, node: Any, weights: np.ndarray, bias: np.ndarray, post: str, output: str) -> None:
        """``post(x @ weights.T + bias)``, which has a row for each output."""
        if post not in _POST:
            raise ValueError(f"post_transform: expected one of {', '.join(_POST)}, got {post!r}")
        after = _POST[post]
        made = output if after is None else f"{output}/scores"
        inputs = [node.input[0], self.constant(weights), self.constant(bias)]
        self.add("Gemm", inputs, made, node.name or output, transB=1)
        if after is not None:
            self.add(after, [made], output, f"{node.name or output}_{after.lower()}")

    # ------------------------------------------------------------ operators

    def on_Scaler(self, node: Any, given: dict[str, Any]) -> None:
        middle, name = f"{node.output[0]}/centred", node.name or node.output[0]
        self.add("Sub", [node.input[0], self.constant(given["offset"])], middle, f"{name}_offset")
        self.add("Mul", [middle, self.constant(given["scale"])], node.output[0], f"{name}_scale")

    def on_LinearRegressor(self, node: Any, given: dict[str, Any]) -> None:
        count = int(given.get("targets", 1))
        weights = np.asarray(given["coefficients"]).reshape(count, -1)
        bias = np.asarray(given.get("intercepts", np.zeros(count)))
        self.linear(node, weights, bias, given.get("post_transform", "NONE"), node.output[0])

    def on_LinearClassifier(self, node: Any, given: dict[str, Any]) -> None:
        labels = given.get("classlabels_ints") or given.get("classlabels_strings") or [0, 1]
        coefficients = np.asarray(given["coefficients"])
        intercepts = np.asarray(given.get("intercepts", np.zeros(len(labels))))
        weights = coefficients.reshape(len(intercepts), -1)
        self.linear(node, weights, intercepts, given.get("post_transform", "NONE"), node.output[1])
        if len(labels) == 2 and len(intercepts) == 1:
            self.notes.append(f"{node.output[1]}: one number, that of class {labels[1]!r}; {labels[0]!r} has the rest")

    def on_Normalizer(self, node: Any, given: dict[str, Any]) -> None:
        """Behind a softmax a sum of 1 is divided by; behind others it is left out where nothing but labels follows."""
        before = next((one for one in self.nodes if node.input[0] in one.output), None)
        behind = [one for one in self.graph.node if node.output[0] in one.input]
        is_last = all(one.op_type == "ZipMap" and one.domain == ML for one in behind)
        if given.get("norm") != "L1" or before is None or not (before.op_type == "Softmax" or is_last):
            self.nodes.append(node)
            return
        if before.op_type != "Softmax":
            self.notes.append(f"{node.output[0]}: not divided by their sum; the order is the same")
        self.add("Identity", [node.input[0]], node.output[0], node.name)

    def on_ZipMap(self, node: Any, given: dict[str, Any]) -> None:
        """Probabilities by class become probabilities."""
        from onnx import TensorProto, helper

        self.add("Identity", [node.input[0]], node.output[0], node.name)
        for item in self.graph.output:
            if item.name == node.output[0]:
                item.CopyFrom(helper.make_tensor_value_info(item.name, TensorProto.FLOAT, None))

    def on_ArrayFeatureExtractor(self, node: Any, given: dict[str, Any]) -> None:
        """Columns of what a layer gives; of classes by what the largest is, nobody asks."""
        from onnx import numpy_helper

        indices = next((one for one in self.graph.initializer if one.name == node.input[1]), None)
        if indices is None:
            self.nodes.append(node)
            return
        name = f"{ML}/{node.input[1]}"
        self.graph.initializer.append(numpy_helper.from_array(numpy_helper.to_array(indices).reshape(-1), name))
        self.add("Gather", [node.input[0], name], node.output[0], node.name, axis=1)

    # ------------------------------------------------------------ patterns

    def made_by(self, tensor: str, *ops: str) -> Any:
        """The node that makes a tensor, if it is one of `ops`."""
        found = next((one for one in self.nodes if tensor in one.output), None)
        return found if found is not None and found.op_type in ops else None

    def as_sigmoids(self) -> None:
        """``1 / (1 + exp(-x))`` is a sigmoid; divided by the sum over classes, at the end, one of the same order."""
        values = {tensor.name: tensor for tensor in self.graph.initializer}
        for at, node in enumerate(self.nodes):
            if node.op_type != "Reciprocal":
                continue
            add = self.made_by(node.input[0], "Add")
            exp = add and self.made_by(add.input[0], "Exp")
            minus = exp and self.made_by(exp.input[0], "Mul", "Neg")
            if minus is None or not _is_all(values.get(add.input[1]), 1):
                continue
            if minus.op_type == "Neg" or _is_all(values.get(minus.input[1]), -1):
                self.replace(at, "Sigmoid", [minus.input[0]])
        for at, node in enumerate(self.nodes):
            above, below = (self.made_by(name, "Add") for name in node.input) if node.op_type == "Div" else (None, None)
            if above is None or below is None or not self.made_by(above.input[0], "Sigmoid"):
                continue
            total = self.made_by(below.input[0], "ReduceSum")
            if total is not None and total.input[0] == above.input[0] and self.ends(node.output[0]):
                self.replace(at, "Identity", [above.input[0]])
                self.notes.append(f"{node.output[0]}: not divided by their sum; the order is the same")

    def replace(self, at: int, op: str, inputs: list[str]) -> None:
        from onnx import helper

        node = self.nodes[at]
        self.nodes[at] = helper.make_node(op, inputs, list(node.output), name=node.name)

    def as_one_class(self) -> None:
        """Probabilities of two classes, ``concat(1 - p, p)`` at the end, are `p`."""
        values = {tensor.name: tensor for tensor in self.graph.initializer}
        for at, node in enumerate(self.nodes):
            if node.op_type != "Concat" or len(node.input) != 2:
                continue
            rest = self.made_by(node.input[0], "Sub")
            if rest is None or rest.input[1] != node.input[1] or not _is_all(values.get(rest.input[0]), 1):
                continue
            if not self.ends(node.output[0]):
                continue
            self.replace(at, "Identity", [node.input[1]])
            self.notes.append(f"{node.output[0]}: one probability, that of the second class; the first has the rest")

    def ends(self, tensor: str) -> bool:
        """Whether nothing but labels is made of a tensor."""
        users = [one for one in self.nodes if tensor in one.input]
        return all(one.op_type in _LABELS or (one.op_type == "Identity" and self.ends(one.output[0])) for one in users)


def _value(attribute: Any) -> Any:
    from onnx import helper

    value = helper.get_attribute_value(attribute)
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, list) and value and isinstance(value[0], bytes):
        return [item.decode(errors="replace") for item in value]
    return list(value) if hasattr(value, "__len__") and not isinstance(value, str) else value


def _is_all(tensor: Any, number: float) -> bool:
    from onnx import numpy_helper

    return tensor is not None and bool((numpy_helper.to_array(tensor) == number).all())
