# SPDX-License-Identifier: Apache-2.0
"""ReLU, sigmoid, tanh and softmax; the same code runs on every core."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .._tables import activation_table
from ..errors import DomainError
from ._call import Call, right_shift
from ._prototypes import Profile, documented
from ._rules import RULES

Int8 = NDArray[np.int8]
Int16 = NDArray[np.int16]

ARM_SIGMOID = 0
ARM_TANH = 1


def _relu(call: Call) -> None:
    call.check_sizes()
    call.write("data", np.maximum(call.read("data"), 0))


def _softmax(call: Call) -> None:
    """m = max(x), e = x - (m - W), S = sum of 2**e where e > 0

    y = min((2**B // S) >> (K - e), 2**(N-1) - 1) where e > 0, else 0
    """
    if problem := RULES[call.function].endless(call.numbers):
        raise DomainError(f"{call.function}: {problem}")
    call.check_sizes()
    x = call.read("vec_in").astype(np.int64)
    if x.size == 0:
        return
    window, numerator, scale = (8, 20, 13) if call.prototype["vec_in"].dtype == np.int8 else (16, 32, 17)
    exponent = x - (x.max() - window)
    live = exponent > 0
    quotient = (1 << numerator) // int((1 << exponent[live]).sum())
    largest = np.iinfo(call.prototype["p_out"].dtype).max
    y = np.zeros(x.shape, call.prototype["p_out"].dtype)
    y[live] = np.minimum(quotient >> (scale - exponent[live]), largest)
    call.write("p_out", y)


def _table(call: Call) -> NDArray[np.int32]:
    dtype = "q7" if call.prototype["data"].dtype == np.int8 else "q15"
    return activation_table("sigmoid" if call["type"] == ARM_SIGMOID else "tanh", dtype).astype(np.int32)


@documented()
def arm_relu_q7(data: Int8, size: int, *, profile: Profile = "dsp") -> None:
    """Replace negative q7 values by 0, in place."""
    _relu(Call("arm_relu_q7", locals()))


@documented()
def arm_relu_q15(data: Int16, size: int, *, profile: Profile = "dsp") -> None:
    """Replace negative q15 values by 0, in place."""
    _relu(Call("arm_relu_q15", locals()))


@documented()
def arm_nn_activations_direct_q7(data: Int8, size: int, int_width: int, type: int, *, profile: Profile = "dsp") -> None:
    """Sigmoid or tanh of q7 values by table, in place: ``T[x >> (3 - int_width)]``.

    With `int_width` above 3 the shift count is negative, of which the core takes the low byte: the sign selects entry
    0 or -1.
    """
    call = Call("arm_nn_activations_direct_q7", locals())
    call.check_sizes()
    entry = right_shift(call.read("data").astype(np.int32), 3 - int_width)
    call.write("data", _table(call)[entry & 0xFF])


@documented()
def arm_nn_activations_direct_q15(
    data: Int16, size: int, int_width: int, type: int, *, profile: Profile = "dsp"
) -> None:
    """Sigmoid or tanh of q15 values by table, in place, with release 5.4.0's two defects.

    With ``s = 11 - int_width``, ``i = x >> s`` and ``f = x mod 2**s`` the result is ``((2**s - f) * T[i] + f * T[i +
    1]) >> s``, where the entry is clamped to 0..255 instead of taken as a byte: every negative input gives ``T[0]``,
    and under `int_width` 3 the last segment falls towards the value at -8. :func:`cmsisnn_x.sigmoid` and
    :func:`cmsisnn_x.tanh` have neither.
    """
    call = Call("arm_nn_activations_direct_q15", locals())
    call.check_sizes()
    table = _table(call)
    x = call.read("data").astype(np.int32)
    shift = 11 - int_width
    mask = int(right_shift(np.int32(0x7FF), int_width))
    here, fraction = right_shift(x, shift), x & mask
    low, high = table[np.clip(here, 0, 255)], table[np.clip(here + 1, 0, 255)]
    call.write("data", right_shift((mask + 1 - fraction) * low + fraction * high, shift))


@documented(refused="`dim_vec` above 32767, for which the C code does not end")
def arm_softmax_q7(vec_in: Int8, dim_vec: int, p_out: Int8, *, profile: Profile = "dsp") -> None:
    """Softmax to the base 2 of q7 values: one unit of the input is a factor of 2."""
    _softmax(Call("arm_softmax_q7", locals()))


@documented(refused="`dim_vec` above 32767, for which the C code does not end")
def arm_softmax_q15(vec_in: Int16, dim_vec: int, p_out: Int16, *, profile: Profile = "dsp") -> None:
    """Softmax to the base 2 of q15 values: one unit of the input is a factor of 2."""
    _softmax(Call("arm_softmax_q15", locals()))
