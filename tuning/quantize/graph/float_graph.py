# SPDX-License-Identifier: Apache-2.0
"""A float ONNX graph as int8 wants it: constants folded, factors and summands in the weights, the batch 1.

What is left gives the same answers as the file, sample by sample.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...base.errors import ModelError
from ...importers.onnx import file as onnx_file
from ...importers.onnx.file import Node, OnnxInput, OnnxNetwork
from ...importers.onnx.prepare import Given
from .evaluator import Evaluator
from .factors import Affine
from .spellings import Spellings


@dataclass(frozen=True, eq=False)
class FloatGraph:
    """Nodes in order of execution.

    Attributes
    ----------
    name : str
        A C identifier.
    network : OnnxNetwork
        Its inputs have a batch of 1; constants are float32 where they are floats.
    shapes : mapping of str to tuple of int
        Of every tensor, for a batch of 1.
    notes : tuple of str
        What was rewritten that a reader of the result has to know.
    """

    name: str
    network: OnnxNetwork
    shapes: Mapping[str, tuple[int, ...]]
    notes: tuple[str, ...]

    @property
    def evaluator(self) -> Evaluator:
        return Evaluator(self.network.nodes, self.network.constants, self.network.opset)


def read_graph(
    source: str | os.PathLike[str] | Any, name: str, is_wide: bool = False, given: Given | None = None
) -> FloatGraph:
    """Read a float graph; `is_wide` is of int16 activations.

    Raises
    ------
    ModelError
        The file cannot be read, is quantised, or holds operators that are not taken: all of them in one message.
    """
    network = onnx_file.read_network(source, given)
    if network.is_quantised:
        found = next(node for node in network.nodes if onnx_file.is_quantised(node.op))
        raise ModelError(
            f"{network.file}: {found}: the network is quantised already: give the float model here, or this one to "
            "cmsisnn-tune"
        )
    first = Spellings(network, is_wide)
    first.run()
    outputs = tuple(first.renamed.get(output, output) for output in network.outputs)
    if first.problems:
        first.nodes = _made({item.name for item in network.inputs} | {*first.constants}, first.nodes)
        read = {tensor for node in first.nodes for tensor in node.inputs}
        ends = tuple(out for node in first.nodes for out in node.outputs if out and out not in read)
        raise Obstacles(first.refusal(), _graph(first, ends, name) if ends else None)
    if lost := [output for output in outputs if output not in first.values]:
        raise ModelError(f"{network.file}: output {lost[0]!r}: expected what depends on an input, got a constant")
    graph = _graph(first, outputs, name)
    _require_samples_apart(graph, network)
    return graph


def _made(known: set[str], nodes: Sequence[Node]) -> list[Node]:
    """Those whose inputs are there, when what stands in front of others is not taken."""
    found = []
    for node in nodes:
        if known.issuperset({*node.inputs} - {""}):
            found.append(node)
            known.update(node.outputs)
    return found


class Obstacles(ModelError):
    """Operators that are not taken; `rest` is what stands in front of them, which may have obstacles of its own."""

    def __init__(self, text: str, rest: FloatGraph | None) -> None:
        super().__init__(text)
        self.rest = rest


def _graph(first: Spellings, outputs: tuple[str, ...], name: str) -> FloatGraph:
    """Factors and summands in the weights, and what the outputs need."""
    network = first.network
    second = Affine(first.nodes, first.constants, outputs, first.values)
    second.run()
    inputs = tuple(OnnxInput(item.name, (1, *item.shape[1:]), "float32") for item in network.inputs)
    kept = _needed(second.nodes, second.outputs)
    used = {tensor for node in kept for tensor in node.inputs}
    final = replace(
        network, inputs=inputs, outputs=second.outputs, nodes=tuple(kept),
        constants={key: value for key, value in second.constants.items() if key in used},
    )  # fmt: skip
    sample = {item.name: np.zeros(item.shape, np.float32) for item in inputs}
    values = Evaluator(kept, final.constants, final.opset).run(sample)
    return FloatGraph(name, final, {key: value.shape for key, value in values.items()}, tuple(first.notes))


def of_sample(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of one sample; a tensor may have lost the batch."""
    return shape[1:] if shape[:1] == (1,) else shape


def mixed(graph: FloatGraph, whole: int = 2) -> str | None:
    """A tensor in which the first and the last of several samples are not what they are alone; None where all may be
    run together.
    """
    if count := next((name for name, shape in graph.shapes.items() if shape[:1] != (1,)), None):
        return count
    first = next(iter(graph.shapes))
    evaluator, found = graph.evaluator, []
    rng = np.random.default_rng(0)
    inputs = {
        item.name: rng.normal(0, 1, (whole, *item.shape[1:])).astype(np.float32) for item in graph.network.inputs
    }  # fmt: skip
    for part in (slice(0, 1), slice(whole - 1, whole), slice(0, whole)):
        given = {name: value[part] for name, value in inputs.items()}
        try:
            found.append(evaluator.run(given))
        except Exception as problem:  # the reference evaluator raises whatever NumPy does on impossible operands
            if len(found) < 2:
                raise ModelError(f"{graph.network.file}: the float network cannot be evaluated: {problem}") from None
            return first
    *alone, both = found
    for name, shape in graph.shapes.items():
        value = both[name]
        if value.shape != (whole, *shape[1:]) or not all(
            np.allclose(value[part], one[name], 1e-4, 1e-5, equal_nan=True)
            for part, one in zip((slice(0, 1), slice(whole - 1, whole)), alone, strict=True)
        ):
            return name
    return None


def _require_samples_apart(graph: FloatGraph, given: OnnxNetwork) -> None:
    """A fixed batch of several samples is several runs of one, unless the network mixes them."""
    batch = max(item.shape[0] for item in given.inputs)
    if batch == 1:
        return
    if (name := mixed(graph, batch)) is not None:
        maker = next((node for node in given.nodes if name in node.outputs), None)
        raise ModelError(
            f"{graph.network.file}: {maker or f'input {name!r}'}: it takes the {batch} samples of the batch together: "
            "export with a batch of 1"
        )


def _needed(nodes: Sequence[Node], outputs: Sequence[str]) -> list[Node]:
    wanted, kept = set(outputs), []
    for node in reversed(nodes):
        if wanted & set(node.outputs):
            kept.append(node)
            wanted |= set(node.inputs)
    return kept[::-1]
