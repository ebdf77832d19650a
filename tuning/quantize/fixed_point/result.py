# SPDX-License-Identifier: Apache-2.0
"""What quantisation gives: the integer network, its formats, and how well it does."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import isinf, isnan, log10, prod
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from cmsisnn_x import Network
from cmsisnn_x.layers import Layer

from ...importers.float_network import FloatNetwork
from ..data import Data, settled
from .formats import BITS, spell
from .reference import Reference

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from ...model import Model

Score = tuple[float, float]
"""Share of right answers, and decibels of signal over noise."""

NOISE_PER_STEP = 1.0
"""Decibels that a step of the search may cost if it gains answers."""
CHUNK = 256
"""Samples that are run at once."""


@dataclass(frozen=True)
class LayerReport:
    """What quantisation made of one layer; the fields are its row of the table.

    `input_fraction` ... `output_fraction` are fraction bits; `snr_db` is the output's signal-to-noise ratio against the
    float network (``inf`` where equal) and `saturated` the share of its outputs at an end of the format where the float
    network is beyond it, both on calibration data. None where a layer has no such thing.
    """

    name: str
    op: str
    input_fraction: int
    weights_fraction: int | None
    bias_fraction: int | None
    output_fraction: int
    bias_shift: int | None
    out_shift: int | None
    snr_db: float
    saturated: float | None


@dataclass(frozen=True, eq=False)
class Quantized:
    """A quantised network.

    Attributes
    ----------
    network : FloatNetwork
        The float network after rewriting, which the integers approximate tensor by tensor.
    layers : tuple of Layer
        The integer network.
    reference : Reference
        Fraction bits of every tensor.
    report : tuple of LayerReport
    notes : tuple of str
        What was rewritten or resolved, and warnings, for people.
    samples : int
        Calibration samples.
    accuracy : dict of str to float
        ``"float"`` and the dtype (``"q7"``) -> share of right answers on the calibration data; empty without labels.
    agreement : float or None
        Share of the calibration samples on which both networks give the same answer; None where there is no answer
        (more than one output, and neither labels nor a softmax).
    errors : dict of str to dict
        Where `y` are numbers: root mean square error of the output, in ``"float"`` and in the dtype.
    """

    network: FloatNetwork
    layers: tuple[Layer, ...]
    reference: Reference
    report: tuple[LayerReport, ...]
    notes: tuple[str, ...]
    samples: int
    accuracy: dict[str, float] = field(default_factory=dict)
    agreement: float | None = None
    errors: dict[str, dict[str, float]] = field(default_factory=dict)

    @property
    def dtype(self) -> str:
        """``"q7"`` or ``"q15"``."""
        return self.layers[0].dtype

    @property
    def scheme(self) -> str:
        """The same: of powers of two, the type says it all."""
        return self.dtype

    @cached_property
    def model(self) -> Model:
        """As :func:`tuning.load_model` would give it."""
        from . import files

        return files.to_model(self)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the model file, and ``<stem>.npz`` and ``<stem>_float.npz`` beside it, each by atomic rename.

        Parameters
        ----------
        path : path
            ``build/net.yaml``; missing folders are made.

        Returns
        -------
        pathlib.Path
            The model file, written last.
        """
        from . import files

        return files.save(self, path)

    def evaluate(self, data: Data) -> dict[str, Any]:
        """How it does on other data: ``samples``, ``accuracy`` and ``agreement``."""
        reference, network = self.reference, Network(self.layers)
        in_float, fixed = [], []
        reference.channels_last(data.x, data.name)
        for start in range(0, len(data.x), CHUNK):
            part = data.x[start : start + CHUNK]
            *_, (_, out) = reference.tensors(part)
            in_float.append(out.reshape(len(part), -1))
            fixed.append(network.run(reference.quantize(part)).reshape(len(part), -1))
        outputs = {"float": np.concatenate(in_float), self.dtype: np.concatenate(fixed)}
        last = self.layers[-1]
        y, targets = settled(data, prod(last.output_shape), last.op, data.name)
        step = 2.0 ** -reference.fractions[last.name]
        return {"samples": len(data.x), **compare(outputs, self.layers, y, targets, step)}

    def __str__(self) -> str:
        return as_text(self)


class Evaluable(Protocol):
    """A quantised network of whatever scheme."""

    def evaluate(self, data: Any) -> dict[str, Any]: ...


class Calibrated(Protocol):
    """The same, and what is known of it from the calibration data."""

    @property
    def notes(self) -> tuple[str, ...]: ...
    @property
    def samples(self) -> int: ...
    @property
    def accuracy(self) -> Mapping[str, float]: ...
    @property
    def agreement(self) -> float | None: ...


def evaluate(result: Evaluable, data: Any) -> dict[str, Any]:
    """How a quantised network does on other data.

    Parameters
    ----------
    result : Quantized or AffineQuantized
    data : Data
        Samples as the float model takes them.

    Returns
    -------
    dict
        ``samples``; ``accuracy``: as :attr:`Quantized.accuracy`; ``agreement``: as :attr:`Quantized.agreement`.
    """
    return result.evaluate(data)


def compare(
    outputs: dict[str, np.ndarray], layers: tuple[Layer, ...], y: np.ndarray | None,
    targets: np.ndarray | None = None, step: float = 1.0,
) -> dict[str, Any]:  # fmt: skip
    """Accuracy of each of `outputs` (float first, then integers), and how often their answers agree.

    Where there are `targets`, their root mean square errors too; integers stand for multiples of `step`.
    """
    answers = {kind: answers_of(values, layers[-1]) for kind, values in outputs.items()}
    agreement = None
    if y is not None or layers[-1].op == "softmax":
        first, second = answers.values()
        agreement = float((first == second).mean())
    accuracy = {} if y is None else {kind: float((found == y).mean()) for kind, found in answers.items()}
    errors: dict[str, dict[str, float]] = {}
    if targets is not None:
        reals = {kind: values * (step if values.dtype.kind == "i" else 1.0) for kind, values in outputs.items()}
        errors["output"] = {kind: float(np.sqrt(np.square(v - targets).mean())) for kind, v in reals.items()}
    return {"accuracy": accuracy, "agreement": agreement, "errors": errors}


def answers_of(output: np.ndarray, last: Layer) -> np.ndarray:
    """Class numbers, shape ``(n,)``: the first of the largest outputs; a lone output is compared with the middle."""
    output = output.reshape(len(output), -1)
    if output.shape[1] > 1:
        return output.argmax(axis=1)
    middle = 0.0
    if last.op == "sigmoid":
        middle = 2 ** (BITS[last.dtype] - 2) if output.dtype.kind == "i" else 0.5
    return (output[:, 0] >= middle).astype(np.int64)


def noise(truth: np.ndarray, integers: np.ndarray, fraction: int) -> float:
    """Sum of the squared errors of integers with `fraction` bits."""
    error = np.ldexp(integers.astype(np.float64), -fraction) - truth
    return float(np.square(error).sum())


def is_better(new: Score, old: Score) -> bool:
    """No answer lost, and less noise; or answers gained, for which a little more noise is a fair price.

    A few labels can be matched by chance: answers alone would let the noise grow.
    """
    return new[0] >= old[0] and (new[1] > old[1] or (new[0] > old[0] and new[1] > old[1] - NOISE_PER_STEP))


def signal_to_noise(truth: np.ndarray, values: np.ndarray) -> float:
    """Ratio in dB of a tensor and what stands for it; infinite where they are equal."""
    return _ratio(truth, float(np.square(values - truth, dtype=np.float64).sum()))


def decibels(truth: np.ndarray, integers: np.ndarray, fraction: int) -> float:
    """Signal-to-noise ratio of integers with `fraction` bits."""
    return _ratio(truth, noise(truth, integers, fraction))


def _ratio(truth: np.ndarray, error: float) -> float:
    signal = float(np.square(truth, dtype=np.float64).sum())
    if error == 0:
        return float("inf")
    return 10 * log10(signal / error) if signal > 0 else float("-inf")


def beyond(values: np.ndarray, fraction: int, bits: int) -> np.ndarray:
    """Which values have no integer in their format."""
    scaled = np.ldexp(values.astype(np.float64), fraction)
    return (scaled >= 2 ** (bits - 1) - 0.5) | (scaled < -(2 ** (bits - 1)) - 0.5)


# ---------------------------------------------------------------- in words


def print_table(out: Console, result: Quantized) -> None:
    """The table per layer, and what was rewritten."""
    from ...base.console import make_table

    bits = BITS[result.dtype]
    reference = result.reference
    shape = "x".join(map(str, result.network.input_shape))
    out.print(
        f"{result.network.name}: input {shape} {result.dtype}, {spell(reference.input_fraction, bits)}: "
        f"round(x * 2**{reference.input_fraction}), {result.network.order}"
    )
    numbers = ("bias_shift", "out_shift", "SNR dB", "saturated")
    spare = ("bias_shift", "out_shift", "op")
    table = make_table("layer", "op", "in", "weights", "bias", "out", *numbers, right=numbers, spare=spare)
    for row in result.report:
        table.add_row(
            row.name,
            row.op,
            *(_format(value, bits) for value in _fractions(row)),
            _number(row.bias_shift),
            _number(row.out_shift),
            show_decibels(row.snr_db),
            "-" if row.saturated is None else f"{row.saturated:.2%}",
        )
    out.print(table)
    out.print(
        "SNR is the integer layer's output against the float one's, errors of all layers before included; saturated: "
        "float outputs beyond the format."
    )
    print_outcome(out, result, show_errors(result.errors))


def show_errors(errors: Mapping[str, Mapping[str, float]]) -> str:
    """Root mean square errors, output by output."""
    return "; ".join(
        f"error of {name} (root mean square) {', '.join(f'{value:.4g} {kind}' for kind, value in found.items())}"
        for name, found in errors.items()
    )


def print_outcome(out: Console, result: Calibrated, errors: str = "") -> None:
    """What was done beside rounding, and what it left of the answers."""
    for note in result.notes:
        out.print(f"- {note}")
    samples = f"{result.samples:,} calibration sample{'s' if result.samples != 1 else ''}"
    told = shares(result.accuracy, result.agreement)
    if errors:
        told = f"{told}; {errors}" if result.accuracy else errors
    out.print(f"On {samples}: {told}.")


def _fractions(row: LayerReport) -> tuple[int | None, ...]:
    return row.input_fraction, row.weights_fraction, row.bias_fraction, row.output_fraction


def _format(fraction: int | None, bits: int) -> str:
    return "-" if fraction is None else spell(fraction, bits)


def _number(value: int | None) -> str:
    return "-" if value is None else str(value)


def show_decibels(value: float) -> str:
    """A ratio in dB; "exact" where there is no error, "-" where there is no signal."""
    if isinf(value) or isnan(value):
        return "exact" if value > 0 else "-"
    return f"{value:.1f}"


def shares(accuracy: Mapping[str, float], agreement: float | None) -> str:
    parts = [f"accuracy {', '.join(f'{share:.2%} {kind}' for kind, share in accuracy.items())}"] if accuracy else []
    if agreement is not None:
        parts.append(f"same answer as float on {agreement:.2%}")
    return "; ".join(parts) or "no labels, so no accuracy"


def show_score(score: Score) -> str:
    share, ratio = score
    return f"{share:.2%} right, {show_decibels(ratio)} dB" if share else f"{show_decibels(ratio)} dB"


def as_text(result: Quantized) -> str:
    """The table as text."""
    from ...base.console import console

    out = console(no_color=True)
    with out.capture() as captured:
        print_table(out, result)
    return captured.get().rstrip()
