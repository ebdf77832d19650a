# SPDX-License-Identifier: Apache-2.0
"""What quantisation gives: the integer network, its formats, and how well it does."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from cmsisnn_x import Network
from cmsisnn_x.layers import Layer

from ...importers.float_network import FloatNetwork
from ..data import Data, settled
from ..scores import CHUNK, compare, print_outcome, ratio, show_decibels, show_errors
from .formats import BITS, spell
from .reference import Reference

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from ...model import Model


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
        from ...base.console import as_text

        return as_text(lambda out: print_table(out, self))


def noise(truth: np.ndarray, integers: np.ndarray, fraction: int) -> float:
    """Sum of the squared errors of integers with `fraction` bits."""
    error = np.ldexp(integers.astype(np.float64), -fraction) - truth
    return float(np.square(error).sum())


def decibels(truth: np.ndarray, integers: np.ndarray, fraction: int) -> float:
    """Signal-to-noise ratio of integers with `fraction` bits."""
    return ratio(truth, noise(truth, integers, fraction))


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


def _fractions(row: LayerReport) -> tuple[int | None, ...]:
    return row.input_fraction, row.weights_fraction, row.bias_fraction, row.output_fraction


def _format(fraction: int | None, bits: int) -> str:
    return "-" if fraction is None else spell(fraction, bits)


def _number(value: int | None) -> str:
    return "-" if value is None else str(value)
