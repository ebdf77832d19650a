/* SPDX-License-Identifier: Apache-2.0 */
#undef CXN_A_STEPS_1
#undef CXN_A_STEPS_2
#undef CXN_A_STEPS_4
#undef CXN_A_STEPS_8
#undef CXN_A_TURN
#undef CXN_A_TAIL
