# SPDX-License-Identifier: Apache-2.0
"""How well a quantised network does beside its float network: answers, noise, errors; and how that is told."""

from __future__ import annotations

from collections.abc import Mapping
from math import isinf, isnan, log10
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from cmsisnn_x.layers import Layer
from cmsisnn_x.scheme import POW2_TYPES

if TYPE_CHECKING:
    from rich.console import Console

Score = tuple[float, float]
"""Share of right answers, and decibels of signal over noise."""

NOISE_PER_STEP = 1.0
"""Decibels that a step of the search may cost if it gains answers."""
CHUNK = 256
"""Samples that are run at once."""


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
    result : Quantized, AffineQuantized or GraphQuantized
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
        middle = 2 ** (POW2_TYPES[last.dtype].bits - 2) if output.dtype.kind == "i" else 0.5
    return (output[:, 0] >= middle).astype(np.int64)


def is_better(new: Score, old: Score) -> bool:
    """No answer lost, and less noise; or answers gained, for which a little more noise is a fair price.

    A few labels can be matched by chance: answers alone would let the noise grow.
    """
    return new[0] >= old[0] and (new[1] > old[1] or (new[0] > old[0] and new[1] > old[1] - NOISE_PER_STEP))


def signal_to_noise(truth: np.ndarray, values: np.ndarray) -> float:
    """Ratio in dB of a tensor and what stands for it; infinite where they are equal."""
    return ratio(truth, float(np.square(values - truth, dtype=np.float64).sum()))


def ratio(truth: np.ndarray, error: float) -> float:
    """Ratio in dB of a tensor and the sum of squared errors."""
    signal = float(np.square(truth, dtype=np.float64).sum())
    if error == 0:
        return float("inf")
    return 10 * log10(signal / error) if signal > 0 else float("-inf")


# ---------------------------------------------------------------- in words


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
