# SPDX-License-Identifier: Apache-2.0
"""Fraction bits for every tensor of a float network, found on calibration data, and the integer network they give."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cmsisnn_x import Network
from cmsisnn_x.layers import NUMPY_DTYPES

from ...base.errors import OptionError
from ...importers.float_network import FloatNetwork
from .. import forward
from ..data import Data, as_data, doubts, spreads
from ..observe import Observed, Progress
from ..rewrites import EQUALISED, equalised, fold_clips, fold_softmax
from ..scores import CHUNK, Score, compare, is_better, show_score
from .formats import BITS, to_integers
from .integers import (
    ACCUMULATOR_MAX,
    NEGATIVE_BIAS_SHIFT,
    NEGATIVE_OUT_SHIFT,
    TIGHT_ACCUMULATOR,
    Fixed,
    FixedPoint,
    Formats,
    OutOfRangeError,
    worst_accumulator,
)
from .reference import Reference
from .result import LayerReport, Quantized, beyond, decibels, noise
from .softmax import settle_softmax

__all__ = ["ACCUMULATOR_MAX", "METHODS", "SOFTMAX", "Progress", "quantize_network", "worst_accumulator"]

METHODS = ("max", "error", "search")
SOFTMAX = ("auto", "probabilities", "answers")
EXTRA_BITS = 2
"""Fraction bits beyond those that avoid all saturation which are tried: a few outliers may saturate."""


def quantize_network(
    network: FloatNetwork,
    calibration: Data | np.ndarray | tuple[np.ndarray, np.ndarray],
    *,
    dtype: str = "q7",
    method: str = "search",
    softmax: str = "auto",
    progress: Progress | None = None,
) -> Quantized:
    """Choose fraction bits and round.

    Parameters
    ----------
    network : FloatNetwork
    calibration : Data, ndarray, or tuple of ndarray
        Inputs as the float model takes them, with or without labels.
    dtype : {"q7", "q15"}
    method : {"max", "error", "search"}
        ``max``: no calibration value saturates. ``error``: layer by layer, the formats of weights and output with the
        least squared error of the layer's output, with channels equalised where that helps. ``search``: from there,
        bits of each layer are moved between the integer and the fraction part as long as accuracy (without labels:
        agreement with the float network's answers) does not drop and the output's error shrinks, or hardly grows where
        answers are gained; then biases take up the mean error of their layer.
    softmax : {"auto", "probabilities", "answers"}
        What the format of a softmax's input serves, see the notes.
    progress : callable, optional
        Called with one line per step.

    Returns
    -------
    Quantized

    Raises
    ------
    ModelError, OptionError
        The network, or the data for it, cannot be used.

    Notes
    -----
    CMSIS-NN's softmax is ``2**integer``. log2(e) is folded into the layer before; with 0 fraction bits the results are
    the float network's probabilities, but logits less than a factor of 2 apart in probability may tie. With `f` they
    are these probabilities to the power of ``2**f``, too sure, in the right order. ``auto`` takes the fewest fraction
    bits that lose no answer, and refuses them if the values are then no probabilities any more.
    """
    if dtype not in BITS:
        raise OptionError(f"dtype: expected q7 or q15, got {dtype!r}")
    if method not in METHODS:
        raise OptionError(f"method: expected one of {', '.join(METHODS)}, got {method!r}")
    if softmax not in SOFTMAX:
        raise OptionError(f"softmax: expected one of {', '.join(SOFTMAX)}, got {softmax!r}")
    data = as_data(calibration)
    lowered = fold_softmax(fold_clips(network, dtype))
    found = _Search(lowered, data, dtype, progress or (lambda line: None))
    formats = found.start(method)
    if method != "max":
        other = _Search(equalised(lowered), data, dtype, found.seen.progress)
        other_formats = other.start(method)
        if is_better(other.score(other_formats), found.score(formats)):
            found, formats = other, other_formats
            found.notes.append(EQUALISED)
    return found.finish(formats, method, softmax)


class _Search:
    """The search for the formats that serve best, on the samples that were observed."""

    def __init__(self, network: FloatNetwork, data: Data, dtype: str, progress: Progress) -> None:
        self.seen = Observed(network, data, dtype, progress)
        self.fixed_point = FixedPoint(self.seen)
        self.notes = list(network.notes)

    def start(self, method: str) -> Formats:
        """Formats before the search."""
        self.seen.observe()
        formats = self.fixed_point.fits()
        if method != "max":
            formats.input = self.least_input_error(formats.input)
            self.reduce_error(formats)
        return formats

    def finish(self, formats: Formats, method: str, softmax: str) -> Quantized:
        if method == "search":
            self.climb(formats)
            self.correct_biases(formats)
        return _outcome(self.fixed_point, formats, self.notes + settle_softmax(self.fixed_point, formats, softmax))

    def least_input_error(self, fraction: int) -> int:
        dtype = NUMPY_DTYPES[self.seen.dtype]
        candidates = sorted({self.fixed_point.within(-1, fraction + extra) for extra in range(EXTRA_BITS + 1)})
        errors = [noise(self.seen.x, to_integers(self.seen.x, f, dtype), f) for f in candidates]
        return candidates[int(np.argmin(errors))]

    def reduce_error(self, formats: Formats) -> None:
        """Layer by layer, the formats whose integer output is nearest to the float output."""
        x, fraction = to_integers(self.seen.sample, formats.input, NUMPY_DTYPES[self.seen.dtype]), formats.input
        for index, layer in enumerate(self.seen.layers):
            if index in formats.weights:
                self.seen.progress(f"formats: {layer.name}")
                best = None
                fw, fy = formats.weights[index], formats.output[index]
                for more_w in range(EXTRA_BITS + 1):
                    for more_y in range(EXTRA_BITS + 1):
                        candidate = fw + more_w, self.fixed_point.within(index, fy + more_y)
                        fixed = self.fixed_point.fix_weighted(index, fraction, *candidate)
                        out = Network([fixed.layer]).run(x)
                        error = noise(self.seen.truth[index], out, fixed.output)
                        if best is None or error < best[0]:
                            best = (error, *candidate)
                assert best is not None
                _, formats.weights[index], formats.output[index] = best
            (item,) = self.fixed_point.fix(formats, index, index + 1, fraction)
            x, fraction = Network([item.layer]).run(x), item.output

    def climb(self, formats: Formats) -> None:
        """Move bits between the integer and the fraction part, from the input to the output, while it pays."""
        score = self.score(formats)
        for change in (1, -1):
            trial = replace(formats, input=self.fixed_point.within(-1, formats.input + change))
            score = self.attempt(formats, score, trial)
        x, fraction = to_integers(self.seen.sample, formats.input, NUMPY_DTYPES[self.seen.dtype]), formats.input
        for index, layer in enumerate(self.seen.layers):
            if index in formats.weights:
                self.seen.progress(f"search: {layer.name}, {show_score(score)}")
                for more_w, more_y in ((0, 1), (1, 0), (1, 1), (0, -1), (-1, 0)):
                    weights = formats.weights | {index: formats.weights[index] + more_w}
                    output = formats.output | {index: self.fixed_point.within(index, formats.output[index] + more_y)}
                    trial = replace(formats, weights=weights, output=output)
                    score = self.attempt(formats, score, trial, index, x, fraction)
            (item,) = self.fixed_point.fix(formats, index, index + 1, fraction)
            x, fraction = Network([item.layer]).run(x), item.output

    def attempt(
        self,
        formats: Formats,
        score: Score,
        trial: Formats,
        start: int = 0,
        x: np.ndarray | None = None,
        fraction: int | None = None,
    ) -> Score:
        """Turn `formats` into `trial`, which differs from layer `start` on, if the score allows; the score then."""
        if trial == formats:
            return score
        try:
            new = self.score(trial, start, x, fraction)
        except OutOfRangeError:
            return score
        if not is_better(new, score):
            return score
        formats.input, formats.weights, formats.output = trial.input, trial.weights, trial.output
        return new

    def score(
        self, formats: Formats, start: int = 0, x: np.ndarray | None = None, fraction: int | None = None
    ) -> Score:
        """Share of right answers (0 where there are none) and the output's signal-to-noise ratio in dB.

        `x` are the integers, with `fraction` bits, that enter layer `start`.
        """
        if x is None:
            x = to_integers(self.seen.sample, formats.input, NUMPY_DTYPES[self.seen.dtype])
        fixed = self.fixed_point.fix(formats, start, None, fraction)
        last = fixed[: self.seen.logits - start]
        out = Network([item.layer for item in last]).run(x)
        ratio = decibels(self.seen.truth[self.seen.logits - 1], out, last[-1].output)
        if self.seen.logits < len(self.seen.layers):
            out = Network([fixed[-1].layer]).run(out)
        right = self.seen.right(out, self.seen.chosen)
        return (0.0 if right is None else float(right.mean())), ratio

    def correct_biases(self, formats: Formats) -> None:
        """Let every bias take up the mean error of its layer: rounded weights, truncating average pools."""
        self.seen.progress("biases")
        before, score = dict(self.fixed_point.biases), self.score(formats)
        x, fraction = to_integers(self.seen.sample, formats.input, NUMPY_DTYPES[self.seen.dtype]), formats.input
        sample: np.ndarray = self.seen.sample
        for index, layer in enumerate(self.seen.layers):
            if layer.row.is_weighted:
                key = f"{layer.name}/bias"
                (item,) = self.fixed_point.fix(formats, index, index + 1, fraction)
                assert item.weights is not None
                assert item.layer.weights is not None
                rounded = {
                    f"{layer.name}/weights": np.ldexp(item.layer.weights.astype(np.float64), -item.weights),
                    key: before[key],
                }
                plain = [replace(layer, activation=None)]
                exact = {name: self.seen.arrays[name] for name in rounded}
                ((_, wanted),) = forward.run(plain, exact, sample)
                ((_, got),) = forward.run(plain, rounded, np.ldexp(x.astype(np.float64), -fraction))
                channels = layer.output_shape[-1]
                error = wanted.reshape(-1, channels).mean(axis=0, dtype=np.float64) - got.reshape(-1, channels).mean(
                    axis=0, dtype=np.float64
                )
                self.fixed_point.biases[key] = before[key] + error
            (item,) = self.fixed_point.fix(formats, index, index + 1, fraction)
            x, fraction = Network([item.layer]).run(x), item.output
            sample = self.seen.truth[index]
        if not is_better(self.score(formats), score):
            self.fixed_point.biases = before


def _outcome(fixed_point: FixedPoint, formats: Formats, notes: list[str]) -> Quantized:
    """The integer network of `formats`, run on all samples."""
    seen = fixed_point.seen
    fixed = fixed_point.fix(formats)
    layers = tuple(item.layer for item in fixed)
    network = Network(layers)
    dtype = NUMPY_DTYPES[seen.dtype]
    seen.progress("integer network on all samples")
    output = np.concatenate(
        [
            network.run(to_integers(seen.x[start : start + CHUNK], formats.input, dtype))
            for start in range(0, len(seen.x), CHUNK)
        ]
    ).reshape(len(seen.x), -1)
    trace = network.trace(to_integers(seen.sample, formats.input, dtype))
    notes = [
        f"{why}: {', '.join(item.gave_way[why] for item in fixed if why in item.gave_way)}"
        for why in (NEGATIVE_OUT_SHIFT, NEGATIVE_BIAS_SHIFT, TIGHT_ACCUMULATOR)
        if any(why in item.gave_way for item in fixed)
    ] + notes
    lost = beyond(seen.x, formats.input, seen.bits).mean()
    if lost > 0:
        notes.insert(0, f"{lost:.2%} of the calibration inputs lie beyond the input's format and saturate")
    notes = doubts(seen.x) + spreads(seen.x, 2.0**-formats.input) + notes
    if any(layer.op == "avg_pool2d" for layer in layers):
        notes.append("average pooling truncates towards zero, as CMSIS-NN's: up to one unit in the last place is lost")
    outputs = {"float": seen.float_output, seen.dtype: output}
    found = compare(outputs, layers, seen.y, seen.targets, 2.0 ** -fixed[-1].output)
    reference = Reference(
        layers,
        seen.arrays,
        formats.input,
        {item.layer.name: item.output for item in fixed},
        {item.layer.name: item.weights for item in fixed if item.weights is not None},
        {item.layer.name: item.bias for item in fixed if item.bias is not None},
        seen.network.input_layout,
        seen.network.output_layout,
        seen.network.softmax_base,
        seen.network.declared_shape,
    )
    report = tuple(
        _report(item, truth, trace[item.layer.name], seen.bits) for item, truth in zip(fixed, seen.truth, strict=True)
    )
    return Quantized(seen.network, layers, reference, report, tuple(notes), len(seen.x), **found)


def _report(item: Fixed, truth: np.ndarray, integers: np.ndarray, bits: int) -> LayerReport:
    layer = item.layer
    has_weights = layer.row.is_weighted
    lost = beyond(truth, item.output, bits)
    return LayerReport(
        layer.name,
        layer.op,
        item.input,
        item.weights,
        item.bias,
        item.output,
        layer.bias_shift if has_weights else None,
        layer.out_shift if has_weights else None,
        decibels(truth, integers, item.output),
        float((lost & (np.abs(integers.astype(np.int64) * 2 + 1) >= 2**bits - 1)).mean()) if has_weights else None,
    )
