# SPDX-License-Identifier: Apache-2.0
"""What a float network does on calibration data: ranges, answers, and the samples that formats are compared on."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from cmsisnn_x.scheme import POW2_TYPES

from ..base.errors import OptionError
from ..importers.float_network import FloatNetwork
from . import forward
from .data import Data, channels_last, settled
from .scores import CHUNK, answers_of

SEARCH_MACS = 4_000_000_000
SEARCH_BYTES = 128 << 20

Progress = Callable[[str], None]


class Observed:
    """A float network and calibration data; :meth:`observe` runs it on them.

    Attributes
    ----------
    layers : tuple of Layer
        The geometry, without arrays.
    arrays : mapping of str to ndarray
        Float weights and biases, by ``<layer>/weights`` and ``<layer>/bias``.
    x, y : ndarray
        All samples, channels last, and their labels or None.
    logits : int
        Layers up to the last tensor that keeps its resolution: answers are read from it.
    ranges, float_output : ndarray
        Least and largest value of every layer's output; the network's output on all samples.
    chosen, sample, truth
        Indices of the samples that formats are compared on, these samples, and the outputs of all layers on them.
    """

    def __init__(self, network: FloatNetwork, data: Data, dtype: str, progress: Progress) -> None:
        self.dtype, self.bits, self.progress = dtype, POW2_TYPES[dtype].bits, progress
        self.network = network
        self.layers = network.geometry(dtype)
        self.arrays = network.arrays()
        self.x = channels_last(
            data.x, network.input_shape, network.input_layout, data.name, network.declared_shape
        )
        last = self.layers[-1]
        self.y, self.targets = settled(data, prod(last.output_shape), last.op, data.name)
        self.logits = len(self.layers) - (self.layers[-1].op == "softmax" and len(self.layers) > 1)
        self.check_labels()

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
