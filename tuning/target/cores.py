# SPDX-License-Identifier: Apache-2.0
"""The cores: one row each, with every fact that is not a number of cycles. Ask a row for a feature, never for its name.

A core's timing is data, with sources: ``configs/targets/<core>.yaml``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cmsisnn_x.isa import Features, Isa

from ..base.options import Kind


@dataclass(frozen=True)
class Machine:
    """A QEMU board with this core's instructions, and where its memories lie."""

    name: str
    flash_origin: str = "0x00000000"
    sram_origin: str = "0x20000000"
    sram_length: str = "4M"
    flash_length: str = "4M"


@dataclass(frozen=True, kw_only=True)
class Core:
    """A Cortex-M core.

    Attributes
    ----------
    name : str
        As GCC's ``-mcpu=`` spells it.
    features : Features
        With the most that the core can have; a target may have less (``dsp: false`` on an M33).
    thumb2 : bool
        Whether it has the 32-bit Thumb instructions, IT blocks, and LDRD.
    fpu : bool
        Whether it can have a floating-point unit, which code that is emulated finds switched on.
    zig_cpu : str
        As the Clang of the ``ziglang`` wheel spells it.
    like_gcc : str or None
        What GCC is told where it is older than the core.
    engine, engine_cpu : str
        What runs its code, a key of `tuning.emulate.emulator.ENGINES`; and how that spells the core.
    pipeline : str
        The rules that price what ran, a key of `tuning.emulate.pipeline.MODELS`: ``"single"`` or ``"dual"`` issue.
    pipeline_cycles : mapping of str to int
        Where the core's numbers are others than those that the rules start from.
    machine : Machine
        For the example program of an emitted folder.
    alike : str or None
        The core whose emulated runs tell about this one's too: GCC writes nearly the same code for both, and the
        pipeline rules price it alike; where kernels were compared, cycles differed by 0.2 % in the median.
    """

    name: str
    features: Features
    thumb2: bool = True
    fpu: bool = False
    zig_cpu: str
    like_gcc: str | None = None
    engine: str = "unicorn"
    engine_cpu: str
    pipeline: str
    pipeline_cycles: Mapping[str, int] = field(default_factory=dict, hash=False)
    machine: Machine
    alike: str | None = None

    @property
    def helium(self) -> bool:
        """Whether it has Helium (MVE), whose vectors are in the FPU's registers: arguments go through those too."""
        return self.features.isa >= Isa.HELIUM

    @property
    def vector_cycles(self) -> int | None:
        """For which an instruction on a vector of 16 bytes keeps its unit; None without Helium."""
        return self.pipeline_cycles.get("vector", 2) if self.helium else None

    @property
    def compiler(self) -> Kind:
        """Which one plans are for unless asked otherwise; GCC before 15 predicates no tails of loops over vectors."""
        return "clang" if self.helium else "gcc"


AN547 = Machine("mps3-an547", "0x00000000", "0x21000000", "4M", "512K")
"""Code in the ITCM, and data in the SRAM behind the DTCM, which is small."""

CORES: dict[str, Core] = {
    core.name: core
    for core in (
        Core(
            name="cortex-m0plus",
            features=Features(Isa.SCALAR, unaligned=False, schedule="v6m"),
            thumb2=False,
            zig_cpu="cortex_m0plus",
            engine_cpu="CORTEX_M0",  # the same instructions
            pipeline="single",
            machine=Machine("mps2-an385"),  # a Cortex-M3: QEMU has no Cortex-M0+ with memory for a network
        ),
        Core(
            name="cortex-m3",
            features=Features(Isa.SCALAR, schedule="v7m"),
            zig_cpu="cortex_m3",
            engine_cpu="CORTEX_M3",
            pipeline="single",
            pipeline_cycles={"multiply_long": 2},
            machine=Machine("mps2-an385"),
        ),
        Core(
            name="cortex-m4",
            features=Features(Isa.DSP, schedule="single"),
            fpu=True,
            zig_cpu="cortex_m4",
            engine_cpu="CORTEX_M4",
            pipeline="single",
            machine=Machine("mps2-an386"),
        ),
        Core(
            name="cortex-m7",
            features=Features(Isa.DSP, schedule="dual"),
            fpu=True,
            zig_cpu="cortex_m7",
            engine_cpu="CORTEX_M7",
            pipeline="dual",
            machine=Machine("mps2-an500"),
        ),
        Core(
            name="cortex-m33",
            features=Features(Isa.DSP, schedule="single"),
            fpu=True,
            zig_cpu="cortex_m33+dsp",  # Zig's comes without the DSP extension that GCC's has
            engine_cpu="CORTEX_M33",
            pipeline="single",
            # QEMU's starts in the secure world, whose memories have addresses of their own.
            machine=Machine("mps2-an505", "0x10000000", "0x38000000", "2M"),
            alike="cortex-m4",
        ),
        Core(
            name="cortex-m52",
            features=Features(Isa.HELIUM, schedule="helium"),
            fpu=True,
            zig_cpu="cortex_m52",
            like_gcc="cortex-m55",
            engine="helium",
            engine_cpu="CORTEX_M33",  # the nearest that Unicorn knows
            pipeline="helium",
            pipeline_cycles={"vector": 4},
            machine=AN547,  # a Cortex-M55: QEMU has no other with Helium
        ),
        Core(
            name="cortex-m55",
            features=Features(Isa.HELIUM, schedule="helium"),
            fpu=True,
            zig_cpu="cortex_m55+mve_fp",  # Zig's comes without Helium
            engine="helium",
            engine_cpu="CORTEX_M33",
            pipeline="helium",
            machine=AN547,
        ),
        Core(
            name="cortex-m85",
            features=Features(Isa.HELIUM, schedule="helium"),
            fpu=True,
            zig_cpu="cortex_m85+mve_fp",
            like_gcc="cortex-m55",
            engine="helium",
            engine_cpu="CORTEX_M33",
            pipeline="helium",
            pipeline_cycles={"units": 2, "taken": 1, "first_round": 2},
            machine=AN547,
        ),
    )
}
