# SPDX-License-Identifier: Apache-2.0
"""Variants compiled and emulated, and remembered: what ``--score emulate`` and ``calibrate`` learn from."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import cmsisnn_x
from cmsisnn_x._variants import Variant
from cmsisnn_x.layers import Layer

from .record import Records
from .target import Target

INCLUDE = Path(cmsisnn_x.get_include())
BATCH = 12
"""Variants per executable where many are fitted together: enough to share the compiler's start."""


@dataclass(frozen=True)
class Measurement:
    """What the emulator saw; `problem` is why there is nothing to see (compile error, fault, endless loop)."""

    cycles: int = 0
    instructions: int = 0
    code_bytes: int = 0
    stack_bytes: int = 0
    problem: str | None = None


class Bench:
    """Emulates variants of layers on one target with one compiler.

    Parameters
    ----------
    target : Target
    cflags : sequence of str
    compiler : {"gcc", "clang"}, optional
        Default: arm-none-eabi-gcc when it is on PATH, else Clang from the ziglang wheel.
    records : Records, optional
        Where measurements are kept.
    batch : int
        Variants per executable. A kernel's cycles can differ by a per cent or two with what it is compiled beside, so
        that a search, whose result must not depend on its history, compiles each alone; a fit may share.

    Raises
    ------
    MissingToolError
        No compiler, or no emulator: what to install.
    """

    def __init__(
        self,
        target: Target,
        cflags: Sequence[str],
        compiler: str | None = None,
        records: Records | None = None,
        batch: int = 1,
    ) -> None:
        from .emulate import find_toolchain

        self.target, self.cflags, self.compiler, self.records = target, tuple(cflags), compiler, records
        self.batch = batch
        self.toolchain = find_toolchain(compiler)  # type: ignore[arg-type]
        self.emulated = 0

    def measure(
        self, layer: Layer, variants: Sequence[Variant | None], aligned: tuple[bool, bool] = (True, True)
    ) -> list[Measurement]:
        """One measurement per variant, in order; each batch is kept as soon as it is done.

        `aligned` says whether the kernel may take input and output to start at word boundaries.
        """
        keys = [self.key(layer, variant, aligned) for variant in variants]
        known = self.records.get(keys) if self.records is not None else {}
        found = {key: Measurement(**content) for key, content in known.items()}
        todo = list({key: variant for key, variant in zip(keys, variants, strict=True) if key not in found}.items())
        for at in range(0, len(todo), self.batch):
            part = todo[at : at + self.batch]
            results = self._emulate(layer, [variant for _, variant in part], aligned)
            fresh = {key: result for (key, _), result in zip(part, results, strict=True)}
            if self.records is not None:
                self.records.put({key: asdict(result) for key, result in fresh.items()})
            found |= fresh
        return [found[key] for key in keys]

    def key(self, layer: Layer, variant: Variant | None, aligned: tuple[bool, bool]) -> str:
        """Digest of everything that a measurement depends on."""
        shape = {name: value for name, value in vars(layer).items() if name not in ("weights", "bias", "variant")}
        content: list[Any] = [
            self.target.digest,
            self.cflags,
            self.toolchain.kind,
            self.toolchain.version,
            kernel_digest(layer.python_op),
            aligned,
            shape,
            asdict(variant) if variant else None,
        ]
        if self.batch == 1:
            content.append("alone")
        digest = hashlib.sha256(json.dumps(content, sort_keys=True, default=list).encode())
        for array in (layer.weights, layer.bias):
            digest.update(b"-" if array is None else array.tobytes())
        return digest.hexdigest()

    def _emulate(self, layer: Layer, variants: list[Variant | None], aligned: tuple[bool, bool]) -> list[Measurement]:
        """All in one executable; if that fails, one by one, so that a failure is pinned to its variant."""
        from .emulate import EmulationError, ToolchainError, evaluate_many

        try:
            seen = evaluate_many(
                layer,
                variants,
                self.target,
                self.cflags,
                compiler=self.compiler,
                input_aligned=aligned[0],
                output_aligned=aligned[1],  # type: ignore[arg-type]
            )
        except (ToolchainError, EmulationError) as problem:
            if len(variants) == 1:
                return [Measurement(problem=str(problem).splitlines()[0])]
            return [self._emulate(layer, [variant], aligned)[0] for variant in variants]
        self.emulated += len(variants)
        return [Measurement(item.cycles, item.instructions, item.code_bytes, item.stack_bytes) for item in seen]


@cache
def kernel_digest(op: str) -> str:
    """Digest of the header of an operation and of everything that it includes: a change elsewhere keeps its
    measurements.
    """
    digest = hashlib.sha256()
    seen: set[str] = set()
    todo = [f"cmsisnn_x/{op}.h"]
    while todo:
        name = todo.pop()
        if name in seen or not (INCLUDE / name).is_file():
            continue
        seen.add(name)
        text = (INCLUDE / name).read_text(encoding="utf-8")
        digest.update(text.encode())
        todo += sorted(re.findall(r'#include "(cmsisnn_x/[^"]+)"', text))
    return digest.hexdigest()
