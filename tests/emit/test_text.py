# SPDX-License-Identifier: Apache-2.0
"""Helpers, names, determinism and the committed text of a tiny network."""

from __future__ import annotations

import doctest
import json
import os
import re
import subprocess
import sys
from dataclasses import fields, replace
from itertools import pairwise
from math import prod
from pathlib import Path

import jsonschema
import numpy as np
import pytest

import tuning
from cmsisnn_x import Variant
from helpers.golden_text import GOLDEN, golden_files
from helpers.networks import NETWORKS
from helpers.plans import chain, make_plan, with_layer
from tuning.emit import EmitError, arguments, cgen, layer_macros, macros, names, render, weights
from tuning.emit.text import library_header
from tuning.model.schema_fields import KNOBS as YAML_KNOBS
from tuning.schemas import published
from tuning.search.space import DIMENSIONS


@pytest.mark.parametrize("module", [arguments, cgen, macros, names], ids=lambda m: m.__name__)
def test_docstring_examples(module) -> None:
    result = doctest.testmod(module)
    assert result.attempted
    assert not result.failed


def test_a_parameter_has_one_name_everywhere() -> None:
    names = [f.name for f in fields(Variant)]
    emitted = layer_macros(NETWORKS["only_conv"][0], Variant(), "NET_CONV")
    scheme = NETWORKS["only_conv"][0].requant.macros()
    others = {*macros.GEOMETRY, *scheme, *macros.TYPES, "SCRATCH_BYTES"}
    emitted_knobs = {name.removeprefix("NET_CONV_") for name in emitted} - others
    assert set(YAML_KNOBS) == set(names)
    assert set(DIMENSIONS) == set(names)
    assert emitted_knobs == {name.upper() for name in names}


def test_every_enumerated_knob_value_has_its_integer_in_the_headers() -> None:
    defined = re.findall(r"^#define (CXN_[A-Z0-9_]+) \d", library_header("config.h"), re.MULTILINE)
    texts = [(name, value) for name, values in YAML_KNOBS.items() for value in values if isinstance(value, str)]
    assert {macros.knob_value(name, value) for name, value in texts} <= set(defined)


def test_geometry_of_each_operation() -> None:
    conv = NETWORKS["odd_sizes"][0]
    got = layer_macros(conv, Variant(unroll=8), "N_C", scratch_bytes=96, input_aligned=False)
    expected = {
        "IN_H": 11, "IN_W": 7, "IN_CH": 5, "OUT_H": 6, "OUT_W": 4, "OUT_CH": 13, "KERNEL_H": 3, "KERNEL_W": 5,
        "STRIDE_Y": 2, "STRIDE_X": 2, "PAD_TOP": 1, "PAD_LEFT": 2, "BIAS_SHIFT": 2, "OUT_SHIFT": 10,
        "OUT_MIN": 0, "OUT_MAX": 127, "IN_BITS": 8, "WEIGHT_BITS": 8, "INT_BITS": 0, "INPUT_ALIGNED": 0,
        "OUTPUT_ALIGNED": 1, "UNROLL": 8, "LOWERING": "CXN_LOWERING_IM2COL", "SCRATCH_BYTES": 96,
    }  # fmt: skip
    assert {f"N_C_{k}": v for k, v in expected.items()}.items() <= got.items()
    dense = layer_macros(NETWORKS["mixed"][0], Variant(), "N_D", scratch_bytes=0)
    assert [dense[f"N_D_{k}"] for k in ("IN_H", "IN_W", "IN_CH", "OUT_CH")] == [1, 1, 31, 13]
    assert [dense[f"N_D_{k}"] for k in ("IN_BITS", "WEIGHT_BITS")] == [16, 8]
    flattened = layer_macros(NETWORKS["separable"][5], Variant(), "N_F", scratch_bytes=0)
    assert [flattened[f"N_F_{k}"] for k in ("IN_H", "IN_W", "IN_CH", "KERNEL_H")] == [1, 1, 20, 1]


def test_tables_are_those_of_the_formula() -> None:
    sigmoid = weights.activation_table("sigmoid", "q15")
    assert sigmoid.dtype == np.int16
    # f(0) = 1/2; f(-8) = 1 / (1 + e^8) = 0.000335...; f(1/16) = 0.51561...
    assert sigmoid[[0, 1, 128]].tolist() == [16384, 16896, 11]
    tanh = weights.activation_table("tanh", "q7")
    # tanh(1) = 0.76159...
    assert tanh[[16, 240, 127, 128]].tolist() == [97, -97, 127, -128]


def test_a_missing_bias_is_zero() -> None:
    layer = replace(NETWORKS["mixed"][0], bias=None)
    text = render(make_plan("net", (layer,)))["net_weights.h"]
    zeros = ", ".join("0" * 13)
    assert f"static const int8_t net_fully_connected0_bias[13] CXN_ALIGNED = {{\n    {zeros}\n}};" in text


# ---------------------------------------------------------------- committed text


COMMITTED = sorted(path.relative_to(GOLDEN).as_posix() for path in GOLDEN.rglob("*") if path.is_file())


@pytest.mark.parametrize("path", COMMITTED)
def test_emitted_text_is_the_committed_text(path: str) -> None:
    assert golden_files()[path] == (GOLDEN / path).read_text(encoding="utf-8"), (
        f"{path} changed; if that is meant, run python tests/helpers/golden_text.py and read the difference"
    )


def test_every_file_is_committed_and_none_else() -> None:
    assert set(COMMITTED) == set(golden_files())


def test_text_does_not_depend_on_the_process() -> None:
    code = (
        "import hashlib, sys; sys.path.insert(0, sys.argv[1])\n"
        "from helpers.networks import NETWORKS; from helpers.plans import make_plan; from tuning.emit import render\n"
        "print(hashlib.sha256(repr(render(make_plan('q15', NETWORKS['q15']))).encode()).hexdigest())"
    )
    tests = Path(__file__).parents[1]
    digests = {
        subprocess.run(
            [sys.executable, "-c", code, tests], env={**os.environ, "PYTHONHASHSEED": seed, "TZ": zone}, cwd=cwd,
            capture_output=True, text=True, check=True,
        ).stdout
        for seed, zone, cwd in (("1", "UTC", tests), ("2", "Asia/Tokyo", tests.parent))
    }  # fmt: skip
    assert len(digests) == 1


def test_files_of_the_folder() -> None:
    files = render(make_plan("odd_sizes", NETWORKS["odd_sizes"]))
    assert list(files)[-1] == "plan.json"
    expected = {
        "odd_sizes_config.h", "odd_sizes_weights.h", "odd_sizes.h", "odd_sizes.c", "CMakeLists.txt", "README.md",
        "report.html", "plan.json", "example/main.c", "example/memory.ld", "example/profile.h", "example/vectors.h",
        "library.json", "library.properties", "zephyr/module.yml",
    }  # fmt: skip
    kernels = {path for path in files if path.startswith("cmsisnn_x/")}
    assert set(files) - kernels == expected
    assert {"cmsisnn_x/convolve.h", "cmsisnn_x/avg_pool.h", "cmsisnn_x/fully_connected.h"} <= kernels
    assert not kernels & {"cmsisnn_x/softmax.h", "cmsisnn_x/tanh.h", "cmsisnn_x/depthwise_convolve.h"}
    for path in kernels:
        assert files[path].startswith("/* SPDX-License-Identifier: Apache-2.0 */\n"), path
    assert json.loads(files["plan.json"])["model"] == "odd_sizes"


def test_no_heap_no_stdio_and_only_constant_data() -> None:
    files = render(make_plan("tables", NETWORKS["tables"]))
    ours = [path for path in files if path.endswith((".c", ".h")) and not path.startswith("example/")]
    source = "\n".join(files[path] for path in ours)
    assert not re.search(r"\b(malloc|calloc|realloc|free|printf|puts)\s*\(", source)
    assert "stdio.h" not in source
    declared = re.findall(r"^static (.*)\[\w+\] CXN_ALIGNED", source, re.MULTILINE)
    assert [line for line in declared if not line.startswith("const ")] == ["unsigned char tables_arena"]


# ---------------------------------------------------------------- names that want to break out


@pytest.mark.parametrize(
    "name",
    ["", "1st", "a b", "a-b", "é", "int", "template", "x" * 64, "a;}", "../up", "a\n#if", 'a"', "a*/", "a\n", None, 7],
)
def test_a_name_that_is_no_identifier_is_refused(name: object) -> None:
    plan = make_plan("net", NETWORKS["only_relu"])
    with pytest.raises(EmitError, match="model name: expected"):
        render(replace(plan, model=name))
    with pytest.raises(EmitError, match="layer name: expected"):
        render(with_layer(plan, 0, layer=replace(plan.layers[0].layer, name=name)))


@pytest.mark.parametrize("name", ["stdint", "String", "math", "arm_acle"])
def test_a_model_that_would_hide_a_system_header_is_refused(name: str) -> None:
    with pytest.raises(EmitError, match="would hide the system header"):
        render(make_plan(name, NETWORKS["only_relu"]))


@pytest.mark.parametrize("name", ["cxn", "CXN_net"])
def test_a_model_that_would_take_the_names_of_the_kernels_is_refused(name: str) -> None:
    with pytest.raises(EmitError, match="keep names with cxn"):
        render(make_plan(name, NETWORKS["only_relu"]))


@pytest.mark.parametrize("name", ["arena_bytes", "a_in_h", "layer_count", "config_id"])
def test_a_layer_whose_prefix_is_a_macro_is_refused(name: str) -> None:
    layers = chain((4,), "q7", {"op": "relu", "name": "a"}, {"op": "relu", "name": name})
    with pytest.raises(EmitError, match=f"would make NET_{name.upper()}, a macro already"):
        render(make_plan("net", layers))


@pytest.mark.parametrize("name", ["run", "RUN", "config", "weights"])
def test_a_layer_that_would_take_an_emitted_name_is_refused(name: str) -> None:
    with pytest.raises(EmitError, match="taken by the emitted files"):
        render(make_plan("net", chain((4,), "q7", {"op": "relu", "name": name})))


def test_layers_that_differ_in_case_only_are_refused() -> None:
    with pytest.raises(EmitError, match="two layers are called 'Act'"):
        render(make_plan("net", chain((4,), "q7", {"op": "relu", "name": "Act"}, {"op": "relu", "name": "ACT"})))


HOSTILE = "*/ int evil; /*\n#error evil\n`evil`<script>alert(1)</script>??/\\"


def test_text_from_outside_stays_inside_comments_and_markup() -> None:
    plan = make_plan("net", NETWORKS["only_conv"])
    target = replace(plan.target, name=HOSTILE)
    files = render(replace(plan, target=target, digests={HOSTILE: HOSTILE}, versions={HOSTILE: HOSTILE}))
    for path, text in files.items():
        if path.endswith((".c", ".h", ".ld")):
            code = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
            assert "evil" not in code, path
            assert "??/" not in text, path
    assert "<script" not in files["report.html"]
    assert "&lt;script&gt;" in files["report.html"]
    assert not re.search("^#error|`evil|<script", files["README.md"], re.MULTILINE)
    assert not re.search(r"^[^#]*evil", files["CMakeLists.txt"], re.MULTILINE)
    assert list(json.loads(files["library.json"])) == ["name", "version", "description", "build"]
    assert all(re.match(r"[a-z]+=", line) for line in files["library.properties"].splitlines())


@pytest.mark.parametrize("flag", ['-O3" ; rm -rf /', "-O3 -g", "$(id)", "-Dx=`id`", "", "O3", "-O3\n"])
def test_flags_that_are_no_flags_are_refused(flag: str) -> None:
    with pytest.raises(EmitError, match="cflags: expected"):
        render(make_plan("net", NETWORKS["only_relu"], cflags=(flag,)))


# ---------------------------------------------------------------- plans that cannot work


def test_buffers_that_do_not_fit_are_refused() -> None:
    plan = make_plan("net", NETWORKS["odd_sizes"])
    first = plan.layers[0]
    conflicts = {
        "expected None, for the caller's buffer": with_layer(plan, 0, input_offset=0),
        "expected a place in the arena": with_layer(plan, 0, output_offset=None),
        "expected 312 bytes at a multiple of 4": with_layer(plan, 0, output_offset=2),
        "inside an arena": with_layer(plan, 0, output_offset=plan.arena_bytes),
        "expected output and scratch apart": with_layer(plan, 0, scratch_offset=first.output_offset),
        "where conv2d0 writes": with_layer(plan, 1, input_offset=plan.arena_bytes - 312),
        "scratch_offset: expected a place": with_layer(plan, 0, scratch_offset=None),
        "312 elements, the output of conv2d0, got 6": with_layer(
            plan, 1, layer=replace(plan.layers[1].layer, input_shape=(1, 2, 3))
        ),
        "expected at least one layer": replace(plan, layers=()),
    }
    for message, broken in conflicts.items():
        with pytest.raises(EmitError, match=re.escape(message)):
            render(broken)


def test_only_element_wise_layers_may_work_in_place() -> None:
    plan = make_plan("net", chain((4, 4, 4), "q7", {"op": "relu"}, {"op": "max_pool2d", "kernel": 1}, {"op": "relu"}))
    offset = plan.layers[1].input_offset
    with pytest.raises(EmitError, match="expected input and output apart"):
        render(with_layer(with_layer(plan, 1, output_offset=offset), 2, input_offset=offset))


def test_planned_buffers_of_the_odd_networks_are_accepted() -> None:
    for name, layers in NETWORKS.items():
        plan = make_plan(name, layers)
        assert f"void {name}_run(" in render(plan)[f"{name}.c"]
        assert all(a.output_offset == b.input_offset for a, b in pairwise(plan.layers))


@pytest.mark.parametrize("dtype", ["q7", "q15"])
def test_the_folder_knows_what_inputs_and_outputs_stand_for(dtype: str, tmp_path: Path) -> None:
    bits = {"q7": 8, "q15": 16}[dtype]
    layers = [{"op": "fully_connected", "weights": 100 * np.eye(3), "bias": np.zeros(3)}]
    result = tuning.quantize(layers, np.linspace(-0.6, 0.6, 300).reshape(100, 3), dtype, name="net")
    fractions = result.reference.input_fraction, result.reference.fractions["fc1"]
    model = tuning.load_model(result.save(tmp_path / "net.yaml"))
    assert [port.scale for port in (*model.inputs, *model.outputs)] == [2.0**-f for f in fractions]
    plan = tuning.tune(model, tuning.load_target("cortex-m4"))
    assert plan.to_dict()["fractions"] == {"inputs": [fractions[0]], "outputs": [fractions[1]]}
    jsonschema.validate(plan.to_dict(), published("plan-2"))
    files = render(plan)
    for side, fraction in zip(("INPUT", "OUTPUT"), fractions, strict=True):
        means = f"value = element / 2^{fraction} (Q{bits - 1 - fraction}.{fraction})"
        (line,) = (line for line in files["net_config.h"].splitlines() if f"NET_{side}_FRACTION" in line)
        assert line.split(None, 3)[2:] == [str(fraction), f"/* {means} */"]
        assert f" *          {means}\n" in files["net.h"]
        assert f"of `{side.lower()}` {means}" in files["README.md"]
    plain = tuning.tune(replace(model, fractions=None), tuning.load_target("cortex-m4"))
    assert "fractions" not in plain.to_dict()
    assert not any("FRACTION" in text or "value =" in text for text in render(plain).values())


def test_numbers_coarser_than_one_have_negative_fractions() -> None:
    layers = [{"op": "fully_connected", "weights": np.eye(3), "bias": np.zeros(3)}]
    result = tuning.quantize(layers, np.linspace(-600, 600, 300).reshape(100, 3), name="net", method="max")
    plan = tuning.tune(result.model, tuning.load_target("cortex-m4"))
    assert result.reference.input_fraction == -3
    assert any(" *          value = element * 2^3 (Q10.-3)\n" in text for text in render(plan).values())


@pytest.mark.emulated
def test_the_example_names_the_class(tmp_path: Path) -> None:
    """By names of anybody, quotes, escapes and trigraphs included; without names the example says nothing of them."""
    plan = make_plan("net", NETWORKS["only_softmax"])
    count = prod(plan.outputs[0].shape)
    names = ('cat "a"', "\\n*/ //", "??/", "blé 100 %", *(f"c{at}" for at in range(count)))[:count]
    files = render(replace(plan, classes=names))
    main = files["example/main.c"]
    for name in names:
        assert f"        {cgen.string_text(name)},\n" in main
    assert "class: " not in render(plan)["example/main.c"]
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "ziglang", "cc", "-target", "thumb-freestanding-eabi", "-mcpu=cortex_m4"]
    flags = ["-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-c", "example/main.c", "-o", "main.o"]
    done = subprocess.run([*command, *flags], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    jsonschema.validate(replace(plan, classes=names).to_dict(), published("plan-2"))
