# SPDX-License-Identifier: Apache-2.0
"""An emitted firmware folder: read it back, compile it, run it, and compare every layer with the Python kernels.

The folder is enough: geometry and variants stand in ``plan.json``, and the weights are read out of the emitted header
and put back into the order of the Python functions. A mistake of the packer does not cancel out: the kernel reads the
packed order by itself.

The folder may be a stranger's. Its ``plan.json`` is not trusted: names, flags, numbers and texts are checked before
anything is done with them, and no path is taken from it but those of ``<model>.c`` and ``<model>_weights.h`` beside it.
Its C is compiled with flags of our table and runs in the emulator alone, where nothing of this machine can be reached.
What is trusted is the compiler: C that includes ``/etc/hostname`` makes it read that file, and a message may quote it.
"""

from __future__ import annotations

import re
import reprlib
import tempfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from cmsisnn_x import Network
from cmsisnn_x.errors import CmsisnnError
from cmsisnn_x.layers import NUMPY_DTYPES, Layer
from cmsisnn_x.variant import Variant

from ..base.cflags import cflags_problem
from ..base.errors import TuningError
from ..base.files import read_bytes, read_json
from ..base.names import model_name_problem
from ..emulate.emulator import DEFAULT_BUDGET, Emulator
from ..emulate.toolchain import Toolchain
from ..emulate.trace import Trace
from ..plan.file import layers_problem, plan_problem, read_layer
from ..target import CORES, Target

SCHEMA = "plan-1"
LARGEST_HEADER = 1 << 30
LARGEST_SOLVED = 1 << 28
"""Numbers of the linear equations for a layer's weights: far above those of any kernel that a layer has."""
_GEOMETRY = (
    "name", "op", "dtype", "input_shape", "output_shape", "kernel", "stride", "padding", "bias_shift", "out_shift",
    "activation", "int_bits",
)  # fmt: skip
_ARRAY = re.compile(r"static const int(8|16)_t (\w+)\[(\d+)\][^={};]*=\s*\{([^}]*)\};")


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
    plan = _read_plan(path)
    if missing := [key for key in ("model", "core", "target", "cflags", "layers") if key not in plan]:
        raise FolderError(f"{path}: not a plan that this version can read: {missing[0]}: missing")
    if problem := plan_problem(plan):
        raise FolderError(f"{path}: {problem}")
    name, core, entries = plan["model"], plan["core"], plan["layers"]
    if core not in CORES:
        raise FolderError(f"{path}: core: expected one of {', '.join(CORES)}, got {core!r}")
    if not entries:
        raise FolderError(f"{path}: layers: expected at least one, got none")
    read = []
    for entry in entries:
        try:
            read.append(read_layer(entry))
        except ValueError as wrong:
            raise FolderError(f"{path}: layer {entry['name']}: {wrong}") from None
    bare = [layer for layer, _ in read]
    if problem := layers_problem(bare):
        raise FolderError(f"{path}: {problem}")
    if model is not None:
        layers = _from_model(model, bare)
    else:
        arrays = _read_arrays(directory / f"{name}_weights.h")
        layers = tuple(_with_weights(name, layer, variant, arrays) for layer, variant in read)
    try:
        Network(layers)
    except CmsisnnError as wrong:
        raise FolderError(f"{path}: {wrong}") from None
    estimated = tuple(entry.get("cycles") for entry in entries)
    fused = tuple(entry.get("fused_into") for entry in entries)
    return Firmware(directory, name, core, plan["target"], tuple(plan["cflags"]), layers, estimated, fused)


def _read_plan(path: Path) -> Mapping[str, Any]:
    try:
        plan = read_json(path)
    except FileNotFoundError:
        raise FolderError(f"{path.parent}: no plan.json: expected a folder that cmsisnn-tune wrote") from None
    except (OSError, ValueError) as problem:
        raise FolderError(f"{path}: cannot be read: {problem}") from None
    if not isinstance(plan, dict) or plan.get("schema") != SCHEMA:
        got = plan.get("schema") if isinstance(plan, dict) else type(plan).__name__
        raise FolderError(f"{path}: schema: expected {SCHEMA!r}, got {reprlib.repr(got)}")
    return plan


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The constant arrays of an emitted header."""
    try:
        text = read_bytes(path, LARGEST_HEADER).decode("utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise FolderError(f"{path}: cannot be read: {problem}") from None
    arrays = {}
    for bits, name, count, numbers in _ARRAY.findall(text):
        try:
            values = np.array([int(number) for number in numbers.replace("\n", " ").split(",") if number.strip()])
            arrays[name], wanted = values.astype(f"int{bits}"), int(count)
        except (ValueError, OverflowError) as problem:
            raise FolderError(f"{path}: {name}: {problem}") from None
        if len(values) != wanted or not np.array_equal(arrays[name], values):
            raise FolderError(f"{path}: {name}: expected {count} numbers of {bits} bits, got {len(values)}")
    return arrays


def _with_weights(model: str, layer: Layer, variant: Variant | None, arrays: Mapping[str, np.ndarray]) -> Layer:
    if not layer.weights_shape:
        return layer
    # The emitter appends underscores where a name is taken.
    kinds: dict[str, np.ndarray] = {}
    for kind in ("weights", "bias"):
        wanted = f"{model}_{layer.name}_{kind}"
        named = [array for name, array in arrays.items() if name.rstrip("_") == wanted]
        if not named:
            raise FolderError(f"{model}_weights.h: expected an array {wanted}, got none")
        kinds[kind] = named[0]
    if (least := prod(layer.weights_shape)) > (got := kinds["weights"].size):
        raise FolderError(f"layer {layer.name}: expected at least {least} weights, got {got}")
    blank = np.zeros(layer.weights_shape, NUMPY_DTYPES[layer.weights_dtype or layer.dtype])
    try:
        weights = unpack_weights(kinds["weights"], replace(layer, weights=blank), variant)
    except FolderError:
        raise
    except (ArithmeticError, LookupError, ValueError) as problem:  # a variant that is none of this layer's
        raise FolderError(f"layer {layer.name}: no weights are packed for {variant}: {problem}") from None
    return replace(layer, weights=weights, bias=kinds["bias"])


def unpack_weights(packed: np.ndarray, layer: Layer, variant: Variant | None) -> np.ndarray:
    """Undo `cmsisnn_x.packing.pack_device_weights`.

    Packers are linear, but for an offset: every packed number is a sum of multiples of the taps of one kernel row (of
    one weight, but for Winograd), or filling. Which, and of what, is learnt by packing zeros, ones and the rows'
    numbers, seven bits at a time; then each row is the solution of its linear equations.

    Parameters
    ----------
    packed : ndarray of int8 or int16, 1-D
    layer : Layer
        `weights` has the wanted shape and dtype; its values do not matter.
    variant : Variant or None

    Raises
    ------
    FolderError
        The layout is another than the variant's, or cannot be undone.
    """
    from cmsisnn_x.packing import pack_device_weights

    blank = layer.weights
    assert blank is not None
    axis = {"conv2d": 2, "depthwise_conv2d": 1}.get(layer.op)
    by_tap = (blank[np.newaxis] if axis is None else np.moveaxis(blank, axis, 0)).shape
    taps, rows = by_tap[0], prod(by_tap[1:])

    def pack(values: np.ndarray) -> np.ndarray:
        arranged = values.reshape(by_tap)
        weights = arranged[0] if axis is None else np.moveaxis(arranged, 0, axis)
        return pack_device_weights(replace(layer, weights=np.ascontiguousarray(weights.astype(blank.dtype))), variant)

    layout = pack(np.zeros((taps, rows)))
    offset = layout.astype(np.int64)
    if layout.size != packed.size or layout.dtype != packed.dtype:
        expected = f"{layout.size} weights of {layout.dtype} for {variant}"
        raise FolderError(f"layer {layer.name}: expected {expected}, got {packed.size} of {packed.dtype}")

    def linear(values: np.ndarray) -> np.ndarray:
        """Packed numbers without the offset; they wrap around, as those of an unsigned byte do."""
        return (values - offset).astype(packed.dtype)

    problem = FolderError(
        f"layer {layer.name}: the weights of {variant} cannot be read back; name the model with --model"
    )
    if taps * max(packed.size, rows * taps) > LARGEST_SOLVED:
        raise problem
    factors = np.zeros((taps, packed.size))
    row_of = np.zeros(packed.size, np.int64)
    for tap in range(taps):
        only = np.zeros((taps, rows))
        only[tap] = 1
        factors[tap] = linear(pack(only))
        used = factors[tap] != 0
        numbers = np.zeros(packed.size, np.int64)
        for shift in range(0, rows.bit_length(), 7):
            only[tap] = np.arange(rows) >> shift & 0x7F
            numbers[used] |= (linear(pack(only))[used] / factors[tap, used]).astype(np.int64) << shift
        row_of[used] = numbers[used]
    left = np.zeros((rows, taps, taps))
    right = np.zeros((rows, taps))
    for one in range(taps):
        np.add.at(right[:, one], row_of, factors[one] * linear(packed))
        for two in range(taps):
            np.add.at(left[:, one, two], row_of, factors[one] * factors[two])
    try:
        solved = np.rint(np.linalg.solve(left, right[..., np.newaxis])[..., 0]).T
    except np.linalg.LinAlgError:
        raise problem from None
    limits = np.iinfo(blank.dtype)
    if solved.min() < limits.min or solved.max() > limits.max or not np.array_equal(pack(solved), packed):
        raise problem
    arranged = solved.reshape(by_tap).astype(blank.dtype)
    return np.ascontiguousarray(arranged[0] if axis is None else np.moveaxis(arranged, 0, axis))


def _from_model(source: str, bare: Sequence[Layer]) -> tuple[Layer, ...]:
    from ..model import load_model

    layers = load_model(source).layers
    for layer, own in zip(bare, layers, strict=False):
        differs = [name for name in _GEOMETRY if getattr(layer, name) != getattr(own, name)]
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
    trace, got = _call(emulator, f"{firmware.model}_run", source, wanted, 0, budget)
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
    run = f"{firmware.model}_run"
    network: Trace | None = None
    for sample in range(len(inputs)):
        source = inputs[sample]
        for index, layer in enumerate(firmware.layers):
            wanted = expected[layer.name][sample]
            trace, got = _call(plain, f"{firmware.model}_{layer.name}", source, wanted, 0, budget)
            found = list(_compare(f"layer {layer.name}", sample, got, wanted))
            mismatches += found
            if sample == 0:
                estimate = firmware.estimated_cycles[index]
                results.append(
                    LayerResult(
                        layer.name,
                        layer.op,
                        layer.macs,
                        trace.instructions,
                        trace.cycles,
                        estimate,
                        not found,
                        trace.added,
                    )
                )
            elif found:
                results[index] = replace(results[index], exact=False)
            if index < len(firmware.fused_into) and firmware.fused_into[index] is not None:
                before = firmware.layers[index - 1]
                first = expected[firmware.layers[index - 2].name][sample] if index > 1 else inputs[sample]
                trace, got = _call(plain, _pair_symbol(plain, firmware, index), first, wanted, 0, budget)
                found = list(_compare(f"layers {before.name} and {layer.name} as one", sample, got, wanted))
                mismatches += found
                exact = results[index - 1].exact and not found
                if sample == 0:
                    pair: dict[str, Any] = {name: getattr(trace, name) for name in ("instructions", "cycles", "added")}
                    nothing = dict.fromkeys(trace.added, 0)
                    results[index] = replace(results[index], instructions=0, cycles=0, added=nothing)
                    results[index - 1] = replace(results[index - 1], **pair)
                results[index - 1] = replace(results[index - 1], exact=exact)
            source = wanted
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


def _pair_symbol(emulator: Emulator, firmware: Firmware, index: int) -> str:
    """The function of layer `index` and the one before it; the emitter appends underscores where a name is taken."""
    wanted = f"{firmware.model}_{firmware.layers[index - 1].name}_{firmware.layers[index].name}"
    layers = {f"{firmware.model}_{layer.name}" for layer in firmware.layers}
    names = {function.name for function in emulator.image.functions} - layers
    found = [name for name in sorted(names) if name.startswith(wanted) and not name[len(wanted) :].strip("_")]
    if not found:
        raise FolderError(f"{firmware.model}.c: expected a function {wanted}, got none")
    return found[0]


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
