# SPDX-License-Identifier: Apache-2.0
"""Element-wise products and widening; the same code runs on every core."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._call import Call, right_shift, rounding, saturate
from ._prototypes import Profile, documented

Int8 = NDArray[np.int8]
Int16 = NDArray[np.int16]


def _multiply(function: str, arguments: Mapping[str, Any]) -> None:
    """pDst = clamp((pSrcA * pSrcB + round(out_shift)) >> out_shift)  with the sum modulo 2^32"""
    call = Call(function, arguments)
    call.check_sizes()
    product = np.multiply(call.read("pSrcA"), call.read("pSrcB"), dtype=np.int32) + rounding(call["out_shift"])
    call.write("pDst", saturate(right_shift(product, call["out_shift"]), call.prototype["pDst"].dtype))


@documented()
def arm_q7_to_q15_no_shift(pSrc: Int8, pDst: Int16, blockSize: int, *, profile: Profile = "dsp") -> None:
    """Widen q7 values to q15 without scaling."""
    call = Call("arm_q7_to_q15_no_shift", locals())
    call.check_sizes()
    call.write("pDst", call.read("pSrc"))


@documented()
def arm_q7_to_q15_reordered_no_shift(pSrc: Int8, pDst: Int16, blockSize: int, *, profile: Profile = "dsp") -> None:
    """Widen q7 values to q15 without scaling, each full group of four in the order 0, 2, 1, 3.

    A tail of one to three values keeps its order. Both profiles reorder; a build for Cortex-M0 does not.
    """
    call = Call("arm_q7_to_q15_reordered_no_shift", locals())
    call.check_sizes()
    wide = call.read("pSrc").astype(np.int16)
    grouped = wide.size & ~3
    wide[:grouped] = wide[:grouped].reshape(-1, 2, 2).swapaxes(1, 2).reshape(-1)
    call.write("pDst", wide)


@documented()
def arm_nn_mult_q15(
    pSrcA: Int16, pSrcB: Int16, pDst: Int16, out_shift: int, blockSize: int, *, profile: Profile = "dsp"
) -> None:
    """Product of q15 values, element by element: ``clamp((a * b + round(out_shift)) >> out_shift)``.

    The sum is 32 bits wide: ``-32768 * -32768`` plus the rounding of `out_shift` 31 wraps and gives -1.
    """
    _multiply("arm_nn_mult_q15", locals())


@documented()
def arm_nn_mult_q7(
    pSrcA: Int8, pSrcB: Int8, pDst: Int8, out_shift: int, blockSize: int, *, profile: Profile = "dsp"
) -> None:
    """Product of q7 values, element by element: ``clamp((a * b + round(out_shift)) >> out_shift)``."""
    _multiply("arm_nn_mult_q7", locals())
