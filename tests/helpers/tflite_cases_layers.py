# SPDX-License-Identifier: Apache-2.0
"""Cases of operators with weights, pools, means and softmax."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from helpers import int8_oracle as oracle
from helpers import int8_tables as tables
from helpers.int8_oracle import effective_scale, quantize_multiplier
from helpers.tflite_cases import Arithmetic, Case, Values, between, ints, limited, q, rng_of, scale
from helpers.tflite_files import O, T


def weights_of(name: str, shape: tuple[int, ...], channels: int, axis: int, per_channel: bool, source: T) -> T:
    """Weights over their whole range, -128 too, with scales that leave most outputs inside their range."""
    rng = rng_of(f"{name} weights")
    values = rng.integers(-128, 127, shape, np.int8, endpoint=True)
    size = 0.02 if source.dtype == "INT16" else 1.0
    scales = rng.uniform(0.3, 2.0, channels if per_channel else 1) * size / (30 * (prod(shape) // channels) ** 0.5)
    return T("w", data=values, scale=scales.astype(np.float32), axis=axis)


def bias_of(name: str, channels: int, source: T, weights: T) -> T:
    wide = source.dtype == "INT16"
    span = 3_000_000 if wide else 3000
    values = rng_of(f"{name} bias").integers(-span, span, channels, np.int64 if wide else np.int32)
    return T("b", data=values, scale=(np.float32(scale(source)) * np.asarray(weights.scale)).astype(np.float32))


def rescaled(x: T, w: T, out: T) -> dict[str, Any]:
    factors = quantize_multiplier(effective_scale(scale(x), np.asarray(w.scale), scale(out)))
    return dict(zip(("multiplier", "shift"), factors, strict=True))


def conv(
    name: str, x: Sequence[int] = (1, 6, 5, 3), kernel: tuple[int, int] = (3, 3), channels: int = 5, *,
    depthwise: bool = False, depth: int | None = None, padding: str = "SAME", stride: tuple[int, int] = (1, 1),
    dilation: tuple[int, int] = (1, 1), activation: str = "NONE", dtype: str = "INT8", per_channel: bool = True,
    bias: bool = True, zero_point: int | None = None, explicit_none: bool = False, scales: float = 1.0,
    **bias_fields: Any,
) -> Case:  # fmt: skip
    """`depth` of a filter tells the groups; of a depthwise one `channels` tells the multiplier."""
    source = q(f"{name} x", x, dtype)
    source = replace(source, name="x", zero_point=source.zero_point if zero_point is None else zero_point)
    shape = (1, *kernel, channels) if depthwise else (channels, *kernel, depth or x[3])
    w = weights_of(name, shape, channels, 3 if depthwise else 0, per_channel, source)
    assert isinstance(w.data, np.ndarray)
    w = replace(w, scale=np.asarray(w.scale) * np.float32(scales))
    assert padding in ("SAME", "VALID")
    own: Any = padding
    size, _ = oracle.window_geometry((x[1], x[2]), kernel, stride, dilation, own)
    out = replace(q(f"{name} y", (x[0], *size, channels), dtype, scale=1.5 if dtype == "INT8" else 0.05), name="y")
    b = replace(bias_of(name, channels, source, w), **bias_fields) if bias else None
    options: dict[str, Any] = {
        "padding": padding, "stride_h": stride[0], "stride_w": stride[1], "dilation_h_factor": dilation[0],
        "dilation_w_factor": dilation[1], "fused_activation_function": activation,
    }  # fmt: skip
    if depthwise:
        options["depth_multiplier"] = channels // x[3]
    function = oracle.depthwise_conv2d if depthwise else oracle.conv2d

    def expect(values: Values, arithmetic: Arithmetic) -> np.ndarray:
        assert isinstance(w.data, np.ndarray)
        return function(
            values["x"], w.data, b.data if b else None, input_zero_point=int(source.zero_point),
            output_zero_point=int(out.zero_point), stride=stride, dilation=dilation, padding=own,
            **rescaled(source, w, out), **limited(out, activation),
        )  # fmt: skip

    code = "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D"
    inputs = ["x", "w", *(["b"] if b else [None] if explicit_none else [])]
    tensors = [source, w, out, *([b] if b else [])]
    return Case(tensors, [O(code, inputs, ["y"], options)], ["x"], ["y"], expect)


def dense(
    name: str, x: Sequence[int] = (2, 12), rows: int = 5, *, columns: int | None = None, out: Sequence[int] = (2, 5),
    activation: str = "NONE", dtype: str = "INT8", per_channel: bool = False, bias: str = "there", version: int = 4,
    keep: bool = False, scales: float = 1.0, output_zero_point: int | None = None, **bias_fields: Any,
) -> Case:  # fmt: skip
    """`bias` is there, none (-1), or not even an operand."""
    source = replace(q(f"{name} x", x, dtype), name="x")
    columns = columns or x[-1]
    w = weights_of(name, (rows, columns), rows, 0, per_channel, source)
    w = replace(w, scale=np.asarray(w.scale) * np.float32(scales))
    result = replace(q(f"{name} y", out, dtype, scale=1.5 if dtype == "INT8" else 0.05), name="y")
    if output_zero_point is not None:
        result = replace(result, zero_point=output_zero_point)
    b = replace(bias_of(name, rows, source, w), **bias_fields)
    inputs = ["x", "w", *({"there": ["b"], "none": [None], "absent": []}[bias])]
    options = {"fused_activation_function": activation, "keep_num_dims": keep}

    def expect(values: Values, arithmetic: Arithmetic) -> np.ndarray:
        assert isinstance(w.data, np.ndarray)
        own = b.data if bias == "there" else None
        assert not isinstance(own, bytes)
        return oracle.fully_connected(
            values["x"], w.data, own, input_zero_point=int(source.zero_point),
            output_zero_point=int(result.zero_point), arithmetic=arithmetic,
            effective_scale=effective_scale(scale(source), np.asarray(w.scale), scale(result)),
            **limited(result, activation),
        )  # fmt: skip

    ops = [O("FULLY_CONNECTED", inputs, ["y"], options, version)]
    return Case([source, w, result, *([b] if bias == "there" else [])], ops, ["x"], ["y"], expect)


def pool(
    code: str, name: str, x: Sequence[int] = (1, 7, 6, 3), kernel: tuple[int, int] = (3, 2), *, padding: str = "VALID",
    stride: tuple[int, int] = (2, 1), activation: str = "NONE", dtype: str = "INT8",
) -> Case:  # fmt: skip
    source = replace(q(f"{name} x", x, dtype), name="x")
    own: Any = padding
    size, _ = oracle.window_geometry((x[1], x[2]), kernel, stride, (1, 1), own)
    out = replace(source, name="y", shape=(x[0], *size, x[3]))
    options = {
        "padding": padding, "stride_h": stride[0], "stride_w": stride[1], "filter_height": kernel[0],
        "filter_width": kernel[1], "fused_activation_function": activation,
    }  # fmt: skip
    function = oracle.average_pool2d if code == "AVERAGE_POOL_2D" else oracle.max_pool2d

    def expect(values: Values, arithmetic: Arithmetic) -> np.ndarray:
        return function(values["x"], kernel=kernel, stride=stride, padding=own, **limited(out, activation))

    return Case([source, out], [O(code, ["x"], ["y"], options)], ["x"], ["y"], expect)


def mean(
    name: str, x: Sequence[int], axes: Sequence[int], *, keep: bool = True, dtype: str = "INT8", same: bool = False,
    output_scale: float | None = None,
) -> Case:  # fmt: skip
    source = replace(q(f"{name} x", x, dtype), name="x")
    gone = {axis % len(x) for axis in axes}
    shape = [1 if axis in gone else size for axis, size in enumerate(x) if keep or axis not in gone]
    out = replace(source if same else q(f"{name} y", None, dtype), name="y", shape=shape)
    out = replace(out, scale=output_scale or out.scale)

    def expect(values: Values, arithmetic: Arithmetic) -> np.ndarray:
        return np.asarray(oracle.mean(values["x"], axis=axes, keep_dims=keep, **between(source, out)))

    op = O("MEAN", ["x", "axes"], ["y"], {"keep_dims": keep})
    return Case([source, ints("axes", *axes), out], [op], ["x"], ["y"], expect)


def softmax(
    name: str, x: Sequence[int] = (2, 9), *, beta: float = 1.0, dtype: str = "INT8", out: str = "INT8",
    own: float | None = None,
) -> Case:  # fmt: skip
    fixed = {"INT8": (2.0**-8, -128), "INT16": (2.0**-16, -(2**15))}
    scaled = (2.0**-15, 0) if dtype == "INT16" else fixed[out]
    source = replace(q(f"{name} x", x, dtype), name="x")
    if own is not None:
        source = replace(source, scale=own)
    result = T("y", x, out, *scaled)

    def expect(values: Values, arithmetic: Arithmetic) -> np.ndarray:
        return tables.softmax(
            values["x"], input_scale=scale(source), beta=beta, arithmetic=arithmetic,
            output_dtype=np.int8 if out == "INT8" else np.int16,
        )  # fmt: skip

    return Case([source, result], [O("SOFTMAX", ["x"], ["y"], {"beta": beta})], ["x"], ["y"], expect)


def _shared() -> Case:
    """Two layers with the same weights and biases."""
    first = conv("shared", (1, 4, 4, 3), (3, 3), 3)
    x, w, y, b = (first.tensor(name) for name in ("x", "w", "y", "b"))
    y, z = replace(y, scale=x.scale), replace(y, name="z", scale=2.0, zero_point=5)
    options = {"padding": "SAME", "stride_h": 1, "stride_w": 1}
    ops = [O("CONV_2D", ["x", "w", "b"], ["y"], options), O("CONV_2D", ["y", "w", "b"], ["z"], options)]

    def expect(values: Values, arithmetic: Arithmetic) -> np.ndarray:
        assert isinstance(w.data, np.ndarray)
        assert isinstance(b.data, np.ndarray)
        value = values["x"]
        for source, out in ((x, y), (y, z)):
            value = oracle.conv2d(
                value, w.data, b.data, input_zero_point=int(source.zero_point), output_zero_point=int(out.zero_point),
                **rescaled(source, w, out),
            )  # fmt: skip
        return value

    return Case([x, w, b, y, z], ops, ["x"], ["z"], expect, nodes=("conv2d", "conv2d"))


def tflm(case: Case) -> Case:
    """LiteRT has another answer that no oracle speaks of, or none."""
    return replace(case, arithmetics=("tflm",))


LAYERS: dict[str, Case] = {
    "conv": conv("conv"),
    "conv per tensor": conv("per tensor", per_channel=False),
    "conv without bias": conv("no bias", bias=False),
    "conv with bias -1": conv("bias -1", bias=False, explicit_none=True),
    "conv of a batch": conv("batch", (3, 4, 5, 2), channels=4),
    "conv in groups": conv("groups", (1, 5, 4, 6), channels=9, depth=2),
    "conv dilated": conv("dilated", (1, 9, 8, 2), dilation=(2, 3)),
    "conv dilated valid": conv("dilated valid", (1, 9, 8, 2), dilation=(2, 3), padding="VALID"),
    "conv strided": conv("strided", (1, 9, 8, 2), stride=(2, 3)),
    "conv with strides beyond its kernel": conv("leap", (1, 9, 9, 2), (2, 1), stride=(4, 3), padding="VALID"),
    "conv 1x1": conv("pointwise", (2, 3, 3, 5), (1, 1), 7),
    "conv larger than its image": conv("large", (1, 2, 3, 2), (5, 5), 3),
    "conv relu": conv("relu", activation="RELU"),
    "conv relu6": conv("relu6", activation="RELU6"),
    "conv relu_n1_to_1": conv("n1", activation="RELU_N1_TO_1"),
    "conv zero point least": conv("least", zero_point=-128),
    "conv zero point most": conv("most", zero_point=127),
    "conv int16": conv("wide", dtype="INT16"),
    "conv int16 per tensor without bias": conv("wide tensor", dtype="INT16", per_channel=False, bias=False),
    "conv int16 in groups, strided": conv(
        "wide groups", (1, 5, 5, 4), channels=4, depth=2, stride=(2, 2), dtype="INT16"
    ),
    "conv with a bias whose axis is wrong": conv("wrong axis", axis=3),
    "conv with a bias without scales": conv("plain bias", scale=None),
    "conv with a bias of one pixel": conv("bias rank", shape=(1, 1, 1, 5)),
    "depthwise": conv("dw", channels=3, depthwise=True),
    "depthwise per tensor": conv("dw tensor", channels=3, depthwise=True, per_channel=False),
    "depthwise without bias": conv("dw plain", channels=3, depthwise=True, bias=False),
    "depthwise twice": conv("dw twice", channels=6, depthwise=True),
    "depthwise of one channel": conv("dw one", (1, 6, 5, 1), channels=4, depthwise=True),
    "depthwise dilated": conv("dw dilated", (1, 8, 7, 3), channels=3, depthwise=True, dilation=(3, 2)),
    "depthwise twice of a batch, dilated, strided": conv(
        "dw mixed", (2, 9, 8, 2), (2, 3), 4, depthwise=True, dilation=(2, 1), stride=(2, 2), activation="RELU6"
    ),
    "depthwise int16": conv("dw wide", channels=3, depthwise=True, dtype="INT16"),
    "depthwise int16 twice": conv("dw wide twice", channels=6, depthwise=True, dtype="INT16"),
    "dense": dense("dense"),
    "dense per channel": dense("dense channels", per_channel=True, version=5),
    "dense without bias": dense("dense none", bias="none"),
    "dense without a third input": dense("dense absent", bias="absent"),
    "dense of an image": dense("dense image", (1, 2, 3, 4), columns=24, out=(1, 5)),
    "dense of a batch of images": dense("dense images", (3, 2, 2, 2), columns=8, out=(3, 5)),
    "dense of the last axis": dense("dense last", (2, 3, 4), out=(2, 3, 5), keep=True),
    "dense with samples in one": dense("dense rows", (1, 24), columns=8, out=(3, 5)),
    "dense relu": dense("dense relu", activation="RELU"),
    "dense relu6": dense("dense relu6", activation="RELU6"),
    "dense of a large factor": dense("dense large", scales=300.0, per_channel=True),
    "dense of a single column": dense("dense column", (4, 1), 1, out=(4, 1)),
    "dense with a bias whose axis is wrong": dense("dense axis", per_channel=True, axis=1),
    "dense int16": dense("dense wide", dtype="INT16"),
    "dense int16 per channel without bias": dense("dense wide channels", dtype="INT16", per_channel=True, bias="none"),
    "weights that two layers share": _shared(),
    **{
        f"{code} {text}": pool(code, text, **fields)
        for code in ("AVERAGE_POOL_2D", "MAX_POOL_2D")
        for text, fields in {
            "valid": {}, "same": {"padding": "SAME"}, "relu": {"activation": "RELU"},
            "relu6": {"activation": "RELU6", "padding": "SAME"}, "int16": {"dtype": "INT16", "padding": "SAME"},
            "of a batch": {"x": (3, 4, 4, 2)}, "over all": {"x": (1, 4, 3, 5), "kernel": (4, 3), "stride": (4, 3)},
            "beyond the image": {"x": (1, 3, 2, 2), "kernel": (5, 4), "padding": "SAME", "stride": (1, 1)},
        }.items()
    },
    "mean of rows and columns": mean("hw", (1, 4, 5, 3), (1, 2)),
    "mean without dims": mean("hw gone", (1, 4, 5, 3), (1, 2), keep=False),
    "mean of negative axes": mean("negative", (2, 4, 5, 3), (-2, -3), keep=False),
    "mean of channels": mean("channels", (1, 3, 4, 7), (3,)),
    "mean of an axis twice": mean("twice", (1, 3, 4, 7), (3, -1)),
    "mean of no axis": mean("none", (2, 3, 4), ()),
    "mean of rows": mean("rows", (2, 3, 4, 5), (1,)),
    "mean of the batch": mean("batch", (3, 2, 4), (0,), keep=False),
    "mean of axes that lie apart": mean("apart", (2, 3, 4, 5), (1, 3)),
    "mean of axes that lie apart, without dims": mean("apart gone", (2, 3, 4, 5), (0, 2), keep=False),
    "mean of columns and channels of one row": mean("one row", (1, 1, 6, 5), (0, 2, 3)),
    "mean of everything": mean("all", (1, 3, 4), (0, 1, 2), keep=False),
    "mean at its own scale": mean("same", (1, 8, 8, 2), (1, 2), same=True),
    "mean int16": mean("wide", (1, 4, 5, 3), (1, 2), dtype="INT16"),
    "mean int16 apart": mean("wide apart", (2, 3, 4, 5), (1, 3), dtype="INT16", keep=False),
    "softmax": softmax("softmax"),
    "softmax of an image": softmax("image", (1, 3, 2, 5)),
    "softmax of one column": softmax("one", (3, 1)),
    "softmax of a vector": softmax("vector", (7,)),
    "softmax beta": softmax("beta", beta=0.5),
    "softmax of wide steps": softmax("steps", own=3.0),
    "softmax of fine steps": softmax("fine", own=1e-4),
    "softmax int16 out": softmax("out16", out="INT16"),
    "softmax int16": softmax("in16", dtype="INT16", out="INT16", own=1e-3),
    "softmax int16 beta": softmax("in16 beta", dtype="INT16", out="INT16", beta=0.25, own=2e-3),
}  # fmt: skip
