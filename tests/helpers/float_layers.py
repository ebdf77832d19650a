# SPDX-License-Identifier: Apache-2.0
"""Float networks of every operation, samples for them, and what they give."""

from __future__ import annotations

import numpy as np

from tuning.importers.float_network import from_layers
from tuning.quantize.forward import run

RNG = np.random.default_rng(3)
START = RNG.bit_generator.state

BITS = {"q7": 8, "q15": 16}


def draw(*shape: int, scale: float = 1.0) -> np.ndarray:
    return RNG.normal(0, scale, shape)


def convolutional(activation: str | None = "relu") -> list[dict]:
    """Every operation between the input and ten logits."""
    return [
        {"op": "conv2d", "weights": draw(8, 3, 3, 2, scale=0.3), "bias": draw(8, scale=0.2), "activation": "relu"},
        {"op": "max_pool2d", "kernel": 2, "ceil_mode": True},
        {"op": "depthwise_conv2d", "weights": draw(3, 3, 8, scale=0.4), "bias": draw(8, scale=0.2), "padding": "same"},
        {"op": "relu"},
        {"op": "conv2d", "weights": draw(6, 1, 1, 8, scale=0.4), "activation": activation, "stride": 1},
        {"op": "avg_pool2d", "kernel": 3, "stride": 2, "padding": 1},
        {"op": "fully_connected", "weights": draw(12, 54, scale=0.2), "bias": draw(12)},
        {"op": "tanh"},
        {"op": "fully_connected", "weights": draw(10, 12), "bias": draw(10)},
    ]


INPUT = (12, 11, 2)


def samples(count: int = 64, shape: tuple[int, ...] = INPUT) -> np.ndarray:
    return RNG.normal(0.3, 1, (count, *shape)).astype(np.float32)


def run_float(layers: list[dict], x: np.ndarray, shape: tuple[int, ...] = INPUT):
    network = from_layers(layers, shape)
    return [out for _, out in run(network.geometry("q7"), network.arrays(), x)]
