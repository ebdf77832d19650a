# SPDX-License-Identifier: Apache-2.0
"""What the folder's README and its bare-metal example say about building and running."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from cmsisnn_x.layers import NUMPY_DTYPES
from tuning.base.options import ZIG_CPUS
from tuning.plan import Plan


@dataclass(frozen=True)
class Machine:
    """A QEMU board with one of our cores, its code memory and its data memory."""

    name: str
    flash_origin: str = "0x00000000"
    sram_origin: str = "0x20000000"
    sram_length: str = "4M"


MACHINES = {
    # QEMU has no Cortex-M0+ with memory for a network; the Cortex-M3 runs its instructions.
    "cortex-m0plus": Machine("mps2-an385"),
    "cortex-m3": Machine("mps2-an385"),
    "cortex-m4": Machine("mps2-an386"),
    "cortex-m7": Machine("mps2-an500"),
    # This one starts in the secure world, whose memories have addresses of their own.
    "cortex-m33": Machine("mps2-an505", "0x10000000", "0x38000000", "2M"),
}


@dataclass(frozen=True)
class Build:
    """Commands and figures for the README."""

    flags: str
    gcc: str
    zig: str
    qemu: str
    machine: str
    flash_origin: str
    sram_origin: str
    sram_length: str
    memory: tuple[tuple[str, int], ...]
    time: str


def build(plan: Plan) -> Build:
    core, name = plan.target.core, plan.model
    machine = MACHINES[core]
    standard = () if any(flag.startswith("-std=") for flag in plan.cflags) else ("-std=c99",)
    flags = " ".join([*standard, *plan.cflags])
    sources = f"{name}.c example/main.c -o {name}.elf"
    link = "-I. -T example/memory.ld"
    if any(item.takes_in_next for item in plan.layers):
        link = f"-Wl,--gc-sections {link}"  # the functions of the single layers are not called
    totals = plan.totals
    time = f"{totals['cycles']} cycles"
    if totals.get("ms") is not None and plan.target.clock_hz:
        time += f", {totals['ms']:.3g} ms at {plan.target.clock_hz / 1e6:g} MHz"
    clang = f"python -m ziglang cc -target thumb-freestanding-eabi -mcpu={ZIG_CPUS[core]}"
    return Build(
        flags=f"-mcpu={core} {flags}",
        gcc=f"arm-none-eabi-gcc -mcpu={core} -mthumb {flags} -nostartfiles {link} {sources}",
        zig=f"{clang} -std=c99 -O3 {link} {sources}",
        qemu=f"qemu-system-arm -M {machine.name} -nographic -semihosting -kernel {name}.elf",
        machine=machine.name,
        flash_origin=machine.flash_origin,
        sram_origin=machine.sram_origin,
        sram_length=machine.sram_length,
        memory=(
            ("arena: intermediate tensors and scratch", plan.arena_bytes),
            ("all SRAM: arena, your input and your output", totals["sram_bytes"]),
            ("flash: weights and code (estimated)", totals["flash_bytes"]),
        ),
        time=time,
    )


def vectors(plan: Plan) -> tuple[np.ndarray, np.ndarray]:
    """An input that only the model's name seeds, and the output of the host network for it."""
    from cmsisnn_x import Network

    layers = [item.layer for item in plan.layers]
    dtype = NUMPY_DTYPES[plan.dtype]
    info = np.iinfo(dtype)
    rng = np.random.default_rng(zlib.crc32(f"{plan.model}/input".encode()))
    x = rng.integers(info.min, info.max, layers[0].input_shape, dtype, endpoint=True)
    return x, np.asarray(Network(layers).run(x))
