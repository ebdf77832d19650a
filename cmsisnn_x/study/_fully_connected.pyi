# SPDX-License-Identifier: Apache-2.0
from numpy.typing import NDArray

from ..scheme import Pow2

def fully_connected(
    x: NDArray, weights: NDArray, bias: NDArray, out: NDArray,
    requant: Pow2,
    unroll: int, block_rows: int, block_cols: int, im2col_cols: int,
    scratch: NDArray,
) -> None: ...  # fmt: skip
