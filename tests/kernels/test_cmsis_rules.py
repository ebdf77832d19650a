# SPDX-License-Identifier: Apache-2.0
"""`cmsis.check` against the functions themselves: what it calls right is right, what it calls wrong can be seen."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

import cmsisnn_x
from cmsisnn_x import cmsis
from cmsisnn_x.cmsis._prototypes import PROTOTYPES
from cmsisnn_x.cmsis._rules import RULES
from cmsisnn_x.errors import DomainError

RNG = np.random.default_rng(1801)
POOLS = {"arm_maxpool_q7_HWC": cmsisnn_x.max_pool, "arm_avepool_q7_HWC": cmsisnn_x.avg_pool}
POOL = {"dim_im_in": 2, "ch_im_in": 4, "dim_kernel": 2, "padding": 0, "stride": 1, "dim_im_out": 1}
CONVOLUTIONS = [name for name in PROTOTYPES if "conv" in name]


def kinds(function: str, profile: str, **numbers: int) -> set[str]:
    return {finding.kind for finding in cmsis.check(function, profile=profile, **numbers)} - {"note"}


def bytes_of(*shape: int) -> np.ndarray:
    return RNG.integers(-128, 128, shape, np.int8)


def test_every_function_has_its_row() -> None:
    assert list(RULES) == list(PROTOTYPES)
    assert len(RULES) == 31


def pools():
    sides = product((1, 2, 3, 4, 5, 7, 8), (1, 2, 3, 4), (0, 1, 2, 3), (1, 2, 3), (3, 4))
    for size, kernel, padding, stride, channels in sides:
        for out in {(size + 2 * padding - kernel) // stride + 1, -(-(size + 2 * padding - kernel) // stride) + 1}:
            if out > 0:
                yield {
                    "dim_im_in": size,
                    "ch_im_in": channels,
                    "dim_kernel": kernel,
                    "padding": padding,
                    "stride": stride,
                    "dim_im_out": out,
                }


@pytest.mark.parametrize("profile", ["dsp", "scalar"])
@pytest.mark.parametrize("function", POOLS)
def test_pooling_is_called_wrong_where_it_is(function: str, profile: str) -> None:
    """Every geometry up to 8 pixels: right ones always agree with the meaning, of the wrong ones most are seen to
    differ, and no geometry that is called unsafe can be called.
    """
    seen = {"right": 0, "wrong": 0, "differs": 0}
    for n in pools():
        found = kinds(function, profile, **n)
        size, channels, out_size = n["dim_im_in"], n["ch_im_in"], n["dim_im_out"]

        def call(n=n, size=size, channels=channels, out_size=out_size) -> tuple[np.ndarray, np.ndarray]:
            image = bytes_of(size, size, channels)
            result = np.full((out_size, out_size, channels), 77, np.int8)
            numbers = (n["ch_im_in"], n["dim_kernel"], n["padding"], n["stride"], out_size)
            getattr(cmsis, function)(image.copy(), size, *numbers, None, result, profile=profile)
            return image, result

        if "unsafe" in found:
            with pytest.raises(DomainError):
                call()
            continue
        try:
            expected = [
                (result, POOLS[function](image, n["dim_kernel"], stride=n["stride"], padding=n["padding"],
                                         output_size=out_size))
                for image, result in (call() for _ in range(4))
            ]  # fmt: skip
        except cmsisnn_x.errors.ShapeError:  # a window without pixels: the layer means nothing
            assert found, n
            continue
        differs = any(not np.array_equal(got, wanted) for got, wanted in expected)
        assert found or not differs, n
        seen["wrong" if found else "right"] += 1
        seen["differs"] += differs
    assert seen["right"] > 20 if (function, profile) != ("arm_avepool_q7_HWC", "dsp") else seen["right"]
    assert seen["differs"] >= 0.85 * seen["wrong"], seen


def numbers_of(function: str, **shared: int) -> dict[str, int]:
    """Arm's argument names from geometry without axes."""
    return {name: shared[name.removesuffix("_x").removesuffix("_y")] for name in cmsis.scalar_names(function)}


def convolutions():
    for size, kernel, padding, stride, in_ch, out_ch in product(
        (1, 4, 5), (1, 3), (0, 1, 3), (1, 2), (1, 2, 3, 4, 5), (1, 2)
    ):
        out = (size + 2 * padding - kernel) // stride + 1
        for more in (0, 1):
            if out + more > 0:
                yield {
                    "dim_im_in": size, "dim_kernel": kernel, "padding": padding, "stride": stride, "ch_im_in": in_ch,
                    "ch_im_out": out_ch, "dim_im_out": out + more, "bias_shift": 0, "out_shift": 7,
                }  # fmt: skip


@pytest.mark.parametrize("profile", ["dsp", "scalar"])
@pytest.mark.parametrize("function", CONVOLUTIONS)
def test_convolutions_end_as_foretold(function: str, profile: str) -> None:
    """-3 where a mismatch is foretold, refused where it is unsafe, the meaning where nothing is, over many shapes."""
    prototype, operation = PROTOTYPES[function], cmsisnn_x.convolve
    depthwise = "depthwise" in function
    ends = set()
    for g in convolutions():
        n = numbers_of(function, **g)
        found = kinds(function, profile, **n)
        arrays = {}
        for name, array in prototype.items():
            shape = [n[size] if isinstance(size, str) else size for size in array.shape]
            arrays[name] = RNG.integers(-100, 100, shape).astype(array.dtype)
        before = arrays["Im_out"].copy()
        values = [{**arrays, **n}.get(name) for name in cmsis.argument_names(function)]
        if "unsafe" in found:
            with pytest.raises(DomainError):
                getattr(cmsis, function)(*values, profile=profile)
            ends.add("unsafe")
            continue
        status = getattr(cmsis, function)(*values, profile=profile)
        assert status == (cmsis.ARM_MATH_SIZE_MISMATCH if "mismatch" in found else 0), g
        if status:
            assert np.array_equal(arrays["Im_out"], before)
            ends.add("mismatch")
            continue
        operation = cmsisnn_x.depthwise_convolve if depthwise else cmsisnn_x.convolve
        wanted = operation(
            arrays["Im_in"], arrays["wt"], arrays["bias"], stride=g["stride"], padding=g["padding"], out_shift=7,
            output_size=g["dim_im_out"],
        )  # fmt: skip
        assert "wrong" in found or np.array_equal(arrays["Im_out"], wanted), g
        ends.add("right")
    assert "right" in ends
    assert ("mismatch" in ends) == (RULES[function].mismatch is not RULES["arm_convolve_HWC_q7_basic"].mismatch)


@pytest.mark.parametrize(("size", "kernel", "padding"), [*product((126, 128, 129, 131, 258), (1, 2, 3), (0, 1))])
def test_a_signed_coordinate_is_wrong_beyond_a_side_of_128(size: int, kernel: int, padding: int) -> None:
    function = "arm_convolve_HWC_q7_basic_nonsquare"
    out = size + 2 * padding - kernel + 1
    n = {
        "dim_im_in_x": size, "dim_im_in_y": 3, "ch_im_in": 1, "ch_im_out": 1, "dim_kernel_x": kernel,
        "dim_kernel_y": 1, "padding_x": padding, "padding_y": 0, "stride_x": 1, "stride_y": 1, "bias_shift": 0,
        "out_shift": 0, "dim_im_out_x": out, "dim_im_out_y": 3,
    }  # fmt: skip
    image, weights, bias = bytes_of(3, size, 1), np.ones((1, 1, kernel, 1), np.int8), np.zeros(1, np.int8)
    result = np.full((3, out, 1), 77, np.int8)
    given = {"Im_in": image, "wt": weights, "bias": bias, "Im_out": result, **n}
    values = [given.get(name) for name in cmsis.argument_names(function)]
    getattr(cmsis, function)(*values, profile="scalar")
    meant = cmsisnn_x.convolve(image, weights, bias, padding=(0, padding), out_shift=0, output_size=(3, out))
    assert ("wrong" in kinds(function, "scalar", **n)) == (not np.array_equal(result, meant)) == (size > 128)
    assert kinds(function, "dsp", **n) == set()


@pytest.mark.parametrize("kind", [0, 1])
@pytest.mark.parametrize("int_bits", [0, 1, 2, 3])
def test_the_wide_activations_are_wrong_below_zero(int_bits: int, kind: int) -> None:
    function = "arm_nn_activations_direct_q15"
    x = np.arange(-32768, 32768, dtype=np.int16)
    got = x.copy()
    cmsis.arm_nn_activations_direct_q15(got[:32768], 32768, int_bits, kind)
    cmsis.arm_nn_activations_direct_q15(got[32768:], 32768, int_bits, kind)
    meant = (cmsisnn_x.sigmoid, cmsisnn_x.tanh)[kind](x, int_bits)
    texts = [item.text for item in cmsis.check(function, size=100, int_width=int_bits, type=kind)]
    assert (got[:30000] != meant[:30000]).all()
    assert "every negative input gives" in texts[0]
    assert (len(texts) == 2) == (not np.array_equal(got[32768:], meant[32768:])) == (int_bits == 3)


@pytest.mark.parametrize(
    ("function", "numbers", "kind", "text"),
    [
        ("arm_relu_q7", {"size": 65536}, "wrong", "the function sees 0"),
        ("arm_softmax_q7", {"dim_vec": 32768}, "unsafe", "never gets there"),
        ("arm_softmax_q7", {"dim_vec": 10}, "note", "powers of 2"),
        ("arm_q7_to_q15_reordered_no_shift", {"blockSize": 8}, "note", "Cortex-M0"),
        ("arm_maxpool_q7_HWC", POOL | {"ch_im_in": 32768, "dim_im_out": 2}, "wrong", "16 bits"),
        ("arm_avepool_q7_HWC", POOL | {"dim_im_in": 300, "dim_kernel": 300}, "wrong", "more than 256"),
        ("arm_nn_mult_q7", {"out_shift": 32, "blockSize": 8}, "wrong", "beyond 31"),
    ],
)
def test_single_rules(function: str, numbers: dict[str, int], kind: str, text: str) -> None:
    assert any(item.kind == kind and text in item.text for item in cmsis.check(function, **numbers))


@pytest.mark.parametrize(
    ("function", "numbers", "expected"),
    [
        # Release 5.4.0's own example: 2 * 5 * 5 * 32 elements of two bytes for conv2, as it defines col_buffer.
        ("arm_convolve_HWC_q7_fast", {}, 2 * 5 * 5 * 32 * 2),
        ("arm_convolve_HWC_q7_basic_nonsquare", {}, 3200),
        ("arm_convolve_HWC_q15_basic", {}, 1600),
        ("arm_convolve_HWC_q15_fast", {}, 3200),
        ("arm_convolve_1x1_HWC_q7_fast_nonsquare", {"dim_kernel": 1, "padding": 0}, 128),
        ("arm_depthwise_separable_conv_HWC_q7", {}, 800),
        ("arm_fully_connected_q7_opt", {"dim_vec": 1024, "num_of_rows": 10}, 2048),
        ("arm_fully_connected_q15", {"dim_vec": 1024, "num_of_rows": 10}, 0),
        ("arm_maxpool_q7_HWC", {}, 0),
        ("arm_avepool_q7_HWC", {}, 1024),
        ("arm_relu_q7", {"size": 100}, 0),
    ],
)
def test_scratch_is_what_the_code_touches(function: str, numbers: dict[str, int], expected: int) -> None:
    shared = {
        "dim_im_in": 16, "dim_kernel": 5, "padding": 2, "stride": 1, "ch_im_in": 32, "ch_im_out": 32, "dim_im_out": 16,
        "bias_shift": 0, "out_shift": 9,
    }  # fmt: skip
    n = numbers_of(function, **shared | numbers)
    assert cmsis.scratch_bytes(function, **n) == expected
    assert cmsis.scratch_bytes(function, profile="scalar", **n) == 0


def test_an_odd_channel_count_may_fault_in_the_basic_convolution() -> None:
    for in_ch, fault in ((3, False), (4, False), (5, True), (6, False), (7, True)):
        n = numbers_of(
            "arm_convolve_HWC_q7_basic", dim_im_in=8, dim_kernel=3, padding=1, stride=1, ch_im_in=in_ch, ch_im_out=4,
            dim_im_out=8, bias_shift=0, out_shift=7,
        )  # fmt: skip
        assert ("fault" in kinds("arm_convolve_HWC_q7_basic", "dsp", **n)) == fault
        assert kinds("arm_convolve_HWC_q7_basic", "scalar", **n) == set()


@pytest.mark.parametrize(
    ("function", "numbers", "text"),
    [
        ("arm_relu_q8", {"size": 1}, "did you mean arm_relu_q7?"),
        ("arm_relu_q7", {}, "arm_relu_q7: size: missing"),
        ("arm_relu_q7", {"size": 1, "length": 2}, "no argument is called 'length'; expected size"),
        ("arm_relu_q7", {"size": 1, "profile": "m4"}, "profile: expected 'dsp' or 'scalar', got 'm4'"),
    ],
)
def test_a_wrong_question_is_refused(function: str, numbers: dict[str, object], text: str) -> None:
    with pytest.raises(ValueError, match=text.replace("?", r"\?")):
        cmsis.check(function, **numbers)  # type: ignore[arg-type]
