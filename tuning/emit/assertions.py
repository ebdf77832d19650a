# SPDX-License-Identifier: Apache-2.0
"""Static assertions: what must hold between the macros of the configuration and the arrays, for whoever edits one by
hand.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import combinations, pairwise, product

from cmsisnn_x.graph import Node
from cmsisnn_x.packing import packing_knobs, packs_starts
from tuning.plan import LayerPlan, Plan

from .arguments import element
from .macros import KNOBS
from .names import numbered

COLUMNS = 125
"""Of a line of macros."""


@dataclass(frozen=True)
class Check:
    """A static assertion; the name is what the compiler prints."""

    condition: str
    name: str


def input_sides(node: Node) -> list[str]:
    """What macros of the inputs are called: ``INPUT``, or ``INPUT_0`` and so on."""
    return [name.upper() for name in numbered("input", len(node.inputs))]


def checks(plan: Plan, operands: Sequence[dict[str, str]]) -> Iterable[Check]:
    """All assertions; `operands` holds the names of each layer's arrays."""
    for first, chain in plan.chains.items():
        yield from _chain(plan, first, first + len(chain.own))
    for node, item, own in zip(plan.graph.nodes, plan.layers, operands, strict=True):
        yield from _places(plan, node, item)
        yield from _links(plan, node, item)
        p, name = f"{plan.model.upper()}_{item.layer.name.upper()}", item.layer.name
        if plan.wiring is not None:
            yield from _sizes(plan, node, item)
        for kind, array in own.items():
            if kind == "bias" and not item.layer.type.is_affine:
                bytes_of_bias = f"{p}_OUT_CH * {p}_WEIGHT_BITS / 8"
                yield Check(f"sizeof({array}) == {bytes_of_bias}", f"{name}_bias_matches_the_configuration")
            else:
                yield Check(f"sizeof({array}) == {p}_{kind.upper()}_BYTES", f"{name}_{kind}_match_the_configuration")


def _places(plan: Plan, node: Node, item: LayerPlan) -> Iterator[Check]:
    """Buffers lie in the arena, and apart."""
    p, name = f"{plan.model.upper()}_{item.layer.name.upper()}", item.layer.name
    sides = input_sides(node)
    offsets = {**dict(zip(sides, item.all_inputs, strict=False)), "OUTPUT": item.output_offset}
    if item.scratch_bytes:
        offsets["SCRATCH"] = item.scratch_offset
    placed = [side for side, offset in offsets.items() if offset is not None]
    for side in placed:
        yield Check(f"CXN_INSIDE({p}, {side})", f"{name}_{side.lower()}_lies_in_the_arena")
    if item.ring_rows:
        yield Check(f"CXN_INSIDE({p}, RING)", f"{name}_ring_lies_in_the_arena")
        yield Check(f"{p}_RING_ROWS >= {item.ring_rows}", f"{name}_ring_has_room_for_what_is_read")
    for a, b in combinations(placed, 2):
        if a in sides and b in sides:  # two tensors that are read, or one twice
            continue
        if b == "OUTPUT" and item.is_in_place(sides.index(a)):
            inside = item.layer.place_inside(sides.index(a))
            if item.layer.is_in_place or item.layer.row.is_weighted:
                yield Check(f"{p}_{a}_OFFSET == {p}_OUTPUT_OFFSET", f"{name}_works_in_place")
            else:
                yield Check(f"{p}_{a}_OFFSET == {p}_OUTPUT_OFFSET + {inside}", f"{name}_has_{a.lower()}_in_place")
        else:
            yield Check(f"CXN_APART({p}, {a}, {b})", f"{name}_{a.lower()}_and_{b.lower()}_are_apart")


def _chain(plan: Plan, first: int, end: int) -> Iterator[Check]:
    """No call makes more rows than its kernel takes; and what a chain has in the arena keeps its order, one behind the
    other: rings, what it reads and writes, and scratch, which all layers have in one place.
    """
    if plan.chains[first].room:
        yield from _sharing(plan, first, end)
        return
    placed: list[tuple[int, str, str]] = []  # where, whose, what
    scratch: list[tuple[int, str, str]] = []
    for item, node in zip(plan.layers[first:end], plan.graph.nodes[first:end], strict=True):
        p = f"{plan.model.upper()}_{item.layer.name.upper()}"
        yield Check(f"{p}_BAND >= {item.band}", f"{item.layer.name}_makes_as_many_rows_as_its_calls_ask_for")
        sides = [*zip(input_sides(node), item.all_inputs, strict=True), ("OUTPUT", item.output_offset)]
        sides.append(("RING", item.ring_offset))
        placed += [(offset, p, side) for side, offset in sides if offset is not None]
        if item.scratch_offset is not None:
            scratch.append((item.scratch_offset, p, "SCRATCH"))
    groups: list[list[tuple[int, str, str]]] = []
    for own in sorted([*placed, *scratch]):
        alike = groups and (groups[-1][0][0] == own[0] or groups[-1][0][2] == own[2] == "SCRATCH")
        groups[-1].append(own) if alike else groups.append([own])
    for before, after in pairwise(groups):
        for (_, one, a), (_, two, b) in product(before, after):
            name = f"{one}_{a}_ends_before_{two}_{b}".lower()
            yield Check(f"CXN_END({one}, {a}) <= {two}_{b}_OFFSET", name)


def _sharing(plan: Plan, first: int, end: int) -> Iterator[Check]:
    """Where rings share their memory, all of it lies in the arena, apart from what the chain reads and writes, and
    scratch at its end.
    """
    chain, own = plan.chains[first], plan.layers[first:end]
    prefixes = [f"{plan.model.upper()}_{item.layer.name.upper()}" for item in own]
    lead = next(p for p, item in zip(prefixes, own, strict=True) if item.ring_offset is not None)
    name, stop = own[0].layer.name, f"{lead}_RING_OFFSET + {chain.room}"
    yield Check(f"{stop} <= {plan.model.upper()}_ARENA_BYTES", f"rings_from_{name}_on_lie_in_the_arena")
    for p, item, node in zip(prefixes, own, plan.graph.nodes[first:end], strict=True):
        yield Check(f"{p}_BAND >= {item.band}", f"{item.layer.name}_makes_as_many_rows_as_its_calls_ask_for")
        if item.ring_offset is not None and p != lead:
            yield Check(f"{p}_RING_OFFSET == {lead}_RING_OFFSET", f"{item.layer.name}_shares_the_memory_of_rings")
        if item.scratch_offset is not None:
            starts = f"{p}_SCRATCH_OFFSET == {lead}_RING_OFFSET + {chain.scratch_place(item.scratch_bytes)}"
            yield Check(f"{starts} && CXN_END({p}, SCRATCH) <= {stop}", f"{item.layer.name}_scratch_ends_behind_rings")
        for side, offset in (*zip(input_sides(node), item.all_inputs, strict=True), ("OUTPUT", item.output_offset)):
            if offset is not None and side == "OUTPUT" and chain.holds_output:
                starts = f"{p}_OUTPUT_OFFSET == {lead}_RING_OFFSET && CXN_END({p}, OUTPUT) <= {stop}"
                yield Check(starts, f"{item.layer.name}_output_lies_before_the_rings")
            elif offset is not None:
                apart = f"CXN_END({p}, {side}) <= {lead}_RING_OFFSET || {stop} <= {p}_{side}_OFFSET"
                yield Check(apart, f"{item.layer.name}_{side.lower()}_and_the_rings_are_apart")


def _links(plan: Plan, node: Node, item: LayerPlan) -> Iterator[Check]:
    """Every reader reads where its producer writes."""
    p, name = f"{plan.model.upper()}_{item.layer.name.upper()}", item.layer.name
    several = len(node.inputs) > 1
    for side, tensor in zip(input_sides(node), node.inputs, strict=True):
        producer = plan.graph.producer(tensor)
        if producer is None:
            continue
        before = f"{plan.model.upper()}_{producer.name.upper()}"
        what = side.lower() if several else "input"
        conv = plan.layers[plan.graph.index(producer)]
        yield Check(
            f"CXN_SIZE_OUTPUT({before}) == CXN_SIZE_{side}({p})",
            f"{name}_{what}_has_the_size_of_the_output_before",
        )
        if item.fused_into is None:
            if conv.output_offset is not None or (plan.wiring is None and not (conv.band and item.band)):
                reads = f"{name}_{what + '_' if several else ''}reads_where_the_layer_before_writes"
                yield Check(f"{before}_OUTPUT_OFFSET == {p}_{side}_OFFSET", reads)
        elif item.output_offset is not None:
            for own, offset in (("INPUT", conv.input_offset), ("SCRATCH", conv.scratch_offset)):
                if offset is not None:
                    what = f"{conv.layer.name}_{own.lower()}_and_{name}_output_are_apart"
                    yield Check(f"CXN_APART_OF({before}, {own}, {p}, OUTPUT)", what)


def _sizes(plan: Plan, node: Node, item: LayerPlan) -> Iterator[Check]:
    """The bytes of buffers are those of the geometry, all samples."""
    p, layer = f"{plan.model.upper()}_{item.layer.name.upper()}", item.layer
    side = input_sides(node)[0]
    for name, short, own in ((side, "IN", layer.type), ("OUTPUT", "OUT", layer.output_type)):
        size = f"(size_t){p}_{short}_H * {p}_{short}_W * {p}_{short}_CH * sizeof({element(own)}) * {layer.samples}"
        yield Check(f"CXN_SIZE_{name}({p}) == {size}", f"{layer.name}_{name.lower()}_has_its_geometry")


def constants(
    plan: Plan, network: Mapping[str, int | str], layers: Iterable[Mapping[str, int | str]]
) -> Iterator[Check]:
    """Shapes are as the model has them, and knobs by which weights lie as they do: arrays, buffers and callers count on
    that. What remains to be edited are other knobs, numbers of the arithmetic that are not in arrays too, and places,
    which have assertions of their own; a buffer may be taken to lie anywhere. `network` and `layers` are the macros.
    """
    prefix = plan.model.upper()
    yield _as_in_model(plan.model, {key: value for key, value in network.items() if key.endswith("_SIZE")})
    for item, macros in zip(plan.layers, layers, strict=True):
        free = {*KNOBS} - {knob.upper() for knob in packing_knobs(item.layer, item.variant)}
        baked = {"BIAS_SHIFT", "OUT_SHIFT"} if packs_starts(item.variant) else set()
        free |= item.layer.requant.macros().keys() - {"RESCALE"} - baked
        own = f"{prefix}_{item.layer.name.upper()}_"
        names = [key for key in macros if not _is_free(key.removeprefix(own), free)]
        yield _as_in_model(item.layer.name, {key: macros[key] for key in names})


def _as_in_model(name: str, macros: Mapping[str, int | str]) -> Check:
    terms = [f"{key} {'<=' if key.endswith('_ALIGNED') else '=='} {value} &&" for key, value in macros.items()]
    lines = [""]
    for term in (*terms[:-1], terms[-1].removesuffix(" &&")):
        if len(lines[-1]) + len(term) >= COLUMNS:
            lines.append("")
        lines[-1] += f" {term}" if lines[-1] else term
    return Check("\n    ".join(lines), f"{name}_is_as_the_model_has_it")


def _is_free(name: str, knobs: Set[str]) -> bool:
    return name in knobs or name.endswith(("_OFFSET", "SCRATCH_BYTES", "BAND", "RING_ROWS"))
