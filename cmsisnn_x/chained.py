# SPDX-License-Identifier: Apache-2.0
"""Nodes of a graph as a chain: which can be one, each over rows of how many, and what comes in from outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod

from .bands import least_rows, row_step
from .buffers import ALIGNMENT
from .chain import WAYS, Chain, Link, build, readers_of
from .errors import CmsisnnError
from .graph import Graph, Node
from .layers import Layer
from .variant import Variant
from .windows import Windows


def in_rows(layer: Layer, height: int) -> Layer | None:
    """A layer over images of `height` rows; None where its elements are no such rows.

    What goes element by element takes any shape: it is cut into rows here.
    """
    if layer.row.is_windowed:
        return layer if len(layer.input_shape) == 3 else None
    if layer.row.sums_rows(layer):
        _, count, channels = layer.input_shape
        return None if count % height else replace(layer, input_shape=(height, count // height, channels))
    counts = [prod(shape) for shape in (*layer.input_shapes, layer.output_shape)]
    own = counts[0] // height
    if own * height != counts[0] or counts[-1] != counts[0]:
        return None
    # An operand that comes again and again has to do so inside every row.
    if any(count != counts[0] and own % count for count in counts[1:-1]):
        return None
    alike = {shape for shape, count in zip(layer.input_shapes, counts, strict=False) if count == counts[0]}
    if len(layer.input_shape) == 3 and layer.input_shape[0] == height and len(alike) == 1:
        return layer
    shape = (height, 1, own)
    more = tuple(shape if prod(one) == counts[0] else one for one in layer.more_inputs)
    return replace(layer, input_shape=shape, output_shape=shape, more_inputs=more)


def is_repeated(layer: Layer, index: int) -> bool:
    """Whether input `index` of a layer has no rows: it comes again and again, in every row."""
    return index > 0 and prod(layer.input_shapes[index]) != prod(layer.input_shape)


def heights(graph: Graph, nodes: Sequence[Node]) -> Mapping[str, int]:
    """Rows of the tensors around nodes: those that windows say, and through what goes element by element."""
    found: dict[str, int] = {}
    for _ in range(2):  # forwards, then back to what is read first
        for node in nodes if not found else [*nodes, *reversed(nodes)]:
            layer = node.layer
            if layer.row.is_windowed:
                found[node.inputs[0]] = layer.image[0]
                found[node.outputs[0]] = layer.output_image[0]
                continue
            sums = layer.row.sums_rows(layer)
            whole = [name for at, name in enumerate(node.inputs) if not is_repeated(layer, at)]
            around = (*whole, *(() if sums else node.outputs))
            if sums:
                found[node.outputs[0]] = 1
            known = next((found[name] for name in around if name in found), None)
            if known is None and len(layer.input_shape) == 3:
                known = layer.input_shape[0]
            if known is not None:
                for name in around:
                    found.setdefault(name, known)
    return found


def in_chain(graph: Graph, nodes: Sequence[Node]) -> list[tuple[Layer, tuple[int | None, ...]]] | None:
    """Nodes in order of execution as a chain has them: each layer over rows, and per input the node of these that
    makes it, None for a tensor from outside; None where they make no chain.

    What is made inside is read inside, but for the output of the last, and every tensor has rows.
    """
    own = {node.outputs[0]: at for at, node in enumerate(nodes)}
    rows = heights(graph, nodes)
    found: list[tuple[Layer, tuple[int | None, ...]]] = []
    remembered = {name for state in graph.states for name in (state.read, state.write)}
    for at, node in enumerate(nodes):
        name = node.outputs[0]
        if len(node.outputs) != 1 or node.layer.samples != 1 or name not in rows or "inputs" in node.layer.row.roles:
            return None
        is_last = at == len(nodes) - 1
        readers = graph.readers(name)
        if not is_last and (name in graph.outputs or name in remembered or not all(one in nodes for one in readers)):
            return None
        if not is_last and not readers:
            return None
        layer = in_rows(node.layer, rows.get(node.inputs[0], 1))
        if layer is None or (layer.row.sums_rows(layer) and not is_last):
            return None
        for index, one in enumerate(node.inputs):
            if is_repeated(layer, index):
                if one in own:
                    return None
            elif graph.tensors[one].value is None and rows.get(one) != layer.input_shapes[index][0]:
                return None
        if layer.output_image[0] != rows[name]:
            return None
        found.append((layer, tuple(own.get(one) for one in node.inputs)))
    return found


def fed_inputs(graph: Graph, nodes: Sequence[Node]) -> tuple[str, ...]:
    """The inputs of a network that may come row by row to a chain of these nodes: all that they read, if they alone do.
    """
    own = {node.name for node in nodes}
    read = {name for node in nodes for name in node.inputs}
    kept = {*graph.outputs, *(state.write for state in graph.states)}
    if read & {state.read for state in graph.states}:
        return ()
    again = {name for node in nodes for at, name in enumerate(node.inputs) if is_repeated(node.layer, at)}
    if again & set(graph.inputs):
        return ()
    found = tuple(name for name in graph.inputs if name in read)
    alone = all(reader.name in own for name in found for reader in graph.readers(name))
    return found if alone and not kept & set(found) else ()


def input_name(graph: Graph, tensor: str) -> str:
    """What an input of a network is called where links and regions have names: ``input``, of several ``input_0``."""
    return "input" if len(graph.inputs) == 1 else f"input_{graph.inputs.index(tensor)}"


def chain_of(
    graph: Graph,
    nodes: Sequence[Node],
    variants: Sequence[Variant | None],
    bands: Sequence[int],
    *,
    fed: Sequence[str] = (),
    room: int | None = None,
    ways: int = WAYS,
) -> Chain:
    """The chain of nodes, which run with these variants in bands of at most so many rows; the inputs `fed` of the
    network come row by row, and are read by them alone. `room` and `ways` as `build` has them.

    Raises
    ------
    CmsisnnError
        They make no chain, or not in such bands.
    """
    layers = in_chain(graph, nodes)
    if layers is None:
        names = ", ".join(node.name for node in nodes)
        raise CmsisnnError(f"chain: expected layers over rows that only each other read, got {names}")
    rows = heights(graph, nodes)
    links = [Link.feed(graph.tensors[name], rows[name], input_name(graph, name)) for name in fed]
    place = {name: at for at, name in enumerate(fed)}
    for node, (layer, inner), variant, band in zip(nodes, layers, variants, bands, strict=True):
        pairs = zip(node.inputs, inner, strict=True)
        sources = tuple(place.get(name) if at is None else at + len(fed) for name, at in pairs)
        least = least_rows(layer, variant)
        if least is None:
            raise CmsisnnError(f"chain: layer {layer.name!r}: expected a kernel that works on rows, got {variant}")
        links.append(Link(layer, variant, sources, band, least, row_step(layer, variant)))
    own = in_place(links if room is None else as_they_come(links))
    return build(own, fed, room, holds_output=not graph.is_callers(nodes[-1].outputs[0]), ways=ways)


def as_they_come(links: Sequence[Link]) -> list[Link]:
    """The same links, of which those that can take rows as they come do: their input's need not be kept."""
    return [
        replace(link, open_rows=Windows.of(link.layer).open_rows)
        if not link.is_feed and link.layer.row.takes_rows_as_they_come(link.layer)
        else link
        for link in links
    ]


def in_place(links: Sequence[Link]) -> list[Link]:
    """The same links, those in place that can be: what a kernel reads of a ring it may overwrite, it alone reads the
    ring, and what it makes is read once, row by row, or step by step as it comes, by the link behind it.
    """
    readers = readers_of(links)
    found = list(links)
    for at, link in enumerate(links[:-1]):
        if not link.sources or not readers[at]:
            continue
        (source, *others), (reader, *more) = link.sources, readers[at]
        if source is None or others or more or reader != at + 1 or readers[source] != [at] or found[source].in_place:
            continue
        own = links[reader].windows
        plain = own.kernel == own.stride == 1 and own.above == 0
        if links[reader].open_rows:
            plain = own.takes_each_once and link.step % own.stride == 0
        plain = plain and links[reader].least == links[reader].step == 1
        in_steps = link.windows.output_height % link.step == link.band % link.step == 0
        over = link.variant is not None and link.layer.row.overwrites_rows(link.layer, link.variant, link.band)
        if plain and over and in_steps:
            found[at] = replace(link, in_place=True)
    return found


def aligned_rows(graph: Graph, node: Node, link: Link) -> tuple[bool, bool]:
    """Whether what a layer of a chain reads, and what it writes, starts at a word boundary in every call."""
    sides = enumerate(zip(link.sources, node.inputs, strict=True))
    inputs = all(
        (is_repeated(link.layer, at) or link.input_row_bytes(at) % ALIGNMENT == 0)
        and (source is not None or not graph.is_callers(name))
        for at, (source, name) in sides
    )
    return inputs, link.row_bytes % ALIGNMENT == 0 and not graph.is_callers(node.outputs[0])


def outside(graph: Graph, nodes: Sequence[Node]) -> list[str]:
    """The tensors that a chain reads as a whole, in the order in which its layers do; constants it knows itself."""
    inner = {name for node in nodes for name in node.outputs}
    read = dict.fromkeys(name for node in nodes for name in node.inputs if name not in inner)
    return [name for name in read if graph.tensors[name].value is None]
