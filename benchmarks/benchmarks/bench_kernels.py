# SPDX-License-Identifier: Apache-2.0
"""Every operation x dtype x code path: instruction sets of the vector kernels, and variants from the registry.

A call includes packing, as ``variant=None`` does; packed weights are measured in bench_network.py.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod

import numpy as np

import cmsisnn_x
from cmsisnn_x import _simd
from cmsisnn_x.layers import Layer
from cmsisnn_x.op import OPS

from .paper import convolution, dense, depthwise, draw, exact, max_pool


def chosen_variants(op: str) -> dict[str, cmsisnn_x.Variant]:
    """The paper's baseline, and every block of the registry with unroll 4 and the smallest buffer.

    All that are registered would take an hour.
    """
    rows = cmsisnn_x.variants(op, "q7")
    return {str(v): v for v in rows if v == cmsisnn_x.BASELINE or (v.unroll == 4 and v.im2col_cols == v.block_cols)}


def seconds(call, budget: float = 0.02) -> float:
    """The best of the calls that fit into `budget`."""
    best, end = float("inf"), time.perf_counter() + budget
    while time.perf_counter() < end or best == float("inf"):
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return best


class _Kernels(ABC):
    """A layer by one code path; subclasses name the operation."""

    op: str
    param_names = ("dtype", "path")

    @abstractmethod
    def layer(self, dtype: str) -> Layer:
        """What is timed."""

    def setup(self, dtype: str, path: str) -> None:
        layer = self.layer(dtype)
        self.spec, self.x = layer, draw("x", layer.input_shape, dtype)
        self.out = np.full(layer.output_shape, 0x5B, layer.numpy_dtype)
        arguments = {"bias_shift": layer.bias_shift, "out_shift": layer.out_shift, "activation": layer.activation}
        if self.op != "fully_connected":
            arguments["padding"] = (layer.padding[0][0], layer.padding[1][0])
        if path in _simd.built():
            if path not in _simd.available():
                raise NotImplementedError(f"{path} is not supported by this processor")
            if self.op == "fully_connected":
                arrays = self.x.reshape(1, -1), layer.weights, layer.bias, self.out[None]
                self.call = lambda: _simd.fully_connected(*arrays, layer.requant, isa=path)
            else:
                run, arrays = getattr(_simd, self.op), (self.x[None], layer.weights, layer.bias, self.out[None])
                self.call = lambda: run(*arrays, 1, 1, *arguments["padding"], layer.requant, isa=path)
        else:
            variant, run = chosen_variants(self.op)[path], getattr(cmsisnn_x, self.op)
            self.call = lambda: run(self.x, layer.weights, layer.bias, variant=variant, out=self.out, **arguments)

    def time_call(self, dtype: str, path: str) -> None:
        self.call()

    def track_gmacs(self, dtype: str, path: str) -> float:
        return self.spec.macs / seconds(self.call) * 1e-9

    track_gmacs.unit = "GMAC/s"

    def track_bit_exact(self, dtype: str, path: str) -> int:
        self.call()
        return int(np.array_equal(self.out, exact(self.spec, self.x)))

    track_bit_exact.unit = "1 = every bit"


class Convolve(_Kernels):
    """conv2 of the paper's network, half as wide: 5x5, 32 -> 16 channels on 16x16."""

    op = "convolve"
    params = (("q7", "q15"), (*_simd.built(), *chosen_variants("convolve")))

    def layer(self, dtype: str) -> Layer:
        return convolution("bench_conv", 16, 32, 16, 5, dtype)


class DepthwiseConvolve(_Kernels):
    """3x3 on 16x16x32."""

    op = "depthwise_convolve"
    params = (("q7", "q15"), (*_simd.built(), *chosen_variants("depthwise_convolve")))

    def layer(self, dtype: str) -> Layer:
        return depthwise("bench_depthwise", 16, 32, 3, dtype)


class FullyConnected(_Kernels):
    """1024 -> 64, one sample."""

    op = "fully_connected"
    params = (("q7", "q15"), (*_simd.built(), *chosen_variants("fully_connected")))

    def layer(self, dtype: str) -> Layer:
        return dense("bench_dense", (1024,), 64, dtype)


class ElementWise:
    """Operations without weights, by the public functions."""

    NAMES = (*(name for name, row in OPS.items() if row.is_pow2 and not row.is_weighted), "q7_to_q15")
    params = (NAMES, ("q7", "q15"))
    param_names = ("op", "dtype")

    def setup(self, op: str, dtype: str) -> None:
        layer = max_pool("bench_pool", 32, 32, dtype)
        x = draw("x", layer.input_shape, dtype)
        run = getattr(cmsisnn_x, op)
        if op.endswith("pool"):
            self.call = lambda: run(x, layer.kernel, stride=layer.stride, ceil_mode=True)
        elif op in OPS and OPS[op].has_table:
            self.call = lambda: run(x, 1)
        elif op == "multiply":
            self.call = lambda: run(x, x, out_shift=7)
        elif op == "softmax":
            vector = x.reshape(-1)[:1000]
            self.call = lambda: run(vector)
        elif op == "q7_to_q15" and dtype == "q15":
            raise NotImplementedError("q15 is what it makes")
        else:
            self.call = lambda: run(x)

    def time_call(self, op: str, dtype: str) -> None:
        self.call()
