# SPDX-License-Identifier: Apache-2.0
"""Quantisation to scales and zero points: int8 and int16x8."""

from __future__ import annotations

import json
import re
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tuning
from cmsisnn_x import Network
from helpers.commands import run_forked
from helpers.onnx_models import model, node, save
from tuning import OptionError
from tuning.base.options import Arithmetic
from tuning.check.against.packages import Piece, runner
from tuning.importers.float_network import FloatNetwork, from_layers
from tuning.importers.tflite.file import read
from tuning.importers.tflite.reader import import_operators
from tuning.quantize import AffineQuantized, evaluate, load_data, load_onnx, quantize_affine
from tuning.quantize.affine.operators import integer_weights
from tuning.quantize.affine.scales import RANGES, TYPES, Scale, ranges_of, spanning
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


# ---------------------------------------------------------------- scales


@settings(deadline=None, max_examples=300)
@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.sampled_from(["int8", "int16"]))
def test_a_scale_reaches_both_ends_and_zero_is_exact(one: float, other: float, type_: str) -> None:
    low, high = min(one, other), max(one, other)
    scale = spanning(low, high, type_)
    assert scale.scale == np.float32(scale.scale)
    assert scale.dequantize(scale.quantize(np.zeros(1)))[0] == 0
    values = np.linspace(low, high, 50)
    error = np.abs(scale.dequantize(scale.quantize(values)) - values).max()
    # The zero point is rounded too: at an end there may be half a step more.
    assert error <= scale.scale * 1.001 + 1e-30
    if type_ == "int16":
        assert scale.zero_point == 0


def test_halves_are_rounded_away_from_zero() -> None:
    scale = Scale("int8", 0.5, 3)
    found = scale.quantize(np.array([0.25, -0.25, 0.75, 1e9, -1e9, 0.2]))
    assert found.tolist() == [4, 2, 5, 127, -128, 3]


def test_ranges_by_method() -> None:
    values = rng_of(1).normal(0, 1, 100_000)
    low, high = float(values.min()), float(values.max())
    assert ranges_of(values, low, high, "minmax") == [(low, high)]
    ((below, above),) = ranges_of(values, low, high, "percentile")
    assert 5 <= (values < below).sum() <= 15
    assert 5 <= (values > above).sum() <= 15
    tried = ranges_of(values, low, high, "mse")
    assert tried[0] == (low, high)
    assert len(tried) > 8


# ---------------------------------------------------------------- weights


def dense(weights: np.ndarray) -> Any:
    made = from_layers([{"op": "fully_connected", "name": "fc", "weights": weights}])
    return made.geometry("q7")[0]


@pytest.mark.parametrize("bias", [0.0, 3.0, 1e7, -1e12])
@pytest.mark.parametrize("type_", ["int8", "int16"])
def test_weights_are_symmetric_and_sums_fit(bias: float, type_: str) -> None:
    weights = rng_of(2).normal(0, 1, (4, 30))
    weights[1] *= 1e-6
    weights[2] = 0
    x = Scale(type_, 0.01, 5 if type_ == "int8" else 0)
    found = integer_weights(dense(weights), weights, np.full(4, bias), x)
    assert found.values.min() >= -127
    assert found.values[2].any() == False  # noqa: E712
    reach = np.abs(found.values.astype(np.int64)).sum(axis=1) * 255 + np.abs(found.bias.astype(np.int64))
    if type_ == "int8":
        assert reach.max() < 2**31
    real = found.bias * found.bias_scales.astype(np.float64)
    assert np.allclose(real, bias, rtol=1e-6, atol=float(found.bias_scales.max()))
    assert np.allclose(found.bias_scales, np.float32(x.scale) * found.scales)
    error = np.abs(found.real(dense(weights)) - weights).max(axis=1)
    assert (error <= found.scales * 0.51).all()
    if bias == 0:
        assert np.abs(found.values[[0, 1, 3]]).max(axis=1).tolist() == [127] * 3
        assert found.coarse == 0


# ---------------------------------------------------------------- networks


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


def test_a_flattened_image_is_not_called_channels_last(files: Path) -> None:
    """A dense layer's columns stay in the order of the ONNX tensor, and the integers of the input with them."""
    weights = {"w": rng_of(1).normal(0, 0.3, (24, 3)).astype(np.float32)}
    save(model([node("Flatten", ["x"], ["a"]), node("MatMul", ["a", "w"], ["y"])], weights, ("n", 2, 3, 4)),
         files / "flat.onnx")  # fmt: skip
    x = samples(50, (2, 3, 4))
    result = tuning.quantize(files / "flat.onnx", x, "int8")
    path = result.save(files / "flat.yaml")
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


# ---------------------------------------------------------------- the command


@pytest.fixture
def files(tmp_path: Path) -> Path:
    rng = rng_of(4)
    weights = {
        "w": rng.normal(0, 0.4, (4, 2, 3, 3)).astype(np.float32),
        "b": rng.normal(0, 0.1, 4).astype(np.float32),
        "fc": rng.normal(0, 0.2, (64, 3)).astype(np.float32),
    }
    nodes = [
        node("Conv", ["x", "w", "b"], ["a"]),
        node("Relu", ["a"], ["b1"]),
        node("MaxPool", ["b1"], ["c"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Flatten", ["c"], ["d"]),
        node("Gemm", ["d", "fc"], ["y"]),
    ]
    save(model(nodes, weights, ("n", 2, 10, 10)), tmp_path / "my-net.onnx")
    np.savez(tmp_path / "data.npz", x=samples(60, (2, 10, 10)), y=rng.integers(0, 3, 60))
    return tmp_path


def quantize(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run_forked("cmsisnn-quantize", "my-net.onnx", "--calibration", "data.npz", *arguments, cwd=folder)


def test_the_command_writes_a_model_file_of_int8(files: Path) -> None:
    """Which is the default."""
    ran = quantize(files)
    assert ran.returncode == 0, ran.stderr
    assert "Written: my_net.yaml, my_net.npz and my_net_float.npz." in ran.stdout
    loaded = tuning.load_model(files / "my_net.yaml")
    assert (loaded.name, loaded.inputs[0].dtype) == ("my_net", np.int8)
    text = (files / "my_net.yaml").read_text(encoding="utf-8")
    assert text.startswith("# Quantised by cmsisnn-quantize (int8) on 60 calibration samples.\n# Input: round(x / 0.")
    assert "(the float model takes channels first)" in text
    ran = quantize(files, "-o", "data.yaml")
    assert ran.returncode == 2
    assert "data.npz would overwrite data.npz" in ran.stderr


@SCHEMES
def test_the_command_writes_a_tflite_file(files: Path, scheme: str) -> None:
    ran = quantize(files, "--scheme", scheme, "--test", "data.npz", "-o", "out/net.tflite")
    assert ran.returncode == 0, ran.stderr
    for text in ("SNR dB", "On data.npz, 60 samples: accuracy", f"{scheme}; same", "Written: out/net.tflite.",
                 "cmsisnn-tune out/net.tflite"):  # fmt: skip
        assert text in ran.stdout
    assert [item.name for item in (files / "out").iterdir()] == ["net.tflite"]
    assert read(files / "out" / "net.tflite").description == "cmsisnn-quantize"
    loaded = tuning.load_model(files / "out" / "net.tflite")
    assert loaded.inputs[0].shape == (1, 10, 10, 2)
    ran = quantize(files, "--json", "-o", "net.tflite")
    content = json.loads(ran.stdout)
    assert content["scheme"] == "int8"
    assert set(content["accuracy"]) == {"float", "int8"}
    assert [layer["op"] for layer in content["layers"]] == ["conv2d", "max_pool2d", "fully_connected"]


@pytest.mark.parametrize("scheme", ["int8", "q7"])
def test_a_model_is_cut_at_a_tensor_and_open_sizes_are_given(files: Path, scheme: str) -> None:
    proto = onnx.load(files / "my-net.onnx")
    for dim in proto.graph.input[0].type.tensor_type.shape.dim[2:]:
        dim.dim_param = "side"
    save(proto, files / "my-net.onnx")
    assert "or say --shape x=1,..." in quantize(files).stderr
    ran = quantize(files, "--shape", "x=1,2,10,10", "-o", "c", "-o", "cut.yaml", "--scheme", scheme)
    assert ran.returncode == 0, ran.stderr
    loaded = tuning.load_model(files / "cut.yaml")
    assert [layer.op for layer in loaded.layers] == ["conv2d", "max_pool2d"]
    api = tuning.quantize(files / "my-net.onnx", files / "data.npz", scheme, output="c", shapes={"x": (1, 2, 10, 10)})
    assert [layer.weights is None for layer in api.model.layers] == [False, True]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--scheme", "q7", "-o", "a.tflite"], "--output: expected a file name ending in .yaml for q7, got 'a.tflite'"),
        (["-o", "a.onnx"], "--output: expected a file name ending in .yaml or .tflite, or a tensor that"),
        (["-o", "a.yaml", "-o", "b.yaml"], "--output: expected one file, got a.yaml, b.yaml"),
        (["-o", "a", "--output", "b"], "--output: expected one tensor, got a, b"),
        (["--shape", "x"], "--shape: expected an input and its sizes, such as x=1,3,96,96, got 'x'"),
        (["--shape", "x=1,0"], "--shape: expected an input and its sizes"),
        (["--shape", "z=1,2"], "--shape: expected an input of"),
        (["--scheme", "q7", "--dtype", "q15"], "--dtype: the older name of --scheme: expected nothing beside"),
        (["--scheme", "int8", "-o", "a.tflite", "--method", "max"], "--method: expected nothing with int8, got max"),
        (["--scheme", "q7", "--ranges", "mse"], "--ranges: expected nothing with q7, got mse"),
        (["--scheme", "int8", "-o", "a.tflite", "--name", "class"], "C or C++ keyword"),
        (["--scheme", "q7", "--save", "a.tflite"], "--save: expected int8 or int16x8, got q7"),
        (["--scheme", "int8", "-o", "a.tflite", "--save", "b.yaml"], "--save: expected a file name ending in .tflite"),
        (["--target", "cortex-m4"], "--target: expected nothing with int8, got cortex-m4; it is one of --scheme auto"),
        (["--scheme", "auto", "--target", "cortex-m9"], "cortex-m9"),
        (["--scheme", "auto", "-o", "a.tflite", "--method", "max"], "--method: expected nothing with auto, got max"),
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


def test_the_cheapest_scheme_that_keeps_the_accuracy_is_taken(files: Path) -> None:
    ran = quantize(files, "--scheme", "auto", "--max-drop", "100", "--target", "cortex-m4", "--json", "-o", "a.tflite")
    assert ran.returncode == 0, ran.stderr
    content = json.loads(ran.stdout)
    rows = content["schemes"]
    assert [row["scheme"] for row in rows] == ["int8", "int16x8"]
    cheapest = min(rows, key=lambda row: row["cycles"])
    assert cheapest["taken"]
    assert sum(row["taken"] for row in rows) == 1
    assert content["scheme"] == cheapest["scheme"]
    for row in rows:
        result = tuning.quantize(files / "my-net.onnx", files / "data.npz", row["scheme"], name="a")
        plan = tuning.tune(result.model, tuning.load_target("cortex-m4"))
        assert [plan.totals[key] for key in ("cycles", "flash_bytes", "sram_bytes")] == [
            row["cycles"], row["flash_bytes"], row["sram_bytes"],
        ]  # fmt: skip
        assert row["share"] == result.accuracy[row["scheme"]]
        assert row["drop"] == pytest.approx(100 * (result.accuracy["float"] - row["share"]))
    loaded = tuning.load_model(files / "a.tflite")
    assert loaded.inputs[0].dtype == {"int8": np.int8, "int16x8": np.int16}[content["scheme"]]


@pytest.mark.emulated
def test_accuracy_in_float_of_every_scheme_and_of_its_firmware_is_one_table(files: Path) -> None:
    ran = quantize(files, "--scheme", "auto", "--max-drop", "100", "--target", "cortex-m4", "--firmware", "--json")
    assert ran.returncode == 0, ran.stderr
    for row in json.loads(ran.stdout)["schemes"]:
        found = row["firmware"]
        assert (found["samples"], found["equal"]) == (60, 60), row
        assert found["accuracy"] == found["python_accuracy"] == row["share"]
    ran = quantize(files, "--scheme", "auto", "--max-drop", "100", "--firmware", "-o", "a.tflite")
    assert re.search(r"scheme +accuracy +firmware +drop", ran.stdout)
    assert re.search(r"float +\d+\.\d\d% +- +-", ran.stdout)
    assert re.search(r"int8 +(\d+\.\d\d%) +\1", ran.stdout)
    assert "Firmware: emulated on the first 60 samples." in ran.stdout
    said = quantize(files, "--firmware").stderr
    assert "--firmware: expected nothing with int8; cmsisnn-tune my_net.yaml --check" in said


def test_no_scheme_within_the_drop_is_an_answer(files: Path) -> None:
    """Labels that only the float network meets, by chance as it were."""
    network = load_onnx(files / "my-net.onnx")
    x = samples(3000, (2, 10, 10), seed=8)
    result = tuning.quantize(network, x[:60], "int8")
    answers = result.twin.output(result.twin.channels_last(x)).argmax(axis=1)
    lost = answers != result.outputs(result.twin.channels_last(x)).argmax(axis=1)
    assert lost.any()
    keep = np.flatnonzero(lost)[:1]
    np.savez(files / "hard.npz", x=x[keep], y=answers[keep])
    before = {item.name for item in files.iterdir()}
    ran = quantize(
        files, "--scheme", "auto", "--test", "hard.npz", "-o", "a.tflite", "--max-drop", "0", "--ranges", "mse"
    )
    if ran.returncode == 0:  # int16x8 is right where int8 is not
        assert [row.split()[-1] for row in ran.stdout.splitlines() if row.startswith(" int")] == ["much", "taken"]
        return
    assert ran.returncode == 1
    assert ran.stderr.startswith("error: --max-drop: no scheme stays within 0 percent")
    assert {item.name for item in files.iterdir()} == before


def test_save_writes_the_same_file(files: Path) -> None:
    ran = quantize(files, "--scheme", "int8", "-o", "a.tflite", "--save", "out/b.tflite", "--name", "net")
    assert ran.returncode == 0, ran.stderr
    assert "Written: a.tflite, and out/b.tflite." in ran.stdout
    assert (files / "a.tflite").read_bytes() == (files / "out" / "b.tflite").read_bytes()
