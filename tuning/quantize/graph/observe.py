# SPDX-License-Identifier: Apache-2.0
"""What a float graph does on calibration data: ranges, answers, and the samples that scales are compared on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from ...base.errors import OptionError
from ...importers.onnx.file import Node
from ..observe import SEARCH_BYTES, SEARCH_MACS, Progress
from ..scores import CHUNK
from .float_graph import FloatGraph, mixed, of_sample
from .operators import MOVES, WEIGHTED
from .points import Points
from .samples import Samples

_SATURATING = ("HardSigmoid", "Sigmoid", "Softmax", "Tanh")
CHUNK_BYTES = 64 << 20
"""Of all tensors of the samples that are run at once."""


class Observed:
    """A float graph and calibration data, run.

    Attributes
    ----------
    ranges : dict of str to (float, float)
        Of tensors that may become integers, on all samples.
    outputs : dict of str to ndarray
        Of all samples.
    chosen, sample : ndarray, dict
        Which samples scales are compared on, and what the inputs are of them.
    truth : dict of str to ndarray
        Those tensors, on these samples.
    inner : dict of str to ndarray
        What layers with weights read, on a few of them.
    logits : tuple of str
        Where answers are read from before they lose their resolution.
    """

    def __init__(self, graph: FloatGraph, data: Samples, names: Sequence[str], say: Progress) -> None:
        self.graph, self.data = graph, data
        self.makers = {out: node for node in graph.network.nodes for out in node.outputs}
        self.logits = tuple(dict.fromkeys(self._logits(name, names) for name in graph.network.outputs))
        low: dict[str, float] = dict.fromkeys(names, np.inf)
        high: dict[str, float] = dict.fromkeys(names, -np.inf)
        answers: dict[str, list[np.ndarray]] = {name: [] for name in graph.network.outputs}
        for start, values in chunks(graph, data.inputs):
            say(f"float network: {start:,} of {len(data):,} samples")
            for name in names:
                low[name] = min(low[name], float(values[name].min()))
                high[name] = max(high[name], float(values[name].max()))
            for name, parts in answers.items():
                parts.append(values[name])
        for name in names:
            if not (np.isfinite(low[name]) and np.isfinite(high[name])):
                raise OptionError(
                    f"{data.name}: x: the float network overflows on it, first at {name!r}; is the data scaled as in "
                    "training?"
                )
        self.ranges = {name: (low[name], high[name]) for name in names}
        self.outputs = {name: np.concatenate(parts) for name, parts in answers.items()}
        self._choose(names)

    def _choose(self, names: Sequence[str]) -> None:
        graph, data = self.graph, self.data
        per_sample = 4 * sum(prod(graph.shapes[name]) for name in names)
        count = min(len(data), max(16, SEARCH_MACS // max(macs_of(graph), 1)), max(16, SEARCH_BYTES // per_sample))
        self.chosen = np.unique(np.linspace(0, len(data) - 1, count).astype(np.int64))
        self.sample = data.part(self.chosen)
        read = [node.inputs[0] for node in graph.network.nodes if node.op in WEIGHTED]
        wanted = dict.fromkeys((*names, *read, *graph.network.outputs, *self.logits))
        parts: dict[str, list[np.ndarray]] = {name: [] for name in wanted}
        for _, values in chunks(graph, self.sample):
            for name, found in parts.items():
                found.append(values[name])
        self.truth = {name: np.concatenate(found) for name, found in parts.items()}
        self.inner = {name: self.truth[name] for name in read}

    def _logits(self, name: str, names: Sequence[str]) -> str:
        """The nearest tensor with integers before a softmax or a function that saturates, at the end."""
        found, own = name, set(names)
        while (node := self.makers.get(name)) is not None and node.op in (*MOVES, *_SATURATING):
            name = node.inputs[0]
            if name in own and name in self.makers:
                found = name
        return found

    def layer_of(self, name: str, points: Points) -> Node | None:
        """The layer with weights that a point is the result of."""
        name = points.clipped.get(name, name)
        while (node := self.makers.get(name)) is not None:
            if node.op in WEIGHTED:
                return node
            is_bias = node.op == "Add" and any(one in self.graph.network.constants for one in node.inputs)
            if node.op in MOVES and name not in points.names:
                name = node.inputs[0]
            elif is_bias:
                name = next(one for one in node.inputs if one not in self.graph.network.constants)
                maker = self.makers.get(name)
                return maker if maker is not None and maker.op == "MatMul" and name not in points.names else None
            else:
                return None
        return None

    def share(self, made: Mapping[str, np.ndarray]) -> float | None:
        """Of right answers by the labels, else of the float network's; None if there are no answers."""
        found = []
        for name in self.graph.network.outputs:
            wanted = self.data.targets.get(name)
            if wanted is not None and wanted.dtype.kind == "i":
                wanted = wanted[self.chosen]
            elif wanted is None and not self.data.targets and has_classes(self.graph, name):
                wanted = answers(self.graph, name, self.truth[name])
            else:
                continue
            found.append((answers(self.graph, name, made[name]) == wanted).mean())
        return float(np.mean(found)) if found else None


def chunks(graph: FloatGraph, inputs: Mapping[str, np.ndarray]) -> Iterator[tuple[int, dict[str, Any]]]:
    """All tensors of the graph, some samples at a time: all of them together where that gives what one by one does."""
    evaluator = graph.evaluator
    count = len(next(iter(inputs.values())))
    per_sample = 4 * sum(map(prod, graph.shapes.values()))
    step = max(1, min(CHUNK, CHUNK_BYTES // per_sample)) if mixed(graph) is None else 1
    for start in range(0, count, step):
        given = {name: np.asarray(value[start : start + step], np.float32) for name, value in inputs.items()}
        if step > 1:
            yield start, evaluator.run(given)
            continue
        yield start, {name: _row(value, graph.shapes[name]) for name, value in evaluator.run(given).items()}


def _row(value: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """One sample of a tensor that may have lost its batch."""
    return value.reshape(1, *of_sample(shape))


def has_classes(graph: FloatGraph, name: str) -> bool:
    """Whether an output is a softmax, whose largest element is an answer."""
    return _last(graph, name) == "Softmax"


def _last(graph: FloatGraph, name: str) -> str:
    makers = {out: node for node in graph.network.nodes for out in node.outputs}
    while (node := makers.get(name)) is not None and node.op in MOVES:
        name = node.inputs[0]
    return "" if node is None else node.op


def answers(graph: FloatGraph, name: str, values: np.ndarray) -> np.ndarray:
    """Class numbers: the first of the largest elements; a lone one is compared with the middle."""
    values = values.reshape(len(values), -1)
    if values.shape[1] > 1:
        return values.argmax(axis=1)
    return (values[:, 0] >= (0.5 if _last(graph, name) in ("Sigmoid", "HardSigmoid") else 0.0)).astype(np.int64)


def macs_of(graph: FloatGraph) -> int:
    """Products of a sample."""
    total = 0
    for node in graph.network.nodes:
        if node.op in WEIGHTED:
            weights = graph.network.constants[node.inputs[1]]
            each = prod(weights.shape[1:]) if node.op == "Conv" else weights.shape[0]
            total += prod(graph.shapes[node.outputs[0]]) * each
    return total
