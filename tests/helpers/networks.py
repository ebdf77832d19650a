# SPDX-License-Identifier: Apache-2.0
"""Networks of odd kinds with somebody else's weights, inputs for them, and what they must answer."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np

from cmsisnn_x import Variant
from cmsisnn_x.layers import NUMPY_DTYPES, Layer
from helpers import reference
from helpers.plans import chain


def conv(out: int, kernel: int | tuple[int, int], **more: object) -> dict[str, object]:
    return {"op": "conv2d", "out": out, "kernel": kernel, "out_shift": 10, **more}


def depthwise(kernel: int | tuple[int, int], **more: object) -> dict[str, object]:
    return {"op": "depthwise_conv2d", "kernel": kernel, "out_shift": 8, **more}


def dense(out: int, **more: object) -> dict[str, object]:
    return {"op": "fully_connected", "out": out, "out_shift": 9, **more}


def pool(kind: str, kernel: int | tuple[int, int], **more: object) -> dict[str, object]:
    return {"op": f"{kind}_pool2d", "kernel": kernel, **more}


NETWORKS: dict[str, tuple[Layer, ...]] = {
    "odd_sizes": chain(
        (11, 7, 5), "q7",
        conv(13, (3, 5), pad="same", stride=2, activation="relu", bias_shift=2), pool("avg", (6, 4)), dense(3),
    ),
    "one_by_one": chain((5, 3, 7), "q7", conv(9, 1, pad=0), conv(5, 1, activation="relu"), pool("max", 3, stride=2)),
    "separable": chain(
        (9, 9, 3), "q7",
        conv(6, 3, stride=2, pad="same", activation="relu"), depthwise(3, pad="same", activation="relu"), conv(10, 1),
        depthwise((3, 1), stride=(2, 1)), pool("avg", 2, stride=2), dense(4), {"op": "softmax"},
    ),
    "tables": chain(
        (6, 6, 4), "q7",
        conv(4, 3, pad=1), {"op": "tanh", "int_bits": 1}, depthwise(3), {"op": "sigmoid", "int_bits": 3}, dense(5),
        {"op": "tanh", "int_bits": 0},
    ),
    "relu_at_both_ends": chain((5, 4, 3), "q7", {"op": "relu"}, conv(6, 3, pad=1), {"op": "relu"}),
    "twins": chain((6, 6, 4), "q7", *[conv(4, 3, pad=1, activation="relu")] * 4),
    "vector": chain((37,), "q7", dense(21), {"op": "relu"}, dense(21, activation="relu"), dense(2), {"op": "softmax"}),
    "only_relu": chain((3, 5, 7), "q7", {"op": "relu"}),
    "only_softmax": chain((9,), "q7", {"op": "softmax"}),
    "only_conv": chain((4, 4, 1), "q7", conv(1, 4)),
    "only_pool": chain((7, 7, 3), "q7", pool("max", 3, stride=2, pad=1)),
    "q15": chain(
        (9, 7, 3), "q15",
        conv(8, 3, pad=1, out_shift=17, activation="relu"), depthwise(3, stride=2, pad="same", out_shift=15),
        pool("max", 2), conv(5, (2, 1), out_shift=16), {"op": "tanh", "int_bits": 2}, pool("avg", 2, stride=1),
        dense(6, out_shift=16), {"op": "sigmoid", "int_bits": 3},
    ),
    "q15_pools": chain((7, 5, 3), "q15", pool("avg", 3, stride=2, pad=1), pool("max", 2)),
    "q15_depthwise": chain((5, 5, 3), "q15", depthwise(3, pad=1, out_shift=15)),
    "q15_dense": chain((9,), "q15", dense(5, out_shift=16), {"op": "softmax"}),
    "q15_tables": chain((3, 3, 3), "q15", {"op": "tanh", "int_bits": 1}, {"op": "relu"}),
    "mixed": chain(
        (31,), "q15", dense(13, weights_dtype="q7"), {"op": "relu"}, dense(7, weights_dtype="q7", activation="relu"),
        {"op": "softmax"},
    ),
}  # fmt: skip

VARIANTS = (
    Variant(),
    Variant(unroll=1, block_rows=1, block_cols=1, im2col_cols=1),
    Variant(unroll=8, block_rows=2, block_cols=4, im2col_cols=8),
)
"""The odd networks are run with the first; a few with the others."""


def forward(layers: Sequence[Layer], x: np.ndarray) -> np.ndarray:
    """The network by its definition, in NumPy, one input."""
    for layer in layers:
        x = reference.layer(layer, x).reshape(layer.output_shape)
    return x


def inputs(layers: Sequence[Layer], count: int, key: str = "") -> list[np.ndarray]:
    """Inputs over the whole range of the type: the two extremes everywhere first, then draws."""
    shape, dtype = layers[0].input_shape, NUMPY_DTYPES[layers[0].dtype]
    info = np.iinfo(dtype)
    rng = np.random.default_rng(zlib.crc32(f"{key}{shape}".encode()))
    drawn = [rng.integers(info.min, info.max, shape, dtype, endpoint=True) for _ in range(max(count - 2, 0))]
    return [np.full(shape, info.min, dtype), np.full(shape, info.max, dtype), *drawn][:count]
