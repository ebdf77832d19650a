# SPDX-License-Identifier: Apache-2.0
"""Model files: what they mean, and one clear message for everything that is wrong with them."""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

import cmsisnn_x
from cmsisnn_x._arguments import window_axis
from tuning import ModelError, emit, load_target, tune
from tuning.base.resources import by_name
from tuning.base.units import parse_hertz, parse_size
from tuning.emulate import find_toolchain
from tuning.load import load_model
from tuning.measure import folder
from tuning.model import list_models
from tuning.model.synthetic import draw_arrays

HEAD = "schema: 1\nname: net\ninput: {shape: [8, 8, 4], dtype: q7}\n"
CONV = "{name: c, op: conv2d, out_channels: 6, kernel: 3, padding: 1, out_shift: 7}"


def write(folder: Path, layers: str, head: str = HEAD) -> Path:
    path = folder / "net.yaml"
    path.write_text(f"{head}layers:\n" + "".join(f"  - {line}\n" for line in layers.splitlines()), encoding="utf-8")
    return path


def message(path: Path) -> str:
    with pytest.raises(ModelError) as caught:
        load_model(path)
    return str(caught.value)


# ---------------------------------------------------------------- what a file means


def test_the_papers_network_has_its_published_work() -> None:
    model = load_model("cifar10")
    assert model.macs == 12_298_240
    assert [layer.op for layer in model.layers] == [*["conv2d", "max_pool2d"] * 3, "fully_connected", "softmax"]
    assert model.output_shape == (10,)


def test_the_shipped_example_of_cmsis_has_its_published_work() -> None:
    assert load_model("cifar10_cmsis").macs == 6_558_720


def test_every_shipped_model_loads() -> None:
    found = list_models()
    assert {path.suffix for path in found.values()} == {".yaml", ".tflite"}
    assert list(found) == sorted(found)
    for name, path in found.items():
        assert load_model(path).name == load_model(name).name == name


def test_shipped_files_have_names_of_their_own() -> None:
    first, second, other = Path("a/net.tflite"), Path("b/net.yaml"), Path("b/a.yaml")
    assert by_name([second, other]) == {"a": other, "net": second}
    with pytest.raises(ValueError, match=re.escape("net: expected one file of this name, got net.tflite and net.yaml")):
        by_name([second, other, first])


def test_shapes_are_inferred_and_padding_is_resolved(tmp_path: Path) -> None:
    layers = """{name: a, op: conv2d, out_channels: 5, kernel: [3, 5], stride: [2, 1], padding: same, out_shift: 7}
{name: b, op: depthwise_conv2d, kernel: 3, padding: [1, 0], out_shift: 5}
{name: c, op: max_pool2d, kernel: 2, ceil_mode: true}
{name: d, op: avg_pool2d, kernel: [2, 3], stride: 1}
{name: e, op: fully_connected, out_features: 7, out_shift: 6}
{name: f, op: tanh, int_bits: 2}"""
    model = load_model(write(tmp_path, layers, HEAD.replace("[8, 8, 4]", "[9, 11, 4]")))
    assert [layer.output_shape for layer in model.layers] == [(5, 11, 5), (5, 9, 5), (3, 5, 5), (2, 3, 5), (7,), (7,)]
    a, _, c, *_ = model.layers
    assert (a.padding, a.stride) == (((1, 1), (2, 2)), (2, 1))
    assert c.stride == (2, 2)
    assert c.padding == ((0, 1), (0, 1))


@given(
    size=st.integers(1, 40),
    kernel=st.integers(1, 9),
    stride=st.integers(1, 5),
    padding=st.integers(0, 8),
    ceil=st.booleans(),
)
def test_no_window_is_empty_and_every_window_is_needed(
    size: int, kernel: int, stride: int, padding: int, ceil: bool
) -> None:
    try:
        out, (before, after) = window_axis(size, kernel, stride, padding, ceil)
    except ValueError:
        assert padding >= kernel or size + 2 * padding + (stride - 1 if ceil else 0) < kernel
        return
    starts = [i * stride - before for i in range(out)]
    assert all(start < size and start + kernel > 0 for start in starts)
    assert before == padding
    assert after >= 0
    # The next window is one too many: it would reach beyond the padding or, with ceil mode, start beyond the image.
    following = out * stride - before
    assert (
        (following >= size or following - stride + kernel >= size + padding)
        if ceil
        else following + kernel > size + padding
    )


@given(
    size=st.integers(1, 8),
    kernel=st.integers(1, 9),
    stride=st.integers(1, 5),
    padding=st.integers(0, 8) | st.sampled_from(["same", "valid"]),
    ceil=st.booleans(),
)
@example(size=2, kernel=3, stride=2, padding=0, ceil=True)
def test_the_model_file_and_the_functions_count_the_same_windows(
    size: int, kernel: int, stride: int, padding: int | str, ceil: bool
) -> None:
    x = np.zeros((size, size, 1), np.int8)
    try:
        out, _ = window_axis(size, kernel, stride, padding, ceil)
    except ValueError:
        with pytest.raises(ValueError, match=r"kernel|padding"):
            cmsisnn_x.max_pool(x, kernel, stride=stride, padding=padding, ceil_mode=ceil)
    else:
        pooled = cmsisnn_x.max_pool(x, kernel, stride=stride, padding=padding, ceil_mode=ceil)
        assert pooled.shape == (out, out, 1)


@pytest.mark.parametrize("op", ["max_pool", "avg_pool"])
@pytest.mark.parametrize(("kernel", "stride", "padding", "sides"), [
    (3, 3, 0, (3, 2)), (4, 2, 1, (4, 4)), ((3, 1), 1, (2, 0), (10, 7)), (2, 2, 0, (1, 1)),
])  # fmt: skip
def test_pools_have_as_many_windows_as_are_asked_for(tmp_path: Path, op: str, kernel, stride, padding, sides) -> None:
    windows = f"kernel: {np.ravel(kernel).tolist()}, stride: {stride}, padding: {np.ravel(padding).tolist()}"
    windows = re.sub(r"\[(\d+)\]", r"\1", windows)
    line = f"{{name: p, op: {op}2d, {windows}, output_size: {list(sides)}}}"
    path = write(tmp_path, line, HEAD.replace("8, 8", "8, 7"))
    x = np.random.default_rng(1).integers(-128, 128, (8, 7, 4), np.int8)
    wanted = getattr(cmsisnn_x, op)(x, kernel, stride=stride, padding=padding, output_size=sides)
    assert np.array_equal(load_model(path).network().run(x), wanted)


def test_an_empty_window_is_refused_by_its_key(tmp_path: Path) -> None:
    said = message(write(tmp_path, "{name: p, op: avg_pool2d, kernel: 3, output_size: [3, 4]}"))
    assert said.endswith("layers[0].output_size: expected at most 3 windows (the last would be empty), got 4 (width)")


@given(size=st.integers(1, 40), kernel=st.integers(1, 9), stride=st.integers(1, 5))
def test_same_padding_is_tensorflows(size: int, kernel: int, stride: int) -> None:
    out, (before, after) = window_axis(size, kernel, stride, "same", False)
    total = max((out - 1) * stride + kernel - size, 0)
    assert out == -(-size // stride)
    assert (before, after) == (total // 2, total - total // 2)


def test_weights_are_drawn_from_the_names_alone(tmp_path: Path) -> None:
    model = load_model(write(tmp_path, CONV))
    layer = model.layers[0]
    rng = np.random.default_rng(zlib.crc32(b"net/c/weights"))
    reach = int(np.abs(layer.weights).max())
    assert 1 < reach <= 127
    np.testing.assert_array_equal(layer.weights, rng.integers(-reach, reach, (6, 3, 3, 4), endpoint=True))
    assert layer.weights.dtype == layer.bias.dtype == np.int8
    again = load_model(write(tmp_path, CONV))
    assert again.digest == model.digest
    assert not layer.weights.flags.writeable


@pytest.mark.parametrize("dtype", ["q7", "q15"])
@pytest.mark.parametrize("out_shift", [0, 3, 9, 14])
def test_drawn_weights_saturate_few_outputs(tmp_path: Path, dtype: str, out_shift: int) -> None:
    layers = f"""{{name: a, op: conv2d, out_channels: 16, kernel: 5, padding: 2, out_shift: {out_shift}}}
{{name: b, op: max_pool2d, kernel: 3, stride: 2, ceil_mode: true}}
{{name: c, op: conv2d, out_channels: 32, kernel: 3, padding: 1, out_shift: {out_shift}, activation: relu}}
{{name: d, op: depthwise_conv2d, kernel: 3, padding: 1, out_shift: {out_shift}, bias_shift: 2}}
{{name: e, op: tanh, int_bits: 1}}
{{name: f, op: fully_connected, out_features: 40, out_shift: {out_shift}}}"""
    model = load_model(write(tmp_path, layers, HEAD.replace("q7", dtype).replace("[8, 8, 4]", "[16, 16, 3]")))
    info = np.iinfo(model.layers[0].numpy_dtype)
    x = np.random.default_rng(3).integers(info.min, info.max, model.input_shape, info.dtype, endpoint=True)
    from cmsisnn_x import Network

    varied = 0
    for layer in model.layers:
        x = Network((layer,)).run(x)
        if layer.weights_dtype:
            assert np.mean((x == info.max) | (x == info.min)) < 0.10, layer.name
            varied += np.unique(x).size > 8
    # Not silence either, where weights of eight bits can fill the range at all.
    assert varied >= 3 or (dtype == "q7" and out_shift > 9)


def test_weights_of_an_archive_are_used(tmp_path: Path) -> None:
    weights = np.arange(-108, 108).astype(np.int8).reshape(6, 3, 3, 4)
    np.savez(tmp_path / "w.npz", **{"c/weights": np.asfortranarray(weights)})
    model = load_model(write(tmp_path, CONV, HEAD + "weights: w.npz\n"))
    np.testing.assert_array_equal(model.layers[0].weights, weights)
    np.testing.assert_array_equal(model.layers[0].bias, np.zeros(6, np.int8))
    assert model.layers[0].weights.flags.c_contiguous


def test_q7_weights_with_q15_activations(tmp_path: Path) -> None:
    line = "{name: f, op: fully_connected, out_features: 6, out_shift: 7, weights_dtype: q7}"
    layer = load_model(write(tmp_path, line, HEAD.replace("q7", "q15"))).layers[0]
    assert (layer.dtype, layer.weights_dtype, layer.weights.dtype) == ("q15", "q7", np.int8)


@pytest.mark.parametrize("line", [CONV, "{name: d, op: depthwise_conv2d, kernel: 3, out_shift: 7}"])
def test_q7_weights_with_q15_activations_have_one_kernel(tmp_path: Path, line: str) -> None:
    text = message(write(tmp_path, line.replace("}", ", weights_dtype: q7}"), HEAD.replace("q7", "q15")))
    assert "net.yaml:5: layers[0].weights_dtype: q7 weights with q15 activations have no kernel of " in text
    assert text.endswith("only of fully_connected; expected q15, got q7")


def test_the_digest_follows_the_content_not_the_text(tmp_path: Path) -> None:
    first = load_model(write(tmp_path, CONV)).digest
    assert load_model(write(tmp_path, CONV, "# a comment\n" + HEAD)).digest == first
    assert load_model(write(tmp_path, CONV.replace("7}", "8}"))).digest != first


def test_drawn_arrays_fit_the_layers() -> None:
    model = load_model("cifar10")
    for layer in draw_arrays("other", list(model.layers)):
        if layer.weights_dtype:
            assert layer.weights.shape == layer.weights_shape
            assert layer.bias.shape == layer.bias_shape


def test_names_may_look_like_yaml_booleans(tmp_path: Path) -> None:
    assert load_model(write(tmp_path, CONV.replace("name: c", "name: on"))).layers[0].name == "on"


# ---------------------------------------------------------------- what is wrong with one


def test_a_softmax_that_no_kernel_can_count_is_refused(tmp_path: Path) -> None:
    head = HEAD.replace("[8, 8, 4]", "[32768]")
    with pytest.raises(ModelError, match=r"net.yaml:5: layers\[0\].op: softmax takes at most 32767 elements"):
        load_model(write(tmp_path, "{name: s, op: softmax}", head))
    assert load_model(write(tmp_path, "{name: s, op: softmax}", head.replace("32768", "32767"))).layers


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (CONV.replace("kernel", "kernal"), ["net.yaml:5: layers[0].kernal: unknown key", "did you mean 'kernel'?"]),
        (
            CONV.replace("kernel: 3", "kernel: three"),
            [":5: layers[0].kernel:", "an integer in 1..65535 or [y, x]", "'three'"],
        ),
        (CONV.replace("kernel: 3", "kernel: 0"), [":5: layers[0].kernel:", "got 0"]),
        (CONV.replace("kernel: 3", "kernel: [3, 3, 3]"), ["layers[0].kernel:", "[3, 3, 3]"]),
        (CONV.replace("conv2d", "conv3d"), [":5: layers[0].op: unknown operation 'conv3d'", "did you mean 'conv2d'?"]),
        (CONV.replace("op: conv2d, ", ""), ["layers[0].op: missing", "conv2d"]),
        (CONV.replace(", out_shift: 7", ""), ["layers[0].out_shift: missing", "0..31"]),
        (CONV.replace("out_shift: 7", "out_shift: 32"), ["layers[0].out_shift: expected an integer in 0..31, got 32"]),
        (CONV.replace("out_shift: 7", "out_shift: 7.0"), ["layers[0].out_shift: expected an integer, got 7.0"]),
        (CONV.replace("out_shift: 7", "out_shift: true"), ["layers[0].out_shift: expected an integer, got True"]),
        (CONV.replace("name: c", "name: 5c"), ["layers[0].name:", "C identifier", "try 'n5c'"]),
        (CONV.replace("name: c", "name: int"), ["'int' is a C or C++ keyword"]),
        (CONV.replace("name: c", "name: Class"), ["'Class' is a C or C++ keyword"]),
        (CONV.replace("name: c", "name: Run"), ["layers[0].name: 'Run' is taken"]),
        (CONV.replace("name: c", "name: a__b"), ["reserved"]),
        (CONV.replace("name: c", f"name: {'x' * 64}"), ["at most 63 characters, got 64"]),
        (CONV.replace("name: c", "name: é"), ["C identifier", "'é'"]),
        (CONV.replace("name: c", "name: 12"), ["layers[0].name: expected text, got 12", "'12'"]),
        (f"{CONV}\n{CONV.replace('name: c', 'name: C')}", [":6: layers[1].name: two layers are called 'c'"]),
        (CONV.replace("padding: 1", "padding: sane"), ["layers[0].padding:", "'same' or 'valid'", "'sane'"]),
        (
            CONV.replace("padding: 1", "padding: 3"),
            ["layers[0].padding:", "below the kernel size 3, got 3", "(height)"],
        ),
        (CONV.replace("kernel: 3, padding: 1", "kernel: [9, 3]"), ["layers[0].kernel:", "at most 8", "got 9"]),
        (
            CONV.replace("7}", "7, weights_dtype: q15}"),
            ["layers[0].weights_dtype: q15 weights with q7 activations have no kernel"],
        ),
        (CONV.replace("7}", "7, activation: gelu}"), ["layers[0].activation: expected one of: relu; got 'gelu'"]),
        (
            CONV.replace("7}", "7, variant: {unrol: 4}}"),
            ["layers[0].variant: unknown knob 'unrol'", "did you mean 'unroll'?"],
        ),
        (
            CONV.replace("7}", "7, variant: {unroll: 3}}"),
            ["layers[0].variant: unroll: expected one of 1, 2, 4, 8", "got 3"],
        ),
        ("{name: r, op: relu, kernel: 3}", ["layers[0].kernel: relu has no such key", "conv2d"]),
        ("{name: t, op: tanh}", ["layers[0].int_bits: missing", "0..3"]),
        (
            "{name: f, op: fully_connected, out_features: 4, out_shift: 1}\n{name: p, op: max_pool2d, kernel: 2}",
            [":6: layers[1].op:", "[4]", "image"],
        ),
        (
            CONV.replace("out_channels: 6", "out_channels: 65536"),
            ["layers[0].out_channels: expected an integer in 1..65535, got 65536"],
        ),
        ("just text", ["layers[0]: expected a mapping, got 'just text'"]),
    ],
)
def test_a_wrong_layer_is_one_clear_sentence(tmp_path: Path, line: str, expected: list[str]) -> None:
    text = message(write(tmp_path, line))
    for part in expected:
        assert part in text
    assert "Traceback" not in text
    assert "\n" not in text


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", ["expected a mapping"]),
        (b"[1, 2]", ["expected a mapping"]),
        (b"schema: 2\n" + HEAD.encode()[10:] + b"layers: []\n", [":1: schema: expected 1, got 2"]),
        (HEAD.encode() + b"layers: []\n", [":4: layers: expected at least one layer, got none"]),
        (HEAD.encode(), ["layers: missing"]),
        (HEAD.encode() + b"name: again\n", [":4: name: given twice, first in line 2"]),
        (HEAD.encode() + b"lairs: []\nlayers: []\n", [":4: lairs: unknown key; did you mean 'layers'?"]),
        (b"\x89PNG\r\n\x1a\n\x00\x00", [":1: expected UTF-8 text, got byte 0x89"]),
        (b"schema: 1\nname: \xff\n", [":2: expected UTF-8 text, got byte 0xff"]),
        (b"a: \x00\x01\n", ["not a text file"]),
        (b"schema: 1\nname: [unclosed\n", ["not valid YAML"]),
        (b"schema: !!python/object/apply:os.system ['true']\n", [":1: tag", "not supported"]),
        (b"a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n", [":1: anchors and aliases are not supported"]),
        (b"a: " + b"[" * 3000 + b"]" * 3000, ["levels deep"]),
        (b"? [a, b]\n: 1\n", ["expected a plain key"]),
        (b"x" * (1 << 21), ["at most 1048576 bytes"]),
        (HEAD.replace("[8, 8, 4]", "[8, 8]").encode(), [":3: input.shape: expected [h, w, c] or [n]", "[8, 8]"]),
        (HEAD.replace("[8, 8, 4]", "[8, 8, 0]").encode(), ["input.shape:", "1..65535"]),
        (
            HEAD.replace("q7", "int32").encode(),
            ["input.dtype: expected one of: q7, q15, int8, int16, uint8; got 'int32'"],
        ),
        (
            HEAD.replace("name: net", "name: for").encode() + b"layers: [{name: r, op: relu}]\n",
            [":2: name: ", "'for' is a C or C++ keyword"],
        ),
        (HEAD.encode() + b"budget: {sram: 64Q}\nlayers: [{name: r, op: relu}]\n", [":4: budget.sram:", "64K", "'64Q'"]),
        (
            HEAD.encode() + b"budget: {ram: 64K}\nlayers: [{name: r, op: relu}]\n",
            [":4: budget.ram: unknown key; did you mean 'sram'?"],
        ),
    ],
)
def test_a_wrong_file_is_one_clear_sentence(tmp_path: Path, content: bytes, expected: list[str]) -> None:
    path = tmp_path / "net.yaml"
    path.write_bytes(content)
    text = message(path)
    for part in expected:
        assert part in text
    assert "\n" not in text


@pytest.mark.parametrize(
    ("shape", "line"),
    [
        ("[65535, 65535, 1]", "{name: r, op: relu}"),
        ("[40000, 40000, 1]", CONV.replace("kernel: 3, padding: 1", "kernel: 1")),
        ("[65535]", "{name: f, op: fully_connected, out_features: 65535, out_shift: 7}"),
    ],
)
def test_sizes_beyond_the_limits_are_refused_before_memory_is_taken(tmp_path: Path, shape: str, line: str) -> None:
    assert "at most 2147483647 bytes" in message(write(tmp_path, line, HEAD.replace("[8, 8, 4]", shape)))


def test_several_problems_are_counted(tmp_path: Path) -> None:
    text = message(write(tmp_path, CONV.replace("kernel: 3", "kernel: x, stride: y")))
    assert "kernel" in text
    assert "(and 1 more problem)" in text


def test_unknown_models_get_a_suggestion() -> None:
    with pytest.raises(ModelError, match="did you mean 'cifar10'"):
        load_model("cifar1O")
    with pytest.raises(ModelError, match="did you mean 'digits_resnet'"):
        load_model("digits_resne")
    for absent in ("nowhere/net.yaml", "net.yaml", "digits_resnet2.tflite"):
        with pytest.raises(ModelError, match=f"{absent}: no such file"):
            load_model(absent)


def npz(folder: Path, **arrays: np.ndarray) -> Path:
    np.savez(folder / "w.npz", **{name.replace("__", "/"): array for name, array in arrays.items()})
    return write(folder, CONV, HEAD + "weights: w.npz\n")


GOOD = np.zeros((6, 3, 3, 4), np.int8)


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [
        ({}, ["array 'c/weights' is missing"]),
        ({"c__weights": GOOD.astype(np.int16)}, ["c/weights: expected int8 of shape [6, 3, 3, 4], got int16"]),
        ({"c__weights": GOOD.astype(np.float32)}, ["got float32"]),
        ({"c__weights": GOOD[:5]}, ["got int8 of shape [5, 3, 3, 4]"]),
        ({"c__weights": np.array([{}], object)}, ["c/weights: expected int8", "got object of shape [1]"]),
        ({"c__weights": GOOD, "c__bias": np.zeros(5, np.int8)}, ["c/bias: expected int8 of shape [6]"]),
        ({"c__weight": GOOD}, ["no layer takes the array 'c/weight'", "did you mean 'c/weights'?"]),
        ({"c__weights": np.zeros(10_000_000, np.int8)}, ["expected at most", "got a file of 100002"]),
    ],
)
def test_a_wrong_archive_is_one_clear_sentence(
    tmp_path: Path, arrays: dict[str, np.ndarray], expected: list[str]
) -> None:
    text = message(npz(tmp_path, **arrays))
    assert "net.yaml:4: weights:" in text
    for part in expected:
        assert part in text


def test_archives_that_are_none(tmp_path: Path) -> None:
    path = write(tmp_path, CONV, HEAD + "weights: w.npz\n")
    assert "no such file; the path is relative to the model file" in message(path)
    (tmp_path / "w.npz").write_bytes(b"PK\x03\x04 nothing")
    assert "expected an npz archive" in message(path)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("c/weights.npy", bytes(50_000_000))  # a bomb: never unpacked
    (tmp_path / "w.npz").write_bytes(buffer.getvalue())
    assert "c/weights: expected int8 of shape [6, 3, 3, 4], got data that cannot be read" in message(path)


@settings(max_examples=150, deadline=None)
@given(data=st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_noise_is_a_model_error(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("noise") / "net.yaml"
    path.write_bytes(data)
    with pytest.raises(ModelError):
        load_model(path)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 70000) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=200, deadline=None)
@given(
    key=st.sampled_from(
        [
            "name",
            "op",
            "kernel",
            "stride",
            "padding",
            "out_shift",
            "out_channels",
            "variant",
            "activation",
            "bias_shift",
        ]
    ),
    value=json_values,
)
def test_any_value_of_any_key_loads_or_is_a_model_error(
    tmp_path_factory: pytest.TempPathFactory, key: str, value: object
) -> None:
    layer = yaml.safe_load(CONV) | {key: value}
    if key == "kernel" and isinstance(value, int) and value > 64:
        return
    path = tmp_path_factory.mktemp("any") / "net.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(HEAD), "layers": [layer]}), encoding="utf-8")
    try:
        assert len(load_model(path).layers) == 1
    except ModelError as problem:
        text = str(problem)
        assert text.startswith(str(path))


# ---------------------------------------------------------------- sizes and frequencies


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("65536", 65536),
        (65536, 65536),
        ("64K", 65536),
        ("64KiB", 65536),
        ("64 kb", 65536),
        ("1M", 1 << 20),
        ("1.5K", 1536),
    ],
)
def test_sizes(text: object, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "K", "-1", "0", 0, True, "1.0001K", "1G", "64Kb/s", None, 1.5, "9" * 40])
def test_wrong_sizes(text: object) -> None:
    with pytest.raises(ValueError, match="expected"):
        parse_size(text)


def test_frequencies() -> None:
    assert [parse_hertz(text) for text in ("216M", "216MHz", 48_000_000, "32.768k")] == [
        216_000_000,
        216_000_000,
        48_000_000,
        32_768,
    ]
    with pytest.raises(ValueError, match="216M"):
        parse_hertz("fast")


TREE = HEAD + """outputs: [c, f]
layers:
  - {name: a, op: conv2d, out_channels: 6, kernel: 3, padding: 1, out_shift: 7}
  - {name: b, op: max_pool2d, kernel: 2}
  - {name: c, op: fully_connected, out_features: 3, out_shift: 7}
  - {name: d, op: conv2d, inputs: [a], out_channels: 6, kernel: 1, out_shift: 6}
  - {name: e, op: avg_pool2d, inputs: [d], kernel: 4}
  - {name: f, op: relu}
"""


def test_layers_of_q7_may_share_what_they_read(tmp_path: Path) -> None:
    path = tmp_path / "net.yaml"
    path.write_text(TREE)
    model = load_model(path)
    assert [port.name for port in model.outputs] == ["c", "f"]
    x = np.random.default_rng(3).integers(-128, 127, (8, 8, 4), np.int8, endpoint=True)
    a, b, c, d, e, f = model.layers
    shared = cmsisnn_x.Network([a]).run(x)
    first, second = model.network().run(x)
    np.testing.assert_array_equal(first, cmsisnn_x.Network([b, c]).run(shared))
    np.testing.assert_array_equal(second, cmsisnn_x.Network([d, e, f]).run(shared))
    for one in (first, second):
        assert np.ptp(one) > 0


def test_naming_the_layer_before_changes_nothing(tmp_path: Path) -> None:
    plain, named = (tmp_path / f"{name}.yaml" for name in ("plain", "named"))
    plain.write_text(f"{HEAD}layers:\n  - {CONV}\n  - {{name: r, op: relu}}\n")
    named.write_text(f"{HEAD}outputs: [r]\nlayers:\n  - {CONV[:-1]}, inputs: [input]}}\n"
                     "  - {name: r, op: relu, inputs: [c]}\n")  # fmt: skip
    assert load_model(named).digest == load_model(plain).digest
    assert load_model(named).wiring is None


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("inputs: [a]", "inputs: [x]", "layers[3].inputs[0]: no layer before is called 'x'; expected one of: a, b, c"),
        ("inputs: [a]", "inputs: [e]", "layers[3].inputs[0]: no layer before is called 'e'"),
        ("inputs: [a]", "inputs: [a, a]", "layers[3].inputs: expected at most 1 items, got 2"),
        ("outputs: [c, f]", "outputs: [f]", "layers[2].name: 'c': no layer reads it, and it is no output"),
        ("outputs: [c, f]", "outputs: [c, f, c]", "outputs[2]: 'c' is named twice"),
        ("outputs: [c, f]", "outputs: [c, f, input]", "outputs[2]: 'input' is no layer's output"),
    ],
)
def test_a_tree_that_is_none(tmp_path: Path, old: str, new: str, expected: str) -> None:
    path = tmp_path / "net.yaml"
    path.write_text(TREE.replace(old, new))
    assert expected in message(path)


@pytest.mark.emulated
def test_firmware_of_a_tree_is_exact(tmp_path: Path) -> None:
    (tmp_path / "net.yaml").write_text(TREE)
    target = load_target("cortex-m3")
    emit(tune(load_model(tmp_path / "net.yaml"), target), tmp_path / "out")
    firmware = folder.load(tmp_path / "out")
    result = folder.verify(firmware, find_toolchain(), folder.draw_inputs(firmware, 2), target=target)
    assert result.exact, result.mismatches[0]


LIMITS = {
    "avg_pool.h": ("[256, 257, 2], dtype: q15", "{name: p, op: avg_pool2d, kernel: [256, 257]}", "65535 elements"),
    "softmax.h": ("[256, 256, 1], dtype: q7", "{name: p, op: softmax}", "32767 elements"),
}
"""Of sizes that a header refuses by itself, whatever the variant: a model that goes beyond, and what is said of it."""


def test_what_a_header_refuses_whatever_the_variant_no_model_has(tmp_path: Path) -> None:
    include = Path(cmsisnn_x.get_include()) / "cmsisnn_x"
    refused = {
        header.name for header in include.glob("*.h") if re.search(r"#error .*elements, so that", header.read_text())
    }
    assert refused == set(LIMITS)
    for shape, layer, limit in LIMITS.values():
        path = tmp_path / "m.yaml"
        path.write_text(f"schema: 1\nname: m\ninput: {{shape: {shape}}}\nlayers: [{layer}]\n")
        with pytest.raises(ModelError, match=limit):
            load_model(path)
