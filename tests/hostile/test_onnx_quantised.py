# SPDX-License-Identifier: Apache-2.0
"""Quantised ONNX files that are damaged, absurd or mean harm: one sentence, exit status 2."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from helpers.forked import GIB, Ended
from helpers.onnx_quantised import Net
from tuning.base.errors import ModelError
from tuning.load import load_model, operations


def network(build: Callable[[Net, str], str] | None = None, shape: tuple[Any, ...] = (1, 3, 6, 6)) -> Any:
    net = Net(shape)
    x = net.q("x", 0.02, 3)
    if build is None:
        y = net.q(
            net.node("Relu", net.node("Conv", x, net.weights((4, 3, 3, 3)), net.bias(4), pads=[1] * 4)), 0.05, -128
        )
        y = net.node("Reshape", net.node("MaxPool", y, kernel_shape=[2, 2]), net.constant(np.array([1, -1])))
        return net.model(net.q(net.node("Gemm", y, net.weights((100, 5), 1), net.bias(5)), 0.1))
    return net.model(net.q(build(net, x), 0.1))


def edited(edit: Callable[[Any], None]) -> bytes:
    model = network()
    edit(model)
    return bytes(model.SerializeToString())


def of(op: str, *more: Any, **attributes: Any) -> bytes:
    """One operator of the input and of constants."""
    model = network(lambda net, x: net.node(op, x, *map(net.constant, more), **attributes))
    return bytes(model.SerializeToString())


def _scale(values: list[float]) -> Callable[[Any], None]:
    def edit(model: Any) -> None:
        model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(np.array(values, np.float32), "c1"))

    return edit


def _attribute(op: str, name: str, value: Any) -> Callable[[Any], None]:
    def edit(model: Any) -> None:
        (found,) = (node for node in model.graph.node if node.op_type == op)
        for at in reversed([at for at, item in enumerate(found.attribute) if item.name == name]):
            del found.attribute[at]
        found.attribute.append(onnx.helper.make_attribute(name, value))

    return edit


I64 = np.int64
FILES: dict[str, tuple[bytes, str]] = {
    "sizes of billions": (
        network(lambda net, x: net.node("Relu", x), (1, 4, 10**9, 10**9)).SerializeToString(), "at most"
    ),
    "a scale of NaN": (edited(_scale([np.nan])), "finite numbers above 0"),
    "a negative scale": (edited(_scale([-1])), "finite numbers above 0"),
    "no scale": (edited(_scale([])), "finite numbers above 0"),
    "many scales": (edited(_scale([0.1] * 7)), "7 scales"),
    "stride 0": (edited(_attribute("Conv", "strides", [0, 0])), "strides"),
    "a text as strides": (edited(_attribute("Conv", "strides", "abc")), "no valid Conv"),
    "pads of billions": (edited(_attribute("Conv", "pads", [2**40] * 4)), "pads"),
    "dilations of billions": (edited(_attribute("Conv", "dilations", [2**40] * 2)), "dilations"),
    "groups that do not divide": (edited(_attribute("Conv", "group", 2)), "2 groups"),
    "a window beyond the image": (edited(_attribute("MaxPool", "kernel_shape", [90, 90])), "do not fit an image"),
    "alpha of NaN": (edited(_attribute("Gemm", "alpha", float("nan"))), "alpha"),
    "a shape of 0": (of("Reshape", np.array([0, 0, 0, 0, 0], I64)), "has not"),
    "a shape that is too large": (of("Reshape", np.array([2**60, -1], I64)), "expected sizes above 0"),
    "a pad of gigabytes": (of("Pad", np.array([0, 0, 2**40, 0, 0, 0, 0, 0], I64)), "elements of a tensor"),
    "a resize to gigabytes": (of("Resize", np.zeros(0, np.float32), np.float32([1, 1, 9000, 9000])), "elements of a"),
    "a slice of nothing": (of("Slice", *(np.array([v], I64) for v in (3, 3, 2))), "without elements"),
    "steps of 0": (of("Slice", *(np.array([v], I64) for v in (0, 3, 2, 0))), "steps forward"),
    "a permutation that is none": (of("Transpose", perm=[0, 1, 2, 9]), "permutation"),
    "an axis that is none": (of("Softmax", axis=9), "axis"),
    "parts that do not fit": (of("Split", np.array([1, 1], I64), axis=1), "does not come in parts"),
    "a tensor of its own output": (edited(lambda model: model.graph.node[0].input.__setitem__(0, "t40")), ""),
    "an operator that nobody has": (of("Mystery"), "Mystery (1x"),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_a_bad_quantised_onnx_file_is_one_sentence(tmp_path: Path, name: str) -> None:
    content, says = FILES[name]
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError) as problem:
        load_model(path)
    assert says in str(problem.value)
    assert "\n" not in str(problem.value)


def test_the_command_says_so_and_ends_with_2(refuse: Callable[..., Ended], box: Path) -> None:
    (box / "m.onnx").write_bytes(FILES["a pad of gigabytes"][0])
    refuse("cmsisnn-tune", "m.onnx", says="elements of a tensor", memory=3 * GIB)


def test_no_damage_to_a_quantised_onnx_file_is_anything_but_a_model_error(tmp_path: Path, full: bool) -> None:
    rng, path = random.Random(5), tmp_path / "m.onnx"
    sources = [network().SerializeToString(), _q_operator()]
    taken = 0
    for turn in range(3000 if full else 250):
        content = bytearray(sources[turn % 2])
        for _ in range(rng.choice((1, 1, 2, 8))):
            at = rng.randrange(len(content))
            if rng.random() < 0.7:
                content[at] = rng.randrange(256)
            elif rng.random() < 0.5:
                del content[at : at + rng.randrange(1, 9)]
            else:
                content[at:at] = bytes(rng.randrange(256) for _ in range(4))
        path.write_bytes(bytes(content))
        for read in (load_model, operations):
            with suppress(ModelError):
                read(path)
                taken += 1
    assert taken


def _q_operator() -> bytes:
    net = Net((1, 3, 6, 6))
    n = [net.numbers(0.02, 3), net.numbers(0.05, -4), net.numbers(0.06, 1)]
    y = net.node("QLinearConv", "x", *n[0], *net.integers((4, 3, 3, 3)), *n[1])
    y = net.node("QLinearAdd", y, *n[1], y, *n[1], *n[2], domain="com.microsoft")
    y = net.node("QLinearGlobalAveragePool", y, *n[2], *n[2], domain="com.microsoft")
    return bytes(net.model(y, input_type=TensorProto.INT8).SerializeToString())
