# SPDX-License-Identifier: Apache-2.0
"""The functions of `cmsisnn_x.int8`: the oracle's bytes, and errors that name the argument."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmsisnn_x import int8
from cmsisnn_x.errors import CmsisnnError, DtypeError, ShapeError
from helpers import int8_oracle as oracle
from helpers import int8_tables as tables
from helpers.affine_cases import affine_cases
from helpers.arrays import assert_bit_exact, random_array
from helpers.simd_cases import OPS
from helpers.strategies import seeds

scales = st.sampled_from((0.25, 0.003, 0.7, 2.0**-7, 1.3))
points = st.sampled_from((-128, 127, 0, 5))


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("op", OPS)
@given(data=st.data())
def test_layers_equal_the_oracle(op: str, wide: bool, data: st.DataObject) -> None:
    case = data.draw(affine_cases(op, wide=wide))
    scheme, size = case.scheme, case.expected.shape[1:3]
    limits = {"activation_min": scheme.low, "activation_max": scheme.high}
    out = np.empty_like(case.expected)
    windows = {"stride": case.stride, "padding": case.first, "output_size": size}
    if case.weights is None:
        got = getattr(int8, op)(case.x, case.kernel, **windows, **limits, out=out)
    else:
        numbers = {
            "multiplier": np.array(scheme.multiplier), "shift": list(scheme.shift),
            "input_zero_point": scheme.input_zero_point, "output_zero_point": scheme.output_zero_point, **limits,
        }  # fmt: skip
        if op != "fully_connected":
            numbers |= {**windows, "dilation": case.dilation}
        got = getattr(int8, op)(case.x, case.weights, case.bias, **numbers, out=out)
    assert got is out
    assert_bit_exact(got, case.expected)


@given(data=st.data())
def test_factors_equal_the_oracle(data: st.DataObject) -> None:
    case = data.draw(affine_cases("fully_connected", rounding="float"))
    scheme = case.scheme
    got = int8.fully_connected(
        case.x, case.weights, case.bias, multiplier=0, shift=0, rounding="float", real=scheme.reals,
        input_zero_point=scheme.input_zero_point, output_zero_point=scheme.output_zero_point,
        activation_min=scheme.low, activation_max=scheme.high,
    )  # fmt: skip
    assert_bit_exact(got, case.expected)


@given(seeds, st.integers(1, 4), st.integers(1, 3), st.booleans())
def test_a_depth_multiplier(seed: int, times: int, channels: int, wide: bool) -> None:
    rng = np.random.default_rng(seed)
    x = random_array(rng, (2, 5, 4, channels), np.int16 if wide else np.int8)
    weights = random_array(rng, (3, 2, channels * times), np.int8)
    bias = rng.integers(-3000, 3000, channels * times, np.int64 if wide else np.int32)
    numbers = {"multiplier": 1518500250, "shift": -7, "input_zero_point": 0 if wide else -3}
    got = int8.depthwise_convolve(x, weights, bias, padding="same", stride=(2, 1), **numbers)
    wanted = oracle.depthwise_conv2d(
        x, weights[None], bias, output_zero_point=0, padding="SAME", stride=(2, 1), **numbers
    )
    assert_bit_exact(got, wanted)


@pytest.mark.parametrize("dilation", [1, 2, (1, 3)])
def test_same_padding_is_that_of_the_dilated_window(dilation) -> None:
    rng = np.random.default_rng(0)
    x, weights = random_array(rng, (1, 9, 8, 4), np.int8), random_array(rng, (3, 3, 2, 4), np.int8)
    pair = dilation if isinstance(dilation, tuple) else (dilation, dilation)
    numbers = {"multiplier": 2**30, "shift": -6, "input_zero_point": 7, "output_zero_point": -9}
    got = int8.convolve(x, weights, padding="same", stride=2, dilation=dilation, **numbers)
    assert_bit_exact(got, oracle.conv2d(x, weights, None, padding="SAME", stride=(2, 2), dilation=pair, **numbers))


SHAPES = st.sampled_from((((4, 3, 5), (4, 3, 5)), ((4, 3, 5), (5,)), ((4, 3, 5), (1, 5)), ((4, 3, 5), (3, 1)),
                          ((3, 1), (4, 3, 5)), ((5,), (4, 1, 5)), ((4, 3, 5), ()), ((0, 3), (3,))))  # fmt: skip


@given(seeds, SHAPES, scales, scales, scales, points, points, points, st.booleans())
def test_pairs_equal_the_oracle(seed, shapes, sa, sb, so, za, zb, zo, wide) -> None:
    rng, dtype = np.random.default_rng(seed), np.int16 if wide else np.int8
    a, b = (np.asarray(random_array(rng, shape, dtype)) for shape in shapes)
    za, zb, zo = (0, 0, 0) if wide else (za, zb, zo)
    whole = {
        "input1_scale": sa, "input1_zero_point": za, "input2_scale": sb, "input2_zero_point": zb, "output_scale": so,
        "output_zero_point": zo, "activation_max": 100,
    }  # fmt: skip
    own = {
        "input_scales": (sa, sb), "output_scale": so, "input_zero_points": (za, zb), "output_zero_point": zo,
        "activation_max": 100,
    }  # fmt: skip
    assert_bit_exact(int8.add(a, b, **own), oracle.add(a, b, **whole))
    assert_bit_exact(int8.subtract(a, b, **own), oracle.sub(a, b, **whole))
    assert_bit_exact(int8.maximum(a, b), oracle.maximum(a, b))
    assert_bit_exact(int8.minimum(a, b), oracle.minimum(a, b))
    scale = float(np.float32(sa)) * float(np.float32(sb)) / float(np.float32(so))
    multiplier, shift = int8.quantize_multiplier(scale)
    del own["input_scales"], own["output_scale"]
    assert_bit_exact(int8.multiply(a, b, multiplier=multiplier, shift=shift, **own), oracle.mul(a, b, **whole))


@given(seeds, st.sampled_from(((0,), (1, 2), (-1,), (0, 1, 2, 3))), scales, scales, points, points, st.booleans())
def test_means_equal_the_oracle(seed, axis, source, result, zero, output_zero, keepdims) -> None:
    x = random_array(np.random.default_rng(seed), (3, 4, 5, 2), np.int8)
    numbers = {
        "input_scale": source, "input_zero_point": zero, "output_scale": result, "output_zero_point": output_zero,
    }  # fmt: skip
    got = int8.mean(x, axis, keepdims=keepdims, **numbers)
    assert_bit_exact(got, oracle.mean(x, axis=axis, keep_dims=keepdims, **numbers))


EVERY = np.arange(-128, 128).astype(np.int8)


@given(scales, scales, points, points, st.sampled_from(("tflm", "litert")))
def test_functions_of_a_byte_equal_the_oracle(source, result, zero, output_zero, arithmetic) -> None:
    ends = {"input_scale": source, "input_zero_point": zero}
    numbers = {**ends, "output_scale": result, "output_zero_point": output_zero}
    for name in ("relu", "relu6", "relu_n1_to_1"):
        got = int8.relu(EVERY, activation=name, arithmetic=arithmetic, **numbers)
        assert_bit_exact(got, getattr(tables, name)(EVERY, arithmetic=arithmetic, **numbers), name)
    assert_bit_exact(
        int8.leaky_relu(EVERY, 0.3, arithmetic=arithmetic, **numbers),
        tables.leaky_relu(EVERY, alpha=0.3, arithmetic=arithmetic, **numbers),
    )
    assert_bit_exact(int8.hard_swish(EVERY, **numbers), tables.hard_swish(EVERY, **numbers))
    for name, function in (("sigmoid", tables.logistic), ("tanh", tables.tanh)):
        want = function(EVERY, arithmetic=arithmetic, **ends)
        assert_bit_exact(getattr(int8, name)(EVERY, arithmetic=arithmetic, **ends), want, name)
    assert_bit_exact(
        int8.softmax(EVERY.reshape(16, 16), input_scale=source, beta=0.5),
        tables.softmax(EVERY.reshape(16, 16), input_scale=source, beta=0.5),
    )
    assert_bit_exact(
        int8.softmax(EVERY, input_scale=source, dtype="int16"),
        tables.softmax(EVERY, input_scale=source, output_dtype=np.int16),
    )


@pytest.mark.parametrize("columns", [511, 512, 1000, 4095])
def test_softmax_of_many_equal_elements(columns: int) -> None:
    """From 512 on less than a half is left of each: shifted by more than 31 bits."""
    rows = np.stack([np.zeros(columns, np.int8), np.arange(columns).astype(np.int8) % 3])
    for dtype in ("int8", "int16"):
        got = int8.softmax(rows, input_scale=1e-4, dtype=dtype)
        assert_bit_exact(got, tables.softmax(rows, input_scale=1e-4, output_dtype=np.dtype(dtype)))
    assert int8.softmax(rows[:1], input_scale=1e-4).max() == (-128 if columns > 511 else -127)


def test_words() -> None:
    every = np.arange(-(2**15), 2**15).astype(np.int16)
    for name, function in (("sigmoid", tables.logistic), ("tanh", tables.tanh)):
        got = getattr(int8, name)(every, input_scale=3e-4)
        want = function(every, input_scale=3e-4, input_zero_point=0)
        assert_bit_exact(got, want, name)
    rows = every.reshape(64, 1024)[::7]
    assert_bit_exact(int8.softmax(rows, input_scale=2.0**-13), tables.softmax(rows, input_scale=2.0**-13))


def test_requantise_changes_type() -> None:
    got = int8.requantise(EVERY, multiplier=2**30, shift=1, input_zero_point=-128, output_zero_point=0, dtype="uint8")
    assert_bit_exact(got, np.arange(256).astype(np.uint8))
    assert_bit_exact(int8.requantise(got, multiplier=2**30, shift=1, output_zero_point=-128), EVERY)


def test_empty_batches() -> None:
    x = np.zeros((0, 4, 4, 2), np.int8)
    numbers = {"multiplier": 2**30, "shift": 0}
    assert int8.convolve(x, np.zeros((3, 1, 1, 2), np.int8), **numbers).shape == (0, 4, 4, 3)
    assert int8.depthwise_convolve(x, np.zeros((1, 1, 2), np.int8), **numbers).shape == (0, 4, 4, 2)
    assert int8.fully_connected(x, np.zeros((3, 32), np.int8), **numbers).shape == (0, 3)
    assert int8.max_pool(x, 2).shape == int8.avg_pool(x, 2).shape == (0, 2, 2, 2)
    assert int8.softmax(x, input_scale=1.0).shape == x.shape


X, W = np.zeros((4, 4, 2), np.int8), np.zeros((3, 1, 1, 2), np.int8)
ONE = SimpleNamespace(conv={"multiplier": 2**30, "shift": 0})


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((X.astype(np.uint8), W), {}, "x: expected dtype int8 or int16, got uint8"),
        ((X, W.astype(np.int16)), {}, "weights: expected dtype int8, got int16"),
        ((X, np.zeros((3, 1, 1, 4), np.int8)), {}, "weights: expected a non-empty .* where groups divide in_ch=2"),
        ((X, np.zeros((3, 1, 1, 1), np.int8)), {}, "where groups divide in_ch=2 and out_ch, got shape"),
        ((X, W, np.zeros(3, np.int8)), {}, "bias: expected dtype int32, got int8"),
        ((X, W, np.zeros(2, np.int32)), {}, r"bias: expected shape \(3,\) = \(output channels,\), got \(2,\)"),
        ((X, W), {"multiplier": [1, 2]}, "multiplier: expected an integer, or one per output channel, 3, got"),
        ((X, W), {"multiplier": 0.5}, "multiplier: expected an integer"),
        ((X, W), {"multiplier": -1}, r"multiplier: expected 0\.\.2147483647, got -1"),
        ((X, W), {"shift": 31}, r"shift: expected -31\.\.30, got 31"),
        ((X, W), {"input_zero_point": 128}, "input_zero_point: expected an integer from -128 to 127, got 128"),
        ((X, W), {"output_zero_point": -129}, "output_zero_point: expected an integer from -128 to 127"),
        ((X, W), {"activation_max": 128}, "activation_max: expected an integer from -128 to 127, got 128"),
        ((X, W), {"activation_min": 5, "activation_max": 4}, "activation_min: expected at most activation_max, 4"),
        ((X, W), {"rounding": "single"}, "rounding: expected 'double' or 'float', got 'single'"),
        ((X, W), {"rounding": "float"}, "real: expected factors where rounding is 'float'"),
        ((X, W), {"real": 0.5}, "real: expected factors where rounding is 'float', and there only"),
        ((X, W), {"rounding": "float", "real": [0.5, 1.0]}, "real: expected a factor, or one per output channel"),
        ((X, W), {"dilation": 0}, "dilation: expected an integer from 1 to 65535, got 0"),
        ((X.astype(np.int16), W), {"input_zero_point": 1}, "input_zero_point: expected an integer from 0 to 0, got 1"),
        ((X.astype(np.int16), W), {"shift": 15}, r"shift: expected -31\.\.14, got 15"),
    ],
)
def test_errors_of_convolve(arguments: tuple, options: dict, message: str) -> None:
    with pytest.raises(CmsisnnError, match=message):
        int8.convolve(*arguments, **{**ONE.conv, **options})


def test_errors_name_the_argument() -> None:
    with pytest.raises(ShapeError, match=r"b: expected a shape that broadcasts with that of a, \(4,\), got \(3,\)"):
        int8.maximum(np.zeros(4, np.int8), np.zeros(3, np.int8))
    with pytest.raises(DtypeError, match="b: expected dtype int8, got int16"):
        int8.minimum(np.zeros(4, np.int8), np.zeros(4, np.int16))
    with pytest.raises(CmsisnnError, match="input_scale: expected a positive number, got 0"):
        int8.softmax(EVERY, input_scale=0)
    with pytest.raises(CmsisnnError, match=r"input_scale: expected beta \* input_scale of at least 2\^-26"):
        int8.softmax(EVERY, input_scale=1e-9)
    with pytest.raises(ShapeError, match="x: expected 1 to 8191 elements a row"):
        int8.softmax(np.zeros(8192, np.int8), input_scale=1.0)
    with pytest.raises(CmsisnnError, match="arithmetic: expected 'tflm' or 'litert', got 'ruy'"):
        int8.tanh(EVERY, input_scale=1.0, arithmetic="ruy")
    with pytest.raises(CmsisnnError, match="alpha: expected a finite number"):
        int8.leaky_relu(EVERY, float("nan"), input_scale=1.0, output_scale=1.0)
    with pytest.raises(ShapeError, match="axis: expected an integer from -1 to 0, got 1"):
        int8.mean(EVERY, 1, input_scale=1.0, output_scale=1.0)
