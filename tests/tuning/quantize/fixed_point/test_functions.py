# SPDX-License-Identifier: Apache-2.0
"""Fixed point of sigmoid, tanh, ReLU6 and softmax."""

from __future__ import annotations

import re
from math import e

import numpy as np
import pytest

import tuning
from helpers.float_layers import BITS, INPUT, RNG, draw, run_float, samples
from tuning import ModelError, OptionError
from tuning.importers.float_network import from_layers
from tuning.quantize.fixed_point.quantizer import quantize_network
from tuning.quantize.forward import run
from tuning.quantize.rewrites import fold_clips, fold_softmax


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
