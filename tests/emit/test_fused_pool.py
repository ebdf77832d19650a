# SPDX-License-Identifier: Apache-2.0
"""Networks whose convolutions take in the pooling behind them: the text, the C, the firmware, and its verification."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import tuning
from cmsisnn_x import Variant
from helpers.cores import PLAIN
from helpers.folders import assert_same, emulated_run, emulator, host_run, sanitized_run, zig
from helpers.networks import conv, dense, forward, inputs, pool
from helpers.plans import chain, make_plan, with_layer
from helpers.samples import one_in
from tuning.emit import EmitError, render
from tuning.emit.example import build
from tuning.emulate import find_toolchain
from tuning.measure.folder import FolderError, draw_inputs, load, verify
from tuning.plan import Plan

ROWS = Variant(4, 2, 2, 2, "line_buffer", "interleaved", fused_pool=True)
COLUMNS = Variant(8, 2, 1, 2, fused_pool=True)


def layers(dtype: str):
    """Two pairs, one at either end; the second convolution of the first pair's shape stays as it is."""
    shift = {"q7": 10, "q15": 17}[dtype]
    return chain(
        (11, 9, 3), dtype,
        conv(6, 3, pad=1, out_shift=shift, activation="relu", name="conv1"), pool("max", 3, stride=2, name="pool1"),
        conv(4, 1, out_shift=shift, name="conv2"), conv(8, 3, pad=1, out_shift=shift, name="conv3"),
        pool("avg", (2, 3), pad=1, name="pool3"),
    )  # fmt: skip


def fused_plan(dtype: str = "q7", core: str = "cortex-m4", name: str = "net") -> Plan:
    return make_plan(name, layers(dtype), core=core, variant={"conv1": ROWS, "conv3": COLUMNS})


# ---------------------------------------------------------------- text


def test_every_layer_keeps_its_function_and_run_calls_the_pairs() -> None:
    files = render(fused_plan())
    code, header, config = files["net.c"], files["net.h"], files["net_config.h"]
    for name in ("conv1", "pool1", "conv2", "conv3", "pool3", "conv1_pool1", "conv3_pool3"):
        declared = f"void net_{name}(const int8_t *input, int8_t *output)"
        assert declared + ";" in header
        assert f"CXN_WHOLE {declared}\n" in code
    run = code[code.index("void net_run(") :]
    assert re.findall(r"CXN_PROFILE_BEGIN\((\d)\);\s+(\w+)\(", run) == [
        ("0", "net_conv1_pool1"), ("2", "net_conv2"), ("3", "net_conv3_pool3"),
    ]  # fmt: skip
    assert re.findall(r"CXN_PROFILE_END\((\d)\)", run) == ["0", "2", "3"]
    assert '#include "cmsisnn_x/convolve_max_pool.h"' in code
    assert '#include "cmsisnn_x/convolve_avg_pool.h"' in code
    assert "cmsisnn_x/detail/convolve_band.h" in files
    assert "NET_CONV1_FUSED_POOL" in config
    assert not re.search("NET_CONV1_OUTPUT_OFFSET|NET_POOL1_INPUT_OFFSET|NET_POOL3_INPUT_OFFSET", config)
    assert "inside conv1" in files["README.md"]


def test_unfused_networks_have_nothing_of_it() -> None:
    files = render(make_plan("net", layers("q7")))
    assert "cmsisnn_x/detail/convolve_band.h" not in {path for path in files if "pool" in path}
    assert not [path for path in files if path.startswith("cmsisnn_x/convolve_max")]
    assert "as one" not in files["net.h"]
    assert "CXN_PAIR" not in files["net.c"]


def test_a_pair_gets_out_of_the_way_of_a_layer_of_that_name(tmp_path: Path) -> None:
    taken = chain((6, 6, 2), "q7", conv(4, 3, name="a"), pool("max", 2, name="b"), dense(3, name="a_b"))
    plan = make_plan("net", taken, variant={"a": COLUMNS})
    tuning.emit(plan, tmp_path)
    assert "void net_a_b_(const int8_t *input, int8_t *output);" in (tmp_path / "net.h").read_text()
    run = host_run(plan, tmp_path)
    for x in inputs(taken, 3):
        assert_same(run(x, 0), forward(taken, x), "net")
    verified = verify(load(tmp_path), find_toolchain("clang"), draw_inputs(load(tmp_path), 1))
    assert verified.exact


@pytest.mark.parametrize("name", ["kernel", "kernel_line", "bias", "kernel_band_pool", "weights_", "pool1"])
def test_a_pair_shares_no_name_with_what_kernels_define(name: str, tmp_path: Path) -> None:
    named = chain((6, 6, 2), "q7", conv(4, 3, name="a"), pool("max", 2, name=name), dense(3, name="b"))
    plan = make_plan("net", named, variant={"a": ROWS})
    tuning.emit(plan, tmp_path)
    zig("-std=c99", "-O0", "-I", tmp_path, "-c", tmp_path / "net.c", "-o", tmp_path / "net.o")


def test_equal_pairs_share_one_kernel() -> None:
    twice = chain(
        (6, 6, 4), "q7", *[conv(4, 3, pad=1), pool("max", 3, pad=1)] * 3, {"op": "relu"}
    )  # the first reads the caller's buffer, the others are alike
    variant = {layer.name: ROWS for layer in twice if layer.op == "conv2d"}
    text = render(make_plan("net", twice, variant=variant))["net.c"]
    assert text.count("#define CXN_PAIR") == 2
    assert len(re.findall(r"CXN_WHOLE void net_conv2d\d_max_pool2d\d\(", text)) == 3


def test_plans_that_do_not_hold_together_are_refused() -> None:
    plan = fused_plan()
    unfused = replace(ROWS, fused_pool=False)
    conflicts = {
        "layer pool1: fused_into: expected None, as the variant of conv1": with_layer(plan, 0, variant=unfused),
        "layer pool1: fused_into: expected 'conv1'": with_layer(plan, 1, fused_into="conv9"),
        "layer conv1: output_offset: expected None": with_layer(plan, 0, output_offset=0),
        "layer pool1: input_offset: expected None": with_layer(plan, 1, input_offset=0),
        "layer conv2: variant.fused_pool: expected a pooling layer right behind": with_layer(plan, 2, variant=COLUMNS),
        "layer conv1: fused_into: expected None in the first layer": with_layer(plan, 0, fused_into="x"),
        "layer conv1: expected output and scratch apart": with_layer(
            with_layer(plan, 1, output_offset=plan.layers[0].scratch_offset),
            2,
            input_offset=plan.layers[0].scratch_offset,
        ),
    }
    for message, broken in conflicts.items():
        with pytest.raises(EmitError, match=re.escape(message)):
            render(broken)


def test_offsets_edited_by_hand_stop_the_compiler(tmp_path: Path) -> None:
    plan = fused_plan()
    tuning.emit(plan, tmp_path)
    config = tmp_path / "net_config.h"
    text = config.read_text()
    offset = plan.layers[0].scratch_offset
    config.write_text(re.sub(r"(NET_POOL1_OUTPUT_OFFSET +)\d+", rf"\g<1>{offset}", text))
    with pytest.raises(AssertionError, match="conv1_scratch_and_pool1_output_are_apart"):
        zig("-std=c99", "-fsyntax-only", "-I", tmp_path, tmp_path / "net.c")
    config.write_text(re.sub(r"(NET_POOL1_IN_W +)\d+", r"\g<1>8", text))
    with pytest.raises(AssertionError, match="FUSED_POOL: IN_H, IN_W, IN_CH and IN_BITS of the pooling"):
        zig("-std=c99", "-fsyntax-only", "-I", tmp_path, tmp_path / "net.c")


@pytest.mark.parametrize(
    ("layer", "value", "said"),
    [
        ("CONV1", 2, "legal values are 0 and 1"),
        ("CONV1", 0, "legal value is 1"),
        ("CONV2", 1, "1 in conv1, 1 in conv3, 0 in"),
    ],
)
def test_fused_pool_edited_by_hand_stops_the_compiler(layer: str, value: int, said: str, tmp_path: Path) -> None:
    tuning.emit(fused_plan(), tmp_path)
    config = tmp_path / "net_config.h"
    text, count = re.subn(rf"(NET_{layer}_FUSED_POOL +)\d", rf"\g<1>{value}", config.read_text())
    assert count == 1
    config.write_text(text)
    with pytest.raises(AssertionError, match=f"FUSED_POOL: .*{said}"):
        zig("-std=c99", "-fsyntax-only", "-I", tmp_path, tmp_path / "net.c")


# ---------------------------------------------------------------- bytes


@pytest.mark.parametrize("dtype", ["q7", "q15"])
def test_host_builds_equal_the_definition(dtype: str, tmp_path: Path) -> None:
    plan, network = fused_plan(dtype), layers(dtype)
    tuning.emit(plan, tmp_path)
    chosen = inputs(network, 5)
    for x, got in zip(chosen, sanitized_run(plan, tmp_path, chosen, chosen[0].itemsize), strict=True):
        assert_same(got, forward(network, x), dtype)


@pytest.mark.emulated
@pytest.mark.parametrize("core", one_in(2, ["cortex-m0plus", "cortex-m3", "cortex-m4"]))
def test_firmware_of_less_sram_equals_the_definition(core: str, tmp_path: Path) -> None:
    dtype = ("q7", "q15")[PLAIN.index(core) % 2]
    network, path = layers(dtype), Path("net.yaml")
    model = tuning.Model("net", dtype, network[0].input_shape, network, {"sram": None, "flash": None}, None, "0", path)
    free, least = (tuning.tune(model, tuning.load_target(core), objective=goal) for goal in ("latency", "sram"))
    assert least.arena_bytes < free.arena_bytes
    pinned = tuple(replace(layer, variant={"fused_pool": True} if layer.op == "conv2d" else {}) for layer in network)
    pinned = (*pinned[:2], replace(pinned[2], variant={}), *pinned[3:])
    both = tuning.tune(replace(model, layers=pinned), tuning.load_target(core))
    assert [item.fused_into for item in both.layers] == [None, "conv1", None, None, "conv3"]
    chosen = least if core == "cortex-m3" else both
    tuning.emit(chosen, tmp_path)
    machine = emulator(chosen, tmp_path, core)
    for offset, x in enumerate(inputs(network, 3, core)):
        got = emulated_run(chosen, machine, x, offset)
        assert_same(got, forward(network, x), f"{core} at offset {offset}")


# ---------------------------------------------------------------- cmsisnn-verify


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tuning.emit(fused_plan(), tmp_path)
    return tmp_path


def checked(folder: Path):
    firmware = load(folder)
    return verify(firmware, find_toolchain("clang"), draw_inputs(firmware, 1))


@pytest.mark.emulated
def test_verification_prices_the_pair_and_compares_all(folder: Path) -> None:
    result = checked(folder)
    assert result.exact
    cycles = {layer.name: layer.cycles for layer in result.layers}
    assert cycles["pool1"] == cycles["pool3"] == 0 < cycles["conv1"]
    assert sum(cycles.values()) == pytest.approx(result.trace.cycles, rel=0.01)


@pytest.mark.emulated
@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("conv1", "layer conv1"),
        ("pool1", "layer pool1"),
        ("conv1_pool1", "layers conv1 and pool1 as one"),
    ],
)
def test_verification_finds_a_wrong_function_of_a_pair(folder: Path, function: str, said: str) -> None:
    source = folder / "net.c"
    text = source.read_text()
    start = text.index(f"void net_{function}(const int8_t *input, int8_t *output)\n")
    end = text.index("}\n", start)
    source.write_text(f"{text[:end]}    output[3] = (int8_t)~output[3];\n{text[end:]}")
    result = checked(folder)
    assert next(mismatch.what for mismatch in result.mismatches) == said
    assert not result.layers[function == "pool1"].exact
    network_runs_it = function == "conv1_pool1"
    assert any("network" in mismatch.what for mismatch in result.mismatches) == network_runs_it


def test_a_plan_that_fuses_into_nothing_is_refused(folder: Path) -> None:
    plan = json.loads((folder / "plan.json").read_text())
    plan["layers"][1]["fused_into"] = "conv2"
    (folder / "plan.json").write_text(json.dumps(plan))
    with pytest.raises(
        FolderError, match="layer pool1: fused_into: expected the layer before it, 'conv1', got 'conv2'"
    ):
        load(folder)


def test_profile_of_the_example_says_zero_for_the_pooling() -> None:
    """Its entry exists, as hooks are numbered by layer, and nobody counts into it."""
    files = render(fused_plan())
    assert "uint32_t cxn_profile_cycles[NET_LAYER_COUNT];" in files["example/main.c"]
    assert re.search(r"NET_LAYER_COUNT +5\n", files["net_config.h"])
    assert re.findall(r"PROFILE_BEGIN\((\d)\);", files["net.c"]) == ["0", "2", "3"]


@pytest.mark.skipif(shutil.which("qemu-system-arm") is None, reason="qemu-system-arm is not installed")
@pytest.mark.parametrize("core", ["cortex-m0plus", "cortex-m4"])
def test_the_example_passes_in_qemu_and_counts_by_layer(core: str, tmp_path: Path) -> None:
    plan = fused_plan(core=core)
    tuning.emit(plan, tmp_path)
    how = build(plan)
    assert "-Wl,--gc-sections" in how.zig
    hooks = """-DCXN_PROFILE_HEADER='"example/profile.h"'"""
    command = shlex.split(f"{how.zig} {hooks}")
    subprocess.run([sys.executable, *command[1:]], cwd=tmp_path, check=True, capture_output=True)
    done = subprocess.run(shlex.split(how.qemu), cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    said = done.stdout + done.stderr  # where semihosting writes depends on the version of QEMU
    assert "PASS" in said
    counted = dict(line.split(",") for line in said.splitlines() if line.count(",") == 1)
    assert list(counted) == ["layer", "conv1", "pool1", "conv2", "conv3", "pool3"]
    assert counted["pool1"] == counted["pool3"] == "0"
    assert all(int(cycles) >= 0 for cycles in list(counted.values())[1:])
