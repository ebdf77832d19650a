# SPDX-License-Identifier: Apache-2.0
"""Entry points of the commands. Ctrl-C is heard before anything is imported that takes time, and whatever an import
makes of it ends as in `program.run`.
"""

from __future__ import annotations

import os
import signal
import sys
from importlib import import_module
from types import FrameType

heard = False


def tune() -> None:
    """``cmsisnn-tune``."""
    _start("main")


def verify() -> None:
    """``cmsisnn-verify``."""
    _start("verify")


def quantize() -> None:
    """``cmsisnn-quantize``."""
    _start("quantize")


def _start(module: str) -> None:
    os.environ["PYTHONSAFEPATH"] = "1"  # processes that are started import nothing from the current directory
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _hear)
    try:
        import_module(f".{module}", __package__).main()
    except SystemExit:
        raise
    except BaseException:
        if not heard:
            raise
        print("interrupted", file=sys.stderr)
        raise SystemExit(128 + signal.SIGINT) from None


def _hear(number: int, frame: FrameType | None) -> None:
    global heard
    heard = True
    signal.default_int_handler(number, frame)
