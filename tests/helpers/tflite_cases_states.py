# SPDX-License-Identifier: Apache-2.0
"""Random files that remember: variables of several handles and containers, read and assigned often, in any order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from helpers import int8_oracle as oracle
from helpers import int8_tables as tables
from helpers.tflite_cases import Arithmetic, Case, Values, among, between
from helpers.tflite_files import G, O, T

SHAPE = (1, 4)
ALIKE: Mapping[str, Any] = {"scale": 0.25, "zero_point": 3}
SUM = {"fused_activation_function": "NONE", "pot_scale_int16": False}
LIKE = T("like", SHAPE, **ALIKE)
CONTAINERS = ("", "", "a", "b")


def stateful(seed: int) -> Case:
    """A network of one to three variables; two of them may have one name, in containers of their own."""
    return _Writer(np.random.default_rng(seed)).case()


class _Writer:
    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        count = int(rng.integers(1, 4))
        names = [(str(rng.choice(CONTAINERS)), str(rng.choice(["v", f"v{place}"]))) for place in range(count)]
        self.names = list(dict.fromkeys(names))
        self.tensors, self.ops = [T("x", SHAPE, **ALIKE)], [O("CALL_ONCE", options={"init_subgraph_index": 1})]
        self.known = ["x"]
        self.handles: dict[int, str] = {}

    def case(self) -> Case:
        rng, variables = self.rng, range(len(self.names))
        first = {place: rng.integers(-128, 127, SHAPE, np.int8, endpoint=True) for place in variables}
        events = [*variables, *(int(place) for place in rng.choice(variables, 3))]
        rng.shuffle(events)
        assigned: set[int] = set()
        for place in events:
            # One that is assigned before it is read remembers nothing.
            if rng.random() < 0.1:
                self._assign(place)
                assigned.add(place)
            self._read(place)
            for _ in range(int(rng.integers(3))):
                self._compute()
            if rng.random() < 0.4:
                self._assign(place)
                assigned.add(place)
        for place in variables:
            if place not in assigned:
                self._assign(place)
        outputs = [self._compute(), *([self._compute()] if rng.random() < 0.4 else [])]
        once = G(
            [one for place in variables for one in (T(f"h{place}", (), "RESOURCE"), T(f"c{place}", data=first[place]))],
            [op for place in variables for op in (self._handle(place, f"h{place}"),
                                                  O("ASSIGN_VARIABLE", [f"h{place}", f"c{place}"]))],
            name="once",
        )  # fmt: skip
        held = {str(place): first[place] for place in variables}
        return Case(self.tensors, self.ops, ["x"], outputs, self._expect, [once], held=held)

    def _handle(self, place: int, name: str) -> O:
        container, shared = self.names[place]
        return O("VAR_HANDLE", [], [name], {"container": container, "shared_name": shared})

    def _handle_of(self, place: int) -> str:
        """The handle that there is, or another one."""
        if place not in self.handles or self.rng.random() < 0.4:
            self.handles[place] = name = f"h{len(self.tensors)}_{place}"
            self.tensors.append(T(name, (), "RESOURCE"))
            self.ops.append(self._handle(place, name))
        return self.handles[place]

    def _new(self) -> str:
        name = f"t{len(self.tensors)}"
        self.tensors.append(T(name, SHAPE, **ALIKE))
        self.known.append(name)
        return name

    def _read(self, place: int) -> None:
        handle = self._handle_of(place)
        self.ops.append(O("READ_VARIABLE", [handle], [self._new()]))

    def _assign(self, place: int) -> None:
        handle = self._handle_of(place)
        self.ops.append(O("ASSIGN_VARIABLE", [handle, str(self.rng.choice(self.known))]))

    def _compute(self) -> str:
        sources = [str(self.rng.choice(self.known)) for _ in range(2)]
        code = str(self.rng.choice(["ADD", "SUB", "RELU"]))
        given = sources[:1] if code == "RELU" else sources
        self.ops.append(O(code, given, [self._new()], {} if code == "RELU" else SUM))
        return self.known[-1]

    def _expect(self, values: Values, arithmetic: Arithmetic) -> dict[str, np.ndarray]:
        """Operators in their order; a read is a copy."""
        known = dict(values)
        place_of = {handle: handle.rpartition("_")[2] for handle in known | {t.name: None for t in self.tensors}}
        held = {place: known[place] for place in map(str, range(len(self.names)))}
        for op in self.ops:
            first, *others = [str(name) for name in op.inputs] or [""]
            made = op.outputs[0] if op.outputs else None
            if op.code == "READ_VARIABLE":
                known[str(made)] = held[place_of[first]]
            elif op.code == "ASSIGN_VARIABLE":
                held[place_of[first]] = known[others[0]]
            elif op.code == "RELU":
                known[str(made)] = tables.relu(known[first], arithmetic=arithmetic, **between(LIKE, LIKE))
            elif op.code in ("ADD", "SUB"):
                run = oracle.add if op.code == "ADD" else oracle.sub
                known[str(made)] = run(known[first], known[others[0]], **among(LIKE, LIKE, LIKE))
        return known | held
