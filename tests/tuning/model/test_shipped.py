# SPDX-License-Identifier: Apache-2.0
"""The shipped networks are those that were published, alive under their drawn weights, and run as firmware."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tuning
from tuning.emulate import find_toolchain
from tuning.measure import folder

# Multiply-accumulates, from the publications' shapes: 25*5*64*40 + 4*125*64*(9 + 64) + 64*12 for the first.
MACS = {
    "ds_cnn_s": 2_656_768,
    "ds_cnn_m": 9_816_384,
    "ds_cnn_l": 28_327_812,
    "lenet5": 416_520,
    "mobilenet_v1_025": 7_489_664,
    "resnet8": 12_239_488,
    "autoencoder": 264_192,
}


@pytest.mark.parametrize("name", MACS)
def test_work_and_activations(name: str) -> None:
    model = tuning.load_model(name)
    assert model.macs == MACS[name]
    x = np.random.default_rng(0).integers(-128, 128, (3, *model.input_shape)).astype(np.int8)
    for layer in model.layers:
        if layer.weights is not None:
            assert np.abs(layer.weights.astype(int)).max() >= 32, f"{layer.name}: weights of few bits"
    outputs = model.network().trace(x)
    last = [layer.name for layer in model.layers if layer.weights is not None][-1]
    assert (outputs[last] != outputs[last][0]).any(axis=0).mean() > 0.9, "the answer does not depend on the input"
    for layer, output in outputs.items():
        values = output.astype(int)
        if layer != "prob":
            assert ((values == 127) | (values == -128)).mean() < 0.1, layer
            assert (values != 0).mean() > 0.2, layer
            assert np.ptp(values) > 0, layer
            assert (values != values[0]).any(axis=0).mean() > 0.25, layer


@pytest.mark.emulated
@pytest.mark.parametrize(("name", "core"), [("ds_cnn_s", "cortex-m4"), ("lenet5", "cortex-m0plus")])
def test_firmware_is_exact(name: str, core: str, tmp_path: Path) -> None:
    plan = tuning.tune(tuning.load_model(name), tuning.load_target(core))
    tuning.emit(plan, tmp_path)
    firmware = folder.load(tmp_path)
    result = folder.verify(firmware, find_toolchain(), folder.draw_inputs(firmware, 1), target=tuning.load_target(core))
    assert result.exact, result.mismatches[0]


def test_resnet_of_int8_has_the_work_of_mlperfs_and_is_alive() -> None:
    model = tuning.load_model("resnet8_int8")
    assert model.macs == 12_501_632
    assert [layer.op for layer in model.layers].count("add") == 3
    x = np.random.default_rng(0).integers(-128, 128, (3, *model.input_shape)).astype(np.int8)
    for name, values in model.network().trace(x).items():
        clipped = (values == 127) if name.startswith(("conv", "add", "pool")) else np.isin(values, (-128, 127))
        assert clipped.mean() < 0.1, name
        assert np.ptp(values.astype(int)) > 50, name
        assert (values != values[0]).any(axis=0).mean() > 0.5, name
