# SPDX-License-Identifier: Apache-2.0
"""What can go wrong when code is compiled and run: one sentence each, with the address and the symbol."""

from __future__ import annotations

from typing import Literal

from ..base.errors import MissingToolError, TuningError, install

Failure = Literal["compile error", "fault", "timeout"]


class DeviceError(TuningError):
    """Code for a core could not be made, or not run.

    Attributes
    ----------
    failure : {"compile error", "fault", "timeout"}
        What a record calls it.
    passing : bool
        Whether the machine that it happened on is to blame, not the code: another try may do.
    """

    def __init__(self, message: str, *, failure: Failure, passing: bool = False) -> None:
        super().__init__(message)
        self.failure = failure
        self.passing = passing


class ToolchainError(DeviceError):
    """The compiler refused the source, or the linker the objects."""

    def __init__(self, message: str, *, failure: Failure = "compile error", passing: bool = False) -> None:
        super().__init__(message, failure=failure, passing=passing)


class EmulationError(DeviceError):
    """An ELF file cannot be loaded, or the code in it did something that a Cortex-M faults on.

    Attributes
    ----------
    address : int or None
        Address of the instruction that was running.
    symbol : str or None
        Function that holds it.
    """

    def __init__(
        self, message: str, *, address: int | None = None, symbol: str | None = None, failure: Failure = "fault"
    ) -> None:
        super().__init__(message, failure=failure)
        self.address = address
        self.symbol = symbol


def missing_extra(what: str) -> MissingToolError:
    """`what` is not there, a clause."""
    return MissingToolError(f"{what}; emulation needs it: {install('firmware')}")
