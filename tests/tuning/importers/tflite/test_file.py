# SPDX-License-Identifier: Apache-2.0
"""`.tflite` files in: what the schema's own package wrote is what is read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tflite

from helpers.tflite_files import ENUMS, OPTIONS, G, O, T, build
from tuning import ModelError
from tuning.importers.tflite import schema
from tuning.importers.tflite.file import FileModel, FileSubgraph, FileTensor, read
from tuning.importers.tflite.flatbuffer import Choice, Number, Text, Vector

RNG = np.random.default_rng(11)
WEIGHTS = RNG.integers(-127, 128, (4, 3, 3, 2), np.int8)
BIAS = RNG.integers(-1000, 1000, 4, np.int32)
SCALES = np.array([0.5, 0.25, 0.125, 1e-3], np.float32)
CONV = (
    [
        T("x", (1, 8, 8, 2), scale=0.5, zero_point=-3, signature=(-1, 8, 8, 2)),
        T("w", data=WEIGHTS, scale=SCALES),
        T("b", data=BIAS, scale=SCALES / 2),
        T("y", (1, 6, 6, 4), scale=0.75, zero_point=127),
    ],
    [O("CONV_2D", ["x", "w", "b"], ["y"], {"padding": "VALID", "stride_w": 1, "stride_h": 1}, version=3)],
    ["x"],
    ["y"],
)


@pytest.fixture
def made(tmp_path: Path) -> Any:
    """Build a file and read it."""

    def make(*arguments: Any, **options: Any) -> FileModel:
        path = tmp_path / "m.tflite"
        path.write_bytes(build(*arguments, **options))
        return read(path)

    return make


def names_of(numbered: type) -> dict[int, str]:
    return {value: name for name, value in vars(numbered).items() if not name.startswith("_")}


def test_a_convolution_is_what_was_written(made: Any) -> None:
    model = made(*CONV, description="a test", signatures={"serve": 0})
    assert (model.path.name, model.description, len(model.subgraphs)) == ("m.tflite", "a test", 1)
    (graph,) = model.subgraphs
    assert (graph.name, graph.inputs, graph.outputs) == ("main", (0,), (3,))
    x, w, b, y = graph.tensors
    assert [(item.index, item.name, item.type) for item in graph.tensors] == [
        (0, "x", "INT8"), (1, "w", "INT8"), (2, "b", "INT32"), (3, "y", "INT8")
    ]  # fmt: skip
    assert (x.shape, x.signature, y.signature) == ((1, 8, 8, 2), (-1, 8, 8, 2), (1, 6, 6, 4))
    assert (x.scale.tolist(), x.zero_point.tolist(), y.zero_point.tolist()) == ([0.5], [-3], [127])
    assert (w.scale.dtype, w.zero_point.dtype, w.axis) == (np.float32, np.int64, 0)
    assert np.array_equal(w.scale, SCALES)
    assert w.zero_point.tolist() == [0, 0, 0, 0]
    assert x.data is None
    assert y.data is None
    for tensor, stored in ((w, WEIGHTS), (b, BIAS)):
        assert tensor.data.dtype == stored.dtype == tensor.dtype
        assert np.array_equal(tensor.data, stored)
        assert not tensor.data.flags.writeable
    (op,) = graph.ops
    assert (op.index, op.code, op.version, op.custom) == (0, "CONV_2D", 3, "")
    assert (op.inputs, op.outputs) == ((0, 1, 2), (3,))
    assert dict(op.options) == {
        "padding": "VALID",
        "stride_w": 1,
        "stride_h": 1,
        "fused_activation_function": "NONE",
        "dilation_w_factor": 1,
        "dilation_h_factor": 1,
        "quantized_bias_type": "FLOAT32",
    }
    (signature,) = model.signatures
    assert (signature.key, signature.subgraph) == ("serve", 0)
    assert (dict(signature.inputs), dict(signature.outputs)) == ({"x": 0}, {"y": 3})
    assert (str(w), str(op)) == ("tensor 1 'w'", "operator 0 (CONV_2D)")


def test_names_and_numbers_are_those_of_the_schema() -> None:
    for ours, theirs in (
        (schema.OPERATORS, tflite.BuiltinOperator),
        (schema.TYPES, tflite.TensorType),
        (schema.ACTIVATIONS, tflite.ActivationFunctionType),
    ):
        assert dict(enumerate(ours)) == names_of(theirs)
    for code, (number, _) in schema.OPTIONS.items():
        assert names_of(tflite.BuiltinOptions)[number] == OPTIONS[code], code
    assert set(schema.OPTIONS) <= set(schema.OPERATORS)
    assert set(schema.PACKED) <= set(schema.TYPES)


def other_values(fields: Mapping[str, tuple[int, Any]]) -> dict[str, Any]:
    """A value for each option that is not its default, and no two numbers alike."""
    values: dict[str, Any] = {}
    for name, (slot, kind) in fields.items():
        match kind:
            case Choice(names):
                values[name] = names[1 + slot % (len(names) - 1)]
            case Number("<?", default):
                values[name] = not default
            case Number("<f"):
                values[name] = 0.25 + slot
            case Number():
                values[name] = -7 - slot
            case Vector():
                values[name] = (2, -1, 3)
            case Text():
                values[name] = f"text {slot}"
            case _:
                raise AssertionError(kind)
    return values


@pytest.mark.parametrize("code", schema.OPTIONS)
def test_options_are_read_as_they_were_written(made: Any, code: str) -> None:
    options = other_values(schema.OPTIONS[code][1].fields)
    (op,) = made([T("x", (1,))], [O(code, ["x"], ["x"], options)]).subgraphs[0].ops
    assert op.options == options
    with pytest.raises(TypeError):
        op.options["padding"] = "SAME"


@pytest.mark.parametrize("code", schema.OPTIONS)
def test_options_that_a_file_leaves_out_have_the_defaults_of_the_schema(made: Any, code: str) -> None:
    for options in ({}, None):
        model = made([T("x", (1,))], [O(code, ["x"], ["x"], options)])
        package = tflite.Model.GetRootAs(bytearray(build([], [O(code)])), 0).Subgraphs(0).Operators(0)
        theirs = getattr(tflite, OPTIONS[code])()
        theirs.Init(package.BuiltinOptions().Bytes, package.BuiltinOptions().Pos)
        for name, value in model.subgraphs[0].ops[0].options.items():
            call = "".join(part.capitalize() for part in name.split("_"))
            if isinstance(value, tuple):
                assert (value, getattr(theirs, f"{call}Length")()) == ((), 0)
            elif name in ENUMS:
                assert value == names_of(ENUMS[name])[getattr(theirs, call)()]
            else:
                assert value == (getattr(theirs, call)() or type(value)()), name
                assert type(value) in (bool, int, float, str)


def test_an_operator_without_known_options_has_none(made: Any) -> None:
    ops = [O("LOGISTIC", ["x"], ["x"]), O("HARD_SWISH", ["x"], ["x"])]
    assert [dict(op.options) for op in made([T("x", (1,))], ops).subgraphs[0].ops] == [{}, {}]


def test_an_optional_tensor_may_be_missing(made: Any) -> None:
    (op,) = made([T("x", (1, 2)), T("w", (3, 2)), T("y", (1, 3))], [O("FULLY_CONNECTED", ["x", "w", None], ["y"])])\
        .subgraphs[0].ops  # fmt: skip
    assert op.inputs == (0, 1, -1)


@pytest.mark.parametrize("old", [False, True])
def test_operators_of_older_and_newer_files(made: Any, old: bool) -> None:
    ops = [O("ADD", version=2), O("CUSTOM", custom="Ethos"), O("BATCH_MATMUL"), O("ADD", version=1)]
    found = made([], ops, old_codes=old).subgraphs[0].ops
    assert [(op.code, op.version, op.custom) for op in found] == [
        ("ADD", 2, ""), ("CUSTOM", 1, "Ethos"), ("BATCH_MATMUL", 1, ""), ("ADD", 1, "")
    ]  # fmt: skip
    assert str(found[1]) == "operator 1 (CUSTOM 'Ethos')"


def test_what_the_schema_has_no_name_for_is_kept_as_a_number(made: Any) -> None:
    (graph,) = made([T("x", (2,), 99, data=b"abc")], [O("VAR_HANDLE"), O(4000)]).subgraphs
    assert [op.code for op in graph.ops] == ["VAR_HANDLE", "operator 4000"]
    assert (graph.tensors[0].type, graph.tensors[0].dtype) == ("type 99", None)
    assert graph.tensors[0].data.tolist() == list(b"abc")


@pytest.mark.parametrize("name", sorted(set(schema.TYPES) - schema.PACKED))
def test_every_type_that_numpy_has(made: Any, name: str) -> None:
    stored = np.array([[1, 0, 1], [0, 1, 1]]).astype(name.lower())
    (tensor,) = made([T("x", data=stored)]).subgraphs[0].tensors
    assert (tensor.type, tensor.dtype) == (name, stored.dtype)
    assert tensor.data.dtype == stored.dtype
    assert np.array_equal(tensor.data, stored)


@pytest.mark.parametrize("name", sorted(schema.PACKED))
def test_types_that_numpy_has_not_are_bytes(made: Any, name: str) -> None:
    (tensor,) = made([T("x", (5,), name, data=b"\1\2\3")]).subgraphs[0].tensors
    assert (tensor.type, tensor.shape, tensor.data.tolist()) == (name, (5,), [1, 2, 3])


def test_a_scalar_a_truth_of_two_and_an_empty_buffer(made: Any) -> None:
    tensors = [
        T("scalar", data=np.array(7, np.int32)),
        T("truth", (), "BOOL", data=b"\2"),
        T("truths", (2,), "BOOL", data=b"\2\0"),
        T("empty", (0,), "INT32", data=b""),
        T("state", (), "RESOURCE", is_variable=True),
    ]
    scalar, truth, truths, empty, state = made(tensors).subgraphs[0].tensors
    assert (scalar.data.shape, int(scalar.data)) == ((), 7)
    assert (truth.data.shape, truth.data.view(np.uint8)) == ((), 1)
    assert truths.data.view(np.uint8).tolist() == [1, 0]
    assert empty.data is None
    assert (state.is_variable, state.type, scalar.is_variable) == (True, "RESOURCE", False)


def test_tensors_may_share_a_buffer(made: Any) -> None:
    tensors = [T("a", data=WEIGHTS), T("b", data=WEIGHTS), T("c", (72,), "UINT8", data=WEIGHTS)]
    a, b, c = made(tensors).subgraphs[0].tensors
    assert np.shares_memory(a.data, b.data)
    assert np.array_equal(c.data, WEIGHTS.reshape(-1).view(np.uint8))


@pytest.mark.parametrize("apart", [2, 13, 64])
def test_constants_may_lie_behind_the_tables(made: Any, apart: int) -> None:
    """As in files beyond 2 GiB; where they are not aligned, the arrays are all the same."""
    (graph,) = made(*CONV, outside=apart).subgraphs
    for tensor, stored in zip(graph.tensors[1:3], (WEIGHTS, BIAS), strict=True):
        assert np.array_equal(tensor.data, stored)
        assert tensor.data.flags.aligned
        assert not tensor.data.flags.writeable


def test_subgraphs_and_signatures_beside_the_first(made: Any) -> None:
    initial = G([T("s", (1, 3)), T("zero", data=np.zeros((1, 3), np.int8))], [O("ASSIGN_VARIABLE", ["s", "zero"])],
                ["s"], ["zero"], name="NoOp")  # fmt: skip
    once = O("CALL_ONCE", options={"init_subgraph_index": 1})
    model = made([T("x", (1,))], [once], ["x"], ["x"], subgraphs=[initial], signatures={"a": 0, "b": 1})
    assert [graph.name for graph in model.subgraphs] == ["main", "NoOp"]
    assert model.subgraphs[0].ops[0].options["init_subgraph_index"] == 1
    assert model.subgraphs[1].ops[0].inputs == (0, 1)
    assert [(item.key, item.subgraph, dict(item.outputs)) for item in model.signatures] == [
        ("a", 0, {"x": 0}), ("b", 1, {"zero": 1})
    ]  # fmt: skip


GOOD = {
    "per tensor": T("t", (2, 3), scale=0.5, zero_point=-128),
    "per channel": T("t", (2, 3), scale=[1, 2, 3], axis=1),
    "per channel of one": T("t", (1, 3), scale=[1], axis=0),
    "one scale, whatever the axis": T("t", (2, 3), scale=[1], axis=9),
    "not quantised": T("t", (2, 3), "FLOAT32"),
    "no scale": T("t", (2, 3), scale=[], zero_point=[]),
    "unsigned": T("t", (2, 3), "UINT8", scale=0.5, zero_point=255),
    "denormal": T("t", (2, 3), scale=1e-44),
}
BAD = {
    "a scale of zero": (T("t", (2, 3), scale=0.0), "scale: expected finite numbers above 0, got 0.0"),
    "a negative scale": (T("t", (2, 3), scale=[1, -2], axis=0), "got -2.0"),
    "NaN": (T("t", (2, 3), scale=np.nan), "got nan"),
    "infinity": (T("t", (2, 3), scale=np.inf), "got inf"),
    "a zero point below": (T("t", (2, 3), scale=1, zero_point=-129), "INT8 (-128 to 127), got -129"),
    "a zero point far above": (T("t", (2, 3), scale=1, zero_point=2**62), "got 4611686018427387904"),
    "a zero point of another type": (T("t", (2, 3), "UINT8", scale=1, zero_point=-1), "UINT8 (0 to 255), got -1"),
    "too few zero points": (T("t", (2, 3), scale=[1, 2], zero_point=[0]), "expected 2 numbers as of scales, got 1"),
    "too few scales": (T("t", (2, 3), scale=[1, 2], axis=1), "expected 1 number, or 3 as dimension 1 of 2x3 has"),
    "no such axis": (T("t", (2, 3), scale=[1, 2], axis=2), "expected a dimension of 2x3, got 2"),
    "a negative axis": (T("t", (2, 3), scale=[1, 2], axis=-2), "expected a dimension of 2x3, got -2"),
    "channels of a scalar": (T("t", (), scale=[1, 2]), "expected a dimension of a scalar, got 0"),
    "no elements": (T("t", (2, 0)), "shape: expected sizes above 0, got 2x0"),
    "sparse": (T("t", (2, 3), is_sparse=True, data=b"1234"), "expected dense data"),
}


def only(model: FileModel) -> FileTensor:
    return model.subgraphs[0].tensors[0]


@pytest.mark.parametrize("name", GOOD)
def test_a_tensor_without_a_problem(made: Any, name: str) -> None:
    assert only(made([GOOD[name]])).problem is None


@pytest.mark.parametrize("name", BAD)
def test_problems_of_a_tensor_are_told_and_refuse_no_file(made: Any, name: str) -> None:
    tensor, says = BAD[name]
    assert says in (only(made([tensor])).problem or "")


def test_a_bias_with_a_wrong_axis_is_read(made: Any) -> None:
    """Files that people ship have it."""
    bias = only(made([T("b", data=BIAS, scale=SCALES, axis=3)]))
    assert bias.problem is not None
    assert replace(bias, axis=0).problem is None


def test_a_path_that_is_no_file(tmp_path: Path) -> None:
    for name, says in (("absent.tflite", "no such file"), (".", "got a folder")):
        with pytest.raises(ModelError, match=says):
            read(tmp_path / name)


def test_files_that_people_ship() -> None:
    """The package's accessors, which trust the file, say the same."""
    folder = os.environ.get("CMSISNN_X_TFLITE")
    if not folder:
        pytest.skip("set CMSISNN_X_TFLITE to a folder with .tflite files to read them all")
    paths = sorted(Path(folder).rglob("*.tflite"))
    assert paths
    for path in paths:
        model, theirs = read(path), tflite.Model.GetRootAs(bytearray(path.read_bytes()), 0)
        assert len(model.subgraphs) == theirs.SubgraphsLength(), path
        for number, graph in enumerate(model.subgraphs):
            same_graph(graph, theirs.Subgraphs(number), theirs)


def same_graph(graph: FileSubgraph, theirs: Any, model: Any) -> None:
    assert (len(graph.tensors), len(graph.ops)) == (theirs.TensorsLength(), theirs.OperatorsLength())
    assert graph.inputs == tuple(theirs.Inputs(at) for at in range(theirs.InputsLength()))
    assert graph.outputs == tuple(theirs.Outputs(at) for at in range(theirs.OutputsLength()))
    for tensor in graph.tensors:
        other = theirs.Tensors(tensor.index)
        assert tensor.name.encode() == other.Name()
        assert tensor.type == names_of(tflite.TensorType)[other.Type()]
        assert tensor.shape == tuple(other.Shape(at) for at in range(other.ShapeLength()))
        quantization = other.Quantization()
        if tensor.scale.size:
            assert np.array_equal(tensor.scale, quantization.ScaleAsNumpy())
            assert np.array_equal(tensor.zero_point, quantization.ZeroPointAsNumpy())
            assert tensor.axis == quantization.QuantizedDimension()
        else:
            assert quantization is None or quantization.ScaleLength() == 0
        buffer = model.Buffers(other.Buffer())
        assert (tensor.data is None) == (buffer.DataLength() == 0)
        assert tensor.data is None or tensor.data.tobytes() == buffer.DataAsNumpy().tobytes()
    for op in graph.ops:
        other = theirs.Operators(op.index)
        code = model.OperatorCodes(other.OpcodeIndex())
        assert schema.OPERATORS.index(op.code) == max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        assert op.version == code.Version()
        assert op.inputs == tuple(other.Inputs(at) for at in range(other.InputsLength()))
        assert op.outputs == tuple(other.Outputs(at) for at in range(other.OutputsLength()))
        if op.code in schema.OPTIONS:
            assert other.BuiltinOptionsType() in (0, schema.OPTIONS[op.code][0])
