# SPDX-License-Identifier: Apache-2.0
"""An emitted firmware folder: read it back, compile it, run it, and compare every layer with the Python kernels.

The folder is enough: layers and variants stand in ``plan.json``, and the model's own weights beside it, in the order of
the Python functions; ``plan.json`` has their digests. A mistake of the packer does not cancel out: the kernel reads the
packed order, which nobody unpacks.

The folder may be a stranger's. Its ``plan.json`` is not trusted: names, flags, numbers and texts are checked before
anything is done with them, and no path is taken from it but those of ``<model>.c`` and ``<model>_weights.npz`` beside
it. The arrays are those that the plan's layers take, or refused; nothing is unpickled. Its C is compiled with flags of
our table and runs in the emulator alone, where nothing of this machine can be reached. What is trusted is the compiler:
C that includes ``/etc/hostname`` makes it read that file, and a message may quote it.
"""

from __future__ import annotations

import tempfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from cmsisnn_x import Network
from cmsisnn_x.errors import CmsisnnError
from cmsisnn_x.layers import Layer
from cmsisnn_x.steps import Step, steps_of

from ..base.cflags import cflags_problem
from ..base.errors import OptionError, TuningError
from ..base.names import model_name_problem
from ..emit.names import archive_name, layer_function, run_function, step_functions
from ..emulate.emulator import DEFAULT_BUDGET, Emulator
from ..emulate.toolchain import Toolchain
from ..emulate.trace import Trace
from ..model.weights import WeightsError, read_weights
from ..plan.file import PlanFile, read_plan_file
from ..plan.plan import ARRAYS, array_digest
from ..target import CORES, Target


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
    cflags: tuple[str, ...]
    layers: tuple[Layer, ...]
    estimated_cycles: tuple[int | None, ...]
    fused_into: tuple[str | None, ...] = ()

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """What one call runs, in order."""
        return steps_of(self.layers, [into is not None for into in (*self.fused_into[1:], None)])

    @property
    def functions(self) -> dict[str, str]:
        """The function of each step, by the step's name."""
        return step_functions(self.model, self.steps)


@dataclass(frozen=True)
class Mismatch:
    """The first element that differs."""

    what: str
    sample: int
    coordinates: tuple[int, ...]
    got: int
    expected: int
    differing: int
    size: int

    def __str__(self) -> str:
        at = ", ".join(map(str, self.coordinates))
        return (
            f"{self.what}, sample {self.sample}: first difference at ({at}): got {self.got}, expected {self.expected}; "
            f"{self.differing} of {self.size} elements differ"
        )


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
    try:
        plan = read_plan_file(path)
        content, bare = plan.content, [layer for layer, _ in plan.layers()]
    except OptionError as problem:
        raise FolderError(str(problem)) from None
    core = content.get("core")
    if core not in CORES:
        raise FolderError(f"{path}: core: expected one of {', '.join(CORES)}, got {core!r}")
    layers = _from_model(model, plan, bare) if model is not None else _from_folder(directory, plan, bare)
    try:
        Network(layers)
    except CmsisnnError as wrong:
        raise FolderError(f"{path}: {wrong}") from None
    estimated = tuple(entry["cycles"] for entry in content["layers"])
    cflags = tuple(content["cflags"])
    return Firmware(directory, content["model"], core, content["target"], cflags, layers, estimated, plan.fused_into)


def _from_folder(directory: Path, plan: PlanFile, bare: Sequence[Layer]) -> tuple[Layer, ...]:
    """The layers with the weights that lie in the folder, which are those of its plan."""
    weighted = [layer for layer in bare if layer.weights_shape]
    if not weighted:
        return tuple(bare)
    if not plan.has_digests:
        raise FolderError(
            f"{plan.path}: an older version wrote this folder, without the weights to compare with: run cmsisnn-tune "
            "again, or name the model with --model"
        )
    path = directory / archive_name(plan.content["model"])
    if not path.exists():
        raise FolderError(f"{path}: no such file; it holds the weights to compare with: or name the model with --model")
    try:
        # The archive is read by types that are spelled.
        found = read_weights(
            path, [replace(layer, weights_dtype=layer.weights_dtype or layer.dtype) for layer in weighted]
        )
    except WeightsError as problem:
        raise FolderError(f"{path}: {problem}") from None
    entries = {entry["name"]: entry for entry in plan.content["layers"]}
    for layer in found:
        for kind in ARRAYS:
            array, wanted = getattr(layer, kind), entries[layer.name][kind]
            if (array_digest(array) != wanted) if wanted is not None else array.any():
                what = f"the {kind} that plan.json was written for" if wanted else f"no {kind}, as in plan.json"
                raise FolderError(f"{path}: layer {layer.name}: expected {what}, got others; run cmsisnn-tune again")
    arrays = {layer.name: {kind: getattr(layer, kind) for kind in ARRAYS} for layer in found}
    return tuple(replace(layer, **arrays.get(layer.name, {})) for layer in bare)


def _from_model(source: str, plan: PlanFile, bare: Sequence[Layer]) -> tuple[Layer, ...]:
    """The layers of a model file, which has the folder's geometry."""
    from ..load import load_model

    layers = load_model(source).layers
    for layer, own, entry in zip(bare, layers, plan.content["layers"], strict=False):
        names = [item.name for item in fields(layer) if item.name in entry and item.name not in (*ARRAYS, "variant")]
        differs = [name for name in names if getattr(layer, name) != getattr(own, name)]
        if differs:
            expected, got = getattr(layer, differs[0]), getattr(own, differs[0])
            raise FolderError(
                f"{source}: layer {own.name}: {differs[0]}: expected the folder's {expected!r}, got {got!r}"
            )
    if len(layers) != len(bare):
        raise FolderError(f"{source}: expected the folder's {len(bare)} layers, got {len(layers)}")
    return tuple(layers)


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
        output = Path(folder) / "firmware.elf"
        toolchain.build(
            [source], output, firmware.core, cflags=firmware.cflags, include=[firmware.directory], foreign=True
        )
        return output.read_bytes()


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
    wanted = Network(firmware.layers).run(source)
    trace, got = _call(emulator, run_function(firmware.model), source, wanted, 0, budget)
    return trace, next(_compare("the network", 0, got, wanted), None)


def draw_inputs(firmware: Firmware, samples: int) -> np.ndarray:
    """Reproducible inputs over the whole range; every second sample has the extremes and zero in abundance."""
    first = firmware.layers[0]
    limits = np.iinfo(first.numpy_dtype)
    rng = np.random.default_rng(zlib.crc32(firmware.model.encode()))
    shape = (samples, *first.input_shape)
    values = rng.integers(limits.min, limits.max, shape, limits.dtype, endpoint=True)
    extremes = rng.choice(np.array([limits.min, limits.max, 0, -1], limits.dtype), shape)
    values[1::2] = np.where(rng.random(values[1::2].shape) < 0.25, extremes[1::2], values[1::2])
    return values


def verify(
    firmware: Firmware,
    toolchain: Toolchain,
    inputs: np.ndarray,
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
    inputs : ndarray, shape (n, *input_shape)
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
    expected = Network(firmware.layers).trace(inputs)
    mismatches: list[Mismatch] = []
    results: list[LayerResult] = []
    run, functions = run_function(firmware.model), firmware.functions
    estimates = dict(zip((layer.name for layer in firmware.layers), firmware.estimated_cycles, strict=True))
    network: Trace | None = None
    for sample in range(len(inputs)):
        source = inputs[sample]
        ran: list[LayerResult] = []
        for step in firmware.steps:
            first = source
            for layer in step.layers:
                wanted = expected[layer.name][sample]
                trace, got = _call(plain, layer_function(firmware.model, layer.name), source, wanted, 0, budget)
                found = list(_compare(f"layer {layer.name}", sample, got, wanted))
                mismatches += found
                ran.append(_layer_result(layer, trace, estimates[layer.name], not found))
                source = wanted
            if step.pool is not None:
                trace, got = _call(plain, functions[step.name], first, source, 0, budget)
                names = f"layers {step.name} and {step.pool.name} as one"
                found = list(_compare(names, sample, got, source))
                mismatches += found
                conv = _layer_result(step.lead, trace, estimates[step.name], ran[-2].exact and not found)
                nothing = dict.fromkeys(trace.added, 0)
                ran[-2:] = [conv, replace(ran[-1], instructions=0, cycles=0, added=nothing)]
        results = [
            replace(before, exact=before.exact and now.exact) for before, now in zip(results or ran, ran, strict=True)
        ]
        trace, got = _call(plain, run, inputs[sample], source, 0, budget)
        mismatches += _compare("the network", sample, got, source)
        network = network or trace
        # One checked run is enough: addresses do not depend on the data.
        _, got = _call(plain if sample else checked, run, inputs[sample], source, 1, budget)
        mismatches += _compare("the network with buffers at odd addresses", sample, got, source)
    assert network is not None
    name, clock = (target, None) if isinstance(target, str) else (target.name, target.clock_hz)
    compiler = f"{toolchain.kind}: {toolchain.version}"
    return Verification(firmware, compiler, name, len(inputs), tuple(results), network, tuple(mismatches), clock)


def _layer_result(layer: Layer, trace: Trace, estimate: int | None, exact: bool) -> LayerResult:
    figures = trace.instructions, trace.cycles, estimate
    return LayerResult(layer.name, layer.op, layer.macs, *figures, exact, trace.added)


def _call(
    emulator: Emulator,
    symbol: str,
    source: np.ndarray,
    wanted: np.ndarray,
    offset: int,
    budget: int,
) -> tuple[Trace, np.ndarray]:
    """Call a layer or the network once, with an output that holds no right element before."""
    emulator.free_buffers()
    input_ = emulator.buffer(source, offset=offset, writable=False)
    output = emulator.buffer((~wanted).tobytes(), offset=3 * offset)
    trace = emulator.call(symbol, [input_, output], budget=budget)
    return trace, np.frombuffer(emulator.read(output), wanted.dtype).reshape(wanted.shape)


def _compare(what: str, sample: int, got: np.ndarray, wanted: np.ndarray) -> Iterator[Mismatch]:
    wrong = np.argwhere(got != wanted)
    if len(wrong):
        first = tuple(int(i) for i in wrong[0])
        yield Mismatch(what, sample, first, int(got[first]), int(wanted[first]), len(wrong), wanted.size)
