# SPDX-License-Identifier: Apache-2.0
"""Networks drawn by chance: host, firmware in the emulator and the oracle give the same bytes, tensor by tensor.

    python tests/hostile/graphs.py --from 0 --count 5000
    python tests/hostile/graphs.py --from 123 --count 1 --verbose      one of them, and what it is

A seed says all: the network, the kernels that it may be made of, its budget, and with it the core, the compiler and the
level that its batch is compiled for. Prints what differs, with its seed, and at the end how many there were.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from random import Random
from unittest import mock

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cmsisnn_x
import tuning
from cmsisnn_x.affine import Affine
from cmsisnn_x.graph import Graph, Node
from helpers import affine_random, drawn_networks, int8, reference
from helpers.chained import PATTERN, any_chains, ceil_pool, hard, joined
from helpers.int8_graph import Interpreter
from helpers.tflite_cases_networks import NETWORKS
from helpers.tflite_mutants import CASES, LARGEST, mutant
from helpers.yaml_networks import RandomNetwork
from tuning import tuner
from tuning.base.errors import TuningError
from tuning.emit.names import archive_name
from tuning.emit.project import project
from tuning.emit.text import sources
from tuning.emit.weights import weights_archive
from tuning.emulate import Emulator, Toolchain, find_toolchain
from tuning.emulate.errors import EmulationError, ToolchainError
from tuning.emulate.trace import Tally
from tuning.measure.folder import Firmware, Sample, _in_sequence, _run, each_step, load, trace_of
from tuning.measure.mismatch import compare_all
from tuning.model import graph_model
from tuning.plan import Plan
from tuning.search.space import SearchSpace, search_space
from tuning.target import Target

BATCH = 10
"""Networks that are compiled as one: half of a compiler's time is reading the same headers."""
CORES = ("cortex-m0plus", "cortex-m4", "cortex-m7", "cortex-m55")
LEVELS = ("-O3", "-O1", "-O2", "-Os")
MOST_MACS = 40_000
MOST_VARIANTS = 8
"""Of a layer: so few that chance decides what the planner may choose."""
KINDS = ("yaml", "hard", "q7", "yaml", "file", "joined", "q15", "border", "hard", "int8")
WARNINGS = ("-Wall", "-Wextra", "-Werror", "-DCXN_NO_OPTIMIZE_WARNING")
BUDGET = 1 << 28

Oracle = Callable[[Sample], Sequence[np.ndarray]]


@dataclass(frozen=True)
class Drawn:
    """A network, and what it gives after it has given nothing else before."""

    model: tuning.Model
    oracle: Oracle


def draw(seed: int, folder: Path) -> Drawn:
    """Network number `seed`, the same one every time."""
    kind, name = KINDS[seed % len(KINDS)], f"g{seed}"
    rng = Random(f"{kind} {seed}")
    if kind == "yaml":
        return _of_words(seed, name, rng, folder)
    if kind == "file":
        return _of_file(name, rng, folder)
    if kind in ("q7", "q15"):
        return _fixed_point(kind, seed, name)
    for _ in range(100):
        if kind == "hard":
            graph = hard(rng.getrandbits(30)).graph
        elif kind == "joined":
            graph = joined(rng.getrandbits(30)).graph
        elif kind == "int8":
            graph = drawn_networks._graph(rng)
        else:
            graph = border(rng)
        if sum(node.layer.macs for node in graph.nodes) < MOST_MACS:
            break
    graph = _extreme(graph, np.random.default_rng(seed)) if rng.random() < 0.5 else graph
    return Drawn(graph_model(name, graph, f"{name}.tflite"), lambda inputs: Interpreter(graph).run(*inputs))


def _of_words(seed: int, name: str, rng: Random, folder: Path) -> Drawn:
    """Of a model file, by its words alone."""
    made = RandomNetwork(seed, rng.choice((2, 3, 4, 5, 6)))
    made.content["name"] = name
    model = tuning.load_model(made.write(folder), arithmetic="tflm")
    return Drawn(model, lambda inputs: made.expect(inputs[0].reshape(made.tensors[0].shape)))


def _of_file(name: str, rng: Random, folder: Path) -> Drawn:
    """Of a `.tflite` file whose numbers, types, operands or options may be others."""
    path = folder / f"{name}.tflite"

    def drawn(model: tuning.Model) -> Drawn:
        return Drawn(model, lambda inputs: Interpreter(model.graph).run(*inputs))

    while True:
        case = CASES[rng.choice(sorted(NETWORKS if rng.random() < 0.3 else CASES))]
        try:
            path.write_bytes(mutant(rng, case).content() if rng.random() < 0.7 else case.content())
            model = tuning.load_model(path, arithmetic=rng.choice(case.arithmetics))
            tensors = model.graph.tensors.values()
            if not model.graph.nodes or max(prod(one.shape) for one in tensors) > LARGEST:
                continue
            # What importers take and folders do not is a matter of other tests.
            project(tuning.tune(model, tuning.load_target("cortex-m0plus")))
        except (TuningError, TypeError, ValueError, OverflowError):
            continue
        if sum(layer.macs for layer in model.layers) < MOST_MACS:
            return drawn(model)


def _fixed_point(kind: str, seed: int, name: str) -> Drawn:
    rng = Random(f"{kind} {seed}")
    while True:
        layers = drawn_networks._chain(rng, kind)
        if layers and sum(layer.macs for layer in layers) < MOST_MACS and prod(layers[0].input_shape) < 3000:
            break
    first = layers[0]
    nothing = drawn_networks.NO_BUDGET
    path, digest = Path(f"{name}.yaml"), f"{seed:064x}"
    model = tuning.Model(name, first.dtype, first.input_shape, layers, nothing, None, digest, path)

    def run(inputs: Sample) -> list[np.ndarray]:
        x = inputs[0]
        for layer in layers:
            x = reference.layer(layer, x.reshape(layer.input_shape))
        return [x]

    return Drawn(model, run)


def border(rng: Random) -> Graph:
    """Bytes without a sign, or 16 bits, outside, inside, or both."""
    b = int8.Builder()
    outside = rng.choice(("uint8", "int16", "int16", "int8"))
    x = b.input("image", (rng.randrange(1, 10), rng.randrange(1, 10), rng.choice((1, 2, 3, 4, 5, 8))), outside)
    if outside == "uint8":
        x = b.look_up("offset", x, "int8")
    for at in range(rng.randrange(2, 7)):
        name, own = f"l{at}", b.tensors[x]
        height, width, channels = own.shape
        kind = rng.randrange(10)
        if kind < 3:
            x = b.conv(name, x, rng.randrange(1, 10), min(rng.choice((1, 1, 2, 3)), height, width), rng.choice((1, 2)),
                       per_channel=rng.random() < 0.7)  # fmt: skip
        elif kind < 5:
            x = b.conv(name, x, 0, min(rng.choice((1, 2, 3)), height, width), rng.choice((1, 2)), depthwise=True)
        elif kind == 5 and min(height, width) > 2:
            x = ceil_pool(b, name, x, rng)
        elif kind == 6:
            wide = own.type.name == "int16"
            x = b.requantise(name, x, "int8" if wide else "int16")
        elif kind == 7 and own.type.name == "int8":
            x = b.look_up(name, x, rng.choice(("int8", "int16")))
        elif own.type.name == "int8":
            x = rng.choice((b.add, b.multiply, b.extreme))(name, x, b.constant(f"{name}c", (channels,)))
        else:
            x = b.conv(name, x, channels, 1)
    if rng.random() < 0.5:
        x = b.dense("fc", x, rng.randrange(1, 12))
    if b.tensors[x].type.name == "int8" and rng.random() < 0.5:
        x = b.softmax("prob", x) if rng.random() < 0.4 else b.look_up("last", x, "uint8")
    return b.graph(x)


def _extreme(graph: Graph, rng: np.random.Generator) -> Graph:
    """The same graph with weights, biases, factors and ranges at the ends of what they may be."""
    nodes = [_at_ends(node, rng) if rng.random() < 0.6 else node for node in graph.nodes]
    return Graph(graph.tensors.values(), nodes, graph.inputs, graph.outputs, graph.states)


def _at_ends(node: Node, rng: np.random.Generator) -> Node:
    layer = node.layer
    if not layer.row.is_weighted or not isinstance(layer.scheme, Affine) or layer.type.bits != 8:
        return node
    assert layer.weights is not None
    assert layer.bias is not None
    weights = affine_random._weights(layer.weights.shape, rng)
    usual = 40 / (80 * (layer.weights.size / len(layer.bias)) ** 0.5)
    count = len(layer.scheme.multiplier)
    multiplier, shift = zip(*(affine_random._factor(usual / 60, rng) for _ in range(count)), strict=True)
    zero = affine_random._zero_point(rng)
    low, high = (zero, 127) if rng.random() < 0.4 else affine_random._limits(rng)
    scheme = replace(
        layer.scheme, multiplier=multiplier, shift=shift, output_zero_point=zero, low=low, high=high
    )  # fmt: skip
    bias = affine_random._at_ends(layer.bias.astype(np.int32), rng)
    return replace(node, layer=replace(layer, weights=weights, bias=bias, scheme=scheme))


# ------------------------------------------------------------ plans


def planned(model: tuning.Model, seed: int, core: str, compiler: str) -> tuple[Plan, str]:
    """A plan of kernels that chance has left over, for an objective or within a budget, and which; chains of any
    bands now and then.
    """
    rng, target = Random(f"plan {seed}"), tuning.load_target(core)
    how = rng.choice(("latency", "latency", "chains", "chains", "sram", "budget", "flash"))

    def narrowed(layer: object, target: Target, follower: object = None) -> SearchSpace:
        space = search_space(layer, target, follower)  # type: ignore[arg-type]
        if len(space) <= MOST_VARIANTS:
            return space
        kept = sorted(rng.sample(range(len(space)), MOST_VARIANTS))
        return SearchSpace(space.layer, tuple(space.variants[at] for at in kept))

    with mock.patch.object(tuner, "search_space", narrowed):
        if how == "chains" and (plan := any_chains(model, core, seed)) is not None:
            return plan, how
        if how == "budget":
            found = [tuning.tune(model, target, objective=one, compiler=compiler) for one in ("sram", "latency")]
            floor, most = (plan.totals["sram_bytes"] for plan in found)
            if floor < most:
                try:
                    return tuning.tune(model, target, sram_bytes=rng.randint(floor, most), compiler=compiler), how
                except tuning.InfeasibleError:  # other kernels are left over this time
                    return found[0], "sram"
        objective = how if how in ("sram", "flash") else "latency"
        return tuning.tune(model, target, objective=objective, compiler=compiler), objective


def write(plan: Plan, folder: Path) -> Firmware:
    """As much of the folder as is compiled and read back, and that."""
    folder.mkdir()
    for name, text in sources(project(plan)).items():
        if "/" not in name:
            (folder / name).write_text(text, encoding="utf-8")
    if (arrays := weights_archive(plan)) is not None:
        (folder / archive_name(plan.model)).write_bytes(arrays)
    (folder / "plan.json").write_text(plan.to_json(), encoding="utf-8")
    return load(folder)


def compiled(folders: Sequence[Firmware], toolchain: Toolchain, core: str, level: str, folder: Path) -> bytes:
    """All of them in one translation unit, without a warning."""
    source, output = folder / "all.c", folder / "all.elf"
    source.write_text("".join(f'#include "{one.directory / one.model}.c"\n' for one in folders))
    own = [flag for flag in folders[0].cflags if not flag.startswith("-O")]
    include = [Path(cmsisnn_x.get_include())]
    said = toolchain.build([source], output, core, cflags=[level, *own, *WARNINGS], include=include)
    if said.strip():
        raise ToolchainError(said.strip()[:500])
    return output.read_bytes()


# ------------------------------------------------------------ runs


def unpriced(code: bytes, core: str) -> Emulator:
    """An emulator that checks every access and says of nothing what it costs, which takes longer than running it."""
    emulator = Emulator(code, core, checked=True, memory=False)
    emulator._pricer.price = lambda *_: Tally(0, 0, {}, (), (), {})  # type: ignore[method-assign]
    return emulator


def given(firmware: Firmware, seed: int, count: int = 2) -> list[Sample]:
    """Inputs over the whole range, now and then at its ends alone."""
    rng, made = np.random.default_rng([seed, 1]), []
    for at in range(count):
        sample = []
        for name in firmware.graph.inputs:
            own, shape = firmware.graph.tensors[name].type, firmware.graph.tensors[name].shape
            values = rng.integers(own.low, own.high, shape, own.dtype, endpoint=True)
            ends = rng.choice(np.array([own.low, own.high, 0], own.dtype), shape)
            sample.append(np.where(rng.random(shape) < (0.1, 0.9)[at % 2], ends, values))
        made.append(tuple(sample))
    return made


def differences(drawn: Drawn, firmware: Firmware, emulator: Emulator, seed: int) -> Iterator[str]:
    """What is wrong with the bytes that a network gives, in any of the three."""
    memory = f"{firmware.model}_arena"
    arena = [emulator.symbol(memory)] if memory in emulator.image.symbols else []
    samples = given(firmware, seed)
    for at, source in enumerate(samples):
        known = trace_of(firmware, source)
        outputs = firmware.graph.outputs
        wanted = [known[name] for name in outputs]
        for name, own, its in zip(outputs, drawn.oracle(source), wanted, strict=True):
            if (bad := np.count_nonzero(own.reshape(-1) != its.reshape(-1))) or own.dtype != its.dtype:
                yield f"host: {name}: {bad} of {its.size} elements are not the oracle's"
        for one in arena:
            emulator.write(one.address, bytes([PATTERN]) * one.size)
        _, got = _run(firmware, emulator, source, wanted, at, BUDGET)
        for bad in compare_all("the network", at, got, wanted, outputs):
            yield f"firmware: {bad}"
        if not at:
            yield from (f"firmware: {bad}" for bad in each_step(firmware, emulator, known, at, BUDGET)[1])
    if firmware.graph.states:
        yield from (f"firmware: {bad}" for bad in _in_sequence(firmware, emulator, samples, BUDGET))


def batch(
    seeds: Sequence[int], core: str, compiler: str, level: str, verbose: bool, seen: Counter[str]
) -> Iterator[tuple[int, str]]:
    """What is wrong, and with which; nothing of a network that is done. `seen` counts what plans they are."""
    toolchain = find_toolchain(compiler)  # type: ignore[arg-type]
    ready: list[tuple[int, Drawn, Firmware]] = []
    with tempfile.TemporaryDirectory(prefix="cmsisnn-x-graphs-") as name:
        root = Path(name)
        for seed in seeds:
            try:
                drawn = draw(seed, root)
                plan, how = planned(drawn.model, seed, core, compiler)
                ready.append((seed, drawn, write(plan, root / f"g{seed}")))
            except Exception as problem:
                where = traceback.extract_tb(problem.__traceback__)[-1]
                yield seed, f"no plan: {type(problem).__name__}: {problem} at {where.filename}:{where.lineno}"
                continue
            seen[f"{how} with chains" if plan.chains else how] += 1
            if verbose:
                about = [f"{one.layer.op} {one.variant or ''} {one.band or ''}" for one in plan.layers]
                print(f"{seed} {KINDS[seed % len(KINDS)]} {how} {len(plan.chains)} chains: {about}", flush=True)
        groups = [ready]
        while groups:
            group = groups.pop()
            try:
                code = compiled([one[2] for one in group], toolchain, core, level, root) if group else b""
            except ToolchainError as problem:
                if len(group) > 1:
                    groups += [[one] for one in group]
                else:
                    yield group[0][0], f"not compiled: {problem}"
                continue
            emulator = unpriced(code, core) if group else None
            for seed, drawn, firmware in group:
                assert emulator is not None
                try:
                    yield from ((seed, wrong) for wrong in differences(drawn, firmware, emulator, seed))
                except EmulationError as problem:
                    yield seed, f"not run: {problem}"
                    emulator = unpriced(code, core)
                yield seed, ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--from", dest="first", type=int, default=0, metavar="SEED")
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no batch after so many")
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    compilers = ("gcc", "clang")
    done, seen, wrong, end = Counter[str](), Counter[str](), set[int](), time.monotonic() + 60 * options.minutes
    stop = options.first + options.count
    first = options.first
    while first < stop and time.monotonic() < end:
        turn = first // BATCH
        core, compiler = CORES[turn % len(CORES)], compilers[turn // len(CORES) % 2]
        level = LEVELS[turn // (2 * len(CORES)) % len(LEVELS)]
        last = min(stop, (turn + 1) * BATCH)
        for seed, text in batch(range(first, last), core, compiler, level, options.verbose, seen):
            if text:
                wrong.add(seed)
                print(f"--- {seed} {core} {compiler} {level}: {text}", flush=True)
            else:
                done[f"{core} {compiler}"] += 1
        first = last
        if turn % 8 == 7:
            print(f"{sum(done.values())} networks, up to seed {first - 1}, {len(wrong)} of them wrong", flush=True)
    shown = ", ".join(f"{count} {name}" for counted in (done, seen) for name, count in sorted(counted.items()))
    used = resource.getrusage(resource.RUSAGE_SELF).ru_utime + resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    print(f"{sum(done.values())} networks ({shown}), seeds {options.first} to {first - 1}, {used:.0f} s of CPU: "
          f"{len(wrong)} wrong: {sorted(wrong)}")  # fmt: skip
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
