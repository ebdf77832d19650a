# SPDX-License-Identifier: Apache-2.0
"""What the folder's README and its bare-metal example say about building and running."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tuning.base.cflags import cflags_of
from tuning.plan import Plan
from tuning.target.cores import CORES


@dataclass(frozen=True)
class Build:
    """Commands and figures for the README."""

    flags: str
    vectors: str
    gcc: str
    zig: str
    qemu: str
    host: tuple[str, ...]
    run: str
    library_flags: tuple[str, ...]
    machine: str
    flash_origin: str
    flash_length: str
    sram_origin: str
    sram_length: str
    memory: tuple[tuple[str, int], ...]
    time: str


def build(plan: Plan) -> Build:
    core, name = CORES[plan.target.core], plan.model
    machine = core.machine
    standard = () if any(flag.startswith("-std=") for flag in plan.cflags) else ("-std=c99",)
    sources = f"{name}.c example/main.c -o {name}.elf"
    on_host = f"{name}.c example/main.c -o {name}_host"
    link = "-I. -T example/memory.ld"
    if any(item.takes_in_next for item in plan.layers):
        link = f"-Wl,--gc-sections {link}"  # the functions of the single layers are not called
    totals = plan.totals
    time = f"{totals['cycles']} cycles"
    if totals.get("ms") is not None and plan.target.clock_hz:
        time += f", {totals['ms']:.3g} ms at {plan.target.clock_hz / 1e6:g} MHz"
    # Vectors are in the registers of the FPU, so arguments may be as well.
    gcc = f"-mcpu={core.like_gcc or core.name} -mthumb{' -mfloat-abi=hard' if core.helium else ''}"
    target = f"thumb-freestanding-eabi{'hf' if core.helium else ''}"
    clang = f"python -m ziglang cc -target {target} -mcpu={core.zig_cpu}"
    for_plan = " ".join([*standard, *plan.cflags])
    for_gcc, for_clang = (for_plan if plan.compiler == kind else " ".join(cflags_of(kind)) for kind in ("gcc", "clang"))
    vectors = ""
    if core.helium:
        vectors = f"Zig spells the core `{core.zig_cpu}`" + (
            f", and GCC that does not know it takes `{core.like_gcc}`." if core.like_gcc else "."
        )
    return Build(
        flags=f"-mcpu={core.name} {'-mfloat-abi=hard ' if core.helium else ''}{for_plan}",
        vectors=vectors,
        gcc=f"arm-none-eabi-gcc {gcc} {for_gcc} -nostartfiles {link} {sources}",
        zig=f"{clang} {for_clang} {link} {sources}",
        qemu=f"qemu-system-arm -M {machine.name} -nographic -semihosting -kernel {name}.elf",
        host=() if core.helium else tuple(f"{cc} -std=c99 -O2 -I. {on_host}" for cc in ("gcc", "python -m ziglang cc")),
        run=f"./{name}_host",
        library_flags=tuple(flag for flag in for_gcc.split() if not flag.startswith("-std=")),
        machine=machine.name,
        flash_origin=machine.flash_origin,
        flash_length=machine.flash_length,
        sram_origin=machine.sram_origin,
        sram_length=machine.sram_length,
        memory=(
            ("arena: intermediate tensors and scratch", plan.arena_bytes),
            *([("states: what it remembers between runs", plan.state_bytes)] if plan.state_bytes else []),
            (
                f"all SRAM: arena,{' states,' if plan.state_bytes else ''} your input and your output",
                totals["sram_bytes"],
            ),
            (f"flash: weights and code ({plan.flash_is})", totals["flash_bytes"]),
        ),
        time=time,
    )


def vectors(plan: Plan) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Inputs that only the model's name seeds, and the outputs of the host network for them."""
    rng = np.random.default_rng(zlib.crc32(f"{plan.model}/input".encode()))
    inputs = []
    for tensor in plan.inputs:
        own = tensor.type
        inputs.append(rng.integers(own.low, own.high, tensor.shape, own.dtype, endpoint=True))
    return inputs, outputs_of(plan, inputs)


def outputs_of(plan: Plan, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """What the host network makes of one input, or of several."""
    from cmsisnn_x import Network

    network = Network([item.layer for item in plan.layers]) if plan.wiring is None else Network(plan.wiring)
    found = network.run(inputs[0] if len(inputs) == 1 else tuple(inputs))
    return [np.asarray(found)] if isinstance(found, np.ndarray) else [np.asarray(one) for one in found]
