# SPDX-License-Identifier: Apache-2.0
"""What :mod:`cmsisnn_x.cmsis` refuses, in which order, and what it takes: any layout, overlap, size and int."""

import inspect
import threading
from math import prod

import numpy as np
import pytest

from cmsisnn_x import cmsis
from cmsisnn_x.cmsis._prototypes import PROTOTYPES, SCRATCH
from cmsisnn_x.errors import DomainError, DtypeError, ShapeError
from helpers import arm

FUNCTIONS = sorted(PROTOTYPES)
PROFILES = ("dsp", "scalar")
Q7_FAST = ("arm_convolve_HWC_q7_fast", "arm_convolve_HWC_q7_fast_nonsquare")
Q15_FAST = ("arm_convolve_HWC_q15_fast", "arm_convolve_HWC_q15_fast_nonsquare")
POINTWISE = "arm_convolve_1x1_HWC_q7_fast_nonsquare"
POOLS = ("arm_maxpool_q7_HWC", "arm_avepool_q7_HWC")
RUNS = [(name, profile) for name in FUNCTIONS for profile in PROFILES]
COMPUTING_RUNS = [(name, profile) for name, profile in RUNS if not ("mat_mult" in name and profile == "scalar")]
"""All but the scalar matrix kernels, which touch no array."""


def numbers(name: str) -> dict[str, int]:
    """Small legal integers for a function: a 6x6 image, a 3x3 window, four channels."""
    kernel, padding, out = (1, 0, 6) if "1x1" in name else (3, 1, 6)
    legal = {
        "ch_im_in": 3 if "RGB" in name else 4,
        "ch_im_out": 4,
        "bias_shift": 2,
        "out_shift": 5,
        "int_width": 1,
        "type": 1,
    }
    legal |= {"dim_vec": 9, "num_of_rows": 6, "numCol_A": 10, "size": 10, "blockSize": 10}
    for axis in ("", "_x", "_y"):
        legal |= {"dim_im_in" + axis: 6, "dim_kernel" + axis: kernel, "padding" + axis: padding, "stride" + axis: 1}
        legal["dim_im_out" + axis] = out
    if "pool" in name:
        legal |= {"padding": 0, "stride": 1, "dim_im_out": 4}
    return {
        parameter: legal[parameter]
        for parameter in inspect.signature(getattr(cmsis, name)).parameters
        if parameter in legal
    }


def arguments(name: str, seed: int = 0, **changes: object) -> dict[str, object]:
    """Every argument of a function in Arm's order: random inputs, poisoned outputs, no scratch; then `changes`."""
    integers = numbers(name) | {key: value for key, value in changes.items() if isinstance(value, int)}
    rng = np.random.default_rng(seed)
    made: dict[str, object] = {}
    for parameter in inspect.signature(getattr(cmsis, name)).parameters:
        array = PROTOTYPES[name].get(parameter)
        if array is not None:
            size = prod(integers[n] if isinstance(n, str) else n for n in array.shape)
            limits = np.iinfo(array.dtype)
            made[parameter] = rng.integers(limits.min, limits.max + 1, size).astype(array.dtype)
            if array.role == "output":
                made[parameter] = np.full(size, 77, array.dtype)
        elif parameter in SCRATCH:
            made[parameter] = None
        elif parameter != "profile":
            made[parameter] = integers[parameter]
    return made | changes


def call(name: str, given: dict[str, object], profile: str = "dsp"):
    return getattr(cmsis, name)(*given.values(), profile=profile)


def written(name: str) -> list[str]:
    return [parameter for parameter, array in PROTOTYPES[name].items() if array.role != "input"]


def results(name: str, given: dict[str, object]) -> list[list[int]]:
    return [np.asarray(given[parameter]).ravel().tolist() for parameter in written(name)]


class TestEveryFunction:
    def test_there_are_31_and_no_more(self):
        assert len(FUNCTIONS) == 31
        assert [name for name in sorted(cmsis.__all__) if name.startswith("arm_")] == FUNCTIONS

    @pytest.mark.parametrize("name", FUNCTIONS)
    def test_is_documented(self, name):
        function = getattr(cmsis, name)
        text = inspect.getdoc(function)
        assert text.splitlines()[0].endswith((".", ":"))
        for parameter in inspect.signature(function).parameters:
            assert f"\n{parameter} : " in text
        assert "\nRaises\n------\nValueError\n" in text

    @pytest.mark.parametrize(("name", "profile"), RUNS)
    def test_takes_keywords_numpy_integers_and_scratch(self, name, profile):
        plain, other = arguments(name), arguments(name)
        call(name, plain, profile)
        scratch = {parameter: np.full(4, 5, np.int16) for parameter in SCRATCH if parameter in other}
        integers = {key: np.uint16(value) for key, value in other.items() if isinstance(value, int)}
        getattr(cmsis, name)(**other | scratch | integers, profile=profile)
        assert results(name, other) == results(name, plain)
        assert all(array.tolist() == [5] * 4 for array in scratch.values())

    @pytest.mark.parametrize(("name", "profile"), RUNS)
    def test_takes_any_memory_layout(self, name, profile):
        """Strided, reversed, misaligned, Fortran-ordered and read-only memory gives the results of flat memory."""
        plain = arguments(name)
        call(name, plain, profile)
        for transform in (strided, reversed_, misaligned, two_dimensional):
            given = arguments(name)
            for parameter, array in PROTOTYPES[name].items():
                given[parameter] = transform(given[parameter])
                given[parameter].flags.writeable = array.role != "input"
            call(name, given, profile)
            assert results(name, given) == results(name, plain), transform.__name__

    @pytest.mark.parametrize(("name", "profile"), RUNS)
    def test_larger_arrays_keep_their_ends(self, name, profile):
        plain, given = arguments(name), arguments(name)
        call(name, plain, profile)
        for parameter in PROTOTYPES[name]:
            given[parameter] = np.append(given[parameter], given[parameter].dtype.type([11, -12, 13]))
        call(name, given, profile)
        assert [values[-3:] for values in results(name, given)] == [[11, -12, 13]] * len(written(name))
        assert [values[:-3] for values in results(name, given)] == results(name, plain)

    @pytest.mark.parametrize("name", FUNCTIONS)
    def test_refuses_wrong_arrays(self, name):
        for parameter, array in PROTOTYPES[name].items():
            good = arguments(name)[parameter]
            other = np.int16 if array.dtype == np.int8 else np.int8
            for bad in (good.astype(other), good.astype(np.uint8), good.astype(float), good.tolist(), None, 3, b"abc"):
                with pytest.raises(DtypeError, match=rf"^{name}: {parameter}: expected .*{array.dtype}.*, got "):
                    call(name, arguments(name) | {parameter: bad})
            if array.dtype == np.int16:
                with pytest.raises(DtypeError, match=f"{parameter}: expected int16 elements, got >i2"):
                    call(name, arguments(name) | {parameter: good.astype(">i2")})

    @pytest.mark.parametrize(("name", "profile"), COMPUTING_RUNS)
    def test_refuses_arrays_that_are_too_small(self, name, profile):
        for parameter in PROTOTYPES[name]:
            given = arguments(name)
            size = given[parameter].size
            given[parameter] = given[parameter][:-1].copy()
            before = results(name, given)
            with pytest.raises(ShapeError, match=rf"{name}: {parameter}: expected at least {size} .*, got {size - 1}$"):
                call(name, given, profile)
            assert results(name, given) == before

    @pytest.mark.parametrize("name", FUNCTIONS)
    def test_refuses_wrong_numbers(self, name):
        for parameter in numbers(name):
            low, high = {"blockSize": (0, 2**32 - 1), "type": (-(2**31), 2**31 - 1)}.get(parameter, (0, 65535))
            for bad in (low - 1, high + 1, 1.0, True, "3", None, np.int8([1])):
                with pytest.raises(ValueError, match=f"^{name}: {parameter}: expected "):
                    call(name, arguments(name) | {parameter: bad})

    @pytest.mark.parametrize("name", FUNCTIONS)
    def test_refuses_wrong_profiles_and_scratch(self, name):
        for bad in ("m7", None, 0, ["dsp"], np.array(["dsp", "scalar"])):
            with pytest.raises(ValueError, match="profile: expected 'dsp' or 'scalar', got "):
                call(name, arguments(name), bad)
        for parameter in set(SCRATCH) & set(arguments(name)):
            with pytest.raises(DtypeError, match=f"{parameter}: expected an array or None"):
                call(name, arguments(name) | {parameter: 6})

    @pytest.mark.parametrize("name", FUNCTIONS)
    def test_refuses_read_only_outputs(self, name):
        for parameter in written(name):
            given = arguments(name)
            given[parameter].flags.writeable = False
            with pytest.raises(ValueError, match=f"{parameter}: .*writable.* read-only"):
                call(name, given)

    @pytest.mark.parametrize(("name", "profile"), COMPUTING_RUNS)
    def test_input_and_output_may_overlap(self, name, profile):
        """Every pair of an input and an output in the same memory, at three distances."""
        pairs = [(source, target) for source in PROTOTYPES[name] for target in written(name)]
        for source, target in pairs:
            array, other = PROTOTYPES[name][source], PROTOTYPES[name][target]
            if array.role != "output" and other.role == "output" and array.dtype == other.dtype:
                for distance in (0, 1, 5):
                    plain, given = arguments(name), arguments(name)
                    memory = np.zeros(given[source].size + given[target].size + distance, array.dtype)
                    memory[distance : distance + given[source].size] = given[source]
                    given[source] = memory[distance : distance + given[source].size]
                    given[target] = memory[: given[target].size]
                    call(name, plain, profile)
                    call(name, given, profile)
                    assert given[target].tolist() == plain[target].tolist()

    @pytest.mark.parametrize(("name", "profile"), RUNS)
    def test_threads_give_the_same_bytes(self, name, profile):
        plain = arguments(name)
        call(name, plain, profile)
        calls = [arguments(name) for _ in range(8)]
        barrier = threading.Barrier(8)

        def run(given):
            barrier.wait()
            call(name, given, profile)

        threads = [threading.Thread(target=run, args=(given,)) for given in calls]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [results(name, given) for given in calls] == [results(name, plain)] * 8


def strided(array):
    memory = np.full(3 * array.size + 3, 33, array.dtype)
    view = memory[1::3][: array.size]
    view[:] = array
    return view


def reversed_(array):
    return array[::-1].copy()[::-1]


def misaligned(array):
    memory = np.zeros(array.nbytes + 1, np.uint8)
    view = memory[1:].view(array.dtype)
    view[:] = array
    return view


def two_dimensional(array):
    return np.asfortranarray(array.reshape(2, -1)) if array.size % 2 == 0 else array.reshape(1, -1)


def side(name: str, axis: str = "_x", **values: int) -> dict[str, int]:
    """Geometry under Arm's argument names: of both axes, or of one where the function tells them apart."""
    suffix = axis if "nonsquare" in name else ""
    names = {"size": "dim_im_in", "kernel": "dim_kernel", "padding": "padding", "stride": "stride", "out": "dim_im_out"}
    return {names[key] + suffix: value for key, value in values.items()}


def convolution_model(name: str, given: dict) -> list[int]:
    """What a convolution means, under Arm's argument names."""
    y, x = ("_y", "_x") if "nonsquare" in name else ("", "")
    channels, outputs = given["ch_im_in"], given["ch_im_out"]
    return (
        arm.convolve(
            given["Im_in"].reshape(given["dim_im_in" + y], given["dim_im_in" + x], channels),
            given["wt"].reshape(outputs, given["dim_kernel" + y], given["dim_kernel" + x], channels),
            given["bias"],
            stride=(given["stride" + y], given["stride" + x]),
            padding=(given["padding" + y], given["padding" + x]),
            bias_shift=given["bias_shift"],
            out_shift=given["out_shift"],
            output_size=(given["dim_im_out" + y], given["dim_im_out" + x]),
        )
        .ravel()
        .tolist()
    )


def check_scalar(name: str, given: dict, expected: list[int] | None = None) -> None:
    """The scalar profile computes the call, and what it gives is the convolution."""
    given = given | {"Im_out": np.full_like(given["Im_out"], 77)}
    assert call(name, given, "scalar") == 0
    assert given["Im_out"].tolist() == convolution_model(name, given)
    assert expected is None or expected == given["Im_out"].tolist()


class TestZeroSizes:
    """No function checks for zeros: sums without terms leave the bias, outputs without elements leave everything."""

    @pytest.mark.parametrize("profile", PROFILES)
    @pytest.mark.parametrize("zero", ["dim_im_in", "ch_im_in", "dim_kernel", "stride", "dim_im_out", "ch_im_out"])
    @pytest.mark.parametrize("name", ["arm_convolve_HWC_q7_basic", "arm_convolve_HWC_q15_basic"])
    def test_convolution(self, name, zero, profile):
        given = arguments(name, **{zero: 0})
        assert call(name, given, profile) == 0
        assert given["Im_out"].tolist() == convolution_model(name, given)

    @pytest.mark.parametrize("profile", PROFILES)
    @pytest.mark.parametrize("zero", ["dim_im_in", "dim_kernel", "dim_im_out"])
    def test_depthwise(self, zero, profile):
        given = arguments("arm_depthwise_separable_conv_HWC_q7", **{zero: 0})
        assert call("arm_depthwise_separable_conv_HWC_q7", given, profile) == 0
        of_bias = [arm.requantize(bias, 0, 2, 5, 8) for bias in given["bias"].tolist()]
        assert given["Im_out"].tolist() == of_bias * (given["dim_im_out"] ** 2)

    @pytest.mark.parametrize("profile", PROFILES)
    def test_depthwise_without_channels(self, profile):
        given = arguments("arm_depthwise_separable_conv_HWC_q7", ch_im_in=0, ch_im_out=0)
        assert call("arm_depthwise_separable_conv_HWC_q7", given, profile) == 0

    @pytest.mark.parametrize("name", [name for name in FUNCTIONS if "fully" in name])
    @pytest.mark.parametrize(("zero", "rows"), [("dim_vec", 6), ("num_of_rows", 0)])
    def test_fully_connected(self, name, zero, rows):
        given = arguments(name, **{zero: 0})
        assert call(name, given) == 0
        bits = 8 * given["pOut"].itemsize
        assert given["pOut"].tolist() == [arm.requantize(bias, 0, 2, 5, bits) for bias in given["bias"].tolist()][:rows]

    @pytest.mark.parametrize("profile", PROFILES)
    @pytest.mark.parametrize("zero", ["dim_im_out", "ch_im_in"])
    @pytest.mark.parametrize("name", POOLS)
    def test_pooling(self, name, zero, profile):
        given = arguments(name, **{zero: 0})
        before = given["Im_in"].tolist()
        assert call(name, given, profile) is None
        assert given["Im_in"].tolist() == before

    @pytest.mark.parametrize("name", [name for name in FUNCTIONS if not {"bias", "Im_in"} & set(PROTOTYPES[name])])
    def test_elementwise(self, name):
        (zero,) = {"size", "blockSize", "dim_vec"} & set(numbers(name))
        given = arguments(name) | {zero: 0}
        before = results(name, given)
        assert call(name, given) is None
        assert results(name, given) == before


class TestDomain:
    @pytest.mark.parametrize("axis", ["_x", "_y"])
    @pytest.mark.parametrize("name", Q7_FAST)
    @pytest.mark.parametrize(
        ("geometry", "rule"),
        [
            ({"size": 8, "kernel": 3, "padding": 0, "stride": 2, "out": 4}, r"stride - padding \+ kernel <= input"),
            ({"size": 6, "kernel": 3, "padding": 1, "stride": 1, "out": 7}, r"stride - padding \+ kernel <= input"),
            ({"size": 6, "kernel": 4, "padding": 1, "stride": 1, "out": 6}, r"stride - padding \+ kernel <= input"),
            ({"size": 3, "kernel": 5, "padding": 2, "stride": 4, "out": 1}, "output >= padding"),
            ({"size": 6, "kernel": 7, "padding": 3, "stride": 4, "out": 2}, "output >= padding"),
        ],
    )
    def test_q7_fast_windows(self, name, axis, geometry, rule):
        given = arguments(name, **side(name, axis, **geometry))
        with pytest.raises(DomainError, match=f"^{name}: .*{rule}.*; use arm_convolve_HWC_q7_basic"):
            call(name, given)
        assert results(name, given) == [[77] * given["Im_out"].size]
        check_scalar(name, given)

    @pytest.mark.parametrize("name", Q7_FAST)
    @pytest.mark.parametrize(
        "geometry",
        [
            {"size": 7, "kernel": 3, "padding": 0, "stride": 2, "out": 3},
            {"size": 8, "kernel": 3, "padding": 0, "stride": 2, "out": 3},
            {"size": 8, "kernel": 3, "padding": 1, "stride": 2, "out": 4},
            {"size": 8, "kernel": 3, "padding": 1, "stride": 2, "out": 2},
            {"size": 4, "kernel": 5, "padding": 2, "stride": 1, "out": 4},
            {"size": 2, "kernel": 3, "padding": 1, "stride": 2, "out": 1},
        ],
    )
    def test_q7_fast_takes_the_rest(self, name, geometry):
        given = arguments(name, **side(name, "_x", **geometry))
        assert call(name, given) == 0
        check_scalar(name, given, given["Im_out"].tolist())

    @pytest.mark.parametrize("out", [1, 3, 5])
    @pytest.mark.parametrize("name", Q15_FAST)
    def test_q15_fast_odd_width(self, name, out):
        given = arguments(name, **side(name, "_x", out=out))
        with pytest.raises(DomainError, match=f"^{name}: .*width is even, got {out}; use arm_convolve_HWC_q15_basic"):
            call(name, given)
        assert results(name, given) == [[77] * given["Im_out"].size]
        check_scalar(name, given)

    def test_q15_fast_odd_height(self):
        given = arguments(Q15_FAST[1], dim_im_out_y=5)
        assert call(Q15_FAST[1], given) == 0
        check_scalar(Q15_FAST[1], given, given["Im_out"].tolist())

    @pytest.mark.parametrize("axis", ["_x", "_y"])
    def test_1x1_larger_output(self, axis):
        given = arguments(POINTWISE, **side(POINTWISE, axis, out=8))
        with pytest.raises(
            DomainError, match=f"output <= input, got 8 > 6 along {axis[1]}; use arm_convolve_HWC_q7_basic"
        ):
            call(POINTWISE, given)
        assert results(POINTWISE, given) == [[77] * given["Im_out"].size]
        check_scalar(POINTWISE, given)

    def test_1x1_smaller_output_is_the_top_left(self):
        given = arguments(POINTWISE, dim_im_out_x=2, dim_im_out_y=5)
        assert call(POINTWISE, given) == 0
        check_scalar(POINTWISE, given, given["Im_out"].tolist())

    @pytest.mark.parametrize("name", POOLS)
    @pytest.mark.parametrize(
        ("geometry", "rule"),
        [
            ({"dim_im_in": 3, "dim_kernel": 3, "padding": 2, "stride": 1, "dim_im_out": 5}, "dim_im_out <= dim_im_in"),
            ({"dim_im_in": 6, "dim_kernel": 2, "padding": 2, "stride": 2, "dim_im_out": 3}, "dim_kernel > padding"),
            ({"dim_im_in": 6, "dim_kernel": 2, "padding": 3, "stride": 2, "dim_im_out": 3}, "dim_kernel > padding"),
            (
                {"dim_im_in": 6, "dim_kernel": 2, "padding": 0, "stride": 3, "dim_im_out": 3},
                "stride - padding < dim_im_in",
            ),
            (
                {"dim_im_in": 6, "dim_kernel": 2, "padding": 0, "stride": 2, "dim_im_out": 5},
                "stride - padding < dim_im_in",
            ),
        ],
    )
    def test_pooling(self, name, geometry, rule):
        given = arguments(name, **geometry)
        before = results(name, given)
        with pytest.raises(DomainError, match=f"^{name}: .*{rule}.*; use profile='scalar' or cmsisnn_x"):
            call(name, given)
        assert results(name, given) == before
        call(name, given, "scalar")
        image = given["Im_in"].reshape(geometry["dim_im_in"], geometry["dim_im_in"], -1)
        model = arm.pool_clipped(image, *list(geometry.values())[1:], average="ave" in name)
        assert given["Im_out"].tolist() == model.ravel().tolist()

    def test_reordered_matrix_kernel_with_odd_rows(self):
        given = arguments("arm_nn_mat_mult_kernel_q7_q15_reordered", ch_im_out=3)
        with pytest.raises(DomainError, match="even ch_im_out, got 3; use arm_nn_mat_mult_kernel_q7_q15 "):
            call("arm_nn_mat_mult_kernel_q7_q15_reordered", given)
        assert given["pOut"].tolist() == [77] * 6
        assert call("arm_nn_mat_mult_kernel_q7_q15_reordered", given, "scalar") is None

    @pytest.mark.parametrize("profile", PROFILES)
    @pytest.mark.parametrize("name", ["arm_softmax_q7", "arm_softmax_q15"])
    def test_softmax_that_never_ends(self, name, profile):
        given = arguments(name, dim_vec=32768)
        with pytest.raises(DomainError, match="dim_vec: expected at most 32767, got 32768"):
            call(name, given, profile)
        assert given["p_out"].tolist() == [77] * 32768


class TestStatus:
    MISMATCHES = (
        *[
            (name, changes)
            for name in (*Q7_FAST, POINTWISE)
            for changes in ({"ch_im_in": 6}, {"ch_im_out": 3}, {"ch_im_in": 1})
        ],
        *[(name, changes) for name in Q15_FAST for changes in ({"ch_im_in": 3}, {"ch_im_out": 5})],
        *[
            (POINTWISE, {key: 2})
            for key in ("dim_kernel_x", "dim_kernel_y", "padding_x", "padding_y", "stride_x", "stride_y")
        ],
        *[(POINTWISE, {key: 0}) for key in ("dim_kernel_x", "dim_kernel_y", "stride_x", "stride_y")],
        *[("arm_convolve_HWC_q7_RGB", {"ch_im_in": channels}) for channels in (0, 1, 4, 6)],
        *[
            (f"arm_depthwise_separable_conv_HWC_q7{suffix}", {"ch_im_out": channels})
            for suffix in ("", "_nonsquare")
            for channels in (2, 8, 0)
        ],
    )

    @pytest.mark.parametrize("profile", PROFILES)
    @pytest.mark.parametrize(("name", "changes"), MISMATCHES)
    def test_mismatch_leaves_the_output(self, name, changes, profile):
        given = arguments(name, **changes)
        assert call(name, given, profile) == cmsis.ARM_MATH_SIZE_MISMATCH == -3
        assert given["Im_out"].tolist() == [77] * given["Im_out"].size

    @pytest.mark.parametrize(("name", "changes"), MISMATCHES)
    def test_mismatch_comes_before_everything_that_depends_on_sizes(self, name, changes):
        """Small arrays and the limits of the dsp code do not matter: Arm's code returns before it touches an array."""
        bad = side(name, "_x", out=65535) | side(name, "_y", out=65535)
        given = arguments(name, **changes) | bad
        for parameter in PROTOTYPES[name]:
            given[parameter] = given[parameter][:0]
        assert call(name, given) == -3

    @pytest.mark.parametrize("name", [name for name in FUNCTIONS if "conv" in name or "fully" in name])
    def test_success_is_zero(self, name):
        assert call(name, arguments(name)) == cmsis.ARM_MATH_SUCCESS == 0

    @pytest.mark.parametrize("channels", [1, 2, 3, 5, 7])
    @pytest.mark.parametrize("suffix", ["", "_nonsquare"])
    def test_depthwise_takes_any_channel_count(self, suffix, channels):
        name = f"arm_depthwise_separable_conv_HWC_q7{suffix}"
        assert call(name, arguments(name, ch_im_in=channels, ch_im_out=channels)) == 0
