# SPDX-License-Identifier: Apache-2.0
"""Scales for a float graph, found on calibration data, and the integer network they give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...base.errors import OptionError
from ...base.units import one_line
from ..affine.scales import FIXED, RANGES, TYPES, Scale, ranges_of, spanning
from ..data import doubts
from ..observe import Progress
from ..rewrites import EQUALISED
from ..scores import Score, is_better, signal_to_noise
from .equalise import equalised
from .float_graph import FloatGraph
from .integers import bias_of, channel_axis, translated, weights_of
from .observe import Observed
from .operators import WEIGHTED
from .points import Points, place
from .result import GraphQuantized, GraphReport, Runnable, compared
from .samples import Samples, as_samples

MOST_VALUES = 1 << 17
"""Of a tensor, that ranges are compared on."""
BIASES = "biases take up the mean error of their layer"
DESCRIPTION = "cmsisnn-quantize"


def quantize_graph(
    graph: FloatGraph, calibration: Samples | Any, *, scheme: str = "int8", ranges: str = "mse",
    progress: Progress | None = None,
) -> GraphQuantized:  # fmt: skip
    """Choose scales and zero points for a graph, and round.

    Parameters
    ----------
    graph : FloatGraph
    calibration : Samples, mapping of str to ndarray, Data, ndarray, tuple of ndarray, or path
        An array for each input, as the float model takes them, with or without what outputs should be.
    scheme : {"int8", "int16x8"}
    ranges : {"mse", "minmax", "percentile"}
        Of activations. ``mse``: of every tensor the range with the least squared error; where the network as a whole
        does better with ``minmax``, it is that.
    progress : callable, optional
        Called with one line per step.

    Returns
    -------
    GraphQuantized

    Raises
    ------
    ModelError, OptionError
        The network, or the data for it, cannot be used.
    """
    if scheme not in TYPES:
        raise OptionError(f"scheme: expected int8 or int16x8, got {scheme!r}")
    if ranges not in RANGES:
        raise OptionError(f"ranges: expected one of {', '.join(RANGES)}, got {ranges!r}")
    say = progress or (lambda line: None)
    require_taken(graph, scheme)
    data = as_samples(calibration, *borders(graph))
    best: _State | None = None
    other = equalised(graph)
    for one, notes in ((graph, ()), *(() if other is None else ((other, (EQUALISED,)),))):
        search = _Search(one, data, scheme, say)
        for method in dict.fromkeys((ranges, "minmax") if ranges == "mse" else (ranges,)):
            say(f"ranges: {method}")
            state = search.state(search.scales(method), {}, method, notes)
            if best is None or is_better(state.score, best.score):
                best = state
    assert best is not None
    return best.search.result(best.search.corrected(best), ranges)


def borders(graph: FloatGraph) -> tuple[dict[str, tuple[int, ...]], dict[str, tuple[int, ...]]]:
    """Shapes of inputs and outputs, by name."""
    network = graph.network
    return {item.name: item.shape for item in network.inputs}, {name: graph.shapes[name] for name in network.outputs}


def require_taken(graph: FloatGraph, scheme: str) -> None:
    """Make integers of any scale, before the data are looked at: what is not taken is a ModelError."""
    kind = TYPES[scheme]
    points = place(graph, kind == "int16")
    any_scale = Scale(kind, 2.0**-5, 0)
    scales = {key: _demanded(points, key, kind) or any_scale for key in set(points.group.values())}
    found = translated(graph, points, scales, {}, Path(graph.network.file), DESCRIPTION)
    Runnable(graph, found, points, scales)


def _demanded(points: Points, group: str, kind: str) -> Scale | None:
    return FIXED[points.fixed[group]][kind] if group in points.fixed else None


@dataclass(frozen=True, eq=False)
class _State:
    """A graph with all its scales."""

    search: _Search
    scales: Mapping[str, Scale]
    biases: Mapping[str, np.ndarray]
    method: str
    notes: tuple[str, ...]
    score: Score


class _Search:
    """Integer networks of one float graph, on the samples that were observed."""

    def __init__(self, graph: FloatGraph, data: Samples, scheme: str, say: Progress) -> None:
        self.graph, self.data, self.scheme, self.say = graph, data, scheme, say
        self.type = TYPES[scheme]
        is_wide = self.type == "int16"
        self.seen = Observed(graph, data, place(graph, is_wide).names, say)
        self.points = place(graph, is_wide, self.seen.ranges)

    # ------------------------------------------------------------ ranges

    def scales(self, method: str) -> dict[str, Scale]:
        """Of every group, the range with the least error of its tensors."""
        found = {}
        for group in dict.fromkeys(self.points.group.values()):
            names = self.points.members(group)
            fixed = _demanded(self.points, group, self.type)
            if fixed is not None or not names:
                found[group] = fixed or Scale(self.type, 1.0, 0)
                continue
            values = [self.few(self.seen.truth[name]) for name in names]
            fills = self.points.fills.get(group, ())
            low = min([*fills, *(self.seen.ranges[name][0] for name in names)])
            high = max([*fills, *(self.seen.ranges[name][1] for name in names)])
            whole = np.concatenate(values)
            ranges = ranges_of(whole, low, high, method)
            if fills:
                ranges = [(min(one[0], *fills), max(one[1], *fills)) for one in ranges]
            choices = list(dict.fromkeys(spanning(*one, self.type) for one in ranges))
            errors = [_noise(whole, choice.dequantize(choice.quantize(whole))) for choice in choices]
            found[group] = choices[int(np.argmin(errors))]
        return found

    @staticmethod
    def few(values: np.ndarray) -> np.ndarray:
        flat = values.reshape(-1)
        return flat[:: -(-flat.size // MOST_VALUES)]

    # ------------------------------------------------------------ biases

    def corrected(self, state: _State) -> _State:
        """Every bias takes up the mean error that rounded weights make, if the network is then better."""
        self.say("biases")
        biases: dict[str, np.ndarray] = {}
        evaluator, network = self.graph.evaluator, self.graph.network
        for node in network.nodes:
            if node.op not in WEIGHTED or (node.op == "MatMul"):
                continue
            exact = network.constants[node.inputs[1]]
            x = state.scales[self.points.group[node.inputs[0]]]
            found = weights_of(self.graph, node, x, {})
            axis = channel_axis(node, exact.ndim)
            along = found.scales.reshape([-1 if at == axis else 1 for at in range(exact.ndim)])
            error = (exact - found.values * along).astype(np.float32)
            lone = replace(node, inputs=node.inputs[:2], op=node.op)
            name = node.inputs[1]
            values = {node.inputs[0]: self.seen.inner[node.inputs[0]], name: error}
            made = evaluator.apply(lone, values)[0] if node.op == "Conv" else values[node.inputs[0]] @ error
            channels = 1 if node.op == "Conv" else made.ndim - 1
            others = tuple(at for at in range(made.ndim) if at != channels)
            biases[node.outputs[0]] = bias_of(self.graph, node, {}) + made.mean(axis=others, dtype=np.float64)
        if not biases:
            return state
        trial = self.state(state.scales, biases, state.method, (*state.notes, BIASES))
        return trial if is_better(trial.score, state.score) else state

    # ------------------------------------------------------------ runs

    def runnable(
        self, scales: Mapping[str, Scale], biases: Mapping[str, np.ndarray], outputs: Sequence[str] | None = None
    ) -> Runnable:
        graph = self.graph
        if outputs is not None:
            graph = replace(graph, network=replace(graph.network, outputs=tuple(outputs)))
        found = translated(graph, self.points, scales, biases, Path(f"{graph.name}.tflite"), DESCRIPTION)
        return Runnable(graph, found, self.points, scales)

    def state(
        self, scales: Mapping[str, Scale], biases: Mapping[str, np.ndarray], method: str, notes: tuple[str, ...]
    ) -> _State:
        """Judged by the right answers, and by the noise of the tensors that they are read from."""
        judged = tuple(dict.fromkeys((*self.graph.network.outputs, *self.seen.logits)))
        made = self.runnable(scales, biases, judged).run(self.seen.sample)
        ratios = [
            float(np.clip(signal_to_noise(self.seen.truth[name], made[name]), -40, 140)) for name in self.seen.logits
        ]
        share = self.seen.share(made)
        return _State(self, scales, biases, method, notes, (share or 0.0, float(np.mean(ratios))))

    # ------------------------------------------------------------ the result

    def result(self, state: _State, ranges: str) -> GraphQuantized:
        self.say("integer network on all samples")
        points, seen = self.points, self.seen
        inputs = {item.name for item in self.graph.network.inputs}
        inner = [name for name in points.names if name not in inputs]
        whole = self.runnable(state.scales, state.biases)
        got = self.runnable(state.scales, state.biases, inner).run(seen.sample)
        report = tuple(self.row(name, state, whole, got[name]) for name in inner)
        made = GraphQuantized(
            self.graph, self.scheme, points, dict(state.scales), dict(state.biases), report,
            self.notes(state, report, ranges), len(self.data),
        )  # fmt: skip
        return replace(made, **compared(self.graph, self.data, seen.outputs, made.outputs(self.data), self.scheme))

    def row(self, name: str, state: _State, whole: Runnable, got: np.ndarray) -> GraphReport:
        scale, truth = state.scales[self.points.group[name]], self.seen.truth[name]
        weights, coarse = None, 0
        node = self.seen.layer_of(name, self.points)
        if node is not None:
            x = state.scales[self.points.group[node.inputs[0]]]
            found = weights_of(self.graph, node, x, state.biases)
            weights, coarse = (float(found.scales.min()), float(found.scales.max())), found.coarse
        saturated = None
        if self.points.group[name] not in self.points.fixed:
            saturated = float(scale.beyond(truth).mean())
        layer, op = whole.layers.get(name, (name, "-"))
        return GraphReport(
            layer, op, name, weights, scale.scale, scale.zero_point, signal_to_noise(truth, got), saturated, coarse
        )  # fmt: skip

    def notes(self, state: _State, report: Sequence[GraphReport], ranges: str) -> tuple[str, ...]:
        found = [*self.graph.notes, *state.notes]
        for name, value in self.data.inputs.items():
            several = "" if len(self.data.inputs) == 1 else f"{one_line(name)}: "
            found = [*(several + doubt for doubt in doubts(value)), *found]
            lost = state.scales[self.points.group[name]].beyond(value).mean()
            if lost > 0:
                share = f"{lost:.2%} of the calibration inputs"
                found.insert(0, f"{several}{share} lie beyond the input's range and saturate")
        if state.method != ranges:
            found.append(f"ranges are those of {state.method}: the output's error is less than with {ranges}")
        if coarse := [f"{row.name} ({row.coarse})" for row in report if row.coarse]:
            found.append(f"channels with coarser weights, so that bias and sums fit: {', '.join(coarse)}")
        return tuple(found)


def _noise(truth: np.ndarray, values: np.ndarray) -> float:
    return float(np.square(values - truth, dtype=np.float64).sum())
