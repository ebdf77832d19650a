# SPDX-License-Identifier: Apache-2.0
"""Rewrites of a graph that leave every byte of its outputs as it is: a list of passes, each with its reason.

A pass takes a graph and gives one that computes the same, or the very same where it found nothing to do. What it did is
named in plan.json; `cmsisnn-tune --no-rewrites` leaves all of them out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from cmsisnn_x.affine import Affine, AffineClamp, AffineMean, AffineProduct, AffineRescale, AffineSum
from cmsisnn_x.graph import Graph, Node, Tensor
from cmsisnn_x.layers import Layer

from .dead_channels import without_dead_channels

CLAMPED = (Affine, AffineClamp, AffineMean, AffineProduct, AffineRescale, AffineSum)
"""Schemes whose last step is a clamp to `low` .. `high`."""


@dataclass(frozen=True)
class Rewrite:
    """A pass.

    Attributes
    ----------
    name : str
        As plan.json has it.
    reason : str
        Why it is exact.
    apply : callable
        Graph -> Graph.
    """

    name: str
    reason: str
    apply: Callable[[Graph], Graph]


def rewritten(graph: Graph) -> tuple[Graph, tuple[str, ...]]:
    """`graph` after all passes, and the names of those that changed it."""
    done = []
    for rewrite in REWRITES:
        after = rewrite.apply(graph)
        if after is not graph:
            done.append(rewrite.name)
            graph = after
    graph.verify()
    return graph, tuple(done)


def rebuilt(graph: Graph, nodes: Iterable[Node], tensors: Mapping[str, Tensor] | None = None) -> Graph:
    """The graph with other nodes, without the tensors that nobody knows any more; `tensors` replaces some."""
    kept = tuple(nodes)
    named = {*graph.inputs, *graph.outputs, *(name for state in graph.states for name in (state.read, state.write))}
    named |= {name for node in kept for name in (*node.inputs, *node.outputs)}
    items = {**graph.tensors, **(tensors or {})}
    return Graph([t for t in items.values() if t.name in named], kept, graph.inputs, graph.outputs, graph.states)


def _is_own(graph: Graph, tensor: str) -> bool:
    """Whether the network writes a tensor for itself: nobody outside sees it."""
    held = {name for state in graph.states for name in (state.read, state.write)}
    return graph.producer(tensor) is not None and tensor not in graph.outputs and tensor not in held


def _without_identities(graph: Graph) -> Graph:
    """Copies of all elements in their order: reshape, squeeze, a transposition of axes of one element."""
    names: dict[str, str] = {}
    nodes: list[Node] = []
    for node in graph.nodes:
        inputs = tuple(names.get(name, name) for name in node.inputs)
        (output,) = node.outputs
        if _is_identity(node.layer):
            # Its reader reads what it would copy; an output of the network has to be written by somebody.
            if _is_own(graph, output):
                names[output] = inputs[0]
                continue
            before = next((at for at, other in enumerate(nodes) if inputs[0] in other.outputs), None)
            shared = len(graph.readers(node.inputs[0])) > 1 or inputs[0] != node.inputs[0]
            if before is not None and _is_own(graph, inputs[0]) and not shared:
                nodes[before] = replace(nodes[before], outputs=(output,))
                continue
        nodes.append(replace(node, inputs=inputs))
    return graph if len(nodes) == len(graph.nodes) else rebuilt(graph, nodes)


def _is_identity(layer: Layer) -> bool:
    view = layer.view
    if layer.op != "copy" or view is None:
        return False
    return (view.offset, view.shape, view.steps) == (0, (prod(layer.input_shape),), (1,))


def _pads_in_windows(graph: Graph) -> Graph:
    """A frame around an image that its readers put there themselves."""
    nodes = {node.name: node for node in graph.nodes}
    for node in graph.nodes:
        if node.op != "pad" or not _is_own(graph, node.outputs[0]):
            continue
        readers = graph.readers(node.outputs[0])
        merged = [_with_frame(node.layer, reader.layer) for reader in readers]
        if not readers or None in merged:
            continue
        for reader, layer in zip(readers, merged, strict=True):
            assert layer is not None
            nodes[reader.name] = replace(nodes[reader.name], inputs=node.inputs, layer=layer)
        del nodes[node.name]
    return graph if len(nodes) == len(graph.nodes) else rebuilt(graph, nodes.values())


def _with_frame(pad: Layer, layer: Layer) -> Layer | None:
    """A convolution or pooling that pads its image as `pad` does; None where it cannot."""
    view = pad.view
    if view is None or len(view.shape) != 4 or not _puts(layer, pad.requant.fill):
        return None
    height, width, channels = layer.input_shape
    batch, inner_h, inner_w, inner_c = view.shape
    expected = (height * width * channels, width * channels, channels, 1)
    if view.steps != expected or (batch, inner_c) != (layer.samples, channels) or view.offset >= expected[0]:
        return None
    top, left = view.offset // (width * channels), view.offset % (width * channels) // channels
    if view.offset % channels:
        return None
    (before_y, after_y), (before_x, after_x) = layer.padding
    bottom, right = height - inner_h - top, width - inner_w - left
    padding = ((before_y + top, after_y + bottom), (before_x + left, after_x + right))
    for axis, size in enumerate((inner_h, inner_w)):  # every window keeps a pixel of the image
        first = padding[axis][0]
        if first >= layer.kernel[axis] or (layer.output_shape[axis] - 1) * layer.stride[axis] - first >= size:
            return None
    return replace(layer, input_shape=(inner_h, inner_w, channels), padding=padding)


def _puts(layer: Layer, fill: int) -> bool:
    """Whether a layer takes pixels of `fill` for padding: a convolution those of the zero point; a maximum any that is
    never larger than what it gives.
    """
    if layer.op in ("conv2d", "depthwise_conv2d"):
        return fill == layer.requant.fill
    return layer.op == "max_pool2d" and fill <= max(layer.type.low, layer.requant.low)


def _tables_joined(graph: Graph) -> Graph:
    """A function of a function of a byte is a function of a byte."""
    nodes = {node.name: node for node in graph.nodes}
    for node in graph.nodes:
        after = graph.sole_reader(node)
        if after is None or not _is_own(graph, node.outputs[0]) or {node.op, after.op} != {"look_up"}:
            continue
        first, second = nodes[node.name].layer, nodes[after.name].layer
        if first.table is None or second.table is None or first.table.itemsize != 1:
            continue
        table = second.table[first.table.view(np.uint8)]
        layer = replace(second, dtype=first.dtype, table=table, output_dtype=second.output_dtype or second.dtype)
        if layer.output_dtype == layer.dtype:
            layer = replace(layer, output_dtype=None)
        nodes[after.name] = replace(nodes[after.name], inputs=nodes[node.name].inputs, layer=layer)
        del nodes[node.name]
    return graph if len(nodes) == len(graph.nodes) else rebuilt(graph, nodes.values())


def _clamps_in_producers(graph: Graph) -> Graph:
    """A table that only clamps what can come in narrows the range that its producer clamps to: a ReLU of its own."""
    nodes = {node.name: node for node in graph.nodes}
    names: dict[str, str] = {}
    for node in graph.nodes:
        after = graph.sole_reader(node)
        if after is None or after.op != "look_up" or not _is_own(graph, node.outputs[0]):
            continue
        scheme, table = nodes[node.name].layer.scheme, nodes[after.name].layer.table
        types = (node.layer.output_type, after.layer.type, after.layer.output_type)
        if not isinstance(scheme, CLAMPED) or table is None or len(set(types)) > 1 or types[0].name != "int8":
            continue
        # What only moves elements clamps nothing.
        if node.op not in ("conv2d", "depthwise_conv2d", "fully_connected", "max_pool2d", "avg_pool2d", "add",
                           "multiply", "mean", "maximum", "minimum"):  # fmt: skip
            continue
        every = np.arange(scheme.low, scheme.high + 1)
        values = table[every.astype(np.int8).view(np.uint8)].astype(np.int64)
        low, high = int(values.min()), int(values.max())
        if not np.array_equal(values, np.clip(every, low, high)):
            continue
        layer = replace(nodes[node.name].layer, scheme=replace(scheme, low=low, high=high))
        nodes[node.name] = replace(nodes[node.name], outputs=nodes[after.name].outputs, layer=layer)
        names[after.name] = node.name
        del nodes[after.name]
    return graph if len(nodes) == len(graph.nodes) else rebuilt(graph, nodes.values())


REWRITES = (
    Rewrite("identities", "a copy of all elements in their order is no work", _without_identities),
    Rewrite("pad", "a convolution pads with the zero point; no maximum is below the least number", _pads_in_windows),
    Rewrite("tables", "a function of a function of a byte is one table", _tables_joined),
    Rewrite("clamps", "clamping twice is clamping to what both leave", _clamps_in_producers),
    Rewrite(
        "dead_channels",
        "a channel whose weights are all zero is a constant, which the bias of its readers holds",
        lambda graph: without_dead_channels(graph, rebuilt),
    ),
)  # fmt: skip
"""In the order in which they are tried."""
