# SPDX-License-Identifier: Apache-2.0
"""ONNX files and calibration data that are damaged, absurd or mean harm."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from helpers.forked import GIB, Ended, ForkServer
from helpers.samples import one_in

WEIGHTS = np.random.default_rng(1).standard_normal((6, 4, 3, 3)).astype(np.float32)


def network(shape: tuple[Any, ...] = (1, 4, 8, 8), weights: np.ndarray = WEIGHTS, **attributes: Any) -> bytes:
    """One convolution."""
    conv = helper.make_node("Conv", ["x", "w"], ["y"], **{"name": "c", "pads": [1, 1, 1, 1], **attributes})
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, size) for name, size in (("x", shape), ("y", None))]
    graph = helper.make_graph([conv], "g", ends[:1], ends[1:], [numpy_helper.from_array(weights, "w")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)]).SerializeToString()


def edited(edit: Callable[[Any], None]) -> bytes:
    model = onnx.load_from_string(network())
    edit(model.graph.initializer[0])
    return model.SerializeToString()


def outside(tensor: Any) -> None:
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "../../../../etc/passwd"


FILES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "expected an ONNX file"),
    "noise": (bytes(range(256)) * 9, "expected an ONNX file"),
    "sizes of billions": (network((1, 4, 10**9, 10**9)), "expected at most"),
    "negative sizes": (network((1, 4, -8, 8)), "fixed sizes"),
    "open sizes": (network(("n", "c", "h", "w")), "fixed sizes"),
    "NaN": (network(weights=WEIGHTS * np.nan), "a constant of NaN or infinity"),
    "stride 0": (network(strides=[0, 0]), "strides"),
    "groups that do not divide": (network(group=3), "group 3"),
    "weights elsewhere": (edited(outside), "external data cannot be read"),
    "weights of a billion rows": (edited(lambda tensor: tensor.dims.__setitem__(0, 10**9)), "cannot be read"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_bad_onnx_file_is_refused(refuse: Callable[..., Ended], box: Path, data: Path, name: str) -> None:
    content, says = FILES[name]
    (box / "m.onnx").write_bytes(content)
    refuse("cmsisnn-quantize", "m.onnx", "--calibration", data.name, "-o", "out.yaml", says=says, memory=3 * GIB)


@pytest.mark.parametrize("name", one_in(5, ["../x;<script>alert(1)</script>", "class", "*/", "a\nb", "9"]))
def test_names_of_nodes_become_names_of_layers(server: ForkServer, box: Path, data: Path, name: str) -> None:
    (box / "m.onnx").write_bytes(network(name=name))
    command = ("m.onnx", "--calibration", data.name, "-o", "out.yaml")
    ended = server.run("cmsisnn-quantize", *command, cwd=box, memory=3 * GIB)
    assert ended.status == 0, ended.err
    assert {path.name for path in box.iterdir()} == {"m.onnx", "data.npz", "out.yaml", "out.npz", "out_float.npz"}
    assert server.run("cmsisnn-tune", "out.yaml", "-q", "-o", "firmware", cwd=box).status == 0


@pytest.mark.parametrize(
    "x",
    [np.zeros((2, 3), np.float32), np.full((2, 4, 8, 8), np.nan, np.float32), np.zeros((0, 4, 8, 8), np.float32),
     np.array([{}], object), np.array(["a"]), np.zeros((2, 4, 8, 8), complex)],
    ids=["shape", "NaN", "none", "objects", "text", "complex"],
)  # fmt: skip
def test_bad_calibration_data_is_refused(refuse: Callable[..., Ended], box: Path, x: np.ndarray) -> None:
    (box / "m.onnx").write_bytes(network())
    np.savez(box / "data.npz", x=x)
    refuse("cmsisnn-quantize", "m.onnx", "--calibration", "data.npz", "-o", "out.yaml", says="x", memory=3 * GIB)


def test_no_damage_to_an_onnx_file_is_a_traceback(server: ForkServer, box: Path, data: Path, full: bool) -> None:
    good = network()
    for seed in range(1000 if full else 10):
        rng, content = random.Random(seed), bytearray(good)
        for _ in range(rng.choice((1, 2, 5))):
            content[rng.randrange(len(content) if rng.random() < 0.3 else 120)] = rng.randrange(256)
        if rng.random() < 0.2:
            del content[rng.randrange(len(content)) :]
        (box / "m.onnx").write_bytes(content)
        command = ("m.onnx", "--calibration", data.name, "-o", "out.yaml")
        ended = server.run("cmsisnn-quantize", *command, cwd=box, memory=3 * GIB)
        assert ended.status in (0, 1, 2), (seed, ended.err)
        assert ended.seconds < 5, seed
