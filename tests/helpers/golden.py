# SPDX-License-Identifier: Apache-2.0
"""Reference outputs of Arm's CMSIS-NN 5.4.0 kernels: two file forms, one reader, one way to make a call from a case."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

COMMITTED = Path(__file__).parent.parent / "kernels" / "golden"
GUARD = 5
"""Elements behind each output that a kernel must leave alone."""


@dataclass(frozen=True)
class Case:
    """One recorded call; `out_c` is the result of the portable C code where it differs from the SIMD code."""

    function: str
    index: int
    arguments: tuple[Mapping[str, str], ...] = field(repr=False)
    scalars: Mapping[str, int] = field(repr=False)
    arrays: Mapping[str, NDArray[Any]] = field(repr=False)
    tag: str
    status: int

    def __str__(self) -> str:
        return f"{self.function}-{self.index}-{self.tag}"

    def expected(self, profile: str) -> NDArray[Any]:
        if profile == "scalar" and "out_c" in self.arrays:
            return self.arrays["out_c"]
        return self.arrays["out"]

    def make_arguments(self, poison: int) -> dict[str, Any]:
        """Arguments in C order: copies of the inputs, poisoned outputs with a guard behind them, no scratch."""
        made: dict[str, Any] = {}
        for argument in self.arguments:
            name, role = argument["name"], argument["role"]
            if role == "scalar":
                made[name] = self.scalars[name]
            elif role == "scratch":
                made[name] = None
            elif role == "output":
                size = prod(self.scalars[axis] for axis in re.findall(r"\[(\w+)\]", argument["layout"]))
                made[name] = np.full(size + GUARD, poison, argument["dtype"])
            else:
                made[name] = self.arrays.get(f"{name}_interleaved", self.arrays[name]).copy()
        return made

    def check(self, function: Callable[..., int | None], profile: str, poison: int) -> None:
        """Call `function` and compare status, result, guard and inputs with the record."""
        arguments = self.make_arguments(poison)
        before = self.make_arguments(poison)
        status = function(*arguments.values(), profile=profile)
        assert (status or 0) == self.status
        roles = {argument["name"]: argument["role"] for argument in self.arguments}
        result = next((n for n, role in roles.items() if role == "output"), "data")
        expected = self.expected(profile)
        np.testing.assert_array_equal(arguments[result][: expected.size], expected, strict=True)
        np.testing.assert_array_equal(arguments[result][expected.size :], before[result][expected.size :], strict=True)
        for name, role in roles.items():
            if role == "input" or (role == "in-out" and name != result and profile == "scalar"):
                np.testing.assert_array_equal(arguments[name], before[name], strict=True)


def load(path: Path) -> Iterator[Case]:
    """Read a file in either form.

    The long form has one member per scalar and array, ``<case>/<name>``. The committed form has three members: the
    arrays of all cases behind each other, by type, and a JSON text that says where each begins and ends.
    """
    with np.load(path, allow_pickle=False) as members:
        meta = json.loads(str(members["meta"]))
        if "cases" in meta:
            pools = {name: members[name] for name in ("int8", "int16")}
            for i, case in enumerate(meta["cases"]):
                arrays = {name: pools[dtype][start:stop] for name, (dtype, start, stop) in case["arrays"].items()}
                yield Case(
                    meta["function"], i, tuple(meta["arguments"]), case["scalars"], arrays, case["tag"], case["status"]
                )
            return
        for i in range(meta["n_cases"]):
            case = {key.split("/", 1)[1]: members[key] for key in members.files if key.startswith(f"{i}/")}
            tag, status = str(case.pop("tag")), int(case.pop("status"))
            scalars = {name: int(value) for name, value in case.items() if value.ndim == 0}
            arrays = {name: value for name, value in case.items() if value.ndim}
            yield Case(meta["function"], i, tuple(meta["arguments"]), scalars, arrays, tag, status)


def save(path: Path, function: str, arguments: tuple[Mapping[str, str], ...], cases: list[Case]) -> None:
    """Write the committed form."""
    pools: dict[str, list[NDArray[Any]]] = {"int8": [], "int16": []}
    ends = {"int8": 0, "int16": 0}
    rows = []
    for case in cases:
        places = {}
        for name, array in case.arrays.items():
            dtype = array.dtype.name
            places[name] = (dtype, ends[dtype], ends[dtype] + array.size)
            ends[dtype] += array.size
            pools[dtype].append(array)
        rows.append({"tag": case.tag, "status": case.status, "scalars": dict(case.scalars), "arrays": places})
    meta = {
        "function": function,
        "source": "CMSIS-NN 5.4.0, compiled and run",
        "arguments": list(arguments),
        "cases": rows,
    }
    joined = {name: np.concatenate([np.empty(0, name), *arrays]) for name, arrays in pools.items()}
    np.savez_compressed(path, meta=np.array(json.dumps(meta, separators=(",", ":"))), **joined)
