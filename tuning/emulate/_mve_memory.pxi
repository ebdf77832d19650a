# SPDX-License-Identifier: Apache-2.0
# Loads and stores of vectors. Unicorn's hooks see none of them: the watchers of accesses are called from here.


cdef uint8_t *fault(Machine *m, int which, uint32_t address, uint32_t size, bint store) noexcept nogil:
    m.fault = which
    m.bad_address = address
    m.bad_size = size
    m.bad_write = store
    return NULL


cdef bint is_code(Machine *m, uint32_t address, uint32_t size) noexcept nogil:
    cdef uint32_t k
    if not m.code_count or address >= m.code[m.code_count - 1].end or address + size <= m.code[0].start:
        return False
    for k in range(m.code_count):
        if address < m.code[k].end and address + size > m.code[k].start:
            return True
    return False


cdef uint8_t *find(Machine *m, uint32_t address, uint32_t size) noexcept nogil:
    """Where bytes are on the host; NULL where they lie in no span as a whole. `latest` is then their span."""
    cdef Span *span = &m.spans[m.latest]
    cdef uint32_t k
    if m.span_count and address >= span.start and address < span.end and size <= span.end - address:
        return span.host + (address - span.start)
    for k in range(m.span_count):
        span = &m.spans[k]
        if address >= span.start and address < span.end and size <= span.end - address:
            m.latest = k
            return span.host + (address - span.start)
    return NULL


cdef uint8_t *reach(Machine *m, uint32_t address, uint32_t size, uint32_t align, bint store, bint whole) noexcept nogil:
    """Where an access goes, after the watchers have seen it. A vector that is not `whole` may be reached in parts."""
    cdef uint8_t *host
    cdef int k
    if address & (align - 1):
        return fault(m, UNALIGNED, address, align, store)
    host = find(m, address, size)
    if host == NULL:
        return fault(m, UNMAPPED, address, size, store) if whole else NULL
    if store and not m.spans[m.latest].writable:
        return fault(m, PROTECTED, address, size, store)
    if is_code(m, address, size):
        return fault(m, CODE if store else CODE_READ, address, size, store)
    for k in range(m.watcher_count):
        m.watchers[k].callback(m.engine, WRITE if store else READ, address, size, m.element, m.watchers[k].user_data)
    return host


cdef inline int64_t load(const uint8_t *host, int memory, bint sign) noexcept nogil:
    cdef uint32_t value = 0
    memcpy(&value, host, <size_t>1 << memory)
    return extend(value, memory, sign)


cdef void contiguous(Machine *m, const Instruction *i, uint32_t mask) noexcept nogil:
    cdef uint32_t base = get(m, i.rn), at = base if i.post else base + <uint32_t>i.immediate
    cdef uint32_t each = 1u << i.memory, n = 16u >> i.size, k
    cdef Vector *d = &m.q[i.qd]
    cdef uint8_t *host = NULL
    cdef int64_t lanes[16]
    if mask == 0xFFFF:
        host = reach(m, at, n << i.memory, each, i.store, False)
        if m.fault:
            return
    if host != NULL and i.memory == i.size:
        memcpy(host if i.store else <uint8_t *>d, <uint8_t *>d if i.store else host, 16)
    else:
        if i.store:
            unpack(d, i.size, False, lanes)
        else:
            memset(lanes, 0, sizeof(lanes))
        for k in range(n):
            if not mask >> (k << i.size) & 1:
                continue
            if host == NULL:
                place = reach(m, at + (k << i.memory), each, each, i.store, True)
                if place == NULL:
                    return
            else:
                place = host + (k << i.memory)
            if i.store:
                memcpy(place, &lanes[k], each)
            else:
                lanes[k] = load(place, i.memory, i.sign)
        if not i.store:
            pack(d, i.size, lanes, 0xFFFF)
    if i.writeback:
        put(m, i.rn, base + <uint32_t>i.immediate)


cdef void gather(Machine *m, const Instruction *i, uint32_t mask) noexcept nogil:
    """Of [Rn, Qm {, UXTW #lane}], or of [Qm, #immediate], whose addresses are written back whatever the predicate."""
    cdef uint32_t each = 1u << min(i.memory, 2), n = 16u >> i.size, k, at, part
    cdef uint32_t base = <uint32_t>i.immediate if i.rn == NONE else get(m, i.rn)
    cdef uint8_t *place
    cdef int64_t lanes[16]
    cdef int64_t offsets[16]
    unpack(&m.q[i.qm], i.size, False, offsets)
    if i.store:
        unpack(&m.q[i.qd], i.size, False, lanes)
    else:
        memset(lanes, 0, sizeof(lanes))
    for k in range(n):
        at = base + (<uint32_t>offsets[k] << i.lane)
        if i.size == 3:
            offsets[k] = (offsets[k] >> 32 << 32) | at
        else:
            offsets[k] = at
        # A doubleword is two words to alignment and predicate.
        for part in range(2 if i.memory == 3 else 1):
            if not mask >> ((k << i.size) + 4 * part) & 1:
                continue
            m.element = 0 if i.memory == 3 else k + 1
            place = reach(m, at + 4 * part, each, each, i.store, True)
            m.element = 0
            if place == NULL:
                return
            if i.store:
                memcpy(place, <uint8_t *>&lanes[k] + 4 * part, each)
            elif i.memory == 3:
                memcpy(<uint8_t *>&lanes[k] + 4 * part, place, each)
            else:
                lanes[k] = load(place, i.memory, i.sign)
    if not i.store:
        pack(&m.q[i.qd], i.size, lanes, 0xFFFF)
    if i.writeback:
        pack(&m.q[i.qm], i.size, offsets, 0xFFFF)


# Of 32 and of 64 bytes, the four words that each of the two and of the four instructions moves.
cdef uint8_t[24] WORDS
WORDS = [0, 1, 6, 7, 2, 3, 4, 5, 0, 1, 10, 11, 2, 3, 12, 13, 4, 5, 14, 15, 6, 7, 8, 9]


cdef void interleaved(Machine *m, const Instruction *i) noexcept nogil:
    cdef uint32_t base = get(m, i.rn), each = 1u << i.size, k, e, word, element
    cdef uint8_t *words = &WORDS[(8 if i.count == 4 else 0) + 4 * i.lane]
    cdef uint8_t *place
    cdef uint8_t *lane
    for k in range(4):
        word = words[k]
        place = reach(m, base + 4 * word, 4, each, i.store, True)
        if place == NULL:
            return
        for e in range(4u >> i.size):
            element = (4 * word >> i.size) + e
            lane = &m.q[i.qd + element % i.count].ub[(element // i.count) << i.size]
            if i.store:
                memcpy(place + (e << i.size), lane, each)
            else:
                memcpy(lane, place + (e << i.size), each)
    if i.writeback:
        put(m, i.rn, base + 16 * i.count)


cdef void multiple(Machine *m, const Instruction *i) noexcept nogil:
    """S registers, which are the words of the vectors."""
    cdef uint32_t base = (m.pc + 4) & ~3u if i.rn == 15 else get(m, i.rn)
    cdef uint32_t at = base + <uint32_t>i.immediate, k
    cdef uint32_t *words = <uint32_t *>m.q + i.lane
    cdef uint8_t *place
    for k in range(i.count):
        place = reach(m, at + 4 * k, 4, 4, i.store, True)
        if place == NULL:
            return
        memcpy(place if i.store else <uint8_t *>(words + k), <uint8_t *>(words + k) if i.store else place, 4)
    if i.writeback:
        put(m, i.rn, at if i.immediate < 0 else base + 4 * i.count)


cdef void load_predicate(Machine *m, const Instruction *i) noexcept nogil:
    cdef uint32_t base = get(m, i.rn), at = base if i.post else base + <uint32_t>i.immediate, value = 0
    cdef uint8_t *place = reach(m, at, 4, 4, i.store, True)
    if place == NULL:
        return
    if i.store:
        value = get_system(m, i.lane)
        memcpy(place, &value, 4)
    else:
        memcpy(&value, place, 4)
        put_system(m, i.lane, value)
    if i.writeback:
        put(m, i.rn, base + <uint32_t>i.immediate)
