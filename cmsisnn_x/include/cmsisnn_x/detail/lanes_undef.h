/* SPDX-License-Identifier: Apache-2.0 */
#undef CXN_LANES
#undef CXN_WHOLE_WORDS
#undef CXN_WORD_READS
