# SPDX-License-Identifier: Apache-2.0
from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]
Pair = tuple[int, ...]
Scheme = Any

def built() -> tuple[str, ...]: ...
def available() -> tuple[str, ...]: ...
def chosen() -> str: ...
def describe() -> str: ...
def convolve(
    x: Array,
    weights: Array,
    bias: Array | None,
    out: Array,
    stride_y: int,
    stride_x: int,
    pad_top: int,
    pad_left: int,
    requant: Scheme,
    dilation: Pair = ...,
    groups: int = ...,
    *,
    isa: str | None = None,
) -> None: ...
def depthwise_convolve(
    x: Array,
    weights: Array,
    bias: Array | None,
    out: Array,
    stride_y: int,
    stride_x: int,
    pad_top: int,
    pad_left: int,
    requant: Scheme,
    dilation: Pair = ...,
    *,
    isa: str | None = None,
) -> None: ...
def fully_connected(
    x: Array,
    weights: Array,
    bias: Array | None,
    out: Array,
    requant: Scheme,
    *,
    isa: str | None = None,
) -> None: ...
def max_pool(
    x: Array, out: Array, kernel: Pair, stride: Pair, pad: Pair, scheme: Scheme = None, *, isa: str | None = None
) -> None: ...
def avg_pool(
    x: Array, out: Array, kernel: Pair, stride: Pair, pad: Pair, scheme: Scheme = None, *, isa: str | None = None
) -> None: ...
def relu(x: Array, out: Array, *, isa: str | None = None) -> None: ...
