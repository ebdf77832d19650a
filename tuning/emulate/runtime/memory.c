/* SPDX-License-Identifier: Apache-2.0 */
/* The two functions of the C library that emitted firmware may need, and the names under which compilers call them. */
#include <stddef.h>
#include <stdint.h>

/* A word that may alias any object, as the buffers hold bytes and halfwords. */
typedef uint32_t __attribute__((may_alias)) word_t;

void *memcpy(void *restrict destination, const void *restrict source, size_t size)
{
    uint8_t *to = destination;
    const uint8_t *from = source;
    if ((((uintptr_t)to | (uintptr_t)from) & 3u) == 0u) {
        for (; size >= 16u; size -= 16u, to += 16, from += 16) {
            word_t a = ((const word_t *)from)[0], b = ((const word_t *)from)[1];
            word_t c = ((const word_t *)from)[2], d = ((const word_t *)from)[3];
            ((word_t *)to)[0] = a;
            ((word_t *)to)[1] = b;
            ((word_t *)to)[2] = c;
            ((word_t *)to)[3] = d;
        }
        for (; size >= 4u; size -= 4u, to += 4, from += 4) {
            *(word_t *)to = *(const word_t *)from;
        }
    }
    for (; size != 0u; size--) {
        *to++ = *from++;
    }
    return destination;
}

void *memmove(void *destination, const void *source, size_t size)
{
    uint8_t *to = destination;
    const uint8_t *from = source;
    if ((uintptr_t)to - (uintptr_t)from >= size) {
        return memcpy(destination, source, size);
    }
    while (size != 0u) {
        size--;
        to[size] = from[size];
    }
    return destination;
}

void *memset(void *destination, int value, size_t size)
{
    uint8_t *to = destination;
    uint32_t word = 0x01010101u * (uint8_t)value;
    for (; size != 0u && ((uintptr_t)to & 3u) != 0u; size--) {
        *to++ = (uint8_t)value;
    }
    for (; size >= 16u; size -= 16u, to += 16) {
        ((word_t *)to)[0] = word;
        ((word_t *)to)[1] = word;
        ((word_t *)to)[2] = word;
        ((word_t *)to)[3] = word;
    }
    for (; size >= 4u; size -= 4u, to += 4) {
        *(word_t *)to = word;
    }
    for (; size != 0u; size--) {
        *to++ = (uint8_t)value;
    }
    return destination;
}

/* The run-time ABI for the Arm architecture (RTABI 4.3.4): memset has its last two arguments swapped there. */
void *__aeabi_memcpy(void *to, const void *from, size_t size) { return memcpy(to, from, size); }
void *__aeabi_memcpy4(void *to, const void *from, size_t size) { return memcpy(to, from, size); }
void *__aeabi_memcpy8(void *to, const void *from, size_t size) { return memcpy(to, from, size); }
void *__aeabi_memmove(void *to, const void *from, size_t size) { return memmove(to, from, size); }
void *__aeabi_memmove4(void *to, const void *from, size_t size) { return memmove(to, from, size); }
void *__aeabi_memmove8(void *to, const void *from, size_t size) { return memmove(to, from, size); }
void *__aeabi_memset(void *to, size_t size, int value) { return memset(to, value, size); }
void *__aeabi_memset4(void *to, size_t size, int value) { return memset(to, value, size); }
void *__aeabi_memset8(void *to, size_t size, int value) { return memset(to, value, size); }
void *__aeabi_memclr(void *to, size_t size) { return memset(to, 0, size); }
void *__aeabi_memclr4(void *to, size_t size) { return memset(to, 0, size); }
void *__aeabi_memclr8(void *to, size_t size) { return memset(to, 0, size); }
