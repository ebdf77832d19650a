# SPDX-License-Identifier: Apache-2.0
"""A network that came from a `.tflite` file against the packages that define its arithmetic, tensor by tensor.

Every operator runs by itself in the package, cut out of the file, on this tool's own tensors, so that a difference
stays where it is made. An operator whose inputs this tool does not have (floating point between two integers,
arithmetic of shapes) runs together with those that make them. Then the whole file runs, whose differences are those of
its operators, carried on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np

from cmsisnn_x import Network
from cmsisnn_x.graph import Graph

from ...base.errors import OptionError
from ...base.files import check_own, read_json
from ...base.names import model_name_problem
from ...base.options import Arithmetic
from ...emit.names import source_name
from ...importers.tflite.cut import cut
from ...importers.tflite.file import FileOp, FileTensor
from ...importers.tflite.reader import Imported, import_tflite
from .comparison import Comparison, Difference, OperatorResult, comparison, difference
from .packages import PackageError, Piece, Runner, Samples

DEFAULT_SAMPLES = 5
STATEFUL = ("CALL_ONCE", "VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE")


@dataclass(frozen=True)
class Origin:
    """The file that a folder was made from, and whose bytes its firmware gives."""

    path: Path
    arithmetic: Arithmetic


def origin(directory: Path, model: str | None = None) -> Origin:
    """Find the file that a folder was made from: its copy there, or `model`, which must be the same.

    Raises
    ------
    OptionError
        No such folder or file, or another one.
    """
    path = directory / "plan.json"
    check_own(path)
    try:
        plan = read_json(path)
    except FileNotFoundError:
        raise OptionError(f"{directory}: no plan.json: expected a folder that cmsisnn-tune wrote") from None
    except (OSError, ValueError) as problem:
        raise OptionError(f"{path}: cannot be read: {problem}") from None
    content = plan if isinstance(plan, dict) else {}
    digests = content.get("digests")
    digest = digests.get("source") if isinstance(digests, dict) else None
    name, arithmetic = content.get("model"), content.get("arithmetic")
    if arithmetic is None or (digest is None and model is None):
        raise OptionError(f"{directory}: --against: expected the firmware of a .tflite file, got that of another model")
    if not isinstance(name, str) or (wrong := model_name_problem(name)):
        raise OptionError(f"{path}: model: {wrong if isinstance(name, str) else 'expected a name'}")
    if arithmetic not in list(Arithmetic):
        raise OptionError(f"{path}: arithmetic: expected {' or '.join(Arithmetic)}, got {str(arithmetic)[:40]!r}")
    file = directory / source_name(name) if model is None else Path(model)
    if model is None and not file.exists():
        raise OptionError(
            f"{file}: no such file; it is a copy of the model: run cmsisnn-tune again, or name it by --model"
        )
    if model is None:
        check_own(file)
    return Origin(_checked(file, digest), Arithmetic(arithmetic))


def _checked(file: Path, digest: object) -> Path:
    from ...importers.tflite.file import read

    if digest is not None and hashlib.sha256(read(file).content).hexdigest() != digest:
        raise OptionError(f"{file}: expected the file that plan.json was written for, got another one")
    return file


def compare(
    path: Path, runner: Runner, *, arithmetic: Arithmetic = Arithmetic.TFLM, samples: int = DEFAULT_SAMPLES
) -> Comparison:
    """Hold a file's network against a package.

    Parameters
    ----------
    path : Path
        A ``.tflite`` file.
    runner : Runner
    arithmetic : Arithmetic
        Whose bytes the network gives.
    samples : int
        Inputs: the second is the lowest numbers, the third the highest, the others are random.

    Raises
    ------
    ModelError
        The file is damaged, or holds what is not taken.
    PackageError
        The package runs nothing of it.
    """
    imported = import_tflite(path, arithmetic.value)
    bench = Bench(imported, runner, samples)
    operators = tuple(bench.operator(op) for op in bench.graph.ops)
    return comparison(path, runner, arithmetic, samples, operators, bench.network())


def draw_inputs(graph: Graph, samples: int) -> list[np.ndarray]:
    """Reproducible inputs over the whole range, and both ends of it; an array of all samples for each input."""
    rng = np.random.default_rng(samples)
    drawn = []
    for tensor in (graph.tensors[name] for name in graph.inputs):
        limits = np.iinfo(tensor.type.dtype)
        values = rng.integers(limits.min, limits.max, (samples, *tensor.shape), limits.dtype, endpoint=True)
        for sample, end in ((1, limits.min), (2, limits.max)):
            values[sample : sample + 1] = end
        drawn.append(values)
    return drawn


class _Skip(Exception):
    """Why an operator does not run by itself."""


class Bench:
    """A file with this tool's own numbers of its tensors."""

    def __init__(self, imported: Imported, runner: Runner, samples: int) -> None:
        self.imported, self.runner, self.samples = imported, runner, samples
        self.graph = imported.file.subgraphs[0]
        self.makers = {tensor: op for op in self.graph.ops for tensor in op.outputs}
        self.tensor_bytes = sum(
            prod(tensor.shape) * tensor.dtype.itemsize for tensor in self.graph.tensors if tensor.dtype is not None
        )
        self.traced = self._trace()
        self.known = {
            index: self._shaped(index, self.traced[name])
            for index, name in imported.tensors.items()
            if name in self.traced
        }
        """Numbers of the file's tensors: all samples."""
        for index, port in zip(self.graph.inputs, imported.inputs, strict=True):
            numbers = self._shaped(index, self.traced[port.tensor])
            if self._is_float(index):
                numbers = (np.float32(port.scale or 1) * (numbers.astype(np.int32) - port.zero_point)).astype(
                    np.float32
                )
            self.known[index] = numbers

    def _trace(self) -> dict[str, np.ndarray]:
        """Tensor of the graph -> its numbers."""
        graph = self.imported.graph
        inputs = draw_inputs(graph, self.samples)
        found = dict(zip(graph.inputs, inputs, strict=True))
        made = Network(graph).trace(inputs[0] if len(inputs) == 1 else tuple(inputs))
        found |= {node.outputs[0]: made[node.name] for node in graph.nodes}
        for state in graph.states:
            before = found[state.write].reshape(self.samples, -1)[:-1]
            found[state.read] = np.concatenate([state.initial.reshape(1, -1), before])
        return found

    def _shaped(self, index: int, numbers: np.ndarray) -> np.ndarray:
        return numbers.reshape(self.samples, *self._tensor(index).shape)

    def _tensor(self, index: int) -> FileTensor:
        return self.graph.tensors[index]

    def _is_float(self, index: int) -> bool:
        return self._tensor(index).type.startswith("FLOAT")

    def operator(self, op: FileOp) -> OperatorResult:
        """One operator by itself."""
        name = self._tensor(op.outputs[0]).name if op.outputs else ""
        element = next((self._tensor(index).type for index in op.inputs if index >= 0), "")
        try:
            ops, inputs, outputs = self._unit(op)
        except _Skip as why:
            return OperatorResult(op.index, op.custom or op.code, name, element, {}, str(why))
        kind = " + ".join(self.graph.ops[index].code for index in ops)
        piece = Piece(cut(self.imported.file.content, ops, inputs, outputs), len(outputs), self.tensor_bytes)
        given = [[self.known[index][sample] for index in inputs] for sample in range(self.samples)]
        wanted = [self.known[index] for index in outputs]
        return OperatorResult(op.index, kind, name, element, self.results(piece, given, wanted))

    def _unit(self, op: FileOp) -> tuple[list[int], list[int], list[int]]:
        """The operators that run with `op`, itself the last, and their inputs and outputs."""
        if op.code in STATEFUL:
            raise _Skip("remembers, which the whole network does")
        outputs = [index for index in dict.fromkeys(op.outputs) if index in self.known]
        if not outputs:
            is_float = any(self._is_float(index) for index in op.outputs)
            raise _Skip("floating-point numbers: with those who read them" if is_float
                        else "known before anything runs, or read by nobody")  # fmt: skip
        if any(index in self.graph.inputs and self._is_float(index) for index in op.inputs) and op.code == "QUANTIZE":
            raise _Skip("a border: the network takes the integers behind it")
        ops, inputs, todo = {op.index}, set(), [*op.inputs]
        for index in todo:
            if index < 0 or self._tensor(index).data is not None or index in inputs:
                continue
            if index in self.known:
                inputs.add(index)
            elif index not in self.makers:
                raise _Skip("reads what nobody writes")
            elif self.makers[index].index not in ops:
                ops.add(self.makers[index].index)
                todo += self.makers[index].inputs
        return sorted(ops), sorted(inputs), outputs

    def network(self) -> dict[str, Difference]:
        """The file as it is."""
        given = [[self.known[index][sample] for index in self.graph.inputs] for sample in range(self.samples)]
        wanted = [
            self._shaped(index, self.traced[port.tensor])
            for index, port in zip(self.graph.outputs, self.imported.outputs, strict=True)
        ]
        piece = Piece(self.imported.file.content, len(wanted), self.tensor_bytes)
        return self.results(piece, given, wanted, self.integers)

    def integers(self, place: int, numbers: np.ndarray) -> np.ndarray:
        """What the network gives in place of a float output."""
        port = self.imported.outputs[place]
        if numbers.dtype.kind != "f":
            return numbers
        limits = np.iinfo(port.dtype)
        whole = np.rint(numbers.astype(np.float64) / (port.scale or 1)) + port.zero_point
        return np.clip(np.nan_to_num(whole), limits.min, limits.max).astype(port.dtype)

    def results(
        self,
        piece: Piece,
        given: Samples,
        wanted: Sequence[np.ndarray],
        read: Callable[[int, np.ndarray], np.ndarray] = lambda place, numbers: numbers,
    ) -> dict[str, Difference]:
        found = {}
        for kernels in self.runner.kernels:
            try:
                got = self.runner.run(kernels, piece, given)
                columns = [
                    np.stack([read(place, np.asarray(numbers)) for numbers in column])
                    for place, column in enumerate(zip(*got, strict=True))
                ]
                found[kernels] = difference(columns, wanted)
            except PackageError as problem:
                found[kernels] = Difference(problem=str(problem))
        return found
