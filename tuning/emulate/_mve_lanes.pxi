# SPDX-License-Identifier: Apache-2.0
# Arithmetic on the elements of vectors. Elements are widened to 64 bits, in which every product of two fits.


cdef int64_t shifted(int64_t value, int amount, int bits, bint round, int to_bits, int to, bint *hit) noexcept nogil:
    """An element of `bits` shifted to the left, or by a negative amount to the right, and saturated to `to_bits` where
    `to` is 1 (signed) or 2 (unsigned).
    """
    cdef int64_t found
    if amount >= bits:
        if not value:
            return 0
        if not to:
            return 0
        hit[0] = True
        if value < 0:
            return -(<int64_t>1 << (to_bits - 1)) if to == 1 else 0
        return (<int64_t>1 << (to_bits - (to == 1))) - 1
    if amount >= 0:
        found = <int64_t>(<uint64_t>value << amount)
    else:
        amount = min(-amount, 40)
        if round:
            value += <int64_t>1 << (amount - 1)
        found = value >> amount
    return saturate(found, to_bits, to == 1, hit) if to else found


cdef inline int64_t halves(int64_t p, int64_t r, int bits, bint round) noexcept nogil:
    """(2 p + 2 r + rounding) >> bits, without an overflow."""
    cdef int64_t low = (<int64_t>1 << (bits - 1)) - 1
    return (p >> (bits - 1)) + (r >> (bits - 1)) + (((p & low) + (r & low) + (<int64_t>round << (bits - 2))) >> (bits - 1))


cdef void two_operands(Machine *m, const Instruction *i, uint32_t mask) noexcept nogil:
    """Result = f(qn, qm or a general register), element by element."""
    cdef int size = i.size, bits = 8 << i.size, n = 16 >> i.size, k
    cdef bint sign = i.sign, hit
    cdef int64_t a[16]
    cdef int64_t b[16]
    cdef int64_t d[16]
    cdef int64_t r[16]
    cdef int64_t scalar = 0, product, half = <int64_t>i.rounds << (bits - 2)
    cdef int op = i.op
    cdef uint32_t saturated = 0
    unpack(&m.q[i.qn], size, sign, a)
    if i.rm == NONE:
        unpack(&m.q[i.qm], size, sign, b)
    else:
        scalar = 0 if i.rm == ZERO else extend(get(m, i.rm), size, sign)
        for k in range(n):
            b[k] = scalar
    if op == VADD:
        for k in range(n):
            r[k] = a[k] + b[k]
    elif op == VSUB:
        for k in range(n):
            r[k] = a[k] - b[k]
    elif op == VMUL:
        for k in range(n):
            r[k] = <int64_t>(<uint64_t>a[k] * <uint64_t>b[k])
    elif op == VQADD or op == VQSUB:
        for k in range(n):
            hit = False
            r[k] = saturate(a[k] + b[k] if op == VQADD else a[k] - b[k], bits, sign, &hit)
            saturated |= <uint32_t>hit << (k << size)
    elif op == VHADD:
        for k in range(n):
            r[k] = (a[k] + b[k] + i.rounds) >> 1
    elif op == VHSUB:
        for k in range(n):
            r[k] = (a[k] - b[k]) >> 1
    elif op == VMAX:
        for k in range(n):
            r[k] = a[k] if a[k] > b[k] else b[k]
    elif op == VMIN:
        for k in range(n):
            r[k] = a[k] if a[k] < b[k] else b[k]
    elif op == VABD:
        for k in range(n):
            r[k] = a[k] - b[k] if a[k] > b[k] else b[k] - a[k]
    elif op == VMULH:
        for k in range(n):
            product = <int64_t>(<uint64_t>a[k] * <uint64_t>b[k] + (<uint64_t>i.rounds << (bits - 1)))
            r[k] = product >> bits if sign else <int64_t>(<uint64_t>product >> bits)
    elif op == VQDMULH:
        for k in range(n):
            hit = False
            r[k] = saturate((a[k] * b[k] + half) >> (bits - 1), bits, True, &hit)
            saturated |= <uint32_t>hit << (k << size)
    elif op == VMLA:
        unpack(&m.q[i.qd], size, sign, d)
        for k in range(n):
            r[k] = <int64_t>(<uint64_t>d[k] + <uint64_t>a[k] * <uint64_t>scalar)
    elif op == VMLAS:
        unpack(&m.q[i.qd], size, sign, d)
        for k in range(n):
            r[k] = <int64_t>(<uint64_t>d[k] * <uint64_t>a[k] + <uint64_t>scalar)
    elif op == VQDMLAH or op == VQDMLASH:
        unpack(&m.q[i.qd], size, True, d)
        for k in range(n):
            hit = False
            if op == VQDMLAH:
                product = (d[k] << (bits - 1)) + a[k] * scalar
            else:
                product = (scalar << (bits - 1)) + d[k] * a[k]
            r[k] = saturate((product + half) >> (bits - 1), bits, True, &hit)
            saturated |= <uint32_t>hit << (k << size)
    elif op == VBRSR:
        for k in range(n):
            r[k] = reverse_low(a[k], bits, <int>(get(m, i.rm) & 0xFF))
    elif op == VCADD:
        # Complex numbers in pairs, the second turned by 90 or (subtract) 270 degrees.
        for k in range(n):
            product = b[k ^ 1] if (k & 1) != i.subtract else -b[k ^ 1]
            r[k] = (a[k] + product) >> i.top
    elif op == VQDMLADH:
        unpack(&m.q[i.qd], size, True, r)
        for k in range(i.exchange, n, 2):
            hit = False
            if i.exchange:
                product, d[0] = a[k] * b[k - 1], a[k - 1] * b[k]
            else:
                product, d[0] = a[k] * b[k], a[k + 1] * b[k + 1]
            r[k] = saturate(halves(product, -d[0] if i.subtract else d[0], bits, i.rounds), bits, True, &hit)
            saturated |= <uint32_t>hit << (k << size)
    pack(&m.q[i.qd], size, r, mask)
    if saturated & mask:
        m.fpscr |= FLAG_Q


cdef int64_t reverse_low(int64_t value, int bits, int count) noexcept nogil:
    """The lowest `count` bits the other way round, zeros above."""
    cdef int64_t found = 0
    cdef int k
    if count > bits:
        count = bits
    for k in range(count):
        found |= (value >> k & 1) << (count - 1 - k)
    return found


cdef void bitwise(Machine *m, const Instruction *i, uint32_t mask) noexcept nogil:
    cdef const Vector *a = &m.q[i.qn]
    cdef const Vector *b = &m.q[i.qm]
    cdef Vector r
    cdef int k, op = i.op
    for k in range(2):
        if op == VAND:
            r.d[k] = a.d[k] & b.d[k]
        elif op == VORR:
            r.d[k] = a.d[k] | b.d[k]
        elif op == VEOR:
            r.d[k] = a.d[k] ^ b.d[k]
        elif op == VBIC:
            r.d[k] = a.d[k] & ~b.d[k]
        elif op == VORN:
            r.d[k] = a.d[k] | ~b.d[k]
        elif op == VMVN:
            r.d[k] = ~b.d[k]
        elif op == VMOVI:
            r.d[k] = i.immediate
        elif op == VORRI:
            r.d[k] = m.q[i.qd].d[k] | i.immediate
        elif op == VBICI:
            r.d[k] = m.q[i.qd].d[k] & ~i.immediate
    if op == VPSEL:
        for k in range(16):
            r.b[k] = a.b[k] if m.p0 >> k & 1 else b.b[k]
    merge(&m.q[i.qd], &r, mask)


cdef void one_operand(Machine *m, const Instruction *i, uint32_t mask) noexcept nogil:
    """Result = f(qm), element by element; shifts too."""
    cdef int size = i.size, bits = 8 << i.size, n = 16 >> i.size, k, op = i.op, amount = 0
    cdef bint sign = i.sign, hit
    cdef int64_t a[16]
    cdef int64_t b[16]
    cdef int64_t r[16]
    cdef int64_t ones = (<int64_t>1 << bits) - 1
    cdef uint32_t saturated = 0, value
    unpack(&m.q[i.qm], size, sign, a)
    if op == VABS or op == VNEG:
        for k in range(n):
            r[k] = -a[k] if op == VNEG or a[k] < 0 else a[k]
    elif op == VQABS or op == VQNEG:
        for k in range(n):
            hit = False
            r[k] = saturate(-a[k] if op == VQNEG or a[k] < 0 else a[k], bits, True, &hit)
            saturated |= <uint32_t>hit << (k << size)
    elif op == VCLS or op == VCLZ:
        # Copies of the sign after it, or zeros.
        for k in range(n):
            r[k] = leading(~a[k] if op == VCLS and a[k] < 0 else a[k] & ones, bits) - (op == VCLS)
    elif op == VREV:
        for k in range(n):
            r[k] = a[k ^ ((i.count >> size) - 1)]
    elif op == VMAXA or op == VMINA:
        unpack(&m.q[i.qd], size, False, b)
        for k in range(n):
            r[k] = -a[k] if a[k] < 0 else a[k]
            if (b[k] > r[k]) == (op == VMAXA):
                r[k] = b[k]
    elif op == VSHLI or op == VSHL:
        if op == VSHL and i.rm == NONE:
            unpack(&m.q[i.qn], size, True, b)
        elif op == VSHL:
            unpack(&m.q[i.qd], size, sign, a)
        for k in range(n):
            if op == VSHLI:
                amount = <int>i.immediate
            elif i.rm == NONE:
                amount = <int8_t>b[k]
            else:
                amount = <int8_t>get(m, i.rm)
            hit = False
            r[k] = shifted(a[k], amount, bits, i.rounds, bits, i.saturate, &hit)
            saturated |= <uint32_t>hit << (k << size)
    elif op == VSLI:
        unpack(&m.q[i.qd], size, False, b)
        for k in range(n):
            r[k] = <int64_t>(<uint64_t>a[k] << i.immediate) | b[k] & ((<int64_t>1 << i.immediate) - 1)
    elif op == VSRI:
        unpack(&m.q[i.qd], size, False, b)
        for k in range(n):
            r[k] = (a[k] & ones) >> -i.immediate | b[k] & ~(ones >> -i.immediate)
    elif op == VDUP:
        for k in range(n):
            r[k] = get(m, i.rm)
    elif op == VIDUP:
        value = get(m, i.rd)
        for k in range(n):
            r[k] = value
            if i.rm != NONE and i.immediate < 0 and value == 0:
                value = get(m, i.rm)
            value += <uint32_t>i.immediate
            if i.rm != NONE and i.immediate > 0 and value == get(m, i.rm):
                value = 0
        put(m, i.rd, value)
    pack(&m.q[i.qd], size, r, mask)
    if saturated & mask:
        m.fpscr |= FLAG_Q


cdef int leading(int64_t value, int bits) noexcept nogil:
    """Zeros before the first one."""
    cdef int count = 0
    while count < bits and not value >> (bits - 1 - count) & 1:
        count += 1
    return count


cdef void two_sizes(Machine *m, const Instruction *i, uint32_t mask) noexcept nogil:
    """Elements of half the size of the result, or twice: those at the bottom or the top of each pair."""
    cdef int size = i.size, bits = 8 << i.size, n = 16 >> i.size, k, part
    cdef bint hit
    cdef int64_t a[16]
    cdef int64_t b[16]
    cdef int64_t r[16]
    cdef int64_t product
    cdef uint32_t saturated = 0
    if i.op == VSHRN:
        unpack(&m.q[i.qm], size + 1, i.sign, a)
        unpack(&m.q[i.qd], size, False, r)
        for k in range(i.top, n, 2):
            hit = False
            r[k] = shifted(a[k >> 1], <int>i.immediate, 2 * bits, i.rounds, bits, i.saturate, &hit)
            saturated |= <uint32_t>hit << (k << size)
    else:
        unpack(&m.q[i.qm], size - 1, i.sign, b)
        if i.op != VMOVL:
            unpack(&m.q[i.qn], size - 1, i.sign, a)
        if i.rm != NONE:
            b[i.top] = extend(get(m, i.rm), size - 1, True)
        for k in range(n):
            part = 2 * k + i.top
            product = b[i.top] if i.rm != NONE else b[part]
            hit = False
            if i.op == VMOVL:
                r[k] = <int64_t>(<uint64_t>product << i.immediate)
            elif i.op == VMULL:
                r[k] = <int64_t>(<uint64_t>a[part] * <uint64_t>product)
            elif i.op == VMULLP:
                r[k] = carryless(a[part], product, bits >> 1)
            else:
                product *= a[part]
                if size == 3:
                    hit = product == <int64_t>1 << 62
                    r[k] = <int64_t>(~<uint64_t>0 >> 1) if hit else 2 * product
                else:
                    r[k] = saturate(2 * product, bits, True, &hit)
            # QC looks at the predicate of the operand's half, or of either word.
            if hit:
                saturated |= (1u << 2 * i.top if size == 2 else 0x11u) << (k << size)
    pack(&m.q[i.qd], size, r, mask)
    if saturated & mask:
        m.fpscr |= FLAG_Q


cdef int64_t carryless(int64_t a, int64_t b, int bits) noexcept nogil:
    """The product of two polynomials over the field of two elements."""
    cdef uint64_t found = 0, left = <uint64_t>a & ((<uint64_t>1 << bits) - 1)
    cdef int k
    for k in range(bits):
        if b >> k & 1:
            found ^= left << k
    return <int64_t>found


cdef void with_carry(Machine *m, const Instruction *i, uint32_t mask) noexcept nogil:
    """VADC, VSBC: a carry from word to word, which words that are not active pass by."""
    cdef uint32_t carry = i.subtract if i.top else m.fpscr >> 29 & 1, k
    cdef bint active = i.top  # VADCI, VSBCI write the flags in any case
    cdef uint64_t total
    cdef int64_t r[16]
    for k in range(4):
        total = <uint64_t>m.q[i.qn].uw[k] + (~m.q[i.qm].uw[k] if i.subtract else m.q[i.qm].uw[k]) + carry
        r[k] = <uint32_t>total
        if mask >> 4 * k & 1:
            carry = <uint32_t>(total >> 32)
            active = True
    pack(&m.q[i.qd], 2, r, mask)
    if active:
        m.fpscr = m.fpscr & FLAG_Q | carry << 29


cdef void whole_shift(Machine *m, const Instruction *i, uint32_t mask) noexcept nogil:
    """VSHLC: all 128 bits to the left, a general register before and after them."""
    cdef uint32_t carry = get(m, i.rd), k, word
    cdef uint64_t low = (<uint64_t>1 << i.immediate) - 1
    cdef int64_t r[16]
    for k in range(4):
        word = m.q[i.qd].uw[k]
        r[k] = <uint32_t>(<uint64_t>word << i.immediate | carry & low)
        if mask >> 4 * k & 1:
            carry = <uint32_t>(<uint64_t>word >> (32 - i.immediate) & low)
    pack(&m.q[i.qd], 2, r, mask)
    put(m, i.rd, carry)
