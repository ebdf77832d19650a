# SPDX-License-Identifier: Apache-2.0
"""The 31 public functions of CMSIS-NN 5.4.0 under Arm's names, argument orders and results, defects included.

Arrays stand for C pointers: NumPy arrays of `int8` (q7) or `int16` (q15), of which the elements are taken in C order;
usually flat. They may be larger than needed, as in C, and the rest of an output is left alone. Results are written
into the caller's output array; functions that return ``arm_status`` in C return 0 or -3. Scratch arguments may be
``None``. Inputs and outputs may overlap: the result is then what it is without the overlap.

``profile="dsp"`` reproduces the code that Cortex-M4, M7 and M33 run, ``profile="scalar"`` that of Cortex-M0 and M3.
They differ in average pooling, in max pooling with a channel count that is no multiple of 4 or with ``padding >=
stride``, in convolutions of images with a side above 127, and in the two matrix kernels. A few calls make the dsp
code read or write outside its arrays; these raise :class:`~cmsisnn_x.errors.DomainError`, which names the rule and
the safe alternative. What a layer *means*, without defects and limits, is :func:`cmsisnn_x.convolve` and its
siblings.

Sums are 32 bits wide and wrap; shift counts of 32 and more act as on an Arm core, by their low byte. An `out_shift`
of 0 adds nothing before the shift, as on the core (in C it is undefined). Two limits of Arm's 16-bit counters are not
imitated: image sides above 32767, and windows of 65536 and more weights per output channel, are computed in full.
:func:`check` says of a call, without making it, what its caller may not expect: all of this, and more.

Examples
--------
>>> import numpy as np
>>> from cmsisnn_x import cmsis
>>> data = np.array([-3, 0, 5], dtype=np.int8)
>>> cmsis.arm_relu_q7(data, 3)
>>> data
array([0, 0, 5], dtype=int8)
"""

from ._call import ARM_MATH_SIZE_MISMATCH, ARM_MATH_SUCCESS
from ._check import Finding, argument_names, check, scalar_names, scratch_bytes
from .activation import (
    ARM_SIGMOID,
    ARM_TANH,
    arm_nn_activations_direct_q7,
    arm_nn_activations_direct_q15,
    arm_relu_q7,
    arm_relu_q15,
    arm_softmax_q7,
    arm_softmax_q15,
)
from .convolution import (
    arm_convolve_1x1_HWC_q7_fast_nonsquare,
    arm_convolve_HWC_q7_basic,
    arm_convolve_HWC_q7_basic_nonsquare,
    arm_convolve_HWC_q7_fast,
    arm_convolve_HWC_q7_fast_nonsquare,
    arm_convolve_HWC_q7_RGB,
    arm_convolve_HWC_q15_basic,
    arm_convolve_HWC_q15_fast,
    arm_convolve_HWC_q15_fast_nonsquare,
    arm_depthwise_separable_conv_HWC_q7,
    arm_depthwise_separable_conv_HWC_q7_nonsquare,
)
from .fully_connected import (
    arm_fully_connected_mat_q7_vec_q15,
    arm_fully_connected_mat_q7_vec_q15_opt,
    arm_fully_connected_q7,
    arm_fully_connected_q7_opt,
    arm_fully_connected_q15,
    arm_fully_connected_q15_opt,
    arm_nn_mat_mult_kernel_q7_q15,
    arm_nn_mat_mult_kernel_q7_q15_reordered,
)
from .pooling import arm_avepool_q7_HWC, arm_maxpool_q7_HWC
from .support import (
    arm_nn_mult_q7,
    arm_nn_mult_q15,
    arm_q7_to_q15_no_shift,
    arm_q7_to_q15_reordered_no_shift,
)

__all__ = [
    "ARM_MATH_SIZE_MISMATCH",
    "ARM_MATH_SUCCESS",
    "ARM_SIGMOID",
    "ARM_TANH",
    "Finding",
    "argument_names",
    "arm_avepool_q7_HWC",
    "arm_convolve_1x1_HWC_q7_fast_nonsquare",
    "arm_convolve_HWC_q7_RGB",
    "arm_convolve_HWC_q7_basic",
    "arm_convolve_HWC_q7_basic_nonsquare",
    "arm_convolve_HWC_q7_fast",
    "arm_convolve_HWC_q7_fast_nonsquare",
    "arm_convolve_HWC_q15_basic",
    "arm_convolve_HWC_q15_fast",
    "arm_convolve_HWC_q15_fast_nonsquare",
    "arm_depthwise_separable_conv_HWC_q7",
    "arm_depthwise_separable_conv_HWC_q7_nonsquare",
    "arm_fully_connected_mat_q7_vec_q15",
    "arm_fully_connected_mat_q7_vec_q15_opt",
    "arm_fully_connected_q7",
    "arm_fully_connected_q7_opt",
    "arm_fully_connected_q15",
    "arm_fully_connected_q15_opt",
    "arm_maxpool_q7_HWC",
    "arm_nn_activations_direct_q7",
    "arm_nn_activations_direct_q15",
    "arm_nn_mat_mult_kernel_q7_q15",
    "arm_nn_mat_mult_kernel_q7_q15_reordered",
    "arm_nn_mult_q7",
    "arm_nn_mult_q15",
    "arm_q7_to_q15_no_shift",
    "arm_q7_to_q15_reordered_no_shift",
    "arm_relu_q7",
    "arm_relu_q15",
    "arm_softmax_q7",
    "arm_softmax_q15",
    "check",
    "scalar_names",
    "scratch_bytes",
]
