# SPDX-License-Identifier: Apache-2.0
"""The paper's network with packed weights, by every instruction set; batches by threads; import time."""

from __future__ import annotations

import numpy as np

from cmsisnn_x import _simd
from cmsisnn_x.network import Network

from .bench_kernels import seconds
from .paper import convolution, depthwise, draw, exact, macs, paper_network, with_zero_points


class PaperNetwork:
    params = (("q7", "q15"), _simd.built())
    param_names = ("dtype", "isa")

    def setup(self, dtype: str, isa: str) -> None:
        if isa not in _simd.available():
            raise NotImplementedError(f"{isa} is not supported by this processor")
        self.layers = paper_network(dtype)
        self.network = Network(self.layers, isa=isa)
        self.x = draw("x", self.layers[0].input_shape, dtype)

    def time_image(self, dtype: str, isa: str) -> None:
        self.network.run(self.x)

    def track_gmacs(self, dtype: str, isa: str) -> float:
        return macs(self.layers) / seconds(lambda: self.network.run(self.x), 0.1) * 1e-9

    track_gmacs.unit = "GMAC/s"

    def track_conv2_gmacs(self, dtype: str, isa: str) -> float:
        """conv2 alone: 5x5, 32 -> 32 channels on 16x16."""
        layer = self.layers[2]
        network, x = Network([layer], isa=isa), draw("x2", layer.input_shape, dtype)
        return layer.macs / seconds(lambda: network.run(x), 0.1) * 1e-9

    track_conv2_gmacs.unit = "GMAC/s"

    def track_bit_exact(self, dtype: str, isa: str) -> int:
        """Every layer of a random image."""
        x, same = self.x, True
        for layer, out in zip(self.layers, self.network.trace(self.x).values(), strict=True):
            same &= np.array_equal(out, exact(layer, x))
            x = out
        return int(same)

    track_bit_exact.unit = "1 = every bit"


class ZeroPoints:
    """Packed layers of int8 beside the same weights in q7: what zero points and factors per channel cost."""

    params = (("conv2", "pointwise", "depthwise"), ("q7", "int8"), _simd.built())
    param_names = ("layer", "dtype", "isa")

    def setup(self, layer: str, dtype: str, isa: str) -> None:
        if isa not in _simd.available():
            raise NotImplementedError(f"{isa} is not supported by this processor")
        made = {
            "conv2": convolution("conv2", 16, 32, 32, 5),
            "pointwise": convolution("pointwise", 16, 64, 64, 1),
            "depthwise": depthwise("depthwise", 16, 64, 3),
        }[layer]
        self.layer = made if dtype == "q7" else with_zero_points(made)
        self.network = Network([self.layer], isa=isa)
        self.x = draw("x", (16, *made.input_shape), dtype)

    def time_batch(self, layer: str, dtype: str, isa: str) -> None:
        self.network.run(self.x)

    def track_gmacs(self, layer: str, dtype: str, isa: str) -> float:
        return len(self.x) * self.layer.macs / seconds(lambda: self.network.run(self.x), 0.1) * 1e-9

    track_gmacs.unit = "GMAC/s"

    def track_bit_exact(self, layer: str, dtype: str, isa: str) -> int:
        """Of every instruction set, those of portable C."""
        return int(np.array_equal(self.network.run(self.x), Network([self.layer], isa="portable").run(self.x)))

    track_bit_exact.unit = "1 = every bit"


class Batch:
    """256 images shared by threads."""

    params = (1, 2, 4)
    param_names = ("threads",)

    def setup(self, threads: int) -> None:
        self.network = Network(paper_network())
        self.x = draw("batch", (256, 32, 32, 3), "q7")

    def time_batch(self, threads: int) -> None:
        self.network.run(self.x, threads=threads)

    def peakmem_batch(self, threads: int) -> None:
        self.network.run(self.x, threads=threads)

    def peakmem_reference(self, threads: int) -> None:
        """The process with its data, before any layer ran: what the other figure starts from."""


class Import:
    def timeraw_import(self) -> str:
        return "import cmsisnn_x"
