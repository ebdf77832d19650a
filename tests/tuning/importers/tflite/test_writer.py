# SPDX-License-Identifier: Apache-2.0
"""What is written as a `.tflite` file is read back as it was: by our reader, by the published package of the schema,
and by LiteRT and TensorFlow Lite Micro, which run it.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tflite

from cmsisnn_x import Network
from helpers.tflite_cases import Case
from helpers.tflite_cases_elements import ELEMENTS
from helpers.tflite_cases_layers import LAYERS
from helpers.tflite_cases_moves import MOVES
from helpers.tflite_cases_networks import NETWORKS
from helpers.tflite_cases_states import stateful
from helpers.tflite_cases_wide import WIDE, given
from helpers.tflite_files import O, T, build, examples
from tuning import ModelError
from tuning.base.options import Arithmetic
from tuning.check.against.packages import PackageError, Piece, runner
from tuning.importers.tflite.build import FileBuilder
from tuning.importers.tflite.converters import CONVERTERS
from tuning.importers.tflite.file import FileModel, read
from tuning.importers.tflite.reader import import_operators
from tuning.importers.tflite.schema import OPTIONS, WITHOUT_OPTIONS
from tuning.importers.tflite.writer import BUFFER_ALIGNMENT, write

REFUSED = {"dead ends": "CUMSUM", "a second subgraph": "CUSTOM 'Unheard'"}
"""Cases with an operator that nobody reads, and whose options are in no table."""
CASES: dict[str, Case] = {**LAYERS, **ELEMENTS, **MOVES, **NETWORKS, **WIDE}
CASES = {name: case for name, case in CASES.items() if name not in REFUSED}


def differences(one: Any, other: Any, where: str = "file") -> list[str]:
    """Fields of two files that are not the same; where they lie and their bytes aside."""
    if is_dataclass(one):
        names = [field.name for field in fields(one) if field.name not in ("path", "content")]
        return [
            text
            for name in names
            for text in differences(*(getattr(of, name) for of in (one, other)), f"{where}.{name}")
        ]
    if isinstance(one, tuple) and one and is_dataclass(one[0]):
        found = [] if len(one) == len(other) else [f"{where}: {len(one)} and {len(other)}"]
        return found + [
            text
            for at, pair in enumerate(zip(one, other, strict=False))
            for text in differences(*pair, f"{where}[{at}]")
        ]
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        same = one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
        return [] if same else [f"{where}: {one} and {other}"]
    return [] if type(one) is type(other) and one == other else [f"{where}: {one} and {other}"]


def again(file: FileModel, path: Path) -> FileModel:
    path.write_bytes(write(file))
    return read(path)


@pytest.mark.parametrize("name", CASES)
def test_a_file_is_read_back_as_it_was(tmp_path: Path, name: str) -> None:
    file = read(CASES[name].write(tmp_path / "given.tflite"))
    found = again(file, tmp_path / "written.tflite")
    assert differences(file, found) == []
    assert found.content == write(found), "the same file once more"


def test_files_with_states_are_too(tmp_path: Path) -> None:
    for seed in range(10):
        file = read(stateful(seed).write(tmp_path / "given.tflite"))
        assert differences(file, again(file, tmp_path / "written.tflite")) == []


def test_names_signatures_and_unset_sizes_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "given.tflite"
    path.write_bytes(examples()["convolution"])
    file = read(path)
    found = again(file, tmp_path / "written.tflite")
    assert differences(file, found) == []
    assert (found.description, found.signatures[0].key) == ("example", "serve")
    assert found.subgraphs[0].tensors[0].signature == (-1, 8, 8, 2)


def test_differences_are_seen(tmp_path: Path) -> None:
    """Of the comparison above."""
    path = tmp_path / "m.tflite"
    path.write_bytes(examples()["convolution"])
    file, other = read(path), read(path)
    (graph,) = other.subgraphs
    for changed in (
        replace(other, description="another"),
        replace(other, subgraphs=(replace(graph, ops=graph.ops[1:]),)),
        replace(other, subgraphs=(replace(graph, tensors=(replace(graph.tensors[0], axis=1), *graph.tensors[1:])),)),
        replace(other, signatures=()),
    ):
        assert differences(file, changed) != []


def test_the_published_package_finds_all_of_it(tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(examples()["convolution"])
    content = write(read(path))
    model = tflite.Model.GetRootAsModel(content, 0)
    assert tflite.Model.ModelBufferHasIdentifier(content, 0)
    assert (model.Version(), model.Description()) == (3, b"example")
    assert (model.BuffersLength(), model.Buffers(0).DataLength()) == (4, 0)
    code = model.OperatorCodes(0)
    assert (code.BuiltinCode(), code.DeprecatedBuiltinCode(), code.Version()) == (
        tflite.BuiltinOperator.CONV_2D,
    ) * 2 + (3,)
    graph = model.Subgraphs(0)
    assert (graph.InputsAsNumpy().tolist(), graph.OutputsAsNumpy().tolist()) == ([0], [5])
    weights = graph.Tensors(1)
    assert (weights.Name(), weights.ShapeAsNumpy().tolist(), weights.Type()) == (
        b"w",
        [4, 3, 3, 2],
        tflite.TensorType.INT8,
    )
    assert weights.Quantization().ScaleAsNumpy().tolist() == np.float32([0.5, 0.25, 0.125, 1e-3]).tolist()
    assert weights.Quantization().ZeroPointAsNumpy().tolist() == [0] * 4
    data = model.Buffers(weights.Buffer()).DataAsNumpy().view(np.int8)
    np.testing.assert_array_equal(data, np.arange(-36, 36))
    options = tflite.Conv2DOptions()
    table = graph.Operators(0).BuiltinOptions()
    options.Init(table.Bytes, table.Pos)
    assert (options.Padding(), options.StrideW(), options.DilationHFactor()) == (tflite.Padding.VALID, 1, 1)


def test_constants_lie_at_multiples_of_16(tmp_path: Path) -> None:
    for case in CASES.values():
        content = write(read(case.write(tmp_path / "m.tflite")))
        model = tflite.Model.GetRootAsModel(content, 0)
        for index in range(model.BuffersLength()):
            if model.Buffers(index).DataLength():
                table = model.Buffers(index)._tab
                assert table.Vector(table.Offset(4)) % BUFFER_ALIGNMENT == 0


def test_operators_without_a_table_have_no_field_in_it() -> None:
    assert WITHOUT_OPTIONS | OPTIONS.keys() >= CONVERTERS.keys()
    assert not WITHOUT_OPTIONS & OPTIONS.keys()
    for code in WITHOUT_OPTIONS:
        name = {"MAXIMUM": "MaximumMinimumOptions", "MINIMUM": "MaximumMinimumOptions", "PADV2": "PadV2Options"}.get(
            code, f"{code.title().replace('_', '')}Options"
        )
        table = getattr(tflite, name, None)
        if table is not None:
            own = {item for item in vars(table) if not item.startswith("_")}
            assert own <= {"Init", f"GetRootAs{name}", "GetRootAs", f"{name}BufferHasIdentifier"}, code


@pytest.mark.parametrize(
    ("package", "module"), [(Arithmetic.LITERT, "ai_edge_litert"), (Arithmetic.TFLM, "tflite_micro")]
)
def test_the_packages_run_it_with_the_same_bytes(tmp_path: Path, package: Arithmetic, module: str) -> None:
    pytest.importorskip(module, reason=f'{module} comes with the extra: pip install ".[against]"')
    run, ran = runner(package), 0
    for name, case in CASES.items():
        path = case.write(tmp_path / "m.tflite")
        samples = [given(case, seed) for seed in (1, 2)]
        pieces = [Piece(content, len(case.outputs), 1 << 16) for content in (path.read_bytes(), write(read(path)))]
        try:
            wanted = run.run(run.kernels[0], pieces[0], samples)
        except PackageError:
            continue  # no kernel for it there, or a border of floats
        for one, other in zip(run.run(run.kernels[0], pieces[1], samples), wanted, strict=True):
            for made, given_ in zip(one, other, strict=True):
                np.testing.assert_array_equal(made, given_, strict=True, err_msg=name)
        ran += 1
    assert ran > len(CASES) // 2


@pytest.mark.parametrize(
    ("names", "kept"),
    [
        (("first", ""), True),
        (("first", "second"), True),
        (("same", "Same"), False),
        (("int", "x"), False),
        (("a\x1b[2J", ""), False),
        (("a\nb", "c"), False),
    ],
)
def test_names_of_layers_are_kept_where_they_are_good(tmp_path: Path, names: tuple[str, str], kept: bool) -> None:
    """Metadata that other programs leave alone; what somebody else wrote there is not believed."""
    path = tmp_path / "m.tflite"
    path.write_bytes(examples()["convolution"])
    file = read(path)
    (graph,) = file.subgraphs
    ops = tuple(replace(op, name=name) for op, name in zip(graph.ops, names, strict=True))
    named = replace(file, subgraphs=(replace(graph, ops=ops),))
    found = again(named, path)
    assert differences(named if kept else file, found) == []
    metadata = tflite.Model.GetRootAsModel(found.content, 0).Metadata(0)
    assert metadata.Name() == b"cmsisnn_x.layers"
    if kept:
        assert import_operators(found).graph.nodes[0].name == "first"


def test_what_is_not_held_is_refused(tmp_path: Path) -> None:
    def refusal(content: bytes) -> str:
        path = tmp_path / "m.tflite"
        path.write_bytes(content)
        with pytest.raises(ModelError) as raised:
            write(read(path))
        return str(raised.value).removeprefix(f"{path}: ")

    pair = [T("x", (1, 4)), T("y", (1, 4))]
    expected = "expected an operator whose options the schema's tables hold, got another"
    assert (
        refusal(build(pair, [O("CUSTOM", ["x"], ["y"], custom="Ethos")])) == f"operator 0 (CUSTOM 'Ethos'): {expected}"
    )
    assert refusal(build(pair, [O("TOPK_V2", ["x"], ["y"])])) == f"operator 0 (TOPK_V2): {expected}"
    for name, code in REFUSED.items():
        assert refusal(NETWORKS[name].content()) == f"operator 0 ({code}): {expected}"
    sparse = [T("x", (1, 4), is_sparse=True, data=b"\0")]
    assert refusal(build(sparse)) == "tensor 0 'x': expected dense data, got sparse ones"


def test_a_built_network_is_what_is_read_of_it(tmp_path: Path) -> None:
    build_ = FileBuilder()
    x = build_.tensor("x", (1, 4, 4, 2), "INT8", 0.1, 3)
    w = build_.tensor("w", scale=[0.1, 0.2, 0.3], data=np.arange(24, dtype=np.int8).reshape(3, 2, 2, 2))
    b = build_.tensor("b", scale=[0.01, 0.02, 0.03], data=np.arange(3, dtype=np.int32))
    y = build_.tensor("y", (1, 3, 3, 3), "INT8", 0.7, -128)
    z = build_.tensor("z", (1, 3, 3, 3), "INT8", 0.7, -128)
    build_.op("CONV_2D", [x, w, b], [y], padding="VALID", stride_h=1, stride_w=1, fused_activation_function="RELU")
    build_.op("LEAKY_RELU", [y], [z], alpha=0.3)
    file = build_.file(tmp_path / "m.tflite", [x], [z], "made here")
    found = again(file, tmp_path / "m.tflite")
    assert differences(file, found) == []
    assert [op.version for op in found.subgraphs[0].ops] == [3, 1]
    x = np.random.default_rng(1).integers(-128, 128, (1, 4, 4, 2), np.int8)
    outputs = [Network(import_operators(of).graph).run(x) for of in (file, found)]
    np.testing.assert_array_equal(*outputs, strict=True)
