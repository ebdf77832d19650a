# SPDX-License-Identifier: Apache-2.0
"""Arm's kernels judged for layers, for calls and for C files; the verdicts themselves are held against the functions
in tests/kernels/test_cmsis_rules.py.
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tuning
from cmsisnn_x import cmsis
from cmsisnn_x.cmsis._prototypes import PROTOTYPES
from helpers.commands import run_tune
from helpers.plans import chain
from tuning.arm.calls import evaluate, parse_call, read_sources
from tuning.arm.kernels import check_layer, check_model, judge, kernels_of
from tuning.base.errors import OptionError
from tuning.target import load_target

M7, M3 = load_target("cortex-m7"), load_target("cortex-m3")
RGB = "arm_convolve_HWC_q7_RGB"
RGB_CALL = f"{RGB}(in, 32, 3, wt, 32, 5, 2, 1, bias, 0, 9, out, 32, col_buffer, NULL)"


def layer(shape: tuple[int, ...], dtype: str, **spec: object):
    return chain(shape, dtype, spec)[0]


def verdicts(item, target=M7) -> dict[str, str]:
    return {kernel.function: kernel.verdict for kernel in check_layer(item, target).kernels}


def test_the_papers_network_on_arms_kernels() -> None:
    best = {item.layer.name: item.best and item.best.function for item in check_model(tuning.load_model("cifar10"), M7)}
    assert best == {
        "conv1": RGB,
        "conv2": "arm_convolve_HWC_q7_fast",
        "conv3": "arm_convolve_HWC_q7_fast",
        **{f"pool{n}": "arm_maxpool_q7_HWC" for n in (1, 2, 3)},
        "fc1": "arm_fully_connected_q7_opt",
        "prob": "arm_softmax_q7",
    }


@pytest.mark.parametrize(
    ("item", "function", "target", "verdict", "words"),
    [
        (layer((8, 8, 3), "q7", op="conv2d", out=4, kernel=3), "arm_convolve_HWC_q7_fast", M7, "refused", "ch_im_in"),
        (layer((8, 6, 4), "q7", op="conv2d", out=4, kernel=3), "arm_convolve_HWC_q7_fast", M7, "cannot", "8 high"),
        (layer((8, 6, 5), "q7", op="conv2d", out=4, kernel=3), "arm_convolve_HWC_q7_basic_nonsquare", M7, "may fault",
         "STRD"),
        (layer((8, 8, 4), "q7", op="conv2d", out=4, kernel=3, stride=2, pad="same"), "arm_convolve_HWC_q7_fast", M7,
         "unsafe", "reads up to position 9"),
        (layer((5, 5, 2), "q15", op="conv2d", out=2, kernel=3), "arm_convolve_HWC_q15_fast", M7, "unsafe", "even"),
        (layer((5, 5, 2), "q15", op="conv2d", out=2, kernel=3), "arm_convolve_HWC_q15_fast", M3, "legal", ""),
        (layer((140, 140, 1), "q7", op="conv2d", out=1, kernel=1), "arm_convolve_HWC_q7_basic", M3, "wrong", "signed"),
        (layer((8, 8, 3), "q7", op="max_pool2d", kernel=2, stride=2), "arm_maxpool_q7_HWC", M7, "wrong", "last 3"),
        (layer((8, 8, 3), "q7", op="max_pool2d", kernel=2, stride=2), "arm_maxpool_q7_HWC", M3, "legal", ""),
        (layer((8, 8, 4), "q7", op="avg_pool2d", kernel=2, stride=2), "arm_avepool_q7_HWC", M7, "wrong", "truncated"),
        (layer((8, 8, 4), "q15", op="sigmoid"), "arm_nn_activations_direct_q15", M7, "wrong", "0.5"),
        (layer((8, 8, 4), "q15", op="tanh"), "arm_nn_activations_direct_q15", M7, "wrong", "gives 0"),
    ],
)  # fmt: skip
def test_verdicts(item, function: str, target, verdict: str, words: str) -> None:
    found = {kernel.function: kernel for kernel in check_layer(item, target).kernels}[function]
    assert found.verdict == verdict
    assert words in " ".join(found.reasons)
    assert bool(found.reasons) == (verdict != "legal")


@pytest.mark.parametrize(
    "item",
    [
        layer((8, 8, 4), "q15", op="max_pool2d", kernel=2),
        layer((8, 8, 4), "q15", op="depthwise_conv2d", kernel=3),
        layer((8, 8, 4), "q15", op="conv2d", out=4, kernel=3, weights_dtype="q7"),
    ],
)
def test_what_arm_has_no_kernel_for(item) -> None:
    found = check_layer(item, M7)
    assert (found.kernels, found.best) == ((), None)


def test_a_fused_relu_is_a_further_call_with_a_counter_of_its_own() -> None:
    small = layer((8, 8, 4), "q7", op="conv2d", out=4, kernel=1, activation="relu")
    large = layer((256, 256, 4), "q7", op="conv2d", out=4, kernel=1, activation="relu")
    fits, beyond = check_layer(small, M7), check_layer(large, M7)
    assert fits.activation is not None
    assert (fits.activation.function, dict(fits.activation.numbers)) == ("arm_relu_q7", {"size": 256})
    assert fits.best is not None
    assert beyond.activation is not None
    assert beyond.activation.verdict == "wrong"
    assert beyond.kernels[0].verdict == "legal"
    assert beyond.best is None


@given(data=st.data())
def test_a_layers_arguments_make_arms_function_compute_it(data: st.DataObject) -> None:
    """The arguments that are judged are those of the layer: called with them, a legal kernel gives its output."""
    op = data.draw(st.sampled_from(["conv2d", "depthwise_conv2d", "max_pool2d", "fully_connected"]))
    dtype = data.draw(st.sampled_from(["q7", "q15"])) if op in ("conv2d", "fully_connected") else "q7"
    side, channels = data.draw(st.integers(4, 9)), data.draw(st.sampled_from([1, 2, 3, 4, 8]))
    width = data.draw(st.sampled_from([side, side + 1]))
    spec: dict[str, object] = {"op": op}
    if op != "fully_connected":
        spec |= {
            "kernel": (data.draw(st.integers(1, 3)), data.draw(st.integers(1, 3))),
            "stride": data.draw(st.integers(1, 2)),
            "pad": data.draw(st.sampled_from([0, 1, "same"])) if op != "max_pool2d" else 0,
        }
    if op in ("conv2d", "fully_connected"):
        spec["out"] = data.draw(st.sampled_from([1, 2, 4]))
    if op != "max_pool2d":
        spec |= {"out_shift": 7, "bias_shift": 1}
    item = layer((side, width, channels), dtype, **spec)
    x = np.random.default_rng(0).integers(-100, 100, item.input_shape).astype(item.numpy_dtype)
    from cmsisnn_x import Network

    meant = Network([item]).run(x)
    for kernel in check_layer(item, M7).kernels:
        if kernel.verdict not in ("legal", "may fault") or kernel.function.endswith("_opt"):
            continue
        arrays = {"Im_in": x.copy(), "pV": x, "wt": item.weights, "pM": item.weights, "bias": item.bias}
        out = np.full(meant.shape, 77, meant.dtype)
        given = {**arrays, "Im_out": out, "pOut": out, **kernel.numbers}
        getattr(cmsis, kernel.function)(*(given.get(name) for name in cmsis.argument_names(kernel.function)))
        assert np.array_equal(out, meant), kernel


def test_every_function_can_be_asked_for_by_name() -> None:
    for function in PROTOTYPES:
        numbers = ", ".join(f"{name}=2" for name in cmsis.scalar_names(function))
        call = parse_call(f"{function}({numbers})")
        assert (call.function, call.problem) == (function, None)
        assert judge(call.function, call.numbers, M7).verdict


def test_the_two_ways_to_write_a_call_mean_the_same() -> None:
    named = (
        f"{RGB}(dim_im_in=32, ch_im_in=3, ch_im_out=32, dim_kernel=5, padding=2, stride=1, bias_shift=0, out_shift=9, "
        "dim_im_out=32)"
    )
    assert parse_call(named) == parse_call(RGB_CALL + ";")
    assert parse_call(RGB_CALL).numbers["ch_im_out"] == 32


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected FUNCTION(ARGUMENT, ...)"),
        ("arm_relu_q7", "expected FUNCTION(ARGUMENT, ...)"),
        ("arm_relu_q8(1)", "did you mean 'arm_relu_q7'?"),
        ("arm_relu_q7()", "expected 2 arguments (data, size), got 0"),
        ("arm_relu_q7(x, 1, 2)", "got 3"),
        ("arm_relu_q7(len=1)", "no argument is called 'len'"),
        ("arm_relu_q7(size=1, size=2)", "size: given twice"),
        ("arm_relu_q7(x, size=2)", "every argument by name, or all in order"),
        ("arm_relu_q7(data=x)", "size: missing"),
        ("arm_relu_q7(x, n)", "n is no integer"),
        ("arm_relu_q7(x, 1/0)", "a division by zero"),
        ("arm_relu_q7(x, 1 << 99)", "a shift by 99"),
        ("arm_relu_q7(x, 1.5)", "expected an integer, got '1.5'"),
        ("arm_relu_q7(x, __import__('os'))", "expected an integer"),
        ("arm_relu_q7(x, ((((1)", "expected an integer"),
    ],
)
def test_a_call_that_cannot_be_read_says_why(text: str, message: str) -> None:
    with pytest.raises(OptionError) as problem:
        parse_call(text)
    assert message in str(problem.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0x20u", 32), ("(uint16_t)(A * B)", 12), ("A + B % 3 - -1", 5), ("C", 8), ("ARM_TANH", 1), ("7 / 2", 3),
        ("1 << A", 8),
    ],
)  # fmt: skip
def test_constant_expressions(text: str, value: int) -> None:
    assert evaluate(text, {"A": "3", "B": "(4)", "C": "(A + 5)"}) == value


def test_a_define_of_itself_does_not_hang() -> None:
    with pytest.raises(ValueError, match="A is defined by itself"):
        evaluate("A", {"A": "B", "B": "A"})


SOURCE = f"""#include "parameter.h"
/* arm_relu_q7(commented, 1); */
void arm_relu_q7(q7_t * data, uint16_t size);
void run(void)
{{
    {RGB}(image, IM_DIM, 3, wt, OUT_CH,
        5, 2, 1, bias, 0, 9, out, IM_DIM, (q15_t *)col_buffer, NULL); // arm_relu_q7(x, 2)
    arm_relu_q7(out, IM_DIM * IM_DIM * OUT_CH * 2);
    arm_maxpool_q7_HWC(out, IM_DIM, OUT_CH, 3, 0, 2, (IM_DIM / 2), NULL, next[0]);
    arm_softmax_q7(next, classes, output);
}}
"""


def sources(folder: Path) -> list[Path]:
    (folder / "nn.c").write_text(SOURCE, encoding="utf-8")
    (folder / "parameter.h").write_text("#define IM_DIM 32\n#define OUT_CH \\\n 32u\n", encoding="utf-8")
    return [folder / "nn.c", folder / "parameter.h"]


def test_calls_are_found_in_c_files_with_their_lines_and_defines(tmp_path: Path) -> None:
    calls = read_sources(sources(tmp_path))
    assert [(call.where.rpartition(":")[2], call.function) for call in calls] == [
        ("6", RGB),
        ("8", "arm_relu_q7"),
        ("9", "arm_maxpool_q7_HWC"),
        ("10", "arm_softmax_q7"),
    ]
    assert calls[0].numbers == parse_call(RGB_CALL).numbers
    assert calls[1].numbers == {"size": 65536}
    assert calls[2].numbers["dim_im_out"] == 16
    assert calls[3].problem == "dim_vec: classes is no integer, and no #define that was given says what it is"


@pytest.mark.parametrize(("text", "message"), [(None, "No such file"), ("int x;", "no call of a CMSIS-NN")])
def test_a_file_without_calls_is_refused(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "a.c"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(OptionError, match=message):
        read_sources([path])


@pytest.mark.parametrize("path", ["/dev/zero", ".", "a\0b"])
def test_what_is_no_source_file_is_refused(path: str) -> None:
    with pytest.raises(OptionError, match="--source: "):
        read_sources([Path(path)])


def test_damaged_sources_end_as_one_message_or_as_calls(tmp_path: Path) -> None:
    rng, text = np.random.default_rng(3), SOURCE.encode()
    for _ in range(100):
        damaged = bytearray(text)
        for at in rng.integers(0, len(text), 6):
            damaged[at] = rng.integers(0, 256)
        path = tmp_path / "damaged.c"
        path.write_bytes(bytes(damaged[: rng.integers(1, len(text))]))
        calls = []
        with suppress(OptionError):
            calls = read_sources([path])
        assert all(call.function in PROTOTYPES and (call.problem or call.numbers) for call in calls)


def test_the_command_on_a_model(monkeypatch, capfd) -> None:
    ran = run_tune(monkeypatch, capfd, "check-arm", "cifar10")
    assert (ran.status, ran.err) == (0, "")
    for words in (
        "profile 'dsp'",
        "conv2: conv2d 16x16x32",
        f"refused    {RGB}: ch_im_in must be 3, got 32",
        "legal      then arm_relu_q7",
        "arm_convolve_HWC_q7_fast: 3,200 bytes of scratch",
        "here       ",
        "legal:     does what the layer means",
    ):
        assert words in ran.out
    assert all(line == line.rstrip() for line in ran.out.splitlines())


def test_networks_with_zero_points_have_no_kernels_of_that_release(monkeypatch, capfd) -> None:
    ran = run_tune(monkeypatch, capfd, "check-arm", "digits_resnet")
    assert (ran.status, ran.out) == (2, "")
    assert "expected a model of q7 or q15" in ran.err


def test_the_commands_json_is_the_table(monkeypatch, capfd, tmp_path: Path) -> None:
    (tmp_path / "odd.yaml").write_text(
        "schema: 1\nname: odd\ninput: {shape: [8, 8, 3], dtype: q7}\nlayers:\n"
        "  - {name: pool, op: max_pool2d, kernel: 2, stride: 2}\n  - {name: fc, op: fully_connected, "
        "out_features: 4, out_shift: 7}\n",
        encoding="utf-8",
    )
    ran = run_tune(monkeypatch, capfd, "check-arm", str(tmp_path / "odd.yaml"), "--json")
    found = json.loads(ran.out)
    assert (ran.status, found["schema"], found["legal"]) == (1, "arm-kernels-1", False)
    pool, fc = found["layers"]
    assert (pool["best"], fc["best"]) == (None, "arm_fully_connected_q7_opt")
    assert pool["kernels"][0]["verdict"] == "wrong"
    assert fc["kernels"][0]["arguments"]["dim_vec"] == 48
    assert fc["emitted"]
    text = run_tune(monkeypatch, capfd, "check-arm", str(tmp_path / "odd.yaml"))
    assert (text.status, "Arm has no kernel that is right for pool." in text.out) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["--call", RGB_CALL], 0, "legal"),
        (["--call", "arm_relu_q7(size=65536)"], 1, "the function sees 0"),
        (["--call", RGB_CALL, "--call", "arm_relu_q7(size=65536)", "--target", "cortex-m3"], 1, "profile 'scalar'"),
        (["--source", "nn.c", "--source", "parameter.h"], 1, "nn.c:8: arm_relu_q7"),
        ([], 2, "expected a MODEL, --call or --source"),
        (["--call", "nonsense"], 2, "expected FUNCTION(ARGUMENT, ...)"),
        (["--source", "absent.c"], 2, "absent.c: No such file"),
        (["cifar10", "--target", "cortex-m5"], 2, "unknown target"),
        (["no-such-model"], 2, "neither a file nor a shipped model"),
    ],
)
def test_the_command_on_calls(monkeypatch, capfd, tmp_path, arguments: list[str], status: int, words: str) -> None:
    sources(tmp_path)
    monkeypatch.chdir(tmp_path)
    ran = run_tune(monkeypatch, capfd, "check-arm", *arguments)
    assert (ran.status, words in ran.out + ran.err) == (status, True)
    assert (ran.out == "") == (status == 2)


def test_kernels_are_listed_once_and_exist() -> None:
    for name in ("cifar10", "digits"):
        for item in tuning.load_model(name).layers:
            names = kernels_of(item)
            assert len(set(names)) == len(names) > 0
            assert set(names) <= set(PROTOTYPES)
    fast = check_layer(layer((16, 16, 32), "q7", op="conv2d", out=32, kernel=5, pad=2), M7).kernels[2]
    assert (fast.function, fast.scratch_bytes) == ("arm_convolve_HWC_q7_fast", 3200)
    assert verdicts(layer((16,), "q7", op="fully_connected", out=4)) == {
        "arm_fully_connected_q7_opt": "legal",
        "arm_fully_connected_q7": "legal",
    }
