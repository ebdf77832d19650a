# SPDX-License-Identifier: Apache-2.0
"""The cores that tests loop over: products are made of the plain ones; those with Helium join where they differ."""

from __future__ import annotations

from cmsisnn_x.isa import Features, Isa
from cmsisnn_x.op import device_variants
from cmsisnn_x.variant import Variant
from tuning.target.cores import CORES

PLAIN = tuple(name for name, core in CORES.items() if not core.helium)
HELIUM = tuple(name for name, core in CORES.items() if core.helium)
FEATURES = Features(Isa.HELIUM, schedule="helium")
"""Of every core with Helium."""


def helium_variants(op: str, dtype: str) -> tuple[Variant, ...]:
    """The kernels that cores with Helium alone have."""
    others = set(device_variants(op, dtype, Features(Isa.DSP)))
    return tuple(variant for variant in device_variants(op, dtype, FEATURES) if variant not in others)
