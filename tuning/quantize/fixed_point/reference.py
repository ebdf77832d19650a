# SPDX-License-Identifier: Apache-2.0
"""The float network beside a quantised model: its tensors, and how integers compare with them."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import e, prod
from typing import TYPE_CHECKING

import numpy as np

from cmsisnn_x.layers import Layer

from ...base.errors import ModelError, OptionError
from .. import forward
from .formats import to_integers

if TYPE_CHECKING:
    from ...model import Model

LAYOUTS = ("NHWC", "NCHW")


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


def channels_last(
    x: np.ndarray, input_shape: tuple[int, ...], layout: str, name: str = "data",
    declared: tuple[int, ...] | None = None,
) -> np.ndarray:  # fmt: skip
    """Samples of a float model in `layout`, or in the shape that it declares -> ``(n, *input_shape)``; `name` is what a
    message calls them.
    """
    source = input_shape
    if layout == "NCHW" and len(input_shape) == 3:
        source = (input_shape[2], *input_shape[:2])
    if declared is not None and x.shape[1:] == declared:
        x = x.reshape(len(x), *source)
    is_flat = (len(input_shape) == 1 or x.ndim == 2) and prod(x.shape[1:]) == prod(input_shape)
    if not is_flat and [size for size in x.shape[1:] if size != 1] != [size for size in source if size != 1]:
        hint = ""
        if len(source) == 3 and x.shape[1:] == (*source[1:], source[0]):
            hint = "; transpose the data with x.transpose(0, 3, 1, 2)"
        elif len(source) == 3 and x.shape[1:] == (source[2], *source[:2]):
            hint = "; transpose the data with x.transpose(0, 2, 3, 1)"
        elif x.shape == source:
            hint = "; a single sample needs a first axis of its own: x[None]"
        shape = ", ".join(map(str, source))
        raise OptionError(f"{name}: x: expected shape (n, {shape}) as the float model takes it, got {x.shape}{hint}")
    x = x.reshape(len(x), *source)
    if source is not input_shape:
        x = x.transpose(0, 2, 3, 1)
    return np.ascontiguousarray(x)


def load_reference(model: Model) -> Reference:
    """Read the float file that `model` names (the docstring of :mod:`tuning.quantize` describes it).

    Raises
    ------
    ModelError
        The model names none, or the file does not belong to the model.
    """
    if model.float_path is None:
        raise ModelError(
            f"{model.path}: no float network to compare with: expected the key 'float' with the npz file that "
            f"cmsisnn-quantize writes beside the model"
        )
    path = model.float_path
    try:
        with np.load(path, allow_pickle=False) as stored:
            content = {name: stored[name] for name in stored.files}
    except FileNotFoundError:
        raise ModelError(f"{path}: no such file; it is named by 'float' in {model.path}") from None
    except (OSError, ValueError, EOFError, AttributeError, TypeError, zipfile.BadZipFile, zlib.error) as problem:
        raise ModelError(
            f"{path}: expected the npz file of cmsisnn-quantize, got one that cannot be read: {problem}"
        ) from None
    return _Reader(content, path.name, model.layers).reference()


def declared_of(content: Mapping[str, np.ndarray]) -> tuple[int, ...] | None:
    """`declared_shape` of a float file; older ones have none."""
    found = content.get("declared_shape")
    return None if found is None else tuple(int(size) for size in np.asarray(found).reshape(-1)[:8])


class _Reader:
    def __init__(self, content: dict[str, np.ndarray], name: str, layers: tuple[Layer, ...]) -> None:
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
