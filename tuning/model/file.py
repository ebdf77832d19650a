# SPDX-License-Identifier: Apache-2.0
"""Models, and files of q7 and q15: YAML -> a sequential network of :class:`cmsisnn_x.layers.Layer`, shapes inferred."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cmsisnn_x.described import described
from cmsisnn_x.errors import GeometryError
from cmsisnn_x.graph import Graph
from cmsisnn_x.layers import NUMPY_DTYPES, Layer
from cmsisnn_x.op import MODEL_OPS, Op

from ..base import resources, yaml_file
from ..base.errors import ModelError
from ..base.names import layer_name_problem, model_name_problem
from ..base.options import Budget
from .ports import Port
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
    """A network, checked: what :func:`tuning.load_model` gives.

    Attributes
    ----------
    name : str
        A C identifier.
    dtype : {"q7", "q15", "int8", "uint8", "int16"}
        Of the activations; with zero points, of the first input.
    input_shape : tuple of int
        ``(h, w, c)`` or ``(n,)``, of the first input.
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
    wiring : Graph or None
        The graph of the layers, where the file names its tensors; a YAML file's layers are a chain.
    arithmetic : str or None
        With zero points: whose kernels define the bytes, ``"tflm"`` or ``"litert"``.
    rewrites : tuple of str
        What was rewritten between the file and these layers, without changing a byte of the outputs.
    ports : (tuple of Port, tuple of Port) or None
        Inputs and outputs as the file describes them; a YAML file says no more than the graph.
    source : bytes or None
        The ``.tflite`` file, or the network as one.
    fractions : (tuple of (int or None), tuple of (int or None)) or None
        Of q7 and q15: fraction bits of inputs and outputs, as far as the file says them.
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
    wiring: Graph | None = None
    arithmetic: str | None = None
    rewrites: tuple[str, ...] = ()
    ports: tuple[tuple[Port, ...], tuple[Port, ...]] | None = None
    source: bytes | None = None
    fractions: tuple[tuple[int | None, ...], tuple[int | None, ...]] | None = None

    @property
    def output_shape(self) -> tuple[int, ...]:
        """``(h, w, c)`` or ``(n,)``, of the first output."""
        return self.outputs[0].shape

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one inference."""
        return sum(layer.macs for layer in self.layers)

    @cached_property
    def graph(self) -> Graph:
        """The layers with the tensors between them."""
        return self.wiring or Graph.chain(self.layers)

    @property
    def inputs(self) -> tuple[Port, ...]:
        """What the network takes: name, shape, dtype, and what its integers stand for; in the file's order."""
        if self.ports:
            return self.ports[0]
        return _ports(self.graph, self.graph.inputs, self.fractions and self.fractions[0])

    @property
    def outputs(self) -> tuple[Port, ...]:
        """What it gives."""
        if self.ports:
            return self.ports[1]
        return _ports(self.graph, self.graph.outputs, self.fractions and self.fractions[1])

    @property
    def source_names(self) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
        """What the file calls inputs and outputs; None where it says no more than the graph."""
        if self.ports is None:
            return None
        inputs, outputs = (tuple(port.name for port in side) for side in self.ports)
        return inputs, outputs

    @property
    def channels_last(self) -> tuple[tuple[bool, ...], tuple[bool, ...]] | None:
        """Which inputs and outputs have their channels last where the file has them first."""
        if self.ports is None:
            return None
        inputs, outputs = (tuple(port.is_channels_last for port in side) for side in self.ports)
        return inputs, outputs

    def network(self) -> cmsisnn_x.Network:
        """The same layers, with the same weights, on the host.

        Returns
        -------
        cmsisnn_x.Network
            ``network().run(x)`` gives what the firmware gives, bit for bit.
        """
        from cmsisnn_x import Network

        return Network(self.layers) if self.wiring is None else Network(self.wiring)

    def __str__(self) -> str:
        return f"{self.name}: {len(self.layers)} layers, {self.macs:,} MAC"

    def __repr__(self) -> str:
        return f"<Model {self}, {self.dtype} {self.input_shape} -> {self.output_shape}>"


def read_document(path: Path, name: str | None = None) -> yaml_file.Document:
    """What a YAML file says; `name`, if given, is its name instead of the file's own."""
    document = yaml_file.read(path, ModelError)
    if name is not None and isinstance(document.data, dict):
        document = replace(document, data={**document.data, "name": name})
    return document


def read_model(document: yaml_file.Document, path: Path) -> Model:
    """The network of q7 or q15 that a YAML file describes."""
    return _Builder(document, path).model()


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
    if path.suffix in (".yaml", ".yml", ".tflite", ".onnx") or len(path.parts) > 1:
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
        from .schema_errors import check_model_file

        spec = check_model_file(self.document)
        if problem := model_name_problem(spec.name):
            raise self.error(("name",), problem)
        dtype, shape = spec.input.dtype, tuple(spec.input.shape)
        self.check_tensor(("input", "shape"), shape, dtype, "input")
        seen: dict[str, str] = {}
        layers: list[Layer] = []
        reads: list[int] = []
        for index, layer_spec in enumerate(spec.layers):
            key = ("layers", index)
            if problem := layer_name_problem(layer_spec.name, seen):
                raise self.error((*key, "name"), problem)
            seen[layer_spec.name.lower()] = layer_spec.name
            reads.append(self.source(key, layer_spec.inputs, layers))
            before = layers[reads[-1]].output_shape if reads[-1] >= 0 else shape
            layers.append(self.layer(key, layer_spec, dtype, before))
        wiring = self.wiring(spec, layers, reads)
        self.check_weights(layers)
        if spec.weights is None:
            with_arrays = draw_arrays(spec.name, layers, None if wiring is None else reads)
        else:
            with_arrays = self.read_arrays(spec.weights, layers)
        if wiring is not None:
            wiring = _wired(wiring, with_arrays)
        budget: Budget = {"sram": None, "flash": None}
        if spec.budget:
            budget = {"sram": spec.budget.sram, "flash": spec.budget.flash}
        in_float = self.path.parent / spec.float_ if spec.float_ else None
        result = Model(
            spec.name, dtype, shape, with_arrays, budget, spec.target, "", self.path, in_float, wiring,
            fractions=self.fractions(spec, layers),
        )  # fmt: skip
        return replace(result, digest=_digest(result))

    def fractions(
        self, spec: Any, layers: list[Layer]
    ) -> tuple[tuple[int | None, ...], tuple[int | None, ...]] | None:
        """What the file says of inputs and outputs; None if nothing."""
        given = [one.fraction for one in spec.layers]
        outputs = [self.named(("outputs", at), name, layers) for at, name in enumerate(spec.outputs or [])] or [-1]
        found = (spec.input.fraction,), tuple(given[at] for at in outputs)
        return found if any(one is not None for side in found for one in side) else None

    def source(self, key: yaml_file.Key, names: list[str] | None, layers: list[Layer]) -> int:
        """Which layer one reads: the one before, or the one it names; -1 for the network's input."""
        if names is None:
            return len(layers) - 1
        return self.named((*key, "inputs", 0), names[0], layers)

    def named(self, key: yaml_file.Key, name: str, layers: list[Layer]) -> int:
        known = {layer.name: at for at, layer in enumerate(layers)}
        if name == "input":
            return known.get(name, -1)
        if name not in known:
            raise self.error(key, f"no layer before is called {name!r}; {yaml_file.suggest(name, ['input', *known])}")
        return known[name]

    def wiring(self, spec: Any, layers: list[Layer], reads: list[int]) -> Graph | None:
        """The graph of layers that are no chain; None of those that are."""
        last = len(layers) - 1
        given = enumerate(spec.outputs or [])
        outputs = [self.named(("outputs", at), name, layers) for at, name in given] or [last]
        for at, index in enumerate(outputs):
            if index < 0 or index in outputs[:at]:
                why = "is named twice; keep one" if index >= 0 else "is no layer's output"
                raise self.error(("outputs", at), f"{spec.outputs[at]!r} {why}")
        for index, layer in enumerate(layers):
            if index not in reads and index not in outputs:
                expected = "no layer reads it, and it is no output: remove it, or name it in outputs"
                raise self.error(("layers", index, "name"), f"{layer.name!r}: {expected}")
        if reads == list(range(-1, last)) and outputs == [last]:
            return None
        if spec.float_ is not None:
            raise self.error(("float",), "expected layers in sequence, each reading the one before, got a graph")
        chain = Graph.chain(layers)
        names = (*chain.inputs, *(node.outputs[0] for node in chain.nodes))
        first = replace(chain.tensors[names[0]], shape=tuple(spec.input.shape))
        tensors = {**chain.tensors, first.name: first}
        nodes = [replace(node, inputs=(names[at + 1],)) for node, at in zip(chain.nodes, reads, strict=True)]
        return Graph(tensors.values(), nodes, chain.inputs, [names[at + 1] for at in outputs])

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
        if cannot := row.problem(layer):
            raise self.error(key, cannot)
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


def _wired(graph: Graph, layers: Sequence[Layer]) -> Graph:
    """The same graph of the same layers with their arrays."""
    nodes = [replace(node, layer=layer) for node, layer in zip(graph.nodes, layers, strict=True)]
    made = Graph(graph.tensors.values(), nodes, graph.inputs, graph.outputs)
    made.verify()
    return made


def _weights_bytes(layer: Layer) -> int:
    return prod(layer.weights_shape) * NUMPY_DTYPES[layer.weights_dtype].itemsize if layer.weights_dtype else 0


def _digest(model: Model) -> str:
    """SHA-256 over the resolved content: not over the text, so that a comment changes nothing."""
    content: list[object] = [model.name, model.dtype, model.input_shape, model.target, model.budget]
    # Layers once had a field `pool`, empty here: digests of plans that were written then stay right.
    layers = (described(layer, ("weights", "bias", "table")) for layer in model.layers)
    content += [fields | {"pool": None} for fields in layers]
    if model.fractions is not None:
        content.append(model.fractions)
    graph = model.wiring
    if graph is not None:
        content += [
            graph.inputs,
            graph.outputs,
            model.arithmetic,
            [(node.inputs, node.outputs) for node in graph.nodes],
        ]
    digest = hashlib.sha256(json.dumps(content, sort_keys=True, default=dict).encode())
    arrays = [array for layer in model.layers for array in (layer.weights, layer.bias, layer.table)]
    arrays += [] if graph is None else [tensor.value for tensor in graph.tensors.values()]
    for array in arrays:
        if array is not None:
            digest.update(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).data)
    return digest.hexdigest()


def graph_model(
    name: str,
    graph: Graph,
    path: str | os.PathLike[str],
    *,
    arithmetic: str = "tflm",
    rewrites: tuple[str, ...] = (),
    target: str | None = None,
    ports: tuple[tuple[Port, ...], tuple[Port, ...]] | None = None,
    source: bytes | None = None,
    budget: Budget | None = None,
) -> Model:
    """A model of a graph, whose nodes are called as their layers: what an importer gives.

    Parameters
    ----------
    name : str
        A C identifier.
    graph : Graph
        Verified; layers in order of execution, constants included.
    path : path
        The file it was read from.
    arithmetic : {"tflm", "litert"}
    rewrites : tuple of str
        What was rewritten on the way.
    target : str, optional
    ports : (tuple of Port, tuple of Port), optional
        Inputs and outputs as the file describes them.
    source : bytes, optional
        The file's content.
    budget : dict, optional
        As the file declares it.
    """
    first = graph.tensors[graph.inputs[0]]
    nothing: Budget = {"sram": None, "flash": None}
    layers = tuple(node.layer for node in graph.nodes)
    made = Model(
        name, first.type.name, first.shape, layers, budget or nothing, target, "", Path(path), None, graph, arithmetic,
        rewrites, ports, source,
    )  # fmt: skip
    return replace(made, digest=_digest(made))


def _ports(graph: Graph, names: Sequence[str], fractions: Sequence[int | None] | None = None) -> tuple[Port, ...]:
    tensors = [graph.tensors[name] for name in names]
    scales = [t.scale for t in tensors] if fractions is None else [f if f is None else 2.0**-f for f in fractions]
    pairs = zip(tensors, scales, strict=True)
    return tuple(Port(t.name, t.name, t.shape, t.type.dtype, scale, t.zero_point) for t, scale in pairs)
