# SPDX-License-Identifier: Apache-2.0
"""Model files: YAML -> a checked, sequential network of :class:`cmsisnn_x.layers.Layer` with every shape inferred."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cmsisnn_x.errors import GeometryError
from cmsisnn_x.graph import Graph
from cmsisnn_x.layers import NUMPY_DTYPES, Layer
from cmsisnn_x.op import MODEL_OPS, Op

from ..base import resources, yaml_file
from ..base.errors import ModelError
from ..base.names import layer_name_problem, model_name_problem
from ..base.options import Budget
from .synthetic import draw_arrays
from .weights import WeightsError, read_weights

if TYPE_CHECKING:
    import cmsisnn_x

MAX_DIMENSION = 65535
MAX_TENSOR_BYTES = 2**31 - 1
MAX_WEIGHTS_BYTES = 2**29
"""The architecture's code region."""


@dataclass(frozen=True, eq=False, repr=False)
class Model:
    """A sequential network, checked: what :func:`tuning.load_model` gives.

    Attributes
    ----------
    name : str
        A C identifier.
    dtype : {"q7", "q15"}
        Of the activations.
    input_shape : tuple of int
        ``(h, w, c)`` or ``(n,)``.
    layers : tuple of Layer
        In order of execution, weights included.
    budget : dict
        ``{"sram": bytes or None, "flash": bytes or None}`` as the file declares it.
    target : str or None
        Target that the file declares.
    digest : str
        SHA-256 of everything above, weights included: equal digests give equal plans.
    path : pathlib.Path
        The file it was read from.
    float_path : pathlib.Path or None
        The float network it was quantised from (see :mod:`tuning.quantize`), if the file names one.
    """

    name: str
    dtype: str
    input_shape: tuple[int, ...]
    layers: tuple[Layer, ...]
    budget: Budget
    target: str | None
    digest: str
    path: Path
    float_path: Path | None = None

    @property
    def output_shape(self) -> tuple[int, ...]:
        """``(h, w, c)`` or ``(n,)``."""
        return self.layers[-1].output_shape

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one inference."""
        return sum(layer.macs for layer in self.layers)

    @cached_property
    def graph(self) -> Graph:
        """The layers with the tensors between them."""
        return Graph.chain(self.layers)

    def network(self) -> cmsisnn_x.Network:
        """The same layers, with the same weights, on the host.

        Returns
        -------
        cmsisnn_x.Network
            ``network().run(x)`` gives what the firmware gives, bit for bit.
        """
        from cmsisnn_x import Network

        return Network(self.layers)

    def __str__(self) -> str:
        return f"{self.name}: {len(self.layers)} layers, {self.macs:,} MAC"

    def __repr__(self) -> str:
        return f"<Model {self}, {self.dtype} {self.input_shape} -> {self.output_shape}>"


def load_model(source: str | os.PathLike[str]) -> Model:
    """Read and check a model file.

    Parameters
    ----------
    source : path or str
        A YAML file, or the name of a shipped model (``"cifar10"``).

    Returns
    -------
    Model

    Raises
    ------
    ModelError
        With file, line and key of the first thing that is wrong, what was expected, what was got and a suggestion.

    Examples
    --------
    >>> import tuning
    >>> tuning.load_model("cifar10")
    <Model cifar10: 8 layers, 12,298,240 MAC, q7 (32, 32, 3) -> (10,)>
    """
    path = find_model(source)
    return _Builder(yaml_file.read(path, ModelError), path).model()


def build_model(content: dict[str, Any], path: str | os.PathLike[str] = "model.yaml") -> Model:
    """The model that a file with this content would give; files that it names are relative to `path`."""
    return _Builder(yaml_file.Document(str(path), content, {}), Path(path)).model()


def with_layers(model: Model, layers: tuple[Layer, ...]) -> Model:
    """The same model with other layers, and the digest that belongs to them."""
    result = replace(model, layers=layers)
    return replace(result, digest=_digest(result))


def list_models() -> dict[str, Path]:
    """The shipped models.

    Returns
    -------
    dict of str to pathlib.Path
        Name -> file.
    """
    return resources.folder("models")


def find_model(source: str | os.PathLike[str]) -> Path:
    path, models = Path(source), list_models()
    try:
        if path.exists() and not (path.is_dir() and str(source) in models):
            return path
    except OSError as problem:
        raise ModelError(f"{source}: cannot be read: {problem.strerror}") from None
    if str(source) in models:
        return models[str(source)]
    if path.suffix in (".yaml", ".yml") or len(path.parts) > 1:
        raise ModelError(f"{source}: no such file")
    raise ModelError(f"{source}: neither a file nor a shipped model; {yaml_file.suggest(str(source), models)}")


class _Builder:
    """Turns one parsed document into a `Model`; every error carries file, line and key."""

    def __init__(self, document: yaml_file.Document, path: Path) -> None:
        self.document = document
        self.path = path

    def error(self, key: yaml_file.Key, text: str) -> ModelError:
        return ModelError(self.document.message(key, text))

    def model(self) -> Model:
        from .schema import check_model_file

        spec = check_model_file(self.document)
        if problem := model_name_problem(spec.name):
            raise self.error(("name",), problem)
        dtype, shape = spec.input.dtype, tuple(spec.input.shape)
        self.check_tensor(("input", "shape"), shape, dtype, "input")
        seen: dict[str, str] = {}
        layers = []
        for index, layer_spec in enumerate(spec.layers):
            key = ("layers", index)
            if problem := layer_name_problem(layer_spec.name, seen):
                raise self.error((*key, "name"), problem)
            seen[layer_spec.name.lower()] = layer_spec.name
            layer = self.layer(key, layer_spec, dtype, shape)
            layers.append(layer)
            shape = layer.output_shape
        self.check_weights(layers)
        with_arrays = draw_arrays(spec.name, layers) if spec.weights is None else self.read_arrays(spec.weights, layers)
        budget: Budget = {"sram": None, "flash": None}
        if spec.budget:
            budget = {"sram": spec.budget.sram, "flash": spec.budget.flash}
        in_float = self.path.parent / spec.float_ if spec.float_ else None
        result = Model(
            spec.name, dtype, tuple(spec.input.shape), with_arrays, budget, spec.target, "", self.path, in_float
        )
        return replace(result, digest=_digest(result))

    def check_tensor(self, key: yaml_file.Key, shape: tuple[int, ...], dtype: str, what: str) -> None:
        if any(not 1 <= size <= MAX_DIMENSION for size in shape):
            raise self.error(key, f"{what} dimensions must lie in 1..{MAX_DIMENSION}, got {list(shape)}")
        size = prod(shape) * NUMPY_DTYPES[dtype].itemsize
        if size > MAX_TENSOR_BYTES:
            raise self.error(
                key, f"{what} must have at most {MAX_TENSOR_BYTES} bytes, got {size} for shape {list(shape)}"
            )

    def check_weights(self, layers: list[Layer]) -> None:
        total = sum(map(_weights_bytes, layers))
        if total > MAX_WEIGHTS_BYTES:
            limit = f"{MAX_WEIGHTS_BYTES} bytes, the code region of a Cortex-M"
            raise self.error(("layers",), f"expected weights of at most {limit}, got {total} in all layers together")

    def read_arrays(self, file: str, layers: list[Layer]) -> tuple[Layer, ...]:
        """Layers with weights and biases from the npz `file`."""
        try:
            if not file.strip() or "\0" in file:
                raise WeightsError("expected the name of an npz file")
            return read_weights(self.path.parent / file, layers)
        except WeightsError as problem:
            raise self.error(("weights",), f"{file}: {problem}") from None

    def layer(self, key: yaml_file.Key, spec: Any, dtype: str, shape: tuple[int, ...]) -> Layer:
        """Resolve one layer on an input of `shape`."""
        row = MODEL_OPS[spec.op]
        fields: dict[str, Any] = {"name": spec.name, "op": spec.op, "dtype": dtype, "input_shape": shape}
        if row.is_weighted:
            fields |= {name: getattr(spec, name) for name in ("bias_shift", "out_shift", "activation")}
            fields["weights_dtype"] = self.weights_dtype(key, row, spec.weights_dtype, dtype)
            fields["variant"] = dict(spec.variant or {})
        try:
            fields |= row.infer(shape, {name: getattr(spec, name) for name in row.attributes})
        except GeometryError as problem:
            name = next((name for name in problem.keys if (*key, name) in self.document.lines), problem.keys[-1])
            raise self.error((*key, name), str(problem)) from None
        layer = Layer(**fields)
        self.check_tensor(key, layer.output_shape, dtype, "output")
        if (size_bytes := _weights_bytes(layer)) > MAX_TENSOR_BYTES:
            raise self.error(key, f"weights must have at most {MAX_TENSOR_BYTES} bytes, got {size_bytes}")
        return layer

    def weights_dtype(self, key: yaml_file.Key, row: Op, declared: str | None, dtype: str) -> str:
        legal = row.weights_types(dtype)
        if declared is None or declared in legal:
            return declared or dtype
        able = [op.model_name for op in MODEL_OPS.values() if declared in op.weights_types(dtype)]
        kernel = f"no kernel of {row.model_name}, only of {', '.join(able)}" if able else "no kernel"
        raise self.error(
            (*key, "weights_dtype"),
            f"{declared} weights with {dtype} activations have {kernel}; expected {' or '.join(legal)}, got {declared}",
        )


def _weights_bytes(layer: Layer) -> int:
    return prod(layer.weights_shape) * NUMPY_DTYPES[layer.weights_dtype].itemsize if layer.weights_dtype else 0


def _digest(model: Model) -> str:
    """SHA-256 over the resolved content: not over the text, so that a comment changes nothing."""
    content: list[object] = [model.name, model.dtype, model.input_shape, model.target, model.budget]
    # Layers once had a field `pool`, empty here: digests of plans that were written then stay right.
    layers = ({k: v for k, v in vars(layer).items() if k not in ("weights", "bias")} for layer in model.layers)
    content += [fields | {"pool": None} for fields in layers]
    digest = hashlib.sha256(json.dumps(content, sort_keys=True, default=dict).encode())
    for layer in model.layers:
        for array in (layer.weights, layer.bias):
            if array is not None:
                digest.update(array.astype(array.dtype.newbyteorder("<"), copy=False).data)
    return digest.hexdigest()
