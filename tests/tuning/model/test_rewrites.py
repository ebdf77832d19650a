# SPDX-License-Identifier: Apache-2.0
"""Rewrites of graphs: each where it belongs, nowhere else, and no byte of an output changes."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cmsisnn_x.affine import AffineClamp
from cmsisnn_x.graph import Graph, State
from cmsisnn_x.layers import Layer, View
from helpers.int8 import Builder, killed, valid_conv
from helpers.int8_graph import Host, Interpreter, assert_same_bytes, random_inputs
from helpers.tflite_files import O, T, build
from tuning.load import load_model
from tuning.model.rewrites import REWRITES, rewritten

PASSES = {rewrite.name: rewrite.apply for rewrite in REWRITES}
FULL = (-128, 127)


def applied(name: str, graph: Graph) -> Graph:
    """A graph after one pass, and all that holds after every pass."""
    after = PASSES[name](graph)
    after.verify()
    assert PASSES[name](after) is after, "a second time"
    if after is not graph:
        assert_same_bytes(graph, after, np.random.default_rng(1), runs=5)
    return after


def ops(graph: Graph) -> list[str]:
    return [node.op for node in graph.nodes]


def identity(b: Builder, name: str, x: str) -> str:
    """A reshape to a vector."""
    size = int(np.prod(b.tensors[x].shape))
    return b.copy(name, x, View((size,), (1,)))


def clamp(b: Builder, name: str, x: str, low: int, high: int) -> str:
    """A table that only clamps."""
    every = np.arange(256, dtype=np.uint8).view(np.int8)
    layer = Layer(
        name, "look_up", "int8", b.tensors[x].shape, b.tensors[x].shape, scheme=AffineClamp(*FULL),
        table=np.clip(every, low, high),
    )  # fmt: skip
    return b.add_layer(layer, (x,), f"{name}_out")


def padded(b: Builder, name: str, x: str, amounts: tuple[int, int, int, int], fill: int, channels: int = 0) -> str:
    """A frame as PAD of a file has it: top, bottom, left, right, and channels behind."""
    height, width, depth = b.tensors[x].shape
    top, bottom, left, right = amounts
    out = (height + top + bottom, width + left + right, depth + channels)
    steps = (out[0] * out[1] * out[2], out[1] * out[2], out[2], 1)
    view = View((1, height, width, depth), steps, top * steps[1] + left * steps[2])
    kind = b.tensors[x].type
    scheme = AffineClamp(kind.low, kind.high, fill)
    layer = Layer(name, "pad", kind.name, (height, width, depth), out, view=view, scheme=scheme)
    return b.add_layer(layer, (x,), f"{name}_out", zero_point=b.tensors[x].zero_point)


# ---------------------------------------------------------------- the list


def test_passes_are_named_and_say_why() -> None:
    assert list(PASSES) == ["identities", "pad", "tables", "clamps", "dead_channels"]
    assert len(PASSES) == len(REWRITES)
    for rewrite in REWRITES:
        assert rewrite.name.isidentifier()
        assert len(rewrite.reason.split()) > 5
        assert rewrite.reason[-1] != "."


def test_what_was_done_is_named_in_order() -> None:
    b = Builder()
    x = padded(b, "pad", b.input("x", (4, 4, 3)), (1, 1, 1, 1), b.tensors["x"].zero_point)
    x = clamp(b, "relu", b.conv("conv", x, 4), 0, 127)
    before = b.graph(x)
    after, done = rewritten(before)
    assert done == ("pad", "clamps")
    assert ops(after) == ["conv2d"]
    assert_same_bytes(before, after, np.random.default_rng(0))


def test_where_nothing_is_to_be_done_the_graph_stays_the_very_same() -> None:
    b = Builder()
    graph = b.graph(b.softmax("prob", b.dense("fc", b.conv("conv", b.input("x", (4, 4, 3)), 4), 3)))
    after, done = rewritten(graph)
    assert after is graph
    assert done == ()


# ---------------------------------------------------------------- identities


def test_a_reshape_inside_goes() -> None:
    b = Builder()
    x = b.conv("conv", b.input("x", (4, 4, 3)), 4)
    x = identity(b, "second", identity(b, "first", x))
    after = applied("identities", b.graph(b.dense("fc", x, 3)))
    assert ops(after) == ["conv2d", "fully_connected"]
    assert set(after.tensors) == {"x", "conv_out", "fc_out"}


def test_a_reshape_of_what_others_read_goes() -> None:
    b = Builder()
    x = b.conv("conv", b.input("x", (4, 4, 3)), 4)
    y = b.dense("fc", identity(b, "reshape", x), 3)
    after = applied("identities", b.graph(y, b.pool("pool", x, 2, 2)))
    assert ops(after) == ["conv2d", "fully_connected", "max_pool2d"]


def test_a_reshape_of_the_input_goes() -> None:
    b = Builder()
    after = applied("identities", b.graph(b.dense("fc", identity(b, "reshape", b.input("x", (4, 4, 3))), 3)))
    assert after.nodes[0].inputs == ("x",)


def test_a_reshape_at_the_end_goes_into_what_writes_it() -> None:
    b = Builder()
    out = identity(b, "reshape", b.conv("conv", b.input("x", (4, 4, 3)), 4))
    after = applied("identities", b.graph(out))
    assert ops(after) == ["conv2d"]
    assert after.nodes[0].outputs == (out,)


def _of_input(b: Builder) -> Graph:
    return b.graph(identity(b, "reshape", b.input("x", (4, 4, 3))))


def _of_shared(b: Builder) -> Graph:
    x = b.conv("conv", b.input("x", (4, 4, 3)), 4)
    return b.graph(identity(b, "reshape", x), b.dense("fc", x, 3))


def _of_output(b: Builder) -> Graph:
    x = b.conv("conv", b.input("x", (4, 4, 3)), 4)
    return b.graph(identity(b, "reshape", x), x)


def _of_two_outputs(b: Builder) -> Graph:
    x = b.conv("conv", b.input("x", (4, 4, 3)), 4)
    return b.graph(identity(b, "one", x), identity(b, "two", x))


def _of_a_state(b: Builder) -> Graph:
    """What is read before the run, copied into what is held after it."""
    x = b.input("x", (8,))
    held = b.input("held", (8,))
    b.inputs.remove(held)
    y = b.add("sum", x, held)
    new = identity(b, "new", x)
    state = State(held, new, np.zeros(8, np.int8))
    made = Graph(b.tensors.values(), b.nodes, ["x"], [y], [state])
    made.verify()
    return made


def _no_identity(b: Builder) -> Graph:
    x = b.conv("conv", b.input("x", (4, 4, 3)), 4)
    return b.graph(b.dense("fc", b.copy("flip", x, View((64,), (-1,), 63)), 3))


@pytest.mark.parametrize("make", [_of_input, _of_shared, _of_output, _of_two_outputs, _of_a_state, _no_identity])
def test_a_copy_that_somebody_needs_stays(make: Callable[[Builder], Graph]) -> None:
    graph = make(Builder())
    assert applied("identities", graph) is graph


# ---------------------------------------------------------------- pad


@pytest.mark.parametrize("amounts", [(1, 1, 1, 1), (0, 2, 1, 0), (3, 0, 0, 2)])
@pytest.mark.parametrize("depthwise", [False, True])
def test_a_frame_of_the_zero_point_goes_into_a_convolution(amounts: tuple[int, int, int, int], depthwise: bool) -> None:
    b = Builder()
    x = padded(b, "pad", b.input("x", (5, 6, 3)), amounts, b.tensors["x"].zero_point)
    after = applied("pad", b.graph(valid_conv(b, "conv", x, 4, 4, 2, depthwise=depthwise)))
    assert len(after.nodes) == 1
    assert after.nodes[0].layer.input_shape == (5, 6, 3)


@pytest.mark.parametrize("depthwise", [False, True])
def test_a_frame_goes_beside_the_padding_of_a_convolution(depthwise: bool) -> None:
    b = Builder()
    x = padded(b, "pad", b.input("x", (5, 6, 3)), (1, 1, 1, 1), b.tensors["x"].zero_point)
    (node,) = applied("pad", b.graph(b.conv("conv", x, 4, 4, 2, depthwise=depthwise))).nodes
    assert [before for before, _ in node.layer.padding] == [2, 2]


def test_a_frame_goes_into_all_who_read_it() -> None:
    b = Builder()
    x = padded(b, "pad", b.input("x", (5, 6, 3)), (1, 1, 1, 1), b.tensors["x"].zero_point)
    after = applied("pad", b.graph(valid_conv(b, "one", x, 4, 3), valid_conv(b, "two", x, 0, 3, 2, depthwise=True)))
    assert ops(after) == ["conv2d", "depthwise_conv2d"]


def test_a_frame_goes_into_a_convolution_of_int16() -> None:
    b = Builder()
    x = padded(b, "pad", b.input("x", (5, 6, 3), "int16"), (1, 1, 1, 1), 0)
    assert ops(applied("pad", b.graph(valid_conv(b, "conv", x, 4, 3)))) == ["conv2d"]


def test_a_frame_of_the_least_number_goes_into_a_maximum() -> None:
    b = Builder()
    x = padded(b, "pad", b.input("x", (5, 6, 3)), (1, 0, 1, 0), -128)
    assert ops(applied("pad", b.graph(b.pool("pool", x, 2, 2)))) == ["max_pool2d"]


def _another_value(b: Builder, x: str, zero_point: int) -> Graph:
    return b.graph(valid_conv(b, "conv", padded(b, "pad", x, (1, 1, 1, 1), zero_point + 1), 4, 3))


def _before_a_mean(b: Builder, x: str, zero_point: int) -> Graph:
    return b.graph(b.pool("pool", padded(b, "pad", x, (1, 1, 1, 1), zero_point), 2, 2, maximum=False))


def _before_a_maximum(b: Builder, x: str, zero_point: int) -> Graph:
    return b.graph(b.pool("pool", padded(b, "pad", x, (1, 1, 1, 1), -127), 2, 2))


def _a_window_of_frame_alone(b: Builder, x: str, zero_point: int) -> Graph:
    return b.graph(b.pool("pool", padded(b, "pad", x, (2, 0, 2, 0), -128), 2, 2))


def _one_other_reader(b: Builder, x: str, zero_point: int) -> Graph:
    x = padded(b, "pad", x, (1, 1, 1, 1), zero_point)
    return b.graph(valid_conv(b, "conv", x, 4, 3), b.look_up("act", x))


def _an_output(b: Builder, x: str, zero_point: int) -> Graph:
    x = padded(b, "pad", x, (1, 1, 1, 1), zero_point)
    return b.graph(valid_conv(b, "conv", x, 4, 3), x)


def _of_channels(b: Builder, x: str, zero_point: int) -> Graph:
    return b.graph(valid_conv(b, "conv", padded(b, "pad", x, (1, 1, 1, 1), zero_point, channels=2), 4, 3))


@pytest.mark.parametrize(
    "make",
    [_another_value, _before_a_mean, _before_a_maximum, _a_window_of_frame_alone, _one_other_reader, _an_output,
     _of_channels],
)  # fmt: skip
def test_a_frame_that_no_window_has_stays(make: Callable[[Builder, str, int], Graph]) -> None:
    b = Builder()
    x = b.input("x", (5, 6, 3))
    graph = make(b, x, b.tensors[x].zero_point)
    assert applied("pad", graph) is graph


# ---------------------------------------------------------------- tables


@pytest.mark.parametrize("first", ["int8", "uint8"])
@pytest.mark.parametrize("last", ["int8", "uint8", "int16"])
def test_tables_one_behind_the_other_are_one(first: str, last: str) -> None:
    b = Builder()
    x = b.look_up("one", b.input("x", (4, 16), first), "int8")
    x = b.look_up("two", x)
    after = applied("tables", b.graph(b.look_up("three", x, last)))
    (node,) = after.nodes
    assert node.inputs == ("x",)
    assert (node.layer.dtype, node.layer.output_type.name) == (first, last)
    assert node.layer.output_dtype in (None, last)


def _shared_table(b: Builder) -> Graph:
    x = b.look_up("one", b.input("x", (16,)))
    return b.graph(b.look_up("two", x), b.look_up("three", x))


def _table_that_is_an_output(b: Builder) -> Graph:
    x = b.look_up("one", b.input("x", (16,)))
    return b.graph(b.look_up("two", x), x)


def _wide_between(b: Builder) -> Graph:
    return b.graph(b.requantise("two", b.look_up("one", b.input("x", (16,)), "int16"), "int8"))


@pytest.mark.parametrize("make", [_shared_table, _table_that_is_an_output, _wide_between])
def test_tables_that_others_read_stay(make: Callable[[Builder], Graph]) -> None:
    graph = make(Builder())
    assert applied("tables", graph) is graph


# ---------------------------------------------------------------- clamps

PRODUCERS: dict[str, Callable[[Builder, str], str]] = {
    "conv": lambda b, x: b.conv("p", x, 4),
    "depthwise": lambda b, x: b.conv("p", x, 0, depthwise=True),
    "dense": lambda b, x: b.dense("p", x, 6),
    "max pool": lambda b, x: b.pool("p", x, 2, 2),
    "mean pool": lambda b, x: b.pool("p", x, 2, 2, maximum=False),
    "sum": lambda b, x: b.add("p", x, x),
    "product": lambda b, x: b.multiply("p", x, x),
    "maximum": lambda b, x: b.extreme("p", x, b.input("other", (4, 4, 3))),
    "mean": lambda b, x: b.mean("p", x),
}


@pytest.mark.parametrize("limits", [(-20, 127), (-128, 30), (-5, 9), (40, 40)])
@pytest.mark.parametrize("name", PRODUCERS)
def test_a_clamp_goes_into_what_it_clamps(name: str, limits: tuple[int, int]) -> None:
    b = Builder()
    x = PRODUCERS[name](b, b.input("x", (4, 4, 3)))
    out = clamp(b, "relu", x, *limits)
    after = applied("clamps", b.graph(out))
    assert len(after.nodes) == 1
    assert after.nodes[0].outputs == (out,)


def test_clamps_go_one_after_the_other() -> None:
    b = Builder()
    x = clamp(b, "second", clamp(b, "first", b.conv("conv", b.input("x", (4, 4, 3)), 4), -60, 127), -128, 40)
    after, _ = rewritten(b.graph(x))
    assert ops(after) == ["conv2d"]
    scheme = after.nodes[0].layer.scheme
    assert scheme is not None
    assert (scheme.low, scheme.high) == (max(scheme.low, -60), 40)


def test_a_table_that_only_clamps_what_can_come_in() -> None:
    """Below the least output a table may say what it likes."""
    b = Builder()
    x = b.conv("conv", b.input("x", (4, 4, 3)), 4)
    node = b.nodes[-1]
    b.nodes[-1] = replace(node, layer=replace(node.layer, scheme=replace(node.layer.scheme, low=0)))  # type: ignore[type-var]
    x = clamp(b, "relu", x, -128, 100)
    last = b.nodes[-1]
    table = last.layer.table
    assert table is not None
    table[128:] = 55
    assert ops(applied("clamps", b.graph(x))) == ["conv2d"]


def _no_clamp(b: Builder, x: str) -> Graph:
    return b.graph(b.look_up("act", b.conv("conv", x, 4)))


def _clamp_of_shared(b: Builder, x: str) -> Graph:
    x = b.conv("conv", x, 4)
    return b.graph(clamp(b, "relu", x, 0, 127), b.dense("fc", x, 3))


def _clamp_of_output(b: Builder, x: str) -> Graph:
    x = b.conv("conv", x, 4)
    return b.graph(clamp(b, "relu", x, 0, 127), x)


def _clamp_of_moved(b: Builder, x: str) -> Graph:
    return b.graph(clamp(b, "relu", b.copy("flip", x, View((48,), (-1,), 47)), 0, 127))


def _clamp_of_input(b: Builder, x: str) -> Graph:
    return b.graph(clamp(b, "relu", x, 0, 127))


def _clamp_of_softmax(b: Builder, x: str) -> Graph:
    return b.graph(clamp(b, "relu", b.softmax("prob", x), 0, 127))


def _clamp_to_another_type(b: Builder, x: str) -> Graph:
    return b.graph(b.look_up("wide", b.conv("conv", x, 4), "int16"))


@pytest.mark.parametrize(
    "make",
    [_no_clamp, _clamp_of_shared, _clamp_of_output, _clamp_of_moved, _clamp_of_input, _clamp_of_softmax,
     _clamp_to_another_type],
)  # fmt: skip
def test_a_table_that_does_more_stays(make: Callable[[Builder, str], Graph]) -> None:
    b = Builder()
    graph = make(b, b.input("x", (4, 4, 3)))
    assert applied("clamps", graph) is graph


# ---------------------------------------------------------------- all of them


def a_graph(rng: random.Random) -> Graph:
    """A few layers one behind the other, with something for every pass, and branches that are read twice."""
    b = Builder()
    size = rng.choice((5, 6, 7))
    x = b.input("x", (size, size, rng.choice((3, 4, 8))))
    outputs: list[str] = []
    for at in range(rng.randrange(3, 9)):
        shape = b.tensors[x].shape
        kind = rng.choice(("conv", "conv", "dw", "pool", "pad", "table", "clamp", "add", "copy"))
        name, kernel = f"{kind}{at}", rng.choice((1, 3))
        if kind == "conv":
            x = b.conv(name, x, rng.choice((4, 8, 12)), kernel, rng.choice((1, 1, 2)))
        elif kind == "dw":
            x = b.conv(name, x, 0, kernel, depthwise=True)
        elif kind == "pool" and shape[0] > 2:
            x = b.pool(name, x, 2, rng.choice((1, 2)), maximum=rng.random() < 0.5)
        elif kind == "pad" and shape[0] < 9:
            fill = rng.choice((b.tensors[x].zero_point, b.tensors[x].zero_point, -128, 5))
            x = padded(b, name, x, (rng.randrange(2), 1, 1, rng.randrange(2)), fill)
        elif kind == "table":
            x = b.look_up(name, x)
        elif kind == "clamp":
            x = clamp(b, name, x, rng.choice((-128, -20, 0)), rng.choice((127, 60)))
        elif kind == "add" and b.nodes:
            x = b.add(name, x, x)
        elif kind == "copy":
            x = b.copy(name, x, View(shape, (shape[1] * shape[2], shape[2], 1)))
        if kind in ("conv", "dw") and b.nodes and b.nodes[-1].op.endswith("conv2d"):
            channels = b.nodes[-1].layer.output_shape[2]
            chosen = rng.sample(range(channels), rng.choice((0, channels // 2, channels - 1, channels)))
            killed(b, chosen, b.tensors[x].zero_point if rng.random() < 0.5 else None)
        if rng.random() < 0.1 and b.nodes:
            outputs.append(x)
    x = b.dense("fc", identity(b, "flat", x), 4)
    return b.graph(x, *dict.fromkeys(outputs))


@pytest.mark.parametrize("seed", range(12))
def test_bytes_stay_whatever_is_rewritten(seed: int) -> None:
    before = a_graph(random.Random(seed))
    after, _ = rewritten(before)
    assert rewritten(after)[0].nodes == after.nodes or len(rewritten(after)[0].nodes) <= len(after.nodes)
    rng = np.random.default_rng(seed)
    assert_same_bytes(before, after, rng, runs=2)
    xs = random_inputs(after, rng)
    for one, other in zip(Interpreter(after).run(*xs), Host(after).run(*xs), strict=True):
        np.testing.assert_array_equal(one, other, strict=True)


def test_random_graphs_meet_every_pass() -> None:
    missing = set(PASSES)
    for seed in range(200):
        missing -= {*rewritten(a_graph(random.Random(seed)))[1]}
        if not missing:
            return
    raise AssertionError(f"in no graph: {missing}")


def test_a_frame_around_a_batch_goes_too(tmp_path: Path) -> None:
    x, w = T("x", (3, 5, 4, 2), scale=0.5, zero_point=-7), np.arange(36, dtype=np.int8).reshape(2, 3, 3, 2)
    tensors = [
        x, T("p", data=np.array([[0, 0], [1, 1], [1, 1], [0, 0]], np.int32)), replace(x, name="f", shape=(3, 7, 6, 2)),
        T("w", data=w, scale=0.25), T("y", (3, 5, 4, 2), scale=9.0, zero_point=4),
    ]  # fmt: skip
    window = {"padding": "VALID", "stride_h": 1, "stride_w": 1}
    ops = [O("PAD", ["x", "p"], ["f"]), O("CONV_2D", ["f", "w"], ["y"], window)]
    path = tmp_path / "batch.tflite"
    path.write_bytes(build(tensors, ops, ["x"], ["y"]))
    model, plain = load_model(path), load_model(path, rewrites=False)
    assert (model.rewrites, [layer.op for layer in model.layers]) == (("pad",), ["conv2d"])
    values = np.random.default_rng(0).integers(-128, 128, (3, 5, 4, 2), np.int8)
    np.testing.assert_array_equal(model.network().run(values), plain.network().run(values))
