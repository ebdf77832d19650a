/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside the assembly of dot.h: one run, from r0 and r1, into the accumulators. The CXN_A_TAIL pairs behind the loop are the first, where
 * it starts the accumulators, sixteen, the rest, and the last one where the schedule loads ahead.
 */
CXN_A_ENTER
#if CXN_A_LOOPS
"1:\n\t"
#if CXN_GET(UNROLL) == 1
CXN_A_STEPS_1(0) CXN_A_LAST(1)
#elif CXN_GET(UNROLL) == 2
CXN_A_STEPS_3(0) CXN_A_LAST(3)
#elif CXN_GET(UNROLL) == 4
CXN_A_STEPS_7(0) CXN_A_LAST(7)
#else
CXN_A_STEPS_15(0) CXN_A_LAST(15)
#endif
CXN_A_LOOP_END
#endif
#if CXN_A_PEEL
CXN_A_STEP_OF(CXN_A_MUL, 0)
#endif
#if CXN_A_TAIL - CXN_A_PEEL >= 32
CXN_A_STEPS_16(CXN_A_PEEL) CXN_A_STEPS_16(CXN_A_PEEL + 16)
#if CXN_A_PEEL
#define CXN_A_AT 33
#else
#define CXN_A_AT 32
#endif
#elif CXN_A_TAIL - CXN_A_PEEL >= 16
CXN_A_STEPS_16(CXN_A_PEEL)
#if CXN_A_PEEL
#define CXN_A_AT 17
#else
#define CXN_A_AT 16
#endif
#elif CXN_A_PEEL
#define CXN_A_AT 1
#else
#define CXN_A_AT 0
#endif
#if CXN_A_TAIL - CXN_A_AT == 0
CXN_A_STEPS_0(CXN_A_AT) CXN_A_END(CXN_A_AT + 0)
#elif CXN_A_TAIL - CXN_A_AT == 1
CXN_A_STEPS_1(CXN_A_AT) CXN_A_END(CXN_A_AT + 1)
#elif CXN_A_TAIL - CXN_A_AT == 2
CXN_A_STEPS_2(CXN_A_AT) CXN_A_END(CXN_A_AT + 2)
#elif CXN_A_TAIL - CXN_A_AT == 3
CXN_A_STEPS_3(CXN_A_AT) CXN_A_END(CXN_A_AT + 3)
#elif CXN_A_TAIL - CXN_A_AT == 4
CXN_A_STEPS_4(CXN_A_AT) CXN_A_END(CXN_A_AT + 4)
#elif CXN_A_TAIL - CXN_A_AT == 5
CXN_A_STEPS_5(CXN_A_AT) CXN_A_END(CXN_A_AT + 5)
#elif CXN_A_TAIL - CXN_A_AT == 6
CXN_A_STEPS_6(CXN_A_AT) CXN_A_END(CXN_A_AT + 6)
#elif CXN_A_TAIL - CXN_A_AT == 7
CXN_A_STEPS_7(CXN_A_AT) CXN_A_END(CXN_A_AT + 7)
#elif CXN_A_TAIL - CXN_A_AT == 8
CXN_A_STEPS_8(CXN_A_AT) CXN_A_END(CXN_A_AT + 8)
#elif CXN_A_TAIL - CXN_A_AT == 9
CXN_A_STEPS_9(CXN_A_AT) CXN_A_END(CXN_A_AT + 9)
#elif CXN_A_TAIL - CXN_A_AT == 10
CXN_A_STEPS_10(CXN_A_AT) CXN_A_END(CXN_A_AT + 10)
#elif CXN_A_TAIL - CXN_A_AT == 11
CXN_A_STEPS_11(CXN_A_AT) CXN_A_END(CXN_A_AT + 11)
#elif CXN_A_TAIL - CXN_A_AT == 12
CXN_A_STEPS_12(CXN_A_AT) CXN_A_END(CXN_A_AT + 12)
#elif CXN_A_TAIL - CXN_A_AT == 13
CXN_A_STEPS_13(CXN_A_AT) CXN_A_END(CXN_A_AT + 13)
#elif CXN_A_TAIL - CXN_A_AT == 14
CXN_A_STEPS_14(CXN_A_AT) CXN_A_END(CXN_A_AT + 14)
#elif CXN_A_TAIL - CXN_A_AT == 15
CXN_A_STEPS_15(CXN_A_AT) CXN_A_END(CXN_A_AT + 15)
#endif
#if CXN_RUN % 2
CXN_A_ODD(%c[odd])
#endif
#undef CXN_A_AT
