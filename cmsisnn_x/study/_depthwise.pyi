# SPDX-License-Identifier: Apache-2.0
from numpy.typing import NDArray

from ..scheme import Pow2

def depthwise_convolve(
    x: NDArray, weights: NDArray, bias: NDArray, out: NDArray,
    stride_y: int, stride_x: int, pad_top: int, pad_left: int,
    requant: Pow2,
    unroll: int, block_rows: int, block_cols: int, im2col_cols: int,
    scratch: NDArray,
) -> None: ...  # fmt: skip
