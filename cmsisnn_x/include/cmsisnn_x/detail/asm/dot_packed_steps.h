/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Of CXN_A_STEP, one pair of k: CXN_A_TURN, the UNROLL steps of a turn of the loop, and CXN_A_TAIL, the CXN_A_REST behind it. Text, not
 * .rept: GCC sizes its branches and literal pools by counting lines.
 */
#define CXN_A_STEPS_1(k) CXN_A_STEP(k)
#define CXN_A_STEPS_2(k) CXN_A_STEP(k) CXN_A_STEP(k+1)
#define CXN_A_STEPS_4(k) CXN_A_STEPS_2(k) CXN_A_STEPS_2(k+2)
#define CXN_A_STEPS_8(k) CXN_A_STEPS_4(k) CXN_A_STEPS_4(k+4)
#if CXN_A_U == 1
#define CXN_A_TURN CXN_A_STEPS_1(0)
#elif CXN_A_U == 2
#define CXN_A_TURN CXN_A_STEPS_2(0)
#elif CXN_A_U == 4
#define CXN_A_TURN CXN_A_STEPS_4(0)
#else
#define CXN_A_TURN CXN_A_STEPS_8(0)
#endif
/* A single turn is no loop: up to 15. */
#if CXN_A_REST == 0
#define CXN_A_TAIL
#elif CXN_A_REST == 1
#define CXN_A_TAIL CXN_A_STEPS_1(0)
#elif CXN_A_REST == 2
#define CXN_A_TAIL CXN_A_STEPS_2(0)
#elif CXN_A_REST == 3
#define CXN_A_TAIL CXN_A_STEPS_2(0) CXN_A_STEPS_1(2)
#elif CXN_A_REST == 4
#define CXN_A_TAIL CXN_A_STEPS_4(0)
#elif CXN_A_REST == 5
#define CXN_A_TAIL CXN_A_STEPS_4(0) CXN_A_STEPS_1(4)
#elif CXN_A_REST == 6
#define CXN_A_TAIL CXN_A_STEPS_4(0) CXN_A_STEPS_2(4)
#elif CXN_A_REST == 7
#define CXN_A_TAIL CXN_A_STEPS_4(0) CXN_A_STEPS_2(4) CXN_A_STEPS_1(6)
#elif CXN_A_REST == 8
#define CXN_A_TAIL CXN_A_STEPS_8(0)
#elif CXN_A_REST == 9
#define CXN_A_TAIL CXN_A_STEPS_8(0) CXN_A_STEPS_1(8)
#elif CXN_A_REST == 10
#define CXN_A_TAIL CXN_A_STEPS_8(0) CXN_A_STEPS_2(8)
#elif CXN_A_REST == 11
#define CXN_A_TAIL CXN_A_STEPS_8(0) CXN_A_STEPS_2(8) CXN_A_STEPS_1(10)
#elif CXN_A_REST == 12
#define CXN_A_TAIL CXN_A_STEPS_8(0) CXN_A_STEPS_4(8)
#elif CXN_A_REST == 13
#define CXN_A_TAIL CXN_A_STEPS_8(0) CXN_A_STEPS_4(8) CXN_A_STEPS_1(12)
#elif CXN_A_REST == 14
#define CXN_A_TAIL CXN_A_STEPS_8(0) CXN_A_STEPS_4(8) CXN_A_STEPS_2(12)
#else
#define CXN_A_TAIL CXN_A_STEPS_8(0) CXN_A_STEPS_4(8) CXN_A_STEPS_2(12) CXN_A_STEPS_1(14)
#endif
