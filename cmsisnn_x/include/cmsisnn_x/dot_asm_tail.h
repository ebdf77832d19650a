/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the assembly of dot_asm.h: the pairs behind the loop, CXN_A_TAIL of them less the sixteen already written, and the final one. */
#if CXN_A_TAIL - CXN_A_AT == 0
#if CXN_A_AT
CXN_A_STEPS_0(16) CXN_A_END(16)
#else
CXN_A_STEPS_0(0) CXN_A_END(0)
#endif
#elif CXN_A_TAIL - CXN_A_AT == 1
#if CXN_A_AT
CXN_A_STEPS_1(16) CXN_A_END(17)
#else
CXN_A_STEPS_1(0) CXN_A_END(1)
#endif
#elif CXN_A_TAIL - CXN_A_AT == 2
#if CXN_A_AT
CXN_A_STEPS_2(16) CXN_A_END(18)
#else
CXN_A_STEPS_2(0) CXN_A_END(2)
#endif
#elif CXN_A_TAIL - CXN_A_AT == 3
#if CXN_A_AT
CXN_A_STEPS_3(16) CXN_A_END(19)
#else
CXN_A_STEPS_3(0) CXN_A_END(3)
#endif
#elif CXN_A_TAIL - CXN_A_AT == 4
#if CXN_A_AT
CXN_A_STEPS_4(16) CXN_A_END(20)
#else
CXN_A_STEPS_4(0) CXN_A_END(4)
#endif
#elif CXN_A_TAIL - CXN_A_AT == 5
#if CXN_A_AT
CXN_A_STEPS_5(16) CXN_A_END(21)
#else
CXN_A_STEPS_5(0) CXN_A_END(5)
#endif
#elif CXN_A_TAIL - CXN_A_AT == 6
#if CXN_A_AT
CXN_A_STEPS_6(16) CXN_A_END(22)
#else
CXN_A_STEPS_6(0) CXN_A_END(6)
#endif
#elif CXN_A_TAIL - CXN_A_AT == 7
#if CXN_A_AT
CXN_A_STEPS_7(16) CXN_A_END(23)
#else
CXN_A_STEPS_7(0) CXN_A_END(7)
#endif
#elif CXN_A_TAIL - CXN_A_AT == 8
#if CXN_A_AT
CXN_A_STEPS_8(16) CXN_A_END(24)
#else
CXN_A_STEPS_8(0) CXN_A_END(8)
#endif
#elif CXN_A_TAIL - CXN_A_AT == 9
#if CXN_A_AT
CXN_A_STEPS_9(16) CXN_A_END(25)
#else
CXN_A_STEPS_9(0) CXN_A_END(9)
#endif
#elif CXN_A_TAIL - CXN_A_AT == 10
#if CXN_A_AT
CXN_A_STEPS_10(16) CXN_A_END(26)
#else
CXN_A_STEPS_10(0) CXN_A_END(10)
#endif
#elif CXN_A_TAIL - CXN_A_AT == 11
#if CXN_A_AT
CXN_A_STEPS_11(16) CXN_A_END(27)
#else
CXN_A_STEPS_11(0) CXN_A_END(11)
#endif
#elif CXN_A_TAIL - CXN_A_AT == 12
#if CXN_A_AT
CXN_A_STEPS_12(16) CXN_A_END(28)
#else
CXN_A_STEPS_12(0) CXN_A_END(12)
#endif
#elif CXN_A_TAIL - CXN_A_AT == 13
#if CXN_A_AT
CXN_A_STEPS_13(16) CXN_A_END(29)
#else
CXN_A_STEPS_13(0) CXN_A_END(13)
#endif
#elif CXN_A_TAIL - CXN_A_AT == 14
#if CXN_A_AT
CXN_A_STEPS_14(16) CXN_A_END(30)
#else
CXN_A_STEPS_14(0) CXN_A_END(14)
#endif
#elif CXN_A_TAIL - CXN_A_AT == 15
#if CXN_A_AT
CXN_A_STEPS_15(16) CXN_A_END(31)
#else
CXN_A_STEPS_15(0) CXN_A_END(15)
#endif
#endif
