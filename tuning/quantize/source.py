# SPDX-License-Identifier: Apache-2.0
"""A float ONNX file as each scheme takes it: layers in sequence, or any graph."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ..base.errors import ModelError
from ..base.names import identifier, model_name_problem
from ..importers.float_network import FloatNetwork
from ..importers.onnx.prepare import Given
from ..importers.onnx.reader import load_onnx
from . import data
from .affine.scales import TYPES
from .graph.float_graph import FloatGraph, Obstacles, read_graph
from .graph.quantizer import borders, require_taken
from .graph.samples import Samples, load_samples

Data = data.Data | Samples
HINT = "--scheme int8 takes this network"


def load_for(network: FloatNetwork | FloatGraph, path: str | os.PathLike[str]) -> Data:
    """Data of a file, as a network takes them."""
    if isinstance(network, FloatGraph):
        return load_samples(path, *borders(network))
    return data.load_data(path)


def _more(found: Obstacles, scheme: str) -> str:
    """Obstacles in front of those that were found while the file was read."""
    if found.rest is None:
        return ""
    try:
        require_taken(found.rest, scheme)
    except ModelError as problem:
        return f"; {str(problem).rpartition('got others: ')[2]}"
    return ""


class FloatSource:
    """One file, read for whatever scheme is asked for.

    Parameters
    ----------
    source : path or onnx.ModelProto
    name : str, optional
        Of the network, a C identifier; default: the file's stem.
    given : Given, optional
        Where the file is cut, and sizes that it leaves open.
    """

    def __init__(
        self, source: str | os.PathLike[str] | Any, name: str | None = None, given: Given | None = None
    ) -> None:
        self.source, self.given = source, given
        if name is None:
            called = Path(source).stem if isinstance(source, str | os.PathLike) else source.graph.name
            name = identifier(called or "model")
        elif problem := model_name_problem(name):
            raise ModelError(f"name: {problem}")
        self.name = name
        self._sequence: FloatNetwork | ModelError | None = None
        self._graphs: dict[bool, FloatGraph | ModelError] = {}

    def network(self, scheme: str, *, as_graph: bool = False) -> FloatNetwork | FloatGraph:
        """What `scheme` quantises.

        int8 and int16x8 take layers in sequence as such, unless `as_graph`, and graphs; q7 and q15, whose kernels add
        no two tensors, layers in sequence alone.

        Raises
        ------
        ModelError
            The scheme does not take it: everything that stands in the way, and what does take it.
        """
        found = self._sequential()
        if scheme not in TYPES:
            if isinstance(found, ModelError):
                raise ModelError(self._hinted(str(found)))
            return found
        if isinstance(found, FloatNetwork) and not as_graph:
            return found
        graph = self._graph(scheme)
        if isinstance(graph, ModelError):
            raise graph
        return graph

    def _sequential(self) -> FloatNetwork | ModelError:
        if self._sequence is None:
            try:
                self._sequence = load_onnx(self.source, self.name, self.given)
            except ModelError as problem:  # what a graph is to its reader; whoever asks for layers gets it
                self._sequence = problem
        return self._sequence

    def _graph(self, scheme: str) -> FloatGraph | ModelError:
        is_wide = TYPES[scheme] == "int16"
        if is_wide not in self._graphs:
            try:
                made = read_graph(self.source, self.name, is_wide, self.given)
                require_taken(made, scheme)
                self._graphs[is_wide] = made
            except Obstacles as problem:
                self._graphs[is_wide] = ModelError(f"{problem}{_more(problem, scheme)}")
            except ModelError as problem:
                self._graphs[is_wide] = problem
        return self._graphs[is_wide]

    def _hinted(self, text: str) -> str:
        return text if isinstance(self._graph("int8"), ModelError) else f"{text}; {HINT}"
