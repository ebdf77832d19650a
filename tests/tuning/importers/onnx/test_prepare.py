# SPDX-License-Identifier: Apache-2.0
"""What scikit-learn's exporter writes, outputs that are cut, sizes that are open: the numbers of onnx.reference."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from helpers.onnx_models import model, node
from tuning import ModelError, OptionError
from tuning.importers.onnx.prepare import Given
from tuning.quantize import FloatNetwork, load_onnx
from tuning.quantize.data import channels_last
from tuning.quantize.forward import run

ML = "ai.onnx.ml"
RNG = np.random.default_rng(5)
FEATURES, CLASSES = 6, 4


def ml(op: str, inputs: list[str], outputs: list[str], **attributes: object) -> onnx.NodeProto:
    return helper.make_node(op, inputs, outputs, domain=ML, **attributes)


def learned(
    nodes: Sequence[onnx.NodeProto], outputs: dict[str, int | None], weights: dict[str, np.ndarray] | None = None,
    opset: int = 15,
) -> onnx.ModelProto:  # fmt: skip
    """A model as skl2onnx writes it; of `outputs` the element type, or None where it is a list of mappings."""
    found = []
    for name, kind in outputs.items():
        if kind is None:
            made = onnx.ValueInfoProto(name=name)
            made.type.sequence_type.elem_type.map_type.key_type = TensorProto.INT64
            made.type.sequence_type.elem_type.map_type.value_type.tensor_type.elem_type = TensorProto.FLOAT
            found.append(made)
        else:
            found.append(helper.make_tensor_value_info(name, kind, None))
    stored = [numpy_helper.from_array(value, name) for name, value in (weights or {}).items()]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, FEATURES])]
    graph = helper.make_graph(list(nodes), "learned", inputs, found, stored)
    domains = [helper.make_opsetid("", opset), helper.make_opsetid(ML, 1)]
    return helper.make_model(graph, opset_imports=domains)


def judged(proto: onnx.ModelProto, x: np.ndarray, *outputs: str) -> list[np.ndarray]:
    """Tensors by onnx.reference, which has no ZipMap."""
    made = onnx.ModelProto()
    made.CopyFrom(proto)
    kept = [one for one in made.graph.node if one.op_type != "ZipMap"]
    del made.graph.node[:], made.graph.output[:]
    made.graph.node.extend(kept)
    made.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.UNDEFINED, None) for name in outputs)
    return [np.asarray(one) for one in ReferenceEvaluator(made).run(list(outputs), {"x": x})]


def forward(network: FloatNetwork, x: np.ndarray) -> np.ndarray:
    *_, (_, out) = run(network.geometry("q7"), network.arrays(), channels_last(x, network.input_shape, "NHWC"))
    return out.reshape(len(x), -1)


def samples(count: int = 9) -> np.ndarray:
    return RNG.normal(3, 2, (count, FEATURES)).astype(np.float32)


def scaler(taken: str, made: str, count: int = FEATURES) -> onnx.NodeProto:
    offset, scale = RNG.normal(3, 1, count), RNG.uniform(0.1, 2, count)
    return ml("Scaler", [taken], [made], offset=offset.tolist(), scale=scale.tolist())


def linear(taken: str, post: str, classes: int = CLASSES, rows: int | None = None) -> onnx.NodeProto:
    rows = rows or classes
    return ml(
        "LinearClassifier", [taken], ["label", "scores"], coefficients=RNG.normal(0, 1, rows * FEATURES).tolist(),
        intercepts=RNG.normal(0, 1, rows).tolist(), classlabels_ints=list(range(classes)), post_transform=post,
    )  # fmt: skip


LABELLED: dict[str, int | None] = {"label": TensorProto.INT64, "probabilities": None}


def zip_map(taken: str, classes: int = CLASSES) -> onnx.NodeProto:
    return ml("ZipMap", [taken], ["probabilities"], classlabels_int64s=list(range(classes)))


@pytest.mark.parametrize("post", ["SOFTMAX", "LOGISTIC", "NONE"])
@pytest.mark.parametrize("kind", ["plain", "scaled", "normalised"])
def test_linear_classifiers_with_their_labels(post: str, kind: str) -> None:
    """The ZipMap that skl2onnx adds is passed, the label left out; a Normalizer behind a softmax does nothing."""
    nodes = [] if kind == "plain" else [scaler("x", "s", FEATURES if kind == "scaled" else 1)]
    nodes.append(linear("x" if kind == "plain" else "s", post))
    if kind == "normalised":
        nodes.append(ml("Normalizer", ["scores"], ["n"], norm="L1"))
    nodes.append(zip_map("n" if kind == "normalised" else "scores"))
    proto, x = learned(nodes, LABELLED), samples()
    network = load_onnx(proto)
    label, scores = judged(proto, x, "label", "scores")
    got = forward(network, x)
    assert np.abs(got - scores).max() < 1e-4
    assert np.array_equal(got.argmax(axis=1), label)
    after = {"SOFTMAX": ["softmax"], "LOGISTIC": ["sigmoid"], "NONE": []}[post]
    assert [layer.op for layer in network.layers] == ["fully_connected", *after]
    assert "probabilities: the one output; label, the class, is the place of its largest number" in network.notes
    is_undivided = kind == "normalised" and post != "SOFTMAX"
    assert any("not divided by their sum" in note for note in network.notes) is is_undivided


def test_a_classifier_of_two_classes_has_one_number() -> None:
    proto, x = learned([linear("x", "LOGISTIC", 2, 1), zip_map("scores", 2)], LABELLED), samples()
    network = load_onnx(proto)
    item = proto.graph.node[0]
    given = {one.name: helper.get_attribute_value(one) for one in item.attribute}
    wanted = 1 / (1 + np.exp(-(x @ np.asarray(given["coefficients"]) + given["intercepts"][0])))
    assert np.abs(forward(network, x)[:, 0] - wanted).max() < 1e-5
    assert any("that of class 1; 0 has the rest" in note for note in network.notes)


@pytest.mark.parametrize("targets", [1, 3])
@pytest.mark.parametrize("opset", [None, 17])
def test_linear_regressors(targets: int, opset: int | None) -> None:
    regressor = ml(
        "LinearRegressor", ["s"], ["y"], targets=targets, coefficients=RNG.normal(0, 1, targets * FEATURES).tolist(),
        intercepts=RNG.normal(0, 1, targets).tolist(),
    )  # fmt: skip
    proto = learned([scaler("x", "s"), regressor], {"y": TensorProto.FLOAT}, opset=opset or 17)
    x = samples()
    (wanted,) = ReferenceEvaluator(proto).run(None, {"x": x})
    if opset is None:
        del proto.opset_import[0]
    network = load_onnx(proto)
    assert np.abs(forward(network, x) - wanted).max() < 1e-4
    assert [layer.op for layer in network.layers] == ["fully_connected"]


def perceptron(classes: int) -> tuple[list[onnx.NodeProto], dict[str, np.ndarray]]:
    """scikit-learn's MLPClassifier behind a StandardScaler, up to what gives the classes."""
    outputs = classes if classes > 2 else 1
    shapes = {"w": (FEATURES, 5), "b": (1, 5), "v": (5, outputs), "c": (1, outputs)}
    weights = {name: RNG.normal(0, 0.7, shape) for name, shape in shapes.items()} | {"unity": np.ones(())}
    stored = {name: value.astype(np.float32) for name, value in weights.items()}
    stored |= {"classes": np.arange(classes, dtype=np.int32), "shape": np.array([-1], np.int64)}
    nodes = [
        scaler("x", "s"), node("Cast", ["s"], ["t"], to=TensorProto.FLOAT), node("MatMul", ["t", "w"], ["h"]),
        node("Add", ["h", "b"], ["i"]), node("Relu", ["i"], ["j"]), node("MatMul", ["j", "v"], ["k"]),
        node("Add", ["k", "c"], ["l"]),
    ]  # fmt: skip
    if classes > 2:
        nodes.append(node("Softmax", ["l"], ["p"], axis=1))
    else:
        nodes += [node("Sigmoid", ["l"], ["q"]), node("Sub", ["unity", "q"], ["r"])]
        nodes.append(node("Concat", ["r", "q"], ["p"], axis=1))
    nodes += [
        node("ArgMax", ["p"], ["a"], axis=1), ml("ArrayFeatureExtractor", ["classes", "a"], ["f"]),
        node("Reshape", ["f", "shape"], ["g"]), node("Cast", ["g"], ["label"], to=TensorProto.INT64),
        zip_map("p", classes),
    ]  # fmt: skip
    return nodes, stored


@pytest.mark.parametrize("classes", [2, 5])
def test_pipelines_of_a_scaler_and_a_perceptron(classes: int) -> None:
    nodes, weights = perceptron(classes)
    proto, x = learned(nodes, LABELLED, weights), samples(30)
    network = load_onnx(proto)
    (wanted,) = judged(proto, x, "p")
    got = forward(network, x)
    assert np.abs(got - (wanted if classes > 2 else wanted[:, 1:])).max() < 1e-4
    assert [layer.op for layer in network.layers][-1] == ("softmax" if classes > 2 else "sigmoid")
    assert any("that of the second class" in note for note in network.notes) is (classes == 2)


def test_probabilities_of_one_versus_the_rest() -> None:
    """Sigmoids written out, divided by their sum."""
    weights = {"w": RNG.normal(0, 1, (FEATURES, CLASSES)), "minus": np.array(-1.0)}
    weights |= {"one": np.ones(()), "none": np.zeros(1)}
    stored = {name: value.astype(np.float32) for name, value in weights.items()} | {"axis": np.array([1], np.int64)}
    nodes = [
        node("MatMul", ["x", "w"], ["s"]), node("Mul", ["s", "minus"], ["m"]), node("Exp", ["m"], ["e"]),
        node("Add", ["e", "one"], ["f"]), node("Reciprocal", ["f"], ["p"]), node("ReduceSum", ["p", "axis"], ["t"]),
        node("Add", ["p", "none"], ["u"]), node("Add", ["t", "none"], ["v"]), node("Div", ["u", "v"], ["d"]),
        node("ArgMax", ["d"], ["label"], axis=1), zip_map("d"),
    ]  # fmt: skip
    proto, x = learned(nodes, LABELLED, stored), samples()
    network = load_onnx(proto)
    sigmoids, label = judged(proto, x, "p", "label")
    got = forward(network, x)
    assert np.abs(got - sigmoids).max() < 1e-5
    assert np.array_equal(got.argmax(axis=1), label[:, 0])
    assert any("not divided by their sum" in note for note in network.notes)


def test_one_column_of_the_scores() -> None:
    nodes = [linear("x", "NONE", 2), ml("ArrayFeatureExtractor", ["scores", "which"], ["y"])]
    proto = learned(nodes, {"label": TensorProto.INT64, "y": TensorProto.FLOAT}, {"which": np.array(1, np.int64)})
    x = samples()
    (scores,) = judged(proto, x, "scores")
    assert np.abs(forward(load_onnx(proto), x) - scores[:, 1:]).max() < 1e-5


def test_what_no_network_has_is_named() -> None:
    nodes = [ml("Normalizer", ["x"], ["n"], norm="L2"), linear("n", "SOFTMAX"), zip_map("scores")]
    with pytest.raises(ModelError, match=r"the ai\.onnx\.ml\.Normalizer node that gives 'n': the operator is not"):
        load_onnx(learned(nodes, LABELLED))
    trees = ml("TreeEnsembleRegressor", ["x"], ["y"])
    with pytest.raises(ModelError, match=r"TreeEnsembleRegressor node that gives 'y': the operator is not supported"):
        load_onnx(learned([trees], {"y": TensorProto.FLOAT}))
    for broken in (ml("Scaler", ["x"], ["y"]), ml("LinearClassifier", ["x"], ["label", "y"], coefficients=[1.0] * 5)):
        with pytest.raises(ModelError, match=r"its inputs and attributes are no valid ai\.onnx\.ml\."):
            load_onnx(learned([broken], {"y": TensorProto.FLOAT}))


def test_a_network_is_cut_at_an_output() -> None:
    weights = {"w": RNG.normal(0, 1, (6, 4)), "v": RNG.normal(0, 1, (4, 3))}
    nodes = [node("MatMul", ["x", "w"], ["a"]), node("Relu", ["a"], ["b"]), node("MatMul", ["b", "v"], ["y"])]
    proto, x = model(nodes, weights, ("n", 6), outputs=("y", "b")), samples()
    with pytest.raises(ModelError, match="expected one output, got 'y', 'b'; cut the network at one with --output"):
        load_onnx(proto)
    for name, stop in (("b", 1), ("y", 2)):
        (wanted,) = ReferenceEvaluator(proto).run([name], {"x": x})
        network = load_onnx(proto, given=Given(name))
        assert np.abs(forward(network, x) - wanted).max() < 1e-5
        assert len(network.layers) == stop
    with pytest.raises(OptionError, match="or a tensor that graph computes, such as 'y' or 'b', got 'zz'"):
        load_onnx(proto, given=Given("zz"))
    assert len(proto.graph.output) == 2


def test_open_sizes_are_given() -> None:
    conv = {"w": RNG.normal(0, 1, (4, 3, 3, 3))}
    proto = model([node("Conv", ["x", "w"], ["y"])], conv, ("n", 3, "h", "w"))
    with pytest.raises(ModelError, match=r"export with fixed sizes .*, or say --shape x=1,"):
        load_onnx(proto)
    assert load_onnx(proto, given=Given(shapes={"x": (1, 3, 9, 8)})).input_shape == (9, 8, 3)
    for shapes, says in (
        ({"z": (1, 3, 9, 8)}, "--shape: expected an input of graph, 'x', got 'z'"),
        ({"x": (1, 3, 9)}, r"--shape: x: expected sizes for \[n, 3, h, w\], got 1, 3, 9"),
        ({"x": (1, 4, 9, 9)}, r"expected sizes for \[n, 3, h, w\], got 1, 4, 9, 9"),
    ):
        with pytest.raises(OptionError, match=says):
            load_onnx(proto, given=Given(shapes=shapes))
