# SPDX-License-Identifier: Apache-2.0
"""Zero points: integers that stand for the float tensors, LiteRT's scales, and the files of both networks."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tuning
from cmsisnn_x import Network
from helpers.onnx_models import model, node, save
from tuning import OptionError
from tuning.base.options import Arithmetic
from tuning.check.against.packages import Piece, runner
from tuning.importers.float_network import FloatNetwork, from_layers
from tuning.importers.tflite.reader import import_operators
from tuning.quantize import AffineQuantized, evaluate, load_data, load_onnx, quantize_affine
from tuning.quantize.affine.scales import RANGES, TYPES
from tuning.quantize.float_file import load_twin

MODELS = Path(__file__).resolve().parents[4] / "configs" / "models"
SCHEMES = pytest.mark.parametrize("scheme", TYPES)
INPUT = (12, 11, 2)
LEAST_DB = {"int8": 25.0, "int16x8": 35.0}


def rng_of(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def network(seed: int = 3, **last: Any) -> FloatNetwork:
    """Every operation, padding of every kind, and a ReLU that stands alone."""
    rng = rng_of(seed)

    def draw(*shape: int, scale: float = 1.0) -> np.ndarray:
        return rng.normal(0, scale, shape)

    return from_layers(
        [
            {"op": "conv2d", "name": "a", "weights": draw(8, 3, 3, 2, scale=0.3), "bias": draw(8, scale=0.2),
             "activation": "relu", "padding": 1, "stride": 2},
            {"op": "max_pool2d", "kernel": 3, "stride": 1, "padding": 1},
            {"op": "relu", "clip": 6.0},
            {"op": "depthwise_conv2d", "weights": draw(3, 3, 8, scale=0.4), "bias": draw(8, scale=0.2),
             "padding": "same"},
            {"op": "relu"},
            {"op": "conv2d", "weights": draw(6, 1, 1, 8, scale=0.4), "activation": "relu", "clip": 1.5},
            {"op": "avg_pool2d", "kernel": 2, "stride": 2, "ceil_mode": True},
            {"op": "relu"},
            {"op": "fully_connected", "weights": draw(12, 54, scale=0.2), "bias": draw(12)},
            {"op": "tanh"},
            {"op": "fully_connected", "weights": draw(9, 12, scale=0.5), "bias": draw(9)},
            {"op": "sigmoid"},
            {"op": "fully_connected", "name": "logits", "weights": draw(10, 9), "bias": draw(10), **last},
            {"op": "softmax", "name": "prob"},
        ],
        INPUT,
    )  # fmt: skip


def samples(count: int = 64, shape: tuple[int, ...] = INPUT, seed: int = 5) -> np.ndarray:
    return rng_of(seed).normal(0.3, 1, (count, *shape)).astype(np.float32)


@cache
def quantised(scheme: str, ranges: str = "mse") -> AffineQuantized:
    return quantize_affine(network(), samples(), scheme=scheme, ranges=ranges)


@SCHEMES
@pytest.mark.parametrize("ranges", RANGES)
def test_every_tensor_stands_for_its_float_tensor(scheme: str, ranges: str) -> None:
    result = quantised(scheme, ranges)
    for row in result.report:
        assert row.snr_db > LEAST_DB[scheme], row
    assert result.agreement == 1 or result.agreement > 0.9
    held_out = evaluate(result, tuning.quantize.Data(samples(seed=9), None, "held out"))
    assert held_out["agreement"] > 0.9


@SCHEMES
def test_scales_are_those_that_litert_asks_for(scheme: str) -> None:
    result = quantised(scheme)
    by_name = {row.name: row for row in result.report}
    prob = by_name["prob"]
    wanted = (2.0**-8, -128) if scheme == "int8" else (2.0**-15, 0)
    assert (prob.output_scale, prob.output_zero_point) == wanted
    for row in result.report:
        if row.op.endswith("pool2d"):
            assert (row.input_scale, row.input_zero_point) == (row.output_scale, row.output_zero_point)
        if scheme == "int16x8":
            assert row.output_zero_point == 0
    clipped = next(row for row in result.report if row.name == "conv1")
    assert clipped.output_scale * (255 if scheme == "int8" else 32767) <= 1.5 * (1 + 1e-6)


@SCHEMES
def test_rewrites_change_no_byte(tmp_path: Path, scheme: str) -> None:
    result = quantised(scheme)
    path, x = result.save(tmp_path / "m.tflite"), result.scales[0].quantize(samples(8))
    for arithmetic in ("tflm", "litert"):
        plain, rewritten = (
            tuning.load_model(path, rewrites=on, arithmetic=arithmetic).network() for on in (False, True)
        )
        np.testing.assert_array_equal(plain.run(x), rewritten.run(x))


def anonymous(content: dict[str, Any]) -> Any:
    """A plan's content with tensors numbered as they come, and without digests."""
    content = {key: value for key, value in content.items() if key != "digests"}
    for port in (*content["inputs"], *content["outputs"]):
        port.pop("source_name", None)
    text = json.dumps(content)
    for number, name in enumerate(dict.fromkeys(re.findall(r'"(t\d+[\w.]*)"', text))):
        text = text.replace(f'"{name}"', f'"tensor {number}"')
    return json.loads(text)


@SCHEMES
@pytest.mark.parametrize("ending", ["tflite", "yaml"])
def test_what_is_saved_is_what_was_made(tmp_path: Path, scheme: str, ending: str) -> None:
    result = quantised(scheme)
    path = result.save(tmp_path / "new" / f"model.{ending}")
    names = {"tflite": ["model.tflite"], "yaml": ["model.npz", "model.yaml", "model_float.npz"]}[ending]
    assert sorted(item.name for item in path.parent.iterdir()) == names
    loaded = tuning.load_model(path)
    assert [layer.name for layer in loaded.layers] == [layer.name for layer in result.model.layers]
    assert {"a", "conv1", "logits"} <= {layer.name for layer in loaded.layers}
    x = result.scales[0].quantize(samples(8))
    np.testing.assert_array_equal(loaded.network().run(x), result.model.network().run(x))
    plans = [tuning.tune(of, tuning.load_target("cortex-m4")) for of in (loaded, result.model)]
    contents = [plan.to_dict() for plan in plans]
    if ending == "yaml":  # which has another text, other places of tensors, and no names of its borders
        contents = [anonymous(content) for content in contents]
    assert contents[0] == contents[1]
    port = loaded.inputs[0]
    assert (port.name, port.scale, port.zero_point) == ("input", result.scales[0].scale, result.scales[0].zero_point)
    assert loaded.source is not None
    with pytest.raises(OptionError, match=r"expected a file name ending in \.yaml or \.tflite"):
        result.save(tmp_path / "model.npz")


@SCHEMES
def test_the_float_network_is_saved_beside(tmp_path: Path, scheme: str) -> None:
    result = quantised(scheme)
    twin = load_twin(tuning.load_model(result.save(tmp_path / "model.yaml")))
    x = samples(8)
    np.testing.assert_array_equal(twin.output(x), result.twin.output(x))


@pytest.mark.parametrize(
    ("package", "module"), [(Arithmetic.LITERT, "ai_edge_litert"), (Arithmetic.TFLM, "tflite_micro")]
)
@SCHEMES
def test_the_packages_give_the_same_bytes(scheme: str, package: Arithmetic, module: str) -> None:
    pytest.importorskip(module, reason=f'{module} comes with the extra: pip install ".[against]"')
    result = quantised(scheme)
    x = result.scales[0].quantize(samples(8))
    run = runner(package)
    found = run.run(run.kernels[0], Piece(result.file.content, 1, 1 << 16), [[one[None]] for one in x])
    wanted = Network(import_operators(result.file, package.value).graph).run(x)
    np.testing.assert_array_equal(np.stack([one[0][0] for one in found]), wanted.reshape(8, -1))


def test_digits_lose_nothing() -> None:
    net = load_onnx(MODELS / "digits.onnx")
    data, test = (load_data(MODELS / f"digits_{kind}.npz") for kind in ("calibration", "test"))
    accuracy = {}
    for scheme in ("int8", "int16x8", "q7"):
        accuracy[scheme] = evaluate(tuning.quantize(net, data, scheme), test)["accuracy"][scheme]
    assert accuracy["int8"] >= accuracy["q7"]
    assert accuracy["int16x8"] >= accuracy["int8"] - 0.003


def test_methods_help_where_they_should() -> None:
    """Outliers cost minmax its steps; channels of unlike strength are equalised; both are said."""
    x = samples(200)
    x[0, 0, 0, 0] = 400
    errors = {kind: quantize_affine(network(), x, ranges=kind).report[0].snr_db for kind in RANGES}
    assert errors["mse"] >= errors["minmax"]
    unlike = from_layers(
        [
            {"op": "fully_connected", "weights": rng_of(1).normal(0, 1, (6, 8)) * 10.0 ** np.arange(-3, 3)[:, None],
             "activation": "relu"},
            {"op": "fully_connected", "weights": rng_of(2).normal(0, 1, (4, 6)) / 10.0 ** np.arange(-3, 3)},
        ]
    )  # fmt: skip
    result = quantize_affine(unlike, samples(200, (8,)))
    assert any("equalised" in note for note in result.notes)
    assert result.report[-1].snr_db > 30


@SCHEMES
def test_a_relu6_alone_has_a_range_of_its_own(scheme: str) -> None:
    """Which the operator RELU6 has not."""
    layers = [{"op": "avg_pool2d", "kernel": 2}, {"op": "relu", "clip": 6.0}]
    result = quantize_affine(from_layers(layers, (4, 4, 2)), 9 * samples(40, (4, 4, 2)), scheme=scheme)
    assert result.scales[-1].high == pytest.approx(6, rel=1e-6)
    assert result.report[-1].snr_db > LEAST_DB[scheme]
    assert [op.code for op in result.file.subgraphs[0].ops] == ["AVERAGE_POOL_2D", "RELU"]


def test_a_flattened_image_is_not_called_channels_last(tmp_path: Path) -> None:
    """A dense layer's columns stay in the order of the ONNX tensor, and the integers of the input with them."""
    weights = {"w": rng_of(1).normal(0, 0.3, (24, 3)).astype(np.float32)}
    save(model([node("Flatten", ["x"], ["a"]), node("MatMul", ["a", "w"], ["y"])], weights, ("n", 2, 3, 4)),
         tmp_path / "flat.onnx")  # fmt: skip
    x = samples(50, (2, 3, 4))
    result = tuning.quantize(tmp_path / "flat.onnx", x, "int8")
    path = result.save(tmp_path / "flat.yaml")
    assert "in the order in which the float model takes them." in path.read_text(encoding="utf-8").splitlines()[1]
    made = tuning.load_model(path).network().run(result.scales[0].quantize(x.reshape(50, -1)))
    wanted = x.reshape(50, -1) @ weights["w"]
    error = result.scales[-1].dequantize(made).reshape(50, -1) - wanted
    assert np.square(wanted).sum() > 1000 * np.square(error).sum()


@SCHEMES
def test_dead_layers_one_sample_and_extreme_scales(scheme: str) -> None:
    silent = from_layers(
        [
            {"op": "fully_connected", "weights": np.zeros((4, 3)), "bias": np.zeros(4), "activation": "relu"},
            {"op": "fully_connected", "weights": np.ones((2, 4))},
        ]
    )
    result = quantize_affine(silent, np.zeros((1, 3)), scheme=scheme)
    assert not result.outputs(np.zeros((1, 3))).any()
    for strength in (1e-20, 1e-3, 1e3, 1e15):
        layers = [
            {
                "op": "fully_connected",
                "weights": rng_of(1).normal(0, 1, (4, 3)) * strength,
                "bias": np.ones(4) * strength,
            },
            {"op": "fully_connected", "weights": rng_of(2).normal(0, 1, (2, 4)) / strength},
        ]
        result = quantize_affine(from_layers(layers), samples(30, (3,)) * strength, scheme=scheme)
        assert result.report[-1].snr_db > 25, strength


EDGES = (
    {"kernel": 3, "stride": 2, "padding": 1},
    {"kernel": 3, "stride": 1, "padding": 2, "output_size": [9, 8]},
    {"kernel": [4, 1], "stride": 3, "output_size": [3, 2]},
    {"kernel": 9, "padding": [2, 1], "output_size": 1},
)


@pytest.mark.parametrize("scheme", ["int8", "int16x8"])
@pytest.mark.parametrize("windows", EDGES)
def test_an_average_over_the_edge_is_put_together(tmp_path: Path, windows: dict, scheme: str) -> None:
    """Each window's mean of the elements inside the image, which no AVERAGE_POOL_2D with padding gives."""
    x = samples(20, (8, 7, 2))
    result = quantize_affine(from_layers([{"op": "avg_pool2d", **windows}], (8, 7, 2)), x, scheme=scheme)
    (scale, after), own = result.scales, result.twin.layers[0]
    assert scale == after
    made = scale.dequantize(result.model.network().run(scale.quantize(x)).reshape(len(x), *own.output_shape))
    read = scale.dequantize(scale.quantize(x))
    (top, _), (left, _) = own.padding
    for i, j in np.ndindex(own.output_shape[:2]):
        first = i * own.stride[0] - top, j * own.stride[1] - left
        rows, columns = (slice(max(at, 0), at + size) for at, size in zip(first, own.kernel, strict=True))
        mean = read[:, rows, columns].mean(axis=(1, 2))
        assert np.abs(made[:, i, j] - mean).max() <= 0.501 * scale.scale
    saved = tuning.load_model(result.save(tmp_path / "net.yaml"))
    runs = [one.network().run(scale.quantize(x)) for one in (saved, result.model)]
    assert np.array_equal(*runs)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"scheme": "int4"}, "scheme: expected one of int8, int16x8, q7, q15, got 'int4'"),
        ({"scheme": "int8", "ranges": "best"}, "ranges: expected one of mse, minmax, percentile, got 'best'"),
        (
            {"scheme": "int8", "dtype": "q7"},
            "dtype: the older name of scheme: expected nothing beside 'int8', got 'q7'",
        ),
        ({"dtype": "int8"}, "dtype: expected q7 or q15, got 'int8'"),
    ],
)
def test_bad_options_are_one_sentence(options: dict[str, str], says: str) -> None:
    with pytest.raises(OptionError) as raised:
        tuning.quantize(network(), samples(4), **options)
    assert str(raised.value) == says


def test_scheme_and_its_older_name() -> None:
    net, x = network(), samples(8)
    plain = {"softmax": "answers"}
    assert tuning.quantize(net, x, **plain).scheme == tuning.quantize(net, x, "q7", **plain).dtype == "q7"
    assert tuning.quantize(net, x, dtype="q15", **plain).scheme == "q15"
    assert isinstance(tuning.quantize(net, x, "int8"), AffineQuantized)
