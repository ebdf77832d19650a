# SPDX-License-Identifier: Apache-2.0
"""The same network as a `.tflite` file and as a model file: the same graph, the same bytes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import tuning
from cmsisnn_x.described import described
from helpers.int8_graph import Interpreter
from helpers.tflite_cases import Case
from helpers.tflite_cases_elements import ELEMENTS
from helpers.tflite_cases_layers import LAYERS
from helpers.tflite_cases_moves import MOVES
from helpers.tflite_cases_networks import NETWORKS
from helpers.yaml_files import rewritten
from tuning import ModelError
from tuning.importers.tflite_file import read
from tuning.importers.yaml_write import write_yaml_graph
from tuning.model import Model

CASES: dict[str, Case] = {**LAYERS, **ELEMENTS, **MOVES, **NETWORKS}
WITHOUT = {
    "weights that are computed": "(TRANSPOSE): tensor 9 'w' of 5 scales",
    "an output twice": "an output twice",
    "an inner output twice": "an output twice",
    "an input that is two outputs": "an output twice",
    "variables": "(VAR_HANDLE)",
    "variables whose new values are outputs": "(VAR_HANDLE)",
    **{name: "operator 1 (" for name in CASES if "island" in name or "in float" in name},
}
"""Files that have no form, and what is said of them."""


def graph_of(model: Model) -> list[tuple[object, ...]]:
    """All of a graph but the names of its tensors."""
    places = {name: f"input {at}" for at, name in enumerate(model.graph.inputs)}
    found: list[tuple[object, ...]] = []
    for node in model.graph.nodes:
        layer = {**described(node.layer, ("weights", "bias", "table")), "name": ""}
        arrays = [node.layer.weights, node.layer.bias, node.layer.table]
        reads = []
        for name in node.inputs:
            value = model.graph.tensors[name].value
            reads.append(places[name] if value is None else value.reshape(-1).tolist())
        found.append((layer, [None if one is None else one.tolist() for one in arrays], reads))
        places |= {name: f"{len(found)} {at}" for at, name in enumerate(node.outputs)}
    found.append(tuple(places[name] for name in model.graph.outputs))
    return found


@pytest.mark.parametrize("name", [name for name in CASES if name not in WITHOUT])
def test_a_file_written_as_a_model_file_is_the_same_graph(tmp_path: Path, name: str) -> None:
    case = CASES[name]
    path = case.write(tmp_path / "net.tflite")
    again = rewritten(tmp_path, read(path))
    for arithmetic in case.arithmetics:
        for rewrites in (True, False):
            first, second = (
                tuning.load_model(source, arithmetic=arithmetic, rewrites=rewrites) for source in (path, again)
            )
            numbers = [[replace(port, name="", tensor="") for port in model.inputs] for model in (first, second)]
            assert [replace(port, shape=()) for port in numbers[0]] == [replace(port, shape=()) for port in numbers[1]]
            if rewrites:
                assert graph_of(first) == graph_of(second), again.read_text()
                # Copies that requantise are called after their layer.
                if name != "CONCATENATION of other scales":
                    assert [layer.name for layer in first.layers] == [layer.name for layer in second.layers]
        values = list(case.draw(3).values())
        one, other = (Interpreter(model.graph).run(*values) for model in (first, second))
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a.reshape(-1), b.reshape(-1), strict=True)


@pytest.mark.parametrize("name", WITHOUT)
def test_what_has_no_form_is_named(tmp_path: Path, name: str) -> None:
    path = CASES[name].write(tmp_path / "net.tflite")
    with pytest.raises(ModelError, match="a model file has no form for") as caught:
        write_yaml_graph(read(path), "net")
    assert WITHOUT[name] in str(caught.value)
