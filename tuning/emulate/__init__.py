# SPDX-License-Identifier: Apache-2.0
"""Compile for a Cortex-M, run the code in an emulator, and price what ran.

::

    C source --Toolchain.build--> ELF --Emulator.call--> edge counts --pipeline--> Trace{instructions, cycles, blocks}

Only this package runs programs. It needs the ``firmware`` extra: Unicorn, Capstone and pyelftools, and Clang from the
``ziglang`` wheel where no ``arm-none-eabi-gcc`` is on PATH.
"""

from __future__ import annotations

from .emulator import DEFAULT_BUDGET, Buffer, Emulator, Symbol
from .errors import EmulationError, ToolchainError
from .toolchain import Toolchain, find_toolchain, prefer_toolchain, toolchain_of
from .trace import BlockTrace, SymbolTrace, Trace

__all__ = [
    "DEFAULT_BUDGET",
    "BlockTrace",
    "Buffer",
    "EmulationError",
    "Emulator",
    "Symbol",
    "SymbolTrace",
    "Toolchain",
    "ToolchainError",
    "Trace",
    "find_toolchain",
    "prefer_toolchain",
    "toolchain_of",
]
