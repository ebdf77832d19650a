# SPDX-License-Identifier: Apache-2.0
"""Any file that a network comes in -> a checked `Model`: the reader is chosen by what the file is."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from .base.errors import ModelError
from .base.names import model_name_problem
from .model import Model, find_model, read_document, read_model

if TYPE_CHECKING:
    from .base.options import Budget
    from .base.yaml_file import Document
    from .importers.tflite.file import FileModel
    from .importers.tflite.reader import Operation

TFLITE, ONNX = ".tflite", ".onnx"
FOREIGN = {
    ".h5": "a Keras file; convert it to an int8 .tflite file",
    ".keras": "a Keras file; convert it to an int8 .tflite file",
    ".pb": "a TensorFlow file; convert it to an int8 .tflite file",
    ".pt": "a PyTorch file; convert it to an int8 .tflite file with litert-torch",
    ".pth": "a PyTorch file; convert it to an int8 .tflite file with litert-torch",
}
"""Other files that people try, and what to do with them."""


def load_model(
    source: str | os.PathLike[str],
    *,
    name: str | None = None,
    arithmetic: str | None = None,
    rewrites: bool = True,
) -> Model:
    """Read and check a model file.

    Parameters
    ----------
    source : path or str
        A YAML file, a quantised ``.tflite`` or ``.onnx`` file, or the name of a shipped model (``"cifar10"``). Of an
        ONNX file, images are channels last at the border, ``(1, h, w, c)``, as kernels take them; the ports of the
        model have the shapes.
    name : str, optional
        What the network is called in C; by default what a YAML file says, else what the file is called.
    arithmetic : {"tflm", "litert"}, optional
        Of a network with zero points: whose bytes it gives, those of TensorFlow Lite Micro on a device (the default) or
        of LiteRT's reference kernels.
    rewrites : bool
        Of such a network: whether the graph is rewritten where that changes no byte (:mod:`tuning.model.rewrites`).

    Returns
    -------
    Model

    Raises
    ------
    ModelError
        Where in the file, what was expected, what was got and a suggestion. What a ``.tflite`` or ``.onnx`` file holds
        that is not taken is named all at once.

    Examples
    --------
    >>> import tuning
    >>> tuning.load_model("cifar10")
    <Model cifar10: 8 layers, 12,298,240 MAC, q7 (32, 32, 3) -> (10,)>
    """
    path = find_model(source)
    if _is_tflite(path):
        from .importers.tflite.file import read

        called = _called(path, name)
        return operator_model(read(path), called, arithmetic or "tflm", rewrites)
    if path.is_dir():
        raise ModelError(f"{path}: expected a YAML, .tflite or .onnx file, got a directory")
    if path.suffix.lower() == ONNX:
        return _onnx_model(path, name, arithmetic or "tflm", rewrites)
    if path.suffix.lower() in FOREIGN:
        raise ModelError(f"{path}: expected a YAML, .tflite or .onnx file, got {FOREIGN[path.suffix.lower()]}")
    document = read_document(path, name)
    from .model.int8_schema import is_int8

    if is_int8(document.data):
        return _yaml_graph_model(document, path, arithmetic, rewrites)
    if arithmetic is not None:
        expected = "expected a network with zero points"
        raise ModelError(f"{path}: arithmetic: {expected}, got powers of two, which have one arithmetic")
    return read_model(document, path)


def _onnx_model(path: Path, name: str | None, arithmetic: str, rewrites: bool) -> Model:
    from .importers.onnx.quantised.reader import read
    from .importers.tflite.writer import write

    called = _called(path, name)
    found = read(path)
    file = replace(found.file, content=write(found.file))
    return operator_model(
        file, called, arithmetic, rewrites, told=found.refusal, channels_last=found.channels_last
    )  # fmt: skip


def _yaml_graph_model(document: Document, path: Path, arithmetic: str | None, rewrites: bool) -> Model:
    from .importers.tflite.writer import write
    from .importers.yaml.reader import read_yaml_graph

    found = read_yaml_graph(document, path)
    spec = found.spec
    own = arithmetic or spec.arithmetic or "tflm"
    budget: Budget = {"sram": None, "flash": None}
    if spec.budget:
        budget = {"sram": spec.budget.sram, "flash": spec.budget.flash}
    file = replace(found.file, content=write(found.file))
    made = operator_model(file, spec.name, own, rewrites, told=found.refusal, target=spec.target, budget=budget)
    return replace(made, float_path=path.parent / spec.float_) if spec.float_ else made


def operations(source: str | os.PathLike[str], arithmetic: str = "tflm") -> tuple[Operation, ...]:
    """Every operator of a network with zero points, with the reason where it is not taken; a `ModelError` where it is
    another model.
    """
    from .importers.tflite import reader as tflite

    path = find_model(source)
    if _is_tflite(path):
        return tflite.operations(path, arithmetic)
    if path.suffix.lower() == ONNX:
        from .importers.onnx.quantised import reader as onnx

        return onnx.operations(path, arithmetic)
    if path.is_file() and path.suffix.lower() not in FOREIGN:
        from .importers.yaml.reader import read_yaml_graph
        from .model.int8_schema import is_int8

        if is_int8((document := read_document(path)).data):
            return tflite.operations_of(read_yaml_graph(document, path).file, arithmetic)
    got = FOREIGN.get(path.suffix.lower(), "a model of powers of two")
    raise ModelError(f"{path}: --operations: expected a network with zero points, got {got}")


def _is_tflite(path: Path) -> bool:
    """By its name, or by its first bytes under another one."""
    if path.suffix.lower() == TFLITE:
        return True
    from .importers.tflite.schema import IDENTIFIER

    try:
        if not path.is_file():
            return False
        with path.open("rb") as stream:
            return stream.read(8)[4:] == IDENTIFIER
    except OSError:
        return False


def _called(path: Path, name: str | None) -> str:
    """What the network is called in C."""
    called = own_name(path) if name is None else name
    if problem := model_name_problem(called):
        raise ModelError(f"name: {problem}" if name is not None else f"{path}: {problem}; give it a --name")
    return called


def operator_model(
    file: FileModel,
    name: str,
    arithmetic: str,
    rewrites: bool,
    *,
    told: Callable[[Sequence[Operation]], str] | None = None,
    target: str | None = None,
    budget: Budget | None = None,
    channels_last: frozenset[str] = frozenset(),
) -> Model:
    """A network that is written down in operators of `.tflite` files."""
    from .importers.tflite.reader import import_operators
    from .model import graph_model
    from .model.rewrites import rewritten

    found = import_operators(file, arithmetic, told)
    graph, done = rewritten(found.graph) if rewrites else (found.graph, ())
    inputs, outputs = (
        tuple(replace(port, is_channels_last=port.name in channels_last) for port in side)
        for side in (found.inputs, found.outputs)
    )
    return graph_model(
        name, graph, file.path, ports=(inputs, outputs), arithmetic=arithmetic, rewrites=done,
        source=file.content or None, target=target, budget=budget,
    )  # fmt: skip


def own_name(path: Path) -> str:
    """What a network is called after its file.

    Examples
    --------
    >>> own_name(Path("models/my-net.v2.tflite"))
    'my_net_v2'
    """
    text = re.sub(r"_+", "_", re.sub(r"[^A-Za-z0-9]+", "_", path.stem)).strip("_")[:63]
    if not text or text[0].isdigit():
        text = f"n{text}"
    return f"{text}_net"[:63] if model_name_problem(text) else text
