/* SPDX-License-Identifier: Apache-2.0 */
/* A sequence of layers run in one call, without Python between them. */
#ifndef CMSISNN_X_SIMD_NETWORK_H
#define CMSISNN_X_SIMD_NETWORK_H

#include "simd.h"

#if defined(_MSC_VER) && !defined(__clang__)
#include <intrin.h>
typedef volatile __int64 simd_atomic;
#define SIMD_FETCH_ADD(value, more) ((ptrdiff_t)_InterlockedExchangeAdd64(value, more))
#else
#include <stdatomic.h>
typedef atomic_ptrdiff_t simd_atomic;
#define SIMD_FETCH_ADD(value, more) atomic_fetch_add(value, more)
#endif

enum { SIMD_WEIGHTED, SIMD_POOL, SIMD_RELU, SIMD_LOOK_UP, SIMD_SOFTMAX };

typedef struct {
    int kind;
    int wide; /* 0: q7, 1: q15 */
    simd_geometry geometry;
    simd_weighted weighted;
    simd_pool pool;
    void (*relu)(const void *in, void *out, size_t count);
    const void *packed; /* or the table of SIMD_LOOK_UP */
    int int_bits;
    size_t in_count, out_count; /* elements */
} simd_step;

typedef struct {
    const simd_step *steps;
    size_t step_count;
    size_t in_bytes, out_bytes; /* of one sample */
    size_t buffer_bytes, scratch_bytes; /* multiples of SIMD_ALIGNMENT */
} simd_network;

typedef struct {
    simd_atomic next;
} simd_counter;

/* Buffer and scratch sizes from the steps. */
void simd_network_plan(simd_network *network);

size_t simd_workspace_bytes(const simd_network *network);

size_t simd_step_scratch_bytes(const simd_step *step);
void simd_step_run(const simd_step *step, const void *in, void *out, void *scratch);

/* Runs the samples first .. last-1 of the batch; `workspace` is aligned to SIMD_ALIGNMENT. */
void simd_network_run(const simd_network *network, const void *in, void *out, ptrdiff_t first, ptrdiff_t last,
                      void *workspace);

/* Runs samples of the batch until `counter` has handed out all: several threads share one counter. */
void simd_network_share(const simd_network *network, const void *in, void *out, ptrdiff_t samples,
                        simd_counter *counter, void *workspace);

void simd_look_up_q7(const int8_t *x, const int8_t *table, int int_bits, int8_t *out, size_t count);
void simd_look_up_q15(const int16_t *x, const int16_t *table, int int_bits, int16_t *out, size_t count);
void simd_softmax_q7(const int8_t *x, int8_t *out, size_t count);
void simd_softmax_q15(const int16_t *x, int16_t *out, size_t count);

#endif
