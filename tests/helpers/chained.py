# SPDX-License-Identifier: Apache-2.0
"""Networks that run as chains: graphs drawn for what makes chains hard, chains of any bands and kernels, and what lies
around their rings.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random
from unittest import mock

import numpy as np

import tuning
from cmsisnn_x.bands import least_rows
from cmsisnn_x.buffers import aligned
from cmsisnn_x.chain import Chain
from cmsisnn_x.chained import chain_of, outside
from cmsisnn_x.errors import CmsisnnError
from cmsisnn_x.graph import Graph
from helpers import int8
from helpers.drawn_networks import draw
from tuning import tuner
from tuning.base.errors import InfeasibleError
from tuning.emit.names import layer_function, run_function
from tuning.emulate import Emulator, Toolchain
from tuning.measure.folder import Firmware, _call, compile_folder, draw_inputs, inputs_of, load, trace_of
from tuning.model import graph_model
from tuning.plan import LayerPlan, Plan
from tuning.plan.planner import choose_placed
from tuning.search.chained import Found, Network, with_chains
from tuning.search.options import network_problem

GUARD, PATTERN = 64, 0xA5
"""Bytes between rings, and what they hold."""


def hard(seed: int) -> tuning.Model:
    """Images of odd sizes under strides up to 3, dilation, ceil-mode pools, and sums with what was made earlier."""
    rng = Random(zlib.crc32(f"hard {seed}".encode()))
    b = int8.Builder()
    dtype = "int8" if rng.random() < 0.75 else "int16"
    x = b.input("image", (rng.randrange(7, 36), rng.choice((3, 5, 7, 8, 12)), rng.choice((1, 3, 4, 6))), dtype)
    skips = []
    for at in range(rng.randrange(3, 9)):
        height, width, channels = b.tensors[x].shape
        name, kind = f"l{at}", rng.random()
        alike = [one for one in skips if one != x and b.tensors[one].shape == b.tensors[x].shape]
        if alike and kind < 0.35 and dtype == "int8":
            x = b.add(name, *rng.sample((x, rng.choice(alike)), 2))
        elif at == 0 or kind < 0.5:
            kernel, stride = rng.choice((1, 3, 3, 5)), rng.choice((1, 1, 1, 2, 3))
            dilation = rng.choice((1, 1, 1, 2)) if stride == 1 else 1
            x = b.conv(name, x, channels if rng.random() < 0.5 else rng.choice((4, 5, 8)), kernel, stride,
                       dilation=dilation)  # fmt: skip
        elif kind < 0.75:
            x = b.conv(name, x, 0, rng.choice((3, 3, 5)), rng.choice((1, 1, 1, 2, 3)), depthwise=True)
            if rng.random() < 0.6:  # which may lie over what the depthwise layer reads
                x = b.conv(f"{name}p", x, rng.choice((4, 6, 8)), 1)
        elif kind < 0.9 and min(height, width) > 2:
            x = ceil_pool(b, name, x, rng)
        elif dtype == "int8" and (turn := Random(f"again {seed} {at}").random()) < 0.5:
            period = ((channels,), (width, channels), (1,), b.tensors[x].shape)[int(8 * turn)]
            x = b.multiply(name, x, b.constant(f"{name}_factors", period))
        else:
            x = b.look_up(name, x) if dtype == "int8" else b.conv(name, x, 4, 1)
        skips.append(x)
    if Random(f"tail {seed}").random() < 0.4:
        x = whole(b, "whole", x, Random(seed).randrange(3))
    return graph_model(f"hard{seed}", b.graph(x), f"hard{seed}.tflite")


def joined(seed: int) -> tuning.Model:
    """Two images of different sizes whose branches join, and now and then a third input that has no rows."""
    rng = Random(zlib.crc32(f"joined {seed}".encode()))
    b = int8.Builder()
    height, width, channels = rng.randrange(3, 12), rng.choice((3, 5, 6)), rng.choice((3, 4, 8))

    def branch(name: str, channels: int) -> str:
        stride = rng.choice((1, 2, 3))
        h, w = (size * stride - rng.randrange(stride) for size in (height, width))
        x = b.conv(f"{name}_stem", b.input(name, (h, w, rng.choice((1, 2, 3)))), channels, rng.choice((1, 3)), stride)
        for at in range(rng.randrange(3)):
            y = b.conv(f"{name}{at}", x, 0, rng.choice((3, 5)), depthwise=True)
            x = b.add(f"{name}{at}s", x, y) if rng.random() < 0.3 else b.conv(f"{name}{at}p", y, channels, 1)
        return x

    left = branch("left", channels)
    kind = rng.choice(("add", "add", "max", "concat"))
    right = branch("right", channels if kind != "concat" else rng.choice((2, 5)))
    if kind == "concat":
        x = b.concat("joined", left, right)
    else:
        x = b.add("joined", right, left) if kind == "add" else b.extreme("joined", left, right)
        x = b.conv("behind", x, 4, 3, rng.choice((1, 2)))
        if rng.random() < 0.5:
            x = b.multiply("scaled", x, b.input("gain", (4,)))
    return graph_model(f"joined{seed}", b.graph(b.dense("last", x, 5)), f"joined{seed}.tflite")


def whole(b: int8.Builder, name: str, x: str, kind: int) -> str:
    """The mean of an image, an average of it, or one whose window hangs over its edges."""
    source = b.tensors[x]
    if kind == 0 and source.type.name == "int8":
        return b.mean(name, x)
    more = kind // 2
    height, width, channels = source.shape
    scheme = int8.AffineClamp(source.type.low, source.type.high)
    return b._layer(
        name, "avg_pool2d", x, (1, 1, channels), scheme, kernel=(height + 2 * more, width + more),
        stride=(1, 1), padding=((more, more), (0, more)), ceil_mode=False,
    )  # fmt: skip


def ceil_pool(b: int8.Builder, name: str, x: str, rng: Random) -> str:
    """A pooling whose last window hangs over the edge, and whose first begins above it."""
    source = b.tensors[x]
    kernel, stride, above = rng.choice(((2, 2, 0), (3, 2, 1), (3, 2, 0), (3, 3, 1), (2, 1, 0)))
    sizes, pads = [], []
    for size in source.shape[:2]:
        count = -(-(size + 2 * above - kernel) // stride) + 1
        count -= (count - 1) * stride >= size + above
        sizes.append(count)
        pads.append((above, max((count - 1) * stride + kernel - size - above, 0)))
    op = rng.choice(("max_pool2d", "avg_pool2d"))
    scheme = int8.AffineClamp(source.type.low, source.type.high)
    return b._layer(
        name, op, x, (*sizes, source.shape[2]), scheme, kernel=(kernel, kernel), stride=(stride, stride),
        padding=tuple(pads), ceil_mode=True,
    )  # fmt: skip


def drawn(seed: int) -> tuning.Model:
    """Network number `seed`, of every kind in turn."""
    kind = ("hard", "q7", "hard", "q15", "hard", "int8")[seed % 6]
    return hard(seed) if kind == "hard" else draw(kind, seed)


def _chains_of(graph: Graph, network: Network, seed: int) -> tuple[dict[int, Chain], list[list[int]]] | None:
    """Chains of any layers of a network that make some, in any bands, with any kernels; and the row of each layer's
    table that it is.
    """
    rng = Random(seed)
    rows = [[at] if (at := _any_row(network, index, rng)) is not None else None for index in range(len(graph.nodes))]
    chains: dict[int, Chain] = {}
    at = 0
    while at < len(graph.nodes) - 1:
        for end in range(min(len(graph.nodes), at + rng.randint(2, 9)), at + 1, -1):
            if any(row is None for row in rows[at:end]):
                continue
            variants = [network.tables[i].variants[rows[i][0]] for i in range(at, end)]
            bands = [_band(graph, i, variant, rng) for i, variant in enumerate(variants, at)]
            try:
                make = partial(chain_of, graph, graph.nodes[at:end], variants, bands)
                chains[at] = _any_room(make, Random(f"{seed} {at}"))
            except CmsisnnError:
                continue
            at = end - 1
            break
        at += 1
    if not chains:
        return None
    inside = {first + at for first, chain in chains.items() for at in range(len(chain.links))}
    return chains, [rows[i] if i in inside else None for i in range(len(graph.nodes))]


def _any_room(make: Callable[..., Chain], rng: Random) -> Chain:
    """A chain, or one whose rings share the least memory with its scratch, or somewhat more."""
    if rng.random() < 0.4:
        return make()
    least = make(room=0)
    return make(room=least.room + 4 * rng.randrange(300)) if rng.random() < 0.5 else least


def _any_row(network: Network, index: int, rng: Random) -> int | None:
    table, layer = network.tables[index], network.graph.nodes[index].layer
    usable = [at for at, one in enumerate(table.variants) if least_rows(layer, one) is not None]
    over = [at for at in usable if (one := table.variants[at]) and layer.row.overwrites_rows(layer, one, 1)]
    return rng.choice(over if over and rng.random() < 0.5 else usable) if usable else None


def _band(graph: Graph, index: int, variant: object, rng: Random) -> int:
    layer = graph.nodes[index].layer
    height = layer.output_image[0] if layer.row.is_windowed and not layer.row.sums_rows(layer) else 9
    return rng.choice((*range(1, min(height, 9) + 1), height))


def any_chains(model: tuning.Model, core: str, seed: int) -> Plan | None:
    """A plan with such chains; None where the network has none."""
    found: list[Network] = []

    def choose(network: Network, objective: str, sram: int | None, flash: int | None) -> Found:
        drawn = _chains_of(network.graph, network, seed)
        if drawn is None:
            raise InfeasibleError("no chain", {})
        chains, rows = drawn
        tables = tuple(
            table if row is None else table.take(row) for table, row in zip(network.tables, rows, strict=True)
        )
        problem = network_problem(network.graph, network.where, tables)
        own = with_chains(replace(network, tables=tables, problem=problem), chains)
        found.append(own)
        return own, choose_placed(own.problem, "latency", None, None)

    with mock.patch.object(tuner, "choose_chained", choose):
        try:
            return tuning.tune(model, tuning.load_target(core))
        except InfeasibleError:
            return None


def apart(plan: Plan) -> tuple[Plan, list[tuple[int, int]]]:
    """The plan with every ring and all scratch of its chains at a place of their own, or what share one, and the gaps
    between them.
    """
    end, gaps = plan.arena_bytes, []
    layers = list(plan.layers)

    def place(size: int) -> int:
        nonlocal end
        start = aligned(end) + GUARD
        gaps.append((end, start))
        end = start + size
        return start

    fed = list(plan.fed_offsets)
    for first, chain in plan.chains.items():
        for name, ring in zip(chain.fed, chain.rings, strict=False):
            assert ring is not None
            fed[plan.graph.inputs.index(name)] = place(ring.bytes)
        if chain.room:
            start = place(chain.room)
            for at, ring in enumerate(chain.own_rings, first):
                scratch = start + chain.scratch_place(layers[at].scratch_bytes) if layers[at].scratch_bytes else None
                own = None if ring is None else start
                layers[at] = replace(layers[at], ring_offset=own, scratch_offset=scratch)
            last = first + len(chain.own) - 1
            if chain.holds_output:
                layers[last] = replace(layers[last], output_offset=start)
                _read_at(plan, layers, plan.graph.nodes[last].outputs[0], start)
            continue
        for at, ring in enumerate(chain.own_rings, first):
            if ring is not None:
                layers[at] = replace(layers[at], ring_offset=place(ring.bytes))
            if layers[at].scratch_bytes:
                layers[at] = replace(layers[at], scratch_offset=place(layers[at].scratch_bytes))
    gaps.append((end, aligned(end) + GUARD))
    return replace(plan, layers=tuple(layers), fed_offsets=tuple(fed), arena_bytes=aligned(end) + GUARD), gaps


def _read_at(plan: Plan, layers: list[LayerPlan], tensor: str, place: int) -> None:
    """Readers of a tensor read it at another place, and what writes over it does so there."""
    for node in plan.graph.readers(tensor):
        at = plan.graph.index(node)
        for index, name in enumerate(node.inputs):
            if name != tensor:
                continue
            item, over = layers[at], plan.layers[at].is_in_place(index) and not plan.layers[at].band
            several = tuple(place if i == index else one for i, one in enumerate(item.input_offsets))
            first = place if index == 0 else item.input_offset
            output = place if over else item.output_offset
            layers[at] = replace(item, input_offset=first, input_offsets=several, output_offset=output)
            if over:
                _read_at(plan, layers, node.outputs[0], place)


def ran_exactly(plan: Plan, folder: Path, toolchain: Toolchain, samples: int = 2) -> Iterator[str]:
    """What is wrong with the bytes that a plan's firmware makes, whose rings lie apart: every access is checked, and no
    byte between them changes.
    """
    spread, gaps = apart(plan)
    tuning.emit(spread, folder)
    firmware = load(folder)
    emulator = Emulator(compile_folder(firmware, toolchain), plan.target.core, checked=True, memory=False)
    arena = emulator.symbol(f"{plan.model}_arena")
    assert arena.size == spread.arena_bytes
    sharing = {link.layer.name for chain in plan.chains.values() if chain.room for link in chain.links}
    rings = [
        (item.layer.name, slice(item.ring_offset, item.ring_offset + item.ring_rows))
        for item in spread.layers
        if item.ring_offset is not None and not item.layer.row.sums_rows(item.layer)  # which one call may make
        and item.layer.name not in sharing
    ]
    for sample, source in enumerate(draw_inputs(firmware, samples)):
        known = trace_of(firmware, source)
        calls = [(run_function(plan.model), source, firmware.graph.outputs)]
        if not sample:
            calls += list(_calls(firmware, known))
        for function, given, names in calls:
            offset = sample if function == run_function(plan.model) else 0
            emulator.write(arena.address, bytes([PATTERN]) * arena.size)
            wanted = [known[name] for name in names]
            trace, got = _call(emulator, function, given, wanted, offset, 1 << 30)
            for one, own in zip(got, wanted, strict=True):
                if not np.array_equal(one, own):
                    yield f"{function}: {np.count_nonzero(one != own)} of {own.size} elements differ"
            held = emulator.read(arena.address, arena.size)
            for start, end in gaps:
                if set(held[start:end]) != {PATTERN}:
                    yield f"{function}: bytes {start}..{end} changed"
            if function == run_function(plan.model):
                yield from (f"{name}: not written" for name, place in rings if set(held[place]) == {PATTERN})
            # What is stated is that of the plan's compiler; of those for GCC Clang's code keeps to it too.
            is_stated = plan.compiler in ("gcc", toolchain.kind)
            if is_stated and (most := plan.totals["stack_bytes"]) is not None and trace.stack_bytes > most:
                yield f"{function}: {trace.stack_bytes} bytes of stack, {most} declared"


def _calls(firmware: Firmware, known: dict[str, np.ndarray]) -> Iterator[tuple[str, tuple[np.ndarray, ...], list[str]]]:
    """The functions of chains and of the layers in them, with what they read and write."""
    at, nodes = 0, firmware.graph.nodes
    for step in firmware.steps:
        own = nodes[at : at + len(step.layers)]
        at += len(step.layers)
        if step.chain is None:
            continue
        given = tuple(known[name] for name in outside(firmware.graph, own))
        yield firmware.functions[step.name], given, list(own[-1].outputs)
        for node in own:
            yield (
                layer_function(firmware.model, node.name), inputs_of(firmware.graph, node, known), list(node.outputs)
            )  # fmt: skip
