# SPDX-License-Identifier: Apache-2.0
"""What a board's memories see while code runs under Unicorn: accesses by region, lines of flash that are read, misses of
the caches, unaligned accesses. Counts only; `waits` prices them.

The callbacks have the signatures of Unicorn's ``uc_cb_hookcode_t`` and ``uc_cb_hookmem_t``; the engine is an opaque
pointer and the engine functions that are needed arrive as addresses, so nothing is linked against Unicorn.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport calloc, free
from libc.string cimport memmove, memset

ctypedef int (*reg_read_t)(void *engine, int register_id, void *value) noexcept nogil
ctypedef int (*reg_write_t)(void *engine, int register_id, const void *value) noexcept nogil

cdef enum:
    WRITE = 17  # UC_MEM_WRITE
    IT_STATE = 0x0600FC00  # ICI/IT bits of the XPSR
    FLASH = 0
    SRAM = 1
    TCM = 2
    DTCM_START = 0x20000000
    POSITIONS = 32  # accesses of one block that are told apart
    SLOTS = 1 << 16
    NOWHERE = 0xFFFFFFFF


cdef struct Region:
    uint32_t start
    uint32_t end
    uint32_t kind
    uint64_t reads
    uint64_t writes
    uint64_t bytes_read
    uint64_t bytes_written
    uint64_t misses


cdef struct Cache:
    uint32_t *lines  # per set, the line used last comes first; line number + 1, 0: empty
    uint32_t shift
    uint32_t sets
    uint32_t ways


cdef struct Block:
    uint32_t address
    bint used
    uint64_t fetched       # lines of flash that had to be waited for, after a jump
    uint64_t fetched_next  # the same, when the line follows the one fetched before
    uint64_t constants     # reads of constants in flash that had to be waited for
    uint64_t sram          # accesses to SRAM that had to be waited for
    uint64_t unaligned_loads
    uint64_t unaligned_stores
    uint64_t narrow         # eight bytes of a vector in the ITCM
    uint64_t pairs          # of elements of gathers and scatters, from the third of each on
    uint64_t apart          # such pairs, from the first on, that no memory serves in one cycle
    uint64_t same_bank[POSITIONS]


cdef struct MemoryState:
    const uint32_t *current
    reg_read_t reg_read
    reg_write_t reg_write
    int xpsr_register
    Region *regions
    uint32_t count
    uint32_t latest
    Block *blocks
    uint32_t block_count
    Block *block
    bint full
    uint32_t line_shift
    uint32_t fetched_line
    uint32_t buffered_line  # of constants
    bint fetches
    bint sram_waits
    bint sram_cached
    bint shared
    Cache instructions
    Cache data
    uint64_t *reuse  # per line of a fully associative instruction cache, hits at that depth of its order of use
    uint32_t position
    uint32_t previous_address
    uint32_t partner  # the address of an even element
    int64_t partner_of  # which one, from 1 on
    bint previous_load
    bint it_blocks


cdef uint32_t use(Cache *cache, uint32_t address) noexcept nogil:
    """How many lines of its set were used since the line of an address was; the number of ways if it is not there. It
    is afterwards.
    """
    cdef uint32_t number = address >> cache.shift
    cdef uint32_t *line = cache.lines + (number % cache.sets) * cache.ways
    cdef uint32_t way = 0
    number += 1
    if line[0] == number:
        return 0
    while way < cache.ways and line[way] != number:
        way += 1
    memmove(line + 1, line, (way if way < cache.ways else cache.ways - 1) * sizeof(uint32_t))
    line[0] = number
    return way


cdef bint lookup(Cache *cache, uint32_t address) noexcept nogil:
    """Whether the line of an address is there; it is afterwards."""
    return use(cache, address) < cache.ways


cdef Region *region_of(MemoryState *state, uint32_t address) noexcept nogil:
    cdef uint32_t low = 0, high = state.count, middle
    cdef Region *region = &state.regions[state.latest]
    if region.start <= address < region.end:
        return region
    while low < high:
        middle = (low + high) >> 1
        if state.regions[middle].end <= address:
            low = middle + 1
        else:
            high = middle
    region = &state.regions[low]
    if low == state.count or address < region.start:
        return NULL
    state.latest = low
    return region


cdef void fetch(MemoryState *state, uint32_t address, uint32_t size) noexcept nogil:
    cdef uint32_t line = address >> state.line_shift
    cdef uint32_t last = (address + size - 1) >> state.line_shift
    cdef Region *region = region_of(state, address)
    cdef uint32_t depth
    cdef bint held
    if region == NULL or region.kind != FLASH:
        return
    while line <= last:
        if line != state.fetched_line:
            held = False
            if state.instructions.lines != NULL:
                depth = use(&state.instructions, line << state.line_shift)
                held = depth < state.instructions.ways
                if held and state.reuse != NULL:
                    state.reuse[depth] += 1
            if not held:
                region.misses += 1
                if line == state.fetched_line + 1:
                    state.block.fetched_next += 1
                else:
                    state.block.fetched += 1
            state.fetched_line = line
        line += 1


cdef void on_block(void *engine, uint64_t address64, uint32_t size, void *user_data) noexcept nogil:
    cdef MemoryState *state = <MemoryState *>user_data
    cdef uint32_t address = <uint32_t>address64
    cdef uint32_t slot = ((address * <uint32_t>0x9E3779B1) >> 16) & (SLOTS - 1)
    if state.current != NULL and state.current[0] != address:
        if state.fetches:  # a block that was joined to the one before
            fetch(state, address, size)
        return
    while state.blocks[slot].used and state.blocks[slot].address != address:
        slot = (slot + 1) & (SLOTS - 1)
    if not state.blocks[slot].used:
        if state.block_count < SLOTS - 1:
            state.block_count += 1
            state.blocks[slot].used = True
            state.blocks[slot].address = address
        else:
            state.full = True
    state.block = &state.blocks[slot]
    state.position = 0
    state.previous_load = False
    if state.fetches:
        fetch(state, address, size)


cdef void on_access(void *engine, int kind, uint64_t address64, int size, int64_t value, void *user_data) noexcept nogil:
    cdef MemoryState *state = <MemoryState *>user_data
    cdef uint32_t xpsr = 0
    if state.it_blocks:
        # Unicorn 2.1 restores an access's IT state for its hook and leaves it so: the next block would start conditional.
        state.reg_read(engine, state.xpsr_register, &xpsr)
        if xpsr & IT_STATE:
            xpsr &= ~<uint32_t>IT_STATE
            state.reg_write(engine, state.xpsr_register, &xpsr)
    count_access(engine, kind, address64, size, value, user_data)


cdef void count_element(MemoryState *state, uint32_t address, int64_t number, bint is_banked) noexcept nogil:
    """Element `number` of a gather or scatter, from 1 on: two go at a time, an odd one first."""
    if number & 1:
        state.partner, state.partner_of = address, number
        return
    if state.partner_of != number - 1:  # it was predicated off
        return
    state.partner_of = 0
    if number > 4:
        state.block.pairs += 1
    if not is_banked or (not (address ^ state.partner) & 12 and (address ^ state.partner) >> 2):
        state.block.apart += 1


cdef void count_access(void *engine, int kind, uint64_t address64, int size, int64_t value, void *user_data) noexcept nogil:
    cdef MemoryState *state = <MemoryState *>user_data
    cdef uint32_t address = <uint32_t>address64, line
    cdef bint write = kind == WRITE
    cdef Region *region = region_of(state, address)
    if size <= 4 and (address & 3) + <uint32_t>size > 4:
        if write:
            state.block.unaligned_stores += 1
        else:
            state.block.unaligned_loads += 1
    if state.position < POSITIONS:
        if state.previous_load and not write and not (address ^ state.previous_address) & 4 and address != state.previous_address:
            state.block.same_bank[state.position] += 1
        state.position += 1 if size <= 4 else 2
    state.previous_load = not write
    state.previous_address = address
    if value:
        count_element(state, address, value, region != NULL and region.kind == TCM and address >= DTCM_START)
    if region == NULL:
        return
    if region.kind == TCM and size > 4 and not write and address < DTCM_START:
        state.block.narrow += size >> 3
    if write:
        region.writes += 1
        region.bytes_written += size
    else:
        region.reads += 1
        region.bytes_read += size
    if region.kind == FLASH:
        if write or not state.fetches:
            return
        line = address >> state.line_shift
        if state.data.lines != NULL:
            if lookup(&state.data, address):
                return
        elif state.shared and state.instructions.lines != NULL:
            if lookup(&state.instructions, address):
                return
        elif line == state.buffered_line:
            return
        state.buffered_line = line
        region.misses += 1
        state.block.constants += 1
    elif region.kind == SRAM and state.sram_waits:
        if state.sram_cached and state.data.lines != NULL and lookup(&state.data, address):
            return
        # Stores go through a buffer: they wait for nothing.
        if not write:
            region.misses += 1
            state.block.sram += 1


cdef class MemoryProbe:
    """Counts accesses and misses; see `tuning.emulate.waits` for what they cost.

    Parameters
    ----------
    reg_read, reg_write : int
        Addresses of ``uc_reg_read`` and ``uc_reg_write``.
    xpsr_register : int
        Unicorn's number of the status register.
    it_blocks : bool
        Whether the core has IT blocks (Armv6-M has none).
    current : int
        Where the address of the block that runs stands, if blocks are joined (`BlockProbe.current`).
    """

    cdef MemoryState state

    def __cinit__(self, uintptr_t reg_read, uintptr_t reg_write, int xpsr_register, bint it_blocks,
                  uintptr_t current=0):
        memset(&self.state, 0, sizeof(MemoryState))
        self.state.reg_read = <reg_read_t>reg_read
        self.state.reg_write = <reg_write_t>reg_write
        self.state.xpsr_register = xpsr_register
        self.state.it_blocks = it_blocks
        self.state.current = <const uint32_t *>current

    def __dealloc__(self):
        free(self.state.regions)
        free(self.state.blocks)
        free(self.state.instructions.lines)
        free(self.state.data.lines)
        free(self.state.reuse)

    @property
    def block_callback(self):
        """Address of the ``UC_HOOK_BLOCK`` callback."""
        return <uintptr_t>&on_block

    @property
    def access_callback(self):
        """Address of the ``UC_HOOK_MEM_READ | UC_HOOK_MEM_WRITE`` callback."""
        return <uintptr_t>&on_access

    @property
    def direct(self):
        """Address of the same for accesses that Unicorn does not make; it leaves the status register alone."""
        return <uintptr_t>&count_access

    @property
    def user_data(self):
        """Address to hand to the callbacks; valid while this object lives."""
        return <uintptr_t>&self.state

    cdef int _cache(self, Cache *cache, shape) except -1:
        size, line, ways = shape
        free(cache.lines)
        cache.lines = NULL
        if not size:
            return 0
        count = size // line
        cache.ways = min(ways or count, count)
        cache.sets = max(1, count // cache.ways)
        cache.shift = line.bit_length() - 1
        cache.lines = <uint32_t *>calloc(cache.sets * cache.ways, sizeof(uint32_t))
        if cache.lines == NULL:
            raise MemoryError()
        return 0

    def start(self, regions, *, line_bytes, instruction_cache, data_cache, shared, fetches, sram_waits, sram_cached,
              warm=False):
        """Forget every count, and empty the caches unless they shall be `warm`.

        Parameters
        ----------
        regions : sequence of (start, end, kind)
            Ascending and disjoint; kind 0 is flash, 1 SRAM, 2 TCM.
        line_bytes : int
            Bytes that one access to the flash delivers, a power of two.
        instruction_cache, data_cache : (size, line, ways)
            In bytes; size 0: none, ways 0: fully associative.
        shared : bool
            Constants go through the instruction cache.
        fetches : bool
            Whether flash has to be waited for at all.
        sram_waits, sram_cached : bool
            Whether SRAM has to be waited for, and whether the data cache is in front of it.
        """
        cdef MemoryState *state = &self.state
        free(state.regions)
        state.regions = <Region *>calloc(len(regions) + 1, sizeof(Region))
        free(state.blocks)
        state.blocks = <Block *>calloc(SLOTS, sizeof(Block))
        if state.regions == NULL or state.blocks == NULL:
            raise MemoryError()
        for i, (start, end, kind) in enumerate(regions):
            state.regions[i].start = start
            state.regions[i].end = end
            state.regions[i].kind = kind
        state.count = len(regions)
        state.latest = 0
        state.block_count = 0
        state.block = &state.blocks[0]
        state.full = False
        state.line_shift = line_bytes.bit_length() - 1
        state.fetched_line = state.buffered_line = NOWHERE
        state.fetches, state.shared = fetches, shared
        state.sram_waits, state.sram_cached = sram_waits, sram_cached
        if not warm:
            self._cache(&state.instructions, instruction_cache)
            self._cache(&state.data, data_cache)
        free(state.reuse)
        state.reuse = NULL
        if state.instructions.lines != NULL and state.instructions.sets == 1:
            state.reuse = <uint64_t *>calloc(state.instructions.ways, sizeof(uint64_t))
            if state.reuse == NULL:
                raise MemoryError()

    def regions(self):
        """List of ``(start, end, kind, reads, writes, bytes read, bytes written, misses)``."""
        cdef Region *r
        found = []
        for i in range(self.state.count):
            r = &self.state.regions[i]
            found.append((r.start, r.end, r.kind, r.reads, r.writes, r.bytes_read, r.bytes_written, r.misses))
        return found

    def reuse(self):
        """Of a fully associative instruction cache: hits by how many other lines were fetched since the line was, which
        a cache of no more lines than that would have missed.
        """
        if self.state.reuse == NULL:
            return ()
        return tuple([self.state.reuse[i] for i in range(self.state.instructions.ways)])

    def blocks(self):
        """Block address -> (fetched, fetched next, constants, sram, unaligned loads, unaligned stores, narrow, pairs,
        apart, same bank).
        """
        cdef Block *b
        found = {}
        for i in range(SLOTS):
            b = &self.state.blocks[i]
            if b.used:
                banks = {at: b.same_bank[at] for at in range(POSITIONS) if b.same_bank[at]}
                counts = (b.fetched, b.fetched_next, b.constants, b.sram, b.unaligned_loads, b.unaligned_stores)
                found[b.address] = (*counts, b.narrow, b.pairs, b.apart, banks)
        return found
