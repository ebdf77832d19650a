# SPDX-License-Identifier: Apache-2.0
"""Chains as C: per layer a function that makes some of its rows, and one function that walks the schedule."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from cmsisnn_x.chain import Chain, Link, aligned_rows, outside
from cmsisnn_x.graph import Graph, Node, Tensor
from cmsisnn_x.steps import Step

from .arguments import element, kernels_pointer, parameters
from .kernel_text import Kernel, kernel_of
from .names import numbered

PER_LINE = 8
"""Entries of a schedule."""


@dataclass(frozen=True)
class ChainText:
    """The function that runs a chain.

    Attributes
    ----------
    index : int
        Of its first layer.
    function, parameters, arguments : str
        Its name, its parameters, and what the network's function passes on.
    about : str
    table : str
        The name of its schedule.
    entries : tuple of str
        The lines of that.
    body : tuple of str
    """

    index: int
    function: str
    parameters: str
    arguments: str
    about: str
    table: str
    entries: tuple[str, ...]
    body: tuple[str, ...]


@dataclass(frozen=True)
class RowsText:
    """The function that makes some rows of a layer."""

    name: str
    parameters: str = field(repr=False)
    body: tuple[str, ...] = field(repr=False)


@dataclass(frozen=True, eq=False)
class Linked:
    """A layer of a chain where it stands in a network."""

    graph: Graph
    node: Node
    chain: Chain
    at: int

    @property
    def link(self) -> Link:
        return self.chain.links[self.at]

    @property
    def reads(self) -> list[Tensor]:
        return [self.graph.tensors[name] for name in self.node.inputs]

    @property
    def writes(self) -> Tensor:
        return self.graph.tensors[self.node.outputs[0]]

    def kernel(self, constants: Sequence[np.ndarray]) -> Kernel:
        """The kernel that makes its rows."""
        link = self.link
        reads, writes = aligned_rows(self.graph, self.node, link)
        return kernel_of(
            Step((link.layer,), link.variant, link.in_place),
            constants,
            scratch_bytes=link.scratch_bytes,
            input_aligned=reads,
            output_aligned=writes,
            band=link.band,
        )

    def rows(self, name: str, prefix: str, kernel: str, operands: Sequence[str], scratch: str) -> RowsText:
        """The function that makes some rows: each input from the row `first` on, and where the rows go."""
        names = zip(numbered("input", len(self.reads)), numbered("first", len(self.reads)), self.reads, strict=True)
        reads = [f"const {element(tensor.type)} *{own}, int32_t {first}" for own, first, tensor in names]
        taken = ", ".join([*reads, f"{element(self.writes.type)} *output", "int32_t row", "int32_t count"])
        return RowsText(name, taken, self._body(prefix, kernel, operands, scratch))

    def _body(self, prefix: str, kernel: str, operands: Sequence[str], scratch: str) -> tuple[str, ...]:
        layer, names = self.link.layer, numbered("input", len(self.reads))
        firsts = numbered("first", len(self.reads))
        if layer.row.is_windowed:
            dilated = "" if layer.dilation[0] == 1 else f" * {prefix}_DILATION_Y"
            span = f"({prefix}_KERNEL_H - 1){dilated} + 1"
            lines = [
                f"const int32_t top = row * {prefix}_STRIDE_Y - {prefix}_PAD_TOP;",
                "const int32_t low = CXN_MAX(top, 0);",
                f"const int32_t end = CXN_MIN(top + (count - 1) * {prefix}_STRIDE_Y + {span}, {prefix}_IN_H);",
                "const cxn_rows rows = {end - low, low - top, count};",
            ]
            low = "low"
        else:
            lines, low = ["const cxn_rows rows = {count, 0, count};"], "row"
        reads = [
            kernels_pointer(f"({name} + ({low} - {first}) * ({prefix}_IN_W * {prefix}_IN_CH))", layer.type, "const ")
            for name, first in zip(names, firsts, strict=True)
        ]
        output = kernels_pointer("output", layer.output_type, "")
        return *lines, f"{kernel}({', '.join([*reads, *operands, output, scratch])}, rows);"

    def whole_body(self, prefix: str, rows: str) -> tuple[str, ...]:
        """The lines of the function that makes all rows of the layer, from whole images."""
        link, height = self.link, self.link.windows.output_height
        usual = link.count(0, link.band)
        done, is_plain = 0, True
        while done < height:
            rows_made = link.count(done, link.band)
            is_plain, done = is_plain and rows_made == min(usual, height - done), done + rows_made
        left = f"{prefix}_OUT_H - row"
        count = f"CXN_MIN({usual}, {left})"
        if not is_plain:  # the last calls share what would leave too few rows
            short = f"{left} > {usual} && {left} < {usual + link.least}"
            count = f"{short} ? ({left} <= {prefix}_BAND ? {left} : {left} - {link.least}) : {count}"
        reads = ", ".join(f"{name}, 0" for name in numbered("input", len(self.reads)))
        place = f"output + row * ({prefix}_OUT_W * {prefix}_OUT_CH)"
        return (
            f"for (int32_t row = 0, count; row < {prefix}_OUT_H; row += count) {{",
            f"    count = {count};",
            f"    {rows}({reads}, {place}, row, count);",
            "}",
        )


def chain_parameters(graph: Graph, nodes: Sequence[Node]) -> str:
    """The parameters of the function that runs a chain."""
    given = outside(graph, nodes)
    if len(given) == len(nodes[0].inputs):
        return parameters(graph, nodes[0], nodes[-1])
    names = numbered("input", len(given))
    reads = [f"const {element(graph.tensors[one].type)} *{name}" for one, name in zip(given, names, strict=True)]
    return ", ".join([*reads, f"{element(graph.tensors[nodes[-1].outputs[0]].type)} *output"])


def schedule_lines(chain: Chain) -> tuple[str, ...]:
    """The schedule as bytes in C."""
    entries = [f"{at}, {rows}" for at, rows in chain.schedule]
    parts = [entries[at : at + PER_LINE] for at in range(0, len(entries), PER_LINE)]
    return tuple(", ".join(part) + ("," if at < len(parts) - 1 else "") for at, part in enumerate(parts))


def chain_body(
    graph: Graph,
    nodes: Sequence[Node],
    chain: Chain,
    table: str,
    prefixes: Sequence[str],
    functions: Sequence[str],
    places: Mapping[int, str],
) -> tuple[str, ...]:
    """The lines of the function that runs a chain.

    Parameters
    ----------
    graph, nodes, chain
        Of its layers.
    table : str
        The name of its schedule.
    prefixes, functions : sequence of str
        Per layer the prefix of its macros, and the function that makes some of its rows.
    places : mapping
        Where the ring of each layer lies, in C.
    """
    return tuple(_body(graph, nodes, chain, table, prefixes, functions, places))


def _body(
    graph: Graph,
    nodes: Sequence[Node],
    chain: Chain,
    table: str,
    prefixes: Sequence[str],
    functions: Sequence[str],
    places: Mapping[int, str],
) -> Iterator[str]:
    given = outside(graph, nodes)
    names = dict(zip(given, numbered("input", len(given)), strict=True))
    count, last = len(nodes), len(nodes) - 1
    types = [element(graph.tensors[node.outputs[0]].type) for node in nodes]
    for at in range(last):
        if chain.links[at].in_place:
            yield f"{types[at]} *ring_{at} = NULL; /* {nodes[at].name}, over rows that it has read */"
        else:
            yield f"{types[at]} *const ring_{at} = {places[at]}; /* {nodes[at].name} */"
    firsts = ", ".join(f"first_{at} = {chain.first_rows[at]}" for at in range(last))
    ends = ", ".join(f"end_{at} = 0" for at in range(count))
    yield f"int32_t {firsts}; /* the rows that lie first in the rings */"
    yield f"int32_t {ends}; /* and those behind the last */"
    yield f"for (size_t at = 0; at < sizeof {table}; at += 2) {{"
    yield f"    const int32_t rows = {table}[at + 1];"
    yield f"    switch ({table}[at]) {{"
    for at, (node, link) in enumerate(zip(nodes, chain.links, strict=True)):
        reads = [
            f"{names[name]}, 0" if source is None else f"ring_{source}, first_{source}"
            for name, source in zip(node.inputs, link.sources, strict=True)
        ]
        row = f"({prefixes[at]}_OUT_W * {prefixes[at]}_OUT_CH)"
        to = f"output + end_{at} * {row}" if at == last else f"ring_{at} + (end_{at} - first_{at}) * {row}"
        yield f"    case {at}:"
        if link.in_place:
            source = link.sources[0]
            own = f"({prefixes[at]}_IN_W * {prefixes[at]}_IN_CH)"
            top = f"end_{at} * {prefixes[at]}_STRIDE_Y - {prefixes[at]}_PAD_TOP - first_{source}"
            yield f"        ring_{at} = ring_{source} + ({top}) * {own};"
            yield f"        first_{at} = end_{at};"
            to = f"ring_{at}"
        yield f"        {functions[at]}({', '.join(reads)}, {to}, end_{at}, rows);"
        yield f"        end_{at} += rows;"
        yield "        break;"
    moved = sorted({at for at, _, _ in chain.moves()})
    for at in moved:
        row = f"{prefixes[at]}_OUT_W * {prefixes[at]}_OUT_CH * (int32_t)sizeof({types[at]})"
        yield f"    {'default' if at == moved[-1] else f'case {count + at}'}:"
        yield f"        first_{at} += rows;"
        yield f"        cxn_drop(ring_{at}, rows * {row}, (end_{at} - first_{at}) * {row});"
        yield "        break;"
    if not moved:
        yield "    default:"
        yield "        break;"
    yield "    }"
    yield "}"
