# SPDX-License-Identifier: Apache-2.0
# What ends in general registers and in the predicate: reductions, comparisons, moves, shifts of two registers, loops.


cdef void reduce(Machine *m, const Instruction *i, uint32_t mask) noexcept nogil:
    """Sums of products and of elements, largest and smallest: of the active elements."""
    cdef int size = i.size, n = 16 >> i.size, k, op = i.op
    cdef bint sign = i.sign
    cdef int64_t a[16]
    cdef int64_t b[16]
    cdef int64_t x
    cdef uint64_t total = 0, part
    cdef int32_t bytes_total = 0
    if op == VMLADAV and size == 0 and sign and mask == 0xFFFF and not i.exchange and not i.subtract:
        for k in range(16):
            bytes_total += <int32_t>m.q[i.qn].b[k] * m.q[i.qm].b[k]
        put(m, i.rd, <uint32_t>bytes_total + (get(m, i.rd) if i.accumulate else 0))
        return
    unpack(&m.q[i.qm], size, sign, b)
    if op == VMLADAV or op == VMLALDAV or op == VRMLALDAVH or op == VABAV:
        unpack(&m.q[i.qn], size, sign, a)
    if op == VMLADAV or op == VMLALDAV:
        for k in range(n):
            if mask >> (k << size) & 1:
                part = <uint64_t>a[k ^ 1 if i.exchange else k] * <uint64_t>b[k]
                total += 0 - part if i.subtract and k & 1 else part
    elif op == VRMLALDAVH:
        # An accumulator of 72 bits, the lowest eight of which are rounded away after each product.
        total = get_pair(m, i) if i.accumulate else 0
        for k in range(n):
            if mask >> (k << size) & 1:
                part = <uint64_t>a[k ^ 1 if i.exchange else k] * <uint64_t>b[k]
                if i.subtract and k & 1:
                    part = 0 - part
                total += (<uint64_t>(<int64_t>part >> 8) if sign else part >> 8) + (part >> 7 & 1)
        put_pair(m, i, total)
        return
    elif op == VADDV or op == VADDLV:
        for k in range(n):
            if mask >> (k << size) & 1:
                total += <uint64_t>b[k]
    elif op == VABAV:
        total = get(m, i.rd)
        for k in range(n):
            if mask >> (k << size) & 1:
                total += <uint64_t>(a[k] - b[k] if a[k] > b[k] else b[k] - a[k])
    else:
        x = extend(get(m, i.rd), size, sign and op != VMAXAV and op != VMINAV)
        for k in range(n):
            if not mask >> (k << size) & 1:
                continue
            if op == VMAXAV or op == VMINAV:
                b[k] = -b[k] if b[k] < 0 else b[k]
            if op == VMAXV or op == VMAXAV:
                x = b[k] if b[k] > x else x
            else:
                x = b[k] if b[k] < x else x
        total = <uint64_t>x
    if op == VMLALDAV or op == VADDLV:
        put_pair(m, i, total + (get_pair(m, i) if i.accumulate else 0))
    else:
        put(m, i.rd, <uint32_t>total + (get(m, i.rd) if i.accumulate else 0))


cdef bint compares(int64_t a, int64_t b, int condition) noexcept nogil:
    if condition == 0:
        return a == b
    if condition == 1:
        return a != b
    if condition == 2 or condition == 10:
        return a >= b
    if condition == 8 or condition == 12:
        return a > b
    return a < b if condition == 11 else a <= b


cdef void compare(Machine *m, const Instruction *i, uint32_t mask) noexcept nogil:
    cdef int size = i.size, n = 16 >> i.size, k
    cdef int64_t a[16]
    cdef int64_t b[16]
    cdef uint32_t found = 0
    unpack(&m.q[i.qn], size, i.sign, a)
    if i.rm == NONE:
        unpack(&m.q[i.qm], size, i.sign, b)
    else:
        b[0] = 0 if i.rm == ZERO else extend(get(m, i.rm), size, i.sign)
    for k in range(n):
        if compares(a[k], b[k] if i.rm == NONE else b[0], i.condition):
            found |= ((1u << (1 << size)) - 1) << (k << size)
    m.p0 = found & mask


cdef uint32_t get_system(Machine *m, int which) noexcept nogil:
    if which == 2:
        return m.fpscr
    return m.p0 if which == 13 else m.p0 | m.mask01 << 16 | m.mask23 << 20


cdef void put_system(Machine *m, int which, uint32_t value) noexcept nogil:
    if which == 2:
        m.fpscr = value >> 27 << 27
        return
    m.p0 = value & 0xFFFF
    if which == 12:
        m.mask01, m.mask23 = value >> 16 & 15, value >> 20 & 15


cdef void move(Machine *m, const Instruction *i) noexcept nogil:
    """Lanes and words, to general registers and back."""
    cdef uint32_t *words = <uint32_t *>m.q
    cdef uint8_t *lane = &m.q[i.qn].ub[i.lane << i.size] if i.op == VMOVLANE else NULL
    cdef uint32_t value = 0, second
    if i.op == VMOVLANE and i.store:
        value = get(m, i.rd)
        memcpy(lane, &value, <size_t>1 << i.size)
    elif i.op == VMOVLANE:
        put(m, i.rd, <uint32_t>load(lane, i.size, i.sign))
    elif i.op == VMOVCOPY:
        value, second = words[i.memory], words[i.memory + i.count - 1]
        words[i.lane] = value
        if i.count == 2:
            words[i.lane + 1] = second
    elif i.store:
        words[i.lane] = get(m, i.rd)
        if i.rn != NONE:
            words[i.count] = get(m, i.rn)
    else:
        put(m, i.rd, words[i.lane])
        if i.rn != NONE:
            put(m, i.rn, words[i.count])


cdef void select(Machine *m, const Instruction *i) noexcept nogil:
    cdef uint32_t value
    if holds(get_xpsr(m), i.condition):
        value = 0 if i.rn == ZERO else get(m, i.rn)
    else:
        value = 0 if i.rm == ZERO else get(m, i.rm)
        if i.count == 1:
            value += 1
        elif i.count == 2:
            value = ~value
        elif i.count == 3:
            value = 0 - value
    put(m, i.rd, value)


cdef uint64_t shift_wide(uint64_t value, int amount, const Instruction *i, bint *hit) noexcept nogil:
    """64 bits to the left, or by a negative amount to the right; saturated to `i.saturate` bits, if any."""
    cdef bint sign = i.sign, negative = sign and value >> 63
    cdef uint64_t found, high, low
    if amount < 0:
        amount = -amount
        if amount > 63:
            found = ~<uint64_t>0 if negative else 0
            if i.rounds:
                found = value >> 63 if amount == 64 and not sign else 0
        else:
            found = <uint64_t>(<int64_t>value >> amount) if sign else value >> amount
            if i.rounds:
                found += value >> (amount - 1) & 1
    elif amount > 63:
        found = 0
        hit[0] = value != 0
    else:
        found = value << amount
        hit[0] = (<uint64_t>(<int64_t>found >> amount) if sign else found >> amount) != value
    if not i.saturate:
        hit[0] = False
        return found
    high = (<uint64_t>1 << (i.saturate - sign)) - 1 if i.saturate - sign < 64 else ~<uint64_t>0
    low = ~high if sign else 0
    if hit[0]:
        return low if negative else high
    if sign:
        if <int64_t>found > <int64_t>high:
            hit[0] = True
            return high
        if <int64_t>found < <int64_t>low:
            hit[0] = True
            return low
    elif found > high:
        hit[0] = True
        return high
    return found


cdef void shift_general(Machine *m, const Instruction *i) noexcept nogil:
    cdef int amount = <int>i.immediate
    cdef bint hit = False
    cdef uint64_t value
    if i.rm != NONE:
        amount = <int8_t>get(m, i.rm)
        if i.subtract:
            amount = -amount
    if i.op == SHIFT64:
        put_pair(m, i, shift_wide(get_pair(m, i), amount, i, &hit))
    else:
        value = <uint64_t>extend(get(m, i.rd), 2, i.sign)
        put(m, i.rd, <uint32_t>shift_wide(value, amount, i, &hit))
    if hit:
        put_xpsr(m, get_xpsr(m) | FLAG_Q)


cdef void clear(Machine *m, const Instruction *i) noexcept nogil:
    cdef int k
    for k in range(15):
        if i.immediate >> k & 1:
            put(m, k, 0)
    if i.immediate >> 15 & 1:
        put_xpsr(m, get_xpsr(m) & 0x07F0FFFF)


cdef int begin_loop(Machine *m, const Instruction *i) noexcept nogil:
    """DLS, DLSTP; WLS, WLSTP, which jump where there is nothing to do: 1 jumps, 0 does not, 2 is no branch."""
    cdef uint32_t rounds = get(m, i.rn)
    if i.op == WLS and not rounds:
        return 1
    put(m, LR, rounds)
    m.ltpsize = i.size if i.tail else LTPSIZE_OFF
    return 0 if i.op == WLS else 2


cdef int end_loop(Machine *m, const Instruction *i) noexcept nogil:
    cdef uint32_t left, step
    if not i.tail and m.ltpsize != LTPSIZE_OFF:
        m.fault = LOOP_STATE
        return 0
    if not i.accumulate and not i.tail:
        return 1  # LE without a counter
    left = get(m, LR)
    step = 16u >> m.ltpsize if m.ltpsize < LTPSIZE_OFF else 1
    if left > step:
        put(m, LR, left - step)
        return 1
    if i.tail:
        m.ltpsize = LTPSIZE_OFF
    return 0
