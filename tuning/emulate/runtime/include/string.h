/* SPDX-License-Identifier: Apache-2.0 */
/* For compilers that come without a C library; searched after everything else. */
#ifndef CXN_RUNTIME_STRING_H
#define CXN_RUNTIME_STRING_H
#include <stddef.h>
#ifdef __cplusplus
extern "C" {
#endif
void *memcpy(void *destination, const void *source, size_t size);
void *memmove(void *destination, const void *source, size_t size);
void *memset(void *destination, int value, size_t size);
#ifdef __cplusplus
}
#endif
#endif
