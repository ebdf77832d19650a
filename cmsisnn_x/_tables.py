# SPDX-License-Identifier: Apache-2.0
"""The 256-entry tables of sigmoid and tanh, evaluated from their formula."""

from __future__ import annotations

import math
from functools import cache

import numpy as np


def _logistic(x: float) -> float:
    return 1.0 / (1.0 + math.exp(-x))


FUNCTIONS = {"sigmoid": _logistic, "tanh": math.tanh}


@cache
def activation_table(function: str, dtype: str) -> np.ndarray:
    """Table of `function` over [-8, 8) in steps of 1/16, indexed by a two's-complement byte.

    ``T[t mod 256] = min( floor( f(t / 16) * 2^(N-1) + 1/2 ), 2^(N-1) - 1 )`` for t = -128 .. 127.

    Parameters
    ----------
    function : {"sigmoid", "tanh"}
    dtype : {"q7", "q15"}

    Returns
    -------
    numpy.ndarray
        256 read-only elements, int8 or int16: CMSIS-NN's own four tables.

    Examples
    --------
    >>> activation_table("tanh", "q7")[[0, 1, 127, 128, 255]].tolist()
    [0, 8, 127, -128, -8]
    """
    one = 1 << (7 if dtype == "q7" else 15)
    table = np.empty(256, np.int8 if dtype == "q7" else np.int16)
    for t in range(-128, 128):
        table[t & 0xFF] = min(math.floor(FUNCTIONS[function](t / 16) * one + 0.5), one - 1)
    table.flags.writeable = False
    return table
