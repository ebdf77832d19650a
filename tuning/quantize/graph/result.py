# SPDX-License-Identifier: Apache-2.0
"""What quantisation of a graph gives: the network in operators of `.tflite` files, and how well it does."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cmsisnn_x import Network

from ...base.units import one_line
from ...importers.onnx.quantised.reader import Translated
from ...importers.tflite.file import FileModel
from ...importers.tflite.reader import import_operators
from ...importers.tflite.writer import write
from ..affine.result import print_scales
from ..affine.scales import Scale
from ..scores import CHUNK, print_outcome, show_errors
from .float_graph import FloatGraph, of_sample
from .integers import INT, LAYERS, translated
from .observe import answers, chunks, has_classes
from .points import Points
from .samples import Samples, as_samples
from .twin import GraphTwin, Tensor

if TYPE_CHECKING:
    from rich.console import Console

    from ...model import Model

DESCRIPTION = "cmsisnn-quantize"


@dataclass(frozen=True)
class GraphReport:
    """What quantisation made of one tensor; the fields are its row of the table.

    `name` and `op` are the layer's, `tensor` is what the ONNX file calls its result; the others are as those of
    `AffineReport`.
    """

    name: str
    op: str
    tensor: str
    weights_scales: tuple[float, float] | None
    output_scale: float
    output_zero_point: int
    snr_db: float
    saturated: float | None
    coarse: int = 0


class Runnable:
    """An integer network that takes and gives floats as the float graph does.

    Attributes
    ----------
    layers : mapping of str to (str, str)
        Of points, the name and operator of the layer that gives them.
    """

    def __init__(
        self, graph: FloatGraph, found: Translated, points: Points, scales: Mapping[str, Scale]
    ) -> None:
        self.found, self.points, self.scales, self.shapes = found, points, scales, graph.shapes
        made = found.file.subgraphs[0]
        self.imported = import_operators(found.file, told=found.refusal)
        makers = {index: op for op in made.ops for index in op.outputs}
        self.layers: dict[str, tuple[str, str]] = {}
        for name in points.names:
            item = found.stored.get(name + INT)
            op = None if item is None else makers.get(item.tensor)
            if op is not None:
                self.layers[name] = (op.name or one_line(name), LAYERS.get(op.code, op.code.lower()))

    @cached_property
    def network(self) -> Network:
        return Network(self.imported.graph)

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """What the integers of the outputs stand for."""
        count = len(next(iter(inputs.values())))
        parts = [
            self._chunk({name: value[start : start + CHUNK] for name, value in inputs.items()})
            for start in range(0, count, CHUNK)
        ]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _chunk(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        given = []
        for port in self.imported.inputs:
            x = inputs[port.name]
            if port.name in self.found.channels_last:
                x = np.moveaxis(x, 1, -1)
            integers = self.scales[self.points.group[port.name]].quantize(x)
            given.append(np.ascontiguousarray(integers).reshape(len(x), *port.shape))
        made = self.network.run(given[0] if len(given) == 1 else tuple(given))
        found = {}
        for port, values in zip(self.imported.outputs, made if isinstance(made, tuple) else (made,), strict=True):
            name = port.name
            values = values.reshape(len(values), *of_sample(port.shape))
            if name in self.found.channels_last:
                values = np.moveaxis(values, -1, 1)
            assert port.scale is not None
            values = values.reshape(len(values), *of_sample(self.shapes[name]))
            found[name] = (values.astype(np.float64) - port.zero_point) * port.scale
        return found


@dataclass(frozen=True, eq=False)
class GraphQuantized:
    """A graph quantised to scales and zero points.

    Attributes
    ----------
    graph : FloatGraph
        The float network after rewriting.
    scheme : {"int8", "int16x8"}
    points : Points
    scales : mapping of str to Scale
        By group of points.
    biases : mapping of str to ndarray
        Of layers with weights, corrected.
    report : tuple of GraphReport
    notes : tuple of str
    samples : int
        Calibration samples.
    accuracy : dict of str to float
        ``"float"`` and the scheme -> share of right answers of the first output that has class numbers.
    errors : dict of str to dict
        Of outputs whose targets are numbers: root mean square error of ``"float"`` and of the scheme.
    agreement : float or None
        Share of the samples on which both networks give the same answer.
    """

    graph: FloatGraph
    scheme: str
    points: Points
    scales: Mapping[str, Scale]
    biases: Mapping[str, np.ndarray]
    report: tuple[GraphReport, ...]
    notes: tuple[str, ...]
    samples: int
    accuracy: dict[str, float] = field(default_factory=dict)
    errors: dict[str, dict[str, float]] = field(default_factory=dict)
    agreement: float | None = None

    @property
    def name(self) -> str:
        return self.graph.name

    @cached_property
    def translated(self) -> Translated:
        """The network in operators of `.tflite` files, and the bytes of one."""
        path = Path(f"{self.name}.tflite")
        found = translated(self.graph, self.points, self.scales, self.biases, path, DESCRIPTION)
        return replace(found, file=replace(found.file, content=write(found.file)))

    @property
    def file(self) -> FileModel:
        return self.translated.file

    @cached_property
    def model(self) -> Model:
        """As :func:`tuning.load_model` would give it."""
        from ...load import operator_model

        found = self.translated
        return operator_model(found.file, self.name, "tflm", True, channels_last=found.channels_last)

    @cached_property
    def runnable(self) -> Runnable:
        return Runnable(self.graph, self.translated, self.points, self.scales)

    @cached_property
    def twin(self) -> GraphTwin:
        """The float network, with how the integer one's tensors lie."""
        tensors = []
        for name in self.points.names:
            item = self.translated.stored.get(name + INT, self.translated.stored.get(name))
            if item is None:
                continue
            layer = self.runnable.layers.get(name)
            tensors.append(Tensor(name, "" if layer is None else layer[0], item.layout.axes, item.layout.order))
        return GraphTwin(self.graph, tuple(tensors), tuple(sorted(self.translated.channels_last)))

    def outputs(self, data: Samples) -> dict[str, np.ndarray]:
        """What the integers of the outputs stand for."""
        return self.runnable.run(data.inputs)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write it, each file by atomic rename; missing folders are made.

        Parameters
        ----------
        path : path
            ``net.tflite``, or ``net.yaml``: a model file, with ``net.npz`` and ``net_float.npz`` beside it, which
            holds the float network for ``--check``.

        Raises
        ------
        OptionError
            `path` ends otherwise.
        """
        from ..affine.files import heading, save_network

        inputs = []
        for port in self.model.inputs:
            order = "channels last" if port.is_channels_last else "in the order of the float model"
            inputs.append(f"Input {one_line(port.name)}: round(x / {port.scale:.9g}) {port.zero_point:+d}, {order}.")
        lines = heading(self.scheme, self.samples, inputs, self.accuracy)
        return save_network(path, self.file, self.name, lines, self.twin.stored)

    def evaluate(self, data: Any) -> dict[str, Any]:
        """How it does on other data: ``samples``, ``accuracy``, ``errors`` and ``agreement``."""
        samples = self.samples_of(data)
        return {"samples": len(samples), **self._compared(samples)}

    def samples_of(self, data: Any) -> Samples:
        """Data in whatever form, as this network takes them."""
        network = self.graph.network
        shapes = {item.name: item.shape for item in network.inputs}
        return as_samples(data, shapes, {name: self.graph.shapes[name] for name in network.outputs}, "data")

    def _compared(self, data: Samples) -> dict[str, Any]:
        parts: dict[str, list[np.ndarray]] = {name: [] for name in self.graph.network.outputs}
        for _, values in chunks(self.graph, data.inputs):
            for name, found in parts.items():
                found.append(values[name])
        wanted = {name: np.concatenate(found) for name, found in parts.items()}
        return compared(self.graph, data, wanted, self.outputs(data), self.scheme)

    def __str__(self) -> str:
        from ...base.console import as_text

        return as_text(lambda out: print_graph_table(out, self))


def compared(
    graph: FloatGraph, data: Samples, in_float: Mapping[str, np.ndarray], integers: Mapping[str, np.ndarray],
    scheme: str,
) -> dict[str, Any]:
    """Accuracy of both networks, how often their answers agree, and the errors of outputs that are numbers."""
    accuracy: dict[str, float] = {}
    errors: dict[str, dict[str, float]] = {}
    agreement = None
    for name in graph.network.outputs:
        target = data.targets.get(name)
        both = {"float": in_float[name], scheme: integers[name]}
        if target is not None and target.dtype.kind == "f":
            flat = target.reshape(len(target), -1)
            errors[name] = {
                kind: float(np.sqrt(np.square(values.reshape(flat.shape) - flat, dtype=np.float64).mean()))
                for kind, values in both.items()
            }
        elif target is not None or has_classes(graph, name):
            found = {kind: answers(graph, name, values) for kind, values in both.items()}
            if agreement is None or (target is not None and not accuracy):
                agreement = float((found["float"] == found[scheme]).mean())
            if target is not None and not accuracy:
                accuracy = {kind: float((one == target).mean()) for kind, one in found.items()}
    return {"accuracy": accuracy, "agreement": agreement, "errors": errors}


def print_graph_table(out: Console, result: GraphQuantized) -> None:
    """The table per tensor, and what was rewritten."""
    for port in result.model.inputs:
        shape = "x".join(map(str, port.shape[1:]))
        order = ", channels last" if port.is_channels_last else ""
        assert port.scale is not None
        numbers = f"round(x / {port.scale:.7g}){port.zero_point:+d}"
        out.print(f"{result.name}: input {one_line(port.name)} {shape} {port.dtype}: {numbers}{order}")
    print_scales(out, result.report)
    print_outcome(out, result, show_errors(result.errors))
