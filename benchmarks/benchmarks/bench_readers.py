# SPDX-License-Identifier: Apache-2.0
"""Reading networks: `.tflite` files, the same as model files in YAML, and emitted folders."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from .mlperf import NETWORKS

KINDS = ("tflite", "yaml", "folder")


class Readers:
    params = (tuple(NETWORKS), KINDS)
    param_names = ("network", "kind")

    def setup(self, network: str, kind: str) -> None:
        import tuning
        from tuning.importers.tflite import file
        from tuning.importers.yaml.writer import write_yaml_graph
        from tuning.measure import folder

        self.folder = tempfile.TemporaryDirectory()
        out = Path(self.folder.name)
        self.path, self.read = out / f"{network}.tflite", tuning.load_model
        self.path.write_bytes(NETWORKS[network]())
        if kind == "yaml":
            text, arrays = write_yaml_graph(file.read(self.path), network)
            self.path = out / f"{network}.yaml"
            self.path.write_text(text, encoding="utf-8")
            np.savez(out / f"{network}.npz", **arrays)
        elif kind == "folder":
            plan = tuning.tune(tuning.load_model(self.path), tuning.load_target("cortex-m4"))
            self.path, self.read = out / "folder", folder.load
            tuning.emit(plan, self.path)

    def teardown(self, network: str, kind: str) -> None:
        self.folder.cleanup()

    def time_read(self, network: str, kind: str) -> None:
        self.read(self.path)

    def peakmem_read(self, network: str, kind: str) -> None:
        self.read(self.path)
