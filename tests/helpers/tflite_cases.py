# SPDX-License-Identifier: Apache-2.0
"""Small `.tflite` files and what the oracle says that they compute, from the numbers of the file.

A `Case` is a file and a function from its inputs to its outputs; nothing of it comes from the importer.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.int8_oracle import Arithmetic, activation_range
from helpers.tflite_files import G, O, T, build
from tuning import ModelError, load_model

Values = Mapping[str, np.ndarray]
Expected = Callable[[Values, Arithmetic], Mapping[str, np.ndarray] | np.ndarray]
TYPES = {"INT8": np.int8, "UINT8": np.uint8, "INT16": np.int16}
EVERY = np.arange(-128, 128, dtype=np.int8).reshape(1, 256)


@dataclass(frozen=True, eq=False)
class Case:
    """A file of one network, and what it gives.

    `expect` gets the values of the inputs by name and the arithmetic, and gives those of the outputs by name, or the
    only one.
    """

    tensors: Sequence[T]
    ops: Sequence[O]
    inputs: Sequence[str]
    outputs: Sequence[str]
    expect: Expected
    subgraphs: Sequence[G] = ()
    arithmetics: tuple[Arithmetic, ...] = ("tflm", "litert")
    values: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Inputs that are not random."""
    nodes: tuple[str, ...] | None = None
    """The operations of the graph's nodes, where they are worth a word."""
    held: Mapping[str, np.ndarray] = field(default_factory=dict)
    """What variables hold before the first run; `expect` is given them, and gives them anew."""

    def write(self, path: Path) -> Path:
        path.write_bytes(self.content())
        return path

    def content(self) -> bytes:
        return build(self.tensors, self.ops, self.inputs, self.outputs, subgraphs=self.subgraphs)

    def tensor(self, name: str) -> T:
        return next(tensor for tensor in self.tensors if tensor.name == name)

    def draw(self, seed: int) -> dict[str, np.ndarray]:
        """Inputs by name: of the whole range, or all at its ends."""
        rng = np.random.default_rng(seed)
        made = dict(self.values)
        for name in dict.fromkeys(self.inputs):
            tensor = self.tensor(name)
            if name in made:
                continue
            dtype = TYPES.get(str(tensor.dtype or "INT8"), np.int8)  # what is float is given as integers
            low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
            shape = tuple(tensor.shape or ())
            if seed % 3 == 2:
                made[name] = rng.choice(np.array([low, high], dtype), shape)
            else:
                made[name] = rng.integers(low, high, shape, dtype, endpoint=True)
        return made

    def start(self, arithmetic: Arithmetic) -> Callable[[Values], list[np.ndarray]]:
        """What the network gives, run after run."""
        held = dict(self.held)

        def run(values: Values) -> list[np.ndarray]:
            made = self.expect({**values, **held}, arithmetic)
            if isinstance(made, np.ndarray):
                return [made]
            held.update({name: made[name] for name in held})
            return [made[name] for name in self.outputs]

        return run


def rng_of(name: str) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(name.encode()))


def q(name: str, shape: Sequence[int] | None = None, dtype: str = "INT8", **fields: Any) -> T:
    """A tensor with a scale and zero point that follow from its name; zero points of int16 are 0."""
    rng = rng_of(name)
    scale, zero_point = float(np.float32(rng.uniform(0.02, 0.09))), int(rng.integers(-30, 30))
    fields.setdefault("scale", scale)
    fields.setdefault("zero_point", 0 if dtype == "INT16" else zero_point + 128 if dtype == "UINT8" else zero_point)
    return T(name, shape, dtype, **fields)


def ints(name: str, *values: int, dtype: Any = np.int32, shape: tuple[int, ...] | None = None) -> T:
    """A constant of whole numbers."""
    return T(name, data=np.array(values, dtype).reshape(shape if shape is not None else (len(values),)))


def scale(tensor: T) -> float:
    return float(np.float32(tensor.scale))


def shaped(tensor: T, shape: Sequence[int]) -> T:
    return replace(tensor, shape=tuple(shape))


def between(a: T, out: T) -> dict[str, Any]:
    """Scales and zero points of an operator with one input, as the oracle's functions take them."""
    return {
        "input_scale": scale(a), "input_zero_point": int(a.zero_point),
        "output_scale": scale(out), "output_zero_point": int(out.zero_point),
    }  # fmt: skip


def among(a: T, b: T, out: T, activation: str = "NONE") -> dict[str, Any]:
    """Those of an operator with two."""
    return {
        "input1_scale": scale(a), "input1_zero_point": int(a.zero_point),
        "input2_scale": scale(b), "input2_zero_point": int(b.zero_point),
        "output_scale": scale(out), "output_zero_point": int(out.zero_point), **limited(out, activation),
    }  # fmt: skip


def limited(out: T, activation: str) -> dict[str, int]:
    """The clamps of a fused activation."""
    low, high = activation_range(activation, scale(out), int(out.zero_point), TYPES[str(out.dtype or "INT8")])
    return {"activation_min": low, "activation_max": high}


def network(
    tensors: list[T], ops: list[O], inputs: tuple[str, ...] = ("x",), outputs: tuple[str, ...] = ("y",)
) -> Case:
    """A file of which nobody asks what it computes."""
    return Case(tensors, ops, inputs, outputs, lambda values, _: values)


def refusal_of(path: Path, case: Case) -> str:
    """What `load_model` says, without the path, of a file that it refuses."""
    case.write(path)
    with pytest.raises(ModelError) as raised:
        load_model(path, arithmetic=case.arithmetics[0])
    text = str(raised.value)
    assert raised.value.exit_status == 2
    assert text.startswith(f"{path}: ")
    assert text.isprintable()
    return text.removeprefix(f"{path}: ")
