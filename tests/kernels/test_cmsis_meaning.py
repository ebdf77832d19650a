# SPDX-License-Identifier: Apache-2.0
"""Where Arm's code is sound, both of its implementations give what the layer means, as the public functions do."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import cmsisnn_x
from cmsisnn_x import cmsis
from helpers import arm
from helpers.samples import one_in

PROFILES = ("dsp", "scalar")
SHIFT = st.integers(0, 31) | st.sampled_from([0, 1, 7, 9, 31])
# function -> (multiple of input channels, of output channels, has one side only)
CONVOLUTIONS = {
    "arm_convolve_HWC_q7_basic": (1, 1, True),
    "arm_convolve_HWC_q7_basic_nonsquare": (1, 1, False),
    "arm_convolve_HWC_q7_fast": (4, 2, True),
    "arm_convolve_HWC_q7_fast_nonsquare": (4, 2, False),
    "arm_convolve_1x1_HWC_q7_fast_nonsquare": (4, 2, False),
    "arm_convolve_HWC_q7_RGB": (3, 1, True),
    "arm_convolve_HWC_q15_basic": (1, 1, True),
    "arm_convolve_HWC_q15_fast": (2, 2, True),
    "arm_convolve_HWC_q15_fast_nonsquare": (2, 2, False),
    "arm_depthwise_separable_conv_HWC_q7": (1, 1, True),
    "arm_depthwise_separable_conv_HWC_q7_nonsquare": (1, 1, False),
}


def arrays(draw, shape, dtype):
    limits = np.iinfo(dtype)
    ends = st.sampled_from([limits.min, limits.max, -1, 0, 1])
    return draw(hnp.arrays(dtype, shape, elements=st.integers(limits.min, limits.max) | ends))


@st.composite
def axes(draw, *, pointwise: bool):
    """One axis of a convolution with the floor output size: (in, kernel, padding, stride, out)."""
    if pointwise:
        size = draw(st.integers(1, 6))
        return size, 1, 0, 1, size
    kernel, stride = draw(st.integers(1, 5)), draw(st.integers(1, 3))
    padding = draw(st.integers(0, kernel - 1))
    size = draw(st.integers(max(1, kernel - 2 * padding), 8))
    return size, kernel, padding, stride, (size + 2 * padding - kernel) // stride + 1


@st.composite
def convolutions(draw, function: str):
    """Arguments of one convolution inside the domain of its dsp code, and the keywords of the public function."""
    in_multiple, out_multiple, square = CONVOLUTIONS[function]
    pointwise, depthwise = "1x1" in function, "depthwise" in function
    x_axis = draw(axes(pointwise=pointwise))
    y_axis = x_axis if square else draw(axes(pointwise=pointwise))
    if "q15_fast" in function and x_axis[4] % 2:
        x_axis = (*x_axis[:4], x_axis[4] - 1) if x_axis[4] > 1 else (2, 1, 0, 1, 2)
        y_axis = x_axis if square else y_axis
    if "q7_fast" in function and not pointwise:
        x_axis, y_axis = ((4, 1, 0, 1, 4) if a[4] < a[2] else a for a in (x_axis, y_axis))
    in_ch = 3 if "RGB" in function else in_multiple * draw(st.integers(1, 3))
    out_ch = in_ch if depthwise else out_multiple * draw(st.integers(1, 3))
    dtype = np.int16 if "q15" in function else np.int8
    (height, kernel_h, *y_rest), (width, kernel_w, *x_rest) = y_axis, x_axis
    x = arrays(draw, (height, width, in_ch), dtype)
    weights = arrays(draw, (kernel_h, kernel_w, in_ch) if depthwise else (out_ch, kernel_h, kernel_w, in_ch), dtype)
    bias = arrays(draw, out_ch, dtype)
    bias_shift, out_shift = draw(SHIFT), draw(SHIFT)
    sides = [(width,), (kernel_w,), *((x_,) for x_ in x_rest)]
    if not square:
        sides = [(width, height), (kernel_w, kernel_h), *zip(x_rest, y_rest, strict=True)]
    size, kernel, padding, stride, out = sides
    legacy = (
        [x.ravel(), *size, in_ch, weights.ravel(), out_ch, *kernel, *padding, *stride, bias, bias_shift, out_shift],
        [*out, None, None],
    )
    keywords = {
        "padding": (y_rest[0], x_rest[0]),
        "stride": (y_rest[1], x_rest[1]),
        "bias_shift": bias_shift,
        "out_shift": out_shift,
    }
    return legacy, (x, weights, bias), keywords, (y_rest[2], x_rest[2], out_ch)


@pytest.mark.parametrize("function", one_in(2, CONVOLUTIONS))
@given(data=st.data())
def test_convolutions(function, data):
    (before, after), (x, weights, bias), keywords, shape = data.draw(convolutions(function))
    operation = cmsisnn_x.depthwise_convolve if "depthwise" in function else cmsisnn_x.convolve
    expected = operation(x, weights, bias, **keywords, output_size=shape[:2])
    assert expected.shape == shape
    for profile in PROFILES:
        out = np.full(expected.size, 77, x.dtype)
        assert getattr(cmsis, function)(*before, out, *after, profile=profile) == 0
        assert out.tolist() == expected.ravel().tolist()
    if weights.ndim == 4:
        assert expected.tolist() == arm.convolve(x, weights, bias, **keywords, output_size=shape[:2]).tolist()


@pytest.mark.parametrize(
    ("function", "x_dtype", "w_dtype"),
    [
        ("arm_fully_connected_q7", np.int8, np.int8),
        ("arm_fully_connected_q15", np.int16, np.int16),
        ("arm_fully_connected_mat_q7_vec_q15", np.int16, np.int8),
    ],
)
@given(rows=st.integers(1, 11), depth=st.integers(1, 11), bias_shift=SHIFT, out_shift=SHIFT, data=st.data())
def test_fully_connected(function, x_dtype, w_dtype, rows, depth, bias_shift, out_shift, data):
    x, weights, bias = (
        arrays(data.draw, shape, dtype)
        for shape, dtype in ((depth, x_dtype), ((rows, depth), w_dtype), (rows, w_dtype))
    )
    expected = cmsisnn_x.fully_connected(x, weights, bias, bias_shift=bias_shift, out_shift=out_shift)
    products = [sum(a * b for a, b in zip(x.tolist(), row, strict=True)) for row in weights.tolist()]
    bits = 8 * x.itemsize
    model = [arm.requantize(b, p, bias_shift, out_shift, bits) for b, p in zip(bias.tolist(), products, strict=True)]
    assert expected.tolist() == model
    streams = {function: weights.ravel(), function + "_opt": cmsisnn_x.pack_fully_connected(weights, x_dtype)}
    for name, stream in streams.items():
        for profile in PROFILES:
            out = np.full(rows, 77, x_dtype)
            assert (
                getattr(cmsis, name)(x, stream, depth, rows, bias_shift, out_shift, bias, out, None, profile=profile)
                == 0
            )
            assert out.tolist() == expected.tolist()


@st.composite
def pools(draw):
    kernel, stride = draw(st.integers(1, 5)), draw(st.integers(1, 4))
    padding = draw(st.integers(0, min(kernel, stride) - 1))
    size = draw(st.integers(max(1, kernel - 2 * padding), 9))
    out = min(size, (size + 2 * padding - kernel) // stride + 1)
    return arrays(draw, (size, size, draw(st.integers(1, 9))), np.int8), kernel, padding, stride, out


@given(pools())
def test_max_pool(geometry):
    image, kernel, padding, stride, out_size = geometry
    size, _, channels = image.shape
    expected = cmsisnn_x.max_pool(image, kernel, stride=stride, padding=padding, output_size=out_size)
    for profile in PROFILES if channels % 4 == 0 else ("scalar",):
        out = np.full(expected.size, 77, np.int8)
        cmsis.arm_maxpool_q7_HWC(
            image.ravel().copy(), size, channels, kernel, padding, stride, out_size, None, out, profile=profile
        )
        assert out.tolist() == expected.ravel().tolist()


@given(pools())
def test_avg_pool_scalar_is_the_average_and_dsp_at_most_one_off(geometry):
    image, kernel, padding, stride, out_size = geometry
    size, _, channels = image.shape
    expected = cmsisnn_x.avg_pool(image, kernel, stride=stride, padding=padding, output_size=out_size)
    results = {}
    for profile in PROFILES:
        out = np.full(expected.size, 77, np.int8)
        cmsis.arm_avepool_q7_HWC(
            image.ravel().copy(), size, channels, kernel, padding, stride, out_size, None, out, profile=profile
        )
        results[profile] = out.astype(int)
    assert results["scalar"].tolist() == expected.ravel().tolist()
    assert np.abs(results["dsp"] - results["scalar"]).max() <= 1


@pytest.mark.parametrize("dtype", [np.int8, np.int16])
@given(data=st.data())
def test_elementwise(dtype, data):
    q = "q7" if dtype == np.int8 else "q15"
    a, b = (arrays(data.draw, n, dtype) for n in [data.draw(st.integers(1, 20))] * 2)
    out_shift, int_bits = data.draw(SHIFT), data.draw(st.integers(0, 3))
    for profile in PROFILES:
        out = np.full(a.size, 77, dtype)
        getattr(cmsis, f"arm_nn_mult_{q}")(a, b, out, out_shift, a.size, profile=profile)
        assert out.tolist() == cmsisnn_x.multiply(a, b, out_shift=out_shift).tolist()
        getattr(cmsis, f"arm_softmax_{q}")(a, a.size, out, profile=profile)
        assert out.tolist() == cmsisnn_x.softmax(a).tolist()
        out = a.copy()
        getattr(cmsis, f"arm_relu_{q}")(out, out.size, profile=profile)
        assert out.tolist() == cmsisnn_x.relu(a).tolist()
        # Of q15 only what release 5.4.0 gets right: no negative input, and not the segment before 8.0.
        sound = a if dtype == np.int8 else a[(a >= 0) & ((a < 127 * 256) | (int_bits < 3))]
        for type_, operation in enumerate((cmsisnn_x.sigmoid, cmsisnn_x.tanh)):
            out = sound.copy()
            getattr(cmsis, f"arm_nn_activations_direct_{q}")(out, out.size, int_bits, type_, profile=profile)
            if sound.size:
                assert out.tolist() == operation(sound, int_bits).tolist()


@given(hnp.arrays(np.int8, st.integers(1, 20)))
def test_widening(x):
    for suffix, reorder in (("", False), ("_reordered", True)):
        out = np.full(x.size, 77, np.int16)
        getattr(cmsis, f"arm_q7_to_q15{suffix}_no_shift")(x, out, x.size)
        assert out.tolist() == cmsisnn_x.q7_to_q15(x, reorder=reorder).tolist()
