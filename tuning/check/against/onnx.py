# SPDX-License-Identifier: Apache-2.0
"""A network that came from a quantised ONNX file against ONNX Runtime on that file, tensor by tensor.

Every tensor that the file has in integers is made by ONNX Runtime from this tool's own integers in front of it, so that
a difference stays where it is made; then the whole file runs. Nothing is fused: the runtime's default session computes
QDQ of int8 otherwise on some processors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ...base.errors import OptionError
from ...base.options import Arithmetic
from ...importers.onnx import file as onnx_file
from ...importers.onnx.file import Node, OnnxInput
from ...importers.onnx.quantised import reader as onnx_quantised
from ...importers.onnx.quantised.items import Stored
from ...importers.onnx.quantised.reader import Translated
from ...importers.tflite.file import read as read_tflite
from ...importers.tflite.reader import Port, import_operators
from ...importers.tflite.writer import write
from .comparison import Comparison, Difference, OperatorResult, comparison
from .packages import Piece, Runner
from .tflite import DEFAULT_SAMPLES, Bench, Origin, origin

_BORDERS = ("QuantizeLinear", "DequantizeLinear", "Constant")
"""Not named where other operators stand between them."""


def onnx_origin(directory: Path, model: str | None) -> Origin:
    """Check that a folder was made from an ONNX file.

    Raises
    ------
    OptionError
        No such folder or file, or another one.
    """
    if model is None:
        raise OptionError(
            f"{directory}: --against onnxruntime: expected --model FILE.onnx, the file that it was made from, got none"
        )
    found, path = origin(directory), Path(model)
    kept = read_tflite(found.path)
    if write(replace(onnx_quantised.read(path).file, description=kept.description)) != kept.content:
        raise OptionError(f"{path}: expected the file that {directory} was made from, got another one")
    return Origin(path, found.arithmetic)


def compare_onnx(
    path: Path, runner: Runner, *, arithmetic: Arithmetic = Arithmetic.TFLM, samples: int = DEFAULT_SAMPLES
) -> Comparison:
    """Hold a quantised ONNX file's network against ONNX Runtime; parameters and errors are those of `compare`."""
    bench = _OnnxBench(path, runner, arithmetic, samples)
    operators = tuple(bench.tensor(node) for node in bench.nodes if bench.is_made(node))
    return comparison(path, runner, arithmetic, samples, operators, bench.whole())


def in_file_order(values: np.ndarray, item: Stored) -> np.ndarray:
    """Samples of a tensor as the ONNX file has them; bytes from 0 on where it says so."""
    layout, count = item.layout, len(values)
    values = values.reshape(count, *layout.stored)
    values = values.transpose(0, *(1 + int(at) for at in np.argsort(layout.order))).reshape(count, *layout.shape)
    return (values.astype(np.int16) + 128).astype(np.uint8) if item.numbers.is_unsigned else values


class _OnnxBench:
    """A file with this tool's own integers of its tensors."""

    def __init__(self, path: Path, runner: Runner, arithmetic: Arithmetic, samples: int) -> None:
        self.runner, self.samples = runner, samples
        self.network = onnx_file.read_network(path)
        self.translated: Translated = onnx_quantised.read(path)
        self.nodes = self.network.nodes
        self.makers = {name: node for node in self.nodes for name in node.outputs if name}
        self.places = {id(node): at for at, node in enumerate(self.nodes)}
        imported = import_operators(self.translated.file, arithmetic.value, self.translated.refusal)
        self.imported = imported
        self.bench = Bench(imported, runner, samples)
        self.known = {
            name: in_file_order(self.bench.known[item.tensor], item)
            for name, item in self.translated.stored.items()
            if item.tensor in self.bench.known and name in self.makers
        }
        """Integers of the file's tensors: all samples."""

    def is_made(self, node: Node) -> bool:
        return node.outputs[0] in self.known

    def tensor(self, node: Node) -> OperatorResult:
        """What gives one tensor of integers, by itself."""
        name = node.outputs[0]
        element = self.translated.stored[name].numbers.type
        ops, inputs = self._unit(node)
        if ops is None:
            return OperatorResult(
                self.places[id(node)], node.op, name, element, {}, "a border: the network takes the integers behind it"
            )
        between = [one.op for one in ops if one.op not in _BORDERS]
        kind = " + ".join(between or [node.op])
        given = {key: self.known[key] for key in inputs}
        content = self._piece(ops, {key: (values.dtype, values.shape[1:]) for key, values in given.items()}, [name])
        results = self._results(content, list(given.values()), [self.known[name]])
        return OperatorResult(self.places[id(node)], kind, name, element, results)

    def _unit(self, last: Node) -> tuple[list[Node] | None, list[str]]:
        """The nodes between tensors of integers and the output of `last`; None where a float input is among them."""
        ops: dict[int, Node] = {id(last): last}
        inputs: dict[str, None] = {}
        todo = list(last.inputs)
        for name in todo:
            if not name or name in self.network.constants or name in inputs:
                continue
            if name in self.known:
                inputs[name] = None
            elif name not in self.makers:
                return None, []
            elif id(self.makers[name]) not in ops:
                ops[id(self.makers[name])] = self.makers[name]
                todo += self.makers[name].inputs
        return sorted(ops.values(), key=lambda node: self.places[id(node)]), list(inputs)

    def _piece(
        self, ops: Sequence[Node], inputs: Mapping[str, tuple[Any, Sequence[int]]], outputs: Sequence[str]
    ) -> bytes:
        """A file of some nodes."""
        import onnx
        from onnx import helper, numpy_helper

        taken = {name for node in ops for name in node.inputs}
        graph = helper.make_graph(
            [node.proto for node in ops],
            "piece",
            [
                helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(kind)), list(shape))
                for name, (kind, shape) in inputs.items()
            ],
            [onnx.ValueInfoProto(name=name) for name in outputs],
            [numpy_helper.from_array(v, name) for name, v in self.network.constants.items() if name in taken],
        )
        made = helper.make_model(graph, opset_imports=self.network.opsets, ir_version=self.network.ir_version)
        return bytes(made.SerializeToString())

    def whole(self) -> dict[str, Difference]:
        """The file as it is."""
        kinds = {item.name: (np.dtype(item.type), item.shape) for item in self.network.inputs}
        given = [self._given(item, port) for item, port in zip(self.network.inputs, self.imported.inputs, strict=True)]
        content = self._piece(self.nodes, kinds, self.network.outputs)
        wanted = [self.bench.traced[port.tensor] for port in self.imported.outputs]
        return self._results(content, given, wanted, self._integers)

    def _given(self, item: OnnxInput, port: Port) -> np.ndarray:
        """An input as the file takes it."""
        values = self.bench.traced[port.tensor].reshape(self.samples, *port.shape)
        if item.name in self.translated.channels_last:
            values = np.moveaxis(values.reshape(self.samples, item.shape[0], *item.shape[2:], item.shape[1]), -1, 2)
        values = values.reshape(self.samples, *item.shape)
        if np.dtype(item.type).kind in "iu":
            return values
        real = (values.astype(np.int32) - port.zero_point) * np.float32(port.scale or 1)
        return real.astype(np.dtype(item.type))

    def _integers(self, place: int, numbers: np.ndarray) -> np.ndarray:
        """What the network gives in place of an output, in its order."""
        if self.network.outputs[place] in self.translated.channels_last:
            numbers = np.moveaxis(numbers, 1, -1)
        return self.bench.integers(place, numbers)

    def _results(
        self,
        content: bytes,
        given: Sequence[np.ndarray],
        wanted: Sequence[np.ndarray],
        read: Callable[[int, np.ndarray], np.ndarray] = lambda place, numbers: numbers,
    ) -> dict[str, Difference]:
        rows = [[values[sample] for values in given] for sample in range(self.samples)]
        return self.bench.results(Piece(content, len(wanted), 0), rows, wanted, read)
