/* SPDX-License-Identifier: Apache-2.0 */
/* The table that a source file ends with. Takes TABLE_NAME, TABLE_TEXT, DEPTHWISE_Q7(name) and, where int8 convolution
 * goes elsewhere, CONVOLVE_Q7(name). */
#ifndef CONVOLVE_Q7
#define CONVOLVE_Q7(name) q7_##name
#endif

extern const simd_isa TABLE_NAME;

const simd_isa TABLE_NAME = {
    .name = TABLE_TEXT,
    .convolve = {{CONVOLVE_Q7(packed_bytes), CONVOLVE_Q7(pack), CONVOLVE_Q7(scratch_bytes), CONVOLVE_Q7(run)},
                 {q15_packed_bytes, q15_pack, q15_scratch_bytes, q15_run}},
    .depthwise = {{DEPTHWISE_Q7(dw_packed_bytes), DEPTHWISE_Q7(dw_pack), DEPTHWISE_Q7(dw_scratch_bytes),
                   DEPTHWISE_Q7(dw_run)},
                  {q15_dw_packed_bytes, q15_dw_pack, q15_dw_scratch_bytes, q15_dw_run}},
    .dot_rows = {q7_dot_rows, q15_dot_rows},
    .max_pool = {{q7_max_pool_bytes, q7_max_pool}, {q15_max_pool_bytes, q15_max_pool}},
    .avg_pool = {{q7_avg_pool_bytes, q7_avg_pool}, {q15_avg_pool_bytes, q15_avg_pool}},
    .relu = {q7_relu, q15_relu},
    .pair = {q7_pair, q15_pair},
};
