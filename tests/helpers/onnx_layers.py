# SPDX-License-Identifier: Apache-2.0
"""Float ONNX files of a few operators, and what is read of them against onnx.reference."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import pytest

from helpers.onnx_models import reference
from tuning import ModelError
from tuning.quantize import FloatNetwork, load_onnx
from tuning.quantize.data import channels_last
from tuning.quantize.forward import run

RNG = np.random.default_rng(7)
START = RNG.bit_generator.state


def draw(*shape: int) -> np.ndarray:
    return RNG.normal(0, 1, shape)


def forward(network: FloatNetwork, x: np.ndarray) -> np.ndarray:
    """The output, laid out as the ONNX model's."""
    inputs = channels_last(x, network.input_shape, network.input_layout)
    *_, (_, out) = run(network.geometry("q7"), network.arrays(), inputs, network.softmax_base)
    return out.transpose(0, 3, 1, 2) if network.output_layout == "NCHW" and out.ndim == 4 else out


def check(
    proto: onnx.ModelProto, ops: Sequence[str] | None = None, batch: int = 3, judge: onnx.ModelProto | None = None
) -> FloatNetwork:
    """What is read gives the reference's numbers (or those of the model `judge`), and consists of `ops`."""
    sizes = [dim.dim_value for dim in proto.graph.input[0].type.tensor_type.shape.dim]
    x = RNG.normal(0.2, 1, (sizes[0] or batch, *sizes[1:])).astype(np.float32)
    network = load_onnx(proto)
    wanted = reference(judge or proto, x)
    got = forward(network, x)
    assert got.size == wanted.size
    assert np.abs(got.reshape(wanted.shape) - wanted).max() <= 1e-4 * max(1, np.abs(wanted).max())
    assert np.ptp(wanted) > 0
    if ops is not None:
        assert [layer.op for layer in network.layers] == list(ops)
    return network


CONV = {"w": draw(6, 3, 3, 3), "b": draw(6)}
BN = {"gamma": 0.5 + RNG.random(6), "beta": draw(6), "mean": draw(6), "var": 0.5 + RNG.random(6)}
BN_INPUTS = ["gamma", "beta", "mean", "var"]


def refused(proto: onnx.ModelProto) -> str:
    with pytest.raises(ModelError) as caught:
        load_onnx(proto)
    return str(caught.value)
