# SPDX-License-Identifier: Apache-2.0
"""Float ONNX graphs that are damaged, absurd or mean harm."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from helpers.forked import GIB, Ended, ForkServer
from helpers.onnx_float import FloatNet
from helpers.samples import one_in


def saved(net: FloatNet, *outputs: str) -> bytes:
    return bytes(net.model(*outputs).SerializeToString())


def residual() -> FloatNet:
    net = FloatNet((4, 8, 8))
    y = net.node("Relu", net.conv("x", 4, 4))
    net.node("Add", net.conv(y, 4, 4), y)
    return net


def _doubled() -> bytes:
    net = FloatNet((4, 8, 8))
    y = net.conv("x", 4, 4)
    for _ in range(30):
        y = net.node("Concat", y, y, axis=1)
    return saved(net, y)


def _spread() -> bytes:
    net = FloatNet((4, 30_000))
    return saved(net, net.node("Add", net.node("Unsqueeze", "x", net.constant(np.array([3]))), net.node(
        "Unsqueeze", "x", net.constant(np.array([2])))))  # fmt: skip


def _one(op: str, *more: np.ndarray, **attributes: object) -> bytes:
    net = FloatNet((4, 8, 8))
    y = net.node(op, "x", *(net.constant(one) if one.size else "" for one in more), **attributes)
    return saved(net, net.node("Add", y, y))


NOTHING = np.empty(0)
FILES: dict[str, tuple[bytes, str]] = {
    "a network that doubles itself": (_doubled(), "Concat"),
    "a sum of all with all": (_spread(), "numbers of one sample"),
    "a frame of billions": (_one("Pad", np.array([0, 0, 10**9, 10**9, 0, 0, 0, 0])), "Pad"),
    "a billion times as many pixels": (
        _one("Resize", NOTHING, np.array([1, 1, 3e4, 3e4], np.float32), mode="nearest"), "Resize"),
    "sizes of billions": (
        _one("Resize", NOTHING, NOTHING, np.array([1, 4, 10**5, 10**5]), mode="nearest"), "Resize"),
    "an axis that is not there": (_one("Softmax", axis=9), "Softmax"),
    "a step of 0": (
        _one("Slice", np.array([0]), np.array([4]), np.array([1]), np.array([0])), "Slice"),
    "a split into nothing": (_one("Split", np.array([0, 4]), axis=1), "Split"),
    "a pool of stride 0": (_one("MaxPool", kernel_shape=[2, 2], strides=[0, 1]), "strides"),
    "a square root of the index": (_one("Gather", np.array([99]), axis=1), "Gather"),
    "NaN as a limit": (_one("Clip", np.array(np.nan, np.float32), np.array(1, np.float32)), "Clip"),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_a_bad_graph_is_refused(refuse: Callable[..., Ended], box: Path, data: Path, name: str) -> None:
    content, says = FILES[name]
    (box / "m.onnx").write_bytes(content)
    refuse("cmsisnn-quantize", "m.onnx", "--calibration", data.name, "-o", "out.yaml", says=says, memory=3 * GIB)


NAMES = ["../x;<script>alert(1)</script>", "class", "a\nb", "*/", "9", "x/int", "x/float"]


@pytest.mark.parametrize("name", one_in(7, NAMES))
def test_names_of_a_graph_become_names_of_ours(server: ForkServer, box: Path, data: Path, name: str) -> None:
    """Of nodes, tensors, the input and the output."""
    proto = residual().model("t7")
    names = {"x": f"{name}x", "t3": name, "t7": f"{name}y"}
    for node in proto.graph.node:
        node.name = name
        node.input[:] = [names.get(one, one) for one in node.input]
        node.output[:] = [names.get(one, one) for one in node.output]
    proto.graph.input[0].name, proto.graph.output[0].name = names["x"], proto.graph.node[-1].output[0]
    (box / "m.onnx").write_bytes(proto.SerializeToString())
    for output in ("out.yaml", "out.tflite"):
        command = ("m.onnx", "--calibration", data.name, "-o", output)
        ended = server.run("cmsisnn-quantize", *command, cwd=box, memory=3 * GIB)
        assert ended.status == 0, ended.err
        assert server.run("cmsisnn-tune", output, "-q", "-o", "firmware", cwd=box).status == 0
    ended = server.run("cmsisnn-tune", "out.yaml", "-q", "--check", data.name, cwd=box, memory=3 * GIB)
    assert ended.status == 0, ended
    written = {path.name for path in box.iterdir()}
    assert written == {"m.onnx", "data.npz", "out.yaml", "out.npz", "out_float.npz", "out.tflite", "firmware", "build"}


def test_no_damage_to_a_graph_is_a_traceback(server: ForkServer, box: Path, data: Path, full: bool) -> None:
    good = saved(residual(), "t7")
    onnx.load_from_string(good)
    for seed in range(600 if full else 10):
        rng, content = random.Random(seed), bytearray(good)
        for _ in range(rng.choice((1, 2, 5))):
            content[rng.randrange(len(content)) if rng.random() < 0.3 else -rng.randrange(1, 300)] = rng.randrange(256)
        (box / "m.onnx").write_bytes(content)
        command = ("m.onnx", "--calibration", data.name, "-o", "out.yaml")
        ended = server.run("cmsisnn-quantize", *command, cwd=box, memory=3 * GIB)
        assert ended.status in (0, 1, 2), (seed, ended.err)
        assert ended.seconds < 10, seed
