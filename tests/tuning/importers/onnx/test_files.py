# SPDX-License-Identifier: Apache-2.0
"""ONNX in: files of every kind and age, whole and damaged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from helpers.onnx_layers import CONV, check, draw, forward
from helpers.onnx_models import model, node, save
from tuning import ModelError
from tuning.importers.onnx import file as onnx_file
from tuning.quantize import load_onnx


def test_fixed_batch_and_old_files_with_weights_among_the_inputs() -> None:
    nodes = [node("Flatten", ["x"], ["f"]), node("Gemm", ["f", "w"], ["y"])]
    proto = model(nodes, {"w": draw(192, 4)}, (4, 3, 8, 8))
    proto.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [192, 4]))
    assert check(proto).input_shape == (192,)


def test_half_and_double_precision(tmp_path: Path) -> None:
    w = draw(12, 5)
    for dtype in (np.float16, np.float64):
        proto = model([node("MatMul", ["x", "w"], ["y"])], {}, ("n", 12))
        proto.graph.initializer.append(numpy_helper.from_array(w.astype(dtype), "w"))
        (layer,) = load_onnx(save(proto, tmp_path / "m.onnx")).layers
        assert np.array_equal(layer.weights, w.astype(dtype).T.astype(np.float64))


def test_local_functions_are_inlined() -> None:
    body = helper.make_function(
        "own",
        "Block",
        ["a", "w", "b"],
        ["r"],
        [node("Conv", ["a", "w", "b"], ["c"]), node("Relu", ["c"], ["r"])],
        [helper.make_opsetid("", 17)],
    )
    proto = model([node("Block", ["x", "w", "b"], ["y"], domain="own")], CONV)
    proto.opset_import.append(helper.make_opsetid("own", 1))
    proto.functions.append(body)
    check(proto, ["conv2d"])


def test_files_that_are_no_models(tmp_path: Path) -> None:
    def message(path: Path) -> str:
        with pytest.raises(ModelError) as caught:
            load_onnx(path)
        return str(caught.value)

    path = tmp_path / "net.onnx"
    assert "no such file" in message(path)
    for content in (b"", b"\x00", b"not a model at all", bytes(range(256)) * 8, b"PK\x03\x04" + bytes(64)):
        path.write_bytes(content)
        assert "expected an ONNX file" in message(path), content[:8]
    whole = model([node("Conv", ["x", "w", "b"], ["y"])], CONV).SerializeToString()
    for end in (1, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:end])
        assert "net.onnx" in message(path)
    (tmp_path / "net.tflite").write_bytes(b"TFL3")
    assert "tf2onnx" in message(tmp_path / "net.tflite")
    (tmp_path / "net.keras").write_bytes(b"PK")
    assert 'model.export("model.onnx", format="onnx")' in message(tmp_path / "net.keras")
    assert "folder" in message(tmp_path)


def test_external_data(tmp_path: Path) -> None:
    proto = model([node("MatMul", ["x", "w"], ["y"])], {"w": draw(64, 32)}, ("n", 64))
    wanted = numpy_helper.to_array(proto.graph.initializer[0]).T
    path = tmp_path / "net.onnx"
    onnx.save(proto, path, save_as_external_data=True, location="net.data", size_threshold=0)
    (layer,) = load_onnx(path).layers
    assert np.array_equal(layer.weights, wanted)
    (tmp_path / "net.data").rename(tmp_path / "elsewhere")
    with pytest.raises(ModelError, match="external data cannot be read"):
        load_onnx(path)
    # A path that leaves the folder is not followed.
    stored = onnx.load(path, load_external_data=False)
    for entry in stored.graph.initializer[0].external_data:
        if entry.key == "location":
            entry.value = "../secret"
    (tmp_path.parent / "secret").write_bytes(bytes(8192))
    path.write_bytes(stored.SerializeToString())
    with pytest.raises(ModelError, match="external data cannot be read"):
        load_onnx(path)


def test_models_of_onnx_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch's layers as an old exporter wrote them (opset 6): the stored outputs, or a refusal."""
    monkeypatch.setattr(onnx_file, "OLDEST_OPSET", 6)
    equal = refusals = 0
    for path in sorted((Path(onnx.__file__).parent / "backend" / "test" / "data" / "pytorch-converted").iterdir()):
        try:
            network = load_onnx(path / "model.onnx")
        except ModelError:
            refusals += 1
            continue
        x, wanted = (
            numpy_helper.to_array(onnx.load_tensor(path / "test_data_set_0" / f"{kind}_0.pb"))
            for kind in ("input", "output")
        )
        if any("logarithms" in note for note in network.notes):
            wanted = np.exp(wanted)
        assert np.abs(forward(network, x).reshape(wanted.shape) - wanted).max() < 1e-4, path.name
        equal += 1
    assert equal >= 30
    assert refusals >= 15


def test_damaged_files_are_read_or_refused(tmp_path: Path) -> None:
    whole = (Path(__file__).parents[4] / "configs" / "models" / "digits.onnx").read_bytes()
    rng = np.random.default_rng(1)
    path = tmp_path / "damaged.onnx"
    read = 0
    for _ in range(400):
        damaged = bytearray(whole)
        for _ in range(rng.integers(1, 6)):
            # The nodes come first: damage there reaches further than in the weights.
            place = int(rng.integers(0, len(damaged) if rng.random() < 0.3 else 1200))
            length = int(rng.integers(1, 8))
            kind = rng.random()
            if kind < 0.6:
                damaged[place] = int(rng.integers(0, 256))
            elif kind < 0.8:
                del damaged[place : place + length]
            else:
                damaged[place:place] = bytes(rng.integers(0, 256, length, dtype=np.uint8))
        path.write_bytes(damaged)
        try:
            load_onnx(path).geometry("q7")
            read += 1
        except ModelError:
            continue
    assert 0 < read < 400
