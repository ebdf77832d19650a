# SPDX-License-Identifier: Apache-2.0
"""What quantisation to zero points gives: the network in operators of `.tflite` files, and how well it does."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from cmsisnn_x import Network

from ...importers.float_network import FloatNetwork
from ...importers.tflite.file import FileModel
from ...importers.tflite.writer import write
from ..data import Data, settled
from ..scores import CHUNK, compare, print_outcome, show_decibels, show_errors
from .operators import Operators
from .scales import Scale
from .twin import Twin

if TYPE_CHECKING:
    from rich.console import Console

    from ...model import Model

DESCRIPTION = "cmsisnn-quantize"


@dataclass(frozen=True)
class AffineReport:
    """What quantisation made of one layer; the fields are its row of the table.

    `weights_scales` are the least and the largest of its output channels; `snr_db` and `saturated` are as those of
    `LayerReport`; `coarse` counts output channels whose weights are coarser than they could be, so that the bias fits.
    """

    name: str
    op: str
    input_scale: float
    input_zero_point: int
    weights_scales: tuple[float, float] | None
    output_scale: float
    output_zero_point: int
    snr_db: float
    saturated: float | None
    coarse: int = 0


@dataclass(frozen=True, eq=False)
class AffineQuantized:
    """A network quantised to scales and zero points.

    Attributes
    ----------
    twin : Twin
        The float network after rewriting.
    scheme : {"int8", "int16x8"}
    scales : tuple of Scale
        Of the input, then of every layer's output.
    biases : mapping
        ``<layer>/bias`` in float, corrected.
    report : tuple of AffineReport
    notes : tuple of str
        What was rewritten or resolved, and warnings, for people.
    samples : int
        Calibration samples.
    accuracy : dict of str to float
        ``"float"`` and the scheme -> share of right answers on the calibration data; empty without labels.
    agreement : float or None
        Share of the calibration samples on which both networks give the same answer; None where there is no answer.
    """

    twin: Twin
    scheme: str
    scales: tuple[Scale, ...]
    biases: Mapping[str, np.ndarray]
    report: tuple[AffineReport, ...]
    notes: tuple[str, ...]
    samples: int
    accuracy: dict[str, float] = field(default_factory=dict)
    agreement: float | None = None
    errors: dict[str, dict[str, float]] = field(default_factory=dict)

    @property
    def network(self) -> FloatNetwork:
        """The float network after rewriting, which the integers approximate tensor by tensor."""
        return self.twin.network

    @cached_property
    def file(self) -> FileModel:
        """The network in operators of `.tflite` files, and the bytes of one."""
        from dataclasses import replace

        twin, name = self.twin, self.twin.network.name
        operators = Operators(twin.layers, twin.arrays, twin.network.softmax_base)
        made = operators.file(self.scales, self.biases, path=Path(f"{name}.tflite"), description=DESCRIPTION)
        return replace(made, content=write(made))

    @cached_property
    def model(self) -> Model:
        """As :func:`tuning.load_model` would give it."""
        from ...load import operator_model

        return operator_model(self.file, self.twin.network.name, "tflm", True)

    @cached_property
    def _runnable(self) -> Network:
        return self.model.network()

    def outputs(self, x: np.ndarray) -> np.ndarray:
        """What the integers of the output stand for, of float samples that are channels last."""
        parts = [
            self._runnable.run(self.scales[0].quantize(x[start : start + CHUNK])).reshape(-1, *self._output_shape)
            for start in range(0, len(x), CHUNK)
        ]
        return self.scales[-1].dequantize(np.concatenate(parts))

    @property
    def _output_shape(self) -> tuple[int, ...]:
        return self.twin.layers[-1].output_shape

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
        from . import files

        return files.save(self, path)

    def evaluate(self, data: Data) -> dict[str, Any]:
        """How it does on other data: ``samples``, ``accuracy`` and ``agreement``."""
        x = self.twin.channels_last(data.x, data.name)
        in_float = np.concatenate([self.twin.output(x[at : at + CHUNK]) for at in range(0, len(x), CHUNK)])
        outputs = {"float": in_float, self.scheme: self.outputs(x)}
        flat = {kind: values.reshape(len(x), -1) for kind, values in outputs.items()}
        last = self.twin.layers[-1]
        y, targets = settled(data, prod(last.output_shape), last.op, data.name)
        return {"samples": len(x), **compare(flat, self.twin.layers, y, targets)}

    def __str__(self) -> str:
        from ...base.console import as_text

        return as_text(lambda out: print_affine_table(out, self))


def print_affine_table(out: Console, result: AffineQuantized) -> None:
    """The table per layer, and what was rewritten."""
    first = result.scales[0]
    shape = "x".join(map(str, result.network.input_shape))
    out.print(
        f"{result.network.name}: input {shape} {first.type}: round(x / {first.scale:.7g}){first.zero_point:+d}, "
        f"{result.network.order}"
    )
    print_scales(out, result.report)
    print_outcome(out, result, show_errors(result.errors))


class Scaled(Protocol):
    """A row of the table of scales; the fields are as those of `AffineReport`."""

    @property
    def name(self) -> str: ...
    @property
    def op(self) -> str: ...
    @property
    def weights_scales(self) -> tuple[float, float] | None: ...
    @property
    def output_scale(self) -> float: ...
    @property
    def output_zero_point(self) -> int: ...
    @property
    def snr_db(self) -> float: ...
    @property
    def saturated(self) -> float | None: ...


def print_scales(out: Console, rows: Sequence[Scaled]) -> None:
    """Scales and noise, a row for each layer, and what the columns mean."""
    from ...base.console import make_table

    numbers = ("weight scales", "out scale", "zero point", "SNR dB", "saturated")
    table = make_table("layer", "op", *numbers, right=numbers, spare=("weight scales", "op"))
    for row in rows:
        table.add_row(
            row.name,
            row.op,
            "-" if row.weights_scales is None else "..".join(f"{scale:.3g}" for scale in row.weights_scales),
            f"{row.output_scale:.4g}",
            str(row.output_zero_point),
            show_decibels(row.snr_db),
            "-" if row.saturated is None else f"{row.saturated:.2%}",
        )
    out.print(table)
    out.print(
        "SNR is the integer tensor against the float one, errors of all layers before included; saturated: float "
        "values beyond the range."
    )
