# SPDX-License-Identifier: Apache-2.0
"""An interpreter of Armv8.1-M's integer instructions behind Unicorn's hook of single instructions: Helium (MVE), loops,
conditional select, shifts of two registers, and moves and loads of the S and D registers, which are parts of its vectors.

Unicorn, which stops at Armv8.0-M, sees NOP.W in their place, and BEQ.W in the place of LE, LETP, WLS and WLSTP: for these
the hook sets Z as the outcome demands, and puts the flags back at the next instruction. So blocks and edges are those of
the code as linked. Vectors, VPR and LTPSIZE live here; general registers and flags are Unicorn's. Written from the
architecture (Arm DDI 0553), for a host that is little-endian.

Not modelled: floating point, exceptions within an instruction, FPSCR beyond its flags and QC.
"""

include "_mve_state.pxi"
include "_mve_memory.pxi"
include "_mve_lanes.pxi"
include "_mve_scalar.pxi"


cdef int execute(Machine *m, const Instruction *i) noexcept nogil:
    """Run one instruction: 1 for a branch that jumps, 0 for one that does not, 2 for anything else."""
    cdef int op = i.op
    cdef uint32_t mask = 0, count
    if op >= CSEL:
        if op == CSEL:
            select(m, i)
        elif op == SHIFT32 or op == SHIFT64:
            shift_general(m, i)
        elif op == CLRM:
            clear(m, i)
        elif op == LE:
            return end_loop(m, i)
        elif op == LCTP:
            m.ltpsize = LTPSIZE_OFF
        else:
            return begin_loop(m, i)
        return 2
    # No predicate touches these, nor do they advance a VPT block.
    if op == REFUSED:
        m.fault = NOT_KNOWN
        return 2
    if op >= VMOVLANE:
        move(m, i)
        return 2
    if op == VLDM:
        multiple(m, i)
        return 2
    if op == VLDRP:
        load_predicate(m, i)
        return 2
    if op == VMRS:
        if i.store:
            put_system(m, i.lane, get(m, i.rd))
        else:
            put(m, i.rd, get_system(m, i.lane))
        return 2
    if op == VPST:
        m.mask01 = m.mask23 = <uint32_t>i.immediate
        return 2
    mask = predicate(m)
    if op == VPT:
        compare(m, i, mask)
        m.mask01 = m.mask23 = <uint32_t>i.immediate
        return 2
    if op == VLDR:
        contiguous(m, i, mask)
    elif op == VGATHER:
        gather(m, i, mask)
    elif op == VLDN:
        interleaved(m, i)
    elif op >= VMLADAV and op <= VMINAV:
        reduce(m, i, mask)
    elif (op >= VAND and op <= VORN) or op == VPSEL or op == VMVN or (op >= VMOVI and op <= VBICI):
        bitwise(m, i, mask)
    elif op == VADC:
        with_carry(m, i, mask)
    elif op == VSHLC:
        whole_shift(m, i, mask)
    elif op >= VADD and op <= VQDMLADH and op != VSHL:
        two_operands(m, i, mask)
    elif op >= VSHRN and op <= VQDMULL:
        two_sizes(m, i, mask)
    elif op == VCMP:
        compare(m, i, mask)
    elif op == VPNOT:
        m.p0 = ~m.p0 & mask
    elif op == VCTP:
        count = get(m, i.rn)
        m.p0 = mask & ((1u << (count << i.size)) - 1 if count < 16u >> i.size else 0xFFFF)
    else:
        one_operand(m, i, mask)
    if not m.fault:
        advance(m)
    return 2


cdef struct Code:
    Machine *machine
    uint32_t start
    uint32_t halves
    uint32_t *numbers  # by halfword, the number of the instruction that is interpreted; 0: none


cdef void on_code(void *engine, uint64_t address, uint32_t size, void *user_data) noexcept nogil:
    cdef Code *code = <Code *>user_data
    cdef Machine *m = code.machine
    cdef uint32_t at = (<uint32_t>address - code.start) >> 1, number, flags
    cdef const Instruction *i
    cdef int outcome
    if m.fault:
        m.emu_stop(engine)
        return
    m.engine = engine
    if m.pending:
        put_xpsr(m, m.flags)
        m.pending = False
    number = code.numbers[at] if at < code.halves else 0
    if not number:
        return
    i = &m.instructions[number]
    # Unicorn calls for the instructions of an IT block whose condition fails, too.
    if i.it != ALWAYS and not holds(get_xpsr(m), i.it):
        return
    m.pc = <uint32_t>address
    outcome = execute(m, i)
    if m.fault:
        m.emu_stop(engine)
    elif outcome != 2:
        m.flags = get_xpsr(m)
        flags = m.flags | FLAG_Z if outcome else m.flags & ~<uint32_t>FLAG_Z
        if flags != m.flags:
            m.pending = True
            put_xpsr(m, flags)


cdef void on_access(void *engine, int kind, uint64_t address, int size, int64_t value, void *user_data) noexcept nogil:
    """Of code as data: instructions of ours are others there, and none may change."""
    cdef Code *code = <Code *>user_data
    cdef Machine *m = code.machine
    cdef uint32_t start = <uint32_t>address, at, xpsr
    cdef bint ours = False
    m.engine = engine
    # Unicorn 2.1 restores an access's IT state for its hook and leaves it so: the next block would start conditional.
    xpsr = get_xpsr(m)
    if xpsr & IT_STATE:
        put_xpsr(m, xpsr & ~<uint32_t>IT_STATE)
    if start < code.start or m.fault:
        return
    for at in range((start - code.start) >> 1, ((start - code.start + <uint32_t>size - 1) >> 1) + 1):
        if at < code.halves and (code.numbers[at] or (at and code.numbers[at - 1])):
            ours = True
    if ours or (kind == WRITE and is_code(m, start, <uint32_t>size)):
        m.reg_read(engine, m.pc_register, &m.pc)
        fault(m, CODE if kind == WRITE else CODE_READ, start, <uint32_t>size, kind == WRITE)
        m.emu_stop(engine)


OPERATIONS = {member.name: int(member) for member in Op}
FAULTS = {NOT_KNOWN: "unknown", UNMAPPED: "unmapped", UNALIGNED: "alignment", PROTECTED: "protected", CODE: "code", CODE_READ: "code read",
          LOOP_STATE: "loop"}


cdef class Section:
    """The code of one span of memory, to be hooked; valid while the interpreter lives."""

    cdef Code code
    cdef object interpreter

    def __dealloc__(self):
        free(self.code.numbers)

    @property
    def callback(self):
        """Address of the ``UC_HOOK_CODE`` callback."""
        return <uintptr_t>&on_code

    @property
    def access_callback(self):
        """Address of the ``UC_HOOK_MEM_READ | UC_HOOK_MEM_WRITE`` callback."""
        return <uintptr_t>&on_access

    @property
    def user_data(self):
        """Address to hand to the callbacks; valid while this object lives."""
        return <uintptr_t>&self.code


cdef class Interpreter:
    """The state of the core's vector unit, and the instructions that it runs.

    Parameters
    ----------
    reg_read, reg_write, emu_stop : int
        Addresses of ``uc_reg_read``, ``uc_reg_write`` and ``uc_emu_stop``.
    registers : sequence of int
        Unicorn's numbers of r0..r12, SP and LR.
    pc_register, xpsr_register : int
    """

    cdef Machine machine
    cdef size_t used, room

    def __cinit__(self, uintptr_t reg_read, uintptr_t reg_write, uintptr_t emu_stop, registers, int pc_register,
                  int xpsr_register):
        memset(&self.machine, 0, sizeof(Machine))
        self.machine.reg_read = <reg_read_t>reg_read
        self.machine.reg_write = <reg_write_t>reg_write
        self.machine.emu_stop = <emu_stop_t>emu_stop
        for k, number in enumerate(registers):
            self.machine.registers[k] = number
        self.machine.pc_register = pc_register
        self.machine.xpsr_register = xpsr_register
        self.used, self.room = 1, 0
        self._grow(256)

    def __dealloc__(self):
        free(self.machine.instructions)
        free(self.machine.spans)
        free(self.machine.code)

    cdef int _grow(self, size_t room) except -1:
        cdef Instruction *found = <Instruction *>calloc(room, sizeof(Instruction))
        if found == NULL:
            raise MemoryError()
        if self.machine.instructions != NULL:
            memcpy(found, self.machine.instructions, self.used * sizeof(Instruction))
            free(self.machine.instructions)
        self.machine.instructions, self.room = found, room
        return 0

    cdef Span *_spans(self, count) except NULL:
        cdef Span *found = <Span *>calloc(count + 1, sizeof(Span))
        if found == NULL:
            raise MemoryError()
        return found

    def memory(self, spans):
        """Where memory is: ``(start, end, writable, host address)``."""
        free(self.machine.spans)
        self.machine.spans = self._spans(len(spans))
        for k, (start, end, writable, host) in enumerate(spans):
            self.machine.spans[k].start = start
            self.machine.spans[k].end = end
            self.machine.spans[k].writable = writable
            self.machine.spans[k].host = <uint8_t *><uintptr_t>host
        self.machine.span_count, self.machine.latest = len(spans), 0

    def code(self, spans):
        """Where code is, ``(start, end)``, to which no vector store may go; forget all instructions."""
        free(self.machine.code)
        self.machine.code = self._spans(len(spans))
        for k, (start, end) in enumerate(spans):
            self.machine.code[k].start, self.machine.code[k].end = start, end
        self.machine.code_count = len(spans)
        self.used = 1

    def watch(self, watchers):
        """Callbacks of accesses, ``(address, user data)`` as of ``UC_HOOK_MEM_READ | UC_HOOK_MEM_WRITE``."""
        for k, (callback, user_data) in enumerate(watchers):
            self.machine.watchers[k].callback = <access_t><uintptr_t>callback
            self.machine.watchers[k].user_data = <void *><uintptr_t>user_data
        self.machine.watcher_count = len(watchers)

    def section(self, uint32_t start, uint32_t size):
        """Code from `start`, whose instructions `add` says."""
        cdef Section made = Section()
        made.code.machine = &self.machine
        made.code.start = start
        made.code.halves = size // 2
        made.code.numbers = <uint32_t *>calloc(size // 2 + 1, sizeof(uint32_t))
        if made.code.numbers == NULL:
            raise MemoryError()
        made.interpreter = self
        return made

    def add(self, Section section, uint32_t address, operation, uint8_t it):
        """An instruction at an address, as `mve_operation.Operation`; None is refused when it is reached."""
        cdef Instruction *i
        if self.used == self.room:
            self._grow(2 * self.room)
        i = &self.machine.instructions[self.used]
        memset(i, 0, sizeof(Instruction))
        i.it = it
        if operation is not None:
            (name, i.size, i.sign, i.qd, i.qn, i.qm, i.rd, i.rn, i.rm, i.memory, i.lane, i.count, i.condition, i.saturate,
             i.top, i.accumulate, i.exchange, i.subtract, i.rounds, i.store, i.tail, i.writeback, i.post,
             i.immediate) = operation
            i.op = OPERATIONS[name]
        section.code.numbers[(address - section.code.start) // 2] = <uint32_t>self.used
        self.used += 1

    def start(self):
        """As a call begins: vectors and VPR are zero, no loop is predicated."""
        memset(self.machine.q, 0, sizeof(self.machine.q))
        self.machine.p0 = self.machine.mask01 = self.machine.mask23 = self.machine.fpscr = 0
        self.machine.ltpsize = LTPSIZE_OFF
        self.machine.pending = False
        self.machine.fault = NO_FAULT

    @property
    def fault(self):
        """What stopped it, ``(kind, pc, is_write, address, size)`` with a kind of `FAULTS`, or ``None``."""
        if not self.machine.fault:
            return None
        return (FAULTS[self.machine.fault], self.machine.pc, bool(self.machine.bad_write), self.machine.bad_address,
                self.machine.bad_size)

    @property
    def vectors(self):
        """The eight vector registers, 128 bytes."""
        return (<const char *>self.machine.q)[:sizeof(self.machine.q)]

    @vectors.setter
    def vectors(self, bytes value):
        if len(value) != sizeof(self.machine.q):
            raise ValueError(f"expected {sizeof(self.machine.q)} bytes, got {len(value)}")
        memcpy(self.machine.q, <const char *>value, sizeof(self.machine.q))

    @property
    def vpr(self):
        """The predicate and the masks of a VPT block."""
        return get_system(&self.machine, 12)

    @vpr.setter
    def vpr(self, uint32_t value):
        put_system(&self.machine, 12, value)

    @property
    def flags(self):
        """N, Z, C, V and QC of the FPSCR."""
        return self.machine.fpscr
