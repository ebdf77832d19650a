# SPDX-License-Identifier: Apache-2.0
"""ONNX files as sorted nodes and constant arrays; what the operators mean for us is in :mod:`.reader`."""

from __future__ import annotations

import os
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from ...base.errors import MissingToolError, ModelError, install
from .prepare import Given, prepared

OLDEST_OPSET = 7
MOST_ELEMENTS = 1 << 26
"""Of a sample: well above what a microcontroller holds."""
LARGEST_FILE = 2**31 - 1
KERAS = (
    'load it, call it once (model.predict), and model.export("model.onnx", format="onnx") writes one, with '
    "KERAS_BACKEND=torch without TensorFlow"
)
FOREIGN = {
    ".tflite": "a TensorFlow Lite file, which cmsisnn-tune takes if it is quantised; for a float one use tf2onnx",
    ".h5": f"a Keras file; {KERAS}",
    ".keras": f"a Keras file; {KERAS}",
    ".pb": "a TensorFlow file; convert it with tf2onnx",
    ".pt": "a PyTorch file; export the model with torch.onnx.export",
    ".pth": "a PyTorch file; export the model with torch.onnx.export",
    ".yaml": "a model file, which is quantised already",
    ".yml": "a model file, which is quantised already",
}
FOLDABLE = frozenset(
    [
        "Abs",
        "Add",
        "Cast",
        "Concat",
        "Constant",
        "ConstantOfShape",
        "Div",
        "Exp",
        "Expand",
        "Flatten",
        "Floor",
        "Gather",
        "Identity",
        "Max",
        "Min",
        "Mul",
        "Neg",
        "Pow",
        "Range",
        "ReduceProd",
        "ReduceSum",
        "ReduceL2",
        "ReduceMax",
        "ReduceMean",
        "ReduceMin",
        "Reciprocal",
        "Reshape",
        "Slice",
        "Split",
        "Sqrt",
        "Squeeze",
        "Sub",
        "Tile",
        "Transpose",
        "Unsqueeze",
    ]
)
"""Operators that are evaluated where all their inputs are constants: exporters compute shapes and weights with them."""
QUANTISED = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "MatMulInteger", "ConvInteger")
ELEMENTWISE = ("Add", "Div", "Max", "Min", "Mul", "Pow", "Sub")
LARGEST_CONSTANT = 1 << 28


@dataclass(frozen=True, eq=False)
class Node:
    """One operator: attributes as Python values, absent inputs as ``""``."""

    op: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]
    proto: Any

    def __str__(self) -> str:
        if self.name or not self.outputs:
            return f"node {self.name!r} ({self.op})"
        return f"the {self.op} node that gives {self.outputs[0]!r}"

    def numbers(self, attribute: str) -> list[int] | None:
        """An attribute of one whole number or of several; None if it is not there."""
        value = self.attributes.get(attribute)
        if value is None:
            return None
        return [int(item) for item in value] if isinstance(value, list | tuple) else [int(value)]


@dataclass(frozen=True, eq=False)
class OnnxGraph:
    """What contributes to the graph's one output, from its one input.

    `shape` is the input's with the batch first; a batch size that is not fixed is 1. `uses` counts the nodes that take
    a tensor, shapes aside.
    """

    file: str
    opset: int
    input: str
    shape: tuple[int, ...]
    output: str
    nodes: tuple[Node, ...]
    constants: dict[str, np.ndarray]
    uses: dict[str, tuple[Node, ...]]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class OnnxInput:
    """A tensor that the caller gives; a batch size that is not fixed is 1. `type` is as NumPy calls it."""

    name: str
    shape: tuple[int, ...]
    type: str


@dataclass(frozen=True, eq=False)
class OnnxNetwork:
    """What contributes to the graph's outputs, in order of execution, whatever it is.

    `opsets` and `ir_version` are what the file says of its operators.
    """

    file: str
    opset: int
    inputs: tuple[OnnxInput, ...]
    outputs: tuple[str, ...]
    nodes: tuple[Node, ...]
    constants: dict[str, np.ndarray]
    notes: tuple[str, ...] = ()
    opsets: tuple[Any, ...] = ()
    ir_version: int = 8

    @property
    def is_quantised(self) -> bool:
        return any(is_quantised(node.op) for node in self.nodes)


def is_quantised(op: str) -> bool:
    """Whether an operator is one of quantised networks."""
    name = op.rpartition(".")[2]
    return name in QUANTISED or name.startswith("QLinear") or op == "com.microsoft.QGemm"


def read_network(source: str | os.PathLike[str] | Any, given: Given | None = None) -> OnnxNetwork:
    """A file, or an ``onnx.ModelProto``, with any number of inputs and outputs.

    Raises
    ------
    ModelError
        The file cannot be read, or holds no graph.
    MissingToolError
        The package `onnx` is not installed.
    """
    if isinstance(source, (str, os.PathLike)):
        _refuse_others(Path(source))
    require_onnx()
    import onnx

    if isinstance(source, onnx.ModelProto):
        return _Reader(_inlined(source), source.graph.name or "model", given).network()
    return _Reader(_inlined(_load(Path(source))), str(source), given).network()


def from_bytes(content: bytes, name: str) -> OnnxNetwork:
    """The same of the bytes of a file that this program wrote; `name` is what messages call it."""
    require_onnx()
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        proto = onnx.load_model_from_string(content)
    except (DecodeError, ValueError) as problem:
        raise ModelError(f"{name}: expected an ONNX network, got bytes that cannot be decoded: {problem}") from None
    return _Reader(proto, name).network()


def require_onnx() -> None:
    try:
        import onnx  # noqa: F401
    except ImportError:
        raise MissingToolError(f"reading ONNX needs the package onnx: {install('quantize')}") from None


def read(source: str | os.PathLike[str] | Any, given: Given | None = None) -> OnnxGraph:
    """The graph of a file, or of an ``onnx.ModelProto``.

    Raises
    ------
    ModelError
        The file cannot be read, or is not a graph with one input and one output.
    MissingToolError
        The package `onnx` is not installed.
    """
    if isinstance(source, (str, os.PathLike)):
        _refuse_others(Path(source))
    require_onnx()
    import onnx

    if isinstance(source, onnx.ModelProto):
        return _Reader(_inlined(source), source.graph.name or "model", given).graph()
    path = Path(source)
    return _Reader(_inlined(_load(path)), path.name, given).graph()


def _refuse_others(path: Path) -> None:
    """What needs no look inside, and no package."""
    if not path.exists():
        raise ModelError(f"{path}: no such file")
    if path.is_dir():
        raise ModelError(f"{path}: expected an ONNX file, got a folder")
    if path.suffix.lower() in FOREIGN:
        raise ModelError(f"{path}: expected an ONNX file, got {FOREIGN[path.suffix.lower()]}")


def _load(path: Path) -> Any:
    import onnx
    from google.protobuf.message import DecodeError

    if not path.is_file():
        raise ModelError(f"{path}: expected an ONNX file, got something that is no regular file")
    if path.stat().st_size > LARGEST_FILE:
        raise ModelError(
            f"{path}: {path.stat().st_size:,} bytes; protobuf ends at 2 GiB. Save the weights as external data "
            "(onnx.save(..., save_as_external_data=True))"
        )
    try:
        proto = onnx.load_model_from_string(path.read_bytes())
    except (DecodeError, ValueError) as problem:
        raise ModelError(f"{path}: expected an ONNX file, got one that cannot be decoded: {problem}") from None
    except MemoryError:
        raise ModelError(f"{path}: does not fit into memory") from None
    if not proto.graph.node or not proto.graph.output:
        raise ModelError(f"{path}: expected an ONNX file with a graph, got one without nodes or outputs")
    try:
        onnx.load_external_data_for_model(proto, str(path.parent))
    except (OSError, ValueError, MemoryError, onnx.checker.ValidationError) as problem:
        raise ModelError(f"{path}: its external data cannot be read: {problem}") from None
    return proto


def _text(value: str | bytes) -> str:
    """Protobuf gives text that is not UTF-8 as bytes."""
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _inlined(proto: Any) -> Any:
    if not proto.functions:
        return proto
    from onnx.inliner import inline_local_functions

    return inline_local_functions(proto)


class _Reader:
    def __init__(self, proto: Any, file: str, given: Given | None = None) -> None:
        self.file = file
        self.proto, self.notes = prepared(proto, file, given or Given())

    def error(self, text: str) -> ModelError:
        return ModelError(f"{self.file}: {text}")

    def graph(self) -> OnnxGraph:
        opset = self.opset()
        graph = self.proto.graph
        if graph.sparse_initializer:
            raise self.error("sparse weights are not supported; save them dense")
        constants = {tensor.name: self.array(tensor) for tensor in graph.initializer}
        # Files of IR version 3 and before list the weights among the inputs.
        inputs = [item for item in graph.input if item.name not in constants]
        if len(inputs) != 1:
            names = ", ".join(repr(item.name) for item in inputs) or "none"
            raise self.error(f"expected one input, got {names}")
        if len(graph.output) != 1:
            names = ", ".join(repr(item.name) for item in graph.output)
            raise self.error(f"expected one output, got {names}; cut the network at one with --output NAME")
        made = [self.node(item) for item in graph.node]
        if found := next((node for node in made if is_quantised(node.op)), None):
            raise self.error(
                f"{found}: the network is quantised already: give the float model here, or this one to cmsisnn-tune"
            )
        nodes = self.sorted(made, [graph.output[0].name])
        uses: dict[str, list[Node]] = {}
        for node in nodes:
            for name in node.inputs:
                if name and node.op != "Shape":
                    uses.setdefault(name, []).append(node)
        return OnnxGraph(
            self.file,
            opset,
            inputs[0].name,
            self.shape(inputs[0]),
            graph.output[0].name,
            tuple(nodes),
            constants,
            {name: tuple(takers) for name, takers in uses.items()},
            self.notes,
        )

    def network(self) -> OnnxNetwork:
        from onnx import TensorProto, helper

        opset = self.opset()
        graph = self.proto.graph
        if graph.sparse_initializer:
            raise self.error("sparse weights are not supported; save them dense")
        constants = {tensor.name: self.array(tensor) for tensor in graph.initializer}
        inputs = []
        for item in graph.input:
            if item.name in constants:
                continue
            shape = self.shape(item)
            kind = item.type.tensor_type.elem_type
            if kind not in TensorProto.DataType.values() or kind in (TensorProto.UNDEFINED, TensorProto.STRING):
                raise self.error(f"input {item.name!r}: expected numbers, got element type {kind}")
            inputs.append(OnnxInput(item.name, shape, str(helper.tensor_dtype_to_np_dtype(kind))))
        outputs = [item.name for item in graph.output]
        nodes = self.sorted([self.node(item) for item in graph.node], outputs)
        return OnnxNetwork(
            self.file, opset, tuple(inputs), tuple(outputs), tuple(nodes), constants, self.notes,
            tuple(self.proto.opset_import), self.proto.ir_version,
        )  # fmt: skip

    def opset(self) -> int:
        versions = {item.domain: item.version for item in self.proto.opset_import}
        version = versions.get("", versions.get("ai.onnx"))
        if version is None:
            raise self.error(f"expected standard ONNX operators, got only {', '.join(sorted(versions)) or 'none'}")
        if version < OLDEST_OPSET:
            raise self.error(f"expected opset {OLDEST_OPSET} or newer, got {version}; onnx.version_converter raises it")
        return int(version)

    def shape(self, item: Any) -> tuple[int, ...]:
        kind = item.type.WhichOneof("value")
        if kind != "tensor_type":
            raise self.error(f"input {item.name!r}: expected a tensor, got {kind or 'nothing'}")
        if not item.type.tensor_type.HasField("shape"):
            raise self.error(f"input {item.name!r}: expected a known shape, got none; export with fixed sizes")
        dims = item.type.tensor_type.shape.dim
        sizes = [dim.dim_value if dim.WhichOneof("value") == "dim_value" else 0 for dim in dims]
        spelled = [str(dim.dim_value or dim.dim_param or "?") for dim in dims]
        if len(sizes) < 2 or any(size < 1 for size in sizes[1:]):
            raise self.error(
                f"input {item.name!r}: expected a batch first and then fixed sizes, got [{', '.join(spelled)}]; "
                f"export with fixed sizes (only the batch may be open), or say --shape {item.name}=1,..."
            )
        if prod(sizes[1:]) > MOST_ELEMENTS:
            raise self.error(
                f"input {item.name!r}: expected at most {MOST_ELEMENTS:,} numbers a sample, got [{', '.join(spelled)}]"
            )
        return (max(sizes[0], 1), *sizes[1:])

    def array(self, tensor: Any) -> np.ndarray:
        from onnx import TensorProto, numpy_helper

        if tensor.data_location == TensorProto.EXTERNAL:
            raise self.error(
                f"weights {tensor.name!r} lie in another file that was not loaded; give the path of the file"
            )
        try:
            return np.asarray(numpy_helper.to_array(tensor))
        except (ValueError, TypeError, KeyError) as problem:
            raise self.error(f"weights {tensor.name!r} cannot be read: {problem}") from None

    def node(self, proto: Any) -> Node:
        from onnx import AttributeProto, helper

        attributes: dict[str, Any] = {}
        for item in proto.attribute:
            if item.type == AttributeProto.TENSOR:
                attributes[item.name] = self.array(item.t)
            elif item.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS):
                attributes[item.name] = None
            else:
                value = helper.get_attribute_value(item)
                attributes[item.name] = value.decode(errors="replace") if isinstance(value, bytes) else value
        domain, op = _text(proto.domain), _text(proto.op_type)
        op = op if domain in ("", "ai.onnx") else f"{domain}.{op}"
        inputs, outputs = (tuple(_text(name) for name in names) for names in (proto.input, proto.output))
        node = Node(op, _text(proto.name), inputs, outputs, attributes, proto)
        if not node.outputs:
            raise self.error(f"{node}: expected an output, got none")
        return node

    def sorted(self, nodes: list[Node], outputs: list[str]) -> list[Node]:
        """The nodes that the outputs need, each after those that it takes from."""
        maker: dict[str, Node] = {}
        for item in nodes:
            for name in filter(None, item.outputs):
                if name in maker:
                    raise self.error(f"tensor {name!r} is made by {maker[name]} and by {item}")
                maker[name] = item
        done: dict[int, bool] = {}
        order: list[Node] = []
        # Depth first without recursion: networks are deeper than Python's stack.
        stack = [(output, False) for output in reversed(outputs)]
        while stack:
            name, is_left = stack.pop()
            node = maker.get(name)
            if node is None:
                continue
            if is_left:
                done[id(node)] = True
                order.append(node)
            elif id(node) in done:
                if not done[id(node)]:
                    raise self.error(f"{node} depends on its own output")
            else:
                done[id(node)] = False
                stack.append((name, True))
                stack.extend((taken, False) for taken in reversed(node.inputs))
        return order


def fold(graph: OnnxGraph | OnnxNetwork, node: Node, inputs: list[np.ndarray | None]) -> list[np.ndarray]:
    """Outputs of an operator all of whose inputs are constants."""
    from onnx import TensorProto, helper
    from onnx.reference import ReferenceEvaluator

    given = {name: value for name, value in zip(node.inputs, inputs, strict=True) if value is not None}
    unknown = [helper.make_tensor_value_info(name, TensorProto.UNDEFINED, None) for name in given]
    results = [helper.make_tensor_value_info(name, TensorProto.UNDEFINED, None) for name in node.outputs]
    one = helper.make_graph([node.proto], "constant", unknown, results)
    model = helper.make_model(one, opset_imports=[helper.make_opsetid("", graph.opset)])
    try:
        if node.op in ("ConstantOfShape", "Expand", "Tile"):
            _check_size(node, inputs)
        elif node.op in ELEMENTWISE:
            shape = np.broadcast_shapes(*(value.shape for value in inputs if value is not None))
            if prod(shape) > LARGEST_CONSTANT:
                raise ValueError("the result would have more than 2**28 elements")
        found = ReferenceEvaluator(model).run(None, given)
    except Exception as problem:  # the reference evaluator raises whatever NumPy does on impossible operands
        raise ModelError(f"{graph.file}: {node}: its constants cannot be evaluated: {problem}") from None
    return [np.asarray(value) for value in found]


def _check_size(node: Node, inputs: list[np.ndarray | None]) -> None:
    repeats = inputs[-1]
    start = 1 if node.op == "ConstantOfShape" or inputs[0] is None else max(inputs[0].size, 1)
    if repeats is not None and start * float(np.prod(repeats.astype(np.float64))) > LARGEST_CONSTANT:
        raise ValueError("the result would have more than 2**28 elements")
