# SPDX-License-Identifier: Apache-2.0
from numpy.typing import NDArray

def look_up(x: NDArray, table: NDArray, int_bits: int, out: NDArray) -> None: ...
