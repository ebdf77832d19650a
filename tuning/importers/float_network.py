# SPDX-License-Identifier: Apache-2.0
"""A sequential float network in the model file's own vocabulary: what readers of other tools' files give."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from math import e
from typing import Any

import numpy as np

from cmsisnn_x.layers import Layer
from cmsisnn_x.op import MODEL_OPS, Op

from ..base.errors import ModelError
from ..base.names import layer_name_problem
from ..model import build_model

LONGEST_NAME = 24
_SHORT = {
    "conv2d": "conv",
    "depthwise_conv2d": "dw",
    "fully_connected": "fc",
    "max_pool2d": "pool",
    "avg_pool2d": "pool",
    "softmax": "prob",
}
_DIMENSIONS = {
    "conv2d": "(out_ch, kh, kw, in_ch)",
    "depthwise_conv2d": "(kh, kw, ch)",
    "fully_connected": "(rows, cols)",
}


@dataclass(frozen=True, eq=False)
class FloatLayer:
    """A layer of a float network.

    Attributes
    ----------
    name, op : str
        As in a model file.
    keys : dict
        Further keys of the model file: `kernel`, `stride`, `padding`, `ceil_mode`, `activation`.
    weights, bias : ndarray or None
        In the shapes of the model file: ``(out_ch, kh, kw, in_ch)``, ``(kh, kw, ch)`` or ``(rows, cols)``.
    clip : float or None
        Upper end of the activation: 6 for ReLU6.
    source : str
        What it was made from, for messages and for the comments of the model file.
    """

    name: str
    op: str
    keys: Mapping[str, Any] = field(default_factory=dict)
    weights: np.ndarray | None = None
    bias: np.ndarray | None = None
    clip: float | None = None
    source: str = ""

    @property
    def row(self) -> Op:
        """The row of its operation."""
        return MODEL_OPS[self.op]

    def scaled(self, factor: float) -> FloatLayer:
        """The layer whose output is `factor` times as large."""
        assert self.weights is not None
        assert self.bias is not None
        clip = None if self.clip is None else self.clip * factor
        return replace(self, weights=self.weights * factor, bias=self.bias * factor, clip=clip)


@dataclass(frozen=True, eq=False)
class FloatNetwork:
    """A sequential float network, channels last.

    Attributes
    ----------
    name : str
        A C identifier.
    input_shape : tuple of int
        ``(h, w, c)`` or ``(n,)``.
    layers : tuple of FloatLayer
    input_layout, output_layout : {"NHWC", "NCHW"}
        How the original takes its input and gives its output.
    softmax_base : float
        ``softmax(x) = base**x / sum(base**x)``.
    notes : tuple of str
        What was rewritten on the way here, for people.
    declared_shape : tuple of int or None
        Of a sample in the original, where it is neither of the two: rearranged before the first layer.
    """

    name: str
    input_shape: tuple[int, ...]
    layers: tuple[FloatLayer, ...]
    input_layout: str = "NHWC"
    output_layout: str = "NHWC"
    softmax_base: float = e
    notes: tuple[str, ...] = ()
    declared_shape: tuple[int, ...] | None = None

    @property
    def order(self) -> str:
        """How integers of the input lie, for people."""
        if len(self.input_shape) == 1:
            return "in the order in which the float model takes them"
        return "channels last" + (" (the float model takes channels first)" if self.input_layout == "NCHW" else "")

    def geometry(self, dtype: str) -> tuple[Layer, ...]:
        """Every layer with its shapes resolved; weights and shifts are placeholders."""
        rows = []
        for layer in self.layers:
            row = {"name": layer.name, "op": layer.op, **_sizes(layer), **layer.keys}
            if layer.row.is_weighted:
                row["out_shift"] = 0
            if layer.row.has_table:
                row["int_bits"] = 0
            rows.append(row)
        content = {
            "schema": 1,
            "name": self.name,
            "input": {"shape": list(self.input_shape), "dtype": dtype},
            "layers": rows,
        }
        model = build_model(content, self.name)
        for layer, resolved in zip(self.layers, model.layers, strict=True):
            if layer.weights is None or resolved.weights is None:
                continue
            if layer.weights.shape != resolved.weights.shape:
                raise ModelError(
                    f"{self.name}: {layer.source or layer.name}: expected weights of shape "
                    f"{list(resolved.weights.shape)} for an input of {list(resolved.input_shape)}, got "
                    f"{list(layer.weights.shape)}"
                )
        return model.layers

    def arrays(self) -> dict[str, np.ndarray]:
        """``<layer>/weights``, ``<layer>/bias`` and ``<layer>/clip`` in float32."""
        result = {}
        for layer in self.layers:
            for kind in ("weights", "bias", "clip"):
                if (value := getattr(layer, kind)) is not None:
                    result[f"{layer.name}/{kind}"] = np.asarray(value, np.float32)
        return result


def from_layers(
    layers: Iterable[Mapping[str, Any]], input_shape: tuple[int, ...] | None = None, name: str = "model"
) -> FloatNetwork:
    """A network from mappings: the keys of a model file's layers, and `weights` and `bias` as float arrays.

    `op` is required, and `weights` where the operation has any; `name` is made up where it is missing, sizes follow
    from the weights.

    Raises
    ------
    ModelError
        A layer lacks something, or has it in the wrong shape.
    """
    made: list[FloatLayer] = []
    layers = list(layers)
    names = namer([str(row["name"]) for row in layers if isinstance(row, Mapping) and "name" in row])
    for index, row in enumerate(layers):
        if not isinstance(row, Mapping):
            raise ModelError(f"layers[{index}]: expected a mapping such as {{'op': 'relu'}}, got {row!r:.60}")
        keys = dict(row)
        op = str(keys.pop("op", ""))
        where = f"layers[{index}]"
        if op not in MODEL_OPS:
            raise ModelError(f"{where}: op: expected an operation of a model file, such as 'conv2d', got {op!r}")
        layer_name = str(keys.pop("name", None) or names(op))
        weights, bias, clip = keys.pop("weights", None), keys.pop("bias", None), keys.pop("clip", None)
        if MODEL_OPS[op].is_weighted:
            weights, bias = _checked_arrays(where, op, weights, bias)
        elif weights is not None or bias is not None:
            raise ModelError(f"{where}: {op} takes no weights and no bias")
        if clip is not None and not (np.isfinite(clip) and clip > 0):
            raise ModelError(f"{where}: clip: expected a positive number, got {clip!r}")
        made.append(FloatLayer(layer_name, op, keys, weights, bias, clip, where))
    if not made:
        raise ModelError("layers: expected at least one layer, got none")
    if input_shape is None:
        first = made[0]
        if first.op != "fully_connected" or first.weights is None:
            raise ModelError("input_shape: expected (h, w, c), which only a fully connected first layer makes known")
        input_shape = (first.weights.shape[1],)
    return FloatNetwork(name, tuple(int(size) for size in input_shape), tuple(made))


def _checked_arrays(where: str, op: str, weights: Any, bias: Any) -> tuple[np.ndarray, np.ndarray]:
    dimensions = _DIMENSIONS[op]
    if weights is None:
        raise ModelError(f"{where}: weights: expected an array {dimensions}, got nothing")
    weights = np.asarray(weights)
    if weights.dtype.kind not in "fiu" or weights.ndim != dimensions.count(",") + 1 or weights.size == 0:
        raise ModelError(f"{where}: weights: expected numbers {dimensions}, got {weights.dtype} {weights.shape}")
    count = weights.shape[MODEL_OPS[op].channel_axis]
    bias = np.zeros(count) if bias is None else np.asarray(bias)
    if bias.dtype.kind not in "fiu" or bias.shape != (count,):
        raise ModelError(f"{where}: bias: expected {count} numbers, got {bias.dtype} {bias.shape}")
    weights, bias = weights.astype(np.float64), bias.astype(np.float64)
    if not (np.isfinite(weights).all() and np.isfinite(bias).all()):
        raise ModelError(f"{where}: expected finite weights and biases, got NaN or infinity")
    return weights, bias


def namer(taken: Iterable[str] = ()) -> Callable[..., str]:
    """Makes layer names: what a layer is called already if that will do, else ``conv1``, ``pool1``, ..., ``prob``."""
    used = {name.lower(): name for name in taken}

    def name(op: str, called: str = "") -> str:
        # PyTorch calls the convolution of its module conv1 "/conv1/Conv".
        parts = called.strip("/").split("/")
        result = parts[0] if len(parts) <= 2 else ""
        if len(result) > LONGEST_NAME or layer_name_problem(result, used):
            short = _SHORT.get(op, op)
            number = 1
            result = short if op == "softmax" else f"{short}1"
            while result in used:
                number += 1
                result = f"{short}{number}"
        used[result.lower()] = result
        return result

    return name


def _sizes(layer: FloatLayer) -> dict[str, Any]:
    """The model file's keys that follow from the weights' shape."""
    if layer.weights is None:
        return {}
    shape, axis = layer.weights.shape, layer.row.channel_axis
    if not layer.row.is_windowed:
        return {"out_features": shape[axis]}
    kernel = list(shape[1:3] if axis == 0 else shape[:2])
    return {"kernel": kernel} | ({"out_channels": shape[axis]} if "out_channels" in layer.row.attributes else {})
