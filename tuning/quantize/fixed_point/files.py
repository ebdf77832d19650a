# SPDX-License-Identifier: Apache-2.0
"""A quantised network as a model file, its weights and its float file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ... import model as model_file
from ...base.errors import OptionError
from ...base.files import npz_bytes, write_atomically
from ...importers.float_network import FloatNetwork
from .formats import BITS, spell
from .reference import Reference

if TYPE_CHECKING:
    from cmsisnn_x.layers import Layer

    from ...model import Model

_DEFAULTS: dict[str, Any] = {
    "stride": (1, 1), "padding": (0, 0), "ceil_mode": False, "output_size": None, "activation": None
}  # fmt: skip


class Result(Protocol):
    """What a file says of a quantised network: the fields of `result.Quantized` that are written."""

    @property
    def network(self) -> FloatNetwork: ...
    @property
    def layers(self) -> tuple[Layer, ...]: ...
    @property
    def report(self) -> tuple[Any, ...]: ...
    @property
    def reference(self) -> Reference: ...
    @property
    def samples(self) -> int: ...
    @property
    def accuracy(self) -> dict[str, float]: ...
    @property
    def dtype(self) -> str: ...


def save(result: Result, path: str | os.PathLike[str]) -> Path:
    """Write the three files; the model file, which names the other two, last.

    Raises
    ------
    OptionError
        `path` does not end in ``.yaml``.
    """
    path = Path(path)
    if path.suffix not in (".yaml", ".yml") or path.is_dir():
        raise OptionError(f"expected a file name ending in .yaml, got {str(path)!r}")
    weights, in_float = path.with_name(f"{path.stem}.npz"), path.with_name(f"{path.stem}_float.npz")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(weights, npz_bytes(integer_arrays(result)))
    write_atomically(in_float, npz_bytes(float_arrays(result)))
    write_atomically(path, yaml_text(result, weights.name, in_float.name))
    return path


def to_model(result: Result) -> Model:
    """The model that :func:`save` writes, without the disk."""
    built = model_file.build_model(_content(result), f"{result.network.name}.yaml")
    return model_file.with_layers(built, result.layers)


def integer_arrays(result: Result) -> dict[str, np.ndarray]:
    """What ``<name>.npz`` holds."""
    arrays: dict[str, np.ndarray] = {}
    for layer in result.layers:
        if layer.weights is not None and layer.bias is not None:
            arrays |= {f"{layer.name}/weights": layer.weights, f"{layer.name}/bias": layer.bias}
    return arrays


def float_arrays(result: Result) -> dict[str, np.ndarray]:
    """What ``<name>_float.npz`` holds; the docstring of :mod:`tuning.quantize` describes it."""
    reference = result.reference
    arrays = dict(reference.arrays)
    for kind, fractions in (
        ("fraction", reference.fractions),
        ("weights_fraction", reference.weights_fractions),
        ("bias_fraction", reference.bias_fractions),
    ):
        arrays |= {f"{layer}/{kind}": np.array(fraction, np.int64) for layer, fraction in fractions.items()}
    arrays["input_fraction"] = np.array(reference.input_fraction, np.int64)
    arrays["input_layout"] = np.array(reference.input_layout)
    arrays["output_layout"] = np.array(reference.output_layout)
    arrays["softmax_base"] = np.array(reference.softmax_base)
    if reference.declared_shape is not None:
        arrays["declared_shape"] = np.array(reference.declared_shape, np.int64)
    return arrays


def yaml_text(result: Result, weights: str, in_float: str) -> str:
    """The model file, with every tensor's format as a comment."""
    content = _content(result)
    bits = BITS[result.dtype]
    fraction = result.reference.input_fraction
    lines = [
        f"# Quantised by cmsisnn-quantize on {result.samples:,} calibration samples.",
        f"# Input: {spell(fraction, bits)}, that is round(x * 2**{fraction}), {result.network.order}.",
    ]
    if result.accuracy:
        shares = ", ".join(f"{share:.2%} {kind}" for kind, share in result.accuracy.items())
        lines.append(f"# Accuracy on them: {shares}.")
    shape = ", ".join(str(size) for size in content["input"]["shape"])
    lines += [
        "schema: 1",
        f"name: {content['name']}",
        f"input: {{shape: [{shape}], dtype: {result.dtype}, fraction: {fraction}}}",
        f"weights: {_flow(weights)}",
        f"float: {_flow(in_float)}",
        "layers:",
    ]
    for row, report, layer in zip(content["layers"], result.report, result.network.layers, strict=True):
        formats = [f"out {spell(report.output_fraction, bits)}"]
        if report.weights_fraction is not None and report.bias_fraction is not None:
            formats = [
                f"weights {spell(report.weights_fraction, bits)}",
                f"bias {spell(report.bias_fraction, bits)}",
                *formats,
            ]
        source = f"; {layer.source}" if layer.source else ""
        text = ", ".join(f"{key}: {_flow(value)}" for key, value in row.items())
        lines.append(f"  - {{{text}}}  # {', '.join(formats)}{_printable(source)}")
    return "\n".join(lines) + "\n"


def _content(result: Result) -> dict[str, Any]:
    """What the model file says, except for the files that it names."""
    rows = []
    for layer, origin in zip(result.layers, result.network.layers, strict=True):
        rows.append(_row(layer, origin.keys) | {"fraction": result.reference.fractions[layer.name]})
    return {
        "schema": 1,
        "name": result.network.name,
        "input": {
            "shape": list(result.network.input_shape), "dtype": result.dtype,
            "fraction": result.reference.input_fraction,
        },
        "layers": rows,
    }  # fmt: skip


def _row(layer: Layer, keys: Any) -> dict[str, Any]:
    row: dict[str, Any] = {"name": layer.name, "op": layer.op}
    attributes = layer.row.attributes
    row |= {key: layer.output_shape[-1] for key in ("out_channels", "out_features") if key in attributes}
    if layer.row.is_windowed:
        row["kernel"] = _short(layer.kernel)
    for key, default in _DEFAULTS.items():
        value = keys.get(key)
        if key == "stride" and value is not None and not layer.row.is_weighted:
            row[key] = _short(value)  # the default of a pool is its kernel
        elif value is not None and _pair(value) != default:
            row[key] = _short(value)
    if layer.row.is_weighted:
        row |= {"bias_shift": layer.bias_shift, "out_shift": layer.out_shift}
    if layer.row.has_table:
        row["int_bits"] = layer.int_bits
    return row


def _pair(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        return (value, value)
    return tuple(value) if isinstance(value, list | tuple) else value


def _short(value: Any) -> Any:
    """A pair of equal numbers as one."""
    pair = _pair(value)
    if isinstance(pair, tuple):
        return int(pair[0]) if pair[0] == pair[1] else [int(item) for item in pair]
    return value


def _flow(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return f"[{', '.join(map(str, value))}]"
    text = str(value)
    if isinstance(value, str) and not text.replace("_", "").replace(".", "").replace("-", "").isalnum():
        return "'" + text.replace("'", "''") + "'"
    return text


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)[:100]
