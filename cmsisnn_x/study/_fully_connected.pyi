# SPDX-License-Identifier: Apache-2.0
from numpy.typing import NDArray

def fully_connected(
    x: NDArray, weights: NDArray, bias: NDArray, out: NDArray,
    bias_shift: int, out_shift: int, relu: bool,
    unroll: int, block_rows: int, block_cols: int, im2col_cols: int,
    scratch: NDArray,
) -> None: ...  # fmt: skip
