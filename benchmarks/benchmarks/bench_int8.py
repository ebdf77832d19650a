# SPDX-License-Identifier: Apache-2.0
"""int8: layers and networks on the host, cycles of the networks on devices, and errors of their estimates."""

from __future__ import annotations

import tempfile
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np

from cmsisnn_x import _simd
from cmsisnn_x.network import Network

from .bench_kernels import seconds
from .bench_tuning import CORES, HELIUM
from .mlperf import NETWORKS
from .paper import LAYERS, POOLS, draw, of_bytes, trained


def load(name: str) -> Any:
    """The model of a network."""
    import tuning

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.tflite"
        path.write_bytes(NETWORKS[name]())
        return tuning.load_model(path)


class _Host(ABC):
    param_names = ("what", "isa")

    @abstractmethod
    def made(self, what: str, isa: str) -> Network:
        """What is timed."""

    def setup(self, what: str, isa: str) -> None:
        if isa not in _simd.available():
            raise NotImplementedError(f"{isa} is not supported by this processor")
        self.network = self.made(what, isa)
        self.x = draw("x", self.network.input_shape, "q7")

    def time_run(self, what: str, isa: str) -> None:
        """One sample, and the Python call."""
        self.network.run(self.x)

    def track_gmacs(self, what: str, isa: str) -> float:
        products = sum(layer.macs for layer in self.network.layers)
        if not products:
            return float("nan")  # of pools; after `setup`, NotImplementedError is a failure to asv
        return products / seconds(lambda: self.network.run(self.x), 0.1) * 1e-9

    track_gmacs.unit = "GMAC/s"

    def track_bit_exact(self, what: str, isa: str) -> int:
        """Every tensor is that of portable C."""
        found, wanted = self.network.trace(self.x), self.made(what, "portable").trace(self.x)
        return int(all(np.array_equal(found[name], wanted[name]) for name in wanted))

    track_bit_exact.unit = "1 = every bit"


class Int8Layers(_Host):
    params = ((*LAYERS, *POOLS), _simd.built())

    def made(self, what: str, isa: str) -> Network:
        return Network([trained(LAYERS[what]) if what in LAYERS else of_bytes(POOLS[what])], isa=isa)


class MlperfHost(_Host):
    params = (tuple(NETWORKS), _simd.built())

    def made(self, what: str, isa: str) -> Network:
        return Network(load(what).network().graph, isa=isa)


class MlperfBatch:
    """64 samples shared by threads."""

    params = (tuple(NETWORKS), (1, 2))
    param_names = ("network", "threads")

    def setup(self, network: str, threads: int) -> None:
        self.network = load(network).network()
        self.x = draw("batch", (64, *self.network.input_shape), "q7")

    def time_batch(self, network: str, threads: int) -> None:
        self.network.run(self.x, threads=threads)


class MlperfDevice:
    """The firmware of the estimate's plan, compiled and emulated."""

    params = (tuple(NETWORKS), (*CORES, *HELIUM))
    param_names = ("network", "target")
    timeout = 3600

    def setup_cache(self) -> dict[tuple[str, str], tuple[int, float, int]]:
        """Cycles, those that the plan said, and whether every bit is right; once for all that follows."""
        import tuning
        from tuning.emulate import find_toolchain
        from tuning.measure import folder

        found = {}
        for network in NETWORKS:
            model = load(network)
            for target in self.params[1]:
                plan = tuning.tune(model, tuning.load_target(target))
                with tempfile.TemporaryDirectory() as name:
                    tuning.emit(plan, name)
                    firmware = folder.load(Path(name))
                    result = folder.verify(firmware, find_toolchain(), folder.draw_inputs(firmware, 1))
                found[network, target] = (result.trace.cycles, plan.totals["cycles"], int(result.exact))
        return found

    def track_cycles(self, found: dict[tuple[str, str], tuple[int, float, int]], network: str, target: str) -> int:
        """Emulated cycles of one inference."""
        return found[network, target][0]

    track_cycles.unit = "cycles"

    def track_error(self, found: dict[tuple[str, str], tuple[int, float, int]], network: str, target: str) -> float:
        """Of the plan's total, against them."""
        cycles, estimate, _ = found[network, target]
        return 100 * (estimate / cycles - 1)

    track_error.unit = "%"

    def track_bit_exact(self, found: dict[tuple[str, str], tuple[int, float, int]], network: str, target: str) -> int:
        return found[network, target][2]

    track_bit_exact.unit = "1 = every bit"


class Int8EstimateError:
    """Error of the estimate on layers that were never fitted, as the committed coefficients record it."""

    OPS = ("conv2d", "depthwise_conv2d", "fully_connected", "add", "avg_pool2d", "softmax")
    params = ((*CORES, *HELIUM), OPS, ("median", "worst"))
    param_names = ("core", "op", "which")

    def track_percent(self, core: str, op: str, which: str) -> float:
        import tuning
        from tuning.cost import expected_error

        found = expected_error(op, tuning.load_target(core), "int8")
        return float("nan") if found is None else 100 * found[which == "worst"]

    track_percent.unit = "%"
