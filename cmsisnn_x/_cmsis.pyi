# SPDX-License-Identifier: Apache-2.0
from typing import Any

import numpy as np
from numpy.typing import NDArray

Int8 = NDArray[np.int8]
Int16 = NDArray[np.int16]
Int32 = NDArray[np.int32]

def accumulate(
    x: NDArray[Any],
    weights: NDArray[Any],
    start: Int32,
    acc: Int32,
    in_h: int,
    in_w: int,
    in_ch: int,
    out_ch: int,
    kernel_h: int,
    kernel_w: int,
    padding_y: int,
    padding_x: int,
    stride_y: int,
    stride_x: int,
    out_h: int,
    out_w: int,
    signed_char: bool,
) -> None: ...
def accumulate_depthwise(
    x: Int8,
    weights: Int8,
    start: Int32,
    acc: Int32,
    in_h: int,
    in_w: int,
    channels: int,
    kernel_h: int,
    kernel_w: int,
    padding_y: int,
    padding_x: int,
    stride_y: int,
    stride_x: int,
    out_h: int,
    out_w: int,
) -> None: ...
def max_pool_in_place(
    image: Int8, out: Int8, size: int, channels: int, kernel: int, padding: int, stride: int, out_size: int
) -> None: ...
def avg_pool_in_place(
    image: Int8,
    out: Int8,
    buffer: Int16,
    size: int,
    channels: int,
    kernel: int,
    padding: int,
    stride: int,
    out_size: int,
) -> None: ...
def pool_clipped(
    image: Int8,
    out: Int8,
    average: bool,
    size: int,
    channels: int,
    kernel: int,
    padding: int,
    stride: int,
    out_size: int,
) -> None: ...
