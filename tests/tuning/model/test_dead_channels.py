# SPDX-License-Identifier: Apache-2.0
"""Channels that are constants go where that is exact, in words of four, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from cmsisnn_x.affine import Affine
from cmsisnn_x.graph import Graph, State
from helpers.int8 import Builder, killed, valid_conv
from helpers.int8_graph import assert_same_bytes
from tuning.model.rewrites import REWRITES

(PASS,) = (rewrite.apply for rewrite in REWRITES if rewrite.name == "dead_channels")
FOUR = [0, 3, 4, 6]
"""Half of eight."""


def applied(graph: Graph) -> Graph:
    after = PASS(graph)
    after.verify()
    if after is not graph:
        assert_same_bytes(graph, after, np.random.default_rng(2), runs=5)
    return after


def widths(graph: Graph) -> list[int]:
    """Channels of every node's output."""
    return [node.layer.output_shape[-1] for node in graph.nodes]


def start(channels: int = 8, dead: list[int] | None = None, value: int | None = None) -> tuple[Builder, str]:
    """A convolution of which some filters are zeros."""
    b = Builder()
    x = b.conv("first", b.input("x", (6, 6, 3)), channels)
    killed(b, FOUR if dead is None else dead, value)
    return b, x


def test_into_a_convolution_without_padding() -> None:
    b, x = start()
    after = applied(b.graph(b.conv("second", x, 5, 1)))
    assert widths(after) == [4, 5]
    first, second = (node.layer for node in after.nodes)
    assert isinstance(first.scheme, Affine)
    assert len(first.scheme.multiplier) == 4
    assert first.weights is not None
    assert second.weights is not None
    assert (first.weights.shape, second.weights.shape) == ((4, 3, 3, 3), (5, 1, 1, 4))
    assert after.tensors["first_out"].shape == (6, 6, 4)


def test_with_one_factor_for_all() -> None:
    b = Builder()
    x = b.conv("first", b.input("x", (6, 6, 3)), 8, per_channel=False)
    killed(b, FOUR)
    assert widths(applied(b.graph(b.conv("second", x, 5, 1)))) == [4, 5]


def test_without_biases() -> None:
    b, x = start()
    out = b.conv("second", x, 5, 1)
    b.nodes = [replace(node, layer=replace(node.layer, bias=None)) for node in b.nodes]
    assert widths(applied(b.graph(out))) == [4, 5]


def test_through_depthwise_and_pools_into_a_dense_layer() -> None:
    """None of them pads: every channel keeps its constant."""
    b, x = start()
    x = b.pool("most", valid_conv(b, "dw", x, 0, 3, depthwise=True), 2, 1)
    x = b.dense("fc", b.pool("mean", x, 2, 1, maximum=False), 5)
    assert widths(applied(b.graph(x))) == [4, 4, 4, 4, 5]


def test_depthwise_filters_that_are_zeros() -> None:
    """What they read need not be constant: nobody else reads it."""
    b, x = start(dead=[1])
    x = b.conv("dw", x, 0, depthwise=True)
    killed(b, FOUR)
    assert widths(applied(b.graph(b.conv("last", x, 5, 1)))) == [4, 4, 5]


def test_padding_beside_a_channel_that_is_not_the_zero_point() -> None:
    b, x = start(value=-100)
    assert b.tensors[x].zero_point != -100
    graph = b.graph(b.conv("second", x, 5, 3))
    assert applied(graph) is graph


@pytest.mark.parametrize("depthwise", [False, True])
def test_padding_beside_a_channel_of_the_zero_point(depthwise: bool) -> None:
    b, x = start()
    b.nodes.clear()
    x = b.conv("first", "x", 8)
    killed(b, FOUR, b.tensors[x].zero_point)
    x = b.conv("second", x, 5, 3, depthwise=depthwise)
    x = b.conv("third", x, 5, 1)
    assert widths(applied(b.graph(x))) == ([4, 4, 5] if depthwise else [4, 5, 5])


@pytest.mark.parametrize("reader", ["conv2d", "depthwise_conv2d", "max_pool2d", "fully_connected"])
@pytest.mark.parametrize("shape", [(12, 6, 4), (6, 3, 16), (3, 12, 8)])
def test_a_reader_that_sees_other_channels(reader: str, shape: tuple[int, int, int]) -> None:
    """A reshaped image, whose reshaping another pass left out, has its constants in several channels."""
    b = Builder()
    x = b.conv("first", b.input("x", (6, 6, 3)), 8)
    killed(b, FOUR)
    whole = b.tensors[x]
    b.tensors[x] = replace(whole, shape=shape)
    if reader == "fully_connected":
        x = b.dense("second", x, 3)
    elif reader == "max_pool2d":
        x = b.pool("second", x, 2, 1)
    else:
        x = b.conv("second", x, 5, 1, depthwise=reader == "depthwise_conv2d")
    b.tensors["first_out"] = whole
    graph = b.graph(b.dense("last", x, 3))
    after = applied(graph)
    assert (after is graph) == (shape[2] != 8 and reader != "fully_connected")


def test_a_constant_that_makes_others() -> None:
    """A layer whose only live inputs are constants is one."""
    b, x = start(dead=list(range(8)))
    x = b.conv("second", x, 8, 1)
    x = b.dense("fc", x, 5)
    after = applied(b.graph(x))
    assert widths(after) == [4, 4, 5]


WORDS = [(8, 1, 8), (8, 3, 8), (8, 4, 4), (8, 5, 4), (8, 8, 4), (6, 1, 6), (6, 2, 4), (5, 1, 4), (3, 1, 3), (3, 3, 3)]


@pytest.mark.parametrize(("channels", "dead", "left"), [*WORDS, (12, 7, 8)])
def test_words_stay_full(channels: int, dead: int, left: int) -> None:
    """Three channels are as much work as four."""
    b, x = start(channels, list(range(dead)))
    graph = b.graph(b.dense("fc", b.pool("pool", x, 2, 2), 5))
    after = applied(graph)
    assert widths(after) == [left, left, 5]
    assert (after is graph) == (left == channels)


def test_zeros_at_both_ends_of_a_branch() -> None:
    """All readers agree which channels go."""
    b, x = start()
    one, two = b.conv("one", x, 5, 1), b.dense("two", x, 3)
    assert widths(applied(b.graph(one, two))) == [4, 5, 3]


def _sum(b: Builder, x: str) -> tuple[str, ...]:
    return (b.dense("fc", b.add("sum", x, x), 3),)


def _table(b: Builder, x: str) -> tuple[str, ...]:
    return (b.dense("fc", b.look_up("act", x), 3),)


def _groups(b: Builder, x: str) -> tuple[str, ...]:
    return (b.conv("second", x, 4, 1, groups=2),)


def _output(b: Builder, x: str) -> tuple[str, ...]:
    return x, b.conv("second", x, 5, 1)


def _rows(b: Builder, x: str) -> tuple[str, ...]:
    """A dense layer of several samples."""
    return (b.dense("fc", x, 3, samples=2),)


def _other_reader(b: Builder, x: str) -> tuple[str, ...]:
    return b.conv("second", x, 5, 1), b.softmax("prob", x)


def _pool_at_the_end(b: Builder, x: str) -> tuple[str, ...]:
    return (b.pool("pool", x, 2, 2),)


@pytest.mark.parametrize("make", [_sum, _table, _groups, _output, _rows, _other_reader, _pool_at_the_end])
def test_channels_that_somebody_sees_stay(make: Callable[[Builder, str], tuple[str, ...]]) -> None:
    b, x = start()
    graph = b.graph(*make(b, x))
    after = applied(graph)
    assert widths(after) == widths(graph)


def test_channels_of_a_state_stay() -> None:
    b, x = start()
    y = b.conv("second", x, 5, 1)
    b.input("held", b.tensors[x].shape)
    z = b.conv("third", "held", 5, 1)
    b.inputs.remove("held")
    graph = Graph(b.tensors.values(), b.nodes, ["x"], [y, z], [State("held", x, np.zeros((6, 6, 8), np.int8))])
    graph.verify()
    assert widths(applied(graph)) == [8, 5, 5]


def test_int16_stays() -> None:
    b = Builder()
    x = b.conv("first", b.input("x", (6, 6, 3), "int16"), 8)
    killed(b, FOUR)
    graph = b.graph(b.conv("second", x, 5, 1))
    assert applied(graph) is graph


def test_biases_wrap_as_accumulators_do() -> None:
    """2^31 - 1 and one more."""
    b, x = start(value=100)
    out = b.conv("second", x, 5, 1)
    node = b.nodes[-1]
    assert node.layer.weights is not None
    weights = node.layer.weights.copy()
    weights[..., FOUR] = 127
    bias = np.full(5, 2**31 - 1, np.int32)
    b.nodes[-1] = replace(node, layer=replace(node.layer, weights=weights, bias=bias))
    after = applied(b.graph(out))
    assert widths(after) == [4, 5]
    assert after.nodes[1].layer.bias is not None
    assert (after.nodes[1].layer.bias < 0).all()


def test_litert_dense_layers_round_once() -> None:
    b, x = start()
    x = b.dense("fc", x, 5)
    node = b.nodes[-1]
    scheme = node.layer.scheme
    assert isinstance(scheme, Affine)
    exact = replace(scheme, rounding="float", reals=(1.2345e-3,))
    b.nodes[-1] = replace(node, layer=replace(node.layer, scheme=exact))
    assert widths(applied(b.graph(x))) == [4, 5]
