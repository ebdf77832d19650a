# SPDX-License-Identifier: Apache-2.0
"""What can go wrong when code is compiled and run: one sentence each, with the address and the symbol."""

from __future__ import annotations

from ..base.errors import MissingToolError, TuningError


class ToolchainError(TuningError):
    """The compiler refused the source, or the linker the objects."""


class EmulationError(TuningError):
    """An ELF file cannot be loaded, or the code in it did something that a Cortex-M faults on.

    Attributes
    ----------
    address : int or None
        Address of the instruction that was running.
    symbol : str or None
        Function that holds it.
    """

    def __init__(self, message: str, *, address: int | None = None, symbol: str | None = None) -> None:
        super().__init__(message)
        self.address = address
        self.symbol = symbol


def missing_extra(package: str) -> MissingToolError:
    return MissingToolError(f"{package} is not installed; emulation needs it: pip install 'cmsisnn-x[firmware]'")
