# SPDX-License-Identifier: Apache-2.0
"""Variants compiled and emulated, and remembered: what ``--score emulate`` and ``calibrate`` learn from."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import cmsisnn_x
from cmsisnn_x.described import described
from cmsisnn_x.layers import Layer
from cmsisnn_x.steps import Step

from ..emulate.errors import DeviceError
from ..emulate.toolchain import RUNTIME, Kind
from ..target import Target
from .record import key_of, result_problem
from .records import Records
from .sources import digest_of

INCLUDE = Path(cmsisnn_x.get_include())
BATCH = 12
"""Variants per executable where many are fitted together: enough to share linking and loading."""


PARAMETERS = ("weights", "bias", "table")
"""The constants of a layer."""
FAILURES = ("compile error", "fault", "timeout", "wrong output")
"""What can be wrong with a variant."""


@dataclass(frozen=True)
class Measurement:
    """What the emulator saw. `failure` is one of `FAILURES` where there is nothing to see, and `problem` says more;
    `passing` if the machine is to blame for it, not the variant: the next run tries again, and no record is kept.
    """

    cycles: int = 0
    instructions: int = 0
    code_bytes: int = 0
    stack_bytes: int = 0
    problem: str | None = None
    failure: str | None = None
    passing: bool = False

    @classmethod
    def failed(cls, problem: DeviceError) -> Measurement:
        """Nothing to see, by an error of compiler or emulator."""
        return cls(problem=str(problem).splitlines()[0], failure=problem.failure, passing=problem.passing)

    @classmethod
    def known(cls, contents: Mapping[str, Mapping[str, Any]]) -> dict[str, Measurement]:
        """Of what records give, by their keys, the measurements: what is none, as of a damaged file, is made anew."""
        return {key: cls(**content) for key, content in contents.items() if result_problem(content) is None}

    @property
    def is_final(self) -> bool:
        """Whether another try would give the same."""
        return not self.passing

    def to_dict(self) -> dict[str, Any]:
        """A final measurement as records keep it."""
        return {name: value for name, value in asdict(self).items() if name != "passing"}


def final_only(results: Mapping[str, Measurement]) -> dict[str, dict[str, Any]]:
    """What to record of `results`: all but those that the machine is to blame for."""
    return {key: result.to_dict() for key, result in results.items() if result.is_final}


class Bench:
    """Emulates variants of layers on one target with one compiler.

    Parameters
    ----------
    target : Target
    cflags : sequence of str
    compiler : {"gcc", "clang"}, optional
        Default: that of the core (`Core.compiler`) where it is installed, else the other.
    records : Records, optional
        Where measurements are kept.
    batch : int
        Variants per executable. Each is a translation unit of its own, so that they do not change each other's cycles.

    Raises
    ------
    MissingToolError
        No compiler, or no emulator: what to install.
    """

    def __init__(
        self,
        target: Target,
        cflags: Sequence[str],
        compiler: Kind | None = None,
        records: Records | None = None,
        batch: int = 1,
    ) -> None:
        from ..emulate import toolchain_of

        self.target, self.cflags, self.compiler, self.records = target, tuple(cflags), compiler, records
        self.batch = batch
        self.toolchain = toolchain_of(target.core, compiler)
        self.emulated = 0

    def measure(self, steps: Sequence[Step], aligned: tuple[bool, bool] = (True, True)) -> list[Measurement]:
        """One measurement per step, in order; each batch is kept as soon as it is done.

        `aligned` says whether the kernels may take input and output to start at word boundaries.
        """
        about = [self.about(step, aligned) for step in steps]
        keys = [key_of(item) for item in about]
        known = self.records.get(keys) if self.records is not None else {}
        found = Measurement.known(known)
        todo = list({key: step for key, step in zip(keys, steps, strict=True) if key not in found}.items())
        for at in range(0, len(todo), self.batch):
            part = todo[at : at + self.batch]
            results = self._emulate([step for _, step in part], aligned)
            fresh = {key: result for (key, _), result in zip(part, results, strict=True)}
            self.keep(fresh, dict(zip(keys, about, strict=True)))
            found |= fresh
        return [found[key] for key in keys]

    def measure_one(self, step: Step, aligned: tuple[bool, bool]) -> Measurement:
        """One measurement, whatever the records know."""
        return self._emulate([step], aligned)[0]

    def fingerprint(self, op: str) -> tuple[str, str, str]:
        """Compiler, kernels of `op` and tools: machines that agree on these agree on measurements."""
        return f"{self.toolchain.kind} {self.toolchain.version}", kernel_digest(op), tools_digest()

    def keep(self, results: Mapping[str, Measurement], about: Mapping[str, Mapping[str, Any]]) -> None:
        """Record results, those apart that the machine is to blame for."""
        final = final_only(results)
        if self.records is not None and final:
            self.records.put(final, about)

    def about(self, step: Step, aligned: tuple[bool, bool]) -> dict[str, Any]:
        """Everything that a measurement depends on, as JSON."""
        layer, variant = step.lead, step.variant
        shape = shape_of(layer)
        if step.pool is not None:
            shape["pool"] = shape_of(step.pool)
        content: dict[str, Any] = {
            "op": layer.python_op,
            "kernels": kernel_digest(step.header),
            "tools": tools_digest(),
            "layer": shape,
            "parameters": parameters_of(layer),
            "variant": asdict(variant) if variant else None,
            "aligned": aligned,
            **({"in_place": True} if step.in_place else {}),
            "core": self.target.core,
            "target": target_digest(self.target),
            "compiler": f"{self.toolchain.kind} {self.toolchain.version}",
            "cflags": self.cflags,
        }
        return json.loads(json.dumps(content, sort_keys=True, default=list))

    def key(self, step: Step, aligned: tuple[bool, bool]) -> str:
        """Digest of `about`."""
        return key_of(self.about(step, aligned))

    def _emulate(self, steps: list[Step], aligned: tuple[bool, bool]) -> list[Measurement]:
        """All in one executable; if that fails, one by one, so that a failure is pinned to its variant."""
        from .layers import evaluate_many

        try:
            seen = evaluate_many(
                steps,
                self.target,
                self.cflags,
                compiler=self.toolchain.kind,
                input_aligned=aligned[0],
                output_aligned=aligned[1],
            )
        except DeviceError as problem:
            if len(steps) > 1:
                return [self._emulate([step], aligned)[0] for step in steps]
            return [Measurement.failed(problem)]
        self.emulated += len(steps)
        expected: dict[tuple[Layer, ...], np.ndarray] = {}
        found = []
        for item in seen:
            layers = item.step.layers
            if layers not in expected:
                expected[layers] = _expected_output(item.step)
            if wrong := _difference(expected[layers], item.output):
                found.append(Measurement(problem=wrong, failure="wrong output"))
            else:
                found.append(Measurement(item.cycles, item.instructions, item.code_bytes, item.stack_bytes))
        return found


def shape_of(layer: Layer) -> dict[str, Any]:
    """A layer without its parameters and its pins."""
    return described(layer, (*PARAMETERS, "variant"))


def parameters_of(*layers: Layer) -> str:
    """Digest of the constants of layers."""
    digest = hashlib.sha256()
    for layer in layers:
        for name in PARAMETERS[:2] if layer.table is None else PARAMETERS:
            array = getattr(layer, name)
            digest.update(b"-" if array is None else array.tobytes())
    return digest.hexdigest()


def _expected_output(step: Step) -> np.ndarray:
    """What the Python kernels make of the emulator's input."""
    from cmsisnn_x import Network

    from .layers import draw_inputs

    given = draw_inputs(step.lead)
    return np.asarray(Network(step.layers).run(given[0] if len(given) == 1 else given))


def _difference(expected: np.ndarray, written: bytes) -> str | None:
    """The first element that a kernel got wrong."""
    got = np.frombuffer(written, expected.dtype, count=expected.size)
    wrong = np.flatnonzero(got != expected.reshape(-1))
    if not wrong.size:
        return None
    at = int(wrong[0])
    place = ", ".join(str(int(i)) for i in np.unravel_index(at, expected.shape))
    return (
        f"element [{place}] of the output: expected {expected.flat[at]}, got {got[at]}; {wrong.size} of {got.size} "
        f"differ from the Python kernel"
    )


@cache
def kernel_digest(op: str) -> str:
    """Digest of the header of an operation and of everything that it includes: a change elsewhere keeps its
    measurements.
    """
    digest = hashlib.sha256()
    seen: set[Path] = set()
    todo = [(INCLUDE / f"cmsisnn_x/{op}.h").resolve()]
    while todo:
        path = todo.pop()
        if path in seen or not path.is_file():
            continue
        seen.add(path)
        text = path.read_text(encoding="utf-8")
        digest.update(text.encode())
        todo += [(path.parent / name).resolve() for name in sorted(re.findall(r'#include "([^"]+)"', text))]
    return digest.hexdigest()


@cache
def tools_digest() -> str:
    """Digest of what compiles, packs, emulates and prices: after a change there, everything is measured anew."""
    return digest_of(["tuning.measure.layers"], RUNTIME.rglob("*.*"))


_NOT_CYCLES = {
    *("name", "title", "inherit", "sources", "clock_hz", "sram_bytes", "flash_bytes"),
    *("supply_volts", "run_microamps_per_mhz", "core_timing"),
}


def target_digest(target: Target) -> str:
    """Digest of all that can change cycles on a target: boards that differ in memory sizes alone share their
    measurements.
    """
    content = {key: value for key, value in asdict(target).items() if key not in _NOT_CYCLES}
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=dict).encode()).hexdigest()
