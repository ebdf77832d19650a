# SPDX-License-Identifier: Apache-2.0
"""Bounds, constants and alignment checked in C while code runs under Unicorn.

The callbacks have the signatures of Unicorn's ``uc_cb_hookmem_t`` and ``uc_cb_hookcode_t``; the engine is an opaque
pointer and the engine functions that are needed arrive as addresses, so nothing is linked against Unicorn.
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

ctypedef int (*mem_read_t)(void *engine, uint64_t address, void *data, uint64_t size) noexcept nogil
ctypedef int (*reg_read_t)(void *engine, int register_id, void *value) noexcept nogil
ctypedef int (*reg_write_t)(void *engine, int register_id, const void *value) noexcept nogil
ctypedef int (*emu_stop_t)(void *engine) noexcept nogil

cdef enum:
    WRITE = 17  # UC_MEM_WRITE
    IT_STATE = 0x0600FC00  # ICI/IT bits of the XPSR; Armv6-M has none
    BOUNDS = 1
    READ_ONLY = 2


cdef struct Region:
    uint32_t start
    uint32_t end
    uint32_t writable
    uint64_t bytes_read
    uint64_t bytes_written


cdef struct AccessState:
    reg_read_t reg_read
    reg_write_t reg_write
    emu_stop_t emu_stop
    int pc_register
    int xpsr_register
    Region *regions
    uint32_t count
    uint32_t latest
    int rule
    bint bad_write
    uint32_t bad_address
    uint32_t bad_size
    uint32_t bad_pc


cdef void offend(AccessState *state, void *engine, int rule, bint write, uint32_t address, uint32_t size) noexcept nogil:
    cdef uint32_t pc = 0
    if not state.rule:
        state.reg_read(engine, state.pc_register, &pc)
        state.rule = rule
        state.bad_write = write
        state.bad_address = address
        state.bad_size = size
        state.bad_pc = pc & ~<uint32_t>1
    state.emu_stop(engine)


cdef void leave_it_block(AccessState *state, void *engine) noexcept nogil:
    """Unicorn 2.1 restores an access's IT state for its hook and leaves it so: the next block would start conditional."""
    cdef uint32_t xpsr = 0
    state.reg_read(engine, state.xpsr_register, &xpsr)
    if xpsr & IT_STATE:
        xpsr &= ~<uint32_t>IT_STATE
        state.reg_write(engine, state.xpsr_register, &xpsr)


cdef void on_access(void *engine, int kind, uint64_t address64, int size, int64_t value, void *user_data) noexcept nogil:
    leave_it_block(<AccessState *>user_data, engine)
    check_access(engine, kind, address64, size, value, user_data)


cdef void check_access(void *engine, int kind, uint64_t address64, int size, int64_t value, void *user_data) noexcept nogil:
    cdef AccessState *state = <AccessState *>user_data
    cdef uint32_t address = <uint32_t>address64, low = 0, high = state.count, middle
    cdef bint write = kind == WRITE
    cdef Region *region = &state.regions[state.latest]
    if address < region.start or address >= region.end:
        while low < high:
            middle = (low + high) >> 1
            if state.regions[middle].end <= address:
                low = middle + 1
            else:
                high = middle
        region = &state.regions[low]
        if low == state.count or address < region.start:
            offend(state, engine, BOUNDS, write, address, size)
            return
        state.latest = low
    if <uint64_t>address + size > region.end:
        offend(state, engine, BOUNDS, write, address, size)
    elif write and not region.writable:
        offend(state, engine, READ_ONLY, write, address, size)
    elif write:
        region.bytes_written += size
    else:
        region.bytes_read += size


cdef class AccessProbe:
    """Checks loads and stores against declared regions, and counts their bytes.

    Unicorn takes a microsecond to prepare the call of a hook that watches the address of an access, and next to nothing
    for one that does not: to check bounds, watch the gaps between the regions and the regions' last bytes;
    to count, watch everything.

    Parameters
    ----------
    reg_read, reg_write, emu_stop : int
        Addresses of ``uc_reg_read``, ``uc_reg_write`` and ``uc_emu_stop``.
    pc_register, xpsr_register : int
        Unicorn's numbers of the program counter and the status register.
    """

    cdef AccessState state

    def __cinit__(self, uintptr_t reg_read, uintptr_t reg_write, uintptr_t emu_stop, int pc_register, int xpsr_register):
        memset(&self.state, 0, sizeof(AccessState))
        self.state.reg_read = <reg_read_t>reg_read
        self.state.reg_write = <reg_write_t>reg_write
        self.state.emu_stop = <emu_stop_t>emu_stop
        self.state.pc_register = pc_register
        self.state.xpsr_register = xpsr_register

    def __dealloc__(self):
        free(self.state.regions)

    @property
    def callback(self):
        """Address of the ``UC_HOOK_MEM_READ | UC_HOOK_MEM_WRITE`` callback."""
        return <uintptr_t>&on_access

    @property
    def direct(self):
        """Address of the same for accesses that Unicorn does not make; it leaves the status register alone."""
        return <uintptr_t>&check_access

    @property
    def user_data(self):
        """Address to hand to the callback; valid while this object lives."""
        return <uintptr_t>&self.state

    def start(self, regions):
        """Forget every count; allow the ``(start, end, writable)`` regions, which must be ascending and disjoint."""
        free(self.state.regions)
        # One more than needed: the search of an empty list looks at the first element.
        self.state.regions = <Region *>calloc(len(regions) + 1, sizeof(Region))
        if self.state.regions == NULL:
            raise MemoryError()
        for i, (start, end, writable) in enumerate(regions):
            self.state.regions[i].start = start
            self.state.regions[i].end = end
            self.state.regions[i].writable = writable
        self.state.count = len(regions)
        self.state.latest = 0
        self.state.rule = 0

    @property
    def offence(self):
        """The first access that broke a rule, ``(rule, is_write, address, size, pc)``, or ``None``."""
        if not self.state.rule:
            return None
        rule = "bounds" if self.state.rule == BOUNDS else "read-only"
        return rule, bool(self.state.bad_write), self.state.bad_address, self.state.bad_size, self.state.bad_pc

    def touched(self):
        """List of ``(start, end, bytes read, bytes written)`` of the regions."""
        return [(self.state.regions[i].start, self.state.regions[i].end, self.state.regions[i].bytes_read,
                 self.state.regions[i].bytes_written) for i in range(self.state.count)]


cdef enum:
    PLAIN = 1        # cannot fault for its alignment
    IT = 2           # begins an IT block; `mask` is its state
    TRANSFER = 3     # needs an address that is a multiple of mask + 1
    NO_INDEX = 16
    CACHE = 1 << 16


cdef struct Decoded:
    uint32_t address
    uint8_t kind  # 0: slot not used
    uint8_t base
    uint8_t index
    uint8_t mask
    uint16_t offset
    uint8_t writes


cdef struct AlignmentState:
    mem_read_t mem_read
    reg_read_t reg_read
    emu_stop_t emu_stop
    int registers[16]
    int xpsr_register
    bint strict
    Decoded *cache
    uint32_t it
    bint faulted
    bint bad_write
    uint32_t bad_address
    uint32_t bad_size
    uint32_t bad_pc


cdef inline void transfer(Decoded *to, uint32_t base, uint32_t index, uint32_t offset, uint32_t size, bint writes) noexcept nogil:
    to.kind = TRANSFER
    to.base = <uint8_t>base
    to.index = <uint8_t>index
    to.offset = <uint16_t>offset
    to.mask = <uint8_t>(size - 1)
    to.writes = writes


cdef void decode_narrow(Decoded *to, uint32_t code, bint strict) noexcept nogil:
    cdef uint32_t group = code >> 12, op = (code >> 9) & 7
    cdef uint32_t size
    if group == 0xC:  # STM, LDM
        transfer(to, (code >> 8) & 7, NO_INDEX, 0, 4, not code & 0x800)
    elif (code & 0xFF00) == 0xBF00 and code & 0xF:
        to.kind = IT
        to.mask = code & 0xFF
    elif strict and group == 5:  # STR STRH STRB LDRSB LDR LDRH LDRB LDRSH [base, index]
        size = 4 if op == 0 or op == 4 else 2 if op == 1 or op == 5 or op == 7 else 1
        if size > 1:
            transfer(to, (code >> 3) & 7, (code >> 6) & 7, 0, size, op < 3)
    elif strict and group == 6:  # STR, LDR [base, #offset]
        transfer(to, (code >> 3) & 7, NO_INDEX, (code >> 6 & 31) * 4, 4, not code & 0x800)
    elif strict and group == 8:  # STRH, LDRH [base, #offset]
        transfer(to, (code >> 3) & 7, NO_INDEX, (code >> 6 & 31) * 2, 2, not code & 0x800)


cdef void decode_wide(Decoded *to, uint32_t code, uint32_t second) noexcept nogil:
    """What Armv7-M wants aligned: LDM, STM, LDRD, STRD, exclusives, and the FPU's loads and stores."""
    cdef uint32_t base = code & 15
    cdef bint writes = not code & 0x10
    if base == 15:
        return  # a literal, or SG
    if (code & 0xFE00) == 0xE800:
        if (code & 0xFFE0) == 0xE8C0:  # TBB, TBH, acquire and release, exclusives of bytes and halfwords
            if (second & 0xF0) == 0x50:
                transfer(to, base, NO_INDEX, 0, 2, writes)
            elif (second & 0xF0) >= 0xA0 and (second & 0x30) == 0x20:
                transfer(to, base, NO_INDEX, 0, 4, writes)
        elif (code & 0xFFF0) != 0xE840 or second >> 12 != 15:  # not TT
            transfer(to, base, NO_INDEX, 0, 4, writes)
    elif (code & 0xFE00) == 0xEC00 and (code & 0xFFE0) != 0xEC40 and (second & 0xE00) == 0xA00:
        transfer(to, base, NO_INDEX, 0, 4, writes)


cdef bint runs(AlignmentState *state, void *engine, uint32_t condition) noexcept nogil:
    cdef uint32_t xpsr = 0
    cdef bint n, z, c, v, holds
    state.reg_read(engine, state.xpsr_register, &xpsr)
    n, z, c, v = xpsr >> 31 & 1, xpsr >> 30 & 1, xpsr >> 29 & 1, xpsr >> 28 & 1
    if condition >> 1 == 0:
        holds = z
    elif condition >> 1 == 1:
        holds = c
    elif condition >> 1 == 2:
        holds = n
    elif condition >> 1 == 3:
        holds = v
    elif condition >> 1 == 4:
        holds = c and not z
    elif condition >> 1 == 5:
        holds = n == v
    elif condition >> 1 == 6:
        holds = not z and n == v
    else:
        return True
    return holds != (condition & 1)


cdef void on_code(void *engine, uint64_t address64, uint32_t size, void *user_data) noexcept nogil:
    cdef AlignmentState *state = <AlignmentState *>user_data
    cdef uint32_t address = <uint32_t>address64, base = 0, index = 0
    cdef Decoded *found = &state.cache[(address >> 1) & (CACHE - 1)]
    cdef uint32_t it = state.it
    cdef unsigned char code[4]
    if not found.kind or found.address != address:
        memset(found, 0, sizeof(Decoded))
        found.address = address
        found.kind = PLAIN
        if state.mem_read(engine, address, code, size if size == 4 else 2) == 0:
            if size == 4:
                decode_wide(found, code[0] | code[1] << 8, code[2] | code[3] << 8)
            else:
                decode_narrow(found, code[0] | code[1] << 8, state.strict)
    # The four conditions that follow an IT are the upper half of its state, the lowest bit of which is shifted in.
    state.it = it & 0xE0 | (it << 1 & 0x1F) if it & 7 else 0
    if found.kind == PLAIN:
        return
    if found.kind == IT:
        state.it = found.mask
        return
    state.reg_read(engine, state.registers[found.base], &base)
    if found.index != NO_INDEX:
        state.reg_read(engine, state.registers[found.index], &index)
    address = base + index + found.offset
    if address & found.mask and (not it or runs(state, engine, it >> 4)):
        if not state.faulted:
            state.faulted = True
            state.bad_write = found.writes
            state.bad_address = address
            state.bad_size = found.mask + 1
            state.bad_pc = found.address
        state.emu_stop(engine)


cdef class AlignmentProbe:
    """Stops the engine before a load or store whose address the core cannot take, which Unicorn itself lets pass.

    On Armv6-M that is any unaligned one; elsewhere LDM, STM, LDRD, STRD, exclusives and the FPU's. PUSH, POP and
    literals are aligned by nature.

    Parameters
    ----------
    mem_read, reg_read, emu_stop : int
        Addresses of ``uc_mem_read``, ``uc_reg_read`` and ``uc_emu_stop``.
    registers : sequence of int
        Unicorn's numbers of r0..r15.
    xpsr_register : int
    strict : bool
        Whether any unaligned access faults (Armv6-M).
    """

    cdef AlignmentState state

    def __cinit__(self, uintptr_t mem_read, uintptr_t reg_read, uintptr_t emu_stop, registers, int xpsr_register, bint strict):
        memset(&self.state, 0, sizeof(AlignmentState))
        self.state.mem_read = <mem_read_t>mem_read
        self.state.reg_read = <reg_read_t>reg_read
        self.state.emu_stop = <emu_stop_t>emu_stop
        for i, number in enumerate(registers):
            self.state.registers[i] = number
        self.state.xpsr_register = xpsr_register
        self.state.strict = strict
        self.state.cache = <Decoded *>calloc(CACHE, sizeof(Decoded))
        if self.state.cache == NULL:
            raise MemoryError()

    def __dealloc__(self):
        free(self.state.cache)

    @property
    def callback(self):
        """Address of the ``UC_HOOK_CODE`` callback."""
        return <uintptr_t>&on_code

    @property
    def user_data(self):
        """Address to hand to the callback; valid while this object lives."""
        return <uintptr_t>&self.state

    def start(self):
        """Forget what was decoded, as the code may have changed, and what was found."""
        memset(self.state.cache, 0, CACHE * sizeof(Decoded))
        self.state.it = 0
        self.state.faulted = False

    @property
    def offence(self):
        """The first access that the core cannot make, ``("alignment", is_write, address, size, pc)``, or ``None``."""
        if not self.state.faulted:
            return None
        return "alignment", bool(self.state.bad_write), self.state.bad_address, self.state.bad_size, self.state.bad_pc
