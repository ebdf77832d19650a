# SPDX-License-Identifier: Apache-2.0
# What the interpreter of `_mve` keeps, and how it reaches general registers and the predicate.

from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

ctypedef int (*reg_read_t)(void *engine, int register_id, void *value) noexcept nogil
ctypedef int (*reg_write_t)(void *engine, int register_id, const void *value) noexcept nogil
ctypedef int (*emu_stop_t)(void *engine) noexcept nogil
ctypedef void (*access_t)(void *engine, int kind, uint64_t address, int size, int64_t value, void *user_data) noexcept nogil

cpdef enum Op:
    REFUSED = 0
    # loads and stores: contiguous, by a vector of offsets or addresses, interleaved, of words, of P0 and VPR
    VLDR, VGATHER, VLDN, VLDM, VLDRP
    # two vectors, or a vector and a general register
    VADD, VSUB, VMUL, VQADD, VQSUB, VHADD, VHSUB, VMAX, VMIN, VABD, VMULH, VQDMULH, VAND, VORR, VEOR, VBIC, VORN
    VMLA, VMLAS, VQDMLAH, VQDMLASH, VSHL, VBRSR, VCADD, VQDMLADH, VADC, VPSEL
    # one vector
    VMVN, VABS, VNEG, VQABS, VQNEG, VCLS, VCLZ, VREV, VMAXA, VMINA, VSHLI, VSLI, VSRI, VSHLC
    # an immediate, a general register
    VMOVI, VORRI, VBICI, VDUP, VIDUP
    # elements of two sizes
    VSHRN, VMOVL, VMULL, VMULLP, VQDMULL
    # to general registers
    VMLADAV, VMLALDAV, VRMLALDAVH, VADDV, VADDLV, VABAV, VMAXV, VMINV, VMAXAV, VMINAV
    # predicates
    VCMP, VPT, VPST, VPNOT, VCTP, VMRS
    # moves that no predicate touches
    VMOVLANE, VMOVWORD, VMOVCOPY
    # general registers and loops
    CSEL, SHIFT32, SHIFT64, CLRM, DLS, WLS, LE, LCTP

cdef enum:
    NONE = 0xFF
    ZERO = 15
    ALWAYS = 14
    LR = 14
    READ = 16  # UC_MEM_READ, UC_MEM_WRITE
    WRITE = 17
    IT_STATE = 0x0600FC00  # ICI/IT bits of the XPSR
    LTPSIZE_OFF = 4
    WATCHERS = 2
    FLAG_Z = 1 << 30
    FLAG_Q = 1 << 27  # of the APSR; QC of the FPSCR

cdef enum Fault:
    NO_FAULT = 0
    NOT_KNOWN = 1
    UNMAPPED = 2
    UNALIGNED = 3
    PROTECTED = 4
    CODE = 5
    CODE_READ = 6
    LOOP_STATE = 7

cdef union Vector:
    int8_t b[16]
    uint8_t ub[16]
    int16_t h[8]
    uint16_t uh[8]
    int32_t w[4]
    uint32_t uw[4]
    int64_t d[2]

# The fields of `mve_operation.Operation`, and `it`, the condition that an IT block puts on it.
#   size            log2 of the bytes of an element of the result; `memory` of one in memory
#   qd, qn, qm      vector registers
#   rd, rn, rm      general registers, NONE, or ZERO
#   lane, count     (there `amount`) a lane, an S register, a system register, a scale; registers, words, bytes of a group
#   saturate        1 to signed, 2 to unsigned; bits of a shift of general registers
#   subtract        also: a shift by a general register is to the right
cdef struct Instruction:
    uint16_t op
    uint8_t size
    uint8_t sign
    uint8_t qd
    uint8_t qn
    uint8_t qm
    uint8_t rd
    uint8_t rn
    uint8_t rm
    uint8_t memory
    uint8_t lane
    uint8_t count
    uint8_t condition
    uint8_t saturate
    uint8_t top
    uint8_t accumulate
    uint8_t exchange
    uint8_t subtract
    uint8_t rounds
    uint8_t store
    uint8_t tail
    uint8_t writeback
    uint8_t post
    uint8_t it
    int64_t immediate

cdef struct Span:
    uint32_t start
    uint32_t end
    bint writable
    uint8_t *host

cdef struct Watcher:
    access_t callback
    void *user_data

cdef struct Machine:
    void *engine
    reg_read_t reg_read
    reg_write_t reg_write
    emu_stop_t emu_stop
    int registers[15]
    int pc_register
    int xpsr_register
    Vector q[8]
    uint32_t p0
    uint32_t mask01  # of VPR, for the instructions that are left of a VPT block
    uint32_t mask23
    uint32_t ltpsize
    uint32_t fpscr  # N, Z, C, V and QC
    uint32_t flags  # to put back at the next instruction, if `pending`
    bint pending
    uint32_t pc
    int fault
    bint bad_write
    uint32_t bad_address
    uint32_t bad_size
    Span *spans
    uint32_t span_count
    uint32_t latest
    Span *code
    uint32_t code_count
    Watcher watchers[WATCHERS]
    int watcher_count
    uint32_t element  # of a gather or scatter, from 1 on; the watchers' value
    Instruction *instructions


cdef inline uint32_t get(Machine *m, int number) noexcept nogil:
    cdef uint32_t value = 0
    m.reg_read(m.engine, m.registers[number], &value)
    return value


cdef inline void put(Machine *m, int number, uint32_t value) noexcept nogil:
    m.reg_write(m.engine, m.registers[number], &value)


cdef inline uint64_t get_pair(Machine *m, const Instruction *i) noexcept nogil:
    return get(m, i.rd) | <uint64_t>get(m, i.rn) << 32


cdef inline void put_pair(Machine *m, const Instruction *i, uint64_t value) noexcept nogil:
    put(m, i.rd, <uint32_t>value)
    put(m, i.rn, <uint32_t>(value >> 32))


cdef inline uint32_t get_xpsr(Machine *m) noexcept nogil:
    cdef uint32_t value = 0
    m.reg_read(m.engine, m.xpsr_register, &value)
    return value


cdef inline void put_xpsr(Machine *m, uint32_t value) noexcept nogil:
    m.reg_write(m.engine, m.xpsr_register, &value)


cdef bint holds(uint32_t xpsr, int condition) noexcept nogil:
    cdef bint n = xpsr >> 31 & 1, z = xpsr >> 30 & 1, c = xpsr >> 29 & 1, v = xpsr >> 28 & 1, found
    if condition >= ALWAYS:
        return True
    if condition >> 1 == 0:
        found = z
    elif condition >> 1 == 1:
        found = c
    elif condition >> 1 == 2:
        found = n
    elif condition >> 1 == 3:
        found = v
    elif condition >> 1 == 4:
        found = c and not z
    elif condition >> 1 == 5:
        found = n == v
    else:
        found = not z and n == v
    return found != (condition & 1)


cdef uint32_t predicate(Machine *m) noexcept nogil:
    """A bit for each byte that an instruction may change: VPT block, and tail of a loop."""
    cdef uint32_t mask = 0xFFFF, left
    if m.mask01:
        mask &= m.p0 | 0xFF00
    if m.mask23:
        mask &= m.p0 | 0x00FF
    if m.ltpsize < LTPSIZE_OFF:
        left = get(m, LR)
        if left < 16u >> m.ltpsize:
            mask &= (1u << (left << m.ltpsize)) - 1
    return mask


cdef void advance(Machine *m) noexcept nogil:
    """A VPT block goes on by an instruction; where its mask says so, the predicate turns over."""
    if m.mask01 & 7:
        if m.mask01 & 8:
            m.p0 ^= 0x00FF
        m.mask01 = m.mask01 << 1 & 15
    else:
        m.mask01 = 0
    if m.mask23 & 7:
        if m.mask23 & 8:
            m.p0 ^= 0xFF00
        m.mask23 = m.mask23 << 1 & 15
    else:
        m.mask23 = 0


# Cython gives a conditional expression a type that holds one of its arms only: hence the casts.
cdef inline void unpack(const Vector *v, int size, bint sign, int64_t *out) noexcept nogil:
    cdef int k
    if size == 0:
        for k in range(16):
            out[k] = <int64_t>v.b[k] if sign else <int64_t>v.ub[k]
    elif size == 1:
        for k in range(8):
            out[k] = <int64_t>v.h[k] if sign else <int64_t>v.uh[k]
    elif size == 2:
        for k in range(4):
            out[k] = <int64_t>v.w[k] if sign else <int64_t>v.uw[k]
    else:
        out[0], out[1] = v.d[0], v.d[1]


cdef inline int64_t extend(uint32_t value, int size, bint sign) noexcept nogil:
    if size == 0:
        return <int64_t><int8_t>value if sign else <int64_t><uint8_t>value
    if size == 1:
        return <int64_t><int16_t>value if sign else <int64_t><uint16_t>value
    return <int64_t><int32_t>value if sign else <int64_t>value


cdef void merge(Vector *to, const Vector *source, uint32_t mask) noexcept nogil:
    cdef int k
    if mask == 0xFFFF:
        to[0] = source[0]
        return
    for k in range(16):
        if mask >> k & 1:
            to.b[k] = source.b[k]


cdef void pack(Vector *to, int size, const int64_t *values, uint32_t mask) noexcept nogil:
    cdef Vector made
    cdef int k
    if size == 0:
        for k in range(16):
            made.b[k] = <int8_t>values[k]
    elif size == 1:
        for k in range(8):
            made.h[k] = <int16_t>values[k]
    elif size == 2:
        for k in range(4):
            made.w[k] = <int32_t>values[k]
    else:
        made.d[0], made.d[1] = values[0], values[1]
    merge(to, &made, mask)


cdef inline int64_t saturate(int64_t value, int bits, bint sign, bint *hit) noexcept nogil:
    cdef int64_t high = (<int64_t>1 << (bits - sign)) - 1, low = -high - 1 if sign else 0
    if value > high:
        hit[0] = True
        return high
    if value < low:
        hit[0] = True
        return low
    return value
