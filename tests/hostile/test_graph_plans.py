# SPDX-License-Identifier: Apache-2.0
"""Plans of graphs by strangers: every number of a scheme, a view and a tensor is proved before anything is compiled."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tuning
from helpers import int8
from tuning.emulate import toolchain
from tuning.measure import folder
from tuning.measure.folder import FolderError
from tuning.model import graph_model
from tuning.plan.affine_fields import table_problem
from tuning.plan.file import read_plan_file

NAMES = ("residual", "moves", "constants", "states", "types")


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("graphs")
    for name in NAMES:
        model = graph_model(name, int8.GRAPHS[name](), f"{name}.tflite")
        tuning.emit(tuning.tune(model, tuning.load_target("cortex-m4")), made / name)
    return made


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    def started(*arguments: object, **_: object) -> None:
        raise AssertionError(f"a program was started: {arguments}")

    monkeypatch.setattr(subprocess, "Popen", started)
    monkeypatch.setattr(toolchain, "_run", started)


STEM, JOIN, ACT, MEAN = 0, 3, 4, 5
PAD, COPY, CAT, GROW = 0, 2, 4, 6
SOURCE_NAME = {
    "name": "x", "shape": [8, 6, 4], "dtype": "int8", "scale": 0.1, "zero_point": 0, "source_name": "\x1b[31m"
}  # fmt: skip
EDITS: dict[str, tuple[str, tuple[str | int, ...], Any, str]] = {
    "no scheme": ("residual", ("layers", STEM, "scheme"), None, "scheme: expected object, got None"),
    "a scheme of another kind": ("residual", ("layers", STEM, "scheme", "kind"), "sum", "one of kind 'affine', got"),
    "a number of nobody": ("residual", ("layers", STEM, "scheme", "x"), 1, "scheme.x: unknown"),
    "a zero point of 40 bits": ("residual", ("layers", STEM, "scheme", "input_zero_point"), 1 << 40, "-32768..32767"),
    "a negative multiplier": ("residual", ("layers", STEM, "scheme", "multiplier"), [-1] * 8, "scheme.multiplier: exp"),
    "a multiplier in fractions": ("residual", ("layers", STEM, "scheme", "multiplier"), [0.5] * 8, "multiplier: exp"),
    "too few multipliers": ("residual", ("layers", STEM, "scheme", "multiplier"), [5] * 3, "as many shifts as"),
    "a shift of 99": ("residual", ("layers", STEM, "scheme", "shift"), [99] * 8, "scheme.shift: expected"),
    "no shifts": ("residual", ("layers", STEM, "scheme", "shift"), [], "scheme.shift: expected a list"),
    "a rounding of nobody": ("residual", ("layers", STEM, "scheme", "rounding"), "up", "rounding: expected one of"),
    "bits of another type": ("residual", ("layers", STEM, "scheme", "bits"), 16, "scheme.bits: expected 8"),
    "a range upside down": ("residual", ("layers", STEM, "scheme", "high"), -128, "low and high within"),
    "a range beyond the type": ("residual", ("layers", STEM, "scheme", "high"), 300, "low and high within"),
    "an addition without a factor": ("residual", ("layers", JOIN, "scheme", "left"), {}, "scheme.left: expected zero_"),
    "an addition by 2^60": ("residual", ("layers", JOIN, "scheme", "left", "multiplier"), 1 << 60, "left.multiplier"),
    "a sign of nothing": ("residual", ("layers", JOIN, "scheme", "sign"), 0, "scheme.sign: expected one of -1, 1"),
    "a mean of others": ("residual", ("layers", MEAN, "scheme", "count"), 7, "scheme.count: expected 36"),
    "an operand too many": ("residual", ("layers", ACT, "more_inputs"), [[4]], "more_inputs: expected 0, got 1"),
    "an operand too long": ("residual", ("layers", JOIN, "more_inputs"), [[7, 6, 8]], "more_inputs: expected a part"),
    "an operand of gigabytes": ("residual", ("layers", JOIN, "more_inputs"), [[1 << 40]], "more_inputs: expected up"),
    "a type of powers of two": ("residual", ("layers", STEM, "dtype"), "q7", "expected none, with dtype 'q7'"),
    "an output of another type": ("residual", ("layers", JOIN, "output_dtype"), "int16", "output_dtype: expected int8"),
    "groups that do not divide": ("residual", ("layers", STEM, "groups"), 3, "groups: expected a divisor of"),
    "no groups": ("residual", ("layers", STEM, "groups"), 0, "groups: expected an integer in 1.."),
    "a dilated addition": ("residual", ("layers", JOIN, "dilation"), [2, 2], "dilation: expected (1, 1)"),
    "samples without end": ("residual", ("layers", STEM, "samples"), 65535, "expected input shape"),
    "a table of nobody": ("residual", ("layers", ACT, "table"), None, "table: expected int8 of shape [256], got none"),
    "a shorter table": ("residual", ("layers", ACT, "table", "shape"), [255], "table: expected int8 of shape [256]"),
    "a tensor of nobody": ("residual", ("layers", JOIN, "inputs"), ["x", "y"], "expected tensors of the graph, got"),
    "a tensor from the future": ("residual", ("layers", 1, "inputs"), ["fc_out"], "written before, got 'fc_out'"),
    "no tensors of a layer": ("residual", ("layers", 1, "inputs"), [], "inputs: expected names of tensors, got []"),
    "a tensor that commands": ("residual", ("layers", 1, "outputs"), ["\x1b[31m"], "outputs: expected names"),
    "two outputs of a layer": ("residual", ("layers", 1, "outputs"), ["a", "b"], "outputs: expected names of tensors"),
    "no input": ("residual", ("inputs",), [], "inputs: expected at least one, got none"),
    "inputs that are none": ("residual", ("inputs",), "x", "inputs: expected a list of tensors"),
    "a scale below zero": ("residual", ("inputs", 0, "scale"), -1.0, "inputs[0].scale: expected a number in"),
    "a scale of no number": ("residual", ("inputs", 0, "scale"), "1", "inputs[0].scale: expected a number in"),
    "a shape of gigabytes": ("residual", ("inputs", 0, "shape"), [1 << 20, 1 << 20], "at most 134217728 elements"),
    "a type of nobody": ("residual", ("inputs", 0, "dtype"), "int4", "inputs[0].dtype: expected one of"),
    "a name of two lines": ("residual", ("inputs", 0, "name"), "a\nb", "inputs[0].name: expected a line"),
    "a file's name that commands": ("residual", ("inputs", 0), SOURCE_NAME, "inputs[0].source_name: expected a line"),
    "an output that nobody writes": ("residual", ("outputs", 0, "name"), "x", "expected outputs that a node writes"),
    "an arithmetic of nobody": ("residual", ("arithmetic",), "mine", "arithmetic: expected 'tflm' or 'litert'"),
    "rewrites that command": ("residual", ("rewrites",), ["\x1b"], "rewrites: expected lines of printable text"),
    "a view beyond its end": ("moves", ("layers", COPY, "view", "offset"), 5, "view: expected elements 0..191, got"),
    "a view before its start": ("moves", ("layers", COPY, "view", "steps"), [-4, 32, 1], "view: expected elements 0.."),
    "a view of steps without end": ("moves", ("layers", COPY, "view", "steps"), [1 << 60, 1, 1], "view.steps: exp"),
    "a view without an axis": ("moves", ("layers", COPY, "view", "shape"), [8], "view: expected as many steps as"),
    "a view of fewer elements": ("moves", ("layers", COPY, "view", "shape"), [8, 6, 1], "view.shape: expected 192"),
    "no view": ("moves", ("layers", COPY, "view"), None, "view: expected"),
    "a frame beyond the output": ("moves", ("layers", PAD, "view", "offset"), 100, "view: expected elements"),
    "a frame of no element": ("moves", ("layers", PAD, "scheme", "fill"), 1000, "scheme.fill: expected an element in"),
    "rows of two lengths": ("moves", ("layers", CAT, "more_inputs"), [[1, 1]], "(outer, inner) of one outer size"),
    "an image grown in depth": ("moves", ("layers", GROW, "output_shape"), [8, 6, 5], "as many channels as the input"),
    "a constant of another size": ("constants", ("constants", 0, "shape"), [5], "layer 'offset': expected input shape"),
    "a constant twice": ("constants", ("constants", 1, "name"), "offsets", "different names, got 'offsets' twice"),
    "a constant that changed": ("constants", ("constants", 0, "value", "sha256"), "0" * 64, "constants/0: exp"),
    "a state that nobody writes": ("states", ("states", 0, "write"), "x", "got 'x'"),
    "a state without a line": ("states", ("states", 0, "write"), "", "states[0].write: expected a line"),
    "a factor below of three": ("types", ("layers", 3, "scheme", "below"), [1, 2, 3], "below: expected None, or a mul"),
}  # fmt: skip


@pytest.mark.usefixtures("no_compiler")
@pytest.mark.parametrize("case", EDITS)
def test_a_strangers_graph_is_refused_by_file_and_key(case: str, originals: Path, tmp_path: Path) -> None:
    name, path, value, says = EDITS[case]
    made = tmp_path / "fw"
    shutil.copytree(originals / name, made)
    node = content = json.loads((made / "plan.json").read_text())
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    (made / "plan.json").write_text(json.dumps(content))
    with pytest.raises(FolderError, match=re.escape(says)) as refused:
        folder.load(made)
    assert refused.value.exit_status == 2
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize("name", NAMES)
def test_what_is_not_changed_is_taken(name: str, originals: Path) -> None:
    assert folder.load(originals / name).graph.outputs


@pytest.mark.parametrize("offset", [-1, 1 << 20])
def test_a_table_of_offsets_stays_inside(offset: int) -> None:
    layer = int8.moves().nodes[GROW].layer
    assert layer.table is not None
    assert table_problem(layer) is None
    wrong = layer.table.copy()
    wrong[0] = offset
    problem = table_problem(replace(layer, table=wrong))
    assert problem is not None
    assert "expected offsets of elements 0..47" in problem


def test_the_largest_scale_of_a_file_is_read_back(tmp_path: Path) -> None:
    b = int8.Builder()
    x = b.input("x", (4,), scale=float(np.finfo(np.float32).max))
    model = graph_model("net", b.graph(b.look_up("table", x)), "net.tflite")
    plan = tuning.tune(model, tuning.load_target("cortex-m4"))
    (tmp_path / "plan.json").write_text(plan.to_json())
    assert read_plan_file(tmp_path / "plan.json").content["inputs"][0]["scale"] == b.tensors["x"].scale
