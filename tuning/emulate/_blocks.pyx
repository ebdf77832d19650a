# SPDX-License-Identifier: Apache-2.0
"""Basic blocks counted in C: a Python callback takes about a microsecond per block, this one a few nanoseconds.

The callback has the signature of Unicorn's ``uc_cb_hookcode_t``; the engine is an opaque pointer and the engine functions
that are needed arrive as addresses, so nothing is linked against Unicorn.
"""

from libc.stdint cimport uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

ctypedef int (*mem_read_t)(void *engine, uint64_t address, void *data, uint64_t size) noexcept nogil
ctypedef int (*emu_stop_t)(void *engine) noexcept nogil

cdef uint32_t NOWHERE = 0xFFFFFFFF  # predecessor of the first block; no block starts at an odd address


cdef struct Block:
    uint32_t address
    uint32_t size
    uint32_t instructions  # 0: slot not used
    uint32_t joined  # bytes of a block that began here, with the blocks that were joined to it
    bint branches  # whether the last instruction may jump


cdef struct Edge:
    uint32_t source
    uint32_t address
    uint64_t count  # 0: slot not used


cdef struct BlockState:
    mem_read_t mem_read
    emu_stop_t emu_stop
    Block *blocks
    Edge *edges
    uint32_t block_mask
    uint32_t edge_mask
    uint32_t block_count
    uint32_t edge_count
    uint32_t previous
    uint32_t end  # of the block that was entered last; 0 where it ends with a branch
    bint joins
    uint64_t instructions
    uint64_t budget
    bint exhausted
    bint full


cdef inline uint32_t mix(uint32_t a, uint32_t b) noexcept nogil:
    cdef uint32_t h = (a * <uint32_t>0x9E3779B1) ^ (b * <uint32_t>0x85EBCA77)
    return h ^ (h >> 15)


cdef bint may_jump(uint32_t first, uint32_t second) noexcept nogil:
    """Whether an instruction writes the program counter; `second` is the second halfword of a long one."""
    if first < 0xE800:
        return (
            (first >> 12 == 0xD and first >> 9 & 7 != 7)  # B<c>; SVC and UDF are none
            or first >> 11 == 0x1C  # B
            or (first & 0xF500) == 0xB100  # CBZ, CBNZ
            or (first & 0xFF00) == 0x4700  # BX, BLX
            or (first & 0xFD87) == 0x4487  # ADD, MOV to PC
            or (first & 0xFF00) == 0xBD00  # POP
        )
    if first >> 11 == 0x1E and second & 0x8000:
        return second & 0x5000 != 0 or first >> 7 & 7 != 7  # B, BL; B<c>
    if (first & 0xFFF0) == 0xE8D0 and (second & 0xFFE0) == 0xF000:
        return True  # TBB, TBH
    if (first & 0xFE50) == 0xE810:
        return second >> 15  # LDM
    return (first & 0xFF70) == 0xF850 and second >> 12 == 15  # LDR


cdef void look(BlockState *state, void *engine, Block *block, uint32_t size) noexcept nogil:
    """Count instructions. Thumb: a first halfword with 0b11101, 0b11110 or 0b11111 in its top bits starts a long one."""
    cdef unsigned char code[4]
    cdef uint32_t at = 0, count = 0, long_one = 0
    code[2] = code[3] = 0
    while at < size and state.mem_read(engine, block.address + at, code, 2) == 0:
        long_one = code[1] >= 0xE8
        count += 1
        if long_one and state.joins:
            state.mem_read(engine, block.address + at + 2, code + 2, 2)
        at += 4 if long_one else 2
    block.size = size
    block.instructions = max(count, <uint32_t>1)
    block.branches = state.joins and may_jump(code[0] | code[1] << 8, code[2] | code[3] << 8)


cdef void on_block(void *engine, uint64_t address64, uint32_t size, void *user_data) noexcept nogil:
    cdef BlockState *state = <BlockState *>user_data
    cdef uint32_t address = <uint32_t>address64
    cdef uint32_t slot = mix(address, 0) & state.block_mask
    cdef Block *block
    cdef Edge *edge
    while state.blocks[slot].instructions and state.blocks[slot].address != address:
        slot = (slot + 1) & state.block_mask
    block = &state.blocks[slot]
    if not block.instructions or block.size != size:
        state.block_count += not block.instructions
        block.address = address
        look(state, engine, block, size)
    if state.end == address and state.joins:
        enter(state, engine, block, True)
        return
    slot = mix(state.previous, address) & state.edge_mask
    while state.edges[slot].count and (state.edges[slot].source != state.previous or state.edges[slot].address != address):
        slot = (slot + 1) & state.edge_mask
    edge = &state.edges[slot]
    if not edge.count:
        state.edge_count += 1
        edge.source = state.previous
        edge.address = address
    edge.count += 1
    state.previous = address
    enter(state, engine, block, False)


cdef void enter(BlockState *state, void *engine, Block *block, bint joined) noexcept nogil:
    cdef uint32_t slot
    cdef Block *first = block
    if joined:
        slot = mix(state.previous, 0) & state.block_mask
        while state.blocks[slot].address != state.previous or not state.blocks[slot].instructions:
            slot = (slot + 1) & state.block_mask
        first = &state.blocks[slot]
    first.joined = max(first.joined, block.address + block.size - first.address) if state.joins else block.size
    state.end = 0 if block.branches else block.address + block.size
    state.instructions += block.instructions
    if state.instructions > state.budget:
        state.exhausted = True
        state.emu_stop(engine)
    elif state.block_count >= state.block_mask or state.edge_count >= state.edge_mask:
        # Open addressing needs a free slot to end a search.
        state.full = True
        state.emu_stop(engine)


cdef class BlockProbe:
    """Counts how often each basic block follows which, and stops the engine when a budget of instructions is spent.

    Parameters
    ----------
    mem_read, emu_stop : int
        Addresses of ``uc_mem_read`` and ``uc_emu_stop``.
    log2_blocks : int
        Room for 2**log2_blocks distinct blocks and four times as many edges.
    joins : bool
        Whether only a branch ends a block. Unicorn ends one at every page of 1 KiB too, so that prices would depend on
        where code is linked.
    """

    cdef BlockState state

    def __cinit__(self, uintptr_t mem_read, uintptr_t emu_stop, uint32_t log2_blocks=16, bint joins=False):
        memset(&self.state, 0, sizeof(BlockState))
        self.state.mem_read = <mem_read_t>mem_read
        self.state.emu_stop = <emu_stop_t>emu_stop
        self.state.block_mask = (<uint32_t>1 << log2_blocks) - 1
        self.state.edge_mask = (<uint32_t>4 << log2_blocks) - 1
        self.state.blocks = <Block *>calloc(<size_t>self.state.block_mask + 1, sizeof(Block))
        self.state.edges = <Edge *>calloc(<size_t>self.state.edge_mask + 1, sizeof(Edge))
        if self.state.blocks == NULL or self.state.edges == NULL:
            raise MemoryError()
        self.state.previous = NOWHERE
        self.state.joins = joins

    def __dealloc__(self):
        free(self.state.blocks)
        free(self.state.edges)

    @property
    def callback(self):
        """Address of the ``UC_HOOK_BLOCK`` callback."""
        return <uintptr_t>&on_block

    @property
    def user_data(self):
        """Address to hand to the callback; valid while this object lives."""
        return <uintptr_t>&self.state

    @property
    def current(self):
        """Where the address of the block that was entered last stands."""
        return <uintptr_t>&self.state.previous

    def start(self, uint64_t budget):
        """Forget every count; allow `budget` instructions."""
        memset(self.state.blocks, 0, (<size_t>self.state.block_mask + 1) * sizeof(Block))
        memset(self.state.edges, 0, (<size_t>self.state.edge_mask + 1) * sizeof(Edge))
        self.state.block_count = self.state.edge_count = 0
        self.state.instructions = 0
        self.state.budget = budget
        self.state.exhausted = self.state.full = False
        self.state.previous = NOWHERE
        self.state.end = 0

    @property
    def instructions(self):
        return self.state.instructions

    @property
    def exhausted(self):
        """Whether the budget stopped the engine."""
        return bool(self.state.exhausted)

    @property
    def full(self):
        """Whether too many distinct blocks stopped the engine."""
        return bool(self.state.full)

    @property
    def last_block(self):
        """Address of the block that was entered last, ``None`` before the first."""
        return None if self.state.previous == NOWHERE else self.state.previous

    def edges(self):
        """List of ``(source or None, address, count)``, ascending, the entry first."""
        cdef size_t i
        found = []
        for i in range(<size_t>self.state.edge_mask + 1):
            if self.state.edges[i].count:
                source = self.state.edges[i].source
                found.append((-1 if source == NOWHERE else source, self.state.edges[i].address, self.state.edges[i].count))
        found.sort()
        return [(None if source < 0 else source, address, count) for source, address, count in found]

    def sizes(self):
        """Block address -> size in bytes."""
        cdef size_t i
        return {self.state.blocks[i].address: self.state.blocks[i].joined
                for i in range(<size_t>self.state.block_mask + 1) if self.state.blocks[i].joined}
