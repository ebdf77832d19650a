# SPDX-License-Identifier: Apache-2.0
"""What a plan must fulfil before one line is written. The planner keeps all of it; a plan made by hand may not."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from cmsisnn_x.arena import ALIGNMENT
from cmsisnn_x.errors import CmsisnnError
from cmsisnn_x.graph import Graph, Node
from tuning.base.cflags import cflags_problem
from tuning.base.errors import TuningError
from tuning.base.names import layer_name_problem, model_name_problem
from tuning.plan import LayerPlan, Plan

from .names import RESET, feed_functions, layer_function


class EmitError(TuningError):
    """A plan cannot become C."""


def _error(where: str, expected: str, got: object) -> EmitError:
    return EmitError(f"{where}: expected {expected}, got {got}")


def check_plan(plan: Plan) -> None:
    """Raise `EmitError` unless names are usable and every buffer lies where the kernels expect it."""
    if problem := model_name_problem(plan.model):
        raise EmitError(f"model name: {problem}")
    if not plan.layers:
        raise _error(plan.model, "at least one layer", "none")
    _check_names(plan)
    taken = feed_functions(plan.model, len(plan.inputs), len(plan.graph.outputs)) if plan.fed else []
    for item in plan.layers:
        if (name := layer_function(plan.model, item.layer.name)) in taken:
            own = item.layer.name
            raise EmitError(f"layer name: {own!r} would make {name}, a function of --feed rows; choose another")
    if problem := cflags_problem(plan.cflags):
        raise EmitError(f"cflags: {problem}")
    graph = plan.graph
    if plan.wiring is not None:
        _check_wiring(plan, plan.wiring)
    for node, item in zip(graph.nodes, plan.layers, strict=True):
        if len(item.all_inputs) != len(node.inputs):
            raise _error(f"layer {item.layer.name}: input_offsets", f"{len(node.inputs)} places", len(item.all_inputs))
    inner = {
        graph.nodes[at].outputs[0]
        for first, chain in plan.chains.items()
        for at in range(first, first + len(chain.own) - 1)
    }
    inner |= {name for name, offset in zip(graph.inputs, plan.fed_offsets, strict=False) if offset is not None}
    for node, item in zip(graph.nodes, plan.layers, strict=True):
        reader = graph.sole_reader(node)
        following = None if reader is None else plan.layers[graph.index(reader)]
        _check_fusion(item, following)
        if item.takes_in_next and reader is not None and graph.index(reader) != graph.index(node) + 1:
            raise _error(f"layer {item.layer.name}: variant.fused_pool", "the pooling to run next", reader.name)
        outside = [name in inner or _is_elsewhere(graph, name, fed=plan.fed) for name in node.inputs]
        _check_ends(item, outside, (graph.writes_output(node) and not plan.fed) or node.outputs[0] in inner)
        _check_buffers(item, following, plan.arena_bytes)
        for after in graph.readers(node.outputs[0]):
            for at in (at for at, name in enumerate(after.inputs) if name == node.outputs[0]):
                _check_link(item, plan.layers[graph.index(after)], at)
    for first, chain in plan.chains.items():
        _check_chain(plan, first, len(chain.own))
    if plan.wiring is not None:
        _check_lives(plan, plan.wiring)
    if plan.layers[0].fused_into is not None:
        raise _error(
            f"layer {plan.layers[0].layer.name}: fused_into", "None in the first layer", plan.layers[0].fused_into
        )


def _check_names(plan: Plan) -> None:
    seen: dict[str, str] = {}
    for item in plan.layers:
        name = item.layer.name
        if problem := layer_name_problem(name, seen):
            raise EmitError(f"layer name: {problem}")
        seen[name.lower()] = name


def _check_fusion(item: LayerPlan, following: LayerPlan | None) -> None:
    name, taken = item.layer.name, following.fused_into if following is not None else None
    if not item.takes_in_next:
        if following is not None and taken is not None:
            expected = f"None, as the variant of {name} has no fused_pool"
            raise _error(f"layer {following.layer.name}: fused_into", expected, taken)
        return
    if item.layer.op != "conv2d" or following is None or following.layer.op not in ("max_pool2d", "avg_pool2d"):
        raise _error(f"layer {name}: variant.fused_pool", "a pooling layer right behind a convolution", "another")
    if taken != name:
        raise _error(f"layer {following.layer.name}: fused_into", f"{name!r}, whose kernel runs it", taken)


def _check_wiring(plan: Plan, graph: Graph) -> None:
    """The graph is one of these layers, and every tensor of its border has memory of its own."""
    if [node.layer for node in graph.nodes] != [item.layer for item in plan.layers]:
        raise _error(plan.model, "a graph of the layers of the plan", "another")
    try:
        graph.verify()
    except CmsisnnError as problem:
        raise EmitError(str(problem)) from None
    held = [state.read for state in graph.states]
    for name in held:
        if name in graph.inputs or held.count(name) > 1:
            raise _error(f"tensor {name!r}", "to be the memory of one state", "another use too")
    for state in graph.states:
        read, write = graph.tensors[state.read], graph.tensors[state.write]
        if (read.bytes, read.type) != (write.bytes, write.type) or state.write in held:
            raise _error(f"state {state.read!r}", "a tensor of its own size and type", repr(state.write))
    if graph.states and any(item.layer.name.lower() == RESET for item in plan.layers):
        raise EmitError(
            f"layer name: {RESET!r} is the function that forgets what the network remembers; choose another"
        )


def _is_elsewhere(graph: Graph, tensor: str, *, fed: bool) -> bool:
    """Whether a tensor has its memory outside the arena: the caller's, a constant's, or that of a state."""
    is_held = any(state.read == tensor for state in graph.states)
    return is_held or (graph.is_callers(tensor) and not fed) or graph.tensors[tensor].value is not None


def _check_ends(item: LayerPlan, are_elsewhere: Sequence[bool], is_last: bool) -> None:
    name = item.layer.name
    words = [f"input_offsets[{at}]" if item.input_offsets else "input_offset" for at in range(len(item.all_inputs))]
    sides = [*zip(words, item.all_inputs, are_elsewhere, strict=True), ("output_offset", item.output_offset, is_last)]
    for side, offset, is_caller in sides:
        if item.takes_in_next if side == "output_offset" else item.fused_into is not None:
            if offset is not None:
                raise _error(f"layer {name}: {side}", "None, for a tensor that is never stored", offset)
            continue
        if is_caller and offset is not None:
            raise _error(f"layer {name}: {side}", "None, for the caller's buffer", offset)
        if not is_caller and offset is None:
            raise _error(f"layer {name}: {side}", "a place in the arena", "None, the caller's buffer")


def _check_buffers(item: LayerPlan, following: LayerPlan | None, arena_bytes: int) -> None:
    name = item.layer.name
    end = following if item.takes_in_next and following is not None else item
    reads = ["input" if at == 0 else f"input {at}" for at in range(len(item.all_inputs))]
    sizes = {
        **dict(zip(reads, zip(item.all_inputs, _input_bytes(item), strict=True), strict=True)),
        "output": (end.output_offset, end.layer.output_bytes),
        "scratch": (item.scratch_offset, item.scratch_bytes),
    }
    if item.scratch_bytes and item.scratch_offset is None:
        raise _error(f"layer {name}: scratch_offset", f"a place for {item.scratch_bytes} bytes", None)
    placed = [(what, at, size) for what, (at, size) in sizes.items() if at is not None and size]
    for what, at, size in placed:
        if at % ALIGNMENT or at < 0 or at + size > arena_bytes:
            place = f"{size} bytes at a multiple of {ALIGNMENT} inside an arena of {arena_bytes}"
            raise _error(f"layer {name}: {what}_offset", place, at)
    for number, (what, at, size) in enumerate(placed):
        for other, other_at, other_size in placed[number + 1 :]:
            overlap = at < other_at + other_size and other_at < at + size
            if what in reads and (other in reads or (other == "output" and item.is_in_place(reads.index(what)))):
                continue
            if overlap:
                got = f"{at}..{at + size} and {other_at}..{other_at + other_size}"
                raise _error(f"layer {name}", f"{what} and {other} apart", got)


def _check_chain(plan: Plan, first: int, count: int) -> None:
    """Rings and scratch of a chain lie in the arena, apart from each other and from what it reads and writes."""
    placed: list[tuple[str, int, int]] = []
    chain, fed_offsets = plan.chains[first], dict(zip(plan.graph.inputs, plan.fed_offsets, strict=False))
    for name, link, ring in zip(chain.fed, chain.links, chain.rings, strict=False):
        if ring is None or (place := fed_offsets.get(name)) is None:
            raise _error(f"the ring of {link.layer.name}", "a place in the arena", None)
        placed.append((f"the ring of {link.layer.name}", place, ring.bytes))
    for at, item in enumerate(plan.layers[first : first + count]):
        name = item.layer.name
        if bool(item.ring_rows) != (chain.own_rings[at] is not None) or not item.band:
            expected = "those of a ring in a chain, none behind its last layer"
            raise _error(f"layer {name}: ring_rows", expected, item.ring_rows)
        if item.ring_offset is not None and not chain.room:
            placed.append((f"the ring of {name}", item.ring_offset, item.ring_rows * chain.own[at].row_bytes))
        sizes = zip(item.all_inputs, _input_bytes(item), strict=True)
        placed += [(f"what {name} reads", offset, size) for offset, size in sizes if offset is not None]
    own = plan.layers[first : first + count]
    if chain.room:
        if (start := own[0].ring_offset) is None:
            raise _error(f"layer {own[0].layer.name}: ring_offset", "a place in the arena", None)
        for item in own:
            name, end = f"layer {item.layer.name}", start + chain.scratch_place(item.scratch_bytes)
            if item.ring_offset != (place := start if item.ring_rows else None):
                raise _error(f"{name}: ring_offset", f"{place}, as rings share their memory", item.ring_offset)
            if item.scratch_bytes and item.scratch_offset != end:
                raise _error(f"{name}: scratch_offset", f"{end}, at the end of the rings", item.scratch_offset)
        placed.append((f"the rings from {own[0].layer.name} on", start, chain.room))
    last = own[-1]
    if chain.holds_output and last.output_offset != own[0].ring_offset:
        expected = f"{own[0].ring_offset}, at the start of the rings"
        raise _error(f"layer {last.layer.name}: output_offset", expected, last.output_offset)
    if last.output_offset is not None and not chain.holds_output:
        placed.append((f"the output of {last.layer.name}", last.output_offset, last.layer.output_bytes))
    for what, at, size in placed:
        if at % ALIGNMENT or at < 0 or at + size > plan.arena_bytes:
            inside = f"{size} bytes at a multiple of {ALIGNMENT} inside an arena of {plan.arena_bytes}"
            raise _error(what, inside, at)
    scratch = [
        (f"the scratch of {item.layer.name}", item.scratch_offset, item.scratch_bytes)
        for item in own
        if item.scratch_offset is not None and not chain.room
    ]
    for number, (what, at, size) in enumerate(placed):
        for other, other_at, other_size in (*placed[number + 1 :], *scratch):
            is_read = what.startswith("what") and other.startswith("what")
            if not is_read and at < other_at + other_size and other_at < at + size:
                got = f"{at}..{at + size} and {other_at}..{other_at + other_size}"
                raise _error(what, f"a place apart from {other}", got)


def _check_link(item: LayerPlan, following: LayerPlan, at: int) -> None:
    """Input `at` of the layer that follows is the output of this one."""
    name, after = item.layer.name, following.layer.name
    layer, reads = following.layer, following.all_inputs[at]
    if item.output_offset != reads:
        place = f"{item.output_offset}, where {name} writes"
        raise _error(f"layer {after}: input_offset", place, reads)
    size = item.layer.samples * prod(item.layer.output_shape)
    taken = layer.samples * prod(layer.input_shapes[at])
    if size != taken:
        raise _error(f"layer {after}: input_shape", f"{size} elements, the output of {name}", taken)
    if item.layer.output_type != layer.type:
        given = item.layer.output_type.name
        raise _error(f"layer {after}: dtype", f"{given}, which {name} gives", layer.dtype)


def _check_lives(plan: Plan, graph: Graph) -> None:
    """Tensors that are needed at the same time lie apart, but for what a layer overwrites."""
    kept = {state.write for state in graph.states}
    found: list[tuple[Node, int, int, int, int]] = []  # producer, first and last step, place and size
    for node, item in zip(graph.nodes, plan.layers, strict=True):
        if (at := item.output_offset) is not None:
            uses = [graph.index(reader) for reader in graph.readers(node.outputs[0])]
            uses += [len(graph.nodes)] * (node.outputs[0] in kept)
            first = graph.index(node)
            found.append((node, first, max([first, *uses]), at, item.layer.output_bytes))
    for node, first, last, at, size in found:
        for other, other_first, _, other_at, other_size in found:
            if not first < other_first <= last or at >= other_at + other_size or other_at >= at + size:
                continue
            inputs = [i for i, name in enumerate(other.inputs) if name == node.outputs[0]]
            if last == other_first and any(plan.layers[other_first].is_in_place(i) for i in inputs):
                continue
            got = f"{at}..{at + size} and {other_at}..{other_at + other_size}"
            raise _error(f"tensor {other.outputs[0]!r}", f"a place apart from that of {node.outputs[0]!r}", got)


def _input_bytes(item: LayerPlan) -> list[int]:
    layer = item.layer
    return [layer.samples * prod(shape) * layer.numpy_dtype.itemsize for shape in layer.input_shapes]
