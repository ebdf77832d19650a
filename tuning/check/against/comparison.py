# SPDX-License-Identifier: Apache-2.0
"""What a comparison with a package found: differences of every operator and of the whole file, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...base.options import Arithmetic
from .packages import ONNX_RUNTIME, PackageError, Runner
from .reasons import onnx_reason, reason


@dataclass(frozen=True)
class Difference:
    """Of one set of kernels: elements that differ, of how many, and by how much at most; or why it did not run."""

    differing: int = 0
    size: int = 0
    most: int = 0
    problem: str | None = None


@dataclass(frozen=True)
class OperatorResult:
    """One operator.

    Attributes
    ----------
    index : int
        Its place in the file.
    kind : str
        What the schema calls it; several of them joined by `` + `` where it runs with others.
    tensor : str
        The file's name of what it writes.
    element : str
        Type of what it reads first.
    results : mapping of str to Difference
        Per set of kernels.
    skipped : str or None
        Why it did not run by itself.
    """

    index: int
    kind: str
    tensor: str
    element: str
    results: Mapping[str, Difference]
    skipped: str | None = None


@dataclass(frozen=True)
class Finding:
    """What a set of kernels does otherwise in one kind of operator, and why; `why` is None if it should not."""

    kind: str
    kernels: str
    operators: int
    of_operators: int
    differing: int
    size: int
    most: int
    why: str | None


@dataclass(frozen=True)
class Comparison:
    """What `compare` found. `network` is the whole file, per set of kernels."""

    path: Path
    package: str
    version: str
    arithmetic: Arithmetic
    samples: int
    kernels: tuple[str, ...]
    operators: tuple[OperatorResult, ...]
    network: Mapping[str, Difference]

    @property
    def exact(self) -> bool:
        """Whether nothing that ran differs."""
        found = [*self.network.values(), *(result for op in self.operators for result in op.results.values())]
        return not any(result.differing for result in found)

    @property
    def unrun(self) -> tuple[OperatorResult, ...]:
        """Operators that some set of kernels refused to run by themselves."""
        return tuple(op for op in self.operators if any(result.problem for result in op.results.values()))

    def findings(self) -> tuple[Finding, ...]:
        """The kinds of operators that differ."""
        kinds = dict.fromkeys((op.kind, op.element) for op in self.operators if op.results)
        found = []
        for kind, element in kinds:
            alike = [op.results for op in self.operators if (op.kind, op.element) == (kind, element) and op.results]
            for kernels in self.kernels:
                ran = [results[kernels] for results in alike]
                if not any(result.differing for result in ran):
                    continue
                if kernels == ONNX_RUNTIME:
                    why = onnx_reason(kind.split(" + "))
                else:
                    why = reason(kind.split(" + ")[-1], element, self.arithmetic, kernels, "DEQUANTIZE" in kind)
                found.append(
                    Finding(
                        kind,
                        kernels,
                        sum(result.differing > 0 for result in ran),
                        len(ran),
                        sum(result.differing for result in ran),
                        sum(result.size for result in ran),
                        max(result.most for result in ran),
                        why,
                    )
                )
        return tuple(found)

    def as_dict(self) -> dict[str, Any]:
        """The comparison as ``cmsisnn-verify --json`` prints it."""
        return {
            "model": str(self.path),
            "package": self.package,
            "version": self.version,
            "arithmetic": self.arithmetic.value,
            "samples": self.samples,
            "exact": self.exact,
            "operators": [asdict(op) for op in self.operators],
            "network": {kernels: asdict(result) for kernels, result in self.network.items()},
            "differences": [asdict(finding) for finding in self.findings()],
        }


def comparison(
    path: Path, runner: Runner, arithmetic: Arithmetic, samples: int, operators: tuple[OperatorResult, ...],
    network: Mapping[str, Difference],
) -> Comparison:  # fmt: skip
    """What was found; a `PackageError` where the package runs nothing."""
    found = [*network.values(), *(result for op in operators for result in op.results.values())]
    if all(result.problem for result in found):
        raise PackageError(f"{path}: {runner.name} {runner.version} runs nothing of it: {found[0].problem}")
    return Comparison(
        path, runner.name, runner.version, arithmetic, samples, runner.kernels, operators, network
    )  # fmt: skip


def difference(got: Sequence[np.ndarray], wanted: Sequence[np.ndarray]) -> Difference:
    differing = size = most = 0
    for ours, theirs in zip(wanted, got, strict=True):
        if theirs.dtype != ours.dtype or theirs.size != ours.size:
            text = f"expected {ours.dtype} of shape {ours.shape[1:]}, got {theirs.dtype} of shape {theirs.shape[1:]}"
            raise PackageError(text)
        apart = np.abs(ours.reshape(-1).astype(np.int64) - theirs.reshape(-1).astype(np.int64))
        differing += int(np.count_nonzero(apart))
        size += apart.size
        most = max(most, int(apart.max(initial=0)))
    return Difference(differing, size, most)
