# SPDX-License-Identifier: Apache-2.0
"""What is wrong with a network as a whole, and how all that is not taken is said at once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from helpers.tflite_cases import Case, network, q, refusal_of
from helpers.tflite_cases_elements import island
from helpers.tflite_cases_layers import conv
from helpers.tflite_cases_networks import NETWORKS
from helpers.tflite_files import O, T, build
from tuning import ModelError, load_model
from tuning.importers.tflite.reader import counted, operations

X, Y = q("x", (1, 4, 4, 2)), q("y", (1, 4, 4, 2))
FLOAT = T("f", (1, 4, 4, 2), "FLOAT32")
VARIABLES = NETWORKS["variables"]

NETWORK: dict[str, tuple[Case, str]] = {
    "a network of floats": (
        network([replace(FLOAT, name="x"), replace(FLOAT, name="y")], [O("TANH", ["x"], ["y"])]),
        "expected a quantised network, got one of floats; quantise it to int8 in the program that it comes from, or "
        "export it as ONNX and type cmsisnn-quantize m.onnx --calibration data.npz",
    ),
    "a network of floats with weights of int8": (
        network([replace(FLOAT, name="x"), T("w", data=np.ones((3, 32), np.int8), scale=0.5), T("y", (1, 3),
        "FLOAT32")],
                [O("FULLY_CONNECTED", ["x", "w", None], ["y"])]),
        "expected a quantised network, got one of floats",
    ),
    "an output of floats that are computed": (
        network([X, FLOAT, replace(FLOAT, name="y")], [O("DEQUANTIZE", ["x"], ["f"]), O("EXP", ["f"], ["y"])]),
        "output 'y': expected integers or their DEQUANTIZE",
    ),
    "an output that is a constant": (
        network([X, replace(Y, data=np.zeros((1, 4, 4, 2), np.int8)), replace(Y, name="z")],
                [O("RESHAPE", ["y"], ["z"], {"new_shape": (1, 4, 4, 2)})], outputs=("z",)),
        "output 'z': expected what depends on an input, got a constant",
    ),
    "an input that is a constant": (
        network([replace(X, data=np.zeros((1, 4, 4, 2), np.int8)), Y, replace(Y, name="z")],
                [O("ADD", ["x", "y"], ["z"])], ("x", "y"), ("z",)),
        "input 'x': expected what the caller gives, got a constant",
    ),
    "an input of floats that stay": (
        network([X, Y, replace(FLOAT, name="f"), replace(Y, name="z")], [O("ADD", ["x", "y"], ["z"])],
                ("x", "y", "f"), ("z",)),
        "input 'f': tensor 2 'f': expected integers of 8 or 16 bits, got FLOAT32",
    ),
    "an input twice": (
        network([X, Y], [O("ADD", ["x", "x"], ["y"])], ("x", "x")), "graph: expected every tensor to be defined once"
    ),
    "an input that is written": (
        network([X, Y], [O("RELU", ["x"], ["y"]), O("RELU", ["y"], ["x"])], outputs=("x",)),
        "graph: expected every tensor to be defined once",
    ),
    "a circle": (
        network([X, Y, replace(Y, name="z")], [O("ADD", ["x", "z"], ["y"]), O("RELU", ["y"], ["z"])], outputs=("z",)),
        "expected inputs that are written before, got 't2'",
    ),
    "an operator that reads itself": (
        network([X, Y], [O("ADD", ["x", "y"], ["y"])]), "expected inputs that are written before, got 't1'"
    ),
    "a tensor that is written twice": (
        network([X, Y], [O("RELU", ["x"], ["y"]), O("RELU6", ["x"], ["y"])]),
        "graph: expected every tensor to be defined once"
    ),
    "an output that is a constant that others read": (
        network([X, replace(Y, data=np.zeros((1, 4, 4, 2), np.int8)), replace(Y, name="z")],
                [O("ADD", ["x", "y"], ["z"])], outputs=("z", "y")),
        "output 'y': expected what depends on an input, got a constant",
    ),
    "an input whose integers are of another size": (
        network([replace(FLOAT, shape=(1, 16)), X, Y], [O("QUANTIZE", ["f"], ["x"]), O("RELU", ["x"], ["y"])], ("f",)),
        "input 'f': expected 16 elements as of its shape, got 32",
    ),
    "an output whose integers are of another size": (
        network([X, Y, replace(FLOAT, shape=(1, 16))], [O("RELU", ["x"], ["y"]), O("DEQUANTIZE", ["y"], ["f"])],
                outputs=("f",)),
        "output 'f': expected 16 elements as of its shape, got 32",
    ),
    "no inputs": (
        network([X, Y], [O("RELU", ["x"], ["y"])], ()), "expected inputs that are written before, got 't0'"
    ),
    "no outputs": (
        network([X, Y], [O("RELU", ["x"], ["y"])], outputs=()), "expected a network with inputs and outputs"
    ),
    "a variable that is not assigned": (
        replace(VARIABLES, ops=[*VARIABLES.ops[:7], *VARIABLES.ops[8:]]),
        "variable 'window': expected one that is assigned, got none",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORK)
def test_what_is_wrong_with_the_whole_is_refusal_of(tmp_path: Path, name: str) -> None:
    case, says = NETWORK[name]
    assert says in refusal_of(tmp_path / "m.tflite", case)


def test_everything_is_said_at_once(tmp_path: Path) -> None:
    """Operators of one kind with one reason are counted; the others follow."""
    a, b, c, d = (q(name, (1, 8)) for name in "abcd")
    ops = [
        O("CUMSUM", ["x"], ["a"]), O("CUMSUM", ["a"], ["b"]), O("CUSTOM", ["b"], ["c"], custom="Ethos\x1b[31m"),
        O("RELU", ["c"], ["d"]), O("SVDF", ["d"], ["y"]),
    ]  # fmt: skip
    case = network([q("x", (1, 8)), a, b, c, d, q("y", (1, 8))], ops)
    path = tmp_path / "m.tflite"
    assert refusal_of(path, case) == (
        "expected operators that this version takes, got others: CUMSUM (2x, first 'a'): no kernel for it; "
        r"'Ethos\x1b[31m' (1x, first 'c'): no kernel for it; SVDF (1x, first 'y'): no kernel for it"
    )
    found = operations(path)
    assert [bool(one.problem) for one in found] == [True, True, True, False, True]
    assert [one.nodes for one in found] == [(), (), (), ("relu_3",), ()]
    assert counted(found) == [(r"'Ethos\x1b[31m'", 1, 1), ("CUMSUM", 2, 2), ("RELU", 1, 0), ("SVDF", 1, 1)]


def test_a_message_has_an_end(tmp_path: Path) -> None:
    """However many reasons there are."""
    tensors = [q("x", (1, 8)), *(T("n" * 300 + str(at), (1, 8)) for at in range(40))]
    ops = [O("ADD", [0, at + 1], [at + 1]) for at in range(40)]
    case = network(tensors, ops, outputs=tuple(tensor.name for tensor in tensors[1:]))
    text = refusal_of(tmp_path / "m.tflite", case)
    assert text.endswith("; and 28 more kinds; --operations lists what the file uses")
    assert len(text) < 5000


def test_what_nobody_reads_is_no_reason(tmp_path: Path) -> None:
    path = NETWORKS["dead ends"].write(tmp_path / "m.tflite")
    assert [one.problem for one in operations(path)] == [None] * 4
    assert load_model(path).graph.nodes[0].op == "add"


def test_arithmetic_of_another_name(tmp_path: Path) -> None:
    path = conv("plain").write(tmp_path / "m.tflite")
    with pytest.raises(ModelError, match="arithmetic: expected 'tflm' or 'litert', got 'exact'"):
        load_model(path, arithmetic="exact")


def test_a_file_without_operators(tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(build([X], [], ["x"], ["x"]))
    with pytest.raises(ModelError, match="output 'x': expected what the network computes, got its input"):
        load_model(path)


def test_islands_of_one_function_are_taken(tmp_path: Path) -> None:
    """The negative of the refusals above."""
    assert load_model(island(["TANH", "ABS"]).write(tmp_path / "m.tflite")).layers[0].op == "look_up"
