# SPDX-License-Identifier: Apache-2.0
"""What the tuner promises, and how long it takes to say so: cycles, errors of the estimate, time by layers."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

CORES = ("cortex-m0plus", "cortex-m3", "cortex-m4", "cortex-m7", "cortex-m33")
HELIUM = ("cortex-m52", "cortex-m55", "cortex-m85")
"""Cores with vectors."""


class Cifar10:
    params = CORES
    param_names = ("target",)

    def setup(self, target: str) -> None:
        import tuning

        self.model, self.target = tuning.load_model("cifar10"), tuning.load_target(target)

    def track_cycles(self, target: str) -> float:
        """Estimated cycles of one inference with the chosen variants."""
        import tuning

        return tuning.tune(self.model, self.target).totals["cycles"]

    track_cycles.unit = "cycles"

    def time_tune(self, target: str) -> None:
        import tuning

        tuning.tune(self.model, self.target)

    def time_from_process_start(self, target: str) -> None:
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-P", "-m", "tuning", "cifar10", "--target", target, "-q", "-o", folder]
            subprocess.run(command, check=True)

    def track_variants_per_second(self, target: str) -> float:
        """How many variants of conv2 the cost model estimates in a second of this processor."""
        from tuning.cost import estimate_space
        from tuning.search.space import search_space

        layer = self.model.layers[2]
        few = search_space(layer, self.target).variants
        many = few * (40_000 // len(few))
        estimate_space(layer, few, self.target)
        started = time.process_time()
        estimate_space(layer, many, self.target)
        return len(many) / (time.process_time() - started)

    track_variants_per_second.unit = "variants/s"


class EmulatedCifar10:
    """The same plan, compiled and emulated: a regression of a kernel, of the choice or of the pricing is a step."""

    params = (*CORES, *HELIUM)
    param_names = ("target",)
    timeout = 300

    def setup_cache(self) -> dict[str, tuple[int, int, int]]:
        """Cycles, instructions, and whether every bit is right; once for all that follows."""
        import tuning
        from tuning.emulate import find_toolchain
        from tuning.measure import folder

        found = {}
        for target in self.params:
            with tempfile.TemporaryDirectory() as name:
                tuning.emit(tuning.tune(tuning.load_model("cifar10"), tuning.load_target(target)), name)
                firmware = folder.load(Path(name))
                result = folder.verify(firmware, find_toolchain(), folder.draw_inputs(firmware, 1))
            found[target] = (result.trace.cycles, result.trace.instructions, int(result.exact))
        return found

    def track_cycles(self, found: dict[str, tuple[int, int, int]], target: str) -> int:
        """Emulated cycles of one inference."""
        return found[target][0]

    track_cycles.unit = "cycles"

    def track_instructions(self, found: dict[str, tuple[int, int, int]], target: str) -> int:
        return found[target][1]

    track_instructions.unit = "instructions"

    def track_bit_exact(self, found: dict[str, tuple[int, int, int]], target: str) -> int:
        return found[target][2]

    track_bit_exact.unit = "1 = every bit"


class EstimateError:
    """Error of the estimate on layers that were never fitted, as the committed coefficients record it."""

    OPS = ("conv2d", "depthwise_conv2d", "fully_connected")
    params = ((*CORES, *HELIUM), OPS, ("median", "worst"))
    param_names = ("core", "op", "which")

    def setup(self, core: str, op: str, which: str) -> None:
        import tuning
        from tuning.cost import expected_error

        found = expected_error(op, tuning.load_target(core))
        if found is None:
            raise NotImplementedError(f"no {op} of {core} was kept from the fit")
        self.percent = 100 * found[which == "worst"]

    def track_percent(self, core: str, op: str, which: str) -> float:
        return self.percent

    track_percent.unit = "%"


def deep(layers: int) -> str:
    """A model file of that many layers: 3x3, depthwise and 1x1 convolutions of several widths, and relu."""
    lines = ["schema: 1", "name: deep", "input: {shape: [16, 16, 8], dtype: q7}", "layers:"]
    for at in range(layers):
        width = 8 + 4 * (at // 4 % 3)
        op = (
            f"conv2d, out_channels: {width}, kernel: 3, padding: 1, out_shift: 8",
            "depthwise_conv2d, kernel: 3, padding: 1, out_shift: 6",
            f"conv2d, out_channels: {width}, kernel: 1, out_shift: 7",
            "relu",
        )[at % 4]
        lines.append(f"  - {{name: l{at}, op: {op}}}")
    return "\n".join(lines) + "\n"


class Scale:
    """Load, tune and emit networks of growing depth: time per layer must not grow, memory hardly."""

    params = (25, 50, 100, 200)
    param_names = ("layers",)
    timeout = 300

    def setup(self, layers: int) -> None:
        import tuning

        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "deep.yaml"
        self.path.write_text(deep(layers), encoding="utf-8")
        self.target = tuning.load_target("cortex-m4")

    def teardown(self, layers: int) -> None:
        self.folder.cleanup()

    def run(self) -> None:
        import tuning

        tuning.emit(tuning.tune(tuning.load_model(self.path), self.target), Path(self.folder.name) / "out")

    def track_seconds_per_layer(self, layers: int) -> float:
        start = time.process_time()
        self.run()
        return (time.process_time() - start) / layers

    track_seconds_per_layer.unit = "s"

    def peakmem_all(self, layers: int) -> None:
        self.run()


class TwoMillionWeights(Scale):
    """One dense layer of 2,097,152 weights."""

    params = (1,)

    def setup(self, layers: int) -> None:
        super().setup(layers)
        text = deep(1).replace("out_channels: 8", "out_channels: 16")
        self.path.write_text(f"{text}  - {{name: fc, op: fully_connected, out_features: 512, out_shift: 9}}\n")
