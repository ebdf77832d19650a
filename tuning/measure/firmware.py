# SPDX-License-Identifier: Apache-2.0
"""What the whole firmware of a plan takes.

A layer emulated alone costs a little more or less than in the firmware, where code and arrays lie elsewhere. So the
sum of what each layer took alone can prefer a plan to the estimate's that is slower when the network runs: before the
search ends, both are compiled and emulated as a whole. Where flash is short, plans are compiled to see what they take.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..base.errors import MissingToolError, TuningError
from ..base.options import Kind
from ..plan import Plan
from .bench import Measurement, final_only, kernel_digest, parameters_of, shape_of, target_digest, tools_digest
from .record import key_of
from .records import Records
from .sources import digest_of

if TYPE_CHECKING:
    from ..emit.project import Project
    from ..emulate.toolchain import Toolchain
    from .folder import Firmware


@dataclass(frozen=True)
class Compiled:
    """What a compiler made of a plan: bytes of code and constants that ``<model>_run`` needs, and for each layer the
    code of the kernel that runs it, with what that calls; 0 for a pooling that the layer before it takes in.
    """

    flash_bytes: int
    code_bytes: tuple[int, ...]


def compiler_of(core: str, kind: Kind, asked: Kind | None = None) -> Toolchain | None:
    """What plans can be compiled with here: the compiler that is `asked` for, or else the one that `kind` names or the
    other; None where it is not installed, where it is too old for the core, or where nothing reads object files.
    """
    from ..emulate import ToolchainError, prefer_toolchain

    if find_spec("elftools") is None:
        return None
    try:
        found = prefer_toolchain(kind, asked)
        found.require(core)
    except (MissingToolError, ToolchainError):
        return None
    return found


def compile_plan(plan: Plan, toolchain: Toolchain) -> Compiled:
    """Compile the firmware of a plan, and run nothing.

    Raises
    ------
    MissingToolError
        Nothing to read object files with.
    ToolchainError
        It does not compile.
    """
    from ..emit.project import project
    from .folder import footprint_of

    text = project(plan)
    pairs = {pair.index: pair.kernel for pair in text.pairs}
    kernels = [
        None if item.fused_into is not None else pairs.get(at, layer.kernel)
        for at, (item, layer) in enumerate(zip(plan.layers, text.layers, strict=True))
    ]
    with written(plan, text) as firmware:
        taken = footprint_of(firmware, toolchain, {name for name in kernels if name is not None})
    code = (0 if name is None else taken.code_bytes[name] for name in kernels)
    return Compiled(taken.linked_bytes, tuple(code))


def compare(plans: Sequence[Plan], records: Path | None = None) -> list[Measurement]:
    """What the network takes under each plan: one call with the input of ``cmsisnn-verify``, both buffers aligned.

    Parameters
    ----------
    plans : sequence of Plan
    records : Path, optional
        What remembers emulations. Default: in the user's cache directory.

    Returns
    -------
    list of Measurement
        In the order of `plans`; with a `failure` where the firmware did not compile, faulted, or was wrong.
    """
    from ..emulate import prefer_toolchain

    toolchains = [prefer_toolchain(plan.compiler) for plan in plans]
    contents = [_about(plan, f"{used.kind} {used.version}") for plan, used in zip(plans, toolchains, strict=True)]
    keys = [key_of(content) for content in contents]
    about = dict(zip(keys, contents, strict=True))
    with closing(Records(records)) as store:
        found = Measurement.known(store.get(keys))
        for key, plan, toolchain in zip(keys, plans, toolchains, strict=True):
            if key not in found:
                found[key] = _emulate(plan, toolchain)
                if fresh := final_only({key: found[key]}):
                    store.put(fresh, about)
    return [found[key] for key in keys]


@contextmanager
def written(plan: Plan, text: Project | None = None) -> Iterator[Firmware]:
    """The C files of a plan in a temporary folder, ready to be compiled; `text` is its project, where that is known."""
    from ..emit.project import project
    from ..emit.text import sources
    from .folder import Firmware

    with tempfile.TemporaryDirectory(prefix="cmsisnn-x-") as name:
        for path, content in sources(text or project(plan)).items():
            file = Path(name) / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content, encoding="utf-8")
        layers = tuple(item.layer for item in plan.layers)
        into = tuple(item.fused_into for item in plan.layers)
        estimated = tuple(item.cycles for item in plan.layers)
        where = (Path(name), plan.model, plan.target.core, plan.target.name)
        made = (*where, plan.compiler, plan.cflags, layers, estimated, into)
        yield Firmware(*made, wiring=plan.wiring, chains=plan.chains)


def emulated_layers(plan: Plan) -> tuple[int, ...]:
    """Cycles of every layer of a plan in its firmware; what a chain takes beside its layers is its last one's.

    Raises
    ------
    TuningError
        The firmware does not compile, faults or is wrong.
    """
    from ..emulate import DEFAULT_BUDGET, Emulator, prefer_toolchain
    from .folder import compile_folder, draw_inputs, each_step, trace_of

    with written(plan) as firmware:
        emulator = Emulator(compile_folder(firmware, prefer_toolchain(plan.compiler)), plan.target)
        known = trace_of(firmware, draw_inputs(firmware, 1)[0])
        found, wrong = each_step(firmware, emulator, known, 0, max(DEFAULT_BUDGET, 4 * plan.totals["cycles"]))
    if wrong:
        raise TuningError(f"emulated firmware: {wrong[0]}")
    return tuple(one.cycles for one in found)


def _emulate(plan: Plan, toolchain: Toolchain) -> Measurement:
    from ..emulate import DEFAULT_BUDGET
    from ..emulate.errors import DeviceError
    from .folder import run_once

    try:
        with written(plan) as firmware:
            budget = max(DEFAULT_BUDGET, 4 * plan.totals["cycles"])  # instructions: each layer alone did return
            trace, wrong = run_once(firmware, toolchain, plan.target, budget)
    except MissingToolError:
        raise
    except DeviceError as problem:
        return Measurement.failed(problem)
    except TuningError as problem:  # nothing to compile
        return Measurement(problem=str(problem).splitlines()[0], failure="compile error")
    if wrong is not None:
        return Measurement(problem=str(wrong), failure="wrong output")
    return Measurement(trace.cycles, trace.instructions, 0, trace.stack_bytes)


def _about(plan: Plan, compiler: str) -> dict[str, Any]:
    """Everything that the figure depends on, as JSON."""
    kernels = sorted({step.header for step in plan.steps})
    places = ("input_offset", "output_offset", "scratch_offset", "scratch_bytes", "fused_into", "band", "ring_offset")
    layers = [shape_of(item.layer) | {name: getattr(item, name) for name in places} for item in plan.layers]
    about: dict[str, Any] = {"name": plan.model, "kernels": kernels, "arena_bytes": plan.arena_bytes, "layers": layers}
    if plan.wiring is not None:
        about["graph"] = [plan.border(), plan.tensors()]
    content = {
        "op": "network",
        "kernels": firmware_digest(kernels),
        "tools": tools_digest(),
        "layer": about,
        "parameters": parameters_of(*(item.layer for item in plan.layers)),
        "variant": {item.layer.name: item.variant and asdict(item.variant) for item in plan.layers},
        "aligned": (True, True),
        "core": plan.target.core,
        "target": target_digest(plan.target),
        "compiler": compiler,
        "cflags": plan.cflags,
    }
    return json.loads(json.dumps(content, sort_keys=True, default=list))


def firmware_digest(kernels: Iterable[str]) -> str:
    """Digest of kernels and of what writes the C files around them."""
    digest = hashlib.sha256(_writers_digest().encode())
    for kernel in kernels:
        digest.update(kernel_digest(kernel).encode())
    return digest.hexdigest()


@cache
def _writers_digest() -> str:
    from ..emit.text import TEMPLATES

    return digest_of(["tuning.emit.project", "tuning.emit.chains", "tuning.measure.folder"], TEMPLATES.rglob("*.j2"))
