/* SPDX-License-Identifier: Apache-2.0 */
/* The end of every kernel template: the names of the instance go, so that the next one can be included. */
#undef CXN_IN_T
#undef CXN_OUT_T
#undef CXN_WEIGHT_T
#undef CXN_BIAS_T
#undef CXN_ROUND_TERM
#undef CXN_ACC_INIT
#undef CXN_REQUANTISE
#undef CXN_LAYER
#undef CXN_KERNEL
