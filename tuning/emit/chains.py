# SPDX-License-Identifier: Apache-2.0
"""Chains as C: per layer a function that makes some of its rows, and one function that walks the schedule."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from cmsisnn_x.chain import Chain, Link
from cmsisnn_x.chained import aligned_rows, is_repeated, outside
from cmsisnn_x.graph import Graph, Node, Tensor
from cmsisnn_x.steps import Step

from .arguments import element, kernels_pointer
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
    table, type : str
        The name of its schedule, and the type of its numbers.
    entries : tuple of str
        The lines of that.
    body : tuple of str
    some, some_parameters, some_arguments, begin : str
        Where rows come in one by one, the function that goes on with those that are there, its parameters and what the
        network passes on, and the function that begins.
    fed : tuple of (int, str)
        The inputs whose rows come so, and the parameters that they are.
    passed : str
        What this function passes on to `some`.
    first_rows : tuple of (int, int)
        Members that begin with another row than 0.
    """

    index: int
    function: str
    parameters: str
    arguments: str
    about: str
    table: str
    type: str
    entries: tuple[str, ...]
    body: tuple[str, ...]
    some: str = ""
    some_parameters: str = ""
    some_arguments: str = ""
    begin: str = ""
    fed: tuple[tuple[int, str], ...] = ()
    passed: str = ""
    first_rows: tuple[tuple[int, int], ...] = ()


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
        return self.chain.own[self.at]

    @property
    def reads(self) -> list[Tensor]:
        return [self.graph.tensors[name] for name in self.node.inputs]

    def taken(self) -> list[tuple[str, str]]:
        """Per input that is no constant its parameter, and that of its first row: none where it comes in every row."""
        names, firsts = numbered("input", len(self.reads)), numbered("first", len(self.reads))
        return [
            (names[at], "" if is_repeated(self.link.layer, at) else firsts[at])
            for at, tensor in enumerate(self.reads)
            if tensor.value is None
        ]

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
            open_rows=link.open_rows,
        )

    def rows(
        self,
        name: str,
        prefix: str,
        kernel: str,
        operands: Sequence[str],
        scratch: str,
        constants: Mapping[str, str],
    ) -> RowsText:
        """The function that makes some rows: each input from the row `first` on, and where the rows go. `constants` are
        the arrays of tensors that are known.
        """
        variable = [tensor for tensor in self.reads if tensor.value is None]
        reads = [
            f"const {element(tensor.type)} *{own}" + (f", int32_t {first}" if first else "")
            for (own, first), tensor in zip(self.taken(), variable, strict=True)
        ]
        taken = ", ".join([*reads, f"{element(self.writes.type)} *output", "int32_t row", "int32_t count"])
        return RowsText(name, taken, self._body(prefix, kernel, operands, scratch, constants))

    def _body(
        self, prefix: str, kernel: str, operands: Sequence[str], scratch: str, constants: Mapping[str, str]
    ) -> tuple[str, ...]:
        layer, names = self.link.layer, numbered("input", len(self.reads))
        firsts = numbered("first", len(self.reads))
        if self.link.sums:
            lines = [f"const cxn_rows rows = {{count, row, row + count == {prefix}_IN_H}};"]
            low = "row"
        elif self.link.open_rows:
            begins, lacking = f"* {prefix}_STRIDE_Y - {prefix}_PAD_TOP", f"{prefix}_KERNEL_H - {prefix}_STRIDE_Y"
            lines = [
                f"const int32_t begun = CXN_MIN(row, {prefix}_OPEN_ROWS);",
                f"const int32_t low = CXN_MAX(row {begins}, 0);",
                f"const int32_t more = row + count < {prefix}_OUT_H ? 0 : {lacking};",
                f"const int32_t end = CXN_MIN((row + count) {begins} + more, {prefix}_IN_H);",
                f"const cxn_rows rows = {{end - low, low - ((row - begun) {begins}), begun + count}};",
            ]
            low = "low"
        elif layer.row.is_windowed:
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
        reads = []
        for at, (name, first, tensor) in enumerate(zip(names, firsts, self.reads, strict=True)):
            own = name if tensor.value is None else constants[tensor.name]
            rows = low if tensor.value is not None else f"({low} - {first})"
            again = is_repeated(layer, at)
            place = own if again else f"({own} + {rows} * ({prefix}_IN_W * {prefix}_IN_CH))"
            reads.append(kernels_pointer(place, layer.type, "const "))
        begun = f" - begun * ({prefix}_OUT_W * {prefix}_OUT_CH)" if self.link.open_rows else ""
        output = kernels_pointer(f"(output{begun})" if begun else "output", layer.output_type, "")
        return *lines, f"{kernel}({', '.join([*reads, *operands, output, scratch])}, rows);"

    def whole_body(self, prefix: str, rows: str) -> tuple[str, ...]:
        """The lines of the function that makes all rows of the layer, from whole images."""
        link, height = self.link, self.link.windows.output_height
        rows_of = f"{prefix}_{'IN' if link.sums else 'OUT'}_H"
        usual = link.count(0, link.band)
        done, is_plain = 0, True
        while done < height:
            rows_made = link.count(done, link.band)
            is_plain, done = is_plain and rows_made == min(usual, height - done), done + rows_made
        left = f"{rows_of} - row"
        count = f"CXN_MIN({usual}, {left})"
        if not is_plain:  # the last calls share what would leave too few rows
            short = f"{left} > {usual} && {left} < {usual + link.least}"
            count = f"{short} ? ({left} <= {prefix}_BAND ? {left} : {left} - {link.least}) : {count}"
        reads = ", ".join(f"{name}, 0" if first else name for name, first in self.taken())
        place = "output" if link.sums else f"output + row * ({prefix}_OUT_W * {prefix}_OUT_CH)"
        return (
            f"for (int32_t row = 0, count; row < {rows_of}; row += count) {{",
            f"    count = {count};",
            f"    {rows}({reads}, {place}, row, count);",
            "}",
        )


def chain_parameters(graph: Graph, nodes: Sequence[Node]) -> str:
    """The parameters of the function that runs a chain."""
    given = outside(graph, nodes)
    names = numbered("input", len(given))
    reads = [f"const {element(graph.tensors[one].type)} *{name}" for one, name in zip(given, names, strict=True)]
    return ", ".join([*reads, f"{element(graph.tensors[nodes[-1].outputs[0]].type)} *output"])


def some_of(graph: Graph, nodes: Sequence[Node], chain: Chain) -> tuple[list[str], str, str]:
    """Of a chain that takes rows: the tensors that it reads as a whole, and how the function that goes on with the rows
    which are there takes these, and is passed them.
    """
    given = outside(graph, nodes)
    names = dict(zip(given, numbered("input", len(given)), strict=True))
    whole = [name for name in given if name not in chain.fed]
    reads = [f"const {element(graph.tensors[one].type)} *{names[one]}" for one in whole]
    taken = ", ".join([*reads, f"{element(graph.tensors[nodes[-1].outputs[0]].type)} *output"])
    return whole, taken, ", ".join([*(names[one] for one in whole), "output"])


def schedule_lines(chain: Chain) -> tuple[str, ...]:
    """The schedule in C: bytes, or where rings share their memory also the word of it where rows go."""
    entries = [f"{at}, {rows}" for at, rows in chain.schedule]
    if chain.room:
        entries = [f"{entry}, {place // 4}" for entry, place in zip(entries, chain.places, strict=True)]
    parts = [entries[at : at + PER_LINE] for at in range(0, len(entries), PER_LINE)]
    return tuple(", ".join(part) + ("," if at < len(parts) - 1 else "") for at, part in enumerate(parts))


@dataclass(frozen=True, eq=False)
class ChainWriter:
    """Writes the function that runs a chain.

    Attributes
    ----------
    graph, nodes, chain
        Of its layers.
    table : str
        The name of its schedule.
    prefixes, functions : sequence of str
        Per layer the prefix of its macros, and the function that makes some of its rows.
    places : mapping
        Where the ring of each link lies, in C.
    state : str
        Where rows come in one by one, the structure that remembers what was done; empty where all is done at once.
    row : sequence of str
        Of each input that comes so the macro that counts the elements of a row.
    """

    graph: Graph
    nodes: Sequence[Node]
    chain: Chain
    table: str
    prefixes: Sequence[str]
    functions: Sequence[str]
    places: Mapping[int, str]
    state: str = ""
    row: Sequence[str] = ()

    def _first(self, link: int) -> str:
        return f"{self.state}.first[{link}]" if self.state else f"first_{link}"

    def _end(self, link: int) -> str:
        return f"{self.state}.end[{link}]" if self.state else f"end_{link}"

    def _there(self, link: int) -> str:
        """The row behind the last that lies in a ring: of an input further ones may be there than were asked for."""
        if not self.chain.links[link].is_feed:
            return self._end(link)
        return f"{self.state}.taken[{self.graph.inputs.index(self.chain.fed[link])}]"

    def _node(self, link: int) -> int:
        return link - self.chain.feeds

    def _type(self, link: int) -> str:
        fed = self.chain.links[link].is_feed
        name = self.chain.fed[link] if fed else self.nodes[self._node(link)].outputs[0]
        return element(self.graph.tensors[name].type)

    def _row_elements(self, link: int) -> str:
        if self.chain.links[link].is_feed:
            return self.row[link]
        prefix = self.prefixes[self._node(link)]
        return f"{prefix}_OUT_W * {prefix}_OUT_CH"

    def _ring(self, link: int) -> str:
        """Where the rows of a link begin; of those in place, where the first of the last call lies."""
        own = self.chain.links[link]
        if not own.in_place:
            return f"ring_{link}"
        source, prefix = own.sources[0], self.prefixes[self._node(link)]
        assert source is not None
        top = f"{self._first(link)} * {prefix}_STRIDE_Y - {prefix}_PAD_TOP - {self._first(source)}"
        return f"ring_{source} + ({top}) * ({prefix}_IN_W * {prefix}_IN_CH)"

    def _read(self, source: int, reader: int) -> str:
        """Where the rows of a link begin, and which row that is. Where rings share their memory those that were written
        in place and read begin nowhere: there the first that `reader` needs, row by row, or step by step.
        """
        if not (self.chain.room and self.chain.links[source].in_place):
            return f"{self._ring(source)}, {self._first(source)}"
        ring, row = self._ring(source).split(" + ", 1)
        end = self._end(reader)
        if self.chain.links[reader].open_rows:
            end = f"{end} * {self.prefixes[self._node(reader)]}_STRIDE_Y"
        read = f"({end} - {self._first(source)}) * ({self._row_elements(source)})"
        return f"{ring} + ({row} + {read}), {end}"

    def lines(self) -> tuple[str, ...]:
        return tuple(self._lines())

    def _lines(self) -> Iterator[str]:
        count, last, at = len(self.chain.links), len(self.chain.links) - 1, f"{self.state}.at" if self.state else "at"
        for link, place in self.places.items():
            name = self.chain.links[link].layer.name
            yield f"{self._type(link)} *{'' if self.chain.room else 'const '}ring_{link} = {place}; /* {name} */"
        if self.state:
            yield f"for (; {at} < sizeof {self.table}; {at} += 2) {{"
        else:
            firsts = ", ".join(f"first_{link} = {self.chain.first_rows[link]}" for link in range(last))
            ends = ", ".join(f"end_{link} = 0" for link in range(count))
            yield f"int32_t {firsts}; /* the rows that lie first in the rings */"
            yield f"int32_t {ends}; /* and those behind the last */"
            of_each = f" / sizeof {self.table}[0]; at += 3" if self.chain.room else "; at += 2"
            yield f"for (size_t at = 0; at < sizeof {self.table}{of_each}) {{"
        yield f"    const int32_t rows = {self.table}[{at} + 1];"
        yield f"    switch ({self.table}[{at}]) {{"
        for link in range(count):
            yield f"    case {link}:"
            yield from (f"        {line}" for line in self._call(link, is_last=link == last))
            yield f"        {self._end(link)} += rows;"
            yield "        break;"
        moved = sorted({link for link, _, _ in self.chain.moves()})
        for link in moved:
            row = f"{self._row_elements(link)} * (int32_t)sizeof({self._type(link)})"
            kept = f"({self._there(link)} - {self._first(link)}) * {row}"
            case = "default" if link == moved[-1] else f"case {count + link}"
            if self.chain.room:
                own = self._type(link)
                yield f"    {case}: {{"
                yield f"        {own} *const to = {self.places[link]} + {self.table}[at + 2] * (4 / sizeof({own}));"
                yield f"        {self._first(link)} += rows;"
                yield f"        cxn_move(to, ring_{link} + rows * ({self._row_elements(link)}), {kept});"
                yield f"        ring_{link} = to;"
                yield "        break;"
                yield "    }"
                continue
            yield f"    {case}:"
            yield f"        {self._first(link)} += rows;"
            yield f"        cxn_drop(ring_{link}, rows * {row}, {kept});"
            yield "        break;"
        if not moved:
            yield "    default:"
            yield "        break;"
        yield "    }"
        yield "}"
        if self.state:
            yield "return 1;"

    def _call(self, link: int, *, is_last: bool) -> Iterator[str]:
        own = self.chain.links[link]
        row, end = self._row_elements(link), self._end(link)
        to = f"output + {end} * ({row})" if is_last else f"ring_{link} + ({end} - {self._first(link)}) * ({row})"
        if own.is_feed:
            yield f"if ({self._there(link)} == {end}) {{"
            yield "    return 0;"
            yield "}"
            return
        if own.sums:
            to = "output"
        if own.in_place:
            yield f"{self._first(link)} = {self._end(link)};"
            to = self._ring(link)
        given = outside(self.graph, self.nodes)
        names = dict(zip(given, numbered("input", len(given)), strict=True))
        node = self.nodes[self._node(link)]
        reads = []
        for at, (name, source) in enumerate(zip(node.inputs, own.sources, strict=True)):
            if source is not None:
                reads.append(self._read(source, link))
            elif name in names:
                reads.append(names[name] if is_repeated(own.layer, at) else f"{names[name]}, 0")
        yield f"{self.functions[self._node(link)]}({', '.join(reads)}, {to}, {self._end(link)}, rows);"
