# SPDX-License-Identifier: Apache-2.0
"""``cmsisnn-verify DIR``: a folder proves itself, wherever it lies, and every kind of damage is noticed."""

import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import tuning
from cmsisnn_x import Network
from cmsisnn_x.variant import Variant
from helpers.commands import run_forked
from helpers.networks import NETWORKS
from helpers.plans import age_folder, chain, make_plan
from helpers.samples import one_in
from helpers.tflite_files import O, T, build
from tuning.emulate import find_toolchain
from tuning.measure import folder

pytestmark = pytest.mark.emulated
CORES = ("cortex-m0plus", "cortex-m3", "cortex-m4", "cortex-m7", "cortex-m33")
COMPILERS = ["clang", *(["gcc"] if shutil.which("arm-none-eabi-gcc") else [])]
SMALL = "odd_sizes"


def run(*args: object) -> subprocess.CompletedProcess[str]:
    return run_forked("cmsisnn-verify", *args)


@pytest.fixture
def emitted(tmp_path):
    tuning.emit(make_plan(SMALL, NETWORKS[SMALL]), tmp_path / "firmware")
    return tmp_path / "firmware"


@pytest.mark.parametrize("compiler", one_in(2, COMPILERS))
@pytest.mark.parametrize("core", CORES)
def test_folders_are_exact(core, compiler, full, tmp_path):
    names = list(NETWORKS)
    for name in names if full else names[2 * CORES.index(core) + COMPILERS.index(compiler) :: 10]:
        tuning.emit(make_plan(name, NETWORKS[name], core=core), tmp_path / name)
        firmware = folder.load(tmp_path / name)
        result = folder.verify(firmware, find_toolchain(compiler), folder.draw_inputs(firmware, 2))
        assert result.exact, f"{name}: {result.mismatches[0]}"
        assert [layer.name for layer in result.layers] == [layer.name for layer in NETWORKS[name]]
        assert 0 < sum(layer.cycles for layer in result.layers) <= result.trace.cycles * 1.05


def test_weights_are_the_models_own_whatever_the_layout(tmp_path):
    for layout in ("plain", "interleaved", "widened"):
        tuning.emit(make_plan(SMALL, NETWORKS[SMALL], variant=LAYOUTS[layout]), tmp_path / layout)
        for layer, own in zip(folder.load(tmp_path / layout).layers, NETWORKS[SMALL], strict=True):
            assert (layer.weights is None) == (own.weights is None)
            if own.weights is not None:
                assert layer.weights.dtype == own.weights.dtype
                assert np.array_equal(layer.weights, own.weights)
                assert np.array_equal(layer.bias, own.bias)


CONV = {"op": "conv2d", "name": "conv", "out": 6, "kernel": 3, "pad": 1, "out_shift": 9}
LAYOUTS = {
    "plain": Variant(unroll=1, block_rows=1, block_cols=1, im2col_cols=1),
    "interleaved": Variant(weight_layout="interleaved"),
    "widened": Variant(weight_layout="widened"),
    "winograd": Variant(lowering="winograd", weight_layout="widened", tile=4, block_cols=4, im2col_cols=4),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_wrong_number_among_the_packed_weights_is_a_layer_that_differs(tmp_path, layout):
    """The packed order is read by the kernel alone: nothing that a packer does wrong cancels out."""
    plan = make_plan("net", chain((8, 8, 4), "q7", CONV, {"op": "relu"}), variant=LAYOUTS[layout])
    tuning.emit(plan, tmp_path)
    firmware = folder.load(tmp_path)
    inputs = folder.draw_inputs(firmware, 1)
    assert folder.verify(firmware, find_toolchain(), inputs).exact
    header = tmp_path / "net_weights.h"
    first = int(re.search(r"net_conv_weights\[\d+\][^{]*{\s*(-?\d+)", header.read_text()).group(1))
    damage(header, r"(net_conv_weights\[\d+\][^{]*{\s*)-?\d+", rf"\g<1>{first - 64 if first > 0 else first + 64}")
    result = folder.verify(folder.load(tmp_path), find_toolchain(), inputs)
    assert [layer.exact for layer in result.layers] == [False, True]
    assert result.mismatches[0].what == "layer conv"


def test_the_archive_is_the_same_whenever_it_is_written(emitted, tmp_path):
    """And it is what model files name: NumPy reads it without pickle."""
    tuning.emit(make_plan(SMALL, NETWORKS[SMALL], core="cortex-m7"), tmp_path / "again")
    archives = [path / f"{SMALL}_weights.npz" for path in (emitted, tmp_path / "again")]
    assert archives[0].read_bytes() == archives[1].read_bytes()
    with np.load(archives[0], allow_pickle=False) as arrays:
        own = {f"{layer.name}/{kind}": getattr(layer, kind)
               for layer in NETWORKS[SMALL] for kind in ("weights", "bias") if layer.weights is not None}  # fmt: skip
        assert set(arrays) == set(own)
        assert all(np.array_equal(arrays[name], array) for name, array in own.items())


def test_a_copied_folder_needs_nothing_else(emitted, tmp_path):
    moved = tmp_path / "elsewhere" / "fw"
    shutil.copytree(emitted, moved)
    shutil.rmtree(emitted)
    done = run(moved, "--json")
    assert done.returncode == 0, done.stderr
    got = json.loads(done.stdout)
    assert got["exact"] is True
    assert got["mismatch"] is None
    assert got["model"] == SMALL
    assert got["cycles"] > got["instructions"] > 0
    assert [layer["name"] for layer in got["layers"]] == [layer.name for layer in NETWORKS[SMALL]]


def test_the_table_names_layers_instructions_and_cycles(emitted):
    done = run(emitted, "--samples", 1)
    assert done.returncode == 0, done.stderr
    for layer in NETWORKS[SMALL]:
        line = next(line for line in done.stdout.splitlines() if line.split()[:1] == [layer.name])
        assert re.search(rf"{layer.op}\s+[\d,]+\s+[\d,]+\s", line)
        assert line.split()[-1] == "equal"
    assert "give the Python kernels' bytes on 1 input." in done.stdout


def test_a_board_has_milliseconds(emitted):
    got = json.loads(run(emitted, "--target", "nucleo-l4r5zi", "--json").stdout)
    assert (got["target"], got["core"]) == ("nucleo-l4r5zi", "cortex-m4")
    assert got["ms"] == pytest.approx(got["cycles"] / got["clock_hz"] * 1e3)
    core = json.loads(run(emitted, "--json").stdout)
    assert (core["target"], core["clock_hz"], core["ms"]) == ("cortex-m4", None, None)
    assert core["cycles"] == got["core_cycles"] < got["cycles"]
    assert sum(got["added"].values()) == got["cycles"] - got["core_cycles"]
    assert all(layer["cycles"] > sum(layer["added"].values()) > 0 for layer in got["layers"])


def damage(path: Path, pattern: str, replacement: str) -> None:
    text = path.read_text()
    damaged, count = re.subn(pattern, replacement, text, count=1)
    assert count == 1, f"{pattern} is not in {path.name}"
    path.write_text(damaged)


def test_a_wrong_layer_is_named_with_its_first_element(emitted):
    """The first layer rounds by another shift: it differs, the ones after it do not."""
    first = NETWORKS[SMALL][0]
    prefix = f"{SMALL}_{first.name}_OUT_SHIFT".upper()
    damage(emitted / f"{SMALL}_config.h", rf"(#define {prefix}\s+)\d+", rf"\g<1>{first.out_shift - 1}")
    done = run(emitted)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert re.search(
        rf"DIFFERENT: layer {first.name}, sample 0: first difference at \(\d+, \d+, \d+\): got -?\d+, expected -?\d+",
        done.stdout,
    )
    lines = {
        line.split()[0]: line.split()[-1]
        for line in done.stdout.splitlines()
        if line.split()[-1:] in (["equal"], ["differ"]) and not line.startswith("DIFFERENT")
    }
    assert lines == {**{layer.name: "equal" for layer in NETWORKS[SMALL]}, first.name: "differ", "network": "differ"}
    got = json.loads(run(emitted, "--json").stdout)
    assert got["exact"] is False
    assert got["mismatch"]["what"] == f"layer {first.name}"
    assert got["mismatch"]["got"] != got["mismatch"]["expected"]


def test_a_kernel_that_writes_outside_is_an_error(emitted):
    """The last layer writes one element more than it has."""
    source = emitted / f"{SMALL}.c"
    name = f"{SMALL}_{NETWORKS[SMALL][-1].name}"
    damage(source, rf"(void {name}\(const int8_t \*input, int8_t \*output\)\n{{\n)", r"\1    output[3] = 1;\n")
    done = run(emitted)
    assert done.returncode == 2
    assert re.search(
        rf"{SMALL}_run: write of 1 byte at 0x\w+, 1 bytes past the end of buffer at 0x\w+, at 0x\w+ \({name}",
        done.stderr,
    )


def test_weights_of_another_model_are_noticed(emitted, tmp_path):
    """The archive's digests stand in the plan; the header's sizes in the configuration."""
    first = NETWORKS[SMALL][0]
    other = (replace(first, weights=np.roll(first.weights, 1)), *NETWORKS[SMALL][1:])
    tuning.emit(make_plan(SMALL, other), tmp_path / "other")
    archive = f"{SMALL}_weights.npz"
    shutil.copy(tmp_path / "other" / archive, emitted / archive)
    done = run(emitted)
    assert done.returncode == 2
    assert f"{archive}: layer {first.name}: expected the weights that plan.json was written for, got" in done.stderr
    header = tmp_path / "other" / f"{SMALL}_weights.h"
    damage(header, rf"({SMALL}_{first.name}_weights\[)\d+", r"\g<1>3")
    done = run(tmp_path / "other")
    assert done.returncode == 2
    assert f"compiling {SMALL}.c for cortex-m4 failed" in done.stderr


def test_a_folder_of_the_version_before_needs_its_model(tmp_path):
    (tmp_path / "one.yaml").write_text(ONE_LAYER.format("one"))
    tuning.emit(tuning.tune(tuning.load_model(tmp_path / "one.yaml"), tuning.load_target("cortex-m4")), tmp_path / "fw")
    age_folder(tmp_path / "fw")
    done = run(tmp_path / "fw")
    assert done.returncode == 2
    assert "fw/plan.json: an older version wrote this folder, without the weights to compare with" in done.stderr
    assert "run cmsisnn-tune again, or name the model with --model" in done.stderr
    assert run(tmp_path / "fw", "--model", tmp_path / "one.yaml").returncode == 0


def test_a_folder_of_the_version_before_without_weights_needs_nothing(tmp_path):
    tuning.emit(make_plan("net", NETWORKS["only_relu"]), tmp_path)
    assert not (tmp_path / "net_weights.npz").exists()
    (tmp_path / "plan.json").write_text(
        (tmp_path / "plan.json").read_text().replace('"evaluations": 0', '"evaluations": 1')
    )
    age_folder(tmp_path)
    assert run(tmp_path).returncode == 0


ONE_LAYER = (
    "schema: 1\nname: {}\ninput: {{shape: [5, 5, 2], dtype: q7}}\n"
    "layers:\n  - {{name: c, op: conv2d, out_channels: 3, kernel: 3, out_shift: 7}}\n"
)


def test_models_are_compared_with_the_folder(tmp_path):
    """--model takes the weights from the model file; one that was not emitted here differs."""
    for name in ("one", "two"):
        (tmp_path / f"{name}.yaml").write_text(ONE_LAYER.format(name))
    model = tuning.load_model(tmp_path / "one.yaml")
    tuning.emit(tuning.tune(model, tuning.load_target("cortex-m4")), tmp_path / "fw")
    assert run(tmp_path / "fw", "--model", tmp_path / "one.yaml").returncode == 0
    other = run(tmp_path / "fw", "--model", tmp_path / "two.yaml")
    assert other.returncode == 1
    assert "DIFFERENT: layer c" in other.stdout
    (tmp_path / "three.yaml").write_text(ONE_LAYER.format("three").replace("kernel: 3", "kernel: 2"))
    third = run(tmp_path / "fw", "--model", tmp_path / "three.yaml")
    assert third.returncode == 2
    assert "layer c: output_shape: expected the folder's (3, 3, 3), got (4, 4, 3)" in third.stderr


def test_given_inputs_are_used(emitted, tmp_path):
    shape = NETWORKS[SMALL][0].input_shape
    batch = np.random.default_rng(3).integers(-128, 128, (5, *shape), np.int8)
    np.save(tmp_path / "batch.npy", batch)
    np.save(tmp_path / "one.npy", batch[0])
    np.save(tmp_path / "wide.npy", batch.astype(np.int16))
    assert json.loads(run(emitted, "--input", tmp_path / "batch.npy", "--json").stdout)["samples"] == 5
    assert json.loads(run(emitted, "--input", tmp_path / "one.npy", "--json").stdout)["samples"] == 1
    wrong = run(emitted, "--input", tmp_path / "wide.npy")
    assert wrong.returncode == 2
    assert "expected int8 of shape (11, 7, 5) or (n, 11, 7, 5), got int16" in wrong.stderr


def test_inputs_of_files_may_lack_their_leading_one(tmp_path):
    tuning.emit(tuning.tune(tuning.load_model("digits_resnet"), tuning.load_target("cortex-m4")), tmp_path / "fw")
    images = np.random.default_rng(3).integers(-128, 128, (3, 8, 8, 1), np.int8)
    for content, samples in ((images, 3), (images[:, None], 3), (images[0], 1)):
        np.save(tmp_path / "x.npy", content)
        assert json.loads(run(tmp_path / "fw", "--input", tmp_path / "x.npy", "--json").stdout)["samples"] == samples


@pytest.mark.parametrize("name", ["softmax", "scalar constant", "scalar input"])
def test_folders_of_odd_files_are_read_back(name: str, tmp_path):
    scalar, pair = {"scale": 0.5, "zero_point": 3}, ["x", "b"]
    y = T("y", (1, 8), scale=0.25, zero_point=-4)
    row = T("x", (1, 8), scale=16.0, zero_point=5)
    path = tmp_path / "odd.tflite"
    path.write_bytes(
        {
            "softmax": build([row, T("y", (1, 8), scale=2.0**-8, zero_point=-128)],
                             [O("SOFTMAX", ["x"], ["y"], {"beta": 1.0})], ["x"], ["y"]),
            "scalar constant": build([row, T("b", data=np.array(9, np.int8), **scalar), replace(y, scale=20.0)],
                                     [O("ADD", pair, ["y"])], ["x"], ["y"]),
            "scalar input": build([row, T("b", (), **scalar), replace(y, scale=9.0)],
                                  [O("MUL", pair, ["y"])], pair, ["y"]),
        }[name]
    )  # fmt: skip
    tuning.emit(tuning.tune(tuning.load_model(path), tuning.load_target("cortex-m0plus")), tmp_path / "fw")
    done = run(tmp_path / "fw")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Every layer and the network give the Python kernels' bytes" in done.stdout


def test_emulated_digits_give_the_python_answers(tmp_path):
    """Real images: every answer of the firmware is the host network's."""
    from sklearn.datasets import load_digits

    model = tuning.load_model("digits")
    images = load_digits().images[-50:]
    inputs = np.clip(images * 8, -128, 127).astype(np.int8).reshape(-1, *model.input_shape)
    plan = tuning.tune(model, tuning.load_target("cortex-m4"))
    tuning.emit(plan, tmp_path)
    result = folder.verify(folder.load(tmp_path), find_toolchain(), inputs)
    assert result.exact, result.mismatches[0]
    assert result.samples == 50
    assert len(set(np.argmax(Network(model.layers).run(inputs).reshape(50, -1), axis=1))) > 5


BROKEN = {
    "no plan": (lambda fw: (fw / "plan.json").unlink(), "no plan.json: expected a folder that cmsisnn-tune wrote"),
    "no JSON": (lambda fw: (fw / "plan.json").write_text("{"), "plan.json: cannot be read"),
    "schema": (lambda fw: (fw / "plan.json").write_text('{"schema": "plan-9"}'), "'plan-2' or 'plan-1', got 'plan-9'"),
    "incomplete": (lambda fw: (fw / "plan.json").write_text('{"schema": "plan-1"}'), "not a plan that this version"),
    "incomplete now": (lambda fw: (fw / "plan.json").write_text('{"schema": "plan-2"}'), "not a plan that this"),
    "no source": (lambda fw: (fw / f"{SMALL}.c").unlink(), f"{SMALL}.c: no such file"),
    "no weights": (lambda fw: (fw / f"{SMALL}_weights.npz").unlink(), f"{SMALL}_weights.npz: no such file"),
    "no header": (lambda fw: (fw / f"{SMALL}_weights.h").unlink(), f"{SMALL}_weights.h"),
    "syntax": (lambda fw: damage(fw / f"{SMALL}.c", "void", "viod"), f"compiling {SMALL}.c for cortex-m4 failed"),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_broken_folders_are_one_sentence(case, emitted):
    breakage, message = BROKEN[case]
    breakage(emitted)
    done = run(emitted)
    assert done.returncode == 2, done.stdout
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
