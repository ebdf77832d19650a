# SPDX-License-Identifier: Apache-2.0
"""Quantisation: formats, shifts, and integers that stand for the float tensors."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from math import e
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tuning
from helpers.onnx_models import model, node, save
from tuning import ModelError, OptionError
from tuning.check import check_model
from tuning.importers.float_network import from_layers
from tuning.quantize import Data, evaluate, load_data, load_reference
from tuning.quantize.data import channels_last, make_data
from tuning.quantize.fixed_point import quantizer
from tuning.quantize.fixed_point.formats import fitting_fraction, spell, to_integers
from tuning.quantize.fixed_point.quantizer import ACCUMULATOR_MAX, quantize_network, worst_accumulator
from tuning.quantize.forward import run
from tuning.quantize.rewrites import equalised, fold_clips, fold_softmax

RNG = np.random.default_rng(3)
START = RNG.bit_generator.state


@pytest.fixture(autouse=True)
def _same_numbers_in_any_order() -> None:
    RNG.bit_generator.state = START


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


# ---------------------------------------------------------------- formats


@settings(deadline=None, max_examples=200)
@given(st.lists(st.floats(-1e6, 1e6, allow_subnormal=False), min_size=1, max_size=6), st.sampled_from([8, 16]))
def test_the_fitting_format_is_the_finest_that_saturates_nothing(values: list[float], bits: int) -> None:
    array = np.array(values)
    fraction = fitting_fraction(array, bits)
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1

    def integers(f: int) -> list[float]:
        return [float(np.floor(np.ldexp(value, f) + 0.5)) for value in array]

    assert all(low <= value <= high for value in integers(fraction))
    if array.any() and fraction < 40:
        assert any(not low <= value <= high for value in integers(fraction + 1))
    assert np.array_equal(to_integers(array, fraction, np.dtype(f"int{bits}")), integers(fraction))


def test_integers_round_half_up_and_saturate() -> None:
    values = np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 200, -200]) / 4
    assert to_integers(values, 2, np.dtype(np.int8)).tolist() == [-2, -1, 0, 1, 2, 3, 127, -128]
    assert [spell(7, 8), spell(0, 8), spell(9, 8), spell(-1, 8)] == ["Q0.7", "Q7.0", "Q-2.9", "Q8.-1"]


@pytest.mark.parametrize("dtype", ["q7", "q15"])
@pytest.mark.parametrize("method", ["max", "error", "search"])
def test_every_tensor_stands_for_its_float_tensor(dtype: str, method: str) -> None:
    x = samples()
    layers = convolutional()
    result = tuning.quantize(layers, x, dtype, input_shape=INPUT, method=method)
    # The float network is the one that was given ...
    names = [layer.name for layer in result.layers]
    given_arrays = from_layers(layers, INPUT).arrays()
    if method == "max":
        for name, array in result.reference.arrays.items():
            assert np.array_equal(array, given_arrays[name].astype(np.float32)), name
    *_, (_, out) = result.reference.tensors(x)
    assert np.abs(out - run_float(layers, x)[-1]).max() < 1e-4
    # ... the shifts follow from the formats ...
    fraction = result.reference.input_fraction
    for layer, row in zip(result.layers, result.report, strict=True):
        assert row.input_fraction == fraction
        if layer.weights is not None:
            products = fraction + result.reference.weights_fractions[layer.name]
            assert layer.bias_shift == products - result.reference.bias_fractions[layer.name]
            assert layer.out_shift == products - row.output_fraction
            assert 0 <= layer.bias_shift <= 31
            assert 0 <= layer.out_shift <= 31
        elif layer.op == "tanh":
            assert (layer.int_bits, row.output_fraction) == (BITS[dtype] - 1 - fraction, BITS[dtype] - 1)
        else:
            assert row.output_fraction == fraction
        fraction = row.output_fraction
        assert result.reference.fractions[layer.name] == fraction
    # ... and the integers are near.
    trace = result.model.network().trace(result.reference.quantize(x))
    least = {"q7": 15, "q15": 45}[dtype]
    for (layer, truth), row in zip(result.reference.tensors(x), result.report, strict=True):
        got = result.reference.dequantize(layer.name, trace[layer.name])
        ratio = 10 * np.log10(np.square(truth, dtype=np.float64).sum() / np.square(got - truth).sum())
        assert ratio >= least, layer.name
        assert ratio == pytest.approx(row.snr_db, abs=1e-6)
    assert list(trace) == names


def test_methods_are_each_better_than_the_one_before() -> None:
    layers, x = convolutional(), samples(256)
    found = [
        tuning.quantize(layers, x, input_shape=INPUT, method=method).report[-1].snr_db
        for method in ("max", "error", "search")
    ]
    assert found[0] < found[2]
    assert found[1] < found[2]


@pytest.mark.parametrize("dtype", ["q7", "q15"])
def test_channels_of_unlike_strength_are_equalised(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Filters whose scales differ by orders of magnitude, undone by the next layer."""
    layers, channels, shape = [], 2, (8, 6, 2)
    for _ in range(3):
        scale, other = (np.exp(RNG.normal(0, 1.5, 12)) for _ in range(2))
        weights = draw(12, 3, 3, channels, scale=(2 / 9 / channels) ** 0.5) * scale[:, None, None, None]
        layers.append(
            {"op": "conv2d", "weights": weights, "bias": 0.1 * scale, "activation": "relu", "padding": "same"}
        )
        weights = draw(3, 3, 12, scale=0.4) * other / scale
        layers.append({"op": "depthwise_conv2d", "weights": weights, "bias": 0.1 * other, "padding": 1})
        layers.append({"op": "relu"})
        channels = 12
    layers += [{"op": "max_pool2d", "kernel": 2}, {"op": "fully_connected", "weights": draw(5, 144, scale=0.1)}]
    x = samples(60, shape)
    network = from_layers(layers, shape)
    even = equalised(network)
    wanted, got = ([out for _, out in run(item.geometry(dtype), item.arrays(), x)][-1] for item in (network, even))
    assert np.abs(got - wanted).max() < 1e-4 * np.abs(wanted).max()
    for before, after in zip(network.layers[:8:3], even.layers[:8:3], strict=True):
        strengths = [np.abs(item.weights).max(axis=(1, 2, 3)) for item in (before, after)]
        assert np.ptp(np.log(strengths[1])) < np.ptp(np.log(strengths[0]))
    with_it = tuning.quantize(layers, x, dtype, input_shape=shape)
    assert any("equalised" in note for note in with_it.notes)
    monkeypatch.setattr(quantizer, "equalised", lambda item: item)
    without = tuning.quantize(layers, x, dtype, input_shape=shape)
    assert with_it.report[-1].snr_db > without.report[-1].snr_db + 3


def test_search_loses_no_answer_on_labelled_data() -> None:
    layers = [*convolutional(), {"op": "softmax"}]
    x = samples(300)
    y = np.asarray(list(run_float(layers, x))[-1]).argmax(axis=1)
    scores = {}
    for method in ("max", "error", "search"):
        result = tuning.quantize(layers, (x, y), input_shape=INPUT, method=method, softmax="answers")
        assert result.accuracy["float"] == 1.0
        scores[method] = result.accuracy["q7"]
        integers = result.model.network().run(result.reference.quantize(x))
        assert (integers.argmax(axis=1) == y).mean() == scores[method]
        assert result.agreement == scores[method]
    assert scores["search"] >= scores["error"]
    assert scores["search"] > 0.9


def run_float(layers: list[dict], x: np.ndarray, shape: tuple[int, ...] = INPUT):
    network = from_layers(layers, shape)
    return [out for _, out in run(network.geometry("q7"), network.arrays(), x)]


# ---------------------------------------------------------------- what gives way


def test_a_negative_shift_is_resolved_and_said() -> None:
    """Outputs far smaller than input and weights: the output cannot have more fraction bits than the products."""
    weights = np.zeros((2, 4))
    weights[:, :2] = [[100, -100], [90, -90]]
    x = np.repeat(RNG.integers(-100, 100, (50, 2)), 2, axis=1).astype(np.float32)
    x = np.concatenate([x[:, :2], x[:, 2:]], axis=1)
    result = tuning.quantize([{"op": "fully_connected", "weights": weights / 3}], x, method="max")
    assert result.layers[0].out_shift == 0
    assert any("else out_shift would be negative: fc1" in note for note in result.notes)
    biased = [{"op": "fully_connected", "weights": weights, "bias": np.array([1e-4, 2e-4])}]
    result = tuning.quantize(biased, x, method="max")
    assert result.layers[0].bias_shift == 0
    assert any("else bias_shift would be negative: fc1" in note for note in result.notes)


@pytest.mark.parametrize("op", ["fully_connected", "conv2d", "depthwise_conv2d"])
def test_no_input_overflows_the_accumulator(op: str) -> None:
    """q15: the input that drives each sum to its end gives what exact arithmetic gives."""
    if op == "fully_connected":
        shape: tuple[int, ...] = (300,)
        weights = np.abs(draw(4, 300)) + 0.5
    elif op == "conv2d":
        shape, weights = (5, 5, 12), np.abs(draw(4, 5, 5, 12)) + 0.5
    else:
        shape, weights = (5, 5, 4), np.abs(draw(5, 5, 4)) + 0.5
    layers = [{"op": op, "weights": weights, "bias": draw(4)}]
    result = tuning.quantize(layers, RNG.uniform(-1, 1, (20, *shape)), "q15", input_shape=shape)
    (layer,) = result.layers
    worst = worst_accumulator(layer, layer.weights, layer.bias, layer.requant, (-32768, 32767))
    assert ACCUMULATOR_MAX // 4 < worst <= ACCUMULATOR_MAX
    assert any("overflow" in note for note in result.notes) or op == "depthwise_conv2d"
    axes = (0, 1) if op == "depthwise_conv2d" else tuple(range(1, layer.weights.ndim))
    for value in (-32768, 32767):
        x = np.full(shape, value, np.int16)
        sums = (layer.weights.astype(object).sum(axis=axes)) * value
        exact = sums + (layer.bias.astype(object) << layer.bias_shift) + (1 << layer.out_shift >> 1)
        wanted = [min(max(int(total) >> layer.out_shift, -32768), 32767) for total in exact]
        assert result.model.network().run(x).ravel().tolist() == wanted


@pytest.mark.parametrize("scale", [1e-30, 1e-6, 1e6, 1e30])
@pytest.mark.parametrize("dtype", ["q7", "q15"])
def test_extreme_scales(scale: float, dtype: str) -> None:
    layers = [
        {"op": "fully_connected", "weights": draw(6, 5) * scale, "bias": draw(6) * scale, "activation": "relu"},
        {"op": "fully_connected", "weights": draw(3, 6), "bias": draw(3)},
    ]
    result = tuning.quantize(layers, samples(30, (5,)), dtype)
    for layer in result.layers:
        assert 0 <= layer.bias_shift <= 31
        assert 0 <= layer.out_shift <= 31
    result.model.network().run(result.reference.quantize(samples(4, (5,))))


@pytest.mark.parametrize("strength", [1e-30, 1e30])
def test_extreme_inputs(strength: float) -> None:
    layers = [{"op": "fully_connected", "weights": draw(3, 5)}]
    result = tuning.quantize(layers, samples(40, (5,)) * np.float32(strength), "q15")
    assert result.report[0].snr_db > 40 or strength < 1
    layers = [{"op": "fully_connected", "weights": np.full((3, 5), 1e30)}] * 2
    with pytest.raises(tuning.TuningError, match="weights of shape"):
        tuning.quantize(layers, np.ones((4, 5)))
    with pytest.raises(OptionError, match="the float network overflows on it"):
        tuning.quantize(layers[:1], np.full((4, 5), 1e20))


def test_dead_layers_and_one_sample() -> None:
    layers = [
        {"op": "fully_connected", "weights": np.zeros((3, 5)), "activation": "relu"},
        {"op": "fully_connected", "weights": draw(2, 3)},
        {"op": "softmax"},
    ]
    result = tuning.quantize(layers, np.ones((1, 5)))
    assert result.agreement == 1.0
    assert "exact" in str(result)


# ---------------------------------------------------------------- functions


@pytest.mark.parametrize("op", ["sigmoid", "tanh"])
@pytest.mark.parametrize("spread", [0.1, 1.0, 30.0])
@pytest.mark.parametrize("dtype", ["q7", "q15"])
def test_sigmoid_and_tanh_read_their_inputs_format(op: str, spread: float, dtype: str) -> None:
    layers = [{"op": "fully_connected", "weights": draw(6, 5, scale=spread)}, {"op": op}]
    x = samples(200, (5,))
    result = tuning.quantize(layers, x, dtype)
    assert 0 <= result.layers[1].int_bits <= 3
    *_, (_, wanted) = result.reference.tensors(x)
    got = result.model.network().run(result.reference.quantize(x)) / 2.0 ** (BITS[dtype] - 1)
    # The tables have 256 entries over -8..8: a sixteenth of tanh's slope at most. Large weights are rounded coarsely.
    assert np.abs(got - wanted).mean() <= {"q7": 0.03, "q15": 0.001}[dtype]
    assert np.abs(got - wanted).max() <= {"q7": 0.13, "q15": 0.006}[dtype] or spread > 1


def test_a_lone_sigmoid_answers_yes_or_no() -> None:
    layers = [{"op": "fully_connected", "weights": draw(1, 5), "bias": [0.3]}, {"op": "sigmoid"}]
    x = samples(200, (5,))
    y = run_float(layers, x, (5,))[-1][:, 0] >= 0.5
    result = tuning.quantize(layers, (x, y.astype(int)))
    assert result.accuracy["float"] == 1.0
    assert result.accuracy["q7"] >= 0.97
    with pytest.raises(OptionError, match="class numbers below 2, as the network has 1 output, got 2"):
        tuning.quantize(layers, (x, np.full(200, 2)))


@pytest.mark.parametrize("dtype", ["q7", "q15"])
def test_relu6_is_saturation(dtype: str) -> None:
    layers = [
        {"op": "conv2d", "weights": draw(8, 3, 3, 2), "bias": draw(8) + 1, "activation": "relu", "clip": 6.0},
        {"op": "max_pool2d", "kernel": 2},
        {"op": "depthwise_conv2d", "weights": draw(3, 3, 8), "bias": draw(8) + 3, "activation": "relu", "clip": 6.0},
        {"op": "fully_connected", "weights": draw(5, 48)},
    ]
    network = from_layers(layers, INPUT)
    folded = fold_clips(network, dtype)
    x = samples(40)
    wanted, got = ([out for _, out in run(item.geometry(dtype), item.arrays(), x)] for item in (network, folded))
    assert (wanted[0] == 6).mean() > 0.01
    assert np.abs(got[-1] - wanted[-1]).max() < 1e-3
    assert got[0].max() == pytest.approx(1 - 2.0 ** (1 - BITS[dtype]))
    result = quantize_network(network, x, dtype=dtype)
    # Never fewer fraction bits than those with which the format ends where the activation does.
    assert result.reference.fractions["conv1"] >= BITS[dtype] - 1
    assert result.report[-1].snr_db > {"q7": 15, "q15": 45}[dtype]


_CONV = {"op": "conv2d", "weights": RNG.normal(0, 1, (8, 3, 3, 2)), "bias": RNG.normal(0, 1, 8) + 1}
CLIPPED: dict[str, list[dict]] = {
    "last": [{**_CONV, "activation": "relu", "clip": 6.0}],
    "last, alone": [_CONV, {"op": "max_pool2d", "kernel": 2}, {"op": "relu", "clip": 6.0}],
    "last of vectors": [
        {"op": "fully_connected", "weights": RNG.normal(0, 1, (3, 200)), "activation": "relu", "clip": 6.0},
    ],
    "behind an average": [
        _CONV, {"op": "avg_pool2d", "kernel": 2}, {"op": "relu", "clip": 0.7},
        {"op": "fully_connected", "weights": RNG.normal(0, 1, (4, 128))},
    ],
    "first": [{"op": "relu", "clip": 0.7}, _CONV],
    "first of vectors": [{"op": "relu", "clip": 0.7}, {"op": "tanh"}],
    "in front of a curve": [{**_CONV, "activation": "relu", "clip": 3.0}, {"op": "sigmoid"}],
    "twice": [
        {**_CONV, "activation": "relu", "clip": 6.0}, {"op": "relu", "clip": 2.0}, {"op": "max_pool2d", "kernel": 8},
    ],
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["q7", "q15"])
@pytest.mark.parametrize("place", CLIPPED)
def test_relu6_may_stand_anywhere(dtype: str, place: str) -> None:
    """Where no scale can be changed, the end is turned to 0, where a ReLU has it, and back again: exactly."""
    layers = CLIPPED[place]
    shape = (200,) if place == "last of vectors" else (9,) if place == "first of vectors" else (10, 10, 2)
    x = samples(60, shape)
    result = tuning.quantize(layers, x, dtype, input_shape=shape)
    *_, (_, out) = result.reference.tensors(x)
    wanted = run_float(layers, x, shape)[-1]
    assert np.abs(out.reshape(wanted.shape) - wanted).max() < 1e-3
    assert result.report[-1].snr_db > {"q7": 18, "q15": 50}[dtype]
    if place.startswith("last"):
        clip = layers[-1]["clip"]
        assert (wanted == clip).mean() > 0.01
        made = result.model.network().run(result.reference.quantize(x))
        got = result.reference.dequantize(result.layers[-1].name, made)
        assert got.max() == clip
        assert got.min() == 0


def test_relu6_of_a_long_vector_is_refused_with_the_scheme_that_works() -> None:
    layers = [{"op": "fully_connected", "weights": draw(300, 5), "activation": "relu", "clip": 6.0}]
    with pytest.raises(ModelError, match=r"clipped at 6 .* expected --scheme int8"):
        tuning.quantize(layers, samples(20, (5,)))
    assert tuning.quantize(layers, samples(20, (5,)), "int8").report[-1].snr_db > 30


def test_relu6_behind_a_maximum_and_twice() -> None:
    """The lower end counts, and one that does nothing may stand anywhere."""
    conv = {"op": "conv2d", "weights": draw(8, 3, 3, 2), "bias": draw(8) + 1}
    layers = [conv, {"op": "max_pool2d", "kernel": 2}, {"op": "relu", "clip": 6.0}, {"op": "relu", "clip": 3.0}]
    layers += [
        {"op": "avg_pool2d", "kernel": 2},
        {"op": "relu", "clip": 4.0},
        {"op": "fully_connected", "weights": draw(4, 32)},
    ]
    result = tuning.quantize(layers, samples(60, (10, 10, 2)), "q15", input_shape=(10, 10, 2))
    assert result.report[-1].snr_db > 45
    x = samples(60, (10, 10, 2))
    *_, (_, out) = result.reference.tensors(x)
    assert np.abs(out - run_float(layers, x, (10, 10, 2))[-1]).max() < 1e-3


# ---------------------------------------------------------------- softmax


def logits_network(spread: float) -> list[dict]:
    return [
        {"op": "fully_connected", "weights": draw(10, 20, scale=spread), "bias": draw(10, scale=spread)},
        {"op": "softmax"},
    ]


def test_the_scale_of_the_softmax_goes_into_the_layer_before() -> None:
    network = from_layers(
        [*logits_network(1.0)[:1], {"op": "relu"}, {"op": "softmax"}],
    )
    folded = fold_softmax(network)
    x = samples(30, (20,))
    *_, (_, wanted) = run(network.geometry("q7"), network.arrays(), x, e)
    *_, (_, got) = run(folded.geometry("q7"), folded.arrays(), x, folded.softmax_base)
    assert folded.softmax_base == 2.0
    assert np.abs(got - wanted).max() < 1e-5


@pytest.mark.parametrize("dtype", ["q7", "q15"])
def test_probabilities_are_those_of_base_e(dtype: str) -> None:
    x = samples(300, (20,))
    result = tuning.quantize(logits_network(2.0), x, dtype, softmax="probabilities")
    assert result.report[1].input_fraction == 0
    *_, (_, wanted) = result.reference.tensors(x)
    got = result.model.network().run(result.reference.quantize(x)) / 2.0 ** (BITS[dtype] - 1)
    # Half a bit of log-probability either way.
    assert np.abs(got - wanted).mean() < 0.01
    assert any("folded into fc1" in note for note in result.notes)


def test_answers_come_before_probabilities() -> None:
    """Logits close together tie in a format without fraction bits: the format keeps them apart, and says so."""
    x = samples(400, (20,))
    layers = logits_network(1.6)
    chosen = {wish: tuning.quantize(layers, x, softmax=wish) for wish in ("auto", "answers", "probabilities")}
    fractions = {wish: result.report[1].input_fraction for wish, result in chosen.items()}
    assert 0 == fractions["probabilities"] < fractions["auto"] <= fractions["answers"]
    assert chosen["auto"].agreement >= chosen["answers"].agreement - 0.01
    assert chosen["probabilities"].agreement < chosen["auto"].agreement
    (note,) = (note for note in chosen["auto"].notes if note.startswith("prob: "))
    assert f"raised to the power of {2 ** fractions['auto']} (too sure)" in note
    assert "--softmax probabilities: error" in note


@pytest.mark.parametrize("dtype", ["q7", "q15"])
def test_a_softmax_that_would_be_one_hot_is_refused_with_the_scheme_that_works(dtype: str) -> None:
    x, layers = samples(200, (20,)), logits_network(0.15)
    with pytest.raises(OptionError, match=r"^softmax: prob computes 2\*\*integer .*; expected --scheme int8") as said:
        tuning.quantize(layers, x, dtype)
    power = int(re.search(r"to the power of (\d+)", str(said.value))[1])
    result = tuning.quantize(layers, x, dtype, softmax="answers")
    assert power <= 2 ** result.report[1].input_fraction
    assert result.agreement > 0.95
    got = result.model.network().run(result.reference.quantize(x)) / 2.0 ** (BITS[dtype] - 1)
    wanted = run_float(layers, x, (20,))[-1]
    assert np.abs(got - wanted).sum(axis=1).mean() / 2 > 0.25
    assert re.search(rf"to the power of {2 ** result.report[1].input_fraction} ", result.notes[-1])
    int8 = tuning.quantize(layers, x, "int8")
    assert np.abs(int8.outputs(x).reshape(wanted.shape) - wanted).sum(axis=1).mean() / 2 < 0.05


@pytest.mark.parametrize("dtype", ["q7", "q15"])
@pytest.mark.parametrize("kind", ["alone", "of an image", "behind a sigmoid"])
def test_a_softmax_without_a_layer_in_front_gets_one_that_takes_up_its_base(dtype: str, kind: str) -> None:
    spread = 40.0 if kind == "behind a sigmoid" else 6.0
    layers: list[dict] = [{"op": "softmax", "name": "prob"}]
    shape: tuple[int, ...] = (2, 2, 3) if kind == "of an image" else (5,)
    if kind == "behind a sigmoid":
        layers = [{"op": "sigmoid"}, *layers]
    x = spread * samples(200, shape)
    result = tuning.quantize(layers, x, dtype, input_shape=shape, softmax="probabilities")
    scale = result.layers[-2]
    assert scale.op == ("depthwise_conv2d" if kind == "of an image" else "fully_connected")
    assert result.reference.softmax_base == 2
    assert any(f"folded into {scale.name}" in note for note in result.notes)
    *_, (_, wanted) = result.reference.tensors(x)
    assert np.abs(wanted.reshape(len(x), -1) - run_float(layers, x, shape)[-1].reshape(len(x), -1)).max() < 1e-5
    got = result.model.network().run(result.reference.quantize(x)) / 2.0 ** (BITS[dtype] - 1)
    assert np.abs(got.reshape(wanted.shape) - wanted).mean() < 0.05


def test_a_softmax_that_nothing_can_prepare_is_warned_of() -> None:
    result = tuning.quantize([{"op": "sigmoid"}, {"op": "softmax"}], samples(50, (300,)), input_shape=(300,))
    assert any("its values are no probabilities" in note for note in result.notes)
    assert result.reference.softmax_base == e


# ---------------------------------------------------------------- files


def test_what_is_saved_is_what_was_made(tmp_path: Path) -> None:
    layers = [*convolutional(), {"op": "softmax"}]
    x = samples(80)
    result = tuning.quantize(layers, x, input_shape=INPUT, name="net", softmax="answers")
    path = result.save(tmp_path / "deep" / "net.yaml")
    assert sorted(item.name for item in path.parent.iterdir()) == ["net.npz", "net.yaml", "net_float.npz"]
    loaded = tuning.load_model(path)
    assert loaded.digest == result.model.digest
    assert loaded.float_path == path.with_name("net_float.npz")
    reference = load_reference(loaded)
    made = result.reference
    for name in ("input_fraction", "fractions", "weights_fractions", "bias_fractions", "softmax_base"):
        assert getattr(reference, name) == getattr(made, name)
    assert (reference.input_layout, reference.output_layout) == (made.input_layout, made.output_layout)
    for key, array in made.arrays.items():
        assert np.array_equal(reference.arrays[key], array)
        assert reference.arrays[key].dtype == np.float32
    for name in ("net.npz", "net", ""):
        with pytest.raises(OptionError, match="expected a file name ending"):
            result.save(tmp_path / name)
    again = tuning.quantize(layers, x, input_shape=INPUT, name="net", softmax="answers")
    again = again.save(tmp_path / "again" / "net.yaml")
    for item in path.parent.iterdir():
        assert item.read_bytes() == (again.parent / item.name).read_bytes(), item.name


def test_a_float_file_that_does_not_belong_is_refused(tmp_path: Path) -> None:
    layers = [{"op": "fully_connected", "weights": draw(3, 5)}]
    path = tuning.quantize(layers, samples(5, (5,)), name="net").save(tmp_path / "net.yaml")
    file = tmp_path / "net_float.npz"
    with np.load(file) as stored:
        content = dict(stored)

    def message(**changes: np.ndarray | None) -> str:
        changed = {key: value for key, value in (content | changes).items() if value is not None}
        np.savez(file, **changed)
        with pytest.raises(ModelError) as caught:
            load_reference(tuning.load_model(path))
        return str(caught.value)

    assert "fc1/fraction: expected finite numbers of shape [], got nothing" in message(**{"fc1/fraction": None})
    assert "fc1/weights: expected finite numbers of shape [3, 5]" in message(**{"fc1/weights": np.zeros((5, 3))})
    assert "NaN" in message(**{"fc1/bias": np.full(3, np.nan)})
    assert "expected a number of fraction bits" in message(input_fraction=np.array(1.5))
    assert "expected one of NHWC, NCHW, got 'CHWN'" in message(input_layout=np.array("CHWN"))
    file.write_bytes(b"junk")
    with pytest.raises(ModelError, match="cannot be read"):
        load_reference(tuning.load_model(path))
    file.unlink()
    with pytest.raises(ModelError, match="no such file"):
        load_reference(tuning.load_model(path))
    with pytest.raises(ModelError, match="expected the key 'float'"):
        load_reference(tuning.load_model("cifar10"))


def test_data_files(tmp_path: Path) -> None:
    x, y = samples(6, (4,)), np.arange(6) % 3
    np.savez(tmp_path / "a.npz", x=x, y=y)
    np.savez(tmp_path / "b.npz", inputs=x.astype(np.float64), labels=np.eye(3)[y])
    np.savez(tmp_path / "c.npz", x)
    np.save(tmp_path / "d.npy", (x * 10).astype(np.int16))
    assert np.array_equal(load_data(tmp_path / "a.npz").x, load_data(tmp_path / "b.npz").x)
    assert np.array_equal(load_data(tmp_path / "b.npz").y, y)
    assert load_data(tmp_path / "c.npz").y is None
    assert load_data(tmp_path / "d.npy").x.dtype == np.float32

    def message(**arrays: np.ndarray) -> str:
        np.savez(tmp_path / "bad.npz", **arrays)
        with pytest.raises(OptionError) as caught:
            load_data(tmp_path / "bad.npz")
        return str(caught.value)

    assert "under the key 'x' or 'inputs', got: images, z" in message(images=x, z=y)
    assert "got both" in message(x=x, inputs=x)
    assert "NaN or infinity in sample 2" in message(x=np.where(np.arange(6)[:, None] == 2, np.nan, x))
    assert "expected samples along the first axis" in message(x=np.zeros(3))
    assert "expected samples" in message(x=np.zeros((0, 4)))
    assert "expected numbers" in message(x=np.array([["a"]]))
    assert "expected 6 class numbers" in message(x=x, y=y[:5])
    assert "finite numbers" in message(x=x, y=y * np.nan)
    assert "cannot be read" in message(x=np.array([[None]]))
    (tmp_path / "bad.npz").write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(OptionError, match="cannot be read"):
        load_data(tmp_path / "bad.npz")
    with pytest.raises(OptionError, match="no such file"):
        load_data(tmp_path / "none.npz")


@pytest.mark.parametrize(
    ("layers", "options", "says"),
    [
        ([], {}, "at least one layer"),
        ({"op": "relu"}, {}, r"layers\[0\]: expected a mapping"),
        ([{"op": "lstm"}], {}, r"layers\[0\]: op: expected an operation"),
        ([{"op": "conv2d", "weights": np.zeros((2, 3, 3, 1))}], {}, "input_shape"),
        ([{"op": "conv2d"}], {"input_shape": INPUT}, "weights: expected an array"),
        ([{"op": "relu", "weights": [1]}], {"input_shape": (4,)}, "takes no weights"),
        ([{"op": "conv2d", "weights": np.zeros((2, 3, 3, 4))}], {"input_shape": INPUT}, "expected weights of shape"),
        ([{"op": "fully_connected", "weights": np.full((2, 3), np.nan)}], {}, "finite"),
        ([{"op": "fully_connected", "weights": np.ones((2, 3)), "bias": [1]}], {}, "bias: expected 2 numbers"),
        ([{"op": "fully_connected", "weights": np.ones((2, 3)), "colour": 1}], {}, "unknown key"),
        ([{"op": "fully_connected", "weights": np.ones((2, 4))}], {"dtype": "int8"}, "expected q7 or q15"),
        ([{"op": "fully_connected", "weights": np.ones((2, 4))}], {"method": "best"}, "expected one of max"),
        ([{"op": "fully_connected", "weights": np.ones((2, 5))}], {}, r"expected shape \(n, 5\)"),
    ],
)
def test_bad_networks_are_one_sentence(layers: list[dict], options: dict, says: str) -> None:
    with pytest.raises(tuning.TuningError, match=says):
        tuning.quantize(layers, np.ones((3, 4)), **options)


def test_data_in_the_wrong_layout_is_told_how_to_turn() -> None:
    weights = {"w": draw(4, 3, 3, 3)}
    proto = model([node("Conv", ["x", "w"], ["y"])], weights, ("n", 3, 12, 10))
    with pytest.raises(OptionError, match=r"expected shape \(n, 3, 12, 10\) .*x.transpose\(0, 3, 1, 2\)"):
        tuning.quantize(proto, np.zeros((5, 12, 10, 3)), name="net")
    with pytest.raises(OptionError, match=r"x\[None\]"):
        tuning.quantize(proto, np.zeros((3, 12, 10)), name="net")


# ---------------------------------------------------------------- the command


@pytest.fixture
def files(tmp_path: Path) -> Path:
    weights = {"w": draw(4, 2, 3, 3), "fc": draw(100, 3, scale=0.3)}
    nodes = [
        node("Conv", ["x", "w"], ["a"], pads=[1, 1, 1, 1]),
        node("Relu", ["a"], ["b"]),
        node("MaxPool", ["b"], ["c"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Flatten", ["c"], ["d"]),
        node("Gemm", ["d", "fc"], ["y"]),
    ]
    save(model(nodes, weights, ("n", 2, 10, 10)), tmp_path / "my-net.onnx")
    x = samples(60, (2, 10, 10))
    y = RNG.integers(0, 3, 60)
    np.savez(tmp_path / "data.npz", x=x, y=y)
    return tmp_path


def quantize(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tuning.cli.quantize", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


def test_the_command_and_the_network_it_writes(files: Path) -> None:
    ran = quantize(files, "my-net.onnx", "--calibration", "data.npz", "--test", "data.npz", "--scheme", "q7")
    assert ran.returncode == 0, ran.stderr
    for text in ("bias_shift", "SNR dB", "Q0.7", "On data.npz, 60 samples: accuracy", "cmsisnn-tune my_net.yaml"):
        assert text in ran.stdout
    loaded = tuning.load_model(files / "my_net.yaml")
    assert loaded.name == "my_net"
    data = load_data(files / "data.npz")
    reference = load_reference(loaded)
    assert reference.input_layout == "NCHW"
    integers = loaded.network().run(reference.quantize(data.x))
    *_, (layer, wanted) = reference.tensors(data.x)
    error = reference.dequantize(layer.name, integers) - wanted
    assert np.square(error).sum() < np.square(wanted).sum() / 100
    ran = quantize(files, "my-net.onnx", "--calibration", "data.npz", "--json", "-o", "b.yaml", "--dtype", "q15")
    content = json.loads(ran.stdout)
    assert content["dtype"] == "q15"
    assert set(content["accuracy"]) == {"float", "q15"}
    assert [layer["op"] for layer in content["layers"]] == ["conv2d", "max_pool2d", "fully_connected"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["none.onnx", "--calibration", "data.npz"], "none.onnx: no such file"),
        (["my-net.onnx", "--calibration", "none.npz"], "none.npz: no such file"),
        (["data.npz", "--calibration", "data.npz", "-o", "c.yaml"], "expected an ONNX file"),
        (["my-net.onnx", "--calibration", "my-net.onnx", "-o", "c.yaml"], "cannot be read"),
        (["my-net.onnx", "--calibration", "data.npz", "-o", "data.yaml"], "data.npz would overwrite data.npz"),
        (["my-net.onnx", "--calibration", "data.npz", "-o", "c.npz"], "expected a file name ending in .yaml"),
        (["my-net.onnx", "--calibration", "data.npz", "--name", "class"], "C or C++ keyword"),
    ],
)
def test_bad_calls_end_in_one_sentence(files: Path, arguments: list[str], says: str) -> None:
    before = {item.name: item.read_bytes() for item in files.iterdir()}
    ran = quantize(files, *arguments)
    assert ran.returncode == 2
    assert ran.stderr.startswith("error: ")
    assert says in ran.stderr
    assert ran.stderr.count("\n") == 1
    assert ran.stdout == ""
    assert {item.name: item.read_bytes() for item in files.iterdir()} == before


def test_without_the_package_onnx_one_is_told_which(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(tuning.MissingToolError, match=r'pip install "\.\[quantize\]" in a checkout'):
        tuning.quantize(files / "my-net.onnx", files / "data.npz")


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys, tuning.cli.quantize as c\n"
        "try: c.app(['--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'onnx', 'pydantic', 'scipy', 'yaml'} & set(sys.modules)), file=sys.stderr)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert ran.stderr.strip() == "[]"


def test_evaluate_equals_the_calibrations_own_figures() -> None:
    layers = [*convolutional(), {"op": "softmax"}]
    x = samples(100)
    data = Data(x, RNG.integers(0, 10, 100))
    result = tuning.quantize(layers, data, input_shape=INPUT, softmax="answers")
    found = evaluate(result, data)
    assert found == {"samples": 100, "accuracy": result.accuracy, "agreement": result.agreement, "errors": {}}


@pytest.mark.parametrize("scheme", ["q7", "int8"])
def test_calibration_data_that_tell_nothing_are_said(scheme: str) -> None:
    layers = [{"op": "fully_connected", "weights": np.eye(4), "bias": np.zeros(4)}]
    rng = np.random.default_rng(0)
    for x, note in (
        (np.zeros((50, 4)), "every calibration input is 0"),
        (rng.normal(size=(1, 4)), "one sample of calibration data"),
        (rng.normal(size=(9, 4)), "9 samples of calibration data"),
    ):
        assert any(one.startswith(note) for one in tuning.quantize(layers, x, scheme).notes), note
    assert not any("calibration data" in one for one in tuning.quantize(layers, rng.normal(size=(10, 4)), scheme).notes)


def test_flat_data_are_taken_for_an_image() -> None:
    """In the order of the float model, which may have its channels first."""
    x = np.random.default_rng(0).normal(size=(6, 4, 3, 2))
    given = x.transpose(0, 3, 1, 2).reshape(6, -1)
    np.testing.assert_array_equal(channels_last(given, (4, 3, 2), "NCHW"), x)
    with pytest.raises(OptionError, match="expected shape"):
        channels_last(given[:, :-1], (4, 3, 2), "NCHW")


@pytest.mark.parametrize("scheme", ["q7", "q15", "int8", "int16x8"])
def test_what_is_made_of_an_onnx_file_can_be_tuned_at_once(scheme: str) -> None:
    weights = {"w": draw(6, 3, 3, 3), "d": draw(6, 1, 3, 3), "fc": draw(6 * 16, 4)}
    nodes = [
        node("Conv", ["x", "w"], ["a"]), node("Relu", ["a"], ["b"]), node("Conv", ["b", "d"], ["c"], group=6),
        node("Flatten", ["c"], ["e"]), node("MatMul", ["e", "fc"], ["y"]),
    ]  # fmt: skip
    proto = model(nodes, weights)
    result = tuning.quantize(proto, samples(20, (3, 8, 8)), scheme, name="net")
    plan = tuning.tune(result.model, tuning.load_target("cortex-m4"))
    assert [item.layer.op for item in plan.layers] == ["conv2d", "depthwise_conv2d", "fully_connected"]


@pytest.mark.parametrize("scheme", ["q7", "q15", "int8"])
def test_a_dense_layer_takes_the_input_in_the_order_that_the_file_states(tmp_path: Path, scheme: str) -> None:
    """Mul, Flatten, MatMul: elements lie as the float model has them, channels first, and that is what is said."""
    weights = {"m": np.linspace(0.5, 2, 3)[:, None, None], "w": draw(60, 7)}
    nodes = [node("Mul", ["x", "m"], ["a"]), node("Flatten", ["a"], ["b"]), node("MatMul", ["b", "w"], ["y"])]
    x = samples(50, (3, 4, 5))
    path = tuning.quantize(model(nodes, weights, (1, 3, 4, 5)), x, scheme, name="net").save(tmp_path / "net.yaml")
    assert "in the order in which the float model takes them" in path.read_text(encoding="utf-8").splitlines()[1]
    loaded = tuning.load_model(path)
    port, out = loaded.inputs[0], loaded.outputs[0]
    integers = np.clip(np.floor(x.reshape(50, 60) / port.scale + 0.5) + port.zero_point, *_ends(port.dtype))
    made = (loaded.network().run(integers.astype(port.dtype)).astype(float) - out.zero_point) * out.scale
    wanted = (x * weights["m"]).reshape(50, 60) @ weights["w"]
    assert np.abs(made - wanted).max() < 0.1 * np.abs(wanted).max()


def _ends(dtype: np.dtype) -> tuple[int, int]:
    return np.iinfo(dtype).min, np.iinfo(dtype).max


def test_constants_of_keras_normalisation_are_taken_up() -> None:
    weights = {"mean": draw(1, 6), "variance": 0.5 + RNG.random((1, 6)), "eps": np.full((), 1e-7), "w": draw(6, 4)}
    nodes = [
        node("Sub", ["x", "mean"], ["a"]), node("Sqrt", ["variance"], ["s"]), node("Max", ["s", "eps"], ["t"]),
        node("Div", ["a", "t"], ["b"]), node("MatMul", ["b", "w"], ["y"]),
    ]  # fmt: skip
    x = samples(50, (6,))
    result = tuning.quantize(model(nodes, weights, ("n", 6)), x, "q15")
    assert [layer.op for layer in result.layers] == ["fully_connected"]
    wanted = (x - weights["mean"]) / np.sqrt(weights["variance"]) @ weights["w"]
    *_, (_, out) = result.reference.tensors(x)
    assert np.abs(out - wanted).max() < 1e-4
    assert result.report[-1].snr_db > 50


@pytest.mark.parametrize("scheme", ["q7", "q15", "int8", "int16x8"])
@pytest.mark.parametrize("count", [1, 3])
def test_numbers_that_the_output_should_be_are_an_error_measure(scheme: str, count: int) -> None:
    layers = [{"op": "fully_connected", "weights": draw(count, 6), "bias": draw(count)}]
    x = samples(80, (6,))
    exact = run_float(layers, x, (6,))[-1]
    y = exact + RNG.normal(0, 0.1, exact.shape)
    for wished in (y, 1000 * np.round(np.abs(y))) if count == 1 else (y,):
        result = tuning.quantize(layers, (x, wished), scheme)
        assert result.accuracy == {}
        errors = result.errors["output"]
        assert errors["float"] == pytest.approx(float(np.sqrt(np.square(exact - wished).mean())), rel=1e-5)
        assert errors[scheme] == pytest.approx(errors["float"], rel={"q7": 0.5, "int8": 0.2}.get(scheme, 0.05))
        assert evaluate(result, make_data(x, wished))["errors"] == result.errors
        assert "error of output (root mean square)" in str(result)
    with pytest.raises(OptionError, match=f"y: expected {count} numbers a sample, got 2"):
        tuning.quantize(layers, (x, np.stack([y[:, 0]] * 2, 1)), scheme)
    softmax = [{"op": "fully_connected", "weights": draw(4, 6)}, {"op": "softmax"}]
    with pytest.raises(OptionError, match=r"expected class numbers, .* as the network ends in a softmax"):
        tuning.quantize(softmax, (x, draw(80, 4)), scheme)


def test_schemes_are_compared_by_the_variance_that_they_explain(tmp_path: Path) -> None:
    weights = {"w": draw(6, 2)}
    x = samples(100, (6,))
    save(model([node("MatMul", ["x", "w"], ["y"])], weights, ("n", 6)), tmp_path / "net.onnx")
    np.savez(tmp_path / "data.npz", x=x, y=x @ weights["w"] + 0.1 * draw(100, 2))
    command = [sys.executable, "-m", "tuning.cli.quantize", "net.onnx", "--calibration", "data.npz", "--scheme", "auto"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stderr
    assert re.search(r"scheme +R2 +drop", ran.stdout)
    assert "R2 on 100 samples of data.npz" in ran.stdout
    assert re.search(r"int8 +99\.\d\d%", ran.stdout)


@pytest.mark.parametrize("scheme", ["q7", "int8", "q15"])
def test_input_numbers_of_unlike_spread_are_said(scheme: str) -> None:
    """What a StandardScaler inside the model is for cannot help integers that have one scale."""
    layers = [{"op": "fully_connected", "weights": draw(3, 4) / np.array([1, 0.002, 1, 1])}]
    x = samples(200, (4,)) * np.array([1, 0.002, 1, 0], np.float32)
    notes = [note for note in tuning.quantize(layers, x, scheme).notes if "spread by less" in note]
    if scheme == "q15":
        assert notes == []
    else:
        (note,) = notes
        assert note.startswith("1 of 4 input numbers spread by less than the step of the integers, ")
        assert ": number 1 by 0.00" in note
    alike = tuning.quantize(layers, samples(200, (4,)), scheme)
    assert not any("spread by less" in note for note in alike.notes)


@pytest.mark.parametrize("scheme", ["q7", "int8"])
def test_data_in_the_shape_that_the_file_declares_are_taken(tmp_path: Path, scheme: str) -> None:
    """Whatever is made of it in front of the first layer."""
    weights = {"shape": np.array([0, 2, 6, 5], np.int64), "w": draw(4, 2, 3, 3)}
    nodes = [node("Reshape", ["x", "shape"], ["a"]), node("Conv", ["a", "w"], ["y"])]
    proto = model(nodes, weights, ("n", 10, 6))
    x = samples(30, (10, 6))
    result = tuning.quantize(proto, x, scheme, name="net")
    same = tuning.quantize(proto, x.reshape(30, 2, 6, 5), scheme, name="net")
    assert result.model.digest == same.model.digest
    loaded = tuning.load_model(result.save(tmp_path / "net.yaml"))
    found = check_model(loaded, x)
    assert found.passed
    assert found.tensors == check_model(loaded, x.reshape(30, 2, 6, 5)).tensors
    with pytest.raises(OptionError, match="as the float model takes it"):
        tuning.quantize(proto, x.reshape(30, 6, 10), scheme)
