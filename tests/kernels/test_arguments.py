# SPDX-License-Identifier: Apache-2.0
"""What callers pass: legal forms give the right result, all else a ValueError that names the argument."""

import random
import reprlib

import numpy as np
import pytest

import cmsisnn_x
from cmsisnn_x import Variant
from cmsisnn_x.errors import CmsisnnError, DtypeError, ShapeError, ShiftError, VariantError
from cmsisnn_x.op import OPS
from helpers.arrays import assert_bit_exact, poisoned, random_array

RNG = np.random.default_rng(12)
IMAGE = random_array(RNG, (6, 7, 4), np.int8)
KERNELS = random_array(RNG, (4, 3, 3, 4), np.int8)
TAPS = random_array(RNG, (3, 3, 4), np.int8)
BIAS = random_array(RNG, (4,), np.int8)
MATRIX = random_array(RNG, (5, 168), np.int8)

# Every operation on an int8 image, as a function of (x, out).
CALLS = {
    "convolve": lambda x, out=None: cmsisnn_x.convolve(x, KERNELS, BIAS, padding=1, out_shift=8, out=out),
    "convolve_variant": lambda x, out=None: cmsisnn_x.convolve(
        x, KERNELS, BIAS, padding=1, out_shift=8, variant=Variant(), out=out
    ),
    "depthwise_convolve": lambda x, out=None: cmsisnn_x.depthwise_convolve(
        x, TAPS, BIAS, padding=1, out_shift=6, out=out
    ),
    "depthwise_convolve_variant": lambda x, out=None: cmsisnn_x.depthwise_convolve(
        x, TAPS, BIAS, padding=1, out_shift=6, variant=Variant(), out=out
    ),
    "fully_connected": lambda x, out=None: cmsisnn_x.fully_connected(x, MATRIX, out_shift=9, out=out),
    "fully_connected_variant": lambda x, out=None: cmsisnn_x.fully_connected(
        x, MATRIX, out_shift=9, variant=Variant(), out=out
    ),
    "max_pool": lambda x, out=None: cmsisnn_x.max_pool(x, 3, stride=1, padding=1, out=out),
    "avg_pool": lambda x, out=None: cmsisnn_x.avg_pool(x, 3, stride=1, padding=1, out=out),
    "relu": lambda x, out=None: cmsisnn_x.relu(x, out=out),
    "sigmoid": lambda x, out=None: cmsisnn_x.sigmoid(x, 2, out=out),
    "tanh": lambda x, out=None: cmsisnn_x.tanh(x, 1, out=out),
    "softmax": lambda x, out=None: cmsisnn_x.softmax(x, out=out),
    "multiply": lambda x, out=None: cmsisnn_x.multiply(x, x, out_shift=7, out=out),
}
every_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
same_shape = pytest.mark.parametrize("name", [name for name in CALLS if not name.startswith("fully")])


def test_every_operation_is_called_here():
    names = {row.name for row in OPS.values() if row.is_pow2}
    assert names <= CALLS.keys()
    assert names <= SIGNATURES.keys()


@every_call
def test_strided_fortran_unaligned_and_read_only_inputs_give_the_same(call):
    expected = call(IMAGE)
    wide = np.zeros((12, 7, 8), np.int8)
    wide[::2, ::-1, ::2] = IMAGE
    frozen = IMAGE.copy()
    frozen.flags.writeable = False
    for x in (wide[::2, ::-1, ::2], np.asfortranarray(IMAGE), frozen, np.ma.array(IMAGE), IMAGE.tolist()):
        if isinstance(x, list):
            with pytest.raises(DtypeError, match=r"int64"):
                call(x)
        else:
            assert_bit_exact(call(x), expected)


def test_unaligned_q15_input_and_output():
    memory = np.zeros(2 * IMAGE.size + 1, np.uint8)
    x = memory[1:].view(np.int16).reshape(IMAGE.shape)
    x[...] = IMAGE
    out = np.zeros(2 * IMAGE.size + 1, np.uint8)[1:].view(np.int16).reshape(IMAGE.shape)
    aligned = IMAGE.astype(np.int16)
    for name in [row.name for row in OPS.values() if row.is_pow2 and not row.is_weighted]:
        assert CALLS[name](x, out=out) is out
        assert_bit_exact(out, CALLS[name](aligned), name)


@every_call
def test_out_is_filled_and_returned_whatever_its_layout(call):
    expected = call(IMAGE)
    plain = poisoned(expected.shape, np.int8)
    assert call(IMAGE, out=plain) is plain
    assert_bit_exact(plain, expected)
    memory = poisoned((*expected.shape[:-1], 2 * expected.shape[-1]), np.int8)
    strided = memory[..., ::2]
    assert call(IMAGE, out=strided) is strided
    assert_bit_exact(strided, expected)
    assert (memory[..., 1::2] == 0x5B).all()


@same_shape
def test_out_may_be_the_input_or_overlap_it(name):
    call = CALLS[name]
    expected = call(IMAGE)
    x = IMAGE.copy()
    assert_bit_exact(call(x, out=x), expected, "in place")
    for offset in (-28, -5, -1, 1, 4, 28):
        memory = np.zeros(IMAGE.size + 64, np.int8)
        x = memory[32 : 32 + IMAGE.size].reshape(IMAGE.shape)
        x[...] = IMAGE
        out = memory[32 + offset : 32 + offset + IMAGE.size].reshape(IMAGE.shape)
        assert_bit_exact(call(x, out=out), expected, f"offset {offset}")


def test_out_may_overlap_weights_and_bias():
    expected = CALLS["convolve"](IMAGE)
    for variant in (None, Variant()):
        weights = KERNELS.copy()
        memory = np.zeros(expected.size, np.int8)
        memory[:4] = BIAS
        out = memory.reshape(expected.shape)
        cmsisnn_x.convolve(IMAGE, weights, memory[:4], padding=1, out_shift=8, variant=variant, out=out)
        assert_bit_exact(out, expected)
        memory = np.zeros(expected.size, np.int8)
        memory[:144] = weights.reshape(-1)
        out = memory.reshape(expected.shape)
        cmsisnn_x.convolve(
            IMAGE, memory[:144].reshape(weights.shape), BIAS, padding=1, out_shift=8, variant=variant, out=out
        )
        assert_bit_exact(out, expected)


@every_call
@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (lambda shape: np.zeros((1, *shape), np.int8), ShapeError),
        (lambda shape: np.zeros(shape, np.int16), DtypeError),
        (lambda shape: np.zeros(shape, np.int8).tolist(), ShapeError),
        (lambda shape: np.broadcast_to(np.int8(0), shape), CmsisnnError),
    ],
    ids=["shape", "dtype", "list", "read-only"],
)
def test_a_wrong_out_is_refused(call, wrong, error):
    with pytest.raises(error, match=r"^out: expected .* got "):
        call(IMAGE, out=wrong(call(IMAGE).shape))


def test_integral_numbers_of_any_type_are_accepted():
    expected = cmsisnn_x.convolve(IMAGE, KERNELS, stride=(1, 2), padding=1, out_shift=7)
    for one, two in ((np.int64(1), np.uint8(2)), (1.0, np.float32(2)), (True, np.array(2))):
        result = cmsisnn_x.convolve(
            IMAGE, KERNELS, stride=(one, two), padding=one, bias_shift=one, out_shift=np.int16(7)
        )
        assert_bit_exact(result, expected)
    assert_bit_exact(cmsisnn_x.convolve(IMAGE, KERNELS, stride=np.array([1, 2]), padding=[1, 1], out_shift=7), expected)


def test_variant_of_numpy_integers_is_accepted():
    variant = Variant(unroll=np.int64(4), block_rows=np.int32(2), block_cols=np.int64(2), im2col_cols=np.int8(4))
    result = cmsisnn_x.convolve(IMAGE, KERNELS, out_shift=7, variant=variant)
    assert_bit_exact(result, cmsisnn_x.convolve(IMAGE, KERNELS, out_shift=7))


CONVOLVE = {"x": IMAGE, "weights": KERNELS, "bias": BIAS, "out_shift": 7}


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"x": IMAGE.astype(np.float32)}, DtypeError, "x: expected dtype int8 (q7) or int16 (q15), got float32"),
        ({"x": IMAGE.astype(">i2")}, DtypeError, "x: expected dtype int8 (q7) or int16 (q15), got >i2"),
        ({"x": IMAGE[0]}, ShapeError, "x: expected a non-empty (h, w, c) or (n, h, w, c), got shape (7, 4)"),
        ({"x": IMAGE[:0]}, ShapeError, "x: expected a non-empty (h, w, c) or (n, h, w, c), got shape (0, 7, 4)"),
        ({"x": IMAGE.astype(np.int16)}, DtypeError, "weights: expected dtype int16 (q15), got int8"),
        ({"weights": KERNELS[..., :3]}, ShapeError, "kernel_w, in_ch=4), got shape (4, 3, 3, 3)"),
        ({"weights": KERNELS[:0]}, ShapeError, "weights: expected a non-empty (out_ch, kernel_h"),
        ({"bias": BIAS[:3]}, ShapeError, "bias: expected shape (4,) = (output channels,), got (3,)"),
        ({"bias": BIAS.astype(np.int32)}, DtypeError, "bias: expected dtype int8 (q7), got int32"),
        ({"out_shift": 32}, ShiftError, "out_shift: expected an integer from 0 to 31, got 32"),
        ({"out_shift": -1}, ShiftError, "out_shift: expected an integer from 0 to 31, got -1"),
        ({"out_shift": 1.5}, ShiftError, "out_shift: expected an integer from 0 to 31, got 1.5"),
        ({"bias_shift": float("nan")}, ShiftError, "bias_shift: expected an integer from 0 to 31, got nan"),
        ({"bias_shift": "3"}, ShiftError, "bias_shift: expected an integer from 0 to 31, got '3'"),
        ({"stride": 0}, ShapeError, "stride: expected an integer from 1 to 65535, got 0"),
        ({"stride": (1, 2, 3)}, ShapeError, "stride: expected an int or (y, x), got (1, 2, 3)"),
        ({"padding": -1}, ShapeError, "padding: expected an integer from 0 to 65535, got -1"),
        ({"padding": "full"}, CmsisnnError, "padding: expected 'same' or 'valid', got 'full'"),
        ({"output_size": 0}, ShapeError, "output_size: expected an integer from 1 to 65535, got 0"),
        ({"output_size": 65535}, ShapeError, "at most 2147483647 elements a sample, got 65535 x 65535 x 4"),
        ({"padding": 65535}, ShapeError, "padding: expected an output of at most 2147483647 elements"),
        ({"activation": "tanh"}, CmsisnnError, "activation: expected None or 'relu', got 'tanh'"),
        ({"x": IMAGE[:2]}, ShapeError, "kernel: expected at most 2 along y, for the padded input, got 3"),
        ({"variant": "fast"}, VariantError, "variant: expected a cmsisnn_x.Variant or None, got 'fast'"),
        ({"variant": Variant(unroll=3)}, VariantError, "variant.unroll: expected one of (1, 2, 4, 8), got 3"),
        ({"variant": Variant(block_rows=4, block_cols=4)}, VariantError, "4x2, 2x3, 5x1, got 4x4"),
        ({"variant": Variant(im2col_cols=3)}, VariantError, "a multiple of block_cols=2 up to 16, got 3"),
        ({"variant": Variant(unroll=True)}, VariantError, "variant.unroll: expected an int, got True"),
        ({"variant": Variant(lowering="magic")}, VariantError, "variant.lowering: expected one of"),
    ],
)  # fmt: skip
def test_the_message_names_argument_expectation_and_value(change, error, message):
    with pytest.raises(error) as caught:
        cmsisnn_x.convolve(**(CONVOLVE | change))
    assert message in str(caught.value)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    "call",
    [
        lambda: cmsisnn_x.depthwise_convolve(IMAGE, TAPS[..., :3], out_shift=0),
        lambda: cmsisnn_x.depthwise_convolve(IMAGE, KERNELS, out_shift=0),
        lambda: cmsisnn_x.fully_connected(IMAGE, MATRIX[:, :-1], out_shift=0),
        lambda: cmsisnn_x.fully_connected(IMAGE, MATRIX.astype(np.int16), out_shift=0),
        lambda: cmsisnn_x.fully_connected(np.zeros((), np.int8), MATRIX, out_shift=0),
        lambda: cmsisnn_x.sigmoid(IMAGE, 4),
        lambda: cmsisnn_x.tanh(IMAGE, -1),
        lambda: cmsisnn_x.softmax(np.zeros(0, np.int8)),
        lambda: cmsisnn_x.softmax(np.zeros((2, 0), np.int8)),
        lambda: cmsisnn_x.multiply(IMAGE, IMAGE[0], out_shift=1),
        lambda: cmsisnn_x.multiply(IMAGE, IMAGE.astype(np.int16), out_shift=1),
        lambda: cmsisnn_x.q7_to_q15(IMAGE.astype(np.int16)),
        lambda: cmsisnn_x.relu(None),
        lambda: cmsisnn_x.relu([[1], [2, 3]]),
        lambda: cmsisnn_x.max_pool(IMAGE, "3"),
        lambda: cmsisnn_x.max_pool(IMAGE, 2, ceil_mode="yes"),
        lambda: cmsisnn_x.pack_fully_connected(MATRIX.astype(np.int16), "q7"),
        lambda: cmsisnn_x.pack_fully_connected(MATRIX, "q31"),
        lambda: cmsisnn_x.pack_fully_connected(MATRIX[0], "q7"),
        lambda: cmsisnn_x.unpack_fully_connected(MATRIX, 5, 167, "q7"),
        lambda: cmsisnn_x.variants("conv", "q7"),
        lambda: cmsisnn_x.variants("convolve", "q8"),
        lambda: cmsisnn_x.scratch_bytes("convolve", "q7", input_shape=(4,)),
        lambda: cmsisnn_x.scratch_bytes("max_pool", "q7", input_shape=(4, 4, 1), kernel=2, variant=Variant()),
    ],
)
def test_bad_arguments_raise_the_packages_own_error(call):
    with pytest.raises(CmsisnnError, match=r"expected .*got|expected None"):
        call()


@pytest.mark.parametrize("variant", [None, Variant()])
def test_a_batch_of_no_samples_gives_no_results(variant):
    none = np.zeros((0, 6, 7, 4), np.int8)
    assert cmsisnn_x.convolve(none, KERNELS, out_shift=0, variant=variant).shape == (0, 4, 5, 4)
    assert cmsisnn_x.depthwise_convolve(none, TAPS, out_shift=0, variant=variant).shape == (0, 4, 5, 4)
    assert cmsisnn_x.fully_connected(none, MATRIX, out_shift=0, variant=variant).shape == (0, 5)
    assert cmsisnn_x.max_pool(none, 2).shape == (0, 3, 3, 4)


WEIRD = [
    None, True, 0, -1, 1, 2, 3.5, 2.0, float("nan"), float("inf"), 10**30, -(10**30), "same", "valid", "", b"x", "relu",
    (), (1,), (1, 2), (2, -1), (1, 2, 3), [1, 1], [[1], [2, 3]], {}, {1, 2}, object(), range(3), np.int8,
    np.int64(1), np.float64(2), np.array(1), np.array([1, 1]), np.zeros(3), np.zeros((0,), np.int8),
    Variant(), Variant(8, 2, 4, 8), Variant(unroll=5), Variant(im2col_cols=0),
    np.zeros((3, 0, 2), np.int8), np.zeros((), np.int16), IMAGE, TAPS, KERNELS, BIAS, MATRIX, IMAGE.astype(np.int16),
    IMAGE[np.newaxis], KERNELS.astype(np.int16), TAPS[::-1, ::2], IMAGE.T,
    np.zeros((2, 3), "M8[s]"), np.zeros((2, 2, 1), [("a", "i1")]),
]  # fmt: skip

CONVOLUTION = "x weights bias stride padding bias_shift out_shift activation output_size variant out"
SIGNATURES = {
    "convolve": (CONVOLUTION, [IMAGE, KERNELS, BIAS]),
    "depthwise_convolve": (CONVOLUTION, [IMAGE, TAPS, BIAS]),
    "fully_connected": ("x weights bias bias_shift out_shift activation variant out", [IMAGE, MATRIX]),
    "max_pool": ("x kernel stride padding ceil_mode output_size out", [IMAGE, 3]),
    "avg_pool": ("x kernel stride padding ceil_mode output_size out", [IMAGE, 3]),
    "relu": ("x out", [IMAGE]),
    "sigmoid": ("x int_bits out", [IMAGE, 2]),
    "tanh": ("x int_bits out", [IMAGE, 2]),
    "softmax": ("x out", [IMAGE]),
    "multiply": ("a b out_shift out", [IMAGE, IMAGE]),
    "q7_to_q15": ("x reorder", [IMAGE]),
    "pack_fully_connected": ("weights x_dtype", [MATRIX, "q7"]),
    "unpack_fully_connected": ("packed rows cols x_dtype", [MATRIX, 5, 168, "q7"]),
    "scratch_bytes": (
        "op dtype input_shape out_channels kernel stride padding variant", ["convolve", "q7", (6, 7, 4)]
    ),
}  # fmt: skip
REQUIRED = {"out_shift": 7}


def test_random_calls_return_or_raise_value_error(full):
    rng = random.Random(20)
    outcomes = {"returned": 0, "refused": 0}
    for _ in range(100_000 if full else 40_000):
        name = rng.choice(list(SIGNATURES))
        names, good = SIGNATURES[name]
        names = names.split()
        arguments = dict(zip(names, good, strict=False)) | {k: v for k, v in REQUIRED.items() if k in names}
        for changed in rng.sample(names, rng.choice((1, 1, 2, 3)) if len(names) > 3 else 1):
            arguments[changed] = rng.choice(WEIRD)
        arguments = {k: v.copy() if isinstance(v, np.ndarray) else v for k, v in arguments.items()}
        try:
            getattr(cmsisnn_x, name)(**arguments)
            outcomes["returned"] += 1
        except CmsisnnError:
            outcomes["refused"] += 1
        except Exception as error:
            pytest.fail(f"{name}({reprlib.repr(arguments)}) raised {error!r}")
    assert min(outcomes.values()) > 1000, outcomes
