# SPDX-License-Identifier: Apache-2.0
"""Model files with zero points: a graph of layers in YAML as operators of `.tflite` files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...base.errors import ModelError
from ...base.names import layer_name_problem, model_name_problem, name_problem
from ...base.yaml_file import Document, Key, suggest
from ...model.schema_errors import check_int8_file
from ...model.weights import WeightsError, read_arrays
from ..tflite.file import FileModel
from ..tflite.reader import Operation
from .arrays import Drawn, Expected, Given
from .net import SCALE_MISSING, Net, Value, Wrong
from .operations import MANY, OPERATIONS, TWO, usual

_MOST_PROBLEMS = 8
"""That one message tells."""


@dataclass(frozen=True, eq=False)
class YamlGraph:
    """A model file as operators.

    Attributes
    ----------
    file : FileModel
    spec : Int8File
        What it says besides.
    document : Document
    owners : tuple of int
        Operator -> its layer's place in the file.
    """

    file: FileModel
    spec: Any
    document: Document
    owners: tuple[int, ...]

    def refusal(self, refused: Sequence[Operation]) -> str:
        """One message for layers that cannot be taken."""
        problems = {self.owners[operation.index]: operation.problem or "" for operation in reversed(refused)}
        (first, text), *others = sorted(problems.items())
        parts = [self.document.message(("layers", first), text)]
        parts += [f"layers[{at}]: {text}" for at, text in others[: _MOST_PROBLEMS - 1]]
        if len(others) >= _MOST_PROBLEMS:
            parts.append(f"and {len(others) - _MOST_PROBLEMS + 1} more")
        return "; ".join(parts)


def read_yaml_graph(document: Document, path: Path) -> YamlGraph:
    """The operators that a model file with zero points stands for.

    Parameters
    ----------
    document : Document
        Its text, parsed.
    path : pathlib.Path
        Where it lies: its weights are beside it.

    Raises
    ------
    ModelError
        Line and key, what was expected, what was got.
    """
    return _Reader(document, path).graph()


class _Reader:
    def __init__(self, document: Document, path: Path) -> None:
        self.document, self.path = document, path
        self.spec = check_int8_file(document)

    def error(self, key: Key, text: str) -> ModelError:
        return ModelError(self.document.message(key, text))

    def graph(self) -> YamlGraph:
        spec = self.spec
        if problem := model_name_problem(spec.name):
            raise self.error(("name",), problem)
        self.check_names()
        expected = Expected(spec.weights is None)
        self.build(expected)
        arrays: Given | Drawn = Drawn(spec.name, expected.macs)
        if spec.weights is not None:
            arrays = Given(self.read(spec.weights, expected))
        file, owners = self.build(arrays)
        return YamlGraph(file, spec, self.document, owners)

    # ------------------------------------------------------------ names

    def given(self) -> Iterator[tuple[Key, str, Any]]:
        """Inputs and constants: where they are, their name, their numbers."""
        spec = self.spec
        if (spec.input is None) == (spec.inputs is None):
            got = "both" if spec.input else "neither"
            raise self.error((), f"expected input, or inputs by name, got {got}")
        if spec.input is not None:
            yield ("input",), "input", spec.input
        for name, numbers in (spec.inputs or {}).items():
            yield ("inputs", name), name, numbers
        for name, numbers in spec.constants.items():
            yield ("constants", name), name, numbers

    def check_names(self) -> None:
        seen: dict[str, str] = {}
        for key, name, _ in self.given():
            if problem := name_problem(name):
                raise self.error(key, problem)
            if name.lower() in seen:
                raise self.error(key, f"two tensors are called {name!r} (case is ignored); choose another name")
            seen[name.lower()] = name
        layers: dict[str, str] = {}
        for index, layer in enumerate(self.spec.layers):
            if problem := layer_name_problem(layer.name, layers):
                raise self.error(("layers", index, "name"), problem)
            if layer.name.lower() in seen:
                expected = f"{layer.name!r} is the name of an input or a constant; choose another name"
                raise self.error(("layers", index, "name"), expected)
            layers[layer.name.lower()] = layer.name
        self.places = {layer.name: index for index, layer in enumerate(self.spec.layers)}

    # ------------------------------------------------------------ arrays

    def read(self, file: str, expected: Expected) -> dict[str, np.ndarray]:
        try:
            if not file.strip() or "\0" in file:
                raise WeightsError("expected the name of an npz file")
            arrays = read_arrays(self.path.parent / file, expected.arrays)
            for name in expected.required:
                if name not in arrays:
                    held = ", ".join(sorted(arrays)[:20]) or "nothing"
                    raise WeightsError(f"array {name!r} is missing; it holds: {held}")
            for name, array in arrays.items():
                if name.endswith("/weights_scale"):
                    bad = array.reshape(-1)[~(np.isfinite(array) & (array > 0)).reshape(-1)]
                    if bad.size:
                        raise WeightsError(f"{name}: expected finite numbers above 0, got {bad[0]}")
        except WeightsError as problem:
            raise self.error(("weights",), f"{file}: {problem}") from None
        return arrays

    # ------------------------------------------------------------ operators

    def build(self, arrays: Expected | Given | Drawn) -> tuple[FileModel, tuple[int, ...]]:
        spec = self.spec
        net = Net(0 if spec.explicit_batch else 1, arrays)
        self.values: dict[str, list[Value]] = {}
        self.read_by: set[str] = set()
        inputs = []
        for key, name, numbers in self.given():
            value = self.tensor(net, key, name, numbers)
            self.values[name] = [value]
            if key[0] != "constants":
                inputs.append(value)
                if isinstance(arrays, Drawn):
                    arrays.give(value)
        owners: list[int] = []
        for index, layer in enumerate(spec.layers):
            key = ("layers", index)
            operands = self.operands(net, key, layer)
            first, net.layer = len(net.ops), layer
            try:
                made = OPERATIONS[layer.op](net, layer, operands)
                if isinstance(arrays, Drawn):
                    arrays.follow(net, first, operands, made)
            except Wrong as problem:
                raise self.error((*key, *problem.key), str(problem)) from None
            self.values[layer.name] = made
            owners += [index] * (len(net.ops) - first)
        outputs = self.outputs()
        self.check_read(outputs)
        indices = [value.index for value in inputs]
        return net.made.file(self.path, indices, [value.index for value in outputs]), tuple(owners)

    def tensor(self, net: Net, key: Key, name: str, numbers: Any) -> Value:
        """An input or a constant."""
        is_constant = key[0] == "constants"
        scale = numbers.scale
        try:
            if scale is None:
                if not net.arrays.is_drawn:
                    raise Wrong("scale", SCALE_MISSING.replace("output", "tensor"))
                scale = usual(numbers.dtype, None)[0]
            zero_point = net.zero_point(numbers.zero_point, numbers.dtype)
            shape = tuple(numbers.shape)
            data = net.arrays.constant(name, shape, numbers.dtype) if is_constant else None
            own = shape if is_constant else (1,) * net.lead + shape
            return net.value(name, own, numbers.dtype, (scale, zero_point), data)
        except Wrong as problem:
            raise self.error((*key, *problem.key), str(problem)) from None

    def operands(self, net: Net, key: Key, layer: Any) -> list[Value]:
        """What a layer reads."""
        if layer.inputs is None:
            found = [self.before(key)]
        else:
            found = [self.named((*key, "inputs", at), name) for at, name in enumerate(layer.inputs)]
        if layer.op not in MANY:
            count = 2 if layer.op in TWO else 1
            if len(found) != count:
                got = f"{len(found)}" + ("" if layer.inputs else ", the layer before")
                raise self.error((*key, "inputs"), f"expected {count} name{'s' * (count > 1)}, got {got}")
            if layer.op not in TWO and net.tensors[found[0].index].data is not None:
                raise self.error((*key, "inputs"), "expected what is computed, got a constant")
        elif net.lead:
            found = [self.batched(net, value) for value in found]
        if all(net.tensors[value.index].data is not None for value in found):
            raise self.error((*key, "inputs"), "expected an input that is computed, got constants alone")
        return found

    def batched(self, net: Net, value: Value) -> Value:
        """A constant with a batch of 1, to stand beside tensors that have one."""
        tensor = net.tensors[value.index]
        if tensor.data is None:
            return value
        return net.value(tensor.name, (1, *value.shape), value.type, value.numbers, tensor.data[None])

    def before(self, key: Key) -> Value:
        index = int(key[1])
        if index:
            name = self.spec.layers[index - 1].name
        else:
            names = ["input"] if self.spec.inputs is None else list(self.spec.inputs)
            if len(names) > 1:
                raise self.error((*key, "inputs"), f"missing; expected some of {', '.join(names)}")
            name = names[0]
        if len(self.values[name]) > 1:
            expected = f"missing; expected one of {', '.join(_parts(name, self.values[name]))}"
            raise self.error((*key, "inputs"), expected)
        self.read_by.add(name)
        return self.values[name][0]

    def named(self, key: Key, reference: str) -> Value:
        name, dot, part = reference.partition(".")
        if name not in self.values:
            raise self.error(key, self.unknown(key, name))
        found = self.values[name]
        self.read_by.add(name)
        if not dot and len(found) == 1:
            return found[0]
        parts = _parts(name, found)
        if reference not in parts or len(found) == 1:
            known = ", ".join(parts[:20]) if len(found) > 1 else name
            raise self.error(key, f"expected one of {known}, got {reference!r}")
        return found[int(part)]

    def unknown(self, key: Key, name: str) -> str:
        if name in self.places:
            place = self.places[name]
            own = key[1] if key[0] == "layers" else -1
            what = "reads itself" if place == own else f"comes later, as layers[{place}]"
            return f"{name!r} {what}; a layer reads what stands before it"
        return f"no layer, input or constant is called {name!r}; {suggest(name, self.values)}"

    def outputs(self) -> list[Value]:
        if self.spec.outputs is None:
            name = self.spec.layers[-1].name
            self.read_by.add(name)
            return self.values[name]
        found = []
        for at, name in enumerate(self.spec.outputs):
            if name in self.spec.outputs[:at]:
                raise self.error(("outputs", at), f"{name!r} is named twice; keep one")
            value = self.named(("outputs", at), name)
            if name in self.spec.constants:
                raise self.error(("outputs", at), f"expected what is computed, got the constant {name!r}")
            found.append(value)
        return found

    def check_read(self, outputs: Sequence[Value]) -> None:
        for index, layer in enumerate(self.spec.layers):
            if layer.name not in self.read_by:
                expected = "no layer reads it, and it is no output: remove it, or name it in outputs"
                raise self.error(("layers", index, "name"), f"{layer.name!r}: {expected}")


def _parts(name: str, values: Sequence[Value]) -> list[str]:
    return [f"{name}.{part}" for part in range(len(values))]
