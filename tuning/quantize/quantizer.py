# SPDX-License-Identifier: Apache-2.0
"""Fraction bits for every tensor of a float network, found on calibration data, and the integer network they give."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import numpy as np

from cmsisnn_x import Network
from cmsisnn_x.layers import NUMPY_DTYPES, Layer
from cmsisnn_x.scheme import Pow2

from ..base.errors import OptionError
from ..importers.float_network import FloatNetwork
from . import forward
from .data import Data, make_data
from .formats import BITS, LARGEST_FRACTION, fitting_fraction, to_integers
from .reference import Reference, channels_last
from .result import CHUNK, LayerReport, Quantized, Score, answers_of, beyond, compare, decibels, noise, show_score
from .rewrites import clip_limit, equalised, fold_clips, fold_softmax
from .rewrites import origin as scale_origin

METHODS = ("max", "error", "search")
SOFTMAX = ("auto", "probabilities", "answers")
ACCUMULATOR_MAX = 2**31 - 1
NOISE_PER_STEP = 1.0
"""Decibels that a step of the search may cost if it gains answers."""
SEARCH_MACS = 4_000_000_000
SEARCH_BYTES = 128 << 20
EXTRA_BITS = 2
"""Fraction bits beyond those that avoid all saturation which are tried: a few outliers may saturate."""

NEGATIVE_OUT_SHIFT = "fewer fraction bits in outputs, else out_shift would be negative"
NEGATIVE_BIAS_SHIFT = "fewer fraction bits in biases, else bias_shift would be negative"
EQUALISED = (
    "channels are equalised: what one layer's output channel was scaled by, the next layer's input channel undoes"
)
TIGHT_ACCUMULATOR = "fewer fraction bits in weights, so that no input can overflow the 32-bit accumulator"

Progress = Callable[[str], None]


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
    bits that lose no answer.
    """
    if dtype not in BITS:
        raise OptionError(f"dtype: expected q7 or q15, got {dtype!r}")
    if method not in METHODS:
        raise OptionError(f"method: expected one of {', '.join(METHODS)}, got {method!r}")
    if softmax not in SOFTMAX:
        raise OptionError(f"softmax: expected one of {', '.join(SOFTMAX)}, got {softmax!r}")
    if isinstance(calibration, tuple):
        calibration = make_data(*calibration)
    elif not isinstance(calibration, Data):
        calibration = make_data(calibration)
    lowered = fold_softmax(fold_clips(network, dtype))
    found = _Quantizer(lowered, calibration, dtype, progress or (lambda line: None))
    formats = found.start(method)
    if method != "max":
        other = _Quantizer(equalised(lowered), calibration, dtype, found.progress)
        other_formats = other.start(method)
        if _is_better(other.score(other_formats), found.score(formats)):
            found, formats = other, other_formats
            found.notes.append(EQUALISED)
    return found.finish(formats, method, softmax)


class _OutOfRangeError(OptionError):
    """A layer cannot give the format that what follows it asks for."""


@dataclass
class _Formats:
    """The fraction bits that are free: the input's, and weights' and output's of every layer with weights."""

    input: int
    weights: dict[int, int]
    output: dict[int, int]

    def copy(self) -> _Formats:
        return _Formats(self.input, dict(self.weights), dict(self.output))


@dataclass(frozen=True, eq=False)
class _Fixed:
    """A layer in integers, with its formats and what had to give way."""

    layer: Layer
    input: int
    output: int
    weights: int | None = None
    bias: int | None = None
    gave_way: dict[str, str] = field(default_factory=dict)


class _Quantizer:
    def __init__(self, network: FloatNetwork, data: Data, dtype: str, progress: Progress) -> None:
        self.dtype, self.bits, self.progress = dtype, BITS[dtype], progress
        self.network = network
        self.notes = list(network.notes)
        self.layers = network.geometry(dtype)
        self.arrays = network.arrays()
        self.biases = {key: value for key, value in self.arrays.items() if key.endswith("/bias")}
        self.x = channels_last(data.x, network.input_shape, network.input_layout, data.name)
        self.y = data.y
        # Answers are read from the last tensor that keeps its resolution.
        self.logits = len(self.layers) - (self.layers[-1].op == "softmax" and len(self.layers) > 1)
        self.check_labels()
        self.weighted = [index for index, layer in enumerate(self.layers) if layer.row.is_weighted]
        self.bounds = {index: self.bound(index) for index in (-1, *self.weighted)}

    # -- what the float network does ---------------------------------------------------------------------------------

    def check_labels(self) -> None:
        classes = prod(self.layers[-1].output_shape)
        limit = max(classes, 2)
        if self.y is not None and self.y.max(initial=0) >= limit:
            raise OptionError(
                f"calibration: y: expected class numbers below {limit}, as the network has {classes} "
                f"output{'s' if classes > 1 else ''}, got {int(self.y.max())}"
            )

    def observe(self) -> None:
        """Ranges of every tensor, the float answers, and the samples that formats are compared on."""
        low = np.full(len(self.layers), np.inf)
        high = np.full(len(self.layers), -np.inf)
        answers = []
        for start in range(0, len(self.x), CHUNK):
            self.progress(f"float network: {start:,} of {len(self.x):,} samples")
            out = self.x
            for index, (_, out) in enumerate(self.float_run(self.x[start : start + CHUNK])):
                low[index], high[index] = min(low[index], out.min()), max(high[index], out.max())
            answers.append(out)
        if not (np.isfinite(low).all() and np.isfinite(high).all()):
            raise OptionError("calibration: x: the float network overflows on it; is the data scaled as in training?")
        self.ranges = np.stack([low, high], axis=1)
        self.float_output = np.concatenate(answers).reshape(len(self.x), -1)
        macs = sum(layer.macs for layer in self.layers)
        per_sample = 4 * sum(prod(layer.output_shape) for layer in self.layers)
        count = min(len(self.x), max(16, SEARCH_MACS // max(macs, 1)), max(16, SEARCH_BYTES // per_sample))
        self.chosen = np.unique(np.linspace(0, len(self.x) - 1, count).astype(np.int64))
        self.sample = self.x[self.chosen]
        self.truth = [out for _, out in self.float_run(self.sample)]

    def float_run(self, x: np.ndarray) -> Any:
        return forward.run(self.layers, self.arrays, x, self.network.softmax_base)

    def right(self, output: np.ndarray, chosen: np.ndarray | slice) -> np.ndarray | None:
        """Which answers are right by the labels, else which are the float network's; None if there are no answers."""
        if self.y is not None:
            return answers_of(output, self.layers[-1]) == self.y[chosen]
        if self.layers[-1].op != "softmax":
            return None
        last = self.layers[-1]
        return answers_of(output, last) == answers_of(self.float_output[chosen], last)

    # -- formats -----------------------------------------------------------------------------------------------------

    def bound(self, index: int) -> tuple[int, int]:
        """Least and most fraction bits of the output of ``layers[index]`` (-1: of the input)."""
        least, most = -1024, LARGEST_FRACTION  # the exponents of floating point
        after = index
        while True:
            if after >= 0 and self.network.layers[after].clip == clip_limit(self.dtype):
                least = self.bits - 1
            after += 1
            if after == len(self.layers) or not self.layers[after].row.is_scale_free:
                break
        if after < len(self.layers) and self.layers[after].row.has_table:
            # The tables cover 0 to 3 integer bits; beyond them both functions are flat.
            least, most = self.bits - 4, self.bits - 1
        return least, most

    def fits(self) -> _Formats:
        """The formats in which no calibration value saturates."""
        fraction = self.within(-1, fitting_fraction(self.x, self.bits))
        formats = _Formats(fraction, {}, {})
        for index in self.weighted:
            formats.weights[index] = fitting_fraction(self.arrays[f"{self.layers[index].name}/weights"], self.bits)
            formats.output[index] = self.within(index, fitting_fraction(self.ranges[index], self.bits))
        return formats

    def within(self, index: int, fraction: int) -> int:
        low, high = self.bounds[index]
        return min(max(fraction, low), high)

    def fix(
        self, formats: _Formats, start: int = 0, stop: int | None = None, fraction: int | None = None
    ) -> list[_Fixed]:
        """Layers `start` to `stop` in integers; `fraction` is the format of what enters them."""
        fixed = []
        fraction = formats.input if fraction is None else fraction
        for index in range(start, len(self.layers) if stop is None else stop):
            layer = self.layers[index]
            if layer.row.is_weighted:
                item = self.fix_weighted(index, fraction, formats.weights[index], formats.output[index])
            elif layer.row.is_scale_free:
                item = _Fixed(layer, fraction, fraction)
            else:
                int_bits = self.bits - 1 - fraction if layer.row.has_table else 0
                item = _Fixed(replace(layer, int_bits=int_bits), fraction, self.bits - 1)
            fixed.append(item)
            fraction = item.output
        return fixed

    def fix_weighted(self, index: int, fx: int, fw: int, fy: int) -> _Fixed:
        """One layer; formats give way where a shift would be negative or the accumulator could overflow."""
        layer = self.layers[index]
        dtype = NUMPY_DTYPES[self.dtype]
        weights, bias = self.arrays[f"{layer.name}/weights"], self.biases[f"{layer.name}/bias"]
        asked_w, asked_y = fw, fy
        fw = min(fw, fy + 31 - fx)
        reach = self.input_reach(index)
        while True:
            fb = min(fitting_fraction(bias, self.bits), fx + fw)
            fb = max(fb, fx + fw - 31)
            integers, offsets = to_integers(weights, fw, dtype), to_integers(bias, fb, dtype)
            out_shift = max(fx + fw - fy, 0)
            requant = Pow2.of(self.dtype, fx + fw - fb, out_shift)
            if worst_accumulator(layer, integers, offsets, requant, reach) <= ACCUMULATOR_MAX:
                break
            fw -= 1
        fy = min(fy, fx + fw)
        if fy < self.bounds[index][0]:
            raise _OutOfRangeError(
                f"{layer.name}: its output needs {self.bounds[index][0]} fraction bits, but its input and weights have "
                f"only {fx} and {fw} in {self.dtype}: their values are too large; scale the data or use q15"
            )
        gave_way = {}
        if fw < asked_w:
            gave_way[TIGHT_ACCUMULATOR] = f"{layer.name} {fw} instead of {asked_w}"
        if fy < asked_y:
            gave_way[NEGATIVE_OUT_SHIFT] = f"{layer.name} {fy} instead of {asked_y}"
        if bias.any() and fb < (wished := fitting_fraction(bias, self.bits)):
            gave_way[NEGATIVE_BIAS_SHIFT] = f"{layer.name} {fb} instead of {wished}"
        fixed = replace(layer, weights=integers, bias=offsets, bias_shift=fx + fw - fb, out_shift=fx + fw - fy)
        return _Fixed(fixed, fx, fy, fw, fb, gave_way)

    def input_reach(self, index: int) -> tuple[int, int]:
        """Least and largest integer that can enter a layer, whatever the data."""
        low, high = -(2 ** (self.bits - 1)), 2 ** (self.bits - 1) - 1
        for before in reversed(self.layers[:index]):
            if before.row.is_nonnegative or before.requant.low == 0:
                return 0, high
            if not before.row.is_scale_free:
                break
        return low, high

    # -- the search --------------------------------------------------------------------------------------------------

    def start(self, method: str) -> _Formats:
        """Formats before the search."""
        self.observe()
        formats = self.fits()
        if method != "max":
            formats.input = self.least_input_error(formats.input)
            self.reduce_error(formats)
        return formats

    def finish(self, formats: _Formats, method: str, softmax: str) -> Quantized:
        if method == "search":
            self.climb(formats)
            self.correct_biases(formats)
        return self.result(formats, self.notes + self.settle_softmax(formats, softmax))

    def least_input_error(self, fraction: int) -> int:
        dtype = NUMPY_DTYPES[self.dtype]
        candidates = sorted({self.within(-1, fraction + extra) for extra in range(EXTRA_BITS + 1)})
        errors = [noise(self.x, to_integers(self.x, f, dtype), f) for f in candidates]
        return candidates[int(np.argmin(errors))]

    def reduce_error(self, formats: _Formats) -> None:
        """Layer by layer, the formats whose integer output is nearest to the float output."""
        x, fraction = to_integers(self.sample, formats.input, NUMPY_DTYPES[self.dtype]), formats.input
        for index, layer in enumerate(self.layers):
            if index in formats.weights:
                self.progress(f"formats: {layer.name}")
                best = None
                fw, fy = formats.weights[index], formats.output[index]
                for more_w in range(EXTRA_BITS + 1):
                    for more_y in range(EXTRA_BITS + 1):
                        candidate = fw + more_w, self.within(index, fy + more_y)
                        fixed = self.fix_weighted(index, fraction, *candidate)
                        out = Network([fixed.layer]).run(x)
                        error = noise(self.truth[index], out, fixed.output)
                        if best is None or error < best[0]:
                            best = (error, *candidate)
                assert best is not None
                _, formats.weights[index], formats.output[index] = best
            (item,) = self.fix(formats, index, index + 1, fraction)
            x, fraction = Network([item.layer]).run(x), item.output

    def climb(self, formats: _Formats) -> None:
        """Move bits between the integer and the fraction part, from the input to the output, while it pays."""
        score = self.score(formats)
        for change in (1, -1):
            trial = replace(formats, input=self.within(-1, formats.input + change))
            score = self.attempt(formats, score, trial)
        x, fraction = to_integers(self.sample, formats.input, NUMPY_DTYPES[self.dtype]), formats.input
        for index, layer in enumerate(self.layers):
            if index in formats.weights:
                self.progress(f"search: {layer.name}, {show_score(score)}")
                for more_w, more_y in ((0, 1), (1, 0), (1, 1), (0, -1), (-1, 0)):
                    weights = formats.weights | {index: formats.weights[index] + more_w}
                    output = formats.output | {index: self.within(index, formats.output[index] + more_y)}
                    trial = replace(formats, weights=weights, output=output)
                    score = self.attempt(formats, score, trial, index, x, fraction)
            (item,) = self.fix(formats, index, index + 1, fraction)
            x, fraction = Network([item.layer]).run(x), item.output

    def attempt(
        self,
        formats: _Formats,
        score: Score,
        trial: _Formats,
        start: int = 0,
        x: np.ndarray | None = None,
        fraction: int | None = None,
    ) -> Score:
        """Turn `formats` into `trial`, which differs from layer `start` on, if the score allows; the score then."""
        if trial == formats:
            return score
        try:
            new = self.score(trial, start, x, fraction)
        except _OutOfRangeError:
            return score
        if not _is_better(new, score):
            return score
        formats.input, formats.weights, formats.output = trial.input, trial.weights, trial.output
        return new

    def score(
        self, formats: _Formats, start: int = 0, x: np.ndarray | None = None, fraction: int | None = None
    ) -> Score:
        """Share of right answers (0 where there are none) and the output's signal-to-noise ratio in dB.

        `x` are the integers, with `fraction` bits, that enter layer `start`.
        """
        if x is None:
            x = to_integers(self.sample, formats.input, NUMPY_DTYPES[self.dtype])
        fixed = self.fix(formats, start, None, fraction)
        last = fixed[: self.logits - start]
        out = Network([item.layer for item in last]).run(x)
        ratio = decibels(self.truth[self.logits - 1], out, last[-1].output)
        if self.logits < len(self.layers):
            out = Network([fixed[-1].layer]).run(out)
        right = self.right(out, self.chosen)
        return (0.0 if right is None else float(right.mean())), ratio

    def correct_biases(self, formats: _Formats) -> None:
        """Let every bias take up the mean error of its layer: rounded weights, truncating average pools."""
        self.progress("biases")
        before, score = dict(self.biases), self.score(formats)
        x, fraction = to_integers(self.sample, formats.input, NUMPY_DTYPES[self.dtype]), formats.input
        sample: np.ndarray = self.sample
        for index, layer in enumerate(self.layers):
            if layer.row.is_weighted:
                key = f"{layer.name}/bias"
                (item,) = self.fix(formats, index, index + 1, fraction)
                assert item.weights is not None
                assert item.layer.weights is not None
                rounded = {
                    f"{layer.name}/weights": np.ldexp(item.layer.weights.astype(np.float64), -item.weights),
                    key: before[key],
                }
                plain = [replace(layer, activation=None)]
                exact = {name: self.arrays[name] for name in rounded}
                ((_, wanted),) = forward.run(plain, exact, sample)
                ((_, got),) = forward.run(plain, rounded, np.ldexp(x.astype(np.float64), -fraction))
                channels = layer.output_shape[-1]
                error = wanted.reshape(-1, channels).mean(axis=0, dtype=np.float64) - got.reshape(-1, channels).mean(
                    axis=0, dtype=np.float64
                )
                self.biases[key] = before[key] + error
            (item,) = self.fix(formats, index, index + 1, fraction)
            x, fraction = Network([item.layer]).run(x), item.output
            sample = self.truth[index]
        if not _is_better(self.score(formats), score):
            self.biases = before

    # -- softmax -----------------------------------------------------------------------------------------------------

    def settle_softmax(self, formats: _Formats, wish: str) -> list[str]:
        """Fraction bits of what enters the softmax, and what to say about it."""
        places = [index for index, layer in enumerate(self.layers) if layer.op == "softmax"]
        if not places:
            return []
        name = self.layers[places[-1]].name
        if self.network.softmax_base != 2.0:
            return [
                f"{name}: the kernel computes 2**integer; no layer with weights in front of it could take up log2(e) "
                f"and the format, so its values are no probabilities. The order of the classes holds."
            ]
        start = scale_origin(self.network.layers, places[-1])
        assert start is not None
        full = formats.output[start]
        if places[-1] != len(self.layers) - 1:
            return self.soften_inner(formats, start, name)
        found = {}
        for fraction in sorted({full, *range(min(0, full), max(full, 0) + 1)}) if wish != "answers" else [full]:
            trial = formats.copy()
            trial.output[start] = fraction
            found[fraction] = self.probabilities(trial)
        right = found[full][0]
        chosen = full
        if wish == "probabilities":
            chosen = min(found, key=lambda fraction: (abs(fraction), fraction))
        elif wish == "auto" and full > 0:
            chosen = min(fraction for fraction, (share, _) in found.items() if fraction >= 0 and share >= right)
        formats.output[start] = chosen
        share, error = self.probabilities(formats)
        actual = self.fix(formats)[-1].input
        text = f"{name}: mean absolute error of the probabilities {error:.4f} against base e"
        if actual == 0:
            lost = round((right - share) * len(self.chosen))
            cost = (
                f", {abs(lost)} answer{'s' if abs(lost) != 1 else ''} {'lost' if lost > 0 else 'gained'}"
                if lost
                else ""
            )
            return [f"{text}; log2(e) and the format are folded into {self.layers[start].name}{cost}"]
        power = f"2**{actual}" if actual < 0 else str(2**actual)
        effect = "too sure" if actual > 0 else "not sure enough"
        hint = ""
        if 0 in found and wish != "probabilities":
            lost = round((right - found[0][0]) * len(self.chosen))
            hint = (
                f" --softmax probabilities: error {found[0][1]:.4f}, {max(lost, 0)} of {len(self.chosen)} answers lost."
            )
        return [f"{text}: they are raised to the power of {power} ({effect}); the order of the classes holds.{hint}"]

    def soften_inner(self, formats: _Formats, start: int, name: str) -> list[str]:
        # The layers behind it were given base-e values: only the exact format keeps their input right.
        trial = formats.copy()
        trial.output[start] = 0
        if self.fix(trial)[start].output == 0:
            formats.output[start] = 0
            return [f"{name}: log2(e) and the format are folded into {self.layers[start].name}"]
        return [f"{name}: its input cannot have 0 fraction bits, so its values differ from the float network's"]

    def probabilities(self, formats: _Formats) -> tuple[float, float]:
        """Share of right answers that no other class ties with, and mean absolute error of the softmax's values."""
        x = to_integers(self.sample, formats.input, NUMPY_DTYPES[self.dtype])
        out = Network([item.layer for item in self.fix(formats)]).run(x).reshape(len(x), -1)
        right = self.right(out, self.chosen)
        assert right is not None
        alone = (out == out.max(axis=1, keepdims=True)).sum(axis=1) == 1
        error = np.abs(np.ldexp(out.astype(np.float64), 1 - self.bits) - self.float_output[self.chosen]).mean()
        return float((right & alone).mean()), float(error)

    # -- the outcome -------------------------------------------------------------------------------------------------

    def result(self, formats: _Formats, notes: list[str]) -> Quantized:
        fixed = self.fix(formats)
        layers = tuple(item.layer for item in fixed)
        network = Network(layers)
        dtype = NUMPY_DTYPES[self.dtype]
        self.progress("integer network on all samples")
        output = np.concatenate(
            [
                network.run(to_integers(self.x[start : start + CHUNK], formats.input, dtype))
                for start in range(0, len(self.x), CHUNK)
            ]
        ).reshape(len(self.x), -1)
        trace = network.trace(to_integers(self.sample, formats.input, dtype))
        notes = [
            f"{why}: {', '.join(item.gave_way[why] for item in fixed if why in item.gave_way)}"
            for why in (NEGATIVE_OUT_SHIFT, NEGATIVE_BIAS_SHIFT, TIGHT_ACCUMULATOR)
            if any(why in item.gave_way for item in fixed)
        ] + notes
        lost = beyond(self.x, formats.input, self.bits).mean()
        if lost > 0:
            notes.insert(0, f"{lost:.2%} of the calibration inputs lie beyond the input's format and saturate")
        if any(layer.op == "avg_pool2d" for layer in layers):
            notes.append(
                "average pooling truncates towards zero, as CMSIS-NN's: up to one unit in the last place is lost"
            )
        found = compare({"float": self.float_output, self.dtype: output}, layers, self.y)
        reference = Reference(
            layers,
            self.arrays,
            formats.input,
            {item.layer.name: item.output for item in fixed},
            {item.layer.name: item.weights for item in fixed if item.weights is not None},
            {item.layer.name: item.bias for item in fixed if item.bias is not None},
            self.network.input_layout,
            self.network.output_layout,
            self.network.softmax_base,
        )
        report = tuple(
            _report(item, truth, trace[item.layer.name], self.bits)
            for item, truth in zip(fixed, self.truth, strict=True)
        )
        return Quantized(self.network, layers, reference, report, tuple(notes), len(self.x), **found)


def worst_accumulator(
    layer: Layer, weights: np.ndarray, bias: np.ndarray, requant: Pow2, reach: tuple[int, int]
) -> int:
    """Largest magnitude that the 32-bit accumulator can reach with inputs in `reach`, at any point of the sum."""
    by_channel = np.moveaxis(weights.astype(np.int64), layer.row.channel_axis, 0).reshape(len(bias), -1)
    positive, negative = np.maximum(by_channel, 0).sum(axis=1), np.minimum(by_channel, 0).sum(axis=1)
    low, high = reach
    # Padding puts zeros anywhere, so that any part of the products may be missing.
    most = positive * max(high, 0) + negative * min(low, 0)
    least = positive * min(low, 0) + negative * max(high, 0)
    return requant.reach(bias, least, most)


def _is_better(new: Score, old: Score) -> bool:
    """No answer lost, and less noise; or answers gained, for which a little more noise is a fair price.

    A few labels can be matched by chance: answers alone would let the noise grow.
    """
    return new[0] >= old[0] and (new[1] > old[1] or (new[0] > old[0] and new[1] > old[1] - NOISE_PER_STEP))


def _report(item: _Fixed, truth: np.ndarray, integers: np.ndarray, bits: int) -> LayerReport:
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
