# SPDX-License-Identifier: Apache-2.0
"""What is written of a network in fixed point is what is read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tuning
from helpers.float_layers import INPUT, convolutional, draw, samples
from tuning import ModelError, OptionError
from tuning.quantize import load_reference


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
