# SPDX-License-Identifier: Apache-2.0
"""Fixed point: shifts, and integers that stand for the float tensors."""

from __future__ import annotations

import numpy as np
import pytest

import tuning
from helpers.float_layers import BITS, INPUT, RNG, convolutional, draw, run_float, samples
from helpers.onnx_models import model, node
from tuning import OptionError
from tuning.importers.float_network import from_layers
from tuning.quantize import Data, evaluate
from tuning.quantize.fixed_point import quantizer
from tuning.quantize.fixed_point.quantizer import ACCUMULATOR_MAX, worst_accumulator
from tuning.quantize.forward import run
from tuning.quantize.rewrites import equalised


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


def test_evaluate_equals_the_calibrations_own_figures() -> None:
    layers = [*convolutional(), {"op": "softmax"}]
    x = samples(100)
    data = Data(x, RNG.integers(0, 10, 100))
    result = tuning.quantize(layers, data, input_shape=INPUT, softmax="answers")
    found = evaluate(result, data)
    assert found == {"samples": 100, "accuracy": result.accuracy, "agreement": result.agreement, "errors": {}}


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
