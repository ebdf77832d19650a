# SPDX-License-Identifier: Apache-2.0
"""Which calls of Arm's 31 functions do what the layer means: a row of rules per function, asked by the functions
themselves and by :func:`cmsisnn_x.cmsis.check`.

A rule takes the scalar arguments of a call and says in words what is wrong, or None.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

from .._arguments import SOFTMAX_MAX
from ._geometry import Geometry, Numbers, Pool

Rule = Callable[[Numbers], str | None]

C_RANGES = {"blockSize": (0, 2**32 - 1, "uint32_t"), "type": (-(2**31), 2**31 - 1, "enum")}
"""Legal values of the arguments that are no ``uint16_t``."""


def _never(n: Numbers) -> str | None:
    return None


def _none(n: Numbers) -> int:
    return 0


def _column(n: Numbers) -> int:
    """Elements of an im2col column: kernel height x width x input channels."""
    g = Geometry.of(n)
    return g.y.kernel * g.x.kernel * g.in_ch


@dataclass(frozen=True)
class Rules:
    """What a function checks (`mismatch`: status -3), and what it does not.

    `unsafe` names the calls under ``"dsp"`` that leave their arrays; `endless` those that do not return on any core.
    Under `signed_char` the scalar code keeps the input row and column in a signed byte. `wrong`, `wrong_dsp` and
    `wrong_scalar` name calls whose result is defined and not what the layer means; `faults` those that fault with some
    compilers; `notes` are conditions that no number shows. `scratch` is the bytes that the dsp code uses of its buffer.
    """

    mismatch: Rule = _never
    unsafe: Rule = _never
    endless: Rule = _never
    signed_char: bool = False
    depthwise: bool = False
    wrong: tuple[Rule, ...] = ()
    wrong_dsp: tuple[Rule, ...] = ()
    wrong_scalar: tuple[Rule, ...] = ()
    faults: tuple[Rule, ...] = ()
    notes: tuple[str, ...] = ()
    notes_dsp: tuple[str, ...] = ()
    scratch: Callable[[Numbers], int] = _none


_SAFE_Q7 = "use arm_convolve_HWC_q7_basic or its nonsquare form, profile='scalar' or cmsisnn_x.convolve"
_SAFE_POOL = "use profile='scalar' or cmsisnn_x.max_pool and avg_pool"


def _multiples(in_multiple: int, out_multiple: int) -> Rule:
    def rule(n: Numbers) -> str | None:
        for name, multiple in (("ch_im_in", in_multiple), ("ch_im_out", out_multiple)):
            if n[name] % multiple:
                return f"{name} must be {f'a multiple of {multiple}' if multiple > 2 else 'even'}, got {n[name]}"
        return None

    return rule


def _not_1x1(n: Numbers) -> str | None:
    g = Geometry.of(n)
    for a in (g.y, g.x):
        for name, expected, got in (("dim_kernel", 1, a.kernel), ("padding", 0, a.padding), ("stride", 1, a.stride)):
            if got != expected:
                return f"{name}_{a.name} must be {expected}, got {got}"
    return _multiples(4, 2)(n)


def _not_rgb(n: Numbers) -> str | None:
    return None if n["ch_im_in"] == 3 else f"ch_im_in must be 3, got {n['ch_im_in']}"


def _not_depthwise(n: Numbers) -> str | None:
    same = n["ch_im_in"] == n["ch_im_out"]
    return None if same else f"ch_im_in and ch_im_out must be equal, got {n['ch_im_in']} and {n['ch_im_out']}"


def _unchecked_windows(n: Numbers) -> str | None:
    """q7_fast: `padding` border outputs are written whatever the output size; those inside read without checks."""
    g = Geometry.of(n)
    for a in (g.y, g.x):
        if a.out < a.padding:
            return (
                f"the dsp kernel writes {a.padding} border outputs along {a.name} and needs "
                f"output >= padding, got an output of {a.out}; {_SAFE_Q7}"
            )
        end = (a.out - 1 - a.padding) * a.stride - a.padding + a.kernel
        if end > a.size:
            return (
                f"the dsp kernel reads up to position {end} along {a.name} of an input of {a.size}: needs "
                f"(output - 1 - padding) * stride - padding + kernel <= input; {_SAFE_Q7}"
            )
    return None


def _odd_width(n: Numbers) -> str | None:
    """q15_fast: pairs of pixels, without a tail: an odd width leaves a column in the buffer at the end of each row."""
    g = Geometry.of(n)
    if g.x.out % 2:
        return (
            "the dsp kernel loses pixels and overruns its scratch buffer unless the output width is even, "
            f"got {g.x.out}; use arm_convolve_HWC_q15_basic, profile='scalar' or cmsisnn_x.convolve"
        )
    return None


def _larger_output(n: Numbers) -> str | None:
    g = Geometry.of(n)
    for a in (g.y, g.x):
        if a.out > a.size:
            return (
                "the dsp kernel reads outside the image unless output <= input, "
                f"got {a.out} > {a.size} along {a.name}; {_SAFE_Q7}"
            )
    return None


def _bias_only(n: Numbers) -> str | None:
    g = Geometry.of(n)
    if g.y.out > g.y.size or g.x.out > g.x.size:
        return "outputs beyond the image are the bias alone"
    return None


def _signed_char(n: Numbers) -> str | None:
    """A coordinate from 128 to 255 becomes negative, which reads as padding; from 256 on it is another pixel's."""
    g = Geometry.of(n)
    for a in (g.y, g.x):
        if (a.end > 127 and a.size > 128) or a.end > 255 or a.padding > 128:
            return (
                f"the scalar kernel keeps coordinates in a signed byte: along {a.name} they go "
                f"from {-a.padding} to {a.end}, beyond -128..127; needs a side of at most 128, or profile 'dsp'"
            )
    return None


def _long_column(n: Numbers) -> str | None:
    if (length := _column(n)) > 65535:
        return f"a column of dim_kernel^2 * ch_im_in = {length} does not fit the 16-bit counter (at most 65535)"
    return None


def _long_side(n: Numbers) -> str | None:
    g = Geometry.of(n)
    side = max(g.y.size, g.x.size)
    return f"loop counters are int16_t: a side of {side} is beyond 32767" if side > 32767 else None


def _shifts(n: Numbers) -> str | None:
    for name in ("bias_shift", "out_shift"):
        if n.get(name, 0) > 31:
            return f"{name} {n[name]} is beyond 31, where a shift is undefined in C"
    return None


def _odd_pixels(n: Numbers) -> str | None:
    """Every tap is widened on its own: with an odd channel count every other one starts at half a word."""
    if n["ch_im_in"] % 2 and n["ch_im_in"] > 4:
        return (
            f"with {n['ch_im_in']} input channels arm_q7_to_q15_no_shift stores to addresses that are no multiple of "
            "4; GCC at -O2 and above pairs the stores into STRD, which faults there (releases before 5.7.0)"
        )
    return None


def _empty_windows(n: Numbers) -> str | None:
    """What makes the dsp code read or write beyond a row or the image."""
    g = Pool.of(n)
    if g.out > g.size:
        return (
            "the dsp kernel pools inside the input and needs dim_im_out <= dim_im_in, "
            f"got {g.out} > {g.size}; {_SAFE_POOL}"
        )
    if g.has_empty_window():
        if g.kernel <= g.padding:
            which = (
                f"the first ends at {g.kernel - g.padding}: needs dim_kernel > padding, got {g.kernel} <= {g.padding}"
            )
        else:
            which = f"the last starts at {g.last} of {g.size}: needs (dim_im_out - 1) * stride - padding < dim_im_in"
        return f"no window may lie wholly outside the image, but {which}; {_SAFE_POOL}"
    return None


def _max_of_nothing(n: Numbers) -> str | None:
    return "a window wholly outside the image gives 127" if Pool.of(n).has_empty_window() else None


def _mean_of_nothing(n: Numbers) -> str | None:
    return "a window wholly outside the image divides by zero" if Pool.of(n).has_empty_window() else None


def _pool_tail(n: Numbers) -> str | None:
    g = Pool.of(n)
    if g.channels % 4 and g.kernel > 1 and g.size > 1:
        return (
            f"only whole groups of four channels are compared: the last {g.channels % 4} of {g.channels} keep the "
            "first pixel of their window; needs ch_im_in a multiple of 4 (fixed in 5.6.0)"
        )
    return None


def _pool_overlap(n: Numbers) -> str | None:
    """The first pass pools each row inside itself, and takes a window that begins left of the image to begin at the
    pixel that it writes.
    """
    g = Pool.of(n)
    right = g.padding == 0 or (g.stride >= 2 and g.padding < g.stride)
    right = right or (g.padding == g.stride >= 2 and g.kernel >= g.padding + 2)
    if right or g.size == 1:
        return None
    return (
        f"padding {g.padding} with stride {g.stride} and dim_kernel {g.kernel}: rows are pooled in place, and windows "
        "read pixels that are overwritten or leave some out; needs padding < stride, or none"
    )


def _pool_overlap_mean(n: Numbers) -> str | None:
    g = Pool.of(n)
    if not 0 < g.stride <= g.padding or g.size == 1:
        return None
    return f"padding {g.padding} with stride {g.stride}: windows read pixels that are already averaged"


def _truncated_twice(n: Numbers) -> str | None:
    g = Pool.of(n)
    if g.kernel > 1 and g.size > 1:
        return "averages along rows are truncated, then their average again: up to one unit too near to zero"
    return None


def _long_row(n: Numbers) -> str | None:
    g = Pool.of(n)
    row = g.out * g.channels
    return f"a row of dim_im_out * ch_im_in = {row} does not fit its 16 bits counter" if row > 65535 else None


def _long_sum(n: Numbers) -> str | None:
    kernel = Pool.of(n).kernel
    return f"sums of more than 256 terms leave 16 bits, and dim_kernel is {kernel}" if kernel > 256 else None


def _odd_rows(n: Numbers) -> str | None:
    if n["ch_im_out"] % 2:
        return (
            f"the kernel computes pairs of rows and needs an even ch_im_out, got {n['ch_im_out']}; "
            "use arm_nn_mat_mult_kernel_q7_q15 with columns in plain order"
        )
    return None


def _long_softmax(n: Numbers) -> str | None:
    if n["dim_vec"] > SOFTMAX_MAX:
        return (
            f"dim_vec: expected at most {SOFTMAX_MAX}, got {n['dim_vec']}: the 16-bit loop counter of the "
            "C code never gets there; use fewer elements"
        )
    return None


def _empty_softmax(n: Numbers) -> str | None:
    return "dim_vec 0 divides by zero" if n["dim_vec"] == 0 else None


def _wide_integers(n: Numbers) -> str | None:
    return f"int_width {n['int_width']} is beyond 3: a negative shift" if n["int_width"] > 3 else None


def _negative_inputs(n: Numbers) -> str | None:
    constant = "0.5" if n["type"] == 0 else "0"
    return f"every negative input gives {constant}: the table index is clamped to 0 (fixed in 5.8.0)"


def _last_segment(n: Numbers) -> str | None:
    if n["int_width"] == 3:
        return "int_width 3: inputs from 7.94 on fall towards the value at -8 (fixed in 5.8.0)"
    return None


def _does_nothing(n: Numbers) -> str | None:
    return "without the DSP extension the function does nothing and returns NULL"


_OPT = "weights as cmsisnn_x.pack_fully_connected interleaves them, not row by row"
_ALIGNED = "scratch and output must start at a multiple of 4 bytes"
_DESTROYS = "the input is overwritten"
_BASE_2 = "powers of 2 of the raw integers, whatever their fraction bits"

_FROM_A_WORD = "pDst must start at a multiple of 4 bytes"


def _two_columns(n: Numbers) -> int:
    return 2 * 2 * _column(n)


_convolution = partial(Rules, wrong=(_shifts, _long_side), wrong_dsp=(_long_column,), scratch=_two_columns)
_signed = partial(_convolution, signed_char=True, wrong_scalar=(_signed_char,))
_q7_fast = partial(_convolution, _multiples(4, 2), _unchecked_windows, notes_dsp=(_ALIGNED,))
_q15_fast = _signed(_multiples(2, 2), _odd_width, notes_dsp=(_ALIGNED,))
_depthwise = Rules(_not_depthwise, depthwise=True, wrong=(_shifts, _long_side), scratch=_column)
_row_major, _interleaved = Rules(wrong=(_shifts,)), Rules(wrong=(_shifts,), notes=(_OPT,))


def _widened_vector(n: Numbers) -> int:
    return 2 * n["dim_vec"]


_softmax = Rules(endless=_long_softmax, wrong=(_empty_softmax,), notes=(_BASE_2,))
_mat_mult = partial(Rules, wrong=(_shifts,), wrong_scalar=(_does_nothing,))
_pool = partial(Rules, unsafe=_empty_windows, notes_dsp=(_DESTROYS,))

RULES: Mapping[str, Rules] = {
    "arm_convolve_HWC_q7_basic": _signed(faults=(_odd_pixels,)),
    "arm_convolve_HWC_q7_basic_nonsquare": _signed(faults=(_odd_pixels,)),
    "arm_convolve_HWC_q7_fast": _q7_fast(signed_char=True, wrong_scalar=(_signed_char,)),
    "arm_convolve_HWC_q7_fast_nonsquare": _q7_fast(),
    "arm_convolve_1x1_HWC_q7_fast_nonsquare": _convolution(
        _not_1x1, _larger_output, wrong_scalar=(_bias_only,), notes_dsp=(_ALIGNED,)
    ),
    "arm_convolve_HWC_q7_RGB": _signed(_not_rgb, notes_dsp=("reads one byte past the end of the image",)),
    "arm_convolve_HWC_q15_basic": _signed(scratch=lambda n: 2 * _column(n)),
    "arm_convolve_HWC_q15_fast": _q15_fast,
    "arm_convolve_HWC_q15_fast_nonsquare": _q15_fast,
    "arm_depthwise_separable_conv_HWC_q7": _depthwise,
    "arm_depthwise_separable_conv_HWC_q7_nonsquare": _depthwise,
    "arm_fully_connected_q7": replace(_row_major, scratch=_widened_vector),
    "arm_fully_connected_q7_opt": replace(_interleaved, scratch=_widened_vector),
    "arm_fully_connected_q15": _row_major,
    "arm_fully_connected_q15_opt": _interleaved,
    "arm_fully_connected_mat_q7_vec_q15": _row_major,
    "arm_fully_connected_mat_q7_vec_q15_opt": _interleaved,
    "arm_nn_mat_mult_kernel_q7_q15": _mat_mult(),
    "arm_nn_mat_mult_kernel_q7_q15_reordered": _mat_mult(unsafe=_odd_rows),
    "arm_relu_q7": Rules(),
    "arm_relu_q15": Rules(),
    "arm_nn_activations_direct_q7": Rules(wrong=(_wide_integers,)),
    "arm_nn_activations_direct_q15": Rules(wrong=(_wide_integers, _negative_inputs, _last_segment)),
    "arm_maxpool_q7_HWC": _pool(wrong_dsp=(_pool_tail, _pool_overlap, _long_row), wrong_scalar=(_max_of_nothing,)),
    "arm_avepool_q7_HWC": _pool(
        wrong_dsp=(_truncated_twice, _pool_overlap_mean, _long_row, _long_sum),
        wrong_scalar=(_mean_of_nothing,),
        scratch=lambda n: 2 * n["dim_im_out"] * n["ch_im_in"],
    ),
    "arm_softmax_q7": _softmax,
    "arm_softmax_q15": _softmax,
    "arm_q7_to_q15_no_shift": Rules(notes_dsp=(_FROM_A_WORD,)),
    "arm_q7_to_q15_reordered_no_shift": Rules(
        notes=("a build for Cortex-M0 does not reorder",), notes_dsp=(_FROM_A_WORD,)
    ),
    "arm_nn_mult_q7": _row_major,
    "arm_nn_mult_q15": _row_major,
}
