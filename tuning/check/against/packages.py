# SPDX-License-Identifier: Apache-2.0
"""The packages that networks with zero points are held against: LiteRT in its three kernel sets, TFLM, ONNX Runtime.

They are an extra, imported here and nowhere else, and only when a `Runner` is asked for. They trust the files that they
are given: what comes here was read by `tuning.importers.tflite.file` before. What they do not expect may end their
process, which is therefore not ours.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import import_module, metadata
from typing import Any, Protocol, TypeVar

import numpy as np

from ...base.errors import MissingToolError, TuningError, install
from ...base.options import Package
from ...base.units import printable
from ...measure.workers import OwnProcess, ProcessLost

REFERENCE, OPTIMISED, XNNPACK, TFLM = "reference", "optimised", "XNNPACK", "TFLM"
"""Kernel sets: LiteRT's ``BUILTIN_REF``, its optimised ones without delegates, its default; a device's."""
ONNX_RUNTIME = "ONNX Runtime"
"""Its kernels for each operator by itself, none of them fused."""

Result = TypeVar("Result")
Samples = Sequence[Sequence[np.ndarray]]
"""For each sample the inputs, or the outputs."""
_LEAST_ARENA = 1 << 22
_LONGEST_REASON = 200


class PackageError(TuningError):
    """A package does not run a file."""


@dataclass(frozen=True)
class Piece:
    """A ``.tflite`` or ``.onnx`` file to be run: its bytes, how many outputs it has, and, of a ``.tflite`` file, the
    bytes of all its tensors together.
    """

    content: bytes
    outputs: int
    tensor_bytes: int


class Runner(Protocol):
    """A package."""

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str: ...

    @property
    def kernels(self) -> tuple[str, ...]:
        """Its sets of kernels."""

    def run(self, kernels: str, piece: Piece, samples: Samples) -> Samples:
        """Run a file with one of `kernels` on one sample after the other, and give their outputs.

        Raises
        ------
        PackageError
            It cannot, and why.
        """


def runner(package: Package) -> Runner:
    """The installed package whose kernels define an arithmetic, in a process of its own.

    Raises
    ------
    MissingToolError
        It is not installed.
    """
    return Apart(package)


class Apart:
    """A package that runs in a process of its own, and in another one once it has ended that."""

    def __init__(self, package: Package) -> None:
        self._package, self._process = package, OwnProcess()
        self.name, self.version, self.kernels = self._call(_described, package)

    def run(self, kernels: str, piece: Piece, samples: Samples) -> Samples:
        return self._call(_run_here, self._package, kernels, piece, samples)

    def _call(self, function: Callable[..., Result], *given: Any) -> Result:
        try:
            return self._process.call(function, *given)
        except ProcessLost:
            raise PackageError("it ends its own process") from None


@cache
def _here(package: Package) -> Runner:
    ways: dict[Package, type[Runner]] = {
        Package.LITERT: LiteRT, Package.TFLM: TFLiteMicro, Package.ONNXRUNTIME: OnnxRuntime
    }  # fmt: skip
    return ways[package]()


def _described(package: Package) -> tuple[str, str, tuple[str, ...]]:
    own = _here(package)
    return own.name, own.version, own.kernels


def _run_here(package: Package, kernels: str, piece: Piece, samples: Samples) -> Samples:
    return _here(package).run(kernels, piece, samples)


class LiteRT:
    """The package ai-edge-litert."""

    name, kernels = "LiteRT", (REFERENCE, OPTIMISED, XNNPACK)

    def __init__(self) -> None:
        module = _imported("ai_edge_litert.interpreter", "ai-edge-litert", Package.LITERT)
        types = module.OpResolverType
        self._interpreter = module.Interpreter
        chosen = (types.BUILTIN_REF, types.BUILTIN_WITHOUT_DEFAULT_DELEGATES, types.AUTO)
        self._resolvers = dict(zip(self.kernels, chosen, strict=True))
        self.version = metadata.version("ai-edge-litert")

    def run(self, kernels: str, piece: Piece, samples: Samples) -> Samples:
        def ran() -> Samples:
            interpreter = self._interpreter(
                model_content=piece.content, num_threads=1, experimental_op_resolver_type=self._resolvers[kernels]
            )
            interpreter.allocate_tensors()
            given = [detail["index"] for detail in interpreter.get_input_details()]
            wanted = [detail["index"] for detail in interpreter.get_output_details()]
            found = []
            for sample in samples:
                for index, value in zip(given, sample, strict=True):
                    interpreter.set_tensor(index, value)
                interpreter.invoke()
                found.append([interpreter.get_tensor(index) for index in wanted])
            return found

        return _run(ran)


class TFLiteMicro:
    """The package tflite-micro."""

    name, kernels = "TFLM", (TFLM,)

    def __init__(self) -> None:
        self._runtime = _imported("tflite_micro.python.tflite_micro.runtime", "tflite-micro", Package.TFLM)
        self.version = metadata.version("tflite-micro")

    def run(self, kernels: str, piece: Piece, samples: Samples) -> Samples:
        def ran() -> Samples:
            # Beside the tensors there are records of them, and scratch.
            arena = _LEAST_ARENA + 2 * (piece.tensor_bytes + len(piece.content))
            interpreter = self._runtime.Interpreter.from_bytes(piece.content, arena_size=arena)
            found = []
            for sample in samples:
                for index, value in enumerate(sample):
                    interpreter.set_input(value, index)
                interpreter.invoke()
                found.append([np.array(interpreter.get_output(index)) for index in range(piece.outputs)])
            return found

        return _run(ran)


class OnnxRuntime:
    """The package onnxruntime."""

    name, kernels = ONNX_RUNTIME, (ONNX_RUNTIME,)

    def __init__(self) -> None:
        self._runtime = _imported("onnxruntime", "onnxruntime", Package.ONNXRUNTIME)
        self.version = metadata.version("onnxruntime")

    def run(self, kernels: str, piece: Piece, samples: Samples) -> Samples:
        def ran() -> Samples:
            options = self._runtime.SessionOptions()
            options.graph_optimization_level = self._runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
            options.intra_op_num_threads, options.log_severity_level = 1, 3
            try:
                session = self._runtime.InferenceSession(
                    piece.content, options, providers=["CPUExecutionProvider"]
                )  # fmt: skip
                names = [item.name for item in session.get_inputs()]
                return [session.run(None, dict(zip(names, sample, strict=True))) for sample in samples]
            except Exception as problem:  # its errors have no base of their own
                raise RuntimeError(str(problem)) from None

        return _run(ran)


def _imported(module: str, package: str, option: Package) -> Any:
    try:
        return import_module(module)
    except ImportError:
        raise MissingToolError(
            f"--against {option}: the package {package} is not installed: {install('against', package)}"
        ) from None


def _run(ran: Callable[[], Samples]) -> Samples:
    with _stderr() as said:
        try:
            return ran()
        except (RuntimeError, ValueError, IndexError) as problem:
            texts = (*said(), str(problem))
    text = next((line for line in texts if line), "no reason given")
    raise PackageError(printable(text)[:_LONGEST_REASON])


@contextmanager
def _stderr() -> Iterator[Callable[[], list[str]]]:
    """What native code writes to the standard error is kept from the terminal, and given by the line when asked for."""
    sys.stderr.flush()
    with tempfile.TemporaryFile() as stream:
        kept = os.dup(2)
        os.dup2(stream.fileno(), 2)

        def lines() -> list[str]:
            stream.seek(0)
            text = stream.read().decode(errors="replace")
            return [re.sub(r"^ERROR: |\s+$", "", line) for line in text.splitlines() if not line.startswith("INFO")]

        try:
            yield lines
        finally:
            os.dup2(kept, 2)
            os.close(kept)
