/* SPDX-License-Identifier: Apache-2.0 */
/* The end of every kernel template: the names of the instance go, so that the next one can be included. */
#undef CXN_IN_T
#undef CXN_OUT_T
#undef CXN_WEIGHT_T
#undef CXN_CHANNEL_T
#undef CXN_OUT_BITS
#undef CXN_FULL_RANGE
#undef CXN_FACTOR_T
#undef CXN_FACTOR
#undef CXN_CHANNEL_FIRST
#undef CXN_OUT_MIN
#undef CXN_OUT_MAX
#undef CXN_PAD_FILL
#undef CXN_PAD
#undef CXN_PAD_BYTES
#undef CXN_PAD_PAIR
#undef CXN_ROUND_TERM
#undef CXN_ACC_INIT
#undef CXN_REQUANTISE
#undef CXN_LAYER
#undef CXN_KERNEL
