@ SPDX-License-Identifier: Apache-2.0
@ One of every kind of instruction that Cortex-M4 (FPv4) and Cortex-M7, M33 (FPv5) have, for one run.
.syntax unified
.thumb
.text
#ifdef V5
.fpu fpv5-sp-d16
#else
.fpu fpv4-sp-d16
#endif
.global all
.type all,%function
all:
 push {r4-r11,lr}
 vpush {d8-d15}
 sub sp, #64
 mov r8, sp
 movs r0,#1
 movw r1,#0x1234
 movt r1,#0x5678
 mov r2,r1
 mvn r3,r2
 adds r3,r2
 adc r3,r3,r2
 sbc r3,r3,r2
 rsb r3,r3,#0
 addw r3,r3,#5
 subw r3,r3,#5
 and r3,r2,r1
 bic r3,r2,#1
 orn r3,r2,r1
 eor r3,r2,r1,ror #3
 teq r1,r2
 tst r1,r2
 cmp r1,r2
 cmn r1,r2
 lsl r3,r2,#3
 lsr r3,r2,r0
 asr r3,r2,#3
 ror r3,r2,#3
 rrx r3,r2
 clz r3,r2
 rbit r3,r2
 rev r3,r2
 rev16 r3,r2
 revsh r3,r2
 bfi r3,r2,#3,#4
 bfc r3,#3,#4
 ubfx r3,r2,#3,#4
 sbfx r3,r2,#3,#4
 uxtb r3,r2
 sxth r3,r2
 uxtab r3,r2,r1
 sxtab16 r3,r2,r1
 uxtah r3,r2,r1,ror #8
 uxtb16 r3,r2
 sxtb16 r3,r2,ror #8
 pkhbt r3,r2,r1,lsl #16
 pkhtb r3,r2,r1,asr #16
 ssat r3,#8,r2
 usat r3,#8,r2
 ssat16 r3,#8,r2
 usat16 r3,#8,r2
 qadd r3,r2,r1
 qsub r3,r2,r1
 qdadd r3,r2,r1
 qdsub r3,r2,r1
 sadd16 r3,r2,r1
 uadd8 r3,r2,r1
 sel r3,r2,r1
 uqadd8 r3,r2,r1
 shadd16 r3,r2,r1
 uhsub8 r3,r2,r1
 sasx r3,r2,r1
 usax r3,r2,r1
 usad8 r3,r2,r1
 usada8 r3,r2,r1,r3
 mul r3,r2,r1
 mla r3,r2,r1,r3
 mls r3,r2,r1,r3
 umull r4,r5,r2,r1
 umlal r4,r5,r2,r1
 smull r4,r5,r2,r1
 smlal r4,r5,r2,r1
 umaal r4,r5,r2,r1
 smlabb r3,r2,r1,r3
 smlatt r3,r2,r1,r3
 smlawb r3,r2,r1,r3
 smulwb r3,r2,r1
 smultt r3,r2,r1
 smlad r3,r2,r1,r3
 smladx r3,r2,r1,r3
 smlsd r3,r2,r1,r3
 smuad r3,r2,r1
 smusd r3,r2,r1
 smlald r4,r5,r2,r1
 smlsld r4,r5,r2,r1
 smlalbb r4,r5,r2,r1
 smmul r3,r2,r1
 smmulr r3,r2,r1
 smmla r3,r2,r1,r3
 smmls r3,r2,r1,r3
 sdiv r3,r2,r1
 udiv r3,r2,r1
 ldr r3,[r8]
 ldrb r3,[r8,#1]
 ldrh r3,[r8,#2]
 ldrsb r3,[r8,#1]
 ldrsh r3,[r8,#2]
 ldrd r4,r5,[r8]
 str r3,[r8]
 strb r3,[r8,#1]
 strh r3,[r8,#2]
 strd r4,r5,[r8,#8]
 ldm r8,{r3-r5}
 stm r8,{r3-r5}
 add r9,r8,#32
 ldmdb r9,{r3-r5}
 stmdb r9,{r3-r5}
 ldr r3,[r8,r0,lsl #2]
 ldrex r3,[r8]
 strex r4,r3,[r8]
 clrex
 pld [r8]
 dmb
 dsb
 isb
 nop
 mrs r3,apsr
 msr apsr_nzcvq,r3
 adr r3,all
 ite eq
 moveq r3,#1
 movne r3,#2
 cbz r0,1f
 b 1f
1:
 movs r3,#1
 tbb [pc,r3]
2: .byte (3f-2b)/2,(3f-2b)/2
3:
 movs r3,#0
 tbh [pc,r3,lsl #1]
4: .short (5f-4b)/2,(5f-4b)/2
5:
 bl sub
 vmov s0,r1
 vmov r3,s0
 vmov d1,r1,r2
 vmov r3,r4,d1
 vmov s2,s3,r1,r2
 vmov.f32 s4,#1.0
 vmov.f32 s5,s4
 vldr s6,[r8]
 vstr s6,[r8]
 vldr d7,[r8]
 vstr d7,[r8]
 vldm r8,{s0-s7}
 vstm r8,{s0-s7}
 vldmia r8,{d0-d3}
 vmov.f32 s0,#2.0
 vmov.f32 s1,#3.0
 vadd.f32 s2,s0,s1
 vsub.f32 s2,s0,s1
 vmul.f32 s2,s0,s1
 vnmul.f32 s2,s0,s1
 vmla.f32 s2,s0,s1
 vmls.f32 s2,s0,s1
 vfma.f32 s2,s0,s1
 vfms.f32 s2,s0,s1
 vfnma.f32 s2,s0,s1
 vdiv.f32 s2,s0,s1
 vsqrt.f32 s2,s0
 vabs.f32 s2,s0
 vneg.f32 s2,s0
 vcmp.f32 s0,s1
 vcmpe.f32 s0,#0.0
 vmrs APSR_nzcv,fpscr
 vmrs r3,fpscr
 vmsr fpscr,r3
 vcvt.s32.f32 s2,s0
 vcvt.f32.s32 s2,s2
 vcvtr.s32.f32 s2,s0
 vcvt.u32.f32 s0,s0,#4
 vcvtb.f32.f16 s2,s0
 vcvtt.f16.f32 s2,s0
#ifdef V5
 vcvta.s32.f32 s2,s0
 vrinta.f32 s2,s0
 vrintz.f32 s2,s0
 vmaxnm.f32 s2,s0,s1
 vminnm.f32 s2,s0,s1
 vselge.f32 s2,s0,s1
#endif
 add sp,#64
 vpop {d8-d15}
 pop {r4-r11,pc}
.size all,.-all
.type sub,%function
sub: bx lr
.size sub,.-sub
