# SPDX-License-Identifier: Apache-2.0
"""The firmware folder as text: everything that the templates say about a plan is computed here."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import cmsisnn_x
from cmsisnn_x.chained import outside
from cmsisnn_x.graph import Node
from cmsisnn_x.operands import operands_of
from cmsisnn_x.steps import Step
from tuning.plan import LayerPlan, Plan

from .arguments import Border, Call, body, borders, element, parameters, sizes, taken
from .assertions import Check, checks, constants, input_sides
from .cgen import comment_text, plain_text, string_text
from .chains import ChainText, ChainWriter, Linked, RowsText, chain_parameters, schedule_lines, some_of
from .check import EmitError, check_plan
from .feed import FeedText, feed_macros, feed_prefixes, feed_text, whole_offset
from .kernel_text import Kernel, kernel_of
from .layer_words import record_type, summary
from .macros import instructions
from .names import Names, feed_functions, layer_function, numbered, reset_function, run_function, step_functions
from .states import Held, held_states
from .weights import activation_table


@dataclass(frozen=True, eq=False)
class Array:
    """A constant of ``<model>_weights.h``."""

    name: str
    comment: str
    values: np.ndarray
    record: str | None = None


@dataclass(frozen=True)
class Inclusion:
    """A kernel under its name, as C."""

    name: str
    header: str
    text: str


@dataclass(frozen=True)
class LayerText:
    """A layer as the templates spell it; in a chain with `rows`, the function that makes some of its rows."""

    index: int
    name: str
    summary: str
    function: str
    kernel: str
    macros: dict[str, int | str]
    operands: tuple[str, ...]
    input: str
    output: str
    scratch: str
    can_be_in_place: bool
    parameters: str = field(repr=False)
    body: tuple[str, ...] = field(repr=False)
    arguments: str = field(repr=False)
    rows: RowsText | None = field(default=None, repr=False)


@dataclass(frozen=True, eq=False)
class Project:
    """A plan as the templates see it."""

    plan: Plan
    name: str
    prefix: str
    version: str
    target: str
    core: str
    instructions: str
    digests: tuple[tuple[str, str], ...]
    is_graph: bool
    element: str
    run: str
    parameters: str
    inputs: tuple[Border, ...]
    outputs: tuple[Border, ...]
    arena: str
    arena_bytes: int
    cflags: tuple[str, ...]
    identity: str
    macros: dict[str, int | str]
    layers: tuple[LayerText, ...]
    calls: tuple[Call, ...]
    pairs: tuple[Call, ...]
    chains: tuple[ChainText, ...]
    kernels: tuple[Inclusion, ...]
    arrays: tuple[Array, ...]
    checks: tuple[Check, ...]
    states: tuple[Held, ...]
    copies: tuple[tuple[str, str, int], ...]
    reset: str
    ready: str
    feed: FeedText | None = None

    @property
    def sides(self) -> list[str]:
        """What macros of buffers are called, over all layers."""
        found = dict.fromkeys(side for node in self.plan.graph.nodes for side in input_sides(node))
        return [*found, "OUTPUT"]

    @property
    def notes(self) -> dict[str, str]:
        """What stands beside macros of the network."""
        return {name: text for side in (*self.inputs, *self.outputs) for name, text in side.notes().items()}

    @property
    def classes(self) -> list[str]:
        """What the elements of the first output are called, as C has strings."""
        return [string_text(name) for name in self.plan.classes]

    @property
    def unread(self) -> list[str]:
        """Inputs of the network that nothing uses."""
        graph = self.plan.graph
        read = {name for node in graph.nodes for name in node.inputs}
        used = read.union(graph.outputs, (state.write for state in graph.states))
        return [side.name for side, name in zip(self.inputs, graph.inputs, strict=True) if name not in used]

    @property
    def has_in_place(self) -> bool:
        return any(layer.can_be_in_place for layer in self.layers)


def project(plan: Plan) -> Project:
    """Everything the templates need. Raises `EmitError` for a plan that cannot become C."""
    check_plan(plan)
    name, prefix = plan.model, plan.model.upper()
    writer = _Writer(plan)
    layers = [writer.layer(index) for index in range(len(plan.layers))]
    pairs = writer.pairs(layers)
    chains = writer.chains(layers)
    calls, at = [], 0
    for step in plan.steps:
        text = layers[at]
        if at in chains:
            calls.append(Call(at, chains[at].function, "", (), "", "", "", arguments=chains[at].arguments))
            at += len(step.layers)
            continue
        own_call = (text.function, text.kernel, text.operands, text.input, text.output, text.scratch)
        calls.append(pairs[at] if at in pairs else Call(at, *own_call, arguments=text.arguments))
        at += len(step.layers)
    inputs, outputs = borders(plan)
    network: dict[str, int | str] = {
        f"{prefix}_LAYER_COUNT": len(layers),
        **sizes((*inputs, *outputs)),
        f"{prefix}_ARENA_BYTES": plan.arena_bytes,
    }
    for side in (*inputs, *outputs):
        network |= side.macros()
    if plan.arithmetic is not None:
        network[f"{prefix}_ARITHMETIC"] = f'"{comment_text(plan.arithmetic)}"'
    if plan.fed:
        network |= feed_macros(plan)
    states, copies = writer.held(), writer.copies() if not plan.fed else ()
    feed = writer.feed(chains, calls) if plan.fed else None
    _check_prefixes(plan, network, layers)
    identity = _identity(layers, writer.arrays)
    return Project(
        plan=plan,
        name=name,
        prefix=prefix,
        version=cmsisnn_x.__version__,
        target=plain_text(plan.target.name),
        core=plan.target.core,
        instructions=instructions(plan.target),
        digests=tuple((comment_text(k), comment_text(v)) for k, v in sorted(plan.digests.items())),
        is_graph=plan.wiring is not None,
        element=element(plan.inputs[0].type),
        run=run_function(name),
        parameters=", ".join([*(side.parameter for side in inputs), *(f"{o.element} *{o.name}" for o in outputs)]),
        inputs=inputs,
        outputs=outputs,
        arena=writer.arena,
        arena_bytes=plan.arena_bytes,
        cflags=plan.cflags,
        identity=identity,
        macros={f"{prefix}_CONFIG_ID": identity, **network},
        layers=tuple(layers),
        calls=tuple(calls),
        pairs=tuple(pairs.values()),
        chains=tuple(chains.values()),
        kernels=tuple(writer.kernels.values()),
        arrays=tuple(writer.arrays),
        checks=(*checks(plan, writer.operands), *constants(plan, network, [text.macros for text in layers])),
        states=states,
        copies=copies,
        reset=reset_function(name),
        ready=writer.names.new(f"{name}_is_ready"),
        feed=feed,
    )


class _Writer:
    """Layers as text, one after the other: names, arrays and kernels are collected on the way."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.graph = plan, plan.graph
        self.functions = [layer_function(plan.model, item.layer.name) for item in plan.layers]
        # External names are taken before any other.
        self.steps = step_functions(plan.model, plan.steps)
        own = [run_function(plan.model), *([reset_function(plan.model)] if self.graph.states else [])]
        own += feed_functions(plan.model, len(plan.inputs), len(self.graph.outputs)) if plan.fed else []
        self.names = Names([*own, *self.functions, *self.steps.values()])
        self.arena = self.names.new(f"{plan.model}_arena")
        self.links = {
            first + at: Linked(self.graph, self.graph.nodes[first + at], chain, at)
            for first, chain in plan.chains.items()
            for at in range(len(chain.own))
        }
        self.rows_state = self.names.new(f"{plan.model}_rows")
        self.arrays: list[Array] = []
        self.kernels: dict[Kernel, Inclusion] = {}
        self.tables: dict[str, str] = {}
        self.operands: list[dict[str, str]] = []
        self.constants: dict[str, str] = {}
        self.values: list[tuple[np.ndarray, ...]] = []
        self.states = {
            state.read: self.names.new(f"{plan.model}_state_{at}") for at, state in enumerate(self.graph.states)
        }
        self.callers = dict(self.states)
        for side, tensors in (("input", self.graph.inputs), ("output", self.graph.outputs)) if not plan.fed else ():
            for tensor, called in zip(tensors, numbered(side, len(tensors)), strict=True):
                self.callers.setdefault(tensor, called)

    def layer(self, index: int) -> LayerText:
        """The next layer."""
        node, item = self.graph.nodes[index], self.plan.layers[index]
        layer, prefix = item.layer, self._prefix(index)
        constants = operands_of(layer, item.variant)
        self.values.append(tuple(constants.values()))
        linked = self.links.get(index)
        if linked is None:
            kernel = self._kernel_of(Step((layer,), item.variant, item.is_overwritten), index, node)
        else:
            kernel = linked.kernel(self.values[index])
        is_tabled = layer.row.has_table and not layer.type.is_affine
        if is_tabled and layer.op not in self.tables:
            self.tables[layer.op] = self.names.new(f"{self.plan.model}_{layer.op}_table")
            values = activation_table(layer.op, layer.dtype)
            about = f"{layer.op} of t / 16 for the byte t = 0..127, -128..-1"
            self.arrays.append(Array(self.tables[layer.op], about, values))
        if kernel not in self.kernels:
            called = self.names.new(f"{self.functions[index]}_kernel")
            own = kernel.inclusion(called, prefix, table=self.tables.get(layer.op) if is_tabled else None)
            self.kernels[kernel] = Inclusion(called, kernel.header, own)
        extra = self._offsets(node, item, prefix)
        names = {kind: self.names.new(f"{self.functions[index]}_{kind}") for kind in constants}
        self.operands.append(names)
        for kind, values in constants.items():
            self.arrays.append(self._array(item, kind, names[kind], values))
            if kind != "bias":
                extra[f"{prefix}_{kind.upper()}_BYTES"] = values.nbytes
        self._known(node, index)
        scratch = f"CXN_SCRATCH({prefix}_SCRATCH_OFFSET)" if item.scratch_bytes else "NULL"
        operands = tuple(names.values())
        rows: RowsText | None = None
        if linked is None:
            reads, output = self._reads(node, prefix), self._writes(node, prefix)
            lines = body(self.graph, node, self.kernels[kernel].name, operands, scratch, self.constants)
        else:
            reads, output = [], ""
            name = self.names.new(f"{self.functions[index]}_rows")
            beside = f"CXN_SCRATCH({prefix}_RING_OFFSET)" if linked.link.sums else scratch
            rows = linked.rows(name, prefix, self.kernels[kernel].name, operands, beside, self.constants)
            lines = linked.whole_body(prefix, name)
        return LayerText(
            index=index,
            name=layer.name,
            summary=summary(item),
            function=self.functions[index],
            kernel=self.kernels[kernel].name,
            macros={**kernel.macros(prefix), **extra},
            operands=operands,
            input=reads[0] if reads else "",
            output=output,
            scratch=scratch,
            can_be_in_place=item.is_overwritten
            or (layer.is_in_place and layer.output_type.bits == layer.type.bits and linked is None),
            parameters=parameters(self.graph, node),
            body=lines,
            arguments=", ".join([*reads, output]),
            rows=rows,
        )

    def pairs(self, layers: list[LayerText]) -> dict[int, Call]:
        """The functions that run a convolution and its pooling as one, by the convolution's index; their kernels are
        added to the others.
        """
        found, after = {}, 0
        for step in self.plan.steps:
            at, after = after, after + len(step.layers)
            if step.pool is None:
                continue
            conv, pool, function = layers[at], layers[at + 1], self.steps[step.name]
            node, last = self.graph.nodes[at], self.graph.nodes[after - 1]
            kernel = self._kernel_of(step, at, last)
            if kernel not in self.kernels:
                name = self.names.new(f"{function}_kernel")
                prefixes = (self._prefix(at), self._prefix(at + 1))
                self.kernels[kernel] = Inclusion(name, kernel.header, kernel.inclusion(name, *prefixes))
            called = self.kernels[kernel].name
            reads = self._reads(node, self._prefix(at))
            found[at] = Call(
                at, function, called, conv.operands, conv.input, pool.output, conv.scratch,
                f"{conv.name} and {pool.name}", parameters(self.graph, node, last),
                body(self.graph, node, called, conv.operands, conv.scratch, self.constants),
                ", ".join([*reads, pool.output]),
            )  # fmt: skip
        return found

    def chains(self, layers: list[LayerText]) -> dict[int, ChainText]:
        """The functions that run chains, by the index of the first layer."""
        found = {}
        for first, chain in self.plan.chains.items():
            last = first + len(chain.own) - 1
            nodes = self.graph.nodes[first : last + 1]
            prefixes = [self._prefix(at) for at in range(first, last + 1)]
            function = self.steps[self.plan.layers[first].layer.name]
            table = self.names.new(f"{function}_calls")
            places = {
                at: self._tensor(node.outputs[0], f"{prefix}_RING_OFFSET")
                for at, (node, prefix) in enumerate(zip(nodes[:-1], prefixes, strict=False), chain.feeds)
                if chain.rings[at] is not None
            }
            fed_prefixes = dict(zip(self.graph.inputs, feed_prefixes(self.plan), strict=True))
            rings = [self._tensor(name, f"{fed_prefixes[name]}_RING_OFFSET") for name in chain.fed]
            places = dict(enumerate(rings)) | places
            rows = [own.name for at in range(first, last + 1) if (own := layers[at].rows) is not None]
            places_of: dict[str, str] = {}
            for node, prefix in zip(nodes, prefixes, strict=True):
                for side, name in zip(input_sides(node), node.inputs, strict=True):
                    places_of.setdefault(name, self._place(name, side, prefix, "const "))
            given, output = outside(self.graph, nodes), self._writes(nodes[-1], prefixes[-1])
            row = [f"{fed_prefixes[name]}_ROW_SIZE" for name in chain.fed]
            state = self.rows_state if chain.fed else ""
            lines = ChainWriter(self.graph, nodes, chain, table, prefixes, rows, places, state, row).lines()
            more: dict[str, Any] = {}
            if chain.fed:
                whole, taken, passed = some_of(self.graph, nodes, chain)
                called = dict(zip(given, numbered("input", len(given)), strict=True))
                more = {
                    "some": self.names.new(f"{function}_some"), "some_parameters": taken, "passed": passed,
                    "some_arguments": ", ".join([*(places_of[name] for name in whole), output]),
                    "begin": self.names.new(f"{function}_begin"),
                    "fed": tuple((self.graph.inputs.index(name), called[name]) for name in chain.fed),
                    "first_rows": tuple((at, row) for at, row in enumerate(chain.first_rows[:-1]) if row),
                }  # fmt: skip
            arguments = ", ".join([*(places_of[name] for name in given if name not in chain.fed), output])
            found[first] = ChainText(
                first, function, chain_parameters(self.graph, nodes), arguments,
                f"{nodes[0].name} to {nodes[-1].name}", table, "uint16_t" if chain.room else "uint8_t",
                schedule_lines(chain), lines, **more,
            )  # fmt: skip
        return found

    def feed(self, chains: Mapping[int, ChainText], calls: Sequence[Call]) -> FeedText:
        """What takes the rows of inputs that come so."""
        return feed_text(self.plan, self.names, self.rows_state, chains, calls, self._tensor, self._source)

    def held(self) -> tuple[Held, ...]:
        """What the network remembers."""

        def array(name: str, comment: str, values: np.ndarray) -> str:
            self.arrays.append(Array(self.names.new(name), comment, values))
            return self.arrays[-1].name

        return held_states(self.graph, self.states, array, self._source)

    def copies(self) -> tuple[tuple[str, str, int], ...]:
        """Outputs that no layer writes, or that are asked for twice, and what they are copies of."""
        outputs = self.graph.outputs
        names = numbered("output", len(outputs))
        again = [at for at, name in enumerate(outputs) if outputs.index(name) != at or not self.graph.producer(name)]
        return tuple((names[at], self._source(outputs[at]), self.graph.tensors[outputs[at]].bytes) for at in again)

    def _source(self, tensor: str) -> str:
        """Where a tensor lies when all layers have run."""
        producer, value = self.graph.producer(tensor), self.graph.tensors[tensor].value
        if value is not None and tensor not in self.constants:
            self.constants[tensor] = self.names.new(f"{self.plan.model}_constant")
            self.arrays.append(Array(self.constants[tensor], "an output that is always the same", value))
        if producer is None and self.plan.fed and tensor in self.graph.inputs:
            return self._tensor(tensor, whole_offset(self.plan, tensor))
        if producer is None:
            return self.constants.get(tensor) or self.callers[tensor]
        return self._place(tensor, "OUTPUT", self._prefix(self.graph.index(producer)))

    def _prefix(self, index: int) -> str:
        return f"{self.plan.model}_{self.plan.layers[index].layer.name}".upper()

    def _kernel_of(self, step: Step, index: int, last: Node) -> Kernel:
        return kernel_of(
            step,
            self.values[index],
            scratch_bytes=self.plan.layers[index].scratch_bytes,
            input_aligned=self.graph.aligned(self.graph.nodes[index])[0],
            output_aligned=self.graph.aligned(last)[1],
        )

    def _array(self, item: LayerPlan, kind: str, name: str, values: np.ndarray) -> Array:
        layer = item.layer
        if kind == "weights" and layer.weights is not None:
            layout = item.variant.weight_layout if item.variant else "plain"
            return Array(name, f"{layer.name}: {' x '.join(map(str, layer.weights.shape))}, {layout}", values)
        return Array(name, f"{layer.name}: {kind}", values, record_type(layer) if kind == "channels" else None)

    def _known(self, node: Node, index: int) -> None:
        """Arrays of the inputs of a node that are constants."""
        for name, side in zip(node.inputs, input_sides(node), strict=True):
            value = self.graph.tensors[name].value
            if value is not None and name not in self.constants:
                self.constants[name] = self.names.new(f"{self.functions[index]}_{side.lower()}")
                about = f"{node.name}: {side.lower()}, {' x '.join(map(str, value.shape))}"
                self.arrays.append(Array(self.constants[name], about, value))

    def _offsets(self, node: Node, item: LayerPlan, prefix: str) -> dict[str, int | str]:
        """The places of buffers; in graphs their sizes too, which differ by type and number of samples."""
        sides = input_sides(node)
        offsets = {**dict(zip(sides, item.all_inputs, strict=True)), "OUTPUT": item.output_offset}
        if item.scratch_bytes:
            offsets["SCRATCH"] = item.scratch_offset
        if item.ring_rows:
            offsets["RING"] = item.ring_offset
        found: dict[str, int | str] = {
            f"{prefix}_{side}_OFFSET": offset for side, offset in offsets.items() if offset is not None
        }
        if item.ring_rows:
            found[f"{prefix}_RING_ROWS"] = item.ring_rows
        if self.plan.wiring is not None:
            tensors = self.graph.tensors
            sizes = {**{side: tensors[name].bytes for side, name in zip(sides, node.inputs, strict=True)}}
            sizes["OUTPUT"] = tensors[node.outputs[0]].bytes
            found |= {f"{prefix}_{side}_BYTES": size for side, size in sizes.items()}
        return found

    def _reads(self, node: Node, prefix: str) -> list[str]:
        sides = input_sides(node)
        return [self._place(tensor.name, sides[at], prefix, "const ") for at, _, tensor in taken(self.graph, node)]

    def _writes(self, node: Node, prefix: str) -> str:
        return self._place(node.outputs[0], "OUTPUT", prefix)

    def _place(self, tensor: str, side: str, prefix: str, qualifier: str = "") -> str:
        if tensor in self.callers:
            return self.callers[tensor]
        return self._tensor(tensor, f"{prefix}_{side}_OFFSET", qualifier)

    def _tensor(self, tensor: str, offset: str, qualifier: str = "") -> str:
        """Memory of the arena as elements of a tensor."""
        if self.plan.wiring is None:
            return f"CXN_TENSOR({offset})"
        return f"CXN_TENSOR({qualifier}{element(self.graph.tensors[tensor].type)}, {offset})"


def _check_prefixes(plan: Plan, network: Mapping[str, int | str], layers: Iterable[LayerText]) -> None:
    """Kernels paste a layer's prefix and a parameter together, which fails if the prefix alone is a macro."""
    taken = {*network, *(name for layer in layers for name in layer.macros)}
    for item in plan.layers:
        prefix = f"{plan.model}_{item.layer.name}".upper()
        if prefix in taken or prefix == f"{plan.model.upper()}_CONFIG_ID":
            raise EmitError(f"layer name: {item.layer.name!r} would make {prefix}, a macro already; choose another")


def _identity(layers: Iterable[LayerText], arrays: Iterable[Array]) -> str:
    """A number for what is emitted, by which the files of one run know each other."""
    value = 0
    for layer in layers:
        value = zlib.crc32(repr(layer).encode(), value)
    for array in arrays:
        value = zlib.crc32(array.values.astype(array.values.dtype.newbyteorder("<")).tobytes(), value)
    return f"0x{value:08x}"
