# SPDX-License-Identifier: Apache-2.0
"""Graphs: who makes and who reads a tensor, what is refused; steps: what one kernel call runs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cmsisnn_x import Variant
from cmsisnn_x.buffers import layer_scratch_bytes
from cmsisnn_x.errors import CmsisnnError, DtypeError, ShapeError, VariantError
from cmsisnn_x.graph import Graph, Node, Tensor
from cmsisnn_x.layers import Layer
from cmsisnn_x.scheme import TENSOR_TYPES
from cmsisnn_x.steps import Step, pooling_behind, steps_of
from helpers.networks import NETWORKS, conv, dense, pool
from helpers.plans import chain
from tuning.load import load_model

FUSED = Variant(8, 2, 2, 2, fused_pool=True)

Q7 = TENSOR_TYPES["q7"]


def branching(**changes: Layer) -> Graph:
    """x -> a -> b -> c, where c reads a too."""
    layers = {name: Layer(name, op, "q7", (4,), (4,)) for name, op in (("a", "relu"), ("b", "tanh"))}
    layers["c"] = Layer("c", "multiply", "q7", (4,), (4,), more_inputs=((4,),))
    layers |= changes
    nodes = [
        Node("a", "relu", ("x",), ("a",), layers["a"]),
        Node("b", "tanh", ("a",), ("b",), layers["b"]),
        Node("c", "multiply", ("b", "a"), ("c",), layers["c"]),
    ]
    return Graph([Tensor(name, (4,), Q7) for name in "xabc"], nodes, ("x",), ("c",))


def test_a_tensor_has_one_producer_and_its_readers_in_order() -> None:
    graph = branching()
    graph.verify()
    a, b, c = graph.nodes
    assert graph.producer("x") is None
    assert [graph.producer(name) for name in "abc"] == [a, b, c]
    assert [graph.readers(name) for name in "xabc"] == [(a,), (b, c), (c,), ()]
    assert [graph.sole_reader(node) for node in graph.nodes] == [None, c, None]
    assert [graph.reads_input(node) for node in graph.nodes] == [True, False, False]
    assert [graph.writes_output(node) for node in graph.nodes] == [False, False, True]
    assert [graph.index(node) for node in graph.nodes] == [0, 1, 2]


@pytest.mark.parametrize("name", NETWORKS)
def test_a_chain_is_a_graph_of_its_layers(name: str) -> None:
    layers = NETWORKS[name]
    graph = Graph.chain(layers)
    graph.verify()
    assert [graph.layer(node) for node in graph.nodes] == list(layers)
    for before, after in zip(graph.nodes, graph.nodes[1:], strict=False):
        assert graph.sole_reader(before) is after
        assert graph.producer(after.inputs[0]) is before
    assert graph.reads_input(graph.nodes[0])
    assert graph.writes_output(graph.nodes[-1])


def test_names_that_come_twice_in_a_chain_stay_apart() -> None:
    layer = Layer("input", "relu", "q7", (4,), (4,))
    graph = Graph.chain([layer] * 3)
    graph.verify()
    assert len(graph.tensors) == 4
    assert [graph.index(node) for node in graph.nodes] == [0, 1, 2]


def test_a_model_has_its_graph() -> None:
    model = load_model("digits")
    model.graph.verify()
    assert [node.name for node in model.graph.nodes] == [layer.name for layer in model.layers]
    assert model.graph is model.graph


def test_what_does_not_fit_is_refused_by_name() -> None:
    with pytest.raises(ShapeError, match=r"layer 'b': expected input shape \(4,\), the output of 'a', got \(5,\)"):
        branching(b=Layer("b", "tanh", "q7", (5,), (4,))).verify()
    with pytest.raises(ShapeError, match=r"layer 'b': expected output shape \(4,\), that of tensor 'b', got \(5,\)"):
        branching(b=Layer("b", "tanh", "q7", (4,), (5,))).verify()
    with pytest.raises(DtypeError, match="layer 'b': expected dtype q7, that of 'a', got q15"):
        branching(b=Layer("b", "tanh", "q15", (4,), (4,))).verify()
    with pytest.raises(ShapeError, match=r"layer 'a': expected input shape \(4,\), that of tensor 'x', got \(8,\)"):
        branching(a=Layer("a", "relu", "q7", (8,), (4,))).verify()


def test_a_graph_is_written_once_and_in_order() -> None:
    graph = branching()
    tensors, (a, b, c) = list(graph.tensors.values()), graph.nodes
    wrong = {
        "every tensor to be defined once, got 'a' twice": Graph(tensors, [a, b, replace(c, outputs=("a",))], "x", "a"),
        "every tensor to be defined once, got 'x' twice": Graph(tensors, [a, b, replace(c, outputs=("x",))], "x", "x"),
        "every tensor to be defined once, got 'b' twice": Graph([*tensors, tensors[2]], graph.nodes, "x", "c"),
        "every node to be defined once, got 'a' twice": Graph(tensors, [a, b, replace(c, name="a")], "x", "c"),
        "layer 'b': expected inputs that are written before, got 'a'": Graph(tensors, [b, a, c], "x", "c"),
        "layer 'b': expected tensors of the graph, got 'y'": Graph(
            tensors, [a, replace(b, inputs=("y",)), c], "x", "c"
        ),
        "graph: expected inputs and outputs among its tensors, got 'z'": Graph(tensors, graph.nodes, "x", "z"),
        "graph: expected outputs that a node writes, got 'c'": Graph(tensors, [a, b], "x", "c"),
    }
    for said, bad in wrong.items():
        with pytest.raises(CmsisnnError) as problem:
            bad.verify()
        assert said in str(problem.value)


def test_a_constant_is_known_from_the_start() -> None:
    graph = branching()
    a, b, c = graph.nodes
    constant = Tensor("k", (4,), Q7, np.zeros(4, np.int8))
    Graph([*graph.tensors.values(), constant], [a, b, replace(c, inputs=("b", "k"))], ("x",), ("c",)).verify()
    with pytest.raises(CmsisnnError, match="'k' twice"):
        Graph([*graph.tensors.values(), constant], [a, b, replace(c, outputs=("k",))], ("x",), ("k",)).verify()


# ---------------------------------------------------------------- steps


def test_a_convolution_takes_in_a_pooling_that_runs_next_and_that_alone_reads_it() -> None:
    layers = chain((8, 8, 2), "q7", conv(4, 3), pool("max", 2), conv(4, 1), {"op": "relu"}, pool("avg", 2), dense(3))
    graph = Graph.chain(layers)
    assert [pooling_behind(graph, node) for node in graph.nodes] == [graph.nodes[1], *[None] * 5]
    first, second, *rest = graph.nodes
    twice = replace(rest[-1], inputs=("conv2d0",))
    tensors = graph.tensors.values()
    assert pooling_behind(Graph(tensors, [first, second, twice], graph.inputs, graph.outputs), first) is None
    assert pooling_behind(Graph(tensors, [first, second], graph.inputs, ("conv2d0", "max_pool2d1")), first) is None
    between = Node("other", "relu", graph.inputs, ("other",), Layer("other", "relu", "q7", (8, 8, 2), (8, 8, 2)))
    apart = Graph([*tensors, Tensor("other", (8, 8, 2), Q7)], [first, between, second], graph.inputs, ("other",))
    assert pooling_behind(apart, first) is None
    flat = [layers[0], replace(layers[1], input_shape=(6, 12, 2)), *layers[2:]]
    assert pooling_behind(Graph.chain(flat), Graph.chain(flat).nodes[0]) is None


def test_a_step_is_a_layer_or_a_convolution_with_its_pooling() -> None:
    layer, after, *rest = layers = chain((8, 8, 2), "q7", conv(4, 3), pool("max", 2), dense(3))
    alone, pair = Step.of(layer, replace(FUSED, fused_pool=False), after), Step.of(layer, FUSED, after)
    assert (alone.layers, alone.kind, alone.pool, alone.header) == ((layer,), "layer", None, "convolve")
    assert (pair.layers, pair.kind, pair.pool, pair.header) == (
        (layer, after),
        "fused_pool",
        after,
        "convolve_max_pool",
    )
    assert (pair.name, pair.lead, pair.last) == (layer.name, layer, after)
    assert (pair.input_shape, pair.output_shape) == (layer.input_shape, after.output_shape)
    assert pair.scratch_bytes == layer_scratch_bytes(layer, FUSED, after) > alone.scratch_bytes
    assert Step.of(after, None).scratch_bytes == 0
    with pytest.raises(VariantError, match=r"variant\.fused_pool: expected a convolution with a pooling layer behind"):
        Step.of(layer, FUSED)
    steps = steps_of(layers, [True, False, False], [FUSED, None, Variant()])
    assert [(step.layers, step.variant) for step in steps] == [((layer, after), FUSED), ((rest[0],), Variant())]
