# SPDX-License-Identifier: Apache-2.0
"""The float network beside a quantised model: its tensors, and how integers compare with them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import e, prod
from typing import TYPE_CHECKING

import numpy as np

from cmsisnn_x.layers import Layer

from ...base.errors import ModelError
from .. import forward
from ..data import LAYOUTS, channels_last, declared_of
from .formats import to_integers

if TYPE_CHECKING:
    pass


@dataclass(frozen=True, eq=False)
class Reference:
    """The float network that a model was quantised from.

    Attributes
    ----------
    layers : tuple of Layer
        The model's layers: geometry, names and integer arrays.
    arrays : dict
        ``<layer>/weights``, ``<layer>/bias`` and ``<layer>/clip`` in float32.
    input_fraction : int
        Fraction bits of the input.
    fractions, weights_fractions, bias_fractions : dict of str to int
        By layer name: fraction bits of its output; of its weights and bias where it has any.
    input_layout, output_layout : {"NHWC", "NCHW"}
        Of the float model, hence of the data.
    softmax_base : float
        Of the float softmax.
    declared_shape : tuple of int or None
        Of a sample in the float model, where `input_layout` does not tell it.
    """

    layers: tuple[Layer, ...]
    arrays: dict[str, np.ndarray]
    input_fraction: int
    fractions: dict[str, int]
    weights_fractions: dict[str, int] = field(default_factory=dict)
    bias_fractions: dict[str, int] = field(default_factory=dict)
    input_layout: str = "NHWC"
    output_layout: str = "NHWC"
    softmax_base: float = e
    declared_shape: tuple[int, ...] | None = None

    @property
    def dtype(self) -> np.dtype:
        """Of the integer activations."""
        return self.layers[0].numpy_dtype

    def channels_last(self, x: np.ndarray, name: str = "data") -> np.ndarray:
        """Float samples as the float model takes them -> ``(n, *input_shape)``, channels last.

        Raises
        ------
        OptionError
            The samples do not have the model's shape; sizes of 1 may be left out or added, and vectors have any shape.
        """
        return channels_last(x, self.layers[0].input_shape, self.input_layout, name, self.declared_shape)

    def quantize(self, x: np.ndarray) -> np.ndarray:
        """Float samples as the float model takes them -> the integers that the firmware takes."""
        return to_integers(self.channels_last(x), self.input_fraction, self.dtype)

    def tensors(self, x: np.ndarray) -> Iterator[tuple[Layer, np.ndarray]]:
        """Every layer with its float output ``(n, *output_shape)``, for samples as the float model takes them."""
        return forward.run(self.layers, self.arrays, self.channels_last(x), self.softmax_base)

    def dequantize(self, layer: str, integers: np.ndarray) -> np.ndarray:
        """What the integers of that layer's output stand for."""
        return np.ldexp(integers.astype(np.float64), -self.fractions[layer])


def reference_of(content: Mapping[str, np.ndarray], name: str, layers: tuple[Layer, ...]) -> Reference:
    """A reference from what its archive holds; `name` is what messages call it."""
    return _Reader(content, name, layers).reference()


class _Reader:
    def __init__(self, content: Mapping[str, np.ndarray], name: str, layers: tuple[Layer, ...]) -> None:
        self.content, self.name, self.layers = content, name, layers

    def reference(self) -> Reference:
        arrays = {}
        fractions, weights_fractions, bias_fractions = {}, {}, {}
        for layer in self.layers:
            fractions[layer.name] = self.integer(f"{layer.name}/fraction")
            if layer.weights is not None and layer.bias is not None:
                for kind, like in (("weights", layer.weights), ("bias", layer.bias)):
                    arrays[f"{layer.name}/{kind}"] = self.array(f"{layer.name}/{kind}", like.shape)
                weights_fractions[layer.name] = self.integer(f"{layer.name}/weights_fraction")
                bias_fractions[layer.name] = self.integer(f"{layer.name}/bias_fraction")
            if f"{layer.name}/clip" in self.content:
                arrays[f"{layer.name}/clip"] = self.array(f"{layer.name}/clip", ())
        return Reference(
            self.layers,
            arrays,
            self.integer("input_fraction"),
            fractions,
            weights_fractions,
            bias_fractions,
            self.text("input_layout"),
            self.text("output_layout"),
            float(self.array("softmax_base", ())),
            declared_of(self.content),
        )

    def get(self, key: str, expected: str) -> np.ndarray:
        if key not in self.content:
            raise ModelError(f"{self.name}: {key}: expected {expected}, got nothing; quantise the model again")
        return self.content[key]

    def array(self, key: str, shape: tuple[int, ...]) -> np.ndarray:
        expected = f"finite numbers of shape {list(shape)}"
        value = self.get(key, expected)
        if value.dtype.kind not in "fiu" or value.size != prod(shape) or value.shape != shape:
            got = f"{value.dtype} of shape {list(value.shape)}"
            raise ModelError(f"{self.name}: {key}: expected {expected}, got {got}; quantise the model again")
        if not np.isfinite(value).all():
            raise ModelError(f"{self.name}: {key}: expected {expected}, got NaN or infinity")
        return value

    def integer(self, key: str) -> int:
        value = self.array(key, ())
        if value.dtype.kind not in "iu" or abs(int(value)) > 1024:
            raise ModelError(f"{self.name}: {key}: expected a number of fraction bits, got {value}")
        return int(value)

    def text(self, key: str) -> str:
        value = str(self.get(key, f"one of {', '.join(LAYOUTS)}"))
        if value not in LAYOUTS:
            raise ModelError(f"{self.name}: {key}: expected one of {', '.join(LAYOUTS)}, got {value!r}")
        return value
