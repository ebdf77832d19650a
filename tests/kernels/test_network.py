# SPDX-License-Identifier: Apache-2.0
"""Networks: every operation against the oracle, batches and threads against single runs, errors."""

from __future__ import annotations

import pickle
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

import cmsisnn_x
from cmsisnn_x import _simd
from cmsisnn_x.errors import CmsisnnError, DtypeError, ShapeError
from cmsisnn_x.layers import Layer
from cmsisnn_x.network import Network
from helpers import reference
from helpers.arrays import assert_bit_exact, random_array

ELEMENT = {"q7": np.int8, "q15": np.int16}


NO_PADDING = ((0, 0), (0, 0))


def conv(name: str, dtype: str, shape, out_ch: int, kernel, stride=(1, 1), padding=NO_PADDING, seed=0, **more) -> Layer:
    rng = np.random.default_rng(seed)
    size = [(n + sum(p) - k) // s + 1 for n, p, k, s in zip(shape, padding, kernel, stride, strict=False)]
    return Layer(
        name, "conv2d", dtype, shape, (*size, out_ch), kernel, stride, padding,
        bias_shift=2, out_shift=9 if dtype == "q7" else 18, weights_dtype=dtype,
        weights=random_array(rng, (out_ch, *kernel, shape[2]), ELEMENT[dtype]),
        bias=random_array(rng, (out_ch,), ELEMENT[dtype]), **more,
    )  # fmt: skip


def depthwise(name: str, dtype: str, shape, kernel, padding) -> Layer:
    rng = np.random.default_rng(3)
    size = [n + sum(p) - k + 1 for n, p, k in zip(shape, padding, kernel, strict=False)]
    return Layer(
        name, "depthwise_conv2d", dtype, shape, (*size, shape[2]), kernel, (1, 1), padding,
        out_shift=8 if dtype == "q7" else 16, weights_dtype=dtype,
        weights=random_array(rng, (*kernel, shape[2]), ELEMENT[dtype]), activation="relu",
    )  # fmt: skip


def dense(name: str, dtype: str, weights_dtype: str, shape, rows: int) -> Layer:
    rng = np.random.default_rng(5)
    weights = random_array(rng, (rows, int(np.prod(shape))), ELEMENT[weights_dtype])
    return Layer(
        name, "fully_connected", dtype, shape, (rows,),
        out_shift=9 if weights_dtype == "q7" else 19, weights_dtype=weights_dtype,
        weights=weights, bias=random_array(rng, (rows,), ELEMENT[weights_dtype]),
    )  # fmt: skip


def every_operation(dtype: str) -> list[Layer]:
    """Asymmetric sizes and padding; each layer follows from the one before."""
    layers = [conv("conv1", dtype, (11, 9, 3), 20, (5, 3), (2, 1), ((2, 1), (1, 1)), activation="relu")]

    def add(op: str, name: str, shape=None, **more) -> None:
        before = layers[-1].output_shape
        layers.append(Layer(name, op, dtype, before, shape or before, **more))

    add("max_pool2d", "pool1", (3, 5, 20), kernel=(3, 2), stride=(2, 2), padding=((1, 2), (0, 1)), ceil_mode=True)
    layers.append(depthwise("dw", dtype, (3, 5, 20), (3, 3), ((1, 1), (1, 1))))
    layers.append(conv("pointwise", dtype, (3, 5, 20), 33, (1, 1), seed=7))
    add("tanh", "squash", int_bits=1)
    add("avg_pool2d", "pool2", (2, 3, 33), kernel=(2, 3), stride=(1, 2), padding=((0, 0), (1, 1)))
    layers.append(dense("fc1", dtype, dtype, (2, 3, 33), 17))
    add("sigmoid", "gate", int_bits=2)
    layers.append(dense("fc2", dtype, "q7", (17,), 12))
    add("relu", "rectify")
    add("softmax", "prob")
    return layers


def oracle(layers: list[Layer], x: np.ndarray) -> dict[str, np.ndarray]:
    outputs = {}
    for layer in layers:
        x = outputs[layer.name] = reference.layer(layer, x.reshape(layer.input_shape))
    return outputs


@pytest.fixture(params=["q7", "q15"])
def layers(request: pytest.FixtureRequest) -> list[Layer]:
    return every_operation(request.param)


@pytest.fixture
def batch(layers: list[Layer]) -> np.ndarray:
    return random_array(np.random.default_rng(11), (13, *layers[0].input_shape), layers[0].numpy_dtype)


@pytest.mark.parametrize("isa", _simd.available())
def test_every_layer_equals_the_oracle(layers: list[Layer], batch: np.ndarray, isa: str) -> None:
    network = Network(layers, isa=isa)
    for x in batch[:3]:
        expected = oracle(layers, x)
        traced = network.trace(x)
        assert list(traced) == [layer.name for layer in layers]
        for layer in layers:
            assert traced[layer.name].any(), f"{layer.name} is all zero: the comparison would prove nothing"
            assert_bit_exact(traced[layer.name], expected[layer.name], f"{isa} {layer.name}")
        assert_bit_exact(network.run(x), expected["prob"], isa)


def test_network_equals_the_single_functions() -> None:
    """No layer of a network is computed otherwise than the function of its name computes it."""
    layers = [every_operation("q7")[0]]
    x = random_array(np.random.default_rng(1), layers[0].input_shape, np.int8)
    (layer,) = layers
    (top, _), (left, _) = layer.padding
    single = cmsisnn_x.convolve(
        x, layer.weights, layer.bias, stride=layer.stride, padding=(top, left), output_size=layer.output_shape[:2],
        bias_shift=layer.bias_shift, out_shift=layer.out_shift, activation="relu",
    )  # fmt: skip
    assert_bit_exact(Network(layers).run(x), single)


@pytest.mark.parametrize("threads", [1, 2, 5, 64, np.int64(3)])
def test_batch_equals_its_samples(layers: list[Layer], batch: np.ndarray, threads: int) -> None:
    network = Network(layers)
    expected = np.stack([network.run(x) for x in batch])
    assert_bit_exact(network.run(batch, threads=threads), expected)
    traced = network.trace(batch)
    assert_bit_exact(traced["prob"], expected)
    assert traced["conv1"].shape == (len(batch), *layers[0].output_shape)


def test_empty_batch(layers: list[Layer], batch: np.ndarray) -> None:
    network = Network(layers)
    assert_bit_exact(network.run(batch[:0], threads=3), np.empty((0, *network.output_shape), batch.dtype))
    assert network.trace(batch[:0])["conv1"].shape == (0, *layers[0].output_shape)


def test_concurrent_runs_share_nothing(layers: list[Layer], batch: np.ndarray) -> None:
    network = Network(layers)
    expected = network.run(batch)
    with ThreadPoolExecutor(8) as pool:
        for out in pool.map(lambda i: network.run(batch, threads=1 + i % 3), range(64)):
            assert_bit_exact(out, expected)


@pytest.mark.parametrize("threads", [1, 2])
def test_the_gil_is_released(threads: int) -> None:
    """With so long a switch interval another thread runs only if the network lets go of its own accord."""
    layers = every_operation("q15")
    network = Network(layers, isa="portable")
    batch = np.zeros((3000, *layers[0].input_shape), np.int16)
    ticks, started, done = 0, threading.Event(), threading.Event()

    def tick() -> None:
        nonlocal ticks
        started.set()
        while not done.wait(0.0005):
            ticks += 1

    thread = threading.Thread(target=tick)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(60)
    try:
        thread.start()
        started.wait()
        before = ticks
        network.run(batch, threads=threads)
        during = ticks - before
    finally:
        done.set()
        sys.setswitchinterval(interval)
        thread.join()
    assert during > 2


def test_input_may_be_strided_or_read_only(layers: list[Layer], batch: np.ndarray) -> None:
    network = Network(layers)
    expected = network.run(batch)
    assert_bit_exact(network.run(np.asfortranarray(batch)), expected)
    spread = np.repeat(batch, 2, axis=0)[::2]
    assert not spread.flags.c_contiguous
    assert_bit_exact(network.run(spread), expected)
    frozen = batch.copy()
    frozen.flags.writeable = False
    assert_bit_exact(network.run(frozen), expected)


def test_one_sample_in_any_guise(layers: list[Layer], batch: np.ndarray) -> None:
    """What the short way for one contiguous sample does not take goes the long way."""
    network, x = Network(layers), batch[0]
    expected = network.run(batch[:1])[0]
    frozen = x.copy()
    frozen.flags.writeable = False
    wide = np.stack([x, x], axis=-1)
    for same in (x, frozen, wide[..., 0], np.asfortranarray(x), memoryview(x.copy())):
        assert_bit_exact(network.run(same), expected)
    if x.dtype == np.int16:
        with pytest.raises(DtypeError):
            network.run(x.byteswap().view(x.dtype.newbyteorder()))
    with pytest.raises(DtypeError):
        network.run(x.view(f"u{x.dtype.itemsize}"))
    with pytest.raises(ShapeError):
        network.run(x[None, None])


def test_missing_bias_is_zero() -> None:
    layer = conv("c", "q7", (5, 5, 4), 6, (3, 3))
    x = random_array(np.random.default_rng(2), (5, 5, 4), np.int8)
    zero = replace(layer, bias=np.zeros(6, np.int8))
    assert_bit_exact(Network([replace(layer, bias=None)]).run(x), Network([zero]).run(x))


def test_pickled_network_gives_the_same_bits(layers: list[Layer], batch: np.ndarray) -> None:
    network = Network(layers, isa="portable")
    copy = pickle.loads(pickle.dumps(network))
    assert copy.isa == "portable"
    assert_bit_exact(copy.run(batch), network.run(batch))


def test_later_changes_of_the_weights_do_not_reach_the_network() -> None:
    layer = conv("c", "q7", (5, 5, 4), 6, (3, 3))
    x = random_array(np.random.default_rng(2), (5, 5, 4), np.int8)
    network = Network([layer])
    before = network.run(x)
    layer.weights[:] = 0
    assert_bit_exact(network.run(x), before)


def test_wrong_input_is_named(layers: list[Layer]) -> None:
    network = Network(layers)
    other = np.int16 if network.input_dtype == np.int8 else np.int8
    with pytest.raises(DtypeError, match=f"x: expected {network.input_dtype} .* got {np.dtype(other)}"):
        network.run(np.zeros(network.input_shape, other))
    for shape in ((), (11, 9), (9, 11, 3), (1, 1, 11, 9, 3)):
        with pytest.raises(ShapeError, match=r"x: expected shape \(11, 9, 3\) or \(n, 11, 9, 3\), got "):
            network.run(np.zeros(shape, network.input_dtype))
    for threads in (0, -1, 1.5, None):
        with pytest.raises(CmsisnnError, match="threads: expected a positive integer"):
            network.run(np.zeros((2, *network.input_shape), network.input_dtype), threads=threads)


BASE = conv("c", "q7", (5, 5, 4), 6, (3, 3))
POOL = Layer("p", "max_pool2d", "q7", (4, 4, 2), (2, 2, 2), (2, 2), (2, 2))


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([], "at least one layer"),
        ([BASE, BASE], r"'c': expected input shape \(3, 3, 6\), the output of 'c', got \(5, 5, 4\)"),
        ([BASE, Layer("r", "relu", "q15", (3, 3, 6), (3, 3, 6))], "layer 'r': expected dtype q7"),
        ([replace(BASE, weights=None)], "layer 'c': expected weights, got None"),
        ([replace(BASE, weights=BASE.weights.astype(np.int16))], "expected weights of type int8, got int16"),
        ([replace(BASE, bias=np.zeros(5, np.int8))], r"layer 'c': expected bias of shape \(6,\), got \(5,\)"),
        ([replace(BASE, kernel=(2, 3))], r"layer 'c': expected weights of shape \(6, 2, 3, 4\)"),
        ([replace(BASE, out_shift=32)], r"expected bias_shift and out_shift in 0\.\.31, got \(2, 32\)"),
        ([replace(BASE, padding=((-1, 0), (0, 0)))], "padding of at least 0"),
        ([replace(BASE, stride=(0, 1))], "positive kernel and stride"),
        ([replace(BASE, activation="tanh")], "layer 'c': expected activation"),
        ([replace(POOL, activation="relu")], "layer 'p': expected activation"),
        ([replace(POOL, padding=((2, 0), (0, 0)))], "windows that meet the image"),
        ([replace(POOL, output_shape=(2, 3, 2))], "windows that meet the image"),
        ([replace(POOL, output_shape=(2, 2, 3))], "as many channels as the input"),
        ([Layer("s", "softmax", "q7", (32768,), (32768,))], r"at most 32767 elements, got \(32768,\)"),
        ([replace(BASE, op="conv")], "layer 'c': expected op in conv2d, .*, got 'conv'"),
        ([replace(BASE, dtype="q31")], "layer 'c': expected dtype in q7, q15, int8, uint8, int16, got 'q31'"),
        ([Layer("s", "softmax", "q7", (4,), (5,))], r"layer 's': expected output shape \(4,\), got \(5,\)"),
        ([Layer("t", "tanh", "q7", (4,), (4,), int_bits=4)], r"int_bits in 0\.\.3, got 4"),
    ],
)  # fmt: skip
def test_impossible_layers_are_refused(layers: list[Layer], message: str) -> None:
    with pytest.raises(CmsisnnError, match=message):
        Network(layers)
