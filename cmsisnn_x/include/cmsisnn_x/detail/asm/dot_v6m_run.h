/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the assembly of dot_v6m.h: one run, from r0 and r1, or r12 and lr, into the accumulators. */
#if CXN_A_LOOPS
"1:\n\t"
#if CXN_A_U == 1
CXN_A_STEPS_1(0)
#elif CXN_A_U == 2
CXN_A_STEPS_2(0)
#elif CXN_A_U == 4
CXN_A_STEPS_4(0)
#else
CXN_A_STEPS_8(0)
#endif
"adds r0, #%c[wb]\n\t"
#if CXN_A_NEAR
"adds r1, #%c[db]\n\t"
#else
"movs r2, #%c[db]\n\t"
"add r12, r2\n\t"
"add lr, r2\n\t"
#endif
"ldr r2, [sp, #4]\n\t"
"cmp r0, r2\n\t"
/* A conditional branch reaches 256 bytes. */
"beq 3f\n\t"
"b 1b\n\t"
"3:\n\t"
#endif
#if CXN_A_REST & 8
CXN_A_STEPS_8(0)
#endif
#if CXN_A_REST & 4
CXN_A_STEPS_4(CXN_A_REST_4)
#endif
#if CXN_A_REST & 2
CXN_A_STEPS_2(CXN_A_REST_2)
#endif
#if CXN_A_REST & 1
CXN_A_STEPS_1(CXN_A_REST_1)
#endif
#if CXN_A_ODD
CXN_A_ODD_STEPS(CXN_A_REST_0)
#endif
