# SPDX-License-Identifier: Apache-2.0
"""How much of their integers' range the tensors use: of weights always, of activations where data were given."""

from __future__ import annotations

from dataclasses import dataclass
from math import log2

import numpy as np

from tuning.check import TensorCheck
from tuning.plan import Plan


@dataclass(frozen=True)
class Range:
    """Magnitudes of a tensor on a scale of bits: `used` is log2 of the largest, `quartiles` of those other than 0.

    `kind` is weights, bias or activations; `fraction` its fraction bits, where they are known.
    """

    name: str
    kind: str
    bits: int
    largest: int
    used: float
    quartiles: tuple[float, float, float]
    fraction: int | None = None

    @property
    def format(self) -> str:
        """The Q format; empty where it is not known."""
        return "" if self.fraction is None else f"Q{self.bits - 1 - self.fraction}.{self.fraction}"

    @property
    def text(self) -> str:
        """What a row says at its end."""
        return f"±{self.largest:,}" + (f" · {self.format}" if self.format else "")


def ranges_of(plan: Plan) -> list[Range]:
    """Weights and biases of every layer that has them; with a check, the inputs and the layers' outputs too."""
    checked = {tensor.name: tensor for tensor in plan.check.tensors} if plan.check else {}
    found = [_activations(tensor) for tensor in checked.values() if tensor.op == "input"]
    for item in plan.layers:
        tensor = checked.get(item.layer.name)
        for kind in ("weights", "bias"):
            array = getattr(item.layer, kind)
            if array is not None and array.size:
                fraction = getattr(tensor, f"{kind}_fraction") if tensor else None
                found.append(range_of(f"{item.layer.name} {kind}", kind, array, fraction))
        if tensor is not None:
            found.append(_activations(tensor))
    return found


def _activations(tensor: TensorCheck) -> Range:
    used = log2(tensor.largest) if tensor.largest else 0.0
    name = tensor.name if tensor.op == "input" else f"{tensor.name} output"
    return Range(name, "activations", tensor.bits, tensor.largest, used, tensor.quartiles, tensor.fraction)


def range_of(name: str, kind: str, values: np.ndarray, fraction: int | None = None) -> Range:
    """The range of one integer array."""
    bits = values.dtype.itemsize * 8
    magnitudes = np.abs(values.astype(np.int64).ravel())
    largest = int(magnitudes.max(initial=0))
    nonzero = magnitudes[magnitudes > 0]
    quartiles = (0.0, 0.0, 0.0)
    if nonzero.size:
        # By rank, so that no platform's interpolation decides a digit.
        ordered = np.sort(nonzero)
        low, middle, high = (log2(int(ordered[(len(ordered) - 1) * q // 4])) for q in (1, 2, 3))
        quartiles = (low, middle, high)
    return Range(name, kind, bits, largest, log2(largest) if largest else 0.0, quartiles, fraction)
