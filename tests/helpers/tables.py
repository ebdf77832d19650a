# SPDX-License-Identifier: Apache-2.0
"""A package in the place of LiteRT and TFLM that answers from a table: what every tensor of a file holds."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tuning.check.against.packages import PackageError, Piece, Samples
from tuning.importers.tflite.file import FileSubgraph, read


@dataclass
class TablePackage:
    """Gives the outputs of a piece by its tensors' indices, which cutting leaves alone, and refuses other inputs.

    Attributes
    ----------
    table : mapping of int to numpy.ndarray
        Tensor -> its numbers, a row per sample.
    changed : mapping of str to callable
        Set of kernels -> what it gives in place of a tensor's numbers, or an error that it raises; from the operators
        that run, the tensor, and its numbers.
    """

    table: Mapping[int, np.ndarray]
    changed: Mapping[str, Callable[[list[str], int, np.ndarray], np.ndarray]] = field(default_factory=dict)
    kernels: tuple[str, ...] = ("reference", "optimised", "XNNPACK")
    name: str = "Fake"
    version: str = "1.0"
    pieces: list[FileSubgraph] = field(default_factory=list)

    def run(self, kernels: str, piece: Piece, samples: Samples) -> Samples:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "piece.tflite"
            path.write_bytes(piece.content)
            graph = read(path).subgraphs[0]
        self.pieces.append(graph)
        assert piece.outputs == len(graph.outputs)
        for row, sample in enumerate(samples):
            for index, value in zip(graph.inputs, sample, strict=True):
                assert value.shape == graph.tensors[index].shape
                np.testing.assert_array_equal(value, self.table[index][row])
        codes = [op.code for op in graph.ops]
        change = self.changed.get(kernels, lambda codes, index, numbers: numbers)
        given = [change(codes, index, self.table[index]) for index in graph.outputs]
        return [[numbers[row] for numbers in given] for row in range(len(samples))]


def refuses(codes: list[str], index: int, numbers: np.ndarray) -> np.ndarray:
    raise PackageError("this operator is not known")
