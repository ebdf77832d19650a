# SPDX-License-Identifier: Apache-2.0
from numpy.typing import NDArray

def pool(
    x: NDArray, out: NDArray, is_max: bool,
    kernel_h: int, kernel_w: int, stride_y: int, stride_x: int, pad_top: int, pad_left: int,
) -> None: ...  # fmt: skip
