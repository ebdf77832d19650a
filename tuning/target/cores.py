# SPDX-License-Identifier: Apache-2.0
"""The cores: one row each, with every fact that is not a number of cycles. Ask a row for a feature, never for its name.

A core's timing is data, with sources: ``configs/targets/<core>.yaml``.
"""

from __future__ import annotations

from dataclasses import dataclass

from cmsisnn_x.isa import Features, Isa


@dataclass(frozen=True)
class Machine:
    """A QEMU board with this core's instructions, and where its memories lie."""

    name: str
    flash_origin: str = "0x00000000"
    sram_origin: str = "0x20000000"
    sram_length: str = "4M"


@dataclass(frozen=True)
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
    zig_cpu : str
        As the Clang of the ``ziglang`` wheel spells it.
    machine : Machine
        For the example program of an emitted folder.
    engine : str
        What runs its code: ``"unicorn"``.
    alike : str or None
        The core whose emulated runs tell about this one's too: GCC writes nearly the same code for both, and the
        pipeline rules price it alike; where kernels were compared, cycles differed by 0.2 % in the median.
    """

    name: str
    features: Features
    thumb2: bool
    zig_cpu: str
    machine: Machine
    engine: str = "unicorn"
    alike: str | None = None


CORES: dict[str, Core] = {
    core.name: core
    for core in (
        # QEMU has no Cortex-M0+ with memory for a network; the Cortex-M3 runs its instructions.
        Core("cortex-m0plus", Features(Isa.SCALAR, False, "v6m"), False, "cortex_m0plus", Machine("mps2-an385")),
        Core("cortex-m3", Features(Isa.SCALAR, True, "v7m"), True, "cortex_m3", Machine("mps2-an385")),
        Core("cortex-m4", Features(Isa.DSP, True, "single"), True, "cortex_m4", Machine("mps2-an386")),
        Core("cortex-m7", Features(Isa.DSP, True, "dual"), True, "cortex_m7", Machine("mps2-an500")),
        # QEMU's M33 starts in the secure world, whose memories have addresses of their own. Zig's comes without the DSP
        # extension that GCC's has.
        Core(
            "cortex-m33", Features(Isa.DSP, True, "single"), True, "cortex_m33+dsp",
            Machine("mps2-an505", "0x10000000", "0x38000000", "2M"), alike="cortex-m4",
        ),
    )
}  # fmt: skip
