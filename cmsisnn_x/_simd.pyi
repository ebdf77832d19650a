# SPDX-License-Identifier: Apache-2.0
from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from .affine_linear import Linear
from .layers import View

Array = NDArray[Any]
Pair = tuple[int, ...]
Scheme = Any
Place = tuple[str, Any]

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
        requant: Scheme,
        weights: Array,
        bias: Array | None,
        dilation: Pair = ...,
        groups: int = ...,
        samples: int = ...,
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
        scheme: Scheme = None,
        samples: int = ...,
    ) -> None: ...
    def element_wise(self, op: str, wide: bool, count: int, table: Array | None = None, int_bits: int = 0) -> None: ...
    def pair(
        self,
        op: str,
        wide: bool,
        count: int,
        period: int,
        scheme: Scheme,
        samples: int = ...,
        linear: Linear | None = ...,
    ) -> None: ...
    def look_up(self, count: int, table: Array) -> None: ...
    def requantise(self, count: int, in_dtype: object, out_dtype: object, scheme: Scheme) -> None: ...
    def mean(self, dtype: object, image: Pair, scheme: Scheme, samples: int = ...) -> None: ...
    def softmax_rows(self, rows: int, cols: int, scheme: Scheme) -> None: ...
    def softmax_real_rows(self, rows: int, cols: int, scheme: Scheme) -> None: ...
    def softmax_wide_rows(self, rows: int, cols: int, scheme: Scheme) -> None: ...
    def curve(self, count: int, points: Array, scheme: Scheme) -> None: ...
    def concat(self, rows: int, samples: int = ...) -> None: ...
    def move(
        self, size: int, view: View, out_count: int, scatter: bool, fill: int = ..., samples: int = ...
    ) -> None: ...
    def resize_nearest(self, size: int, output_image: Pair, table: Array, samples: int = ...) -> None: ...
    def connect(self, inputs: Sequence[Place], output: Place, in_pitches: Sequence[int], out_pitch: int) -> None: ...
    def remember(self, states: Sequence[tuple[Place, Array]]) -> None: ...
    def finish(self, in_bytes: Sequence[int], out_bytes: Sequence[int], tensor_bytes: int) -> None: ...
    def run(self, inputs: Sequence[Array], outputs: Sequence[Array], samples: int) -> None: ...
    def share(self, inputs: Sequence[Array], outputs: Sequence[Array], samples: int, counter: Counter) -> None: ...
    def run_step(self, index: int, inputs: Sequence[Array], out: Array) -> None: ...

class Call:
    def __init__(
        self,
        executor: Executor,
        images: Sequence[tuple[tuple[int, ...], tuple[int, ...]]],
        in_dtype: object,
        out_dtype: object,
    ) -> None: ...
    def run(self, x: object) -> Array | None: ...
