/* SPDX-License-Identifier: Apache-2.0 */
/* Which tables were built, and which of them this processor runs. The build defines SIMD_HAVE_<NAME>. */
#define _GNU_SOURCE /* syscall */
#include <string.h>

#include "simd.h"

#if defined(SIMD_HAVE_NEONDOT) && defined(__linux__)
#include <sys/auxv.h>
#ifndef HWCAP_ASIMDDP
#define HWCAP_ASIMDDP (1 << 20)
#endif
#endif

extern const simd_isa simd_portable;

#ifdef SIMD_HAVE_AVX512VNNI
extern const simd_isa simd_avx512vnni;
static int has_avx512vnni(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vnni");
}
#endif

#ifdef SIMD_HAVE_AVX2
extern const simd_isa simd_avx2;
static int has_avx2(void) { return __builtin_cpu_supports("avx2"); }
#endif

#if defined(SIMD_HAVE_AMX) || defined(SIMD_HAVE_AVXVNNI)
#include <cpuid.h>
#include <stdatomic.h>

/* The answer is kept: CPUID leaves a virtual machine, which takes tens of microseconds. */
static int keep(atomic_int *answer, int (*ask)(void))
{
    if (atomic_load(answer) < 0)
        atomic_store(answer, ask());
    return atomic_load(answer);
}
#endif

#ifdef SIMD_HAVE_AVXVNNI
extern const simd_isa simd_avxvnni;
static int ask_for_avxvnni(void)
{
    unsigned a, b, c, d;
    return has_avx2() && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 4 & 1);
}

static int has_avxvnni(void)
{
    static atomic_int answer = -1;
    return keep(&answer, ask_for_avxvnni);
}
#endif

#ifdef SIMD_HAVE_AMX
#include <sys/syscall.h>
#include <unistd.h>
#define ARCH_REQ_XCOMP_PERM 0x1023
#define XFEATURE_XTILEDATA 18
extern const simd_isa simd_amx;
/* The kernel hands out the tile state on request, once per process; it refuses where signal stacks are too small. */
static int ask_for_amx(void)
{
    unsigned a, b, c, d;
    if (!has_avx512vnni() || !__get_cpuid_count(7, 0, &a, &b, &c, &d))
        return 0;
    const int tile = d >> 24 & 1, int8 = d >> 25 & 1;
    return tile && int8 && syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
}

static int has_amx(void)
{
    static atomic_int answer = -1;
    return keep(&answer, ask_for_amx);
}
#endif

#ifdef SIMD_HAVE_NEONDOT
extern const simd_isa simd_neondot;
static int has_neondot(void)
{
#if defined(__APPLE__)
    return 1;
#elif defined(__linux__)
    return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
#else
    return 0;
#endif
}
#endif

#ifdef SIMD_HAVE_NEON
extern const simd_isa simd_neon;
#endif

static int always(void) { return 1; }

static const struct {
    const simd_isa *isa;
    int (*runs_here)(void);
} tables[] = {
#ifdef SIMD_HAVE_AMX
    {&simd_amx, has_amx},
#endif
#ifdef SIMD_HAVE_AVX512VNNI
    {&simd_avx512vnni, has_avx512vnni},
#endif
#ifdef SIMD_HAVE_AVXVNNI
    {&simd_avxvnni, has_avxvnni},
#endif
#ifdef SIMD_HAVE_AVX2
    {&simd_avx2, has_avx2},
#endif
#ifdef SIMD_HAVE_NEONDOT
    {&simd_neondot, has_neondot},
#endif
#ifdef SIMD_HAVE_NEON
    {&simd_neon, always},
#endif
    {&simd_portable, always},
};

static const char *const names[] = {
#ifdef SIMD_HAVE_AMX
    "amx",
#endif
#ifdef SIMD_HAVE_AVX512VNNI
    "avx512vnni",
#endif
#ifdef SIMD_HAVE_AVXVNNI
    "avxvnni",
#endif
#ifdef SIMD_HAVE_AVX2
    "avx2",
#endif
#ifdef SIMD_HAVE_NEONDOT
    "neondot",
#endif
#ifdef SIMD_HAVE_NEON
    "neon",
#endif
    "portable",   NULL,
};

const char *const *simd_built(void) { return names; }

const simd_isa *simd_find(const char *name)
{
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
        if (!strcmp(tables[i].isa->name, name))
            return tables[i].runs_here() ? tables[i].isa : NULL;
    return NULL;
}

const simd_isa *simd_best(void)
{
    size_t i = 0;
    while (!tables[i].runs_here())
        i++;
    return tables[i].isa;
}
