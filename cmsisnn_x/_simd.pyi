# SPDX-License-Identifier: Apache-2.0
from typing import Any

from numpy.typing import NDArray

from .scheme import Pow2

Array = NDArray[Any]
Pair = tuple[int, ...]

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
    requant: Pow2,
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
    requant: Pow2,
    *,
    isa: str | None = None,
) -> None: ...
def fully_connected(
    x: Array,
    weights: Array,
    bias: Array | None,
    out: Array,
    requant: Pow2,
    *,
    isa: str | None = None,
) -> None: ...
def max_pool(x: Array, out: Array, kernel: Pair, stride: Pair, pad: Pair, *, isa: str | None = None) -> None: ...
def avg_pool(x: Array, out: Array, kernel: Pair, stride: Pair, pad: Pair, *, isa: str | None = None) -> None: ...
def relu(x: Array, out: Array, *, isa: str | None = None) -> None: ...

class Counter: ...

class Executor:
    isa_name: str
    def __init__(self, isa: str | None = None) -> None: ...
    def weighted(
        self,
        depthwise: bool,
        wide: bool,
        input_shape: Pair,
        output_shape: Pair,
        kernel: Pair,
        stride: Pair,
        pad: Pair,
        requant: Pow2,
        weights: Array,
        bias: Array | None,
    ) -> None: ...
    def pool(
        self,
        maximum: bool,
        wide: bool,
        input_shape: Pair,
        output_shape: Pair,
        kernel: Pair,
        stride: Pair,
        pad: Pair,
    ) -> None: ...
    def element_wise(self, op: str, wide: bool, count: int, table: Array | None = None, int_bits: int = 0) -> None: ...
    def finish(self) -> None: ...
    def run(self, x: Array, out: Array, samples: int) -> None: ...
    def share(self, x: Array, out: Array, samples: int, counter: Counter) -> None: ...
    def run_step(self, index: int, x: Array, out: Array) -> None: ...
