# SPDX-License-Identifier: Apache-2.0
"""Targets: a core's table and timing, and the boards that inherit one."""

from .file import (
    CORES,
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
