/* SPDX-License-Identifier: Apache-2.0 */
/* A network run in one call, without Python between its steps. */
#ifndef CMSISNN_X_SIMD_NETWORK_H
#define CMSISNN_X_SIMD_NETWORK_H

#include "affine.h"
#include "simd.h"
#include "windows.h"

#if defined(_MSC_VER) && !defined(__clang__)
#include <intrin.h>
typedef volatile __int64 simd_atomic;
#define SIMD_FETCH_ADD(value, more) ((ptrdiff_t)_InterlockedExchangeAdd64(value, more))
#else
#include <stdatomic.h>
typedef atomic_ptrdiff_t simd_atomic;
#define SIMD_FETCH_ADD(value, more) atomic_fetch_add(value, more)
#endif

enum {
    SIMD_WEIGHTED,
    SIMD_GATHERED,
    SIMD_WIDE,
    SIMD_POOL,
    SIMD_RELU,
    SIMD_LOOK_UP,
    SIMD_LOOK_UP_BYTES,
    SIMD_SOFTMAX,
    SIMD_SOFTMAX_ROWS,
    SIMD_SOFTMAX_WIDE_ROWS,
    SIMD_SOFTMAX_REAL_ROWS,
    SIMD_CURVE,
    SIMD_PAIR,
    SIMD_REQUANTISE,
    SIMD_MEAN,
    SIMD_CONCAT,
    SIMD_COPY,
    SIMD_PAD,
    SIMD_RESIZE
};

/* Where a tensor lies: `at` is the number of the caller's input or output, or an offset into the workspace. */
enum { SIMD_INPUT, SIMD_OUTPUT, SIMD_WORKSPACE, SIMD_CONSTANT };
typedef struct {
    int where;
    size_t at;
    const void *constant;
} simd_slot;

typedef struct {
    int kind;
    int wide; /* 0: 8 bits, 1: 16 bits */
    simd_slot output;
    const simd_slot *inputs;
    size_t input_count;
    /* The kernel runs so often, on tensors one behind the other, which lie so many bytes apart. */
    size_t samples, out_pitch;
    const size_t *in_pitches;
    size_t scratch_bytes;

    simd_geometry geometry;
    simd_weighted weighted;
    simd_pool pool;
    void (*relu)(const void *in, void *out, size_t count);
    void (*pair_of)(int op, const simd_pair *p, const void *a, const void *b, void *out, size_t count, size_t period);
    const void *packed; /* or a table */
    int int_bits;       /* of SIMD_LOOK_UP; bytes of an entry of SIMD_LOOK_UP_BYTES; the operation of SIMD_PAIR */
    size_t count, period; /* elements of one sample, and of the second tensor of a pair */
    union {
        simd_gathered gathered;
        simd_wide wide_windows;
        simd_pair pair;
        simd_requantisation requantisation;
        simd_mean mean;
        const simd_softmax *softmax;
        simd_wide_softmax wide_softmax;
        simd_real_softmax real_softmax;
        simd_curve curve;
        simd_view view;
        struct {
            size_t rows;
        } concat; /* of in_pitches bytes altogether */
        struct {
            size_t out_h, out_w, bytes, size;
        } resize;
    } of;
} simd_step;

/* What a network remembers: after every sample, `bytes` from a tensor. */
typedef struct {
    simd_slot from;
    void *to;
    size_t bytes;
} simd_state;

typedef struct {
    const simd_step *steps;
    size_t step_count;
    const simd_state *states;
    size_t state_count;
    const size_t *in_bytes, *out_bytes; /* of one sample of the caller's tensors */
    size_t tensor_bytes;                /* of the workspace; then scratch of `scratch_bytes`, then `most_inputs` pointers */
    size_t scratch_bytes, most_inputs;
} simd_network;

typedef struct {
    simd_atomic next;
} simd_counter;

/* Sizes of scratch and pointers from the steps. */
void simd_network_plan(simd_network *network);

size_t simd_workspace_bytes(const simd_network *network);

size_t simd_step_scratch_bytes(const simd_step *step);
/* All samples of the step; `in` is changed. */
void simd_step_run(const simd_step *step, const void **in, void *out, void *scratch);

/* Runs the samples first .. last-1 of the batch; `workspace` is aligned to SIMD_ALIGNMENT. */
void simd_network_run(const simd_network *network, const void *const *in, void *const *out, ptrdiff_t first,
                      ptrdiff_t last, void *workspace);

/* Runs samples of the batch until `counter` has handed out all: several threads share one counter. */
void simd_network_share(const simd_network *network, const void *const *in, void *const *out, ptrdiff_t samples,
                        simd_counter *counter, void *workspace);

void simd_look_up_q7(const int8_t *x, const int8_t *table, int int_bits, int8_t *out, size_t count);
void simd_look_up_q15(const int16_t *x, const int16_t *table, int int_bits, int16_t *out, size_t count);
void simd_softmax_q7(const int8_t *x, int8_t *out, size_t count);
void simd_softmax_q15(const int16_t *x, int16_t *out, size_t count);

#endif
