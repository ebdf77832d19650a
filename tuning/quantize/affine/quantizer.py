# SPDX-License-Identifier: Apache-2.0
"""Scales and zero points for every tensor of a float network, found on calibration data, and the network they give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from cmsisnn_x import Network

from ...base.errors import OptionError
from ...importers.float_network import FloatNetwork
from ...importers.tflite.reader import import_operators
from .. import forward
from ..data import Data, as_data, doubts, spreads
from ..observe import Observed, Progress
from ..rewrites import EQUALISED, equalised, fuse_relus
from ..scores import Score, compare, is_better, signal_to_noise
from .operators import Operators, integer_weights
from .result import AffineQuantized, AffineReport
from .scales import FIXED, RANGES, TYPES, Scale, ranges_of, spanning
from .twin import Twin

MOST_VALUES = 1 << 19
"""Of a layer's output, that ranges are compared on."""
BIASES = "biases take up the mean error of their layer"


def quantize_affine(
    network: FloatNetwork,
    calibration: Data | np.ndarray | tuple[np.ndarray, np.ndarray],
    *,
    scheme: str = "int8",
    ranges: str = "mse",
    progress: Progress | None = None,
) -> AffineQuantized:
    """Choose scales and zero points, and round.

    Parameters
    ----------
    network : FloatNetwork
    calibration : Data, ndarray, or tuple of ndarray
        Inputs as the float model takes them, with or without labels.
    scheme : {"int8", "int16x8"}
        Type of activations; weights are int8, symmetric, with a scale for each output channel.
    ranges : {"mse", "minmax", "percentile"}
        Of activations. ``minmax``: no calibration value saturates. ``percentile``: 0.01 % saturate at each end.
        ``mse``: layer by layer, the range with the least squared error of what the next layer reads; where the network
        as a whole does better with ``minmax``, it is that.
    progress : callable, optional
        Called with one line per step.

    Returns
    -------
    AffineQuantized

    Raises
    ------
    ModelError, OptionError
        The network, or the data for it, cannot be used.

    Notes
    -----
    Channels are equalised, and biases take up the mean error of their layer, where the network then does better: more
    right answers, or the same and less noise. `AffineQuantized.notes` says what was done.
    """
    if scheme not in TYPES:
        raise OptionError(f"scheme: expected int8 or int16x8, got {scheme!r}")
    if ranges not in RANGES:
        raise OptionError(f"ranges: expected one of {', '.join(RANGES)}, got {ranges!r}")
    data = as_data(calibration)
    say = progress or (lambda line: None)
    fused = fuse_relus(network)
    best: _State | None = None
    for made, notes in ((fused, ()), (equalised(fused), (EQUALISED,))):
        search = _Search(made, data, scheme, say)
        for method in dict.fromkeys((ranges, "minmax") if ranges == "mse" else (ranges,)):
            state = search.ranged(method, notes)
            if best is None or is_better(state.score, best.score):
                best = state
    assert best is not None
    return best.search.result(best.search.corrected(best), ranges)


@dataclass(frozen=True, eq=False)
class _State:
    """A network with all its scales: ``scales[i]`` is that of what enters layer `i`, the last that of the output."""

    search: _Search
    scales: tuple[Scale, ...]
    biases: dict[str, np.ndarray]
    method: str
    notes: tuple[str, ...]
    score: Score


class _Search:
    """Integer networks of one float network, on the samples that were observed."""

    def __init__(self, network: FloatNetwork, data: Data, scheme: str, say: Progress) -> None:
        self.scheme, self.type, self.say = scheme, TYPES[scheme], say
        self.seen = Observed(network, data, "q7" if self.type == "int8" else "q15", say)
        self.seen.observe()
        self.operators = Operators(self.seen.layers, self.seen.arrays, network.softmax_base)
        self.float_biases = {key: value for key, value in self.seen.arrays.items() if key.endswith("/bias")}

    # ------------------------------------------------------------ ranges

    def ranged(self, method: str, notes: tuple[str, ...]) -> _State:
        """The scale of every tensor, from the input on: each is judged by integers that enter its layer."""
        x = self.seen.x
        choices = [
            spanning(*one, self.type) for one in ranges_of(self.seen.sample, float(x.min()), float(x.max()), method)
        ]
        errors = [_noise(self.seen.sample, one.dequantize(one.quantize(self.seen.sample))) for one in choices]
        scales = [choices[int(np.argmin(errors))]]
        integers = scales[0].quantize(self.seen.sample)
        index = 0
        while index < len(self.seen.layers):
            stop = self.group(index)
            self.say(f"ranges: {self.seen.layers[index].name}")
            found, integers = self.chosen(index, stop, scales, integers, method)
            scales += [found] * (stop - index)
            index = stop
        return self.state(tuple(scales), self.float_biases, method, notes)

    def group(self, index: int) -> int:
        """The end of the layers that share the scale of what ``layers[index]`` gives: pools keep it."""
        stop = index + 1
        while stop < len(self.seen.layers) and self.seen.layers[stop].row.is_windowed and not (
            self.seen.layers[stop].row.is_weighted
        ):
            stop += 1
        return stop

    def chosen(
        self, start: int, stop: int, scales: list[Scale], integers: np.ndarray, method: str
    ) -> tuple[Scale, np.ndarray]:
        """The scale of what layers `start` to `stop` give, and the integers that they give."""
        layer = self.seen.layers[start]
        if layer.op in FIXED:
            choices = [FIXED[layer.op][self.type]]
        elif layer.row.is_windowed and not layer.row.is_weighted:
            choices = [scales[start]]
        else:
            low, high = self.seen.ranges[start]
            ranges = ranges_of(self.few(start, self.seen.truth[start]), float(low), float(high), method)
            choices = list(dict.fromkeys(spanning(*one, self.type) for one in ranges))
        best = choices[0]
        if len(choices) > 1:
            x, wanted = self.few(start, integers), self.few(start, self.seen.truth[stop - 1])
            errors = []
            for choice in choices:
                made = self.run([*scales, *[choice] * (stop - start)], self.float_biases, x, start, stop)
                errors.append(_noise(wanted, choice.dequantize(made)))
            best = choices[int(np.argmin(errors))]
        return best, self.run([*scales, *[best] * (stop - start)], self.float_biases, integers, start, stop)

    def few(self, index: int, values: np.ndarray) -> np.ndarray:
        """As many samples of `values` as give a moderate number of outputs of a layer."""
        count = max(8, MOST_VALUES // max(1, prod(self.seen.layers[index].output_shape)))
        return values[:: -(-len(values) // count)]

    # ------------------------------------------------------------ biases

    def corrected(self, state: _State) -> _State:
        """Every bias takes up the mean error of its layer, if the network is then better: that of rounded weights."""
        self.say("biases")
        biases = dict(state.biases)
        integers, sample = state.scales[0].quantize(self.seen.sample), self.seen.sample
        for index, layer in enumerate(self.seen.layers):
            before = state.scales[index]
            if layer.row.is_weighted:
                names = [f"{layer.name}/{kind}" for kind in ("weights", "bias")]
                exact = {name: self.seen.arrays[name] for name in names}
                found = integer_weights(layer, exact[names[0]], exact[names[1]], before)
                rounded = {names[0]: found.real(layer), names[1]: exact[names[1]]}
                plain = [replace(layer, activation=None)]
                ((_, wanted),) = forward.run(plain, exact, sample)
                ((_, got),) = forward.run(plain, rounded, before.dequantize(integers))
                channels = layer.output_shape[-1]
                means = [of.reshape(-1, channels).mean(axis=0, dtype=np.float64) for of in (wanted, got)]
                biases[names[1]] = exact[names[1]] + means[0] - means[1]
            integers = self.run(state.scales, biases, integers, index, index + 1)
            sample = self.seen.truth[index]
        trial = self.state(state.scales, biases, state.method, (*state.notes, BIASES))
        return trial if is_better(trial.score, state.score) else state

    # ------------------------------------------------------------ runs

    def run(
        self, scales: Sequence[Scale], biases: Mapping[str, np.ndarray], x: np.ndarray, start: int, stop: int
    ) -> np.ndarray:
        """What layers `start` to `stop` make of integers."""
        graph = import_operators(self.operators.file(scales, biases, start, stop)).graph
        return np.asarray(Network(graph).run(x)).reshape(len(x), *self.seen.layers[stop - 1].output_shape)

    def state(
        self, scales: tuple[Scale, ...], biases: dict[str, np.ndarray], method: str, notes: tuple[str, ...]
    ) -> _State:
        """Judged by the right answers, and the noise of the last tensor that keeps its resolution."""
        seen, last = self.seen, self.seen.logits
        made = self.run(scales, biases, scales[0].quantize(seen.sample), 0, last)
        ratio = signal_to_noise(seen.truth[last - 1], scales[last].dequantize(made))
        if last < len(seen.layers):
            made = self.run(scales, biases, made, last, len(seen.layers))
        right = seen.right(scales[-1].dequantize(made), seen.chosen)
        score = (0.0 if right is None else float(right.mean())), ratio
        return _State(self, scales, biases, method, notes, score)

    # ------------------------------------------------------------ the result

    def result(self, state: _State, ranges: str) -> AffineQuantized:
        """The integer network, run on all samples."""
        seen, scales = self.seen, state.scales
        self.say("integer network on all samples")
        report = []
        integers = scales[0].quantize(seen.sample)
        for index in range(len(seen.layers)):
            integers = self.run(scales, state.biases, integers, index, index + 1)
            report.append(self.row(index, state, integers))
        twin = Twin(seen.network, seen.layers, seen.arrays)
        made = AffineQuantized(
            twin, self.scheme, scales, state.biases, tuple(report), self.notes(state, report, ranges), len(seen.x)
        )
        outputs = {"float": seen.float_output, self.scheme: made.outputs(seen.x).reshape(len(seen.x), -1)}
        return replace(made, **compare(outputs, seen.layers, seen.y, seen.targets))

    def row(self, index: int, state: _State, integers: np.ndarray) -> AffineReport:
        layer, truth = self.seen.layers[index], self.seen.truth[index]
        before, after = state.scales[index : index + 2]
        weights, coarse = None, 0
        if layer.row.is_weighted:
            found = integer_weights(
                layer, self.seen.arrays[f"{layer.name}/weights"], state.biases[f"{layer.name}/bias"], before
            )
            weights, coarse = (float(found.scales.min()), float(found.scales.max())), found.coarse
        saturated = None
        if layer.op not in FIXED and not (layer.row.is_windowed and not layer.row.is_weighted):
            ends = np.iinfo(self.type)
            at_end = (integers == ends.min) | (integers == ends.max)
            saturated = float((after.beyond(truth) & at_end).mean())
        ratio = signal_to_noise(truth, after.dequantize(integers))
        return AffineReport(
            layer.name, layer.op, before.scale, before.zero_point, weights, after.scale, after.zero_point, ratio,
            saturated, coarse,
        )  # fmt: skip

    def notes(self, state: _State, report: list[AffineReport], ranges: str) -> tuple[str, ...]:
        unlike = spreads(self.seen.x, state.scales[0].scale)
        found = [*doubts(self.seen.x), *unlike, *self.seen.network.notes, *state.notes]
        if state.method != ranges:
            found.append(f"ranges are those of {state.method}: the output's error is less than with {ranges}")
        if coarse := [f"{row.name} ({row.coarse})" for row in report if row.coarse]:
            found.append(f"channels with coarser weights, so that bias and sums fit: {', '.join(coarse)}")
        lost = state.scales[0].beyond(self.seen.x).mean()
        if lost > 0:
            found.insert(0, f"{lost:.2%} of the calibration inputs lie beyond the input's range and saturate")
        return tuple(found)


def _noise(truth: np.ndarray, values: np.ndarray) -> float:
    return float(np.square(values - truth, dtype=np.float64).sum())
