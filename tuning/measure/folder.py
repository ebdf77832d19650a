# SPDX-License-Identifier: Apache-2.0
"""An emitted firmware folder: read it back, compile it, run it, and compare every layer with the Python kernels.

The folder is enough: layers and variants stand in ``plan.json``, and the model's own weights beside it, in the order of
the Python functions; ``plan.json`` has their digests. A packer's mistake does not cancel out: nobody unpacks.

The folder may be a stranger's (``tuning/TRUST.md``). What ``plan.json`` says is checked before anything is done,
and no path is taken from it but those of ``<model>.c`` and ``<model>_weights.npz`` beside it. The arrays are those that
the plan's layers take, or refused. Its C is compiled with flags of our table, and runs in the emulator alone.
"""

from __future__ import annotations

import tempfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from cmsisnn_x import Network
from cmsisnn_x.chain import Chain
from cmsisnn_x.chained import outside
from cmsisnn_x.errors import CmsisnnError
from cmsisnn_x.graph import Graph, Node, Tensor, in_order
from cmsisnn_x.layers import Layer
from cmsisnn_x.scheme import TENSOR_TYPES
from cmsisnn_x.steps import Step, steps_of

from ..base.cflags import cflags_problem
from ..base.errors import OptionError, TuningError
from ..base.files import check_own
from ..base.names import model_name_problem
from ..emit.names import archive_name, layer_function, reset_function, run_function, step_functions
from ..emulate.emulator import DEFAULT_BUDGET, Emulator
from ..emulate.footprint import Footprint, footprint
from ..emulate.toolchain import Kind, Toolchain
from ..emulate.trace import Trace
from ..model.weights import WeightsError, read_arrays
from ..plan.affine_fields import table_problem
from ..plan.file import PlanFile, read_plan_file
from ..plan.layer_fields import array_types
from ..plan.plan import CONSTANTS, array_digest
from ..target import CORES, Target
from .mismatch import Mismatch, compare, compare_all


class FolderError(TuningError):
    """The folder was not emitted by this tool, or something is missing from it."""


@dataclass(frozen=True)
class Firmware:
    """What a folder says about itself. `layers` have their weights in the order of the Python functions; `fused_into`
    names, for a layer that the kernel of the one before it runs, that one.
    """

    directory: Path
    model: str
    core: str
    target: str
    compiler: Kind
    cflags: tuple[str, ...]
    layers: tuple[Layer, ...]
    estimated_cycles: tuple[int | None, ...]
    fused_into: tuple[str | None, ...] = ()
    wiring: Graph | None = None
    chains: Mapping[int, Chain] = field(default_factory=dict)
    planned: Mapping[str, int | None] = field(default_factory=dict)
    """Totals of the plan."""
    vectors: tuple[str, ...] = ()
    """Layers whose kernels are for cores with Helium alone."""

    @cached_property
    def graph(self) -> Graph:
        """The layers with the tensors between them."""
        return self.wiring or Graph.chain(self.layers)

    @cached_property
    def network(self) -> Network:
        """The same on the host."""
        return network_of(self.layers, self.wiring)

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """What one call runs, in order."""
        fused = [into is not None for into in (*self.fused_into[1:], None)]
        return steps_of(self.layers, fused, chains=self.chains)

    @property
    def functions(self) -> dict[str, str]:
        """The function of each step, by the step's name."""
        return step_functions(self.model, self.steps)


def network_of(layers: Sequence[Layer], graph: Graph | None) -> Network:
    return Network(layers) if graph is None else Network(graph)


@dataclass(frozen=True)
class LayerResult:
    """One layer on its own, on the first sample."""

    name: str
    op: str
    macs: int
    instructions: int
    cycles: int
    estimated_cycles: int | None
    exact: bool
    added: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Verification:
    """What `verify` found. `trace` is the whole network on the first sample, both buffers word aligned."""

    firmware: Firmware
    compiler: str
    target: str
    samples: int
    layers: tuple[LayerResult, ...]
    trace: Trace
    mismatches: tuple[Mismatch, ...] = field(default=())
    clock_hz: int | None = None
    footprint: Footprint | None = None

    @property
    def milliseconds(self) -> float | None:
        return self.trace.cycles / self.clock_hz * 1e3 if self.clock_hz else None

    @property
    def exact(self) -> bool:
        return not self.mismatches

    def as_dict(self) -> dict[str, Any]:
        """The result as ``cmsisnn-verify --json`` prints it."""
        first = self.mismatches[0] if self.mismatches else None
        return {
            "model": self.firmware.model,
            "target": self.target,
            "core": self.firmware.core,
            "compiler": self.compiler,
            "cflags": list(self.firmware.cflags),
            "samples": self.samples,
            "exact": self.exact,
            "instructions": self.trace.instructions,
            "cycles": self.trace.cycles,
            "core_cycles": self.trace.core_cycles,
            "added": dict(self.trace.added),
            "regions": [asdict(region) for region in self.trace.regions],
            "clock_hz": self.clock_hz,
            "ms": self.milliseconds,
            "stack_bytes": self.trace.stack_bytes,
            "flash_bytes": None if self.footprint is None else self.footprint.linked_bytes,
            "object_bytes": None if self.footprint is None else self.footprint.object_bytes,
            "planned": {name: self.firmware.planned.get(name) for name in ("flash_bytes", "stack_bytes")},
            "layers": [{f.name: getattr(layer, f.name) for f in fields(layer)} for layer in self.layers],
            "mismatch": None if first is None else {f.name: getattr(first, f.name) for f in fields(first)},
        }


def load(directory: Path, *, model: str | None = None) -> Firmware:
    """Read a folder back.

    Parameters
    ----------
    directory : Path
    model : str, optional
        Take the weights from this model file instead of the folder.

    Raises
    ------
    FolderError
        No ``plan.json``, one that this version does not know, or one that does not fit the other files.
    """
    path = directory / "plan.json"
    if not path.exists():
        raise FolderError(f"{directory}: no plan.json: expected a folder that cmsisnn-tune wrote")
    check_own(path)
    try:
        plan = read_plan_file(path)
        content, bare = plan.content, [layer for layer, _ in plan.layers()]
    except OptionError as problem:
        raise FolderError(str(problem)) from None
    core = content.get("core")
    if core not in CORES:
        raise FolderError(f"{path}: core: expected one of {', '.join(CORES)}, got {core!r}")
    layers, graph = _from_model(model, plan, bare) if model is not None else _from_folder(directory, plan, bare)
    try:
        network_of(layers, graph)
        chains = plan.chains(graph or Graph.chain(layers), [variant for _, variant in plan.layers()])
    except CmsisnnError as wrong:
        raise FolderError(f"{path}: {wrong}") from None
    estimated = tuple(entry["cycles"] for entry in content["layers"])
    how = content["target"], content["compiler"], tuple(content["cflags"])
    about = (directory, content["model"], core, *how, layers, estimated, plan.fused_into, graph)
    vectors = tuple(layer.name for layer, variant in plan.layers() if variant and variant.inner == "helium")
    return Firmware(*about, chains, content["totals"], vectors)


def _from_folder(directory: Path, plan: PlanFile, bare: Sequence[Layer]) -> tuple[tuple[Layer, ...], Graph | None]:
    """The layers with the weights that lie in the folder, which are those of its plan; and their graph."""
    types = {f"{layer.name}/{kind}": one for layer in bare for kind, one in array_types(layer).items()}
    wanted = {f"{entry['name']}/{kind}": entry.get(kind) for entry in plan.content["layers"] for kind in CONSTANTS}
    named: dict[str, str] = {}
    for key, what in (("constants", "value"), ("states", "initial")):
        for at, entry in enumerate(plan.content.get(key, [])):
            named[entry["name"]] = f"{key}/{at}"
            types[f"{key}/{at}"] = (TENSOR_TYPES[entry["dtype"]].dtype.name, tuple(entry["shape"]))
            wanted[f"{key}/{at}"] = entry.get(what)
    if not types:
        return tuple(bare), plan.graph(bare)
    if not plan.has_digests:
        raise FolderError(
            f"{plan.path}: an older version wrote this folder, without the weights to compare with: run cmsisnn-tune "
            "again, or name the model with --model"
        )
    path = directory / archive_name(plan.content["model"])
    if not path.exists():
        raise FolderError(f"{path}: no such file; it holds the weights to compare with: or name the model with --model")
    check_own(path)
    try:
        found = read_arrays(path, {name: (shape, np.dtype(dtype)) for name, (dtype, shape) in types.items()})
    except WeightsError as problem:
        raise FolderError(f"{path}: {problem}") from None
    for name, (dtype, shape) in types.items():
        owner, _, kind = name.partition("/")
        about = f"{path}: {name}" if owner in ("constants", "states") else f"{path}: layer {owner}"
        if name not in found and kind != "bias":
            raise FolderError(f"{path}: array {name!r} is missing; it holds: {', '.join(sorted(found)) or 'nothing'}")
        array, digest = found.get(name), wanted[name]
        if array is None and digest is not None:
            array = np.zeros(shape, dtype)
        if array is not None and (array_digest(array) != digest if digest is not None else array.any()):
            what = f"the {kind} that plan.json was written for" if digest else f"no {kind}, as in plan.json"
            raise FolderError(f"{about}: expected {what}, got others; run cmsisnn-tune again")
    layers = []
    for layer in bare:
        arrays: dict[str, Any] = {kind: found.get(f"{layer.name}/{kind}") for kind in array_types(layer)}
        if not layer.type.is_affine and "bias" in arrays and arrays["bias"] is None:
            arrays["bias"] = np.zeros(layer.bias_shape, layer.bias_dtype)
        layers.append(replace(layer, **arrays))
        if wrong := table_problem(layers[-1]):
            raise FolderError(f"{path}: layer {layer.name}: {wrong}")
    return tuple(layers), plan.graph(layers, {name: found[key] for name, key in named.items()})


def _from_model(source: str, plan: PlanFile, bare: Sequence[Layer]) -> tuple[tuple[Layer, ...], Graph | None]:
    """The layers of a model file, which has the folder's geometry, and their graph."""
    from ..load import load_model

    model = load_model(source)
    order = [layer.name for layer in bare]
    nodes = sorted(model.graph.nodes, key=lambda one: order.index(one.layer.name) if one.layer.name in order else 0)
    layers, wiring = tuple(node.layer for node in nodes), model.wiring and in_order(model.wiring, nodes)
    for layer, own, entry in zip(bare, layers, plan.content["layers"], strict=False):
        names = [item.name for item in fields(layer) if item.name in entry and item.name not in (*CONSTANTS, "variant")]
        differs = [name for name in names if getattr(layer, name) != getattr(own, name)]
        if differs:
            expected, got = getattr(layer, differs[0]), getattr(own, differs[0])
            about = f"{source}: layer {own.name}: {differs[0]}"
            raise FolderError(f"{about}: expected the folder's {expected!r}, got {got!r}")
    if len(layers) != len(bare):
        raise FolderError(f"{source}: expected the folder's {len(bare)} layers, got {len(layers)}")
    return layers, wiring


# -- running ---------------------------------------------------------------------------------------------------------


def compile_folder(firmware: Firmware, toolchain: Toolchain) -> bytes:
    """Compile ``<model>.c`` with the plan's flags for its core; return the ELF file.

    Nothing is written but in a temporary directory, under names of ours.
    """
    if problem := model_name_problem(firmware.model):
        raise FolderError(f"{firmware.directory}: model: {problem}")
    if problem := cflags_problem(firmware.cflags):
        raise FolderError(f"{firmware.directory}: cflags: {problem}")
    source = firmware.directory / f"{firmware.model}.c"
    if not source.is_file():
        raise FolderError(f"{source}: no such file")
    with tempfile.TemporaryDirectory(prefix="cmsisnn-x-") as folder:
        output, include = Path(folder) / "firmware.elf", [firmware.directory]
        toolchain.build([source], output, firmware.core, cflags=firmware.cflags, include=include, foreign=True)
        return output.read_bytes()


def footprint_of(firmware: Firmware, toolchain: Toolchain, others: Iterable[str] = ()) -> Footprint:
    """The flash that a folder's code and constants take, and what of it the functions `others` reach."""
    source = firmware.directory / f"{firmware.model}.c"
    with tempfile.TemporaryDirectory(prefix="cmsisnn-x-") as folder:
        output, include = Path(folder) / "firmware.o", [firmware.directory]
        toolchain.compile(source, output, firmware.core, cflags=firmware.cflags, include=include, foreign=True)
        return footprint(output.read_bytes(), run_function(firmware.model), others)


def run_once(
    firmware: Firmware, toolchain: Toolchain, target: Target, budget: int = DEFAULT_BUDGET
) -> tuple[Trace, Mismatch | None]:
    """Compile a folder and run the network once: what `verify` says of its first sample.

    Raises
    ------
    ToolchainError, EmulationError
        It does not compile, or it faults.
    """
    emulator = Emulator(compile_folder(firmware, toolchain), target)
    source = draw_inputs(firmware, 1)[0]
    known = trace_of(firmware, source)
    wanted = [known[name] for name in firmware.graph.outputs]
    trace, got = _run(firmware, emulator, source, wanted, 0, budget)
    return trace, next(compare_all("the network", 0, got, wanted, firmware.graph.outputs), None)


Sample = tuple[np.ndarray, ...]
"""The network's inputs, in their order."""


def draw_inputs(firmware: Firmware, samples: int) -> list[Sample]:
    """Reproducible inputs over the whole range; every second sample has the extremes and zero in abundance."""
    rng = np.random.default_rng(zlib.crc32(firmware.model.encode()))
    tensors = [_drawn(rng, firmware.graph.tensors[name], samples) for name in firmware.graph.inputs]
    return [tuple(values[at] for values in tensors) for at in range(samples)]


def _drawn(rng: np.random.Generator, tensor: Tensor, samples: int) -> np.ndarray:
    own = tensor.type
    shape = (samples, *tensor.shape)
    values = rng.integers(own.low, own.high, shape, own.dtype, endpoint=True)
    ends = [own.low, own.high, 0, -1 if own.low else 128]
    extremes = rng.choice(np.array(ends, own.dtype), shape)
    values[1::2] = np.where(rng.random(values[1::2].shape) < 0.25, extremes[1::2], values[1::2])
    return values


def trace_of(firmware: Firmware, source: Sample) -> dict[str, np.ndarray]:
    """Every tensor of a first run on the host, by its name."""
    graph = firmware.graph
    firmware.network.reset()
    known = dict(zip(graph.inputs, source, strict=True))
    for state in graph.states:
        tensor = graph.tensors[state.read]
        known[state.read] = np.asarray(state.initial, tensor.type.dtype).reshape(tensor.shape)
    known |= {tensor.name: tensor.value for tensor in graph.tensors.values() if tensor.value is not None}
    traced = firmware.network.trace(source[0] if len(source) == 1 else source)
    outputs = [graph.tensors[output] for node in graph.nodes for output in node.outputs]
    made = zip(outputs, traced.values(), strict=True)
    return known | {tensor.name: values.reshape(tensor.shape) for tensor, values in made}


def inputs_of(graph: Graph, node: Node, known: Mapping[str, np.ndarray]) -> Sample:
    """What the function of a node gets, of all tensors by name: constants it knows itself."""
    return tuple(known[name] for name in node.inputs if graph.tensors[name].value is None)


def verify(
    firmware: Firmware,
    toolchain: Toolchain,
    inputs: Sequence[np.ndarray | Sample],
    *,
    target: Target | str | None = None,
    budget: int = DEFAULT_BUDGET,
) -> Verification:
    """Compile and run a folder; compare each layer, and the network, with the Python kernels.

    Every layer runs by itself on the Python kernels' output of the layer before it. So does a convolution with the
    pooling that it takes in: the two layers' functions are compared, and so is that of the pair, whose cycles are the
    convolution's while the pooling's are zero, as in the plan. The whole network runs once with
    its buffers at word boundaries and once at odd addresses. In one run every load and store is checked: bounds,
    constants, and the alignment that the core demands.

    Parameters
    ----------
    firmware : Firmware
    toolchain : Toolchain
    inputs : sequence of ndarray, or of tuple of ndarray
        Samples: the network's input, or all of them.
    target : Target or str, optional
        Whose rules price it; default: the plan's core. Another core needs code that was emitted for one like it.

    Raises
    ------
    ToolchainError, EmulationError
        It does not compile, or it faults.
    """
    target = target or firmware.core
    firmware = replace(firmware, core=target if isinstance(target, str) else target.core)
    code = compile_folder(firmware, toolchain)
    plain, checked = Emulator(code, target), Emulator(code, target, checked=True, memory=False)
    mismatches: list[Mismatch] = []
    results: list[LayerResult] = []
    graph = firmware.graph
    network: Trace | None = None
    for sample, given in enumerate(inputs):
        source = given if isinstance(given, tuple) else (given,)
        known = trace_of(firmware, source)
        ran, wrong = each_step(firmware, plain, known, sample, budget)
        mismatches += wrong
        results = [
            replace(before, exact=before.exact and now.exact) for before, now in zip(results or ran, ran, strict=True)
        ]
        wanted = [known[name] for name in graph.outputs]
        trace, got = _run(firmware, plain, source, wanted, 0, budget)
        mismatches += compare_all("the network", sample, got, wanted, graph.outputs)
        network = network or trace
        # One checked run is enough: addresses do not depend on the data.
        _, got = _run(firmware, plain if sample else checked, source, wanted, 1, budget)
        mismatches += compare_all("the network with buffers at odd addresses", sample, got, wanted, graph.outputs)
    if graph.states:
        mismatches += _in_sequence(firmware, plain, inputs, budget)
    assert network is not None
    name, clock = (target, None) if isinstance(target, str) else (target.name, target.clock_hz)
    compiler = f"{toolchain.kind}: {toolchain.version}"
    found = (firmware, compiler, name, len(inputs), tuple(results), network, tuple(mismatches), clock)
    return Verification(*found, footprint=footprint_of(firmware, toolchain))


def _in_sequence(
    firmware: Firmware, emulator: Emulator, inputs: Sequence[np.ndarray | Sample], budget: int
) -> Iterator[Mismatch]:
    """A network that remembers, run on all samples without forgetting between them."""
    graph = firmware.graph
    firmware.network.reset()
    emulator.call(reset_function(firmware.model))
    for sample, source in enumerate(inputs):
        made = firmware.network.run(source[0] if isinstance(source, tuple) and len(source) == 1 else source)
        wanted = [np.asarray(one) for one in (made if isinstance(made, tuple) else (made,))]
        given = source if isinstance(source, tuple) else (source,)
        _, got = _call(emulator, run_function(firmware.model), given, wanted, 0, budget)
        yield from compare_all("the network after earlier runs", sample, got, wanted, graph.outputs)


def each_step(
    firmware: Firmware, emulator: Emulator, known: Mapping[str, np.ndarray], sample: int, budget: int
) -> tuple[list[LayerResult], list[Mismatch]]:
    """Every layer, every pair and every chain by itself on the tensors that the Python kernels made."""
    graph, functions = firmware.graph, firmware.functions
    mismatches: list[Mismatch] = []
    estimates = dict(zip((layer.name for layer in firmware.layers), firmware.estimated_cycles, strict=True))
    ran: list[LayerResult] = []
    nodes = iter(graph.nodes)
    for step in firmware.steps:
        own = [next(nodes) for _ in step.layers]
        for node, layer in zip(own, step.layers, strict=True):
            wanted = [known[name] for name in node.outputs]
            source = inputs_of(graph, node, known)
            trace, got = _call(emulator, layer_function(firmware.model, layer.name), source, wanted, 0, budget)
            found = list(compare(f"layer {layer.name}", sample, got[0], wanted[0]))
            mismatches += found
            ran.append(_layer_result(layer, trace, estimates[layer.name], not found))
        if step.pool is not None:
            wanted = [known[name] for name in own[-1].outputs]
            trace, got = _call(emulator, functions[step.name], inputs_of(graph, own[0], known), wanted, 0, budget)
            found = list(compare(f"layers {step.name} and {step.pool.name} as one", sample, got[0], wanted[0]))
            mismatches += found
            conv = _layer_result(step.lead, trace, estimates[step.name], ran[-2].exact and not found)
            nothing = dict.fromkeys(trace.added, 0)
            ran[-2:] = [conv, replace(ran[-1], instructions=0, cycles=0, added=nothing)]
        if step.chain is not None:
            source, wanted = tuple(known[name] for name in outside(graph, own)), [known[own[-1].outputs[0]]]
            trace, got = _call(emulator, functions[step.name], source, wanted, 0, budget)
            mismatches += compare(f"layers {step.name} to {step.last.name} as a chain", sample, got[0], wanted[0])
            beside = trace.cycles - sum(one.cycles for one in ran[-len(own) : -1])  # moved rows are the last one's
            ran[-1] = replace(ran[-1], cycles=beside)
    return ran, mismatches


def _layer_result(layer: Layer, trace: Trace, estimate: int | None, exact: bool) -> LayerResult:
    figures = trace.instructions, trace.cycles, estimate
    return LayerResult(layer.name, layer.op, layer.macs, *figures, exact, trace.added)


def _run(
    firmware: Firmware, emulator: Emulator,
    source: Sample, wanted: Sequence[np.ndarray], offset: int, budget: int,
) -> tuple[Trace, list[np.ndarray]]:  # fmt: skip
    """Call the network once, as if it were for the first time."""
    if firmware.graph.states:
        emulator.call(reset_function(firmware.model))
    return _call(emulator, run_function(firmware.model), source, wanted, offset, budget)


def _call(
    emulator: Emulator, symbol: str, source: Sample, wanted: Sequence[np.ndarray], offset: int, budget: int
) -> tuple[Trace, list[np.ndarray]]:
    """Call a layer or the network once, with outputs that hold no right element before."""
    emulator.free_buffers()
    inputs = [emulator.buffer(values, offset=offset, writable=False) for values in source]
    outputs = [emulator.buffer((~values).tobytes(), offset=3 * offset) for values in wanted]
    trace = emulator.call(symbol, [*inputs, *outputs], budget=budget)
    got = [
        np.frombuffer(emulator.read(output), values.dtype).reshape(values.shape)
        for output, values in zip(outputs, wanted, strict=True)
    ]
    return trace, got
