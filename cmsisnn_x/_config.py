# SPDX-License-Identifier: Apache-2.0
"""Where the C headers are, and what was built."""

from __future__ import annotations

import platform
from pathlib import Path

import numpy as np


def get_include() -> str:
    """Directory of the C headers: compile firmware with ``-I`` and it, then ``#include "cmsisnn_x/convolve.h"``.

    Returns
    -------
    str
    """
    return str(Path(__file__).parent / "include")


def show_config() -> None:
    """Print the versions, what was built and which code path ``variant=None`` takes."""
    from . import _build_info, _simd
    from ._version import __version__

    rows = {
        "cmsisnn-x": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        **_build_info.build_info(),
        "machine": platform.machine(),
        "headers": get_include(),
        "kernels": _simd.describe(),
    }
    width = max(map(len, rows))
    for name, value in rows.items():
        print(f"{name:<{width}}  {value}")
