# SPDX-License-Identifier: Apache-2.0
"""Firmware on a board: what the emulator says of a folder with the board's memories, and what a measurement on the real
board says of the memories that its file declares.

::

    board.csv (layer,cycles) --read_csv--> cycles
    folder --count--> accesses, misses per layer --fit--> flash_wait_states, ... --target_text--> YAML
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cmsisnn_x.steps import Step

from ..base.errors import TuningError
from ..base.files import read_bytes
from ..target import Target

if TYPE_CHECKING:
    from ..emulate import Trace
    from ..emulate.toolchain import Kind
    from ..measure.folder import Firmware

HEADER = ("layer", "cycles")
LINES = (4, 8, 16, 32)
MOST_WAITS = 64
"""Cycles, of whatever memory: a target file takes no more than 100."""
PREFETCH_GAIN = 0.003
"""Relative error by which a prefetch that the target does not declare has to explain a measurement better."""

LEAST = 1e-3
"""Events per measured cycle of some layer from which on their price can be told."""

MOST_OFF = 2.0
"""Factor between the measured network and the best fit from which on the one was not measured with the other."""

_ROW = re.compile(r"\b([A-Za-z_]\w*)\s*[,;]\s*(\S*)")


class BoardError(TuningError):
    """A measurement cannot be read, or does not fit the folder or the target."""


@dataclass(frozen=True)
class StepTrace:
    """One step of the network as the emulator saw it."""

    step: Step
    trace: Trace


@dataclass(frozen=True)
class Fit:
    """What a board's memories must be like for the emulator to give the measured cycles.

    `changes` are the fields of the fitted target that differ from the given one; `measured`, `before` and `after` are
    cycles per layer, in this order.
    """

    target: Target
    changes: Mapping[str, object]
    layers: tuple[str, ...]
    measured: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]

    def error(self, cycles: Sequence[int]) -> float:
        """Root mean square of the relative errors."""
        return float(np.sqrt(np.mean((np.array(cycles) / np.array(self.measured) - 1) ** 2)))


# -- emulated --------------------------------------------------------------------------------------------------------


def price_folder(
    directory: str | Path, target: Target | str, *, compiler: Kind | None = None, model: str | None = None
) -> tuple[list[StepTrace], Trace]:
    """Compile an emitted folder and emulate it on a target.

    Parameters
    ----------
    directory : path
        Folder that `tuning.emit` wrote.
    target : Target or str
        A board's memories and refinements are priced, a bare core's name gives the fixed rules.
    compiler : {"gcc", "clang"}, optional
        Default: the plan's where it is installed, else the other.
    model : str, optional
        Model file with the weights, where an earlier version wrote the folder without them.

    Returns
    -------
    steps : list of StepTrace
        In the order they run.
    network : Trace
        The whole network in one call.

    Raises
    ------
    FolderError, ToolchainError, EmulationError
    """
    from ..measure import folder

    firmware = folder.load(Path(directory), model=model)
    return _run(firmware, target, _compile(firmware, target, compiler))


def price_elf(source: str | Path | bytes, symbol: str, args: Sequence[Any], target: Target | str) -> Trace:
    """One call of a function of an ELF file on a target; see `tuning.emulate.Emulator.call`."""
    from ..emulate import Emulator

    return Emulator(source, target).call(symbol, args)


def _compile(firmware: Firmware, target: Target | str, compiler: Kind | None) -> bytes:
    from ..emulate import prefer_toolchain
    from ..measure import folder

    core = target if isinstance(target, str) else target.core
    return folder.compile_folder(replace(firmware, core=core), prefer_toolchain(firmware.compiler, compiler))


def _run(firmware: Firmware, target: Target | str, code: bytes) -> tuple[list[StepTrace], Trace]:
    from ..emit.names import run_function
    from ..emulate import Emulator
    from ..measure import folder

    emulator = Emulator(code, target)
    source = folder.draw_inputs(firmware, 1)[0]
    graph, known = firmware.graph, folder.trace_of(firmware, source)
    found, functions, nodes = [], firmware.functions, iter(graph.nodes)
    for step in firmware.steps:
        own = [next(nodes) for _ in step.layers]
        outputs = [known[name] for name in own[-1].outputs]
        reads = folder.inputs_of(graph, own[0], known)
        found.append(StepTrace(step, _call(emulator, functions[step.name], reads, outputs)))
    return found, _call(emulator, run_function(firmware.model), source, [known[name] for name in graph.outputs])


def _call(emulator: Any, symbol: str, reads: Sequence[np.ndarray], outputs: Sequence[np.ndarray]) -> Trace:
    emulator.free_buffers()
    inputs = [emulator.buffer(values, writable=False) for values in reads]
    return emulator.call(symbol, [*inputs, *(emulator.buffer(values.nbytes) for values in outputs)], warm=True)


# -- measured --------------------------------------------------------------------------------------------------------


def read_csv(path: str | Path, layers: Sequence[str], taken_in: Collection[str] = ()) -> dict[str, int]:
    """Cycles per layer out of what the emitted example printed, ``layer,cycles`` lines after a line that says so.

    Time stamps, prompts and other lines of a serial log around them do not matter; a log with several runs gives the
    last one.

    Parameters
    ----------
    path : path
    layers : sequence of str
        Names of the layers of the folder that ran.
    taken_in : collection of str
        Those of them that another layer runs: only these may take 0 cycles.

    Raises
    ------
    BoardError
        Not readable, no such lines, a layer that is missing or of another folder, or no count: with file and line.
    """
    try:
        text = read_bytes(path).decode("utf-8", "replace")
    except OSError as problem:
        raise BoardError(f"{path}: cannot be read: {problem.strerror or problem}") from None
    found: dict[str, int] = {}
    stranger: tuple[int, str] | None = None
    begun = 0
    for number, line in enumerate(re.split(r"\r\n|\r|\n", text), 1):
        for name, value in _ROW.findall(line)[:1]:
            if (name, value) == HEADER:
                found, begun, stranger = {}, number, None
            elif name not in layers:
                if begun and value.isdecimal():
                    stranger = stranger or (number, name)
            elif not begun:
                got = repr(line.strip())
                raise BoardError(f"{path}:{number}: expected a line 'layer,cycles' before the first layer, got {got}")
            elif not re.fullmatch("[0-9]{1,10}", value) or int(value) >= 2**32:
                what = "expected a count of at most 32 bits"
                raise BoardError(f"{path}:{number}: cycles of {name}: {what}, got {value[:20]!r}")
            elif not int(value) and name not in taken_in:
                raise BoardError(f"{path}:{number}: layer {name!r} took 0 cycles: was the counter started?")
            elif name in found:
                raise BoardError(f"{path}:{number}: layer {name!r} comes twice in one run")
            else:
                found[name] = int(value)
    if not begun:
        raise BoardError(f"{path}:1: expected a line 'layer,cycles' and the layers after it, got none")
    if stranger and len(found) < len(layers):
        number, name = stranger
        raise BoardError(f"{path}:{number}: layer {name[:40]!r} is not in the folder, which has {', '.join(layers)}")
    if missing := [name for name in layers if name not in found]:
        raise BoardError(f"{path}:{begun}: the run that begins here has no line for layer {missing[0]!r}")
    return found


def fit(
    directory: str | Path,
    csv: str | Path,
    target: Target,
    *,
    compiler: Kind | None = None,
    model: str | None = None,
) -> Fit:
    """Find the wait states, the line of the flash and the penalties that explain a measurement.

    The folder is emulated once per line of flash that comes into question, which counts the lines fetched, the
    constants read and the unaligned accesses of every layer; cycles are linear in these counts. Caches and TCM stay as
    the target declares them, and so does the line of the flash where the target has one.

    Parameters
    ----------
    directory : path
        The emitted folder that ran on the board.
    csv : path
        What it printed; see `read_csv`.
    target : Target
        A board, or a core for a board of which nothing is known.
    compiler : {"gcc", "clang"}, optional
        As for the board.
    model : str, optional
        Model file with the weights, where an earlier version wrote the folder without them.

    Raises
    ------
    BoardError
        The file is wrong, the folder is of another core, or nothing explains what was measured.
    """
    from ..measure import folder

    firmware = folder.load(Path(directory), model=model)
    if firmware.core != target.core:
        wanted = f"firmware for {target.core}, the core of {target.name}"
        raise BoardError(f"{directory}: expected {wanted}, got {firmware.core}")
    taken_in = [layer.name for layer, into in zip(firmware.layers, firmware.fused_into, strict=False) if into]
    measured = read_csv(csv, [layer.name for layer in firmware.layers], taken_in)
    code = _compile(firmware, target, compiler)
    steps, _ = _run(firmware, target, code)
    names = [item.step.name for item in steps]
    cycles = np.array([measured[name] for name in names], float)

    board = replace(target, inherit=target.name) if target.is_core else target
    solved: list[tuple[float, Target]] = []
    lines = [line for line in LINES if line <= (target.cache_line_bytes or line)]
    for line in (target.flash_line_bytes,) if target.flash_line_bytes else lines:
        counting = replace(board, flash_line_bytes=line, flash_wait_states=1, sram_wait_states=1)
        counted = [item.trace for item in _run(firmware, counting, code)[0]]
        shapes = [replace(board, flash_line_bytes=line, flash_prefetch=prefetch) for prefetch in (False, True)]
        solved += [
            _solve(shape, counted, cycles) for shape in shapes if shape.flash_prefetch or not board.flash_prefetch
        ]
    _, fitted = min(solved, key=lambda item: (item[0] + PREFETCH_GAIN * item[1].flash_prefetch, item[0]))
    after, _ = _run(firmware, fitted, code)
    core, best, real = (sum(values) for values in ((s.trace.core_cycles for s in steps), _cycles(after), cycles))
    if not 1 / MOST_OFF < best / real < MOST_OFF:
        raise BoardError(
            f"{csv}: no memories explain this measurement: the network took {real:,.0f} cycles, its instructions alone "
            f"take {core:,} on {target.core}, and {best:,} is as near as it gets: is it of this folder, and in cycles "
            "of the core?"
        )
    changes = {
        name: getattr(fitted, name)
        for name in ("flash_wait_states", "flash_line_bytes", "flash_prefetch", "sram_wait_states")
        if getattr(fitted, name) != getattr(target, name)
    }
    changes |= {
        f"refinements.{name}": fitted.refinements.get(name, 0)
        for name in ("unaligned_load", "unaligned_store")
        if fitted.refinements.get(name, 0) != target.refinements.get(name, 0)
    }
    return Fit(
        fitted,
        changes,
        tuple(names),
        tuple(measured[name] for name in names),
        _cycles(steps),
        _cycles(after),
    )


def _cycles(steps: Sequence[StepTrace]) -> tuple[int, ...]:
    return tuple(item.trace.cycles for item in steps)


def _solve(target: Target, counted: Sequence[Trace], measured: np.ndarray) -> tuple[float, Target]:
    """The best numbers for one shape of the flash, and their relative error.

    All wait states of the flash are tried; what is left of the measurement is shared among SRAM and unaligned loads by
    least squares, none negative or more than a target file may say, then rounded.
    """
    from scipy.optimize import lsq_linear

    def column(name: str) -> np.ndarray:
        return np.array([trace.counted[name] for trace in counted], float)

    fixed = _without_memories(counted)
    fetched, following, constants = column("fetched"), column("fetched_next"), column("constants")
    # What the layers hardly do cannot be measured by them, and stays as declared.
    declared = {"sram": target.sram_wait_states, "unaligned_loads": target.refinements.get("unaligned_load", 0.0)}
    seen = [name for name in declared if (column(name) / measured).max() >= LEAST]
    fixed = fixed + sum(column(name) * declared[name] for name in declared if name not in seen)
    others = np.stack([column(name) for name in seen], axis=1) if seen else np.zeros((len(measured), 0))
    best: tuple[float, Target] | None = None
    for waits in range(MOST_WAITS + 1):
        full = waits + target.line_fill_cycles
        after = max(0, full - target.flash_line_bytes // 4) if target.flash_prefetch else full
        flash = fixed + (fetched + constants) * full + following * after
        solved: list[int] = []
        if seen:
            left = np.maximum(measured - flash, 0) / measured
            solution = lsq_linear(others / measured[:, np.newaxis], left, (0, MOST_WAITS), method="bvls")
            solved = [round(float(value)) for value in solution.x]
        error = float(np.sqrt(np.mean(((flash + others @ np.array(solved, float)) / measured - 1) ** 2)))
        if best is None or error < best[0] - 1e-9:
            values = declared | dict(zip(seen, solved, strict=True))
            refinements = {name: value for name, value in target.refinements.items() if name != "unaligned_load"}
            if values["unaligned_loads"]:
                refinements["unaligned_load"] = float(values["unaligned_loads"])
            changed: dict[str, Any] = {
                "flash_wait_states": waits,
                "sram_wait_states": int(values["sram"]),
                "refinements": refinements,
            }
            best = error, replace(target, **changed)
    assert best is not None
    return best


def _without_memories(counted: Sequence[Trace]) -> np.ndarray:
    """Cycles of the core and of what stays as it is."""
    fitted = ("flash fetch", "flash data", "SRAM", "unaligned")
    return np.array([t.cycles - sum(t.added.get(cause, 0) for cause in fitted) for t in counted], float)


# -- as a file -------------------------------------------------------------------------------------------------------


def target_text(found: Fit, inherit: str, csv: str | Path) -> str:
    """The fitted target as a YAML file that inherits the given one."""
    source = f"fitted: cycles of {len(found.layers)} layers in {Path(csv).name}, error {found.error(found.after):.1%}"
    lines = ["schema: 1", f"name: {_plain(found.target.name)}-fitted", f"inherit: {inherit}"]
    nested = {}
    for name, value in found.changes.items():
        shown = str(value).lower() if isinstance(value, bool) else f"{value:g}"
        entry = f'{{value: {shown}, source: "{source}"}}'
        _, dot, key = name.partition(".")
        if dot:
            nested[key] = entry
        else:
            lines.append(f"{name}: {entry}")
    if nested:
        lines += ["refinements:", *(f"  {key}: {entry}" for key, entry in nested.items())]
    return "\n".join(lines) + "\n"


def _plain(name: str) -> str:
    return re.sub(r"[^\w.-]", "-", name)
