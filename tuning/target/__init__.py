# SPDX-License-Identifier: Apache-2.0
"""Targets: a core's table and timing, and the boards that inherit one."""

from .cores import CORES as _CORES
from .file import (
    MEMORY,
    NEVER_FREE,
    NUMBERS,
    REFINEMENTS,
    TIMING,
    Target,
    find_target,
    list_targets,
    load_target,
)

CORES = tuple(_CORES)
"""Names of the cores, as `--target` takes them; what they can do: `tuning.target.cores`."""

__all__ = [
    "CORES",
    "MEMORY",
    "NEVER_FREE",
    "NUMBERS",
    "REFINEMENTS",
    "TIMING",
    "Target",
    "find_target",
    "list_targets",
    "load_target",
]
